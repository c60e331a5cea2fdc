package authkit_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A setupFactor is an Enroller in memory. Its changes take effect when the
// transaction is committed.
type setupFactor struct {
	method, right string
	broken        error // of every call that changes something

	mu    sync.Mutex
	users map[string]int // how many they have
	asked int            // calls of Verify
	begun int            // calls of BeginEnrollment
}

func newSetupFactor(method, right string) *setupFactor {
	return &setupFactor{method: method, right: right, users: map[string]int{}}
}

func (f *setupFactor) Method() string { return f.method }

func (f *setupFactor) Enrolled(ctx context.Context, userID string) (bool, error) {
	n, err := f.Count(ctx, userID)
	return n > 0, err
}

// Count implements authkit.FactorCounter.
func (f *setupFactor) Count(_ context.Context, userID string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.users[userID], nil
}

func (f *setupFactor) Verify(_ context.Context, _, response string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if response != f.right {
		return authkit.ErrInvalidCode
	}
	return nil
}

func (f *setupFactor) BeginEnrollment(_ context.Context, u authkit.User) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun++
	if f.users[u.ID] > 0 && f.method == "otp" {
		return nil, authkit.ErrFactorEnrolled
	}
	return map[string]string{"secret": "of " + u.Email}, f.broken
}

func (f *setupFactor) ConfirmEnrollment(ctx context.Context, u authkit.User, response string) (any, error) {
	if response != f.right {
		return nil, authkit.ErrInvalidCode
	}
	return map[string]any{"codes": []string{"one", "two"}}, f.set(ctx, u.ID, func(n int) int { return n + 1 })
}

func (f *setupFactor) Unenroll(ctx context.Context, userID string) error {
	return f.set(ctx, userID, func(int) int { return 0 })
}

func (f *setupFactor) set(ctx context.Context, userID string, change func(int) int) error {
	if f.broken != nil {
		return f.broken
	}
	do := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.users[userID] = change(f.users[userID])
	}
	if !authkit.AfterCommit(ctx, do) {
		do()
	}
	return nil
}

// mfa returns the context of a login of the account that counts as one with
// several factors.
func mfa(t testing.TB, kit *authkit.Kit, user authkit.User) context.Context {
	t.Helper()
	prove, _ := proves(authkit.Proof{UserID: user.ID, Methods: []string{"hwk", "mfa"}}, nil)
	token, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
	require.NoError(t, err)
	return as(t, kit, token)
}

// newSetupKit returns a Kit with the factor, and a user.
func newSetupKit(t testing.TB, change ...func(*authkit.Config)) (*authkit.Kit, *setupFactor, authkit.User) {
	t.Helper()
	otp := newSetupFactor("otp", "1")
	kit, _, user := newSessionKit(t, append([]func(*authkit.Config){withFactors(otp)}, change...)...)
	return kit, otp, user
}

