package authkit

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/internal/cache"
	"github.com/authkit-go/authkit/internal/claims"
)

// A TokenVerifier verifies access tokens with a set of keys. It needs no store
// and no issuer, so it suits services that only accept tokens. Without a store
// it cannot detect that an account was disabled, or lost a role: such a change
// takes effect when the token expires. It is safe for concurrent use.
type TokenVerifier struct {
	keys             *KeyRing
	profile          profile
	issuer, audience string
	tenant           string
	leeway           int64 // seconds
	maxLife          int64 // seconds
	maxBytes         int
	cache            *cache.Cache[remembered] // nil if the cache is off
	withoutRoles     bool                     // for a Kit, which reads them from its store
}

// A verified is a token that was verified.
type verified struct {
	claims.Set
	payload string
}

// A remembered is a verified token and the keys that verified it. Other keys
// must verify it again.
type remembered struct {
	verified
	by *keySet
}

// NewTokenVerifier returns a verifier for the tokens of an issuer with the same
// configuration, or an error that joins all problems of cfg. Its keys need not
// be able to sign.
func NewTokenVerifier(cfg TokenConfig) (*TokenVerifier, error) {
	keys, err := cfg.bind("TokenConfig", false)
	if err != nil {
		return nil, err
	}
	return newVerifier(cfg, keys), nil
}

func newVerifier(cfg TokenConfig, keys *KeyRing) *TokenVerifier {
	v := &TokenVerifier{
		keys:     keys,
		profile:  cfg.profile(),
		issuer:   cfg.Issuer,
		audience: cfg.Audience,
		tenant:   cfg.Tenant,
		leeway:   int64(cfg.leeway() / time.Second),
		maxLife:  int64(cfg.maxLife() / time.Second),
		maxBytes: cfg.maxBytes(),
	}
	if cfg.CacheSize > 0 {
		v.cache = cache.New[remembered](cfg.CacheSize)
	}
	return v
}

func (c TokenConfig) profile() profile {
	if c.AccessTokenProfile {
		return accessTokenProfile
	}
	return plainProfile
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

func (c TokenConfig) maxLife() time.Duration { return cmp.Or(c.MaxLifetime, maxLifetime) }

func (c TokenConfig) maxBytes() int { return cmp.Or(c.MaxBytes, maxTokenLen) }

// bind checks the whole configuration and binds its keys. If sign is set, the
// first key must be able to sign. The errors prefix the names of fields.
func (c TokenConfig) bind(prefix string, sign bool) (*KeyRing, error) {
	var errs []error
	fault := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("authkit: %s.%s: "+format, append([]any{prefix, field}, args...)...))
	}
	keys := c.Ring
	switch n := len(c.Keys); {
	case keys != nil && n > 0:
		fault("Ring", "set along with Keys; set one of the two")
	case keys == nil:
		if n == 0 || n > maxKeys {
			fault("Keys", "%d keys; set 1 to %d, the signing one first", n, maxKeys)
		}
		set, faults := bindKeys(prefix+".Keys", c.Keys, sign)
		errs = append(errs, faults...)
		keys = new(KeyRing)
		keys.state.Store(&ringSnapshot{keySet: set})
	}
	keys.mu.Lock() // so that the keys do not change between the check and the marks at the end
	defer keys.mu.Unlock()
	if c.Ring != nil && sign {
		if _, err := keys.load().signing(); err != nil {
			fault("Ring", "no first key that signs; call Replace before")
		}
	}
	if hs := keys.load().symmetric(); c.CacheSize > 0 && hs != nil {
		fault("CacheSize", "a cache makes %s slower; leave it 0", hs.alg)
	}
	if !utf8.ValidString(c.Issuer) {
		fault("Issuer", "not UTF-8")
	}
	if !utf8.ValidString(c.Audience) {
		fault("Audience", "not UTF-8")
	}
	if !validClientID(c.ClientID) {
		fault("ClientID", "not UTF-8 of at most %d bytes", maxSubjectLen)
	}
	if c.Tenant != "" && (len(c.Tenant) > maxTenantLen || !validSubject(c.Tenant)) {
		fault("Tenant", "not UTF-8 of at most %d bytes without control characters", maxTenantLen)
	}
	if c.AccessTokenProfile {
		if c.Issuer == "" {
			fault("Issuer", "empty; the access token profile requires one")
		}
		if c.Audience == "" {
			fault("Audience", "empty; the access token profile requires one")
		}
		if c.ClientID == "" && sign {
			fault("ClientID", "empty; the access token profile requires one to issue tokens")
		}
	}
	if l := c.Lifetime; l < 0 || l > maxLifetime || l%time.Second != 0 {
		fault("Lifetime", "%v; use whole seconds up to %v, or 0 for %v", l, maxLifetime, defaultLifetime)
	}
	least := max(c.Lifetime, time.Second)
	if sign {
		least = cmp.Or(c.Lifetime, defaultLifetime)
	}
	if l := c.MaxLifetime; l != 0 && l < least || l%time.Second != 0 {
		fault("MaxLifetime", "%v; use whole seconds, not less than Lifetime, or 0 for %v", l, maxLifetime)
	}
	if n := c.maxBytes(); n < minTokenBytes || n > maxTokenBytes {
		fault("MaxBytes", "%d; use %d to %d, or 0 for %d", n, minTokenBytes, maxTokenBytes, maxTokenLen)
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
	keys.signs = keys.signs || sign
	keys.caches = keys.caches || c.CacheSize > 0
	return keys, nil
}

