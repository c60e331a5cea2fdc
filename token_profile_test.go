package authkit_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// tokProfile makes a configuration one of RFC 9068.
func tokProfile(cfg authkit.TokenConfig) authkit.TokenConfig {
	cfg.AccessTokenProfile, cfg.Issuer, cfg.Audience, cfg.ClientID = true, "https://id.example.com", "api", "app"
	return cfg
}

func strict64(segment string) (string, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	return string(raw), err
}

func TestAccessTokenProfileFaults(t *testing.T) {
	t.Parallel()
	cfg := authkit.TokenConfig{Keys: []authkit.Key{tokKey}, AccessTokenProfile: true}
	_, err := authkit.NewTokenIssuer(cfg)
	for _, field := range []string{"Issuer", "Audience", "ClientID"} {
		require.ErrorContains(t, err, "authkit: TokenConfig."+field+": empty; the access token profile requires one")
	}
	_, err = authkit.NewTokenVerifier(cfg)
	require.ErrorContains(t, err, "TokenConfig.Issuer")
	require.ErrorContains(t, err, "TokenConfig.Audience")
	require.NotContains(t, err.Error(), "ClientID")
	cfg = tokProfile(cfg)
	cfg.ClientID = ""
	tokVerifierFor(t, cfg)
	for _, id := range []string{strings.Repeat("x", 256), "\xff"} {
		_, err = authkit.NewTokenVerifier(authkit.TokenConfig{Keys: []authkit.Key{tokKey}, ClientID: id})
		require.ErrorContains(t, err, "TokenConfig.ClientID")
	}
}

// TK-05, TK-06: the profile of RFC 9068 takes its own tokens, whoever spells them, and no others.
func TestAccessTokenProfile(t *testing.T) {
	t.Parallel()
	for _, alg := range tokAlgorithms() {
		for _, id := range []string{"", "k"} {
			key := tokKeys()[alg]
			key.ID = id
			plain := authkit.TokenConfig{Keys: []authkit.Key{key}, Issuer: "https://id.example.com", Audience: "api"}
			profile := tokProfile(plain)
			token := tokIssue(t, tokIssuerFor(t, profile), authkit.Claims{Subject: "u"})
			c := tokAccepted(t, tokVerifierFor(t, profile), token)
			require.Equal(t, "app", c.ClientID)
			tokRefused(t, tokVerifierFor(t, plain), token)
			tokRefused(t, tokVerifierFor(t, profile), tokIssue(t, tokIssuerFor(t, plain), authkit.Claims{Subject: "u", ClientID: "app"}))
			header, err := strict64(strings.Split(token, ".")[0])
			require.NoError(t, err)
			require.Contains(t, header, `"typ":"at+jwt"`)
		}
	}

	verifier := tokVerifierFor(t, tokProfile(authkit.TokenConfig{Keys: []authkit.Key{tokKey}}))
	plain := tokVerifierFor(t, authkit.TokenConfig{Keys: []authkit.Key{tokKey}, Issuer: "https://id.example.com", Audience: "api"})
	const good = `{"iss":"https://id.example.com","sub":"u","aud":["x","api"],"exp":4102444800,"iat":1,"jti":"j","client_id":"c"}`
	for typ, want := range map[string]bool{
		`"at+jwt"`: true, `"AT+JWT"`: true, `"At+Jwt"`: true, `"application/at+jwt"`: true, `"Application/AT+jwt"`: true, `"\u0061t+jwt"`: true,
		`"JWT"`: false, `"jwt"`: false, `""`: false, `null`: false, `"at+jwt "`: false, `"application/jwt"`: false, `"text/at+jwt"`: false,
		`"application/application/at+jwt"`: false, `["at+jwt"]`: false, `"id+jwt"`: false, `"logout+jwt"`: false, `"dpop+jwt"`: false,
	} {
		for _, form := range []string{`{"alg":"HS256","typ":%s}`, `{"typ":%s,"alg":"HS256"}`, `{ "alg":"HS256","typ":%s}`, `{"alg":"HS256","typ":%s,"x":1}`} {
			token := tokSign(t, tokKey, fmt.Sprintf(form, typ), good)
			if _, err := verifier.Verify(token); (err == nil) != want {
				t.Errorf("%s in %s: %v, want accepted: %v", typ, form, err, want)
			}
			if _, err := plain.Verify(token); err == nil && want {
				t.Errorf("%s is taken without the profile", typ)
			}
		}
	}
	for _, header := range []string{`{"alg":"HS256"}`, `{ "alg":"HS256"}`, `{"alg":"HS256","cty":"at+jwt"}`, `{"alg":"HS256","typ":"at+jwt","crit":[]}`, `{"alg":"HS256","typ":"at+jwt","typ":"at+jwt"}`} {
		tokRefused(t, verifier, tokSign(t, tokKey, header, good))
	}

	members := map[string]string{
		"iss": `"https://id.example.com"`, "sub": `"u"`, "aud": `"api"`, "exp": `4102444800`, "iat": `1`, "jti": `"j"`, "client_id": `"c"`,
	}
	payload := func(without, instead string) string {
		m := maps.Clone(members)
		delete(m, without)
		var all []string
		for name, value := range m {
			all = append(all, fmt.Sprintf("%q:%s", name, value))
		}
		if instead != "" {
			all = append(all, fmt.Sprintf("%q:%s", without, instead))
		}
		return "{" + strings.Join(all, ",") + "}"
	}
	const header = `{"alg":"HS256","typ":"at+jwt"}`
	tokAccepted(t, verifier, tokSign(t, tokKey, header, payload("x", "1")))
	for name := range members { // RFC 9068 section 2.2: every one of them is required
		for _, instead := range []string{"", `""`, `null`, `[]`} {
			tokRefused(t, verifier, tokSign(t, tokKey, header, payload(name, instead)))
		}
	}
}

