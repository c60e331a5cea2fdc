package contract

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// socialScript is a script that must not be part of a page.
const socialScript = "<script>contract()</script>"

// socialAttacks abuse a login with another provider: the requests of the
// browser, and the responses of the provider.
var socialAttacks = []Attack{
	{ID: "social.repeated", Text: "The state, the nonce or the code challenge of a login is that of another login, or can be guessed.", Requirement: "OA-01", Source: "RFC 6749 section 10.10; ASVS 11.5.1", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			first, err := p.startLogin(ctx, browser{}, message{})
			if err != nil {
				return err
			}
			second, err := p.startLogin(ctx, browser{}, message{})
			if err != nil {
				return err
			}
			for _, name := range []string{"state", "nonce", "code_challenge"} {
				value := first.Get(name)
				switch {
				case value == "":
				case value == second.Get(name):
					return succeeded("two logins have the same %s", name)
				case len(value) < 16:
					return succeeded("the %s has %d characters", name, len(value))
				}
			}
			return nil
		}},
	{ID: "social.pkce", Text: "A stolen code is good without the code verifier, because the login has no S256 challenge.", Requirement: "OA-01", Source: "RFC 9700 section 2.1.1", Severity: Medium, needs: needSocial,
		run: socialRequest(func(_ *Provider, request url.Values) string {
			return unless(len(request.Get("code_challenge")) == 43 && request.Get("code_challenge_method") == "S256", "the request has no code challenge with S256")
		})},
	{ID: "social.implicit", Text: "The provider sends tokens in the URL, because the login does not use the code flow.", Requirement: "OA-01", Source: "RFC 9700 section 2.1.2", Severity: Medium, needs: needSocial,
		run: socialRequest(func(_ *Provider, request url.Values) string {
			return unless(request.Get("response_type") == "code", "the response_type is not code")
		})},
	{ID: "social.url-secret", Text: "The URL of the redirect to the provider has the secret of the client.", Requirement: "AU-03", Source: "ASVS 14.2.1", Severity: High, needs: needSocial,
		run: socialRequest(func(p *Provider, request url.Values) string {
			return unless(!strings.Contains(request.Encode(), p.ClientSecret), "the request has the secret of the client")
		})},
	{ID: "social.host", Text: "The request names another host, so that the provider sends the code there.", Requirement: "OA-01", Source: "CWE-644; RFC 9700 section 4.1", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			if _, err := p.startLogin(ctx, browser{}, message{}); err != nil {
				return err
			}
			for _, m := range []message{
				{host: attackerHost}, {header: http.Header{"X-Forwarded-Host": {attackerHost}}}, {header: http.Header{"Forwarded": {"host=" + attackerHost}}},
				{header: http.Header{"Origin": {"https://" + attackerHost}, "Referer": {"https://" + attackerHost + "/"}}},
			} {
				request, err := p.startLogin(ctx, browser{}, m)
				if err == nil && strings.Contains(request.Get("redirect_uri"), attackerHost) {
					return succeeded("the redirect_uri has the host that the request named")
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
			return nil
		}},
	{ID: "social.state", Text: "The response of the provider has no state, or another one.", Requirement: "OA-01", Source: "RFC 6749 section 10.12", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			if _, err := p.entered(ctx, browser{}, p.visitor()); err != nil {
				return err
			}
			for _, change := range []func(string) string{
				func(string) string { return "" }, func(string) string { return "x" }, flip,
				func(s string) string { return s[:len(s)/2] }, func(s string) string { return s + "x" },
			} {
				b := browser{}
				request, err := p.startLogin(ctx, b, message{})
				if err != nil {
					return err
				}
				state := request.Get("state")
				if state == "" {
					return &inapplicable{"the login has no state; see social.other-browser"}
				}
				values := p.reply(request, p.visitor())
				if values.Set("state", change(state)); values.Get("state") == "" {
					values.Del("state")
				}
				if _, err := p.callback(ctx, b, request, values); err != nil {
					return err
				}
				if err := p.refuseBrowser(ctx, b); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "social.state-reuse", Text: "The state of a login that was completed is used for another one.", Requirement: "OA-01", Source: "RFC 9700 section 4.7.1", Severity: Low, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			b := browser{}
			request, err := p.startLogin(ctx, b, message{})
			if err != nil {
				return err
			}
			if request.Get("state") == "" {
				return &inapplicable{"the login has no state"}
			}
			before := maps.Clone(b)
			if _, err := p.finished(ctx, b, request, p.visitor()); err != nil {
				return err
			}
			maps.DeleteFunc(before, func(name string, _ *http.Cookie) bool { return b[name] == nil })
			if _, err := p.callback(ctx, before, request, p.reply(request, p.visitor())); err != nil {
				return err
			}
			return p.refuseBrowser(ctx, before)
		}},
	{ID: "social.other-browser", Text: "The attacker begins a login, and another browser completes it, so that its user works in the account of the attacker.", Requirement: "OA-01", Source: "RFC 9700 section 4.7; CWE-352", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			if _, err := p.entered(ctx, browser{}, p.visitor()); err != nil {
				return err
			}
			for _, busy := range []bool{false, true} {
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					request, err := p.startLogin(ctx, browser{}, message{})
					if err != nil {
						return err
					}
					victim := browser{}
					if busy { // it has begun a login too
						if _, err := p.startLogin(ctx, victim, message{}); err != nil {
							return err
						}
					}
					values := p.reply(request, p.visitor())
					m := message{method: method, path: callbackPath(request, values)}
					if method == http.MethodPost {
						m.path, m.body = callbackPath(request, nil), values.Encode()
						m.header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {"https://" + attackerHost}, "Sec-Fetch-Site": {"cross-site"}}
					}
					if _, err := p.follow(ctx, victim, request, m); err != nil {
						return err
					}
					if err := p.refuseBrowser(ctx, victim); err != nil {
						return err
					}
				}
			}
			return nil
		}},
	{ID: "social.code-injection", Text: "The code of another login is sent to the callback with the state of this one.", Requirement: "OA-01", Source: "RFC 9700 section 4.5", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			if _, err := p.entered(ctx, browser{}, p.visitor()); err != nil {
				return err
			}
			stolen, err := p.startLogin(ctx, browser{}, message{})
			if err != nil {
				return err
			}
			b := browser{}
			request, err := p.startLogin(ctx, b, message{})
			if err != nil {
				return err
			}
			values := p.reply(stolen, p.visitor())
			values.Del("state")
			if state := request.Get("state"); state != "" {
				values.Set("state", state)
			}
			if _, err := p.callback(ctx, b, request, values); err != nil {
				return err
			}
			return p.refuseBrowser(ctx, b)
		}},
	{ID: "social.issuer-other", Text: "The response names another provider in iss, as in a mix-up attack.", Requirement: "OA-12", Source: "RFC 9207 section 2.4", Severity: Low, needs: needSocial,
		run: socialReply(func(_ *probe, values url.Values) { values.Set("iss", "https://"+attackerHost) })},
	{ID: "social.issuer-missing", Text: "The response does not name the provider, although its metadata promises iss.", Requirement: "OA-12", Source: "RFC 9207 section 2.4", Severity: Low, needs: needSocial,
		run: socialReply(func(_ *probe, values url.Values) { values.Del("iss") })},
	{ID: "social.script", Text: "The provider responds with an error that is a script.", Requirement: "OA-12", Source: "ASVS 1.2.1; CWE-79", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			broken := p.visitor()
			broken.respond = func(w http.ResponseWriter, _ *http.Request) {
				writeObject(w, http.StatusBadRequest, map[string]string{"error": socialScript, "error_description": socialScript})
			}
			return p.pages(ctx, broken, url.Values{"error": {socialScript}, "error_description": {socialScript}, "error_uri": {"javascript:contract()"}}, func(a *answer) string {
				kind := a.header.Get("Content-Type")
				page := kind == "" || strings.Contains(kind, "html") || strings.Contains(kind, "svg")
				return unless(!page || !strings.Contains(a.body, socialScript) && !strings.Contains(a.body, `"javascript:contract()`), "the page has the script")
			})
		}},
	{ID: "social.error-secret", Text: "The provider responds to the code with an error that repeats the request, with the secret of the client.", Requirement: "AU-03", Source: "ASVS 16.5.1; CWE-209", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			broken := p.visitor()
			broken.respond = func(w http.ResponseWriter, _ *http.Request) {
				writeObject(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "client_secret=" + p.Provider.ClientSecret})
			}
			return p.pages(ctx, broken, nil, func(a *answer) string {
				return unless(!a.mentions(p.Provider.ClientSecret), "the response has the secret of the client")
			})
		}},
	{ID: "social.redirected", Text: "The token endpoint redirects to another host, which gets the code and the secret of the client.", Requirement: "OA-08", Source: "ASVS 15.3.2; CWE-918", Severity: Medium, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			p.Provider.forget()
			for _, status := range []int{http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
				g := p.visitor()
				g.respond = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Location", p.Provider.elsewhere+"/token")
					w.WriteHeader(status)
				}
				if _, err := p.enter(ctx, browser{}, g); err != nil {
					return err
				}
				if !p.Provider.was(&g.redeemed) {
					return errNotRedeemed
				}
				if p.Provider.was(&p.Provider.leaked) {
					return succeeded("the service sent the code or its secret to the other host")
				}
			}
			return nil
		}},
	{ID: "social.long", Text: "The token endpoint responds with 16 MB.", Requirement: "OA-08", Source: "CWE-400", Severity: Medium, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			all := false
			g := p.visitor()
			g.respond = func(w http.ResponseWriter, _ *http.Request) {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxWait))
				w.Header().Set("Content-Type", "application/json")
				_, err := io.WriteString(w, `{"access_token":"`)
				chunk := strings.Repeat("x", 1<<20)
				for i := 0; i < 16 && err == nil; i++ {
					_, err = io.WriteString(w, chunk)
				}
				p.Provider.mu.Lock()
				defer p.Provider.mu.Unlock()
				all = err == nil
			}
			if _, err := p.enter(ctx, browser{}, g); err != nil {
				return err
			}
			if !p.Provider.was(&g.redeemed) {
				return errNotRedeemed
			}
			if p.Provider.was(&all) {
				return succeeded("the service read all of the response")
			}
			return nil
		}},
	{ID: "social.return", Text: "A parameter of the login makes the service redirect to another site afterwards.", Requirement: "OA-07", Source: "ASVS 3.7.2; CWE-601", Severity: Medium, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			request, err := p.startLogin(ctx, browser{}, message{})
			if err != nil {
				return err
			}
			own, _ := url.Parse(request.Get("redirect_uri"))
			for _, to := range []string{
				"https://" + attackerHost, "//" + attackerHost, `/\` + attackerHost, "/\t/" + attackerHost, "///" + attackerHost, "https:" + attackerHost,
				own.Scheme + "://" + own.Hostname() + "." + attackerHost, own.Scheme + "://" + own.Host + "@" + attackerHost,
			} {
				query := url.Values{}
				for _, name := range []string{"next", "url", "redirect", "redirect_to", "redirect_uri", "redirectTo", "return", "return_to", "returnTo", "return_url", "returnUrl", "callbackUrl", "continue", "goto", "target", "from", "r"} {
					query.Set(name, to)
				}
				separator := "?"
				if strings.Contains(p.SocialPath, "?") {
					separator = "&"
				}
				b := browser{}
				request, err := p.startLogin(ctx, b, message{path: p.SocialPath + separator + query.Encode()})
				if err != nil {
					if ctx.Err() != nil {
						return err
					}
					continue // it refuses the parameter
				}
				answers, err := p.callback(ctx, b, request, p.reply(request, p.visitor()))
				if err != nil {
					return err
				}
				if slices.ContainsFunc(answers, func(a *answer) bool { return leadsAway(a.header.Get("Location")) }) {
					return succeeded("after a login with %q the service redirects there", to)
				}
			}
			return nil
		}},
	{ID: "social.fixation", Text: "A cookie that the browser had before the login is logged in afterwards.", Requirement: "RF-01", Source: "ASVS 7.2.4; CWE-384", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			b := browser{}
			request, err := p.startLogin(ctx, b, message{})
			if err != nil {
				return err
			}
			before := maps.Clone(b)
			if _, err := p.finished(ctx, b, request, p.visitor()); err != nil {
				return err
			}
			if err := p.refuseBrowser(ctx, before); err != nil {
				return err
			}
			for name, c := range b {
				planted := browser{name: {Name: name, Value: strings.Repeat("A", len(c.Value))}}
				if _, err := p.enter(ctx, maps.Clone(planted), p.visitor()); err != nil {
					return err
				}
				if err := p.refuseBrowser(ctx, planted); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "social.cookie", Text: "A script, a connection without TLS or a request of another site has the cookie that binds a login to its browser.", Requirement: "OA-01", Source: "ASVS 3.3.1, 3.3.2, 3.3.4", Severity: Medium, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			cookies, request, err := p.flowCookies(ctx)
			if err != nil {
				return err
			}
			for _, c := range cookies {
				bound := c.SameSite == http.SameSiteLaxMode || c.SameSite == http.SameSiteStrictMode ||
					c.SameSite == http.SameSiteNoneMode && request.Get("response_mode") == "form_post"
				if !c.HttpOnly || !c.Secure || !bound {
					return succeeded("the cookie %s is not HttpOnly, not Secure or has no SameSite", c.Name)
				}
			}
			return nil
		}},
	{ID: "social.cookie-prefix", Text: "Another host of the domain sets the cookie that binds a login to its browser.", Requirement: "OA-01", Source: "ASVS 3.3.3", Severity: Low, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			cookies, _, err := p.flowCookies(ctx)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(cookies, func(c *http.Cookie) bool { return strings.HasPrefix(c.Name, "__Host-") }) {
				return nil
			}
			return succeeded("no cookie of the login has the prefix __Host-")
		}},
}

// pages looks at the pages of two logins that fail: one whose code is refused,
// and one with an error in the parameters, unless there is none.
func (p *probe) pages(ctx context.Context, broken *grant, failure url.Values, look func(*answer) string) error {
	for _, refused := range []bool{true, false} {
		b := browser{}
		request, err := p.startLogin(ctx, b, message{})
		if err != nil {
			return err
		}
		values := p.reply(request, broken)
		if !refused {
			values.Del("code")
			maps.Copy(values, failure)
		}
		answers, err := p.callback(ctx, b, request, values)
		if err != nil {
			return err
		}
		for _, a := range answers {
			if note := look(a); note != "" {
				return succeeded("%s", note)
			}
		}
		if refused && !p.Provider.was(&broken.redeemed) {
			return errNotRedeemed
		}
	}
	return nil
}

// leadsAway reports whether a browser follows a location to a site of the
// attacker. Browsers remove tabs, and read a backslash as a slash.
func leadsAway(location string) bool {
	location = strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/").Replace(strings.TrimSpace(location))
	scheme, rest, found := strings.Cut(location, ":")
	if found && (strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "http")) {
		location = "//" + strings.TrimLeft(rest, "/")
	}
	if strings.HasPrefix(location, "//") {
		location = "//" + strings.TrimLeft(location, "/")
	}
	u, err := url.Parse(location)
	return err == nil && strings.HasSuffix(u.Hostname(), attackerHost)
}
