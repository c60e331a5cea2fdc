package authkit_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

const (
	resourceURL  = "https://api.example.com/mcp"
	metadataURL  = "https://api.example.com/.well-known/oauth-protected-resource/mcp"
	metadataPath = "/.well-known/oauth-protected-resource/mcp"
)

// resourceGuard returns a guard of a resource with routes, and an issuer of
// tokens for an audience.
func resourceGuard(t *testing.T, change ...func(*authkit.GuardConfig)) (*authkit.Mux, func(audience string, roles ...string) string) {
	t.Helper()
	keys := []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")}}
	cfg := authkit.GuardConfig{
		Tokens:   authkit.TokenConfig{Keys: keys},
		Roles:    map[string][]string{"reader": {"tools:call", "tools:list"}, "none": nil},
		Resource: &authkit.ResourceConfig{URL: resourceURL, AuthorizationServers: []string{"https://auth.example.com"}, Name: "Tools"},
		Logger:   slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	guard, err := authkit.NewGuard(cfg)
	require.NoError(t, err)
	mux := guard.NewMux()
	if cfg.Resource != nil {
		mux.HandleResource()
	}
	ok := func(http.ResponseWriter, *http.Request) {}
	mux.HandleFunc("POST /mcp", authkit.Permissions("tools:list", "tools:call").OrMachines(), ok)
	mux.HandleFunc("GET /role", authkit.Roles("reader"), ok)
	mux.HandleFunc("GET /gone", authkit.Authenticated().And("nothing", func(*http.Request) (context.Context, error) { return nil, authkit.ErrNotFound }), ok)
	mux.HandleFunc("GET /fresh", authkit.Authenticated().Fresh(time.Minute), ok)
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: keys})
	require.NoError(t, err)
	return mux, func(audience string, roles ...string) string {
		c := authkit.Claims{Subject: "ann", Roles: roles}
		if audience != "" {
			c.Audience = []string{audience}
		}
		token, err := issuer.Issue(c)
		require.NoError(t, err)
		return token
	}
}

