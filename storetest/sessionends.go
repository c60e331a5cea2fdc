package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

func testLimitPerUser(t *testing.T, s authkit.SessionStore) {
	const limit = 3
	others := []authkit.StoredSession{newSession("user-2", 101), newSession("user-2", 102), newSession("user-2", 103), newSession("user-2", 104)}
	begin(t, s, others...)
	var all []authkit.StoredSession
	var want []authkit.Revocation
	for n := range 6 {
		next := newSession("user-1", n)
		next.CreatedAt = next.CreatedAt.In(elsewhere)
		if n == 1 {
			next.ExpiresAt = start.Add(-time.Hour) // expired sessions count too
		}
		if err := s.CreateSession(t.Context(), next, limit); err != nil {
			t.Fatal(err)
		}
		all = append(all, next)
		if out := n - limit; out >= 0 {
			want = append(want, revocationOf(&all[out], next.CreatedAt))
			gone(t, s, all[out])
		}
		holds(t, s, all[max(0, len(all)-limit):]...)
		wantRevocations(t, s, time.Time{}, want...)
	}
	next := newSession("user-1", 7) // with a lower limit
	if err := s.CreateSession(t.Context(), next, 2); err != nil {
		t.Fatal(err)
	}
	want = append(want, revocationOf(&all[3], next.CreatedAt), revocationOf(&all[4], next.CreatedAt))
	wantListed(t, s, "user-1", next.ID, all[5].ID)
	wantRevocations(t, s, time.Time{}, want...)
	holds(t, s, others...)
}

func testLimitGoesByLastUse(t *testing.T, s authkit.SessionStore) {
	a, b, c := newSession("user-1", 1), newSession("user-1", 2), newSession("user-1", 3)
	b.LastUsedAt, b.ExpiresAt = b.LastUsedAt.In(elsewhere), start.Add(1000*time.Hour) // expiry does not matter
	begin(t, s, a, b, c)
	r := newRotation(&a, "next", time.Minute)
	if _, _, err := s.RotateSession(t.Context(), a.ID, r); err != nil {
		t.Fatal(err)
	}
	a = r.Apply(a)
	d := newSession("user-1", 4)
	d.LastUsedAt = start.Add(-time.Hour) // the least recently used, although new
	if err := s.CreateSession(t.Context(), d, 3); err != nil {
		t.Fatal(err)
	}
	holds(t, s, a, c, d)
	gone(t, s, b)
	wantRevocations(t, s, time.Time{}, revocationOf(&b, d.CreatedAt))

	x, y, z := newSession("user-2", 11), newSession("user-2", 12), newSession("user-2", 13)
	x.LastUsedAt = y.LastUsedAt // the greater ID is the last in the list, and goes
	begin(t, s, y, x)
	if err := s.CreateSession(t.Context(), z, 2); err != nil {
		t.Fatal(err)
	}
	wantListed(t, s, "user-2", z.ID, x.ID)
}

func testRotate(t *testing.T, s authkit.SessionStore) {
	a, b := newSession("user-1", 1), newSession("user-1", 2)
	begin(t, s, a, b)
	second := newRotation(&a, "second", time.Minute)
	third := newRotation(&a, "third", time.Hour)
	third.Old, third.Successor, third.Address = second.New, nil, ""
	third.ExpiresAt = a.AbsoluteExpiresAt.Add(time.Hour) // the store does not adjust it
	fourth := newRotation(&a, "fourth", -time.Hour)
	fourth.Old = third.New
	for _, r := range []authkit.Rotation{second, third, fourth} {
		a = r.Apply(a)
		got, rotated, err := s.RotateSession(t.Context(), a.ID, r)
		if err != nil || !rotated {
			t.Fatalf("rotated %v (%v)", rotated, err)
		}
		sameSession(t, got, a)
		holds(t, s, a, b)
	}
	wantRevocations(t, s, time.Time{})
}

func testRotateTheWrongToken(t *testing.T, s authkit.SessionStore) {
	a := newSession("user-1", 1)
	begin(t, s, a)
	refused := func(old [32]byte) {
		t.Helper()
		r := newRotation(&a, "stolen", time.Hour)
		r.Old = old
		got, rotated, err := s.RotateSession(t.Context(), a.ID, r)
		if err != nil || rotated {
			t.Fatalf("old %x: rotated %v (%v)", old, rotated, err)
		}
		sameSession(t, got, a)
		holds(t, s, a)
	}
	for i := range 3 {
		for _, at := range []int{0, 15, 31} {
			near := a.TokenHash
			near[at] ^= 0x20 // for a letter, its case
			refused(near)
		}
		refused([32]byte{})
		refused(a.ParentHash)
		grandparent := a.ParentHash
		r := newRotation(&a, string(rune('a'+i)), time.Minute)
		if _, _, err := s.RotateSession(t.Context(), a.ID, r); err != nil {
			t.Fatal(err)
		}
		a = r.Apply(a)
		refused(grandparent)
	}
}

