-- KEYS: any of the store, which says what server is asked.
local time = redis.call('TIME')
return {redis.call('INFO', 'replication'), redis.call('INFO', 'memory'), redis.call('INFO', 'persistence'), time[1], time[2]}
