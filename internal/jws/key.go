package jws

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"math/big"
	"slices"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/authkit-go/authkit/internal/entropy"
)

// The algorithms, by their names in RFC 7518 section 3.1 and RFC 8037.
const (
	HS256 = "HS256"
	HS384 = "HS384"
	HS512 = "HS512"
	RS256 = "RS256"
	PS256 = "PS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
)

// ed25519Name is the name of RFC 9864 for EdDSA with Ed25519. Headers may have it.
const ed25519Name = "Ed25519"

// MaxIDLen is the maximum length of a key ID in bytes.
const MaxIDLen = 128

// A Key is key material that was not checked yet. Its fields are those of authkit.Key.
type Key struct {
	ID        string
	Algorithm string
	Secret    []byte
	Private   crypto.Signer
	Public    crypto.PublicKey
}

// A BoundKey is a Key that was checked and bound to its algorithm, with all that signing
// and verifying need computed in advance. It does not change.
type BoundKey struct {
	ID        string
	Algorithm string
	Bits      float64 // estimated random bits of its secret; 0 for an asymmetric key

	headers [profiles]string // the header segments that it signs, and the dot
	sigLen  int              // of the signature's segment, in base64 letters

	newMAC func() hash.Hash // for the HS algorithms
	index  int              // of its keyed hash in the buffers of its set

	method jwt.SigningMethod // for the others
	public crypto.PublicKey

	// sign is nil for a key that only verifies. It is a function, because fmt would print a
	// key in an unexported field.
	sign func(input string) ([]byte, error)
}

// methodPS256 is PS256 with a salt as long as the hash, as RFC 7518 section 3.5 requires.
// The method of golang-jwt accepts salts of any length.
var methodPS256 = &jwt.SigningMethodRSAPSS{
	SigningMethodRSA: jwt.SigningMethodPS256.SigningMethodRSA,
	Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
}

// Bind checks a key and binds it to its algorithm.
func Bind(k Key) (*BoundKey, error) {
	b := &BoundKey{ID: k.ID, Algorithm: k.Algorithm}
	if len(k.ID) > MaxIDLen || !utf8.ValidString(k.ID) {
		return nil, fmt.Errorf("the ID is not UTF-8 of at most %d bytes", MaxIDLen)
	}
	var sigBytes int
	switch k.Algorithm {
	case HS256, HS384, HS512:
		h := map[string]crypto.Hash{HS256: crypto.SHA256, HS384: crypto.SHA384, HS512: crypto.SHA512}[k.Algorithm]
		if k.Private != nil || k.Public != nil {
			return nil, fmt.Errorf("%s takes a Secret, not Private or Public", k.Algorithm)
		}
		if err := CheckSecret(k.Secret, h.Size()); err != nil {
			return nil, err
		}
		secret := bytes.Clone(k.Secret)
		b.newMAC = func() hash.Hash { return hmac.New(h.New, secret) }
		b.Bits = entropy.Bits(secret)
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
		return nil, fmt.Errorf("unknown Algorithm %q", k.Algorithm)
	}
	b.sigLen = base64.RawURLEncoding.EncodedLen(sigBytes)
	for p := range b.headers {
		b.headers[p] = Profile(p).headers(k.Algorithm, k.ID)[0] + "."
	}
	return b, nil
}

// equal reports whether two keys are the same key, with the same abilities.
func (b *BoundKey) equal(other *BoundKey) bool {
	switch {
	case b.ID != other.ID || b.Algorithm != other.Algorithm || b.CanSign() != other.CanSign():
		return false
	case b.newMAC != nil:
		return hmac.Equal(b.newMAC().Sum(nil), other.newMAC().Sum(nil))
	}
	return samePublic(b.public, other.public)
}

// CanSign reports whether the key can sign.
func (b *BoundKey) CanSign() bool { return b.newMAC != nil || b.sign != nil }

// Symmetric reports whether the key has a secret, so that all who verify can sign.
func (b *BoundKey) Symmetric() bool { return b.newMAC != nil }

// Public returns a copy of the public key. It returns nil for a key with a secret.
func (b *BoundKey) Public() crypto.PublicKey {
	switch public := b.public.(type) {
	case *rsa.PublicKey:
		return &rsa.PublicKey{N: new(big.Int).Set(public.N), E: public.E}
	case *ecdsa.PublicKey:
		point, _ := public.Bytes()
		clone, _ := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		return clone
	case ed25519.PublicKey:
		return slices.Clone(public)
	}
	return nil
}

