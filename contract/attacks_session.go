package contract

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// sessionAttacks use credentials that have ended, or that another client has.
var sessionAttacks = []Attack{
	{ID: "session.same-token", Text: "Two logins return the same token, so that one of them cannot be ended.", Requirement: "TK-17", Source: "RFC 7519 section 4.1.7", Severity: Low,
		run: func(ctx context.Context, p *probe) error {
			for range 3 { // the time in a token may differ between two logins
				first, err := p.logIn(ctx, p.User)
				if err != nil {
					return err
				}
				second, err := p.logIn(ctx, p.User)
				if err != nil {
					return err
				}
				if first.Access == second.Access || first.Refresh != "" && first.Refresh == second.Refresh {
					return succeeded("two logins return the same token")
				}
			}
			return nil
		}},
	{ID: "session.refresh-as-access", Text: "A refresh token is sent as an access token.", Requirement: "TK-05", Source: "RFC 8725 section 3.11", Severity: High, needs: needRefresh,
		run: func(ctx context.Context, p *probe) error {
			tokens, err := p.logIn(ctx, p.User)
			if err != nil {
				return err
			}
			return p.refuseTokens(ctx, tokens.Refresh)
		}},
	{ID: "session.access-as-refresh", Text: "An access token is exchanged as a refresh token.", Requirement: "TK-05", Source: "RFC 8725 section 3.11", Severity: High, needs: needRefresh,
		run: func(ctx context.Context, p *probe) error {
			token, err := p.token(ctx, p.User)
			if err != nil {
				return err
			}
			a, err := p.exchange(ctx, token)
			return p.noTokens(a, err)
		}},
	{ID: "session.refresh-forged", Text: "A refresh token is cut, extended or changed.", Requirement: "RF-01", Source: "ASVS 7.2.3", Severity: Critical, needs: needRefresh,
		run: func(ctx context.Context, p *probe) error {
			tokens, err := p.logIn(ctx, p.User)
			if err != nil {
				return err
			}
			t := tokens.Refresh
			for _, forged := range []string{t[:len(t)-1], t[:len(t)/2], t + "x", t + ".", " " + t, strings.ToUpper(t), flip(t), "", "x", "null", strings.Repeat("a", 5000)} {
				if forged == t {
					continue
				}
				a, err := p.exchange(ctx, forged)
				if err := p.noTokens(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "session.refresh-reuse", Text: "A thief uses a refresh token after its owner has used its successor.", Requirement: "RF-04", Source: "RFC 9700 section 4.14.2", Severity: High, needs: needRefresh,
		run: func(ctx context.Context, p *probe) error {
			_, err := p.stolen(ctx)
			return err
		}},
	{ID: "session.refresh-family", Text: "The session continues after a refresh token was used twice.", Requirement: "RF-04", Source: "RFC 9700 section 4.14.2", Severity: High, needs: needRefresh,
		run: func(ctx context.Context, p *probe) error {
			last, err := p.stolen(ctx)
			if err != nil {
				return err
			}
			a, err := p.exchange(ctx, last.Refresh)
			if isViolated(p.noTokens(a, err)) {
				return succeeded("the last refresh token is good after the reuse of an older one")
			}
			return p.noTokens(a, err)
		}},
	{ID: "session.refresh-race", Text: "Many clients exchange one refresh token at once.", Requirement: "RF-03", Source: "RFC 9700 section 4.14.2", Severity: High, needs: needRefresh,
		run: func(ctx context.Context, p *probe) error {
			tokens, err := p.logIn(ctx, p.User)
			if err != nil {
				return err
			}
			values := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.Refresh}}
			successors, err := p.race(ctx, 16, values)
			if err == nil && len(successors) == 0 {
				return errors.New("none of the requests got a refresh token")
			}
			if err == nil && len(successors) > 1 {
				return succeeded("one refresh token has %d successors", len(successors))
			}
			return err
		}},
	{ID: "session.refresh-url", Text: "The refresh token is in the query of the URL.", Requirement: "LO-01", Source: "RFC 6749 section 3.2", Severity: Medium, needs: needRefresh | needForm,
		run: func(ctx context.Context, p *probe) error {
			tokens, err := p.logIn(ctx, p.User)
			if err != nil {
				return err
			}
			values := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.Refresh}}
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				a, err := p.send(ctx, message{method: method, path: p.LoginPath + "?" + values.Encode(), header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}})
				if err := p.noTokens(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "session.refresh-twice", Text: "A request has two refresh tokens.", Requirement: "LO-02", Source: "RFC 6749 section 3.2", Severity: Low, needs: needRefresh,
		run: func(ctx context.Context, p *probe) error {
			tokens, err := p.logIn(ctx, p.User)
			if err != nil {
				return err
			}
			a, err := p.form(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.Refresh, "x"}}, nil)
			return p.noTokens(a, err)
		}},
	{ID: "session.logout-access", Text: "An access token is used after logout.", Requirement: "RF-08", Source: "ASVS 7.4.1", Severity: High, needs: needLogout,
		run: func(ctx context.Context, p *probe) error {
			tokens, err := p.loggedOut(ctx)
			if err != nil {
				return err
			}
			return p.refuseTokens(ctx, tokens.Access)
		}},
	{ID: "session.logout-refresh", Text: "A refresh token is used after logout.", Requirement: "RF-08", Source: "ASVS 7.4.1", Severity: High, needs: needLogout | needRefresh,
		run: func(ctx context.Context, p *probe) error {
			tokens, err := p.loggedOut(ctx)
			if err != nil {
				return err
			}
			a, err := p.exchange(ctx, tokens.Refresh)
			return p.noTokens(a, err)
		}},
	{ID: "session.logout-anonymous", Text: "A request without credentials, or with a forged token, ends a session.", Requirement: "MW-05", Source: "ASVS 8.2.1", Severity: Medium, needs: needLogout,
		run: func(ctx context.Context, p *probe) error {
			tokens, err := p.logIn(ctx, p.User)
			if err != nil {
				return err
			}
			forged := flip(tokens.Access)
			if at := strings.LastIndexByte(tokens.Access, '.'); at > 0 {
				forged = tokens.Access[:at+1] + strings.Repeat("A", len(tokens.Access)-at-1)
			}
			for _, h := range []http.Header{{}, bearer(forged)} {
				for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
					a, err := p.send(ctx, message{method: method, path: p.LogoutPath, header: h})
					if err != nil || a.crashed() || a.throttled() {
						return p.refused(a, err)
					}
				}
			}
			return p.survives(ctx, tokens.Access)
		}},
	{ID: "session.logout-get", Text: "A link or an image ends the session.", Requirement: "TR-03", Source: "ASVS 3.5.3", Severity: Low, needs: needLogout,
		run: func(ctx context.Context, p *probe) error {
			tokens, err := p.logIn(ctx, p.User)
			if err != nil {
				return err
			}
			a, err := p.send(ctx, message{method: http.MethodGet, path: p.LogoutPath, header: bearer(tokens.Access)})
			if err != nil || a.crashed() || a.throttled() {
				return p.refused(a, err)
			}
			return p.survives(ctx, tokens.Access)
		}},
	{ID: "session.logout-other", Text: "A logout ends the session of another user.", Requirement: "RF-08", Source: "ASVS 8.2.2", Severity: Low, needs: needLogout | needOther,
		run: func(ctx context.Context, p *probe) error {
			other, err := p.fresh(ctx, firstPassword)
			if err != nil {
				return err
			}
			kept, err := p.logIn(ctx, other)
			if err != nil {
				return err
			}
			if _, err := p.loggedOut(ctx); err != nil {
				return err
			}
			return p.survives(ctx, kept.Access)
		}},
	{ID: "session.password-access", Text: "An access token from before a change of the password is used.", Requirement: "RF-09", Source: "ASVS 7.4.3", Severity: High, needs: needPassword | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			stolen, err := p.changedPassword(ctx)
			if err != nil {
				return err
			}
			return p.refuseTokens(ctx, stolen.Access)
		}},
	{ID: "session.password-refresh", Text: "A refresh token from before a change of the password is used.", Requirement: "RF-09", Source: "ASVS 7.4.3", Severity: High, needs: needPassword | needNewAccount | needRefresh,
		run: func(ctx context.Context, p *probe) error {
			stolen, err := p.changedPassword(ctx)
			if err != nil {
				return err
			}
			a, err := p.exchange(ctx, stolen.Refresh)
			return p.noTokens(a, err)
		}},
	{ID: "session.password-current", Text: "A thief of a token sets a new password without the old one.", Requirement: "RF-09", Source: "ASVS 6.2.3", Severity: High, needs: needPassword | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			account, err := p.fresh(ctx, firstPassword)
			if err != nil {
				return err
			}
			tokens, err := p.logIn(ctx, account)
			if err != nil {
				return err
			}
			for _, current := range [][]string{{"not the password"}, {""}, nil} {
				a, err := p.setPassword(ctx, tokens.Access, url.Values{"current_password": current, "new_password": {secondPassword}})
				if err := p.refused(a, err); err != nil {
					return err
				}
			}
			if a, err := p.get(ctx, tokens.Access); err != nil || !a.ok() {
				return cmp.Or(err, errors.New("the token ended, so that the last passwords were not compared"))
			}
			return nil
		}},
	{ID: "session.disabled-access", Text: "An access token of a disabled account is used.", Requirement: "TK-09", Source: "ASVS 7.4.2", Severity: High, needs: needDisable | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			_, tokens, err := p.disabled(ctx)
			if err != nil {
				return err
			}
			return p.refuseTokens(ctx, tokens.Access)
		}},
	{ID: "session.disabled-refresh", Text: "A refresh token of a disabled account is used.", Requirement: "RF-07", Source: "ASVS 7.4.2", Severity: High, needs: needDisable | needNewAccount | needRefresh,
		run: func(ctx context.Context, p *probe) error {
			_, tokens, err := p.disabled(ctx)
			if err != nil {
				return err
			}
			a, err := p.exchange(ctx, tokens.Refresh)
			return p.noTokens(a, err)
		}},
	{ID: "session.disabled-login", Text: "A disabled account logs in.", Requirement: "LO-04", Source: "ASVS 7.4.2", Severity: High, needs: needDisable | needNewAccount | needForm,
		run: func(ctx context.Context, p *probe) error {
			account, _, err := p.disabled(ctx)
			if err != nil {
				return err
			}
			a, err := p.form(ctx, credentials(account), nil)
			return p.noTokens(a, err)
		}},
	{ID: "session.disabled-revealed", Text: "The response to a wrong password reveals that an account is disabled.", Requirement: "LO-04", Source: "ASVS 6.3.8", Severity: Medium, needs: needDisable | needNewAccount | needForm,
		run: func(ctx context.Context, p *probe) error {
			account, _, err := p.disabled(ctx)
			if err != nil {
				return err
			}
			account.Password = "wrong password 7"
			return p.alike(ctx, account, Account{p.unknownName(), account.Password})
		}},
}

