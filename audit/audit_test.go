package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/trail"
	"github.com/authkit-go/authkit/storetest"
)

var testKey = []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")

// quiet is a logger that keeps what it is told.
func quiet() (*slog.Logger, *bytes.Buffer) {
	var said bytes.Buffer
	return slog.New(slog.NewTextHandler(&said, nil)), &said
}

func newLog(t testing.TB, store audit.Store, change ...func(*audit.Options)) *audit.Log {
	t.Helper()
	logger, _ := quiet()
	opts := audit.Options{Key: testKey, Logger: logger}
	for _, c := range change {
		c(&opts)
	}
	l, err := audit.New(store, opts)
	require.NoError(t, err)
	return l
}

// all returns what a store has, which must verify.
func all(t testing.TB, store audit.Store) ([]audit.Entry, trail.Report) {
	t.Helper()
	report, err := trail.Verify(audit.All(context.Background(), store), testKey)
	require.NoError(t, err)
	entries, err := store.AuditEntries(context.Background(), audit.Query{Limit: 1 << 30})
	require.NoError(t, err)
	return entries, report
}

func event(n int) authkit.Event {
	return authkit.Event{Kind: authkit.EventLoginSuccess, UserID: fmt.Sprint("user-", n)}
}

// A faultyStore is a MemoryStore whose appends a test can stop.
type faultyStore struct {
	*audit.MemoryStore
	before, after func(ctx context.Context, entries []audit.Entry) error
}

func (f *faultyStore) AppendAudit(ctx context.Context, entries []audit.Entry) error {
	if f.before != nil {
		if err := f.before(ctx, entries); err != nil {
			return err
		}
	}
	err := f.MemoryStore.AppendAudit(ctx, entries)
	if err == nil && f.after != nil {
		return f.after(ctx, entries)
	}
	return err
}

func TestNewFaults(t *testing.T) {
	t.Parallel()
	_, err := audit.New(nil, audit.Options{Key: make([]byte, 31), Queue: 15})
	for _, want := range []string{"store is nil", "Options.Key: 31 bytes", "Options.Queue: 15; use 16 to 1048576"} {
		require.ErrorContains(t, err, want)
	}
	for _, queue := range []int{16, 1 << 20} {
		_, err = audit.New(audit.NewMemoryStore(0), audit.Options{Key: testKey, Queue: queue})
		require.NoError(t, err)
	}
	_, err = audit.New(audit.NewMemoryStore(0), audit.Options{Key: testKey, Queue: 1<<20 + 1})
	require.ErrorContains(t, err, "Options.Queue")
	_, err = audit.New(audit.NewMemoryStore(0), audit.Options{})
	require.ErrorContains(t, err, "Options.Key: 0 bytes")
}

func TestOptionsAreRedacted(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		require.Equal(t, "audit.Options{[redacted]}", fmt.Sprintf(verb, audit.Options{Key: testKey}))
	}
}

