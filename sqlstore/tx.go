package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
)

// txKey is the key of the transaction of a pool in a context. A context can carry
// transactions of several pools.
type txKey struct{ pool *sql.DB }

// A transaction is one that a context carries. It is for one goroutine at a time.
type transaction struct {
	q    querier
	tx   *sql.Tx // nil for those that the store begins on SQLite
	host bool    // your program began it

	inHost bool // it is a savepoint in one of your program

	broken error    // why it must not be committed
	lost   error    // why the database has rolled it back, or may have
	missed []string // statements that were not prepared
}

var (
	errNilTx    = errors.New("the transaction is nil")
	errPanicked = errors.New("a function panicked")
)

// WithTx returns a context for calls that are to be part of tx, a transaction
// of your program on the pool that was passed to [Open]. Calls with this
// context join tx if they are calls of db, of another DB on that pool, or of a
// Kit on one of these. A DB on another pool ignores tx.
//
// Your program commits tx or rolls it back. Until then the context is for one
// goroutine at a time. Errors that the contracts of the stores name, such as
// [authkit.ErrEmailTaken], leave tx usable. So does a failed [DB.InTx], whose
// changes are undone. Nothing is tried again within tx: after a deadlock, roll
// tx back and repeat it.
func (db *DB) WithTx(ctx context.Context, tx *sql.Tx) context.Context {
	t := &transaction{q: tx, tx: tx, host: true}
	if tx == nil {
		t.lost = errNilTx
	}
	return context.WithValue(ctx, txKey{db.pool}, t)
}

// current returns the transaction that a context carries for the pool of db, or
// nil.
func (db *DB) current(ctx context.Context) *transaction {
	t, _ := ctx.Value(txKey{db.pool}).(*transaction)
	return t
}

// InTx implements [authkit.Transactor]. The transaction has the isolation level
// read committed. In SQLite it holds the write lock from the beginning, so that
// it never fails to get it later. Other writes of db wait there until f
// returns, so f must use only its own context.
//
// Within a transaction of [DB.WithTx], InTx is a savepoint: if f fails, its
// changes are undone, and the transaction stays usable.
func (db *DB) InTx(ctx context.Context, f func(ctx context.Context) error) (err error) {
	t := db.current(ctx)
	switch {
	case t == nil:
		return db.transact(ctx, sql.LevelReadCommitted, f)
	case t.host:
		return db.savepoint(ctx, t, f)
	}
	returned := false
	defer func() {
		if !returned && t.broken == nil {
			t.broken = errPanicked
		}
	}()
	err = f(ctx)
	returned = true
	if err != nil && t.broken == nil {
		t.broken = err
	}
	return err
}

// atomic runs statements that are one change. In a transaction of the store, an
// error that may have left half of them keeps it from being committed.
func (db *DB) atomic(ctx context.Context, level sql.IsolationLevel, do func(conn) error) error {
	in := func(ctx context.Context) error { return do(conn{db, db.current(ctx)}) }
	t := db.current(ctx)
	switch {
	case t == nil:
		return failure(db.transact(ctx, level, in))
	case t.host:
		return failure(db.savepoint(ctx, t, in))
	}
	err := in(ctx)
	if err != nil && t.broken == nil && !isRefusal(err) && !errors.Is(err, errSessionID) {
		t.broken = err
	}
	return failure(err)
}

// transact begins a transaction and calls f. It does so again after a deadlock.
func (db *DB) transact(ctx context.Context, level sql.IsolationLevel, f func(context.Context) error) error {
	return retry(ctx, func() (transient bool, err error) {
		unlock, err := db.lockWriter(ctx)
		if err != nil {
			return false, failure(err)
		}
		defer unlock()
		t, end, err := db.begin(ctx, level)
		if err != nil {
			return isTransient(err), failure(err)
		}
		ended := false
		defer func() {
			if !ended { // f panicked
				_ = end(false)
			}
		}()
		err = t.ended(f(context.WithValue(ctx, txKey{db.pool}, t)))
		ended = true
		if err != nil {
			_ = end(false)
			return t.lost != nil || isTransient(err), err
		}
		if err := end(true); err != nil {
			return isTransient(err), failure(err)
		}
		for _, query := range t.missed { // for the next time
			_, _ = db.prepare(ctx, query)
		}
		return false, nil
	})
}

