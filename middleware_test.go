package authkit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// login returns an access token.
func login(t testing.TB, kit *authkit.Kit, email, password string) string {
	t.Helper()
	token, err := kit.Login(context.Background(), email, password)
	require.NoError(t, err)
	return token.AccessToken
}

// get sends a request with the Authorization headers given.
func get(t testing.TB, h http.Handler, path string, authorization ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for _, v := range authorization {
		r.Header.Add("Authorization", v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// problem checks that a response is the problem document of a status, and returns it.
func problem(t testing.TB, w *httptest.ResponseRecorder, status int, detail string) authkit.Problem {
	t.Helper()
	require.Equal(t, status, w.Code, w.Body.String())
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	var p authkit.Problem
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	require.Equal(t, status, p.Status)
	require.Equal(t, http.StatusText(status), p.Title)
	require.Equal(t, "about:blank", p.Type)
	if detail != "" {
		require.Equal(t, detail, p.Detail)
	}
	return p
}

var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if u, ok := authkit.UserFrom(r.Context()); ok {
		_, _ = w.Write([]byte(u.Email))
		return
	}
	_, _ = w.Write([]byte("nobody"))
})

// MW-01, MW-02, MW-03, MW-04, MW-10.
func TestBearerToken(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	addUser(t, kit, "user@example.com", "correct horse")
	token := login(t, kit, "user@example.com", "correct horse")
	h := kit.Authenticate(whoami)

	const none, invalid = `Bearer`, `Bearer error="invalid_token"`
	for _, c := range []struct {
		name      string
		headers   []string
		challenge string // "" for a request that passes
	}{
		{"good", []string{"Bearer " + token}, ""},
		{"lower case", []string{"bearer " + token}, ""},
		{"any case", []string{"bEARER " + token}, ""},
		{"no header", nil, none},
		{"empty header", []string{""}, none},
		{"another scheme", []string{"Basic dXNlcjpwYXNz"}, none},
		{"a scheme of as many letters", []string{"Digest " + token}, none},
		{"a scheme that begins alike", []string{"Bearerish " + token}, none},
		{"no scheme", []string{token}, none},
		{"scheme without token", []string{"Bearer"}, invalid},
		{"scheme with a space", []string{"Bearer "}, invalid},
		{"two spaces", []string{"Bearer  " + token}, invalid},
		{"a tab", []string{"Bearer\t" + token}, none},
		{"trailing space", []string{"Bearer " + token + " "}, invalid},
		{"two tokens", []string{"Bearer " + token + " " + token}, invalid},
		{"a comma list", []string{"Bearer " + token + ",Bearer " + token}, invalid},
		{"two headers", []string{"Bearer " + token, "Bearer " + token}, invalid},
		{"two headers, one empty", []string{"Bearer " + token, ""}, invalid},
		{"forged", []string{"Bearer " + token[:len(token)-4] + "AAAA"}, invalid},
		{"a megabyte", []string{"Bearer " + strings.Repeat("a", 1<<20)}, invalid},
		{"a megabyte of dots", []string{"Bearer " + strings.Repeat(".", 1<<20)}, invalid},
		{"a megabyte of another scheme", []string{strings.Repeat("a", 1<<20)}, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := get(t, h, "/", c.headers...)
			if c.challenge == "" {
				require.Equal(t, 200, w.Code)
				require.Equal(t, "user@example.com", w.Body.String())
				require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
				return
			}
			detail := map[string]string{none: "Not authenticated", invalid: "Could not validate credentials"}[c.challenge]
			problem(t, w, 401, detail)
			require.Equal(t, []string{c.challenge}, w.Header().Values("WWW-Authenticate"))
		})
	}
}

