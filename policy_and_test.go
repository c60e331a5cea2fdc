package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

type andKey struct{}

// AZ-01: a function of a policy decides after all other conditions. Its context
// reaches the handler, and its errors are those of ProblemFor.
func TestPolicyAnd(t *testing.T) {
	t.Parallel()
	var events []authkit.Event
	kit, _, user := newSessionKit(t, func(c *authkit.Config) {
		c.OnEvent = append(c.OnEvent, func(_ context.Context, e authkit.Event) { events = append(events, e) })
	})
	access := bearer(begin(t, kit))
	var refused error
	asked := 0
	policy := authkit.Authenticated().And("object of {id}", func(r *http.Request) (context.Context, error) {
		asked++
		p, ok := kit.Principal(r.Context())
		require.True(t, ok)
		require.Equal(t, user.ID, p.UserID)
		return context.WithValue(r.Context(), andKey{}, r.PathValue("id")), refused
	})
	mux := kit.NewMux()
	handler := func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		_, _ = io.WriteString(w, p.UserID+r.Context().Value(andKey{}).(string))
	}
	mux.HandleFunc("GET /objects/{id}", policy, handler)
	mux.HandleFunc("GET /roles/{id}", authkit.Roles("admin").And("x", func(r *http.Request) (context.Context, error) {
		asked++
		return r.Context(), nil
	}), handler)
	require.Equal(t, "authenticated; and: object of {id}", mux.AccessMatrix()[0].Policy.String())

	require.Equal(t, 401, do(mux, "GET", "/objects/7").Code)
	require.Equal(t, 403, do(mux, "GET", "/roles/7", access...).Code)
	require.Zero(t, asked, "nobody is asked about a request that is refused anyway")
	w := do(mux, "GET", "/objects/7", access...)
	require.Equal(t, 200, w.Code)
	require.Equal(t, user.ID+"7", w.Body.String())
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	for err, status := range map[error]int{
		authkit.ErrForbidden: 403, authkit.ErrNotFound: 404, authkit.ErrUnavailable: 503, errors.New("a hook"): 500,
		&authkit.StepUpError{}: 401,
		// A failure stays one, whatever it wraps.
		fmt.Errorf("%w: %w", authkit.ErrUnavailable, authkit.ErrNotFound):       503,
		fmt.Errorf("%w: %w", authkit.ErrUnavailable, &authkit.StepUpError{}):    503,
		fmt.Errorf("%w: %w", authkit.ErrUnavailable, &authkit.ThrottledError{}): 503,
		fmt.Errorf("%w: %w", authkit.ErrUnavailable, authkit.ErrUserDisabled):   503,
	} {
		events, refused = nil, err
		w := do(mux, "GET", "/objects/7", access...)
		require.Equal(t, status, w.Code)
		require.NotContains(t, w.Body.String(), "hook")
		require.Len(t, events, 1)
		require.Equal(t, status >= 500, events[0].Kind == authkit.EventStoreFailure)
		if status == 404 {
			require.Equal(t, authkit.Event{Kind: authkit.EventAccessDenied, UserID: user.ID, SessionID: events[0].SessionID, Reason: authkit.ReasonMissingRole, Route: "GET /objects/{id}"}, events[0])
			problem(t, w, 404, "Not found")
		}
	}

	// Check has no request, so it admits no one.
	require.ErrorIs(t, policy.Check(authkit.Principal{UserID: user.ID}), authkit.ErrForbidden)
	require.ErrorIs(t, policy.Check(authkit.Principal{}), authkit.ErrNoCredentials)

	for _, p := range []authkit.Policy{
		authkit.Authenticated().And("", func(r *http.Request) (context.Context, error) { return r.Context(), nil }),
		authkit.Authenticated().And("x", nil),
		authkit.Public().And("x", func(r *http.Request) (context.Context, error) { return r.Context(), nil }),
	} {
		require.Panics(t, func() { kit.NewMux().HandleFunc("/", p, handler) }, "%s", p)
	}

	// The principal of another Kit is none.
	other, _, _ := newSessionKit(t)
	ctx, _, err := other.IdentifyToken(t.Context(), begin(t, other).AccessToken)
	require.NoError(t, err)
	_, ok := kit.Principal(ctx)
	require.False(t, ok)
	_, ok = kit.Principal(authkit.WithSystem(t.Context(), "job"))
	require.False(t, ok)
}

// A limited credential is within its limits only.
func TestWithinLimits(t *testing.T) {
	t.Parallel()
	fake := &fakeAuthenticator{header: "X-Fake"}
	kit, _, user := newSessionKit(t, withAuthenticators(fake))
	fake.answers = map[string]func() (authkit.Credential, error){
		"whole":   gives(authkit.Credential{Kind: "fake", UserID: user.ID}, nil),
		"limited": gives(authkit.Credential{Kind: "fake", UserID: user.ID, Limited: true, Permissions: []string{"read"}}, nil),
		"none":    gives(authkit.Credential{Kind: "fake", UserID: user.ID, Limited: true}, nil),
	}
	for name, want := range map[string][2]bool{"whole": {true, true}, "limited": {true, false}, "none": {false, false}} {
		var p authkit.Principal
		require.Equal(t, 200, do(kit.Require(authkit.Authenticated())(noted(&p)), "GET", "/", "X-Fake", name).Code)
		require.Equal(t, want, [2]bool{p.WithinLimits("read"), p.WithinLimits("write")}, name)
	}
}

// OR-06: a stream ends when the function of its policy refuses the principal.
func TestWatchAnd(t *testing.T) {
	t.Parallel()
	for _, credential := range []string{"token", "cookie"} {
		t.Run(credential, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				kit, h, _ := newSite(t, withSessions(authkit.NewMemoryStore()), func(c *authkit.Config) { c.Sessions.Cookies = &authkit.SessionCookieConfig{} })
				var removed atomic.Bool
				policy := authkit.Authenticated().And("member", func(r *http.Request) (context.Context, error) {
					if _, ok := kit.Principal(r.Context()); !ok || removed.Load() {
						return nil, authkit.ErrNotFound
					}
					return r.Context(), nil
				})
				header, value := "Authorization", "Bearer "+begin(t, kit).AccessToken
				if credential == "cookie" {
					header, value = "Cookie", "__Host-session="+surf(t, h).cookie
				}
				s := new(stream)
				open(t, watchRoute(kit, policy, s), s, header, value)
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				require.True(t, s.running())
				s.opened = time.Now()
				removed.Store(true)
				<-s.done
				require.ErrorIs(t, s.cause, authkit.ErrNotFound)
				require.LessOrEqual(t, s.lasted(), 30*time.Second)
			})
		})
	}
}

// The function sees the path values of the route, also if an outer guard has let the
// request pass before it was routed.
func TestPolicyAndWithinAGuard(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSessionKit(t)
	mux := kit.NewMux()
	var seen string
	mux.HandleFunc("GET /objects/{id}", authkit.Authenticated().And("object", func(r *http.Request) (context.Context, error) {
		seen = r.PathValue("id")
		return r.Context(), nil
	}), func(http.ResponseWriter, *http.Request) {})
	require.Equal(t, 200, do(kit.Authenticate(mux), "GET", "/objects/7", bearer(begin(t, kit))...).Code)
	require.Equal(t, "7", seen)
}
