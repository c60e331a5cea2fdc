package authkit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit/internal/claims"
)

// A Principal is what a request proved: who asks, and by which token. The zero
// Principal is nobody.
type Principal struct {
	UserID string
	Email  string
	Roles  []string // from the store, as they are now; from the token behind a [Guard]

	TokenID   string    // "jti" of the token; may be empty
	SessionID string    // "sid" of the token; empty where it belongs to no session
	IssuedAt  time.Time // of the token; zero if it does not say
	ExpiresAt time.Time // of the token

	table   roleTable
	payload string // of the token
}

// HasRole reports whether the principal has exactly this role.
func (p Principal) HasRole(role string) bool { return slices.Contains(p.Roles, role) }

// HasPermission reports whether a role of the principal grants the permission, by
// the role table [Config].Roles.
func (p Principal) HasPermission(permission string) bool {
	return p.table.grants(p.Roles, permission)
}

// DecodeClaims decodes the payload of the token into v, as json.Unmarshal does:
// that is how a host reads what [Config].ExtraClaims put in.
func (p Principal) DecodeClaims(v any) error { return Claims{payload: p.payload}.Decode(v) }

// requestContext is the one context node that a guard adds to a request. It is its
// own value, so that a guarded request costs no second allocation for it.
type requestContext struct {
	context.Context
	request   *http.Request // as it came in
	guard     *Guard
	token     string // the one that was verified
	user      User
	tokenID   string
	sessionID string
	issued    int64 // seconds since 1970
	expires   int64
	payload   string
	noStore   [1]string // the header value, kept here to be allocated with the rest
}

// principal returns the Principal of the request.
func (c *requestContext) principal() Principal {
	return Principal{
		UserID: c.user.ID, Email: c.user.Email, Roles: slices.Clone(c.user.Roles),
		TokenID: c.tokenID, SessionID: c.sessionID, IssuedAt: fromUnix(c.issued), ExpiresAt: fromUnix(c.expires),
		table: c.guard.roles, payload: c.payload,
	}
}

type contextKey struct{}

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	if key == (contextKey{}) {
		return c
	}
	v := c.Context.Value(key)
	if v == nil && key == (clientKey{}) && c.request != nil {
		return clientOf(c.request)
	}
	return v
}

func fromContext(ctx context.Context) *requestContext {
	c, _ := ctx.Value(contextKey{}).(*requestContext)
	return c
}

// PrincipalFrom returns who asks, inside a handler behind a guard: of several guards the
// innermost one that asks for anybody. It reports false where nobody was authenticated.
func PrincipalFrom(ctx context.Context) (Principal, bool) {
	if c := fromContext(ctx); c != nil {
		return c.principal(), true
	}
	return Principal{}, false
}

// UserFrom returns the account of whoever asks, as it was when the request came in.
// It reports false where [PrincipalFrom] does, and behind a [Guard], which has no accounts.
func UserFrom(ctx context.Context) (User, bool) {
	if c := fromContext(ctx); c != nil && c.guard.kit != nil {
		u := c.user
		u.Roles = slices.Clone(u.Roles) // a guard further in decides by the original
		return u, true
	}
	return User{}, false
}

// Authenticate is the middleware that lets in every enabled user. The handlers
// behind it find out who asks with [PrincipalFrom] and [UserFrom].
//
//	r.Use(kit.Authenticate)
func (k *Kit) Authenticate(next http.Handler) http.Handler { return k.guard.Authenticate(next) }

// RequireRoles returns middleware that lets in users with all of the roles. It
// authenticates by itself: no other middleware is needed before it, and after
// [Kit.Authenticate] it does no work twice. Like http.ServeMux it panics, when the
// program starts, if a role is not in the role table.
//
//	r.With(kit.RequireRoles("admin")).Delete("/everything", deleteEverything)
func (k *Kit) RequireRoles(role string, more ...string) func(http.Handler) http.Handler {
	return k.guard.RequireRoles(role, more...)
}

// RequireAnyRole is like [Kit.RequireRoles] for users with at least one of the
// roles.
func (k *Kit) RequireAnyRole(role string, more ...string) func(http.Handler) http.Handler {
	return k.guard.RequireAnyRole(role, more...)
}

// Require returns middleware for any [Policy]. It panics, when the program starts,
// if the policy is the zero one, or names what is not in the role table.
func (k *Kit) Require(p Policy) func(http.Handler) http.Handler { return k.guard.Require(p) }

// Identify authenticates a request by its bearer token: the decision behind the
// middleware, for handlers that are open to everybody and still want to know who
// asks. It answers nothing and emits no event.
//
// The error is ErrNoCredentials without a bearer token, ErrInvalidToken for one
// that is not good (ErrTokenExpired, if that is why), whose session was ended or whose
// account is gone, ErrUserDisabled, or ErrUnavailable if the store failed or the keys have
// expired (see [KeyRing.Expire]).
func (k *Kit) Identify(r *http.Request) (Principal, error) { return k.guard.Identify(r) }

