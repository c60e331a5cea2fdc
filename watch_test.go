package authkit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A stream is a request whose handler watches its credential until that ends.
type stream struct {
	opened  time.Time
	ended   time.Time
	status  int
	cause   error
	done    chan struct{}
	hangUp  context.CancelFunc
	handler func(http.ResponseWriter, *http.Request) // called beside the watch, if not nil
}

// watchRoute returns a handler whose only route watches, and the stream that it reports to.
func watchRoute(kit *authkit.Kit, p authkit.Policy, s *stream) http.Handler {
	mux := kit.NewMux()
	mux.HandleFunc("GET /stream", p, func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := kit.Watch(r.Context(), p, 0)
		defer stop()
		if s.handler != nil {
			s.handler(w, r)
		}
		<-ctx.Done()
		s.cause, s.ended = context.Cause(ctx), time.Now()
	})
	return mux
}

// open sends the request of a stream. The header authenticates it.
func open(t *testing.T, h http.Handler, s *stream, header, value string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "GET", "https://example.com/stream", nil)
	r.Header.Set(header, value)
	s.opened, s.done, s.hangUp = time.Now(), make(chan struct{}), cancel
	go func() {
		defer close(s.done)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		s.status = w.Code
	}()
	synctest.Wait()
	if !s.running() {
		t.Fatalf("the stream was refused: %d", s.status)
	}
}

// lasted returns how long a stream lasted that has ended.
func (s *stream) lasted() time.Duration { return s.ended.Sub(s.opened) }

func (s *stream) running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// A stream ends within an interval after its credential does, and says why; for access tokens
// and for session cookies.
func TestWatch(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, c := range map[string]struct {
		policy authkit.Policy
		end    func(t *testing.T, kit *authkit.Kit, store *authkit.MemoryStore, u authkit.User, session string)
		want   error
	}{
		"logout": {authkit.Authenticated(), func(t *testing.T, kit *authkit.Kit, _ *authkit.MemoryStore, u authkit.User, session string) {
			require.NoError(t, kit.Logout(ctx, u.ID, session))
		}, authkit.ErrInvalidToken},
		"logout everywhere": {authkit.Authenticated(), func(t *testing.T, kit *authkit.Kit, _ *authkit.MemoryStore, u authkit.User, _ string) {
			require.NoError(t, kit.LogoutEverywhere(ctx, u.ID))
		}, authkit.ErrInvalidToken},
		"password change": {authkit.Authenticated(), func(t *testing.T, kit *authkit.Kit, _ *authkit.MemoryStore, u authkit.User, _ string) {
			require.NoError(t, kit.SetPassword(ctx, u.ID, "another long password"))
		}, authkit.ErrInvalidToken},
		"account disabled": {authkit.Authenticated(), func(t *testing.T, _ *authkit.Kit, store *authkit.MemoryStore, u authkit.User, _ string) {
			disabled := true // and the sessions are still there
			_, err := store.UpdateUser(ctx, u.ID, authkit.UserUpdate{Disabled: &disabled}, time.Now())
			require.NoError(t, err)
		}, authkit.ErrUserDisabled},
		"account deleted": {authkit.Authenticated(), func(t *testing.T, _ *authkit.Kit, store *authkit.MemoryStore, u authkit.User, _ string) {
			require.NoError(t, store.DeleteUser(ctx, u.ID, ""))
		}, authkit.ErrInvalidToken},
		"role removed": {authkit.Roles("user"), func(t *testing.T, kit *authkit.Kit, _ *authkit.MemoryStore, u authkit.User, _ string) {
			_, err := kit.RemoveRole(ctx, u.ID, "user")
			require.NoError(t, err)
		}, authkit.ErrForbidden},
		"client gone": {authkit.Authenticated(), nil, context.Canceled},
	} {
		for _, credential := range []string{"token", "cookie"} {
			t.Run(name+"/"+credential, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					store := authkit.NewMemoryStore()
					kit, h, u := newSite(t, withSessions(store), func(c *authkit.Config) { c.Sessions.Cookies = &authkit.SessionCookieConfig{} })
					var header, value string
					if credential == "token" {
						header, value = "Authorization", "Bearer "+begin(t, kit).AccessToken
					} else {
						header, value = "Cookie", "__Host-session="+surf(t, h).cookie
					}
					sessions, err := kit.Sessions(ctx, u.ID)
					require.NoError(t, err)
					require.Len(t, sessions, 1)
					s := new(stream)
					open(t, watchRoute(kit, c.policy, s), s, header, value)

					time.Sleep(10 * time.Minute) // the token and the session are good for longer
					synctest.Wait()
					require.True(t, s.running())
					s.opened = time.Now()
					if c.end == nil {
						s.hangUp()
					} else {
						c.end(t, kit, store, u, sessions[0].ID)
					}
					<-s.done
					require.ErrorIs(t, s.cause, c.want)
					require.LessOrEqual(t, s.lasted(), 30*time.Second)
				})
			})
		}
	}
}