func testRevokeOne(t *testing.T, s authkit.SessionStore) {
	a, b, c := newSession("user-1", 1), newSession("user-1", 2), newSession("user-2", 3)
	begin(t, s, a, b, c)
	revoke := func(userID, id string, want bool) {
		t.Helper()
		revoked, err := s.RevokeSession(t.Context(), userID, id, start.Add(time.Second).In(elsewhere))
		if err != nil || revoked != want {
			t.Fatalf("RevokeSession(%q, %q): %v (%v), want %v", userID, id, revoked, err, want)
		}
	}
	for _, other := range []string{"", "user-2", "nobody", "\x00", a.ID} {
		revoke(other, a.ID, false)
	}
	wantRevocations(t, s, time.Time{})
	holds(t, s, a, b, c)

	want := revocationOf(&a, start.Add(time.Second))
	revoke("user-1", a.ID, true)
	wantRevocations(t, s, time.Time{}, want)
	revoke("user-1", a.ID, false)
	gone(t, s, a)
	wantRevocations(t, s, time.Time{}, want)
	holds(t, s, b, c)
	wantListed(t, s, "user-1", b.ID)
}

func testRevokeOthers(t *testing.T, s authkit.SessionStore) {
	a, b, c, other := newSession("user-1", 1), newSession("user-1", 2), newSession("user-1", 3), newSession("user-2", 4)
	begin(t, s, a, b, c, other)
	at := start.Add(time.Second).In(elsewhere)
	want := []authkit.Revocation{revocationOf(&a, at), revocationOf(&c, at)}
	for range 2 { // the second time there are none
		if err := s.RevokeSessions(t.Context(), "user-1", b.ID, at); err != nil {
			t.Fatal(err)
		}
		wantRevocations(t, s, time.Time{}, want...)
		holds(t, s, b, other)
		gone(t, s, a)
		gone(t, s, c)
	}
	// An ID of another user keeps no session.
	if err := s.RevokeSessions(t.Context(), "user-1", other.ID, at); err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeSessions(t.Context(), "nobody", other.ID, at); err != nil {
		t.Fatal(err)
	}
	gone(t, s, b)
	wantRevocations(t, s, time.Time{}, append(want, revocationOf(&b, at))...)
	holds(t, s, other)
}

func testRevokeAll(t *testing.T, s authkit.SessionStore) {
	a, b, other := newSession("user-1", 1), newSession("user-1", 2), newSession("user-2", 3)
	begin(t, s, a, b, other)
	var want []authkit.Revocation
	for i, user := range []string{"user-1", "nobody", "user-1"} {
		at := start.Add(time.Duration(i) * time.Second).In(elsewhere)
		if err := s.RevokeSessions(t.Context(), user, "", at); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			want = append(want, revocationOf(&a, at), revocationOf(&b, at))
		}
		want = append(want, authkit.Revocation{UserID: user, At: at})
		wantRevocations(t, s, time.Time{}, want...)
		gone(t, s, a)
		gone(t, s, b)
		holds(t, s, other)
	}
	next := newSession("user-1", 5) // a later login is not affected
	begin(t, s, next)
	holds(t, s, next)
}

func testRevocationsSince(t *testing.T, s authkit.SessionStore) {
	second := start.Truncate(time.Second)
	var want []authkit.Revocation // the latest first
	for i, at := range []time.Time{
		second.Add(time.Hour), second.Add(10 * time.Millisecond).In(elsewhere), second.Add(time.Microsecond),
		second, second.Add(-time.Microsecond).In(elsewhere),
	} {
		one := newSession("user-1", i)
		begin(t, s, one)
		want = append(want, revocationOf(&one, at))
	}
	for i := range want {
		r := want[(i*3)%len(want)]
		if _, err := s.RevokeSession(t.Context(), r.UserID, r.SessionID, r.At); err != nil {
			t.Fatal(err)
		}
	}
	for i := range want {
		for _, since := range []time.Time{want[i].At.UTC(), want[i].At.In(elsewhere)} {
			wantRevocations(t, s, since, want[:i+1]...)
		}
		wantRevocations(t, s, want[i].At.Add(time.Microsecond), want[:i]...)
	}
	wantRevocations(t, s, time.Time{}, want...)
}

// deleteExpired checks how many rows are deleted.
func deleteExpired(t *testing.T, s authkit.SessionStore, at, revokedBefore time.Time, limit, want int) {
	t.Helper()
	if n, err := s.DeleteExpired(t.Context(), at, revokedBefore, limit); err != nil || n != want {
		t.Fatalf("DeleteExpired with limit %d: %d (%v), want %d", limit, n, err, want)
	}
}

