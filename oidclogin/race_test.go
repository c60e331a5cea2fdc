package oidclogin_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/oidclogin"
)

// A racing store behaves as if another login came between.
type racing struct {
	oidclogin.Store
	creates int
	create  func(call int) error                                               // instead of a creation, unless it returns nil
	found   func(id oidclogin.Identity, err error) (oidclogin.Identity, error) // changes the result of a look-up
	forgets bool                                                               // creations are not stored
}

func (s *racing) CreateIdentity(ctx context.Context, id oidclogin.Identity) error {
	s.creates++
	if s.create != nil {
		if err := s.create(s.creates); err != nil {
			return err
		}
	}
	if s.forgets {
		return nil
	}
	return s.Store.CreateIdentity(ctx, id)
}

func (s *racing) IdentityBySubject(ctx context.Context, issuer, subject string) (oidclogin.Identity, error) {
	id, err := s.Store.IdentityBySubject(ctx, issuer, subject)
	if s.found != nil {
		return s.found(id, err)
	}
	return id, err
}

func newRacing(t *testing.T, trust oidclogin.EmailTrust) (*app, *racing) {
	s := new(racing)
	a, _ := quiet(t, trust, withMailer, func(kc *authkit.Config, oc *oidclogin.Config) {
		s.Store = oc.Store
		oc.Store, kc.UserData = s, []authkit.UserData{oidclogin.UserData(s)}
	})
	return a, s
}

// OA-15: a login that loses a race tries again, three times at most. Another
// error of the store ends it.
func TestLostRaces(t *testing.T) {
	t.Parallel()
	times := func(n int, err error) func(int) error {
		return func(call int) error {
			if call <= n {
				return err
			}
			return nil
		}
	}
	for _, trust := range []oidclogin.EmailTrust{oidclogin.EmailVerified, oidclogin.EmailLinks} {
		for _, c := range []struct {
			create  func(int) error
			creates int
			status  int
		}{
			{times(0, nil), 1, 303},
			{times(1, oidclogin.ErrIdentityTaken), 2, 303}, {times(2, oidclogin.ErrIdentityTaken), 3, 303}, {times(3, oidclogin.ErrIdentityTaken), 3, 409},
			{times(1, authkit.ErrEmailTaken), 2, 303}, {times(1, authkit.ErrConflict), 2, 303}, {times(1, authkit.ErrUserNotFound), 2, 303},
			{times(1, errors.New("no disk")), 1, 503},
		} {
			a, s := newRacing(t, trust)
			if trust == oidclogin.EmailLinks {
				a.add("ann@example.com", true)
			}
			before := a.accounts()
			a.kinds()
			s.create = c.create
			b := a.browser()
			p := b.login()
			require.Equal(t, c.status, p.StatusCode, "%v %+v %s", trust, c, p.body)
			require.Equal(t, c.creates, s.creates)
			kinds := a.kinds()
			if errors.Is(c.create(1), oidclogin.ErrIdentityTaken) {
				require.NotContains(t, kinds, authkit.EventStoreFailure, "a lost race is no failure")
			}
			if c.status != http.StatusSeeOther {
				require.Empty(t, a.identified())
				require.Equal(t, before, a.accounts())
				require.Empty(t, a.mails)
				continue
			}
			require.Equal(t, b.user(), a.identified())
			if trust == oidclogin.EmailLinks {
				require.Contains(t, kinds, authkit.EventFactorAdded)
			}
		}
	}
}

// OA-15: an identity that is removed or replaced during a login begins no session.
func TestIdentityChangesDuringALogin(t *testing.T) {
	t.Parallel()
	a, s := newRacing(t, oidclogin.EmailLinks)
	a.add("ann@example.com", true)
	s.forgets = true
	c := a.browser()
	require.Equal(t, http.StatusUnauthorized, c.login().StatusCode)
	require.Equal(t, 4, s.creates)
	require.Empty(t, c.user())

	a, s = newRacing(t, oidclogin.EmailVerified)
	c = a.browser()
	c.requireUser(c.login())
	calls := 0
	s.found = func(id oidclogin.Identity, err error) (oidclogin.Identity, error) {
		if calls++; calls == 2 {
			id.ID = "another"
		}
		return id, err
	}
	c = a.browser()
	require.Equal(t, http.StatusUnauthorized, c.login().StatusCode)
	require.Empty(t, c.user())
}

