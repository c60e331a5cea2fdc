package contract

import (
	"context"
	"net/http"
	"strings"
	"sync"
)

// orgAttacks cross the borders of organizations and of their roles.
var orgAttacks = []Attack{
	{ID: "org.anonymous", Text: "A request without credentials uses the routes of an organization.", Requirement: "OR-04", Source: "ASVS 8.2.1", Severity: Critical, needs: needOrgs,
		run: everyOrgRoute(isGuarded, func(context.Context, *probe, team) ([]person, error) { return []person{{}}, nil })},
	{ID: "org.stranger", Text: "A user who is not a member, or owns another organization, uses the routes of an organization.", Requirement: "OR-04", Source: "ASVS 8.2.2, 8.4.1", Severity: Critical, needs: needOrgs,
		run: everyOrgRoute(isGuarded, func(ctx context.Context, p *probe, _ team) ([]person, error) { return p.strangers(ctx) })},
	{ID: "org.member", Text: "A member uses the routes for owners.", Requirement: "OR-04", Source: "ASVS 8.2.1", Severity: High, needs: needOrgs,
		run: everyOrgRoute(isForAdmin, func(_ context.Context, _ *probe, t team) ([]person, error) { return []person{t.member}, nil })},
	{ID: "org.global-role", Text: "The owner of an organization uses a route for administrators of the service.", Requirement: "OR-04", Source: "ASVS 8.2.1, 8.4.1", Severity: Critical, needs: needOrgs | needAdminRoute,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			return everyRoute(isForAdmin, func(ctx context.Context, p *probe, r Route) error {
				return p.refuse(ctx, p.request(r, t.owner.token))
			})(ctx, p)
		})},
	{ID: "org.revealed", Text: "The response to a user who is not a member tells whether an organization exists.", Requirement: "OR-04", Source: "ASVS 8.4.1; CWE-204", Severity: Low, needs: needOrgs,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			stranger, err := p.person(ctx)
			if err != nil {
				return err
			}
			unknown := team{id: otherID(t.id)}
			for _, r := range p.Orgs.Routes {
				if r.Method != http.MethodGet || r.Access == Public {
					continue
				}
				var bodies [3]string
				var status [3]int
				for i, of := range []team{t, unknown, unknown} {
					a, err := p.send(ctx, p.of(r, of, stranger, nil))
					if err != nil {
						return err
					}
					status[i], bodies[i] = a.status, strings.ReplaceAll(a.body, of.id, "")
				}
				if status[0] != status[1] {
					return succeeded("the status is %d for an organization, and %d for an unknown one", status[0], status[1])
				}
				if !alike(bodies[0], bodies[1], bodies[2]) {
					return succeeded("the bodies differ")
				}
			}
			return nil
		})},
	{ID: "org.stranger-manages", Text: "The owner of another organization changes or removes a member.", Requirement: "OR-04", Source: "ASVS 8.2.2, 8.4.1", Severity: Critical, needs: needOrgs | needSetRole | needRemove,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			other, err := p.team(ctx)
			if err != nil {
				return err
			}
			for _, role := range []string{p.Orgs.Owner, p.Orgs.Member} {
				if err := p.denied(ctx, p.Orgs.SetRole, t, other.owner, "user", t.member.user, "role", role); err != nil {
					return err
				}
			}
			if err := p.denied(ctx, p.Orgs.Remove, t, other.owner, "user", t.member.user); err != nil {
				return err
			}
			// In the path of the own organization, the effect counts: to remove a
			// user who is not there can be a success.
			if _, err := p.setRole(ctx, other, other.owner, t.member, p.Orgs.Owner); err != nil {
				return err
			}
			if err := p.deniedAll(ctx, AdminOnly, t, t.member); err != nil && !isInapplicable(err) {
				return err
			}
			if _, err := p.send(ctx, p.of(p.Orgs.Remove, other, other.owner, []string{"user", t.member.user})); err != nil {
				return err
			}
			still, err := p.belongs(ctx, t, t.member)
			if err != nil {
				return err
			}
			if !still {
				return succeeded("the member was removed by the owner of another organization")
			}
			if err := p.allowed(ctx, p.Orgs.SetRole, t, t.owner, []string{"user", t.member.user, "role", p.Orgs.Owner}); err != nil {
				return err
			}
			return p.remove(ctx, t, t.owner, t.member)
		})},
	{ID: "org.promotion", Text: "A member gives itself another role.", Requirement: "OR-02", Source: "ASVS 8.2.1, 8.3.1", Severity: High, needs: needOrgs | needSetRole,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			for _, role := range []string{p.Orgs.Owner, p.Orgs.Manager} {
				if role == "" {
					continue
				}
				if err := p.denied(ctx, p.Orgs.SetRole, t, t.member, "user", t.member.user, "role", role); err != nil {
					return err
				}
			}
			return p.allowed(ctx, p.Orgs.SetRole, t, t.owner, []string{"user", t.member.user, "role", p.Orgs.Owner})
		})},
	{ID: "org.manager", Text: "A manager makes itself an owner, or changes or removes the owner.", Requirement: "OR-02", Source: "ASVS 8.2.1, 8.3.1", Severity: High, needs: needOrgs | needSetRole | needRemove | needManager,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			second, err := p.join(ctx, t.id, p.Orgs.Owner) // so that no owner is the last one
			if err != nil {
				return err
			}
			for _, who := range []person{t.manager, t.member} {
				if err := p.denied(ctx, p.Orgs.SetRole, t, t.manager, "user", who.user, "role", p.Orgs.Owner); err != nil {
					return err
				}
			}
			if err := p.denied(ctx, p.Orgs.SetRole, t, t.manager, "user", t.owner.user, "role", p.Orgs.Member); err != nil {
				return err
			}
			if err := p.denied(ctx, p.Orgs.Remove, t, t.manager, "user", t.owner.user); err != nil {
				return err
			}
			return p.remove(ctx, t, second, t.owner)
		})},
	{ID: "org.last-owner", Text: "The last owner leaves the organization, or gives up the role.", Requirement: "OR-05", Source: "CWE-840", Severity: Medium, needs: needOrgs | needSetRole | needRemove,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			if err := p.denied(ctx, p.Orgs.SetRole, t, t.owner, "user", t.owner.user, "role", p.Orgs.Member); err != nil {
				return err
			}
			if err := p.denied(ctx, p.Orgs.Remove, t, t.owner, "user", t.owner.user); err != nil {
				return err
			}
			if _, err := p.join(ctx, t.id, p.Orgs.Owner); err != nil {
				return err
			}
			return p.remove(ctx, t, t.owner, t.owner)
		})},
	{ID: "org.last-owner-race", Text: "The last two owners leave the organization at once.", Requirement: "OR-05", Source: "ASVS 15.4.2", Severity: Low, needs: needOrgs | needRemove,
		run: func(ctx context.Context, p *probe) error {
			for range 5 {
				t, err := p.team(ctx)
				if err != nil {
					return err
				}
				second, err := p.join(ctx, t.id, p.Orgs.Owner)
				if err != nil {
					return err
				}
				owners := []person{t.owner, second}
				var group sync.WaitGroup
				for _, who := range owners {
					m := p.of(p.Orgs.Remove, t, who, []string{"user", who.user})
					group.Go(func() { p.fire(ctx, m) })
				}
				group.Wait()
				p.requests += len(owners)
				left := 0
				for _, who := range owners {
					owns, err := p.belongs(ctx, t, who)
					if err != nil {
						return err
					}
					if owns {
						left++
					}
				}
				switch left {
				case 0:
					return succeeded("the organization has no owner")
				case 2:
					if err := p.remove(ctx, t, t.owner, t.owner); err != nil {
						return err
					}
				}
			}
			return nil
		}},
	{ID: "org.removed", Text: "A member that was removed uses the routes of the organization with the old token.", Requirement: "OR-06", Source: "ASVS 8.3.2, 7.4.2", Severity: High, needs: needOrgs | needRemove,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			if err := p.remove(ctx, t, t.owner, t.member); err != nil {
				return err
			}
			return p.deniedAll(ctx, LoggedIn, t, t.member)
		})},
	{ID: "org.demoted", Text: "An owner that is now a member uses the routes for owners with the old token.", Requirement: "OR-06", Source: "ASVS 8.3.2", Severity: High, needs: needOrgs | needSetRole,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			second, err := p.join(ctx, t.id, p.Orgs.Owner)
			if err != nil {
				return err
			}
			for _, r := range p.Orgs.Routes {
				if r.Method == http.MethodGet && r.Access == AdminOnly {
					if err := p.allowed(ctx, r, t, second, nil); err != nil {
						return err
					}
				}
			}
			if err := p.allowed(ctx, p.Orgs.SetRole, t, t.owner, []string{"user", second.user, "role", p.Orgs.Member}); err != nil {
				return err
			}
			return p.deniedAll(ctx, AdminOnly, t, second)
		})},
	{ID: "org.switch", Text: "A user who is not a member makes an organization the active one.", Requirement: "OR-07", Source: "ASVS 8.2.2, 8.4.1", Severity: High, needs: needOrgs | needSwitch,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			strangers, err := p.strangers(ctx)
			if err != nil {
				return err
			}
			own, err := p.active(ctx, t, t.member)
			if err != nil {
				return err
			}
			for _, who := range strangers {
				if err := p.denied(ctx, p.Orgs.Switch, t, who); err != nil {
					return err
				}
				if err := p.notActive(ctx, p.of(p.Orgs.Active, t, who, nil), own, t); err != nil {
					return err
				}
			}
			return nil
		})},
	{ID: "org.active-chosen", Text: "A header or a parameter names an organization of others in place of the active one.", Requirement: "OR-07", Source: "ASVS 8.2.2, 8.4.1", Severity: High, needs: needOrgs | needSwitch,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			other, err := p.team(ctx)
			if err != nil {
				return err
			}
			theirs, err := p.active(ctx, t, t.member)
			if err != nil {
				return err
			}
			own, err := p.active(ctx, other, other.owner)
			if err != nil {
				return err
			}
			if own == theirs {
				return &inapplicable{"the response of Target.Orgs.Active does not tell organizations apart"}
			}
			for _, name := range []string{"org", "org_id", "orgId", "organization", "organization_id", "organizationId", "tenant", "tenant_id", "team", "workspace"} {
				m := p.of(p.Orgs.Active, other, other.owner, nil)
				separator := "?"
				if strings.Contains(m.path, "?") {
					separator = "&"
				}
				m.path += separator + name + "=" + t.id
				m.header.Set("X-"+strings.ReplaceAll(name, "_", "-"), t.id)
				m.header.Set("Cookie", name+"="+t.id)
				if err := p.notActive(ctx, m, theirs, t); err != nil {
					return err
				}
			}
			return nil
		})},
	{ID: "org.active-removed", Text: "A member that was removed goes on to use the active organization.", Requirement: "OR-06", Source: "ASVS 8.3.2", Severity: High, needs: needOrgs | needSwitch | needRemove,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			own, err := p.active(ctx, t, t.member)
			if err != nil {
				return err
			}
			if err := p.remove(ctx, t, t.owner, t.member); err != nil {
				return err
			}
			return p.notActive(ctx, p.of(p.Orgs.Active, t, t.member, nil), own, t)
		})},
}

