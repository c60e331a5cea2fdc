package authkit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A keySource is an authkit.KeySource that a test changes.
type keySource struct {
	mu     sync.Mutex
	keys   []authkit.Key
	maxAge time.Duration
	err    error
	delay  time.Duration
	deaf   bool // to the context
	calls  int
	failed []error // passed to onError
}

func (s *keySource) Keys(ctx context.Context) ([]authkit.Key, time.Duration, error) {
	s.mu.Lock()
	s.calls++
	keys, maxAge, delay, err := s.keys, s.maxAge, s.delay, s.err
	if s.deaf {
		ctx = context.Background()
	}
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	return keys, maxAge, err
}

func (s *keySource) set(err error, keys ...authkit.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.err = keys, err
}

func (s *keySource) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *keySource) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, err)
}

func (s *keySource) failures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failed)
}

// fetchedRing returns a ring that has fetched the keys of its source once.
func fetchedRing(t testing.TB, s *keySource) *authkit.KeyRing {
	t.Helper()
	ring := authkit.NewKeyRingFrom(s, s.fail)
	require.NoError(t, ring.Fetch(t.Context()))
	return ring
}

// TK-14: which tokens cause a fetch, and with what effect.
func TestKeyRingRefresh(t *testing.T) {
	t.Parallel()
	a, b, c := ringKey(authkit.EdDSA, "a"), ringKey(authkit.EdDSA, "b"), ringKey(authkit.HS256, "c")
	for _, tc := range []struct {
		name     string
		token    func(good, fresh string) string
		finds    []authkit.Key // what the next fetch returns; nil: the same
		calls    int
		accepted bool
	}{
		{"a known key", func(good, _ string) string { return good }, nil, 0, true},
		{"a known header with a bad signature", func(good, fresh string) string {
			return good[:strings.LastIndexByte(good, '.')] + fresh[strings.LastIndexByte(fresh, '.'):]
		}, nil, 0, false},
		{"a known header with no signature", func(good, _ string) string { return good[:strings.LastIndexByte(good, '.')+1] }, nil, 0, false},
		{"a known header with another payload", func(good, _ string) string {
			return good[:strings.IndexByte(good, '.')] + ".e30" + good[strings.LastIndexByte(good, '.'):]
		}, nil, 0, false},
		{"a header of another spelling", func(string, string) string { return tokSign(t, a, `{"alg": "EdDSA", "kid":"a"}`, tokPayload) }, nil, 0, true},
		{"another type", func(string, string) string {
			return tokSign(t, a, `{"alg":"EdDSA","kid":"a","typ":"at+jwt"}`, tokPayload)
		}, nil, 0, false},
		{"another kid by a known key", func(string, string) string { return tokSign(t, a, `{"alg":"EdDSA","kid":"z"}`, tokPayload) }, nil, 0, false},
		{"no token", func(string, string) string { return "x" }, nil, 0, false},
		{"letters that no token has", func(string, string) string { return "e30=.e30.x" }, nil, 0, false},
		{"too long", func(_, fresh string) string { return fresh + strings.Repeat("A", 8192) }, nil, 0, false},
		{"an unknown key that is not found", func(_, fresh string) string { return fresh }, nil, 1, false},
		{"an unknown key, and others are found", func(_, fresh string) string { return fresh }, []authkit.Key{a, c}, 1, false},
		{"an unknown key that is found", func(_, fresh string) string { return fresh }, []authkit.Key{a, b}, 1, true},
		{"an unknown key that is found, with a bad signature", func(_, fresh string) string { return fresh[:len(fresh)-4] + "AAAA" }, []authkit.Key{a, b}, 1, false},
		{"a header that is none", func(string, string) string { return "AAAA.AAAA.AAAA" }, nil, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := &keySource{keys: []authkit.Key{a}, maxAge: time.Hour}
				verifier := tokVerifierFor(t, authkit.TokenConfig{Ring: fetchedRing(t, source)})
				time.Sleep(30 * time.Second)
				if tc.finds != nil {
					source.set(nil, tc.finds...)
				}
				token := tc.token(tokIssue(t, tokIssuer(t, a), authkit.Claims{Subject: "u"}), tokIssue(t, tokIssuer(t, b), authkit.Claims{Subject: "u"}))
				if tc.accepted {
					tokAccepted(t, verifier, token)
				} else {
					tokRefused(t, verifier, token) // which verifies it once
				}
				require.Equal(t, 1+tc.calls, source.count())
				if !tc.accepted {
					time.Sleep(30*time.Second - 1)
					tokRefused(t, verifier, token)
					require.Equal(t, 1+tc.calls, source.count(), "the next fetch is too early")
				}
			})
		})
	}
}

