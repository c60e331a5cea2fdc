package flows_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeytest"
	"github.com/authkit-go/authkit/storetest/faults"
	"github.com/authkit-go/authkit/throttle"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/trusteddevice"
)

const (
	password     = "correct horse battery"
	nextPassword = "another long password"
	origin       = "https://example.com"
	rpID         = "example.com"
)

var (
	linkToken = regexp.MustCompile(`\?token=([A-Za-z0-9_.-]+)`)
	sixDigits = regexp.MustCompile(`\b\d{6}\b`)
)

// hasher is a quick Hasher, because a flow has hundreds of runs.
var hasher = quick{}

type quick struct{}

func (quick) Hash(password string) (authkit.PasswordHash, error) {
	return authkit.PasswordHash("$quick$" + base64.RawStdEncoding.EncodeToString([]byte(password))), nil
}

func (q quick) Verify(password string, hash authkit.PasswordHash) error {
	if want, _ := q.Hash(password); want != hash {
		return authkit.ErrPasswordMismatch
	}
	return nil
}

func (quick) NeedsRehash(authkit.PasswordHash) (bool, error) { return false, nil }

// stores are all that an app keeps.
type stores struct {
	users       faults.Store
	jobs        account.Store
	apps        totp.Store
	credentials passkey.Store
	devices     trusteddevice.Store
	keys        apikey.Store
	orgs        org.Store
	attempts    throttle.Store
}

// An app is a program with every feature, and the stores of all of them can
// fail. So can its mails. Its users are ann, bob and root, an administrator.
type app struct {
	t        *testing.T
	in       *faults.Injector
	stores   stores // which do not fail
	kit      *authkit.Kit
	accounts *account.Accounts
	orgs     *org.Orgs
	keys     *apikey.Keys
	passkeys *passkey.Passkeys
	recovery *totp.RecoveryCodes
	handler  http.Handler

	ann, bob, root authkit.User
	cookies        map[string]string // of ann's browser
	strongToken    string            // of everything
	tried          bool              // the step was done before
	grantKey       string            // the ID of the key of service

	mu      sync.Mutex
	events  []authkit.Event
	mails   map[string][]string // by address
	invites map[string]string   // tokens, by address
	failed  int                 // attempts that counted as wrong
}

