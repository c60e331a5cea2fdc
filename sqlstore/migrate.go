package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed migrations
var migrations embed.FS

// Migrations are the tables of one package: numbered files such as
// 0001_users.sql, in a folder per dialect. Packages such as auditsql have their
// own, for [DB.Migrate].
//
// The files read like those of goose. Each statement ends at the end of a line.
// The names in them begin with authkit_. If you run them with another tool and
// use another prefix, replace it.
//
// A released file never changes, and files only add to the tables. A program of
// an older version therefore runs on a database with newer migrations.
type Migrations struct {
	// Package names the package, so that its files cannot be taken for those of
	// another. It consists of a to z, 0 to 9 and the underscore.
	Package string

	// Files has the folders migrations/sqlite, migrations/postgres and
	// migrations/mysql, such as an embed.FS of the folder migrations.
	Files fs.FS
}

// Schema returns the migrations of this package, for another migration tool.
// [DB.Migrate] always includes them, so do not pass them to it.
func Schema() Migrations {
	return Migrations{Files: migrations}
}

// For returns the files of a dialect, or none if there is no such folder.
func (m Migrations) For(d Dialect) fs.FS {
	if d != SQLite && d != Postgres && d != MySQL || m.Files == nil {
		return embed.FS{}
	}
	files, err := fs.Sub(m.Files, path.Join("migrations", d.String()))
	if err != nil {
		return embed.FS{}
	}
	return files
}

// A migration is one of the files.
type migration struct {
	name       string // in the table of migrations
	statements []string
}

// migrations returns those of the store and of others, with the prefix of this
// DB.
func (db *DB) migrations(more []Migrations) (all []migration, err error) {
	packages := map[string]bool{}
	for _, m := range more {
		if !validName(m.Package) || packages[m.Package] {
			return nil, fmt.Errorf("migrations of the package %q: the name is not valid, or given twice", m.Package)
		}
		packages[m.Package] = true
	}
	for _, m := range append([]Migrations{Schema()}, more...) {
		files := m.For(db.d)
		names, err := fs.Glob(files, "*.sql") // sorted
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("migrations of the package %q: no files for %v", m.Package, db.d)
		}
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return nil, err
			}
			all = append(all, migration{name: path.Join(m.Package, name), statements: db.statements(string(text))})
		}
	}
	return all, nil
}

// statements returns the statements of a file.
func (db *DB) statements(text string) (statements []string) {
	for statement := range strings.SplitSeq(strings.TrimPrefix(text, "-- +goose Up\n"), ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, strings.ReplaceAll(statement, defaultPrefix, db.opts.TablePrefix))
		}
	}
	return statements
}

// Pending returns the names of the migrations that the database does not have
// yet, in their order: those of this package, and then those of more. It
// changes nothing.
func (db *DB) Pending(ctx context.Context, more ...Migrations) ([]string, error) {
	all, err := db.migrations(more)
	if err != nil {
		return nil, failure(err)
	}
	var pending []string
	err = db.run(ctx, func(c conn) error {
		pending = nil
		done, err := c.done(ctx)
		for _, m := range all {
			if err == nil && !done[m.name] {
				pending = append(pending, m.name)
			}
		}
		return err
	})
	return pending, err
}

// done returns the names of the migrations that were run.
func (c conn) done(ctx context.Context) (map[string]bool, error) {
	where := map[Dialect]string{
		SQLite:   `SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?`,
		Postgres: `SELECT table_name FROM information_schema.tables WHERE table_schema = COALESCE(NULLIF(?, ''), current_schema()) AND table_name = ?`,
		MySQL:    `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`,
	}[c.d]
	args := []any{c.opts.TablePrefix + "migrations"}
	if c.d == Postgres {
		args = []any{c.opts.Schema, args[0]}
	}
	names := make(map[string]bool)
	var name string
	collect := func(scan func(...any) error) error {
		err := scan(&name)
		names[name] = true
		return err
	}
	if err := c.query(ctx, collect, where, args...); err != nil || len(names) == 0 {
		return nil, err
	}
	clear(names)
	err := c.query(ctx, collect, `SELECT name FROM {migrations}`)
	return names, err
}