// Verify returns the claims of a token that one of the keys signed and that is
// valid now. Every error is ErrInvalidToken, or ErrTokenExpired, which wraps
// it. The claims are then zero.
//
// The order is fixed: size, signature, decoding. Unsigned bytes are therefore
// never parsed.
func (v *TokenVerifier) Verify(token string) (Claims, error) {
	t, err := v.verify(token)
	if err != nil {
		return Claims{}, err
	}
	return t.public(), nil
}

// public returns the claims in their exported form.
func (t *verified) public() Claims {
	return Claims{
		Subject: t.Subject, UserID: t.UserID, Roles: t.Roles, ID: t.ID, Issuer: t.Issuer, Audience: t.Audience,
		IssuedAt: fromUnix(t.IssuedAt), ExpiresAt: fromUnix(t.ExpiresAt), NotBefore: fromUnix(t.NotBefore),
		SessionID: t.SessionID, ClientID: t.ClientID, Tenant: t.Tenant,
		AuthTime: fromUnix(t.AuthTime), Methods: claims.MethodsOf(t.Methods),
		payload: t.payload,
	}
}

func (v *TokenVerifier) verify(token string) (verified, error) {
	if len(token) > v.maxBytes {
		return verified{}, errTokenTooLarge
	}
	keys := v.keys.current()
	if v.cache != nil {
		if r, ok := v.cache.Get(token); ok && r.by == keys {
			t := r.verified
			if err := v.inTime(&t.Set); err != nil {
				return verified{}, err
			}
			t.Roles, t.Audience = slices.Clone(t.Roles), slices.Clone(t.Audience)
			return t, nil
		}
	}
	payload, err := keys.open(token, v.profile)
	if err == errUnknownKey {
		if next := v.keys.refreshUnknown(keys); next != keys {
			keys = next
			payload, err = keys.open(token, v.profile)
		}
	}
	if err != nil {
		return verified{}, err
	}
	set, err := claims.Parse(payload, !v.withoutRoles)
	if err != nil || !v.fits(&set) {
		return verified{}, errTokenClaims
	}
	if err := v.inTime(&set); err != nil {
		return verified{}, err
	}
	t := verified{set, payload}
	if v.cache != nil {
		r := remembered{t, keys}
		r.Roles, r.Audience = slices.Clone(t.Roles), slices.Clone(t.Audience)
		v.cache.Put(token, r)
	}
	return t, nil
}

// fits reports whether the claims of a token, apart from its dates, meet the
// requirements.
func (v *TokenVerifier) fits(t *claims.Set) bool {
	if !validSubject(t.Subject) || t.UserID != "" && !validSubject(t.UserID) ||
		t.SessionID != "" && !validSessionID(t.SessionID) || len(t.ID) > maxIDLen || len(t.ClientID) > maxSubjectLen || t.ExpiresAt == 0 {
		return false
	}
	if t.Tenant != v.tenant || t.IssuedAt != 0 && t.ExpiresAt-t.IssuedAt > v.maxLife {
		return false
	}
	if v.issuer != "" && t.Issuer != v.issuer ||
		v.audience == "" && t.Audience != nil ||
		v.audience != "" && !slices.Contains(t.Audience, v.audience) {
		return false
	}
	// RFC 9068 section 2.2. bind has checked the issuer and the audience.
	return v.profile != accessTokenProfile || t.IssuedAt != 0 && t.ID != "" && t.ClientID != ""
}

// inTime returns why a token is not valid now, or nil.
func (v *TokenVerifier) inTime(t *claims.Set) error {
	switch now := time.Now().Unix(); {
	case now >= t.ExpiresAt+v.leeway:
		return ErrTokenExpired
	case now < t.NotBefore-v.leeway, now < t.IssuedAt-v.leeway: // absent dates are zero, and so in the past
		return errTokenNotYet
	}
	return nil
}

