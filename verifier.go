package authkit

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/internal/cache"
	"github.com/authkit-go/authkit/internal/claims"
)

// A TokenVerifier verifies access tokens against a fixed set of keys. It needs no
// store and no issuer: a service that only accepts tokens embeds one. Without a store it
// cannot know that an account was disabled, or lost a role, since a token was issued: that
// takes effect when the token expires. It is safe for concurrent use.
type TokenVerifier struct {
	ring             *ring
	issuer, audience string
	leeway           int64 // seconds
	scratch          *sync.Pool
	cache            *cache.Cache[verified] // nil: off
	withoutRoles     bool                   // for a Kit, which has them from its store
}

// verified is what there is to say about a token that was good.
type verified struct {
	claims.Set
	payload string
}

// NewTokenVerifier returns a verifier for the tokens of an issuer with the same
// configuration, or an error that joins all faults of cfg. Its keys need not be
// able to sign.
func NewTokenVerifier(cfg TokenConfig) (*TokenVerifier, error) {
	ring, err := cfg.bind("TokenConfig", false)
	if err != nil {
		return nil, err
	}
	return newVerifier(cfg, ring), nil
}

func newVerifier(cfg TokenConfig, ring *ring) *TokenVerifier {
	v := &TokenVerifier{
		ring:     ring,
		issuer:   cfg.Issuer,
		audience: cfg.Audience,
		leeway:   int64(cfg.leeway() / time.Second),
		scratch:  newScratch(len(ring.keys)),
	}
	if cfg.CacheSize > 0 {
		v.cache = cache.New[verified](cfg.CacheSize)
	}
	return v
}

func (c TokenConfig) leeway() time.Duration {
	switch {
	case c.Leeway == 0:
		return defaultLeeway
	case c.Leeway < 0:
		return 0
	}
	return c.Leeway
}

// bind checks the configuration, all of it, and binds its keys. The first must be able
// to sign if that is what it is for. The faults name fields behind the prefix.
func (c TokenConfig) bind(prefix string, sign bool) (*ring, error) {
	var errs []error
	fault := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("authkit: %s.%s: "+format, append([]any{prefix, field}, args...)...))
	}
	if len(c.Keys) == 0 || len(c.Keys) > maxKeys {
		fault("Keys", "%d keys; set 1 to %d, the signing one first", len(c.Keys), maxKeys)
	}
	r := &ring{byHeader: make(map[string]*boundKey)}
	for i, k := range c.Keys {
		b, err := bindKey(k)
		if err != nil {
			fault(fmt.Sprintf("Keys[%d]", i), "%w", err)
			continue
		}
		if sign && i == 0 && !b.canSign() {
			fault("Keys[0]", "the first key signs, and this one cannot; set Private")
		}
		if slices.ContainsFunc(r.keys, func(other *boundKey) bool { return other.id == b.id }) {
			fault(fmt.Sprintf("Keys[%d]", i), "the ID %q is that of an earlier key; give each its own", k.ID)
			continue
		}
		if c.CacheSize > 0 && b.newMAC != nil {
			fault("CacheSize", "a cache makes %s slower; leave it 0", k.Algorithm)
		}
		b.index = len(r.keys)
		r.keys = append(r.keys, b)
	}
	if !utf8.ValidString(c.Issuer) {
		fault("Issuer", "not UTF-8")
	}
	if !utf8.ValidString(c.Audience) {
		fault("Audience", "not UTF-8")
	}
	if l := c.Lifetime; l < 0 || l > maxLifetime || l%time.Second != 0 {
		fault("Lifetime", "%v; use whole seconds up to %v, or 0 for %v", l, maxLifetime, defaultLifetime)
	}
	if c.Leeway > maxLeeway || c.Leeway > 0 && c.Leeway%time.Second != 0 {
		fault("Leeway", "%v; use whole seconds up to %v, 0 for %v, or a negative value for none", c.Leeway, maxLeeway, defaultLeeway)
	}
	if c.CacheSize < 0 {
		fault("CacheSize", "%d; use 0 for none", c.CacheSize)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	r.index()
	return r, nil
}

