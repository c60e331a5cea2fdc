package authkit_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// tokSigner is a crypto.Signer of no type that is known, such as one for a key in hardware.
type tokSigner struct{ crypto.Signer }

// tokConstruct makes an issuer and a verifier of one key. A panic is a fault of the test.
func tokConstruct(t *testing.T, key authkit.Key) (issuer *authkit.TokenIssuer, issuerErr, verifierErr error) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("panic: %v", p)
		}
	}()
	cfg := authkit.TokenConfig{Keys: []authkit.Key{key}}
	_, verifierErr = authkit.NewTokenVerifier(cfg)
	issuer, issuerErr = authkit.NewTokenIssuer(cfg)
	return issuer, issuerErr, verifierErr
}

// TK-01, TK-02: every fault of a key is an error when the issuer or verifier is made, never later.
func TestKeyFaults(t *testing.T) {
	over := int64(math.MaxInt32 + 2) // wraps where an int has 32 bits
	t.Parallel()
	good := tokKeys()
	r := good[authkit.RS256].Private.(*rsa.PrivateKey)
	ec := good[authkit.ES256].Private.(*ecdsa.PrivateKey)
	ed := good[authkit.EdDSA].Private.(ed25519.PrivateKey)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	otherEC, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, otherEd, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	// No such key has to exist: what is wrong shows in the public half.
	modulus := func(bits uint, e int) *rsa.PublicKey {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: e}
	}
	secret := func(n int) []byte { return bytes.Repeat([]byte(testSecret), 3)[:n] }
	point := func(x, y int64) *ecdsa.PublicKey {
		//lint:ignore SA1019 the point has to be a wrong one
		return &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(x), Y: big.NewInt(y)}
	}

	for _, tc := range []struct {
		name string
		key  authkit.Key
		want string
	}{
		{"empty", authkit.Key{}, "Algorithm"},
		{"only an ID", authkit.Key{ID: "a"}, "Algorithm"},
		{"no Algorithm", authkit.Key{Secret: secret(32)}, "Algorithm"},
		{"none", authkit.Key{Algorithm: "none", Secret: secret(32)}, `unknown Algorithm "none"`},
		{"lower case", authkit.Key{Algorithm: "hs256", Secret: secret(32)}, "unknown Algorithm"},
		{"RS384", authkit.Key{Algorithm: "RS384", Private: r}, "unknown Algorithm"},
		{"ES384", authkit.Key{Algorithm: "ES384", Private: p384}, "unknown Algorithm"},
		{"ID of 129 bytes", authkit.Key{ID: strings.Repeat("x", 129), Algorithm: authkit.HS256, Secret: secret(32)}, "the ID"},
		{"ID that is not UTF-8", authkit.Key{ID: "\xff", Algorithm: authkit.HS256, Secret: secret(32)}, "the ID"},

		{"HS256 without anything", authkit.Key{Algorithm: authkit.HS256}, "0 bytes"},
		{"HS256 with an empty Secret", authkit.Key{Algorithm: authkit.HS256, Secret: []byte{}}, "0 bytes"},
		{"HS256 of 31 bytes", authkit.Key{Algorithm: authkit.HS256, Secret: secret(31)}, "31 bytes and needs at least 32"},
		{"HS384 of 47 bytes", authkit.Key{Algorithm: authkit.HS384, Secret: secret(47)}, "at least 48"},
		{"HS512 of 63 bytes", authkit.Key{Algorithm: authkit.HS512, Secret: secret(63)}, "at least 64"},
		{"HS256 of zeros", authkit.Key{Algorithm: authkit.HS256, Secret: make([]byte, 64)}, "only 1 different bytes"},
		{"HS256 of 7 different bytes", authkit.Key{Algorithm: authkit.HS256, Secret: []byte(strings.Repeat("abcdefg", 9))}, "only 7 different bytes"},
		{"HS256 of a tutorial", authkit.Key{Algorithm: authkit.HS256, Secret: []byte("09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7")}, "tutorials"},
		{"HS256 of a web site", authkit.Key{Algorithm: authkit.HS256, Secret: []byte("a-string-secret-at-least-256-bits-long")}, "tutorials"},
		{"HS256 of a web site, padded", authkit.Key{Algorithm: authkit.HS256, Secret: []byte("your-256-bit-secret-0123456789abcdef")}, "tutorials"},
		{"HS256 of a default", authkit.Key{Algorithm: authkit.HS256, Secret: []byte("please-change-me-please-change-me")}, "tutorials"},
		{"HS256 with Private", authkit.Key{Algorithm: authkit.HS256, Private: r}, "takes a Secret"},
		{"HS256 with Public", authkit.Key{Algorithm: authkit.HS256, Secret: secret(32), Public: r.Public()}, "takes a Secret"},
		{"HS256 with nil typed Private", authkit.Key{Algorithm: authkit.HS256, Secret: secret(32), Private: (*rsa.PrivateKey)(nil)}, "takes a Secret"},

		{"ES256 with Secret", authkit.Key{Algorithm: authkit.ES256, Secret: secret(32)}, "not a Secret"},
		{"ES256 with Secret too", authkit.Key{Algorithm: authkit.ES256, Secret: secret(32), Private: ec}, "not a Secret"},
		{"ES256 with an empty Secret too", authkit.Key{Algorithm: authkit.ES256, Secret: []byte{}, Private: ec}, "not a Secret"},
		{"RS256 without anything", authkit.Key{Algorithm: authkit.RS256}, "needs Private to sign, or Public to verify"},
		{"ES256 without anything", authkit.Key{Algorithm: authkit.ES256}, "needs Private to sign, or Public to verify"},
		{"EdDSA without anything", authkit.Key{Algorithm: authkit.EdDSA}, "needs Private to sign, or Public to verify"},
		{"RS256 with an EC key", authkit.Key{Algorithm: authkit.RS256, Private: ec}, "needs an"},
		{"RS256 with an Ed25519 key", authkit.Key{Algorithm: authkit.RS256, Private: ed}, "needs an"},
		{"PS256 with an EC key", authkit.Key{Algorithm: authkit.PS256, Public: ec.Public()}, "needs an"},
		{"ES256 with an RSA key", authkit.Key{Algorithm: authkit.ES256, Private: r}, "P-256"},
		{"ES256 with an Ed25519 key", authkit.Key{Algorithm: authkit.ES256, Public: ed.Public()}, "P-256"},
		{"ES256 on P-384", authkit.Key{Algorithm: authkit.ES256, Private: p384}, "P-256"},
		{"ES256 on P-384, public", authkit.Key{Algorithm: authkit.ES256, Public: p384.Public()}, "P-256"},
		{"EdDSA with an RSA key", authkit.Key{Algorithm: authkit.EdDSA, Private: r}, "needs an"},
		{"EdDSA with an EC key", authkit.Key{Algorithm: authkit.EdDSA, Public: ec.Public()}, "needs an"},

		{"Private of another type", authkit.Key{Algorithm: authkit.RS256, Private: tokSigner{r}}, "needs an"},
		{"Private is a pointer to an Ed25519 key", authkit.Key{Algorithm: authkit.EdDSA, Private: &ed}, "needs an"},
		{"Public of another type", authkit.Key{Algorithm: authkit.RS256, Public: "PEM"}, "needs an"},
		{"Public is PEM", authkit.Key{Algorithm: authkit.RS256, Public: []byte("-----BEGIN PUBLIC KEY-----")}, "needs an"},
		{"Public is not a pointer", authkit.Key{Algorithm: authkit.RS256, Public: r.PublicKey}, "needs an"},
		{"Public is private", authkit.Key{Algorithm: authkit.RS256, Public: r}, "needs an"},
		{"Public is private, EC", authkit.Key{Algorithm: authkit.ES256, Public: ec}, "needs an"},
		{"Public is private, Ed25519", authkit.Key{Algorithm: authkit.EdDSA, Public: ed}, "needs an"},
		{"Public of another key", authkit.Key{Algorithm: authkit.RS256, Private: r, Public: tokRSA()[1].Public()}, "belong to Private"},
		{"Public of another key, EC", authkit.Key{Algorithm: authkit.ES256, Private: ec, Public: otherEC.Public()}, "belong to Private"},
		{"Public of another key, Ed25519", authkit.Key{Algorithm: authkit.EdDSA, Private: ed, Public: otherEd.Public()}, "belong to Private"},
		{"Public of another kind", authkit.Key{Algorithm: authkit.RS256, Private: r, Public: ec.Public()}, ""},

		{"RSA of 1024 bits", authkit.Key{Algorithm: authkit.RS256, Public: modulus(1024, 65537)}, "an RSA key of 1024 bits"},
		{"RSA of 2047 bits", authkit.Key{Algorithm: authkit.PS256, Public: modulus(2047, 65537)}, "an RSA key of 2047 bits"},
		{"RSA of 8193 bits", authkit.Key{Algorithm: authkit.RS256, Public: modulus(8193, 65537)}, "an RSA key of 8193 bits"},
		{"RSA with an even exponent", authkit.Key{Algorithm: authkit.RS256, Public: modulus(2048, 65538)}, "exponent 65538"},
		{"RSA with an exponent over 2^31", authkit.Key{Algorithm: authkit.RS256, Public: modulus(2048, int(over))}, fmt.Sprintf("exponent %d", int(over))},
		{"RSA with exponent 1", authkit.Key{Algorithm: authkit.RS256, Public: modulus(2048, 1)}, "exponent 1"},
		{"RSA with exponent 0", authkit.Key{Algorithm: authkit.RS256, Public: modulus(2048, 0)}, "exponent 0"},
		{"RSA with a negative exponent", authkit.Key{Algorithm: authkit.RS256, Public: modulus(2048, -3)}, "exponent -3"},
		{"RSA without a modulus", authkit.Key{Algorithm: authkit.RS256, Public: &rsa.PublicKey{E: 65537}}, "needs an"},
		{"RSA, zero", authkit.Key{Algorithm: authkit.RS256, Private: &rsa.PrivateKey{}}, "needs an"},
		{"RSA with Public nil inside", authkit.Key{Algorithm: authkit.RS256, Public: (*rsa.PublicKey)(nil)}, "needs an"},
		{"EC with Public nil inside", authkit.Key{Algorithm: authkit.ES256, Public: (*ecdsa.PublicKey)(nil)}, "P-256"},
		{"EC, zero", authkit.Key{Algorithm: authkit.ES256, Private: &ecdsa.PrivateKey{}}, "P-256"},
		{"EC, zero, public", authkit.Key{Algorithm: authkit.ES256, Public: &ecdsa.PublicKey{}}, "P-256"},
		{"EC at 0, 0", authkit.Key{Algorithm: authkit.ES256, Public: point(0, 0)}, "not a point on P-256"},
		{"EC off the curve", authkit.Key{Algorithm: authkit.ES256, Public: point(1, 1)}, "not a point on P-256"},
		{"EC with a negative coordinate", authkit.Key{Algorithm: authkit.ES256, Public: point(-1, 1)}, "not a point on P-256"},
		{"Ed25519 nil", authkit.Key{Algorithm: authkit.EdDSA, Public: ed25519.PublicKey(nil)}, "needs an"},
		{"Ed25519 of 31 bytes", authkit.Key{Algorithm: authkit.EdDSA, Public: ed25519.PublicKey(make([]byte, 31))}, "needs an"},
		{"Ed25519 of 33 bytes", authkit.Key{Algorithm: authkit.EdDSA, Public: ed25519.PublicKey(make([]byte, 33))}, "needs an"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, issuerErr, verifierErr := tokConstruct(t, tc.key)
			for _, err := range []error{issuerErr, verifierErr} {
				require.ErrorContains(t, err, "authkit: TokenConfig.Keys[0]: ")
				require.ErrorContains(t, err, tc.want)
				if len(tc.key.Secret) > 0 {
					require.NotContains(t, err.Error(), string(tc.key.Secret))
				}
			}
		})
	}
}