func testDeleteExpired(t *testing.T, s authkit.SessionStore) {
	second := start.Truncate(time.Second)
	before, then, after := newSession("user-1", 1), newSession("user-1", 2), newSession("user-2", 3)
	before.ExpiresAt, then.ExpiresAt, after.ExpiresAt = second.Add(-time.Microsecond), second.In(elsewhere), second.Add(time.Microsecond)
	begin(t, s, before, then, after)
	for i, at := range []time.Time{second.Add(-time.Microsecond), second, second.Add(time.Microsecond)} {
		if err := s.RevokeSessions(t.Context(), "user-3", "", at); err != nil {
			t.Fatalf("revocation %d: %v", i, err)
		}
	}
	kept := []authkit.Revocation{{UserID: "user-3", At: second}, {UserID: "user-3", At: second.Add(time.Microsecond)}}

	deleteExpired(t, s, second.Add(-time.Microsecond), second.Add(-time.Microsecond), unlimited, 0)
	holds(t, s, before, then, after)
	deleteExpired(t, s, second, time.Time{}, unlimited, 1)
	gone(t, s, before)
	deleteExpired(t, s, time.Time{}, second.In(elsewhere), unlimited, 1)
	wantRevocations(t, s, time.Time{}, kept...)
	deleteExpired(t, s, second, second, unlimited, 0)
	holds(t, s, then, after)

	// The time of the last rotation counts.
	r := newRotation(&then, "next", time.Hour)
	if _, _, err := s.RotateSession(t.Context(), then.ID, r); err != nil {
		t.Fatal(err)
	}
	deleteExpired(t, s, r.ExpiresAt.In(elsewhere), second.Add(time.Microsecond), unlimited, 2)
	then = r.Apply(then)
	holds(t, s, then)
	gone(t, s, after)
	wantRevocations(t, s, time.Time{}, kept[1])

	// The same holds if it was moved back.
	r = newRotation(&then, "back", time.Hour)
	r.ExpiresAt = second.Add(time.Minute)
	if _, _, err := s.RotateSession(t.Context(), then.ID, r); err != nil {
		t.Fatal(err)
	}
	deleteExpired(t, s, r.ExpiresAt, time.Time{}, unlimited, 0)
	holds(t, s, r.Apply(then))
	deleteExpired(t, s, r.ExpiresAt.Add(time.Microsecond), time.Time{}, unlimited, 1)
	gone(t, s, then)
}

func testDeleteExpiredLimit(t *testing.T, s authkit.SessionStore) {
	late := start.Add(1000 * time.Hour)
	for n := range 5 {
		begin(t, s, newSession("user-1", n))
	}
	for n := range 4 {
		if err := s.RevokeSessions(t.Context(), "user-2", "", start.Add(time.Duration(n)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	deleteExpired(t, s, late, late, 0, 0)
	deleteExpired(t, s, late, late, -1, 0)
	for _, want := range []int{4, 4, 1, 0} { // two of each, as long as there are any
		deleteExpired(t, s, late, late, 2, want)
	}
	wantListed(t, s, "user-1")
	wantRevocations(t, s, time.Time{})
}

func testDeletedLeaveTheirUser(t *testing.T, s authkit.SessionStore) {
	a, b, c, d := newSession("user-1", 1), newSession("user-1", 2), newSession("user-1", 3), newSession("user-1", 4)
	begin(t, s, a, b)
	deleteExpired(t, s, b.ExpiresAt, time.Time{}, unlimited, 1)
	gone(t, s, a)
	wantListed(t, s, "user-1", b.ID)
	for _, next := range []authkit.StoredSession{c, d} {
		if err := s.CreateSession(t.Context(), next, 3); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, s, b, c, d) // the removed one does not count
	if err := s.RevokeSessions(t.Context(), "user-1", d.ID, start); err != nil {
		t.Fatal(err)
	}
	wantRevocations(t, s, time.Time{}, revocationOf(&b, start), revocationOf(&c, start))
	deleteExpired(t, s, d.ExpiresAt.Add(time.Hour), time.Time{}, unlimited, 1)
	wantListed(t, s, "user-1")
}

func testSessionCancelledContext(t *testing.T, s authkit.SessionStore) {
	a, b := newSession("user-1", 1), newSession("user-1", 2)
	begin(t, s, a)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fails := func(method string, err error) {
		t.Helper()
		if err == nil || errors.Is(err, authkit.ErrSessionNotFound) {
			t.Errorf("%s with a cancelled context: got error %v", method, err)
		}
	}
	for _, id := range []string{a.ID, "nothing"} {
		_, err := s.SessionByID(ctx, id)
		fails("SessionByID", err)
		_, _, err = s.RotateSession(ctx, id, newRotation(&b, "next", time.Minute))
		fails("RotateSession", err)
		_, err = s.RevokeSession(ctx, "user-1", id, start)
		fails("RevokeSession", err)
	}
	_, err := s.SessionsByUser(ctx, "user-1")
	fails("SessionsByUser", err)
	_, err = s.Revocations(ctx, time.Time{})
	fails("Revocations", err)
	_, err = s.DeleteExpired(ctx, start.Add(1000*time.Hour), start, unlimited)
	fails("DeleteExpired", err)
	fails("CreateSession", s.CreateSession(ctx, b, 1))
	fails("RevokeSessions", s.RevokeSessions(ctx, "user-1", b.ID, start))
	fails("RevokeSessions", s.RevokeSessions(ctx, "user-1", "", start))
}
