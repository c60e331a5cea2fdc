package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// claimAttacks sign claims with the key of the service, as a confused issuer,
// another service with the same key, or an old release could have done.
var claimAttacks = []Attack{
	{ID: "claim.other-hmac", Text: "A token of HS384 or HS512 is signed with the key of HS256.", Requirement: "TK-01", Source: "RFC 8725 section 3.1", Severity: Medium, needs: needSecret,
		run: tokenWithSecret(func(t *jwt, key []byte) []string {
			return []string{hs384(with(t.header, "alg", `"HS384"`), object(t.payload), key), hs512(with(t.header, "alg", `"HS512"`), object(t.payload), key)}
		})},
	{ID: "claim.algorithm-name", Text: "The name of the algorithm is written in another case.", Requirement: "TK-01", Source: "RFC 7515 section 4.1.1", Severity: Low, needs: needSecret,
		run: signedAttack(headers(func(t *jwt) []string {
			return []string{with(t.header, "alg", `"hs256"`), with(t.header, "alg", `"Hs256"`), with(t.header, "alg", `["HS256"]`), with(t.header, "alg", "")}
		}))},
	{ID: "claim.crit", Text: "The header lists a critical extension that the service does not know.", Requirement: "TK-04", Source: "RFC 7515 section 4.1.11", Severity: Medium, needs: needSecret,
		run: signedAttack(headers(func(t *jwt) []string {
			return []string{
				with(t.header, "crit", `["x-unknown"]`, "x-unknown", "true"), with(t.header, "crit", `[]`), with(t.header, "crit", `null`),
				with(t.header, "crit", `"exp"`, "exp", "1"), with(t.header, "crit", `["alg"]`), with(t.header, "crit", `["b64"]`, "b64", "true"),
			}
		}))},
	{ID: "claim.b64", Text: "The header says that the payload is not encoded.", Requirement: "TK-04", Source: "RFC 7797 section 6", Severity: Medium, needs: needSecret,
		run: signedAttack(headers(func(t *jwt) []string {
			return []string{with(t.header, "crit", `["b64"]`, "b64", "false"), with(t.header, "b64", "false", "crit", `["b64","b64"]`)}
		}))},
	{ID: "claim.type", Text: "A token of another type has the claims of an access token.", Requirement: "TK-05", Source: "RFC 8725 section 3.11", Severity: Medium, needs: needSecret,
		run: signedAttack(headers(func(t *jwt) (all []string) {
			for _, typ := range []string{"refresh+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "id_token", "reset", "JWE"} {
				all = append(all, with(t.header, "typ", quote(typ)))
			}
			return all
		}))},
	{ID: "claim.nested", Text: "The header says that the payload is another token.", Requirement: "TK-05", Source: "RFC 7519 section 5.2", Severity: Low, needs: needSecret,
		run: signedAttack(func(t *jwt) [][2]string {
			header := with(t.header, "cty", `"JWT"`)
			return [][2]string{{header, quote(t.input + "." + t.signature)}, {header, t.input + "." + t.signature}}
		})},
	{ID: "claim.header-twice", Text: "The header has a member twice.", Requirement: "TK-08", Source: "RFC 7515 section 4", Severity: Medium, needs: needSecret,
		run: signedAttack(headers(func(*jwt) []string {
			return []string{`{"alg":"none","alg":"HS256","typ":"JWT"}`, `{"alg":"HS256","alg":"HS256","typ":"JWT"}`, `{"alg":"HS256","typ":"JWT","\u0061lg":"HS256"}`}
		}))},
	{ID: "claim.twice", Text: "The payload has a claim twice.", Requirement: "TK-08", Source: "RFC 7519 section 4", Severity: Medium, needs: needSecret,
		run: claimAttack(func(t *jwt) (all []string) {
			text := object(t.payload)
			for _, name := range []string{"sub", "exp", "iat"} {
				if value, ok := t.payload[name]; ok {
					all = append(all, fmt.Sprintf("{%q:%s,%s", name, value, text[1:]), fmt.Sprintf("%s,%q:%s}", text[:len(text)-1], name, value))
				}
			}
			return all
		})},
	{ID: "claim.case", Text: "The names of claims are written in another case.", Requirement: "TK-08", Source: "RFC 7519 section 4", Severity: Medium, needs: needSecret,
		run: claimAttack(func(t *jwt) (all []string) {
			for _, names := range [][2]string{{"sub", "SUB"}, {"exp", "EXP"}, {"sub", "ſub"}} {
				if value, ok := t.payload[names[0]]; ok {
					all = append(all, with(t.payload, names[0], "", names[1], string(value)))
				}
			}
			return all
		})},
	{ID: "claim.no-expiry", Text: "The token does not expire.", Requirement: "TK-06", Source: "RFC 9068 section 2.2", Severity: High, needs: needSecret,
		run: claimValues("exp", "")},
	{ID: "claim.expired", Text: "The token has expired.", Requirement: "TK-06", Source: "RFC 7519 section 4.1.4", Severity: High, needs: needSecret,
		run: claimAttack(func(t *jwt) (all []string) {
			at := time.Now()
			for _, ago := range []time.Duration{2 * time.Minute, time.Hour, 365 * 24 * time.Hour} {
				all = append(all, with(t.payload, "exp", number(at.Add(-ago)), "iat", number(at.Add(-ago-time.Minute))))
			}
			return append(all, with(t.payload, "exp", "0"), with(t.payload, "exp", "1"))
		})},
	{ID: "claim.expiry-type", Text: "The time of expiry is no number.", Requirement: "TK-07", Source: "RFC 7519 section 2", Severity: Medium, needs: needSecret,
		run: claimValues("exp", `"4102444800"`, `null`, `true`, `[4102444800]`, `{}`, `""`, `"never"`)},
	{ID: "claim.expiry-extreme", Text: "The time of expiry is extreme, so that a conversion overflows.", Requirement: "TK-07", Source: "RFC 7519 section 2", Severity: Medium, needs: needSecret,
		run: claimValues("exp", "1e300", "-1", "-1e300", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e999", strings.Repeat("9", 400), "NaN", "Infinity")},
	{ID: "claim.not-before", Text: "The token is not valid yet.", Requirement: "TK-06", Source: "RFC 7519 section 4.1.5", Severity: Medium, needs: needSecret,
		run: claimAttack(func(t *jwt) []string {
			return []string{with(t.payload, "nbf", number(time.Now().Add(10*time.Minute))), with(t.payload, "nbf", "1e300"), with(t.payload, "nbf", `"x"`)}
		})},
	{ID: "claim.issued-later", Text: "The token was issued in the future.", Requirement: "TK-07", Source: "RFC 7519 section 4.1.6", Severity: Low, needs: needSecret,
		run: claimAttack(func(t *jwt) []string {
			at := time.Now()
			return []string{
				with(t.payload, "iat", number(at.Add(10*time.Minute)), "exp", number(at.Add(20*time.Minute))), with(t.payload, "iat", `"x"`),
				with(t.payload, "iat", "1e300"), with(t.payload, "iat", "[]"),
			}
		})},
	{ID: "claim.no-subject", Text: "The token names no account.", Requirement: "TK-09", Source: "RFC 9068 section 2.2", Severity: High, needs: needSecret,
		run: signedAttack(known("sub", "", `""`, `null`, `" "`, `"\u0000"`))},
	{ID: "claim.subject-type", Text: "The subject is no string.", Requirement: "TK-09", Source: "RFC 7519 section 4.1.2", Severity: Medium, needs: needSecret,
		run: signedAttack(known("sub", `1`, `0`, `true`, `{}`, `[]`, `["admin@example.com"]`))},
	{ID: "claim.subject-unknown", Text: "The subject is an account that does not exist.", Requirement: "TK-09", Source: "ASVS 7.4.2", Severity: High, needs: needSecret,
		run: subjects("nobody-has-this@example.com", "x' OR '1'='1", strings.Repeat("s", 1000))},
	{ID: "claim.subject-pattern", Text: "The subject is a pattern that matches accounts.", Requirement: "TK-09", Source: "ASVS 1.2.4", Severity: High, needs: needSecret,
		run: subjects("%", "_%", "*", ".*", "' OR 1=1--")},
	{ID: "claim.issuer", Text: "The token is of another issuer.", Requirement: "TK-06", Source: "RFC 8725 section 3.8", Severity: High, needs: needSecret,
		run: signedAttack(known("iss", `"https://attacker.example"`, `["x"]`, `""`, ``))},
	{ID: "claim.audience", Text: "The token is for another service.", Requirement: "TK-06", Source: "RFC 8725 section 3.9", Severity: High, needs: needSecret,
		run: signedAttack(known("aud", `"https://other.example"`, `["https://other.example"]`, `[]`, `""`, `null`, ``, `{}`))},
	{ID: "claim.audience-prefix", Text: "The audience only begins like that of the service.", Requirement: "TK-06", Source: "RFC 8725 section 3.9", Severity: High, needs: needSecret,
		run: signedAttack(func(t *jwt) (pairs [][2]string) {
			aud, ok := text(t.payload["aud"])
			if !ok {
				return nil
			}
			for _, other := range []string{aud + ".attacker.example", aud + "/", strings.ToUpper(aud), aud[:len(aud)-1]} {
				if other != aud {
					pairs = append(pairs, [2]string{object(t.header), with(t.payload, "aud", quote(other))})
				}
			}
			return pairs
		})},
	{ID: "claim.not-object", Text: "The payload is signed and is no JSON object.", Requirement: "TK-12", Source: "RFC 7519 section 7.2", Severity: Medium, needs: needSecret,
		run: claimAttack(func(t *jwt) []string {
			return []string{"", "null", "[]", `"a"`, "1", "{", object(t.payload) + "x", object(t.payload) + "{}", "[" + object(t.payload) + "]", "\xef\xbb\xbf" + object(t.payload)}
		})},
	{ID: "claim.nesting", Text: "A claim is signed and nested so deep that the parser fails.", Requirement: "TK-10", Source: "CWE-674", Severity: Medium, needs: needSecret,
		run: func(ctx context.Context, p *probe) error {
			t, err := p.jwt(ctx)
			if err != nil {
				return err
			}
			if err := p.secretWorks(ctx, t); err != nil {
				return err
			}
			for _, deep := range []string{strings.Repeat("[", 2500) + strings.Repeat("]", 2500), strings.Repeat("[", 5000), strings.Repeat(`{"a":`, 800) + "1" + strings.Repeat("}", 800)} {
				a, err := p.get(ctx, hs256(object(t.header), with(t.payload, "x", deep), p.Secret))
				if err != nil || a.crashed() {
					return p.refused(a, err)
				}
			}
			return p.healthy(ctx)
		}},
	{ID: "claim.not-utf8", Text: "The payload is signed and is not UTF-8.", Requirement: "TK-12", Source: "RFC 7519 section 7.2", Severity: Low, needs: needSecret,
		run: claimAttack(func(t *jwt) []string {
			return []string{with(t.payload, "sub", "\"\xff\xfe\""), with(t.payload, "x", "\"\xc3\x28\"")}
		})},
	{ID: "claim.roles-type", Text: "The roles of the token have another type.", Requirement: "TK-12", Source: "RFC 9068 section 2.2.3.1", Severity: Low, needs: needSecret,
		run: signedAttack(known("roles", `"admin"`, `{"admin":true}`, `[["admin"]]`, `1`, `[1]`))},
}

// tokenWithSecret is the run function of an attack whose tokens are made with
// the key of the service.
func tokenWithSecret(forge func(t *jwt, key []byte) []string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		t, err := p.jwt(ctx)
		if err != nil {
			return err
		}
		if err := p.secretWorks(ctx, t); err != nil {
			return err
		}
		return p.refuseTokens(ctx, forge(t, p.Secret)...)
	}
}

// subjects is the run function of an attack with other subjects, if the
// original has one.
func subjects(others ...string) func(context.Context, *probe) error {
	return claimAttack(func(t *jwt) (all []string) {
		if _, ok := t.payload["sub"]; !ok {
			return nil
		}
		for _, sub := range others {
			all = append(all, with(t.payload, "sub", quote(sub), "uid", "", "user_id", ""))
		}
		return all
	})
}

// known returns pairs for a claim that the original has.
func known(name string, values ...string) func(*jwt) [][2]string {
	return func(t *jwt) (pairs [][2]string) {
		if _, ok := t.payload[name]; !ok {
			return nil
		}
		for _, v := range values {
			pairs = append(pairs, [2]string{object(t.header), with(t.payload, name, v)})
		}
		return pairs
	}
}

// headers returns pairs of headers with the payload of the original.
func headers(f func(*jwt) []string) func(*jwt) [][2]string {
	return func(t *jwt) (pairs [][2]string) {
		for _, header := range f(t) {
			pairs = append(pairs, [2]string{header, object(t.payload)})
		}
		return pairs
	}
}

func text(raw json.RawMessage) (s string, ok bool) {
	err := json.Unmarshal(raw, &s)
	return s, err == nil && s != ""
}

func number(at time.Time) string { return fmt.Sprint(at.Unix()) }
