-- KEYS: the ticket, expiry; if it has a subject, the index of the subject; if it replaces another, that ticket.
-- ARGV: call, kind, id, subject, the ID of the other ticket or '', hash, body, attempts, max, created, expires,
-- milliseconds to live.
local ticket, expiry, index = KEYS[1], KEYS[2], KEYS[3]
local call, kind, id, subject, other = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local calls = redis.call('HGET', ticket, 'calls')
if calls then
	return {done, sent(calls, call) and 1 or 0}
end
local old = index and redis.call('HGET', index, kind) or ''
if old ~= other then
	return {again, old}
end

redis.call('HSET', ticket, 'calls', call, 'subject', subject, 'hash', ARGV[6], 'body', ARGV[7], 'attempts', ARGV[8],
	'max', ARGV[9], 'created', ARGV[10], 'expires', ARGV[11])
redis.call('HDEL', ticket, 'consumed')
redis.call('PEXPIRE', ticket, ARGV[12])
if old ~= '' and old ~= id then
	redis.call('DEL', KEYS[4])
	redis.call('ZREM', expiry, member(kind, old, subject))
end
redis.call('ZADD', expiry, ARGV[11], member(kind, id, subject))
if index then
	redis.call('HSET', index, kind, id)
end
return {done, 1}
