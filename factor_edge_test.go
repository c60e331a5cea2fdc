package authkit_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// MF-06: a pending login that asks for a factor does not set one up, neither does
// one whose user has set it up meanwhile, and neither if users cannot set up the
// factor any more.
func TestOnlyALoginThatMayEnrollEnrolls(t *testing.T) {
	t.Parallel()
	var events recorder
	store := authkit.NewMemoryStore()
	stores := func(c *authkit.Config) { c.Users, c.Sessions.Store, c.Tickets = store, store, store }
	otp := newSetupFactor("otp", "1")
	kit := newKit(t, stores, events.listen, requiring, withFactors(otp))
	u := addUser(t, kit, email, password)
	refused := func(kit *authkit.Kit, pending *authkit.ChallengeError) {
		t.Helper()
		events.reset()
		_, err := kit.EnrollChallenge(t.Context(), pending.Token, "otp")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.Equal(t, []authkit.EventKind{authkit.EventLoginFailure}, events.kinds())
		require.Equal(t, u.ID, events.last().UserID)
	}
	otp.users[u.ID] = 1
	refused(kit, challenge(t, kit))
	require.Zero(t, otp.begun)

	otp.users[u.ID] = 0
	pending := challenge(t, kit)
	require.True(t, pending.Enroll)
	otp.users[u.ID] = 1
	refused(kit, pending)

	otp.users[u.ID] = 0
	pending = challenge(t, kit)
	fixed := newKit(t, stores, events.listen, withFactors(&fakeFactor{method: "otp", right: "1"}))
	refused(fixed, pending)
	_, err := fixed.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
}

// MF-06, MF-16: a trusted device skips the factor that a user has. It does not
// skip setting one up.
func TestTrustedDeviceDoesNotSkipEnrollment(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	devices := &faultyDevices{store: store}
	kit, otp, user := newSetupKit(t, store.listen, requiring, func(c *authkit.Config) { c.TrustedDevices = devices })
	require.True(t, challenge(t, kit).Enroll)
	require.Zero(t, devices.asked)
	otp.users[user.ID] = 1
	require.Contains(t, tokenClaims(t, begin(t, kit)).Methods, authkit.MethodTrustedDevice)
	store.down(false, "Trusted")
	_, err := kit.Login(t.Context(), email, password)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
}

// LO-08: a client that leaves once the response that sets up a factor was
// compared has made an attempt. A store that then fails is no wrong response.
func TestHangUpDuringEnrollment(t *testing.T) {
	t.Parallel()
	answer := func(ctx context.Context, kit *authkit.Kit, _ string) error {
		_, err := kit.AnswerChallenge(ctx, challenge(t, kit).Token, "otp", "1")
		return err
	}
	confirm := func(ctx context.Context, kit *authkit.Kit, id string) error {
		_, err := kit.ConfirmFactor(ctx, id, "otp", "1")
		return err
	}
	for name, c := range map[string]struct {
		call    func(ctx context.Context, kit *authkit.Kit, userID string) error
		failing string // the call that fails, from ConfirmEnrollment on
		leaves  bool
		want    error
		outcome string
	}{
		"answer, the client leaves":  {answer, "UserByID", true, context.Canceled, "failed"},
		"answer, the store fails":    {answer, "UserByID", false, authkit.ErrUnavailable, "undecided"},
		"confirm, the client leaves": {confirm, "ConfirmEnrollment", true, context.Canceled, "failed"},
		"confirm, the store fails":   {confirm, "ConfirmEnrollment", false, authkit.ErrUnavailable, "undecided"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
			var throttled fakeThrottle
			kit := newKit(t, store.listen, throttled.listen, requiring, withFactors(faultyFactor{newSetupFactor("otp", "1"), store}))
			u := addUser(t, kit, email, password)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			confirmed := false
			store.before = func(name string, _ int) error {
				confirmed = confirmed || name == "ConfirmEnrollment"
				if !confirmed || name != c.failing {
					return nil
				}
				if c.leaves {
					leave()
				}
				return errDown
			}
			require.ErrorIs(t, c.call(ctx, kit, u.ID), c.want)
			require.Equal(t, c.outcome, throttled.calls[len(throttled.calls)-1])
		})
	}
}

// A change of a factor that loses to another change of the account is a conflict,
// which the caller can tell from a failure.
func TestFactorConflict(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit, otp, user := newSetupKit(t, store.listen)
	store.before = func(name string, _ int) error {
		if name == "UpdateUser" {
			return authkit.ErrConflict
		}
		return nil
	}
	_, err := kit.ConfirmFactor(t.Context(), user.ID, "otp", "1")
	require.ErrorIs(t, err, authkit.ErrConflict)
	require.NotErrorIs(t, err, authkit.ErrUnavailable)
	otp.users[user.ID] = 1
	err = kit.RemoveFactor(t.Context(), user.ID, "otp")
	require.ErrorIs(t, err, authkit.ErrConflict)
	require.NotErrorIs(t, err, authkit.ErrUnavailable)
}

