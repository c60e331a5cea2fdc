package authkit_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/race"
	"github.com/authkit-go/authkit/internal/refresh"
)

const (
	email    = "user@example.com"
	password = "correct horse"
)

// withSessions turns sessions on, on a store that a test can reach.
func withSessions(store *authkit.MemoryStore) func(*authkit.Config) {
	return func(c *authkit.Config) { c.Users, c.Sessions.Store = store, store }
}

// newSessionKit returns a Kit with sessions and one account.
func newSessionKit(t testing.TB, change ...func(*authkit.Config)) (*authkit.Kit, *authkit.MemoryStore, authkit.User) {
	t.Helper()
	store := authkit.NewMemoryStore()
	kit := newKit(t, append([]func(*authkit.Config){withSessions(store)}, change...)...)
	return kit, store, addUser(t, kit, email, password, "user")
}

// begin logs the account in.
func begin(t testing.TB, kit *authkit.Kit) authkit.Token {
	t.Helper()
	token, err := kit.Login(context.Background(), email, password)
	require.NoError(t, err)
	return token
}

// renew refreshes, which has to work.
func renew(t testing.TB, kit *authkit.Kit, token authkit.Token) authkit.Token {
	t.Helper()
	next, err := kit.Refresh(context.Background(), token.RefreshToken)
	require.NoError(t, err)
	return next
}

// requireRefused looks that a refresh is refused, for a reason.
func requireRefused(t testing.TB, kit *authkit.Kit, events *recorder, token authkit.Token, kind authkit.EventKind, reason authkit.Reason) {
	t.Helper()
	events.reset()
	got, err := kit.Refresh(context.Background(), token.RefreshToken)
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	require.Zero(t, got)
	require.Equal(t, kind, events.last().Kind)
	require.Equal(t, reason, events.last().Reason)
}

// access is the status of a guarded request with an access token.
func access(t testing.TB, kit *authkit.Kit, token authkit.Token) int {
	t.Helper()
	return get(t, kit.Authenticate(whoami), "/", "Bearer "+token.AccessToken).Code
}

func sessionID(t testing.TB, token authkit.Token) string {
	t.Helper()
	parsed, ok := refresh.Parse(token.RefreshToken)
	require.True(t, ok)
	return parsed.SessionID()
}

// RF-01: each refresh gives a new pair of tokens of the same session.
func TestRefreshRotates(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, store, user := newSessionKit(t, events.listen)
	first := begin(t, kit)
	require.Equal(t, authkit.EventLoginSuccess, events.last().Kind)
	require.Equal(t, sessionID(t, first), events.last().SessionID)

	second := renew(t, kit, first)
	require.Equal(t, authkit.Event{Kind: authkit.EventSessionRenewed, UserID: user.ID, SessionID: sessionID(t, first)}, events.last())
	require.NotEqual(t, first.RefreshToken, second.RefreshToken)
	require.NotEqual(t, first.AccessToken, second.AccessToken)
	require.Equal(t, sessionID(t, first), sessionID(t, second))
	require.Equal(t, user.ID, second.User.ID)
	require.Equal(t, "bearer", second.TokenType)
	require.Equal(t, 1800, second.ExpiresIn)
	require.Equal(t, http.StatusOK, access(t, kit, first))
	require.Equal(t, http.StatusOK, access(t, kit, second))

	third := renew(t, kit, second)
	require.NotEqual(t, second.RefreshToken, third.RefreshToken)
	list, err := store.SessionsByUser(t.Context(), user.ID)
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// RF-07: what a refresh issues has the roles of now.
func TestRefreshReadsTheAccountAgain(t *testing.T) {
	t.Parallel()
	kit, store, user := newSessionKit(t)
	verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}})
	require.NoError(t, err)
	token := begin(t, kit)
	_, err = store.UpdateUser(t.Context(), user.ID, authkit.UserUpdate{Roles: &[]string{"editor"}}, time.Now())
	require.NoError(t, err)
	claims, err := verifier.Verify(renew(t, kit, token).AccessToken)
	require.NoError(t, err)
	require.Equal(t, []string{"editor"}, claims.Roles)
	require.Equal(t, sessionID(t, token), claims.SessionID)
}

