// Package redisstore keeps sessions in Redis, and the counters of a throttle: the
// [authkit.SessionStore] of a service with many instances and more requests than its database should
// see, and the [throttle.Store] by which they have one limit.
//
//	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
//	store, err := redisstore.NewSessions(client, redisstore.Options{})
//	counters, err := redisstore.NewThrottle(client, redisstore.Options{})
//	limits, err := throttle.New(throttle.Config{Store: counters, Secret: secret})
//	kit, err := authkit.New(authkit.Config{Sessions: authkit.SessionConfig{Store: store}, Throttle: limits})
//	go kit.Run(ctx)
//
// Accounts are not kept here; use a package such as sqlstore for those. It is tested with Redis 7.0,
// one server and a cluster.
//
// # What the server needs
//
//   - maxmemory-policy noeviction. Any other drops sessions when memory is short, or the set that
//     finds a user's sessions to end them, and a logout everywhere would miss some. It drops counters
//     that refuse, too.
//   - For sessions, appendonly yes; and appendfsync always, if no logout may be undone by a crash. See below.
//   - Reads and writes on the master. A replica refuses every method, the reading ones too:
//     it shows sessions for a moment that have ended, and counts that are too low.
//
// [Store.Check] and [Throttle.Check] look at these, and at the clock. A user of Redis with an access
// list needs, on the keys "{prefix}:*", the commands eval, evalsha, exists, del and hdel; for sessions
// pexpire, hget, hmget, hset, sadd, srem, scard, sismember, smembers, zadd, zrem, zscore and
// zrangebyscore; for a throttle get and set; and info and time for Check. Without one of them a script
// can stop in the middle.
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
// What a throttle has counted in that time has not been counted, and what it has cleared counts again. One
// that comes back empty gives every account its free guesses anew, lets in accounts that were at
// their end, and knows no address of past success.
//
// The options min-replicas-to-write 1 and min-replicas-max-lag bound how long a master that was cut off
// accepts changes that its successor will not have.
//
// A throttle fails as a store of sessions does, and package throttle then counts in each
// instance's memory, or refuses, by FailClosed of its Config. A flood of names can bring that about: each
// takes 0.2 kB for a day, which are 5 MB a day from an address at its limit. When Redis is full, what is
// refused stays refused and can be cleared, and nothing is pushed out; but no attempt more is counted,
// and with sessions in the same Redis nobody can log in or refresh. So give it a
// maxmemory that leaves room, watch it, and where a thousand addresses are to be expected give the throttle
// a Redis of its own.
//
// # Keys, and how far they scale
//
// Of each store all keys have the hash tag {prefix}, and so are in one slot of a cluster:
//
//	{prefix}:s:ID      a session, a hash
//	{prefix}:u:USER    the IDs of a user's sessions, a set
//	{prefix}:expiry    all sessions by ExpiresAt, a sorted set
//	{prefix}:revoked   the revocations by At, a sorted set
//	{prefix}:t:b:KEY   a limit of a throttle: when it is full again
//	{prefix}:t:c:KEY   a counter, of an account or a source: failures, the latest, until when it is known
//	{prefix}:t:p:KEY   when the counters of an account were cleared
//	{prefix}:t:d:CALL  a Settle or Clear that is done, so that it has no effect when it is sent again
//
// A KEY is a digest, which names nobody. Each change is one script on them, so that a session and the Revocation of its end are one
// change; and a session is found by its ID in one round trip, as each guarded request does. With keys
// in several slots, one of the two could not be had.
//
// The price is that one server has the whole store. A script takes it 8 µs to read a session
// and 13 µs to rotate one; with nothing pipelined it does 29,000 or 23,000 a second, on a machine
// of two cores that the clients share. A million sessions that are each refreshed every half hour,
// and send a request a minute, are 560 rotations and 17,000 reads a second: a seventh of one
// core in scripts, and 60 % of what such a machine serves in all. They take 1.8 GB, or 0.9 GB with
// hash-max-listpack-value 256. A revocation takes 0.2 kB, for little more than an hour. Beyond
// that, give each tenant a prefix, and a throttle another than sessions: then a cluster spreads them. While a cluster moves the slot of
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
//
// What a throttle has goes by itself, a minute after it has stopped to count: by so much the clocks of
// instances may differ. It is as short because each failure leaves something. Only an account that is at
// its end (after 100 failures) stays so until it is cleared.
package redisstore
