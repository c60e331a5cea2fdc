package authkit

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/authkit-go/authkit/internal/gate"
	"github.com/authkit-go/authkit/internal/jws"
)

// Config configures a [Kit]. The only required setting is a key: Secret, Tokens.Keys or
// Tokens.Ring. Every other zero value is a safe default.
type Config struct {
	// Secret signs and verifies tokens with HS256: 32 or more random bytes that nothing
	// else uses. It is short for Tokens.Keys with one such key. Set one of the two.
	Secret []byte

	// Tokens configures how access tokens are signed and verified.
	Tokens TokenConfig

	// Users keeps the accounts. If nil, they are kept in a new [MemoryStore].
	Users UserStore

	// Sessions turns on refresh tokens, logout, and the list of a user's sessions.
	Sessions SessionConfig

	// Tickets keeps pending logins, and the tickets of features. If nil, it is Users, if
	// that is a [TicketStore]. SecondFactors need one.
	Tickets TicketStore

	// SecondFactors are the second factors that users can enroll. A user who
	// has enrolled one cannot log in with the first factor alone: the login
	// fails with a [ChallengeError] until the user answers it.
	SecondFactors []SecondFactor

	// RequireFactors is the users who must have a second factor. The zero value
	// is none: the factors are optional.
	RequireFactors FactorPolicy

	// TrustedDevices lets users skip the second factor on devices that they
	// trust. Package trusteddevice implements it. If nil, no device is trusted.
	// It is one of the UserData too; do not add it there.
	TrustedDevices TrustedDevices

	// Authenticators authenticate requests by other credentials than bearer tokens and
	// session cookies, such as API keys.
	Authenticators []Authenticator

	// Resource, if not nil, describes the service to clients of OAuth 2.0.
	Resource *ResourceConfig

	// Clients turns on the client-credentials grant for services, and their
	// access tokens. Package apikey implements it. If nil, the token endpoint
	// does not have the grant, and no token of a service is accepted.
	Clients ClientAuthenticator

	// UserData are the features that store data about users. An element of
	// SecondFactors that is a UserData is one of them, listed here or not.
	UserData []UserData

	// RequireVerifiedEmail refuses logins and refreshes of accounts whose e-mail address
	// was never verified.
	RequireVerifiedEmail bool

	// Throttle limits failed logins and refreshes. Package throttle implements it. If
	// nil, only Passwords.MaxConcurrentHashes limits how fast passwords can be guessed.
	Throttle Throttle

	// StoreTimeout limits each call of a store. If zero, it is 5 seconds. A request whose
	// call takes longer is answered with 503. A MemoryStore has no limit.
	StoreTimeout time.Duration

	// Passwords configures how passwords are hashed and which ones are accepted.
	Passwords PasswordConfig

	// Roles is the role table: every role that a user can have, with the permissions
	// that it grants. Roles outside the table are refused, in accounts and in policies, so
	// that a misspelt role is found early. If nil, every well-formed name is a role and
	// there are no permissions. Names are 1 to 64 of A-Z, a-z, 0-9, colon, dot, hyphen
	// and underscore. They are compared exactly: "admin" and "Admin" are two roles.
	Roles map[string][]string

	// AdminRole is the role of administrators. If empty, it is "admin". Its holders can
	// grant every role, others only the roles that they hold themselves. The last enabled
	// account with the role cannot be disabled or deleted, and cannot lose the role.
	AdminRole string

	// EmailSubject makes the e-mail the subject of the tokens instead of the user ID, as
	// clients of some older systems expect. Such a token is refused once the user's
	// address changes.
	EmailSubject bool

	// ExtraClaims, if not nil, returns further claims for a user's access token: a struct
	// or a map that encodes as a JSON object. An error fails the login. It must be safe
	// for concurrent use.
	ExtraClaims func(ctx context.Context, u User) (any, error)

	// OnEvent are functions that are called with every [Event], one after the
	// other, before the operation returns. They must be quick and safe for
	// concurrent use.
	OnEvent []func(context.Context, Event)

	// Logger logs every event, beside OnEvent. If nil, it is slog.Default(). To log
	// nothing, use slog.New(slog.DiscardHandler).
	Logger *slog.Logger
}

