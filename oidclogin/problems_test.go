package oidclogin_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
)

// New refuses each mistake alone.
func TestProviderProblems(t *testing.T) {
	t.Parallel()
	a := newApp(t, []oidclogin.Provider{oidclogin.Google("id", "secret")})
	with := func(change func(*oidclogin.Provider)) error {
		p := oidclogin.Provider{Name: "idp", Issuer: "https://idp.example.com", ClientID: "id"}
		change(&p)
		_, err := oidclogin.New(a.kit, oidclogin.Config{BaseURL: site, Store: a.store, Providers: []oidclogin.Provider{p}})
		return err
	}
	for _, name := range []string{"a", "az-09", strings.Repeat("x", 64)} {
		require.NoError(t, with(func(p *oidclogin.Provider) { p.Name = name }), name)
	}
	for _, name := range []string{"", "A", "a_b", "a/b", "mailbox", "identities", strings.Repeat("x", 65)} {
		require.ErrorContains(t, with(func(p *oidclogin.Provider) { p.Name = name }), "Name: use", name)
	}
	for _, issuer := range []string{"https://idp.example.com/tenant", "http://localhost:8080", "http://127.0.0.1", "http://[::1]:80"} {
		require.NoError(t, with(func(p *oidclogin.Provider) { p.Issuer = issuer }), issuer)
	}
	for _, issuer := range []string{"", "idp.example.com", "https://", "https://:443", "http://idp.example.com", "ftp://localhost", "https://user@idp.example.com", "https://idp.example.com?x", "https://idp.example.com#x", "https://%zz"} {
		require.ErrorContains(t, with(func(p *oidclogin.Provider) { p.Issuer = issuer }), "Issuer: use", issuer)
	}
	require.ErrorContains(t, with(func(p *oidclogin.Provider) { p.Email = -1 }), "Email: use")
	require.ErrorContains(t, with(func(p *oidclogin.Provider) { p.Email = oidclogin.EmailLinks + 1 }), "Email: use")
	require.ErrorContains(t, with(func(p *oidclogin.Provider) { p.Untrusted, p.Email = true, oidclogin.EmailVerified }), "proves no address")
	require.ErrorContains(t, with(func(p *oidclogin.Provider) { p.Untrusted, p.Issuer = true, "https://%zz" }), "Issuer: use")
	_, err := oidclogin.New(a.kit, oidclogin.Config{BaseURL: site, Store: a.store})
	require.ErrorContains(t, err, "Providers: is empty")

	key := oidclogin.Apple("id", "TEAM", "KEY", nil)
	require.ErrorContains(t, newError(t, key), "key is missing")
	for _, parts := range [][2]string{{"", "KEY"}, {"TEAM", ""}} {
		require.ErrorContains(t, newError(t, oidclogin.Apple("id", parts[0], parts[1], appleKey(t))), "key is missing")
	}
}

// The base URL is a scheme, a host and a plain path.
func TestBaseURL(t *testing.T) {
	t.Parallel()
	a := newApp(t, []oidclogin.Provider{oidclogin.Google("id", "secret")})
	with := func(base string) (*oidclogin.Logins, error) {
		return oidclogin.New(a.kit, oidclogin.Config{BaseURL: base, Store: a.store, Providers: []oidclogin.Provider{oidclogin.Google("id", "secret")}})
	}
	for _, base := range []string{
		"", "/oidc", "http://example.com", "https://%zz", "https://user@example.com", "https://example.com?x", "https://example.com?", "https://example.com#x", "https://example.com/a%2fb",
		"https://example.com/{a}", "https://example.com/a b",
	} {
		_, err := with(base)
		require.ErrorContains(t, err, "Config.BaseURL", base)
	}
	l, err := with("https://example.com/oidc/")
	require.NoError(t, err)
	require.Equal(t, "GET /oidc/identities", l.Routes()[0].Pattern)
}

// A Kit needs transactions, cookies with a login page, and a store of identities.
func TestKitProblems(t *testing.T) {
	t.Parallel()
	providers := []oidclogin.Provider{oidclogin.Google("id", "secret")}
	users := authkit.NewMemoryStore()
	kit := func(c authkit.Config, stores ...oidclogin.Store) *authkit.Kit {
		c.Secret = []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")
		for _, s := range stores {
			c.UserData = append(c.UserData, oidclogin.UserData(s))
		}
		k, err := authkit.New(c)
		require.NoError(t, err)
		return k
	}
	store := oidclogin.NewMemoryStore()
	good := authkit.Config{Users: users, Sessions: authkit.SessionConfig{Store: users, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}}}
	noCookies := good
	noCookies.Sessions.Cookies = nil
	noPage := good
	noPage.Sessions.Cookies = new(authkit.SessionCookieConfig)
	noTx := good
	noTx.Users = struct {
		authkit.UserStore
		authkit.TicketStore
	}{users, users}
	noTickets := good
	noTickets.Users = struct {
		authkit.UserStore
		authkit.Transactor
	}{users, users}
	for want, c := range map[string]struct {
		kit   *authkit.Kit
		store oidclogin.Store
	}{
		"or no tickets; set":        {kit(noTickets, store), store},
		"session cookies are off":   {kit(authkit.Config{Users: users}, store), store},
		"session cookies are off, ": {kit(noCookies, store), store},
		"or have no login page":     {kit(noPage, store), store},
		"the Kit has no":            {kit(noTx, store), store},
		"Config.Store: is missing":  {kit(good, store), nil},
		"Config.Store: is missing;": {kit(good, store), (*oidclogin.MemoryStore)(nil)},
		"Store: is missing; use":    {kit(good, store), new(oidclogin.MemoryStore)},
		"UserData lacks":            {kit(good), store},
	} {
		_, err := oidclogin.New(c.kit, oidclogin.Config{BaseURL: site, Store: c.store, Providers: providers})
		require.ErrorContains(t, err, want)
	}
	_, err := oidclogin.New(kit(good, store), oidclogin.Config{BaseURL: site, Store: store, Providers: providers, Keys: [][]byte{{1}}})
	require.ErrorContains(t, err, "Config.Keys")
}

