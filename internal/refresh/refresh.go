// Package refresh generates and parses refresh tokens.
//
// A token is a prefix and the base64 of three parts:
//
//	handle (16 bytes)   the same in every token of a session
//	secret (32 bytes)   new in each token
//	check   (4 bytes)   a checksum, to distinguish a damaged token from a used one
//
// The ID of the session is a hash of the handle. It is not secret, and it does
// not suffice to forge a token with that handle. A token with the right handle
// and an old secret was therefore once genuine.
package refresh

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Prefix starts every token, so that scanners for leaked secrets recognize it.
const Prefix = "akr_"

const (
	handleLen = 16
	secretLen = 32
	checkLen  = 4
	tokenLen  = handleLen + secretLen + checkLen
)

// Len is the length of the text of a token.
const Len = len(Prefix) + (tokenLen*8+5)/6

// A Token is a refresh token. It is comparable.
type Token struct {
	handle [handleLen]byte
	secret [secretLen]byte
}

// New returns a token of a new session, with a random handle of 128 bits and a
// random secret of 256 bits.
func New() Token {
	var t Token
	_, _ = rand.Read(t.handle[:]) // never fails
	return t.Next()
}

// Next returns another token of the same session.
func (t Token) Next() Token {
	_, _ = rand.Read(t.secret[:]) // never fails
	return t
}

// SessionID returns the ID of the session: 128 bits as text.
func (t Token) SessionID() string {
	sum := sha256.Sum256(append([]byte("authkit session ID\x00"), t.handle[:]...))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Hash returns the hash of the token for the store.
func (t Token) Hash() [32]byte {
	return sha256.Sum256(append([]byte("authkit refresh token\x00"), t.bytes()...))
}

func (t Token) bytes() []byte { return append(t.handle[:], t.secret[:]...) }

// Text returns the token for its owner. There is no String method, so that no
// code prints a token by accident.
func (t Token) Text() string {
	b := t.bytes()
	check := sha256.Sum256(b)
	return Prefix + base64.RawURLEncoding.EncodeToString(append(b, check[:checkLen]...))
}

// Format implements fmt.Formatter. It prints a fixed text for every verb.
func (Token) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("refresh.Token{[redacted]}"))
}

// Parse parses the text of a token. It accepts only texts of Text.
func Parse(text string) (Token, bool) {
	if len(text) != Len || !strings.HasPrefix(text, Prefix) {
		return Token{}, false
	}
	var b [tokenLen + 3]byte
	n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(text[len(Prefix):]))
	if err != nil || n != tokenLen {
		return Token{}, false // also for a line end in the text
	}
	var t Token
	copy(t.handle[:], b[:])
	copy(t.secret[:], b[handleLen:])
	check := sha256.Sum256(b[:handleLen+secretLen])
	if string(check[:checkLen]) != string(b[handleLen+secretLen:tokenLen]) {
		return Token{}, false
	}
	return t, true
}

// The prefixes of session cookies: one for cookies that end with the browser,
// and one for cookies that the browser keeps.
const (
	CookiePrefix     = "aks_"
	KeptCookiePrefix = "akp_"
)

// CookieText returns the token as the value of a session cookie. It is not a
// refresh token: Parse refuses it, and its hash differs.
func (t Token) CookieText(kept bool) string { return cookiePrefix(kept) + t.Text()[len(Prefix):] }

// CookieHash returns the hash of the token of a session cookie for the store.
func (t Token) CookieHash(kept bool) [32]byte {
	return sha256.Sum256(append([]byte("authkit session cookie "+cookiePrefix(kept)+"\x00"), t.bytes()...))
}

// ParseCookie parses the value of a session cookie. It accepts only texts of
// CookieText.
func ParseCookie(text string) (t Token, kept, ok bool) {
	kept = strings.HasPrefix(text, KeptCookiePrefix)
	rest, ok := strings.CutPrefix(text, cookiePrefix(kept))
	if !ok {
		return Token{}, false, false
	}
	t, ok = Parse(Prefix + rest)
	return t, kept, ok
}

func cookiePrefix(kept bool) string {
	if kept {
		return KeptCookiePrefix
	}
	return CookiePrefix
}

// ErrSealed is returned by [Token.Open] for data that was not sealed under the
// token.
var ErrSealed = errors.New("refresh: not sealed under this token")

// Seal encrypts next, a token of the same session, under t. Only a holder of t
// can open it, so a copy of the store contains no token.
func (t Token) Seal(next Token) []byte { return t.aead().Seal(nil, nil, next.secret[:], t.handle[:]) }

// Open returns the token that was sealed under t.
func (t Token) Open(sealed []byte) (Token, error) {
	secret, err := t.aead().Open(nil, nil, sealed, t.handle[:])
	if err != nil || len(secret) != secretLen {
		return Token{}, ErrSealed
	}
	next := Token{handle: t.handle}
	copy(next.secret[:], secret)
	return next, nil
}

// aead returns AES-256-GCM under a key derived from the token. Each nonce is
// random, since two callers may seal under the same token at once.
func (t Token) aead() cipher.AEAD {
	key, err := hkdf.Key(sha256.New, t.bytes(), nil, "authkit refresh successor", 32)
	if err != nil {
		panic(err) // only for a key of more than 8,160 bytes
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for another key length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for another block size
	}
	return aead
}
