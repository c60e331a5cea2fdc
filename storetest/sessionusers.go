package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// A joinedStore is an [authkit.SessionUserStore] with its accounts and
// sessions.
type joinedStore interface {
	authkit.UserStore
	authkit.SessionStore
	authkit.SessionUserStore
}

// sessionUserTests are the tests of an [authkit.SessionUserStore].
func sessionUserTests(rounds int) map[string]func(*testing.T, joinedStore) {
	return map[string]func(*testing.T, joinedStore){
		"SessionUser":               testSessionUser,
		"SessionUserNotFound":       testSessionUserNotFound,
		"SessionUserSharesNoMemory": testSessionUserSharesNoMemory,
		"SessionUserCancelled":      testSessionUserCancelled,
		"SessionUserSeesChanges":    func(t *testing.T, s joinedStore) { testSessionUserSeesChanges(t, s, rounds) },
	}
}

// hasBoth checks that SessionUser returns the session and the account like the
// methods for each.
func hasBoth(t *testing.T, s joinedStore, session authkit.StoredSession, user authkit.StoredUser) {
	t.Helper()
	gotSession, gotUser, err := s.SessionUser(t.Context(), session.ID)
	if err != nil {
		t.Fatalf("SessionUser(%q): %v", session.ID, err)
	}
	sameSession(t, gotSession, session)
	same(t, gotUser, user)
	holds(t, s, session)
	same(t, find(t, s, user.ID), user)
}

func testSessionUser(t *testing.T, s joinedStore) {
	ada, bob := newUser(1), newUser(2)
	ada.EmailVerifiedAt, ada.LockedUntil, ada.TokensValidAfter = start, start.Add(time.Hour).In(elsewhere), wholeSecond
	bob.FullName, bob.Roles, bob.Disabled, bob.PasswordHash = "", nil, true, ""
	create(t, s, ada, bob)
	a, b, c := newSession(ada.ID, 1), newSession(ada.ID, 2), newSession(bob.ID, 3)
	b.ParentHash, b.RotatedAt, b.Successor = hashOf("parent"), start, []byte("sealed")
	c.AuthTime, c.Methods, c.ExpiresAt = time.Time{}, nil, start.Add(-time.Hour) // expired or not
	begin(t, s, a, b, c)
	hasBoth(t, s, a, ada)
	hasBoth(t, s, b, ada)
	hasBoth(t, s, c, bob)

	// The latest change of each is visible.
	r := newRotation(&a, "next", time.Minute)
	if _, _, err := s.RotateSession(t.Context(), a.ID, r); err != nil {
		t.Fatal(err)
	}
	a = r.Apply(a)
	hasBoth(t, s, a, ada)
	ada.Disabled, ada.Roles, ada.Email = true, []string{"viewer"}, "other@example.com"
	update(t, s, &ada, authkit.UserUpdate{Disabled: new(true), Roles: &ada.Roles, Email: &ada.Email}, start)
	hasBoth(t, s, a, ada)
	hasBoth(t, s, b, ada)
	hasBoth(t, s, c, bob)
}

