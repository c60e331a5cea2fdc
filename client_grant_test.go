package authkit_test

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
)

// fakeClients know one service, with the ID "job 1" and the secret "s%+".
type fakeClients struct {
	granted authkit.Credential // of AuthenticateClient
	now     authkit.Credential // of ClientCredential
	err     error              // of both
}

func (c *fakeClients) AuthenticateClient(_ context.Context, id, secret string) (authkit.Credential, error) {
	if id == "" || secret == "" {
		panic("asked about a client without an ID or a secret")
	}
	if c.err == nil && (id != "job 1" || secret != "s%+") {
		return authkit.Credential{}, authkit.ErrInvalidCredentials
	}
	return c.granted, c.err
}

func (c *fakeClients) ClientCredential(context.Context, string, string) (authkit.Credential, error) {
	return c.now, c.err
}

// newServiceKit returns a Kit for a service with the role "editor".
func newServiceKit(t testing.TB, change ...func(*authkit.Config)) (*authkit.Kit, *fakeClients) {
	t.Helper()
	c := authkit.Credential{Kind: "key", ID: "c1", Service: "job 1", Machine: true, Roles: []string{"editor"}}
	clients := &fakeClients{granted: c, now: c}
	kit, _, _ := newSessionKit(t, append([]func(*authkit.Config){func(c *authkit.Config) {
		c.Clients, c.Roles = clients, map[string][]string{"editor": {"read", "write"}, "user": nil}
		c.AdminRole = "editor"
	}}, change...)...)
	return kit, clients
}

// grant sends a token request of a service.
func grant(kit *authkit.Kit, body string, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/token", strings.NewReader("grant_type=client_credentials&"+body))
	r.Header.Set("Content-Type", formType)
	r.Header["Authorization"] = authorization
	w := httptest.NewRecorder()
	kit.TokenHandler().ServeHTTP(w, r)
	return w
}

