package authkit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/refresh"
)

// A surfer is a browser with one session cookie.
type surfer struct {
	h      http.Handler
	cookie string
	set    *http.Cookie // by the last response; nil if it set none
}

// newSite returns a Kit with session cookies, and a handler with pages:
//
//	/login, POST /logout   the form handlers
//	/me                    guarded; the response is the e-mail
//	/renew                 guarded; renews the cookie
//	/stream                guarded; the response is that of Identify within
func newSite(t testing.TB, change ...func(*authkit.Config)) (*authkit.Kit, http.Handler, authkit.User) {
	t.Helper()
	cookies := func(c *authkit.Config) { c.Sessions.Cookies = &authkit.SessionCookieConfig{LoginPath: "/login"} }
	kit, _, user := newSessionKit(t, append([]func(*authkit.Config){cookies}, change...)...)
	return kit, siteOf(kit), user
}

func siteOf(kit *authkit.Kit) http.Handler {
	mux := kit.NewMux()
	mux.Handle("/login", authkit.Public(), kit.FormLoginHandler(func(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) {
		w.Header().Set("Return", f.Return)
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Error))
	}))
	mux.Handle("/logout", authkit.Public(), kit.FormLogoutHandler())
	mux.Handle("/me", authkit.Authenticated(), whoami)
	mux.HandleFunc("/renew", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		if err := kit.RenewSessionCookie(w, r); err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
		}
	})
	mux.HandleFunc("/stream", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := kit.Identify(r); err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
		}
	})
	return mux
}

// do sends a request as a browser does that opens a page of the site. Headers are pairs; an
// empty value removes one.
func (s *surfer) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://example.com"+target, strings.NewReader(body))
	r.RequestURI = target // as a server sets it
	r.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	if body != "" {
		r.Header.Set("Content-Type", formType)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	if s.cookie != "" && r.Header.Get("Cookie") == "" {
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: s.cookie})
	}
	return s.send(r)
}

func (s *surfer) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	s.set = nil
	for _, c := range w.Result().Cookies() {
		if s.set, s.cookie = c, c.Value; c.MaxAge < 0 {
			s.cookie = ""
		}
	}
	return w
}

// logIn logs in with the form.
func (s *surfer) logIn(t testing.TB, fields ...string) {
	t.Helper()
	w := s.do("POST", "/login", form(append([]string{"username", email, "password", password}, fields...)...))
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body.String())
}

// status opens a page.
func (s *surfer) status(path string) int { return s.do("GET", path, "", "Accept", "*/*").Code }

// surf returns a browser that is logged in to a site.
func surf(t testing.TB, h http.Handler, fields ...string) *surfer {
	t.Helper()
	s := &surfer{h: h}
	s.logIn(t, fields...)
	return s
}

// MW-03, TR-06: the cookie opens guarded pages.
func TestSessionCookie(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fields []string
		prefix string
		maxAge int
	}{
		"ends with the browser": {nil, "aks_", 0},
		"is kept":               {[]string{"remember", "on"}, "akp_", 30 * 24 * 60 * 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				kit, h, user := newSite(t)
				s := surf(t, h, c.fields...)
				require.Equal(t, "__Host-session", s.set.Name)
				require.True(t, s.set.Secure && s.set.HttpOnly)
				require.Equal(t, http.SameSiteLaxMode, s.set.SameSite)
				require.Equal(t, "/", s.set.Path)
				require.Empty(t, s.set.Domain)
				require.Equal(t, c.maxAge, s.set.MaxAge)
				require.Less(t, len(s.set.Raw), 4096)
				require.True(t, strings.HasPrefix(s.cookie, c.prefix))

				w := s.do("GET", "/me", "")
				require.Equal(t, email, w.Body.String())
				require.Equal(t, "no-store", w.Header().Get("Cache-Control"), "the Back button shows it after a logout")
				require.Equal(t, 200, s.do("HEAD", "/me", "").Code)

				list, err := kit.Sessions(t.Context(), user.ID)
				require.NoError(t, err)
				require.Len(t, list, 1)
				r := httptest.NewRequest("GET", "/", nil)
				r.AddCookie(&http.Cookie{Name: "__Host-session", Value: s.cookie})
				_, p, err := kit.Identify(r)
				require.NoError(t, err)
				require.Equal(t, authkit.Person, p.Kind)
				require.Equal(t, "cookie", p.Credential)
				require.Equal(t, user.ID, p.UserID)
				require.Equal(t, list[0].ID, p.SessionID)
				require.Equal(t, []string{"user"}, p.Roles)
				require.Equal(t, []string{"pwd"}, p.Methods)
				require.True(t, p.AuthTime.Equal(time.Now()) && p.ExpiresAt.Equal(list[0].ExpiresAt))
			})
		})
	}
}

