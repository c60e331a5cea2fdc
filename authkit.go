// Package authkit is authentication and authorization for a service: password login,
// JWT access tokens, roles, and middleware that is hard to misuse. It is plain
// net/http: it fits every router that takes an http.Handler, and brings none.
//
// For most use, make a [Kit] and mount its token endpoint and your own routes on its
// [Mux], which takes no route without a [Policy]:
//
//	kit, err := authkit.New(authkit.Config{Secret: []byte(os.Getenv("SECRET_KEY"))})
//	if err != nil {
//		log.Fatal(err) // every fault of the configuration at once, each with its mend
//	}
//	mux := kit.NewMux()
//	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
//	mux.HandleFunc("GET /hello", authkit.Authenticated(), hello)
//	mux.HandleFunc("DELETE /everything", authkit.Roles("admin"), deleteEverything)
//
// On another router the same guards are middleware: [Kit.Authenticate],
// [Kit.RequireRoles], [Kit.RequireAnyRole] and [Kit.Require].
//
// # Users
//
// Accounts live in a [UserStore]: in memory until [Config].Users is set, in a table
// of the host's behind seven methods if it likes. [Kit.CreateUser] makes accounts,
// and [Kit.ImportUsers] takes over those of another system with their hashes.
//
// # Passwords
//
// Passwords are hashed with bcrypt. Hashes of PBKDF2-SHA256 (passlib, Django) and
// Argon2id are read too, and replaced as their owners log in; see [Schemes]. At most
// [Config].MaxConcurrentHashes run at a time, so that a storm of logins does not
// starve the rest of the service. Logins that fail for an unknown user or a wrong
// password are answered alike and cost the same, but that an imported hash of another
// scheme takes its own time until it is replaced.
//
// # Tokens
//
// An access token is a JWT, signed with a key that is bound to one algorithm. It
// is verified in a fixed order, signature first, so that bytes that nobody signed
// are never parsed.
//
// # Sessions
//
// With [Config].Sessions set, a login also returns a refresh token, which [Kit.Refresh]
// exchanges for the next one, and begins a session that the user can see and end; its
// access tokens are refused from the next request on. [Kit.SetPassword],
// [Kit.DisableUser] and [Kit.LogoutEverywhere] end all sessions of an account at once.
// For browsers, [Kit.CookieHandler] keeps the refresh token in a cookie.
//
// # Several services
//
// A service that only accepts tokens needs no Kit and no store: a [Guard] is its
// middleware, and a [TokenVerifier] what is below. It gets its keys from package jwks,
// and what was revoked from package revocation.
//
// # Events
//
// What security monitoring wants to know goes to [Config].OnEvent, and to slog if
// that is not set.
//
// # Compatibility
//
// Before version 1.0 the API may change between minor versions; the changelog names
// every change. Stored hashes and tokens that are still good stay readable.
package authkit

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/authkit-go/authkit/internal/gate"
)

