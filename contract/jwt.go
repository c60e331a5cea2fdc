package contract

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
)

// A jwt is a JSON Web Token in its parts, which attacks change.
type jwt struct {
	header, payload map[string]json.RawMessage
	input           string // the first two parts of the original, as they are
	signature       string
}

var encoding = base64.RawURLEncoding

func encode(s string) string { return encoding.EncodeToString([]byte(s)) }

// jwt returns the access token of the user in its parts.
func (p *probe) jwt(ctx context.Context) (*jwt, error) {
	token, err := p.token(ctx, p.User)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, &inapplicable{"access tokens of the target are not JSON Web Tokens"}
	}
	t := &jwt{input: parts[0] + "." + parts[1], signature: parts[2]}
	for i, into := range []*map[string]json.RawMessage{&t.header, &t.payload} {
		text, err := encoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return nil, &inapplicable{"access tokens of the target are not JSON Web Tokens"}
		}
	}
	return t, nil
}

// with returns a copy of members in which names have other JSON values. The
// value "" removes a member.
func with(members map[string]json.RawMessage, pairs ...string) string {
	members = maps.Clone(members)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			delete(members, pairs[i])
			continue
		}
		members[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return object(members)
}

// object returns the text of an object. The members may have values that are
// not JSON.
func object(members map[string]json.RawMessage) string {
	var b strings.Builder
	b.WriteByte('{')
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		quoted, _ := json.Marshal(name) // a string
		b.Write(quoted)
		b.WriteByte(':')
		b.Write(members[name])
	}
	b.WriteByte('}')
	return b.String()
}

// unsigned returns a token of a header and a payload with a signature that was
// made for another token, or with none.
func unsigned(header, payload, signature string) string {
	return encode(header) + "." + encode(payload) + "." + signature
}

// hs256 returns a token that is signed with HMAC-SHA256.
func hs256(header, payload string, key []byte) string {
	return signed(sha256.New, header, payload, key)
}

func hs384(header, payload string, key []byte) string {
	return signed(sha512.New384, header, payload, key)
}

func hs512(header, payload string, key []byte) string {
	return signed(sha512.New, header, payload, key)
}

func signed(h func() hash.Hash, header, payload string, key []byte) string {
	return sign(h, encode(header)+"."+encode(payload), key)
}

// sign returns the input of a signature with the signature.
func sign(h func() hash.Hash, input string, key []byte) string {
	mac := hmac.New(h, key)
	mac.Write([]byte(input))
	return input + "." + encoding.EncodeToString(mac.Sum(nil))
}

// refuseTokens is an attack with several tokens: the service must refuse each.
func (p *probe) refuseTokens(ctx context.Context, tokens ...string) error {
	for _, token := range tokens {
		a, err := p.get(ctx, token)
		if err := p.refused(a, err); err != nil {
			return err
		}
	}
	return nil
}

// tokenAttack is the run function of an attack whose tokens are made from the
// token of the user.
func tokenAttack(forge func(t *jwt) []string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		t, err := p.jwt(ctx)
		if err != nil {
			return err
		}
		forged := forge(t)
		if len(forged) == 0 {
			return &inapplicable{"access tokens of the target cannot be changed in this way"}
		}
		return p.refuseTokens(ctx, forged...)
	}
}

// secretWorks reports whether the target accepts its token if Target.Secret
// signs it again.
func (p *probe) secretWorks(ctx context.Context, t *jwt) error {
	if string(t.header["alg"]) != `"HS256"` {
		return &inapplicable{"access tokens of the target are not signed with HS256"}
	}
	a, err := p.get(ctx, hs256(object(t.header), object(t.payload), p.Secret))
	switch {
	case err != nil:
		return err
	case a.throttled():
		return errThrottled
	case !a.ok():
		return fmt.Errorf("a token signed with Target.Secret has status %d; set the key that signs access tokens", a.status)
	}
	return nil
}

// claimAttack is the run function of an attack with payloads that are signed
// with the key of the service.
func claimAttack(payloads func(t *jwt) []string) func(context.Context, *probe) error {
	return signedAttack(func(t *jwt) (tokens [][2]string) {
		for _, payload := range payloads(t) {
			tokens = append(tokens, [2]string{object(t.header), payload})
		}
		return tokens
	})
}

// signedAttack is the run function of an attack with headers and payloads that
// are signed with the key of the service. The target must accept a token that
// is signed in this way without a change, or the attack shows nothing.
func signedAttack(pairs func(t *jwt) [][2]string) func(context.Context, *probe) error {
	return func(ctx context.Context, p *probe) error {
		t, err := p.jwt(ctx)
		if err != nil {
			return err
		}
		if err := p.secretWorks(ctx, t); err != nil {
			return err
		}
		forged := pairs(t)
		if len(forged) == 0 {
			return &inapplicable{"access tokens of the target have no such claim"}
		}
		for _, pair := range forged {
			if err := p.refuseTokens(ctx, hs256(pair[0], pair[1], p.Secret)); err != nil {
				return err
			}
		}
		return nil
	}
}

// claimValues is claimAttack for one claim with several values.
func claimValues(name string, values ...string) func(context.Context, *probe) error {
	return claimAttack(func(t *jwt) (payloads []string) {
		for _, v := range values {
			payloads = append(payloads, with(t.payload, name, v))
		}
		return payloads
	})
}
