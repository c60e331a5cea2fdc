package apikey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

const (
	password = "correct horse"
	keyPath  = "/users/me/keys"
)

// An app is the parts of a program under test.
type app struct {
	*apikey.Keys
	kit   *authkit.Kit
	auth  *apikey.Authenticator
	store *apikey.MemoryStore
	users *authkit.MemoryStore
	mux   *authkit.Mux
	user  authkit.User // an editor

	mu     sync.Mutex
	events []authkit.Event
}

func newApp(t testing.TB, change ...func(*apikey.Config, *authkit.Config)) *app {
	t.Helper()
	a := &app{store: apikey.NewMemoryStore(), users: authkit.NewMemoryStore()}
	keys := apikey.Config{Store: a.store}
	cfg := authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:     a.users,
		Sessions:  authkit.SessionConfig{Store: a.users},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		Roles:     map[string][]string{"editor": {"notes:read", "notes:write"}, "admin": {"users:write"}},
		Logger:    slog.New(slog.DiscardHandler),
		OnEvent: []func(context.Context, authkit.Event){func(_ context.Context, e authkit.Event) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.events = append(a.events, e)
		}},
	}
	for _, c := range change {
		c(&keys, &cfg)
	}
	var err error
	a.auth, err = apikey.NewAuthenticator(keys)
	require.NoError(t, err)
	cfg.Authenticators, cfg.UserData = []authkit.Authenticator{a.auth}, []authkit.UserData{a.auth}
	a.kit, err = authkit.New(cfg)
	require.NoError(t, err)
	a.Keys, err = apikey.New(a.kit, a.auth)
	require.NoError(t, err)
	a.user, err = a.kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com", Roles: []string{"editor"}}, password)
	require.NoError(t, err)
	a.mux = a.kit.NewMux()
	a.Mount(a.mux, keyPath)
	ok := func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		_, _ = io.WriteString(w, string(p.Kind)+" "+p.Credential+" "+p.UserID+" "+p.TokenID)
	}
	a.mux.HandleFunc("GET /person", authkit.Authenticated(), ok)
	a.mux.HandleFunc("GET /any", authkit.Authenticated().OrMachines(), ok)
	a.mux.HandleFunc("GET /read", authkit.Permissions("notes:read").OrMachines(), ok)
	a.mux.HandleFunc("GET /write", authkit.Permissions("notes:write").OrMachines(), ok)
	a.mux.HandleFunc("GET /role", authkit.Roles("editor").OrMachines(), ok)
	return a
}

// create creates a key of the user, by the program.
func (a *app) create(t testing.TB, o apikey.Options) apikey.Issued {
	t.Helper()
	key, err := a.Create(t.Context(), apikey.OfUser(a.user.ID), o)
	require.NoError(t, err)
	return key
}

// login returns a header value of a login of the user.
func (a *app) login(t testing.TB) string {
	t.Helper()
	token, err := a.kit.Login(t.Context(), a.user.Email, password)
	require.NoError(t, err)
	return "Bearer " + token.AccessToken
}

// ask sends a request with pairs of header fields. A body is JSON.
func (a *app) ask(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.mux.ServeHTTP(w, r)
	return w
}

// with sends a GET with a key.
func (a *app) with(key, path string) int {
	return a.ask("GET", path, "", "Authorization", "Bearer "+key).Code
}

// last returns the latest event.
func (a *app) last() authkit.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.events[len(a.events)-1]
}

func decodeJSON[T any](t testing.TB, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v), w.Body.String())
	return v
}

// withSum returns a text with its checksum.
func withSum(text string) string {
	return text + fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text)))
}

// calls counts the calls of a store.
type calls struct {
	apikey.Store
	mu     sync.Mutex
	counts map[string]int
	fail   error
}

func counted(s apikey.Store) *calls { return &calls{Store: s, counts: map[string]int{}} }

func (c *calls) count(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[name]++
	return c.fail
}

func (c *calls) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range c.counts {
		n += of
	}
	return n
}

func (c *calls) KeyByID(ctx context.Context, id string) (apikey.StoredKey, error) {
	if err := c.count("KeyByID"); err != nil {
		return apikey.StoredKey{}, err
	}
	return c.Store.KeyByID(ctx, id)
}

func record(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