// Config configures a [Kit]. The one thing that must be set is a key: Secret,
// Tokens.Keys or Tokens.Ring. Every other zero value is a safe default.
type Config struct {
	// Secret signs and verifies tokens with HS256: 32 random bytes or more, known to
	// nobody else, and used for nothing else: whatever it signs is an access token. It is
	// short for Tokens.Keys with one such key; set one of the two.
	Secret []byte

	// Tokens says how access tokens are signed and verified.
	Tokens TokenConfig

	// Users keeps the accounts; nil means a new [MemoryStore]. Make it yourself to list,
	// change and delete accounts.
	Users UserStore

	// Sessions turns on refresh tokens, logout, and the list of a user's sessions.
	Sessions SessionConfig

	// Throttle, if not nil, is asked before every login and every refresh, and slows
	// down whoever guesses. Package throttle has one. Nil means that nothing does but
	// MaxConcurrentHashes: guesses are as many as the service can hash.
	Throttle Throttle

	// StoreTimeout is how long a call to Users or Sessions.Store may take; zero means 5
	// seconds. What takes longer is answered 503. A MemoryStore needs no such limit, and
	// has none.
	StoreTimeout time.Duration

	// Hasher hashes passwords; nil means
	// Schemes(Bcrypt{}, PBKDF2SHA256{}, Argon2id{}).
	Hasher Hasher

	// Roles is the role table: every role that a user can have, with the permissions
	// that it grants. Then a role outside the table is refused, in an account that a Kit
	// makes and in a policy, so that a misspelt one cannot wait for its day. Nil means
	// that every well-formed name is a role, and that there are no permissions. Names are
	// 1 to 64 of a-z, 0-9, colon, hyphen and underscore.
	Roles map[string][]string

	// EmailSubject makes the e-mail the subject of the tokens, as the clients of some
	// older systems expect, in place of the user ID. Such a token dies with a change
	// of the address.
	EmailSubject bool

	// MinPasswordLength is the fewest code points of a password that a human chooses;
	// zero means 8, which is also the least. NIST SP 800-63B advises 15 where the
	// password is the only factor.
	MinPasswordLength int

	// CheckPassword, if not nil, is asked about every new password that meets the
	// other rules, such as whether it is on a list of known ones. It returns
	// ErrPasswordRefused for one that must not be used. Another error fails the
	// operation: whether a check that cannot answer lets a password pass is decided
	// here. It must be safe for concurrent use.
	CheckPassword func(ctx context.Context, password string, u User) error

	// MaxConcurrentHashes is how many password hashes may run at a time; zero means
	// one less than GOMAXPROCS, and at least one, which keeps a core for everything
	// else. Sixteen times as many may wait, and the rest is refused with
	// ErrOverloaded.
	MaxConcurrentHashes int

	// ExtraClaims, if not nil, returns what a login adds to the user's token: a struct
	// or a map that encodes as a JSON object. An error fails the login. It must be
	// safe for concurrent use.
	ExtraClaims func(ctx context.Context, u User) (any, error)

	// OnEvent is called with every [Event], before the operation returns; it must be
	// safe for concurrent use, and quick. Nil means LogEvents(slog.Default()).
	OnEvent func(context.Context, Event)
}

// Format writes nothing of the configuration, which holds a secret, for every verb
// but %T, %p and %w, which fmt does not ask about.
func (Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("authkit.Config{" + redacted + "}")) }

// waitersPerHash is how many callers may wait for each hash that runs: about four
// seconds of work at the default cost.
const waitersPerHash = 16

// A Kit is the library, configured: it logs users in and guards routes. It is safe
// for concurrent use, and does not change.
type Kit struct {
	users        UserStore
	sessions     *sessions // nil: off
	throttle     Throttle  // nil: off
	lanes        lanes
	guard        *Guard
	hasher       Hasher
	gate         *gate.Gate
	dummy        PasswordHash // what a login without an account is compared with
	issuer       *TokenIssuer
	verifier     *TokenVerifier
	roles        roleTable
	emailSubject bool
	minPassword  int
	check        func(context.Context, string, User) error
	extraClaims  func(context.Context, User) (any, error)
	onEvent      func(context.Context, Event)
	settings     []slog.Attr // see Settings
}

