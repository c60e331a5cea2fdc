package authkit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/refresh"
)

// withCookies returns a request with session cookies.
func withCookies(values ...string) *http.Request {
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	for _, v := range values {
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: v})
	}
	return r
}

// cookieSession returns the ID of the session of a cookie.
func cookieSession(cookie string) string {
	parsed, _, _ := refresh.ParseCookie(cookie)
	return parsed.SessionID()
}

// A login ends the sessions of the first four cookies that a request brings, even if some of them
// are over, and no others. It looks up no text that is not a cookie.
func TestSetSessionCookieEndsOthers(t *testing.T) {
	t.Parallel()
	kit, h, user, store := newFaultySite(t)
	var old []string
	for range 5 {
		old = append(old, surf(t, h).cookie)
	}
	left := func() (ids []string) {
		list, err := kit.Sessions(t.Context(), user.ID)
		require.NoError(t, err)
		for _, s := range list {
			ids = append(ids, s.ID)
		}
		return ids
	}
	looked, ended := 0, 0
	store.before = func(name string, _ int) error {
		switch name {
		case "SessionByID":
			looked++
		case "RevokeSession":
			if ended++; ended == 2 { // the user logs out at the same time
				_, err := store.MemoryStore.RevokeSession(t.Context(), user.ID, cookieSession(old[1]), time.Now())
				return err
			}
		}
		return nil
	}
	first := begin(t, kit)
	looked = 0
	r := withCookies("junk", "aks_"+first.RefreshToken[4:], old[0], old[1], old[2])
	require.NoError(t, kit.SetSessionCookie(httptest.NewRecorder(), r, first, false))
	require.ElementsMatch(t, []string{sessionID(t, first), cookieSession(old[2]), cookieSession(old[3]), cookieSession(old[4])}, left())
	require.Equal(t, 3, looked, "that of the login and two others")

	second := begin(t, kit)
	require.NoError(t, kit.SetSessionCookie(httptest.NewRecorder(), withCookies(old[0], old[2], old[3]), second, false))
	require.ElementsMatch(t, []string{sessionID(t, first), sessionID(t, second), cookieSession(old[4])}, left())
}

// A request prolongs its session unless a guard of the same Kit has looked at the request before
// (ASVS 5.0, 7.3.1), or the session is older than the cut-off of its account.
func TestSessionCookieProlongs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		kit, h, user, store := newFaultySite(t, events.listen)
		s := surf(t, h)
		used := func() time.Duration {
			session, err := store.MemoryStore.SessionByID(t.Context(), cookieSession(s.cookie))
			require.NoError(t, err)
			return time.Since(session.LastUsedAt)
		}

		key := new(keys)
		other := newKit(t, func(c *authkit.Config) { c.Authenticators = []authkit.Authenticator{key} })
		key.set(addUser(t, other, email, password).ID, "")
		time.Sleep(time.Minute)
		w := httptest.NewRecorder()
		other.Authenticate(kit.Authenticate(whoami)).ServeHTTP(w, withCookies(s.cookie))
		require.Equal(t, 200, w.Code)
		require.Zero(t, used(), "behind the guard of another Kit")

		ctx, _, err := kit.IdentifyToken(t.Context(), begin(t, kit).AccessToken)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		events.reset()
		_, p, err := kit.Identify(withCookies(s.cookie).WithContext(ctx))
		require.NoError(t, err)
		require.Zero(t, used(), "where a token came without a request")
		require.True(t, p.ExpiresAt.Equal(time.Now().Add(2*time.Hour)))
		require.Empty(t, events.all())

		store.before = func(name string, _ int) error { // the user logs out at the same time
			if name == "RotateSession" {
				return authkit.ErrSessionNotFound
			}
			return nil
		}
		time.Sleep(time.Minute)
		_, p, err = kit.Identify(withCookies(s.cookie))
		require.NoError(t, err)
		require.True(t, p.ExpiresAt.Equal(time.Now().Add(2*time.Hour-time.Minute)))
		require.Empty(t, events.all(), "no store failed")

		store.up()
		_, err = store.MemoryStore.UpdateUser(t.Context(), user.ID, authkit.UserUpdate{TokensValidAfter: new(time.Now())}, time.Now())
		require.NoError(t, err)
		require.Equal(t, 401, s.status("/me"))
		require.Equal(t, time.Minute, used())
	})
}

// SE-05: a session ends at its absolute end, even if another program has stored a later one beside.
func TestSessionOfAnotherProgramEnds(t *testing.T) {
	t.Parallel()
	for name, used := range map[string]time.Duration{"used long ago": 0, "used just now": time.Hour - time.Second} {
		t.Run(name, func(t *testing.T) { testSessionOfAnotherProgramEnds(t, used) })
	}
}

func testSessionOfAnotherProgramEnds(t *testing.T, used time.Duration) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, store, user := newSessionKit(t, func(c *authkit.Config) { c.Sessions.Cookies = &authkit.SessionCookieConfig{} })
		cookie, token := refresh.New(), refresh.New()
		at := time.Now()
		for id, hash := range map[string][32]byte{cookie.SessionID(): cookie.CookieHash(false), token.SessionID(): token.Hash()} {
			require.NoError(t, store.CreateSession(t.Context(), authkit.StoredSession{
				Session: authkit.Session{
					ID: id, UserID: user.ID, CreatedAt: at, LastUsedAt: at.Add(used), AuthTime: at, Methods: []string{"pwd"},
					ExpiresAt: at.Add(2 * time.Hour), AbsoluteExpiresAt: at.Add(time.Hour),
				},
				TokenHash: hash,
			}, 50))
		}
		time.Sleep(time.Hour - time.Microsecond)
		_, _, err := kit.Identify(withCookies(cookie.CookieText(false)))
		require.NoError(t, err)
		time.Sleep(time.Microsecond)
		_, _, err = kit.Identify(withCookies(cookie.CookieText(false)))
		require.ErrorIs(t, err, authkit.ErrTokenExpired)
		_, err = kit.Refresh(t.Context(), token.Text())
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	})
}