// The largest RSA keys and exponents that are read.
func TestKeyRSALimits(t *testing.T) {
	t.Parallel()
	for _, key := range []struct {
		bits uint
		e    int
	}{{2048, 65537}, {8192, 65537}, {2048, 3}, {2048, math.MaxInt32}} {
		n := new(big.Int).Lsh(big.NewInt(1), key.bits-1)
		_, _, err := tokConstruct(t, authkit.Key{Algorithm: authkit.RS256, Public: &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: key.e}})
		require.NoError(t, err, "%+v", key)
	}
}

// A key with a hole in it is refused like any other, and does not take the program down.
func TestKeyFaultsDoNotPanic(t *testing.T) {
	t.Parallel()
	good := tokKeys()
	r := good[authkit.RS256].Private.(*rsa.PrivateKey)
	ec := good[authkit.ES256].Private.(*ecdsa.PrivateKey)
	ed := good[authkit.EdDSA].Private.(ed25519.PrivateKey)
	for name, key := range map[string]authkit.Key{
		"nil *rsa.PrivateKey":              {Algorithm: authkit.RS256, Private: (*rsa.PrivateKey)(nil)},
		"nil *rsa.PrivateKey for PS256":    {Algorithm: authkit.PS256, Private: (*rsa.PrivateKey)(nil)},
		"nil *ecdsa.PrivateKey":            {Algorithm: authkit.ES256, Private: (*ecdsa.PrivateKey)(nil)},
		"nil ed25519.PrivateKey":           {Algorithm: authkit.EdDSA, Private: ed25519.PrivateKey(nil)},
		"ed25519.PrivateKey of 31 bytes":   {Algorithm: authkit.EdDSA, Private: ed[:31]},
		"zero rsa.PrivateKey and Public":   {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{}, Public: r.Public()},
		"rsa.PrivateKey and nil Public":    {Algorithm: authkit.RS256, Private: r, Public: (*rsa.PublicKey)(nil)},
		"rsa.PrivateKey and zero Public":   {Algorithm: authkit.RS256, Private: r, Public: &rsa.PublicKey{}},
		"ecdsa.PrivateKey and nil Public":  {Algorithm: authkit.ES256, Private: ec, Public: (*ecdsa.PublicKey)(nil)},
		"ecdsa.PrivateKey and zero Public": {Algorithm: authkit.ES256, Private: ec, Public: &ecdsa.PublicKey{}},
		"ecdsa.PublicKey without a point":  {Algorithm: authkit.ES256, Public: &ecdsa.PublicKey{Curve: elliptic.P256()}},
		"zero ecdsa.PrivateKey on P-256":   {Algorithm: authkit.ES256, Private: &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P256()}}},
		//lint:ignore SA1019 the key has to be a wrong one
		"ecdsa.PublicKey with an x": {Algorithm: authkit.ES256, Public: &ecdsa.PublicKey{Curve: elliptic.P256(), X: ec.X}},
		//lint:ignore SA1019 the key has to be a wrong one
		"ecdsa.PublicKey with a y": {Algorithm: authkit.ES256, Public: &ecdsa.PublicKey{Curve: elliptic.P256(), Y: ec.Y}},
		//lint:ignore SA1019 the key has to be a wrong one
		"ecdsa.PrivateKey of the order of the curve": {Algorithm: authkit.ES256, Private: &ecdsa.PrivateKey{PublicKey: ec.PublicKey, D: elliptic.P256().Params().N}},
		//lint:ignore SA1019 the key has to be a wrong one
		"ecdsa.PrivateKey without a point":      {Algorithm: authkit.ES256, Private: &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P256()}, D: ec.D}},
		"nil ed25519.PrivateKey and Public":     {Algorithm: authkit.EdDSA, Private: ed25519.PrivateKey(nil), Public: ed.Public()},
		"nil *ecdsa.PrivateKey for the wrong":   {Algorithm: authkit.RS256, Private: (*ecdsa.PrivateKey)(nil)},
		"ecdsa.PrivateKey and Public, no point": {Algorithm: authkit.ES256, Private: ec, Public: &ecdsa.PublicKey{Curve: elliptic.P256()}},
		"ed25519.PrivateKey and nil Public":     {Algorithm: authkit.EdDSA, Private: ed, Public: ed25519.PublicKey(nil)},
		"nil *ed25519.PrivateKey, by a pointer": {Algorithm: authkit.EdDSA, Private: (*ed25519.PrivateKey)(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, issuerErr, verifierErr := tokConstruct(t, key)
			if t.Failed() {
				return
			}
			require.ErrorContains(t, issuerErr, "TokenConfig.Keys[0]")
			require.ErrorContains(t, verifierErr, "TokenConfig.Keys[0]")
		})
	}
}

