package authkit

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/authkit-go/authkit/internal/refresh"
)

// LogoutHandler returns a handler that ends the session of whoever asks, on POST: 204.
// It belongs behind a guard, such as [Authenticated]:
//
//	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
//
// A session that has ended already is no error. A token without a session cannot be ended
// this way: 409. It panics, when the program starts, if sessions are off.
func (k *Kit) LogoutHandler() http.Handler {
	k.needSessions("LogoutHandler")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			methodNotAllowed(w, http.MethodPost).ServeHTTP(w, r)
			return
		}
		p, ok := k.principal(r.Context())
		switch {
		case !ok:
			ProblemFor(ErrNoCredentials).ServeHTTP(w, r)
			return
		case p.SessionID == "":
			noSession(w, r)
			return
		}
		if err := k.Logout(r.Context(), p.UserID, p.SessionID); err != nil && !errors.Is(err, ErrSessionNotFound) {
			ProblemFor(err).ServeHTTP(w, r)
			return
		}
		noContent(w)
	})
}

// needSessions panics for a handler that could answer nothing but errors.
func (k *Kit) needSessions(handler string) {
	if k.sessions == nil {
		panic("authkit: " + handler + strings.TrimPrefix(errNoSessions.Error(), "authkit"))
	}
}

// noSession answers whoever has a token without a session, where that session is meant.
func noSession(w http.ResponseWriter, r *http.Request) {
	NewProblem(http.StatusConflict, "The token belongs to no session").ServeHTTP(w, r)
}

func noContent(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// SessionsHandler returns a handler with which users see and end their sessions, behind a
// guard:
//
//	mux.Handle("GET /users/me/sessions", authkit.Authenticated(), kit.SessionsHandler())
//	mux.Handle("DELETE /users/me/sessions", authkit.Authenticated(), kit.SessionsHandler())
//	mux.Handle("DELETE /users/me/sessions/{id}", authkit.Authenticated(), kit.SessionsHandler())
//
// GET answers with a JSON array of [Session], each with a member "current" that says
// whether it is the one of the request, the one used last in front. DELETE with an id ends
// that session: 204, or 404 if the user has no such session. DELETE without one ends all
// sessions but that of the request: 204, or 409 if the token belongs to none. The id is
// http.Request.PathValue("id"); behind a router that does not set it, set it before, or every
// DELETE is one without. It panics, when the program starts, if sessions are off.
func (k *Kit) SessionsHandler() http.Handler {
	k.needSessions("SessionsHandler")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := k.principal(r.Context())
		if !ok {
			ProblemFor(ErrNoCredentials).ServeHTTP(w, r)
			return
		}
		var err error
		id := r.PathValue("id")
		switch {
		case r.Method == http.MethodDelete && id != "":
			err = k.Logout(r.Context(), p.UserID, id)
		case r.Method == http.MethodDelete && endsInWildcard(r.Pattern): // which is empty, or has another name
			err = ErrSessionNotFound
		case r.Method == http.MethodDelete && p.SessionID == "":
			noSession(w, r)
			return
		case r.Method == http.MethodDelete:
			err = k.LogoutOthers(r.Context(), p.UserID, p.SessionID)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			k.writeSessions(w, r, p)
			return
		default:
			methodNotAllowed(w, "DELETE, GET, HEAD").ServeHTTP(w, r)
			return
		}
		if err != nil {
			ProblemFor(err).ServeHTTP(w, r)
			return
		}
		noContent(w)
	})
}

// endsInWildcard reports whether the last segment of a pattern of http.ServeMux is one.
func endsInWildcard(pattern string) bool {
	return strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(pattern, "{$}"), "/"), "}")
}

func (k *Kit) writeSessions(w http.ResponseWriter, r *http.Request, p Principal) {
	sessions, err := k.Sessions(r.Context(), p.UserID)
	if err != nil {
		ProblemFor(err).ServeHTTP(w, r)
		return
	}
	type listed struct {
		Session
		Current bool `json:"current"`
	}
	list := make([]listed, len(sessions))
	for i, s := range sessions {
		list[i] = listed{s, s.ID == p.SessionID}
	}
	writeJSON(w, list)
}

var revocationParams = []string{"token", "token_type_hint", "client_id", "client_secret"}

