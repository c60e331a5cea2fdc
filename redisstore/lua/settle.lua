-- KEYS and ARGV: see throttle.lua. The last of ARGV is 1 if the attempt succeeded, and otherwise 0.
if repeated() then
	return 1
end
local succeeded = ARGV[#ARGV] == '1'
for _, b in ipairs(buckets) do
	b.tat = time(b.key)
end
local c = counterKey and counting()

remember()
for _, b in ipairs(buckets) do
	if b.tat > at then -- otherwise it is full, which equals no record
		keep(b.key, text(b.tat - b.every), b.tat - b.every)
	end
end
if c and succeeded then
	if not c.source then
		redis.call('DEL', counterKey)
	end
	if sourceKey then
		count({key = sourceKey, n = 0, at = c.at, known = at + curve.known, source = true})
	end
elseif c and c.n > 0 then
	c.n = c.n - 1
	count(c)
end
return 1
