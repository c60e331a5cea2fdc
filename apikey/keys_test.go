package apikey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

func TestManage(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	header := a.login(t)
	w := a.ask("GET", keyPath, "", "Authorization", header)
	require.Equal(t, 200, w.Code)
	require.Equal(t, "[]\n", w.Body.String())

	w = a.ask("POST", keyPath, `{"name":"backup","scopes":["notes:read"],"networks":["192.0.2.0/24"],"expires_in":3600}`, "Authorization", header)
	require.Equal(t, 201, w.Code, w.Body.String())
	require.Equal(t, []string{"no-store", "nosniff", "application/json"}, []string{
		w.Header().Get("Cache-Control"), w.Header().Get("X-Content-Type-Options"), w.Header().Get("Content-Type"), // MW-10, TR-02
	})
	made := decodeJSON[map[string]any](t, w)
	require.Equal(t, a.user.ID, made["user_id"])
	text, id := made["key"].(string), made["id"].(string)
	require.Equal(t, authkit.Event{Kind: authkit.EventKeyCreated, UserID: a.user.ID, SessionID: id}, a.last())
	key, err := a.store.KeyByID(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, time.Hour, key.ExpiresAt.Sub(key.CreatedAt))

	w = a.ask("GET", keyPath, "", "Authorization", header)
	list := decodeJSON[[]apikey.Key](t, w)
	require.Equal(t, []apikey.Key{key.Key}, list)
	require.NotContains(t, w.Body.String(), text[20:], "a key is shown once")
	require.NotContains(t, w.Body.String(), "hash")

	w = a.ask("POST", keyPath+"/"+id+"/rotate", `{"overlap":60}`, "Authorization", header)
	require.Equal(t, 200, w.Code)
	require.NotEqual(t, text, decodeJSON[map[string]any](t, w)["key"])
	require.Equal(t, 422, a.ask("POST", keyPath+"/"+id+"/rotate", `{"overlap":86401}`, "Authorization", header).Code)
	require.Equal(t, 422, a.ask("POST", keyPath+"/"+id+"/rotate", `{"overlap":9223372036854775807}`, "Authorization", header).Code)

	w = a.ask("DELETE", keyPath+"/"+id, "", "Authorization", header)
	require.Equal(t, 204, w.Code)
	require.Empty(t, w.Body.String())
	require.Empty(t, w.Header().Get("Content-Type"))
	require.Equal(t, 404, a.ask("DELETE", keyPath+"/"+id, "", "Authorization", header).Code)
	require.Equal(t, 404, a.ask("POST", keyPath+"/"+id+"/rotate", `{}`, "Authorization", header).Code)
	require.NotEqual(t, authkit.EventStoreFailure, a.last().Kind)
	require.Equal(t, 400, a.ask("POST", keyPath+"/"+id+"/rotate", `{"hash":""}`, "Authorization", header).Code)
}

// AK-05: owner and scopes come from the session, never from the body.
func TestBodyChoosesNoOwner(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	header := a.login(t)
	other, err := a.kit.CreateUser(t.Context(), authkit.User{Email: "root@example.com", Roles: []string{"admin"}}, password)
	require.NoError(t, err)
	for name, body := range map[string]string{
		"user_id": `{"user_id":"` + other.ID + `"}`, "UserID": `{"UserID":"` + other.ID + `"}`, "owner": `{"owner":{"user_id":"` + other.ID + `"}}`,
		"service_id": `{"service_id":"x"}`, "id": `{"id":"0000000000000000"}`, "hash": `{"hash":""}`, "roles": `{"roles":["admin"]}`,
		"InsecureNoExpiry": `{"InsecureNoExpiry":true}`, "two values": `{} {}`, "no object": `[]`, "nothing": ``, "broken": `{"name":`, "a number": `{"scopes":1}`,
	} {
		w := a.ask("POST", keyPath, body, "Authorization", header, "Content-Type", "application/json")
		require.Equal(t, 400, w.Code, name)
	}
	require.Equal(t, 415, a.ask("POST", keyPath, "", "Authorization", header).Code)
	require.Equal(t, 413, a.ask("POST", keyPath, `{"name":"`+strings.Repeat("x", 17<<10)+`"}`, "Authorization", header).Code)
	for field, body := range map[string]string{
		"scopes":   `{"scopes":["users:write"]}`, // of another role
		"scopes ":  `{"scopes":["notes:delete"]}`,
		"scopes  ": `{"scopes":["notes:read","notes:read"]}`,
		"networks": `{"networks":[` + strings.TrimSuffix(strings.Repeat(`"192.0.2.0/24",`, 17), ",") + `]}`,
		"life":     `{"expires_in":31622401}`,
		"life ":    `{"expires_in":-1}`,
		"name":     `{"name":"a\u0000b"}`,
		"name ":    `{"name":"` + strings.Repeat("x", 65) + `"}`,
	} {
		w := a.ask("POST", keyPath, body, "Authorization", header)
		require.Equal(t, 422, w.Code, body)
		problem := decodeJSON[authkit.Problem](t, w)
		require.Equal(t, strings.TrimSpace(field), problem.Errors[0].Field, body)
	}
	for _, owner := range []apikey.Owner{apikey.OfUser(a.user.ID), apikey.OfUser(other.ID)} {
		keys, err := a.store.KeysByOwner(t.Context(), owner)
		require.NoError(t, err)
		require.Empty(t, keys)
	}
}

