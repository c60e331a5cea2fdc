package contract_test

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/harden"
	"github.com/authkit-go/authkit/jwks"
	"github.com/authkit-go/authkit/throttle"
	"github.com/stretchr/testify/require"
)

var loginPage = template.Must(template.New("").Parse(`<!doctype html><form method="post"><input name="username" value="{{.Username}}"><input name="password" type="password"></form><p>{{.Error}}`))

// A service that is built with authkit withstands every attack: with session
// cookies, an issuer and an audience, and with a shared secret or a key pair.
func TestKit(t *testing.T) {
	secret := []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")
	pair, err := jwks.GenerateKey(authkit.ES256)
	require.NoError(t, err)
	for name, cfg := range map[string]authkit.Config{
		"Secret":  {Secret: secret},
		"KeyPair": {Tokens: authkit.TokenConfig{Keys: []authkit.Key{pair}}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Tokens.Issuer, cfg.Tokens.Audience = "https://service.example", "https://api.service.example"
			contract.Run(t, kitTarget(t, cfg))
		})
	}
}

// kitTarget returns a service that is built with authkit.
func kitTarget(t *testing.T, cfg authkit.Config) contract.Target {
	t.Helper()
	users := authkit.NewMemoryStore()
	limits, err := throttle.New(throttle.Config{Secret: []byte("a secret of the known browsers 1"), InsecureNoAddressLimits: true})
	require.NoError(t, err)
	cfg.Users, cfg.Throttle, cfg.Logger = users, limits, slog.New(slog.DiscardHandler)
	cfg.Roles = map[string][]string{"admin": {"manage"}, "user": {}}
	cfg.Sessions = authkit.SessionConfig{Store: users, Cookies: &authkit.SessionCookieConfig{}}
	cfg.Passwords.Hasher = authkit.Bcrypt{Cost: 4, InsecureLowCost: true}
	kit, err := authkit.New(cfg)
	require.NoError(t, err)

	system := authkit.WithSystem(context.Background(), "test")
	create := func(name, password string, roles ...string) (contract.Account, error) {
		u, err := kit.CreateUser(system, authkit.User{Email: name + "@example.com", FullName: name, Roles: roles}, password)
		return contract.Account{Name: u.Email, Password: password}, err
	}
	account := func(name, password string, roles ...string) contract.Account {
		a, err := create(name, password, roles...)
		require.NoError(t, err)
		return a
	}
	hello := func(w http.ResponseWriter, r *http.Request) {
		u, _ := authkit.UserFrom(r.Context())
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, "{%q:%q}", "hello", u.FullName)
	}
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), limits.Device(kit.TokenHandler()))
	mux.Handle("/login", authkit.Public(), limits.Device(kit.FormLoginHandler(func(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(f.Status)
		_ = loginPage.Execute(w, f)
	})))
	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
	mux.Handle("POST /password", authkit.Authenticated(), kit.ChangePasswordHandler())
	mux.HandleFunc("GET /hello", authkit.Authenticated(), hello)
	mux.HandleFunc("GET /admin", authkit.Roles("admin"), hello)
	target := contract.Target{
		User: account("user", "the passphrase of a user", "user"), Other: account("other", "the passphrase of another", "user"),
		Admin: account("admin", "the passphrase of an admin", "admin"),
		Routes: []contract.Route{
			{Method: "GET", Path: "/login", Access: contract.Public},
			{Method: "GET", Path: "/hello", Access: contract.LoggedIn},
			{Method: "GET", Path: "/admin", Access: contract.AdminOnly},
		},
		Refresh: true, LogoutPath: "/logout", PasswordPath: "/password", CookiePath: "/login", Secret: cfg.Secret,
	}
	if cfg.Secret == nil {
		target.KeySetPath = "/keys"
		ring, err := authkit.NewKeyRing(cfg.Tokens.Keys...)
		require.NoError(t, err)
		mux.Handle("GET /keys", authkit.Public(), jwks.Handler(ring))
	}
	n := 0
	target.NewAccount = func(_ context.Context, password string) (contract.Account, error) {
		n++
		return create(fmt.Sprintf("new-%d", n), password, "user")
	}
	target.Disable = func(_ context.Context, a contract.Account) error {
		u, err := kit.UserByEmail(system, a.Name)
		if err != nil {
			return err
		}
		return kit.DisableUser(system, u.ID)
	}
	wrap, err := harden.New(harden.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	target.Handler = wrap(mux)
	return target
}
