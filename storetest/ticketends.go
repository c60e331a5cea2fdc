package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// deleteExpiredTickets checks the number of deleted tickets.
func deleteExpiredTickets(t *testing.T, s authkit.TicketStore, at time.Time, limit, want int) {
	t.Helper()
	if n, err := s.DeleteExpiredTickets(t.Context(), at, limit); err != nil || n != want {
		t.Fatalf("DeleteExpiredTickets(%v) with limit %d: %d (%v), want %d", at, limit, n, err, want)
	}
}

func testDeleteExpiredTickets(t *testing.T, s authkit.TicketStore) {
	second := start.Truncate(time.Second)
	deleteExpiredTickets(t, s, second, unlimited, 0)
	var all []authkit.Ticket
	for n, ends := range []time.Time{second.Add(-time.Microsecond), second.In(elsewhere), second.Add(time.Microsecond), second.Add(10 * time.Millisecond), second.Add(time.Hour)} {
		k := newTicket(n)
		k.CreatedAt, k.ExpiresAt = start.Add(-time.Hour), ends
		all = append(all, k)
	}
	all[0].MaxAttempts, all[1].Subject = 0, "" // neither matters
	for i := range all {                       // not in the order of expiry
		put(t, s, all[(i*3)%len(all)])
	}
	deleteExpiredTickets(t, s, second.Add(-2*time.Microsecond), unlimited, 0)
	deleteExpiredTickets(t, s, second.Add(-time.Microsecond).In(elsewhere), unlimited, 1)
	wantTickets(t, s, all, 1, 2, 3, 4)
	deleteExpiredTickets(t, s, second, unlimited, 1) // expired, since its ExpiresAt is not after that
	wantTickets(t, s, all, 2, 3, 4)
	consume(t, s, all[3], second)
	if err := s.DeleteTickets(t.Context(), all[2].Subject); err != nil {
		t.Fatal(err)
	}
	deleteExpiredTickets(t, s, second.Add(time.Minute), unlimited, 0) // already deleted
	wantTickets(t, s, all, 4)
	put(t, s, all[2], all[3])
	deleteExpiredTickets(t, s, second.Add(time.Hour), unlimited, 3)
	wantTickets(t, s, all)
	put(t, s, all[4])
	wantTickets(t, s, all, 4)
}

func testDeleteExpiredTicketsLimit(t *testing.T, s authkit.TicketStore) {
	late := start.Add(1000 * time.Hour)
	for n := range 12 {
		k := newTicket(n)
		if n%3 == 0 {
			k.ExpiresAt = late.Add(time.Hour)
		}
		put(t, s, k)
	}
	deleteExpiredTickets(t, s, late, 0, 0)
	deleteExpiredTickets(t, s, late, -1, 0)
	deleteExpiredTickets(t, s, late, math.MinInt, 0)
	for _, want := range []int{3, 3, 2, 0} {
		deleteExpiredTickets(t, s, late, 3, want)
	}
	for n := range 12 {
		if hasTicket(t, s, newTicket(n)) != (n%3 == 0) {
			t.Fatalf("ticket %d: there %v", n, n%3 != 0)
		}
	}
}

func testTicketCancelledContext(t *testing.T, s authkit.TicketStore) {
	a, b := newTicket(1), newTicket(2)
	b.Subject = a.Subject
	put(t, s, a)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fails := func(method string, err error) {
		t.Helper()
		if err == nil || errors.Is(err, authkit.ErrTicketNotFound) {
			t.Errorf("%s with a cancelled context: got error %v", method, err)
		}
	}
	for _, id := range []string{a.ID, "nothing"} {
		_, err := s.AttemptTicket(ctx, a.Kind, id, start)
		fails("AttemptTicket", err)
		fails("ConsumeTicket", s.ConsumeTicket(ctx, a.Kind, id, start))
	}
	fails("PutTicket", s.PutTicket(ctx, b))
	fails("DeleteTickets", s.DeleteTickets(ctx, a.Subject))
	_, err := s.DeleteExpiredTickets(ctx, start.Add(1000*time.Hour), unlimited)
	fails("DeleteExpiredTickets", err)
	attempt(t, s, &a)
	if hasTicket(t, s, b) {
		t.Error("a ticket was stored with a cancelled context")
	}
}

