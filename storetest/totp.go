package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit/totp"
)

// TestTOTPStore tests an implementation of [totp.Store] against the contract in
// that interface's comment. The function open returns an empty store that no
// other test uses; it may register a cleanup. The subtests run in parallel.
func TestTOTPStore(t *testing.T, open func(t *testing.T) totp.Store) {
	for name, test := range map[string]func(*testing.T, totp.Store){
		"Nothing":          testFactorNothing,
		"Pending":          testFactorPending,
		"Confirm":          testFactorConfirm,
		"Replace":          testFactorReplace,
		"Attempts":         testFactorAttempts,
		"Steps":            testFactorSteps,
		"Delete":           testFactorDelete,
		"Codes":            testFactorCodes,
		"Users":            testFactorUsers,
		"BrokenIDs":        testFactorBrokenIDs,
		"SharesNoMemory":   testFactorSharesNoMemory,
		"CancelledContext": testFactorCancelledContext,
		"Records":          testFactorRecords,
		"Reseal":           testFactorReseal,
		"ConfirmRace":      testFactorConfirmRace,
		"AttemptRace":      testFactorAttemptRace,
		"StepRace":         testFactorStepRace,
		"CodeRace":         testFactorCodeRace,
		"ResealRace":       testFactorResealRace,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// factorLimits are high enough for the tests that are not about them.
var factorLimits = totp.Limits{Failures: 1000, Total: 1000}

// sealedText is the encrypted secret of a test: any bytes.
func sealedText(of string) []byte { return []byte("\x00\xff" + of) }

// factor returns the record of a user.
func factor(t *testing.T, s totp.Store, userID string) totp.Record {
	t.Helper()
	r, err := s.Record(t.Context(), userID)
	if err != nil {
		t.Fatalf("Record(%s): %v", userID, err)
	}
	return r
}

// hasFactor checks the record of a user.
func hasFactor(t *testing.T, s totp.Store, want totp.Record) {
	t.Helper()
	if got := factor(t, s, want.UserID); !sameRecord(got, want) {
		t.Fatalf("Record(%s): %+v, secret %q of %v, step %d, pending %q of %v; want %+v, %q of %v, %d, %q of %v", want.UserID,
			got, got.Secret, got.EnrolledAt, got.LastStep, got.Pending, got.PendingAt, want, want.Secret, want.EnrolledAt, want.LastStep, want.Pending, want.PendingAt)
	}
}

func sameRecord(a, b totp.Record) bool {
	return a.UserID == b.UserID && bytes.Equal(a.Secret, b.Secret) && a.EnrolledAt.Equal(b.EnrolledAt) && a.EnrolledAt.IsZero() == b.EnrolledAt.IsZero() &&
		a.LastStep == b.LastStep && a.Failures == b.Failures && a.TotalFailures == b.TotalFailures &&
		bytes.Equal(a.Pending, b.Pending) && a.PendingAt.Equal(b.PendingAt) && a.PendingAt.IsZero() == b.PendingAt.IsZero() && a.CodesLeft == b.CodesLeft
}

func setPending(t *testing.T, s totp.Store, userID, pending string, at time.Time) {
	t.Helper()
	if err := s.SetPending(t.Context(), userID, sealedText(pending), at); err != nil {
		t.Fatalf("SetPending(%s): %v", userID, err)
	}
}

func confirm(t *testing.T, s totp.Store, userID, secret string, pendingAt, at time.Time, step int64, want bool) {
	t.Helper()
	if ok, err := s.Confirm(t.Context(), userID, pendingAt, sealedText(secret), step, at); err != nil || ok != want {
		t.Fatalf("Confirm(%s): %v, %v; want %v", userID, ok, err, want)
	}
}

// enroll sets up a factor with step 10 at start.
func enroll(t *testing.T, s totp.Store, userID string) {
	t.Helper()
	setPending(t, s, userID, "pending of "+userID, start)
	confirm(t, s, userID, "secret of "+userID, start, start, 10, true)
}

// countAttempt counts an attempt and checks the numbers that are returned.
func countAttempt(t *testing.T, s totp.Store, userID string, failures, total int) totp.Record {
	t.Helper()
	r, err := s.CountAttempt(t.Context(), userID, factorLimits)
	if err != nil || r.Failures != failures || r.TotalFailures != total {
		t.Fatalf("CountAttempt(%s): %+v, %v; want %d and %d failures", userID, r, err, failures, total)
	}
	return r
}

func refusedAttempt(t *testing.T, s totp.Store, userID string, limits totp.Limits) {
	t.Helper()
	if r, err := s.CountAttempt(t.Context(), userID, limits); !errors.Is(err, totp.ErrNotFound) {
		t.Fatalf("CountAttempt(%s, %+v): %+v, %v; want ErrNotFound", userID, limits, r, err)
	}
}

func accept(t *testing.T, s totp.Store, userID string, enrolledAt time.Time, step int64, want bool) {
	t.Helper()
	if ok, err := s.AcceptStep(t.Context(), userID, enrolledAt, step); err != nil || ok != want {
		t.Fatalf("AcceptStep(%s, %d): %v, %v; want %v", userID, step, ok, err, want)
	}
}

func setCodes(t *testing.T, s totp.Store, userID string, codes ...byte) {
	t.Helper()
	var hashes [][32]byte
	for _, c := range codes {
		hashes = append(hashes, [32]byte{c, 31: c})
	}
	if err := s.SetCodes(t.Context(), userID, hashes, start); err != nil {
		t.Fatalf("SetCodes(%s): %v", userID, err)
	}
}

func useCode(t *testing.T, s totp.Store, userID string, code byte, want bool) {
	t.Helper()
	if ok, err := s.UseCode(t.Context(), userID, [32]byte{code, 31: code}); err != nil || ok != want {
		t.Fatalf("UseCode(%s, %d): %v, %v; want %v", userID, code, ok, err, want)
	}
}

func testFactorNothing(t *testing.T, s totp.Store) {
	hasFactor(t, s, totp.Record{UserID: "ann"})
	confirm(t, s, "ann", "x", time.Time{}, start, 1, false)
	confirm(t, s, "ann", "x", start, start, 1, false)
	refusedAttempt(t, s, "ann", factorLimits)
	accept(t, s, "ann", time.Time{}, 1, false)
	useCode(t, s, "ann", 1, false)
	if err := s.DeleteFactor(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	setCodes(t, s, "ann")
	hasFactor(t, s, totp.Record{UserID: "ann"})
}

func testFactorPending(t *testing.T, s totp.Store) {
	at := start.Add(123456 * time.Microsecond)
	setPending(t, s, "ann", "first", start)
	setPending(t, s, "ann", "second", at)
	hasFactor(t, s, totp.Record{UserID: "ann", Pending: sealedText("second"), PendingAt: at})
	refusedAttempt(t, s, "ann", factorLimits)
	accept(t, s, "ann", time.Time{}, 1, false)
	hasFactor(t, s, totp.Record{UserID: "ann", Pending: sealedText("second"), PendingAt: at})
}

func testFactorConfirm(t *testing.T, s totp.Store) {
	at := start.Add(123456 * time.Microsecond)
	setPending(t, s, "ann", "first", start)
	setPending(t, s, "ann", "second", at)
	confirm(t, s, "ann", "secret", start, at, 7, false)
	confirm(t, s, "ann", "secret", at, at.Add(time.Second), 7, true)
	want := totp.Record{UserID: "ann", Secret: sealedText("secret"), EnrolledAt: at.Add(time.Second), LastStep: 7}
	hasFactor(t, s, want)
	confirm(t, s, "ann", "secret", at, at, 8, false)
	confirm(t, s, "ann", "secret", time.Time{}, at, 8, false)
	hasFactor(t, s, want)
}

func testFactorReplace(t *testing.T, s totp.Store) {
	enroll(t, s, "ann")
	countAttempt(t, s, "ann", 1, 1)
	setPending(t, s, "ann", "new", start.Add(time.Minute))
	hasFactor(t, s, totp.Record{UserID: "ann", Secret: sealedText("secret of ann"), EnrolledAt: start, LastStep: 10, Failures: 1, TotalFailures: 1,
		Pending: sealedText("new"), PendingAt: start.Add(time.Minute)})
	countAttempt(t, s, "ann", 2, 2)
	accept(t, s, "ann", start, 11, true)
	confirm(t, s, "ann", "new secret", start.Add(time.Minute), start.Add(time.Hour), 5, true)
	hasFactor(t, s, totp.Record{UserID: "ann", Secret: sealedText("new secret"), EnrolledAt: start.Add(time.Hour), LastStep: 5})
	accept(t, s, "ann", start, 12, false) // a code of the old secret
}

func testFactorAttempts(t *testing.T, s totp.Store) {
	enroll(t, s, "ann")
	r := countAttempt(t, s, "ann", 1, 1)
	r.CodesLeft, r.Pending, r.PendingAt = 0, nil, time.Time{}
	if want := (totp.Record{UserID: "ann", Secret: sealedText("secret of ann"), EnrolledAt: start, LastStep: 10, Failures: 1, TotalFailures: 1}); !sameRecord(r, want) {
		t.Fatalf("CountAttempt: %+v; want %+v", r, want)
	}
	countAttempt(t, s, "ann", 2, 2)
	refusedAttempt(t, s, "ann", totp.Limits{Failures: 2, Total: 1000})
	refusedAttempt(t, s, "ann", totp.Limits{Failures: 1000, Total: 2})
	countAttempt(t, s, "ann", 3, 3)
	accept(t, s, "ann", start, 11, true)
	countAttempt(t, s, "ann", 1, 3) // two that failed, and this one
	refusedAttempt(t, s, "ann", totp.Limits{Failures: 1000, Total: 3})
	if r, err := s.CountAttempt(t.Context(), "ann", totp.Limits{Failures: 2, Total: 4}); err != nil || r.Failures != 2 || r.TotalFailures != 4 {
		t.Fatalf("CountAttempt below the limits: %+v, %v", r, err)
	}
}

func testFactorSteps(t *testing.T, s totp.Store) {
	enroll(t, s, "ann")
	for _, step := range []int64{-1, 0, 9, 10} {
		accept(t, s, "ann", start, step, false)
	}
	accept(t, s, "ann", start.Add(time.Microsecond), 11, false)
	accept(t, s, "ann", start, 12, true)
	accept(t, s, "ann", start, 12, false)
	accept(t, s, "ann", start, 11, false)
	accept(t, s, "ann", start, 1<<40, true)
	hasFactor(t, s, totp.Record{UserID: "ann", Secret: sealedText("secret of ann"), EnrolledAt: start, LastStep: 1 << 40})
}

func testFactorDelete(t *testing.T, s totp.Store) {
	enroll(t, s, "ann")
	setPending(t, s, "ann", "new", start)
	setCodes(t, s, "ann", 1, 2)
	if err := s.DeleteFactor(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	hasFactor(t, s, totp.Record{UserID: "ann", CodesLeft: 2})
	confirm(t, s, "ann", "x", start, start, 1, false)
	refusedAttempt(t, s, "ann", factorLimits)
	useCode(t, s, "ann", 1, true)
}

func testFactorCodes(t *testing.T, s totp.Store) {
	setCodes(t, s, "ann", 1, 2, 3)
	hasFactor(t, s, totp.Record{UserID: "ann", CodesLeft: 3})
	useCode(t, s, "ann", 2, true)
	useCode(t, s, "ann", 2, false)
	useCode(t, s, "ann", 4, false)
	hasFactor(t, s, totp.Record{UserID: "ann", CodesLeft: 2})
	setCodes(t, s, "ann", 2, 3, 5)
	hasFactor(t, s, totp.Record{UserID: "ann", CodesLeft: 3})
	useCode(t, s, "ann", 1, false)
	useCode(t, s, "ann", 3, true)
	enroll(t, s, "ann")
	if r := factor(t, s, "ann"); r.CodesLeft != 2 {
		t.Fatalf("%d codes left after the factor was set up; want 2", r.CodesLeft)
	}
	setCodes(t, s, "ann")
	useCode(t, s, "ann", 5, false)
	if r := factor(t, s, "ann"); r.CodesLeft != 0 || len(r.Secret) == 0 {
		t.Fatalf("%+v; want the factor without codes", r)
	}
}

// testFactorUsers: nothing of a user is that of another one.
func testFactorUsers(t *testing.T, s totp.Store) {
	enroll(t, s, "ann")
	setCodes(t, s, "ann", 1)
	for _, other := range []string{"Ann", "ann ", "an", "bob"} {
		hasFactor(t, s, totp.Record{UserID: other})
		refusedAttempt(t, s, other, factorLimits)
		accept(t, s, other, start, 11, false)
		useCode(t, s, other, 1, false)
		if err := s.DeleteFactor(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		setCodes(t, s, other)
	}
	hasFactor(t, s, totp.Record{UserID: "ann", Secret: sealedText("secret of ann"), EnrolledAt: start, LastStep: 10, CodesLeft: 1})
}

func testFactorBrokenIDs(t *testing.T, s totp.Store) {
	for _, id := range []string{"\x00", "\xff", strings.Repeat("a", 100)} {
		hasFactor(t, s, totp.Record{UserID: id})
		confirm(t, s, id, "x", start, start, 1, false)
		refusedAttempt(t, s, id, factorLimits)
		accept(t, s, id, start, 1, false)
		useCode(t, s, id, 1, false)
		if err := errors.Join(s.DeleteFactor(t.Context(), id), s.SetCodes(t.Context(), id, nil, start)); err != nil {
			t.Errorf("%q: %v", id, err)
		}
		if n, err := s.Reseal(t.Context(), []totp.Resealing{{UserID: id, OldSecret: sealedText("a"), NewSecret: sealedText("b")}}); n != 0 || err != nil {
			t.Errorf("Reseal of %q: %d, %v", id, n, err)
		}
	}
}

func testFactorSharesNoMemory(t *testing.T, s totp.Store) {
	pending, secret := sealedText("pending"), sealedText("secret")
	if err := s.SetPending(t.Context(), "ann", pending, start); err != nil {
		t.Fatal(err)
	}
	pending[0] = 'X'
	r := factor(t, s, "ann")
	if !bytes.Equal(r.Pending, sealedText("pending")) {
		t.Fatal("the store shares the pending secret that it was given")
	}
	r.Pending[0] = 'X'
	if r := factor(t, s, "ann"); !bytes.Equal(r.Pending, sealedText("pending")) {
		t.Fatal("the store shares the pending secret that it returned")
	}
	if _, err := s.Confirm(t.Context(), "ann", start, secret, 10, start); err != nil {
		t.Fatal(err)
	}
	secret[0] = 'X'
	r = countAttempt(t, s, "ann", 1, 1)
	if !bytes.Equal(r.Secret, sealedText("secret")) {
		t.Fatal("the store shares the secret that it was given")
	}
	r.Secret[0] = 'X'
	if r := factor(t, s, "ann"); !bytes.Equal(r.Secret, sealedText("secret")) {
		t.Fatal("the store shares the secret that it returned")
	}
}

func testFactorCancelledContext(t *testing.T, s totp.Store) {
	enroll(t, s, "ann")
	setCodes(t, s, "ann", 1)
	setPending(t, s, "ann", "new", start)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Record":       func() error { _, err := s.Record(ctx, "ann"); return err },
		"SetPending":   func() error { return s.SetPending(ctx, "ann", sealedText("x"), start) },
		"Confirm":      func() error { _, err := s.Confirm(ctx, "ann", start, sealedText("x"), 11, start); return err },
		"CountAttempt": func() error { _, err := s.CountAttempt(ctx, "ann", factorLimits); return err },
		"AcceptStep":   func() error { _, err := s.AcceptStep(ctx, "ann", start, 11); return err },
		"DeleteFactor": func() error { return s.DeleteFactor(ctx, "ann") },
		"SetCodes":     func() error { return s.SetCodes(ctx, "ann", [][32]byte{{1}, {2}}, start) },
		"UseCode":      func() error { _, err := s.UseCode(ctx, "ann", [32]byte{1, 31: 1}); return err },
		"Records":      func() error { _, err := s.Records(ctx, "", 10); return err },
		"Reseal": func() error {
			_, err := s.Reseal(ctx, []totp.Resealing{{UserID: "ann", OldSecret: sealedText("secret of ann"), OldPending: sealedText("new"), NewSecret: sealedText("x")}})
			return err
		},
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want the error of the context", name, err)
		}
	}
	hasFactor(t, s, totp.Record{UserID: "ann", Secret: sealedText("secret of ann"), EnrolledAt: start, LastStep: 10, Pending: sealedText("new"), PendingAt: start, CodesLeft: 1})
}

func testFactorRecords(t *testing.T, s totp.Store) {
	for _, id := range []string{"c", "a", "B"} {
		enroll(t, s, id)
	}
	setPending(t, s, "b", "pending", start)
	setCodes(t, s, "codes", 1)
	for _, c := range []struct {
		after string
		limit int
		want  []string
	}{
		{"", 10, []string{"B", "a", "b", "c"}}, {"", 2, []string{"B", "a"}}, {"a", 2, []string{"b", "c"}}, {"A", 1, []string{"B"}}, {"c", 2, nil}, {"", 0, nil}, {"", -1, nil},
	} {
		records, err := s.Records(t.Context(), c.after, c.limit)
		var ids []string
		for _, r := range records {
			ids = append(ids, r.UserID)
		}
		if err != nil || !slices.Equal(ids, c.want) {
			t.Fatalf("Records(%q, %d): %q, %v; want %q", c.after, c.limit, ids, err, c.want)
		}
	}
	records, err := s.Records(t.Context(), "", 3)
	if err != nil || !bytes.Equal(records[0].Secret, sealedText("secret of B")) || !bytes.Equal(records[2].Pending, sealedText("pending")) || len(records[2].Secret) != 0 {
		t.Fatalf("Records: %+v, %v", records, err)
	}
}

func testFactorReseal(t *testing.T, s totp.Store) {
	enroll(t, s, "ann")
	countAttempt(t, s, "ann", 1, 1)
	setPending(t, s, "ann", "pending", start)
	enroll(t, s, "bob")
	setPending(t, s, "eve", "pending of eve", start)
	change := func(id, secret, pending string) totp.Resealing {
		c := totp.Resealing{UserID: id}
		if secret != "" {
			c.OldSecret, c.NewSecret = sealedText(secret), sealedText("new "+secret)
		}
		if pending != "" {
			c.OldPending, c.NewPending = sealedText(pending), sealedText("new "+pending)
		}
		return c
	}
	n, err := s.Reseal(t.Context(), []totp.Resealing{
		change("ann", "secret of ann", "pending"), change("ann", "secret of ann", "pending"),
		change("bob", "secret of ann", ""), change("bob", "secret of bob", "pending"), change("bob", "", ""),
		change("eve", "", "pending of eve"), change("nobody", "", "x"),
	})
	if err != nil || n != 2 {
		t.Fatalf("Reseal: %d, %v; want 2", n, err)
	}
	hasFactor(t, s, totp.Record{UserID: "ann", Secret: sealedText("new secret of ann"), EnrolledAt: start, LastStep: 10, Failures: 1, TotalFailures: 1,
		Pending: sealedText("new pending"), PendingAt: start})
	hasFactor(t, s, totp.Record{UserID: "bob", Secret: sealedText("secret of bob"), EnrolledAt: start, LastStep: 10})
	hasFactor(t, s, totp.Record{UserID: "eve", Pending: sealedText("new pending of eve"), PendingAt: start})
	accept(t, s, "ann", start, 11, true) // of an attempt that began before
	if n, err := s.Reseal(t.Context(), nil); n != 0 || err != nil {
		t.Fatalf("Reseal of nothing: %d, %v", n, err)
	}
}

// winners calls f from 32 goroutines, and returns how many calls returned true.
func winners(t *testing.T, f func(i int) (bool, error)) int {
	t.Helper()
	var won atomic.Int32
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			ok, err := f(i)
			if err != nil {
				t.Error(err)
			}
			if ok {
				won.Add(1)
			}
		})
	}
	group.Wait()
	return int(won.Load())
}

