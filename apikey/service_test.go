package apikey_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/revocation"
)

// A serviceApp is an app with the client-credentials grant, a service and a key
// of it, and a service without a store that follows the revocations.
type serviceApp struct {
	*app
	key      apikey.Issued
	guard    *authkit.Guard
	follower *revocation.Follower
}

const followedURL = "https://auth.example.com/revocations"

func newServiceApp(t testing.TB, change ...func(*apikey.Config, *authkit.Config)) *serviceApp {
	t.Helper()
	a := &serviceApp{app: newApp(t, append(change, func(_ *apikey.Config, c *authkit.Config) { c.Clients = new(lateClients) })...)}
	a.kit.Settings().Clients.(*lateClients).Authenticator = a.auth
	a.mux.Handle("POST /token", authkit.Public(), a.kit.TokenHandler())
	a.mux.Handle("POST /introspect", authkit.Roles("admin"), a.kit.IntrospectionHandler())
	a.mux.Handle("POST /revoke", authkit.Public(), a.kit.RevocationHandler())
	a.mux.Handle("GET /revocations", authkit.Public(), revocation.Handler(a.kit))
	a.MountServices(a.mux, "/admin/services")
	_, err := a.CreateService(t.Context(), "billing", "editor")
	require.NoError(t, err)
	a.key, err = a.Create(t.Context(), apikey.OfService("billing"), apikey.Options{Scopes: []string{"notes:read"}})
	require.NoError(t, err)
	a.follower, err = revocation.NewFollower(revocation.Config{
		URL: followedURL, Ring: a.kit.KeyRing(), Client: &http.Client{Transport: toMux{a.mux}},
	})
	require.NoError(t, err)
	a.guard, err = authkit.NewGuard(authkit.GuardConfig{
		Tokens: authkit.TokenConfig{Ring: a.kit.KeyRing()}, Roles: a.kit.Settings().Roles, Revoked: a.follower.Revoked,
	})
	require.NoError(t, err)
	require.NoError(t, a.follower.Poll(t.Context()))
	return a
}

// lateClients are the clients of a Kit that is made before them.
type lateClients struct{ *apikey.Authenticator }

// toMux sends requests to a handler.
type toMux struct{ h http.Handler }

func (m toMux) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r.RequestURI = r.URL.RequestURI()
	m.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// token sends a token request. A client that is not empty is that of HTTP Basic.
func (a *serviceApp) token(client string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(client)))
	}
	return record(a.mux, r)
}

// grant returns the form of the grant with a key.
func grant(key string, more ...string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"billing"}, "client_secret": {key}}
	for i := 0; i < len(more); i += 2 {
		form.Add(more[i], more[i+1])
	}
	return form
}

