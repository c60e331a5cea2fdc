package contract

import (
	"context"
	"net/http"
	"strings"
)

// inviteAttacks abuse invitations to organizations.
var inviteAttacks = []Attack{
	{ID: "invite.other-account", Text: "An invitation is accepted by an account with another address.", Requirement: "OR-01", Source: "ASVS 8.2.2; CWE-639", Severity: High, needs: needOrgs | needInvite,
		run: inviteAttack(func(ctx context.Context, p *probe, t team, guest person, token string) error {
			thief, err := p.person(ctx)
			if err != nil {
				return err
			}
			if err := p.notAccepted(ctx, t, thief, token); err != nil {
				return err
			}
			return p.accepted(ctx, t, guest, token)
		})},
	{ID: "invite.unverified", Text: "An invitation is accepted by an account that has the address, but did not verify it.", Requirement: "OR-01", Source: "CWE-287", Severity: High, needs: needOrgs | needInvite | needUnverified,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			guest, err := p.person(ctx)
			if err != nil {
				return err
			}
			good, err := p.invited(ctx, t, t.owner, guest.Name, p.Orgs.Member)
			if err != nil {
				return err
			}
			if err := p.accepted(ctx, t, guest, good); err != nil {
				return err
			}
			account, err := p.NewUnverified(ctx, firstPassword)
			if err != nil {
				return err
			}
			p.hide(account.Password)
			tokens, err := p.logIn(ctx, account)
			if err != nil {
				return err
			}
			token, err := p.invited(ctx, t, t.owner, account.Name, p.Orgs.Member)
			if err != nil {
				return err
			}
			return p.notAccepted(ctx, t, person{Account: account, token: tokens.Access}, token)
		})},
	{ID: "invite.forged", Text: "The token of an invitation is cut, extended or changed.", Requirement: "OR-01", Source: "ASVS 11.5.1", Severity: High, needs: needOrgs | needInvite,
		run: inviteAttack(func(ctx context.Context, p *probe, t team, guest person, token string) error {
			for _, forged := range []string{"", token[:len(token)-1], token[:len(token)/2], token + "x", flip(token), strings.ToUpper(token), guest.Name, t.id, "null", "%"} {
				if forged == token {
					continue
				}
				if err := p.notAccepted(ctx, t, guest, forged); err != nil {
					return err
				}
			}
			return p.accepted(ctx, t, guest, token)
		})},
	{ID: "invite.reuse", Text: "A member that was removed accepts the same invitation again.", Requirement: "OR-01", Source: "CWE-294", Severity: High, needs: needOrgs | needInvite | needRemove,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			token, err := p.invited(ctx, t, t.owner, t.member.Name, p.Orgs.Member)
			if err != nil {
				return err
			}
			if err := p.remove(ctx, t, t.owner, t.member); err != nil {
				return err
			}
			if err := p.accepted(ctx, t, t.member, token); err != nil {
				return err
			}
			if err := p.remove(ctx, t, t.owner, t.member); err != nil {
				return err
			}
			return p.notAccepted(ctx, t, t.member, token)
		})},
	{ID: "invite.revealed", Text: "A response has the token of an invitation, which was sent to its address alone.", Requirement: "OR-03", Source: "ASVS 14.2.6; CWE-200", Severity: High, needs: needOrgs | needInvite,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			guest, err := p.person(ctx)
			if err != nil {
				return err
			}
			a, err := p.send(ctx, p.of(p.Orgs.Invite, t, t.owner, []string{"email", guest.Name, "role", p.Orgs.Member}))
			if err != nil {
				return err
			}
			token, err := p.Orgs.Invitation(ctx, guest.Name)
			if err != nil {
				return err
			}
			p.hide(token)
			if a.mentions(token) {
				return succeeded("the response to the invitation has its token")
			}
			for _, r := range p.Orgs.Routes {
				if r.Method != http.MethodGet {
					continue
				}
				a, err := p.send(ctx, p.of(r, t, t.owner, nil))
				if err != nil {
					return err
				}
				if a.mentions(token) {
					return succeeded("%s has the token of an invitation", r.Path)
				}
			}
			return p.accepted(ctx, t, guest, token)
		})},
	{ID: "invite.role", Text: "A member or a manager invites an owner.", Requirement: "OR-02", Source: "ASVS 8.2.1, 8.3.1", Severity: High, needs: needOrgs | needInvite,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			guest, err := p.person(ctx)
			if err != nil {
				return err
			}
			for _, by := range []person{t.member, t.manager} {
				if by.token == "" {
					continue
				}
				if err := p.denied(ctx, p.Orgs.Invite, t, by, "email", guest.Name, "role", p.Orgs.Owner); err != nil {
					return err
				}
			}
			_, err = p.invited(ctx, t, t.owner, guest.Name, p.Orgs.Owner)
			return err
		})},
	{ID: "invite.inviter", Text: "An invitation is accepted after its inviter was removed.", Requirement: "OR-02", Source: "ASVS 8.3.2", Severity: Medium, needs: needOrgs | needInvite | needRemove,
		run: teamAttack(func(ctx context.Context, p *probe, t team) error {
			inviter, err := p.join(ctx, t.id, p.Orgs.Owner)
			if err != nil {
				return err
			}
			first, err := p.person(ctx)
			if err != nil {
				return err
			}
			good, err := p.invited(ctx, t, inviter, first.Name, p.Orgs.Member)
			if err != nil {
				return err
			}
			if err := p.accepted(ctx, t, first, good); err != nil {
				return err
			}
			guest, err := p.person(ctx)
			if err != nil {
				return err
			}
			token, err := p.invited(ctx, t, inviter, guest.Name, p.Orgs.Owner)
			if err != nil {
				return err
			}
			if err := p.remove(ctx, t, t.owner, inviter); err != nil {
				return err
			}
			return p.notAccepted(ctx, t, guest, token)
		})},
}

// inviteAttack is the run function of an attack on an invitation of an account
// that nothing else uses.
func inviteAttack(f func(ctx context.Context, p *probe, t team, guest person, token string) error) func(context.Context, *probe) error {
	return teamAttack(func(ctx context.Context, p *probe, t team) error {
		guest, err := p.person(ctx)
		if err != nil {
			return err
		}
		token, err := p.invited(ctx, t, t.owner, guest.Name, p.Orgs.Member)
		if err != nil {
			return err
		}
		return f(ctx, p, t, guest, token)
	})
}

// accepted accepts an invitation, which must have success, or an attack shows
// nothing.
func (p *probe) accepted(ctx context.Context, t team, who person, token string) error {
	if err := p.allowed(ctx, p.Orgs.Accept, t, who, []string{"token", token}); err != nil {
		return err
	}
	return p.allowed(ctx, p.Orgs.route(), t, who, nil)
}

// notAccepted is an attack that must not make an account a member.
func (p *probe) notAccepted(ctx context.Context, t team, who person, token string) error {
	if err := p.denied(ctx, p.Orgs.Accept, t, who, "token", token); err != nil {
		return err
	}
	return p.denied(ctx, p.Orgs.route(), t, who)
}
