package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	// maxSkew is how far the clock of a database may be from that of the program.
	maxSkew = 5 * time.Second

	// examined is how many accounts are looked at.
	examined = 1000
)

// Doctor reports problems of the database:
//   - pending migrations,
//   - a clock that differs from that of the program,
//   - connections with unsafe settings,
//   - accounts whose roles cannot be read, among up to 1,000 accounts.
//
// It changes nothing.
func (db *DB) Doctor(ctx context.Context) []authkit.Finding {
	var found []authkit.Finding
	for _, check := range []func(context.Context) ([]authkit.Finding, error){
		db.checkSchema, db.checkClock, db.checkConnections,
	} {
		some, err := check(ctx)
		found = append(found, some...)
		if err != nil {
			return append(found, unavailable(err))
		}
	}
	return found
}

// unavailable returns the finding for an error.
func unavailable(err error) authkit.Finding {
	if state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok && (state.SQLState() == "26000" || state.SQLState() == "42P05") {
		return authkit.Finding{
			Code: "pooler_prepared_statements", Severity: slog.LevelError,
			Text: fmt.Sprintf("a pooler between the program and Postgres loses prepared statements: %v", err),
			Fix:  "add default_query_exec_mode=exec to the address, or use PgBouncer 1.21 with max_prepared_statements",
		}
	}
	return authkit.Finding{
		Code: "unavailable", Severity: slog.LevelError,
		Text: fmt.Sprintf("the database cannot be asked about itself: %v", err),
		Fix:  "see that it is up, and that its address and the rights of its user are right",
	}
}

// checkSchema looks for pending migrations, and for broken accounts if there
// are none.
func (db *DB) checkSchema(ctx context.Context) (found []authkit.Finding, err error) {
	pending, err := db.Pending(ctx)
	if err != nil {
		return nil, err
	}
	if len(pending) > 0 {
		return []authkit.Finding{{
			Code: "pending_migrations", Severity: slog.LevelError,
			Text: fmt.Sprintf("the database lacks %s", strings.Join(pending, ", ")),
			Fix:  "call DB.Migrate, or run: authkit migrate",
		}}, nil
	}
	broken := 0
	err = db.run(ctx, func(c conn) error {
		broken = 0
		return c.query(ctx, func(scan func(...any) error) error {
			var text []byte
			err := scan(&text)
			if list := []string{}; json.Unmarshal(text, &list) != nil {
				broken++
			}
			return err
		}, `SELECT roles FROM {users} WHERE tenant = ? AND id > '' ORDER BY id LIMIT ?`, c.opts.Tenant, examined)
	})
	if broken > 0 {
		found = append(found, authkit.Finding{
			Code: "unreadable_roles", Severity: slog.LevelWarn,
			Text: fmt.Sprintf("%d of the first %d accounts have stored roles that are not a JSON list; they have no roles", broken, examined),
			Fix:  "set the roles of these accounts again",
		})
	}
	return found, err
}

// checkClock compares the clocks. SQLite has no other clock than the program's.
func (db *DB) checkClock(ctx context.Context) ([]authkit.Finding, error) {
	query := map[Dialect]string{
		Postgres: `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)`,
		MySQL:    `SELECT UNIX_TIMESTAMP() * 1000000`,
	}[db.d]
	if query == "" {
		return nil, nil
	}
	var skew time.Duration
	err := db.run(ctx, func(c conn) error {
		before := time.Now()
		return c.query(ctx, func(scan func(...any) error) error {
			var micros int64
			if err := scan(&micros); err != nil {
				return err
			}
			there, after := time.UnixMicro(micros), time.Now()
			switch { // the time that the query took is no skew
			case there.After(after):
				skew = there.Sub(after)
			case there.Before(before):
				skew = there.Sub(before)
			default:
				skew = 0
			}
			return nil
		}, query)
	})
	if err != nil || skew.Abs() <= maxSkew {
		return nil, err
	}
	return []authkit.Finding{{
		Code: "clock_skew", Severity: slog.LevelWarn,
		Text: fmt.Sprintf("the clock of the database is %v from the one here, so that one of the two is wrong", skew.Round(time.Second)),
		Fix:  "run NTP on both machines; the store itself goes by the clocks of the programs",
	}}, nil
}

// checkConnections looks at the settings of connections.
func (db *DB) checkConnections(ctx context.Context) ([]authkit.Finding, error) {
	switch db.d {
	case SQLite:
		return db.checkSQLite(ctx)
	case Postgres:
		return db.checkPostgres(ctx)
	}
	return db.checkMySQL(ctx)
}