// AU-02, AU-03: what a kit does is written with who, whom, how and from where, and without
// what is secret.
func TestKitsEvents(t *testing.T) {
	t.Parallel()
	store, users := audit.NewMemoryStore(0), authkit.NewMemoryStore()
	l := newLog(t, store)
	kit, err := authkit.New(authkit.Config{
		Secret: testKey, Users: users, Sessions: authkit.SessionConfig{Store: users}, OnEvent: []func(context.Context, authkit.Event){l.OnEvent},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Schemes(authkit.Bcrypt{Cost: 4, InsecureLowCost: true})},
	})
	require.NoError(t, err)
	ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "192.0.2.7", Device: "Firefox", RequestID: "req-1"})
	admin, err := kit.CreateUser(ctx, authkit.User{Email: "admin@example.com", Roles: []string{"admin"}}, "admin's password")
	require.NoError(t, err)
	user, err := kit.CreateUser(ctx, authkit.User{Email: "user@example.com"}, "user's password")
	require.NoError(t, err)
	_, err = kit.Login(ctx, "typed-name-that-is-a-password", "no password")
	require.Error(t, err)
	_, err = kit.Login(ctx, user.Email, "wrong password")
	require.Error(t, err)
	token, err := kit.Login(ctx, admin.Email, "admin's password")
	require.NoError(t, err)
	_, err = kit.Refresh(ctx, token.RefreshToken)
	require.NoError(t, err)
	_, err = kit.Refresh(ctx, "ak1_nonsense")
	require.Error(t, err)

	mux := kit.NewMux()
	mux.HandleFunc("POST /disable", authkit.Roles("admin"), func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, kit.DisableUser(r.Context(), user.ID))
	})
	mux.HandleFunc("POST /roles", authkit.Roles("admin"), func(_ http.ResponseWriter, r *http.Request) {
		_, err := kit.AddRole(r.Context(), user.ID, "editor")
		require.NoError(t, err)
		require.Error(t, kit.ChangePassword(r.Context(), admin.ID, "wrong password", "another password"))
		_, err = kit.UnlockUser(authkit.WithSystem(r.Context(), "job"), admin.ID)
		require.NoError(t, err)
	})
	mux.HandleFunc("GET /root", authkit.Roles("root"), func(http.ResponseWriter, *http.Request) {})
	for _, route := range []string{"POST /disable", "GET /root", "POST /roles"} {
		method, path, _ := strings.Cut(route, " ")
		r := httptest.NewRequestWithContext(ctx, method, path, nil)
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		mux.ServeHTTP(httptest.NewRecorder(), r)
	}
	require.NoError(t, l.Flush(t.Context()))
	entries, _ := all(t, store)

	type line struct {
		kind                             authkit.EventKind
		outcome, actor, target, why, how string
	}
	var got []line
	for _, e := range entries {
		got = append(got, line{e.Kind, e.Outcome, e.ActorID, e.TargetID, string(e.Reason), e.Route})
		require.Equal(t, "192.0.2.7 Firefox req-1", e.Address+" "+e.Agent+" "+e.RequestID)
		require.Equal(t, time.UTC, e.Time.Location())
	}
	require.Equal(t, []line{
		{authkit.EventUserCreated, "success", "", admin.ID, "", ""},
		{authkit.EventUserCreated, "success", "", user.ID, "", ""},
		{authkit.EventLoginFailure, "failure", "", "", "unknown_user", ""},
		{authkit.EventLoginFailure, "failure", "", user.ID, "wrong_password", ""},
		{authkit.EventLoginSuccess, "success", admin.ID, admin.ID, "", ""},
		{authkit.EventSessionRenewed, "success", admin.ID, admin.ID, "", ""},
		{authkit.EventRefreshFailure, "failure", "", "", "malformed", ""},
		{authkit.EventUserDisabled, "success", admin.ID, user.ID, "", ""},
		{authkit.EventAccessDenied, "failure", admin.ID, admin.ID, "missing_role", "GET /root"},
		{authkit.EventRolesChanged, "success", admin.ID, user.ID, "", ""},
		{authkit.EventPasswordCheck, "failure", admin.ID, admin.ID, "wrong_password", ""},
		{authkit.EventUserUnlocked, "success", "system:job", admin.ID, "", ""},
	}, got)
	require.NotEmpty(t, entries[4].SessionID)
	require.Equal(t, entries[4].SessionID, entries[8].SessionID)

	stored, err := users.UserByID(t.Context(), admin.ID)
	require.NoError(t, err)
	text, err := json.Marshal(entries)
	require.NoError(t, err)
	for _, secret := range []string{"password", "typed-name", "example.com", token.AccessToken, token.RefreshToken, string(stored.PasswordHash), "nonsense"} {
		if secret == "password" {
			text = bytes.ReplaceAll(text, []byte("wrong_password"), nil)
			text = bytes.ReplaceAll(text, []byte(authkit.EventPasswordCheck), nil)
		}
		require.NotContains(t, string(text), secret)
	}
}

