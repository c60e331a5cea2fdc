package throttle_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// device logs in rightly and returns the cookie of the browser.
func device(t *testing.T, h http.Handler, address, email string, cookies ...*http.Cookie) *http.Cookie {
	t.Helper()
	resp := post(t, h, address, email, "right "+email, cookies...)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Len(t, resp.Cookies(), 1)
	return resp.Cookies()[0]
}

// TestDevice asserts that a browser that has logged in before is let in whatever strangers do
// (LO-12), from wherever and for 90 days from its latest login, and that it has no more
// guesses than anybody else.
func TestDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.add(t, "user@example.com")
		h := s.limits.Device(s.kit.TokenHandler())
		cookie := device(t, h, "192.0.2.1:1", "user@example.com")
		require.Equal(t, "__Host-device", cookie.Name)
		require.True(t, cookie.Secure && cookie.HttpOnly)
		require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
		require.Equal(t, "/", cookie.Path)
		require.Empty(t, cookie.Domain)
		require.Equal(t, 90*24*60*60, cookie.MaxAge)

		for i := range 5 {
			s.fail(t, "user@example.com", address(i))
		}
		for i := range 20 {
			s.fail(t, strings.Repeat("x", i+1)+"@example.com", "198.51.100.1")
		}
		s.refuse(t, "user@example.com", "198.51.100.1")
		cookie = device(t, h, "198.51.100.1:1", "user@example.com", cookie) // its account and its address are both used up
		s.refuse(t, "user@example.com", "198.51.100.1")

		for i := range 5 {
			require.Equal(t, http.StatusUnauthorized, post(t, h, "198.51.100.2:1", "user@example.com", fmt.Sprint("wrong ", i), cookie).StatusCode)
		}
		resp := post(t, h, "198.51.100.3:1", "user@example.com", "right user@example.com", cookie)
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		require.Equal(t, "30", resp.Header.Get("Retry-After"))
		require.Empty(t, resp.Cookies())
		time.Sleep(30 * time.Second)
		again := device(t, h, "198.51.100.3:1", "user@example.com", cookie)
		require.NotEqual(t, cookie.Value, again.Value, "good for longer")
		raw := func(c *http.Cookie) []byte {
			b, err := base64.RawURLEncoding.DecodeString(c.Value)
			require.NoError(t, err)
			return b
		}
		require.Equal(t, raw(cookie)[:16], raw(again)[:16], "of the same browser")

		lock := func() {
			for i := range 5 {
				s.fail(t, "user@example.com", address(i))
			}
		}
		time.Sleep(90*24*time.Hour - time.Second)
		lock()
		require.Equal(t, http.StatusUnauthorized, post(t, h, "198.51.100.4:1", "user@example.com", "wrong", again).StatusCode)
		time.Sleep(time.Second)
		resp = post(t, h, "198.51.100.5:1", "user@example.com", "right user@example.com", again)
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	})
}

// TestSameWrongPasswordOfABrowser asserts that a known browser that keeps sending
// an old password, from any address, does not block its owner.
func TestSameWrongPasswordOfABrowser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.add(t, "user@example.com")
		h := s.limits.Device(s.kit.TokenHandler())
		cookie := device(t, h, "192.0.2.1:1", "user@example.com")
		for i := range 20 {
			require.Equal(t, http.StatusUnauthorized, post(t, h, address(i)+":1", "user@example.com", "the old password", cookie).StatusCode)
		}
		device(t, h, "192.0.2.1:1", "user@example.com", cookie)
		for i := range 5 {
			require.Equal(t, http.StatusUnauthorized, post(t, h, address(i)+":1", "user@example.com", fmt.Sprint("guess ", i), cookie).StatusCode)
		}
		require.Equal(t, http.StatusTooManyRequests, post(t, h, address(1)+":1", "user@example.com", "guess 5", cookie).StatusCode)
	})
}

