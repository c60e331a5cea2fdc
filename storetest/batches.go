package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/authkit-go/authkit"
)

// A BatchStore is an [authkit.UserBatchStore] with the accounts that it creates.
type BatchStore interface {
	authkit.UserStore
	authkit.UserBatchStore
}

// TestUserBatchStore tests an implementation of [authkit.UserBatchStore]. The
// function open is that of [TestUserStore].
func TestUserBatchStore(t *testing.T, open func(t *testing.T) BatchStore) {
	for name, test := range map[string]func(*testing.T, BatchStore){
		"CreateUsers":          testCreateUsers,
		"CreateUsersAllOrNone": testCreateUsersAllOrNone,
		"OneBatchWins":         testOneBatchWins,
		"CreateUsersCancelled": testCreateUsersCancelled,
		"CreateUsersInTx":      testCreateUsersInTx,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// newUsers returns accounts with the numbers from first to last.
func newUsers(from, to int) (users []authkit.StoredUser) {
	for n := from; n <= to; n++ {
		users = append(users, newUser(n))
	}
	return users
}

// counts checks the number of accounts.
func counts(t *testing.T, s authkit.UserStore, want int) {
	t.Helper()
	if n, err := s.CountUsers(t.Context(), authkit.UserQuery{}); n != want || err != nil {
		t.Fatalf("%d accounts, %v; want %d", n, err, want)
	}
}

func testCreateUsers(t *testing.T, s BatchStore) {
	if err := s.CreateUsers(t.Context(), nil); err != nil {
		t.Fatalf("no accounts: %v", err)
	}
	counts(t, s, 0)
	next := 1
	for _, size := range []int{1, 2, 500} {
		users := newUsers(next, next+size-1)
		users[0].Roles, users[0].PasswordHash, users[0].Version = nil, "", 7
		users[size-1].TokensValidAfter, users[size-1].EmailVerifiedAt, users[size-1].LockedUntil = wholeSecond, start, start.In(elsewhere)
		if err := s.CreateUsers(t.Context(), users); err != nil {
			t.Fatalf("%d accounts: %v", size, err)
		}
		for _, u := range users {
			u.Version = 1
			same(t, find(t, s, u.ID), u)
			if got, err := s.UserByEmail(t.Context(), u.Email); err != nil || got.ID != u.ID {
				t.Fatalf("UserByEmail(%q): %v, %v", u.Email, got, err)
			}
		}
		next += size
		counts(t, s, next-1)
	}
}

func testCreateUsersAllOrNone(t *testing.T, s BatchStore) {
	there := newUser(1)
	create(t, s, there)
	for name, c := range map[string]struct {
		change func(u []authkit.StoredUser)
		want   error // nil for any other error
	}{
		"a taken e-mail":       {func(u []authkit.StoredUser) { u[2].Email = there.Email }, authkit.ErrEmailTaken},
		"one e-mail twice":     {func(u []authkit.StoredUser) { u[3].Email = u[1].Email }, authkit.ErrEmailTaken},
		"a taken ID":           {func(u []authkit.StoredUser) { u[3].ID = there.ID }, nil},
		"one ID twice":         {func(u []authkit.StoredUser) { u[3].ID = u[0].ID }, nil},
		"an empty ID":          {func(u []authkit.StoredUser) { u[3].ID = "" }, nil},
		"a taken ID, a e-mail": {func(u []authkit.StoredUser) { u[0].Email, u[3].ID = there.Email, there.ID }, authkit.ErrEmailTaken},
	} {
		users := newUsers(2, 5)
		c.change(users)
		err := s.CreateUsers(t.Context(), users)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || c.want == nil && errors.Is(err, authkit.ErrEmailTaken) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		counts(t, s, 1)
		same(t, find(t, s, there.ID), there)
	}
}

func testOneBatchWins(t *testing.T, s BatchStore) {
	const callers = 16
	var wg sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		wg.Go(func() {
			users := newUsers(100*i+1, 100*i+10)
			users[i%10].Email = "shared@example.com"
			errs[i] = s.CreateUsers(t.Context(), users)
		})
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, authkit.ErrEmailTaken):
			t.Errorf("caller %d: %v", i, err)
		}
	}
	if won != 1 {
		t.Errorf("%d batches with one e-mail were stored", won)
	}
	counts(t, s, 10)
}

func testCreateUsersCancelled(t *testing.T, s BatchStore) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.CreateUsers(ctx, newUsers(1, 3)); err == nil {
		t.Error("no error with a cancelled context")
	}
	counts(t, s, 0)
}

func testCreateUsersInTx(t *testing.T, s BatchStore) {
	tx, ok := s.(authkit.Transactor)
	if !ok {
		return
	}
	create(t, s, newUser(1))
	bad := slices.Concat(newUsers(2, 4), []authkit.StoredUser{newUser(1)})
	bad[3].ID = "another"
	err := tx.InTx(t.Context(), func(ctx context.Context) error {
		if err := s.CreateUsers(ctx, bad); !errors.Is(err, authkit.ErrEmailTaken) {
			return fmt.Errorf("a taken e-mail: %w", err)
		}
		return s.CreateUsers(ctx, newUsers(2, 4)) // the transaction is usable
	})
	if err != nil {
		t.Fatal(err)
	}
	counts(t, s, 4)
	undone := errors.New("undone")
	err = tx.InTx(t.Context(), func(ctx context.Context) error {
		if err := s.CreateUsers(ctx, newUsers(5, 9)); err != nil {
			return err
		}
		return undone
	})
	if !errors.Is(err, undone) {
		t.Fatal(err)
	}
	counts(t, s, 4)
}
