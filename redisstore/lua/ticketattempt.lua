-- KEYS: the ticket. ARGV: call, at.
local call, at = ARGV[1], tonumber(ARGV[2])
local t = get(KEYS[1])
if not t then
	return current('HDEL', {})
end
local calls = table.remove(t)
if sent(calls, call) then
	return t -- counted before; the client sends it again
end
local attempts = tonumber(t[4])
if tonumber(t[7]) <= at or attempts >= tonumber(t[5]) then
	return current('HDEL', {})
end
t[4] = string.format('%.0f', attempts + 1)
redis.call('HSET', KEYS[1], 'attempts', t[4], 'calls', string.sub(calls .. call, -8 * #call))
return t
