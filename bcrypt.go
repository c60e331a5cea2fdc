package authkit

import (
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	defaultBcryptCost = 12
	minBcryptCost     = 10
	maxBcryptCost     = 15 // a hash of cost 31 takes a day and a half
	maxBcryptBytes    = 72 // bcrypt reads no further
	bcryptHashLen     = 60
)

// Bcrypt is the scheme of new hashes by default. It reads hashes that begin
// with $2a$, $2b$ or $2y$, and writes $2a$. The zero value hashes at cost 12.
//
// bcrypt uses only the first 72 bytes of a password. This package never
// truncates one: for a longer password, Hash returns ErrPasswordTooLong and
// Verify returns ErrPasswordMismatch.
type Bcrypt struct {
	// Cost is the base-2 logarithm of the work of new hashes, 10 to 15; zero
	// means 12, about a quarter of a second. A stored hash is read at any cost
	// from 4 to 15.
	Cost int

	// InsecureLowCost also allows a Cost of 4 to 9. It is for tests.
	InsecureLowCost bool
}

func (b Bcrypt) cost() int {
	if b.Cost == 0 {
		return defaultBcryptCost
	}
	return b.Cost
}

func (Bcrypt) maxBytes() int { return maxBcryptBytes }

func (b Bcrypt) validate() error {
	lowest := minBcryptCost
	if b.InsecureLowCost {
		lowest = bcrypt.MinCost
	}
	if c := b.cost(); c < lowest || c > maxBcryptCost {
		return fmt.Errorf("bcrypt cost %d: use %d to %d, or 0 for %d", c, lowest, maxBcryptCost, defaultBcryptCost)
	}
	return nil
}

// Hash implements [Hasher]. It fails with ErrPasswordTooLong above 72 bytes.
func (b Bcrypt) Hash(password string) (PasswordHash, error) {
	if err := b.validate(); err != nil {
		return "", fmt.Errorf("authkit: %w", err)
	}
	if err := checkPasswordBytes(password, maxBcryptBytes); err != nil {
		return "", err
	}
	h, err := bcrypt.GenerateFromPassword([]byte(password), b.cost())
	if err != nil {
		return "", fmt.Errorf("authkit: bcrypt: %w", err)
	}
	return PasswordHash(h), nil
}

// bcrypt64 is the base64 of bcrypt.
var bcrypt64 = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)

// dummy returns a hash with a random salt and a random sum. Both are encoded as bcrypt does
// it: a letter that it does not write would end a verification before the work.
func (b Bcrypt) dummy() (PasswordHash, error) {
	salt, sum := bcrypt64.EncodeToString(randomBytes(16)), bcrypt64.EncodeToString(randomBytes(23))
	return PasswordHash(fmt.Sprintf("$2a$%02d$%s%s", b.cost(), salt, sum)), b.validate()
}

// Verify implements [Hasher].
func (Bcrypt) Verify(password string, hash PasswordHash) error {
	if _, err := parseBcrypt(string(hash)); err != nil {
		return err
	}
	return verifyWith(password, maxBcryptBytes, func(password string) bool {
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	})
}

// NeedsRehash implements [Hasher].
func (b Bcrypt) NeedsRehash(hash PasswordHash) (bool, error) {
	cost, err := parseBcrypt(string(hash))
	return err == nil && cost < b.cost(), err
}

// parseBcrypt returns the cost of a bcrypt hash. x/crypto's own reader takes any
// ident letter, text after the hash and a cost of 31, so the check is ours.
func parseBcrypt(h string) (cost int, err error) {
	if len(h) < 4 || h[0] != '$' || h[1] != '2' || h[3] != '$' || !strings.Contains("aby", h[2:3]) {
		return 0, ErrUnknownScheme
	}
	if len(h) != bcryptHashLen || h[6] != '$' {
		return 0, ErrMalformedHash
	}
	for i := 7; i < len(h); i++ {
		if c := h[i]; !(c == '.' || c == '/' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') {
			return 0, ErrMalformedHash
		}
	}
	tens, ones := h[4]-'0', h[5]-'0' // 10 to 255 if it is no digit
	cost = int(tens)*10 + int(ones)
	if ones > 9 || cost < bcrypt.MinCost || cost > maxBcryptCost {
		return 0, ErrMalformedHash
	}
	return cost, nil
}
