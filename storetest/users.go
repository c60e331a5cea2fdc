// Package storetest tests implementations of the store interfaces of authkit.
// It has one Test function per interface, to call from a test:
//
//	func TestUserStore(t *testing.T) {
//		storetest.TestUserStore(t, func(t *testing.T) authkit.UserStore {
//			return newStore(t) // an empty one, each time
//		})
//	}
//
// Each subtest has the name of the rule that it tests, such as NotFound or
// OneRotationWins. The tests work with every backend. They pass fixed times
// that differ from the current time, so a store must not use its own clock to
// expire rows. The times have microsecond precision. The tests never reuse the
// ID of a removed session. They use a store from up to 64 goroutines at once.
//
// Run the tests with the race detector, and against the server that the program
// will use, not a substitute. Most bugs in a store appear only with concurrent
// callers.
package storetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// TestUserStore tests an implementation of [authkit.UserStore] against the
// contract in the comment of that interface. The function open returns an empty
// store for one test. It may register a cleanup. The subtests run in parallel.
func TestUserStore(t *testing.T, open func(t *testing.T) authkit.UserStore) {
	for name, test := range map[string]func(*testing.T, authkit.UserStore){
		"CreateAndFind":                 testCreateAndFind,
		"NotFound":                      testNotFound,
		"EmailIsUnique":                 testEmailIsUnique,
		"IDIsUnique":                    testIDIsUnique,
		"ComparesBytes":                 testComparesBytes,
		"KeepsText":                     testKeepsText,
		"SharesNoMemory":                testSharesNoMemory,
		"Pages":                         testPages,
		"Update":                        testUpdate,
		"UpdateToATakenEmail":           testUpdateToATakenEmail,
		"IfVersion":                     testIfVersion,
		"KeepsTimes":                    testUserKeepsTimes,
		"Queries":                       testQueries,
		"QueryPages":                    testQueryPages,
		"Counts":                        testCounts,
		"KeepRole":                      testKeepRole,
		"LastAdminStays":                testLastAdminStays,
		"TokensValidAfterMovesForward":  testTokensValidAfterMovesForward,
		"LatestTokensValidAfterWins":    testLatestTokensValidAfterWins,
		"HashAndTokensValidAfterAtOnce": testHashAndTokensValidAfterAtOnce,
		"RehashLosesToAChange":          testRehashLosesToAChange,
		"Delete":                        testDelete,
		"OneCreatorWins":                testOneCreatorWins,
		"OneEmailChangeWins":            testOneEmailChangeWins,
		"OneVersionWins":                testOneVersionWins,
		"ReadersSeeWholeRecords":        testReadersSeeWholeRecords,
		"AllMethodsAtOnce":              testAllMethodsAtOnce,
		"CancelledContext":              testCancelledContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// start is the time of the first event in every test, with the precision that a
// store must keep.
var start = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)

// newUser returns an account that differs from others in all unique fields.
func newUser(n int) authkit.StoredUser {
	return authkit.StoredUser{
		User: authkit.User{
			ID:        fmt.Sprintf("id-%06d", n),
			Email:     fmt.Sprintf("user%d@example.com", n),
			FullName:  fmt.Sprintf("User %d", n),
			Roles:     []string{"user", "editor"},
			CreatedAt: start,
			UpdatedAt: start,
			Version:   1,
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

// update makes a change that must succeed, and checks that the store returns
// it.
func update(t *testing.T, s authkit.UserStore, u *authkit.StoredUser, change authkit.UserUpdate, at time.Time) {
	t.Helper()
	u.UpdatedAt, u.Version = at, u.Version+1
	got, err := s.UpdateUser(t.Context(), u.ID, change, at)
	if err != nil || !equal(got, u.User) {
		t.Fatalf("UpdateUser returned %+v (%v), want %+v", got, err, u.User)
	}
	same(t, find(t, s, u.ID), *u)
}

func same(t *testing.T, got, want authkit.StoredUser) {
	t.Helper()
	if !equal(got.User, want.User) || got.PasswordHash != want.PasswordHash || !got.TokensValidAfter.Equal(want.TokensValidAfter) {
		t.Fatalf("got  %+v (hash %q, valid from %v)\nwant %+v (hash %q, valid from %v)",
			got.User, string(got.PasswordHash), got.TokensValidAfter, want.User, string(want.PasswordHash), want.TokensValidAfter)
	}
}

func equal(a, b authkit.User) bool {
	return a.ID == b.ID && a.Email == b.Email && a.FullName == b.FullName && slices.Equal(a.Roles, b.Roles) &&
		a.Disabled == b.Disabled && a.CreatedAt.Equal(b.CreatedAt) && a.UpdatedAt.Equal(b.UpdatedAt) &&
		a.EmailVerifiedAt.Equal(b.EmailVerifiedAt) && a.LockedUntil.Equal(b.LockedUntil) && a.Version == b.Version
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
	plain.EmailVerifiedAt, plain.LockedUntil = start.Add(time.Minute), start.Add(time.Hour).In(elsewhere)
	cutOff := newUser(3)
	cutOff.TokensValidAfter = start.Truncate(time.Second).In(elsewhere)
	create(t, s, plain, bare, cutOff)
	same(t, find(t, s, plain.ID), plain)
	same(t, find(t, s, bare.ID), bare)
	same(t, find(t, s, cutOff.ID), cutOff)
	if u := find(t, s, plain.ID); !u.TokensValidAfter.IsZero() {
		t.Fatalf("an account without a cut-off is valid from %v", u.TokensValidAfter)
	}
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
	_, err = s.UpdateUser(t.Context(), "nobody", authkit.UserUpdate{IfVersion: 1, KeepRole: "admin"}, start)
	wantError(t, err, authkit.ErrUserNotFound)
	wantError(t, s.DeleteUser(t.Context(), "nobody", ""), authkit.ErrUserNotFound)
	wantError(t, s.DeleteUser(t.Context(), "nobody", "admin"), authkit.ErrUserNotFound)
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

	list, err := s.ListUsers(t.Context(), authkit.UserQuery{Limit: 1})
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
	want.Roles, want.Version = []string{"viewer"}, 2
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
			page, err := s.ListUsers(t.Context(), authkit.UserQuery{After: after, Limit: limit})
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
			if len(page) == limit && limit == 7 { // a deleted account must not shift the pages
				if err := s.DeleteUser(t.Context(), after, ""); err != nil {
					t.Fatal(err)
				}
				create(t, s, newUser(numberOf(after)))
			}
		}
		if len(got) != n || !slices.IsSorted(got) {
			t.Fatalf("limit %d: pages hold %d accounts, want %d in order: %q", limit, len(got), n, got)
		}
	}
	for _, limit := range []int{math.MaxInt, 0, -1} {
		page, err := s.ListUsers(t.Context(), authkit.UserQuery{After: "id-000003", Limit: limit})
		if want := map[bool]int{true: n - 4}[limit > 0]; err != nil || len(page) != want {
			t.Fatalf("limit %d: %d accounts (%v), want %d", limit, len(page), err, want)
		}
	}
	page, err := s.ListUsers(t.Context(), authkit.UserQuery{After: "id-000003x", Limit: 2})
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
	cutOff := later.Truncate(time.Second)

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
		{authkit.UserUpdate{PasswordHash: new(authkit.PasswordHash("other"))}, func() { u.PasswordHash = "other" }},
		{authkit.UserUpdate{PasswordHash: new(authkit.PasswordHash(""))}, func() { u.PasswordHash = "" }},
		{authkit.UserUpdate{TokensValidAfter: &cutOff}, func() { u.TokensValidAfter = cutOff }},
		{authkit.UserUpdate{EmailVerifiedAt: &start}, func() { u.EmailVerifiedAt = start }},
		{authkit.UserUpdate{LockedUntil: &later}, func() { u.LockedUntil = later }},
		{authkit.UserUpdate{EmailVerifiedAt: &time.Time{}, LockedUntil: &start}, func() { u.EmailVerifiedAt, u.LockedUntil = time.Time{}, start }},
		{authkit.UserUpdate{LockedUntil: &time.Time{}}, func() { u.LockedUntil = time.Time{} }},
		{
			authkit.UserUpdate{PasswordHash: new(authkit.PasswordHash("both")), TokensValidAfter: new(cutOff.Add(time.Second))},
			func() { u.PasswordHash, u.TokensValidAfter = "both", cutOff.Add(time.Second) },
		},
		{authkit.UserUpdate{FullName: new("Late"), TokensValidAfter: &cutOff}, func() { u.FullName = "Late" }},
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
		update(t, s, &u, step.change, later)
		if before != u.Email {
			_, err := s.UserByEmail(t.Context(), before)
			wantError(t, err, authkit.ErrUserNotFound)
		}
	}
	same(t, find(t, s, newUser(2).ID), newUser(2))
}

func testUpdateToATakenEmail(t *testing.T, s authkit.UserStore) {
	create(t, s, newUser(1), newUser(2))
	_, err := s.UpdateUser(t.Context(), "id-000001", authkit.UserUpdate{
		Email: new("user2@example.com"), FullName: new("No"), PasswordHash: new(authkit.PasswordHash("no")), TokensValidAfter: new(start.Truncate(time.Second)),
	}, start.Add(1))
	wantError(t, err, authkit.ErrEmailTaken)
	same(t, find(t, s, "id-000001"), newUser(1))
	same(t, find(t, s, "id-000002"), newUser(2))
}

func testDelete(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	create(t, s, u, newUser(2))
	if err := s.DeleteUser(t.Context(), u.ID, ""); err != nil {
		t.Fatal(err)
	}
	_, err := s.UserByID(t.Context(), u.ID)
	wantError(t, err, authkit.ErrUserNotFound)
	_, err = s.UserByEmail(t.Context(), u.Email)
	wantError(t, err, authkit.ErrUserNotFound)
	wantError(t, s.DeleteUser(t.Context(), u.ID, ""), authkit.ErrUserNotFound)
	list, err := s.ListUsers(t.Context(), authkit.UserQuery{Limit: 10})
	if err != nil || len(list) != 1 || list[0].ID != newUser(2).ID {
		t.Fatalf("left: %v, %v", list, err)
	}
	u.ID = "id-000003" // the address is free again
	create(t, s, u)
	same(t, find(t, s, u.ID), u)
}
