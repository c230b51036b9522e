-- Reads a range of entries in the order of their keys' bytes, and the position of that moment.
--
-- KEYS  1 meta  2 data  3 index
-- ARGV  1 lower bound  2 upper bound (as ZRANGEBYLEX takes them)  3 limit
-- Returns {epoch or "", revision or "0", "1" if more entries follow or "0", key, revision:value, ...}
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'revision')
local limit = tonumber(ARGV[3])
local keys = redis.call('ZRANGEBYLEX', KEYS[3], ARGV[1], ARGV[2], 'LIMIT', 0, limit + 1)
local result = {meta[1] or '', meta[2] or '0', #keys > limit and '1' or '0'}
local n = 3
-- In slices: Lua's stack bounds the arguments of one call.
for from = 1, math.min(#keys, limit), 1000 do
  local to = math.min(from + 999, #keys, limit)
  local values = redis.call('HMGET', KEYS[2], unpack(keys, from, to))
  for i = from, to do
    result[n + 1] = keys[i]
    result[n + 2] = values[i - from + 1]
    n = n + 2
  end
end
return result
