package authkit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// sessionMux mounts all that is about sessions.
func sessionMux(kit *authkit.Kit) *authkit.Mux {
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.Handle("POST /revoke", authkit.Public(), kit.RevocationHandler())
	mux.Handle("POST /introspect", authkit.Roles("service"), kit.IntrospectionHandler())
	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
	mux.Handle("GET /sessions", authkit.Authenticated(), kit.SessionsHandler())
	mux.Handle("DELETE /sessions", authkit.Authenticated(), kit.EndOtherSessionsHandler())
	mux.Handle("DELETE /sessions/{id}", authkit.Authenticated(), kit.EndSessionHandler())
	mux.Handle("GET /me", authkit.Authenticated(), whoami)
	return mux
}

func form(pairs ...string) string {
	values := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return values.Encode()
}

func bearer(token authkit.Token) []string {
	return []string{"Authorization", "Bearer " + token.AccessToken}
}

// asToken reads the answer of the token endpoint.
func asToken(t testing.TB, w *httptest.ResponseRecorder) authkit.Token {
	t.Helper()
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	var token authkit.Token
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &token))
	return token
}

// RFC 6749 section 6.
func TestTokenHandlerRefreshes(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSessionKit(t)
	mux := sessionMux(kit)
	first := asToken(t, post(mux, "/token", formType, form("username", email, "password", password)))
	require.NotEmpty(t, first.RefreshToken)
	second := asToken(t, post(mux, "/token", formType, form("grant_type", "refresh_token", "refresh_token", first.RefreshToken, "scope", "", "client_id", "x")))
	require.NotEqual(t, first.RefreshToken, second.RefreshToken)
	require.Equal(t, "bearer", second.TokenType)

	for name, tc := range map[string]struct {
		target, body string
		status       int
		code         string
	}{
		"unknown":               {"/token", form("grant_type", "refresh_token", "refresh_token", "akr_x"), 400, "invalid_grant"},
		"missing":               {"/token", form("grant_type", "refresh_token"), 422, "invalid_request"},
		"empty":                 {"/token", form("grant_type", "refresh_token", "refresh_token", ""), 422, "invalid_request"},
		"twice":                 {"/token", form("grant_type", "refresh_token", "refresh_token", second.RefreshToken, "refresh_token", "x"), 400, "invalid_request"},
		"in the URL":            {"/token?refresh_token=" + second.RefreshToken, form("grant_type", "refresh_token"), 400, "invalid_request"},
		"with a password grant": {"/token", form("refresh_token", second.RefreshToken), 422, "invalid_request"},
		"another grant":         {"/token", form("grant_type", "client_credentials"), 400, "unsupported_grant_type"},
	} {
		w := post(mux, tc.target, formType, tc.body)
		require.Equal(t, tc.status, w.Code, name)
		var p authkit.Problem
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
		require.Equal(t, tc.code, p.Code, name)
		require.NotContains(t, w.Body.String(), "akr_", name)
	}
	asToken(t, post(mux, "/token", formType, form("grant_type", "refresh_token", "refresh_token", second.RefreshToken)))

	plain := newKit(t)
	w := post(plain.TokenHandler(), "/token", formType, form("grant_type", "refresh_token", "refresh_token", second.RefreshToken))
	require.Equal(t, 400, w.Code)
	require.Contains(t, w.Body.String(), "unsupported_grant_type")
}