// MW-03: a token anywhere but in the header is not looked at.
func TestTokenElsewhere(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	addUser(t, kit, "user@example.com", "correct horse")
	token := login(t, kit, "user@example.com", "correct horse")
	h := kit.Authenticate(whoami)

	r := httptest.NewRequest("POST", "/?access_token="+token+"&token="+token, strings.NewReader("access_token="+token))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, name := range []string{"access_token", "token", "jwt", "session", "Authorization"} {
		r.AddCookie(&http.Cookie{Name: name, Value: token})
	}
	r.Header.Set("X-Access-Token", token)
	r.Header.Set("Proxy-Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	problem(t, w, 401, "Not authenticated")
}

// MW-05: roles compare exactly, and a route for all of them asks for all of them.
func TestRoles(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	for email, roles := range map[string][]string{
		"none@example.com":  nil,
		"user@example.com":  {"user"},
		"admin@example.com": {"admin", "user"},
		"near@example.com":  {"admins", "admin:", "adm", "xadmin", "user_admin"},
	} {
		addUser(t, kit, email, "correct horse", roles...)
	}
	for _, c := range []struct {
		name  string
		guard func(http.Handler) http.Handler
		let   []string // who passes, of none, user, admin, near
	}{
		{"Authenticate", kit.Authenticate, []string{"none", "user", "admin", "near"}},
		{"RequireRoles one", kit.RequireRoles("admin"), []string{"admin"}},
		{"RequireRoles all", kit.RequireRoles("user", "admin"), []string{"admin"}},
		{"RequireRoles nobody has", kit.RequireRoles("user", "auditor"), nil},
		{"RequireAnyRole", kit.RequireAnyRole("auditor", "user"), []string{"user", "admin"}},
		{"Require", kit.Require(authkit.AnyRole("adm", "admin")), []string{"admin", "near"}},
		{"Require Public", kit.Require(authkit.Public()), []string{"none", "user", "admin", "near"}},
		{"stacked", func(h http.Handler) http.Handler { return kit.Authenticate(kit.RequireRoles("admin")(h)) }, []string{"admin"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := c.guard(whoami)
			for _, who := range []string{"none", "user", "admin", "near"} {
				w := get(t, h, "/", "Bearer "+login(t, kit, who+"@example.com", "correct horse"))
				if contains(c.let, who) {
					require.Equal(t, 200, w.Code, who)
					continue
				}
				problem(t, w, 403, "Not enough permissions")
				require.Equal(t, `Bearer error="insufficient_scope"`, w.Header().Get("WWW-Authenticate"))
			}
		})
	}
}

func contains(list []string, s string) bool {
	return strings.Contains(","+strings.Join(list, ",")+",", ","+s+",")
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	kit := newKit(t, func(c *authkit.Config) {
		c.Roles = map[string][]string{
			"viewer": {"post:read"},
			"editor": {"post:read", "post:write"},
			"admin":  nil,
		}
	})
	addUser(t, kit, "viewer@example.com", "correct horse", "viewer")
	addUser(t, kit, "editor@example.com", "correct horse", "editor")
	addUser(t, kit, "admin@example.com", "correct horse", "admin") // no role is above the table
	for policy, let := range map[string][]string{
		"post:read":            {"viewer", "editor"},
		"post:write":           {"editor"},
		"post:read post:write": {"editor"},
	} {
		names := strings.Fields(policy)
		h := kit.Require(authkit.Permissions(names[0], names[1:]...))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, ok := authkit.PrincipalFrom(r.Context())
			require.True(t, ok)
			for _, name := range names {
				require.True(t, p.HasPermission(name))
			}
			require.False(t, p.HasPermission("post"))
			require.False(t, p.HasPermission(""))
		}))
		for _, who := range []string{"viewer", "editor", "admin"} {
			w := get(t, h, "/", "Bearer "+login(t, kit, who+"@example.com", "correct horse"))
			if contains(let, who) {
				require.Equal(t, 200, w.Code)
			} else {
				problem(t, w, 403, "Not enough permissions")
			}
		}
	}
}

// MW-05: a guard that cannot be right is refused when the program starts.
func TestGuardsRefusedAtStart(t *testing.T) {
	t.Parallel()
	open := newKit(t)
	closed := newKit(t, func(c *authkit.Config) { c.Roles = map[string][]string{"admin": {"x"}} })
	for name, f := range map[string]func(){
		"empty role":             func() { open.RequireRoles("") },
		"role with a space":      func() { open.RequireRoles("admin ") },
		"role with a slash":      func() { open.RequireAnyRole("a/b") },
		"role outside the table": func() { closed.RequireRoles("admin", "admni") },
		"permission of no role":  func() { closed.Require(authkit.Permissions("y")) },
		"permission, no table":   func() { open.Require(authkit.Permissions("x")) },
		"nil handler":            func() { open.Authenticate(nil) },
		"zero policy":            func() { open.Require(authkit.Policy{}) },
	} {
		require.Panics(t, f, name)
	}
	require.NotPanics(t, func() { closed.Require(authkit.Permissions("x")) })
}

