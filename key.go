package authkit

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// An Algorithm is a JWS signature algorithm, by its name in RFC 7518 section 3.1
// and RFC 8037. It is bound to a [Key]; no token ever picks one.
type Algorithm string

// The algorithms that a [Key] can have. HS256 is for one service, or a few that
// trust each other with the secret; the asymmetric ones let others verify without
// being able to sign.
const (
	HS256 Algorithm = "HS256" // HMAC, Secret of 32 bytes or more
	HS384 Algorithm = "HS384" // HMAC, Secret of 48 bytes or more
	HS512 Algorithm = "HS512" // HMAC, Secret of 64 bytes or more
	RS256 Algorithm = "RS256" // RSA PKCS #1 v1.5, 2,048 bits or more
	PS256 Algorithm = "PS256" // RSA PSS, 2,048 bits or more
	ES256 Algorithm = "ES256" // ECDSA on P-256
	EdDSA Algorithm = "EdDSA" // Ed25519
)

// A Key signs tokens, verifies them, or both, with one algorithm. It redacts
// itself wherever it is formatted, logged or encoded as JSON.
type Key struct {
	// ID is the "kid" that the tokens carry, at most 128 bytes. It may be empty
	// for one key, which then signs and verifies tokens without a kid.
	ID string

	// Algorithm must be set.
	Algorithm Algorithm

	// Secret is the secret of HS256, HS384 and HS512: random bytes, as many as
	// the hash has or more.
	Secret []byte

	// Private signs with the asymmetric algorithms: an *rsa.PrivateKey,
	// *ecdsa.PrivateKey or ed25519.PrivateKey. A key that only verifies leaves
	// it nil and sets Public.
	Private crypto.Signer

	// Public verifies: an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
	// With Private set it may be nil.
	Public crypto.PublicKey
}

func (k Key) describe() string {
	return fmt.Sprintf("authkit.Key{ID: %q, Algorithm: %q, %s}", k.ID, string(k.Algorithm), redacted)
}

// String returns the ID and the algorithm, never key material.
func (k Key) String() string { return k.describe() }

// Format writes what String returns, for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.describe())) }

// LogValue returns what String returns.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.describe()) }

// MarshalJSON always fails: a Key has no JSON form, so that no secret is written
// by accident.
func (k Key) MarshalJSON() ([]byte, error) {
	return nil, errors.New("authkit: a Key is not encoded as JSON")
}

// tutorialSecrets are secrets printed in tutorials and documentation; whoever
// reads those can sign for a service that uses them.
var tutorialSecrets = []string{
	"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", // FastAPI's security tutorial
	"your-256-bit-secret",
	"a-string-secret-at-least-256-bits-long",
	"your-secret-key",
	"change-me", "changeme", "changeit",
}

// checkSecret returns why a secret cannot be used, or nil.
func checkSecret(secret []byte, atLeast int) error {
	const mend = "make one with: openssl rand -hex 32"
	for _, known := range tutorialSecrets {
		if len(secret) > 0 && bytes.Contains(secret, []byte(known)) {
			return fmt.Errorf("the secret is one that tutorials print; %s", mend)
		}
	}
	if len(secret) < atLeast {
		return fmt.Errorf("the secret has %d bytes and needs at least %d; %s", len(secret), atLeast, mend)
	}
	distinct := slices.Clone(secret)
	slices.Sort(distinct)
	if n := len(slices.Compact(distinct)); n < 8 {
		return fmt.Errorf("the secret has only %d different bytes; %s", n, mend)
	}
	return nil
}

// A boundKey is a Key that was checked, with all that signing and verifying need
// worked out. Algorithm and key material are bound here, once.
type boundKey struct {
	id     string
	alg    Algorithm
	header string // the header segment of the tokens it signs, and the dot
	sigLen int    // of the signature's segment, in base64 letters

	hmac *sync.Pool // of *hmacState, for the HS algorithms

	method  jwt.SigningMethod // for the others
	private crypto.Signer     // nil for a key that only verifies
	public  crypto.PublicKey
}

// An hmacState is a keyed hash to be used again: building one costs as much as
// hashing a short token.
type hmacState struct {
	hash hash.Hash
	sum  [64]byte
	text [86]byte // the sum in base64
}

// sum64 returns the signature segment for a signing input; it is valid until the
// state is used again.
func (s *hmacState) sum64(input []byte) []byte {
	s.hash.Reset()
	s.hash.Write(input)
	sum := s.hash.Sum(s.sum[:0])
	return base64.RawURLEncoding.AppendEncode(s.text[:0], sum)
}