func TestTokenHandlerNamesTheClient(t *testing.T) {
	t.Parallel()
	kit, _, user := newSessionKit(t)
	send := func(ctx context.Context, remote string) authkit.Session {
		r := httptest.NewRequestWithContext(ctx, "POST", "/token", strings.NewReader(form("username", email, "password", password)))
		r.Header.Set("Content-Type", formType)
		r.Header.Set("User-Agent", "curl/8")
		r.Header.Set("X-Forwarded-For", "198.51.100.1") // anybody can write that
		r.RemoteAddr = remote
		w := httptest.NewRecorder()
		kit.TokenHandler().ServeHTTP(w, r)
		asToken(t, w)
		list, err := kit.Sessions(t.Context(), user.ID)
		require.NoError(t, err)
		return slices.MaxFunc(list, func(a, b authkit.Session) int { return a.CreatedAt.Compare(b.CreatedAt) })
	}
	s := send(t.Context(), "203.0.113.9:4711")
	require.Equal(t, []string{"203.0.113.9", "curl/8"}, []string{s.Address, s.Device})
	time.Sleep(time.Millisecond)
	require.Equal(t, "2001:db8::1", send(t.Context(), "[2001:db8::1]:4711").Address)
	time.Sleep(time.Millisecond)
	require.Equal(t, "@", send(t.Context(), "@").Address, "a Unix socket")
	time.Sleep(time.Millisecond)
	s = send(authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "192.0.2.1", Device: "app"}), "203.0.113.9:4711")
	require.Equal(t, []string{"192.0.2.1", "app"}, []string{s.Address, s.Device}, "the host knows better")
}

func TestLogoutHandler(t *testing.T) {
	t.Parallel()
	kit, store, _ := newSessionKit(t)
	mux := sessionMux(kit)
	token, other := begin(t, kit), begin(t, kit)
	w := do(mux, "POST", "/logout", bearer(token)...)
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Empty(t, w.Body.String())
	problem(t, do(mux, "GET", "/me", bearer(token)...), 401, "Could not validate credentials")
	problem(t, do(mux, "POST", "/logout", bearer(token)...), 401, "Could not validate credentials")
	require.Equal(t, http.StatusOK, do(mux, "GET", "/me", bearer(other)...).Code)
	problem(t, do(mux, "POST", "/logout"), 401, "Not authenticated")

	problem(t, do(kit.LogoutHandler(), "POST", "/", bearer(other)...), 401, "Not authenticated") // mounted without a guard
	problem(t, do(kit.Authenticate(kit.LogoutHandler()), "GET", "/", bearer(other)...), 405, "Method not allowed")
	require.Equal(t, http.StatusOK, do(mux, "GET", "/me", bearer(other)...).Code)

	plain := newKit(t, func(c *authkit.Config) { c.Users = store }) // whose tokens belong to no session
	problem(t, do(kit.Authenticate(kit.LogoutHandler()), "POST", "/", bearer(begin(t, plain))...), 409, "The token belongs to no session")
}

// A handler that could answer nothing but errors keeps the program from starting.
func TestHandlersNeedSessions(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	for name, make := range map[string]func() http.Handler{
		"LogoutHandler": kit.LogoutHandler, "SessionsHandler": kit.SessionsHandler, "EndSessionHandler": kit.EndSessionHandler,
		"EndOtherSessionsHandler": kit.EndOtherSessionsHandler, "RevocationHandler": kit.RevocationHandler,
		"RefreshCookieHandler": func() http.Handler { return kit.RefreshCookieHandler() },
	} {
		require.PanicsWithValue(t, "authkit: "+name+": sessions are off; set Config.Sessions.Store", func() { make() })
	}
	require.NotNil(t, kit.IntrospectionHandler())
}

