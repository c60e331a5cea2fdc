package authkit

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/internal/claims"
	"github.com/authkit-go/authkit/internal/jws"
)

const (
	maxTokenLen   = 8192 // bytes of a token, before anything is decoded, unless configured
	minTokenBytes = 1024
	maxTokenBytes = 32 << 10 // harden.Server takes as much of a header
	maxTenantLen  = 64
	maxSubjectLen = 255 // bytes of a sub, a uid or a client_id
	maxIDLen      = 128 // bytes of a jti or a sid
	maxKeys       = 100 // of a ring

	defaultLifetime = 30 * time.Minute
	maxLifetime     = time.Hour
	defaultLeeway   = 30 * time.Second
	maxLeeway       = time.Minute
)

// A TokenConfig says how access tokens are signed and verified. One configuration
// serves both sides: a verifier requires what an issuer with the same
// configuration puts in.
type TokenConfig struct {
	// Keys must hold at least one key, unless Ring is set. The first signs; all of them verify. To
	// rotate, put the new key in front and keep the old one until the last token
	// it signed has expired. Keys have different IDs.
	Keys []Key

	// Ring, if not nil, is in place of Keys, for keys that change while the program runs;
	// with Keys set too it is a fault. For an issuer it must hold a key that signs.
	Ring *KeyRing

	// Issuer is the "iss" of the tokens. If set, a token must carry exactly it.
	Issuer string

	// Audience is the "aud" of the tokens. If set, a token's must contain exactly
	// it; if empty, a token that is meant for some audience is refused (RFC 7519
	// section 4.1.3).
	Audience string

	// AccessTokenProfile makes the tokens follow the JWT profile for access tokens (RFC
	// 9068), so that no other kind of token is ever taken for one: the header's typ is
	// "at+jwt", and "iss", "aud", "client_id", "iat" and "jti" are required. Issuer and
	// Audience must be set then, and for an issuer ClientID. Without it, tokens of the
	// profile are refused.
	AccessTokenProfile bool

	// ClientID is the "client_id" (RFC 8693 section 4.3) that issued tokens carry unless
	// Claims.ClientID says otherwise, at most 255 bytes; empty means none. A verifier
	// does not compare it.
	ClientID string

	// Tenant is the "tenant" of the tokens, at most 64 bytes. A token must carry exactly it;
	// if empty, a token with a tenant is refused. Tenants that share a key need different
	// names, since their user IDs may be the same. A Kit whose [Config].Users has a tenant,
	// as a sqlstore.DB may, uses that.
	Tenant string

	// Lifetime is how long a token is good for; zero means 30 minutes, one hour is
	// the most. A shorter one, of whole seconds, is better where a service can
	// refresh.
	Lifetime time.Duration

	// MaxLifetime limits the life of tokens, from "iat" to "exp". A verifier refuses a token
	// with a longer one, and an issuer does not issue it. If zero, it is one hour. A Kit keeps
	// revocations for as long. A token without "iat" has no life that could be checked: a
	// [Guard] with Revoked refuses it.
	MaxLifetime time.Duration

	// MaxBytes is the maximum length of a token. If zero, it is 8,192; 32,768 is the most.
	// Tokens of providers that list all groups of a user may need more. The server must
	// accept as long a header: see http.Server.MaxHeaderBytes.
	MaxBytes int

	// Leeway is the clock difference between machines that is forgiven when dates
	// are checked; zero means 30 seconds, one minute is the most, and a negative
	// value means none. Even then an "iat" may be one second in the future: an issuer
	// may round up to the next full second.
	Leeway time.Duration

	// CacheSize is how many verified tokens are remembered, so that a token seen
	// again costs a look-up in place of a signature check; zero means none. It
	// pays for asymmetric keys only, and is refused for the HS algorithms. A
	// remembered token is still refused once it expires, and is not remembered once
	// the keys have changed.
	CacheSize int
}

// Format writes nothing of the configuration, which holds secrets, for every verb
// but %T, %p and %w, which fmt does not ask about.
func (TokenConfig) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("authkit.TokenConfig{" + redacted + "}"))
}

