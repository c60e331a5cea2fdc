package passkey_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeytest"
	"github.com/authkit-go/authkit/throttle"
)

// MF-18: a login with user verification counts as two factors.
func TestLogin(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t)
	o, err := a.BeginLogin(a.ctx())
	require.NoError(t, err)
	var options struct {
		Challenge, RPID, UserVerification string
		Timeout                           int
		AllowCredentials                  []any
	}
	require.NoError(t, json.Unmarshal(o.PublicKey, &options))
	require.Equal(t, "example.com", options.RPID)
	require.Equal(t, "required", options.UserVerification)
	require.Equal(t, 300_000, options.Timeout)
	require.Empty(t, options.AllowCredentials, "the user is not known")
	token, err := a.Login(a.ctx(), key.Get(o))
	require.NoError(t, err)
	require.Equal(t, u.ID, token.User.ID)
	require.Equal(t, []authkit.EventKind{authkit.EventLoginSuccess}, a.kinds())
	_, who, err := a.kit.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	require.Equal(t, []string{"pop", "mfa"}, who.Methods)
	require.NoError(t, authkit.Authenticated().Fresh(time.Minute).Using("pop", "mfa").Check(who))

	list, err := a.List(t.Context(), u.ID)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), list[0].LastUsedAt, time.Hour, "MF-21")
	require.EqualValues(t, 2, list[0].SignCount)
	require.EqualValues(t, 2, list[0].Version)
	key.Origin = "https://example.com"
	_, err = a.login(key)
	require.NoError(t, err, "the other origin")
}

// MF-09: each deviation from the ceremony is refused, and uses up its challenge.
func TestLoginRefused(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t)
	stranger := newAuthenticator(t)
	for name, change := range map[string]func(*passkeytest.Authenticator){
		"another origin":              func(k *passkeytest.Authenticator) { k.Origin = "https://example.com.evil.example" },
		"an origin without TLS":       func(k *passkeytest.Authenticator) { k.Origin = "http://example.com" },
		"a subdomain that is not one": func(k *passkeytest.Authenticator) { k.Origin = "https://other.example.com" },
		"a frame of another origin":   func(k *passkeytest.Authenticator) { k.ClientData = func(d map[string]any) { d["crossOrigin"] = true } },
		"another RP ID":               func(k *passkeytest.Authenticator) { k.RPID = "login.example.com" },
		"no user verification":        func(k *passkeytest.Authenticator) { k.UserVerified = false }, // MF-18
		"no user presence":            func(k *passkeytest.Authenticator) { k.UserPresent = false },
		"backed up and not eligible":  func(k *passkeytest.Authenticator) { k.BackedUp = true },
		"the type of a registration": func(k *passkeytest.Authenticator) {
			k.ClientData = func(d map[string]any) { d["type"] = "webauthn.create" }
		},
		"the key of another passkey":   func(k *passkeytest.Authenticator) { k.Key = stranger.Key },
		"the handle of another user":   func(k *passkeytest.Authenticator) { k.UserHandle = make([]byte, 64) },
		"no handle":                    func(k *passkeytest.Authenticator) { k.UserHandle = nil },
		"an ID that is not registered": func(k *passkeytest.Authenticator) { k.CredentialID = stranger.CredentialID },
	} {
		o, err := a.BeginLogin(a.ctx())
		require.NoError(t, err)
		bad := *key
		change(&bad)
		_, err = a.Login(a.ctx(), bad.Get(o))
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials, name)
		_, err = a.Login(a.ctx(), key.Get(o))
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "%s: the challenge was used", name)
		require.Equal(t, []authkit.EventKind{authkit.EventLoginFailure, authkit.EventLoginFailure}, a.kinds(), name)
	}
	register, err := a.BeginRegistration(authkit.WithSystem(a.ctx(), "test"), u.ID)
	require.NoError(t, err)
	factor, err := a.BeginFactor(a.ctx())
	require.NoError(t, err)
	for name, response := range map[string][]byte{
		"the challenge of a registration": key.Get(register), "the challenge of a factor": key.Get(factor), "a challenge of none": sign(key, "AAAA"),
		"no challenge": sign(key, ""), "a challenge that is not base64url": sign(key, "A+/="), "a challenge in another spelling": sign(key, spelled(a, t)), "nothing": nil, "no credential": []byte("{}"), "too much": make([]byte, 1<<17),
	} {
		_, err = a.Login(a.ctx(), response)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials, name)
	}
	o, err := a.BeginLogin(a.ctx())
	require.NoError(t, err)
	response := key.Get(o)
	_, err = a.Login(a.ctx(), response)
	require.NoError(t, err)
	_, err = a.Login(a.ctx(), response)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "a response is used once")
}

