package throttle_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// TestTrustProxies asserts whose word is taken for where a client is (LO-09).
func TestTrustProxies(t *testing.T) {
	t.Parallel()
	trust, err := throttle.TrustProxies(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8:1::/48"))
	require.NoError(t, err)
	const peer = "the address of the connection"
	for name, c := range map[string]struct {
		remote string
		header []string
		want   string
	}{
		"no proxy":                        {"198.51.100.1:1", nil, peer},
		"no proxy, a header":              {"198.51.100.1:1", []string{"203.0.113.1"}, peer},
		"beside the proxy":                {"192.0.2.8:1", []string{"203.0.113.1"}, peer},
		"proxy":                           {"10.1.2.3:1", []string{"203.0.113.1"}, "203.0.113.1"},
		"proxy of one address":            {"192.0.2.7:1", []string{"203.0.113.1"}, "203.0.113.1"},
		"proxy without a header":          {"10.1.2.3:1", nil, "10.1.2.3"},
		"what the client wrote":           {"10.1.2.3:1", []string{"1.1.1.1, 203.0.113.1"}, "203.0.113.1"},
		"on a line of its own":            {"10.1.2.3:1", []string{"1.1.1.1", "203.0.113.1"}, "203.0.113.1"},
		"names a proxy":                   {"10.1.2.3:1", []string{"10.9.9.9, 203.0.113.1"}, "203.0.113.1"},
		"two proxies":                     {"10.1.2.3:1", []string{"1.1.1.1, 203.0.113.1, 192.0.2.7"}, "203.0.113.1"},
		"two proxies, two lines":          {"10.1.2.3:1", []string{"1.1.1.1, 203.0.113.1", "192.0.2.7"}, "203.0.113.1"},
		"proxies alone":                   {"10.1.2.3:1", []string{"10.0.0.1, 10.0.0.2"}, "10.0.0.1"},
		"no address":                      {"10.1.2.3:1", []string{"203.0.113.1, unknown"}, "10.1.2.3"},
		"no address, two proxies":         {"10.1.2.3:1", []string{"203.0.113.1, unknown, 192.0.2.7"}, "192.0.2.7"},
		"empty":                           {"10.1.2.3:1", []string{""}, "10.1.2.3"},
		"empty in the end":                {"10.1.2.3:1", []string{"203.0.113.1, "}, "10.1.2.3"},
		"nonsense in front":               {"10.1.2.3:1", []string{"\x00<script>, 203.0.113.1"}, "203.0.113.1"},
		"a port":                          {"10.1.2.3:1", []string{"203.0.113.1:4711"}, "203.0.113.1"},
		"IPv6":                            {"10.1.2.3:1", []string{"2001:db8:2::1"}, "2001:db8:2::1"},
		"IPv6 with a port":                {"10.1.2.3:1", []string{"[2001:db8:2::1]:4711"}, "2001:db8:2::1"},
		"IPv6 in brackets":                {"10.1.2.3:1", []string{"[2001:db8:2::1]"}, "2001:db8:2::1"},
		"IPv6 with a zone":                {"10.1.2.3:1", []string{"fe80::1%eth0"}, "fe80::1"},
		"IPv4 in IPv6":                    {"10.1.2.3:1", []string{"::ffff:203.0.113.1"}, "203.0.113.1"},
		"proxy with IPv6":                 {"[2001:db8:1::1]:1", []string{"203.0.113.1"}, "203.0.113.1"},
		"proxy as IPv4 in IPv6":           {"[::ffff:10.1.2.3]:1", []string{"203.0.113.1"}, "203.0.113.1"},
		"another network of IPv6":         {"[2001:db8:2::1]:1", []string{"203.0.113.1"}, peer},
		"a socket":                        {"@", []string{"203.0.113.1"}, peer},
		"very many proxies":               {"10.1.2.3:1", []string{"203.0.113.1" + strings.Repeat(",10.0.0.1", 5000)}, "10.0.0.1"},
		"very many addresses of a client": {"10.1.2.3:1", []string{strings.Repeat("1.1.1.1,", 3000) + "203.0.113.1"}, "203.0.113.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got authkit.ClientInfo
			h := trust(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = authkit.ClientFrom(r.Context()) }))
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr, r.Header["X-Forwarded-For"] = c.remote, c.header
			r.Header.Set("User-Agent", "agent")
			r.Header.Set("X-Real-Ip", "1.1.1.1")
			r.Header.Set("Forwarded", "for=1.1.1.1")
			h.ServeHTTP(httptest.NewRecorder(), r)
			if c.want == peer {
				require.Empty(t, got)
				return
			}
			require.Equal(t, authkit.ClientInfo{Address: c.want, Device: "agent"}, got)
		})
	}
}

