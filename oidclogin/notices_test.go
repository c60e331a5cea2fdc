package oidclogin_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
)

// A provider that fails may repeat the request in its answer. Its code and the
// secret of the client do not reach events, which are logged.
func TestFailureOfProviderRevealsNoSecrets(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusInternalServerError} {
		h := newHostile(t)
		a := newApp(t, []oidclogin.Provider{generic(h)})
		h.handle["/token"] = func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(status)
			_, _ = w.Write(append([]byte("debug: "), body...))
		}
		a.browser().login()
		a.mu.Lock()
		reported := false
		for _, e := range a.events {
			if e.Kind == oidclogin.EventProviderFailure {
				reported = true
				require.NotContains(t, e.Err.Error(), "code=")
				require.NotContains(t, e.Err.Error(), "debug")
			}
		}
		a.mu.Unlock()
		require.True(t, reported)
	}
}

// OA-09: a link by the address notifies the user, as one from the settings does.
func TestLinkByEmailNotifies(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	p := generic(h)
	p.Email = oidclogin.EmailLinks
	a := newApp(t, []oidclogin.Provider{p}, withMailer)
	there := a.add("ann@example.com", true)
	c := a.browser()
	require.Equal(t, there.ID, c.requireUser(c.login()).ID)
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Len(t, a.mails, 1)
	require.Equal(t, "ann@example.com", a.mails[0].To)
}

// OA-09: a user is notified also if the client leaves after the change.
func TestUnlinkNotifiesIfTheClientLeaves(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	ctx, leave := context.WithCancel(t.Context())
	a := newApp(t, []oidclogin.Provider{generic(h)}, withMailer, func(c *authkit.Config, _ *oidclogin.Config) {
		c.OnEvent = append(c.OnEvent, func(_ context.Context, e authkit.Event) {
			if e.Kind == authkit.EventFactorRemoved {
				leave()
			}
		})
	})
	u := a.add("ann@example.com", true)
	require.NoError(t, a.store.CreateIdentity(t.Context(), oidclogin.Identity{ID: "1", UserID: u.ID, Provider: "idp", Issuer: h.URL, Subject: "1"}))
	require.NoError(t, a.Unlink(ctx, u.ID, "1"))
	require.Error(t, ctx.Err())
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Len(t, a.mails, 1)
}
