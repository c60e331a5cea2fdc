package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// besides runs read in a few goroutines while it runs the steps of a writer.
func besides(t *testing.T, read func() error, steps int, write func(n int) error) {
	t.Helper()
	var stop atomic.Bool
	var ready, readers sync.WaitGroup
	for range 4 {
		ready.Add(1)
		readers.Go(func() {
			for first := true; first || !stop.Load(); first = false {
				err := read()
				if first {
					ready.Done()
				}
				if err != nil {
					t.Error(err)
					return
				}
				runtime.Gosched() // gives the others a turn if the store never blocks
			}
		})
	}
	ready.Wait()
	for n := 1; n <= steps; n++ {
		if err := write(n); err != nil {
			t.Errorf("step %d: %v", n, err)
			break
		}
		runtime.Gosched()
	}
	stop.Store(true)
	readers.Wait()
}

// testReadersSeeWholeSessions rotates a session. Readers must see the state
// after one rotation, and never an older one than before.
func testReadersSeeWholeSessions(t *testing.T, s authkit.SessionStore, rounds int) {
	first := newSession("user-1", 1)
	begin(t, s, first)
	states := []authkit.StoredSession{first}
	for n := 1; n <= rounds; n++ {
		r := newRotation(&states[n-1], fmt.Sprint(n), time.Hour+time.Duration(n)*time.Microsecond)
		states = append(states, r.Apply(states[n-1]))
	}
	find := func(address string) *authkit.StoredSession {
		n := slices.IndexFunc(states, func(x authkit.StoredSession) bool { return x.Address == address })
		return &states[max(0, n)]
	}
	besides(t, func() error {
		one, err := s.SessionByID(t.Context(), first.ID)
		if err != nil || !equalStored(&one, find(one.Address)) {
			return fmt.Errorf("SessionByID: a mixture: %s (%v)", show(&one), err)
		}
		list, err := s.SessionsByUser(t.Context(), "user-1")
		if err != nil || len(list) != 1 || !equalSessions(list[0], find(list[0].Address).Session) {
			return fmt.Errorf("SessionsByUser: a mixture: %+v (%v)", list, err)
		}
		if list[0].LastUsedAt.Before(one.LastUsedAt) {
			return fmt.Errorf("SessionsByUser is older than SessionByID before it: %+v, %+v", list[0], one.Session)
		}
		return nil
	}, rounds, func(n int) error {
		x := &states[n]
		_, rotated, err := s.RotateSession(t.Context(), x.ID, authkit.Rotation{
			Old: x.ParentHash, New: x.TokenHash, Successor: x.Successor,
			At: x.RotatedAt, ExpiresAt: x.ExpiresAt, Address: x.Address,
		})
		if err == nil && !rotated {
			err = errors.New("not rotated")
		}
		return err
	})
}

// testEndIsOneChange ends sessions. Readers must see each session or its
// Revocation.
func testEndIsOneChange(t *testing.T, s authkit.SessionStore, rounds int) {
	user := func(n int) string { return fmt.Sprint("user-", n) }
	at := func(n int) time.Time { return start.Add(time.Duration(n) * time.Hour) }
	var created atomic.Int32
	besides(t, func() error {
		n := int(created.Load())
		if n == 0 {
			return nil
		}
		revoked := func() (bool, error) {
			list, err := s.Revocations(t.Context(), at(n))
			return slices.ContainsFunc(list, func(r authkit.Revocation) bool { return r.UserID == user(n) }), err
		}
		before, err := revoked()
		if err != nil {
			return err
		}
		_, err = s.SessionByID(t.Context(), newSession(user(n), n).ID)
		if err != nil && !errors.Is(err, authkit.ErrSessionNotFound) {
			return err
		}
		missing := err != nil
		after, err := revoked()
		if err != nil {
			return err
		}
		if before && !missing {
			return fmt.Errorf("session %d has a Revocation, and is there", n)
		}
		if missing && !after {
			return fmt.Errorf("session %d is gone, and has no Revocation", n)
		}
		return nil
	}, rounds, func(n int) error {
		ctx := t.Context()
		x, next := newSession(user(n), n), newSession(user(n), rounds+n)
		if err := s.CreateSession(ctx, x, 1); err != nil {
			return err
		}
		created.Store(int32(n))
		switch n % 4 {
		case 0:
			_, err := s.RevokeSession(ctx, x.UserID, x.ID, at(n))
			return err
		case 1:
			return s.RevokeSessions(ctx, x.UserID, "another", at(n))
		case 2:
			return s.RevokeSessions(ctx, x.UserID, "", at(n))
		}
		next.CreatedAt = at(n)
		return s.CreateSession(ctx, next, 1)
	})
}

