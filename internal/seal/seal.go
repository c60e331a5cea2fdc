// Package seal encrypts values that a store keeps, under keys that the store
// does not have.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	minKey = 32 // bytes of a key of the configuration
	aesKey = 32
	idSize = 4
)

// ErrOpen is returned by [Box.Open] for a value that is damaged, that belongs
// to other additional data, or whose key is not there any more.
var ErrOpen = errors.New("seal: the value cannot be opened; is its key missing?")

// A Box seals and opens values with AES-256-GCM. Make one with [New]. It is
// safe for concurrent use.
type Box struct{ keys []sealKey }

// A sealKey is a derived key with its name in sealed values.
type sealKey struct {
	id   []byte
	aead cipher.AEAD
}

// New returns a Box. The first key seals, and all of them open. Each has 32 or
// more random bytes. The AES key and its ID are derived from it with
// HKDF-SHA-256 (RFC 5869) and the label, so features with different labels can
// share a key.
//
// Nonces are random. A key can therefore seal 2^32 values (NIST SP 800-38D,
// section 8.3).
func New(label string, keys ...[]byte) (*Box, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("no key; use %d random bytes or more", minKey)
	}
	b := new(Box)
	for i, key := range keys {
		if len(key) < minKey {
			return nil, fmt.Errorf("the key %d has %d bytes; use %d random ones or more", i, len(key), minKey)
		}
		derived, err := hkdf.Key(sha256.New, key, nil, label, aesKey+idSize)
		if err != nil {
			return nil, err
		}
		k := sealKey{id: derived[aesKey:]}
		if b.key(k.id) != nil {
			return nil, fmt.Errorf("the key %d is there twice; leave it out", i)
		}
		block, err := aes.NewCipher(derived[:aesKey])
		if err != nil {
			return nil, err
		}
		if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
		b.keys = append(b.keys, k)
	}
	return b, nil
}

// Format implements fmt.Formatter. It prints a fixed text for every verb.
func (*Box) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("seal.Box{[redacted]}")) }

// key returns the key with an ID, or nil.
func (b *Box) key(id []byte) *sealKey {
	for i := range b.keys {
		if bytes.Equal(b.keys[i].id, id) {
			return &b.keys[i]
		}
	}
	return nil
}

// Seal returns an encrypted value. The result begins with the ID of the key.
// [Box.Open] needs the same additional data. Use it to bind the value to its
// place in the store; see [Place].
func (b *Box) Seal(plain, aad []byte) []byte {
	first := b.keys[0]
	return first.aead.Seal(bytes.Clone(first.id), nil, plain, aad)
}

// Open returns the value of a [Box.Seal], or [ErrOpen].
func (b *Box) Open(sealed, aad []byte) ([]byte, error) {
	if len(sealed) < idSize {
		return nil, ErrOpen
	}
	k := b.key(sealed[:idSize])
	if k == nil {
		return nil, ErrOpen
	}
	plain, err := k.aead.Open(nil, nil, sealed[idSize:], aad)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// Current reports whether a value was sealed with the first key. If not, seal
// it again before you remove the key that opens it.
func (b *Box) Current(sealed []byte) bool { return bytes.HasPrefix(sealed, b.keys[0].id) }

// Place returns additional data for a value in a column of a table, in the row
// that the key parts name. A sealed value that is copied to another place does
// not open there.
func Place(table, column string, row ...string) []byte {
	var place []byte
	for _, part := range append([]string{table, column}, row...) {
		place = fmt.Appendf(place, "%d:%s", len(part), part)
	}
	return place
}
