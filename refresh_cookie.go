package authkit

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// refreshCookie is the name of the cookie. Browsers enforce its prefix: this
// host set it, over HTTPS, and only this host receives it.
const refreshCookie = "__Host-refresh"

// RefreshCookieHandler returns a handler for browsers that keeps the refresh
// token in a cookie that no script can read. The access token is in the
// response, for the page to keep in memory. By method:
//
//	POST    logs in with a form of username and password, or answers a second factor
//	        with a form of grant_type=mfa or mfa_enroll, as [Kit.TokenHandler] does
//	PUT     refreshes with the cookie, when the page loads and before the token expires
//	DELETE  ends the session, and removes the cookie: 204
//
// The cookie is Secure, HttpOnly, SameSite=Strict and bound to the host.
// Requests from other origins are refused with 403 (see
// http.CrossOriginProtection), except from trustedOrigins, such as
// "https://app.example.com" for a handler at api.example.com. The cookie is
// sent only within a site. A page of another origin can read the responses only
// if your program adds CORS with credentials for that origin around the
// handler.
//
// It panics if a trusted origin is not an origin, and if sessions are off.
//
//	mux.Handle("/session", authkit.Public(), kit.RefreshCookieHandler())
//
// A refresh that fails does not change the cookie, so that a tab that loses a
// race does not log out the others. Only this handler reads the cookie. Guards
// ignore it.
func (k *Kit) RefreshCookieHandler(trustedOrigins ...string) http.Handler {
	protection := http.NewCrossOriginProtection()
	for _, origin := range trustedOrigins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			panic(fmt.Sprintf("authkit: RefreshCookieHandler: %v", err))
		}
	}
	k.needSessions("RefreshCookieHandler")
	protection.SetDenyHandler(NewProblem(http.StatusForbidden, "The request comes from another origin"))
	return protection.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			k.cookieLogin(w, r)
		case http.MethodPut:
			k.cookieRefresh(w, r)
		case http.MethodDelete:
			k.cookieLogout(w, r)
		default:
			methodNotAllowed(w, "DELETE, POST, PUT").ServeHTTP(w, r)
		}
	}))
}

func (k *Kit) cookieLogin(w http.ResponseWriter, r *http.Request) {
	form, problem := readForm(w, r, tokenParams)
	var token Token
	switch {
	case problem != nil:
	case form.Get("grant_type") == grantEnroll:
		k.serveEnrollment(w, r, form)
		return
	case form.Get("grant_type") == grantMFA:
		token, problem = k.grantAnswer(withClientOf(r), form)
	default:
		form.Set("username", strings.TrimSpace(form.Get("username"))) // phones add a space
		token, problem = k.grantPassword(withClientOf(r), form)
	}
	if problem != nil {
		problem.ServeHTTP(w, r)
		return
	}
	k.answerWithCookie(w, token)
}

func (k *Kit) cookieRefresh(w http.ResponseWriter, r *http.Request) {
	cookies := r.CookiesNamed(refreshCookie)
	if len(cookies) != 1 {
		ProblemFor(ErrNoCredentials).ServeHTTP(w, r)
		return
	}
	token, err := k.Refresh(withClientOf(r), cookies[0].Value)
	if err != nil {
		grantProblem(err, true).ServeHTTP(w, r)
		return
	}
	k.answerWithCookie(w, token)
}

// answerWithCookie moves the refresh token from the response to the cookie.
func (k *Kit) answerWithCookie(w http.ResponseWriter, token Token) {
	setRefreshCookie(w, token.RefreshToken, k.sessions.idle)
	token.RefreshToken = ""
	writeToken(w, token)
}

func (k *Kit) cookieLogout(w http.ResponseWriter, r *http.Request) {
	cookies := r.CookiesNamed(refreshCookie)
	for _, cookie := range cookies[:min(len(cookies), maxCookies)] {
		userID, sessionID, err := k.sessionOf(r, cookie.Value)
		if err == nil && sessionID != "" {
			err = k.Logout(withClientOf(r), userID, sessionID)
		}
		if err != nil && err != errNotOfASession && !errors.Is(err, ErrSessionNotFound) {
			ProblemFor(err).ServeHTTP(w, r)
			return
		}
	}
	setRefreshCookie(w, "", -time.Second)
	noContent(w)
}

// setRefreshCookie sets the cookie, or removes it if its life is negative.
func setRefreshCookie(w http.ResponseWriter, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: refreshCookie, Value: value, Path: "/", MaxAge: int(life / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}
