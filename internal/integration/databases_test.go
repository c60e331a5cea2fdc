package integration_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/account/accountsql"
	"github.com/authkit-go/authkit/apikey/apikeysql"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/oidclogin/oidcloginsql"
	"github.com/authkit-go/authkit/org/orgsql"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/totp/totpsql"
	"github.com/authkit-go/authkit/trusteddevice/trusteddevicesql"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// A database is one that tests run on.
type database struct {
	name    string
	dialect sqlstore.Dialect

	driver string

	// create makes a new and empty database, or schema, that is gone after the test, and
	// returns how it is opened.
	create func(t testing.TB) (dsn string)
}

// open returns a pool on a new and empty database. Its second result opens further ones.
func (d database) open(t testing.TB) (*sql.DB, func(t testing.TB) *sql.DB) {
	t.Helper()
	dsn := d.create(t)
	again := func(t testing.TB) *sql.DB { return pool(t, d.driver, dsn) }
	return again(t), again
}

var databases = []database{
	{"SQLite", sqlstore.SQLite, "sqlite", createSQLite},
	{"Postgres", sqlstore.Postgres, "pgx", createPostgres},
	{"MariaDB", sqlstore.MySQL, "mysql", createMariaDB},
}

// onEach runs a test on each of the databases.
func onEach(t *testing.T, test func(t *testing.T, d database)) {
	t.Helper()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

func createSQLite(t testing.TB) string { return sqliteDSN(t, filepath.Join(t.TempDir(), "auth.db")) }

// sqliteDSN returns the data source name of a file.
func sqliteDSN(t testing.TB, file string) string {
	t.Helper()
	_, dsn, _, err := sqlstore.ParseURL("sqlite:" + file)
	require.NoError(t, err)
	return dsn
}

func createPostgres(t testing.TB) string {
	address := cmp.Or(os.Getenv("AUTHKIT_TEST_POSTGRES"), "postgres://postgres@127.0.0.1:5432/test?sslmode=disable")
	admin := server(t, "pgx", address)
	schema := "authkit_" + strings.ToLower(rand.Text()[:12])
	mustExec(t, admin, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { mustExec(t, admin, "DROP SCHEMA "+schema+" CASCADE") })
	u, err := url.Parse(address)
	require.NoError(t, err)
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

func createMariaDB(t testing.TB) string {
	address := cmp.Or(os.Getenv("AUTHKIT_TEST_MARIADB"), "root@tcp(127.0.0.1:3306)/")
	admin := server(t, "mysql", address)
	name := "authkit_" + strings.ToLower(rand.Text()[:12])
	mustExec(t, admin, "CREATE DATABASE "+name)
	t.Cleanup(func() { mustExec(t, admin, "DROP DATABASE "+name) })
	user, host, _ := strings.Cut(strings.TrimSuffix(address, "/"), "@tcp(")
	_, dsn, _, err := sqlstore.ParseURL("mysql://" + user + "@" + strings.TrimSuffix(host, ")") + "/" + name)
	require.NoError(t, err)
	return dsn
}

// server opens a server, or skips the test if it is not up.
func server(t testing.TB, driver, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no %s server: %v", driver, err)
		}
		t.Skipf("no %s server, so this is not tested: %v", driver, err)
	}
	return db
}

// pool opens a database with as many connections as a service would.
func pool(t testing.TB, driver, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, address)
	require.NoError(t, err)
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func mustExec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(context.Background(), query, args...)
	require.NoError(t, err, query)
}

// newStore returns a store with the tables of every feature. No other test uses its database.
func newStore(t testing.TB, d database) *sqlstore.DB {
	t.Helper()
	db, _ := d.open(t)
	return storeOn(t, db, d, nil)
}

// storeWith returns a store like that of newStore, with only the tables of the root package and of
// the given sets. Creating them takes less time.
func storeWith(t testing.TB, d database, sets ...sqlstore.Migrations) *sqlstore.DB {
	t.Helper()
	db, _ := d.open(t)
	return migrated(t, db, d, nil, sets...)
}

// storeOn returns a store on a pool, with the tables of every feature.
func storeOn(t testing.TB, db *sql.DB, d database, opts *sqlstore.Options) *sqlstore.DB {
	t.Helper()
	return migrated(t, db, d, opts, auditsql.Migrations(), accountsql.Migrations(), apikeysql.Migrations(), trusteddevicesql.Migrations(), oidcloginsql.Migrations(), totpsql.Migrations(), orgsql.Migrations())
}

// migrated returns a store on a pool, after the migrations of the given sets.
func migrated(t testing.TB, db *sql.DB, d database, opts *sqlstore.Options, sets ...sqlstore.Migrations) *sqlstore.DB {
	t.Helper()
	s, err := sqlstore.Open(db, d.dialect, opts)
	require.NoError(t, err)
	require.NoError(t, s.Migrate(t.Context(), sets...))
	return s
}
