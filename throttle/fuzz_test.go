package throttle_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// FuzzForwardedFor asserts that whatever a client writes in front of what its proxy adds, it
// is found where the proxy says.
func FuzzForwardedFor(f *testing.F) {
	for _, seed := range []string{"", "1.1.1.1", "10.0.0.1, ", "unknown", "[::1]:1", "\x00", ",,,,", "\"", "1.1.1.1%eth0", "::ffff:10.0.0.1"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	trust, err := throttle.TrustProxies(netip.MustParsePrefix("10.0.0.0/8"))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string, ownLine bool) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header["X-Forwarded-For"] = []string{text + ", 203.0.113.1"}
		if ownLine {
			r.Header["X-Forwarded-For"] = []string{text, "203.0.113.1"}
		}
		trust(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			require.Equal(t, "203.0.113.1", authkit.ClientFrom(r.Context()).Address)
		})).ServeHTTP(httptest.NewRecorder(), r)

		r.Header["X-Forwarded-For"] = []string{text}
		trust(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := netip.ParseAddr(authkit.ClientFrom(r.Context()).Address)
			require.NoError(t, err)
		})).ServeHTTP(httptest.NewRecorder(), r)
	})
}

// A hostile store lets in known browsers alone, once it is closed.
type hostileStore struct {
	throttle.Store
	closed atomic.Bool
}

func (s *hostileStore) Reserve(ctx context.Context, t throttle.Reservation) (throttle.Decision, error) {
	if s.closed.Load() && t.Source != (throttle.Key{}) {
		return throttle.Decision{Counter: time.Hour}, nil
	}
	return s.Store.Reserve(ctx, t)
}

// FuzzDevice asserts that no cookie counts that was not issued.
func FuzzDevice(f *testing.F) {
	// A secret of this process: go test makes the seeds in another one.
	store := &hostileStore{Store: throttle.NewMemory(0)}
	s := newService(f, func(c *throttle.Config) { c.Secret, c.Store = []byte(rand.Text()+rand.Text()), store })
	s.add(f, "user@example.com")
	h := s.limits.Device(s.kit.TokenHandler())
	resp := post(f, h, "192.0.2.1:1", "user@example.com", "right user@example.com")
	good := resp.Cookies()[0].Value
	store.closed.Store(true)
	require.Equal(f, http.StatusOK, post(f, h, "192.0.2.2:1", "user@example.com", "right user@example.com", resp.Cookies()...).StatusCode)
	f.Add(good[1:])
	f.Add(good + "A")
	f.Add(strings.ToLower(good))
	f.Add(good + "\xc1")
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		cookie := &http.Cookie{Name: "__Host-device", Value: value}
		sent := httptest.NewRequest("GET", "/", nil)
		sent.AddCookie(cookie) // which leaves out what no cookie can hold
		if got, err := sent.Cookie(cookie.Name); err == nil && got.Value == good {
			t.Skip()
		}
		resp := post(t, h, "192.0.2.2:1", "user@example.com", "right user@example.com", cookie)
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	})
}
