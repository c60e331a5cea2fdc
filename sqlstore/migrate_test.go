package sqlstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/sqlstore"
)

// other are migrations of another package.
var other = sqlstore.Migrations{Package: "other", Files: fstest.MapFS{
	"migrations/sqlite/0001_a.sql":   {Data: []byte("-- +goose Up\nCREATE TABLE authkit_a (b text);\nCREATE TABLE authkit_c (d text);\n")},
	"migrations/postgres/0001_a.sql": {Data: []byte("-- +goose Up\nCREATE TABLE authkit_a (b text);\nCREATE TABLE authkit_c (d text);\n")},
	"migrations/mysql/0001_a.sql":    {Data: []byte("-- +goose Up\nCREATE TABLE authkit_a (b text);\nCREATE TABLE authkit_c (d text);\n")},
}}

// migrated answers like a database that has run some migrations.
func migrated(tables bool, names ...string) func(context.Context, string, []any) reply {
	return func(_ context.Context, query string, _ []any) reply {
		var rows [][]any
		switch {
		case strings.Contains(query, "sqlite_master WHERE type") || strings.Contains(query, "information_schema"):
			if tables {
				rows = [][]any{{"my_migrations"}}
			}
		case strings.HasPrefix(query, "SELECT name FROM"):
			for _, name := range names {
				rows = append(rows, []any{name})
			}
		case strings.HasPrefix(query, "SELECT GET_LOCK"):
			rows = [][]any{{int64(1)}}
		}
		return reply{rows: rows, changed: 1}
	}
}

var own = []string{"0001_users.sql", "0002_sessions.sql", "0003_proofs.sql", "0004_tickets.sql"}

// TestMigrateStatements asserts what a migration runs on each database.
func TestMigrateStatements(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		opts := &sqlstore.Options{TablePrefix: "my_"}
		if d == sqlstore.Postgres {
			opts.Schema = "auth"
		}
		var asked []any
		s := &script{}
		s.answer = func(ctx context.Context, query string, args []any) reply {
			if strings.Contains(query, "sqlite_master") || strings.Contains(query, "information_schema") {
				asked = args
			}
			return migrated(true, own...)(ctx, query, args)
		}
		db := s.open(t, d, opts)
		require.NoError(t, db.Migrate(t.Context(), other))
		log := s.statements()
		var first, last []string
		switch d {
		case sqlstore.SQLite:
			first, last = []string{"BEGIN IMMEDIATE"}, []string{"COMMIT"}
			require.Equal(t, []any{"my_migrations"}, asked)
		case sqlstore.Postgres:
			first, last = []string{"BEGIN", "SELECT pg_advisory_xact_lock(7310284650192837)", "SET LOCAL search_path TO auth"}, []string{"COMMIT"}
			require.Equal(t, []any{"auth", "my_migrations"}, asked)
		case sqlstore.MySQL:
			first, last = []string{"SELECT GET_LOCK(CONCAT(DATABASE(), '.', ?), 60)"}, []string{"SELECT RELEASE_LOCK(CONCAT(DATABASE(), '.', ?))"}
			require.Equal(t, []any{"my_migrations"}, asked)
		}
		require.Equal(t, first, log[:len(first)])
		require.Equal(t, last, log[len(log)-1:])
		log = slices.DeleteFunc(log[len(first):len(log)-1], func(query string) bool { return strings.HasPrefix(query, "SELECT") })
		require.Len(t, log, 4, "%v", log)
		require.Contains(t, log[0], "CREATE TABLE IF NOT EXISTS")
		require.Equal(t, []string{"CREATE TABLE my_a (b text)", "CREATE TABLE my_c (d text)"}, log[1:3])
		require.Contains(t, log[3], "INSERT INTO")

		// Another prefix is the default one, and Postgres has a search path.
		require.NoError(t, s.open(t, d, nil).Migrate(t.Context(), other))
		require.Zero(t, count(s.statements(), "SET LOCAL"))
	})
}

