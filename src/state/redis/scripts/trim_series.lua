-- Removes the oldest entries of a series.
--
-- KEYS  1 series
-- ARGV  1 time: only entries before it, ms  2 at most so many
-- Returns how many were removed
local before, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local removed = 0
while removed < limit do
  local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', string.format('%.0f', math.min(limit - removed, 100)))
  local ids = {}
  for _, entry in ipairs(entries) do
    if tonumber(entry[2][2]) >= before then break end
    ids[#ids + 1] = entry[1]
  end
  if #ids > 0 then removed = removed + redis.call('XDEL', KEYS[1], unpack(ids)) end
  if #ids == 0 or #ids < #entries then break end
end
return removed