// Passwords of new accounts.
const (
	firstPassword  = "a first passphrase 1!Aa"
	secondPassword = "a second passphrase 2!Bb"
)

// flip changes a letter in the second half of a text.
func flip(s string) string {
	at := len(s) * 3 / 4
	c := byte('A')
	if s[at] == c {
		c = 'B'
	}
	return s[:at] + string(c) + s[at+1:]
}

// exchange sends a refresh token to the login path.
func (p *probe) exchange(ctx context.Context, token string) (*answer, error) {
	return p.form(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, nil)
}

// stolen uses a refresh token after its successor was used, and returns the
// last tokens of the owner. The error is that of an attack.
func (p *probe) stolen(ctx context.Context) (Tokens, error) {
	first, err := p.logIn(ctx, p.User)
	if err != nil {
		return Tokens{}, err
	}
	last := first
	for range 2 {
		a, err := p.exchange(ctx, last.Refresh)
		if err != nil {
			return Tokens{}, err
		}
		if last, err = p.parseTokens(a); err != nil {
			return Tokens{}, fmt.Errorf("exchanging a refresh token: %w", err)
		}
		if last.Refresh == "" {
			return Tokens{}, succeeded("the response to a refresh token has no other one")
		}
	}
	a, err := p.exchange(ctx, first.Refresh)
	return last, p.noTokens(a, err)
}

