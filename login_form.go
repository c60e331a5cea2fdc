package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A LoginForm is the state of a login page, for the function that renders it.
type LoginForm struct {
	// Status is the status of the response: 200 for a new page, or that of an
	// error.
	Status int

	// Error is a text for the user. It is empty if there is no error. It is
	// fixed and reveals nothing about accounts.
	Error string

	// Username and Remember are the fields of the request. Escape Username, as
	// html/template does.
	Username string
	Remember bool

	// Return is the path of this site to redirect to after the login. Put it
	// into a hidden field "return".
	Return string

	// MFAToken is set if the user must answer a second factor, one of
	// MFAMethods. Put it into a hidden field "mfa_token", and ask for
	// "mfa_method" and "mfa_response" instead of the password. Also put
	// Remember into a hidden field "remember".
	MFAToken   string
	MFAMethods []string

	// MFAEnroll is set along with MFAToken if the user must set up one of
	// MFAMethods first. Ask for "mfa_method", with a field "mfa_enroll" that is
	// not empty. The page of the next request has the data to show in
	// MFAEnrollment, such as a secret. There ask for "mfa_response". After a
	// wrong response MFAEnrollment is nil, since the secret is shown once: ask for
	// "mfa_response" again, or start anew with "mfa_enroll".
	MFAEnroll     bool
	MFAEnrollment any

	// LoggedIn is set if the login is complete and MFAEnrollment must be shown
	// once, such as recovery codes. Link to Return.
	LoggedIn bool
}

// Format implements fmt.Formatter. It prints the form without its MFAToken and
// MFAEnrollment, for every verb.
func (l LoginForm) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%+v", l.redacted()) }

// LogValue implements slog.LogValuer. It returns the form without its MFAToken
// and MFAEnrollment.
func (l LoginForm) LogValue() slog.Value { return slog.AnyValue(l.redacted()) }

// redactedForm is a LoginForm without the methods that redact it.
type redactedForm LoginForm

func (l LoginForm) redacted() redactedForm {
	if l.MFAToken != "" {
		l.MFAToken = redacted
	}
	if l.MFAEnrollment != nil {
		l.MFAEnrollment = redacted
	}
	return redactedForm(l)
}

// loginParams are the fields of a login form that must not be in the URL. The field "return"
// may be: a form without an action is sent to the URL of its page.
var loginParams = []string{"username", "password", "remember", "mfa_token", "mfa_method", "mfa_response", "mfa_enroll"}

// FormLoginHandler returns a handler for a login page and its form. GET renders
// the page with the given function. POST logs in with the fields "username" and
// "password", sets a session cookie (see [SessionCookieConfig]), and redirects
// (303) to the path in "return", or to "/". With a field "remember" the browser
// keeps the cookie. If the login fails, it renders the page again. The path in
// "return" may also be in the query.
//
// For a user with a second factor, it renders the page with MFAToken set. The
// next POST answers the factor with "mfa_token", "mfa_method" and
// "mfa_response". For a user who must set up a factor, see [LoginForm].MFAEnroll.
//
// Requests of other origins are refused with 403, since an attacker could log a
// browser in to the attacker's account. It panics if session cookies are off,
// or if page is nil.
//
//	mux.Handle("/login", authkit.Public(), kit.FormLoginHandler(renderLogin))
func (k *Kit) FormLoginHandler(page func(w http.ResponseWriter, r *http.Request, f LoginForm)) http.Handler {
	k.needCookies("FormLoginHandler")
	if page == nil {
		panic("authkit: FormLoginHandler: a nil page")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			page(w, r, LoginForm{Status: http.StatusOK, Return: k.returnOf(r, nil)})
		case http.MethodPost:
			k.formLogin(w, r, page)
		default:
			methodNotAllowed(w, "GET, HEAD, POST").ServeHTTP(w, r)
		}
	})
}

func (k *Kit) formLogin(w http.ResponseWriter, r *http.Request, page func(http.ResponseWriter, *http.Request, LoginForm)) {
	if k.refuseCrossOrigin(w, r) {
		return
	}
	form, problem := readForm(w, r, loginParams)
	if problem != nil {
		problem.ServeHTTP(w, r)
		return
	}
	f := LoginForm{
		Username: form.Get("username"), Remember: form.Get("remember") != "", Return: k.returnOf(r, form),
	}
	if form.Get("mfa_enroll") != "" {
		k.formEnroll(w, r, form, f, page)
		return
	}
	token, err := k.formGrant(withClientOf(r), form)
	if err == nil {
		err = k.SetSessionCookie(w, r, token, f.Remember)
	}
	switch {
	case err == nil && token.Enrollment != nil:
		f.Status, f.MFAEnrollment, f.LoggedIn = http.StatusOK, token.Enrollment, true
		page(w, r, f)
	case err == nil:
		seeOther(w, f.Return)
	default:
		formFailed(w, r, err, form, f, page)
	}
}

