package authkit_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

func newGuard(t testing.TB, change ...func(*authkit.GuardConfig)) *authkit.Guard {
	t.Helper()
	cfg := authkit.GuardConfig{
		Tokens: authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}},
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	g, err := authkit.NewGuard(cfg)
	require.NoError(t, err)
	return g
}

// A guard issues no tokens, so its keys need not sign.
func TestGuardOfPublicKeys(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed([]byte(testSecret))
	signs := authkit.Key{ID: "a", Algorithm: authkit.EdDSA, Private: private}
	kit := newKit(t, func(c *authkit.Config) { c.Secret, c.Tokens.Keys = nil, []authkit.Key{signs} })
	addUser(t, kit, email, password)
	guard := newGuard(t, func(c *authkit.GuardConfig) {
		c.Tokens.Keys = []authkit.Key{{ID: "a", Algorithm: authkit.EdDSA, Public: private.Public()}}
	})
	token, err := kit.Login(t.Context(), email, password)
	require.NoError(t, err)
	require.Equal(t, 200, do(guard.Authenticate(whoami), "GET", "/", bearer(token)...).Code)
}

// A Guard decides by what is in the token.
func TestGuard(t *testing.T) {
	t.Parallel()
	for _, emailSubject := range []bool{false, true} {
		kit, _, user := newSessionKit(t, func(c *authkit.Config) { c.EmailSubject = emailSubject })
		token := begin(t, kit)
		guard := newGuard(t)
		var seen authkit.Principal
		look := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			seen, _ = authkit.PrincipalFrom(r.Context())
			_, ok := authkit.UserFrom(r.Context())
			require.False(t, ok, "a guard without accounts has an account")
		})
		mux := guard.NewMux()
		mux.Handle("GET /me", authkit.Authenticated(), look)
		mux.Handle("GET /user", authkit.Roles("user"), look)
		mux.Handle("GET /admin", authkit.Roles("admin"), look)
		require.Equal(t, 200, do(mux, "GET", "/me", bearer(token)...).Code)
		require.Equal(t, user.ID, seen.UserID)
		require.Equal(t, sessionID(t, token), seen.SessionID)
		require.Equal(t, []string{"user"}, seen.Roles)
		require.Equal(t, 200, do(mux, "GET", "/user", bearer(token)...).Code)
		problem(t, do(mux, "GET", "/admin", bearer(token)...), 403, "Not enough permissions")
		problem(t, do(mux, "GET", "/me"), 401, "Not authenticated")
		problem(t, do(mux, "GET", "/me", "Authorization", "Bearer x"), 401, "Could not validate credentials")
		if emailSubject {
			require.Equal(t, email, seen.Email)
		} else {
			require.Empty(t, seen.Email)
		}
		require.Equal(t, 200, do(guard.Authenticate(guard.RequireAnyRole("admin", "user")(guard.RequireRoles("user")(look))), "GET", "/", bearer(token)...).Code)

		// One guard is not fooled by another's context.
		other := newGuard(t, func(c *authkit.GuardConfig) {
			c.Tokens.Keys[0].Secret = []byte("another secret of thirty-two bytes or more")
		})
		problem(t, do(guard.Authenticate(other.Authenticate(look)), "GET", "/", bearer(token)...), 401, "Could not validate credentials")
	}
}

func TestGuardRevoked(t *testing.T) {
	t.Parallel()
	kit, _, user := newSessionKit(t)
	token, other := begin(t, kit), begin(t, kit)
	var events recorder
	var fail error
	guard := newGuard(t, func(c *authkit.GuardConfig) {
		c.OnEvent = []func(context.Context, authkit.Event){events.record}
		c.Revoked = func(_ context.Context, c authkit.Claims) (bool, error) {
			require.Equal(t, user.ID, c.Subject)
			require.False(t, c.IssuedAt.IsZero())
			return c.SessionID == sessionID(t, token), fail
		}
	})
	h := guard.Authenticate(whoami)
	problem(t, do(h, "GET", "/", bearer(token)...), 401, "Could not validate credentials")
	require.Equal(t, authkit.Event{Kind: authkit.EventTokenRefused, UserID: user.ID, SessionID: sessionID(t, token), Reason: authkit.ReasonRevoked}, events.last())
	require.Equal(t, 200, do(h, "GET", "/", bearer(other)...).Code)
	fail = errors.New("the list is too old")
	problem(t, do(h, "GET", "/", bearer(other)...), 503, "Temporarily unavailable")
	require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
	require.ErrorIs(t, events.last().Err, fail)
	require.ErrorContains(t, events.last().Err, "GuardConfig.Revoked")
}

// A guard without keys says so once a second, however many ask.
func TestGuardWithoutKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		key := ringKey(authkit.EdDSA, "a")
		source := &keySource{keys: []authkit.Key{key}, maxAge: time.Hour}
		ring := fetchedRing(t, source)
		token := tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u", ExpiresAt: time.Now().Add(48 * time.Hour)})
		guard, err := authkit.NewGuard(authkit.GuardConfig{Tokens: authkit.TokenConfig{Ring: ring, MaxLifetime: tokMaxLife}, OnEvent: []func(context.Context, authkit.Event){events.record}})
		require.NoError(t, err)
		h := guard.Authenticate(whoami)
		source.set(errors.New("down"))
		time.Sleep(24 * time.Hour)
		ask := func() {
			for range 100 {
				require.Equal(t, 503, do(h, "GET", "/", "Authorization", "Bearer "+token).Code)
			}
		}
		ask()
		require.Len(t, events.all(), 1)
		require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
		time.Sleep(time.Second - 1)
		ask()
		require.Len(t, events.all(), 1)
		time.Sleep(time.Nanosecond)
		ask()
		require.Len(t, events.all(), 2)
	})
}

func TestGuardFaults(t *testing.T) {
	t.Parallel()
	_, err := authkit.NewGuard(authkit.GuardConfig{Roles: map[string][]string{"Bad Role": nil}})
	require.ErrorContains(t, err, "GuardConfig.Tokens.Keys")
	require.ErrorContains(t, err, "GuardConfig.Roles")
	cfg := authkit.GuardConfig{Tokens: authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}}}
	require.NotContains(t, fmt.Sprintf("%+v %#v", cfg, cfg), "0d7fa9c4")
	guard := newGuard(t, func(c *authkit.GuardConfig) {
		c.Roles = map[string][]string{"admin": {"users:read"}}
		c.Logger = nil
	})
	require.Panics(t, func() { guard.RequireRoles("amdin") })
	require.NotPanics(t, func() { guard.Require(authkit.Permissions("users:read")) })
	problem(t, do(guard.Authenticate(whoami), "GET", "/", "Authorization", "Bearer x"), 401, "Could not validate credentials")
}
