-- KEYS: any key of the store; it selects the server.
local time = redis.call('TIME')
return {redis.call('INFO', 'replication'), redis.call('INFO', 'memory'), redis.call('INFO', 'persistence'), time[1], time[2]}
