package audit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/throttle"
)

// slowly returns a store that takes a millisecond for each entry.
func slowly() *faultyStore {
	return &faultyStore{MemoryStore: audit.NewMemoryStore(1 << 20), before: func(_ context.Context, entries []audit.Entry) error {
		time.Sleep(time.Duration(len(entries)) * time.Millisecond)
		return nil
	}}
}

// run runs a log, and returns a function that ends it.
func run(t *testing.T, l *audit.Log) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		require.Equal(t, context.Canceled, <-done)
	}
}

// counts returns the entries and the events of a kind.
func counts(t *testing.T, store audit.Store, kind authkit.EventKind) (entries int, events uint64) {
	t.Helper()
	found, _ := all(t, store)
	for _, e := range found {
		if e.Kind == kind {
			entries++
			events += max(e.Count, 1)
		}
	}
	return entries, events
}

// FR-02: a user who is refused in a loop, at any rate, does not cause the loss of events, and does
// not turn logins into 503 behind FailClosed.
func TestDeniedRequestsLoseNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := slowly()
		l := newLog(t, store)
		stop := run(t, l)
		kit, err := authkit.New(authkit.Config{
			Secret: testKey, OnEvent: []func(context.Context, authkit.Event){l.OnEvent}, Logger: slog.New(slog.DiscardHandler),
			Passwords: authkit.PasswordConfig{Hasher: authkit.Schemes(authkit.Bcrypt{Cost: 4, InsecureLowCost: true})},
		})
		require.NoError(t, err)
		user, err := kit.CreateUser(t.Context(), authkit.User{Email: "low@example.com"}, "a long password")
		require.NoError(t, err)
		token, err := kit.Login(t.Context(), user.Email, "a long password")
		require.NoError(t, err)
		mux := kit.NewMux()
		mux.HandleFunc("GET /admin", authkit.Roles("admin"), func(http.ResponseWriter, *http.Request) {})
		logins := l.FailClosed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
		const seconds, rate = 12, 3711
		for range seconds {
			for i := range rate {
				r := httptest.NewRequest("GET", "/admin", nil)
				r.Header.Set("Authorization", "Bearer "+token.AccessToken)
				r.Header.Set("User-Agent", fmt.Sprint("agent ", i))
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, r)
				require.Equal(t, http.StatusForbidden, w.Code)
			}
			w := httptest.NewRecorder()
			logins.ServeHTTP(w, httptest.NewRequest("POST", "/token", nil))
			require.Equal(t, http.StatusTeapot, w.Code)
			_, err := kit.SetFullName(t.Context(), user.ID, fmt.Sprint("Low ", time.Now()))
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		stop()
		require.Zero(t, l.Stats().Lost)
		entries, events := counts(t, store, authkit.EventAccessDenied)
		require.EqualValues(t, seconds*rate, events)
		require.LessOrEqual(t, entries, seconds+1)
		entries, _ = counts(t, store, authkit.EventUserUpdated)
		require.Equal(t, seconds, entries)
	})
}

// FR-02: nor do the callers of a network of addresses, which differ in each request, or a user
// with a loop of changes.
func TestFloodFromManyAddresses(t *testing.T) {
	t.Parallel()
	l := newLog(t, audit.NewMemoryStore(0), func(o *audit.Options) { o.Queue = 100 })
	for i := range 1000 {
		ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: fmt.Sprintf("2001:db8:%x::1", i)})
		l.OnEvent(ctx, authkit.Event{Kind: authkit.EventLoginFailure, Reason: authkit.ReasonStore})
	}
	require.Equal(t, audit.Stats{Waiting: 50, Lost: 950}, l.Stats())
	for i := range 1000 {
		ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: fmt.Sprintf("2001:db8::%x", i), RequestID: fmt.Sprint(i)})
		l.OnEvent(ctx, authkit.Event{Kind: authkit.EventLogout, UserID: "u"})
	}
	require.Less(t, l.Stats().Waiting, 75, "FailClosed would refuse logins")
	require.EqualValues(t, 950, l.Stats().Lost)
}