// A private key that cannot sign for its public half is refused by New, and not found out at the
// first login, or by the service that gets the token.
func TestKeyFaultsOfPrivate(t *testing.T) {
	t.Parallel()
	good := tokKeys()
	r := good[authkit.RS256].Private.(*rsa.PrivateKey)
	ec := good[authkit.ES256].Private.(*ecdsa.PrivateKey)
	ed := good[authkit.EdDSA].Private.(ed25519.PrivateKey)
	_, otherEd, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	otherEC, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	scalar := func(d *big.Int) *ecdsa.PrivateKey {
		//lint:ignore SA1019 the key has to be a wrong one
		return &ecdsa.PrivateKey{PublicKey: ec.PublicKey, D: d}
	}
	for name, key := range map[string]authkit.Key{
		"RSA without an exponent":        {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey}},
		"RSA with another exponent":      {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey, D: big.NewInt(5)}},
		"PSS without an exponent":        {Algorithm: authkit.PS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey}},
		"RSA, public exponent over 2^31": {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: r.N, E: math.MaxInt}, D: r.D, Primes: r.Primes}},
		"RSA with a negative exponent":   {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey, D: big.NewInt(-1), Primes: r.Primes}},
		"RSA with one prime":             {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey, D: r.D, Primes: r.Primes[:1]}},
		"RSA with a nil prime":           {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey, D: r.D, Primes: []*big.Int{r.Primes[0], nil}}},
		"RSA with primes of zero":        {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey, D: r.D, Primes: []*big.Int{new(big.Int), new(big.Int)}}},
		"RSA with a negative modulus":    {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Neg(r.N), E: r.E}, D: r.D, Primes: r.Primes}},
		"EC with a negative scalar":      {Algorithm: authkit.ES256, Private: scalar(big.NewInt(-1))},
		"EC with scalar 0":               {Algorithm: authkit.ES256, Private: scalar(new(big.Int))},
		"EC with a scalar of 300 bits":   {Algorithm: authkit.ES256, Private: scalar(new(big.Int).Lsh(big.NewInt(1), 299))},
		"EC without a scalar":            {Algorithm: authkit.ES256, Private: &ecdsa.PrivateKey{PublicKey: ec.PublicKey}},
		//lint:ignore SA1019 the key has to be a wrong one
		"EC of two keys":                  {Algorithm: authkit.ES256, Private: scalar(otherEC.D)},
		"Ed25519 of two keys":             {Algorithm: authkit.EdDSA, Private: slices.Concat(ed[:32], otherEd[32:])},
		"Ed25519 of 63 bytes":             {Algorithm: authkit.EdDSA, Private: ed[:63]},
		"Ed25519 of 65 bytes":             {Algorithm: authkit.EdDSA, Private: append(slices.Clone(ed), 0)},
		"Ed25519, a seed and zeros":       {Algorithm: authkit.EdDSA, Private: slices.Concat(ed[:32], make([]byte, 32))},
		"RSA, public exponent of another": {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: r.N, E: 3}, D: r.D, Primes: r.Primes}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer, err, _ := tokConstruct(t, key)
			if err != nil {
				require.ErrorContains(t, err, "TokenConfig.Keys[0]")
				return
			}
			t.Error("no error from NewTokenIssuer")
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("and Issue panics: %v", p)
				}
			}()
			if _, err := issuer.Issue(authkit.Claims{Subject: "u"}); err != nil {
				t.Errorf("and Issue fails: %v", err)
			} else {
				t.Error("and Issue makes tokens that nobody can verify")
			}
		})
	}
}

