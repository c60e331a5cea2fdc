package jwks_test

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
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/jwks"
)

var asymmetric = []authkit.Algorithm{authkit.RS256, authkit.PS256, authkit.ES256, authkit.EdDSA}

// generated are keys of every algorithm, made once: making an RSA key takes a while.
var generated = sync.OnceValue(func() map[authkit.Algorithm]authkit.Key {
	keys := make(map[authkit.Algorithm]authkit.Key)
	for _, alg := range append([]authkit.Algorithm{authkit.HS256, authkit.HS384, authkit.HS512}, asymmetric...) {
		k, err := jwks.GenerateKey(alg)
		if err != nil {
			panic(err)
		}
		keys[alg] = k
	}
	return keys
})

func newRing(t testing.TB, keys ...authkit.Key) *authkit.KeyRing {
	t.Helper()
	r, err := authkit.NewKeyRing(keys...)
	require.NoError(t, err)
	return r
}

// maxLife is longer than that of longToken.
const maxLife = 10 * 366 * 24 * time.Hour

func verifierOf(t testing.TB, ring *authkit.KeyRing) *authkit.TokenVerifier {
	t.Helper()
	v, err := authkit.NewTokenVerifier(authkit.TokenConfig{Ring: ring, MaxLifetime: maxLife})
	require.NoError(t, err)
	return v
}

// issue returns a token that a key signed.
func issue(t testing.TB, key authkit.Key) string {
	t.Helper()
	i, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{key}})
	require.NoError(t, err)
	token, err := i.Issue(authkit.Claims{Subject: "u"})
	require.NoError(t, err)
	return token
}

// served returns what a handler answers to GET.
func served(t testing.TB, h http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w
}

func decode64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func TestGenerateKey(t *testing.T) {
	t.Parallel()
	for alg, k := range generated() {
		require.Equal(t, alg, k.Algorithm)
		require.NotEmpty(t, k.ID)
		verifier := verifierOf(t, newRing(t, k))
		_, err := verifier.Verify(issue(t, k))
		require.NoError(t, err)
		if private, ok := k.Private.(*rsa.PrivateKey); ok {
			require.Equal(t, 3072, private.N.BitLen())
		}
		require.Len(t, k.Secret, map[authkit.Algorithm]int{authkit.HS256: 32, authkit.HS384: 48, authkit.HS512: 64}[alg])
	}
	a, err := jwks.GenerateKey(authkit.HS512)
	require.NoError(t, err)
	b := generated()[authkit.HS512]
	require.Len(t, a.Secret, 64)
	require.NotEqual(t, a.ID, b.ID)
	require.NotEqual(t, a.Secret, b.Secret)
	for _, alg := range []authkit.Algorithm{"", "none", "ES384", "es256"} {
		_, err := jwks.GenerateKey(alg)
		require.ErrorContains(t, err, "unknown algorithm")
	}
}

// TK-15: a key that was generated comes out of the served set as the same key, without what signs.
func TestServedKeysParseBack(t *testing.T) {
	t.Parallel()
	var keys []authkit.Key
	for _, alg := range asymmetric {
		keys = append(keys, generated()[alg])
	}
	keys = append(keys, generated()[authkit.HS256])
	body := served(t, jwks.Handler(newRing(t, keys...))).Body.Bytes()
	parsed, skipped, err := jwks.ParseSet(body)
	require.Empty(t, skipped)
	require.NoError(t, err)
	require.Len(t, parsed, len(asymmetric))
	for i, alg := range asymmetric {
		require.Equal(t, authkit.Key{ID: keys[i].ID, Algorithm: alg, Public: keys[i].Public}, parsed[i])
		_, err := verifierOf(t, newRing(t, parsed...)).Verify(issue(t, keys[i]))
		require.NoError(t, err)
		_, err = verifierOf(t, newRing(t, parsed[(i+1)%len(parsed)])).Verify(issue(t, keys[i]))
		require.ErrorIs(t, err, authkit.ErrInvalidToken)
	}

	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(body, &set))
	members := map[string][]string{"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}}
	for i, k := range set.Keys {
		require.Equal(t, "sig", k["use"])
		require.Equal(t, string(asymmetric[i]), k["alg"])
		require.Equal(t, keys[i].ID, k["kid"])
		require.Len(t, k, 4+len(members[k["kty"].(string)]), "nothing but the public members")
		for _, name := range members[k["kty"].(string)] {
			require.NotEmpty(t, k[name])
		}
	}
	require.NotContains(t, string(body), encode64(generated()[authkit.HS256].Secret))
}

