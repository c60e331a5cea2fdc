
-- The scripts of tickets begin with this file, after common.lua.
--
-- A ticket is a hash. Its field calls holds the last calls that changed it, so that a call
-- that the client sends again is not counted twice. A ticket that was consumed leaves a hash
-- with the one field consumed, for a minute: the call that consumed it.

-- member returns the member of the index of expiry for a ticket.
local function member(kind, id, subject)
	return entry(kind, entry(id, subject))
end

-- get returns the fields of a ticket in the order of tickets.go, and then its calls. It
-- returns nil if there is no ticket.
local function get(key)
	local fields = redis.call('HMGET', key, 'subject', 'hash', 'body', 'attempts', 'max', 'created', 'expires', 'calls')
	return fields[1] and fields or nil
end

-- sent reports whether calls includes a call.
local function sent(calls, call)
	return string.find(calls, call, 1, true) ~= nil
end

-- unlink removes a ticket from the index of expiry and from that of its subject.
local function unlink(expiry, index, kind, id, subject)
	redis.call('ZREM', expiry, member(kind, id, subject))
	if index and redis.call('HGET', index, kind) == id then
		redis.call('HDEL', index, kind)
	end
end