// RF-04: within the grace the direct parent gets the same successor again; later, and for
// any older token, the session is ended, for both parties.
func TestRefreshGraceAndReuse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		grace  time.Duration
		wait   time.Duration
		reused func(first, second authkit.Token) authkit.Token // what is presented after a refresh of each
		same   bool
	}{
		"parent, at once":              {0, 0, nil, true},
		"parent, at the end of grace":  {0, 10 * time.Second, nil, true},
		"parent, after the grace":      {0, 10*time.Second + time.Microsecond, nil, false},
		"parent, a longer grace":       {time.Minute, time.Minute, nil, true},
		"parent, after a longer grace": {time.Minute, time.Minute + time.Microsecond, nil, false},
		"parent, no grace":             {-1, 0, nil, false},
		"grandparent, at once":         {0, 0, func(first, _ authkit.Token) authkit.Token { return first }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var events recorder
				kit, _, user := newSessionKit(t, events.listen, func(c *authkit.Config) { c.Sessions.ReuseGrace = tc.grace })
				other := begin(t, kit)
				first := begin(t, kit)
				second := renew(t, kit, first)
				newest, presented := second, first
				if tc.reused != nil {
					newest = renew(t, kit, second)
					presented = tc.reused(first, second)
				}
				time.Sleep(tc.wait)
				if tc.same {
					again := renew(t, kit, presented)
					require.Equal(t, newest.RefreshToken, again.RefreshToken, "the family forked")
					require.Equal(t, http.StatusOK, access(t, kit, again))
					renew(t, kit, newest)
					return
				}
				requireRefused(t, kit, &events, presented, authkit.EventTokenReuse, authkit.ReasonReused)
				require.Equal(t, user.ID, events.last().UserID)
				require.Equal(t, sessionID(t, first), events.last().SessionID)
				requireRefused(t, kit, &events, newest, authkit.EventRefreshFailure, authkit.ReasonRevoked)
				require.Equal(t, http.StatusUnauthorized, access(t, kit, newest))
				require.Equal(t, http.StatusOK, access(t, kit, other), "another session of the user")
				renew(t, kit, other)
			})
		})
	}
}

// RF-04: with KeepSuccessor the direct parent gets its successor until that is used, however
// late; reuse and the end of the session stay as they are.
func TestKeepSuccessor(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		keep    bool
		wait    time.Duration
		between func(t *testing.T, kit *authkit.Kit, second authkit.Token) // before the first token comes again
		kind    authkit.EventKind                                          // empty: the same successor
		reason  authkit.Reason
	}{
		"after minutes":             {true, 20 * time.Minute, nil, "", ""},
		"after days":                {true, 7*day - time.Microsecond, nil, "", ""},
		"after minutes, by default": {false, 20 * time.Minute, nil, authkit.EventTokenReuse, authkit.ReasonReused},
		"after the successor was used": {true, 20 * time.Minute, func(t *testing.T, kit *authkit.Kit, second authkit.Token) {
			renew(t, kit, second)
		}, authkit.EventTokenReuse, authkit.ReasonReused},
		"at once after the successor was used": {true, 0, func(t *testing.T, kit *authkit.Kit, second authkit.Token) {
			renew(t, kit, second)
		}, authkit.EventTokenReuse, authkit.ReasonReused},
		"after the session expired": {true, 7 * day, nil, authkit.EventRefreshFailure, authkit.ReasonExpired},
		"after a logout": {true, time.Minute, func(t *testing.T, kit *authkit.Kit, second authkit.Token) {
			require.NoError(t, kit.Logout(t.Context(), second.User.ID, sessionID(t, second)))
		}, authkit.EventRefreshFailure, authkit.ReasonRevoked},
		"after a cut-off": {true, time.Minute, func(t *testing.T, kit *authkit.Kit, second authkit.Token) {
			require.NoError(t, kit.SetPassword(t.Context(), second.User.ID, "another long password"))
		}, authkit.EventRefreshFailure, authkit.ReasonRevoked},
		"of a disabled account": {true, time.Minute, func(t *testing.T, kit *authkit.Kit, second authkit.Token) {
			require.NoError(t, kit.DisableUser(t.Context(), second.User.ID))
		}, authkit.EventRefreshFailure, authkit.ReasonRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var events recorder
				kit, _, _ := newSessionKit(t, events.listen, func(c *authkit.Config) { c.Sessions.KeepSuccessor = tc.keep })
				first := begin(t, kit)
				second := renew(t, kit, first) // the answer is lost
				time.Sleep(tc.wait)
				if tc.between != nil {
					tc.between(t, kit, second)
				}
				if tc.kind != "" {
					requireRefused(t, kit, &events, first, tc.kind, tc.reason)
					requireRefused(t, kit, &events, second, authkit.EventRefreshFailure, or(tc.reason, authkit.ReasonReused, authkit.ReasonRevoked))
					return
				}
				for range 3 {
					again := renew(t, kit, first)
					require.Equal(t, second.RefreshToken, again.RefreshToken, "the family forked")
					require.Equal(t, http.StatusOK, access(t, kit, again))
				}
				third := renew(t, kit, second)
				requireRefused(t, kit, &events, first, authkit.EventTokenReuse, authkit.ReasonReused)
				requireRefused(t, kit, &events, third, authkit.EventRefreshFailure, authkit.ReasonRevoked)
			})
		})
	}
}

