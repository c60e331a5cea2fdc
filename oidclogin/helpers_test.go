package oidclogin_test

import (
	"context"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/oidclogin"
)

const site = "https://app.example.com"

// An app is a program with logins.
type app struct {
	*oidclogin.Logins
	t     testing.TB
	kit   *authkit.Kit
	store *oidclogin.MemoryStore
	first string // the issuer of the first provider

	transport http.RoundTripper // to the provider; nil for the network
	handler   http.Handler

	mu     sync.Mutex
	events []authkit.Event
	mails  []account.Message

	mailErr error // of the next mails
}

// Send implements account.Mailer.
func (a *app) Send(_ context.Context, m account.Message) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mailErr != nil {
		return a.mailErr
	}
	a.mails = append(a.mails, m)
	return nil
}

// A factor is a second factor of one user, whose response is always "right".
type factor struct {
	mu   sync.Mutex
	user string
}

func (*factor) Method() string { return "otp" }

func (f *factor) Enrolled(_ context.Context, userID string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.user == userID, nil
}

func (f *factor) Verify(_ context.Context, _, response string) error {
	if response != "right" {
		return authkit.ErrInvalidCode
	}
	return nil
}

func (f *factor) enrol(userID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.user = userID
}

// generic returns the provider of the test.
func generic(h *hostile) oidclogin.Provider {
	return oidclogin.Provider{Name: "idp", Label: "The provider", Issuer: h.URL, ClientID: clientID, ClientSecret: clientSecret, Email: oidclogin.EmailVerified}
}

// newApp returns an app with providers. Each change may edit the configurations.
func newApp(t testing.TB, providers []oidclogin.Provider, changes ...func(*authkit.Config, *oidclogin.Config)) *app {
	t.Helper()
	a := &app{t: t, store: oidclogin.NewMemoryStore(), first: providers[0].Issuer}
	users := authkit.NewMemoryStore()
	kc := authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:     users,
		Sessions:  authkit.SessionConfig{Store: users, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		UserData:  []authkit.UserData{oidclogin.UserData(a.store)},
		Logger:    slog.New(slog.DiscardHandler),
		OnEvent: []func(context.Context, authkit.Event){func(_ context.Context, e authkit.Event) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.events = append(a.events, e)
		}},
	}
	oc := oidclogin.Config{BaseURL: site + "/oidc", Store: a.store, Providers: providers}
	for _, change := range changes {
		change(&kc, &oc)
	}
	if oc.Mailer != nil {
		oc.Mailer = a
	}
	var err error
	a.kit, err = authkit.New(kc)
	require.NoError(t, err)
	a.Logins, err = oidclogin.New(a.kit, oc)
	require.NoError(t, err)
	mux := a.kit.NewMux()
	a.Mount(mux)
	mux.Handle("/login", authkit.Public(), a.kit.FormLoginHandler(func(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) {
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, "login page "+f.Error)
	}))
	mux.HandleFunc("GET /me", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		_, _ = io.WriteString(w, p.UserID)
	})
	mux.HandleFunc("GET /fresh", authkit.Authenticated().Fresh(linkFresh), func(http.ResponseWriter, *http.Request) {})
	a.handler = mux
	return a
}

// withMailer turns on proofs of a mailbox.
func withMailer(_ *authkit.Config, c *oidclogin.Config) { c.Mailer = new(app) }

// add creates an account.
func (a *app) add(email string, verified bool) authkit.User {
	a.t.Helper()
	u, err := a.kit.CreateUser(a.t.Context(), authkit.User{Email: email}, localPassword)
	require.NoError(a.t, err)
	if verified {
		u, err = a.kit.VerifyEmail(a.t.Context(), u.ID, email)
		require.NoError(a.t, err)
	}
	return u
}

const localPassword = "correct horse battery"

// accounts returns the number of accounts.
func (a *app) accounts() int {
	n, err := a.kit.CountUsers(a.t.Context(), authkit.UserQuery{})
	require.NoError(a.t, err)
	return n
}

