package main

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"strconv"

	"github.com/authkit-go/authkit"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// render writes a page. It renders the whole page first, so that an error is no
// half page.
func render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		authkit.ProblemFor(err).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w)
}

// file serves a file that is the same for everyone.
func file(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/"+name) }
}

func loginPage(w http.ResponseWriter, r *http.Request, f authkit.LoginForm) {
	render(w, r, f.Status, "login.html", f)
}

func home(w http.ResponseWriter, r *http.Request) {
	user, _ := authkit.UserFrom(r.Context())
	p, _ := authkit.PrincipalFrom(r.Context())
	render(w, r, http.StatusOK, "home.html", struct {
		Name      string
		Principal authkit.Principal
	}{user.FullName, p})
}

// A passwordForm is the state of the page that changes the password.
type passwordForm struct {
	Email   string // for password managers
	Changed bool
	Errors  []string
}

func passwordPage(w http.ResponseWriter, r *http.Request) {
	user, _ := authkit.UserFrom(r.Context())
	render(w, r, http.StatusOK, "password.html", passwordForm{Email: user.Email, Changed: r.URL.Query().Has("changed")})
}

// changePassword ends the user's other sessions, and gives this one a new cookie.
func (s *site) changePassword(w http.ResponseWriter, r *http.Request) {
	user, _ := authkit.UserFrom(r.Context())
	err := s.kit.ChangePassword(r.Context(), user.ID, r.PostFormValue("current"), r.PostFormValue("new"))
	if err == nil {
		err = s.kit.RenewSessionCookie(w, r)
	}
	if err == nil {
		http.Redirect(w, r, "/password?changed", http.StatusSeeOther)
		return
	}
	problem := authkit.ProblemFor(err)
	f := passwordForm{Email: user.Email}
	switch {
	case errors.Is(err, authkit.ErrInvalidCredentials):
		f.Errors = []string{"The current password is not correct."}
	case len(problem.Errors) > 0:
		for _, e := range problem.Errors {
			f.Errors = append(f.Errors, "The new password "+e.Message+".")
		}
	default:
		f.Errors = []string{problem.Detail + "."}
	}
	if problem.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(problem.RetryAfter))
	}
	render(w, r, problem.Status, "password.html", f)
}