// MF-07, MF-20: a factor counts after a right response, ends the other sessions
// and is an event; so is its removal, for which the login must have used it.
func TestFactorIsSetUpAndRemoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		kit, otp, user := newSetupKit(t, events.listen)
		other, mine := begin(t, kit), begin(t, kit)
		ctx := as(t, kit, mine)
		before, err := kit.User(t.Context(), user.ID)
		require.NoError(t, err)
		events.reset()

		data, err := kit.EnrollFactor(ctx, user.ID, "otp")
		require.NoError(t, err)
		require.Equal(t, map[string]string{"secret": "of " + email}, data)
		begin(t, kit) // it does not count yet
		_, err = kit.ConfirmFactor(ctx, user.ID, "otp", "2")
		require.ErrorIs(t, err, authkit.ErrInvalidCode)
		begin(t, kit)
		require.NotContains(t, events.kinds(), authkit.EventFactorAdded)

		events.reset()
		shown, err := kit.ConfirmFactor(ctx, user.ID, "otp", "1")
		require.NoError(t, err)
		require.Equal(t, map[string]any{"codes": []string{"one", "two"}}, shown)
		require.Equal(t, []authkit.Event{{Kind: authkit.EventFactorAdded, UserID: user.ID, Method: "otp"}}, events.all())
		_, err = kit.Refresh(t.Context(), other.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken, "another session goes on")
		renew(t, kit, mine)
		after, err := kit.User(t.Context(), user.ID)
		require.NoError(t, err)
		require.Greater(t, after.Version, before.Version, "links and pending logins from before are void")
		pending := challenge(t, kit)
		status, err := kit.Factors(t.Context(), user.ID)
		require.NoError(t, err)
		require.Equal(t, authkit.FactorStatus{Enrolled: []string{"otp"}, Available: []string{"otp"}}, status)

		// The login from before did not use the factor.
		var stepUp *authkit.StepUpError
		require.ErrorAs(t, kit.RemoveFactor(ctx, user.ID, "otp"), &stepUp)
		require.Equal(t, []string{"mfa"}, stepUp.Methods)
		_, err = kit.EnrollFactor(ctx, user.ID, "otp")
		require.ErrorAs(t, err, &stepUp)
		token, err := kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
		require.NoError(t, err)
		ctx = as(t, kit, token)
		_, err = kit.EnrollFactor(ctx, user.ID, "otp")
		require.ErrorIs(t, err, authkit.ErrFactorEnrolled)
		pending = challenge(t, kit)
		events.reset()
		require.NoError(t, kit.RemoveFactor(ctx, user.ID, "otp"))
		require.Equal(t, []authkit.Event{{Kind: authkit.EventFactorRemoved, UserID: user.ID, Method: "otp"}}, events.all())
		_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "a pending login from before goes on")
		require.Zero(t, otp.users[user.ID])
		begin(t, kit)
	})
}

// MF-07: who may change the factors of an account. The login of the user must be
// at most five minutes old. An administrator can remove factors, and add none of
// the administrator.
func TestWhoMayChangeFactors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := credentials{}
		kit, otp, user := newSetupKit(t, withAuthenticators(keys))
		admin := addUser(t, kit, "admin@example.com", password, "admin")
		peer := addUser(t, kit, "peer@example.com", password, "user")
		log := func(email string) context.Context {
			token, err := kit.Login(t.Context(), email, password)
			require.NoError(t, err)
			return as(t, kit, token)
		}
		now := time.Now()
		keys["key"] = authkit.Credential{UserID: user.ID, Machine: true, IssuedAt: now, AuthTime: now}
		keys["limited"] = authkit.Credential{UserID: user.ID, Limited: true, IssuedAt: now, AuthTime: now}
		keys["impersonated"] = authkit.Credential{UserID: user.ID, ActorID: admin.ID, IssuedAt: now, AuthTime: now}
		keys["service"] = authkit.Credential{Service: "job", Machine: true, IssuedAt: now}
		keys["old"] = authkit.Credential{UserID: user.ID, IssuedAt: now, AuthTime: now.Add(-5*time.Minute - time.Second)}
		keys["recent"] = authkit.Credential{UserID: user.ID, IssuedAt: now, AuthTime: now.Add(-5 * time.Minute)}
		keys["old admin"] = authkit.Credential{UserID: admin.ID, IssuedAt: now, AuthTime: now.Add(-time.Hour)}
		stranger := newKit(t)
		addUser(t, stranger, "admin@example.com", password, "admin")
		token, err := stranger.Login(t.Context(), "admin@example.com", password)
		require.NoError(t, err)

		stepUp := new(authkit.StepUpError)
		for name, c := range map[string]struct {
			ctx    context.Context
			add    error // a factor, or new recovery codes
			remove error
			reset  error
		}{
			"no principal":   {t.Context(), nil, nil, nil},
			"system":         {authkit.WithSystem(t.Context(), "cli"), nil, nil, nil},
			"user":           {log(email), nil, nil, authkit.ErrForbidden},
			"recent user":    {by(t, kit, "recent"), nil, nil, authkit.ErrForbidden},
			"old login":      {by(t, kit, "old"), stepUp, stepUp, authkit.ErrForbidden},
			"admin":          {log(admin.Email), authkit.ErrForbidden, nil, nil},
			"old admin":      {by(t, kit, "old admin"), authkit.ErrForbidden, nil, nil},          // the route decides
			"peer":           {log(peer.Email), authkit.ErrForbidden, authkit.ErrForbidden, nil}, // as SetPassword: the route decides
			"API key":        {by(t, kit, "key"), authkit.ErrForbidden, authkit.ErrForbidden, authkit.ErrForbidden},
			"limited":        {by(t, kit, "limited"), authkit.ErrForbidden, authkit.ErrForbidden, authkit.ErrForbidden},
			"impersonated":   {by(t, kit, "impersonated"), authkit.ErrForbidden, authkit.ErrForbidden, authkit.ErrForbidden},
			"service":        {by(t, kit, "service"), authkit.ErrForbidden, authkit.ErrForbidden, authkit.ErrForbidden},
			"of another Kit": {as(t, stranger, token), authkit.ErrForbidden, authkit.ErrForbidden, authkit.ErrForbidden},
		} {
			check := func(want, err error) {
				t.Helper()
				if want == stepUp {
					var got *authkit.StepUpError
					require.ErrorAs(t, err, &got, name)
					require.Equal(t, 5*time.Minute, got.MaxAge)
					return
				}
				require.ErrorIs(t, err, want, name)
			}
			otp.users[user.ID] = 0
			_, err := kit.EnrollFactor(c.ctx, user.ID, "otp")
			check(c.add, err)
			_, err = kit.ConfirmFactor(c.ctx, user.ID, "otp", "1")
			check(c.add, err)
			require.Equal(t, c.add == nil, otp.users[user.ID] == 1, name)
			called := false
			otp.users[user.ID] = 0
			check(c.add, kit.ChangeFactor(c.ctx, authkit.Event{Kind: authkit.EventRecoveryRenewed, UserID: user.ID, Method: "otp"}, func(context.Context) error {
				called = true
				return nil
			}))
			require.Equal(t, c.add == nil, called, name)
			check(c.remove, kit.RemoveFactor(c.ctx, user.ID, "otp")) // the user has none
			otp.users[user.ID] = 1
			check(c.reset, kit.ResetFactors(c.ctx, user.ID))
			require.Equal(t, c.reset == nil, otp.users[user.ID] == 0, name)
		}
	})
}