// testEndTogether ends sessions by one call, or by a login that replaces them.
// Readers must see all or none of them.
func testEndTogether(t *testing.T, s authkit.SessionStore, rounds int) {
	const together = 4
	all := func(n int) (sessions [together]authkit.StoredSession, next authkit.StoredSession) {
		for i := range sessions {
			sessions[i] = newSession(fmt.Sprint("user-", n), n*10+i)
		}
		return sessions, newSession(fmt.Sprint("user-", n), n*10+together)
	}
	there := func(id string) (bool, error) {
		_, err := s.SessionByID(t.Context(), id)
		return wonUnless(authkit.ErrSessionNotFound, err)
	}
	var created, turn atomic.Int32
	besides(t, func() error {
		n := int(created.Load())
		if n == 0 {
			return nil
		}
		sessions, next := all(n)
		shift, missing := int(turn.Add(1)), false
		for i := range sessions {
			x := &sessions[(i*3+shift)%together]
			ok, err := there(x.ID)
			if err != nil {
				return err
			}
			if missing && ok {
				return fmt.Errorf("round %d: session %s is there, and another one that ends with it is not", n, x.ID)
			}
			missing = missing || !ok
		}
		ok, err := there(next.ID)
		if n%3 == 0 && missing && !ok && err == nil {
			return fmt.Errorf("round %d: the sessions are gone, and the one in their place is not there", n)
		}
		return err
	}, rounds, func(n int) error {
		ctx := t.Context()
		sessions, next := all(n)
		for i := range sessions {
			if err := s.CreateSession(ctx, sessions[i], unlimited); err != nil {
				return err
			}
		}
		created.Store(int32(n))
		switch n % 3 {
		case 1:
			return s.RevokeSessions(ctx, next.UserID, "another", start)
		case 2:
			return s.RevokeSessions(ctx, next.UserID, "", start)
		}
		return s.CreateSession(ctx, next, 1)
	})
}

// testCancelledInTheMiddle cancels a change before it, and then later and later
// during it. It must have no effect or the whole effect.
func testCancelledInTheMiddle(t *testing.T, s authkit.SessionStore, rounds int) {
	for number, change := range []struct {
		name string
		// The remaining sessions of a, b and c, and the revocations.
		none, whole string
		make        func(ctx context.Context, a, b, c *authkit.StoredSession) error
	}{
		{"CreateSession", "a b |", "c | a b", func(ctx context.Context, _, _, c *authkit.StoredSession) error {
			return s.CreateSession(ctx, *c, 1)
		}},
		{"RotateSession", "a b |", "a rotated b |", func(ctx context.Context, a, _, _ *authkit.StoredSession) error {
			_, _, err := s.RotateSession(ctx, a.ID, newRotation(a, "next", time.Minute))
			return err
		}},
		{"RevokeSession", "a b |", "b | a", func(ctx context.Context, a, _, _ *authkit.StoredSession) error {
			_, err := s.RevokeSession(ctx, a.UserID, a.ID, start)
			return err
		}},
		{"RevokeSessions but one", "a b |", "| a b", func(ctx context.Context, a, _, c *authkit.StoredSession) error {
			return s.RevokeSessions(ctx, a.UserID, c.ID, start)
		}},
		{"RevokeSessions", "a b |", "| a b all", func(ctx context.Context, a, _, _ *authkit.StoredSession) error {
			return s.RevokeSessions(ctx, a.UserID, "", start)
		}},
		{"DeleteExpired", "a b |", "|", func(ctx context.Context, _, _, _ *authkit.StoredSession) error {
			_, err := s.DeleteExpired(ctx, start.Add(1000*time.Hour), time.Time{}, unlimited)
			return err
		}},
	} {
		for round := range rounds {
			n := 3 * (number*rounds + round)
			user := fmt.Sprint("user-", n)
			a, b, c := newSession(user, n), newSession(user, n+1), newSession(user, n+2)
			begin(t, s, a, b)
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			if round == 0 {
				cancel()
			} else {
				done.Go(func() {
					time.Sleep(time.Duration(round-1) * 20 * time.Microsecond)
					cancel()
				})
			}
			err := change.make(ctx, &a, &b, &c)
			done.Wait()
			got := remains(t, s, &a, &b, &c)
			if err == nil && got != change.whole || err != nil && got != change.none && got != change.whole {
				t.Fatalf("%s in round %d: %v, and there is %q, want %q or with an error %q", change.name, round, err, got, change.whole, change.none)
			}
			if errors.Is(err, authkit.ErrSessionNotFound) || round == 0 && err == nil {
				t.Fatalf("%s in round %d: got error %v", change.name, round, err)
			}
			if err := s.RevokeSessions(t.Context(), user, "", start); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// remains describes the remaining sessions and the revocations of a user.
func remains(t *testing.T, s authkit.SessionStore, sessions ...*authkit.StoredSession) string {
	t.Helper()
	revoked, err := s.Revocations(t.Context(), start)
	if err != nil {
		t.Fatal(err)
	}
	isRevoked := func(id string) bool {
		return slices.ContainsFunc(revoked, func(r authkit.Revocation) bool { return r.UserID == sessions[0].UserID && r.SessionID == id })
	}
	var there, ended []string
	for i, x := range sessions {
		name := string(rune('a' + i))
		got, err := s.SessionByID(t.Context(), x.ID)
		switch rotated := newRotation(x, "next", time.Minute).Apply(*x); {
		case err == nil && equalStored(&got, x):
			there = append(there, name)
		case err == nil && equalStored(&got, &rotated):
			there = append(there, name, "rotated")
		case !errors.Is(err, authkit.ErrSessionNotFound):
			t.Fatalf("session %s: %s (%v)", name, show(&got), err)
		}
		if isRevoked(x.ID) {
			ended = append(ended, name)
		}
	}
	if isRevoked("") {
		ended = append(ended, "all")
	}
	return strings.TrimSpace(strings.Join(there, " ") + " | " + strings.Join(ended, " "))
}
