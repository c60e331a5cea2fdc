package throttle_test

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/throttle"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.TestThrottleStore(t, func(*testing.T) throttle.Store { return throttle.NewMemory(0) })
}

// lock makes an account refuse, in five failures.
func lock(t testing.TB, m *throttle.Memory, take throttle.Reservation) {
	t.Helper()
	for range take.Backoff.FreeFailures + 1 {
		v, err := m.Reserve(context.Background(), take)
		require.NoError(t, err)
		require.Zero(t, v)
	}
}

var curve = throttle.Backoff{FreeFailures: 4, InitialDelay: 30 * time.Second, MaxDelay: time.Hour, LockAfter: 100, DecayPerFailure: 24 * time.Hour, TrustFor: 90 * 24 * time.Hour}

func key(kind byte, n int) (k throttle.Key) {
	k[0] = kind
	binary.BigEndian.PutUint64(k[8:], uint64(n)+1)
	return k
}

func guess(n int, at time.Time) throttle.Reservation {
	return throttle.Reservation{
		At: at, Backoff: curve, Counter: key('a', n), ClearedAt: key('p', n),
		Buckets: []throttle.Bucket{{Key: key('b', n), Limit: throttle.Limit{Burst: 20, Every: 3 * time.Second}}},
	}
}

// TestMemoryIsBounded asserts that a flood of names and addresses pushes out nothing that refuses
// (LO-10), and takes no more than what was promised: here with 10,000 keys, and ten floods.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := throttle.NewMemory(10_000)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const locked = 2_000
	for i := range locked {
		lock(t, m, guess(i, at))
	}
	for i := range 100_000 {
		_, err := m.Reserve(t.Context(), guess(1_000_000+i, at))
		require.NoError(t, err)
	}
	for i := range locked {
		v, err := m.Reserve(t.Context(), guess(i, at))
		require.NoError(t, err)
		require.Equal(t, 30*time.Second, v.Counter, "account %d", i)
	}
	size, records := m.Size()
	require.LessOrEqual(t, records, 10_016)
	require.LessOrEqual(t, size, 10_016*48)
}

// TestMemoryFullOfLocks asserts that a Memory with nothing but what refuses refuses what is new, and
// has room again when something is over.
func TestMemoryFullOfLocks(t *testing.T) {
	t.Parallel()
	m := throttle.NewMemory(32) // one set
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	take := func(i int, at time.Time) throttle.Reservation {
		take := guess(i, at)
		take.Buckets = nil
		return take
	}
	for i := range 32 {
		lock(t, m, take(i, at))
	}
	v, err := m.Reserve(t.Context(), take(99, at))
	require.NoError(t, err)
	require.Equal(t, throttle.Decision{Counter: time.Minute}, v)
	v, err = m.Reserve(t.Context(), guess(0, at.Add(time.Minute)))
	require.NoError(t, err)
	require.Equal(t, throttle.Decision{Bucket: time.Minute}, v, "an account that has a place, from an address that has none")
	v, err = m.Reserve(t.Context(), take(99, at.Add(7*24*time.Hour)))
	require.NoError(t, err)
	require.Zero(t, v)
}

// TestMemoryOfAMillion fills a Memory with a million keys, and asserts that it takes less than 64 MiB, and
// next to nothing before.
func TestMemoryOfAMillion(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	before := heap()
	m := throttle.NewMemory(0)
	empty := heap() - before
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const keys = 1_000_000
	for i := range keys {
		take := guess(i, at)
		take.Buckets = nil
		_, err := m.Reserve(t.Context(), take)
		require.NoError(t, err)
	}
	million := heap() - before
	kept := 0
	for i := 0; i < keys; i += 20 {
		take := guess(i, at)
		take.Buckets = nil
		take.Backoff.FreeFailures, take.Backoff.InitialDelay = 0, time.Second // one failure refuses
		v, err := m.Reserve(t.Context(), take)
		require.NoError(t, err)
		if v.Counter > 0 {
			kept++
		}
	}
	for i := range keys / 2 {
		_, err := m.Reserve(t.Context(), guess(keys+i, at))
		require.NoError(t, err)
	}
	full := heap() - before
	t.Logf("empty: %.1f MiB; 1,000,000 keys: %.1f MiB, of 50,000 of them %d are there; after 1,000,000 more: %.1f MiB",
		float64(empty)/(1<<20), float64(million)/(1<<20), kept, float64(full)/(1<<20))
	require.Less(t, empty, int64(4<<20))
	require.Less(t, million, int64(64<<20))
	require.Less(t, full, int64(64<<20))
	require.Greater(t, kept, keys/20*994/1000)
	runtime.KeepAlive(m)
}

