package contract

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// ready reports why the target does not work without an attack, or nil. If it
// refused everything, it would withstand every attack.
func (p *probe) ready(ctx context.Context) error {
	token, err := p.token(ctx, p.User)
	if err != nil {
		return fmt.Errorf("contract: Target.User cannot log in: %w", err)
	}
	if err := p.accepts(ctx, p.guard, token, "Target.User"); err != nil {
		return fmt.Errorf("contract: %w", err)
	}
	a, err := p.raw(ctx, p.guard.Method, p.base.Path+p.guard.Path, "Authorization: Bearer "+token)
	if err == nil && !a.ok() {
		err = fmt.Errorf("status %d", a.status)
	}
	if err != nil {
		return fmt.Errorf("contract: %s %s over a connection of its own: %w", p.guard.Method, p.guard.Path, err)
	}
	return nil
}

// control reports why an attack would prove nothing, or nil: without the attack
// the service must serve its users.
func (p *probe) control(ctx context.Context, a Attack) error {
	if err := p.serves(ctx, p.guard, p.User, "Target.User"); err != nil {
		return err
	}
	if a.needs&(needAdmin|needAdminRoute) != 0 && p.Admin.Name != "" && p.route(AdminOnly) != nil && a.ID != "access.admin" {
		if err := p.serves(ctx, *p.route(AdminOnly), p.Admin, "Target.Admin"); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		need need
		run  func(context.Context) error
	}{
		{needRefresh, p.refreshWorks}, {needLogout, p.logoutWorks}, {needPassword | needNewAccount, p.passwordWorks},
		{needFactor | needNewAccount, p.factorWorks}, {needReset | needMails, p.resetWorks},
	} {
		if a.needs&c.need != c.need {
			continue
		}
		if err := p.once(fmt.Sprint(c.need), func() error { return c.run(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// once returns the result of a control that is carried out once.
func (p *probe) once(name string, run func() error) error {
	err, known := p.works[name]
	if !known {
		err = run()
		p.works[name] = err
	}
	return err
}

// serves reports whether a route accepts the token of an account. A token that
// has ended is replaced.
func (p *probe) serves(ctx context.Context, r Route, account Account, name string) error {
	for _, cached := p.tokens[account.Name]; ; cached = false {
		token, err := p.token(ctx, account)
		if err != nil {
			return fmt.Errorf("%s cannot log in: %w", name, err)
		}
		if err = p.accepts(ctx, r, token, name); err == nil || !cached || errors.Is(err, errThrottled) {
			return err
		}
		delete(p.tokens, account.Name)
	}
}

// accepts reports whether a route accepts a token.
func (p *probe) accepts(ctx context.Context, r Route, token, name string) error {
	a, err := p.send(ctx, p.request(r, token))
	switch {
	case err != nil:
		return fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	case a.throttled():
		return errThrottled
	case !a.ok():
		return fmt.Errorf("%s %s with the token of %s responds with %d; want a status below 300", r.Method, r.Path, name, a.status)
	}
	return nil
}

// routeWorks reports whether a GET route serves an account that may use it.
func (p *probe) routeWorks(ctx context.Context, r Route) error {
	account, name := p.User, "Target.User"
	if r.Access == AdminOnly {
		account, name = p.Admin, "Target.Admin"
	}
	if r.Method != http.MethodGet || r.Access == Public || account.Name == "" {
		return nil
	}
	return p.once(r.Path, func() error { return p.serves(ctx, r, account, name) })
}

// bodyWorks returns the response of a route to its body. The body is sent twice,
// so that a later response to it is the same if it may be used once.
func (p *probe) bodyWorks(ctx context.Context, r Route, token string) (*answer, error) {
	first, err := p.send(ctx, p.request(r, token))
	switch {
	case err != nil:
		return nil, err
	case first.throttled():
		return nil, errThrottled
	case !first.ok() && first.status != http.StatusConflict:
		// An attack before has sent the body, so that this is its second use.
		if known := p.bodies[r]; known != nil && first.status == known.status {
			return first, nil
		}
		return nil, fmt.Errorf("%s %s responds to the Body of Target.Routes with %d; set one that it accepts", r.Method, r.Path, first.status)
	}
	second, err := p.send(ctx, p.request(r, token))
	if err != nil {
		return nil, err
	}
	p.bodies[r] = second
	return second, nil
}

// took is refused for a request with a bad body. The response to the good body
// shows that the service took it.
func (p *probe) took(good, a *answer, err error) error {
	if refused := p.refused(a, err); refused != nil {
		return refused
	}
	if a.status == good.status && alike(a.body, good.body, good.body) {
		return succeeded("the service responds with %d, as to a good body", a.status)
	}
	return nil
}

// reached is refused for a request that fits no route exactly. A service may
// respond to all of these with one page.
func (p *probe) reached(ctx context.Context, method string, a *answer, err error) error {
	refused := p.refused(a, err)
	if refused == nil || a == nil || !a.ok() {
		return refused
	}
	pages, ok := p.fallback[method]
	if !ok {
		for i := range pages {
			if pages[i], err = p.raw(ctx, method, p.base.Path+"/contract-unknown/path"); err != nil {
				return err
			}
		}
		p.fallback[method] = pages
	}
	if pages[0].ok() && a.header.Get("Content-Type") == pages[0].header.Get("Content-Type") && alike(a.body, pages[0].body, pages[1].body) {
		return nil
	}
	return refused
}

// noTokens is refused for a request to the login path. Only a response with an
// access token is a success: a service may respond with a page in every case.
func (p *probe) noTokens(a *answer, err error) error {
	refused := p.refused(a, err)
	if a == nil || !a.ok() {
		return refused
	}
	if _, err := p.parseTokens(a); err != nil {
		return nil
	}
	return refused
}

// refreshWorks reports whether a refresh token is good once.
func (p *probe) refreshWorks(ctx context.Context) error {
	tokens, err := p.logIn(ctx, p.User)
	if err != nil {
		return err
	}
	a, err := p.exchange(ctx, tokens.Refresh)
	if err == nil {
		_, err = p.parseTokens(a)
	}
	if err != nil {
		return fmt.Errorf("exchanging a refresh token: %w", err)
	}
	return nil
}

// logoutWorks reports whether the service takes a logout.
func (p *probe) logoutWorks(ctx context.Context) error {
	_, err := p.loggedOut(ctx)
	return err
}

// passwordWorks reports whether a user can change a password.
func (p *probe) passwordWorks(ctx context.Context) error {
	_, err := p.changedPassword(ctx)
	return err
}

// factorWorks reports whether a right response completes a login.
func (p *probe) factorWorks(ctx context.Context) error {
	if p.LogIn != nil {
		return nil // the attacks do not apply
	}
	account, responses, err := p.enrolled(ctx)
	if err != nil {
		return err
	}
	if err := p.complete(ctx, account, responses[0]); err != nil && !isViolated(err) {
		return fmt.Errorf("completing a login with Target.FactorMethod %q: %w", p.FactorMethod, err)
	}
	return nil
}

// resetWorks reports whether a request for a new password sends a mail.
func (p *probe) resetWorks(ctx context.Context) error {
	account, err := p.mailbox(ctx)
	if err != nil {
		return err
	}
	before := p.mailsTo(account)
	a, err := p.send(ctx, p.mail(p.ResetPath, account.Name))
	switch {
	case err != nil:
		return err
	case a.throttled():
		return errThrottled
	case a.status >= 400:
		return fmt.Errorf("%s responds with %d", p.ResetPath, a.status)
	case !p.arrives(ctx, account, before):
		return fmt.Errorf("%s sent no mail to %s within %s, or Target.Mails does not return it", p.ResetPath, account.Name, mailWait)
	}
	return nil
}

// mailWait is the time after which a mail does not come any more. Services send
// mails after their response.
const mailWait = 5 * time.Second

// mailsTo returns how many mails name an account.
func (p *probe) mailsTo(account Account) (n int) {
	for _, text := range p.Mails() {
		if strings.Contains(text, account.Name) {
			n++
		}
	}
	return n
}

// arrives waits for another mail to an account.
func (p *probe) arrives(ctx context.Context, account Account, before int) bool {
	ctx, cancel := context.WithTimeout(ctx, mailWait)
	defer cancel()
	for p.mailsTo(account) <= before {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// origin returns the origin of the service.
func (p *probe) origin() string { return (&url.URL{Scheme: p.base.Scheme, Host: p.base.Host}).String() }

func isViolated(err error) bool {
	_, ok := errors.AsType[*violated](err)
	return ok
}

// noise finds the parts of a text that can differ in every response, such as
// times, nonces and the IDs of requests.
var noise = regexp.MustCompile(`[\w+/=-]+`)

// alike reports whether a text equals two others, except where these differ.
func alike(s, first, second string) bool {
	if first == second {
		return s == first
	}
	if noise.ReplaceAllString(s, "#") != noise.ReplaceAllString(first, "#") {
		return false
	}
	words, of, other := noise.FindAllString(s, -1), noise.FindAllString(first, -1), noise.FindAllString(second, -1)
	for i, word := range words {
		if word != of[i] && (i >= len(other) || of[i] == other[i]) {
			return false
		}
	}
	return true
}