func basic(user, password string) string {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

var goodClient = form("client_id", "job 1", "client_secret", "s%+")

// RFC 6749 sections 2.3 and 4.4: a client authenticates in one of two ways.
func TestClientGrantAuthentication(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, _ := newServiceKit(t, events.listen)
	good := basic("job+1", "s%25%2b")
	const request, client = "invalid_request", "invalid_client"
	for name, c := range map[string]struct {
		body   string
		header []string
		code   string // "" for a token
	}{
		"form":                      {goodClient, nil, ""},
		"Basic":                     {"", []string{good}, ""},
		"Basic and the same ID":     {form("client_id", "job 1"), []string{good}, ""},
		"Basic and another ID":      {form("client_id", "job 2"), []string{good}, request},
		"both":                      {goodClient, []string{good}, request},
		"twice Basic":               {"", []string{good, good}, request},
		"Bearer":                    {goodClient, []string{"Bearer x"}, request},
		"Bearer alone":              {"", []string{"Bearer x"}, request},
		"Basic with a bad ID":       {"", []string{basic("%", "s%25%2b")}, request},
		"Basic with a bad secret":   {"", []string{basic("job+1", "s%")}, request},
		"Basic without the ID":      {"", []string{basic("", "s%25%2b")}, client},
		"Basic without the secret":  {"", []string{basic("job+1", "")}, client},
		"form without the ID":       {form("client_secret", "s%+"), nil, client},
		"form without the secret":   {form("client_id", "job 1"), nil, client},
		"nothing":                   {"", nil, client},
		"wrong secret":              {form("client_id", "job 1", "client_secret", "x"), nil, client},
		"Basic that is not decoded": {"", []string{basic("job 1", "s%2525")}, client},
	} {
		events.reset()
		w := grant(kit, c.body, c.header...)
		switch c.code {
		case "":
			require.Equal(t, 200, w.Code, name)
			require.Equal(t, []authkit.Event{{Kind: authkit.EventClientSuccess, ActorID: "service:job 1", SessionID: "c1"}}, events.all(), name)
			continue
		case client:
			require.Equal(t, 401, w.Code, name)
			require.Equal(t, `Basic realm="token"`, w.Header().Get("WWW-Authenticate"), name)
		default:
			require.Equal(t, 400, w.Code, name)
		}
		require.Contains(t, w.Body.String(), `"error":"`+c.code+`"`, name)
		require.NotContains(t, w.Body.String(), "access_token", name)
	}
	asToken(t, post(kit.TokenHandler(), "/", formType, form("username", email, "password", password))) // users log in as before
	grant(kit, form("client_id", "job 1", "client_secret", "x"))
	require.Equal(t, authkit.Event{Kind: authkit.EventClientFailure, Reason: authkit.ReasonWrongProof}, events.last())
}

// A credential of another service, one that has expired and one that is not
// consistent are refused. So is an attempt that the clients refuse.
func TestClientGrantRefuses(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, clients := newServiceKit(t, events.listen)
	granted := clients.granted
	for name, change := range map[string]func(*authkit.Credential){
		"another service": func(c *authkit.Credential) { c.Service = "job 2" },
		"a user":          func(c *authkit.Credential) { c.Service, c.UserID = "", "job 1" },
		"no kind":         func(c *authkit.Credential) { c.Kind = "" },
		"expired":         func(c *authkit.Credential) { c.ExpiresAt = time.Now() },
	} {
		clients.granted = granted
		change(&clients.granted)
		events.reset()
		require.Equal(t, 401, grant(kit, goodClient).Code, name)
		require.Equal(t, []authkit.Event{{Kind: authkit.EventClientFailure, Reason: authkit.ReasonWrongProof}}, events.all(), name)
	}
	for err, want := range map[error]authkit.Event{
		&authkit.ThrottledError{RetryAfter: time.Minute}: {Kind: authkit.EventClientFailure, Reason: authkit.ReasonThrottled},
		errDown: {Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore},
	} {
		clients.err = err
		events.reset()
		w := grant(kit, goodClient)
		require.Equal(t, authkit.ProblemFor(map[bool]error{true: authkit.ErrUnavailable, false: err}[err == errDown]).Status, w.Code)
		require.Len(t, events.all(), 1)
		got := events.last()
		got.Err = nil
		require.Equal(t, want, got)
	}
	clients.granted, clients.err = granted, nil
	clients.granted.Roles = []string{strings.Repeat("r", 10_000)}
	w := grant(kit, goodClient)
	require.Equal(t, 500, w.Code, "the token would be too long")
	require.NotContains(t, w.Body.String(), "access_token")
}

// RFC 6749 section 3.3 and RFC 8707 section 2: a request limits the token to some of the
// permissions of the credential, and names no other resource. The token ends
// with the credential.
func TestClientGrantLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, clients := newServiceKit(t, func(c *authkit.Config) { c.Tokens.Audience = "https://api.example.com" })
		plain, _ := newServiceKit(t)
		limited := clients.granted
		limited.Limited, limited.Permissions = true, []string{"read"}
		short := clients.granted
		short.ExpiresAt = time.Now().Add(time.Minute)
		long := clients.granted
		long.ExpiresAt = time.Now().Add(time.Hour)
		for name, c := range map[string]struct {
			kit     *authkit.Kit
			granted authkit.Credential
			more    string
			code    string
			scope   []string
			seconds int
		}{
			"whole":                  {kit, clients.granted, "", "", nil, 300},
			"a part of all":          {kit, clients.granted, form("scope", "write read"), "", []string{"write", "read"}, 300},
			"limited":                {kit, limited, "", "", []string{"read"}, 300},
			"limited, and asks":      {kit, limited, form("scope", "read"), "", []string{"read"}, 300},
			"limited to nothing":     {kit, authkit.Credential{Kind: "key", ID: "c1", Service: "job 1", Limited: true}, "", "", []string{}, 300},
			"limited, asks for more": {kit, limited, form("scope", "read write"), "invalid_scope", nil, 0},
			"the resource":           {kit, clients.granted, form("resource", "https://api.example.com"), "", nil, 300},
			"another resource":       {kit, clients.granted, form("resource", "https://other.example.com"), "invalid_target", nil, 0},
			"two resources":          {kit, clients.granted, form("resource", "https://api.example.com", "resource", "https://other.example.com"), "invalid_target", nil, 0},
			"an empty resource":      {plain, clients.granted, "resource=", "invalid_target", nil, 0},
			"no resource":            {plain, clients.granted, form("resource", "https://api.example.com"), "invalid_target", nil, 0},
			"a short credential":     {kit, short, "", "", nil, 60},
			"a long credential":      {kit, long, "", "", nil, 300},
		} {
			clients.granted = c.granted
			w := grant(c.kit, goodClient+"&"+c.more)
			if c.code != "" {
				require.Equal(t, 400, w.Code, name)
				require.Contains(t, w.Body.String(), `"error":"`+c.code+`"`, name)
				continue
			}
			require.Equal(t, 200, w.Code, "%s: %s", name, w.Body)
			var token authkit.Token
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &token))
			require.Empty(t, token.RefreshToken)
			require.Equal(t, c.seconds, token.ExpiresIn, name)
			require.Equal(t, strings.Join(c.scope, " "), token.Scope, name)
			verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Ring: kit.KeyRing(), Audience: "https://api.example.com"})
			require.NoError(t, err)
			claims, err := verifier.Verify(token.AccessToken)
			require.NoError(t, err, name)
			require.Equal(t, []string{"job 1", "job 1", "c1"}, []string{claims.Subject, claims.ClientID, claims.SessionID})
			require.Equal(t, c.scope, claims.Scope, name)
			require.Equal(t, time.Duration(c.seconds)*time.Second, claims.ExpiresAt.Sub(claims.IssuedAt), name)
		}
	})
}

