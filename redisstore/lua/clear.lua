-- KEYS and ARGV: see throttle.lua. There are no buckets and no source.
if repeated() or not counterKey then
	return 1
end
redis.call('DEL', counterKey) -- first, because a full Redis does not refuse it
remember()
keep(pardonKey, text(at), at + curve.disable * curve.forget)
return 1
