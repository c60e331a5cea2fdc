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
	{ID: "link.other-user", Text: "A user begins a link, and another user completes it, in another browser or later in the same one.", Requirement: "OA-14", Source: "RFC 9700 section 4.7; ASVS 10.2.1; CWE-352", Severity: High, needs: needSocial | needLink,
		run: refuseLink(linkOfAnother(false), linkOfAnother(true))},
	{ID: "link.cross-site", Text: "A page of another site begins a link in the browser of a user, who is then linked with the attacker's user of the provider.", Requirement: "MW-03", Source: "ASVS 3.5.1; CWE-352", Severity: High, needs: needSocial | needLink,
		run: refuseLink(
			linkFrom(http.MethodPost, http.Header{"Origin": {"https://" + attackerHost}, "Sec-Fetch-Site": {"cross-site"}}),
			linkFrom(http.MethodPost, http.Header{"Origin": {"https://other." + attackerHost}, "Sec-Fetch-Site": {"same-site"}}),
			linkFrom(http.MethodPost, http.Header{"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}}),
			linkFrom(http.MethodPost, http.Header{"Origin": {"https://" + attackerHost}}),
			linkFrom(http.MethodGet, http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}),
		)},
	{ID: "link.taken", Text: "A user of the provider who has an account is linked with another account, and can no longer log in to the first.", Requirement: "OA-15", Source: "OIDC Core 1.0 section 5.7; ASVS 10.5.2", Severity: Medium, needs: needSocial | needLink,
		run: func(ctx context.Context, p *probe) error {
			if _, err := p.linked(ctx, p.linkOwn); err != nil {
				return err
			}
			g := p.visitor()
			own, err := p.entered(ctx, browser{}, g)
			if err != nil {
				return err
			}
			other, otherGrant := browser{}, p.visitor()
			others, err := p.entered(ctx, other, otherGrant)
			if err != nil {
				return err
			}
			again, err := p.entered(ctx, browser{}, otherGrant.as())
			if err != nil {
				return err
			}
			if err := p.tellsApart(own, others, again); err != nil {
				return err
			}
			if err := p.linkOwn(ctx, other, g.as()); err != nil {
				return err
			}
			a, err := p.enter(ctx, browser{}, g.as())
			switch {
			case err != nil:
				return err
			case a.throttled():
				return errThrottled
			case a.ok() && alike(a.body, others.body, again.body):
				return succeeded("the user logs in to the other account")
			}
			_, err = p.entered(ctx, browser{}, p.visitor())
			if err == nil && !a.ok() {
				return succeeded("the user cannot log in any more: %s responds with %d", p.guard.Path, a.status)
			}
			return err
		}},
}

// A linking tries to link a grant with the account of a browser.
type linking func(ctx context.Context, b browser, g *grant) error

var (
	errNoRequest = errors.New("the service does not lead to the provider")
	address      = regexp.MustCompile(`https?://[^\s"'<>]+/authorize\?[^\s"'<>]+`)
)

// linkOfAnother completes the link of an attacker in the browser of a victim. If
// both used one browser, it still has the cookies of the link that was begun.
func linkOfAnother(shared bool) func(*probe) linking {
	return func(p *probe) linking {
		return func(ctx context.Context, victim browser, g *grant) error {
			attacker := browser{}
			if _, err := p.entered(ctx, attacker, p.visitor()); err != nil {
				return err
			}
			before := maps.Clone(attacker)
			request, err := p.startLink(ctx, attacker, p.ownPage())
			if err != nil {
				return err
			}
			own, err := p.session(ctx, victim)
			if err != nil {
				return err
			}
			for name, c := range attacker {
				if !shared || before[name] != nil && before[name].Value == c.Value {
					continue
				}
				both := maps.Clone(victim)
				both[name] = c
				a, err := p.session(ctx, both)
				if err != nil {
					return err
				}
				if a.ok() && a.body == own.body { // it is not the session of the attacker
					victim = both
				}
			}
			return p.completeLink(ctx, victim, request, g)
		}
	}
}

// linkFrom begins a link with a request that is not of a page of the service.
func linkFrom(method string, header http.Header) func(*probe) linking {
	return func(p *probe) linking {
		return func(ctx context.Context, victim browser, g *grant) error {
			request, err := p.startLink(ctx, victim, message{method: method, header: header.Clone()})
			if errors.Is(err, errNoRequest) {
				return nil
			}
			if err != nil {
				return err
			}
			return p.completeLink(ctx, victim, request, g)
		}
	}
}

// linkOwn links a grant as the service intends it.
func (p *probe) linkOwn(ctx context.Context, b browser, g *grant) error {
	request, err := p.startLink(ctx, b, p.ownPage())
	if err != nil {
		return err
	}
	return p.completeLink(ctx, b, request, g)
}

// ownPage returns a request of a page of the service.
func (p *probe) ownPage() message {
	return message{method: http.MethodPost, header: http.Header{"Origin": {p.origin()}, "Sec-Fetch-Site": {"same-origin"}}}
}

// startLink begins a link in a browser, and returns the request to the
// authorization endpoint of the provider. The service redirects to it, or has its
// address in a page, which another site cannot read.
func (p *probe) startLink(ctx context.Context, b browser, m message) (url.Values, error) {
	m.path = p.LinkPath
	if m.method == http.MethodPost {
		m.header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	a, err := p.visit(ctx, b, m)
	if err != nil {
		return nil, err
	}
	if a.throttled() {
		return nil, errThrottled
	}
	addresses := []string{a.header.Get("Location")}
	if m.method == http.MethodPost {
		addresses = append(addresses, address.FindAllString(a.body, -1)...)
	}
	for _, found := range addresses {
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

// completeLink sends the provider's response to a link.
func (p *probe) completeLink(ctx context.Context, b browser, request url.Values, g *grant) error {
	answers, err := p.callback(ctx, b, request, p.reply(request, g))
	for _, a := range answers {
		if a.throttled() {
			return errThrottled
		}
	}
	return err
}

// linked reports whether a linking links a new user of the provider with the
// account of a victim.
func (p *probe) linked(ctx context.Context, link linking) (bool, error) {
	b, g, victim := browser{}, p.visitor(), p.visitor()
	own, err := p.entered(ctx, b, victim)
	if err != nil {
		return false, err
	}
	other, err := p.entered(ctx, browser{}, p.visitor())
	if err != nil {
		return false, err
	}
	if err := link(ctx, b, g); err != nil {
		return false, err
	}
	a, err := p.enter(ctx, browser{}, g.as())
	if err != nil {
		return false, err
	}
	if a.throttled() {
		return false, errThrottled
	}
	again, err := p.entered(ctx, browser{}, victim.as())
	if err != nil {
		return false, err
	}
	if err := p.tellsApart(other, own, again); err != nil {
		return false, err
	}
	return a.ok() && alike(a.body, own.body, again.body), nil
}

// refuseLink is the run function of an attack by linkings that must have no
// success. A user must be able to link another user of the provider.
func refuseLink(attacks ...func(*probe) linking) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		can, err := p.linked(ctx, p.linkOwn)
		if err == nil && !can {
			err = errors.New("a user cannot link another user of the provider")
		}
		if err != nil {
			return err
		}
		for _, attack := range attacks {
			done, err := p.linked(ctx, attack(p))
			if err != nil {
				return err
			}
			if done {
				return succeeded("the attacker's user of the provider logs in to the account of another person")
			}
		}
		return nil
	}
}
