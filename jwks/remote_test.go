package jwks_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/race"
	"github.com/authkit-go/authkit/jwks"
)

// A fakeIssuer is an http.RoundTripper that answers as an issuer would, without a network: that is
// how a synctest bubble can wait for it. What is not set is not done.
type fakeIssuer struct {
	handler  http.Handler
	requests atomic.Int64
	delay    atomic.Int64 // time.Duration
	down     atomic.Bool
	deaf     bool        // does not keep to the context
	header   http.Header // put into the response
}

func (i *fakeIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.requests.Add(1)
	wait, done := time.After(time.Duration(i.delay.Load())), r.Context().Done()
	if i.deaf {
		done = nil
	}
	select {
	case <-wait:
	case <-done:
		return nil, r.Context().Err()
	}
	if i.down.Load() {
		return nil, errors.New("nobody is there")
	}
	w := httptest.NewRecorder()
	i.handler.ServeHTTP(w, r)
	response := w.Result()
	for name, values := range i.header {
		response.Header[name] = values
	}
	return response, nil
}

// errorLog keeps what OnError is told.
type errorLog struct {
	mu   sync.Mutex
	seen []error
}

func (l *errorLog) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, err)
}

func (l *errorLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}

func newRemote(t testing.TB, cfg jwks.RemoteConfig) *authkit.KeyRing {
	t.Helper()
	r, err := jwks.NewRemote(cfg)
	require.NoError(t, err)
	return r
}

// fakeRemote returns a Remote of a fake issuer, and its verifier.
func fakeRemote(t testing.TB, i *fakeIssuer) (*authkit.KeyRing, *authkit.TokenVerifier, *errorLog) {
	t.Helper()
	log := new(errorLog)
	r := newRemote(t, jwks.RemoteConfig{URL: "https://login.example.com/keys", Client: &http.Client{Transport: i}, OnError: log.add})
	v, err := authkit.NewTokenVerifier(authkit.TokenConfig{MaxLifetime: maxLife, Ring: r, CacheSize: 100})
	require.NoError(t, err)
	return r, v, log
}

func edKey(t testing.TB) authkit.Key {
	t.Helper()
	k, err := jwks.GenerateKey(authkit.EdDSA)
	require.NoError(t, err)
	return k
}

// longToken returns a token that is good for years.
func longToken(t testing.TB, key authkit.Key) string {
	t.Helper()
	i, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{key}, MaxLifetime: maxLife})
	require.NoError(t, err)
	token, err := i.Issue(authkit.Claims{Subject: "u", ExpiresAt: time.Now().AddDate(9, 0, 0)})
	require.NoError(t, err)
	return token
}

func accepts(v *authkit.TokenVerifier, token string) bool {
	_, err := v.Verify(token)
	return err == nil
}

// TK-14: the address is fixed, and https.
func TestRemoteURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]bool{ // taken; taken with InsecureHTTP
		"https://login.example.com/keys":       {true, true},
		"https://login.example.com:8443/k?v=1": {true, true},
		"HTTPS://[::1]/":                       {true, true},
		"http://localhost:8080/keys":           {false, true},
		"http://127.0.0.1/keys":                {false, true},
		"http://127.8.8.8/keys":                {false, true},
		"http://[::1]:1/keys":                  {false, true},
		"http://login.example.com/keys":        {},
		"http://localhost.example.com/keys":    {},
		"http://127.0.0.1.example.com/keys":    {},
		"http://0.0.0.0/keys":                  {},
		"http://10.0.0.1/keys":                 {},
		"http://169.254.169.254/latest":        {},
		"https://user@login.example.com/":      {},
		"https://u:secret@login.example.com/":  {},
		"https://@login.example.com/":          {},
		"https://login.example.com/#f":         {},
		"https://login.example.com/#":          {},
		"https:login.example.com":              {},
		"https:///keys":                        {},
		"https://:443/keys":                    {},
		"//login.example.com/":                 {},
		"/keys":                                {},
		"":                                     {},
		"file:///etc/passwd":                   {},
		"ftp://login.example.com/":             {},
		"unix:///run/keys":                     {},
		"https://login.example.com/\n":         {},
		"https://u:secret@[::1/":               {},
	} {
		for i, insecure := range []bool{false, true} {
			_, err := jwks.NewRemote(jwks.RemoteConfig{URL: text, InsecureHTTP: insecure})
			require.Equal(t, want[i], err == nil, "%q %v: %v", text, insecure, err)
			if err != nil {
				require.ErrorContains(t, err, "jwks: RemoteConfig.URL: ")
				require.NotContains(t, err.Error(), "secret")
			}
		}
	}
}

