package authkit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A fakeThrottle notes what it is asked and told, and answers as it is told to.
type fakeThrottle struct {
	mu              sync.Mutex
	calls           []string
	attempts        []authkit.Attempt
	begin, end, clr error
	code            error // of Begin, for a code of an account
}

func (f *fakeThrottle) listen(c *authkit.Config) { c.Throttle = f }

func (f *fakeThrottle) note(call string, a authkit.Attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	f.attempts = append(f.attempts, a)
}

func (f *fakeThrottle) Begin(_ context.Context, a authkit.Attempt) error {
	f.note("begin", a)
	if a.Action == authkit.ActionCode && a.Account != "" && f.code != nil {
		return f.code
	}
	return f.begin
}

func (f *fakeThrottle) End(ctx context.Context, a authkit.Attempt, outcome authkit.AttemptOutcome) error {
	if ctx.Err() != nil {
		f.note("end of a client who left", a)
	}
	f.note([]string{"undecided", "failed", "succeeded"}[outcome], a)
	return f.end
}

func (f *fakeThrottle) Clear(ctx context.Context, a authkit.Attempt) error {
	f.note("clear", a)
	return errors.Join(f.clr, ctx.Err())
}

// TestThrottleIsTold asserts the calls of a throttle during a login. An attempt is undecided if
// no password was compared, whatever the reason (FR-03), and failed if the client leaves after
// the comparison (LO-08). The guess reaches End only if the password is wrong.
func TestThrottleIsTold(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	for name, c := range map[string]struct {
		email, password string
		leaves          string // the call during which the client leaves
		fails           string // the call that fails
		want            string
		account         string
	}{
		"success":                     {"Ann@Example.com", "correct horse", "", "", "succeeded", "ann@example.com"},
		"wrong password":              {"ann@example.com", "wrong", "", "", "failed", "ann@example.com"},
		"unknown user":                {"NoBody@example.com", "wrong", "", "", "failed", "nobody@example.com"},
		"no e-mail":                   {"ann@example.com ", "correct horse", "", "", "failed", ""},
		"disabled":                    {"off@example.com", "correct horse", "", "", "failed", "off@example.com"},
		"locked":                      {"locked@example.com", "correct horse", "", "", "failed", "locked@example.com"},
		"client leaves before":        {"ann@example.com", "correct horse", "email", "", "undecided", "ann@example.com"},
		"client leaves with a guess":  {"ann@example.com", "wrong", "hash", "", "failed", "ann@example.com"},
		"client leaves after":         {"ann@example.com", "correct horse", "hash", "id", "failed", "ann@example.com"},
		"store failed before":         {"ann@example.com", "correct horse", "", "email", "undecided", "ann@example.com"},
		"store failed after":          {"ann@example.com", "correct horse", "", "id", "undecided", "ann@example.com"},
		"store failed, client leaves": {"ann@example.com", "wrong", "email", "email", "undecided", "ann@example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			users := newHookStore()
			var fake fakeThrottle
			hasher := &hookHasher{}
			kit := newKit(t, users.listen, fake.listen, func(c *authkit.Config) { c.Passwords.Hasher = hasher })
			addUser(t, kit, "ann@example.com", "correct horse")
			u, err := kit.CreateUser(t.Context(), authkit.User{Email: "off@example.com", Disabled: true}, "correct horse")
			require.NoError(t, err)
			require.True(t, u.Disabled)
			locked := addUser(t, kit, "locked@example.com", "correct horse")
			_, err = kit.LockUser(t.Context(), locked.ID, time.Now().Add(time.Hour))
			require.NoError(t, err)
			require.Empty(t, fake.calls)

			client := authkit.ClientInfo{Address: "192.0.2.1", Device: "app"}
			ctx, cancel := context.WithCancel(authkit.WithClient(t.Context(), client))
			defer cancel()
			reached := func(call string) error {
				if c.leaves == call {
					cancel()
				}
				if c.fails == call {
					return down
				}
				return nil
			}
			byEmail, byID := users.byEmail, users.byID
			users.byEmail = func(ctx context.Context, email string) (authkit.StoredUser, error) {
				require.Equal(t, []string{"begin"}, fake.calls, "asked before the store")
				if err := reached("email"); err != nil {
					return authkit.StoredUser{}, err
				}
				return byEmail(ctx, email)
			}
			users.byID = func(ctx context.Context, id string) (authkit.StoredUser, error) {
				if err := reached("id"); err != nil {
					return authkit.StoredUser{}, err
				}
				return byID(ctx, id)
			}
			hasher.before = func() { _ = reached("hash") }
			_, _ = kit.Login(ctx, c.email, c.password)
			require.Equal(t, []string{"begin", c.want}, fake.calls)
			begun := authkit.Attempt{Action: authkit.ActionLogin, Account: c.account, Client: client, Guess: authkit.NewGuess(c.password)}
			ended := begun
			if c.want != "failed" || c.password != "wrong" || name == "unknown user" {
				ended.Guess = authkit.Guess{}
			}
			require.Equal(t, []authkit.Attempt{begun, ended}, fake.attempts)
		})
	}
}

