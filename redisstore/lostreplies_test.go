package redisstore_test

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A call that the client sends twice has one effect, and its caller gets one answer.
func TestTicketSentTwice(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s := open(t, client)
	client.AddHook(twice{})
	a, b, c := newTicket("login", "user-1", 1), newTicket("login", "user-1", 2), newTicket("login", "", 3)
	put(t, s, a, b, c)
	require.Error(t, s.PutTicket(t.Context(), b))
	require.False(t, ticketExists(t, s, a))
	for _, x := range []authkit.Ticket{b, c} {
		for n := 1; n <= x.MaxAttempts; n++ {
			got, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, x.CreatedAt)
			require.NoError(t, err)
			require.Equal(t, n, got.Attempts)
		}
		require.False(t, ticketExists(t, s, x))
		require.NoError(t, s.ConsumeTicket(t.Context(), x.Kind, x.ID, x.CreatedAt))
		require.ErrorIs(t, s.ConsumeTicket(t.Context(), x.Kind, x.ID, x.CreatedAt), authkit.ErrTicketNotFound)
		put(t, s, x) // in place of the mark
		require.True(t, ticketExists(t, s, x))
	}
	require.NoError(t, s.DeleteTickets(t.Context(), "user-1"))
}

// A lossy connection drops the next reply of the server, once drop is set.
type lossy struct {
	net.Conn
	drop *atomic.Bool
}

func (c lossy) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.drop.CompareAndSwap(true, false) {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// If a reply is lost, the client sends the call again and the method succeeds. If the client does
// not retry, the method returns the error of a store that failed. The change is made once.
func TestTicketReplyIsLost(t *testing.T) {
	t.Parallel()
	addr := dial(t).Options().Addr
	for name, retries := range map[string]int{"retried": 1, "failed": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var drop atomic.Bool
			client := redis.NewClient(&redis.Options{
				Addr: addr, ContextTimeoutEnabled: true, MaxRetries: retries, PoolSize: 1,
				Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, addr)
					return lossy{conn, &drop}, err
				},
			})
			t.Cleanup(func() { _ = client.Close() })
			s := open(t, client)
			x := newTicket("login", "", 1)
			next := func() { // drops the next reply on a connection that is open
				require.NoError(t, client.Ping(t.Context()).Err())
				drop.Store(true)
			}
			lost := func(err error) {
				t.Helper()
				require.False(t, drop.Load())
				if retries < 0 {
					require.Error(t, err)
					require.NotErrorIs(t, err, authkit.ErrTicketNotFound)
				} else {
					require.NoError(t, err)
				}
			}
			put(t, s, x) // which loads the script
			require.True(t, ticketExists(t, s, x))
			require.NoError(t, s.ConsumeTicket(t.Context(), x.Kind, x.ID, x.CreatedAt))

			next()
			lost(s.PutTicket(t.Context(), x))
			next()
			_, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, x.CreatedAt)
			lost(err)
			got, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, x.CreatedAt)
			require.NoError(t, err)
			require.Equal(t, 2, got.Attempts)
			next()
			lost(s.ConsumeTicket(t.Context(), x.Kind, x.ID, x.CreatedAt))
			require.ErrorIs(t, s.ConsumeTicket(t.Context(), x.Kind, x.ID, x.CreatedAt), authkit.ErrTicketNotFound)
		})
	}
}
