package authkit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// TR-02: every error of the library has a fixed answer, and no other error's text is
// ever part of one.
func TestProblemFor(t *testing.T) {
	t.Parallel()
	const secret = "pq: password authentication failed for hunter2"
	for err, status := range map[error]int{
		authkit.ErrInvalidCredentials: 401, authkit.ErrUserDisabled: 400, authkit.ErrOverloaded: 503,
		authkit.ErrUnavailable: 503, authkit.ErrUserNotFound: 404, authkit.ErrEmailTaken: 409,
		authkit.ErrNoCredentials: 401, authkit.ErrInvalidToken: 401, authkit.ErrTokenExpired: 401,
		authkit.ErrForbidden: 403, authkit.ErrPasswordTooLong: 422, authkit.ErrPasswordInvalid: 422,
		authkit.ErrPasswordRefused: 422, authkit.ErrInvalidEmail: 422, authkit.ErrUnknownScheme: 500,
		authkit.ErrMalformedHash: 500, authkit.ErrPasswordMismatch: 500, context.Canceled: 503,
		context.DeadlineExceeded: 503, &http.MaxBytesError{Limit: 7}: 413, errors.New(secret): 500,
	} {
		for _, err := range []error{err, fmt.Errorf("%s: %w", secret, err)} {
			p := authkit.ProblemFor(err)
			require.Equal(t, status, p.Status, err)
			w := do(p, "GET", "/")
			problem(t, w, status, p.Detail)
			require.NotContains(t, w.Body.String(), "hunter2")
			require.Equal(t, status == 401 || status == 403, w.Header().Get("WWW-Authenticate") != "")
			require.Equal(t, status == 503, w.Header().Get("Retry-After") != "")
		}
	}
}

func TestValidationError(t *testing.T) {
	t.Parallel()
	err := &authkit.ValidationError{Fields: []authkit.FieldError{{Field: "a", Message: "is required"}, {Field: "b", Message: "is wrong"}}}
	require.EqualError(t, err, "authkit: invalid input: a: is required; b: is wrong")
	w := do(authkit.ProblemFor(&authkit.ImportError{Row: 3, Err: err}), "POST", "/")
	p := problem(t, w, 422, "The input is not valid")
	require.Equal(t, err.Fields, p.Errors)
	require.ErrorContains(t, &authkit.ImportError{Row: 3, Err: err}, "account 3")
}

// The members are those of RFC 9457, and no others where nothing is to be said.
func TestProblemJSON(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(authkit.NewProblem(404, "Not found"))
	require.NoError(t, err)
	require.JSONEq(t, `{"type":"about:blank","title":"Not Found","status":404,"detail":"Not found"}`, string(body))
}

// Who edits the header of one refusal does not edit the next.
func TestRefusalsShareNoHeader(t *testing.T) {
	t.Parallel()
	h := newKit(t).Authenticate(whoami)
	first := do(h, "GET", "/")
	for name := range first.Header() {
		first.Header()[name][0] = "edited"
		first.Header().Add(name, "more")
	}
	for name, values := range do(h, "GET", "/").Header() {
		require.NotContains(t, values, "edited", name)
		require.Len(t, values, 1)
	}
}

func TestLogEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		event authkit.Event
		want  string
	}{
		{authkit.Event{Kind: authkit.EventLoginSuccess, UserID: "u1"}, "level=INFO msg=authn_login_success user_id=u1\n"},
		{authkit.Event{Kind: authkit.EventUserCreated, UserID: "u1"}, "level=INFO msg=user_created user_id=u1\n"},
		{authkit.Event{Kind: authkit.EventPasswordRehash, UserID: "u1"}, "level=INFO msg=authn_password_rehash user_id=u1\n"},
		{authkit.Event{Kind: authkit.EventPasswordRehash, UserID: "u1", Err: errors.New("x y")}, "level=WARN msg=authn_password_rehash user_id=u1 error=\"x y\"\n"},
		{authkit.Event{Kind: authkit.EventLoginFailure, Reason: authkit.ReasonUnknownUser}, "level=WARN msg=authn_login_fail reason=unknown_user\n"},
		{authkit.Event{Kind: authkit.EventLoginFailure, UserID: "u1", Reason: authkit.ReasonUnreadableHash}, "level=ERROR msg=authn_login_fail user_id=u1 reason=unreadable_hash\n"},
		{authkit.Event{Kind: authkit.EventLoginFailure, Reason: authkit.ReasonStore, Err: errors.New("x")}, "level=ERROR msg=authn_login_fail reason=store error=x\n"},
		{authkit.Event{Kind: authkit.EventAccessDenied, UserID: "u1", Reason: authkit.ReasonMissingRole, Route: "GET /x"}, "level=WARN msg=authz_fail user_id=u1 reason=missing_role route=\"GET /x\"\n"},
		{authkit.Event{Kind: authkit.EventAccessDenied, ActorID: "service:a", Reason: authkit.ReasonMissingRole}, "level=WARN msg=authz_fail actor_id=service:a reason=missing_role\n"},
		{authkit.Event{Kind: authkit.EventAccessDenied, Reason: authkit.ReasonCrossOrigin, Route: "POST /x"}, "level=DEBUG msg=authz_fail reason=cross_origin route=\"POST /x\"\n"},
		{authkit.Event{Kind: authkit.EventTokenRefused, Reason: authkit.ReasonExpired}, "level=DEBUG msg=authn_token_refused reason=expired\n"},
		{authkit.Event{Kind: authkit.EventLoginFailure, Reason: authkit.ReasonOverloaded}, "level=DEBUG msg=authn_login_fail reason=overloaded\n"},
		{authkit.Event{Kind: authkit.EventStoreFailure, Err: errors.New("x")}, "level=ERROR msg=sys_store_fail error=x\n"},
		{authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: errors.New("x")}, "level=ERROR msg=sys_store_fail reason=store error=x\n"},
	} {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
			Level: slog.LevelDebug,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		}))
		authkit.LogEvents(logger)(t.Context(), c.event)
		require.Equal(t, c.want, log.String())
	}
}

