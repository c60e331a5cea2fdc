package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// testErrorsLeaveItUsable makes every call that can fail with a sentinel,
// continues, and commits.
func testErrorsLeaveItUsable(t *testing.T, s TransactorStore) {
	w := newWorld(t, s, 0)
	admin := newAdmin(50)
	create(t, s, admin)
	inTx(t, s, func(ctx context.Context) error {
		taken := newUser(60)
		taken.Email = w.ada.Email
		wantErrorIn(t, s.CreateUser(ctx, taken), authkit.ErrEmailTaken)
		_, err := s.UpdateUser(ctx, admin.ID, authkit.UserUpdate{Email: &w.ada.Email, FullName: new("No")}, start)
		wantErrorIn(t, err, authkit.ErrEmailTaken)
		_, err = s.UpdateUser(ctx, admin.ID, authkit.UserUpdate{FullName: new("No"), IfVersion: 7}, start)
		wantErrorIn(t, err, authkit.ErrConflict)
		_, err = s.UpdateUser(ctx, admin.ID, keepAdmin(demote), start)
		wantErrorIn(t, err, authkit.ErrLastAdmin)
		wantErrorIn(t, s.DeleteUser(ctx, admin.ID, "admin"), authkit.ErrLastAdmin)
		wantErrorIn(t, s.DeleteUser(ctx, "nobody", ""), authkit.ErrUserNotFound)
		_, err = s.UpdateUser(ctx, "nobody", authkit.UserUpdate{}, start)
		wantErrorIn(t, err, authkit.ErrUserNotFound)
		_, err = s.UserByID(ctx, "nobody\x00")
		wantErrorIn(t, err, authkit.ErrUserNotFound)
		_, err = s.SessionByID(ctx, "nothing\x00")
		wantErrorIn(t, err, authkit.ErrSessionNotFound)
		_, _, err = s.RotateSession(ctx, "nothing", newRotation(&w.first, "no", time.Minute))
		wantErrorIn(t, err, authkit.ErrSessionNotFound)
		_, err = s.AttemptTicket(ctx, "login", "nothing\xff", start)
		wantErrorIn(t, err, authkit.ErrTicketNotFound)
		wantErrorIn(t, s.ConsumeTicket(ctx, "login", "nothing", start), authkit.ErrTicketNotFound)
		return w.change(ctx, s)
	})
	w.changed(t, s)
	same(t, find(t, s, admin.ID), admin)
	_, err := s.UserByID(t.Context(), newUser(60).ID)
	wantError(t, err, authkit.ErrUserNotFound)
}

type valueKey struct{}

func testKeepsValues(t *testing.T, s TransactorStore) {
	deadline := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(context.WithValue(t.Context(), valueKey{}, "a value"), deadline)
	defer cancel()
	calls := 0
	err := s.InTx(ctx, func(ctx context.Context) error {
		calls++
		if got := ctx.Value(valueKey{}); got != "a value" {
			t.Errorf("the context has the value %v", got)
		}
		if got, ok := ctx.Deadline(); !ok || got.After(deadline) {
			t.Errorf("the context has the deadline %v, want %v or earlier", got, deadline)
		}
		return nil
	})
	if err != nil || calls == 0 {
		t.Fatalf("InTx: %v, and f was called %d times", err, calls)
	}
}

// testCancelledTransaction cancels a transaction before it, within it, and at
// its end.
func testCancelledTransaction(t *testing.T, s TransactorStore) {
	w := newWorld(t, s, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.InTx(ctx, func(ctx context.Context) error { return w.change(ctx, s) })
	if err == nil {
		t.Fatal("InTx with a cancelled context: no error")
	}
	w.unchanged(t, s)

	ctx, cancel = context.WithCancel(t.Context())
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := w.change(ctx, s); err != nil {
			t.Error(err)
		}
		cancel()
		_, err := s.UpdateUser(ctx, w.ada.ID, authkit.UserUpdate{FullName: new("No")}, start)
		if err == nil {
			t.Error("UpdateUser with a cancelled context: no error")
		}
		return err
	})
	if err == nil {
		t.Fatal("a transaction whose last call failed was committed")
	}
	w.unchanged(t, s)

	for round := range 20 {
		w := newWorld(t, s, 1+round)
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		err := s.InTx(ctx, func(ctx context.Context) error {
			err := w.change(ctx, s)
			if round == 0 {
				cancel()
			} else {
				done.Go(func() {
					time.Sleep(time.Duration(round-1) * 20 * time.Microsecond)
					cancel()
				})
			}
			return err
		})
		done.Wait()
		_, missing := s.UserByID(t.Context(), w.bob.ID)
		if err == nil || missing == nil {
			w.changed(t, s) // completely, even though there was an error
		} else {
			w.unchanged(t, s)
		}
	}
}

