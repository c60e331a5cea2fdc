package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/doctor"
	"github.com/authkit-go/authkit/throttle"
)

// TestBackoff walks up the curve of an account, known or not (LO-05, LO-06): every attempt from
// another address, at the last moment that is refused and at the first that is not.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, email := range []string{"user@example.com", "nobody@example.com"} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			u := s.add(t, "user@example.com")
			place := 0
			somewhere := func() string { place++; return address(place) }
			wait := time.Duration(0)
			for n := 1; n <= 100; n++ {
				if wait > 0 {
					require.Equal(t, wait, s.refuse(t, email, somewhere()).RetryAfter, "after %d failures", n-1)
					time.Sleep(wait - time.Microsecond)
					s.refuse(t, email, somewhere())
					require.Equal(t, authkit.EventLoginThrottled, s.last().Kind)
					time.Sleep(time.Microsecond)
				}
				s.fail(t, strings.ToUpper(email), somewhere())
				switch {
				case n == 5:
					wait = 30 * time.Second
				case n > 5:
					wait = min(2*wait, time.Hour)
				}
				if n >= 12 {
					require.Equal(t, time.Hour, wait)
				}
			}
			for range 3 {
				time.Sleep(1000 * time.Hour)
				require.Equal(t, time.Hour, s.refuse(t, email, somewhere()).RetryAfter, "disabled")
			}
			if email == u.Email {
				require.NoError(t, s.kit.SetPassword(t.Context(), u.ID, "right "+email))
				require.NoError(t, s.login(t, email, somewhere(), true))
			}
		})
	}
}

// TestAnswersAreAlike asserts that a throttled login tells nothing about the account (LO-04).
func TestAnswersAreAlike(t *testing.T) {
	t.Parallel()
	answers := map[string]string{}
	for _, email := range []string{"user@example.com", "nobody@example.com"} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			s.add(t, "user@example.com")
			h := s.kit.TokenHandler()
			var all strings.Builder
			for i := range 8 {
				resp := post(t, h, fmt.Sprintf("192.0.2.%d:1234", i), email, "wrong")
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				fmt.Fprintln(&all, resp.StatusCode, resp.Header, string(body))
			}
			answers[email] = all.String()
		})
	}
	require.Equal(t, answers["user@example.com"], answers["nobody@example.com"])
	require.Contains(t, answers["user@example.com"], "429 map[Cache-Control:[no-store] Content-Type:[application/problem+json] Retry-After:[30]")
	require.Contains(t, answers["user@example.com"], `"error":"temporarily_unavailable"`)
}

// TestAddressLimit asserts the limit by address (LO-09): per IPv4 address however it is
// written, per /64 of IPv6, and not for successes.
func TestAddressLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ same, others []string }{
		"IPv4": {[]string{"192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"}, []string{"192.0.2.2", "2001:db8::1"}},
		"IPv6": {
			[]string{"2001:db8::1", "2001:db8:0:0:ffff::", "2001:DB8::2%eth0"},
			[]string{"2001:db8:0:1::1", "192.0.2.1"},
		},
		"sockets": {[]string{"@", "", "/run/client"}, []string{"192.0.2.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, func(c *throttle.Config) { c.LimitUnaddressed = name == "sockets" })
				s.add(t, "user@example.com")
				next := 0
				try := func(address string) error {
					next++
					return s.login(t, fmt.Sprintf("user%d@example.com", next), address, false)
				}
				for i := range 20 {
					require.NoError(t, s.login(t, "user@example.com", c.same[0], true), "a success is no failure")
					require.ErrorIs(t, try(c.same[i%len(c.same)]), authkit.ErrInvalidCredentials)
				}
				for _, address := range c.same {
					var refused *authkit.ThrottledError
					require.ErrorAs(t, try(address), &refused)
					require.Equal(t, 3*time.Second, refused.RetryAfter)
					require.False(t, refused.Account)
					require.Equal(t, authkit.EventRateLimited, s.last().Kind)
					require.Error(t, s.login(t, "not an e-mail", address, false))
				}
				for _, address := range c.others {
					require.ErrorIs(t, try(address), authkit.ErrInvalidCredentials)
				}
				time.Sleep(3 * time.Second)
				require.ErrorIs(t, try(c.same[0]), authkit.ErrInvalidCredentials)
				require.NotErrorIs(t, try(c.same[0]), authkit.ErrInvalidCredentials)
			})
		})
	}
}

