package contract

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
)

// idTokenAttacks log in with an ID token that a client must refuse.
var idTokenAttacks = []Attack{
	{ID: "idtoken.none", Text: "The ID token has no signature.", Requirement: "OA-06", Source: "OIDC Core 1.0 section 3.1.3.7; RFC 8725 section 3.1", Severity: High, needs: needSocial,
		run: forgedIDTokens(func(*Provider) (forgers []forger) {
			for _, alg := range []string{"none", "None", "NONE", ""} {
				forgers = append(forgers, func(header, payload members) string {
					return unsigned(with(header, "alg", quote(alg), "kid", ""), object(payload), "")
				})
			}
			return forgers
		})},
	{ID: "idtoken.no-signature", Text: "The signature of the ID token is missing, or was made for another token.", Requirement: "OA-06", Source: "OIDC Core 1.0 section 3.1.3.7", Severity: High, needs: needSocial,
		run: forgedIDTokens(func(p *Provider) []forger {
			return []forger{
				func(header, payload members) string { return unsigned(object(header), object(payload), "") },
				func(header, payload members) string {
					other := strings.Split(rs256(object(header), with(payload, "sub", `"other"`), p.key), ".")
					return unsigned(object(header), object(payload), other[2])
				},
			}
		})},
	{ID: "idtoken.public-key-secret", Text: "The ID token is signed with HMAC, and the public key of the provider is the secret.", Requirement: "OA-06", Source: "RFC 8725 section 2.1", Severity: High, needs: needSocial,
		run: forgedIDTokens(func(p *Provider) (forgers []forger) {
			pkix, _ := x509.MarshalPKIXPublicKey(&p.key.PublicKey) // an RSA key
			pkcs1 := x509.MarshalPKCS1PublicKey(&p.key.PublicKey)
			jwk, _ := json.Marshal(rsaKey(p.key))
			for _, secret := range [][]byte{
				p.key.N.Bytes(), pkix, pkcs1, jwk, []byte(encoding.EncodeToString(p.key.N.Bytes())), []byte(p.ClientID), {},
				pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}), pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
			} {
				forgers = append(forgers, func(header, payload members) string {
					return sign(sha256.New, encode(with(header, "alg", `"HS256"`))+"."+encode(object(payload)), secret)
				})
			}
			return forgers
		})},
	{ID: "idtoken.other-key", Text: "The ID token is signed with a key of the attacker, which its header can name.", Requirement: "OA-06", Source: "RFC 8725 section 3.10", Severity: High, needs: needSocial,
		run: forgedIDTokens(func(p *Provider) (forgers []forger) {
			jwk, _ := json.Marshal(rsaKey(p.other))
			for _, pairs := range [][]string{{}, {"kid", ""}, {"kid", `"unknown"`}, {"jwk", string(jwk)}, {"jku", quote(p.elsewhere + "/keys")}} {
				forgers = append(forgers, func(header, payload members) string {
					return rs256(with(header, pairs...), object(payload), p.other)
				})
			}
			return forgers
		})},
	{ID: "idtoken.issuer", Text: "The ID token is of another issuer.", Requirement: "OA-06", Source: "OIDC Core 1.0 section 3.1.3.7", Severity: High, needs: needSocial,
		run: claimedIDTokens(func(p *Provider) [][]string {
			return [][]string{
				{"iss", quote("https://" + attackerHost)}, {"iss", quote(p.Issuer + "/")}, {"iss", quote(strings.ToUpper(p.Issuer))},
				{"iss", quote(p.Issuer + "." + attackerHost)}, {"iss", "[" + quote(p.Issuer) + "]"}, {"iss", ""},
			}
		})},
	{ID: "idtoken.audience", Text: "The ID token was issued to another client.", Requirement: "OA-06", Source: "OIDC Core 1.0 section 3.1.3.7", Severity: High, needs: needSocial,
		run: claimedIDTokens(func(p *Provider) [][]string {
			return [][]string{{"aud", `"another-client"`}, {"aud", `["another-client"]`}, {"aud", quote(p.ClientID + "-2")}, {"aud", quote(p.ClientID[:len(p.ClientID)/2])}, {"aud", `""`}, {"aud", "[]"}, {"aud", ""}}
		})},
	{ID: "idtoken.party", Text: "The ID token has several audiences, and was issued to another one of them (azp).", Requirement: "OA-06", Source: "OIDC Core 1.0 section 3.1.3.7", Severity: Low, needs: needSocial,
		run: claimedIDTokens(func(p *Provider) [][]string {
			both := "[" + quote(p.ClientID) + `,"another-client"]`
			return [][]string{{"aud", both, "azp", `"another-client"`}, {"azp", `"another-client"`}}
		})},
	{ID: "idtoken.expired", Text: "The ID token has expired, or never does.", Requirement: "OA-06", Source: "OIDC Core 1.0 section 3.1.3.7", Severity: Medium, needs: needSocial,
		run: claimedIDTokens(func(*Provider) [][]string {
			return [][]string{{"exp", "1000000000"}, {"exp", "0"}, {"exp", "-1"}, {"exp", `"never"`}, {"exp", ""}}
		})},
	{ID: "idtoken.issued", Text: "The ID token was issued in the future, long ago, or at no time.", Requirement: "OA-06", Source: "OIDC Core 1.0 section 3.1.3.7", Severity: Low, needs: needSocial,
		run: claimedIDTokens(func(*Provider) [][]string {
			return [][]string{{"iat", "9999999999", "exp", "9999999999"}, {"iat", "1000000000"}, {"iat", ""}}
		})},
	{ID: "idtoken.not-before", Text: "The ID token is not good yet.", Requirement: "OA-06", Source: "RFC 7519 section 4.1.5", Severity: Low, needs: needSocial,
		run: claimedIDTokens(func(*Provider) [][]string { return [][]string{{"nbf", "9999999999"}} })},
	{ID: "idtoken.nonce", Text: "The ID token was issued for another login: its nonce is another one or missing.", Requirement: "OA-01", Source: "OIDC Core 1.0 section 3.1.3.7; ASVS 10.5.1", Severity: High, needs: needSocial,
		run: func(ctx context.Context, p *probe) error {
			request, err := p.startLogin(ctx, browser{}, message{})
			if err != nil {
				return err
			}
			if request.Get("nonce") == "" {
				return &inapplicable{"the login has no nonce; see social.code-injection"}
			}
			return claimedIDTokens(func(*Provider) [][]string {
				return [][]string{{"nonce", `"another"`}, {"nonce", `""`}, {"nonce", "null"}, {"nonce", ""}}
			})(ctx, p)
		}},
	{ID: "idtoken.subject", Text: "The ID token names no user, or its subject is not a text.", Requirement: "OA-06", Source: "OIDC Core 1.0 section 2", Severity: High, needs: needSocial,
		run: claimedIDTokens(func(*Provider) [][]string {
			return [][]string{{"sub", ""}, {"sub", `""`}, {"sub", "null"}, {"sub", "12"}, {"sub", "true"}, {"sub", "{}"}, {"sub", `["a"]`}}
		})},
	{ID: "idtoken.access-hash", Text: "The ID token belongs to another access token (at_hash).", Requirement: "OA-06", Source: "OIDC Core 1.0 section 3.1.3.8", Severity: Low, needs: needSocial,
		run: claimedIDTokens(func(*Provider) [][]string { return [][]string{{"at_hash", `"AAAAAAAAAAAAAAAAAAAAAA"`}} })},
}

