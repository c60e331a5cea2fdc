package throttle

import (
	"context"
	"time"

	"github.com/authkit-go/authkit"
)

// A Key is the name of a record: a digest, so that no name that somebody typed and no
// address is stored. The zero Key stands for none.
type Key [16]byte

// A Limit lets Burst attempts in at once, and from then on one in every Every.
type Limit struct {
	Burst int           // 1 to 10,000
	Every time.Duration // from 1 ms to 24 h
}

// A Bucket is a limit on attempts under a key.
type Bucket struct {
	Key Key
	Limit
}

// A Curve configures how long a counter refuses attempts after consecutive failures.
type Curve struct {
	Free    int           // the number of failures that cause no wait
	First   time.Duration // the wait after one more; it doubles with each further one
	Most    time.Duration // the longest wait
	Disable int           // at this number, at most 10,000, every attempt is refused until Clear
	Forget  time.Duration // n failures are forgotten after n times this, if there are fewer than Disable
	Known   time.Duration // a source is known for this long after its latest success
	Open    time.Duration // attempts that have not ended for this long have failed
}

// defaultCurve is four failures for nothing, then 30 s, 1, 2, 4, 8, 16 and 32 minutes, an
// hour from the twelfth on, and the end at a hundred (LO-05).
var defaultCurve = Curve{
	Free: 4, First: 30 * time.Second, Most: time.Hour, Disable: 100,
	Forget: 24 * time.Hour, Known: 90 * 24 * time.Hour, Open: time.Minute,
}

// Wait returns how long after the last of so many failures an attempt is let in.
func (c Curve) Wait(failures int) (wait time.Duration) {
	for n := c.Free; n < failures && wait < c.Most; n++ {
		wait = max(c.First, 2*wait)
	}
	return min(wait, c.Most)
}

// A Take is an attempt as a [Store] sees it: the records that it is counted on.
type Take struct {
	At time.Time // in whole microseconds

	// Buckets are the limits: three at most, of different keys.
	Buckets []Bucket

	// Counter counts consecutive failures, by Curve. Source, if there is one, is the
	// counter of the place that the attempt comes from. It is used in place of Counter
	// while it is known: from a success on, for Curve.Known.
	Counter, Source Key
	Curve           Curve

	// Pardon is the record of when the counters were cleared, if there is a Counter.
	Pardon Key

	// Guess is a digest of the password that failed, or 0. Only Settle reads it.
	Guess uint16
}

// A Verdict says how long an attempt must wait: not at all, if both durations are zero.
type Verdict struct {
	Bucket  time.Duration // for the limits
	Counter time.Duration // for the counter

	// Open reports that the counter refuses only because of attempts that have not ended
	// yet: if all of them turn out not to be failures, it admits this one.
	Open bool
}

// A Store keeps the records. [Memory] is one. Test another one with
// storetest.TestThrottleStore.
//
// There are three kinds of records, all of which a key can have:
//   - Of a bucket there is one time, the moment at which it is full again: the "theoretical
//     arrival time" of GCRA, called TAT here.
//   - Of a counter there are the number of failures n and the time at of the latest one.
//     Both include the open attempts: those that were admitted and have not ended. There are
//     the number of these, open, and the time since of the latest failure that is not one of
//     them. Without open attempts, since is at. There is the digest guess of the latest failure, or 0. The counter of a Source
//     also has a time until which the source is known.
//   - Of a pardon there is a time.
//
// The promises of an implementation:
//   - Every method is one atomic step over all of its keys, safe for concurrent use, and
//     visible to every later call.
//   - Times come from the caller and are kept to the microsecond. A store reads no clock:
//     a record that has expired is as none, by the At of the call. It may delete such a
//     record, or have it expire by a duration, which is never shorter than the rest at
//     the call that wrote it. Several programs on one store must have clocks that agree:
//     the difference makes a wait shorter or longer at one of them.
//   - An error means that the store failed. A cancelled context ends a call with an error,
//     and without an effect or with the whole effect.
//   - A store that has no more room gives up records of buckets and of counters that refuse
//     nothing, the ones that expire first in front, and never one that does. If that is not
//     enough it refuses and changes nothing: Take with a Verdict of a minute, Clear with an
//     error. A success never fails for lack of room: then the Source is not known (LO-10).
//
// A counter is as none if there is no record, if at is not after the pardon, or if n is less
// than Curve.Disable and at plus n times Curve.Forget is not after At. If at plus Curve.Open
// is not after At, its open attempts have failed: open is 0, and since is at. A source is
// known if At is before the time that its record has.
type Store interface {
	// Take decides on an attempt, and counts an admitted one. A refused one changes nothing.
	//
	// A bucket admits it if max(TAT, At) + Every is not after At + Burst × Every, and else
	// it must wait for the difference. A TAT that is more than a minute after
	// At + Burst × Every is that of a clock that was set back since, and counts as none.
	//
	// The counter is that of the Source, if that is known, and else Counter. It admits the
	// attempt if Curve.Wait(n) has passed since at, and else it must wait for the rest of
	// it; with n of Curve.Disable or more it must wait for Curve.Most, always. If it
	// refuses, and would not with n - open in place of n and since in place of at, the
	// verdict is Open.
	//
	// If all admit it, the TAT of every bucket becomes max(TAT, At) + Every, n becomes n + 1,
	// open becomes open + 1, and at the later one of at and At.
	Take(ctx context.Context, t Take) (Verdict, error)

	// Settle ends an attempt that was admitted. The counter is the one that Take would
	// use at the time of the call.
	//
	// If it succeeded, the TAT of every bucket becomes TAT - Every. If the Source is known,
	// its counter becomes as none; if it is not, or there is none, Counter is deleted. A
	// Source is known from then on, until At + Curve.Known.
	//
	// If it is undecided, the TAT of every bucket becomes TAT - Every. If n is not 0, it
	// becomes n - 1, and open becomes open - 1 if it is not 0. If open is 0 then, at becomes
	// since.
	//
	// If it failed, the buckets stay. If n is 0, so does the counter. Otherwise, if Guess is
	// not 0, and the Source is known or there is none, and the guess of the record is Guess,
	// the counter changes as for an undecided attempt: the same wrong guess again is no new
	// failure. If not, open becomes open - 1 if it is not 0, since becomes at, and with a
	// Guess that is not 0, and a Source that is known or none, guess becomes Guess.
	Settle(ctx context.Context, t Take, outcome authkit.AttemptOutcome) error

	// Clear deletes Counter, and sets the pardon to At, so that the failures of every
	// source count as none too. A pardon is kept for Curve.Forget × Curve.Disable.
	Clear(ctx context.Context, t Take) error
}
