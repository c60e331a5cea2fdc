package authkit_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A browser keeps the cookie and sends it along.
type browser struct {
	h      http.Handler
	cookie string
	set    *http.Cookie // by the last answer, if it did
}

// do sends a request as a page of the origin does; "" sends no such header.
func (b *browser) do(method, body, site string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://app.example.com/session", strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", formType)
	}
	if site != "" {
		r.Header.Set("Sec-Fetch-Site", site)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if b.cookie != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-refresh", Value: b.cookie})
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	b.set = nil
	for _, c := range w.Result().Cookies() {
		if b.set = c; c.MaxAge < 0 {
			b.cookie = ""
		} else {
			b.cookie = c.Value
		}
	}
	return w
}

// TR-06, MW-03: the refresh token is in a cookie that only this host and no script sees, and
// nowhere else.
func TestRefreshCookieHandler(t *testing.T) {
	t.Parallel()
	kit, _, user := newSessionKit(t)
	b := &browser{h: kit.RefreshCookieHandler()}
	w := b.do("POST", form("username", email, "password", password), "same-origin")
	token := asToken(t, w)
	require.Empty(t, token.RefreshToken)
	require.NotContains(t, w.Body.String(), "akr_")
	require.Equal(t, http.StatusOK, access(t, kit, token))

	require.Equal(t, "__Host-refresh", b.set.Name)
	require.True(t, b.set.Secure && b.set.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, b.set.SameSite)
	require.Equal(t, "/", b.set.Path)
	require.Empty(t, b.set.Domain)
	require.Equal(t, 7*24*60*60, b.set.MaxAge)
	require.Less(t, len(b.set.Raw), 4096)

	first := b.cookie
	second := asToken(t, b.do("PUT", "", "same-origin"))
	require.Empty(t, second.RefreshToken)
	require.NotEqual(t, first, b.cookie)
	require.Equal(t, http.StatusOK, access(t, kit, second))

	problem(t, get(t, kit.Authenticate(whoami), "/", "Bearer "+b.cookie), 401, "Could not validate credentials")
	require.Equal(t, 405, b.do("GET", "", "same-origin").Code)

	require.Equal(t, http.StatusNoContent, b.do("DELETE", "", "same-origin").Code)
	require.Negative(t, b.set.MaxAge)
	require.Empty(t, b.set.Value)
	require.True(t, b.set.Secure && b.set.HttpOnly && b.set.Path == "/", "or the browser does not take it")
	require.Equal(t, http.StatusUnauthorized, access(t, kit, second))
	list, err := kit.Sessions(t.Context(), user.ID)
	require.NoError(t, err)
	require.Empty(t, list)
	problem(t, b.do("PUT", "", "same-origin"), 401, "Not authenticated")
	w = b.do("DELETE", "", "same-origin")
	require.Equal(t, http.StatusNoContent, w.Code, "again")
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
}

// MW-03: no other site can log in, refresh or log out.
func TestRefreshCookieHandlerRefusesOtherOrigins(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSessionKit(t)
	b := &browser{h: kit.RefreshCookieHandler("https://trusted.example.org")}
	asToken(t, b.do("POST", form("username", email, "password", password), "same-origin"))
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		body := ""
		if method == "POST" {
			body = form("username", email, "password", password)
		}
		for name, w := range map[string]*httptest.ResponseRecorder{
			"cross-site":   b.do(method, body, "cross-site", "Origin", "https://evil.example.net"),
			"same-site":    b.do(method, body, "same-site", "Origin", "https://evil.example.com"),
			"old browsers": b.do(method, body, "", "Origin", "https://evil.example.net"),
			"null":         b.do(method, body, "", "Origin", "null"),
		} {
			problem(t, w, 403, "The request comes from another origin")
			require.Empty(t, w.Result().Cookies(), name)
		}
	}
	asToken(t, b.do("PUT", "", "cross-site", "Origin", "https://trusted.example.org"))
	require.Panics(t, func() { kit.RefreshCookieHandler("trusted.example.org") })
	require.Panics(t, func() { kit.RefreshCookieHandler("https://trusted.example.org/path") })
}

// RF-12: who loses a race leaves the cookie of the winner alone, and so does whoever is refused.
func TestCookieLosersLeaveTheCookie(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, _, _ := newSessionKit(t)
		b := &browser{h: kit.RefreshCookieHandler()}
		asToken(t, b.do("POST", form("username", email, "password", password), "same-origin"))
		tabs := make([]browser, 16)
		var done sync.WaitGroup
		for i := range tabs {
			tabs[i] = *b
			done.Go(func() { asToken(t, tabs[i].do("PUT", "", "same-origin")) })
		}
		done.Wait()
		for i := range tabs {
			require.Equal(t, tabs[0].cookie, tabs[i].cookie)
		}
		time.Sleep(11 * time.Second)
		w := b.do("PUT", "", "same-origin")
		problem(t, w, 400, "The refresh token is not valid")
		require.Empty(t, w.Result().Cookies())
		b.cookie = "junk"
		w = b.do("PUT", "", "same-origin")
		require.Equal(t, 400, w.Code)
		require.Empty(t, w.Result().Cookies())
	})
}

// A logout that failed does not look like one.
func TestCookieLogoutFails(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, store.listen)
	addUser(t, kit, email, password)
	b := &browser{h: kit.RefreshCookieHandler()}
	asToken(t, b.do("POST", form("username", email, "password", password), "same-origin"))
	store.before = func(name string, _ int) error {
		if name == "RevokeSession" {
			return errCrash
		}
		return nil
	}
	w := b.do("DELETE", "", "same-origin")
	require.Equal(t, 503, w.Code)
	require.Empty(t, w.Result().Cookies())
	store.before = nil
	require.Equal(t, http.StatusNoContent, b.do("DELETE", "", "same-origin").Code)
	require.Equal(t, 401, b.do("POST", form("username", email, "password", "wrong horse"), "same-origin").Code)
	require.Equal(t, 422, b.do("POST", form("username", email), "same-origin").Code)

	// Of two logouts at once, the one that comes second succeeds too.
	asToken(t, b.do("POST", form("username", email, "password", password), "same-origin"))
	store.before = func(name string, _ int) error {
		if name == "RevokeSession" {
			require.NoError(t, store.MemoryStore.RevokeSessions(t.Context(), userID(t, kit), "", time.Now()))
		}
		return nil
	}
	require.Equal(t, http.StatusNoContent, b.do("DELETE", "", "same-origin").Code)
}

func userID(t testing.TB, kit *authkit.Kit) string {
	t.Helper()
	u, err := kit.UserByEmail(t.Context(), email)
	require.NoError(t, err)
	return u.ID
}

// A refresh whose answer the store lost is tried again before the grace is over, and so a client must not
// be told to wait.
func TestCookieRefreshIsTriedAgainSoon(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, store.listen)
	addUser(t, kit, email, password)
	b := &browser{h: kit.RefreshCookieHandler()}
	asToken(t, b.do("POST", form("username", email, "password", password), "same-origin"))
	store.before = func(string, int) error { return errCrash }
	w := b.do("PUT", "", "same-origin")
	require.Equal(t, 503, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	require.Empty(t, w.Result().Cookies())
	require.Equal(t, "5", b.do("POST", form("username", email, "password", password), "same-origin").Header().Get("Retry-After"))
}
