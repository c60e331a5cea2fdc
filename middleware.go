package authkit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"strings"
	"time"

	"github.com/authkit-go/authkit/internal/claims"
)

// Authenticate is middleware that admits every enabled user. Handlers get the user from
// [PrincipalFrom] and [UserFrom].
//
//	r.Use(kit.Authenticate)
func (k *Kit) Authenticate(next http.Handler) http.Handler { return k.guard.Authenticate(next) }

// RequireRoles returns middleware that admits users with all of the roles. It
// needs no other middleware before it. After [Kit.Authenticate] it repeats no
// work. Like http.ServeMux it panics, when the program starts, if a role is not
// in the role table.
//
//	r.With(kit.RequireRoles("admin")).Delete("/everything", deleteEverything)
func (k *Kit) RequireRoles(role string, more ...string) func(http.Handler) http.Handler {
	return k.guard.RequireRoles(role, more...)
}

// RequireAnyRole is like [Kit.RequireRoles] for users with at least one of the roles.
func (k *Kit) RequireAnyRole(role string, more ...string) func(http.Handler) http.Handler {
	return k.guard.RequireAnyRole(role, more...)
}

// Require returns middleware for any [Policy]. It panics, when the program starts, if the
// policy is the zero one, or names a role or a permission that is not in the role table.
func (k *Kit) Require(p Policy) func(http.Handler) http.Handler { return k.guard.Require(p) }

// Guard returns the middleware of the Kit.
func (k *Kit) Guard() *Guard { return k.guard }

// Identify authenticates a request by its credential, as the middleware does.
// It returns the principal and a context that carries it. It sends no response
// and emits no event. Use it in handlers that are open to everyone and treat
// known users differently. Set Cache-Control in them, as guards do.
//
// In a handler behind a guard it checks the request again. This does not extend
// the session of a cookie. For long-lived streams, use [Kit.Watch].
//
// The errors are:
//   - ErrNoCredentials if the request has no credential.
//   - ErrInvalidToken if the credential is refused, its session has ended, or
//     its account does not exist.
//   - ErrTokenExpired, which wraps ErrInvalidToken, if the credential has
//     expired.
//   - ErrUserDisabled if the account is disabled.
//   - ErrUnavailable if a store failed or the keys have expired (see
//     [NewKeyRingFrom]).
func (k *Kit) Identify(r *http.Request) (context.Context, Principal, error) {
	return k.guard.Identify(r)
}

// IdentifyToken is [Kit.Identify] for an access token without a request: for interceptors of
// gRPC, jobs and message queues. It returns a context that carries the principal.
func (k *Kit) IdentifyToken(ctx context.Context, token string) (context.Context, Principal, error) {
	return k.guard.IdentifyToken(ctx, token)
}

// protect is the middleware of a checked policy.
func (g *Guard) protect(p Policy, next http.Handler) http.Handler {
	if next == nil {
		panic("authkit: a guard around a nil handler")
	}
	if p.kind == policyPublic {
		return next
	}
	refusals := g.refusalsOf(&p)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := fromContext(r.Context())
		if c == nil || !c.stillGood(g, r) {
			var err error
			if c, err = g.identify(r); err != nil {
				g.refuse(w, r, err, c, refusals)
				return
			}
			r = r.WithContext(c)
		} else if len(p.checks) > 0 { // r has path values by now, which Watch needs too
			routed := *c
			routed.Context, routed.request = r.Context(), r
			c = &routed
			r = r.WithContext(c)
		}
		who := c.facts()
		if err := p.check(&who); err != nil {
			g.refuse(w, r, err, c, refusals)
			return
		}
		for _, check := range p.checks {
			ctx, err := check.ok(r)
			if err != nil {
				g.refuse(w, r, err, c, refusals)
				return
			}
			r = r.WithContext(ctx)
		}
		w.Header()["Cache-Control"] = c.noStore[:]
		next.ServeHTTP(w, r)
	})
}

