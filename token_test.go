package authkit_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// tokBubble is what the clock says inside a synctest bubble, in seconds.
const tokBubble = 946684800

// tokKey signs most tokens of these tests.
var tokKey = authkit.Key{Algorithm: authkit.HS256, Secret: []byte(testSecret)}

// tokSecret returns a secret of 64 bytes, another one for each name.
func tokSecret(name string) []byte {
	return fmt.Appendf(nil, "%-16.16s%s-7c41e8f09b52d36", name, testSecret)
}

// tokRSA are two RSA keys, made once: making one takes a while.
var tokRSA = sync.OnceValue(func() (keys [2]*rsa.PrivateKey) {
	for i := range keys {
		keys[i], _ = rsa.GenerateKey(rand.Reader, 2048)
	}
	return keys
})

// tokKeys are keys of every algorithm, without IDs.
var tokKeys = sync.OnceValue(func() map[authkit.Algorithm]authkit.Key {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	keys := map[authkit.Algorithm]authkit.Key{
		authkit.HS256: tokKey,
		authkit.HS384: {Secret: tokSecret("384")},
		authkit.HS512: {Secret: tokSecret("512")},
		authkit.RS256: {Private: tokRSA()[0]},
		authkit.PS256: {Private: tokRSA()[0]},
		authkit.ES256: {Private: ec},
		authkit.EdDSA: {Private: ed},
	}
	for alg, key := range keys {
		key.Algorithm = alg
		keys[alg] = key
	}
	return keys
})

// tokAlgorithms are all algorithms, sorted.
func tokAlgorithms() []authkit.Algorithm { return slices.Sorted(maps.Keys(tokKeys())) }

// tokMaterial returns a key's own key material as golang-jwt takes it, to sign and to verify.
func tokMaterial(key authkit.Key) (signing, verifying any) {
	if key.Secret != nil {
		return key.Secret, key.Secret
	}
	return key.Private, key.Private.Public()
}

// tokSignInput signs a signing input, whatever it is, with golang-jwt.
func tokSignInput(t testing.TB, key authkit.Key, input string) string {
	t.Helper()
	signing, _ := tokMaterial(key)
	sig, err := jwt.GetSigningMethod(string(key.Algorithm)).Sign(input, signing)
	require.NoError(t, err)
	return input + "." + tok64(string(sig))
}

// tokSign signs any header and payload.
func tokSign(t testing.TB, key authkit.Key, header, payload string) string {
	t.Helper()
	return tokSignInput(t, key, tok64(header)+"."+tok64(payload))
}

func tok64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func tokIssuer(t testing.TB, keys ...authkit.Key) *authkit.TokenIssuer {
	t.Helper()
	return tokIssuerFor(t, authkit.TokenConfig{Keys: keys})
}

// tokMaxLife is for tests of other rules, whose dates are far apart.
const tokMaxLife = 290 * 365 * 24 * time.Hour

func tokIssuerFor(t testing.TB, cfg authkit.TokenConfig) *authkit.TokenIssuer {
	t.Helper()
	cfg.MaxLifetime = cmp.Or(cfg.MaxLifetime, tokMaxLife)
	i, err := authkit.NewTokenIssuer(cfg)
	require.NoError(t, err)
	return i
}

func tokVerifier(t testing.TB, keys ...authkit.Key) *authkit.TokenVerifier {
	t.Helper()
	return tokVerifierFor(t, authkit.TokenConfig{Keys: keys})
}

func tokVerifierFor(t testing.TB, cfg authkit.TokenConfig) *authkit.TokenVerifier {
	t.Helper()
	cfg.MaxLifetime = cmp.Or(cfg.MaxLifetime, tokMaxLife)
	v, err := authkit.NewTokenVerifier(cfg)
	require.NoError(t, err)
	return v
}

// tokIssue issues a token that must come out.
func tokIssue(t testing.TB, i *authkit.TokenIssuer, c authkit.Claims) string {
	t.Helper()
	token, err := i.Issue(c)
	require.NoError(t, err)
	return token
}

// tokAccepted returns the claims of a token that must be accepted.
func tokAccepted(t testing.TB, v *authkit.TokenVerifier, token string) authkit.Claims {
	t.Helper()
	c, err := v.Verify(token)
	require.NoError(t, err, "%.300q", token)
	return c
}

// tokRefused wants a token refused, with an error of the one kind and without any claims (TK-12).
func tokRefused(t testing.TB, v *authkit.TokenVerifier, token string) {
	t.Helper()
	c, err := v.Verify(token)
	require.ErrorIs(t, err, authkit.ErrInvalidToken, "%.300q", token)
	require.Zero(t, c, "TK-12: claims with an error")
	require.Error(t, c.Decode(new(any)), "TK-12: a payload with an error")
}