// A Kit looks the credential of a service up at each request: its roles, its
// permissions and its end count as they are then.
func TestServiceTokenAtAKit(t *testing.T) {
	t.Parallel()
	kit, clients := newServiceKit(t)
	issued := func(body string) string {
		w := grant(kit, goodClient+"&"+body)
		var token authkit.Token
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &token))
		return "Bearer " + token.AccessToken
	}
	whole, part, read := issued(""), issued(form("scope", "read write")), issued(form("scope", "read"))
	now := clients.now
	for name, c := range map[string]struct {
		change      func(*authkit.Credential)
		err         error
		whole, part int
	}{
		"as it was":       {func(*authkit.Credential) {}, nil, 200, 200},
		"no roles":        {func(c *authkit.Credential) { c.Roles = nil }, nil, 403, 403},
		"limited":         {func(c *authkit.Credential) { c.Limited, c.Permissions = true, []string{"read"} }, nil, 403, 403},
		"limited to it":   {func(c *authkit.Credential) { c.Limited, c.Permissions = true, []string{"write"} }, nil, 403, 200},
		"another service": {func(c *authkit.Credential) { c.Service = "job 2" }, nil, 401, 401},
		"expired":         {func(c *authkit.Credential) { c.ExpiresAt = time.Now() }, nil, 401, 401},
		"not yet expired": {func(c *authkit.Credential) { c.ExpiresAt = time.Now().Add(time.Hour) }, nil, 200, 200},
		"deleted":         {func(*authkit.Credential) {}, authkit.ErrInvalidToken, 401, 401},
		"a failure":       {func(*authkit.Credential) {}, errDown, 503, 503},
	} {
		clients.now, clients.err = now, c.err
		c.change(&clients.now)
		h := kit.Require(authkit.Permissions("write").OrMachines())(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		require.Equal(t, c.whole, do(h, "GET", "/", "Authorization", whole).Code, name)
		require.Equal(t, c.part, do(h, "GET", "/", "Authorization", part).Code, name)
		require.NotEqual(t, 200, do(h, "GET", "/", "Authorization", read).Code, name)
		persons := kit.Require(authkit.Permissions("write"))(whoami)
		require.NotEqual(t, 200, do(persons, "GET", "/", "Authorization", whole).Code, "a service is a machine")
	}
}

