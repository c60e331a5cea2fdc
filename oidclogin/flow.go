package oidclogin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/authkit-go/authkit"
)

const (
	ticketFlow = "oidclogin_flow"
	flowLife   = 10 * time.Minute

	browserCookie = "__Host-oidclogin"
	browserSecret = 32 // bytes

	maxParam = 4096 // bytes of a code
)

// A flow is the body of the ticket of a redirect to a provider. It holds no
// secret: the nonce and the code verifier are derived from the state and from
// the browser's cookie, which both come back with the answer.
type flow struct {
	Provider string        `json:"provider"`
	Browser  []byte        `json:"browser"` // hash of the cookie
	Return   string        `json:"return"`
	MaxAge   time.Duration `json:"max_age,omitempty"` // step-up; zero for none

	// A link has the user and the session that started it.
	UserID    string `json:"user_id,omitempty"`
	SessionID string `json:"session_id,omitempty"`
}

// A browser is the secret that binds flows to one browser. It is not the state: an
// attacker who sees the URL of a redirect does not have it (OA-13).
type browser string

// browserOf returns the secret of a request, or "" if it has none.
func browserOf(r *http.Request) browser {
	cookies := r.CookiesNamed(browserCookie)
	if len(cookies) != 1 {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(cookies[0].Value)
	if err != nil || len(raw) != browserSecret {
		return ""
	}
	return browser(cookies[0].Value)
}

// newBrowser returns the secret of the browser. Several tabs share one. It sets
// the cookie, which ends with the last flow.
func newBrowser(w http.ResponseWriter, r *http.Request) browser {
	b := browserOf(r)
	if b == "" {
		var raw [browserSecret]byte
		_, _ = rand.Read(raw[:]) // never fails
		b = browser(base64.RawURLEncoding.EncodeToString(raw[:]))
	}
	http.SetCookie(w, &http.Cookie{
		Name: browserCookie, Value: string(b), Path: "/", MaxAge: int(flowLife / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return b
}

// hash returns the form of the secret for a ticket.
func (b browser) hash() []byte {
	sum := sha256.Sum256([]byte("oidclogin browser\x00" + string(b)))
	return sum[:]
}

// is reports whether a hash is that of the secret.
func (b browser) is(hash []byte) bool {
	return b != "" && subtle.ConstantTimeCompare(b.hash(), hash) == 1
}

// derive returns a secret of 256 bits for one purpose of one flow.
func (b browser) derive(purpose, state string) string {
	mac := hmac.New(sha256.New, []byte(b))
	mac.Write([]byte(purpose + "\x00" + state))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (b browser) nonce(state string) string    { return b.derive("nonce", state) }
func (b browser) verifier(state string) string { return b.derive("verifier", state) }

// errNoStepUp is for a provider that does not report when it authenticated the
// user.
var errNoStepUp = fmt.Errorf("oidclogin: the provider cannot authenticate a user again: %w", authkit.ErrInvalidTicket)

// begin stores a flow, and returns the URL of the provider for it.
func (l *Logins) begin(ctx context.Context, p *provider, b browser, f flow) (string, error) {
	if f.MaxAge > 0 && p.endpoint != nil {
		return "", errNoStepUp
	}
	m, err := p.metadata(ctx)
	if err != nil {
		return "", l.providerFailed(ctx, p, err)
	}
	t, state := authkit.NewTicket(ticketFlow, f.UserID, flowLife)
	f.Provider, f.Browser = p.Name, b.hash()
	if t.Body, err = json.Marshal(f); err != nil {
		return "", fmt.Errorf("oidclogin: encoding a ticket: %w", err)
	}
	if err := l.putTicket(ctx, t); err != nil {
		return "", err
	}
	options := append([]oauth2.AuthCodeOption{oauth2.S256ChallengeOption(b.verifier(state))}, p.params...)
	if m.verifier != nil {
		options = append(options, oidc.Nonce(b.nonce(state)))
	}
	if f.MaxAge > 0 {
		options = append(options, oauth2.SetAuthURLParam("max_age", fmt.Sprint(int64(f.MaxAge/time.Second))))
	}
	return p.config(m, "").AuthCodeURL(state, options...), nil
}

// putTicket stores a ticket for a client that need not be logged in. The throttle
// limits how many it can store.
func (l *Logins) putTicket(ctx context.Context, t authkit.Ticket) error {
	var failed error // of the store
	err := l.kit.Admit(ctx, authkit.Attempt{Action: authkit.ActionChallenge}, func(ctx context.Context) error {
		failed = l.kit.Tickets().PutTicket(ctx, t)
		return failed
	})
	if failed != nil {
		return l.storeFailed(ctx, failed)
	}
	return err
}

// config returns the configuration for package oauth2.
func (p *provider) config(m *metadata, secret string) *oauth2.Config {
	return &oauth2.Config{ClientID: p.ClientID, ClientSecret: secret, Endpoint: m.endpoint, RedirectURL: p.redirect, Scopes: p.Scopes}
}

// An answer is the query of a callback.
type answer struct{ state, code, iss, failure string }

// answerParams are the parameters that a POST passes on to the GET form of a
// callback.
var answerParams = []string{"state", "code", "iss", "error"}

var errAnswer = fmt.Errorf("oidclogin: a malformed callback: %w", authkit.ErrInvalidTicket)

// parseAnswer reads the parameters of a callback. Each may be there once (RFC
// 6749, section 3.1).
func parseAnswer(values url.Values) (answer, error) {
	for _, name := range answerParams {
		if list := values[name]; len(list) > 1 || len(list) == 1 && (len(list[0]) > maxParam || strings.ContainsFunc(list[0], notVisible)) {
			return answer{}, errAnswer
		}
	}
	a := answer{values.Get("state"), values.Get("code"), values.Get("iss"), values.Get("error")}
	if a.state == "" || (a.code == "") == (a.failure == "") {
		return answer{}, errAnswer
	}
	return a, nil
}

// notVisible reports whether a character cannot be in a parameter (RFC 6749,
// appendix A).
func notVisible(r rune) bool { return r < ' ' || r > '~' }

// errCancelled is for a user who did not give consent.
var errCancelled = errors.New("oidclogin: the user has cancelled the login")

// open consumes the ticket of an answer, and checks that the answer belongs to
// the browser and comes from the provider.
func (l *Logins) open(ctx context.Context, p *provider, b browser, a answer) (flow, *metadata, error) {
	var f flow
	t, err := authkit.RedeemTicket(ctx, l.kit.Tickets(), ticketFlow, a.state)
	if err != nil {
		return f, nil, err // of which the login tells
	}
	if err := json.Unmarshal(t.Body, &f); err != nil {
		return f, nil, fmt.Errorf("oidclogin: decoding a ticket: %w", err)
	}
	if !b.is(f.Browser) || f.Provider != p.Name {
		return flow{}, nil, authkit.ErrInvalidTicket
	}
	m, err := p.metadata(ctx)
	if err != nil {
		return f, nil, l.providerFailed(ctx, p, err)
	}
	if a.iss != p.Issuer && (a.iss != "" || m.sendsIss) { // RFC 9207, section 2.4
		return f, nil, l.refused(ctx, p, errIssuer)
	}
	switch a.failure {
	case "":
		return f, m, nil
	case "access_denied":
		return f, nil, errCancelled
	}
	return f, nil, l.refused(ctx, p, fmt.Errorf("the provider answered with the error %q", clip(a.failure)))
}

var errIssuer = errors.New("the answer comes from another issuer")
