-- Brings a namespace into an epoch: its log begins anew, its entries stay. The revision leaps ahead, because the ones
-- after it may have been given out by a server whose last commits were lost; what was read there must not match a
-- check here by chance.
--
-- KEYS  1 meta  2 log  3 marks
-- ARGV  1 epoch  2 run_id  3 the token of adopt.lua  4 highest revision that the caller knows of  5 size of the leap
-- Returns "ready" | "lost" (somebody else is at it, or the store was emptied: ask adopt.lua again)
local meta = redis.call('HMGET', KEYS[1], 'pending', 'revision')
if meta[1] ~= ARGV[3] then return 'lost' end
local revision = math.max(tonumber(meta[2] or '0'), tonumber(ARGV[4]))
if revision > 0 then revision = revision + tonumber(ARGV[5]) end
local text = string.format('%.0f', revision)
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'run', ARGV[2], 'revision', text, 'floor', text)
redis.call('HDEL', KEYS[1], 'pending', 'bytes', 'floor_bytes', 'mark_time', 'mark_bytes')
redis.call('DEL', KEYS[2], KEYS[3])
return 'ready'
