package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// fillSessions stores n sessions, of which every one of the first due expires an hour before
// at, and the others an hour after. Ten belong to a user.
func fillSessions(b *testing.B, store *authkit.MemoryStore, n, due int, at time.Time) {
	b.Helper()
	for i := range n {
		expires := at.Add(time.Hour + time.Duration(i)*time.Microsecond)
		if i%(n/max(due, 1)) == 0 && i/(n/max(due, 1)) < due {
			expires = at.Add(-time.Hour + time.Duration(i)*time.Microsecond)
		}
		err := store.CreateSession(b.Context(), authkit.StoredSession{Session: authkit.Session{
			ID: fmt.Sprintf("session-%07d", i), UserID: fmt.Sprint("user-", i/10), CreatedAt: at, LastUsedAt: at, ExpiresAt: expires, AbsoluteExpiresAt: expires,
		}}, 50)
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemoryDeleteExpiredNothingDue is one call on a million sessions that are all good.
func BenchmarkMemoryDeleteExpiredNothingDue(b *testing.B) {
	at := time.Now()
	store := authkit.NewMemoryStore()
	fillSessions(b, store, 1_000_000, 0, at)
	for b.Loop() {
		if n, err := store.DeleteExpired(b.Context(), at, at, 1000); err != nil || n != 0 {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkMemoryDeleteExpiredHalfDue deletes half a million of a million sessions, a thousand
// with each call, and reports the longest call.
func BenchmarkMemoryDeleteExpiredHalfDue(b *testing.B) {
	at := time.Now()
	for b.Loop() {
		b.StopTimer()
		store := authkit.NewMemoryStore()
		fillSessions(b, store, 1_000_000, 500_000, at)
		b.StartTimer()
		var longest time.Duration
		for deleted := 0; deleted < 500_000; {
			began := time.Now()
			n, err := store.DeleteExpired(b.Context(), at, at, 1000)
			if err != nil || n == 0 {
				b.Fatal(n, err)
			}
			deleted += n
			longest = max(longest, time.Since(began))
		}
		b.ReportMetric(float64(longest.Microseconds()), "µs-longest")
	}
}

// BenchmarkMemoryRotate is one rotation of a session of a hundred thousand, without and with others
// beside it.
func BenchmarkMemoryRotate(b *testing.B) {
	at := time.Now()
	store := authkit.NewMemoryStore()
	fillSessions(b, store, 100_000, 0, at)
	rotate := func(b *testing.B, i int) {
		id := fmt.Sprintf("session-%07d", i%100_000)
		if _, _, err := store.RotateSession(b.Context(), id, authkit.Rotation{At: at, ExpiresAt: at.Add(time.Hour)}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			rotate(b, i)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				rotate(b, i)
			}
		})
	})
}

// BenchmarkMemoryTickets is the life of a ticket, beside a hundred thousand others.
func BenchmarkMemoryTickets(b *testing.B) {
	at := time.Now()
	store := authkit.NewMemoryStore()
	ticket := func(i int) authkit.Ticket {
		return authkit.Ticket{Kind: "login", ID: fmt.Sprint("ticket-", i), Subject: fmt.Sprint("user-", i), MaxAttempts: 5, CreatedAt: at, ExpiresAt: at.Add(time.Hour)}
	}
	others := 0
	for ; others < 100_000; others++ {
		k := ticket(others)
		k.Subject = ""
		if err := store.PutTicket(b.Context(), k); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("put, attempt, consume", func(b *testing.B) {
		for i := others; b.Loop(); i++ {
			k := ticket(i)
			err := store.PutTicket(b.Context(), k)
			if err == nil {
				_, err = store.AttemptTicket(b.Context(), k.Kind, k.ID, at)
			}
			if err == nil {
				err = store.ConsumeTicket(b.Context(), k.Kind, k.ID, at)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("delete expired, nothing due", func(b *testing.B) {
		for b.Loop() {
			if n, err := store.DeleteExpiredTickets(b.Context(), at, 1000); err != nil || n != 0 {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkMemoryInTx is a transaction that changes an account, and one that is rolled back.
func BenchmarkMemoryInTx(b *testing.B) {
	store := authkit.NewMemoryStore()
	if err := store.CreateUser(b.Context(), authkit.StoredUser{User: authkit.User{ID: "ada", Email: "ada@example.com"}}); err != nil {
		b.Fatal(err)
	}
	errUndo := errors.New("undo")
	for name, result := range map[string]error{"commit": nil, "rollback": errUndo} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				err := store.InTx(b.Context(), func(ctx context.Context) error {
					if _, err := store.UpdateUser(ctx, "ada", authkit.UserUpdate{Disabled: new(true)}, time.Time{}); err != nil {
						return err
					}
					return result
				})
				if !errors.Is(err, result) {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMemoryQuery looks for one account of a million by its role, and counts it.
func BenchmarkMemoryQuery(b *testing.B) {
	store := authkit.NewMemoryStore()
	for i := range 1_000_000 {
		u := authkit.User{ID: fmt.Sprintf("user-%07d", i), Email: fmt.Sprintf("user%d@example.com", i), Roles: []string{"user"}}
		if i == 900_000 {
			u.Roles = []string{"user", "admin"}
		}
		if err := store.CreateUser(b.Context(), authkit.StoredUser{User: u}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if list, err := store.ListUsers(b.Context(), authkit.UserQuery{Role: "admin", Limit: 2}); err != nil || len(list) != 1 {
				b.Fatal(list, err)
			}
		}
	})
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			if n, err := store.CountUsers(b.Context(), authkit.UserQuery{Role: "admin"}); err != nil || n != 1 {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("demote the last administrator", func(b *testing.B) {
		for b.Loop() {
			_, err := store.UpdateUser(b.Context(), "user-0900000", authkit.UserUpdate{Disabled: new(true), KeepRole: "admin"}, time.Time{})
			if !errors.Is(err, authkit.ErrLastAdmin) {
				b.Fatal(err)
			}
		}
	})
	b.Run("update", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := store.UpdateUser(b.Context(), fmt.Sprintf("user-%07d", i*7919%1_000_000), authkit.UserUpdate{FullName: new("x")}, time.Time{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