func newApp(t *testing.T, in *faults.Injector, s stores) *app {
	t.Helper()
	a := &app{t: t, in: in, stores: s, cookies: map[string]string{}, mails: map[string][]string{}, invites: map[string]string{}}
	users := in.Store(s.users)
	key := func(c byte) []byte { return append([]byte("0d7fa9c4e1b2835f96a0c7d4e8b1f35"), c) }
	otp, err := totp.New(totp.Config{Issuer: "Example", Keys: [][]byte{key('1')}, Store: &apps{s.apps, in}, StoreTimeout: time.Second})
	require.NoError(t, err)
	security, err := passkey.NewFactor(passkey.Config{RPID: rpID, Origins: []string{origin}, Store: &credentials{s.credentials, in}})
	require.NoError(t, err)
	a.recovery = otp.RecoveryCodes(security)
	trusted, err := trusteddevice.New(trusteddevice.Config{Store: &devices{s.devices, in}})
	require.NoError(t, err)
	limits, err := throttle.New(throttle.Config{Store: &attempts{s.attempts, in}, Secret: key('3'), OnEvent: a.listen})
	require.NoError(t, err)
	counted := &counter{limits, a}
	authenticator, err := apikey.NewAuthenticator(apikey.Config{Store: &keys{s.keys, in}, Prefix: "ak", Throttle: counted})
	require.NoError(t, err)
	orgStore := &orgs{s.orgs, in}
	a.kit, err = authkit.New(authkit.Config{
		Secret: key('5'), Users: users, StoreTimeout: time.Second, Logger: slog.New(slog.DiscardHandler), Throttle: counted,
		Sessions:       authkit.SessionConfig{Store: users, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}},
		Passwords:      authkit.PasswordConfig{Hasher: hasher},
		Roles:          map[string][]string{"admin": {"notes:read"}, "user": {"notes:read"}, "editor": {"notes:read"}, "secured": {}},
		RequireFactors: authkit.FactorPolicy{Roles: []string{"secured"}},
		SecondFactors:  []authkit.SecondFactor{otp, security, a.recovery}, TrustedDevices: trusted,
		Authenticators: []authkit.Authenticator{authenticator}, Clients: authenticator,
		UserData: []authkit.UserData{otp, security, a.recovery, authenticator, org.UserData(orgStore)},
		OnEvent:  []func(context.Context, authkit.Event){a.listen},
	})
	require.NoError(t, err)
	a.accounts, err = account.New(a.kit, account.Config{
		BaseURL: origin + "/account", Key: key('7'), Mailer: a, Store: &jobs{s.jobs, in}, Roles: []string{"user"}, CodeLogin: true,
	})
	require.NoError(t, err)
	a.orgs, err = org.New(a.kit, org.Config{Store: orgStore, Send: a.invite, Roles: map[string][]string{"admin": {org.ManageMembers}, "member": {}}})
	require.NoError(t, err)
	a.keys, err = apikey.New(a.kit, authenticator)
	require.NoError(t, err)
	a.passkeys, err = passkey.New(a.kit, security)
	require.NoError(t, err)

	mux := a.kit.NewMux()
	user, public := authkit.Authenticated(), authkit.Public()
	mux.Handle("POST /token", public, a.kit.TokenHandler())
	mux.Handle("/session", public, a.kit.RefreshCookieHandler())
	mux.Handle("/login", public, a.kit.FormLoginHandler(func(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) {
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, f.Error)
	}))
	mux.Handle("POST /login/end", public, a.kit.FormLogoutHandler())
	mux.Handle("POST /logout", user, a.kit.LogoutHandler())
	mux.Handle("POST /revoke", public, a.kit.RevocationHandler())
	mux.Handle("POST /introspect", authkit.Roles("admin"), a.kit.IntrospectionHandler())
	mux.Handle("GET /sessions", user, a.kit.SessionsHandler())
	mux.Handle("DELETE /sessions/{id}", user, a.kit.EndSessionHandler())
	mux.Handle("DELETE /sessions", user, a.kit.EndOtherSessionsHandler())
	mux.Handle("POST /password", user, a.kit.ChangePasswordHandler())
	mux.HandleFunc("GET /me", user, func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /notes", authkit.Permissions("notes:read").OrMachines(), func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /active", a.orgs.Active(), func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /members/{org}", a.orgs.Member(), func(http.ResponseWriter, *http.Request) {})
	a.accounts.Mount(mux)
	a.recovery.Mount(mux, a.kit, "/factors")
	a.passkeys.Mount(mux, "/passkeys")
	trusted.Mount(mux, a.kit, "/devices")
	a.keys.Mount(mux, "/keys")
	a.keys.MountServices(mux, "/services")
	a.orgs.Mount(mux, "/orgs")
	a.handler = trusted.Handler(mux)

	a.ann, a.bob, a.root = a.add("ann", "user"), a.add("bob", "user"), a.add("root", "admin", "user", "editor")
	return a
}

// add creates an account with a verified address.
func (a *app) add(name string, roles ...string) authkit.User {
	a.t.Helper()
	u, err := a.kit.CreateUser(a.t.Context(), authkit.User{Email: name + "@example.com", FullName: name, Roles: roles}, password)
	require.NoError(a.t, err)
	u, err = a.kit.VerifyEmail(a.t.Context(), u.ID, u.Email)
	require.NoError(a.t, err)
	return u
}

// listen keeps an event.
func (a *app) listen(ctx context.Context, e authkit.Event) {
	a.mu.Lock()
	a.events = append(a.events, e)
	a.mu.Unlock()
	if a.accounts != nil {
		a.accounts.OnEvent(ctx, e)
	}
}

// Send implements account.Mailer.
func (a *app) Send(ctx context.Context, m account.Message) error {
	return one(ctx, a.in, "Send", func(context.Context) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.mails[m.To] = append(a.mails[m.To], m.Subject+"\n"+m.Text)
		return nil
	})
}

// invite sends an invitation to an organization.
func (a *app) invite(ctx context.Context, i org.Invite) error {
	return one(ctx, a.in, "Send", func(context.Context) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.invites[i.Email] = i.Token
		return nil
	})
}

