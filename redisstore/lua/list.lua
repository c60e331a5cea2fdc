-- KEYS: the user's set, its sessions. ARGV: the number of sessions, their IDs.
local n = tonumber(ARGV[1])
if not named(KEYS[1], n) then
	return {again, redis.call('SMEMBERS', KEYS[1])}
end
local sessions = {}
for i = 1, n do
	sessions[i] = read(KEYS[1 + i])
end
return current('SREM', {done, sessions})
