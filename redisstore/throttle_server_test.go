//go:build unix

package redisstore_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/doctor"
	"github.com/authkit-go/authkit/redisstore"
	"github.com/authkit-go/authkit/throttle"
)

// settleAndClear calls the methods other than Reservation, and returns the errors.
func settleAndClear(ctx context.Context, s throttle.Store, a throttle.Reservation) map[string]error {
	return map[string]error{
		"Finish, a success": s.Finish(ctx, a, authkit.AttemptSucceeded), "Finish, undecided": s.Finish(ctx, a, authkit.AttemptUndecided), "Clear": s.Clear(ctx, a),
	}
}

// If Redis is gone or hangs, the store fails. Instances then count in memory, or refuse all attempts
// with FailClosed. When Redis is back, its counts still hold.
func TestThrottleServerIsDown(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]struct{ down, up func(*testing.T, *server) }{
		"gone": {func(t *testing.T, s *server) { s.kill(t) }, func(t *testing.T, s *server) { s.start(t) }},
		"hangs": {
			func(t *testing.T, s *server) { require.NoError(t, s.process.Process.Signal(syscall.SIGSTOP)) },
			func(t *testing.T, s *server) { require.NoError(t, s.process.Process.Signal(syscall.SIGCONT)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, "--appendonly", "yes", "--appendfsync", "always")
			store := throttleOn(t, srv.client(t), "")
			open, closed := newInstance(t, store, false), newInstance(t, store, true)
			const email = "user@example.com"
			next := 0
			login := func(in *instance) error {
				next++
				return in.login(t.Context(), email, fmt.Sprintf("192.0.2.%d", next))
			}
			for range 5 {
				require.ErrorIs(t, login(open), authkit.ErrInvalidCredentials)
			}
			var refused *authkit.ThrottledError
			require.ErrorAs(t, login(closed), &refused)

			how.down(t, srv)
			require.ErrorIs(t, login(closed), authkit.ErrUnavailable)
			for range 5 { // this instance has no counts in memory
				begun := time.Now()
				require.ErrorIs(t, login(open), authkit.ErrInvalidCredentials)
				require.Less(t, time.Since(begun), 10*time.Second)
			}
			require.ErrorAs(t, login(open), &refused)
			told := 0
			for range len(open.events) {
				if e := <-open.events; e.Kind == authkit.EventStoreFailure {
					require.ErrorContains(t, e.Err, "redisstore: Reservation: ")
					told++
				}
			}
			require.Positive(t, told)

			how.up(t, srv)
			require.Eventually(t, func() bool {
				v, err := store.Reserve(t.Context(), throttle.Reservation{At: start})
				return err == nil && v == throttle.Decision{}
			}, 30*time.Second, 10*time.Millisecond)
			require.ErrorAs(t, login(closed), &refused, "still, from before")
			require.Positive(t, refused.RetryAfter)
		})
	}
}

// A replica lags behind, so it decides nothing.
func TestThrottleServerIsAReplica(t *testing.T) {
	t.Parallel()
	master, replica := newServer(t), newServer(t)
	on := throttleOn(t, master.client(t), "")
	after := failures(t, on, "locked", 5) - time.Second
	client := replica.client(t)
	host, port, _ := strings.Cut(master.addr, ":")
	require.NoError(t, client.ReplicaOf(t.Context(), host, port).Err())
	require.Eventually(t, func() bool { return client.DBSize(t.Context()).Val() == 6 }, 30*time.Second, 10*time.Millisecond)

	s := throttleOn(t, client, "")
	for _, account := range []string{"locked", "free"} {
		a := guess(account, "near", after)
		_, err := s.Reserve(t.Context(), a)
		require.ErrorContains(t, err, "READONLY", account)
		for method, err := range settleAndClear(t.Context(), s, a) {
			require.ErrorContains(t, err, "READONLY", method)
		}
	}
	require.ErrorContains(t, s.Check(t.Context()), `the server's role is "slave"`)
	v, err := on.Reserve(t.Context(), guess("locked", "near", after))
	require.NoError(t, err)
	require.Equal(t, throttle.Decision{Counter: time.Second}, v)
}