// protect is the middleware of a checked policy.
func (g *Guard) protect(p Policy, next http.Handler) http.Handler {
	if next == nil {
		panic("authkit: a guard around a nil handler")
	}
	if p.kind == policyPublic {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := fromContext(r.Context())
		token, err := bearerToken(r.Header)
		if c == nil || c.guard != g || err != nil || c.token != token {
			c = nil
			if err == nil {
				c, err = g.identify(r.Context(), token)
			}
			if err != nil {
				g.refuse(w, r, err, c)
				return
			}
			c.request = r
			r = r.WithContext(c)
		}
		if err := p.check(c.user.ID, c.user.Roles, g.roles); err != nil {
			g.refuse(w, r, err, c)
			return
		}
		w.Header()["Cache-Control"] = c.noStore[:]
		next.ServeHTTP(w, r)
	})
}

// identify returns the context of an authenticated request. With an error it returns
// the account, if that is known, or nil.
func (g *Guard) identify(ctx context.Context, token string) (*requestContext, error) {
	t, err := g.verifier.verify(token)
	if err == errUnknownKey && g.verifier.keys.lapsed() {
		err = errNoKeys // who knows whether it is good?
	}
	if err != nil {
		return nil, err
	}
	var user User
	if g.kit != nil {
		user, err = g.kit.subject(ctx, &t.Set)
	} else {
		user, err = g.bearer(ctx, &t)
	}
	if err == nil {
		g.good.Add()
	}
	return &requestContext{
		Context:   ctx,
		guard:     g,
		token:     token,
		user:      user,
		tokenID:   t.ID,
		sessionID: t.SessionID,
		issued:    t.IssuedAt,
		expires:   t.ExpiresAt,
		payload:   t.payload,
		noStore:   [1]string{"no-store"},
	}, err
}

var (
	errUserGone     = &refusal{ErrInvalidToken, ReasonUnknownUser, nil}
	errOtherAccount = &refusal{ErrInvalidToken, ReasonOtherAccount, nil}
	errTokenRevoked = &refusal{ErrInvalidToken, ReasonRevoked, nil}
	errTokenCutOff  = &refusal{ErrInvalidToken, ReasonCutOff, nil}
	errUserDisabled = &refusal{ErrUserDisabled, ReasonDisabled, nil}

	errNoKeys = fmt.Errorf("%w: the keys of tokens have expired, or were never fetched", ErrUnavailable)
)

// subject loads the account that a token stands for. It is also returned with an
// error, once it is known.
func (k *Kit) subject(ctx context.Context, t *claims.Set) (User, error) {
	load := k.users.UserByID
	if k.emailSubject {
		load = k.users.UserByEmail
	}
	u, err := load(ctx, t.Subject)
	switch {
	case errors.Is(err, ErrUserNotFound):
		return User{}, errUserGone
	case err != nil:
		return User{}, unavailable(ctx, err)
	case !k.emailSubject && u.ID != t.Subject, k.emailSubject && u.Email != t.Subject:
		return User{}, errUserGone // a store that does not compare byte by byte
	case t.UserID != "" && t.UserID != u.ID:
		// The address moved to another account; the token stays with the old one.
		return u.User, errOtherAccount
	case u.Disabled:
		return u.User, errUserDisabled
	case !u.ValidFrom.IsZero() && time.Unix(t.IssuedAt, 0).Before(u.ValidFrom):
		return u.User, errTokenCutOff
	case t.SessionID != "":
		return u.User, k.checkSession(ctx, u.ID, t.SessionID)
	}
	return u.User, nil
}

// checkSession returns why a token of a session is refused, or nil. Where there is nobody
// to ask about the session, that is one more reason.
func (k *Kit) checkSession(ctx context.Context, userID, id string) error {
	if k.sessions == nil {
		return errTokenRevoked
	}
	s, err := k.sessions.store.SessionByID(ctx, id)
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return errTokenRevoked
	case err != nil:
		return unavailable(ctx, err)
	case s.ID != id || s.UserID != userID:
		return errTokenRevoked
	}
	return nil
}

// bearerToken returns the token of the one Authorization header (RFC 6750 section
// 2.1). Only a header is looked at: never the query, the body or a cookie. Its cost
// does not depend on the header's length.
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

// The answers of a guard.
var (
	answerNoCredentials = ProblemFor(ErrNoCredentials).render()
	answerInvalidToken  = ProblemFor(ErrInvalidToken).render()
	answerForbidden     = ProblemFor(ErrForbidden).render()
)

// refuse answers a request that a guard does not let through. The context c may be nil.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, err error, c *requestContext) {
	ctx, e := withClientOf(r), Event{Kind: EventTokenRefused}
	if c != nil {
		e.UserID, e.SessionID = c.user.ID, c.sessionID
	}
	if err == ErrNoCredentials { // nobody claimed anything: not an event
		answerNoCredentials.write(w)
		return
	}
	if r, ok := err.(*refusal); ok && r.kind == ErrInvalidToken { // the way of a flood
		e.Reason = r.reason
		g.onEvent(ctx, e)
		answerInvalidToken.write(w)
		return
	}
	switch {
	case errors.Is(err, ErrForbidden):
		e.Kind, e.Reason, e.Route = EventAccessDenied, ReasonMissingRole, r.Pattern
		g.onEvent(ctx, e)
		answerForbidden.write(w)
		return
	case errors.Is(err, ErrUserDisabled):
		e.Reason = ReasonDisabled
		g.onEvent(ctx, e)
	case !hasLeft(ctx) && (err != errNoKeys || g.saysNoKeys()):
		g.onEvent(ctx, Event{Kind: EventStoreFailure, Reason: ReasonStore, Err: err})
	}
	ProblemFor(err).ServeHTTP(w, r)
}
