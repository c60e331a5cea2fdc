package oidclogin_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
)

var errDisk = errors.New("no disk")

// A failing is a store of identities, and one of accounts and tickets, of which
// some calls fail.
type failing struct {
	oidclogin.Store
	*authkit.MemoryStore
	fails    map[string]bool                       // by the name of the call, or the kind of the ticket
	consumed error                                 // of ConsumeTicket
	tokens   error                                 // of SetTokens
	byEmail  func(authkit.StoredUser) func() error // what happens after a look-up
	lookups  int
	body     func([]byte) []byte // changes the body of each ticket
}

func (s *failing) fail(call string) error {
	if s.fails[call] {
		return errDisk
	}
	return nil
}

func (s *failing) IdentitiesByUser(ctx context.Context, userID string) ([]oidclogin.Identity, error) {
	if err := s.fail("IdentitiesByUser"); err != nil {
		return nil, err
	}
	return s.Store.IdentitiesByUser(ctx, userID)
}

func (s *failing) SetTokens(ctx context.Context, userID, id string, tokens []byte) error {
	if s.tokens != nil {
		return s.tokens
	}
	return errors.Join(s.fail("SetTokens"), s.Store.SetTokens(ctx, userID, id, tokens))
}

func (s *failing) DeleteIdentity(ctx context.Context, userID, id string) error {
	if err := s.fail("DeleteIdentity"); err != nil {
		return err
	}
	return s.Store.DeleteIdentity(ctx, userID, id)
}

func (s *failing) PutTicket(ctx context.Context, t authkit.Ticket) error {
	if err := s.fail(t.Kind); err != nil {
		return err
	}
	return s.MemoryStore.PutTicket(ctx, t)
}

func (s *failing) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	if err := s.fail("attempt " + kind); err != nil {
		return authkit.Ticket{}, err
	}
	t, err := s.MemoryStore.AttemptTicket(ctx, kind, id, at)
	if err == nil && s.body != nil {
		t.Body = s.body(t.Body)
	}
	return t, err
}

func (s *failing) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	if s.consumed != nil {
		return s.consumed
	}
	return s.MemoryStore.ConsumeTicket(ctx, kind, id, at)
}

func (s *failing) UpdateUser(ctx context.Context, id string, u authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if err := s.fail("UpdateUser"); err != nil {
		return authkit.User{}, err
	}
	return s.MemoryStore.UpdateUser(ctx, id, u, at)
}

func (s *failing) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	u, err := s.MemoryStore.UserByEmail(ctx, email)
	if s.lookups++; err == nil && s.byEmail != nil {
		after := s.byEmail(u)
		s.byEmail = nil // once
		err = after()
	}
	return u, err
}

// newFailing returns an app whose stores can fail, and its provider.
func newFailing(t *testing.T, trust oidclogin.EmailTrust, changes ...func(*authkit.Config, *oidclogin.Config)) (*app, *hostile, *failing) {
	s := &failing{MemoryStore: authkit.NewMemoryStore(), fails: map[string]bool{}}
	a, h := quiet(t, trust, append([]func(*authkit.Config, *oidclogin.Config){func(kc *authkit.Config, oc *oidclogin.Config) {
		s.Store = oc.Store
		oc.Store, kc.UserData = s, []authkit.UserData{oidclogin.UserData(s)}
		kc.Users, kc.Sessions.Store = s, s.MemoryStore
	}}, changes...)...)
	return a, h, s
}

