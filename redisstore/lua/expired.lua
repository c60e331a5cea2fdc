-- KEYS: expiry. ARGV: at, limit.
return current('ZREM', redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2]))
