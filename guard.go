package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/authkit-go/authkit/internal/tally"
)

// A GuardConfig configures a [Guard].
type GuardConfig struct {
	// Tokens configures how access tokens are verified. Its keys need not be able to sign.
	Tokens TokenConfig

	// Authenticators authenticate requests by other credentials than access tokens; see
	// [Config].Authenticators.
	Authenticators []Authenticator

	// Roles is the role table; see [Config].Roles.
	Roles map[string][]string

	// Revoked, if not nil, is called for every access token that is otherwise
	// valid. If it returns true, the token is refused. An error leads to 503.
	// It must be quick and safe for concurrent use. A revocation.Follower has
	// one that makes no request. Tokens without "iat" are refused if Revoked is
	// set.
	Revoked func(ctx context.Context, c Claims) (bool, error)

	// Resource, if not nil, describes the service to clients of OAuth 2.0.
	Resource *ResourceConfig

	// OnEvent and Logger receive every [Event]; see [Config].OnEvent.
	OnEvent []func(context.Context, Event)
	Logger  *slog.Logger
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so that logging
// a GuardConfig does not reveal its secrets.
func (GuardConfig) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("authkit.GuardConfig{" + redacted + "}"))
}

// A Guard is the middleware of this package. It authenticates requests and decides by a
// [Policy]. It is safe for concurrent use.
//
// The guard of a [Kit] looks up the account of every request. A guard made with
// [NewGuard] has no account store. It is for services that verify tokens but do
// not issue them. It takes the roles from the token. A user who loses a role
// keeps it until the token expires. So does a user who logs out, unless
// [GuardConfig].Revoked refuses the token.
type Guard struct {
	verifier       *TokenVerifier
	roles          roleTable
	authenticators []Authenticator
	onEvent        func(context.Context, Event)

	// principalFromClaims and credential find the account of a credential, as far as it is
	// known, even with an error. The first writes it into the context of the
	// request, which avoids copies.
	principalFromClaims func(ctx context.Context, t verified, into *User) error
	credential          func(context.Context, *Credential) (User, error)

	// service returns the credential of a token of a service. It is nil if the
	// tokens of services are not accepted.
	service func(ctx context.Context, t *verified) (*Credential, error)

	accounts bool // whether the accounts come from a store

	login string // the path of the login page for browsers; empty if there is none

	seed maphash.Seed // of the digests of headers

	resource      *resource // nil if there is none
	noCredentials *rendered
	good          tally.Tally  // valid credentials, for Stats
	noKeys        atomic.Int64 // when OnEvent was last called because of missing keys, in nanoseconds since 1970
}

// NewGuard returns a Guard without accounts, or an error that joins all problems of cfg.
func NewGuard(cfg GuardConfig) (*Guard, error) {
	var errs []error
	fault := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("authkit: GuardConfig.%s: %w", field, err))
		}
	}
	onEvent := listeners(cfg.Logger, cfg.OnEvent, fault)
	resource := cfg.Resource.bind(&cfg.Tokens, cfg.Roles, fault)
	ring, err := cfg.Tokens.bind("GuardConfig.Tokens", false)
	if err != nil {
		errs = append(errs, err)
	}
	roles, err := newRoleTable(cfg.Roles)
	fault("Roles", err)
	fault("Authenticators", checkAuthenticators(cfg.Authenticators))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	claimed := claimed{cfg.Revoked}
	return newGuard(&Guard{
		verifier: newVerifier(cfg.Tokens, ring), roles: roles, onEvent: onEvent, resource: resource,
		authenticators: slices.Clone(cfg.Authenticators), principalFromClaims: claimed.principalFromClaims, credential: claimed.credential, service: claimed.service,
	}), nil
}

// newGuard completes a Guard with the response to requests without credentials.
func newGuard(g *Guard) *Guard {
	g.seed = maphash.MakeSeed()
	g.noCredentials = g.renderNoCredentials("")
	return g
}

// renderNoCredentials returns the response to requests without credentials. The
// parameters are those of the Bearer challenge.
func (g *Guard) renderNoCredentials(params string) *rendered {
	p := ProblemFor(ErrNoCredentials)
	p.Challenge = withParams(p.Challenge, params)
	r := p.render()
	for _, a := range g.authenticators {
		if challenge := a.Challenge(); challenge != "" {
			r.names = append(r.names, "Www-Authenticate")
			r.values = append(r.values, challenge)
		}
	}
	return r
}