// spelled returns the challenge of a login with a line break, which a decoder of
// base64 ignores.
func spelled(a *app, t *testing.T) string {
	t.Helper()
	o, err := a.BeginLogin(a.ctx())
	require.NoError(t, err)
	var options struct{ Challenge string }
	require.NoError(t, json.Unmarshal(o.PublicKey, &options))
	return options.Challenge + "\n"
}

// A passkey that was registered without user verification, as by an import, does
// not log in alone.
func TestLoginUnverified(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t)
	k, err := a.keys.PasskeysByUser(t.Context(), u.ID)
	require.NoError(t, err)
	require.NoError(t, a.keys.DeletePasskey(t.Context(), u.ID, k[0].ID))
	k[0].UserVerified = false
	require.NoError(t, a.keys.AddPasskey(t.Context(), k[0], 1))
	_, err = a.login(key)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	require.NoError(t, a.answer(u.Email, key))
}

// MF-09: a challenge is valid for five minutes.
func TestLoginExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _, key := enrolled(t)
		for wait, want := range map[time.Duration]error{5*time.Minute - time.Second: nil, 5 * time.Minute: authkit.ErrInvalidCredentials} {
			o, err := a.BeginLogin(a.ctx())
			require.NoError(t, err)
			time.Sleep(wait)
			_, err = a.Login(a.ctx(), key.Get(o))
			require.ErrorIs(t, err, want)
		}
	})
}

// MF-18: the gates of every login.
func TestLoginGates(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t)
	system := authkit.WithSystem(t.Context(), "test")
	require.NoError(t, a.kit.DisableUser(system, u.ID))
	_, err := a.login(key)
	require.ErrorIs(t, err, authkit.ErrUserDisabled)
	_, err = a.kit.EnableUser(system, u.ID)
	require.NoError(t, err)
	_, err = a.kit.LockUser(system, u.ID, time.Now().Add(time.Hour))
	require.NoError(t, err)
	_, err = a.login(key)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	require.Equal(t, authkit.ReasonLocked, last(a.took()).Reason)
	_, err = a.kit.UnlockUser(system, u.ID)
	require.NoError(t, err)
	_, err = a.login(key)
	require.NoError(t, err)
	require.NoError(t, a.kit.ResetUser(system, u.ID))
	_, err = a.login(key)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "a reset removes passkeys")
}

func last(events []authkit.Event) authkit.Event { return events[len(events)-1] }

// MF-18: the throttle limits both requests by address, since no name is known.
func TestLoginThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits, err := throttle.New(throttle.Config{})
		require.NoError(t, err)
		a, u, key := enrolled(t, options{kit: func(c *authkit.Config) { c.Throttle = limits }})
		var o passkey.Options
		admitted := 0
		for range 100 {
			next, err := a.BeginLogin(a.ctx())
			if err != nil {
				_, throttled := errors.AsType[*authkit.ThrottledError](err)
				require.True(t, throttled, "%v", err)
				break
			}
			o = next
			admitted++
		}
		require.Equal(t, 60, admitted)
		for range 30 {
			_, err = a.Login(a.ctx(), []byte("{}"))
		}
		_, throttled := errors.AsType[*authkit.ThrottledError](err)
		require.True(t, throttled, "%v", err)
		_, err = a.Login(a.ctx(), key.Get(o))
		_, throttled = errors.AsType[*authkit.ThrottledError](err)
		require.True(t, throttled, "the right response waits too: %v", err)
		elsewhere := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "198.51.100.1", Device: agent})
		_, err = a.Login(elsewhere, key.Get(o))
		require.NoError(t, err, "the challenge was not used, and the account has no failures")
		require.NotEmpty(t, u.ID)
	})
}

// MF-19: the error for a deleted passkey names it for signalUnknownCredential.
func TestLoginDeleted(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t)
	list, err := a.List(t.Context(), u.ID)
	require.NoError(t, err)
	_, err = a.Delete(authkit.WithSystem(t.Context(), "test"), u.ID, list[0].ID)
	require.NoError(t, err)
	_, err = a.login(key)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	unknown, ok := errors.AsType[*passkey.UnknownCredentialError](err)
	require.True(t, ok)
	require.Equal(t, &passkey.UnknownCredentialError{RPID: "example.com", CredentialID: b64(key.CredentialID)}, unknown)
	require.NotContains(t, err.Error(), b64(key.CredentialID))
	require.ErrorIs(t, a.factor.Verify(t.Context(), u.ID, string(sign(key, "AAAA"))), authkit.ErrInvalidCode)
}

