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

// unknownName returns a name that no account has and no attack has used.
func (p *probe) unknownName() string { return fmt.Sprintf("nobody-%d@example.com", p.requests) }

// loginAttacks log in with credentials that are wrong, or sent in a wrong way.
var loginAttacks = []Attack{
	{ID: "login.wrong-password", Text: "A wrong password, an empty one, or one that only resembles the right one is sent.", Requirement: "HA-06", Source: "ASVS 6.2.8", Severity: Critical, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			right := p.User.Password
			for _, wrong := range []string{"wrong", right + " ", " " + right, right + "x", right[:len(right)-1], right + "\n"} {
				a, err := p.form(ctx, credentials(Account{p.User.Name, wrong}), nil)
				if err := p.noTokens(a, err); err != nil {
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
			if strings.ToUpper(p.User.Password) == strings.ToLower(p.User.Password) {
				return &inapplicable{"the password of Target.User has no letters"}
			}
			for _, wrong := range []string{strings.ToUpper(p.User.Password), strings.ToLower(p.User.Password)} {
				if wrong == p.User.Password {
					continue
				}
				a, err := p.form(ctx, credentials(Account{p.User.Name, wrong}), nil)
				if err := p.noTokens(a, err); err != nil {
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
		run: compare(func(known [2]*answer, unknown *answer) string {
			if known[1].status != unknown.status {
				return fmt.Sprintf("status %d and %d", known[1].status, unknown.status)
			}
			return ""
		})},
	{ID: "login.unknown-body", Text: "The body of the response tells whether an account exists.", Requirement: "LO-04", Source: "ASVS 6.3.8", Severity: Medium, needs: needForm,
		run: compare(func(known [2]*answer, unknown *answer) string {
			if !alike(unknown.body, known[0].body, known[1].body) {
				return "the bodies differ"
			}
			return ""
		})},
	{ID: "login.unknown-headers", Text: "The headers of the response tell whether an account exists.", Requirement: "LO-04", Source: "ASVS 6.3.8", Severity: Medium, needs: needForm,
		run: compare(func(known [2]*answer, unknown *answer) string {
			noise := differing(known[0].header, known[1].header)
			if names := slices.DeleteFunc(differing(known[1].header, unknown.header), func(n string) bool { return slices.Contains(noise, n) }); len(names) > 0 {
				return "these headers differ: " + strings.Join(names, ", ")
			}
			return ""
		})},
	{ID: "login.unknown-work", Text: "The service hashes no password for a name that does not exist.", Requirement: "HA-10", Source: "ASVS 6.3.8", Severity: Medium, needs: needForm | needHashes,
		run: func(ctx context.Context, p *probe) error {
			var counts [2]int
			for i, name := range []string{p.User.Name, p.unknownName()} {
				before := p.Hashes()
				a, err := p.form(ctx, credentials(Account{name, "wrong password 1"}), nil)
				switch {
				case err != nil:
					return err
				case a.throttled():
					return errThrottled
				}
				counts[i] = p.Hashes() - before
			}
			if counts[0] == 0 {
				return errors.New("Target.Hashes counts no hash for a wrong password of Target.User")
			}
			if counts[0] != counts[1] {
				return succeeded("%d hashes for an account that exists, and %d for another name", counts[0], counts[1])
			}
			return nil
		}},
	{ID: "login.url", Text: "The name and the password are in the query of the URL.", Requirement: "LO-01", Source: "ASVS 14.2.1", Severity: Medium, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			for _, method := range []string{http.MethodPost, http.MethodGet} {
				a, err := p.send(ctx, message{method: method, path: p.LoginPath + "?" + credentials(p.User).Encode(), header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}})
				if err := p.noTokens(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "login.basic", Text: "The name and the password are in an Authorization header.", Requirement: "LO-01", Source: "RFC 7617 section 4", Severity: Low, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			r := &http.Request{Header: http.Header{}}
			r.SetBasicAuth(p.User.Name, p.User.Password)
			a, err := p.send(ctx, message{method: http.MethodPost, path: p.LoginPath, header: r.Header})
			if err := p.noTokens(a, err); err != nil {
				return err
			}
			return p.refuse(ctx, message{method: p.guard.Method, path: p.guard.Path, header: r.Header})
		}},
	{ID: "login.type", Text: "The form is sent with another type, as pages of other sites can.", Requirement: "LO-01", Source: "RFC 6749 section 4.3.2", Severity: Low, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			for _, contentType := range []string{"text/plain", "application/octet-stream", "application/x-www-form-urlencoded-x", "image/png"} {
				a, err := p.form(ctx, credentials(p.User), http.Header{"Content-Type": {contentType}})
				if err := p.noTokens(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "login.twice", Text: "The form has a name or a password twice.", Requirement: "LO-02", Source: "RFC 6749 section 3.2", Severity: Low, needs: needForm,
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
			for _, s := range []string{"\x00", "\xff\xfe", "\xed\xa0\x80"} {
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
				if err := p.noTokens(a, err); err != nil {
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
			if _, err := p.logIn(ctx, account); err != nil {
				return fmt.Errorf("a new account with a password of 90 bytes cannot log in: %w", err)
			}
			for _, n := range []int{89, 72, 64, 56} {
				a, err := p.form(ctx, credentials(Account{account.Name, account.Password[:min(n, len(account.Password)-1)]}), nil)
				if err := p.noTokens(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "login.look-alike", Text: "The name has letters that only resemble those of the account.", Requirement: "LO-11", Source: "CVE-2019-19844; Unicode TR36", Severity: Medium, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			var names []string
			for _, pair := range [][2]string{{"s", "\u017f"}, {"k", "\u212a"}, {"i", "\u0131"}, {"a", "\uff41"}, {"e", "\uff45"}, {"@", "\uff20"}} {
				if name := strings.Replace(p.User.Name, pair[0], pair[1], 1); name != p.User.Name {
					names = append(names, name)
				}
			}
			if len(names) == 0 {
				return &inapplicable{"the name of Target.User has no letter that another one resembles"}
			}
			for _, name := range names {
				a, err := p.form(ctx, credentials(Account{name, p.User.Password}), nil)
				if err := p.noTokens(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "login.grant", Text: "The form names a grant type that does not fit its fields.", Requirement: "LO-02", Source: "RFC 6749 section 5.2", Severity: Low, needs: needForm,
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
			for _, account := range []Account{p.User, {p.unknownName(), "wrong password 2"}} {
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
	{ID: "login.echo", Text: "The response has the password of the request, or its name as HTML.", Requirement: "AU-03", Source: "CWE-79; CWE-549", Severity: Medium, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			a, err := p.form(ctx, credentials(Account{"contract-<b>name</b>@example.com", "contract-<b>password</b>"}), nil)
			switch {
			case err != nil:
				return err
			case a.mentions("b>password"), a.mentions("b&gt;password"), a.mentions(`b\u003epassword`):
				return succeeded("the response has the password of the request")
			case a.mentions("contract-<b>name") && runsScripts(a.header.Get("Content-Type")):
				return succeeded("the response has the name of the request as HTML")
			}
			return nil
		}},
	{ID: "login.redirect", Text: "A field of the form makes the service redirect to another site.", Requirement: "OA-07", Source: "ASVS 3.7.2", Severity: Medium, needs: needForm,
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
				if leads(a.header.Get("Location")) {
					return succeeded("the login redirects to another site")
				}
			}
			return nil
		}},
	{ID: "login.hang-up", Text: "Twenty clients start to log in and close the connection, so that the name is blocked.", Requirement: "FR-03", Source: "ASVS 6.1.1", Severity: Medium, needs: needForm,
		run: func(ctx context.Context, p *probe) error {
			body := credentials(Account{p.User.Name, "wrong password 3"}).Encode()
			wait, cancel := context.WithTimeout(ctx, maxWait)
			defer cancel()
			for i := range 20 {
				conn, err := p.dial(ctx)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
					p.base.Path+p.LoginPath, p.base.Host, len(body)+10, body) // the rest never comes
				if err == nil && i >= 10 { // after the abrupt ends of the first ten
					endOfRequest(wait, conn)
				}
				_ = conn.Close()
				if err != nil {
					return err
				}
			}
			if _, err := p.logIn(ctx, p.User); err != nil {
				other, otherErr := p.form(ctx, credentials(Account{"nobody@example.com", "wrong password 4"}), nil)
				if otherErr == nil && other.throttled() { // the address is blocked, and not the name
					return errThrottled
				}
				return succeeded("afterwards the user cannot log in: %v", err)
			}
			return nil
		}},
}

// endOfRequest closes the sending side of a connection and waits until the service
// closes the other one, or ctx ends. Usually the service has seen the request then, and
// those before it.
func endOfRequest(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// forms is the run function of an attack with forms that the login must refuse.
func forms(of func(*probe) []url.Values) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		for i, values := range of(p) {
			a, err := p.form(ctx, values, nil)
			if err := p.noTokens(a, err); err != nil {
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
	case first.throttled() || second.throttled():
		return errThrottled
	}
	again, err := p.form(ctx, credentials(known), nil)
	switch {
	case err != nil:
		return err
	case first.status != second.status:
		return succeeded("the status is %d, and %d for a name that does not exist", first.status, second.status)
	case !alike(second.body, first.body, again.body):
		return succeeded("the bodies differ")
	}
	return nil
}

// compare is the run function of an attack that compares the responses to a
// wrong password of an account and of a name that does not exist.
// Two responses for the account show the parts that differ in every response.
func compare(difference func(known [2]*answer, unknown *answer) string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		var known [2]*answer
		for i := range known {
			var err error
			if known[i], err = p.form(ctx, credentials(Account{p.User.Name, "wrong password 4"}), nil); err != nil {
				return err
			}
		}
		unknown, err := p.form(ctx, credentials(Account{p.unknownName(), "wrong password 4"}), nil)
		if err != nil {
			return err
		}
		if known[0].throttled() || known[1].throttled() || unknown.throttled() {
			return errThrottled
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
