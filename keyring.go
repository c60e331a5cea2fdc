package authkit

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authkit-go/authkit/internal/jws"
)

// A KeyRing is a set of keys that can change while it is in use. The first key signs, and
// all of them verify. The zero value has no keys: it signs nothing and accepts nothing. A
// KeyRing is safe for concurrent use.
//
// Set it as [TokenConfig].Ring. Programs whose keys do not change while they run use
// [TokenConfig].Keys instead.
//
// The keys of a ring are those of its last Replace, or come from a [KeySource].
type KeyRing struct {
	state   atomic.Pointer[ringSnapshot] // nil: no keys
	fetcher *keyFetcher                  // nil: the keys are those of Replace

	mu     sync.Mutex // held while the keys are replaced; signing and verifying do not take it
	signs  bool       // an issuer uses the ring
	caches bool       // a verifier with a cache uses the ring
}

// A ringSnapshot is the state of a KeyRing at one moment. It does not change.
type ringSnapshot struct {
	set     *jws.Set
	refresh time.Time // when a token starts a fetch; zero: never
	expire  time.Time // from when no key verifies; zero: never
}

// The states without keys.
var (
	noKeys     = jws.NewSet(nil)
	emptyState = &ringSnapshot{set: noKeys} // of the zero KeyRing
)

// NewKeyRing returns a ring with the keys given, or the error of [KeyRing.Replace].
func NewKeyRing(keys ...Key) (*KeyRing, error) {
	r := new(KeyRing)
	if err := r.Replace(keys...); err != nil {
		return nil, err
	}
	return r, nil
}

// Replace replaces the keys of the ring. The first key signs. There are at most 100, with
// different IDs. Without any key, the ring signs nothing and accepts nothing from now on.
//
// Rotate keys in three calls, so that no valid token is refused:
//
//	ring.Replace(old, next) // publish
//	ring.Replace(next, old) // activate
//	ring.Replace(next)      // retire
//
// Before the second call, wait for as long as other services keep a key set that they
// fetched: five minutes with the handler of package jwks. Before the third, wait for the
// lifetime of a token and the leeway: 30 minutes and 30 seconds by default.
//
// If a key was stolen, call Replace(next) without waiting. Other services accept tokens of
// the stolen key until they fetch the set again.
//
// Replace returns an error that joins all problems of the keys, and then changes nothing.
// If an issuer uses the ring, the first key must be able to sign. If a verifier with a
// CacheSize uses it, no key may be an HS key. The keys of a [KeySource] cannot be replaced.
func (r *KeyRing) Replace(keys ...Key) error {
	if r.fetcher != nil {
		return errors.New("authkit: KeyRing: the keys come from a KeySource; change them there")
	}
	return r.replace(keys, time.Time{}, time.Time{})
}

// replace checks keys and puts them in place, with their times.
func (r *KeyRing) replace(keys []Key, refresh, expire time.Time) error {
	var errs []error
	if len(keys) > maxKeys {
		errs = append(errs, fmt.Errorf("authkit: KeyRing: %d keys; use at most %d", len(keys), maxKeys))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next, problems := bindKeys("KeyRing", keys, r.signs)
	errs = append(errs, problems...)
	if hs := next.Symmetric(); r.caches && hs != nil {
		errs = append(errs, fmt.Errorf("authkit: KeyRing: a key for %s, and a verifier of this ring has a CacheSize, which makes it slower", hs.Algorithm))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if now := r.load().set; now.Equal(next) {
		next = now // verifiers remember tokens by it
	}
	r.state.Store(&ringSnapshot{next, refresh, expire})
	return nil
}

// PublicKeys returns copies of the keys with which others can verify, in order, with ID,
// Algorithm and Public set. It leaves out HS keys, because their verifiers can sign. It
// returns none if the keys have expired.
func (r *KeyRing) PublicKeys() []Key {
	var keys []Key
	for _, k := range r.load().accepted().Keys {
		if public := k.Public(); public != nil {
			keys = append(keys, Key{ID: k.ID, Algorithm: Algorithm(k.Algorithm), Public: public})
		}
	}
	return keys
}

// KeyRing returns the ring of the Kit's tokens, to publish or rotate its keys.
func (k *Kit) KeyRing() *KeyRing { return k.verifier.keys }

// Sign returns a payload as a compact JWS (RFC 7515 section 7.1), signed with the first key.
// Use it for signed statements that are not access tokens. The payload can have any form and
// length.
//
// The media type typ, without "application/", keeps kinds of statements apart
// (RFC 8725 section 3.11). It is 1 to 127 visible ASCII characters, and not
// "JWT" or "at+jwt" in any case. Do not use a JSON object with claims as the
// payload: verifiers of JWTs that ignore typ would accept it as a token.
func (r *KeyRing) Sign(typ string, payload []byte) (string, error) {
	if err := checkStatementType(typ); err != nil {
		return "", err
	}
	signed, err := r.load().set.SignAs(typ, payload)
	if err != nil {
		return "", signError(err)
	}
	return signed, nil
}

// Open returns the payload of a JWS that [KeyRing.Sign] made with a key of the ring and the
// same typ. It refuses a JWS of more than maxBytes bytes before it reads any of it. The
// header must be exactly the one that Sign writes. Nothing is decoded before the signature
// is checked.
//
// It returns ErrInvalidToken for every JWS that it refuses, and another error if typ is one
// that Sign refuses.
func (r *KeyRing) Open(typ, signed string, maxBytes int) ([]byte, error) {
	if err := checkStatementType(typ); err != nil {
		return nil, err
	}
	if len(signed) > maxBytes {
		return nil, errTokenMalformed
	}
	keys := r.current()
	payload, err := keys.OpenAs(typ, signed)
	if err == jws.ErrUnknownKey {
		if next := r.refreshUnknown(keys); next != keys {
			payload, err = next.OpenAs(typ, signed)
		}
	}
	if err != nil {
		return nil, tokenError(err)
	}
	return payload, nil
}

// checkStatementType returns an error if a media type cannot be that of a statement.
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

// load returns the current state, with expired keys too.
func (r *KeyRing) load() *ringSnapshot {
	if s := r.state.Load(); s != nil {
		return s
	}
	return emptyState
}

// expired reports whether the keys are too old to verify with.
func (s *ringSnapshot) expired() bool { return !s.expire.IsZero() && !time.Now().Before(s.expire) }

// accepted returns the keys that verify now.
func (s *ringSnapshot) accepted() *jws.Set {
	if s.expired() {
		return noKeys
	}
	return s.set
}

// unavailable reports whether the keys have expired or were never fetched.
func (r *KeyRing) unavailable() bool {
	s := r.state.Load()
	return s == nil && r.fetcher != nil || s != nil && s.expired()
}

// current returns the keys that verify now. It starts a fetch if one is due.
func (r *KeyRing) current() *jws.Set {
	s := r.load()
	if !s.refresh.IsZero() && !time.Now().Before(s.refresh) {
		// Of several callers, the one that clears the time starts the fetch.
		if r.state.CompareAndSwap(s, &ringSnapshot{set: s.set, expire: s.expire}) {
			r.fetcher.refresh(false)
		}
		s = r.load()
	}
	return s.accepted()
}

// refreshUnknown returns the keys that verify now, after the tried ones did not verify a
// token. It fetches them again if the ring has a source.
func (r *KeyRing) refreshUnknown(tried *jws.Set) *jws.Set {
	if r.fetcher == nil {
		return tried
	}
	r.fetcher.refresh(true)
	return r.load().accepted()
}
