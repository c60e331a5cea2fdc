package authkit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"unicode/utf8"
)

// A PasswordHash is a stored password hash: one self-describing string that
// names its scheme, its cost and its salt. The zero value belongs to an account
// without a password and never verifies.
//
// A PasswordHash redacts itself where it is formatted, logged or encoded as JSON, so
// that it does not reach a response or a log line by accident. (Go asks no method for an
// unexported member of a struct or for the key of a map.) A store converts it with
// string(hash).
type PasswordHash string

const redacted = "[redacted]"

// String returns a fixed text, not the hash.
func (PasswordHash) String() string { return redacted }

// Format writes a fixed text, for every verb but %T, %p and %w, which fmt does not ask about.
func (PasswordHash) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns a fixed text, not the hash.
func (PasswordHash) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON encodes a fixed text, not the hash.
func (PasswordHash) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText encodes a fixed text, not the hash.
func (PasswordHash) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// A Hasher makes and checks password hashes of one scheme, or of several:
// [Bcrypt], [PBKDF2SHA256] and [Argon2id] are schemes, [Schemes] chains them.
// Most programs leave Config.Passwords.Hasher nil and never meet this interface.
//
// Implementations are safe for concurrent use and hold no state that changes.
// A password that no scheme can take faithfully (over 1,024 bytes, holding a
// NUL byte, not UTF-8) is an error for Hash; for Verify it is a mismatch that
// costs as much work as any other mismatch.
type Hasher interface {
	// Hash returns a fresh hash with a random salt. It fails with
	// ErrPasswordTooLong or ErrPasswordInvalid if the scheme cannot take the
	// password, and with another error if the Hasher itself is misconfigured.
	Hash(password string) (PasswordHash, error)

	// Verify returns nil if hash was made of password, ErrPasswordMismatch if
	// it was not, ErrUnknownScheme if hash is of a scheme that this Hasher does
	// not read (nothing was computed), and ErrMalformedHash if it is of that
	// scheme but broken or outside the bounds on its cost (nothing was computed).
	Verify(password string, hash PasswordHash) error

	// NeedsRehash reports whether hash ought to be replaced, at the next login,
	// by what Hash makes: it is of another scheme than the one that Hash uses,
	// or of a lower cost. It only parses: an error is ErrUnknownScheme or
	// ErrMalformedHash, so it also tells whether Verify could read the hash.
	NeedsRehash(hash PasswordHash) (bool, error)
}

var (
	// ErrPasswordMismatch is returned by [Hasher] Verify when the password is
	// not the one that was hashed.
	ErrPasswordMismatch = errors.New("authkit: password mismatch")

	// ErrUnknownScheme is returned by a [Hasher] for a hash of a scheme that
	// it does not read, the empty hash included.
	ErrUnknownScheme = errors.New("authkit: password hash of an unknown scheme")

	// ErrMalformedHash is returned by a [Hasher] for a hash of its own scheme
	// that is broken, or whose cost is outside the bounds.
	ErrMalformedHash = errors.New("authkit: malformed password hash")

	// ErrPasswordTooLong is returned when a password has more bytes than the
	// scheme can take: 72 for bcrypt, 1,024 for the others. Nothing is ever
	// truncated.
	ErrPasswordTooLong = errors.New("authkit: password too long")

	// ErrPasswordInvalid is returned when a password holds a NUL byte or is
	// not valid UTF-8.
	ErrPasswordInvalid = errors.New("authkit: password holds a NUL byte or is not UTF-8")
)

// maxPasswordBytes bounds every password before any hash is computed: hashing
// time must not be the attacker's to choose (CVE-2013-1443).
const maxPasswordBytes = 1024

// checkPasswordBytes reports why no scheme can take the password, or nil.
//
// NUL and invalid UTF-8 are refused because hash functions alias them: HMAC pads
// its key with NUL and replaces a key over 64 bytes by its digest, C bcrypt ends
// at a NUL and others repeat the key from there.
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

// verifyWith runs match with the password, or with a filler where the scheme
// cannot take the password, so that such a password costs what a wrong one costs.
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

// Schemes returns a Hasher that reads the hashes of every scheme given, finds the
// right one by the prefix of the hash, and makes new hashes with the first.
// Whatever verifies under another scheme, or at a lower cost, is due for a
// rehash: that is how a user table moves from one scheme to the next, a login at
// a time.
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

// maxBytes returns the longest password that Hash takes.
func (c chain) maxBytes() int {
	if l, ok := c[0].(interface{ maxBytes() int }); ok {
		return l.maxBytes()
	}
	return maxPasswordBytes
}

// dummyHash returns a hash that verifies no password and takes as much work to verify as one
// of Hash. For the schemes of this package it is made of random bytes, without that work.
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

// validateHasher returns the faults of the library's own hashers; a Hasher of the
// host's is taken as it is.
func validateHasher(h Hasher) error {
	switch h := h.(type) {
	case nil:
		return errors.New("a nil Hasher: pass Bcrypt{} or another scheme")
	case interface{ validate() error }:
		return h.validate()
	}
	return nil
}

// atoi reads a decimal number as hash strings write it: no sign, no leading zero,
// and not above limit.
func atoi(s string, limit int) (int, bool) {
	if s == "" || len(s) > 10 || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n <= limit
}
