package authkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

var (
	// ErrInvalidCredentials is returned by logins, and by [Kit.VerifyPassword], for every
	// refusal: unknown user, wrong password, an account without a password, a locked
	// account. It does not say which, and all take the same time.
	ErrInvalidCredentials = errors.New("authkit: incorrect username or password")

	// ErrUserDisabled is returned by logins if the user is authenticated but the account
	// is disabled, and by [Kit.Identify] for a credential of such an account.
	ErrUserDisabled = errors.New("authkit: account disabled")

	// ErrEmailUnverified is returned by logins if the user is authenticated, the e-mail
	// address of the account was never verified, and [Config].RequireVerifiedEmail is set.
	ErrEmailUnverified = errors.New("authkit: e-mail address not verified")

	// ErrOverloaded is returned if a password is to be hashed and too many others are
	// waiting already; see [PasswordConfig].MaxConcurrentHashes.
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

// A refusal is an error of a public kind with a private reason, and a cause if something
// is broken. Both are for the event alone: they are not part of the text, since texts find
// their way into answers.
type refusal struct {
	kind   error
	reason Reason
	cause  error
}

func (r *refusal) Error() string { return r.kind.Error() }
func (r *refusal) Unwrap() error { return r.kind }

// reasonOf returns what the event of an error says: why, and what is broken.
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

// failureOf returns the event of an error: of the kind given, or of an attempt that was not
// let in.
func failureOf(ctx context.Context, kind EventKind, err error) Event {
	e := Event{Kind: kind}
	if t, ok := errors.AsType[*ThrottledError](err); ok {
		e.Kind = t.event()
	}
	e.Reason, e.Err = reasonOf(ctx, err)
	return e
}

// isWrongProof reports whether an error means that a user did not prove to be one.
func isWrongProof(err error) bool {
	return errors.Is(err, ErrInvalidCredentials) || errors.Is(err, ErrInvalidTicket) || errors.Is(err, ErrInvalidCode)
}

func isThrottled(err error) bool {
	_, ok := errors.AsType[*ThrottledError](err)
	return ok
}

// A hookError is the error of a function of the host's. What it wraps does not choose the
// answer: a hook that did not find a user of its own is not a user that does not exist.
type hookError struct {
	hook string
	err  error
}

func (e *hookError) Error() string { return "authkit: " + e.hook + ": " + e.err.Error() }
func (e *hookError) Unwrap() error { return e.err }

// unavailable wraps an error of a store, unless it is that the client has left, in
// whatever words the store says that.
func unavailable(ctx context.Context, err error) error {
	if hasLeft(ctx) {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// hasLeft reports whether whoever asked does not wait for the answer.
func hasLeft(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// A FieldError says what is wrong with one field of an input. Message is fixed
// text, fit to be shown to whoever sent the input.
type FieldError struct {
	Field   string `json:"field"`   // as the input names it, such as "full_name"
	Message string `json:"message"` // such as "must have at least 8 characters"
}

// A ValidationError is returned for well-formed input with faults in it: all of
// them, so that a form can show each beside its field.
type ValidationError struct {
	Fields []FieldError
}

// Error lists the faults.
func (e *ValidationError) Error() string {
	var b strings.Builder
	b.WriteString("authkit: invalid input")
	for i, f := range e.Fields {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		b.WriteString(f.Field + ": " + f.Message)
	}
	return b.String()
}

// An ImportError is returned by [Kit.ImportUsers] for the first account that it
// does not take.
type ImportError struct {
	Row int   // the index of the account
	Err error // why
}

// Error names the row and the cause.
func (e *ImportError) Error() string { return fmt.Sprintf("authkit: account %d: %v", e.Row, e.Err) }

// Unwrap returns the cause.
func (e *ImportError) Unwrap() error { return e.Err }

// A Problem is an error response: a problem document of RFC 9457. It is an
// http.Handler that answers every request with itself. Its texts are fixed: no
// error's text ever reaches a client.
type Problem struct {
	Type   string       `json:"type"`   // "about:blank": the status says it all
	Title  string       `json:"title"`  // the status in words
	Status int          `json:"status"` // of the response
	Detail string       `json:"detail"`
	Errors []FieldError `json:"errors,omitempty"` // where fields are at fault

	// Code is the error code of RFC 6749 section 5.2, set on the token endpoint
	// along with Description, which repeats Detail under the name it has there.
	Code        string `json:"error,omitempty"`
	Description string `json:"error_description,omitempty"`

	// MFAToken and MFAMethods are set for a [ChallengeError] on the token endpoint.
	MFAToken   string   `json:"mfa_token,omitempty"`
	MFAMethods []string `json:"mfa_methods,omitempty"`

	Challenge  string `json:"-"` // WWW-Authenticate, if not empty
	RetryAfter int    `json:"-"` // seconds, if not zero
}

// redactedProblem is a Problem without the methods that redact it.
type redactedProblem Problem

func (p Problem) redacted() redactedProblem {
	if p.MFAToken != "" {
		p.MFAToken = redacted
	}
	return redactedProblem(p)
}

// Format implements fmt.Formatter. It prints the problem without its MFAToken, for every
// verb. Its JSON form, which is for the response, has the token.
func (p Problem) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%+v", p.redacted()) }

// LogValue implements slog.LogValuer. It returns the problem without its MFAToken.
func (p Problem) LogValue() slog.Value { return slog.AnyValue(p.redacted()) }

// NewProblem returns the Problem of a status, with a detail for whoever reads it.
func NewProblem(status int, detail string) Problem {
	return Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// The challenges of RFC 6750 section 3.
const (
	challengeNone         = `Bearer`
	challengeInvalidToken = `Bearer error="invalid_token"`
	challengeScope        = `Bearer error="insufficient_scope"`
)

// ProblemFor returns the response for an error of a [Kit], or one that wraps it: its
// status, and a text that says no more than a client may know. Any other error, those of
// a [Hasher] among them, becomes a 500 without detail.
func ProblemFor(err error) Problem {
	_, hook := errors.AsType[*hookError](err)
	switch { // whatever the store or the hook wrapped
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
	case errors.Is(err, ErrUnstorable):
		status, detail = http.StatusUnprocessableEntity, "The input holds a character that cannot be stored"
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

// ServeHTTP answers with the problem.
func (p Problem) ServeHTTP(w http.ResponseWriter, _ *http.Request) { p.render().write(w) }

// A rendered is a Problem ready to be sent. Guards refuse with ones made beforehand,
// so that a flood of bad requests costs as little as may be.
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
	values := slices.Clone(r.values) // the response's own, whoever edits its header
	for i, name := range r.names {
		if i > 0 && r.names[i-1] == name { // further challenges
			h[name] = append(h[name], values[i])
			continue
		}
		h[name] = values[i : i+1 : i+1]
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // a client that is gone cannot be told
}
