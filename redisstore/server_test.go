//go:build unix

package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/redisstore"
	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/throttle"
)

// program returns the path of a program. If CI is true, the machine must have it.
func program(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "true" {
			tb.Skipf("no %s: %v", name, err)
		}
		tb.Fatal(err)
	}
	return path
}

// A server is the redis-server of one test. It can be stopped and started.
type server struct {
	path, dir, addr string
	args            []string
	process         *exec.Cmd
}

// ports are the ports that freePort has returned.
var ports sync.Map

// freePort returns an unused port that no other test gets, so that a server can be started on
// it again. It is outside the range from which systems choose ports.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 1000 {
		port := 20000 + rand.N(10000)
		if _, given := ports.LoadOrStore(port, true); given {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			require.NoError(tb, l.Close())
			return port
		}
	}
	tb.Fatal("no free port")
	return 0
}

// newServer starts a server. Unless args say otherwise, it writes no data to disk.
func newServer(tb testing.TB, args ...string) *server {
	tb.Helper()
	port := freePort(tb)
	s := &server{path: program(tb, "redis-server"), dir: tb.TempDir(), addr: fmt.Sprintf("127.0.0.1:%d", port)}
	s.args = append([]string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--loglevel", "warning"}, args...)
	tb.Cleanup(func() { s.kill(tb) })
	s.start(tb)
	return s
}

// start starts the server and waits until it answers. It fails if another server answers.
func (s *server) start(tb testing.TB) {
	tb.Helper()
	s.process = exec.Command(s.path, s.args...)
	s.process.Stdout, s.process.Stderr = tb.Output(), tb.Output()
	require.NoError(tb, s.process.Start())
	client := s.client(tb)
	var info string
	require.Eventually(tb, func() (up bool) {
		var err error
		info, err = client.Info(tb.Context(), "server").Result()
		return err == nil
	}, 30*time.Second, 5*time.Millisecond)
	require.Contains(tb, info, fmt.Sprintf("process_id:%d\r\n", s.process.Process.Pid))
}

// kill ends the server as kill -9 does, if it is running.
func (s *server) kill(tb testing.TB) {
	tb.Helper()
	if s.process != nil {
		require.NoError(tb, s.process.Process.Kill())
		_ = s.process.Wait() // it was killed
		s.process = nil
	}
}

// client returns a client that fails soon if the server is gone.
func (s *server) client(tb testing.TB) *redis.Client {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.addr, ContextTimeoutEnabled: true, MaxRetries: 1, DialerRetries: 1})
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// sessionsOn returns the sessions of a client.
func sessionsOn(tb testing.TB, client redis.UniversalClient) *redisstore.Store {
	tb.Helper()
	s, err := redisstore.New(client, redisstore.Options{})
	require.NoError(tb, err)
	return s
}

// storeFails checks that every method returns the error of a store that failed.
func storeFails(t *testing.T, s authkit.SessionStore, x *authkit.StoredSession) {
	t.Helper()
	for method, err := range calls(t.Context(), s, x) {
		if err == nil || errors.Is(err, authkit.ErrSessionNotFound) {
			t.Errorf("%s: got error %v, want that of a store that failed", method, err)
		}
	}
}

// If Redis is gone, the store fails. If it returns without its data, there is no session and all
// users are logged out.
func TestServerLosesItsMemory(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	store := sessionsOn(t, srv.client(t))
	kit := newKit(t, store)
	_, err := kit.CreateUser(t.Context(), authkit.User{Email: "user@example.com"}, "correct horse")
	require.NoError(t, err)
	token, err := kit.Login(t.Context(), "user@example.com", "correct horse")
	require.NoError(t, err)
	guarded := kit.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	status := func() int {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, http.StatusOK, status())

	srv.kill(t)
	require.Equal(t, http.StatusServiceUnavailable, status())
	_, err = kit.Refresh(t.Context(), token.RefreshToken)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	storeFails(t, store, newSession("user-1", 1))

	srv.start(t)
	// A client that could not connect retries once a second.
	require.Eventually(t, func() bool { return status() != http.StatusServiceUnavailable }, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, http.StatusUnauthorized, status())
	_, err = kit.Refresh(t.Context(), token.RefreshToken)
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	token, err = kit.Login(t.Context(), "user@example.com", "correct horse")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status())
}