// TestPending asserts which migrations are pending.
func TestPending(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		for _, tc := range []struct {
			answer func(context.Context, string, []any) reply
			want   []string
		}{
			{migrated(false), append(slices.Clone(own), "other/0001_a.sql")},
			{migrated(true), append(slices.Clone(own), "other/0001_a.sql")},
			{migrated(true, own...), []string{"other/0001_a.sql"}},
			{migrated(true, append(slices.Clone(own), "other/0001_a.sql", "other/0002_b.sql")...), nil},
			{migrated(true, "0001_users.sql", "other/0001_a.sql"), own[1:]},
		} {
			s := &script{answer: tc.answer}
			pending, err := s.open(t, d, nil).Pending(t.Context(), other)
			require.NoError(t, err)
			require.Equal(t, tc.want, pending)
		}
		s := &script{answer: migrated(false)}
		_, err := s.open(t, d, nil).Pending(t.Context())
		require.NoError(t, err)
		require.NotContains(t, strings.Join(s.statements(), "; "), "SELECT name FROM authkit_migrations", "there is no such table")
		for _, fails := range []string{"sqlite_master", "information_schema", "SELECT name FROM authkit_migrations"} {
			s := &script{answer: func(ctx context.Context, query string, args []any) reply {
				if strings.Contains(query, fails) {
					return reply{err: errOwn}
				}
				return migrated(true)(ctx, query, args)
			}}
			pending, err := s.open(t, d, nil).Pending(t.Context())
			if d == sqlstore.SQLite && fails == "information_schema" || d != sqlstore.SQLite && fails == "sqlite_master" {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, errOwn)
			require.Empty(t, pending)
		}
	})
}

// TestMigrateFails asserts that each statement of a migration can fail, and that
// the database is then unlocked, and unchanged where it can take a schema back.
func TestMigrateFails(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		s := &script{answer: migrated(true)}
		db, pool := s.openPool(t, d, nil)
		require.NoError(t, db.Migrate(t.Context(), other))
		all := len(s.statements())
		require.Greater(t, all, 15)
		for fails := range all {
			n := 0
			s.answer = func(ctx context.Context, query string, args []any) reply {
				if query == "CONNECT" {
					return reply{}
				}
				if n++; n == fails+1 {
					return reply{err: errOwn}
				}
				return migrated(true)(ctx, query, args)
			}
			err := db.Migrate(t.Context(), other)
			require.ErrorIs(t, err, errOwn)
			require.ErrorContains(t, err, "sqlstore: ")
			log := s.statements()
			if d != sqlstore.MySQL && fails < all-1 {
				require.Equal(t, "ROLLBACK", log[len(log)-1])
				require.Zero(t, count(log, "COMMIT"))
			}
			if d == sqlstore.MySQL && fails > 0 {
				require.Equal(t, 1, count(log, "SELECT RELEASE_LOCK"))
			}
			if fails < all-1 {
				require.LessOrEqual(t, len(log), fails+2, "nothing is run after the failure: %v", log)
			}
			require.Zero(t, pool.Stats().InUse)
		}
		s.answer = migrated(true)
		require.NoError(t, db.Migrate(t.Context(), other), "no lock is left behind")
		require.ErrorContains(t, db.Migrate(db.WithTx(t.Context(), nil)), "carries a transaction")

		s = &script{answer: failing("CONNECT", errOwn)}
		require.ErrorIs(t, s.open(t, d, nil).Migrate(t.Context()), errOwn)
	})
}

// TestMigrateContinues asserts that a column that exists ends no migration in
// MySQL, which cannot take a part of one back. Any other error does.
func TestMigrateContinues(t *testing.T) {
	t.Parallel()
	exists := errors.New("Error 1060 (42S21): Duplicate column name 'b'")
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		s := &script{answer: func(ctx context.Context, query string, args []any) reply {
			if strings.HasPrefix(query, "CREATE TABLE authkit_a") {
				return reply{err: exists}
			}
			return migrated(true, own...)(ctx, query, args)
		}}
		err := s.open(t, d, nil).Migrate(t.Context(), other)
		log := s.statements()
		if d == sqlstore.MySQL {
			require.NoError(t, err)
			require.Equal(t, 1, count(log, "CREATE TABLE authkit_c"))
			return
		}
		require.ErrorIs(t, err, exists)
		require.ErrorContains(t, err, "other/0001_a.sql, statement 1")
		require.Zero(t, count(log, "CREATE TABLE authkit_c"))
	})
}

// TestMigrateLocked asserts that two migrations do not run at once on MySQL.
func TestMigrateLocked(t *testing.T) {
	t.Parallel()
	for _, locked := range []any{int64(0), nil} {
		s := &script{answer: func(context.Context, string, []any) reply { return reply{rows: [][]any{{locked}}} }}
		require.ErrorContains(t, s.open(t, sqlstore.MySQL, nil).Migrate(t.Context()), "another migration has been running for a minute")
		require.Len(t, s.statements(), 1)
	}
}
