package integration_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"sync"
)

// A recorder is a driver.Connector that remembers the statements that go through it, with the
// arguments that they had last.
type recorder struct {
	db  *sql.DB // whose driver does the work
	dsn string

	mu   sync.Mutex
	seen map[string][]any
}

// record returns a pool on a database that another is open on, and what went through it.
func record(db *sql.DB, dsn string) (*sql.DB, *recorder) {
	r := &recorder{db: db, dsn: dsn, seen: make(map[string][]any)}
	return sql.OpenDB(r), r
}

// statements returns what was recorded, in the order of the texts.
func (r *recorder) statements() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var texts []string
	for text := range r.seen {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return texts
}

// Connect implements driver.Connector.
func (r *recorder) Connect(context.Context) (driver.Conn, error) {
	c, err := r.db.Driver().Open(r.dsn)
	return &recordedConn{c, r}, err
}

// Driver implements driver.Connector.
func (r *recorder) Driver() driver.Driver { return r.db.Driver() }

// A recordedConn goes the way of prepared statements, which all drivers have.
type recordedConn struct {
	driver.Conn
	r *recorder
}

func (c *recordedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &recordedStmt{stmt, c.r, query}, nil
}

func (c *recordedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

type recordedStmt struct {
	driver.Stmt
	r     *recorder
	query string
}

func (s *recordedStmt) note(args []driver.NamedValue) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	values := make([]any, len(args))
	for i := range args {
		values[i] = args[i].Value
	}
	s.r.seen[s.query] = values
}

func (s *recordedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.note(args)
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s *recordedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.note(args)
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}
