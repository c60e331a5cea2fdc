-- KEYS: expiry. ARGV: at, limit. What it returns is for delete.lua to decide about.
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
