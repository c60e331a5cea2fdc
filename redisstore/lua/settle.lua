-- KEYS and ARGV: see throttle.lua. The last two of ARGV are the outcome and the digest of the guess, or 0.
if repeated() then
	return 1
end
local outcome, guess = ARGV[#ARGV - 1], tonumber(ARGV[#ARGV])
local failed, succeeded = outcome == 'failed', outcome == 'succeeded'
for _, b in ipairs(buckets) do
	b.tat = time(b.key)
end
local c = counterKey and counting()

remember()
for _, b in ipairs(buckets) do
	if not failed and b.tat > at then -- otherwise it is full, which equals no record
		keep(b.key, text(b.tat - b.every), b.tat - b.every)
	end
end
if c and succeeded then
	if not c.source then
		redis.call('DEL', counterKey)
	end
	if sourceKey then
		count({key = sourceKey, n = 0, at = c.at, known = at + curve.known, open = 0, since = 0, guess = 0, source = true})
	end
elseif c and c.n > 0 then
	if sourceKey and not c.source then
		guess = 0
	end
	c.open = math.max(0, c.open - 1)
	if failed and (guess == 0 or guess ~= c.guess) then
		c.since = c.at
		if guess ~= 0 then
			c.guess = guess
		end
	else
		c.n = c.n - 1
		if c.open == 0 then
			c.at = c.since
		end
	end
	count(c)
end
return 1
