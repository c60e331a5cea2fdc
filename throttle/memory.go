package throttle

import (
	"context"
	"errors"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	defaultMaxKeys = 1_370_000
	ways           = 32          // records in a set
	clockSlack     = time.Minute // the tolerated difference between clocks
	fullWait       = time.Minute
)

// Memory is a [Store] in memory for a single program. It is empty at each
// start. Its memory is bounded: 64 MiB for the 1,370,000 keys of
// [NewMemory](0), and less while there are few.
//
// It works like a set-associative cache. A seeded hash assigns each key to a
// set, and a full set drops its least important record.
type Memory struct {
	mu   sync.Mutex
	seed maphash.Seed
	sets [][]record
}

var errFull = errors.New("throttle: the Memory is full of records that refuse attempts")

// A record has 48 bytes and no pointer, so the garbage collector skips it. The
// fields from since on belong to counters.
type record struct {
	key    Key
	at     int64 // the TAT of a bucket, the latest failure of a counter, or a clearing, in microseconds since 1970
	expiry int64 // the time from which the record no longer counts
	since  int64
	n      uint16
	open   uint16
	guess  uint16
	keep   bool // whether it must not be dropped before it expires
}

// NewMemory returns a Memory for at most maxKeys keys. If maxKeys is zero or
// negative, the limit is 1,370,000.
func NewMemory(maxKeys int) *Memory {
	if maxKeys <= 0 {
		maxKeys = defaultMaxKeys
	}
	return &Memory{seed: maphash.MakeSeed(), sets: make([][]record, (maxKeys+ways-1)/ways)}
}

// set returns the set of a key.
func (m *Memory) set(key Key) *[]record {
	return &m.sets[maphash.Bytes(m.seed, key[:])%uint64(len(m.sets))]
}

// get returns the record of a key, or the zero record.
func (m *Memory) get(key Key, now int64) record {
	for _, r := range *m.set(key) {
		if r.key == key && r.expiry > now {
			return r
		}
	}
	return record{}
}

// put stores a record, without replacing any of the keys in keep. If there is
// no room, it returns false and changes nothing. The function undo restores the
// set. Call it only after undoing all later puts.
func (m *Memory) put(r record, now int64, keep ...Key) (undo func(), ok bool) {
	set := m.set(r.key)
	place := -1 // the index of the record that may be dropped and expires first
	for i, old := range *set {
		if old.key == r.key {
			(*set)[i] = r
			return func() { (*set)[i] = old }, true
		}
		if (old.expiry <= now || !old.keep) && (place < 0 || old.expiry < (*set)[place].expiry) && !slices.Contains(keep, old.key) {
			place = i
		}
	}
	switch full := len(*set) == ways; {
	case place >= 0 && (full || (*set)[place].expiry <= now):
		old := (*set)[place]
		(*set)[place] = r
		return func() { (*set)[place] = old }, true
	case full:
		return nil, false
	case len(*set) == cap(*set): // grow by eights, since doubling would leave much of it empty
		*set = append(make([]record, 0, len(*set)+ways/4), *set...)
	}
	*set = append(*set, r)
	return func() { *set = (*set)[:len(*set)-1] }, true
}

func (m *Memory) remove(key Key) {
	set := m.set(key)
	*set = slices.DeleteFunc(*set, func(r record) bool { return r.key == key })
}

// counter returns the counter for an attempt, as of the time of the attempt,
// and whether it belongs to a source.
func (m *Memory) counter(t *Reservation, now int64) (r record, source bool) {
	key := t.Counter
	if source = t.Source != (Key{}) && m.get(t.Source, now).key == t.Source; source {
		key = t.Source
	}
	r = m.get(key, now)
	r.key = key
	forgotten := int(r.n) < t.Backoff.LockAfter && r.at+int64(r.n)*t.Backoff.DecayPerFailure.Microseconds() <= now
	if forgotten || r.at <= m.get(t.ClearedAt, now).at {
		r.n, r.open, r.guess = 0, 0, 0
	}
	if r.at+t.Backoff.Open.Microseconds() <= now && r.open > 0 {
		r.open, r.since = 0, r.at
	}
	return r, source
}

