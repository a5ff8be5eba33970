-- All commits of one flush. ARGV: for each commit  prefix, role, lease value, number of its writes, number of their arguments, then the writes:
--   s name ttl n field value …   set fields of a record           u name n field …     drop fields
--   p name ttl value             put a value                      e name ttl           set the time to live
--   d name                       delete                           z name ttl member score
--   x name n member …            drop members of a sorted set     t name score         drop members up to a score
-- Answers with one character per commit: 1 written, 0 refused (the lease is not the writer's).
local function prolong(key, ttl)
  if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end
local outcomes = {}
local i = 1
local last = #ARGV
while i <= last do
  local prefix = ARGV[i]
  local count = tonumber(ARGV[i + 3])
  local length = tonumber(ARGV[i + 4])
  local held = redis.call('GET', prefix .. 'lease:' .. ARGV[i + 1]) == ARGV[i + 2]
  i = i + 5
  if not held then
    outcomes[#outcomes + 1] = '0'
    i = i + length
  else
    outcomes[#outcomes + 1] = '1'
    for _ = 1, count do
      local op = ARGV[i]
      local key = prefix .. ARGV[i + 1]
      if op == 's' then
        local n = tonumber(ARGV[i + 3])
        redis.call('HSET', key, unpack(ARGV, i + 4, i + 3 + n))
        prolong(key, ARGV[i + 2])
        i = i + 4 + n
      elseif op == 'u' then
        local n = tonumber(ARGV[i + 2])
        redis.call('HDEL', key, unpack(ARGV, i + 3, i + 2 + n))
        i = i + 3 + n
      elseif op == 'p' then
        redis.call('SET', key, ARGV[i + 3], 'PX', ARGV[i + 2])
        i = i + 4
      elseif op == 'e' then
        redis.call('PEXPIRE', key, ARGV[i + 2])
        i = i + 3
      elseif op == 'd' then
        redis.call('UNLINK', key)
        i = i + 2
      elseif op == 'z' then
        redis.call('ZADD', key, ARGV[i + 4], ARGV[i + 3])
        prolong(key, ARGV[i + 2])
        i = i + 5
      elseif op == 'x' then
        local n = tonumber(ARGV[i + 2])
        redis.call('ZREM', key, unpack(ARGV, i + 3, i + 2 + n))
        i = i + 3 + n
      elseif op == 't' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[i + 2])
        i = i + 3
      else
        return redis.error_reply('CARILLON_STORE unknown write ' .. op)
      end
    end
  end
end
return table.concat(outcomes)