func TestSessionsHandler(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSessionKit(t)
	mux := sessionMux(kit)
	addUser(t, kit, "other@example.com", password)
	stranger, err := kit.Login(t.Context(), "other@example.com", password)
	require.NoError(t, err)
	var tokens []authkit.Token
	for range 4 {
		tokens = append(tokens, begin(t, kit))
		time.Sleep(time.Millisecond)
	}
	list := func(token authkit.Token) (ids []string, current string) {
		w := do(mux, "GET", "/sessions", bearer(token)...)
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		var sessions []map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &sessions))
		for _, s := range sessions {
			require.ElementsMatch(t, []string{"id", "device", "address", "created_at", "last_used_at", "expires_at", "absolute_expires_at", "auth_time", "amr", "current"}, slices.Collect(keysOf(s)))
			ids = append(ids, s["id"].(string))
			if s["current"] == true {
				current += s["id"].(string)
			}
		}
		return ids, current
	}
	ids, current := list(tokens[1])
	require.Equal(t, []string{sessionID(t, tokens[3]), sessionID(t, tokens[2]), sessionID(t, tokens[1]), sessionID(t, tokens[0])}, ids)
	require.Equal(t, sessionID(t, tokens[1]), current)

	problem(t, do(mux, "DELETE", "/sessions/"+sessionID(t, tokens[0]), bearer(stranger)...), 404, "Session not found")
	problem(t, do(mux, "DELETE", "/sessions/x", bearer(tokens[0])...), 404, "Session not found")
	require.Equal(t, http.StatusNoContent, do(mux, "DELETE", "/sessions/"+sessionID(t, tokens[0]), bearer(tokens[1])...).Code)
	problem(t, do(mux, "GET", "/me", bearer(tokens[0])...), 401, "Could not validate credentials")
	require.Equal(t, http.StatusNoContent, do(mux, "DELETE", "/sessions", bearer(tokens[1])...).Code)
	ids, _ = list(tokens[1])
	require.Equal(t, []string{sessionID(t, tokens[1])}, ids)
	ids, _ = list(stranger)
	require.Len(t, ids, 1)
	problem(t, do(mux, "GET", "/sessions"), 401, "Not authenticated")
	for method, handler := range map[string]http.Handler{
		"GET": kit.SessionsHandler(), "DELETE": kit.EndSessionHandler(), "DELETE ": kit.EndOtherSessionsHandler(),
	} {
		method = strings.TrimSpace(method)
		problem(t, do(handler, method, "/x", bearer(tokens[1])...), 401, "Not authenticated")
		w := do(kit.Authenticate(handler), "POST", "/x", bearer(tokens[1])...)
		problem(t, w, 405, "Method not allowed")
		require.Contains(t, w.Header().Get("Allow"), method)
	}
	problem(t, do(kit.Authenticate(kit.SessionsHandler()), "DELETE", "/", bearer(tokens[1])...), 405, "Method not allowed")
	ids, _ = list(tokens[1])
	require.Len(t, ids, 1)
}

// A session that ends while its own logout is under way is logged out. A store that fails is 503, and
// the session goes on.
func TestSessionHandlersWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, store.listen)
	user := addUser(t, kit, email, password)
	mux := sessionMux(kit)
	token := begin(t, kit)
	for _, c := range []struct{ fails, method, path string }{
		{"RevokeSession", "POST", "/logout"},
		{"RevokeSession", "DELETE", "/sessions/" + sessionID(t, token)},
		{"RevokeSessions", "DELETE", "/sessions"},
		{"SessionByID", "DELETE", "/sessions"},
		{"SessionsByUser", "GET", "/sessions"},
	} {
		store.down(false, c.fails)
		problem(t, do(mux, c.method, c.path, bearer(token)...), 503, "Temporarily unavailable")
	}
	store.up()
	require.Equal(t, http.StatusOK, access(t, kit, token))
	require.Equal(t, http.StatusOK, do(mux, "HEAD", "/sessions", bearer(token)...).Code)

	store.before = func(name string, _ int) error {
		if name == "RevokeSession" {
			return store.MemoryStore.RevokeSessions(t.Context(), user.ID, "", time.Now())
		}
		return nil
	}
	w := do(mux, "POST", "/logout", bearer(token)...)
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
}

