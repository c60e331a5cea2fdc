package jwks

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

const (
	maxDocument = 64 << 10 // bytes
	maxEntries  = 100
	maxOctets   = 1024 // bytes of a number or a secret: RSA of 8,192 bits
)

// errOtherUse is wrapped by errors about keys that their issuer does not use to
// sign.
var errOtherUse = errors.New("not a key for signatures")

// ed25519Name is the name of RFC 9864 for EdDSA (RFC 8037) with Ed25519.
const ed25519Name = "Ed25519"

// ParseKey returns the key in a JSON Web Key (RFC 7517, RFC 8037) of at most 64
// KiB.
//
// The kty is RSA, EC on P-256, or OKP with Ed25519, for private and public
// keys, or oct for secrets. The ID is the kid, or empty. A key of kty RSA
// without an alg is for RS256. A key of kty oct must have an alg. The alg
// Ed25519 (RFC 9864) is EdDSA. Names of members are compared exactly, and must
// be unique. ParseKey ignores x5c and x5u.
func ParseKey(jwk []byte) (authkit.Key, error) {
	if len(jwk) > maxDocument {
		return authkit.Key{}, fmt.Errorf("jwks: a key of %d bytes; %d are the most", len(jwk), maxDocument)
	}
	members, err := parseObject(jwk)
	var k authkit.Key
	if err == nil {
		k, err = members.key()
	}
	if err != nil {
		return authkit.Key{}, fmt.Errorf("jwks: %w", err)
	}
	return k, nil
}

// An EntryError is the reason why [ParseSet] left out an entry of a key set.
type EntryError struct {
	Index int // of the entry, from zero
	Err   error
}

// Error returns the position and the reason.
func (e *EntryError) Error() string { return fmt.Sprintf("jwks: entry %d: %v", e.Index, e.Err) }

// Unwrap returns the reason.
func (e *EntryError) Unwrap() error { return e.Err }

// ParseSet returns the keys for tokens in a JSON Web Key Set (RFC 7517 section
// 5) of at most 64 KiB and 100 entries. It returns an error if the text is not
// such a set.
//
// It leaves out entries that are not for signatures, by their use or key_ops.
// It leaves out other entries that cannot be used, and returns an [EntryError]
// for each:
//   - a kty, crv or alg that authkit does not have,
//   - a key that is secret, private, broken, weak, or does not fit its alg,
//   - a kid that an earlier key has, or no kid if an earlier key has none.
func ParseSet(jwks []byte) (keys []authkit.Key, skipped []*EntryError, err error) {
	if len(jwks) > maxDocument {
		return nil, nil, fmt.Errorf("jwks: a set of %d bytes; %d are the most", len(jwks), maxDocument)
	}
	set, err := parseObject(jwks)
	if err != nil {
		return nil, nil, fmt.Errorf("jwks: %w", err)
	}
	var entries []json.RawMessage
	if raw, ok := set["keys"]; !ok || raw[0] != '[' || json.Unmarshal(raw, &entries) != nil || len(entries) > maxEntries {
		return nil, nil, fmt.Errorf("jwks: no list of keys, or one of more than %d", maxEntries)
	}
	for i, entry := range entries {
		k, err := parseEntry(entry)
		if err == nil && slices.ContainsFunc(keys, func(other authkit.Key) bool { return other.ID == k.ID }) {
			err = errors.New("the kid of an earlier one, or both have none")
		}
		switch {
		case err == nil:
			keys = append(keys, k)
		case !errors.Is(err, errOtherUse):
			skipped = append(skipped, &EntryError{i, err})
		}
	}
	return keys, skipped, nil
}

// parseEntry returns the key of an entry that an issuer published.
func parseEntry(entry []byte) (authkit.Key, error) {
	members, err := parseObject(entry)
	if err != nil {
		return authkit.Key{}, err
	}
	// First, because entries that are skipped must not contain secrets either.
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, ok := members[name]; ok {
			return authkit.Key{}, fmt.Errorf("a secret or private key: it has %q", name)
		}
	}
	k, err := members.key()
	if kty, _ := members.text("kty"); kty == "oct" {
		err = errors.New("a secret key")
	}
	return k, err
}

// An object is a JSON object, by the names of its members.
type object map[string]json.RawMessage

// parseObject returns a JSON object. Unlike encoding/json it compares names
// exactly, and refuses a name that occurs twice.
func parseObject(data []byte) (object, error) {
	broken := errors.New("not a JSON object, or one in which a name occurs twice")
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, broken
	}
	dec := json.NewDecoder(bytes.NewReader(data)) // valid JSON, so Token returns no errors
	if open, _ := dec.Token(); open != json.Delim('{') {
		return nil, broken
	}
	o := make(object)
	for dec.More() {
		token, _ := dec.Token()
		name, _ := token.(string)
		var value json.RawMessage
		if _, doubled := o[name]; doubled || dec.Decode(&value) != nil {
			return nil, broken
		}
		o[name] = value
	}
	return o, nil
}

// text returns a member that is a string. If the member is absent, text returns
// "".
func (o object) text(name string) (string, error) {
	raw, ok := o[name]
	if !ok {
		return "", nil
	}
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", fmt.Errorf("%q is not a string", name)
	}
	return s, nil
}

// octets returns required members in base64url without padding (RFC 7515
// section 2).
func (o object) octets(names ...string) ([][]byte, error) {
	var all [][]byte
	for _, name := range names {
		s, err := o.text(name)
		if err != nil {
			return nil, err
		}
		b, err := base64.RawURLEncoding.Strict().DecodeString(s)
		if err != nil || len(b) == 0 || len(b) > maxOctets || base64.RawURLEncoding.EncodedLen(len(b)) != len(s) { // DecodeString skips line ends
			return nil, fmt.Errorf("%q is missing or not base64url of at most %d bytes", name, maxOctets)
		}
		all = append(all, b)
	}
	return all, nil
}

