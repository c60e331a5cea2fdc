package authkit_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

const (
	tokHeader  = `{"alg":"HS256","typ":"JWT"}`
	tokPayload = `{"sub":"u","exp":4102444800}`
)

// Tokens of other libraries, and what their reference makes of them.
func TestVerifyVectors(t *testing.T) {
	t.Parallel()
	var file struct {
		Secret  string
		Vectors []struct{ ID, By, Token, Want, Sub, Note string }
	}
	text, err := os.ReadFile("testdata/jwt.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &file))
	require.Greater(t, len(file.Vectors), 40)

	// Where the reference is too lax, or either is right, this is what is done here.
	ours := map[string]string{
		"pyjwt.kid":            "reject", // TK-03: a kid that no key has
		"payload.exp-missing":  "reject", // TK-06
		"payload.aud":          "reject", // RFC 7519 section 4.1.3: it is meant for somebody
		"payload.sub-empty":    "reject", // TK-09
		"header.crit":          "reject", // TK-04
		"form.padded":          "reject", // TK-10
		"form.standard-base64": "reject", // TK-10
		"form.line-end":        "reject", // TK-10
		"form.inner-line-end":  "reject", // TK-10
	}
	verifier := tokVerifier(t, authkit.Key{Algorithm: authkit.HS256, Secret: []byte(file.Secret)})
	for _, v := range file.Vectors {
		want := v.Want
		if want == "either" {
			want = ours[v.ID]
			delete(ours, v.ID)
		}
		for year, date := range map[string]time.Time{
			"2026": time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC), "2099": time.Date(2099, 12, 31, 23, 59, 59, 0, time.UTC),
		} {
			t.Run(v.ID+" "+year, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					time.Sleep(time.Until(date))
					switch want {
					case "accept":
						require.Equal(t, v.Sub, tokAccepted(t, verifier, v.Token).Subject, v.Note)
					case "reject":
						tokRefused(t, verifier, v.Token)
					default:
						t.Fatalf("nothing is decided about %q", want)
					}
				})
			})
		}
	}
	require.Empty(t, ours, "decisions about vectors that need none")
}