// An administrator removes all factors; the event names both.
func TestResetFactors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		wiped := &wipedFactor{fakeFactor: fakeFactor{method: "sms", right: "1"}}
		otp := newSetupFactor("otp", "1")
		kit, _, user := newSessionKit(t, events.listen, withFactors(otp, wiped))
		admin := addUser(t, kit, "admin@example.com", password, "admin")
		token := begin(t, kit)
		ctx := mfa(t, kit, admin)
		otp.users[user.ID], wiped.users = 2, []string{user.ID}
		events.reset()
		require.NoError(t, kit.ResetFactors(ctx, user.ID))
		require.Equal(t, []authkit.Event{{Kind: authkit.EventFactorReset, UserID: user.ID, ActorID: admin.ID}}, events.all())
		require.Empty(t, wiped.users)
		status, err := kit.Factors(t.Context(), user.ID)
		require.NoError(t, err)
		require.Empty(t, status.Enrolled)
		_, err = kit.Refresh(t.Context(), token.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
		_, _, err = kit.IdentifyToken(t.Context(), token.AccessToken)
		require.ErrorIs(t, err, authkit.ErrInvalidToken)

		// All of it or nothing.
		otp.users[user.ID], otp.broken = 1, errCrash
		events.reset()
		require.ErrorIs(t, kit.ResetFactors(ctx, user.ID), errCrash)
		require.Empty(t, events.all())
		require.ErrorIs(t, kit.ResetFactors(ctx, "nobody"), authkit.ErrUserNotFound)
		stuck := newKit(t, withFactors(&fakeFactor{method: "otp"}))
		u := addUser(t, stuck, email, password)
		require.ErrorContains(t, stuck.ResetFactors(t.Context(), u.ID), "cannot be removed")
	})
}

// A wipedFactor is no Enroller, but UserData.
type wipedFactor struct{ fakeFactor }

