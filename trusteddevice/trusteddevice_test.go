package trusteddevice_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/trusteddevice"
)

const cookieName = "__Host-trusted-device"

// A factor accepts one code of every user who has it.
type factor struct{ users map[string]bool }

func (factor) Method() string { return "otp" }
func (f factor) Enrolled(_ context.Context, userID string) (bool, error) {
	return f.users[userID], nil
}
func (factor) Verify(_ context.Context, _, response string) error {
	if response != "1" {
		return authkit.ErrInvalidCode
	}
	return nil
}

// A site is a program under test, with one user who has a factor.
type site struct {
	*trusteddevice.Devices
	kit   *authkit.Kit
	user  authkit.User
	store trusteddevice.Store
	h     http.Handler
}

func newSite(t testing.TB, cfg trusteddevice.Config) *site {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = trusteddevice.NewMemoryStore()
	}
	s := &site{store: cfg.Store}
	var err error
	s.Devices, err = trusteddevice.New(cfg)
	require.NoError(t, err)
	f := factor{map[string]bool{}}
	s.kit = authkittest.NewKit(t, func(c *authkit.Config) {
		c.SecondFactors, c.TrustedDevices = []authkit.SecondFactor{f}, s.Devices
	})
	s.user = authkittest.User(t, s.kit, "user")
	f.users[s.user.ID] = true
	mux := s.kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), s.kit.TokenHandler())
	mux.HandleFunc("GET /strong", authkit.Authenticated().Using("mfa"), func(http.ResponseWriter, *http.Request) {})
	s.Mount(mux, s.kit, "/devices")
	s.h = s.Handler(mux)
	return s
}

// A client is a browser on a device.
type client struct {
	s      *site
	cookie string
	token  authkit.Token
}

func (c *client) do(method, target string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://example.com"+target, strings.NewReader(form.Encode()))
	r.Header.Set("User-Agent", "Firefox")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.token.AccessToken != "" && target != "/token" {
		r.Header.Set("Authorization", "Bearer "+c.token.AccessToken)
	}
	if c.cookie != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: c.cookie})
	}
	w := httptest.NewRecorder()
	c.s.h.ServeHTTP(w, r)
	for _, set := range w.Result().Cookies() {
		c.cookie = set.Value
	}
	return w
}

// logIn logs in with the password, and reports whether that was enough.
func (c *client) logIn(t testing.TB) bool {
	t.Helper()
	return c.logInAs(t, c.s.user, authkittest.Password)
}

func (c *client) logInAs(t testing.TB, u authkit.User, password string) bool {
	t.Helper()
	w := c.do("POST", "/token", url.Values{"username": {u.Email}, "password": {password}})
	if w.Code == http.StatusOK {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &c.token))
		return true
	}
	var p authkit.Problem
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	require.Equal(t, "mfa_required", p.Code, w.Body.String())
	w = c.do("POST", "/token", url.Values{"grant_type": {"mfa"}, "mfa_token": {p.MFAToken}, "mfa_method": {"otp"}, "mfa_response": {"1"}})
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &c.token))
	return false
}

// trusted returns a client on a device that the user trusts.
func (s *site) trusted(t testing.TB) *client {
	t.Helper()
	c := &client{s: s}
	require.False(t, c.logIn(t))
	require.Equal(t, http.StatusNoContent, c.do("POST", "/devices", nil).Code)
	return c
}

