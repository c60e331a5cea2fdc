package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
)

// The text of a key is
//
//	prefix _ id _ secret checksum
//
// The ID has 16 hexadecimal digits, and the secret 64. The checksum is the
// CRC-32 (IEEE) of all characters before it, in 8 digits. It detects damaged
// keys, and no attacks.
const (
	idLen       = 16
	secretLen   = 64
	checksumLen = 8

	tailLen = idLen + 1 + secretLen + checksumLen // without the prefix
)

// newID returns a random ID.
func newID() string {
	random := make([]byte, idLen/2)
	_, _ = rand.Read(random) // never fails
	return hex.EncodeToString(random)
}

// newText returns the text of a new key. The prefix ends with an underscore.
func newText(prefix, id string) string {
	secret := make([]byte, secretLen/2)
	_, _ = rand.Read(secret) // never fails
	text := prefix + id + "_" + hex.EncodeToString(secret)
	return text + checksum(text)
}

func checksum(text string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text))) }

// parse returns the ID of a text, and whether the text is a key of this
// package. The tail is the text without the prefix. It has one spelling for each
// key, and no allocations.
func parse(text, tail string) (id string, ok bool) {
	if len(tail) != tailLen || tail[idLen] != '_' || !isHex(tail[:idLen]) || !isHex(tail[idLen+1:]) {
		return "", false
	}
	var sum uint32
	for _, c := range []byte(text[len(text)-checksumLen:]) {
		sum = sum<<4 | uint32(digit(c))
	}
	if crc32.ChecksumIEEE([]byte(text[:len(text)-checksumLen])) != sum {
		return "", false
	}
	return tail[:idLen], true
}

// isHex reports whether a text has only the digits of lower case.
func isHex(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func digit(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// Hash returns the form in which a store keeps a key: the SHA-256 of its text.
// Use it to prepare an import; see [Keys.Import].
func Hash(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }

// importedID returns the ID of a key of another system: 64 bits of its hash.
func importedID(hash [sha256.Size]byte) string { return hex.EncodeToString(hash[:idLen/2]) }
