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
	"sync/atomic"
	"time"
)

// A KeyRing is a set of keys, the first of which signs and all of which verify, that can
// change while it is in use. The zero value holds no key: it signs nothing and accepts
// nothing. It is safe for concurrent use.
//
// Set it as [TokenConfig].Ring. Most programs have keys that never change while they run,
// and use [TokenConfig].Keys instead.
type KeyRing struct {
	// Refresh, if not nil, is called while a token is verified: with unknown true if the
	// token's header is of no key in the ring, and the token is tried again, once, if
	// the keys are other ones afterwards; with unknown false if the ring is due for a
	// refresh (see [KeyRing.Expire]). It may call Replace and Expire. The token waits for
	// it. Anybody can cause calls with unknown true, as many as they like: Refresh must
	// itself bound how often it does anything, and be safe for concurrent use. Set it
	// before first use.
	Refresh func(unknown bool)

	state atomic.Pointer[ringState] // nil: no keys

	mu     sync.Mutex // held while the state is changed; nobody who signs or verifies waits for it
	signs  bool       // an issuer uses the ring
	caches bool       // a verifier with a cache does
}

// A ringState is what a KeyRing is at a moment. It does not change.
type ringState struct {
	*ring
	refresh, expire time.Time // zero: never
}

// What accepts nothing.
var (
	noKeys     = newRing(nil)
	emptyState = &ringState{ring: noKeys} // of the zero KeyRing
)

// NewKeyRing returns a ring that holds keys, as [KeyRing.Replace] does, or its error.
func NewKeyRing(keys ...Key) (*KeyRing, error) {
	r := new(KeyRing)
	if err := r.Replace(keys...); err != nil {
		return nil, err
	}
	return r, nil
}

