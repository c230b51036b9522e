-- A heartbeat that notices what a PING would not: another epoch, a demotion, the clock.
--
-- KEYS  1 store
-- Returns {seconds, microseconds, epoch or "", run_id or "", "master" | "slave", connected replicas}
local time = redis.call('TIME')
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'run')
local info = redis.call('INFO', 'replication')
local replicas = string.match(info, 'connected_slaves:(%d+)') or '0'
return {time[1], time[2], stored[1] or '', stored[2] or '', string.match(info, 'role:(%a+)'), replicas}
