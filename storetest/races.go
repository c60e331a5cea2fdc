package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// racers is the number of goroutines in a race with one winner.
const racers = 64

// race runs f in many goroutines at once and returns how many of them won.
func race(t *testing.T, f func(i int) (won bool, err error)) int {
	t.Helper()
	return raceOf(t, racers, f)
}

// raceOf is race with the number of goroutines.
func raceOf(t *testing.T, racers int, f func(i int) (won bool, err error)) int {
	t.Helper()
	var wins atomic.Int32
	var ready, done sync.WaitGroup
	ready.Add(1)
	for i := range racers {
		done.Go(func() {
			ready.Wait()
			won, err := f(i)
			if err != nil {
				t.Errorf("goroutine %d: %v", i, err)
			}
			if won {
				wins.Add(1)
			}
		})
	}
	ready.Done()
	done.Wait()
	return int(wins.Load())
}

// wonUnless turns the error of a lost race into a defeat.
func wonUnless(lost, err error) (bool, error) {
	if errors.Is(err, lost) {
		return false, nil
	}
	return err == nil, err
}

func testOneCreatorWins(t *testing.T, s authkit.UserStore) {
	wins := race(t, func(i int) (bool, error) {
		u := newUser(i)
		u.Email = "same@example.com"
		return wonUnless(authkit.ErrEmailTaken, s.CreateUser(t.Context(), u))
	})
	list, err := s.ListUsers(t.Context(), authkit.UserQuery{Limit: racers})
	if err != nil || wins != 1 || len(list) != 1 {
		t.Fatalf("%d creators won and %d accounts exist, want 1 (%v)", wins, len(list), err)
	}
	want := newUser(numberOf(list[0].ID))
	want.Email = "same@example.com"
	same(t, find(t, s, want.ID), want)
}

func testOneEmailChangeWins(t *testing.T, s authkit.UserStore) {
	for i := range racers {
		create(t, s, newUser(i))
	}
	wins := race(t, func(i int) (bool, error) {
		_, err := s.UpdateUser(t.Context(), newUser(i).ID, authkit.UserUpdate{Email: new("same@example.com")}, start)
		return wonUnless(authkit.ErrEmailTaken, err)
	})
	if wins != 1 {
		t.Fatalf("%d changes won, want 1", wins)
	}
	for i := range racers {
		find(t, s, newUser(i).ID)
	}
}

// testOneVersionWins lets all goroutines update the same version of an account,
// in several rounds.
func testOneVersionWins(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	create(t, s, u)
	for round := range accounts {
		at := start.Add(time.Duration(round) * time.Second)
		var winner atomic.Int32
		wins := race(t, func(i int) (bool, error) {
			hash := authkit.PasswordHash(fmt.Sprint("new ", i))
			got, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{PasswordHash: &hash, IfVersion: u.Version}, at)
			won, err := wonUnless(authkit.ErrConflict, err)
			if won {
				winner.Store(int32(i))
			}
			if won && got.Version != u.Version+1 {
				err = fmt.Errorf("won, and was given version %d after %d", got.Version, u.Version)
			}
			return won, err
		})
		if wins != 1 {
			t.Fatalf("round %d: %d changes of one version won, want 1", round, wins)
		}
		u.PasswordHash, u.UpdatedAt, u.Version = authkit.PasswordHash(fmt.Sprint("new ", winner.Load())), at, u.Version+1
		same(t, find(t, s, u.ID), u)
	}
}

// testReadersSeeWholeRecords switches an account between two states, each with
// its own e-mail. Readers must never see a mixture, or the address without the
// account.
func testReadersSeeWholeRecords(t *testing.T, s authkit.UserStore) {
	a := newUser(1)
	create(t, s, a)
	b := authkit.UserUpdate{Email: new("b@example.com"), FullName: new("B"), Roles: &[]string{"b"}, Disabled: new(true)}
	back := authkit.UserUpdate{Email: &a.Email, FullName: &a.FullName, Roles: &a.Roles, Disabled: new(false)}
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				u, err := s.UserByID(t.Context(), a.ID)
				if err != nil {
					t.Errorf("the account is gone: %v", err)
					return
				}
				isB := u.Disabled
				if isB != (u.Email == "b@example.com") || isB != (u.FullName == "B") || isB != (len(u.Roles) == 1) {
					t.Errorf("a mixture: %+v", u.User)
					return
				}
				if u, err := s.UserByEmail(t.Context(), a.Email); err == nil && (u.Disabled || u.Email != a.Email) {
					t.Errorf("found under an address that it does not have: %+v", u.User)
					return
				}
			}
		})
	}
	for i := range 200 {
		change := b
		if i%2 == 1 {
			change = back
		}
		if _, err := s.UpdateUser(t.Context(), a.ID, change, start); err != nil {
			t.Error(err)
			break
		}
	}
	stop()
	readers.Wait()
}

