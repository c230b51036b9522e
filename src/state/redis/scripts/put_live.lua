-- Writes soft records of one namespace, each only if its (epoch, sequence) is newer, and passes the written ones on.
--
-- KEYS  1 live  2 gone
-- ARGV  1 channel  2 namespace  3 ttl of the whole, ms  4 how long a removed one is remembered, ms
--       then records (key, epoch, sequence, "1" .. value | "0" for a removal)
-- Returns how many were written
--
-- Epochs go beyond 2^53: they are compared as text, the longer one being greater.
local function newer(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local news, n = {#ARGV[2], ':', ARGV[2]}, 3
local written = 0
for at = 5, #ARGV, 4 do
  local key, epoch, sequence, value = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local stored = redis.call('HGET', KEYS[1], key)
  local apply = true
  if stored then
    local old_epoch, old_sequence = string.match(stored, '^(%d+):(%d+):')
    apply = newer(epoch, old_epoch) or (epoch == old_epoch and newer(sequence, old_sequence))
  end
  if apply then
    redis.call('HSET', KEYS[1], key, epoch .. ':' .. sequence .. ':' .. value)
    if value == '0' then redis.call('ZADD', KEYS[2], string.format('%.0f', now), key) end
    for _, part in ipairs({key, epoch, sequence, value}) do
      news[n + 1], news[n + 2], news[n + 3] = #part, ':', part
      n = n + 3
    end
    written = written + 1
  end
end

-- Forget removals that no late write can undo any more.
local before = string.format('(%.0f', now - tonumber(ARGV[4]))
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', before, 'LIMIT', 0, 100)) do
  local stored = redis.call('HGET', KEYS[1], key)
  if stored and string.match(stored, '^%d+:%d+:0$') then redis.call('HDEL', KEYS[1], key) end
  redis.call('ZREM', KEYS[2], key)
end

if written > 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('PUBLISH', ARGV[1], table.concat(news))
end
return written
