package authkit

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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

// A TokenConfig configures how access tokens are signed and verified. Use the
// same configuration for an issuer and its verifiers: a verifier requires the
// claims that the issuer sets.
type TokenConfig struct {
	// Keys must hold at least one key, unless Ring is set. The first signs; all
	// of them verify. To rotate, put the new key first and keep the old one
	// until its last token has expired. Keys have different IDs.
	Keys []Key

	// Ring, if not nil, replaces Keys, for keys that change while the program
	// runs. Setting both is an error. For an issuer the ring must hold a key
	// that signs.
	Ring *KeyRing

	// Issuer is the "iss" of the tokens. If set, a token must have exactly this
	// issuer.
	Issuer string

	// Audience is the "aud" of the tokens. If set, a token must contain it. If
	// empty, a token with an audience is refused (RFC 7519 section 4.1.3).
	Audience string

	// AccessTokenProfile makes the tokens follow the JWT profile for access
	// tokens (RFC 9068), so that no other kind of token is accepted as one. The
	// typ of the header is "at+jwt", and "iss", "aud", "client_id", "iat" and
	// "jti" are required. Issuer and Audience must then be set, and for an
	// issuer ClientID. Without AccessTokenProfile, tokens of the profile are
	// refused.
	AccessTokenProfile bool

	// ClientID is the "client_id" (RFC 8693 section 4.3) of issued tokens,
	// unless Claims.ClientID is set. It has at most 255 bytes. If empty, there
	// is none. A verifier does not compare it.
	ClientID string

	// Tenant is the "tenant" of the tokens, at most 64 bytes. A token must have
	// exactly this tenant. If empty, a token with a tenant is refused. Tenants
	// that share a key need different names, since their user IDs may be the
	// same. If [Config].Users has a tenant, as a sqlstore.DB may, a Kit uses
	// that one.
	Tenant string

	// Lifetime is the life of a token, in whole seconds. If zero, it is 30
	// minutes. The maximum is one hour. A shorter one is better if the client
	// can refresh.
	Lifetime time.Duration

	// MaxLifetime limits the life of tokens, from "iat" to "exp". A verifier
	// refuses a token with a longer life, and an issuer does not issue it. If
	// zero, it is one hour. A Kit keeps revocations for as long. The life of a
	// token without "iat" cannot be checked: a [Guard] with Revoked refuses it.
	MaxLifetime time.Duration

	// MaxBytes is the maximum length of a token. If zero, it is 8,192; 32,768 is the most.
	// Tokens of providers that list all groups of a user may need more. The server must
	// accept as long a header: see http.Server.MaxHeaderBytes.
	MaxBytes int

	// Leeway is the tolerated difference between clocks when dates are checked.
	// If zero, it is 30 seconds. The maximum is one minute, and a negative
	// value means none. Even then an "iat" may be one second in the future,
	// because an issuer may round up to the next full second.
	Leeway time.Duration

	// CacheSize is the number of verified tokens to cache, so that a repeated
	// token costs a look-up instead of a signature check. If zero, there is no
	// cache. It is refused for the HS algorithms, where it would be slower. A
	// cached token is still refused after it expires, and is not reused after
	// the keys change.
	CacheSize int
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging a TokenConfig does not reveal its secrets.
func (TokenConfig) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("authkit.TokenConfig{" + redacted + "}"))
}

// Claims are the claims of an access token. The zero value of a field means
// that the claim is absent.
type Claims struct {
	Subject   string    // "sub": the party that the token authenticates; required
	UserID    string    // "uid": the user's ID, if Subject is another name
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
	// Scope is the "scope" (RFC 8693 section 4.2) of a token that was issued to
	// a service: the permissions that it is limited to. Nil means that the
	// claim is absent. Verify leaves it nil in the token of a user.
	Scope []string

	AuthTime time.Time // "auth_time": when the user authenticated
	Methods  []string  // "amr": how the user authenticated, in names of RFC 8176

	// Extra holds the claims of your program for [TokenIssuer.Issue]: a struct
	// or a map that encodes as a JSON object, without the names above. It is
	// nil after Verify: read the claims with [Claims.Decode].
	Extra any

	payload string
}

// Decode decodes the payload of a verified token into v, as json.Unmarshal
// does, so that your program can read the claims that it added. It returns an
// error for Claims that do not come from a verifier.
func (c Claims) Decode(v any) error {
	if c.payload == "" {
		return errors.New("authkit: only the claims of a verified token can be decoded")
	}
	if err := json.Unmarshal([]byte(c.payload), v); err != nil {
		return fmt.Errorf("authkit: decoding claims: %w", err)
	}
	return nil
}

// A TokenIssuer signs access tokens. Most programs should use a [Kit] instead.
// It is safe for concurrent use.
//
// Every verifier with the key accepts the signed text as an access token. A
// password reset link that is signed with the same key would be a login: use
// another key.
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
// error that joins all problems of cfg.
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

// Issue returns a signed token with the claims c. It sets fields that are zero:
// IssuedAt (now), ExpiresAt (after the configured lifetime), ID (128 random
// bits), Issuer, Audience, ClientID and Tenant.
//
// It returns an error if
//   - Subject is empty or over 255 bytes,
//   - a text is not UTF-8, or a date is one that verifiers refuse,
//   - Tenant differs from the configured one,
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
	if c.Scope != nil {
		set.Scope = new(strings.Join(c.Scope, " "))
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

// check returns why every verifier would refuse the claims, or nil.
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

// validSubject reports whether a text can be an account name in every store.
func validSubject(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= maxSubjectLen && utf8.ValidString(s)
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

// A Token is the response to a login: the access token response of RFC 6749
// section 5.1, which is its JSON form. It redacts itself wherever it is
// formatted or logged.
type Token struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"` // "bearer"
	ExpiresIn   int    `json:"expires_in"` // seconds

	// Scope lists the permissions of the token of a service, with spaces
	// between them. It is empty for users.
	Scope string `json:"scope,omitempty"`

	// RefreshToken is for [Kit.Refresh]. It is empty if sessions are off.
	RefreshToken string `json:"refresh_token,omitempty"`

	// Enrollment is set if the login has set up a second factor: the data that
	// the client must show once, such as recovery codes. See [Enroller].
	Enrollment any `json:"mfa_enrollment,omitempty"`

	// User is the account that logged in. It is zero for a service.
	User User `json:"-"`
}

func (t Token) describe() string {
	return fmt.Sprintf("authkit.Token{%s, ExpiresIn: %d, User: %q}", redacted, t.ExpiresIn, t.User.ID)
}

// String returns the life and the user of the token, not the token itself.
func (t Token) String() string { return t.describe() }

// Format implements fmt.Formatter. It prints the text of String for every verb,
// so that logging a Token does not reveal it.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.describe())) }

// LogValue implements slog.LogValuer. It returns the text of String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.describe()) }

// unix returns t in seconds since 1970, and zero for the zero time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// fromUnix is the inverse of unix.
func fromUnix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