// tokSame compares claims; what Decode reads has to be compared apart.
func tokSame(t testing.TB, want, got authkit.Claims) {
	t.Helper()
	type public struct {
		Subject, UserID, ID, Issuer    string
		Roles, Audience                []string
		IssuedAt, ExpiresAt, NotBefore int64
		Extra                          any
	}
	of := func(c authkit.Claims) public {
		return public{
			c.Subject, c.UserID, c.ID, c.Issuer, c.Roles, c.Audience,
			c.IssuedAt.Unix(), c.ExpiresAt.Unix(), c.NotBefore.Unix(), c.Extra,
		}
	}
	require.Equal(t, of(want), of(got))
}

// tokParser is golang-jwt's parser, as strict as its options make it.
func tokParser(alg authkit.Algorithm, options ...jwt.ParserOption) *jwt.Parser {
	return jwt.NewParser(append([]jwt.ParserOption{
		jwt.WithValidMethods([]string{string(alg)}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(30 * time.Second), jwt.WithStrictDecoding(),
	}, options...)...)
}

func TestTokenRoundTrip(t *testing.T) {
	t.Parallel()
	for _, alg := range tokAlgorithms() {
		for _, id := range []string{"", "2026-a"} {
			t.Run(string(alg)+" "+id, func(t *testing.T) {
				t.Parallel()
				key := tokKeys()[alg]
				key.ID = id
				cfg := authkit.TokenConfig{Keys: []authkit.Key{key}, Issuer: "https://id.example.com", Audience: "api"}
				issuer, verifier := tokIssuerFor(t, cfg), tokVerifierFor(t, cfg)
				now := time.Now().Truncate(time.Second)
				want := authkit.Claims{
					Subject: "user@example.com", UserID: "0198", Roles: []string{"admin", "user"}, ID: "jti-1",
					Issuer: "https://id.example.com", Audience: []string{"other", "api"},
					IssuedAt: now, ExpiresAt: now.Add(time.Minute), NotBefore: now.Add(-time.Minute),
				}
				token := tokIssue(t, issuer, want)
				tokSame(t, want, tokAccepted(t, verifier, token))

				if key.Private == nil {
					return
				}
				// TK-01: whoever verifies needs no private key, and cannot sign.
				cfg.Keys = []authkit.Key{{ID: id, Algorithm: alg, Public: key.Private.Public()}}
				tokSame(t, want, tokAccepted(t, tokVerifierFor(t, cfg), token))
				_, err := authkit.NewTokenIssuer(cfg)
				require.ErrorContains(t, err, "TokenConfig.Keys[0]")
			})
		}
	}
}

// Tokens go both ways between the library and golang-jwt, for every algorithm.
func TestTokenInterop(t *testing.T) {
	t.Parallel()
	for _, alg := range tokAlgorithms() {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := tokKeys()[alg]
			key.ID = "k1"
			cfg := authkit.TokenConfig{Keys: []authkit.Key{key}, Issuer: "https://id.example.com", Audience: "api"}
			signing, verifying := tokMaterial(key)

			ours := tokIssue(t, tokIssuerFor(t, cfg), authkit.Claims{Subject: "u", Roles: []string{"admin"}, Extra: map[string]int{"n": 7}})
			parser := tokParser(alg, jwt.WithIssuer("https://id.example.com"), jwt.WithAudience("api"), jwt.WithSubject("u"))
			parsed, err := parser.Parse(ours, func(*jwt.Token) (any, error) { return verifying, nil })
			require.NoError(t, err)
			require.Equal(t, map[string]any{"alg": string(alg), "typ": "JWT", "kid": "k1"}, parsed.Header)
			claims := parsed.Claims.(jwt.MapClaims)
			require.Equal(t, []any{"admin"}, claims["roles"])
			require.Equal(t, 7.0, claims["n"])

			verifier := tokVerifierFor(t, cfg)
			theirs := jwt.NewWithClaims(jwt.GetSigningMethod(string(alg)), jwt.MapClaims{
				"sub": "u", "iss": "https://id.example.com", "aud": []string{"api"},
				"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "ext": map[string]any{"a": []int{1}},
			})
			for _, header := range []map[string]any{
				{"alg": string(alg), "typ": "JWT", "kid": "k1"},
				{"alg": string(alg), "kid": "k1"},
				{"alg": string(alg), "typ": "JWT"},
				{"alg": string(alg)},
				{"alg": string(alg), "typ": "jwt", "kid": "k1", "x5t": "abc", "cty": "x"},
			} {
				theirs.Header = header
				token, err := theirs.SignedString(signing)
				require.NoError(t, err)
				require.Equal(t, "u", tokAccepted(t, verifier, token).Subject)
			}
			// Spellings of other libraries: any order, any white space, escapes.
			payload := `{"iss":"https://id.example.com","aud":"api","sub":"u","exp":4102444800}`
			for _, header := range []string{
				`{"alg":"A","kid":"k1","typ":"JWT"}`, `{"alg":"A","typ":"JWT","kid":"k1"}`,
				`{"kid":"k1","alg":"A","typ":"JWT"}`, `{"kid":"k1","typ":"JWT","alg":"A"}`,
				`{"typ":"JWT","alg":"A","kid":"k1"}`, `{"typ":"JWT","kid":"k1","alg":"A"}`,
				`{"typ":"JWT","alg":"A"}`, `{"alg":"A"}`, `{"kid":"k1","alg":"A"}`,
				"{\"typ\":\"JWT\",\r\n \"alg\":\"A\"}", `{ "alg" : "A" }`, "\n{\"alg\":\"A\"}\t",
				`{"\u0061lg":"A","kid":"\u006b1"}`,
			} {
				token := tokSign(t, key, strings.ReplaceAll(header, `"A"`, `"`+string(alg)+`"`), payload)
				require.Equal(t, "u", tokAccepted(t, verifier, token).Subject, header)
			}
		})
	}
}

func TestIssueFillsIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		require.EqualValues(t, tokBubble, now.Unix())
		key := tokKey

		// TK-13: half an hour by default.
		c := tokAccepted(t, tokVerifier(t, key), tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u"}))
		require.Len(t, c.ID, 22)
		tokSame(t, authkit.Claims{Subject: "u", ID: c.ID, IssuedAt: now, ExpiresAt: now.Add(30 * time.Minute)}, c)

		// TK-06: what is configured is put in.
		cfg := authkit.TokenConfig{Keys: []authkit.Key{key}, Issuer: "iss", Audience: "aud", Lifetime: time.Second}
		c = tokAccepted(t, tokVerifierFor(t, cfg), tokIssue(t, tokIssuerFor(t, cfg), authkit.Claims{Subject: "u"}))
		tokSame(t, authkit.Claims{
			Subject: "u", ID: c.ID, Issuer: "iss", Audience: []string{"aud"}, IssuedAt: now, ExpiresAt: now.Add(time.Second),
		}, c)

		// What the claims say already stays. A lifetime counts from the date of issue.
		given := authkit.Claims{
			Subject: "u", UserID: "id", ID: "jti", Issuer: "other", Audience: []string{"one", "two"}, Roles: []string{},
			IssuedAt: now.Add(-10 * time.Second), NotBefore: now.Add(5 * time.Second),
		}
		cfg.Issuer, cfg.Audience, cfg.Lifetime = "other", "two", time.Hour
		c = tokAccepted(t, tokVerifierFor(t, cfg), tokIssue(t, tokIssuerFor(t, authkit.TokenConfig{
			Keys: cfg.Keys, Issuer: "iss", Audience: "aud", Lifetime: time.Hour,
		}), given))
		given.ExpiresAt = now.Add(time.Hour - 10*time.Second)
		tokSame(t, given, c)

		// Fractions of a second are dropped.
		time.Sleep(999 * time.Millisecond)
		c = tokAccepted(t, tokVerifier(t, key), tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u", ExpiresAt: time.Now().Add(time.Second)}))
		require.Equal(t, now.Unix(), c.IssuedAt.Unix())
		require.Equal(t, now.Unix()+1, c.ExpiresAt.Unix())
	})
}

// TK-17: 10,000 tokens of one second are 10,000 tokens, each with 128 random bits.
func TestIssueIDsAreUnique(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer, verifier := tokIssuer(t, tokKey), tokVerifier(t, tokKey)
		tokens, ids := make(map[string]bool), make(map[string]bool)
		for range 10_000 {
			token, err := issuer.Issue(authkit.Claims{Subject: "u"})
			require.NoError(t, err)
			c, err := verifier.Verify(token)
			require.NoError(t, err)
			tokens[token], ids[c.ID] = true, true
		}
		require.Len(t, tokens, 10_000)
		require.Len(t, ids, 10_000)
		for id := range ids {
			raw, err := base64.RawURLEncoding.DecodeString(id)
			require.NoError(t, err)
			require.Len(t, raw, 16)
			break
		}
	})
}

