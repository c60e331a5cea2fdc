package authkit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A from is where a request comes from, as browsers say it.
type from struct {
	site, origin string // Sec-Fetch-Site and Origin; empty: no such header
}

// origins are requests by who sent them, and whether they are taken if they change something.
var origins = map[string]struct {
	from
	taken bool
}{
	"a page of the site":             {from{"same-origin", "https://example.com"}, true},
	"the address bar":                {from{"none", ""}, true},
	"another site":                   {from{"cross-site", "https://evil.example.net"}, false},
	"another site without an Origin": {from{"cross-site", ""}, false},
	"a sandboxed frame":              {from{"cross-site", "null"}, false},
	"a subdomain":                    {from{"same-site", "https://evil.example.com"}, false},
	"another port":                   {from{"same-site", "https://example.com:8443"}, false},
	"the same host without TLS":      {from{"cross-site", "http://example.com"}, false},
	"a trusted origin":               {from{"same-site", "https://app.example.com"}, true},
	"one that claims the site":       {from{"cross-site", "https://example.com"}, false},
	"a value of a later browser":     {from{"same-planet", "https://evil.example.net"}, false},

	"old: a page of the site":           {from{"", "https://example.com"}, true},
	"old: another site":                 {from{"", "https://evil.example.net"}, false},
	"old: a subdomain":                  {from{"", "https://evil.example.com"}, false},
	"old: another port":                 {from{"", "https://example.com:8443"}, false},
	"old: a longer name":                {from{"", "https://example.com.evil.net"}, false},
	"old: a sandboxed frame":            {from{"", "null"}, false},
	"old: the same host without TLS":    {from{"", "http://example.com"}, false},
	"old: a trusted origin":             {from{"", "https://app.example.com"}, true},
	"old: a trusted one without TLS":    {from{"", "http://app.example.com"}, false},
	"a trusted origin without TLS":      {from{"cross-site", "http://intranet.example"}, true},
	"old: a trusted origin without TLS": {from{"", "http://intranet.example"}, true},
	"the site, as the browser says":     {from{"same-origin", "http://example.com"}, true},
	"old: not an origin":                {from{"", "http://%zz"}, false},
	"a program, or a very old browser ": {from{"", ""}, true},
}

func trusting(c *authkit.Config) {
	c.Sessions.Cookies.TrustedOrigins = []string{"https://app.example.com", "http://intranet.example"}
}

// MW-03: another origin changes nothing, and opens no WebSocket.
func TestSessionCookieOrigins(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, h, _ := newSite(t, trusting, events.listen)
	s := surf(t, h)
	token := begin(t, kit)
	for name, c := range origins {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get"} {
			w := s.do(method, "/me", "", "Sec-Fetch-Site", c.site, "Origin", c.origin)
			if c.taken {
				require.Equal(t, 200, w.Code, "%s: %s", name, method)
				continue
			}
			problem(t, w, 403, "The request comes from another origin")
			require.Empty(t, w.Header().Get("WWW-Authenticate"))
			require.Equal(t, authkit.EventAccessDenied, events.last().Kind)
			require.Equal(t, authkit.ReasonCrossOrigin, events.last().Reason)
		}
		for _, method := range []string{"GET", "HEAD"} {
			require.Equal(t, 200, s.do(method, "/me", "", "Sec-Fetch-Site", c.site, "Origin", c.origin).Code, "%s: a link", name)
		}
		// A token is in a header that a page of another origin cannot set.
		r := httptest.NewRequest("POST", "https://example.com/me", nil)
		r.Header.Set("Origin", "https://evil.example.net")
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		require.Equal(t, 200, s.send(r).Code)
	}
	require.Equal(t, 200, s.status("/me"))
}

// A WebSocket is opened by a GET (RFC 6455), or a CONNECT in HTTP/2 (RFC 8441), which browsers
// send across origins with cookies.
func TestSessionCookieWebSockets(t *testing.T) {
	t.Parallel()
	_, h, _ := newSite(t, trusting)
	s := surf(t, h)
	for name, c := range origins {
		want := map[bool]int{true: 200, false: 403}[c.taken]
		for _, upgrade := range []string{"websocket", "WebSocket", "h2c, websocket"} {
			w := s.do("GET", "/me", "", "Sec-Fetch-Site", c.site, "Origin", c.origin, "Sec-Fetch-Mode", "websocket",
				"Connection", "keep-alive, Upgrade", "Upgrade", upgrade, "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
			require.Equal(t, want, w.Code, "%s: %s", name, upgrade)
		}
		r := httptest.NewRequest(http.MethodConnect, "https://example.com/me", nil)
		r.ProtoMajor, r.ProtoMinor, r.Proto = 2, 0, "HTTP/2.0"
		r.URL.Path, r.Host = "/me", "example.com"
		r.Header[":protocol"] = []string{"websocket"}
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: s.cookie})
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		require.Equal(t, want, s.send(r).Code, "%s: HTTP/2", name)
	}
	s.cookie = ""
	problem(t, s.do("GET", "/me", "", "Upgrade", "websocket"), 401, "Not authenticated")
}

// Browsers take Secure cookies from loopback addresses without TLS, and some send no
// Sec-Fetch-Site with a WebSocket.
func TestSessionCookieOnLoopback(t *testing.T) {
	t.Parallel()
	_, h, _ := newSite(t)
	cookie := surf(t, h).cookie
	for host, status := range map[string]int{
		"localhost:8080": 200, "app.localhost": 200, "127.0.0.1:8080": 200, "127.1.2.3": 200, "[::1]:8080": 200,
		"10.0.0.7:8080": 403, "example.com": 403, "localhost.example.com": 403, "notlocalhost": 403,
	} {
		r := httptest.NewRequest("POST", "/me", nil)
		r.Host = host
		r.Header.Set("Origin", "http://"+host)
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: cookie})
		require.Equal(t, status, (&surfer{h: h}).send(r).Code, host)
	}
}

// MW-03: no other origin logs a browser in, to the account of an attacker, or out.
func TestFormHandlersRefuseOtherOrigins(t *testing.T) {
	t.Parallel()
	var events recorder
	_, h, _ := newSite(t, trusting, events.listen)
	for name, c := range origins {
		s := &surfer{h: h}
		w := s.do("POST", "/login", form("username", email, "password", password), "Sec-Fetch-Site", c.site, "Origin", c.origin)
		if !c.taken {
			problem(t, w, 403, "The request comes from another origin")
			require.Nil(t, s.set, name)
			require.Equal(t, authkit.Event{Kind: authkit.EventAccessDenied, Reason: authkit.ReasonCrossOrigin, Route: "/login"}, events.last())
			s = surf(t, h)
		}
		require.Equal(t, 200, s.status("/me"), name)
		w = s.do("POST", "/logout", "", "Sec-Fetch-Site", c.site, "Origin", c.origin)
		if c.taken {
			require.Equal(t, http.StatusSeeOther, w.Code, name)
			continue
		}
		problem(t, w, 403, "The request comes from another origin")
		require.Nil(t, s.set, name)
		require.Equal(t, 200, s.status("/me"), name)
	}
}

// Middleware that changes the method of a request does not get around the check.
func TestSessionCookieMethodOverride(t *testing.T) {
	t.Parallel()
	kit, h, _ := newSite(t)
	s := surf(t, h)
	inner := kit.Authenticate(whoami)
	s.h = kit.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Method = http.MethodDelete
		inner.ServeHTTP(w, r)
	}))
	require.Equal(t, 200, s.do("GET", "/", "").Code)
	require.Equal(t, 403, s.do("GET", "/", "", "Sec-Fetch-Site", "cross-site").Code)
}
