package authkit_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/authkit-go/authkit"
)

// FuzzVerify holds a verifier to RE-02: what verifies, we issued. Its keys are known to the test
// alone, and sign in the same way every time, so that a token of one process is one of another.
//
// A text is tried as a token; it must be one of those that were issued. Signed as it stands it
// gets as far as its parts; with a header and a payload put into the parts, as far as those. Then
// golang-jwt has to find the same signature good and read the same subject.
func FuzzVerify(f *testing.F) {
	keys := []authkit.Key{
		{ID: "a", Algorithm: authkit.HS256, Secret: tokSecret("fuzz a")},
		{Algorithm: authkit.HS256, Secret: tokSecret("fuzz")},
		{ID: "e", Algorithm: authkit.EdDSA, Private: ed25519.NewKeyFromSeed([]byte(testSecret))},
		{ID: "b", Algorithm: authkit.HS384, Secret: tokSecret("fuzz b")},
	}
	headers := []string{
		`{"alg":"HS256","kid":"a","typ":"JWT"}`, `{"alg":"HS256","typ":"JWT"}`, `{"alg":"EdDSA","kid":"e","typ":"JWT"}`, `{"alg":"HS384","kid":"b"}`,
		`{"typ":"jwt", "alg":"HS256","x":[1e999,{"y":"\u0000"}]}`,
	}
	payloads := []string{
		tokPayload, `{"sub":"user@example.com","iat":1767225600,"exp":4102444800,"nbf":1,"jti":"x","uid":"id","roles":["admin","user"]}`,
		`{"s\u0075b":"ü🔑", "exp":1e10}`, `{"sub":"u","exp":4102444800.5,"ext":{"a":[1,null,{"b":-1.5e-7}]}}`,
		`{"sub":"u","exp":4102444800,"iat":null,"nbf":0,"sid":null}`, `{"SUB":"admin","sub":"u","exp":4102444800}`, `{"sub":"\ud800","exp":99999999999,"roles":[]}`,
	}
	issued := make(map[string]bool)
	for i, key := range keys {
		for _, payload := range payloads {
			token := tokSign(f, key, headers[i], payload)
			issued[token] = true
			f.Add(token, headers[i], payload, byte(i))
		}
	}
	// The last is of whole groups of four letters: with a line end in it the rest is still the payload.
	for _, text := range []string{"..", "a.b.c", tok64(headers[1]) + ".\n" + tok64(tokPayload), tok64(headers[1]) + ".\n" + tok64(`{"sub":"xyz","exp":4102444800}`)} {
		f.Add(text, headers[4], "", byte(1))
	}
	f.Add(tok64(headers[1])+"."+tok64(payloads[0]), `{"alg":"HS256","crit":["x"],"x":1}`, "{", byte(1))

	config := authkit.TokenConfig{Keys: keys, Leeway: -1}
	verifier := tokVerifierFor(f, config)
	// Numbers as text, since claims that neither side knows may be beyond float64; a second of leeway,
	// since fractions are dropped on this side.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256", "HS384", "EdDSA"}), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithStrictDecoding(), jwt.WithJSONNumber(), jwt.WithLeeway(time.Second))

	f.Fuzz(func(t *testing.T, text, header, payload string, which byte) {
		key := keys[int(which)%len(keys)]
		verify := func(token string) bool {
			c, err := verifier.Verify(token)
			if err != nil {
				if !errors.Is(err, authkit.ErrInvalidToken) || c.Subject != "" || !c.ExpiresAt.IsZero() || c.Decode(new(any)) == nil {
					t.Fatalf("%q: claims with an error, or another error: %v, %v", token, c, err)
				}
				return false
			}
			if len(token) > 8192 || strings.Count(token, ".") != 2 || strings.Trim(token, ".-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" ||
				strings.ContainsAny(token, "\r\n \t=+/") {
				t.Fatalf("%q: no token by its form", token)
			}
			if c.Subject == "" || len(c.Subject) > 255 || len(c.ID) > 128 || c.Audience != nil ||
				c.ExpiresAt.Unix() <= time.Now().Unix()-1 || c.ExpiresAt.Unix() >= 1e11 {
				t.Fatalf("%q: %+v", token, c)
			}
			parsed, err := parser.Parse(token, func(token *jwt.Token) (any, error) {
				for _, k := range keys {
					kid, named := token.Header["kid"].(string)
					if _, verifying := tokMaterial(k); k.ID == kid && named == (kid != "") {
						if token.Method.Alg() != string(k.Algorithm) {
							return nil, errors.New("another algorithm than the key's")
						}
						return verifying, nil
					}
				}
				return nil, errors.New("no such key")
			})
			if err != nil {
				if raw, err := jwt.NewParser().DecodeSegment(token[:strings.IndexByte(token, '.')]); err == nil && json.Unmarshal(raw, new(map[string]any)) != nil {
					return true // a number in the header is beyond float64
				}
				if ed25519Named(token) || undated(c, "iat", c.IssuedAt) || undated(c, "nbf", c.NotBefore) {
					return true // FR-18
				}
				t.Fatalf("%q: golang-jwt: %v", token, err)
			}
			if subject, err := parsed.Claims.GetSubject(); err != nil || subject != c.Subject {
				t.Fatalf("%q: subject %q, or %q: %v", token, c.Subject, subject, err)
			}
			return true
		}

		if verify(text) && !issued[text] {
			t.Fatalf("forged: %q", text)
		}
		_ = verify(tokSignInput(t, key, text))
		if cut := strings.LastIndexByte(text, '.'); cut >= 0 {
			_ = verify(tokSignInput(t, key, text[:cut]))
		}
		token := tokSign(t, key, header, payload)
		good := verify(token)

		// The same signature does not stand for anything else.
		changed := []byte(token)
		changed[(len(text)*7919+len(payload))%len(changed)] ^= 1 << (which % 8)
		if good && verify(string(changed)) {
			t.Fatalf("forged: %q from %q", changed, token)
		}
		parts := strings.Split(token, ".")
		for _, other := range []string{
			tok64(text) + "." + parts[1] + "." + parts[2], parts[0] + "." + tok64(text) + "." + parts[2], parts[0] + "." + parts[1] + "." + tok64(text),
		} {
			if other != token && verify(other) && !issued[other] {
				t.Fatalf("forged: %q from %q", other, token)
			}
		}
	})
}

// ed25519Named reports whether the header of a token has the algorithm's name of RFC 9864.
func ed25519Named(token string) bool {
	var header struct {
		Alg string `json:"alg"`
	}
	raw, err := jwt.NewParser().DecodeSegment(token[:strings.IndexByte(token, '.')])
	return err == nil && json.Unmarshal(raw, &header) == nil && header.Alg == "Ed25519"
}

// undated reports whether a date is in the claims and counts as absent: null.
func undated(c authkit.Claims, name string, date time.Time) bool {
	var all map[string]json.RawMessage
	if c.Decode(&all) != nil {
		return false
	}
	_, there := all[name]
	return there && date.IsZero()
}

// FuzzIssue holds an issuer to its word: what it issues, a verifier with its configuration takes, with
// the same claims; and what its callers put in never becomes another claim.
func FuzzIssue(f *testing.F) {
	f.Add("u", "id", "jti", "iss", "admin", "user", "tenant", []byte(`"acme"`))
	f.Add("ü🔑", "", "", "", "", "\x00", "sub", []byte(`"admin"`))
	f.Add(`","exp":1,"x":"`, "<&>", "\u2028", "\xff", `"`, `\`, "\xff", []byte(`{"a":1,"a":2}`))
	f.Add("u", "id", strings.Repeat("x", 128), "iss", "admin", "user", "", []byte("[1,2, 3e400]"))
	issuer, verifier := tokIssuer(f, tokKey), tokVerifier(f, tokKey)
	reserved := []string{"sub", "uid", "roles", "jti", "iss", "aud", "iat", "exp", "nbf", "sid", "client_id", "cnf", "scope", "tenant"}
	f.Fuzz(func(t *testing.T, subject, user, id, iss, role1, role2, name string, value []byte) {
		given := authkit.Claims{Subject: subject, UserID: user, ID: id, Issuer: iss, Roles: []string{role1, role2}}
		if json.Valid(value) {
			given.Extra = map[string]json.RawMessage{name: value}
		}
		token, err := issuer.Issue(given)
		if err != nil {
			return
		}
		c, err := verifier.Verify(token)
		if err != nil {
			if len(tokMended(id)) > 128 {
				return // see TestIssueMakesWhatVerifyTakes
			}
			t.Fatalf("%q: %v", token, err)
		}
		if c.Subject != subject || c.UserID != tokMended(user) || id != "" && c.ID != tokMended(id) || c.Issuer != tokMended(iss) ||
			!slices.Equal(c.Roles, []string{tokMended(role1), tokMended(role2)}) {
			t.Fatalf("%+v came back as %+v", given, c)
		}
		if given.Extra != nil && slices.Contains(reserved, tokMended(name)) {
			t.Fatalf("a reserved name: %q", name)
		}
		if given.Extra != nil {
			var all map[string]json.RawMessage
			if err := c.Decode(&all); err != nil {
				t.Fatal(err)
			}
			if _, ok := all[tokMended(name)]; !ok {
				t.Fatalf("%q is missing in %v", name, all)
			}
		}
	})
}

// tokMended is text as JSON can hold it: each byte that is not UTF-8 becomes U+FFFD.
func tokMended(s string) string { return string([]rune(s)) }