func (*wipedFactor) Name() string { return "sms" }
func (f *wipedFactor) Wipe(_ context.Context, userID string, _ authkit.Wipe) error {
	f.users = slices.DeleteFunc(f.users, func(u string) bool { return u == userID })
	return nil
}
func (*wipedFactor) Export(context.Context, string) (any, error) { return nil, nil }

// MF-11: a user who must have a factor keeps one. Factors that users cannot set
// up, such as recovery codes, are none. An administrator can remove the last.
func TestLastFactorStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		otp, hwk, recovery := newSetupFactor("otp", "1"), newSetupFactor("hwk", "2"), &wipedFactor{fakeFactor: fakeFactor{method: authkit.MethodRecovery, right: "3"}}
		from := time.Now().Add(time.Hour)
		kit, _, user := newSessionKit(t, withFactors(otp, hwk, recovery), func(c *authkit.Config) {
			c.RequireFactors = authkit.FactorPolicy{Roles: []string{"user"}, From: from}
		})
		free := addUser(t, kit, "free@example.com", password)
		recovery.users = []string{user.ID, free.ID}
		remove := func(u authkit.User, method string) error {
			return kit.ChangeFactor(mfa(t, kit, u), authkit.Event{Kind: authkit.EventFactorRemoved, UserID: u.ID, Method: method}, func(ctx context.Context) error {
				f := map[string]*setupFactor{"otp": otp, "hwk": hwk}[method]
				return f.set(ctx, u.ID, func(n int) int { return n - 1 })
			})
		}
		otp.users[user.ID], otp.users[free.ID] = 1, 1
		require.NoError(t, remove(user, "otp"), "before the policy takes effect")
		time.Sleep(time.Hour)
		otp.users[user.ID] = 1
		require.ErrorIs(t, remove(user, "otp"), authkit.ErrLastFactor)
		require.Equal(t, 409, authkit.ProblemFor(authkit.ErrLastFactor).Status)
		require.Equal(t, 1, otp.users[user.ID])
		require.NoError(t, remove(free, "otp"))

		hwk.users[user.ID] = 2
		require.NoError(t, remove(user, "otp"))
		require.NoError(t, remove(user, "hwk"))
		require.ErrorIs(t, remove(user, "hwk"), authkit.ErrLastFactor)
		require.ErrorIs(t, kit.RemoveFactor(mfa(t, kit, user), user.ID, "hwk"), authkit.ErrLastFactor)
		require.NoError(t, kit.ResetFactors(t.Context(), user.ID))
	})
}

// MF-11: two removals at once, each of one of two factors, leave one.
func TestRemovalsAtOnceLeaveAFactor(t *testing.T) {
	t.Parallel()
	otp, hwk := newSetupFactor("otp", "1"), newSetupFactor("hwk", "2")
	kit, _, user := newSessionKit(t, withFactors(otp, hwk), func(c *authkit.Config) { c.RequireFactors.Everyone = true })
	ctx := mfa(t, kit, user)
	for range 20 {
		otp.users[user.ID], hwk.users[user.ID] = 1, 1
		var group sync.WaitGroup
		errs := make([]error, 2)
		for i, method := range []string{"otp", "hwk"} {
			group.Go(func() { errs[i] = kit.RemoveFactor(ctx, user.ID, method) })
		}
		group.Wait()
		require.Equal(t, 1, otp.users[user.ID]+hwk.users[user.ID])
		require.True(t, errs[0] == nil != (errs[1] == nil), "%v", errs)
		for _, err := range errs {
			require.True(t, err == nil || errors.Is(err, authkit.ErrConflict) || errors.Is(err, authkit.ErrLastFactor), "%v", err)
		}
	}
}

