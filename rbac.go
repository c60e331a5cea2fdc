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

// A Policy decides who may use a route. The zero Policy decides nothing: [Mux] refuses it,
// and it admits no one. A Policy does not change: its methods return a new one.
//
// Policies admit persons: users who have logged in. Machine credentials, such as API keys,
// are admitted only by a policy with [Policy.OrMachines].
type Policy struct {
	kind     policyKind
	names    []string // roles or permissions
	machines bool
	maxAge   time.Duration
	methods  []string
	checks   []policyCheck // of And
}

// A policyCheck is a condition of [Policy.And].
type policyCheck struct {
	name string // in the access matrix
	ok   func(r *http.Request) (context.Context, error)
}

type policyKind uint8

const (
	policyNone policyKind = iota
	policyPublic
	policyAuthenticated
	policyRoles
	policyAnyRole
	policyPermissions
)

// Public admits every request, with or without credentials, and does not authenticate it.
// A handler that uses credentials if there are any calls [Kit.Identify].
func Public() Policy { return Policy{kind: policyPublic} }

// Authenticated admits every enabled user.
func Authenticated() Policy { return Policy{kind: policyAuthenticated} }

// Roles admits users that have all of the roles. The compiler checks that there is at
// least one. [Mux.Handle] and [Guard.Require] check that each is in the role table.
func Roles(role string, more ...string) Policy { return newPolicy(policyRoles, role, more) }

// AnyRole admits users that have at least one of the roles.
func AnyRole(role string, more ...string) Policy { return newPolicy(policyAnyRole, role, more) }

// Permissions admits users whose roles grant all of the permissions, by the role table
// [Config].Roles.
func Permissions(permission string, more ...string) Policy {
	return newPolicy(policyPermissions, permission, more)
}

func newPolicy(kind policyKind, name string, more []string) Policy {
	return Policy{kind: kind, names: append([]string{name}, more...)}
}

// OrMachines returns a policy that also admits machine credentials, such as API keys, under
// the same condition. A credential with limited permissions passes Permissions, as far as
// its limit reaches, and Authenticated; it passes no policy of roles.
func (p Policy) OrMachines() Policy {
	p.machines = true
	return p
}

// Fresh returns a policy that also requires the login to be at most maxAge old, by the
// [Principal].AuthTime. A refresh does not count, nor does [Kit.VerifyPassword]. Guards
// refuse other requests with 401 and the challenge of RFC 9470, by which the client knows
// that the user must log in again. A browser with a session cookie is redirected to
// [SessionCookieConfig].LoginPath. Machine credentials never pass. [Mux.Handle] and [Guard.Require] panic unless maxAge is a positive number of
// whole seconds.
func (p Policy) Fresh(maxAge time.Duration) Policy {
	if p.maxAge = maxAge; maxAge == 0 {
		p.maxAge = -1 // refused by validate, and not treated as any age
	}
	return p
}

// Using returns a policy that also requires the login to have used all of the
// methods, by the [Principal].Methods: names of RFC 8176, such as "otp" or
// "mfa". Guards refuse other requests as described at [Policy.Fresh]. Users who
// have not enrolled the factor never pass, so direct them to a page where they
// can. Machine credentials never pass.
func (p Policy) Using(method string, more ...string) Policy {
	p.methods = append(append(slices.Clone(p.methods), method), more...)
	return p
}

// And returns a policy that also requires a function of your program or of a feature
// to admit the request, such as one that looks up a membership. The function is called
// after all other conditions, and the request carries the principal. It returns the
// context for the handler, which it derives from that of the request. The access matrix
// shows the name.
//
// If the function returns an error, the guard refuses the request with the response of
// [ProblemFor]. Use ErrForbidden, or ErrNotFound if the principal must not learn whether
// the object exists. The function must be safe for concurrent use.
func (p Policy) And(name string, check func(r *http.Request) (context.Context, error)) Policy {
	p.checks = append(slices.Clone(p.checks), policyCheck{name, check})
	return p
}