// Whatever store fails, the response is 503 and an event, and no page claims that
// something has happened.
func TestStoresFail(t *testing.T) {
	t.Parallel()
	a, h, s := newFailing(t, oidclogin.EmailVerified, withMailer, func(_ *authkit.Config, oc *oidclogin.Config) {
		oc.Providers[0].KeepTokens, oc.Keys = true, [][]byte{[]byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352")}
	})
	c := a.browser()
	u := c.requireUser(c.login())
	a.mails = nil
	list, err := a.Identities(t.Context(), u.ID)
	require.NoError(t, err)
	id := list[0].ID
	require.NoError(t, a.store.CreateIdentity(t.Context(), oidclogin.Identity{ID: "two", UserID: u.ID, Issuer: h.URL, Subject: "2"}))
	for call, step := range map[string]func() page{
		"IdentitiesByUser":  func() page { return c.do("GET", "/oidc/identities", nil) },
		"IdentitiesByUser ": func() page { return c.do("DELETE", "/oidc/identities/"+id, nil) },
		"DeleteIdentity":    func() page { return c.do("DELETE", "/oidc/identities/"+id, nil) },
		"DeleteIdentity ":   func() page { return c.do("POST", "/oidc/identities/"+id+"/unlink", url.Values{}) },
		"SetTokens":         func() page { return a.browser().login() },
		"SetTokens ":        func() page { return c.link() },
		"oidclogin_flow":    func() page { return a.browser().do("GET", "/oidc/idp", nil) },
		"oidclogin_flow ":   func() page { return c.do("POST", "/oidc/idp/link", url.Values{}) },
		"oidclogin_person": func() page {
			h.as("bob", nil, nil)
			return a.browser().login()
		},
		"oidclogin_code": func() page {
			s.fails["oidclogin_code"] = false
			h.as("bob", nil, nil)
			b := a.browser()
			p := b.login()
			s.fails["oidclogin_code"] = true
			return b.enter(p, "email", "bob@example.com")
		},
		"attempt oidclogin_person": func() page {
			h.as("bob", nil, nil)
			b := a.browser()
			return b.enter(b.login(), "email", "bob@example.com")
		},
	} {
		h.as("ann", "ann@example.com", true)
		a.kinds()
		s.fails[strings.TrimSpace(call)] = true
		p := step()
		require.Equal(t, http.StatusServiceUnavailable, p.StatusCode, "%s: %s", call, p.body)
		require.Contains(t, a.kinds(), authkit.EventStoreFailure, call)
		clear(s.fails)
	}
	h.as("ann", "ann@example.com", true)
	require.Empty(t, a.mails)
	list, err = a.Identities(t.Context(), u.ID)
	require.NoError(t, err)
	require.Len(t, list, 2)

	s.fails["IdentitiesByUser"] = true
	_, err = a.Tokens(t.Context(), u.ID, id)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	data, err := oidclogin.UserData(s).Export(t.Context(), u.ID)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.Nil(t, data)
	clear(s.fails)
	_, err = a.Tokens(t.Context(), u.ID, id)
	require.NoError(t, err)
	s.tokens = oidclogin.ErrNoIdentity
	require.Equal(t, http.StatusSeeOther, a.browser().login().StatusCode, "tokens of an identity that is gone are not kept")
	data, err = oidclogin.UserData(s).Export(t.Context(), "nobody")
	require.NoError(t, err)
	require.True(t, data == nil, "not an empty list")

	a.kinds()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.Identities(ctx, u.ID)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, authkit.ErrUnavailable)
	require.Empty(t, a.kinds(), "a client that has left is no failure")
}

// A ticket that cannot be redeemed is reported once.
func TestRedeemFails(t *testing.T) {
	t.Parallel()
	a, _, s := newFailing(t, oidclogin.EmailVerified)
	c := a.browser()
	callback := c.begin("")
	a.kinds()
	s.consumed = errDisk
	require.Equal(t, http.StatusServiceUnavailable, c.do("GET", callback, nil).StatusCode)
	require.Equal(t, []authkit.EventKind{authkit.EventLoginFailure}, a.kinds(), "whose reason is the store")
}

// otherData is UserData of another package.
type otherData struct{}

func (otherData) Name() string                                     { return "other" }
func (otherData) Wipe(context.Context, string, authkit.Wipe) error { return nil }
func (otherData) Export(context.Context, string) (any, error)      { return nil, nil }

// A slices is a store that cannot be compared.
type slices struct {
	oidclogin.Store
	_ []int
}

