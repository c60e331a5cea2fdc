-- KEYS: expiry, revocations, and of each session its own and its user's set.
-- ARGV: at, before, limit, and of each session its ID and its entry.
local expiry, revoked, at = KEYS[1], KEYS[2], tonumber(ARGV[1])
local deleted = 0
for i = 4, #ARGV, 2 do
	local expires = redis.call('ZSCORE', expiry, ARGV[i + 1])
	if expires and tonumber(expires) < at then -- no other call has rotated or deleted it since
		redis.call('DEL', KEYS[i - 1])
		redis.call('SREM', KEYS[i], ARGV[i])
		redis.call('ZREM', expiry, ARGV[i + 1])
		deleted = deleted + 1
	end
end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', revoked, '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])) do
	deleted = deleted + redis.call('ZREM', revoked, old)
end
return current('ZREM', deleted)
