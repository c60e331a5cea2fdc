//go:build unix

package redisstore_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// If Redis is gone, the store fails. If it returns without its data, it has no tickets and accepts
// new ones.
func TestTicketsServerLosesItsMemory(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	s := sessionsOn(t, srv.client(t))
	x := newTicket("login", "user-1", 1)
	put(t, s, x)
	srv.kill(t)
	ticketsFail(t, s, x)
	srv.start(t)
	// A client that could not connect retries once a second.
	require.Eventually(t, func() bool { return s.PutTicket(t.Context(), newTicket("mail", "user-2", 2)) == nil }, 30*time.Second, 10*time.Millisecond)
	require.False(t, ticketExists(t, s, x))
	put(t, s, x)
	require.True(t, ticketExists(t, s, x))
}

// With appendfsync always, a ticket that was consumed stays so after a kill, and attempts stay
// counted.
func TestTicketsServerIsKilled(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendonly", "yes", "--appendfsync", "always")
	s := sessionsOn(t, srv.client(t))
	a, b := newTicket("login", "user-1", 1), newTicket("login", "user-2", 2)
	put(t, s, a, b)
	require.True(t, ticketExists(t, s, a))
	require.NoError(t, s.ConsumeTicket(t.Context(), b.Kind, b.ID, b.CreatedAt))
	srv.kill(t)
	srv.start(t)
	var got authkit.Ticket
	require.Eventually(t, func() bool {
		var err error
		got, err = s.AttemptTicket(t.Context(), a.Kind, a.ID, a.CreatedAt)
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, 2, got.Attempts)
	require.ErrorIs(t, s.ConsumeTicket(t.Context(), b.Kind, b.ID, b.CreatedAt), authkit.ErrTicketNotFound)
}

// A full Redis refuses new tickets and attempts, so that no guess is free. Tickets can be consumed
// and deleted.
func TestTicketsServerIsFull(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	client := srv.client(t)
	s := sessionsOn(t, client)
	a, b, c := newTicket("login", "user-1", 1), newTicket("login", "user-2", 2), newTicket("login", "user-3", 3)
	put(t, s, a, b, c)
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	failsFull := func(err error) {
		t.Helper()
		require.ErrorContains(t, err, "OOM")
		require.NotErrorIs(t, err, authkit.ErrTicketNotFound)
	}
	failsFull(s.PutTicket(t.Context(), newTicket("login", "user-1", 4)))
	failsFull(s.PutTicket(t.Context(), newTicket("login", "user-4", 5)))
	_, err := s.AttemptTicket(t.Context(), a.Kind, a.ID, a.CreatedAt)
	failsFull(err)
	require.NoError(t, s.ConsumeTicket(t.Context(), b.Kind, b.ID, b.CreatedAt))
	require.ErrorIs(t, s.ConsumeTicket(t.Context(), b.Kind, b.ID, b.CreatedAt), authkit.ErrTicketNotFound)
	require.NoError(t, s.DeleteTickets(t.Context(), "user-3"))
	require.Equal(t, int64(1), client.ZCard(t.Context(), "{authkit}:tickets").Val())

	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	got, err := s.AttemptTicket(t.Context(), a.Kind, a.ID, a.CreatedAt)
	require.NoError(t, err)
	require.Equal(t, 1, got.Attempts)
	n, err := s.DeleteExpiredTickets(t.Context(), a.ExpiresAt, 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// A Redis that cannot save refuses changes.
func TestTicketsServerCannotSave(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--save", "3600 1")
	client := srv.client(t)
	s := sessionsOn(t, client)
	x, next := newTicket("login", "user-1", 1), newTicket("mail", "user-1", 2)
	put(t, s, x)
	require.NoError(t, os.RemoveAll(srv.dir))
	require.NoError(t, client.BgSave(t.Context()).Err())
	require.Eventually(t, func() bool {
		err := s.Check(t.Context())
		return err != nil && strings.Contains(err.Error(), "rdb_last_bgsave_status")
	}, 30*time.Second, 10*time.Millisecond)
	for method, err := range ticketCalls(t.Context(), s, next) {
		switch method {
		case "AttemptTicket", "ConsumeTicket": // of a ticket that is not there
			require.ErrorIs(t, err, authkit.ErrTicketNotFound, method)
		default:
			require.ErrorContains(t, err, "MISCONF", method)
		}
	}
	_, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, x.CreatedAt)
	require.ErrorContains(t, err, "MISCONF")
	require.ErrorContains(t, s.ConsumeTicket(t.Context(), x.Kind, x.ID, x.CreatedAt), "MISCONF")
}

// A replica lags behind, so every method fails, also for a ticket that does not exist.
func TestTicketsServerIsAReplica(t *testing.T) {
	t.Parallel()
	master, replica := newServer(t), newServer(t)
	x, none := newTicket("login", "user-1", 1), newTicket("login", "user-1", 2)
	put(t, sessionsOn(t, master.client(t)), x)
	client := replica.client(t)
	host, port, _ := strings.Cut(master.addr, ":")
	require.NoError(t, client.ReplicaOf(t.Context(), host, port).Err())
	require.Eventually(t, func() bool { return client.DBSize(t.Context()).Val() > 0 }, 30*time.Second, 10*time.Millisecond)
	s := sessionsOn(t, client)
	for _, x := range []authkit.Ticket{x, none, newTicket("mail", "user-2", 3)} {
		_, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, x.CreatedAt)
		require.ErrorContains(t, err, "READONLY")
		_, err = s.AttemptTicket(t.Context(), x.Kind, x.ID, x.ExpiresAt)
		require.ErrorContains(t, err, "READONLY")
		require.ErrorContains(t, s.ConsumeTicket(t.Context(), x.Kind, x.ID, x.CreatedAt), "READONLY")
		require.ErrorContains(t, s.DeleteTickets(t.Context(), x.Subject), "READONLY")
		_, err = s.DeleteExpiredTickets(t.Context(), x.CreatedAt, 10)
		require.ErrorContains(t, err, "READONLY")
	}
	require.ErrorContains(t, s.PutTicket(t.Context(), none), "READONLY")
	require.Error(t, s.PutTicket(t.Context(), x))
}

// testTicketSlotOnTheMove has half the keys of a store on one node and half on another. Calls that
// need both fail, and change nothing.
func testTicketSlotOnTheMove(t *testing.T, client *redis.ClusterClient, nodes []*server) {
	ctx := t.Context()
	s, prefix := openNamed(t, client)
	moved, left := newTicket("login", "user-1", 1), newTicket("mail", "user-1", 2)
	put(t, s, moved, left)
	move, finish := moveSlot(t, client, nodes, prefix)
	move("{" + prefix + "}:k:5:login" + moved.ID)

	require.True(t, ticketExists(t, s, moved), "one key is in one place")
	require.True(t, ticketExists(t, s, left))
	fails := func(err error) {
		t.Helper()
		require.ErrorContains(t, err, "TRYAGAIN")
		require.NotErrorIs(t, err, authkit.ErrTicketNotFound)
	}
	fails(s.PutTicket(ctx, newTicket("login", "user-1", 3)))
	fails(s.ConsumeTicket(ctx, moved.Kind, moved.ID, moved.CreatedAt))
	fails(s.DeleteTickets(ctx, "user-1"))
	_, err := s.DeleteExpiredTickets(ctx, left.ExpiresAt, 10)
	fails(err)

	finish()
	require.NoError(t, s.ConsumeTicket(ctx, left.Kind, left.ID, left.CreatedAt))
	next := newTicket("login", "user-1", 4)
	put(t, s, next)
	require.False(t, ticketExists(t, s, moved))
	require.True(t, ticketExists(t, s, next))
}

// The commands in the package comment are sufficient.
func TestAccessList(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	admin := srv.client(t)
	rules := []any{"acl", "setuser", "app", "on", "nopass", "~{authkit}:*"}
	for _, command := range strings.Fields("eval evalsha exists del hdel pexpire hget hmget hset hlen hgetall " +
		"sadd srem scard sismember smembers zadd zrem zscore zrangebyscore get set info time") {
		rules = append(rules, "+"+command)
	}
	require.NoError(t, admin.Do(t.Context(), rules...).Err())
	client := redis.NewClient(&redis.Options{Addr: srv.addr, Username: "app", Password: "any", ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	s := sessionsOn(t, client)
	begin(t, s, newSession("user-1", 1), newSession("user-1", 2))
	for method, err := range calls(t.Context(), s, newSession("user-1", 3)) {
		require.NoError(t, err, method)
	}
	put(t, s, newTicket("login", "user-1", 1), newTicket("login", "user-2", 2))
	for method, err := range ticketCalls(t.Context(), s, newTicket("login", "user-1", 3)) {
		require.NoError(t, err, method)
	}
	require.NotContains(t, s.Check(t.Context()).Error(), "NOPERM")
	limits := throttleOn(t, client, "")
	a := guess("user-1", "192.0.2.1", 0)
	_, err := limits.Reserve(t.Context(), a)
	require.NoError(t, err)
	for method, err := range settleAndClear(t.Context(), limits, a) {
		require.NoError(t, err, method)
	}
}