// as returns the context of a handler behind the guard.
func (a *app) as(t testing.TB, header string) context.Context {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", header)
	ctx, _, err := a.kit.Identify(r)
	require.NoError(t, err)
	return ctx
}

// AK-07: every change needs a login of the owner that is at most five minutes
// old.
func TestManageNeedsAFreshLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		key := a.create(t, apikey.Options{Scopes: []string{"notes:read"}})
		other, err := a.kit.CreateUser(t.Context(), authkit.User{Email: "root@example.com", Roles: []string{"admin"}}, password)
		require.NoError(t, err)
		methods := map[string]func(ctx context.Context, userID string) error{
			"Create": func(ctx context.Context, userID string) error {
				_, err := a.Create(ctx, apikey.OfUser(userID), apikey.Options{})
				return err
			},
			"List": func(ctx context.Context, userID string) error {
				_, err := a.List(ctx, apikey.OfUser(userID))
				return err
			},
			"Rotate": func(ctx context.Context, userID string) error {
				_, err := a.Rotate(ctx, apikey.OfUser(userID), key.ID, 0)
				return err
			},
			"Revoke": func(ctx context.Context, userID string) error { return a.Revoke(ctx, apikey.OfUser(userID), key.ID) },
		}
		routes := map[string]func(header string) int{
			"Create": func(h string) int { return a.ask("POST", keyPath, `{}`, "Authorization", h).Code },
			"List":   func(h string) int { return a.ask("GET", keyPath, "", "Authorization", h).Code },
			"Rotate": func(h string) int { return a.ask("POST", keyPath+"/"+key.ID+"/rotate", `{}`, "Authorization", h).Code },
			"Revoke": func(h string) int { return a.ask("DELETE", keyPath+"/"+key.ID, "", "Authorization", h).Code },
		}
		header := a.login(t)
		token, err := a.kit.Login(t.Context(), other.Email, password)
		require.NoError(t, err)
		theirs := "Bearer " + token.AccessToken
		for name, call := range methods {
			require.ErrorIs(t, call(a.as(t, theirs), a.user.ID), authkit.ErrForbidden, name)
			require.ErrorIs(t, call(a.as(t, "Bearer "+key.Text), a.user.ID), authkit.ErrForbidden, name)
			require.Equal(t, 403, routes[name]("Bearer "+key.Text), name)
		}
		// The key of another user answers like a missing one.
		require.Equal(t, 404, routes["Rotate"](theirs))
		require.Equal(t, 404, routes["Revoke"](theirs))
		require.Equal(t, 200, a.with(key.Text, "/any"))

		time.Sleep(5*time.Minute + time.Second)
		for name, call := range methods {
			var stale *authkit.StepUpError
			require.ErrorAs(t, call(a.as(t, header), a.user.ID), &stale, name)
			require.Equal(t, 401, routes[name](header), name)
		}
		require.Equal(t, 200, a.with(key.Text, "/any"))
		header = a.login(t)
		for _, name := range []string{"Create", "List", "Rotate", "Revoke"} {
			require.NoError(t, methods[name](a.as(t, header), a.user.ID), name)
		}
		ctx := authkit.WithSystem(t.Context(), "cli:ann")
		_, err = a.Create(ctx, apikey.OfUser(a.user.ID), apikey.Options{Scopes: []string{"users:write"}})
		require.NoError(t, err)
		_, err = a.Create(ctx, apikey.OfUser("nobody"), apikey.Options{})
		require.ErrorIs(t, err, authkit.ErrUserNotFound)
		_, err = a.Import(a.as(t, header), apikey.Import{Owner: apikey.OfUser(a.user.ID), Hash: apikey.Hash("x")})
		require.ErrorIs(t, err, authkit.ErrForbidden)
	})
}

