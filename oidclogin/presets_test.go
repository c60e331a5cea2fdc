package oidclogin_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
)

// fakes answers for hosts of the internet.
type fakes map[string]http.HandlerFunc

func (f fakes) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	handle := f[r.URL.Host+r.URL.Path]
	if handle == nil {
		handle = http.NotFound
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	handle(w, r)
	return w.Result(), nil
}

func text(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

// GitHub answers as it does: a form with a token, errors with the status 200, a
// number as the ID, a null for a name, and a list of addresses of which the
// primary one may be unverified (OA-02, OA-03).
func TestGitHub(t *testing.T) {
	t.Parallel()
	const tokenURL, userURL, emailsURL = "github.com/login/oauth/access_token", "api.github.com/user", "api.github.com/user/emails"
	const primary = `[{"email":"old@example.com","primary":false,"verified":true,"visibility":null},{"email":"Octo@Example.com","primary":true,"verified":true,"visibility":"private"}]`
	const user = `{"login":"octo","id":583231,"node_id":"MDQ6VXNlcjU4MzIzMQ==","name":null,"email":"public@example.com","type":"User","site_admin":false}`
	for name, c := range map[string]struct {
		token, user, emails string
		status              int
		email               string
	}{
		"a user":                 {"access_token=gho_abc&scope=read%3Auser%2Cuser%3Aemail&token_type=bearer", user, primary, 303, "octo@example.com"},
		"a code that is used up": {"error=bad_verification_code&error_description=The+code+passed+is+incorrect+or+expired.", user, primary, 401, ""},
		"an unverified address":  {"access_token=gho_abc&token_type=bearer", user, strings.ReplaceAll(primary, `"primary":true,"verified":true`, `"primary":true,"verified":false`), 409, ""},
		"no primary address":     {"access_token=gho_abc&token_type=bearer", user, `[{"email":"old@example.com","primary":false,"verified":true}]`, 409, ""},
		"a text for verified":    {"access_token=gho_abc&token_type=bearer", user, strings.ReplaceAll(primary, `"verified":true`, `"verified":"true"`), 401, ""},
		"no addresses":           {"access_token=gho_abc&token_type=bearer", user, `[]`, 409, ""},
		"no number":              {"access_token=gho_abc&token_type=bearer", `{"login":"octo","id":0}`, primary, 401, ""},
		"a text as number":       {"access_token=gho_abc&token_type=bearer", `{"login":"octo","id":"583231"}`, primary, 401, ""},
		"a refusal":              {"access_token=gho_abc&token_type=bearer", user, "403", 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, []oidclogin.Provider{oidclogin.GitHub("id", "secret")})
			api := func(body string) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") != "Bearer gho_abc" || body == "403" {
						w.WriteHeader(http.StatusForbidden)
						return
					}
					text("application/json; charset=utf-8", body)(w, r)
				}
			}
			oidclogin.SetTransport(a.Logins, "github", fakes{
				tokenURL: func(w http.ResponseWriter, r *http.Request) {
					require.NotEmpty(t, r.PostFormValue("code_verifier"))
					require.Equal(t, "secret", r.PostFormValue("client_secret"))
					text("application/x-www-form-urlencoded; charset=utf-8", c.token)(w, r)
				},
				userURL: api(c.user), emailsURL: api(c.emails),
			})
			b := a.browser()
			u, err := url.Parse(b.do("GET", "/oidc/github", nil).Header.Get("Location"))
			require.NoError(t, err)
			require.Equal(t, "https://github.com/login/oauth/authorize", u.Scheme+"://"+u.Host+u.Path)
			require.Equal(t, "read:user user:email", u.Query().Get("scope"))
			require.Equal(t, "S256", u.Query().Get("code_challenge_method"))
			require.Empty(t, u.Query().Get("nonce"))
			p := b.do("GET", "/oidc/github/callback?code=c&state="+u.Query().Get("state"), nil)
			require.Equal(t, c.status, p.StatusCode, p.body)
			if c.status == http.StatusSeeOther {
				require.Equal(t, c.email, b.requireUser(p).Email)
				id, err := a.store.IdentityBySubject(t.Context(), "https://github.com/login/oauth", "583231")
				require.NoError(t, err)
				require.Equal(t, "github", id.Provider)
			}
			require.Equal(t, http.StatusBadRequest, b.do("GET", "/oidc/github?max_age=60", nil).StatusCode, "GitHub cannot say when it authenticated a user")
		})
	}
}

