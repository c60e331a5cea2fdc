package jws

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func unbase64(t *testing.T, s string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func setOf(t *testing.T, keys ...Key) *Set {
	t.Helper()
	var bound []*BoundKey
	for _, k := range keys {
		b, err := Bind(k)
		if err != nil {
			t.Fatal(err)
		}
		bound = append(bound, b)
	}
	return NewSet(bound)
}

// The examples of RFC 7515, appendix A, and of RFC 8037, appendix A.4. Their payloads are not
// the claims of access tokens.
func TestOpenRFCExamples(t *testing.T) {
	t.Parallel()
	const joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	big64 := func(s string) *big.Int { return new(big.Int).SetBytes(unbase64(t, s)) }
	point, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4},
		unbase64(t, "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"), unbase64(t, "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, token string
		key         Key
		payload     string
	}{
		{
			"RFC 7515 A.1", "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + joe + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
			Key{Algorithm: HS256, Secret: unbase64(t, "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")},
			"",
		},
		{
			"RFC 7515 A.2", "eyJhbGciOiJSUzI1NiJ9." + joe + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7" +
				"AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K" +
				"0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB" +
				"p0igcN_IoypGlUPQGe77Rw",
			Key{Algorithm: RS256, Public: &rsa.PublicKey{E: 65537, N: big64(
				"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOW" +
					"vG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k" +
					"G4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ")}},
			"",
		},
		{
			"RFC 7515 A.3", "eyJhbGciOiJFUzI1NiJ9." + joe + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
			Key{Algorithm: ES256, Public: point},
			"",
		},
		{
			"RFC 8037 A.4", "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." +
				"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
			Key{Algorithm: EdDSA, Public: ed25519.PublicKey(unbase64(t, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))},
			"Example of Ed25519 signing",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			secret := tc.key.Secret
			if secret != nil { // a published one, which is refused
				if _, err := Bind(tc.key); err == nil {
					t.Error("the secret of the RFC was taken")
				}
				tc.key.Secret = []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")
			}
			set := setOf(t, tc.key)
			if secret != nil {
				set.Keys[0].newMAC = func() hash.Hash { return hmac.New(sha256.New, secret) }
			}
			want := tc.payload
			if want == "" {
				want = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"
			}
			if got, err := set.Open(Plain, tc.token); err != nil || got != want {
				t.Errorf("Open: %q, %v", got, err)
			}
			for i := range tc.token { // each letter but one
				other := tc.token[:i] + string(tc.token[i]^1) + tc.token[i+1:]
				if _, err := set.Open(Plain, other); err == nil {
					t.Errorf("Open took %q", other)
				}
			}
		})
	}
}

// A header that the set knows by its text and one that it parses are decided alike: a set without
// known headers opens the same tokens.
func TestKnownHeadersDecideAlike(t *testing.T) {
	t.Parallel()
	secrets := map[string][]byte{
		"a": []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), "b": []byte("1d7fa9c4e1b2835f96a0c7d4e8b1f352"), "": []byte("2d7fa9c4e1b2835f96a0c7d4e8b1f352"),
	}
	sign := func(id, input string) string {
		mac := hmac.New(sha256.New, secrets[id])
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	key := func(id string) Key { return Key{ID: id, Algorithm: HS256, Secret: secrets[id]} }
	rings := map[string][]Key{
		"one": {key("")}, "one, named": {key("a")}, "two": {key("a"), key("b")}, "two, one unnamed": {key("a"), key("")},
		"the unnamed first": {key(""), key("a"), key("b")},
	}
	quick, slow := make(map[string]*Set), make(map[string]*Set)
	for name, keys := range rings {
		quick[name], slow[name] = setOf(t, keys...), setOf(t, keys...)
		if len(slow[name].byHeader[Plain]) == 0 {
			t.Fatal("no header is known by its text")
		}
		slow[name].byHeader = [profiles]map[string]*BoundKey{}
	}
	var parts []string
	for _, id := range []string{"", "a", "b", "c"} {
		parts = append(parts, Plain.headers(HS256, id)...)
		parts = append(parts, Plain.headers("HS384", id)...)
		parts = append(parts, Plain.headers("none", id)...)
	}
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	payloads := []string{
		`{"sub":"u","exp":4102444800}`, `{"sub":"xy","exp":4102444800}`, `{"sub":"u","exp":1}`, `{"exp":4102444800}`, `{`, ``,
	}
	taken := 0
	for n := range 8_000 {
		header := parts[random.IntN(len(parts))]
		input := header + "." + base64.RawURLEncoding.EncodeToString([]byte(pick(payloads...)))
		token := sign(pick("", "a", "b"), input)
		if n%4 == 0 { // a change that the key did not see, or one that it did
			i := random.IntN(len(token) + 1)
			token = token[:i] + pick("", "A", "_", ".", "=", " ", "\x00") + token[min(i+random.IntN(2), len(token)):]
			if last := strings.LastIndexByte(token, '.'); n%8 == 0 && last > 0 {
				token = sign(pick("", "a", "b"), token[:last])
			}
		}
		for ring, set := range quick {
			c, err := set.Open(Plain, token)
			c2, err2 := slow[ring].Open(Plain, token)
			if (err == nil) != (err2 == nil) || c != c2 {
				t.Fatalf("%s: %q: %v, or %v", ring, token, err, err2)
			}
			if err == nil {
				taken++
			}
		}
	}
	if taken < 500 {
		t.Errorf("only %d were good", taken)
	}
}