func testFactorConfirmRace(t *testing.T, s totp.Store) {
	setPending(t, s, "ann", "pending", start)
	n := winners(t, func(i int) (bool, error) {
		return s.Confirm(t.Context(), "ann", start, sealedText(fmt.Sprint(i)), 10, start.Add(time.Duration(i)))
	})
	if n != 1 {
		t.Errorf("%d callers confirmed one secret", n)
	}
}

// testFactorAttemptRace: however many attempts run at once, the limit holds, and
// each gets another number.
func testFactorAttemptRace(t *testing.T, s totp.Store) {
	enroll(t, s, "ann")
	const limit = 20
	var seen [limit + 1]atomic.Int32
	n := winners(t, func(int) (bool, error) {
		r, err := s.CountAttempt(t.Context(), "ann", totp.Limits{Failures: limit, Total: 1000})
		if errors.Is(err, totp.ErrNotFound) {
			return false, nil
		}
		if err == nil && r.Failures > 0 && r.Failures <= limit {
			seen[r.Failures].Add(1)
		}
		return true, err
	})
	if n != limit {
		t.Errorf("%d attempts were counted; want %d", n, limit)
	}
	for i := 1; i <= limit; i++ {
		if n := seen[i].Load(); n != 1 {
			t.Errorf("%d attempts are number %d", n, i)
		}
	}
}