func TestPolicyCheck(t *testing.T) {
	t.Parallel()
	somebody := authkit.Principal{UserID: "1", Roles: []string{"user"}}
	for _, c := range []struct {
		policy authkit.Policy
		text   string
		nobody error
		user   error
	}{
		{authkit.Policy{}, "none", authkit.ErrNoCredentials, authkit.ErrForbidden},
		{authkit.Public(), "public", nil, nil},
		{authkit.Authenticated(), "authenticated", authkit.ErrNoCredentials, nil},
		{authkit.Roles("user"), "roles: user", authkit.ErrNoCredentials, nil},
		{authkit.Roles("user", "admin"), "roles: user, admin", authkit.ErrNoCredentials, authkit.ErrForbidden},
		{authkit.AnyRole("admin", "user"), "any role: admin, user", authkit.ErrNoCredentials, nil},
		{authkit.AnyRole("admin"), "any role: admin", authkit.ErrNoCredentials, authkit.ErrForbidden},
		{authkit.Permissions("p"), "permissions: p", authkit.ErrNoCredentials, authkit.ErrForbidden},
	} {
		require.Equal(t, c.text, c.policy.String())
		require.ErrorIs(t, c.policy.Check(authkit.Principal{}), c.nobody)
		require.ErrorIs(t, c.policy.Check(somebody), c.user)
	}
	var stepUp *authkit.StepUpError
	require.ErrorAs(t, authkit.Authenticated().Fresh(100*365*24*time.Hour).Check(somebody), &stepUp, "a login of unknown time is not one of 1970")
}

// TK-09, AU-01: the account counts as it is now, not as the token remembers it.
func TestAccountAtEachRequest(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	var events recorder
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users = store })
	u := addUser(t, kit, "user@example.com", "correct horse", "admin")
	bearer := "Bearer " + login(t, kit, u.Email, "correct horse")
	admins := kit.RequireRoles("admin")(whoami)
	require.Equal(t, 200, get(t, admins, "/", bearer).Code)

	change := func(c authkit.UserUpdate) {
		_, err := store.UpdateUser(t.Context(), u.ID, c, time.Now())
		require.NoError(t, err)
	}
	change(authkit.UserUpdate{Roles: &[]string{"user"}})
	problem(t, get(t, admins, "/", bearer), 403, "Not enough permissions")
	require.Equal(t, authkit.EventAccessDenied, events.last().Kind)
	require.Equal(t, authkit.ReasonMissingRole, events.last().Reason)
	require.Equal(t, u.ID, events.last().UserID)

	// Disabled comes before the role check.
	change(authkit.UserUpdate{Disabled: new(true)})
	w := get(t, admins, "/", bearer)
	problem(t, w, 400, "Inactive user")
	require.Empty(t, w.Header().Values("WWW-Authenticate"))
	require.Equal(t, authkit.ReasonDisabled, events.last().Reason)
	require.Equal(t, u.ID, events.last().UserID)

	change(authkit.UserUpdate{Disabled: new(false), Roles: &[]string{"admin"}})
	require.Equal(t, 200, get(t, admins, "/", bearer).Code)

	require.NoError(t, store.DeleteUser(t.Context(), u.ID, ""))
	problem(t, get(t, admins, "/", bearer), 401, "Could not validate credentials")
	require.Equal(t, authkit.ReasonUnknownUser, events.last().Reason)
}

// An address that moved to another account does not carry the old token along.
func TestSubjectThatMoved(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	var events recorder
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users, c.EmailSubject = store, true })
	first := addUser(t, kit, "first@example.com", "correct horse")
	second := addUser(t, kit, "second@example.com", "battery staple", "admin")
	bearer := "Bearer " + login(t, kit, "first@example.com", "correct horse")
	h := kit.Authenticate(whoami)
	require.Equal(t, "first@example.com", get(t, h, "/", bearer).Body.String())

	for _, step := range []struct{ id, email string }{{first.ID, "gone@example.com"}, {second.ID, "first@example.com"}} {
		_, err := store.UpdateUser(t.Context(), step.id, authkit.UserUpdate{Email: &step.email}, time.Now())
		require.NoError(t, err)
	}
	problem(t, get(t, h, "/", bearer), 401, "Could not validate credentials")
	require.Equal(t, authkit.ReasonOtherAccount, events.last().Reason)

	// A token of the documented system says nothing but the address, and passes.
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}})
	require.NoError(t, err)
	bare, err := issuer.Issue(authkit.Claims{Subject: "first@example.com"})
	require.NoError(t, err)
	require.Equal(t, 200, get(t, h, "/", "Bearer "+bare).Code)
}