// testWriterOutside changes an account outside a transaction that changes it
// too and commits or rolls back. Neither change may be lost, or come back.
func testWriterOutside(t *testing.T, s TransactorStore) {
	for round := range accounts {
		u := newUser(round)
		create(t, s, u)
		commit := round%2 == 0
		outside := make(chan error, 1)
		var once sync.Once
		err := s.InTx(t.Context(), func(ctx context.Context) error {
			if _, err := s.UpdateUser(ctx, u.ID, authkit.UserUpdate{FullName: new("Inside")}, start); err != nil {
				return err
			}
			once.Do(func() {
				began := make(chan struct{})
				go func() {
					close(began)
					_, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{Roles: &[]string{"outside"}}, start)
					outside <- err
				}()
				<-began
			})
			time.Sleep(time.Duration(round/2) * 100 * time.Microsecond)
			if !commit {
				return errOfTest
			}
			return nil
		})
		if commit && err != nil || !commit && !errors.Is(err, errOfTest) {
			t.Fatalf("InTx: %v", err)
		}
		u.UpdatedAt = start
		if commit {
			u.FullName, u.Version = "Inside", u.Version+1
		}
		if err := <-outside; err == nil {
			u.Roles, u.Version = []string{"outside"}, u.Version+1
		} else if errors.Is(err, authkit.ErrUserNotFound) || errors.Is(err, authkit.ErrConflict) {
			t.Fatalf("UpdateUser outside: %v", err)
		}
		same(t, find(t, s, u.ID), u)
	}
}

// testRotationOutside rotates a session while transactions revoke it and are
// rolled back. No successful rotation may be lost.
func testRotationOutside(t *testing.T, s TransactorStore) {
	x := newSession("user-1", 1)
	id := x.ID
	begin(t, s, x)
	var over atomic.Bool
	var rotator sync.WaitGroup
	rotator.Go(func() {
		for n := 0; n == 0 || !over.Load(); n++ {
			r := newRotation(&x, fmt.Sprint("rotation ", n), time.Minute)
			got, rotated, err := s.RotateSession(t.Context(), id, r)
			if err != nil { // failed without an effect
				if errors.Is(err, authkit.ErrSessionNotFound) {
					t.Errorf("rotation %d: a session that was never revoked is gone", n)
					return
				}
				continue
			}
			if x = r.Apply(x); !rotated || !equalStored(&got, &x) {
				t.Errorf("rotation %d: rotated %v, got %s, want %s", n, rotated, show(&got), show(&x))
				return
			}
			runtime.Gosched() // gives the transactions a turn if the store never blocks
		}
	})
	for round := range accounts {
		err := s.InTx(t.Context(), func(ctx context.Context) error {
			var err error
			switch round % 3 {
			case 0:
				err = s.RevokeSessions(ctx, "user-1", "", start)
			case 1:
				_, err = s.DeleteExpired(ctx, start.Add(1000*time.Hour), time.Time{}, unlimited)
			default:
				var now authkit.StoredSession
				if now, err = s.SessionByID(ctx, id); err == nil {
					_, _, err = s.RotateSession(ctx, id, newRotation(&now, "inside", time.Hour))
				}
			}
			if err != nil {
				return fmt.Errorf("round %d: %w", round, err)
			}
			return errOfTest
		})
		wantErrorIn(t, err, errOfTest)
	}
	over.Store(true)
	rotator.Wait()
	holds(t, s, x)
	wantRevocations(t, s, time.Time{})
}

