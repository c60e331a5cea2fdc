package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// storages are all that the demo can keep its data in, each new and empty. A server that is not
// up is skipped, and a failure with CI=true.
var storages = map[string]func(t testing.TB, cfg *config){
	"memory":   func(testing.TB, *config) {},
	"SQLite":   func(t testing.TB, cfg *config) { cfg.db = "sqlite:" + filepath.Join(t.TempDir(), "auth.db") },
	"Postgres": func(t testing.TB, cfg *config) { cfg.db = newPostgres(t) },
	"MariaDB": func(t testing.TB, cfg *config) {
		dsn := cmp.Or(os.Getenv("AUTHKIT_TEST_MARIADB"), "root@tcp(127.0.0.1:3306)/")
		name := createIn(t, "mysql", dsn, "DATABASE", "")
		user, host, _ := strings.Cut(strings.TrimSuffix(dsn, "/"), "@tcp(")
		cfg.db = "mysql://" + user + "@" + strings.TrimSuffix(host, ")") + "/" + name
	},
	"Postgres and Redis": func(t testing.TB, cfg *config) { cfg.db, cfg.redis = newPostgres(t), redisURL(t) },
}

func newPostgres(t testing.TB) string {
	t.Helper()
	address := cmp.Or(os.Getenv("AUTHKIT_TEST_POSTGRES"), "postgres://postgres@127.0.0.1:5432/test?sslmode=disable")
	schema := createIn(t, "pgx", address, "SCHEMA", " CASCADE")
	u, err := url.Parse(address)
	require.NoError(t, err)
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

// createIn creates a schema or a database on a server, for as long as the test takes.
func createIn(t testing.TB, driver, dsn, what, cascade string) (name string) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	needs(t, driver, db.PingContext(ctx))
	name = "authkit_demo_" + strings.ToLower(rand.Text()[:10])
	_, err = db.Exec("CREATE " + what + " " + name)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.Exec("DROP " + what + " " + name + cascade)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	})
	return name
}

// redisURL returns the address of a Redis that is up.
func redisURL(t testing.TB) string {
	t.Helper()
	address := "redis://" + cmp.Or(os.Getenv("AUTHKIT_TEST_REDIS"), "127.0.0.1:6379") + "/8"
	opts, err := redis.ParseURL(address)
	require.NoError(t, err)
	client := redis.NewClient(opts)
	defer client.Close()
	needs(t, "Redis", client.Ping(t.Context()).Err())
	return address
}

func needs(t testing.TB, server string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no %s server: %v", server, err)
	}
	t.Skipf("no %s server, so this is not tested: %v", server, err)
}

// RE-03: what was stored outlives the process, sessions included, and the two accounts are only
// put into an empty store.
func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	for name, configure := range storages {
		if name == "memory" {
			continue // whose process it dies with
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			configure(t, &cfg)
			var refresh, access string
			t.Run("first", func(t *testing.T) {
				url := start(t, cfg)
				a, err := send(url, loginCall("admin@example.com", adminPassword))
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, a.status, "%s", a.body)
				access, refresh = a.object(t)["access_token"].(string), a.object(t)["refresh_token"].(string)
				a, err = send(url, call{method: "POST", path: "/admin/create_user/", token: access, contentType: "application/json",
					body: `{"email":"new@example.com","full_name":"New","password":"correct horse"}`})
				require.NoError(t, err)
				require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
			})
			url := start(t, cfg)
			a, err := send(url, call{method: "GET", path: "/users/me/", token: access})
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, a.status, "%s", a.body)
			a, err = send(url, refreshCall(refresh))
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, a.status, "%s", a.body)
			a, err = send(url, call{method: "GET", path: "/admin/users/", token: access})
			require.NoError(t, err)
			require.Len(t, a.list(t), 5, "the four of the configuration, once, and the new one")
			login(t, url, "new@example.com", "correct horse")
		})
	}
}

func TestMaskedAddress(t *testing.T) {
	t.Parallel()
	require.Equal(t, "postgres://********@h/db", masked("postgres://u:p@ss@h/db"))
	require.Equal(t, "sqlite:a@b", masked("sqlite:a@b"))
}

// What cannot be opened is said at the start, without the password in it.
func TestStorageThatIsNotThere(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config){
		"no database": func(c *config) { c.db = "postgres://user:verysecret@127.0.0.1:1/db?connect_timeout=1" },
		"no folder":   func(c *config) { c.db = "sqlite:/nowhere/at/all.db" },
		"no Redis":    func(c *config) { c.redis = "redis://:verysecret@127.0.0.1:1" },
		"no scheme":   func(c *config) { c.db = "verysecret" },
		"no server":   func(c *config) { c.db = "mysql://user:verysecret@h:1/" },
		"no address":  func(c *config) { c.redis = "127.0.0.1 verysecret" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			change(&cfg)
			_, err := newServer(t.Context(), cfg)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "verysecret")
		})
	}
}