type noUsers struct{ authkit.UserStore }

func (noUsers) UserByEmail(context.Context, string) (authkit.StoredUser, error) {
	return authkit.StoredUser{}, errors.New("down")
}

// FR-02: anonymous logins during a store outage do not fill the queue of a log whose table is
// in the same database.
func TestLoginsWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{MemoryStore: audit.NewMemoryStore(0)}
		var back atomic.Bool
		store.before = func(context.Context, []audit.Entry) error {
			if !back.Load() {
				return errors.New("down")
			}
			return nil
		}
		l := newLog(t, store)
		stop := run(t, l)
		limits, err := throttle.New(throttle.Config{OnEvent: l.OnEvent})
		require.NoError(t, err)
		kit, err := authkit.New(authkit.Config{
			Secret: testKey, OnEvent: []func(context.Context, authkit.Event){l.OnEvent}, Logger: slog.New(slog.DiscardHandler),
			Users: noUsers{authkit.NewMemoryStore()}, Throttle: limits,
		})
		require.NoError(t, err)
		for i := range 10_000 {
			ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: fmt.Sprintf("203.0.113.%d", i%8)})
			_, err := kit.Login(ctx, "a@example.com", "x")
			require.Error(t, err)
		}
		require.Less(t, l.Stats().Waiting, 100)
		require.Zero(t, l.Stats().Lost)
		back.Store(true)
		time.Sleep(10 * time.Second)
		stop()
		_, failures := counts(t, store, authkit.EventLoginFailure)
		_, limited := counts(t, store, authkit.EventRateLimited)
		require.EqualValues(t, 10_000, failures+limited)
	})
}