// Without OnEvent the events go to the default logger of the moment.
func TestEventsGoToSlog(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	kit := newKit(t, func(c *authkit.Config) { c.Logger = nil })
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	_, err := kit.Login(t.Context(), "nobody@example.com", "hunter2 hunter2")
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	require.Contains(t, log.String(), "level=WARN msg=authn_login_fail reason=unknown_user")
	require.NotContains(t, log.String(), "hunter2")
	require.NotContains(t, log.String(), "nobody")
}

// The events in order, and the route that was denied.
func TestEventFields(t *testing.T) {
	t.Parallel()
	var events recorder
	kit := newKit(t, events.listen)
	addUser(t, kit, "user@example.com", "correct horse")
	mux := kit.NewMux()
	mux.Handle("GET /admin/{page}", authkit.Roles("admin"), whoami)
	problem(t, do(mux, "GET", "/admin/x", "Authorization", "Bearer "+login(t, kit, "user@example.com", "correct horse")), 403, "")
	require.Equal(t, []authkit.EventKind{authkit.EventUserCreated, authkit.EventLoginSuccess, authkit.EventAccessDenied}, events.kinds())
	require.Equal(t, "GET /admin/{page}", events.last().Route)
}

// A configuration that is printed shows nothing.
func TestConfigRedaction(t *testing.T) {
	t.Parallel()
	cfg := authkit.Config{Secret: []byte(testSecret)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		require.Equal(t, "authkit.Config{[redacted]}", fmt.Sprintf(verb, cfg))
		require.Equal(t, "authkit.Config{[redacted]}", fmt.Sprintf(verb, &cfg))
	}
}

// What a hook of the host's wraps does not choose the answer.
func TestHookErrors(t *testing.T) {
	t.Parallel()
	for cause, status := range map[error]int{
		authkit.ErrUserNotFound: 500, authkit.ErrForbidden: 500, authkit.ErrEmailTaken: 500, context.Canceled: 500, authkit.ErrUnavailable: 503,
	} {
		kit := newKit(t,
			func(c *authkit.Config) {
				c.ExtraClaims = func(context.Context, authkit.User) (any, error) { return nil, cause }
			},
			func(c *authkit.Config) {
				c.Passwords.Check = func(_ context.Context, password string, _ authkit.User) error {
					if password == "correct horse" {
						return nil
					}
					return cause
				}
			})
		addUser(t, kit, "user@example.com", "correct horse")
		_, err := kit.Login(t.Context(), "user@example.com", "correct horse")
		require.ErrorIs(t, err, cause)
		problem(t, do(authkit.ProblemFor(err), "GET", "/"), status, "")
		_, err = kit.CreateUser(t.Context(), authkit.User{Email: "other@example.com"}, "battery staple")
		require.ErrorIs(t, err, cause)
		problem(t, do(authkit.ProblemFor(err), "GET", "/"), status, "")
	}
}

// The token of a pending login is in the JSON of a response, and in nothing that is printed.
func TestPendingTokensAreRedacted(t *testing.T) {
	t.Parallel()
	const secret = "akm_a-secret-token"
	p := authkit.ProblemFor(&authkit.ChallengeError{Token: secret, Methods: []string{"otp"}})
	form := authkit.LoginForm{Username: "ann", MFAToken: secret, MFAMethods: []string{"otp"}}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("x", "problem", p, "pointer", &p, "form", form)
	}
	require.NotContains(t, log.String(), secret)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{p, &p, form, &form, []authkit.Problem{p}} {
			text := fmt.Sprintf(verb, value)
			require.NotContains(t, text, secret)
			require.NotContains(t, text, fmt.Sprintf("%x", secret))
			require.Contains(t, text, "otp")
		}
	}
	body, err := json.Marshal(p)
	require.NoError(t, err)
	require.Contains(t, string(body), secret)
	require.NotContains(t, fmt.Sprint(authkit.NewProblem(404, "x")), "redacted")
}

// A problem replaces the headers that a handler has set.
func TestProblemReplacesHeaders(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	for _, name := range []string{"Content-Type", "Cache-Control", "X-Content-Type-Options", "Retry-After"} {
		w.Header().Set(name, "of the handler")
	}
	p := authkit.NewProblem(503, "Later")
	p.RetryAfter = 7
	p.ServeHTTP(w, nil)
	require.Equal(t, []string{"7"}, w.Header()["Retry-After"])
	require.Equal(t, []string{"application/problem+json"}, w.Header()["Content-Type"])
}
