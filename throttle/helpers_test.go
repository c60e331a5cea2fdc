package throttle_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

const testSecret = "0d7fa9c4e1b2835f96a0c7d4e8b1f352"

// A countingHasher counts what is compared. It hashes nothing: a password stands
// in its hash.
type countingHasher struct {
	mu     sync.Mutex
	total  int
	before func() // called before each, if not nil
	slow   time.Duration
	hold   chan struct{} // each waits until it is closed, if it is not nil
}

func (h *countingHasher) Hash(password string) (authkit.PasswordHash, error) {
	return authkit.PasswordHash("plain:" + password), nil
}

func (h *countingHasher) Verify(password string, hash authkit.PasswordHash) error {
	if h.slow > 0 {
		time.Sleep(h.slow)
	}
	if h.hold != nil {
		<-h.hold
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.before != nil {
		h.before()
	}
	h.total++
	if string(hash) != "plain:"+password {
		return authkit.ErrPasswordMismatch
	}
	return nil
}

func (h *countingHasher) NeedsRehash(authkit.PasswordHash) (bool, error) { return false, nil }

// hashed returns how many hashes there were in all.
func (h *countingHasher) hashed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total
}

// A service is a Kit with a throttle.
type service struct {
	kit     *authkit.Kit
	limits  *throttle.Throttle
	hasher  *countingHasher
	guesses atomic.Int64

	mu     sync.Mutex
	events []authkit.Event
}

func newService(t testing.TB, change ...func(*throttle.Config)) *service {
	t.Helper()
	s := &service{hasher: &countingHasher{}}
	cfg := throttle.Config{Secret: []byte(testSecret), OnEvent: s.record}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	s.limits, err = throttle.New(cfg)
	require.NoError(t, err)
	store := authkit.NewMemoryStore()
	s.kit, err = authkit.New(authkit.Config{
		Secret: []byte(testSecret), Users: store, Sessions: authkit.SessionConfig{Store: store},
		Passwords: authkit.PasswordConfig{Hasher: s.hasher, MaxConcurrentHashes: 64}, Throttle: s.limits,
		OnEvent: []func(context.Context, authkit.Event){s.record}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return s
}

func (s *service) record(_ context.Context, e authkit.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// last returns the latest event.
func (s *service) last() authkit.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[len(s.events)-1]
}

// add makes an account, whose password is "right " and the e-mail.
func (s *service) add(t testing.TB, email string) authkit.User {
	t.Helper()
	u, err := s.kit.CreateUser(t.Context(), authkit.User{Email: email}, "right "+email)
	require.NoError(t, err)
	return u
}

func from(ctx context.Context, address string) context.Context {
	return authkit.WithClient(ctx, authkit.ClientInfo{Address: address})
}

// login logs in from an address, rightly or with a wrong password that was not tried before.
func (s *service) login(t testing.TB, email, address string, right bool) error {
	t.Helper()
	password := fmt.Sprint("wrong ", s.guesses.Add(1), " ", email)
	if right {
		password = "right " + email
	}
	_, err := s.kit.Login(from(t.Context(), address), email, password)
	return err
}

// fail makes a login fail that reaches a hash.
func (s *service) fail(t testing.TB, email, address string) {
	t.Helper()
	before := s.hasher.hashed()
	require.ErrorIs(t, s.login(t, email, address, false), authkit.ErrInvalidCredentials)
	require.Equal(t, before+1, s.hasher.hashed())
}

// refuse asserts that a login is refused without a hash, the right password too.
func (s *service) refuse(t testing.TB, email, address string) *authkit.ThrottledError {
	t.Helper()
	var refused *authkit.ThrottledError
	before := s.hasher.hashed()
	require.ErrorAs(t, s.login(t, email, address, false), &refused)
	require.ErrorAs(t, s.login(t, email, address, true), &refused)
	require.Equal(t, before, s.hasher.hashed())
	require.Equal(t, authkit.ReasonThrottled, s.last().Reason)
	require.NoError(t, s.last().Err)
	return refused
}

// post logs in with a form, from a browser with cookies.
func post(t testing.TB, h http.Handler, address, email, password string, cookies ...*http.Cookie) *http.Response {
	t.Helper()
	form := url.Values{"username": {email}, "password": {password}}
	r := httptest.NewRequest("POST", "/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = address
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func address(i int) string {
	return fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
}
