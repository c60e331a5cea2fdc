package authkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"slices"
	"strings"
	"sync"
)

// A keySet is a set of keys, bound to their algorithms. It does not change. Buffers and
// caches belong to one keySet, so that they end with its keys.
type keySet struct {
	keys     []*signingKey                    // the first signs
	unnamed  *signingKey                      // verifies tokens without a kid; nil without keys
	byHeader [profiles]map[string]*signingKey // by header segment, for the usual spellings
	buffers  sync.Pool
}

// bindKeys checks keys and binds them. If sign is set, the first must be able to sign. The
// errors name the keys as elements of field.
func bindKeys(field string, keys []Key, sign bool) (*keySet, []error) {
	var bound []*signingKey
	var errs []error
	for i, k := range keys {
		fault := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("authkit: %s[%d]: "+format, append([]any{field, i}, args...)...))
		}
		b, err := bindKey(k)
		if err != nil {
			fault("%w", err)
			continue
		}
		if sign && i == 0 && !b.canSign() {
			fault("the first key signs, and this one cannot; set Private")
		}
		if slices.ContainsFunc(bound, func(other *signingKey) bool { return other.id == b.id }) {
			fault("the ID %q is that of an earlier key; give each its own", k.ID)
			continue
		}
		b.index = len(bound)
		bound = append(bound, b)
	}
	return newKeySet(bound), errs
}

// newKeySet returns the set of keys, with an index of the headers that they write. A token
// without a kid belongs to the key without an ID, or else to the first key. The other keys
// are not tried, since that would make the kid optional for an attacker.
func newKeySet(keys []*signingKey) *keySet {
	r := &keySet{keys: keys}
	r.buffers.New = func() any { return &buffers{macs: make([]hash.Hash, len(keys))} }
	if len(keys) == 0 {
		return r
	}
	r.unnamed = keys[0]
	for _, k := range keys {
		if k.id == "" {
			r.unnamed = k
		}
	}
	for p := range r.byHeader {
		m := make(map[string]*signingKey)
		for _, k := range keys {
			for _, h := range profile(p).headers(k.alg, k.id) {
				m[h] = k
			}
		}
		for _, h := range profile(p).headers(r.unnamed.alg, "") {
			m[h] = r.unnamed
		}
		r.byHeader[p] = m
	}
	return r
}

// symmetric returns an HS key of the set, or nil.
func (r *keySet) symmetric() *signingKey {
	if i := slices.IndexFunc(r.keys, func(k *signingKey) bool { return k.newMAC != nil }); i >= 0 {
		return r.keys[i]
	}
	return nil
}

// equal reports whether two sets hold the same keys in the same order.
func (r *keySet) equal(other *keySet) bool {
	return slices.EqualFunc(r.keys, other.keys, (*signingKey).equal)
}

// signing returns the key that signs, or an error if there is none.
func (r *keySet) signing() (*signingKey, error) {
	if len(r.keys) == 0 || !r.keys[0].canSign() {
		return nil, errors.New("authkit: the ring has no key that signs")
	}
	return r.keys[0], nil
}

// openStatement checks the signature of a statement and returns its decoded payload.
func (r *keySet) openStatement(typ, jws string) ([]byte, error) {
	header, _, ok := strings.Cut(jws, ".")
	last := strings.LastIndexByte(jws, '.')
	if !ok || last == len(header) {
		return nil, errTokenMalformed
	}
	i := slices.IndexFunc(r.keys, func(k *signingKey) bool { return k.header(typ) == header })
	if i < 0 {
		return nil, errUnknownKey
	}
	s := r.buffers.Get().(*buffers)
	defer r.buffers.Put(s)
	if !r.keys[i].verify(s, jws[:last], jws[last+1:]) {
		return nil, errTokenSignature
	}
	segment := jws[len(header)+1 : last]
	payload, err := strict64.DecodeString(segment)
	if err != nil || strict64.EncodedLen(len(payload)) != len(segment) { // not if line ends were skipped
		return nil, errTokenMalformed
	}
	return payload, nil
}

// A profile is a format of access tokens.
type profile int

const (
	plainProfile       profile = iota // RFC 7519
	accessTokenProfile                // RFC 9068
	profiles           = 2            // the number of profiles
)

// types returns the typ values that a profile accepts, the one that it writes first. They are
// compared without regard to case (RFC 7515 section 4.1.9).
func (p profile) types() []string {
	if p == accessTokenProfile {
		return []string{"at+jwt", "application/at+jwt"}
	}
	return []string{"JWT"}
}

// headers returns header segments for an algorithm and a kid. The first is the one that the
// library writes. The others are usual spellings, listed so that such headers need no
// parsing.
func (p profile) headers(alg Algorithm, id string) (segments []string) {
	a := `"alg":"` + string(alg) + `"`
	add := func(members ...string) {
		segments = append(segments, base64.RawURLEncoding.EncodeToString([]byte("{"+strings.Join(members, ",")+"}")))
	}
	for _, typ := range p.types() {
		t := `"typ":"` + typ + `"`
		if id == "" {
			add(a, t)
			add(t, a)
			continue
		}
		k := `"kid":` + quote(id)
		for _, order := range [][]string{{a, k, t}, {a, t, k}, {k, a, t}, {k, t, a}, {t, a, k}, {t, k, a}} {
			add(order...)
		}
	}
	switch {
	case p != plainProfile: // typ is required
	case id == "":
		add(a)
	default:
		k := `"kid":` + quote(id)
		add(a, k)
		add(k, a)
	}
	return segments
}

// header returns the header segment that the key writes for a typ.
func (b *signingKey) header(typ string) string {
	kid := ""
	if b.id != "" {
		kid = `"kid":` + quote(b.id) + ","
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + string(b.alg) + `",` + kid + `"typ":` + quote(typ) + `}`))
}

// quote returns s as a JSON string.
func quote(s string) string {
	quoted, _ := json.Marshal(s) // a string always encodes
	return string(quoted)
}

// clonePublic returns a copy of a public key that was checked.
func clonePublic(public crypto.PublicKey) crypto.PublicKey {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return &rsa.PublicKey{N: new(big.Int).Set(public.N), E: public.E}
	case *ecdsa.PublicKey:
		point, _ := public.Bytes()
		clone, _ := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		return clone
	case ed25519.PublicKey:
		return slices.Clone(public)
	}
	return nil
}
