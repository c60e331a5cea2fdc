-- KEYS: the ticket, expiry; if the subject is not empty, its index. ARGV: call, kind, id, subject, at.
-- If the ticket has another subject, the script returns that, and is called again with its index.
local ticket, expiry, index = KEYS[1], KEYS[2], KEYS[3]
local call, kind, id, subject, at = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
if redis.call('HGET', ticket, 'consumed') == call then
	return {done, 1} -- by this call, which the client sent again
end
local t = get(ticket)
if not t or tonumber(t[7]) <= at then
	return current('HDEL', {done, 0})
end
if t[1] ~= subject then
	return {again, t[1]}
end
redis.call('DEL', ticket)
unlink(expiry, index, kind, id, subject)
redis.call('HSET', ticket, 'consumed', call)
redis.call('PEXPIRE', ticket, 60000)
return {done, 1}
