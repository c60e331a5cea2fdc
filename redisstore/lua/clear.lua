-- KEYS and ARGV: see throttle.lua; there are no buckets, and no source.
if repeated() or not counterKey then
	return 1
end
redis.call('DEL', counterKey) -- first, since a full Redis does not refuse it: who has a new password is let in
remember()
keep(pardonKey, text(at), at + curve.disable * curve.forget)
return 1