// or returns the replacement for one reason, and others as they are.
func or(reason, from, to authkit.Reason) authkit.Reason {
	if reason == from {
		return to
	}
	return reason
}

// RF-02: a session lasts 7 days without a refresh and 30 days with, and the last access
// token is no exception.
func TestSessionLifetimes(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var events recorder
			kit, _, user := newSessionKit(t, events.listen)
			token := begin(t, kit)
			time.Sleep(7*day - time.Microsecond)
			token = renew(t, kit, token)
			time.Sleep(7 * day)
			requireRefused(t, kit, &events, token, authkit.EventRefreshFailure, authkit.ReasonExpired)
			list, err := kit.Sessions(t.Context(), user.ID)
			require.NoError(t, err)
			require.Empty(t, list)
		})
	})
	t.Run("absolute", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var events recorder
			kit, _, _ := newSessionKit(t, events.listen)
			token := begin(t, kit)
			for range 29 {
				time.Sleep(day)
				token = renew(t, kit, token)
			}
			time.Sleep(day - 60*time.Second)
			token = renew(t, kit, token)
			require.Equal(t, 60, token.ExpiresIn, "the access token outlives its session")
			time.Sleep(60 * time.Second)
			requireRefused(t, kit, &events, token, authkit.EventRefreshFailure, authkit.ReasonExpired)
			time.Sleep(31 * time.Second) // the leeway
			require.Equal(t, http.StatusUnauthorized, access(t, kit, token))
		})
	})
	t.Run("stricter", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var events recorder
			kit, _, _ := newSessionKit(t, events.listen, func(c *authkit.Config) {
				c.Sessions.AbsoluteTimeout = 24 * time.Hour
				c.Sessions.IdleTimeout = time.Hour
			})
			token := begin(t, kit)
			time.Sleep(time.Hour)
			requireRefused(t, kit, &events, token, authkit.EventRefreshFailure, authkit.ReasonExpired)
		})
	})
}

// RF-08: the very next request with an access token of the session is refused, by every Kit on
// the store.
func TestLogout(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, store, user := newSessionKit(t, events.listen)
	elsewhere := newKit(t, withSessions(store))
	token, other := begin(t, kit), begin(t, kit)
	require.Equal(t, http.StatusOK, access(t, elsewhere, token))

	require.NoError(t, kit.Logout(t.Context(), user.ID, sessionID(t, token)))
	require.Equal(t, authkit.Event{Kind: authkit.EventLogout, UserID: user.ID, SessionID: sessionID(t, token)}, events.last())
	for _, kit := range []*authkit.Kit{elsewhere, kit} {
		problem(t, get(t, kit.Authenticate(whoami), "/", "Bearer "+token.AccessToken), 401, "Could not validate credentials")
		require.Equal(t, http.StatusOK, access(t, kit, other))
	}
	require.Equal(t, authkit.Event{Kind: authkit.EventTokenRefused, UserID: user.ID, SessionID: sessionID(t, token), Reason: authkit.ReasonRevoked}, events.all()[len(events.all())-1])
	requireRefused(t, kit, &events, token, authkit.EventRefreshFailure, authkit.ReasonRevoked)
	require.ErrorIs(t, kit.Logout(t.Context(), user.ID, sessionID(t, token)), authkit.ErrSessionNotFound)

	stranger := addUser(t, kit, "stranger@example.com", password)
	require.ErrorIs(t, kit.Logout(t.Context(), stranger.ID, sessionID(t, other)), authkit.ErrSessionNotFound)
	renew(t, kit, other)
}

