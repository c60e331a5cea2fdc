package authkit

import (
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/authkit-go/authkit/internal/jws"
)

// An Algorithm is a JWS signature algorithm, by its name in RFC 7518 section 3.1 and RFC
// 8037. Each [Key] has one. Tokens do not choose it.
type Algorithm string

// The algorithms of a [Key]. Use HS256 for one service, or for a few that share the secret.
// With the asymmetric algorithms, other services can verify tokens but not sign them.
const (
	HS256 Algorithm = "HS256" // HMAC, Secret of 32 bytes or more
	HS384 Algorithm = "HS384" // HMAC, Secret of 48 bytes or more
	HS512 Algorithm = "HS512" // HMAC, Secret of 64 bytes or more
	RS256 Algorithm = "RS256" // RSA PKCS #1 v1.5, 2,048 bits or more
	PS256 Algorithm = "PS256" // RSA PSS, 2,048 bits or more
	ES256 Algorithm = "ES256" // ECDSA on P-256
	EdDSA Algorithm = "EdDSA" // Ed25519
)

// A Key signs tokens, verifies them, or both, with one algorithm. Formatting or logging a
// Key does not reveal it.
type Key struct {
	// ID is the "kid" of the tokens, at most 128 bytes. One key may have an empty ID. It
	// signs and verifies tokens without a kid.
	ID string

	// Algorithm must be set.
	Algorithm Algorithm

	// Secret is the secret of HS256, HS384 and HS512: random bytes, at least as many as
	// the hash has.
	Secret []byte

	// Private signs with the asymmetric algorithms: an *rsa.PrivateKey,
	// *ecdsa.PrivateKey or ed25519.PrivateKey. If nil, the key only verifies, and Public
	// must be set.
	Private crypto.Signer

	// Public verifies: an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey. If nil,
	// it is that of Private.
	Public crypto.PublicKey
}

func (k Key) describe() string {
	return fmt.Sprintf("authkit.Key{ID: %q, Algorithm: %q, %s}", k.ID, string(k.Algorithm), redacted)
}

// String returns the ID and the algorithm, without key material.
func (k Key) String() string { return k.describe() }

// Format implements fmt.Formatter. It prints the text of String for every verb, so that
// logging a Key does not reveal it.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.describe())) }

// LogValue implements slog.LogValuer. It returns the text of String.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.describe()) }

// MarshalJSON returns an error, so that no secret is written by accident.
func (k Key) MarshalJSON() ([]byte, error) {
	return nil, errors.New("authkit: a Key is not encoded as JSON")
}

// bindKeys checks keys and binds each to its algorithm. If sign is set, the first must be
// able to sign. The errors name the keys as elements of field.
func bindKeys(field string, keys []Key, sign bool) (*jws.Set, []error) {
	var bound []*jws.BoundKey
	var errs []error
	for i, k := range keys {
		report := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("authkit: %s[%d]: "+format, append([]any{field, i}, args...)...))
		}
		b, err := jws.Bind(jws.Key{ID: k.ID, Algorithm: string(k.Algorithm), Secret: k.Secret, Private: k.Private, Public: k.Public})
		if err != nil {
			report("%w", err)
			continue
		}
		if sign && i == 0 && !b.CanSign() {
			report("the first key signs, and this one cannot; set Private")
		}
		if slices.ContainsFunc(bound, func(other *jws.BoundKey) bool { return other.ID == b.ID }) {
			report("the ID %q is that of an earlier key; give each its own", k.ID)
			continue
		}
		bound = append(bound, b)
	}
	return jws.NewSet(bound), errs
}
