package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// proves returns a function that proves a user, and counts its calls.
func proves(p authkit.Proof, err error) (prove func(context.Context) (authkit.Proof, error), calls *int) {
	calls = new(int)
	return func(context.Context) (authkit.Proof, error) {
		*calls++
		return p, err
	}, calls
}

// proof is one of a user, by e-mail.
func proof(u authkit.User) authkit.Proof {
	return authkit.Proof{UserID: u.ID, Methods: []string{"email"}}
}

func TestLoginWith(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		throttle := new(fakeThrottle)
		kit, _, user := newSessionKit(t, events.listen, throttle.listen)
		events.reset()
		then := time.Now().Add(-time.Hour)
		client := authkit.ClientInfo{Address: "192.0.2.7", Device: "Firefox"}
		attempt := authkit.Attempt{Action: "passkey", Account: email}
		seen := authkit.ClientInfo{}
		token, err := kit.LoginWith(authkit.WithClient(t.Context(), client), attempt, func(ctx context.Context) (authkit.Proof, error) {
			seen = authkit.ClientFrom(ctx)
			return authkit.Proof{UserID: user.ID, Methods: []string{"hwk", "mfa"}, AuthTime: then, Version: 1}, nil
		})
		require.NoError(t, err)
		require.Equal(t, client, seen)
		require.Equal(t, user, token.User)
		require.NotEmpty(t, token.RefreshToken)
		claims := tokenClaims(t, token)
		require.Equal(t, []string{"hwk", "mfa"}, claims.Methods)
		require.True(t, then.Equal(claims.AuthTime))
		require.Equal(t, []authkit.Event{{Kind: authkit.EventLoginSuccess, UserID: user.ID, SessionID: sessionID(t, token)}}, events.all())
		attempt.Client = client
		require.Equal(t, []string{"begin", "succeeded"}, throttle.calls)
		require.Equal(t, []authkit.Attempt{attempt, attempt}, throttle.attempts)
	})
}