// LO-10: a flood of names fills Redis, but no record is dropped. Refused accounts stay refused. Others
// get the error of a store that failed, and no change is partial. A new password still clears a counter.
func TestThrottleServerIsFull(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--maxmemory-policy", "noeviction")
	client := srv.client(t)
	s := throttleOn(t, client, "")
	failures(t, s, "locked", 5)
	failures(t, s, "ended", 100)
	used, err := client.InfoMap(t.Context(), "memory").Result()
	require.NoError(t, err)
	var bytes int
	_, err = fmt.Sscan(used["Memory"]["used_memory"], &bytes)
	require.NoError(t, err)
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(bytes+1<<20)).Err())

	var full error
	flood := 0
	for ; full == nil && flood < 100_000; flood++ {
		_, full = s.Reserve(t.Context(), guess(fmt.Sprint(flood), fmt.Sprint(flood), 0))
	}
	require.ErrorContains(t, full, "OOM")
	require.Greater(t, flood, 100)
	before := lives(t, client, "authkit")
	a := guess("another", "near", 0)
	_, err = s.Reserve(t.Context(), a)
	require.ErrorContains(t, err, "OOM")
	require.ErrorContains(t, s.Finish(t.Context(), a, authkit.AttemptSucceeded), "OOM")
	require.ErrorContains(t, s.Finish(t.Context(), a, authkit.AttemptUndecided), "OOM")
	require.Len(t, lives(t, client, "authkit"), len(before))
	last := failures(t, throttle.NewMemory(0), "locked", 5) - curve.Wait(5)
	v, err := s.Reserve(t.Context(), guess("locked", "near", last))
	require.NoError(t, err)
	require.Equal(t, throttle.Decision{Counter: 30 * time.Second}, v)
	ended := guess("ended", "near", 1000*time.Hour)
	v, err = s.Reserve(t.Context(), ended)
	require.NoError(t, err)
	require.Equal(t, throttle.Decision{Counter: time.Hour}, v)

	in := newInstance(t, s, true)
	require.ErrorIs(t, in.login(t.Context(), "user@example.com", "192.0.2.1"), authkit.ErrUnavailable)
	in = newInstance(t, s, false)
	require.ErrorIs(t, in.login(t.Context(), "user@example.com", "192.0.2.1"), authkit.ErrInvalidCredentials)

	require.NoError(t, s.Clear(t.Context(), ended))
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	letIn(t, s, ended)
	letIn(t, s, a)
}

// skewed changes the time that a server reports.
type skewed struct{ by time.Duration }

func (skewed) DialHook(next redis.DialHook) redis.DialHook { return next }

func (skewed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h skewed) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if c, ok := cmd.(*redis.Cmd); ok && err == nil {
			if texts, ok := c.Val().([]any); ok && len(texts) == 5 {
				var seconds int64
				if _, err := fmt.Sscan(texts[3].(string), &seconds); err != nil {
					return err
				}
				texts[3] = fmt.Sprint(seconds + int64(h.by/time.Second))
			}
		}
		return err
	}
}

// A throttle may lose more data than sessions, so its check is less strict. The clock is checked for both.
func TestThrottleCheck(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--maxmemory-policy", "noeviction")
	client := srv.client(t)
	s := throttleOn(t, client, "")
	require.NoError(t, s.Check(t.Context()))
	require.Empty(t, s.Doctor(t.Context()))
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	require.ErrorContains(t, s.Check(t.Context()), `maxmemory_policy is "allkeys-lru"`)

	type codes map[string]slog.Level
	ask := func(found []authkit.Finding) codes {
		got := codes{}
		for _, f := range found {
			require.NotEmpty(t, f.Text)
			require.NotEmpty(t, f.Fix)
			got[f.Code] = f.Severity
		}
		return got
	}
	require.Equal(t, codes{"redis_maxmemory_policy": slog.LevelWarn}, ask(s.Doctor(t.Context())))
	limits, err := throttle.New(throttle.Config{Store: s, Secret: testSecret})
	require.NoError(t, err)
	kit, err := authkit.New(authkit.Config{
		Secret: testSecret, Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, Throttle: limits,
	})
	require.NoError(t, err)
	require.Contains(t, ask(doctor.Check(t.Context(), kit)), "redis_maxmemory_policy", "through the throttle")

	for by, found := range map[time.Duration]bool{4 * time.Second: false, -4 * time.Second: false, time.Minute: true, -time.Minute: true} {
		off := srv.client(t)
		off.AddHook(skewed{by})
		sessions, err := redisstore.New(off, redisstore.Options{})
		require.NoError(t, err)
		for _, d := range []interface {
			Doctor(context.Context) []authkit.Finding
			Check(context.Context) error
		}{throttleOn(t, off, ""), sessions} {
			got := ask(d.Doctor(t.Context()))
			if !found {
				require.NotContains(t, got, "clock_skew", by)
				continue
			}
			require.Equal(t, slog.LevelWarn, got["clock_skew"], by)
			require.Contains(t, fmt.Sprint(d.Doctor(t.Context())), fmt.Sprintf("the Redis server's clock is %q", by))
			require.ErrorContains(t, d.Check(t.Context()), "the server's clock is")
		}
	}

	srv.kill(t)
	require.Error(t, s.Check(t.Context()))
	require.Equal(t, codes{"unavailable": slog.LevelError}, ask(s.Doctor(t.Context())))
}

// testThrottleSlotOnTheMove has the keys of a throttle on two nodes. Then it fails and counts nothing.
func testThrottleSlotOnTheMove(t *testing.T, client *redis.ClusterClient, nodes []*server) {
	s, prefix := openThrottle(t, client)
	a := guess("a", "near", 0)
	letIn(t, s, a)
	move, finish := moveSlot(t, client, nodes, prefix)
	move(fmt.Sprintf("{%s}:t:b:%x", prefix, a.Buckets[0].Key[:]))
	_, err := s.Reserve(t.Context(), a)
	require.ErrorContains(t, err, "TRYAGAIN")
	for method, err := range settleAndClear(t.Context(), s, a) {
		require.ErrorContains(t, err, "TRYAGAIN", method)
	}
	finish()
	for range 4 {
		letIn(t, s, a)
	}
	v, err := s.Reserve(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, throttle.Decision{Counter: curve.InitialDelay}, v)
}
