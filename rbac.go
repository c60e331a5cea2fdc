package authkit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Policy says who may use a route. The zero Policy is no decision: [Mux] refuses
// it, and it lets nobody in. A Policy does not change once it is made.
type Policy struct {
	kind  policyKind
	names []string // roles or permissions
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

// Public lets everybody in, with or without a token; the request is not
// authenticated. A handler that wants to know who asks, if anybody, calls
// [Kit.Identify].
func Public() Policy { return Policy{kind: policyPublic} }

// Authenticated lets every enabled user in.
func Authenticated() Policy { return Policy{kind: policyAuthenticated} }

// Roles lets in users that have all of the roles. That at least one is named is
// checked by the compiler; that each is in the role table, when the route or the
// guard is made.
func Roles(role string, more ...string) Policy { return newPolicy(policyRoles, role, more) }

// AnyRole lets in users that have at least one of the roles.
func AnyRole(role string, more ...string) Policy { return newPolicy(policyAnyRole, role, more) }

// Permissions lets in users whose roles grant all of the permissions, by the role
// table [Config].Roles.
func Permissions(permission string, more ...string) Policy {
	return newPolicy(policyPermissions, permission, more)
}

func newPolicy(kind policyKind, name string, more []string) Policy {
	return Policy{kind: kind, names: append([]string{name}, more...)}
}

// String returns the policy as an access matrix shows it, such as "roles: admin,
// auditor".
func (p Policy) String() string {
	word := [...]string{"none", "public", "authenticated", "roles", "any role", "permissions"}[p.kind]
	if len(p.names) == 0 {
		return word
	}
	return word + ": " + strings.Join(p.names, ", ")
}

// Check returns nil if the principal may pass, ErrNoCredentials for the zero
// Principal where somebody is asked for, and ErrForbidden otherwise. It is the
// decision behind the middleware. Roles compare exactly. Permissions are those of the
// Kit that made the principal: one made by hand has none.
func (p Policy) Check(who Principal) error { return p.check(who.UserID, who.Roles, who.table) }

func (p Policy) check(userID string, roles []string, table roleTable) error {
	if p.kind == policyPublic {
		return nil
	}
	if userID == "" {
		return ErrNoCredentials
	}
	allowed := false
	switch p.kind {
	case policyAuthenticated:
		allowed = true
	case policyRoles:
		allowed = !slices.ContainsFunc(p.names, func(role string) bool { return !slices.Contains(roles, role) })
	case policyAnyRole:
		allowed = slices.ContainsFunc(p.names, func(role string) bool { return slices.Contains(roles, role) })
	case policyPermissions:
		allowed = !slices.ContainsFunc(p.names, func(permission string) bool { return !table.grants(roles, permission) })
	}
	if !allowed {
		return ErrForbidden
	}
	return nil
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
	roleRule   = "use 1 to 64 of a-z, 0-9, colon, hyphen, underscore"
)

// validRole reports whether a name can be that of a role or a permission. One
// spelling per role: names that differ in case or in a space are a trap.
func validRole(s string) bool {
	if s == "" || len(s) > maxRoleLen {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == ':' || c == '_' || c == '-') {
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