// AK-03: a key reaches none of the routes of sessions, passwords and keys.
func TestKeysReachNoAccountRoutes(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	mux := a.mux
	mux.Handle("POST /logout", authkit.Authenticated(), a.kit.LogoutHandler())
	mux.Handle("GET /users/me/sessions", authkit.Authenticated(), a.kit.SessionsHandler())
	mux.Handle("DELETE /users/me/sessions", authkit.Authenticated(), a.kit.EndOtherSessionsHandler())
	mux.Handle("DELETE /users/me/sessions/{id}", authkit.Authenticated(), a.kit.EndSessionHandler())
	mux.Handle("POST /users/me/password", authkit.Authenticated(), a.kit.ChangePasswordHandler())
	mux.Handle("POST /introspect", authkit.Roles("editor"), a.kit.IntrospectionHandler())
	key := a.create(t, apikey.Options{Scopes: []string{"notes:read", "notes:write"}}).Text
	admitted := 0
	for _, route := range mux.AccessMatrix() {
		path := strings.NewReplacer("{id}", key[3:19]).Replace(route.Pattern)
		w := a.ask(route.Method, path, "", "Authorization", "Bearer "+key)
		switch {
		case route.Policy.String() == "public": // the report of a leak
			require.Equal(t, "/users/me/keys/leaked", route.Pattern)
		case strings.Contains(route.Policy.String(), "or machines") && !strings.Contains(route.Policy.String(), "roles"):
			require.Equal(t, 200, w.Code, route.Pattern)
			admitted++
		default:
			require.Equal(t, 403, w.Code, "%s %s", route.Method, route.Pattern)
		}
	}
	require.Equal(t, 3, admitted)
	require.Equal(t, 200, a.with(key, "/any"))

	// Nor do the methods, in a handler that admits machines.
	ctx := a.as(t, "Bearer "+key)
	require.ErrorIs(t, a.kit.ChangePassword(ctx, a.user.ID, password, "battery staple"), authkit.ErrForbidden)
	require.ErrorIs(t, a.kit.SetPassword(ctx, a.user.ID, "battery staple"), authkit.ErrForbidden)
	require.ErrorIs(t, a.kit.ChangeFactor(ctx, authkit.Event{Kind: authkit.EventFactorAdded, UserID: a.user.ID, Method: "otp"}, func(context.Context) error { return nil }), authkit.ErrForbidden)
}

func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	header := a.login(t)
	for range 50 {
		require.Equal(t, 201, a.ask("POST", keyPath, `{}`, "Authorization", header).Code)
	}
	require.Equal(t, 409, a.ask("POST", keyPath, `{}`, "Authorization", header).Code)
}

// AK-10: of two rotations at once, one succeeds.
func TestRotateAtOnce(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	key := a.create(t, apikey.Options{})
	for range 20 {
		var mu sync.Mutex
		var texts []string
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				next, err := a.Rotate(t.Context(), apikey.OfUser(a.user.ID), key.ID, 0)
				if err != nil {
					require.ErrorIs(t, err, apikey.ErrConflict)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				texts = append(texts, next.Text)
			})
		}
		all.Wait()
		good := 0
		for _, text := range texts {
			if a.with(text, "/any") == 200 {
				good++
			}
		}
		require.Equal(t, 1, good)
	}
}

// AK-01: the text is in its JSON form and in no log.
func TestIssuedIsRedacted(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	key := a.create(t, apikey.Options{})
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("made", "key", key)
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "key", key)
	_, _ = fmt.Fprintf(&log, "%v %+v %#v %s %q %d %v", key, key, key, key, key, key, &key)
	_, _ = fmt.Fprint(&log, key.String())
	require.NotContains(t, log.String(), key.Text[20:])
	require.Contains(t, log.String(), key.ID)
	text, err := json.Marshal(key)
	require.NoError(t, err)
	require.Contains(t, string(text), key.Text)
}

