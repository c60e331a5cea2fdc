package main

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/harden"
	"github.com/authkit-go/authkit/oidclogin"
)

const (
	email    = "ann@example.com"
	password = "correct horse battery"

	// freshness is how old a login may be that links or unlinks.
	freshness = 5 * time.Minute
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// A site has the handlers of the pages.
type site struct {
	kit    *authkit.Kit
	logins *oidclogin.Logins
}

// newHandler returns the site with one account. If hasher is nil, it is the
// default one.
func newHandler(ctx context.Context, hasher authkit.Hasher, base string, p oidclogin.Provider) (http.Handler, error) {
	store, identities := authkit.NewMemoryStore(), oidclogin.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("a secret for an example: use random bytes"),
		Users:     store,
		Sessions:  authkit.SessionConfig{Store: store, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}},
		Passwords: authkit.PasswordConfig{Hasher: hasher},
		UserData:  []authkit.UserData{oidclogin.UserData(identities)},
	})
	if err != nil {
		return nil, err
	}
	if _, err := kit.CreateUser(ctx, authkit.User{Email: email, FullName: "Ann"}, password); err != nil {
		return nil, err
	}
	logins, err := oidclogin.New(kit, oidclogin.Config{BaseURL: base + "/oidc", Store: identities, Providers: []oidclogin.Provider{p}, Service: "The example"})
	if err != nil {
		return nil, err
	}
	wrap, err := harden.New(harden.Options{
		ContentSecurityPolicy: "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		Logger:                slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	s := &site{kit, logins}
	mux := kit.NewMux()
	mux.Handle("/login", authkit.Public(), kit.FormLoginHandler(loginPage))
	mux.Handle("POST /logout", authkit.Public(), kit.FormLogoutHandler())
	mux.HandleFunc("GET /{$}", authkit.Authenticated(), s.home)
	logins.Mount(mux)
	return wrap(mux), nil
}

// loginPage renders the form, with a link to the provider.
func loginPage(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) {
	render(w, f.Status, "login.html", f)
}

// home shows the account, and its identities as settings.
func (s *site) home(w http.ResponseWriter, r *http.Request) {
	u, _ := authkit.UserFrom(r.Context())
	p, _ := authkit.PrincipalFrom(r.Context())
	list, err := s.logins.Identities(r.Context(), u.ID)
	if err != nil {
		authkit.ProblemFor(err).ServeHTTP(w, r)
		return
	}
	render(w, http.StatusOK, "home.html", map[string]any{"User": u, "Principal": p, "Identities": list, "Fresh": authkit.Authenticated().Fresh(freshness).Check(p) == nil})
}

// render writes a page.
func render(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		authkit.ProblemFor(err).ServeHTTP(w, nil)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // a client that is gone cannot be told
}