// TK-01: none, in every spelling, with every signature that it could come with.
func TestVerifyRefusesNone(t *testing.T) {
	t.Parallel()
	for _, alg := range tokAlgorithms() {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := tokKeys()[alg]
			verifier := tokVerifier(t, key)
			for _, none := range []string{`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `"none "`, `"\u006eone"`, `""`, `null`, `0`, `false`, `[]`, `{}`} {
				for _, header := range []string{`{"alg":` + none + `,"typ":"JWT"}`, `{"alg":` + none + `}`, `{"typ":"JWT","alg":` + none + `}`} {
					input := tok64(header) + "." + tok64(tokPayload)
					tokRefused(t, verifier, input)
					tokRefused(t, verifier, input+".")
					tokRefused(t, verifier, input+".AAAA")
					tokRefused(t, verifier, tokSignInput(t, key, input)) // signed all the same
				}
			}
			tokRefused(t, verifier, tokSign(t, key, `{"typ":"JWT"}`, tokPayload))
			tokRefused(t, verifier, tokSign(t, key, `{}`, tokPayload))
		})
	}
}

// TK-01: a header that names another algorithm than the key's is refused though the key signed it,
// and a signature of another algorithm whatever the header says.
func TestVerifyRefusesOtherAlgorithms(t *testing.T) {
	t.Parallel()
	names := []string{
		"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K",
		"EdDSA", "Ed25519", "hs256", "Hs256", "rs256", "es256", "eddsa", "EDDSA", "HS256 ", " HS256", "HS256\\u0000", "HS-256", "HMAC", "A256KW", "dir",
	}
	for _, alg := range tokAlgorithms() {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := tokKeys()[alg]
			verifier := tokVerifier(t, key)
			for _, name := range names {
				if name == string(alg) || name == "Ed25519" && alg == authkit.EdDSA { // RFC 9864
					continue
				}
				tokRefused(t, verifier, tokSign(t, key, `{"alg":"`+name+`","typ":"JWT"}`, tokPayload))
				tokRefused(t, verifier, tokSign(t, key, `{"typ":"JWT", "alg":"`+name+`"}`, tokPayload))
			}
			for _, other := range tokAlgorithms() {
				if other == alg {
					continue
				}
				signed := tokKeys()[other]
				if key.Secret != nil && signed.Secret != nil {
					signed.Secret = key.Secret // HS384 under the secret of HS256, and so on
				}
				tokRefused(t, verifier, tokSign(t, signed, `{"alg":"`+string(other)+`","typ":"JWT"}`, tokPayload))
				tokRefused(t, verifier, tokSign(t, signed, `{"alg":"`+string(alg)+`","typ":"JWT"}`, tokPayload))
				tokRefused(t, verifier, tokSign(t, signed, `{"alg":"`+string(alg)+`", "typ":"JWT"}`, tokPayload))
			}
		})
	}
}

// TK-01: a public key is no HMAC secret, in any encoding that an attacker may guess at.
func TestVerifyRefusesPublicKeyAsSecret(t *testing.T) {
	t.Parallel()
	for _, alg := range []authkit.Algorithm{authkit.RS256, authkit.PS256, authkit.ES256, authkit.EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := tokKeys()[alg]
			public := key.Private.Public()
			der, err := x509.MarshalPKIXPublicKey(public)
			require.NoError(t, err)
			guesses := [][]byte{{}, der}
			types := map[string][]byte{"PUBLIC KEY": der}
			switch public := public.(type) {
			case *rsa.PublicKey:
				types["RSA PUBLIC KEY"] = x509.MarshalPKCS1PublicKey(public)
				guesses = append(guesses, public.N.Bytes(), []byte(public.N.String()), types["RSA PUBLIC KEY"])
			case *ecdsa.PublicKey:
				raw, err := public.Bytes()
				require.NoError(t, err)
				guesses = append(guesses, raw)
			case ed25519.PublicKey:
				guesses = append(guesses, public)
			}
			for name, der := range types {
				text := pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der})
				guesses = append(guesses, text, text[:len(text)-1], []byte(strings.ReplaceAll(string(text), "\n", "\r\n")))
			}
			alone := tokVerifier(t, key)
			key.ID = "k"
			mixed := tokVerifier(t, authkit.Key{ID: "hs", Algorithm: authkit.HS256, Secret: tokSecret("mixed")}, key)
			for _, guess := range guesses {
				for _, hs := range []authkit.Algorithm{authkit.HS256, authkit.HS384, authkit.HS512} {
					for _, header := range []string{
						`{"alg":"` + string(hs) + `","typ":"JWT"}`, `{"alg":"` + string(hs) + `"}`, `{"alg":"` + string(alg) + `","typ":"JWT"}`,
						`{"alg":"` + string(hs) + `","kid":"k","typ":"JWT"}`, `{"alg": "` + string(hs) + `","kid":"k"}`,
					} {
						token := tokSign(t, authkit.Key{Algorithm: hs, Secret: guess}, header, tokPayload)
						tokRefused(t, alone, token)
						tokRefused(t, mixed, token)
					}
				}
			}
		})
	}
}

// TK-01, TK-03: in a ring of several algorithms a kid and an algorithm go together.
func TestVerifyMixedRing(t *testing.T) {
	t.Parallel()
	hs := authkit.Key{ID: "hs", Algorithm: authkit.HS256, Secret: tokSecret("hs")}
	rs, ps := tokKeys()[authkit.RS256], tokKeys()[authkit.PS256]
	rs.ID, ps.ID, ps.Private = "rs", "ps", tokRSA()[1]
	verifier := tokVerifier(t, hs, rs, ps)
	for _, key := range []authkit.Key{hs, rs, ps} {
		for _, alg := range []string{"HS256", "RS256", "PS256", "none"} {
			for _, kid := range []string{"hs", "rs", "ps"} {
				for _, space := range []string{"", " "} {
					token := tokSign(t, key, fmt.Sprintf(`{"alg":%s%q,"kid":%q,"typ":"JWT"}`, space, alg, kid), tokPayload)
					if alg == string(key.Algorithm) && kid == key.ID {
						tokAccepted(t, verifier, token)
					} else {
						tokRefused(t, verifier, token)
					}
				}
			}
		}
	}
}

// TK-03, TK-16: which key a token's header stands for.
func TestVerifyKid(t *testing.T) {
	t.Parallel()
	a := authkit.Key{ID: "a", Algorithm: authkit.HS256, Secret: tokSecret("a")}
	b := authkit.Key{ID: "b", Algorithm: authkit.HS256, Secret: tokSecret("b")}
	unnamed := authkit.Key{Algorithm: authkit.HS256, Secret: tokSecret("unnamed")}
	stranger := authkit.Key{Algorithm: authkit.HS256, Secret: tokSecret("stranger")}
	empty := authkit.Key{Algorithm: authkit.HS256, Secret: []byte{}}
	long := strings.Repeat("k", 5000)
	type ring []authkit.Key
	for _, tc := range []struct {
		name   string
		ring   ring
		kid    string // what follows "alg" in the header
		signed authkit.Key
		want   bool
	}{
		{"the first", ring{a, b}, `,"kid":"a"`, a, true},
		{"the second", ring{a, b}, `,"kid":"b"`, b, true},
		{"the first, signed by the second", ring{a, b}, `,"kid":"a"`, b, false},
		{"the second, signed by the first", ring{a, b}, `,"kid":"b"`, a, false},
		{"unknown, signed by the first", ring{a, b}, `,"kid":"c"`, a, false},
		{"unknown, signed by a stranger", ring{a, b}, `,"kid":"c"`, stranger, false},
		{"another case", ring{a, b}, `,"kid":"A"`, a, false},
		{"none, signed by the current", ring{a, b}, ``, a, true},
		{"none, signed by the old", ring{a, b}, ``, b, false},
		{"none, signed by a stranger", ring{a, b}, ``, stranger, false},
		{"none, signed by the unnamed", ring{a, unnamed}, ``, unnamed, true},
		{"none, signed by the current, which is not the unnamed", ring{a, unnamed}, ``, a, false},
		{"named, signed by the unnamed", ring{a, unnamed}, `,"kid":"a"`, unnamed, false},
		{"named, with the unnamed in front", ring{unnamed, a}, `,"kid":"a"`, a, true},
		{"unknown, one unnamed key", ring{unnamed}, `,"kid":"a"`, unnamed, false},
		{"empty", ring{unnamed}, `,"kid":""`, unnamed, false},
		{"empty, named key", ring{a}, `,"kid":""`, a, false},
		{"null", ring{unnamed}, `,"kid":null`, unnamed, false},
		{"null, named key", ring{a}, `,"kid":null`, a, false},
		{"number", ring{a}, `,"kid":0`, a, false},
		{"list", ring{a}, `,"kid":["a"]`, a, false},
		{"object", ring{a}, `,"kid":{"a":"a"}`, a, false},
		{"twice", ring{a}, `,"kid":"a","kid":"a"`, a, false},
		{"twice, first another", ring{a, b}, `,"kid":"b","kid":"a"`, a, false},
		{"twice, once escaped", ring{a, b}, `,"kid":"b","\u006bid":"a"`, a, false},
		{"name of another case is no kid", ring{a, b}, `,"KID":"b"`, a, true},
		{"name of another case does not choose", ring{a, b}, `,"KID":"b"`, b, false},
		{"Kelvin sign in the name", ring{a, b}, `,"Kid":"b"`, b, false},
		{"space", ring{a}, `,"kid":"a "`, a, false},
		{"NUL", ring{a}, `,"kid":"a\u0000"`, a, false},
		{"a file, signed with its content", ring{a}, `,"kid":"../../../../dev/null"`, empty, false},
		{"a file, signed by the key", ring{a}, `,"kid":"/dev/null"`, a, false},
		{"SQL", ring{a}, `,"kid":"x' UNION SELECT 'a';--"`, a, false},
		{"a command", ring{a}, `,"kid":"a|/usr/bin/id"`, a, false},
		{"5,000 bytes", ring{a}, `,"kid":"` + long + `"`, a, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			verifier := tokVerifier(t, tc.ring...)
			for _, header := range []string{
				`{"alg":"HS256"` + tc.kid + `}`, `{"alg":"HS256"` + tc.kid + `,"typ":"JWT"}`, `{"typ":"JWT","alg":"HS256"` + tc.kid + `}`,
				`{"alg":"HS256"` + tc.kid + ` }`, "{ \"typ\":\"JWT\",\n\"alg\":\"HS256\"" + tc.kid + `}`,
			} {
				token := tokSign(t, tc.signed, header, tokPayload)
				if tc.want {
					tokAccepted(t, verifier, token)
				} else {
					tokRefused(t, verifier, token)
				}
			}
		})
	}
}

// A key that gets an ID keeps its secret, so that nobody has to change all at once: both IDs verify,
// whatever a header's spelling.
func TestVerifyOneSecretTwoIDs(t *testing.T) {
	t.Parallel()
	named := authkit.Key{ID: "2026", Algorithm: authkit.HS256, Secret: []byte(testSecret)}
	verifier := tokVerifier(t, named, tokKey)
	for _, header := range []string{
		`{"alg":"HS256","typ":"JWT"}`, `{"alg":"HS256","kid":"2026"}`, // usual
		`{"alg":"HS256", "typ":"JWT"}`, `{"alg":"HS256", "kid":"2026"}`, // with a space
	} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			tokAccepted(t, verifier, tokSign(t, tokKey, header, tokPayload))
		})
	}
}

// An ID is any text: what matters is that it comes back as it went out.
func TestVerifyKidTexts(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"plain", `"`, `\`, `","alg":"none","x":"`, "<&>", "ü🔑", "\x00\x1f\x7f", "\u2028", "\ufffd", " ", ".", "null",
		strings.Repeat("x", 127), strings.Repeat("x", 128), strings.Repeat("ü", 64), strings.Repeat("\x01", 128),
	} {
		t.Run(fmt.Sprintf("%.20q %d", id, len(id)), func(t *testing.T) {
			t.Parallel()
			key := authkit.Key{ID: id, Algorithm: authkit.HS256, Secret: []byte(testSecret)}
			verifier := tokVerifier(t, key, authkit.Key{ID: "other", Algorithm: authkit.HS256, Secret: tokSecret("other")})
			ours := tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u"})
			tokAccepted(t, verifier, ours)
			parsed, err := tokParser(authkit.HS256).Parse(ours, func(token *jwt.Token) (any, error) {
				require.Equal(t, id, token.Header["kid"])
				return key.Secret, nil
			})
			require.NoError(t, err)
			theirs := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "u", "exp": int64(4102444800)})
			theirs.Header["kid"] = id
			token, err := theirs.SignedString(key.Secret)
			require.NoError(t, err)
			tokAccepted(t, verifier, token)
			require.Equal(t, "JWT", parsed.Header["typ"])
		})
	}
}

// TK-16, RE-11: keys rotate without a good token being refused, and a retired key is out.
func TestVerifyRotation(t *testing.T) {
	t.Parallel()
	first := tokKey // as it was before anybody thought of rotation
	second := authkit.Key{ID: "2026-02", Algorithm: authkit.HS256, Secret: tokSecret("2026-02")}
	third := tokKeys()[authkit.EdDSA]
	third.ID = "2026-03"
	var tokens []string
	rings := [][]authkit.Key{{first}, {second, first}, {second}, {third, second}, {third}}
	for _, ring := range rings {
		tokens = append(tokens, tokIssue(t, tokIssuer(t, ring...), authkit.Claims{Subject: "u"}))
	}
	signers := []string{"", "2026-02", "2026-02", "2026-03", "2026-03"}
	for _, ring := range rings {
		verifier := tokVerifier(t, ring...)
		for i, token := range tokens {
			if slices.ContainsFunc(ring, func(k authkit.Key) bool { return k.ID == signers[i] }) {
				tokAccepted(t, verifier, token)
			} else {
				tokRefused(t, verifier, token)
			}
		}
	}
}