// stillGood reports whether a context comes from a guard, for the credential
// that the request now has. Middleware in between may have changed its header,
// or the method, by which a session cookie is refused across origins.
func (c *requestContext) stillGood(g *Guard, r *http.Request) bool {
	switch {
	case c.guard != g || c.request == nil:
		return false
	case len(g.authenticators) == 0:
		token, err := bearerToken(r.Header)
		return err == nil && c.token == token
	}
	return c.request.Method == r.Method && c.request.TLS == r.TLS && c.digest == g.digest(r)
}

// digest returns a hash of the header of a request: an authenticator may read any part of it.
// The header cannot be kept for comparison, because middleware may change it in place.
func (g *Guard) digest(r *http.Request) uint64 {
	var sum uint64 // of the hashes of all fields, in whatever order
	var h maphash.Hash
	for name, values := range r.Header {
		h.SetSeed(g.seed)
		_, _ = h.WriteString(name)
		for _, v := range values {
			_ = h.WriteByte(0)
			_, _ = h.WriteString(v)
		}
		sum += h.Sum64()
	}
	return sum
}

// identify returns the context of an authenticated request. It also returns it
// with an error if the account is known, and otherwise nil.
func (g *Guard) identify(r *http.Request) (*requestContext, error) {
	token, err := bearerToken(r.Header)
	if len(g.authenticators) > 0 {
		return g.identifyAny(r, token, err)
	}
	if err != nil {
		return nil, err
	}
	c, err := g.identifyToken(r.Context(), token)
	if c != nil {
		c.request = r
	}
	return c, err
}

// identifyAny is identify for a guard with authenticators: of all credentials there must be
// exactly one.
func (g *Guard) identifyAny(r *http.Request, token string, bearerErr error) (*requestContext, error) {
	other, err := g.authenticate(r)
	if err != nil {
		return nil, err
	}
	// A token with two dots is an access token, and so is one that is too long.
	ours := bearerErr == nil && (len(token) > g.verifier.maxBytes || strings.Count(token, ".") == 2)
	var c *requestContext
	switch {
	case ours && other != nil, bearerErr != ErrNoCredentials && other != nil && other.Kind == cookieKind:
		return nil, errTwoCredentials // the cookie cannot be what the header holds
	case other != nil:
		c, err = g.identifyCredential(r.Context(), other)
	case ours:
		c, err = g.identifyToken(r.Context(), token)
	case bearerErr != nil:
		return nil, bearerErr
	default:
		return nil, errTokenMalformed
	}
	if c != nil {
		c.request, c.digest = r, g.digest(r)
	}
	return c, err
}

// identifyToken returns the context of an access token; see identify.
func (g *Guard) identifyToken(ctx context.Context, token string) (*requestContext, error) {
	t, err := g.verifier.verify(token)
	if err == errUnknownKey && g.verifier.keys.unavailable() {
		err = errNoKeys // other keys might have signed it
	}
	if err != nil {
		return nil, err
	}
	c := &requestContext{
		Context:   ctx,
		guard:     g,
		token:     token,
		tokenID:   t.ID,
		sessionID: t.SessionID,
		issued:    t.IssuedAt,
		expires:   t.ExpiresAt,
		authTime:  t.AuthTime,
		amr:       t.Methods,
		payload:   t.payload,
		noStore:   [1]string{"no-store"},
	}
	if g.service != nil && t.isService() {
		service := t // on the heap, unlike the token of a user
		c.other, err = g.service(ctx, &service)
		if c.other != nil {
			c.user.Roles = c.other.Roles
		}
	} else {
		err = g.principalFromClaims(ctx, t, &c.user)
		if g.resource != nil {
			c.other = t.delegated(c.user.ID)
		}
	}
	if err == nil {
		g.good.Add()
	}
	return c, err
}

// identifyCredential returns the context of another credential; see identify.
func (g *Guard) identifyCredential(ctx context.Context, other *Credential) (*requestContext, error) {
	user, err := g.credential(ctx, other)
	if err == nil {
		g.good.Add()
	}
	return &requestContext{
		Context: ctx, guard: g, user: user, other: other, sessionID: other.SessionID, noStore: [1]string{"no-store"},
	}, err
}