// TK-14: keys that are due are fetched once, in the background. If fetches fail, the keys
// stay valid for 24 hours, and a token is refused though it is remembered.
func TestKeyRingExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := ringKey(authkit.EdDSA, "a")
		source := &keySource{keys: []authkit.Key{key}, maxAge: 10 * time.Minute}
		ring := fetchedRing(t, source)
		verifier := tokVerifierFor(t, authkit.TokenConfig{Ring: ring, CacheSize: 4})
		token := tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u", ExpiresAt: time.Now().Add(99 * time.Hour)})
		start := time.Now()
		at := func(d time.Duration) { time.Sleep(time.Until(start.Add(d))) }

		at(10*time.Minute - 1)
		tokAccepted(t, verifier, token)
		synctest.Wait()
		require.Equal(t, 1, source.count())

		source.set(errors.New("down"), key)
		at(10 * time.Minute)
		for range 3 {
			tokAccepted(t, verifier, token)
		}
		synctest.Wait()
		require.Equal(t, 2, source.count(), "once")
		require.Equal(t, 1, source.failures())

		at(24*time.Hour - 1)
		tokAccepted(t, verifier, token)
		synctest.Wait()
		require.Len(t, ring.PublicKeys(), 1)
		require.Equal(t, 3, source.count())

		at(24 * time.Hour)
		tokRefused(t, verifier, token)
		require.Empty(t, ring.PublicKeys())
		_, err := ring.Sign("x", nil)
		require.NoError(t, err)

		source.set(nil, key)
		at(25 * time.Hour)
		tokAccepted(t, verifier, token)
		require.Len(t, ring.PublicKeys(), 1)

		// The next fetch removes the key.
		source.set(nil)
		at(26 * time.Hour)
		tokAccepted(t, verifier, token)
		synctest.Wait()
		tokRefused(t, verifier, token)
		synctest.Wait()
	})
}

// The ring keeps maxAge between one minute and one hour.
func TestKeyRingMaxAge(t *testing.T) {
	t.Parallel()
	for maxAge, want := range map[time.Duration]time.Duration{
		-time.Hour: time.Minute, 0: time.Minute, 59 * time.Second: time.Minute, time.Minute: time.Minute,
		10 * time.Minute: 10 * time.Minute, time.Hour: time.Hour, 1000 * time.Hour: time.Hour,
	} {
		synctest.Test(t, func(t *testing.T) {
			key := ringKey(authkit.EdDSA, "a")
			source := &keySource{keys: []authkit.Key{key}, maxAge: maxAge}
			verifier := tokVerifierFor(t, authkit.TokenConfig{Ring: fetchedRing(t, source)})
			token := tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u", ExpiresAt: time.Now().Add(9 * time.Hour)})
			time.Sleep(want - 1)
			tokAccepted(t, verifier, token)
			synctest.Wait()
			require.Equal(t, 1, source.count(), maxAge)
			time.Sleep(time.Nanosecond)
			tokAccepted(t, verifier, token)
			synctest.Wait()
			require.Equal(t, 2, source.count(), maxAge)
		})
	}
}

