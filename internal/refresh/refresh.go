// Package refresh makes refresh tokens, and reads them.
//
// A token is a prefix and the base64 of three parts:
//
//	handle (16 bytes)   the same in every token of a session
//	secret (32 bytes)   new in each
//	check   (4 bytes)   so that a token that was damaged is told from one that was used
//
// The ID of the session is a hash of the handle. It is no secret, and whoever knows it
// cannot make a token that names the session: so a token with the right handle and a
// secret that is not the current one was once a genuine one.
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

// Prefix is what every token begins with, so that a scanner finds one that has leaked.
const Prefix = "akr_"

const (
	handleLen = 16
	secretLen = 32
	checkLen  = 4
	tokenLen  = handleLen + secretLen + checkLen
)

// Len is how long the text of a token is.
const Len = len(Prefix) + (tokenLen*8+5)/6

// A Token is a refresh token. It can be compared.
type Token struct {
	handle [handleLen]byte
	secret [secretLen]byte
}

// New returns a token of a new session: 128 and 256 random bits.
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

// Hash returns what a store keeps of the token.
func (t Token) Hash() [32]byte {
	return sha256.Sum256(append([]byte("authkit refresh token\x00"), t.bytes()...))
}

func (t Token) bytes() []byte { return append(t.handle[:], t.secret[:]...) }

// Text returns the token as its owner gets it. There is no String, so that nothing
// writes it by accident.
func (t Token) Text() string {
	b := t.bytes()
	check := sha256.Sum256(b)
	return Prefix + base64.RawURLEncoding.EncodeToString(append(b, check[:checkLen]...))
}

// Format writes nothing of the token.
func (Token) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("refresh.Token{[redacted]}"))
}

// Parse reads the text of a token. It takes just what Text writes.
func Parse(text string) (Token, bool) {
	if len(text) != Len || !strings.HasPrefix(text, Prefix) {
		return Token{}, false
	}
	var b [tokenLen + 3]byte
	n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(text[len(Prefix):]))
	if err != nil || n != tokenLen {
		return Token{}, false // a line end within, too
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

// The prefixes of session cookies: one that ends with the browser, and one that is kept.
const (
	CookiePrefix     = "aks_"
	KeptCookiePrefix = "akp_"
)

// CookieText returns the token as a session cookie holds it. It is no refresh token: Parse
// refuses it, and its hash is another one.
func (t Token) CookieText(kept bool) string { return cookiePrefix(kept) + t.Text()[len(Prefix):] }

// CookieHash returns the hash that a store keeps of the token of a session cookie.
func (t Token) CookieHash(kept bool) [32]byte {
	return sha256.Sum256(append([]byte("authkit session cookie "+cookiePrefix(kept)+"\x00"), t.bytes()...))
}

// ParseCookie reads the token of a session cookie. It takes exactly the texts that CookieText
// writes.
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

// ErrSealed is returned by [Token.Open] for what was not sealed under the token.
var ErrSealed = errors.New("refresh: not sealed under this token")

// Seal encrypts next, a token of the same session, under t: whoever holds t can open
// it, and nobody else, so a copy of the store holds no token.
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

// aead returns AES-256-GCM under a key derived from the token. Each nonce is random, since
// two callers may seal under the same token at once.
func (t Token) aead() cipher.AEAD {
	key, err := hkdf.Key(sha256.New, t.bytes(), nil, "authkit refresh successor", 32)
	if err != nil {
		panic(err) // only for a key of over 8,160 bytes
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for another length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for another block size
	}
	return aead
}
