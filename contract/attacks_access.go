package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// accessAttacks use routes that an account may not use.
var accessAttacks = []Attack{
	{ID: "access.anonymous", Text: "A request without credentials is sent to each guarded route.", Requirement: "MW-05", Source: "ASVS 8.2.1", Severity: Critical,
		run: everyRoute(isGuarded, func(ctx context.Context, p *probe, r Route) error { return p.refuse(ctx, p.request(r, "")) })},
	{ID: "access.bad-token", Text: "A forged token is sent to each guarded route.", Requirement: "MW-05", Source: "ASVS 8.2.1", Severity: Critical,
		run: everyRoute(isGuarded, func(ctx context.Context, p *probe, r Route) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			if err := p.refuse(ctx, p.request(r, token[:len(token)-2])); err != nil {
				return err
			}
			return p.refuse(ctx, p.request(r, "x"))
		})},
	{ID: "access.user", Text: "A user without special rights uses each route for administrators.", Requirement: "MW-05", Source: "ASVS 8.2.1", Severity: Critical, needs: needAdminRoute | needAdmin,
		run: everyRoute(isForAdmin, func(ctx context.Context, p *probe, r Route) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			return p.refuse(ctx, p.request(r, token))
		})},
	{ID: "access.user-status", Text: "A user who lacks a right is told to log in again.", Requirement: "MW-01", Source: "RFC 6750 section 3.1", Severity: Low, needs: needAdminRoute,
		run: everyRoute(isForAdmin, func(ctx context.Context, p *probe, r Route) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			a, err := p.send(ctx, p.request(r, token))
			if err == nil && a.status == http.StatusUnauthorized {
				return succeeded("%s %s responds with 401; want 403, or 404 to hide the route", r.Method, r.Path)
			}
			return err
		})},
	{ID: "access.admin", Text: "The service refuses its administrator, so that every attack on its routes seems to fail.", Requirement: "MW-05", Source: "ASVS 8.2.1", Severity: Low, needs: needAdminRoute | needAdmin,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.Admin)
			if err != nil {
				return err
			}
			a, err := p.send(ctx, p.request(*p.route(AdminOnly), token))
			if err == nil && !a.ok() {
				return succeeded("%s with the token of Target.Admin responds with %d", p.route(AdminOnly).Path, a.status)
			}
			return err
		}},
	{ID: "access.user-path", Text: "A user writes the path of a route for administrators in other ways.", Requirement: "FR-01", Source: "RFC 3986 section 6.2.2", Severity: Critical, needs: needAdminRoute | needAdmin,
		run: everyRoute(isForAdmin, func(ctx context.Context, p *probe, r Route) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			path := r.Path
			if len(path) < 2 {
				return nil
			}
			for _, other := range []string{
				"/" + path, "/." + path, "/x/.." + path, "/%2e" + path, "/x/..%2f" + path[1:], "/" + strings.ReplaceAll(path[1:], "/", "%2f"), strings.ToUpper(path),
				"/%" + hexOf(path[1]) + path[2:], path + "%00", path + "/.", path + ";a", path + ".json", "/" + strings.ReplaceAll(path[1:], "/", "%5c"),
			} {
				a, err := p.raw(ctx, r.Method, p.base.Path+other, "Authorization: Bearer "+token)
				if err := p.reached(ctx, r.Method, a, err); err != nil {
					return err
				}
			}
			return nil
		})},
	{ID: "access.user-method", Text: "A user sends other methods to a route for administrators.", Requirement: "TR-03", Source: "ASVS 4.1.4", Severity: Critical, needs: needAdminRoute | needAdmin,
		run: everyRoute(isForAdmin, func(ctx context.Context, p *probe, r Route) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "get", "FOO"} {
				if p.admits(method, r.Path, LoggedIn) || method == http.MethodHead && p.admits(http.MethodGet, r.Path, LoggedIn) {
					continue
				}
				a, err := p.raw(ctx, method, p.base.Path+r.Path, "Authorization: Bearer "+token, "Content-Length: 0")
				if err := p.reached(ctx, method, a, err); err != nil {
					return err
				}
			}
			return nil
		})},
	{ID: "access.body-first", Text: "A route reads the body before it checks the credentials.", Requirement: "MW-06", Source: "ASVS 8.3.1", Severity: Medium, needs: needBodyRoute,
		run: everyRoute(func(r Route) bool { return r.Body != "" && isGuarded(r) }, func(ctx context.Context, p *probe, r Route) error {
			good, err := p.send(ctx, p.request(r, ""))
			if err != nil {
				return err
			}
			for _, body := range []string{"{", "", `{"unknown":1}`, strings.Repeat("x", 200_000)} {
				m := p.request(r, "")
				m.body = body
				a, err := p.send(ctx, m)
				if err != nil && isHangUp(err) {
					continue
				}
				if err != nil {
					return err
				}
				switch a.status {
				case good.status, http.StatusRequestEntityTooLarge: // the length is in the header
				case http.StatusTooManyRequests, http.StatusServiceUnavailable:
					return errThrottled
				default:
					return succeeded("%s %s without credentials responds to a bad body with %d, and to a good one with %d", r.Method, r.Path, a.status, good.status)
				}
			}
			return nil
		})},
	{ID: "access.body-type", Text: "A route takes JSON that a form of another site can send.", Requirement: "TR-05", Source: "ASVS 3.5.2", Severity: Low, needs: needBodyRoute | needAdmin,
		run: everyRoute(func(r Route) bool { return r.Body != "" && isGuarded(r) }, func(ctx context.Context, p *probe, r Route) error {
			token, err := p.token(ctx, p.Admin)
			if err != nil {
				return err
			}
			good, err := p.bodyWorks(ctx, r, token)
			if err != nil {
				return err
			}
			for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data; boundary=x"} {
				m := p.request(r, token)
				m.header.Del("Content-Type")
				if contentType != "" {
					m.header.Set("Content-Type", contentType)
				}
				a, err := p.send(ctx, m)
				if err := p.took(good, a, err); err != nil {
					return err
				}
			}
			return nil
		})},
	{ID: "access.body-malformed", Text: "A route accepts JSON that parsers read in different ways.", Requirement: "TR-05", Source: "RFC 8259 section 4", Severity: Low, needs: needBodyRoute | needAdmin,
		run: everyRoute(func(r Route) bool { return strings.HasPrefix(r.Body, "{") && isGuarded(r) }, func(ctx context.Context, p *probe, r Route) error {
			token, err := p.token(ctx, p.Admin)
			if err != nil {
				return err
			}
			var members map[string]json.RawMessage
			if err := json.Unmarshal([]byte(r.Body), &members); err != nil {
				return fmt.Errorf("Target.Routes: the Body of %s %s is no JSON object", r.Method, r.Path)
			}
			good, err := p.bodyWorks(ctx, r, token)
			if err != nil {
				return err
			}
			bodies := []string{r.Body + r.Body, r.Body + "x", "[" + r.Body + "]", "\xef\xbb\xbf" + r.Body, "null", `""`, "0", r.Body[:len(r.Body)-1]}
			for name, value := range members {
				bodies = append(bodies, prepend(r.Body, fmt.Sprintf("%q:%s", name, value)))
			}
			for _, body := range bodies {
				m := p.request(r, token)
				m.body = body
				a, err := p.send(ctx, m)
				if err := p.took(good, a, err); err != nil {
					return err
				}
			}
			return nil
		})},
	{ID: "access.nul", Text: "Strings of a body have NUL, or bytes that are not UTF-8.", Requirement: "ST-05", Source: "ASVS 1.2.4", Severity: Medium, needs: needBodyRoute | needAdmin,
		run: everyRoute(func(r Route) bool { return strings.HasPrefix(r.Body, "{") && isGuarded(r) }, func(ctx context.Context, p *probe, r Route) error {
			token, err := p.token(ctx, p.Admin)
			if err != nil {
				return err
			}
			good, err := p.bodyWorks(ctx, r, token)
			if err != nil {
				return err
			}
			var members map[string]json.RawMessage
			_ = json.Unmarshal([]byte(r.Body), &members) // the attack before has checked it
			for name, value := range members {
				if _, ok := text(value); !ok {
					continue
				}
				for _, bad := range []string{`"\u0000"`, "\"\xff\"", `"\ud800"`, `"a\u0000b@example.com"`} {
					m := p.request(r, token)
					m.body = with(members, name, bad)
					a, err := p.send(ctx, m)
					if err := p.took(good, a, err); err != nil {
						return err
					}
				}
			}
			return nil
		})},
	{ID: "access.mass-assignment", Text: "A user adds members to a body that give rights.", Requirement: "RG-14", Source: "ASVS 15.3.3; CWE-915", Severity: Critical, needs: needBodyRoute | needAdminRoute | needAdmin,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			any := false
			for _, r := range p.Routes {
				if !strings.HasPrefix(r.Body, "{") || r.Access == AdminOnly {
					continue
				}
				var members map[string]json.RawMessage
				if err := json.Unmarshal([]byte(r.Body), &members); err != nil {
					return fmt.Errorf("Target.Routes: the Body of %s %s is no JSON object", r.Method, r.Path)
				}
				m := p.request(r, token)
				m.body = with(members, "roles", `["admin"]`, "role", `"admin"`, "is_admin", "true", "admin", "true", "is_superuser", "true", "permissions", `["*"]`, "user_id", "1", "email_verified", "true")
				if _, err := p.send(ctx, m); err != nil {
					return err
				}
				again, err := p.logIn(ctx, p.User) // rights can be in the token
				if err != nil {
					return err
				}
				for _, token := range []string{token, again.Access} {
					if err := p.refuse(ctx, p.request(*p.route(AdminOnly), token)); err != nil {
						return err
					}
				}
				any = true
			}
			if !any {
				return &inapplicable{"Target.Routes has no route with a JSON object as Body that Target.User may use"}
			}
			return nil
		}},
	{ID: "access.redirect", Text: "A parameter makes the service redirect to another site.", Requirement: "OA-07", Source: "ASVS 3.7.2; CWE-601", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			paths := []string{"/", p.LoginPath}
			for _, r := range p.Routes {
				if r.Access == Public {
					paths = append(paths, r.Path)
				}
			}
			for _, path := range paths {
				for _, to := range []string{"https://" + attackerHost, "//" + attackerHost, `/\` + attackerHost, "/\t/" + attackerHost} {
					values := url.Values{}
					for _, name := range []string{"next", "url", "redirect", "redirect_to", "redirect_uri", "return", "return_to", "returnTo", "continue", "goto", "target", "r"} {
						values.Set(name, to)
					}
					a, err := p.send(ctx, message{method: http.MethodGet, path: path + "?" + values.Encode()})
					if err != nil {
						return err
					}
					_, refresh, _ := strings.Cut(strings.ToLower(a.header.Get("Refresh")), "url=")
					if leads(a.header.Get("Location")) || leads(refresh) {
						return succeeded("%s redirects to another site", path)
					}
				}
			}
			return nil
		}},
	{ID: "access.redirect-path", Text: "A path makes the service redirect to another site.", Requirement: "OA-07", Source: "CWE-601", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			for _, path := range []string{"//" + attackerHost, "//" + attackerHost + "/", "//" + attackerHost + "/..", `/\` + attackerHost + "/x/..", "//" + attackerHost + "/%2e%2e", "/%2f" + attackerHost} {
				a, err := p.raw(ctx, http.MethodGet, path)
				switch {
				case err != nil && isHangUp(err):
				case err != nil:
					return err
				case leads(a.header.Get("Location")):
					return succeeded("the path %s redirects to another site", path)
				}
			}
			return nil
		}},
}

// leads reports whether a browser follows a location to the site of the
// attacker.
func leads(location string) bool {
	location = strings.NewReplacer(`\`, "/", "\t", "").Replace(location) // as browsers do
	u, err := url.Parse(location)
	return err == nil && u.Host == attackerHost
}

func isGuarded(r Route) bool { return r.Access != Public }

func isForAdmin(r Route) bool { return r.Access == AdminOnly }

// request returns the request of a route, with a token unless it is empty.
func (p *probe) request(r Route, token string) message {
	m := message{method: r.Method, path: r.Path, header: http.Header{}, body: r.Body}
	if token != "" {
		m.header = bearer(token)
	}
	if r.Body != "" {
		m.header.Set("Content-Type", "application/json")
	}
	return m
}

// everyRoute is the run function of an attack on each route that is chosen.
func everyRoute(chosen func(Route) bool, f func(context.Context, *probe, Route) error) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		any := false
		for _, r := range p.Routes {
			if !chosen(r) {
				continue
			}
			any = true
			if err := p.routeWorks(ctx, r); err != nil {
				return err
			}
			if err := f(ctx, p, r); err != nil {
				return err
			}
		}
		if !any {
			return &inapplicable{"Target.Routes has no such route"}
		}
		return nil
	}
}

// prepend adds members to the front of a JSON object.
func prepend(object, members string) string {
	rest := strings.TrimSpace(object[1:])
	if rest != "}" {
		members += ","
	}
	return "{" + members + rest
}
