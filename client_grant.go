package authkit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit/internal/claims"
)

const (
	grantClientCredentials = "client_credentials"

	// serviceTokenLife is the life of the access token of a service. It has no
	// refresh token, because the service can get another one at any time.
	serviceTokenLife = 5 * time.Minute
)

// A ClientAuthenticator authenticates services for the client-credentials grant
// (RFC 6749 section 4.4). A service is a principal of its own kind, without an
// account, a password or an address. Package apikey implements it, and programs
// need not call it. Set it in [Config].Clients. It must be safe for concurrent
// use.
//
// The token endpoint then takes client_id and client_secret in the form, or by
// HTTP Basic (section 2.3.1). It responds with an access token for five minutes
// and without a refresh token. The token has these claims:
//
//   - "sub" and "client_id" are the ID of the service. A token in which both
//     are equal is that of a service, for guards of [NewGuard] too.
//   - "sid" is the ID of the credential, for [Kit.RevokeServiceTokens].
//   - "roles" and "scope" are the roles of the service and the permissions of
//     the credential.
//
// The form may have a scope, which limits the token further, and a resource (RFC
// 8707), which must be the [TokenConfig].Audience.
type ClientAuthenticator interface {
	// AuthenticateClient checks an ID and a secret, and returns the credential
	// of a service. It returns ErrInvalidCredentials, or an error that wraps
	// it, if they do not match. A *ThrottledError refuses the attempt. Any other
	// error means that the check failed.
	AuthenticateClient(ctx context.Context, clientID, secret string) (Credential, error)

	// ClientCredential returns a credential by the ID of its service and its
	// own, as it is now. A Kit calls it for each request with a token of the
	// service. It returns ErrInvalidToken if there is no such credential any
	// more. Any other error means that the look-up failed.
	ClientCredential(ctx context.Context, clientID, credentialID string) (Credential, error)
}

// The error codes of RFC 6749 section 5.2, and of RFC 8707 section 2.
const (
	codeInvalidClient = "invalid_client"
	codeInvalidScope  = "invalid_scope"
	codeInvalidTarget = "invalid_target"
)

// isService reports whether a token was issued to a service: its subject is the
// client (RFC 9068 section 2.2).
func (t *verified) isService() bool {
	return t.ClientID != "" && t.ClientID == t.Subject && t.UserID == ""
}

// credential returns the credential of a token of a service, without roles.
func (t *verified) credential() *Credential {
	c := &Credential{
		Kind: bearerKind, ID: t.ID, Service: t.Subject, Machine: true, SessionID: t.SessionID,
		IssuedAt: fromUnix(t.IssuedAt), ExpiresAt: fromUnix(t.ExpiresAt),
	}
	c.Permissions = t.scope()
	c.Limited = c.Permissions != nil
	return c
}

// scope returns the "scope" of a token of a service. It is nil if there is none.
func (t *verified) scope() []string {
	if !t.isService() {
		return nil
	}
	text, ok := claims.ScopeOf(t.payload)
	if !ok {
		return nil
	}
	return append([]string{}, strings.Fields(text)...)
}

// service returns the credential of a token of a service, as it is now.
func (k *Kit) service(ctx context.Context, t *verified) (*Credential, error) {
	c := t.credential()
	now, err := k.clients.ClientCredential(ctx, t.Subject, t.SessionID)
	switch {
	case errors.Is(err, ErrInvalidToken):
		return c, errTokenRevoked
	case err != nil:
		return c, storeError(ctx, &callbackError{"Config.Clients", err})
	case now.Service != t.Subject || !now.ExpiresAt.IsZero() && !time.Now().Before(now.ExpiresAt):
		return c, errTokenRevoked
	}
	c.Roles = now.Roles
	if now.Limited {
		c.Permissions = slices.DeleteFunc(c.Permissions, func(p string) bool { return !slices.Contains(now.Permissions, p) })
		c.Limited = true
	}
	return c, nil
}

// serveClientGrant responds to a token request of a service.
func (k *Kit) serveClientGrant(w http.ResponseWriter, r *http.Request, form url.Values) {
	ctx := withClientOf(r)
	id, secret, problem := clientOfRequest(r, form)
	if problem != nil {
		problem.ServeHTTP(w, r)
		return
	}
	token, err := k.grantClient(ctx, id, secret, form)
	if err == nil {
		writeToken(w, token)
		return
	}
	if refused, ok := errors.AsType[*grantError](err); ok {
		oauthProblem(NewProblem(http.StatusBadRequest, refused.detail), refused.code).ServeHTTP(w, r)
		return
	}
	if !errors.Is(err, ErrInvalidCredentials) {
		oauthProblem(ProblemFor(err), oauthCode(err)).ServeHTTP(w, r)
		return
	}
	clientRefused().ServeHTTP(w, r)
}

// clientRefused is the response to a client that is not authenticated.
func clientRefused() *Problem {
	p := oauthProblem(NewProblem(http.StatusUnauthorized, "The client could not be authenticated"), codeInvalidClient)
	p.Challenge = `Basic realm="token"`
	return p
}

// A grantError refuses a token request of a client that may be valid.
type grantError struct{ code, detail string }

