package org_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// watchDuring watches a request to a policy for two intervals. After the first
// one it calls change. It returns the cause of the end, or nil.
func watchDuring(t *testing.T, a *app, wrap func(http.Handler) http.Handler, p authkit.Policy, pattern, path, token string, change func()) (cause error) {
	t.Helper()
	mux := a.kit.NewMux()
	mux.HandleFunc(pattern, p, func(_ http.ResponseWriter, r *http.Request) {
		watched, stop := a.kit.Watch(r.Context(), p, time.Minute)
		defer stop()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.NoError(t, context.Cause(watched), "before the change")
		change()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		cause = context.Cause(watched)
	})
	r, w := request(t, "GET", path, token, "")
	wrap(mux).ServeHTTP(w, r)
	require.Equal(t, 200, w.Code, w.Body)
	return cause
}

func unwrapped(h http.Handler) http.Handler { return h }

// OR-06, OR-07: a stream of the active organization ends when the session
// switches to another one. Otherwise it would outlive a removal from the first.
func TestWatchActive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		ann, bob := a.person(t, "ann"), a.person(t, "bob")
		first, second := a.create(t, ann), a.create(t, bob)
		a.join(t, ann, first, bob, "member")
		keep(t)(a.Switch(bob, first))
		cause := watchDuring(t, a, unwrapped, a.Active(), "GET /stream", "/stream", bob.token, func() {
			keep(t)(a.Switch(bob, second))
			require.NoError(t, a.Remove(ann, first, bob.ID))
		})
		require.ErrorIs(t, cause, authkit.ErrNotFound)
	})
}

// OR-06: a stream goes on if other middleware has authenticated the request
// before the mux set the values of its path, and ends with the membership.
func TestWatchBehindAuthenticate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		ann, bob := a.person(t, "ann"), a.person(t, "bob")
		id := a.create(t, ann)
		a.join(t, ann, id, bob, "member")
		cause := watchDuring(t, a, a.kit.Authenticate, a.Member(), "GET /stream/{org}", "/stream/"+id, bob.token, func() {
			require.NoError(t, a.Remove(ann, id, bob.ID))
		})
		require.ErrorIs(t, cause, authkit.ErrNotFound)
	})
}
