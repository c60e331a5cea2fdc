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
)

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

// The error codes of a [ChallengeError].
const (
	codeMFARequired   = "mfa_required"
	codeMFAEnrollment = "mfa_enrollment_required"
)

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

// ProblemFor returns the response for an error of a [Kit], or for an error that
// wraps one. The text contains only facts that a client may know. For every
// other error, including those of a [Hasher], the response is 500 without
// detail.
func ProblemFor(err error) Problem {
	_, hook := errors.AsType[*callbackError](err)
	switch { // whatever the store or the hook wrapped
	case errors.Is(err, ErrUnavailable):
		p := NewProblem(http.StatusServiceUnavailable, "Temporarily unavailable")
		p.RetryAfter = 5
		return p
	case errors.Is(err, ErrLastOwner): // also if it comes from a UserData
		return NewProblem(http.StatusConflict, "The last owner stays")
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
		p.Code = codeMFARequired
		if c.Enroll {
			p.Detail, p.Code = "A second factor must be set up", codeMFAEnrollment
		}
		p.Description, p.MFAToken, p.MFAMethods = p.Detail, c.Token, c.Methods
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
	case errors.Is(err, ErrLastFactor):
		status, detail = http.StatusConflict, "The last second factor stays"
	case errors.Is(err, ErrFactorEnrolled):
		status, detail = http.StatusConflict, "The factor is set up already"
	case errors.Is(err, ErrNoFactor):
		status, detail = http.StatusNotFound, "No such factor"
	case errors.Is(err, ErrNotFound):
		status, detail = http.StatusNotFound, "Not found"
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
