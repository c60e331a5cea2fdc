-- KEYS: the session, its user's set, expiry, revocations. ARGV: call, id, user, at.
local call, id, user, at = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ended = revocation(call, at, id, user)
local owner = redis.call('HGET', KEYS[1], 'user')
if owner ~= user then
	if not owner and redis.call('ZSCORE', KEYS[4], ended) then
		return 1 -- by this call, which the client sent again
	end
	return current('HDEL', 0)
end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], id)
redis.call('ZREM', KEYS[3], entry(id, user))
redis.call('ZADD', KEYS[4], at, ended)
return 1
