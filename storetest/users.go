// Package storetest holds the tests that make a store a store: one Test function per
// store interface of authkit, for implementations to call from a test of theirs.
//
//	func TestUserStore(t *testing.T) {
//		storetest.TestUserStore(t, func(t *testing.T) authkit.UserStore {
//			return newStore(t) // an empty one, each time
//		})
//	}
//
// Run them with the race detector.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// racers is how many goroutines compete for what one may win.
const racers = 32

// TestUserStore tests an implementation of [authkit.UserStore] against the contract in
// that interface's comment. The function open returns an empty store that no other
// test uses; it may register a cleanup. The subtests run in parallel.
func TestUserStore(t *testing.T, open func(t *testing.T) authkit.UserStore) {
	for name, test := range map[string]func(*testing.T, authkit.UserStore){
		"CreateAndFind":          testCreateAndFind,
		"NotFound":               testNotFound,
		"EmailIsUnique":          testEmailIsUnique,
		"IDIsUnique":             testIDIsUnique,
		"ComparesBytes":          testComparesBytes,
		"KeepsText":              testKeepsText,
		"SharesNoMemory":         testSharesNoMemory,
		"Pages":                  testPages,
		"Update":                 testUpdate,
		"UpdateToATakenEmail":    testUpdateToATakenEmail,
		"SwapPasswordHash":       testSwapPasswordHash,
		"Delete":                 testDelete,
		"OneCreatorWins":         testOneCreatorWins,
		"OneEmailChangeWins":     testOneEmailChangeWins,
		"OneSwapWins":            testOneSwapWins,
		"ReadersSeeWholeRecords": testReadersSeeWholeRecords,
		"AllMethodsAtOnce":       testAllMethodsAtOnce,
		"CancelledContext":       testCancelledContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// start is the time of the first event in every test, as precise as a store must be.
var start = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)

// newUser returns an account that differs from others in all that must differ.
func newUser(n int) authkit.StoredUser {
	return authkit.StoredUser{
		User: authkit.User{
			ID:        fmt.Sprintf("id-%06d", n),
			Email:     fmt.Sprintf("user%d@example.com", n),
			FullName:  fmt.Sprintf("User %d", n),
			Roles:     []string{"user", "editor"},
			CreatedAt: start,
			UpdatedAt: start,
		},
		PasswordHash: authkit.PasswordHash(fmt.Sprintf("hash %d", n)),
	}
}

func create(t *testing.T, s authkit.UserStore, users ...authkit.StoredUser) {
	t.Helper()
	for _, u := range users {
		if err := s.CreateUser(t.Context(), u); err != nil {
			t.Fatalf("CreateUser(%q): %v", u.ID, err)
		}
	}
}

// find returns the account by ID and checks that its e-mail finds it too.
func find(t *testing.T, s authkit.UserStore, id string) authkit.StoredUser {
	t.Helper()
	byID, err := s.UserByID(t.Context(), id)
	if err != nil {
		t.Fatalf("UserByID(%q): %v", id, err)
	}
	byEmail, err := s.UserByEmail(t.Context(), byID.Email)
	if err != nil {
		t.Fatalf("UserByEmail(%q): %v", byID.Email, err)
	}
	same(t, byEmail, byID)
	return byID
}

func same(t *testing.T, got, want authkit.StoredUser) {
	t.Helper()
	if !equal(got.User, want.User) || got.PasswordHash != want.PasswordHash {
		t.Fatalf("got  %+v (hash %q)\nwant %+v (hash %q)", got.User, string(got.PasswordHash), want.User, string(want.PasswordHash))
	}
}

func equal(a, b authkit.User) bool {
	return a.ID == b.ID && a.Email == b.Email && a.FullName == b.FullName && slices.Equal(a.Roles, b.Roles) &&
		a.Disabled == b.Disabled && a.CreatedAt.Equal(b.CreatedAt) && a.UpdatedAt.Equal(b.UpdatedAt)
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func testCreateAndFind(t *testing.T, s authkit.UserStore) {
	plain, bare := newUser(1), newUser(2)
	bare.FullName, bare.Roles, bare.Disabled, bare.PasswordHash = "", []string{}, true, ""
	create(t, s, plain, bare)
	same(t, find(t, s, plain.ID), plain)
	same(t, find(t, s, bare.ID), bare)
}

func testNotFound(t *testing.T, s authkit.UserStore) {
	create(t, s, newUser(1))
	for _, key := range []string{"", "nobody", "nobody@example.com", "user1@example.com\x00", "id-000001 "} {
		u, err := s.UserByID(t.Context(), key)
		wantError(t, err, authkit.ErrUserNotFound)
		same(t, u, authkit.StoredUser{})
		u, err = s.UserByEmail(t.Context(), key)
		wantError(t, err, authkit.ErrUserNotFound)
		same(t, u, authkit.StoredUser{})
	}
	_, err := s.UpdateUser(t.Context(), "nobody", authkit.UserUpdate{}, start)
	wantError(t, err, authkit.ErrUserNotFound)
	swapped, err := s.SwapPasswordHash(t.Context(), "nobody", "", "new", start)
	wantError(t, err, authkit.ErrUserNotFound)
	if swapped {
		t.Fatal("swapped the hash of nobody")
	}
	wantError(t, s.DeleteUser(t.Context(), "nobody"), authkit.ErrUserNotFound)
}

func testEmailIsUnique(t *testing.T, s authkit.UserStore) {
	first, second := newUser(1), newUser(2)
	second.Email = first.Email
	create(t, s, first)
	wantError(t, s.CreateUser(t.Context(), second), authkit.ErrEmailTaken)
	same(t, find(t, s, first.ID), first)
	_, err := s.UserByID(t.Context(), second.ID)
	wantError(t, err, authkit.ErrUserNotFound)
}

func testIDIsUnique(t *testing.T, s authkit.UserStore) {
	first, second := newUser(1), newUser(2)
	second.ID = first.ID
	create(t, s, first)
	if err := s.CreateUser(t.Context(), second); err == nil || errors.Is(err, authkit.ErrEmailTaken) {
		t.Fatalf("a second account with an ID: got error %v, want one that is not ErrEmailTaken", err)
	}
	same(t, find(t, s, first.ID), first)
	_, err := s.UserByEmail(t.Context(), second.Email)
	wantError(t, err, authkit.ErrUserNotFound)
}

func testComparesBytes(t *testing.T, s authkit.UserStore) {
	create(t, s, newUser(1))
	for _, key := range []string{"USER1@example.com", "user1@example.com ", "uſer1@example.com", "user1@example.co"} {
		_, err := s.UserByEmail(t.Context(), key)
		wantError(t, err, authkit.ErrUserNotFound)
	}
	_, err := s.UserByID(t.Context(), "ID-000001")
	wantError(t, err, authkit.ErrUserNotFound)
}

func testKeepsText(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	u.FullName = strings.Repeat("Ælfrēd 🔑 'quoted\" % \\ ; -- ", 9)[:256]
	u.FullName = strings.ToValidUTF8(u.FullName, "")
	u.Roles = []string{"a:b", "c_d", "e-f"}
	create(t, s, u)
	same(t, find(t, s, u.ID), u)
}

func testSharesNoMemory(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	create(t, s, u)
	want := newUser(1)
	u.Roles[0] = "admin"
	same(t, find(t, s, want.ID), want)

	got := find(t, s, want.ID)
	got.Roles[0] = "admin"
	_ = append(got.Roles[:1], "admin")
	same(t, find(t, s, want.ID), want)

	list, err := s.ListUsers(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	list[0].Roles[0] = "admin"
	same(t, find(t, s, want.ID), want)

	roles := []string{"viewer"}
	updated, err := s.UpdateUser(t.Context(), want.ID, authkit.UserUpdate{Roles: &roles}, start)
	if err != nil {
		t.Fatal(err)
	}
	roles[0], updated.Roles[0] = "admin", "admin"
	want.Roles = []string{"viewer"}
	same(t, find(t, s, want.ID), want)
}

func testPages(t *testing.T, s authkit.UserStore) {
	const n = 25
	for i := range n { // not in the order of the IDs
		create(t, s, newUser((i*7)%n))
	}
	for _, limit := range []int{1, 7, 25, 1000} {
		var got []string
		after := ""
		for {
			page, err := s.ListUsers(t.Context(), after, limit)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			if len(page) > limit {
				t.Fatalf("a page of %d, limit %d", len(page), limit)
			}
			for _, u := range page {
				got = append(got, u.ID)
			}
			after = page[len(page)-1].ID
			if len(page) == limit && limit == 7 { // an account that goes moves no page
				if err := s.DeleteUser(t.Context(), after); err != nil {
					t.Fatal(err)
				}
				create(t, s, newUser(numberOf(after)))
			}
		}
		if len(got) != n || !slices.IsSorted(got) {
			t.Fatalf("limit %d: pages hold %d accounts, want %d in order: %q", limit, len(got), n, got)
		}
	}
	page, err := s.ListUsers(t.Context(), "id-000003x", 2)
	if err != nil || len(page) != 2 || page[0].ID != "id-000004" {
		t.Fatalf("after an ID that does not exist: %v, %v", page, err)
	}
	if !equal(page[0], newUser(4).User) {
		t.Fatalf("got %+v", page[0])
	}
}

func numberOf(id string) (n int) {
	_, _ = fmt.Sscanf(id, "id-%d", &n)
	return n
}

func testUpdate(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	create(t, s, u, newUser(2))
	later := start.Add(time.Hour)

	for _, step := range []struct {
		change authkit.UserUpdate
		apply  func()
	}{
		{authkit.UserUpdate{}, func() {}},
		{authkit.UserUpdate{Disabled: new(true)}, func() { u.Disabled = true }},
		{authkit.UserUpdate{FullName: new("")}, func() { u.FullName = "" }},
		{authkit.UserUpdate{Roles: &[]string{}}, func() { u.Roles = nil }},
		{authkit.UserUpdate{Email: new("other@example.com")}, func() { u.Email = "other@example.com" }},
		{authkit.UserUpdate{Email: new("other@example.com")}, func() {}},
		{
			authkit.UserUpdate{Email: new("user1@example.com"), FullName: new("Back"), Roles: &[]string{"a", "b"}, Disabled: new(false)},
			func() {
				u.Email, u.FullName, u.Roles, u.Disabled = "user1@example.com", "Back", []string{"a", "b"}, false
			},
		},
	} {
		before := u.Email
		later = later.Add(time.Microsecond)
		step.apply()
		u.UpdatedAt = later
		got, err := s.UpdateUser(t.Context(), u.ID, step.change, later)
		if err != nil {
			t.Fatal(err)
		}
		if !equal(got, u.User) {
			t.Fatalf("UpdateUser returned %+v, want %+v", got, u.User)
		}
		same(t, find(t, s, u.ID), u)
		if before != u.Email {
			_, err := s.UserByEmail(t.Context(), before)
			wantError(t, err, authkit.ErrUserNotFound)
		}
	}
	same(t, find(t, s, newUser(2).ID), newUser(2))
}

func testUpdateToATakenEmail(t *testing.T, s authkit.UserStore) {
	create(t, s, newUser(1), newUser(2))
	_, err := s.UpdateUser(t.Context(), "id-000001", authkit.UserUpdate{Email: new("user2@example.com"), FullName: new("No")}, start.Add(1))
	wantError(t, err, authkit.ErrEmailTaken)
	same(t, find(t, s, "id-000001"), newUser(1))
	same(t, find(t, s, "id-000002"), newUser(2))
}

func testSwapPasswordHash(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	create(t, s, u, newUser(2))
	later := start.Add(time.Hour)
	for _, wrong := range []authkit.PasswordHash{"", "other", "HASH 1", "hash 1 "} {
		swapped, err := s.SwapPasswordHash(t.Context(), u.ID, wrong, "new", later)
		if err != nil || swapped {
			t.Fatalf("old %q: swapped %v, error %v", string(wrong), swapped, err)
		}
	}
	same(t, find(t, s, u.ID), u)
	for _, next := range []authkit.PasswordHash{"new", "new", "", "again"} {
		swapped, err := s.SwapPasswordHash(t.Context(), u.ID, u.PasswordHash, next, later)
		if err != nil || !swapped {
			t.Fatalf("to %q: swapped %v, error %v", string(next), swapped, err)
		}
		u.PasswordHash, u.UpdatedAt = next, later
		same(t, find(t, s, u.ID), u)
	}
	same(t, find(t, s, newUser(2).ID), newUser(2))
}

func testDelete(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	create(t, s, u, newUser(2))
	if err := s.DeleteUser(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	_, err := s.UserByID(t.Context(), u.ID)
	wantError(t, err, authkit.ErrUserNotFound)
	_, err = s.UserByEmail(t.Context(), u.Email)
	wantError(t, err, authkit.ErrUserNotFound)
	wantError(t, s.DeleteUser(t.Context(), u.ID), authkit.ErrUserNotFound)
	list, err := s.ListUsers(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0].ID != newUser(2).ID {
		t.Fatalf("left: %v, %v", list, err)
	}
	u.ID = "id-000003" // the address is free again
	create(t, s, u)
	same(t, find(t, s, u.ID), u)
}

// race runs f in many goroutines at once and returns how many of them won.
func race(t *testing.T, f func(i int) (won bool, err error)) int {
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

// wonUnless turns an error that means that somebody else was first into a defeat.
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
	list, err := s.ListUsers(t.Context(), "", racers)
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

func testOneSwapWins(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	create(t, s, u)
	var winner atomic.Int32
	wins := race(t, func(i int) (bool, error) {
		won, err := s.SwapPasswordHash(t.Context(), u.ID, u.PasswordHash, authkit.PasswordHash(fmt.Sprint("new ", i)), start)
		if won {
			winner.Store(int32(i))
		}
		return won, err
	})
	if wins != 1 {
		t.Fatalf("%d swaps won, want 1", wins)
	}
	u.PasswordHash = authkit.PasswordHash(fmt.Sprint("new ", winner.Load()))
	same(t, find(t, s, u.ID), u)
}

// testReadersSeeWholeRecords flips an account between two states, each with its own
// e-mail, and looks that no reader sees a mixture, or the address without the account.
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
			if _, err := s.ListUsers(ctx, "", 10); err != nil {
				return false, fmt.Errorf("ListUsers: %w", err)
			}
			if _, err := s.UpdateUser(ctx, u.ID, authkit.UserUpdate{Disabled: new(true)}, start); err != nil {
				return false, fmt.Errorf("UpdateUser: %w", err)
			}
			if ok, err := s.SwapPasswordHash(ctx, u.ID, u.PasswordHash, "new", start); err != nil || !ok {
				return false, fmt.Errorf("SwapPasswordHash: %v, %w", ok, err)
			}
			got, err := s.UserByID(ctx, u.ID)
			if err != nil || !got.Disabled || got.PasswordHash != "new" {
				return false, fmt.Errorf("UserByID: %+v, %w", got.User, err)
			}
			if round%2 == 0 {
				if err := s.DeleteUser(ctx, u.ID); err != nil {
					return false, fmt.Errorf("DeleteUser: %w", err)
				}
			}
		}
		return true, nil
	})
	list, err := s.ListUsers(t.Context(), "", 1000)
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
		if err == nil || errors.Is(err, authkit.ErrUserNotFound) || errors.Is(err, authkit.ErrEmailTaken) {
			t.Errorf("%s with a cancelled context: got error %v", method, err)
		}
	}
	_, err := s.UserByID(ctx, "id-000001")
	fails("UserByID", err)
	_, err = s.UserByEmail(ctx, "user1@example.com")
	fails("UserByEmail", err)
	_, err = s.ListUsers(ctx, "", 1)
	fails("ListUsers", err)
	fails("CreateUser", s.CreateUser(ctx, newUser(2)))
	_, err = s.UpdateUser(ctx, "id-000001", authkit.UserUpdate{Disabled: new(true)}, start)
	fails("UpdateUser", err)
	_, err = s.SwapPasswordHash(ctx, "id-000001", "hash 1", "new", start)
	fails("SwapPasswordHash", err)
	fails("DeleteUser", s.DeleteUser(ctx, "id-000001"))
	same(t, find(t, s, "id-000001"), newUser(1))
	_, err = s.UserByID(t.Context(), newUser(2).ID)
	wantError(t, err, authkit.ErrUserNotFound)
}