// testAttemptsOutside counts attempts while transactions consume the ticket and
// are rolled back. No attempt may be lost.
func testAttemptsOutside(t *testing.T, s TransactorStore) {
	k := newTicket(1)
	put(t, s, k)
	var over atomic.Bool
	var others sync.WaitGroup
	var counted atomic.Int32
	for range 4 {
		others.Go(func() {
			for first := true; first || !over.Load(); first = false {
				_, err := s.AttemptTicket(t.Context(), k.Kind, k.ID, start)
				if errors.Is(err, authkit.ErrTicketNotFound) {
					t.Errorf("a ticket that was never consumed is gone")
					return
				}
				if err == nil {
					counted.Add(1)
				}
				runtime.Gosched()
			}
		})
	}
	for round := range accounts {
		err := s.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.AttemptTicket(ctx, k.Kind, k.ID, start)
			if err == nil && round%2 == 0 {
				err = s.ConsumeTicket(ctx, k.Kind, k.ID, start)
			}
			if err != nil {
				return fmt.Errorf("round %d: %w", round, err)
			}
			return errOfTest
		})
		wantErrorIn(t, err, errOfTest)
	}
	over.Store(true)
	others.Wait()
	k.Attempts = int(counted.Load())
	attempt(t, s, &k)
}

// testNoLostUpdate lets goroutines increment a number. Each step is a
// transaction that reads the account and updates the version that it read.
// Every third step is rolled back.
func testNoLostUpdate(t *testing.T, s TransactorStore) {
	u := newUser(1)
	u.FullName = "0"
	create(t, s, u)
	const counters, steps = 8, 9
	wins := raceOf(t, counters, func(i int) (bool, error) {
		for step := 0; step < steps; {
			undo := (i+step)%3 == 0
			err := s.InTx(t.Context(), func(ctx context.Context) error {
				now, err := s.UserByID(ctx, u.ID)
				if err != nil {
					return err
				}
				var n int
				_, _ = fmt.Sscan(now.FullName, &n)
				got, err := s.UpdateUser(ctx, u.ID, authkit.UserUpdate{FullName: new(fmt.Sprint(n + 1)), IfVersion: now.Version}, start)
				if err == nil && got.FullName != fmt.Sprint(n+1) {
					err = fmt.Errorf("counted from %d to %s", n, got.FullName)
				}
				if err == nil && undo {
					err = errOfTest
				}
				return err
			})
			switch {
			case errors.Is(err, authkit.ErrConflict): // another one was first; read again
			case undo && errors.Is(err, errOfTest), !undo && err == nil:
				step++
			default:
				return false, fmt.Errorf("InTx: %w", err)
			}
		}
		return true, nil
	})
	if wins != counters {
		t.Fatalf("%d of %d goroutines counted to the end", wins, counters)
	}
	counted := 0
	for i := range counters {
		for step := range steps {
			if (i+step)%3 != 0 {
				counted++
			}
		}
	}
	u.FullName, u.Version = fmt.Sprint(counted), int64(1+counted)
	same(t, find(t, s, u.ID), u)
}

// testNoHalfIsLeft lets goroutines change all three stores in transactions.
// Half of them are rolled back. Each must have its whole effect or none.
func testNoHalfIsLeft(t *testing.T, s TransactorStore) {
	const workers, rounds = 8, 4
	var worlds [workers * rounds]*world
	for n := range worlds {
		worlds[n] = newWorld(t, s, n)
	}
	raceOf(t, workers, func(i int) (bool, error) {
		for round := range rounds {
			n := i*rounds + round
			err := s.InTx(t.Context(), func(ctx context.Context) error {
				if err := worlds[n].change(ctx, s); err != nil {
					return err
				}
				if n%2 == 0 {
					return errOfTest
				}
				return nil
			})
			if n%2 == 0 && errors.Is(err, errOfTest) {
				err = nil
			}
			if err != nil {
				return false, fmt.Errorf("InTx: %w", err)
			}
		}
		return true, nil
	})
	for n, w := range worlds {
		if n%2 == 0 {
			w.unchanged(t, s)
		} else {
			w.changed(t, s)
		}
	}
}

// testAnotherStore calls a store with the context of a transaction of another
// store.
func testAnotherStore(t *testing.T, s, other TransactorStore) {
	w, x := newWorld(t, s, 0), newWorld(t, other, 0)
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		if err := errors.Join(w.change(ctx, s), x.change(ctx, other)); err != nil {
			t.Error(err)
		}
		return errOfTest
	})
	wantError(t, err, errOfTest)
	w.unchanged(t, s)
	x.changed(t, other)

	y := newWorld(t, other, 1)
	err = s.InTx(t.Context(), func(ctx context.Context) error {
		wantErrorIn(t, other.InTx(ctx, func(ctx context.Context) error { return errors.Join(y.change(ctx, other), errOfTest) }), errOfTest)
		return w.change(ctx, s)
	})
	if err != nil {
		t.Fatalf("InTx: %v, after that of another store failed", err)
	}
	w.changed(t, s)
	y.unchanged(t, other)
}
