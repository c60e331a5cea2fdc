// Package contract attacks a service that authenticates its users, and reports
// which attacks it withstood. It tests any http.Handler, and any server that it
// can reach, whether or not it is built with authkit.
//
// In a test, describe the service and run the attacks. Each one is a subtest:
//
//	func TestContract(t *testing.T) {
//		contract.Run(t, contract.Target{
//			Handler: newServer(),
//			User:    contract.Account{Name: "user@example.com", Password: "…"},
//			Admin:   contract.Account{Name: "admin@example.com", Password: "…"},
//			Routes: []contract.Route{
//				{Method: "GET", Path: "/users/me", Access: contract.LoggedIn},
//				{Method: "GET", Path: "/admin/users", Access: contract.AdminOnly},
//			},
//		})
//	}
//
// An attack that does not apply to the target is skipped with its reason. It
// never counts as withstood. Nor does an attack whose request the service
// refuses without the malicious part: before each attack, the service must serve
// its users. Such an attack has the outcome [Failed].
//
// The attacks send a few thousand requests from one address. Raise the service's
// limits of requests for the tests, but not those of guesses for one account, or
// set Target.Interval. Some attacks fail to log in many times, with the name of
// the user, so that the service will block that user for a while. Attack a copy
// of a service, not the one that people use.
package contract

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// A Target describes the service to attack. Handler or BaseURL, User and Routes
// are required. Every other field lets more attacks apply.
type Target struct {
	// Handler is the service. It is served on a loopback address for the time
	// of the attacks, without TLS: leave out a redirect to https. If nil,
	// BaseURL is the address of a running server, such as
	// "http://127.0.0.1:8000", with the path below which it serves its routes.
	Handler http.Handler
	BaseURL string

	// User is an account without special rights. Admin is one that the routes of
	// AdminOnly admit. Other is a further account like User.
	User, Admin, Other Account

	// Routes are the routes of the service with their policies. One of them must
	// be a GET route for LoggedIn. Each GET route must respond with a status
	// below 300 to an account that may use it.
	Routes []Route

	// LoginPath is the path that accepts the form of RFC 6749 section 4.3, with
	// username and password, and responds with a JSON object that has an
	// access_token. If empty, it is "/token". If LogIn is not nil, it replaces
	// that request, and attacks on the form do not apply.
	LoginPath string
	LogIn     func(ctx context.Context, c *http.Client, baseURL string, a Account) (Tokens, error)

	// Refresh means that LoginPath also exchanges refresh tokens, with
	// grant_type=refresh_token as in RFC 6749 section 6. A refresh token must be
	// good once (RFC 9700 section 4.14.2). Repeated use may return the same
	// successor, until that was used.
	Refresh bool

	// LogoutPath accepts a POST request that ends the session of its access
	// token. If the login returned a refresh token, a form has it as
	// refresh_token. PasswordPath accepts a POST request with a form of
	// current_password and new_password.
	LogoutPath   string
	PasswordPath string

	// CookiePath accepts the same form as LoginPath, and sets a session cookie
	// that the routes for LoggedIn accept.
	CookiePath string

	// Secret is the key that signs access tokens with HMAC. KeySetPath is the
	// path of the public keys as a JSON Web Key Set.
	Secret     []byte
	KeySetPath string

	// Hashes returns how many passwords the service has hashed. It lets an
	// attack compare the work of two logins without a clock.
	Hashes func() int

	// NewAccount creates an account with a password. It lets attacks use
	// accounts that nothing else uses.
	NewAccount func(ctx context.Context, password string) (Account, error)

	// Disable disables an account.
	Disable func(ctx context.Context, a Account) error

	// Enroll sets up a second factor for an account, and returns at least four
	// responses to it. Each is good once, such as a recovery code. The login
	// path then responds with 400 and a JSON object that has an mfa_token, and
	// takes a form of mfa_token, mfa_method and mfa_response with
	// grant_type=mfa. FactorMethod is the mfa_method.
	Enroll       func(ctx context.Context, a Account) (responses []string, err error)
	FactorMethod string

	// APIKey creates an API key of an account. It is a bearer token for the GET
	// route of KeyPath; if that is empty, for the first GET route for LoggedIn.
	APIKey  func(ctx context.Context, a Account) (key string, err error)
	KeyPath string

	// ResetPath and RegisterPath accept a POST request with a form of email, and
	// send a mail. Mails returns the texts of all mails so far, with their
	// recipients. A mail may be sent up to five seconds after the response.
	ResetPath, RegisterPath string
	Mails                   func() []string

	// Provider is a provider of OpenID Connect to which the service is connected,
	// made with [NewProvider]. SocialPath is the path that begins a login with it:
	// a GET request there is redirected to the provider. After the callback, a
	// cookie logs in to the first GET route for LoggedIn. The first login of a
	// user with a verified address creates an account, with that address as its
	// name.
	Provider   *Provider
	SocialPath string

	// LinkPath takes a POST request of a browser that has just logged in with the
	// provider, and links another user of the provider with the account. It
	// redirects to the provider, or responds with a page of HTML that has the
	// address.
	LinkPath string

	// NewUnverified creates an account whose name is an e-mail address, which is
	// not verified. The names of the accounts of NewAccount are then addresses
	// that are verified.
	NewUnverified func(ctx context.Context, password string) (Account, error)

	// Orgs describes the organizations of the service.
	Orgs *Orgs

	// Origins are the origins that may read responses across sites (CORS), or
	// "*" for a public API that every site may use with a token, but not with
	// cookies.
	Origins []string

	// Interval is the time between two requests. If zero, there is none.
	Interval time.Duration

	// Progress is called before each attack, if it is not nil.
	Progress func(done, all int, a Attack)
}