// AU-05: a store that hangs delays no login, what is lost is counted, and the log says where.
func TestStoreHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		hangs.Store(true)
		store := &faultyStore{MemoryStore: audit.NewMemoryStore(0)}
		store.before = func(ctx context.Context, _ []audit.Entry) error {
			if hangs.Load() {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		logger, said := quiet()
		l := newLog(t, store, func(o *audit.Options) { o.Queue, o.Logger = 16, logger })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		synctest.Wait()
		begin := time.Now()
		for i := range 100 {
			l.OnEvent(t.Context(), event(i))
		}
		require.Zero(t, time.Since(begin), "nobody waits")
		require.Equal(t, audit.Stats{Waiting: 16, Lost: 84}, l.Stats())
		time.Sleep(20 * time.Second)
		require.ErrorIs(t, l.Stats().Err, context.DeadlineExceeded)
		hangs.Store(false)
		time.Sleep(20 * time.Second)
		require.Equal(t, audit.Stats{Written: 18, Lost: 84}, l.Stats())
		l.OnEvent(t.Context(), event(100))
		synctest.Wait()
		cancel()
		require.Equal(t, context.Canceled, <-done)

		entries, report := all(t, store)
		require.EqualValues(t, 84, report.Lost)
		require.Len(t, entries, 20)
		require.Equal(t, audit.KindStarted, entries[0].Kind)
		require.Equal(t, "user-15", entries[16].TargetID)
		require.Equal(t, audit.KindLost, entries[17].Kind)
		require.Equal(t, audit.Failure, entries[17].Outcome)
		require.Equal(t, "user-100", entries[18].TargetID)
		require.Equal(t, audit.KindStopped, entries[19].Kind)
		require.Equal(t, 1, strings.Count(said.String(), "level=ERROR"), said)
		require.Equal(t, 1, strings.Count(said.String(), "level=WARN"), said)
		require.Contains(t, said.String(), "lost=84")
	})
}

// AU-05: Run reports how many entries it left unwritten, whether the store fails, hangs, or
// ignores its context.
func TestRunCountsUnwritten(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		before func(context.Context) error
		want   string
		err    error
	}{
		"fails":               {func(context.Context) error { return boom }, "audit: 7 entries were left unwritten", boom},
		"hangs":               {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "audit: 7 entries were left unwritten", context.DeadlineExceeded},
		"ignores its context": {func(context.Context) error { time.Sleep(time.Hour); return nil }, "audit: the store hangs, and 6 entries were left unwritten", context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &faultyStore{MemoryStore: audit.NewMemoryStore(0)}
				store.before = func(ctx context.Context, _ []audit.Entry) error { return c.before(ctx) }
				logger, _ := quiet()
				l := newLog(t, store, func(o *audit.Options) { o.Logger = logger })
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- l.Run(ctx) }()
				synctest.Wait() // the entry of the start is with the store
				for i := range 5 {
					l.OnEvent(t.Context(), event(i))
				}
				cancel()
				err := <-done
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, c.err)
				require.ErrorContains(t, err, c.want)
				time.Sleep(2 * time.Hour) // a call that ignores its context ends
			})
		})
	}
}

// AU-05: of a batch that takes several calls, those that succeeded do not count.
func TestRunCountsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{MemoryStore: audit.NewMemoryStore(0)}
		store.before = func(_ context.Context, entries []audit.Entry) error {
			if len(entries) < 500 {
				return errors.New("boom")
			}
			return nil
		}
		l := newLog(t, store)
		for i := range 599 {
			l.OnEvent(t.Context(), event(i))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(time.Second)
		cancel()
		require.ErrorContains(t, <-done, "audit: 101 entries were left unwritten") // 599, and those of the start and the end
	})
}

