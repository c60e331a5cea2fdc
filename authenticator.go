package authkit

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// An Authenticator authenticates requests by one kind of credential, such as
// API keys or client certificates. Set it in [Config].Authenticators or
// [GuardConfig].Authenticators. Implementations must be safe for concurrent
// use.
//
// The authenticator checks the credential. The guard decides the rest: it loads
// the account, refuses one that is missing, disabled or revoked, and applies
// the policy of the route.
type Authenticator interface {
	// Authenticate returns the credential of a request. It reads neither the
	// body nor the query.
	//
	// The errors are:
	//   - ErrNoCredentials if the request has no credential of this kind,
	//   - ErrInvalidToken, or an error that wraps it, if the credential must be
	//     refused,
	//   - any other error if the credential could not be checked.
	//
	// A request with two credentials is refused. An authenticator may read the
	// Authorization header, for instance with [BearerToken]. It must then
	// return ErrNoCredentials for a token with two dots, which is an access
	// token of the guard, and for a token without its prefix, which belongs to
	// another authenticator.
	//
	// Refused credentials are events. No throttle counts them, and
	// [Config].StoreTimeout does not limit the call: use secrets that cannot be
	// guessed, and a deadline.
	Authenticate(r *http.Request) (Credential, error)

	// Challenge returns the WWW-Authenticate value for requests without
	// credentials, such as "ApiKey". It may be empty.
	Challenge() string
}

// A Credential is the result of an [Authenticator] that has checked a request.
type Credential struct {
	// Kind names the kind of credential, such as "api_key". ID names the one that was
	// presented, for logs; it is no secret.
	Kind, ID string

	// UserID is the account that the credential belongs to. Service is the name of a
	// service that has no account. Exactly one of the two is set.
	UserID  string
	Service string

	// Machine marks a machine credential: one that a program presents without a
	// person, such as an API key. Only policies with [Policy.OrMachines] admit
	// it. The credential of a Service is always a machine credential.
	Machine bool

	// Roles are the roles of a Service. A Kit ignores them for a user, and
	// takes the roles of the account. A guard of [NewGuard] has no accounts,
	// and uses Roles for users too.
	Roles []string

	// Limited restricts the credential to Permissions. It has only those of
	// them that the roles of its account grant. Policies of [Permissions] and
	// [Authenticated] can admit it, policies of roles cannot.
	Limited     bool
	Permissions []string

	// Methods and AuthTime are how and when the user authenticated, as in [Proof]. Leave
	// them zero for a machine credential.
	Methods  []string
	AuthTime time.Time

	// IssuedAt is when the credential was issued. Set it for every credential
	// that [Kit.SetPassword] and [Kit.LogoutEverywhere] must end: a guard
	// refuses a credential that was issued before such a call, or before the
	// account was created. [Kit.ChangePassword] ends it only if no session of
	// the caller continues. If IssuedAt is zero, none of them ends the
	// credential.
	IssuedAt time.Time

	// ExpiresAt is when the credential expires; zero means never. The guard refuses it
	// from then on.
	ExpiresAt time.Time

	SessionID string // the session that the credential belongs to, if any

	// ActorID is the user who impersonates UserID, such as an administrator.
	// With this credential, methods of a Kit change the full name of accounts
	// and create accounts without roles. They return ErrForbidden for changes
	// of passwords, addresses and roles, and for deleting, disabling or locking
	// an account.
	ActorID string

	account *StoredUser // of UserID, if it was read along with the credential
}

// checkAuthenticators returns why the authenticators of a configuration cannot be used.
func checkAuthenticators(all []Authenticator) error {
	for i, a := range all {
		if a == nil {
			return fmt.Errorf("the element %d is nil; leave it out", i)
		}
	}
	return nil
}

var (
	errTwoCredentials = &authError{ErrInvalidToken, ReasonTooMany, nil}
	errCredential     = &authError{ErrInvalidToken, ReasonMalformed, nil}
)

// valid reports whether the credential is consistent.
func (c *Credential) valid() bool {
	switch {
	case c.Kind == "", (c.UserID == "") == (c.Service == ""):
		return false
	case c.Service != "":
		c.Machine = true
	}
	return true
}

// authenticate calls the authenticators for a request. It returns nil without
// an error if none of them finds a credential.
func (g *Guard) authenticate(r *http.Request) (*Credential, error) {
	var found *Credential
	for _, a := range g.authenticators {
		c, err := a.Authenticate(r)
		switch {
		case errors.Is(err, ErrNoCredentials):
			continue
		case found != nil:
			return nil, errTwoCredentials
		case err == errCrossOrigin || errors.Is(err, ErrUnavailable) || isThrottled(err):
			return nil, err
		case errors.Is(err, ErrInvalidToken):
			return nil, asAuthError(err)
		case err != nil:
			return nil, storeError(r.Context(), &callbackError{"Authenticator", err})
		case !c.valid():
			return nil, &callbackError{"Authenticator", fmt.Errorf("%T returned a credential without a Kind, or without exactly one of UserID and Service", a)}
		case !c.ExpiresAt.IsZero() && !time.Now().Before(c.ExpiresAt):
			return nil, ErrTokenExpired
		}
		found = &c
	}
	return found, nil
}

// asAuthError returns an ErrInvalidToken of another package as an *authError.
func asAuthError(err error) error {
	if r, ok := errors.AsType[*authError](err); ok {
		return r
	}
	return errCredential
}
