-- ARGV: name, now, hidden until, limit, then for each partition  prefix, role, lease value.
-- Answers for each partition: false where the lease is not the taker's, else member, score, …
local name, now, hidden, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local answers = {}
for i = 5, #ARGV, 3 do
  if redis.call('GET', ARGV[i] .. 'lease:' .. ARGV[i + 1]) ~= ARGV[i + 2] then
    answers[#answers + 1] = 'refused'
  else
    local key = ARGV[i] .. name
    local due = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
    for at = 1, #due, 2 do redis.call('ZADD', key, hidden, due[at]) end
    answers[#answers + 1] = due
  end
end
return answers
