package storetest

import (
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// testIfVersion changes an account under every precondition on its version. The test of an
// update counts the versions.
func testIfVersion(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	other := newUser(2)
	other.Version = 41 // a new account has version 1 whatever it says
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
				EmailVerifiedAt: &at, LockedUntil: &at, PasswordHash: new(authkit.PasswordHash("no")), ValidFrom: new(at.Truncate(time.Second)),
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
	// An update that changes nothing counts as well.
	update(t, s, &u, authkit.UserUpdate{}, at)
	update(t, s, &u, authkit.UserUpdate{IfVersion: u.Version, FullName: &u.FullName}, at)
	same(t, find(t, s, other.ID), other)
}
