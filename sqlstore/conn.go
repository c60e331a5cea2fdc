package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// maxCached bounds how many statements a DB keeps, in case that a feature makes
// their texts from data.
const maxCached = 500

// A querier is a pool, a connection or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// A conn runs statements in a transaction, or each in its own if t is nil.
type conn struct {
	*DB
	t *transaction
}

// Exec runs a statement and returns how many rows it changed. In the text,
// {name} is a table with the prefix of [Options], and ? is an argument. In
// MySQL, a row whose new values equal the old ones does not count.
//
// Statements are cached by their texts, so use constant ones.
func (db *DB) Exec(ctx context.Context, query string, args ...any) (rows int64, err error) {
	err = db.run(ctx, func(c conn) (err error) {
		rows, err = c.exec(ctx, query, args...)
		return err
	})
	return rows, err
}

// Query runs a statement and calls each for every row, with a function like
// [sql.Rows.Scan]. If each returns an error, Query ends and returns that error.
// The text is like that of [DB.Exec]. The function each must not use the DB.
func (db *DB) Query(ctx context.Context, each func(scan func(...any) error) error, query string, args ...any) error {
	var stopped error
	began := false
	row := func(scan func(...any) error) error {
		began = true
		stopped = each(scan)
		return stopped
	}
	do := func(c conn) error { return c.query(ctx, row, query, args...) }
	var err error
	if t := db.current(ctx); t != nil {
		err = do(conn{db, t})
	} else {
		err = retry(ctx, func() (bool, error) {
			err := do(conn{db, nil})
			return isTransient(err) && !began, err // no row is passed on twice
		})
	}
	if stopped != nil {
		return stopped
	}
	return failure(err)
}

// run runs one statement, or several that need not be one change.
func (db *DB) run(ctx context.Context, do func(conn) error) error {
	if t := db.current(ctx); t != nil {
		return failure(do(conn{db, t}))
	}
	return failure(retry(ctx, func() (bool, error) {
		err := do(conn{db, nil})
		return isTransient(err), err
	}))
}

// retry calls do until it does not report that its error is transient, five
// times at most. A locked SQLite is tried for five seconds, since a connection
// without a busy timeout does not wait for the lock itself.
func retry(ctx context.Context, do func() (transient bool, err error)) error {
	const tries, patience = 5, 5 * time.Second
	begun := time.Now()
	for try := 1; ; try++ {
		transient, err := do()
		if err == nil || !transient || try >= tries && (!isLocked(err) || time.Since(begun) > patience) {
			return err
		}
		select {
		case <-time.After(time.Duration(min(try, tries)) * rand.N(20*time.Millisecond)):
		case <-ctx.Done():
			return err
		}
	}
}

// isTransient reports whether an error is a deadlock, a serialization failure
// or a locked database: nothing was changed, and the next try may succeed. No
// driver is imported, so errors are recognized by their methods or texts.
func isTransient(err error) bool {
	if err == nil {
		return false
	}
	if state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok { // pgx, lib/pq
		return state.SQLState() == "40001" || state.SQLState() == "40P01"
	}
	if isLocked(err) {
		return true
	}
	// go-sql-driver. MariaDB reports 1467 if a deadlock was over the next number of a row.
	text := err.Error()
	return strings.Contains(text, "Error 1213") || strings.Contains(text, "Error 1205") || strings.Contains(text, "Error 1467")
}

// isLocked reports whether an error means that another connection has locked an SQLite file.
func isLocked(err error) bool {
	if code, ok := errors.AsType[interface {
		error
		Code() int
	}](err); ok { // modernc.org/sqlite: SQLITE_BUSY and SQLITE_LOCKED, and their extended codes
		return code.Code()&0xff == 5 || code.Code()&0xff == 6
	}
	return strings.Contains(err.Error(), "database is locked") || strings.Contains(err.Error(), "database table is locked")
}