// RevocationHandler returns the revocation endpoint of RFC 7009. It takes POST requests
// with a form of token, which is a refresh token or an access token, and ends the session
// that it belongs to. Clients are public (section 2.1): the token is what authorizes, so
// the route can be Public.
//
// The answer is 200 for a token that is not known, too, and 503 if a store failed: then
// the session may go on, and the client tries again. An access token that is good and belongs to
// no session cannot be revoked: 400, unsupported_token_type. It panics, when the program
// starts, if sessions are off.
func (k *Kit) RevocationHandler() http.Handler {
	k.needSessions("RevocationHandler")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form, problem := readForm(w, r, revocationParams)
		if problem == nil {
			problem = require(form, "token")
		}
		if problem != nil {
			problem.ServeHTTP(w, r)
			return
		}
		userID, sessionID, err := k.sessionOf(r, form.Get("token"))
		if err == nil && sessionID != "" {
			err = k.Logout(withClientOf(r), userID, sessionID)
		}
		if err == errNotOfASession {
			oauthProblem(NewProblem(http.StatusBadRequest, "The token belongs to no session"), codeUnsupportedToken).ServeHTTP(w, r)
			return
		}
		if err != nil && !errors.Is(err, ErrSessionNotFound) {
			oauthProblem(ProblemFor(err), oauthCode(err)).ServeHTTP(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
	})
}

// errNotOfASession is that a good access token belongs to no session.
var errNotOfASession = errors.New("authkit: the token belongs to no session")

// sessionOf returns the session that a token of either kind belongs to; empty, if the token
// is not good.
func (k *Kit) sessionOf(r *http.Request, text string) (userID, sessionID string, err error) {
	if token, ok := refresh.Parse(text); ok {
		s, err := k.session(r.Context(), token)
		return s.UserID, s.ID, unless(err, ErrInvalidRefreshToken)
	}
	t, err := k.verifier.verify(text)
	switch {
	case err != nil:
		return "", "", nil
	case t.SessionID == "":
		return "", "", errNotOfASession
	}
	s, err := k.sessions.store.SessionByID(r.Context(), t.SessionID)
	if err != nil && !errors.Is(err, ErrSessionNotFound) {
		return "", "", unavailable(r.Context(), err)
	}
	return s.UserID, s.ID, nil
}

// unless returns an error that is not of the kind.
func unless(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

// introspection is the answer of RFC 7662 section 2.2.
type introspection struct {
	Active    bool     `json:"active"`
	TokenType string   `json:"token_type,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Username  string   `json:"username,omitempty"`
	Roles     []string `json:"roles,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	Audience  []string `json:"aud,omitempty"`
	ID        string   `json:"jti,omitempty"`
	SessionID string   `json:"sid,omitempty"`
	IssuedAt  int64    `json:"iat,omitempty"`
	ExpiresAt int64    `json:"exp,omitempty"`
}

// IntrospectionHandler returns the introspection endpoint of RFC 7662. It takes POST
// requests with a form of token, and answers whether that is an access token that a guard
// would let in at the moment, and whose; for everything else, a refresh token too, the
// answer is {"active":false} and nothing more.
//
// It tells much, so it belongs behind a role that only services have, and answers 401
// to whoever is not authenticated:
//
//	mux.Handle("POST /introspect", authkit.Roles("service"), kit.IntrospectionHandler())
func (k *Kit) IntrospectionHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := k.principal(r.Context()); !ok {
			ProblemFor(ErrNoCredentials).ServeHTTP(w, r)
			return
		}
		form, problem := readForm(w, r, revocationParams)
		if problem == nil {
			problem = require(form, "token")
		}
		if problem != nil {
			problem.ServeHTTP(w, r)
			return
		}
		t, err := k.verifier.verify(form.Get("token"))
		if err != nil {
			writeJSON(w, introspection{})
			return
		}
		u, err := k.bearer(r.Context(), t)
		switch {
		case errors.Is(err, ErrInvalidToken) || errors.Is(err, ErrUserDisabled):
			writeJSON(w, introspection{})
		case err != nil:
			ProblemFor(err).ServeHTTP(w, r)
		default:
			writeJSON(w, introspection{
				Active: true, TokenType: "Bearer", Subject: t.Subject, Username: u.Email, Roles: slices.Clone(u.Roles), ClientID: t.ClientID,
				Issuer: t.Issuer, Audience: t.Audience, ID: t.ID, SessionID: t.SessionID, IssuedAt: t.IssuedAt, ExpiresAt: t.ExpiresAt,
			})
		}
	})
}
