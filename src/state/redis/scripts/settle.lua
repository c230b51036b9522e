-- Finds out what became of a commit whose answer was lost, and makes the finding final: a commit that has not arrived
-- by now is refused when it does.
--
-- KEYS  1 done (the commit's id)
-- ARGV  1 ttl, ms
-- Returns "c" .. revision   it was committed
--         "r"               its request had been answered before
--         "x"               it was not, and will not be
local found = redis.call('GET', KEYS[1])
if found then
  -- A write, so that a WAIT after this one covers the commit as well.
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  return found
end
redis.call('SET', KEYS[1], 'x', 'PX', ARGV[1])
return 'x'
