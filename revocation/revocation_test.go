package revocation_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/revocation"
)

const (
	email    = "user@example.com"
	password = "correct horse"
)

// world is a service that logs users in, and how another one reaches it.
type world struct {
	t     testing.TB
	kit   *authkit.Kit
	store *authkit.MemoryStore
	user  authkit.User
	ring  *authkit.KeyRing // the other service's: public keys
	feed  http.Handler

	mu     sync.Mutex
	broken error           // of the next requests
	alter  func(*response) // of the next answers
	seen   []*response
}

type response struct {
	path   string
	status int
	header http.Header
	body   string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	private := ed25519.NewKeyFromSeed([]byte("a seed of thirty-two bytes, ok!!"))
	store := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Tokens: authkit.TokenConfig{Keys: []authkit.Key{{ID: "1", Algorithm: authkit.EdDSA, Private: private}}},
		Users:  store, Sessions: authkit.SessionConfig{Store: store},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Schemes(authkit.Bcrypt{Cost: 4, InsecureLowCost: true})},
		Logger:    slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	user, err := kit.CreateUser(t.Context(), authkit.User{Email: email}, password)
	require.NoError(t, err)
	ring, err := authkit.NewKeyRing(kit.KeyRing().PublicKeys()...)
	require.NoError(t, err)
	return &world{t: t, kit: kit, store: store, user: user, ring: ring, feed: revocation.Handler(kit)}
}

// RoundTrip is the network.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return nil, w.broken
	}
	rec := httptest.NewRecorder()
	w.feed.ServeHTTP(rec, r)
	answer := &response{r.URL.RequestURI(), rec.Code, rec.Header(), rec.Body.String()}
	if w.alter != nil {
		w.alter(answer)
	}
	w.seen = append(w.seen, answer)
	return &http.Response{
		StatusCode: answer.status, Header: answer.header, Body: io.NopCloser(strings.NewReader(answer.body)), Request: r,
	}, nil
}

func (w *world) last() *response {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[len(w.seen)-1]
}

func (w *world) follower(change ...func(*revocation.Config)) *revocation.Follower {
	w.t.Helper()
	cfg := revocation.Config{URL: "https://auth.example.com/revocations", Ring: w.ring, Client: &http.Client{Transport: w}}
	for _, c := range change {
		c(&cfg)
	}
	f, err := revocation.NewFollower(cfg)
	require.NoError(w.t, err)
	return f
}

// login returns the claims of a new access token.
func (w *world) login() authkit.Claims {
	w.t.Helper()
	token, err := w.kit.Login(w.t.Context(), email, password)
	require.NoError(w.t, err)
	verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Ring: w.ring})
	require.NoError(w.t, err)
	claims, err := verifier.Verify(token.AccessToken)
	require.NoError(w.t, err)
	return claims
}

func requireRevoked(t testing.TB, f *revocation.Follower, c authkit.Claims, want bool) {
	t.Helper()
	got, err := f.Revoked(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// RF-08: a logout and a cut-off reach a service without a store by its next question.
func TestFollower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(300 * time.Millisecond)
		w := newWorld(t)
		f := w.follower()
		one, two := w.login(), w.login()
		require.NoError(t, w.kit.Logout(t.Context(), one.Subject, one.SessionID))
		_, err := f.Revoked(t.Context(), one)
		require.ErrorIs(t, err, revocation.ErrStale, "it knows nothing yet")

		require.NoError(t, f.Poll(t.Context()))
		requireRevoked(t, f, one, true)
		requireRevoked(t, f, two, false)
		require.Equal(t, "/revocations", w.last().path)

		require.NoError(t, w.kit.LogoutEverywhere(t.Context(), w.user.ID))
		three := w.login() // dated at the end of the second
		requireRevoked(t, f, two, false)
		require.NoError(t, f.Poll(t.Context()))
		require.Contains(t, w.last().path, "after=")
		requireRevoked(t, f, two, true)
		requireRevoked(t, f, three, false)
		emailSubject := two
		emailSubject.Subject, emailSubject.UserID = email, two.Subject
		requireRevoked(t, f, emailSubject, true)
		undated := three
		undated.IssuedAt = time.Time{}
		requireRevoked(t, f, undated, true)
		requireRevoked(t, f, authkit.Claims{Subject: "another", ExpiresAt: time.Now().Add(time.Minute)}, false)
		requireRevoked(t, f, authkit.Claims{Subject: "another", IssuedAt: two.IssuedAt}, false)
	})
}