// requireSameKey compares what two keys mean: RSA keys that are equal can hold numbers of
// different lengths, since a zero in front is kept or not.
func requireSameKey(t *testing.T, want, got authkit.Key) {
	t.Helper()
	equal := want.Private.(interface{ Equal(crypto.PrivateKey) bool }).Equal
	require.True(t, equal(got.Private), "the private keys differ")
	want.Private, got.Private = nil, nil
	require.Equal(t, want, got)
}

func TestPEM(t *testing.T) {
	t.Parallel()
	for _, alg := range asymmetric {
		k := generated()[alg]
		text, err := jwks.MarshalPEM(k)
		require.NoError(t, err)
		require.Contains(t, string(text), "BEGIN PRIVATE KEY")
		parsed, err := jwks.ParsePEM(append([]byte("a comment\n"), text...))
		require.NoError(t, err)
		if alg == authkit.PS256 {
			require.Equal(t, authkit.RS256, parsed.Algorithm)
			parsed.Algorithm = alg
		}
		requireSameKey(t, k, parsed)

		text, err = jwks.MarshalPEM(authkit.Key{Algorithm: alg, Public: k.Public})
		require.NoError(t, err)
		require.Contains(t, string(text), "BEGIN PUBLIC KEY")
		parsed, err = jwks.ParsePEM(text)
		require.NoError(t, err)
		require.Nil(t, parsed.Private)
		require.Equal(t, k.Public, parsed.Public)
		require.Equal(t, k.ID, parsed.ID)
	}

	rsaKey := generated()[authkit.RS256].Private.(*rsa.PrivateKey)
	ec := generated()[authkit.ES256].Private.(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(ec)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(p384)
	require.NoError(t, err)
	x25519, err := x509.MarshalPKIXPublicKey(func() any { k, _ := ec.PublicKey.ECDH(); return k }())
	require.NoError(t, err)
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	parameters := block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7})
	one := block("EC PRIVATE KEY", sec1)
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("x"),
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}})
	for _, tc := range []struct {
		name string
		text []byte
		want string // in the error; empty: none
	}{
		{"SEC 1", one, ""},
		{"SEC 1 as OpenSSL writes it", append(parameters, one...), ""},
		{"PKCS #1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), ""},
		{"PKCS #1, public", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)), ""},
		{"the curve of an agreement is that of a signature", block("PUBLIC KEY", x25519), ""},
		{"nothing", nil, "no PEM block"},
		{"parameters alone", block("EC PARAMETERS", nil), "no PEM block"},
		{"DER", sec1, "no PEM block"},
		{"two", append(bytes.Clone(one), one...), "more than one"},
		{"one and a half", append(bytes.Clone(one), "-----BEGIN X"...), "more than one"},
		{"too long", append(bytes.Repeat([]byte("\n"), 64<<10), one...), "more than 65536 bytes"},
		{"encrypted", block("ENCRYPTED PRIVATE KEY", []byte("x")), "an encrypted key"},
		{"encrypted in the old way", legacy, "an encrypted key"},
		{"a certificate", block("CERTIFICATE", []byte("x")), "a certificate"},
		{"something else", block("OPENSSH PRIVATE KEY", []byte("x")), "no key"},
		{"as long as can be", append(bytes.Repeat([]byte("\n"), 64<<10-len(one)), one...), ""},
		{"a byte too long", append(bytes.Repeat([]byte("\n"), 64<<10+1-len(one)), one...), "more than 65536 bytes"},
		{"broken", block("PRIVATE KEY", []byte("x")), "a broken PRIVATE KEY"},
		{"P-384", block("PRIVATE KEY", pkcs8), "P-256"},
		{"RSA of 1024 bits", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 1023), big.NewInt(1)), E: 65537})), "1024 bits"},
	} {
		_, err := jwks.ParsePEM(tc.text)
		if tc.want == "" {
			require.NoError(t, err, tc.name)
		} else {
			require.ErrorContains(t, err, tc.want, tc.name)
			require.ErrorContains(t, err, "jwks: ", tc.name)
		}
	}

	_, err = jwks.MarshalPEM(generated()[authkit.HS256])
	require.ErrorContains(t, err, "no PEM form")
	_, err = jwks.MarshalPEM(authkit.Key{Algorithm: authkit.ES256})
	require.ErrorContains(t, err, "needs Private")
}

