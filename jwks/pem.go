package jwks

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/authkit-go/authkit"
)

// ParsePEM returns the one key in a PEM text: a private key in PKCS #8, SEC 1
// or PKCS #1, or a public key in PKIX or PKCS #1. The ID is the thumbprint (RFC
// 7638).
//
// The type of the key determines its Algorithm: RS256 for RSA, ES256 for ECDSA
// on P-256, and EdDSA for Ed25519. Set Algorithm yourself to use an RSA key for
// PS256.
//
// Line ends may be written as the two characters \n, as in environment
// variables.
//
// ParsePEM refuses encrypted keys, certificates, and keys that authkit refuses.
func ParsePEM(data []byte) (authkit.Key, error) {
	data = bytes.ReplaceAll(data, []byte(`\r`), nil) // PEM has no backslash
	data = bytes.ReplaceAll(data, []byte(`\n`), []byte("\n"))
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" { // OpenSSL writes them before the key, which contains them too
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil || len(data) > maxDocument:
		return authkit.Key{}, fmt.Errorf("jwks: no PEM block, or a text of more than %d bytes", maxDocument)
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return authkit.Key{}, errors.New("jwks: more than one PEM block; give one key")
	case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return authkit.Key{}, errors.New("jwks: an encrypted key; decrypt it with: openssl pkey")
	case block.Type == "CERTIFICATE":
		return authkit.Key{}, errors.New("jwks: a certificate; take its key with: openssl x509 -pubkey -noout")
	}
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PUBLIC KEY":
		parsed, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		parsed, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return authkit.Key{}, fmt.Errorf("jwks: a PEM block of the type %.40q, which is no key", block.Type)
	}
	if err != nil {
		return authkit.Key{}, fmt.Errorf("jwks: a broken %s: %w", block.Type, err)
	}
	return keyOf(parsed)
}

// keyOf returns the Key with a private or public key.
func keyOf(material any) (authkit.Key, error) {
	k := authkit.Key{Public: material}
	if signer, ok := material.(crypto.Signer); ok {
		k.Private, k.Public = signer, signer.Public()
	}
	switch k.Public.(type) {
	case *rsa.PublicKey:
		k.Algorithm = authkit.RS256
	case *ecdsa.PublicKey:
		k.Algorithm = authkit.ES256
	case ed25519.PublicKey:
		k.Algorithm = authkit.EdDSA
	default:
		return authkit.Key{}, fmt.Errorf("jwks: a key of the type %T; use RSA, ECDSA on P-256 or Ed25519", material)
	}
	if err := check(k); err != nil {
		return authkit.Key{}, fmt.Errorf("jwks: %w", err)
	}
	k.ID = publicJWK(k.Public).thumbprint()
	return k, nil
}

// MarshalPEM returns a key as PEM for [ParsePEM]: in PKCS #8 if it has Private,
// and in PKIX otherwise. The PEM does not contain ID and Algorithm. If the key
// has Private, the PEM is as secret as the key.
//
// MarshalPEM refuses HS keys, which have no PEM form, and keys that authkit
// refuses.
func MarshalPEM(k authkit.Key) ([]byte, error) {
	if err := check(k); err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	block := &pem.Block{Type: "PRIVATE KEY"}
	var err error
	switch {
	case k.Secret != nil:
		return nil, fmt.Errorf("jwks: a key for %s has no PEM form", k.Algorithm)
	case k.Private != nil:
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(k.Private)
	default:
		block.Type = "PUBLIC KEY"
		block.Bytes, err = x509.MarshalPKIXPublicKey(k.Public)
	}
	if err != nil {
		return nil, fmt.Errorf("jwks: encoding the key: %w", err)
	}
	return pem.EncodeToMemory(block), nil
}