// While nothing happens, answers are 304 and empty; and what happens then is in a small one.
func TestFollowerAsksForLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.follower()
		for range 1000 {
			require.NoError(t, w.store.RevokeSessions(t.Context(), authkit.NewUserID(), "", time.Now()))
		}
		require.NoError(t, f.Poll(t.Context()))
		require.Greater(t, len(w.last().body), 12_000)
		for range 20 {
			time.Sleep(5 * time.Second)
			require.NoError(t, f.Poll(t.Context()))
			require.Equal(t, 304, w.last().status)
			require.Empty(t, w.last().body)
		}
		one := w.login()
		require.NoError(t, w.kit.Logout(t.Context(), one.Subject, one.SessionID))
		time.Sleep(5 * time.Second)
		require.NoError(t, f.Poll(t.Context()))
		requireRevoked(t, f, one, true)
		for range 2000 { // hours later, what does not matter any more is gone on both sides
			time.Sleep(5 * time.Second)
			require.NoError(t, f.Poll(t.Context()))
			require.Less(t, len(w.last().body), 2_000)
		}
		requireRevoked(t, f, one, false) // its token expired long ago
	})
}

func TestFollowerRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var failures atomic.Int32
		f := w.follower(func(c *revocation.Config) {
			c.MaxStale = time.Minute
			c.OnError = func(error) { failures.Add(1) }
		})
		gone, cancelGone := context.WithCancel(t.Context())
		cancelGone()
		w.broken = context.Canceled
		require.ErrorIs(t, f.Run(gone), context.Canceled)
		w.broken = nil
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		synctest.Wait()
		one := w.login()
		requireRevoked(t, f, one, false)
		require.NoError(t, w.kit.Logout(t.Context(), one.Subject, one.SessionID))
		time.Sleep(5*time.Second + time.Millisecond)
		synctest.Wait()
		requireRevoked(t, f, one, true)
		require.Zero(t, failures.Load())

		w.mu.Lock()
		w.broken = errors.New("the network is down")
		w.mu.Unlock()
		time.Sleep(50 * time.Second)
		requireRevoked(t, f, one, true) // it goes on
		require.NotZero(t, failures.Load())
		time.Sleep(20 * time.Second)
		_, err := f.Revoked(t.Context(), one)
		require.ErrorIs(t, err, revocation.ErrStale)
		w.mu.Lock()
		w.broken = nil
		w.mu.Unlock()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		requireRevoked(t, f, one, true)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

// RF-08: a list that nothing was new in for longer than it reaches back is no gap, and neither is
// an absence: what happens then still gets there.
func TestFollowerAfterALongSilence(t *testing.T) {
	t.Parallel()
	for name, poll := range map[string]time.Duration{"while it asked": 30 * time.Second, "while it could not ask": 3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				f := w.follower()
				require.NoError(t, f.Poll(t.Context()))
				for start := time.Now(); time.Since(start) < 3*time.Hour; {
					time.Sleep(poll)
					require.NoError(t, f.Poll(t.Context()))
				}
				one := w.login()
				require.NoError(t, w.kit.Logout(t.Context(), one.Subject, one.SessionID))
				require.NoError(t, f.Poll(t.Context()))
				requireRevoked(t, f, one, true)
			})
		})
	}
}