// The key of RFC 7638 section 3.1 and RFC 7517 appendix A.1.
const rfcRSA = `"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"`

func TestRFCVectors(t *testing.T) {
	t.Parallel()
	thumbprint := func(k authkit.Key) string {
		text, err := jwks.MarshalPEM(k)
		require.NoError(t, err)
		parsed, err := jwks.ParsePEM(text)
		require.NoError(t, err)
		return parsed.ID
	}
	k, err := jwks.ParseKey([]byte("{" + rfcRSA + "}"))
	require.NoError(t, err)
	require.Equal(t, "2011-04-29", k.ID)
	require.Equal(t, authkit.RS256, k.Algorithm)
	require.Equal(t, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", thumbprint(k), "RFC 7638 section 3.1")

	// RFC 7517 appendix A.1: the first key is for encryption.
	const ec = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}`
	keys, skipped, err := jwks.ParseSet([]byte(`{"keys":[` + ec + `,{` + rfcRSA + `}]}`))
	require.NoError(t, err)
	require.Empty(t, skipped)
	require.Equal(t, []authkit.Key{k}, keys)
	_, err = jwks.ParseKey([]byte(ec))
	require.ErrorContains(t, err, `use "enc"`)
	kec, err := jwks.ParseKey([]byte(strings.Replace(ec, `"enc"`, `"sig"`, 1)))
	require.NoError(t, err)
	require.Equal(t, authkit.ES256, kec.Algorithm)

	// RFC 8037 appendices A.1 to A.4.
	const okp = `"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	private, err := jwks.ParseKey([]byte(`{` + okp + `,"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`))
	require.NoError(t, err)
	require.Equal(t, authkit.EdDSA, private.Algorithm)
	require.Equal(t, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", hex.EncodeToString(private.Private.(ed25519.PrivateKey).Seed()))
	public, err := jwks.ParseKey([]byte(`{` + okp + `}`))
	require.NoError(t, err)
	require.Equal(t, private.Public, public.Public)
	require.Equal(t, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", thumbprint(public), "RFC 8037 appendix A.3")
	signed := "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
	sig := decode64(t, "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	require.True(t, ed25519.Verify(public.Public.(ed25519.PublicKey), []byte(signed), sig))

	// RFC 7515 appendix A.1: a secret that everyone has (FR-19).
	const rfcSecret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
	_, err = jwks.ParseKey([]byte(`{"kty":"oct","alg":"HS256","k":"` + rfcSecret + `"}`))
	require.ErrorContains(t, err, "tutorials")
	hs, err := jwks.ParseKey([]byte(`{"kty":"oct","alg":"HS256","k":"` + strings.Replace(rfcSecret, "y", "z", 1) + `"}`))
	require.NoError(t, err)
	require.Len(t, hs.Secret, 64)
}

// privateJWK returns the private JWK of a key, as others write it.
func privateJWK(t testing.TB, k authkit.Key) string {
	t.Helper()
	m := map[string]any{"kid": k.ID, "alg": k.Algorithm, "use": "sig", "key_ops": []string{"sign"}}
	switch private := k.Private.(type) {
	case *rsa.PrivateKey:
		m["kty"], m["n"], m["e"] = "RSA", encode64(private.N.Bytes()), "AQAB"
		m["d"], m["p"], m["q"] = encode64(private.D.Bytes()), encode64(private.Primes[0].Bytes()), encode64(private.Primes[1].Bytes())
	case *ecdsa.PrivateKey:
		point, _ := private.PublicKey.Bytes()
		d, _ := private.Bytes()
		m["kty"], m["crv"], m["x"], m["y"], m["d"] = "EC", "P-256", encode64(point[1:33]), encode64(point[33:]), encode64(d)
	case ed25519.PrivateKey:
		m["kty"], m["crv"], m["x"], m["d"] = "OKP", "Ed25519", encode64(private.Public().(ed25519.PublicKey)), encode64(private.Seed())
	default:
		m["kty"], m["k"] = "oct", encode64(k.Secret)
	}
	text, err := json.Marshal(m)
	require.NoError(t, err)
	return string(text)
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	for alg, k := range generated() {
		text := privateJWK(t, k)
		parsed, err := jwks.ParseKey([]byte(text))
		require.NoError(t, err, alg)
		_, err = verifierOf(t, newRing(t, k)).Verify(issue(t, parsed))
		require.NoError(t, err, alg)
		require.Equal(t, k.ID, parsed.ID)

		// What somebody else serves is public, whatever else it says.
		for _, set := range []string{
			text, strings.Replace(text, `"sig"`, `"enc"`, 1), strings.Replace(text, string(alg), "ECDH-ES", 1), strings.Replace(text, `"kty":"`, `"kty":"X`, 1),
		} {
			keys, skipped, err := jwks.ParseSet([]byte(`{"keys":[` + set + `]}`))
			require.NoError(t, err)
			require.Empty(t, keys)
			require.Len(t, skipped, 1)
			require.ErrorContains(t, skipped[0], "entry 0: a secret", alg)
		}
		// A private part of another key.
		if k.Secret == nil {
			at := strings.Index(text, `"d":"`) + 5
			_, err = jwks.ParseKey([]byte(text[:at] + strings.Map(func(r rune) rune { return r ^ 1 }, text[at:at+1]) + text[at+1:]))
			require.Error(t, err, alg)
			for _, d := range []string{`""`, `1`, `"AA"`, `"` + strings.Repeat("_", 1400) + `"`, `null`} {
				end := at + strings.IndexByte(text[at:], '"') + 1
				_, err = jwks.ParseKey([]byte(text[:at-1] + d + text[end:]))
				require.Error(t, err, "%s %s", alg, d)
			}
		}
	}
	oct := encode64(generated()[authkit.HS256].Secret)
	long := `{"kty":"oct","alg":"HS256","k":"` + oct + `"}`
	_, err := jwks.ParseKey([]byte(long + strings.Repeat(" ", 64<<10-len(long))))
	require.NoError(t, err)
	_, err = jwks.ParseKey([]byte(long + strings.Repeat(" ", 64<<10+1-len(long))))
	require.ErrorContains(t, err, "a key of 65537 bytes")
	_, err = jwks.ParseKey([]byte(strings.Replace(privateJWK(t, generated()[authkit.RS256]), `{`, `{"oth":[],`, 1)))
	require.ErrorContains(t, err, "more than two primes")
	es := generated()[authkit.ES256]
	_, err = jwks.ParseKey([]byte(regexp.MustCompile(`"d":"[^"]*"`).ReplaceAllString(privateJWK(t, es), `"d":"AA"`)))
	require.ErrorContains(t, err, `"d" is not a private key of P-256`)
	for _, text := range []string{
		``, `null`, `[]`, `{}`, `{"kty":"RSA"}`, `{"kty":"oct","k":"` + oct + `"}`, `{"kty":"oct","alg":"HS512","k":"` + oct + `"}`,
		`{"kty":"oct","alg":"ES256","k":"` + oct + `"}`, `{"kty":"oct","alg":"none","k":"` + oct + `"}`, `{"kty":"oct","alg":"HS256","k":"` + oct + `="}`,
		`{"kty":"oct","alg":"HS256","k":"` + oct[:8] + `\n` + oct[8:] + `"}`, `{"kty":"oct","alg":"HS256","K":"` + oct + `"}`,
		`{"kty":"oct","alg":"HS256","k":"` + oct + `","kid":""}`, `{"kty":"oct","alg":"HS256","k":"` + oct + `","kid":7}`,
		`{"kty":"oct","alg":"HS256","k":"` + oct + `","kid":"` + strings.Repeat("x", 129) + `"}`,
		`{"kty":"oct","alg":"HS256","k":"` + oct + `","key_ops":["encrypt"]}`, `{"kty":"oct","alg":"HS256","k":"` + oct + `","key_ops":"sign"}`,
		`{"kty":"oct","alg":"HS256","k":"` + oct + `","k":"` + oct + `"}`, `{"kty":"oct","alg":"HS256","k":"` + oct + `"}{}`,
		`{"kty":"oct","alg":"HS256","k":"` + oct + `"` + strings.Repeat(" ", 64<<10) + `}`,
		`{` + rfcRSA + `,"use":"enc"}`, `{` + rfcRSA + `,"d":"AQAB","p":"AQAB","q":"AQAB","oth":[]}`, `{` + rfcRSA + `,"d":"AQAB"}`,
	} {
		_, err := jwks.ParseKey([]byte(text))
		require.ErrorContains(t, err, "jwks: ", text)
	}
}

