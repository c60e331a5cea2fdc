package authkit_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// ringKey returns a key with an ID, another one for each ID.
func ringKey(alg authkit.Algorithm, id string) authkit.Key {
	if alg == authkit.EdDSA {
		return authkit.Key{ID: id, Algorithm: alg, Private: ed25519.NewKeyFromSeed(tokSecret(id)[:32])}
	}
	return authkit.Key{ID: id, Algorithm: alg, Secret: tokSecret(id)}
}

func ringOf(t testing.TB, keys ...authkit.Key) *authkit.KeyRing {
	t.Helper()
	r, err := authkit.NewKeyRing(keys...)
	require.NoError(t, err)
	return r
}

// ringTokens makes both sides of a ring.
func ringTokens(t testing.TB, r *authkit.KeyRing) (*authkit.TokenIssuer, *authkit.TokenVerifier) {
	t.Helper()
	return tokIssuerFor(t, authkit.TokenConfig{Ring: r}), tokVerifierFor(t, authkit.TokenConfig{Ring: r})
}

func TestKeyRingReplaceFaults(t *testing.T) {
	t.Parallel()
	a, b := ringKey(authkit.EdDSA, "a"), ringKey(authkit.EdDSA, "b")
	hs := ringKey(authkit.HS256, "h")
	verifying := authkit.Key{ID: "v", Algorithm: authkit.EdDSA, Public: b.Private.Public()}
	many := make([]authkit.Key, 101)
	for i := range many {
		many[i] = ringKey(authkit.HS256, fmt.Sprint(i))
	}
	for _, tc := range []struct {
		name string
		keys []authkit.Key
		want []string // nil: no fault
	}{
		{"none", nil, nil},
		{"one", []authkit.Key{b}, nil},
		{"100", many[:100], nil},
		{"101", many, []string{"authkit: KeyRing: 101 keys; use at most 100"}},
		{"an ID twice", []authkit.Key{a, b, a}, []string{`authkit: KeyRing[2]: the ID "a"`}},
		{"all faults at once", []authkit.Key{{}, b, b, {Algorithm: "none"}}, []string{"KeyRing[0]: no Algorithm", "KeyRing[2]: ", "KeyRing[3]: unknown"}},
		{"a first key that cannot sign", []authkit.Key{verifying, a}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ring := ringOf(t, a)
			token := tokIssue(t, tokIssuer(t, a), authkit.Claims{Subject: "u"})
			verifier := tokVerifierFor(t, authkit.TokenConfig{Ring: ring})
			err := ring.Replace(tc.keys...)
			_, err2 := authkit.NewKeyRing(tc.keys...)
			if tc.want == nil {
				require.NoError(t, err)
				require.NoError(t, err2)
				return
			}
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
				require.ErrorContains(t, err2, want)
			}
			tokAccepted(t, verifier, token) // the old keys are still there
		})
	}
	t.Run("of an issuer", func(t *testing.T) {
		t.Parallel()
		ring := ringOf(t, a)
		issuer, verifier := ringTokens(t, ring)
		require.ErrorContains(t, ring.Replace(verifying, a), "KeyRing[0]: the first key signs")
		token := tokIssue(t, issuer, authkit.Claims{Subject: "u"})
		tokAccepted(t, verifier, token)
		require.NoError(t, ring.Replace(a, verifying))
		require.NoError(t, ring.Replace())
		_, err := issuer.Issue(authkit.Claims{Subject: "u"})
		require.EqualError(t, err, "authkit: the ring has no key that signs")
		tokRefused(t, verifier, token)
	})
	t.Run("with a cache", func(t *testing.T) {
		t.Parallel()
		ring := ringOf(t, a)
		tokVerifierFor(t, authkit.TokenConfig{Ring: ring, CacheSize: 1})
		tokVerifierFor(t, authkit.TokenConfig{Ring: ring}) // another one, without a cache
		require.ErrorContains(t, ring.Replace(b, hs), "CacheSize")
		require.NoError(t, ring.Replace(b))
		_, err := authkit.NewTokenVerifier(authkit.TokenConfig{Ring: ringOf(t, a, hs), CacheSize: 1})
		require.ErrorContains(t, err, "TokenConfig.CacheSize: a cache makes HS256 slower")
	})
	t.Run("configurations", func(t *testing.T) {
		t.Parallel()
		_, err := authkit.NewTokenVerifier(authkit.TokenConfig{Ring: ringOf(t, a), Keys: []authkit.Key{a}})
		require.ErrorContains(t, err, "TokenConfig.Ring: set along with Keys")
		for _, ring := range []*authkit.KeyRing{{}, ringOf(t, verifying, a)} {
			_, err = authkit.NewTokenIssuer(authkit.TokenConfig{Ring: ring})
			require.ErrorContains(t, err, "TokenConfig.Ring: no first key that signs")
			tokVerifierFor(t, authkit.TokenConfig{Ring: ring})
			require.NoError(t, ring.Replace(verifying)) // nobody signs with it, after all
		}
	})
}

