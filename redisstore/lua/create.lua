-- KEYS: the session, its user's set, expiry, revocations, the other sessions of the user.
-- ARGV: the number of the others, call, id, user, limit, device, address, created, used, expires, ends, token, parent,
-- rotated, successor, auth, methods, milliseconds to live, the IDs of the others.
local session, set, expiry, revoked = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local n, call, id, user, limit = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local created, expires = ARGV[8], ARGV[10]

if redis.call('EXISTS', session) == 1 then
	if redis.call('HGET', session, 'call') == call then
		return {done, 1} -- by this call, which the client sent again
	end
	return {done, 0}
end

-- before is the order of SessionsByUser. The operator < of strings depends on the locale.
local function before(a, b)
	if a.used ~= b.used then
		return a.used > b.used
	end
	for i = 1, math.min(#a.id, #b.id) do
		local x, y = string.byte(a.id, i), string.byte(b.id, i)
		if x ~= y then
			return x < y
		end
	end
	return #a.id < #b.id
end

local live, dropped = {}, {}
if redis.call('SCARD', set) >= limit then
	if not named(set, n) then
		return {again, redis.call('SMEMBERS', set)}
	end
	for i = 1, n do
		local other = {id = ARGV[#ARGV - n + i], key = KEYS[#KEYS - n + i]}
		local used = redis.call('HGET', other.key, 'used')
		if used then
			other.used = tonumber(used)
			table.insert(live, other)
		else -- expired by Redis; it is in the indexes only
			table.insert(dropped, other)
		end
	end
	table.sort(live, before)
end

redis.call('HSET', session, 'call', call, 'user', user, 'device', ARGV[6], 'address', ARGV[7], 'created', created,
	'used', ARGV[9], 'expires', expires, 'ends', ARGV[11], 'token', ARGV[12], 'parent', ARGV[13], 'rotated', ARGV[14],
	'successor', ARGV[15], 'auth', ARGV[16], 'methods', ARGV[17])
redis.call('PEXPIRE', session, ARGV[18])

for _, other in ipairs(dropped) do
	redis.call('SREM', set, other.id)
	redis.call('ZREM', expiry, entry(other.id, user))
end
for i = limit, #live do
	redis.call('DEL', live[i].key)
	redis.call('SREM', set, live[i].id)
	redis.call('ZREM', expiry, entry(live[i].id, user))
	redis.call('ZADD', revoked, created, revocation(call, created, live[i].id, user))
end

redis.call('SADD', set, id)
redis.call('ZADD', expiry, expires, entry(id, user))
return {done, 1}