// FR-14: an attempt that finds no room for one of its records leaves none of the others.
func TestMemoryAllOrNothing(t *testing.T) {
	t.Parallel()
	m := throttle.NewMemory(32) // one set
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 31 {
		a := guess(i, at)
		a.Buckets = nil
		lock(t, m, a)
	}
	a := guess(99, at) // a counter and a bucket, and room for one
	for range 1000 {
		v, err := m.Reserve(t.Context(), a)
		require.NoError(t, err)
		require.Equal(t, throttle.Decision{Bucket: time.Minute}, v)
	}
	_, records := m.Size()
	require.Equal(t, 31, records)

	full := guess(99, at)
	full.Buckets = nil
	for range 4 {
		v, err := m.Reserve(t.Context(), full)
		require.NoError(t, err)
		require.Zero(t, v)
	}
	v, err := m.Reserve(t.Context(), a) // the counter is in the place that the bucket would take
	require.NoError(t, err)
	require.Equal(t, throttle.Decision{Bucket: time.Minute}, v)
	v, err = m.Reserve(t.Context(), full)
	require.NoError(t, err)
	require.Zero(t, v, "the fifth: the refused one has not counted")
	v, err = m.Reserve(t.Context(), full)
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, v.Counter)

	// There is no room for the time of a Clear either, which then clears nothing.
	require.ErrorContains(t, m.Clear(t.Context(), guess(0, at)), "full")
	v, err = m.Reserve(t.Context(), full)
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, v.Counter)

	// A record that was given up for another one comes back.
	m = throttle.NewMemory(32)
	for i := range 30 {
		a := guess(i, at)
		a.Buckets = nil
		lock(t, m, a)
	}
	free := guess(50, at)
	free.Buckets = nil
	other := throttle.Reservation{At: at, Buckets: []throttle.Bucket{{Key: key('x', 1), Limit: throttle.Limit{Burst: 2, Every: time.Second}}}}
	for _, a := range []throttle.Reservation{free, other} {
		v, err := m.Reserve(t.Context(), a)
		require.NoError(t, err)
		require.Zero(t, v)
	}
	three := guess(60, at)
	three.Buckets = append(three.Buckets, throttle.Bucket{Key: key('y', 1), Limit: throttle.Limit{Burst: 2, Every: time.Second}})
	v, err = m.Reserve(t.Context(), three)
	require.NoError(t, err)
	require.Equal(t, throttle.Decision{Bucket: time.Minute}, v)
	v, err = m.Reserve(t.Context(), other)
	require.NoError(t, err)
	require.Zero(t, v, "the second of a burst of two")
	v, err = m.Reserve(t.Context(), other)
	require.NoError(t, err)
	require.Equal(t, time.Second, v.Bucket)
	free.Backoff.FreeFailures = 1
	for _, want := range []time.Duration{0, 30 * time.Second} {
		v, err = m.Reserve(t.Context(), free)
		require.NoError(t, err)
		require.Equal(t, want, v.Counter)
	}
}

// A flood of names and addresses pushes out no known source: its owner stays one.
func TestMemoryKeepsKnownSources(t *testing.T) {
	t.Parallel()
	m := throttle.NewMemory(10_000)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const users = 1_000
	home := func(n int) throttle.Reservation {
		a := guess(n, at)
		a.Source = key('s', n)
		return a
	}
	for i := range users {
		_, err := m.Reserve(t.Context(), home(i))
		require.NoError(t, err)
		require.NoError(t, m.Finish(t.Context(), home(i), authkit.AttemptSucceeded))
		if i%2 == 0 { // with a failure of its own
			_, err := m.Reserve(t.Context(), home(i))
			require.NoError(t, err)
			require.NoError(t, m.Finish(t.Context(), home(i), authkit.AttemptFailed))
		}
	}
	for i := range 100_000 {
		_, err := m.Reserve(t.Context(), guess(1_000_000+i, at))
		require.NoError(t, err)
	}
	for i := range users {
		stranger := guess(i, at)
		stranger.Buckets = nil
		lock(t, m, stranger)
		v, err := m.Reserve(t.Context(), stranger)
		require.NoError(t, err)
		require.Equal(t, 30*time.Second, v.Counter)
		a := home(i)
		a.Buckets = nil
		v, err = m.Reserve(t.Context(), a)
		require.NoError(t, err)
		require.Zero(t, v, "user %d", i)
	}
}

