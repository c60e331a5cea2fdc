package authkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
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

	// ErrPasswordRefused is returned by [PasswordConfig].Check for a password that must not
	// be used.
	ErrPasswordRefused = errors.New("authkit: password refused")
)

// A refusal is an error of a public kind with a private reason, and a cause if
// a part failed. Reason and cause are only for the event. They are not in the
// text, because texts end up in responses.
type refusal struct {
	kind   error
	reason Reason
	cause  error
}

func (r *refusal) Error() string { return r.kind.Error() }
func (r *refusal) Unwrap() error { return r.kind }

// reasonOf returns the reason of an error for its event, and the cause if a
// part failed.
func reasonOf(ctx context.Context, err error) (Reason, error) {
	r, ok := errors.AsType[*refusal](err)
	switch {
	case ok:
		return r.reason, r.cause
	case isThrottled(err):
		return ReasonThrottled, nil
	case errors.Is(err, ErrUnavailable):
		return ReasonStore, err
	case errors.Is(err, ErrUserNotFound):
		return ReasonUnknownUser, err
	case isWrongProof(err):
		return ReasonWrongProof, nil
	case hasLeft(ctx):
		return ReasonCanceled, err
	case errors.Is(err, context.DeadlineExceeded):
		return ReasonTimeout, err
	}
	return ReasonInternal, err
}

// failureOf returns the event of an error: of the given kind, or of a throttled
// attempt.
func failureOf(ctx context.Context, kind EventKind, err error) Event {
	e := Event{Kind: kind}
	if t, ok := errors.AsType[*ThrottledError](err); ok {
		e.Kind = t.event()
	}
	e.Reason, e.Err = reasonOf(ctx, err)
	return e
}

// isWrongProof reports whether an error means that a user gave a wrong proof.
func isWrongProof(err error) bool {
	return errors.Is(err, ErrInvalidCredentials) || errors.Is(err, ErrInvalidTicket) || errors.Is(err, ErrInvalidCode)
}

func isThrottled(err error) bool {
	_, ok := errors.AsType[*ThrottledError](err)
	return ok
}

// A hookError is the error of a function of your program. The response does not
// depend on the errors that it wraps: a hook that found no user of its own must
// not look like an unknown account.
type hookError struct {
	hook string
	err  error
}

func (e *hookError) Error() string { return "authkit: " + e.hook + ": " + e.err.Error() }
func (e *hookError) Unwrap() error { return e.err }