// TestNoAddressNoLimit: a Kit that is not told where its clients are counts by account alone.
func TestNoAddressNoLimit(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for i := range 100 {
		s.fail(t, fmt.Sprintf("user%d@example.com", i), "")
	}
	for range 4 {
		s.fail(t, "user1@example.com", "")
	}
	s.refuse(t, "user1@example.com", "")
}

// TestInsecureNoAddressLimits leaves only the accounts.
func TestInsecureNoAddressLimits(t *testing.T) {
	t.Parallel()
	s := newService(t, func(c *throttle.Config) { c.InsecureNoAddressLimits = true })
	for i := range 100 {
		s.fail(t, fmt.Sprintf("user%d@example.com", i), "192.0.2.1")
	}
	for range 4 {
		s.fail(t, "user1@example.com", "192.0.2.1")
	}
	s.refuse(t, "user1@example.com", "192.0.2.1")

	limits, err := throttle.New(throttle.Config{InsecureNoAddressLimits: true, Limits: map[string]throttle.Limit{"search": {Burst: 1, Every: time.Hour}}})
	require.NoError(t, err)
	for range 3 {
		w := httptest.NewRecorder()
		limits.Limit("search")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		require.Equal(t, 200, w.Code)
		require.Empty(t, w.Header().Get("RateLimit-Policy"), "there is no such limit")
	}
}

// TestKnownAddress asserts that a stranger cannot lock out a user from where they have logged
// in before, nor gains by the user's logins.
func TestKnownAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.add(t, "user@example.com")
		require.NoError(t, s.login(t, "user@example.com", "2001:db8::1", true))
		for i := range 5 {
			s.fail(t, "user@example.com", address(i))
		}
		s.refuse(t, "user@example.com", "192.0.2.1")
		require.NoError(t, s.login(t, "user@example.com", "2001:db8::2", true), "at home, on another telephone")
		s.refuse(t, "user@example.com", "192.0.2.1")

		for range 5 {
			s.fail(t, "user@example.com", "2001:db8::3")
		}
		s.refuse(t, "user@example.com", "2001:db8::1")
		time.Sleep(30 * time.Second)
		require.NoError(t, s.login(t, "user@example.com", "2001:db8::2", true))
		require.NoError(t, s.login(t, "user@example.com", "192.0.2.1", true), "the stranger's wait is over as well")
		time.Sleep(91 * 24 * time.Hour)
		for i := range 5 {
			s.fail(t, "user@example.com", address(i))
		}
		s.refuse(t, "user@example.com", "2001:db8::1")
	})
}

// TestSetPasswordClears asserts that a new password lets its user in everywhere, and that an
// administrator can do as much.
func TestSetPasswordClears(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		u := s.add(t, "user@example.com")
		require.NoError(t, s.login(t, u.Email, "192.0.2.1", true))
		lock := func() {
			for i := range 5 {
				s.fail(t, u.Email, "192.0.2.1")
				s.fail(t, u.Email, address(i))
			}
			s.refuse(t, u.Email, "192.0.2.1")
			s.refuse(t, u.Email, "192.0.2.2")
		}
		open := func() {
			time.Sleep(2 * time.Second) // the cut-off
			require.NoError(t, s.login(t, u.Email, "192.0.2.1", true))
			require.NoError(t, s.login(t, u.Email, "192.0.2.2", true))
			time.Sleep(100 * 24 * time.Hour)
		}
		lock()
		require.NoError(t, s.kit.SetPassword(t.Context(), u.ID, "right "+u.Email))
		open()
		require.NoError(t, s.login(t, u.Email, "192.0.2.1", true))
		lock()
		require.NoError(t, s.limits.Clear(t.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: u.Email}))
		open()
	})
}