// MF-07: a change by another user, or by a login that has no session of the
// Kit, keeps no session. It then refuses all tokens of the account by a cut-off.
func TestChangeThatKeepsNoSession(t *testing.T) {
	t.Parallel()
	at := time.Now()
	for name, c := range map[string]struct {
		sessions bool
		change   func(t *testing.T, kit *authkit.Kit, u authkit.User) error
	}{
		"an administrator removes a factor": {true, func(t *testing.T, kit *authkit.Kit, u authkit.User) error {
			admin := addUser(t, kit, "admin@example.com", password, "admin")
			return kit.RemoveFactor(mfa(t, kit, admin), u.ID, "otp")
		}},
		"a session of others removes a factor": {false, func(t *testing.T, kit *authkit.Kit, u authkit.User) error {
			return kit.RemoveFactor(by(t, kit, "sso"), u.ID, "otp")
		}},
		"a session of others changes the password": {false, func(t *testing.T, kit *authkit.Kit, u authkit.User) error {
			return kit.ChangePassword(by(t, kit, "sso"), u.ID, password, newPassword)
		}},
		"no session changes the password": {false, func(t *testing.T, kit *authkit.Kit, u authkit.User) error {
			return kit.ChangePassword(mfa(t, kit, u), u.ID, password, newPassword)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := authkit.NewMemoryStore()
			otp, keys := newSetupFactor("otp", "1"), credentials{}
			kit := newKit(t, withFactors(otp), withAuthenticators(keys), func(cfg *authkit.Config) {
				if cfg.Users = store; c.sessions {
					cfg.Sessions.Store = store
				}
			})
			u := addUser(t, kit, email, password)
			keys["sso"] = authkit.Credential{UserID: u.ID, SessionID: "theirs", IssuedAt: time.Now(), AuthTime: time.Now(), Methods: []string{"mfa"}}
			token := mfaToken(t, kit, u)
			otp.users[u.ID] = 1
			require.NoError(t, c.change(t, kit, u))
			stored, err := store.UserByID(t.Context(), u.ID)
			require.NoError(t, err)
			require.True(t, stored.TokensValidAfter.After(at))
			_, _, err = kit.IdentifyToken(t.Context(), token.AccessToken)
			require.ErrorIs(t, err, authkit.ErrInvalidToken)
		})
	}
}

// FR-07: the revocation of the tokens that name a user by e-mail would also refuse
// the session that goes on.
func TestChangePasswordByEmailSubject(t *testing.T) {
	t.Parallel()
	kit, _, user := newSessionKit(t, func(c *authkit.Config) { c.EmailSubject = true })
	other, mine := begin(t, kit), begin(t, kit)
	require.NoError(t, kit.ChangePassword(as(t, kit, mine), user.ID, password, newPassword))
	revoked, err := kit.Revocations(t.Context(), time.Time{})
	require.NoError(t, err)
	require.Len(t, revoked, 1)
	require.Equal(t, sessionID(t, other), revoked[0].SessionID)
}

// MF-11: a factor of which users have one does not count unless it is set up.
func TestLastFactorWithoutACounter(t *testing.T) {
	t.Parallel()
	type plain struct{ authkit.Enroller }
	otp, hwk := newSetupFactor("otp", "1"), newSetupFactor("hwk", "2")
	kit, _, user := newSessionKit(t, requiring, withFactors(plain{otp}, plain{hwk}))
	hwk.users[user.ID] = 1
	require.ErrorIs(t, kit.RemoveFactor(mfa(t, kit, user), user.ID, "hwk"), authkit.ErrLastFactor)
	otp.users[user.ID] = 1
	require.NoError(t, kit.RemoveFactor(mfa(t, kit, user), user.ID, "hwk"))
}

// An error of a function of the program is no wrong proof, whatever it wraps.
func TestLoginWithAFailingHook(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSessionKit(t, func(c *authkit.Config) {
		c.Passwords.Check = func(_ context.Context, password string, _ authkit.User) error {
			if password == "the list is gone" {
				return authkit.ErrUserNotFound
			}
			return nil
		}
	})
	_, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, func(ctx context.Context) (authkit.Proof, error) {
		return authkit.Proof{}, kit.CheckUser(ctx, authkit.User{Email: "new@example.com"}, "the list is gone")
	})
	require.Equal(t, 500, authkit.ProblemFor(err).Status)
}

// HA-09: a password that is verified again replaces an old hash too.
func TestVerifyPasswordRehashes(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.Users = store })
	u := storeUser(t, store, authkit.StoredUser{User: authkit.User{Email: email}, PasswordHash: passlibHash(password, "saltsalt", 1000)})
	require.NoError(t, kit.VerifyPassword(t.Context(), u.ID, password))
	require.Contains(t, string(storedHash(t, store, u.ID)), "$2a$04$")
}
