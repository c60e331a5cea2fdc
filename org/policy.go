package org

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

type membershipKey struct{}

// MembershipFrom returns the membership that a policy of [Orgs.Member] or
// [Orgs.Active] stored in ctx. Its Org has only the ID. It reports false if none
// did.
func MembershipFrom(ctx context.Context) (Membership, bool) {
	m, ok := ctx.Value(membershipKey{}).(Membership)
	return m, ok
}

// Member returns a policy for routes with {org} in the path, which is the ID of
// an organization. It admits members whose roles grant all of the permissions, as
// the store has them at the request. Handlers get the membership from
// [MembershipFrom].
//
// Others than members get 404, as for an organization that does not exist.
// Members without a permission get 403. To admit API keys of members too, add
// OrMachines. A credential that is limited to permissions passes as far as its
// limits contain those of the policy.
//
// Member panics if no role of [Config].Roles grants a permission. A route without
// {org} admits no one.
func (o *Orgs) Member(permissions ...string) authkit.Policy {
	return o.policy("member of {org}", permissions, func(r *http.Request, _ authkit.Principal) (string, error) {
		return r.PathValue("org"), nil
	})
}

// Active is like [Orgs.Member] for the organization that the session of the
// request has chosen with [Orgs.Switch]. Users who have chosen none get 404.
func (o *Orgs) Active(permissions ...string) authkit.Policy {
	return o.policy("member of the active organization", permissions, func(r *http.Request, p authkit.Principal) (string, error) {
		return o.store.Active(r.Context(), p.SessionID)
	})
}

func (o *Orgs) policy(name string, permissions []string, find func(*http.Request, authkit.Principal) (string, error)) authkit.Policy {
	known := o.permissions()
	for _, p := range permissions {
		if !slices.Contains(known, p) {
			panic(fmt.Sprintf("org: no role in Config.Roles grants the permission %q", p))
		}
	}
	permissions = slices.Clone(permissions)
	if len(permissions) > 0 {
		name += ": " + strings.Join(permissions, ", ")
	}
	return authkit.Authenticated().And(name, func(r *http.Request) (context.Context, error) {
		p, ok := o.kit.Principal(r.Context())
		if !ok || p.UserID == "" {
			return nil, authkit.ErrNotFound
		}
		orgID, err := find(r, p)
		if err != nil {
			return nil, err
		}
		m, err := o.store.Member(r.Context(), orgID, p.UserID)
		if err != nil {
			return nil, err
		}
		for _, permission := range permissions {
			if !o.holds(m.Roles, permission) || !p.WithinLimits(permission) {
				return nil, authkit.ErrForbidden
			}
		}
		return context.WithValue(r.Context(), membershipKey{}, Membership{Org: Org{ID: orgID}, Roles: m.Roles, JoinedAt: m.JoinedAt}), nil
	})
}

// Switch chooses the active organization of the session of ctx, for
// [Orgs.Active]. The choice lasts as long as the session, and on all instances.
//
// The errors are:
//   - ErrNotFound if the user is not a member.
//   - ErrSessionNotFound if the request has no session.
//   - ErrForbidden, ErrUnavailable, or the error of ctx.
func (o *Orgs) Switch(ctx context.Context, orgID string) (Membership, error) {
	userID, err := o.user(ctx)
	if err != nil {
		return Membership{}, err
	}
	p, _ := authkit.PrincipalFrom(ctx)
	if p.SessionID == "" {
		return Membership{}, authkit.ErrSessionNotFound
	}
	m, err := o.store.Member(ctx, orgID, userID)
	if err != nil {
		return Membership{}, err
	}
	target, _, err := o.store.Org(ctx, orgID)
	if err != nil {
		return Membership{}, err
	}
	life := cmp.Or(o.kit.Settings().Sessions.AbsoluteTimeout, 400*24*time.Hour)
	if err := o.store.SetActive(ctx, p.SessionID, orgID, now().Add(life)); err != nil {
		return Membership{}, err
	}
	return Membership{Org: target, Roles: m.Roles, JoinedAt: m.JoinedAt, Active: true}, nil
}

// UserData returns the memberships of users, for [authkit.Config].UserData. When
// an account is deleted, its memberships end. An organization of which it is the
// only member is deleted too.
//
// If the user is the last owner of an organization with other members,
// [authkit.Kit.DeleteUser] returns ErrLastOwner: make another member an owner
// first, or delete the organization. If accounts and sessions are in different
// stores, the account is disabled by then.
func UserData(s Store) authkit.UserData { return userData{s} }

type userData struct{ store Store }

// userDataTimeout limits a call of a Kit, with all calls of the store (FR-11).
const userDataTimeout = 5 * time.Second

// Name implements [authkit.UserData].
func (userData) Name() string { return "organizations" }

// Wipe implements [authkit.UserData]. Memberships are no credentials.
func (d userData) Wipe(ctx context.Context, userID string, what authkit.Wipe) error {
	if what != authkit.WipeAll {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, userDataTimeout)
	defer cancel()
	list, err := d.store.Memberships(ctx, userID)
	if err != nil {
		return err
	}
	for _, m := range list {
		if err := d.leave(ctx, m, userID); err != nil && !errors.Is(err, authkit.ErrNotFound) {
			return err
		}
	}
	return nil
}

// leave ends a membership.
func (d userData) leave(ctx context.Context, m Membership, userID string) error {
	for try := 1; ; try++ {
		_, version, err := d.store.Org(ctx, m.Org.ID)
		if err != nil {
			return err
		}
		c := Change{RemoveMember: userID}
		other, err := d.store.HasOtherOwner(ctx, m.Org.ID, userID)
		if err != nil {
			return err
		}
		if !other {
			current, err := d.store.Member(ctx, m.Org.ID, userID)
			if err != nil {
				return err
			}
			members, err := d.store.Members(ctx, m.Org.ID, "", 2)
			switch {
			case err != nil:
				return err
			case !slices.Contains(current.Roles, Owner): // the only other owner is being deleted too
			case len(members) > 1:
				return authkit.ErrLastOwner
			default:
				c = Change{Delete: true}
			}
		}
		if err := d.store.Apply(ctx, m.Org.ID, version, c); !errors.Is(err, ErrConflict) || try == tries {
			return err
		}
	}
}

// Export implements [authkit.UserData].
func (d userData) Export(ctx context.Context, userID string) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, userDataTimeout)
	defer cancel()
	list, err := d.store.Memberships(ctx, userID)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list, nil
}