// MF-16: a trusted device skips the factor. Its session never counts as one with
// the factor, and cannot trust a device.
func TestTrustedDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t, trusteddevice.Config{})
	c := &client{s: s}
	require.False(t, c.logIn(t), "off until the user asks for it")
	require.Equal(t, http.StatusOK, c.do("GET", "/strong", nil).Code)
	w := c.do("POST", "/devices", nil)
	require.Equal(t, http.StatusNoContent, w.Code)
	set := w.Result().Cookies()[0]
	require.Equal(t, cookieName, set.Name)
	require.True(t, set.Secure && set.HttpOnly && set.SameSite == http.SameSiteLaxMode && set.Path == "/" && set.Domain == "")
	require.Equal(t, 30*24*60*60, set.MaxAge)

	require.True(t, c.logIn(t))
	p := principal(t, s.kit, c.token)
	require.Equal(t, []string{"pwd", authkit.MethodTrustedDevice}, p.Methods)
	require.Equal(t, http.StatusUnauthorized, c.do("GET", "/strong", nil).Code)
	require.Equal(t, http.StatusUnauthorized, c.do("POST", "/devices", nil).Code)
	ctx, _, err := s.kit.IdentifyToken(t.Context(), c.token.AccessToken)
	require.NoError(t, err)
	var stepUp *authkit.StepUpError
	err = s.kit.ChangeFactor(ctx, authkit.Event{Kind: authkit.EventFactorRemoved, UserID: s.user.ID, Method: "otp"}, nil)
	require.ErrorAs(t, err, &stepUp)

	// Without the password the cookie is nothing.
	w = c.do("POST", "/token", url.Values{"username": {s.user.Email}, "password": {"wrong"}})
	require.Equal(t, http.StatusUnauthorized, w.Code)
	other := authkittest.User(t, s.kit, "user")
	require.True(t, c.logInAs(t, other, authkittest.Password), "a user without a factor needs none")
}

func principal(t testing.TB, kit *authkit.Kit, token authkit.Token) authkit.Principal {
	t.Helper()
	_, p, err := kit.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	return p
}

// MF-16: what ends the trust, whether or not the rows can be removed.
func TestTrustEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, s *site, c *client){
		"after 30 days": func(*testing.T, *site, *client) { time.Sleep(30 * 24 * time.Hour) },
		"password set": func(t *testing.T, s *site, _ *client) {
			require.NoError(t, s.kit.SetPassword(t.Context(), s.user.ID, authkittest.Password))
		},
		"password changed": func(t *testing.T, s *site, c *client) {
			ctx, _, err := s.kit.IdentifyToken(t.Context(), c.token.AccessToken)
			require.NoError(t, err)
			require.NoError(t, s.kit.ChangePassword(ctx, s.user.ID, authkittest.Password, authkittest.Password))
		},
		"log out everywhere": func(t *testing.T, s *site, _ *client) {
			require.NoError(t, s.kit.LogoutEverywhere(t.Context(), s.user.ID))
		},
		"revoked": func(t *testing.T, s *site, c *client) {
			list, err := s.List(t.Context(), s.user.ID)
			require.NoError(t, err)
			require.Equal(t, http.StatusNoContent, c.do("DELETE", "/devices/"+list[0].ID, nil).Code)
		},
	} {
		for _, broken := range []bool{false, true} {
			if broken && name == "revoked" {
				continue
			}
			t.Run(fmt.Sprint(name, broken), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					store := &keepsDevices{MemoryStore: trusteddevice.NewMemoryStore()}
					s := newSite(t, trusteddevice.Config{Store: store})
					c := s.trusted(t)
					require.True(t, c.logIn(t))
					cookie := c.cookie
					store.broken = broken
					end(t, s, c)
					c.cookie = cookie
					require.False(t, c.logIn(t))
				})
			})
		}
	}
}

// A keepsDevices does not remove the devices of a user, as if another statement
// had put them back.
type keepsDevices struct {
	*trusteddevice.MemoryStore
	broken bool
}

func (s *keepsDevices) DeleteDevices(ctx context.Context, userID string) error {
	if s.broken {
		return nil
	}
	return s.MemoryStore.DeleteDevices(ctx, userID)
}

