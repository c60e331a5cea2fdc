package contract

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

var errNotRedeemed = errors.New("the service did not redeem the code")

const maxHops = 5 // redirects that are followed within the service

// A browser has the cookies of one browser, by their names.
type browser map[string]*http.Cookie

// header returns the cookies as the header of a request.
func (b browser) header() http.Header {
	h := http.Header{}
	var pairs []string
	for name, c := range b {
		pairs = append(pairs, name+"="+c.Value)
	}
	if len(pairs) > 0 {
		h.Set("Cookie", strings.Join(pairs, "; "))
	}
	return h
}

// gone reports whether a Set-Cookie removes a cookie.
func gone(c *http.Cookie) bool {
	return c.Value == "" || c.MaxAge < 0 || !c.Expires.IsZero() && c.Expires.Before(time.Now())
}

// visit sends a request of a browser, and keeps the cookies of the response.
func (p *probe) visit(ctx context.Context, b browser, m message) (*answer, error) {
	h := b.header()
	for name, values := range m.header {
		h[name] = values
	}
	m.header = h
	a, err := p.send(ctx, m)
	if err != nil {
		return nil, err
	}
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if gone(c) {
			delete(b, c.Name)
			continue
		}
		p.hide(c.Value)
		b[c.Name] = c
	}
	return a, nil
}

// within returns the path of a Location on the service, or "" if it leads to
// another site. The service can know itself by the host of its redirect URI.
func (p *probe) within(a *answer, request url.Values) string {
	location := a.header.Get("Location")
	if a.status < 300 || a.status >= 400 || location == "" {
		return ""
	}
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	own, _ := url.Parse(request.Get("redirect_uri"))
	if u.Host != "" && u.Host != p.base.Host && (own == nil || u.Host != own.Host) || u.Host == "" && !strings.HasPrefix(u.Path, "/") {
		return ""
	}
	return u.RequestURI()
}

// startLogin begins a login in a browser, and returns the request to the
// authorization endpoint of the provider.
func (p *probe) startLogin(ctx context.Context, b browser, m message) (url.Values, error) {
	m.method = http.MethodGet
	if m.path == "" {
		m.path = p.SocialPath
	}
	for range maxHops {
		a, err := p.visit(ctx, b, m)
		if err != nil {
			return nil, err
		}
		if to, query, found := strings.Cut(a.header.Get("Location"), "?"); found && to == p.Provider.Issuer+"/authorize" {
			request, err := url.ParseQuery(query)
			if err == nil && request.Get("redirect_uri") == "" {
				err = errors.New("the request to the provider has no redirect_uri")
			}
			return request, err
		}
		m.path = p.within(a, nil)
		if m.path == "" {
			return nil, fmt.Errorf("%s responds with %d and does not redirect to the provider", p.SocialPath, a.status)
		}
	}
	return nil, errors.New("too many redirects")
}

// reply returns the parameters with which the provider sends the browser back.
func (p *probe) reply(request url.Values, g *grant) url.Values {
	g.request = request
	values := url.Values{"code": {p.Provider.grant(g)}, "iss": {p.Provider.Issuer}}
	if state := request.Get("state"); state != "" {
		values.Set("state", state)
	}
	return values
}

// callback sends a browser to the redirect URI, and on to pages of the service.
// It returns all responses.
func (p *probe) callback(ctx context.Context, b browser, request, values url.Values) ([]*answer, error) {
	return p.follow(ctx, b, request, message{method: http.MethodGet, path: callbackPath(request, values)})
}

// callbackPath returns the path of a callback with its parameters.
func callbackPath(request, values url.Values) string {
	u, err := url.Parse(request.Get("redirect_uri"))
	if err != nil {
		return "/"
	}
	query := u.Query()
	maps.Copy(query, values)
	u.RawQuery = query.Encode()
	return u.RequestURI()
}

// follow sends a request, and follows redirects within the service.
func (p *probe) follow(ctx context.Context, b browser, request url.Values, m message) (all []*answer, err error) {
	for range maxHops {
		a, err := p.visit(ctx, b, m)
		if err != nil && isHangUp(err) {
			err = succeeded("the service closed the connection without a response")
		}
		if err != nil {
			return all, err
		}
		all = append(all, a)
		if m = (message{method: http.MethodGet, path: p.within(a, request)}); m.path == "" {
			break
		}
	}
	return all, nil
}

// session returns the response of the guarded route to a browser. Its body tells
// which account has logged in.
func (p *probe) session(ctx context.Context, b browser) (*answer, error) {
	return p.send(ctx, message{method: p.guard.Method, path: p.guard.Path, header: b.header()})
}

// enter logs a browser in with a grant, and returns the response of the guarded
// route.
func (p *probe) enter(ctx context.Context, b browser, g *grant) (*answer, error) {
	request, err := p.startLogin(ctx, b, message{})
	if err != nil {
		return nil, err
	}
	return p.finish(ctx, b, request, g)
}

// finish completes a login that a browser has begun.
func (p *probe) finish(ctx context.Context, b browser, request url.Values, g *grant) (*answer, error) {
	if _, err := p.callback(ctx, b, request, p.reply(request, g)); err != nil {
		return nil, err
	}
	return p.session(ctx, b)
}

