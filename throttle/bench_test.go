package throttle_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// BenchmarkAttempt is what an attempt costs: one that fails, one that succeeds, and one that is
// refused, in memory.
func BenchmarkAttempt(b *testing.B) {
	limits, err := throttle.New(throttle.Config{})
	if err != nil {
		b.Fatal(err)
	}
	attempts := make([]authkit.Attempt, 1<<16)
	for i := range attempts {
		attempts[i] = authkit.Attempt{
			Action: authkit.ActionLogin, Account: fmt.Sprintf("user%d@example.com", i),
			Client: authkit.ClientInfo{Address: fmt.Sprintf("2001:db8:%x::1", i)},
		}
	}
	ctx := context.Background()
	fail := func(a authkit.Attempt) {
		if limits.Begin(ctx, a) == nil {
			_ = limits.End(ctx, a, authkit.AttemptFailed)
		}
	}
	b.Run("failure", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			fail(attempts[i%len(attempts)])
			if i%len(attempts) == 0 { // and all of them are forgotten
				b.StopTimer()
				limits, _ = throttle.New(throttle.Config{})
				b.StartTimer()
			}
		}
	})
	b.Run("success", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			a := attempts[i%len(attempts)]
			if limits.Begin(ctx, a) == nil {
				_ = limits.End(ctx, a, authkit.AttemptSucceeded)
			}
		}
	})
	b.Run("refused", func(b *testing.B) {
		b.ReportAllocs()
		for range 6 {
			fail(attempts[0])
		}
		for b.Loop() {
			if limits.Begin(ctx, attempts[0]) == nil {
				b.Fatal("let in")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				fail(attempts[i%len(attempts)])
			}
		})
	})
}