// MF-16: a change of a factor drops the devices in its transaction.
func TestFactorChangeDropsDevices(t *testing.T) {
	t.Parallel()
	s := newSite(t, trusteddevice.Config{})
	c := s.trusted(t)
	e := authkit.Event{Kind: authkit.EventFactorAdded, UserID: s.user.ID, Method: "otp"}
	failed := errors.New("failed")
	require.Equal(t, failed, s.kit.ChangeFactor(t.Context(), e, func(context.Context) error { return failed }))
	require.True(t, c.logIn(t), "rolled back")
	require.NoError(t, s.kit.ChangeFactor(t.Context(), e, func(context.Context) error { return nil }))
	require.Empty(t, devices(t, s))
	require.NoError(t, s.kit.ResetUser(t.Context(), s.user.ID))
}

// MF-07: a factor in another store stays as it is if the devices cannot be
// removed. A change that was made would not end the sessions.
func TestFactorChangeWithoutDevices(t *testing.T) {
	t.Parallel()
	store := &failing{MemoryStore: trusteddevice.NewMemoryStore(), err: errors.New("no connection")}
	s := newSite(t, trusteddevice.Config{Store: store})
	e := authkit.Event{Kind: authkit.EventFactorRemoved, UserID: s.user.ID, Method: "otp"}
	changed := false
	require.ErrorIs(t, s.kit.ChangeFactor(t.Context(), e, func(context.Context) error { changed = true; return nil }), authkit.ErrUnavailable)
	require.False(t, changed)
}

// MF-16: a request that was authenticated before the change trusts no device
// after it.
func TestFactorChangeWhileADeviceIsTrusted(t *testing.T) {
	t.Parallel()
	s := newSite(t, trusteddevice.Config{})
	c := &client{s: s}
	require.False(t, c.logIn(t))
	ctx, _, err := s.kit.IdentifyToken(t.Context(), c.token.AccessToken)
	require.NoError(t, err)
	e := authkit.Event{Kind: authkit.EventFactorAdded, UserID: s.user.ID, Method: "otp"}
	require.NoError(t, s.kit.ChangeFactor(t.Context(), e, func(context.Context) error { return nil }))
	w := httptest.NewRecorder()
	require.ErrorIs(t, s.Trust(w, httptest.NewRequest("POST", "/", nil).WithContext(ctx), s.kit), authkit.ErrConflict)
	require.Empty(t, w.Result().Cookies())
	require.Empty(t, devices(t, s))
}

func devices(t testing.TB, s *site) []trusteddevice.Device {
	t.Helper()
	list, err := s.List(t.Context(), s.user.ID)
	require.NoError(t, err)
	return list
}

// A cookie is accepted for its user only, and only unchanged.
func TestForgedCookies(t *testing.T) {
	t.Parallel()
	s := newSite(t, trusteddevice.Config{})
	c := s.trusted(t)
	good := c.cookie
	require.True(t, c.logIn(t))
	id, secret, _ := strings.Cut(good, ".")
	require.Len(t, secret, 43, "256 bits in base64url")
	for _, bad := range []string{"", ".", id, id + ".", "." + secret, id + "." + secret + "A", id + "." + strings.ToUpper(secret), secret + "." + id, good + strings.Repeat("x", 200)} {
		c.cookie = bad
		require.False(t, c.logIn(t), "%q", bad)
	}
	r := httptest.NewRequest("POST", "/", nil)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: good})
	r.AddCookie(&http.Cookie{Name: cookieName, Value: good})
	var trusted bool
	u, err := s.kit.Settings().Users.UserByID(t.Context(), s.user.ID)
	require.NoError(t, err)
	check := s.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		trusted, err = s.Trusted(r.Context(), u)
		require.NoError(t, err)
	}))
	check.ServeHTTP(httptest.NewRecorder(), r)
	require.False(t, trusted, "two cookies")
	r.Header.Set("Cookie", cookieName+"="+good)
	check.ServeHTTP(httptest.NewRecorder(), r)
	require.True(t, trusted)
	u.ID = "another"
	check.ServeHTTP(httptest.NewRecorder(), r)
	require.False(t, trusted)
}

