-- KEYS: the session, expiry. ARGV: call, id, old, new, successor, at, expires, address, milliseconds to live.
local session = KEYS[1]
local call, id, old, new, at, expires = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6], ARGV[7]
local now = redis.call('HMGET', session, 'user', 'token', 'call')
local user, token = now[1], now[2]
if not user then
	return current('HDEL', {0, {}})
end
if token == new and now[3] == call then
	return {1, read(session)} -- by this call, which the client sent again
end
if token ~= old then
	return current('HDEL', {0, read(session)})
end
redis.call('HSET', session, 'call', call, 'parent', token, 'token', new, 'successor', ARGV[5], 'rotated', at, 'used', at,
	'expires', expires, 'address', ARGV[8])
redis.call('PEXPIRE', session, ARGV[9])
redis.call('ZADD', KEYS[2], expires, entry(id, user))
return {1, read(session)}
