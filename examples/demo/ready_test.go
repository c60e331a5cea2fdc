package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
)

// A countedUsers counts look-ups, and fails if err is not nil.
type countedUsers struct {
	authkit.UserStore
	looked int
	err    error
}

func (s *countedUsers) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	s.looked++
	if s.err != nil {
		return authkit.StoredUser{}, s.err
	}
	return s.UserStore.UserByID(ctx, id)
}

// Any client may call /readyz, so the stores are asked once a second.
func TestReadiness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := authkit.NewMemoryStore()
		users := &countedUsers{UserStore: memory}
		r := &readiness{store: &storage{users: users, sessions: memory}}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { require.NoError(t, r.check()) })
		}
		all.Wait()
		require.Equal(t, 1, users.looked)

		users.err = errors.New("down")
		require.NoError(t, r.check(), "as it was a moment ago")
		time.Sleep(readyHolds)
		for range 100 {
			require.ErrorIs(t, r.check(), users.err)
		}
		require.Equal(t, 2, users.looked)
		users.err = nil
		time.Sleep(readyHolds)
		require.NoError(t, r.check())
	})
}

// A freezer passes connections on to a server, and stops passing anything while it is frozen,
// as a server that hangs.
type freezer struct {
	mu     sync.Mutex
	frozen chan struct{} // closed unless it is frozen
}

func newFreezer(t *testing.T, server string) (f *freezer, addr string) {
	t.Helper()
	f = &freezer{frozen: make(chan struct{})}
	close(f.frozen)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				from.Close()
				continue
			}
			go f.pass(from, to)
			go f.pass(to, from)
		}
	}()
	return f, listener.Addr().String()
}

func (f *freezer) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		f.mu.Lock()
		frozen := f.frozen
		f.mu.Unlock()
		<-frozen
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// freeze stops everything until the function is called that it returns.
func (f *freezer) freeze() (thaw func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	frozen := make(chan struct{})
	f.frozen = frozen
	return sync.OnceFunc(func() { close(frozen) })
}

// ST-04: while Redis hangs, the process is healthy and not ready, logins and guarded requests
// are 503, and all is well again when it answers.
func TestHungRedis(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	u, err := url.Parse(redisURL(t))
	require.NoError(t, err)
	f, addr := newFreezer(t, u.Host)
	cfg.redis = "redis://" + addr + u.Path
	cfg.db, cfg.throttle = "sqlite:"+filepath.Join(t.TempDir(), "auth.db"), throttleOn
	base := start(t, cfg)
	token := login(t, base, "user@example.com", userPassword)
	get := func(path string) answer {
		a, err := send(base, call{method: "GET", path: path, token: token})
		require.NoError(t, err)
		return a
	}
	require.Equal(t, http.StatusOK, get("/readyz").status)

	thaw := f.freeze()
	t.Cleanup(thaw)
	a, err := send(base, loginCall("user@example.com", userPassword))
	require.NoError(t, err)
	a.isProblem(t, http.StatusServiceUnavailable, "Temporarily unavailable")
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Equal(t, http.StatusServiceUnavailable, get("/users/me").status)
	require.Equal(t, http.StatusOK, get("/healthz").status)
	require.Eventually(t, func() bool { return get("/readyz").status == http.StatusServiceUnavailable }, time.Minute, 100*time.Millisecond)

	thaw()
	require.Eventually(t, func() bool {
		return get("/readyz").status == http.StatusOK && get("/users/me").status == http.StatusOK
	}, time.Minute, 100*time.Millisecond)
}

// A brokenAudit takes no entry.
type brokenAudit struct{ audit.Store }

func (brokenAudit) AppendAudit(context.Context, []audit.Entry) error { return errors.New("full") }

// The end of the service reports how many entries of the audit log were not written.
func TestUnwrittenAuditLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))) // when the accounts exist
		memory := authkit.NewMemoryStore()
		cfg := testConfig(t)
		service, err := newServerOn(t.Context(), cfg, &storage{users: memory, sessions: memory, audit: brokenAudit{audit.NewMemoryStore(0)}})
		require.NoError(t, err)
		stop := runInBackground(service.run)
		synctest.Wait()
		for range 3 {
			_, err = service.kit.Login(t.Context(), "user@example.com", userPassword)
			require.NoError(t, err)
		}
		// The start, four accounts, three logins, and the end.
		require.ErrorContains(t, stop(), "audit: 9 entries were left unwritten: audit: store: full")
	})
}

// TestSocketProxy asserts that the clients of a proxy that connects over a Unix socket each have
// their own limits.
func TestSocketProxy(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.throttle, cfg.proxySocket = throttleOn, true
	cfg.addr = "unix:" + filepath.Join(t.TempDir(), "s")
	service, err := newServer(t.Context(), cfg)
	require.NoError(t, err)
	kind, path := network(cfg.addr)
	listener, err := net.Listen(kind, path)
	require.NoError(t, err)
	server := newHTTPServer(service.handler(), cfg.log)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial(kind, path)
	}}}
	t.Cleanup(client.CloseIdleConnections)
	hash := func(from string) int {
		r, err := http.NewRequest("POST", "http://demo/generate-hash/?password=x", nil)
		require.NoError(t, err)
		r.Header.Set("X-Forwarded-For", from)
		resp, err := client.Do(r)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	status := http.StatusOK
	for i := 0; i < 1000 && status == http.StatusOK; i++ {
		status = hash("203.0.113.3")
	}
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, http.StatusOK, hash("203.0.113.4"))
}
