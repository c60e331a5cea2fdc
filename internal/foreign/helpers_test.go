package foreign_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

const (
	email    = "ann@example.com"
	password = "correct horse"
)

// newKit returns a Kit with sessions and one account.
func newKit(t *testing.T, change ...func(*authkit.Config)) (*authkit.Kit, authkit.User) {
	t.Helper()
	store := authkit.NewMemoryStore()
	cfg := authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:     store,
		Sessions:  authkit.SessionConfig{Store: store},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		Roles:     map[string][]string{"admin": nil, "user": {"notes:read", "notes:write"}},
		Logger:    slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	kit, err := authkit.New(cfg)
	require.NoError(t, err)
	user, err := kit.CreateUser(t.Context(), authkit.User{Email: email, Roles: []string{"user"}}, password)
	require.NoError(t, err)
	return kit, user
}

// A recorder keeps events.
type recorder struct {
	mu   sync.Mutex
	seen []authkit.Event
}

func (r *recorder) listen(c *authkit.Config) {
	c.OnEvent = append(c.OnEvent, func(_ context.Context, e authkit.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, e)
	})
}

func (r *recorder) last() authkit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[len(r.seen)-1]
}

// ask sends a request with headers, given as names and values.
func ask(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// post sends a form and returns the status and the JSON of the answer.
func post(t *testing.T, h http.Handler, device string, form url.Values) (int, map[string]any, *httptest.ResponseRecorder) {
	t.Helper()
	r := httptest.NewRequest("POST", "/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", device)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var body map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	return w.Code, body, w
}

// login returns the access token of a login with a password.
func login(t *testing.T, kit *authkit.Kit) string {
	t.Helper()
	token, err := kit.Login(t.Context(), email, password)
	require.NoError(t, err)
	return token.AccessToken
}
