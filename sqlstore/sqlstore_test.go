package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/sqlstore"
)

// noDatabase is a connector that is never asked to connect: Open dials nothing.
type noDatabase struct{ t *testing.T }

func (c noDatabase) Connect(context.Context) (driver.Conn, error) {
	c.t.Error("connected")
	return nil, driver.ErrBadConn
}
func (c noDatabase) Driver() driver.Driver { return nil }

func TestOpenProblems(t *testing.T) {
	t.Parallel()
	db := sql.OpenDB(noDatabase{t})
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.Postgres, sqlstore.MySQL} {
		_, err := sqlstore.Open(db, d, nil)
		require.NoError(t, err)
		for _, prefix := range []string{"az09_", strings.Repeat("a", 32)} {
			_, err := sqlstore.Open(db, d, &sqlstore.Options{TablePrefix: prefix})
			require.NoError(t, err)
		}
		got, err := sqlstore.Open(db, d, &sqlstore.Options{TablePrefix: "my_2_", Tenant: strings.Repeat("ä", 32)})
		require.NoError(t, err)
		require.Equal(t, d, got.Dialect())
		require.Equal(t, strings.Repeat("ä", 32), got.Tenant())
	}
	_, err := sqlstore.Open(db, sqlstore.Postgres, &sqlstore.Options{Schema: "auth"})
	require.NoError(t, err)

	for name, tc := range map[string]struct {
		db   *sql.DB
		d    sqlstore.Dialect
		opts sqlstore.Options
		want []string
	}{
		"all at once": {nil, 0, sqlstore.Options{TablePrefix: "a-b", Schema: "x;y", Tenant: "a\x00"}, []string{
			"the database is nil", "no dialect; use SQLite", `Options.TablePrefix: "a-b"`, `Options.Schema: "x;y"`, "Options.Tenant"}},
		"a schema in SQLite":  {db, sqlstore.SQLite, sqlstore.Options{Schema: "auth"}, []string{"Options.Schema: sqlite has none"}},
		"a schema in MySQL":   {db, sqlstore.MySQL, sqlstore.Options{Schema: "auth"}, []string{"Options.Schema: mysql has none"}},
		"a long prefix":       {db, sqlstore.MySQL, sqlstore.Options{TablePrefix: strings.Repeat("a", 33)}, []string{"Options.TablePrefix"}},
		"another letter":      {db, sqlstore.MySQL, sqlstore.Options{TablePrefix: "a{b"}, []string{"Options.TablePrefix"}},
		"a sign":              {db, sqlstore.MySQL, sqlstore.Options{TablePrefix: "a:b"}, []string{"Options.TablePrefix"}},
		"a letter not ASCII":  {db, sqlstore.MySQL, sqlstore.Options{TablePrefix: "\u00e4"}, []string{"Options.TablePrefix"}},
		"a NUL first":         {db, sqlstore.MySQL, sqlstore.Options{Tenant: "\x00a"}, []string{"Options.Tenant"}},
		"an upper-case one":   {db, sqlstore.MySQL, sqlstore.Options{TablePrefix: "Auth_"}, []string{"Options.TablePrefix"}},
		"a long tenant":       {db, sqlstore.MySQL, sqlstore.Options{Tenant: strings.Repeat("a", 65)}, []string{"Options.Tenant"}},
		"a tenant, not UTF-8": {db, sqlstore.MySQL, sqlstore.Options{Tenant: "\xff"}, []string{"Options.Tenant"}},
		"another dialect":     {db, 7, sqlstore.Options{}, []string{"no dialect"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := sqlstore.Open(tc.db, tc.d, &tc.opts)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// Every database has the same files, which goose reads, and which name the tenant first in every
// key.
func TestMigrations(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(sqlstore.Schema().For(sqlstore.SQLite), "*")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.Postgres, sqlstore.MySQL} {
		files := sqlstore.Schema().For(d)
		got, err := fs.Glob(files, "*")
		require.NoError(t, err)
		require.Equal(t, names, got)
		for i, name := range names {
			require.Regexp(t, `^`+[]string{"0001", "0002", "0003", "0004", "0005"}[i]+`_[a-z_]+\.sql$`, name)
			text, err := fs.ReadFile(files, name)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(text), "-- +goose Up\n"), name)
			require.NotRegexp(t, `(?i)\b(DROP|DELETE|RENAME|MODIFY|goose Down)\b`, string(text), "files only add")
			for _, key := range regexp.MustCompile(`(?i)KEY[a-z_ ]*\(([a-z_]+)`).FindAllStringSubmatch(string(text), -1) {
				require.Contains(t, []string{"tenant", "seq"}, key[1], "%s: %s", name, key[0])
			}
		}
	}
	other := sqlstore.Migrations{Package: "other", Files: fstest.MapFS{"migrations/sqlite/0001_a.sql": {}, "migrations/sqlite/0002_b.sql": {}, "migrations/mysql/0001_a.sql": {}}}
	for d, want := range map[sqlstore.Dialect]int{sqlstore.SQLite: 2, sqlstore.MySQL: 1, sqlstore.Postgres: 0, 0: 0} {
		got, err := fs.Glob(other.For(d), "*.sql")
		require.NoError(t, err)
		require.Len(t, got, want, d)
	}
	none, err := fs.Glob(sqlstore.Schema().For(0), "*")
	require.NoError(t, err)
	require.Empty(t, none)
	require.Equal(t, "sqlite postgres mysql Dialect(0)", strings.Join([]string{
		sqlstore.SQLite.String(), sqlstore.Postgres.String(), sqlstore.MySQL.String(), sqlstore.Dialect(0).String()}, " "))
}

// TestMigrationsOfOthers asserts which further migrations are refused before the database
// is asked.
func TestMigrationsOfOthers(t *testing.T) {
	t.Parallel()
	pool := sql.OpenDB(noDatabase{t})
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	db, err := sqlstore.Open(pool, sqlstore.MySQL, nil)
	require.NoError(t, err)
	file := fstest.MapFS{"migrations/mysql/0001_a.sql": {}}
	for name, more := range map[string][]sqlstore.Migrations{
		"no name":             {{Files: file}},
		"a name with a slash": {{Package: "a/b", Files: file}},
		"twice":               {{Package: "a", Files: file}, {Package: "a", Files: file}},
		"no files":            {{Package: "a"}},
		"another database's":  {{Package: "a", Files: fstest.MapFS{"migrations/sqlite/0001_a.sql": {}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, db.Migrate(t.Context(), more...), "sqlstore: migrations of the package")
			_, err := db.Pending(t.Context(), more...)
			require.ErrorContains(t, err, "sqlstore: migrations of the package")
		})
	}
}