// finished is finish for a login that must have success, or an attack shows
// nothing.
func (p *probe) finished(ctx context.Context, b browser, request url.Values, g *grant) (*answer, error) {
	a, err := p.finish(ctx, b, request, g)
	if err == nil && !a.ok() {
		err = fmt.Errorf("after a login with the provider, %s responds with %d", p.guard.Path, a.status)
	}
	return a, err
}

// entered is enter for a login that must have success.
func (p *probe) entered(ctx context.Context, b browser, g *grant) (*answer, error) {
	request, err := p.startLogin(ctx, b, message{})
	if err != nil {
		return nil, err
	}
	return p.finished(ctx, b, request, g)
}

// tellsApart returns an *inapplicable if the guarded route has the same response
// for another account as for two logins to one account.
func (p *probe) tellsApart(other, first, again *answer) error {
	if alike(other.body, first.body, again.body) {
		return &inapplicable{"the response of " + p.guard.Path + " does not tell accounts apart"}
	}
	return nil
}

// visitor returns a login of a user of the provider that is new to the service,
// with an address that is verified.
func (p *probe) visitor() *grant {
	_, domain, found := strings.Cut(p.User.Name, "@")
	if !found {
		domain = "example.com"
	}
	id := strings.ToLower(rand.Text()[:12])
	return &grant{claims: map[string]string{
		"sub": `"Subject-` + id + `"`, "email": `"social-` + id + `@` + domain + `"`, "email_verified": "true", "name": `"Social"`,
	}}
}

// as returns a copy of a grant with other claims: pairs of a name and a JSON
// value. The value "" removes a claim.
func (g *grant) as(pairs ...string) *grant {
	claims := maps.Clone(g.claims)
	for i := 0; i < len(pairs); i += 2 {
		claims[pairs[i]] = pairs[i+1]
	}
	return &grant{claims: claims}
}

// text returns a claim that is a text.
func (g *grant) text(name string) string { return strings.Trim(g.claims[name], `"`) }

// refuseGrants is an attack with several grants: the service must log none of
// them in. A login without an attack must have success.
func (p *probe) refuseGrants(ctx context.Context, grants ...*grant) error {
	if _, err := p.entered(ctx, browser{}, p.visitor()); err != nil {
		return err
	}
	for _, g := range grants {
		a, err := p.enter(ctx, browser{}, g)
		if err != nil {
			return err
		}
		if a.ok() {
			return succeeded("the login had success")
		}
	}
	return nil
}

// refuseBrowser is an attack that must not have logged a browser in.
func (p *probe) refuseBrowser(ctx context.Context, b browser) error {
	a, err := p.session(ctx, b)
	if err == nil && a.ok() {
		return succeeded("the browser is logged in")
	}
	return err
}

// socialRequest is the run function of an attack that looks at the request to
// the provider.
func socialRequest(look func(p *Provider, request url.Values) string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		request, err := p.startLogin(ctx, browser{}, message{})
		if err != nil {
			return err
		}
		if note := look(p.Provider, request); note != "" {
			return succeeded("%s", note)
		}
		return nil
	}
}

// socialReply is the run function of an attack that changes the parameters with
// which the provider sends the browser back.
func socialReply(change func(p *probe, values url.Values)) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		if _, err := p.entered(ctx, browser{}, p.visitor()); err != nil {
			return err
		}
		b := browser{}
		request, err := p.startLogin(ctx, b, message{})
		if err != nil {
			return err
		}
		values := p.reply(request, p.visitor())
		change(p, values)
		if _, err := p.callback(ctx, b, request, values); err != nil {
			return err
		}
		return p.refuseBrowser(ctx, b)
	}
}

// flowCookies returns the cookies of a browser without which a login that it has
// begun cannot be completed.
func (p *probe) flowCookies(ctx context.Context) (cookies []*http.Cookie, request url.Values, err error) {
	all := browser{}
	if request, err = p.startLogin(ctx, all, message{}); err != nil {
		return nil, nil, err
	}
	for name, c := range all {
		b := browser{}
		request, err := p.startLogin(ctx, b, message{})
		if err != nil {
			return nil, nil, err
		}
		delete(b, name)
		a, err := p.finish(ctx, b, request, p.visitor())
		if err != nil && !isViolated(err) { // a service may close the connection
			return nil, nil, err
		}
		if err != nil || !a.ok() {
			cookies = append(cookies, c)
		}
	}
	if len(cookies) == 0 {
		err = &inapplicable{"a login needs no cookie; see social.other-browser"}
	}
	return cookies, request, err
}

// open sends a browser to a callback, and keeps the cookies of the response. It
// records nothing, so that requests can be sent at once.
func (p *probe) open(ctx context.Context, b browser, address string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return
	}
	r.Header = b.header()
	response, err := p.client.Do(r)
	if err != nil {
		return
	}
	defer response.Body.Close()
	for _, c := range response.Cookies() {
		b[c.Name] = c
	}
}
