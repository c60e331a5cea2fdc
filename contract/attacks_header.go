package contract

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// headerAttacks send credentials, or claims of an identity, in a form that a
// service must ignore.
var headerAttacks = []Attack{
	{ID: "header.none", Text: "The request has no credentials.", Requirement: "MW-01", Source: "RFC 6750 section 3", Severity: Critical,
		run: func(ctx context.Context, p *probe) error {
			return p.refuse(ctx, message{method: p.guard.Method, path: p.guard.Path})
		}},
	{ID: "header.challenge", Text: "A refused request learns no scheme of authentication.", Requirement: "MW-01", Source: "RFC 9110 section 11.6.1", Severity: Low,
		run: func(ctx context.Context, p *probe) error {
			a, err := p.send(ctx, message{method: p.guard.Method, path: p.guard.Path})
			switch {
			case err != nil:
				return err
			case a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "":
				return succeeded("the response has status 401 and no WWW-Authenticate")
			}
			return nil
		}},
	{ID: "header.bad-token-challenge", Text: "A client with a bad token is not told that the token is the reason.", Requirement: "MW-01", Source: "RFC 6750 section 3.1", Severity: Low,
		run: func(ctx context.Context, p *probe) error {
			a, err := p.get(ctx, "bad")
			switch {
			case err != nil:
				return err
			case a.status == http.StatusUnauthorized && !strings.Contains(a.header.Get("WWW-Authenticate"), "invalid_token"):
				return succeeded("WWW-Authenticate has no error=\"invalid_token\"")
			}
			return nil
		}},
	{ID: "header.empty-token", Text: "The token is empty, or consists of spaces.", Requirement: "MW-02", Source: "RFC 6750 section 2.1", Severity: High,
		run: authorizations(func(string) []string {
			return []string{"Bearer", "Bearer ", "Bearer  ", "", " ", "Bearer ,", "Bearer null", "Bearer undefined"}
		})},
	{ID: "header.scheme", Text: "The token follows another scheme, or none.", Requirement: "MW-02", Source: "RFC 9110 section 11.4", Severity: Low,
		run: authorizations(func(t string) []string {
			return []string{t, "Basic " + t, "Token " + t, "JWT " + t, "Bearer: " + t, "Bearer=" + t, "XBearer " + t, "Bearer" + t}
		})},
	{ID: "header.more-text", Text: "Text precedes or follows the token.", Requirement: "MW-02", Source: "RFC 6750 section 2.1", Severity: Low,
		run: authorizations(func(t string) []string {
			return []string{"Bearer Bearer " + t, "Bearer " + t + " x", "Bearer x " + t, "Bearer " + t + ", Bearer " + t, "Bearer " + t + ",", "Bearer " + t + ";a=b", `Bearer "` + t + `"`}
		})},
	{ID: "header.two-headers", Text: "Two Authorization headers carry different credentials.", Requirement: "MW-04", Source: "RFC 9110 section 5.3", Severity: Low,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			for _, pair := range [][]string{{"Bearer " + token, "Bearer bad"}, {"Bearer bad", "Bearer " + token}, {"Basic YTpi", "Bearer " + token}} {
				if err := p.refuse(ctx, message{method: p.guard.Method, path: p.guard.Path, header: http.Header{"Authorization": pair}}); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "header.query", Text: "The token is in the query of the URL.", Requirement: "MW-03", Source: "RFC 9700 section 4.3.2", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			for _, name := range []string{"access_token", "token", "jwt", "auth", "authorization", "bearer_token"} {
				if err := p.refuse(ctx, message{method: p.guard.Method, path: p.guard.Path + "?" + url.Values{name: {token}}.Encode()}); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "header.body", Text: "The token is in the body of the request.", Requirement: "MW-03", Source: "RFC 6750 section 2.2", Severity: Low,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			return p.refuse(ctx, message{
				method: p.guard.Method, path: p.guard.Path, body: url.Values{"access_token": {token}}.Encode(),
				header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
			})
		}},
	{ID: "header.cookie", Text: "The access token is in a cookie, which other sites can make a browser send.", Requirement: "MW-03", Source: "RFC 6750 section 5.3", Severity: High,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			own := "" // the session cookie can be a token
			if p.CookiePath != "" {
				c, err := p.cookie(ctx, p.User, nil)
				if err != nil {
					return err
				}
				own = c.Name
			}
			for _, name := range []string{"access_token", "token", "jwt", "session", "auth", "Authorization", "id_token"} {
				if name == own {
					continue
				}
				if err := p.refuse(ctx, message{method: p.guard.Method, path: p.guard.Path, header: http.Header{"Cookie": {name + "=" + token, name + "=Bearer " + token}}}); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "header.other-header", Text: "The token is in a header that is not Authorization.", Requirement: "MW-03", Source: "RFC 6750 section 2.1", Severity: Low,
		run: headersWith(func(t string) []string {
			return []string{"X-Authorization: Bearer " + t, "Proxy-Authorization: Bearer " + t, "X-Access-Token: " + t, "X-Auth-Token: " + t, "X-Api-Key: " + t, "Authorization_: Bearer " + t}
		})},
	{ID: "header.trailer", Text: "The token is in a trailer, after the body.", Requirement: "MW-03", Source: "RFC 9110 section 6.5.1", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			return p.refuse(ctx, message{method: p.guard.Method, path: p.guard.Path, body: "x", trailer: bearer(token)})
		}},
	{ID: "header.identity", Text: "A header claims an identity, as behind a proxy that authenticates.", Requirement: "MW-08", Source: "ASVS 8.3.1", Severity: Critical,
		run: func(ctx context.Context, p *probe) error {
			name := p.User.Name
			if p.Admin.Name != "" {
				name = p.Admin.Name
			}
			return headersWith(func(string) []string {
				return []string{
					"X-User: " + name, "X-Username: " + name, "X-Remote-User: " + name, "Remote-User: " + name, "X-Forwarded-User: " + name,
					"X-Forwarded-Email: " + name, "X-Auth-Request-User: " + name, "X-Auth-Request-Email: " + name, "X-User-Id: 1", "X-Webauth-User: " + name,
					"X-Authenticated-User: " + name, "X-Client-Cert-Dn: CN=" + name, "From: " + name,
				}
			})(ctx, p)
		}},
	{ID: "header.loopback", Text: "A header claims that the request comes from the machine of the service.", Requirement: "MW-08", Source: "CWE-290", Severity: High,
		run: headersWith(func(string) []string {
			return []string{
				"X-Forwarded-For: 127.0.0.1", "X-Real-Ip: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Originating-Ip: 127.0.0.1", "X-Client-Ip: 127.0.0.1",
				"True-Client-Ip: 127.0.0.1", "X-Custom-Ip-Authorization: 127.0.0.1",
			}
		})},
	{ID: "header.role", Text: "A user claims the role of an administrator in a header.", Requirement: "MW-08", Source: "ASVS 8.3.1", Severity: Critical, needs: needAdminRoute | needAdmin,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			for _, line := range []string{"X-Role: admin", "X-Roles: admin", "X-User-Role: admin", "X-Is-Admin: true", "X-Admin: 1", "X-Scope: admin", "X-Groups: admin", "X-Forwarded-Groups: admin"} {
				h := bearer(token)
				name, value, _ := strings.Cut(line, ": ")
				h.Set(name, value)
				if err := p.refuse(ctx, message{method: http.MethodGet, path: p.route(AdminOnly).Path, header: h}); err != nil {
					return err
				}
			}
			return nil
		}},
}

// authorizations is the run function of an attack with values of the header
// Authorization that are made from a good token.
func authorizations(values func(token string) []string) func(context.Context, *probe) error {
	return headersWith(func(token string) (lines []string) {
		for _, v := range values(token) {
			lines = append(lines, "Authorization: "+v)
		}
		return lines
	})
}

// headersWith is the run function of an attack with one header line a request.
func headersWith(lines func(token string) []string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		token, err := p.token(ctx, p.User)
		if err != nil {
			return err
		}
		for _, line := range lines(token) {
			name, value, _ := strings.Cut(line, ": ")
			if err := p.refuse(ctx, message{method: p.guard.Method, path: p.guard.Path, header: http.Header{name: {value}}}); err != nil {
				return err
			}
		}
		return nil
	}
}
