// Package jws signs and verifies compact JSON Web Signatures (RFC 7515) with keys that are
// each bound to one algorithm. Nothing is decoded before its signature has been verified,
// except that a large set looks for the IDs of its keys in an unusual header.
package jws

import (
	"bytes"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
)

const (
	bufferSize = 8192 // bytes of a token that needs no further memory
	maxTries   = 16   // keys that a token with an unusual header is tried against
)

// The errors of [Set.Open] and [Set.OpenAs].
var (
	ErrMalformed  = errors.New("jws: malformed")
	ErrSignature  = errors.New("jws: the signature is wrong")
	ErrUnknownKey = errors.New("jws: no key of the set has signed it") // another set may have the key
)

// ErrNoSigningKey is returned by [Set.Sign] and [Set.SignAs] if the first key cannot sign.
var ErrNoSigningKey = errors.New("jws: no key that signs")

// A Set is a set of keys. It does not change, and is safe for concurrent use. Buffers belong
// to one Set, so that they end with its keys.
type Set struct {
	Keys []*BoundKey // the first signs

	unnamed  *BoundKey                      // verifies tokens without a kid; nil without keys
	byHeader [profiles]map[string]*BoundKey // by header segment, for the usual spellings
	buffers  sync.Pool
}

// NewSet returns the set of keys with different IDs. The keys belong to the set from now on.
//
// A token without a kid belongs to the key without an ID, or else to the first key. The
// other keys are not tried, since that would make the kid optional for an attacker.
func NewSet(keys []*BoundKey) *Set {
	s := &Set{Keys: keys}
	s.buffers.New = func() any { return &buffers{macs: make([]hash.Hash, len(keys))} }
	if len(keys) == 0 {
		return s
	}
	s.unnamed = keys[0]
	for i, k := range keys {
		k.index = i
		if k.ID == "" {
			s.unnamed = k
		}
	}
	for p := range s.byHeader {
		m := make(map[string]*BoundKey)
		for _, k := range keys {
			for _, h := range Profile(p).headers(k.Algorithm, k.ID) {
				m[h] = k
			}
		}
		for _, h := range Profile(p).headers(s.unnamed.Algorithm, "") {
			m[h] = s.unnamed
		}
		s.byHeader[p] = m
	}
	return s
}

// CanSign reports whether the first key can sign.
func (s *Set) CanSign() bool { return len(s.Keys) > 0 && s.Keys[0].CanSign() }

// Symmetric returns a key with a secret, or nil.
func (s *Set) Symmetric() *BoundKey {
	if i := slices.IndexFunc(s.Keys, (*BoundKey).Symmetric); i >= 0 {
		return s.Keys[i]
	}
	return nil
}

// Equal reports whether two sets hold the same keys in the same order.
func (s *Set) Equal(other *Set) bool {
	return slices.EqualFunc(s.Keys, other.Keys, (*BoundKey).equal)
}

// Sign returns the token of a profile with the payload that a function appends to an empty
// slice. It returns the error of that function unchanged.
func (s *Set) Sign(p Profile, appendPayload func([]byte) ([]byte, error)) (string, error) {
	if !s.CanSign() {
		return "", ErrNoSigningKey
	}
	b := s.buffers.Get().(*buffers)
	defer s.buffers.Put(b)
	payload, err := appendPayload(b.buf[:0])
	if err != nil {
		return "", err
	}
	// Payload and token share the buffer, one behind the other.
	key := s.Keys[0]
	buf := append(payload, key.headers[p]...)
	buf = base64.RawURLEncoding.AppendEncode(buf, payload)
	token, err := key.appendSignature(b, buf[len(payload):])
	return string(token), err
}

// Open verifies the signature of a token of a profile and returns its decoded payload.
func (s *Set) Open(p Profile, token string) (payload string, err error) {
	first, last := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	if first <= 0 || last == first {
		return "", ErrMalformed
	}
	b := s.buffers.Get().(*buffers)
	defer s.buffers.Put(b)

	header, sig := token[:first], token[last+1:]
	if key := s.byHeader[p][header]; key != nil {
		if !key.verify(b, token[:last], sig) {
			return "", ErrSignature
		}
	} else if err := s.verifyForeign(b, p, token, header, sig); err != nil {
		return "", err
	}
	decoded, ok := b.decode(token[first+1 : last])
	if !ok {
		return "", ErrMalformed
	}
	return string(decoded), nil
}