// testTicketCancelledInTheMiddle cancels changes of several tickets later and
// later during them. They must have no effect or the whole effect.
func testTicketCancelledInTheMiddle(t *testing.T, s authkit.TicketStore) {
	for number, change := range []struct {
		name        string
		none, whole [3]bool // which of the tickets a, b and c exist
		make        func(ctx context.Context, a, c authkit.Ticket) error
	}{
		{"PutTicket", [3]bool{true, true, false}, [3]bool{false, true, true}, func(ctx context.Context, _, c authkit.Ticket) error {
			return s.PutTicket(ctx, c)
		}},
		{"DeleteTickets", [3]bool{true, true, false}, [3]bool{}, func(ctx context.Context, a, _ authkit.Ticket) error {
			return s.DeleteTickets(ctx, a.Subject)
		}},
	} {
		for round := range 20 {
			n := 3 * (number*20 + round)
			a, b, c := newTicket(n), newTicket(n+1), newTicket(n+2)
			a.Subject, b.Subject, c.Subject, b.Kind = fmt.Sprint("of ", n), fmt.Sprint("of ", n), fmt.Sprint("of ", n), "email"
			put(t, s, a, b)
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			done.Go(func() {
				time.Sleep(time.Duration(round) * 20 * time.Microsecond)
				cancel()
			})
			err := change.make(ctx, a, c)
			done.Wait()
			got := [3]bool{hasTicket(t, s, a), hasTicket(t, s, b), hasTicket(t, s, c)}
			if err == nil && got != change.whole || err != nil && got != change.none && got != change.whole {
				t.Fatalf("%s in round %d: %v, and there is %v, want %v or with an error %v", change.name, round, err, got, change.whole, change.none)
			}
		}
	}
}

// testAttemptsAreCountedFirst lets 64 goroutines guess at tickets that allow
// five attempts.
func testAttemptsAreCountedFirst(t *testing.T, s authkit.TicketStore) {
	const most = 5
	for n := range accounts {
		k := newTicket(n)
		k.MaxAttempts = most
		put(t, s, k)
		var seen [most + 1]atomic.Int32
		wins := race(t, func(int) (bool, error) {
			got, err := s.AttemptTicket(t.Context(), k.Kind, k.ID, start)
			won, err := wonUnless(authkit.ErrTicketNotFound, err)
			if won && (got.Attempts < 1 || got.Attempts > most || got.Hash != k.Hash) {
				return won, fmt.Errorf("got %s", showTicket(&got))
			}
			if won {
				seen[got.Attempts].Add(1)
			}
			return won, err
		})
		if wins != most {
			t.Fatalf("%d of %d attempts were let through, want %d", wins, racers, most)
		}
		for i := range most {
			if times := seen[i+1].Load(); times != 1 {
				t.Fatalf("attempt %d was counted %d times", i+1, times)
			}
		}
		consume(t, s, k, start)
	}
}

func testOneConsumerWins(t *testing.T, s authkit.TicketStore) {
	for n := range accounts {
		k := newTicket(n)
		k.MaxAttempts = n % 2 // the number does not matter
		put(t, s, k)
		wins := race(t, func(int) (bool, error) {
			return wonUnless(authkit.ErrTicketNotFound, s.ConsumeTicket(t.Context(), k.Kind, k.ID, start))
		})
		if wins != 1 {
			t.Fatalf("%d callers consumed the ticket, want 1", wins)
		}
	}
}

// testOnePutWins lets all goroutines store a ticket with one ID, each for a
// subject that already has a ticket. Only the winner may void one.
func testOnePutWins(t *testing.T, s authkit.TicketStore) {
	for i := range racers {
		put(t, s, newTicket(i))
	}
	var won [racers]bool
	var failures atomic.Int32
	race(t, func(i int) (bool, error) {
		k := newTicket(i)
		k.ID, k.Body = "same", []byte(fmt.Sprint(i))
		err := s.PutTicket(t.Context(), k)
		won[i] = err == nil
		if errors.Is(err, authkit.ErrTicketNotFound) {
			return false, err
		}
		if err != nil {
			failures.Add(1)
		}
		return err == nil, nil
	})
	if failures.Load() != racers-1 {
		t.Fatalf("%d tickets with one ID were stored, want 1", racers-failures.Load())
	}
	got, err := s.AttemptTicket(t.Context(), "login", "same", start)
	if err != nil {
		t.Fatal(err)
	}
	for i := range racers {
		if won[i] != (string(got.Body) == fmt.Sprint(i)) || hasTicket(t, s, newTicket(i)) == won[i] {
			t.Fatalf("goroutine %d won %v; the ticket is %s, its older one is there %v", i, won[i], showTicket(&got), !won[i])
		}
	}
}

