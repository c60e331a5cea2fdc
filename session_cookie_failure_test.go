package authkit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/refresh"
)

var errDown = errors.New("the store is down")

// newFaultySite returns a site on a store that fails as the test says.
func newFaultySite(t testing.TB, change ...func(*authkit.Config)) (*authkit.Kit, http.Handler, authkit.User, *faultyStore) {
	t.Helper()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit, h, user := newSite(t, append(change, store.listen)...)
	return kit, h, user, store
}

// down makes the calls named fail, all of them without a name: before their effect, or after it.
func (s *faultyStore) down(after bool, names ...string) {
	fail := func(name string, _ int) error {
		for _, n := range names {
			if n == name {
				return errDown
			}
		}
		if len(names) == 0 {
			return errDown
		}
		return nil
	}
	if s.before, s.after = fail, nil; after {
		s.before, s.after = nil, fail
	}
}

func (s *faultyStore) up() { s.before, s.after = nil, nil }

// MW-07: a store that fails is 503, and never a login page or another cookie.
func TestSessionCookieStoreFails(t *testing.T) {
	t.Parallel()
	var events recorder
	_, h, _, store := newFaultySite(t, events.listen)
	s := surf(t, h)
	store.down(false)
	for _, path := range []string{"/me", "/renew"} {
		problem(t, s.do("GET", path, ""), 503, "Temporarily unavailable")
		require.Nil(t, s.set)
		require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
		require.ErrorIs(t, events.last().Err, errDown)
	}
	require.Equal(t, 401, s.do("GET", "/me", "", "Accept", "*/*", "Cookie", "__Host-session=junk").Code, "no text but a cookie is looked up")
	require.Equal(t, authkit.ReasonMalformed, events.last().Reason)
	w := s.do("POST", "/login", form("username", email, "password", password))
	require.Equal(t, 503, w.Code)
	require.Equal(t, "Temporarily unavailable", w.Body.String())
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.Nil(t, s.set)
	problem(t, s.do("POST", "/logout", ""), 503, "Temporarily unavailable")
	require.Nil(t, s.set, "a logout that failed does not look like one")
	store.up()
	require.Equal(t, 200, s.status("/me"))
}

// A client that hangs up is no failure of the store.
func TestSessionCookieClientLeaves(t *testing.T) {
	t.Parallel()
	var events recorder
	_, h, _, _ := newFaultySite(t, events.listen)
	s := surf(t, h)
	events.reset()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest("GET", "/me", nil).WithContext(ctx)
	r.AddCookie(&http.Cookie{Name: "__Host-session", Value: s.cookie})
	require.Equal(t, 503, s.send(r).Code)
	require.Empty(t, events.all())
	require.Equal(t, 200, s.status("/me"))
}

// A use that could not be noted does not fail the request; the session ends as early as it did.
func TestSessionCookieTouchFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		_, h, _, store := newFaultySite(t, events.listen)
		s := surf(t, h)
		store.down(false, "RotateSession")
		time.Sleep(2*time.Hour - time.Microsecond)
		require.Equal(t, 200, s.status("/me"))
		require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
		time.Sleep(time.Microsecond)
		require.Equal(t, 401, s.status("/me"))
	})
}

// SE-05: an expired session goes on neither with a new cookie nor with a renewed one.
func TestSessionCookieOfAnExpiredSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, _, user := newSite(t)
		r := httptest.NewRequest("POST", "https://example.com/", nil)
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: setCookie(t, kit, begin(t, kit))})
		token := begin(t, kit)
		sessions, err := kit.Sessions(t.Context(), user.ID)
		require.NoError(t, err)
		time.Sleep(time.Until(sessions[0].AbsoluteExpiresAt))
		w := httptest.NewRecorder()
		require.ErrorIs(t, kit.RenewSessionCookie(w, r), authkit.ErrInvalidRefreshToken)
		require.ErrorIs(t, kit.SetSessionCookie(w, httptest.NewRequest("POST", "/", nil), token, true), authkit.ErrInvalidRefreshToken)
		require.Empty(t, w.Result().Cookies())
	})
}