// verifyForeign verifies a token whose header is spelled in another way than a Set spells
// it. The header is parsed only after one of the keys was found to have signed it. The
// length of a signature tells which keys are worth trying. In a large set, these are the
// keys whose ID is in the text of the header, and the key for tokens without one.
func (s *Set) verifyForeign(b *buffers, p Profile, token, header, sig string) error {
	input := token[:len(token)-len(sig)-1]
	for i := range len(input) {
		if c := input[i]; !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return ErrMalformed
		}
	}
	var text []byte
	if len(s.Keys) > maxTries {
		text, _ = strict64.DecodeString(header)
	}
	err, tries := ErrUnknownKey, 0
	for _, k := range s.Keys {
		if len(s.Keys) > maxTries && k != s.unnamed && !bytes.Contains(text, []byte(quote(k.ID))) {
			continue
		}
		if tries++; tries > maxTries {
			break
		}
		if k.verify(b, input, sig) {
			if s.headerFits(k, p, header) {
				return nil
			}
			err = ErrMalformed
		}
	}
	return err
}

// SignAs returns a payload of any form as a JWS whose header has the typ.
func (s *Set) SignAs(typ string, payload []byte) (string, error) {
	if !s.CanSign() {
		return "", ErrNoSigningKey
	}
	key := s.Keys[0]
	buf := make([]byte, 0, bufferSize+base64.RawURLEncoding.EncodedLen(len(payload)))
	buf = append(append(buf, key.header(typ)...), '.')
	buf = base64.RawURLEncoding.AppendEncode(buf, payload)
	b := s.buffers.Get().(*buffers)
	defer s.buffers.Put(b)
	signed, err := key.appendSignature(b, buf)
	return string(signed), err
}

// OpenAs verifies a JWS that [Set.SignAs] has made with the same typ, and returns its decoded
// payload.
func (s *Set) OpenAs(typ, token string) ([]byte, error) {
	header, _, ok := strings.Cut(token, ".")
	last := strings.LastIndexByte(token, '.')
	if !ok || last == len(header) {
		return nil, ErrMalformed
	}
	i := slices.IndexFunc(s.Keys, func(k *BoundKey) bool { return k.header(typ) == header })
	if i < 0 {
		return nil, ErrUnknownKey
	}
	b := s.buffers.Get().(*buffers)
	defer s.buffers.Put(b)
	if !s.Keys[i].verify(b, token[:last], token[last+1:]) {
		return nil, ErrSignature
	}
	segment := token[len(header)+1 : last]
	payload, err := strict64.DecodeString(segment)
	if err != nil || strict64.EncodedLen(len(payload)) != len(segment) { // not if line ends were skipped
		return nil, ErrMalformed
	}
	return payload, nil
}

// The buffers are the memory for signing or verifying one token. They keep the keyed
// hashes, since making one costs as much as hashing a short token.
type buffers struct {
	buf  [bufferSize]byte
	macs []hash.Hash // by BoundKey.index
	sum  [64]byte
	text [86]byte // the sum in base64
}

// mac returns the signature segment of an HS key for a signing input. It is valid until
// the next call.
func (b *buffers) mac(k *BoundKey, input []byte) []byte {
	h := b.macs[k.index]
	if h == nil {
		h = k.newMAC()
		b.macs[k.index] = h
	}
	h.Reset()
	h.Write(input)
	return base64.RawURLEncoding.AppendEncode(b.text[:0], h.Sum(b.sum[:0]))
}

// decode decodes a segment. The result is valid until the buffers are used again.
func (b *buffers) decode(segment string) ([]byte, bool) {
	if len(segment) > len(b.buf) { // of a long token
		decoded, err := strict64.DecodeString(segment)
		return decoded, err == nil && strict64.EncodedLen(len(decoded)) == len(segment)
	}
	// The text goes into the second half and its bytes into the first. A text that does
	// not fit there gets new memory.
	n, err := strict64.Decode(b.buf[:], append(b.buf[len(b.buf)/2:][:0], segment...))
	return b.buf[:n], err == nil && strict64.EncodedLen(n) == len(segment) // not if line ends were skipped
}

// strict64 is the base64 of JWS (RFC 7515 section 2). Strict refuses a last letter
// with idle bits. Otherwise a signature of 32 bytes has four spellings.
var strict64 = base64.RawURLEncoding.Strict()

// appendSignature appends a dot and the signature segment to the signing input.
func (k *BoundKey) appendSignature(b *buffers, input []byte) ([]byte, error) {
	if k.newMAC != nil {
		sig := b.mac(k, input)
		return append(append(input, '.'), sig...), nil
	}
	sig, err := k.sign(string(input))
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k.Algorithm, err)
	}
	return base64.RawURLEncoding.AppendEncode(append(input, '.'), sig), nil
}

// verify reports whether sig is the key's signature of input.
func (k *BoundKey) verify(b *buffers, input, sig string) bool {
	if len(sig) != k.sigLen {
		return false
	}
	if k.newMAC != nil {
		// The right signature is encoded and compared. The given one is never decoded, so
		// it has just one spelling.
		want := b.mac(k, append(b.buf[:0], input...))
		return hmac.Equal(want, append(b.buf[:0], sig...))
	}
	decoded, ok := b.decode(sig)
	return ok && k.method.Verify(input, decoded, k.public) == nil
}