func (e *grantError) Error() string { return "authkit: " + e.detail }

// clientOfRequest returns the ID and the secret of a client, or the response to
// a request without them. A client uses one of the two ways (RFC 6749 section
// 2.3).
func clientOfRequest(r *http.Request, form url.Values) (id, secret string, problem *Problem) {
	bad := func(detail string) (string, string, *Problem) {
		return "", "", oauthProblem(NewProblem(http.StatusBadRequest, detail), codeInvalidRequest)
	}
	id, secret = form.Get("client_id"), form.Get("client_secret")
	if values := r.Header["Authorization"]; len(values) > 0 {
		name, password, ok := r.BasicAuth()
		if !ok || len(values) > 1 {
			return bad("Authenticate by HTTP Basic, or in the body")
		}
		user, err := url.QueryUnescape(name) // each part is encoded as in a form
		pass, err2 := url.QueryUnescape(password)
		if err := errors.Join(err, err2); err != nil {
			return bad("The Authorization header is malformed")
		}
		if secret != "" || id != "" && id != user {
			return bad("Authenticate by HTTP Basic or in the body, and not by both")
		}
		id, secret = user, pass
	}
	if id == "" || secret == "" {
		return "", "", clientRefused()
	}
	return id, secret, nil
}

// grantClient authenticates a client and issues its token.
func (k *Kit) grantClient(ctx context.Context, id, secret string, form url.Values) (Token, error) {
	c, err := k.clients.AuthenticateClient(ctx, id, secret)
	if err == nil && (c.Service != id || !c.valid() || !c.ExpiresAt.IsZero() && !time.Now().Before(c.ExpiresAt)) {
		err = ErrInvalidCredentials
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrInvalidCredentials):
		k.emit(ctx, Event{Kind: EventClientFailure, Reason: ReasonWrongProof})
		return Token{}, ErrInvalidCredentials
	case isThrottled(err):
		k.emit(ctx, Event{Kind: EventClientFailure, Reason: ReasonThrottled})
		return Token{}, err
	default:
		return Token{}, k.storeFailed(ctx, &callbackError{"Config.Clients", err})
	}
	for _, resource := range form["resource"] {
		if k.issuer.audience == "" || resource != k.issuer.audience {
			return Token{}, &grantError{codeInvalidTarget, "The resource is not one of this service"}
		}
	}
	scope, limited := c.Permissions, c.Limited
	if asked := strings.Fields(form.Get("scope")); len(asked) > 0 {
		if limited && slices.ContainsFunc(asked, func(s string) bool { return !slices.Contains(scope, s) }) {
			return Token{}, &grantError{codeInvalidScope, "The client does not have the scope"}
		}
		scope, limited = asked, true
	}
	if limited {
		scope = append([]string{}, scope...) // a scope that is empty, and not absent
	} else {
		scope = nil
	}
	token, err := k.serviceToken(&c, scope)
	if err == nil {
		k.emit(ctx, Event{Kind: EventClientSuccess, ActorID: "service:" + c.Service, SessionID: c.ID})
	}
	return token, err
}

// serviceToken issues the token of a service.
func (k *Kit) serviceToken(c *Credential, scope []string) (Token, error) {
	at := now()
	expires := at.Add(min(serviceTokenLife, k.issuer.lifetime))
	if !c.ExpiresAt.IsZero() && c.ExpiresAt.Before(expires) {
		expires = c.ExpiresAt
	}
	signed, err := k.issuer.Issue(Claims{
		Subject: c.Service, ClientID: c.Service, SessionID: c.ID, Roles: c.Roles, Scope: scope, IssuedAt: at, ExpiresAt: expires,
	})
	if err != nil {
		return Token{}, err
	}
	return Token{AccessToken: signed, TokenType: "bearer", ExpiresIn: int(expires.Sub(at) / time.Second), Scope: strings.Join(scope, " ")}, nil
}

// RevokeServiceTokens refuses the access tokens that a service got for a
// credential, at services that follow the revocations of the Kit. Features call
// it when they delete the credential. A Kit itself looks the credential up at
// each request. Without sessions there are no revocations, and it does nothing.
//
// The error is ErrUnavailable, or the error of ctx. Call it again then.
func (k *Kit) RevokeServiceTokens(ctx context.Context, serviceID, credentialID string) error {
	if k.sessions == nil {
		return nil
	}
	at := now()
	// The end of a session is a revocation, on every store. This session has no
	// token, so it could not be used.
	s := StoredSession{Session: Session{ID: credentialID, UserID: serviceID, CreatedAt: at, LastUsedAt: at, ExpiresAt: at, AbsoluteExpiresAt: at}}
	created := k.sessions.store.CreateSession(ctx, s, maxSessions)
	revoked, err := k.sessions.store.RevokeSession(ctx, serviceID, credentialID, at)
	if err == nil && !revoked {
		err = fmt.Errorf("authkit: the tokens of %s were not revoked: %w", credentialID, errors.Join(created))
	}
	if err != nil {
		return k.storeFailed(ctx, err)
	}
	return nil
}

// maxSessions is more sessions than a service has, so that none of them ends.
const maxSessions = 1 << 20