// A call that seems to fail may have written all, nothing, or, in a file, a part. Whatever it
// was, nothing is lost, doubled or out of order.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, breakIt := range map[string]func(s *faultyStore, calls *int){
		"before": func(s *faultyStore, calls *int) {
			s.before = func(context.Context, []audit.Entry) error {
				if *calls++; *calls%3 != 0 {
					return boom
				}
				return nil
			}
		},
		"after": func(s *faultyStore, calls *int) {
			s.after = func(context.Context, []audit.Entry) error {
				if *calls++; *calls%3 != 0 {
					return boom
				}
				return nil
			}
		},
		"in the middle": func(s *faultyStore, calls *int) {
			s.before = func(ctx context.Context, e []audit.Entry) error {
				if *calls++; *calls%3 != 0 && len(e) > 1 {
					return errors.Join(s.MemoryStore.AppendAudit(ctx, e[:len(e)/2]), boom)
				}
				return nil
			}
		},
		"and another instance writes": func(s *faultyStore, calls *int) {
			other := audit.NewChain(testKey)
			s.before = func(ctx context.Context, e []audit.Entry) error {
				if *calls++; *calls%2 == 0 {
					return nil
				}
				last, err := s.AuditEntries(ctx, audit.Query{Newest: true, Limit: 1})
				more, head := []audit.Entry{{Time: e[0].Time, Kind: "of_another"}}, audit.Head{}
				if len(last) > 0 {
					head = last[0].Head()
				}
				other.Link(head, more)
				return errors.Join(err, s.MemoryStore.AppendAudit(ctx, more))
			}
		},
		"when it is read": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, calls := &faultyStore{MemoryStore: audit.NewMemoryStore(0)}, 0
			l := newLog(t, store)
			if breakIt == nil {
				l = newLog(t, &unreadable{store, 3})
			} else {
				breakIt(store, &calls)
			}
			n := 0
			for range 20 {
				for range 7 {
					l.OnEvent(t.Context(), event(n))
					n++
				}
				_ = l.Flush(t.Context())
			}
			for try := 0; l.Flush(t.Context()) != nil; try++ {
				require.Less(t, try, 50)
			}
			entries, _ := all(t, store)
			next := 0
			for _, e := range entries {
				if e.Kind == "of_another" {
					continue
				}
				require.Equal(t, fmt.Sprint("user-", next), e.TargetID)
				next++
			}
			require.Equal(t, n, next)
			require.EqualValues(t, n, l.Stats().Written)
			require.NoError(t, l.Stats().Err)
		})
	}
}

// An unreadable store cannot be read the first times.
type unreadable struct {
	audit.Store
	times int
}

func (u *unreadable) AuditEntries(ctx context.Context, q audit.Query) ([]audit.Entry, error) {
	if u.times--; u.times >= 0 {
		return nil, errors.New("boom")
	}
	return u.Store.AuditEntries(ctx, q)
}

// A counted store counts its calls, and fails to be read as often as a test says.
type counted struct {
	*faultyStore
	unread         int
	appends, reads int
}

func (c *counted) AppendAudit(ctx context.Context, entries []audit.Entry) error {
	c.appends++
	return c.faultyStore.AppendAudit(ctx, entries)
}

func (c *counted) AuditEntries(ctx context.Context, q audit.Query) ([]audit.Entry, error) {
	c.reads++
	if c.unread--; c.unread >= 0 {
		return nil, errors.New("boom")
	}
	return c.faultyStore.AuditEntries(ctx, q)
}

// A log reads the end of the store once, before the first entry, and needs one
// call for each write. If it cannot read what an earlier call has written, it
// does not write it again.
func TestCallsOfStore(t *testing.T) {
	t.Parallel()
	store := &counted{faultyStore: &faultyStore{MemoryStore: audit.NewMemoryStore(0)}}
	first := newLog(t, store)
	write := func(l *audit.Log, n int) error {
		l.OnEvent(t.Context(), event(n))
		return l.Flush(t.Context())
	}
	require.NoError(t, write(first, 0))

	store.appends, store.unread = 0, 1
	l := newLog(t, store)
	require.ErrorContains(t, write(l, 1), "boom")
	require.Zero(t, store.appends, "the end of the store is not known")
	store.reads = 0
	require.NoError(t, write(l, 2)) // with the one that waits
	require.NoError(t, write(l, 3))
	require.Equal(t, []int{1, 3}, []int{store.reads, store.appends})

	require.NoError(t, write(first, 4), "another instance was first")
	store.after = func(context.Context, []audit.Entry) error { return errors.New("lost") }
	require.ErrorContains(t, write(l, 5), "store: ") // also after a conflict
	store.after, store.unread = nil, 1
	require.ErrorContains(t, l.Flush(t.Context()), "boom")
	require.NoError(t, l.Flush(t.Context()))
	entries, _ := all(t, store)
	require.Len(t, entries, 6)
}

// AU-04: a store that has lost its last entry does not get the number again.
func TestLostEndOfStore(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: audit.NewMemoryStore(0)}
	l := newLog(t, store)
	for i := range 3 {
		l.OnEvent(t.Context(), event(i))
	}
	require.NoError(t, l.Flush(t.Context()))
	entries, err := store.AuditEntries(t.Context(), audit.Query{Limit: 2})
	require.NoError(t, err)
	store.MemoryStore = audit.NewMemoryStore(0)
	require.NoError(t, store.MemoryStore.AppendAudit(t.Context(), entries))
	store.before = func(context.Context, []audit.Entry) error {
		store.before = nil
		return audit.ErrConflict // so that the log reads the end
	}
	l.OnEvent(t.Context(), event(3))
	require.NoError(t, l.Flush(t.Context()))
	last, err := store.AuditEntries(t.Context(), audit.Query{Newest: true, Limit: 1})
	require.NoError(t, err)
	require.EqualValues(t, 4, last[0].Seq, "the gap shows")
}

