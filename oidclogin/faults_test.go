package oidclogin_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
	"github.com/authkit-go/authkit/storetest/faults"
)

// faulty is a store of identities whose calls can fail.
type faulty struct {
	oidclogin.Store
	in *faults.Injector
}

// only is a call without a result.
func only(f func(context.Context) error) func(context.Context) (struct{}, error) {
	return func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) }
}

func (s *faulty) CreateIdentity(ctx context.Context, id oidclogin.Identity) error {
	_, err := faults.Call(ctx, s.in, "CreateIdentity", only(func(ctx context.Context) error { return s.Store.CreateIdentity(ctx, id) }))
	return err
}

func (s *faulty) IdentityBySubject(ctx context.Context, issuer, subject string) (oidclogin.Identity, error) {
	return faults.Call(ctx, s.in, "IdentityBySubject", func(ctx context.Context) (oidclogin.Identity, error) {
		return s.Store.IdentityBySubject(ctx, issuer, subject)
	})
}

func (s *faulty) IdentitiesByUser(ctx context.Context, userID string) ([]oidclogin.Identity, error) {
	return faults.Call(ctx, s.in, "IdentitiesByUser", func(ctx context.Context) ([]oidclogin.Identity, error) {
		return s.Store.IdentitiesByUser(ctx, userID)
	})
}

func (s *faulty) DeleteIdentity(ctx context.Context, userID, id string) error {
	_, err := faults.Call(ctx, s.in, "DeleteIdentity", only(func(ctx context.Context) error { return s.Store.DeleteIdentity(ctx, userID, id) }))
	return err
}

func (s *faulty) DeleteIdentities(ctx context.Context, userID string) error {
	_, err := faults.Call(ctx, s.in, "DeleteIdentities", only(func(ctx context.Context) error { return s.Store.DeleteIdentities(ctx, userID) }))
	return err
}

// RoundTrip makes a provider answer without a network.
func (h *hostile) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.serve(w, r)
	return w.Result(), nil
}

// A faultyTransport carries requests to a provider, each of which can fail, hang
// or lose its response.
type faultyTransport struct {
	http.RoundTripper
	in *faults.Injector
}

func (t faultyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return faults.Call(r.Context(), t.in, "provider "+r.URL.Path, func(context.Context) (*http.Response, error) {
		return t.RoundTripper.RoundTrip(r)
	})
}

// newFaultyApp returns an app whose stores, and whose calls to its provider, can
// fail.
func newFaultyApp(t *testing.T, in *faults.Injector, trust oidclogin.EmailTrust) *app {
	h := &hostile{t: t, codes: map[string]url.Values{}, handle: map[string]http.HandlerFunc{}}
	h.Server = &httptest.Server{URL: "https://idp.example.com"} // which is not started
	h.as("ann", "ann@example.com", true)
	p := generic(h)
	p.Email = trust
	var memory *oidclogin.MemoryStore
	a := newApp(t, []oidclogin.Provider{p}, func(kc *authkit.Config, oc *oidclogin.Config) {
		store := in.Store(authkit.NewMemoryStore())
		memory = oc.Store.(*oidclogin.MemoryStore)
		oc.Store = &faulty{memory, in}
		kc.Users, kc.Sessions.Store, kc.UserData = store, store, []authkit.UserData{oidclogin.UserData(oc.Store)}
	})
	a.transport = h
	oidclogin.SetTransport(a.Logins, "idp", faultyTransport{h, in})
	return a
}

// identified returns the owner of the identity, or "".
func (a *app) identified() string {
	id, err := a.store.IdentityBySubject(context.Background(), a.first, "ann")
	if err != nil {
		require.ErrorIs(a.t, err, oidclogin.ErrNoIdentity)
	}
	return id.UserID
}

// attempt runs a step within the faults. It fails if the response is neither a
// redirect nor a refusal.
func attempt(t *testing.T, in *faults.Injector, c *client, step func() page) (succeeded bool) {
	t.Helper()
	err := in.Do(t.Context(), func(ctx context.Context) error {
		c.ctx = ctx
		if p := step(); p.StatusCode != http.StatusSeeOther {
			return errors.New(p.Status)
		}
		return nil
	})
	c.ctx = t.Context()
	return err == nil
}