// A PasswordConfig configures the passwords of a [Kit].
type PasswordConfig struct {
	// Hasher hashes and verifies passwords. If nil, it is
	// Schemes(Bcrypt{}, PBKDF2SHA256{}, Argon2id{}).
	Hasher Hasher

	// MinLength is the minimum length of a new password, in code points. If zero, it is
	// 8, which is also the least. NIST SP 800-63B advises 15 if the password is the only
	// factor.
	MinLength int

	// Normalize, if not nil, is applied to a password before it is hashed or
	// compared. Use it to give a password the same bytes on every device, for
	// instance with norm.NFC.String of golang.org/x/text. If nil, passwords are
	// compared byte by byte.
	//
	// It is called once for each password that is set or verified, before all
	// other rules. A password that has more than 1,024 bytes, contains a NUL or
	// is not UTF-8 is refused before the call.
	//
	// Set it before the first account is created, and do not change it:
	// existing hashes would no longer verify. The same is true of imported
	// hashes, unless the system that made them used the same form. It must be
	// safe for concurrent use.
	Normalize func(password string) string

	// Check, if not nil, checks every new password that meets the other rules,
	// for example against a list of known passwords. It returns
	// ErrPasswordRefused for a password that must not be used. Any other error
	// fails the operation. To accept a password that cannot be checked, return
	// nil. It must be safe for concurrent use.
	Check func(ctx context.Context, password string, u User) error

	// MaxConcurrentHashes is the maximum number of password hashes that run at the same
	// time. If zero, it is one less than GOMAXPROCS was when New was called, at least one,
	// and at most the number of cores. Sixteen times as many callers may wait; further ones
	// get ErrOverloaded.
	//
	// As long as it is less than GOMAXPROCS, the Go scheduler can run other requests while
	// all of these hashes run. By default GOMAXPROCS is the number of cores, so one core
	// computes no hashes. To use all cores for logins, set GOMAXPROCS to one more than the
	// cores, in the environment or before New:
	//
	//	runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	//
	// Do not do so if a CPU quota limits the process, as in many containers: hashes that
	// use up the quota stop the whole process until its next period.
	MaxConcurrentHashes int
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so that logging
// a Config does not reveal its secrets.
func (Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("authkit.Config{" + redacted + "}")) }

const (
	// waitersPerHash is how many callers may wait for each hash that runs: about four
	// seconds of work at the default cost.
	waitersPerHash = 16

	defaultAdminRole = "admin"
)

// A Kit logs users in, guards routes and manages accounts. Make one with [New].
// It is immutable, and safe for concurrent use.
type Kit struct {
	users          UserStore
	sessions       *sessions        // nil if sessions are off
	tickets        TicketStore      // nil if there is none
	tx             Transactor       // nil if there is none
	joined         SessionUserStore // nil if there is none: two round trips
	batch          UserBatchStore   // nil if there is none: one round trip per account
	factors        []SecondFactor
	required       FactorPolicy
	devices        TrustedDevices // nil if no device is trusted
	userData       []UserData
	clients        ClientAuthenticator // nil if there are none
	throttle       Throttle            // nil if there is none
	attempts       attemptLimiter
	guard          *Guard
	hasher         Hasher
	gate           *gate.Gate
	dummy          PasswordHash // the hash that a login without an account is compared with
	issuer         *TokenIssuer
	verifier       *TokenVerifier
	roles          roleTable
	adminRole      string
	sharedSessions bool // accounts and sessions are in one store, or there are no sessions
	emailSubject   bool
	verifiedOnly   bool
	minPassword    int
	normalize      func(string) string // nil: passwords stay as they are
	check          func(context.Context, string, User) error
	extraClaims    func(context.Context, User) (any, error)
	onEvent        func(context.Context, Event)
	settings       Settings // without the keys
}