// ended returns the error of a transaction whose function has returned err.
func (t *transaction) ended(err error) error {
	cause := t.lost
	if cause == nil {
		cause = t.broken
	}
	if err != nil || cause == nil {
		return err
	}
	return failure(fmt.Errorf("the transaction was rolled back, since a part of it failed: %w", cause))
}

// begin begins a transaction. The function that it returns ends it.
func (db *DB) begin(ctx context.Context, level sql.IsolationLevel) (t *transaction, end func(commit bool) error, err error) {
	if db.d == SQLite {
		return db.beginImmediate(ctx)
	}
	c, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	on, settled := settling(ctx) // so that a commit under way is waited for
	tx, err := c.BeginTx(on, &sql.TxOptions{Isolation: level})
	if err != nil {
		settled()
		_ = c.Close()
		return nil, nil, cancelled(ctx, err)
	}
	return &transaction{q: tx, tx: tx}, func(commit bool) error {
		defer func() { _ = c.Close() }()
		defer settled()
		err := ctx.Err()
		if commit && err == nil {
			return cancelled(ctx, tx.Commit())
		}
		return errors.Join(err, tx.Rollback())
	}, nil
}

// beginImmediate begins a transaction that can write, whatever the data source
// name says.
func (db *DB) beginImmediate(ctx context.Context) (t *transaction, end func(commit bool) error, err error) {
	c, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	after := context.WithoutCancel(ctx)
	end = func(commit bool) (err error) {
		defer func() { _ = c.Close() }()
		if commit {
			if err = ctx.Err(); err == nil {
				_, err = c.ExecContext(after, `COMMIT`)
			}
			if err == nil {
				return nil
			}
		}
		if _, rollbackErr := c.ExecContext(after, `ROLLBACK`); rollbackErr != nil && !strings.Contains(rollbackErr.Error(), "no transaction") {
			_ = c.Raw(func(any) error { return driver.ErrBadConn }) // it does not go back to the pool
		}
		return err
	}
	if _, err := c.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		_ = end(false)
		return nil, nil, err
	}
	return &transaction{q: c}, end, nil
}

// savepoint calls f within a transaction of your program, and undoes its
// changes if it fails.
func (db *DB) savepoint(ctx context.Context, host *transaction, f func(context.Context) error) (err error) {
	if host.lost != nil {
		return failure(host.lost)
	}
	const name = "authkit"
	if _, err := host.q.ExecContext(ctx, `SAVEPOINT `+name); err != nil {
		return failure(err)
	}
	t := &transaction{q: host.q, tx: host.tx, inHost: true}
	ended := false
	defer func() {
		if !ended { // f panicked
			_ = host.undo(ctx, name)
		}
	}()
	err = t.ended(f(context.WithValue(ctx, txKey{db.pool}, t)))
	ended = true
	host.lost = t.lost
	if err != nil {
		if t.lost == nil {
			if undoErr := host.undo(ctx, name); undoErr != nil {
				host.lost = undoErr
			}
		}
		return err
	}
	_, err = host.q.ExecContext(ctx, `RELEASE SAVEPOINT `+name)
	return failure(err)
}

// undo goes back to a savepoint and removes it.
func (t *transaction) undo(ctx context.Context, name string) error {
	ctx = context.WithoutCancel(ctx)
	for _, query := range []string{`ROLLBACK TO SAVEPOINT `, `RELEASE SAVEPOINT `} {
		if _, err := t.q.ExecContext(ctx, query+name); err != nil {
			return err
		}
	}
	return nil
}

// withSavepoint runs a statement that a rule of the schema may refuse. In a
// transaction of Postgres it needs a savepoint, since any error ends the
// transaction there.
func (c conn) withSavepoint(ctx context.Context, mayFail bool, do func() error) error {
	if c.t == nil || c.d != Postgres || !mayFail || c.t.lost != nil {
		return do()
	}
	const name = "authkit_guard"
	if _, err := c.t.q.ExecContext(ctx, `SAVEPOINT `+name); err != nil {
		return c.note(err)
	}
	err := do()
	if err == nil {
		_, err = c.t.q.ExecContext(ctx, `RELEASE SAVEPOINT `+name)
		return c.note(err)
	}
	if undoErr := c.note(c.t.undo(ctx, name)); undoErr != nil {
		return errors.Join(err, undoErr)
	}
	return err
}
