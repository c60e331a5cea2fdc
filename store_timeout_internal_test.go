package authkit

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// A hungStore has all the methods of all stores. Each returns when its context ends.
type hungStore struct{}

func wait[T any](ctx context.Context) (v T, err error) {
	<-ctx.Done()
	return v, ctx.Err()
}

func waitError(ctx context.Context) error {
	_, err := wait[int](ctx)
	return err
}

func (hungStore) CreateUser(ctx context.Context, _ StoredUser) error { return waitError(ctx) }
func (hungStore) UserByID(ctx context.Context, _ string) (StoredUser, error) {
	return wait[StoredUser](ctx)
}
func (hungStore) UserByEmail(ctx context.Context, _ string) (StoredUser, error) {
	return wait[StoredUser](ctx)
}
func (hungStore) ListUsers(ctx context.Context, _ UserQuery) ([]User, error) {
	return wait[[]User](ctx)
}
func (hungStore) CountUsers(ctx context.Context, _ UserQuery) (int, error) { return wait[int](ctx) }
func (hungStore) UpdateUser(ctx context.Context, _ string, _ UserUpdate, _ time.Time) (User, error) {
	return wait[User](ctx)
}
func (hungStore) DeleteUser(ctx context.Context, _, _ string) error { return waitError(ctx) }
func (hungStore) CreateSession(ctx context.Context, _ StoredSession, _ int) error {
	return waitError(ctx)
}
func (hungStore) SessionByID(ctx context.Context, _ string) (StoredSession, error) {
	return wait[StoredSession](ctx)
}
func (hungStore) SessionsByUser(ctx context.Context, _ string) ([]Session, error) {
	return wait[[]Session](ctx)
}
func (hungStore) RotateSession(ctx context.Context, _ string, _ Rotation) (StoredSession, bool, error) {
	s, err := wait[StoredSession](ctx)
	return s, false, err
}
func (hungStore) RevokeSession(ctx context.Context, _, _ string, _ time.Time) (bool, error) {
	return wait[bool](ctx)
}
func (hungStore) RevokeSessions(ctx context.Context, _, _ string, _ time.Time) error {
	return waitError(ctx)
}
func (hungStore) Revocations(ctx context.Context, _ time.Time) ([]Revocation, error) {
	return wait[[]Revocation](ctx)
}
func (hungStore) DeleteExpired(ctx context.Context, _, _ time.Time, _ int) (int, error) {
	return wait[int](ctx)
}
func (hungStore) SessionUser(ctx context.Context, _ string) (StoredSession, StoredUser, error) {
	s, err := wait[StoredSession](ctx)
	return s, StoredUser{}, err
}
func (hungStore) PutTicket(ctx context.Context, _ Ticket) error { return waitError(ctx) }
func (hungStore) AttemptTicket(ctx context.Context, _, _ string, _ time.Time) (Ticket, error) {
	return wait[Ticket](ctx)
}
func (hungStore) ConsumeTicket(ctx context.Context, _, _ string, _ time.Time) error {
	return waitError(ctx)
}
func (hungStore) DeleteTickets(ctx context.Context, _ string) error { return waitError(ctx) }
func (hungStore) DeleteExpiredTickets(ctx context.Context, _ time.Time, _ int) (int, error) {
	return wait[int](ctx)
}
func (hungStore) CreateUsers(ctx context.Context, _ []StoredUser) error { return waitError(ctx) }
func (hungStore) InTx(ctx context.Context, _ func(context.Context) error) error {
	return waitError(ctx)
}

// FR-11: every method of every store runs under the timeout. The interfaces are walked, so that a
// method that is added to one of them is not forgotten.
func TestEveryStoreMethodHasATimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const timeout = 3 * time.Second
		kit, err := New(Config{
			Secret:       []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
			Users:        hungStore{},
			Sessions:     SessionConfig{Store: hungStore{}},
			StoreTimeout: timeout,
			Passwords:    PasswordConfig{Hasher: Bcrypt{Cost: 4, InsecureLowCost: true}},
			Logger:       slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		walked := 0
		for of, store := range map[reflect.Type]any{
			reflect.TypeFor[UserStore]():        kit.users,
			reflect.TypeFor[SessionStore]():     kit.sessions.store,
			reflect.TypeFor[TicketStore]():      kit.tickets,
			reflect.TypeFor[Transactor]():       kit.tx,
			reflect.TypeFor[UserBatchStore]():   kit.batch,
			reflect.TypeFor[SessionUserStore](): kit.joined,
		} {
			for i := range of.NumMethod() {
				name := of.Method(i).Name
				method := reflect.ValueOf(store).MethodByName(name)
				args := []reflect.Value{reflect.ValueOf(t.Context())}
				for j := 1; j < method.Type().NumIn(); j++ {
					args = append(args, reflect.Zero(method.Type().In(j)))
				}
				began := time.Now()
				results := method.Call(args)
				err, _ := results[len(results)-1].Interface().(error)
				if took := time.Since(began); took != timeout || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v.%s: %v after %v", of, name, err, took)
				}
				walked++
			}
		}
		if all := reflect.TypeFor[hungStore]().NumMethod(); walked != all {
			t.Errorf("walked %d methods of %d", walked, all)
		}
	})
}
