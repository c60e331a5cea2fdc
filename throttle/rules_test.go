package throttle_test

import (
	"context"
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
	require.NoError(t, limits.Clear(t.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: "ann"}))
	require.Equal(t, 1, s.clears)
	require.ErrorContains(t, limits.Begin(t.Context(), authkit.Attempt{Action: "unheard"}), "Config.Limits")
	require.ErrorContains(t, limits.Clear(t.Context(), authkit.Attempt{Action: "unheard"}), "Config.Limits")
	require.NoError(t, limits.Begin(t.Context(), authkit.Attempt{Action: authkit.ActionHash}), "no address")
	require.Len(t, s.seen, 1)
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