// A hookHasher hashes nothing, and calls a function before each comparison.
type hookHasher struct{ before func() }

func (h *hookHasher) Hash(password string) (authkit.PasswordHash, error) {
	return authkit.PasswordHash("plain:" + password), nil
}

func (h *hookHasher) Verify(password string, hash authkit.PasswordHash) error {
	if h.before != nil {
		h.before()
	}
	if string(hash) != "plain:"+password {
		return authkit.ErrPasswordMismatch
	}
	return nil
}

func (h *hookHasher) NeedsRehash(authkit.PasswordHash) (bool, error) { return false, nil }

// A client that leaves while it waits for its turn to hash has an undecided attempt, so hanging
// up does not lock accounts (FR-03).
func TestThrottleHangUpWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fake fakeThrottle
		hasher := newSlowHasher()
		kit := newKit(t, fake.listen, func(c *authkit.Config) { c.Passwords.Hasher, c.Passwords.MaxConcurrentHashes = hasher, 1 })
		done := make(chan error, 100)
		login := func(ctx context.Context, email string) {
			go func() {
				_, err := kit.Login(ctx, email, "x")
				done <- err
			}()
		}
		login(t.Context(), "first@example.com")
		synctest.Wait()
		fake.calls = nil
		ctx, hangUp := context.WithCancel(t.Context())
		for i := range waiters {
			login(ctx, fmt.Sprintf("user%d@example.com", i%4))
		}
		synctest.Wait()
		hashed := kit.Stats().Hashed
		hangUp()
		for range waiters {
			require.ErrorIs(t, <-done, context.Canceled)
		}
		require.Equal(t, hashed, kit.Stats().Hashed)
		begun, undecided := 0, 0
		for _, call := range fake.calls {
			switch call {
			case "begin":
				begun++
			case "undecided":
				undecided++
			}
		}
		require.Equal(t, begun, undecided)
		require.Len(t, fake.calls, 2*begun)
		require.GreaterOrEqual(t, begun, 4)
		close(hasher.slow)
		require.ErrorIs(t, <-done, authkit.ErrInvalidCredentials)
	})
}

// A Guess prints nothing, and has a MAC per key.
func TestGuess(t *testing.T) {
	t.Parallel()
	a := authkit.Attempt{Action: authkit.ActionLogin, Guess: authkit.NewGuess("hunter2")}
	text, err := json.Marshal(a)
	require.NoError(t, err)
	printed := fmt.Sprintf("%v %+v %#v %s %q %s", a, a, a, a, a.Guess, text)
	require.NotContains(t, printed, "hunter2")
	require.NotContains(t, printed, fmt.Sprintf("%x", "hunter2"))
	require.True(t, authkit.Guess{}.IsZero())
	require.False(t, a.Guess.IsZero())
	require.Equal(t, authkit.NewGuess("hunter2").MAC([]byte("key")), a.Guess.MAC([]byte("key")))
	require.NotEqual(t, a.Guess.MAC([]byte("key")), a.Guess.MAC([]byte("other")))
	require.NotEqual(t, a.Guess.MAC([]byte("key")), authkit.NewGuess("hunter3").MAC([]byte("key")))
}