// Claims are the claims of an access token. In the zero value of each field the
// claim is absent.
type Claims struct {
	Subject   string    // "sub": whom the token stands for; required
	UserID    string    // "uid": the user's ID, where Subject is something else
	Roles     []string  // "roles"
	ID        string    // "jti"
	Issuer    string    // "iss"
	Audience  []string  // "aud"
	IssuedAt  time.Time // "iat"
	ExpiresAt time.Time // "exp"
	NotBefore time.Time // "nbf"
	SessionID string    // "sid": the login that the token comes from; at most 128 bytes
	ClientID  string    // "client_id": the client that the token was issued to; at most 255 bytes
	Tenant    string    // "tenant": see [TokenConfig].Tenant
	AuthTime  time.Time // "auth_time": when the user authenticated
	Methods   []string  // "amr": how the user authenticated, in names of RFC 8176

	// Extra is the host's own claims for [TokenIssuer.Issue]: a struct or a map
	// that encodes as a JSON object, without the names above. It is nil after
	// Verify: read them with [Claims.Decode].
	Extra any

	payload string
}

// Decode decodes the payload of a verified token into v, as json.Unmarshal does:
// that is how a host reads the claims that it added. It fails for Claims that did
// not come out of a verifier.
func (c Claims) Decode(v any) error {
	if c.payload == "" {
		return errors.New("authkit: only the claims of a verified token can be decoded")
	}
	if err := json.Unmarshal([]byte(c.payload), v); err != nil {
		return fmt.Errorf("authkit: decoding claims: %w", err)
	}
	return nil
}

// A TokenIssuer signs access tokens. Most programs let a [Kit] do it. It is safe
// for concurrent use.
//
// Whatever is signed with a key is an access token for everybody who verifies with it. A
// link that resets a password, signed with this one, would be a login: use another key.
type TokenIssuer struct {
	keys             *KeyRing
	profile          jws.Profile
	lifetime         time.Duration
	issuer, audience string
	clientID, tenant string
	maxLife          int64 // seconds
	maxBytes         int
}

// NewTokenIssuer returns an issuer that signs with the first key of cfg, or an
// error that joins all faults of cfg.
func NewTokenIssuer(cfg TokenConfig) (*TokenIssuer, error) {
	keys, err := cfg.bind("TokenConfig", true)
	if err != nil {
		return nil, err
	}
	return newIssuer(cfg, keys), nil
}

func newIssuer(cfg TokenConfig, keys *KeyRing) *TokenIssuer {
	return &TokenIssuer{
		keys:     keys,
		profile:  cfg.profile(),
		lifetime: cmp.Or(cfg.Lifetime, defaultLifetime),
		issuer:   cfg.Issuer,
		audience: cfg.Audience,
		clientID: cfg.ClientID,
		tenant:   cfg.Tenant,
		maxLife:  int64(cfg.maxLife() / time.Second),
		maxBytes: cfg.maxBytes(),
	}
}

