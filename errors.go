package authkit

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrInvalidCredentials is returned by logins and by [Kit.VerifyPassword]
	// for every refusal: unknown user, wrong password, no password, locked
	// account. It does not reveal the reason, and all take the same time.
	ErrInvalidCredentials = errors.New("authkit: incorrect username or password")

	// ErrUserDisabled is returned by logins if the user is authenticated but the account
	// is disabled, and by [Kit.Identify] for a credential of such an account.
	ErrUserDisabled = errors.New("authkit: account disabled")

	// ErrEmailUnverified is returned by logins if the user is authenticated, the e-mail
	// address of the account was never verified, and [Config].RequireVerifiedEmail is set.
	ErrEmailUnverified = errors.New("authkit: e-mail address not verified")

	// ErrOverloaded is returned if a password must be hashed and too many
	// others already wait; see [PasswordConfig].MaxConcurrentHashes.
	ErrOverloaded = errors.New("authkit: too many password hashes at once")

	// ErrUnavailable is returned if a store, a throttle or an authenticator fails. It wraps
	// the error of that part.
	ErrUnavailable = errors.New("authkit: store unavailable")

	// ErrNoCredentials is returned by [Kit.Identify] for a request without a credential,
	// and by [Policy.Check] for the zero Principal.
	ErrNoCredentials = errors.New("authkit: not authenticated")

	// ErrForbidden is returned by [Policy.Check] for a principal that lacks a role or a
	// permission, and by methods of a [Kit] for a principal that may not make the change.
	ErrForbidden = errors.New("authkit: not enough permissions")

	// ErrInvalidToken is returned by [TokenVerifier.Verify] and by guards for
	// every token that is refused. It does not reveal the reason, which is in
	// the [Event] of a guard.
	ErrInvalidToken = errors.New("authkit: invalid token")

	// ErrTokenExpired is returned for a token that has expired. It wraps
	// ErrInvalidToken.
	ErrTokenExpired error = &authError{ErrInvalidToken, ReasonExpired, nil}

	// ErrInvalidRefreshToken is returned by [Kit.Refresh] for every refresh
	// token that is refused. It does not reveal the reason, which is in the
	// [Event].
	ErrInvalidRefreshToken = errors.New("authkit: invalid refresh token")

	// ErrInvalidTicket is returned by [AttemptTicket] and [RedeemTicket] for every token
	// that is refused: unknown, used, expired, or wrong too often.
	ErrInvalidTicket = errors.New("authkit: invalid or expired ticket")

	// ErrInvalidCode is returned by a [SecondFactor] for a response that is wrong, expired
	// or used before.
	ErrInvalidCode = errors.New("authkit: invalid code")

	// ErrFactorDisabled is returned by a [SecondFactor] for the wrong response
	// that exceeds its limit: from then on it refuses every response with
	// ErrInvalidCode. ErrFactorDisabled wraps ErrInvalidCode.
	ErrFactorDisabled error = &authError{ErrInvalidCode, ReasonFactorDisabled, nil}

	// ErrFactorEnrolled is returned by [Kit.EnrollFactor] if the user has the factor and
	// cannot have another.
	ErrFactorEnrolled = errors.New("authkit: factor is set up already")

	// ErrNotFound is returned for an object that does not exist, or that the principal must
	// not learn of. Guards respond with 404; see [Policy.And].
	ErrNotFound = errors.New("authkit: not found")

	// ErrLastOwner is returned by [Kit.DeleteUser] if the user is the last owner of an
	// organization with other members, and by package org.
	ErrLastOwner = errors.New("authkit: the last owner stays")

	// ErrLastFactor is returned if a user removes the last second factor and must have one
	// by [Config].RequireFactors.
	ErrLastFactor = errors.New("authkit: last second factor")

	// ErrNoFactor is returned for the method of a second factor that users cannot set up.
	ErrNoFactor = errors.New("authkit: no such factor")

	// ErrPasswordRefused is returned by [PasswordConfig].Check for a password that must not
	// be used.
	ErrPasswordRefused = errors.New("authkit: password refused")
)

// An authError is an error of a public kind with a private reason, and a cause if
// a part failed. Reason and cause are only for the event. They are not in the
// text, because texts end up in responses.
type authError struct {
	kind   error
	reason Reason
	cause  error
}

func (r *authError) Error() string { return r.kind.Error() }
func (r *authError) Unwrap() error { return r.kind }

// isWrongProof reports whether an error means that a user gave a wrong proof.
func isWrongProof(err error) bool {
	return errors.Is(err, ErrInvalidCredentials) || errors.Is(err, ErrInvalidTicket) || errors.Is(err, ErrInvalidCode)
}