// OA-04: an address does not link to an account that is locked.
func TestLockedAccountIsNotLinked(t *testing.T) {
	t.Parallel()
	a, _ := newRacing(t, oidclogin.EmailLinks)
	u := a.add("ann@example.com", true)
	_, err := a.kit.LockUser(t.Context(), u.ID, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, a.browser().login().StatusCode)
	require.Empty(t, a.identified())
}

// OA-09: of two links at once of one identity, the second is no error for its
// owner, and an error for others.
func TestLinksAtOnce(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{true, false} {
		a, s := newRacing(t, oidclogin.EmailVerified)
		me, other := a.add("me@example.com", true), a.add("other@example.com", true)
		owner := other
		if own {
			owner = me
		}
		require.NoError(t, s.Store.CreateIdentity(t.Context(), oidclogin.Identity{ID: "1", UserID: owner.ID, Provider: "idp", Issuer: a.first, Subject: "ann"}))
		hidden := false
		s.found = func(id oidclogin.Identity, err error) (oidclogin.Identity, error) {
			if !hidden {
				hidden = true
				return oidclogin.Identity{}, oidclogin.ErrNoIdentity
			}
			return id, err
		}
		c := a.browser()
		c.password(me.Email)
		p := c.link()
		if own {
			require.Equal(t, "/settings", p.Header.Get("Location"), p.body)
		} else {
			require.Equal(t, http.StatusConflict, p.StatusCode)
		}
		require.Equal(t, owner.ID, a.identified())
		require.Empty(t, a.mails, "nothing was added")
	}
	a, s := newRacing(t, oidclogin.EmailVerified)
	me := a.add("me@example.com", true)
	require.NoError(t, s.Store.CreateIdentity(t.Context(), oidclogin.Identity{ID: "1", UserID: me.ID, Provider: "idp", Issuer: a.first, Subject: "ann"}))
	calls := 0
	s.found = func(id oidclogin.Identity, _ error) (oidclogin.Identity, error) {
		if calls++; calls == 1 {
			return oidclogin.Identity{}, oidclogin.ErrNoIdentity
		}
		return id, errDisk
	}
	c := a.browser()
	c.password(me.Email)
	require.Equal(t, http.StatusServiceUnavailable, c.link().StatusCode, "whose it is cannot be told")
}

// OA-09: without HasOtherLogin, a user without a password keeps the last
// identity. Identities are in the order of their times.
func TestIdentities(t *testing.T) {
	t.Parallel()
	a, h := quiet(t, oidclogin.EmailVerified)
	c := a.browser()
	u := c.requireUser(c.login())
	list, err := a.Identities(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, c.do("DELETE", "/oidc/identities/"+list[0].ID, nil).StatusCode)
	for i, id := range []string{"a", "b", "c", "d", "e", "f"} {
		require.NoError(t, a.store.CreateIdentity(t.Context(), oidclogin.Identity{
			ID: id, UserID: u.ID, Issuer: h.URL, Subject: id, CreatedAt: time.Unix(int64(10-i), 0), Tokens: []byte("tokens, sealed with a key that is gone"),
		}))
	}
	list, err = a.Identities(t.Context(), u.ID)
	require.NoError(t, err)
	order := ""
	for _, id := range list[:6] {
		order += id.ID
	}
	require.Equal(t, "fedcba", order)
	require.Equal(t, "application/json", c.do("GET", "/oidc/identities", nil).Header.Get("Content-Type"))
	_, err = a.Tokens(t.Context(), u.ID, "a")
	require.ErrorIs(t, err, oidclogin.ErrNoTokens, "without keys")
	data, err := a.kit.ExportUser(t.Context(), a.add("bob@example.com", true).ID)
	require.NoError(t, err)
	require.NotContains(t, data, "identities")
}