// String returns the policy as an access matrix shows it, such as "roles: admin, auditor;
// fresh: 5m0s; using: otp".
func (p Policy) String() string {
	text := [...]string{"none", "public", "authenticated", "roles", "any role", "permissions"}[p.kind]
	if len(p.names) > 0 {
		text += ": " + strings.Join(p.names, ", ")
	}
	if p.maxAge != 0 {
		text += "; fresh: " + p.maxAge.String()
	}
	if len(p.methods) > 0 {
		text += "; using: " + strings.Join(p.methods, ", ")
	}
	for _, c := range p.checks {
		text += "; and: " + c.name
	}
	if p.machines {
		text += "; or machines"
	}
	return text
}

// Check returns nil if the principal may pass. Otherwise it returns
// ErrNoCredentials for the zero Principal, a [*StepUpError] if the user must
// authenticate again, or ErrForbidden. The middleware of this package calls it.
// Names of roles are compared exactly. A principal has permissions only if a
// guard made it, by the role table of that guard. The principal of [WithSystem]
// passes no policy except Public. Without a request Check cannot decide the conditions of
// [Policy.And], so it returns ErrForbidden for a policy with any.
func (p Policy) Check(who Principal) error {
	if len(p.checks) > 0 && who.known() {
		return ErrForbidden
	}
	if who.Kind == System && p.kind != policyPublic {
		return errMachine
	}
	return p.check(&facts{
		known: who.known(), machine: who.Kind == Machine, roles: who.Roles, table: who.table,
		limited: who.limited, limits: who.limits, authTime: unix(who.AuthTime), methods: who.Methods,
	})
}

// facts are the inputs of a policy's decision.
type facts struct {
	known, machine bool
	roles          []string
	table          roleTable
	limited        bool
	limits         []string // permissions
	authTime       int64
	methods        []string
	amr            string // methods, as in the token, if they are not decoded yet
}

// grants reports whether the roles grant a permission, within the limits.
func (f *facts) grants(permission string) bool {
	return (!f.limited || slices.Contains(f.limits, permission)) && f.table.grants(f.roles, permission)
}

func (p *Policy) check(who *facts) error {
	if p.kind == policyPublic {
		return nil
	}
	if !who.known {
		return ErrNoCredentials
	}
	if who.machine && (!p.machines || p.maxAge != 0 || len(p.methods) > 0) {
		return errMachine
	}
	allowed := false
	switch p.kind {
	case policyAuthenticated:
		allowed = true
	case policyRoles:
		allowed = !who.limited && !slices.ContainsFunc(p.names, func(role string) bool { return !slices.Contains(who.roles, role) })
	case policyAnyRole:
		allowed = !who.limited && slices.ContainsFunc(p.names, func(role string) bool { return slices.Contains(who.roles, role) })
	case policyPermissions:
		allowed = !slices.ContainsFunc(p.names, func(permission string) bool { return !who.grants(permission) })
	}
	if !allowed {
		return ErrForbidden
	}
	return p.checkLogin(who)
}

// checkLogin returns a *StepUpError if the login of a user is too old or too weak.
func (p *Policy) checkLogin(who *facts) error {
	if p.maxAge == 0 && len(p.methods) == 0 {
		return nil
	}
	fresh := p.maxAge == 0 || who.authTime != 0 && time.Now().Unix()-who.authTime <= int64(p.maxAge/time.Second)
	methods := who.methods
	if methods == nil {
		methods = claims.MethodsOf(who.amr)
	}
	if fresh && !slices.ContainsFunc(p.methods, func(m string) bool { return !slices.Contains(methods, m) }) {
		return nil
	}
	return &StepUpError{MaxAge: p.maxAge, Methods: slices.Clone(p.methods)}
}

// errMachine is the ErrForbidden of a machine credential on a route for persons.
var errMachine = &authError{ErrForbidden, ReasonMachine, nil}