// TK-03, TK-04, TK-05, TK-08: headers that the key itself signed.
func TestVerifyHeaders(t *testing.T) {
	t.Parallel()
	const yes, no = true, false
	for _, tc := range []struct {
		name, header string
		want         bool
	}{
		{"ours", tokHeader, yes},
		{"unknown parameters", `{"alg":"HS256","typ":"JWT","cty":"x","x":[1,{"y":null}],"":0,"zip":"DEF"}`, yes},
		{"large", `{"alg":"HS256","x":"` + strings.Repeat("x", 4000) + `"}`, yes},

		{"crit", `{"alg":"HS256","crit":["exp"],"exp":1}`, no},
		{"crit, empty", `{"alg":"HS256","crit":[]}`, no},
		{"crit, null", `{"alg":"HS256","crit":null}`, no},
		{"crit, text", `{"alg":"HS256","crit":"b64"}`, no},
		{"crit, escaped", `{"alg":"HS256","\u0063rit":["x"],"x":1}`, no},
		{"crit with typ", `{"alg":"HS256","crit":["typ"],"typ":"JWT"}`, no},
		{"b64 false", `{"alg":"HS256","b64":false,"crit":["b64"]}`, no},
		{"b64 false, not critical", `{"alg":"HS256","b64":false}`, no},
		{"b64 true", `{"alg":"HS256","b64":true}`, no},

		{"typ of another case", `{"alg":"HS256","typ":"jwt"}`, yes},
		{"typ of mixed case", `{"alg":"HS256","typ":"Jwt"}`, yes},
		{"typ escaped", `{"alg":"HS256","typ":"\u004aWT"}`, yes},
		{"typ at+jwt", `{"alg":"HS256","typ":"at+jwt"}`, no},
		{"typ application/jwt", `{"alg":"HS256","typ":"application/jwt"}`, no},
		{"typ logout+jwt", `{"alg":"HS256","typ":"logout+jwt"}`, no},
		{"typ dpop+jwt", `{"alg":"HS256","typ":"dpop+jwt"}`, no},
		{"typ refresh", `{"alg":"HS256","typ":"refresh"}`, no},
		{"typ JWE", `{"alg":"HS256","typ":"JWE"}`, no},
		{"typ empty", `{"alg":"HS256","typ":""}`, no},
		{"typ null", `{"alg":"HS256","typ":null}`, no},
		{"typ number", `{"alg":"HS256","typ":1}`, no},
		{"typ list", `{"alg":"HS256","typ":["JWT"]}`, no},
		{"typ with a space", `{"alg":"HS256","typ":"JWT "}`, no},

		{"alg twice", `{"alg":"HS256","alg":"HS256"}`, no},
		{"alg twice, first none", `{"alg":"none","alg":"HS256"}`, no},
		{"alg twice, last none", `{"alg":"HS256","alg":"none"}`, no},
		{"alg twice, once escaped", `{"alg":"HS256","al\u0067":"HS256"}`, no},
		{"typ twice", `{"alg":"HS256","typ":"JWT","typ":"JWT"}`, no},
		{"an unknown twice", `{"alg":"HS256","x":1,"x":1}`, no},
		{"ALG", `{"ALG":"HS256","typ":"JWT"}`, no},
		{"Alg", `{"Alg":"HS256"}`, no},
		{"ALG beside alg", `{"alg":"HS256","ALG":"none"}`, yes},
		{"ALG before a wrong alg", `{"ALG":"HS256","alg":"none"}`, no},
		{"TYP is not typ", `{"alg":"HS256","TYP":"at+jwt"}`, yes},
		{"alg with NUL in its name", `{"alg\u0000":"HS256"}`, no},
		{"alg nested", `{"x":{"alg":"HS256"}}`, no},
		{"alg in an object", `{"alg":{"alg":"HS256"}}`, no},
		{"alg list", `{"alg":["HS256"]}`, no},
		{"alg null", `{"alg":null}`, no},
		{"alg number", `{"alg":256}`, no},

		{"array", `[]`, no},
		{"array of one header", `[{"alg":"HS256"}]`, no},
		{"null", `null`, no},
		{"text", `"HS256"`, no},
		{"text of a header", `"{\"alg\":\"HS256\"}"`, no},
		{"number", `256`, no},
		{"empty object", `{}`, no},
		{"white space", ` `, no},
		{"broken off", `{"alg":"HS256"`, no},
		{"text behind", `{"alg":"HS256"}x`, no},
		{"object behind", `{"alg":"HS256"}{"alg":"none"}`, no},
		{"NUL behind", "{\"alg\":\"HS256\"}\x00", no},
		{"byte order mark", "\ufeff{\"alg\":\"HS256\"}", no},
		{"comment", `{"alg":"HS256"/**/}`, no},
		{"trailing comma", `{"alg":"HS256",}`, no},
		{"single quotes", `{'alg':'HS256'}`, no},
		{"not UTF-8", "{\"alg\":\"HS256\",\"x\":\"\xff\"}", no},
		{"not UTF-8 in a name", "{\"alg\":\"HS256\",\"\xff\":1}", no},
		{"UTF-16", "{\x00\"\x00a\x00l\x00g\x00\"\x00:\x00\"\x00H\x00S\x002\x005\x006\x00\"\x00}\x00", no},
		{"number beyond float64", `{"alg":"HS256","x":1e999}`, yes},
		{"deep", `{"alg":"HS256","x":` + strings.Repeat("[", 1500) + strings.Repeat("]", 1500) + `}`, yes},
		{"deep and broken", `{"alg":"HS256","x":` + strings.Repeat("[", 4000) + `}`, no},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			token := tokSign(t, tokKey, tc.header, tokPayload)
			if tc.want {
				tokAccepted(t, tokVerifier(t, tokKey), token)
			} else {
				tokRefused(t, tokVerifier(t, tokKey), token)
			}
			// Nobody has to sign a header to have it refused.
			tokRefused(t, tokVerifier(t, authkit.Key{Algorithm: authkit.HS256, Secret: tokSecret("other")}), token)
		})
	}
}

// TK-03, CVE-2018-0114: a key in a header is not looked at, nor is an address of one.
func TestVerifyIgnoresKeysInHeader(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	listener := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(listener.Close)

	attacker, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := attacker.PublicKey.Bytes()
	require.NoError(t, err)
	jwk := fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q,"kid":"k"}`, tok64(string(point[1:33])), tok64(string(point[33:])))
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, attacker.Public(), attacker)
	require.NoError(t, err)

	good := tokKeys()[authkit.ES256]
	good.ID = "k"
	verifier := tokVerifier(t, good)
	for name, member := range map[string]string{
		"jwk":      `"jwk":` + jwk,
		"jku":      `"jku":"` + listener.URL + `"`,
		"x5u":      `"x5u":"` + listener.URL + `"`,
		"x5c":      `"x5c":["` + base64.StdEncoding.EncodeToString(cert) + `"]`,
		"kid":      `"kid":"` + listener.URL + `"`,
		"all":      `"jwk":` + jwk + `,"jku":"` + listener.URL + `","x5u":"` + listener.URL + `"`,
		"jwk oct":  `"jwk":{"kty":"oct","k":"AA"}`,
		"jwk list": `"jwk":[` + jwk + `]`,
	} {
		header := `{"alg":"ES256","typ":"JWT",` + member + `}`
		tokRefused(t, verifier, tokSign(t, authkit.Key{Algorithm: authkit.ES256, Private: attacker}, header, tokPayload))
		if name == "kid" {
			tokRefused(t, verifier, tokSign(t, good, header, tokPayload))
		} else {
			tokAccepted(t, verifier, tokSign(t, good, header, tokPayload))
		}
	}
	require.Zero(t, calls.Load())
}

// TK-10, TK-11: of all the texts that a lenient reader would take for a token, one is the token.
func TestVerifyOneSpelling(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, alg := range tokAlgorithms() {
		for _, usual := range []bool{true, false} { // a header that is known, and one that has to be read
			t.Run(fmt.Sprint(alg, " ", usual), func(t *testing.T) {
				t.Parallel()
				key := tokKeys()[alg]
				header := `{"alg":"` + string(alg) + `","typ":"JWT"}`
				if !usual {
					header = `{"alg":"` + string(alg) + `","typ":"JWT" }`
				}
				token := tokSign(t, key, header, tokPayload)
				verifier := tokVerifier(t, key)
				tokAccepted(t, verifier, token)

				others := 0
				refuse := func(other string) {
					t.Helper()
					if other == token {
						return
					}
					others++
					if c, err := verifier.Verify(other); err == nil || c.Subject != "" {
						t.Errorf("accepted %q", other)
					}
				}
				parts := strings.Split(token, ".")
				for i := range token {
					at := strings.Count(token[:i], ".")
					last := i+1 == len(token) || token[i+1] == '.'
					if alg == authkit.HS256 || last {
						for _, c := range alphabet {
							refuse(token[:i] + string(c) + token[i+1:])
						}
					}
					if at == 2 && i%7 != 0 && key.Secret == nil {
						continue // an RSA signature is long, and every try costs a signature check
					}
					for _, c := range []string{"\n", "\r", "\r\n", " ", "\t", "=", "==", ".", "\x00", "%0A", "\u00a0", "+", "/", "A"} {
						refuse(token[:i] + c + token[i:])
					}
					refuse(token[:i] + token[i+1:])
				}
				for _, c := range []string{"\n", "\r\n", " ", "=", "==", ".", "..", "\x00", ".x", ".eyJhbGciOiJub25lIn0", "A", "AAAA"} {
					refuse(token + c)
					refuse(c + token)
				}
				for _, p := range []string{"Bearer ", "bearer ", "JWT ", `"`, "'", "{", "\ufeff"} {
					refuse(p + token)
				}
				// The last letter of each part with other idle bits.
				for i := range parts {
					for _, c := range alphabet {
						other := slices.Clone(parts)
						other[i] = other[i][:len(other[i])-1] + string(c)
						refuse(strings.Join(other, "."))
					}
				}
				refuse(strings.NewReplacer("-", "+", "_", "/").Replace(token))
				refuse(strings.ToLower(token))
				refuse(parts[0] + "." + parts[1])
				refuse(parts[0] + ".." + parts[2])
				refuse("." + parts[1] + "." + parts[2])
				refuse(parts[0] + "." + parts[1] + ".")
				refuse(parts[1] + "." + parts[0] + "." + parts[2])
				refuse(parts[0] + "." + parts[1] + "." + parts[1] + "." + parts[2])
				refuse(parts[0] + "." + parts[1] + "." + parts[2] + "." + parts[2])
				refuse(parts[0] + "." + parts[1] + "." + parts[2] + parts[2])
				refuse(token + "." + token)
				refuse(`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`)
				require.Greater(t, others, 1000)
			})
		}
	}
	verifier := tokVerifier(t, tokKey)
	for _, s := range []string{"", ".", "..", "...", "....", "a", "a.", ".a", "a.b", "a..b", "..a", strings.Repeat(".", 8192), strings.Repeat(".", 1<<20)} {
		tokRefused(t, verifier, s)
	}
}

