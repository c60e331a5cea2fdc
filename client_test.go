package authkit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// AU-02: an event comes with the client that caused it, wherever in a request it arises.
func TestEventsKnowTheirClient(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	seen := map[authkit.EventKind][]authkit.ClientInfo{}
	kit := newKit(t, func(c *authkit.Config) {
		c.Users, c.Sessions.Store = store, store
		c.OnEvent = []func(context.Context, authkit.Event){func(ctx context.Context, e authkit.Event) {
			seen[e.Kind] = append(seen[e.Kind], authkit.ClientFrom(ctx))
		}}
	})
	user := addUser(t, kit, "user@example.com", password)
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
	mux.HandleFunc("GET /admin", authkit.Roles("admin"), func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /disable", authkit.Authenticated(), func(_ http.ResponseWriter, r *http.Request) {
		_ = kit.DisableUser(r.Context(), user.ID)
	})
	here := authkit.ClientInfo{Address: "192.0.2.7", Device: "Firefox"}
	host := authkit.ClientInfo{Address: "203.0.113.9", Device: "Chrome", RequestID: "req-1"}
	token, err := kit.Login(authkit.WithClient(t.Context(), host), user.Email, password)
	require.NoError(t, err)

	for _, c := range []struct{ route, bearer string }{
		{"POST /token", ""}, {"GET /admin", "no token"}, {"GET /admin", token.AccessToken}, {"POST /logout", token.AccessToken}, {"POST /disable", ""},
	} {
		if c.route == "POST /disable" {
			fresh, err := kit.Login(authkit.WithClient(t.Context(), host), user.Email, password)
			require.NoError(t, err)
			c.bearer = fresh.AccessToken
		}
		method, path, _ := strings.Cut(c.route, " ")
		for _, ctx := range []context.Context{t.Context(), authkit.WithClient(t.Context(), host)} {
			r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader("grant_type=password&username=user@example.com&password=wrong"))
			r.RemoteAddr = "192.0.2.7:4711"
			r.Header.Set("User-Agent", "Firefox")
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if c.bearer != "" {
				r.Header.Set("Authorization", "Bearer "+c.bearer)
			}
			mux.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	both := []authkit.ClientInfo{here, host}
	require.Equal(t, both, seen[authkit.EventLoginFailure])
	require.Equal(t, both, seen[authkit.EventAccessDenied])
	require.Equal(t, []authkit.ClientInfo{here}, seen[authkit.EventUserDisabled], "the second request is not let in")
	require.Equal(t, []authkit.ClientInfo{here}, seen[authkit.EventLogout])
	require.Equal(t, []authkit.ClientInfo{here, host, host, host}, seen[authkit.EventTokenRefused])
}

// AU-04: what a client says of itself cannot break a line, or grow without bound.
func TestClientFromIsClean(t *testing.T) {
	t.Parallel()
	got := authkit.ClientFrom(authkit.WithClient(t.Context(), authkit.ClientInfo{
		Address: "a\r\nb", Device: "x\u202ey" + strings.Repeat("z", 300), RequestID: "r\x00" + strings.Repeat("q", 300),
	}))
	require.Equal(t, authkit.ClientInfo{
		Address: "a  b", Device: "x y" + strings.Repeat("z", 253), RequestID: "r " + strings.Repeat("q", 62),
	}, got)
	require.Zero(t, authkit.ClientFrom(t.Context()))
}

// The context of a request answers for the client, and for nothing else.
func TestClientContextHasNoOtherValue(t *testing.T) {
	t.Parallel()
	store := newHookStore()
	kit := newKit(t, store.listen)
	type key struct{}
	asked := false
	store.byEmail = func(ctx context.Context, _ string) (authkit.StoredUser, error) {
		asked = true
		require.Nil(t, ctx.Value(key{}))
		require.Equal(t, "192.0.2.1", authkit.ClientFrom(ctx).Address)
		return authkit.StoredUser{}, authkit.ErrUserNotFound
	}
	r := httptest.NewRequest("POST", "/token", strings.NewReader("username=a%40example.com&password=x"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	kit.TokenHandler().ServeHTTP(httptest.NewRecorder(), r)
	require.True(t, asked)
}
