package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/stretchr/testify/require"
)

// RE-10: the instances withstand every attack together, whichever of them a
// request reaches.
func TestAttacks(t *testing.T) {
	t.Parallel()
	address, redis := postgresAndRedis(t)
	secret := rand.Text() + rand.Text()
	instances, stop, err := startAll(t.Context(), t.Output(), options{db: address, redis: redis, cost: "10",
		env: []string{"SECRET_KEY=" + secret, "THROTTLE=accounts"}}) // all attacks come from one address
	require.NoError(t, err)
	t.Cleanup(stop)
	reached := &reached{count: map[string]int{}}
	proxy, err := newProxy(&balancer{via: reached}, instances)
	require.NoError(t, err)

	pool, err := sql.Open("pgx", address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	db, err := sqlstore.Open(pool, sqlstore.Postgres, nil)
	require.NoError(t, err)
	kit, err := authkit.New(authkit.Config{Secret: []byte(secret), Users: db, Logger: slog.New(slog.DiscardHandler),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 10}}}) // as the instances
	require.NoError(t, err)

	system := authkit.WithSystem(t.Context(), "test")
	created := 0
	create := func(_ context.Context, password string) (contract.Account, error) {
		created++
		u, err := kit.CreateUser(system, authkit.User{Email: fmt.Sprintf("attacked-%d@example.com", created), FullName: "Attacked", Roles: []string{"user"}}, password)
		return contract.Account{Name: u.Email, Password: password}, err
	}
	user, err := create(system, "the Passphrase of a user")
	require.NoError(t, err)
	requireClientAddress(t, proxy, user)
	contract.Run(t, contract.Target{
		Handler: proxy,
		User:    user,
		Admin:   contract.Account{Name: "admin@example.com", Password: "admin123"},
		Routes: []contract.Route{
			{Method: "GET", Path: "/healthz", Access: contract.Public},
			{Method: "GET", Path: "/users/me", Access: contract.LoggedIn},
			{Method: "GET", Path: "/users/me/sessions", Access: contract.LoggedIn},
			{Method: "GET", Path: "/admin/users", Access: contract.AdminOnly},
			{Method: "POST", Path: "/admin/create_user", Access: contract.AdminOnly, Body: `{"email":"made@example.com","full_name":"Made","password":"a passphrase that is long"}`},
		},
		Refresh: true, LogoutPath: "/logout", PasswordPath: "/users/me/password", Secret: []byte(secret),
		NewAccount: create,
		Disable: func(_ context.Context, a contract.Account) error {
			u, err := kit.UserByEmail(system, a.Name)
			if err != nil {
				return err
			}
			return kit.DisableUser(system, u.ID)
		},
	})
	for _, i := range instances {
		require.Greater(t, reached.count[i.url], 100, "instance %s", i.url)
	}
}

// requireClientAddress checks that the instances see the address of a client,
// and not that of the proxy.
func requireClientAddress(t *testing.T, proxy http.Handler, a contract.Account) {
	t.Helper()
	send := func(r *http.Request) []byte {
		r.RemoteAddr = "192.0.2.7:1234"
		w := httptest.NewRecorder()
		proxy.ServeHTTP(w, r)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		return w.Body.Bytes()
	}
	login := httptest.NewRequest("POST", "/token", strings.NewReader(url.Values{"username": {a.Name}, "password": {a.Password}}.Encode()))
	login.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var got tokens
	require.NoError(t, json.Unmarshal(send(login), &got))
	list := httptest.NewRequest("GET", "/users/me/sessions", nil)
	list.Header.Set("Authorization", "Bearer "+got.Access)
	require.Contains(t, string(send(list)), `"192.0.2.7"`)
}

// reached counts requests by instance.
type reached struct {
	mu    sync.Mutex
	count map[string]int
}

// RoundTrip implements http.RoundTripper.
func (c *reached) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.count["http://"+r.URL.Host]++
	c.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}