// MW-03: without the option no cookie opens anything.
func TestSessionCookiesAreOff(t *testing.T) {
	t.Parallel()
	_, h, _ := newSite(t)
	s := surf(t, h)
	kit, _, _ := newSessionKit(t)
	s.h = kit.Authenticate(whoami)
	problem(t, s.do("GET", "/me", ""), 401, "Not authenticated")
	token := begin(t, kit)
	for name, call := range map[string]func(){
		"SetSessionCookie": func() {
			_ = kit.SetSessionCookie(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), token, false)
		},
		"RenewSessionCookie": func() { _ = kit.RenewSessionCookie(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)) },
		"FormLogoutHandler":  func() { kit.FormLogoutHandler() },
		"FormLoginHandler":   func() { kit.FormLoginHandler(func(http.ResponseWriter, *http.Request, authkit.LoginForm) {}) },
	} {
		require.PanicsWithValue(t, "authkit: "+name+": session cookies are off; set Config.Sessions.Cookies", call)
	}
	without := newKit(t)
	require.PanicsWithValue(t, "authkit: FormLogoutHandler: session cookies are off; set Config.Sessions.Cookies", func() { without.FormLogoutHandler() })
}

// RF-01, MW-04: a token is good only in the form and for the purpose that it was
// issued, and alone.
func TestForgedSessionCookies(t *testing.T) {
	t.Parallel()
	kit, h, user := newSite(t)
	s := surf(t, h)
	kept := surf(t, h, "remember", "on")
	token := begin(t, kit)
	other := refresh.New()
	good := s.cookie
	flipped := []byte(good)
	flipped[30] ^= 1
	for name, forged := range map[string]string{
		"empty":                   "",
		"junk":                    "junk",
		"kept that was not":       "akp_" + good[4:],
		"not kept that was":       "aks_" + kept.cookie[4:],
		"refresh token":           token.RefreshToken,
		"refresh token renamed":   "aks_" + token.RefreshToken[4:],
		"refresh token kept":      "akp_" + token.RefreshToken[4:],
		"access token":            token.AccessToken,
		"session ID":              sessionID(t, token),
		"another session":         other.CookieText(false),
		"without a prefix":        good[4:],
		"shorter":                 good[:len(good)-1],
		"longer":                  good + "A",
		"prefix in upper case":    "AKS_" + good[4:],
		"one bit":                 string(flipped),
		"very long":               good + strings.Repeat("A", 100_000),
		"secret of another login": surf(t, h).cookie[:30] + good[30:],
	} {
		w := s.do("GET", "/me", "", "Accept", "*/*", "Cookie", "__Host-session="+forged)
		require.Equal(t, 401, w.Code, name)
	}
	for name, headers := range map[string][]string{
		"under another name":     {"Cookie", "session=" + good},
		"under a name in case":   {"Cookie", "__host-session=" + good},
		"as a bearer token":      {"Authorization", "Bearer " + good, "Cookie", "x=y"},
		"twice":                  {"Cookie", "__Host-session=" + good + "; __Host-session=" + good},
		"with an access token":   {"Authorization", "Bearer " + token.AccessToken, "Cookie", "__Host-session=" + good},
		"with a bad token":       {"Authorization", "Bearer bad", "Cookie", "__Host-session=" + good},
		"with an empty token":    {"Authorization", "Bearer ", "Cookie", "__Host-session=" + good},
		"bad, with a good token": {"Authorization", "Bearer " + token.AccessToken, "Cookie", "__Host-session=junk"},
	} {
		require.Equal(t, 401, s.do("GET", "/me", "", append([]string{"Accept", "*/*"}, headers...)...).Code, name)
	}
	require.Equal(t, 200, s.status("/me"), "nothing of this ends the session")
	require.Equal(t, 200, kept.status("/me"))

	// A cookie is no refresh token. A client that tries that has the cookie, and loses the session.
	_, err := kit.Refresh(t.Context(), good)
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	require.Equal(t, 200, s.status("/me"))
	_, err = kit.Refresh(t.Context(), "akr_"+good[4:])
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	require.Equal(t, 401, s.status("/me"))
	list, err := kit.Sessions(t.Context(), user.ID)
	require.NoError(t, err)
	require.Len(t, list, 3, "the sessions of others go on")
}

