// Package redisstore keeps sessions in Redis: the [authkit.SessionStore] of a service with
// many instances and more requests than its database should see.
//
//	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
//	store, err := redisstore.NewSessions(client, redisstore.Options{})
//	kit, err := authkit.New(authkit.Config{Sessions: authkit.SessionConfig{Store: store}})
//	go kit.Run(ctx)
//
// Accounts are not kept here; use a package such as sqlstore for those. It is tested with Redis 7.0,
// one server and a cluster.
//
// # What the server needs
//
//   - maxmemory-policy noeviction. Any other drops sessions when memory is short, or the set that
//     finds a user's sessions to end them, and a logout everywhere would miss some.
//   - appendonly yes; and appendfsync always, if no logout may be undone by a crash. See below.
//   - Reads and writes on the master. A replica refuses every method, the reading ones too:
//     it shows sessions for a moment that have ended.
//
// [Sessions.Check] looks at these. A user of Redis with an access list needs, on the keys
// "{prefix}:*", the commands eval, evalsha, exists, del, pexpire, hget, hmget, hset, hdel, sadd, srem,
// scard, sismember, smembers, zadd, zrem, zscore and zrangebyscore, and info for Check. Without one
// of them a script can stop in the middle.
//
// # What is lost, and when
//
// A Redis that cannot be reached, hangs, is loading, is out of memory or cannot save is a store that
// fails: requests are answered 503, and never as if there were no session, or a good one. In the last two
// cases sessions can still be read. Out of memory they can also be ended; then logins and refreshes fail.
//
// A Redis that comes back without its memory has no sessions. Every refresh token and every
// access token of a session is refused, and users log in again. Cut-offs of accounts (a new password, a
// logout everywhere, a disabled account) are with the accounts, and hold. The list of
// revocations is lost: a service that follows it, see package revocation, keeps what it has heard;
// one that starts after the loss accepts the access tokens of sessions that were ended before it,
// until they expire, as it does those of the sessions that were lost.
//
// A Redis that comes back with an older state is worse. With appendfsync everysec, the default, that
// is one of up to two seconds before it ended, whether the machine did or Redis alone; with always, what
// was answered is there; with snapshots only, minutes or more are not. After a failover what the
// replica had not received is not there: replication is asynchronous. What was done in that time is undone:
//
//   - A logout: the session goes on, and whoever has its tokens is in again. Cut-offs hold.
//   - A login: the user logs in again.
//   - A refresh: the token that the client has is not known. The session is ended, as if the
//     token had been used twice, and the user logs in again.
//
// The options min-replicas-to-write 1 and min-replicas-max-lag bound how long a master that was cut off
// accepts changes that its successor will not have.
//
// # Keys, and how far they scale
//
// Of each store all keys have the hash tag {prefix}, and so are in one slot of a cluster:
//
//	{prefix}:s:ID      a session, a hash
//	{prefix}:u:USER    the IDs of a user's sessions, a set
//	{prefix}:expiry    all sessions by ExpiresAt, a sorted set
//	{prefix}:revoked   the revocations by At, a sorted set
//
// Each change is one script on them, so that a session and the Revocation of its end are one
// change; and a session is found by its ID in one round trip, as each guarded request does. With keys
// in several slots, one of the two could not be had.
//
// The price is that one server has the whole store. A script takes it 8 µs to read a session
// and 13 µs to rotate one; with nothing pipelined it does 29,000 or 23,000 a second, on a machine
// of two cores that the clients share. A million sessions that are each refreshed every half hour,
// and send a request a minute, are 560 rotations and 17,000 reads a second: a seventh of one
// core in scripts, and 60 % of what such a machine serves in all. They take 1.8 GB, or 0.9 GB with
// hash-max-listpack-value 256. A revocation takes 0.2 kB, for little more than an hour. Beyond
// that, give each tenant a prefix: then a cluster spreads them. While a cluster moves the slot of
// a store to another node, most calls fail; that takes as long as copying it.
//
// # Time
//
// Times come from the caller, as microseconds. Between the years 1684 and 2255 they are exact
// wherever they are compared; outside, sorted sets round them by a few microseconds.
//
// Redis deletes a session by itself a day after it has expired, if nobody has called
// DeleteExpired until then. That is for memory's sake: [authkit.Kit.Run] has to run, for what is left of
// such a session in the sets, up to half a kB, goes only with it, and so do revocations.
package redisstore