// Nobody signs a 304: who answers nothing else does not keep a follower from finding its list stale.
func TestFollowerOf304s(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.follower(func(c *revocation.Config) { c.MaxStale = time.Minute })
		one := w.login()
		for range 200 { // it stays current, and most answers are empty
			require.NoError(t, f.Poll(t.Context()))
			requireRevoked(t, f, one, false)
			time.Sleep(5 * time.Second)
		}
		empty := 0
		for _, r := range w.seen {
			if r.status == 304 {
				empty++
			}
		}
		require.Greater(t, empty, len(w.seen)/2)

		require.NoError(t, w.kit.Logout(t.Context(), one.Subject, one.SessionID))
		w.alter = func(r *response) { r.status, r.body = 304, "" }
		for range 20 {
			_ = f.Poll(t.Context())
			time.Sleep(5 * time.Second)
		}
		_, err := f.Revoked(t.Context(), one)
		require.ErrorIs(t, err, revocation.ErrStale)
		w.alter = nil
		require.NoError(t, f.Poll(t.Context()))
		requireRevoked(t, f, one, true)
	})
}

// A cursor that the handler has not given, such as that of the instance before, is answered with
// the whole list.
func TestHandlerOfAnotherCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.kit.LogoutEverywhere(t.Context(), w.user.ID))
	type list struct{ After, Next, Users string }
	ask := func(h http.Handler, after string) (l list) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "/?after="+after, nil))
		require.Equal(t, 200, rec.Code)
		payload, err := w.ring.Open("revocations+jwt", rec.Body.String(), 1<<20)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(payload, &l))
		return l
	}
	whole := ask(w.feed, "")
	require.Empty(t, whole.After)
	require.NotEmpty(t, whole.Users)
	instance, _, _ := strings.Cut(whole.Next, ".")
	for _, cursor := range []string{ask(revocation.Handler(w.kit), "").Next, "x", "1", instance, instance + ".", instance + ".-1", instance + ".x", instance + ".999", instance + ".99999999999999999999"} {
		require.Equal(t, whole, ask(w.feed, cursor), cursor)
	}
	require.Equal(t, list{After: whole.Next, Next: whole.Next}, ask(w.feed, whole.Next))
}

// At most 64 responses of a state are signed. Other cursors get the whole list.
func TestHandlerOfManyCursors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 70 {
		require.NoError(t, w.store.RevokeSessions(t.Context(), authkit.NewUserID(), "", time.Now()))
	}
	after := func(cursor string) (l struct{ After, Next string }) {
		rec := httptest.NewRecorder()
		w.feed.ServeHTTP(rec, httptest.NewRequest("GET", "/?after="+cursor, nil))
		payload, err := w.ring.Open("revocations+jwt", rec.Body.String(), 1<<20)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(payload, &l))
		return l
	}
	for range 5 {
		after("") // the burst of reads; then a state lasts a second
	}
	instance, _, _ := strings.Cut(after("").Next, ".")
	for i := 1; i < 64; i++ {
		cursor := fmt.Sprint(instance, ".", i)
		require.Equal(t, cursor, after(cursor).After)
	}
	require.Empty(t, after(instance+".64").After)
	require.Equal(t, instance+".1", after(instance+".1").After)
}

// FR-09: a revocation reaches followers whatever the clock of the instance that revoked.
func TestFollowerOfAClockBehind(t *testing.T) {
	t.Parallel()
	for _, behind := range []time.Duration{0, 75 * time.Second, 9 * time.Minute, 50 * time.Minute, -5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(2 * time.Hour) // past the dates of what is not there
			w := newWorld(t)
			f := w.follower()
			require.NoError(t, f.Poll(t.Context()))
			for range 3 {
				one := w.login()
				require.NoError(t, f.Poll(t.Context()))
				revoked, err := w.store.RevokeSession(t.Context(), w.user.ID, one.SessionID, time.Now().Add(-behind))
				require.NoError(t, err)
				require.True(t, revoked)
				for range 13 { // a minute
					time.Sleep(5 * time.Second)
					require.NoError(t, f.Poll(t.Context()))
					if behind < 2*time.Minute {
						requireRevoked(t, f, one, true)
					}
				}
				requireRevoked(t, f, one, true)
			}
		})
	}
}

