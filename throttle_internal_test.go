package authkit

import (
	"context"
	"errors"
	"testing"
)

// The limiter of attempts keeps nothing of an account once no attempt names it, or an attacker could
// fill the memory with names.
func TestAttemptLimiterForgets(t *testing.T) {
	t.Parallel()
	var l attemptLimiter
	ann, bob := Attempt{Account: "ann@example.com"}, Attempt{Account: "bob@example.com"}
	var leave []func()
	for _, a := range []Attempt{ann, ann, bob} {
		out, err := l.enter(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, out)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, a := range []Attempt{ann, {Account: "eve@example.com"}} {
		if _, err := l.enter(gone, a); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", a.Account, err)
		}
	}
	// An attempt that names no account is never one of several.
	if _, err := l.enter(t.Context(), Attempt{}); err != nil || len(l.by) != 2 {
		t.Errorf("%d accounts: %v", len(l.by), err)
	}
	for i, want := range []int{2, 1, 0} {
		leave[i]()
		if len(l.by) != want {
			t.Errorf("%d accounts are kept after %d attempts, and not %d", len(l.by), i+1, want)
		}
	}
}
