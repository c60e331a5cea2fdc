package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// TestTicketStore tests an implementation of [authkit.TicketStore] against the
// contract in the comment of that interface. The function open returns an empty
// store for one test. It may register a cleanup. The subtests run in parallel,
// some of them with 64 goroutines.
func TestTicketStore(t *testing.T, open func(t *testing.T) authkit.TicketStore) {
	for name, test := range map[string]func(*testing.T, authkit.TicketStore){
		"PutAndAttempt":           testPutAndAttempt,
		"NotFound":                testTicketNotFound,
		"IDIsUnique":              testTicketIDIsUnique,
		"KindsAreSeparate":        testKindsAreSeparate,
		"ComparesBytes":           testTicketComparesBytes,
		"KeepsBody":               testKeepsBody,
		"KeepsTimes":              testTicketKeepsTimes,
		"SharesNoMemory":          testTicketSharesNoMemory,
		"Expires":                 testTicketExpires,
		"AttemptsRunOut":          testAttemptsRunOut,
		"ConsumeOnce":             testConsumeOnce,
		"PutVoidsOlder":           testPutVoidsOlder,
		"NoSubjectVoidsNone":      testNoSubjectVoidsNone,
		"DeleteTickets":           testDeleteTickets,
		"DeleteExpired":           testDeleteExpiredTickets,
		"DeleteExpiredLimit":      testDeleteExpiredTicketsLimit,
		"CancelledContext":        testTicketCancelledContext,
		"CancelledInTheMiddle":    testTicketCancelledInTheMiddle,
		"AttemptsAreCountedFirst": testAttemptsAreCountedFirst,
		"OneConsumerWins":         testOneConsumerWins,
		"OnePutWins":              testOnePutWins,
		"OneOfASubjectStays":      testOneOfASubjectStays,
		"DeletedAreCountedOnce":   testDeletedTicketsAreCountedOnce,
		"AllMethodsAtOnce":        testAllTicketMethodsAtOnce,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// manyAttempts is more than any test makes.
const manyAttempts = 1_000_000

// newTicket returns a ticket in which every field depends on n. It has enough
// attempts for every test.
func newTicket(n int) authkit.Ticket {
	at := start.Add(time.Duration(n) * time.Second)
	return authkit.Ticket{
		Kind: "login", ID: fmt.Sprintf("ticket-%06d", n), Subject: fmt.Sprintf("subject-%d", n),
		Hash: hashOf(fmt.Sprint("secret ", n)), Body: []byte(fmt.Sprint("body ", n)),
		MaxAttempts: manyAttempts, CreatedAt: at, ExpiresAt: at.Add(time.Hour),
	}
}

func put(t *testing.T, s authkit.TicketStore, tickets ...authkit.Ticket) {
	t.Helper()
	for i := range tickets {
		if err := s.PutTicket(t.Context(), tickets[i]); err != nil {
			t.Fatalf("PutTicket(%q, %q): %v", tickets[i].Kind, tickets[i].ID, err)
		}
	}
}

// attempt counts an attempt and checks the returned ticket. It also updates
// want.
func attempt(t *testing.T, s authkit.TicketStore, want *authkit.Ticket) {
	t.Helper()
	want.Attempts++
	got, err := s.AttemptTicket(t.Context(), want.Kind, want.ID, want.CreatedAt)
	if err != nil {
		t.Fatalf("AttemptTicket(%q, %q): %v", want.Kind, want.ID, err)
	}
	sameTicket(t, got, *want)
}

// sameTicket treats a nil Body like an empty one.
func sameTicket(t *testing.T, got, want authkit.Ticket) {
	t.Helper()
	if got.Kind != want.Kind || got.ID != want.ID || got.Subject != want.Subject || got.Hash != want.Hash || !bytes.Equal(got.Body, want.Body) ||
		got.Attempts != want.Attempts || got.MaxAttempts != want.MaxAttempts || !got.CreatedAt.Equal(want.CreatedAt) || !got.ExpiresAt.Equal(want.ExpiresAt) {
		t.Fatalf("got  %s\nwant %s", showTicket(&got), showTicket(&want))
	}
}

// showTicket returns all fields of a ticket. Its Format hides some.
func showTicket(k *authkit.Ticket) string {
	return fmt.Sprintf("kind %q ID %q subject %q hash %x body %q attempts %d of %d from %v to %v",
		k.Kind, k.ID, k.Subject, k.Hash, k.Body, k.Attempts, k.MaxAttempts, k.CreatedAt, k.ExpiresAt)
}

// hasTicket reports whether a ticket exists, by counting an attempt at it.
func hasTicket(t *testing.T, s authkit.TicketStore, k authkit.Ticket) bool {
	t.Helper()
	_, err := s.AttemptTicket(t.Context(), k.Kind, k.ID, k.ExpiresAt.Add(-time.Microsecond))
	there, err := wonUnless(authkit.ErrTicketNotFound, err)
	if err != nil {
		t.Fatalf("AttemptTicket(%q, %q): %v", k.Kind, k.ID, err)
	}
	return there
}

// wantTickets checks that of all tickets exactly those with the numbers exist.
func wantTickets(t *testing.T, s authkit.TicketStore, all []authkit.Ticket, numbers ...int) {
	t.Helper()
	want := make(map[int]bool)
	for _, n := range numbers {
		want[n] = true
	}
	for n, k := range all {
		if hasTicket(t, s, k) != want[n] {
			t.Fatalf("ticket %d (kind %q, ID %q, subject %q): there %v, want %v", n, k.Kind, k.ID, k.Subject, !want[n], want[n])
		}
	}
}

func consume(t *testing.T, s authkit.TicketStore, k authkit.Ticket, at time.Time) {
	t.Helper()
	if err := s.ConsumeTicket(t.Context(), k.Kind, k.ID, at); err != nil {
		t.Fatalf("ConsumeTicket(%q, %q): %v", k.Kind, k.ID, err)
	}
}

func testPutAndAttempt(t *testing.T, s authkit.TicketStore) {
	plain, full, bare := newTicket(1), newTicket(2), newTicket(3)
	for i := range full.Hash {
		full.Hash[i] = byte(i * 255 / 31) // starts with a zero and ends with 255
	}
	full.Attempts, full.MaxAttempts = 3, 7
	bare.Hash, bare.Body, bare.Subject = [32]byte{}, nil, ""
	put(t, s, plain, full, bare)
	for range 3 {
		attempt(t, s, &plain)
		attempt(t, s, &full)
		attempt(t, s, &bare)
	}
}

func testTicketNotFound(t *testing.T, s authkit.TicketStore) {
	there := newTicket(1)
	put(t, s, there)
	for _, key := range [][2]string{
		{"login", ""}, {"login", "nothing"}, {"login", there.Subject}, {"login", there.ID + "\x00"}, {"login", there.ID + "\xff"}, {"login", "\x00" + there.ID},
		{"login", there.ID + " "}, {"login", there.ID[:len(there.ID)-1]}, {"", there.ID}, {"logi", there.ID}, {"login\x00", there.ID}, {"login\xff", there.ID},
		{"login ", there.ID}, {there.ID, "login"}, {"", "login" + there.ID}, {"login" + there.ID, ""}, {"\x00", "\x00"}, {strings.Repeat("x", 1000), there.ID}, {"login", strings.Repeat("x", 1000)},
	} {
		got, err := s.AttemptTicket(t.Context(), key[0], key[1], start)
		wantError(t, err, authkit.ErrTicketNotFound)
		sameTicket(t, got, authkit.Ticket{})
		wantError(t, s.ConsumeTicket(t.Context(), key[0], key[1], start), authkit.ErrTicketNotFound)
	}
	for _, subject := range []string{"", "nobody", there.ID, there.Subject + "\x00", there.Subject + "\xff", there.Subject + " ", "\x00", "%"} {
		if err := s.DeleteTickets(t.Context(), subject); err != nil {
			t.Fatalf("DeleteTickets(%q): %v", subject, err)
		}
	}
	attempt(t, s, &there) // the first that counts
}

func testTicketIDIsUnique(t *testing.T, s authkit.TicketStore) {
	first, other := newTicket(1), newTicket(2)
	put(t, s, first, other)
	second := newTicket(3)
	second.ID, second.Subject = first.ID, other.Subject // would be voided if it were stored
	if err := s.PutTicket(t.Context(), second); err == nil || errors.Is(err, authkit.ErrTicketNotFound) {
		t.Fatalf("a second ticket with an ID: got error %v", err)
	}
	second.Subject = first.Subject
	if err := s.PutTicket(t.Context(), second); err == nil || errors.Is(err, authkit.ErrTicketNotFound) {
		t.Fatalf("a second ticket with an ID and the same subject: got error %v", err)
	}
	attempt(t, s, &first)
	attempt(t, s, &other)
}

func testKindsAreSeparate(t *testing.T, s authkit.TicketStore) {
	var all []authkit.Ticket
	for n, kind := range []string{"login", "Login", "login ", "log_n", "log%", "l:ogin", "l"} {
		k := newTicket(n)
		k.Kind, k.ID, k.Subject = kind, "same", "same"
		all = append(all, k)
	}
	all[5].ID, all[6].ID = "same", "ogin:same" // "l:ogin" and "same", "l" and "ogin:same"
	put(t, s, all...)
	for i := range all {
		attempt(t, s, &all[i])
	}
	for i := range all { // none under another kind
		consume(t, s, all[i], start)
		wantError(t, s.ConsumeTicket(t.Context(), all[i].Kind, all[i].ID, start), authkit.ErrTicketNotFound)
		for n := range all[i+1:] {
			attempt(t, s, &all[i+1+n])
		}
	}
}

func testTicketComparesBytes(t *testing.T, s authkit.TicketStore) {
	var all []authkit.Ticket
	for n, text := range []string{"user", "User", "user ", "üser", "uſer", "%", "us_r", "us%", "*", "u:r"} {
		k := newTicket(n)
		k.ID, k.Subject = text, text
		all = append(all, k)
	}
	put(t, s, all...)
	for i := range all {
		attempt(t, s, &all[i])
	}
	for i := range all {
		if err := s.DeleteTickets(t.Context(), all[i].Subject); err != nil {
			t.Fatal(err)
		}
		if hasTicket(t, s, all[i]) {
			t.Fatalf("the ticket of %q is there still", all[i].Subject)
		}
		for n := range all[i+1:] {
			attempt(t, s, &all[i+1+n])
		}
	}
}

func testKeepsBody(t *testing.T, s authkit.TicketStore) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for n, body := range [][]byte{
		nil, {}, {0}, {0, 0}, {0xff}, every, []byte("\\x41"), []byte("null"), []byte(`{"a":"\u0000"}`), []byte("Ælfrēd 🔑 ' \" % \\ ; -- $1"),
		[]byte("trailing \n"), bytes.Repeat(every, 64),
	} {
		k := newTicket(n)
		k.Body = body
		put(t, s, k)
		attempt(t, s, &k)
		attempt(t, s, &k)
	}
}

func testTicketKeepsTimes(t *testing.T, s authkit.TicketStore) {
	second := start.Truncate(time.Second)
	for n, at := range []time.Time{
		start, start.In(elsewhere), second, second.Add(time.Microsecond), second.Add(-time.Microsecond).In(elsewhere),
		time.Date(2024, 2, 29, 23, 59, 59, 999999000, elsewhere), time.Date(2100, 1, 1, 0, 0, 0, 1000, time.UTC),
	} {
		k := newTicket(n)
		k.CreatedAt, k.ExpiresAt = at, at.Add(time.Hour+time.Microsecond)
		put(t, s, k)
		attempt(t, s, &k)
	}
}

func testTicketSharesNoMemory(t *testing.T, s authkit.TicketStore) {
	given, want := newTicket(1), newTicket(1)
	put(t, s, given)
	given.Body[0] = '!'
	attempt(t, s, &want)
	got, err := s.AttemptTicket(t.Context(), want.Kind, want.ID, start)
	if err != nil {
		t.Fatal(err)
	}
	got.Body[0] = '!'
	_ = append(got.Body[:1], "scribbled"...)
	want.Attempts++
	attempt(t, s, &want)
}

func testTicketExpires(t *testing.T, s authkit.TicketStore) {
	second := start.Truncate(time.Second)
	for n, ends := range []time.Time{second, second.In(elsewhere), second.Add(10 * time.Millisecond), second.Add(-time.Microsecond)} {
		k := newTicket(n)
		k.CreatedAt, k.ExpiresAt = ends.Add(-time.Microsecond), ends
		put(t, s, k)
		for _, late := range []time.Time{ends, ends.UTC(), ends.Add(time.Microsecond).In(elsewhere), ends.Add(time.Hour)} {
			got, err := s.AttemptTicket(t.Context(), k.Kind, k.ID, late)
			wantError(t, err, authkit.ErrTicketNotFound)
			sameTicket(t, got, authkit.Ticket{})
			wantError(t, s.ConsumeTicket(t.Context(), k.Kind, k.ID, late), authkit.ErrTicketNotFound)
		}
		attempt(t, s, &k) // in time, and no earlier attempt counted
		consume(t, s, k, ends.Add(-time.Microsecond).In(elsewhere))
	}
}

func testAttemptsRunOut(t *testing.T, s authkit.TicketStore) {
	for n, most := range []int{1, 2, 5, 0, -1} {
		k := newTicket(n)
		k.MaxAttempts = most
		put(t, s, k)
		for range most {
			attempt(t, s, &k)
		}
		for range 3 {
			got, err := s.AttemptTicket(t.Context(), k.Kind, k.ID, start)
			wantError(t, err, authkit.ErrTicketNotFound)
			sameTicket(t, got, authkit.Ticket{})
		}
		consume(t, s, k, start) // the number of attempts does not matter
	}
	used := newTicket(10)
	used.Attempts, used.MaxAttempts = 4, 5
	put(t, s, used)
	attempt(t, s, &used)
	_, err := s.AttemptTicket(t.Context(), used.Kind, used.ID, start)
	wantError(t, err, authkit.ErrTicketNotFound)
}

func testConsumeOnce(t *testing.T, s authkit.TicketStore) {
	a, b := newTicket(1), newTicket(2)
	b.Subject = a.Subject
	b.Kind = "email"
	put(t, s, a, b)
	attempt(t, s, &a)
	consume(t, s, a, start)
	wantError(t, s.ConsumeTicket(t.Context(), a.Kind, a.ID, start), authkit.ErrTicketNotFound)
	_, err := s.AttemptTicket(t.Context(), a.Kind, a.ID, start)
	wantError(t, err, authkit.ErrTicketNotFound)
	attempt(t, s, &b)
	consume(t, s, b, start) // works without an attempt too
	c := newTicket(3)
	put(t, s, c)
	consume(t, s, c, start)
}

func testPutVoidsOlder(t *testing.T, s authkit.TicketStore) {
	ticket := func(n int, kind, subject string) authkit.Ticket {
		k := newTicket(n)
		k.Kind, k.Subject = kind, subject
		return k
	}
	all := []authkit.Ticket{
		ticket(0, "login", "ada"), ticket(1, "email", "ada"), ticket(2, "login", "Ada"), ticket(3, "login", "ada "), ticket(4, "login", "a%"),
		ticket(5, "login", "ada"), // voids 0
		ticket(6, "login", "bob"),
		ticket(7, "email", "ada"), // voids 1
		ticket(8, "login", "ada"), // voids 5
	}
	put(t, s, all[:5]...)
	wantTickets(t, s, all, 0, 1, 2, 3, 4)
	put(t, s, all[5])
	wantTickets(t, s, all, 1, 2, 3, 4, 5)
	put(t, s, all[6], all[7])
	wantTickets(t, s, all, 2, 3, 4, 5, 6, 7)
	put(t, s, all[8])
	wantTickets(t, s, all, 2, 3, 4, 6, 7, 8)
	wantError(t, s.ConsumeTicket(t.Context(), "login", all[5].ID, start), authkit.ErrTicketNotFound)
	// The ID of a voided ticket is free. A ticket without attempts is voided
	// too.
	out := ticket(9, "login", "ada")
	out.MaxAttempts = 0
	put(t, s, all[5], out, all[8])
	wantTickets(t, s, all, 2, 3, 4, 6, 7, 8)
	wantError(t, s.ConsumeTicket(t.Context(), "login", out.ID, start), authkit.ErrTicketNotFound)
}

func testNoSubjectVoidsNone(t *testing.T, s authkit.TicketStore) {
	var all []authkit.Ticket
	for n := range 4 {
		k := newTicket(n)
		k.Subject = ""
		all = append(all, k)
	}
	put(t, s, all...)
	wantTickets(t, s, all, 0, 1, 2, 3)
	if err := s.DeleteTickets(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	wantTickets(t, s, all, 0, 1, 2, 3)
}

func testDeleteTickets(t *testing.T, s authkit.TicketStore) {
	var all []authkit.Ticket
	for n, x := range [][2]string{{"login", "ada"}, {"email", "ada"}, {"totp", "ada"}, {"login", "bob"}, {"email", "bob"}, {"login", ""}} {
		k := newTicket(n)
		k.Kind, k.Subject = x[0], x[1]
		k.MaxAttempts = math.MaxInt32
		all = append(all, k)
	}
	put(t, s, all...)
	consume(t, s, all[2], start)
	for range 2 { // the second time there are none
		if err := s.DeleteTickets(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		wantTickets(t, s, all, 3, 4, 5)
	}
	put(t, s, all[0], all[1]) // the IDs are free again
	wantTickets(t, s, all, 0, 1, 3, 4, 5)
	if err := s.DeleteTickets(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	wantTickets(t, s, all, 0, 1, 5)
}
