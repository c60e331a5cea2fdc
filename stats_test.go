package authkit_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

func TestStats(t *testing.T) {
	t.Parallel()
	kit := newKit(t, func(c *authkit.Config) { c.Passwords.MaxConcurrentHashes = 1 })
	u := addUser(t, kit, "ann@example.com", password)
	token, err := kit.Login(t.Context(), u.Email, password)
	require.NoError(t, err)
	_, err = kit.Login(t.Context(), u.Email, "something else")
	require.Error(t, err)

	h := kit.RequireRoles("admin")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	require.Equal(t, http.StatusForbidden, do(h, "GET", "/", "Authorization", "Bearer "+token.AccessToken).Code)
	require.Equal(t, http.StatusUnauthorized, do(h, "GET", "/", "Authorization", "Bearer "+token.AccessToken+"A").Code)
	require.Equal(t, http.StatusUnauthorized, do(h, "GET", "/").Code)
	require.Equal(t, authkit.Stats{Verified: 1, Hashed: 3}, kit.Stats(), "a token that is good is verified, whatever it may do")

	users := authkit.NewMemoryStore()
	other := newKit(t, func(c *authkit.Config) { c.Users = users })
	require.Equal(t, http.StatusUnauthorized, do(other.Authenticate(h), "GET", "/", "Authorization", "Bearer "+token.AccessToken).Code)
	require.Zero(t, other.Stats().Verified, "the account is unknown")
}

// Other credentials count like access tokens.
func TestStatsOfACookie(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSite(t)
	cookie := setCookie(t, kit, begin(t, kit))
	_, _, err := kit.Identify(withCookies(cookie))
	require.NoError(t, err)
	_, _, err = kit.Identify(withCookies(cookie + "x"))
	require.Error(t, err)
	require.EqualValues(t, 1, kit.Stats().Verified)
}

func TestStatsOfTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hasher := newSlowHasher()
		kit := newKit(t, func(c *authkit.Config) { c.Passwords.Hasher, c.Passwords.MaxConcurrentHashes = hasher, 1 })
		for range 4 {
			go func() { _, _ = kit.Login(t.Context(), "nobody@example.com", password) }()
		}
		synctest.Wait()
		require.Equal(t, authkit.Stats{Hashing: 1, Waiting: 3, Hashed: 1}, kit.Stats())
		time.Sleep(2 * time.Second)
		close(hasher.slow)
		synctest.Wait()
		require.Equal(t, authkit.Stats{Hashed: 4, Waited: 6 * time.Second}, kit.Stats())
	})
}

func TestStatsOfAGuard(t *testing.T) {
	t.Parallel()
	cfg := authkit.TokenConfig{Keys: []authkit.Key{benchKey}}
	guard, err := authkit.NewGuard(authkit.GuardConfig{Tokens: cfg})
	require.NoError(t, err)
	issuer, err := authkit.NewTokenIssuer(cfg)
	require.NoError(t, err)
	token, err := issuer.Issue(authkit.Claims{Subject: "somebody"})
	require.NoError(t, err)
	h := guard.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for range 3 {
		require.Equal(t, http.StatusOK, do(h, "GET", "/", "Authorization", "Bearer "+token).Code)
	}
	require.Equal(t, http.StatusUnauthorized, do(h, "GET", "/", "Authorization", "Bearer x"+token).Code)
	require.Equal(t, authkit.Stats{Verified: 3}, guard.Stats())
}
