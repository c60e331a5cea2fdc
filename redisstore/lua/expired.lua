-- KEYS: an index of expiry. ARGV: the highest score, limit. The script that deletes checks its result again.
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