// race sends a form to the login path many times at once, and returns the
// different refresh tokens of the responses.
func (p *probe) race(ctx context.Context, n int, values url.Values) (map[string]bool, error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	successors := map[string]bool{}
	var failed error
	for range n {
		group.Go(func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base.String()+p.LoginPath, strings.NewReader(values.Encode()))
			if err == nil {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				var response *http.Response
				if response, err = p.client.Do(r); err == nil {
					defer response.Body.Close()
					var body struct {
						Refresh string `json:"refresh_token"`
					}
					if json.NewDecoder(response.Body).Decode(&body) == nil && body.Refresh != "" {
						mu.Lock()
						defer mu.Unlock()
						successors[body.Refresh] = true
						return
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			}
		})
	}
	group.Wait()
	p.requests += n
	return successors, failed
}

// loggedOut returns the tokens of a session that has ended.
func (p *probe) loggedOut(ctx context.Context) (Tokens, error) {
	tokens, err := p.logIn(ctx, p.User)
	if err != nil {
		return Tokens{}, err
	}
	m := message{method: http.MethodPost, path: p.LogoutPath, header: bearer(tokens.Access)}
	if tokens.Refresh != "" {
		m.header.Set("Content-Type", "application/x-www-form-urlencoded")
		m.body = url.Values{"refresh_token": {tokens.Refresh}}.Encode()
	}
	a, err := p.send(ctx, m)
	if err == nil && a.status >= 400 {
		err = fmt.Errorf("%s responds with %d to a good token", p.LogoutPath, a.status)
	}
	return tokens, err
}

