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
	//go:embed lua/ticket.lua
	luaTicket string
	//go:embed lua/ticketput.lua
	luaTicketPut string
	//go:embed lua/ticketattempt.lua
	luaTicketAttempt string
	//go:embed lua/ticketconsume.lua
	luaTicketConsume string
	//go:embed lua/ticketdelete.lua
	luaTicketDelete string
	//go:embed lua/ticketsweep.lua
	luaTicketSweep string
	//go:embed lua/throttle.lua
	luaThrottle string
	//go:embed lua/take.lua
	luaReserve string
	//go:embed lua/settle.lua
	luaFinish string
	//go:embed lua/clear.lua
	luaClear string
	//go:embed lua/info.lua
	luaInfo string
)

// scripts are the scripts of a Store. Redis keeps each once it has run.
type scripts struct {
	create, find, list, rotate, revoke, revokeAll, revocations, expired, delete *redis.Script
	putTicket, attemptTicket, consumeTicket, deleteTickets, sweepTickets        *redis.Script
}

func newScripts() scripts {
	script := func(source string) *redis.Script { return redis.NewScript(luaCommon + source) }
	ticket := func(source string) *redis.Script { return script(luaTicket + source) }
	return scripts{
		create: script(luaCreate), find: script(luaFind), list: script(luaList),
		rotate: script(luaRotate), revoke: script(luaRevoke), revokeAll: script(luaRevokeAll),
		revocations: script(luaRevocations), expired: script(luaExpired), delete: script(luaDelete),
		putTicket: ticket(luaTicketPut), attemptTicket: ticket(luaTicketAttempt), consumeTicket: ticket(luaTicketConsume),
		deleteTickets: ticket(luaTicketDelete), sweepTickets: ticket(luaTicketSweep),
	}
}

// throttleScripts are the scripts of a Throttle.
type throttleScripts struct{ take, settle, clear *redis.Script }

func newThrottleScripts() throttleScripts {
	script := func(source string) *redis.Script { return redis.NewScript(luaCommon + luaThrottle + source) }
	return throttleScripts{take: script(luaReserve), settle: script(luaFinish), clear: script(luaClear)}
}