// RF-08, RF-09: what ends every session of an account also ends its access tokens, at the next
// request; a new login works at once, within the same second too.
func TestCutOff(t *testing.T) {
	t.Parallel()
	const fresh = "another long password"
	for name, tc := range map[string]struct {
		cut    func(ctx context.Context, kit *authkit.Kit, store *authkit.MemoryStore, id string) error
		kind   authkit.EventKind
		status int
		reason authkit.Reason // of the refresh
		again  string         // the password of a new login, if it is to work
	}{
		"password": {func(ctx context.Context, kit *authkit.Kit, _ *authkit.MemoryStore, id string) error {
			return kit.SetPassword(ctx, id, fresh)
		}, authkit.EventPasswordChange, 401, authkit.ReasonRevoked, fresh},
		"logout everywhere": {func(ctx context.Context, kit *authkit.Kit, _ *authkit.MemoryStore, id string) error {
			return kit.LogoutEverywhere(ctx, id)
		}, authkit.EventLogout, 401, authkit.ReasonRevoked, password},
		"disabled": {func(ctx context.Context, kit *authkit.Kit, _ *authkit.MemoryStore, id string) error {
			return kit.DisableUser(ctx, id)
		}, authkit.EventUserDisabled, 400, authkit.ReasonRevoked, ""},
		"disabled in the store": {func(ctx context.Context, _ *authkit.Kit, store *authkit.MemoryStore, id string) error {
			_, err := store.UpdateUser(ctx, id, authkit.UserUpdate{Disabled: new(true)}, time.Now())
			return err
		}, "", 400, authkit.ReasonDisabled, ""},
		"deleted in the store": {func(ctx context.Context, _ *authkit.Kit, store *authkit.MemoryStore, id string) error {
			return store.DeleteUser(ctx, id, "")
		}, "", 401, authkit.ReasonUnknownUser, ""},
		"cut off in the store": {func(ctx context.Context, _ *authkit.Kit, store *authkit.MemoryStore, id string) error {
			_, err := store.UpdateUser(ctx, id, authkit.UserUpdate{TokensValidAfter: new(time.Now().Add(time.Second))}, time.Now())
			return err
		}, "", 401, authkit.ReasonRevokedBefore, password},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(400 * time.Millisecond) // into the second
				var events recorder
				kit, store, user := newSessionKit(t, events.listen)
				first, second := begin(t, kit), begin(t, kit)
				require.NoError(t, tc.cut(t.Context(), kit, store, user.ID))
				if tc.kind != "" {
					require.Equal(t, authkit.Event{Kind: tc.kind, UserID: user.ID}, events.last())
				}
				require.Equal(t, tc.status, access(t, kit, first))
				require.Equal(t, tc.status, access(t, kit, second))
				requireRefused(t, kit, &events, first, authkit.EventRefreshFailure, tc.reason)
				requireRefused(t, kit, &events, first, authkit.EventRefreshFailure, authkit.ReasonRevoked)

				for range 20 { // over the end of the second
					token, err := kit.Login(t.Context(), email, tc.again)
					if tc.again == "" {
						require.Error(t, err)
						break
					}
					require.NoError(t, err)
					require.Equal(t, http.StatusOK, access(t, kit, token))
					require.Equal(t, http.StatusOK, access(t, kit, renew(t, kit, token)))
					time.Sleep(100 * time.Millisecond)
				}
				if tc.again == fresh {
					_, err := kit.Login(t.Context(), email, password)
					require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
				}
			})
		})
	}
}

// RF-09: an account that is enabled again does not get its old sessions back.
func TestDisablingIsForGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		kit, store, user := newSessionKit(t, events.listen)
		token := begin(t, kit)
		time.Sleep(time.Millisecond)
		require.NoError(t, kit.DisableUser(t.Context(), user.ID))
		_, err := store.UpdateUser(t.Context(), user.ID, authkit.UserUpdate{Disabled: new(false)}, time.Now())
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, access(t, kit, token))
		requireRefused(t, kit, &events, token, authkit.EventRefreshFailure, authkit.ReasonRevoked)
	})
}

// A cut-off works where sessions are off, too.
func TestCutOffWithoutSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t)
		user := addUser(t, kit, email, password)
		token := begin(t, kit)
		require.Empty(t, token.RefreshToken)
		time.Sleep(time.Millisecond)
		require.NoError(t, kit.LogoutEverywhere(t.Context(), user.ID))
		require.Equal(t, http.StatusUnauthorized, access(t, kit, token))
		require.Equal(t, http.StatusOK, access(t, kit, begin(t, kit)))
		require.ErrorIs(t, kit.LogoutEverywhere(t.Context(), "nobody"), authkit.ErrUserNotFound)
		require.ErrorIs(t, kit.SetPassword(t.Context(), "nobody", password), authkit.ErrUserNotFound)
	})
}

func TestSetPasswordKeepsTheRules(t *testing.T) {
	t.Parallel()
	kit, _, user := newSessionKit(t, func(c *authkit.Config) {
		c.Passwords.Check = func(_ context.Context, p string, u authkit.User) error {
			if strings.Contains(p, u.Email) {
				return authkit.ErrPasswordRefused
			}
			return nil
		}
	})
	token := begin(t, kit)
	for _, bad := range []string{"", "short", strings.Repeat("x", 73), "nul\x00 nul nul", "\xff\xff\xff\xff\xff\xff\xff\xff", email + " 1"} {
		err := kit.SetPassword(t.Context(), user.ID, bad)
		var v *authkit.ValidationError
		require.ErrorAs(t, err, &v, "%q", bad)
		require.Equal(t, "password", v.Fields[0].Field)
	}
	require.Equal(t, http.StatusOK, access(t, kit, token), "a password that was refused ended the session")
}