// A caller that stops is no failure of the store. A write that succeeds ends one,
// also if the caller stops then.
func TestStatusOfStoppedCaller(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: audit.NewMemoryStore(0)}
	logger, said := quiet()
	l := newLog(t, store, func(o *audit.Options) { o.Logger = logger })
	ctx, cancel := context.WithCancel(t.Context())
	store.before = func(ctx context.Context, _ []audit.Entry) error { cancel(); return context.Canceled }
	l.OnEvent(t.Context(), event(0))
	require.ErrorIs(t, l.Flush(ctx), context.Canceled)
	require.NoError(t, l.Stats().Err)
	require.Empty(t, said.String())

	store.before = func(context.Context, []audit.Entry) error { return errors.New("boom") }
	require.Error(t, l.Flush(t.Context()))
	require.ErrorContains(t, l.Stats().Err, "boom")
	store.before = nil
	ctx, cancel = context.WithCancel(t.Context())
	store.after = func(context.Context, []audit.Entry) error { cancel(); return nil }
	require.NoError(t, l.Flush(ctx))
	require.NoError(t, l.Stats().Err)
	require.Contains(t, said.String(), "the store is back")
}

// Run writes each event within 20 ms, however many it has written.
func TestRunWritesSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := audit.NewMemoryStore(0)
		l := newLog(t, store)
		stop := run(t, l)
		for i := range 10 {
			l.OnEvent(t.Context(), event(i))
			time.Sleep(21 * time.Millisecond)
			require.Zero(t, l.Stats().Waiting, i)
		}
		stop()
	})
}

// A MemoryStore passes the suite, and does nothing for a caller that is gone.
func TestMemoryStore(t *testing.T) {
	t.Parallel()
	storetest.TestAuditStore(t, func(*testing.T) audit.Store { return audit.NewMemoryStore(0) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := audit.NewMemoryStore(0)
	_, err := s.AuditEntries(ctx, audit.Query{Limit: 1})
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.EraseAudit(ctx, "u")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.AppendAudit(ctx, nil), context.Canceled)
}

// A store that says its numbers are taken, and has nothing, is a store that fails.
func TestStoreOnlyConflicts(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: audit.NewMemoryStore(0)}
	store.before = func(context.Context, []audit.Entry) error { return audit.ErrConflict }
	l := newLog(t, store)
	l.OnEvent(t.Context(), event(1))
	require.ErrorIs(t, l.Flush(t.Context()), audit.ErrConflict)
	store.before = nil
	require.NoError(t, l.Flush(t.Context()))
	entries, _ := all(t, store)
	require.Len(t, entries, 1)
}

// What anyone can cause in any number does not push out the rest.
func TestFlood(t *testing.T) {
	t.Parallel()
	store := audit.NewMemoryStore(0)
	l := newLog(t, store, func(o *audit.Options) { o.Queue = 100 })
	for i := range 1000 {
		ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: fmt.Sprintf("10.0.%d.%d", i>>8, i&255)})
		l.OnEvent(ctx, authkit.Event{Kind: authkit.EventTokenRefused, Reason: authkit.ReasonBadSignature})
		l.OnEvent(ctx, authkit.Event{Kind: authkit.EventRefreshFailure, Reason: authkit.ReasonMalformed})
		l.OnEvent(ctx, authkit.Event{Kind: authkit.EventLoginFailure, Reason: authkit.ReasonOverloaded})
	}
	require.Equal(t, 50, l.Stats().Waiting)
	for i := range 50 {
		l.OnEvent(t.Context(), event(i))
	}
	require.Equal(t, audit.Stats{Waiting: 100, Lost: 2950}, l.Stats())
	require.NoError(t, l.Flush(t.Context()))
	_, report := all(t, store)
	require.EqualValues(t, 2950, report.Lost)
}

