package passkey_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
)

// decode decodes a response.
func decode[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	require.Equal(t, status, w.Code, w.Body.String())
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	if status != http.StatusNoContent {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v), w.Body.String())
	} else {
		require.Empty(t, w.Body.String())
	}
	return v
}

func (a *app) bearer(token authkit.Token) []string {
	return []string{"Authorization", "Bearer " + token.AccessToken, "User-Agent", agent}
}

// The whole story over HTTP: register, log in, list, rename, delete.
func TestHandlers(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add("ann@example.com")
	h := a.server()
	token, err := a.kit.Login(t.Context(), u.Email, password)
	require.NoError(t, err)
	me := a.bearer(token)
	empty := decode[map[string]any](t, call(h, "GET", "/passkeys", "", me...), 200)
	require.Equal(t, map[string]any{"passkeys": []any{}}, empty)

	key := newAuthenticator(t)
	o := decode[passkey.Options](t, call(h, "POST", "/passkeys/register/options", "", me...), 200)
	r := decode[passkey.Registered](t, call(h, "POST", "/passkeys/register", string(key.Create(o)), me...), 201)
	require.Equal(t, "Mac", r.Passkey.Name)
	require.Equal(t, []string{b64(key.CredentialID)}, r.Accepted.CredentialIDs)

	o = decode[passkey.Options](t, call(h, "POST", "/passkeys/login/options", ""), 200)
	login := decode[authkit.Token](t, call(h, "POST", "/passkeys/login", string(key.Get(o)), "User-Agent", agent), 200)
	who, _ := authkit.PrincipalFrom(a.as(login))
	require.Equal(t, u.ID, who.UserID)
	require.NotEmpty(t, login.RefreshToken)
	me = a.bearer(login)

	o = decode[passkey.Options](t, call(h, "POST", "/passkeys/login/options", ""), 200)
	w := call(h, "POST", "/passkeys/login/cookie", string(key.Get(o)), "User-Agent", agent)
	decode[any](t, w, 204)
	require.Equal(t, "__Host-session", w.Result().Cookies()[0].Name)
	require.Zero(t, w.Result().Cookies()[0].MaxAge, "the session ends with the browser")
	require.Equal(t, 200, call(h, "GET", "/passkeys", "", "Cookie", "__Host-session="+w.Result().Cookies()[0].Value).Code)

	decode[any](t, call(h, "PATCH", "/passkeys/"+r.Passkey.ID, `{"name":"Laptop"}`, me...), 204)
	list := decode[struct {
		Passkeys []passkey.Passkey
		Accepted passkey.AcceptedCredentials
	}](t, call(h, "GET", "/passkeys", "", me...), 200)
	require.Equal(t, "Laptop", list.Passkeys[0].Name)
	require.False(t, list.Passkeys[0].LastUsedAt.IsZero())
	require.Equal(t, r.Accepted, list.Accepted)

	gone := decode[struct{ Accepted passkey.AcceptedCredentials }](t, call(h, "DELETE", "/passkeys/"+r.Passkey.ID, "", me...), 200)
	require.Empty(t, gone.Accepted.CredentialIDs) // MF-19
	require.Equal(t, b64(key.UserHandle), gone.Accepted.UserID)
	o = decode[passkey.Options](t, call(h, "POST", "/passkeys/login/options", ""), 200)
	w = call(h, "POST", "/passkeys/login", string(key.Get(o)))
	body := decode[map[string]any](t, w, 401)
	require.Equal(t, map[string]any{"rpId": "example.com", "credentialId": b64(key.CredentialID)}, body["unknown_credential"]) // MF-19
	require.Equal(t, "The passkey was not accepted", body["detail"])
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Equal(t, "Bearer", w.Header().Get("WWW-Authenticate"))
}

// The options of the factor complete a login at the token endpoint.
func TestFactorHandler(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t)
	mux := a.kit.NewMux()
	a.Mount(mux, "/passkeys/")
	mux.Handle("POST /token", authkit.Public(), a.kit.TokenHandler())
	post := func(form string) *httptest.ResponseRecorder {
		return call(mux, "POST", "/token", form, "Content-Type", "application/x-www-form-urlencoded", "User-Agent", agent)
	}
	problem := decode[authkit.Problem](t, post("username="+u.Email+"&password=correct+horse"), 400)
	require.Equal(t, []string{"pop"}, problem.MFAMethods)
	o := decode[passkey.Options](t, call(mux, "POST", "/passkeys/factor/options", ""), 200)
	response := strings.NewReplacer("+", "%2B", "&", "%26", "=", "%3D").Replace(string(key.Get(o)))
	token := decode[authkit.Token](t, post("grant_type=mfa&mfa_token="+problem.MFAToken+"&mfa_method=pop&mfa_response="+response), 200)
	who, _ := authkit.PrincipalFrom(a.as(token))
	require.Equal(t, u.ID, who.UserID)
}

