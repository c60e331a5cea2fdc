package contract

import (
	"context"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// responseAttacks look at the headers that a browser obeys.
var responseAttacks = []Attack{
	{ID: "cors.any-origin", Text: "A site that is not allowed reads responses, if it has a token.", Requirement: "TR-04", Source: "ASVS 3.4.2", Severity: Low,
		run: origins("https://" + attackerHost)},
	{ID: "cors.null", Text: "A page without an origin, such as a sandboxed frame, is allowed like a site.", Requirement: "TR-04", Source: "ASVS 3.4.2", Severity: Medium,
		run: origins("null")},
	{ID: "cors.similar", Text: "A site whose name resembles an allowed one is allowed too.", Requirement: "TR-04", Source: "ASVS 3.4.2", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			var similar []string
			for _, origin := range append(slices.Clone(p.Origins), p.base.Scheme+"://"+p.base.Host) {
				scheme, host, _ := strings.Cut(origin, "://")
				similar = append(similar, origin+"."+attackerHost, scheme+"://attacker"+host, scheme+"://"+strings.Replace(host, ".", "x", 1), origin+"x", scheme+"://"+attackerHost+"/"+host, strings.ToUpper(origin)+".x")
			}
			similar = slices.DeleteFunc(similar, func(o string) bool { return slices.Contains(p.Origins, o) })
			return origins(similar...)(ctx, p)
		}},
	{ID: "cors.scheme", Text: "The same host without TLS, or on another port, is allowed too.", Requirement: "TR-04", Source: "RFC 6454 section 4", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			other := []string{"ftp://" + p.base.Host, "https://" + p.base.Hostname() + ":1"}
			for _, origin := range p.Origins {
				if host, ok := strings.CutPrefix(origin, "https://"); ok {
					other = append(other, "http://"+host)
				}
			}
			return origins(other...)(ctx, p)
		}},
	{ID: "cors.preflight", Text: "A site that is not allowed may send requests with a token.", Requirement: "TR-04", Source: "WHATWG Fetch, CORS protocol", Severity: Low,
		run: func(ctx context.Context, p *probe) error {
			if p.everyOrigin() {
				return &inapplicable{everyOriginNote}
			}
			for _, r := range p.Routes {
				a, err := p.send(ctx, message{method: http.MethodOptions, path: r.Path, header: http.Header{
					"Origin": {"https://" + attackerHost}, "Access-Control-Request-Method": {r.Method}, "Access-Control-Request-Headers": {"authorization"},
				}})
				if err != nil {
					return err
				}
				if readable(a, "https://"+attackerHost) && r.Access != Public {
					return succeeded("%s: the preflight response allows the origin of the attacker", r.Path)
				}
			}
			return nil
		}},
	{ID: "cors.credentials", Text: "A site that is not allowed reads responses, with the cookies of the user.", Requirement: "TR-04", Source: "WHATWG Fetch, CORS protocol and credentials", Severity: High,
		run: func(ctx context.Context, p *probe) error {
			for _, r := range p.Routes {
				for _, origin := range []string{"https://" + attackerHost, "null"} {
					a, err := p.send(ctx, message{method: http.MethodGet, path: r.Path, header: http.Header{"Origin": {origin}}})
					if err != nil {
						return err
					}
					// Browsers send no cookies if the origin is "*".
					if a.header.Get("Access-Control-Allow-Credentials") == "true" && a.header.Get("Access-Control-Allow-Origin") == origin {
						return succeeded("%s: the response allows credentials to the origin %s", r.Path, origin)
					}
				}
			}
			return nil
		}},
	{ID: "cors.vary", Text: "A cache stores the response for one site and serves it to another.", Requirement: "TR-04", Source: "WHATWG Fetch, CORS protocol and HTTP caches", Severity: Low,
		run: func(ctx context.Context, p *probe) error {
			for _, origin := range append(slices.Clone(p.Origins), "https://"+attackerHost) {
				a, err := p.send(ctx, message{method: http.MethodGet, path: p.guard.Path, header: http.Header{"Origin": {origin}}})
				if err != nil {
					return err
				}
				allowed := a.header.Get("Access-Control-Allow-Origin")
				if allowed != origin {
					continue
				}
				other, err := p.send(ctx, message{method: http.MethodGet, path: p.guard.Path, header: http.Header{"Origin": {"https://another.example"}}})
				if err != nil {
					return err
				}
				if other.header.Get("Access-Control-Allow-Origin") != allowed && !strings.Contains(strings.ToLower(strings.Join(a.header.Values("Vary"), ",")), "origin") {
					return succeeded("the response allows %s and has no Vary: Origin", origin)
				}
			}
			return nil
		}},
	{ID: "cors.many-commas", Text: "The requested headers of a preflight are thousands of commas.", Requirement: "TR-04", Source: "CVE-2025-47908", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			a, err := p.send(ctx, message{method: http.MethodOptions, path: p.guard.Path, header: http.Header{
				"Origin": {"https://" + attackerHost}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {strings.Repeat(",", 20_000)},
			}})
			if err == nil && a.crashed() {
				return succeeded("the service could not handle the request: status %d", a.status)
			}
			if err != nil && !isHangUp(err) {
				return err
			}
			return p.healthy(ctx)
		}},
	{ID: "response.no-store", Text: "A cache stores the data of a user.", Requirement: "MW-10", Source: "ASVS 14.3.2", Severity: Medium,
		run: everyRoute(func(r Route) bool { return isGuardedGet(r) }, func(ctx context.Context, p *probe, r Route) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			a, err := p.send(ctx, p.request(r, token))
			if err == nil && a.ok() && !private(a.header) {
				return succeeded("%s: the response has no Cache-Control that forbids to store it", r.Path)
			}
			return err
		})},
	{ID: "response.no-sniff", Text: "A browser guesses the type of a response.", Requirement: "TR-02", Source: "ASVS 3.4.4", Severity: Low,
		run: answers(func(a *answer) string {
			if a.body != "" && !strings.EqualFold(a.header.Get("X-Content-Type-Options"), "nosniff") {
				return "the response has no X-Content-Type-Options: nosniff"
			}
			return ""
		})},
	{ID: "response.type", Text: "A response has no type, or one that does not fit its JSON.", Requirement: "TR-02", Source: "ASVS 4.1.1", Severity: Low,
		run: answers(func(a *answer) string {
			contentType, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
			isJSON := strings.HasPrefix(strings.TrimSpace(a.body), "{")
			switch {
			case a.body == "":
			case err != nil:
				return "the response has a body and no Content-Type"
			case isJSON && contentType != "application/json" && !strings.HasSuffix(contentType, "+json"):
				return "the response is JSON, and its type is " + contentType
			}
			return ""
		})},
	{ID: "response.frame", Text: "A page of the service is shown in a frame of another site.", Requirement: "TR-07", Source: "ASVS 3.4.6", Severity: Low,
		run: answers(func(a *answer) string {
			policy := strings.Join(a.header.Values("Content-Security-Policy"), ";")
			if a.ok() && strings.HasPrefix(a.header.Get("Content-Type"), "text/html") && !strings.Contains(policy, "frame-ancestors") && a.header.Get("X-Frame-Options") == "" {
				return "the page has no frame-ancestors"
			}
			return ""
		})},
	{ID: "response.script-policy", Text: "A page of the service runs scripts of every source.", Requirement: "TR-07", Source: "ASVS 3.4.3", Severity: Low,
		run: answers(func(a *answer) string {
			policy := strings.Join(a.header.Values("Content-Security-Policy"), ";")
			if a.ok() && strings.HasPrefix(a.header.Get("Content-Type"), "text/html") && !strings.Contains(policy, "script-src") && !strings.Contains(policy, "default-src") {
				return "the page has no Content-Security-Policy for scripts"
			}
			return ""
		})},
	{ID: "response.script", Text: "A script in a path or parameter enters a page.", Requirement: "TR-02", Source: "ASVS 1.2.1; CWE-79", Severity: High,
		run: func(ctx context.Context, p *probe) error {
			const script = "<script>contract()</script>"
			paths := []string{"/%3Cscript%3Econtract()%3C/script%3E", "/?q=%3Cscript%3Econtract()%3C%2Fscript%3E"}
			for _, r := range p.Routes {
				if r.Method == http.MethodGet {
					paths = append(paths, r.Path+"?q=%3Cscript%3Econtract()%3C/script%3E&error=%3Cscript%3Econtract()%3C/script%3E&name=%3Cscript%3Econtract()%3C/script%3E", r.Path+"/%3Cscript%3Econtract()%3C/script%3E")
				}
			}
			for _, path := range paths {
				a, err := p.raw(ctx, http.MethodGet, p.base.Path+path)
				switch {
				case err != nil && isHangUp(err):
				case err != nil:
					return err
				case strings.Contains(a.body, script) && runsScripts(a.header.Get("Content-Type")):
					return succeeded("%s: the page has the script", path)
				}
			}
			return nil
		}},
	{ID: "response.split", Text: "A line break in a parameter or header adds a header to the response.", Requirement: "AU-04", Source: "CWE-113", Severity: High,
		run: func(ctx context.Context, p *probe) error {
			for _, r := range p.Routes {
				if r.Method != http.MethodGet {
					continue
				}
				a, err := p.raw(ctx, http.MethodGet, p.base.Path+r.Path+"?next=%0d%0aX-Contract:%20split&lang=%0d%0aX-Contract:%20split", "X-Request-Id: a%0d%0aX-Contract: split")
				switch {
				case err != nil && isHangUp(err):
				case err != nil:
					return err
				case a.header.Get("X-Contract") != "":
					return succeeded("%s: the response has a header of the attacker", r.Path)
				}
			}
			return nil
		}},
	{ID: "response.version", Text: "A response tells the version of the software of the service.", Requirement: "TR-02", Source: "ASVS 13.4.6", Severity: Low,
		run: answers(func(a *answer) string {
			for _, name := range []string{"Server", "X-Powered-By", "X-Aspnet-Version", "X-Runtime", "X-Generator"} {
				if versions.MatchString(a.header.Get(name)) {
					return "the header " + name + " has a version"
				}
			}
			return ""
		})},
}

