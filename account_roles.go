package authkit

import (
	"context"
	"errors"
	"slices"
	"strconv"
)

// SetRoles replaces the roles of an account.
//
// If ctx has a principal, that principal can grant the roles that it holds itself, and
// every role if it holds [Config].AdminRole. It cannot grant roles if its credential is
// limited to permissions, if it impersonates the user, or if another Kit or [Guard]
// authenticated it. The program itself, without a principal or by [WithSystem], can grant
// every role. The policy of the route decides who may take roles away.
//
// The errors are:
//   - A *ValidationError if a role is there twice, or if a new role is malformed or not in
//     [Config].Roles.
//   - ErrForbidden if the principal may not grant a new role.
//   - ErrLastAdmin if no enabled account would have [Config].AdminRole any more.
//   - ErrUserNotFound if there is no such account.
//   - ErrConflict if the account keeps changing.
//   - ErrUnavailable, or the error of ctx.
func (k *Kit) SetRoles(ctx context.Context, userID string, roles ...string) (User, error) {
	return k.changeRoles(ctx, userID, func([]string) []string { return roles })
}

// AddRole adds a role to an account. If the account has the role, nothing changes. The
// errors are those of [Kit.SetRoles].
func (k *Kit) AddRole(ctx context.Context, userID, role string) (User, error) {
	return k.changeRoles(ctx, userID, func(roles []string) []string {
		if slices.Contains(roles, role) {
			return roles
		}
		return append(slices.Clone(roles), role)
	})
}

// RemoveRole removes a role from an account. If the account does not have the role,
// nothing changes. The errors are those of [Kit.SetRoles].
func (k *Kit) RemoveRole(ctx context.Context, userID, role string) (User, error) {
	return k.changeRoles(ctx, userID, func(roles []string) []string {
		return slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == role })
	})
}

// changeRoles replaces the roles of an account by a function of them.
func (k *Kit) changeRoles(ctx context.Context, userID string, change func([]string) []string) (User, error) {
	if err := k.mayManage(ctx); err != nil {
		return User{}, err
	}
	return k.retry(ctx, userID, func(u *StoredUser) (User, error) {
		roles := append([]string{}, change(u.Roles)...)
		if slices.Equal(roles, u.Roles) {
			return u.User, nil
		}
		if rule := k.rolesRule(roles, u.Roles); rule != "" {
			return User{}, &ValidationError{[]FieldError{{"roles", rule}}}
		}
		if err := k.mayGrant(ctx, without(roles, u.Roles)); err != nil {
			return User{}, err
		}
		update := UserUpdate{Roles: &roles, IfVersion: u.Version}
		if !slices.Contains(roles, k.adminRole) {
			update.KeepRole = k.keeps(&u.User)
		}
		return k.update(ctx, userID, update, EventRolesChanged)
	})
}

// retry reads an account and calls f to change it. It does so again if the account was
// changed between the two, so that no change is lost.
func (k *Kit) retry(ctx context.Context, userID string, f func(*StoredUser) (User, error)) (User, error) {
	const tries = 32
	for try := 1; ; try++ {
		u, err := k.stored(ctx, userID)
		if err != nil {
			return User{}, err
		}
		changed, err := f(&u)
		if _, foreign := errors.AsType[*callbackError](err); foreign || !errors.Is(err, ErrConflict) || try == tries {
			return changed, err
		}
	}
}

// without returns the roles that are not among others.
func without(roles, others []string) []string {
	return slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return slices.Contains(others, r) })
}

// rolesRule returns the rule that the roles of an account break, or "". A role that the
// account has already may have left the role table.
func (k *Kit) rolesRule(roles, held []string) string {
	if len(roles) > maxRoles {
		return "must be at most " + strconv.Itoa(maxRoles)
	}
	for i, role := range roles {
		if !k.roles.knows(role) && !slices.Contains(held, role) || slices.Contains(roles[:i], role) {
			return "must be roles of this service, each once"
		}
	}
	return ""
}