// RF-02; ASVS 5.0, 7.3.1 and 7.3.2: idle and absolute ends, to the nanosecond.
func TestSessionCookieLifetimes(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		config         authkit.SessionCookieConfig
		remember       string
		idle, absolute time.Duration
	}{
		"default":    {authkit.SessionCookieConfig{}, "", 2 * time.Hour, 12 * time.Hour},
		"configured": {authkit.SessionCookieConfig{IdleTimeout: 10 * time.Minute, AbsoluteTimeout: time.Hour}, "", 10 * time.Minute, time.Hour},
		"the same":   {authkit.SessionCookieConfig{IdleTimeout: time.Hour, AbsoluteTimeout: time.Hour}, "", time.Hour, time.Hour},
		"remembered": {authkit.SessionCookieConfig{IdleTimeout: 10 * time.Minute, AbsoluteTimeout: time.Hour}, "on", 7 * day, 30 * day},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				kit, h, _ := newSite(t, func(cfg *authkit.Config) { cfg.Sessions.Cookies = &c.config })
				idle := surf(t, h, "remember", c.remember)
				time.Sleep(c.idle - 1)
				require.Equal(t, 200, idle.status("/me"))
				if c.idle < c.absolute {
					time.Sleep(c.idle)
					require.Equal(t, 401, idle.status("/me"))
					require.Equal(t, 401, idle.status("/renew"))
				}

				time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // stores keep microseconds
				busy, begun := surf(t, h, "remember", c.remember), time.Now()
				for time.Since(begun)+c.idle/2 < c.absolute {
					time.Sleep(c.idle / 2)
					require.Equal(t, 200, busy.status("/renew"), "which moves no end")
				}
				time.Sleep(time.Until(begun.Add(c.absolute)) - 1)
				require.Equal(t, 200, busy.status("/me"))
				require.Equal(t, 200, busy.status("/renew"))
				time.Sleep(time.Nanosecond)
				require.Equal(t, 401, busy.status("/me"))
				r := httptest.NewRequest("GET", "/", nil)
				r.AddCookie(&http.Cookie{Name: "__Host-session", Value: busy.cookie})
				_, _, err := kit.Identify(r)
				require.ErrorIs(t, err, authkit.ErrTokenExpired)
			})
		})
	}
}

// A request is noted once a minute. A stream that looks at its session again is no sign of a
// user (ASVS 7.3.1).
func TestSessionCookieTouch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
		rotations := 0
		store.before = func(name string, _ int) error {
			if name == "RotateSession" {
				rotations++
			}
			return nil
		}
		kit, h, user := newSite(t, store.listen)
		s := surf(t, h)
		rotations = 0
		for range 59 {
			time.Sleep(time.Second)
			require.Equal(t, 200, s.status("/me"))
		}
		require.Zero(t, rotations)
		time.Sleep(time.Second)
		require.Equal(t, 200, s.status("/stream"))
		require.Equal(t, 1, rotations, "the guard notes it, and not the handler")
		require.Equal(t, 200, s.status("/me"))
		require.Equal(t, 1, rotations)
		list, err := kit.Sessions(t.Context(), user.ID)
		require.NoError(t, err)
		require.True(t, list[0].LastUsedAt.Equal(time.Now()))
		require.True(t, list[0].ExpiresAt.Equal(time.Now().Add(2*time.Hour)))
		require.Equal(t, "192.0.2.1", list[0].Address)

		// One request that goes on for hours.
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: s.cookie})
		seen := time.Duration(0)
		begun := time.Now()
		kit.Authenticate(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			for {
				time.Sleep(10 * time.Second)
				if _, _, err := kit.Identify(r); err != nil {
					require.ErrorIs(t, err, authkit.ErrTokenExpired)
					seen = time.Since(begun)
					return
				}
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, 2*time.Hour, seen)
	})
}