// TestGuessesAtOnce asserts that a hundred guesses at once reach five hashes (LO-08).
func TestGuessesAtOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.add(t, "user@example.com")
	done := make(chan error)
	for i := range 100 {
		go func() { done <- s.login(t, "user@example.com", address(i), false) }()
	}
	refused := 0
	for range 100 {
		if err := <-done; !errors.Is(err, authkit.ErrInvalidCredentials) {
			require.ErrorAs(t, err, new(*authkit.ThrottledError))
			refused++
		}
	}
	require.Equal(t, 95, refused)
	require.Equal(t, 5, s.hasher.hashed())
}

// TestLoginsAtOnce asserts that programs that log in at once with one account are not taken for
// somebody who guesses.
func TestLoginsAtOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.add(t, "user@example.com")
	done := make(chan error)
	for range 200 {
		go func() { done <- s.login(t, "user@example.com", "192.0.2.1", true) }()
	}
	for range 200 {
		require.NoError(t, <-done)
	}
	for i := range 5 {
		s.fail(t, "user@example.com", address(i))
	}
}

// TestHangingUpCounts asserts that an attempt counts whose client leaves while the hash is
// computed, and whatever the store is doing (LO-07).
func TestHangingUpCounts(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.add(t, "user@example.com")
	for i := range 5 {
		ctx, cancel := context.WithCancel(from(t.Context(), address(i)))
		s.hasher.before = cancel
		_, err := s.kit.Login(ctx, "user@example.com", "wrong")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.ErrorIs(t, ctx.Err(), context.Canceled)
	}
	s.hasher.before = nil
	s.refuse(t, "user@example.com", "192.0.2.1")

	ctx, cancel := context.WithCancel(from(t.Context(), "192.0.2.1"))
	cancel()
	attempt := authkit.Attempt{Action: authkit.ActionLogin, Account: "other@example.com"}
	for range 5 {
		require.NoError(t, s.limits.Begin(ctx, attempt))
		require.NoError(t, s.limits.End(ctx, attempt, authkit.AttemptFailed))
	}
	require.ErrorAs(t, s.limits.Begin(t.Context(), attempt), new(*authkit.ThrottledError))
	require.NoError(t, s.limits.End(ctx, attempt, authkit.AttemptSucceeded))
	require.NoError(t, s.limits.Begin(t.Context(), attempt))
}

// TestTwoInstances asserts that two instances on one store are as one (RE-10): never is one
// attempt let in more than by one.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	store := throttle.NewMemory(0)
	var instances []*service
	for range 2 {
		instances = append(instances, newService(t, func(c *throttle.Config) {
			c.Store = store
			c.Limits = map[string]throttle.Limit{"search": {Burst: 100, Every: time.Hour}}
		}))
	}
	var admitted, guesses atomic.Int64
	done := make(chan struct{})
	for i := range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for j := range 50 {
				in := instances[(i+j)%2]
				a := authkit.Attempt{Action: "search", Client: authkit.ClientInfo{Address: "192.0.2.1"}}
				if in.limits.Begin(context.Background(), a) == nil {
					admitted.Add(1)
				}
				if errors.Is(in.login(t, "user@example.com", address(100*i+j), false), authkit.ErrInvalidCredentials) {
					guesses.Add(1)
				}
			}
		}()
	}
	for range 8 {
		<-done
	}
	require.EqualValues(t, 100, admitted.Load())
	require.EqualValues(t, 5, guesses.Load())
	require.Equal(t, 5, instances[0].hasher.hashed()+instances[1].hasher.hashed())
}