// TestThrottleRefuses asserts that a login that is refused is not looked at: neither store nor
// hasher is asked, the right password is refused too (LO-05), and the answer is 429.
func TestThrottleRefuses(t *testing.T) {
	t.Parallel()
	users := newHookStore()
	var fake fakeThrottle
	var events recorder
	store := authkit.NewMemoryStore()
	kit := newKit(t, users.listen, fake.listen, events.listen, func(c *authkit.Config) { c.Sessions.Store = store })
	addUser(t, kit, "ann@example.com", "correct horse")
	token, err := kit.Login(t.Context(), "ann@example.com", "correct horse")
	require.NoError(t, err)
	users.byEmail = func(context.Context, string) (authkit.StoredUser, error) {
		t.Error("the store was asked")
		return authkit.StoredUser{}, authkit.ErrUserNotFound
	}
	for _, c := range []struct {
		refused authkit.ThrottledError
		after   string
		kind    authkit.EventKind
	}{
		{authkit.ThrottledError{RetryAfter: 30 * time.Second, Account: true}, "30", authkit.EventLoginThrottled},
		{authkit.ThrottledError{RetryAfter: time.Millisecond}, "1", authkit.EventRateLimited},
		{authkit.ThrottledError{RetryAfter: 59*time.Second + 1}, "60", authkit.EventRateLimited},
		{authkit.ThrottledError{}, "1", authkit.EventRateLimited},
	} {
		fake.begin = fmt.Errorf("wrapped: %w", &c.refused)
		for _, form := range []url.Values{
			{"username": {"ann@example.com"}, "password": {"correct horse"}},
			{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}},
		} {
			events.reset()
			r := httptest.NewRequest("POST", "/token", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			kit.TokenHandler().ServeHTTP(w, r)
			require.Equal(t, http.StatusTooManyRequests, w.Code)
			require.Equal(t, c.after, w.Header().Get("Retry-After"))
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			require.JSONEq(t, `{"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "Too many attempts; try again later",
				"error": "temporarily_unavailable", "error_description": "Too many attempts; try again later"}`, w.Body.String())
			require.Equal(t, []authkit.Event{{Kind: c.kind, Reason: authkit.ReasonThrottled}}, events.all())
		}
	}
	fake.begin = nil
	_, err = kit.Refresh(t.Context(), token.RefreshToken)
	require.NoError(t, err, "the session goes on")
}

// TestThrottleRefresh asserts what a throttle is told about refreshes.
func TestThrottleRefresh(t *testing.T) {
	t.Parallel()
	var fake fakeThrottle
	store := authkit.NewMemoryStore()
	kit := newKit(t, fake.listen, func(c *authkit.Config) { c.Users, c.Sessions.Store = store, store })
	addUser(t, kit, "ann@example.com", "correct horse")
	token, err := kit.Login(t.Context(), "ann@example.com", "correct horse")
	require.NoError(t, err)
	fake.calls, fake.attempts = nil, nil
	_, err = kit.Refresh(t.Context(), token.RefreshToken)
	require.NoError(t, err)
	_, err = kit.Refresh(t.Context(), "guess")
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	require.Equal(t, []string{"begin", "succeeded", "begin", "failed"}, fake.calls)
	require.Equal(t, authkit.Attempt{Action: authkit.ActionRefresh}, fake.attempts[0])
}

// TestThrottleFails asserts that a throttle that cannot answer refuses, and that one that
// cannot listen harms no login (RE-06).
func TestThrottleFails(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	var fake fakeThrottle
	var events recorder
	kit := newKit(t, fake.listen, events.listen)
	u := addUser(t, kit, "ann@example.com", "correct horse")
	fake.begin = down
	_, err := kit.Login(t.Context(), "ann@example.com", "correct horse")
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.Equal(t, http.StatusServiceUnavailable, authkit.ProblemFor(err).Status)
	require.Equal(t, authkit.EventLoginFailure, events.last().Kind)
	require.Equal(t, authkit.ReasonStore, events.last().Reason)
	require.ErrorIs(t, events.last().Err, down)

	fake.begin, fake.end, fake.clr = nil, down, down
	events.reset()
	_, err = kit.Login(t.Context(), "ann@example.com", "correct horse")
	require.NoError(t, err)
	require.Equal(t, []authkit.EventKind{authkit.EventStoreFailure, authkit.EventLoginSuccess}, events.kinds())
	require.NoError(t, kit.SetPassword(t.Context(), u.ID, "another horse"))
	require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
}

// TestThrottleIsCleared asserts that a new password clears the failures of its account, and
// that one that was not set does not.
func TestThrottleIsCleared(t *testing.T) {
	t.Parallel()
	var fake fakeThrottle
	kit := newKit(t, fake.listen)
	u := addUser(t, kit, "Ann@example.com", "correct horse")
	require.Error(t, kit.SetPassword(t.Context(), u.ID, "short"))
	require.Error(t, kit.SetPassword(t.Context(), "nobody", "another horse"))
	require.Empty(t, fake.calls)
	require.NoError(t, kit.SetPassword(t.Context(), u.ID, "another horse"))
	require.Equal(t, []string{"clear"}, fake.calls)
	require.Equal(t, authkit.Attempt{Action: authkit.ActionLogin, Account: "ann@example.com"}, fake.attempts[0])
}