// ofStoreless sends a GET with a token to a guard without a store.
func (a *serviceApp) ofStoreless(t testing.TB, token string, p authkit.Policy) (int, authkit.Principal) {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	var who authkit.Principal
	w := record(a.guard.Require(p)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { who, _ = authkit.PrincipalFrom(r.Context()) })), r)
	return w.Code, who
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	a := newServiceApp(t)
	body := grant(a.key.Text)
	basic := url.Values{"grant_type": {"client_credentials"}}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"body":               a.token("", body),
		"Basic":              a.token("billing:"+a.key.Text, basic),
		"Basic, encoded":     a.token("%62illing:"+strings.ReplaceAll(a.key.Text, "_", "%5F"), basic),
		"Basic and an ID":    a.token("billing:"+a.key.Text, url.Values{"grant_type": {"client_credentials"}, "client_id": {"billing"}}),
		"a scope and others": a.token("", grant(a.key.Text, "scope", "notes:read", "audience", "x")),
	} {
		require.Equal(t, 200, w.Code, "%s: %s", name, w.Body)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		response := decodeJSON[map[string]any](t, w)
		require.Equal(t, map[string]any{"access_token": response["access_token"], "token_type": "bearer", "expires_in": 300., "scope": "notes:read"}, response, "no refresh token")
		require.Equal(t, authkit.Event{Kind: authkit.EventClientSuccess, ActorID: "service:billing", SessionID: a.key.ID}, a.last())
	}
	token := decodeJSON[authkit.Token](t, a.token("", body)).AccessToken
	verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Ring: a.kit.KeyRing()})
	require.NoError(t, err)
	c, err := verifier.Verify(token)
	require.NoError(t, err)
	require.Equal(t, []string{"billing", "billing", a.key.ID, "", "editor", "notes:read"}, []string{c.Subject, c.ClientID, c.SessionID, c.UserID, c.Roles[0], c.Scope[0]})

	// The service has no account: it is a machine, at this Kit and elsewhere.
	for path, want := range map[string]int{"/person": 403, "/any": 200, "/read": 200, "/write": 403, "/role": 403} {
		w := a.ask("GET", path, "", "Authorization", "Bearer "+token)
		require.Equal(t, want, w.Code, path)
		if want == 200 {
			require.Equal(t, "machine bearer  "+c.ID, w.Body.String())
		}
	}
	for p, want := range map[string]int{"notes:read": 200, "notes:write": 403} {
		code, who := a.ofStoreless(t, token, authkit.Permissions(p).OrMachines())
		require.Equal(t, want, code, p)
		if want == 200 {
			require.Equal(t, []string{string(authkit.Machine), "billing", "", a.key.ID, "bearer"}, []string{string(who.Kind), who.Name, who.UserID, who.SessionID, who.Credential})
		}
	}
	for _, p := range []authkit.Policy{authkit.Authenticated(), authkit.Roles("editor"), authkit.Roles("editor").OrMachines(), authkit.Permissions("notes:read")} {
		code, _ := a.ofStoreless(t, token, p)
		require.Equal(t, 403, code, p)
	}
	// A key of a service is a credential itself.
	require.Equal(t, 200, a.with(a.key.Text, "/read"))
	require.Equal(t, 403, a.with(a.key.Text, "/write"))
	require.Equal(t, 403, a.with(a.key.Text, "/role"))
}

// AK-07: a service reaches no route of an account.
func TestServicesReachNoAccountRoutes(t *testing.T) {
	t.Parallel()
	a := newServiceApp(t)
	token := decodeJSON[authkit.Token](t, a.token("", grant(a.key.Text))).AccessToken
	for _, route := range a.mux.AccessMatrix() {
		if policy := route.Policy.String(); policy == "public" || strings.HasSuffix(policy, "or machines") {
			continue
		}
		for _, credential := range []string{token, a.key.Text} {
			w := a.ask(route.Method, strings.NewReplacer("{id}", "billing", "{key}", a.key.ID).Replace(route.Pattern), "", "Authorization", "Bearer "+credential)
			require.Equal(t, 403, w.Code, "%s %s", route.Method, route.Pattern)
		}
	}
	require.Equal(t, 200, a.with(a.key.Text, "/any"))
}