// New returns a Kit, or an error that joins every fault of cfg, each with the name of
// the field and how to mend it. It computes one password hash. It keeps no reference
// to the slices and maps of cfg.
func New(cfg Config) (*Kit, error) {
	var errs []error
	fault := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("authkit: Config.%s: %w", field, err))
		}
	}
	k := &Kit{
		users: cfg.Users, hasher: cfg.Hasher, throttle: cfg.Throttle,
		emailSubject: cfg.EmailSubject, minPassword: cmp.Or(cfg.MinPasswordLength, minPasswordLength),
		check: cfg.CheckPassword, extraClaims: cfg.ExtraClaims, onEvent: cfg.OnEvent,
	}
	if k.users == nil {
		k.users = NewMemoryStore()
	}
	if m, ok := k.users.(*MemoryStore); ok && (m == nil || m.byID == nil) {
		fault("Users", errors.New("an empty MemoryStore; make it with NewMemoryStore"))
	} else if !ok {
		k.users = timedStore{k.users, cmp.Or(cfg.StoreTimeout, defaultStoreTimeout)}
	}
	if cfg.StoreTimeout < 0 {
		fault("StoreTimeout", fmt.Errorf("%v; use a positive one, or 0 for %v", cfg.StoreTimeout, defaultStoreTimeout))
	}
	k.sessions = newSessions(cfg.Sessions, cmp.Or(cfg.StoreTimeout, defaultStoreTimeout), cmp.Or(cfg.Tokens.Lifetime, defaultLifetime), fault)
	if k.hasher == nil {
		k.hasher = Schemes(Bcrypt{}, PBKDF2SHA256{}, Argon2id{})
	}
	if k.onEvent == nil {
		k.onEvent = logDefault
	}

	tokens := cfg.Tokens
	switch {
	case len(tokens.Keys) > 0 && len(cfg.Secret) > 0:
		fault("Secret", errors.New("set along with Tokens.Keys; set one of the two"))
	case tokens.Ring != nil && len(cfg.Secret) > 0:
		fault("Secret", errors.New("set along with Tokens.Ring; set one of the two"))
	case len(tokens.Keys) == 0 && tokens.Ring == nil:
		secret := cfg.Secret
		if err := checkSecret(secret, 32); err != nil {
			fault("Secret", err)
			secret = []byte(rand.Text() + rand.Text()) // so that the rest of Tokens is checked too
		}
		tokens.Keys = []Key{{Algorithm: HS256, Secret: secret}}
	}
	var err error
	if keys, err := tokens.bind("Config.Tokens", true); err != nil {
		errs = append(errs, err)
	} else {
		k.issuer, k.verifier = newIssuer(tokens, keys), newVerifier(tokens, keys)
		k.verifier.withoutRoles = true
	}
	k.roles, err = newRoleTable(cfg.Roles)
	fault("Roles", err)
	if k.minPassword < minPasswordLength || k.minPassword > 64 {
		fault("MinPasswordLength", fmt.Errorf("%d; use %d to 64, or 0 for %d", k.minPassword, minPasswordLength, minPasswordLength))
	}
	running := cmp.Or(cfg.MaxConcurrentHashes, max(1, runtime.GOMAXPROCS(0)-1))
	if running < 0 || running > 1024 {
		fault("MaxConcurrentHashes", fmt.Errorf("%d; use 1 to 1024, or 0 for one less than GOMAXPROCS", running))
		running = 1
	}
	k.gate = gate.New(running, waitersPerHash*running)
	err = validateHasher(k.hasher)
	fault("Hasher", err)
	if err == nil {
		k.dummy, err = k.hasher.Hash(rand.Text())
		fault("Hasher", err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	k.guard = &Guard{verifier: k.verifier, roles: k.roles, onEvent: k.onEvent, kit: k}
	k.settings = k.effective(cfg)
	return k, nil
}

// A Token is the answer to a login: the access token response of RFC 6749 section
// 5.1, which is its JSON form. It redacts itself wherever it is formatted or logged.
type Token struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"` // "bearer"
	ExpiresIn   int    `json:"expires_in"` // seconds

	// RefreshToken is for [Kit.Refresh]; empty where sessions are off.
	RefreshToken string `json:"refresh_token,omitempty"`

	// User is the account that logged in.
	User User `json:"-"`
}

func (t Token) describe() string {
	return fmt.Sprintf("authkit.Token{%s, ExpiresIn: %d, User: %q}", redacted, t.ExpiresIn, t.User.ID)
}

// String returns the token's life and user, not the token.
func (t Token) String() string { return t.describe() }

// Format writes what String returns, for every verb but %T, %p and %w, which fmt does
// not ask about.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.describe())) }

// LogValue returns what String returns.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.describe()) }