// TK-14: the first token has the keys fetched over TLS, and those who come meanwhile wait for the
// same fetch.
func TestRemote(t *testing.T) {
	t.Parallel()
	for _, alg := range asymmetric {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := generated()[alg]
			handler := jwks.Handler(newRing(t, key))
			var requests atomic.Int64
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				time.Sleep(50 * time.Millisecond)
				handler.ServeHTTP(w, r)
			}))
			defer server.Close()
			remote := newRemote(t, jwks.RemoteConfig{URL: server.URL + "/keys", Client: server.Client()})
			verifier := verifierOf(t, remote)
			require.Empty(t, remote.PublicKeys())
			require.Zero(t, requests.Load(), "the constructor dials nobody")
			token := issue(t, key)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if _, err := verifier.Verify(token); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			require.EqualValues(t, 1, requests.Load())

			other := key // under the same ID, which is what a thief would say
			other.Private, other.Public = edKey(t).Private, nil
			other.Algorithm = authkit.EdDSA
			require.False(t, accepts(verifier, issue(t, other)))
			require.EqualValues(t, 1, requests.Load())
		})
	}
	untrusted := httptest.NewTLSServer(jwks.Handler(newRing(t, generated()[authkit.EdDSA])))
	defer untrusted.Close()
	untrusted.Config.ErrorLog = nil
	remote := newRemote(t, jwks.RemoteConfig{URL: untrusted.URL, OnError: func(error) {}})
	require.Error(t, remote.Fetch(t.Context()), "a certificate that nobody vouches for")
	require.Empty(t, remote.PublicKeys())
}

// TK-14: no bad answer changes the keys, and none leads elsewhere.
func TestRemoteRefusesAnswers(t *testing.T) {
	t.Parallel()
	old, fresh := edKey(t), edKey(t)
	var elsewhere atomic.Int64
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		jwks.Handler(newRing(t, fresh)).ServeHTTP(w, r)
	}))
	defer other.Close()
	good := served(t, jwks.Handler(newRing(t, fresh))).Body.String()
	redirect := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) }
	}
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<24))
	_ = z.Close()
	for name, bad := range map[string]http.HandlerFunc{
		"301": redirect(301), "302": redirect(302), "303": redirect(303), "307": redirect(307), "308": redirect(308),
		"404": answer(404, good), "500": answer(500, good), "201": answer(201, good), "204": answer(204, ""),
		"not modified since never": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) },
		"empty":                    answer(200, ""),
		"HTML":                     answer(200, "<html>"),
		"half":                     answer(200, good[:len(good)/2]),
		"too long":                 answer(200, good+strings.Repeat(" ", 64<<10)),
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write(bytes.Repeat([]byte(" "), 4096))
			}
		},
		"a bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)+1))
			_, _ = w.Write([]byte(good))
		},
		"hung up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var handler atomic.Value
			handler.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write(served(t, jwks.Handler(newRing(t, old))).Body.Bytes()) // without an ETag
			}))
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				handler.Load().(http.HandlerFunc)(w, r)
			}))
			defer server.Close()
			log := new(errorLog)
			remote := newRemote(t, jwks.RemoteConfig{URL: server.URL, Client: server.Client(), OnError: log.add})
			require.NoError(t, remote.Fetch(t.Context()))
			handler.Store(bad)
			require.ErrorContains(t, remote.Fetch(t.Context()), "jwks: fetching a key set: ")
			require.Equal(t, 1, log.count())
			verifier := verifierOf(t, remote)
			require.True(t, accepts(verifier, issue(t, old)))
			require.False(t, accepts(verifier, issue(t, fresh)))
			require.Zero(t, elsewhere.Load())
		})
	}
}