// TK-10: the payload's part is held to the one spelling even where the key signed another.
func TestVerifySignedSpellings(t *testing.T) {
	t.Parallel()
	for _, header := range []string{tokHeader, `{"alg":"HS256","typ":"JWT" }`} {
		for name, payload := range map[string]string{
			"0 letters over":  `{"sub":"xyz","exp":4102444800}`,
			"2 letters over":  `{"sub":"x","exp":4102444800}`,
			"3 letters over":  `{"sub":"xy","exp":4102444800}`,
			"letters - and _": `{"sub":"` + "\u00ff\u00fe\u00bf" + `???>>>","exp":4102444800}`,
		} {
			t.Run(name+" "+fmt.Sprint(header == tokHeader), func(t *testing.T) {
				t.Parallel()
				verifier := tokVerifier(t, tokKey)
				head, segment := tok64(header), tok64(payload)
				tokAccepted(t, verifier, tokSignInput(t, tokKey, head+"."+segment))
				var others []string
				for i := range len(segment) + 1 {
					for _, c := range []string{"\n", "\r", "\r\n", "\n\n", " ", "=", "."} {
						others = append(others, segment[:i]+c+segment[i:])
					}
				}
				for i := range len(segment) {
					others = append(others, segment[:i]+"\n"+segment[i+1:])
				}
				switch len(payload) % 3 {
				case 1:
					others = append(others, segment+"==", segment[:len(segment)-1]+string(segment[len(segment)-1]+1))
				case 2:
					others = append(others, segment+"=", segment[:len(segment)-1]+string(segment[len(segment)-1]+1))
				}
				if std := base64.RawStdEncoding.EncodeToString([]byte(payload)); std != segment {
					others = append(others, std)
				}
				others = append(others, payload, "", segment+"A", segment+"....", tok64(segment))
				accepted, example := 0, ""
				for _, other := range others {
					if _, err := verifier.Verify(tokSignInput(t, tokKey, head+"."+other)); err == nil {
						accepted++
						example = other
					}
				}
				require.Zero(t, accepted, "other spellings, such as %q", example)
			})
		}
	}
	// The same for the header's part.
	verifier := tokVerifier(t, tokKey)
	for _, header := range []string{`{"alg":"HS256"}`, `{"alg":"HS256" }`, `{"alg":"HS256"  }`} {
		segment := tok64(header)
		tokAccepted(t, verifier, tokSignInput(t, tokKey, segment+"."+tok64(tokPayload)))
		for i := range len(segment) + 1 {
			for _, c := range []string{"\n", "\r", "=", " "} {
				tokRefused(t, verifier, tokSignInput(t, tokKey, segment[:i]+c+segment[i:]+"."+tok64(tokPayload)))
			}
		}
		for _, other := range []string{segment + "=", segment + "==", segment[:len(segment)-1] + string(segment[len(segment)-1]+1), header} {
			tokRefused(t, verifier, tokSignInput(t, tokKey, other+"."+tok64(tokPayload)))
		}
	}
}

// TK-11: an ECDSA signature has a twin that anybody can compute, (r, n-s), and RFC 7518 takes both.
// A list of refused tokens goes by jti for that reason too, never by the text of a token.
func TestVerifyTwinOfECDSA(t *testing.T) {
	t.Parallel()
	key := tokKeys()[authkit.ES256]
	verifier := tokVerifierFor(t, authkit.TokenConfig{Keys: []authkit.Key{key}, CacheSize: 4})
	token := tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u", ID: "the-jti"})
	cut := strings.LastIndexByte(token, '.')
	sig, err := base64.RawURLEncoding.DecodeString(token[cut+1:])
	require.NoError(t, err)
	order := elliptic.P256().Params().N
	twin := func(r, s *big.Int) string {
		raw := make([]byte, 64)
		r.FillBytes(raw[:32])
		s.FillBytes(raw[32:])
		return token[:cut+1] + tok64(string(raw))
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	require.Equal(t, token, twin(r, s))
	require.Equal(t, "the-jti", tokAccepted(t, verifier, twin(r, new(big.Int).Sub(order, s))).ID)

	zero := new(big.Int)
	for _, other := range []string{
		twin(zero, zero), twin(r, zero), twin(zero, s), twin(order, order), twin(r, order), twin(s, r),
		twin(new(big.Int).Sub(order, r), s), twin(big.NewInt(1), big.NewInt(1)),
	} {
		tokRefused(t, verifier, other)
	}
	der := func() string { // ASN.1, which some libraries write
		raw, err := key.Private.Sign(rand.Reader, tokDigest(token[:cut]), nil)
		require.NoError(t, err)
		return token[:cut+1] + tok64(string(raw))
	}
	tokRefused(t, verifier, der())
	tokRefused(t, verifier, token[:cut+1]+tok64(string(append([]byte{0}, sig...))))
	tokRefused(t, verifier, token[:cut+1]+tok64(string(append(sig, 0))))
}

// RFC 7518 section 3.5: the salt of PS256 has 32 bytes, and a signature with another is none.
func TestVerifySaltOfPSS(t *testing.T) {
	t.Parallel()
	key := tokKeys()[authkit.PS256]
	verifier := tokVerifier(t, key)
	input := tok64(`{"alg":"PS256","typ":"JWT"}`) + "." + tok64(tokPayload)
	for _, salt := range []int{32, 1, 20, 31, 33, 48, 64, rsa.PSSSaltLengthAuto} { // the last: as many bytes as fit
		t.Run(fmt.Sprint(salt), func(t *testing.T) {
			t.Parallel()
			options := &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA256}
			sig, err := key.Private.Sign(rand.Reader, tokDigest(input), options)
			require.NoError(t, err)
			token := input + "." + tok64(string(sig))
			if salt == 32 {
				tokAccepted(t, verifier, token)
			} else {
				tokRefused(t, verifier, token)
			}
		})
	}
}

