package authkit

import (
	"errors"
	"net/http"
)

var passwordParams = []string{"current_password", "new_password"}

// ChangePasswordHandler returns a handler with which users change their password; see
// [Kit.ChangePassword]. It takes POST requests with a form of current_password and
// new_password. Mount it behind a guard:
//
//	mux.Handle("POST /users/me/password", authkit.Authenticated(), kit.ChangePasswordHandler())
//
// The answer is:
//   - 204 if the password was changed. The session of the request goes on, and the user's
//     other sessions have ended. A session cookie is replaced; see [Kit.RenewSessionCookie].
//   - 401 if the current password is wrong, with the text of a failed login.
//   - 403 for a machine credential.
//   - 409 if the account was changed at the same time.
//   - 422 with the invalid fields.
//   - 429 after too many failures; see [Config].Throttle.
//   - 503 if a store failed. The password may have been changed.
func (k *Kit) ChangePasswordHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := k.principal(r.Context())
		if !ok {
			ProblemFor(ErrNoCredentials).ServeHTTP(w, r)
			return
		}
		form, problem := readForm(w, r, passwordParams)
		if problem == nil {
			problem = require(form, passwordParams...)
		}
		if problem != nil {
			problem.Code, problem.Description = "", "" // those of OAuth
			problem.ServeHTTP(w, r)
			return
		}
		err := k.ChangePassword(r.Context(), p.UserID, form.Get("current_password"), form.Get("new_password"))
		if err == nil && p.Credential == cookieKind && k.sessions != nil && k.sessions.cookies != nil {
			// Another holder of the old cookie must not stay logged in. If the
			// cookie was already replaced, there is nothing to do.
			err = ignore(k.RenewSessionCookie(w, r), ErrInvalidRefreshToken)
		}
		if v, ok := errors.AsType[*ValidationError](err); ok {
			err = v.under("password", "new_password")
		}
		if err != nil {
			ProblemFor(err).ServeHTTP(w, r)
			return
		}
		noContent(w)
	})
}

// under returns the error with another name for one of the fields.
func (e *ValidationError) under(field, name string) *ValidationError {
	renamed := &ValidationError{Fields: make([]FieldError, len(e.Fields))}
	for i, f := range e.Fields {
		if f.Field == field {
			f.Field = name
		}
		renamed.Fields[i] = f
	}
	return renamed
}