// RF-07: every request reads the account and the session.
func TestSessionCookieReadsTheAccount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(kit *authkit.Kit, id string) error
		status int
	}{
		"disabled": {func(kit *authkit.Kit, id string) error { return kit.DisableUser(context.Background(), id) }, 401},
		"deleted":  {func(kit *authkit.Kit, id string) error { return kit.DeleteUser(context.Background(), id) }, 401},
		"password": {func(kit *authkit.Kit, id string) error {
			return kit.SetPassword(context.Background(), id, "another good one")
		}, 401},
		"everywhere": {func(kit *authkit.Kit, id string) error { return kit.LogoutEverywhere(context.Background(), id) }, 401},
		"that one": {func(kit *authkit.Kit, id string) error {
			list, err := kit.Sessions(context.Background(), id)
			return errors.Join(err, kit.Logout(context.Background(), id, list[0].ID))
		}, 401},
		"role taken away": {func(kit *authkit.Kit, id string) error {
			_, err := kit.RemoveRole(context.Background(), id, "user")
			return err
		}, 403},
		"locked, and prolonged no more": {func(kit *authkit.Kit, id string) error {
			_, err := kit.LockUser(context.Background(), id, time.Now().Add(24*time.Hour))
			return err
		}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				kit, _, user := newSite(t)
				s := surf(t, siteOf(kit))
				s.h = kit.RequireRoles("user")(whoami)
				require.Equal(t, 200, s.status("/"))
				require.NoError(t, c.change(kit, user.ID))
				require.Equal(t, c.status, s.status("/"))
				if c.status == 200 {
					for range 119 {
						time.Sleep(time.Minute)
						require.Equal(t, 200, s.status("/"))
					}
					time.Sleep(time.Minute)
					require.Equal(t, 401, s.status("/"))
				}
			})
		})
	}

	// Even where the session is still there.
	kit, store, user := newSessionKit(t, func(c *authkit.Config) { c.Sessions.Cookies = &authkit.SessionCookieConfig{} })
	s := surf(t, siteOf(kit))
	_, err := store.UpdateUser(t.Context(), user.ID, authkit.UserUpdate{Disabled: new(true)}, time.Now())
	require.NoError(t, err)
	problem(t, s.do("GET", "/me", ""), 400, "Inactive user")
	_, err = store.UpdateUser(t.Context(), user.ID, authkit.UserUpdate{Disabled: new(false), TokensValidAfter: new(time.Now().Add(time.Minute))}, time.Now())
	require.NoError(t, err)
	problem(t, s.do("GET", "/me", ""), 401, "Could not validate credentials")
	require.NoError(t, store.DeleteUser(t.Context(), user.ID, ""))
	problem(t, s.do("GET", "/me", ""), 401, "Could not validate credentials")
}

// RF-09: a change of rights or of the password replaces the token. The old one is good for ten
// seconds, for requests that are under way.
func TestRenewSessionCookie(t *testing.T) {
	t.Parallel()
	for _, remember := range []string{"", "on"} {
		synctest.Test(t, func(t *testing.T) {
			kit, h, user := newSite(t)
			s := surf(t, h, "remember", remember)
			time.Sleep(time.Hour)
			old, maxAge := *s, s.set.MaxAge
			require.Equal(t, 200, s.status("/renew"))
			require.NotEqual(t, old.cookie, s.cookie)
			require.Equal(t, old.cookie[:25], s.cookie[:25], "the same session")
			if remember == "on" {
				maxAge -= 3600 // the end never moves
			}
			require.Equal(t, maxAge, s.set.MaxAge)
			require.True(t, s.set.Secure && s.set.HttpOnly)

			require.Equal(t, 200, old.status("/me"))
			again := old
			problem(t, again.do("GET", "/renew", ""), 400, "The refresh token is not valid")
			require.Nil(t, again.set, "a loser leaves the cookie alone (RF-12)")
			time.Sleep(10 * time.Second)
			require.Equal(t, 200, old.status("/me"))
			time.Sleep(time.Microsecond)
			require.Equal(t, 401, old.status("/me"))
			require.Equal(t, 200, s.status("/me"))
			list, err := kit.Sessions(t.Context(), user.ID)
			require.NoError(t, err)
			require.Len(t, list, 1)
		})
	}
}

