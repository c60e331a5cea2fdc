package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// Right logins at once through several instances on one store all succeed, from one address or
// from many, also after failures whose wait is over.
func TestRightLoginsThroughInstances(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]func(int) string{
		"one address":    func(int) string { return "192.0.2.1" },
		"many addresses": address,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := throttle.NewMemory(0)
				var instances []*service
				for range 3 {
					s := newService(t, func(c *throttle.Config) { c.Store = store })
					s.hasher.slow = 250 * time.Millisecond
					instances = append(instances, s)
				}
				for _, failures := range []int{0, 4, 5, 7} {
					email := fmt.Sprintf("user%d@example.com", failures)
					for _, s := range instances {
						s.add(t, email)
					}
					for i := range failures {
						instances[i%3].fail(t, email, address(1000*failures+i))
						time.Sleep(curve.Wait(i + 1))
					}
					done := make(chan error)
					for i := range 60 {
						go func() { done <- instances[i%3].login(t, email, place(i), true) }()
					}
					for range 60 {
						require.NoError(t, <-done, "after %d failures", failures)
					}
				}
			})
		})
	}
}

// LO-08: of a hundred wrong guesses at once through three instances, with slow hashes, five
// reach one, and so does no other until the wait is over.
func TestWrongGuessesThroughInstances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := throttle.NewMemory(0)
		var instances []*service
		for range 3 {
			s := newService(t, func(c *throttle.Config) { c.Store = store })
			s.add(t, "user@example.com")
			s.hasher.slow = 250 * time.Millisecond
			instances = append(instances, s)
		}
		begin := time.Now()
		done := make(chan error)
		for i := range 100 {
			go func() { done <- instances[i%3].login(t, "user@example.com", address(i), false) }()
		}
		refused := 0
		for range 100 {
			if err := <-done; !errors.Is(err, authkit.ErrInvalidCredentials) {
				var throttled *authkit.ThrottledError
				require.ErrorAs(t, err, &throttled)
				require.True(t, throttled.Account)
				refused++
			}
		}
		require.Equal(t, 95, refused)
		require.Less(t, time.Since(begin), time.Second, "they know when the five have failed")
		hashed := 0
		for _, s := range instances {
			hashed += s.hasher.hashed()
		}
		require.Equal(t, 5, hashed)
	})
}

// Begin waits for open attempts for five seconds, and no longer than its context, and no more
// than 256 callers do.
func TestWaitForOpenAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits, err := throttle.New(throttle.Config{})
		require.NoError(t, err)
		a := authkit.Attempt{Action: authkit.ActionLogin, Account: "user@example.com"}
		open := func() {
			for range 5 {
				require.NoError(t, limits.Begin(t.Context(), a))
			}
		}
		open()
		begin := time.Now()
		var throttled *authkit.ThrottledError
		require.ErrorAs(t, limits.Begin(t.Context(), a), &throttled)
		require.Equal(t, authkit.ThrottledError{RetryAfter: time.Second, Account: true}, *throttled)
		require.InDelta(t, 5*time.Second, time.Since(begin), float64(time.Second))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin = time.Now()
		require.ErrorIs(t, limits.Begin(ctx, a), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begin))

		done := make(chan error, 300)
		for range 300 {
			go func() { done <- limits.Begin(t.Context(), a) }()
		}
		synctest.Wait()
		require.Len(t, done, 300-256)
		for range 300 - 256 {
			require.ErrorAs(t, <-done, &throttled)
		}
		require.NoError(t, limits.End(t.Context(), a, authkit.AttemptUndecided))
		time.Sleep(time.Second)
		require.NoError(t, <-done)
		require.Empty(t, done, "one left, and one came")
		require.NoError(t, limits.End(t.Context(), a, authkit.AttemptSucceeded))
		time.Sleep(time.Second)
		require.Len(t, done, 5)
		for range 5 {
			require.NoError(t, <-done)
			require.NoError(t, limits.End(t.Context(), a, authkit.AttemptFailed))
		}
		time.Sleep(time.Second)
		require.Len(t, done, 250)
		for range 250 {
			require.ErrorAs(t, <-done, &throttled)
			require.Greater(t, throttled.RetryAfter, 20*time.Second)
		}
	})
}