var versions = regexp.MustCompile(`\d+\.\d+`)

// private reports whether a response may not be stored by a shared cache.
func private(h http.Header) bool {
	control := strings.ToLower(strings.Join(h.Values("Cache-Control"), ","))
	return strings.Contains(control, "no-store") || strings.Contains(control, "private") && strings.Contains(control, "no-cache")
}

// everyOriginNote is the reason why some attacks do not apply to a public API.
const everyOriginNote = `Target.Origins has "*", so every site may use the service with a token`

func (t *Target) everyOrigin() bool { return slices.Contains(t.Origins, "*") }

// runsScripts reports whether a browser runs scripts in a response of a type.
func runsScripts(contentType string) bool {
	return contentType == "" || strings.Contains(contentType, "html") || strings.Contains(contentType, "xml")
}

// readable reports whether a page of an origin may read a response.
func readable(a *answer, origin string) bool {
	allowed := a.header.Values("Access-Control-Allow-Origin")
	return slices.Contains(allowed, origin) || slices.Contains(allowed, "*")
}

// origins is the run function of an attack in which pages of other origins read
// guarded responses.
func origins(names ...string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		token, err := p.token(ctx, p.User)
		if err != nil {
			return err
		}
		if p.everyOrigin() {
			return &inapplicable{everyOriginNote}
		}
		for _, origin := range names {
			h := bearer(token)
			h.Set("Origin", origin)
			a, err := p.send(ctx, message{method: p.guard.Method, path: p.guard.Path, header: h})
			if err != nil {
				return err
			}
			// That every origin is allowed is one result, of the first attack.
			if a.header.Get("Access-Control-Allow-Origin") == origin || readable(a, origin) && origin == "https://"+attackerHost {
				return succeeded("a page of %s may read the response; if every site may, add \"*\" to Target.Origins", origin)
			}
		}
		return nil
	}
}

// answers is the run function of an attack that looks at the responses of every
// GET route: to the user, without credentials, and to a path that is unknown.
func answers(look func(*answer) string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		token, err := p.token(ctx, p.User)
		if err != nil {
			return err
		}
		messages := []message{{method: http.MethodGet, path: "/contract-unknown"}}
		for _, r := range p.Routes {
			if r.Method == http.MethodGet {
				messages = append(messages, p.request(r, token), p.request(r, ""))
			}
		}
		for _, m := range messages {
			a, err := p.send(ctx, m)
			if err != nil {
				return err
			}
			if a.status >= 300 && a.status < 400 {
				continue // browsers show no body of a redirect
			}
			if note := look(a); note != "" {
				return succeeded("%s: %s", m.path, note)
			}
		}
		return nil
	}
}
