-- Applies one commit of one namespace, atomically, and tells followers that there is news.
--
-- KEYS  1 meta  2 data  3 index  4 log  5 marks  6 done (this commit's id)  7 request (its record)  8.. series
-- ARGV  1 caller's store epoch  2 run_id of the caller's server  3 ttl of done, ms  4 log age, ms  5 log size, bytes
--       6 channel  7 namespace  8 ttl of the request, ms ("0": no request)  9 fingerprint  10 response
--       11 number of checks  12 of changes  13 of appends
--       then checks (key, revision), changes ("p", key, value | "d", key, ""), appends (n of KEYS, series, value)
-- Returns {"committed", revision, time}
--         {"repeated", record}            the request was answered before
--         {"conflict", key, revision}     a check failed; revision "0": the key does not exist
--         {"epoch"}                       the namespace is not of the caller's epoch and server: nothing was done
--         {"fenced"}                      the caller gave this commit up before it arrived: nothing was done
--
-- Every check comes before the first write, and the first write is one that Redis refuses when out of memory: later
-- ones of the same script are then never refused, so there is no half a commit.
-- Revisions are counters below 1e14, which a double holds exactly; they are printed with %.0f, never as exponents.
local meta = redis.call('HMGET', KEYS[1],
  'epoch', 'run', 'revision', 'time', 'bytes', 'floor_bytes', 'mark_time', 'mark_bytes')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return {'epoch'} end
if redis.call('EXISTS', KEYS[6]) == 1 then return {'fenced'} end

local request_ttl = ARGV[8]
if request_ttl ~= '0' then
  local record = redis.call('GET', KEYS[7])
  if record then
    -- For settle.lua; and as a write it makes a WAIT after this one cover the first answer for certain.
    redis.call('SET', KEYS[6], 'r', 'PX', ARGV[3])
    return {'repeated', record}
  end
end

local at = 14
for _ = 1, tonumber(ARGV[11]) do
  local stored = redis.call('HGET', KEYS[2], ARGV[at])
  local revision = stored and string.match(stored, '^(%d+):') or '0'
  if revision ~= ARGV[at + 1] then return {'conflict', ARGV[at], revision} end
  at = at + 2
end

local number = tonumber(meta[3] or '0') + 1
if number >= 1e14 then return redis.error_reply('LIMIT revisions are used up') end
local revision = string.format('%.0f', number)
local clock = redis.call('TIME')
-- Time never runs backwards within a namespace.
local time = math.max(tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000), tonumber(meta[4] or '0'))
local time_text = string.format('%.0f', time)

redis.call('SET', KEYS[6], 'c' .. revision, 'PX', ARGV[3])

-- The log's entry: netstrings of epoch, time, then kind, name and value of each change and append.
local parts = {#ARGV[1], ':', ARGV[1], #time_text, ':', time_text}
local n = #parts
local function log(kind, name, value)
  parts[n + 1] = kind
  parts[n + 2] = #name
  parts[n + 3] = ':'
  parts[n + 4] = name
  parts[n + 5] = #value
  parts[n + 6] = ':'
  parts[n + 7] = value
  n = n + 7
end
-- Of quiet keys (store.ts, QUIET_PREFIX) followers are not told.
local function log_change(kind, name, value)
  if string.byte(name) == 126 then return end
  log(kind, name, value)
end

for _ = 1, tonumber(ARGV[12]) do
  local kind, key, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if kind == 'p' then
    if redis.call('HSET', KEYS[2], key, revision .. ':' .. value) == 1 then
      redis.call('ZADD', KEYS[3], '0', key)
    end
  elseif redis.call('HDEL', KEYS[2], key) == 1 then
    redis.call('ZREM', KEYS[3], key)
  end
  log_change(kind, key, value)
  at = at + 3
end

for index = 0, tonumber(ARGV[13]) - 1 do
  local id = revision .. '-' .. string.format('%.0f', index)
  redis.call('XADD', KEYS[tonumber(ARGV[at])], id, 't', time_text, 'v', ARGV[at + 2])
  log('a', ARGV[at + 1], ARGV[at + 2])
  at = at + 3
end

if request_ttl ~= '0' then
  redis.call('SET', KEYS[7], revision .. ':' .. #ARGV[9] .. ':' .. ARGV[9] .. ARGV[10], 'PX', request_ttl)
end

local entry = table.concat(parts)
redis.call('XADD', KEYS[4], revision .. '-0', 'b', entry)

-- The log is dropped in segments, so that trimming costs a commit next to nothing. A mark stands at the end of each:
-- its last revision, that one's time, and the bytes logged until then.
local age, size = tonumber(ARGV[4]), tonumber(ARGV[5])
local bytes = tonumber(meta[5] or '0') + #entry + 64
local floor_bytes = tonumber(meta[6] or '0')
local mark_time, mark_bytes = tonumber(meta[7] or time_text), tonumber(meta[8] or '0')
if time - mark_time >= age / 16 or bytes - mark_bytes >= size / 16 then
  redis.call('RPUSH', KEYS[5], revision .. ':' .. time_text .. ':' .. string.format('%.0f', bytes))
  mark_time, mark_bytes = time, bytes
end
for _ = 1, 8 do
  local mark = redis.call('LINDEX', KEYS[5], 0)
  if not mark then break end
  local last, last_time, last_bytes = string.match(mark, '^(%d+):(%d+):(%d+)$')
  if last == revision then break end
  if bytes - floor_bytes <= size and time - tonumber(last_time) <= age then break end
  redis.call('LPOP', KEYS[5])
  redis.call('XTRIM', KEYS[4], 'MINID', '=', string.format('%.0f-0', tonumber(last) + 1))
  redis.call('HSET', KEYS[1], 'floor', last)
  floor_bytes = tonumber(last_bytes)
end

redis.call('HSET', KEYS[1], 'revision', revision, 'time', time_text,
  'bytes', string.format('%.0f', bytes), 'floor_bytes', string.format('%.0f', floor_bytes),
  'mark_time', string.format('%.0f', mark_time), 'mark_bytes', string.format('%.0f', mark_bytes))
redis.call('PUBLISH', ARGV[6], #ARGV[7] .. ':' .. ARGV[7] .. #revision .. ':' .. revision)
return {'committed', revision, time_text}