func TestIssueExtra(t *testing.T) {
	t.Parallel()
	type team struct {
		Name  string `json:"name"`
		Level int    `json:"level"`
	}
	type host struct {
		Tenant string          `json:"org"`
		Team   team            `json:"team"`
		Flags  []bool          `json:"flags"`
		Raw    json.RawMessage `json:"raw,omitempty"`
	}
	want := host{Tenant: "acme", Team: team{"a <b> & \"c\" ü🔑", -3}, Flags: []bool{true, false}}
	text, err := json.Marshal(want)
	require.NoError(t, err)
	issuer, verifier := tokIssuer(t, tokKey), tokVerifier(t, tokKey)
	for name, extra := range map[string]any{
		"struct":  want,
		"pointer": &want,
		"map":     map[string]any{"org": want.Tenant, "team": want.Team, "flags": want.Flags},
		"raw":     json.RawMessage(" " + string(text) + "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := tokAccepted(t, verifier, tokIssue(t, issuer, authkit.Claims{Subject: "u", Roles: []string{"r"}, Extra: extra}))
			require.Nil(t, c.Extra)
			require.Equal(t, "u", c.Subject)
			require.Equal(t, []string{"r"}, c.Roles)
			var got struct {
				host
				Subject string `json:"sub"`
			}
			require.NoError(t, c.Decode(&got))
			require.Equal(t, want, got.host)
			require.Equal(t, "u", got.Subject)

			var wrong struct {
				Tenant int `json:"org"`
			}
			require.ErrorContains(t, c.Decode(&wrong), "authkit: decoding claims")
		})
	}
	t.Run("empty object", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "u", tokAccepted(t, verifier, tokIssue(t, issuer, authkit.Claims{Subject: "u", Extra: struct{}{}})).Subject)
	})
	t.Run("numbers of any size", func(t *testing.T) {
		t.Parallel()
		extra := json.RawMessage(`{"big":123456789012345678901234567890,"small":-0.5e-3,"zero":0}`)
		c := tokAccepted(t, verifier, tokIssue(t, issuer, authkit.Claims{Subject: "u", Extra: extra}))
		var got map[string]json.RawMessage
		require.NoError(t, c.Decode(&got))
		require.Equal(t, "123456789012345678901234567890", string(got["big"]))
		require.Equal(t, "-0.5e-3", string(got["small"]))
	})
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		c    authkit.Claims
		want string
	}{
		{"no subject", authkit.Claims{}, "subject"},
		{"subject of 256 bytes", authkit.Claims{Subject: strings.Repeat("x", 256)}, "subject"},
		{"subject of 128 letters and 256 bytes", authkit.Claims{Subject: strings.Repeat("ü", 128)}, "subject"},
		{"subject that is not UTF-8", authkit.Claims{Subject: "u\xff"}, "subject"},
		{"surrogate in UTF-8", authkit.Claims{Subject: "\xed\xa0\x80"}, "subject"},

		{"list", authkit.Claims{Subject: "u", Extra: []int{1}}, "not a JSON object"},
		{"text", authkit.Claims{Subject: "u", Extra: "x"}, "not a JSON object"},
		{"number", authkit.Claims{Subject: "u", Extra: 7}, "not a JSON object"},
		{"channel", authkit.Claims{Subject: "u", Extra: make(chan int)}, "encoding the extra claims"},
		{"NaN", authkit.Claims{Subject: "u", Extra: map[string]float64{"x": math.NaN()}}, "encoding the extra claims"},
		{"broken", authkit.Claims{Subject: "u", Extra: json.RawMessage(`{"x":1`)}, "encoding the extra claims"},
		{"two objects", authkit.Claims{Subject: "u", Extra: json.RawMessage(`{"x":1}{"sub":"admin"}`)}, "encoding the extra claims"},
		{"not UTF-8", authkit.Claims{Subject: "u", Extra: json.RawMessage("{\"x\":\"\xff\"}")}, "not a JSON object"},
		{"name twice", authkit.Claims{Subject: "u", Extra: json.RawMessage(`{"x":1,"x":2}`)}, "not a JSON object"},
		{"name twice, once escaped", authkit.Claims{Subject: "u", Extra: json.RawMessage(`{"x":1,"\u0078":2}`)}, "not a JSON object"},
		{"reserved name, escaped", authkit.Claims{Subject: "u", Extra: json.RawMessage(`{"s\u0075b":"admin"}`)}, "reserved"},

		{"too large", authkit.Claims{Subject: "u", Extra: map[string]string{"x": strings.Repeat("x", 8192)}}, "over the 8192"},
		{"far too large", authkit.Claims{Subject: "u", Extra: map[string]string{"x": strings.Repeat("x", 1<<20)}}, "over the 8192"},
		{"too many roles", authkit.Claims{Subject: "u", Roles: slices.Repeat([]string{"0123456789"}, 1000)}, "over the 8192"},
	}
	for _, name := range []string{
		"sub", "uid", "roles", "jti", "iss", "aud", "iat", "exp", "nbf", // the library's
		"sid", "client_id", "cnf", "scope", // RFC 9068, RFC 7800
		"auth_time", "amr", "acr", "azp", "act", "may_act", "tenant", // FR-15
	} {
		cases = append(cases, struct {
			name string
			c    authkit.Claims
			want string
		}{"reserved name " + name, authkit.Claims{Subject: "u", Extra: map[string]any{"a": 1, name: "admin"}}, "reserved"})
	}
	issuer, verifier := tokIssuer(t, tokKey), tokVerifier(t, tokKey)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			token, err := issuer.Issue(tc.c)
			require.ErrorContains(t, err, "authkit: ")
			require.ErrorContains(t, err, tc.want)
			require.Empty(t, token)
			// A failure leaves nothing behind in what is used again.
			require.Equal(t, "next", tokAccepted(t, verifier, tokIssue(t, issuer, authkit.Claims{Subject: "next"})).Subject)
		})
	}
}