// TK-02 for Ed25519: a public key of small order, which is what a slice that was never filled is,
// makes signatures that anybody can compute. Such a key is refused as an empty secret is.
func TestKeySmallOrder(t *testing.T) {
	t.Parallel()
	identity := make([]byte, 32)
	identity[0] = 1
	points := map[string]ed25519.PublicKey{"all zeros": make([]byte, 32), "the identity": identity}
	for name, y := range map[string]string{ // x is 0, or of either sign
		"order 2":                  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4":                  "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4, another reading": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 1, another reading": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 8":                  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, the other y":     "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	} {
		for _, sign := range []byte{0, 0x80} {
			raw, err := hex.DecodeString(y)
			require.NoError(t, err)
			raw[31] |= sign
			points[fmt.Sprint(name, " ", sign)] = raw
		}
	}
	for name, public := range points {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.EdDSA, Public: public}}})
			if err != nil {
				require.ErrorContains(t, err, "TokenConfig.Keys[0]")
				return
			}
			// The attack: nobody signs, and one token in a few is good.
			forged := 0
			for n := range 100 {
				sig := string(identity) + strings.Repeat("\x00", 32)
				token := tok64(`{"alg":"EdDSA","typ":"JWT"}`) + "." + tok64(fmt.Sprintf(`{"sub":"admin","exp":4102444800,"n":%d}`, n)) + "." + tok64(sig)
				if _, err := verifier.Verify(token); err == nil {
					forged++
				}
			}
			t.Errorf("no error from NewTokenVerifier, and %d of 100 forged tokens are accepted", forged)
		})
	}
}