func TestClientCredentialsRefused(t *testing.T) {
	t.Parallel()
	a := newServiceApp(t)
	users := a.create(t, apikey.Options{Scopes: []string{"notes:read"}}).Text
	_, err := a.CreateService(t.Context(), "other")
	require.NoError(t, err)
	others, err := a.Create(t.Context(), apikey.OfService("other"), apikey.Options{})
	require.NoError(t, err)
	elsewhere, err := a.Create(t.Context(), apikey.OfService("billing"), apikey.Options{Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	require.NoError(t, err)
	basic := url.Values{"grant_type": {"client_credentials"}}
	with := func(change func(url.Values)) url.Values {
		form := grant(a.key.Text)
		change(form)
		return form
	}
	for name, c := range map[string]struct {
		client string
		form   url.Values
		status int
		code   string
	}{
		"the key of a user":  {"", with(func(f url.Values) { f.Set("client_secret", users) }), 401, "invalid_client"},
		"a user as client":   {a.user.ID + ":" + users, basic, 401, "invalid_client"},
		"the key of another": {"", with(func(f url.Values) { f.Set("client_secret", others.Text) }), 401, "invalid_client"},
		"another network":    {"", with(func(f url.Values) { f.Set("client_secret", elsewhere.Text) }), 401, "invalid_client"},
		"no key":             {"", with(func(f url.Values) { f.Set("client_secret", "secret") }), 401, "invalid_client"},
		"no secret":          {"", with(func(f url.Values) { f.Del("client_secret") }), 401, "invalid_client"},
		"no client":          {"", basic, 401, "invalid_client"},
		"both ways":          {"billing:" + a.key.Text, grant(a.key.Text), 400, "invalid_request"},
		"two clients":        {"billing:" + a.key.Text, url.Values{"grant_type": {"client_credentials"}, "client_id": {"other"}}, 400, "invalid_request"},
		"a malformed header": {"billing:%zz", basic, 400, "invalid_request"},
		"no colon":           {"billing", basic, 400, "invalid_request"},
		"a scope it lacks":   {"", grant(a.key.Text, "scope", "notes:read notes:write"), 400, "invalid_scope"},
		"another resource":   {"", grant(a.key.Text, "resource", "https://elsewhere.example.com"), 400, "invalid_target"},
		"a parameter twice":  {"", grant(a.key.Text, "client_id", "billing"), 400, "invalid_request"},
		"another grant":      {"", url.Values{"grant_type": {"client_credential"}}, 400, "unsupported_grant_type"},
	} {
		w := a.token(c.client, c.form)
		require.Equal(t, c.status, w.Code, "%s: %s", name, w.Body)
		require.Equal(t, c.code, decodeJSON[map[string]any](t, w)["error"], name)
		require.Equal(t, c.status == 401, strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic"), name)
	}
	require.Equal(t, 400, record(a.mux, httptest.NewRequest("POST", "/token?client_secret="+a.key.Text, nil)).Code)

	// Without Config.Clients the endpoint does not have the grant.
	plain := newApp(t)
	plain.mux.Handle("POST /token", authkit.Public(), plain.kit.TokenHandler())
	w := (&serviceApp{app: plain}).token("", grant(a.key.Text))
	require.Equal(t, 400, w.Code)
	require.Equal(t, "unsupported_grant_type", decodeJSON[map[string]any](t, w)["error"])
	token := decodeJSON[authkit.Token](t, a.token("", grant(a.key.Text))).AccessToken
	require.Equal(t, 401, plain.with(token, "/any"), "nor accepts its tokens")
}

// A revoked key ends its tokens: at the Kit at once, and elsewhere with the next
// list of revocations, by their sid. Those of other keys go on.
func TestServiceRevocation(t *testing.T) {
	t.Parallel()
	a := newServiceApp(t)
	second, err := a.Create(t.Context(), apikey.OfService("billing"), apikey.Options{})
	require.NoError(t, err)
	token := decodeJSON[authkit.Token](t, a.token("", grant(a.key.Text))).AccessToken
	other := decodeJSON[authkit.Token](t, a.token("", grant(second.Text))).AccessToken
	anyone := authkit.Authenticated().OrMachines()
	status := func(token string) (here, elsewhere int) {
		elsewhere, _ = a.ofStoreless(t, token, anyone)
		return a.with(token, "/any"), elsewhere
	}
	require.NoError(t, a.Revoke(t.Context(), apikey.OfService("billing"), a.key.ID))
	require.Equal(t, authkit.Event{Kind: authkit.EventKeyRevoked, UserID: "service:billing", SessionID: a.key.ID}, a.last())
	here, elsewhere := status(token)
	require.Equal(t, []int{401, 200}, []int{here, elsewhere})
	require.NoError(t, a.follower.Poll(t.Context()))
	here, elsewhere = status(token)
	require.Equal(t, []int{401, 401}, []int{here, elsewhere})
	here, elsewhere = status(other)
	require.Equal(t, []int{200, 200}, []int{here, elsewhere})
	require.Equal(t, 401, a.token("", grant(a.key.Text)).Code)

	require.NoError(t, a.DeleteService(t.Context(), "billing"))
	require.NoError(t, a.follower.Poll(t.Context()))
	here, elsewhere = status(other)
	require.Equal(t, []int{401, 401}, []int{here, elsewhere})
	require.Equal(t, 401, a.with(second.Text, "/any"))
	require.ErrorIs(t, a.DeleteService(t.Context(), "billing"), apikey.ErrNotFound)
}

// AK-06: the roles and the key are those of the moment.
func TestServiceFollowsItsRoles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newServiceApp(t)
		token := decodeJSON[authkit.Token](t, a.token("", grant(a.key.Text))).AccessToken
		require.Equal(t, 200, a.with(token, "/read"))
		require.NoError(t, a.SetServiceRoles(t.Context(), "billing"))
		require.Equal(t, 403, a.with(token, "/read"))
		require.Equal(t, 403, a.with(a.key.Text, "/read"))
		require.NoError(t, a.SetServiceRoles(t.Context(), "billing", "editor"))
		require.Equal(t, 200, a.with(token, "/read"))
		_, err := a.Rotate(t.Context(), apikey.OfService("billing"), a.key.ID, time.Hour)
		require.NoError(t, err)
		require.Equal(t, 200, a.with(token, "/read"), "a rotation keeps the tokens")
		require.Equal(t, 200, a.token("", grant(a.key.Text)).Code, "and the old secret for the overlap")
		time.Sleep(5*time.Minute + 31*time.Second) // with the leeway
		require.Equal(t, 401, a.with(token, "/read"))

		// A token of five minutes does not outlive its key.
		short, err := a.Create(t.Context(), apikey.OfService("billing"), apikey.Options{Life: time.Minute})
		require.NoError(t, err)
		response := decodeJSON[authkit.Token](t, a.token("", grant(short.Text)))
		require.Equal(t, 60, response.ExpiresIn)
		require.Equal(t, 403, a.with(response.AccessToken, "/read"), "without scopes it has no permissions")
		time.Sleep(time.Minute)
		require.Equal(t, 401, a.with(response.AccessToken, "/any"))
		require.Equal(t, 401, a.token("", grant(short.Text)).Code)
	})
}