// TestTrustProxiesKeepsTheRest of what is known of a client.
func TestTrustProxiesKeepsTheRest(t *testing.T) {
	t.Parallel()
	trust, err := throttle.TrustProxies(netip.MustParsePrefix("10.0.0.0/8"))
	require.NoError(t, err)
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.1:1"
	r.Header.Set("X-Forwarded-For", "203.0.113.1")
	r = r.WithContext(authkit.WithClient(r.Context(), authkit.ClientInfo{Address: "10.0.0.1", Device: "app", RequestID: "7"}))
	trust(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		require.Equal(t, authkit.ClientInfo{Address: "203.0.113.1", Device: "app", RequestID: "7"}, authkit.ClientFrom(r.Context()))
	})).ServeHTTP(httptest.NewRecorder(), r)
}

func TestTrustProxiesFaults(t *testing.T) {
	t.Parallel()
	_, err := throttle.TrustProxies()
	require.ErrorContains(t, err, "no proxies")
	for text, want := range map[string]string{
		"0.0.0.0/0": "so wide", "128.0.0.0/1": "so wide", "10.0.0.0/7": "so wide", "::/0": "so wide", "2000::/3": "so wide", "2001::/15": "is 2000::/15 meant",
		"::ffff:0.0.0.0/96": "IPv4", "::ffff:10.0.0.0/104": "IPv4", "10.0.0.1/8": "is 10.0.0.0/8 meant",
	} {
		_, err := throttle.TrustProxies(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix(text))
		require.ErrorContains(t, err, want, text)
	}
	_, err = throttle.TrustProxies(netip.Prefix{}, netip.MustParsePrefix("0.0.0.0/0"))
	require.ErrorContains(t, err, "0 is not valid")
	require.ErrorContains(t, err, "so wide")
	for _, text := range []string{"127.0.0.1/32", "10.0.0.0/8", "192.168.0.0/16", "::1/128", "fd00::/16", "2001:db8::/32"} {
		_, err := throttle.TrustProxies(netip.MustParsePrefix(text))
		require.NoError(t, err, text)
	}
}

// TestSpoofedHeader logs in with a new forwarded address each time: no guess more.
func TestSpoofedHeader(t *testing.T) {
	t.Parallel()
	trust, err := throttle.TrustProxies(netip.MustParsePrefix("10.0.0.0/8"))
	require.NoError(t, err)
	s := newService(t)
	h := trust(s.kit.TokenHandler())
	reached := 0
	for i := range 200 {
		r := httptest.NewRequest("POST", "/token", strings.NewReader("username="+strings.Repeat("x", i%50+1)+"@example.com&password=x"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-For", address(i))
		r.RemoteAddr = "198.51.100.1:1"
		if i%2 == 0 { // through the proxy, which adds where it was connected to from
			r.Header.Add("X-Forwarded-For", "198.51.100.1")
			r.RemoteAddr = "10.0.0.1:1"
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusUnauthorized {
			reached++
		}
	}
	require.Equal(t, 20, reached)
}

// TestLimit asserts the middleware, and its headers.
func TestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, func(c *throttle.Config) {
			c.Limits = map[string]throttle.Limit{"search": {Burst: 3, Every: 1500 * time.Millisecond}}
		})
		h := s.limits.Limit("search")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
		get := func(address string) *http.Response {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = address
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, `"search";q=3;w=5`, w.Header().Get("RateLimit-Policy"))
			return w.Result()
		}
		for i := range 3 {
			resp := get([]string{"[2001:db8::1]:1", "[2001:db8::2]:2", "[2001:db8::3]:3"}[i])
			require.Equal(t, http.StatusTeapot, resp.StatusCode)
			require.Empty(t, resp.Header.Get("RateLimit"))
		}
		resp := get("[2001:db8::4]:1")
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		require.Equal(t, "2", resp.Header.Get("Retry-After"))
		require.Equal(t, `"search";r=0;t=2`, resp.Header.Get("RateLimit"))
		require.Equal(t, authkit.Event{Kind: authkit.EventRateLimited, Reason: authkit.ReasonThrottled}, s.last())
		require.Equal(t, http.StatusTeapot, get("192.0.2.1:1").StatusCode)
		time.Sleep(1500 * time.Millisecond)
		require.Equal(t, http.StatusTeapot, get("[2001:db8::4]:1").StatusCode)

		require.Panics(t, func() { s.limits.Limit("unheard") })
		off := newService(t, func(c *throttle.Config) { c.InsecureNoAddressLimits = true })
		h = off.limits.Limit(authkit.ActionHash)(http.NotFoundHandler())
		for range 100 {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			require.Equal(t, http.StatusNotFound, w.Code)
		}
	})
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1":           "192.0.2.1/32",
		"192.0.2.1:443":       "192.0.2.1/32",
		"::ffff:192.0.2.1":    "192.0.2.1/32",
		"2001:db8:0:1:2:3::4": "2001:db8:0:1::/64",
		"[2001:db8::1]:443":   "2001:db8::/64",
		"fe80::1%eth0":        "fe80::/64",
	} {
		prefix, ok := throttle.Network(address)
		require.True(t, ok, address)
		require.Equal(t, want, prefix.String())
	}
	for _, text := range []string{"", "@", "somewhere"} {
		_, ok := throttle.Network(text)
		require.False(t, ok, text)
	}
}