// RG-17, LO-06: every refusal of LoginWith, as the caller, the throttle and the log see it.
func TestLoginWithRefuses(t *testing.T) {
	t.Parallel()
	broken := errors.New("the authenticator is unplugged")
	failed, undecided := []string{"begin", "failed"}, []string{"begin", "undecided"}
	for _, c := range []struct {
		name     string
		change   func(*authkit.User) // of the account
		proof    func(*authkit.Proof)
		err      error // of prove
		want     error
		throttle []string
		reason   authkit.Reason
	}{
		{"not proved", nil, nil, authkit.ErrInvalidCredentials, authkit.ErrInvalidCredentials, failed, authkit.ReasonWrongProof},
		{"not proved, wrapped", nil, nil, fmt.Errorf("passkey: %w", authkit.ErrInvalidCredentials), authkit.ErrInvalidCredentials, failed, authkit.ReasonWrongProof},
		{"a wrong ticket", nil, nil, authkit.ErrInvalidTicket, authkit.ErrInvalidTicket, failed, authkit.ReasonWrongProof},
		{"a wrong code", nil, nil, authkit.ErrInvalidCode, authkit.ErrInvalidCode, failed, authkit.ReasonWrongProof},
		{"no such user", nil, nil, fmt.Errorf("passkey: %w", authkit.ErrUserNotFound), authkit.ErrInvalidCredentials, failed, authkit.ReasonUnknownUser},
		{"no such ticket", nil, nil, authkit.ErrTicketNotFound, authkit.ErrInvalidCredentials, failed, authkit.ReasonWrongProof},
		{"its store fails to find", nil, nil, fmt.Errorf("%w: %w", authkit.ErrUnavailable, authkit.ErrUserNotFound), authkit.ErrUnavailable, undecided, authkit.ReasonStore},
		{"prove fails", nil, nil, broken, broken, undecided, authkit.ReasonInternal},
		{"its store fails", nil, nil, fmt.Errorf("%w: %w", authkit.ErrUnavailable, broken), broken, undecided, authkit.ReasonStore},
		{"without methods", nil, func(p *authkit.Proof) { p.Methods = nil }, nil, nil, undecided, authkit.ReasonInternal},
		{"authenticated in 1970", nil, func(p *authkit.Proof) { p.AuthTime = time.Unix(0, 0) }, nil, authkit.ErrInvalidCredentials, failed, authkit.ReasonWrongProof},
		{"authenticated before 1970", nil, func(p *authkit.Proof) { p.AuthTime = time.Unix(-1, 0) }, nil, authkit.ErrInvalidCredentials, failed, authkit.ReasonWrongProof},
		{"an unknown user", nil, func(p *authkit.Proof) { p.UserID = "gone" }, nil, authkit.ErrInvalidCredentials, failed, authkit.ReasonUnknownUser},
		{"no user", nil, func(p *authkit.Proof) { p.UserID = "" }, nil, authkit.ErrInvalidCredentials, failed, authkit.ReasonUnknownUser},
		{"another version", nil, func(p *authkit.Proof) { p.Version = 2 }, nil, authkit.ErrInvalidCredentials, failed, authkit.ReasonRevokedBefore},
		{"another name", func(u *authkit.User) { u.Email = "other@example.com" }, nil, nil, authkit.ErrInvalidCredentials, failed, authkit.ReasonOtherAccount},
		{"disabled", func(u *authkit.User) { u.Disabled = true }, nil, nil, authkit.ErrUserDisabled, failed, authkit.ReasonDisabled},
		{"locked", func(u *authkit.User) { u.LockedUntil = time.Now().Add(time.Hour) }, nil, nil, authkit.ErrInvalidCredentials, failed, authkit.ReasonLocked},
		{"unverified", func(u *authkit.User) { u.EmailVerifiedAt = time.Time{} }, nil, nil, authkit.ErrEmailUnverified, failed, authkit.ReasonUnverified},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			throttle := new(fakeThrottle)
			store := authkit.NewMemoryStore()
			kit := newKit(t, withSessions(store), events.listen, throttle.listen, func(c *authkit.Config) { c.RequireVerifiedEmail = true })
			u := authkit.User{ID: authkit.NewUserID(), Email: email, EmailVerifiedAt: time.Now()}
			if c.change != nil {
				c.change(&u)
			}
			storeUser(t, store, authkit.StoredUser{User: u})
			p := proof(u)
			if c.proof != nil {
				c.proof(&p)
			}
			prove, calls := proves(p, c.err)
			token, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: email}, prove)
			require.Zero(t, token)
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				require.NotEqual(t, 404, authkit.ProblemFor(err).Status, "it would reveal who has an account")
			}
			require.Equal(t, 1, *calls)
			require.Equal(t, c.throttle, throttle.calls)
			require.Len(t, events.all(), 1)
			require.Equal(t, authkit.EventLoginFailure, events.last().Kind)
			require.Equal(t, c.reason, events.last().Reason)
			sessions, err := store.SessionsByUser(t.Context(), u.ID)
			require.NoError(t, err)
			require.Empty(t, sessions)
		})
	}
}

// The event of a Proof with an impossible time tells operators what is wrong with it.
func TestLoginWithAuthTimeOf1970(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, _, user := newSessionKit(t, events.listen)
	p := proof(user)
	p.AuthTime = time.Unix(0, 0)
	prove, _ := proves(p, nil)
	_, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
	require.Equal(t, 401, authkit.ProblemFor(err).Status)
	require.ErrorContains(t, events.last().Err, "AuthTime")
	require.NotContains(t, err.Error(), "AuthTime")

	p.AuthTime = time.Unix(1, 0)
	prove, _ = proves(p, nil)
	_, err = kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
	require.NoError(t, err)
}