// Replace makes the ring hold these keys and no others: at most 16, with different IDs, the
// signing one first. With none, the ring signs nothing and accepts nothing from now on. What
// was set with Expire stays. It returns an error that joins all faults of the keys, and
// changes nothing then; a first key that cannot sign is one if an issuer uses the ring, and an
// HS key is one if a verifier with a CacheSize does.
//
// Keys rotate without a gap in three calls:
//
//	ring.Replace(old, next) // publish
//	ring.Replace(next, old) // activate
//	ring.Replace(next)      // retire
//
// Before the second, wait for as long as others may keep the key set that they fetched: five
// minutes with the handler of package jwks. Before the third, wait for the longest life of a
// token and the leeway: 30 minutes and 30 seconds by default. If a key was stolen, do not wait:
// Replace(next) at once. Others accept what it signs until they fetch the set again.
func (r *KeyRing) Replace(keys ...Key) error {
	var errs []error
	if len(keys) > maxKeys {
		errs = append(errs, fmt.Errorf("authkit: KeyRing: %d keys; %d are the most", len(keys), maxKeys))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next, faults := bindKeys("KeyRing", keys, r.signs)
	errs = append(errs, faults...)
	if hs := next.symmetric(); r.caches && hs != nil {
		errs = append(errs, fmt.Errorf("authkit: KeyRing: a key for %s, and a verifier of this ring has a CacheSize, which makes it slower", hs.alg))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for {
		old := r.state.Load()
		s := &ringState{ring: next}
		if old != nil {
			s.refresh, s.expire = old.refresh, old.expire
		}
		if r.state.CompareAndSwap(old, s) { // or a verifier has just taken the refresh
			return nil
		}
	}
}

// Expire says how long the keys are good for. The first Verify at or after refresh calls
// Refresh, and goes on with the keys there are then; there is one such call until Expire says
// another time. From expire on no key is accepted until Expire is called again, and guards
// answer 503 to what a key might have signed; the ring still signs. The zero time means never.
func (r *KeyRing) Expire(refresh, expire time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		old := r.state.Load()
		s := &ringState{ring: noKeys, refresh: refresh, expire: expire}
		if old != nil {
			s.ring = old.ring
		}
		if r.state.CompareAndSwap(old, s) {
			return
		}
	}
}

// PublicKeys returns copies of the keys that verify for others, in order, without what signs:
// ID, Algorithm and Public. The HS keys are left out, since who verifies with one can sign.
// There are none once the ring has expired.
func (r *KeyRing) PublicKeys() []Key {
	var keys []Key
	for _, b := range r.load().accepted().keys {
		if b.public != nil {
			keys = append(keys, Key{ID: b.id, Algorithm: b.alg, Public: clonePublic(b.public)})
		}
	}
	return keys
}

// KeyRing returns the ring of the Kit's tokens: to publish its keys, or to rotate them.
func (k *Kit) KeyRing() *KeyRing { return k.verifier.keys }

// Sign returns a payload of any form and length as a compact JWS (RFC 7515 section 7.1) of the
// first key. It is for signed statements that are not access tokens: typ, the media type
// without "application/", keeps the kinds apart (RFC 8725 section 3.11). It is 1 to 127
// visible ASCII characters, and not "JWT" or "at+jwt" in any case. Whoever verifies JWTs
// without looking at typ takes a payload of claims for a token: write another form.
func (r *KeyRing) Sign(typ string, payload []byte) (string, error) {
	if err := checkStatementType(typ); err != nil {
		return "", err
	}
	keys := r.load().ring
	key, err := keys.signing()
	if err != nil {
		return "", err
	}
	buf := make([]byte, 0, maxTokenLen+base64.RawURLEncoding.EncodedLen(len(payload)))
	buf = append(append(buf, key.header(typ)...), '.')
	buf = base64.RawURLEncoding.AppendEncode(buf, payload)
	s := keys.scratch.Get().(*scratch)
	defer keys.scratch.Put(s)
	signed, err := key.appendSignature(s, buf)
	return string(signed), err
}

// Open returns the payload of a JWS that [KeyRing.Sign] made with a key of the ring and the same
// typ. One of more than maxBytes bytes is refused before anything is looked at. The header has
// to be the very one that Sign writes, and nothing is decoded before the signature is
// checked. The error is ErrInvalidToken whatever is wrong with the JWS, and another one for a
// typ that Sign would not take.
func (r *KeyRing) Open(typ, jws string, maxBytes int) ([]byte, error) {
	if err := checkStatementType(typ); err != nil {
		return nil, err
	}
	if len(jws) > maxBytes {
		return nil, errTokenMalformed
	}
	keys := r.current()
	payload, err := keys.openStatement(typ, jws)
	if err == errUnknownKey {
		if next := r.refreshed(keys); next != keys {
			payload, err = next.openStatement(typ, jws)
		}
	}
	return payload, err
}

// checkStatementType returns why a media type cannot be that of a statement, or nil.
func checkStatementType(typ string) error {
	short := strings.ToLower(typ)
	short = strings.TrimPrefix(short, "application/")
	if short == "jwt" || short == "at+jwt" {
		return fmt.Errorf("authkit: the type %q is that of tokens; give statements another", typ)
	}
	if short == "" || len(typ) > 127 || strings.ContainsFunc(typ, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return errors.New("authkit: a type is 1 to 127 visible ASCII characters")
	}
	return nil
}

// load returns the state as it is.
func (r *KeyRing) load() *ringState {
	if s := r.state.Load(); s != nil {
		return s
	}
	return emptyState
}

// expired reports whether the keys are too old.
func (s *ringState) expired() bool { return !s.expire.IsZero() && !time.Now().Before(s.expire) }

// accepted returns the keys that verify now.
func (s *ringState) accepted() *ring {
	if s.expired() {
		return noKeys
	}
	return s.ring
}

// lapsed reports whether the keys have expired, or a ring that fetches its own has none yet.
func (r *KeyRing) lapsed() bool {
	s := r.state.Load()
	return s == nil && r.Refresh != nil || s != nil && s.expired()
}

// current returns the keys that verify now, and has them refreshed if that is due.
func (r *KeyRing) current() *ring {
	s := r.load()
	if !s.refresh.IsZero() && r.Refresh != nil && !time.Now().Before(s.refresh) {
		// Whoever clears the time is the one to call.
		if r.state.CompareAndSwap(s, &ringState{ring: s.ring, expire: s.expire}) {
			r.Refresh(false)
		}
		s = r.load()
	}
	return s.accepted()
}

// refreshed has the keys refreshed after they did not verify something, and returns those that
// verify then.
func (r *KeyRing) refreshed(tried *ring) *ring {
	if r.Refresh == nil {
		return tried
	}
	r.Refresh(true)
	return r.load().accepted()
}

// A ring is the keys that a verifier accepts at a moment. It does not change: what is
// remembered of its keys, in a scratch or in a cache, goes with it.
type ring struct {
	keys     []*boundKey
	unnamed  *boundKey                      // verifies tokens without a kid; nil without keys
	byHeader [profiles]map[string]*boundKey // by header segment, for the usual spellings
	scratch  sync.Pool
}

// bindKeys checks keys and binds them. The first must be able to sign if that is what it is
// for. The faults name the keys as elements of what at names.
func bindKeys(at string, keys []Key, sign bool) (*ring, []error) {
	var bound []*boundKey
	var errs []error
	for i, k := range keys {
		fault := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("authkit: %s[%d]: "+format, append([]any{at, i}, args...)...))
		}
		b, err := bindKey(k)
		if err != nil {
			fault("%w", err)
			continue
		}
		if sign && i == 0 && !b.canSign() {
			fault("the first key signs, and this one cannot; set Private")
		}
		if slices.ContainsFunc(bound, func(other *boundKey) bool { return other.id == b.id }) {
			fault("the ID %q is that of an earlier key; give each its own", k.ID)
			continue
		}
		b.index = len(bound)
		bound = append(bound, b)
	}
	return newRing(bound), errs
}

