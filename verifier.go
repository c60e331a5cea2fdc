package authkit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/internal/cache"
	"github.com/authkit-go/authkit/internal/claims"
	"github.com/authkit-go/authkit/internal/jws"
)

// A TokenVerifier verifies access tokens with a set of keys. It needs no store
// and no issuer, so it suits services that only accept tokens. Without a store
// it cannot detect that an account was disabled, or lost a role: such a change
// takes effect when the token expires. It is safe for concurrent use.
type TokenVerifier struct {
	keys             *KeyRing
	profile          jws.Profile
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
	by *jws.Set
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

func (c TokenConfig) profile() jws.Profile {
	if c.AccessTokenProfile {
		return jws.AccessToken
	}
	return jws.Plain
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
		keys.state.Store(&ringSnapshot{set: set})
	}
	keys.mu.Lock() // so that the keys do not change between the check and the marks at the end
	defer keys.mu.Unlock()
	if c.Ring != nil && sign {
		if !keys.load().set.CanSign() {
			fault("Ring", "no first key that signs; call Replace before")
		}
	}
	if hs := keys.load().set.Symmetric(); c.CacheSize > 0 && hs != nil {
		fault("CacheSize", "a cache makes %s slower; leave it 0", hs.Algorithm)
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

// tokenError returns the ErrInvalidToken for an error of package jws.
func tokenError(err error) error {
	switch err {
	case jws.ErrSignature:
		return errTokenSignature
	case jws.ErrUnknownKey:
		return errUnknownKey
	}
	return errTokenMalformed
}

// public returns the claims in their exported form.
func (t *verified) public() Claims {
	return Claims{
		Scope: t.scope(), Subject: t.Subject, UserID: t.UserID, Roles: t.Roles, ID: t.ID, Issuer: t.Issuer, Audience: t.Audience,
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
	payload, err := keys.Open(v.profile, token)
	if err == jws.ErrUnknownKey {
		if next := v.keys.refreshUnknown(keys); next != keys {
			keys = next
			payload, err = keys.Open(v.profile, token)
		}
	}
	if err != nil {
		return verified{}, tokenError(err)
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
	// RFC 9068 section 2.2; bind saw to the issuer and the audience.
	return v.profile != jws.AccessToken || t.IssuedAt != 0 && t.ID != "" && t.ClientID != ""
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
