package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// TestThrottleStore tests an implementation of [throttle.Store] against the
// contract in the comment of that interface. The function open returns an empty
// store for one test. It may register a cleanup. The subtests run in parallel.
func TestThrottleStore(t *testing.T, open func(t *testing.T) throttle.Store) {
	for name, test := range map[string]func(*testing.T, throttle.Store){
		"LimitIsABurstAndARate":   testLimitIsABurstAndARate,
		"LimitsAllOrNone":         testLimitsAllOrNone,
		"LimitGivesBack":          testLimitGivesBack,
		"ClockWasSetBack":         testClockWasSetBack,
		"CounterWaits":            testCounterWaits,
		"CounterEnds":             testCounterEnds,
		"CounterForgets":          testCounterForgets,
		"RefusedChangesNothing":   testRefusedChangesNothing,
		"SuccessClears":           testSuccessClears,
		"UndecidedGivesBack":      testUndecidedGivesBack,
		"FailureStays":            testFailureStays,
		"OpenAttempts":            testOpenAttempts,
		"OpenAttemptsEnd":         testOpenAttemptsEnd,
		"SameGuessAgain":          testSameGuessAgain,
		"SameGuessWhileWaiting":   testSameGuessWhileWaiting,
		"SourceCountsByItself":    testSourceCountsByItself,
		"SourceIsForgotten":       testSourceIsForgotten,
		"ClearReachesSources":     testClearReachesSources,
		"NoKeysNoEffect":          testNoKeysNoEffect,
		"LatestFailureCounts":     testLatestFailureCounts,
		"LikeTheModel":            testLikeTheModel,
		"ParallelLimit":           testParallelLimit,
		"ParallelFailures":        testParallelFailures,
		"ParallelEnds":            testParallelEnds,
		"ThrottleCancelledBefore": testThrottleCancelledBefore,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// curve differs from the default, so that a store must use the curve of the
// call.
var curve = throttle.Backoff{
	FreeFailures: 2, InitialDelay: 10 * time.Second, MaxDelay: time.Minute, LockAfter: 8,
	DecayPerFailure: time.Hour, TrustFor: 24 * time.Hour, Open: 90 * time.Second,
}

func throttleKey(text string) throttle.Key {
	hash := hashOf(text)
	return throttle.Key(hash[:16])
}

// guess is an attempt at an account, some time after start. If from is empty,
// it has no source.
func guess(account, from string, after time.Duration) throttle.Reservation {
	take := throttle.Reservation{
		At: start.Add(after), Backoff: curve,
		Counter: throttleKey("account " + account), ClearedAt: throttleKey("pardon " + account),
	}
	if from != "" {
		take.Source = throttleKey("source " + account + " " + from)
	}
	return take
}

// request is an attempt with limits only.
func request(after time.Duration, buckets ...throttle.Bucket) throttle.Reservation {
	return throttle.Reservation{At: start.Add(after), Backoff: curve, Buckets: buckets}
}

func bucket(name string, burst int, every time.Duration) throttle.Bucket {
	return throttle.Bucket{Key: throttleKey("bucket " + name), Limit: throttle.Limit{Burst: burst, Every: every}}
}

// take checks the verdict on an attempt.
func take(t *testing.T, s throttle.Store, attempt throttle.Reservation, want throttle.Decision) {
	t.Helper()
	got, err := s.Reserve(t.Context(), attempt)
	if err != nil {
		t.Fatalf("Reservation: %v", err)
	}
	if got.Bucket != want.Bucket || got.Counter != want.Counter {
		t.Fatalf("Reservation %v after the start: got %+v, want %+v", attempt.At.Sub(start), got, want)
	}
}

// takeOpen checks the verdict on a refused attempt, and whether only open
// attempts are in the way.
func takeOpen(t *testing.T, s throttle.Store, attempt throttle.Reservation, wait time.Duration, open bool) {
	t.Helper()
	got, err := s.Reserve(t.Context(), attempt)
	if err != nil {
		t.Fatalf("Reservation: %v", err)
	}
	if want := (throttle.Decision{Counter: wait, Open: open}); got != want {
		t.Fatalf("Reservation %v after the start: got %+v, want %+v", attempt.At.Sub(start), got, want)
	}
}

// Shorter names for the outcomes.
const (
	undecided = authkit.AttemptUndecided
	failed    = authkit.AttemptFailed
	succeeded = authkit.AttemptSucceeded
)

func settle(t *testing.T, s throttle.Store, attempt throttle.Reservation, outcome authkit.AttemptOutcome) {
	t.Helper()
	if err := s.Finish(t.Context(), attempt, outcome); err != nil {
		t.Fatalf("Finish: %v", err)
	}
}

func clearFailures(t *testing.T, s throttle.Store, attempt throttle.Reservation) {
	t.Helper()
	if err := s.Clear(t.Context(), attempt); err != nil {
		t.Fatalf("Clear: %v", err)
	}
}

var letIn = throttle.Decision{}

func counterWait(d time.Duration) throttle.Decision { return throttle.Decision{Counter: d} }
func bucketWait(d time.Duration) throttle.Decision  { return throttle.Decision{Bucket: d} }

func testLimitIsABurstAndARate(t *testing.T, s throttle.Store) {
	b := bucket("a", 3, time.Second)
	for range 3 {
		take(t, s, request(0, b), letIn)
	}
	take(t, s, request(0, b), bucketWait(time.Second))
	take(t, s, request(time.Second-time.Microsecond, b), bucketWait(time.Microsecond))
	take(t, s, request(time.Second, b), letIn)
	take(t, s, request(time.Second, b), bucketWait(time.Second))
	take(t, s, request(time.Second, bucket("b", 1, time.Hour)), letIn)
	for range 3 { // at most a burst accumulates
		take(t, s, request(time.Hour, b), letIn)
	}
	take(t, s, request(time.Hour, b), bucketWait(time.Second))
}

func testLimitsAllOrNone(t *testing.T, s throttle.Store) {
	narrow, wide := bucket("narrow", 1, time.Minute), bucket("wide", 2, time.Second)
	take(t, s, request(0, narrow, wide), letIn)
	take(t, s, request(0, narrow, wide), bucketWait(time.Minute))
	take(t, s, request(0, wide, narrow), bucketWait(time.Minute))
	take(t, s, request(0, wide), letIn)
	take(t, s, request(0, wide), bucketWait(time.Second))

	locked := guess("locked", "", 0)
	for range 3 {
		take(t, s, locked, letIn)
	}
	locked.Buckets = []throttle.Bucket{bucket("c", 1, time.Minute)}
	take(t, s, locked, counterWait(10*time.Second))
	take(t, s, request(0, locked.Buckets...), letIn)
	take(t, s, locked, throttle.Decision{Bucket: time.Minute, Counter: 10 * time.Second})

	free := guess("free", "", 0)
	free.Buckets = locked.Buckets
	for range 9 {
		take(t, s, free, bucketWait(time.Minute))
	}
	free.Buckets = nil
	for range 3 {
		take(t, s, free, letIn)
	}
}

func testLimitGivesBack(t *testing.T, s throttle.Store) {
	b := bucket("a", 2, time.Minute)
	for _, outcome := range []authkit.AttemptOutcome{succeeded, undecided} {
		take(t, s, request(0, b), letIn)
		take(t, s, request(0, b), letIn)
		take(t, s, request(0, b), bucketWait(time.Minute))
		settle(t, s, request(0, b), outcome)
		take(t, s, request(0, b), letIn)
		take(t, s, request(0, b), bucketWait(time.Minute))
		settle(t, s, request(0, b), outcome)
		settle(t, s, request(0, b), outcome)
	}
	settle(t, s, request(0, b), succeeded) // at most a burst is returned
	take(t, s, request(0, b), letIn)
	take(t, s, request(0, b), letIn)
	take(t, s, request(0, b), bucketWait(time.Minute))
}

func testClockWasSetBack(t *testing.T, s throttle.Store) {
	b := bucket("a", 2, 10*time.Second)
	take(t, s, request(time.Hour, b), letIn)
	take(t, s, request(time.Hour, b), letIn)
	take(t, s, request(time.Hour-time.Minute, b), bucketWait(time.Minute+10*time.Second))
	take(t, s, request(time.Hour-time.Minute-time.Microsecond, b), letIn)
	take(t, s, request(0, b), letIn)
	take(t, s, request(0, b), letIn)
	take(t, s, request(0, b), bucketWait(10*time.Second))
}

func testCounterWaits(t *testing.T, s throttle.Store) {
	at := time.Duration(0)
	for n, wait := range []time.Duration{0, 0, 0, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
		if wait > 0 {
			take(t, s, guess("a", "", at), counterWait(wait))
			take(t, s, guess("a", "", at+wait-time.Microsecond), counterWait(time.Microsecond))
			at += wait
		}
		take(t, s, guess("a", "", at), letIn)
		if n == 4 {
			take(t, s, guess("b", "", at), letIn)
		}
	}
}

// fail makes an account fail n times in a row, as early as possible, and
// returns the time of the last failure.
func fail(t *testing.T, s throttle.Store, account, from string, after time.Duration, n int) time.Duration {
	t.Helper()
	for i := range n {
		if i > 0 {
			after += curve.Wait(i)
		}
		take(t, s, guess(account, from, after), letIn)
		settle(t, s, guess(account, from, after), failed)
	}
	return after
}

func testCounterEnds(t *testing.T, s throttle.Store) {
	at := fail(t, s, "a", "", 0, curve.LockAfter)
	for _, after := range []time.Duration{0, time.Minute, time.Hour, 8 * time.Hour, 9999 * time.Hour} {
		take(t, s, guess("a", "", at+after), counterWait(curve.MaxDelay))
	}
	at += 9999 * time.Hour
	clearFailures(t, s, guess("a", "", at))
	fail(t, s, "a", "", at, curve.LockAfter)
}

func testCounterForgets(t *testing.T, s throttle.Store) {
	for _, n := range []int{1, 3, curve.LockAfter - 1} {
		name := fmt.Sprint(n)
		at := fail(t, s, name, "", 0, n) + time.Duration(n)*curve.DecayPerFailure
		fail(t, s, name, "", at, curve.FreeFailures+1)
		take(t, s, guess(name, "", at), counterWait(curve.InitialDelay))
	}
	at := fail(t, s, "a", "", 0, 2) + 2*curve.DecayPerFailure - time.Microsecond
	take(t, s, guess("a", "", at), letIn)
	take(t, s, guess("a", "", at), counterWait(curve.InitialDelay))
}

func testRefusedChangesNothing(t *testing.T, s throttle.Store) {
	at := fail(t, s, "a", "", 0, 3)
	for i := range 50 {
		after := at + time.Duration(i)*curve.InitialDelay/50
		take(t, s, guess("a", "", after), counterWait(at+curve.InitialDelay-after))
	}
	take(t, s, guess("a", "", at+curve.InitialDelay), letIn)
	take(t, s, guess("a", "", at+curve.InitialDelay), counterWait(2*curve.InitialDelay))
}

func testSuccessClears(t *testing.T, s throttle.Store) {
	for _, from := range []string{"", "here"} {
		name := "account from " + from
		at := fail(t, s, name, from, 0, 5)
		at += curve.Wait(5)
		take(t, s, guess(name, from, at), letIn)
		settle(t, s, guess(name, from, at), succeeded)
		fail(t, s, name, from, at, 3)
		take(t, s, guess(name, from, at), counterWait(curve.InitialDelay))
		if from != "" {
			fail(t, s, name, "elsewhere", at, 3) // earlier failures no longer count
		}
	}
}

func testUndecidedGivesBack(t *testing.T, s throttle.Store) {
	for range 20 {
		take(t, s, guess("a", "here", 0), letIn)
		settle(t, s, guess("a", "here", 0), undecided)
	}
	settle(t, s, guess("a", "here", 0), undecided) // does not go below zero
	at := fail(t, s, "a", "here", 0, 4) + curve.Wait(4)
	take(t, s, guess("a", "here", at), letIn)
	settle(t, s, guess("a", "here", at), undecided) // does not restart the wait
	take(t, s, guess("a", "elsewhere", at-time.Microsecond), counterWait(time.Microsecond))
	take(t, s, guess("a", "elsewhere", at), letIn)
	take(t, s, guess("a", "here", at), counterWait(curve.Wait(5)))
}

func testSourceCountsByItself(t *testing.T, s throttle.Store) {
	fail(t, s, "a", "home", 0, 1)
	settle(t, s, guess("a", "home", 0), succeeded)
	at := fail(t, s, "a", "elsewhere", 0, curve.LockAfter)
	take(t, s, guess("a", "elsewhere", at), counterWait(curve.MaxDelay))
	take(t, s, guess("a", "", at), counterWait(curve.MaxDelay))

	take(t, s, guess("a", "home", at), letIn)
	settle(t, s, guess("a", "home", at), succeeded)
	take(t, s, guess("a", "elsewhere", at), counterWait(curve.MaxDelay)) // the stranger gains no attempt

	at = fail(t, s, "a", "home", at, 3)
	take(t, s, guess("a", "home", at), counterWait(curve.InitialDelay))
	take(t, s, guess("b", "home", at), letIn)
}

func testSourceIsForgotten(t *testing.T, s throttle.Store) {
	at := fail(t, s, "a", "home", 0, 1)
	settle(t, s, guess("a", "home", at), succeeded)
	take(t, s, guess("a", "home", at+time.Hour), letIn)
	settle(t, s, guess("a", "home", at+time.Hour), succeeded)
	until := at + time.Hour + curve.TrustFor
	fail(t, s, "a", "elsewhere", until-time.Hour, 3)
	take(t, s, guess("a", "elsewhere", until-time.Hour), counterWait(curve.InitialDelay))
	take(t, s, guess("a", "home", until-time.Microsecond), letIn) // this was not a success
	take(t, s, guess("a", "elsewhere", until), letIn)
	take(t, s, guess("a", "home", until), counterWait(2*curve.InitialDelay))
}

func testClearReachesSources(t *testing.T, s throttle.Store) {
	fail(t, s, "a", "home", 0, 1)
	settle(t, s, guess("a", "home", 0), succeeded)
	fail(t, s, "b", "elsewhere", 0, 3)
	at := fail(t, s, "a", "home", 0, 6)
	fail(t, s, "a", "elsewhere", 0, 6)
	take(t, s, guess("a", "home", at), counterWait(curve.Wait(6)))
	clearFailures(t, s, guess("a", "", at))
	take(t, s, guess("b", "elsewhere", 0), counterWait(curve.InitialDelay))
	fail(t, s, "a", "home", at+time.Microsecond, 3)
	fail(t, s, "a", "elsewhere", at+time.Microsecond, 3)
	take(t, s, guess("a", "home", at+time.Microsecond), counterWait(curve.InitialDelay))
	take(t, s, guess("a", "elsewhere", at+time.Microsecond), counterWait(curve.InitialDelay))
	clearFailures(t, s, guess("nobody", "", 0))
}

func testNoKeysNoEffect(t *testing.T, s throttle.Store) {
	for range 20 {
		take(t, s, request(0), letIn)
	}
	settle(t, s, request(0), succeeded)
	settle(t, s, request(0), undecided)
	take(t, s, guess("a", "", 0), letIn)
}

// testLatestFailureCounts checks that of two clocks, the later time counts.
func testLatestFailureCounts(t *testing.T, s throttle.Store) {
	take(t, s, guess("a", "", 0), letIn)
	take(t, s, guess("a", "", time.Second), letIn)
	take(t, s, guess("a", "", 500*time.Millisecond), letIn)
	take(t, s, guess("a", "", time.Second), counterWait(curve.InitialDelay))
}

// testLikeTheModel makes the same random calls to the store and to a model with
// unbounded numbers, and compares every verdict.
func testLikeTheModel(t *testing.T, s throttle.Store) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	m := newThrottleModel()
	steps := []time.Duration{0, 0, 0, time.Microsecond, time.Second, 10 * time.Second, time.Minute, time.Hour, 30 * time.Hour}
	at := time.Duration(0)
	for i := range 3000 {
		if step := steps[r.IntN(len(steps))]; r.IntN(4) > 0 {
			at += time.Duration(r.Int64N(int64(step)+1)) / time.Microsecond * time.Microsecond
		} else {
			at += step
		}
		attempt := guess(fmt.Sprint(r.IntN(2)), []string{"", "home", "work"}[r.IntN(3)], at)
		attempt.Guess = uint16(r.IntN(3))
		if r.IntN(6) == 0 {
			attempt = request(at)
		}
		for _, b := range []throttle.Bucket{bucket("x", 3, time.Second), bucket("y", 5, 7*time.Second)} {
			if r.IntN(3) == 0 {
				attempt.Buckets = append(attempt.Buckets, b)
			}
		}
		switch op := r.IntN(50); {
		case op < 20:
			outcome := failed
			if op < 2 {
				outcome = succeeded
			} else if op < 7 {
				outcome = undecided
			}
			m.settle(attempt, outcome)
			settle(t, s, attempt, outcome)
		case op == 20 && attempt.Counter != throttle.Key{}:
			m.clear(attempt)
			clearFailures(t, s, attempt)
		default:
			want := m.take(attempt)
			got, err := s.Reserve(t.Context(), attempt)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Fatalf("call %d, %v after the start: got %+v, the model says %+v", i, at, got, want)
			}
		}
	}
}