// A brokenStore fails, or hangs, while it is told to.
type brokenStore struct {
	throttle.Store
	broken, hangs atomic.Bool
	calls         atomic.Int64
}

var errBroken = errors.New("connection refused")

func (b *brokenStore) fail(ctx context.Context) error {
	b.calls.Add(1)
	if b.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if b.broken.Load() {
		return errBroken
	}
	return nil
}

func (b *brokenStore) Reserve(ctx context.Context, t throttle.Reservation) (throttle.Decision, error) {
	if err := b.fail(ctx); err != nil {
		return throttle.Decision{}, err
	}
	return b.Store.Reserve(ctx, t)
}

func (b *brokenStore) Finish(ctx context.Context, t throttle.Reservation, outcome authkit.AttemptOutcome) error {
	if err := b.fail(ctx); err != nil {
		return err
	}
	return b.Store.Finish(ctx, t, outcome)
}

// TestStoreFails asserts that an instance counts by itself while its store fails, says so,
// and is back on the store soon after (RE-06).
func TestStoreFails(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]func(*brokenStore) *atomic.Bool{
		"refuses": func(b *brokenStore) *atomic.Bool { return &b.broken },
		"hangs":   func(b *brokenStore) *atomic.Bool { return &b.hangs },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &brokenStore{Store: throttle.NewMemory(0)}
				s := newService(t, func(c *throttle.Config) { c.Store = store })
				s.add(t, "user@example.com")
				for i := range 5 {
					s.fail(t, "user@example.com", address(i))
				}
				s.refuse(t, "user@example.com", "192.0.2.1")

				how(store).Store(true)
				start, calls := time.Now(), store.calls.Load()
				s.fail(t, "user@example.com", "192.0.2.1")
				require.LessOrEqual(t, time.Since(start), time.Second)
				require.Equal(t, authkit.EventStoreFailure, s.events[len(s.events)-2].Kind)
				for i := range 4 {
					s.fail(t, "user@example.com", address(i))
				}
				s.refuse(t, "user@example.com", "192.0.2.1")
				require.Equal(t, calls+1, store.calls.Load(), "not asked again at once")
				failures := 0
				for _, e := range s.events {
					if e.Kind == authkit.EventStoreFailure {
						failures++
						require.Equal(t, authkit.ReasonStore, e.Reason)
						require.Error(t, e.Err)
					}
				}
				require.Equal(t, 1, failures, "told once")

				how(store).Store(false)
				time.Sleep(25 * time.Second) // the account is refused for 30 s, in the store
				s.refuse(t, "user@example.com", "192.0.2.2")
				time.Sleep(6 * time.Second)
				require.NoError(t, s.login(t, "user@example.com", "192.0.2.2", true))
			})
		})
	}
}

// TestFailClosed refuses while the store fails.
func TestFailClosed(t *testing.T) {
	t.Parallel()
	store := &brokenStore{Store: throttle.NewMemory(0)}
	s := newService(t, func(c *throttle.Config) { c.Store, c.FailClosed = store, true })
	s.add(t, "user@example.com")
	store.broken.Store(true)
	require.ErrorIs(t, s.login(t, "user@example.com", "192.0.2.1", true), authkit.ErrUnavailable)
	require.Equal(t, authkit.ReasonStore, s.last().Reason)
	require.Zero(t, s.hasher.hashed())
	resp := post(t, s.limits.Limit(authkit.ActionHash)(http.NotFoundHandler()), "192.0.2.1:1", "", "")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	store.broken.Store(false)
	require.NoError(t, s.login(t, "user@example.com", "192.0.2.1", true))
}