// New finds its store among the UserData of other packages and of other stores.
func TestUserDataOfOthers(t *testing.T) {
	t.Parallel()
	newApp(t, []oidclogin.Provider{oidclogin.Google("id", "secret")}, func(kc *authkit.Config, oc *oidclogin.Config) {
		kc.UserData = []authkit.UserData{otherData{}, oidclogin.UserData(oc.Store)}
	})
	a := newApp(t, []oidclogin.Provider{oidclogin.Google("id", "secret")}, func(kc *authkit.Config, oc *oidclogin.Config) {
		kc.UserData = append(kc.UserData, otherData{})
	})
	_, err := oidclogin.New(a.kit, oidclogin.Config{BaseURL: site, Store: slices{Store: a.store}, Providers: []oidclogin.Provider{oidclogin.Google("id", "secret")}})
	require.ErrorContains(t, err, "UserData lacks")
	users := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: users, UserData: []authkit.UserData{oidclogin.UserData(slices{Store: a.store})},
		Sessions: authkit.SessionConfig{Store: users, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}},
	})
	require.NoError(t, err)
	_, err = oidclogin.New(kit, oidclogin.Config{BaseURL: site, Store: slices{Store: a.store}, Providers: []oidclogin.Provider{oidclogin.Google("id", "secret")}})
	require.ErrorContains(t, err, "UserData lacks", "stores that cannot be compared are not equal")
}

// OA-03: a claim in another form is refused, and not left out. The event has the
// cause.
func TestRefusalsHaveACause(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]string{
		"another nonce": "another nonce", "another azp": "another client", "address as array": "cannot unmarshal array", "a number as azp": "cannot unmarshal number",
		"user info of another subject": "another subject", "array in the user info": "cannot unmarshal array", "user info of an error": "status 403",
		"no ID token": "no ID token", "issued long ago": "not issued just now", "a long subject": "the subject is empty, too long or malformed",
	} {
		a, h := quiet(t, oidclogin.EmailVerified)
		attacks[name](h, a)
		require.Equal(t, http.StatusUnauthorized, a.browser().login().StatusCode, name)
		a.mu.Lock()
		require.Equal(t, oidclogin.EventProviderFailure, a.events[0].Kind, name)
		require.ErrorContains(t, a.events[0].Err, cause, name)
		a.mu.Unlock()
	}
}

// A client that leaves while the provider is discovered is no failure of the
// provider.
func TestClientLeavesDuringDiscovery(t *testing.T) {
	t.Parallel()
	a, h := quiet(t, oidclogin.EmailVerified)
	arrived, proceed := make(chan struct{}), make(chan struct{})
	h.handle["/.well-known/openid-configuration"] = func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-proceed
	}
	c := a.browser()
	ctx, leave := context.WithCancel(t.Context())
	c.ctx = ctx
	go func() {
		<-arrived
		leave()
	}()
	c.do("GET", "/oidc/idp", nil)
	require.NotContains(t, a.kinds(), oidclogin.EventProviderFailure)
	close(proceed)
}

// A second factor of another kind.
type pin struct{ factor }

func (*pin) Method() string { return "pin" }