// TK-08, the other way round: a reader that folds case, as encoding/json does and golang-jwt's
// RegisteredClaims with it, takes SUB for sub and lets the last one win. So a name of the library's is
// reserved in every case: a host that copies names from elsewhere cannot be made to sign one.
func TestIssueRefusesNamesThatFold(t *testing.T) {
	t.Parallel()
	issuer := tokIssuer(t, tokKey)
	for _, name := range []string{"SUB", "Sub", "\u017fub", "EXP", "Nbf", "ROLES", "role\u017f"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Now().Unix()
			value := map[string]any{"sub": "admin", "exp": now + 1e6, "nbf": 1, "roles": []string{"admin"}}
			var extra any
			for known, v := range value {
				if strings.EqualFold(known, name) {
					extra = map[string]any{name: v}
				}
			}
			token, err := issuer.Issue(authkit.Claims{Subject: "u", Roles: []string{"user"}, Extra: extra})
			if err != nil {
				require.ErrorContains(t, err, "reserved")
				return
			}
			var claims struct {
				jwt.RegisteredClaims
				Roles []string `json:"roles"`
			}
			_, err = jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return tokKey.Secret, nil })
			require.NoError(t, err)
			t.Errorf("no error, and another service reads sub %q, exp %v, roles %v", claims.Subject, claims.ExpiresAt, claims.Roles)
		})
	}
}

// What one configuration issues, it verifies: up to the last byte of a token and of a subject.
func TestIssueLargest(t *testing.T) {
	t.Parallel()
	issuer, verifier := tokIssuer(t, tokKey), tokVerifier(t, tokKey)
	longest := 0
	for n := 5900; ; n++ {
		token, err := issuer.Issue(authkit.Claims{Subject: "u", Extra: map[string]string{"x": strings.Repeat("x", n)}})
		if err != nil {
			require.ErrorContains(t, err, "over the 8192")
			break
		}
		longest = len(token)
		require.LessOrEqual(t, longest, 8192)
		tokAccepted(t, verifier, token)
	}
	require.Greater(t, longest, 8190, "refused long before the bound")

	claims := authkit.Claims{Subject: "u", ID: "id", IssuedAt: time.Now(), Extra: map[string]string{"x": strings.Repeat("x", 1000)}}
	exact := len(tokIssue(t, issuer, claims))
	for limit, fits := range map[int]bool{exact: true, exact - 1: false} {
		_, err := tokIssuerFor(t, authkit.TokenConfig{Keys: []authkit.Key{tokKey}, MaxBytes: limit}).Issue(claims)
		require.Equal(t, fits, err == nil, err)
	}

	for _, subject := range []string{strings.Repeat("x", 255), strings.Repeat("ü", 127), strings.Repeat("<", 255)} {
		require.Equal(t, subject, tokAccepted(t, verifier, tokIssue(t, issuer, authkit.Claims{Subject: subject})).Subject)
	}
}

// An issuer does not hand out what a verifier with its configuration refuses.
func TestIssueMakesWhatVerifyTakes(t *testing.T) {
	t.Parallel()
	issuer, verifier := tokIssuer(t, tokKey), tokVerifier(t, tokKey)
	for name, c := range map[string]authkit.Claims{
		"a jti of 129 bytes":    {Subject: "u", ID: strings.Repeat("x", 129)},
		"issued before 1970":    {Subject: "u", IssuedAt: time.Unix(-5, 0), ExpiresAt: time.Now().Add(time.Minute)},
		"not before before":     {Subject: "u", NotBefore: time.Unix(-5, 0)},
		"good beyond year 5138": {Subject: "u", ExpiresAt: time.Date(6000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := issuer.Issue(c)
			if err != nil {
				return
			}
			_, err = verifier.Verify(token)
			require.NoError(t, err, "Issue gave no error")
		})
	}
	for name, cfg := range map[string]authkit.TokenConfig{
		"an Issuer that is not UTF-8":    {Issuer: "a\xff"},
		"an Audience that is not UTF-8":  {Audience: "a\xff"},
		"an empty list for the Audience": {Audience: "api"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.Keys = []authkit.Key{tokKey}
			issuer, err := authkit.NewTokenIssuer(cfg)
			if err != nil {
				return
			}
			c := authkit.Claims{Subject: "u"}
			if cfg.Audience == "api" {
				c.Audience = []string{}
			}
			token, err := issuer.Issue(c)
			if err != nil {
				return
			}
			_, err = tokVerifierFor(t, cfg).Verify(token)
			require.NoError(t, err, "neither New nor Issue gave an error")
		})
	}
	t.Run("expired since 1970", func(t *testing.T) {
		t.Parallel()
		token, err := issuer.Issue(authkit.Claims{Subject: "u", ExpiresAt: time.Unix(0, 0)})
		if err != nil {
			return
		}
		_, err = verifier.Verify(token)
		require.Error(t, err, "a token that was issued as expired is good")
	})
}