// atOnce runs n functions concurrently.
func atOnce(n int, do func(i int)) {
	var wg sync.WaitGroup
	ready := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-ready
			do(i)
		})
	}
	close(ready)
	wg.Wait()
}

// testParallelLimit checks that concurrent attempts never exceed the limit.
func testParallelLimit(t *testing.T, s throttle.Store) {
	for round, b := range []throttle.Bucket{bucket("a", 1, time.Second), bucket("b", 7, time.Second), bucket("c", 50, time.Second)} {
		var admitted atomic.Int64
		atOnce(8, func(int) {
			for range 20 {
				v, err := s.Reserve(t.Context(), request(0, b))
				if err != nil {
					t.Error(err)
				}
				if v == letIn {
					admitted.Add(1)
				}
			}
		})
		if got := admitted.Load(); got != int64(b.Burst) {
			t.Fatalf("round %d: %d were let in, want %d", round, got, b.Burst)
		}
	}
}

// testParallelFailures checks that a hundred concurrent guesses get no further
// than sequential ones (LO-08).
func testParallelFailures(t *testing.T, s throttle.Store) {
	var admitted atomic.Int64
	atOnce(50, func(i int) {
		for j := range 2 {
			attempt := guess("a", fmt.Sprint(i), 0)
			attempt.Buckets = []throttle.Bucket{bucket(fmt.Sprint(i, j), 1, time.Second)}
			v, err := s.Reserve(t.Context(), attempt)
			if err != nil {
				t.Error(err)
			}
			if v == letIn {
				admitted.Add(1)
			}
		}
	})
	if got := admitted.Load(); got != int64(curve.FreeFailures+1) {
		t.Fatalf("%d guesses were let in, want %d", got, curve.FreeFailures+1)
	}
	take(t, s, guess("a", "", 0), counterWait(curve.InitialDelay))
}