func TestKeyRingZero(t *testing.T) {
	t.Parallel()
	var ring authkit.KeyRing
	verifier := tokVerifierFor(t, authkit.TokenConfig{Ring: &ring})
	for _, alg := range tokAlgorithms() {
		tokRefused(t, verifier, tokIssue(t, tokIssuer(t, tokKeys()[alg]), authkit.Claims{Subject: "u"}))
	}
	require.Empty(t, ring.PublicKeys())
	_, err := ring.Sign("x", nil)
	require.Error(t, err)
	_, err = ring.Open("x", "e30.e30.e30", 100)
	require.ErrorIs(t, err, authkit.ErrInvalidToken)
}

// TK-15, TK-16: while keys rotate under load no valid token is refused, and no token of a key that
// was retired is accepted.
func TestKeyRingRotationUnderLoad(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		alg   authkit.Algorithm
		cache int
	}{{authkit.HS256, 0}, {authkit.EdDSA, 0}, {authkit.EdDSA, 64}} {
		t.Run(fmt.Sprint(tc.alg, tc.cache), func(t *testing.T) {
			t.Parallel()
			current := ringKey(tc.alg, "0")
			signing, verifying := ringOf(t, current), ringOf(t, current)
			issuer := tokIssuerFor(t, authkit.TokenConfig{Ring: signing})
			verifier := tokVerifierFor(t, authkit.TokenConfig{Ring: verifying, CacheSize: tc.cache})

			// Who issues and verifies holds life for reading: a key is retired when no token of it
			// is alive any more, and at no other time is there anything to wait for.
			var life sync.RWMutex
			var retired []string
			var verified, refused atomic.Int64
			done := make(chan struct{})
			var load sync.WaitGroup
			for g := range 8 {
				load.Go(func() {
					for n := 0; ; n++ {
						select {
						case <-done:
							return
						default:
						}
						life.RLock()
						subject := fmt.Sprint(g, " ", n)
						token, err := issuer.Issue(authkit.Claims{Subject: subject})
						if err != nil {
							t.Errorf("issue: %v", err)
						}
						for range 3 { // again, so that the cache answers too
							if c, err := verifier.Verify(token); err != nil || c.Subject != subject {
								t.Errorf("a valid token is refused: %v", err)
							}
							verified.Add(1)
						}
						if len(retired) > 0 {
							if _, err := verifier.Verify(retired[n%len(retired)]); err == nil {
								t.Error("a retired key is accepted")
							}
							refused.Add(1)
						}
						life.RUnlock()
					}
				})
			}
			for n := 1; n <= 12; n++ {
				next := ringKey(tc.alg, fmt.Sprint(n))
				last := tokIssue(t, issuer, authkit.Claims{Subject: "last"})
				tokAccepted(t, verifier, last)
				require.NoError(t, verifying.Replace(current, next)) // publish
				time.Sleep(time.Millisecond)
				require.NoError(t, signing.Replace(next, current)) // activate
				require.NoError(t, verifying.Replace(next, current))
				time.Sleep(time.Millisecond)
				life.Lock()
				require.NoError(t, verifying.Replace(next)) // retire
				require.NoError(t, signing.Replace(next))
				retired = append(retired, last)
				life.Unlock()
				current = next
			}
			close(done)
			load.Wait()
			require.Greater(t, verified.Load(), int64(100))
			require.Positive(t, refused.Load())
		})
	}
}

