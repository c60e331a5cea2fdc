package authkit

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/internal/claims"
)

const (
	maxTokenLen   = 8192 // bytes of a token, before anything is decoded
	maxSubjectLen = 255
	maxIDLen      = 128 // bytes of a kid or a jti
	maxKeys       = 16  // a token with an unusual header is tried against each

	defaultLifetime = 30 * time.Minute
	maxLifetime     = time.Hour
	defaultLeeway   = 30 * time.Second
	maxLeeway       = time.Minute
)

var (
	// ErrInvalidToken is returned by [TokenVerifier.Verify], and by what stands on
	// it, for every token that is refused. It says nothing about why; the event of
	// the refusal does.
	ErrInvalidToken = errors.New("authkit: invalid token")

	// ErrTokenExpired is the ErrInvalidToken of a token that was good once.
	ErrTokenExpired error = &refusal{ErrInvalidToken, ReasonExpired, nil}

	errTokenMalformed = &refusal{ErrInvalidToken, ReasonMalformed, nil}
	errTokenSignature = &refusal{ErrInvalidToken, ReasonBadSignature, nil}
	errTokenNotYet    = &refusal{ErrInvalidToken, ReasonNotYetValid, nil}
	errTokenClaims    = &refusal{ErrInvalidToken, ReasonBadClaims, nil}
)

// A TokenConfig says how access tokens are signed and verified. One configuration
// serves both sides: a verifier requires what an issuer with the same
// configuration puts in.
type TokenConfig struct {
	// Keys must hold at least one key. The first signs; all of them verify. To
	// rotate, put the new key in front and keep the old one until the last token
	// it signed has expired. Keys have different IDs.
	Keys []Key

	// Issuer is the "iss" of the tokens. If set, a token must carry exactly it.
	Issuer string

	// Audience is the "aud" of the tokens. If set, a token's must contain exactly
	// it; if empty, a token that is meant for some audience is refused (RFC 7519
	// section 4.1.3).
	Audience string

	// Lifetime is how long a token is good for; zero means 30 minutes, one hour is
	// the most. A shorter one, of whole seconds, is better where a service can
	// refresh.
	Lifetime time.Duration

	// Leeway is the clock difference between machines that is forgiven when dates
	// are checked; zero means 30 seconds, one minute is the most, and a negative
	// value means none.
	Leeway time.Duration

	// CacheSize is how many verified tokens are remembered, so that a token seen
	// again costs a look-up in place of a signature check; zero means none. It
	// pays for asymmetric keys only, and is refused for the HS algorithms. A
	// remembered token is still refused once it expires.
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
	key              *boundKey
	lifetime         time.Duration
	issuer, audience string
	scratch          *sync.Pool
}

// NewTokenIssuer returns an issuer that signs with the first key of cfg, or an
// error that joins all faults of cfg.
func NewTokenIssuer(cfg TokenConfig) (*TokenIssuer, error) {
	ring, err := cfg.bind("TokenConfig", true)
	if err != nil {
		return nil, err
	}
	return newIssuer(cfg, ring), nil
}

func newIssuer(cfg TokenConfig, ring *ring) *TokenIssuer {
	return &TokenIssuer{
		key:      ring.keys[0],
		lifetime: cmp.Or(cfg.Lifetime, defaultLifetime),
		issuer:   cfg.Issuer,
		audience: cfg.Audience,
		scratch:  newScratch(len(ring.keys)),
	}
}

// Issue returns a signed token with the claims c. It fills in what c leaves zero:
// IssuedAt (now), ExpiresAt (the configured lifetime later), ID (128 random bits),
// Issuer and Audience. It fails if Subject is empty or over 255 bytes, if a text is not
// UTF-8 or a date not one that verifiers take, if Extra is not an object or holds a name
// of the library's, in any case, or if the token would be over 8 KiB. An ExpiresAt of the
// caller's is taken as it is: the hour that Lifetime can be at most does not bound it.
func (i *TokenIssuer) Issue(c Claims) (string, error) {
	if err := c.check(); err != nil {
		return "", err
	}
	set := claims.Set{
		Subject: c.Subject, UserID: c.UserID, Roles: c.Roles, ID: c.ID,
		Issuer: cmp.Or(c.Issuer, i.issuer), Audience: c.Audience,
		IssuedAt: unix(c.IssuedAt), ExpiresAt: unix(c.ExpiresAt), NotBefore: unix(c.NotBefore),
	}
	if set.IssuedAt == 0 {
		set.IssuedAt = time.Now().Unix()
	}
	if set.ExpiresAt == 0 {
		set.ExpiresAt = set.IssuedAt + int64(i.lifetime/time.Second)
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

	scratch := i.scratch.Get().(*scratch)
	defer i.scratch.Put(scratch)
	payload, err := claims.Append(scratch.buf[:0], &set, extra)
	if err != nil {
		return "", fmt.Errorf("authkit: %w", err)
	}
	// Payload and token share the buffer, one behind the other.
	buf := append(payload, i.key.header...)
	buf = base64.RawURLEncoding.AppendEncode(buf, payload)
	token, err := i.key.appendSignature(scratch, buf[len(payload):])
	if err != nil {
		return "", err
	}
	if len(token) > maxTokenLen {
		return "", fmt.Errorf("authkit: the token has %d bytes, over %d: put less into Extra", len(token), maxTokenLen)
	}
	return string(token), nil
}

// check returns why a verifier would not take the claims whatever its configuration.
func (c *Claims) check() error {
	if !validSubject(c.Subject) || c.UserID != "" && !validSubject(c.UserID) {
		return fmt.Errorf("authkit: the subject and the user ID of a token are 1 to %d bytes of UTF-8, without control characters", maxSubjectLen)
	}
	if len(c.ID) > maxIDLen {
		return fmt.Errorf("authkit: a token's ID has %d bytes at most", maxIDLen)
	}
	for _, t := range [...]time.Time{c.IssuedAt, c.ExpiresAt, c.NotBefore} {
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

// newTokenID returns 128 random bits as text.
func newTokenID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	var text [22]byte
	base64.RawURLEncoding.Encode(text[:], random[:])
	return string(text[:])
}

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