// A program that renders the pages itself gets all of their parts.
func TestPages(t *testing.T) {
	t.Parallel()
	var last oidclogin.Page
	var retry string
	otp, second := new(factor), new(pin)
	a, h := quiet(t, oidclogin.EmailVerified, func(kc *authkit.Config, oc *oidclogin.Config) {
		kc.SecondFactors = []authkit.SecondFactor{otp, second}
		oc.Page = func(w http.ResponseWriter, _ *http.Request, p oidclogin.Page) {
			last, retry = p, w.Header().Get("Retry-After")
			w.WriteHeader(p.Status)
		}
	})
	names := func(fields []oidclogin.PageField) (list []string) {
		for _, f := range fields {
			list = append(list, f.Name)
		}
		return list
	}
	c := a.browser()
	u := c.requireUser(c.login())
	otp.enrol(u.ID)
	require.Equal(t, http.StatusOK, a.browser().login().StatusCode)
	require.Equal(t, oidclogin.PageFactor, last.Kind)
	require.Equal(t, []string{"mfa_token", "return", "mfa_method"}, names(last.Hidden))
	require.Equal(t, "otp", last.Hidden[2].Value)
	require.Equal(t, []string{"mfa_response"}, names(last.Fields))
	require.Equal(t, []string{"otp"}, last.Challenge.Methods)
	second.enrol(u.ID)
	a.browser().login()
	require.Equal(t, []string{"mfa_token", "return"}, names(last.Hidden))
	require.Equal(t, []string{"mfa_method", "mfa_response"}, names(last.Fields))
	require.Equal(t, "otp", last.Fields[0].Value)

	h.as("bob", "ann@example.com", true)
	require.Equal(t, http.StatusConflict, a.browser().login().StatusCode)
	require.Equal(t, oidclogin.PageExists, last.Kind)
	require.Equal(t, "The provider", last.Provider)
	require.Contains(t, last.Text, "add The provider in your settings")
	require.Empty(t, retry)
	h.as("bob", nil, nil)
	require.Equal(t, http.StatusConflict, a.browser().login().StatusCode)
	require.Equal(t, oidclogin.PageNoMailbox, last.Kind)
	require.Contains(t, last.Text, "The provider does not prove your e-mail address")

	h.answer = func(q url.Values) {
		q.Del("code")
		q.Set("error", "access_denied")
	}
	require.Equal(t, http.StatusOK, a.browser().login().StatusCode)
	require.Equal(t, oidclogin.PageCancelled, last.Kind)
	require.Equal(t, "/login", last.Link)
	me := a.add("me@example.com", true)
	c = a.browser()
	c.password(me.Email)
	require.Equal(t, http.StatusOK, c.do("POST", "/oidc/idp/link", url.Values{"return": {"/settings"}}).StatusCode)
	require.Equal(t, http.StatusOK, c.do("GET", c.atProvider(last.Link), nil).StatusCode)
	require.Equal(t, oidclogin.PageCancelled, last.Kind)
	require.Equal(t, "/settings", last.Link, "back to where the link began")

	h.answer = nil
	h.as("ann", "ann@example.com", true)
	require.Equal(t, http.StatusOK, c.do("POST", "/oidc/idp/link", url.Values{"return": {"/settings"}}).StatusCode)
	require.Equal(t, http.StatusConflict, c.do("GET", c.atProvider(last.Link), nil).StatusCode)
	require.Equal(t, []string{"The identity belongs to another account.", "/settings", "Back"}, []string{last.Text, last.Link, last.LinkText})
	h.handle["/token"] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }
	require.Equal(t, http.StatusUnauthorized, a.browser().login().StatusCode)
	require.Equal(t, []string{"The login is not valid, or it took too long. Try again.", "/login", "Log in"}, []string{last.Text, last.Link, last.LinkText})
}

// The page for the code of a mail names the provider.
func TestCodePage(t *testing.T) {
	t.Parallel()
	var last oidclogin.Page
	a, h := quiet(t, oidclogin.EmailVerified, withMailer, func(_ *authkit.Config, oc *oidclogin.Config) {
		oc.Page = func(w http.ResponseWriter, _ *http.Request, p oidclogin.Page) {
			last = p
			w.WriteHeader(p.Status)
		}
	})
	h.as("ann", nil, nil)
	c := a.browser()
	c.login()
	require.Equal(t, oidclogin.PageMailbox, last.Kind)
	p := c.do("POST", last.Action, url.Values{"pending": {last.Hidden[0].Value}, "email": {"ann@example.com"}})
	require.Equal(t, http.StatusOK, p.StatusCode)
	require.Equal(t, oidclogin.PageCode, last.Kind)
	require.Equal(t, "The provider", last.Provider)
}

// OA-16: a code that another request has used is not valid, and a store that
// fails is no wrong code.
func TestMailboxCodeFails(t *testing.T) {
	t.Parallel()
	for result, want := range map[error]int{authkit.ErrTicketNotFound: 400, errDisk: 503} {
		a, h, s := newFailing(t, oidclogin.EmailVerified, withMailer)
		h.as("ann", nil, nil)
		c := a.browser()
		p := c.enter(c.login(), "email", "ann@example.com")
		s.consumed = result
		p = c.enter(p, "code", codeText.FindString(a.mails[0].Text))
		require.Equal(t, want, p.StatusCode, p.body)
		require.Empty(t, c.user())
		require.Zero(t, a.accounts())
	}
	a, _, _ := newFailing(t, oidclogin.EmailVerified, withMailer)
	c := a.browser()
	p := c.do("POST", "/oidc/mailbox", url.Values{"pending": {"a.b"}, "email": {"ann@example.com"}})
	require.Equal(t, http.StatusBadRequest, p.StatusCode)
	require.Empty(t, a.mails)
	p = c.do("POST", "/oidc/mailbox/code", url.Values{"code": {"123456"}})
	require.Equal(t, http.StatusBadRequest, p.StatusCode)
	require.NotContains(t, p.body, "<form", "there is no handle to try again with")
}