func isThrottled(err error) bool {
	_, ok := errors.AsType[*ThrottledError](err)
	return ok
}

// The refusals. Callers see only the kind.
var (
	errUnknownUser   = &authError{ErrInvalidCredentials, ReasonUnknownUser, nil}
	errWrongPassword = &authError{ErrInvalidCredentials, ReasonWrongPassword, nil}
	errNoPassword    = &authError{ErrInvalidCredentials, ReasonNoPassword, nil}
	errUserLocked    = &authError{ErrInvalidCredentials, ReasonLocked, nil}
	errUnverified    = &authError{ErrEmailUnverified, ReasonUnverified, nil}
	errOverloaded    = &authError{ErrOverloaded, ReasonOverloaded, nil}

	errWrongProof = &authError{ErrInvalidCredentials, ReasonWrongProof, nil}

	// errAuthTime is the cause of a refused Proof. No token can carry such a time.
	errAuthTime = errors.New("authkit: LoginWith: a Proof with an AuthTime that is not after 1970")

	// errAccountChanged refuses a login whose account has changed since it was proved.
	errAccountChanged = &authError{ErrInvalidCredentials, ReasonRevokedBefore, nil}

	// errOtherName refuses a login whose attempt names another account than its proof: its
	// failures would count against that one.
	errOtherName = &authError{ErrInvalidCredentials, ReasonOtherAccount, nil}

	errUserGone           = &authError{ErrInvalidToken, ReasonUnknownUser, nil}
	errOtherAccount       = &authError{ErrInvalidToken, ReasonOtherAccount, nil}
	errTokenRevoked       = &authError{ErrInvalidToken, ReasonRevoked, nil}
	errTokenRevokedBefore = &authError{ErrInvalidToken, ReasonRevokedBefore, nil}
	errUserDisabled       = &authError{ErrUserDisabled, ReasonDisabled, nil}

	// errCrossOrigin refuses a request of another origin.
	errCrossOrigin = &authError{ErrForbidden, ReasonCrossOrigin, nil}

	// errTokenFactor refuses a session without a second factor that is required by now.
	errTokenFactor = &authError{ErrInvalidToken, ReasonMissingFactor, nil}

	errTokenMalformed = &authError{ErrInvalidToken, ReasonMalformed, nil}
	errTokenTooLarge  = &authError{ErrInvalidToken, ReasonTooLarge, nil}
	errTokenSignature = &authError{ErrInvalidToken, ReasonBadSignature, nil}
	errTokenNotYet    = &authError{ErrInvalidToken, ReasonNotYetValid, nil}
	errTokenClaims    = &authError{ErrInvalidToken, ReasonBadClaims, nil}

	// errUnknownKey is an errTokenSignature that other keys might mend.
	errUnknownKey = &authError{ErrInvalidToken, ReasonBadSignature, nil}
)

// A callbackError is the error of a function of your program. The response does not
// depend on the errors that it wraps: a hook that found no user of its own must
// not look like an unknown account.
type callbackError struct {
	hook string
	err  error
}

func (e *callbackError) Error() string { return "authkit: " + e.hook + ": " + e.err.Error() }
func (e *callbackError) Unwrap() error { return e.err }

// storeError wraps an error of a store. If the client has left, it returns the
// error of ctx instead.
func storeError(ctx context.Context, err error) error {
	if clientGone(ctx) {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// clientGone reports whether the client no longer waits for the response.
func clientGone(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// A FieldError describes a problem with one field of an input. Message is a
// fixed text that may be shown to the sender of the input.
type FieldError struct {
	Field   string `json:"field"`   // as the input names it, such as "full_name"
	Message string `json:"message"` // such as "must have at least 8 characters"
}

// A ValidationError is returned for well-formed input with invalid fields. It
// has all of them, so that a form can show each next to its field.
type ValidationError struct {
	Fields []FieldError
}

// Error lists the fields and their problems.
func (e *ValidationError) Error() string {
	var b strings.Builder
	b.WriteString("authkit: invalid input")
	for i, f := range e.Fields {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		b.WriteString(f.Field + ": " + f.Message)
	}
	return b.String()
}

// An ImportError is returned by [Kit.ImportUsers] for an account that it cannot
// import.
type ImportError struct {
	Row int   // the index of the account
	Err error // the cause
}

// Error names the row and the cause.
func (e *ImportError) Error() string { return fmt.Sprintf("authkit: account %d: %v", e.Row, e.Err) }

// Unwrap returns the cause.
func (e *ImportError) Unwrap() error { return e.Err }