// testOneOfASubjectStays lets all goroutines store tickets of one kind and
// subject. Each voids the older ones, so exactly one must remain.
func testOneOfASubjectStays(t *testing.T, s authkit.TicketStore) {
	other := newTicket(9999)
	other.Kind, other.Subject = "email", "ada"
	put(t, s, other)
	for round := range accounts {
		ticket := func(i int) authkit.Ticket {
			k := newTicket(round*racers + i)
			k.Subject = "ada"
			return k
		}
		race(t, func(i int) (bool, error) { return true, s.PutTicket(t.Context(), ticket(i)) })
		left := 0
		for i := range racers {
			if hasTicket(t, s, ticket(i)) {
				left++
			}
		}
		if left != 1 {
			t.Fatalf("round %d: %d tickets of one kind and subject are left, want 1", round, left)
		}
	}
	attempt(t, s, &other)
}

func testDeletedTicketsAreCountedOnce(t *testing.T, s authkit.TicketStore) {
	const n = 200
	for i := range n {
		put(t, s, newTicket(i))
	}
	late := start.Add(1000 * time.Hour)
	var deleted atomic.Int32
	clean := func() (bool, error) {
		some, err := s.DeleteExpiredTickets(t.Context(), late, 7)
		deleted.Add(int32(some))
		if some > 7 {
			err = fmt.Errorf("removed %d, limit 7", some)
		}
		return some > 0, err
	}
	race(t, func(int) (bool, error) { return clean() })
	for more := true; more; { // a caller that came second may have found nothing
		var err error
		if more, err = clean(); err != nil {
			t.Fatal(err)
		}
	}
	if deleted.Load() != n {
		t.Fatalf("%d tickets were counted, want %d", deleted.Load(), n)
	}
}

func testAllTicketMethodsAtOnce(t *testing.T, s authkit.TicketStore) {
	ticket := func(i, round int) authkit.Ticket {
		k := newTicket(i*100 + round)
		k.Kind, k.Subject = fmt.Sprint("kind-", round%2), fmt.Sprint("subject-", i/2)
		return k
	}
	race(t, func(i int) (bool, error) {
		ctx := t.Context()
		for round := range 6 {
			k := ticket(i, round)
			if err := s.PutTicket(ctx, k); err != nil {
				return false, fmt.Errorf("PutTicket: %w", err)
			}
			got, err := s.AttemptTicket(ctx, k.Kind, k.ID, start)
			if there, err := wonUnless(authkit.ErrTicketNotFound, err); err != nil || there && got.Hash != k.Hash {
				return false, fmt.Errorf("AttemptTicket: %s, %w", showTicket(&got), err)
			}
			switch round {
			case 1:
				if _, err := wonUnless(authkit.ErrTicketNotFound, s.ConsumeTicket(ctx, k.Kind, k.ID, start)); err != nil {
					return false, fmt.Errorf("ConsumeTicket: %w", err)
				}
			case 3:
				if err := s.DeleteTickets(ctx, k.Subject); err != nil {
					return false, fmt.Errorf("DeleteTickets: %w", err)
				}
			}
			if n, err := s.DeleteExpiredTickets(ctx, start, 10); err != nil || n != 0 {
				return false, fmt.Errorf("DeleteExpiredTickets: %d, %w", n, err)
			}
		}
		return true, nil
	})
	// Two goroutines share a subject: of each kind at most one ticket is left.
	for subject := range racers / 2 {
		for kind := range 2 {
			left := 0
			for round := kind; round < 6; round += 2 {
				for i := range 2 {
					if hasTicket(t, s, ticket(2*subject+i, round)) {
						left++
					}
				}
			}
			if left > 1 {
				t.Fatalf("%d tickets of kind %d and subject %d are left", left, kind, subject)
			}
		}
	}
	if n, err := s.DeleteExpiredTickets(t.Context(), start.Add(1000*time.Hour), unlimited); err != nil || n > racers {
		t.Fatalf("%d tickets are left (%v), want at most %d", n, err, racers)
	}
}