// MF-12, MF-16: devices are listed and revoked; those of others are not found.
func TestListAndRevoke(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, trusteddevice.Config{Life: time.Hour})
		first := s.trusted(t)
		time.Sleep(time.Minute)
		second := s.trusted(t)
		w := second.do("GET", "/devices", nil)
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		var list []struct {
			trusteddevice.Device
			Current bool `json:"current"`
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &list))
		require.Len(t, list, 2)
		require.True(t, list[0].Current && !list[1].Current)
		require.Equal(t, "Firefox", list[0].Agent)
		require.Equal(t, time.Hour, list[0].ExpiresAt.Sub(list[0].CreatedAt))

		other := authkittest.User(t, s.kit, "user")
		stranger := &client{s: s, token: authkittest.LoginAs(t, s.kit, other)}
		for _, id := range []string{list[0].ID, "nothing"} {
			w := stranger.do("DELETE", "/devices/"+id, nil)
			require.Equal(t, http.StatusNotFound, w.Code)
		}
		require.JSONEq(t, "[]", stranger.do("GET", "/devices", nil).Body.String())
		require.Equal(t, http.StatusUnauthorized, (&client{s: s}).do("GET", "/devices", nil).Code)

		// A device that is trusted again replaces itself.
		require.False(t, (&client{s: s}).logIn(t))
		again := &client{s: s}
		require.False(t, again.logIn(t))
		again.cookie = second.cookie
		require.Equal(t, http.StatusNoContent, again.do("POST", "/devices", nil).Code)
		require.Len(t, devices(t, s), 2)
		require.False(t, second.logIn(t))
		require.True(t, first.logIn(t))
		export, err := s.kit.ExportUser(t.Context(), s.user.ID)
		require.NoError(t, err)
		require.Len(t, export["trusted_devices"], 2)
		none, err := s.Export(t.Context(), other.ID)
		require.NoError(t, err)
		require.True(t, none == nil, "not an empty list")

		time.Sleep(time.Hour)
		require.Empty(t, devices(t, s))
		require.False(t, first.logIn(t))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); cancel() }()
		require.ErrorIs(t, s.Run(ctx), context.Canceled)
		stored, err := s.store.Devices(t.Context(), s.user.ID)
		require.NoError(t, err)
		require.Empty(t, stored)
	})
}

// Only a recent login of the user with the factor trusts a device.
func TestWhoMayTrust(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, trusteddevice.Config{})
		c := &client{s: s}
		require.False(t, c.logIn(t))
		r := httptest.NewRequest("POST", "/", nil)
		require.ErrorIs(t, s.Trust(httptest.NewRecorder(), r, s.kit), authkit.ErrNoCredentials)
		require.ErrorIs(t, s.Trust(httptest.NewRecorder(), r.WithContext(authkit.WithSystem(t.Context(), "x")), s.kit), authkit.ErrNoCredentials)
		time.Sleep(5*time.Minute + time.Second)
		require.Equal(t, http.StatusUnauthorized, c.do("POST", "/devices", nil).Code)
		ctx, _, err := s.kit.IdentifyToken(t.Context(), c.token.AccessToken)
		require.NoError(t, err)
		var stepUp *authkit.StepUpError
		require.ErrorAs(t, s.Trust(httptest.NewRecorder(), r.WithContext(ctx), s.kit), &stepUp)
		require.Empty(t, devices(t, s))
	})
}

// within returns a context of a login on the device.
func (c *client) within(t testing.TB) (ctx context.Context) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: c.cookie})
	c.s.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() })).ServeHTTP(httptest.NewRecorder(), r)
	return ctx
}

// stored returns the account of the user as the store has it.
func (s *site) stored(t testing.TB) authkit.StoredUser {
	t.Helper()
	u, err := s.kit.Settings().Users.UserByID(t.Context(), s.user.ID)
	require.NoError(t, err)
	return u
}

