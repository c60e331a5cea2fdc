package org_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
)

const password = "correct horse"

// roles are the roles of the tests.
func roles() map[string][]string {
	return map[string][]string{"admin": {org.ManageMembers, "project:write"}, "editor": {"project:write"}, "member": {}}
}

// An app is the parts of a program under test.
type app struct {
	*org.Orgs
	kit   *authkit.Kit
	store *org.MemoryStore
	users *authkit.MemoryStore
	mux   *authkit.Mux

	mu      sync.Mutex
	sent    []org.Invite
	events  []authkit.Event
	sendErr error
}

func newApp(t testing.TB, change ...func(*org.Config, *authkit.Config)) *app {
	t.Helper()
	a := &app{store: org.NewMemoryStore(), users: authkit.NewMemoryStore()}
	orgs := org.Config{Store: a.store, Roles: roles(), Send: a.send}
	cfg := authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:     a.users,
		Sessions:  authkit.SessionConfig{Store: a.users},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		Logger:    slog.New(slog.DiscardHandler),
		OnEvent: []func(context.Context, authkit.Event){func(_ context.Context, e authkit.Event) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.events = append(a.events, e)
		}},
		UserData: []authkit.UserData{org.UserData(a.store)},
	}
	for _, c := range change {
		c(&orgs, &cfg)
	}
	var err error
	a.kit, err = authkit.New(cfg)
	require.NoError(t, err)
	a.Orgs, err = org.New(a.kit, orgs)
	require.NoError(t, err)
	a.mux = a.kit.NewMux()
	a.Mount(a.mux, "/orgs")
	return a
}

func (a *app) send(_ context.Context, i org.Invite) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sendErr != nil {
		return a.sendErr
	}
	a.sent = append(a.sent, i)
	return nil
}

// take returns the events about organizations so far, and forgets them.
func (a *app) take() (events []authkit.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.OrgID != "" {
			events = append(events, e)
		}
	}
	a.events = nil
	return events
}

// A person is a user who has logged in. It is the context of its requests.
type person struct {
	context.Context
	authkit.User
	token string
}

func (a *app) person(t testing.TB, name string) person {
	t.Helper()
	u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: name + "@example.com"}, password)
	require.NoError(t, err)
	u, err = a.kit.VerifyEmail(t.Context(), u.ID, u.Email)
	require.NoError(t, err)
	return a.login(t, u)
}

func (a *app) login(t testing.TB, u authkit.User) person {
	t.Helper()
	token, err := a.kit.Login(t.Context(), u.Email, password)
	require.NoError(t, err)
	ctx, _, err := a.kit.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	return person{ctx, u, token.AccessToken}
}

func (a *app) create(t testing.TB, owner person) string {
	t.Helper()
	m, err := a.Create(owner, "Acme")
	require.NoError(t, err)
	return m.Org.ID
}

// invite returns the token of an invitation.
func (a *app) invite(t testing.TB, by context.Context, orgID, address string, roles ...string) string {
	t.Helper()
	_, err := a.Invite(by, orgID, address, roles...)
	require.NoError(t, err)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sent[len(a.sent)-1].Token
}

// join makes a person a member.
func (a *app) join(t testing.TB, by context.Context, orgID string, p person, roles ...string) {
	t.Helper()
	_, err := a.Accept(p, a.invite(t, by, orgID, p.Email, roles...))
	require.NoError(t, err)
}

func (a *app) rolesOf(t testing.TB, orgID string, p person) []string {
	t.Helper()
	m, err := a.store.Member(t.Context(), orgID, p.ID)
	if err != nil {
		require.ErrorIs(t, err, authkit.ErrNotFound)
	}
	return m.Roles
}

// call sends a request with a JSON body.
func (a *app) call(t testing.TB, method, path, token, body string) *httptest.ResponseRecorder {
	t.Helper()
	r, w := request(t, method, path, token, body)
	a.mux.ServeHTTP(w, r)
	return w
}

// request returns a request with a JSON body, and the recorder for its response.
func request(t testing.TB, method, path, token, body string) (*http.Request, *httptest.ResponseRecorder) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, httptest.NewRecorder()
}

// A credential is an authenticator whose credential a test chooses.
type credential struct{ authkit.Credential }

func (*credential) Challenge() string { return "" }

func (c *credential) Authenticate(r *http.Request) (authkit.Credential, error) {
	if r.Header.Get("X-Test") == "" {
		return authkit.Credential{}, authkit.ErrNoCredentials
	}
	return c.Credential, nil
}

// as returns a context whose principal has a credential that is no login.
func (a *app) as(t testing.TB, fake *credential, c authkit.Credential) context.Context {
	t.Helper()
	fake.Credential = c
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Header.Set("X-Test", "yes")
	ctx, _, err := a.kit.Identify(r)
	require.NoError(t, err)
	return ctx
}

var errSend = errors.New("no connection")