// MF-12: the ID of another user's passkey answers like one that does not exist,
// on every route with an ID.
func TestForeignIDs(t *testing.T) {
	t.Parallel()
	a, _, key := enrolled(t)
	h := a.server()
	bob := a.add("bob@example.com")
	bobs := newAuthenticator(t)
	foreign := a.register(a.first(bob.Email), bobs)
	token, err := a.login(key)
	require.NoError(t, err)
	me := a.bearer(token)
	for _, r := range a.Routes("/passkeys") {
		method, path, _ := strings.Cut(r.Pattern, " ")
		if !strings.Contains(path, "{id}") {
			continue
		}
		ask := func(id string) *httptest.ResponseRecorder {
			return call(h, method, strings.ReplaceAll(path, "{id}", id), `{"name":"mine"}`, me...)
		}
		want := ask("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
		require.Equal(t, 404, want.Code)
		got := ask(foreign.ID)
		require.Equal(t, want.Code, got.Code)
		require.Equal(t, want.Body.String(), got.Body.String())
		require.Equal(t, want.Header(), got.Header())
	}
	list, err := a.List(t.Context(), bob.ID)
	require.NoError(t, err)
	require.Equal(t, []passkey.Passkey{foreign}, list)
}

func TestHandlersRefuse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, u, key := enrolled(t)
		h := a.server()
		token, err := a.login(key)
		require.NoError(t, err)
		me := a.bearer(token)
		for _, r := range a.Routes("/passkeys") { // without a credential
			method, path, _ := strings.Cut(r.Pattern, " ")
			if r.Policy.String() != authkit.Public().String() {
				require.Equal(t, 401, call(h, method, path, "{}").Code, r.Pattern)
			}
		}
		options := func(path string) passkey.Options {
			return decode[passkey.Options](t, call(h, "POST", path, "", me...), 200)
		}
		for name, c := range map[string]struct {
			method, path, body string
			headers            []string
			want               int
		}{
			"no JSON":              {"POST", "/passkeys/login", "x", []string{"Content-Type", "text/plain"}, 415},
			"a form":               {"POST", "/passkeys/login", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
			"no JSON, a cookie":    {"POST", "/passkeys/login/cookie", "x", []string{"Content-Type", "text/plain"}, 415},
			"no JSON, registering": {"POST", "/passkeys/register", "x", append([]string{"Content-Type", "text/plain"}, me...), 415},
			"no JSON, a name":      {"PATCH", "/passkeys/x", "x", append([]string{"Content-Type", "text/plain"}, me...), 415},
			"no object":            {"POST", "/passkeys/login", "[]", nil, 400},
			"an empty body":        {"POST", "/passkeys/login", " ", nil, 400},
			"an empty object":      {"POST", "/passkeys/login", "{}", nil, 401},
			"too much":             {"POST", "/passkeys/login", "{" + strings.Repeat(" ", 1<<17), nil, 413},
			"an empty credential":  {"POST", "/passkeys/register", "{}", me, 400},
			"another method":       {"PUT", "/passkeys/login", "{}", nil, 405},
			"no name":              {"PATCH", "/passkeys/x", `{}`, me, 422},
			"another member":       {"PATCH", "/passkeys/x", `{"id":"y"}`, me, 400},
			"a second object":      {"PATCH", "/passkeys/x", `{"name":"y"}{}`, me, 400},
			"another origin":       {"POST", "/passkeys/login/cookie", "{}", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		} {
			w := call(h, c.method, c.path, c.body, c.headers...)
			require.Equal(t, c.want, w.Code, "%s: %s", name, w.Body)
			require.NotContains(t, w.Body.String(), "unknown_credential", name)
			if name == "an empty credential" {
				require.Contains(t, w.Body.String(), "could not be registered")
			}
		}
		taken := key.Create(options("/passkeys/register/options"))
		require.Equal(t, 409, call(h, "POST", "/passkeys/register", string(taken), me...).Code)

		o := options("/passkeys/register/options")
		time.Sleep(5*time.Minute + time.Second) // MF-07
		list, err := a.List(t.Context(), u.ID)
		require.NoError(t, err)
		for _, w := range []*httptest.ResponseRecorder{
			call(h, "POST", "/passkeys/register/options", "", me...),
			call(h, "POST", "/passkeys/register", string(newAuthenticator(t).Create(o)), me...),
			call(h, "DELETE", "/passkeys/"+list[0].ID, "", me...),
		} {
			require.Equal(t, 401, w.Code)
			require.Contains(t, w.Header().Get("WWW-Authenticate"), `max_age="300"`)
		}
		require.Equal(t, 200, call(h, "GET", "/passkeys", "", me...).Code)
	})
}

func TestCookieRoute(t *testing.T) {
	t.Parallel()
	a := newApp(t, options{kit: func(c *authkit.Config) { c.Sessions.Cookies = nil }})
	require.Equal(t, 404, call(a.server(), "POST", "/passkeys/login/cookie", "{}").Code, "session cookies are off")
}

// A noting throttle notes the address of the client.
type notingThrottle struct{ address string }

func (n *notingThrottle) Begin(_ context.Context, a authkit.Attempt) error {
	n.address = a.Client.Address
	return nil
}
func (*notingThrottle) End(context.Context, authkit.Attempt, authkit.AttemptOutcome) error {
	return nil
}
func (*notingThrottle) Clear(context.Context, authkit.Attempt) error { return nil }

// The throttle counts the address of the connection.
func TestClientOfARequest(t *testing.T) {
	t.Parallel()
	n := new(notingThrottle)
	a := newApp(t, options{kit: func(c *authkit.Config) { c.Throttle = n }})
	require.Equal(t, 200, call(a.server(), "POST", "/passkeys/login/options", "").Code)
	require.Equal(t, "192.0.2.1", n.address)
}