// ask returns the first column of the first row of a query on a connection.
func ask[T any](ctx context.Context, on *sql.Conn, query string) (value T, err error) {
	err = on.QueryRowContext(ctx, query).Scan(&value)
	return value, err
}

// onTwo calls f with two connections at once, the second of which is nil if the
// pool has just one.
func (db *DB) onTwo(ctx context.Context, f func(one, two *sql.Conn) error) error {
	one, err := db.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = one.Close() }()
	if db.pool.Stats().MaxOpenConnections == 1 {
		return f(one, nil)
	}
	short, cancel := context.WithTimeout(ctx, 2*time.Second) // others may hold the rest of the pool
	defer cancel()
	two, err := db.pool.Conn(short)
	if err != nil {
		return f(one, nil)
	}
	defer func() { _ = two.Close() }()
	return f(one, two)
}

func (db *DB) checkSQLite(ctx context.Context) (found []authkit.Finding, err error) {
	err = db.onTwo(ctx, func(one, two *sql.Conn) error {
		timeout, err := ask[int](ctx, one, `PRAGMA busy_timeout`)
		if err != nil {
			return err
		}
		if timeout == 0 {
			found = append(found, authkit.Finding{
				Code: "no_busy_timeout", Severity: slog.LevelWarn,
				Text: "SQLite has no busy timeout, so a write fails while another program writes",
				Fix:  "open the address of sqlstore.ParseURL, or add _pragma=busy_timeout(5000)",
			})
		}
		if two == nil {
			return nil
		}
		const tables = `SELECT COUNT(*) FROM sqlite_master`
		file, err1 := ask[string](ctx, one, `SELECT file FROM pragma_database_list WHERE name = 'main'`)
		here, err2 := ask[int](ctx, one, tables)
		there, err3 := ask[int](ctx, two, tables)
		if file == "" && here != there {
			found = append(found, authkit.Finding{
				Code: "memory_per_connection", Severity: slog.LevelError,
				Text: "the database is in memory, and each connection of the pool has another one",
				Fix:  "call SetMaxOpenConns(1), or use a file",
			})
		}
		return errors.Join(err1, err2, err3)
	})
	return found, err
}

// checkPostgres checks the encoding of the database. It also detects a pooler in
// transaction mode: two connections have one backend.
func (db *DB) checkPostgres(ctx context.Context) (found []authkit.Finding, err error) {
	err = db.onTwo(ctx, func(one, two *sql.Conn) error {
		encoding, err := ask[string](ctx, one, `SELECT current_setting('server_encoding')`)
		if err != nil {
			return err
		}
		if encoding != "UTF8" {
			found = append(found, authkit.Finding{
				Code: "character_set", Severity: slog.LevelWarn,
				Text: fmt.Sprintf("the database has the encoding %q, which cannot hold all texts", encoding),
				Fix:  "move the tables to a database with ENCODING 'UTF8'",
			})
		}
		if two == nil {
			return nil
		}
		const backend = `SELECT pg_backend_pid()`
		here, err1 := ask[int](ctx, one, backend)
		there, err2 := ask[int](ctx, two, backend)
		if here == there && here != 0 {
			found = append(found, authkit.Finding{
				Code: "pooler_in_transaction_mode", Severity: slog.LevelInfo,
				Text: "connections share a backend of Postgres: a pooler such as PgBouncer is in transaction mode",
				Fix:  "keep prepared statements off, with default_query_exec_mode=exec in the address, unless the pooler keeps them",
			})
		}
		return errors.Join(err1, err2)
	})
	return found, err
}

func (db *DB) checkMySQL(ctx context.Context) (found []authkit.Finding, err error) {
	var charset, mode string
	err = db.run(ctx, func(c conn) error {
		return c.query(ctx, func(scan func(...any) error) error { return scan(&charset, &mode) },
			`SELECT @@character_set_client, @@sql_mode`)
	})
	if err != nil {
		return nil, err
	}
	if charset != "utf8mb4" {
		found = append(found, authkit.Finding{
			Code: "character_set", Severity: slog.LevelWarn,
			Text: fmt.Sprintf("the connections have the character set %q, which cannot hold all texts", charset),
			Fix:  "open the address of sqlstore.ParseURL, or add charset=utf8mb4",
		})
	}
	if !strings.Contains(mode, "STRICT_") {
		found = append(found, authkit.Finding{
			Code: "sql_mode", Severity: slog.LevelError,
			Text: "the server is not in strict mode, so it cuts texts that are too long",
			Fix:  "set sql_mode to a value with STRICT_TRANS_TABLES",
		})
	}
	return found, nil
}
