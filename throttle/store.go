package throttle

import (
	"context"
	"time"
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

// A Curve says how long a counter refuses after so many failures on end.
type Curve struct {
	Free    int           // so many cost nothing
	First   time.Duration // the wait after one more, which doubles with each
	Most    time.Duration // up to this
	Disable int           // so many end it: no attempt is let in until the counter is cleared
	Forget  time.Duration // n failures are forgotten after n times this, if there are fewer than Disable
	Known   time.Duration // a source is known for so long after its latest success
}

// defaultCurve is four failures for nothing, then 30 s, 1, 2, 4, 8, 16 and 32 minutes, an
// hour from the twelfth on, and the end at a hundred (LO-05).
var defaultCurve = Curve{
	Free: 4, First: 30 * time.Second, Most: time.Hour, Disable: 100,
	Forget: 24 * time.Hour, Known: 90 * 24 * time.Hour,
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

	// Buckets are the limits: two at most, of different keys.
	Buckets []Bucket

	// Counter counts the failures on end, by Curve. Source, if there is one, is a
	// counter of its own for where the attempt comes from, and is used in place of
	// Counter while that is known: from a success on, for Curve.Known.
	Counter, Source Key
	Curve           Curve

	// Pardon is the record of when the counters were cleared, if there is a Counter.
	Pardon Key
}

// A Verdict says how long an attempt must wait: not at all, if both are zero.
type Verdict struct {
	Bucket  time.Duration // for the limits
	Counter time.Duration // for the counter
}

// A Store keeps the records. [Memory] is one; whoever writes another proves it with
// storetest.TestThrottleStore.
//
// There are three kinds of records, all of which a key can have:
//   - Of a bucket there is one time, the moment at which it is full again: the "theoretical
//     arrival time" of GCRA, called TAT here.
//   - Of a counter there are the number of failures n, and when the latest of them was, at.
//     That of a Source also has a time until which the source is known.
//   - Of a pardon there is a time.
//
// What an implementation promises:
//   - Every method is one atomic step over all of its keys, safe for concurrent use, and
//     visible to every later call.
//   - Times come from the caller and are kept to the microsecond. A store asks no clock:
//     a record that has expired is as none, by the At of the call. It may delete such a
//     record, or have it expire by a duration, which is never shorter than what is left at
//     the call that wrote it. Several programs on one store must have clocks that agree:
//     what they differ by is what a wait is shorter by, or longer, at one of them.
//   - An error means that the store failed. A cancelled context ends a call with an error,
//     and without an effect or with the whole effect.
//   - A store that has no more room gives up records of buckets and of counters that refuse
//     nothing, the ones that expire first in front, and never one that does. If that is not
//     enough it refuses: a Verdict of a minute (LO-10).
//
// Failures of a counter count as none (n is 0) if there is no record, if at is not after the
// pardon, or if n is less than Curve.Disable and at plus n times Curve.Forget is not after At.
// A source is known if At is before the time that its record has.
type Store interface {
	// Take decides on an attempt, and counts it if it is let in. If it is not, nothing changes.
	//
	// A bucket lets it in if max(TAT, At) + Every is not after At + Burst × Every, and else
	// it must wait for the difference. A TAT that is more than a minute after
	// At + Burst × Every is that of a clock that was set back since, and counts as none.
	//
	// The counter is that of the Source, if that is known, and else Counter. It lets the
	// attempt in if Curve.Wait(n) has passed since at, and else must wait for the rest of
	// it; with n of Curve.Disable or more it must wait for Curve.Most, always.
	//
	// If all let it in, the TAT of every bucket becomes max(TAT, At) + Every, the counter's
	// n becomes n + 1, and its at the later one of at and At.
	Take(ctx context.Context, t Take) (Verdict, error)

	// Settle undoes what Take did for an attempt that was let in and did not fail.
	//
	// The TAT of every bucket becomes TAT - Every. Without success, n of the counter becomes n - 1 if
	// it is not 0. With success, if the Source is known, its n becomes 0; if it is not, or there is
	// none, Counter is deleted. A Source is known from then on, until At + Curve.Known.
	Settle(ctx context.Context, t Take, succeeded bool) error

	// Clear deletes Counter, and sets the pardon to At, so that the failures of every
	// source count as none too. A pardon is kept for Curve.Forget × Curve.Disable.
	Clear(ctx context.Context, t Take) error
}