// An access token ends its stream when it expires, to the second at which a guard refuses it.
func TestWatchTokenExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, _, _ := newSessionKit(t)
		token := begin(t, kit)
		s := new(stream)
		open(t, watchRoute(kit, authkit.Authenticated(), s), s, "Authorization", "Bearer "+token.AccessToken)
		<-s.done
		require.ErrorIs(t, s.cause, authkit.ErrTokenExpired)
		require.Equal(t, time.Duration(token.ExpiresIn)*time.Second+30*time.Second, s.lasted(), "with the leeway")
	})
}

// A stream is no use of its session: it ends when the session does for lack of requests. It
// goes on while other requests prolong the session, and until that is over.
func TestWatchCookieExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, h, _ := newSite(t)
		browser := surf(t, h)
		s := new(stream)
		open(t, watchRoute(kit, authkit.Authenticated(), s), s, "Cookie", "__Host-session="+browser.cookie)
		<-s.done
		require.ErrorIs(t, s.cause, authkit.ErrTokenExpired)
		require.Equal(t, 2*time.Hour, s.lasted())

		browser = surf(t, h)
		open(t, watchRoute(kit, authkit.Authenticated(), s), s, "Cookie", "__Host-session="+browser.cookie)
		for s.running() {
			browser.status("/me")
			time.Sleep(time.Hour)
			synctest.Wait()
		}
		require.ErrorIs(t, s.cause, authkit.ErrTokenExpired)
		require.Equal(t, 12*time.Hour, s.lasted())
	})
}

// A cookie that was replaced ends the streams that it has opened: an attacker with the old
// cookie keeps none.
func TestWatchCookieReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, h, _ := newSite(t)
		browser, s := surf(t, h), new(stream)
		open(t, watchRoute(kit, authkit.Authenticated(), s), s, "Cookie", "__Host-session="+browser.cookie)
		require.Equal(t, 200, browser.status("/renew"))
		<-s.done
		require.ErrorIs(t, s.cause, authkit.ErrInvalidToken)
		require.LessOrEqual(t, s.lasted(), time.Minute)
	})
}

// A store that fails does not end a stream at once. One that goes on failing does.
func TestWatchStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookStore()
		find := store.byID
		var failing, checks atomic.Int64
		store.byID = func(ctx context.Context, id string) (authkit.StoredUser, error) {
			checks.Add(1)
			if failing.Load() > 0 {
				failing.Add(-1)
				return authkit.StoredUser{}, errors.New("no connection")
			}
			return find(ctx, id)
		}
		kit := newKit(t, store.listen)
		addUser(t, kit, email, password)
		s := new(stream)
		open(t, watchRoute(kit, authkit.Authenticated(), s), s, "Authorization", "Bearer "+login(t, kit, email, password))
		for range 3 {
			failing.Store(2)
			time.Sleep(2 * time.Minute) // two checks fail, and one succeeds
			synctest.Wait()
			require.True(t, s.running())
			require.Zero(t, failing.Load())
		}
		failing.Store(3)
		checks.Store(0)
		<-s.done
		require.ErrorIs(t, s.cause, authkit.ErrUnavailable)
		require.EqualValues(t, 3, checks.Load())
	})
}

