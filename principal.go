package authkit

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/authkit-go/authkit/internal/claims"
)

// A PrincipalKind is the kind of a principal.
type PrincipalKind string

// The kinds of principals.
const (
	Person  PrincipalKind = "person"  // a user who has logged in
	Machine PrincipalKind = "machine" // a program, with its own credential or that of a user
	System  PrincipalKind = "system"  // this program, by [WithSystem]
)

// A Principal is the authenticated party of a request: its identity, its
// credential, and how and when it was authenticated. The zero Principal means
// none.
type Principal struct {
	Kind PrincipalKind

	UserID string   // empty for a service without an account, and for the system
	Email  string   // may be empty
	Roles  []string // of the account, as they are now; behind a guard of [NewGuard], of the credential

	// Name is that of a service without an account, or of [WithSystem].
	Name string

	// ActorID is the user who acts as UserID; empty unless the user is impersonated.
	ActorID string

	// Credential is the kind of credential: "bearer", "cookie", or one of an
	// [Authenticator]. TokenID identifies it: it is the "jti" of a token, or
	// [Credential].ID.
	Credential string
	TokenID    string

	SessionID string    // empty if the credential belongs to no session
	IssuedAt  time.Time // zero if unknown
	ExpiresAt time.Time // zero if it does not expire

	// Methods and AuthTime are how and when the user authenticated, as in [Proof]. A
	// refresh changes neither. They are zero for a machine.
	Methods  []string
	AuthTime time.Time

	table   roleTable
	limited bool
	limits  []string
	payload string // of the token
}

func (p *Principal) known() bool { return p.UserID != "" || p.Name != "" }

// HasRole reports whether the principal has exactly this role.
func (p Principal) HasRole(role string) bool { return slices.Contains(p.Roles, role) }

// HasPermission reports whether a role of the principal grants the permission, by the role
// table [Config].Roles, within the limits of the credential.
func (p Principal) HasPermission(permission string) bool {
	f := facts{roles: p.Roles, table: p.table, limited: p.limited, limits: p.limits}
	return f.grants(permission)
}

// WithinLimits reports whether the credential can be used for a permission. It is true
// for a credential without limits, and for a limited one if its limits contain the
// permission. It does not report whether the user has the permission. Features with
// permissions of their own call it.
func (p Principal) WithinLimits(permission string) bool {
	return !p.limited || slices.Contains(p.limits, permission)
}

// DecodeClaims decodes the payload of the access token into v, as json.Unmarshal does. It
// reads the claims of [Config].ExtraClaims. It fails for a principal without an access
// token.
func (p Principal) DecodeClaims(v any) error { return Claims{payload: p.payload}.Decode(v) }

// bearerKind is the [Principal].Credential of an access token.
const bearerKind = "bearer"

// requestContext is the one context node that a guard adds to a request. It is the value of
// its own key, so that a guarded request costs no second allocation.
type requestContext struct {
	context.Context
	request   *http.Request // as it came in; nil for a token without a request
	digest    uint64        // of its header, behind a guard with authenticators
	guard     *Guard        // nil for the system
	token     string        // the access token that was verified; empty for another credential
	user      User
	tokenID   string
	sessionID string
	issued    int64 // seconds since 1970
	expires   int64
	authTime  int64
	amr       string // of the token
	payload   string
	other     *Credential // instead of an access token
	noStore   [1]string   // the header value, kept here to be allocated with the rest
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so that logging the
// context of a request does not reveal its token.
func (*requestContext) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("authkit.Context{" + redacted + "}"))
}

// principal returns the Principal of the request.
func (c *requestContext) principal() Principal {
	p := Principal{
		Kind: Person, UserID: c.user.ID, Email: c.user.Email, Roles: slices.Clone(c.user.Roles),
		Credential: bearerKind, TokenID: c.tokenID, SessionID: c.sessionID,
		IssuedAt: fromUnix(c.issued), ExpiresAt: fromUnix(c.expires),
		AuthTime: fromUnix(c.authTime), Methods: claims.MethodsOf(c.amr), payload: c.payload,
	}
	if c.guard != nil {
		p.table = c.guard.roles
	}
	if o := c.other; o != nil {
		p.Kind, p.Name, p.ActorID, p.Credential, p.TokenID, p.SessionID = Person, o.Service, o.ActorID, o.Kind, o.ID, o.SessionID
		p.IssuedAt, p.ExpiresAt, p.AuthTime, p.Methods = o.IssuedAt, o.ExpiresAt, o.AuthTime, slices.Clone(o.Methods)
		p.limited, p.limits = o.Limited, slices.Clone(o.Permissions)
		if o.Machine {
			p.Kind = Machine
		}
		if c.guard == nil {
			p.Kind, p.Credential = System, ""
		}
	}
	return p
}

// facts returns the facts that a policy decides by.
func (c *requestContext) facts() facts {
	f := facts{known: true, roles: c.user.Roles, table: c.guard.roles, authTime: c.authTime, amr: c.amr}
	if o := c.other; o != nil {
		f.machine, f.limited, f.limits, f.authTime, f.methods = o.Machine, o.Limited, o.Permissions, unix(o.AuthTime), o.Methods
	}
	return f
}

// actor returns the [Event].ActorID of the principal.
func (c *requestContext) actor() string {
	switch o := c.other; {
	case o == nil:
		return c.user.ID
	case c.guard == nil:
		return "system:" + o.Service
	case o.ActorID != "":
		return o.ActorID
	case o.Service != "":
		return "service:" + o.Service
	}
	return c.user.ID
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

// PrincipalFrom returns the principal that a guard stored in ctx. If guards are nested, it
// returns that of the innermost one that authenticates. It reports false if no guard did.
func PrincipalFrom(ctx context.Context) (Principal, bool) {
	if c := fromContext(ctx); c != nil {
		return c.principal(), true
	}
	return Principal{}, false
}

// UserFrom returns the account of the principal, as it was when the request came in. It
// reports false if [PrincipalFrom] does, if the principal has no account, and behind a
// [Guard] of [NewGuard], which has no accounts.
func UserFrom(ctx context.Context) (User, bool) {
	if c := fromContext(ctx); c != nil && c.guard != nil && c.guard.accounts && c.user.ID != "" {
		u := c.user
		u.Roles = slices.Clone(u.Roles) // a guard further in decides by the original
		return u, true
	}
	return User{}, false
}

// Principal is like [PrincipalFrom], but reports false for the principal of another Kit or
// [Guard], whose user IDs are those of other accounts. It also reports false for the
// principal of [WithSystem]. Features call it.
func (k *Kit) Principal(ctx context.Context) (Principal, bool) { return k.principal(ctx) }

// principal returns the principal that a guard of this Kit stored in ctx. One of another
// Kit or Guard is none: its user IDs mean other accounts (FR-05).
func (k *Kit) principal(ctx context.Context) (Principal, bool) {
	if c := fromContext(ctx); c != nil && c.guard == k.guard {
		return c.principal(), true
	}
	return Principal{}, false
}

// WithSystem returns a context whose principal is this program itself, under a
// name such as "import" or "cli:ann". Events name it as their actor. It
// replaces the principal that ctx has. A Kit lets this principal make every
// change. Of all policies only [Public] admits it, so it cannot be used to call
// a guarded handler.
//
// Use it in commands and jobs that change accounts without a request, and in handlers that
// have authorized a principal of another guard. A job makes a Kit with the stores and the
// role table of the server. Its key can be random if the job issues no tokens.
func WithSystem(ctx context.Context, name string) context.Context {
	return &requestContext{Context: ctx, other: &Credential{Service: name, Machine: true}}
}