// Of many tokens that find the keys due, one starts a fetch, and none waits for it.
func TestKeyRingRefreshOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := ringKey(authkit.HS256, "a")
		source := &keySource{keys: []authkit.Key{key}, maxAge: time.Minute, delay: time.Second}
		issuer, verifier := ringTokens(t, fetchedRing(t, source))
		for n := range 50 {
			time.Sleep(time.Minute)
			token, start := tokIssue(t, issuer, authkit.Claims{Subject: "u"}), time.Now()
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if _, err := verifier.Verify(token); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			require.Zero(t, time.Since(start))
			time.Sleep(time.Second)
			synctest.Wait()
			require.Equal(t, n+2, source.count())
		}
	})
}

// A statement of an unknown key causes a fetch, as a token does.
func TestKeyRingOpenRefreshes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := ringKey(authkit.EdDSA, "a"), ringKey(authkit.EdDSA, "b")
		source := &keySource{keys: []authkit.Key{a}, maxAge: time.Hour}
		ring := fetchedRing(t, source)
		time.Sleep(30 * time.Second)
		source.set(nil, a, b)
		jws, err := ringOf(t, b).Sign("x", []byte("payload"))
		require.NoError(t, err)
		payload, err := ring.Open("x", jws, 1000)
		require.NoError(t, err)
		require.Equal(t, "payload", string(payload))
		_, err = ring.Open("x", jws[:len(jws)-2]+"AA", 1000)
		require.Error(t, err)
		require.Equal(t, 2, source.count())
	})
}

// Keys that the ring cannot hold are an error of the fetch, and the keys before stay.
func TestKeyRingFetchFaults(t *testing.T) {
	t.Parallel()
	a, b := ringKey(authkit.EdDSA, "a"), ringKey(authkit.EdDSA, "b")
	verifying := authkit.Key{ID: "v", Algorithm: authkit.EdDSA, Public: b.Private.Public()}
	for name, tc := range map[string]struct {
		cfg  authkit.TokenConfig
		keys []authkit.Key
		want string
	}{
		"two of one ID":      {keys: []authkit.Key{a, a}, want: `KeyRing[1]: the ID "a"`},
		"too many":           {keys: make([]authkit.Key, 101), want: "101 keys"},
		"HS and a cache":     {cfg: authkit.TokenConfig{CacheSize: 1}, keys: []authkit.Key{ringKey(authkit.HS256, "h")}, want: "CacheSize"},
		"no key that signs":  {keys: []authkit.Key{verifying}, want: "the first key signs"},
		"an error of source": {want: "the vault is sealed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := &keySource{keys: []authkit.Key{a}, maxAge: time.Hour}
			tc.cfg.Ring = fetchedRing(t, source)
			issuer, verifier := tokIssuerFor(t, authkit.TokenConfig{Ring: tc.cfg.Ring}), tokVerifierFor(t, tc.cfg)
			source.set(nil, tc.keys...)
			if tc.keys == nil {
				source.set(errors.New(tc.want))
			}
			err := tc.cfg.Ring.Fetch(t.Context())
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, []error{err}, source.failed)
			tokAccepted(t, verifier, tokIssue(t, issuer, authkit.Claims{Subject: "u"}))
		})
	}
}

// A ring has its keys from Replace or from a source, and each way refuses the other.
func TestKeyRingSourceOrReplace(t *testing.T) {
	t.Parallel()
	a := ringKey(authkit.EdDSA, "a")
	fetched := fetchedRing(t, &keySource{keys: []authkit.Key{a}})
	require.ErrorContains(t, fetched.Replace(a), "the keys come from a KeySource")
	require.Len(t, fetched.PublicKeys(), 1)
	replaced := ringOf(t, a)
	require.ErrorContains(t, replaced.Fetch(t.Context()), "no KeySource")
	require.ErrorContains(t, replaced.Run(t.Context()), "no KeySource")
	require.Panics(t, func() { authkit.NewKeyRingFrom(nil, nil) })
}