// OA-08: redirects stay on one host, and there are three at most.
func TestRedirects(t *testing.T) {
	t.Parallel()
	at := func(target string) *http.Request { return httptest.NewRequest("GET", target, nil) }
	first := at("https://idp.example.com/keys")
	require.NoError(t, oidclogin.CheckRedirect(at("https://idp.example.com/other"), []*http.Request{first, first, first}))
	require.Error(t, oidclogin.CheckRedirect(at("https://idp.example.com/other"), []*http.Request{first, first, first, first}))
	for _, target := range []string{"https://other.example.com/keys", "http://idp.example.com/keys", "https://idp.example.com:8443/keys"} {
		require.Error(t, oidclogin.CheckRedirect(at(target), []*http.Request{first}), target)
	}
}

// quiet returns an app whose provider has an https issuer and no network.
func quiet(t *testing.T, trust oidclogin.EmailTrust, changes ...func(*authkit.Config, *oidclogin.Config)) (*app, *hostile) {
	h := &hostile{t: t, codes: map[string]url.Values{}, handle: map[string]http.HandlerFunc{}}
	h.Server = &httptest.Server{URL: "https://idp.example.com"} // which is not started
	h.as("ann", "ann@example.com", true)
	p := generic(h)
	p.Email = trust
	a := newApp(t, []oidclogin.Provider{p}, changes...)
	a.transport = h
	oidclogin.SetTransport(a.Logins, "idp", h)
	return a, h
}

// OA-08: Check finds each mistake in the metadata and the keys of a provider.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	a, h := quiet(t, oidclogin.EmailVerified)
	require.Empty(t, a.Check(t.Context()))
	h.metadata = func(m map[string]any) { m["code_challenge_methods_supported"] = []string{"plain", "S256"} }
	require.Empty(t, a.Check(t.Context()))
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"} {
		for _, bad := range []string{"http://idp.example.com/x", "http://localhost/x", "https://user@idp.example.com/x", "https:///x", "/x", "https://%zz"} {
			h.metadata = func(m map[string]any) { m[name] = bad }
			found := a.Check(t.Context())
			require.Len(t, found, 1, "%s %s", name, bad)
			require.Contains(t, found[0].Text, "no https URL where one belongs", "%s %s", name, bad)
		}
	}
	h.metadata = func(m map[string]any) { m["token_endpoint_auth_methods_supported"] = 5 }
	require.Len(t, a.Check(t.Context()), 1)
	h.metadata = nil
	for text, status := range map[string]int{`{"keys":[]}`: 200, `{"keys":[{}]}`: 404, `{`: 200} {
		h.handle["/keys"] = func(w http.ResponseWriter, r *http.Request) {
			require.Equal(t, "application/json", r.Header.Get("Accept"))
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text))
		}
		require.Len(t, a.Check(t.Context()), 1, text)
	}
	for size, findings := range map[int]int{1 << 20: 0, 1<<20 + 1: 1} {
		h.handle["/keys"] = func(w http.ResponseWriter, _ *http.Request) {
			const keys = `{"keys":[{}]}`
			_, _ = w.Write([]byte(keys + strings.Repeat(" ", size-len(keys))))
		}
		require.Len(t, a.Check(t.Context()), findings, size)
	}
	github := newApp(t, []oidclogin.Provider{oidclogin.GitHub("id", "secret")})
	require.Empty(t, github.Check(t.Context()), "GitHub has no metadata")
}

// OA-08: metadata is used for a day, and longer if the provider is down then.
func TestDiscoveryAfterADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, h := quiet(t, oidclogin.EmailVerified)
		calls, path := 0, "/authorize"
		h.metadata = func(m map[string]any) {
			calls++
			m["authorization_endpoint"] = h.URL + path
		}
		start := func() string {
			u, err := url.Parse(a.browser().do("GET", "/oidc/idp", nil).Header.Get("Location"))
			require.NoError(t, err)
			return u.Path
		}
		require.Equal(t, "/authorize", start())
		path = "/new"
		time.Sleep(24*time.Hour - 1)
		require.Equal(t, "/authorize", start())
		require.Equal(t, 1, calls)
		time.Sleep(time.Nanosecond)
		require.Equal(t, "/new", start())
		require.Equal(t, 2, calls)
		time.Sleep(25 * time.Hour)
		h.handle["/.well-known/openid-configuration"] = http.NotFound
		require.Equal(t, "/new", start())
	})
}

