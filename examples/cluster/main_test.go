package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// RE-10: the walk-through finds what it says it does, on Postgres and Redis and on a shared file.
func TestWalkThrough(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]func(t *testing.T) (db, redis string){
		"Postgres and Redis": postgresAndRedis,
		"SQLite":             func(t *testing.T) (string, string) { return "sqlite:" + filepath.Join(t.TempDir(), "auth.db"), "" },
	} {
		t.Run(name, func(t *testing.T) {
			db, redis := where(t)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			var out strings.Builder
			err := run(ctx, &out, options{addr: "127.0.0.1:0", db: db, redis: redis, once: true, cost: "10"})
			t.Log(out.String())
			require.NoError(t, err)
			for _, want := range []string{"instance C", "with the same refresh token", "/logout  204", "/users/me/  401", "/token  400", "requests answered 200"} {
				require.Contains(t, out.String(), want)
			}
			refused := regexp.MustCompile(`http://127\.0\.0\.1:(\d+)/token  429, Retry-After: ([1-9]|[12]\d|30)\n`).FindAllStringSubmatch(out.String(), -1)
			if redis == "" { // each instance counts by itself
				require.Empty(t, refused)
			} else {
				require.Len(t, refused, 3)
				require.Equal(t, 5, strings.Count(out.String(), "/token  401"))
			}
			require.NotContains(t, out.String(), "eyJ", "a token in the output")
		})
	}
}

func postgresAndRedis(t *testing.T) (string, string) {
	address := cmp.Or(os.Getenv("AUTHKIT_TEST_POSTGRES"), "postgres://postgres@127.0.0.1:5432/test?sslmode=disable")
	db, err := sql.Open("pgx", address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	schema := "authkit_cluster_" + strings.ToLower(rand.Text()[:10])
	_, err = db.Exec("CREATE SCHEMA " + schema)
	needs(t, "Postgres", err)
	t.Cleanup(func() {
		_, err := db.Exec("DROP SCHEMA " + schema + " CASCADE")
		require.NoError(t, err)
	})
	u, err := url.Parse(address)
	require.NoError(t, err)
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()

	redisAddress := "redis://" + cmp.Or(os.Getenv("AUTHKIT_TEST_REDIS"), "127.0.0.1:6379") + "/9"
	opts, err := redis.ParseURL(redisAddress)
	require.NoError(t, err)
	client := redis.NewClient(opts)
	defer client.Close()
	needs(t, "Redis", client.Ping(t.Context()).Err())
	return u.String(), redisAddress
}

func needs(t *testing.T, server string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no %s server: %v", server, err)
	}
	t.Skipf("no %s server, so this is not tested: %v", server, err)
}