// One of many wins, and the requests beside them, which note the use, stay logged in.
func TestRenewSessionCookieRace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, h, _ := newSite(t)
		s := surf(t, h)
		time.Sleep(2 * time.Minute)
		var mu sync.Mutex
		var winners []surfer
		var done sync.WaitGroup
		for i := range 64 {
			done.Go(func() {
				tab := *s
				path := []string{"/renew", "/me"}[i%2]
				w := tab.do("GET", path, "", "Accept", "*/*")
				mu.Lock()
				defer mu.Unlock()
				if path == "/me" {
					require.Equal(t, 200, w.Code)
				} else if tab.set != nil {
					winners = append(winners, tab)
				}
			})
		}
		done.Wait()
		require.Len(t, winners, 1)
		time.Sleep(time.Minute)
		require.Equal(t, 200, winners[0].status("/me"))
		require.Equal(t, 401, s.status("/me"))
	})
}

func TestCookieConfigFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cookies authkit.SessionCookieConfig
		fault   string
	}{
		"just too short":   {authkit.SessionCookieConfig{IdleTimeout: 2*time.Minute - 1}, "Sessions.Cookies.IdleTimeout"},
		"hardly too short": {authkit.SessionCookieConfig{AbsoluteTimeout: 2*time.Minute - 1, IdleTimeout: 2*time.Minute - 1}, "Sessions.Cookies.AbsoluteTimeout"},
		"short":            {authkit.SessionCookieConfig{IdleTimeout: time.Minute}, "Sessions.Cookies.IdleTimeout"},
		"negative":         {authkit.SessionCookieConfig{AbsoluteTimeout: -time.Hour}, "Sessions.Cookies.AbsoluteTimeout"},
		"idle too long":    {authkit.SessionCookieConfig{IdleTimeout: 13 * time.Hour}, "Sessions.Cookies.IdleTimeout"},
		"too long":         {authkit.SessionCookieConfig{AbsoluteTimeout: 31 * 24 * time.Hour}, "Sessions.Cookies.AbsoluteTimeout"},
		"no path":          {authkit.SessionCookieConfig{LoginPath: "login"}, "Sessions.Cookies.LoginPath"},
		"another site":     {authkit.SessionCookieConfig{LoginPath: "https://example.com/login"}, "Sessions.Cookies.LoginPath"},
		"two slashes":      {authkit.SessionCookieConfig{LoginPath: "//login"}, "Sessions.Cookies.LoginPath"},
		"query":            {authkit.SessionCookieConfig{LoginPath: "/login?a=b"}, "Sessions.Cookies.LoginPath"},
		"fragment":         {authkit.SessionCookieConfig{LoginPath: "/#login"}, "Sessions.Cookies.LoginPath"},
		"line":             {authkit.SessionCookieConfig{LoginPath: "/login\r\nX: y"}, "Sessions.Cookies.LoginPath"},
		"origin":           {authkit.SessionCookieConfig{TrustedOrigins: []string{"example.com"}}, "Sessions.Cookies.TrustedOrigins"},
		"origin and path":  {authkit.SessionCookieConfig{TrustedOrigins: []string{"https://example.com/"}}, "Sessions.Cookies.TrustedOrigins"},
	} {
		store := authkit.NewMemoryStore()
		_, err := authkit.New(authkit.Config{
			Secret: []byte(testSecret), Passwords: authkit.PasswordConfig{Hasher: quickHasher()},
			Users: store, Sessions: authkit.SessionConfig{Store: store, Cookies: &c.cookies},
		})
		require.ErrorContains(t, err, c.fault, name)
	}
	_, err := authkit.New(authkit.Config{
		Secret: []byte(testSecret), Passwords: authkit.PasswordConfig{Hasher: quickHasher()},
		Sessions: authkit.SessionConfig{Cookies: &authkit.SessionCookieConfig{}},
	})
	require.ErrorContains(t, err, "Sessions.Store")

	// Where sessions are shorter than the defaults of cookies, so are cookies.
	newSite(t, func(c *authkit.Config) { c.Sessions.AbsoluteTimeout, c.Tokens.Lifetime = time.Hour, time.Minute })
}