// Migrate makes the tables, or brings them up to date: it runs the migrations
// that [DB.Pending] returns. If several programs call it at once, one runs the
// migrations and the others wait. If it fails, the database is unchanged. On
// MySQL some migrations may remain, and the next call continues after them.
//
// It needs a connection for itself, and cannot run in a transaction.
func (db *DB) Migrate(ctx context.Context, more ...Migrations) (err error) {
	if db.current(ctx) != nil {
		return failure(errors.New("the context of Migrate carries a transaction"))
	}
	all, err := db.migrations(more)
	if err != nil {
		return failure(err)
	}
	unlock, err := db.lockWriter(ctx)
	if err != nil {
		return failure(err)
	}
	defer unlock()
	c, err := db.pool.Conn(ctx)
	if err != nil {
		return failure(err)
	}
	defer func() { _ = c.Close() }()
	end, err := db.beginMigration(ctx, c)
	if err != nil {
		return failure(err)
	}
	defer func() { err = failure(errors.Join(err, end(err == nil))) }()
	return db.migrate(ctx, c, all)
}

// migrate runs the migrations that are missing.
func (db *DB) migrate(ctx context.Context, on *sql.Conn, all []migration) error {
	c := conn{db, &transaction{q: on}}
	name := map[Dialect]string{SQLite: "text", Postgres: "text", MySQL: "varchar(190)"}[db.d]
	if _, err := c.exec(ctx, `CREATE TABLE IF NOT EXISTS {migrations} (name `+name+` PRIMARY KEY)`); err != nil {
		return err
	}
	done, err := c.done(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if done[m.name] {
			continue
		}
		for i, statement := range m.statements {
			if _, err := on.ExecContext(ctx, statement); err != nil && !(db.d == MySQL && columnExists(err)) {
				return fmt.Errorf("%s, statement %d: %w", m.name, i+1, err)
			}
		}
		if _, err := c.exec(ctx, `INSERT INTO {migrations} (name) VALUES (?)`, m.name); err != nil {
			return err
		}
	}
	return nil
}

// columnExists reports whether MySQL has made a column in a migration that was
// cut off.
func columnExists(err error) bool { return strings.Contains(err.Error(), "Error 1060") }

// beginMigration locks out other migrations. The function that it returns
// unlocks them, and commits or rolls back if the database can do that to a
// schema.
func (db *DB) beginMigration(ctx context.Context, conn *sql.Conn) (end func(commit bool) error, err error) {
	run := func(ctx context.Context, queries ...string) error {
		for _, q := range queries {
			if _, err := conn.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		return nil
	}
	after := context.WithoutCancel(ctx)
	if db.d == MySQL {
		name := db.opts.TablePrefix + "migrations"
		var locked sql.NullBool
		if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(CONCAT(DATABASE(), '.', ?), 60)`, name).Scan(&locked); err != nil {
			return nil, err
		}
		if !locked.Bool {
			return nil, errors.New("another migration has been running for a minute")
		}
		return func(bool) error {
			_, err := conn.ExecContext(after, `SELECT RELEASE_LOCK(CONCAT(DATABASE(), '.', ?))`, name)
			return err
		}, nil
	}
	first := []string{`BEGIN IMMEDIATE`}
	if db.d == Postgres {
		first = []string{`BEGIN`, `SELECT pg_advisory_xact_lock(7310284650192837)`}
		if db.opts.Schema != "" {
			first = append(first, `SET LOCAL search_path TO `+db.opts.Schema)
		}
	}
	if err := run(ctx, first...); err != nil {
		_ = run(after, `ROLLBACK`)
		return nil, err
	}
	return func(commit bool) error {
		if commit {
			return run(after, `COMMIT`)
		}
		return run(after, `ROLLBACK`)
	}, nil
}