// A login that was under way when the password changed is not let in by it.
func TestLoginLosesToAPasswordChange(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before the account is read again", "before the session is stored"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(300 * time.Millisecond)
				var events recorder
				store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
				kit := newKit(t, store.listen, events.listen)
				user := addUser(t, kit, email, password)
				change := func(name string, _ int) error {
					time.Sleep(time.Millisecond)
					if when == "before the account is read again" && name == "UserByID" || name == "CreateSession" {
						store.before = nil
						require.NoError(t, kit.SetPassword(context.Background(), user.ID, "another long password"))
						time.Sleep(time.Millisecond)
					}
					return nil
				}
				store.before = change
				_, err := kit.Login(t.Context(), email, password)
				require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
				require.Equal(t, authkit.ReasonWrongPassword, events.last().Reason)
				left, err := kit.Sessions(t.Context(), user.ID)
				require.NoError(t, err)
				require.Empty(t, left, "a session without an owner")
			})
		})
	}
}

// RF-01: what was never a token of the session changes nothing, whatever it looks like; who
// knows the session's ID, which is in access tokens, can do nothing with it.
func TestForgedRefreshTokens(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, _, _ := newSessionKit(t, events.listen)
	token := begin(t, kit)
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token.RefreshToken, refresh.Prefix))
	require.NoError(t, err)
	raw[20] ^= 1
	stranger := refresh.New().Text()
	for name, forged := range map[string]struct {
		text   string
		reason authkit.Reason
	}{
		"empty":            {"", authkit.ReasonMalformed},
		"the session ID":   {sessionID(t, token), authkit.ReasonMalformed},
		"an access token":  {token.AccessToken, authkit.ReasonMalformed},
		"cut":              {token.RefreshToken[:len(token.RefreshToken)-1], authkit.ReasonMalformed},
		"longer":           {token.RefreshToken + "A", authkit.ReasonMalformed},
		"another case":     {strings.ToUpper(token.RefreshToken), authkit.ReasonMalformed},
		"damaged":          {refresh.Prefix + base64.RawURLEncoding.EncodeToString(raw), authkit.ReasonMalformed},
		"of no session":    {stranger, authkit.ReasonRevoked},
		"a megabyte":       {strings.Repeat("A", 1<<20), authkit.ReasonMalformed},
		"a line end after": {token.RefreshToken + "\n", authkit.ReasonMalformed},
	} {
		requireRefused(t, kit, &events, authkit.Token{RefreshToken: forged.text}, authkit.EventRefreshFailure, forged.reason)
		require.Empty(t, events.last().UserID, name)
	}
	problem(t, get(t, kit.Authenticate(whoami), "/", "Bearer "+token.RefreshToken), 401, "Could not validate credentials") // TK-05
	renew(t, kit, token)
}

// ST-08: whoever reads the store has no token.
func TestStoredSessionsHoldNoToken(t *testing.T) {
	t.Parallel()
	kit, store, _ := newSessionKit(t)
	token := begin(t, kit)
	next := renew(t, kit, token)
	stored, err := store.SessionByID(t.Context(), sessionID(t, token))
	require.NoError(t, err)
	dump := strings.Join([]string{stored.ID, string(stored.TokenHash[:]), string(stored.ParentHash[:]), string(stored.Successor)}, "|")
	for _, text := range []string{token.RefreshToken, next.RefreshToken} {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, refresh.Prefix))
		require.NoError(t, err)
		for at := 0; at+8 <= len(raw); at++ {
			require.NotContains(t, dump, string(raw[at:at+8]))
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		require.Contains(t, fmt.Sprintf(verb, stored), "[redacted]")
		require.NotContains(t, fmt.Sprintf(verb, stored), fmt.Sprintf("%x", stored.TokenHash))
		require.NotContains(t, fmt.Sprintf(verb, next), next.RefreshToken)
	}
}

