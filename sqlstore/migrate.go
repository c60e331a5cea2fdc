package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the files that make the schema, in the order of their names: 0001_users.sql
// and so on. They read like those of goose, and each statement ends at the end of a line. The
// names in them begin with authkit_; whoever has another prefix and another tool replaces that.
//
// A file never changes once it was released, and only adds: a program that knows fewer of them
// runs on a database that has more.
func Migrations(d Dialect) fs.FS {
	sub, err := fs.Sub(migrations, "migrations/"+d.String())
	if err != nil {
		return embed.FS{} // of no dialect there are none
	}
	return sub
}

// A migration is one of the files.
type migration struct {
	name       string
	statements []string
}

// migrations returns those of the store, with its own names in them.
func (s *Store) migrations() ([]migration, error) {
	files := Migrations(s.d)
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, name := range names { // sorted
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		m := migration{name: name}
		for statement := range strings.SplitSeq(strings.TrimPrefix(string(text), "-- +goose Up\n"), ";\n") {
			if statement = strings.TrimSpace(statement); statement != "" {
				m.statements = append(m.statements, strings.ReplaceAll(statement, defaultPrefix, s.opts.TablePrefix))
			}
		}
		all = append(all, m)
	}
	return all, nil
}

// Pending returns the names of the migrations that the database does not have yet, in their
// order. It changes nothing.
func (s *Store) Pending(ctx context.Context) ([]string, error) {
	all, err := s.migrations()
	if err != nil {
		return nil, failure(err)
	}
	var pending []string
	err = s.single(ctx, func(w work) error {
		pending = nil
		done, err := w.done(ctx)
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
func (w work) done(ctx context.Context) (map[string]bool, error) {
	where := map[Dialect]string{
		SQLite:   `SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?`,
		Postgres: `SELECT table_name FROM information_schema.tables WHERE table_schema = COALESCE(NULLIF(?, ''), current_schema()) AND table_name = ?`,
		MySQL:    `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`,
	}[w.d]
	args := []any{w.opts.TablePrefix + "migrations"}
	if w.d == Postgres {
		args = []any{w.opts.Schema, args[0]}
	}
	names := make(map[string]bool)
	var name string
	collect := func(scan func(...any) error) error {
		err := scan(&name)
		names[name] = true
		return err
	}
	if err := w.query(ctx, collect, where, args...); err != nil || len(names) == 0 {
		return nil, err
	}
	clear(names)
	err := w.query(ctx, collect, `SELECT name FROM {migrations}`)
	return names, err
}

// Migrate makes the schema, or brings it up to date: it runs what is [Store.Pending]. Several
// programs can do so at once; one does it, and the others wait. What fails leaves the database
// as it was, but in MySQL, which cannot: there the next call goes on from where it stopped.
//
// It has a connection for itself as long as it takes, and is not for a store of WithTx.
func (s *Store) Migrate(ctx context.Context) (err error) {
	if s.tx != nil {
		return failure(errors.New("a migration within a transaction of the host's; call Migrate on the store itself"))
	}
	all, err := s.migrations()
	if err != nil {
		return failure(err)
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return failure(err)
	}
	defer func() { _ = conn.Close() }()
	end, err := s.begin(ctx, conn)
	if err != nil {
		return failure(err)
	}
	defer func() { err = failure(errors.Join(err, end(err == nil))) }()
	return s.migrate(ctx, conn, all)
}

// migrate runs what is missing.
func (s *Store) migrate(ctx context.Context, conn *sql.Conn, all []migration) error {
	w := work{s, conn}
	name := map[Dialect]string{SQLite: "text", Postgres: "text", MySQL: "varchar(190)"}[s.d]
	if _, err := w.exec(ctx, `CREATE TABLE IF NOT EXISTS {migrations} (name `+name+` PRIMARY KEY)`); err != nil {
		return err
	}
	done, err := w.done(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if done[m.name] {
			continue
		}
		for i, statement := range m.statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s, statement %d: %w", m.name, i+1, err)
			}
		}
		if _, err := w.exec(ctx, `INSERT INTO {migrations} (name) VALUES (?)`, m.name); err != nil {
			return err
		}
	}
	return nil
}

// begin locks out other migrations, and returns what ends that: with a commit, where the
// database can take back what it does to a schema.
func (s *Store) begin(ctx context.Context, conn *sql.Conn) (end func(commit bool) error, err error) {
	run := func(ctx context.Context, queries ...string) error {
		for _, q := range queries {
			if _, err := conn.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		return nil
	}
	after := context.WithoutCancel(ctx)
	if s.d == MySQL {
		name := s.opts.TablePrefix + "migrations"
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
	if s.d == Postgres {
		first = []string{`BEGIN`, `SELECT pg_advisory_xact_lock(7310284650192837)`}
		if s.opts.Schema != "" {
			first = append(first, `SET LOCAL search_path TO `+s.opts.Schema)
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