// A time in the future, or before 1970, is refused, also without max_age. Years of five digits have no JSON form.
func TestImpossibleAuthTime(t *testing.T) {
	t.Parallel()
	a, h, _ := newFailing(t, oidclogin.EmailVerified, withMailer)
	h.as("ann", nil, nil)
	for _, at := range []int64{-1, -1 << 40, time.Now().Add(time.Hour).Unix(), 253402387200} {
		h.claims = func(c jwt.MapClaims) { c["auth_time"] = at }
		p := a.browser().login()
		require.Equal(t, http.StatusUnauthorized, p.StatusCode, "%d: %s", at, p.body)
	}
	h.claims = func(c jwt.MapClaims) { c["auth_time"] = 0 }
	require.Equal(t, http.StatusOK, a.browser().login().StatusCode, "long ago, and not impossible")
	require.Zero(t, a.accounts())
}

// A ticket that another program has changed makes no account.
func TestForeignPendingTicket(t *testing.T) {
	t.Parallel()
	a, h, s := newFailing(t, oidclogin.EmailVerified, withMailer)
	h.as("ann", nil, nil)
	c := a.browser()
	p := c.enter(c.login(), "email", "ann@example.com")
	s.body = func(body []byte) []byte { return bytes.Replace(body, []byte(`"ann"`), []byte("5"), 1) }
	p = c.enter(p, "code", codeText.FindString(a.mails[0].Text))
	require.Equal(t, http.StatusInternalServerError, p.StatusCode, p.body)
	require.Zero(t, a.accounts())
}

// OA-04: an account that changes while an address links to it is judged again.
func TestAccountChangesWhileItIsLinked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(a *app, id string) error
		status  int
		lookups int
	}{
		"roles": {func(a *app, id string) error {
			_, err := a.kit.SetFullName(authkit.WithSystem(context.Background(), "test"), id, "Ann")
			return err
		}, 303, 2},
		"disabled": {func(a *app, id string) error {
			return a.kit.DisableUser(authkit.WithSystem(context.Background(), "test"), id)
		}, 401, 2},
		"locked": {func(a *app, id string) error {
			_, err := a.kit.LockUser(authkit.WithSystem(context.Background(), "test"), id, time.Now().Add(time.Hour))
			return err
		}, 401, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, _, s := newFailing(t, oidclogin.EmailLinks)
			u := a.add("ann@example.com", true)
			b := a.browser()
			callback := b.begin("")
			s.lookups, s.byEmail = 0, func(authkit.StoredUser) func() error { return func() error { return c.change(a, u.ID) } }
			p := b.do("GET", callback, nil)
			require.Equal(t, c.status, p.StatusCode, p.body)
			require.Equal(t, c.lookups, s.lookups)
			require.Equal(t, c.status == 303, a.identified() == u.ID)
		})
	}
	a, _, s := newFailing(t, oidclogin.EmailLinks)
	a.add("ann@example.com", true)
	b := a.browser()
	callback := b.begin("")
	s.fails["UpdateUser"] = true
	require.Equal(t, http.StatusServiceUnavailable, b.do("GET", callback, nil).StatusCode)
	require.Empty(t, a.identified())
}