// TestDeviceOfSomebodyElse asserts that no cookie but the account's own counts as one, in whatever
// form, and so gains no guess.
func TestDeviceOfSomebodyElse(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.add(t, "user@example.com")
	s.add(t, "thief@example.com")
	h := s.limits.Device(s.kit.TokenHandler())
	own := device(t, h, "192.0.2.1:1", "user@example.com")
	thief := device(t, h, "192.0.2.2:1", "thief@example.com")
	for i := range 5 {
		s.fail(t, "user@example.com", address(i))
	}
	other := newService(t, func(c *throttle.Config) { c.Secret = []byte(strings.Repeat("other", 8)) })
	other.add(t, "user@example.com")
	foreign := device(t, other.limits.Device(other.kit.TokenHandler()), "192.0.2.3:1", "user@example.com")

	values := []string{"", "x", thief.Value, foreign.Value, own.Value + "A", own.Value[1:], own.Value + "=", strings.ToUpper(own.Value), own.Value[:len(own.Value)/2]}
	raw, err := base64.RawURLEncoding.DecodeString(own.Value)
	require.NoError(t, err)
	for i := range raw {
		raw[i] ^= 1
		values = append(values, base64.RawURLEncoding.EncodeToString(raw))
		raw[i] ^= 1
	}
	hashed := s.hasher.hashed()
	for i, value := range values {
		cookie := &http.Cookie{Name: "__Host-device", Value: value}
		resp := post(t, h, address(1000+i)+":1", "user@example.com", "right user@example.com", cookie)
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode, value)
	}
	resp := post(t, h, "192.0.2.99:1", "user@example.com", "right user@example.com", own, own)
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode, "two are as none")
	require.Equal(t, hashed, s.hasher.hashed())
	device(t, h, "192.0.2.99:1", "user@example.com", own)
}

// TestDeviceWithoutLogin sets no cookie where nobody logged in, and passes all else on.
func TestDeviceWithoutLogin(t *testing.T) {
	t.Parallel()
	s := newService(t)
	h := s.limits.Device(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, http.NewResponseController(w).Flush())
		_, _ = w.Write([]byte("hello"))
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Empty(t, w.Result().Cookies())
	require.True(t, w.Flushed)
	require.Equal(t, "hello", w.Body.String())

	silent := s.limits.Device(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		a := authkit.Attempt{Action: authkit.ActionLogin, Account: "user@example.com"}
		require.NoError(t, s.limits.Begin(r.Context(), a))
		require.NoError(t, s.limits.End(r.Context(), a, authkit.AttemptSucceeded))
	}))
	w = httptest.NewRecorder()
	silent.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Len(t, w.Result().Cookies(), 1, "of a handler that writes nothing")

	without, err := throttle.New(throttle.Config{})
	require.NoError(t, err)
	require.Panics(t, func() { without.Device(http.NotFoundHandler()) })
}

// A browser is a client with a jar for the device cookie, which it keeps back from the requests
// of other sites.
type browser struct {
	h      http.Handler
	cookie *http.Cookie
}

func (b *browser) login(t *testing.T, address, email, password string, header ...string) *http.Response {
	t.Helper()
	form := url.Values{"username": {email}, "password": {password}}
	r := httptest.NewRequest("POST", "https://auth.example.com/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = address + ":1"
	other := false
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		other = other || header[i+1] == "cross-site" || strings.Contains(header[i+1], "evil")
	}
	if b.cookie != nil && !other {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
	}
	return w.Result()
}

// FR-13: a login that another site sends into a browser does not replace its cookie.
func TestDeviceSurvivesACrossSiteLogin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header []string
		sets   bool
	}{
		"cross-site":             {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, false},
		"an older browser":       {[]string{"Origin", "https://evil.example"}, false},
		"an origin that is none": {[]string{"Origin", "http://[::1"}, false},
		"an opaque origin":       {[]string{"Origin", "null"}, false},
		"the site":               {[]string{"Sec-Fetch-Site", "same-origin", "Origin", "https://auth.example.com"}, true},
		"a page of the site":     {[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com"}, true},
		"the site, older":        {[]string{"Origin", "https://auth.example.com"}, true},
		"a program":              {nil, true},
		"the address bar":        {[]string{"Sec-Fetch-Site", "none"}, true},
		"cross-site, no origin":  {[]string{"Sec-Fetch-Site", "cross-site"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.add(t, "user@example.com")
			s.add(t, "mallory@example.com")
			b := &browser{h: s.limits.Device(s.kit.TokenHandler())}
			require.Equal(t, http.StatusOK, b.login(t, "192.0.2.1", "user@example.com", "right user@example.com").StatusCode)
			for i := range 5 {
				s.fail(t, "user@example.com", address(i))
			}
			resp := b.login(t, "192.0.2.2", "mallory@example.com", "right mallory@example.com", c.header...)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, c.sets, len(resp.Cookies()) == 1)
			require.Equal(t, http.StatusOK, b.login(t, "192.0.2.3", "user@example.com", "right user@example.com").StatusCode)
		})
	}
}