// Apple answers with a cross-site POST, a name that comes once and unsigned, and
// texts for booleans (OA-03a, OA-11).
func TestApple(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	secrets := map[string]bool{}
	login := func(t *testing.T, a *app, h *hostile, user string) (*client, page) {
		metadata := text("application/json", `{"issuer":"https://appleid.apple.com","authorization_endpoint":"https://appleid.apple.com/auth/authorize",
			"token_endpoint":"https://appleid.apple.com/auth/token","jwks_uri":"https://appleid.apple.com/auth/keys","response_modes_supported":["query","fragment","form_post"],
			"id_token_signing_alg_values_supported":["RS256"],"token_endpoint_auth_methods_supported":["client_secret_post"]}`)
		var request url.Values
		oidclogin.SetTransport(a.Logins, "apple", fakes{
			"appleid.apple.com/.well-known/openid-configuration": metadata,
			"appleid.apple.com/auth/keys": func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path = "/keys"
				h.serve(w, r)
			},
			"appleid.apple.com/auth/token": func(w http.ResponseWriter, r *http.Request) {
				token, err := jwt.Parse(r.PostFormValue("client_secret"), func(*jwt.Token) (any, error) { return &key.PublicKey, nil },
					jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer("TEAM"), jwt.WithSubject(clientID), jwt.WithAudience("https://appleid.apple.com"), jwt.WithExpirationRequired())
				require.NoError(t, err)
				require.Equal(t, "KEY", token.Header["kid"])
				require.False(t, secrets[token.Raw], "one secret for two exchanges")
				secrets[token.Raw] = true
				at := time.Now()
				c := jwt.MapClaims{"iss": "https://appleid.apple.com", "aud": clientID, "iat": at.Unix(), "exp": at.Add(time.Hour).Unix(), "nonce": request.Get("nonce"), "nonce_supported": true, "is_private_email": "true"}
				for name, value := range h.user {
					c[name] = value
				}
				delete(c, "name")
				body, err := json.Marshal(map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 3600, "id_token": rs256(c)})
				require.NoError(t, err)
				text("application/json", string(body))(w, r)
			},
		})
		b := a.browser()
		u, err := url.Parse(b.do("GET", "/oidc/apple?return=/there", nil).Header.Get("Location"))
		require.NoError(t, err)
		request = u.Query()
		require.Equal(t, "form_post", request.Get("response_mode"))
		require.Equal(t, "openid name email", request.Get("scope"))
		form := url.Values{"code": {"c"}, "state": {request.Get("state")}}
		if user != "" {
			form.Set("user", user)
		}
		// No cookie arrives with a POST from another site.
		p := b.do("POST", "/oidc/apple/callback", form, "Origin", "https://appleid.apple.com", "Sec-Fetch-Site", "cross-site")
		require.Equal(t, http.StatusSeeOther, p.StatusCode, p.body)
		require.Empty(t, p.Cookies())
		location := p.Header.Get("Location")
		require.True(t, strings.HasPrefix(location, site+"/oidc/apple/callback?"), location)
		require.NotContains(t, location, "Ada")
		require.NotContains(t, location, "id_token")
		require.Zero(t, a.accounts())
		return b, b.do("GET", location, nil, "Sec-Fetch-Site", "cross-site")
	}
	provider := oidclogin.Apple(clientID, "TEAM", "KEY", key)
	for verified, want := range map[any]int{"true": 303, true: 303, "false": 409, false: 409, nil: 409, "TRUE": 409, 1: 409} {
		h := newHostile(t)
		h.as("000000.abc", "x@privaterelay.appleid.com", verified)
		a := newApp(t, []oidclogin.Provider{provider})
		b, p := login(t, a, h, `{"name":{"firstName":"Ada","lastName":"Lovelace"},"email":"root@example.com"}`)
		require.Equal(t, want, p.StatusCode, "%v: %s", verified, p.body)
		if want == http.StatusSeeOther {
			u := b.requireUser(p)
			require.Equal(t, "Ada Lovelace", u.FullName)
			require.Equal(t, "x@privaterelay.appleid.com", u.Email, "the address of the POST is not signed")
			require.Equal(t, "/there", p.Header.Get("Location"))
		}
	}
	for _, user := range []string{"", "no JSON", `{"name":"text"}`, `[]`} {
		h := newHostile(t)
		h.as("1", "x@example.com", true)
		a := newApp(t, []oidclogin.Provider{provider})
		b, p := login(t, a, h, user)
		require.Empty(t, b.requireUser(p).FullName)
	}

	// A POST that is no answer changes nothing, and the route exists for Apple
	// alone.
	a := newApp(t, []oidclogin.Provider{provider, generic(newHostile(t))})
	for _, form := range []url.Values{{}, {"state": {"s"}}, {"code": {"c"}}, {"state": {"s", "t"}, "code": {"c"}}, {"state": {"s\n"}, "code": {"c"}}} {
		require.Equal(t, http.StatusBadRequest, a.browser().do("POST", "/oidc/apple/callback", form, "Sec-Fetch-Site", "cross-site").StatusCode, form)
	}
	require.Equal(t, http.StatusMethodNotAllowed, a.browser().do("POST", "/oidc/idp/callback", url.Values{"state": {"s"}, "code": {"c"}}).StatusCode)
}