// A counter counts the attempts that failed.
type counter struct {
	authkit.Throttle
	app *app
}

func (c *counter) End(ctx context.Context, a authkit.Attempt, outcome authkit.AttemptOutcome) error {
	if outcome == authkit.AttemptFailed {
		c.app.mu.Lock()
		c.app.failed++
		c.app.mu.Unlock()
	}
	return c.Throttle.End(ctx, a, outcome)
}

// A response is the answer to a request. As an error it is one of 400 or more.
type response struct {
	status int
	header http.Header
	body   string
}

func (r *response) Error() string { return fmt.Sprintf("%d %s", r.status, strings.TrimSpace(r.body)) }

// member returns a text of a JSON object.
func (r *response) member(path ...string) string {
	var v any
	_ = json.Unmarshal([]byte(r.body), &v)
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	text, _ := v.(string)
	return text
}

// send sends a request: with a form, or a value as JSON. The credential is an
// access token or an API key, or that of ann's browser if it is "cookie".
func (a *app) send(ctx context.Context, method, target string, body any, credential string) (*response, error) {
	var reader io.Reader = http.NoBody
	mediaType := ""
	switch b := body.(type) {
	case nil:
	case url.Values:
		reader, mediaType = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	case []byte:
		reader, mediaType = bytes.NewReader(b), "application/json"
	default:
		text, err := json.Marshal(b)
		require.NoError(a.t, err)
		reader, mediaType = bytes.NewReader(text), "application/json"
	}
	r := httptest.NewRequestWithContext(ctx, method, target, reader)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	switch {
	case credential == "cookie":
		for name, value := range a.cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
	case strings.Contains(credential, ":"):
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(credential)))
	case credential != "":
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		a.cookies[c.Name] = c.Value
	}
	got := &response{w.Code, w.Header(), w.Body.String()}
	if got.status >= http.StatusBadRequest {
		return got, got
	}
	return got, nil
}

// must is send for a request of the set-up.
func (a *app) must(method, target string, body any, credential string) *response {
	a.t.Helper()
	r, err := a.send(a.t.Context(), method, target, body, credential)
	require.NoError(a.t, err, "%s %s", method, target)
	return r
}