// With appendfsync always, acknowledged changes survive a kill. With everysec they may not, because
// Redis answers before it writes while an earlier sync is running.
func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendonly", "yes", "--appendfsync", "always")
	s := sessionsOn(t, srv.client(t))
	kept, ended := newSession("user-1", 1), newSession("user-1", 2)
	begin(t, s, kept, ended)
	r := rotation(kept, "next")
	_, rotated, err := s.RotateSession(t.Context(), kept.ID, r)
	require.NoError(t, err)
	require.True(t, rotated)
	revoked, err := s.RevokeSession(t.Context(), ended.UserID, ended.ID, start)
	require.NoError(t, err)
	require.True(t, revoked)

	srv.kill(t)
	srv.start(t)
	got, err := s.SessionByID(t.Context(), kept.ID)
	require.NoError(t, err)
	require.Equal(t, r.Apply(*kept), got)
	_, err = s.SessionByID(t.Context(), ended.ID)
	require.ErrorIs(t, err, authkit.ErrSessionNotFound)
	list, err := s.Revocations(t.Context(), start)
	require.NoError(t, err)
	require.Equal(t, []authkit.Revocation{{UserID: ended.UserID, SessionID: ended.ID, At: start}}, list)
}

// A call waits for a Redis that does not answer until its context ends.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	s := sessionsOn(t, srv.client(t))
	x := newSession("user-1", 1)
	begin(t, s, x)
	require.NoError(t, srv.process.Process.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.SessionByID(ctx, x.ID)
	require.Error(t, err)
	require.NotErrorIs(t, err, authkit.ErrSessionNotFound)
	<-ctx.Done() // the deadline of the client may be slightly earlier
	require.NoError(t, srv.process.Process.Signal(syscall.SIGCONT))
	got, err := s.SessionByID(t.Context(), x.ID)
	require.NoError(t, err)
	require.Equal(t, *x, got)
}

// A full Redis refuses new sessions and rotations, and makes no partial change. Existing sessions
// can be read and ended.
func TestServerIsFull(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	client := srv.client(t)
	s := sessionsOn(t, client)
	a, b, c, d := newSession("user-1", 1), newSession("user-1", 2), newSession("user-2", 3), newSession("user-3", 4)
	begin(t, s, a, b, c)
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())

	failsFull := func(err error) {
		t.Helper()
		require.ErrorContains(t, err, "OOM")
		require.NotErrorIs(t, err, authkit.ErrSessionNotFound)
	}
	failsFull(s.CreateSession(t.Context(), *d, 1))
	over := newSession("user-1", 5)
	failsFull(s.CreateSession(t.Context(), *over, 1))
	_, _, err := s.RotateSession(t.Context(), a.ID, rotation(a, "next"))
	failsFull(err)
	failsFull(s.RevokeSessions(t.Context(), "nobody", "", start))
	for _, x := range []*authkit.StoredSession{a, b, c} {
		got, err := s.SessionByID(t.Context(), x.ID)
		require.NoError(t, err)
		require.Equal(t, *x, got)
	}
	revoked, err := s.Revocations(t.Context(), time.Time{})
	require.NoError(t, err)
	require.Empty(t, revoked)

	ended, err := s.RevokeSession(t.Context(), "user-1", a.ID, start)
	require.NoError(t, err)
	require.True(t, ended)
	require.NoError(t, s.RevokeSessions(t.Context(), "user-1", "", start))
	revoked, err = s.Revocations(t.Context(), time.Time{})
	require.NoError(t, err)
	require.Len(t, revoked, 3)
	n, err := s.DeleteExpired(t.Context(), start.Add(1000*time.Hour), time.Time{}, 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)

	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	begin(t, s, d)
}