// FR-13: a browser remembers eight accounts, the ones that logged in last.
func TestDeviceOfManyUsers(t *testing.T) {
	t.Parallel()
	s := newService(t)
	b := &browser{h: s.limits.Device(s.kit.TokenHandler())}
	name := func(i int) string { return fmt.Sprintf("user%d@example.com", i) }
	for i := range 9 {
		s.add(t, name(i))
		require.Equal(t, http.StatusOK, b.login(t, address(i), name(i), "right "+name(i)).StatusCode)
	}
	for i := range 9 {
		for j := range 5 {
			s.fail(t, name(i), address(1000+5*i+j))
		}
	}
	for i := range 20 {
		s.fail(t, fmt.Sprintf("nobody%d@example.com", i), "198.51.100.1")
	}
	s.refuse(t, "nobody@example.com", "198.51.100.1")
	full := b.cookie
	for i := 1; i < 9; i++ {
		b.cookie = full
		require.Equal(t, http.StatusOK, b.login(t, "198.51.100.1", name(i), "right "+name(i)).StatusCode)
		require.LessOrEqual(t, len(b.cookie.Value), 8*76)
	}
	b.cookie = full
	require.Equal(t, http.StatusTooManyRequests, b.login(t, "198.51.100.2", name(0), "right "+name(0)).StatusCode)

	long := &http.Cookie{Name: full.Name, Value: strings.Repeat("x.", 100) + full.Value}
	b.cookie = long
	require.Equal(t, http.StatusTooManyRequests, b.login(t, "198.51.100.2", name(1), "right "+name(1)).StatusCode)
}

// A browser is known after a login that succeeded, and not after one that failed, was not decided,
// or lacks a second factor.
func TestDeviceOnlyAfterSuccess(t *testing.T) {
	t.Parallel()
	s := newService(t)
	a := authkit.Attempt{Action: authkit.ActionLogin, Account: "user@example.com"}
	for name, c := range map[string]struct {
		outcome authkit.AttemptOutcome
		action  string
		account string
		cookies int
	}{
		"success":        {authkit.AttemptSucceeded, authkit.ActionLogin, a.Account, 1},
		"failure":        {authkit.AttemptFailed, authkit.ActionLogin, a.Account, 0},
		"undecided":      {authkit.AttemptUndecided, authkit.ActionLogin, a.Account, 0},
		"another action": {authkit.AttemptSucceeded, authkit.ActionCode, a.Account, 0},
		"no account":     {authkit.AttemptSucceeded, authkit.ActionLogin, "", 0},
	} {
		h := s.limits.Device(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			a := authkit.Attempt{Action: c.action, Account: c.account}
			require.NoError(t, s.limits.Begin(r.Context(), a))
			require.NoError(t, s.limits.End(r.Context(), a, c.outcome))
		}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
		require.Len(t, w.Result().Cookies(), c.cookies, name)
	}
	b := &browser{h: s.limits.Device(s.kit.TokenHandler())}
	s.add(t, "user@example.com")
	b.login(t, "192.0.2.1", "user@example.com", "wrong")
	require.Nil(t, b.cookie)
	b.login(t, "192.0.2.1", "user@example.com", "right user@example.com")
	require.NotNil(t, b.cookie)
}

// Clear from a known browser, such as that of an administrator or after a reset, clears the
// account, and every counter of it.
func TestClearFromAKnownBrowser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		u := s.add(t, "user@example.com")
		b := &browser{h: s.limits.Device(s.kit.TokenHandler())}
		b.login(t, "192.0.2.1", u.Email, "right "+u.Email)
		for i := range 5 {
			s.fail(t, u.Email, address(i))
			require.Equal(t, http.StatusUnauthorized, b.login(t, address(100), u.Email, fmt.Sprint("wrong ", i)).StatusCode)
		}
		s.refuse(t, u.Email, "192.0.2.2")
		require.Equal(t, http.StatusTooManyRequests, b.login(t, "192.0.2.3", u.Email, "right "+u.Email).StatusCode)
		time.Sleep(time.Second)
		clear := s.limits.Device(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			require.NoError(t, s.limits.Clear(r.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: u.Email}))
		}))
		r := httptest.NewRequest("POST", "/", nil)
		r.AddCookie(b.cookie)
		clear.ServeHTTP(httptest.NewRecorder(), r)
		time.Sleep(time.Second)
		require.NoError(t, s.login(t, u.Email, "192.0.2.2", true), "the account")
		require.Equal(t, http.StatusOK, b.login(t, "192.0.2.3", u.Email, "right "+u.Email).StatusCode, "the browser")

		time.Sleep(time.Hour)
		for n := range 100 { // to the end, which outlives the time of the clearing
			s.fail(t, u.Email, address(2000+n))
			time.Sleep(curve.Wait(n + 1))
		}
		clear.ServeHTTP(httptest.NewRecorder(), r)
		time.Sleep(200 * 24 * time.Hour)
		require.NoError(t, s.login(t, u.Email, "192.0.2.4", true))
	})
}
