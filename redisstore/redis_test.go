package redisstore_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/redisstore"
	"github.com/authkit-go/authkit/storetest"
)

// TestMain turns off the log of go-redis, which would report servers that tests stop.
func TestMain(m *testing.M) {
	logging.Disable()
	os.Exit(m.Run())
}

// dial returns a client of the Redis that AUTHKIT_TEST_REDIS names. If CI is true, it must be
// available.
func dial(tb testing.TB) *redis.Client {
	tb.Helper()
	addr := cmp.Or(os.Getenv("AUTHKIT_TEST_REDIS"), "127.0.0.1:6379")
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	tb.Cleanup(func() { _ = client.Close() })
	if err := client.Ping(tb.Context()).Err(); err != nil {
		if os.Getenv("CI") != "true" {
			tb.Skipf("no Redis: %v; set AUTHKIT_TEST_REDIS to the address of one", err)
		}
		tb.Fatalf("no Redis: %v", err)
	}
	return client
}

// open returns an empty store. Its keys are deleted after the test.
func open(tb testing.TB, client redis.UniversalClient) *redisstore.Store {
	tb.Helper()
	s, _ := openNamed(tb, client)
	return s
}

// openNamed is like open and also returns the prefix of the store, which is unique.
func openNamed(tb testing.TB, client redis.UniversalClient) (*redisstore.Store, string) {
	tb.Helper()
	prefix := "test-" + rand.Text()
	tb.Cleanup(func() { remove(tb, client, prefix) })
	s, err := redisstore.New(client, redisstore.Options{Prefix: prefix})
	require.NoError(tb, err)
	return s, prefix
}

// remove deletes the keys with a prefix.
func remove(tb testing.TB, client redis.UniversalClient, prefix string) {
	tb.Helper()
	for _, key := range keys(tb, client, prefix) {
		require.NoError(tb, client.Del(context.WithoutCancel(tb.Context()), key).Err())
	}
}

// keys returns the keys of a store.
func keys(tb testing.TB, client redis.UniversalClient, prefix string) (found []string) {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context())
	scan := func(ctx context.Context, c *redis.Client) error {
		iter := c.Scan(ctx, 0, "{"+prefix+"}:*", 1000).Iterator()
		for iter.Next(ctx) {
			found = append(found, iter.Val())
		}
		return iter.Err()
	}
	if cluster, ok := client.(*redis.ClusterClient); ok {
		slot, err := cluster.MasterForKey(ctx, "{"+prefix+"}")
		require.NoError(tb, err)
		require.NoError(tb, scan(ctx, slot))
		return found
	}
	require.NoError(tb, scan(ctx, client.(*redis.Client)))
	return found
}

func TestSessions(t *testing.T) {
	t.Parallel()
	client := dial(t)
	storetest.TestSessionStore(t, func(t *testing.T) authkit.SessionStore { return open(t, client) })
}

func TestTickets(t *testing.T) {
	t.Parallel()
	client := dial(t)
	storetest.TestTicketStore(t, func(t *testing.T) authkit.TicketStore { return open(t, client) })
}