// AU-05: an option refuses what would not be recorded.
func TestFailClosed(t *testing.T) {
	t.Parallel()
	l := newLog(t, audit.NewMemoryStore(0), func(o *audit.Options) { o.Queue = 16 })
	h := l.FailClosed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/token", nil))
		return w
	}
	for i := range 12 {
		require.Equal(t, http.StatusTeapot, ask().Code)
		l.OnEvent(t.Context(), event(i))
	}
	w := ask()
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.NoError(t, l.Flush(t.Context()))
	require.Equal(t, http.StatusTeapot, ask().Code)
}

// RE-09: what waits when the program ends is written, by a store that is slow or fails, too;
// but the program ends.
func TestRunDrains(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(ctx context.Context, calls int) error
		left   bool
	}{
		"at once": {func(context.Context, int) error { return nil }, false},
		"slowly":  {func(context.Context, int) error { time.Sleep(3 * time.Second); return nil }, false},
		"failing for a while": {func(_ context.Context, calls int) error {
			if calls < 20 {
				return errors.New("boom")
			}
			return nil
		}, false},
		"failing": {func(context.Context, int) error { return errors.New("boom") }, true},
		"hanging": {func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }, true},
		"deaf":    {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls, release := 0, make(chan struct{})
				var off atomic.Bool
				defer synctest.Wait()
				defer close(release)
				store := &faultyStore{MemoryStore: audit.NewMemoryStore(0)}
				store.before = func(ctx context.Context, _ []audit.Entry) error {
					if !off.Load() {
						return nil
					}
					if c.before == nil {
						<-release
						return nil
					}
					calls++
					return c.before(ctx, calls)
				}
				l := newLog(t, store)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- l.Run(ctx) }()
				synctest.Wait()
				off.Store(true)
				for i := range 5 {
					l.OnEvent(t.Context(), event(i))
				}
				cancel()
				begin := time.Now()
				err := <-done
				require.ErrorIs(t, err, context.Canceled)
				require.LessOrEqual(t, time.Since(begin), 11*time.Second)
				if c.left {
					require.NotEqual(t, context.Canceled, err)
					require.ErrorContains(t, err, "audit: ")
					return
				}
				require.Equal(t, context.Canceled, err)
				entries, _ := all(t, store)
				require.Len(t, entries, 7)
				require.Equal(t, audit.KindStopped, entries[6].Kind)
			})
		})
	}
}

// A log goes on where the one before ended.
func TestRestart(t *testing.T) {
	t.Parallel()
	store := audit.NewMemoryStore(0)
	for i := range 5 {
		l := newLog(t, store)
		require.NoError(t, l.Flush(t.Context()), "nothing to do")
		l.OnEvent(t.Context(), event(i))
		require.NoError(t, l.Flush(t.Context()))
	}
	entries, report := all(t, store)
	require.Len(t, entries, 5)
	require.EqualValues(t, 5, report.Head.Seq)
}

