-- KEYS and ARGV: see throttle.lua. The mark never exists. It returns the waits for the buckets and for the counter,
-- and 1 if only open attempts are in the way.
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

-- waits returns how long a counter with so many failures refuses, the latest of which was at a time.
local function waits(n, last)
	local w = wait(n)
	if n >= curve.disable then
		return curve.most
	elseif w > 0 then
		w = math.max(0, last + w - at)
	end
	return w
end

local open = 0
if counterKey then
	c = counting()
	forCounter = waits(c.n, c.at)
	if forCounter > 0 and waits(c.n - c.open, c.since) == 0 then
		open = 1
	end
end

if forBuckets > 0 or forCounter > 0 then
	return current('HDEL', {forBuckets, forCounter, open})
end
if c then
	c.n, c.open, c.at = c.n + 1, c.open + 1, math.max(c.at, at)
	count(c)
end
for _, b in ipairs(buckets) do
	keep(b.key, text(b.tat), b.tat)
end
return {0, 0, 0}