var (
	errNoKeys = fmt.Errorf("%w: the keys of tokens have expired, or were never fetched", ErrUnavailable)
)

// principalFromClaims finds the account of an access token. It also does so with an error,
// if the account is known.
func (k *Kit) principalFromClaims(ctx context.Context, t verified, into *User) error {
	if t.SessionID != "" && k.joined != nil {
		s, u, err := k.joined.SessionUser(ctx, t.SessionID)
		if !errors.Is(err, ErrSessionNotFound) {
			if err == nil && (s.ID != t.SessionID || s.UserID != u.ID) {
				err = ErrUserNotFound // for a store that does not compare byte by byte
			}
			return k.current(ctx, &t.Set, &u, err, into)
		}
		// The session has ended. The account shows why.
	}
	load, key := k.users.UserByID, t.Subject
	if k.emailSubject {
		load, key = k.users.UserByEmail, emailOf(t.Subject)
	}
	u, err := load(ctx, key)
	err = k.current(ctx, &t.Set, &u, err, into)
	if err == nil && t.SessionID != "" {
		err = k.checkSession(ctx, u.ID, t.SessionID)
	}
	return err
}

// current copies the account of a token, and returns why the token is no longer
// valid, or nil. A token whose subject does not match belongs to another
// account.
func (k *Kit) current(ctx context.Context, t *claims.Set, u *StoredUser, err error, into *User) error {
	switch {
	case errors.Is(err, ErrUserNotFound):
		return errUserGone
	case err != nil:
		return storeError(ctx, err)
	case !k.emailSubject && u.ID != t.Subject, k.emailSubject && u.Email != t.Subject && u.Email != emailOf(t.Subject):
		return errUserGone // or for a store that does not compare byte by byte
	}
	*into = u.User
	if t.UserID != "" && t.UserID != u.ID {
		// The address moved to another account; the token stays with the old one.
		return errOtherAccount
	}
	if err := k.accepts(u, t.IssuedAt); err != nil {
		return err
	}
	if k.required.now(&u.User) && !usedFactors(claims.MethodsOf(t.Methods)) {
		return errTokenFactor
	}
	return nil
}

// emailOf returns the e-mail of a subject in canonical form, since other
// issuers may keep capitals. Another subject is returned unchanged.
func emailOf(subject string) string {
	if email, err := NormalizeEmail(subject); err == nil {
		return email
	}
	return subject
}

// accepts returns why an account refuses a credential that was issued at a
// time, in seconds since 1970, or nil.
func (k *Kit) accepts(u *StoredUser, issued int64) error {
	switch {
	case u.Disabled:
		return errUserDisabled
	case time.Unix(issued, 0).Before(u.TokensValidAfter):
		return errTokenRevokedBefore
	case issued != 0 && issued+k.verifier.leeway < u.CreatedAt.Unix():
		return errOtherAccount // of the account that had the ID or the address before (FR-10)
	}
	return nil
}

// credential returns the account of a credential that is not an access token.
func (k *Kit) credential(ctx context.Context, c *Credential) (User, error) {
	if c.Service != "" {
		return User{Roles: c.Roles}, nil
	}
	u := c.account
	if u == nil {
		stored, err := k.users.UserByID(ctx, c.UserID)
		switch {
		case errors.Is(err, ErrUserNotFound) || err == nil && stored.ID != c.UserID:
			return User{}, errUserGone
		case err != nil:
			return User{}, storeError(ctx, err)
		}
		u = &stored
	}
	if c.IssuedAt.IsZero() { // without a time, a cut-off does not apply
		if u.Disabled {
			return u.User, errUserDisabled
		}
		return u.User, nil
	}
	return u.User, k.accepts(u, c.IssuedAt.Unix())
}