func keysOf(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// The handler that ends one session ends that one or none, whatever the route. Behind a
// router that sets no path value, the ID is the last segment of the path.
func TestSessionsHandlerWithoutAnID(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, path string // %s is the ID of the other session
		status        int
	}{
		{"DELETE /sessions/{id}", "/sessions/%s", 204},
		{"DELETE /sessions/{id}/{$}", "/sessions/%s/", 204},
		{"DELETE /sessions/{session}", "/sessions/%s", 204},
		{"DELETE /sessions/{key}/{$}", "/sessions/%s/", 204},
		{"DELETE /sessions/", "/sessions/%s", 204},
		{"DELETE /sessions/{session}", "/sessions/x", 404},
		{"DELETE /sessions/{key}/", "/sessions/x/", 404},
		{"DELETE /sessions/{id}", "/sessions/", 404},
		{"DELETE /sessions/{id...}", "/sessions/", 404},
		{"DELETE /sessions/{id...}", "/sessions/x/%s", 404},
		{"DELETE /sessions/", "/sessions/", 404},
		{"DELETE /sessions", "/sessions", 404},
		{"DELETE /", "/", 404},
		{"DELETE /sessions/", "/sessions/x%%2F%s", 404},
		{"DELETE /sessions/", "/sessions/%s/end", 404},
	} {
		kit, _, user := newSessionKit(t)
		token, other, third := begin(t, kit), begin(t, kit), begin(t, kit)
		mux := http.NewServeMux() // a Mux refuses an encoded slash itself
		mux.Handle(tc.pattern, kit.Authenticate(kit.EndSessionHandler()))
		path := tc.path
		if strings.Contains(path, "%s") {
			path = fmt.Sprintf(path, sessionID(t, other))
		}
		require.Equal(t, tc.status, do(mux, "DELETE", path, bearer(token)...).Code, tc)
		want := []string{sessionID(t, token), sessionID(t, third)}
		if tc.status != 204 {
			want = append(want, sessionID(t, other))
		}
		list, err := kit.Sessions(t.Context(), user.ID)
		require.NoError(t, err)
		var left []string
		for _, s := range list {
			left = append(left, s.ID)
		}
		require.ElementsMatch(t, want, left, tc)
	}
}

// RF-10: RFC 7009.
func TestRevocationHandler(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, store.listen)
	addUser(t, kit, email, password, "user")
	mux := sessionMux(kit)
	for name, part := range map[string]func(authkit.Token) string{
		"a refresh token": func(token authkit.Token) string { return token.RefreshToken },
		"an access token": func(token authkit.Token) string { return token.AccessToken },
		"an old refresh token": func(token authkit.Token) string {
			old := token.RefreshToken
			renew(t, kit, renew(t, kit, token))
			return old
		},
	} {
		token, other := begin(t, kit), begin(t, kit)
		for range 2 {
			w := post(mux, "/revoke", formType, form("token", part(token), "token_type_hint", "wrong"))
			require.Equal(t, http.StatusOK, w.Code, name)
			require.Empty(t, w.Body.String())
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			part = func(authkit.Token) string { return token.AccessToken }
		}
		require.Equal(t, http.StatusUnauthorized, access(t, kit, token), name)
		_, err := kit.Refresh(t.Context(), token.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
		require.Equal(t, http.StatusOK, access(t, kit, other), name)
	}
	for _, unknown := range []string{"x", "akr_x", strings.Repeat("A", 15000)} {
		require.Equal(t, http.StatusOK, post(mux, "/revoke", formType, form("token", unknown)).Code)
	}
	require.Equal(t, 422, post(mux, "/revoke", formType, "").Code)
	require.Equal(t, 400, post(mux, "/revoke?token=x", formType, form("token", "x")).Code)
	require.Equal(t, 405, do(kit.RevocationHandler(), "GET", "/").Code)

	token := begin(t, kit)
	for _, method := range []string{"SessionByID", "RevokeSession"} {
		store.before = func(name string, _ int) error {
			if name == method {
				return errCrash
			}
			return nil
		}
		for _, text := range []string{token.RefreshToken, token.AccessToken} {
			w := post(mux, "/revoke", formType, form("token", text))
			require.Equal(t, 503, w.Code, method)
			require.NotEmpty(t, w.Header().Get("Retry-After"))
		}
		require.Equal(t, http.StatusOK, post(mux, "/revoke", formType, form("token", "x")).Code, "it names no session")
	}
	ended := begin(t, kit)
	store.before = func(name string, _ int) error { // the user logs out at the same time
		if name == "RevokeSession" {
			_, err := store.MemoryStore.RevokeSession(t.Context(), ended.User.ID, sessionID(t, ended), time.Now())
			return err
		}
		return nil
	}
	require.Equal(t, http.StatusOK, post(mux, "/revoke", formType, form("token", ended.RefreshToken)).Code)
	store.before = nil
	require.Equal(t, http.StatusOK, access(t, kit, token))
}

