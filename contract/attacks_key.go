package contract

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
)

// keyAttacks use API keys.
var keyAttacks = []Attack{
	{ID: "key.forged", Text: "An API key is cut, extended or changed.", Requirement: "AK-01", Source: "ASVS 11.5.1", Severity: Critical, needs: needKey,
		run: func(ctx context.Context, p *probe) error {
			k, err := p.key(ctx, p.User)
			if err != nil {
				return err
			}
			return p.refuseKeys(ctx, k[:len(k)-1], k[:len(k)*2/3], k+"x", k+".", flip(k), strings.ToUpper(k), k[1:])
		}},
	{ID: "key.query", Text: "An API key is in the query of the URL.", Requirement: "MW-03", Source: "ASVS 14.2.1", Severity: Medium, needs: needKey,
		run: func(ctx context.Context, p *probe) error {
			k, err := p.key(ctx, p.User)
			if err != nil {
				return err
			}
			for _, name := range []string{"api_key", "apikey", "key", "access_token", "token"} {
				if err := p.refuse(ctx, message{method: http.MethodGet, path: p.keyPath() + "?" + url.Values{name: {k}}.Encode()}); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "key.two-credentials", Text: "The request has an API key and an access token.", Requirement: "MW-04", Source: "RFC 9110 section 5.3", Severity: Low, needs: needKey,
		run: func(ctx context.Context, p *probe) error {
			k, err := p.key(ctx, p.User)
			if err != nil {
				return err
			}
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			return p.refuse(ctx, message{method: http.MethodGet, path: p.keyPath(), header: http.Header{"Authorization": {"Bearer " + token, "Bearer " + k}}})
		}},
	{ID: "key.admin", Text: "The API key of a user is used on a route for administrators.", Requirement: "AK-06", Source: "ASVS 8.2.1", Severity: Critical, needs: needKey | needAdminRoute | needAdmin,
		run: everyRoute(isForAdmin, func(ctx context.Context, p *probe, r Route) error {
			k, err := p.key(ctx, p.User)
			if err != nil {
				return err
			}
			return p.refuse(ctx, p.request(r, k))
		})},
	{ID: "key.session", Text: "An API key ends the sessions of its owner.", Requirement: "AK-03", Source: "ASVS 7.2.2", Severity: High, needs: needKey | needLogout,
		run: func(ctx context.Context, p *probe) error {
			k, err := p.key(ctx, p.User)
			if err != nil {
				return err
			}
			tokens, err := p.logIn(ctx, p.User)
			if err != nil {
				return err
			}
			a, err := p.send(ctx, message{method: http.MethodPost, path: p.LogoutPath, header: bearer(k)})
			if err != nil || a.crashed() || a.throttled() {
				return p.refused(a, err)
			}
			return p.survives(ctx, tokens.Access)
		}},
	{ID: "key.password", Text: "An API key sets the password of its owner.", Requirement: "AK-03", Source: "ASVS 7.2.2", Severity: High, needs: needKey | needPassword | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			account, err := p.fresh(ctx, firstPassword)
			if err != nil {
				return err
			}
			k, err := p.key(ctx, account)
			if err != nil {
				return err
			}
			a, err := p.setPassword(ctx, k, url.Values{"current_password": {account.Password}, "new_password": {secondPassword}})
			return p.refused(a, err)
		}},
	{ID: "key.disabled", Text: "The API key of a disabled account is used.", Requirement: "AK-02", Source: "ASVS 7.4.2", Severity: High, needs: needKey | needDisable | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			account, err := p.fresh(ctx, firstPassword)
			if err != nil {
				return err
			}
			k, err := p.key(ctx, account)
			if err != nil {
				return err
			}
			if err := p.Disable(ctx, account); err != nil {
				return err
			}
			return p.refuseKeys(ctx, k)
		}},
	{ID: "key.refresh", Text: "An API key is exchanged for a session.", Requirement: "AK-03", Source: "ASVS 7.2.2", Severity: High, needs: needKey | needRefresh,
		run: func(ctx context.Context, p *probe) error {
			k, err := p.key(ctx, p.User)
			if err != nil {
				return err
			}
			a, err := p.exchange(ctx, k)
			return p.noTokens(a, err)
		}},
}

// keyPath returns the path of a GET route that accepts API keys.
func (p *probe) keyPath() string { return cmp.Or(p.KeyPath, p.guard.Path) }

// refuseKeys is an attack with several API keys: the service must refuse each.
func (p *probe) refuseKeys(ctx context.Context, keys ...string) error {
	for _, k := range keys {
		if err := p.refuse(ctx, message{method: http.MethodGet, path: p.keyPath(), header: bearer(k)}); err != nil {
			return err
		}
	}
	return nil
}

// key returns an API key of an account. The route must accept it, or an attack
// shows nothing.
func (p *probe) key(ctx context.Context, account Account) (string, error) {
	k, err := p.APIKey(ctx, account)
	if err != nil {
		return "", err
	}
	p.hide(k)
	a, err := p.send(ctx, message{method: http.MethodGet, path: p.keyPath(), header: bearer(k)})
	if err == nil && !a.ok() {
		return "", &inapplicable{p.keyPath() + " does not accept API keys; set Target.KeyPath"}
	}
	return k, err
}
