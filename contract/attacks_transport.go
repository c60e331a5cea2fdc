package contract

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// attackerHost is a name that no service has.
const attackerHost = "attacker.example"

// transportAttacks send requests that two layers of a service may read in two
// ways.
var transportAttacks = []Attack{
	{ID: "path.slashes", Text: "The path has empty segments.", Requirement: "FR-01", Source: "RFC 3986 section 3.3", Severity: Critical,
		run: otherPaths(func(path string) []string {
			return []string{"/" + path, "//" + path, path + "//", strings.ReplaceAll(path, "/", "//")}
		})},
	{ID: "path.dots", Text: "The path has segments that are dots.", Requirement: "FR-01", Source: "RFC 3986 section 5.2.4", Severity: Critical,
		run: otherPaths(func(path string) []string {
			return []string{"/." + path, "/x/.." + path, path + "/.", path + "/x/..", "/%2e" + path, "/x/%2e%2e" + path, "/x/.%2e" + path, "/../.." + path}
		})},
	{ID: "path.encoded-slash", Text: "A slash of the path is encoded.", Requirement: "FR-01", Source: "RFC 3986 section 2.2", Severity: Critical,
		run: otherPaths(func(path string) []string {
			return []string{"/" + strings.ReplaceAll(path[1:], "/", "%2f"), "/" + strings.ReplaceAll(path[1:], "/", "%2F"), "/x/..%2f" + path[1:], "/%2f" + path[1:], path + "%2f", "/x%2f.." + path}
		})},
	{ID: "path.backslash", Text: "The path has backslashes.", Requirement: "FR-01", Source: "WHATWG URL section 4.4", Severity: High,
		run: otherPaths(func(path string) []string {
			return []string{`/\` + path[1:], "/%5c" + path[1:], "/" + strings.ReplaceAll(path[1:], "/", `\`), "/x/..%5c" + path[1:], path + "%5c"}
		})},
	{ID: "path.double-encoding", Text: "Letters of the path are encoded twice.", Requirement: "FR-01", Source: "CWE-174", Severity: High,
		run: otherPaths(func(path string) []string {
			return []string{"/%25" + hexOf(path[1]) + path[2:], "/x/%252e%252e" + path, "/" + strings.ReplaceAll(path[1:], "/", "%252f")}
		})},
	{ID: "path.encoded-letter", Text: "A letter of the path is encoded.", Requirement: "FR-01", Source: "RFC 3986 section 6.2.2.2", Severity: Critical,
		run: otherPaths(func(path string) []string { return []string{"/%" + hexOf(path[1]) + path[2:]} })},
	{ID: "path.case", Text: "The path is written in another case.", Requirement: "FR-01", Source: "RFC 3986 section 6.2.2.1", Severity: High,
		run: otherPaths(func(path string) []string {
			return []string{strings.ToUpper(path), path[:1] + strings.ToUpper(path[1:2]) + path[2:]}
		})},
	{ID: "path.parameters", Text: "The path has parameters after a semicolon.", Requirement: "FR-01", Source: "RFC 3986 section 3.3", Severity: High,
		run: otherPaths(func(path string) []string {
			return []string{path + ";", path + ";a=b", "/;" + path, "/..;" + path, path + "/..;/x"}
		})},
	{ID: "path.suffix", Text: "The path has a suffix that names a format, or a static file.", Requirement: "FR-01", Source: "ASVS 14.2.5", Severity: High,
		run: otherPaths(func(path string) []string {
			return []string{path + ".json", path + ".css", path + "/x.js", path + "/.css", path + "%00.png", path + "%20", path + "%09", path + "?", path + "%23", path + "/"}
		})},
	{ID: "path.control", Text: "The path has control characters.", Requirement: "FR-01", Source: "RFC 3986 section 2.1", Severity: Medium,
		run: otherPaths(func(path string) []string {
			return []string{path + "%00", path + "%0a", path + "%0d%0aX:%20y", "/%00" + path, path + "%ff", path + "%c0%af"}
		})},
	{ID: "path.absolute", Text: "The request line has the absolute form, with another host.", Requirement: "FR-01", Source: "RFC 9112 section 3.2.2", Severity: High,
		run: func(ctx context.Context, p *probe) error {
			for _, host := range []string{attackerHost, "localhost", p.base.Host} {
				a, err := p.raw(ctx, p.guard.Method, "http://"+host+p.base.Path+p.guard.Path)
				if err := p.reached(ctx, p.guard.Method, a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "method.head", Text: "HEAD is sent to a guarded route.", Requirement: "TR-03", Source: "RFC 9110 section 9.3.2", Severity: High, run: methods(http.MethodHead)},
	{ID: "method.options", Text: "OPTIONS reaches the handler of a guarded route.", Requirement: "TR-03", Source: "RFC 9110 section 9.3.7", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			a, err := p.send(ctx, message{method: http.MethodOptions, path: p.guard.Path})
			switch {
			case err != nil:
				return err
			case a.crashed():
				return succeeded("the service could not handle the request: status %d", a.status)
			case a.body == "", a.header.Get("Allow") != "", a.header.Get("Access-Control-Allow-Methods") != "":
				return nil // the response lists methods, or has nothing
			}
			return p.reached(ctx, http.MethodOptions, a, nil)
		}},
	{ID: "method.connect", Text: "CONNECT is sent with the path of a guarded route.", Requirement: "FR-01", Source: "RFC 9110 section 9.3.6", Severity: High,
		run: func(ctx context.Context, p *probe) error {
			for _, target := range []string{p.base.Path + p.guard.Path, "/" + p.base.Path + p.guard.Path, p.base.Host} {
				a, err := p.raw(ctx, http.MethodConnect, target)
				if err := p.reached(ctx, http.MethodGet, a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "method.trace", Text: "TRACE returns the request, with its credentials.", Requirement: "TR-03", Source: "RFC 9110 section 9.3.8", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			a, err := p.raw(ctx, http.MethodTrace, p.base.Path+p.guard.Path, "X-Probe: contract-trace")
			switch {
			case err != nil && isHangUp(err):
				return nil
			case err != nil:
				return err
			case strings.Contains(a.body, "contract-trace"):
				return succeeded("the response has the request")
			}
			return p.reached(ctx, http.MethodTrace, a, nil)
		}},
	{ID: "method.unknown", Text: "The method is unknown, or in lower case.", Requirement: "TR-03", Source: "RFC 9110 section 9.1", Severity: High, run: methods("get", "Get", "FOO", "JEFF", "PROPFIND", "TRACK", "DEBUG")},
	{ID: "method.override", Text: "A header overrides the method, so that a guard and a handler see two.", Requirement: "TR-03", Source: "ASVS 4.1.4", Severity: High,
		run: func(ctx context.Context, p *probe) error {
			for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
				for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodOptions} {
					if err := p.overridden(ctx, message{method: method, path: p.guard.Path, header: http.Header{name: {http.MethodGet}}}); err != nil {
						return err
					}
				}
			}
			return p.overridden(ctx, message{
				method: http.MethodPost, path: p.guard.Path + "?_method=GET", body: "_method=GET",
				header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
			})
		}},
	{ID: "path.rewrite", Text: "A header names the path of a guarded route.", Requirement: "FR-01", Source: "CWE-436", Severity: Critical,
		run: func(ctx context.Context, p *probe) error {
			public := "/"
			if r := p.route(Public); r != nil {
				public = r.Path
			}
			var plain [2]*answer
			for i := range plain {
				var err error
				if plain[i], err = p.send(ctx, message{method: http.MethodGet, path: public}); err != nil {
					return err
				}
			}
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			guarded, err := p.get(ctx, token)
			if err != nil {
				return err
			}
			for _, name := range []string{"X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix"} {
				a, err := p.send(ctx, message{method: http.MethodGet, path: public, header: http.Header{name: {p.guard.Path}}})
				switch {
				case err != nil:
					return err
				case a.crashed():
					return succeeded("the service could not handle the header %s: status %d", name, a.status)
				case a.ok() && a.header.Get("Content-Type") == guarded.header.Get("Content-Type") && !alike(a.body, plain[0].body, plain[1].body):
					return succeeded("with the header %s the response is another one", name)
				}
			}
			return nil
		}},
	{ID: "host.other", Text: "The name of another host enters the response.", Requirement: "TR-02", Source: "CWE-644", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			for _, r := range p.Routes {
				a, err := p.send(ctx, message{method: http.MethodGet, path: r.Path, host: attackerHost})
				if err != nil {
					return err
				}
				if a.mentions(attackerHost) {
					return succeeded("%s: the response has the name of the host that the request named", r.Path)
				}
			}
			return nil
		}},
	{ID: "host.forwarded", Text: "The name of a host in a forwarding header enters the response.", Requirement: "TR-02", Source: "CWE-644", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			for _, name := range []string{"X-Forwarded-Host", "X-Host", "X-Forwarded-Server", "Forwarded", "X-Original-Host"} {
				for _, r := range p.Routes {
					value := attackerHost
					if name == "Forwarded" {
						value = "host=" + attackerHost
					}
					a, err := p.send(ctx, message{method: http.MethodGet, path: r.Path, header: http.Header{name: {value}}})
					if err != nil {
						return err
					}
					if a.mentions(attackerHost) {
						return succeeded("%s: the response has the name of the host in %s", r.Path, name)
					}
				}
			}
			return nil
		}},
	{ID: "upgrade.websocket", Text: "A WebSocket handshake without credentials reaches a guarded route.", Requirement: "MW-03", Source: "RFC 6455 section 10.5", Severity: High,
		run: func(ctx context.Context, p *probe) error {
			a, err := p.raw(ctx, p.guard.Method, p.base.Path+p.guard.Path, "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
			if err == nil && a.status == http.StatusSwitchingProtocols {
				return succeeded("the service changed the protocol")
			}
			return p.refused(a, err)
		}},
	{ID: "upgrade.h2c", Text: "A request to change to HTTP/2 passes the guard.", Requirement: "MW-03", Source: "RFC 9113 section 3.1", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			a, err := p.raw(ctx, p.guard.Method, p.base.Path+p.guard.Path, "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
			if err == nil && a.status == http.StatusSwitchingProtocols {
				return succeeded("the service changed the protocol")
			}
			return p.refused(a, err)
		}},
}

// overridden is an attack with a header that names another method. A service may
// respond to the method of the request itself.
func (p *probe) overridden(ctx context.Context, m message) error {
	a, err := p.send(ctx, m)
	refused := p.reached(ctx, m.method, a, err)
	if refused == nil || a == nil || !a.ok() {
		return refused
	}
	m.header, m.body, m.path = nil, "", p.guard.Path
	plain, err := p.send(ctx, m)
	if err == nil && plain.status == a.status && alike(a.body, plain.body, plain.body) {
		return nil
	}
	return refused
}

// otherPaths is the run function of an attack with other spellings of the path
// of a guarded route, without credentials. Each must be refused, and a redirect
// must not lead around the guard.
func otherPaths(of func(path string) []string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		if len(p.guard.Path) < 2 {
			return &inapplicable{"the path / cannot be written in other ways"}
		}
		for _, path := range of(p.guard.Path) {
			a, err := p.raw(ctx, p.guard.Method, p.base.Path+path)
			if err := p.reached(ctx, p.guard.Method, a, err); err != nil {
				return err
			}
		}
		return nil
	}
}

// methods is the run function of an attack with other methods on a guarded
// route, without credentials.
func methods(names ...string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		for _, name := range names {
			if p.admits(name, p.guard.Path, Public) {
				continue
			}
			a, err := p.raw(ctx, name, p.base.Path+p.guard.Path)
			if err := p.reached(ctx, name, a, err); err != nil {
				return err
			}
		}
		return nil
	}
}

// admits reports whether Target.Routes has a method of a path for an access, or
// for more clients.
func (t *Target) admits(method, path string, access Access) bool {
	return slices.ContainsFunc(t.Routes, func(r Route) bool { return r.Method == method && r.Path == path && r.Access <= access })
}

// mentions reports whether the header or the body of a response has a text.
func (a *answer) mentions(s string) bool {
	for _, values := range a.header {
		if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, s) }) {
			return true
		}
	}
	return strings.Contains(a.body, s)
}

func hexOf(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}
