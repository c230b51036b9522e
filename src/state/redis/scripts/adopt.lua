-- Asks whether a namespace is of this epoch and server, and if not, announces that it is about to become so.
-- `activate.lua` does it, after the caller has seen that the store's epoch still is what it thinks: were the store
-- emptied in between, the announcement would be gone as well. (One script cannot do both: the store's key is in
-- another slot.)
--
-- KEYS  1 meta
-- ARGV  1 epoch  2 run_id  3 a token of the caller
-- Returns "ready"       it is
--         "announced"   activate it with the token
--         "newer"       it is of a later epoch than the caller's
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'run')
if meta[1] == ARGV[1] and meta[2] == ARGV[2] then return 'ready' end
if tonumber(meta[1] or '0') > tonumber(ARGV[1]) then return 'newer' end
redis.call('HSET', KEYS[1], 'pending', ARGV[3])
return 'announced'