func tokDigest(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// TK-10, section 13: 8,192 bytes are a token, 8,193 are none, whoever signed them.
func TestVerifyLargest(t *testing.T) {
	t.Parallel()
	for _, header := range []string{tokHeader, `{"alg":"HS256","typ":"JWT" }`} {
		verifier := tokVerifier(t, tokKey)
		sizes := make(map[int]bool)
		for n := 5900; n < 6200; n++ {
			token := tokSign(t, tokKey, header, `{"sub":"u","exp":4102444800,"x":"`+strings.Repeat("x", n)+`"}`)
			sizes[len(token)] = true
			if len(token) <= 8192 {
				tokAccepted(t, verifier, token)
			} else {
				tokRefused(t, verifier, token)
			}
		}
		require.True(t, sizes[8192] && sizes[8193] || sizes[8191] && sizes[8193], "sizes around the bound: %v", sizes)
	}
	tokRefused(t, tokVerifier(t, tokKey), strings.Repeat("A", 1<<20)+"."+strings.Repeat("A", 1<<20)+".AAAA")

	// A payload of 6 KB, with more claims than are usual.
	var b strings.Builder
	b.WriteString(`{"sub":"u"`)
	for i := 0; b.Len() < 6000; i++ {
		fmt.Fprintf(&b, `,"claim%d":%d`, i, i)
	}
	b.WriteString(`,"exp":4102444800}`)
	require.Equal(t, "u", tokAccepted(t, tokVerifier(t, tokKey), tokSign(t, tokKey, tokHeader, b.String())).Subject)
}

// Bytes that nobody signed are never parsed: whatever is in them, the answer is the same.
func TestVerifyDoesNotParseUnsigned(t *testing.T) {
	t.Parallel()
	for _, alg := range tokAlgorithms() {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			verifier := tokVerifier(t, tokKeys()[alg])
			sig := make([]byte, len(strings.Split(tokSign(t, tokKeys()[alg], "{}", "{}"), ".")[2])*3/4)
			_, want := verifier.Verify(tok64("{}") + "." + tok64("{}") + "." + tok64(string(sig)))
			require.ErrorIs(t, want, authkit.ErrInvalidToken)
			require.NotErrorIs(t, want, authkit.ErrTokenExpired)
			deep := strings.Repeat(`{"x":`, 500)
			for _, header := range []string{`{"alg":"` + string(alg) + `","typ":"JWT"}`, `{"alg":"none"}`, "{", "\xff", `[]`, `{"crit":1}`, deep, "{\"x\":1e999}"} {
				for _, payload := range []string{tokPayload, "", "{", "\xff\xfe", `[]`, `{"exp":1}`, `{"exp":"x"}`, deep, strings.Repeat("x", 2500)} {
					_, err := verifier.Verify(tok64(header) + "." + tok64(payload) + "." + tok64(string(sig)))
					require.Equal(t, want, err, "%.50q %.50q", header, payload)
				}
				// Not even as base64.
				_, err := verifier.Verify(tok64(header) + ".A." + tok64(string(sig)))
				require.Equal(t, want, err, "%.50q", header)
			}
		})
	}
}

// TK-07: dates are JSON numbers between 0 and 10^11.
func TestVerifyDateForms(t *testing.T) {
	t.Parallel()
	future := []string{
		"4102444800", "4102444800.0", "4102444800.75", "4.1024448e9", "41024448e2", "1e10", "1E10", "1e+10", "1.0e10",
		"10000000000", "0.1e11", "100000000000e-1", "99999999999", "99999999999.99",
	}
	past := []string{"410244480", "410244480.0", "410244480.75", "4.1024448e8", "41024448e1", "1e8", "1E8", "1e+8", "1", "1.5", "946684800"}
	none := []string{
		"100000000000", "1e11", "1e12", "999999999999999", "9999999999999999",
		"9223372036854775807", "9223372036854775808", "18446744073709551616", "1e19",
		"1e300", "1e308", "1e309", "1e99999", strings.Repeat("9", 400),
		"0", "-0", "0.0", "0e5", "0.5", "1e-400", "0.9999999",
		"-1", "-4102444800", "-1e300", "-1e10",
		`"4102444800"`, `"1e10"`, `"410244480"`, `""`, `"x"`, `"2099-12-31T23:59:59Z"`,
		"null", "true", "false", "[]", "[4102444800]", "[410244480]", "{}", `{"exp":4102444800}`,
		"+4102444800", "04102444800", "0x10000000", "4_102_444_800", ".5", "4102444800.",
		"1e", "1e+", "NaN", "Infinity", "-", "4102444800s", "４１０２４４４８００", "",
	}
	verifier := tokVerifier(t, tokKey)
	for name, good := range map[string][]string{"exp": future, "nbf": past, "iat": past} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				date := func(s string) string {
					if name == "exp" {
						return `"exp":` + s
					}
					return `"exp":4102444800,"` + name + `":` + s
				}
				for _, s := range slices.Concat(future, past) {
					tokForms(t, verifier, date(s), slices.Contains(good, s) || name == "exp" && s == "946684800")
				}
				for _, s := range none {
					absent := name != "exp" && s == "null" || name == "nbf" && slices.Contains([]string{"0", "0.0", "0e5"}, s) // FR-18
					tokForms(t, verifier, date(s), absent)
				}
			})
		})
	}
	c := tokAccepted(t, verifier, tokSign(t, tokKey, tokHeader, `{"sub":"u","exp":4102444800.75,"iat":1.9,"nbf":1e0}`))
	require.EqualValues(t, int64(4102444800), c.ExpiresAt.Unix(), "a fraction is dropped")
	require.EqualValues(t, 1, c.IssuedAt.Unix())
	require.EqualValues(t, 1, c.NotBefore.Unix())
}

// tokForms verifies a payload with some members behind sub, in two spellings: one that is quick to
// read and one that is not.
func tokForms(t testing.TB, verifier *authkit.TokenVerifier, members string, want bool) {
	t.Helper()
	for _, payload := range []string{`{"sub":"u",` + members + `}`, `{` + members + `,"sub":"u"}`, `{ "sub":"u",` + members + "\n}"} {
		c, err := verifier.Verify(tokSign(t, tokKey, tokHeader, payload))
		if (err == nil) != want {
			t.Errorf("%.200s: %v, want accepted: %v", payload, err, want)
		}
		if err != nil {
			require.ErrorIs(t, err, authkit.ErrInvalidToken)
			require.Zero(t, c, "TK-12")
		}
	}
}

// TK-13, RE-07: the very second and nanosecond at which a token begins and ceases to be good.
func TestVerifyLeeway(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		leeway time.Duration
		want   time.Duration
	}{
		{0, 30 * time.Second}, {time.Second, time.Second}, {time.Minute, time.Minute}, {-1, 0}, {-time.Hour, 0},
	} {
		t.Run(tc.leeway.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				verifier := tokVerifierFor(t, authkit.TokenConfig{Keys: []authkit.Key{tokKey}, Leeway: tc.leeway})
				start := time.Now()
				sign := func(members string) string { return tokSign(t, tokKey, tokHeader, `{"sub":"u",`+members+`}`) }
				at := func(d time.Duration) { time.Sleep(time.Until(start.Add(d))) }
				const in = 1000 * time.Second

				exp := sign(fmt.Sprintf(`"exp":%d`, tokBubble+1000))
				fraction := sign(fmt.Sprintf(`"exp":%d.9`, tokBubble+1000))
				nbf := sign(fmt.Sprintf(`"exp":4102444800,"nbf":%d`, tokBubble+1000))
				iat := sign(fmt.Sprintf(`"exp":4102444800,"iat":%d`, tokBubble+1000))
				both := sign(fmt.Sprintf(`"exp":%d,"nbf":%d,"iat":%[2]d`, tokBubble+1000, tokBubble+1000))

				early := func(tokens ...string) {
					for _, token := range tokens {
						tokRefused(t, verifier, token)
						_, err := verifier.Verify(token)
						require.NotErrorIs(t, err, authkit.ErrTokenExpired)
					}
				}
				at(in - tc.want - 1)
				tokAccepted(t, verifier, exp)
				early(nbf, iat, both)
				at(in - tc.want)
				tokAccepted(t, verifier, nbf)
				tokAccepted(t, verifier, iat)

				if tc.want > 0 {
					at(in + tc.want - 1)
					tokAccepted(t, verifier, exp)
				}
				at(in + tc.want)
				for _, token := range []string{exp, fraction, both} {
					tokRefused(t, verifier, token)
					_, err := verifier.Verify(token)
					require.ErrorIs(t, err, authkit.ErrTokenExpired)
				}
				tokAccepted(t, verifier, nbf)

				// What is not known to be ours has not expired: it is nothing.
				_, err := verifier.Verify(exp[:len(exp)-2] + "AA")
				require.NotErrorIs(t, err, authkit.ErrTokenExpired)
				_, err = verifier.Verify(sign(fmt.Sprintf(`"sub":"u","exp":%d`, tokBubble)))
				require.NotErrorIs(t, err, authkit.ErrTokenExpired, "a doubled name")
			})
		})
	}
}

