package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// testOneRotationWins lets all goroutines present the current token, in several
// rounds. One wins, and all get its successor. There must never be two
// successors.
func testOneRotationWins(t *testing.T, s authkit.SessionStore, rounds int) {
	current := newSession("user-1", 1)
	begin(t, s, current)
	for round := range rounds {
		rotation := func(i int) authkit.Rotation {
			return newRotation(&current, fmt.Sprintf("round %d goroutine %d", round, i), time.Duration(round)*time.Second)
		}
		var winner atomic.Int32
		var given [racers]authkit.StoredSession
		wins := race(t, func(i int) (rotated bool, err error) {
			given[i], rotated, err = s.RotateSession(t.Context(), current.ID, rotation(i))
			if rotated {
				winner.Store(int32(i))
			}
			return rotated, err
		})
		if wins != 1 || t.Failed() {
			t.Fatalf("round %d: %d rotations of one token won, want 1", round, wins)
		}
		current = rotation(int(winner.Load())).Apply(current)
		for i := range given {
			if !equalStored(&given[i], &current) {
				t.Fatalf("round %d: goroutine %d was given\n%s, and the winner stored\n%s", round, i, show(&given[i]), show(&current))
			}
		}
		holds(t, s, current)
	}
}

// testRotationsAreAChain lets every goroutine rotate the token that it last
// saw. Each token must have one successor, and all must be in the chain.
func testRotationsAreAChain(t *testing.T, s authkit.SessionStore, rounds int) {
	first := newSession("user-1", 1)
	begin(t, s, first)
	var mu sync.Mutex
	successor := make(map[[32]byte][32]byte)
	var rotations atomic.Int32
	race(t, func(i int) (bool, error) {
		seen := first
		for n := 0; int(rotations.Load()) < rounds; n++ {
			r := newRotation(&seen, fmt.Sprintf("goroutine %d number %d", i, n), time.Minute)
			got, rotated, err := s.RotateSession(t.Context(), first.ID, r)
			switch {
			case err != nil:
				return false, err
			case rotated && (got.TokenHash != r.New || got.ParentHash != r.Old):
				return false, fmt.Errorf("won, and was given %s", show(&got))
			case !rotated && got.TokenHash == r.Old:
				return false, errors.New("lost with the token that is current")
			}
			seen = got
			if !rotated {
				continue
			}
			rotations.Add(1)
			mu.Lock()
			_, twice := successor[r.Old]
			successor[r.Old] = r.New
			mu.Unlock()
			if twice {
				return false, errors.New("a token has two successors")
			}
			runtime.Gosched() // let another one win
		}
		return true, nil
	})
	parent, last, length := [32]byte{}, first.TokenHash, 0
	for next, ok := successor[last]; ok; next, ok = successor[last] {
		parent, last, length = last, next, length+1
	}
	end := findSession(t, s, first.ID)
	if length != int(rotations.Load()) || end.TokenHash != last || end.ParentHash != parent {
		t.Fatalf("%d rotations won, and the chain is of %d; it ends in %x after %x: %s", rotations.Load(), length, last, parent, show(&end))
	}
}

// testRevokedNeverComesBack ends a session in each of the ways, while
// goroutines rotate it.
func testRevokedNeverComesBack(t *testing.T, s authkit.SessionStore, rounds int) {
	at := start.Add(time.Minute)
	for number, way := range []struct {
		name    string
		end     func(ctx context.Context, x *authkit.StoredSession) error
		revokes bool // the session itself, not only its user
	}{
		{"RevokeSession", func(ctx context.Context, x *authkit.StoredSession) error {
			revoked, err := s.RevokeSession(ctx, x.UserID, x.ID, at)
			if err == nil && !revoked {
				return errors.New("it was not there")
			}
			return err
		}, true},
		{"RevokeSessions", func(ctx context.Context, x *authkit.StoredSession) error {
			return s.RevokeSessions(ctx, x.UserID, "", at)
		}, true},
		{"RevokeSessions but one", func(ctx context.Context, x *authkit.StoredSession) error {
			return s.RevokeSessions(ctx, x.UserID, "another", at)
		}, true},
		{"CreateSession over the limit", func(ctx context.Context, x *authkit.StoredSession) error {
			next := newSession(x.UserID, 0)
			next.ID, next.CreatedAt = "next of "+x.UserID, at
			return s.CreateSession(ctx, next, 1)
		}, true},
		{"DeleteExpired", func(ctx context.Context, x *authkit.StoredSession) error {
			_, err := s.DeleteExpired(ctx, start.Add(1000*time.Hour), time.Time{}, unlimited)
			return err
		}, false},
	} {
		for round := range rounds {
			n := 1 + number*rounds + round
			x := newSession(fmt.Sprintf("%s %d", way.name, round), n)
			begin(t, s, x)
			endWhileRotating(t, s, x, time.Duration(round%20)*100*time.Microsecond, way.end)
			if t.Failed() {
				t.Fatalf("%s in round %d", way.name, round)
			}
			gone(t, s, x)
			revoked, err := s.Revocations(t.Context(), time.Time{})
			if err != nil || slices.ContainsFunc(revoked, func(r authkit.Revocation) bool { return r.SessionID == x.ID }) != way.revokes {
				t.Fatalf("%s: Revocations: %+v (%v)", way.name, revoked, err)
			}
		}
	}
}