// A login whose cookie could not be set leaves no session behind, and sets nothing.
func TestSetSessionCookieFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*faultyStore){
		"the rotation":       func(s *faultyStore) { s.down(false, "RotateSession") },
		"the session before": func(s *faultyStore) { s.failOnce("RevokeSession") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kit, h, user, store := newFaultySite(t)
			s := surf(t, h)
			fail(store)
			require.Equal(t, 503, s.do("POST", "/login", form("username", email, "password", password)).Code)
			require.Nil(t, s.set)
			store.up()
			list, err := kit.Sessions(t.Context(), user.ID)
			require.NoError(t, err)
			for _, session := range list {
				parsed, _, _ := refresh.ParseCookie(s.cookie)
				require.Equal(t, parsed.SessionID(), session.ID, "the one of the cookie")
			}
		})
	}
}

func (s *faultyStore) failOnce(name string) {
	s.before = func(called string, _ int) error {
		if called == name {
			s.before = nil
			return errDown
		}
		return nil
	}
}

// RF-06: a rotation that was made, and whose answer was lost, sets its cookie all the same.
func TestSessionCookieRotationWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	_, h, _, store := newFaultySite(t)
	store.down(true, "RotateSession")
	s := surf(t, h)
	require.Equal(t, 200, s.status("/me"))
	old := s.cookie
	require.Equal(t, 200, s.status("/renew"))
	require.NotEqual(t, old, s.cookie)
	require.Equal(t, 200, s.status("/me"))
	store.down(true, "RotateSession", "SessionByID")
	require.Equal(t, 503, s.status("/renew"))
	require.Nil(t, s.set)
}

// A login is good for one cookie, and its refresh token for nothing any more.
func TestSetSessionCookieOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, _, user := newSite(t)
		for name, c := range map[string]struct {
			before func(authkit.Token) authkit.Token
			left   int
		}{
			"used":  {func(token authkit.Token) authkit.Token { renew(t, kit, token); return token }, 0},
			"set":   {func(token authkit.Token) authkit.Token { setCookie(t, kit, token); return token }, 0},
			"ended": {func(token authkit.Token) authkit.Token { logOut(t, kit, token); return token }, 0},
			"none":  {func(token authkit.Token) authkit.Token { return authkit.Token{AccessToken: token.AccessToken} }, 1},
			"no refresh": {func(token authkit.Token) authkit.Token {
				token.RefreshToken = setCookie(t, kit, token)
				return token
			}, 1},
		} {
			require.NoError(t, kit.LogoutEverywhere(t.Context(), user.ID))
			token := c.before(begin(t, kit))
			w := httptest.NewRecorder()
			require.ErrorIs(t, kit.SetSessionCookie(w, httptest.NewRequest("POST", "/", nil), token, true), authkit.ErrInvalidRefreshToken, name)
			require.Empty(t, w.Result().Cookies(), name)
			list, err := kit.Sessions(t.Context(), user.ID)
			require.NoError(t, err)
			require.Len(t, list, c.left, name)
		}

		token := begin(t, kit)
		setCookie(t, kit, token)
		_, err := kit.Refresh(t.Context(), token.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	})
}

// setCookie turns a login into one by cookie, and returns the cookie.
func setCookie(t testing.TB, kit *authkit.Kit, token authkit.Token) string {
	w := httptest.NewRecorder()
	require.NoError(t, kit.SetSessionCookie(w, httptest.NewRequest("POST", "/", nil), token, false))
	return w.Result().Cookies()[0].Value
}

func logOut(t testing.TB, kit *authkit.Kit, token authkit.Token) {
	require.NoError(t, kit.Logout(context.Background(), token.User.ID, sessionID(t, token)))
}

// A session that ended cannot be renewed, and a request without a cookie needs none.
func TestRenewSessionCookieOfNone(t *testing.T) {
	t.Parallel()
	kit, h, user := newSite(t)
	s := surf(t, h)
	r := httptest.NewRequest("POST", "/", nil)
	w := httptest.NewRecorder()
	require.NoError(t, kit.RenewSessionCookie(w, r))
	r.AddCookie(&http.Cookie{Name: "__Host-session", Value: s.cookie})
	require.NoError(t, kit.LogoutEverywhere(t.Context(), user.ID))
	require.ErrorIs(t, kit.RenewSessionCookie(w, r), authkit.ErrInvalidRefreshToken)
	require.Empty(t, w.Result().Cookies())
}