// RE-07: two machines whose clocks are 30 seconds apart take each other's tokens, and no further.
func TestVerifyClockDifference(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer, verifier := tokIssuer(t, tokKey), tokVerifier(t, tokKey)
		for ahead, want := range map[time.Duration]bool{
			-1830 * time.Second: false, -1829 * time.Second: true, -30 * time.Second: true, 0: true, 30 * time.Second: true, 31 * time.Second: false,
		} {
			_, err := verifier.Verify(tokIssue(t, issuer, authkit.Claims{Subject: "u", IssuedAt: time.Now().Add(ahead)}))
			require.Equal(t, want, err == nil, ahead)
		}
	})
}

// TK-06, TK-08, TK-09: payloads that the key signed.
func TestVerifyPayloads(t *testing.T) {
	t.Parallel()
	const yes, no = true, false
	const exp = `,"exp":4102444800}`
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := func(n int) (s string) {
		for i := range n {
			s += fmt.Sprintf(`,"x%d":%d`, i, i)
		}
		return s
	}
	for _, tc := range []struct {
		name, payload string
		want          bool
	}{
		{"least", `{"sub":"u"` + exp, yes},
		{"iat missing", `{"sub":"u","nbf":1` + exp, yes},
		{"exp missing", `{"sub":"u","iat":1}`, no},
		{"exp and sub missing", `{}`, no},

		{"sub missing", `{"x":1` + exp, no},
		{"sub empty", `{"sub":""` + exp, no},
		{"sub null", `{"sub":null` + exp, no},
		{"sub number", `{"sub":1` + exp, no},
		{"sub bool", `{"sub":true` + exp, no},
		{"sub list", `{"sub":["u"]` + exp, no},
		{"sub object", `{"sub":{"sub":"u"}` + exp, no},
		{"sub of 255 bytes", `{"sub":"` + strings.Repeat("x", 255) + `"` + exp, yes},
		{"sub of 256 bytes", `{"sub":"` + strings.Repeat("x", 256) + `"` + exp, no},
		{"sub of 254 bytes in two-byte letters", `{"sub":"` + strings.Repeat("ü", 127) + `"` + exp, yes},
		{"sub of 256 bytes in two-byte letters", `{"sub":"` + strings.Repeat("ü", 128) + `"` + exp, no},
		{"sub of 256 bytes in escapes", `{"sub":"` + strings.Repeat(`\u00fc`, 128) + `"` + exp, no},
		{"sub broken off", `{"sub":"u`, no},

		{"SUB for sub", `{"SUB":"u"` + exp, no},
		{"Sub for sub", `{"Sub":"u"` + exp, no},
		{"long s in sub", `{"ſub":"u"` + exp, no},
		{"EXP for exp", `{"sub":"u","EXP":4102444800}`, no},
		{"Exp for exp", `{"sub":"u","Exp":4102444800}`, no},
		{"sub with NUL", `{"sub\u0000":"u"` + exp, no},
		{"sub with a space", `{"sub ":"u"` + exp, no},
		{"names in escapes", `{"s\u0075b":"u","e\u0078p":4102444800}`, yes},

		{"sub twice", `{"sub":"u","sub":"u"` + exp, no},
		{"sub twice, once escaped", `{"sub":"u","s\u0075b":"u"` + exp, no},
		{"sub twice, first escaped", `{"s\u0075b":"u","sub":"u"` + exp, no},
		{"exp twice", `{"sub":"u","exp":1` + exp, no},
		{"exp twice, far apart", `{"exp":4102444800,"sub":"u"` + many(20) + exp, no},
		{"aud twice", `{"sub":"u","roles":[],"roles":["admin"]` + exp, no},
		{"nbf twice", `{"sub":"u","nbf":1,"nbf":2` + exp, no},
		{"unknown twice", `{"sub":"u","x":1,"x":2` + exp, no},
		{"unknown twice, once escaped", `{"sub":"u","x":1,"\u0078":2` + exp, no},
		{"unknown twice, far apart", `{"sub":"u"` + many(12) + `,"x0":0` + exp, no},
		{"unknown twice, the ninth", `{"sub":"u"` + many(9) + `,"x8":0` + exp, no},
		{"empty name twice", `{"sub":"u","":1,"":2` + exp, no},
		{"names that differ in case", `{"sub":"u","x":1,"X":2` + exp, yes},
		{"8 unknown", `{"sub":"u"` + many(8) + exp, yes},
		{"9 unknown", `{"sub":"u"` + many(9) + exp, yes},
		{"100 unknown", `{"sub":"u"` + many(100) + exp, yes},

		{"trailing text", `{"sub":"u"` + exp + `x`, no},
		{"trailing object", `{"sub":"u"` + exp + `{"sub":"admin"}`, no},
		{"trailing brace", `{"sub":"u"` + exp + `}`, no},
		{"trailing NUL", `{"sub":"u"` + exp + "\x00", no},
		{"trailing white space", `{"sub":"u"` + exp + " \n", yes},
		{"trailing comma", `{"sub":"u","exp":4102444800,}`, no},
		{"leading text", `x{"sub":"u"` + exp, no},
		{"leading white space", "\t {\"sub\":\"u\"" + exp, yes},
		{"leading form feed", "\f{\"sub\":\"u\"" + exp, no},
		{"no-break space", "\u00a0{\"sub\":\"u\"" + exp, no},
		{"byte order mark", "\ufeff{\"sub\":\"u\"" + exp, no},
		{"comment", `{"sub":"u"/**/` + exp, no},
		{"single quotes", `{'sub':'u','exp':4102444800}`, no},
		{"no quotes", `{sub:"u",exp:4102444800}`, no},
		{"array", `[{"sub":"u"` + exp + `]`, no},
		{"null", `null`, no}, {"number", `4102444800`, no}, {"text", `"u"`, no}, {"true", `true`, no}, {"empty", ``, no},
		{"text of an object", `"{\"sub\":\"u\"}"`, no},

		{"not UTF-8 in a value", "{\"sub\":\"u\xff\"" + exp, no},
		{"not UTF-8 in a name", "{\"sub\":\"u\",\"\xff\":1" + exp, no},
		{"not UTF-8 in an unknown value", "{\"sub\":\"u\",\"x\":\"\xc3\"" + exp, no},
		{"overlong UTF-8", "{\"sub\":\"\xc1\xb5\"" + exp, no},
		{"surrogate in UTF-8", "{\"sub\":\"\xed\xa0\x80\"" + exp, no},
		{"Latin-1", "{\"sub\":\"\xfc\"" + exp, no},
		{"raw control", "{\"sub\":\"u\n\"" + exp, no},
		{"raw DEL", "{\"sub\":\"u\x7f\"" + exp, no}, // ST-05: no store is asked for it
		{"escaped NUL", `{"sub":"u\u0000"` + exp, no},
		{"escaped line end", `{"sub":"u\n"` + exp, no},
		{"uid with an escaped NUL", `{"sub":"u","uid":"u\u0000"` + exp, no},
		{"jti with an escaped NUL", `{"sub":"u","jti":"u\u0000"` + exp, yes},
		{"unknown escape", `{"sub":"\x75"` + exp, no},
		{"short escape", `{"sub":"\u75"` + exp, no},

		{"deep", `{"sub":"u","x":` + deep(3000) + exp, yes},
		{"deep and broken", `{"sub":"u","x":` + strings.Repeat("[", 5000), no},
		{"doubled names inside a value", `{"sub":"u","x":{"a":1,"a":2}` + exp, yes},
		{"sub inside a value", `{"x":{"sub":"u"}` + exp, no},
		{"exp inside a value", `{"sub":"u","x":{"exp":4102444800}}`, no},
		{"unknown values of every kind", `{"sub":"u","a":null,"b":true,"c":false,"d":-1.5e-7,"e":"é","f":[1,"x",{}],"g":{"h":[]},"i":0` + exp, yes},
		{"unknown number beyond float64", `{"sub":"u","x":1e999` + exp, yes},
		{"unknown number of 20 digits", `{"sub":"u","x":12345678901234567890` + exp, yes},

		{"roles", `{"sub":"u","roles":["a","b"]` + exp, yes},
		{"roles empty", `{"sub":"u","roles":[]` + exp, yes},
		{"roles text", `{"sub":"u","roles":"admin"` + exp, no},
		{"roles null", `{"sub":"u","roles":null` + exp, yes}, // FR-18: absent
		{"sid and iat null", `{"sub":"u","sid":null,"iat":null` + exp, yes},
		{"exp null", `{"sub":"u","exp":null}`, no},
		{"roles of numbers", `{"sub":"u","roles":[1]` + exp, no},
		{"roles with null", `{"sub":"u","roles":["a",null]` + exp, no},
		{"roles nested", `{"sub":"u","roles":[["admin"]]` + exp, no},
		{"roles object", `{"sub":"u","roles":{"admin":true}` + exp, no},
		{"roles trailing comma", `{"sub":"u","roles":["a",]` + exp, no},
		{"100 roles", `{"sub":"u","roles":["a"` + strings.Repeat(`,"a"`, 99) + `]` + exp, yes},

		{"jti", `{"sub":"u","jti":"` + strings.Repeat("x", 128) + `"` + exp, yes},
		{"jti empty", `{"sub":"u","jti":""` + exp, yes},
		{"jti of 129 bytes", `{"sub":"u","jti":"` + strings.Repeat("x", 129) + `"` + exp, no},
		{"jti number", `{"sub":"u","jti":7` + exp, no},
		{"jti null", `{"sub":"u","jti":null` + exp, yes},
		{"uid number", `{"sub":"u","uid":7` + exp, no},
		{"uid null", `{"sub":"u","uid":null` + exp, yes},
		{"iss, none expected", `{"sub":"u","iss":"x"` + exp, yes},
		{"iss number", `{"sub":"u","iss":7` + exp, no},
		{"iss list", `{"sub":"u","iss":["x"]` + exp, no},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			token := tokSign(t, tokKey, tokHeader, tc.payload)
			if tc.want {
				c := tokAccepted(t, tokVerifier(t, tokKey), token)
				require.NotEmpty(t, c.Subject)
				require.EqualValues(t, int64(4102444800), c.ExpiresAt.Unix())
				return
			}
			tokRefused(t, tokVerifier(t, tokKey), token)
			_, err := tokVerifier(t, tokKey).Verify(token)
			require.NotErrorIs(t, err, authkit.ErrTokenExpired, "it never was good")
		})
	}
}