// failingStore fails every look-up.
type failingStore struct {
	authkit.UserStore
	err error
}

func (s failingStore) UserByID(context.Context, string) (authkit.StoredUser, error) {
	return authkit.StoredUser{}, s.err
}

func (s failingStore) UserByEmail(context.Context, string) (authkit.StoredUser, error) {
	return authkit.StoredUser{}, s.err
}

// MW-07: a store that fails is 503, never a pass, and never a 401 that would make
// clients throw good tokens away.
func TestStoreFailure(t *testing.T) {
	t.Parallel()
	const secret = "pq: connection to postgres://root:hunter2@db refused"
	var events recorder
	kit := newKit(t, events.listen, func(c *authkit.Config) {
		c.Users = failingStore{authkit.NewMemoryStore(), errors.New(secret)}
	})
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}})
	require.NoError(t, err)
	token, err := issuer.Issue(authkit.Claims{Subject: "somebody"})
	require.NoError(t, err)
	w := get(t, kit.Authenticate(whoami), "/", "Bearer "+token)
	problem(t, w, 503, "Temporarily unavailable")
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.Empty(t, w.Header().Values("WWW-Authenticate"))
	require.NotContains(t, w.Body.String(), "hunter2")
	require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
	require.ErrorContains(t, events.last().Err, secret)

	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	_, _, err = kit.Identify(r)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
}

// MW-06: who may not pass is refused before a byte of the body is read.
func TestBodyIsNotRead(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	addUser(t, kit, "user@example.com", "correct horse", "user")
	h := kit.RequireRoles("admin")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("passed") }))
	for _, bearer := range []string{"", "Bearer x", "Bearer " + login(t, kit, "user@example.com", "correct horse")} {
		r := httptest.NewRequest("POST", "/", explodingReader{t})
		if bearer != "" {
			r.Header.Set("Authorization", bearer)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Contains(t, []int{401, 403}, w.Code)
	}
}

type explodingReader struct{ t *testing.T }

func (r explodingReader) Read([]byte) (int, error) {
	r.t.Error("the body was read")
	return 0, errors.New("read")
}

// MW-08: nothing is in the context unless a guard put it there.
func TestContext(t *testing.T) {
	t.Parallel()
	kit := newKit(t, func(c *authkit.Config) {
		c.ExtraClaims = func(context.Context, authkit.User) (any, error) { return map[string]string{"plan": "pro"}, nil }
	})
	u := addUser(t, kit, "user@example.com", "correct horse", "user")
	token := login(t, kit, u.Email, "correct horse")

	_, ok := authkit.PrincipalFrom(context.Background())
	require.False(t, ok)
	_, ok = authkit.UserFrom(context.Background())
	require.False(t, ok)
	require.Equal(t, "nobody", get(t, kit.Require(authkit.Public())(whoami), "/", "Bearer "+token).Body.String())

	type key struct{}
	h := kit.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "kept", r.Context().Value(key{}), "the values of the request's context stay")
		require.Nil(t, r.Context().Value("another key"))
		got, ok := authkit.UserFrom(r.Context())
		require.True(t, ok)
		require.Equal(t, u, got)
		p, ok := authkit.PrincipalFrom(context.WithValue(r.Context(), key{}, "other"))
		require.True(t, ok)
		require.Equal(t, u.ID, p.UserID)
		require.Equal(t, u.Email, p.Email)
		require.True(t, p.HasRole("user"))
		require.False(t, p.HasRole("User"))
		require.NotEmpty(t, p.TokenID)
		require.Equal(t, 30*time.Minute, p.ExpiresAt.Sub(p.IssuedAt))
		var mine struct{ Plan string }
		require.NoError(t, p.DecodeClaims(&mine))
		require.Equal(t, "pro", mine.Plan)
	}))
	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), key{}, "kept"))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, 200, w.Code)
}

