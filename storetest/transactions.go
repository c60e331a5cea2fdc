package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// A TransactorStore is a store for [TestTransactor]. If the parts of a store
// are separate values, embed them in a struct:
//
//	struct {
//		authkit.UserStore
//		authkit.SessionStore
//		authkit.TicketStore
//		authkit.Transactor
//	}{db.Users(), db.Sessions(), db.Tickets(), db}
type TransactorStore interface {
	authkit.UserStore
	authkit.SessionStore
	authkit.TicketStore
	authkit.Transactor
}

// TestTransactor tests an implementation of [authkit.Transactor] against the
// contract in the comment of that interface. The function open returns an empty
// store for one test. It may register a cleanup. Some subtests call it twice.
// They run in parallel, and use a store from several goroutines at once.
func TestTransactor(t *testing.T, open func(t *testing.T) TransactorStore) {
	for name, test := range map[string]func(*testing.T, TransactorStore){
		"Commit":                testCommit,
		"Rollback":              testRollback,
		"RollbackOfEveryMethod": testRollbackOfEveryMethod,
		"PanicRollsBack":        testPanicRollsBack,
		"NestedJoins":           testNestedJoins,
		"InnerFailureDooms":     testInnerFailureDooms,
		"SeesItsChanges":        testSeesItsChanges,
		"ErrorsLeaveItUsable":   testErrorsLeaveItUsable,
		"KeepsValues":           testKeepsValues,
		"CancelledContext":      testCancelledTransaction,
		"WriterOutside":         testWriterOutside,
		"RotationOutside":       testRotationOutside,
		"AttemptsOutside":       testAttemptsOutside,
		"NoLostUpdate":          testNoLostUpdate,
		"NoHalfIsLeft":          testNoHalfIsLeft,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
	t.Run("AnotherStore", func(t *testing.T) {
		t.Parallel()
		testAnotherStore(t, open(t), open(t))
	})
}

// errOfTest is an error of the function that runs in a transaction.
var errOfTest = errors.New("storetest: an error of the caller")

// inTx runs f in a transaction that must commit.
func inTx(t *testing.T, s authkit.Transactor, f func(ctx context.Context) error) {
	t.Helper()
	if err := s.InTx(t.Context(), f); err != nil {
		t.Fatalf("InTx: %v", err)
	}
}

// A world has the records of all three stores that the tests of transactions
// change: one of each that exists before, and one that does not.
type world struct {
	ada, bob      authkit.StoredUser
	first, second authkit.StoredSession
	link, code    authkit.Ticket
}

// newWorld returns a world and creates ada, first and link.
func newWorld(t *testing.T, s TransactorStore, n int) *world {
	t.Helper()
	w := &world{
		ada: newUser(2 * n), bob: newUser(2*n + 1), link: newTicket(2 * n), code: newTicket(2*n + 1),
		first: newSession(newUser(2*n).ID, 2*n), second: newSession(newUser(2*n).ID, 2*n+1),
	}
	w.code.Subject = w.link.Subject // code voids link
	create(t, s, w.ada)
	begin(t, s, w.first)
	put(t, s, w.link)
	return w
}

// change changes all three stores.
func (w *world) change(ctx context.Context, s TransactorStore) error {
	_, err := s.UpdateUser(ctx, w.ada.ID, authkit.UserUpdate{Email: new("new of " + w.ada.ID), Disabled: new(true)}, start)
	if err == nil {
		err = s.CreateUser(ctx, w.bob)
	}
	if err == nil {
		_, _, err = s.RotateSession(ctx, w.first.ID, newRotation(&w.first, "next", time.Minute))
	}
	if err == nil {
		err = s.CreateSession(ctx, w.second, unlimited)
	}
	if err == nil {
		err = s.PutTicket(ctx, w.code)
	}
	if err != nil {
		return fmt.Errorf("a change in the transaction: %w", err)
	}
	return nil
}

// changed checks that change has had its whole effect.
func (w *world) changed(t *testing.T, s TransactorStore) {
	t.Helper()
	ada := w.ada
	ada.Email, ada.Disabled, ada.UpdatedAt, ada.Version = "new of "+ada.ID, true, start, ada.Version+1
	same(t, find(t, s, ada.ID), ada)
	same(t, find(t, s, w.bob.ID), w.bob)
	_, err := s.UserByEmail(t.Context(), w.ada.Email)
	wantError(t, err, authkit.ErrUserNotFound)
	holds(t, s, newRotation(&w.first, "next", time.Minute).Apply(w.first), w.second)
	if hasTicket(t, s, w.link) {
		t.Fatal("the ticket that was voided is there")
	}
	attempt(t, s, &w.code)
}

// unchanged checks that change has had no effect, and does not block another
// change.
func (w *world) unchanged(t *testing.T, s TransactorStore) {
	t.Helper()
	same(t, find(t, s, w.ada.ID), w.ada)
	_, err := s.UserByEmail(t.Context(), "new of "+w.ada.ID)
	wantError(t, err, authkit.ErrUserNotFound)
	_, err = s.UserByID(t.Context(), w.bob.ID)
	wantError(t, err, authkit.ErrUserNotFound)
	_, err = s.UserByEmail(t.Context(), w.bob.Email)
	wantError(t, err, authkit.ErrUserNotFound)
	holds(t, s, w.first)
	_, err = s.SessionByID(t.Context(), w.second.ID)
	wantError(t, err, authkit.ErrSessionNotFound)
	wantListed(t, s, w.ada.ID, w.first.ID)
	attempt(t, s, &w.link)
	if hasTicket(t, s, w.code) {
		t.Fatal("a ticket of the transaction is there")
	}
	n, err := s.CountUsers(t.Context(), authkit.UserQuery{EmailPrefix: w.ada.Email})
	if err != nil || n != 1 {
		t.Fatalf("%d accounts have the e-mail %q (%v)", n, w.ada.Email, err)
	}
}

func testCommit(t *testing.T, s TransactorStore) {
	for n := range 3 {
		w := newWorld(t, s, n)
		inTx(t, s, func(ctx context.Context) error { return w.change(ctx, s) })
		w.changed(t, s)
	}
	inTx(t, s, func(context.Context) error { return nil })
}

// An errorType is an error to find with errors.As.
type errorType struct{ number int }

func (*errorType) Error() string { return "storetest: an error of a type" }

func testRollback(t *testing.T, s TransactorStore) {
	w := newWorld(t, s, 0)
	for _, want := range []error{
		errOfTest, &errorType{7}, authkit.ErrConflict, authkit.ErrUserNotFound, context.Canceled, fmt.Errorf("storetest: %w", authkit.ErrEmailTaken),
	} {
		for range 2 { // the first must not block the second
			got := s.InTx(t.Context(), func(ctx context.Context) error {
				if err := w.change(ctx, s); err != nil {
					t.Error(err)
				}
				return want
			})
			if got != want { //nolint:errorlint // unchanged is the promise
				t.Fatalf("InTx returned %v, want %v unchanged", got, want)
			}
			w.unchanged(t, s)
		}
	}
	inTx(t, s, func(ctx context.Context) error { return w.change(ctx, s) })
	w.changed(t, s)
}

// testRollbackOfEveryMethod rolls back each change separately, and then all
// together.
func testRollbackOfEveryMethod(t *testing.T, s TransactorStore) {
	late := start.Add(1000 * time.Hour)
	ada, admin := newUser(1), newAdmin(2)
	a, b, other := newSession(ada.ID, 1), newSession(ada.ID, 2), newSession("other", 3)
	k, void, more := newTicket(1), newTicket(2), newTicket(3)
	more.Kind, more.Subject = "email", k.Subject
	create(t, s, ada, admin)
	begin(t, s, a, b, other)
	put(t, s, k, void, more)
	if err := s.RevokeSessions(t.Context(), "gone", "", start); err != nil {
		t.Fatal(err)
	}
	methods := []struct {
		name string
		call func(ctx context.Context) error
	}{
		{"CreateUser", func(ctx context.Context) error { return s.CreateUser(ctx, newUser(9)) }},
		{"UpdateUser", func(ctx context.Context) error {
			_, err := s.UpdateUser(ctx, ada.ID, authkit.UserUpdate{
				Email: new("user9999@example.com"), FullName: new("No"), Roles: &[]string{"admin"}, Disabled: new(true), EmailVerifiedAt: &late,
				LockedUntil: &late, PasswordHash: new(authkit.PasswordHash("no")), TokensValidAfter: &wholeSecond, IfVersion: 1, KeepRole: "admin",
			}, late)
			return err
		}},
		{"RotateSession", func(ctx context.Context) error {
			_, _, err := s.RotateSession(ctx, a.ID, newRotation(&a, "next", time.Hour))
			return err
		}},
		{"CreateSession over the limit", func(ctx context.Context) error { return s.CreateSession(ctx, newSession(ada.ID, 9), 2) }},
		{"RevokeSession", func(ctx context.Context) error {
			_, err := s.RevokeSession(ctx, ada.ID, b.ID, start)
			return err
		}},
		{"AttemptTicket", func(ctx context.Context) error {
			_, err := s.AttemptTicket(ctx, k.Kind, k.ID, start)
			return err
		}},
		{"PutTicket", func(ctx context.Context) error {
			next := newTicket(9)
			next.Subject = void.Subject
			return s.PutTicket(ctx, next)
		}},
		{"ConsumeTicket", func(ctx context.Context) error { return s.ConsumeTicket(ctx, k.Kind, k.ID, start) }},
		{"DeleteTickets", func(ctx context.Context) error { return s.DeleteTickets(ctx, more.Subject) }},
		{"DeleteExpiredTickets", func(ctx context.Context) error {
			_, err := s.DeleteExpiredTickets(ctx, late, unlimited)
			return err
		}},
		{"RevokeSessions but one", func(ctx context.Context) error { return s.RevokeSessions(ctx, ada.ID, a.ID, start) }},
		{"RevokeSessions", func(ctx context.Context) error { return s.RevokeSessions(ctx, ada.ID, "", start) }},
		{"DeleteExpired", func(ctx context.Context) error {
			_, err := s.DeleteExpired(ctx, late, late, unlimited)
			return err
		}},
		{"DeleteUser", func(ctx context.Context) error { return s.DeleteUser(ctx, ada.ID, "admin") }},
	}
	roll := func(name string, f func(ctx context.Context) error) {
		t.Helper()
		err := s.InTx(t.Context(), func(ctx context.Context) error {
			if err := f(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return errOfTest
		})
		wantError(t, err, errOfTest)
		same(t, find(t, s, ada.ID), ada)
		same(t, find(t, s, admin.ID), admin)
		list, err := s.ListUsers(t.Context(), authkit.UserQuery{Limit: 10})
		if err != nil || len(list) != 2 || list[0].ID != ada.ID || list[1].ID != admin.ID {
			t.Fatalf("%s: the accounts are %+v (%v)", name, list, err)
		}
		holds(t, s, a, b, other)
		wantListed(t, s, ada.ID, b.ID, a.ID)
		wantRevocations(t, s, time.Time{}, authkit.Revocation{UserID: "gone", At: start})
		attempt(t, s, &k)
		attempt(t, s, &void)
		attempt(t, s, &more)
		if t.Failed() {
			t.Fatalf("after %s was rolled back", name)
		}
	}
	for _, m := range methods {
		roll(m.name, m.call)
	}
	roll("all", func(ctx context.Context) error {
		for _, m := range methods {
			if m.name == "ConsumeTicket" { // the following calls need the ticket
				continue
			}
			if err := m.call(ctx); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
		return nil
	})
	// A clean-up finds the records that the transactions had deleted.
	deleteExpired(t, s, late, late, unlimited, 4)
	deleteExpiredTickets(t, s, late, unlimited, 3)
	wantListed(t, s, ada.ID)
}

func testPanicRollsBack(t *testing.T, s TransactorStore) {
	w := newWorld(t, s, 0)
	for _, value := range []any{"a panic of the test", errOfTest, 7} {
		got := func() (got any) {
			defer func() { got = recover() }()
			err := s.InTx(t.Context(), func(ctx context.Context) error {
				if err := w.change(ctx, s); err != nil {
					t.Error(err)
				}
				panic(value)
			})
			t.Errorf("InTx returned %v, want a panic", err)
			return nil
		}()
		if got != value {
			t.Fatalf("recovered %v, want %v", got, value)
		}
		w.unchanged(t, s)
	}
	inTx(t, s, func(ctx context.Context) error { return w.change(ctx, s) })
	w.changed(t, s)
}

func testNestedJoins(t *testing.T, s TransactorStore) {
	w := newWorld(t, s, 0)
	outside := newUser(100)
	// nested makes all changes in the inner transaction, and reads in both.
	nested := func(outer error) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			if err := s.CreateUser(ctx, outside); err != nil {
				return err
			}
			err := s.InTx(ctx, func(ctx context.Context) error {
				if _, err := s.UserByID(ctx, outside.ID); err != nil {
					return fmt.Errorf("the inner does not see the outer: %w", err)
				}
				return s.InTx(context.WithValue(ctx, valueKey{}, "inner"), func(ctx context.Context) error { return w.change(ctx, s) })
			})
			if err != nil {
				return err
			}
			if _, err := s.SessionByID(ctx, w.second.ID); err != nil {
				return fmt.Errorf("the outer does not see the inner: %w", err)
			}
			return outer
		}
	}
	if err := s.InTx(t.Context(), nested(errOfTest)); err != errOfTest { //nolint:errorlint // unchanged is the promise
		t.Fatalf("InTx returned %v, want %v", err, errOfTest)
	}
	w.unchanged(t, s)
	_, err := s.UserByID(t.Context(), outside.ID)
	wantError(t, err, authkit.ErrUserNotFound)
	inTx(t, s, nested(nil))
	w.changed(t, s)
	same(t, find(t, s, outside.ID), outside)
}

// testInnerFailureDooms lets an inner transaction fail. The outer one ignores
// the error.
func testInnerFailureDooms(t *testing.T, s TransactorStore) {
	w := newWorld(t, s, 0)
	for _, inner := range []struct {
		name string
		fail func(ctx context.Context) error
	}{
		{"an error before a change", func(context.Context) error { return errOfTest }},
		{"an error after a change", func(ctx context.Context) error { return errors.Join(w.change(ctx, s), errOfTest) }},
		{"a sentinel", func(ctx context.Context) error {
			_, err := s.UserByID(ctx, "nobody")
			return err
		}},
		{"it panics", func(context.Context) error { panic(errOfTest) }},
		{"an error of the third", func(ctx context.Context) error {
			_ = s.InTx(ctx, func(context.Context) error { return errOfTest })
			return nil
		}},
	} {
		err := s.InTx(t.Context(), func(ctx context.Context) error {
			if _, err := s.UpdateUser(ctx, w.ada.ID, authkit.UserUpdate{FullName: new("No")}, start); err != nil {
				t.Error(err)
			}
			func() {
				defer func() { _ = recover() }()
				err := s.InTx(ctx, inner.fail)
				if inner.name == "an error before a change" && err != errOfTest { //nolint:errorlint // unchanged is the promise
					t.Errorf("the inner InTx returned %v, want %v", err, errOfTest)
				}
			}()
			return nil
		})
		if err == nil {
			t.Fatalf("%s: the outer transaction was committed", inner.name)
		}
		w.unchanged(t, s)
	}
	inTx(t, s, func(ctx context.Context) error { return w.change(ctx, s) })
	w.changed(t, s)
}

func testSeesItsChanges(t *testing.T, s TransactorStore) {
	w := newWorld(t, s, 0)
	inTx(t, s, func(ctx context.Context) error {
		if err := w.change(ctx, s); err != nil {
			return err
		}
		ada, err := s.UserByEmail(ctx, "new of "+w.ada.ID)
		if err != nil || !ada.Disabled || ada.Version != 2 {
			t.Errorf("UserByEmail: %+v (%v)", ada, err)
		}
		if byID, err := s.UserByID(ctx, w.ada.ID); err != nil || !equal(byID.User, ada.User) {
			t.Errorf("UserByID: %+v (%v), want %+v", byID, err, ada)
		}
		_, err = s.UserByEmail(ctx, w.ada.Email)
		wantErrorIn(t, err, authkit.ErrUserNotFound)
		list, err := s.ListUsers(ctx, authkit.UserQuery{Limit: 10})
		if err != nil || len(list) != 2 || !list[0].Disabled {
			t.Errorf("ListUsers: %+v (%v)", list, err)
		}
		if n, err := s.CountUsers(ctx, authkit.UserQuery{Disabled: new(true)}); err != nil || n != 1 {
			t.Errorf("CountUsers: %d (%v), want 1", n, err)
		}
		rotated := newRotation(&w.first, "next", time.Minute).Apply(w.first)
		if got, err := s.SessionByID(ctx, w.first.ID); err != nil || !equalStored(&got, &rotated) {
			t.Errorf("SessionByID: %s (%v), want %s", show(&got), err, show(&rotated))
		}
		sessions, err := s.SessionsByUser(ctx, w.ada.ID)
		if err != nil || len(sessions) != 2 {
			t.Errorf("SessionsByUser: %+v (%v), want 2", sessions, err)
		}
		if both, ok := s.(authkit.SessionUserStore); ok {
			got, user, err := both.SessionUser(ctx, w.first.ID)
			if err != nil || !equalStored(&got, &rotated) || !user.Disabled {
				t.Errorf("SessionUser: %s, %+v (%v)", show(&got), user, err)
			}
		}
		got, err := s.AttemptTicket(ctx, w.code.Kind, w.code.ID, start)
		if err != nil || got.Attempts != 1 {
			t.Errorf("AttemptTicket: %s (%v)", showTicket(&got), err)
		}
		w.code.Attempts = 1
		_, err = s.AttemptTicket(ctx, w.link.Kind, w.link.ID, start)
		wantErrorIn(t, err, authkit.ErrTicketNotFound)
		third := newSession(w.ada.ID, 3)
		if err := s.CreateSession(ctx, third, unlimited); err != nil {
			return err
		}
		if revoked, err := s.RevokeSession(ctx, w.ada.ID, third.ID, start); err != nil || !revoked {
			t.Errorf("RevokeSession: %v (%v)", revoked, err)
		}
		if list, err := s.Revocations(ctx, start); err != nil || len(list) != 1 {
			t.Errorf("Revocations: %+v (%v), want 1", list, err)
		}
		return nil
	})
	w.changed(t, s)
}

// wantErrorIn is wantError for a function that must not stop the test, because
// it runs in a transaction.
func wantErrorIn(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}
