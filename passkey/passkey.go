// Package passkey lets users log in with passkeys (WebAuthn Level 3): without a
// name and a password, or as a second factor after a password.
//
//	factor, err := passkey.NewFactor(passkey.Config{
//		RPID:    "example.com",
//		Origins: []string{"https://example.com"},
//	})
//	...
//	kit, err := authkit.New(authkit.Config{
//		SecondFactors: []authkit.SecondFactor{factor},
//		UserData:      []authkit.UserData{factor},
//		...
//	})
//	...
//	passkeys, err := passkey.New(kit, factor)
//	...
//	passkeys.Mount(mux, "/passkeys")
//
// Leave the factor out of SecondFactors if a passkey only replaces the password:
// users with a passkey can then still log in with a password alone.
//
// # Ceremonies
//
// A ceremony has two requests. The first returns options, which a page passes to
// the browser:
//
//	options = PublicKeyCredential.parseRequestOptionsFromJSON(answer.publicKey)
//	credential = await navigator.credentials.get({publicKey: options})
//
// The second takes credential.toJSON(). The challenge of the options holds 256
// random bits. It names a ticket of the Kit, is valid for five minutes, and is
// used up by the first response, right or wrong. For conditional user interfaces,
// which show passkeys while the user fills in a form, the page adds
// mediation: "conditional".
//
// # Checks
//
// The origin, the RP ID, the challenge, the user handle and the signature are
// those of WebAuthn sections 7.1 and 7.2. A registration and a login without a
// password require user verification: a PIN or a biometric. Such a login counts
// as two factors, and its methods are "pop" and "mfa". As a second factor, a
// passkey counts as one, with or without user verification. Its method is "pop",
// a proof of possession that leaves open whether hardware protects the key, since
// attestation is not requested. The name is that of the IANA registry of RFC
// 8176.
//
// The flag BE of an authenticator reports whether a passkey may be synced. If it
// becomes true, the new value is stored, and an event reports it. A change to
// false is refused; see [Config].InsecureAllowBackupLoss. An event reports a
// signature counter that falls; see [Config].RefuseCounterRollback.
//
// # Deleted passkeys
//
// Authenticators keep a passkey that was deleted here. A page informs them with
// PublicKeyCredential.signalUnknownCredential and signalAllAcceptedCredentials.
// The responses have the data for both; see [UnknownCredentialError] and
// [AcceptedCredentials].
package passkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-webauthn/webauthn/protocol"

	"github.com/authkit-go/authkit"
)

const (
	// Method is the method of passkeys in [authkit.Proof], from the IANA
	// registry of RFC 8176.
	Method = "pop"

	// MaxPerUser is the number of passkeys that a user can have.
	MaxPerUser = 20

	ceremonyLife = 5 * time.Minute
	handleBytes  = 64
)

// The events of this package.
const (
	// EventBackupEligible reports a passkey that has become eligible for backup:
	// it may be synced.
	EventBackupEligible authkit.EventKind = "authn_passkey_backup_eligible"

	// EventBackupLoss reports a passkey that was eligible for backup, and no
	// longer is. With a Reason, the login was refused.
	EventBackupLoss authkit.EventKind = "authn_passkey_backup_loss"

	// EventCounterRollback reports a passkey whose signature counter has not
	// risen: a copy of it may be in use. With a Reason, the login was refused.
	EventCounterRollback authkit.EventKind = "authn_passkey_counter_rollback"
)

// Config configures a [Factor]. RPID and Origins are required.
type Config struct {
	// RPID is the domain that passkeys belong to, such as "example.com". It
	// cannot change later. It is the host of each origin, or a parent domain of
	// it that is not a public suffix such as "co.uk".
	RPID string

	// RPName is the name of your service, which authenticators may show. If
	// empty, it is RPID.
	RPName string

	// Origins are the origins of the pages that use passkeys, such as
	// "https://login.example.com". Each is https, or http with the host
	// "localhost".
	Origins []string

	// Store keeps the passkeys. If nil, it is a new [MemoryStore]. Package
	// passkeysql has another Store. With the database of the accounts it is
	// part of their transactions.
	Store Store

	// RefuseCounterRollback refuses a login with a signature counter that has
	// not risen, unless both are zero. By default, only an event reports it,
	// because some synced passkeys have such counters.
	RefuseCounterRollback bool

	// InsecureAllowBackupLoss accepts a passkey that was eligible for backup and
	// no longer is. WebAuthn section 6.1.3 forbids the change: another
	// authenticator may respond. Set it only if the provider of your users is
	// known to make the change.
	InsecureAllowBackupLoss bool
}

// A Factor is the [authkit.SecondFactor], [authkit.Enroller] and
// [authkit.UserData] of passkeys. Make one with [NewFactor], pass it to
// [authkit.New], and pass both to [New]. It is safe for concurrent use.
type Factor struct {
	cfg     Config
	store   Store
	timeout atomic.Int64                // of a call of the store
	kit     atomic.Pointer[authkit.Kit] // set by New
}

var (
	_ authkit.Enroller      = (*Factor)(nil)
	_ authkit.FactorCounter = (*Factor)(nil)
	_ authkit.UserData      = (*Factor)(nil)
)

