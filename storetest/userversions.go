package storetest

import (
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// testIfVersion changes an account under every precondition on its version. The
// test of an update counts the versions.
func testIfVersion(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	other := newUser(2)
	other.Version = 41 // a new account still has version 1
	create(t, s, u, other)
	other.Version = 1
	at := start.Add(time.Hour)
	for round := range 3 {
		for _, version := range []int64{u.Version - 1, u.Version + 1, -u.Version, 1 << 40} {
			if version == 0 {
				continue
			}
			_, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{
				Email: new("no@example.com"), FullName: new("No"), Roles: &[]string{"no"}, Disabled: new(true),
				EmailVerifiedAt: &at, LockedUntil: &at, PasswordHash: new(authkit.PasswordHash("no")), TokensValidAfter: new(at.Truncate(time.Second)),
				IfVersion: version,
			}, at)
			wantError(t, err, authkit.ErrConflict)
			same(t, find(t, s, u.ID), u)
		}
		u.PasswordHash += "+"
		update(t, s, &u, authkit.UserUpdate{PasswordHash: &u.PasswordHash, IfVersion: u.Version}, at)
		u.FullName += "+"
		update(t, s, &u, authkit.UserUpdate{FullName: &u.FullName}, at.Add(time.Duration(round)*time.Second))
	}
	// An update without changes counts too.
	update(t, s, &u, authkit.UserUpdate{}, at)
	update(t, s, &u, authkit.UserUpdate{IfVersion: u.Version, FullName: &u.FullName}, at)
	same(t, find(t, s, other.ID), other)
}

// newAdmin returns an account that has the role "admin" among others.
func newAdmin(n int) authkit.StoredUser {
	u := newUser(n)
	u.Roles = []string{"user", "admin", "editor"}
	return u
}

// keepAdmin adds the precondition to a change.
func keepAdmin(change authkit.UserUpdate) authkit.UserUpdate {
	change.KeepRole = "admin"
	return change
}

var (
	demote  = authkit.UserUpdate{Roles: &[]string{"user"}}
	disable = authkit.UserUpdate{Disabled: new(true)}
)

// testKeepRole requires a remaining administrator in a store where other
// accounts have similar roles, and one is disabled.
func testKeepRole(t *testing.T, s authkit.UserStore) {
	admin, disabled, alike, plain := newAdmin(1), newAdmin(2), newUser(3), newUser(4)
	disabled.Disabled, alike.Roles, plain.Roles = true, []string{"admin2", "Admin", "super_admin", "adm_n", "adm%"}, nil
	create(t, s, admin, disabled, alike, plain)
	refused := func(u *authkit.StoredUser, change authkit.UserUpdate) {
		t.Helper()
		change.FullName = new("No")
		_, err := s.UpdateUser(t.Context(), u.ID, keepAdmin(change), start.Add(time.Hour))
		wantError(t, err, authkit.ErrLastAdmin)
		same(t, find(t, s, u.ID), *u)
	}
	refused(&admin, demote)
	refused(&admin, disable)
	refused(&admin, authkit.UserUpdate{Roles: &[]string{"admin2", "Admin", "admi"}})
	refused(&admin, authkit.UserUpdate{Roles: &[]string{}})
	wantError(t, s.DeleteUser(t.Context(), admin.ID, "admin"), authkit.ErrLastAdmin)
	same(t, find(t, s, admin.ID), admin)

	// These keep the administrator.
	admin.FullName = "Ada"
	update(t, s, &admin, keepAdmin(authkit.UserUpdate{FullName: new("Ada")}), start)
	admin.Roles = []string{"admin"}
	update(t, s, &admin, keepAdmin(authkit.UserUpdate{Roles: &admin.Roles}), start)
	alike.Disabled = true
	update(t, s, &alike, keepAdmin(disable), start)
	if err := s.DeleteUser(t.Context(), alike.ID, "admin"); err != nil {
		t.Fatal(err)
	}
	disabled.Roles = []string{"user"}
	update(t, s, &disabled, keepAdmin(demote), start)

	// A locked administrator is none until the end of the lock.
	at := start.Add(time.Hour)
	refused(&admin, authkit.UserUpdate{LockedUntil: new(at.Add(time.Microsecond))})
	plain.Roles, plain.LockedUntil = []string{"admin"}, at.Add(time.Microsecond)
	update(t, s, &plain, authkit.UserUpdate{Roles: &plain.Roles, LockedUntil: &plain.LockedUntil}, start)
	refused(&admin, demote)
	refused(&admin, disable)
	refused(&admin, authkit.UserUpdate{LockedUntil: new(at.Add(time.Hour))})
	plain.LockedUntil = at
	update(t, s, &plain, authkit.UserUpdate{LockedUntil: &plain.LockedUntil}, start)
	admin.LockedUntil = at.Add(time.Hour)
	update(t, s, &admin, keepAdmin(authkit.UserUpdate{LockedUntil: &admin.LockedUntil}), at)
	admin.LockedUntil, plain.LockedUntil, plain.Roles = time.Time{}, time.Time{}, []string{"user"}
	update(t, s, &admin, authkit.UserUpdate{LockedUntil: new(time.Time)}, start)
	update(t, s, &plain, authkit.UserUpdate{Roles: &plain.Roles, LockedUntil: new(time.Time)}, start)

	// With a second one, the first can be removed, in each way.
	plain.Roles = []string{"user", "admin"}
	update(t, s, &plain, keepAdmin(authkit.UserUpdate{Roles: &plain.Roles}), start)
	admin.Disabled = true
	update(t, s, &admin, keepAdmin(disable), start)
	refused(&plain, demote)
	admin.Disabled = false
	update(t, s, &admin, keepAdmin(authkit.UserUpdate{Disabled: new(false)}), start)
	plain.Roles = []string{"user"}
	update(t, s, &plain, keepAdmin(demote), start)
	wantError(t, s.DeleteUser(t.Context(), admin.ID, "admin"), authkit.ErrLastAdmin)
	plain.Roles = []string{"admin"}
	update(t, s, &plain, keepAdmin(authkit.UserUpdate{Roles: &plain.Roles}), start)
	if err := s.DeleteUser(t.Context(), admin.ID, "admin"); err != nil {
		t.Fatal(err)
	}

	// Without the precondition, or for another role, the last one can be
	// removed too.
	_, err := s.UpdateUser(t.Context(), plain.ID, authkit.UserUpdate{Disabled: new(true), KeepRole: "user"}, start)
	wantError(t, err, authkit.ErrLastAdmin)
	plain.Disabled = true
	update(t, s, &plain, disable, start)
	// Now there is none, and the precondition fails for every change that does
	// not appoint one.
	refused(&disabled, authkit.UserUpdate{})
	wantError(t, s.DeleteUser(t.Context(), disabled.ID, "admin"), authkit.ErrLastAdmin)
	same(t, find(t, s, disabled.ID), disabled)
	disabled.Roles, disabled.Disabled = []string{"admin"}, false
	update(t, s, &disabled, keepAdmin(authkit.UserUpdate{Roles: &disabled.Roles, Disabled: new(false)}), start)
	if err := s.DeleteUser(t.Context(), disabled.ID, ""); err != nil {
		t.Fatal(err)
	}
}

