package throttle_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// The default limits of an address or an account are those of Config.
func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	for action, c := range map[string]struct {
		burst int
		every time.Duration
	}{
		authkit.ActionRefresh: {600, 100 * time.Millisecond}, authkit.ActionRegister: {5, 2 * time.Minute}, authkit.ActionReset: {5, 2 * time.Minute},
		authkit.ActionHash: {10, 6 * time.Second}, authkit.ActionAPIKey: {600, 100 * time.Millisecond}, authkit.ActionChallenge: {60, time.Second},
		authkit.ActionLogin: {20, 3 * time.Second}, authkit.ActionCode: {20, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			limits, err := throttle.New(throttle.Config{})
			require.NoError(t, err)
			a := authkit.Attempt{Action: action, Client: authkit.ClientInfo{Address: "192.0.2.1"}}
			if action == authkit.ActionAPIKey {
				a.Account = "a key"
			}
			admitted := func() bool { return limits.Begin(t.Context(), a) == nil }
			for i := range c.burst {
				require.True(t, admitted(), "%s %d", action, i)
			}
			require.False(t, admitted(), action)
			time.Sleep(c.every - time.Microsecond)
			require.False(t, admitted(), action)
			time.Sleep(time.Microsecond)
			require.True(t, admitted(), action)
			require.False(t, admitted(), action)
		})
	}
}

// AK-12: a limit of keys counts each key, whatever its addresses.
func TestLimitOfKeys(t *testing.T) {
	t.Parallel()
	limits, err := throttle.New(throttle.Config{Limits: map[string]throttle.Limit{authkit.ActionAPIKey: {Burst: 2, Every: time.Hour}}})
	require.NoError(t, err)
	begin := func(key string, i int) error {
		return limits.Begin(t.Context(), authkit.Attempt{Action: authkit.ActionAPIKey, Account: key, Client: authkit.ClientInfo{Address: address(i)}})
	}
	require.NoError(t, begin("a", 1))
	require.NoError(t, begin("a", 2))
	require.Error(t, begin("a", 3))
	require.NoError(t, begin("b", 3))
}

// A noting store notes the reservations.
type notingStore struct {
	throttle.Store
	seen   []throttle.Reservation
	clears int
}

func (s *notingStore) Reserve(_ context.Context, t throttle.Reservation) (throttle.Decision, error) {
	s.seen = append(s.seen, t)
	return throttle.Decision{}, nil
}

func (s *notingStore) Clear(context.Context, throttle.Reservation) error {
	s.clears++
	return nil
}

// The store is called for attempts that it counts, and for no others.
func TestCallsOfTheStore(t *testing.T) {
	t.Parallel()
	s := new(notingStore)
	limits, err := throttle.New(throttle.Config{Store: s})
	require.NoError(t, err)
	a := authkit.Attempt{Action: authkit.ActionAPIKey, Account: "a key", Client: authkit.ClientInfo{Address: "192.0.2.1"}}
	require.NoError(t, limits.Begin(t.Context(), a))
	require.Len(t, s.seen[0].Buckets, 1, "keys have no limit by address")
	require.NoError(t, limits.Clear(t.Context(), authkit.Attempt{Action: authkit.ActionHash, Account: "ann"}))
	require.Zero(t, s.clears, "there is no counter")
	require.NoError(t, limits.Clear(t.Context(), authkit.Attempt{Action: authkit.ActionHash, Account: "ann", Client: a.Client}))
	require.Zero(t, s.clears, "there is a limit of the address alone")
	require.NoError(t, limits.Clear(t.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: "ann"}))
	require.Equal(t, 1, s.clears)
	require.ErrorContains(t, limits.Begin(t.Context(), authkit.Attempt{Action: "unheard"}), "Config.Limits")
	require.ErrorContains(t, limits.Clear(t.Context(), authkit.Attempt{Action: "unheard"}), "Config.Limits")
	require.NoError(t, limits.Begin(t.Context(), authkit.Attempt{Action: authkit.ActionHash}), "no address")
	require.Len(t, s.seen, 1)

	// LO-05, LO-12: the curve of every counter, and how long a place is known.
	require.NoError(t, limits.Begin(t.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: "ann"}))
	require.Equal(t, throttle.Backoff{
		FreeFailures: 4, InitialDelay: 30 * time.Second, MaxDelay: time.Hour, LockAfter: 100,
		DecayPerFailure: 24 * time.Hour, TrustFor: 90 * 24 * time.Hour, Open: time.Minute,
	}, s.seen[1].Backoff)
	require.NoError(t, limits.Begin(t.Context(), authkit.Attempt{Action: authkit.ActionReset, Account: "ann", Client: authkit.ClientInfo{Address: "192.0.2.1"}}))
	var rates []throttle.Limit
	for _, b := range s.seen[2].Buckets {
		rates = append(rates, b.Limit)
	}
	require.Equal(t, []throttle.Limit{{Burst: 5, Every: 2 * time.Minute}, {Burst: 3, Every: time.Hour}, {Burst: 8, Every: 8 * time.Hour}}, rates)
}

// A decidingStore has one decision for all attempts, or an error.
type decidingStore struct {
	throttle.Store
	decision throttle.Decision
	err      error
	takes    time.Duration
	calls    atomic.Int64
}

func (s *decidingStore) Reserve(context.Context, throttle.Reservation) (throttle.Decision, error) {
	s.calls.Add(1)
	time.Sleep(s.takes)
	return s.decision, s.err
}