// What is remembered of a token goes with the keys that verified it.
func TestKeyRingForgets(t *testing.T) {
	t.Parallel()
	a, b := ringKey(authkit.EdDSA, "a"), ringKey(authkit.EdDSA, "b")
	ring := ringOf(t, a)
	verifier := tokVerifierFor(t, authkit.TokenConfig{Ring: ring, CacheSize: 8})
	token := tokIssue(t, tokIssuer(t, a), authkit.Claims{Subject: "u"})
	for range 3 {
		tokAccepted(t, verifier, token)
	}
	require.NoError(t, ring.Replace(b))
	tokRefused(t, verifier, token)
	require.NoError(t, ring.Replace(b)) // the same key, which changes nothing
	tokRefused(t, verifier, token)
	require.NoError(t, ring.Replace(b, a))
	tokAccepted(t, verifier, token)
	// Another key under the same ID is another key.
	other := ringKey(authkit.EdDSA, "other")
	other.ID = "a"
	require.NoError(t, ring.Replace(other))
	tokRefused(t, verifier, token)
}

// TK-15: what is published does not sign, and is a copy.
func TestKeyRingPublicKeys(t *testing.T) {
	t.Parallel()
	var keys []authkit.Key
	for _, alg := range tokAlgorithms() {
		key := tokKeys()[alg]
		key.ID = string(alg)
		keys = append(keys, key)
	}
	ring := ringOf(t, keys...)
	var ids []string
	for _, k := range ring.PublicKeys() {
		ids = append(ids, k.ID)
		require.Equal(t, k.ID, string(k.Algorithm))
		require.Nil(t, k.Private)
		require.Nil(t, k.Secret)
		i := slices.IndexFunc(keys, func(key authkit.Key) bool { return key.ID == k.ID })
		require.Equal(t, keys[i].Private.Public(), k.Public)
		_, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: []authkit.Key{k}})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"ES256", "EdDSA", "PS256", "RS256"}, ids)

	for _, k := range ring.PublicKeys() { // to the callers, to spoil
		switch public := k.Public.(type) {
		case *rsa.PublicKey:
			public.N.SetInt64(1)
			public.E = 1
		case *ecdsa.PublicKey:
			*public = ecdsa.PublicKey{}
		case ed25519.PublicKey:
			clear(public)
		}
	}
	verifier := tokVerifierFor(t, authkit.TokenConfig{Ring: ring})
	for _, key := range keys {
		tokAccepted(t, verifier, tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u"}))
	}
}