// putCounter stores a counter. It expires when its failures have decayed,
// except for that of a source.
func (m *Memory) putCounter(t *Reservation, r record, source bool, now int64) (undo func(), ok bool) {
	r.keep = source || int(r.n) > t.Backoff.FreeFailures
	if !source {
		r.expiry = r.at + int64(r.n)*t.Backoff.DecayPerFailure.Microseconds()
		if int(r.n) >= t.Backoff.LockAfter {
			r.expiry = math.MaxInt64
		}
	}
	return m.put(r, now)
}

// wait returns how long a counter with n failures still refuses, if the latest
// failure was at the given time.
func (c *Backoff) wait(n int, at, now int64) time.Duration {
	wait := c.Wait(n)
	if n < c.LockAfter && wait > 0 {
		wait = max(0, wait-time.Duration(now-at)*time.Microsecond)
	}
	return wait
}

// Reserve implements [Store].
func (m *Memory) Reserve(ctx context.Context, t Reservation) (Decision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Decision{}, err
	}
	var v Decision
	now := t.At.UnixMicro()
	tats := make([]int64, 0, 3)
	for _, b := range t.Buckets {
		every := b.Every.Microseconds()
		full := now + int64(b.Burst)*every
		tat := m.get(b.Key, now).at
		if tat > full+clockSlack.Microseconds() {
			tat = 0
		}
		tat = max(tat, now) + every
		tats = append(tats, tat)
		v.Bucket = max(v.Bucket, time.Duration(tat-full)*time.Microsecond)
	}
	var c record
	var source bool
	if t.Counter != (Key{}) {
		c, source = m.counter(&t, now)
		v.Counter = t.Backoff.wait(int(c.n), c.at, now)
		v.Open = v.Counter > 0 && t.Backoff.wait(int(c.n-c.open), c.since, now) == 0
	}
	if v != (Decision{}) {
		return v, nil
	}
	undo := func() {}
	stored := make([]Key, 0, 4) // by this call, which must not drop them
	if t.Counter != (Key{}) {
		c.n, c.open, c.at = c.n+1, c.open+1, max(c.at, now)
		var ok bool
		if undo, ok = m.putCounter(&t, c, source, now); !ok {
			return Decision{Counter: fullWait}, nil
		}
		stored = append(stored, c.key)
	}
	for i, b := range t.Buckets {
		more, ok := m.put(record{key: b.Key, at: tats[i], expiry: tats[i]}, now, stored...)
		if !ok {
			undo()
			return Decision{Bucket: fullWait}, nil
		}
		before := undo
		undo = func() { more(); before() }
		stored = append(stored, b.Key)
	}
	return v, nil
}

// Finish implements [Store].
func (m *Memory) Finish(ctx context.Context, t Reservation, outcome authkit.AttemptOutcome) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	now := t.At.UnixMicro()
	for _, b := range t.Buckets {
		if r := m.get(b.Key, now); r.at != 0 && outcome != authkit.AttemptFailed {
			tat := r.at - b.Every.Microseconds()
			m.put(record{key: b.Key, at: tat, expiry: tat}, now)
		}
	}
	if t.Counter == (Key{}) {
		return nil
	}
	c, source := m.counter(&t, now)
	switch {
	case outcome == authkit.AttemptSucceeded:
		if !source {
			m.remove(t.Counter)
		}
		if t.Source != (Key{}) {
			m.put(record{key: t.Source, at: c.at, expiry: now + t.Backoff.TrustFor.Microseconds(), keep: true}, now)
		}
	case c.n > 0:
		guess := t.Guess
		if t.Source != (Key{}) && !source {
			guess = 0
		}
		c.end(outcome == authkit.AttemptFailed, guess)
		m.putCounter(&t, c, source, now)
	}
	return nil
}

// end updates a counter for an attempt that did not succeed.
func (r *record) end(failed bool, guess uint16) {
	if r.open > 0 {
		r.open--
	}
	if failed && (guess == 0 || guess != r.guess) {
		r.since = r.at
		if guess != 0 {
			r.guess = guess
		}
		return
	}
	if r.n--; r.open == 0 {
		r.at = r.since
	}
}

// Clear implements [Store].
func (m *Memory) Clear(ctx context.Context, t Reservation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	now := t.At.UnixMicro()
	life := int64(t.Backoff.LockAfter) * t.Backoff.DecayPerFailure.Microseconds()
	if _, ok := m.put(record{key: t.ClearedAt, at: now, expiry: now + life, keep: true}, now); !ok {
		return errFull
	}
	m.remove(t.Counter)
	return nil
}
