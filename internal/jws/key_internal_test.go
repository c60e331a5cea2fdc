package jws

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math"
	"math/big"
	"strings"
	"testing"
)

// Bind refuses a key that has a fault, and does not panic. The tests of package
// authkit have the same faults in the configuration of a program.
func TestBind(t *testing.T) {
	t.Parallel()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherEC, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherEd, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	modulus := func(bits uint, e int) *rsa.PublicKey {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: e}
	}
	over := int64(math.MaxInt32 + 2)
	secret := []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")
	small := bytes.Repeat([]byte{0}, 32)
	small[31] = 0x80 // the sign of x does not matter
	//lint:ignore SA1019 the points have to be wrong ones
	withX, withY := &ecdsa.PublicKey{Curve: elliptic.P256(), X: ec.X}, &ecdsa.PublicKey{Curve: elliptic.P256(), Y: ec.Y}
	//lint:ignore SA1019 the point has to be a wrong one
	off := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}
	for name, tc := range map[string]struct {
		key  Key
		want string // in the error; empty: none
	}{
		"HS256":                   {Key{Algorithm: HS256, Secret: secret}, ""},
		"an ID of 128 bytes":      {Key{ID: strings.Repeat("x", 128), Algorithm: HS256, Secret: secret}, ""},
		"an ID of 129 bytes":      {Key{ID: strings.Repeat("x", 129), Algorithm: HS256, Secret: secret}, "the ID"},
		"an ID that is not UTF-8": {Key{ID: "\xff", Algorithm: HS256, Secret: secret}, "the ID"},
		"no algorithm":            {Key{Secret: secret}, "no Algorithm"},
		"none":                    {Key{Algorithm: "none", Secret: secret}, "unknown Algorithm"},
		"HS256 and Private":       {Key{Algorithm: HS256, Secret: secret, Private: ed}, "takes a Secret"},
		"HS256 and Public":        {Key{Algorithm: HS256, Secret: secret, Public: edPublic}, "takes a Secret"},
		"HS256 of 31 bytes":       {Key{Algorithm: HS256, Secret: secret[:31]}, "31 bytes"},
		"HS384 of 32 bytes":       {Key{Algorithm: HS384, Secret: secret}, "at least 48"},
		"HS256 of few bytes":      {Key{Algorithm: HS256, Secret: []byte(strings.Repeat("abcdefg", 9))}, "only 7 different"},
		"HS256 of enough bytes":   {Key{Algorithm: HS256, Secret: []byte(strings.Repeat("abcdefgh", 4))}, ""},
		"EdDSA and a secret":      {Key{Algorithm: EdDSA, Secret: secret, Private: ed}, "not a Secret"},
		"EdDSA without a key":     {Key{Algorithm: EdDSA}, "needs Private to sign"},
		"EdDSA":                   {Key{Algorithm: EdDSA, Private: ed}, ""},
		"EdDSA, both":             {Key{Algorithm: EdDSA, Private: ed, Public: edPublic}, ""},
		"EdDSA, public":           {Key{Algorithm: EdDSA, Public: edPublic}, ""},
		"EdDSA, another public":   {Key{Algorithm: EdDSA, Private: ed, Public: otherEd}, "belong to Private"},
		"EdDSA, another kind":     {Key{Algorithm: EdDSA, Private: ed, Public: ec.Public()}, "belong to Private"},
		"EdDSA, short":            {Key{Algorithm: EdDSA, Private: ed25519.PrivateKey(bytes.Clone(ed[:31]))}, "whole"},
		"EdDSA, very short":       {Key{Algorithm: EdDSA, Private: ed25519.PrivateKey(bytes.Clone(ed[:5]))}, "whole"},
		"EdDSA, another seed":     {Key{Algorithm: EdDSA, Private: append(ed[:32:32], otherEd...)}, "whole"},
		"EdDSA, public, short":    {Key{Algorithm: EdDSA, Public: edPublic[:31]}, "whole"},
		"EdDSA, of a small order": {Key{Algorithm: EdDSA, Public: ed25519.PublicKey(small)}, "whole"},
		"EdDSA with ECDSA":        {Key{Algorithm: EdDSA, Public: ec.Public()}, "an Ed25519 key"},
		"ES256":                   {Key{Algorithm: ES256, Private: ec}, ""},
		"ES256, both":             {Key{Algorithm: ES256, Private: ec, Public: ec.Public()}, ""},
		"ES256, public":           {Key{Algorithm: ES256, Public: ec.Public()}, ""},
		"ES256, another public":   {Key{Algorithm: ES256, Private: ec, Public: otherEC.Public()}, "belong to Private"},
		"ES256, public, nil":      {Key{Algorithm: ES256, Public: (*ecdsa.PublicKey)(nil)}, "whole"},
		"ES256, both, nil":        {Key{Algorithm: ES256, Private: ec, Public: (*ecdsa.PublicKey)(nil)}, "belong to Private"},
		"ES256, both, zero":       {Key{Algorithm: ES256, Private: ec, Public: &ecdsa.PublicKey{Curve: elliptic.P256()}}, "belong to Private"},
		"ES256, no y":             {Key{Algorithm: ES256, Public: withX}, "whole"},
		"ES256, no x":             {Key{Algorithm: ES256, Public: withY}, "whole"},
		"ES256, off the curve":    {Key{Algorithm: ES256, Public: off}, "not a point"},
		"ES256 on P-384":          {Key{Algorithm: ES256, Private: p384}, "P-256"},
		"ES256, public, on P-384": {Key{Algorithm: ES256, Public: p384.Public()}, "P-256"},
		"ES256, nil":              {Key{Algorithm: ES256, Private: (*ecdsa.PrivateKey)(nil)}, "whole"},
		"ES256, zero":             {Key{Algorithm: ES256, Private: &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P256()}}}, "whole"},
		"ES256 without a scalar":  {Key{Algorithm: ES256, Private: &ecdsa.PrivateKey{PublicKey: ec.PublicKey}}, "whole"},
		//lint:ignore SA1019 the key has to be a wrong one
		"ES256 without a point": {Key{Algorithm: ES256, Private: &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P256()}, D: ec.D}}, "whole"},
		//lint:ignore SA1019 the key has to be a wrong one
		"ES256, another point":     {Key{Algorithm: ES256, Private: &ecdsa.PrivateKey{PublicKey: otherEC.PublicKey, D: ec.D}}, "whole"},
		"ES256 with Ed25519":       {Key{Algorithm: ES256, Public: edPublic}, "P-256"},
		"RS256":                    {Key{Algorithm: RS256, Private: r}, ""},
		"PS256":                    {Key{Algorithm: PS256, Private: r}, ""},
		"RS256, both":              {Key{Algorithm: RS256, Private: r, Public: r.Public()}, ""},
		"RS256, another public":    {Key{Algorithm: RS256, Private: r, Public: modulus(2048, 65537)}, "belong to Private"},
		"RS256, both, nil":         {Key{Algorithm: RS256, Private: r, Public: (*rsa.PublicKey)(nil)}, "belong to Private"},
		"RS256, both, zero":        {Key{Algorithm: RS256, Private: r, Public: &rsa.PublicKey{}}, "belong to Private"},
		"RS256, nil":               {Key{Algorithm: RS256, Private: (*rsa.PrivateKey)(nil)}, "whole"},
		"RS256, zero":              {Key{Algorithm: RS256, Private: &rsa.PrivateKey{}}, "whole"},
		"RS256 without an inverse": {Key{Algorithm: RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey, Primes: r.Primes}}, "whole"},
		"RS256, another inverse":   {Key{Algorithm: RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey, D: big.NewInt(5), Primes: r.Primes}}, "whole"},
		"RS256, one prime":         {Key{Algorithm: RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey, D: r.D, Primes: r.Primes[:1]}}, "whole"},
		"RS256, a prime is nil":    {Key{Algorithm: RS256, Private: &rsa.PrivateKey{PublicKey: r.PublicKey, D: r.D, Primes: []*big.Int{r.Primes[0], nil}}}, "whole"},
		"RS256, public, nil":       {Key{Algorithm: RS256, Public: (*rsa.PublicKey)(nil)}, "whole"},
		"RS256, no modulus":        {Key{Algorithm: RS256, Public: &rsa.PublicKey{E: 65537}}, "whole"},
		"RS256 with ECDSA":         {Key{Algorithm: RS256, Public: ec.Public()}, "an RSA key"},
		"ES256 with RSA":           {Key{Algorithm: ES256, Public: r.Public()}, "P-256"},
		"RS256 with another type":  {Key{Algorithm: RS256, Public: "PEM"}, "an RSA key"},
		"RS256, a signer":          {Key{Algorithm: RS256, Private: struct{ crypto.Signer }{r}}, "an RSA key"},
		"RSA of 2047 bits":         {Key{Algorithm: RS256, Public: modulus(2047, 65537)}, "2047 bits"},
		"RSA of 8192 bits":         {Key{Algorithm: PS256, Public: modulus(8192, 65537)}, ""},
		"RSA of 8193 bits":         {Key{Algorithm: RS256, Public: modulus(8193, 65537)}, "8193 bits"},
		"exponent 1":               {Key{Algorithm: RS256, Public: modulus(2048, 1)}, "exponent 1"},
		"exponent 3":               {Key{Algorithm: RS256, Public: modulus(2048, 3)}, ""},
		"exponent 2^31-1":          {Key{Algorithm: RS256, Public: modulus(2048, math.MaxInt32)}, ""},
		"exponent over 2^31":       {Key{Algorithm: RS256, Public: modulus(2048, int(over))}, "exponent"},
		"an even exponent":         {Key{Algorithm: RS256, Public: modulus(2048, 65538)}, "exponent 65538"},
	} {
		b, err := Bind(tc.key)
		switch {
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || b != nil):
			t.Errorf("%s: %v, %v", name, b, err)
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.want == "" && b.CanSign():
			set := NewSet([]*BoundKey{b})
			token, err := set.SignAs("x", []byte("{}"))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got, err := set.OpenAs("x", token); err != nil || string(got) != "{}" {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			if b.public != nil && !samePublic(b.public, b.Public()) {
				t.Errorf("%s: Public returns another key", name)
			}
		}
	}
}