func TestKeyRingStatement(t *testing.T) {
	t.Parallel()
	payloads := [][]byte{nil, []byte("x"), []byte("\x00\xff\n"), []byte(tokPayload), bytes.Repeat([]byte("megabytes "), 300_000)}
	for _, alg := range tokAlgorithms() {
		for _, id := range []string{"", `k"1`} {
			t.Run(string(alg)+id, func(t *testing.T) {
				t.Parallel()
				key := tokKeys()[alg]
				key.ID = id
				ring := ringOf(t, ringKey(authkit.HS256, "first"), key)
				signer := ringOf(t, key)
				for _, payload := range payloads {
					for _, typ := range []string{"revocations+jwt", "x", `a"b`} {
						jws, err := signer.Sign(typ, payload)
						require.NoError(t, err)
						got, err := ring.Open(typ, jws, len(jws))
						require.NoError(t, err)
						require.True(t, bytes.Equal(payload, got))

						for _, other := range []string{"y", "X", "application/" + typ} {
							_, err = ring.Open(other, jws, len(jws))
							require.ErrorIs(t, err, authkit.ErrInvalidToken, other)
						}
						_, err = ring.Open(typ, jws, len(jws)-1)
						require.ErrorIs(t, err, authkit.ErrInvalidToken)
						_, err = ringOf(t, ringKey(authkit.HS256, "first")).Open(typ, jws, len(jws))
						require.ErrorIs(t, err, authkit.ErrInvalidToken)
					}
				}

				jws, err := signer.Sign("x", []byte("payload"))
				require.NoError(t, err)
				for i := range jws {
					_, err := ring.Open("x", jws[:i]+string(jws[i]^1)+jws[i+1:], 1<<20)
					require.ErrorIs(t, err, authkit.ErrInvalidToken)
				}
				kid := ""
				if id != "" {
					kid = `"kid":"k\"1",`
				}
				sign := func(header, segment string) string {
					return tokSignInput(t, key, tok64(fmt.Sprintf(header, alg, kid))+"."+segment)
				}
				_, err = ring.Open("x", sign(`{"alg":"%s",%s"typ":"x"}`, "e30"), 1<<20)
				require.NoError(t, err)
				for _, jws := range []string{
					sign(`{"alg":"%s",%s"typ":"x"}`, "e3\n0"), sign(`{"alg":"%s",%s"typ":"x"}`, "e31"), sign(`{"alg":"%s",%s"typ":"x"}`, "e30="),
					sign(`{"alg":"%s",%s"typ":"x"}`, "e30.e30"),
					sign(`{"alg":"%s",%s"typ": "x"}`, "e30"), sign(`{"alg":"%s",%s"typ":"x","crit":[]}`, "e30"), sign(`{"alg":"%s",%s"typ":"x","x":1}`, "e30"),
					"", ".", "..", "e30", "e30.e30", sign(`{"alg":"%s",%s"typ":"x"}`, "e30") + ".",
				} {
					_, err := ring.Open("x", jws, 1<<20)
					require.ErrorIs(t, err, authkit.ErrInvalidToken, jws)
				}
			})
		}
	}
}

// TK-05: a statement is no access token, and an access token no statement.
func TestKeyRingStatementIsNoToken(t *testing.T) {
	t.Parallel()
	for _, alg := range tokAlgorithms() {
		ring := ringOf(t, tokKeys()[alg])
		issuer, verifier := ringTokens(t, ring)
		profile := tokProfile(authkit.TokenConfig{Ring: ring})
		profiled := tokVerifierFor(t, profile)
		tokens := []string{
			tokIssue(t, issuer, authkit.Claims{Subject: "u"}),
			tokIssue(t, tokIssuerFor(t, profile), authkit.Claims{Subject: "u"}),
		}
		payload := strings.Split(tokens[1], ".")[1]
		raw, err := strict64(payload)
		require.NoError(t, err)
		for _, typ := range []string{"x", "revocations+jwt", "application/x", "JWT;x", "at+jwt+x"} {
			for _, payload := range []string{tokPayload, raw} {
				jws, err := ring.Sign(typ, []byte(payload))
				require.NoError(t, err)
				tokRefused(t, verifier, jws)
				tokRefused(t, profiled, jws)
			}
			for _, token := range tokens {
				_, err := ring.Open(typ, token, 1<<20)
				require.ErrorIs(t, err, authkit.ErrInvalidToken)
			}
		}
		for _, typ := range []string{
			"JWT", "jwt", "Jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt", "application/jwt",
			"", "application/", " ", "a b", "a\n", "ü", "\xff", "\x7f", strings.Repeat("x", 128),
		} {
			_, err := ring.Sign(typ, nil)
			require.ErrorContains(t, err, "type", typ)
			for _, token := range tokens {
				_, err = ring.Open(typ, token, 1<<20)
				require.ErrorContains(t, err, "type", typ)
			}
		}
	}
}