// A StepUpError is returned for a principal that must authenticate again: more recently, or
// by further methods. See [Policy.Fresh] and [Policy.Using].
type StepUpError struct {
	MaxAge  time.Duration // zero: any
	Methods []string      // all that are required, those that were used included
}

// Error returns a fixed text.
func (*StepUpError) Error() string { return "authkit: a more recent or stronger login is required" }

// challenge returns the WWW-Authenticate value of RFC 9470 section 3. The methods are given
// as acr_values.
func (e *StepUpError) challenge() string {
	text := `Bearer error="insufficient_user_authentication", error_description="A more recent or stronger login is required"`
	if e.MaxAge > 0 {
		text += fmt.Sprintf(`, max_age="%d"`, int64(e.MaxAge/time.Second))
	}
	if len(e.Methods) > 0 {
		text += fmt.Sprintf(`, acr_values="%s"`, strings.Join(e.Methods, " "))
	}
	return text
}

// A roleTable maps roles to the permissions they grant. A nil table knows every
// well-formed role, and no permission.
type roleTable map[string][]string

// newRoleTable copies and checks the table of a Config.
func newRoleTable(roles map[string][]string) (roleTable, error) {
	if roles == nil {
		return nil, nil
	}
	var errs []error
	table := make(roleTable, len(roles))
	for role, permissions := range roles {
		if !validRole(role) {
			errs = append(errs, fmt.Errorf("the role %q: %s", role, roleRule))
		}
		for _, p := range permissions {
			if !validRole(p) {
				errs = append(errs, fmt.Errorf("the permission %q: %s", p, roleRule))
			}
		}
		table[role] = slices.Clone(permissions)
	}
	return table, errors.Join(errs...)
}

const (
	maxRoles   = 64 // of a user
	maxRoleLen = 64
	roleRule   = "use 1 to 64 of A-Z, a-z, 0-9, colon, dot, hyphen, underscore"
)

// validRole reports whether a name can be that of a role or a permission. Names are compared
// byte by byte: "admin" and "Admin" are two roles, as for the providers that write them.
func validRole(s string) bool {
	if s == "" || len(s) > maxRoleLen {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != ':' && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// knows reports whether a user can have the role.
func (t roleTable) knows(role string) bool {
	if t == nil {
		return validRole(role)
	}
	_, ok := t[role]
	return ok
}

// grants reports whether one of the roles grants the permission.
func (t roleTable) grants(roles []string, permission string) bool {
	for _, role := range roles {
		if slices.Contains(t[role], permission) {
			return true
		}
	}
	return false
}

// validate returns why a policy can never be met under the table, or nil.
func (t roleTable) validate(p Policy) error {
	if p.maxAge < 0 || p.maxAge%time.Second != 0 {
		return errors.New("Fresh takes a positive number of whole seconds")
	}
	for _, m := range p.methods {
		if !validRole(m) {
			return fmt.Errorf("Using(%q): %s", m, roleRule)
		}
	}
	for _, c := range p.checks {
		if c.name == "" || c.ok == nil {
			return errors.New("And takes a name for the access matrix and a function")
		}
	}
	if p.kind == policyPublic && (p.machines || p.maxAge != 0 || p.methods != nil || p.checks != nil) {
		return errors.New("Public() admits every request; it takes no further condition")
	}
	if p.machines && (p.maxAge != 0 || p.methods != nil) {
		return errors.New("OrMachines() with Fresh or Using: a machine credential never passes those; use two routes")
	}
	if p.kind == policyNone {
		return errors.New("the zero Policy: say Public(), Authenticated(), Roles(...), AnyRole(...) or Permissions(...)")
	}
	for _, name := range p.names {
		if p.kind != policyPermissions {
			if !t.knows(name) {
				return fmt.Errorf("the role %q is not in Config.Roles, or is not well-formed: %s", name, roleRule)
			}
			continue
		}
		granted := false
		for _, permissions := range t {
			granted = granted || slices.Contains(permissions, name)
		}
		if !granted {
			return fmt.Errorf("no role in Config.Roles grants the permission %q", name)
		}
	}
	return nil
}
