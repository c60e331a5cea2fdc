package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/oidclogin"
)

// socialPath is the path of the logins with other providers.
const socialPath = "/oidc"

// socialFresh is how old a login may be that links or unlinks a provider.
const socialFresh = 5 * time.Minute

//go:embed social
var socialFiles embed.FS

var socialPages = template.Must(template.ParseFS(socialFiles, "social/*.html"))

// A social holds the logins with other providers. It is nil without a flag for
// one.
type social struct {
	kit       *authkit.Kit
	logins    *oidclogin.Logins
	providers []oidclogin.Provider
}

// parseProviders returns the providers of the flags.
func parseProviders(google, github, generic string) (list []oidclogin.Provider, err error) {
	for _, preset := range []struct {
		flag, client string
		provider     func(id, secret string) oidclogin.Provider
	}{{"-google", google, oidclogin.Google}, {"-github", github, oidclogin.GitHub}} {
		id, secret, ok := strings.Cut(preset.client, ":")
		switch {
		case preset.client == "":
			continue
		case !ok || id == "" || secret == "":
			return nil, fmt.Errorf("%s: write it like ID:SECRET, as the provider assigned them", preset.flag)
		}
		list = append(list, preset.provider(id, secret))
	}
	if generic == "" {
		return list, nil
	}
	u, err := url.Parse(generic)
	if err != nil || u.Host == "" || u.User.Username() == "" {
		return nil, errors.New("-oidc: write it like https://ID:SECRET@idp.example.com, with the client before the host of the issuer")
	}
	secret, _ := u.User.Password()
	p := oidclogin.Provider{Name: "idp", Label: u.Host, ClientID: u.User.Username(), ClientSecret: secret}
	u.User = nil
	p.Issuer = u.String()
	return append(list, p), nil
}

// providerNames returns the names of providers, for people.
func providerNames(list []oidclogin.Provider) string {
	var names []string
	for _, p := range list {
		names = append(names, p.Label)
	}
	return strings.Join(names, ", ")
}

// newSocial returns the logins with the providers of cfg, or nil if there are
// none.
func newSocial(cfg config, kit *authkit.Kit, identities oidclogin.Store, mailer account.Mailer) (*social, error) {
	if len(cfg.providers) == 0 {
		return nil, nil
	}
	logins, err := oidclogin.New(kit, oidclogin.Config{
		BaseURL:   cfg.baseURL + socialPath,
		Store:     identities,
		Providers: cfg.providers,
		Roles:     []string{"user"},
		Mailer:    mailer,
		Service:   "Backend Security Demo",
	})
	if err != nil {
		return nil, err
	}
	return &social{kit, logins, cfg.providers}, nil
}

// mount adds the login page, a page with the user's settings, and the routes of
// the providers.
func (s *social) mount(mux *authkit.Mux) {
	mux.Handle("/login", authkit.Public(), s.kit.FormLoginHandler(s.loginPage))
	mux.HandleFunc("GET /profile", authkit.Authenticated(), s.profile)
	mux.Handle("POST /profile/logout", authkit.Public(), s.kit.FormLogoutHandler())
	s.logins.Mount(mux)
}

// loginPage renders the form of the login page, and a button for each provider.
func (s *social) loginPage(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) {
	if f.Return == "/" {
		f.Return = "/profile"
	}
	renderSocial(w, f.Status, "login.html", map[string]any{"Form": f, "Providers": s.providers})
}

// profile shows the user, and the providers that are linked.
func (s *social) profile(w http.ResponseWriter, r *http.Request) {
	u, _ := authkit.UserFrom(r.Context())
	p, _ := authkit.PrincipalFrom(r.Context())
	list, err := s.logins.Identities(r.Context(), u.ID)
	if err != nil {
		authkit.ProblemFor(err).ServeHTTP(w, r)
		return
	}
	renderSocial(w, http.StatusOK, "profile.html", map[string]any{
		"User": u, "Identities": list, "Providers": s.providers, "Fresh": authkit.Authenticated().Fresh(socialFresh).Check(p) == nil,
	})
}

func renderSocial(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := socialPages.ExecuteTemplate(&page, name, data); err != nil {
		authkit.ProblemFor(err).ServeHTTP(w, nil)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // an error means that the client is gone
}
