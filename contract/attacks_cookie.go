package contract

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// cookieAttacks use the session cookie of Target.CookiePath.
var cookieAttacks = []Attack{
	{ID: "cookie.script", Text: "A script reads the session cookie.", Requirement: "TR-06", Source: "ASVS 3.3.4", Severity: Medium, needs: needCookie,
		run: sessionCookie(func(c *http.Cookie) string { return unless(c.HttpOnly, "the cookie is not HttpOnly") })},
	{ID: "cookie.plain", Text: "A browser sends the session cookie without TLS.", Requirement: "TR-06", Source: "ASVS 3.3.1", Severity: Medium, needs: needCookie,
		run: sessionCookie(func(c *http.Cookie) string { return unless(c.Secure, "the cookie is not Secure") })},
	{ID: "cookie.same-site", Text: "A browser sends the session cookie with requests of other sites.", Requirement: "TR-06", Source: "ASVS 3.3.2", Severity: Medium, needs: needCookie,
		run: sessionCookie(func(c *http.Cookie) string {
			return unless(c.SameSite == http.SameSiteLaxMode || c.SameSite == http.SameSiteStrictMode, "the cookie has no SameSite, or one of None")
		})},
	{ID: "cookie.prefix", Text: "Another host of the domain sets the session cookie.", Requirement: "TR-06", Source: "ASVS 3.3.3", Severity: Low, needs: needCookie,
		run: sessionCookie(func(c *http.Cookie) string {
			return unless(strings.HasPrefix(c.Name, "__Host-") && c.Path == "/" && c.Domain == "", "the cookie has no prefix __Host-")
		})},
	{ID: "cookie.size", Text: "The session cookie is longer than browsers store.", Requirement: "TR-06", Source: "RFC 6265 section 6.1", Severity: Low, needs: needCookie,
		run: sessionCookie(func(c *http.Cookie) string { return unless(len(c.Raw) <= 4096, "the cookie has more than 4096 bytes") })},
	{ID: "cookie.fixation", Text: "The session cookie of the attacker stays good after the user has logged in with it.", Requirement: "RF-01", Source: "ASVS 7.2.4; CWE-384", Severity: High, needs: needCookie,
		run: func(ctx context.Context, p *probe) error {
			first, err := p.cookie(ctx, p.User, nil)
			if err != nil {
				return err
			}
			again, err := p.cookie(ctx, p.User, nil)
			if err != nil {
				return err
			}
			values := []string{"attacker", strings.Repeat("A", len(first.Value))}
			if again.Value != first.Value { // a signed cookie can be the same for a second
				values = append(values, first.Value)
			}
			for _, value := range values {
				fixed := &http.Cookie{Name: first.Name, Value: value}
				second, err := p.cookie(ctx, p.User, fixed)
				if err != nil {
					return err
				}
				if second.Value == value {
					return succeeded("the login keeps the cookie that the request had")
				}
			}
			return nil
		}},
	{ID: "cookie.forged", Text: "The session cookie is cut, extended or changed.", Requirement: "RF-01", Source: "ASVS 7.2.3", Severity: Critical, needs: needCookie,
		run: func(ctx context.Context, p *probe) error {
			c, err := p.cookie(ctx, p.User, nil)
			if err != nil {
				return err
			}
			v := c.Value
			for _, forged := range []string{"", "x", v[:len(v)-1], v[:len(v)/2], v + "x", flip(v), strings.ToUpper(v), p.User.Name, "1", "admin", "null"} {
				if forged == v {
					continue
				}
				if err := p.refuse(ctx, p.withCookie(&http.Cookie{Name: c.Name, Value: forged})); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "cookie.as-token", Text: "The session cookie is sent as an access token.", Requirement: "TK-05", Source: "RFC 8725 section 3.11", Severity: Low, needs: needCookie,
		run: func(ctx context.Context, p *probe) error {
			c, err := p.cookie(ctx, p.User, nil)
			if err != nil {
				return err
			}
			return p.refuseTokens(ctx, c.Value)
		}},
	{ID: "cookie.two-credentials", Text: "The request has a session cookie and a bad token.", Requirement: "MW-04", Source: "RFC 6750 section 2", Severity: Low, needs: needCookie,
		run: func(ctx context.Context, p *probe) error {
			c, err := p.cookie(ctx, p.User, nil)
			if err != nil {
				return err
			}
			m := p.withCookie(c)
			m.header.Set("Authorization", "Bearer bad")
			return p.refuse(ctx, m)
		}},
	{ID: "cookie.cross-site", Text: "A page of another site sends a request with the session cookie.", Requirement: "MW-03", Source: "ASVS 3.5.1; CWE-352", Severity: High, needs: needCookie | needLogout,
		run: crossSite(http.Header{"Origin": {"https://" + attackerHost}, "Sec-Fetch-Site": {"cross-site"}})},
	{ID: "cookie.cross-site-origin", Text: "An old browser, which sends only Origin, sends a request of another site with the session cookie.", Requirement: "MW-03", Source: "ASVS 3.5.1; CWE-352", Severity: High, needs: needCookie | needLogout,
		run: crossSite(http.Header{"Origin": {"https://" + attackerHost}})},
	{ID: "cookie.cross-site-null", Text: "A page without an origin sends a request with the session cookie.", Requirement: "MW-03", Source: "ASVS 3.5.1; CWE-352", Severity: High, needs: needCookie | needLogout,
		run: crossSite(http.Header{"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}})},
	{ID: "cookie.same-site-request", Text: "A page of another host of the same site sends a request with the session cookie.", Requirement: "MW-03", Source: "ASVS 3.5.1", Severity: Medium, needs: needCookie | needLogout,
		run: crossSite(http.Header{"Origin": {"https://other." + attackerHost}, "Sec-Fetch-Site": {"same-site"}})},
	{ID: "cookie.websocket", Text: "A page of another site opens a WebSocket with the session cookie.", Requirement: "MW-03", Source: "RFC 6455 section 10.2; CWE-1385", Severity: High, needs: needCookie,
		run: func(ctx context.Context, p *probe) error {
			c, err := p.cookie(ctx, p.User, nil)
			if err != nil {
				return err
			}
			for _, r := range p.Routes {
				if !isGuardedGet(r) {
					continue
				}
				opens := func(origin, site string) (bool, error) {
					a, err := p.raw(ctx, r.Method, p.base.Path+r.Path, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
						"Origin: "+origin, "Sec-Fetch-Site: "+site, "Cookie: "+c.Name+"="+c.Value)
					return err == nil && a.status == http.StatusSwitchingProtocols, err
				}
				ok, err := opens(p.origin(), "same-origin")
				if err != nil {
					return err
				}
				if !ok {
					continue // no WebSocket: a page of another site cannot read the response
				}
				ok, err = opens("https://"+attackerHost, "cross-site")
				switch {
				case ok:
					return succeeded("%s: the service opened a WebSocket for a page of another site", r.Path)
				case err != nil && isHangUp(err):
					return nil
				}
				return err
			}
			return &inapplicable{"no GET route for LoggedIn opens a WebSocket with the session cookie"}
		}},
	{ID: "cookie.login-cross-site", Text: "A page of another site logs the browser in with an account of the attacker.", Requirement: "MW-03", Source: "CWE-352", Severity: Medium, needs: needCookie,
		run: func(ctx context.Context, p *probe) error {
			a, err := p.cookieForm(ctx, p.User, http.Header{"Origin": {"https://" + attackerHost}, "Sec-Fetch-Site": {"cross-site"}})
			if err != nil {
				return err
			}
			if _, err := p.cookie(ctx, p.User, nil); err != nil { // a login from the same site
				return err
			}
			for _, c := range (&http.Response{Header: a.header}).Cookies() {
				p.hide(c.Value)
				if b, err := p.send(ctx, p.withCookie(c)); err == nil && b.ok() {
					return succeeded("the login of another site sets the session cookie")
				}
			}
			return nil
		}},
	{ID: "cookie.logout", Text: "The session cookie is used after logout.", Requirement: "RF-08", Source: "ASVS 7.4.1", Severity: High, needs: needCookie | needLogout,
		run: func(ctx context.Context, p *probe) error {
			c, err := p.cookie(ctx, p.User, nil)
			if err != nil {
				return err
			}
			if err := p.cookieLogout(ctx, c); err != nil {
				return err
			}
			return p.refuse(ctx, p.withCookie(c))
		}},
	{ID: "cookie.password", Text: "A session cookie from before a change of the password is used.", Requirement: "RF-09", Source: "ASVS 7.4.3", Severity: High, needs: needCookie | needPassword | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			account, err := p.fresh(ctx, firstPassword)
			if err != nil {
				return err
			}
			stolen, err := p.cookie(ctx, account, nil)
			if err != nil {
				return err
			}
			tokens, err := p.logIn(ctx, account)
			if err != nil {
				return err
			}
			a, err := p.setPassword(ctx, tokens.Access, url.Values{"current_password": {account.Password}, "new_password": {secondPassword}})
			switch {
			case err != nil:
				return err
			case a.status >= 400:
				return fmt.Errorf("%s responds with %d", p.PasswordPath, a.status)
			}
			return p.refuse(ctx, p.withCookie(stolen))
		}},
}

func unless(ok bool, note string) string {
	if ok {
		return ""
	}
	return note
}

// sessionCookie is the run function of an attack that looks at the cookie of a
// login.
func sessionCookie(look func(*http.Cookie) string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		c, err := p.cookie(ctx, p.User, nil)
		if err != nil {
			return err
		}
		if note := look(c); note != "" {
			return succeeded("%s", note)
		}
		return nil
	}
}

// crossSite is the run function of an attack in which another site ends the
// session of the browser.
func crossSite(header http.Header) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		c, err := p.cookie(ctx, p.User, nil)
		if err != nil {
			return err
		}
		own, err := p.cookie(ctx, p.User, nil)
		if err != nil {
			return err
		}
		if err := p.cookieLogout(ctx, own); err != nil {
			return err
		}
		m := p.withCookie(c)
		m.method, m.path = http.MethodPost, p.LogoutPath
		for name, values := range header {
			m.header[name] = values
		}
		if a, err := p.send(ctx, m); err != nil || a.crashed() || a.throttled() {
			return p.refused(a, err)
		}
		if a, err := p.send(ctx, p.withCookie(own)); err != nil || a.ok() {
			return &inapplicable{p.LogoutPath + " does not end the session of a cookie"}
		}
		a, err := p.send(ctx, p.withCookie(c))
		if err == nil && !a.ok() {
			return succeeded("the request of the other site ended the session")
		}
		return err
	}
}

// cookieLogout ends the session of a cookie, as a page of the service does.
func (p *probe) cookieLogout(ctx context.Context, c *http.Cookie) error {
	m := p.withCookie(c)
	m.method, m.path = http.MethodPost, p.LogoutPath
	m.header.Set("Origin", p.origin())
	m.header.Set("Sec-Fetch-Site", "same-origin")
	a, err := p.send(ctx, m)
	switch {
	case err != nil:
		return err
	case a.throttled():
		return errThrottled
	case a.status >= 400:
		return &inapplicable{fmt.Sprintf("%s responds to its own pages with %d; it may need an anti-forgery token, which this attack does not have", p.LogoutPath, a.status)}
	}
	return nil
}

// withCookie returns a request for the guarded route with a cookie.
func (p *probe) withCookie(c *http.Cookie) message {
	return message{method: p.guard.Method, path: p.guard.Path, header: http.Header{"Cookie": {c.Name + "=" + c.Value}}}
}

func (p *probe) cookieForm(ctx context.Context, account Account, header http.Header) (*answer, error) {
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {p.origin()}, "Sec-Fetch-Site": {"same-origin"}}
	for name, values := range header {
		h[name] = values
	}
	return p.send(ctx, message{method: http.MethodPost, path: p.CookiePath, header: h, body: credentials(account).Encode()})
}

// cookie logs in, with a cookie unless it is nil, and returns the session
// cookie: the one that the guarded route accepts.
func (p *probe) cookie(ctx context.Context, account Account, sent *http.Cookie) (*http.Cookie, error) {
	h := http.Header{}
	if sent != nil {
		h.Set("Cookie", sent.Name+"="+sent.Value)
	}
	a, err := p.cookieForm(ctx, account, h)
	if err != nil {
		return nil, err
	}
	cookies := (&http.Response{Header: a.header}).Cookies()
	for _, c := range cookies {
		p.hide(c.Value)
	}
	for _, c := range slices.Backward(cookies) {
		if b, err := p.send(ctx, p.withCookie(c)); err == nil && b.ok() {
			return c, nil
		}
	}
	if sent != nil { // a service that keeps the cookie of the attacker need not set it again
		if b, err := p.send(ctx, p.withCookie(sent)); err == nil && b.ok() {
			return sent, nil
		}
	}
	if a.throttled() {
		return nil, errThrottled
	}
	return nil, fmt.Errorf("%s responds with %d and sets no cookie that %s accepts", p.CookiePath, a.status, p.guard.Path)
}
