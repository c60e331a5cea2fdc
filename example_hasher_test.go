package authkit_test

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

// A user table comes from another system. Its hashes are verified as they are,
// and each is replaced when its user logs in. A Kit does so at every login.
func ExampleSchemes() {
	hasher := authkit.Schemes(authkit.Bcrypt{Cost: 10}, authkit.PBKDF2SHA256{})

	stored := authkit.PasswordHash("$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk")
	fmt.Println(hasher.Verify("admin124", stored))
	fmt.Println(hasher.Verify("admin123", stored))

	due, err := hasher.NeedsRehash(stored)
	fmt.Println(due, err)
	stored, err = hasher.Hash("admin123")
	fmt.Println(string(stored)[:7], err)
	due, err = hasher.NeedsRehash(stored)
	fmt.Println(due, err)

	// A hash of a scheme that was not passed to Schemes cannot be verified.
	fmt.Println(hasher.Verify("admin123", "5f4dcc3b5aa765d61d8327deb882cf99"))
	// Output:
	// authkit: password mismatch
	// <nil>
	// true <nil>
	// $2a$10$ <nil>
	// false <nil>
	// authkit: password hash of an unknown scheme
}

// bcrypt uses only the first 72 bytes of a password. A longer password is
// refused and never truncated, since another one with the same beginning would
// match it. The limit counts bytes, not letters.
func ExampleBcrypt_longPassword() {
	twenty := strings.Repeat("🔑", 20)
	_, err := authkit.Bcrypt{}.Hash(twenty)
	fmt.Println(len(twenty), errors.Is(err, authkit.ErrPasswordTooLong))
	// Output: 80 true
}

// A hash does not end up in a log or a response by accident.
func ExamplePasswordHash() {
	u := authkit.StoredUser{PasswordHash: "$2a$12$abcdefghijklmnopqrstuu8nVP5YIGOh70Ay1z97h1tTXrbCO0wzK"}
	fmt.Println(u.PasswordHash)
	fmt.Printf("%q\n", u.PasswordHash)

	// A store converts it.
	fmt.Println(len(string(u.PasswordHash)))
	// Output:
	// [redacted]
	// [redacted]
	// 60
}

// A peppered Hasher hashes an HMAC of the password instead of the password. The
// key of the HMAC is not in the database, so a stolen table is not enough to
// guess passwords. The HMAC has 64 letters, however long the password is.
type peppered struct {
	pepper []byte
	bcrypt authkit.Bcrypt
}

const pepperedPrefix = "hmac-sha384$"

func (p peppered) Hash(password string) (authkit.PasswordHash, error) {
	hash, err := p.bcrypt.Hash(p.mix(password))
	return pepperedPrefix + hash, err
}

func (p peppered) Verify(password string, hash authkit.PasswordHash) error {
	inner, ok := strings.CutPrefix(string(hash), pepperedPrefix)
	if !ok {
		return authkit.ErrUnknownScheme
	}
	return p.bcrypt.Verify(p.mix(password), authkit.PasswordHash(inner))
}

func (p peppered) NeedsRehash(hash authkit.PasswordHash) (bool, error) {
	inner, ok := strings.CutPrefix(string(hash), pepperedPrefix)
	if !ok {
		return false, authkit.ErrUnknownScheme
	}
	return p.bcrypt.NeedsRehash(authkit.PasswordHash(inner))
}

func (p peppered) mix(password string) string {
	if len(password) > 1024 || !utf8.ValidString(password) || strings.ContainsRune(password, 0) {
		return password // which bcrypt refuses, at the cost of a wrong one
	}
	mac := hmac.New(sha512.New384, p.pepper)
	mac.Write([]byte(password))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Your own scheme is the first one, so new hashes use it. Other hashes are
// replaced when their users log in.
func ExampleHasher() {
	hasher := authkit.Schemes(
		peppered{pepper: []byte("from the same place as the signing secret"), bcrypt: authkit.Bcrypt{Cost: 10}},
		authkit.Bcrypt{Cost: 10},
	)
	passphrase := strings.Repeat("correct horse battery staple ", 10)
	hash, err := hasher.Hash(passphrase)
	fmt.Println(len(hash), err)
	fmt.Println(hasher.Verify(passphrase, hash))
	fmt.Println(hasher.Verify(passphrase[:289], hash))

	due, err := hasher.NeedsRehash("$2a$10$abcdefghijklmnopqrstuuEZ4tpXm4W5SeJkDbuNdfJ.CF0.Wc2V2")
	fmt.Println(due, err)
	// Output:
	// 72 <nil>
	// <nil>
	// authkit: password mismatch
	// true <nil>
}