// FR-06: a token that outlives the entries of the list is refused.
func TestFollowerRefusesLongTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.follower()
		require.NoError(t, f.Poll(t.Context()))
		at := time.Now()
		requireRevoked(t, f, authkit.Claims{Subject: "u", IssuedAt: at, ExpiresAt: at.Add(time.Hour)}, false)
		requireRevoked(t, f, authkit.Claims{Subject: "u", IssuedAt: at, ExpiresAt: at.Add(time.Hour + time.Second)}, true)
	})
}

// FR-07: a cut-off reaches tokens that name the user by e-mail only.
func TestFollowerOfEmails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := authkit.NewMemoryStore()
		kit, err := authkit.New(authkit.Config{
			Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), EmailSubject: true, Users: store, Sessions: authkit.SessionConfig{Store: store},
			Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		user, err := kit.CreateUser(t.Context(), authkit.User{Email: email}, password)
		require.NoError(t, err)
		w := &world{t: t, kit: kit, store: store, user: user, ring: kit.KeyRing(), feed: revocation.Handler(kit)}
		f := w.follower()
		at := time.Now()
		time.Sleep(2 * time.Second)
		require.NoError(t, kit.DisableUser(t.Context(), user.ID))
		require.NoError(t, f.Poll(t.Context()))
		for subject, want := range map[string]bool{email: true, strings.ToUpper(email): true, "other@example.com": false, "\x01" + email: false, user.ID: true} {
			requireRevoked(t, f, authkit.Claims{Subject: subject, IssuedAt: at}, want)
		}
		requireRevoked(t, f, authkit.Claims{Subject: email, UserID: "another", IssuedAt: at}, false)
		requireRevoked(t, f, authkit.Claims{Subject: email, UserID: user.ID, IssuedAt: at}, true)
		requireRevoked(t, f, authkit.Claims{Subject: email, IssuedAt: at.Add(3 * time.Second)}, false)
	})
}

// countingStore counts what is read.
type countingStore struct {
	*authkit.MemoryStore
	reads atomic.Int32
	all   atomic.Int32 // reads of everything
	err   error
}

func (s *countingStore) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
	s.reads.Add(1)
	if time.Since(since) > 10*time.Minute {
		s.all.Add(1)
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.MemoryStore.Revocations(ctx, since)
}

// However many clients ask, the store is read once a second.
func TestHandlerReadsOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &countingStore{MemoryStore: authkit.NewMemoryStore()}
		kit, err := authkit.New(authkit.Config{
			Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: store, Sessions: authkit.SessionConfig{Store: store},
			Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		h := revocation.Handler(kit)
		ask := func() int {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
			return rec.Code
		}
		time.Sleep(time.Minute - time.Duration(time.Now().UnixNano())%time.Minute)
		for range 20 {
			require.Equal(t, 200, ask())
		}
		require.EqualValues(t, []int32{5, 1}, []int32{store.reads.Load(), store.all.Load()})
		store.reads.Store(0)
		const seconds = 60
		for range seconds * 20 {
			require.Equal(t, 200, ask())
			time.Sleep(time.Second / 20)
		}
		require.LessOrEqual(t, store.reads.Load(), int32(seconds+5))
		require.GreaterOrEqual(t, store.reads.Load(), int32(seconds-1), "and not older than a second")

		store.err = errors.New("down")
		for range 30 {
			time.Sleep(time.Second / 20)
			_ = ask()
		}
		time.Sleep(2 * time.Second)
		require.Equal(t, 503, ask())
		store.err = nil
		time.Sleep(2 * time.Second)
		require.Equal(t, 200, ask())
	})
}

