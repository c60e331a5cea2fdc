package totp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	maxBody = 4 << 10
	fresh   = 5 * time.Minute // MF-07
)

// A Status describes the second factors of a user, for a settings page.
type Status struct {
	authkit.FactorStatus
	RecoveryCodesLeft int `json:"recovery_codes_left"`
}

// Mount adds the routes of a settings page for second factors to a Mux, below a
// path such as "/users/me/factors":
//
//	GET    {path}              200, the [Status]
//	POST   {path}/otp          200, the [Enrollment]
//	POST   {path}/otp/confirm  200, the [Codes], or 204 if there are no new ones
//	DELETE {path}/otp          204
//	POST   {path}/recovery     200, the new [Codes]
//
// The body of a confirmation is a JSON object with the member "code". The user is
// the principal of the request. All routes but the first require a login of the
// last five minutes, with the factor if the user has one. Errors are those of
// [authkit.ProblemFor]. Mount panics as [authkit.Mux.Handle] does.
func (c *RecoveryCodes) Mount(mux *authkit.Mux, kit *authkit.Kit, path string) {
	path = strings.TrimSuffix(path, "/")
	user := authkit.Authenticated()
	change := user.Fresh(fresh)
	mux.Handle("GET "+path, user, answer(func(r *http.Request, userID string) (any, error) {
		return c.status(r, kit, userID)
	}))
	mux.Handle("POST "+path+"/otp", change, answer(func(r *http.Request, userID string) (any, error) {
		return kit.EnrollFactor(r.Context(), userID, Method)
	}))
	mux.Handle("POST "+path+"/otp/confirm", change, answer(func(r *http.Request, userID string) (any, error) {
		code, err := readCode(r)
		if err != nil {
			return nil, err
		}
		return kit.ConfirmFactor(r.Context(), userID, Method, code)
	}))
	mux.Handle("DELETE "+path+"/otp", change, answer(func(r *http.Request, userID string) (any, error) {
		return nil, kit.RemoveFactor(r.Context(), userID, Method)
	}))
	mux.Handle("POST "+path+"/recovery", change, answer(func(r *http.Request, userID string) (any, error) {
		return c.Renew(r.Context(), kit, userID)
	}))
}

// status returns the Status of a user for that user.
func (c *RecoveryCodes) status(r *http.Request, kit *authkit.Kit, userID string) (any, error) {
	if err := kit.RequireSelf(r.Context(), userID); err != nil {
		return nil, err
	}
	factors, err := kit.Factors(r.Context(), userID)
	if err != nil {
		return nil, err
	}
	left, err := c.Left(r.Context(), userID)
	return Status{factors, left}, failed(err)
}

// A problemError is an error with its response.
type problemError struct{ problem authkit.Problem }

func (e *problemError) Error() string { return "totp: " + e.problem.Detail }

func problem(status int, detail string) error {
	return &problemError{authkit.NewProblem(status, detail)}
}

// answer returns a handler that responds with the result of do as JSON, or with
// 204 if there is none.
func answer(do func(r *http.Request, userID string) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		p, _ := authkit.PrincipalFrom(r.Context())
		result, err := do(r, p.UserID)
		if own, ok := errors.AsType[*problemError](err); ok {
			own.problem.ServeHTTP(w, r)
			return
		}
		if err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if result == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		body, err := json.Marshal(result)
		if err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n')) // an error means that the client is gone
	})
}

// readCode returns the member "code" of a JSON object.
func readCode(r *http.Request) (string, error) {
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
		return "", problem(http.StatusUnsupportedMediaType, "Send a JSON object")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return "", err
		}
		return "", problem(http.StatusBadRequest, "The body could not be read")
	}
	var input struct {
		Code *string `json:"code"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&input); err != nil || decoder.More() || input.Code == nil {
		return "", problem(http.StatusBadRequest, `The body is not a JSON object with the member "code"`)
	}
	return *input.Code, nil
}
