package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const unknownName = "nobody-has-this-name@example.com"

// loginAttacks log in with credentials that are wrong, or sent in a wrong way.
var loginAttacks = []Attack{
	{ID: "login.wrong-password", Text: "A wrong password, an empty one, or one that only resembles the right one is sent.", Requirement: "HA-06", Source: "ASVS 6.2.8", Severity: Critical, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			right := p.User.Password
			for _, wrong := range []string{"wrong", right + " ", " " + right, right + "x", right[:len(right)-1], right + "\n"} {
				a, err := p.form(ctx, credentials(Account{p.User.Name, wrong}), nil)
				if err := p.refused(a, err); err != nil {
					return err
				}
				if _, err := p.logIn(ctx, p.User); err != nil { // a success in between keeps limits away
					return err
				}
			}
			return nil
		}},
	{ID: "login.case", Text: "The password is written in another case.", Requirement: "HA-06", Source: "ASVS 6.2.8", Severity: High, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			for _, wrong := range []string{strings.ToUpper(p.User.Password), strings.ToLower(p.User.Password)} {
				if wrong == p.User.Password {
					continue
				}
				a, err := p.form(ctx, credentials(Account{p.User.Name, wrong}), nil)
				if err := p.refused(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "login.empty", Text: "The name or the password is missing or empty.", Requirement: "LO-02", Source: "RFC 6749 section 4.3.2", Severity: High, needs: needForm,
		run: forms(func(p *probe) []url.Values {
			return []url.Values{
				{}, {"username": {p.User.Name}}, {"password": {p.User.Password}}, {"username": {p.User.Name}, "password": {""}},
				{"username": {""}, "password": {""}}, {"username": {""}, "password": {p.User.Password}},
			}
		})},
	{ID: "login.unknown-status", Text: "The status of the response tells whether an account exists.", Requirement: "LO-04", Source: "ASVS 6.3.8", Severity: Medium, needs: needForm,
		run: compare(func(a, b *answer) string {
			if a.status != b.status {
				return fmt.Sprintf("status %d and %d", a.status, b.status)
			}
			return ""
		})},
	{ID: "login.unknown-body", Text: "The body of the response tells whether an account exists.", Requirement: "LO-04", Source: "ASVS 6.3.8", Severity: Medium, needs: needForm,
		run: compare(func(a, b *answer) string {
			if a.body != b.body {
				return "the bodies differ"
			}
			return ""
		})},
	{ID: "login.unknown-headers", Text: "The headers of the response tell whether an account exists.", Requirement: "LO-04", Source: "ASVS 6.3.8", Severity: Medium, needs: needForm,
		run: compare(func(a, b *answer) string {
			if names := differing(a.header, b.header); len(names) > 0 {
				return "these headers differ: " + strings.Join(names, ", ")
			}
			return ""
		})},
	{ID: "login.unknown-work", Text: "The service hashes no password for a name that does not exist.", Requirement: "HA-10", Source: "ASVS 6.3.8", Severity: Medium, needs: needForm | needHashes,
		run: func(ctx context.Context, p *probe) error {
			var counts [2]int
			for i, name := range []string{p.User.Name, unknownName} {
				before := p.Hashes()
				if _, err := p.form(ctx, credentials(Account{name, "wrong password 1"}), nil); err != nil {
					return err
				}
				counts[i] = p.Hashes() - before
			}
			if counts[0] != counts[1] {
				return succeeded("%d hashes for an account that exists, and %d for another name", counts[0], counts[1])
			}
			return nil
		}},
	{ID: "login.url", Text: "The name and the password are in the query of the URL.", Requirement: "LO-01", Source: "ASVS 14.2.1", Severity: Medium, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			for _, method := range []string{http.MethodPost, http.MethodGet} {
				if err := p.refuse(ctx, message{method: method, path: p.LoginPath + "?" + credentials(p.User).Encode(), header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "login.basic", Text: "The name and the password are in an Authorization header.", Requirement: "LO-01", Source: "RFC 7617 section 4", Severity: Low, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			r := &http.Request{Header: http.Header{}}
			r.SetBasicAuth(p.User.Name, p.User.Password)
			for _, m := range []message{
				{method: http.MethodPost, path: p.LoginPath, header: r.Header},
				{method: p.guard.Method, path: p.guard.Path, header: r.Header},
			} {
				if err := p.refuse(ctx, m); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "login.type", Text: "The form is sent with another type, as pages of other sites can.", Requirement: "LO-01", Source: "RFC 6749 section 4.3.2", Severity: Low, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			for _, contentType := range []string{"text/plain", "application/octet-stream", "application/x-www-form-urlencoded-x", "image/png"} {
				a, err := p.form(ctx, credentials(p.User), http.Header{"Content-Type": {contentType}})
				if err := p.refused(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "login.twice", Text: "The form has a name or a password twice.", Requirement: "LO-02", Source: "RFC 6749 section 3.2", Severity: Medium, needs: needForm,
		run: forms(func(p *probe) []url.Values {
			name, password := p.User.Name, p.User.Password
			return []url.Values{
				{"username": {name, "x"}, "password": {password}}, {"username": {"x", name}, "password": {password}},
				{"username": {name}, "password": {password, "x"}}, {"username": {name}, "password": {"x", password}},
			}
		})},
	{ID: "login.arrays", Text: "The names of fields have brackets, which some parsers read as objects.", Requirement: "LO-02", Source: "CWE-943", Severity: Critical, needs: needForm,
		run: forms(func(p *probe) []url.Values {
			return []url.Values{
				{"username": {p.User.Name}, "password[$ne]": {"x"}}, {"username[$ne]": {"x"}, "password[$ne]": {"x"}},
				{"username[]": {p.User.Name}, "password[]": {p.User.Password}}, {"username": {p.User.Name}, "password[$regex]": {".*"}}, {"username[$gt]": {""}, "password[$gt]": {""}},
			}
		})},
	{ID: "login.injection", Text: "The name or the password is part of a statement of a query language.", Requirement: "ST-05", Source: "ASVS 1.2.4", Severity: Critical, needs: needForm,
		run: forms(func(p *probe) (all []url.Values) {
			for _, s := range []string{"' OR '1'='1", "' OR 1=1-- ", "\" OR \"\"=\"", "*)(uid=*))(|(uid=*", "%", "x' UNION SELECT 1-- ", "{\"$ne\":null}", "${7*7}", "{{7*7}}"} {
				all = append(all, url.Values{"username": {s}, "password": {s}}, url.Values{"username": {p.User.Name + s}, "password": {s}})
			}
			return all
		})},
	{ID: "login.bytes", Text: "The name or the password has NUL, or bytes that are not UTF-8.", Requirement: "HA-05", Source: "ASVS 1.2.4", Severity: High, needs: needForm,
		run: forms(func(p *probe) (all []url.Values) {
			for _, s := range []string{"\x00", "\xff\xfe", "\r\n", "\u202e", "\xed\xa0\x80"} {
				all = append(all, url.Values{"username": {p.User.Name + s}, "password": {p.User.Password}}, url.Values{"username": {p.User.Name}, "password": {p.User.Password + s}})
			}
			return all
		})},
	{ID: "login.nul", Text: "NUL and more text follow the right password.", Requirement: "HA-05", Source: "OWASP Password Storage Cheat Sheet", Severity: High, needs: needForm,
		run: forms(func(p *probe) []url.Values {
			return []url.Values{
				{"username": {p.User.Name}, "password": {p.User.Password + "\x00" + p.User.Password}}, {"username": {p.User.Name}, "password": {p.User.Password + "\x00x"}},
				{"username": {p.User.Name}, "password": {"\x00" + p.User.Password}},
			}
		})},
	{ID: "login.long", Text: "The password has thousands of letters.", Requirement: "HA-07", Source: "CVE-2013-1443", Severity: Medium, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			for _, n := range []int{73, 1025, 4097, 12_000} {
				a, err := p.form(ctx, credentials(Account{p.User.Name, strings.Repeat("a", n)}), nil)
				if err := p.refused(a, err); err != nil {
					return err
				}
				if _, err := p.logIn(ctx, p.User); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "login.truncated", Text: "Only the first 72 bytes of a longer password are sent.", Requirement: "HA-04", Source: "ASVS 6.2.8", Severity: High, needs: needForm | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			long := strings.Repeat("long passphrase 1! ", 5)[:90]
			account, err := p.fresh(ctx, long)
			if err != nil {
				return &inapplicable{"Target.NewAccount refuses a password of 90 bytes"}
			}
			for _, n := range []int{89, 72, 64, 56} {
				a, err := p.form(ctx, credentials(Account{account.Name, account.Password[:min(n, len(account.Password)-1)]}), nil)
				if err := p.refused(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "login.grant", Text: "The form names a grant type that does not fit its fields.", Requirement: "LO-02", Source: "RFC 6749 section 5.2", Severity: Medium, needs: needForm,
		run: forms(func(p *probe) (all []url.Values) {
			for _, grant := range []string{"implicit", "authorization_code", "x", "PASSWORD", "urn:ietf:params:oauth:grant-type:jwt-bearer", "none"} {
				values := credentials(p.User)
				values.Set("grant_type", grant)
				all = append(all, values)
			}
			return all
		})},
	{ID: "login.no-store", Text: "A cache stores the token of a login.", Requirement: "LO-03", Source: "RFC 6749 section 5.1", Severity: Medium, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			for _, account := range []Account{p.User, {unknownName, "wrong password 2"}} {
				a, err := p.form(ctx, credentials(account), nil)
				switch {
				case err != nil:
					return err
				case !strings.Contains(strings.ToLower(a.header.Get("Cache-Control")), "no-store"):
					return succeeded("the response with status %d has no Cache-Control: no-store", a.status)
				}
			}
			return nil
		}},
	{ID: "login.echo", Text: "The response has the name or the password of the request.", Requirement: "AU-03", Source: "CWE-79", Severity: Medium, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			a, err := p.form(ctx, credentials(Account{"contract-<b>name</b>@example.com", "contract-<b>password</b>"}), nil)
			if err == nil && (a.mentions("contract-<b>") || a.mentions("contract-&lt;b") || a.mentions(`contract-\u003cb`)) {
				return succeeded("the response has a field of the request")
			}
			return err
		}},
	{ID: "login.redirect", Text: "A field of the form makes the service redirect to another site.", Requirement: "OA-07", Source: "ASVS 3.7", Severity: Medium, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			for _, to := range []string{"https://" + attackerHost, "//" + attackerHost, `/\` + attackerHost} {
				values := credentials(p.User)
				for _, name := range []string{"next", "redirect_uri", "return_to", "continue", "url"} {
					values.Set(name, to)
				}
				a, err := p.form(ctx, values, nil)
				if err != nil {
					return err
				}
				if strings.Contains(a.header.Get("Location"), attackerHost) {
					return succeeded("the login redirects to another site")
				}
			}
			return nil
		}},
	{ID: "login.hang-up", Text: "Twenty clients start to log in and close the connection, so that the name is blocked.", Requirement: "FR-03", Source: "ASVS 6.3.1", Severity: Medium, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			body := credentials(Account{p.User.Name, "wrong password 3"}).Encode()
			for range 20 {
				conn, err := p.dial(ctx)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
					p.base.Path+p.LoginPath, p.base.Host, len(body)+10, body) // the rest never comes
				_ = conn.Close()
				if err != nil {
					return err
				}
			}
			if _, err := p.logIn(ctx, p.User); err != nil {
				return succeeded("afterwards the user cannot log in: %v", err)
			}
			return nil
		}},
}

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
				if _, err := p.elsewhere(ctx, "127.0.0.9", Account{victim.Name, fmt.Sprintf("a wrong guess %d", i)}); err != nil {
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
			victim, err := p.fresh(ctx, firstPassword)
			if err != nil {
				return err
			}
			return p.guesses(ctx, victim, nil)
		}},
	{ID: "guess.forwarded", Text: "A hundred passwords are guessed, each with another address in X-Forwarded-For.", Requirement: "LO-09", Source: "ASVS 15.3.4", Severity: High, needs: needForm | needOther,
		run: func(ctx context.Context, p *probe) error {
			victim, err := p.fresh(ctx, firstPassword)
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
			victim, err := p.fresh(ctx, firstPassword)
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
			known, err := p.fresh(ctx, firstPassword)
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
				if last[0].status != last[1].status {
					return succeeded("after %d failures the status is %d for an account, and %d for another name", i+1, last[0].status, last[1].status)
				}
			}
			return nil
		}},
	{ID: "guess.right-password", Text: "The right password is sent while its account is blocked.", Requirement: "LO-05", Source: "NIST SP 800-63B section 3.2.2", Severity: Medium, needs: needForm | needNewAccount,
		run: func(ctx context.Context, p *probe) error {
			victim, err := p.fresh(ctx, firstPassword)
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
	if err == nil && a.ok() {
		return succeeded("the service compared a hundred passwords")
	}
	return err // blocked without a status of its own
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

// elsewhere logs in from another loopback address, and returns the status. The
// system must have that address.
func (p *probe) elsewhere(ctx context.Context, from string, account Account) (int, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := &http.Client{Timeout: maxWait, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base.String()+p.LoginPath, strings.NewReader(credentials(account).Encode()))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
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

// forms is the run function of an attack with forms that the login must refuse.
func forms(of func(*probe) []url.Values) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		for i, values := range of(p) {
			a, err := p.form(ctx, values, nil)
			if err := p.refused(a, err); err != nil {
				return err
			}
			if i%3 == 2 { // a success in between keeps limits away
				if _, err := p.logIn(ctx, p.User); err != nil {
					return fmt.Errorf("the user cannot log in any more: %w", err)
				}
			}
		}
		_, err := p.logIn(ctx, p.User)
		return err
	}
}

// alike compares the responses to wrong passwords of two names.
func (p *probe) alike(ctx context.Context, known, unknown Account) error {
	first, err := p.form(ctx, credentials(known), nil)
	if err != nil {
		return err
	}
	second, err := p.form(ctx, credentials(unknown), nil)
	switch {
	case err != nil:
		return err
	case first.status != second.status || first.body != second.body:
		return succeeded("the responses differ: status %d and %d", first.status, second.status)
	}
	return nil
}

// compare is the run function of an attack that compares the responses to a
// wrong password of an account and of a name that does not exist.
func compare(difference func(known, unknown *answer) string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		known, err := p.form(ctx, credentials(Account{p.User.Name, "wrong password 4"}), nil)
		if err != nil {
			return err
		}
		unknown, err := p.form(ctx, credentials(Account{unknownName, "wrong password 4"}), nil)
		if err != nil {
			return err
		}
		if note := difference(known, unknown); note != "" {
			return succeeded("for an account that exists and for another name: %s", note)
		}
		_, err = p.logIn(ctx, p.User) // a success keeps limits away
		return err
	}
}

// differing returns the names of headers whose values differ, except those that
// differ in every response.
func differing(a, b http.Header) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if _, ok := b[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if values, ok := a[name]; !ok || name != "Date" && !strings.Contains(strings.ToLower(name), "request-id") && !slices.Equal(values, b[name]) {
			names = append(names, name)
		}
	}
	return names
}