// TK-14, FR-17: what somebody else serves is taken, or left out and reported.
func TestParseSet(t *testing.T) {
	t.Parallel()
	public := func(alg authkit.Algorithm, kid string) string {
		k := generated()[alg]
		k.ID = kid
		body := served(t, jwks.Handler(newRing(t, k))).Body.String()
		body = strings.TrimSuffix(strings.TrimPrefix(body, `{"keys":[`), "]}\n")
		return body
	}
	rs, es, ed := public(authkit.RS256, "r"), public(authkit.ES256, "e"), public(authkit.EdDSA, "d")
	with := func(key, old, new string) string {
		require.Contains(t, key, old)
		return strings.Replace(key, old, new, 1)
	}
	several := func(n int, form string) (keys []string) {
		for i := range n {
			keys = append(keys, with(form, `"kid":"d"`, fmt.Sprintf(`"kid":"%d"`, i)))
		}
		return keys
	}
	modulus := func(bits uint) string {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return encode64(n.Add(n, big.NewInt(1)).Bytes())
	}
	weak := func(n, e string) string { return `{"kty":"RSA","kid":"w","n":"` + n + `","e":"` + e + `"}` }
	skipped := with(ed, `"use":"sig"`, `"use":"enc"`)
	x := strings.Split(strings.Split(es, `"x":"`)[1], `"`)[0]
	y := strings.Split(strings.Split(es, `"y":"`)[1], `"`)[0]
	const small = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

	for _, tc := range []struct {
		name string
		keys []string
		want int    // how many are taken
		err  string // why the first one that is reported is not
	}{
		{"none", nil, 0, ""},
		{"one", []string{rs}, 1, ""},
		{"of each kind", []string{rs, es, ed, public(authkit.PS256, "p")}, 4, ""},
		{"one without kid", []string{with(ed, `"kid":"d",`, "")}, 1, ""},
		{"one without alg or use", []string{with(with(ed, `"alg":"EdDSA",`, ""), `"use":"sig",`, "")}, 1, ""},
		{"members that are not known", []string{with(ed, `{`, `{"x5c":["AAAA"],"x5u":"http://127.0.0.1/","ext":true,"ALG":1,`)}, 1, ""},
		{"to verify", []string{with(ed, `{`, `{"key_ops":["verify"],`)}, 1, ""},
		{"100", several(100, ed), 100, ""},
		{"100, some for encryption", append(several(16, ed), several(84, skipped)...), 16, ""},
		{"alg of RFC 9864", []string{with(ed, "EdDSA", "Ed25519")}, 1, ""}, // FR-18

		{"for encryption", []string{skipped, es}, 1, ""},
		{"for encryption under the same kid", []string{with(ed, `"use":"sig"`, `"use":"enc"`), ed}, 1, ""},
		{"for encryption, both without kid", []string{with(ed, `"kid":"d",`, ""), with(with(es, `"kid":"e",`, ""), `"use":"sig"`, `"use":"enc"`)}, 1, ""},
		{"for another use", []string{with(ed, `"use":"sig"`, `"use":"x"`)}, 0, ""},
		{"for no use", []string{with(ed, `"use":"sig"`, `"use":""`)}, 0, ""},
		{"to encrypt", []string{with(ed, `{`, `{"key_ops":["encrypt"],`)}, 0, ""},
		{"for nothing", []string{with(ed, `{`, `{"key_ops":[],`)}, 0, ""},
		{"another kty", []string{`{"kty":"AKP","alg":"ML-DSA-65","pub":"AAAA"}`, ed}, 1, `entry 0: alg "ML-DSA-65"`},
		{"a crv of another kty", []string{with(es, `"EC"`, `"OKP"`), with(ed, `"OKP"`, `"EC"`)}, 0, `entry 0: kty "OKP" with crv "P-256"`},
		{"another crv", []string{with(with(es, "P-256", "P-521"), "ES256", "ES512"), with(ed, "Ed25519", "X25519"), rs}, 1, `entry 0: alg "ES512"`},
		{"another crv without alg", []string{with(with(es, "P-256", "secp256k1"), `"alg":"ES256",`, "")}, 0, `crv "secp256k1"`},
		{"another alg", []string{with(rs, "RS256", "RS512"), with(rs, "RS256", "RSA-OAEP"), es}, 1, `entry 0: alg "RS512"`},
		{"null as alg", []string{with(es, `"ES256"`, `null`)}, 0, `"alg" is not a string`},
		{"none as alg", []string{with(es, "ES256", "none")}, 0, `alg "none"`},

		{"secret", []string{ed, `{"kty":"oct","k":"AAAA","alg":"HS256"}`}, 1, "entry 1: a secret"},
		{"secret, without k", []string{`{"kty":"oct","alg":"HS256"}`}, 0, "a secret"},
		{"secret, for encryption", []string{`{"kty":"oct","k":"AAAA","use":"enc"}`}, 0, "a secret"},
		{"private", []string{ed, with(ed, `{`, `{"d":"AAAA",`)}, 1, "entry 1: a secret or private"},
		{"private, with an empty d", []string{with(ed, `{`, `{"d":null,`)}, 0, "a secret or private"},
		{"two of one kid", []string{es, with(ed, `"d"`, `"e"`)}, 1, "entry 1: the kid of an earlier one"},
		{"two without kid", []string{with(ed, `"kid":"d",`, ""), with(es, `"kid":"e",`, "")}, 1, "entry 1: "},
		{"the first without kid", []string{with(ed, `"kid":"d",`, ""), es}, 2, ""},
		{"the second without kid", []string{ed, with(es, `"kid":"e",`, "")}, 2, ""},
		{"an empty kid", []string{with(ed, `"d"`, `""`)}, 0, "kid"},
		{"a long kid", []string{with(ed, `"d"`, `"`+strings.Repeat("x", 129)+`"`)}, 0, "the ID"},
		{"a kid that is no text", []string{with(ed, `"d"`, `7`)}, 0, `"kid" is not a string`},
		{"a kty that is no text", []string{with(ed, `"OKP"`, `["OKP"]`)}, 0, `"kty"`},
		{"no kty", []string{with(ed, `"kty":"OKP",`, "")}, 0, "no kty"},
		{"a name twice", []string{with(ed, `{`, `{"kid":"d",`)}, 0, "twice"},
		{"a name twice, escaped", []string{with(ed, `{`, `{"k\u0069d":"d",`)}, 0, "twice"},
		{"another alg for the key", []string{with(rs, "RS256", "ES256")}, 0, "entry 0: "},
		{"an HS alg for the key", []string{with(rs, "RS256", "HS256")}, 0, "entry 0: "},
		{"EdDSA on P-256", []string{with(es, "ES256", "EdDSA")}, 0, "entry 0: "},
		{"RSA of 1024 bits", []string{es, weak(modulus(1024), "AQAB"), ed}, 2, "entry 1: "},
		{"RSA of 2048 bits", []string{weak(modulus(2048), "AQAB")}, 1, ""},
		{"RSA of 8192 bits", []string{weak(modulus(8192), "AQAB")}, 1, ""},
		{"RSA with exponent 3", []string{weak(modulus(2048), "Aw")}, 1, ""},
		{"RSA with exponent 2^31 - 1", []string{weak(modulus(2048), "f____w")}, 1, ""},
		{"RSA of 2047 bits", []string{weak(modulus(2047), "AQAB")}, 0, "2047 bits"},
		{"RSA of 8193 bits", []string{weak(modulus(8193), "AQAB")}, 0, "1024 bytes"},
		{"RSA with exponent 1", []string{weak(modulus(2048), "AQ")}, 0, "exponent 1"},
		{"RSA with exponent 2", []string{weak(modulus(2048), "Ag")}, 0, "exponent 2"},
		{"RSA with exponent 65536", []string{weak(modulus(2048), "AQAA")}, 0, "exponent 65536"},
		{"RSA with exponent 2^32 + 1", []string{weak(modulus(2048), "AQAAAAE")}, 0, "exponent above"},
		{"RSA with exponent 2^64 + 3", []string{weak(modulus(2048), "AQAAAAAAAAAD")}, 0, "exponent above"},
		{"RSA without exponent", []string{weak(modulus(2048), "")}, 0, `"e" is missing`},
		{"a point off the curve", []string{with(es, x, small)}, 0, "not a point"},
		{"a short coordinate", []string{with(es, x, x[:40])}, 0, "not a point"},
		{"coordinates of 31 and 33 bytes", []string{strings.NewReplacer(x, encode64(decode64(t, x)[:31]), y, encode64(append(decode64(t, x)[31:], decode64(t, y)...))).Replace(es)}, 0, "not a point"},
		{"Ed25519 without x", []string{`{"kty":"OKP","crv":"Ed25519"}`}, 0, `"x" is missing`},
		{"no coordinate", []string{with(es, x, "")}, 0, `"x" is missing`},
		{"Ed25519 of small order", []string{`{"kty":"OKP","crv":"Ed25519","x":"` + small + `"}`}, 0, "whole"},
		{"Ed25519 of 31 bytes", []string{`{"kty":"OKP","crv":"Ed25519","x":"` + small[:41] + `A"}`}, 0, "whole"},
		{"padding", []string{with(es, x, x+"=")}, 0, "base64url"},
		{"the other base64", []string{with(es, x, "+"+x[1:])}, 0, "base64url"},
		{"a line end", []string{with(es, x, x[:4]+`\n`+x[4:])}, 0, "base64url"},
		{"not an object", []string{ed, `"key"`}, 1, "entry 1: not a JSON object"},
		{"null", []string{`null`}, 0, "entry 0: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			keys, skipped, err := jwks.ParseSet([]byte(`{"keys":[` + strings.Join(tc.keys, ",") + `]}`))
			require.NoError(t, err)
			if tc.err != "" {
				require.NotEmpty(t, skipped)
				require.ErrorContains(t, skipped[0], "jwks: entry ")
				require.ErrorContains(t, skipped[0], tc.err)
			} else {
				require.Empty(t, skipped)
			}
			require.Len(t, keys, tc.want)
			newRing(t, keys...)
		})
	}
	for _, text := range []string{
		``, `{}`, `[]`, `null`, `{"keys":null}`, `{"keys":{}}`, `{"Keys":[]}`, `{"keys":[]}x`, `{"keys":[],"keys":[]}`, "{\"keys\":[],\"\xff\":1}",
		`{"keys":[` + ed + `]` + strings.Repeat(" ", 64<<10) + `}`, ed,
		`{"keys":[` + strings.Join(several(101, skipped), ",") + `]}`,
	} {
		_, _, err := jwks.ParseSet([]byte(text))
		require.ErrorContains(t, err, "jwks: ", text)
	}
	_, _, err := jwks.ParseSet([]byte(`{"keys":[],"keys":[]}`))
	require.ErrorContains(t, err, "twice")
	whole := `{"keys":[` + ed + `]}`
	keys, _, err := jwks.ParseSet([]byte(whole + strings.Repeat(" ", 64<<10-len(whole))))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	_, _, err = jwks.ParseSet([]byte(whole + strings.Repeat(" ", 64<<10+1-len(whole))))
	require.ErrorContains(t, err, "a set of 65537 bytes")
	keys, _, err = jwks.ParseSet([]byte(` {"x":{"keys":1}, "keys" : [ ` + ed + ` ] } `))
	require.NoError(t, err)
	require.Len(t, keys, 1)
}

