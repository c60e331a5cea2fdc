-- KEYS: any of the store, which says what server is asked.
return {redis.call('INFO', 'replication'), redis.call('INFO', 'memory'), redis.call('INFO', 'persistence')}