// Section 13: what a token may say of its session and its client, and how long it may be.
func TestSessionAndClient(t *testing.T) {
	t.Parallel()
	cfg := authkit.TokenConfig{Keys: []authkit.Key{tokKey}}
	verifier := tokVerifierFor(t, cfg)
	c := tokAccepted(t, verifier, tokIssue(t, tokIssuerFor(t, cfg), authkit.Claims{Subject: "u"}))
	require.Empty(t, c.SessionID+c.ClientID)
	sid, client := strings.Repeat("s", 128), strings.Repeat("c", 255)
	c = tokAccepted(t, verifier, tokIssue(t, tokIssuerFor(t, cfg), authkit.Claims{Subject: "u", SessionID: sid, ClientID: client}))
	require.Equal(t, []string{sid, client}, []string{c.SessionID, c.ClientID})
	for _, c := range []authkit.Claims{
		{SessionID: sid + "s"}, {ClientID: client + "c"}, {SessionID: "\xff"}, {SessionID: "a\x00"}, {ClientID: "\xff"},
	} {
		c.Subject = "u"
		_, err := tokIssuerFor(t, cfg).Issue(c)
		require.Error(t, err)
	}
	exp := `,"exp":4102444800}`
	tokAccepted(t, verifier, tokSign(t, tokKey, tokHeader, `{"sub":"u","sid":"`+sid+`","client_id":"`+client+`"`+exp))
	tokRefused(t, verifier, tokSign(t, tokKey, tokHeader, `{"sub":"u","sid":"s`+sid+`"`+exp))
	tokRefused(t, verifier, tokSign(t, tokKey, tokHeader, `{"sub":"u","client_id":"c`+client+`"`+exp))

	cfg.ClientID = "app"
	issuer := tokIssuerFor(t, cfg)
	require.Equal(t, "app", tokAccepted(t, verifier, tokIssue(t, issuer, authkit.Claims{Subject: "u"})).ClientID)
	require.Equal(t, "other", tokAccepted(t, verifier, tokIssue(t, issuer, authkit.Claims{Subject: "u", ClientID: "other"})).ClientID)
}