// RF-03: 64 callers refresh with one token, 1,000 times over: they all get the same successor.
func TestRefreshRace(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, store, _ := newSessionKit(t, events.listen, func(c *authkit.Config) { c.OnEvent = nil })
	token := begin(t, kit)
	rounds := 1000
	if race.Enabled {
		rounds = 50
	}
	for round := range rounds {
		next := make([]authkit.Token, 64)
		var done sync.WaitGroup
		for i := range next {
			done.Go(func() {
				var err error
				if next[i], err = kit.Refresh(context.Background(), token.RefreshToken); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		done.Wait()
		for _, n := range next {
			if n.RefreshToken != next[0].RefreshToken || n.RefreshToken == token.RefreshToken {
				t.Fatalf("round %d: two successors", round)
			}
		}
		token = next[0]
	}
	require.Equal(t, http.StatusOK, access(t, kit, token))
	stored, err := store.SessionByID(t.Context(), sessionID(t, token))
	require.NoError(t, err)
	parsed, _ := refresh.Parse(token.RefreshToken)
	require.Equal(t, parsed.Hash(), stored.TokenHash)
}

// RF-03: without a grace, one of the callers wins and the session ends; never two successors.
func TestRefreshRaceWithoutGrace(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSessionKit(t, func(c *authkit.Config) { c.Sessions.ReuseGrace = -1 })
	for round := range 100 {
		token := begin(t, kit)
		next := make([]authkit.Token, 64)
		var done sync.WaitGroup
		for i := range next {
			done.Go(func() {
				var err error
				if next[i], err = kit.Refresh(context.Background(), token.RefreshToken); err != nil && !errors.Is(err, authkit.ErrInvalidRefreshToken) {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		done.Wait()
		winners := 0
		for _, n := range next {
			if n.RefreshToken != "" {
				winners++
				_, err := kit.Refresh(t.Context(), n.RefreshToken)
				require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
				require.Equal(t, http.StatusUnauthorized, access(t, kit, n))
			}
		}
		require.LessOrEqual(t, winners, 1)
	}
}

// RE-08: 10,000 clients refresh twice at once, over and over, and one answer in twenty is lost:
// nobody is logged out.
func TestRefreshStorm(t *testing.T) {
	t.Parallel()
	const users, rounds = 400, 3
	clients := 10_000
	if race.Enabled {
		clients = 1000
	}
	store := authkit.NewMemoryStore()
	kit := newKit(t, withSessions(store), func(c *authkit.Config) {
		c.OnEvent = nil
		c.Sessions.ReuseGrace = time.Minute // a machine that stands still for a while is not what this is about
	})
	hash, err := kit.HashPassword(t.Context(), password)
	require.NoError(t, err)
	rows := make([]authkit.StoredUser, users)
	for i := range rows {
		rows[i] = authkit.StoredUser{User: authkit.User{Email: fmt.Sprintf("user%d@example.com", i)}, PasswordHash: hash}
	}
	require.NoError(t, kit.ImportUsers(t.Context(), rows))
	work := make(chan int)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for i := range work {
				// A login costs a hash, so the session is made by hand.
				u, err := store.UserByEmail(context.Background(), rows[i%users].Email)
				if err != nil {
					t.Error(err)
					return
				}
				at := time.Now()
				held := refresh.New()
				err = store.CreateSession(context.Background(), authkit.StoredSession{
					Session:   authkit.Session{ID: held.SessionID(), UserID: u.ID, CreatedAt: at, LastUsedAt: at, ExpiresAt: at.Add(time.Hour), AbsoluteExpiresAt: at.Add(time.Hour)},
					TokenHash: held.Hash(),
				}, 50)
				if err != nil {
					t.Error(err)
					return
				}
				text := held.Text()
				for range rounds {
					var answers [2]string
					var pair sync.WaitGroup
					for j := range answers {
						pair.Go(func() {
							token, err := kit.Refresh(context.Background(), text)
							if err != nil {
								t.Errorf("client %d was logged out: %v", i, err)
							}
							answers[j] = token.RefreshToken
						})
					}
					pair.Wait()
					if answers[0] != answers[1] {
						t.Errorf("client %d: a fork", i)
					}
					if rand.IntN(20) > 0 { // or else both answers are lost
						text = answers[0]
					}
				}
			}
		})
	}
	for i := range clients {
		work <- i
	}
	close(work)
	workers.Wait()
}

// RF-11: at most 50 sessions a user; the one used longest ago goes.
func TestSessionsPerUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		kit, _, user := newSessionKit(t, events.listen, func(c *authkit.Config) { c.Sessions.MaxPerUser = 3 })
		var tokens []authkit.Token
		for range 3 {
			tokens = append(tokens, begin(t, kit))
			time.Sleep(time.Minute)
		}
		tokens[0] = renew(t, kit, tokens[0])
		time.Sleep(time.Minute)
		fourth := begin(t, kit)
		requireRefused(t, kit, &events, tokens[1], authkit.EventRefreshFailure, authkit.ReasonRevoked)
		require.Equal(t, http.StatusUnauthorized, access(t, kit, tokens[1]))
		list, err := kit.Sessions(t.Context(), user.ID)
		require.NoError(t, err)
		var ids []string
		for _, s := range list {
			ids = append(ids, s.ID)
		}
		require.Equal(t, []string{sessionID(t, fourth), sessionID(t, tokens[0]), sessionID(t, tokens[2])}, ids)
		require.Equal(t, user.ID, list[0].UserID)

		require.NoError(t, kit.LogoutOthers(t.Context(), user.ID, sessionID(t, fourth)))
		require.Equal(t, authkit.Event{Kind: authkit.EventLogout, UserID: user.ID}, events.last())
		require.Equal(t, http.StatusUnauthorized, access(t, kit, tokens[0]))
		require.Equal(t, http.StatusOK, access(t, kit, fourth))
		stranger := addUser(t, kit, "stranger@example.com", password)
		theirs, err := kit.Login(t.Context(), stranger.Email, password)
		require.NoError(t, err)
		for _, id := range []string{"", sessionID(t, theirs)} {
			err := kit.LogoutOthers(t.Context(), user.ID, id)
			require.ErrorIs(t, err, authkit.ErrSessionNotFound)
			require.NotErrorIs(t, err, authkit.ErrUnavailable)
		}
		require.Equal(t, http.StatusOK, access(t, kit, fourth), "no session has ended")
	})
}

// Where a request came from is kept as text that can be shown.
func TestSessionsNameTheClient(t *testing.T) {
	t.Parallel()
	kit, _, user := newSessionKit(t)
	ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "203.0.113.7", Device: "Firefox\r\nX: y\u202e\x00\xff" + strings.Repeat("ü", 200)})
	token, err := kit.Login(ctx, email, password)
	require.NoError(t, err)
	list, err := kit.Sessions(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, "203.0.113.7", list[0].Address)
	require.True(t, strings.HasPrefix(list[0].Device, "Firefox  X: y"), "%q", list[0].Device)
	require.NotContains(t, list[0].Device, "\u202e")
	require.LessOrEqual(t, len(list[0].Device), 256)

	_, err = kit.Refresh(authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "203.0.113.8", Device: "Chrome"}), token.RefreshToken)
	require.NoError(t, err)
	moved, err := kit.Sessions(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, "203.0.113.8", moved[0].Address)
	require.Equal(t, list[0].Device, moved[0].Device)
}

