// Package faults makes stores fail, for the tests of programs: every call of a store, in
// every way, one after the other.
//
//	func TestOrder(t *testing.T) {
//		faults.Each(t, func(t *testing.T, in *faults.Injector) {
//			store := in.Store(authkit.NewMemoryStore())
//			shop := newShop(t, store) // the set-up does not fail
//			err := in.Do(t.Context(), func(ctx context.Context) error {
//				return shop.Order(ctx, "tea")
//			})
//			// Here the store works again. Check the rules that hold after every failure:
//			if err == nil && !shop.Ordered("tea") {
//				t.Error("the order is lost")
//			}
//		})
//	}
//
// [Injector.Store], [Injector.Users], [Injector.Sessions] and [Injector.Tickets] wrap the
// stores of package authkit. Transactions keep working: the calls within count, and so do
// the beginning and the commit. Wrap other stores, mailers and providers with [Call]:
//
//	func (s *faultyOrders) Order(ctx context.Context, id string) (Order, error) {
//		return faults.Call(ctx, s.in, "Order", func(ctx context.Context) (Order, error) {
//			return s.Orders.Order(ctx, id)
//		})
//	}
package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// ErrInjected is the error of a call that was made to fail.
var ErrInjected = errors.New("faults: injected error")

// A Kind is a way in which a call fails.
type Kind int

const (
	// None is the kind of the run without a failure.
	None Kind = iota

	// Fail makes a call fail without an effect.
	Fail

	// Lose makes a call fail after it has taken effect: the answer is lost. A commit whose
	// answer is lost is made.
	Lose

	// Cancel cancels the context of [Injector.Do] immediately before a call.
	Cancel

	// Hang makes a call wait until its context ends, without an effect. The test fails if
	// the context has no deadline. Give the program a timeout for its stores. If that is
	// long, call synctest.Test in the function of [Each].
	Hang

	// Crash makes a call and all later ones fail without an effect, as if the program was
	// killed before the call.
	Crash

	// CrashAfter makes a call fail after it has taken effect, and all later ones without
	// an effect, as if the program was killed after the call.
	CrashAfter
)

// String returns the name of a kind, in lower case.
func (k Kind) String() string {
	names := []string{"none", "fail", "lose", "cancel", "hang", "crash", "crash after"}
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return names[k]
}

// An Injector makes one call of the stores that it wraps fail. [Each] makes them. The calls
// are counted within [Injector.Do]; outside of it none fails. The zero Injector makes no
// call fail.
type Injector struct {
	t      testing.TB
	kind   Kind
	target int // the number of the call, from 1

	mu     sync.Mutex
	cancel context.CancelFunc // nil outside of Do
	calls  []string
	down   bool
}

// Kind returns how a call fails in this run, or None in the first run.
func (in *Injector) Kind() Kind { return in.kind }

// Each calls a function once without a failure, and then for every call of a store and every
// [Kind], each time in a subtest with a new Injector. The function makes its stores anew,
// wraps them, prepares the test, calls [Injector.Do], and checks the rules that must hold
// afterwards.
//
// The operation of Do makes its calls in the same order each time. Each fails the test if a
// call is not reached, and if there is no call.
func Each(t *testing.T, run func(t *testing.T, in *Injector)) {
	t.Helper()
	var calls []string
	ok := t.Run("none", func(t *testing.T) {
		in := &Injector{t: t}
		run(t, in)
		if calls = in.calls; len(calls) == 0 {
			t.Error("faults: the operation makes no call of a wrapped store")
		}
	})
	if !ok {
		return
	}
	for i, name := range calls {
		for kind := Fail; kind <= CrashAfter; kind++ {
			t.Run(fmt.Sprintf("%d %s, %v", i+1, name, kind), func(t *testing.T) {
				in := &Injector{t: t, kind: kind, target: i + 1}
				run(t, in)
				if len(in.calls) <= i || in.calls[i] != name {
					t.Errorf("faults: the calls were %q, and first %q; the operation must make the same calls each time", in.calls, calls)
				}
			})
		}
	}
}

// Do calls the operation under test and returns its error. Calls of the wrapped stores are
// counted, and one of them fails, until the operation returns. The context ends with that.
// Call Do once.
func (in *Injector) Do(ctx context.Context, operation func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in.mu.Lock()
	if in.cancel != nil || in.calls != nil {
		in.t.Error("faults: Do is called twice")
	}
	in.cancel = cancel
	in.mu.Unlock()
	defer func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.cancel = nil
	}()
	return operation(ctx)
}

// next counts a call and returns how it fails. A context that is to end has ended then.
func (in *Injector) next(name string) Kind {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.cancel == nil {
		return None
	}
	in.calls = append(in.calls, name)
	switch {
	case in.down:
		return Crash
	case len(in.calls) != in.target:
		return None
	case in.kind == Cancel:
		in.cancel()
	}
	in.down = slices.Contains([]Kind{Crash, CrashAfter}, in.kind)
	return in.kind
}

// hang waits for the end of the context.
func (in *Injector) hang(ctx context.Context, name string) error {
	if _, ok := ctx.Deadline(); !ok {
		in.t.Errorf("faults: the context of %s has no deadline; a store that hangs would hang the program", name)
		return ErrInjected
	}
	<-ctx.Done()
	return ctx.Err()
}

// Call makes a call of a store, or makes it fail. Use it in wrappers of stores that the
// methods of an Injector do not wrap. The name is that of the call, in the names of subtests.
// If the call fails, the result is zero.
func Call[T any](ctx context.Context, in *Injector, name string, call func(ctx context.Context) (T, error)) (T, error) {
	var none T
	switch in.next(name) {
	case Fail, Crash:
		return none, ErrInjected
	case Hang:
		return none, in.hang(ctx, name)
	case Lose, CrashAfter:
		_, _ = call(ctx)
		return none, ErrInjected
	}
	return call(ctx)
}

// callError is Call for a call without a result.
func callError(ctx context.Context, in *Injector, name string, call func(ctx context.Context) error) error {
	_, err := Call(ctx, in, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}