// TestUndecided asserts that a login that the service could not decide counts against its
// address, and not against its account (FR-03).
func TestUndecided(t *testing.T) {
	t.Parallel()
	limits, err := throttle.New(throttle.Config{})
	require.NoError(t, err)
	users := &failingUsers{UserStore: authkit.NewMemoryStore(), fails: true}
	kit, err := authkit.New(authkit.Config{
		Secret: []byte(testSecret), Users: users, Passwords: authkit.PasswordConfig{Hasher: &countingHasher{}}, Throttle: limits,
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	for i := range 50 {
		_, err := kit.Login(from(t.Context(), address(i)), "user@example.com", "x")
		require.ErrorIs(t, err, authkit.ErrUnavailable)
	}
	for range 19 { // the address pays
		_, err := kit.Login(from(t.Context(), address(0)), "user@example.com", "x")
		require.ErrorIs(t, err, authkit.ErrUnavailable)
	}
	_, err = kit.Login(from(t.Context(), address(0)), "user@example.com", "x")
	require.ErrorAs(t, err, new(*authkit.ThrottledError))
	users.fails = false
	for i := range 5 {
		_, err = kit.Login(from(t.Context(), address(i+1)), "user@example.com", "x")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	}
	_, err = kit.Login(from(t.Context(), address(6)), "user@example.com", "x")
	require.ErrorAs(t, err, new(*authkit.ThrottledError))
}

type failingUsers struct {
	authkit.UserStore
	fails bool
}

func (f *failingUsers) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	if f.fails {
		return authkit.StoredUser{}, errBroken
	}
	return f.UserStore.UserByEmail(ctx, email)
}

// TestRefreshLimit asserts that guessing refresh tokens is limited, and refreshing is not.
func TestRefreshLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.add(t, "user@example.com")
		ctx := from(t.Context(), "192.0.2.1")
		token, err := s.kit.Login(ctx, "user@example.com", "right user@example.com")
		require.NoError(t, err)
		for range 2000 {
			token, err = s.kit.Refresh(ctx, token.RefreshToken)
			require.NoError(t, err)
		}
		for range 600 {
			_, err = s.kit.Refresh(ctx, "guess")
			require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
		}
		_, err = s.kit.Refresh(ctx, token.RefreshToken)
		require.ErrorAs(t, err, new(*authkit.ThrottledError))
		require.Equal(t, authkit.EventRateLimited, s.last().Kind)
		time.Sleep(time.Second)
		_, err = s.kit.Refresh(ctx, token.RefreshToken)
		require.NoError(t, err)
	})
}

// TestActions asserts that actions do not share their counts, and that what is asked for by
// mail is limited by account too.
func TestActions(t *testing.T) {
	t.Parallel()
	limits, err := throttle.New(throttle.Config{})
	require.NoError(t, err)
	attempt := func(action string, address string) error {
		a := authkit.Attempt{Action: action, Account: "user@example.com", Client: authkit.ClientInfo{Address: address}}
		err := limits.Begin(t.Context(), a)
		if err == nil {
			err = limits.End(t.Context(), a, authkit.AttemptFailed)
		}
		return err
	}
	admitted := func(action string, address func(int) string) (n int) {
		for i := range 50 {
			if attempt(action, address(i)) == nil {
				n++
			}
		}
		return n
	}
	one := func(int) string { return "192.0.2.1" }
	require.Equal(t, 5, admitted(authkit.ActionLogin, one))
	require.Equal(t, 5, admitted(authkit.ActionCode, one), "another factor has another counter")
	require.Equal(t, 5, admitted(authkit.ActionRegister, one))
	require.Equal(t, 10, admitted(authkit.ActionHash, one))
	require.Equal(t, 3, admitted(authkit.ActionReset, address))
	require.Equal(t, 50, admitted(authkit.ActionRegister, address))
	require.ErrorContains(t, attempt("unheard", "192.0.2.1"), "Config.Limits")
	require.ErrorContains(t, limits.End(t.Context(), authkit.Attempt{Action: "unheard"}, authkit.AttemptSucceeded), "Config.Limits")
	require.NoError(t, limits.Clear(t.Context(), authkit.Attempt{Action: authkit.ActionHash, Account: "user@example.com"}))
}