// unavailable wraps an error of a store. If the client has left, it returns the
// error of ctx instead.
func unavailable(ctx context.Context, err error) error {
	if hasLeft(ctx) {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// hasLeft reports whether the client no longer waits for the response.
func hasLeft(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

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

// A Problem is an error response: a problem document of RFC 9457. It is an
// http.Handler that responds to every request with itself. Its texts are fixed:
// the text of an error never reaches a client.
type Problem struct {
	Type   string       `json:"type"`   // "about:blank": the status is enough
	Title  string       `json:"title"`  // the status in words
	Status int          `json:"status"` // of the response
	Detail string       `json:"detail"`
	Errors []FieldError `json:"errors,omitempty"` // the invalid fields

	// Code is the error code of RFC 6749 section 5.2, set on the token
	// endpoint. So is Description, which repeats Detail under its OAuth name.
	Code        string `json:"error,omitempty"`
	Description string `json:"error_description,omitempty"`

	// MFAToken and MFAMethods are set for a [ChallengeError] on the token endpoint.
	MFAToken   string   `json:"mfa_token,omitempty"`
	MFAMethods []string `json:"mfa_methods,omitempty"`

	Challenge  string `json:"-"` // WWW-Authenticate, if not empty
	RetryAfter int    `json:"-"` // seconds, if not zero
}

// NewProblem returns the Problem of a status, with a detail for people.
func NewProblem(status int, detail string) Problem {
	return Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// The challenges of RFC 6750 section 3.
const (
	challengeNone         = `Bearer`
	challengeInvalidToken = `Bearer error="invalid_token"`
	challengeScope        = `Bearer error="insufficient_scope"`
)

// ProblemFor returns the response for an error of a [Kit], or for one that
// wraps it. Its text reveals only facts that clients may know. For any other
// error, such as one of a [Hasher], it is a 500 without details.
func ProblemFor(err error) Problem {
	_, hook := errors.AsType[*hookError](err)
	switch { // even if the store or the hook wrapped others
	case errors.Is(err, ErrUnavailable):
		p := NewProblem(http.StatusServiceUnavailable, "Temporarily unavailable")
		p.RetryAfter = 5
		return p
	case hook:
		return NewProblem(http.StatusInternalServerError, "Internal error")
	}
	if v, ok := errors.AsType[*ValidationError](err); ok {
		p := NewProblem(http.StatusUnprocessableEntity, "The input is not valid")
		p.Errors = v.Fields
		return p
	}
	status, detail, challenge, retry := http.StatusInternalServerError, "Internal error", "", 0
	if c, ok := errors.AsType[*ChallengeError](err); ok {
		p := NewProblem(http.StatusBadRequest, "A second factor is required")
		p.Code, p.Description, p.MFAToken, p.MFAMethods = codeMFARequired, p.Detail, c.Token, c.Methods
		return p
	}
	if s, ok := errors.AsType[*StepUpError](err); ok {
		p := NewProblem(http.StatusUnauthorized, "A more recent or stronger login is required")
		p.Challenge = s.challenge()
		return p
	}
	throttled, _ := errors.AsType[*ThrottledError](err)
	switch {
	case throttled != nil:
		status, detail, retry = http.StatusTooManyRequests, "Too many attempts; try again later", throttled.retryAfter()
	case errors.Is(err, ErrNoCredentials):
		status, detail, challenge = http.StatusUnauthorized, "Not authenticated", challengeNone
	case errors.Is(err, ErrInvalidToken):
		status, detail, challenge = http.StatusUnauthorized, "Could not validate credentials", challengeInvalidToken
	case errors.Is(err, ErrInvalidCredentials):
		status, detail, challenge = http.StatusUnauthorized, "Incorrect username or password", challengeNone
	case errors.Is(err, ErrUserDisabled):
		status, detail = http.StatusBadRequest, "Inactive user"
	case errors.Is(err, ErrEmailUnverified):
		status, detail = http.StatusBadRequest, "The e-mail address is not verified"
	case errors.Is(err, ErrInvalidCode):
		status, detail = http.StatusBadRequest, "The code is not valid"
	case errors.Is(err, ErrInvalidTicket):
		status, detail = http.StatusBadRequest, "The link or code is not valid any more"
	case errors.Is(err, ErrInvalidRefreshToken):
		status, detail = http.StatusBadRequest, "The refresh token is not valid"
	case errors.Is(err, ErrSessionNotFound):
		status, detail = http.StatusNotFound, "Session not found"
	case errors.Is(err, errCrossOrigin):
		status, detail = http.StatusForbidden, "The request comes from another origin"
	case errors.Is(err, ErrForbidden):
		status, detail, challenge = http.StatusForbidden, "Not enough permissions", challengeScope
	case errors.Is(err, ErrEmailTaken):
		status, detail = http.StatusConflict, "The e-mail address is taken"
	case errors.Is(err, ErrConflict):
		status, detail = http.StatusConflict, "The account was changed meanwhile"
	case errors.Is(err, ErrLastAdmin):
		status, detail = http.StatusConflict, "The last administrator stays"
	case errors.Is(err, ErrUserNotFound):
		status, detail = http.StatusNotFound, "User not found"
	case errors.Is(err, ErrOverloaded):
		status, detail, retry = http.StatusServiceUnavailable, "Too busy at the moment", 2
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		status, detail, retry = http.StatusServiceUnavailable, "Temporarily unavailable", 5
	case errors.Is(err, ErrPasswordTooLong):
		status, detail = http.StatusUnprocessableEntity, "The password has too many bytes"
	case errors.Is(err, ErrPasswordInvalid):
		status, detail = http.StatusUnprocessableEntity, "The password holds a NUL byte or is not UTF-8"
	case errors.Is(err, ErrPasswordRefused):
		status, detail = http.StatusUnprocessableEntity, "The password is too easy to guess"
	case errors.Is(err, ErrInvalidEmail):
		status, detail = http.StatusUnprocessableEntity, "Not a valid e-mail address"
	default:
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status, detail = http.StatusRequestEntityTooLarge, "The body has over "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes"
		}
	}
	p := NewProblem(status, detail)
	p.Challenge, p.RetryAfter = challenge, retry
	return p
}

// ServeHTTP responds with the problem.
func (p Problem) ServeHTTP(w http.ResponseWriter, _ *http.Request) { p.render().write(w) }

// A rendered is a Problem ready to be sent. Guards prepare their refusals, so
// that a flood of bad requests costs little.
type rendered struct {
	status        int
	names, values []string // of the header, names in canonical form
	body          []byte
}

func (p Problem) render() *rendered {
	body, _ := json.Marshal(p) // strings and an int always encode
	r := &rendered{
		status: p.Status,
		names:  []string{"Content-Type", "X-Content-Type-Options", "Cache-Control"},
		values: []string{"application/problem+json", "nosniff", "no-store"},
		body:   append(body, '\n'),
	}
	if p.Challenge != "" {
		r.names, r.values = append(r.names, "Www-Authenticate"), append(r.values, p.Challenge)
	}
	if p.RetryAfter > 0 {
		r.names, r.values = append(r.names, "Retry-After"), append(r.values, strconv.Itoa(p.RetryAfter))
	}
	return r
}

func (r *rendered) write(w http.ResponseWriter) {
	h := w.Header()
	values := slices.Clone(r.values) // a copy, because handlers may edit the header
	for i, name := range r.names {
		if i > 0 && r.names[i-1] == name { // further challenges
			h[name] = append(h[name], values[i])
			continue
		}
		h[name] = values[i : i+1 : i+1]
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // an error means that the client is gone
}
