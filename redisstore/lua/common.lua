-- All scripts begin with this file.
--
-- Every key is in KEYS. No script makes a key: a cluster would then run it on half of the keys
-- while a slot moves between two nodes. With all keys in KEYS, it refuses the script.
--
-- A script reads first and writes then. Its first write is one that a full Redis refuses, or one
-- that frees memory. Redis does not refuse the later writes of a script that has begun to write.

-- read returns the fields of a session in the order of record.go, or an empty table.
local function read(key)
	local fields = redis.call('HMGET', key, 'user', 'device', 'address', 'created', 'used', 'expires', 'ends',
		'token', 'parent', 'rotated', 'successor', 'auth', 'methods')
	if not fields[1] then
		return {}
	end
	fields[12], fields[13] = fields[12] or '', fields[13] or '' -- sessions of older versions have neither
	return fields
end

-- current returns the answer of a script that writes nothing, or the error of a replica, which
-- may lag behind. It tries a write without effect, which a replica refuses. The write also fails
-- on a master that cannot save or has too few replicas. That is ignored: its data is current.
local function current(write, answer)
	local result = redis.pcall(write, KEYS[1], '')
	if type(result) == 'table' and result.err and string.find(result.err, 'READONLY', 1, true) then
		return result
	end
	return answer
end

-- entry returns two texts as one: the length of the first, ":", the first and the second. In the
-- index of expiry, a session is the entry of its ID and user, so that DeleteExpired finds the user.
local function entry(first, second)
	return #first .. ':' .. first .. second
end

-- revocation returns a Revocation as it is stored: the call that made it, its time, and the entry
-- of its session and user.
local function revocation(call, at, id, user)
	return call .. at .. ':' .. entry(id, user)
end

-- named reports whether the last n arguments are the IDs of all sessions in a user's set. If not,
-- the script returns the set, and is called again with the keys of its sessions as the last of KEYS.
local function named(set, n)
	if redis.call('SCARD', set) ~= n then
		return false
	end
	for i = #ARGV - n + 1, #ARGV do
		if redis.call('SISMEMBER', set, ARGV[i]) == 0 then
			return false
		end
	end
	return true
end

local again, done = 0, 1