func TestNewFaults(t *testing.T) {
	t.Parallel()
	_, err := throttle.New(throttle.Config{
		Store:  &throttle.Memory{},
		Secret: []byte("short"),
		Limits: map[string]throttle.Limit{
			"a": {}, "b": {Burst: 20_000, Every: time.Second}, "c": {Burst: 1, Every: 1}, "d": {Burst: 1, Every: 48 * time.Hour},
			"e": {Burst: -1, Every: time.Second}, "f": {Burst: 1, Every: time.Second + 1}, "g": {Burst: 10_001, Every: time.Second},
			"h": {Burst: 1, Every: time.Millisecond - time.Microsecond}, "fine most": {Burst: 10_000, Every: time.Millisecond}, "fine": {Burst: 1, Every: time.Second},
		},
	})
	for _, want := range []string{"Store", "Secret: 5 bytes", `"a"`, `"b"`, `"c"`, `"d"`, `"e"`, `"f"`, `"g"`, `"h"`} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "fine")
	_, empty := throttle.New(throttle.Config{Store: (*throttle.Memory)(nil)})
	require.ErrorContains(t, empty, "Store")
	_, most := throttle.New(throttle.Config{Limits: map[string]throttle.Limit{"a": {Burst: 1, Every: 24 * time.Hour}}})
	require.NoError(t, most)
	require.NotContains(t, err.Error(), "short")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", throttle.Config{Secret: []byte(testSecret)}, throttle.Config{Secret: []byte(testSecret)}, throttle.Config{Secret: []byte(testSecret)}), "48")
}

// A talkingStore knows about itself.
type talkingStore struct{ throttle.Store }

func (talkingStore) Doctor(context.Context) []authkit.Finding {
	return []authkit.Finding{{Code: "redis_role", Severity: slog.LevelError, Text: "a replica", Fix: "ask the master"}}
}

// TestDoctor: the throttle says what it is without, asks its store, and is asked by the Kit.
func TestDoctor(t *testing.T) {
	t.Parallel()
	shared := struct{ throttle.Store }{throttle.NewMemory(0)}
	for name, tc := range map[string]struct {
		cfg  throttle.Config
		want map[string]slog.Level
	}{
		"nothing":  {throttle.Config{Secret: []byte(testSecret), Store: shared}, map[string]slog.Level{}},
		"defaults": {throttle.Config{}, map[string]slog.Level{"memory_throttle": slog.LevelInfo, "no_known_browsers": slog.LevelInfo}},
		"a Memory": {throttle.Config{Secret: []byte(testSecret), Store: throttle.NewMemory(9)},
			map[string]slog.Level{"memory_throttle": slog.LevelInfo}},
		"no limits by address": {throttle.Config{Secret: []byte(testSecret), Store: shared, InsecureNoAddressLimits: true},
			map[string]slog.Level{"no_address_limits": slog.LevelWarn}},
		"a store that talks": {throttle.Config{Secret: []byte(testSecret), Store: talkingStore{shared}},
			map[string]slog.Level{"redis_role": slog.LevelError}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits, err := throttle.New(tc.cfg)
			require.NoError(t, err)
			found := limits.Doctor(t.Context())
			got := map[string]slog.Level{}
			for _, f := range found {
				require.NotEmpty(t, f.Text)
				require.NotEmpty(t, f.Fix)
				got[f.Code] = f.Severity
			}
			require.Equal(t, tc.want, got)
			kit, err := authkit.New(authkit.Config{Secret: []byte(testSecret), Passwords: authkit.PasswordConfig{Hasher: new(countingHasher)}, Throttle: limits})
			require.NoError(t, err)
			require.Subset(t, doctor.Check(t.Context(), kit), found)
		})
	}
}
