package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/doctor"
	"github.com/authkit-go/authkit/redisstore"
)

// onRedis returns a tool on a new SQLite file, and a service with its accounts there and its
// sessions in Redis.
func onRedis(t *testing.T) (*tool, *authkit.Kit) {
	t.Helper()
	addr, prefix := cmp.Or(os.Getenv("AUTHKIT_TEST_REDIS"), "127.0.0.1:6379"), "authkit-cmd-"+rand.Text()[:12]
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	if err := client.Ping(t.Context()).Err(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no Redis: %v", err)
		}
		t.Skipf("no Redis, so this is not tested: %v", err)
	}
	t.Cleanup(func() {
		keys, err := client.Keys(context.Background(), "{"+prefix+"}*").Result()
		require.NoError(t, err)
		if len(keys) > 0 {
			require.NoError(t, client.Del(context.Background(), keys...).Err())
		}
	})
	sessions, err := redisstore.New(client, redisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	tl := onSQLite(t)
	tl.env["REDIS_URL"], tl.prefix = "redis://"+addr, prefix
	c := newCall(command{}, nil, nil, nil, nil, func(name string) string { return tl.env[name] })
	users, err := c.open(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.close() })
	kit, err := authkit.New(authkit.Config{
		Secret: []byte(rand.Text() + rand.Text()), Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 10}},
		Users: users, Sessions: authkit.SessionConfig{Store: sessions},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return tl, kit
}

// Sessions in Redis are listed and ended there.
func TestSessionsInRedis(t *testing.T) {
	t.Parallel()
	tl, kit := onRedis(t)
	ann := tl.create("ann@example.com")
	var tokens []authkit.Token
	for range 3 {
		token, err := kit.Login(t.Context(), "ann@example.com", password)
		require.NoError(t, err)
		tokens = append(tokens, token)
	}
	list := func() []string {
		lines := strings.Split(strings.TrimSpace(tl.ok("", "list-sessions", "-redis-prefix", tl.prefix, ann)), "\n")
		return lines[1:]
	}
	require.Len(t, list(), 3)
	id, _, _ := strings.Cut(list()[0], "\t")
	tl.ok("", "revoke", "-redis-prefix", tl.prefix, "--", ann, id)
	require.Len(t, list(), 2)
	_, err := kit.Refresh(t.Context(), tokens[2].RefreshToken)
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)

	tl.ok("", "disable", "-redis-prefix", tl.prefix, ann)
	require.Empty(t, list())
	tl.ok("", "enable", "-redis-prefix", tl.prefix, ann)
	_, err = kit.Refresh(t.Context(), tokens[0].RefreshToken)
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	_, err = kit.Login(t.Context(), "ann@example.com", password)
	require.NoError(t, err)
	require.Len(t, list(), 1)
	tl.ok("another long password\n", "set-password", "-redis-prefix", tl.prefix, ann, "-cost", "10")
	require.Empty(t, list())

	said := tl.run("", "doctor", "-redis-prefix", tl.prefix).stdout
	for _, f := range doctor.Check(t.Context(), kit) {
		if strings.HasPrefix(f.Code, "redis_") {
			require.Contains(t, said, f.Code)
		}
	}
	require.NotContains(t, said, "unavailable")
}

func TestRedisAddress(t *testing.T) {
	t.Parallel()
	tl := onSQLite(t)
	tl.create("ann@example.com")
	for address, want := range map[string]struct {
		code int
		text string
	}{
		"hunter:hunter2@127.0.0.1":     {2, "not an address like redis://"},
		"redis://:hunter2@127.0.0.1:1": {1, "nothing was changed, because the Redis server does not respond"},
	} {
		tl.env["REDIS_URL"] = address
		r := tl.run("", "list-sessions", "ann@example.com")
		require.Equal(t, want.code, r.code)
		require.Contains(t, r.stderr, want.text)
		require.NotContains(t, r.stderr, "hunter2")
	}
	tl.env["REDIS_URL"] = ""
	require.Equal(t, 2, tl.run("", "list-sessions", "-redis-prefix", "x", "ann@example.com").code)
	tl.env["REDIS_URL"] = "redis://127.0.0.1:1"
	r := tl.run("", "disable", "ann@example.com")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "without REDIS_URL")
	tl.ok("", "list-users") // has no sessions to look for
}