// A storeError is the error of a database.
type storeError struct{ err error }

func (e *storeError) Error() string { return "sqlstore: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// failure returns an error as callers see it.
func failure(err error) error {
	if err == nil || isRefusal(err) {
		return err
	}
	if isUnstorable(err) {
		return fmt.Errorf("sqlstore: %w: %w", authkit.ErrUnstorable, err)
	}
	if _, ok := err.(*storeError); ok {
		return err
	}
	return &storeError{err}
}

// unstorableMySQL are the errors of MySQL and MariaDB for a number that is out of range, a
// text of another character set in an expression, a text that its character set does not have,
// one that is too long, and one that cannot be converted.
var unstorableMySQL = []string{"Error 1264", "Error 1267", "Error 1300", "Error 1366", "Error 1406", "Error 3854"}

// isUnstorable reports whether an error means that the database cannot hold a value. Drivers
// are not imported; see isTransient.
func isUnstorable(err error) bool {
	if state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok { // too long, out of range, invalid bytes, and a letter that the encoding does not have
		return slices.Contains([]string{"22001", "22003", "22021", "22P05"}, state.SQLState())
	}
	if code, ok := errors.AsType[interface {
		error
		Code() int
	}](err); ok { // SQLITE_TOOBIG
		return code.Code()&0xff == 18
	}
	text := err.Error()
	return slices.ContainsFunc(unstorableMySQL, func(code string) bool {
		return strings.Contains(text, code+" (") || strings.Contains(text, code+":")
	})
}

// isRefusal reports whether an error is one that the contracts of the stores
// name.
func isRefusal(err error) bool {
	for _, refusal := range []error{
		authkit.ErrUserNotFound, authkit.ErrEmailTaken, authkit.ErrConflict, authkit.ErrLastAdmin,
		authkit.ErrSessionNotFound, authkit.ErrTicketNotFound, authkit.ErrUnstorable,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// q returns the pool, or the transaction.
func (c conn) q() querier {
	if c.t != nil {
		return c.t.q
	}
	return c.pool
}

// enter is called before a statement. A write to SQLite waits for its turn.
func (c conn) enter(ctx context.Context, query string) (leave func(), err error) {
	if c.t != nil {
		return func() {}, c.t.lost
	}
	if strings.HasPrefix(query, "SELECT") {
		return func() {}, nil
	}
	return c.lockWriter(ctx)
}

// lockWriter waits until no other call writes, in SQLite. Without the queue,
// connections that wait for the lock of the file starve each other.
func (db *DB) lockWriter(ctx context.Context) (unlock func(), err error) {
	if db.writer == nil {
		return func() {}, nil
	}
	select {
	case db.writer <- struct{}{}:
		return func() { <-db.writer }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// note is called with the error of a statement. It records that the transaction
// is over.
func (c conn) note(err error) error {
	if c.t != nil && isTransient(err) {
		c.t.lost = err
	}
	return err
}

// prepared returns a prepared statement, or nil if that gains nothing: drivers
// of Postgres keep prepared statements already. In a transaction it uses those
// that exist, since making one takes another connection.
func (c conn) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if c.d == Postgres || isDynamic(query) || c.t != nil && c.t.tx == nil {
		return nil, nil
	}
	stmt, ok := c.stmts.Load(query)
	switch {
	case c.t == nil && !ok:
		return c.prepare(ctx, query)
	case c.t == nil:
		return stmt.(*sql.Stmt), nil
	case !ok:
		c.t.missed = append(c.t.missed, query)
		return nil, nil
	}
	return c.t.tx.StmtContext(ctx, stmt.(*sql.Stmt)), nil
}

// prepare makes a prepared statement, which is closed with the pool.
func (db *DB) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if db.cached.Load() > maxCached {
		return nil, nil
	}
	stmt, err := db.pool.PrepareContext(ctx, conn{db, nil}.text(query))
	if err != nil {
		return nil, err
	}
	if first, loaded := db.stmts.LoadOrStore(query, stmt); loaded {
		_ = stmt.Close()
		return first.(*sql.Stmt), nil
	}
	return stmt, nil
}

// isDynamic reports whether there is one statement for each number of arguments.
func isDynamic(query string) bool {
	return strings.Contains(query, "IN (?") || strings.Contains(query, nextRow)
}

// text returns a statement as the database takes it.
func (c conn) text(query string) string {
	if text, ok := c.texts.Load(query); ok {
		return text.(string)
	}
	text := c.d.bind(c.tables.Replace(query))
	if !isDynamic(query) && c.cached.Add(1) <= maxCached {
		c.texts.Store(query, text)
	}
	return text
}

// result runs a statement without rows.
func (c conn) result(ctx context.Context, query string, args ...any) (sql.Result, error) {
	leave, err := c.enter(ctx, query)
	if err != nil {
		return nil, err
	}
	defer leave()
	stmt, err := c.prepared(ctx, query)
	if err != nil {
		return nil, c.note(err)
	}
	on, settled := c.settle(ctx)
	defer settled()
	var result sql.Result
	if stmt != nil {
		result, err = stmt.ExecContext(on, args...)
	} else {
		result, err = c.q().ExecContext(on, c.text(query), args...)
	}
	return result, c.note(cancelled(ctx, err))
}

// exec runs a statement, and returns how many rows it changed.
func (c conn) exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := c.result(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// query runs a statement, and calls row for each of its rows.
func (c conn) query(ctx context.Context, row func(scan func(...any) error) error, query string, args ...any) error {
	leave, err := c.enter(ctx, query)
	if err != nil {
		return err
	}
	defer leave()
	stmt, err := c.prepared(ctx, query)
	if err != nil {
		return c.note(err)
	}
	on := ctx
	if !strings.HasPrefix(query, "SELECT") {
		var settled func()
		on, settled = c.settle(ctx)
		defer settled()
	}
	var rows *sql.Rows
	if stmt != nil {
		rows, err = stmt.QueryContext(on, args...)
	} else {
		rows, err = c.q().QueryContext(on, c.text(query), args...)
	}
	if err != nil {
		return c.note(cancelled(ctx, err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return c.note(cancelled(ctx, err))
	}
	return c.note(rows.Close())
}

// settleTime is how long a change may go on after its context is done.
const settleTime = time.Second

// settle returns a context for a statement that changes something outside of a
// transaction. A server does not notice that its client gives up: the change
// would be made after the call has returned. So the statement may end first,
// for a while.
func (c conn) settle(ctx context.Context) (on context.Context, settled func()) {
	if c.t != nil || c.d == SQLite {
		return ctx, func() {}
	}
	return settling(ctx)
}

func settling(ctx context.Context) (on context.Context, settled func()) {
	if ctx.Done() == nil || ctx.Err() != nil {
		return ctx, func() {}
	}
	on, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(settleTime):
			cancel()
		case <-on.Done():
		}
	})
	return on, func() {
		stop()
		cancel()
	}
}

// cancelled returns an error with that of a context that is done.
func cancelled(ctx context.Context, err error) error {
	if ctx.Err() == nil || err == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return errors.Join(ctx.Err(), err)
}

// queryRow is query for one row. It returns missing if there is none.
func (c conn) queryRow(ctx context.Context, missing error, row func(scan func(...any) error) error, query string, args ...any) error {
	found := false
	err := c.query(ctx, func(scan func(...any) error) error {
		found = true
		return row(scan)
	}, query, args...)
	if err == nil && !found {
		return missing
	}
	return err
}

// micros returns a time as it is stored. The zero time is one too.
func micros(t time.Time) int64 { return t.UnixMicro() }

// fromMicros returns a time that was stored.
func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// unstorable returns the error for a key that no database has.
func unstorable(ctx context.Context, missing error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return missing
}
