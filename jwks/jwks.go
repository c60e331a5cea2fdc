// Package jwks generates, loads, publishes and fetches the keys of tokens, as
// JSON Web Keys (RFC 7517) and as PEM.
//
// A service that issues tokens publishes its public keys with [Handler]. A
// service that verifies them fetches those keys with the ring of [NewRemote]:
//
//	ring, err := jwks.NewRemote(jwks.RemoteConfig{URL: "https://login.example.com/.well-known/jwks.json"})
//	...
//	verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{
//		Ring: ring, Issuer: "https://login.example.com", Audience: "orders", CacheSize: 10_000,
//	})
//
// Use one ring for each issuer, so that a key of one issuer never verifies
// tokens of another. Set Issuer too, because it binds the tokens to the keys.
//
// [GenerateKey] generates a key, and [MarshalPEM] encodes it. [ParsePEM] and
// [ParseKey] load a key. See [authkit.KeyRing.Replace] for how to rotate keys.
package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"

	"github.com/authkit-go/authkit"
)

// GenerateKey returns a new key for an algorithm. RSA keys have 3,072 bits. The
// Secret of an HS key is as long as its hash. The ID of an asymmetric key is
// its thumbprint (RFC 7638), and that of an HS key is random. It returns an
// error if the algorithm is unknown.
func GenerateKey(alg authkit.Algorithm) (authkit.Key, error) {
	if size, ok := map[authkit.Algorithm]int{authkit.HS256: 32, authkit.HS384: 48, authkit.HS512: 64}[alg]; ok {
		secret := make([]byte, size)
		_, _ = rand.Read(secret) // never fails
		return authkit.Key{ID: rand.Text(), Algorithm: alg, Secret: secret}, nil
	}
	var private crypto.Signer
	var err error
	switch alg {
	case authkit.RS256, authkit.PS256:
		private, err = rsa.GenerateKey(rand.Reader, 3072)
	case authkit.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case authkit.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("unknown algorithm %q", string(alg))
	}
	if err != nil {
		return authkit.Key{}, fmt.Errorf("jwks: making a key: %w", err)
	}
	public := private.Public()
	return authkit.Key{ID: publicJWK(public).thumbprint(), Algorithm: alg, Private: private, Public: public}, nil
}

// A jwk holds the public members of a JSON Web Key, in the order of the output.
type jwk struct {
	Kty string `json:"kty"`
	Use string `json:"use,omitempty"`
	Alg string `json:"alg,omitempty"`
	Kid string `json:"kid,omitempty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
}

// publicJWK returns the members of a valid public key (RFC 7518 section 6, RFC
// 8037 section 2).
func publicJWK(public crypto.PublicKey) jwk {
	encode := base64.RawURLEncoding.EncodeToString
	switch public := public.(type) {
	case *rsa.PublicKey:
		return jwk{Kty: "RSA", N: encode(public.N.Bytes()), E: encode(big.NewInt(int64(public.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, _ := public.Bytes() // 4, x and y
		return jwk{Kty: "EC", Crv: "P-256", X: encode(point[1:33]), Y: encode(point[33:])}
	case ed25519.PublicKey:
		return jwk{Kty: "OKP", Crv: "Ed25519", X: encode(public)}
	}
	return jwk{}
}

// thumbprint returns the SHA-256 thumbprint (RFC 7638, RFC 8037 section 2).
func (k jwk) thumbprint() string {
	members := map[string]string{
		"RSA": `{"e":"` + k.E + `","kty":"RSA","n":"` + k.N + `"}`,
		"EC":  `{"crv":"` + k.Crv + `","kty":"EC","x":"` + k.X + `","y":"` + k.Y + `"}`,
		"OKP": `{"crv":"` + k.Crv + `","kty":"OKP","x":"` + k.X + `"}`,
	}
	sum := sha256.Sum256([]byte(members[k.Kty]))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// check returns an error if authkit refuses a key.
func check(k authkit.Key) error {
	_, err := authkit.NewKeyRing(k)
	return err
}
