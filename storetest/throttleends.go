package storetest

import (
	"testing"
	"time"

	"github.com/authkit-go/authkit/throttle"
)

// password returns an attempt with the digest of a password.
func password(attempt throttle.Reservation, digest uint16) throttle.Reservation {
	attempt.Guess = digest
	return attempt
}

// testFailureStays checks that a failure returns no attempt.
func testFailureStays(t *testing.T, s throttle.Store) {
	attempt := guess("a", "", 0)
	attempt.Buckets = []throttle.Bucket{bucket("a", 4, time.Minute)}
	for range 3 {
		take(t, s, attempt, letIn)
		settle(t, s, attempt, failed)
	}
	takeOpen(t, s, guess("a", "", 0), curve.InitialDelay, false)
	take(t, s, request(0, attempt.Buckets...), letIn)
	take(t, s, request(0, attempt.Buckets...), bucketWait(time.Minute))
	settle(t, s, guess("b", "", 0), failed) // does not go below zero
	fail(t, s, "b", "", 0, 3)
}

// testOpenAttempts checks that a store distinguishes failures from attempts
// that have not ended (LO-08: both refuse).
func testOpenAttempts(t *testing.T, s throttle.Store) {
	for range 3 {
		take(t, s, guess("a", "", 0), letIn)
	}
	takeOpen(t, s, guess("a", "", 0), curve.InitialDelay, true)
	settle(t, s, guess("a", "", 0), failed)
	settle(t, s, guess("a", "", 0), failed)
	takeOpen(t, s, guess("a", "", 0), curve.InitialDelay, true)
	settle(t, s, guess("a", "", 0), undecided)
	take(t, s, guess("a", "", 0), letIn)
	takeOpen(t, s, guess("a", "", 0), curve.InitialDelay, true)
	settle(t, s, guess("a", "", 0), failed)
	takeOpen(t, s, guess("a", "", 0), curve.InitialDelay, false)

	at := curve.InitialDelay // the wait is over; make one attempt
	take(t, s, guess("a", "", at), letIn)
	takeOpen(t, s, guess("a", "", at), curve.Wait(4), true)
	settle(t, s, guess("a", "", at), undecided)
	take(t, s, guess("a", "", at), letIn)
	settle(t, s, guess("a", "", at), failed)
	takeOpen(t, s, guess("a", "", at), curve.Wait(4), false)

	busy := guess("b", "", 0) // also refused by the limit
	busy.Buckets = []throttle.Bucket{bucket("b", 3, time.Minute)}
	for range 3 {
		take(t, s, busy, letIn)
	}
	got, err := s.Reserve(t.Context(), busy)
	if want := (throttle.Decision{Bucket: time.Minute, Counter: curve.InitialDelay, Open: true}); err != nil || got != want {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}

	for range 3 {
		take(t, s, guess("c", "", 0), letIn)
	}
	settle(t, s, guess("c", "", 0), succeeded)
	fail(t, s, "c", "", 0, 3)
	takeOpen(t, s, guess("c", "", 0), curve.InitialDelay, false)

	n := curve.LockAfter - 1
	at = fail(t, s, "d", "", 0, n) + curve.Wait(n)
	take(t, s, guess("d", "", at), letIn)
	takeOpen(t, s, guess("d", "", at), curve.MaxDelay, true)
	settle(t, s, guess("d", "", at), undecided)
	take(t, s, guess("d", "", at), letIn)
	settle(t, s, guess("d", "", at), failed)
	takeOpen(t, s, guess("d", "", at+time.Hour), curve.MaxDelay, false)
}

// testOpenAttemptsEnd checks that attempts of killed programs become failures.
func testOpenAttemptsEnd(t *testing.T, s throttle.Store) {
	for range 3 {
		take(t, s, guess("a", "", 0), letIn)
	}
	at := curve.InitialDelay
	take(t, s, guess("a", "", at), letIn)
	takeOpen(t, s, guess("a", "", at), curve.Wait(4), true)
	at += curve.Open - time.Microsecond // longer than the wait
	take(t, s, guess("a", "", at), letIn)
	takeOpen(t, s, guess("a", "", at), curve.Wait(5), true)
	at += curve.Open
	take(t, s, guess("a", "", at), letIn)
	settle(t, s, guess("a", "", at), failed)
	takeOpen(t, s, guess("a", "", at), curve.Wait(6), false)
}