// survives reports whether a session went on through an attack.
func (p *probe) survives(ctx context.Context, token string) error {
	a, err := p.get(ctx, token)
	switch {
	case err != nil:
		return err
	case a.throttled():
		return errThrottled
	case !a.ok():
		return succeeded("afterwards the session has ended: status %d", a.status)
	}
	return nil
}

// changedPassword returns the tokens of another session of an account whose
// password was changed.
func (p *probe) changedPassword(ctx context.Context) (stolen Tokens, err error) {
	account, err := p.fresh(ctx, firstPassword)
	if err != nil {
		return Tokens{}, err
	}
	if stolen, err = p.logIn(ctx, account); err != nil {
		return Tokens{}, err
	}
	if err := p.accepts(ctx, p.guard, stolen.Access, "a new account"); err != nil {
		return Tokens{}, err
	}
	tokens, err := p.logIn(ctx, account)
	if err != nil {
		return Tokens{}, err
	}
	a, err := p.setPassword(ctx, tokens.Access, url.Values{"current_password": {account.Password}, "new_password": {secondPassword}})
	if err == nil && a.status >= 400 {
		err = fmt.Errorf("%s responds with %d to the right password", p.PasswordPath, a.status)
	}
	return stolen, err
}

// setPassword sends a form that changes a password.
func (p *probe) setPassword(ctx context.Context, token string, values url.Values) (*answer, error) {
	h := bearer(token)
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.send(ctx, message{method: http.MethodPost, path: p.PasswordPath, header: h, body: values.Encode()})
}

// disabled returns a disabled account, with tokens from before.
func (p *probe) disabled(ctx context.Context) (Account, Tokens, error) {
	account, err := p.fresh(ctx, firstPassword)
	if err != nil {
		return Account{}, Tokens{}, err
	}
	tokens, err := p.logIn(ctx, account)
	if err != nil {
		return Account{}, Tokens{}, err
	}
	if err := p.accepts(ctx, p.guard, tokens.Access, "a new account"); err != nil {
		return Account{}, Tokens{}, err
	}
	return account, tokens, p.Disable(ctx, account)
}