// endWhileRotating ends a session while goroutines rotate it. None of them may
// see it afterwards.
func endWhileRotating(t *testing.T, s authkit.SessionStore, x authkit.StoredSession, after time.Duration, end func(context.Context, *authkit.StoredSession) error) {
	t.Helper()
	var ended atomic.Bool
	var rotators sync.WaitGroup
	for i := range 8 {
		rotators.Go(func() {
			seen, missing := x, false
			for n, left := 0, 10; left > 0; n++ {
				over := ended.Load()
				if over {
					left--
				}
				r := newRotation(&seen, fmt.Sprintf("goroutine %d number %d", i, n), time.Second)
				got, _, err := s.RotateSession(t.Context(), x.ID, r)
				switch {
				case errors.Is(err, authkit.ErrSessionNotFound):
					missing = true
				case err != nil:
					t.Errorf("goroutine %d: %v", i, err)
					return
				case over || missing:
					t.Errorf("goroutine %d: the session has come back: %s", i, show(&got))
					return
				default:
					seen = got
				}
				runtime.Gosched() // otherwise a store that never blocks delays the end
			}
		})
	}
	time.Sleep(after)
	if err := end(t.Context(), &x); err != nil {
		t.Error(err)
	}
	ended.Store(true)
	rotators.Wait()
}

// testRotatedIsNotExpired rotates sessions during a clean-up, which deletes
// them if it comes first. A session that a rotation has extended must stay.
func testRotatedIsNotExpired(t *testing.T, s authkit.SessionStore, rounds int) {
	for round := range rounds {
		var all, want []authkit.StoredSession
		for i := range 8 {
			x := newSession("user-1", round*8+i)
			all, want = append(all, x), append(want, newRotation(&x, "next", 2000*time.Hour).Apply(x))
		}
		begin(t, s, all...)
		rotated := make([]bool, len(all))
		var rotators sync.WaitGroup
		for i := range all {
			rotators.Go(func() {
				var err error
				_, rotated[i], err = s.RotateSession(t.Context(), all[i].ID, newRotation(&all[i], "next", 2000*time.Hour))
				if err != nil && !errors.Is(err, authkit.ErrSessionNotFound) {
					t.Error(err)
				}
			})
		}
		deleted, err := s.DeleteExpired(t.Context(), start.Add(1000*time.Hour), time.Time{}, unlimited)
		rotators.Wait()
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if rotated[i] {
				holds(t, s, want[i])
				deleted++
			} else {
				gone(t, s, all[i])
			}
		}
		if deleted != len(all) {
			t.Fatalf("%d sessions were rotated or deleted, want %d", deleted, len(all))
		}
		if err := s.RevokeSessions(t.Context(), "user-1", "", start); err != nil {
			t.Fatal(err)
		}
	}
}

func testCreatorsKeepTheLimit(t *testing.T, s authkit.SessionStore) {
	const limit = 5
	race(t, func(i int) (bool, error) {
		x := newSession("user-1", i)
		x.CreatedAt = start
		if err := s.CreateSession(t.Context(), x, limit); err != nil {
			return false, err
		}
		list, err := s.SessionsByUser(t.Context(), "user-1")
		if len(list) > limit {
			err = fmt.Errorf("%d sessions, want at most %d", len(list), limit)
		}
		return true, err
	})
	left := listed(t, s, "user-1")
	if len(left) != limit {
		t.Fatalf("%d sessions are left: %q, want %d", len(left), left, limit)
	}
	var want []authkit.Revocation
	for i := range racers {
		if x := newSession("user-1", i); slices.Contains(left, x.ID) {
			x.CreatedAt = start
			holds(t, s, x)
		} else {
			gone(t, s, x)
			want = append(want, revocationOf(&x, start))
		}
	}
	wantRevocations(t, s, time.Time{}, want...)
}