// Keys that are good, at the edges of what is.
func TestKeyGood(t *testing.T) {
	t.Parallel()
	good := tokKeys()
	r := good[authkit.RS256].Private.(*rsa.PrivateKey)
	ed := good[authkit.EdDSA].Private.(ed25519.PrivateKey)
	for name, key := range map[string]authkit.Key{
		"HS256 of 32 bytes":                {Algorithm: authkit.HS256, Secret: []byte(testSecret)},
		"HS256 of 1,000 bytes":             {Algorithm: authkit.HS256, Secret: bytes.Repeat([]byte(testSecret), 32)[:1000]},
		"HS256 of 8 different bytes":       {Algorithm: authkit.HS256, Secret: []byte("abcdefghabcdefghabcdefghabcdefgh")},
		"HS256 of any bytes":               {Algorithm: authkit.HS256, Secret: tokDigest("\x00\xff")},
		"HS384 of 48 bytes":                {Algorithm: authkit.HS384, Secret: tokSecret("x")[:48]},
		"HS512 of 64 bytes":                {Algorithm: authkit.HS512, Secret: tokSecret("x")},
		"RS256 with its Public":            {Algorithm: authkit.RS256, Private: r, Public: r.Public()},
		"RS256 with an equal Public":       {Algorithm: authkit.RS256, Private: r, Public: &rsa.PublicKey{N: new(big.Int).Set(r.N), E: r.E}},
		"EdDSA with its Public":            {Algorithm: authkit.EdDSA, Private: ed, Public: ed.Public()},
		"an ID of 128 bytes":               {ID: strings.Repeat("x", 128), Algorithm: authkit.HS256, Secret: []byte(testSecret)},
		"RS256 without precomputed values": {Algorithm: authkit.RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey, D: r.D, Primes: r.Primes}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokAccepted(t, tokVerifier(t, key), tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u"}))
		})
	}
}

