package peers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
)

// Bare returns only the standard library's verification of the token's
// signature. The signing input and the decoded signature are prepared in the
// form that the package prefers.
func Bare(alg string, keys Keys, token string) (func() error, error) {
	dot := strings.LastIndexByte(token, '.')
	input := []byte(token[:dot])
	sig, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		return nil, err
	}
	failed := fmt.Errorf("%s: bare verification failed", alg)
	switch alg {
	case ES256:
		der, err := asn1.Marshal(struct{ R, S *big.Int }{
			new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]),
		})
		if err != nil {
			return nil, err
		}
		return func() error {
			sum := sha256.Sum256(input)
			if !ecdsa.VerifyASN1(&keys.ECDSA.PublicKey, sum[:], der) {
				return failed
			}
			return nil
		}, nil
	case EdDSA:
		public := keys.Ed25519.Public().(ed25519.PublicKey)
		return func() error {
			if !ed25519.Verify(public, input, sig) {
				return failed
			}
			return nil
		}, nil
	case RS256:
		return func() error {
			sum := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(&keys.RSA.PublicKey, crypto.SHA256, sum[:], sig)
		}, nil
	}
	return nil, fmt.Errorf("bare: unknown algorithm %s", alg)
}