// MF-14: a passkey that becomes eligible for backup is stored so, and reported.
// The other direction is refused, unless the configuration accepts it.
func TestBackupFlags(t *testing.T) {
	t.Parallel()
	flags := func(a *app, id string) [2]bool {
		list, err := a.List(t.Context(), id)
		require.NoError(t, err)
		return [2]bool{list[0].BackupEligible, list[0].BackedUp}
	}
	a, u, key := enrolled(t)
	require.Equal(t, [2]bool{}, flags(a, u.ID))
	key.BackupEligible = true
	_, err := a.login(key)
	require.NoError(t, err)
	require.Equal(t, []authkit.EventKind{passkey.EventBackupEligible, authkit.EventLoginSuccess}, a.kinds())
	require.Equal(t, [2]bool{true, false}, flags(a, u.ID))
	for _, bs := range []bool{true, false, true} { // BS comes and goes
		key.BackedUp = bs
		_, err = a.login(key)
		require.NoError(t, err)
		require.Equal(t, []authkit.EventKind{authkit.EventLoginSuccess}, a.kinds())
		require.Equal(t, [2]bool{true, bs}, flags(a, u.ID))
	}
	key.BackupEligible, key.BackedUp = false, false
	_, err = a.login(key)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	events := a.took()
	require.Equal(t, authkit.Event{Kind: passkey.EventBackupLoss, UserID: u.ID, Method: "pop", Reason: authkit.ReasonWrongProof}, events[0])
	require.ErrorIs(t, a.answer(u.Email, key), authkit.ErrInvalidCredentials, "as a factor too")
	require.Equal(t, [2]bool{true, true}, flags(a, u.ID))

	a, u, key = enrolled(t, options{keys: func(c *passkey.Config) { c.InsecureAllowBackupLoss = true }})
	key.BackupEligible = true
	_, err = a.login(key)
	require.NoError(t, err)
	a.kinds()
	key.BackupEligible = false
	_, err = a.login(key)
	require.NoError(t, err)
	require.Equal(t, []authkit.EventKind{passkey.EventBackupLoss, authkit.EventLoginSuccess}, a.kinds())
	require.Equal(t, [2]bool{}, flags(a, u.ID))
}

// MF-10: a counter that falls is reported, and refused if the configuration says
// so. One that stays zero is not.
func TestCounter(t *testing.T) {
	t.Parallel()
	for _, refuse := range []bool{false, true} {
		a := newApp(t, options{keys: func(c *passkey.Config) { c.RefuseCounterRollback = refuse }})
		u, key := a.add("ann@example.com"), newAuthenticator(t)
		key.SignCount = 0
		a.register(a.first(u.Email), key)
		a.took()
		for range 2 {
			_, err := a.login(key)
			require.NoError(t, err, "zero, as of synced passkeys")
		}
		key.SignCount = 7
		_, err := a.login(key)
		require.NoError(t, err)
		require.NotContains(t, a.kinds(), passkey.EventCounterRollback)
		for _, count := range []uint32{7, 6, 0} {
			key.SignCount = count
			_, err = a.login(key)
			e := a.took()[0]
			require.Equal(t, passkey.EventCounterRollback, e.Kind)
			require.Equal(t, u.ID, e.UserID)
			list, _ := a.List(t.Context(), u.ID)
			if refuse {
				require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
				require.Equal(t, authkit.ReasonWrongProof, e.Reason)
				require.EqualValues(t, 7, list[0].SignCount)
			} else {
				require.NoError(t, err)
				require.Empty(t, e.Reason)
				require.Equal(t, count, list[0].SignCount)
				key.SignCount = 7
				_, err = a.login(key)
				require.NoError(t, err)
				a.took()
			}
		}
	}
}

// answer logs in with the password and answers with the passkey.
func (a *app) answer(email string, key *passkeytest.Authenticator) error {
	a.t.Helper()
	c := a.challenged(email)
	o, err := a.BeginFactor(a.ctx())
	require.NoError(a.t, err)
	_, err = a.kit.AnswerChallenge(a.ctx(), c.Token, passkey.Method, string(key.Get(o)))
	return err
}