// do returns a step that sends a request.
func (a *app) do(method, target string, body any, credential string) step {
	return func(ctx context.Context) error {
		_, err := a.send(ctx, method, target, body, credential)
		return err
	}
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// credentials returns the form of a login with a password.
func loginForm(u authkit.User) url.Values { return form("username", u.Email, "password", password) }

// answer returns the form that answers the challenge in a response.
func answerForm(challenge *response, method, code string) url.Values {
	return form("grant_type", "mfa", "mfa_token", challenge.member("mfa_token"), "mfa_method", method, "mfa_response", code)
}

// login logs a user in, and returns the tokens.
func (a *app) login(u authkit.User) *response {
	a.t.Helper()
	return a.must("POST", "/token", loginForm(u), "")
}

// as returns an access token of a new login.
func (a *app) as(u authkit.User) string {
	a.t.Helper()
	return a.login(u).member("access_token")
}

// An enrolled is a user with an authenticator app.
type enrolled struct {
	uri   string
	codes []string
}

// code waits for the next code of the app, and returns it.
func (e *enrolled) code(t *testing.T) string {
	time.Sleep(30 * time.Second)
	return authkittest.TOTPCode(t, e.uri)
}

// recovery returns the next recovery code.
func (e *enrolled) recovery() string {
	code := e.codes[0]
	e.codes = e.codes[1:]
	return code
}

// enroll sets up an authenticator app.
func (a *app) enroll(u authkit.User) *enrolled {
	a.t.Helper()
	token := a.as(u)
	e := &enrolled{uri: a.must("POST", "/factors/otp", nil, token).member("uri")}
	var codes totp.Codes
	body := a.must("POST", "/factors/otp/confirm", map[string]string{"code": authkittest.TOTPCode(a.t, e.uri)}, token).body
	require.NoError(a.t, json.Unmarshal([]byte(body), &codes))
	e.codes = codes.RecoveryCodes
	time.Sleep(time.Minute)
	return e
}

// strong logs a user in with an authenticator app, and returns the tokens.
func (a *app) strong(ctx context.Context, u authkit.User, method, code string) (*response, error) {
	r, err := a.send(ctx, "POST", "/token", loginForm(u), "")
	if r.member("mfa_token") == "" {
		return r, err
	}
	return a.send(ctx, "POST", "/token", answerForm(r, method, code), "")
}

// options returns those of a ceremony of a passkey.
func options(r *response) (o passkey.Options) {
	_ = json.Unmarshal([]byte(r.body), &o)
	return o
}

// register gives a user a passkey.
func (a *app) register(u authkit.User) *passkeytest.Authenticator {
	a.t.Helper()
	token, key := a.as(u), passkeytest.NewAuthenticator(a.t, rpID, origin)
	o := options(a.must("POST", "/passkeys/register/options", nil, token))
	a.must("POST", "/passkeys/register", key.Create(o), token)
	time.Sleep(time.Minute)
	return key
}

// mail delivers the pending mails, and returns the latest one to an address.
func (a *app) mail(address string) string {
	a.t.Helper()
	a.deliver()
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.mails[address]
	require.NotEmpty(a.t, list, address)
	return list[len(list)-1]
}

// link returns the token of the latest mail to an address.
func (a *app) link(address string) string {
	a.t.Helper()
	found := linkToken.FindStringSubmatch(a.mail(address))
	require.NotNil(a.t, found)
	return found[1]
}

// deliver delivers the pending mails.
func (a *app) deliver() {
	a.t.Helper()
	require.NoError(a.t, a.accounts.Deliver(a.t.Context()))
}

// organization returns the ID of one of ann, and of bob if there are roles.
func (a *app) organization(roles ...string) string {
	a.t.Helper()
	token := a.as(a.ann)
	id := a.must("POST", "/orgs", map[string]string{"name": "Acme"}, token).member("org", "id")
	if len(roles) > 0 {
		a.must("POST", "/orgs/"+id+"/invitations", map[string]any{"email": a.bob.Email, "roles": roles}, token)
		a.must("POST", "/orgs/accept", map[string]string{"token": a.invites[a.bob.Email]}, a.as(a.bob))
	}
	return id
}

// everything gives ann a record in every feature, and a session with a second
// factor.
func (a *app) everything() {
	a.t.Helper()
	token, key := a.as(a.ann), a.must
	key("POST", "/keys", map[string]any{"name": "backup"}, token)
	id := a.organization("owner")
	_ = id
	e := a.enroll(a.ann)
	a.strongToken = a.mustStrong(a.ann, e)
	a.must("POST", "/devices", nil, a.strongToken)
}

// mustStrong returns an access token of a login with a second factor.
func (a *app) mustStrong(u authkit.User, e *enrolled) string {
	a.t.Helper()
	r, err := a.strong(a.t.Context(), u, "otp", e.code(a.t))
	require.NoError(a.t, err)
	return r.member("access_token")
}

// passkey gives ann a passkey, and returns an access token of a login with it
// and its ID.
func (a *app) passkey() (token, id string) {
	a.t.Helper()
	key := a.register(a.ann)
	o := options(a.must("POST", "/passkeys/login/options", nil, ""))
	token = a.must("POST", "/passkeys/login", key.Get(o), "").member("access_token")
	list, err := a.stores.credentials.PasskeysByUser(a.t.Context(), a.ann.ID)
	require.NoError(a.t, err)
	return token, list[0].ID
}

// key gives ann an API key.
func (a *app) key() (token string, issued *response) {
	a.t.Helper()
	token = a.as(a.ann)
	return token, a.must("POST", "/keys", map[string]any{"name": "backup", "scopes": []string{"notes:read"}}, token)
}

// service makes a service, and returns the form of its grant.
func (a *app) service() url.Values {
	a.t.Helper()
	token := a.as(a.root)
	a.must("POST", "/services", map[string]any{"id": "robot", "roles": []string{"user"}}, token)
	key := a.must("POST", "/services/robot/keys", map[string]any{"name": "grant", "scopes": []string{"notes:read"}}, token)
	a.grantKey = key.member("id")
	return form("grant_type", "client_credentials", "client_id", "robot", "client_secret", key.member("key"))
}