// countingStore counts look-ups.
type countingStore struct {
	authkit.UserStore
	reads int
}

func (s *countingStore) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	s.reads++
	return s.UserStore.UserByID(ctx, id)
}

// A guard behind another one of the same Kit does not authenticate again; one of
// another Kit does, and is not fooled.
func TestGuardsStack(t *testing.T) {
	t.Parallel()
	store := &countingStore{UserStore: authkit.NewMemoryStore()}
	kit := newKit(t, func(c *authkit.Config) { c.Users = store })
	other := newKit(t, func(c *authkit.Config) { c.Secret = []byte("another secret of thirty-two bytes or more") })
	addUser(t, kit, "user@example.com", "correct horse", "user", "admin")
	bearer := "Bearer " + login(t, kit, "user@example.com", "correct horse")

	store.reads = 0
	h := kit.Authenticate(kit.RequireRoles("admin")(kit.RequireAnyRole("user")(whoami)))
	require.Equal(t, 200, get(t, h, "/", bearer).Code)
	require.Equal(t, 1, store.reads)

	problem(t, get(t, kit.Authenticate(other.Authenticate(whoami)), "/", bearer), 401, "Could not validate credentials")
}

// MW-08: what a handler is given of the account is its own. A guard further in decides by
// what was verified.
func TestEditingThePrincipalGrantsNothing(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	addUser(t, kit, "user@example.com", "correct horse", "user")
	bearer := "Bearer " + login(t, kit, "user@example.com", "correct horse")
	edit := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, _ := authkit.PrincipalFrom(r.Context())
			u, _ := authkit.UserFrom(r.Context())
			p.Roles[0], u.Roles[0] = "admin", "admin"
			next.ServeHTTP(w, r)
		})
	}
	problem(t, get(t, kit.Authenticate(edit(kit.RequireRoles("admin")(whoami))), "/", bearer), 403, "")
}

// A request made from another one's context proves nothing by it: a guard looks at the
// token that the request itself carries.
func TestGuardLooksAtTheRequestsOwnToken(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	addUser(t, kit, "admin@example.com", "correct horse", "admin")
	addUser(t, kit, "user@example.com", "correct horse", "user")
	inner := kit.RequireRoles("admin")(whoami)
	outer := kit.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		part := httptest.NewRequest("GET", "/", nil).WithContext(r.Context())
		for _, v := range r.Header["X-Part"] {
			part.Header.Add("Authorization", v)
		}
		inner.ServeHTTP(w, part)
	}))
	admin, user := "Bearer "+login(t, kit, "admin@example.com", "correct horse"), "Bearer "+login(t, kit, "user@example.com", "correct horse")
	for part, status := range map[string]int{"": 401, "Bearer x": 401, user: 403, admin: 200} {
		w := do(outer, "GET", "/", "Authorization", admin, "X-Part", part)
		require.Equal(t, status, w.Code, part)
	}
	require.Equal(t, 200, do(outer, "GET", "/", "Authorization", user, "X-Part", admin).Code)
}

// laxStore finds accounts as a table with a case-insensitive collation does.
type laxStore struct{ authkit.UserStore }

func (s laxStore) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	return s.UserStore.UserByID(ctx, strings.ToLower(id))
}

// UserByEmail finds an account by another spelling, too.
func (s laxStore) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	return s.UserStore.UserByEmail(ctx, strings.TrimPrefix(email, "x"))
}

func TestEmailSubjectComparesBytes(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.Users, c.EmailSubject = laxStore{store}, true })
	addUser(t, kit, "user@example.com", "correct horse")
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}})
	require.NoError(t, err)
	for subject, status := range map[string]int{"user@example.com": 200, "User@example.com": 200, "xuser@example.com": 401} {
		token, err := issuer.Issue(authkit.Claims{Subject: subject})
		require.NoError(t, err)
		require.Equal(t, status, get(t, kit.Authenticate(whoami), "/", "Bearer "+token).Code, subject)
	}
}

func TestSubjectComparesBytes(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.Users = laxStore{store} })
	u := addUser(t, kit, "user@example.com", "correct horse")
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}})
	require.NoError(t, err)
	for subject, status := range map[string]int{u.ID: 200, strings.ToUpper(u.ID): 401} {
		token, err := issuer.Issue(authkit.Claims{Subject: subject})
		require.NoError(t, err)
		require.Equal(t, status, get(t, kit.Authenticate(whoami), "/", "Bearer "+token).Code)
	}
}