// A ring is the set of keys that a verifier accepts.
type ring struct {
	keys     []*boundKey
	unnamed  *boundKey            // verifies tokens without a kid
	byHeader map[string]*boundKey // by header segment, for the usual spellings
}

// index works out which key a header stands for. A token without a kid belongs to
// the key without an ID, or else to the current key alone: trying the others would
// make a kid optional for an attacker.
func (r *ring) index() {
	r.unnamed = r.keys[0]
	for _, k := range r.keys {
		if k.id == "" {
			r.unnamed = k
		}
	}
	for _, k := range r.keys {
		for _, h := range headers(k.alg, k.id) {
			r.byHeader[h] = k
		}
	}
	for _, h := range headers(r.unnamed.alg, "") {
		r.byHeader[h] = r.unnamed
	}
}

// headers returns header segments for an algorithm and a kid: first the one that
// the library writes, then the other usual spellings, so that they are recognised
// without being parsed.
func headers(alg Algorithm, id string) []string {
	a, t := `"alg":"`+string(alg)+`"`, `"typ":"JWT"`
	orders := [][]string{{a, t}, {t, a}, {a}}
	if id != "" {
		quoted, _ := json.Marshal(id) // a string always encodes
		k := `"kid":` + string(quoted)
		orders = [][]string{{a, k, t}, {a, t, k}, {k, a, t}, {k, t, a}, {t, a, k}, {t, k, a}, {a, k}, {k, a}}
	}
	segments := make([]string, len(orders))
	for i, members := range orders {
		segments[i] = base64.RawURLEncoding.EncodeToString([]byte("{" + strings.Join(members, ",") + "}"))
	}
	return segments
}

// Verify returns the claims of a token that one of the keys signed and that is
// valid now. Every error is ErrInvalidToken, or ErrTokenExpired, which is one; the
// claims are then zero.
//
// The order is fixed: size, signature, and only then is anything decoded, so bytes
// that nobody signed are never parsed.
func (v *TokenVerifier) Verify(token string) (Claims, error) {
	t, err := v.verify(token)
	if err != nil {
		return Claims{}, err
	}
	return Claims{
		Subject: t.Subject, UserID: t.UserID, Roles: t.Roles, ID: t.ID, Issuer: t.Issuer, Audience: t.Audience,
		IssuedAt: fromUnix(t.IssuedAt), ExpiresAt: fromUnix(t.ExpiresAt), NotBefore: fromUnix(t.NotBefore),
		payload: t.payload,
	}, nil
}

func (v *TokenVerifier) verify(token string) (verified, error) {
	if len(token) > maxTokenLen {
		return verified{}, errTokenMalformed
	}
	if v.cache != nil {
		if t, ok := v.cache.Get(token); ok {
			if err := v.inTime(&t.Set); err != nil {
				return verified{}, err
			}
			t.Roles, t.Audience = slices.Clone(t.Roles), slices.Clone(t.Audience)
			return t, nil
		}
	}
	payload, err := v.open(token)
	if err != nil {
		return verified{}, err
	}
	set, err := claims.Parse(payload, !v.withoutRoles)
	if err != nil {
		return verified{}, errTokenClaims
	}
	if !validSubject(set.Subject) || set.UserID != "" && !validSubject(set.UserID) || len(set.ID) > maxIDLen || set.ExpiresAt == 0 ||
		v.issuer != "" && set.Issuer != v.issuer ||
		v.audience == "" && set.Audience != nil ||
		v.audience != "" && !slices.Contains(set.Audience, v.audience) {
		return verified{}, errTokenClaims
	}
	if err := v.inTime(&set); err != nil {
		return verified{}, err
	}
	t := verified{set, payload}
	if v.cache != nil {
		remembered := t
		remembered.Roles, remembered.Audience = slices.Clone(t.Roles), slices.Clone(t.Audience)
		v.cache.Put(token, remembered)
	}
	return t, nil
}