// An Account is an account of the service that is attacked. Its password should
// be a text that no response has by chance: finding it in one is an attack that
// succeeded.
type Account struct {
	Name, Password string
}

// Format implements fmt.Formatter. It prints the account without its password,
// for every verb.
func (a Account) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "{%s [redacted]}", a.Name) }

// Tokens is the result of a login.
type Tokens struct {
	Access, Refresh string
}

// Format implements fmt.Formatter. It prints a fixed text for every verb.
func (Tokens) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// An Access says who may use a [Route].
type Access int

// The policies of routes.
const (
	Public    Access = iota + 1 // everyone
	LoggedIn                    // every account
	AdminOnly                   // only Target.Admin
)

// A Route is a route of the service.
type Route struct {
	Method, Path string // Path is one that exists, without wildcards
	Access       Access

	// Body is a JSON body that the route accepts, if it reads one. It is sent
	// many times. The route may refuse all but the first, such as a second
	// account with the same name.
	Body string
}

// A Severity is the gain of an attacker if an attack succeeds.
type Severity int

// Severities.
const (
	Low      Severity = iota + 1 // less defence in depth
	Medium                       // information, or a denial of service
	High                         // an account, or a right that it does not have
	Critical                     // every account
)

// String returns the name of the severity in lower case.
func (s Severity) String() string {
	return [...]string{"none", "low", "medium", "high", "critical"}[s]
}

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// An Attack is one attack on a service.
type Attack struct {
	ID          string   `json:"id"`          // such as "token.none"
	Text        string   `json:"attack"`      // the attack, in a sentence
	Requirement string   `json:"requirement"` // its number in docs/security.md of authkit
	Source      string   `json:"source"`      // the standard that requires the defence
	Severity    Severity `json:"severity"`

	needs need
	run   func(context.Context, *probe) error // nil for a passive attack
}

// An Outcome is the result of an attack.
type Outcome int

// Outcomes.
const (
	Withstood     Outcome = iota + 1
	Succeeded             // the service is vulnerable
	NotApplicable         // the target lacks a field that the attack needs
	Failed                // the attack could not be carried out, so that it proves nothing
)

// String returns the name of the outcome in lower case.
func (o Outcome) String() string {
	return [...]string{"none", "withstood", "succeeded", "not applicable", "failed"}[o]
}

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// A Result is the outcome of one attack.
type Result struct {
	Attack
	Outcome Outcome `json:"outcome"`

	// Note is the reason of an outcome other than Withstood.
	Note string `json:"note,omitempty"`

	// Evidence has the last requests of the attack and their responses. Tokens,
	// passwords and cookies are masked.
	Evidence []Exchange `json:"evidence,omitempty"`
}

// A Report is the result of all attacks on a target.
type Report struct {
	Target   string    `json:"target"`
	At       time.Time `json:"at"`
	Requests int       `json:"requests"`
	Results  []Result  `json:"results"`
}

// Worst returns the highest severity of the attacks that succeeded, or 0.
func (r *Report) Worst() Severity {
	var worst Severity
	for _, result := range r.Results {
		if result.Outcome == Succeeded {
			worst = max(worst, result.Severity)
		}
	}
	return worst
}

