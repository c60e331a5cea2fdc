package authkit

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authkit-go/authkit/internal/claims"
	"github.com/authkit-go/authkit/internal/refresh"
)

// LogoutHandler returns a handler that ends the session of the request, on POST. It answers
// 204, also if the session has ended already, or 409 if the credential of the request
// belongs to no session. Mount it behind a guard, such as [Authenticated]:
//
//	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
//
// It panics, when the program starts, if sessions are off.
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

// needSessions panics if sessions are off: the handler could answer with errors only.
func (k *Kit) needSessions(handler string) {
	if k.sessions == nil {
		panic("authkit: " + handler + strings.TrimPrefix(errNoSessions.Error(), "authkit"))
	}
}

// noSession answers a request that means its own session and has none.
func noSession(w http.ResponseWriter, r *http.Request) {
	NewProblem(http.StatusConflict, "The token belongs to no session").ServeHTTP(w, r)
}

func noContent(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// SessionsHandler returns a handler that lists the sessions of the user, on
// GET. The answer is a JSON array of [Session], the most recently used first.
// The member "current" is true for the session of the request. Mount the
// handler behind a guard, with those that end sessions:
//
//	mux.Handle("GET /users/me/sessions", authkit.Authenticated(), kit.SessionsHandler())
//	mux.Handle("DELETE /users/me/sessions", authkit.Authenticated(), kit.EndOtherSessionsHandler())
//	mux.Handle("DELETE /users/me/sessions/{id}", authkit.Authenticated(), kit.EndSessionHandler())
//
// It panics, when the program starts, if sessions are off.
func (k *Kit) SessionsHandler() http.Handler {
	k.needSessions("SessionsHandler")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			methodNotAllowed(w, "GET, HEAD").ServeHTTP(w, r)
			return
		}
		p, ok := k.principal(r.Context())
		if !ok {
			ProblemFor(ErrNoCredentials).ServeHTTP(w, r)
			return
		}
		k.writeSessions(w, r, p)
	})
}

// EndSessionHandler returns a handler that ends one session of the user, on DELETE. It
// answers 204, or 404 if the user has no such session. Mount it behind a guard; see
// [Kit.SessionsHandler].
//
// The ID of the session is http.Request.PathValue("id"). If that is empty, as behind a
// router that does not set it, the ID is the last segment of the path. It panics, when the
// program starts, if sessions are off.
func (k *Kit) EndSessionHandler() http.Handler {
	k.needSessions("EndSessionHandler")
	return k.ending(func(r *http.Request, p Principal) error {
		return k.Logout(r.Context(), p.UserID, sessionIDOf(r)) // no session has an empty ID
	})
}

// EndOtherSessionsHandler returns a handler that ends all sessions of the user but that of
// the request, on DELETE. It answers 204, or 409 if the credential of the request belongs
// to no session. Mount it behind a guard; see [Kit.SessionsHandler]. It panics, when the
// program starts, if sessions are off.
func (k *Kit) EndOtherSessionsHandler() http.Handler {
	k.needSessions("EndOtherSessionsHandler")
	return k.ending(func(r *http.Request, p Principal) error {
		if p.SessionID == "" {
			return errNotOfASession
		}
		return k.LogoutOthers(r.Context(), p.UserID, p.SessionID)
	})
}

// ending returns a handler of DELETE requests that end sessions of the user.
func (k *Kit) ending(end func(*http.Request, Principal) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodDelete {
			methodNotAllowed(w, http.MethodDelete).ServeHTTP(w, r)
			return
		}
		p, ok := k.principal(r.Context())
		if !ok {
			ProblemFor(ErrNoCredentials).ServeHTTP(w, r)
			return
		}
		switch err := end(r, p); {
		case err == errNotOfASession:
			noSession(w, r)
		case err != nil:
			ProblemFor(err).ServeHTTP(w, r)
		default:
			noContent(w)
		}
	})
}

// sessionIDOf returns the ID of the session that a request names. The path is split before
// it is unescaped, as routers do, so that a slash within an ID does not make another one of
// it. A slash at the end does not count.
func sessionIDOf(r *http.Request) string {
	if id := r.PathValue("id"); id != "" {
		return id
	}
	path := strings.TrimSuffix(r.URL.EscapedPath(), "/")
	id, err := url.PathUnescape(path[strings.LastIndexByte(path, '/')+1:])
	if err != nil {
		return ""
	}
	return id
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
// of the token. Clients are public (section 2.1): the token authorizes the request, so the
// route can be Public.
//
// The answer is:
//   - 200, also for a token that is not known.
//   - 400 with unsupported_token_type for a valid access token that belongs to no session.
//   - 503 if a store failed. The session may go on, and the client tries again.
//
// It panics, when the program starts, if sessions are off.
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

// holderOf finds the user or the service of a token, as a guard does.
func (k *Kit) holderOf(ctx context.Context, t *verified, into *User) error {
	if k.clients == nil || !t.isService() {
		return k.principalFromClaims(ctx, *t, into)
	}
	c, err := k.service(ctx, t)
	into.Roles = c.Roles
	return err
}

// errNotOfASession is for a valid credential that belongs to no session.
var errNotOfASession = errors.New("authkit: the token belongs to no session")

// sessionOf returns the session of a token of either kind. The ID is empty if the token is
// not valid.
func (k *Kit) sessionOf(r *http.Request, text string) (userID, sessionID string, err error) {
	if token, ok := refresh.Parse(text); ok {
		s, err := k.session(r.Context(), token)
		return s.UserID, s.ID, ignore(err, ErrInvalidRefreshToken)
	}
	t, err := k.verifier.verify(text)
	switch {
	case err != nil:
		return "", "", nil
	case t.SessionID == "" || k.clients != nil && t.isService():
		return "", "", errNotOfASession
	}
	s, err := k.sessions.store.SessionByID(r.Context(), t.SessionID)
	if err != nil && !errors.Is(err, ErrSessionNotFound) {
		return "", "", storeError(r.Context(), err)
	}
	return s.UserID, s.ID, nil
}

// ignore returns err, or nil if it is of the kind.
func ignore(err, kind error) error {
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
	AuthTime  int64    `json:"auth_time,omitempty"` // RFC 9470 section 6.2
	Methods   []string `json:"amr,omitempty"`
}

// IntrospectionHandler returns the introspection endpoint of RFC 7662. It takes POST
// requests with a form of token. For an access token that a guard would admit at the
// moment, the answer describes the token and its user. For every other text, refresh tokens
// included, the answer is {"active":false} and nothing else.
//
// The answers reveal much, so mount the handler behind a role that only services have. It
// answers 401 to requests that are not authenticated:
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
		var u User
		switch err := k.holderOf(r.Context(), &t, &u); {
		case errors.Is(err, ErrInvalidToken) || errors.Is(err, ErrUserDisabled):
			writeJSON(w, introspection{})
		case err != nil:
			ProblemFor(err).ServeHTTP(w, r)
		default:
			writeJSON(w, introspection{
				Active: true, TokenType: "Bearer", Subject: t.Subject, Username: u.Email, Roles: slices.Clone(u.Roles), ClientID: t.ClientID,
				Issuer: t.Issuer, Audience: t.Audience, ID: t.ID, SessionID: t.SessionID, IssuedAt: t.IssuedAt, ExpiresAt: t.ExpiresAt,
				AuthTime: t.AuthTime, Methods: claims.MethodsOf(t.Methods),
			})
		}
	})
}
