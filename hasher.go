package authkit

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of every scheme.
const (
	saltLen    = 16
	minSalt    = 8
	maxSalt    = 1024
	maxHashLen = 2048 // a hash with the longest salt has 1,500 bytes
)

// A PasswordHash is a stored password hash: one self-describing string with its
// scheme, cost and salt. The zero value belongs to an account without a
// password and never verifies.
//
// A PasswordHash redacts itself where it is formatted, logged or encoded as
// JSON, so that it does not reach a response or a log by accident. Go calls no
// method for an unexported member of a struct or for the key of a map. A store
// converts it with string(hash).
type PasswordHash string

const redacted = "[redacted]"

// String returns a fixed text, not the hash.
func (PasswordHash) String() string { return redacted }

// Format implements fmt.Formatter. It prints a fixed text for every verb.
func (PasswordHash) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns a fixed text, not the hash.
func (PasswordHash) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON encodes a fixed text, not the hash.
func (PasswordHash) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText encodes a fixed text, not the hash.
func (PasswordHash) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// A Hasher computes and verifies password hashes of one or several schemes.
// [Bcrypt], [PBKDF2SHA256] and [Argon2id] are schemes, and [Schemes] chains
// them. Most programs leave Config.Passwords.Hasher nil and do not need this
// interface.
//
// Implementations are safe for concurrent use and have no state that changes.
// For a password that no scheme can take (over 1,024 bytes, with a NUL byte,
// not UTF-8), Hash returns an error. Verify returns a mismatch, after as much
// work as for any other mismatch.
type Hasher interface {
	// Hash returns a new hash with a random salt.
	//
	// The errors are ErrPasswordTooLong or ErrPasswordInvalid if the scheme
	// cannot take the password, and another error if the Hasher is
	// misconfigured.
	Hash(password string) (PasswordHash, error)

	// Verify returns nil if hash is that of password.
	//
	// The errors are:
	//   - ErrPasswordMismatch if it is not,
	//   - ErrUnknownScheme if this Hasher does not read the scheme of hash;
	//     nothing was computed,
	//   - ErrMalformedHash if hash is of that scheme but malformed or too
	//     costly; nothing was computed.
	Verify(password string, hash PasswordHash) error

	// NeedsRehash reports whether a login should replace hash by a new one,
	// because hash has another scheme than new hashes, or a lower cost. It only
	// parses the hash. Its errors are ErrUnknownScheme and ErrMalformedHash, so
	// it also shows whether Verify can read the hash.
	NeedsRehash(hash PasswordHash) (bool, error)
}

var (
	// ErrPasswordMismatch is returned by [Hasher] Verify if the password is
	// wrong.
	ErrPasswordMismatch = errors.New("authkit: password mismatch")

	// ErrUnknownScheme is returned by a [Hasher] for a hash of a scheme that it
	// does not read, such as the empty hash.
	ErrUnknownScheme = errors.New("authkit: password hash of an unknown scheme")

	// ErrMalformedHash is returned by a [Hasher] for a malformed hash of its
	// schemes, or one whose cost is out of bounds.
	ErrMalformedHash = errors.New("authkit: malformed password hash")

	// ErrPasswordTooLong is returned if a password has more bytes than the
	// scheme can take: 72 for bcrypt, 1,024 for the others. Passwords are never
	// truncated.
	ErrPasswordTooLong = errors.New("authkit: password too long")

	// ErrPasswordInvalid is returned if a password contains a NUL byte or is
	// not valid UTF-8.
	ErrPasswordInvalid = errors.New("authkit: password holds a NUL byte or is not UTF-8")
)

// maxPasswordBytes bounds every password before any hash is computed, so that
// an attacker cannot choose the time of hashing (CVE-2013-1443).
const maxPasswordBytes = 1024

// checkPasswordBytes returns why no scheme can take the password, or nil.
//
// NUL and invalid UTF-8 are refused because hash functions alias them. HMAC
// pads its key with NUL and replaces a key over 64 bytes by its digest. C
// bcrypt ends at a NUL, and others repeat the key from there.
func checkPasswordBytes(password string, limit int) error {
	if len(password) > limit {
		return ErrPasswordTooLong
	}
	for i := range len(password) {
		if password[i] == 0 {
			return ErrPasswordInvalid
		}
	}
	if !utf8.ValidString(password) {
		return ErrPasswordInvalid
	}
	return nil
}

// verifyWith runs match with the password. If the scheme cannot take the
// password, it runs match with a filler, so that such a password costs as much
// as a wrong one.
func verifyWith(password string, limit int, match func(password string) bool) error {
	if checkPasswordBytes(password, limit) != nil {
		match("a filler for a password that cannot be right")
		return ErrPasswordMismatch
	}
	if !match(password) {
		return ErrPasswordMismatch
	}
	return nil
}

// Schemes returns a Hasher that reads the hashes of every given scheme, chosen
// by the prefix of the hash. New hashes use the first scheme. A hash of another
// scheme, or of a lower cost, is due for a rehash. In this way a user table
// moves from one scheme to the next, one login at a time.
//
//	authkit.Schemes(authkit.Bcrypt{}, authkit.PBKDF2SHA256{}) // passlib's tables
func Schemes(primary Hasher, more ...Hasher) Hasher {
	return chain(append([]Hasher{primary}, more...))
}

type chain []Hasher

func (c chain) Hash(password string) (PasswordHash, error) { return c[0].Hash(password) }

func (c chain) Verify(password string, hash PasswordHash) error {
	for _, h := range c {
		if err := h.Verify(password, hash); !errors.Is(err, ErrUnknownScheme) {
			return err
		}
	}
	return ErrUnknownScheme
}

func (c chain) NeedsRehash(hash PasswordHash) (bool, error) {
	for i, h := range c {
		needs, err := h.NeedsRehash(hash)
		if errors.Is(err, ErrUnknownScheme) {
			continue
		}
		return err == nil && (needs || i > 0), err
	}
	return false, ErrUnknownScheme
}

// maxBytes returns the length of the longest password that Hash accepts.
func (c chain) maxBytes() int {
	if l, ok := c[0].(interface{ maxBytes() int }); ok {
		return l.maxBytes()
	}
	return maxPasswordBytes
}

// dummyHash returns a hash that matches no password and takes as much work to
// verify as one of Hash. For the schemes of this package it consists of random
// bytes and costs nothing to make.
func dummyHash(h Hasher) (PasswordHash, error) {
	if c, ok := h.(chain); ok {
		return dummyHash(c[0])
	}
	if scheme, ok := h.(interface {
		dummy() (PasswordHash, error)
	}); ok {
		return scheme.dummy()
	}
	return h.Hash(rand.Text())
}

// randomBytes returns n random bytes.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func (c chain) validate() error {
	var errs []error
	for _, h := range c {
		errs = append(errs, validateHasher(h))
	}
	return errors.Join(errs...)
}

// validateHasher returns the problems of the library's own hashers. It accepts
// other hashers.
func validateHasher(h Hasher) error {
	switch h := h.(type) {
	case nil:
		return errors.New("a nil Hasher: pass Bcrypt{} or another scheme")
	case interface{ validate() error }:
		return h.validate()
	}
	return nil
}

// atoi parses a decimal number of a hash: no sign, no leading zero, and at most
// limit.
func atoi(s string, limit int) (int, bool) {
	if s == "" || len(s) > 10 || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n <= limit
}

// decodeExact decodes s, and refuses the line ends that Go's decoders skip. It
// returns nil if s is malformed.
func decodeExact(enc *base64.Encoding, s string) []byte {
	b, err := enc.DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil
	}
	return b
}