// TestThrottledIsQuiet asserts that what anyone can cause any number of is logged at Debug.
func TestThrottledIsQuiet(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	log := authkit.LogEvents(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	log(t.Context(), authkit.Event{Kind: authkit.EventLoginThrottled, Reason: authkit.ReasonThrottled})
	log(t.Context(), authkit.Event{Kind: authkit.EventRateLimited, Reason: authkit.ReasonThrottled})
	require.Empty(t, out.String())
}

// TestThrottleOverload asserts that a login counts for nothing that found the gate full.
func TestThrottleOverload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fake fakeThrottle
		hasher := newSlowHasher()
		kit := newKit(t, fake.listen, func(c *authkit.Config) { c.Passwords.Hasher, c.Passwords.MaxConcurrentHashes = hasher, 1 })
		done := make(chan error, 1+waiters)
		for i := range 1 + waiters {
			go func() {
				_, err := kit.Login(t.Context(), fmt.Sprintf("user%d@example.com", i), "x")
				done <- err
			}()
		}
		synctest.Wait()
		fake.calls = nil
		_, err := kit.Login(t.Context(), "ann@example.com", "x")
		require.ErrorIs(t, err, authkit.ErrOverloaded)
		require.Equal(t, []string{"begin", "undecided"}, fake.calls)
		close(hasher.slow)
		for range 1 + waiters {
			require.ErrorIs(t, <-done, authkit.ErrInvalidCredentials)
		}
	})
}

// TestThrottleLanes asserts that of attempts that name one account from one address four are
// made at a time, that others do not wait for them, and that the queue has an end.
func TestThrottleLanes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fake fakeThrottle
		hasher := newSlowHasher()
		kit := newKit(t, fake.listen, func(c *authkit.Config) { c.Passwords.Hasher, c.Passwords.MaxConcurrentHashes = hasher, 1000 })
		done := make(chan error, 1000)
		login := func(ctx context.Context, email, address string) {
			go func() {
				_, err := kit.Login(authkit.WithClient(ctx, authkit.ClientInfo{Address: address}), email, "x")
				done <- err
			}()
		}
		ctx, hangUp := context.WithCancel(t.Context())
		for i := range 260 {
			if i == 259 {
				login(ctx, "ann@example.com", "192.0.2.1")
				continue
			}
			login(t.Context(), "Ann@example.com", "192.0.2.1")
			synctest.Wait()
		}
		synctest.Wait()
		require.Equal(t, 4, hasher.inside)
		require.Len(t, fake.calls, 4)
		login(t.Context(), "ann@example.com", "192.0.2.1")
		require.ErrorIs(t, <-done, authkit.ErrOverloaded)
		hangUp()
		require.ErrorIs(t, <-done, context.Canceled)
		login(t.Context(), "ann@example.com", "192.0.2.2")
		login(t.Context(), "bob@example.com", "192.0.2.1")
		login(t.Context(), "no e-mail", "192.0.2.1")
		synctest.Wait()
		require.Equal(t, 7, hasher.inside)
		close(hasher.slow)
		for range 259 + 3 {
			require.ErrorIs(t, <-done, authkit.ErrInvalidCredentials)
		}
		require.Len(t, fake.calls, 2*(259+3))
	})
}

// TestThrottleSurvivesAPanic asserts that a hook that panics leaves no place taken, and counts.
func TestThrottleSurvivesAPanic(t *testing.T) {
	t.Parallel()
	var fake fakeThrottle
	users := newHookStore()
	kit := newKit(t, fake.listen, users.listen)
	users.byEmail = func(context.Context, string) (authkit.StoredUser, error) { panic("a store with a fault") }
	for range 10 {
		require.Panics(t, func() { _, _ = kit.Login(t.Context(), "ann@example.com", "x") })
	}
	require.Equal(t, slices.Repeat([]string{"begin"}, 10), fake.calls)
}

// TestThrottleIsToldOfSuccess although the client leaves at the last moment.
func TestThrottleIsToldOfSuccess(t *testing.T) {
	t.Parallel()
	var fake fakeThrottle
	users := newHookStore()
	kit := newKit(t, fake.listen, users.listen)
	addUser(t, kit, "ann@example.com", "correct horse")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	byID := users.byID
	users.byID = func(ctx context.Context, id string) (authkit.StoredUser, error) {
		defer cancel()
		return byID(ctx, id)
	}
	_, err := kit.Login(ctx, "ann@example.com", "correct horse")
	require.NoError(t, err)
	require.Error(t, ctx.Err())
	require.Equal(t, []string{"begin", "succeeded"}, fake.calls)
}

