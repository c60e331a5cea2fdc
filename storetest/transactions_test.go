package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
)

// brokenTx is a MemoryStore with one or two methods replaced.
type brokenTx struct {
	*authkit.MemoryStore
	inTx    func(ctx context.Context, f func(ctx context.Context) error) error
	create  func(ctx context.Context, u authkit.StoredUser) error
	byID    func(ctx context.Context, id string) (authkit.StoredUser, error)
	update  func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error)
	rotate  func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error)
	attempt func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error)
}

func (b *brokenTx) InTx(ctx context.Context, f func(ctx context.Context) error) error {
	if b.inTx != nil {
		return b.inTx(ctx, f)
	}
	return b.MemoryStore.InTx(ctx, f)
}

func (b *brokenTx) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	if b.create != nil {
		return b.create(ctx, u)
	}
	return b.MemoryStore.CreateUser(ctx, u)
}

func (b *brokenTx) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	if b.byID != nil {
		return b.byID(ctx, id)
	}
	return b.MemoryStore.UserByID(ctx, id)
}

func (b *brokenTx) UpdateUser(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if b.update != nil {
		return b.update(ctx, id, c, at)
	}
	return b.MemoryStore.UpdateUser(ctx, id, c, at)
}

func (b *brokenTx) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	if b.rotate != nil {
		return b.rotate(ctx, id, r)
	}
	return b.MemoryStore.RotateSession(ctx, id, r)
}

func (b *brokenTx) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	if b.attempt != nil {
		return b.attempt(ctx, kind, id, at)
	}
	return b.MemoryStore.AttemptTicket(ctx, kind, id, at)
}

// markKey is the context key of a transaction of a mutant.
type markKey struct{}

// marked reports whether a context is that of a transaction of a mutant.
func marked(ctx context.Context) bool { return ctx.Value(markKey{}) != nil }

// marking makes the store mark the contexts of its transactions and count those that run.
func marking(b *brokenTx, m *authkit.MemoryStore) *atomic.Int32 {
	running := new(atomic.Int32)
	b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
		return m.InTx(ctx, func(ctx context.Context) error {
			running.Add(1)
			defer running.Add(-1)
			roundTrip()
			return f(context.WithValue(ctx, markKey{}, true))
		})
	}
	return running
}

// valuesOf is a context with the values of another one.
type valuesOf struct {
	context.Context
	values context.Context
}

func (c valuesOf) Value(key any) any { return c.values.Value(key) }

// errUndo rolls a transaction back.
var errUndo = errors.New("undo")