// open checks the signature of a token and returns its decoded payload.
func (r *keySet) open(token string, p profile) (payload string, err error) {
	first, last := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	if first <= 0 || last == first {
		return "", errTokenMalformed
	}
	b := r.buffers.Get().(*buffers)
	defer r.buffers.Put(b)

	header, sig := token[:first], token[last+1:]
	if key := r.byHeader[p][header]; key != nil {
		if !key.verify(b, token[:last], sig) {
			return "", errTokenSignature
		}
	} else if err := r.verifyForeign(b, p, token, header, sig); err != nil {
		return "", err
	}

	segment := token[first+1 : last]
	decoded, ok := b.decode(segment)
	if !ok {
		return "", errTokenMalformed
	}
	return string(decoded), nil
}

// decode decodes a segment. The result is valid until the buffers are used again.
func (s *buffers) decode(segment string) ([]byte, bool) {
	if len(segment) > len(s.buf) { // of a long token
		decoded, err := strict64.DecodeString(segment)
		return decoded, err == nil && strict64.EncodedLen(len(decoded)) == len(segment)
	}
	// The text goes into the second half and its bytes into the first. A text
	// that is too long for that is copied.
	n, err := strict64.Decode(s.buf[:], append(s.buf[len(s.buf)/2:][:0], segment...))
	return s.buf[:n], err == nil && strict64.EncodedLen(n) == len(segment) // not if line ends were skipped
}

// strict64 is the base64 of JWS (RFC 7515 section 2). Strict refuses unused
// bits in the last letter. Otherwise a signature of 32 bytes would have four
// encodings.
var strict64 = base64.RawURLEncoding.Strict()

// verify reports whether sig is the key's signature of input.
func (b *signingKey) verify(s *buffers, input, sig string) bool {
	if len(sig) != b.sigLen {
		return false
	}
	if b.newMAC != nil {
		// The expected signature is encoded and compared as text. The signature
		// in the token is never decoded, so it has exactly one encoding.
		want := s.mac(b, append(s.buf[:0], input...))
		return hmac.Equal(want, append(s.buf[:0], sig...))
	}
	decoded, ok := s.decode(sig)
	return ok && b.method.Verify(input, decoded, b.public) == nil
}

// verifyForeign verifies a token whose header differs from those of the
// library. It parses the header only after one of the keys has verified the
// signature. The length of the signature selects the keys to try. In a large
// set, these are only the keys whose ID occurs in the text of the header, and
// the key for tokens without one.
func (r *keySet) verifyForeign(b *buffers, p profile, token, header, sig string) error {
	input := token[:len(token)-len(sig)-1]
	for i := range len(input) {
		if c := input[i]; !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return errTokenMalformed
		}
	}
	var text []byte
	if len(r.keys) > maxTries {
		text, _ = strict64.DecodeString(header)
	}
	err, tries := errUnknownKey, 0
	for _, k := range r.keys {
		if len(r.keys) > maxTries && k != r.unnamed && !bytes.Contains(text, []byte(quote(k.id))) {
			continue
		}
		if tries++; tries > maxTries {
			break
		}
		if k.verify(b, input, sig) {
			if r.headerFits(k, p, header) {
				return nil
			}
			err = errTokenMalformed
		}
	}
	return err
}

// headerFits reports whether key k may have signed a header: it has the
// algorithm and the kid of the key, a typ of the profile, and no extension (RFC
// 7515 section 4.1.11). Keys and addresses of keys in a header are ignored.
func (r *keySet) headerFits(k *signingKey, p profile, segment string) bool {
	header, err := strict64.DecodeString(segment)
	if err != nil {
		return false
	}
	members, err := claims.Members(string(header))
	if err != nil {
		return false
	}
	var alg, typ, kid string
	named, typed := false, p == plainProfile // an absent typ is allowed in the plain profile
	for _, m := range members {
		switch m.Name {
		case "alg":
			err = json.Unmarshal(m.Value, &alg)
		case "typ":
			err = json.Unmarshal(m.Value, &typ)
			typed = true
			if !slices.ContainsFunc(p.types(), func(t string) bool { return strings.EqualFold(t, typ) }) {
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
	if Algorithm(alg) == ed25519Name {
		alg = string(EdDSA)
	}
	if Algorithm(alg) != k.alg || !typed {
		return false
	}
	if named {
		return kid == k.id && kid != ""
	}
	return k == r.unnamed
}