// OA-02, OA-03: the address of a Microsoft account never links, and a tenant is
// pinned.
func TestMicrosoft(t *testing.T) {
	t.Parallel()
	const tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	p := oidclogin.Microsoft(tenant, clientID, clientSecret)
	require.Equal(t, "https://login.microsoftonline.com/"+tenant+"/v2.0", p.Issuer)
	require.Equal(t, oidclogin.EmailIgnored, p.Email)
	newApp(t, []oidclogin.Provider{p})
	for _, trust := range []oidclogin.EmailTrust{oidclogin.EmailVerified, oidclogin.EmailLinks} {
		p.Email = trust
		require.ErrorContains(t, newError(t, p), "EmailIgnored")
	}
	for _, tenant := range []string{"common", "organizations", "consumers", "", "contoso.onmicrosoft.com", strings.ToUpper(tenant)} {
		require.ErrorContains(t, newError(t, oidclogin.Microsoft(tenant, "id", "secret")), "tenant", tenant)
	}
}

// newError returns the error of New for a provider.
func appleKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func newError(t *testing.T, p oidclogin.Provider) error {
	t.Helper()
	a := newApp(t, []oidclogin.Provider{oidclogin.Google("id", "secret")})
	_, err := oidclogin.New(a.kit, oidclogin.Config{BaseURL: site, Store: a.store, Providers: []oidclogin.Provider{p}})
	require.Error(t, err)
	return err
}

// New reports all problems at once, and dials nothing.
func TestNewErrors(t *testing.T) {
	t.Parallel()
	kit, err := authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: authkit.NewMemoryStore()})
	require.NoError(t, err)
	_, err = oidclogin.New(nil, oidclogin.Config{})
	require.Error(t, err)
	_, err = oidclogin.New(kit, oidclogin.Config{
		BaseURL: "http://example.com/oidc", Roles: []string{"no role!"}, Store: new(oidclogin.MemoryStore),
		Providers: []oidclogin.Provider{
			{Name: "Not a name", Issuer: "http://example.com", Email: 7},
			{Name: "mailbox", Issuer: "https://user@example.com", ClientID: "id", KeepTokens: true},
			{Name: "x", Issuer: "http://127.0.0.1", ClientID: "id", Untrusted: true, Email: oidclogin.EmailVerified},
			{Name: "x", Issuer: "https://example.com", ClientID: "id"},
			oidclogin.Apple("id", "", "", nil),
		},
	})
	for _, part := range []string{"BaseURL", "Roles", "Store", "session cookies", "Name: use", "Issuer: use", "ClientID: is empty", "Email: use", "element 1", "element 2", "must be an https URL",
		"EmailIgnored", "name of another", "key is missing", "Keys"} {
		require.ErrorContains(t, err, part)
	}
	require.ErrorContains(t, withoutUserData(t), "UserData")
	a := newApp(t, []oidclogin.Provider{{Name: "dead", Issuer: "https://127.0.0.1:1", ClientID: "id"}})
	p := a.browser().do("GET", "/oidc/dead", nil)
	require.Equal(t, http.StatusServiceUnavailable, p.StatusCode)
	require.NotEmpty(t, p.Header.Get("Retry-After"))
	require.Contains(t, a.kinds(), oidclogin.EventProviderFailure)
	for _, finding := range a.Check(t.Context()) {
		require.Equal(t, "oidclogin_dead", finding.Code)
	}
	require.Len(t, a.Check(t.Context()), 1)
}

func withoutUserData(t *testing.T) error {
	t.Helper()
	users := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: users, UserData: []authkit.UserData{oidclogin.UserData(oidclogin.NewMemoryStore())},
		Sessions: authkit.SessionConfig{Store: users, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}},
	})
	require.NoError(t, err)
	_, err = oidclogin.New(kit, oidclogin.Config{BaseURL: site, Store: oidclogin.NewMemoryStore(), Providers: []oidclogin.Provider{oidclogin.Google("id", "secret")}})
	return err
}

