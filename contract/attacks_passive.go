package contract

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
)

// passiveAttacks send nothing. They look at all responses to the attacks before
// them.
var passiveAttacks = []Attack{
	{ID: "leak.crash", Text: "One of the attacks made the service respond with an internal error.", Requirement: "RE-02", Source: "ASVS 16.5.4", Severity: Medium},
	{ID: "leak.stack", Text: "A response has a stack trace.", Requirement: "TR-02", Source: "ASVS 16.5.1; CWE-209", Severity: Medium},
	{ID: "leak.statement", Text: "A response has an error of a database.", Requirement: "ST-02", Source: "ASVS 16.5.1; CWE-209", Severity: Medium},
	{ID: "leak.type", Text: "A response has the text of an error of the language.", Requirement: "TR-02", Source: "ASVS 16.5.1; CWE-209", Severity: Low},
	{ID: "leak.file", Text: "A response has the path of a file of the server.", Requirement: "TR-02", Source: "ASVS 16.5.1; CWE-209", Severity: Low},
	{ID: "leak.hash", Text: "A response has the hash of a password.", Requirement: "ST-08", Source: "ASVS 15.3.1", Severity: High},
	{ID: "leak.password", Text: "A response has the password of an account.", Requirement: "AU-03", Source: "ASVS 15.3.1", Severity: High},
	{ID: "leak.secret", Text: "A response has the secret of the service.", Requirement: "AU-03", Source: "ASVS 16.5.1", Severity: Critical, needs: needSecret},
	{ID: "leak.member", Text: "A response has a member whose name promises a secret.", Requirement: "ST-08", Source: "ASVS 15.3.1", Severity: Medium},
	{ID: "leak.location", Text: "A redirect has a token in its URL.", Requirement: "MW-03", Source: "RFC 9700 section 4.3.2", Severity: Medium},
}

// patterns find leaks in the body of a response.
var patterns = map[string]*regexp.Regexp{
	"leak.stack":     regexp.MustCompile(`goroutine \d+ \[|\.go:\d+|runtime/panic|Traceback \(most recent|\.js:\d+:\d+|\.java:\d+\)`),
	"leak.statement": regexp.MustCompile(`SQLSTATE|syntax error at or near|UNIQUE constraint|SQL logic error|\bpq: |ORA-\d{4,}|Duplicate entry|no such table|\bsql: `),
	"leak.type":      regexp.MustCompile(`json: cannot unmarshal|invalid character '|strconv\.|\*[a-z]+\.[A-Z]\w+|runtime error|nil pointer|unexpected end of JSON|illegal base64|token contains an invalid|key is of invalid type`),
	"leak.file":      regexp.MustCompile(`/(?:home|root|usr|var|go|opt|srv|app|etc|Users)/[\w./-]*\.(?:go|py|js|ts|rb|php|java|pem|key|crt|conf|ya?ml|toml|env|log|db|sqlite|sock)\b|\b(?:open|stat|mkdir|remove) /\S+: |\b[A-Z]:\\\w`),
	"leak.hash":      regexp.MustCompile(`\$2[abxy]\$\d\d\$|\$argon2(?:id?|d)\$|\$pbkdf2|\$scrypt\$|\$[56]\$\w|pbkdf2_sha256\$`),
	"leak.member":    regexp.MustCompile(`"(?:password|hashed_?[pP]assword|password_?[hH]ash|pass_?hash|secret_?key|totp_?secret|private_?key|salt)"\s*:\s*"`),
}

var tokenParameter = regexp.MustCompile(`[?&#](?:(?:access|refresh|id)_)?token=.`)

// listen looks for leaks in a response.
func (p *probe) listen(m message, a *answer, e Exchange) {
	found := func(id, note string) {
		if _, known := p.passive[id]; !known {
			p.passive[id] = leak{note, e}
		}
	}
	if a.crashed() {
		found("leak.crash", m.method+" "+cut(m.path)+" had an internal error")
	}
	if !strings.Contains(a.header.Get("Content-Type"), "html") || a.status >= 400 {
		for id, pattern := range patterns {
			// The document of an API has such names and texts too.
			if id == "leak.member" && !a.ok() {
				continue // an error can name the member that it is about
			}
			if match := pattern.FindString(a.body); match != "" && !strings.Contains(a.body, `"openapi"`) && !strings.Contains(m.path+m.body, match) {
				found(id, "the response has "+match)
			}
		}
	}
	for _, account := range []Account{p.User, p.Admin, p.Other} {
		if len(account.Password) >= 6 && a.mentions(account.Password) {
			found("leak.password", "the response has the password of "+account.Name)
		}
	}
	if len(p.Secret) > 0 {
		for _, text := range spellings(p.Secret) {
			if a.mentions(text) {
				found("leak.secret", "the response has Target.Secret")
			}
		}
	}
	if location := a.header.Get("Location"); tokenParameter.MatchString(location) || signatures.MatchString(location) {
		own := tokenParameter.MatchString(m.path) || signatures.MatchString(m.path) // as the page to return to
		if a.status != http.StatusCreated && !own {
			found("leak.location", "the Location has a token")
		}
	}
}

// spellings returns the forms in which a secret can be written.
func spellings(secret []byte) []string {
	return []string{string(secret), base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret), hex.EncodeToString(secret)}
}

// leaked returns the error of a passive attack.
func (p *probe) leaked(id string) error {
	l, ok := p.passive[id]
	if !ok {
		return nil
	}
	p.evidence = []Exchange{l.exchange}
	return succeeded("%s", l.note)
}