// A Kit without a session store cannot know whether a session goes on: it lets none in.
func TestSessionTokensNeedASessionStore(t *testing.T) {
	t.Parallel()
	kit, store, user := newSessionKit(t)
	token := begin(t, kit)
	without := newKit(t, func(c *authkit.Config) { c.Users = store })
	require.Equal(t, http.StatusUnauthorized, access(t, without, token))
	_, err := without.Refresh(t.Context(), token.RefreshToken)
	require.ErrorContains(t, err, "Config.Sessions.Store")
	for _, err := range []error{
		without.Logout(t.Context(), user.ID, "x"), without.LogoutOthers(t.Context(), user.ID, "x"),
	} {
		require.ErrorContains(t, err, "Config.Sessions.Store")
	}
	_, err = without.Sessions(t.Context(), user.ID)
	require.ErrorContains(t, err, "Config.Sessions.Store")
	_, err = without.Revocations(t.Context(), time.Time{})
	require.ErrorContains(t, err, "Config.Sessions.Store")
	require.Panics(t, func() { without.RefreshCookieHandler() })
}

// A session of another user does not carry a token.
func TestSessionBelongsToItsUser(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSessionKit(t)
	token := begin(t, kit)
	other := addUser(t, kit, "other@example.com", password)
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}})
	require.NoError(t, err)
	crossed, err := issuer.Issue(authkit.Claims{Subject: other.ID, SessionID: sessionID(t, token)})
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, access(t, kit, authkit.Token{AccessToken: crossed}))
}

// sweptTickets count the tickets that expired.
type sweptTickets struct {
	*authkit.MemoryStore
	deleted int
	fails   atomic.Bool
}

func (s *sweptTickets) DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (int, error) {
	if s.fails.Load() {
		return 0, errors.New("no connection")
	}
	n, err := s.MemoryStore.DeleteExpiredTickets(ctx, at, limit)
	s.deleted += n
	return n, err
}

func TestRunDeletesWhatHasExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tickets := &sweptTickets{MemoryStore: authkit.NewMemoryStore()}
		kit, store, user := newSessionKit(t, func(c *authkit.Config) { c.Tickets = tickets })
		ticket, _ := authkit.NewTicket("link", user.ID, time.Hour)
		require.NoError(t, tickets.PutTicket(t.Context(), ticket))
		token := begin(t, kit)
		old := begin(t, kit)
		require.NoError(t, kit.Logout(t.Context(), user.ID, sessionID(t, old)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- kit.Run(ctx) }()
		synctest.Wait()
		revoked, err := kit.Revocations(t.Context(), time.Time{})
		require.NoError(t, err)
		require.Equal(t, []authkit.Revocation{{UserID: user.ID, SessionID: sessionID(t, old), At: revoked[0].At}}, revoked)

		time.Sleep(7*24*time.Hour + 11*time.Minute)
		synctest.Wait()
		require.Equal(t, 1, tickets.deleted)
		_, err = store.SessionByID(t.Context(), sessionID(t, token))
		require.ErrorIs(t, err, authkit.ErrSessionNotFound)
		stored, err := store.Revocations(t.Context(), time.Time{})
		require.NoError(t, err)
		require.Empty(t, stored, "an expired session is no revocation, and old ones go")
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

// Revocations older than their life are left out, whatever the caller asks for.
func TestRevocationsAreRecent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, _, user := newSessionKit(t)
		require.NoError(t, kit.LogoutEverywhere(t.Context(), user.ID))
		at := time.Now()
		since := func(since time.Time) int {
			list, err := kit.Revocations(t.Context(), since)
			require.NoError(t, err)
			return len(list)
		}
		require.Equal(t, 1, since(time.Time{}))
		time.Sleep(kit.RevocationLife())
		require.Equal(t, 1, since(at.Add(-time.Hour)))
		require.Zero(t, since(time.Now()), "newer ones alone")
		time.Sleep(2 * time.Second)
		require.Zero(t, since(time.Time{}))
	})
}