func TestIssueStrings(t *testing.T) {
	t.Parallel()
	issuer, verifier := tokIssuer(t, tokKey), tokVerifier(t, tokKey)
	for _, s := range []string{
		"plain", `"`, `\`, `a"b\c`, "<script>&amp;</script>", "ü🔑日本語", "\x00\x01\x1f\x7f", "line\nend\ttab\r",
		"\u2028\u2029", "\ufeff", "\ufffd", "e\u0301", `","exp":1,"x":"`, `\u0022`, " ", "null", "\U0010ffff", "'; --",
	} {
		t.Run(fmt.Sprintf("%q", s), func(t *testing.T) {
			t.Parallel()
			name := strings.Map(func(r rune) rune { // no control characters in what names an account
				if r < ' ' || r == 0x7f {
					return '?'
				}
				return r
			}, s)
			given := authkit.Claims{
				Subject: name, UserID: name, ID: s, Issuer: s, Roles: []string{s, "", s},
				IssuedAt: time.Now().Truncate(time.Second), ExpiresAt: time.Now().Truncate(time.Second).Add(time.Minute),
				Extra: map[string]string{"x" + s: s},
			}
			c := tokAccepted(t, verifier, tokIssue(t, issuer, given))
			var all map[string]any
			require.NoError(t, c.Decode(&all))
			require.Equal(t, s, all["x"+s])
			given.Extra = nil
			tokSame(t, given, c)

			cfg := authkit.TokenConfig{Keys: []authkit.Key{tokKey}, Issuer: s, Audience: s}
			c = tokAccepted(t, tokVerifierFor(t, cfg), tokIssue(t, tokIssuerFor(t, cfg), authkit.Claims{Subject: "u", Audience: []string{"other", s}}))
			require.Equal(t, []string{"other", s}, c.Audience)
			tokRefused(t, verifier, tokIssue(t, tokIssuerFor(t, cfg), authkit.Claims{Subject: "u"}))
		})
	}
}

// TK-12: only a verifier makes claims that can be decoded.
func TestDecodeUnverified(t *testing.T) {
	t.Parallel()
	var into map[string]any
	for name, c := range map[string]authkit.Claims{
		"zero":   {},
		"filled": {Subject: "u", Extra: map[string]any{"admin": true}},
	} {
		require.ErrorContains(t, c.Decode(&into), "only the claims of a verified token", name)
		require.Nil(t, into, name)
	}
}

// RE-01: what issuers and verifiers keep between calls is not shared by two calls.
func TestTokensConcurrently(t *testing.T) {
	t.Parallel()
	const goroutines, each = 64, 60
	algorithms := []authkit.Algorithm{authkit.HS256, authkit.HS512, authkit.EdDSA}
	var issuers []*authkit.TokenIssuer
	var verifiers []*authkit.TokenVerifier
	for _, alg := range algorithms {
		issuers = append(issuers, tokIssuer(t, tokKeys()[alg]))
		verifiers = append(verifiers, tokVerifier(t, tokKeys()[alg]))
	}
	faults := make(chan string, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for n := range each {
				at := (g + n) % len(algorithms)
				subject := fmt.Sprintf("user-%d-%d", g, n)
				extra := map[string]string{"x": strings.Repeat(string(rune('a'+g%26)), (g*37+n*101)%5000)}
				token, err := issuers[at].Issue(authkit.Claims{Subject: subject, Roles: []string{subject}, Extra: extra})
				if err != nil {
					faults <- err.Error()
					return
				}
				c, err := verifiers[at].Verify(token)
				var got map[string]any
				if err == nil {
					err = c.Decode(&got)
				}
				if err != nil || c.Subject != subject || c.Roles[0] != subject || got["x"] != extra["x"] {
					faults <- fmt.Sprintf("%s: %v, claims of %q", subject, err, c.Subject)
					return
				}
				// A bad signature in between must not leave anything behind either.
				if _, err := verifiers[at].Verify(token[:len(token)-1]); err == nil {
					faults <- subject + ": a cut token was accepted"
					return
				}
			}
		})
	}
	wg.Wait()
	close(faults)
	for f := range faults {
		t.Error(f)
	}
}