// New returns a Kit, or an error that joins all problems of cfg, each with the name of the
// field and the fix. It keeps no reference to the slices and maps of cfg. If the hasher is
// not one of this package, New computes one hash with it.
func New(cfg Config) (*Kit, error) {
	var errs []error
	fault := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("authkit: Config.%s: %w", field, err))
		}
	}
	k := &Kit{
		hasher: cfg.Passwords.Hasher, throttle: cfg.Throttle,
		factors: slices.Clone(cfg.SecondFactors), userData: withFactorData(cfg.UserData, cfg.SecondFactors), clients: cfg.Clients, required: cfg.RequireFactors.clone(),
		emailSubject: cfg.EmailSubject, verifiedOnly: cfg.RequireVerifiedEmail,
		minPassword: cmp.Or(cfg.Passwords.MinLength, minPasswordLength), adminRole: cmp.Or(cfg.AdminRole, defaultAdminRole),
		normalize: cfg.Passwords.Normalize, check: cfg.Passwords.Check, extraClaims: cfg.ExtraClaims, onEvent: listeners(cfg.Logger, cfg.OnEvent, fault),
	}
	if k.devices = cfg.TrustedDevices; k.devices != nil {
		k.userData = append(k.userData, k.devices)
		if len(k.factors) == 0 {
			fault("TrustedDevices", errors.New("set without SecondFactors, so there is no factor to skip; leave it out"))
		}
	}
	users, tickets := k.bindStores(cfg, fault)
	if k.hasher == nil {
		k.hasher = Schemes(Bcrypt{}, PBKDF2SHA256{}, Argon2id{})
	}

	tokens := cfg.Tokens
	switch {
	case len(tokens.Keys) > 0 && len(cfg.Secret) > 0:
		fault("Secret", errors.New("set along with Tokens.Keys; set one of the two"))
	case tokens.Ring != nil && len(cfg.Secret) > 0:
		fault("Secret", errors.New("set along with Tokens.Ring; set one of the two"))
	case len(tokens.Keys) == 0 && tokens.Ring == nil:
		secret := cfg.Secret
		if err := jws.CheckSecret(secret, 32); err != nil {
			fault("Secret", err)
			secret = []byte(rand.Text() + rand.Text()) // so that the rest of Tokens is checked too
		}
		tokens.Keys = []Key{{Algorithm: HS256, Secret: secret}}
	}
	resource := cfg.Resource.bind(&tokens, cfg.Roles, fault)
	tokens.Tenant = tenantOf(tokens.Tenant, users, fault)
	var err error
	if keys, err := tokens.bind("Config.Tokens", true); err != nil {
		errs = append(errs, err)
	} else {
		k.issuer, k.verifier = newIssuer(tokens, keys), newVerifier(tokens, keys)
		k.verifier.withoutRoles = true
	}
	k.roles, err = newRoleTable(cfg.Roles)
	fault("Roles", err)
	if cfg.AdminRole != "" && !k.roles.knows(cfg.AdminRole) {
		fault("AdminRole", fmt.Errorf("the role %q is not in Roles, or is not well-formed: %s", cfg.AdminRole, roleRule))
	}
	if k.minPassword < minPasswordLength || k.minPassword > 64 {
		fault("Passwords.MinLength", fmt.Errorf("%d; use %d to 64, or 0 for %d", k.minPassword, minPasswordLength, minPasswordLength))
	}
	running := cmp.Or(cfg.Passwords.MaxConcurrentHashes, defaultHashes())
	if running < 0 || running > 1024 {
		fault("Passwords.MaxConcurrentHashes", fmt.Errorf("%d; use 1 to 1024, or 0 for one less than GOMAXPROCS", running))
		running = 1
	}
	k.gate = gate.New(running, waitersPerHash*running)
	fault("SecondFactors", checkFactors(k.factors, k.tickets))
	fault("RequireFactors", k.required.validate(k.roles, k.factors))
	fault("UserData", checkUserData(k.userData))
	fault("Authenticators", checkAuthenticators(cfg.Authenticators))
	err = validateHasher(k.hasher)
	fault("Passwords.Hasher", err)
	if err == nil {
		k.dummy, err = dummyHash(k.hasher)
		fault("Passwords.Hasher", err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	k.guard = &Guard{
		verifier: k.verifier, roles: k.roles, onEvent: k.onEvent, resource: resource,
		authenticators: slices.Clone(cfg.Authenticators), principalFromClaims: k.principalFromClaims, credential: k.credential, accounts: true,
	}
	if k.clients != nil {
		k.guard.service = k.service
	}
	if k.sessions != nil && k.sessions.cookies != nil {
		k.guard.authenticators = append(k.guard.authenticators, cookieAuthenticator{k})
		k.guard.login = k.sessions.cookies.loginPath
	}
	newGuard(k.guard)
	cfg.Tokens.Tenant, cfg.Tokens.Audience = tokens.Tenant, tokens.Audience
	k.settings = k.effective(cfg, users, tickets, running)
	return k, nil
}

// tenantOf returns the tenant of the tokens: the configured one, or that of the accounts,
// whose store may be wrapped.
func tenantOf(configured string, users UserStore, fault func(field string, err error)) string {
	store, ok := unwrapped(users).(interface{ Tenant() string })
	if !ok || store.Tenant() == "" || store.Tenant() == configured {
		return configured
	}
	if configured != "" {
		fault("Tokens.Tenant", fmt.Errorf("%q, and the accounts are those of the tenant %q; leave it empty", configured, store.Tenant()))
	}
	return store.Tenant()
}

// bindStores sets the stores, each with a timeout, and finds their optional
// capabilities. It returns the stores of accounts and tickets without the
// timeout.
func (k *Kit) bindStores(cfg Config, fault func(field string, err error)) (UserStore, TicketStore) {
	timeout := cmp.Or(cfg.StoreTimeout, defaultStoreTimeout)
	if timeout < 0 {
		fault("StoreTimeout", fmt.Errorf("%v; use a positive one, or 0 for %v", timeout, defaultStoreTimeout))
	}
	empty := errors.New("an empty MemoryStore; make it with NewMemoryStore")
	users, sessions, tickets := cfg.Users, cfg.Sessions.Store, cfg.Tickets
	if users == nil {
		users = NewMemoryStore()
	}
	if isEmptyMemory(users) {
		fault("Users", empty)
	}
	if tickets == nil {
		tickets, _ = users.(TicketStore)
	}
	if isEmptyMemory(cfg.Tickets) {
		fault("Tickets", empty)
	}
	k.users, k.tickets = timedUserStore(users, timeout), timedTicketStore(tickets, timeout)
	k.sessions = newSessions(cfg.Sessions, timeout, cmp.Or(cfg.Tokens.Lifetime, defaultLifetime), fault)
	if batch, ok := users.(UserBatchStore); ok {
		k.batch = timedBatch{batch, timeout}
	}
	if tx, ok := users.(Transactor); ok {
		k.tx = timedTransactor(tx, timeout)
	}
	if sessions == nil || same(users, sessions) {
		k.sharedSessions = true
		if joined, ok := users.(SessionUserStore); ok && sessions != nil {
			k.joined = timedJoinedStore(joined, timeout)
		}
	}
	return users, tickets
}
