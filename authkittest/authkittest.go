// Package authkittest helps to test programs that use authkit. It makes a Kit
// with fast password hashes, accounts, and requests with access tokens:
//
//	func TestReports(t *testing.T) {
//		kit := authkittest.NewKit(t)
//		ann := authkittest.User(t, kit, "auditor")
//		w := httptest.NewRecorder()
//		routes(kit).ServeHTTP(w, authkittest.Request(t, kit, ann, "GET", "/reports", nil))
//		// w.Code is 200
//	}
//
// Every token comes from a login, and every request passes the guards of the
// program. No function bypasses the guards by putting a principal into a
// context.
package authkittest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

// Password is the password of the accounts of [User].
const Password = "correct horse battery staple"

// TB is the part of testing.TB that this package needs. In an example function,
// which has no *testing.T, use an [Example].
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
}

// An Example is a [TB] for example functions, which have no *testing.T. It
// panics where a test would fail.
type Example struct{}

// Helper does nothing.
func (Example) Helper() {}

// Fatalf panics with the text.
func (Example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Context returns context.Background().
func (Example) Context() context.Context { return context.Background() }

// NewKit returns a Kit with quick password hashes, a random secret, and
// accounts, sessions and tickets in one new [authkit.MemoryStore]. It logs
// nothing. Each change is applied to this configuration before the Kit is made:
//
//	kit := authkittest.NewKit(t, func(c *authkit.Config) { c.Roles = roles })
func NewKit(t TB, change ...func(*authkit.Config)) *authkit.Kit {
	t.Helper()
	store := authkit.NewMemoryStore()
	cfg := authkit.Config{
		Secret:    []byte(rand.Text() + rand.Text()),
		Users:     store,
		Sessions:  authkit.SessionConfig{Store: store},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		Logger:    slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	kit, err := authkit.New(cfg)
	if err != nil {
		t.Fatalf("authkittest: %v", err)
	}
	return kit
}

// User creates an account with the roles, the password [Password] and a
// verified address. The address has the first role and a number, such as
// "admin1@example.com", or "user1@example.com" without roles.
func User(t TB, kit *authkit.Kit, roles ...string) authkit.User {
	t.Helper()
	name := strings.ReplaceAll(cmp.Or(slices.Concat(roles, []string{"user"})...), ":", "-")
	ctx := authkit.WithSystem(t.Context(), "authkittest")
	for n := 1; ; n++ {
		email := fmt.Sprintf("%s%d@example.com", name, n)
		if _, err := kit.UserByEmail(ctx, email); err == nil {
			continue
		}
		u, err := kit.CreateUser(ctx, authkit.User{Email: email, Roles: roles, EmailVerifiedAt: time.Now()}, Password)
		switch {
		case errors.Is(err, authkit.ErrEmailTaken): // by another goroutine
			continue
		case err != nil:
			t.Fatalf("authkittest: creating %s: %v", email, err)
		}
		return u
	}
}

// Login creates an account with the roles, as [User] does, and logs it in.
func Login(t TB, kit *authkit.Kit, roles ...string) authkit.Token {
	t.Helper()
	return LoginAs(t, kit, User(t, kit, roles...))
}

// LoginAs logs an account in without checking its password. The methods are
// those of the [authkit.Proof]. Without methods, it is a login by password. For
// a user with a second factor, or a route that requires one, pass its method,
// such as "otp", or "mfa".
func LoginAs(t TB, kit *authkit.Kit, u authkit.User, methods ...string) authkit.Token {
	t.Helper()
	if len(methods) == 0 {
		methods = []string{authkit.MethodPassword}
	}
	attempt := authkit.Attempt{Action: authkit.ActionLogin, Account: u.Email}
	token, err := kit.LoginWith(t.Context(), attempt, func(context.Context) (authkit.Proof, error) {
		return authkit.Proof{UserID: u.ID, Methods: methods}, nil
	})
	if err != nil {
		t.Fatalf("authkittest: logging %s in: %v", u.Email, err)
	}
	return token
}

// Request returns a request for a handler, as httptest.NewRequest does, with an
// access token of a new login of the account.
func Request(t TB, kit *authkit.Kit, u authkit.User, method, target string, body io.Reader) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, body)
	r.Header.Set("Authorization", "Bearer "+LoginAs(t, kit, u).AccessToken)
	return r
}

// Client returns a client for a server, such as an httptest.Server. It logs the
// account in once, and sends the access token with every request that has no
// Authorization header.
func Client(t TB, kit *authkit.Kit, u authkit.User) *http.Client {
	t.Helper()
	return &http.Client{Transport: transport{LoginAs(t, kit, u).AccessToken}}
}

type transport struct{ token string }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+t.token)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// A Recorder keeps the events of a Kit. The zero value is ready for use:
//
//	var events authkittest.Recorder
//	kit := authkittest.NewKit(t, events.Listen)
type Recorder struct {
	mu   sync.Mutex
	seen []authkit.Event
}

// Listen adds the recorder to a configuration.
func (r *Recorder) Listen(c *authkit.Config) { c.OnEvent = append(c.OnEvent, r.Record) }

// Record keeps an event.
func (r *Recorder) Record(_ context.Context, e authkit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, e)
}

// Take returns the events since the last call, oldest first.
func (r *Recorder) Take() []authkit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}
