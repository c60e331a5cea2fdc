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
		users: cfg.Users, hasher: cfg.Hasher,
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

// Private causes of failed logins; what the caller sees is the kind alone.
var (
	errUnknownUser   = &refusal{ErrInvalidCredentials, ReasonUnknownUser, nil}
	errWrongPassword = &refusal{ErrInvalidCredentials, ReasonWrongPassword, nil}
	errNoPassword    = &refusal{ErrInvalidCredentials, ReasonNoPassword, nil}
	errOverloaded    = &refusal{ErrOverloaded, ReasonOverloaded, nil}
)

// Login checks an e-mail and a password and returns an access token, and a refresh token
// where sessions are on.
//
// The error is ErrInvalidCredentials for every reason of the caller's, at the same
// cost; ErrUserDisabled if the password is right but the account is disabled;
// ErrOverloaded if too many logins are waiting already; ErrUnavailable if the store
// failed; the context's if ctx ended. Whatever the reason, it is told to
// [Config].OnEvent.
//
// A stored hash of another scheme than the primary one, or of a lower cost, is
// replaced after a login that succeeds. A login within the second of a cut-off, such as
// that of [Kit.SetPassword], waits for its end.
func (k *Kit) Login(ctx context.Context, email, password string) (Token, error) {
	user, token, session, err := k.login(ctx, email, password)
	if err == errAccountChanged { // a rehash beside this one is no reason to refuse
		user, token, session, err = k.login(ctx, email, password)
	}
	if err != nil {
		e := Event{Kind: EventLoginFailure, UserID: user.ID}
		e.Reason, e.Err = reasonOf(ctx, err)
		k.emit(ctx, e)
		return Token{}, err
	}
	k.emit(ctx, Event{Kind: EventLoginSuccess, UserID: user.ID, SessionID: session.ID})
	return token, nil
}

// login is one try of Login, without the event. The account is also returned with an
// error, once it is known.
func (k *Kit) login(ctx context.Context, email, password string) (StoredUser, Token, Session, error) {
	user, err := k.checkPassword(ctx, email, password)
	if err != nil {
		return user, Token{}, Session{}, err
	}
	token, session, err := k.complete(ctx, user)
	return user, token, session, err
}

// checkPassword returns the enabled account that an e-mail and a password belong to.
// The account is also returned with an error, once it is known. Whatever happens to
// a password, one hash is computed; another one only to replace it after success.
func (k *Kit) checkPassword(ctx context.Context, email, password string) (StoredUser, error) {
	u, err := k.lookUp(ctx, email)
	if err != nil && !errors.Is(err, ErrUserNotFound) {
		return StoredUser{}, unavailable(ctx, err)
	}
	fresh, rehashErr, err := k.verify(ctx, u, password)
	if err != nil {
		return u, err
	}
	if k.rehash(ctx, u, fresh, rehashErr) {
		u.PasswordHash = fresh
	}
	return u, nil
}

// verify checks the password of an account, which is the zero one if there is none. It
// also returns the hash that the account ought to have from now on, if it is due for one,
// or why that could not be made. All of it takes one place in the gate, and none of it
// waits for a store.
func (k *Kit) verify(ctx context.Context, u StoredUser, password string) (fresh PasswordHash, rehashErr, err error) {
	leave, err := k.enterGate(ctx)
	if err != nil {
		return "", nil, err
	}
	defer leave()

	if u.PasswordHash == "" {
		_ = k.hasher.Verify(password, k.dummy)
		if u.ID == "" {
			return "", nil, errUnknownUser
		}
		return "", nil, errNoPassword
	}
	switch err := k.hasher.Verify(password, u.PasswordHash); {
	case errors.Is(err, ErrPasswordMismatch):
		return "", nil, errWrongPassword
	case err != nil:
		_ = k.hasher.Verify(password, k.dummy) // nothing was computed yet
		return "", nil, &refusal{ErrInvalidCredentials, ReasonUnreadableHash, err}
	case u.Disabled:
		return "", nil, errUserDisabled
	}
	if due, err := k.hasher.NeedsRehash(u.PasswordHash); err != nil || !due {
		return "", nil, nil
	}
	fresh, rehashErr = k.hasher.Hash(password)
	if errors.Is(rehashErr, ErrPasswordTooLong) {
		return "", nil, nil // the old scheme takes it and the primary one does not: it stays
	}
	return fresh, rehashErr, nil
}

// lookUp returns the account with an e-mail as somebody typed it.
func (k *Kit) lookUp(ctx context.Context, email string) (StoredUser, error) {
	email, err := NormalizeEmail(email)
	if err != nil {
		return StoredUser{}, ErrUserNotFound
	}
	u, err := k.users.UserByEmail(ctx, email)
	if err != nil {
		return StoredUser{}, err
	}
	return u, nil
}

