package redisstore

import (
	_ "embed" // for the scripts

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed lua/common.lua
	luaCommon string
	//go:embed lua/create.lua
	luaCreate string
	//go:embed lua/find.lua
	luaFind string
	//go:embed lua/list.lua
	luaList string
	//go:embed lua/rotate.lua
	luaRotate string
	//go:embed lua/revoke.lua
	luaRevoke string
	//go:embed lua/revokeall.lua
	luaRevokeAll string
	//go:embed lua/revocations.lua
	luaRevocations string
	//go:embed lua/expired.lua
	luaExpired string
	//go:embed lua/delete.lua
	luaDelete string
	//go:embed lua/info.lua
	luaInfo string
)

// scripts are what runs in Redis, once it has been sent there.
type scripts struct {
	create, find, list, rotate, revoke, revokeAll, revocations, expired, delete, info *redis.Script
}

func newScripts() scripts {
	script := func(source string) *redis.Script { return redis.NewScript(luaCommon + source) }
	return scripts{
		create: script(luaCreate), find: script(luaFind), list: script(luaList),
		rotate: script(luaRotate), revoke: script(luaRevoke), revokeAll: script(luaRevokeAll),
		revocations: script(luaRevocations), expired: script(luaExpired), delete: script(luaDelete), info: script(luaInfo),
	}
}