// key returns the key of a JWK.
func (o object) key() (authkit.Key, error) {
	var kty, use, alg, kid, crv string
	for name, at := range map[string]*string{"kty": &kty, "use": &use, "alg": &alg, "kid": &kid, "crv": &crv} {
		var err error
		if *at, err = o.text(name); err != nil {
			return authkit.Key{}, err
		}
	}
	if _, named := o["kid"]; named && kid == "" {
		return authkit.Key{}, errors.New("an empty kid")
	}
	if err := o.forSignatures(use); err != nil {
		return authkit.Key{}, err
	}
	k := authkit.Key{ID: kid, Algorithm: authkit.Algorithm(alg)}
	switch k.Algorithm {
	case "", authkit.HS256, authkit.HS384, authkit.HS512, authkit.RS256, authkit.PS256, authkit.ES256, authkit.EdDSA:
	case ed25519Name:
		k.Algorithm = authkit.EdDSA
	default:
		return authkit.Key{}, fmt.Errorf("alg %.40q is not supported", alg)
	}
	var usual authkit.Algorithm
	var err error
	switch {
	case kty == "RSA":
		usual = authkit.RS256
		k.Private, k.Public, err = o.rsa()
	case kty == "EC" && crv == "P-256":
		usual = authkit.ES256
		k.Private, k.Public, err = o.ec()
	case kty == "OKP" && crv == "Ed25519":
		usual = authkit.EdDSA
		k.Private, k.Public, err = o.okp()
	case kty == "oct" && alg == "":
		err = errors.New("a secret key without alg")
	case kty == "oct":
		var secret [][]byte
		if secret, err = o.octets("k"); err == nil {
			k.Secret = secret[0]
		}
	case kty == "":
		err = errors.New("no kty")
	default:
		err = fmt.Errorf("kty %.40q with crv %.40q is not supported", kty, crv)
	}
	if err != nil {
		return authkit.Key{}, err
	}
	if k.Algorithm == "" {
		k.Algorithm = usual
	}
	if err := check(k); err != nil { // alg does not fit the key, or the key is weak or broken
		return authkit.Key{}, err
	}
	return k, nil
}

// forSignatures returns an error if a key is not for signatures (RFC 7517
// sections 4.2 and 4.3).
func (o object) forSignatures(use string) error {
	if _, ok := o["use"]; ok && use != "sig" {
		return fmt.Errorf("use %.40q: %w", use, errOtherUse)
	}
	var ops []string
	if raw, ok := o["key_ops"]; ok && json.Unmarshal(raw, &ops) != nil {
		return errors.New(`"key_ops" is not a list of strings`)
	} else if ok && !slices.Contains(ops, "sign") && !slices.Contains(ops, "verify") {
		return fmt.Errorf("key_ops without sign or verify: %w", errOtherUse)
	}
	return nil
}

// rsa returns the key with the members of RFC 7518 section 6.3. It ignores dp,
// dq and qi, which are computed again.
func (o object) rsa() (crypto.Signer, crypto.PublicKey, error) {
	m, err := o.octets("n", "e")
	if err != nil {
		return nil, nil, err
	}
	n, e := new(big.Int).SetBytes(m[0]), new(big.Int).SetBytes(m[1])
	if e.BitLen() > 31 {
		return nil, nil, errors.New("an RSA key with an exponent above 2^31")
	}
	public := &rsa.PublicKey{N: n, E: int(e.Int64())}
	if _, ok := o["d"]; !ok {
		return nil, public, nil
	}
	if _, ok := o["oth"]; ok {
		return nil, nil, errors.New("an RSA key of more than two primes")
	}
	if m, err = o.octets("d", "p", "q"); err != nil {
		return nil, nil, err
	}
	d, p, q := new(big.Int).SetBytes(m[0]), new(big.Int).SetBytes(m[1]), new(big.Int).SetBytes(m[2])
	return &rsa.PrivateKey{PublicKey: *public, D: d, Primes: []*big.Int{p, q}}, public, nil // check validates it
}

// ec returns the key with the members of RFC 7518 section 6.2, on P-256.
func (o object) ec() (crypto.Signer, crypto.PublicKey, error) {
	m, err := o.octets("x", "y")
	if err != nil {
		return nil, nil, err
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, m[0], m[1]))
	if err != nil || len(m[0]) != 32 { // y has 32 bytes too if the point is valid
		return nil, nil, errors.New("not a point on P-256 by coordinates of 32 bytes")
	}
	if _, ok := o["d"]; !ok {
		return nil, public, nil
	}
	if m, err = o.octets("d"); err != nil {
		return nil, nil, err
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), m[0])
	if err != nil {
		return nil, nil, errors.New(`"d" is not a private key of P-256`)
	}
	return private, public, nil
}

// okp returns the key with the members of RFC 8037 section 2, for Ed25519.
func (o object) okp() (crypto.Signer, crypto.PublicKey, error) {
	m, err := o.octets("x")
	if err != nil {
		return nil, nil, err
	}
	public := ed25519.PublicKey(m[0])
	if _, ok := o["d"]; !ok {
		return nil, public, nil
	}
	if m, err = o.octets("d"); err != nil {
		return nil, nil, err
	}
	if len(m[0]) != ed25519.SeedSize {
		return nil, nil, errors.New(`"d" has not 32 bytes`)
	}
	return ed25519.NewKeyFromSeed(m[0]), public, nil
}
