package contract

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// identityAttacks log in as a user of the provider who is, or is not, the holder
// of an account.
var identityAttacks = []Attack{
	{ID: "identity.unverified", Text: "Another user of the provider has the address of an account, which the provider did not verify.", Requirement: "OA-03", Source: "ASVS 6.8.1; CWE-287", Severity: Critical, needs: needSocial,
		run: ofAnother(func(victim, attacker *grant) (all []*grant) {
			for _, verified := range []string{"false", "", "null", `"false"`, "0", `""`} {
				all = append(all, attacker.as("email", victim.claims["email"], "email_verified", verified))
			}
			return all
		})},
	{ID: "identity.verified-type", Text: "Another user of the provider has the address of an account, with an email_verified that is not the JSON value true.", Requirement: "OA-03", Source: "OIDC Core 1.0 section 5.1", Severity: High, needs: needSocial,
		run: ofAnother(func(victim, attacker *grant) (all []*grant) {
			for _, verified := range []string{`"true"`, `"1"`, "1", "[true]", `{"value":true}`, `"no"`} {
				all = append(all, attacker.as("email", victim.claims["email"], "email_verified", verified))
			}
			return all
		})},
	{ID: "identity.similar-address", Text: "Another user of the provider has a verified address that is similar to that of an account.", Requirement: "OA-02", Source: "ASVS 6.8.1; CWE-178", Severity: High, needs: needSocial,
		run: ofAnother(func(victim, attacker *grant) (all []*grant) {
			address := victim.text("email") // begins with an s
			for _, similar := range []string{"ſ" + address[1:], "ｓ" + address[1:], "ś" + address[1:], "s\u0301" + address[1:], address + "\x00@" + attackerHost, address + "," + address + "@" + attackerHost} {
				all = append(all, attacker.as("email", quote(similar)))
			}
			return append(all, attacker.as("email", `["x@`+attackerHost+`",`+victim.claims["email"]+"]"), attacker.as("email", `{"value":`+victim.claims["email"]+"}"))
		})},
	{ID: "identity.new-address", Text: "A user changes the address at the provider to that of another account.", Requirement: "OA-02", Source: "ASVS 6.8.1, 10.5.2", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			attacker := p.visitor()
			if _, err := p.entered(ctx, browser{}, attacker); err != nil {
				return err
			}
			return ofAnother(func(victim, _ *grant) []*grant {
				return []*grant{attacker.as("email", victim.claims["email"])}
			})(ctx, p)
		}},
	{ID: "identity.similar-subject", Text: "The subject of another user of the provider differs from that of an account in its case, in a space or in an accent.", Requirement: "OA-02", Source: "OIDC Core 1.0 section 2", Severity: High, needs: needSocial,
		run: ofAnother(func(victim, attacker *grant) (all []*grant) {
			subject := victim.text("sub") // begins with an S
			for _, similar := range []string{strings.ToLower(subject), strings.ToUpper(subject), subject + " ", " " + subject, "Ś" + subject[1:], "Ｓ" + subject[1:]} {
				all = append(all, attacker.as("sub", quote(similar)))
			}
			return all
		})},
	{ID: "identity.user-info", Text: "The user info is that of another user than the ID token.", Requirement: "OA-06", Source: "OIDC Core 1.0 section 5.3.2", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			victim := p.visitor()
			if _, err := p.entered(ctx, browser{}, victim); err != nil {
				return err
			}
			for _, subject := range []string{victim.claims["sub"], "", `""`} {
				g := p.visitor().as("email", "", "email_verified", "")
				g.userInfo = map[string]string{"sub": subject, "email": p.visitor().claims["email"], "email_verified": "true"}
				a, err := p.enter(ctx, browser{}, g)
				if err != nil {
					return err
				}
				if !p.Provider.was(&g.asked) {
					return &inapplicable{"the service does not read the user info"}
				}
				if a.ok() {
					return succeeded("the login had success")
				}
			}
			return nil
		}},
	{ID: "identity.disabled", Text: "The user of a disabled account logs in with the provider.", Requirement: "OA-05", Source: "ASVS 7.4.2", Severity: High, needs: needSocial | needDisable,
		run: func(ctx context.Context, p *probe) error {
			g := p.visitor()
			if _, err := p.entered(ctx, browser{}, g); err != nil {
				return err
			}
			if err := p.Disable(ctx, Account{Name: g.text("email")}); err != nil {
				return err
			}
			return p.refuseGrants(ctx, g.as())
		}},
	{ID: "identity.factor", Text: "A user with a second factor logs in with the provider alone.", Requirement: "OA-05", Source: "ASVS 6.3.3, 6.3.4", Severity: High, needs: needSocial | needFactor,
		run: func(ctx context.Context, p *probe) error {
			g := p.visitor()
			if _, err := p.entered(ctx, browser{}, g); err != nil {
				return err
			}
			responses, err := p.Enroll(ctx, Account{Name: g.text("email")})
			if err != nil {
				return err
			}
			p.hide(responses...)
			return p.refuseGrants(ctx, g.as())
		}},
	{ID: "identity.squatter", Text: "The attacker creates an account with the address of another person, and keeps it after that person has logged in with the provider.", Requirement: "OA-04", Source: "CWE-287; ASVS 6.8.1", Severity: High, needs: needSocial | needUnverified,
		run: func(ctx context.Context, p *probe) error {
			account, err := p.NewUnverified(ctx, firstPassword)
			if err != nil {
				return err
			}
			p.hide(account.Password)
			tokens, err := p.logIn(ctx, account)
			if err != nil {
				return err
			}
			g := p.visitor().as("email", quote(account.Name))
			own, err := p.enter(ctx, browser{}, g)
			if err != nil || !own.ok() {
				return err // it does not link accounts by their address
			}
			again, err := p.entered(ctx, browser{}, g.as())
			if err != nil {
				return err
			}
			a, err := p.get(ctx, tokens.Access)
			if err == nil && a.ok() && alike(a.body, own.body, again.body) {
				return succeeded("the token of the attacker is good for the account")
			}
			if err != nil {
				return err
			}
			if tokens, err = p.logIn(ctx, account); err != nil {
				return ctx.Err() // the password is no longer good
			}
			if a, err = p.get(ctx, tokens.Access); err == nil && a.ok() && alike(a.body, own.body, again.body) {
				return succeeded("the password of the attacker is good for the account")
			}
			return err
		}},
	{ID: "identity.race", Text: "A new user of the provider completes many logins at once, and gets several accounts.", Requirement: "OA-15", Source: "ASVS 15.4.2", Severity: Medium, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			const n = 8
			g := p.visitor()
			var requests [n]struct {
				b       browser
				request string
			}
			var group sync.WaitGroup
			var redeemed atomic.Int32
			all := make(chan struct{})
			hold := func() { // until the service has redeemed all codes
				if redeemed.Add(1) == n {
					close(all)
				}
				select {
				case <-all:
				case <-time.After(2 * time.Second):
				}
			}
			for i := range requests {
				requests[i].b = browser{}
				request, err := p.startLogin(ctx, requests[i].b, message{})
				if err != nil {
					return err
				}
				same := g.as()
				same.hold = hold
				requests[i].request = p.base.String() + callbackPath(request, p.reply(request, same))
			}
			for _, r := range requests {
				group.Go(func() { p.open(ctx, r.b, r.request) })
			}
			group.Wait()
			p.requests += n
			first, err := p.entered(ctx, browser{}, g.as())
			if err != nil {
				return err
			}
			again, err := p.entered(ctx, browser{}, g.as())
			if err != nil {
				return err
			}
			for _, r := range requests {
				a, err := p.session(ctx, r.b)
				if err != nil {
					return err
				}
				if a.ok() && !alike(a.body, first.body, again.body) {
					return succeeded("the user has several accounts")
				}
			}
			return nil
		}},
	{ID: "identity.types", Text: "Claims about the user have other types than a client expects, or are long.", Requirement: "OA-06", Source: "CWE-20", Severity: Low, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			if _, err := p.entered(ctx, browser{}, p.visitor()); err != nil {
				return err
			}
			long := `"` + strings.Repeat("x", 100_000) + `"`
			for _, pairs := range [][]string{
				{"email", "12"}, {"email", "{}"}, {"email", "[]"}, {"email", "null"}, {"email", long}, {"email", `"\u0000@example.com"`},
				{"name", "12"}, {"name", "{}"}, {"name", long}, {"name", `"\u0000\ud800"`}, {"sub", long}, {"sub", `"a\u0000b"`},
			} {
				b := browser{}
				request, err := p.startLogin(ctx, b, message{})
				if err != nil {
					return err
				}
				answers, err := p.callback(ctx, b, request, p.reply(request, p.visitor().as(pairs...)))
				if err != nil {
					return err
				}
				if answers[0].crashed() {
					return succeeded("the service could not handle a %s that is %s", pairs[0], cut(pairs[1]))
				}
			}
			return nil
		}},
}

// ofAnother is the run function of an attack in which none of the grants of an
// attacker must log in to the account of a victim.
func ofAnother(attacks func(victim, attacker *grant) []*grant) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		victim := p.visitor()
		first, err := p.entered(ctx, browser{}, victim)
		if err != nil {
			return err
		}
		again, err := p.entered(ctx, browser{}, victim.as())
		if err != nil {
			return err
		}
		other, err := p.entered(ctx, browser{}, p.visitor())
		if err != nil {
			return err
		}
		if err := p.tellsApart(other, first, again); err != nil {
			return err
		}
		for _, g := range attacks(victim, p.visitor()) {
			a, err := p.enter(ctx, browser{}, g)
			if err != nil {
				return err
			}
			if a.ok() && alike(a.body, first.body, again.body) {
				return succeeded("the other user is logged in to the account")
			}
		}
		return nil
	}
}
