-- ARGV: what (claim, renew, release), ttl, role, member, then for each partition  prefix, epoch (of the lease that is renewed or released; 0 to claim).
-- Answers for each partition: the epoch of the lease that the member now holds (claim, renew) or held (release); 0 where it is not the member's.
local what, ttl, role, member = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local epochs = {}
for i = 5, #ARGV, 2 do
  local lease = ARGV[i] .. 'lease:' .. role
  local present = redis.call('GET', lease)
  local epoch = 0
  if what == 'claim' then
    if not present then
      local counter = ARGV[i] .. 'epoch:' .. role
      epoch = redis.call('INCR', counter)
      redis.call('PEXPIRE', counter, 604800000)
      redis.call('SET', lease, member .. ':' .. epoch, 'PX', ttl)
    elseif string.sub(present, 1, #member + 1) == member .. ':' then
      epoch = tonumber(string.sub(present, #member + 2))
      redis.call('PEXPIRE', lease, ttl)
    end
  elseif present == member .. ':' .. ARGV[i + 1] then
    epoch = tonumber(ARGV[i + 1])
    if what == 'renew' then
      redis.call('PEXPIRE', lease, ttl)
      redis.call('PEXPIRE', ARGV[i] .. 'epoch:' .. role, 604800000)
    else
      redis.call('DEL', lease)
    end
  end
  epochs[#epochs + 1] = epoch
end
return epochs