// checkSession returns why a token of a session is refused, or nil. It is refused if there
// are no sessions.
func (k *Kit) checkSession(ctx context.Context, userID, id string) error {
	if k.sessions == nil {
		return errTokenRevoked
	}
	s, err := k.sessions.store.SessionByID(ctx, id)
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return errTokenRevoked
	case err != nil:
		return storeError(ctx, err)
	case s.ID != id || s.UserID != userID:
		return errTokenRevoked
	}
	return nil
}

// BearerToken returns the token of the Authorization header of a request (RFC 6750 section
// 2.1), for an [Authenticator]. The error is ErrNoCredentials if the request has no such
// header or one of another scheme, and ErrInvalidToken if it is malformed or there are
// several.
func BearerToken(r *http.Request) (string, error) { return bearerToken(r.Header) }

// bearerToken returns the token of the only Authorization header (RFC 6750
// section 2.1). It never reads the query, the body or a cookie. Its cost does
// not depend on the length of the header.
func bearerToken(h http.Header) (string, error) {
	values := h["Authorization"]
	if len(values) == 0 {
		return "", ErrNoCredentials
	}
	if len(values) > 1 {
		return "", errTokenMalformed
	}
	const scheme = "Bearer"
	v := values[0]
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", ErrNoCredentials
	}
	switch v = v[len(scheme):]; {
	case v == "":
		return "", errTokenMalformed
	case v[0] != ' ':
		return "", ErrNoCredentials // another scheme, such as "Bearerish"
	}
	return v[1:], nil
}

// The responses of a guard.
var (
	answerInvalidToken = ProblemFor(ErrInvalidToken).render()
	answerForbidden    = ProblemFor(ErrForbidden).render()
)

// refuse responds to a request that a guard does not admit. The context c may
// be nil.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, err error, c *requestContext, answers *refusals) {
	ctx, e := withClientOf(r), Event{Kind: EventTokenRefused}
	if c != nil {
		e.UserID, e.SessionID = c.user.ID, c.sessionID
		if c.other != nil && c.sessionID == "" {
			e.SessionID = c.other.ID
		}
	}
	if err == ErrNoCredentials { // no credential was presented, so there is no event
		if g.login == "" || !g.toLogin(w, r) {
			answers.noCredentials.write(w)
		}
		return
	}
	if why, ok := err.(*authError); ok && why.kind == ErrInvalidToken { // the path of a flood
		e.Reason = why.reason
		g.onEvent(ctx, e)
		if g.login == "" || !g.toLogin(w, r) {
			answers.invalidToken.write(w)
		}
		return
	}
	broken := errors.Is(err, ErrUnavailable) // even if it also wraps others
	switch {
	case !broken && errors.Is(err, ErrForbidden):
		e.Kind, e.Reason, e.Route = EventAccessDenied, ReasonMissingRole, r.Pattern
		if why, ok := err.(*authError); ok {
			e.Reason = why.reason
		}
		g.onEvent(ctx, e)
		if err == errCrossOrigin {
			break
		}
		answers.forbidden.write(w)
		return
	case !broken && errors.Is(err, ErrNotFound):
		e.Kind, e.Reason, e.Route = EventAccessDenied, ReasonMissingRole, r.Pattern
		g.onEvent(ctx, e)
	case !broken && isStepUp(err):
		e.Kind, e.Reason, e.Route = EventAccessDenied, ReasonMissingFactor, r.Pattern
		g.onEvent(ctx, e)
		if g.login != "" && g.toLogin(w, r) {
			return
		}
	case !broken && errors.Is(err, ErrUserDisabled):
		e.Reason = ReasonDisabled
		g.onEvent(ctx, e)
	case !broken && isThrottled(err):
		e.Reason = ReasonThrottled
		g.onEvent(ctx, e)
	case !clientGone(ctx) && (err != errNoKeys || g.saysNoKeys()):
		g.onEvent(ctx, Event{Kind: EventStoreFailure, Reason: ReasonStore, Err: err})
	}
	p := ProblemFor(err)
	p.Challenge = withParams(p.Challenge, answers.params)
	p.ServeHTTP(w, r)
}

func isStepUp(err error) bool {
	_, ok := errors.AsType[*StepUpError](err)
	return ok
}
