package authkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A memoryTx is the running transaction of a [MemoryStore]. There is at most
// one. It changes the records in place, and keeps functions that undo the
// changes.
//
// A writer outside the transaction finds it after locking a part of the store.
// The writer then unlocks that part and waits for its turn. Without a
// transaction, a call only pays for one atomic load.
type memoryTx struct {
	undo    []func()
	touched []touchedShard
	after   []func() // of [AfterCommit]
	failed  error    // of a transaction that joined
}

// A touchedShard is a [shard] with records that the transaction has replaced.
type touchedShard interface {
	sync.Locker
	publish()
}

// onRollback adds a function that undoes a change. It runs when all later
// changes are undone. The locks of all parts are held then, but not those of
// shards.
func (tx *memoryTx) onRollback(f func()) { tx.undo = append(tx.undo, f) }

type memoryTxKey struct{ store *MemoryStore }

// anyMemoryTxKey is the context key of the innermost transaction of any MemoryStore.
type anyMemoryTxKey struct{}

// txOf returns the running transaction if ctx belongs to it, or nil.
func (m *MemoryStore) txOf(ctx context.Context) *memoryTx {
	running := m.tx.Load()
	if running == nil {
		return nil
	}
	if tx, _ := ctx.Value(memoryTxKey{m}).(*memoryTx); tx != running {
		return nil
	}
	return running
}

// A hold is the lock of a part of a [MemoryStore], for one call.
type hold struct {
	mu   *sync.Mutex
	tx   *memoryTx     // the transaction that the call is a part of, or nil
	turn chan struct{} // to be returned; nil if the call did not wait
}

// hold locks a part of the store: users, sessions or tickets. If another
// caller's transaction runs, it waits for its end.
func (m *MemoryStore) hold(ctx context.Context, mu *sync.Mutex) (hold, error) {
	if err := ctx.Err(); err != nil {
		return hold{}, err
	}
	mu.Lock()
	if m.tx.Load() == nil {
		return hold{mu: mu}, nil
	}
	if tx := m.txOf(ctx); tx != nil {
		return hold{mu: mu, tx: tx}, nil
	}
	mu.Unlock()
	if err := m.await(ctx); err != nil {
		return hold{}, err
	}
	mu.Lock()
	return hold{mu: mu, turn: m.turn}, nil
}

func (h hold) release() {
	h.mu.Unlock()
	if h.turn != nil {
		<-h.turn
	}
}

// await waits for the turn of the caller. Until it receives from m.turn again,
// no other transaction runs. Turns are in the order of arrival.
func (m *MemoryStore) await(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// InTx implements [Transactor]. Transactions run one after the other. With other contexts,
// look-ups by ID or e-mail return the record that was committed last. All other calls wait
// until the transaction ends, or return an error when their contexts do.
func (m *MemoryStore) InTx(ctx context.Context, f func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if tx := m.txOf(ctx); tx != nil {
		return tx.join(ctx, f)
	}
	if err := m.await(ctx); err != nil {
		return err
	}
	defer func() { <-m.turn }()
	tx := new(memoryTx)
	m.tx.Store(tx)
	// Calls that have not seen tx hold one of these locks until they are done.
	// A rotation holds that of a shard instead, which every access to its
	// session also locks.
	m.lockAll()
	m.unlockAll()
	committed := false
	defer func() { m.end(tx, committed) }()
	inner := context.WithValue(context.WithValue(ctx, anyMemoryTxKey{}, tx), memoryTxKey{m}, tx)
	if err := f(inner); err != nil {
		return err
	}
	if tx.failed != nil {
		return fmt.Errorf("authkit: MemoryStore: rolled back, as a part of the transaction failed: %w", tx.failed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	committed = true
	return nil
}

// join runs f as a part of the transaction.
func (tx *memoryTx) join(ctx context.Context, f func(ctx context.Context) error) (err error) {
	err = errors.New("a panic")
	defer func() {
		if tx.failed == nil {
			tx.failed = err
		}
	}()
	err = f(ctx)
	return err
}

// end ends the transaction. Readers see all of it at the same moment, or none
// of it.
func (m *MemoryStore) end(tx *memoryTx, commit bool) {
	m.lockAll()
	defer m.unlockAll()
	if !commit {
		for i := len(tx.undo) - 1; i >= 0; i-- {
			tx.undo[i]()
		}
	}
	for _, sh := range tx.touched {
		sh.Lock()
	}
	if commit {
		for _, f := range tx.after {
			f()
		}
	}
	m.tx.Store(nil)
	for _, sh := range tx.touched {
		sh.publish()
	}
	for _, sh := range tx.touched {
		sh.Unlock()
	}
}

// lockAll locks all parts of the store. All other code locks at most one part.
func (m *MemoryStore) lockAll() {
	m.mu.Lock()
	m.sessions.mu.Lock()
	m.tickets.mu.Lock()
}

func (m *MemoryStore) unlockAll() {
	m.tickets.mu.Unlock()
	m.sessions.mu.Unlock()
	m.mu.Unlock()
}
