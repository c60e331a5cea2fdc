package account_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
)

const (
	password    = "correct horse"
	newPassword = "battery staple"
	base        = "https://example.com/account"
)

var testKey = []byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352")

// A box keeps mails.
type box struct {
	mu    sync.Mutex
	mails []account.Message
	fail  error
}

func (b *box) Send(_ context.Context, m account.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	b.mails = append(b.mails, m)
	return nil
}

// all returns the mails, and forgets them.
func (b *box) all() []account.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.mails
	b.mails = nil
	return list
}

var (
	tokenIn = regexp.MustCompile(`\?token=([A-Za-z0-9_.-]+)`)
	codeIn  = regexp.MustCompile(`\b\d{6}\b`)
)

// An app is the parts of a program under test.
type app struct {
	*account.Accounts
	kit    *authkit.Kit
	users  *authkit.MemoryStore
	jobs   *account.MemoryStore
	mails  *box
	mu     sync.Mutex
	events []authkit.Event
}

// options change the configuration of an app.
type options struct {
	kit      []func(*authkit.Config)
	accounts []func(*account.Config)
}

func newApp(t testing.TB, opts ...options) *app {
	t.Helper()
	a := &app{users: authkit.NewMemoryStore(), jobs: account.NewMemoryStore(), mails: new(box)}
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
	}
	accounts := account.Config{BaseURL: base, Key: testKey, Mailer: a.mails, Store: a.jobs, Service: "Example", CodeLogin: true}
	for _, o := range opts {
		for _, change := range o.kit {
			change(&cfg)
		}
		for _, change := range o.accounts {
			change(&accounts)
		}
	}
	var err error
	a.kit, err = authkit.New(cfg)
	require.NoError(t, err)
	a.Accounts, err = account.New(a.kit, accounts)
	require.NoError(t, err)
	return a
}

// mail delivers what waits, and returns the only mail of that.
func (a *app) mail(t testing.TB) account.Message {
	t.Helper()
	require.NoError(t, a.Deliver(t.Context()))
	mails := a.mails.all()
	require.Len(t, mails, 1)
	return mails[0]
}

// none delivers what waits, which is no mail.
func (a *app) none(t testing.TB) {
	t.Helper()
	require.NoError(t, a.Deliver(t.Context()))
	require.Empty(t, a.mails.all())
}

// token returns the token in a mail.
func token(t testing.TB, m account.Message) string {
	t.Helper()
	found := tokenIn.FindStringSubmatch(m.Text)
	require.NotNil(t, found, m.Text)
	return found[1]
}

// add creates an account whose address is verified.
func (a *app) add(t testing.TB, email string, roles ...string) authkit.User {
	t.Helper()
	u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: email, Roles: roles}, password)
	require.NoError(t, err)
	u, err = a.kit.VerifyEmail(t.Context(), u.ID, email)
	require.NoError(t, err)
	return u
}

// resetToken returns the token of a reset link.
func (a *app) resetToken(t testing.TB, email string) string {
	t.Helper()
	require.NoError(t, a.RequestReset(t.Context(), email))
	return token(t, a.mail(t))
}

// as returns a context with the principal of a login.
func (a *app) as(t testing.TB, email, password string) context.Context {
	t.Helper()
	login, err := a.kit.Login(t.Context(), email, password)
	require.NoError(t, err)
	ctx, _, err := a.kit.IdentifyToken(t.Context(), login.AccessToken)
	require.NoError(t, err)
	return ctx
}

// kinds returns the kinds of the events so far, and forgets them.
func (a *app) kinds() (kinds []authkit.EventKind) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		kinds = append(kinds, e.Kind)
	}
	a.events = nil
	return kinds
}

// server returns the handler of the pages.
func (a *app) server() http.Handler {
	mux := a.kit.NewMux()
	a.Mount(mux)
	return mux
}

// call sends a request with a JSON object or a form, and the headers given as
// names and values.
func call(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, io.NopCloser(strings.NewReader(body)))
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	} else if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A watchedStore keeps the bodies of all jobs, and the names of the calls.
type watchedStore struct {
	account.Store
	mu    sync.Mutex
	seen  [][]byte
	calls []string
	fail  func(call string) error // before the call
}

func (s *watchedStore) note(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	if s.fail != nil {
		return s.fail(call)
	}
	return nil
}

// bodies returns the bodies of all jobs so far.
func (s *watchedStore) bodies() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// names returns the names of the calls so far, and forgets them.
func (s *watchedStore) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *watchedStore) PutJob(ctx context.Context, j account.Job) error {
	if err := s.note("PutJob"); err != nil {
		return err
	}
	s.mu.Lock()
	s.seen = append(s.seen, j.Body)
	s.mu.Unlock()
	return s.Store.PutJob(ctx, j)
}