// bindKey checks a key and binds it to its algorithm.
func bindKey(k Key) (*boundKey, error) {
	b := &boundKey{id: k.ID, alg: k.Algorithm}
	if len(k.ID) > maxIDLen || !utf8.ValidString(k.ID) {
		return nil, fmt.Errorf("the ID is not UTF-8 of at most %d bytes", maxIDLen)
	}
	var sigBytes int
	switch k.Algorithm {
	case HS256, HS384, HS512:
		h := map[Algorithm]crypto.Hash{HS256: crypto.SHA256, HS384: crypto.SHA384, HS512: crypto.SHA512}[k.Algorithm]
		if k.Private != nil || k.Public != nil {
			return nil, fmt.Errorf("%s takes a Secret, not Private or Public", k.Algorithm)
		}
		if err := checkSecret(k.Secret, h.Size()); err != nil {
			return nil, err
		}
		secret := bytes.Clone(k.Secret)
		b.hmac = &sync.Pool{New: func() any { return &hmacState{hash: hmac.New(h.New, secret)} }}
		sigBytes = h.Size()
	case RS256, PS256, ES256, EdDSA:
		if k.Secret != nil {
			return nil, fmt.Errorf("%s takes Private or Public, not a Secret", k.Algorithm)
		}
		var err error
		if sigBytes, err = b.bindAsymmetric(k); err != nil {
			return nil, err
		}
	case "":
		return nil, errors.New("no Algorithm; use HS256 with a Secret, or ES256 or EdDSA with Private")
	default:
		return nil, fmt.Errorf("unknown Algorithm %q", string(k.Algorithm))
	}
	b.sigLen = base64.RawURLEncoding.EncodedLen(sigBytes)
	b.header = headers(k.Algorithm, k.ID)[0] + "."
	return b, nil
}

func (b *boundKey) bindAsymmetric(k Key) (sigBytes int, err error) {
	b.private, b.public = k.Private, k.Public
	if k.Private != nil {
		switch k.Private.(type) {
		case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		default:
			return 0, fmt.Errorf("a Private of type %T; use *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey", k.Private)
		}
		derived := k.Private.Public()
		if equal, ok := derived.(interface{ Equal(crypto.PublicKey) bool }); k.Public != nil && (!ok || !equal.Equal(k.Public)) {
			return 0, errors.New("a Public that does not belong to Private; leave it nil")
		}
		b.public = derived
	}
	if b.public == nil {
		return 0, fmt.Errorf("%s needs Private to sign, or Public to verify", k.Algorithm)
	}
	switch k.Algorithm {
	case RS256, PS256:
		b.method = jwt.SigningMethod(jwt.SigningMethodRS256)
		if k.Algorithm == PS256 {
			b.method = jwt.SigningMethodPS256
		}
		pub, ok := b.public.(*rsa.PublicKey)
		if !ok || pub == nil || pub.N == nil {
			return 0, fmt.Errorf("%s needs an RSA key, not %T", k.Algorithm, b.public)
		}
		if bits := pub.N.BitLen(); bits < 2048 || bits > 8192 || pub.E < 3 || pub.E%2 == 0 {
			return 0, fmt.Errorf("an RSA key of %d bits with exponent %d: use 2048 to 8192 bits and an odd exponent of 3 or more", bits, pub.E)
		}
		sigBytes = pub.Size()
	case ES256:
		b.method = jwt.SigningMethodES256
		pub, ok := b.public.(*ecdsa.PublicKey)
		if !ok || pub == nil || pub.Curve != elliptic.P256() {
			return 0, fmt.Errorf("ES256 needs an ECDSA key on P-256, not %T", b.public)
		}
		if _, err := pub.ECDH(); err != nil {
			return 0, errors.New("the ECDSA key is not a point on P-256")
		}
		sigBytes = 64
	case EdDSA:
		b.method = jwt.SigningMethodEdDSA
		if pub, ok := b.public.(ed25519.PublicKey); !ok || len(pub) != ed25519.PublicKeySize {
			return 0, fmt.Errorf("EdDSA needs an Ed25519 key, not %T", b.public)
		}
		sigBytes = ed25519.SignatureSize
	}
	return sigBytes, nil
}

// canSign reports whether the key can sign.
func (b *boundKey) canSign() bool { return b.hmac != nil || b.private != nil }

// appendSignature appends a dot and the signature segment to dst, which is the
// signing input.
func (b *boundKey) appendSignature(dst []byte) ([]byte, error) {
	if b.hmac != nil {
		s := b.hmac.Get().(*hmacState)
		sig := s.sum64(dst)
		dst = append(append(dst, '.'), sig...)
		b.hmac.Put(s)
		return dst, nil
	}
	sig, err := b.method.Sign(string(dst), b.private)
	if err != nil {
		return nil, fmt.Errorf("authkit: signing with %s: %w", b.alg, err)
	}
	return base64.RawURLEncoding.AppendEncode(append(dst, '.'), sig), nil
}