// A replica lags behind, so it is not used.
func TestServerIsAReplica(t *testing.T) {
	t.Parallel()
	master, replica := newServer(t), newServer(t)
	x := newSession("user-1", 1)
	begin(t, sessionsOn(t, master.client(t)), x)
	client := replica.client(t)
	host, port, _ := strings.Cut(master.addr, ":")
	require.NoError(t, client.ReplicaOf(t.Context(), host, port).Err())
	require.Eventually(t, func() bool { return client.DBSize(t.Context()).Val() > 0 }, 30*time.Second, 10*time.Millisecond)

	s := sessionsOn(t, client)
	storeFails(t, s, x)
	storeFails(t, s, newSession("user-2", 2))
	wrong := rotation(x, "next")
	wrong.Old[0]++
	_, _, err := s.RotateSession(t.Context(), x.ID, wrong)
	require.ErrorContains(t, err, "READONLY")
	require.ErrorContains(t, s.Check(t.Context()), `the server's role is "slave"`)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendonly", "yes", "--maxmemory-policy", "noeviction")
	client := srv.client(t)
	s := sessionsOn(t, client)
	require.NoError(t, s.Check(t.Context()))
	for name, value := range map[string]string{"appendonly": "no", "maxmemory-policy": "volatile-lru"} {
		require.NoError(t, client.ConfigSet(t.Context(), name, value).Err())
	}
	err := s.Check(t.Context())
	require.ErrorContains(t, err, `aof_enabled is "0"`)
	require.ErrorContains(t, err, `maxmemory_policy is "volatile-lru"`)
	codes := func() (codes []string) {
		for _, f := range s.Doctor(t.Context()) {
			codes = append(codes, f.Code)
		}
		return codes
	}
	require.Equal(t, []string{"redis_maxmemory_policy", "redis_aof_enabled"}, codes())
	srv.kill(t)
	require.Error(t, s.Check(t.Context()))
	require.Equal(t, []string{"unavailable"}, codes())
}

// newCluster starts a cluster of three masters, and returns a client and its nodes.
func newCluster(tb testing.TB) (*redis.ClusterClient, []*server) {
	tb.Helper()
	cli := program(tb, "redis-cli")
	var nodes []*server
	var addrs []string
	for range 3 {
		bus := freePort(tb)
		n := newServer(tb, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(bus), "--cluster-node-timeout", "30000")
		nodes, addrs = append(nodes, n), append(addrs, n.addr)
	}
	out, err := exec.CommandContext(tb.Context(), cli, append([]string{"--cluster", "create", "--cluster-yes"}, addrs...)...).CombinedOutput()
	require.NoError(tb, err, "%s", out)
	for _, n := range nodes {
		require.Eventually(tb, func() bool {
			info, err := n.client(tb).ClusterInfo(tb.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok")
		}, 30*time.Second, 20*time.Millisecond)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true})
	tb.Cleanup(func() { _ = client.Close() })
	return client, nodes
}

func TestCluster(t *testing.T) {
	t.Parallel()
	client, nodes := newCluster(t)
	t.Run("Sessions", func(t *testing.T) {
		storetest.TestSessionStore(t, func(t *testing.T) authkit.SessionStore { return open(t, client) })
	})
	t.Run("Tickets", func(t *testing.T) {
		storetest.TestTicketStore(t, func(t *testing.T) authkit.TicketStore { return open(t, client) })
	})
	t.Run("Check", func(t *testing.T) {
		require.ErrorContains(t, open(t, client).Check(t.Context()), "aof_enabled")
	})
	t.Run("SlotOnTheMove", func(t *testing.T) { testSlotOnTheMove(t, client, nodes) })
	t.Run("TicketSlotOnTheMove", func(t *testing.T) { testTicketSlotOnTheMove(t, client, nodes) })
	t.Run("Throttle", func(t *testing.T) {
		storetest.TestThrottleStore(t, func(t *testing.T) throttle.Store {
			s, _ := openThrottle(t, client)
			return s
		})
	})
	t.Run("ThrottleSlotOnTheMove", func(t *testing.T) { testThrottleSlotOnTheMove(t, client, nodes) })
}

// moveSlot begins to move the slot of a store to another node. It returns a function that moves one
// key, and a function that moves the rest and finishes.
func moveSlot(t *testing.T, client *redis.ClusterClient, nodes []*server, prefix string) (move func(key string), finish func()) {
	ctx := t.Context()
	slot := int(client.ClusterKeySlot(ctx, "{"+prefix+"}").Val())
	from, err := client.MasterForKey(ctx, "{"+prefix+"}")
	require.NoError(t, err)
	var to *redis.Client
	for _, n := range nodes {
		if n.addr != from.Options().Addr {
			to = n.client(t)
		}
	}
	fromID, toID := from.Do(ctx, "cluster", "myid").Val(), to.Do(ctx, "cluster", "myid").Val()
	require.NoError(t, to.Do(ctx, "cluster", "setslot", slot, "importing", fromID).Err())
	require.NoError(t, from.Do(ctx, "cluster", "setslot", slot, "migrating", toID).Err())
	host, port, _ := strings.Cut(to.Options().Addr, ":")
	move = func(key string) { require.NoError(t, from.Migrate(ctx, host, port, key, 0, 10*time.Second).Err()) }
	return move, func() {
		for _, key := range keys(t, client, prefix) {
			move(key)
		}
		for _, n := range []*redis.Client{to, from} {
			require.NoError(t, n.Do(ctx, "cluster", "setslot", slot, "node", toID).Err())
		}
	}
}