// A token that names a user is that of the user, also if its client has the same name.
func TestTokenOfAUserIsNoServiceToken(t *testing.T) {
	t.Parallel()
	kit, clients := newServiceKit(t)
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}})
	require.NoError(t, err)
	h := kit.Require(authkit.Authenticated().OrMachines())(whoami)
	for name, c := range map[string]struct {
		claims authkit.Claims
		status int
	}{
		"a service":         {authkit.Claims{Subject: "job 1", ClientID: "job 1", SessionID: "c1"}, 200},
		"a user":            {authkit.Claims{Subject: "job 1", ClientID: "job 1", SessionID: "c1", UserID: "job 1"}, 401},
		"of another client": {authkit.Claims{Subject: "job 1", ClientID: "job 2", SessionID: "c1"}, 401},
		"without a client":  {authkit.Claims{Subject: "job 1", SessionID: "c1"}, 401},
	} {
		token, err := issuer.Issue(c.claims)
		require.NoError(t, err)
		clients.now.Service = c.claims.Subject
		require.Equal(t, c.status, do(h, "GET", "/", "Authorization", "Bearer "+token).Code, name)
	}
}

// Introspection describes the token of a service as a guard admits it. Such a
// token belongs to no session that could be revoked.
func TestServiceTokenAtTheOtherEndpoints(t *testing.T) {
	t.Parallel()
	kit, clients := newServiceKit(t)
	var token authkit.Token
	require.NoError(t, json.Unmarshal(grant(kit, goodClient).Body.Bytes(), &token))
	ask := func(kit *authkit.Kit, h http.Handler) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/", strings.NewReader(form("token", token.AccessToken)))
		r.Header.Set("Content-Type", formType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(as(t, kit, begin(t, kit))))
		return w
	}
	w := ask(kit, kit.IntrospectionHandler())
	require.Contains(t, w.Body.String(), `"active":true`)
	require.Contains(t, w.Body.String(), `"roles":["editor"]`)
	w = ask(kit, kit.RevocationHandler())
	require.Equal(t, 400, w.Code)
	require.Contains(t, w.Body.String(), "unsupported_token_type")
	clients.err = authkit.ErrInvalidToken
	require.JSONEq(t, `{"active":false}`, ask(kit, kit.IntrospectionHandler()).Body.String())

	// The tokens of users are theirs, beside clients too.
	service := token
	token = begin(t, kit)
	require.Contains(t, ask(kit, kit.IntrospectionHandler()).Body.String(), `"username":"`+email+`"`)
	require.Equal(t, 200, ask(kit, kit.RevocationHandler()).Code)
	require.Equal(t, 401, access(t, kit, token))
	token = service

	// A Kit without clients takes the token for that of an unknown user.
	plain, _, _ := newSessionKit(t)
	require.JSONEq(t, `{"active":false}`, ask(plain, plain.IntrospectionHandler()).Body.String())
	w = ask(plain, plain.RevocationHandler())
	require.Equal(t, 200, w.Code)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
}

// RevokeServiceTokens is a revocation for services that follow those of the Kit.
func TestRevokeServiceTokens(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, store.listen)
	require.NoError(t, kit.RevokeServiceTokens(t.Context(), "job 1", "c1"))
	revoked, err := kit.Revocations(t.Context(), time.Time{})
	require.NoError(t, err)
	require.Len(t, revoked, 1)
	require.Equal(t, "c1", revoked[0].SessionID)
	for _, call := range []string{"CreateSession", "RevokeSession"} {
		store.down(false, call)
		err := kit.RevokeServiceTokens(t.Context(), "job 1", "c2")
		require.ErrorIs(t, err, authkit.ErrUnavailable, call)
		require.ErrorIs(t, err, errDown, call)
	}
	require.NoError(t, newKit(t).RevokeServiceTokens(t.Context(), "job 1", "c1"), "without sessions")
}