// challenged logs in with the password, and returns the pending login.
func (a *app) challenged(email string) *authkit.ChallengeError {
	a.t.Helper()
	_, err := a.kit.Login(a.ctx(), email, password)
	c, ok := errors.AsType[*authkit.ChallengeError](err)
	require.True(a.t, ok, "%v", err)
	require.Equal(a.t, []string{"pop"}, c.Methods)
	return c
}

// MF-06, MF-09: a passkey as the second factor must be that of the user.
func TestSecondFactor(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t)
	bob := a.add("bob@example.com")
	bobs := newAuthenticator(t)
	a.register(a.first(bob.Email), bobs)
	require.NoError(t, a.answer(u.Email, key))
	require.NoError(t, a.answer(bob.Email, bobs))
	require.ErrorIs(t, a.answer(u.Email, bobs), authkit.ErrInvalidCredentials)

	key.UserVerified = false // one factor beside the password
	c := a.challenged(u.Email)
	o, err := a.BeginFactor(a.ctx())
	require.NoError(t, err)
	response := string(key.Get(o))
	token, err := a.kit.AnswerChallenge(a.ctx(), c.Token, passkey.Method, response)
	require.NoError(t, err)
	_, who, err := a.kit.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	require.Equal(t, []string{"pwd", "pop", "mfa"}, who.Methods)
	_, err = a.kit.AnswerChallenge(a.ctx(), a.challenged(u.Email).Token, passkey.Method, response)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "a response is used once")

	key.UserVerified = true
	login, err := a.BeginLogin(a.ctx())
	require.NoError(t, err)
	_, err = a.kit.AnswerChallenge(a.ctx(), a.challenged(u.Email).Token, passkey.Method, string(key.Get(login)))
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "the challenge of a login")
	for name, change := range map[string]func(*passkeytest.Authenticator){
		"another origin":     func(k *passkeytest.Authenticator) { k.Origin = "https://evil.example" },
		"another RP ID":      func(k *passkeytest.Authenticator) { k.RPID = "evil.example" },
		"no user presence":   func(k *passkeytest.Authenticator) { k.UserPresent = false },
		"no handle":          func(k *passkeytest.Authenticator) { k.UserHandle = nil },
		"the key of another": func(k *passkeytest.Authenticator) { k.Key = bobs.Key },
	} {
		bad := *key
		change(&bad)
		require.ErrorIs(t, a.answer(u.Email, &bad), authkit.ErrInvalidCredentials, name)
	}
}

// Without the factor in SecondFactors, a password is enough.
func TestPasswordless(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t, options{kit: func(c *authkit.Config) { c.SecondFactors = nil }})
	_, err := a.kit.Login(a.ctx(), u.Email, password)
	require.NoError(t, err)
	_, err = a.login(key)
	require.NoError(t, err)
}

// Of several uses of one passkey at once, each is recorded or refused.
func TestConcurrentUses(t *testing.T) {
	t.Parallel()
	store := &conflicting{Store: passkey.NewMemoryStore()}
	a, u, key := enrolled(t, options{keys: func(c *passkey.Config) { c.Store = store }})
	store.conflicts = 2
	_, err := a.login(key)
	require.NoError(t, err)
	list, err := a.List(t.Context(), u.ID)
	require.NoError(t, err)
	require.EqualValues(t, 4, list[0].Version, "the two others, and this one")
	store.conflicts = 3
	_, err = a.login(key)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	store.conflicts, store.remove = 1, true
	_, err = a.login(key)
	_, unknown := errors.AsType[*passkey.UnknownCredentialError](err)
	require.True(t, unknown, "deleted meanwhile: %v", err)
}

// MF-18: a passkey that is deleted right after it was used begins no session:
// its session would outlive the deletion, which ends the others.
func TestLoginWithAPasskeyThatIsDeleted(t *testing.T) {
	t.Parallel()
	store := &conflicting{Store: passkey.NewMemoryStore()}
	a, u, key := enrolled(t, options{keys: func(c *passkey.Config) { c.Store = store }})
	store.used = func(id string) {
		_, err := a.Delete(authkit.WithSystem(t.Context(), "test"), u.ID, id)
		require.NoError(t, err)
	}
	_, err := a.login(key)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	sessions, err := a.kit.Sessions(t.Context(), u.ID)
	require.NoError(t, err)
	require.Empty(t, sessions)
}