// A form that cannot be read changes nothing.
func TestMalformedForms(t *testing.T) {
	t.Parallel()
	a := newApp(t, []oidclogin.Provider{oidclogin.Apple(clientID, "TEAM", "KEY", appleKey(t))}, withMailer)
	u := a.add("me@example.com", true)
	c := a.browser()
	c.password(u.Email)
	for _, path := range []string{"/oidc/apple/callback", "/oidc/apple/link", "/oidc/identities/x/unlink", "/oidc/mailbox", "/oidc/mailbox/code"} {
		for _, body := range []string{"return=%zz", "return=" + strings.Repeat("x", 33<<10)} {
			r := httptest.NewRequest("POST", path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			for name, value := range c.cookies {
				r.AddCookie(&http.Cookie{Name: name, Value: value})
			}
			w := httptest.NewRecorder()
			a.handler.ServeHTTP(w, r)
			require.Equal(t, 400, w.Code, path)
			require.Equal(t, 1, strings.Count(w.Body.String(), "</html>"), "one page: %s", path)
			require.Contains(t, w.Body.String(), "The login is not valid, or it took too long. Try again.")
			require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
			require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		}
	}
}

// OA-16: a mail server that is down is an error, and an address that it refuses
// must not show. The mail names the service.
func TestMailboxFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fail    error
		service string
		status  int
	}{{nil, "", 200}, {nil, "Example", 200}, {account.ErrMailRejected, "", 200}, {errors.New("no route"), "", 503}} {
		a, h := quiet(t, oidclogin.EmailVerified, withMailer, func(_ *authkit.Config, oc *oidclogin.Config) { oc.Service = c.service })
		h.as("ann", nil, nil)
		b := a.browser()
		p := b.login()
		require.Equal(t, http.StatusOK, p.StatusCode)
		a.mailErr = c.fail
		a.kinds()
		p = b.enter(p, "email", "ann@example.com")
		require.Equal(t, c.status, p.StatusCode, p.body)
		if c.status == 503 {
			require.Contains(t, a.kinds(), authkit.EventMailFailure)
			continue
		}
		require.NotContains(t, a.kinds(), authkit.EventMailFailure)
		if c.fail == nil {
			service := c.service
			if service == "" {
				service = "app.example.com"
			}
			require.Equal(t, "Your code for "+service, a.mails[0].Subject)
		}
	}
}

// No mail about a link goes to an address that was never proved: the mailbox may
// be that of a stranger. The client of a login is that of the context.
func TestLinkOfAnUnverifiedUser(t *testing.T) {
	t.Parallel()
	a, _ := newRacing(t, oidclogin.EmailVerified)
	u := a.add("me@example.com", false)
	c := a.browser()
	c.password(u.Email)
	require.Equal(t, "/settings", c.link().Header.Get("Location"))
	require.Empty(t, a.mails)
}

// A provider without a label is shown by its name.
func TestLabel(t *testing.T) {
	t.Parallel()
	a := newApp(t, []oidclogin.Provider{{Name: "acme-login", Issuer: "https://idp.example.com", ClientID: "id"}})
	p := a.browser().do("GET", "/oidc/acme-login?"+url.Values{"return": {"/"}}.Encode(), nil, "Sec-Fetch-Site", "cross-site")
	require.Contains(t, p.body, "acme-login")
	require.Contains(t, strings.ReplaceAll(p.body, "/oidc/acme-login", ""), "acme-login")
}

// A noting throttle notes the address of the client.
type notingThrottle struct{ address string }

func (n *notingThrottle) Begin(_ context.Context, a authkit.Attempt) error {
	n.address = a.Client.Address
	return nil
}
func (*notingThrottle) End(context.Context, authkit.Attempt, authkit.AttemptOutcome) error {
	return nil
}
func (*notingThrottle) Clear(context.Context, authkit.Attempt) error { return nil }

// The throttle counts the client of the context, as behind a proxy, or else the
// address of the connection.
func TestClientOfARequest(t *testing.T) {
	t.Parallel()
	n := new(notingThrottle)
	a, _ := quiet(t, oidclogin.EmailVerified, func(kc *authkit.Config, _ *oidclogin.Config) { kc.Throttle = n })
	c := a.browser()
	require.Equal(t, http.StatusSeeOther, c.do("GET", "/oidc/idp", nil).StatusCode)
	require.Equal(t, "192.0.2.1", n.address)
	c.ctx = authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "203.0.113.9"})
	require.Equal(t, http.StatusSeeOther, c.do("GET", "/oidc/idp", nil).StatusCode)
	require.Equal(t, "203.0.113.9", n.address)
}