// OA-15: an account that exists may be the one that another login has created
// for the identity.
func TestAccountExistsMeanwhile(t *testing.T) {
	t.Parallel()
	for _, result := range []error{nil, errDisk} {
		a, s := newRacing(t, oidclogin.EmailVerified)
		u := a.add("ann@example.com", true)
		calls := 0
		s.found = func(id oidclogin.Identity, err error) (oidclogin.Identity, error) {
			if calls++; calls == 1 {
				return oidclogin.Identity{}, oidclogin.ErrNoIdentity
			}
			return oidclogin.Identity{ID: "1", UserID: u.ID}, result
		}
		p := a.browser().login()
		if result == nil {
			require.Equal(t, http.StatusSeeOther, p.StatusCode, p.body)
		} else {
			require.Equal(t, http.StatusServiceUnavailable, p.StatusCode, p.body)
		}
	}
	a, _ := newRacing(t, oidclogin.EmailVerified)
	c := a.browser()
	c.requireUser(c.login())
	require.NotContains(t, a.kinds(), authkit.EventStoreFailure, "an identity that is new is no failure")
	require.NoError(t, a.store.CreateIdentity(t.Context(), oidclogin.Identity{ID: "gone", UserID: "gone", Issuer: a.first, Subject: "gone"}))
}

// OA-13: a flow ends after ten minutes, and so does the cookie.
func TestFlowExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for wait, want := range map[time.Duration]int{10*time.Minute - time.Second: 303, 10 * time.Minute: 400} {
			a, _ := quiet(t, oidclogin.EmailVerified)
			c := a.browser()
			p := c.do("GET", "/oidc/idp", nil)
			require.Equal(t, 600, p.Cookies()[0].MaxAge)
			callback := c.atProvider(p.Header.Get("Location"))
			time.Sleep(wait)
			require.Equal(t, want, c.do("GET", callback, nil).StatusCode)
		}
	})
}

// MF-07, OA-09: who may use the routes.
func TestPolicies(t *testing.T) {
	t.Parallel()
	a := newApp(t, []oidclogin.Provider{oidclogin.Google("id", "secret")}, withMailer)
	policies := map[string]string{}
	for _, r := range a.Routes() {
		policies[r.Pattern] = r.Policy.String()
	}
	public, user := authkit.Public().String(), authkit.Authenticated()
	fresh := user.Fresh(5 * time.Minute).String()
	require.Equal(t, map[string]string{
		"GET /oidc/identities": user.String(), "POST /oidc/identities/{id}/unlink": fresh, "DELETE /oidc/identities/{id}": fresh,
		"GET /oidc/google": public, "GET /oidc/google/callback": public, "POST /oidc/google/link": fresh,
		"POST /oidc/mailbox": public, "POST /oidc/mailbox/code": public,
	}, policies)
}

// A dead is a provider that cannot be reached, at some paths.
type dead struct {
	next  http.RoundTripper
	paths []string
}

func (d dead) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, path := range d.paths {
		if r.URL.Path == path {
			return nil, errors.New("no route to host")
		}
	}
	return d.next.RoundTrip(r)
}

// OA-08: a provider that cannot be reached is 503, and no wrong login.
func TestDeadProvider(t *testing.T) {
	t.Parallel()
	const metadata = "/.well-known/openid-configuration"
	a, h := quiet(t, oidclogin.EmailVerified)
	oidclogin.SetTransport(a.Logins, "idp", dead{h, []string{"/keys"}})
	found := a.Check(t.Context())
	require.Len(t, found, 1)
	require.Contains(t, found[0].Text, "no route to host")

	oidclogin.SetTransport(a.Logins, "idp", dead{h, []string{metadata}})
	u := a.add("me@example.com", true)
	c := a.browser()
	c.password(u.Email)
	require.Equal(t, http.StatusServiceUnavailable, c.do("POST", "/oidc/idp/link", url.Values{}).StatusCode)
	require.Equal(t, http.StatusServiceUnavailable, c.do("GET", "/oidc/idp", nil).StatusCode)

	// Another instance begins the flow, and this one completes it.
	oidclogin.SetTransport(a.Logins, "idp", h)
	callback := c.begin("")
	other, err := oidclogin.New(a.kit, oidclogin.Config{BaseURL: site + "/oidc", Store: a.store, Providers: []oidclogin.Provider{generic(h)}})
	require.NoError(t, err)
	oidclogin.SetTransport(other, "idp", dead{h, []string{metadata}})
	mux := a.kit.NewMux()
	other.Mount(mux)
	a.handler = mux
	require.Equal(t, http.StatusServiceUnavailable, c.do("GET", callback, nil).StatusCode)
}