// What is written is known by its look, for every algorithm and any ID.
func TestKnownHeaders(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "a", `"\<ü` + "\x00", strings.Repeat("x", MaxIDLen)} {
		r := setOf(t, Key{ID: id, Algorithm: HS256, Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")})
		b := r.Keys[0]
		for _, p := range []Profile{Plain, AccessToken} {
			if r.byHeader[p][strings.TrimSuffix(b.headers[p], ".")] != b {
				t.Errorf("%q: the library's own header is not known", id)
			}
			for header, k := range r.byHeader[p] {
				if !r.headerFits(k, p, header) || r.headerFits(k, 1-p, header) || r.byHeader[1-p][header] != nil {
					raw, _ := base64.RawURLEncoding.DecodeString(header)
					t.Errorf("%q: %s is known, and would be refused, or to the other profile", id, raw)
				}
			}
			for _, alg := range []string{HS384, HS512, RS256, PS256, ES256, EdDSA, "none"} {
				for _, header := range p.headers(alg, id) {
					if r.byHeader[p][header] != nil {
						t.Errorf("%q: a header of %s is known", id, alg)
					}
				}
			}
		}
		if own := b.header("JWT") + "."; own != b.headers[Plain] {
			t.Errorf("%q: the header of a typ is written in another way", id)
		}
	}
}

// A text that is not a token is malformed, whether or not it is signed. A token that another key may
// have signed has its own error, since a key ring then fetches the keys again.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	secret := []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")
	set := setOf(t, Key{Algorithm: HS256, Secret: secret})
	sign := func(input string) string {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	known, foreign, payload, zeros := encode(`{"alg":"HS256"}`), encode(`{"alg":"HS256" }`), encode("{}"), strings.Repeat("A", 43)
	long := strings.Repeat("x", 9001) // more than a buffer

	for name, input := range map[string]string{
		"a header that is known": known + "." + payload, "another header": foreign + "." + payload,
		"every kind of letter": foreign + ".AZaz09-_", "a long one": known + "." + encode(long),
	} {
		want, _ := base64.RawURLEncoding.DecodeString(input[strings.IndexByte(input, '.')+1:])
		if got, err := set.Open(Plain, sign(input)); err != nil || got != string(want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, tc := range map[string]struct {
		token string
		want  error
	}{
		"nothing":                     {"", ErrMalformed},
		"one segment":                 {known, ErrMalformed},
		"two segments":                {sign(known), ErrMalformed},
		"two segments, foreign":       {sign(foreign), ErrMalformed},
		"an empty header":             {"." + payload + "." + zeros, ErrMalformed},
		"another signature":           {known + "." + payload + "." + zeros, ErrSignature},
		"another signature, foreign":  {foreign + "." + payload + "." + zeros, ErrUnknownKey},
		"a short signature, foreign":  {foreign + "." + payload + ".A", ErrUnknownKey},
		"a payload with a line break": {sign(known + ".e3\n0"), ErrMalformed},
		"a payload with idle bits":    {sign(known + ".e31"), ErrMalformed},
		"a payload with padding":      {sign(known + ".e30="), ErrMalformed},
		"a long one, a line break":    {sign(known + "." + encode(long)[:100] + "\n" + encode(long)[100:]), ErrMalformed},
		"a long one, idle bits":       {sign(known + "." + encode(long)[:12001] + "B"), ErrMalformed},
	} {
		if got, err := set.Open(Plain, tc.token); err != tc.want || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	named := setOf(t, Key{ID: "a", Algorithm: HS256, Secret: secret})
	for header, set := range map[string]*Set{
		`{"typ":"JWT","alg":"HS256"}`: set, `{"alg":"HS256","kid":"a"}`: named, `{"kid":"a","alg":"HS256"}`: named,
	} {
		if _, err := set.Open(Plain, encode(header)+"."+payload+"."+zeros); err != ErrSignature {
			t.Errorf("another signature, the header %s: %v", header, err)
		}
	}
	for _, header := range []string{
		"x", encode("x"), encode("[]"), encode("{}"), encode(`{"alg":"HS384"}`), encode(`{"alg":1}`), encode(`{"alg":null}`), encode(`{"alg":"Ed25519"}`),
		encode(`{"alg":"HS256","typ":1}`), encode(`{"alg":"HS256","typ":"at+jwt"}`), encode(`{"alg":"HS256","kid":1}`), encode(`{"alg":"HS256","kid":""}`),
		encode(`{"alg":"HS256","kid":"a"}`), encode(`{"alg":"HS256","crit":[]}`), encode(`{"alg":"HS256","b64":true}`), encode(`{"alg":"HS256","alg":"HS256"}`),
		foreign[:4] + "\n" + foreign[4:], foreign + "=", encode(`{"alg":"HS256"} `)[:21] + "B", // idle bits behind the object
	} {
		if got, err := set.Open(Plain, sign(header+"."+payload)); err != ErrMalformed || got != "" {
			t.Errorf("the header %q: %q, %v", header, got, err)
		}
	}
	for _, c := range "\x00\n\r +,/:=@[^`{\x7f" { // next to the letters of base64
		if _, err := set.Open(Plain, foreign+"."+string(c)+payload+"."+zeros); err != ErrMalformed {
			t.Errorf("a token with %q: %v", c, err)
		}
	}
}

// A token with an unusual header is tried against all keys of a set of sixteen. In a
// larger one, the ID must be in the text of the header.
func TestOpenTries(t *testing.T) {
	t.Parallel()
	for n, found := range map[int]bool{16: true, 17: false} {
		var keys []Key
		for i := range n {
			keys = append(keys, Key{ID: string(rune('a' + i)), Algorithm: HS256, Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f35" + string(rune('a'+i)))})
		}
		set := setOf(t, keys...)
		all := `"` + strings.Join(strings.Split("abcdefghijklmnopq"[:n], ""), `","`) + `"`
		for header, want := range map[string]bool{
			`{ "alg":"HS256","kid":"c"}`: true, `{ "alg":"HS256","kid":"\u0063"}`: found, `{ "alg":"HS256"}`: true,
			`{"x":[` + all + `],"alg":"HS256","kid":"p"}`: true, `{"x":[` + all + `],"alg":"HS256","kid":"q"}`: false, // sixteen tries
		} {
			key := keys[2]
			switch {
			case !strings.Contains(header, "kid"):
				key = keys[0]
			case strings.Contains(header, `"kid":"p"`):
				key = keys[15]
			case strings.Contains(header, `"kid":"q"`):
				key = keys[n-1]
			}
			mac := hmac.New(sha256.New, key.Secret)
			input := base64.RawURLEncoding.EncodeToString([]byte(header)) + ".e30"
			mac.Write([]byte(input))
			_, err := set.Open(Plain, input+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
			if (err == nil) != want {
				t.Errorf("%d keys, %s: %v", n, header, err)
			}
		}
	}
}

// A token without a kid belongs to the key without an ID, or else to the first one.
func TestOpenUnnamed(t *testing.T) {
	t.Parallel()
	a := Key{ID: "a", Algorithm: HS256, Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")}
	b := Key{Algorithm: HS256, Secret: []byte("1d7fa9c4e1b2835f96a0c7d4e8b1f352")}
	named := Key{ID: "b", Algorithm: HS256, Secret: b.Secret}
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + ".e30"
	for name, tc := range map[string]struct {
		set  *Set
		key  Key
		want error
	}{
		"the unnamed": {setOf(t, a, b), b, nil}, "not the first": {setOf(t, a, b), a, ErrSignature},
		"the first": {setOf(t, a, named), a, nil}, "not the second": {setOf(t, a, named), b, ErrSignature},
	} {
		mac := hmac.New(sha256.New, tc.key.Secret)
		mac.Write([]byte(input))
		if _, err := tc.set.Open(Plain, input+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil))); err != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignAs(t *testing.T) {
	t.Parallel()
	secrets := [][]byte{[]byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), []byte("1d7fa9c4e1b2835f96a0c7d4e8b1f352"), []byte("2d7fa9c4e1b2835f96a0c7d4e8b1f352")}
	key := func(i int) Key { return Key{ID: string(rune('a' + i)), Algorithm: HS256, Secret: secrets[i]} }
	first, both := setOf(t, key(0)), setOf(t, key(1), key(0))
	for _, payload := range []string{"", "x", strings.Repeat("x", 9001)} {
		token, err := first.SignAs("x+jwt", []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []*Set{first, both} {
			if got, err := set.OpenAs("x+jwt", token); err != nil || string(got) != payload {
				t.Errorf("%q, %v", got, err)
			}
		}
	}
	sign := func(input string) string {
		mac := hmac.New(sha256.New, secrets[0])
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	token, err := first.SignAs("x+jwt", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	header, _, _ := strings.Cut(token, ".")
	for name, tc := range map[string]struct {
		set        *Set
		typ, token string
		want       error
	}{
		"another type":                {first, "y+jwt", token, ErrUnknownKey},
		"another key":                 {setOf(t, key(2)), "x+jwt", token, ErrUnknownKey},
		"no keys":                     {NewSet(nil), "x+jwt", token, ErrUnknownKey},
		"another signature":           {first, "x+jwt", header + ".e30." + strings.Repeat("A", 43), ErrSignature},
		"nothing":                     {first, "x+jwt", "", ErrMalformed},
		"one segment":                 {first, "x+jwt", header, ErrMalformed},
		"two segments":                {first, "x+jwt", sign(header), ErrMalformed},
		"a payload with a line break": {first, "x+jwt", sign(header + ".e3\n0"), ErrMalformed},
		"a payload with idle bits":    {first, "x+jwt", sign(header + ".e31"), ErrMalformed},
	} {
		if got, err := tc.set.OpenAs(tc.typ, tc.token); err != tc.want || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// A set signs with its first key, if that can.
func TestSetSigns(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	hmacKey := Key{Algorithm: HS256, Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")}
	edKey, edPublic := Key{ID: "e", Algorithm: EdDSA, Private: private}, Key{ID: "e", Algorithm: EdDSA, Public: public}
	for name, tc := range map[string]struct {
		set             *Set
		signs, isSecret bool
	}{
		"no keys":              {NewSet(nil), false, false},
		"a secret":             {setOf(t, hmacKey), true, true},
		"a private key":        {setOf(t, edKey), true, false},
		"a public key":         {setOf(t, edPublic), false, false},
		"a public key first":   {setOf(t, edPublic, hmacKey), false, true},
		"a private key, first": {setOf(t, edKey, hmacKey), true, true},
	} {
		var want error
		if !tc.signs {
			want = ErrNoSigningKey
		}
		empty := func(b []byte) ([]byte, error) { return b, nil }
		if _, err := tc.set.Sign(Plain, empty); err != want {
			t.Errorf("%s: Sign: %v", name, err)
		}
		if _, err := tc.set.SignAs("JWT", nil); err != want {
			t.Errorf("%s: SignAs: %v", name, err)
		}
		if tc.set.CanSign() != tc.signs || (tc.set.Symmetric() != nil) != tc.isSecret {
			t.Errorf("%s: CanSign %v, Symmetric %v", name, tc.set.CanSign(), tc.set.Symmetric())
		}
		for _, k := range tc.set.Keys {
			if (k.Bits > 0) != k.Symmetric() || (k.Public() == nil) != k.Symmetric() {
				t.Errorf("%s: %v bits, public key %v", name, k.Bits, k.Public())
			}
		}
	}
	failed := errors.New("failed")
	if _, err := setOf(t, hmacKey).Sign(Plain, func([]byte) ([]byte, error) { return nil, failed }); err != failed {
		t.Errorf("Sign: %v", err)
	}
	other := hmacKey
	other.ID = "a"
	for _, unequal := range []*Set{NewSet(nil), setOf(t, other), setOf(t, edKey), setOf(t, hmacKey, edKey)} {
		if unequal.Equal(setOf(t, hmacKey)) || !unequal.Equal(unequal) {
			t.Error("Equal")
		}
	}
	if setOf(t, edKey).Equal(setOf(t, edPublic)) {
		t.Error("a key that signs is equal to one that does not")
	}
}