// OA-04, OA-15: whatever fails, an account and its identity are made together or
// not at all, and the same login succeeds afterwards.
func TestLoginFaults(t *testing.T) {
	t.Parallel()
	faults.Each(t, func(t *testing.T, in *faults.Injector) {
		synctest.Test(t, func(t *testing.T) {
			a := newFaultyApp(t, in, oidclogin.EmailVerified)
			c := a.browser()
			callback := c.begin("")
			attempt(t, in, c, func() page {
				p := c.do("GET", callback, nil)
				if !strings.Contains(t.Name(), "provider") {
					require.NotContains(t, []int{400, 401, 409}, p.StatusCode, "a store that fails is no wrong login: %s", p.body)
				}
				return p
			})
			require.Equal(t, a.identified() != "", a.accounts() == 1)
			c = a.browser()
			u := c.requireUser(c.login())
			require.Equal(t, a.identified(), u.ID)
			require.Equal(t, 1, a.accounts())
		})
	})
}

// OA-04: an account that was never proved is either as it was, or linked without
// its old credentials.
func TestLinkByEmailFaults(t *testing.T) {
	t.Parallel()
	faults.Each(t, func(t *testing.T, in *faults.Injector) {
		synctest.Test(t, func(t *testing.T) {
			a := newFaultyApp(t, in, oidclogin.EmailLinks)
			u := a.add("ann@example.com", false)
			squatter := a.browser()
			squatter.password(u.Email)
			c := a.browser()
			callback := c.begin("")
			attempt(t, in, c, func() page { return c.do("GET", callback, nil) })
			now, err := a.kit.User(t.Context(), u.ID)
			require.NoError(t, err)
			linked := a.identified() == u.ID
			require.Equal(t, linked, !now.EmailVerifiedAt.IsZero())
			require.Equal(t, linked, a.kit.VerifyPassword(t.Context(), u.ID, localPassword) != nil)
			require.Equal(t, linked, squatter.user() == "")
			c = a.browser()
			require.Equal(t, u.ID, c.requireUser(c.login()).ID)
			require.Empty(t, squatter.user())
		})
	})
}

// OA-09: a link is made or not, and so is its removal.
func TestLinkFaults(t *testing.T) {
	t.Parallel()
	for _, unlink := range []bool{false, true} {
		faults.Each(t, func(t *testing.T, in *faults.Injector) {
			synctest.Test(t, func(t *testing.T) {
				a := newFaultyApp(t, in, oidclogin.EmailVerified)
				u := a.add("me@example.com", true)
				c := a.browser()
				c.password(u.Email)
				if !unlink {
					callback := c.beginLink()
					ok := attempt(t, in, c, func() page { return c.do("GET", callback, nil) })
					require.True(t, !ok || a.identified() == u.ID)
					require.Contains(t, []string{"", u.ID}, a.identified())
					return
				}
				require.Equal(t, http.StatusSeeOther, c.link().StatusCode)
				list, err := a.Identities(t.Context(), u.ID)
				require.NoError(t, err)
				ok := attempt(t, in, c, func() page {
					p := c.do("POST", "/oidc/identities/"+list[0].ID+"/unlink", url.Values{})
					require.NotEqual(t, http.StatusConflict, p.StatusCode, "an account that cannot be read may have a password")
					return p
				})
				require.True(t, !ok || a.identified() == "")
				require.Contains(t, []string{"", u.ID}, a.identified())
				require.Equal(t, 1, a.accounts())
			})
		})
	}
}

// OA-15: whatever fails at the start of a login, the next login succeeds, at the
// latest after the pause that spares a failing provider.
func TestStartFaults(t *testing.T) {
	t.Parallel()
	faults.Each(t, func(t *testing.T, in *faults.Injector) {
		synctest.Test(t, func(t *testing.T) {
			a := newFaultyApp(t, in, oidclogin.EmailVerified)
			c := a.browser()
			attempt(t, in, c, func() page { return c.do("GET", "/oidc/idp", nil) })
			require.Zero(t, a.accounts())
			time.Sleep(time.Minute)
			c = a.browser()
			require.Equal(t, a.identified(), "")
			u := c.requireUser(c.login())
			require.Equal(t, a.identified(), u.ID)
		})
	})
}