// A forger returns an ID token of a header and a payload.
type forger func(header, payload members) string

// forgedIDTokens is the run function of an attack with forged ID tokens.
func forgedIDTokens(forgers func(p *Provider) []forger) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		var grants []*grant
		for _, f := range forgers(p.Provider) {
			g := p.visitor()
			g.idToken = f
			grants = append(grants, g)
		}
		return p.refuseIDTokens(ctx, grants)
	}
}

// claimedIDTokens is the run function of an attack with claims that the provider
// signs: lists of pairs, as in grant.as.
func claimedIDTokens(claims func(p *Provider) [][]string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		var grants []*grant
		for _, pairs := range claims(p.Provider) {
			grants = append(grants, p.visitor().as(pairs...))
		}
		return p.refuseIDTokens(ctx, grants)
	}
}

// refuseIDTokens is refuseGrants for a service that uses ID tokens: it does not
// log in without one.
func (p *probe) refuseIDTokens(ctx context.Context, grants []*grant) error {
	if p.idTokens == nil {
		g := p.visitor()
		g.idToken = func(members, members) string { return "" }
		a, err := p.enter(ctx, browser{}, g)
		if err != nil {
			return err
		}
		uses := !a.ok()
		p.idTokens = &uses
	}
	if !*p.idTokens {
		return &inapplicable{"the service does not use ID tokens: it also logs in without one"}
	}
	return p.refuseGrants(ctx, grants...)
}