// A conflicting store uses a passkey itself, before the caller does. It calls
// used after the use of the caller.
type conflicting struct {
	passkey.Store
	conflicts int
	remove    bool
	used      func(id string)
}

func (s *conflicting) UsePasskey(ctx context.Context, id string, version int64, u passkey.Use) error {
	if s.conflicts > 0 {
		s.conflicts--
		p, err := s.PasskeyByID(ctx, id)
		if err != nil {
			return err
		}
		if s.remove {
			err = s.DeletePasskey(ctx, p.UserID, id)
		} else {
			err = s.Store.UsePasskey(ctx, id, version, passkey.Use{At: u.At, SignCount: p.SignCount})
		}
		if err != nil {
			return err
		}
	}
	err := s.Store.UsePasskey(ctx, id, version, u)
	if err == nil && s.used != nil {
		s.used(id)
	}
	return err
}

// MF-09: a passkey without a user handle, as of a wrong import, logs no one in.
func TestPasskeyWithoutAHandle(t *testing.T) {
	t.Parallel()
	s := &handleless{Store: passkey.NewMemoryStore()}
	a, _, key := enrolled(t, options{keys: func(c *passkey.Config) { c.Store = s }})
	s.on, key.UserHandle = true, nil
	_, err := a.login(key)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
}

type handleless struct {
	passkey.Store
	on  bool
	err error
}

func (s *handleless) PasskeyByID(ctx context.Context, id string) (passkey.Passkey, error) {
	k, err := s.Store.PasskeyByID(ctx, id)
	if s.on {
		k.UserHandle = nil
	}
	if s.err != nil {
		err = s.err
	}
	return k, err
}

// The error of a second factor is the same for a passkey that is not registered.
func TestSecondFactorIsUnknown(t *testing.T) {
	t.Parallel()
	a, u, _ := enrolled(t)
	o, err := a.BeginFactor(a.ctx())
	require.NoError(t, err)
	stranger := newAuthenticator(t)
	stranger.UserHandle = make([]byte, 64)
	require.Equal(t, authkit.ErrInvalidCode, a.factor.Verify(a.ctx(), u.ID, string(stranger.Get(o))))
}

// MW-07: a store that fails is an event. A client that has left is none.
func TestStoreOfPasskeysFails(t *testing.T) {
	t.Parallel()
	s := &handleless{Store: passkey.NewMemoryStore()}
	a, _, key := enrolled(t, options{keys: func(c *passkey.Config) { c.Store = s }})
	s.err = errors.New("no disk")
	_, err := a.login(key)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.Contains(t, a.kinds(), authkit.EventStoreFailure)
	o, err := a.BeginFactor(a.ctx())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(a.ctx())
	s.Store = cancelling{s.Store, cancel}
	require.ErrorIs(t, a.factor.Verify(ctx, "", string(key.Get(o))), context.Canceled)
	require.NotContains(t, a.kinds(), authkit.EventStoreFailure)
}

// A cancelling store is called by a client that leaves.
type cancelling struct {
	passkey.Store
	cancel func()
}

func (s cancelling) PasskeyByID(context.Context, string) (passkey.Passkey, error) {
	s.cancel()
	return passkey.Passkey{}, nil
}

// A brokenTickets fails to find tickets while it is broken.
type brokenTickets struct {
	*authkit.MemoryStore
	broken bool
}

func (s *brokenTickets) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	if s.broken {
		return authkit.Ticket{}, errors.New("no disk")
	}
	return s.MemoryStore.AttemptTicket(ctx, kind, id, at)
}

// MW-07: a store of tickets that fails is one event, too.
func TestStoreOfChallengesFails(t *testing.T) {
	t.Parallel()
	s := &brokenTickets{MemoryStore: authkit.NewMemoryStore()}
	a, _, key := enrolled(t, options{kit: func(c *authkit.Config) { c.Users, c.Sessions.Store = s, s.MemoryStore }})
	bob := a.add("bob@example.com")
	ctx := a.first(bob.Email)
	s.broken = true
	o, err := a.BeginRegistration(ctx, bob.ID)
	require.NoError(t, err)
	a.kinds()
	_, err = a.FinishRegistration(ctx, bob.ID, newAuthenticator(t).Create(o))
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.Equal(t, []authkit.EventKind{authkit.EventStoreFailure}, a.kinds())
	_, err = a.login(key)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.Equal(t, []authkit.EventKind{authkit.EventLoginFailure}, a.kinds(), "whose reason is the store")
}