// testParallelEnds checks that attempts that are returned concurrently add up.
func testParallelEnds(t *testing.T, s throttle.Store) {
	b := bucket("a", 40, time.Hour)
	atOnce(40, func(i int) {
		attempt := guess(fmt.Sprint(i), "", 0)
		attempt.Buckets = []throttle.Bucket{b}
		if v, err := s.Reserve(t.Context(), attempt); err != nil || v != letIn {
			t.Error(v, err)
		}
		if i%2 == 0 {
			if err := s.Finish(t.Context(), attempt, []authkit.AttemptOutcome{succeeded, undecided}[i/2%2]); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		take(t, s, request(0, b), letIn)
	}
	take(t, s, request(0, b), bucketWait(time.Hour))
}

func testThrottleCancelledBefore(t *testing.T, s throttle.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	attempt := guess("a", "here", 0)
	if _, err := s.Reserve(ctx, attempt); !errors.Is(err, context.Canceled) {
		t.Fatalf("Reservation: %v", err)
	}
	if err := s.Finish(ctx, attempt, succeeded); !errors.Is(err, context.Canceled) {
		t.Fatalf("Finish: %v", err)
	}
	if err := s.Clear(ctx, attempt); !errors.Is(err, context.Canceled) {
		t.Fatalf("Clear: %v", err)
	}
}