// OA-08: a provider that fails during a login is 503, too. A wrong signature is 401
// as soon as the provider can be reached.
func TestProviderFailsDuringALogin(t *testing.T) {
	t.Parallel()
	status := func(path string, code int) func(*app, *hostile) {
		return func(_ *app, h *hostile) {
			h.handle[path] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
		}
	}
	for _, path := range []string{"/keys", "/userinfo"} {
		for name, fail := range map[string]func(*app, *hostile){
			"no response": func(a *app, h *hostile) { oidclogin.SetTransport(a.Logins, "idp", dead{h, []string{path}}) },
			"an error":    status(path, http.StatusInternalServerError),
			"overloaded":  status(path, http.StatusTooManyRequests),
			"2 MB": func(_ *app, h *hostile) {
				h.handle[path] = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) }
			},
		} {
			t.Run(path+", "+name, func(t *testing.T) {
				t.Parallel()
				a, h := quiet(t, oidclogin.EmailVerified)
				h.userInfo = path == "/userinfo"
				c := a.browser()
				h.as("ann", nil, nil)
				fail(a, h)
				require.Equal(t, http.StatusServiceUnavailable, c.login().StatusCode)
				delete(h.handle, path)
				oidclogin.SetTransport(a.Logins, "idp", h)
				h.sign = func(c jwt.MapClaims) string { text := rs256(c); return text[:len(text)-8] + "AAAAAAAA" }
				require.Equal(t, http.StatusUnauthorized, c.login().StatusCode)
			})
		}
	}
}

// A link whose answer is refused links nothing.
func TestLinkIsRefused(t *testing.T) {
	t.Parallel()
	a, h := quiet(t, oidclogin.EmailVerified)
	u := a.add("me@example.com", true)
	c := a.browser()
	c.password(u.Email)
	h.handle["/token"] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }
	require.Equal(t, http.StatusUnauthorized, c.link().StatusCode)
	list, err := a.Identities(t.Context(), u.ID)
	require.NoError(t, err)
	require.Empty(t, list)
}

// A proof of a mailbox ends with the provider that it is for. The cookie lives as
// long as the step that needs it.
func TestMailboxOfAProviderThatHasLeft(t *testing.T) {
	t.Parallel()
	a, h := quiet(t, oidclogin.EmailVerified, withMailer)
	h.as("ann", nil, nil)
	c := a.browser()
	asked := c.login()
	sent := c.enter(asked, "email", "ann@example.com")
	for _, p := range []page{asked, sent} {
		require.Len(t, p.Cookies(), 1)
		require.Equal(t, 600, p.Cookies()[0].MaxAge)
	}
	p := generic(h)
	p.Name = "other"
	other, err := oidclogin.New(a.kit, oidclogin.Config{BaseURL: site + "/oidc", Store: a.store, Providers: []oidclogin.Provider{p}, Mailer: a})
	require.NoError(t, err)
	mux := a.kit.NewMux()
	other.Mount(mux)
	a.handler = mux
	require.Equal(t, http.StatusBadRequest, c.enter(asked, "email", "ann@example.com").StatusCode)
	require.Equal(t, http.StatusBadRequest, c.enter(sent, "code", codeText.FindString(a.mails[0].Text)).StatusCode)
	require.Len(t, a.mails, 1)
	require.Zero(t, a.accounts())
}

// A client secret of Apple that cannot be made is a failure of the provider.
func TestAppleKeyOfAnotherCurve(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	a := newApp(t, []oidclogin.Provider{oidclogin.Apple(clientID, "TEAM", "KEY", key)})
	oidclogin.SetTransport(a.Logins, "apple", fakes{
		"appleid.apple.com/.well-known/openid-configuration": text("application/json", `{"issuer":"https://appleid.apple.com","authorization_endpoint":"https://appleid.apple.com/auth/authorize",
			"token_endpoint":"https://appleid.apple.com/auth/token","jwks_uri":"https://appleid.apple.com/auth/keys"}`),
		"appleid.apple.com/auth/token": func(http.ResponseWriter, *http.Request) { t.Error("the code was sent") },
	})
	c := a.browser()
	u, err := url.Parse(c.do("GET", "/oidc/apple", nil).Header.Get("Location"))
	require.NoError(t, err)
	p := c.do("GET", "/oidc/apple/callback?code=c&state="+u.Query().Get("state"), nil)
	require.Equal(t, http.StatusServiceUnavailable, p.StatusCode, p.body)
	require.Contains(t, a.kinds(), oidclogin.EventProviderFailure)
}