func TestProblems(t *testing.T) {
	t.Parallel()
	_, err := apikey.NewAuthenticator(apikey.Config{
		Store: new(apikey.MemoryStore), StoreTimeout: -1, Prefix: "A_", ImportedPrefixes: []string{"x", "a.b.c", "A__live"},
	})
	for _, part := range []string{"Config.Store:", "Config.StoreTimeout:", "Config.Prefix:", `"x"`, `"a.b.c"`, `"A__live" overlaps`} {
		require.ErrorContains(t, err, part)
	}
	for _, bad := range []string{"ab", "a b", "a\x7fb", "ab\n", "a\u00e4b", "a.b", "ak_live_", "ak_", "ak"} {
		_, err := apikey.NewAuthenticator(apikey.Config{Prefix: "ak", ImportedPrefixes: []string{bad}})
		require.ErrorContains(t, err, "Config.ImportedPrefixes", bad)
	}
	_, err = apikey.NewAuthenticator(apikey.Config{Prefix: "acme", ImportedPrefixes: []string{"acm"}})
	require.ErrorContains(t, err, "overlaps")
	_, err = apikey.NewAuthenticator(apikey.Config{ImportedPrefixes: []string{"ab_", "!a~"}})
	require.NoError(t, err)
	_, err = apikey.NewAuthenticator(apikey.Config{Store: (*apikey.MemoryStore)(nil)})
	require.ErrorContains(t, err, "Config.Store:")
	for _, prefix := range []string{"a", "1a", "a-b", strings.Repeat("a", 17)} {
		_, err := apikey.NewAuthenticator(apikey.Config{Prefix: prefix})
		require.Error(t, err, prefix)
	}
	auth, err := apikey.NewAuthenticator(apikey.Config{Prefix: "acme"})
	require.NoError(t, err)
	kit, err := authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")})
	require.NoError(t, err)
	_, err = apikey.New(kit, auth)
	require.ErrorContains(t, err, "Config.Authenticators")
	require.ErrorContains(t, err, "Config.UserData")
	empty := new(apikey.Authenticator)
	withEmpty, err := authkit.New(authkit.Config{
		Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: authkit.NewMemoryStore(),
		Authenticators: []authkit.Authenticator{empty}, UserData: []authkit.UserData{empty},
	})
	require.NoError(t, err)
	for _, call := range []func() (*apikey.Keys, error){
		func() (*apikey.Keys, error) { return apikey.New(nil, auth) },
		func() (*apikey.Keys, error) { return apikey.New(kit, nil) },
		func() (*apikey.Keys, error) { return apikey.New(withEmpty, empty) },
	} {
		_, err := call()
		require.Error(t, err)
	}
}

// AK-05: a new key at each limit is accepted, and one beyond it is refused.
func TestOptionsAtTheirLimits(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 65 {
		many = append(many, fmt.Sprint("notes:", i))
	}
	a := newApp(t, func(_ *apikey.Config, c *authkit.Config) { c.Roles["reader"] = many })
	network := netip.MustParsePrefix("192.0.2.0/24")
	mapped := netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 120)
	for field, c := range map[string]struct{ good, bad []apikey.Options }{
		"name": {
			[]apikey.Options{{Name: strings.Repeat("\u00e9", 64)}},
			[]apikey.Options{{Name: strings.Repeat("x", 65)}, {Name: "a\xffb"}, {Name: "a\nb"}},
		},
		"scopes":   {[]apikey.Options{{Scopes: many[:64]}}, []apikey.Options{{Scopes: many}}},
		"networks": {[]apikey.Options{{Networks: repeat(network, 16)}}, []apikey.Options{{Networks: repeat(network, 17)}, {Networks: []netip.Prefix{{}}}, {Networks: []netip.Prefix{mapped}}}},
		"life":     {[]apikey.Options{{Life: 366 * 24 * time.Hour}}, []apikey.Options{{Life: 366*24*time.Hour + 1}, {InsecureNoExpiry: true, Life: time.Hour}}},
	} {
		for _, o := range c.good {
			a.create(t, o)
		}
		for _, o := range c.bad {
			_, err := a.Create(t.Context(), apikey.OfUser(a.user.ID), o)
			var invalid *authkit.ValidationError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, field, invalid.Fields[0].Field)
			require.Equal(t, http.StatusUnprocessableEntity, authkit.ProblemFor(err).Status)
		}
	}
}

func repeat[T any](v T, n int) (list []T) {
	for range n {
		list = append(list, v)
	}
	return list
}

func TestOwnerIsAUserOrAService(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	_, err := a.CreateService(t.Context(), "billing")
	require.NoError(t, err)
	_, err = a.Create(t.Context(), apikey.Owner{UserID: a.user.ID, ServiceID: "billing"}, apikey.Options{})
	require.ErrorIs(t, err, apikey.ErrNotFound)
}

// A slash at the end of a path does not change the routes.
func TestMountWithSlash(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	a.mux = a.kit.NewMux()
	a.Mount(a.mux, keyPath+"/")
	a.MountServices(a.mux, "/services/")
	header := a.login(t)
	require.Equal(t, 200, a.ask("GET", keyPath, "", "Authorization", header).Code)
	require.Equal(t, 403, a.ask("GET", "/services", "", "Authorization", header).Code)
}