// TK-08: a claim is read under its own name alone, and the others stay where they are.
func TestVerifyExactNames(t *testing.T) {
	t.Parallel()
	verifier := tokVerifier(t, tokKey)
	for _, payload := range []string{
		`{"SUB":"admin","sub":"u","EXP":1,"exp":4102444800,"Nbf":9e9,"IAT":9e9,"ROLES":["admin"],"JTI":"x","Uid":"x","ISS":"x","Aud":"x"}`,
		`{"sub":"u","SUB":"admin","exp":4102444800,"EXP":1,"roleſ":["admin"],"ıss":"x","ſub":"admin"}`,
	} {
		c := tokAccepted(t, verifier, tokSign(t, tokKey, tokHeader, payload))
		tokSame(t, authkit.Claims{Subject: "u", ExpiresAt: time.Unix(4102444800, 0)}, c)
	}
	// The escape of half a surrogate pair is no character; encoding/json reads it as U+FFFD, in names
	// too, so that two such names are one.
	c := tokAccepted(t, verifier, tokSign(t, tokKey, tokHeader, `{"sub":"\ud800","exp":4102444800}`))
	require.Equal(t, "\ufffd", c.Subject)
	tokRefused(t, verifier, tokSign(t, tokKey, tokHeader, `{"sub":"u","\ud800":1,"\udfff":2,"exp":4102444800}`))
	c = tokAccepted(t, verifier, tokSign(t, tokKey, tokHeader, `{"sub":"\ud83d\udd11","exp":4102444800}`))
	require.Equal(t, "🔑", c.Subject)
}

// TK-06: issuer and audience compare exactly.
func TestVerifyIssuerAndAudience(t *testing.T) {
	t.Parallel()
	const iss, aud = "https://id.example.com", "api"
	for _, tc := range []struct {
		name, members string
		issuer        bool // is one configured?
		audience      bool
		want          bool
	}{
		{"nothing asked, nothing said", `"x":1`, false, false, true},
		{"both asked, both said", `"iss":"https://id.example.com","aud":"api"`, true, true, true},

		{"iss", `"iss":"https://id.example.com"`, true, false, true},
		{"iss escaped", `"iss":"https:\/\/id.example.com"`, true, false, true},
		{"iss missing", `"x":1`, true, false, false},
		{"iss empty", `"iss":""`, true, false, false},
		{"iss with a slash", `"iss":"https://id.example.com/"`, true, false, false},
		{"iss of another case", `"iss":"https://ID.example.com"`, true, false, false},
		{"iss a prefix", `"iss":"https://id.example.co"`, true, false, false},
		{"iss a list", `"iss":["https://id.example.com"]`, true, false, false},
		{"ISS", `"ISS":"https://id.example.com"`, true, false, false},

		{"aud", `"aud":"api"`, false, true, true},
		{"aud list of one", `"aud":["api"]`, false, true, true},
		{"aud last of a list", `"aud":["x","","api"]`, false, true, true},
		{"aud list with white space", `"aud":[ "x" , "api" ]`, false, true, true},
		{"aud missing", `"x":1`, false, true, false},
		{"aud empty", `"aud":""`, false, true, false},
		{"aud empty list", `"aud":[]`, false, true, false},
		{"aud another", `"aud":"web"`, false, true, false},
		{"aud others", `"aud":["web","apis"]`, false, true, false},
		{"aud of another case", `"aud":"API"`, false, true, false},
		{"aud with a space", `"aud":"api "`, false, true, false},
		{"aud list in a text", `"aud":"web api"`, false, true, false},
		{"aud null", `"aud":null`, false, true, false},
		{"aud number", `"aud":1`, false, true, false},
		{"aud object", `"aud":{"api":true}`, false, true, false},
		{"aud list of numbers", `"aud":["api",1]`, false, true, false},
		{"aud list with null", `"aud":["api",null]`, false, true, false},
		{"aud nested", `"aud":[["api"]]`, false, true, false},
		{"AUD", `"AUD":"api"`, false, true, false},

		{"aud though none is asked", `"aud":"api"`, false, false, false},
		{"aud list though none is asked", `"aud":["api"]`, false, false, false},
		{"aud empty though none is asked", `"aud":""`, false, false, false},
		{"aud empty list though none is asked", `"aud":[]`, false, false, false},
		{"aud null though none is asked", `"aud":null`, false, false, true}, // FR-18: absent
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := authkit.TokenConfig{Keys: []authkit.Key{tokKey}}
			if tc.issuer {
				cfg.Issuer = iss
			}
			if tc.audience {
				cfg.Audience = aud
			}
			tokForms(t, tokVerifierFor(t, cfg), tc.members+`,"exp":4102444800`, tc.want)
		})
	}
}

