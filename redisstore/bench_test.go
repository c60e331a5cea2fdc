package redisstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// BenchmarkPing and BenchmarkHGetAll are the lower bounds: a round trip, and a plain read of the fields.
func BenchmarkPing(b *testing.B) {
	client := dial(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := client.Ping(b.Context()).Err(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkHGetAll(b *testing.B) {
	client := dial(b)
	s, prefix := openNamed(b, client)
	x := newSession("user-1", 1)
	require.NoError(b, s.CreateSession(b.Context(), *x, 50))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if fields, err := client.HGetAll(b.Context(), "{"+prefix+"}:s:"+x.ID).Result(); err != nil || len(fields) == 0 {
				b.Error(fields, err)
				return
			}
		}
	})
}

// BenchmarkSessionByID is the cost of each guarded request.
func BenchmarkSessionByID(b *testing.B) {
	s := open(b, dial(b))
	x := newSession("user-1", 1)
	require.NoError(b, s.CreateSession(b.Context(), *x, 50))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.SessionByID(b.Context(), x.ID); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkRotateSession(b *testing.B) {
	s := open(b, dial(b))
	x := newSession("user-1", 1)
	require.NoError(b, s.CreateSession(b.Context(), *x, 50))
	b.ReportAllocs()
	for b.Loop() {
		got, rotated, err := s.RotateSession(b.Context(), x.ID, rotation(x, fmt.Sprint(b.N)))
		if err != nil || !rotated {
			b.Fatal(rotated, err)
		}
		*x = got
	}
}

// A user with the maximum number of sessions logs in.
func BenchmarkCreateSession(b *testing.B) {
	s := open(b, dial(b))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := s.CreateSession(b.Context(), *newSession("user-1", n), 50); err != nil {
			b.Fatal(err)
		}
	}
}

// The time during which Redis is blocked by the largest batch of Kit.Run.
func BenchmarkDeleteExpired1000(b *testing.B) {
	s := open(b, dial(b))
	for b.Loop() {
		b.StopTimer()
		for n := range 1000 {
			require.NoError(b, s.CreateSession(b.Context(), *newSession(fmt.Sprint("user-", n), n), 50))
		}
		b.StartTimer()
		deleted, err := s.DeleteExpired(b.Context(), start.Add(1000*time.Hour), start, 1000)
		if err != nil || deleted != 1000 {
			b.Fatal(deleted, err)
		}
	}
}

// BenchmarkReserve is the cost of a login before its hash. The failing logins are of different accounts
// and addresses.
func BenchmarkReserve(b *testing.B) {
	b.Run("failure", func(b *testing.B) {
		s, _ := openThrottle(b, dial(b))
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if v, err := s.Reserve(b.Context(), guess(fmt.Sprint(n), fmt.Sprint(n), 0)); err != nil || v != (throttle.Decision{}) {
				b.Fatal(v, err)
			}
		}
	})
	b.Run("refused", func(b *testing.B) {
		s, _ := openThrottle(b, dial(b))
		failures(b, s, "locked", 5)
		b.ReportAllocs()
		for b.Loop() {
			if v, err := s.Reserve(b.Context(), guess("locked", "near", 0)); err != nil || v.Counter == 0 {
				b.Fatal(v, err)
			}
		}
	})
	b.Run("success", func(b *testing.B) { // with its Finish
		s, _ := openThrottle(b, dial(b))
		b.ReportAllocs()
		for b.Loop() {
			a := guess("user", "near", 0)
			if v, err := s.Reserve(b.Context(), a); err != nil || v != (throttle.Decision{}) {
				b.Fatal(v, err)
			}
			if err := s.Finish(b.Context(), a, authkit.AttemptSucceeded); err != nil {
				b.Fatal(err)
			}
		}
	})
}
