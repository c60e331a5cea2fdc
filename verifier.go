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
// store and no issuer: a service that only accepts tokens embeds one. It is safe
// for concurrent use.
type TokenVerifier struct {
	ring             *ring
	issuer, audience string
	leeway           int64 // seconds
	scratch          sync.Pool
	cache            *cache.Cache[Claims] // nil: off
}

// NewTokenVerifier returns a verifier for the tokens of an issuer with the same
// configuration, or an error that joins all faults of cfg. Its keys need not be
// able to sign.
func NewTokenVerifier(cfg TokenConfig) (*TokenVerifier, error) {
	ring, err := cfg.bind(false)
	if err != nil {
		return nil, err
	}
	v := &TokenVerifier{
		ring:     ring,
		issuer:   cfg.Issuer,
		audience: cfg.Audience,
		leeway:   int64(cfg.leeway() / time.Second),
		scratch:  sync.Pool{New: func() any { return new([maxTokenLen]byte) }},
	}
	if cfg.CacheSize > 0 {
		v.cache = cache.New[Claims](cfg.CacheSize)
	}
	return v, nil
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
// to sign if that is what it is for.
func (c TokenConfig) bind(sign bool) (*ring, error) {
	var errs []error
	fault := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("authkit: TokenConfig.%s: "+format, append([]any{field}, args...)...))
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
		if c.CacheSize > 0 && b.hmac != nil {
			fault("CacheSize", "a cache makes %s slower; leave it 0", k.Algorithm)
		}
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
	if c.Leeway > maxLeeway {
		fault("Leeway", "%v; use up to %v, 0 for %v, or a negative value for none", c.Leeway, maxLeeway, defaultLeeway)
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
	if len(token) > maxTokenLen {
		return Claims{}, errTokenMalformed
	}
	if v.cache != nil {
		if c, ok := v.cache.Get(token); ok {
			c.Roles, c.Audience = slices.Clone(c.Roles), slices.Clone(c.Audience)
			return v.inTime(c)
		}
	}
	payload, err := v.open(token)
	if err != nil {
		return Claims{}, err
	}
	set, err := claims.Parse(payload)
	if err != nil {
		return Claims{}, errTokenClaims
	}
	if set.Subject == "" || len(set.Subject) > maxSubjectLen || len(set.ID) > maxIDLen || set.ExpiresAt == 0 ||
		v.issuer != "" && set.Issuer != v.issuer ||
		v.audience == "" && set.Audience != nil ||
		v.audience != "" && !slices.Contains(set.Audience, v.audience) {
		return Claims{}, errTokenClaims
	}
	c, err := v.inTime(Claims{
		Subject: set.Subject, UserID: set.UserID, Roles: set.Roles, ID: set.ID,
		Issuer: set.Issuer, Audience: set.Audience,
		IssuedAt: fromUnix(set.IssuedAt), ExpiresAt: fromUnix(set.ExpiresAt), NotBefore: fromUnix(set.NotBefore),
		payload: payload,
	})
	if err == nil && v.cache != nil {
		remembered := c
		remembered.Roles, remembered.Audience = slices.Clone(c.Roles), slices.Clone(c.Audience)
		v.cache.Put(token, remembered)
	}
	return c, err
}

// inTime returns c if its dates hold now.
func (v *TokenVerifier) inTime(c Claims) (Claims, error) {
	now := time.Now().Unix()
	switch {
	case now >= c.ExpiresAt.Unix()+v.leeway:
		return Claims{}, ErrTokenExpired
	case !c.NotBefore.IsZero() && now < c.NotBefore.Unix()-v.leeway,
		!c.IssuedAt.IsZero() && now < c.IssuedAt.Unix()-v.leeway:
		return Claims{}, errTokenNotYet
	}
	return c, nil
}

// open checks the signature of a token and returns its decoded payload.
func (v *TokenVerifier) open(token string) (payload string, err error) {
	first, last := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	if first <= 0 || last == first {
		return "", errTokenMalformed
	}
	scratch := v.scratch.Get().(*[maxTokenLen]byte)
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
	n, err := strict64.Decode(scratch[:], append(scratch[len(scratch)/2:][:0], segment...))
	if err != nil || strict64.EncodedLen(n) != len(segment) { // line ends were skipped
		return "", errTokenMalformed
	}
	return string(scratch[:n]), nil
}

// strict64 is the base64 of JWS (RFC 7515 section 2). Strict refuses a last letter
// with idle bits: otherwise a signature of 32 bytes has four spellings.
var strict64 = base64.RawURLEncoding.Strict()

// verify reports whether sig is the key's signature of input.
func (b *boundKey) verify(scratch *[maxTokenLen]byte, input, sig string) bool {
	if len(sig) != b.sigLen {
		return false
	}
	if b.hmac != nil {
		// The right signature is encoded and compared, so the given one is never
		// decoded and has just one spelling.
		s := b.hmac.Get().(*hmacState)
		want := s.sum64(append(scratch[:0], input...))
		ok := hmac.Equal(want, append(scratch[:0], sig...))
		b.hmac.Put(s)
		return ok
	}
	n, err := strict64.Decode(scratch[:], append(scratch[len(scratch)/2:][:0], sig...))
	if err != nil || strict64.EncodedLen(n) != len(sig) {
		return false
	}
	return b.method.Verify(input, scratch[:n], b.public) == nil
}

// verifyForeign verifies a token whose header is spelled as the library would not.
// The header too is only parsed after one of the keys was found to have signed it:
// the length of a signature tells which keys are worth trying.
func (r *ring) verifyForeign(scratch *[maxTokenLen]byte, token, header, sig string) error {
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