func testAllMethodsAtOnce(t *testing.T, s authkit.UserStore) {
	race(t, func(i int) (bool, error) {
		ctx := t.Context()
		for round := range 5 {
			u := newUser(i*100 + round)
			if err := s.CreateUser(ctx, u); err != nil {
				return false, fmt.Errorf("CreateUser: %w", err)
			}
			if _, err := s.UserByEmail(ctx, u.Email); err != nil {
				return false, fmt.Errorf("UserByEmail: %w", err)
			}
			if _, err := s.ListUsers(ctx, authkit.UserQuery{Limit: 10}); err != nil {
				return false, fmt.Errorf("ListUsers: %w", err)
			}
			if _, err := s.UpdateUser(ctx, u.ID, authkit.UserUpdate{Disabled: new(true)}, start); err != nil {
				return false, fmt.Errorf("UpdateUser: %w", err)
			}
			if _, err := s.UpdateUser(ctx, u.ID, authkit.UserUpdate{PasswordHash: new(authkit.PasswordHash("new")), IfVersion: 2}, start); err != nil {
				return false, fmt.Errorf("UpdateUser at version 2: %w", err)
			}
			if _, err := s.CountUsers(ctx, authkit.UserQuery{Role: "editor"}); err != nil {
				return false, fmt.Errorf("CountUsers: %w", err)
			}
			got, err := s.UserByID(ctx, u.ID)
			if err != nil || !got.Disabled || got.PasswordHash != "new" || got.Version != 3 {
				return false, fmt.Errorf("UserByID: %+v, %w", got.User, err)
			}
			if round%2 == 0 {
				if err := s.DeleteUser(ctx, u.ID, ""); err != nil {
					return false, fmt.Errorf("DeleteUser: %w", err)
				}
			}
		}
		return true, nil
	})
	list, err := s.ListUsers(t.Context(), authkit.UserQuery{Limit: 1000})
	if err != nil || len(list) != 2*racers {
		t.Fatalf("%d accounts are left, want %d (%v)", len(list), 2*racers, err)
	}
}

func testCancelledContext(t *testing.T, s authkit.UserStore) {
	create(t, s, newUser(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fails := func(method string, err error) {
		t.Helper()
		if err == nil || errors.Is(err, authkit.ErrUserNotFound) || errors.Is(err, authkit.ErrEmailTaken) || errors.Is(err, authkit.ErrLastAdmin) {
			t.Errorf("%s with a cancelled context: got error %v", method, err)
		}
	}
	_, err := s.UserByID(ctx, "id-000001")
	fails("UserByID", err)
	_, err = s.UserByEmail(ctx, "user1@example.com")
	fails("UserByEmail", err)
	_, err = s.ListUsers(ctx, authkit.UserQuery{Limit: 1})
	fails("ListUsers", err)
	fails("CreateUser", s.CreateUser(ctx, newUser(2)))
	_, err = s.UpdateUser(ctx, "id-000001", authkit.UserUpdate{Disabled: new(true), PasswordHash: new(authkit.PasswordHash("new")), TokensValidAfter: &start}, start)
	fails("UpdateUser", err)
	_, err = s.CountUsers(ctx, authkit.UserQuery{})
	fails("CountUsers", err)
	fails("DeleteUser", s.DeleteUser(ctx, "id-000001", ""))
	same(t, find(t, s, "id-000001"), newUser(1))
	_, err = s.UserByID(t.Context(), newUser(2).ID)
	wantError(t, err, authkit.ErrUserNotFound)
}