// Equal events are one entry per second, whether it is still in the queue or written. Those
// that differ are several.
func TestEqualEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := audit.NewMemoryStore(0)
		l := newLog(t, store)
		stop := run(t, l)
		const seconds = 20
		for i := range 100*seconds - 50 { // the last ones in the middle of a second
			l.OnEvent(t.Context(), authkit.Event{Kind: authkit.EventTokenRefused, Reason: authkit.ReasonExpired})
			if i%500 == 0 {
				l.OnEvent(t.Context(), event(i)) // by which nothing moves
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		entries, events := counts(t, store, authkit.EventTokenRefused)
		require.EqualValues(t, 100*seconds-50, events, "without a further event")
		require.InDelta(t, seconds, entries, 1.5)

		client := authkit.ClientInfo{Address: "2001:db8::1", Device: "a", RequestID: "r"}
		e := authkit.Event{Kind: authkit.EventAccessDenied, UserID: "u", ActorID: "a", SessionID: "s", Reason: authkit.ReasonMissingRole, Route: "GET /"}
		send := func(change func(*authkit.Event, *authkit.ClientInfo)) {
			e, client := e, client
			change(&e, &client)
			l.OnEvent(authkit.WithClient(t.Context(), client), e)
		}
		for _, equal := range []func(*authkit.Event, *authkit.ClientInfo){
			func(*authkit.Event, *authkit.ClientInfo) {},
			func(_ *authkit.Event, c *authkit.ClientInfo) { c.Device = "b" },
			func(_ *authkit.Event, c *authkit.ClientInfo) { c.RequestID = "q" },
			func(_ *authkit.Event, c *authkit.ClientInfo) { c.Address = "2001:db8::2" },
		} {
			send(equal)
		}
		for _, other := range []func(*authkit.Event, *authkit.ClientInfo){
			func(e *authkit.Event, _ *authkit.ClientInfo) { e.UserID = "v" },
			func(e *authkit.Event, _ *authkit.ClientInfo) { e.ActorID = "b" },
			func(e *authkit.Event, _ *authkit.ClientInfo) { e.SessionID = "t" },
			func(e *authkit.Event, _ *authkit.ClientInfo) { e.Reason = "" },
			func(e *authkit.Event, _ *authkit.ClientInfo) { e.Route = "GET /x" },
			func(_ *authkit.Event, c *authkit.ClientInfo) { c.Address = "2001:db8:0:1::1" },
			func(_ *authkit.Event, c *authkit.ClientInfo) { c.Address = "192.0.2.1" },
			func(_ *authkit.Event, c *authkit.ClientInfo) { c.Address = "192.0.2.2" },
			func(_ *authkit.Event, c *authkit.ClientInfo) { c.Address = "::ffff:192.0.2.1" },
			func(_ *authkit.Event, c *authkit.ClientInfo) { c.Address = "::ffff:192.0.2.2" },
			func(_ *authkit.Event, c *authkit.ClientInfo) { c.Address = "not:an:address:1" },
			func(_ *authkit.Event, c *authkit.ClientInfo) { c.Address = "not:an:address:2" },
		} {
			send(other)
		}
		require.NoError(t, l.Flush(t.Context()))
		entries, events = counts(t, store, authkit.EventAccessDenied)
		require.Equal(t, 13, entries)
		require.EqualValues(t, 16, events)
		found, _ := all(t, store)
		first := found[len(found)-13]
		require.EqualValues(t, 4, first.Count)
		require.Equal(t, "2001:db8::1 a r", first.Address+" "+first.Agent+" "+first.RequestID)
		require.Zero(t, found[len(found)-1].Count)

		send(func(*authkit.Event, *authkit.ClientInfo) {}) // Flush does not wait for the second
		send(func(*authkit.Event, *authkit.ClientInfo) {})
		require.NoError(t, l.Flush(t.Context()))
		entries, events = counts(t, store, authkit.EventAccessDenied)
		require.Equal(t, 14, entries)
		require.EqualValues(t, 18, events)
		send(func(*authkit.Event, *authkit.ClientInfo) {})
		stop() // nor does the end
		_, events = counts(t, store, authkit.EventAccessDenied)
		require.EqualValues(t, 19, events)
		found, _ = all(t, store)
		found = slices.DeleteFunc(found, func(e audit.Entry) bool { return e.Kind != authkit.EventAccessDenied })
		require.Zero(t, found[len(found)-1].Count, "a single event has no count")
	})
}

// The events that a tally has counted are lost if the queue is full when they are due, and are
// counted as lost.
func TestEqualEventsAreLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := audit.NewMemoryStore(0)
		l := newLog(t, store, func(o *audit.Options) { o.Queue = 16 })
		l.OnEvent(t.Context(), event(0))
		require.NoError(t, l.Flush(t.Context()))
		for range 7 {
			l.OnEvent(t.Context(), event(0))
		}
		for i := range 16 {
			l.OnEvent(t.Context(), event(i+1))
		}
		require.Equal(t, audit.Stats{Written: 1, Waiting: 16}, l.Stats())
		time.Sleep(time.Second)
		l.OnEvent(t.Context(), event(1))
		require.Equal(t, audit.Stats{Written: 1, Waiting: 16, Lost: 8}, l.Stats())
		require.NoError(t, l.Flush(t.Context()))
		_, report := all(t, store)
		require.EqualValues(t, 8, report.Lost)
	})
}

// A log counts no more kinds of equal events than its queue is long.
func TestEqualEventsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, audit.NewMemoryStore(0), func(o *audit.Options) { o.Queue = 16 })
		for i := range 20 {
			l.OnEvent(t.Context(), event(i))
			require.NoError(t, l.Flush(t.Context()))
		}
		for range 3 {
			l.OnEvent(t.Context(), event(16))
			l.OnEvent(t.Context(), event(0))
		}
		require.Equal(t, 3, l.Stats().Waiting)
	})
}
