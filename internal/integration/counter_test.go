package integration_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync/atomic"
)

// A counter is a driver.Connector that counts how often a program waits for its database:
// statements, begins and ends of transactions, and statements that are prepared.
type counter struct {
	db  *sql.DB // whose driver does the work
	dsn string

	// isolated is what a BEGIN with an isolation level costs: the driver of MySQL sets that
	// before it.
	isolated int64
	n        atomic.Int64
}

// count returns a pool of one connection to a database, and what it counts.
func count(db *sql.DB, dsn string, isolated int64) (*sql.DB, *counter) {
	c := &counter{db: db, dsn: dsn, isolated: isolated}
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(1)
	return pool, c
}

// Connect implements driver.Connector.
func (c *counter) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.db.Driver().Open(c.dsn)
	return &countedConn{conn, c}, err
}

// Driver implements driver.Connector.
func (c *counter) Driver() driver.Driver { return c.db.Driver() }

// add counts a round trip, unless the driver has refused and another way is gone.
func (c *counter) add(n int64, err error) {
	if !errors.Is(err, driver.ErrSkip) {
		c.n.Add(n)
	}
}

type countedConn struct {
	driver.Conn
	c *counter
}

func (c *countedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	r, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	c.c.add(1, err)
	return r, err
}

func (c *countedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	r, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
	c.c.add(1, err)
	return r, err
}

func (c *countedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	c.c.add(1, err)
	if err != nil {
		return nil, err
	}
	return &countedStmt{stmt, c.c}, nil
}

func (c *countedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	if opts.Isolation == 0 {
		c.c.add(1, err)
	} else {
		c.c.add(c.c.isolated, err)
	}
	return &countedTx{tx, c.c}, err
}

// CheckNamedValue implements driver.NamedValueChecker.
func (c *countedConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type countedTx struct {
	driver.Tx
	c *counter
}

func (t *countedTx) Commit() error {
	t.c.add(1, nil)
	return t.Tx.Commit()
}

func (t *countedTx) Rollback() error {
	t.c.add(1, nil)
	return t.Tx.Rollback()
}

type countedStmt struct {
	driver.Stmt
	c *counter
}

func (s *countedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.c.add(1, nil)
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s *countedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.c.add(1, nil)
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}