// NewFactor returns a Factor, or an error that joins all problems of cfg.
func NewFactor(cfg Config) (*Factor, error) {
	var errs []error
	problem := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("passkey: Config.%s: %w", field, err))
		}
	}
	problem("RPID", checkRPID(cfg.RPID))
	if len(cfg.Origins) == 0 {
		problem("Origins", errors.New(`is empty; set the origins of your pages, such as "https://example.com"`))
	}
	for _, origin := range cfg.Origins {
		problem("Origins", checkOrigin(origin, cfg.RPID))
	}
	cfg.RPName = cmp.Or(cfg.RPName, cfg.RPID)
	if _, err := checkName(cfg.RPName); err != nil && cfg.RPName != "" {
		problem("RPName", fmt.Errorf("use at most %d characters that print", maxNameRunes))
	}
	if s, ok := cfg.Store.(*MemoryStore); ok && s == nil {
		problem("Store", errors.New("is a nil MemoryStore; make it with NewMemoryStore"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cfg.Origins = slices.Clone(cfg.Origins)
	f := &Factor{cfg: cfg}
	f.timeout.Store(int64(storeTimeout))
	switch s := cfg.Store.(type) {
	case nil:
		f.store = NewMemoryStore()
	case *MemoryStore:
		f.store = s
	default:
		f.store = timedStore{s, &f.timeout}
	}
	return f, nil
}

// checkRPID returns why a text is no RP ID, or nil.
func checkRPID(id string) error {
	err := protocol.ValidateRPID(id)
	if id != strings.ToLower(id) {
		err = errors.New("has upper-case letters")
	}
	if !strings.Contains(id, ".") && id != "localhost" {
		err = errors.New("has no dot")
	}
	if err != nil {
		return fmt.Errorf(`%q: %w; use a domain in lower case such as "example.com", or "localhost"`, id, err)
	}
	return nil
}

// checkOrigin returns why a page of an origin cannot use an RP ID, or nil.
func checkOrigin(origin, rpID string) error {
	u, err := url.Parse(origin)
	if err != nil {
		return fmt.Errorf("%q is not a URL", origin)
	}
	host := u.Hostname()
	loopback := host == "localhost" || strings.HasSuffix(host, ".localhost")
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback):
		return fmt.Errorf("%q; use an https origin, or http with the host localhost", origin)
	case origin != u.Scheme+"://"+u.Host || host == "" || host != strings.ToLower(host):
		return fmt.Errorf("%q; use a scheme, a host in lower case and maybe a port, without a path", origin)
	case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
		return fmt.Errorf("%q; leave out the port, as browsers do", origin)
	case net.ParseIP(host) != nil:
		return fmt.Errorf("%q; use a domain, since browsers have no passkeys for addresses", origin)
	case host != rpID && !strings.HasSuffix(host, "."+rpID):
		return fmt.Errorf("%q is not within the RPID %q; browsers would refuse it", origin, rpID)
	}
	return nil
}

// Passkeys registers passkeys and logs users in with them. Make one with [New].
// It is safe for concurrent use.
type Passkeys struct {
	kit    *authkit.Kit
	factor *Factor
}

// New returns the Passkeys of a Kit, or an error that joins all problems. The
// Kit needs tickets, and the factor among its [authkit.Config].UserData. A
// Factor belongs to one Kit.
func New(kit *authkit.Kit, factor *Factor) (*Passkeys, error) {
	if kit == nil || factor == nil || factor.store == nil {
		return nil, errors.New("passkey: the Kit or the Factor is missing; make them with authkit.New and NewFactor")
	}
	var errs []error
	settings := kit.Settings()
	if kit.Tickets() == nil {
		errs = append(errs, errors.New("passkey: the Kit has no tickets; set authkit.Config.Tickets, or Users to a store that is a TicketStore"))
	}
	if !slices.Contains(settings.UserData, authkit.UserData(factor)) {
		errs = append(errs, errors.New("passkey: add the factor to authkit.Config.UserData, so that passkeys are deleted with their accounts"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if !factor.kit.CompareAndSwap(nil, kit) {
		return nil, errors.New("passkey: the factor belongs to a Kit already; make another one with NewFactor")
	}
	factor.timeout.Store(int64(settings.StoreTimeout))
	return &Passkeys{kit, factor}, nil
}

// errNoKit is for a Factor that is used before New.
var errNoKit = errors.New("passkey: the factor has no Kit; call passkey.New")

// tickets returns the ticket store of the Kit.
func (f *Factor) tickets() (authkit.TicketStore, error) {
	kit := f.kit.Load()
	if kit == nil {
		return nil, errNoKit
	}
	return kit.Tickets(), nil
}

// now is the time as stores keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// failed reports an error of the store, and returns it as callers see it.
// Errors that are about the input are returned unchanged.
func (f *Factor) failed(ctx context.Context, err error) error {
	for _, known := range []error{nil, ErrNotFound, ErrExists, ErrTooMany, ErrConflict, authkit.ErrUnavailable} {
		if errors.Is(err, known) {
			return err
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	err = fmt.Errorf("passkey: %w: %w", authkit.ErrUnavailable, err)
	f.reportStore(ctx, err)
	return err
}

// reportStore emits the event of a store that failed.
func (f *Factor) reportStore(ctx context.Context, err error) {
	f.emit(ctx, authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: err})
}

// emit delivers an event, if the factor has a Kit.
func (f *Factor) emit(ctx context.Context, e authkit.Event) {
	if kit := f.kit.Load(); kit != nil {
		kit.Emit(ctx, e)
	}
}