// A known source is not given up either where everything else refuses.
func TestMemoryFullOfLocksAndSources(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, failures := range []int{0, 1} {
		m := throttle.NewMemory(32) // one set
		home := guess(0, at)
		home.Buckets, home.Source = nil, key('s', 0)
		_, err := m.Reserve(t.Context(), home)
		require.NoError(t, err)
		require.NoError(t, m.Finish(t.Context(), home, authkit.AttemptSucceeded))
		for range failures {
			_, err := m.Reserve(t.Context(), home)
			require.NoError(t, err)
			require.NoError(t, m.Finish(t.Context(), home, authkit.AttemptFailed))
		}
		for i := range 31 {
			a := guess(i, at)
			a.Buckets = nil
			lock(t, m, a)
		}
		a := guess(99, at)
		a.Buckets = nil
		v, err := m.Reserve(t.Context(), a)
		require.NoError(t, err)
		require.Equal(t, throttle.Decision{Counter: time.Minute}, v)
		v, err = m.Reserve(t.Context(), home)
		require.NoError(t, err)
		require.Zero(t, v)
	}
}

// bucket is an attempt that one bucket counts, which admits one at a time.
func bucket(n int, every time.Duration, at time.Time) throttle.Reservation {
	return throttle.Reservation{At: at, Buckets: []throttle.Bucket{{Key: key('x', n), Limit: throttle.Limit{Burst: 1, Every: every}}}}
}

// TestMemoryGivesUpTheFirst asserts that a full set gives up the record that
// expires first, wherever it is.
func TestMemoryGivesUpTheFirst(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for first := range 32 {
		m := throttle.NewMemory(32) // one set
		every := func(n int) time.Duration {
			if n == first {
				return time.Second
			}
			return time.Minute + time.Duration(n)
		}
		wait := func(n int) time.Duration {
			v, err := m.Reserve(t.Context(), bucket(n, every(n), at))
			require.NoError(t, err)
			return v.Bucket
		}
		for n := range 32 {
			require.Zero(t, wait(n))
		}
		require.Zero(t, wait(99))
		for n := range 32 {
			if n != first {
				require.Positive(t, wait(n), "%d, where %d expires first", n, first)
			}
		}
		require.Zero(t, wait(first))
	}
}

// TestMemoryUsesPlacesAgain asserts that a record that has expired makes room,
// from the moment on at which it expires, and that a set grows by eights.
func TestMemoryUsesPlacesAgain(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := throttle.NewMemory(32)
	size := func(records, room int) {
		t.Helper()
		bytes, n := m.Size()
		require.Equal(t, records, n)
		require.Equal(t, room*48, bytes)
	}
	reserve := func(a throttle.Reservation) throttle.Decision {
		t.Helper()
		v, err := m.Reserve(t.Context(), a)
		require.NoError(t, err)
		return v
	}
	require.NoError(t, m.Finish(t.Context(), bucket(0, time.Second, at), authkit.AttemptUndecided))
	size(0, 0) // an attempt that is not known leaves nothing
	require.Zero(t, reserve(bucket(0, time.Second, at)))
	size(1, 8)
	require.Zero(t, reserve(bucket(1, time.Second, at.Add(time.Second-time.Microsecond))))
	size(2, 8)
	require.Zero(t, reserve(bucket(2, time.Second, at.Add(time.Second))))
	size(2, 8)
	for n := range 15 {
		require.Zero(t, reserve(bucket(3+n, time.Second, at.Add(time.Second))))
	}
	size(17, 24)

	// A counter that refuses keeps its place until it has expired.
	m = throttle.NewMemory(32)
	counter := func(n int, at time.Time) throttle.Reservation {
		a := guess(n, at)
		a.Buckets = nil
		return a
	}
	lock(t, m, counter(0, at))
	for n := range 31 {
		lock(t, m, counter(1+n, at.Add(time.Second)))
	}
	days := 5 * 24 * time.Hour
	require.Equal(t, throttle.Decision{Counter: time.Minute}, reserve(counter(99, at.Add(days-time.Microsecond))))
	require.Zero(t, reserve(counter(99, at.Add(days))))

	// One that does not refuse yet gives up its place.
	m = throttle.NewMemory(32)
	for n := range 32 {
		for range curve.FreeFailures {
			require.Zero(t, reserve(counter(n, at)))
		}
	}
	require.Zero(t, reserve(counter(99, at)))
}