// testLastAdminStays lets two administrators remove each other, in every pair
// of ways, repeatedly. Then many administrators resign at once.
func testLastAdminStays(t *testing.T, s authkit.UserStore) {
	updating := func(change authkit.UserUpdate) func(id string) error {
		return func(id string) error {
			_, err := s.UpdateUser(t.Context(), id, keepAdmin(change), start)
			return err
		}
	}
	ways := []struct {
		name   string
		remove func(id string) error
	}{
		{"demote", updating(demote)},
		{"disable", updating(disable)},
		{"delete", func(id string) error { return s.DeleteUser(t.Context(), id, "admin") }},
	}
	enabled := func(want int) {
		t.Helper()
		if n, err := s.CountUsers(t.Context(), authkit.UserQuery{Role: "admin", Disabled: new(false)}); err != nil || n != want {
			t.Fatalf("%d enabled administrators are left (%v), want %d", n, err, want)
		}
	}
	number := 0
	for range 5 {
		for _, mine := range ways {
			for _, yours := range ways {
				a, b := newAdmin(number), newAdmin(number+1)
				number += 2
				create(t, s, a, b)
				wins := raceOf(t, 2, func(i int) (bool, error) {
					if i == 0 {
						return wonUnless(authkit.ErrLastAdmin, mine.remove(b.ID))
					}
					return wonUnless(authkit.ErrLastAdmin, yours.remove(a.ID))
				})
				if wins != 1 {
					t.Fatalf("one can %s the other, and the other can %s the one: %d did, want 1", mine.name, yours.name, wins)
				}
				enabled(1)
				for _, u := range []authkit.StoredUser{a, b} {
					_, err := wonUnless(authkit.ErrUserNotFound, s.DeleteUser(t.Context(), u.ID, ""))
					if err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	for i := range racers {
		create(t, s, newAdmin(number+i))
	}
	wins := race(t, func(i int) (bool, error) {
		return wonUnless(authkit.ErrLastAdmin, ways[i%len(ways)].remove(newAdmin(number+i).ID))
	})
	if wins != racers-1 {
		t.Fatalf("%d of %d administrators stepped down, want all but 1", wins, racers)
	}
	enabled(1)
}