// Issue returns a signed token with the claims c. It fills in what c leaves zero:
// IssuedAt (now), ExpiresAt (the configured lifetime later), ID (128 random bits),
// Issuer, Audience, ClientID and Tenant.
//
// It returns an error if
//   - Subject is empty or over 255 bytes,
//   - a text is not UTF-8, or a date is one that verifiers refuse,
//   - Tenant is another than the configured one,
//   - the life is longer than [TokenConfig].MaxLifetime,
//   - Extra is not an object, or has a name that the library uses, in any case,
//   - the token would be longer than [TokenConfig].MaxBytes.
func (i *TokenIssuer) Issue(c Claims) (string, error) {
	if err := c.check(); err != nil {
		return "", err
	}
	set := claims.Set{
		Subject: c.Subject, UserID: c.UserID, Roles: c.Roles, ID: c.ID,
		Issuer: cmp.Or(c.Issuer, i.issuer), Audience: c.Audience,
		IssuedAt: unix(c.IssuedAt), ExpiresAt: unix(c.ExpiresAt), NotBefore: unix(c.NotBefore),
		SessionID: c.SessionID, ClientID: cmp.Or(c.ClientID, i.clientID), Tenant: i.tenant,
		AuthTime: unix(c.AuthTime), Methods: claims.MethodsText(c.Methods),
	}
	if set.IssuedAt == 0 {
		set.IssuedAt = time.Now().Unix()
	}
	if set.ExpiresAt == 0 {
		set.ExpiresAt = set.IssuedAt + int64(i.lifetime/time.Second)
	}
	if c.Tenant != "" && c.Tenant != i.tenant {
		return "", errors.New("authkit: the token's tenant is not that of the issuer")
	}
	if set.ExpiresAt-set.IssuedAt > i.maxLife {
		return "", fmt.Errorf("authkit: the token has a life of %d seconds, over the %d of MaxLifetime", set.ExpiresAt-set.IssuedAt, i.maxLife)
	}
	if len(set.Audience) == 0 && i.audience != "" {
		set.Audience = []string{i.audience}
	}
	if set.ID == "" {
		set.ID = newTokenID()
	}
	var extra []byte
	if c.Extra != nil {
		var err error
		if extra, err = json.Marshal(c.Extra); err != nil {
			return "", fmt.Errorf("authkit: encoding the extra claims: %w", err)
		}
		if string(extra) == "null" { // a nil map or pointer
			extra = nil
		}
	}

	token, err := i.keys.load().set.Sign(i.profile, func(dst []byte) ([]byte, error) {
		return claims.Append(dst, &set, extra)
	})
	if err != nil {
		return "", signError(err)
	}
	if len(token) > i.maxBytes {
		return "", fmt.Errorf("authkit: the token has %d bytes, over the %d of MaxBytes: put less into Extra", len(token), i.maxBytes)
	}
	return token, nil
}

// signError returns the error of package jws that the caller gets.
func signError(err error) error {
	if err == jws.ErrNoSigningKey {
		return errors.New("authkit: the ring has no key that signs")
	}
	return fmt.Errorf("authkit: %w", err)
}

// check returns why a verifier would not take the claims whatever its configuration.
func (c *Claims) check() error {
	if !validSubject(c.Subject) || c.UserID != "" && !validSubject(c.UserID) {
		return fmt.Errorf("authkit: the subject and the user ID of a token are 1 to %d bytes of UTF-8, without control characters", maxSubjectLen)
	}
	if len(c.ID) > maxIDLen || c.SessionID != "" && !validSessionID(c.SessionID) {
		return fmt.Errorf("authkit: a token's ID and its session's have %d bytes at most, the latter without control characters", maxIDLen)
	}
	if !validClientID(c.ClientID) {
		return fmt.Errorf("authkit: a client ID is UTF-8 of %d bytes at most", maxSubjectLen)
	}
	for _, t := range [...]time.Time{c.IssuedAt, c.ExpiresAt, c.NotBefore, c.AuthTime} {
		if !t.IsZero() && (t.Unix() <= 0 || t.Unix() >= claims.MaxDate) {
			return errors.New("authkit: a token's dates are after 1970 and before 5138")
		}
	}
	return nil
}

// validSubject reports whether a text can name an account: what is stored, and looked up,
// without a store's choking on it.
func validSubject(s string) bool {
	ascii := true
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c == 0x7f {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return s != "" && len(s) <= maxSubjectLen && (ascii || utf8.ValidString(s))
}

// validSessionID reports whether a text can name a session.
func validSessionID(s string) bool { return len(s) <= maxIDLen && validSubject(s) }

// validClientID reports whether a text can be a client_id, or is empty.
func validClientID(s string) bool { return len(s) <= maxSubjectLen && utf8.ValidString(s) }

// newTokenID returns 128 random bits as text.
func newTokenID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	var text [22]byte
	base64.RawURLEncoding.Encode(text[:], random[:])
	return string(text[:])
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

// unix returns t in seconds since 1970, and zero for the zero time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// fromUnix is the reverse of unix.
func fromUnix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