// inTime returns why the dates of a token do not hold now, or nil.
func (v *TokenVerifier) inTime(t *claims.Set) error {
	switch now := time.Now().Unix(); {
	case now >= t.ExpiresAt+v.leeway:
		return ErrTokenExpired
	case now < t.NotBefore-v.leeway, now < t.IssuedAt-v.leeway: // zero if absent, and then in the past
		return errTokenNotYet
	}
	return nil
}

// open checks the signature of a token and returns its decoded payload.
func (v *TokenVerifier) open(token string) (payload string, err error) {
	first, last := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	if first <= 0 || last == first {
		return "", errTokenMalformed
	}
	scratch := v.scratch.Get().(*scratch)
	defer v.scratch.Put(scratch)

	header, sig := token[:first], token[last+1:]
	if key := v.ring.byHeader[header]; key != nil {
		if !key.verify(scratch, token[:last], sig) {
			return "", errTokenSignature
		}
	} else if err := v.ring.verifyForeign(scratch, token, header, sig); err != nil {
		return "", err
	}

	segment := token[first+1 : last]
	decoded, ok := scratch.decode(segment)
	if !ok {
		return "", errTokenMalformed
	}
	return string(decoded), nil
}

// decode decodes a segment. The result is valid until the scratch is used again.
func (s *scratch) decode(segment string) ([]byte, bool) {
	// The text goes into the second half and its bytes into the first; a text that does
	// not fit there gets memory of its own.
	n, err := strict64.Decode(s.buf[:], append(s.buf[len(s.buf)/2:][:0], segment...))
	return s.buf[:n], err == nil && strict64.EncodedLen(n) == len(segment) // not if line ends were skipped
}

// strict64 is the base64 of JWS (RFC 7515 section 2). Strict refuses a last letter
// with idle bits: otherwise a signature of 32 bytes has four spellings.
var strict64 = base64.RawURLEncoding.Strict()

// verify reports whether sig is the key's signature of input.
func (b *boundKey) verify(s *scratch, input, sig string) bool {
	if len(sig) != b.sigLen {
		return false
	}
	if b.newMAC != nil {
		// The right signature is encoded and compared, so the given one is never
		// decoded and has just one spelling.
		want := s.mac(b, append(s.buf[:0], input...))
		return hmac.Equal(want, append(s.buf[:0], sig...))
	}
	decoded, ok := s.decode(sig)
	return ok && b.method.Verify(input, decoded, b.public) == nil
}

// verifyForeign verifies a token whose header is spelled as the library would not.
// The header too is only parsed after one of the keys was found to have signed it:
// the length of a signature tells which keys are worth trying.
func (r *ring) verifyForeign(scratch *scratch, token, header, sig string) error {
	input := token[:len(token)-len(sig)-1]
	for i := range len(input) {
		if c := input[i]; !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return errTokenMalformed
		}
	}
	err := errTokenSignature
	for _, k := range r.keys {
		if k.verify(scratch, input, sig) {
			if r.headerFits(k, header) {
				return nil
			}
			err = errTokenMalformed
		}
	}
	return err
}

// headerFits reports whether a signed header is one that key k may have signed:
// its own algorithm, its own kid, and no extension (RFC 7515 section 4.1.11). Keys
// and addresses of keys in a header are not looked at.
func (r *ring) headerFits(k *boundKey, segment string) bool {
	header, err := strict64.DecodeString(segment)
	if err != nil {
		return false
	}
	members, err := claims.Members(string(header))
	if err != nil {
		return false
	}
	var alg, typ, kid string
	named := false
	for _, m := range members {
		switch m.Name {
		case "alg":
			err = json.Unmarshal(m.Value, &alg)
		case "typ":
			err = json.Unmarshal(m.Value, &typ)
			if !strings.EqualFold(typ, "JWT") {
				return false
			}
		case "kid":
			named = true
			err = json.Unmarshal(m.Value, &kid)
		case "crit", "b64":
			return false
		}
		if err != nil {
			return false
		}
	}
	if Algorithm(alg) != k.alg {
		return false
	}
	if named {
		return kid == k.id && kid != ""
	}
	return k == r.unnamed
}