// A store that finds another account than the one asked for, or one along with an error, logs
// nobody in, and no event names that account.
func TestLoginWithAnotherAccount(t *testing.T) {
	t.Parallel()
	var events recorder
	users := newHookStore()
	kit := newKit(t, users.listen, events.listen)
	u := addUser(t, kit, email, password)
	found, err := users.UserStore.UserByID(t.Context(), u.ID)
	require.NoError(t, err)
	prove, _ := proves(authkit.Proof{UserID: "another", Methods: []string{"hwk"}}, nil)
	for want, cause := range map[error]error{authkit.ErrInvalidCredentials: nil, authkit.ErrUnavailable: errCrash} {
		users.byID = func(context.Context, string) (authkit.StoredUser, error) { return found, cause }
		token, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
		require.ErrorIs(t, err, want)
		require.Zero(t, token)
		require.Empty(t, events.last().UserID)
	}
}

// A throttled attempt proves nothing.
func TestLoginWithThrottled(t *testing.T) {
	t.Parallel()
	var events recorder
	throttle := &fakeThrottle{begin: &authkit.ThrottledError{RetryAfter: time.Minute, Account: true}}
	kit, _, user := newSessionKit(t, events.listen, throttle.listen)
	prove, calls := proves(proof(user), nil)
	_, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: email}, prove)
	var throttled *authkit.ThrottledError
	require.ErrorAs(t, err, &throttled)
	require.Zero(t, *calls)
	require.Equal(t, authkit.EventLoginThrottled, events.last().Kind)

	throttle.begin = errors.New("no connection")
	_, err = kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.Zero(t, *calls)
}

// An account that changes while it is proved, or that cannot be read, logs no one in.
func TestLoginWithChangedMeanwhile(t *testing.T) {
	t.Parallel()
	store, sessions := newHookStore(), authkit.NewMemoryStore()
	kit := newKit(t, store.listen, func(c *authkit.Config) { c.Sessions.Store = sessions })
	user := addUser(t, kit, email, password)
	reads := 0
	store.byID = func(ctx context.Context, id string) (authkit.StoredUser, error) {
		u, err := store.UserStore.UserByID(ctx, id)
		if reads++; reads == 2 { // after the session was stored
			u.Version++
		}
		return u, err
	}
	prove, calls := proves(proof(user), nil)
	_, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	require.Equal(t, 1, *calls, "a proof is not asked for again")
	left, err := sessions.SessionsByUser(t.Context(), user.ID)
	require.NoError(t, err)
	require.Empty(t, left)

	store.byID = func(context.Context, string) (authkit.StoredUser, error) {
		return authkit.StoredUser{}, errors.New("no connection")
	}
	_, err = kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
}

// A fakeFactor accepts one response, once if it is told to.
type fakeFactor struct {
	method, right string
	users         []string // those who have it
	enrolled, err error    // of Enrolled, and of Verify
	asked         int
}

func (f *fakeFactor) Method() string { return f.method }

func (f *fakeFactor) Enrolled(_ context.Context, userID string) (bool, error) {
	return slices.Contains(f.users, userID), f.enrolled
}

func (f *fakeFactor) Verify(_ context.Context, userID, response string) error {
	f.asked++
	if f.err == nil && response != f.right {
		return authkit.ErrInvalidCode
	}
	return f.err
}

// withFactors is a change for [newKit].
func withFactors(factors ...authkit.SecondFactor) func(*authkit.Config) {
	return func(c *authkit.Config) { c.SecondFactors = factors }
}

// challenge logs in with the password, and returns the challenge.
func challenge(t testing.TB, kit *authkit.Kit) *authkit.ChallengeError {
	t.Helper()
	_, err := kit.Login(context.Background(), email, password)
	var c *authkit.ChallengeError
	require.ErrorAs(t, err, &c)
	return c
}