// everyOrgRoute is the run function of an attack on each route of an
// organization that is chosen, by each of some persons.
func everyOrgRoute(chosen func(Route) bool, by func(context.Context, *probe, team) ([]person, error)) func(context.Context, *probe) error {
	return teamAttack(func(ctx context.Context, p *probe, t team) error {
		all, err := by(ctx, p, t)
		if err != nil {
			return err
		}
		any := false
		for _, r := range p.Orgs.Routes {
			if !chosen(r) {
				continue
			}
			any = true
			for _, who := range all {
				if err := p.denied(ctx, r, t, who); err != nil {
					return err
				}
			}
		}
		if !any {
			return &inapplicable{"Target.Orgs.Routes has no such route"}
		}
		return nil
	})
}

// active makes an organization the active one, and returns the response of the
// route for it.
func (p *probe) active(ctx context.Context, t team, who person) (string, error) {
	if err := p.allowed(ctx, p.Orgs.Switch, t, who, nil); err != nil {
		return "", err
	}
	if err := p.allowed(ctx, p.Orgs.Active, t, who, nil); err != nil {
		return "", err
	}
	a, err := p.send(ctx, p.of(p.Orgs.Active, t, who, nil))
	if err != nil {
		return "", err
	}
	return a.body, nil
}

// notActive is an attack whose response must not be that of an organization.
func (p *probe) notActive(ctx context.Context, m message, body string, t team) error {
	a, err := p.send(ctx, m)
	if err == nil && p.reached(ctx, m.method, a, nil) != nil && (a.body == body || strings.Contains(a.body, t.id)) {
		return succeeded("the response is that of the organization")
	}
	return err
}
