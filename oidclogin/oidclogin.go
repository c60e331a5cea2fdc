package oidclogin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/internal/seal"
)

// MethodFederated is the method of a login with another provider, in
// [authkit.Proof] and in events about identities.
const MethodFederated = "fed"

// EventProviderFailure is the kind of an event about a provider that could not
// be reached, or whose answer was refused. Its Err has the cause.
const EventProviderFailure authkit.EventKind = "sys_provider_fail"

var (
	// ErrAccountExists is returned for the first login of an identity whose
	// proved address belongs to an account. The user logs in to that account,
	// and links the identity in the settings.
	ErrAccountExists error = &loginError{"oidclogin: an account has this e-mail address"}

	// ErrMailboxUnproved is returned for the first login of an identity without
	// an address that [Provider].Email accepts. It does not depend on whether an
	// account has the address.
	ErrMailboxUnproved error = &loginError{"oidclogin: the provider proves no e-mail address"}

	// ErrIdentityTaken is returned for an identity that belongs to an account.
	ErrIdentityTaken = errors.New("oidclogin: the identity belongs to an account")

	// ErrNoIdentity is returned if there is no such identity, or if it belongs
	// to another user.
	ErrNoIdentity = errors.New("oidclogin: no such identity")

	// ErrLastLogin is returned by [Logins.Unlink] for the only way in which a
	// user can log in.
	ErrLastLogin = errors.New("oidclogin: the last way to log in stays")

	// ErrNoTokens is returned by [Logins.Tokens] for an identity without tokens.
	ErrNoTokens = errors.New("oidclogin: no tokens are kept")
)

// A loginError is a login that ends without a session. It counts as one that was
// not proved.
type loginError struct{ text string }

func (e *loginError) Error() string { return e.text }
func (*loginError) Unwrap() error   { return authkit.ErrInvalidCredentials }

// Config configures [Logins]. BaseURL, Store and Providers are required.
type Config struct {
	// BaseURL is the address of the routes of [Logins.Mount], such as
	// "https://example.com/oidc". It is an https URL, or an http URL of a
	// loopback address. No part of a request enters a redirect URI.
	BaseURL string

	// Store keeps the identities. Pass the same one to [UserData]. A
	// [MemoryStore] loses them when the program ends. Package oidcloginsql has
	// another Store.
	Store Store

	// Providers are the providers. Each has a different name.
	Providers []Provider

	// Roles are the roles of new accounts. They may be empty.
	Roles []string

	// Mailer sends a code to the address that a user enters after
	// [ErrMailboxUnproved]. It also notifies users that an identity was added or
	// removed. If nil, such a user must sign up first, and there are no
	// notifications.
	Mailer account.Mailer

	// Service is the name of your service, for mails and pages. If empty, it is
	// the host of BaseURL.
	Service string

	// HasOtherLogin reports whether a user without a password can log in without
	// any identity, such as with a passkey. If nil, such users cannot. It must be
	// safe for concurrent use.
	HasOtherLogin func(ctx context.Context, userID string) (bool, error)

	// Keys encrypt the tokens of providers with KeepTokens, and are required for
	// these. Each has 32 random bytes or more. The first encrypts, and all of
	// them decrypt.
	Keys [][]byte

	// Page writes the response for a page, with p.Status. If nil, the pages have
	// no style. It must be safe for concurrent use.
	Page func(w http.ResponseWriter, r *http.Request, p Page)
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging a Config does not reveal its secrets.
func (Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("oidclogin.Config{[redacted]}")) }

// LogValue implements slog.LogValuer. It returns a fixed text.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Logins are the logins with other providers. Make one with [New]. It is safe
// for concurrent use.
type Logins struct {
	kit       *authkit.Kit
	store     timedStore
	users     authkit.UserStore
	base      string
	path      string // of base
	loginPath string // of the session cookies
	service   string
	roles     []string
	mailer    account.Mailer
	other     func(ctx context.Context, userID string) (bool, error)
	box       *seal.Box // nil if no tokens are kept
	page      func(w http.ResponseWriter, r *http.Request, p Page)
	providers []*provider
}

// Format implements fmt.Formatter. It prints a fixed text for every verb.
func (*Logins) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("oidclogin.Logins{[redacted]}")) }