// TestMemoryForgetsAtOnce asserts that the failures of a known source are
// forgotten as soon as they have decayed.
func TestMemoryForgetsAtOnce(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, early := range []time.Duration{0, time.Microsecond} {
		m := throttle.NewMemory(32)
		home := func(at time.Time) throttle.Reservation {
			a := guess(0, at)
			a.Buckets, a.Source, a.Backoff.FreeFailures, a.Backoff.Open = nil, key('s', 0), 1, time.Minute
			return a
		}
		fail := func(at time.Time) time.Duration {
			v, err := m.Reserve(t.Context(), home(at))
			require.NoError(t, err)
			if v.Counter == 0 {
				require.NoError(t, m.Finish(t.Context(), home(at), authkit.AttemptFailed))
			}
			return v.Counter
		}
		_, err := m.Reserve(t.Context(), home(at))
		require.NoError(t, err)
		require.NoError(t, m.Finish(t.Context(), home(at), authkit.AttemptSucceeded))
		require.Zero(t, fail(at))
		later := at.Add(24*time.Hour - early)
		require.Zero(t, fail(later))
		if early > 0 {
			require.Equal(t, 30*time.Second, fail(later), "the second failure")
		} else {
			require.Zero(t, fail(later), "the first failure has been forgotten")
			require.Equal(t, 30*time.Second, fail(later))
		}
	}
}

// TestMemoryKeepsClearings asserts that a flood pushes out no clearing: the
// failures of a known source that it has cleared would come back.
func TestMemoryKeepsClearings(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := throttle.NewMemory(32)
	home := guess(0, at)
	home.Buckets, home.Source = nil, key('s', 0)
	_, err := m.Reserve(t.Context(), home)
	require.NoError(t, err)
	require.NoError(t, m.Finish(t.Context(), home, authkit.AttemptSucceeded))
	lock(t, m, home)
	require.NoError(t, m.Clear(t.Context(), home))
	for n := range 100 {
		_, err := m.Reserve(t.Context(), bucket(n, 10_000*24*time.Hour, at)) // which expires later than the clearing
		require.NoError(t, err)
	}
	v, err := m.Reserve(t.Context(), home)
	require.NoError(t, err)
	require.Zero(t, v)
}

// TestMemoryCountsOpenAttempts asserts that an attempt that ends late, when it
// has counted as failed already, is not taken for one of the open attempts.
func TestMemoryCountsOpenAttempts(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := throttle.NewMemory(32)
	attempt := func(at time.Time) throttle.Reservation {
		a := guess(0, at)
		a.Buckets, a.Backoff.Open = nil, time.Minute
		return a
	}
	reserve := func(at time.Time) throttle.Decision {
		v, err := m.Reserve(t.Context(), attempt(at))
		require.NoError(t, err)
		return v
	}
	require.Zero(t, reserve(at))
	late := at.Add(time.Minute)
	require.NoError(t, m.Finish(t.Context(), attempt(late), authkit.AttemptFailed))
	for range 3 {
		require.Zero(t, reserve(late))
		require.NoError(t, m.Finish(t.Context(), attempt(late), authkit.AttemptFailed))
	}
	require.Zero(t, reserve(late))
	require.Equal(t, throttle.Decision{Counter: 30 * time.Second, Open: true}, reserve(late), "only an open attempt is in the way")
}