// MF-16: a change of the configured life only shortens that of a device.
func TestLifeChanges(t *testing.T) {
	t.Parallel()
	for name, life := range map[string]struct{ before, after time.Duration }{"longer": {time.Hour, 2 * time.Hour}, "shorter": {2 * time.Hour, time.Hour}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, trusteddevice.Config{Life: life.before})
				ctx := s.trusted(t).within(t)
				after, err := trusteddevice.New(trusteddevice.Config{Life: life.after, Store: s.store})
				require.NoError(t, err)
				for _, want := range []bool{true, false} {
					trusted, err := after.Trusted(ctx, s.stored(t))
					require.NoError(t, err)
					require.Equal(t, want, trusted)
					list, err := after.List(t.Context(), s.user.ID)
					require.NoError(t, err)
					require.Equal(t, want, len(list) == 1)
					time.Sleep(time.Hour)
				}
			})
		})
	}
}

// A user has 20 devices. A further one replaces the oldest.
func TestManyDevices(t *testing.T) {
	t.Parallel()
	s := newSite(t, trusteddevice.Config{})
	c := &client{s: s}
	require.False(t, c.logIn(t))
	var ids []string
	for range 21 {
		c.cookie = ""
		require.Equal(t, http.StatusNoContent, c.do("POST", "/devices", nil).Code)
		id, _, _ := strings.Cut(c.cookie, ".")
		ids = append(ids, id)
	}
	require.Len(t, devices(t, s), 20)
	gone := 0
	for _, id := range ids {
		if c.do("DELETE", "/devices/"+id, nil).Code == http.StatusNotFound {
			gone++
		}
	}
	require.Equal(t, 1, gone, "the device that was replaced")
}

// An asked is a store that notes the IDs that it is asked for, or never answers.
type asked struct {
	*trusteddevice.MemoryStore
	ids   []string
	hangs bool
}

func (s *asked) Device(ctx context.Context, userID, id string) (trusteddevice.StoredDevice, error) {
	s.ids = append(s.ids, id)
	if s.hangs {
		<-ctx.Done()
	}
	return s.MemoryStore.Device(ctx, userID, id)
}

// The store is asked only for what can be a device, and has five seconds.
func TestStoreIsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &asked{MemoryStore: trusteddevice.NewMemoryStore()}
		s := newSite(t, trusteddevice.Config{Store: store})
		c := &client{s: s}
		for _, token := range []string{"", "no-dot", "a." + strings.Repeat("x", 127), "b." + strings.Repeat("x", 126), "c.x"} {
			c.cookie = token
			trusted, err := s.Trusted(c.within(t), s.stored(t))
			require.NoError(t, err)
			require.False(t, trusted)
		}
		require.Equal(t, []string{"b", "c"}, store.ids)
		store.hangs = true
		began := time.Now()
		trusted, err := s.Trusted(c.within(t), s.stored(t))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, trusted)
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}

// A device that was deleted with its account is not trusted by a request that
// was authenticated before.
func TestTrustOfADeletedUser(t *testing.T) {
	t.Parallel()
	s := newSite(t, trusteddevice.Config{})
	c := &client{s: s}
	require.False(t, c.logIn(t))
	ctx, _, err := s.kit.IdentifyToken(t.Context(), c.token.AccessToken)
	require.NoError(t, err)
	require.NoError(t, s.kit.DeleteUser(t.Context(), s.user.ID))
	w := httptest.NewRecorder()
	err = s.Trust(w, httptest.NewRequest("POST", "/", nil).WithContext(ctx), s.kit)
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
	require.NotErrorIs(t, err, authkit.ErrUnavailable, "no store has failed")
	require.Empty(t, w.Result().Cookies())
}

// A keepsDevice fails to remove one device.
type keepsDevice struct{ *trusteddevice.MemoryStore }

func (keepsDevice) DeleteDevice(context.Context, string, string) (bool, error) {
	return false, errors.New("no connection")
}

