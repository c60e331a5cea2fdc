package integration_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

// A line is what is between a program and its database: a proxy that can be cut, and that can
// hold back what passes.
type line struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool
	held  chan struct{} // closed: nothing is held back
	conns map[net.Conn]bool
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &line{listener: listener, target: target, held: make(chan struct{}), conns: make(map[net.Conn]bool)}
	close(l.held)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			done.Go(func() { l.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.release()
		l.down()
		done.Wait()
	})
	return l
}

func (l *line) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer server.Close()
	l.mu.Lock()
	if l.cut {
		l.mu.Unlock()
		return
	}
	l.conns[client], l.conns[server] = true, true
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.pass(server, client) })
	both.Go(func() { l.pass(client, server) })
	both.Wait()
	l.mu.Lock()
	delete(l.conns, client)
	delete(l.conns, server)
	l.mu.Unlock()
}

func (l *line) pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		held := l.held
		l.mu.Unlock()
		<-held
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// down cuts the line.
func (l *line) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for conn := range l.conns {
		_ = conn.Close()
	}
}

func (l *line) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

// hold lets nothing pass, until release.
func (l *line) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = make(chan struct{})
}

func (l *line) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.held:
	default:
		close(l.held)
	}
}

// behind returns a database as it is reached through a line.
func behind(t *testing.T, d database) (*sqlstore.DB, *line) {
	t.Helper()
	dsn := d.create(t)
	var l *line
	if d.dialect == sqlstore.Postgres {
		u, err := url.Parse(dsn)
		require.NoError(t, err)
		l = newLine(t, u.Host)
		u.Host = l.listener.Addr().String()
		dsn = u.String()
	} else {
		from, to := strings.Index(dsn, "tcp(")+4, strings.Index(dsn, ")")
		l = newLine(t, dsn[from:to])
		dsn = dsn[:from] + l.listener.Addr().String() + dsn[to:]
	}
	return storeOn(t, pool(t, d.driver, dsn), d, nil), l
}

// onServers runs a test on the databases that are servers.
func onServers(t *testing.T, test func(t *testing.T, d database)) {
	t.Helper()
	onEach(t, func(t *testing.T, d database) {
		if d.dialect == sqlstore.SQLite {
			return // is no server
		}
		test(t, d)
	})
}

// failing is a Kit on a store that fails, and what clients see of it.
type failing struct {
	kit    *authkit.Kit
	token  authkit.Token
	events chan authkit.Event
}

func newFailing(t *testing.T, s *sqlstore.DB) failing {
	t.Helper()
	f := failing{events: make(chan authkit.Event, 1000)}
	kit, err := authkit.New(authkit.Config{
		Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: s, StoreTimeout: time.Second,
		Sessions:  authkit.SessionConfig{Store: s},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		OnEvent:   []func(context.Context, authkit.Event){func(_ context.Context, e authkit.Event) { f.events <- e }},
	})
	require.NoError(t, err)
	f.kit = kit
	_, err = kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
	require.NoError(t, err)
	f.token, err = kit.Login(t.Context(), "ann@example.com", password)
	require.NoError(t, err)
	return f
}

// ask sends a request to a handler, and returns the answer.
func (f failing) ask(ctx context.Context, what string) *httptest.ResponseRecorder {
	mux := f.kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), f.kit.TokenHandler())
	mux.Handle("POST /logout", authkit.Authenticated(), f.kit.LogoutHandler())
	mux.HandleFunc("GET /me", authkit.Authenticated(), func(http.ResponseWriter, *http.Request) {})
	form := func(pairs ...string) *http.Request {
		values := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			values.Set(pairs[i], pairs[i+1])
		}
		r := httptest.NewRequestWithContext(ctx, "POST", "/token", strings.NewReader(values.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
	var r *http.Request
	switch what {
	case "login":
		r = form("username", "ann@example.com", "password", password)
	case "refresh":
		r = form("grant_type", "refresh_token", "refresh_token", f.token.RefreshToken)
	case "logout":
		r = httptest.NewRequestWithContext(ctx, "POST", "/logout", nil)
		r.Header.Set("Authorization", "Bearer "+f.token.AccessToken)
	case "guarded":
		r = httptest.NewRequestWithContext(ctx, "GET", "/me", nil)
		r.Header.Set("Authorization", "Bearer "+f.token.AccessToken)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func unavailable(t *testing.T, what string, w *httptest.ResponseRecorder) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, w.Code, "%s: %s", what, w.Body)
	require.NotEmpty(t, w.Header().Get("Retry-After"), what)
	body, _ := io.ReadAll(w.Body)
	require.NotRegexp(t, `(?i)dial|refused|sql|postgres|maria|mysql|127\.0|EOF|broken|pipe|deadline`, string(body))
}

// RE-05, MW-07: a database that is down is a 503 for everything, and all is well once it is back.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, d database) {
		store, l := behind(t, d)
		f := newFailing(t, store)
		for range 2 {
			l.down()
			for _, what := range []string{"guarded", "login", "refresh", "logout"} {
				unavailable(t, what, f.ask(t.Context(), what))
			}
			l.up()
			require.Eventually(t, func() bool { return f.ask(t.Context(), "guarded").Code == http.StatusOK }, 5*time.Second, 10*time.Millisecond)
			require.Equal(t, http.StatusOK, f.ask(t.Context(), "login").Code)
		}
		require.Equal(t, http.StatusOK, f.ask(t.Context(), "refresh").Code, "no session was lost")
	})
}

// A database that does not answer is cut off by StoreTimeout, or by the request if that ends first.
func TestDatabaseHangs(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, d database) {
		store, l := behind(t, d)
		f := newFailing(t, store)
		l.hold()
		for _, what := range []string{"guarded", "login", "refresh", "logout"} {
			unavailable(t, what, f.ask(t.Context(), what))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		unavailable(t, "guarded", f.ask(ctx, "guarded"))
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		leave := time.AfterFunc(50*time.Millisecond, cancel)
		_, err := store.UserByID(ctx, "x")
		require.ErrorIs(t, err, context.Canceled)
		leave.Stop()
		l.release()
		require.Eventually(t, func() bool { return f.ask(t.Context(), "guarded").Code == http.StatusOK }, 10*time.Second, 10*time.Millisecond)
		require.Equal(t, http.StatusOK, f.ask(t.Context(), "login").Code)
	})
}

// A pool that others hold is waited for, as long as StoreTimeout, and is no deadlock.
func TestPoolExhausted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db, _ := d.open(t)
		store := storeOn(t, db, d, nil)
		f := newFailing(t, store)
		db.SetMaxOpenConns(2)
		var held []io.Closer
		for range 2 {
			conn, err := db.Conn(t.Context())
			require.NoError(t, err)
			held = append(held, conn)
		}
		for _, what := range []string{"guarded", "refresh"} {
			unavailable(t, what, f.ask(t.Context(), what))
		}
		done := make(chan int)
		go func() { done <- f.ask(context.Background(), "guarded").Code }()
		require.NoError(t, errors.Join(held[0].Close(), held[1].Close()))
		require.Equal(t, http.StatusOK, <-done)
		require.Equal(t, http.StatusOK, f.ask(t.Context(), "login").Code)
	})
}
