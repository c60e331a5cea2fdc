package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/sqlstore"
)

// A script is a database whose answers a test writes. It shows each statement
// without a server, and fails where servers rarely do.
type script struct {
	// answer returns what a statement does. The statements of a transaction are
	// BEGIN, COMMIT and ROLLBACK. CONNECT and PREPARE are asked about, too. A nil
	// function changes one row each time.
	answer func(ctx context.Context, query string, args []any) reply

	mu   sync.Mutex
	log  []string
	last context.Context // of the last statement
}

// A reply is what a statement does.
type reply struct {
	rows    [][]any
	changed int64
	id      int64 // of the row that was inserted last
	err     error
	late    error // after the rows
}

// open returns a DB on the script.
func (s *script) open(t testing.TB, d sqlstore.Dialect, opts *sqlstore.Options) *sqlstore.DB {
	t.Helper()
	db, _ := s.openPool(t, d, opts)
	return db
}

func (s *script) openPool(t testing.TB, d sqlstore.Dialect, opts *sqlstore.Options) (*sqlstore.DB, *sql.DB) {
	t.Helper()
	pool := sql.OpenDB(s)
	t.Cleanup(func() { _ = pool.Close() })
	db, err := sqlstore.Open(pool, d, opts)
	require.NoError(t, err)
	return db, pool
}

// statements returns what the database was asked since the last call.
func (s *script) statements() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

// lastContext returns the context of the last statement.
func (s *script) lastContext() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *script) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, text)
}

// ask records a statement and returns its reply.
func (s *script) ask(ctx context.Context, how, query string, args []driver.NamedValue) reply {
	query = strings.Join(strings.Fields(query), " ")
	s.mu.Lock()
	s.log = append(s.log, how+query)
	s.last = ctx
	s.mu.Unlock()
	if how != "" && how != "EXECUTE " {
		query = how + query
	}
	if s.answer == nil {
		return reply{changed: 1}
	}
	values := make([]any, 0, len(args))
	for _, arg := range args {
		values = append(values, arg.Value)
	}
	return s.answer(ctx, query, values)
}

// Connect implements driver.Connector.
func (s *script) Connect(ctx context.Context) (driver.Conn, error) {
	if s.answer != nil {
		if err := s.answer(ctx, "CONNECT", nil).err; err != nil {
			return nil, err
		}
	}
	return &scriptConn{s}, nil
}

// Driver implements driver.Connector.
func (s *script) Driver() driver.Driver { return nil }

type scriptConn struct{ s *script }

func (c *scriptConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *scriptConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.s.ask(ctx, "PREPARE ", query, nil).err; err != nil {
		return nil, err
	}
	return scriptStmt{c, query}, nil
}

func (c *scriptConn) Close() error {
	c.s.note("DISCONNECT")
	return nil
}

func (c *scriptConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

func (c *scriptConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	query := "BEGIN"
	if level := sql.IsolationLevel(opts.Isolation); level != sql.LevelDefault {
		query += " " + strings.ToUpper(level.String())
	}
	return scriptTx{c}, c.s.ask(ctx, "", query, nil).err
}

func (c *scriptConn) run(ctx context.Context, how, query string, args []driver.NamedValue) (driver.Rows, driver.Result, error) {
	r := c.s.ask(ctx, how, query, args)
	if r.err != nil {
		return nil, nil, r.err
	}
	return &scriptRows{r: r}, scriptResult(r), nil
}

func (c *scriptConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	_, result, err := c.run(ctx, "", query, args)
	return result, err
}

func (c *scriptConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, _, err := c.run(ctx, "", query, args)
	return rows, err
}

type scriptTx struct{ c *scriptConn }

func (t scriptTx) Commit() error { return t.c.s.ask(context.Background(), "", "COMMIT", nil).err }
func (t scriptTx) Rollback() error {
	return t.c.s.ask(context.Background(), "", "ROLLBACK", nil).err
}

type scriptStmt struct {
	c     *scriptConn
	query string
}

func (s scriptStmt) Close() error {
	s.c.s.note("CLOSE " + s.query)
	return nil
}
func (s scriptStmt) NumInput() int                              { return -1 }
func (s scriptStmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (s scriptStmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func (s scriptStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	_, result, err := s.c.run(ctx, "EXECUTE ", s.query, args)
	return result, err
}

func (s scriptStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, _, err := s.c.run(ctx, "EXECUTE ", s.query, args)
	return rows, err
}

type scriptResult reply

func (r scriptResult) LastInsertId() (int64, error) { return r.id, nil }
func (r scriptResult) RowsAffected() (int64, error) { return r.changed, nil }

type scriptRows struct {
	r    reply
	next int
}

func (r *scriptRows) Columns() (names []string) {
	if len(r.r.rows) > 0 {
		for i := range r.r.rows[0] {
			names = append(names, fmt.Sprint("column", i))
		}
	}
	return names
}

func (r *scriptRows) Close() error { return nil }

func (r *scriptRows) Next(to []driver.Value) error {
	if r.next == len(r.r.rows) {
		if r.r.late != nil {
			return r.r.late
		}
		return io.EOF
	}
	for i, value := range r.r.rows[r.next] {
		to[i] = value
	}
	r.next++
	return nil
}

// failing returns an answer that fails for statements that begin with a text.
func failing(prefix string, err error) func(context.Context, string, []any) reply {
	return func(_ context.Context, query string, _ []any) reply {
		if strings.HasPrefix(query, prefix) {
			return reply{err: err}
		}
		return reply{changed: 1}
	}
}

// A sqlState is an error of a driver of Postgres.
type sqlState string

func (e sqlState) Error() string    { return "Error 1213 (40001), Error 1406:" }
func (e sqlState) SQLState() string { return string(e) }

// A sqliteCode is an error of the driver of SQLite.
type sqliteCode int

func (e sqliteCode) Error() string { return "database is locked, Error 1406:" }
func (e sqliteCode) Code() int     { return int(e) }

// count returns how many texts begin with another.
func count(texts []string, prefix string) (n int) {
	for _, text := range texts {
		if strings.HasPrefix(text, prefix) {
			n++
		}
	}
	return n
}