// The client gets no new token while the old one may be trusted still.
func TestReplacingFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, trusteddevice.Config{Store: keepsDevice{trusteddevice.NewMemoryStore()}})
	first := s.trusted(t)
	c := &client{s: s}
	require.False(t, c.logIn(t))
	c.cookie = first.cookie
	w := c.do("POST", "/devices", nil)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Empty(t, w.Result().Cookies())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	store := trusteddevice.NewMemoryStore()
	for _, within := range []context.Context{ctx, t.Context()} {
		deleted, err := store.DeleteDevice(within, "", "a")
		require.ErrorIs(t, err, within.Err())
		require.False(t, deleted)
	}
	_, err := s.List(ctx, s.user.ID)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, authkit.ErrUnavailable, "the client has left")
}

// A failing store is no factor that was skipped: the login fails.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	store := &failing{MemoryStore: trusteddevice.NewMemoryStore()}
	s := newSite(t, trusteddevice.Config{Store: store})
	c := s.trusted(t)
	store.err = errors.New("no connection")
	require.Equal(t, http.StatusServiceUnavailable, c.do("POST", "/token", url.Values{"username": {s.user.Email}, "password": {authkittest.Password}}).Code)
	require.Equal(t, http.StatusServiceUnavailable, c.do("GET", "/devices", nil).Code)
	require.Equal(t, http.StatusServiceUnavailable, c.do("DELETE", "/devices/x", nil).Code)
	require.Equal(t, http.StatusServiceUnavailable, c.do("POST", "/devices", nil).Code)
	require.ErrorIs(t, s.kit.LogoutEverywhere(t.Context(), s.user.ID), authkit.ErrUnavailable)
	require.ErrorIs(t, s.Run(t.Context()), store.err)
	store.err = nil
	require.True(t, c.logIn(t))
}

type failing struct {
	*trusteddevice.MemoryStore
	err error
}

func (s *failing) PutDevice(ctx context.Context, d trusteddevice.StoredDevice, limit int) error {
	return errors.Join(s.err, s.MemoryStore.PutDevice(ctx, d, limit))
}
func (s *failing) Device(ctx context.Context, userID, id string) (trusteddevice.StoredDevice, error) {
	d, err := s.MemoryStore.Device(ctx, userID, id)
	return d, errors.Join(s.err, err)
}
func (s *failing) Devices(ctx context.Context, userID string) ([]trusteddevice.Device, error) {
	d, err := s.MemoryStore.Devices(ctx, userID)
	return d, errors.Join(s.err, err)
}
func (s *failing) DeleteDevice(ctx context.Context, userID, id string) (bool, error) {
	ok, err := s.MemoryStore.DeleteDevice(ctx, userID, id)
	return ok, errors.Join(s.err, err)
}
func (s *failing) DeleteDevices(ctx context.Context, userID string) error {
	if s.err != nil {
		return s.err
	}
	return s.MemoryStore.DeleteDevices(ctx, userID)
}
func (s *failing) DeleteExpiredDevices(ctx context.Context, at time.Time, limit int) (int, error) {
	n, err := s.MemoryStore.DeleteExpiredDevices(ctx, at, limit)
	return n, errors.Join(s.err, err)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []trusteddevice.Config{
		{Life: -1}, {Life: 31 * 24 * time.Hour}, {Store: (*trusteddevice.MemoryStore)(nil)}, {Store: new(trusteddevice.MemoryStore)},
	} {
		_, err := trusteddevice.New(cfg)
		require.ErrorContains(t, err, "trusteddevice: Config.")
	}
	_, err := trusteddevice.New(trusteddevice.Config{Life: 30 * 24 * time.Hour})
	require.NoError(t, err)
	d, err := trusteddevice.New(trusteddevice.Config{})
	require.NoError(t, err)
	list, err := d.List(t.Context(), "ann")
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), TrustedDevices: d})
	require.ErrorContains(t, err, "TrustedDevices")
	hash := trusteddevice.StoredDevice{Device: trusteddevice.Device{ID: "a"}, Hash: [32]byte{'s', 'e', 'c'}}
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", hash, hash, hash, hash), "115")
}