// RG-17, MF-18: one question, "may this account log in?", is put by every login and every
// refresh.
func TestEveryDoorAsksTheAccount(t *testing.T) {
	t.Parallel()
	invalid, refresh := authkit.ErrInvalidCredentials, authkit.ErrInvalidRefreshToken
	states := []struct {
		name   string
		change func(*authkit.StoredUser)
		err    error // of a login
		reason authkit.Reason
		ends   bool // whether a refresh ends the session
	}{
		{"fine", func(*authkit.StoredUser) {}, nil, "", false},
		{"disabled", func(u *authkit.StoredUser) { u.Disabled = true }, authkit.ErrUserDisabled, authkit.ReasonDisabled, true},
		{"locked", func(u *authkit.StoredUser) { u.LockedUntil = time.Now().Add(time.Hour) }, invalid, authkit.ReasonLocked, false},
		{"unlocked", func(u *authkit.StoredUser) { u.LockedUntil = time.Now() }, nil, "", false},
		{"unverified", func(u *authkit.StoredUser) { u.EmailVerifiedAt = time.Time{} }, authkit.ErrEmailUnverified, authkit.ReasonUnverified, false},
		{"deleted", func(u *authkit.StoredUser) { *u = authkit.StoredUser{} }, invalid, authkit.ReasonUnknownUser, true},
	}
	for _, door := range []string{"password", "LoginWith", "AnswerChallenge", "refresh"} {
		for _, state := range states {
			t.Run(door+"/"+state.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var events recorder
					store, rest := newHookStore(), authkit.NewMemoryStore()
					factor := &fakeFactor{method: "otp", right: "1"}
					kit := newKit(t, events.listen, store.listen, withFactors(factor), func(c *authkit.Config) {
						c.Sessions.Store, c.Tickets, c.RequireVerifiedEmail = rest, rest, true
					})
					user, err := kit.CreateUser(t.Context(), authkit.User{Email: email, EmailVerifiedAt: time.Now()}, password)
					require.NoError(t, err)
					token, err := kit.Login(t.Context(), email, password)
					require.NoError(t, err)
					var pending *authkit.ChallengeError
					if door == "AnswerChallenge" {
						factor.users = []string{user.ID}
						pending = challenge(t, kit)
					}

					// The state comes without a new version, so that nothing else refuses.
					read := func(u authkit.StoredUser, err error) (authkit.StoredUser, error) {
						if state.change(&u); u.ID == "" {
							return u, authkit.ErrUserNotFound
						}
						return u, err
					}
					store.byID = func(ctx context.Context, id string) (authkit.StoredUser, error) {
						return read(store.UserStore.UserByID(ctx, id))
					}
					store.byEmail = func(ctx context.Context, email string) (authkit.StoredUser, error) {
						return read(store.UserStore.UserByEmail(ctx, email))
					}
					before, want := 1, state.err
					switch door {
					case "password":
						_, err = kit.Login(t.Context(), email, password)
					case "LoginWith":
						prove, _ := proves(proof(user), nil)
						_, err = kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: email}, prove)
					case "AnswerChallenge":
						_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
					case "refresh":
						_, err = kit.Refresh(t.Context(), token.RefreshToken)
						if want != nil {
							want = refresh
						}
						if state.ends {
							before = 0
						}
					}
					if want == nil && door != "refresh" {
						before = 2
					}
					require.ErrorIs(t, err, want)
					require.Equal(t, state.reason, events.last().Reason)
					sessions, err := rest.SessionsByUser(t.Context(), user.ID)
					require.NoError(t, err)
					require.Len(t, sessions, before)
				})
			})
		}
	}
}

// A withoutProof is a SessionStore of before AuthTime and Methods were recorded.
type withoutProof struct{ authkit.SessionStore }

func (s withoutProof) CreateSession(ctx context.Context, x authkit.StoredSession, limit int) error {
	x.AuthTime, x.Methods = time.Time{}, nil
	return s.SessionStore.CreateSession(ctx, x, limit)
}