// The oracle: on payloads of all kinds this verifier and golang-jwt's parser, as strict as its
// options make it, decide alike, but for the differences listed, in which this one refuses.
func TestVerifyDiffersFromGolangJWT(t *testing.T) {
	t.Parallel()
	type value struct {
		text    string
		differs string // why golang-jwt accepts, if that is why it does
	}
	date := func(offsets ...int64) (values []value) {
		for _, o := range offsets {
			values = append(values, value{text: fmt.Sprint(tokBubble + o)})
		}
		return append(values,
			value{text: `null`}, value{text: `true`}, value{text: `[]`}, value{text: `{}`}, value{text: `"x"`},
			value{text: fmt.Sprintf("%q", fmt.Sprint(tokBubble+60))}, value{text: `""`}, value{text: `-`}, value{text: `01`}, value{text: `1e`})
	}
	text := func(differs string, more ...value) []value {
		return append([]value{
			{text: `"x"`}, {text: `"ü🔑<&>\u0041"`}, {`1`, differs}, {`null`, differs}, {`true`, differs}, {`{}`, differs},
		}, more...)
	}
	const null = "null counts as absent" // here, and not there: FR-18
	absent := func(values []value) []value {
		for i := range values {
			if values[i].text == "null" {
				values[i].differs = null
			}
		}
		return values
	}
	early := value{"-5", "a negative date is long past"}
	zero := value{"0", "0 counts as absent"}
	wrapped := value{"1e300", "a date beyond int64 wraps around"}
	huge := value{"1e12", "the year 33658 is a date"}
	claims := []struct {
		name   string
		odds   int // in 10, that it is there
		values []value
		absent string // why golang-jwt accepts it absent
	}{
		{"sub", 9, text("sub is not looked at", value{`""`, "sub may be empty"}), "sub may be missing"},
		{"exp", 9, append(date(60, -31, -30, -29, 0, 600, 1e9, 9e9), value{text: "1e10"}, value{text: "9.4668481e8"}, value{text: "0"}, value{text: "-5"}, huge), ""},
		{"iat", 5, append(absent(date(-600, 0, 29, 30, 31, 600)), early, zero, wrapped), ""},
		{"nbf", 4, append(absent(date(-600, 0, 29, 30, 31, 600)), early, value{text: "0"}, wrapped), ""},
		{"jti", 4, text("jti is not looked at", value{`"` + strings.Repeat("x", 129) + `"`, "jti may have any length"}), ""},
		{"iss", 2, text("iss is not looked at"), ""},
		{"aud", 1, []value{{`"x"`, "aud is not looked at"}, {`["x"]`, "aud is not looked at"}, {`[]`, "aud is not looked at"}, {`1`, "aud is not looked at"}}, ""},
		{"roles", 3, []value{{text: `["a","b"]`}, {text: `[]`}, {text: `[ "a" ]`}, {`"a"`, "roles are unknown"}, {`[1]`, "roles are unknown"}}, ""},
		{"uid", 2, text("uid is unknown"), ""},
		{"ext", 4, []value{{text: `{"a":[1,2,{"b":null}]}`}, {text: `-1.5e-7`}, {text: `"\n"`}, {text: `0`}, {text: `{"a":}`}, {text: `[1,]`}}, ""},
		{"SUB", 1, []value{{text: `"admin"`}}, ""},
		{"Exp", 1, []value{{text: `1`}}, ""},
	}
	differences := make(map[string]int)
	agreed := map[bool]int{}
	synctest.Test(t, func(t *testing.T) {
		verifier, parser := tokVerifier(t, tokKey), tokParser(authkit.HS256)
		random := mathrand.New(mathrand.NewPCG(1, 2))
		for range 6000 {
			var members []string
			reasons := make(map[string]bool)
			note := func(reason string) {
				if reason != "" {
					reasons[reason] = true
				}
			}
			for _, c := range claims {
				if random.IntN(10) >= c.odds {
					note(c.absent)
					continue
				}
				v := c.values[random.IntN(len(c.values))]
				if random.IntN(4) > 0 {
					v = c.values[0] // mostly good, so that one fault is seen alone
				}
				note(v.differs)
				members = append(members, `"`+c.name+`":`+v.text)
			}
			random.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
			if len(members) > 0 && random.IntN(20) == 0 {
				note("a name may occur twice")
				members = append(members, members[random.IntN(len(members))])
			}
			payload := `{` + strings.Join(members, []string{",", ", ", "\n,\t"}[random.IntN(3)]) + `}`
			if random.IntN(20) == 0 {
				if broken := random.IntN(2) == 0; broken {
					payload += "x"
				} else {
					payload = strings.Replace(payload, `"x"`, "\"x\xff\"", 1)
					note("text need not be UTF-8")
				}
			}
			token := tokSign(t, tokKey, tokHeader, payload)
			ours, err := verifier.Verify(token)
			parsed, theirErr := parser.Parse(token, func(*jwt.Token) (any, error) { return tokKey.Secret, nil })
			switch {
			case (err == nil) == (theirErr == nil):
				agreed[err == nil]++
				if err == nil {
					subject, _ := parsed.Claims.GetSubject()
					expires, _ := parsed.Claims.GetExpirationTime()
					require.Equal(t, subject, ours.Subject)
					require.Equal(t, expires.Unix(), ours.ExpiresAt.Unix())
				}
			case err == nil && reasons[null]:
				differences[null]++
			case err == nil:
				t.Errorf("accepted, and refused by golang-jwt: %s: %v", payload, theirErr)
			case len(reasons) == 0:
				t.Errorf("refused, and accepted by golang-jwt: %s: %v", payload, err)
			case len(reasons) == 1:
				for reason := range reasons {
					differences[reason]++
				}
			}
		}
	})
	require.Greater(t, agreed[true], 500, "the payloads are too bad to say much")
	require.Greater(t, agreed[false], 1000, "the payloads are too good to say much")
	require.Equal(t, []string{
		"0 counts as absent", "a date beyond int64 wraps around", "a name may occur twice", "a negative date is long past",
		"aud is not looked at", "iss is not looked at", "jti is not looked at", "jti may have any length", null, "roles are unknown",
		"sub is not looked at", "sub may be empty", "sub may be missing", "text need not be UTF-8", "the year 33658 is a date", "uid is unknown",
	}, slices.Sorted(maps.Keys(differences)))
}

// A cache changes how quickly a token is verified, and nothing else.
func TestVerifyCache(t *testing.T) {
	t.Parallel()
	for _, alg := range []authkit.Algorithm{authkit.EdDSA, authkit.ES256, authkit.RS256} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				key := tokKeys()[alg]
				cfg := authkit.TokenConfig{Keys: []authkit.Key{key}, Audience: "api", Issuer: "iss", CacheSize: 8}
				verifier := tokVerifierFor(t, cfg)
				token := tokIssue(t, tokIssuerFor(t, cfg), authkit.Claims{
					Subject: "u", UserID: "id", Roles: []string{"user"}, Audience: []string{"api", "web"},
					NotBefore: time.Now().Add(-time.Second), Extra: map[string]int{"n": 7},
				})
				first := tokAccepted(t, verifier, token)
				want := tokAccepted(t, tokVerifierFor(t, authkit.TokenConfig{Keys: cfg.Keys, Audience: "api", Issuer: "iss"}), token)
				tokSame(t, want, first)

				// What a handler does to its claims is not seen by the next.
				for range 3 {
					c := tokAccepted(t, verifier, token)
					tokSame(t, want, c)
					var extra struct{ N int }
					require.NoError(t, c.Decode(&extra))
					require.Equal(t, 7, extra.N)
					c.Roles[0], c.Audience[0] = "admin", "admin"
					c.Roles = append(c.Roles, "admin")
				}
				first.Roles[0], first.Audience[1] = "admin", "admin"
				tokSame(t, want, tokAccepted(t, verifier, token))

				// Every text but the token is another one.
				for i := range token {
					for bit := range 8 {
						if alg != authkit.EdDSA && i%9 != bit {
							continue
						}
						other := []byte(token)
						other[i] ^= 1 << bit
						if _, err := verifier.Verify(string(other)); err == nil {
							t.Errorf("accepted %q", other)
						}
					}
				}

				// It is forgotten when it is time.
				time.Sleep(time.Until(want.ExpiresAt.Add(30*time.Second - 1)))
				tokSame(t, want, tokAccepted(t, verifier, token))
				time.Sleep(time.Nanosecond)
				for range 2 {
					tokRefused(t, verifier, token)
					_, err := verifier.Verify(token)
					require.ErrorIs(t, err, authkit.ErrTokenExpired)
				}
			})
		})
	}
}

// A cache does not remember a refusal, nor who else's token it saw before.
func TestVerifyCacheRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := tokKeys()[authkit.EdDSA]
		verifier := tokVerifierFor(t, authkit.TokenConfig{Keys: []authkit.Key{key}, CacheSize: 1})
		issuer := tokIssuer(t, key)
		later := tokIssue(t, issuer, authkit.Claims{Subject: "u", NotBefore: time.Now().Add(time.Minute)})
		tokRefused(t, verifier, later)
		time.Sleep(30 * time.Second)
		tokAccepted(t, verifier, later)

		// More tokens than it has room for, again and again.
		var tokens []string
		for i := range 20 {
			tokens = append(tokens, tokIssue(t, issuer, authkit.Claims{Subject: fmt.Sprint(i)}))
		}
		for range 3 {
			for i, token := range tokens {
				require.Equal(t, fmt.Sprint(i), tokAccepted(t, verifier, token).Subject)
			}
		}
		stranger := tokVerifierFor(t, authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.EdDSA, Public: ed25519.PublicKey(tokDigest("x"))}}, CacheSize: 1})
		tokRefused(t, stranger, tokens[0])
	})
}