// An issuer may have no key any more, and then none is accepted; whoever runs the verifier is told.
func TestRemoteEmptySet(t *testing.T) {
	t.Parallel()
	key := edKey(t)
	ring := newRing(t, key)
	remote, verifier, log := fakeRemote(t, &fakeIssuer{handler: jwks.Handler(ring)})
	require.True(t, accepts(verifier, issue(t, key)))
	require.NoError(t, ring.Replace())
	require.NoError(t, remote.Fetch(t.Context()))
	require.False(t, accepts(verifier, issue(t, key)))
	require.Equal(t, 1, log.count())
}

// TK-14: tokens have the keys fetched at most once per 30 seconds, whoever sends how many of what, and
// whether or not it works.
func TestRemoteInterval(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			key, thief := edKey(t), edKey(t)
			issuer := &fakeIssuer{handler: jwks.Handler(newRing(t, key))}
			issuer.down.Store(down)
			_, verifier, _ := fakeRemote(t, issuer)
			token, foreign := longToken(t, key), longToken(t, thief)
			start := time.Now()
			for time.Since(start) < 10*time.Minute-time.Second {
				var all sync.WaitGroup
				for range 4 {
					all.Go(func() {
						if accepts(verifier, token) == down || accepts(verifier, foreign) {
							t.Errorf("after %v", time.Since(start))
						}
					})
				}
				all.Wait()
				time.Sleep(time.Second)
			}
			require.EqualValues(t, 20, issuer.requests.Load())
			synctest.Wait()
		})
	}
}

// TK-14: a token with an unknown key waits for the fetch that is running, at most five seconds, and
// starts no other; one with a known key does not wait.
func TestRemoteWaits(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		delay    time.Duration
		deaf     bool
		wait     time.Duration
		accepted bool
	}{
		{3 * time.Second, false, 3 * time.Second, true},
		{time.Hour, false, 5 * time.Second, false},
		{time.Minute, true, 5 * time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := edKey(t), edKey(t)
			ring := newRing(t, a)
			issuer := &fakeIssuer{handler: jwks.Handler(ring), deaf: tc.deaf}
			_, verifier, log := fakeRemote(t, issuer)
			known, unknown := longToken(t, a), longToken(t, b)
			require.True(t, accepts(verifier, known))
			time.Sleep(time.Minute)
			require.NoError(t, ring.Replace(a, b))
			issuer.delay.Store(int64(tc.delay))

			start := time.Now()
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if accepts(verifier, unknown) != tc.accepted || time.Since(start) != tc.wait {
						t.Errorf("an unknown key, after %v", time.Since(start))
					}
				})
				all.Go(func() {
					if !accepts(verifier, known) || time.Since(start) != 0 {
						t.Errorf("a known key, after %v", time.Since(start))
					}
				})
			}
			all.Wait()
			require.EqualValues(t, 2, issuer.requests.Load())
			time.Sleep(2 * time.Minute)
			require.Equal(t, !tc.accepted && !tc.deaf, log.count() > 0)
		})
	}
}