// testSlotOnTheMove has half the keys of a store on one node and half on another. Calls that need
// both fail, and change nothing.
func testSlotOnTheMove(t *testing.T, client *redis.ClusterClient, nodes []*server) {
	ctx := t.Context()
	s, prefix := openNamed(t, client)
	moved, left := newSession("user-1", 1), newSession("user-1", 2)
	begin(t, s, moved, left)

	move, finish := moveSlot(t, client, nodes, prefix)
	move("{" + prefix + "}:s:" + moved.ID)

	for _, x := range []*authkit.StoredSession{moved, left} {
		got, err := s.SessionByID(ctx, x.ID)
		require.NoError(t, err)
		require.Equal(t, *x, got)
	}
	fails := func(err error) {
		t.Helper()
		require.ErrorContains(t, err, "TRYAGAIN")
		require.NotErrorIs(t, err, authkit.ErrSessionNotFound)
	}
	fails(s.RevokeSessions(ctx, "user-1", "", start))
	_, err := s.SessionsByUser(ctx, "user-1")
	fails(err)
	_, err = s.RevokeSession(ctx, "user-1", moved.ID, start)
	fails(err)
	_, _, err = s.RotateSession(ctx, moved.ID, rotation(moved, "next"))
	fails(err)
	third := newSession("user-1", 3)
	fails(s.CreateSession(ctx, *third, 1))
	_, err = s.DeleteExpired(ctx, start.Add(1000*time.Hour), start, 10)
	fails(err)

	finish()
	for _, x := range []*authkit.StoredSession{moved, left} {
		got, err := s.SessionByID(ctx, x.ID)
		require.NoError(t, err)
		require.Equal(t, *x, got)
	}
	_, err = s.SessionByID(ctx, third.ID)
	require.ErrorIs(t, err, authkit.ErrSessionNotFound)
	require.NoError(t, s.RevokeSessions(ctx, "user-1", "", start))
	list, err := s.SessionsByUser(ctx, "user-1")
	require.NoError(t, err)
	require.Empty(t, list)
	revoked, err := s.Revocations(ctx, start)
	require.NoError(t, err)
	require.Len(t, revoked, 3)
}

// A Redis that cannot save refuses changes. Sessions can be read.
func TestServerCannotSave(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--save", "3600 1")
	client := srv.client(t)
	s := sessionsOn(t, client)
	x, next := newSession("user-1", 1), newSession("user-1", 2)
	begin(t, s, x)
	require.NoError(t, os.RemoveAll(srv.dir))
	require.NoError(t, client.BgSave(t.Context()).Err())
	require.Eventually(t, func() bool {
		return s.Check(t.Context()) != nil && strings.Contains(s.Check(t.Context()).Error(), "rdb_last_bgsave_status")
	},
		30*time.Second, 10*time.Millisecond)

	for method, err := range calls(t.Context(), s, next) {
		switch method {
		case "SessionByID", "RotateSession": // of a session that is not there
			require.ErrorIs(t, err, authkit.ErrSessionNotFound, method)
		case "CreateSession", "RevokeSessions, all", "RevokeSessions, others":
			require.ErrorContains(t, err, "MISCONF", method)
		default:
			require.NoError(t, err, method)
		}
	}
	_, _, err := s.RotateSession(t.Context(), x.ID, rotation(x, "next"))
	require.ErrorContains(t, err, "MISCONF")
	_, err = s.RevokeSession(t.Context(), x.UserID, x.ID, start)
	require.ErrorContains(t, err, "MISCONF")
	got, err := s.SessionByID(t.Context(), x.ID)
	require.NoError(t, err)
	require.Equal(t, *x, got)
}