// A key is the same with the same ID, algorithm, material and abilities.
func TestBoundKeysEqual(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, another := []byte(strings.Repeat("0d7fa9c4e1b2835f96a0c7d4e8b1f352", 2)), []byte(strings.Repeat("1d7fa9c4e1b2835f96a0c7d4e8b1f352", 2))
	keys := []Key{
		{Algorithm: HS256, Secret: secret}, {ID: "a", Algorithm: HS256, Secret: secret}, {Algorithm: HS384, Secret: secret}, {Algorithm: HS256, Secret: another},
		{Algorithm: EdDSA, Private: private}, {ID: "a", Algorithm: EdDSA, Private: private}, {Algorithm: EdDSA, Public: public}, {Algorithm: EdDSA, Public: other},
	}
	for i, k := range keys {
		for j, l := range keys {
			if equal := setOf(t, k).Equal(setOf(t, l)); equal != (i == j) {
				t.Errorf("the keys %d and %d: %v", i, j, equal)
			}
		}
	}
}

// A secret that everyone can read is none.
func TestCheckSecret(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	r := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 2047), big.NewInt(1)), E: 65537}
	std, url := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	odd := append([]byte{0x30}, bytes.Repeat([]byte{0xfb, 0xef, 0xbe, 1, 2, 3, 4, 5, 6, 7}, 7)...) // whose base64 has a plus and a hyphen
	spring, err := hex.DecodeString("404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970")
	if err != nil {
		t.Fatal(err)
	}
	const published = "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"
	of64, err := base64.StdEncoding.DecodeString(published)
	if err != nil {
		t.Fatal(err)
	}
	word, err := base64.StdEncoding.DecodeString("changeme")
	if err != nil {
		t.Fatal(err)
	}
	const tail = "0d7fa9c4e1b2835f96a0c7d4e8b1f352"
	for name, tc := range map[string]struct{ secret, want string }{
		"a tutorial":             {published, "tutorials"},
		"a tutorial in upper":    {strings.ToUpper(published), "tutorials"},
		"a tutorial from hex":    {string(spring), "tutorials"},
		"a tutorial from base64": {string(of64), "tutorials"},
		"a word in base64":       {string(word) + tail, ""},
		"a certificate":          {"-----BEGIN CERTIFICATE-----\n" + tail, "a certificate"},
		"a trusted certificate":  {"-----BEGIN TRUSTED CERTIFICATE-----\n" + tail, "a certificate"},
		"a public key":           {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})), "a public key"},
		"a private key":          {"-----BEGIN PRIVATE KEY-----\n" + tail, ""},
		"words":                  {"my PUBLIC KEY is not in here, of course", ""},
		"a line of SSH":          {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7Rv0S3wYJ0v0m8l5bq5H2z6dJYl0h1vQJ7xGq3TtQe ann@host", "SSH"},
		"DER":                    {string(pkix), "a public key"},
		"DER of PKCS #1":         {string(x509.MarshalPKCS1PublicKey(r)), "a public key"},
		"DER of a certificate":   {string(certificate), "a certificate"},
		"DER in base64":          {std(pkix), "a public key"},
		"certificate in base64":  {std(certificate), "a certificate"},
		"DER in base64url":       {url(certificate), "a certificate"},
		"other DER":              {string(odd), ""},
		"other DER in base64":    {std(odd), ""},
		"other DER in base64url": {url(odd), ""},
		"a JWK":                  {`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "JSON Web Key"},
		"a key set":              {`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapi"}]}`, "JSON Web Key"},
		"a secret JWK":           {`{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}`, ""},
		"a private JWK":          {`{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`, ""},
		"another object":         {`{"secret":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}`, ""},
		"random":                 {tail, ""},
	} {
		err := CheckSecret([]byte(tc.secret), 32)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