// kinds returns the kinds of the events since the last call.
func (a *app) kinds() []authkit.EventKind {
	a.mu.Lock()
	defer a.mu.Unlock()
	var kinds []authkit.EventKind
	for _, e := range a.events {
		kinds = append(kinds, e.Kind)
	}
	a.events = nil
	return kinds
}

// A client is a browser at an app.
type client struct {
	*app
	ctx     context.Context
	cookies map[string]string
}

func (a *app) browser() *client { return &client{a, a.t.Context(), map[string]string{}} }

// A page is a response.
type page struct {
	*http.Response
	body string
}

// do sends a request as a page of the site, or with the headers given.
func (c *client) do(method, target string, form url.Values, headers ...string) page {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.ctx, method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for name, value := range c.cookies {
		if headers == nil || method == http.MethodGet { // SameSite=Lax
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	response := w.Result()
	for _, cookie := range response.Cookies() {
		require.True(c.t, cookie.Secure && cookie.HttpOnly && cookie.Path == "/" && cookie.Domain == "" && cookie.SameSite == http.SameSiteLaxMode, cookie)
		require.True(c.t, strings.HasPrefix(cookie.Name, "__Host-"), cookie)
		require.True(c.t, cookie.Name == "__Host-oidclogin" || cookie.MaxAge <= 0, "a session ends with the browser")
		c.cookies[cookie.Name] = cookie.Value
	}
	return page{response, w.Body.String()}
}

// atProvider opens a URL of a provider, and returns the URL of the callback.
func (c *client) atProvider(location string) string {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.ctx, http.MethodGet, location, nil)
	require.NoError(c.t, err)
	transport := c.transport
	if transport == nil {
		transport = new(http.Transport)
	}
	response, err := transport.RoundTrip(r)
	require.NoError(c.t, err)
	require.NoError(c.t, response.Body.Close())
	require.Equal(c.t, http.StatusFound, response.StatusCode, location)
	return response.Header.Get("Location")
}

// begin starts a login, and returns the URL of the callback.
func (c *client) begin(query string) string {
	c.t.Helper()
	p := c.do("GET", "/oidc/idp"+query, nil)
	require.Equal(c.t, http.StatusSeeOther, p.StatusCode, p.body)
	return c.atProvider(p.Header.Get("Location"))
}

// login logs in with the provider.
func (c *client) login() page { return c.do("GET", c.begin(""), nil, "Sec-Fetch-Site", "cross-site") }

var refreshLink = regexp.MustCompile(`<a href="([^"]+)">Continue</a>`)

// beginLink starts a link, and returns the URL of the callback.
func (c *client) beginLink() string {
	c.t.Helper()
	p := c.do("POST", "/oidc/idp/link", url.Values{"return": {"/settings"}})
	require.Equal(c.t, http.StatusOK, p.StatusCode, p.body)
	found := refreshLink.FindStringSubmatch(p.body)
	require.NotNil(c.t, found, p.body)
	require.Contains(c.t, p.body, "refresh", "the page leads on at once")
	return c.atProvider(html.UnescapeString(found[1]))
}

// link links the user of the provider.
func (c *client) link() page { return c.do("GET", c.beginLink(), nil, "Sec-Fetch-Site", "cross-site") }

// password logs in with a password.
func (c *client) password(email string) {
	c.t.Helper()
	p := c.do("POST", "/login", url.Values{"username": {email}, "password": {localPassword}})
	require.Equal(c.t, http.StatusSeeOther, p.StatusCode, p.body)
}

// user returns the user who is logged in, or "".
func (c *client) user() string {
	p := c.do("GET", "/me", nil)
	if p.StatusCode != http.StatusOK {
		return ""
	}
	return p.body
}

// requireUser checks that a response was a login, and returns the account.
func (c *client) requireUser(p page) authkit.User {
	c.t.Helper()
	require.Equal(c.t, http.StatusSeeOther, p.StatusCode, p.body)
	u, err := c.kit.User(c.t.Context(), c.user())
	require.NoError(c.t, err)
	return u
}

func sprintf(format string, v any) string { return fmt.Sprintf(format, v) }