func TestKitKeyRing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	kit := newKit(t) // with a Secret, and no ID
	addUser(t, kit, "user@example.com", "correct horse")
	identify := func(token authkit.Token) error {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		_, _, err := kit.Identify(r)
		return err
	}
	old, err := kit.Login(ctx, "user@example.com", "correct horse")
	require.NoError(t, err)
	before := authkit.Key{Algorithm: authkit.HS256, Secret: []byte(testSecret)}
	next := ringKey(authkit.EdDSA, "next")
	require.NoError(t, kit.KeyRing().Replace(before, next))
	require.NoError(t, kit.KeyRing().Replace(next, before))
	require.NoError(t, identify(old))
	fresh, err := kit.Login(ctx, "user@example.com", "correct horse")
	require.NoError(t, err)
	require.NoError(t, kit.KeyRing().Replace(next))
	require.NoError(t, identify(fresh))
	require.ErrorIs(t, identify(old), authkit.ErrInvalidToken)
	require.Len(t, kit.KeyRing().PublicKeys(), 1)

	ring := ringOf(t, next)
	kit = newKit(t, func(c *authkit.Config) { c.Secret, c.Tokens.Ring = nil, ring })
	require.Same(t, ring, kit.KeyRing())
	_, err = authkit.New(authkit.Config{Secret: []byte(testSecret), Tokens: authkit.TokenConfig{Ring: ring}})
	require.ErrorContains(t, err, "Config.Secret: set along with Tokens.Ring")
	_, err = authkit.New(authkit.Config{Tokens: authkit.TokenConfig{Ring: new(authkit.KeyRing)}})
	require.ErrorContains(t, err, "Config.Tokens.Ring: no first key that signs")
}

// TK-16: how a Config.Secret is replaced while tokens of it are alive: its key goes on without an ID, for
// with one it would not be that of tokens without a kid.
func TestSecretRotates(t *testing.T) {
	t.Parallel()
	old := authkit.Key{Algorithm: authkit.HS256, Secret: []byte(testSecret)}
	next := ringKey(authkit.HS256, "next")
	before := tokIssue(t, tokIssuer(t, old), authkit.Claims{Subject: "u"})
	verify := func(token string, keys ...authkit.Key) error {
		_, err := tokVerifierFor(t, authkit.TokenConfig{Keys: keys}).Verify(token)
		return err
	}
	after := tokIssue(t, tokIssuer(t, next), authkit.Claims{Subject: "u"})
	for _, keys := range [][]authkit.Key{{old, next}, {next, old}} {
		require.NoError(t, verify(before, keys...))
		require.NoError(t, verify(after, keys...))
	}
	require.ErrorIs(t, verify(before, next), authkit.ErrInvalidToken)
	named := old
	named.ID = "old"
	require.ErrorIs(t, verify(before, next, named), authkit.ErrInvalidToken)
}

// TK-16: the same key with another ID, algorithm or half takes the place of the old one.
func TestKeyRingReplacesTheSameKey(t *testing.T) {
	t.Parallel()
	key := authkit.Key{ID: "a", Algorithm: authkit.RS256, Private: tokRSA()[0]}
	public := authkit.Key{ID: "a", Algorithm: authkit.RS256, Public: key.Private.Public()}
	ring := ringOf(t, public)
	_, err := ring.Sign("x", []byte("payload"))
	require.Error(t, err)
	require.NoError(t, ring.Replace(key))
	_, err = ring.Sign("x", []byte("payload"))
	require.NoError(t, err)
	require.NoError(t, ring.Replace(public))
	_, err = ring.Sign("x", []byte("payload"))
	require.Error(t, err)

	require.NoError(t, ring.Replace(key))
	key.Algorithm = authkit.PS256
	require.NoError(t, ring.Replace(key))
	require.Equal(t, authkit.PS256, ring.PublicKeys()[0].Algorithm)
	key.ID = "b"
	require.NoError(t, ring.Replace(key))
	require.Equal(t, "b", ring.PublicKeys()[0].ID)
}

// A type has 127 characters at most, and any that is visible.
func TestKeyRingStatementTypes(t *testing.T) {
	t.Parallel()
	ring := ringOf(t, ringKey(authkit.EdDSA, "a"))
	for _, typ := range []string{strings.Repeat("x", 127), "~!"} {
		jws, err := ring.Sign(typ, []byte("payload"))
		require.NoError(t, err)
		_, err = ring.Open(typ, jws, 1000)
		require.NoError(t, err)
	}
}
