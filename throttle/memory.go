package throttle

import (
	"context"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	defaultMaxKeys = 1_500_000
	ways           = 32          // records in a set
	clockSlack     = time.Minute // by which clocks differ that were not set back
	fullWait       = time.Minute
)

// Memory is a [Store] in memory, for a single program, which forgets when it ends. Its memory is
// bounded: 64 MiB for the 1,500,000 keys of [NewMemory](0), and little while there are few.
//
// It is built like the cache of a processor. A key belongs to one of many sets, by a hash
// that nobody can foresee, and a set that is full gives up what matters least in it.
type Memory struct {
	mu   sync.Mutex
	seed maphash.Seed
	sets [][]record
}

// A record is 40 bytes without a pointer, so that the collector passes it by.
type record struct {
	key    Key
	at     int64 // a bucket's TAT, a counter's latest failure, or a pardon; in microseconds since 1970
	expiry int64 // from then on it is as if it were not there
	n      uint32
	keep   bool // never given up before it expires
}

// NewMemory returns a Memory for at most so many keys; zero means 1,500,000.
func NewMemory(maxKeys int) *Memory {
	if maxKeys <= 0 {
		maxKeys = defaultMaxKeys
	}
	return &Memory{seed: maphash.MakeSeed(), sets: make([][]record, (maxKeys+ways-1)/ways)}
}

// set returns the set that a key belongs to.
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

// put stores a record, and reports whether there was room.
func (m *Memory) put(r record, now int64) bool {
	set := m.set(r.key)
	place := -1 // of what can be given up, and expires first
	for i, old := range *set {
		if old.key == r.key {
			(*set)[i] = r
			return true
		}
		if (old.expiry <= now || !old.keep) && (place < 0 || old.expiry < (*set)[place].expiry) {
			place = i
		}
	}
	switch full := len(*set) == ways; {
	case place >= 0 && (full || (*set)[place].expiry <= now):
		(*set)[place] = r
		return true
	case full:
		return false
	case len(*set) == cap(*set): // grow by eights: to double would leave much of it empty
		*set = append(make([]record, 0, len(*set)+ways/4), *set...)
	}
	*set = append(*set, r)
	return true
}

func (m *Memory) remove(key Key) {
	set := m.set(key)
	*set = slices.DeleteFunc(*set, func(r record) bool { return r.key == key })
}

// counter returns the record of the counter that an attempt is counted on, with the
// failures that count, and whether it is that of a source.
func (m *Memory) counter(t *Take, now int64) (r record, source bool) {
	key := t.Counter
	if source = t.Source != (Key{}) && m.get(t.Source, now).key == t.Source; source {
		key = t.Source
	}
	r = m.get(key, now)
	r.key = key
	forgotten := int(r.n) < t.Curve.Disable && r.at+int64(r.n)*t.Curve.Forget.Microseconds() <= now
	if forgotten || r.at <= m.get(t.Pardon, now).at {
		r.n = 0
	}
	return r, source
}

// putCounter stores a counter with its failures. Other than a source, it expires when they
// are forgotten.
func (m *Memory) putCounter(t *Take, r record, source bool, now int64) bool {
	r.keep = source || int(r.n) > t.Curve.Free
	if !source {
		r.expiry = r.at + int64(r.n)*t.Curve.Forget.Microseconds()
		if int(r.n) >= t.Curve.Disable {
			r.expiry = math.MaxInt64
		}
	}
	return m.put(r, now)
}

// Take implements [Store].
func (m *Memory) Take(ctx context.Context, t Take) (Verdict, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Verdict{}, err
	}
	var v Verdict
	now := t.At.UnixMicro()
	tats := make([]int64, 0, 2)
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
	var counter record
	var source bool
	if t.Counter != (Key{}) {
		counter, source = m.counter(&t, now)
		if v.Counter = t.Curve.Wait(int(counter.n)); int(counter.n) < t.Curve.Disable && v.Counter > 0 {
			v.Counter = max(0, v.Counter-time.Duration(now-counter.at)*time.Microsecond)
		}
	}
	if v != (Verdict{}) {
		return v, nil
	}
	counter.n, counter.at = counter.n+1, max(counter.at, now)
	if t.Counter != (Key{}) && !m.putCounter(&t, counter, source, now) {
		return Verdict{Counter: fullWait}, nil
	}
	for i, b := range t.Buckets {
		if !m.put(record{key: b.Key, at: tats[i], expiry: tats[i]}, now) {
			return Verdict{Bucket: fullWait}, nil
		}
	}
	return v, nil
}

// Settle implements [Store].
func (m *Memory) Settle(ctx context.Context, t Take, succeeded bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	now := t.At.UnixMicro()
	for _, b := range t.Buckets {
		if r := m.get(b.Key, now); r.at != 0 {
			tat := r.at - b.Every.Microseconds()
			m.put(record{key: b.Key, at: tat, expiry: tat}, now)
		}
	}
	if t.Counter == (Key{}) {
		return nil
	}
	counter, source := m.counter(&t, now)
	switch {
	case !succeeded && counter.n > 0:
		counter.n--
		m.putCounter(&t, counter, source, now)
	case succeeded && !source:
		m.remove(t.Counter)
	}
	if succeeded && t.Source != (Key{}) {
		m.put(record{key: t.Source, at: counter.at, expiry: now + t.Curve.Known.Microseconds(), keep: true}, now)
	}
	return nil
}

// Clear implements [Store].
func (m *Memory) Clear(ctx context.Context, t Take) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	now := t.At.UnixMicro()
	m.remove(t.Counter)
	life := int64(t.Curve.Disable) * t.Curve.Forget.Microseconds()
	m.put(record{key: t.Pardon, at: now, expiry: now + life, keep: true}, now)
	return nil
}