// TK-19: introspection describes the token of a service. RFC 7009 has no answer
// for it: its key is revoked instead.
func TestServiceIntrospection(t *testing.T) {
	t.Parallel()
	a := newServiceApp(t)
	_, err := a.kit.CreateUser(t.Context(), authkit.User{Email: "root@example.com", Roles: []string{"admin"}}, password)
	require.NoError(t, err)
	root, err := a.kit.Login(t.Context(), "root@example.com", password)
	require.NoError(t, err)
	token := decodeJSON[authkit.Token](t, a.token("", grant(a.key.Text))).AccessToken
	post := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", path, strings.NewReader("token="+token))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", "Bearer "+root.AccessToken)
		return record(a.mux, r)
	}
	described := decodeJSON[map[string]any](t, post("/introspect"))
	require.Equal(t, []any{true, "billing", "billing", a.key.ID}, []any{described["active"], described["sub"], described["client_id"], described["sid"]})
	require.Equal(t, 400, post("/revoke").Code)
	require.NoError(t, a.Revoke(t.Context(), apikey.OfService("billing"), a.key.ID))
	require.Equal(t, map[string]any{"active": false}, decodeJSON[map[string]any](t, post("/introspect")))
}

// AK-05, AK-07: services belong to administrators with a fresh login, and have
// no more than their roles.
func TestManageServices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newServiceApp(t)
		_, err := a.kit.CreateUser(t.Context(), authkit.User{Email: "root@example.com", Roles: []string{"admin"}}, password)
		require.NoError(t, err)
		root, err := a.kit.Login(t.Context(), "root@example.com", password)
		require.NoError(t, err)
		admin, user := "Bearer "+root.AccessToken, a.login(t)
		do := func(header, method, path, body string) *httptest.ResponseRecorder {
			return a.ask(method, "/admin/services"+path, body, "Authorization", header)
		}
		require.Equal(t, 201, do(admin, "POST", "", `{"id":"reports","roles":["editor"]}`).Code)
		require.Equal(t, authkit.EventServiceCreated, a.last().Kind)
		require.Equal(t, "service:reports", a.last().UserID)
		require.Equal(t, 409, do(admin, "POST", "", `{"id":"reports"}`).Code)
		for _, body := range []string{`{"id":""}`, `{"id":"A"}`, `{"id":"a b"}`, `{"id":"a/b"}`, `{"id":"a:b"}`, "{\"id\":\"`\"}", `{"id":"{"}`, `{"id":"\u00e4"}`, `{"id":"x","roles":["nothing"]}`, `{"id":"x","roles":["editor","editor"]}`, `{"id":"` + strings.Repeat("x", 65) + `"}`} {
			require.Equal(t, 422, do(admin, "POST", "", body).Code, body)
		}
		for _, id := range []string{"09.az_-", strings.Repeat("x", 64)} {
			_, err := a.CreateService(t.Context(), id)
			require.NoError(t, err)
			require.NoError(t, a.DeleteService(t.Context(), id))
		}
		require.Equal(t, 400, do(admin, "POST", "", `{"id":"x","created_at":"2020-01-01T00:00:00Z"}`).Code)
		require.Len(t, decodeJSON[[]apikey.Service](t, do(admin, "GET", "", "")), 2)
		require.Len(t, decodeJSON[[]apikey.Service](t, do(admin, "GET", "?after=billing", "")), 1)
		w := do(admin, "POST", "/reports/keys", `{"scopes":["notes:write"]}`)
		require.Equal(t, 201, w.Code, w.Body)
		key := decodeJSON[map[string]any](t, w)
		require.Equal(t, "reports", key["service_id"])
		require.Equal(t, 422, do(admin, "POST", "/reports/keys", `{"scopes":["users:write"]}`).Code, "the administrator has it, and the service has not")
		require.Equal(t, 404, do(admin, "POST", "/nothing/keys", `{}`).Code)
		require.Equal(t, 404, do(admin, "DELETE", "/billing/keys/"+key["id"].(string), "").Code, "the key of another service")
		require.Equal(t, 200, do(admin, "POST", "/reports/keys/"+key["id"].(string)+"/rotate", `{}`).Code)
		require.Len(t, decodeJSON[[]apikey.Key](t, do(admin, "GET", "/reports/keys", "")), 1)
		require.Equal(t, 204, do(admin, "PUT", "/reports/roles", `{"roles":[]}`).Code)
		require.Equal(t, authkit.Event{Kind: authkit.EventServiceUpdated, UserID: "service:reports", ActorID: a.last().ActorID}, a.last())
		require.Equal(t, 422, do(admin, "PUT", "/reports/roles", `{"roles":["nothing"]}`).Code)
		require.Equal(t, 400, do(admin, "PUT", "/reports/roles", `{"id":"x"}`).Code)
		require.Equal(t, 404, do(admin, "PUT", "/nothing/roles", `{"roles":[]}`).Code)
		require.Equal(t, 204, do(admin, "DELETE", "/reports/keys/"+key["id"].(string), "").Code)
		require.Equal(t, 204, do(admin, "DELETE", "/reports", "").Code)
		require.Equal(t, authkit.Event{Kind: authkit.EventServiceDeleted, UserID: "service:reports", ActorID: a.last().ActorID}, a.last())

		methods := map[string]func(ctx context.Context) error{
			"CreateService":   func(ctx context.Context) error { _, err := a.CreateService(ctx, "mine", "admin"); return err },
			"Services":        func(ctx context.Context) error { _, err := a.Services(ctx, ""); return err },
			"SetServiceRoles": func(ctx context.Context) error { return a.SetServiceRoles(ctx, "billing", "admin") },
			"DeleteService":   func(ctx context.Context) error { return a.DeleteService(ctx, "billing") },
			"Create": func(ctx context.Context) error {
				_, err := a.Create(ctx, apikey.OfService("billing"), apikey.Options{})
				return err
			},
			"List":   func(ctx context.Context) error { _, err := a.List(ctx, apikey.OfService("billing")); return err },
			"Revoke": func(ctx context.Context) error { return a.Revoke(ctx, apikey.OfService("billing"), a.key.ID) },
		}
		for name, call := range methods {
			require.ErrorIs(t, call(a.as(t, user)), authkit.ErrForbidden, name)
			require.ErrorIs(t, call(a.as(t, "Bearer "+a.key.Text)), authkit.ErrForbidden, name)
		}
		time.Sleep(5*time.Minute + time.Second)
		for name, call := range methods {
			var stale *authkit.StepUpError
			require.ErrorAs(t, call(a.as(t, admin)), &stale, name)
		}
		require.Equal(t, 200, a.with(a.key.Text, "/read"))
	})
}