// TK-15, RFC 7517, RFC 9110.
func TestHandler(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { jwks.Handler(nil) })
	a, b, rs := generated()[authkit.EdDSA], generated()[authkit.ES256], generated()[authkit.RS256]
	ring := newRing(t, a)
	h := jwks.Handler(ring)
	do := func(method string, ifNoneMatch ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/", nil)
		r.Header["If-None-Match"] = ifNoneMatch
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	first := do("GET")
	require.Equal(t, 200, first.Code)
	etag := first.Header().Get("ETag")
	require.Regexp(t, `^"[A-Za-z0-9_-]{24}"$`, etag)
	for name, want := range map[string]string{
		"Content-Type": "application/jwk-set+json", "Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff",
		"Content-Length": fmt.Sprint(first.Body.Len()),
	} {
		require.Equal(t, want, first.Header().Get(name))
	}
	head := do("HEAD")
	require.Equal(t, 200, head.Code)
	require.Zero(t, head.Body.Len())
	require.Equal(t, first.Header(), head.Header())

	for _, given := range []string{etag, "W/" + etag, "*", `"x", ` + etag, `"x",W/` + etag + `,"y"`} {
		w := do("GET", given)
		require.Equal(t, 304, w.Code, given)
		require.Zero(t, w.Body.Len())
		require.Equal(t, etag, w.Header().Get("ETag"))
		require.Equal(t, "public, max-age=300", w.Header().Get("Cache-Control"))
	}
	require.Equal(t, 304, do("HEAD", `"x"`, etag).Code)
	for _, given := range []string{"", `"x"`, strings.Trim(etag, `"`), etag + "x"} {
		require.Equal(t, 200, do("GET", given).Code, given)
	}

	require.NoError(t, ring.Replace(a, b))
	second := do("GET", etag)
	require.Equal(t, 200, second.Code)
	require.NotEqual(t, etag, second.Header().Get("ETag"))
	require.Contains(t, second.Body.String(), b.ID)
	require.NoError(t, ring.Replace(a))
	require.Equal(t, first.Body.String(), do("GET").Body.String())
	require.Equal(t, 304, do("GET", etag).Code)

	// Another key under the same ID, the same key under another one, and one for
	// another algorithm.
	for _, pair := range [][2]authkit.Key{
		{{ID: "1", Algorithm: authkit.EdDSA, Public: a.Public}, {ID: "1", Algorithm: authkit.EdDSA, Public: edKey(t).Public}},
		{{ID: "1", Algorithm: authkit.EdDSA, Public: a.Public}, {ID: "2", Algorithm: authkit.EdDSA, Public: a.Public}},
		{{ID: "1", Algorithm: authkit.RS256, Public: rs.Public}, {ID: "1", Algorithm: authkit.PS256, Public: rs.Public}},
	} {
		require.NoError(t, ring.Replace(pair[0]))
		before := do("GET").Body.String()
		require.NoError(t, ring.Replace(pair[1]))
		require.NotEqual(t, before, do("GET").Body.String())
	}

	require.NoError(t, ring.Replace(generated()[authkit.HS256]))
	require.Equal(t, `{"keys":[]}`+"\n", do("GET").Body.String())
	require.NoError(t, ring.Replace())
	require.Equal(t, `{"keys":[]}`+"\n", do("GET").Body.String())

	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "get"} {
		w := do(method)
		require.Equal(t, 405, w.Code)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	}
}

// FuzzParseSet holds the parser to what a ring takes: a set that is accepted goes into one, without
// anything secret, and comes out of the handler as it went in.
func FuzzParseSet(f *testing.F) {
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":[{` + rfcRSA + `}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"},{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"b"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","use":"enc"},{"kty":"X","key_ops":["verify"]}],"x":[1e9]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, _, err := jwks.ParseSet(text)
		if err != nil {
			require.Nil(t, keys)
			return
		}
		for _, k := range keys {
			require.Nil(t, k.Private)
			require.Nil(t, k.Secret)
		}
		again, _, err := jwks.ParseSet(served(t, jwks.Handler(newRing(t, keys...))).Body.Bytes())
		require.NoError(t, err)
		require.Equal(t, keys, again)
	})
}

// FuzzParseKey holds a key that is accepted to be one that a ring takes.
func FuzzParseKey(f *testing.F) {
	f.Add([]byte(`{` + rfcRSA + `}`))
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`))
	f.Add([]byte(`{"kty":"oct","alg":"HS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := jwks.ParseKey(text)
		if err != nil {
			require.Zero(t, k)
			return
		}
		newRing(t, k)
	})
}

func decodeJSON(t testing.TB, text []byte, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(text, v))
}
