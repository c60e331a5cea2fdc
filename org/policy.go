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

// activeKey is the context key of the organization that [Orgs.Active] has found.
type activeKey struct{ orgs *Orgs }

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
// Users who are not members get 404, as for an organization that does not exist.
// Members without a permission get 403. To admit API keys of members too, add
// OrMachines. A credential that is limited to permissions passes if its limits
// contain all permissions of the policy.
//
// Member panics if no role of [Config].Roles grants a permission. On a route
// without {org} it refuses all requests.
func (o *Orgs) Member(permissions ...string) authkit.Policy {
	return o.policy("member of {org}", permissions, func(r *http.Request, _ authkit.Principal) (context.Context, string, error) {
		return r.Context(), r.PathValue("org"), nil
	})
}

// Active is like [Orgs.Member] for the organization that the session of the
// request has chosen with [Orgs.Switch]. Users who have chosen none get 404.
// [authkit.Kit.Watch] ends a stream if the session chooses another one.
func (o *Orgs) Active(permissions ...string) authkit.Policy {
	return o.policy("member of the active organization", permissions, func(r *http.Request, p authkit.Principal) (context.Context, string, error) {
		ctx := r.Context()
		orgID, err := o.store.Active(ctx, p.SessionID)
		if before, ok := ctx.Value(activeKey{o}).(string); ok && before != orgID && err == nil {
			err = authkit.ErrNotFound
		}
		return context.WithValue(ctx, activeKey{o}, orgID), orgID, err
	})
}

func (o *Orgs) policy(name string, permissions []string, find func(*http.Request, authkit.Principal) (context.Context, string, error)) authkit.Policy {
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
		p, _ := o.kit.Principal(r.Context())
		if p.UserID == "" {
			return nil, authkit.ErrNotFound
		}
		ctx, orgID, err := find(r, p)
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
		return context.WithValue(ctx, membershipKey{}, Membership{Org: Org{ID: orgID}, Roles: m.Roles, JoinedAt: m.JoinedAt}), nil
	})
}

// permissions returns the permissions that some role grants, and ManageMembers.
func (o *Orgs) permissions() []string {
	all := []string{ManageMembers}
	for _, list := range o.roles {
		all = append(all, list...)
	}
	return all
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
// stores, DeleteUser has disabled the account before.
func UserData(s Store) authkit.UserData { return userData{s} }

type userData struct{ store Store }

// timed returns the store with a deadline for each call.
func (d userData) timed() Store { return checked{d.store, storeTimeout, nil} }

// Name implements [authkit.UserData].
func (userData) Name() string { return "organizations" }

// Wipe implements [authkit.UserData]. Memberships are no credentials.
func (d userData) Wipe(ctx context.Context, userID string, what authkit.Wipe) error {
	if what != authkit.WipeAll {
		return nil
	}
	s := d.timed()
	list, err := s.Memberships(ctx, userID)
	if err != nil {
		return err
	}
	for _, m := range list {
		if err := leave(ctx, s, m, userID); err != nil && !errors.Is(err, authkit.ErrNotFound) {
			return err
		}
	}
	return nil
}

// leave ends a membership.
func leave(ctx context.Context, s Store, m Membership, userID string) error {
	for try := 1; ; try++ {
		_, version, err := s.Org(ctx, m.Org.ID)
		if err != nil {
			return err
		}
		c := Change{RemoveMember: userID}
		other, err := s.HasOtherOwner(ctx, m.Org.ID, userID)
		if err != nil {
			return err
		}
		if !other {
			current, err := s.Member(ctx, m.Org.ID, userID)
			if err != nil {
				return err
			}
			members, err := s.Members(ctx, m.Org.ID, "", 2)
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
		if err := s.Apply(ctx, m.Org.ID, version, c); !errors.Is(err, ErrConflict) || try == tries {
			return err
		}
	}
}

// Export implements [authkit.UserData].
func (d userData) Export(ctx context.Context, userID string) (any, error) {
	list, err := d.timed().Memberships(ctx, userID)
	if len(list) == 0 {
		return nil, err
	}
	return list, err
}