// A client that leaves after a proof or a code was compared counts as a failure, and one that
// leaves before does not, in the other ways to log in too (LO-08, FR-03).
func TestThrottleHangUpElsewhere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		compared bool
		want     string
	}{"before": {false, "undecided"}, "after": {true, "failed"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var fake fakeThrottle
			factor := &leavingFactor{}
			kit, _, user := newSessionKit(t, fake.listen, func(c *authkit.Config) { c.SecondFactors = []authkit.SecondFactor{factor} })
			pending := challenge(t, kit)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			factor.verify = func(ctx context.Context) error {
				cancel()
				if c.compared {
					return nil
				}
				return ctx.Err()
			}
			fake.calls = nil
			_, err := kit.AnswerChallenge(ctx, pending.Token, "otp", "1")
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, []string{"begin", "succeeded", "begin", c.want}, fake.calls, "the address for the token, and the account for the response")

			ctx, cancel = context.WithCancel(t.Context())
			defer cancel()
			fake.calls = nil
			_, err = kit.LoginWith(ctx, authkit.Attempt{Action: authkit.ActionLogin, Account: email}, func(ctx context.Context) (authkit.Proof, error) {
				cancel()
				if c.compared {
					return proof(user), nil
				}
				return authkit.Proof{}, ctx.Err()
			})
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, []string{"begin", c.want}, fake.calls)
		})
	}
}

// A leavingFactor calls a function in place of checking responses.
type leavingFactor struct{ verify func(context.Context) error }

func (*leavingFactor) Method() string { return "otp" }

func (*leavingFactor) Enrolled(context.Context, string) (bool, error) { return true, nil }

func (f *leavingFactor) Verify(ctx context.Context, _, _ string) error { return f.verify(ctx) }

// Admit asks the throttle before a request that can be repeated at will. What it admits stays
// counted, unless the request failed.
func TestAdmit(t *testing.T) {
	t.Parallel()
	var events recorder
	var throttle fakeThrottle
	kit := newKit(t, events.listen, throttle.listen)
	a := authkit.Attempt{Action: authkit.ActionReset, Account: "ann@example.com"}
	ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "192.0.2.1"})
	cause := errors.New("the mail queue is full")
	admitted := 0
	admit := func(err error) error {
		return kit.Admit(ctx, a, func(context.Context) error { admitted++; return err })
	}
	require.NoError(t, admit(nil))
	require.Equal(t, cause, admit(cause))
	require.Equal(t, []string{"begin", "failed", "begin", "undecided"}, throttle.calls)
	require.Equal(t, "192.0.2.1", throttle.attempts[0].Client.Address)
	require.Empty(t, events.all())

	throttle.begin = &authkit.ThrottledError{RetryAfter: time.Minute}
	require.Equal(t, throttle.begin, admit(nil))
	require.Equal(t, authkit.Event{Kind: authkit.EventRateLimited, Reason: authkit.ReasonThrottled}, events.last())
	throttle.begin = &authkit.ThrottledError{Account: true}
	require.Equal(t, throttle.begin, admit(nil))
	require.Equal(t, authkit.EventLoginThrottled, events.last().Kind)
	throttle.begin = cause
	require.ErrorIs(t, admit(nil), authkit.ErrUnavailable)
	require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
	require.Equal(t, 2, admitted)

	free := newKit(t)
	require.Equal(t, cause, free.Admit(ctx, a, func(context.Context) error { return cause }))
}

// Admit lets in four requests for an account at a time. One whose client leaves while it waits is
// not counted.
func TestAdmitWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fake fakeThrottle
		kit := newKit(t, fake.listen)
		a := authkit.Attempt{Action: authkit.ActionReset, Account: "ann@example.com"}
		inside, leave, done := 0, make(chan struct{}), make(chan error, 5)
		ctx, hangUp := context.WithCancel(t.Context())
		for range 5 {
			go func() {
				done <- kit.Admit(ctx, a, func(context.Context) error { inside++; <-leave; return nil })
			}()
			synctest.Wait()
		}
		require.Equal(t, 4, inside)
		hangUp()
		require.ErrorIs(t, <-done, context.Canceled)
		close(leave)
		for range 4 {
			require.NoError(t, <-done)
		}
		require.Equal(t, 4, inside)
		require.Len(t, fake.calls, 8)
		require.NoError(t, kit.Admit(t.Context(), a, func(context.Context) error { return nil }), "all places are free again")
	})
}
