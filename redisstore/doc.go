// Package redisstore keeps sessions, tickets and the counters of a throttle in
// Redis. It is for services with several instances, and for services with more
// requests than their database should handle.
//
//	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
//	store, err := redisstore.New(client, redisstore.Options{})
//	counters, err := redisstore.NewThrottle(client, redisstore.Options{})
//	limits, err := throttle.New(throttle.Config{Store: counters, Secret: secret})
//	kit, err := authkit.New(authkit.Config{
//		Sessions: authkit.SessionConfig{Store: store},
//		Tickets:  store,
//		Throttle: limits,
//	})
//	go kit.Run(ctx)
//
// A [Store] implements [authkit.SessionStore] and [authkit.TicketStore]. A
// [Throttle] implements [throttle.Store]. The package does not keep accounts;
// use a package such as sqlstore for these. A Store is not an
// [authkit.Transactor]: Redis cannot roll back a transaction.
//
// The package is tested with Redis 7.0, on one server and on a cluster.
//
// # Server configuration
//
//   - Set maxmemory-policy noeviction. With another policy, Redis drops records
//     if memory is short: sessions, the sets that LogoutEverywhere needs to
//     find sessions, tickets, and the counters of a throttle.
//   - For sessions, set appendonly yes. To keep every logout after a crash,
//     also set appendfsync always; see below.
//   - Connect to the master. All methods fail on a replica, including those
//     that only read. A replica may still have sessions that were ended, and
//     counts that are too low.
//
// [Store.Check] and [Throttle.Check] report wrong settings, and a clock that
// differs.
//
// An ACL user of the service needs these commands on the keys "{prefix}:*". If
// one is missing, a script can stop in the middle.
//
//	eval evalsha exists del hdel                           all
//	pexpire hget hmget hset zadd zrem zscore zrangebyscore sessions and tickets
//	sadd srem scard sismember smembers                     sessions
//	hlen hgetall                                           tickets
//	get set                                                a throttle
//	info time                                              Check
//
// # Failures
//
// If Redis is unreachable, hangs, is loading, is full or cannot save, the store
// fails. Requests are then answered with 503. A failure is never reported as a
// missing or a valid session.
//
// If Redis is full or cannot save, sessions can still be read. If it is full,
// sessions can also be ended, and tickets can be consumed and deleted. Logins,
// refreshes, new tickets and attempts at tickets fail.
//
// If Redis loses its data, all sessions are gone. It rejects every refresh
// token and every access token of a session, and users log in again. Cut-offs
// of accounts still hold, because they are stored with the accounts. A cut-off
// is set by a new password, by LogoutEverywhere and by disabling an account.
// Tickets are gone, too: a user starts over with a pending login or a link in
// an e-mail.
//
// The list of revocations is also lost. Services that follow it with package
// revocation keep the revocations that they have read. A service that starts
// later accepts access tokens of lost or ended sessions until these tokens
// expire.
//
// # An older state
//
// After a crash, Redis may return with an older state. With appendfsync
// everysec, the default, up to two seconds are lost. This can happen even if
// only Redis crashed, and not the machine. With appendfsync always, nothing is
// lost that was acknowledged. With snapshots alone, minutes or more are lost.
// After a failover, all writes are lost that the replica had not received,
// because replication is asynchronous. A lost write is undone:
//
//   - Logout: the session continues, and its tokens are valid again. Cut-offs
//     hold.
//   - Login: the user logs in again.
//   - Refresh: the store does not know the token of the client. The session is
//     ended as if the token had been used twice, and the user logs in again.
//   - Ticket consumed: the ticket can be consumed again, if its token is
//     presented again before it expires. Use appendfsync always if that
//     matters.
//   - Ticket attempted: the attempt is not counted.
//   - Throttle: a counted attempt is not counted, and a cleared counter counts
//     again.
//
// A throttle that loses its data grants every account its free guesses again.
// It unlocks accounts that had reached their limit. It does not recognize
// addresses of earlier logins.
//
// Set min-replicas-to-write 1 and min-replicas-max-lag to bound these losses.
// They limit how long an isolated master accepts changes that its successor
// will not have.
//
// # Lost replies
//
// If the reply to a call is lost, the client sends the call again. A repeated
// call of a Store has no second effect, and returns the same result. If the
// client cannot repeat it, the method returns an error, and the change may have
// been made or not. Only the counts of DeleteExpired and DeleteExpiredTickets
// may be too low after a repetition. For tickets this means:
//
//   - AttemptTicket: the attempt may have been counted. The user has one
//     attempt less.
//   - ConsumeTicket: the ticket may have been consumed. Then no caller
//     succeeds, and the user starts over. A ticket is never consumed by two
//     callers.
//
// # A full throttle
//
// If its store fails, package throttle counts in the memory of each instance,
// or refuses all attempts if FailClosed is set in its Config. An attacker can
// fill Redis with attempts under many names: each name takes 0.2 kB for a day.
// One address at its limit can add 5 MB a day.
//
// When Redis is full, refused accounts stay refused and can be cleared. Redis
// drops no record, but a throttle counts no more attempts. If sessions are in
// the same Redis, logins and refreshes fail. Set a maxmemory that leaves room,
// and monitor memory. If attacks from a thousand addresses are likely, use a
// separate Redis for the throttle.
//
// # Keys and scale
//
// All keys of a store have the hash tag {prefix}, and so are in one slot of a
// cluster:
//
//	{prefix}:s:ID      a session, a hash
//	{prefix}:u:USER    the IDs of a user's sessions, a set
//	{prefix}:expiry    all sessions by ExpiresAt, a sorted set
//	{prefix}:revoked   the revocations by At, a sorted set
//	{prefix}:k:TICKET  a ticket, a hash; TICKET is the length of the kind, ":", the kind and the ID
//	{prefix}:j:SUBJECT the tickets of a subject, a hash from kind to ID
//	{prefix}:tickets   all tickets by ExpiresAt, a sorted set
//	{prefix}:t:b:KEY   a limit of a throttle: the time at which it is full again
//	{prefix}:t:c:KEY   a counter of an account or a source: failures, the latest, the time until which it is known
//	{prefix}:t:p:KEY   the time at which the counters of an account were cleared
//	{prefix}:t:d:CALL  a Finish or Clear that is done, so that repeating it has no effect
//
// A KEY is a digest and contains no name. Each change is one script on these
// keys. A session and the Revocation that ends it are therefore one change. A
// session is found by its ID in one round trip, which is the cost of each
// guarded request. If the keys were in several slots, one of the two properties
// would be lost.
//
// The price is that one server holds the whole store. A script takes 8 µs to
// read a session and 13 µs to rotate one. Without pipelining, Redis runs 29,000
// reads or 23,000 rotations a second on a machine of two cores that it shares
// with the clients.
//
// For example, take a million sessions that are refreshed every half hour and
// send a request a minute. They cause 560 rotations and 17,000 reads a second:
// a seventh of one core in scripts, and 60 % of the calls that such a machine
// can serve. They take 2.0 GB, or 1.1 GB with hash-max-listpack-value 256. A
// revocation takes 0.2 kB for little more than an hour. A ticket takes 1.3 kB,
// or 0.8 kB with that setting.
//
// To scale further, give each tenant a prefix, and the throttle another prefix
// than the sessions. A cluster then spreads them. While a cluster moves the
// slot of a store to another node, most calls fail until the slot is copied.
//
// # Time
//
// Times come from the caller and are kept in microseconds. Comparisons are
// exact between the years 1684 and 2255. Outside that range, sorted sets round
// times by a few microseconds.
//
// Redis expires a session or a ticket a day after its ExpiresAt if it was not
// deleted before. This only limits memory. Run [authkit.Kit.Run], or call
// DeleteExpired and DeleteExpiredTickets: only these delete the index entries,
// up to half a kB for each session or ticket, and the revocations.
//
// Redis expires the records of a throttle a minute after they have stopped to
// count. The minute allows for clocks of instances that differ. It is short
// because each failed login leaves a record. An account that has reached its
// limit of 100 failures stays locked until it is cleared.
package redisstore