// What is changed in a configuration after New changes nothing: New keeps no reference to its slices.
func TestKeysAreCopied(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	public := slices.Clone(ed.Public().(ed25519.PublicKey))
	for name, key := range map[string]authkit.Key{
		"Secret":  {Algorithm: authkit.HS256, Secret: []byte(testSecret)},
		"Private": {Algorithm: authkit.EdDSA, Private: slices.Clone(ed)},
		"Public":  {Algorithm: authkit.EdDSA, Public: public},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := authkit.TokenConfig{Keys: []authkit.Key{key}}
			verifier := tokVerifierFor(t, cfg)
			issuer := tokIssuer(t, authkit.Key{Algorithm: authkit.EdDSA, Private: ed})
			if key.Public == nil {
				issuer = tokIssuerFor(t, cfg)
			}
			switch name {
			case "Secret":
				clear(key.Secret)
			case "Private":
				clear(key.Private.(ed25519.PrivateKey))
			case "Public":
				clear(public)
			}
			cfg.Keys[0] = authkit.Key{}
			token, err := issuer.Issue(authkit.Claims{Subject: "u"})
			require.NoError(t, err)
			_, err = verifier.Verify(token)
			require.NoError(t, err)
			if key.Secret != nil { // both sides may have changed alike
				tokAccepted(t, tokVerifier(t, tokKey), token)
			}
		})
	}
}

