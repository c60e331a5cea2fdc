-- KEYS: revocations. ARGV: since.
return current('ZREM', redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf'))