// TestRefusals asserts what a refusal says, and which ones are waited for: those
// that only open attempts cause.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		decision throttle.Decision
		want     authkit.ThrottledError
		waits    bool
	}{
		{throttle.Decision{Bucket: 3 * time.Second}, authkit.ThrottledError{RetryAfter: 3 * time.Second}, false},
		{throttle.Decision{Counter: 3 * time.Second}, authkit.ThrottledError{RetryAfter: 3 * time.Second, Account: true}, false},
		{throttle.Decision{Bucket: 3 * time.Second, Counter: 3 * time.Second}, authkit.ThrottledError{RetryAfter: 3 * time.Second}, false},
		{throttle.Decision{Bucket: 4 * time.Second, Counter: 3 * time.Second, Open: true}, authkit.ThrottledError{RetryAfter: 4 * time.Second}, false},
		{throttle.Decision{Bucket: 500 * ms, Counter: 300 * ms, Open: true}, authkit.ThrottledError{RetryAfter: 500 * ms}, false},
		{throttle.Decision{Bucket: 500 * ms, Counter: 500 * ms, Open: true}, authkit.ThrottledError{RetryAfter: 500 * ms}, false},
		{throttle.Decision{Bucket: 2 * time.Second, Counter: time.Minute, Open: true}, authkit.ThrottledError{RetryAfter: 2 * time.Second, Account: true}, false},
		{throttle.Decision{Counter: time.Minute, Open: true}, authkit.ThrottledError{RetryAfter: time.Second, Account: true}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &decidingStore{decision: c.decision}
			limits, err := throttle.New(throttle.Config{Store: s})
			require.NoError(t, err)
			start := time.Now()
			err = limits.Begin(t.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: "ann"})
			require.Equal(t, &c.want, err)
			if c.waits {
				require.GreaterOrEqual(t, time.Since(start), 5*time.Second)
				require.Less(t, time.Since(start), 5300*time.Millisecond)
			} else {
				require.Zero(t, time.Since(start))
				require.EqualValues(t, 1, s.calls.Load())
			}
		})
	}
}

// TestStoreIsAskedAgain asserts that a failed store is called again after a
// second, and that calls that fail at the same time are one event.
func TestStoreIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &decidingStore{err: errors.New("the store fails"), takes: time.Second / 2}
		var events atomic.Int64
		limits, err := throttle.New(throttle.Config{Store: s, OnEvent: func(context.Context, authkit.Event) { events.Add(1) }})
		require.NoError(t, err)
		begin := func() {
			require.NoError(t, limits.Begin(t.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: "ann"}))
		}
		var both sync.WaitGroup
		for range 2 {
			both.Go(begin)
		}
		both.Wait()
		require.EqualValues(t, 2, s.calls.Load())
		require.EqualValues(t, 1, events.Load())
		time.Sleep(time.Second - 1)
		begin()
		require.EqualValues(t, 2, s.calls.Load())
		time.Sleep(time.Nanosecond)
		begin()
		require.EqualValues(t, 3, s.calls.Load())
		require.EqualValues(t, 2, events.Load())
	})
}

// The keys of records and the digests of passwords depend on the secret.
// Without one, the digests are those of the instance.
func TestDigests(t *testing.T) {
	t.Parallel()
	reserve := func(secret, address, account string, passwords ...string) (list []throttle.Reservation) {
		s := new(notingStore)
		limits, err := throttle.New(throttle.Config{Store: s, Secret: []byte(secret)})
		require.NoError(t, err)
		for _, p := range passwords {
			a := authkit.Attempt{Action: authkit.ActionLogin, Account: account, Client: authkit.ClientInfo{Address: address}}
			if p != "" {
				a.Guess = authkit.NewGuess(p)
			}
			require.NoError(t, limits.Begin(t.Context(), a))
		}
		return s.seen
	}
	guesses := func(list []throttle.Reservation) (digests []uint16) {
		for _, r := range list {
			digests = append(digests, r.Guess)
		}
		return digests
	}
	passwords := []string{"a", "b", "c", "d"} // two digests are equal by chance once in 65,536
	one := reserve(testSecret, "192.0.2.1", "ann", passwords...)
	again := reserve(testSecret, "192.0.2.1", "ann", passwords...)
	require.Equal(t, guesses(one), guesses(again))
	require.Equal(t, one[0].Counter, again[0].Counter)
	require.NotContains(t, guesses(one), uint16(0))
	other := reserve("another secret of thirty-two bytes", "192.0.2.1", "ann", passwords...)
	require.NotEqual(t, guesses(one), guesses(other))
	require.NotEqual(t, one[0].Counter, other[0].Counter)
	require.NotEqual(t, one[0].Buckets[0].Key, other[0].Buckets[0].Key)
	require.NotEqual(t, guesses(one), guesses(reserve(testSecret, "192.0.2.2", "ann", passwords...)), "another place")
	require.NotEqual(t, guesses(reserve("", "192.0.2.1", "ann", passwords...)), guesses(reserve("", "192.0.2.1", "ann", passwords...)), "another instance")
	require.Zero(t, reserve(testSecret, "192.0.2.1", "ann", "")[0].Guess)
	nobody := reserve(testSecret, "192.0.2.1", "", "a")[0]
	require.Equal(t, []throttle.Key{{}, {}, {}}, []throttle.Key{nobody.Counter, nobody.Source, nobody.ClearedAt}, "no account, no counter")
}

// LO-05: n failures are forgotten after n days.
func TestFailuresAreForgotten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sleep time.Duration
		free  int
	}{{5 * 24 * time.Hour, 5}, {5*24*time.Hour - time.Microsecond, 1}} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			for i := range 5 {
				s.fail(t, "user@example.com", address(i))
			}
			time.Sleep(c.sleep)
			for i := range c.free {
				s.fail(t, "user@example.com", address(10+i))
			}
			s.refuse(t, "user@example.com", address(20))
		})
	}
}
