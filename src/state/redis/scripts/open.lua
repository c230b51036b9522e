-- Agrees on the store's epoch. A server that is not the one which the epoch was made on (restarted, promoted, emptied)
-- may have forgotten commits: there a new epoch begins, once, however many replicas come at the same time. While a
-- transfer fills the store it has none: `importing` says when that was begun.
--
-- KEYS  1 store
-- ARGV  1 run_id of this server  2 highest epoch that the caller knows of  3 an epoch to leave behind ("0": none)
--       4 channel
-- Returns {epoch, "new" | "same"} | {time, "importing"}
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'run', 'importing')
if stored[3] then return {stored[3], 'importing'} end
local epoch, seen, leave = tonumber(stored[1] or '0'), tonumber(ARGV[2]), tonumber(ARGV[3])
if stored[2] == ARGV[1] and epoch >= seen and epoch > leave then return {stored[1], 'same'} end
local seconds = tonumber(redis.call('TIME')[1])
local text = string.format('%.0f', math.max(epoch, seen, leave, seconds) + 1)
redis.call('HSET', KEYS[1], 'epoch', text, 'run', ARGV[1])
redis.call('PUBLISH', ARGV[4], '')
return {text, 'new'}