// The name of an Apple account that cannot be kept fails the POST, which can be
// repeated. A token for a name that is gone fails nothing.
func TestAppleNameFails(t *testing.T) {
	t.Parallel()
	s := &failing{MemoryStore: authkit.NewMemoryStore(), fails: map[string]bool{"oidclogin_name": true}}
	a := newApp(t, []oidclogin.Provider{oidclogin.Apple(clientID, "TEAM", "KEY", appleKey(t))}, func(kc *authkit.Config, oc *oidclogin.Config) {
		s.Store = oc.Store
		kc.Users, kc.Sessions.Store = s, s.MemoryStore
	})
	post := func(user string) page {
		return a.browser().do("POST", "/oidc/apple/callback", url.Values{"code": {"c"}, "state": {"s"}, "user": {user}}, "Sec-Fetch-Site", "cross-site")
	}
	require.Equal(t, http.StatusServiceUnavailable, post(`{"name":{"firstName":"Ada","lastName":"Lovelace"}}`).StatusCode)
	for _, none := range []string{`{"name":{}}`, `{"name":{"firstName":"Ada","lastName":5}}`, `{"name":{"firstName":" ","lastName":""}}`, `{`} {
		p := post(none)
		require.Equal(t, http.StatusSeeOther, p.StatusCode)
		require.NotContains(t, p.Header.Get("Location"), "user=", none)
	}
}

// An apiKey authenticates every request with its header as a user.
type apiKey struct{ credential authkit.Credential }

func (k *apiKey) Challenge() string { return "Key" }
func (k *apiKey) Authenticate(r *http.Request) (authkit.Credential, error) {
	if r.Header.Get("X-Key") == "" {
		return authkit.Credential{}, authkit.ErrNoCredentials
	}
	return k.credential, nil
}

// OA-14: a link needs a session, to which the answer of the provider is bound.
func TestLinkWithoutASession(t *testing.T) {
	t.Parallel()
	key := new(apiKey)
	a, _ := quiet(t, oidclogin.EmailVerified, func(kc *authkit.Config, _ *oidclogin.Config) { kc.Authenticators = []authkit.Authenticator{key} })
	u := a.add("me@example.com", true)
	key.credential = authkit.Credential{UserID: u.ID, Kind: "key", ID: "1", Methods: []string{"pwd"}, AuthTime: time.Now(), IssuedAt: time.Now()}
	c := a.browser()
	p := c.do("POST", "/oidc/idp/link", url.Values{}, "X-Key", "1")
	require.Equal(t, http.StatusForbidden, p.StatusCode, p.body)
	require.Empty(t, c.cookies)
}

// A connection without an address, as by a Unix socket, counts as one client.
func TestClientWithoutAnAddress(t *testing.T) {
	t.Parallel()
	n := new(notingThrottle)
	a, _ := quiet(t, oidclogin.EmailVerified, func(kc *authkit.Config, _ *oidclogin.Config) { kc.Throttle = n })
	r := httptest.NewRequest("GET", "/oidc/idp", nil)
	r.RemoteAddr = "@"
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, "@", n.address)
}

// FR-11: the calls of a Kit for the data of a user have five seconds.
func TestUserDataTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		data := oidclogin.UserData(hung{})
		for name, call := range map[string]func() error{
			"Wipe":   func() error { return data.Wipe(t.Context(), "ann", authkit.WipeAll) },
			"Export": func() error { _, err := data.Export(t.Context(), "ann"); return err },
		} {
			began := time.Now()
			err := call()
			require.ErrorIs(t, err, authkit.ErrUnavailable, name)
			require.ErrorIs(t, err, context.DeadlineExceeded, name)
			require.Equal(t, 5*time.Second, time.Since(began), name)
		}
	})
}

// A hung store never answers.
type hung struct{ oidclogin.Store }

func (hung) IdentitiesByUser(ctx context.Context, _ string) ([]oidclogin.Identity, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
func (hung) DeleteIdentities(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