// Checks come at the interval that is set, up to a tenth earlier, and at most once a second.
func TestWatchInterval(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ interval, least, most time.Duration }{
		{0, 27 * time.Second, 30 * time.Second},
		{5 * time.Minute, 270 * time.Second, 300 * time.Second},
		{time.Nanosecond, 900 * time.Millisecond, time.Second},
		{-time.Minute, 900 * time.Millisecond, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := newHookStore()
			kit := newKit(t, store.listen)
			addUser(t, kit, email, password)
			ctx, _, err := kit.IdentifyToken(t.Context(), login(t, kit, email, password))
			require.NoError(t, err)
			find, last := store.byID, time.Now()
			var waits []time.Duration
			store.byID = func(ctx context.Context, id string) (authkit.StoredUser, error) {
				waits, last = append(waits, time.Since(last)), time.Now()
				return find(ctx, id)
			}
			_, stop := kit.Watch(ctx, authkit.Authenticated(), c.interval)
			time.Sleep(3*c.most + time.Millisecond)
			stop()
			require.GreaterOrEqual(t, len(waits), 3)
			for _, wait := range waits {
				require.GreaterOrEqual(t, wait, c.least)
				require.LessOrEqual(t, wait, c.most)
			}
			before := len(waits)
			time.Sleep(2 * c.most)
			require.Len(t, waits, before, "a check after stop")
		})
	}
}

// A handler may change the header of its request, which is read again by the checks.
func TestWatchHeaderChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, h, _ := newSite(t)
		browser, s := surf(t, h), new(stream)
		s.handler = func(_ http.ResponseWriter, r *http.Request) {
			r.Header.Del("Cookie")
			for range 100 {
				r.Header.Set("X", time.Now().String())
				time.Sleep(10 * time.Second)
			}
		}
		open(t, watchRoute(kit, authkit.Authenticated(), s), s, "Cookie", "__Host-session="+browser.cookie)
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		require.True(t, s.running())
		s.hangUp()
		<-s.done
		require.ErrorIs(t, s.cause, context.Canceled)
	})
}

// A context without a principal of the guard is not watched, but cancelled.
func TestWatchNobody(t *testing.T) {
	t.Parallel()
	kit, other := newKit(t), newKit(t)
	addUser(t, other, email, password)
	foreign, _, err := other.IdentifyToken(t.Context(), login(t, other, email, password))
	require.NoError(t, err)
	for name, ctx := range map[string]context.Context{
		"nobody": t.Context(), "of another Kit": foreign, "the system": authkit.WithSystem(t.Context(), "import"),
	} {
		watched, stop := kit.Watch(ctx, authkit.Authenticated(), 0)
		require.ErrorIs(t, watched.Err(), context.Canceled, name)
		require.ErrorIs(t, context.Cause(watched), authkit.ErrNoCredentials, name)
		stop()
	}
}

// A Guard without accounts ends a stream when the token is revoked. The zero Policy admits
// no one.
func TestWatchGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, _, _ := newSessionKit(t)
		var revoked atomic.Bool
		guard := newGuard(t, func(c *authkit.GuardConfig) {
			c.Tokens = authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}}
			c.Revoked = func(context.Context, authkit.Claims) (bool, error) { return revoked.Load(), nil }
		})
		ctx, _, err := guard.IdentifyToken(t.Context(), begin(t, kit).AccessToken)
		require.NoError(t, err)
		watched, stop := guard.Watch(ctx, authkit.Authenticated(), time.Minute)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.NoError(t, watched.Err())
		revoked.Store(true)
		<-watched.Done()
		require.ErrorIs(t, context.Cause(watched), authkit.ErrInvalidToken)
		stop()

		revoked.Store(false)
		watched, stop = guard.Watch(ctx, authkit.Policy{}, time.Minute)
		<-watched.Done()
		require.ErrorIs(t, context.Cause(watched), authkit.ErrForbidden)
		stop()

		// The token of a service, without a request.
		issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{tokKeyOf(testSecret)}})
		require.NoError(t, err)
		token, err := issuer.Issue(authkit.Claims{Subject: "job", ClientID: "job"})
		require.NoError(t, err)
		ctx, _, err = guard.IdentifyToken(t.Context(), token)
		require.NoError(t, err)
		watched, stop = guard.Watch(ctx, authkit.Authenticated().OrMachines(), time.Minute)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.NoError(t, watched.Err())
		revoked.Store(true)
		<-watched.Done()
		require.ErrorIs(t, context.Cause(watched), authkit.ErrInvalidToken)
		stop()
	})
}