// TK-14: a set is fetched again when it is due, in the background, and once.
func TestRemoteLife(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		header http.Header
		want   time.Duration
	}{
		{http.Header{"Cache-Control": nil}, 5 * time.Minute},
		{http.Header{"Cache-Control": {"public"}}, 5 * time.Minute},
		{http.Header{"Cache-Control": {"public, max-age=600"}}, 10 * time.Minute},
		{http.Header{"Cache-Control": {"public", `Max-Age="600"`}}, 10 * time.Minute},
		{http.Header{"Cache-Control": {"max-age=600"}, "Age": {"200"}}, 400 * time.Second},
		{http.Header{"Cache-Control": {"max-age=600"}, "Age": {"999"}}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=59"}}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=0"}}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=3601"}}, time.Hour},
		{http.Header{"Cache-Control": {"max-age=2000000000"}}, time.Hour},
		{http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, 5 * time.Minute},
		{http.Header{"Cache-Control": {"max-age=-1"}}, 5 * time.Minute},
		{http.Header{"Cache-Control": {"no-store, max-age=600"}}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=600, no-cache"}}, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			key := edKey(t)
			issuer := &fakeIssuer{handler: jwks.Handler(newRing(t, key)), header: tc.header}
			_, verifier, _ := fakeRemote(t, issuer)
			token := longToken(t, key)
			start := time.Now()
			require.True(t, accepts(verifier, token))
			issuer.delay.Store(int64(2 * time.Second))
			time.Sleep(tc.want - 1)
			require.True(t, accepts(verifier, token))
			synctest.Wait()
			require.EqualValues(t, 1, issuer.requests.Load(), "%v", tc.header)
			time.Sleep(time.Nanosecond)
			for range 5 {
				require.True(t, accepts(verifier, token))
			}
			require.Equal(t, tc.want, time.Since(start), "nobody waits")
			synctest.Wait()
			require.EqualValues(t, 2, issuer.requests.Load(), "%v", tc.header)
			time.Sleep(3 * time.Second)
		})
	}
}

// TK-14: the keys of an issuer that is down stay good for 24 hours, and not longer.
func TestRemoteStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := edKey(t)
		issuer := &fakeIssuer{handler: jwks.Handler(newRing(t, key))}
		remote, verifier, log := fakeRemote(t, issuer)
		token := longToken(t, key)
		require.True(t, accepts(verifier, token))
		start := time.Now()
		issuer.down.Store(true)
		for time.Since(start) < 24*time.Hour-time.Minute {
			require.True(t, accepts(verifier, token), "after %v", time.Since(start))
			time.Sleep(7 * time.Second)
		}
		time.Sleep(time.Until(start.Add(24*time.Hour - 1)))
		require.True(t, accepts(verifier, token))
		synctest.Wait()
		tried := issuer.requests.Load()
		require.LessOrEqual(t, tried, int64(24*60*2))
		require.Greater(t, tried, int64(24*60))
		require.EqualValues(t, tried-1, log.count())
		time.Sleep(time.Nanosecond)
		require.False(t, accepts(verifier, token), "though it is remembered")
		require.Empty(t, remote.PublicKeys())

		issuer.down.Store(false)
		time.Sleep(30 * time.Second)
		require.True(t, accepts(verifier, token))
		synctest.Wait()
	})
}

// MW-07: a guard that has no keys, or only ones that are too old, cannot tell good tokens from bad ones:
// that is 503, and no reason for a client to drop its token.
func TestGuardWithoutKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := edKey(t)
		ring := newRing(t, key)
		issuer := &fakeIssuer{handler: jwks.Handler(ring)}
		issuer.down.Store(true)
		remote, _, _ := fakeRemote(t, issuer)
		guard, err := authkit.NewGuard(authkit.GuardConfig{
			Tokens: authkit.TokenConfig{MaxLifetime: maxLife, Ring: remote}, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		h := guard.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		status := func(token string) int {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		token, strange := longToken(t, key), longToken(t, edKey(t))
		require.Equal(t, 503, status(token), "nothing was fetched yet")
		require.Equal(t, 503, status(token), "and it is too soon to try again")
		require.Equal(t, 401, status("x"), "no key makes that good")

		issuer.down.Store(false)
		time.Sleep(30 * time.Second)
		require.Equal(t, 200, status(token))
		require.Equal(t, 401, status(strange))

		issuer.down.Store(true)
		time.Sleep(24 * time.Hour)
		require.Equal(t, 503, status(token), "too old")

		issuer.down.Store(false)
		time.Sleep(30 * time.Second)
		require.Equal(t, 200, status(token))
		require.NoError(t, ring.Replace())
		time.Sleep(time.Hour)
		require.Equal(t, 200, status(token), "the keys are due, and nobody waits")
		synctest.Wait()
		require.Equal(t, 401, status(token), "it is the issuer's right to have none")
		synctest.Wait()
	})
}