// Every fault of a configuration is an error that names its field, for the issuer as for the
// verifier. Keys are tested in key_test.go.
func TestTokenConfigFaults(t *testing.T) {
	t.Parallel()
	hs, ed := []authkit.Key{tokKey}, []authkit.Key{tokKeys()[authkit.EdDSA]}
	named := func(ids ...string) (keys []authkit.Key) {
		for _, id := range ids {
			keys = append(keys, authkit.Key{ID: id, Algorithm: authkit.HS256, Secret: tokSecret(id)})
		}
		return keys
	}
	numbered := func(n int) []authkit.Key {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprint(i)
		}
		return named(ids...)
	}
	for _, tc := range []struct {
		name string
		cfg  authkit.TokenConfig
		want []string // nil: no fault
	}{
		{"nothing", authkit.TokenConfig{}, []string{"TokenConfig.Keys: 0 keys"}},
		{"one key", authkit.TokenConfig{Keys: hs}, nil},
		{"100 keys", authkit.TokenConfig{Keys: numbered(100)}, nil},
		{"an issuer that is not UTF-8", authkit.TokenConfig{Keys: hs, Issuer: "a\xff"}, []string{"TokenConfig.Issuer: not UTF-8"}},
		{"an audience that is not UTF-8", authkit.TokenConfig{Keys: hs, Audience: "a\xff"}, []string{"TokenConfig.Audience: not UTF-8"}},
		{"a client of 255 bytes", authkit.TokenConfig{Keys: hs, ClientID: strings.Repeat("c", 255)}, nil},
		{"a client of 256 bytes", authkit.TokenConfig{Keys: hs, ClientID: strings.Repeat("c", 256)}, []string{"TokenConfig.ClientID"}},
		{"a tenant of 64 bytes", authkit.TokenConfig{Keys: hs, Tenant: strings.Repeat("t", 64)}, nil},
		{"a tenant of 65 bytes", authkit.TokenConfig{Keys: hs, Tenant: strings.Repeat("t", 65)}, []string{"TokenConfig.Tenant"}},
		{"a tenant with a line end", authkit.TokenConfig{Keys: hs, Tenant: "t\n"}, []string{"TokenConfig.Tenant"}},
		{"101 keys", authkit.TokenConfig{Keys: numbered(101)}, []string{"TokenConfig.Keys: 101 keys"}},
		{"an ID twice", authkit.TokenConfig{Keys: named("a", "b", "a")}, []string{"TokenConfig.Keys[2]", `"a"`}},
		{"two keys without ID", authkit.TokenConfig{Keys: named("", "")}, []string{"TokenConfig.Keys[1]", `""`}},
		{"an ID twice, two algorithms", authkit.TokenConfig{Keys: append(named(""), ed...)}, []string{"TokenConfig.Keys[1]"}},
		{"IDs that differ in case", authkit.TokenConfig{Keys: named("a", "A")}, nil},
		{"a key without Algorithm", authkit.TokenConfig{Keys: []authkit.Key{tokKey, {ID: "x"}}}, []string{"TokenConfig.Keys[1]", "Algorithm"}},

		{"lifetime of an hour", authkit.TokenConfig{Keys: hs, Lifetime: time.Hour}, nil},
		{"lifetime over an hour", authkit.TokenConfig{Keys: hs, Lifetime: time.Hour + time.Second}, []string{"TokenConfig.Lifetime"}},
		{"negative lifetime", authkit.TokenConfig{Keys: hs, Lifetime: -time.Second}, []string{"TokenConfig.Lifetime"}},
		{"half a second", authkit.TokenConfig{Keys: hs, Lifetime: time.Second / 2}, []string{"TokenConfig.Lifetime"}},
		{"a nanosecond too much", authkit.TokenConfig{Keys: hs, Lifetime: time.Minute + 1}, []string{"TokenConfig.Lifetime"}},

		{"leeway of a minute", authkit.TokenConfig{Keys: hs, Leeway: time.Minute}, nil},
		{"leeway over a minute", authkit.TokenConfig{Keys: hs, Leeway: time.Minute + 1}, []string{"TokenConfig.Leeway"}},
		{"leeway of half a second", authkit.TokenConfig{Keys: hs, Leeway: time.Second / 2}, []string{"TokenConfig.Leeway"}},
		{"negative leeway", authkit.TokenConfig{Keys: hs, Leeway: math.MinInt64}, nil},

		{"cache", authkit.TokenConfig{Keys: ed, CacheSize: math.MaxInt}, nil},
		{"cache for HS", authkit.TokenConfig{Keys: hs, CacheSize: 1}, []string{"TokenConfig.CacheSize", "HS256"}},
		{"cache for HS among others", authkit.TokenConfig{Keys: append(named("a"), ed...), CacheSize: 1}, []string{"TokenConfig.CacheSize", "HS256"}},
		{"negative cache", authkit.TokenConfig{Keys: ed, CacheSize: -1}, []string{"TokenConfig.CacheSize: -1"}},

		{
			"everything at once", authkit.TokenConfig{
				Keys:     []authkit.Key{{Algorithm: "HS257"}, {ID: "b", Algorithm: authkit.HS256, Secret: []byte("short")}, {ID: "c", Algorithm: authkit.ES256}},
				Lifetime: 2 * time.Hour, Leeway: 2 * time.Minute, CacheSize: -1,
			},
			[]string{
				"TokenConfig.Keys[0]", "TokenConfig.Keys[1]", "TokenConfig.Keys[2]",
				"TokenConfig.Lifetime", "TokenConfig.Leeway", "TokenConfig.CacheSize",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			issuer, err := authkit.NewTokenIssuer(tc.cfg)
			verifier, err2 := authkit.NewTokenVerifier(tc.cfg)
			if tc.want == nil {
				require.NoError(t, err)
				require.NoError(t, err2)
				tokAccepted(t, verifier, tokIssue(t, issuer, authkit.Claims{Subject: "u"}))
				return
			}
			require.Nil(t, issuer)
			require.Nil(t, verifier)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
				require.ErrorContains(t, err2, want)
			}
		})
	}
}