// FR-03: clients that hang up before their turn to hash, from any number of addresses, lock no
// account.
func TestHangingUpBeforeTheHash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		for i := range 12 {
			s.add(t, fmt.Sprintf("user%d@example.com", i))
		}
		hold := make(chan struct{})
		s.hasher.hold = hold // all turns are taken
		busy := make(chan error)
		for i := range 64 {
			go func() { busy <- s.login(t, fmt.Sprintf("busy%d@example.com", i), address(i), false) }()
		}
		synctest.Wait()
		for round := range 5 {
			ctx, hangUp := context.WithCancel(t.Context())
			left := make(chan error)
			for i := range 12 {
				go func() {
					_, err := s.kit.Login(from(ctx, address(1000+12*round+i)), fmt.Sprintf("user%d@example.com", i), "x")
					left <- err
				}()
			}
			synctest.Wait()
			hangUp()
			for range 12 {
				require.ErrorIs(t, <-left, context.Canceled)
			}
		}
		close(hold)
		for range 64 {
			require.ErrorIs(t, <-busy, authkit.ErrInvalidCredentials)
		}
		require.Equal(t, 64, s.hasher.hashed())
		for i := range 12 {
			require.NoError(t, s.login(t, fmt.Sprintf("user%d@example.com", i), address(2000+i), true))
		}
	})
}

// A telephone with an old password does not lock its owner's home. Ten different wrong passwords
// do, and so does one again and again from a place that is not known.
func TestSameWrongPassword(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{"secret": testSecret, "no secret": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, func(c *throttle.Config) { c.Secret = []byte(secret) })
				const email, home = "user@example.com", "2001:db8::1"
				s.add(t, email)
				wrong := func(address, password string) error {
					_, err := s.kit.Login(from(t.Context(), address), email, password)
					return err
				}
				require.NoError(t, s.login(t, email, home, true))
				for range 300 {
					require.ErrorIs(t, wrong("2001:db8::2", "the old password"), authkit.ErrInvalidCredentials)
					time.Sleep(4 * time.Second) // for the limit of the address
				}
				require.NoError(t, s.login(t, email, home, true))

				guesses := 0
				for i := range 10 {
					if errors.Is(wrong(home, fmt.Sprint("guess ", i)), authkit.ErrInvalidCredentials) {
						guesses++
					}
				}
				require.Equal(t, 5, guesses)
				var throttled *authkit.ThrottledError
				require.ErrorAs(t, s.login(t, email, home, true), &throttled)
				require.ErrorAs(t, wrong(home, "guess 4"), &throttled, "while it waits, the same one is refused too")

				time.Sleep(time.Minute)
				require.NoError(t, s.login(t, email, home, true))
				for range 5 {
					require.ErrorIs(t, wrong("192.0.2.1", "the old password"), authkit.ErrInvalidCredentials)
				}
				require.ErrorAs(t, wrong("192.0.2.1", "the old password"), &throttled)
				require.NoError(t, s.login(t, email, home, true))
			})
		})
	}
}

// RG-13: an address is sent three mails in an hour at most, and ten in a day.
func TestMailsPerAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits, err := throttle.New(throttle.Config{})
		require.NoError(t, err)
		var sent []time.Time
		for i := range 7 * 24 * 60 {
			a := authkit.Attempt{Action: authkit.ActionReset, Account: "user@example.com", Client: authkit.ClientInfo{Address: address(i)}}
			if limits.Begin(t.Context(), a) == nil {
				sent = append(sent, time.Now())
			}
			time.Sleep(time.Minute)
		}
		within := func(d time.Duration) (most int) {
			for i := range sent {
				n := 0
				for _, at := range sent[i:] {
					if at.Before(sent[i].Add(d)) {
						n++
					}
				}
				most = max(most, n)
			}
			return most
		}
		require.Equal(t, 3, within(time.Hour))
		require.Equal(t, 10, within(24*time.Hour))
		require.Greater(t, len(sent), 3*7)
	})
}
