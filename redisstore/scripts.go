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
	//go:embed lua/throttle.lua
	luaThrottle string
	//go:embed lua/take.lua
	luaTake string
	//go:embed lua/settle.lua
	luaSettle string
	//go:embed lua/clear.lua
	luaClear string
	//go:embed lua/info.lua
	luaInfo string
)

// scripts are what of sessions runs in Redis, once it has been sent there.
type scripts struct {
	create, find, list, rotate, revoke, revokeAll, revocations, expired, delete *redis.Script
}

func newScripts() scripts {
	script := func(source string) *redis.Script { return redis.NewScript(luaCommon + source) }
	return scripts{
		create: script(luaCreate), find: script(luaFind), list: script(luaList),
		rotate: script(luaRotate), revoke: script(luaRevoke), revokeAll: script(luaRevokeAll),
		revocations: script(luaRevocations), expired: script(luaExpired), delete: script(luaDelete),
	}
}

// throttleScripts are what of a throttle does.
type throttleScripts struct{ take, settle, clear *redis.Script }

func newThrottleScripts() throttleScripts {
	script := func(source string) *redis.Script { return redis.NewScript(luaCommon + luaThrottle + source) }
	return throttleScripts{take: script(luaTake), settle: script(luaSettle), clear: script(luaClear)}
}