// A signing key that cannot sign is one fault among the others.
func TestTokenConfigFaultsWithoutPrivate(t *testing.T) {
	t.Parallel()
	key := tokKeys()[authkit.EdDSA]
	_, err := authkit.NewTokenIssuer(authkit.TokenConfig{
		Keys:     []authkit.Key{{Algorithm: authkit.EdDSA, Public: key.Private.Public()}},
		Lifetime: 2 * time.Hour,
	})
	require.ErrorContains(t, err, "TokenConfig.Lifetime")
	require.ErrorContains(t, err, "TokenConfig.Keys[0]")
	require.NotContains(t, err.Error(), "TokenConfig.Ring", "there is none")
}

// Claims at the limits of verifiers are issued, and beyond them refused.
func TestIssueAtTheLimits(t *testing.T) {
	t.Parallel()
	cfg := authkit.TokenConfig{Keys: []authkit.Key{tokKeyOf(testSecret)}, Tenant: "a"}
	issuer, err := authkit.NewTokenIssuer(cfg)
	require.NoError(t, err)
	verifier, err := authkit.NewTokenVerifier(cfg)
	require.NoError(t, err)
	for _, c := range []struct {
		claims authkit.Claims
		ok     bool
	}{
		{authkit.Claims{Subject: "u", Tenant: "a"}, true},
		{authkit.Claims{Subject: "u", Tenant: "b"}, false},
		{authkit.Claims{Subject: "u", UserID: "7"}, true},
		{authkit.Claims{Subject: "a\xffb"}, false},
		{authkit.Claims{Subject: "a\x80"}, false},
		{authkit.Claims{Subject: "aé"}, true},
		{authkit.Claims{Subject: "u", UserID: "7\n"}, false},
		{authkit.Claims{Subject: "u", ID: strings.Repeat("i", 128)}, true},
		{authkit.Claims{Subject: "u", ID: strings.Repeat("i", 129)}, false},
		{authkit.Claims{Subject: "u", SessionID: strings.Repeat("i", 128)}, true},
		{authkit.Claims{Subject: "u", SessionID: strings.Repeat("i", 129)}, false},
		{authkit.Claims{Subject: "u", SessionID: "i\n"}, false},
		{authkit.Claims{Subject: "u", ClientID: strings.Repeat("i", 255)}, true},
		{authkit.Claims{Subject: "u", ClientID: strings.Repeat("i", 256)}, false},
		{authkit.Claims{Subject: "u", ClientID: "i\xff"}, false},
		{authkit.Claims{Subject: strings.Repeat("u", 255)}, true},
		{authkit.Claims{Subject: strings.Repeat("u", 256)}, false},
		{authkit.Claims{Subject: " ~"}, true},
		{authkit.Claims{Subject: "a\x1f"}, false},
		{authkit.Claims{Subject: "a\x7f"}, false},
		{authkit.Claims{Subject: "u", AuthTime: time.Unix(1, 0)}, true},
		{authkit.Claims{Subject: "u", AuthTime: time.Unix(0, 0)}, false},
		{authkit.Claims{Subject: "u", NotBefore: time.Unix(-1, 0)}, false},
		{authkit.Claims{Subject: "u", AuthTime: time.Unix(99_999_999_999, 0)}, true},
		{authkit.Claims{Subject: "u", AuthTime: time.Unix(100_000_000_000, 0)}, false},
	} {
		token, err := issuer.Issue(c.claims)
		require.Equal(t, c.ok, err == nil, "%+v: %v", c.claims, err)
		if c.ok {
			_, err = verifier.Verify(token)
			require.NoError(t, err)
		}
	}
}