// A claimed takes accounts from the credentials themselves.
type claimed struct {
	revoked func(context.Context, Claims) (bool, error)
}

func (c claimed) principalFromClaims(ctx context.Context, t verified, into *User) error {
	into.ID, into.Roles = cmp.Or(t.UserID, t.Subject), t.Roles
	if t.UserID != "" {
		into.Email = t.Subject
	}
	return c.checkRevoked(ctx, &t)
}

// service returns the credential of a token of a service.
func (c claimed) service(ctx context.Context, t *verified) (*Credential, error) {
	cred := t.credential()
	cred.Roles = t.Roles
	return cred, c.checkRevoked(ctx, t)
}

// checkRevoked returns why [GuardConfig].Revoked refuses a token, or nil.
func (c claimed) checkRevoked(ctx context.Context, t *verified) error {
	if c.revoked == nil {
		return nil
	}
	if t.IssuedAt == 0 { // its life cannot be checked, and revocations are not kept longer than that
		return errTokenClaims
	}
	switch revoked, err := c.revoked(ctx, t.public()); {
	case err != nil:
		return storeError(ctx, &callbackError{"GuardConfig.Revoked", err})
	case revoked:
		return errTokenRevoked
	}
	return nil
}

func (claimed) credential(_ context.Context, c *Credential) (User, error) {
	return User{ID: c.UserID, Roles: c.Roles}, nil
}

// Authenticate is middleware that admits every user. Handlers get the user from
// [PrincipalFrom].
func (g *Guard) Authenticate(next http.Handler) http.Handler {
	return g.protect(Authenticated(), next)
}

// RequireRoles returns middleware that admits users with all of the roles; see
// [Kit.RequireRoles].
func (g *Guard) RequireRoles(role string, more ...string) func(http.Handler) http.Handler {
	return g.Require(Roles(role, more...))
}

// RequireAnyRole returns middleware that admits users with at least one of the roles.
func (g *Guard) RequireAnyRole(role string, more ...string) func(http.Handler) http.Handler {
	return g.Require(AnyRole(role, more...))
}

// Require returns middleware for any [Policy]; see [Kit.Require].
func (g *Guard) Require(p Policy) func(http.Handler) http.Handler {
	if err := g.roles.validate(p); err != nil {
		panic("authkit: " + err.Error())
	}
	return func(next http.Handler) http.Handler { return g.protect(p, next) }
}

// NewMux returns a [Mux] without routes.
func (g *Guard) NewMux() *Mux { return &Mux{guard: g} }

// Identify authenticates a request, and returns the principal and a context that carries
// it; see [Kit.Identify].
func (g *Guard) Identify(r *http.Request) (context.Context, Principal, error) {
	c, err := g.identify(r)
	if err != nil {
		return r.Context(), Principal{}, err
	}
	return c, c.principal(), nil
}

// IdentifyToken authenticates an access token without a request; see [Kit.IdentifyToken].
func (g *Guard) IdentifyToken(ctx context.Context, token string) (context.Context, Principal, error) {
	c, err := g.identifyToken(ctx, token)
	if err != nil {
		return ctx, Principal{}, err
	}
	return c, c.principal(), nil
}

// saysNoKeys reports whether an event for missing keys is due: at most once a
// second, since clients can cause any number of them.
func (g *Guard) saysNoKeys() bool {
	last, at := g.noKeys.Load(), now().UnixNano()
	return (at < last || at-last >= int64(time.Second)) && g.noKeys.CompareAndSwap(last, at)
}

// toLogin redirects a browser to the login page, and reports whether it did. It does not for
// requests of scripts, which cannot use a page, and not on the login page.
func (g *Guard) toLogin(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header["Upgrade"] != nil ||
		!strings.Contains(r.Header.Get("Accept"), "text/html") || r.URL.Path == g.login {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	uri := r.RequestURI // middleware such as http.StripPrefix leaves it as it was
	if !strings.HasPrefix(uri, "/") {
		uri = r.URL.RequestURI() // of a request in absolute form
	}
	w.Header().Set("Cache-Control", "no-store")
	seeOther(w, g.login+"?return="+url.QueryEscape(returnPath(uri, g.login)))
	return true
}
