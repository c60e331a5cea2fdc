package contract

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// limitAttacks use up memory or time of the service.
var limitAttacks = []Attack{
	{ID: "limit.form", Text: "The form of a login has five million bytes.", Requirement: "LO-02", Source: "ASVS 15.2.2", Severity: Low, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			return p.tooLarge(ctx, message{method: http.MethodPost, path: p.LoginPath, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: credentials(p.User).Encode() + "&padding=" + strings.Repeat("a", 5_000_000)})
		}},
	{ID: "limit.form-fields", Text: "The form of a login has nine thousand fields.", Requirement: "LO-02", Source: "CWE-400", Severity: Low, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			var b strings.Builder
			for i := range 9_000 {
				fmt.Fprintf(&b, "a%d=&", i)
			}
			return p.tooLarge(ctx, message{method: http.MethodPost, path: p.LoginPath, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: b.String() + credentials(p.User).Encode()})
		}},
	{ID: "limit.form-parts", Text: "The form of a login has nine hundred parts.", Requirement: "LO-02", Source: "CVE-2022-41725", Severity: Low, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			part := func(name, value string) string {
				return "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
			}
			body := part("username", p.User.Name) + part("password", p.User.Password) + strings.Repeat(part("a", ""), 900) + "--x--\r\n"
			return p.tooLarge(ctx, message{method: http.MethodPost, path: p.LoginPath, header: http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}, body: body})
		}},
	{ID: "limit.body", Text: "The JSON body of a request has five million bytes.", Requirement: "TR-05", Source: "ASVS 15.2.2", Severity: Low, needs: needBodyRoute | needAdmin,
		run: func(ctx context.Context, p *probe) error {
			return p.bodyLimit(ctx, func(body string) string { return strings.Repeat(" ", 5_000_000) + body }, nil)
		}},
	{ID: "limit.nesting", Text: "The JSON body of a request is nested twenty thousand levels deep.", Requirement: "TR-05", Source: "CWE-674", Severity: Low, needs: needBodyRoute | needAdmin,
		run: func(ctx context.Context, p *probe) error {
			return p.bodyLimit(ctx, func(body string) string {
				return prepend(body, `"a":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000))
			}, nil)
		}},
	{ID: "limit.members", Text: "The JSON body of a request has a hundred thousand members.", Requirement: "TR-05", Source: "CWE-400", Severity: Low, needs: needBodyRoute | needAdmin,
		run: func(ctx context.Context, p *probe) error {
			return p.bodyLimit(ctx, func(body string) string {
				var b strings.Builder
				for i := range 100_000 {
					fmt.Fprintf(&b, `"a%d":0,`, i)
				}
				return prepend(body, b.String()+`"b":0`)
			}, nil)
		}},
	{ID: "limit.compressed", Text: "A small compressed body expands to eight million bytes.", Requirement: "TR-05", Source: "CWE-409", Severity: Medium, needs: needBodyRoute | needAdmin,
		run: func(ctx context.Context, p *probe) error {
			return p.bodyLimit(ctx, func(body string) string {
				var b bytes.Buffer
				w := gzip.NewWriter(&b)
				block := bytes.Repeat([]byte(" "), 1<<20)
				for range 8 {
					_, _ = w.Write(block) // to memory
				}
				_, _ = w.Write([]byte(body))
				_ = w.Close()
				return b.String()
			}, http.Header{"Content-Encoding": {"gzip"}})
		}},
	{ID: "limit.header", Text: "A header has half a million bytes.", Requirement: "TR-01", Source: "RFC 6585 section 5", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			m := message{method: p.guard.Method, path: p.guard.Path, header: bearer(token)}
			m.header.Set("X-Long", strings.Repeat("a", 500_000))
			if a, err := p.send(ctx, m); err == nil && a.ok() && p.Handler != nil {
				return &inapplicable{"the limit is one of the server (http.Server.MaxHeaderBytes); set Target.BaseURL instead of Handler"}
			}
			return p.tooLarge(ctx, m)
		}},
	{ID: "limit.path", Text: "The path has half a million bytes.", Requirement: "TR-01", Source: "RFC 9110 section 15.5.15", Severity: Low,
		run: func(ctx context.Context, p *probe) error {
			return p.tooLarge(ctx, message{method: p.guard.Method, path: "/" + strings.Repeat("a/", 250_000)})
		}},
	{ID: "limit.page", Text: "A parameter asks for a page of a billion entries, or of none.", Requirement: "ST-05", Source: "ASVS 15.2.2", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			if p.Admin.Name != "" {
				if token, err = p.token(ctx, p.Admin); err != nil {
					return err
				}
			}
			for _, r := range p.Routes {
				if r.Method != http.MethodGet {
					continue
				}
				for _, value := range []string{"1000000000", "-1", "0", "99999999999999999999", "1e9", "x", "%00", "%ff", "'"} {
					query := "?limit=" + value + "&offset=" + value + "&page=" + value + "&per_page=" + value + "&after=" + value + "&cursor=" + value
					a, err := p.send(ctx, message{method: r.Method, path: r.Path + query, header: bearer(token)})
					if err != nil {
						return err
					}
					if a.crashed() {
						return succeeded("%s: the service could not handle the request: status %d", r.Path, a.status)
					}
				}
			}
			return nil
		}},
	{ID: "limit.bad-tokens", Text: "A thousand requests with bad tokens shut out a user with a good one.", Requirement: "LO-12", Source: "ASVS 6.1.1", Severity: High,
		run: func(ctx context.Context, p *probe) error {
			for i := range 1000 {
				if _, err := p.get(ctx, fmt.Sprintf("eyJhbGciOiJIUzI1NiJ9.e30.%d", i)); err != nil && !isHangUp(err) {
					return err
				}
			}
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			a, err := p.get(ctx, token)
			switch {
			case err == nil && a.throttled() && p.Handler == nil:
				return &inapplicable{"the service limits the requests of an address, and a remote client has no other one"}
			case err == nil && a.throttled(): // the limit of the attacker's address
				if a.status, err = p.elsewhere(ctx, "127.0.0.9", message{method: p.guard.Method, path: p.guard.Path, header: bearer(token)}); err != nil {
					return err
				}
			}
			if err == nil && !a.ok() {
				return succeeded("afterwards the service responds to its user with %d", a.status)
			}
			return err
		}},
}

// tooLarge is an attack with a request that the service must refuse. It may
// close the connection. It must still serve others. The login path accepts a
// request if its response has tokens.
func (p *probe) tooLarge(ctx context.Context, m message) error {
	a, err := p.send(ctx, m)
	switch {
	case err != nil && isHangUp(err):
		err = nil
	case m.path == p.LoginPath:
		err = p.noTokens(a, err)
	default:
		err = p.reached(ctx, m.method, a, err)
	}
	if err != nil && !(errors.Is(err, errThrottled) && a.status == http.StatusServiceUnavailable) {
		return err
	}
	return p.healthy(ctx)
}

// bodyLimit is tooLarge for a route that reads JSON, with the rights to use it.
func (p *probe) bodyLimit(ctx context.Context, enlarge func(body string) string, header http.Header) error {
	token, err := p.token(ctx, p.Admin)
	if err != nil {
		return err
	}
	if _, err := p.bodyWorks(ctx, *p.bodyRoute(), token); err != nil {
		return err
	}
	m := p.request(*p.bodyRoute(), token)
	m.body = enlarge(m.body)
	for name, values := range header {
		m.header[name] = values
	}
	err = p.tooLarge(ctx, m)
	if errors.Is(err, errThrottled) { // Connect responds with 429 to a message that is too large
		if a, failed := p.send(ctx, p.request(*p.bodyRoute(), token)); failed == nil && !a.throttled() {
			return p.healthy(ctx)
		}
	}
	return err
}

// healthy returns an error if the service does not serve its user any more.
func (p *probe) healthy(ctx context.Context) error {
	token, err := p.token(ctx, p.User)
	if err != nil {
		return err
	}
	a, err := p.get(ctx, token)
	switch {
	case err != nil:
		return succeeded("afterwards the service does not respond: %v", err)
	case a.throttled():
		return errThrottled
	case !a.ok():
		return succeeded("afterwards the service responds to its user with %d", a.status)
	}
	return nil
}
