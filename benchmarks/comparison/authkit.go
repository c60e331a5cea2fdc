package main

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/harden"
	"github.com/authkit-go/authkit/throttle"
)

var loginPage = template.Must(template.New("").Parse(`<!doctype html><form method="post"><input name="username"><input name="password" type="password"></form>`))

// authKit is the quickstart of authkit with the parts that the README adds for
// production: sessions, limits and headers.
func authKit() (contract.Target, error) {
	target := newTarget()
	// All attacks come from one address, which the limits would soon refuse.
	limits, err := throttle.New(throttle.Config{Secret: []byte("8c21fe5a90d3b746e8f15d02c7b9a364"), InsecureNoAddressLimits: true})
	if err != nil {
		return target, err
	}
	store := authkit.NewMemoryStore()
	hasher := &countingHasher{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}
	kit, err := authkit.New(authkit.Config{
		Secret: target.Secret, Users: store, Throttle: limits, Logger: slog.New(slog.DiscardHandler),
		Sessions:  authkit.SessionConfig{Store: store, Cookies: &authkit.SessionCookieConfig{}},
		Passwords: authkit.PasswordConfig{Hasher: hasher},
	})
	if err != nil {
		return target, err
	}
	system := authkit.WithSystem(context.Background(), "comparison")
	for _, a := range []struct {
		contract.Account
		role string
	}{{target.User, "user"}, {target.Other, "user"}, {target.Admin, "admin"}} {
		if _, err := kit.CreateUser(system, authkit.User{Email: a.Name, Roles: []string{a.role}}, a.Password); err != nil {
			return target, err
		}
	}
	created := 0
	target.NewAccount = func(_ context.Context, password string) (contract.Account, error) {
		created++
		u, err := kit.CreateUser(system, authkit.User{Email: fmt.Sprintf("new-%d@example.com", created)}, password)
		return contract.Account{Name: u.Email, Password: password}, err
	}
	target.Disable = func(_ context.Context, a contract.Account) error {
		u, err := kit.UserByEmail(system, a.Name)
		if err != nil {
			return err
		}
		return kit.DisableUser(system, u.ID)
	}
	target.Hashes = func() int { return int(hasher.verified.Load()) }

	hello := func(w http.ResponseWriter, r *http.Request) {
		u, _ := authkit.UserFrom(r.Context())
		writeJSON(w, map[string]string{"hello": u.Email})
	}
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), limits.Device(kit.TokenHandler()))
	mux.Handle("/login", authkit.Public(), limits.Device(kit.FormLoginHandler(func(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(f.Status)
		_ = loginPage.Execute(w, nil)
	})))
	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
	mux.HandleFunc("GET /hello", authkit.Authenticated(), hello)
	mux.HandleFunc("GET /admin", authkit.Roles("admin"), hello)
	wrap, err := harden.New(harden.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return target, err
	}
	target.Handler, target.Refresh, target.LogoutPath, target.CookiePath = wrap(mux), true, "/logout", "/login"
	return target, nil
}

// A countingHasher counts the passwords that are compared.
type countingHasher struct {
	authkit.Hasher
	verified atomic.Int64
}

func (h *countingHasher) Verify(password string, hash authkit.PasswordHash) error {
	h.verified.Add(1)
	return h.Hasher.Verify(password, hash)
}