// An answer that is not right changes nothing.
func TestFollowerRefuses(t *testing.T) {
	t.Parallel()
	other := newWorld(t)
	otherKey := ed25519.NewKeyFromSeed([]byte("another seed of thirty-two bytes"))
	stranger, err := authkit.NewKeyRing(authkit.Key{ID: "1", Algorithm: authkit.EdDSA, Private: otherKey})
	require.NoError(t, err)
	sign := func(ring *authkit.KeyRing, typ, payload string) string {
		signed, err := ring.Sign(typ, []byte(payload))
		require.NoError(t, err)
		return signed
	}
	const typ = "revocations+jwt"
	own := other.kit.KeyRing()
	at := time.Now().Unix()
	good := fmt.Sprintf(`{"next":"x.1","until":%d,"life":3720,"sessions":"","users":""}`, at)
	token, err := other.kit.Login(t.Context(), email, password)
	require.NoError(t, err)
	for name, alter := range map[string]func(*response){
		"another key":         func(r *response) { r.body = sign(stranger, typ, good) },
		"another type":        func(r *response) { r.body = sign(own, "statement+jwt", good) },
		"an access token":     func(r *response) { r.body = token.AccessToken },
		"nothing":             func(r *response) { r.body = "" },
		"a page":              func(r *response) { r.body = "<html>" },
		"a status":            func(r *response) { r.status = 500 },
		"a redirect":          func(r *response) { r.status = 302; r.header.Set("Location", "https://evil.example.com/") },
		"304 out of the blue": func(r *response) { r.status = 304 },
		"an old list": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"next":"x.1","until":%d,"life":3720,"sessions":"","users":""}`, at-400))
		},
		"a list of tomorrow": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"next":"x.1","until":%d,"life":3720,"sessions":"","users":""}`, at+86400))
		},
		"a list with a gap": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"after":"x.1","next":"x.2","until":%d,"life":3720,"sessions":"","users":""}`, at))
		},
		"broken records": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"next":"x.1","until":%d,"life":3720,"sessions":"AAAA","users":""}`, at))
		},
		"not base64": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"next":"x.1","until":%d,"life":3720,"sessions":"","users":"!"}`, at))
		},
		"no life": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"next":"x.1","until":%d,"sessions":"","users":""}`, at))
		},
		"no cursor": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"until":%d,"life":3720,"sessions":"","users":""}`, at))
		},
		"a newline": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"next":"x.1","until":%d,"life":3720,"sessions":"AAAAAAAAAAAAAAAA\n","users":""}`, at))
		},
		"a number": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"next":"x.1","until":%d,"life":3720,"sessions":1,"users":""}`, at))
		},
		"a long life": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"next":"x.1","until":%d,"life":8589934593,"sessions":"","users":""}`, at))
		},
		"a long cursor": func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"next":"%s","until":%d,"life":3720,"sessions":"","users":""}`, strings.Repeat("x", 257), at))
		},
		"no time":  func(r *response) { r.body = sign(own, typ, `{"next":"x.1","life":3720,"sessions":"","users":""}`) },
		"not JSON": func(r *response) { r.body = sign(own, typ, "x") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.follower()
			w.alter = alter
			require.Error(t, f.Poll(t.Context()))
			require.Len(t, w.seen, 1, "no redirect is followed")
			_, err := f.Revoked(t.Context(), authkit.Claims{Subject: "x"})
			require.ErrorIs(t, err, revocation.ErrStale)
			w.alter = func(r *response) { r.body = sign(own, typ, good) }
			require.NoError(t, f.Poll(t.Context()), "the good one is good")
			requireRevoked(t, f, authkit.Claims{Subject: "x"}, false)
		})
	}
	t.Run("a status later", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		f := w.follower()
		require.NoError(t, f.Poll(t.Context()))
		w.alter = func(r *response) { r.status = 500 }
		require.Error(t, f.Poll(t.Context()))
	})
	t.Run("the limits", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.alter = func(r *response) {
			r.body = sign(own, typ, fmt.Sprintf(`{"next":"%s","until":%d,"life":8589934592,"sessions":"","users":""}`, strings.Repeat("x", 256), at))
		}
		require.NoError(t, w.follower().Poll(t.Context()))
	})
	t.Run("the network", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.broken = errors.New("down")
		require.ErrorIs(t, w.follower().Poll(t.Context()), w.broken)
	})
}

func TestFollowerFaults(t *testing.T) {
	t.Parallel()
	ring := new(authkit.KeyRing)
	for name, tc := range map[string]struct {
		cfg  revocation.Config
		want string
	}{
		"http":           {revocation.Config{URL: "http://auth.example.com/r", Ring: ring}, "not https"},
		"http elsewhere": {revocation.Config{URL: "http://auth.example.com/r", Ring: ring, InsecureHTTP: true}, "not https"},
		"a path":         {revocation.Config{URL: "/r", Ring: ring}, "an https URL with a host"},
		"a user":         {revocation.Config{URL: "https://u:p@auth.example.com/r", Ring: ring}, "a user, a password"},
		"no ring":        {revocation.Config{URL: "https://auth.example.com/r"}, "Config.Ring"},
		"quick":          {revocation.Config{URL: "https://auth.example.com/r", Ring: ring, Interval: time.Millisecond}, "Config.Interval"},
		"slow":           {revocation.Config{URL: "https://auth.example.com/r", Ring: ring, Interval: time.Hour}, "Config.Interval"},
		"stale":          {revocation.Config{URL: "https://auth.example.com/r", Ring: ring, MaxStale: time.Second}, "Config.MaxStale"},
		"1s - 1ns":       {revocation.Config{URL: "https://auth.example.com/r", Ring: ring, Interval: time.Second - 1}, "Config.Interval"},
		"5m + 1ns":       {revocation.Config{URL: "https://auth.example.com/r", Ring: ring, Interval: 5*time.Minute + 1}, "Config.Interval"},
		"10s - 1ns":      {revocation.Config{URL: "https://auth.example.com/r", Ring: ring, MaxStale: 10*time.Second - 1}, "Config.MaxStale"},
	} {
		_, err := revocation.NewFollower(tc.cfg)
		require.ErrorContains(t, err, tc.want, name)
	}
	for _, interval := range []time.Duration{time.Second, 5 * time.Minute} {
		_, err := revocation.NewFollower(revocation.Config{URL: "http://127.0.0.1:1/r", Ring: ring, InsecureHTTP: true, Interval: interval, MaxStale: 2 * interval})
		require.NoError(t, err)
	}
}

// The network can hang. A follower gives up, and logs the error if it has no
// OnError. Not parallel: it replaces the logger of the program.
func TestFollowerOfANetworkThatHangs(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var log strings.Builder
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.follower(func(c *revocation.Config) { c.Client = &http.Client{Transport: hanging{}} })
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		require.ErrorIs(t, f.Run(ctx), context.DeadlineExceeded)
	})
	require.Contains(t, log.String(), "revocation list")
}

type hanging struct{}

func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// The list is as old as MaxStale, and then older.
func TestFollowerAtMaxStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.follower(func(c *revocation.Config) { c.MaxStale = time.Minute })
		require.NoError(t, f.Poll(t.Context()))
		time.Sleep(time.Minute)
		requireRevoked(t, f, authkit.Claims{Subject: "x"}, false)
		time.Sleep(time.Nanosecond)
		_, err := f.Revoked(t.Context(), authkit.Claims{Subject: "x"})
		require.ErrorIs(t, err, revocation.ErrStale)
	})
}

// Instances with the same entries have the same list and the same ETag, whatever
// they knew before. Expired entries leave both.
func TestInstancesAgree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		get := func(h http.Handler) (tag, entries string) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
			require.Equal(t, 200, rec.Code)
			payload, err := w.ring.Open("revocations+jwt", rec.Body.String(), 1<<20)
			require.NoError(t, err)
			var l struct{ Users, Sessions string }
			require.NoError(t, json.Unmarshal(payload, &l))
			return rec.Header().Get("ETag"), l.Users + " " + l.Sessions
		}
		empty, none := get(w.feed)
		agree := func() (tag, entries string) {
			t.Helper()
			tag, entries = get(w.feed)
			other, others := get(revocation.Handler(w.kit))
			require.Equal(t, []string{tag, entries}, []string{other, others})
			return tag, entries
		}
		for range 20 {
			require.NoError(t, w.store.RevokeSessions(t.Context(), authkit.NewUserID(), "", time.Now()))
		}
		require.NoError(t, w.kit.LogoutEverywhere(t.Context(), w.user.ID))
		first, _ := agree()
		time.Sleep(2 * time.Second)
		require.NoError(t, w.kit.LogoutEverywhere(t.Context(), w.user.ID)) // a later time of the same user
		second, _ := agree()
		require.NotEqual(t, first, second)
		for range 4 {
			time.Sleep(time.Hour)
			agree()
		}
		last, entries := agree()
		require.Equal(t, []string{empty, none}, []string{last, entries})
	})
}

// A response is signed once. Signatures of ES256 are random.
func TestHandlerSignsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		store := authkit.NewMemoryStore()
		kit, err := authkit.New(authkit.Config{
			Tokens: authkit.TokenConfig{Keys: []authkit.Key{{ID: "1", Algorithm: authkit.ES256, Private: private}}},
			Users:  store, Sessions: authkit.SessionConfig{Store: store}, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		h := revocation.Handler(kit)
		get := func() string {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
			return rec.Body.String()
		}
		for range 5 {
			get() // the burst of reads
		}
		require.Equal(t, get(), get())
	})
}

func TestHandler(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func(method, target, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, nil)
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		rec := httptest.NewRecorder()
		revocation.Handler(w.kit).ServeHTTP(rec, r)
		return rec
	}
	one := w.login()
	require.NoError(t, w.kit.Logout(t.Context(), one.Subject, one.SessionID))
	rec := ask("GET", "/", "")
	require.Equal(t, 200, rec.Code)
	require.Equal(t, "application/jwt", rec.Header().Get("Content-Type"))
	require.Equal(t, "no-cache", rec.Header().Get("Cache-Control"))
	for _, private := range []string{one.SessionID, one.Subject} {
		payload, err := w.ring.Open("revocations+jwt", rec.Body.String(), 1<<20)
		require.NoError(t, err)
		require.NotContains(t, string(payload), private)
	}
	tag := rec.Header().Get("ETag")
	require.Equal(t, 304, ask("GET", "/", tag).Code)
	require.Equal(t, 304, ask("GET", "/", `"x", `+tag).Code)
	require.Equal(t, 200, ask("GET", "/", `"x"`).Code)
	refused := ask("POST", "/", "")
	require.Equal(t, 405, refused.Code)
	require.Equal(t, "GET, HEAD", refused.Header().Get("Allow"))
	head := ask("HEAD", "/", "")
	require.Equal(t, 200, head.Code)
	require.Equal(t, strconv.Itoa(rec.Body.Len()), head.Header().Get("Content-Length"))
	require.Equal(t, "nosniff", head.Header().Get("X-Content-Type-Options")) // TR-02
	require.NoError(t, w.kit.KeyRing().Replace())
	unsigned := ask("GET", "/", "")
	require.Equal(t, 500, unsigned.Code, "no key signs")
	require.Equal(t, "application/problem+json", unsigned.Header().Get("Content-Type"))
	off, err := authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")})
	require.NoError(t, err)
	w.kit = off
	require.Equal(t, 500, ask("GET", "/", "").Code, "sessions are off")
}

// 100,000 revocations: how large the list is, how long it takes to make, and to take.
func BenchmarkList(b *testing.B) {
	w := newWorld(b)
	const n = 100_000
	for range n {
		s := authkit.NewUserID()
		at := time.Now()
		err := w.store.CreateSession(b.Context(), authkit.StoredSession{Session: authkit.Session{
			ID: s, UserID: s, CreatedAt: at, LastUsedAt: at, ExpiresAt: at.Add(time.Hour), AbsoluteExpiresAt: at.Add(time.Hour),
		}}, 50)
		require.NoError(b, err)
		_, err = w.store.RevokeSession(b.Context(), s, s, at)
		require.NoError(b, err)
	}
	ask := func(b *testing.B, h http.Handler, tag string) *httptest.ResponseRecorder {
		r, rec := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.Header.Set("If-None-Match", tag)
		h.ServeHTTP(rec, r)
		return rec
	}
	b.Run("make", func(b *testing.B) { // of an empty memory
		for b.Loop() {
			ask(b, revocation.Handler(w.kit), "")
		}
	})
	h := revocation.Handler(w.kit)
	rec := ask(b, h, "")
	for range 10 { // from here on there is a read a second
		ask(b, h, "")
	}
	b.Run("serve", func(b *testing.B) {
		for b.Loop() {
			ask(b, h, "")
		}
		b.ReportMetric(float64(rec.Body.Len()), "bytes")
		b.ReportMetric(float64(rec.Body.Len())/n, "bytes/entry")
	})
	tag := rec.Header().Get("ETag")
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // the least that a 304 can cost
		h := w.Header()
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("ETag", tag)
		w.WriteHeader(http.StatusNotModified)
	})
	b.Run("bare headers", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ask(b, bare, tag)
		}
	})
	b.Run("not modified", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if code := ask(b, h, tag).Code; code != 304 {
				b.Fatal(code)
			}
		}
	})
	whole := rec.Body.String()
	w.alter = func(r *response) { r.status, r.body = 200, whole }
	b.Run("apply", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			f := w.follower()
			b.StartTimer()
			require.NoError(b, f.Poll(b.Context()))
		}
	})
	f := w.follower()
	require.NoError(b, f.Poll(b.Context()))
	claims := w.login()
	b.Run("look up", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if revoked, err := f.Revoked(b.Context(), claims); revoked || err != nil {
				b.Fatal(revoked, err)
			}
		}
	})
}

// A 304 costs as much as its headers, however long the list is. Not parallel: it counts
// allocations.
func TestNotModifiedIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 1000 {
			at, id := time.Now(), authkit.NewUserID()
			require.NoError(t, w.store.CreateSession(t.Context(), authkit.StoredSession{Session: authkit.Session{
				ID: id, UserID: id, CreatedAt: at, LastUsedAt: at, ExpiresAt: at.Add(time.Hour), AbsoluteExpiresAt: at.Add(time.Hour),
			}}, 50))
			_, err := w.store.RevokeSession(t.Context(), id, id, at)
			require.NoError(t, err)
		}
		first := httptest.NewRecorder()
		w.feed.ServeHTTP(first, httptest.NewRequest("GET", "/", nil))
		tag := first.Header().Get("ETag")
		for range 10 { // use up the burst of reads; no time passes, so there is no other
			w.feed.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		}
		allocs := func(h http.Handler) float64 {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("If-None-Match", tag)
			return testing.AllocsPerRun(1000, func() {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				require.Equal(t, http.StatusNotModified, rec.Code)
			})
		}
		bare := allocs(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Cache-Control", "no-cache")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("ETag", tag)
			w.WriteHeader(http.StatusNotModified)
		}))
		require.LessOrEqual(t, allocs(w.feed), bare+1)
	})
}