// hangingStore answers when the context ends.
type hangingStore struct{ authkit.UserStore }

func (hangingStore) hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s hangingStore) CreateUser(ctx context.Context, _ authkit.StoredUser) error { return s.hang(ctx) }

func (s hangingStore) UserByID(ctx context.Context, _ string) (authkit.StoredUser, error) {
	return authkit.StoredUser{}, s.hang(ctx)
}

func (s hangingStore) UserByEmail(ctx context.Context, _ string) (authkit.StoredUser, error) {
	return authkit.StoredUser{}, s.hang(ctx)
}

func (s hangingStore) UpdateUser(ctx context.Context, _ string, _ authkit.UserUpdate, _ time.Time) (authkit.User, error) {
	return authkit.User{}, s.hang(ctx)
}

// ST-04, RE-05: a store that hangs is cut off, and answered 503.
func TestStoreHangs(t *testing.T) {
	t.Parallel()
	for timeout, want := range map[time.Duration]time.Duration{0: 5 * time.Second, time.Second: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			kit := newKit(t, func(c *authkit.Config) {
				c.Users, c.StoreTimeout = hangingStore{authkit.NewMemoryStore()}, timeout
			})
			issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}})
			require.NoError(t, err)
			token, err := issuer.Issue(authkit.Claims{Subject: "somebody"})
			require.NoError(t, err)
			for name, f := range map[string]func(){
				"guarded request": func() {
					problem(t, get(t, kit.Authenticate(whoami), "/", "Bearer "+token), 503, "Temporarily unavailable")
				},
				"login": func() {
					_, err := kit.Login(t.Context(), "user@example.com", "correct horse")
					require.ErrorIs(t, err, authkit.ErrUnavailable)
				},
				"cut-off": func() {
					require.ErrorIs(t, kit.LogoutEverywhere(t.Context(), "somebody"), authkit.ErrUnavailable)
				},
				"new user": func() {
					_, err := kit.CreateUser(t.Context(), authkit.User{Email: "user@example.com"}, "correct horse")
					require.ErrorIs(t, err, authkit.ErrUnavailable)
				},
			} {
				began := time.Now()
				f()
				require.Equal(t, want, time.Since(began), name)
			}
		})
	}
}

// A store that hangs when a hash is replaced does not keep the place of the hash.
func TestRehashHoldsNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		users := newHookStore()
		users.update = func(ctx context.Context, _ string, _ authkit.UserUpdate, _ time.Time) (authkit.User, error) {
			<-ctx.Done()
			return authkit.User{}, ctx.Err()
		}
		kit := newKit(t, users.listen, func(c *authkit.Config) { c.Passwords.MaxConcurrentHashes = 1 })
		storeUser(t, users, authkit.StoredUser{User: authkit.User{Email: "old@example.com"}, PasswordHash: passlibHash("correct horse", "saltsalt", 1000)})
		addUser(t, kit, "new@example.com", "correct horse")
		done := make(chan error)
		go func() {
			_, err := kit.Login(t.Context(), "old@example.com", "correct horse")
			done <- err
		}()
		synctest.Wait() // the swap hangs
		began := time.Now()
		_, err := kit.Login(t.Context(), "new@example.com", "correct horse")
		require.NoError(t, err)
		require.Zero(t, time.Since(began))
		require.NoError(t, <-done, "a login does not fail for its rehash")
	})
}