func testSessionUserNotFound(t *testing.T, s joinedStore) {
	ada, bob := newUser(1), newUser(2)
	create(t, s, ada, bob)
	a, b := newSession(ada.ID, 1), newSession(bob.ID, 2)
	nobodys, alike, similar := newSession("nobody", 3), newSession("ID-000001", 4), newSession(ada.ID+" ", 5)
	begin(t, s, a, b, nobodys, alike, similar)
	missing := func(id string, want, not error) {
		t.Helper()
		_, _, err := s.SessionUser(t.Context(), id)
		wantError(t, err, want)
		if errors.Is(err, not) {
			t.Fatalf("session %q: got error %v, which is two", id, err)
		}
	}
	for _, id := range []string{"", "nothing", ada.ID, a.ID + "\x00", a.ID + "\xff", a.ID + " ", a.ID[:len(a.ID)-1], "SESSION-000001"} {
		missing(id, authkit.ErrSessionNotFound, authkit.ErrUserNotFound)
	}
	for _, x := range []authkit.StoredSession{nobodys, alike, similar} {
		missing(x.ID, authkit.ErrUserNotFound, authkit.ErrSessionNotFound)
	}
	if err := s.DeleteUser(t.Context(), ada.ID, ""); err != nil {
		t.Fatal(err)
	}
	missing(a.ID, authkit.ErrUserNotFound, authkit.ErrSessionNotFound)
	for _, x := range []authkit.StoredSession{a, b} {
		if _, err := s.RevokeSession(t.Context(), x.UserID, x.ID, start); err != nil {
			t.Fatal(err)
		}
		missing(x.ID, authkit.ErrSessionNotFound, authkit.ErrUserNotFound)
	}
	same(t, find(t, s, bob.ID), bob)
}

func testSessionUserSharesNoMemory(t *testing.T, s joinedStore) {
	ada := newUser(1)
	a := newSession(ada.ID, 1)
	a.Successor = []byte("a sealed token")
	create(t, s, ada)
	begin(t, s, a)
	session, user, err := s.SessionUser(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	session.Methods[0], session.Successor[0], user.Roles[0] = "scribbled", '!', "scribbled"
	wanted := newSession(ada.ID, 1)
	wanted.Successor = []byte("a sealed token")
	hasBoth(t, s, wanted, newUser(1))
}

func testSessionUserCancelled(t *testing.T, s joinedStore) {
	ada := newUser(1)
	create(t, s, ada)
	begin(t, s, newSession(ada.ID, 1), newSession("nobody", 2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, id := range []string{"session-000001", "session-000002", "nothing"} {
		_, _, err := s.SessionUser(ctx, id)
		if err == nil || errors.Is(err, authkit.ErrSessionNotFound) || errors.Is(err, authkit.ErrUserNotFound) {
			t.Errorf("SessionUser(%q) with a cancelled context: got error %v", id, err)
		}
	}
}

// testSessionUserSeesChanges alternately rotates a session and changes its
// account. Readers must see both complete, and no older than the last change
// that has returned.
func testSessionUserSeesChanges(t *testing.T, s joinedStore, rounds int) {
	ada := newUser(1)
	a := newSession(ada.ID, 1)
	a.Address, ada.FullName = "0", "0"
	create(t, s, ada)
	begin(t, s, a)
	number := func(text string) (n int64) {
		_, _ = fmt.Sscan(text, &n)
		return n
	}
	id := a.ID // the writer changes a
	var rotations, updates atomic.Int64
	besides(t, func() error {
		rotated, updated := rotations.Load(), updates.Load()
		session, user, err := s.SessionUser(t.Context(), id)
		if err != nil {
			return err
		}
		if user.ID != ada.ID || user.Version != 1+number(user.FullName) || session.UserID != ada.ID ||
			session.Address != "0" && session.TokenHash != hashOf(session.Address) {
			return fmt.Errorf("a mixture: %s, %+v", show(&session), user)
		}
		if number(session.Address) < rotated || number(user.FullName) < updated {
			return fmt.Errorf("rotation %s and update %s, after %d and %d", session.Address, user.FullName, rotated, updated)
		}
		return nil
	}, 2*rounds, func(n int) error {
		step := int64(n+1) / 2
		if n%2 == 0 {
			_, err := s.UpdateUser(t.Context(), ada.ID, authkit.UserUpdate{FullName: new(fmt.Sprint(step))}, start)
			updates.Store(step)
			return err
		}
		r := newRotation(&a, fmt.Sprint(step), time.Minute)
		a = r.Apply(a)
		_, rotated, err := s.RotateSession(t.Context(), a.ID, r)
		if err == nil && !rotated {
			err = errors.New("not rotated")
		}
		rotations.Store(step)
		return err
	})
}
