package throttle

import (
	"context"
	"time"

	"github.com/authkit-go/authkit"
)

// A Key identifies a record. It is a digest, so that no login name and no
// address is stored. The zero Key means none.
type Key [16]byte

// A Limit admits Burst attempts at once, and one more after every Every.
type Limit struct {
	Burst int           // 1 to 10,000
	Every time.Duration // from 1 ms to 24 h
}

// A Bucket is a limit for the attempts with a key.
type Bucket struct {
	Key Key
	Limit
}

// A Backoff configures how long a counter refuses attempts after consecutive
// failures.
type Backoff struct {
	FreeFailures    int           // the number of failures that cause no wait
	InitialDelay    time.Duration // the wait after one more; it doubles with each further one
	MaxDelay        time.Duration // the longest wait
	LockAfter       int           // from this number on, at most 10,000, every attempt is refused until Clear
	DecayPerFailure time.Duration // n failures are removed after n times this, if n is less than LockAfter
	TrustFor        time.Duration // a source is known for this long after its latest success
	Open            time.Duration // attempts that have not ended after this time have failed
}

// defaultBackoff has four free failures. Then it waits 30 s, 1, 2, 4, 8, 16 and
// 32 minutes, and an hour from the twelfth failure on. At a hundred failures
// every attempt is refused (LO-05).
var defaultBackoff = Backoff{
	FreeFailures: 4, InitialDelay: 30 * time.Second, MaxDelay: time.Hour, LockAfter: 100,
	DecayPerFailure: 24 * time.Hour, TrustFor: 90 * 24 * time.Hour, Open: time.Minute,
}

// Wait returns the wait after the last of a number of failures.
func (c Backoff) Wait(failures int) (wait time.Duration) {
	for n := c.FreeFailures; n < failures && wait < c.MaxDelay; n++ {
		wait = max(c.InitialDelay, 2*wait)
	}
	return min(wait, c.MaxDelay)
}

// A Reservation is an attempt and the records that a [Store] counts it on.
type Reservation struct {
	At time.Time // in whole microseconds

	// Buckets are the limits, at most three, with different keys.
	Buckets []Bucket

	// Counter counts consecutive failures, by Backoff. Source, if not zero, is
	// the counter of the place of the attempt. It replaces Counter while it is
	// known: after a success, for Backoff.TrustFor.
	Counter, Source Key
	Backoff         Backoff

	// ClearedAt is the key of the time at which the counters were cleared. It is
	// set if Counter is.
	ClearedAt Key

	// Guess is a digest of the password that failed, or 0. Only Finish reads it.
	Guess uint16
}

// A Decision is the time that an attempt must wait. The attempt is admitted if
// both durations are zero.
type Decision struct {
	Bucket  time.Duration // the wait because of the limits
	Counter time.Duration // the wait because of the counter

	// Open reports that the counter refuses only because of attempts that have
	// not ended. If none of them fails, it admits this one.
	Open bool
}

// A Store keeps the records. [Memory] is one. Test other implementations with
// storetest.TestThrottleStore.
//
// There are three kinds of records. A key may have one of each:
//   - A bucket has one time, at which it is full again. GCRA calls it the
//     "theoretical arrival time" (TAT).
//   - A counter has the number of failures n and the time at of the latest one.
//     Both include the open attempts: those that were admitted and have not
//     ended. A counter also has the number of open attempts, open, and the time
//     since of the latest failure that is not open. Without open attempts,
//     since equals at. It has the digest guess of the latest failure, or 0. The
//     counter of a Source also has the time until which the source is known.
//   - A clearing has a time.
//
// Rules for implementations:
//   - Every method is one atomic step over all of its keys, safe for concurrent
//     use, and visible to every later call.
//   - Times come from the caller, with microsecond precision. A store reads no
//     clock: whether a record has expired depends on the At of the call. The
//     store may delete expired records. It may let a record expire by a
//     duration that is not shorter than the rest of its life at the call that
//     wrote it. Programs that share a store need synchronized clocks: a
//     difference makes waits shorter or longer.
//   - An error means that the store failed. A call with a cancelled context
//     returns an error, and has no effect or the whole effect.
//   - A store without room drops buckets, and counters that refuse no attempt.
//     It drops those first that expire first. It never drops a record that
//     refuses attempts. If that is not enough, it refuses and changes nothing:
//     Reserve returns a Decision of a minute, and Clear an error. A success never
//     fails for lack of room; the Source is then not known (LO-10).
//
// A counter counts as absent if
//   - it has no record,
//   - at is not after the clearing, or
//   - n is less than Backoff.LockAfter, and at + n × Backoff.DecayPerFailure is not after At.
//
// If at + Backoff.Open is not after At, the open attempts of a counter have
// failed: open is 0, and since is at. A source is known if At is before the
// time in its record.
type Store interface {
	// Reserve decides on an attempt, and counts it if it is admitted. A refused
	// attempt changes nothing.
	//
	// A bucket admits the attempt if max(TAT, At) + Every is not after At +
	// Burst × Every. Otherwise the wait is the difference. A TAT that is more
	// than a minute after At + Burst × Every comes from a clock that was set
	// back since, and counts as absent.
	//
	// The counter is Source if that is known, and otherwise Counter. It admits
	// the attempt if Backoff.Wait(n) has passed since at. Otherwise the wait is
	// the rest of it. If n is Backoff.LockAfter or more, the wait is always
	// Backoff.MaxDelay. If the counter refuses, but would admit with n - open in
	// place of n and since in place of at, the verdict is Open.
	//
	// If all admit the attempt, the TAT of every bucket becomes max(TAT, At) +
	// Every, n becomes n + 1, open becomes open + 1, and at becomes the later
	// one of at and At.
	Reserve(ctx context.Context, t Reservation) (Decision, error)

	// Finish ends an attempt that was admitted. It uses the counter that Reserve
	// would use at the time of the call.
	//
	// If the attempt succeeded, the TAT of every bucket becomes TAT - Every. If
	// the Source is known, its counter is reset. Otherwise Counter is deleted.
	// The Source is then known until At + Backoff.TrustFor.
	//
	// If it is undecided, the TAT of every bucket becomes TAT - Every. If n is
	// not 0, it becomes n - 1, and open becomes open - 1 if it is not 0. If
	// open is then 0, at becomes since.
	//
	// If it failed, the buckets stay unchanged. If n is 0, the counter stays
	// unchanged too.
	//
	// A repeated guess is not a new failure. A guess is repeated if Guess is
	// not 0 and equals that of the record, and the Source is known or zero. The
	// counter then changes as for an undecided attempt.
	//
	// Otherwise open becomes open - 1 if it is not 0, and since becomes at. If
	// Guess is not 0, and the Source is known or zero, guess then becomes
	// Guess.
	Finish(ctx context.Context, t Reservation, outcome authkit.AttemptOutcome) error

	// Clear deletes Counter and sets the clearing to At, so that the failures of
	// every source count as absent too. The clearing lives for Backoff.DecayPerFailure ×
	// Backoff.LockAfter.
	Clear(ctx context.Context, t Reservation) error
}