// testSameGuessAgain checks that from a known place, repeating the same wrong
// password is one failure. Different passwords are one failure each.
func testSameGuessAgain(t *testing.T, s throttle.Store) {
	known := func(account string, after time.Duration) throttle.Reservation { return guess(account, "home", after) }
	device := func(account string, after time.Duration) throttle.Reservation { return guess(account, "", after) }
	for name, place := range map[string]func(string, time.Duration) throttle.Reservation{"home": known, "browser": device} {
		wrong := func(account string, after time.Duration, digest uint16) {
			t.Helper()
			take(t, s, place(account, after), letIn)
			settle(t, s, password(place(account, after), digest), failed)
		}
		a, b, c, d := "a "+name, "b "+name, "c "+name, "d "+name
		for _, account := range []string{a, b, c, d} {
			take(t, s, place(account, 0), letIn)
			settle(t, s, place(account, 0), succeeded)
		}
		for range 50 {
			wrong(a, 0, 7)
		}
		wrong(a, 0, 8)
		wrong(a, 0, 8)
		wrong(a, 0, 7) // not the latest guess
		takeOpen(t, s, place(a, 0), curve.InitialDelay, false)

		for digest := range uint16(3) { // 0 means no digest
			wrong(b, 0, digest)
		}
		takeOpen(t, s, place(b, 0), curve.InitialDelay, false)

		for range 9 { // a success and Clear delete the guess
			wrong(c, 0, 7)
			take(t, s, place(c, 0), letIn)
			settle(t, s, place(c, 0), succeeded)
		}
		wrong(c, 0, 7)
		wrong(c, 0, 0) // keeps the guess
		wrong(c, 0, 7)
		wrong(c, 0, 8)
		takeOpen(t, s, place(c, 0), curve.InitialDelay, false)
		clearFailures(t, s, place(c, 0))
		after := time.Microsecond
		wrong(c, after, 8)
		wrong(c, after, 8)
		wrong(c, after, 9)
		take(t, s, place(c, after), letIn)
		settle(t, s, password(place(c, after), 10), undecided) // undecided attempts are not failures
		wrong(c, after, 10)
		takeOpen(t, s, place(c, after), curve.InitialDelay, false)

		// Each concurrent guess counts until it has ended.
		for range 3 {
			take(t, s, place(d, 0), letIn)
		}
		takeOpen(t, s, place(d, 0), curve.InitialDelay, true)
		for range 3 {
			settle(t, s, password(place(d, 0), 7), failed)
		}
		wrong(d, 0, 8)
		wrong(d, 0, 9)
		takeOpen(t, s, place(d, 0), curve.InitialDelay, false)
	}
	for range 3 { // from an unknown place
		take(t, s, known("e", 0), letIn)
		settle(t, s, password(known("e", 0), 7), failed)
	}
	takeOpen(t, s, known("e", 0), curve.InitialDelay, false)
}

// testSameGuessWhileWaiting checks that repeating the same wrong password does
// not restart the wait.
func testSameGuessWhileWaiting(t *testing.T, s throttle.Store) {
	home := func(after time.Duration) throttle.Reservation { return guess("a", "home", after) }
	take(t, s, home(0), letIn)
	settle(t, s, home(0), succeeded)
	for digest := range uint16(3) {
		take(t, s, home(0), letIn)
		settle(t, s, password(home(0), digest+1), failed)
	}
	takeOpen(t, s, home(curve.InitialDelay-time.Microsecond), time.Microsecond, false)
	for range 20 {
		take(t, s, home(curve.InitialDelay), letIn)
		takeOpen(t, s, home(curve.InitialDelay), curve.Wait(4), true)
		settle(t, s, password(home(curve.InitialDelay), 3), failed)
	}
	take(t, s, home(curve.InitialDelay), letIn)
	settle(t, s, password(home(curve.InitialDelay), 4), failed)
	takeOpen(t, s, home(curve.InitialDelay), curve.Wait(4), false)
}