// After a long silence the set is due and its keys have expired, and a key that came meanwhile is
// found by its first token all the same.
func TestRemoteIdle(t *testing.T) {
	t.Parallel()
	for _, silence := range []time.Duration{time.Hour, 48 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			a, b := edKey(t), edKey(t)
			ring := newRing(t, a)
			issuer := &fakeIssuer{handler: jwks.Handler(ring)}
			issuer.delay.Store(int64(time.Second))
			_, verifier, _ := fakeRemote(t, issuer)
			require.True(t, accepts(verifier, longToken(t, a)))
			time.Sleep(silence)
			require.NoError(t, ring.Replace(b, a))
			require.True(t, accepts(verifier, longToken(t, b)))
			require.True(t, accepts(verifier, longToken(t, a)))
			require.EqualValues(t, 2, issuer.requests.Load())
		})
	}
}

// A set that has not changed is not sent again, and changes nothing: what is remembered stays.
func TestRemoteNotModified(t *testing.T) {
	t.Parallel()
	a, b := edKey(t), edKey(t)
	ring := newRing(t, a)
	handler := jwks.Handler(ring)
	var statuses []int
	remote, verifier, _ := fakeRemote(t, &fakeIssuer{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		statuses = append(statuses, recorder.Code)
		handler.ServeHTTP(w, r)
	})})
	for range 3 {
		require.NoError(t, remote.Fetch(t.Context()))
		require.True(t, accepts(verifier, issue(t, a)))
	}
	require.NoError(t, ring.Replace(b))
	require.NoError(t, remote.Fetch(t.Context()))
	require.NoError(t, remote.Fetch(t.Context()))
	require.True(t, accepts(verifier, issue(t, b)))
	require.False(t, accepts(verifier, issue(t, a)))
	require.Equal(t, []int{200, 304, 304, 200, 304}, statuses)
}

// Fetch does not wait longer than its context, and Run keeps the keys fresh, so that nobody waits.
func TestRemoteRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := edKey(t), edKey(t)
		ring := newRing(t, a)
		issuer := &fakeIssuer{handler: jwks.Handler(ring)}
		issuer.delay.Store(int64(time.Second))
		remote, verifier, log := fakeRemote(t, issuer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, remote.Fetch(ctx), context.DeadlineExceeded)

		running, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- remote.Run(running) }()
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 1, issuer.requests.Load())
		require.NoError(t, ring.Replace(a, b))
		time.Sleep(5 * time.Minute)
		require.Len(t, remote.PublicKeys(), 2)
		before := time.Now()
		require.True(t, accepts(verifier, longToken(t, b)))
		require.Zero(t, time.Since(before))
		time.Sleep(time.Hour - 5*time.Minute)
		require.InDelta(t, 15, issuer.requests.Load(), 1)
		issuer.down.Store(true)
		time.Sleep(time.Hour)
		require.Positive(t, log.count())
		require.LessOrEqual(t, issuer.requests.Load(), int64(16+121))
		stop()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

