-- KEYS: the index of a subject, expiry, the tickets of the subject. ARGV: subject, and the kind and ID of each ticket.
-- If the index has other tickets, the script returns it, and is called again with their keys.
local index, expiry, subject = KEYS[1], KEYS[2], ARGV[1]
local n = #KEYS - 2
local same = redis.call('HLEN', index) == n
for i = 1, n do
	same = same and redis.call('HGET', index, ARGV[2 * i]) == ARGV[2 * i + 1]
end
if not same then
	return {again, redis.call('HGETALL', index)}
end
for i = 1, n do
	redis.call('DEL', KEYS[2 + i])
	redis.call('ZREM', expiry, member(ARGV[2 * i], ARGV[2 * i + 1], subject))
end
redis.call('DEL', index)
return {done}
