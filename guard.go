package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/authkit-go/authkit/internal/tally"
)

// A GuardConfig configures a [Guard].
type GuardConfig struct {
	// Tokens says what an access token looks like. Its keys need not be able to sign.
	Tokens TokenConfig

	// Roles is the role table; see [Config].Roles.
	Roles map[string][]string

	// Revoked, if not nil, is asked about every token that is good otherwise. True
	// refuses it; an error is answered 503. It must be safe for concurrent use, and quick:
	// a revocation.Follower has one that asks nobody.
	Revoked func(ctx context.Context, c Claims) (bool, error)

	// OnEvent is called with every [Event]; see [Config].OnEvent.
	OnEvent func(context.Context, Event)
}

// Format writes nothing of the configuration, which may hold secrets, for every verb
// but %T, %p and %w, which fmt does not ask about.
func (GuardConfig) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("authkit.GuardConfig{" + redacted + "}"))
}

// A Guard is the middleware of a [Kit] for a service that only accepts tokens: it knows
// the keys and no accounts. What it knows about whoever asks is in the token: a role that
// was taken away is good until the token expires, and so is a session that was ended,
// unless [GuardConfig].Revoked says so. It is safe for concurrent use.
type Guard struct {
	verifier *TokenVerifier
	roles    roleTable
	revoked  func(context.Context, Claims) (bool, error)
	onEvent  func(context.Context, Event)
	kit      *Kit         // nil: none
	good     tally.Tally  // of tokens, for Stats
	noKeys   atomic.Int64 // when OnEvent was last told that there are none, in nanoseconds since 1970
}

// NewGuard returns a Guard, or an error that joins every fault of cfg.
func NewGuard(cfg GuardConfig) (*Guard, error) {
	ring, tokensErr := cfg.Tokens.bind("GuardConfig.Tokens", false)
	roles, err := newRoleTable(cfg.Roles)
	if err != nil {
		err = fmt.Errorf("authkit: GuardConfig.Roles: %w", err)
	}
	if err := errors.Join(tokensErr, err); err != nil {
		return nil, err
	}
	g := &Guard{verifier: newVerifier(cfg.Tokens, ring), roles: roles, revoked: cfg.Revoked, onEvent: cfg.OnEvent}
	if g.onEvent == nil {
		g.onEvent = logDefault
	}
	return g, nil
}

// logDefault logs an event to what is the default logger at the time.
func logDefault(ctx context.Context, e Event) { LogEvents(slog.Default())(ctx, e) }

// Authenticate is the middleware that lets in everybody with a token. The handlers behind
// it find out who asks with [PrincipalFrom].
func (g *Guard) Authenticate(next http.Handler) http.Handler {
	return g.protect(Authenticated(), next)
}

// RequireRoles returns middleware that lets in tokens with all of the roles; see
// [Kit.RequireRoles].
func (g *Guard) RequireRoles(role string, more ...string) func(http.Handler) http.Handler {
	return g.Require(Roles(role, more...))
}

// RequireAnyRole returns middleware that lets in tokens with at least one of the roles.
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

// Identify authenticates a request by its bearer token; see [Kit.Identify]. The error is
// ErrNoCredentials, ErrInvalidToken, or ErrUnavailable if Revoked failed or the keys have
// expired (see [KeyRing.Expire]).
func (g *Guard) Identify(r *http.Request) (Principal, error) {
	token, err := bearerToken(r.Header)
	if err != nil {
		return Principal{}, err
	}
	c, err := g.identify(r.Context(), token)
	if err != nil {
		return Principal{}, err
	}
	return c.principal(), nil
}

// saysNoKeys reports whether OnEvent is to be told that there are no keys: once a second, since
// anyone can ask for it to be told, any number of times.
func (g *Guard) saysNoKeys() bool {
	last, at := g.noKeys.Load(), now().UnixNano()
	return (at < last || at-last >= int64(time.Second)) && g.noKeys.CompareAndSwap(last, at)
}

// bearer returns the account as a token has it, which it also does with an error.
func (g *Guard) bearer(ctx context.Context, t *verified) (User, error) {
	u := User{ID: cmp.Or(t.UserID, t.Subject), Roles: t.Roles}
	if t.UserID != "" {
		u.Email = t.Subject
	}
	if g.revoked == nil {
		return u, nil
	}
	switch revoked, err := g.revoked(ctx, t.public()); {
	case err != nil:
		return u, unavailable(ctx, &hookError{"GuardConfig.Revoked", err})
	case revoked:
		return u, errTokenRevoked
	}
	return u, nil
}