// keeps returns the role that another account must have if this one loses it, or "".
func (k *Kit) keeps(u *User) string {
	if u.holds(k.adminRole) {
		return k.adminRole
	}
	return ""
}

// mayAct returns ErrForbidden if another Kit or Guard authenticated the principal of ctx:
// its user IDs are those of other accounts (FR-05).
func (k *Kit) mayAct(ctx context.Context) error {
	if c := fromContext(ctx); c != nil && c.guard != nil && c.guard != k.guard {
		return k.forbid(ctx, "", ReasonMissingRole)
	}
	return nil
}

// mayManage returns ErrForbidden if the principal of ctx impersonates a user, or as mayAct
// does. It protects whatever decides who can log in, or as what (AP-02).
func (k *Kit) mayManage(ctx context.Context) error {
	if err := k.mayAct(ctx); err != nil {
		return err
	}
	if c := fromContext(ctx); c != nil && c.other != nil && c.other.ActorID != "" {
		return k.forbid(ctx, c.user.ID, ReasonMissingRole)
	}
	return nil
}

// mayGrant returns ErrForbidden if the principal of ctx may not grant the roles.
func (k *Kit) mayGrant(ctx context.Context, roles []string) error {
	if err := k.mayAct(ctx); err != nil {
		return err
	}
	c := fromContext(ctx)
	if c == nil || c.guard == nil || len(roles) == 0 {
		return nil
	}
	if c.other != nil && (c.other.Limited || c.other.ActorID != "") {
		return k.forbid(ctx, c.user.ID, ReasonMissingRole)
	}
	if !slices.Contains(c.user.Roles, k.adminRole) && len(without(roles, c.user.Roles)) > 0 {
		return k.forbid(ctx, c.user.ID, ReasonMissingRole)
	}
	return nil
}

// mayControl returns ErrForbidden if the principal of ctx may not set how a user logs in:
// the password or the e-mail address. Afterwards it could log in as the user, so it must be
// able to grant the roles of the account. A credential of a user that is not a login of
// that user, such as an API key, sets neither for any account (AK-03).
func (k *Kit) mayControl(ctx context.Context, u *User) error {
	if err := k.mayAct(ctx); err != nil {
		return err
	}
	c := fromContext(ctx)
	if c != nil && c.user.ID != "" && !c.isLogin() {
		return k.forbid(ctx, c.user.ID, ReasonMachine)
	}
	if c != nil && c.other != nil && c.other.Limited {
		return k.forbid(ctx, c.user.ID, ReasonMissingRole)
	}
	return k.mayGrant(ctx, u.Roles)
}

// mayProve returns ErrForbidden if the principal of ctx is another one than the user, or
// not a login of the user (AK-03).
func (k *Kit) mayProve(ctx context.Context, userID string) error {
	if err := k.mayAct(ctx); err != nil {
		return err
	}
	switch c := fromContext(ctx); {
	case c == nil || c.guard == nil:
		return nil
	case !c.isLogin():
		return k.forbid(ctx, c.user.ID, ReasonMachine)
	case c.user.ID != userID:
		return k.forbid(ctx, c.user.ID, ReasonMissingRole)
	}
	return nil
}

// RequireSelf returns ErrForbidden if ctx has a principal that is not a login
// of the user. Examples are another user, an API key, a credential that is
// limited to permissions, and an administrator who impersonates the user. It
// returns nil if ctx has no principal, because your program acts then.
//
// Features call it before users change how they log in.
func (k *Kit) RequireSelf(ctx context.Context, userID string) error { return k.mayProve(ctx, userID) }

// isLogin reports whether the principal of a guard is a user who has logged in, without
// limits. A service, which is a machine, and an impersonated user have not.
func (c *requestContext) isLogin() bool {
	return c.other == nil || !c.other.Machine && !c.other.Limited && c.other.ActorID == ""
}

// forbid emits the event of a refused change, and returns ErrForbidden.
func (k *Kit) forbid(ctx context.Context, userID string, reason Reason) error {
	k.emit(ctx, Event{Kind: EventAccessDenied, UserID: userID, Reason: reason})
	return ErrForbidden
}
