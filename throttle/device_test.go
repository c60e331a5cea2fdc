package throttle_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
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