// OA-08: logins that come while the metadata is requested wait for that request.
func TestDiscoveryIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, h := quiet(t, oidclogin.EmailVerified)
		require.Equal(t, 10*time.Second, oidclogin.Timeout(a.Logins, "idp"))
		calls, proceed := 0, make(chan struct{})
		h.handle["/.well-known/openid-configuration"] = func(w http.ResponseWriter, r *http.Request) {
			calls++
			<-proceed
			h.mu.Lock()
			delete(h.handle, r.URL.Path)
			h.mu.Unlock()
			h.serve(w, r)
		}
		statuses := make(chan int, 2)
		for range 2 {
			go func() { statuses <- a.browser().do("GET", "/oidc/idp", nil).StatusCode }()
			synctest.Wait()
		}
		close(proceed)
		require.Equal(t, http.StatusSeeOther, <-statuses)
		require.Equal(t, http.StatusSeeOther, <-statuses)
		require.Equal(t, 1, calls)
	})
}

// The client authenticates with HTTP Basic, unless the provider only takes the
// body, or the client has no secret (RFC 8414 section 2).
func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		secret  string
		methods []string
		basic   bool
	}{
		{clientSecret, nil, true}, {clientSecret, []string{"client_secret_post", "client_secret_basic"}, true}, {clientSecret, []string{"client_secret_post"}, false}, {"", nil, false},
		{"", []string{"client_secret_basic"}, false},
	} {
		a, h := quiet(t, oidclogin.EmailVerified, func(_ *authkit.Config, oc *oidclogin.Config) { oc.Providers[0].ClientSecret = c.secret })
		h.metadata = func(m map[string]any) {
			if c.methods != nil {
				m["token_endpoint_auth_methods_supported"] = c.methods
			}
		}
		asked := 0
		h.handle["/token"] = func(w http.ResponseWriter, r *http.Request) {
			asked++
			_, _, basic := r.BasicAuth()
			require.Equal(t, c.basic, basic)
			require.Equal(t, !basic, r.PostFormValue("client_id") == clientID)
			w.WriteHeader(http.StatusBadRequest)
		}
		require.Equal(t, http.StatusUnauthorized, a.browser().login().StatusCode)
		require.Equal(t, 1, asked, "a code is sent once")
	}
}

// The response tells a refusal from a provider that is down.
func TestTokenEndpointFails(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int{400: 401, 499: 401, 500: 503, 503: 503} {
		a, h := quiet(t, oidclogin.EmailVerified)
		h.handle["/token"] = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"error":"a\nb` + strings.Repeat("x", 400) + `"}`))
		}
		require.Equal(t, want, a.browser().login().StatusCode, status)
		a.mu.Lock()
		for _, e := range a.events {
			if e.Kind == oidclogin.EventProviderFailure {
				require.NotContains(t, e.Err.Error(), "\n")
				require.Less(t, len(e.Err.Error()), 330)
			}
		}
		a.mu.Unlock()
	}
}

// A parameter of a callback has at most 4096 visible characters (RFC 6749
// appendix A). Other callbacks do not reach the provider.
func TestCallbackParameters(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]int{
		strings.Repeat("c", 4096): 401, "a b~!": 401,
		strings.Repeat("c", 4097): 400, "a\tb": 400, "a\x7f": 400, "\u00e4": 400,
	} {
		a, h := quiet(t, oidclogin.EmailVerified)
		h.answer = func(q url.Values) { q.Set("code", code) }
		require.Equal(t, want, a.browser().login().StatusCode, code)
		require.Equal(t, want == 401, h.tokens == 1)
	}
}

// A name becomes one line of at most 128 characters and about 250 bytes. A text
// that is no address counts as none.
func TestPersonFromClaims(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		" Ann\n\u202eBob ": "Ann  Bob", strings.Repeat("x", 128): strings.Repeat("x", 128), strings.Repeat("x", 129): strings.Repeat("x", 128),
		strings.Repeat("\u00e9", 128): strings.Repeat("\u00e9", 126), strings.Repeat("\U0001F600", 100): strings.Repeat("\U0001F600", 63),
	} {
		a, h := quiet(t, oidclogin.EmailVerified)
		h.user["name"] = name
		c := a.browser()
		require.Equal(t, want, c.requireUser(c.login()).FullName)
	}
	for size, status := range map[int]int{255: http.StatusSeeOther, 256: http.StatusUnauthorized} {
		a, h := quiet(t, oidclogin.EmailVerified)
		h.as(strings.Repeat("s", size), "ann@example.com", true)
		require.Equal(t, status, a.browser().login().StatusCode, size)
	}
	a, h := quiet(t, oidclogin.EmailVerified)
	h.as("ann", "no address", true)
	require.Equal(t, http.StatusConflict, a.browser().login().StatusCode)
	require.Zero(t, a.accounts())
}