// formEnroll starts to set up a second factor, and renders the page with its
// data.
func (k *Kit) formEnroll(w http.ResponseWriter, r *http.Request, form url.Values, f LoginForm, page func(http.ResponseWriter, *http.Request, LoginForm)) {
	token, method := form.Get("mfa_token"), form.Get("mfa_method")
	data, err := k.EnrollChallenge(withClientOf(r), token, method)
	if err != nil {
		formFailed(w, r, err, form, f, page)
		return
	}
	f.Status, f.MFAToken, f.MFAMethods, f.MFAEnroll, f.MFAEnrollment = http.StatusOK, token, []string{method}, true, data
	page(w, r, f)
}

// formFailed renders the page of a login that has failed or needs a further step.
func formFailed(w http.ResponseWriter, r *http.Request, err error, form url.Values, f LoginForm, page func(http.ResponseWriter, *http.Request, LoginForm)) {
	p := ProblemFor(err)
	f.Status, f.Error = p.Status, p.Detail
	if c, ok := errors.AsType[*ChallengeError](err); ok {
		f.Status, f.Error, f.MFAToken, f.MFAMethods, f.MFAEnroll = http.StatusOK, "", c.Token, c.Methods, c.Enroll
	}
	if err == errWrongCode || err == errWrongEnrollment { // the pending login may have attempts left
		f.Error, f.MFAToken, f.MFAMethods = "Incorrect code", form.Get("mfa_token"), []string{form.Get("mfa_method")}
		f.MFAEnroll = err == errWrongEnrollment
	}
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	page(w, r, f)
}

// formGrant logs in with a form: with the password, or with a second factor.
func (k *Kit) formGrant(ctx context.Context, form url.Values) (Token, error) {
	if token := form.Get("mfa_token"); token != "" {
		return k.AnswerChallenge(ctx, token, form.Get("mfa_method"), form.Get("mfa_response"))
	}
	return k.Login(ctx, strings.TrimSpace(form.Get("username")), form.Get("password"))
}

// returnOf returns the path to redirect to after a login: that of the form or
// of the query, but never that of the login page.
func (k *Kit) returnOf(r *http.Request, form url.Values) string {
	return returnPath(cmp.Or(form.Get("return"), r.URL.Query().Get("return")), k.sessions.cookies.loginPath, r.URL.Path)
}

// refuseCrossOrigin responds to a POST of another origin, and reports whether
// it was one.
func (k *Kit) refuseCrossOrigin(w http.ResponseWriter, r *http.Request) bool {
	if k.sessions.cookies.sameOrigin(r) == nil {
		return false
	}
	k.emit(withClientOf(r), Event{Kind: EventAccessDenied, Reason: ReasonCrossOrigin, Route: r.Pattern})
	ProblemFor(errCrossOrigin).ServeHTTP(w, r)
	return true
}

// FormLogoutHandler returns a handler that ends the session of the session cookie, removes the
// cookie, and redirects (303) to the path in the form field "return", or to "/". It takes POST
// requests, with or without a session, and refuses those of other origins with 403. If a store
// fails, it answers with 503 and leaves the cookie. It panics if session cookies are off.
//
//	mux.Handle("POST /logout", authkit.Public(), kit.FormLogoutHandler())
func (k *Kit) FormLogoutHandler() http.Handler {
	k.needCookies("FormLogoutHandler")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && k.refuseCrossOrigin(w, r) {
			return
		}
		form, problem := readForm(w, r, nil)
		if problem != nil {
			problem.ServeHTTP(w, r)
			return
		}
		if err := k.endSessionCookies(withClientOf(r), r, ""); err != nil {
			ProblemFor(err).ServeHTTP(w, r)
			return
		}
		setSessionCookie(w, "", -time.Second)
		w.Header().Set("Cache-Control", "no-store")
		seeOther(w, localPath(cmp.Or(form.Get("return"), r.URL.Query().Get("return"))))
	})
}

// seeOther redirects to a path after a POST, or to a login page.
func seeOther(w http.ResponseWriter, path string) {
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}

// returnPath is localPath with "/" for the login pages, so that a login leads away from them.
func returnPath(text string, logins ...string) string {
	local := localPath(text)
	if path, _, _ := strings.Cut(local, "?"); slices.Contains(logins, path) {
		return "/"
	}
	return local
}