// Run fetches before a token would have to, and goes on after failures.
func TestKeyRingRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &keySource{keys: []authkit.Key{ringKey(authkit.EdDSA, "a")}, maxAge: 10 * time.Minute}
		ring := authkit.NewKeyRingFrom(source, source.fail)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- ring.Run(ctx) }()
		synctest.Wait()
		require.Equal(t, 1, source.count())
		time.Sleep(8*time.Minute - 1)
		require.Equal(t, 1, source.count())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, 2, source.count())

		source.set(errors.New("down"))
		time.Sleep(8 * time.Minute)
		synctest.Wait()
		require.Equal(t, 1, source.failures())
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, 2, source.failures())
		require.Len(t, ring.PublicKeys(), 1)
		stop()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

// Without an onError, failures are logged with the default logger.
func TestKeyRingLogsFailures(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	ring := authkit.NewKeyRingFrom(&keySource{err: errors.New("down")}, nil)
	require.Error(t, ring.Fetch(t.Context()))
	require.Contains(t, log.String(), `level=WARN msg="authkit: keys could not be fetched" error=down`)
}

// TK-14: a source has five seconds, and a token waits no longer, also for one that ignores its
// context.
func TestKeyRingSourceHangs(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			source := &keySource{}
			source.set(nil, tokKeyOf(testSecret))
			ring := fetchedRing(t, source)
			verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Ring: ring})
			require.NoError(t, err)
			time.Sleep(31 * time.Second)
			source.mu.Lock()
			source.delay, source.deaf = time.Minute, deaf
			source.mu.Unlock()
			began := time.Now()
			_, err = verifier.Verify("AAAA.AAAA.AAAA")
			require.Error(t, err)
			require.Equal(t, 5*time.Second, time.Since(began))
			time.Sleep(time.Minute)
		})
	}
}

// MW-07: before its first keys a guard is unavailable, and nobody is refused for it.
func TestGuardBeforeTheFirstKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := ringKey(authkit.EdDSA, "a")
		source := &keySource{err: errCrash}
		guard := newGuard(t, func(c *authkit.GuardConfig) {
			c.Tokens = authkit.TokenConfig{Ring: authkit.NewKeyRingFrom(source, source.fail)}
		})
		token := tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u"})
		ask := func() int { return do(guard.Authenticate(whoami), "GET", "/", "Authorization", "Bearer "+token).Code }
		require.Equal(t, 503, ask())
		synctest.Wait()
		require.Equal(t, 503, ask())
		source.set(nil, key)
		time.Sleep(30 * time.Second)
		ask() // starts a fetch
		synctest.Wait()
		require.Equal(t, 200, ask())
		token = tokIssue(t, tokIssuer(t, ringKey(authkit.EdDSA, "b")), authkit.Claims{Subject: "u"})
		require.Equal(t, 401, ask(), "an unknown key, while others are there")
		token = "no.token"
		require.Equal(t, 401, ask())

		// A source that does not end is none that failed.
		source = &keySource{delay: time.Hour, deaf: true}
		guard = newGuard(t, func(c *authkit.GuardConfig) {
			c.Tokens = authkit.TokenConfig{Ring: authkit.NewKeyRingFrom(source, source.fail)}
		})
		require.Equal(t, 401, ask())
		token = tokIssue(t, tokIssuer(t, key), authkit.Claims{Subject: "u"})
		require.Equal(t, 503, ask())
		time.Sleep(time.Hour)

		// A ring without a source has no keys to wait for.
		guard = newGuard(t, func(c *authkit.GuardConfig) { c.Tokens = authkit.TokenConfig{Ring: new(authkit.KeyRing)} })
		require.Equal(t, 401, ask())
	})
}

// The settings say when the keys of a source are too old to verify tokens.
func TestSettingsOfExpiredKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ring := fetchedRing(t, &keySource{keys: []authkit.Key{ringKey(authkit.EdDSA, "a")}, maxAge: 10 * time.Minute})
		kit := newKit(t, func(c *authkit.Config) { c.Secret, c.Tokens.Ring = nil, ring })
		require.False(t, kit.Settings().KeysExpired)
		time.Sleep(24 * time.Hour)
		require.True(t, kit.Settings().KeysExpired)
	})
}