func testOneRevokerWins(t *testing.T, s authkit.SessionStore) {
	x := newSession("user-1", 1)
	begin(t, s, x)
	wins := race(t, func(int) (bool, error) { return s.RevokeSession(t.Context(), "user-1", x.ID, start) })
	if wins != 1 {
		t.Fatalf("%d callers revoked the session, want 1", wins)
	}
	gone(t, s, x)
	wantRevocations(t, s, time.Time{}, revocationOf(&x, start))
}

func testDeletedAreCountedOnce(t *testing.T, s authkit.SessionStore) {
	const n = 100
	late := start.Add(1000 * time.Hour)
	for i := range n {
		begin(t, s, newSession(fmt.Sprint("user-", i%7), i))
		if err := s.RevokeSessions(t.Context(), "gone", "", start.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	var deleted atomic.Int32
	clean := func() (bool, error) {
		some, err := s.DeleteExpired(t.Context(), late, late, 7)
		deleted.Add(int32(some))
		return some > 0, err
	}
	race(t, func(int) (bool, error) { return clean() })
	for more := true; more; { // a concurrent caller may have found none
		var err error
		if more, err = clean(); err != nil {
			t.Fatal(err)
		}
	}
	if deleted.Load() != 2*n {
		t.Fatalf("%d rows were counted, want %d", deleted.Load(), 2*n)
	}
	wantRevocations(t, s, time.Time{})
}

// testAllSessionMethodsAtOnce mixes all methods. At the end each session must
// exist or have one Revocation.
func testAllSessionMethodsAtOnce(t *testing.T, s authkit.SessionStore) {
	const users, limit = 4, 10
	at := start.Add(time.Minute)
	var all [racers][3]authkit.StoredSession
	for i := range all {
		for n := range all[i] {
			all[i][n] = newSession(fmt.Sprint("user-", i%users), i*10+n)
			all[i][n].CreatedAt = at
		}
	}
	race(t, func(i int) (bool, error) {
		ctx := t.Context()
		for n := range all[i] {
			x := &all[i][n]
			if err := s.CreateSession(ctx, *x, limit); err != nil {
				return false, fmt.Errorf("CreateSession: %w", err)
			}
			_, err := s.SessionByID(ctx, x.ID)
			_, _, err2 := s.RotateSession(ctx, x.ID, newRotation(x, "next", time.Hour))
			if err := errors.Join(err, err2); err != nil && !errors.Is(err, authkit.ErrSessionNotFound) {
				return false, err
			}
			if _, err := s.SessionsByUser(ctx, x.UserID); err != nil {
				return false, fmt.Errorf("SessionsByUser: %w", err)
			}
			if (i+n)%3 == 0 {
				if _, err := s.RevokeSession(ctx, x.UserID, x.ID, at); err != nil {
					return false, fmt.Errorf("RevokeSession: %w", err)
				}
			}
			if (i+n)%16 == 0 {
				if err := s.RevokeSessions(ctx, x.UserID, x.ID, at); err != nil {
					return false, fmt.Errorf("RevokeSessions: %w", err)
				}
			}
			if _, err := s.Revocations(ctx, at); err != nil {
				return false, fmt.Errorf("call of Revocations: %w", err)
			}
			if deleted, err := s.DeleteExpired(ctx, start, start, 10); err != nil || deleted != 0 {
				return false, fmt.Errorf("DeleteExpired: %d (%v)", deleted, err)
			}
		}
		return true, nil
	})
	var want []authkit.Revocation
	for user := range users {
		left := listed(t, s, fmt.Sprint("user-", user))
		if len(left) > limit {
			t.Fatalf("user %d has %d sessions, want at most %d", user, len(left), limit)
		}
		for i := user; i < racers; i += users {
			for n := range all[i] {
				if x := all[i][n]; slices.Contains(left, x.ID) {
					findSession(t, s, x.ID)
				} else {
					gone(t, s, x)
					want = append(want, revocationOf(&x, at))
				}
			}
		}
	}
	wantRevocations(t, s, time.Time{}, want...)
}