// New returns the Logins of a Kit, or an error that joins all problems of cfg.
// It dials nothing: a provider is discovered when it is used for the first time.
// The Kit needs session cookies, transactions, tickets, and the [UserData] of
// the store.
func New(kit *authkit.Kit, cfg Config) (*Logins, error) {
	if kit == nil {
		return nil, errors.New("oidclogin: the Kit is nil")
	}
	settings := kit.Settings()
	errs := checkKit(kit, settings, cfg.Store)
	problem := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("oidclogin: Config.%s: %w", field, err))
		}
	}
	base, err := checkBase(cfg.BaseURL)
	problem("BaseURL", err)
	problem("Roles", checkRoles(kit, cfg.Roles))
	if cfg.Service == "" && base != nil {
		cfg.Service = base.Hostname()
	}
	providers, err := newProviders(cfg.Providers)
	problem("Providers", err)
	var box *seal.Box
	if keep := slices.ContainsFunc(cfg.Providers, func(p Provider) bool { return p.KeepTokens }); keep || len(cfg.Keys) > 0 {
		box, err = seal.New("oidclogin tokens", cfg.Keys...)
		problem("Keys", err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	l := &Logins{
		kit: kit, store: timedStore{cfg.Store, settings.StoreTimeout}, users: settings.Users, base: base.String(), path: base.Path,
		loginPath: settings.Sessions.Cookies.LoginPath, service: cfg.Service, roles: slices.Clone(cfg.Roles), mailer: cfg.Mailer,
		other: cfg.HasOtherLogin, box: box, page: cfg.Page, providers: providers,
	}
	if l.page == nil {
		l.page = l.plainPage
	}
	for _, p := range providers {
		p.redirect = l.base + "/" + p.Name + "/callback"
	}
	return l, nil
}

// checkKit returns the settings that a Kit lacks.
func checkKit(kit *authkit.Kit, settings authkit.Settings, store Store) (errs []error) {
	if _, ok := settings.Users.(authkit.Transactor); !ok || kit.Tickets() == nil {
		errs = append(errs, errors.New("oidclogin: the Kit has no transactions or no tickets; set authkit.Config.Users to a store that has both"))
	}
	if c := settings.Sessions.Cookies; c == nil || c.LoginPath == "" {
		errs = append(errs, errors.New("oidclogin: session cookies are off, or have no login page; set authkit.Config.Sessions.Cookies and its LoginPath"))
	}
	if m, ok := store.(*MemoryStore); store == nil || ok && (m == nil || m.byID == nil) {
		return append(errs, errors.New("oidclogin: Config.Store: is missing; use NewMemoryStore or package oidcloginsql"))
	}
	same := func(d authkit.UserData) bool {
		u, ok := d.(userData)
		return ok && reflect.TypeOf(u.store).Comparable() && u.store == store
	}
	if !slices.ContainsFunc(settings.UserData, same) {
		errs = append(errs, errors.New("oidclogin: authkit.Config.UserData lacks oidclogin.UserData of this Store, so an account that is deleted or reset would keep its identities"))
	}
	return errs
}

// checkBase returns a base URL without a slash at its end.
func checkBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	if !secureURL(u) {
		return nil, fmt.Errorf("%q; use an https URL such as https://example.com/oidc, or http with a loopback address", text)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.EscapedPath() != u.Path {
		return nil, fmt.Errorf("%q; use a URL of a scheme, a host and a plain path", text)
	}
	return u, nil
}

// secureURL reports whether a URL is https, or http of a loopback address.
func secureURL(u *url.URL) bool {
	return u.Hostname() != "" && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}

func loopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// checkRoles returns why new accounts cannot have the roles, or nil.
func checkRoles(kit *authkit.Kit, roles []string) error {
	err := kit.CheckUser(context.Background(), authkit.User{Email: "user@example.com", Roles: roles}, "") // ends at the empty password
	if v, ok := errors.AsType[*authkit.ValidationError](err); ok {
		for _, f := range v.Fields {
			if f.Field == "roles" {
				return errors.New(f.Message)
			}
		}
	}
	return nil
}

// now is the time as stores keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// system returns the context in which a login changes accounts. It replaces the
// principal of the request, who did not authorize the change.
func system(ctx context.Context) context.Context { return authkit.WithSystem(ctx, "oidclogin") }

// storeFailed reports an error of the identities or tickets, and returns it as
// callers see it.
func (l *Logins) storeFailed(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	err = unavailable(err)
	l.reportStore(ctx, err)
	return err
}

// reportStore emits the event of a store that failed.
func (l *Logins) reportStore(ctx context.Context, err error) {
	l.kit.Emit(ctx, authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: err})
}
