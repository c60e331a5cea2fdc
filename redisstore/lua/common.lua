-- What all the scripts begin with.
--
-- Every key is in KEYS, none is made here: so a cluster refuses a script while its slot is on the
-- move and the keys are on two nodes, in place of running it on half of them. A script looks first
-- and writes then, and its first write is what a full Redis refuses, or frees memory: a
-- script that has begun to write is not refused any more.

-- read returns the fields of a session in the order of record.go, or an empty table.
local function read(key)
	local fields = redis.call('HMGET', key, 'user', 'device', 'address', 'created', 'used', 'expires', 'ends',
		'token', 'parent', 'rotated', 'successor', 'auth', 'methods')
	if not fields[1] then
		return {}
	end
	fields[12], fields[13] = fields[12] or '', fields[13] or '' -- older sessions have neither
	return fields
end

-- current returns the answer of a script that writes nothing, if it is up to date: a replica fails
-- at a write, which is one without an effect here. (It is also what fails on a master that cannot save
-- or has no replicas, which is asked all the same.)
local function current(write, answer)
	local result = redis.pcall(write, KEYS[1], '')
	if type(result) == 'table' and result.err and string.find(result.err, 'READONLY', 1, true) then
		return result
	end
	return answer
end

-- entry is what a session is in the index of expiry: DeleteExpired has to find its user.
local function entry(id, user)
	return #id .. ':' .. id .. user
end

-- revocation is what is stored of a Revocation: who wrote it, when, and the rest as in entry.
local function revocation(call, at, id, user)
	return call .. at .. ':' .. entry(id, user)
end

-- named reports whether the last n arguments are the IDs of all sessions in a user's set. If they are
-- not, the script returns that set, and is called again with their keys as the last n of KEYS.
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