// No way of printing shows a secret.
func TestSecretsAreRedacted(t *testing.T) {
	t.Parallel()
	p := oidclogin.Google("id", "the secret")
	c := oidclogin.Config{Providers: []oidclogin.Provider{p}, Keys: [][]byte{[]byte("the secret")}}
	id := oidclogin.Identity{ID: "1", Tokens: []byte("the secret")}
	for _, v := range []any{p, &p, c, &c, id, &id, []any{p, c}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
			require.NotContains(t, sprintf(format, v), "the secret")
			require.NotContains(t, sprintf(format, v), "746865207365")
		}
		text, err := json.Marshal(id)
		require.NoError(t, err)
		require.NotContains(t, string(text), "okens")
	}
}

// OA-08: discovery happens at first use, and once for many logins at once. A
// provider that fails later does not end logins.
func TestDiscoveryIsCached(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	var mu sync.Mutex
	calls := 0
	h.metadata = func(map[string]any) { mu.Lock(); calls++; mu.Unlock() }
	a := newApp(t, []oidclogin.Provider{generic(h)})
	require.Zero(t, calls)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() { a.browser().do("GET", "/oidc/idp", nil) })
	}
	group.Wait()
	c := a.browser()
	c.requireUser(c.login())
	require.Equal(t, 1, calls)
	require.Empty(t, a.Check(t.Context()))
	h.metadata = func(m map[string]any) { m["code_challenge_methods_supported"] = []string{"plain"} }
	require.Len(t, a.Check(t.Context()), 1)
}

// A client that leaves does not end the discovery that others wait for.
func TestDiscoveryOutlivesItsClient(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	arrived, proceed := make(chan struct{}), make(chan struct{})
	h.handle["/.well-known/openid-configuration"] = func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-proceed
		delete(h.handle, r.URL.Path)
		h.serve(w, r)
	}
	a := newApp(t, []oidclogin.Provider{generic(h)})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/oidc/idp", nil))
		left <- w.Code
	}()
	<-arrived
	cancel()
	require.Equal(t, http.StatusServiceUnavailable, <-left)
	close(proceed)
	c := a.browser()
	c.requireUser(c.login())
}

// OA-08: an issuer that a user has entered cannot lead into the network of the
// program. Link-local addresses are refused for every provider.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, allowed := range map[string][2]bool{ // of trusted and untrusted providers
		"93.184.216.34:443": {true, true}, "[2606:2800:220:1::1]:443": {true, true},
		"127.0.0.1:443": {true, false}, "[::1]:443": {true, false}, "10.0.0.1:443": {true, false}, "192.168.1.1:443": {true, false}, "172.16.0.1:443": {true, false},
		"100.64.0.1:443": {true, false}, "[fd00::1]:443": {true, false}, "[::ffff:10.0.0.1]:443": {true, false}, "[64:ff9b::a00:1]:443": {true, false}, "[2002:a00:1::]:443": {true, false},
		"255.255.255.255:443": {true, false}, "0.0.0.1:443": {true, false}, "192.0.0.8:443": {true, false}, "198.18.0.1:443": {true, false}, "240.0.0.1:443": {true, false},
		"[fec0::1]:443": {true, false}, "[::a00:1]:443": {true, false},
		"169.254.169.254:80": {}, "[fe80::1%eth0]:80": {}, "[::ffff:169.254.169.254]:80": {}, "0.0.0.0:80": {}, "[::]:80": {}, "224.0.0.1:80": {}, "example.com:80": {}, "": {},
	} {
		require.Equal(t, allowed[0], oidclogin.CheckAddress(address, false) == nil, address)
		require.Equal(t, allowed[1], oidclogin.CheckAddress(address, true) == nil, address)
	}
	a := newApp(t, []oidclogin.Provider{{Name: "theirs", Issuer: "https://localhost:1", ClientID: "id", Untrusted: true}})
	found := a.Check(t.Context())
	require.Len(t, found, 1)
	require.Contains(t, found[0].Text, "address that is not allowed")
	require.False(t, oidclogin.UsesProxy(a.Logins, "theirs"), "a proxy hides the address of the host")
}

// A program can render the pages itself.
func TestOwnPages(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	var kinds []oidclogin.PageKind
	a := newApp(t, []oidclogin.Provider{generic(h)}, func(_ *authkit.Config, c *oidclogin.Config) {
		c.Page = func(w http.ResponseWriter, _ *http.Request, p oidclogin.Page) {
			kinds = append(kinds, p.Kind)
			w.WriteHeader(p.Status)
			_, _ = io.Copy(w, bytes.NewBufferString(p.Text))
		}
	})
	a.add("ann@example.com", true)
	require.Contains(t, a.browser().login().body, "The provider")
	h.as("ann", nil, nil)
	a.browser().login()
	require.Equal(t, []oidclogin.PageKind{oidclogin.PageExists, oidclogin.PageNoMailbox}, kinds)
}