// RFC 7009 section 2.2.1: a token that is good and cannot be revoked is not answered like one that was.
func TestRevocationHandlerOfATokenWithoutASession(t *testing.T) {
	t.Parallel()
	kit, store, _ := newSessionKit(t)
	mux := sessionMux(kit)
	token, err := newKit(t, func(c *authkit.Config) { c.Users = store }).Login(t.Context(), email, password)
	require.NoError(t, err)
	w := post(mux, "/revoke", formType, form("token", token.AccessToken))
	require.Equal(t, 400, w.Code)
	require.Contains(t, w.Body.String(), `"error":"unsupported_token_type"`)
	require.Equal(t, http.StatusOK, access(t, kit, token))
	r := httptest.NewRequest("DELETE", "/", nil)
	r.AddCookie(&http.Cookie{Name: "__Host-refresh", Value: token.AccessToken})
	w = httptest.NewRecorder()
	kit.RefreshCookieHandler().ServeHTTP(w, r)
	require.Equal(t, http.StatusNoContent, w.Code, "a cookie that is none of ours is removed")
}

// TK-19: RFC 7662.
func TestIntrospectionHandler(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, store.listen, func(c *authkit.Config) { c.Tokens.Issuer, c.Tokens.Audience = "https://auth.example.com", "api" })
	user := addUser(t, kit, email, password, "user")
	addUser(t, kit, "service@example.com", password, "service")
	mux := sessionMux(kit)
	service, err := kit.Login(t.Context(), "service@example.com", password)
	require.NoError(t, err)
	ask := func(token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/introspect", strings.NewReader(form("token", token)))
		r.Header.Set("Content-Type", formType)
		r.Header.Set("Authorization", "Bearer "+service.AccessToken)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	token := begin(t, kit)
	w := ask(token.AccessToken)
	require.Equal(t, http.StatusOK, w.Code)
	var got map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	require.Equal(t, true, got["active"])
	for name, want := range map[string]any{
		"sub": user.ID, "username": email, "sid": sessionID(t, token), "token_type": "Bearer", "iss": "https://auth.example.com",
		"aud": []any{"api"}, "roles": []any{"user"},
	} {
		require.Equal(t, want, got[name], name)
	}
	require.EqualValues(t, 1800, got["exp"].(float64)-got["iat"].(float64))
	require.NotEmpty(t, got["jti"])

	inactive := func(text string) {
		w := ask(text)
		require.Equal(t, http.StatusOK, w.Code)
		require.JSONEq(t, `{"active":false}`, w.Body.String())
	}
	inactive("x")
	inactive(token.RefreshToken)
	ended := begin(t, kit)
	require.NoError(t, kit.Logout(t.Context(), user.ID, sessionID(t, ended)))
	inactive(ended.AccessToken)

	require.Equal(t, 422, ask("").Code)
	require.Equal(t, 403, do(mux, "POST", "/introspect", bearer(token)...).Code)
	require.Equal(t, 401, do(mux, "POST", "/introspect").Code)
	problem(t, post(kit.IntrospectionHandler(), "/", formType, form("token", token.AccessToken)), 401, "Not authenticated") // mounted for everybody

	store.down(false, "UserByID")
	inactive("x")
	looks := 0
	store.before = func(name string, _ int) error {
		if name == "SessionUser" {
			if looks++; looks == 2 { // the first is the guard's
				return errCrash
			}
		}
		return nil
	}
	require.Equal(t, 503, ask(token.AccessToken).Code)
	store.before = nil
	require.NoError(t, kit.DisableUser(t.Context(), user.ID))
	inactive(token.AccessToken)
}