func testFactorStepRace(t *testing.T, s totp.Store) {
	enroll(t, s, "ann")
	for step := int64(11); step < 14; step++ {
		if n := winners(t, func(int) (bool, error) { return s.AcceptStep(t.Context(), "ann", start, step) }); n != 1 {
			t.Errorf("%d callers used the step %d", n, step)
		}
	}
}

func testFactorCodeRace(t *testing.T, s totp.Store) {
	setCodes(t, s, "ann", 1, 2)
	if n := winners(t, func(int) (bool, error) { return s.UseCode(t.Context(), "ann", [32]byte{1, 31: 1}) }); n != 1 {
		t.Errorf("%d callers used one code", n)
	}
	hasFactor(t, s, totp.Record{UserID: "ann", CodesLeft: 1})
}

// testFactorResealRace: a secret that is encrypted again is not the one that a
// user has just replaced.
func testFactorResealRace(t *testing.T, s totp.Store) {
	enroll(t, s, "ann")
	setPending(t, s, "ann", "new", start.Add(time.Minute))
	old := totp.Resealing{UserID: "ann", OldSecret: sealedText("secret of ann"), OldPending: sealedText("new"), NewSecret: sealedText("again"), NewPending: sealedText("new again")}
	winners(t, func(i int) (bool, error) {
		if i == 16 {
			return s.Confirm(t.Context(), "ann", start.Add(time.Minute), sealedText("confirmed"), 20, start)
		}
		n, err := s.Reseal(t.Context(), []totp.Resealing{old})
		return n == 1, err
	})
	hasFactor(t, s, totp.Record{UserID: "ann", Secret: sealedText("confirmed"), EnrolledAt: start, LastStep: 20})
}
