-- KEYS: the session.
return current('HDEL', read(KEYS[1]))
