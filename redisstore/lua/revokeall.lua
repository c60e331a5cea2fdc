-- KEYS: the user's set, expiry, revocations, the sessions. ARGV: the number of sessions, call, user, except, at, their IDs.
local set, expiry, revoked = KEYS[1], KEYS[2], KEYS[3]
local n, call, user, except, at = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not named(set, n) then
	return {again, redis.call('SMEMBERS', set)}
end
for i = 1, n do
	local id = ARGV[5 + i]
	if except == '' or id ~= except then
		local there = redis.call('DEL', KEYS[3 + i])
		redis.call('SREM', set, id)
		redis.call('ZREM', expiry, entry(id, user))
		if there == 1 then
			redis.call('ZADD', revoked, at, revocation(call, at, id, user))
		end
	end
end
if except == '' then
	redis.call('ZADD', revoked, at, revocation(call, at, '', user))
end
return current('SREM', {done})