// Store failures lead to 503, for the grant and for its tokens.
func TestServiceStoreFails(t *testing.T) {
	t.Parallel()
	store := counted(apikey.NewMemoryStore())
	a := newServiceApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = store })
	token := decodeJSON[authkit.Token](t, a.token("", grant(a.key.Text))).AccessToken
	store.fail = errors.New("no connection")
	w := a.token("", grant(a.key.Text))
	require.Equal(t, 503, w.Code)
	require.Equal(t, "temporarily_unavailable", decodeJSON[map[string]any](t, w)["error"])
	require.Equal(t, 503, a.with(token, "/any"))
}

// failingDelete fails the first deletion of a key and of a service.
type failingDelete struct {
	apikey.Store
	keys, services bool
}

func (s *failingDelete) DeleteKey(ctx context.Context, o apikey.Owner, id string) error {
	if !s.keys {
		s.keys = true
		return errors.New("store is down")
	}
	return s.Store.DeleteKey(ctx, o, id)
}

func (s *failingDelete) DeleteService(ctx context.Context, id string) error {
	if !s.services {
		s.services = true
		return errors.New("store is down")
	}
	return s.Store.DeleteService(ctx, id)
}

// AK-02: after a failure, the same call ends the key and the service.
func TestServiceRevocationAgain(t *testing.T) {
	t.Parallel()
	a := newServiceApp(t, func(c *apikey.Config, _ *authkit.Config) { c.Store = &failingDelete{Store: c.Store} })
	require.ErrorIs(t, a.Revoke(t.Context(), a.key.Owner, a.key.ID), authkit.ErrUnavailable)
	require.NoError(t, a.Revoke(t.Context(), a.key.Owner, a.key.ID))
	_, err := a.Create(t.Context(), apikey.OfService("billing"), apikey.Options{})
	require.NoError(t, err)
	require.ErrorIs(t, a.DeleteService(t.Context(), "billing"), authkit.ErrUnavailable)
	require.NoError(t, a.DeleteService(t.Context(), "billing"))
}

// AK-02: no service has the name of an account, so that other readers of its
// tokens do not take the subject for a user (RFC 9700 section 4.15).
func TestServiceNamedLikeAnAccount(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	_, err := a.CreateService(t.Context(), a.user.ID)
	require.ErrorIs(t, err, apikey.ErrExists)
}

// AK-06: a scope in another form than that of RFC 8693 grants nothing.
func TestServiceScopeOfAnotherForm(t *testing.T) {
	t.Parallel()
	a := newServiceApp(t)
	for name, test := range map[string]struct {
		scope  any
		status int
	}{
		"text":  {"notes:read", 200},
		"array": {[]string{"notes:write"}, 403},
		"null":  {nil, 403},
		"empty": {"", 403},
	} {
		at := time.Now()
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"sub": "billing", "client_id": "billing", "sid": "s", "roles": []string{"editor"}, "scope": test.scope,
			"iat": at.Unix(), "exp": at.Add(time.Minute).Unix(),
		})
		text, err := token.SignedString([]byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"))
		require.NoError(t, err)
		status, _ := a.ofStoreless(t, text, authkit.Permissions("notes:read").OrMachines())
		require.Equal(t, test.status, status, name)
	}
}
