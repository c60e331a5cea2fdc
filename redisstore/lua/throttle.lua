
-- The scripts of a throttle begin with this file, after common.lua. Times and durations are in microseconds.
-- They are exact, as a Lua number is up to the year 2255.
--
-- KEYS: mark, the buckets; if there is a counter, the counter, its pardon and, if there is one, the source.
-- ARGV: at, the number of buckets, burst and every of each; of the curve free, first, most, disable,
-- forget, known and open. The mark is a key that is used by one call only.
local mark, at, minute = KEYS[1], tonumber(ARGV[1]), 60000000

local buckets = {}
for i = 1, tonumber(ARGV[2]) do
	buckets[i] = {key = KEYS[1 + i], burst = tonumber(ARGV[1 + 2 * i]), every = tonumber(ARGV[2 + 2 * i])}
end
local counterKey, pardonKey, sourceKey = KEYS[#buckets + 2], KEYS[#buckets + 3], KEYS[#buckets + 4]

local curve = {}
for i, name in ipairs({'free', 'first', 'most', 'disable', 'forget', 'known', 'open'}) do
	curve[name] = tonumber(ARGV[2 + 2 * #buckets + i])
end

-- text returns a number in decimal. The function tostring would return 1.7673230456789e+15.
local function text(number)
	return string.format('%.0f', number)
end

-- keep stores a record until it expires, and a minute longer. The minute allows for a clock that is behind
-- the caller's.
local function keep(key, value, expiry)
	redis.call('SET', key, value, 'PX', text(math.ceil((math.max(0, expiry - at) + minute) / 1000)))
end

-- time returns the time that is stored under a key, or 0.
local function time(key)
	return assert(tonumber(redis.call('GET', key) or 0), 'this is no time')
end

-- counter returns the counter of a key. Its value is n, at, known, open, since and guess.
local function counter(key)
	local value = redis.call('GET', key)
	if not value then
		return {key = key, n = 0, at = 0, known = 0, open = 0, since = 0, guess = 0}
	end
	local n, last, known, open, since, guess = string.match(value, '^(%d+) (%-?%d+) (%-?%d+) (%d+) (%-?%d+) (%d+)$')
	assert(n, 'this is no counter')
	return {
		key = key, n = tonumber(n), at = tonumber(last), known = tonumber(known),
		open = tonumber(open), since = tonumber(since), guess = tonumber(guess),
	}
end

-- counting returns the counter of an attempt, as it is at the time of the attempt.
local function counting()
	local c = sourceKey and counter(sourceKey)
	if c and c.known > at then
		c.source = true
	else
		c = counter(counterKey)
	end
	local pardon = time(pardonKey)
	local pardoned = c.at <= pardon and at < pardon + curve.disable * curve.forget
	if pardoned or c.n < curve.disable and c.at + c.n * curve.forget <= at then
		c.n, c.open, c.guess = 0, 0, 0
	end
	if c.open > 0 and c.at + curve.open <= at then
		c.open, c.since = 0, c.at
	end
	return c
end

-- count stores a counter. That of a source is kept while the source is known. Another one is kept until its
-- failures are forgotten, or without limit if it has reached disable.
local function count(c)
	local value = table.concat({text(c.n), text(c.at), text(c.known), text(c.open), text(c.since), text(c.guess)}, ' ')
	if c.source then
		keep(c.key, value, c.known)
	elseif c.n < curve.disable then
		keep(c.key, value, c.at + c.n * curve.forget)
	else
		redis.call('SET', c.key, value)
	end
end

-- repeated reports whether remember has marked the call, so that the client is sending it again. A mark lasts
-- a minute, which is far longer than a client retries.
local function repeated()
	return redis.call('EXISTS', mark) == 1
end

local function remember()
	redis.call('SET', mark, '', 'PX', text(minute / 1000))
end
