package throttle_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// onSocket serves a handler on a Unix socket, and returns a function that logs in over it.
func onSocket(t *testing.T, h http.Handler) (login func(forwarded, email, password string) int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(listener) }()
	t.Cleanup(func() { _ = srv.Close() })
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	t.Cleanup(client.CloseIdleConnections)
	return func(forwarded, email, password string) int {
		form := url.Values{"username": {email}, "password": {password}}
		r, err := http.NewRequest("POST", "http://auth/token", strings.NewReader(form.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		resp, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
}

// FR-12: the clients of a Unix socket share no limit, unless that is configured; a proxy on a
// socket can be trusted, and then each client has its own.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	local := netip.MustParsePrefix("127.0.0.0/8")
	networks, err := throttle.TrustProxies(local)
	require.NoError(t, err)
	sockets, err := throttle.TrustSocketProxies()
	require.NoError(t, err)
	both, err := throttle.TrustSocketProxies(local)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		trust            func(http.Handler) http.Handler
		limited          bool
		far              string // X-Forwarded-For of the stranger
		stranger, victim int    // after 20 failures of the stranger
	}{
		"no proxy":             {networks, false, "203.0.113.9", 401, 200},
		"no proxy, limited":    {networks, true, "203.0.113.9", 429, 429},
		"a proxy":              {sockets, false, "203.0.113.9", 429, 200},
		"two proxies":          {both, false, "203.0.113.9, 127.0.0.1", 429, 200},
		"a client that lies":   {both, false, "198.51.100.7, 203.0.113.9, 127.0.0.1", 429, 200},
		"a proxy that is dumb": {sockets, false, "", 401, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(cfg *throttle.Config) { cfg.LimitUnaddressed = c.limited })
			s.add(t, "ann@example.com")
			login := onSocket(t, c.trust(s.kit.TokenHandler()))
			for i := range 20 {
				require.Equal(t, http.StatusUnauthorized, login(c.far, fmt.Sprintf("u%d@example.com", i), "wrong"))
			}
			require.Equal(t, c.stranger, login(c.far, "another@example.com", "wrong"))
			require.Equal(t, c.victim, login("198.51.100.7", "ann@example.com", "right ann@example.com"))
		})
	}
}

// The text in RemoteAddr does not turn a TCP connection into a socket: middleware may have taken
// it from a header.
func TestNoSocketByName(t *testing.T) {
	t.Parallel()
	trust, err := throttle.TrustSocketProxies()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		remote string
		local  net.Addr
		want   string
	}{
		"a socket, by its connection":   {"@", &net.UnixAddr{Name: "/run/s", Net: "unix"}, "203.0.113.9"},
		"a socket without a name":       {"", &net.UnixAddr{Name: "/run/s", Net: "unix"}, "203.0.113.9"},
		"a socket with an IP's name":    {"192.0.2.1:1", &net.UnixAddr{Name: "/run/s", Net: "unix"}, "203.0.113.9"},
		"TCP":                           {"@", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, ""},
		"another server, a socket":      {"@", nil, "203.0.113.9"},
		"another server, a path":        {"/run/client", nil, "203.0.113.9"},
		"another server, TCP":           {"192.0.2.1:1", nil, ""},
		"another server, and nothing":   {"", nil, ""},
		"another server, half a socket": {"x@", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := "none"
			h := trust(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = authkit.ClientFrom(r.Context()).Address }))
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.remote
			r.Header.Set("X-Forwarded-For", "203.0.113.9")
			if c.local != nil {
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, c.local))
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, c.want, got)
			r.Header.Del("X-Forwarded-For")
			h.ServeHTTP(httptest.NewRecorder(), r)
			require.Empty(t, got, "the proxy names no client")
		})
	}
	_, err = throttle.TrustSocketProxies(netip.MustParsePrefix("0.0.0.0/0"))
	require.Error(t, err)
}

// LO-09: Limit counts the client that TrustProxies has found, and not the proxy.
func TestLimitBehindTrustProxies(t *testing.T) {
	t.Parallel()
	limits, err := throttle.New(throttle.Config{Limits: map[string]throttle.Limit{"search": {Burst: 2, Every: time.Hour}}})
	require.NoError(t, err)
	trust, err := throttle.TrustProxies(netip.MustParsePrefix("10.0.0.0/8"))
	require.NoError(t, err)
	h := trust(limits.Limit("search")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	ask := func(remote, forwarded string) int {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", forwarded)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for _, client := range []string{"203.0.113.1", "203.0.113.2"} {
		require.Equal(t, 200, ask("10.0.0.1:1", client))
		require.Equal(t, 200, ask("10.0.0.2:1", client), "through another proxy")
		require.Equal(t, 429, ask("10.0.0.1:1", client))
	}
	require.Equal(t, 200, ask("192.0.2.1:1", "203.0.113.3"), "no proxy")
	require.Equal(t, 200, ask("192.0.2.1:1", "203.0.113.4"))
	require.Equal(t, 429, ask("192.0.2.1:1", "203.0.113.5"))

	direct := limits.Limit("search")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for range 5 { // sockets share no limit
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "@"
		w := httptest.NewRecorder()
		direct.ServeHTTP(w, r)
		require.Equal(t, 200, w.Code)
	}
}