// txMutants each break one promise of authkit.Transactor.
var txMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenTx, m *authkit.MemoryStore)
}{
	"has no transactions": {"Rollback", func(b *brokenTx, _ *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error { return f(ctx) }
	}},
	"forgets to commit": {"Commit", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			_ = m.InTx(ctx, func(ctx context.Context) error { return errors.Join(f(ctx), errUndo) })
			return nil
		}
	}},
	"wraps the error": {"Rollback", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			if err := m.InTx(ctx, f); err != nil {
				return fmt.Errorf("rolled back: %w", err)
			}
			return nil
		}
	}},
	"commits some errors": {"Rollback", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) (err error) {
			return errors.Join(m.InTx(ctx, func(ctx context.Context) error {
				if err = f(ctx); errors.Is(err, authkit.ErrConflict) {
					return nil
				}
				return err
			}), err)
		}
	}},
	"accounts are no part of it": {"RollbackOfEveryMethod", func(b *brokenTx, m *authkit.MemoryStore) {
		var mu sync.Mutex
		var created []authkit.StoredUser
		b.create = func(ctx context.Context, u authkit.StoredUser) error {
			mu.Lock()
			defer mu.Unlock()
			created = append(created, u)
			return m.CreateUser(ctx, u)
		}
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			err := m.InTx(ctx, f)
			mu.Lock()
			defer mu.Unlock()
			for _, u := range created {
				_ = m.CreateUser(ctx, u)
			}
			return err
		}
	}},
	"a panic is an error": {"PanicRollsBack", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = fmt.Errorf("recovered: %v", v)
				}
			}()
			return m.InTx(ctx, f)
		}
	}},
	"a panic commits": {"PanicRollsBack", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			var value any
			err := m.InTx(ctx, func(ctx context.Context) (err error) {
				defer func() { value = recover() }()
				return f(ctx)
			})
			if value != nil {
				panic(value)
			}
			return err
		}
	}},
	"knows no transaction within": {"NestedJoins", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			if marked(ctx) {
				return errors.New("a transaction runs already")
			}
			return m.InTx(context.WithValue(ctx, markKey{}, true), f)
		}
	}},
	"the inner one fails alone": {"InnerFailureDooms", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			if marked(ctx) {
				return f(ctx)
			}
			return m.InTx(context.WithValue(ctx, markKey{}, true), f)
		}
	}},
	"a panic within dooms nothing": {"InnerFailureDooms", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			if !marked(ctx) {
				return m.InTx(context.WithValue(ctx, markKey{}, true), f)
			}
			if err := f(ctx); err != nil {
				return m.InTx(ctx, func(context.Context) error { return err })
			}
			return nil
		}
	}},
	"reads what is committed": {"SeesItsChanges", func(b *brokenTx, m *authkit.MemoryStore) {
		b.byID = func(_ context.Context, id string) (authkit.StoredUser, error) {
			return m.UserByID(context.Background(), id)
		}
	}},
	"a failed call dooms it": {"ErrorsLeaveItUsable", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			var failed error
			return m.InTx(context.WithValue(ctx, markKey{}, &failed), func(ctx context.Context) error { return errors.Join(f(ctx), failed) })
		}
		b.create = func(ctx context.Context, u authkit.StoredUser) error {
			err := m.CreateUser(ctx, u)
			if failed, ok := ctx.Value(markKey{}).(*error); ok && err != nil {
				*failed = errors.New("current transaction is aborted")
			}
			return err
		}
	}},
	"loses the values": {"KeepsValues", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(_ context.Context, f func(ctx context.Context) error) error {
			return m.InTx(context.Background(), f)
		}
	}},
	"ignores the context": {"CancelledContext", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			return m.InTx(context.WithoutCancel(ctx), f)
		}
	}},
	"leaves half of one that is cancelled": {"CancelledContext", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := m.InTx(context.WithoutCancel(ctx), func(tx context.Context) error { return f(valuesOf{ctx, tx}) })
			if err == nil && ctx.Err() != nil {
				_ = m.DeleteUser(context.Background(), "id-000003", "")
				return ctx.Err()
			}
			return err
		}
	}},
	"a rollback writes back what it has read": {"WriterOutside", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			before, _ := m.ListUsers(ctx, authkit.UserQuery{Limit: 100})
			err := f(ctx)
			if err != nil {
				for _, u := range before {
					_, _ = m.UpdateUser(ctx, u.ID, authkit.UserUpdate{FullName: &u.FullName, Roles: &u.Roles}, u.UpdatedAt)
				}
			}
			return err
		}
	}},
	"forgets rotations beside it": {"RotationOutside", func(b *brokenTx, m *authkit.MemoryStore) {
		running := marking(b, m)
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			if s, err := m.SessionByID(ctx, id); err == nil && running.Load() > 0 && !marked(ctx) {
				return r.Apply(s), true, nil
			}
			return m.RotateSession(ctx, id, r)
		}
	}},
	"forgets attempts beside it": {"AttemptsOutside", func(b *brokenTx, m *authkit.MemoryStore) {
		running := marking(b, m)
		b.attempt = func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
			if running.Load() > 0 && !marked(ctx) {
				return authkit.Ticket{Kind: kind, ID: id}, nil
			}
			return m.AttemptTicket(ctx, kind, id, at)
		}
	}},
	"no version holds": {"NoLostUpdate", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			before, _ := m.UserByID(ctx, "id-000001")
			err := f(ctx)
			if err != nil {
				_, _ = m.UpdateUser(ctx, before.ID, authkit.UserUpdate{FullName: &before.FullName}, before.UpdatedAt)
			}
			return err
		}
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			roundTrip()
			return versionless{m}.UpdateUser(ctx, id, c, at)
		}
	}},
	"keeps accounts of a transaction that failed": {"NoHalfIsLeft", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			var created []authkit.StoredUser
			err := m.InTx(context.WithValue(ctx, markKey{}, &created), f)
			if err != nil {
				for _, u := range created {
					_ = m.CreateUser(ctx, u)
				}
			}
			return err
		}
		b.create = func(ctx context.Context, u authkit.StoredUser) error {
			if created, ok := ctx.Value(markKey{}).(*[]authkit.StoredUser); ok {
				*created = append(*created, u)
			}
			return m.CreateUser(ctx, u)
		}
	}},
	"joins the transaction of another store": {"AnotherStore", func(b *brokenTx, m *authkit.MemoryStore) {
		b.inTx = func(ctx context.Context, f func(ctx context.Context) error) error {
			if marked(ctx) {
				return f(ctx)
			}
			return m.InTx(context.WithValue(ctx, markKey{}, true), f)
		}
	}},
}

// TestTransactorSuiteFails runs the suite on every one of txMutants, as TestSuiteFails does.
func TestTransactorSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range txMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestTransactorSuiteFails", caught, func(name string) {
		storetest.TestTransactor(t, func(*testing.T) storetest.TransactorStore {
			b := &brokenTx{MemoryStore: authkit.NewMemoryStore()}
			txMutants[name].breakIt(b, b.MemoryStore)
			return b
		})
	})
}