// A credential that becomes that of another user does not keep the stream.
func TestWatchOtherUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := new(keys)
		kit := newKit(t, func(c *authkit.Config) { c.Authenticators = []authkit.Authenticator{key} })
		first, second := addUser(t, kit, email, password), addUser(t, kit, "other@example.com", password)
		for _, change := range []func(){func() { key.set(second.ID, "") }, func() { key.set(first.ID, "another") }} {
			key.set(first.ID, "")
			ctx, _, err := kit.Identify(httptest.NewRequest("GET", "/", nil))
			require.NoError(t, err)
			watched, stop := kit.Watch(ctx, authkit.Authenticated(), 0)
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			require.NoError(t, watched.Err())
			change()
			<-watched.Done()
			require.ErrorIs(t, context.Cause(watched), authkit.ErrInvalidToken)
			stop()
		}
	})
}

// A condition of the route is checked again with the request. A token that came without one cannot
// meet it.
func TestWatchCondition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, _, _ := newSessionKit(t)
		token := begin(t, kit).AccessToken
		var gone, other atomic.Bool
		p := authkit.Authenticated().And("member", func(r *http.Request) (context.Context, error) {
			who, _ := authkit.PrincipalFrom(r.Context())
			if r.URL.Path != "/stream" || who.UserID == "" || r.Body != nil && r.Body != http.NoBody {
				other.Store(true)
			}
			if gone.Load() {
				return nil, authkit.ErrNotFound
			}
			return r.Context(), nil
		})
		s := new(stream)
		open(t, watchRoute(kit, p, s), s, "Authorization", "Bearer "+token)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.True(t, s.running())
		require.False(t, other.Load(), "another request")
		gone.Store(true)
		<-s.done
		require.ErrorIs(t, s.cause, authkit.ErrNotFound)
		require.LessOrEqual(t, s.lasted(), 6*time.Minute)

		gone.Store(false)
		ctx, _, err := kit.IdentifyToken(t.Context(), token)
		require.NoError(t, err)
		watched, stop := kit.Watch(ctx, p, 0)
		<-watched.Done()
		require.ErrorIs(t, context.Cause(watched), authkit.ErrForbidden)
		stop()

		// The body of the request is the handler's.
		r := httptest.NewRequest("POST", "/stream", strings.NewReader("the body"))
		r.Header.Set("Authorization", "Bearer "+token)
		ctx, _, err = kit.Identify(r)
		require.NoError(t, err)
		var seen []byte
		watched, stop = kit.Watch(ctx, authkit.Authenticated().And("reader", func(r *http.Request) (context.Context, error) {
			seen, err = io.ReadAll(r.Body)
			return nil, authkit.ErrNotFound
		}), 0)
		<-watched.Done()
		stop()
		require.NoError(t, err)
		require.Empty(t, seen)
	})
}

// keys is an Authenticator whose credentials change.
type keys struct {
	mu            sync.Mutex
	user, session string
}

func (k *keys) set(user, session string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.user, k.session = user, session
}

func (*keys) Challenge() string { return "" }

func (k *keys) Authenticate(*http.Request) (authkit.Credential, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return authkit.Credential{Kind: "key", UserID: k.user, SessionID: k.session}, nil
}

// The function stop waits for a check that is running.
func TestWatchStopWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookStore()
		find := store.byID
		kit := newKit(t, store.listen)
		addUser(t, kit, email, password)
		ctx, _, err := kit.IdentifyToken(t.Context(), login(t, kit, email, password))
		require.NoError(t, err)
		running := false
		store.byID = func(ctx context.Context, id string) (authkit.StoredUser, error) {
			running = true
			<-ctx.Done()
			time.Sleep(time.Second) // a store that takes its time to give up
			running = false
			return find(ctx, id)
		}
		watched, stop := kit.Watch(ctx, authkit.Authenticated(), 0)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		require.True(t, running)
		stop()
		require.False(t, running)
		require.ErrorIs(t, context.Cause(watched), context.Canceled)
	})
}
