package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
)

// A querier is a database, or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// work is what statements run on. In their texts {name} is a table, and ? an argument.
type work struct {
	*Store
	q querier
}

// single runs what is one statement, or several that need not see the same.
func (s *Store) single(ctx context.Context, do func(work) error) error {
	if s.tx != nil {
		return failure(do(work{s, s.tx}))
	}
	return failure(again(ctx, func() error { return do(work{s, s.db}) }))
}

// together runs what is one change, in a transaction. The first statement writes: SQLite
// then waits for its turn, where a reader that turns into a writer could only fail.
func (s *Store) together(ctx context.Context, do func(work) error) error {
	if s.tx != nil {
		return failure(do(work{s, s.tx}))
	}
	opts := &sql.TxOptions{Isolation: sql.LevelReadCommitted} // in MySQL, without locks on gaps
	if s.d == SQLite {
		opts = nil
	}
	return failure(again(ctx, func() error {
		tx, err := s.db.BeginTx(ctx, opts)
		if err != nil {
			return err
		}
		if err := do(work{s, tx}); err != nil {
			_ = tx.Rollback()
			return err
		}
		return tx.Commit()
	}))
}

// again runs what the database may want tried again, five times at most.
func again(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || try == 5 || !passing(err) {
			return err
		}
		select {
		case <-time.After(time.Duration(try) * rand.N(20*time.Millisecond)):
		case <-ctx.Done():
			return err
		}
	}
}

// passing reports whether an error is that of a deadlock, of a transaction that lost to
// another, or of a database that is locked: nothing was changed, and it may go well the next
// time. No driver is imported, so an error is known by what it can do or says.
func passing(err error) bool {
	if state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok { // pgx, lib/pq
		return state.SQLState() == "40001" || state.SQLState() == "40P01"
	}
	if code, ok := errors.AsType[interface {
		error
		Code() int
	}](err); ok { // modernc.org/sqlite: SQLITE_BUSY and SQLITE_LOCKED, and what they are extended to
		return code.Code()&0xff == 5 || code.Code()&0xff == 6
	}
	text := err.Error()
	return strings.Contains(text, "Error 1213") || strings.Contains(text, "Error 1205") || // go-sql-driver
		strings.Contains(text, "database is locked") || strings.Contains(text, "database table is locked")
}

// failure returns an error as callers see it.
func failure(err error) error {
	if err == nil || errors.Is(err, authkit.ErrUserNotFound) || errors.Is(err, authkit.ErrSessionNotFound) || errors.Is(err, audit.ErrConflict) {
		return err
	}
	return fmt.Errorf("sqlstore: %w", err)
}

// prepared returns a statement to run on the database itself, or nil where that gains nothing:
// drivers of Postgres keep prepared statements by themselves. There are as many as the methods
// have, and the database closes them with itself.
func (w work) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if w.d == Postgres || w.q != querier(w.db) || strings.Contains(query, "IN (?") {
		return nil, nil
	}
	if stmt, ok := w.cache.Load(query); ok {
		return stmt.(*sql.Stmt), nil
	}
	stmt, err := w.db.PrepareContext(ctx, w.text(query))
	if err != nil {
		return nil, err
	}
	if first, loaded := w.cache.LoadOrStore(query, stmt); loaded {
		_ = stmt.Close()
		return first.(*sql.Stmt), nil
	}
	return stmt, nil
}

// text returns a statement as the database takes it.
func (w work) text(query string) string {
	if text, ok := w.texts.Load(query); ok {
		return text.(string)
	}
	text := w.d.bind(w.tables.Replace(query))
	if !strings.Contains(query, "IN (?") { // of which there is one for each number of arguments
		w.texts.Store(query, text)
	}
	return text
}

// exec runs a statement, and returns how many rows it changed. In MySQL a row that is set to
// what it was counts as none.
func (w work) exec(ctx context.Context, query string, args ...any) (int64, error) {
	stmt, err := w.prepared(ctx, query)
	if err != nil {
		return 0, err
	}
	var result sql.Result
	if stmt != nil {
		result, err = stmt.ExecContext(ctx, args...)
	} else {
		result, err = w.q.ExecContext(ctx, w.text(query), args...)
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// query runs a statement, and calls row for each of its rows.
func (w work) query(ctx context.Context, row func(scan func(...any) error) error, query string, args ...any) error {
	stmt, err := w.prepared(ctx, query)
	if err != nil {
		return err
	}
	var rows *sql.Rows
	if stmt != nil {
		rows, err = stmt.QueryContext(ctx, args...)
	} else {
		rows, err = w.q.QueryContext(ctx, w.text(query), args...)
	}
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return rows.Close()
}

// one is query for a row that may not be there: missing is the error then.
func (w work) one(ctx context.Context, missing error, row func(scan func(...any) error) error, query string, args ...any) error {
	found := false
	err := w.query(ctx, func(scan func(...any) error) error {
		found = true
		return row(scan)
	}, query, args...)
	if err == nil && !found {
		return missing
	}
	return err
}

// guarded runs what may fail by a rule of the schema, and leaves a transaction of the host's as it
// was then: in Postgres it could only be rolled back otherwise.
func (w work) guarded(ctx context.Context, mayFail bool, do func() error) error {
	if w.tx == nil || !mayFail {
		return do()
	}
	if _, err := w.tx.ExecContext(ctx, `SAVEPOINT authkit`); err != nil {
		return err
	}
	err := do()
	end := `RELEASE SAVEPOINT authkit`
	if err != nil {
		end = `ROLLBACK TO SAVEPOINT authkit`
	}
	_, endErr := w.tx.ExecContext(context.WithoutCancel(ctx), end)
	return errors.Join(err, endErr)
}

// micros returns a time as it is stored. The zero time is one too.
func micros(t time.Time) int64 { return t.UnixMicro() }

// fromMicros returns a time that was stored.
func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// unstorable returns the error for what no database has.
func unstorable(ctx context.Context, missing error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return missing
}