// Count returns the number of attacks with an outcome.
func (r *Report) Count(o Outcome) int {
	n := 0
	for _, result := range r.Results {
		if result.Outcome == o {
			n++
		}
	}
	return n
}

// Attacks returns all attacks, in the order in which [Check] carries them out.
func Attacks() []Attack {
	return slices.Concat(tokenAttacks, claimAttacks, headerAttacks, transportAttacks, accessAttacks,
		responseAttacks, limitAttacks, sessionAttacks, cookieAttacks, factorAttacks, keyAttacks, accountAttacks,
		socialAttacks, idTokenAttacks, identityAttacks, linkAttacks,
		orgAttacks, inviteAttacks, loginAttacks, guessAttacks, passiveAttacks)
}

// Check attacks a target. The error is one of the target's description, or that
// of ctx: then the report has the results so far.
func Check(ctx context.Context, target Target) (*Report, error) {
	p, err := newProbe(ctx, target)
	if err != nil {
		return nil, err
	}
	defer p.close()
	report := &Report{Target: p.base.String(), At: time.Now().UTC()}
	all := Attacks()
	for i, attack := range all {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		if target.Progress != nil {
			target.Progress(i, len(all), attack)
		}
		report.Results = append(report.Results, p.carryOut(ctx, attack))
		report.Requests = p.requests
	}
	return report, nil
}

// Run attacks a target in subtests, one for each attack. A test fails if its
// attack succeeds or cannot be carried out, and is skipped if the attack does
// not apply.
func Run(t *testing.T, target Target) {
	t.Helper()
	p, err := newProbe(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, attack := range Attacks() {
		t.Run(attack.ID, func(t *testing.T) {
			switch result := p.carryOut(t.Context(), attack); result.Outcome {
			case Withstood:
			case NotApplicable:
				t.Skip(result.Note)
			default:
				t.Errorf("%s %s: %s\n%s (%s, %s)\n%s", result.Severity, result.Outcome, result.Note,
					attack.Text, attack.Requirement, attack.Source, exchanges(result.Evidence[max(0, len(result.Evidence)-2):]))
			}
		})
	}
}

// problems returns why a target cannot be attacked, or nil.
func (t *Target) problems() error {
	var all []error
	add := func(format string, args ...any) { all = append(all, fmt.Errorf("contract: "+format, args...)) }
	switch base, err := url.Parse(t.BaseURL); {
	case t.Handler == nil && t.BaseURL == "":
		add("Target.Handler is nil; set it, or BaseURL")
	case t.Handler != nil && t.BaseURL != "":
		add("Target.Handler and BaseURL are both set; set one of them")
	case t.BaseURL != "" && (err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https"):
		add("Target.BaseURL is %q; use an address such as http://127.0.0.1:8000", t.BaseURL)
	}
	if t.User.Name == "" || t.User.Password == "" {
		add("Target.User has no name or no password; set an account that can log in")
	}
	for i, a := range []Account{t.Admin, t.Other} {
		if (a.Name == "") != (a.Password == "") {
			add("Target.%s has only a name or only a password; set both, or none", []string{"Admin", "Other"}[i])
		}
	}
	for _, path := range []struct{ name, value string }{
		{"LoginPath", t.LoginPath}, {"LogoutPath", t.LogoutPath}, {"PasswordPath", t.PasswordPath}, {"CookiePath", t.CookiePath},
		{"KeySetPath", t.KeySetPath}, {"KeyPath", t.KeyPath}, {"ResetPath", t.ResetPath}, {"RegisterPath", t.RegisterPath},
	} {
		if path.value != "" && path.value[0] != '/' {
			add("Target.%s is %q; begin it with a slash", path.name, path.value)
		}
	}
	for i, r := range t.Routes {
		if strings.Contains(r.Path, "?") {
			add("Target.Routes[%d].Path has a query; attacks write the path in other ways, so leave it out", i)
		}
		if r.Method == "" || r.Path == "" || r.Path[0] != '/' || r.Access < Public || r.Access > AdminOnly {
			add("Target.Routes[%d] is incomplete; set Method, Path and Access", i)
		}
	}
	if !slices.ContainsFunc(t.Routes, isGuardedGet) {
		add("Target.Routes has no GET route with Access LoggedIn; add one, such as the user's own data")
	}
	if t.Orgs != nil {
		for _, text := range t.Orgs.problems() {
			add("%s", text)
		}
	}
	return errors.Join(all...)
}

func isGuardedGet(r Route) bool { return r.Method == http.MethodGet && r.Access == LoggedIn }
