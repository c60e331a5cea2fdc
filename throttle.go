package authkit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/authkit-go/authkit/internal/gate"
)

// The actions of attempts. Programs may have others.
const (
	ActionLogin    = "login"    // a password is checked
	ActionRefresh  = "refresh"  // a refresh token is exchanged
	ActionRegister = "register" // a stranger creates an account
	ActionReset    = "reset"    // a user requests a password reset
	ActionCode     = "code"     // a code of a second factor is checked
	ActionHash     = "hash"     // a password is hashed for a stranger
	ActionAPIKey   = "api_key"  // a request with an API key, whose ID is the account

	ActionChallenge = "challenge" // a stranger begins a login that stores a challenge, such as that of a passkey
)

// An Attempt is an action that a [Throttle] admits or refuses.
type Attempt struct {
	Action string // such as ActionLogin

	// Account is the e-mail of the attempt, in the form of [NormalizeEmail],
	// whether or not the account exists. It is empty if the attempt has no
	// valid e-mail.
	Account string

	// Client is the client of the attempt, if known; see [WithClient].
	Client ClientInfo

	// Guess is the password that the attempt checks. It is the zero Guess for other
	// attempts.
	Guess Guess
}

// A Guess is a password that was typed. It reveals nothing but MACs of the password, so that
// a [Throttle] can recognize the same wrong password without seeing it.
type Guess struct{ password string }

// NewGuess returns the Guess of a password.
func NewGuess(password string) Guess { return Guess{password} }

// IsZero reports whether there is no password.
func (g Guess) IsZero() bool { return g.password == "" }

// MAC returns the HMAC-SHA-256 of the password under a key. The key must be secret: with it,
// an attacker who has a MAC can test passwords fast.
func (g Guess) MAC(key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(g.password))
	return mac.Sum(nil)
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so that logging an
// attempt does not reveal the password.
func (Guess) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("authkit.Guess{[redacted]}")) }

// An AttemptOutcome is how an admitted attempt ended.
type AttemptOutcome int

const (
	// AttemptUndecided means that nothing was compared: a store failed, too many logins
	// were waiting, or the client left before its turn.
	AttemptUndecided AttemptOutcome = iota

	AttemptFailed    // the password, code or token is wrong, or another factor is missing
	AttemptSucceeded // the client has proved who it is
)

// A Throttle limits attempts. A Kit calls it before it looks up or hashes
// anything, so its decision cannot depend on whether an account exists. Package
// throttle implements it.
//
// It must be safe for concurrent use. A [ThrottledError] refuses the attempt. Any other error
// means that the throttle failed; the Kit then refuses the attempt as if a store had failed.
// An implementation that prefers to admit attempts in that case returns nil.
type Throttle interface {
	// Begin admits or refuses an attempt, and counts an admitted one as a failure, in one
	// step: concurrent attempts are never admitted beyond the limit. An attempt that is
	// refused does not count. Begin may wait for the outcome of other attempts.
	Begin(ctx context.Context, a Attempt) error

	// End reports the outcome of an admitted attempt. A failure stays counted, except that
	// an implementation may count the same wrong Guess only once. An undecided attempt no
	// longer counts against the account. An attempt without an End, such as that of a
	// program that was killed, stays counted.
	//
	// Here a.Guess is set only if the attempt failed because that password is
	// wrong. It is zero if the attempt failed for another reason, such as a
	// disabled account.
	End(ctx context.Context, a Attempt, outcome AttemptOutcome) error

	// Clear removes the failures of a.Account, because its owner has proved
	// ownership in another way.
	Clear(ctx context.Context, a Attempt) error
}

// A ThrottledError is returned for an attempt that a [Throttle] refuses. It
// reveals neither whether the account exists nor whether the password was
// right, because nothing was looked up.
type ThrottledError struct {
	RetryAfter time.Duration // when to try again
	Account    bool          // the failures are those of the account, not of the address
}

// Error returns a fixed text, without the account.
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

// A trial is an admitted attempt while it is made.
type trial struct {
	compared bool // a hash or a code was compared, so the caller may know the result
}

// throttled makes an attempt if the throttle admits it, and reports the outcome to the
// throttle.
func (k *Kit) throttled(ctx context.Context, a Attempt, attempt func(*trial) error) error {
	if k.throttle == nil {
		return attempt(new(trial))
	}
	a.Client = ClientFrom(ctx)
	leave, err := k.attempts.enter(ctx, a)
	if err != nil {
		return err
	}
	defer leave()
	if err := k.throttle.Begin(ctx, a); isThrottled(err) {
		return err
	} else if err != nil {
		return storeError(ctx, err)
	}
	var t trial
	err = attempt(&t)
	if !errors.Is(err, errWrongPassword) {
		a.Guess = Guess{} // it may be the right password, of which a throttle keeps nothing
	}
	k.settle(ctx, a, t.outcome(ctx, err))
	return err
}