// TK-15: keys rotate at the issuer, by the waits that KeyRing.Replace asks for, while eight verify
// with what they fetch: no valid token is refused, and no token of a key that was retired is accepted.
func TestRemoteRotationUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const (
			cacheLife = 5 * time.Minute
			tokenLife = 30*time.Minute + 30*time.Second
		)
		current := edKey(t)
		ring := newRing(t, current)
		signer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Ring: ring})
		require.NoError(t, err)
		issuer := &fakeIssuer{handler: jwks.Handler(ring)}
		issuer.delay.Store(int64(100 * time.Millisecond))
		_, verifier, log := fakeRemote(t, issuer)

		var mu sync.Mutex
		var stolen []string // tokens of retired keys, good for years
		done := make(chan struct{})
		var load sync.WaitGroup
		var verified atomic.Int64
		pauses := 1
		if race.Enabled {
			pauses = 5
		}
		for g := range 8 {
			load.Go(func() {
				var alive []string // one token a minute
				for n := 0; ; n++ {
					select {
					case <-done:
						return
					case <-time.After(time.Duration(pauses*(5+g)) * time.Second):
					}
					token, err := signer.Issue(authkit.Claims{Subject: "u"})
					if err != nil {
						t.Errorf("issue: %v", err)
					}
					alive = append(alive, token)
					for _, token := range []string{token, alive[n/2], alive[max(0, n-100)]} {
						if _, err := verifier.Verify(token); err != nil && !errors.Is(err, authkit.ErrTokenExpired) {
							// Once its key is retired, an expired token has no key to say so.
							if time.Now().Before(expiry(t, token).Add(30 * time.Second)) {
								t.Errorf("a valid token is refused: %v", err)
							}
						}
						verified.Add(1)
					}
					mu.Lock()
					seen := slices.Clone(stolen)
					mu.Unlock() // a bubble's time stands still for who waits for a lock
					for _, token := range seen {
						if accepts(verifier, token) {
							t.Error("a retired key is accepted")
						}
					}
				}
			})
		}
		for range 3 {
			next := edKey(t)
			theft := longToken(t, current)
			require.NoError(t, ring.Replace(current, next)) // publish
			time.Sleep(cacheLife)
			require.NoError(t, ring.Replace(next, current)) // activate
			time.Sleep(tokenLife)
			require.NoError(t, ring.Replace(next)) // retire
			time.Sleep(cacheLife + 20*time.Second) // until every verifier has heard of it
			mu.Lock()
			stolen = append(stolen, theft)
			mu.Unlock()
			current = next
		}
		close(done)
		load.Wait()
		require.Greater(t, verified.Load(), int64(10_000/pauses))
		require.Zero(t, log.count())
		time.Sleep(time.Minute)
	})
}

// expiry reads the exp of a token that is known to be good.
func expiry(t testing.TB, token string) time.Time {
	var claims struct{ Exp int64 }
	decodeJSON(t, decode64(t, strings.Split(token, ".")[1]), &claims)
	return time.Unix(claims.Exp, 0)
}

// A request has the media types of key sets, and no cookies.
func TestRemoteRequest(t *testing.T) {
	t.Parallel()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	address, err := url.Parse("https://login.example.com/keys")
	require.NoError(t, err)
	jar.SetCookies(address, []*http.Cookie{{Name: "session", Value: "secret"}})
	var seen http.Header
	i := &fakeIssuer{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header
		jwks.Handler(newRing(t, edKey(t))).ServeHTTP(w, r)
	})}
	ring := newRemote(t, jwks.RemoteConfig{URL: address.String(), Client: &http.Client{Transport: i, Jar: jar}, OnError: func(error) {}})
	require.NoError(t, ring.Fetch(t.Context()))
	require.Equal(t, "application/jwk-set+json, application/json", seen.Get("Accept"))
	require.Empty(t, seen.Get("Cookie"))
}

// Without OnError, errors are logged. Not parallel: it replaces the logger of the
// program.
func TestRemoteLogs(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var log bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	i := &fakeIssuer{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) })}
	ring := newRemote(t, jwks.RemoteConfig{URL: "https://login.example.com/keys", Client: &http.Client{Transport: i}})
	_ = ring.Fetch(t.Context())
	require.Contains(t, log.String(), "could not be refreshed")
}