// MF-17: how and when a user authenticated is in the token, the session, the principal and the
// introspection. A refresh does not change it.
func TestAuthTimeAndMethods(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		factor := &fakeFactor{method: "otp", right: "1"}
		kit, store, user := newSessionKit(t, withFactors(factor))
		addUser(t, kit, "service@example.com", password, "service")
		service, err := kit.Login(t.Context(), "service@example.com", password)
		require.NoError(t, err)
		mux := sessionMux(kit)
		var principal authkit.Principal
		look := kit.Authenticate(noted(&principal))
		check := func(token authkit.Token, at time.Time, methods []string) {
			claims := tokenClaims(t, token)
			require.True(t, at.Equal(claims.AuthTime), claims.AuthTime)
			require.Equal(t, methods, claims.Methods)
			require.Equal(t, 200, do(look, "GET", "/", bearer(token)...).Code)
			require.True(t, at.Equal(principal.AuthTime))
			require.Equal(t, methods, principal.Methods)
			session, err := store.SessionByID(t.Context(), sessionID(t, token))
			require.NoError(t, err)
			require.True(t, at.Equal(session.AuthTime))
			require.Equal(t, methods, session.Methods)

			r := httptest.NewRequest("POST", "/introspect", strings.NewReader(form("token", token.AccessToken)))
			r.Header.Set("Content-Type", formType)
			r.Header.Set("Authorization", "Bearer "+service.AccessToken)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			text := w.Body.String()
			if at.IsZero() {
				require.NotContains(t, text, "auth_time")
				require.NotContains(t, text, "amr")
				return
			}
			require.Contains(t, text, fmt.Sprintf(`"auth_time":%d,"amr":["%s"]`, at.Unix(), strings.Join(methods, `","`)))
		}

		began := time.Now()
		token := begin(t, kit)
		check(token, began, []string{"pwd"})
		time.Sleep(10 * time.Minute)
		check(renew(t, kit, token), began, []string{"pwd"})

		factor.users = []string{user.ID}
		pending := challenge(t, kit)
		time.Sleep(time.Minute)
		token, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
		require.NoError(t, err)
		answered := time.Now()
		check(token, answered, []string{"pwd", "otp", "mfa"})
		time.Sleep(10 * time.Minute)
		check(renew(t, kit, token), answered, []string{"pwd", "otp", "mfa"})

		// A session that was stored before they were recorded has neither.
		factor.users = nil
		old := newKit(t, func(c *authkit.Config) { c.Users, c.Sessions.Store = store, withoutProof{store} })
		token = renew(t, kit, begin(t, old))
		check(token, time.Time{}, nil)
		fresh := kit.Require(authkit.Authenticated().Fresh(time.Hour))(whoami)
		require.Equal(t, 401, do(fresh, "GET", "/", bearer(token)...).Code)
	})
}

// FR-15: the claims that the library owns cannot be set by a program.
func TestExtraClaimsAreNotOurs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"amr", "acr", "auth_time", "azp", "act", "cnf", "scope", "tenant", "sid", "AMR", "Auth_Time"} {
		kit := newKit(t, func(c *authkit.Config) {
			c.ExtraClaims = func(context.Context, authkit.User) (any, error) { return map[string]any{name: "x"}, nil }
		})
		addUser(t, kit, email, password)
		token, err := kit.Login(t.Context(), email, password)
		require.Error(t, err, name)
		require.Zero(t, token)
		require.Equal(t, 500, authkit.ProblemFor(err).Status, name)
	}
}

// A login in the future would stay fresh for as long.
func TestLoginWithFutureAuthTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, _, user := newSessionKit(t)
		p := proof(user)
		p.AuthTime = time.Now().Add(1000 * time.Hour)
		prove, _ := proves(p, nil)
		token, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
		require.NoError(t, err)
		require.True(t, time.Now().Equal(tokenClaims(t, token).AuthTime))
	})
}