// Admit calls f if [Config].Throttle admits the attempt. It limits requests that can be
// repeated at will, such as those for a mail. The attempt stays counted if f returns nil. If
// f fails, it counts against the address of the client only. Logins use [Kit.LoginWith] instead, which
// takes back what succeeded.
//
// The errors are a *ThrottledError, ErrOverloaded, ErrUnavailable if the throttle failed, and
// that of f.
func (k *Kit) Admit(ctx context.Context, a Attempt, f func(ctx context.Context) error) error {
	if k.throttle == nil {
		return f(ctx)
	}
	a.Client = ClientFrom(ctx)
	leave, err := k.attempts.enter(ctx, a)
	if err != nil {
		return err
	}
	defer leave()
	err = k.throttle.Begin(ctx, a)
	if refused, ok := errors.AsType[*ThrottledError](err); ok {
		k.emit(ctx, Event{Kind: refused.event(), Reason: ReasonThrottled})
		return err
	} else if err != nil {
		return k.storeFailed(ctx, err)
	}
	if err := f(ctx); err != nil {
		k.settle(ctx, a, AttemptUndecided)
		return err
	}
	k.settle(ctx, a, AttemptFailed)
	return nil
}

// outcome returns how an attempt with an error ended. A login that needs a second factor
// counts as a failure until the user has answered, so that a guessed password does not allow
// unlimited guesses at codes (MF-13). A client that hangs up after the comparison counts as a
// failure (LO-08). An attempt that ended before is undecided, also if its client has left.
func (t *trial) outcome(ctx context.Context, err error) AttemptOutcome {
	pending, challenged := errors.AsType[*ChallengeError](err)
	switch {
	case err == nil:
		return AttemptSucceeded
	case challenged && pending.Enroll: // there is no code to guess
		return AttemptUndecided
	case challenged, isWrongProof(err), errors.Is(err, ErrUserDisabled), errors.Is(err, ErrEmailUnverified),
		errors.Is(err, ErrInvalidRefreshToken), t.compared && clientGone(ctx):
		return AttemptFailed
	}
	return AttemptUndecided
}

// settle reports the outcome of an attempt. An error of the throttle does not fail the login.
func (k *Kit) settle(ctx context.Context, a Attempt, outcome AttemptOutcome) {
	ctx = context.WithoutCancel(ctx)
	if err := k.throttle.End(ctx, a, outcome); err != nil {
		_ = k.storeFailed(ctx, err)
	}
}

// succeeded reports the success of an attempt that was left open: that of a login whose
// second factor came later.
func (k *Kit) succeeded(ctx context.Context, a Attempt) {
	if k.throttle != nil {
		a.Client = ClientFrom(ctx)
		k.settle(ctx, a, AttemptSucceeded)
	}
}

// resetFailures clears the failures that the throttle has counted against an account. A new password
// pardons no codes: otherwise each reset would buy more guesses at the second factor (MF-03).
func (k *Kit) resetFailures(ctx context.Context, email string, actions ...string) {
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

// An attemptLimiter lets in four attempts at a time that name the same account and come from the same
// address; the others wait until it is known how those ended. Without it, programs that log
// in at once with one account would be refused as if they guessed, since every attempt
// counts as a failure until it has ended. The zero value is ready for use.
type attemptLimiter struct {
	mu sync.Mutex
	by map[limiterKey]*limiterEntry
}

type limiterKey struct{ account, address string }

type limiterEntry struct {
	*gate.Gate
	refs int // callers in it or waiting, guarded by attemptLimiter.mu
}

func (l *attemptLimiter) enter(ctx context.Context, a Attempt) (leave func(), err error) {
	const maxConcurrent, waiting = 4, 256
	if a.Account == "" {
		return func() {}, nil
	}
	key := limiterKey{a.Account, a.Client.Address}
	l.mu.Lock()
	in := l.by[key]
	if in == nil {
		if l.by == nil {
			l.by = make(map[limiterKey]*limiterEntry)
		}
		in = &limiterEntry{Gate: gate.New(maxConcurrent, waiting)}
		l.by[key] = in
	}
	in.refs++
	l.mu.Unlock()
	gone := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if in.refs--; in.refs == 0 {
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
