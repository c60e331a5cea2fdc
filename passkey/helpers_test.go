package passkey_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeytest"
)

const (
	password = "correct horse"
	agent    = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
)

var origins = []string{"https://login.example.com", "https://example.com"}

func newAuthenticator(t testing.TB) *passkeytest.Authenticator {
	t.Helper()
	return passkeytest.NewAuthenticator(t, "example.com", "https://login.example.com")
}

// sign returns the assertion of a challenge.
func sign(key *passkeytest.Authenticator, challenge string) []byte {
	text, _ := json.Marshal(map[string]string{"challenge": challenge}) // strings always encode
	return key.Get(passkey.Options{PublicKey: text})
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	return b
}

// An app is the parts of a program under test.
type app struct {
	*passkey.Passkeys
	t      testing.TB
	kit    *authkit.Kit
	factor *passkey.Factor
	users  *authkit.MemoryStore
	keys   passkey.Store
	mu     sync.Mutex
	events []authkit.Event
}

// options change the configuration of an app.
type options struct {
	kit  func(*authkit.Config)
	keys func(*passkey.Config)
}

func newApp(t testing.TB, opts ...options) *app {
	t.Helper()
	a := &app{t: t, users: authkit.NewMemoryStore(), keys: passkey.NewMemoryStore()}
	keys := passkey.Config{RPID: "example.com", RPName: "Example", Origins: origins, Store: a.keys}
	cfg := authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:     a.users,
		Sessions:  authkit.SessionConfig{Store: a.users, Cookies: new(authkit.SessionCookieConfig)},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		Logger:    slog.New(slog.DiscardHandler),
		OnEvent: []func(context.Context, authkit.Event){func(_ context.Context, e authkit.Event) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.events = append(a.events, e)
		}},
	}
	for _, o := range opts {
		if o.keys != nil {
			o.keys(&keys)
		}
	}
	var err error
	a.factor, err = passkey.NewFactor(keys)
	require.NoError(t, err)
	cfg.SecondFactors, cfg.UserData = []authkit.SecondFactor{a.factor}, []authkit.UserData{a.factor}
	for _, o := range opts {
		if o.kit != nil {
			o.kit(&cfg)
		}
	}
	a.kit, err = authkit.New(cfg)
	require.NoError(t, err)
	a.Passkeys, err = passkey.New(a.kit, a.factor)
	require.NoError(t, err)
	return a
}

// ctx is that of a client.
func (a *app) ctx() context.Context {
	return authkit.WithClient(a.t.Context(), authkit.ClientInfo{Address: "192.0.2.1", Device: agent})
}

// add creates an account.
func (a *app) add(email string, roles ...string) authkit.User {
	a.t.Helper()
	u, err := a.kit.CreateUser(a.t.Context(), authkit.User{Email: email, FullName: "Ann Example", Roles: roles}, password)
	require.NoError(a.t, err)
	return u
}

// as returns a context with the principal of an access token.
func (a *app) as(token authkit.Token) context.Context {
	a.t.Helper()
	ctx, _, err := a.kit.IdentifyToken(a.ctx(), token.AccessToken)
	require.NoError(a.t, err)
	return ctx
}

// first logs a user in with the password alone.
func (a *app) first(email string) context.Context {
	a.t.Helper()
	token, err := a.kit.Login(a.ctx(), email, password)
	require.NoError(a.t, err)
	return a.as(token)
}

// register registers the passkey of an authenticator for the principal of ctx.
func (a *app) register(ctx context.Context, key *passkeytest.Authenticator) passkey.Passkey {
	a.t.Helper()
	who, _ := authkit.PrincipalFrom(ctx)
	o, err := a.BeginRegistration(ctx, who.UserID)
	require.NoError(a.t, err)
	r, err := a.FinishRegistration(ctx, who.UserID, key.Create(o))
	require.NoError(a.t, err)
	return r.Passkey
}

// login logs in with a passkey.
func (a *app) login(key *passkeytest.Authenticator) (authkit.Token, error) {
	a.t.Helper()
	o, err := a.BeginLogin(a.ctx())
	require.NoError(a.t, err)
	return a.Login(a.ctx(), key.Get(o))
}

// enrolled returns an app with a user who has a passkey.
func enrolled(t testing.TB, opts ...options) (*app, authkit.User, *passkeytest.Authenticator) {
	t.Helper()
	a := newApp(t, opts...)
	u := a.add("ann@example.com")
	key := newAuthenticator(t)
	a.register(a.first(u.Email), key)
	a.kinds()
	return a, u, key
}

// kinds returns the kinds of the events so far, and forgets them.
func (a *app) kinds() (kinds []authkit.EventKind) {
	for _, e := range a.took() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// took returns the events so far, and forgets them.
func (a *app) took() []authkit.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.events
	a.events = nil
	return list
}

// server returns the handler of the routes.
func (a *app) server() http.Handler {
	mux := a.kit.NewMux()
	a.Mount(mux, "/passkeys")
	return mux
}

// call sends a request with JSON, and headers given as names and values.
func call(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, io.NopCloser(strings.NewReader(body)))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