// A store that answers with another row than the one asked for gives no caller the
// account of that row. A table with a case-insensitive collation does so.
func TestRowsOfAnotherKey(t *testing.T) {
	t.Parallel()
	store := &rowStore{MemoryStore: authkit.NewMemoryStore()}
	fake := &fakeAuthenticator{header: "X-Fake"}
	for _, joined := range []bool{true, false} {
		kit := newKit(t, withAuthenticators(fake), func(c *authkit.Config) {
			c.Users, c.Sessions.Store = store, store
			if !joined {
				c.Sessions.Store = struct{ authkit.SessionStore }{store}
			}
		})
		u := addUser(t, kit, authkit.NewUserID()+"@example.com", password)
		token, err := kit.Login(t.Context(), u.Email, password)
		require.NoError(t, err)
		fake.answers = map[string]func() (authkit.Credential, error){"key": gives(authkit.Credential{Kind: "fake", UserID: u.ID}, nil)}
		access := func(headers ...string) int { return do(kit.Authenticate(whoami), "GET", "/", headers...).Code }
		require.Equal(t, 200, access(bearer(token)...))
		require.Equal(t, 200, access("X-Fake", "key"))
		for name, change := range map[string]func(*authkit.StoredSession){
			"session": func(s *authkit.StoredSession) { s.ID = strings.ToUpper(s.ID) + "x" },
			"user":    func(s *authkit.StoredSession) { s.UserID = "another" },
		} {
			store.session = change
			require.Equal(t, 401, access(bearer(token)...), name)
		}
		store.session, store.user = nil, func(u *authkit.StoredUser) error { u.ID = "another"; return nil }
		require.Equal(t, 401, access(bearer(token)...))
		require.Equal(t, 401, access("X-Fake", "key"))
		store.user = func(*authkit.StoredUser) error { return errDown } // MW-07
		require.Equal(t, 503, access(bearer(token)...))
		require.Equal(t, 503, access("X-Fake", "key"))
		store.user = func(u *authkit.StoredUser) error { u.ID = "another"; return nil }
		_, err = kit.Refresh(t.Context(), token.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
		store.user = nil
	}
}

// The same holds for session cookies, if accounts are in another store.
func TestRowsOfAnotherKeyByCookie(t *testing.T) {
	t.Parallel()
	store := &rowStore{MemoryStore: authkit.NewMemoryStore()}
	_, h, _ := newSite(t, func(c *authkit.Config) { c.Users = store })
	s := surf(t, h)
	require.Equal(t, 200, s.status("/me"))
	store.user = func(u *authkit.StoredUser) error { u.ID = "another"; return nil }
	require.Equal(t, 401, s.status("/me"))
	store.user = func(*authkit.StoredUser) error { return errDown } // MW-07
	require.Equal(t, 503, s.status("/me"))
}

// A rowStore changes the rows that it has read.
type rowStore struct {
	*authkit.MemoryStore
	session func(*authkit.StoredSession)
	user    func(*authkit.StoredUser) error
}

func (s *rowStore) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	u, err := s.MemoryStore.UserByID(ctx, id)
	if s.user != nil && err == nil {
		if err = s.user(&u); err != nil {
			u = authkit.StoredUser{}
		}
	}
	return u, err
}

func (s *rowStore) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	session, err := s.MemoryStore.SessionByID(ctx, id)
	if s.session != nil {
		s.session(&session)
	}
	return session, err
}

func (s *rowStore) SessionUser(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
	session, err := s.SessionByID(ctx, id)
	if err != nil {
		return session, authkit.StoredUser{}, err
	}
	owner, err := s.MemoryStore.SessionByID(ctx, id)
	if err != nil {
		return session, authkit.StoredUser{}, err
	}
	u, err := s.UserByID(ctx, owner.UserID)
	return session, u, err
}

// A store that keeps accounts and sessions need not be a SessionUserStore.
func TestOneStoreWithoutSessionUser(t *testing.T) {
	t.Parallel()
	type plain struct {
		authkit.UserStore
		authkit.SessionStore
	}
	memory := authkit.NewMemoryStore()
	store := &plain{memory, memory}
	kit := newKit(t, func(c *authkit.Config) { c.Users, c.Sessions.Store = store, store })
	addUser(t, kit, email, password)
	require.Equal(t, 200, access(t, kit, begin(t, kit)))
}