// Run deletes all that has expired in one round, and leaves the rest of a round to the
// next one after an error.
func TestRunDeletesInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		tickets := &sweptTickets{MemoryStore: authkit.NewMemoryStore()}
		kit := newKit(t, events.listen, func(c *authkit.Config) { c.Tickets = tickets })
		for range 2500 {
			ticket, _ := authkit.NewTicket("link", authkit.NewUserID(), time.Minute)
			require.NoError(t, tickets.PutTicket(t.Context(), ticket))
		}
		time.Sleep(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- kit.Run(ctx) }()
		synctest.Wait()
		require.Equal(t, 2500, tickets.deleted)
		require.Empty(t, events.all())
		tickets.fails.Store(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Len(t, events.all(), 1)
		require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
		cancel()
		<-done
	})
}

func TestSessionConfigFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*authkit.Config)
		want   string
	}{
		"no store":            {func(c *authkit.Config) { c.Sessions.IdleTimeout = time.Hour }, "Config.Sessions.Store"},
		"empty memory store":  {func(c *authkit.Config) { c.Sessions.Store = new(authkit.MemoryStore) }, "NewMemoryStore"},
		"idle too short":      {func(c *authkit.Config) { c.Sessions.IdleTimeout = time.Minute }, "Config.Sessions.IdleTimeout"},
		"idle over absolute":  {func(c *authkit.Config) { c.Sessions.IdleTimeout = 31 * 24 * time.Hour }, "Config.Sessions.IdleTimeout"},
		"negative idle":       {func(c *authkit.Config) { c.Sessions.IdleTimeout = -1 }, "Config.Sessions.IdleTimeout"},
		"absolute":            {func(c *authkit.Config) { c.Sessions.AbsoluteTimeout = 401 * 24 * time.Hour }, "Config.Sessions.AbsoluteTimeout"},
		"negative absolute":   {func(c *authkit.Config) { c.Sessions.AbsoluteTimeout = -1 }, "Config.Sessions.AbsoluteTimeout"},
		"grace":               {func(c *authkit.Config) { c.Sessions.ReuseGrace = time.Hour }, "Config.Sessions.ReuseGrace"},
		"grace of a timeout":  {func(c *authkit.Config) { c.Sessions.ReuseGrace, c.StoreTimeout = 10*time.Second, 10*time.Second }, "Config.Sessions.ReuseGrace: 10s, which is over"},
		"grace over a minute": {func(c *authkit.Config) { c.Sessions.ReuseGrace = time.Minute + 1 }, "Config.Sessions.ReuseGrace"},
		"per user":            {func(c *authkit.Config) { c.Sessions.MaxPerUser = 51 }, "Config.Sessions.MaxPerUser"},
		"absolute by little":  {func(c *authkit.Config) { c.Sessions.AbsoluteTimeout = 400*24*time.Hour + 1 }, "Config.Sessions.AbsoluteTimeout"},
		"idle by little":      {func(c *authkit.Config) { c.Sessions.IdleTimeout = 30*time.Minute - 1 }, "Config.Sessions.IdleTimeout"},
		"negative per user":   {func(c *authkit.Config) { c.Sessions.MaxPerUser = -1 }, "Config.Sessions.MaxPerUser"},
		"no grace to keep":    {func(c *authkit.Config) { c.Sessions.ReuseGrace, c.Sessions.KeepSuccessor = -1, true }, "Config.Sessions.KeepSuccessor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := authkit.Config{Secret: []byte(testSecret), Passwords: authkit.PasswordConfig{Hasher: quickHasher()}}
			if name != "no store" {
				cfg.Sessions.Store = authkit.NewMemoryStore()
			}
			tc.change(&cfg)
			_, err := authkit.New(cfg)
			require.ErrorContains(t, err, tc.want)
		})
	}
	for _, good := range []authkit.SessionConfig{
		{IdleTimeout: 30 * time.Minute, AbsoluteTimeout: 400 * 24 * time.Hour, ReuseGrace: time.Minute, MaxPerUser: 50},
		{IdleTimeout: time.Hour, AbsoluteTimeout: time.Hour, ReuseGrace: 5*time.Second + 1, MaxPerUser: 1},
		{AbsoluteTimeout: 30 * time.Minute, ReuseGrace: -1},
	} {
		newKit(t, func(c *authkit.Config) { c.Sessions = good; c.Sessions.Store = authkit.NewMemoryStore() })
	}
}
