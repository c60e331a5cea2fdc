package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// guessAttacks guess many passwords. They come last, because limits of the
// service block their accounts for a while.
var guessAttacks = []Attack{
	{ID: "guess.victim", Text: "A stranger guesses passwords, so that the user cannot log in from a browser that logged in before.", Requirement: "LO-12", Source: "ASVS 6.1.1", Severity: Medium, needs: needForm | needOther | needLoopback,
		run: func(ctx context.Context, p *probe) error {
			victim, err := p.fresh(ctx, firstPassword)
			if err != nil {
				return err
			}
			cookies, err := p.browser(ctx, victim, nil)
			if err != nil {
				return fmt.Errorf("the victim cannot log in: %w", err)
			}
			for i := range 12 {
				if _, err := p.elsewhere(ctx, "127.0.0.9", message{
					method: http.MethodPost, path: p.LoginPath, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
					body: credentials(Account{victim.Name, fmt.Sprintf("a wrong guess %d", i)}).Encode(),
				}); err != nil {
					return err
				}
			}
			if _, err := p.browser(ctx, victim, cookies); err != nil {
				return succeeded("afterwards the user cannot log in from a browser that logged in before: %v", err)
			}
			return nil
		}},
	{ID: "guess.account", Text: "A hundred passwords of one account are guessed.", Requirement: "LO-05", Source: "ASVS 6.3.1", Severity: High, needs: needForm | needOther,
		run: func(ctx context.Context, p *probe) error {
			victim, err := p.guessable(ctx)
			if err != nil {
				return err
			}
			return p.guesses(ctx, victim, nil)
		}},
	{ID: "guess.forwarded", Text: "A hundred passwords are guessed, each with another address in X-Forwarded-For.", Requirement: "LO-09", Source: "ASVS 15.3.4", Severity: High, needs: needForm | needOther,
		run: func(ctx context.Context, p *probe) error {
			victim, err := p.guessable(ctx)
			if err != nil {
				return err
			}
			return p.guesses(ctx, victim, func(i int) http.Header {
				address := fmt.Sprintf("203.0.113.%d", i)
				return http.Header{"X-Forwarded-For": {address}, "X-Real-Ip": {address}, "True-Client-Ip": {address}}
			})
		}},
	{ID: "guess.spelling", Text: "A hundred passwords are guessed, with the name of the account spelled in turn in other ways.", Requirement: "LO-06", Source: "ASVS 6.3.1", Severity: High, needs: needForm | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			victim, err := p.guessable(ctx)
			if err != nil {
				return err
			}
			refused := 0
			for i := range 100 {
				a, err := p.form(ctx, credentials(Account{spelling(victim.Name, i), fmt.Sprintf("a wrong guess %d", i)}), nil)
				if err != nil {
					return err
				}
				if a.status == http.StatusTooManyRequests {
					refused++
				}
			}
			if refused > 0 {
				return nil
			}
			a, err := p.form(ctx, credentials(victim), nil)
			if err == nil && a.ok() {
				return succeeded("the service compared a hundred passwords")
			}
			return err
		}},
	{ID: "guess.status", Text: "The response to the limit tells whether an account exists.", Requirement: "LO-06", Source: "ASVS 6.3.8", Severity: Medium, needs: needForm | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			known, err := p.guessable(ctx)
			if err != nil {
				return err
			}
			var last [2]*answer
			for i := range 12 {
				for j, name := range []string{known.Name, "x" + known.Name} {
					if last[j], err = p.form(ctx, credentials(Account{name, fmt.Sprintf("a wrong guess %d", i)}), nil); err != nil {
						return err
					}
				}
				if last[0].status != last[1].status && last[1].throttled() { // perhaps the limit of an address, between the two
					if last[0], err = p.form(ctx, credentials(Account{known.Name, "a wrong guess"}), nil); err != nil {
						return err
					}
				}
				if last[0].status != last[1].status {
					return succeeded("after %d failures the status is %d for an account, and %d for another name", i+1, last[0].status, last[1].status)
				}
			}
			return nil
		}},
	{ID: "guess.right-password", Text: "The right password is sent while its account is blocked.", Requirement: "LO-05", Source: "NIST SP 800-63B section 3.2.2", Severity: Medium, needs: needForm | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			victim, err := p.guessable(ctx)
			if err != nil {
				return err
			}
			for i := range 100 {
				a, err := p.form(ctx, credentials(Account{victim.Name, fmt.Sprintf("a wrong guess %d", i)}), nil)
				if err != nil {
					return err
				}
				if a.status == http.StatusTooManyRequests {
					a, err := p.form(ctx, credentials(victim), nil)
					if err == nil && a.ok() {
						return succeeded("the service compares passwords of a blocked account")
					}
					return err
				}
			}
			return &inapplicable{"the service blocks no account"}
		}},
}

// spelling returns a name in which the letters are written in upper case whose
// bits are set in i.
func spelling(name string, i int) string {
	letters := []byte(name)
	for at, c := range letters {
		if c >= 'a' && c <= 'z' {
			if i&1 == 1 {
				letters[at] -= 'a' - 'A'
			}
			i >>= 1
		}
	}
	return string(letters)
}

// guessable returns a new account that can log in.
func (p *probe) guessable(ctx context.Context) (Account, error) {
	a, err := p.fresh(ctx, firstPassword)
	if err != nil {
		return Account{}, err
	}
	return a, p.notBlocked(ctx, a)
}

// notBlocked reports whether an account can log in before its passwords are
// guessed. If it cannot, a limit proves nothing.
func (p *probe) notBlocked(ctx context.Context, victim Account) error {
	if _, err := p.logIn(ctx, victim); err != nil {
		return fmt.Errorf("the account to guess cannot log in before that; an attack before may have blocked its name or address "+
			"(lift the limit of addresses, and set Target.NewAccount): %w", err)
	}
	return nil
}

// guesses sends a hundred wrong passwords and then the right one. The service
// must refuse one of them for their number.
func (p *probe) guesses(ctx context.Context, victim Account, header func(i int) http.Header) error {
	for i := range 100 {
		var h http.Header
		if header != nil {
			h = header(i)
		}
		a, err := p.form(ctx, credentials(Account{victim.Name, fmt.Sprintf("a wrong guess %d", i)}), h)
		if err != nil {
			return err
		}
		if a.status == http.StatusTooManyRequests {
			return nil
		}
	}
	a, err := p.form(ctx, credentials(victim), nil)
	if isViolated(p.noTokens(a, err)) {
		return succeeded("the service compared a hundred passwords")
	}
	return err // blocked, with the status of a wrong password
}

// browser logs in with the cookies of a browser, and returns its cookies.
func (p *probe) browser(ctx context.Context, account Account, cookies []*http.Cookie) ([]*http.Cookie, error) {
	r := &http.Request{Header: http.Header{}}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	a, err := p.form(ctx, credentials(account), r.Header)
	if err != nil {
		return nil, err
	}
	if !a.ok() {
		return nil, fmt.Errorf("status %d", a.status)
	}
	return (&http.Response{Header: a.header}).Cookies(), nil
}

// elsewhere sends a request from another loopback address, and returns the
// status. The system must have that address.
func (p *probe) elsewhere(ctx context.Context, from string, m message) (int, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := &http.Client{Timeout: maxWait, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(ctx, m.method, p.base.String()+m.path, strings.NewReader(m.body))
	if err != nil {
		return 0, err
	}
	r.Header = m.header
	p.requests++
	response, err := client.Do(r)
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return 0, &inapplicable{"the system has no second loopback address"}
	}
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode, nil
}