// A guard further in does not take over the principal of a context that has no
// request: it authenticates the request.
func TestGuardBehindIdentifyToken(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSessionKit(t, withAuthenticators(&fakeAuthenticator{header: "X-Fake"}))
	ctx := as(t, kit, begin(t, kit))
	w := httptest.NewRecorder()
	kit.Authenticate(whoami).ServeHTTP(w, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
	require.Equal(t, 401, w.Code)
}

// A token whose subject is its client is that of a service, without an account.
// Its roles are those of the token, and its scope limits it.
func TestTokensOfServices(t *testing.T) {
	t.Parallel()
	guard := newGuard(t, func(c *authkit.GuardConfig) { c.Roles = map[string][]string{"admin": {"read", "write"}} })
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{tokKeyOf(testSecret)}})
	require.NoError(t, err)
	kit := newKit(t)
	for name, c := range map[string]struct {
		claims  authkit.Claims
		service string
		write   bool
	}{
		"service":                   {authkit.Claims{Subject: "job", ClientID: "job", Roles: []string{"admin"}}, "job", true},
		"limited service":           {authkit.Claims{Subject: "job", ClientID: "job", Roles: []string{"admin"}, Scope: []string{"read"}}, "job", false},
		"service without a scope":   {authkit.Claims{Subject: "job", ClientID: "job", Roles: []string{"admin"}, Scope: []string{}}, "job", false},
		"user of a client":          {authkit.Claims{Subject: "ann", ClientID: "app", Roles: []string{"admin"}}, "", true},
		"user without a client":     {authkit.Claims{Subject: "ann", Roles: []string{"admin"}}, "", true},
		"user of the client's name": {authkit.Claims{Subject: "app", ClientID: "app", UserID: "7", Roles: []string{"admin"}}, "", true},
	} {
		token, err := issuer.Issue(c.claims)
		require.NoError(t, err, name)
		_, p, err := guard.IdentifyToken(t.Context(), token)
		require.NoError(t, err, name)
		require.Equal(t, c.service, p.Name, name)
		require.Equal(t, c.service != "", p.Kind == authkit.Machine, name)
		require.Equal(t, []string{"admin"}, p.Roles, name)
		require.Equal(t, c.write, p.HasPermission("write"), name)
		policy := authkit.Permissions("write").OrMachines()
		status := 403
		if c.write {
			status = 200
		}
		require.Equal(t, status, do(guard.Require(policy)(whoami), "GET", "/", "Authorization", "Bearer "+token).Code, name)
		_, _, err = kit.IdentifyToken(t.Context(), token) // without Clients
		require.ErrorIs(t, err, authkit.ErrInvalidToken, name)
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	var events recorder
	kit := newKit(t, events.listen)
	u := addUser(t, kit, "user@example.com", "correct horse")
	token := login(t, kit, u.Email, "correct horse")
	events.reset()
	for authorization, want := range map[string]error{
		"":                 authkit.ErrNoCredentials,
		"Basic x":          authkit.ErrNoCredentials,
		"Bearer x":         authkit.ErrInvalidToken,
		"Bearer " + token:  nil,
		"Bearer " + "a.b.": authkit.ErrInvalidToken,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		_, p, err := kit.Identify(r)
		require.ErrorIs(t, err, want)
		require.Equal(t, want == nil, p.UserID == u.ID)
	}
	require.Empty(t, events.all())
}

// Roles that the request's account has are its own copy: a handler that edits them
// changes nothing for the next request.
func TestHandlerEditsItsUser(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	addUser(t, kit, "user@example.com", "correct horse", "user")
	bearer := "Bearer " + login(t, kit, "user@example.com", "correct horse")
	edit := kit.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := authkit.UserFrom(r.Context())
		u.Roles[0] = "admin"
	}))
	require.Equal(t, 200, get(t, edit, "/", bearer).Code)
	problem(t, get(t, kit.RequireRoles("admin")(whoami), "/", bearer), 403, "")
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		kit := newKit(t, events.listen)
		addUser(t, kit, "user@example.com", "correct horse")
		bearer := "Bearer " + login(t, kit, "user@example.com", "correct horse")
		h := kit.Authenticate(whoami)
		time.Sleep(30*time.Minute + 29*time.Second) // within the leeway
		require.Equal(t, 200, get(t, h, "/", bearer).Code)
		time.Sleep(time.Second)
		problem(t, get(t, h, "/", bearer), 401, "Could not validate credentials")
		require.Equal(t, authkit.ReasonExpired, events.last().Reason)
	})
}

// The context of a request is logged now and then. It must not print the access token.
func TestContextIsRedacted(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSessionKit(t)
	token := begin(t, kit)
	ctx := as(t, kit, token)
	for _, c := range []context.Context{ctx, context.WithValue(ctx, t, 1), authkit.WithSystem(ctx, "job")} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			require.NotContains(t, fmt.Sprintf(verb, c), token.AccessToken[:40], verb)
		}
	}
	require.Equal(t, "authkit.Context{[redacted]}", fmt.Sprint(ctx))
}
