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

	"github.com/authkit-go/authkit/account"
)

// TestAccountStore tests an implementation of [account.Store] against the
// contract in that interface's comment. The function open returns an empty
// store that no other test uses; it may register a cleanup. The subtests run in
// parallel.
func TestAccountStore(t *testing.T, open func(t *testing.T) account.Store) {
	for name, test := range map[string]func(*testing.T, account.Store){
		"PutAndClaim":      testJobPutAndClaim,
		"Order":            testJobOrder,
		"Lease":            testJobLease,
		"Fence":            testJobFence,
		"NotDue":           testJobNotDue,
		"Expired":          testJobExpired,
		"TakenIDs":         testJobTakenIDs,
		"BrokenIDs":        testJobBrokenIDs,
		"SharesNoMemory":   testJobSharesNoMemory,
		"CancelledContext": testJobCancelledContext,
		"Claimers":         testJobClaimers,
		"Deleters":         testJobDeleters,
		"Times":            testJobTimes,
		"TimesExpire":      testJobTimesExpire,
		"TimesRace":        testJobTimesRace,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// newJob returns a job that is due at start and expires an hour later.
func newJob(id string) account.Job {
	return account.Job{ID: id, Body: []byte("the body of " + id + "\x00\xff"), DueAt: start, ExpiresAt: start.Add(time.Hour)}
}

func putJobs(t *testing.T, s account.Store, jobs ...account.Job) {
	t.Helper()
	for _, j := range jobs {
		if err := s.PutJob(t.Context(), j); err != nil {
			t.Fatalf("PutJob(%s): %v", j.ID, err)
		}
	}
}

// claim returns the job that is claimed at a time for a minute.
func claim(t *testing.T, s account.Store, at time.Time) account.Job {
	t.Helper()
	j, err := s.ClaimJob(t.Context(), at, at.Add(time.Minute))
	if err != nil {
		t.Fatalf("ClaimJob: %v", err)
	}
	return j
}

// noJob checks that there is nothing to claim at a time.
func noJob(t *testing.T, s account.Store, at time.Time) {
	t.Helper()
	if j, err := s.ClaimJob(t.Context(), at, at.Add(time.Minute)); !errors.Is(err, account.ErrNoJob) {
		t.Fatalf("ClaimJob: %+v, %v; want ErrNoJob", j, err)
	}
}

// deleteJob deletes a job and checks whether there was one.
func deleteJob(t *testing.T, s account.Store, id string, attempts int, want bool) {
	t.Helper()
	if deleted, err := s.DeleteJob(t.Context(), id, attempts); err != nil || deleted != want {
		t.Fatalf("DeleteJob(%s, %d): %v, %v; want %v", id, attempts, deleted, err, want)
	}
}

func testJobPutAndClaim(t *testing.T, s account.Store) {
	noJob(t, s, start)
	want := newJob("a")
	want.DueAt, want.ExpiresAt = start.Add(-123456*time.Microsecond), start.Add(time.Hour+123456*time.Microsecond)
	putJobs(t, s, want)
	got := claim(t, s, start)
	if got.ID != "a" || !bytes.Equal(got.Body, want.Body) || got.Attempts != 1 || !got.ExpiresAt.Equal(want.ExpiresAt) || !got.DueAt.Equal(start.Add(time.Minute)) {
		t.Fatalf("got %+v", got)
	}
	deleteJob(t, s, "a", 1, true)
	deleteJob(t, s, "a", 1, false)
	noJob(t, s, start.Add(time.Hour/2))
}

func testJobOrder(t *testing.T, s account.Store) {
	for i, id := range []string{"c", "a", "b"} {
		j := newJob(id)
		j.DueAt = start.Add(time.Duration(i) * time.Second)
		putJobs(t, s, j)
	}
	for _, want := range []string{"c", "a", "b"} {
		if got := claim(t, s, start.Add(time.Minute)); got.ID != want {
			t.Fatalf("got %s, want %s", got.ID, want)
		}
	}
}

func testJobLease(t *testing.T, s account.Store) {
	putJobs(t, s, newJob("a"))
	claim(t, s, start)
	noJob(t, s, start.Add(time.Minute-time.Microsecond))
	if got := claim(t, s, start.Add(time.Minute)); got.Attempts != 2 {
		t.Fatalf("got %d attempts, want 2", got.Attempts)
	}
}

func testJobFence(t *testing.T, s account.Store) {
	putJobs(t, s, newJob("a"))
	claim(t, s, start)
	claim(t, s, start.Add(time.Minute))
	deleteJob(t, s, "a", 1, false)
	if err := s.PostponeJob(t.Context(), "a", 1, start); err != nil {
		t.Fatal(err)
	}
	noJob(t, s, start.Add(time.Minute))
	if err := s.PostponeJob(t.Context(), "a", 2, start.Add(90*time.Second)); err != nil {
		t.Fatal(err)
	}
	noJob(t, s, start.Add(90*time.Second-time.Microsecond))
	if got := claim(t, s, start.Add(90*time.Second)); got.Attempts != 3 {
		t.Fatalf("got %d attempts, want 3", got.Attempts)
	}
	if err := s.PostponeJob(t.Context(), "nothing", 1, start); err != nil {
		t.Fatal(err)
	}
	deleteJob(t, s, "nothing", 0, false)
}

func testJobNotDue(t *testing.T, s account.Store) {
	j := newJob("a")
	j.DueAt = start.Add(time.Microsecond)
	putJobs(t, s, j)
	noJob(t, s, start)
	claim(t, s, start.Add(time.Microsecond))
}

func testJobExpired(t *testing.T, s account.Store) {
	putJobs(t, s, newJob("a"), newJob("b"), newJob("c"))
	later := newJob("later")
	later.ExpiresAt = later.ExpiresAt.Add(time.Microsecond)
	putJobs(t, s, later)
	end := start.Add(time.Hour)
	if got := claim(t, s, end); got.ID != "later" {
		t.Fatalf("got %s, which has expired", got.ID)
	}
	for i, want := range []int{0, 0, 2, 1, 0} {
		limit := []int{-1, 0, 2, 2, 2}[i]
		if n, err := s.DeleteExpiredJobs(t.Context(), end, limit); err != nil || n != want {
			t.Fatalf("DeleteExpiredJobs(%d): %d, %v; want %d", limit, n, err, want)
		}
	}
	deleteJob(t, s, "later", 1, true)
}

func testJobTakenIDs(t *testing.T, s account.Store) {
	putJobs(t, s, newJob("a"))
	other := newJob("a")
	other.Body = []byte("another")
	if err := s.PutJob(t.Context(), other); err == nil {
		t.Error("an ID that exists was stored")
	}
	if err := s.PutJob(t.Context(), account.Job{DueAt: start, ExpiresAt: start.Add(time.Hour)}); err == nil {
		t.Error("an empty ID was stored")
	}
	if got := claim(t, s, start); !bytes.Equal(got.Body, newJob("a").Body) {
		t.Errorf("the body was changed: %q", got.Body)
	}
	noJob(t, s, start)
	putJobs(t, s, newJob("A")) // compared byte by byte
}

func testJobBrokenIDs(t *testing.T, s account.Store) {
	for _, id := range []string{"\x00", "\xff", strings.Repeat("a", 100)} {
		deleteJob(t, s, id, 0, false)
		if err := s.PostponeJob(t.Context(), id, 0, start); err != nil {
			t.Errorf("PostponeJob(%q): %v", id, err)
		}
		if times, version, err := s.Times(t.Context(), id); err != nil || times != nil || version != 0 {
			t.Errorf("Times(%q): %v, %d, %v", id, times, version, err)
		}
	}
}

func testJobSharesNoMemory(t *testing.T, s account.Store) {
	j := newJob("a")
	putJobs(t, s, j)
	want := bytes.Clone(j.Body)
	j.Body[0] = 'X'
	got := claim(t, s, start)
	if !bytes.Equal(got.Body, want) {
		t.Fatal("the store shares the body that it was given")
	}
	got.Body[0] = 'X'
	if got := claim(t, s, start.Add(time.Minute)); !bytes.Equal(got.Body, want) {
		t.Fatal("the store shares the body that it returned")
	}
	times := []time.Time{start}
	setTimes(t, s, "a", times, 0)
	times[0] = start.Add(time.Hour)
	got1, _, _ := s.Times(t.Context(), "a")
	got1[0] = start.Add(time.Hour)
	if got2, _, _ := s.Times(t.Context(), "a"); !got2[0].Equal(start) {
		t.Fatal("the store shares times")
	}
}

func testJobCancelledContext(t *testing.T, s account.Store) {
	putJobs(t, s, newJob("a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"PutJob":            func() error { return s.PutJob(ctx, newJob("b")) },
		"ClaimJob":          func() error { _, err := s.ClaimJob(ctx, start, start.Add(time.Minute)); return err },
		"PostponeJob":       func() error { return s.PostponeJob(ctx, "a", 0, start.Add(time.Hour)) },
		"DeleteJob":         func() error { _, err := s.DeleteJob(ctx, "a", 0); return err },
		"Times":             func() error { _, _, err := s.Times(ctx, "a"); return err },
		"SetTimes":          func() error { return s.SetTimes(ctx, "a", []time.Time{start}, 0, start.Add(time.Hour)) },
		"DeleteExpiredJobs": func() error { _, err := s.DeleteExpiredJobs(ctx, start.Add(2*time.Hour), 10); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want the error of the context", name, err)
		}
	}
	if got := claim(t, s, start); got.ID != "a" || got.Attempts != 1 {
		t.Errorf("got %+v", got)
	}
	noJob(t, s, start)
	if times, _, err := s.Times(t.Context(), "a"); err != nil || times != nil {
		t.Errorf("Times: %v, %v", times, err)
	}
}

// testJobClaimers: each job is claimed once, whatever the number of workers.
func testJobClaimers(t *testing.T, s account.Store) {
	const jobs, claimers = 40, 32
	for i := range jobs {
		putJobs(t, s, newJob(fmt.Sprintf("job-%02d", i)))
	}
	var mu sync.Mutex
	var claimed []string
	var group sync.WaitGroup
	for range claimers {
		group.Go(func() {
			for {
				j, err := s.ClaimJob(t.Context(), start, start.Add(time.Minute))
				if errors.Is(err, account.ErrNoJob) {
					return
				}
				if err != nil || j.Attempts != 1 {
					t.Errorf("ClaimJob: %d attempts, %v", j.Attempts, err)
					return
				}
				mu.Lock()
				claimed = append(claimed, j.ID)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	slices.Sort(claimed)
	if n := len(claimed); n != jobs || len(slices.Compact(claimed)) != jobs {
		t.Errorf("%d claims of %d jobs: %v", n, jobs, claimed)
	}
}

func testJobDeleters(t *testing.T, s account.Store) {
	putJobs(t, s, newJob("a"))
	var deleted atomic.Int32
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			ok, err := s.DeleteJob(t.Context(), "a", 0)
			if err != nil {
				t.Error(err)
			}
			if ok {
				deleted.Add(1)
			}
		})
	}
	group.Wait()
	if n := deleted.Load(); n != 1 {
		t.Errorf("%d callers deleted one job", n)
	}
}

func setTimes(t *testing.T, s account.Store, key string, times []time.Time, version int64) {
	t.Helper()
	if err := s.SetTimes(t.Context(), key, times, version, start.Add(time.Hour)); err != nil {
		t.Fatalf("SetTimes(%s, version %d): %v", key, version, err)
	}
}

func hasTimes(t *testing.T, s account.Store, key string, version int64, want ...time.Time) {
	t.Helper()
	got, v, err := s.Times(t.Context(), key)
	if err != nil || v != version || !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Fatalf("Times(%s): %v, version %d, %v; want %v, version %d", key, got, v, err, want, version)
	}
}

func testJobTimes(t *testing.T, s account.Store) {
	first, second := start.Add(123456*time.Microsecond), start.Add(time.Second)
	hasTimes(t, s, "a", 0)
	setTimes(t, s, "a", []time.Time{first}, 0)
	hasTimes(t, s, "a", 1, first)
	hasTimes(t, s, "A", 0)
	setTimes(t, s, "a", []time.Time{first, second}, 1)
	hasTimes(t, s, "a", 2, first, second)
	for _, version := range []int64{0, 1, 3, -1} {
		if err := s.SetTimes(t.Context(), "a", nil, version, start.Add(time.Hour)); !errors.Is(err, account.ErrConflict) {
			t.Errorf("SetTimes with version %d: %v; want ErrConflict", version, err)
		}
	}
	if err := s.SetTimes(t.Context(), "b", nil, 1, start.Add(time.Hour)); !errors.Is(err, account.ErrConflict) {
		t.Errorf("SetTimes of nothing with version 1: %v; want ErrConflict", err)
	}
	hasTimes(t, s, "a", 2, first, second)
	setTimes(t, s, "a", nil, 2)
	hasTimes(t, s, "a", 3)
}

func testJobTimesExpire(t *testing.T, s account.Store) {
	setTimes(t, s, "a", []time.Time{start}, 0)
	setTimes(t, s, "b", []time.Time{start}, 0)
	if err := s.SetTimes(t.Context(), "b", []time.Time{start}, 1, start.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.DeleteExpiredJobs(t.Context(), start.Add(time.Hour), 10); err != nil || n != 1 {
		t.Fatalf("DeleteExpiredJobs: %d, %v; want 1", n, err)
	}
	hasTimes(t, s, "a", 0)
	hasTimes(t, s, "b", 2, start)
}

// testJobTimesRace: of several callers with one version, one succeeds.
func testJobTimesRace(t *testing.T, s account.Store) {
	for version := range int64(3) {
		var won atomic.Int32
		var group sync.WaitGroup
		for range 32 {
			group.Go(func() {
				switch err := s.SetTimes(t.Context(), "a", []time.Time{start}, version, start.Add(time.Hour)); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, account.ErrConflict):
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := won.Load(); n != 1 {
			t.Errorf("%d callers stored version %d", n, version+1)
		}
	}
}