func askResource(mux http.Handler, method, path, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "attacker.example.com"
	r.Header.Set("Origin", "https://page.example.com")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

// MC-01: challenges name the metadata, and all scopes of the route.
func TestResourceChallenges(t *testing.T) {
	t.Parallel()
	mux, token := resourceGuard(t)
	const meta = `resource_metadata="` + metadataURL + `"`
	for _, c := range []struct {
		method, path, token string
		status              int
		want                string
	}{
		{"POST", "/mcp", "", 401, `Bearer scope="tools:list tools:call", ` + meta},
		{"POST", "/mcp", "x", 401, `Bearer error="invalid_token", scope="tools:list tools:call", ` + meta},
		{"POST", "/mcp", token(resourceURL, "none"), 403, `Bearer error="insufficient_scope", scope="tools:list tools:call", ` + meta},
		{"POST", "/mcp", token(resourceURL, "reader"), 200, ""},
		{"GET", "/role", "", 401, `Bearer ` + meta},
		{"GET", "/role", token(resourceURL, "none"), 403, `Bearer error="insufficient_scope", ` + meta},
		{"GET", "/gone", token(resourceURL), 404, ""},
		{"GET", "/fresh", token(resourceURL), 401, `Bearer error="insufficient_user_authentication", error_description="A more recent or stronger login is required", max_age="60", ` + meta},
	} {
		w := askResource(mux, c.method, c.path, c.token)
		assert.Equal(t, c.status, w.Code, "%s %s", c.path, c.token)
		assert.Equal(t, c.want, w.Header().Get("WWW-Authenticate"), "%s %d", c.path, c.status)
		assert.Empty(t, w.Header().Get("Access-Control-Allow-Origin"), c.path)
	}
	plain, _ := resourceGuard(t, func(c *authkit.GuardConfig) { c.Resource = nil })
	require.Equal(t, `Bearer`, askResource(plain, "POST", "/mcp", "").Header().Get("WWW-Authenticate"))
	require.Equal(t, `Bearer error="invalid_token"`, askResource(plain, "POST", "/mcp", "x").Header().Get("WWW-Authenticate"))
}

// MC-02: the audience is the resource, as text.
func TestResourceAudience(t *testing.T) {
	t.Parallel()
	mux, token := resourceGuard(t)
	for _, audience := range []string{"", "https://api.example.com", resourceURL + "/", "https://API.example.com/mcp", "https://api.example.com/mcp/other", "https://api.example.com:443/mcp", "http://api.example.com/mcp"} {
		require.Equal(t, 401, askResource(mux, "POST", "/mcp", token(audience, "reader")).Code, audience)
	}
	require.Equal(t, 200, askResource(mux, "POST", "/mcp", token(resourceURL, "reader")).Code)
}

// MC-03: the metadata is static, and the only route that pages of other origins
// can read.
func TestResourceMetadata(t *testing.T) {
	t.Parallel()
	mux, _ := resourceGuard(t)
	for _, method := range []string{"GET", "HEAD"} {
		w := askResource(mux, method, metadataPath, "")
		require.Equal(t, 200, w.Code)
		require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.Equal(t, "public, max-age=300", w.Header().Get("Cache-Control"))
		require.JSONEq(t, `{"resource":"https://api.example.com/mcp","authorization_servers":["https://auth.example.com"],
			"scopes_supported":["tools:call","tools:list"],"bearer_methods_supported":["header"],"resource_name":"Tools"}`, w.Body.String())
	}
	w := askResource(mux, "OPTIONS", metadataPath, "")
	require.Equal(t, 204, w.Code)
	require.Equal(t, "GET, HEAD", w.Header().Get("Access-Control-Allow-Methods"))
	require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Headers"))
	require.Equal(t, 405, askResource(mux, "POST", metadataPath, "").Code)
	require.Equal(t, "public", mux.AccessMatrix()[0].Policy.String())

	root, _ := resourceGuard(t, func(c *authkit.GuardConfig) {
		c.Resource.URL, c.Resource.AuthorizationServers, c.Resource.Scopes, c.Tokens.Issuer = "https://api.example.com", nil, []string{}, "https://issuer.example.com"
	})
	w = askResource(root, "GET", "/.well-known/oauth-protected-resource", "")
	require.JSONEq(t, `{"resource":"https://api.example.com","authorization_servers":["https://issuer.example.com"],"bearer_methods_supported":["header"],"resource_name":"Tools"}`, w.Body.String())

	// The servers are not those of the configuration beside, and each permission is named once.
	both, _ := resourceGuard(t, func(c *authkit.GuardConfig) {
		c.Tokens.Issuer = "https://issuer.example.com"
		c.Roles["writer"], c.Roles["reader"] = []string{"tools:write", "tools:list"}, []string{"tools:list", "tools:call"}
	})
	require.JSONEq(t, `{"resource":"https://api.example.com/mcp","authorization_servers":["https://auth.example.com"],
		"scopes_supported":["tools:call","tools:list","tools:write"],"bearer_methods_supported":["header"],"resource_name":"Tools"}`,
		askResource(both, "GET", metadataPath, "").Body.String())

	// A Kit has the same, for the tokens that it issues.
	kit, err := authkit.New(authkit.Config{
		Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Resource: &authkit.ResourceConfig{URL: "http://127.0.0.1:8000", AuthorizationServers: []string{"http://127.0.0.1:8000"}},
	})
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:8000", kit.Settings().Tokens.Audience)
	require.Contains(t, kit.Settings().String(), "Resource=http://127.0.0.1:8000")
	own := kit.NewMux()
	own.HandleResource()
	require.Equal(t, 200, askResource(own, "GET", "/.well-known/oauth-protected-resource", "").Code)
}

// Loopback addresses need no TLS. The slash after a host belongs to the identifier, and not to the path
// of the metadata (RFC 9728 section 3.1).
func TestResourceURLs(t *testing.T) {
	t.Parallel()
	for resource, path := range map[string]string{
		"https://api.example.com/": "", "http://localhost:8000/mcp": "/mcp", "http://127.0.0.1/mcp": "/mcp", "http://[::1]:8000": "",
	} {
		mux, _ := resourceGuard(t, func(c *authkit.GuardConfig) { c.Resource.URL = resource })
		w := askResource(mux, "GET", "/.well-known/oauth-protected-resource"+path, "")
		require.Equal(t, 200, w.Code, resource)
		require.Contains(t, w.Body.String(), `{"resource":"`+resource+`"`)
	}
}

func TestResourceFaults(t *testing.T) {
	t.Parallel()
	keys := authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")}}}
	for _, bad := range []string{
		"", "api", "http://api.example.com", "http://127.evil.example.com", "https://", "https://a@api.example.com", "https://api.example.com/?x", "https://api.example.com/#x", "https://api.example.com/mcp#",
		"https://[::1", "https://api.example.com/%zz", "https://api.example.com/mcp/", "https://api.example.com/{x}", "https://api.example.com/%2f", `https://api.example.com/"`, "ftp://api.example.com",
		"ftp://localhost/mcp", "https://api.example.com/a%2fb", "https://api.example.com/%41", "https://api.example.com/mcp?", `https://api"example"/mcp`,
	} {
		_, err := authkit.NewGuard(authkit.GuardConfig{Tokens: keys, Resource: &authkit.ResourceConfig{URL: bad, AuthorizationServers: []string{"https://auth.example.com"}}})
		require.ErrorContains(t, err, "GuardConfig.Resource.URL", bad)
	}
	_, err := authkit.NewGuard(authkit.GuardConfig{Tokens: keys, Resource: &authkit.ResourceConfig{URL: resourceURL}})
	require.ErrorContains(t, err, "Resource.AuthorizationServers: empty")
	_, err = authkit.NewGuard(authkit.GuardConfig{Tokens: keys, Resource: &authkit.ResourceConfig{URL: resourceURL, AuthorizationServers: []string{"auth"}}})
	require.ErrorContains(t, err, "Resource.AuthorizationServers")
	other := keys
	other.Audience = "https://api.example.com"
	_, err = authkit.NewGuard(authkit.GuardConfig{Tokens: other, Resource: &authkit.ResourceConfig{URL: resourceURL, AuthorizationServers: []string{"https://auth.example.com"}}})
	require.ErrorContains(t, err, "Tokens.Audience")
	guard, err := authkit.NewGuard(authkit.GuardConfig{Tokens: keys})
	require.NoError(t, err)
	for _, mux := range []*authkit.Mux{guard.NewMux(), new(authkit.Mux)} {
		require.PanicsWithValue(t, "authkit: HandleResource without a resource; set Config.Resource or GuardConfig.Resource", mux.HandleResource)
	}
}

// MC-01: the scope that a user gave to a client limits the token of the user.
func TestResourceScopeOfAUser(t *testing.T) {
	t.Parallel()
	mux, _ := resourceGuard(t)
	other, _ := resourceGuard(t, func(c *authkit.GuardConfig) { c.Resource, c.Tokens.Audience = nil, resourceURL })
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Audience: resourceURL, Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")}}})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		scope                []string
		role                 string
		tools, inRole, login int
	}{
		"absent":       {nil, "reader", 200, 200, 200},
		"all":          {[]string{"tools:call", "tools:list"}, "reader", 200, 403, 200},
		"some":         {[]string{"openid", "tools:call"}, "reader", 403, 403, 200},
		"empty":        {[]string{}, "reader", 403, 403, 200},
		"without role": {[]string{"tools:call", "tools:list"}, "none", 403, 403, 200},
	} {
		token, err := issuer.Issue(authkit.Claims{Subject: "ann", Roles: []string{test.role}, Scope: test.scope, AuthTime: time.Now()})
		require.NoError(t, err)
		assert.Equal(t, test.tools, askResource(mux, "POST", "/mcp", token).Code, name)
		assert.Equal(t, test.inRole, askResource(mux, "GET", "/role", token).Code, name)
		assert.Equal(t, test.login, askResource(mux, "GET", "/fresh", token).Code, name)
		if test.role == "reader" {
			assert.Equal(t, 200, askResource(other, "POST", "/mcp", token).Code, "not a resource: "+name)
		}
	}
}

// Some issuers end with a slash, and are compared as text.
func TestResourceServerWithSlash(t *testing.T) {
	t.Parallel()
	mux, _ := resourceGuard(t, func(c *authkit.GuardConfig) {
		c.Resource.AuthorizationServers = []string{"https://auth.example.com/app/"}
	})
	require.Contains(t, askResource(mux, "GET", metadataPath, "").Body.String(), `["https://auth.example.com/app/"]`)
}
