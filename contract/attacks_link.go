package contract

import (
	"context"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
)

// linkAttacks link a user of the provider with the account of another person.
var linkAttacks = []Attack{
	{ID: "link.other-user", Text: "The attacker begins a link, and the browser of another user completes it, so that the attacker can log in to that account.", Requirement: "OA-14", Source: "RFC 9700 section 4.7; CWE-352", Severity: High, needs: needSocial | needLink,
		run: refuseLink(func(ctx context.Context, p *probe, victim browser, g *grant) error {
			for _, tossed := range []bool{false, true} {
				attacker, b := browser{}, maps.Clone(victim)
				if _, err := p.entered(ctx, attacker, p.visitor()); err != nil {
					return err
				}
				before := maps.Clone(attacker)
				request, err := p.startLink(ctx, attacker, p.ownPage())
				if err != nil {
					return err
				}
				for name, c := range attacker {
					if tossed && (before[name] == nil || before[name].Value != c.Value) {
						b[name] = c // another host of the domain has set it
					}
				}
				if _, err := p.callback(ctx, b, request, p.reply(request, g)); err != nil {
					return err
				}
			}
			return nil
		})},
	{ID: "link.cross-site", Text: "A page of another site begins a link in the browser of a user, who is then linked with the attacker's user of the provider.", Requirement: "MW-03", Source: "ASVS 3.5.1; CWE-352", Severity: High, needs: needSocial | needLink,
		run: refuseLink(func(ctx context.Context, p *probe, victim browser, g *grant) error {
			for _, m := range []message{
				{method: http.MethodPost, header: http.Header{"Origin": {"https://" + attackerHost}, "Sec-Fetch-Site": {"cross-site"}}},
				{method: http.MethodPost, header: http.Header{"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}}},
				{method: http.MethodPost, header: http.Header{"Origin": {"https://" + attackerHost}}},
				{method: http.MethodGet, header: http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}},
			} {
				b := maps.Clone(victim)
				request, err := p.startLink(ctx, b, m)
				if errors.Is(err, errNoRequest) {
					continue
				}
				if err != nil {
					return err
				}
				if _, err := p.callback(ctx, b, request, p.reply(request, g)); err != nil {
					return err
				}
			}
			return nil
		})},
	{ID: "link.taken", Text: "A user of the provider who has an account is linked with another one, and can no longer log in to the first.", Requirement: "OA-15", Source: "ASVS 15.4.2", Severity: Medium, needs: needSocial | needLink,
		run: func(ctx context.Context, p *probe) error {
			g := p.visitor()
			own, again, err := p.twice(ctx, browser{}, g)
			if err != nil {
				return err
			}
			other := browser{}
			if _, err := p.entered(ctx, other, p.visitor()); err != nil {
				return err
			}
			request, err := p.startLink(ctx, other, p.ownPage())
			if err != nil {
				return err
			}
			if _, err := p.callback(ctx, other, request, p.reply(request, g.as())); err != nil {
				return err
			}
			a, err := p.enter(ctx, browser{}, g.as())
			if err == nil && (!a.ok() || !alike(a.body, own.body, again.body)) {
				return succeeded("the user does not log in to the same account as before")
			}
			return err
		}},
}

var (
	errNoRequest = errors.New("the service does not lead to the provider")
	address      = regexp.MustCompile(`https?://[^\s"'<>]+/authorize\?[^\s"'<>]+`)
)

// ownPage returns a request of a page of the service.
func (p *probe) ownPage() message {
	return message{method: http.MethodPost, header: http.Header{"Origin": {p.origin()}, "Sec-Fetch-Site": {"same-origin"}}}
}

// startLink begins a link in a browser, and returns the request to the
// authorization endpoint of the provider. The service redirects to it, or has its
// address in a page.
func (p *probe) startLink(ctx context.Context, b browser, m message) (url.Values, error) {
	m.path = p.LinkPath
	if m.method == http.MethodPost {
		m.header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	a, err := p.visit(ctx, b, m)
	if err != nil {
		return nil, err
	}
	for _, found := range append(address.FindAllString(a.body, -1), a.header.Get("Location")) {
		u, err := url.Parse(html.UnescapeString(found))
		if err != nil {
			continue
		}
		query := u.Query()
		u.RawQuery = ""
		if u.String() == p.Provider.Issuer+"/authorize" && query.Get("redirect_uri") != "" {
			return query, nil
		}
	}
	return nil, fmt.Errorf("%w: %s responds with %d", errNoRequest, p.LinkPath, a.status)
}

// twice logs a user of the provider in twice, once in the browser given, and
// returns both responses of the guarded route.
func (p *probe) twice(ctx context.Context, b browser, g *grant) (first, second *answer, err error) {
	if first, err = p.entered(ctx, b, g); err == nil {
		second, err = p.entered(ctx, browser{}, g.as())
	}
	return first, second, err
}

// refuseLink is the run function of an attack that must not link the grant with
// the account of the victim's browser. A user must be able to link it.
func refuseLink(attack func(ctx context.Context, p *probe, victim browser, g *grant) error) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		for _, attacked := range []bool{false, true} {
			b, g := browser{}, p.visitor()
			own, again, err := p.twice(ctx, b, p.visitor())
			if err != nil {
				return err
			}
			if attacked {
				err = attack(ctx, p, b, g)
			} else {
				var request url.Values
				if request, err = p.startLink(ctx, b, p.ownPage()); err == nil {
					_, err = p.callback(ctx, b, request, p.reply(request, g))
				}
			}
			if err != nil {
				return err
			}
			a, err := p.enter(ctx, browser{}, g.as())
			if err != nil {
				return err
			}
			switch linked := a.ok() && alike(a.body, own.body, again.body); {
			case attacked && linked:
				return succeeded("the attacker's user of the provider logs in to the account of another person")
			case !attacked && !linked:
				return errors.New("a user cannot link another user of the provider")
			}
		}
		return nil
	}
}
