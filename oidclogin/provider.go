package oidclogin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// An EmailTrust is the use of the address that a provider reports. Only a
// verified address is used: email_verified must be the JSON value true.
type EmailTrust int

const (
	// EmailIgnored does not use the address. A new user proves a mailbox.
	EmailIgnored EmailTrust = iota

	// EmailVerified takes the address of a new account from the provider, as
	// verified. An account that has the address already is not linked.
	EmailVerified

	// EmailLinks is EmailVerified, and also links a new identity to the account
	// that has the address. If the address of that account was never verified,
	// its password, sessions and credentials are removed before, because
	// another person may have created it. The provider can then log in to every
	// account. Use it only for a provider that you trust as much as yourself.
	EmailLinks
)

// A Provider is a provider of OpenID Connect. [Google], [GitHub], [Apple] and
// [Microsoft] return one. For others, set the exported fields. Name, Issuer and
// ClientID are required.
type Provider struct {
	// Name is in the paths of [Logins.Mount]: a to z, 0 to 9 and the hyphen. Do
	// not change it while users are logging in.
	Name string

	// Label is the name for people. If empty, it is Name.
	Label string

	// Issuer is the URL of the issuer, exactly as the provider writes it. The
	// provider is discovered below it. It is an https URL, or an http URL of a
	// loopback address. Do not change it: identities belong to it.
	Issuer string

	// ClientID and ClientSecret are those that the provider has assigned. A public
	// client has no secret.
	ClientID, ClientSecret string

	// Scopes are requested in addition to "openid". If nil, they are "email" and
	// "profile".
	Scopes []string

	// Email is the use of the provider's addresses. The zero value is
	// [EmailIgnored].
	Email EmailTrust

	// Untrusted is for an issuer that a user of your program has entered. Its
	// hosts must have public addresses, and Email must be EmailIgnored.
	Untrusted bool

	// KeepTokens keeps the tokens of the last login, encrypted with
	// [Config].Keys. See [Logins.Tokens].
	KeepTokens bool

	// The rest is for presets.
	endpoint     *oauth2.Endpoint                              // without discovery
	person       func(context.Context, getter) (person, error) // without an ID token
	secret       func(at time.Time) (string, error)            // instead of ClientSecret
	params       []oauth2.AuthCodeOption                       // of the request
	formPost     bool                                          // the answer comes as a POST
	textVerified bool                                          // email_verified may be the text "true"
	neverEmail   bool                                          // Email must stay EmailIgnored
	err          error                                         // of the arguments of the preset
}

// Format implements fmt.Formatter. It prints the provider without its secret,
// for every verb.
func (p Provider) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%s %s %s [redacted]}", p.Name, p.Issuer, p.ClientID)
}

// LogValue implements slog.LogValuer. It returns the provider without its
// secret.
func (p Provider) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(p)) }

// A person is the description of a user by a provider.
type person struct {
	Subject  string    `json:"subject"`
	Email    string    `json:"email,omitempty"` // normal; empty if there is none
	Verified bool      `json:"-"`               // the provider reports Email as verified
	Name     string    `json:"name,omitempty"`
	AuthTime time.Time `json:"auth_time,omitzero"`

	tokens *oauth2.Token
}

// A provider is a Provider that was checked.
type provider struct {
	Provider
	redirect string // the redirect URI
	client   *http.Client
	source   source
}

// newProviders checks the providers.
func newProviders(list []Provider) ([]*provider, error) {
	if len(list) == 0 {
		return nil, errors.New("is empty; give one provider or more")
	}
	var errs []error
	var checked []*provider
	names := []string{}
	for i, p := range list {
		err := p.check()
		if slices.Contains(names, p.Name) {
			err = errors.Join(err, errors.New("has the name of another provider"))
		}
		names = append(names, p.Name)
		if err != nil {
			errs = append(errs, fmt.Errorf("element %d (%s): %w", i, p.Name, err))
			continue
		}
		if p.Label == "" {
			p.Label = p.Name
		}
		if p.Scopes == nil {
			p.Scopes = []string{"email", "profile"}
		}
		if p.endpoint == nil {
			p.Scopes = append([]string{"openid"}, slices.DeleteFunc(slices.Clone(p.Scopes), func(s string) bool { return s == "openid" })...)
		}
		checked = append(checked, &provider{Provider: p, client: newClient(p.Untrusted)})
	}
	return checked, errors.Join(errs...)
}

// reserved are names that the routes have taken.
var reserved = []string{"mailbox", "identities"}

// check returns why the provider cannot be used, or nil.
func (p *Provider) check() error {
	errs := []error{p.err}
	problem := func(wrong bool, text string) {
		if wrong {
			errs = append(errs, errors.New(text))
		}
	}
	problem(p.Name == "" || len(p.Name) > 64 || strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || slices.Contains(reserved, p.Name),
		"Name: use a to z, 0 to 9 and the hyphen, such as \"google\"")
	u, err := url.Parse(p.Issuer)
	problem(err != nil || !secureURL(u) || u.User != nil || u.RawQuery != "" || u.Fragment != "",
		"Issuer: use an https URL such as https://accounts.example.com, or http with a loopback address")
	problem(p.ClientID == "", "ClientID: is empty; register your program at the provider")
	problem(p.Email < EmailIgnored || p.Email > EmailLinks, "Email: use EmailIgnored, EmailVerified or EmailLinks")
	problem(p.neverEmail && p.Email != EmailIgnored, "Email: the provider lets its users choose any address; use EmailIgnored")
	problem(p.Untrusted && p.Email != EmailIgnored, "Email: a provider that a user has entered proves no address; use EmailIgnored")
	problem(p.Untrusted && u != nil && u.Scheme != "https", "Issuer: one that a user has entered must be an https URL")
	return errors.Join(errs...)
}

// provider returns the provider of a name.
func (l *Logins) provider(name string) (*provider, error) {
	for _, p := range l.providers {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("oidclogin: no provider is named %q", name)
}
