-- KEYS: expiry, and of each ticket its own and the index of its subject.
-- ARGV: at, and of each ticket its kind, ID and subject.
local expiry, at = KEYS[1], tonumber(ARGV[1])
local deleted = 0
for i = 2, #KEYS, 2 do
	local j = 3 * i / 2 - 1
	local kind, id, subject = ARGV[j], ARGV[j + 1], ARGV[j + 2]
	local expires = redis.call('ZSCORE', expiry, member(kind, id, subject))
	if expires and tonumber(expires) <= at then -- another call has not deleted it since
		redis.call('DEL', KEYS[i])
		unlink(expiry, KEYS[i + 1], kind, id, subject)
		deleted = deleted + 1
	end
end
return current('ZREM', deleted)
