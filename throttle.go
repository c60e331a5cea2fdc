package authkit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/authkit-go/authkit/internal/gate"
)

// What a client attempts. A host may have other actions than these.
const (
	ActionLogin    = "login"    // a password is checked
	ActionRefresh  = "refresh"  // a refresh token is exchanged
	ActionRegister = "register" // an account is made by a stranger
	ActionReset    = "reset"    // a password reset is asked for
	ActionCode     = "code"     // a code of a second factor is checked
	ActionHash     = "hash"     // a password is hashed for a stranger
)

// An Attempt is what a [Throttle] is asked about.
type Attempt struct {
	Action string // such as ActionLogin

	// Account is the e-mail that the attempt names, in the form of [NormalizeEmail],
	// whether there is such an account or not. It is empty where none is named, or
	// what is named is no e-mail.
	Account string

	// Client is where the attempt comes from, if that is known; see [WithClient].
	Client ClientInfo
}

// A Throttle limits attempts. A Kit asks it before anything is looked up or hashed, so
// that it cannot know whether an account exists. Package throttle has one.
//
// It must be safe for concurrent use. A [ThrottledError] refuses the attempt; any other
// error says that the throttle failed, and the attempt is refused as where a store fails.
// To let attempts pass in that case is up to the implementation.
type Throttle interface {
	// Begin counts an attempt as a failure, in one step with the decision to let it in:
	// of any number at once no more are let in than one after the other. An attempt that
	// is refused counts for nothing. One whose client leaves counts.
	Begin(ctx context.Context, a Attempt) error

	// End is told of attempts that Begin let in and that were no failures. Either they
	// succeeded, or they were not decided: a store failed, or too much was waiting.
	// Then they do not count any more.
	End(ctx context.Context, a Attempt, succeeded bool) error

	// Clear forgets the failures of a.Account, since whoever owns it has shown that in
	// another way.
	Clear(ctx context.Context, a Attempt) error
}

// A ThrottledError is returned for an attempt that a [Throttle] refuses. It says the same
// whether there is an account or not, and whether the password was right: nobody looked.
type ThrottledError struct {
	RetryAfter time.Duration // when to try again
	Account    bool          // the failures are those of the account, not of the address
}

// Error says nothing about the account.
func (e *ThrottledError) Error() string { return "authkit: too many attempts" }

// retryAfter is the wait in whole seconds, for clients.
func (e *ThrottledError) retryAfter() int {
	return max(1, int((e.RetryAfter+time.Second-1)/time.Second))
}

// event returns the kind of event of a refused attempt.
func (e *ThrottledError) event() EventKind {
	if e.Account {
		return EventLoginThrottled
	}
	return EventRateLimited
}

// throttled makes an attempt if the throttle admits it, and reports the outcome to the
// throttle. A failure needs no report. Nor does a client that hangs up: it may have learnt
// enough. Nor does a login that needs a second factor: it counts as a failure until the user
// has answered, so that a guessed password buys no unlimited guesses at codes (MF-13).
func (k *Kit) throttled(ctx context.Context, a Attempt, attempt func() error) error {
	if k.throttle == nil {
		return attempt()
	}
	a.Client = ClientFrom(ctx)
	leave, err := k.lanes.enter(ctx, a)
	if err != nil {
		return err
	}
	defer leave()
	if err := k.throttle.Begin(ctx, a); isThrottled(err) {
		return err
	} else if err != nil {
		return unavailable(ctx, err)
	}
	err = attempt()
	_, challenged := errors.AsType[*ChallengeError](err)
	failed := challenged || isWrongProof(err) || errors.Is(err, ErrUserDisabled) ||
		errors.Is(err, ErrEmailUnverified) || errors.Is(err, ErrInvalidRefreshToken)
	if !failed && (err == nil || !hasLeft(ctx)) {
		k.settle(ctx, a, err == nil)
	}
	return err
}

// settle reports an attempt that was not a failure. The login stands whatever the throttle
// says.
func (k *Kit) settle(ctx context.Context, a Attempt, succeeded bool) {
	ctx = context.WithoutCancel(ctx)
	if err := k.throttle.End(ctx, a, succeeded); err != nil {
		_ = k.storeFailed(ctx, err)
	}
}

// succeeded reports the success of an attempt that was left open: that of a login whose
// second factor came later.
func (k *Kit) succeeded(ctx context.Context, a Attempt) {
	if k.throttle != nil {
		a.Client = ClientFrom(ctx)
		k.settle(ctx, a, true)
	}
}

// pardon clears the failures that the throttle has counted against an account. A new password
// pardons no codes: otherwise each reset would buy more guesses at the second factor (MF-03).
func (k *Kit) pardon(ctx context.Context, email string, actions ...string) {
	if k.throttle == nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	for _, action := range actions {
		if err := k.throttle.Clear(ctx, Attempt{Action: action, Account: email, Client: ClientFrom(ctx)}); err != nil {
			_ = k.storeFailed(ctx, err)
		}
	}
}

// lanes let in four attempts at a time that name the same account and come from the same
// address; the others wait until it is known how those ended. Without it, programs that log
// in at once with one account would be refused as if they guessed, since every attempt
// counts as a failure until it has ended. The zero value is ready for use.
type lanes struct {
	mu sync.Mutex
	by map[laneKey]*lane
}

type laneKey struct{ account, address string }

type lane struct {
	*gate.Gate
	present int // callers in it or waiting, guarded by lanes.mu
}

func (l *lanes) enter(ctx context.Context, a Attempt) (leave func(), err error) {
	const abreast, waiting = 4, 256
	if a.Account == "" {
		return func() {}, nil
	}
	key := laneKey{a.Account, a.Client.Address}
	l.mu.Lock()
	in := l.by[key]
	if in == nil {
		if l.by == nil {
			l.by = make(map[laneKey]*lane)
		}
		in = &lane{Gate: gate.New(abreast, waiting)}
		l.by[key] = in
	}
	in.present++
	l.mu.Unlock()
	gone := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if in.present--; in.present == 0 {
			delete(l.by, key)
		}
	}
	out, err := in.Enter(ctx)
	if err != nil {
		gone()
		if errors.Is(err, gate.ErrFull) {
			err = errOverloaded
		}
		return nil, err
	}
	return func() { out(); gone() }, nil
}
