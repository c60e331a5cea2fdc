package peers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Keys holds one key per measured algorithm.
type Keys struct {
	Secret  []byte
	ECDSA   *ecdsa.PrivateKey
	Ed25519 ed25519.PrivateKey
	RSA     *rsa.PrivateKey
}

// NewKeys makes a fresh key for every algorithm: 32 bytes, P-256, Ed25519, RSA
// 2048.
func NewKeys() (Keys, error) {
	k := Keys{Secret: make([]byte, 32)}
	if _, err := rand.Read(k.Secret); err != nil {
		return Keys{}, err
	}
	var err error
	if k.ECDSA, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return Keys{}, err
	}
	if _, k.Ed25519, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return Keys{}, err
	}
	if k.RSA, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return Keys{}, err
	}
	return k, nil
}

// private returns the signing key of alg in the standard library's type.
func (k Keys) private(alg string) any {
	switch alg {
	case HS256:
		return k.Secret
	case ES256:
		return k.ECDSA
	case EdDSA:
		return k.Ed25519
	case RS256:
		return k.RSA
	}
	panic("peers: unknown algorithm " + alg)
}

// public returns the verification key of alg in the standard library's type.
func (k Keys) public(alg string) any {
	switch key := k.private(alg).(type) {
	case crypto.Signer:
		return key.Public()
	default:
		return key
	}
}

// Tokens holds a valid token, two that every contender must refuse, and one of
// a user without the role.
type Tokens struct {
	Good, BadSignature, Expired, NoAdmin string
}

// wire is the payload of a token. A peer that requires more than the six claims
// gets it in Issuer, Audience, User.
type wire struct {
	Subject  string    `json:"sub"`
	UserID   string    `json:"uid,omitempty"`
	Roles    []string  `json:"roles,omitempty"`
	ID       string    `json:"jti"`
	IssuedAt int64     `json:"iat"`
	Expires  int64     `json:"exp"`
	Issuer   string    `json:"iss,omitempty"`
	Audience string    `json:"aud,omitempty"`
	User     *wireUser `json:"user,omitempty"`
}

type wireUser struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role string `json:"role"`
}

// NewTokens signs the tokens for alg by hand, so that no contender reads its
// own dialect. The function more, if not nil, adds the requirements of one
// peer.
func NewTokens(alg string, keys Keys, more func(*wire)) (Tokens, error) {
	// Issued a minute ago: one peer rounds the current time to whole seconds
	// and would refuse a younger token as issued in the future.
	issued := time.Now().Add(-time.Minute)
	sign := func(subject string, roles []string, expires time.Time) (string, error) {
		w := wire{
			Subject: subject, UserID: subject, Roles: roles, ID: TokenID,
			IssuedAt: issued.Unix(), Expires: expires.Unix(),
		}
		if more != nil {
			more(&w)
		}
		return signByHand(alg, keys, w)
	}
	var t Tokens
	var err error
	both := []string{Role, "user"}
	if t.Good, err = sign(Subject, both, issued.Add(time.Hour)); err != nil {
		return Tokens{}, err
	}
	if t.Expired, err = sign(Subject, both, issued.Add(-time.Hour)); err != nil {
		return Tokens{}, err
	}
	if t.NoAdmin, err = sign(Stranger, []string{"user"}, issued.Add(time.Hour)); err != nil {
		return Tokens{}, err
	}
	t.BadSignature = spoil(t.Good)
	return t, nil
}

// spoil changes one character in the middle of the signature, so that it still
// decodes.
func spoil(token string) string {
	at := (strings.LastIndexByte(token, '.') + len(token)) / 2
	c := byte('A')
	if token[at] == c {
		c = 'B'
	}
	return token[:at] + string(c) + token[at+1:]
}

func signByHand(alg string, keys Keys, w wire) (string, error) {
	payload, err := json.Marshal(w)
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	body := b64.EncodeToString(fmt.Appendf(nil, `{"alg":%q,"typ":"JWT"}`, alg)) + "." + b64.EncodeToString(payload)
	sum := sha256.Sum256([]byte(body))
	var sig []byte
	switch alg {
	case HS256:
		mac := hmac.New(sha256.New, keys.Secret)
		mac.Write([]byte(body))
		sig = mac.Sum(nil)
	case ES256:
		r, s, err := ecdsa.Sign(rand.Reader, keys.ECDSA, sum[:])
		if err != nil {
			return "", err
		}
		sig = make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
	case EdDSA:
		sig = ed25519.Sign(keys.Ed25519, []byte(body))
	case RS256:
		if sig, err = rsa.SignPKCS1v15(nil, keys.RSA, crypto.SHA256, sum[:]); err != nil {
			return "", err
		}
	default:
		return "", fmt.Errorf("peers: unknown algorithm %s", alg)
	}
	return body + "." + b64.EncodeToString(sig), nil
}