// RE-01: who lends a key has it read, not written: it may be in use elsewhere, or in two issuers that
// are made at once. The race detector is what decides.
func TestKeysAreOnlyRead(t *testing.T) {
	t.Parallel()
	r := tokRSA()[0]
	for _, private := range []crypto.Signer{
		r, &rsa.PrivateKey{PublicKey: r.PublicKey, D: r.D, Primes: r.Primes}, // the second as made by hand
		tokKeys()[authkit.ES256].Private, tokKeys()[authkit.EdDSA].Private,
	} {
		key := authkit.Key{Private: private}
		switch private.(type) {
		case *rsa.PrivateKey:
			key.Algorithm = authkit.RS256
		case *ecdsa.PrivateKey:
			key.Algorithm = authkit.ES256
		default:
			key.Algorithm = authkit.EdDSA
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{key}}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// A Key does not show its secret, whoever prints it and how.
func TestKeyRedaction(t *testing.T) {
	t.Parallel()
	const want = `authkit.Key{ID: "k1", Algorithm: "HS256", [redacted]}`
	hs := authkit.Key{ID: "k1", Algorithm: authkit.HS256, Secret: []byte(testSecret)}
	require.Equal(t, want, hs.String())
	secrets := []string{testSecret, fmt.Sprintf("%x", testSecret), fmt.Sprintf("%X", testSecret), fmt.Sprint([]byte(testSecret))}
	var all []authkit.Key
	for _, alg := range tokAlgorithms() {
		key := tokKeys()[alg]
		all = append(all, key)
		if key.Secret != nil {
			secrets = append(secrets, string(key.Secret), fmt.Sprint(key.Secret), fmt.Sprintf("%x", key.Secret))
		}
		switch private := key.Private.(type) {
		case *rsa.PrivateKey:
			secrets = append(secrets, private.D.String(), fmt.Sprintf("%x", private.D), private.Primes[0].String())
		case *ecdsa.PrivateKey:
			raw, err := private.Bytes()
			require.NoError(t, err)
			secrets = append(secrets, new(big.Int).SetBytes(raw).String(), fmt.Sprintf("%x", raw), fmt.Sprint(raw))
		case ed25519.PrivateKey:
			secrets = append(secrets, fmt.Sprint([]byte(private)), fmt.Sprintf("%x", []byte(private)), fmt.Sprint([]byte(private[:32])))
		}
	}
	hidden := func(t *testing.T, text string) {
		t.Helper()
		for _, secret := range secrets {
			require.NotContains(t, text, strings.Trim(secret, "[]"))
		}
	}

	t.Run("fmt", func(t *testing.T) {
		t.Parallel()
		// For %p and %w fmt asks no method, and vet refuses them here.
		for verb := 'A'; verb <= 'z'; verb++ {
			if verb == 'p' || verb == 'w' || verb == 'T' || verb > 'Z' && verb < 'a' {
				continue
			}
			for _, flags := range []string{"", "+", "#", " ", "0", "-40", "40", ".3", "+#"} {
				format := "%" + flags + string(verb)
				require.Equal(t, want, fmt.Sprintf(format, hs), format)
				for _, v := range []any{&hs, []authkit.Key{hs}, [1]authkit.Key{hs}, map[string]authkit.Key{"x": hs}, struct{ K authkit.Key }{hs}} {
					text := fmt.Sprintf(format, v)
					require.Contains(t, text, want, format)
					hidden(t, text)
				}
				hidden(t, fmt.Sprintf(format, all))
				hidden(t, fmt.Sprintf(format, authkit.TokenConfig{Keys: all}))
			}
		}
		require.Equal(t, want, fmt.Sprint(hs))
		require.Equal(t, want+"\n", fmt.Sprintln(hs))
		require.Equal(t, want, fmt.Errorf("%v", hs).Error())
		require.Equal(t, `authkit.Key{ID: "\n\" ", Algorithm: "", [redacted]}`, authkit.Key{ID: "\n\" "}.String())
	})
	t.Run("panic", func(t *testing.T) {
		t.Parallel()
		defer func() { hidden(t, fmt.Sprint(recover())) }()
		panic(hs)
	})
	t.Run("slog", func(t *testing.T) {
		t.Parallel()
		for name, handler := range map[string]func(io.Writer) slog.Handler{
			"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
			"JSON": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		} {
			var b bytes.Buffer
			logger := slog.New(handler(&b))
			logger.Info("x", "key", hs, "pointer", &hs, slog.Group("g", "key", hs))
			require.Equal(t, 3, strings.Count(b.String(), "[redacted]"), name)
			logger.Info("x", "keys", all, "config", authkit.TokenConfig{Keys: all}, "map", map[string]authkit.Key{"k": hs})
			hidden(t, b.String())
		}
	})
	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		for _, v := range []any{hs, &hs, all, authkit.TokenConfig{Keys: all}, map[string]any{"k": hs}} {
			text, err := json.Marshal(v)
			require.ErrorContains(t, err, "a Key is not encoded as JSON")
			hidden(t, string(text)+err.Error())
		}
	})
	t.Run("what is made of it", func(t *testing.T) {
		t.Parallel()
		for _, key := range all {
			cfg := authkit.TokenConfig{Keys: []authkit.Key{key}}
			issuer, verifier := tokIssuerFor(t, cfg), tokVerifierFor(t, cfg)
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
				hidden(t, fmt.Sprintf(format, issuer)+fmt.Sprintf(format, verifier))
			}
		}
	})
	t.Run("errors", func(t *testing.T) {
		t.Parallel()
		short := authkit.Key{Algorithm: authkit.HS512, Secret: []byte(testSecret)}
		_, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{short, {Algorithm: authkit.ES256, Secret: []byte(testSecret)}, {Algorithm: "x", Secret: []byte(testSecret)}}})
		require.Error(t, err)
		hidden(t, err.Error())
	})
}
