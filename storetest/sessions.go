package storetest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// TestSessionStore tests an implementation of [authkit.SessionStore] against
// the contract in the comment of that interface. The function open returns an
// empty store for one test. It may register a cleanup. The subtests run in
// parallel, some of them with 64 goroutines. With -short the races have fewer
// rounds. If the store is an [authkit.SessionUserStore], the subtests of that
// interface run too.
func TestSessionStore(t *testing.T, open func(t *testing.T) authkit.SessionStore) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	testSessionStore(t, rounds, open)
}

// testSessionStore is TestSessionStore with a number of rounds for each race.
func testSessionStore(t *testing.T, rounds int, open func(t *testing.T) authkit.SessionStore) {
	tests := map[string]func(*testing.T, authkit.SessionStore){
		"CreateAndRead":            testCreateAndRead,
		"NotFound":                 testSessionNotFound,
		"IDIsUnique":               testSessionIDIsUnique,
		"ComparesBytes":            testSessionComparesBytes,
		"KeepsText":                testSessionKeepsText,
		"KeepsTimes":               testSessionKeepsTimes,
		"KeepsProof":               testSessionKeepsProof,
		"SharesNoMemory":           testSessionSharesNoMemory,
		"ListsLastUsedFirst":       testListsLastUsedFirst,
		"LimitPerUser":             testLimitPerUser,
		"LimitGoesByLastUse":       testLimitGoesByLastUse,
		"Rotate":                   testRotate,
		"RotateTheWrongToken":      testRotateTheWrongToken,
		"RevokeOne":                testRevokeOne,
		"RevokeOthers":             testRevokeOthers,
		"RevokeAll":                testRevokeAll,
		"RevocationsSince":         testRevocationsSince,
		"DeleteExpired":            testDeleteExpired,
		"DeleteExpiredLimit":       testDeleteExpiredLimit,
		"DeletedLeaveTheirUser":    testDeletedLeaveTheirUser,
		"CancelledContext":         testSessionCancelledContext,
		"CreatorsKeepTheLimit":     testCreatorsKeepTheLimit,
		"OneRevokerWins":           testOneRevokerWins,
		"DeletedAreCountedOnce":    testDeletedAreCountedOnce,
		"AllMethodsAtOnce":         testAllSessionMethodsAtOnce,
		"OneRotationWins":          func(t *testing.T, s authkit.SessionStore) { testOneRotationWins(t, s, rounds) },
		"RotationsAreAChain":       func(t *testing.T, s authkit.SessionStore) { testRotationsAreAChain(t, s, rounds) },
		"RevokedNeverComesBack":    func(t *testing.T, s authkit.SessionStore) { testRevokedNeverComesBack(t, s, max(2, rounds/20)) },
		"RotatedIsNotExpired":      func(t *testing.T, s authkit.SessionStore) { testRotatedIsNotExpired(t, s, rounds) },
		"EndTogether":              func(t *testing.T, s authkit.SessionStore) { testEndTogether(t, s, rounds) },
		"EndIsOneChange":           func(t *testing.T, s authkit.SessionStore) { testEndIsOneChange(t, s, rounds) },
		"ReadersSeeWholeRecords":   func(t *testing.T, s authkit.SessionStore) { testReadersSeeWholeSessions(t, s, max(20, rounds)) },
		"CancelledInTheMiddleOfIt": func(t *testing.T, s authkit.SessionStore) { testCancelledInTheMiddle(t, s, min(rounds, 50)) },
	}
	if _, ok := open(t).(joinedStore); ok {
		for name, test := range sessionUserTests(rounds) {
			tests[name] = func(t *testing.T, s authkit.SessionStore) { test(t, s.(joinedStore)) }
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// unlimited is a limit that no test reaches.
const unlimited = 1000

// elsewhere is a time zone other than UTC, to test that times are compared as
// instants.
var elsewhere = time.FixedZone("elsewhere", -(7*3600 + 1800))

func hashOf(text string) [32]byte { return sha256.Sum256([]byte(text)) }

// newSession returns a session in which every field depends on n. It was last
// used n seconds after start.
func newSession(userID string, n int) authkit.StoredSession {
	at := start.Add(time.Duration(n) * time.Second)
	return authkit.StoredSession{
		Session: authkit.Session{
			ID:     fmt.Sprintf("session-%06d", n),
			UserID: userID,
			Device: fmt.Sprintf("Browser %d", n), Address: fmt.Sprintf("192.0.2.%d", n),
			CreatedAt: at, LastUsedAt: at, ExpiresAt: at.Add(time.Hour), AbsoluteExpiresAt: at.Add(24 * time.Hour),
			AuthTime: at.Add(-time.Duration(n+1) * time.Microsecond), Methods: []string{"pwd", fmt.Sprint("otp-", n)},
		},
		TokenHash: hashOf(fmt.Sprint("token ", n)),
	}
}

// newRotation returns a rotation of the session at a time after start.
func newRotation(s *authkit.StoredSession, text string, after time.Duration) authkit.Rotation {
	at := start.Add(after)
	return authkit.Rotation{
		Old: s.TokenHash, New: hashOf(text), Successor: []byte("sealed " + text),
		At: at, ExpiresAt: at.Add(2 * time.Hour), Address: text,
	}
}

func begin(t *testing.T, s authkit.SessionStore, sessions ...authkit.StoredSession) {
	t.Helper()
	for i := range sessions {
		if err := s.CreateSession(t.Context(), sessions[i], unlimited); err != nil {
			t.Fatalf("CreateSession(%q): %v", sessions[i].ID, err)
		}
	}
}

// findSession returns the session and checks that the list of its user has it
// too.
func findSession(t *testing.T, s authkit.SessionStore, id string) authkit.StoredSession {
	t.Helper()
	found, err := s.SessionByID(t.Context(), id)
	if err != nil {
		t.Fatalf("SessionByID(%q): %v", id, err)
	}
	list, err := s.SessionsByUser(t.Context(), found.UserID)
	if err != nil || !slices.ContainsFunc(list, func(l authkit.Session) bool { return equalSessions(l, found.Session) }) {
		t.Fatalf("SessionsByUser(%q): got %+v (%v), want %+v among them", found.UserID, list, err, found.Session)
	}
	return found
}

func equalSessions(a, b authkit.Session) bool {
	return a.ID == b.ID && a.UserID == b.UserID && a.Device == b.Device && a.Address == b.Address && a.CreatedAt.Equal(b.CreatedAt) &&
		a.LastUsedAt.Equal(b.LastUsedAt) && a.ExpiresAt.Equal(b.ExpiresAt) && a.AbsoluteExpiresAt.Equal(b.AbsoluteExpiresAt) &&
		a.AuthTime.Equal(b.AuthTime) && slices.Equal(a.Methods, b.Methods)
}

// equalStored treats a nil Successor like an empty one.
func equalStored(a, b *authkit.StoredSession) bool {
	return equalSessions(a.Session, b.Session) && a.TokenHash == b.TokenHash && a.ParentHash == b.ParentHash &&
		a.RotatedAt.Equal(b.RotatedAt) && bytes.Equal(a.Successor, b.Successor)
}

// show returns all fields of a session. Its Format hides some.
func show(s *authkit.StoredSession) string {
	return fmt.Sprintf("%+v token %x parent %x rotated %v successor %q", s.Session, s.TokenHash, s.ParentHash, s.RotatedAt, s.Successor)
}

func sameSession(t *testing.T, got, want authkit.StoredSession) {
	t.Helper()
	if !equalStored(&got, &want) {
		t.Fatalf("got  %s\nwant %s", show(&got), show(&want))
	}
}

// holds checks that the store has exactly these values of the sessions.
func holds(t *testing.T, s authkit.SessionStore, sessions ...authkit.StoredSession) {
	t.Helper()
	for i := range sessions {
		sameSession(t, findSession(t, s, sessions[i].ID), sessions[i])
	}
}

// gone checks that no method returns a session.
func gone(t *testing.T, s authkit.SessionStore, was authkit.StoredSession) {
	t.Helper()
	_, err := s.SessionByID(t.Context(), was.ID)
	wantError(t, err, authkit.ErrSessionNotFound)
	if slices.Contains(listed(t, s, was.UserID), was.ID) {
		t.Fatalf("SessionsByUser(%q) has %q still", was.UserID, was.ID)
	}
	_, rotated, err := s.RotateSession(t.Context(), was.ID, newRotation(&was, "too late", time.Hour))
	wantError(t, err, authkit.ErrSessionNotFound)
	revoked, err := s.RevokeSession(t.Context(), was.UserID, was.ID, start)
	if err != nil || rotated || revoked {
		t.Fatalf("a session that is gone: rotated %v, revoked %v (%v)", rotated, revoked, err)
	}
}

// listed returns the IDs of SessionsByUser.
func listed(t *testing.T, s authkit.SessionStore, userID string) []string {
	t.Helper()
	list, err := s.SessionsByUser(t.Context(), userID)
	if err != nil {
		t.Fatalf("SessionsByUser(%q): %v", userID, err)
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	return ids
}

func wantListed(t *testing.T, s authkit.SessionStore, userID string, want ...string) {
	t.Helper()
	if got := listed(t, s, userID); !slices.Equal(got, want) {
		t.Fatalf("SessionsByUser(%q): got %q, want %q", userID, got, want)
	}
}

func compareRevocations(a, b authkit.Revocation) int {
	return cmp.Or(strings.Compare(a.UserID, b.UserID), strings.Compare(a.SessionID, b.SessionID), a.At.Compare(b.At))
}

// wantRevocations checks what Revocations returns, in any order.
func wantRevocations(t *testing.T, s authkit.SessionStore, since time.Time, want ...authkit.Revocation) {
	t.Helper()
	got, err := s.Revocations(t.Context(), since)
	if err != nil {
		t.Fatalf("Revocations: %v", err)
	}
	slices.SortFunc(got, compareRevocations)
	slices.SortFunc(want, compareRevocations)
	if !slices.EqualFunc(got, want, func(a, b authkit.Revocation) bool { return compareRevocations(a, b) == 0 }) {
		t.Fatalf("Revocations(%v):\ngot  %+v\nwant %+v", since, got, want)
	}
}

// revocationOf returns the Revocation of the end of a session.
func revocationOf(s *authkit.StoredSession, at time.Time) authkit.Revocation {
	return authkit.Revocation{UserID: s.UserID, SessionID: s.ID, At: at}
}

func testCreateAndRead(t *testing.T, s authkit.SessionStore) {
	plain, full, bare := newSession("user-1", 1), newSession("user-1", 2), newSession("user-2", 3)
	full.ParentHash, full.RotatedAt = hashOf("parent"), start.Add(5*time.Second)
	for i := range full.TokenHash {
		full.TokenHash[i] = byte(i * 255 / 31) // starts with a zero and ends with 255
		full.Successor = append(full.Successor, byte(i*8), byte(255-i*8))
	}
	bare.Device, bare.Address, bare.Successor = "", "", []byte{}
	bare.AuthTime, bare.Methods = time.Time{}, []string{}
	begin(t, s, plain, full, bare)
	holds(t, s, plain, full, bare)
	if got := findSession(t, s, plain.ID); !got.RotatedAt.IsZero() || got.ParentHash != ([32]byte{}) || len(got.Successor) != 0 {
		t.Fatalf("a session that was never rotated: %s", show(&got))
	}
	if got := findSession(t, s, bare.ID); !got.AuthTime.IsZero() || len(got.Methods) != 0 {
		t.Fatalf("a session without a proof: %s", show(&got))
	}
	wantRevocations(t, s, time.Time{})
}

func testSessionNotFound(t *testing.T, s authkit.SessionStore) {
	there := newSession("user-1", 1)
	begin(t, s, there)
	for _, id := range []string{"", "nothing", "user-1", there.ID + "\x00", there.ID + "\xff", there.ID + " ", there.ID[:len(there.ID)-1]} {
		got, err := s.SessionByID(t.Context(), id)
		wantError(t, err, authkit.ErrSessionNotFound)
		sameSession(t, got, authkit.StoredSession{})
		got, rotated, err := s.RotateSession(t.Context(), id, newRotation(&there, "next", time.Minute))
		wantError(t, err, authkit.ErrSessionNotFound)
		sameSession(t, got, authkit.StoredSession{})
		revoked, err := s.RevokeSession(t.Context(), there.UserID, id, start)
		if rotated || revoked || err != nil {
			t.Fatalf("session %q: rotated %v, revoked %v (%v)", id, rotated, revoked, err)
		}
	}
	wantListed(t, s, "nobody")
	wantRevocations(t, s, time.Time{})
	holds(t, s, there)
}

func testSessionIDIsUnique(t *testing.T, s authkit.SessionStore) {
	first, other := newSession("user-1", 1), newSession("user-1", 2)
	begin(t, s, first, other)
	for _, user := range []string{"user-1", "user-2"} {
		second := newSession(user, 3)
		second.ID = first.ID
		err := s.CreateSession(t.Context(), second, 1) // would exceed the limit if it were created
		if err == nil || errors.Is(err, authkit.ErrSessionNotFound) {
			t.Fatalf("a second session with an ID: got error %v", err)
		}
	}
	holds(t, s, first, other)
	wantListed(t, s, "user-2")
	wantRevocations(t, s, time.Time{})
}

func testSessionComparesBytes(t *testing.T, s authkit.SessionStore) {
	users := []string{"user", "User", "user ", "üser", "%", "us_r", "*", "u:r", "same"}
	var all []authkit.StoredSession
	for i, user := range users {
		all = append(all, newSession(user, i))
	}
	all[0].ID, all[1].ID, all[2].ID, all[8].ID = "id", "ID", "id ", "same"
	begin(t, s, all...)
	holds(t, s, all...)
	for i, user := range users {
		wantListed(t, s, user, all[i].ID)
		for _, other := range users {
			if other == user {
				continue
			}
			if revoked, err := s.RevokeSession(t.Context(), other, all[i].ID, start); revoked || err != nil {
				t.Fatalf("%q revoked a session of %q (%v)", other, user, err)
			}
		}
	}
	for i, user := range users { // only the sessions of this user
		if err := s.RevokeSessions(t.Context(), user, "", start); err != nil {
			t.Fatal(err)
		}
		holds(t, s, all[i+1:]...)
	}
}

func testSessionKeepsText(t *testing.T, s authkit.SessionStore) {
	a, b := newSession("user-1", 1), newSession("user-1", 2)
	a.Device = strings.ToValidUTF8(strings.Repeat("Ælfrēd 🔑 'quoted\" % \\ ; -- $1 {} ", 9)[:256], "?")
	a.Device += strings.Repeat("x", 256-len(a.Device))
	a.Address = "2001:db8:ffff:ffff:ffff:ffff:255.255.255.255%" + strings.Repeat("z", 19)
	b.Device, b.Address = " \u00a0outer spaces ", " "
	begin(t, s, a, b)
	holds(t, s, a, b)
	r := newRotation(&a, "next", time.Hour)
	r.Address = b.Device
	if _, _, err := s.RotateSession(t.Context(), a.ID, r); err != nil {
		t.Fatal(err)
	}
	holds(t, s, r.Apply(a), b)
}

func testSessionKeepsTimes(t *testing.T, s authkit.SessionStore) {
	var all []authkit.StoredSession
	for i, at := range []time.Time{
		start, start.In(elsewhere), start.Truncate(time.Second), start.Truncate(time.Second).Add(time.Microsecond),
		start.Truncate(time.Second).Add(-time.Microsecond), time.Date(2024, 2, 29, 23, 59, 59, 999999000, elsewhere),
		time.Date(2100, 1, 1, 0, 0, 0, 1000, time.UTC),
	} {
		x := newSession("user-1", i)
		x.CreatedAt, x.LastUsedAt, x.RotatedAt = at, at.Add(time.Microsecond), at.Add(2*time.Microsecond)
		x.AuthTime = at.Add(-time.Microsecond)
		x.ExpiresAt, x.AbsoluteExpiresAt = at.Add(time.Hour+3*time.Microsecond), at.AddDate(1, 0, 0).Add(4*time.Microsecond)
		all = append(all, x)
	}
	begin(t, s, all...)
	holds(t, s, all...)
	var want []authkit.Revocation
	for i := range all {
		r := newRotation(&all[i], "next", time.Duration(i)*time.Microsecond)
		r.At, r.ExpiresAt = r.At.In(elsewhere), r.ExpiresAt.In(elsewhere)
		if _, _, err := s.RotateSession(t.Context(), all[i].ID, r); err != nil {
			t.Fatal(err)
		}
		holds(t, s, r.Apply(all[i]))
		if _, err := s.RevokeSession(t.Context(), "user-1", all[i].ID, all[i].RotatedAt); err != nil {
			t.Fatal(err)
		}
		want = append(want, revocationOf(&all[i], all[i].RotatedAt))
	}
	wantRevocations(t, s, time.Time{}, want...)
}

// testSessionKeepsProof changes sessions in every way. Their AuthTime and
// Methods must stay.
func testSessionKeepsProof(t *testing.T, s authkit.SessionStore) {
	var all []authkit.StoredSession
	for i, methods := range [][]string{nil, {}, {"pwd"}, {"pwd", "otp", "mfa"}, {"otp", "pwd"}, {"pwd", "pwd"}, {"x:y", "u_v", "a-b", "c.d"}} {
		x := newSession("user-1", i)
		x.Methods = methods
		if i%3 == 0 {
			x.AuthTime = time.Time{} // one without the other
		}
		all = append(all, x)
	}
	begin(t, s, all...)
	holds(t, s, all...)
	for round := range 3 {
		for i := range all {
			x := &all[i]
			r := newRotation(x, fmt.Sprintf("round %d session %d", round, i), time.Duration(round)*time.Hour)
			r.ExpiresAt = x.AbsoluteExpiresAt
			want := r.Apply(*x)
			got, rotated, err := s.RotateSession(t.Context(), x.ID, r)
			if err != nil || !rotated {
				t.Fatalf("rotated %v (%v)", rotated, err)
			}
			sameSession(t, got, want)
			got, rotated, err = s.RotateSession(t.Context(), x.ID, r)
			if err != nil || rotated {
				t.Fatalf("rotated %v (%v) a second time", rotated, err)
			}
			sameSession(t, got, want)
			all[i] = want
			if got := findSession(t, s, x.ID); got.AuthTime.IsZero() != (i%3 == 0) {
				t.Fatalf("a session that has no time of its proof: %s", show(&got))
			}
		}
		holds(t, s, all...)
	}
	if _, err := s.RevokeSession(t.Context(), "user-1", all[2].ID, start); err != nil {
		t.Fatal(err)
	}
	deleteExpired(t, s, start, start, unlimited, 0)
	holds(t, s, append(all[:2:2], all[3:]...)...)
}

func testSessionSharesNoMemory(t *testing.T, s authkit.SessionStore) {
	scribble := func(what []byte) {
		copy(what, "scribbled")
		_ = append(what[:min(1, len(what))], "scribbled"...)
	}
	want := newSession("user-1", 1)
	given := newSession("user-1", 1)
	want.Successor, given.Successor = []byte("a sealed token"), []byte("a sealed token")
	begin(t, s, given)
	scribble(given.Successor)
	given.Methods[0] = "scribbled"
	holds(t, s, want)
	found := findSession(t, s, want.ID)
	scribble(found.Successor)
	found.Methods[0] = "scribbled"
	_ = append(found.Methods[:1], "scribbled")
	holds(t, s, want)

	r := newRotation(&want, "next", time.Minute)
	want = newRotation(&want, "next", time.Minute).Apply(want)
	got, _, err := s.RotateSession(t.Context(), want.ID, r)
	if err != nil {
		t.Fatal(err)
	}
	scribble(r.Successor)
	holds(t, s, want)
	scribble(got.Successor)
	got.Methods[0] = "scribbled"
	holds(t, s, want)
	got, _, err = s.RotateSession(t.Context(), want.ID, r) // no longer the current one
	if err != nil {
		t.Fatal(err)
	}
	scribble(got.Successor)
	got.Methods[0] = "scribbled"
	holds(t, s, want)

	list, err := s.SessionsByUser(t.Context(), "user-1")
	if err != nil || len(list) != 1 {
		t.Fatalf("SessionsByUser: %+v, %v", list, err)
	}
	list[0].Methods[0] = "scribbled"
	list[0] = authkit.Session{ID: "scribbled"}
	holds(t, s, want)
	if err := s.RevokeSessions(t.Context(), "user-2", "", start); err != nil {
		t.Fatal(err)
	}
	revoked, err := s.Revocations(t.Context(), start)
	if err != nil || len(revoked) != 1 {
		t.Fatalf("Revocations: %+v, %v", revoked, err)
	}
	revoked[0].UserID = "scribbled"
	wantRevocations(t, s, start, authkit.Revocation{UserID: "user-2", At: start})
}

func testListsLastUsedFirst(t *testing.T, s authkit.SessionStore) {
	second := start.Truncate(time.Second) // without a fraction
	var all []authkit.StoredSession
	for i, x := range []struct {
		id string
		at time.Time
	}{
		{"latest", second.Add(time.Second).In(elsewhere)},
		{"fraction", second.Add(10 * time.Millisecond)},
		{"microsecond", second.Add(time.Microsecond)},
		{"A", second}, {"Z", second}, {"_", second}, {"a", second}, {"a-b", second}, {"aa", second},
		{"before", second.Add(-time.Microsecond)},
		{"elsewhere", second.Add(-time.Hour).In(elsewhere)},
	} {
		one := newSession("user-1", 100-i)
		one.ID, one.LastUsedAt, one.ExpiresAt = x.id, x.at, start.Add(-time.Duration(i)*time.Hour)
		all = append(all, one)
	}
	var want []string
	for i := range all { // in another order
		begin(t, s, all[(i*7)%len(all)])
		want = append(want, all[i].ID)
	}
	begin(t, s, newSession("user-2", 1))
	wantListed(t, s, "user-1", want...)

	r := newRotation(&all[9], "next", time.Hour)
	if _, _, err := s.RotateSession(t.Context(), "before", r); err != nil {
		t.Fatal(err)
	}
	wantListed(t, s, "user-1", append([]string{"before"}, slices.Delete(want, 9, 10)...)...)
}
