-- KEYS and ARGV: see throttle.lua. The mark never exists. It returns the waits for the buckets and for the counter.
--
-- A call that the client sends again counts twice. To recognize it would take one more key for every guess.
local forBuckets, forCounter, c = 0, 0, nil
for _, b in ipairs(buckets) do
	local full, tat = at + b.burst * b.every, time(b.key)
	if tat > full + minute then -- by a clock that was set back since
		tat = 0
	end
	b.tat = math.max(tat, at) + b.every
	forBuckets = math.max(forBuckets, b.tat - full)
end

-- wait is Curve.Wait.
local function wait(failures)
	local w, n = 0, curve.free
	while n < failures and w < curve.most do
		w, n = math.max(curve.first, 2 * w), n + 1
	end
	return math.min(w, curve.most)
end

if counterKey then
	c = counting()
	forCounter = wait(c.n)
	if c.n >= curve.disable then
		forCounter = curve.most
	elseif forCounter > 0 then
		forCounter = math.max(0, c.at + forCounter - at)
	end
end

if forBuckets > 0 or forCounter > 0 then
	return current('HDEL', {forBuckets, forCounter})
end
if c then
	c.n, c.at = c.n + 1, math.max(c.at, at)
	count(c)
end
for _, b in ipairs(buckets) do
	keep(b.key, text(b.tat), b.tat)
end
return {0, 0}