// A change that fails changes nothing: neither the sessions nor the account, and
// there is no event.
func TestChangeFactorFails(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, otp, user := newSetupKit(t, events.listen)
	token := begin(t, kit)
	ctx := as(t, kit, token)
	events.reset()
	e := authkit.Event{Kind: authkit.EventFactorAdded, UserID: user.ID, Method: "otp"}
	require.Equal(t, errCrash, kit.ChangeFactor(ctx, e, func(ctx context.Context) error {
		require.NoError(t, otp.set(ctx, user.ID, func(int) int { return 1 }))
		return errCrash
	}))
	require.Zero(t, otp.users[user.ID])
	require.Empty(t, events.all())
	u, err := kit.User(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, int64(1), u.Version)
	other := begin(t, kit)
	renew(t, kit, other)

	for _, kind := range []authkit.EventKind{"", authkit.EventFactorReset, authkit.EventLoginSuccess, authkit.EventFactorDisabled} {
		require.ErrorContains(t, kit.ChangeFactor(ctx, authkit.Event{Kind: kind, UserID: user.ID}, nil), "no change of a factor")
	}
	e.UserID = "nobody"
	require.ErrorIs(t, kit.ChangeFactor(t.Context(), e, nil), authkit.ErrUserNotFound)
	for _, method := range []string{"", "pwd", "hwk"} {
		_, err := kit.EnrollFactor(ctx, user.ID, method)
		require.ErrorIs(t, err, authkit.ErrNoFactor)
		_, err = kit.ConfirmFactor(ctx, user.ID, method, "1")
		require.ErrorIs(t, err, authkit.ErrNoFactor)
		require.ErrorIs(t, kit.RemoveFactor(ctx, user.ID, method), authkit.ErrNoFactor)
	}
	require.NoError(t, kit.RemoveFactor(ctx, user.ID, "otp"), "the user has none")
	require.Empty(t, slices.DeleteFunc(events.kinds(), func(kind authkit.EventKind) bool { return kind != authkit.EventFactorRemoved }))
	events.reset()
	require.NoError(t, kit.ChangeFactor(ctx, authkit.Event{Kind: authkit.EventFactorAdded, UserID: user.ID, Method: "otp", Reason: "x", Err: errCrash, ActorID: "y", Route: "z"}, func(context.Context) error { return nil }))
	require.Equal(t, []authkit.Event{{Kind: authkit.EventFactorAdded, UserID: user.ID, Method: "otp"}}, events.all())

	otp.broken = errCrash
	_, err = kit.EnrollFactor(ctx, user.ID, "otp")
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	_, err = kit.ConfirmFactor(ctx, user.ID, "otp", "1")
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	otp.users[user.ID] = 1
	require.ErrorIs(t, kit.RemoveFactor(mfa(t, kit, user), user.ID, "otp"), authkit.ErrUnavailable)
}

// If sessions are in another store, which fails after the change, all tokens of
// the account end. Without sessions all tokens end too.
func TestChangeFactorWithoutSharedSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		otp := newSetupFactor("otp", "1")
		sessions := &revokeFails{MemoryStore: authkit.NewMemoryStore()}
		kit := newKit(t, withFactors(otp), func(c *authkit.Config) { c.Sessions.Store = sessions })
		user := addUser(t, kit, email, password)
		other, mine := begin(t, kit), begin(t, kit)
		_, err := kit.ConfirmFactor(as(t, kit, mine), user.ID, "otp", "1")
		require.NoError(t, err)
		_, err = kit.Refresh(t.Context(), other.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
		renew(t, kit, mine)

		otp.users[user.ID] = 0
		mine = begin(t, kit)
		ctx := as(t, kit, mine)
		sessions.fail = true
		_, err = kit.ConfirmFactor(ctx, user.ID, "otp", "1")
		require.ErrorIs(t, err, authkit.ErrUnavailable)
		require.Equal(t, 1, otp.users[user.ID])
		sessions.fail = false
		_, err = kit.Refresh(t.Context(), mine.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)

		none := newKit(t, withFactors(otp))
		user = addUser(t, none, email, password)
		token := begin(t, none)
		_, err = none.ConfirmFactor(as(t, none, token), user.ID, "otp", "1")
		require.NoError(t, err)
		_, _, err = none.IdentifyToken(t.Context(), token.AccessToken)
		require.ErrorIs(t, err, authkit.ErrInvalidToken)
	})
}

// A revokeFails is a SessionStore that cannot end sessions.
type revokeFails struct {
	*authkit.MemoryStore
	fail bool
}

func (s *revokeFails) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	if s.fail {
		return errCrash
	}
	return s.MemoryStore.RevokeSessions(ctx, userID, except, at)
}