// newRing works out which key a header stands for. A token without a kid belongs to
// the key without an ID, or else to the current key alone: trying the others would
// make a kid optional for an attacker.
func newRing(keys []*boundKey) *ring {
	r := &ring{keys: keys}
	r.scratch.New = func() any { return &scratch{macs: make([]hash.Hash, len(keys))} }
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
		m := make(map[string]*boundKey)
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

// symmetric returns an HS key of the ring, or nil.
func (r *ring) symmetric() *boundKey {
	if i := slices.IndexFunc(r.keys, func(k *boundKey) bool { return k.newMAC != nil }); i >= 0 {
		return r.keys[i]
	}
	return nil
}

// signing returns the key that signs.
func (r *ring) signing() (*boundKey, error) {
	if len(r.keys) == 0 || !r.keys[0].canSign() {
		return nil, errors.New("authkit: the ring has no key that signs")
	}
	return r.keys[0], nil
}

// openStatement checks the signature of a statement and returns its decoded payload.
func (r *ring) openStatement(typ, jws string) ([]byte, error) {
	header, _, ok := strings.Cut(jws, ".")
	last := strings.LastIndexByte(jws, '.')
	if !ok || last == len(header) {
		return nil, errTokenMalformed
	}
	i := slices.IndexFunc(r.keys, func(k *boundKey) bool { return k.header(typ) == header })
	if i < 0 {
		return nil, errUnknownKey
	}
	s := r.scratch.Get().(*scratch)
	defer r.scratch.Put(s)
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

// A profile is a form of access token.
type profile int

const (
	plainProfile       profile = iota // RFC 7519
	accessTokenProfile                // RFC 9068
	profiles           = 2            // how many there are
)

// types are the typ values of a profile's headers, the first of which is written. They are
// compared without regard to case (RFC 7515 section 4.1.9).
func (p profile) types() []string {
	if p == accessTokenProfile {
		return []string{"at+jwt", "application/at+jwt"}
	}
	return []string{"JWT"}
}

// headers returns header segments for an algorithm and a kid: first the one that
// the library writes, then the other usual spellings, so that they are recognised
// without being parsed.
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

// header returns the segment that the key writes for a typ.
func (b *boundKey) header(typ string) string {
	kid := ""
	if b.id != "" {
		kid = `"kid":` + quote(b.id) + ","
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + string(b.alg) + `",` + kid + `"typ":` + quote(typ) + `}`))
}

func quote(s string) string {
	quoted, _ := json.Marshal(s) // a string always encodes
	return string(quoted)
}

// clonePublic copies a public key that was checked.
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