// bindAsymmetric copies the keys, so that they cannot change later. It checks that they are
// complete, so that a broken key is found before the first token.
func (b *BoundKey) bindAsymmetric(k Key) (sigBytes int, err error) {
	var kind string
	switch k.Algorithm {
	case RS256:
		b.method, kind = jwt.SigningMethodRS256, "an RSA key"
	case PS256:
		b.method, kind = methodPS256, "an RSA key"
	case ES256:
		b.method, kind = jwt.SigningMethodES256, "an ECDSA key on P-256"
	case EdDSA:
		b.method, kind = jwt.SigningMethodEdDSA, "an Ed25519 key"
	}
	given := any(k.Public)
	if k.Private != nil {
		given = k.Private
	}
	if given == nil {
		return 0, fmt.Errorf("%s needs Private to sign, or Public to verify", k.Algorithm)
	}
	wrong := fmt.Errorf("%s needs %s that is whole, not %T", k.Algorithm, kind, given)

	public := k.Public
	if k.Private != nil {
		private := wholePrivate(k.Private)
		if private == nil {
			return 0, wrong
		}
		b.sign = func(input string) ([]byte, error) { return b.method.Sign(input, private) }
		public = private.Public()
		if k.Public != nil && !samePublic(public, k.Public) {
			return 0, errors.New("a Public that does not belong to Private; leave it nil")
		}
	}
	switch pub := public.(type) {
	case *rsa.PublicKey:
		if pub == nil || pub.N == nil || k.Algorithm != RS256 && k.Algorithm != PS256 {
			return 0, wrong
		}
		if bits := pub.N.BitLen(); bits < 2048 || bits > 8192 || pub.E < 3 || pub.E > math.MaxInt32 || pub.E%2 == 0 {
			return 0, fmt.Errorf("an RSA key of %d bits with exponent %d: use 2048 to 8192 bits and an odd exponent from 3 to 2^31", bits, pub.E)
		}
		b.public = &rsa.PublicKey{N: new(big.Int).Set(pub.N), E: pub.E}
		return pub.Size(), nil
	case *ecdsa.PublicKey:
		if !filled(pub) || pub.Curve != elliptic.P256() || k.Algorithm != ES256 {
			return 0, wrong
		}
		point, err := pub.Bytes()
		if err == nil {
			b.public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		}
		if err != nil {
			return 0, errors.New("an ECDSA key that is not a point on P-256")
		}
		return 64, nil
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize || smallOrder(pub) || k.Algorithm != EdDSA {
			return 0, wrong
		}
		b.public = slices.Clone(pub)
		return ed25519.SignatureSize, nil
	}
	return 0, wrong
}

// wholePrivate returns a copy of a private key. It returns nil if the key is broken or its
// type unknown.
func wholePrivate(k crypto.Signer) crypto.Signer {
	switch k := k.(type) {
	case *rsa.PrivateKey:
		if k == nil || k.N == nil || k.D == nil || len(k.Primes) < 2 || slices.Contains(k.Primes, nil) {
			return nil
		}
		k = &rsa.PrivateKey{PublicKey: k.PublicKey, D: k.D, Primes: k.Primes} // Validate writes to it
		if k.Validate() != nil {
			return nil
		}
		if whole, err := x509.ParsePKCS1PrivateKey(x509.MarshalPKCS1PrivateKey(k)); err == nil {
			return whole
		}
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 a key made by hand may lack its scalar, and every method then panics
		if k == nil || !filled(&k.PublicKey) || k.D == nil || k.Curve != elliptic.P256() {
			return nil
		}
		scalar, err := k.Bytes()
		if err != nil {
			return nil
		}
		if whole, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil && whole.PublicKey.Equal(&k.PublicKey) {
			return whole
		}
	case ed25519.PrivateKey:
		if len(k) != ed25519.PrivateKeySize {
			return nil
		}
		if whole := ed25519.NewKeyFromSeed(k.Seed()); whole.Equal(k) {
			return whole
		}
	}
	return nil
}

// samePublic reports whether a given public key equals one derived from a private key.
func samePublic(derived, given crypto.PublicKey) bool {
	switch given := given.(type) {
	case *rsa.PublicKey:
		if given == nil || given.N == nil {
			return false
		}
	case *ecdsa.PublicKey:
		if !filled(given) {
			return false
		}
	}
	key, ok := derived.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(given)
}

// filled reports whether an ECDSA key has coordinates.
func filled(k *ecdsa.PublicKey) bool {
	//lint:ignore SA1019 a key made by hand may lack them, and every method then panics
	return k != nil && k.X != nil && k.Y != nil
}

// smallOrder reports whether an Ed25519 public key is one of the few points under which
// anyone can sign, such as a slice of zeros. There are five such values of y, two of them
// with a second encoding. The sign of x does not matter.
func smallOrder(pub ed25519.PublicKey) bool {
	for _, y := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		without := slices.Clone(pub)
		without[31] &= 0x7f
		if hex.EncodeToString(without) == y {
			return true
		}
	}
	return false
}