// RE-01, and nothing is lost that was not counted.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	store := audit.NewMemoryStore(1 << 20)
	l := newLog(t, store, func(o *audit.Options) { o.Queue = 256 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	h := l.Handler()
	var wg sync.WaitGroup
	var sent atomic.Uint64
	for n := range 64 {
		wg.Go(func() {
			for i := range 100 {
				l.OnEvent(t.Context(), event(n))
				sent.Add(1)
				switch i % 50 {
				case 10:
					h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
				case 20:
					_ = l.Stats()
				case 30:
					if n%16 == 0 {
						_ = l.Erase(t.Context(), fmt.Sprint("user-", n))
					}
				}
			}
		})
	}
	wg.Wait()
	cancel()
	require.Equal(t, context.Canceled, <-done)
	entries, report := all(t, store)
	logins := uint64(0)
	for _, e := range entries {
		if e.Kind == authkit.EventLoginSuccess {
			logins += max(e.Count, 1)
		}
	}
	require.Equal(t, sent.Load(), logins+report.Lost)
	require.Equal(t, l.Stats().Lost, report.Lost)
	require.Equal(t, report.ErasedByLog, report.Erased)
}

// What the mirror was told is a log of its own.
func TestMirror(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	store := audit.NewMemoryStore(0)
	l := newLog(t, store, func(o *audit.Options) { o.Mirror = slog.New(slog.NewJSONHandler(&out, nil)) })
	l.OnEvent(t.Context(), event(1))
	l.OnEvent(t.Context(), authkit.Event{Kind: authkit.EventLoginFailure, Reason: authkit.ReasonWrongPassword})
	require.NoError(t, l.Flush(t.Context()))
	var text strings.Builder
	var levels []string
	for line := range strings.Lines(out.String()) {
		var said struct{ Level, Msg, Entry string }
		require.NoError(t, json.Unmarshal([]byte(line), &said))
		text.WriteString(said.Entry + "\n")
		levels = append(levels, said.Level+" "+said.Msg)
	}
	require.Equal(t, []string{"INFO authn_login_success", "WARN authn_login_fail"}, levels)
	report, err := trail.Verify(trail.ReadEntries(strings.NewReader(text.String())), testKey)
	require.NoError(t, err)
	_, want := all(t, store)
	require.Equal(t, want, report)
}

func TestMemoryStoreIsBounded(t *testing.T) {
	t.Parallel()
	store := audit.NewMemoryStore(10)
	l := newLog(t, store)
	for i := range 95 {
		l.OnEvent(t.Context(), event(i))
		require.NoError(t, l.Flush(t.Context()))
	}
	entries, err := store.AuditEntries(t.Context(), audit.Query{Limit: 100})
	require.NoError(t, err)
	require.Len(t, entries, 10)
	require.EqualValues(t, 86, entries[0].Seq)
	_, err = trail.Verify(audit.All(t.Context(), store), testKey)
	require.ErrorContains(t, err, "position 1, entry 86: missing")
}

func TestHandler(t *testing.T) {
	t.Parallel()
	store := &unreadable{audit.NewMemoryStore(0), 0}
	l := newLog(t, store)
	h := l.Handler()
	ask := func(method, query string) (int, []uint64, uint64, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/admin/audit"+query, nil))
		var page struct {
			Entries []audit.Entry
			Before  uint64
		}
		if w.Code == 405 {
			require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
		}
		if w.Code == 200 {
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options")) // TR-02
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &page))
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		}
		var seqs []uint64
		for _, e := range page.Entries {
			seqs = append(seqs, e.Seq)
		}
		return w.Code, seqs, page.Before, w.Body.String()
	}
	_, _, _, body := ask("GET", "")
	require.JSONEq(t, `{"entries":[]}`, body)
	for i := range 5 {
		l.OnEvent(authkit.WithClient(t.Context(), authkit.ClientInfo{Address: fmt.Sprint("10.0.0.", i)}), event(i%2))
	}
	require.NoError(t, l.Flush(t.Context()))
	for _, c := range []struct {
		query  string
		seqs   []uint64
		before uint64
	}{
		{"", []uint64{5, 4, 3, 2, 1}, 0},
		{"?limit=5", []uint64{5, 4, 3, 2, 1}, 0},
		{"?limit=1000", []uint64{5, 4, 3, 2, 1}, 0},
		{"?limit=1", []uint64{5}, 5},
		{"?limit=2", []uint64{5, 4}, 4},
		{"?limit=2&before=4", []uint64{3, 2}, 2},
		{"?limit=2&before=2", []uint64{1}, 0},
		{"?user=user-1", []uint64{4, 2}, 0},
		{"?user=nobody", nil, 0},
	} {
		code, seqs, before, _ := ask("GET", c.query)
		require.Equal(t, 200, code)
		require.Equal(t, c.seqs, seqs, c.query)
		require.Equal(t, c.before, before, c.query)
	}
	for _, query := range []string{"?limit=0", "?limit=1001", "?limit=x", "?limit=", "?before=x", "?before=-1", "?limit=x&before=1"} {
		code, _, _, _ := ask("GET", query)
		require.Equal(t, 400, code, query)
	}
	code, _, _, _ := ask("POST", "")
	require.Equal(t, 405, code)
	code, seqs, _, _ := ask("HEAD", "")
	require.Equal(t, 200, code)
	require.Len(t, seqs, 5)
	for i := range 96 {
		l.OnEvent(t.Context(), event(i+10))
	}
	require.NoError(t, l.Flush(t.Context()))
	_, seqs, before, _ := ask("GET", "")
	require.Len(t, seqs, 100)
	require.EqualValues(t, 2, before)
	store.times = 1
	code, _, _, _ = ask("GET", "")
	require.Equal(t, 503, code)
}