// enterGate waits for a place to compute a hash.
func (k *Kit) enterGate(ctx context.Context) (leave func(), err error) {
	leave, err = k.gate.Enter(ctx)
	if errors.Is(err, gate.ErrFull) {
		return nil, errOverloaded
	}
	return leave, err
}

// rehash replaces the hash of a password that was just verified, if a fresh one was due,
// and reports whether it did. It is a compare-and-swap: a password that was changed
// meanwhile stays. A login does not fail for it.
func (k *Kit) rehash(ctx context.Context, u StoredUser, fresh PasswordHash, err error) (swapped bool) {
	if err == nil && fresh != "" {
		if swapped, err = k.users.SwapPasswordHash(ctx, u.ID, u.PasswordHash, fresh, now()); err != nil && !errors.Is(err, ErrUserNotFound) {
			err = unavailable(ctx, err)
		}
	}
	switch {
	case err != nil:
		e := Event{Kind: EventPasswordRehash, UserID: u.ID}
		e.Reason, e.Err = reasonOf(ctx, err)
		k.emit(ctx, e)
	case swapped:
		k.emit(ctx, Event{Kind: EventPasswordRehash, UserID: u.ID})
	}
	return swapped
}

// errAccountChanged is why a login is refused whose account is not any more what it was
// when the password was verified.
var errAccountChanged = &refusal{ErrInvalidCredentials, ReasonCutOff, nil}

// complete is the last step of every way to log in: it begins the session and makes the
// tokens.
//
// Proving who one is takes time, in which the account may have changed. It is read again
// when the session has been stored: what changes it later finds the session, and ends it.
// So it does not matter whose clock is ahead.
func (k *Kit) complete(ctx context.Context, proved StoredUser) (Token, Session, error) {
	extra, err := k.extra(ctx, proved.User)
	if err != nil {
		return Token{}, Session{}, err
	}
	if err := passed(ctx, proved.ValidFrom); err != nil {
		return Token{}, Session{}, err
	}
	at := now()
	if k.sessions == nil {
		token, err := k.issue(proved, extra, nil, at)
		if err == nil {
			err = k.unchanged(ctx, proved)
		}
		return token, Session{}, err
	}
	session, refreshToken := k.sessions.begin(ctx, proved.ID, at)
	token, err := k.issue(proved, extra, &session.Session, at)
	if err != nil {
		return Token{}, Session{}, err
	}
	if err := k.sessions.store.CreateSession(ctx, session, k.sessions.perUser); err != nil {
		return Token{}, Session{}, unavailable(ctx, err)
	}
	if err := k.unchanged(ctx, proved); err != nil {
		return Token{}, Session{}, k.end(ctx, &session.Session, err)
	}
	token.RefreshToken = refreshToken.Text()
	return token, session.Session, nil
}

// unchanged returns why an account is not to be logged in that was read before, or nil.
func (k *Kit) unchanged(ctx context.Context, proved StoredUser) error {
	u, err := k.users.UserByID(ctx, proved.ID)
	switch {
	case errors.Is(err, ErrUserNotFound):
		return errUnknownUser
	case err != nil:
		return unavailable(ctx, err)
	case u.Disabled:
		return errUserDisabled
	case u.Email != proved.Email, u.PasswordHash != proved.PasswordHash, !u.ValidFrom.Equal(proved.ValidFrom):
		return errAccountChanged
	}
	return nil
}

// passed waits until the cut-off of an account has passed: tokens are dated in whole
// seconds, so what is issued before that would be cut off too. It is a second at most, if
// the clocks are right.
func passed(ctx context.Context, cutOff time.Time) error {
	const most = 5 * time.Second
	wait := time.Until(cutOff)
	switch {
	case wait <= 0:
		return nil
	case wait > most:
		return fmt.Errorf("%w: the account is cut off until %v from now; are the clocks right?", ErrUnavailable, wait)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// extra returns the host's own claims.
func (k *Kit) extra(ctx context.Context, u User) (any, error) {
	if k.extraClaims == nil {
		return nil, nil
	}
	extra, err := k.extraClaims(ctx, u)
	if err != nil {
		return nil, &hookError{"Config.ExtraClaims", err}
	}
	return extra, nil
}

// issue makes the access token of an account, and of a session if there is one.
func (k *Kit) issue(u StoredUser, extra any, s *Session, at time.Time) (Token, error) {
	c := Claims{Subject: u.ID, Roles: u.Roles, IssuedAt: at, ExpiresAt: at.Add(k.issuer.lifetime), Extra: extra}
	if k.emailSubject {
		c.Subject, c.UserID = u.Email, u.ID
	}
	if s != nil {
		c.SessionID = s.ID
		if c.ExpiresAt.After(s.EndsAt) {
			c.ExpiresAt = s.EndsAt
		}
	}
	signed, err := k.issuer.Issue(c)
	if err != nil {
		return Token{}, err
	}
	return Token{AccessToken: signed, TokenType: "bearer", ExpiresIn: int(c.ExpiresAt.Sub(at) / time.Second), User: u.User}, nil
}
