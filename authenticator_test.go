package authkit_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A fakeAuthenticator answers by the value of a header.
type fakeAuthenticator struct {
	header, challenge string
	answers           map[string]func() (authkit.Credential, error)
	asked             int
}

func (f *fakeAuthenticator) Challenge() string { return f.challenge }

func (f *fakeAuthenticator) Authenticate(r *http.Request) (authkit.Credential, error) {
	f.asked++
	v := r.Header.Get(f.header)
	if v == "" {
		return authkit.Credential{}, authkit.ErrNoCredentials
	}
	answer := f.answers[v]
	if answer == nil {
		return authkit.Credential{}, fmt.Errorf("fake: %w", authkit.ErrInvalidToken)
	}
	return answer()
}

// gives returns an answer of a fakeAuthenticator.
func gives(c authkit.Credential, err error) func() (authkit.Credential, error) {
	return func() (authkit.Credential, error) { return c, err }
}

// withAuthenticators is a change for [newKit].
func withAuthenticators(all ...authkit.Authenticator) func(*authkit.Config) {
	return func(c *authkit.Config) { c.Authenticators = all }
}

// An authenticator of passwords is throttled by VerifyPassword, and the guard says so.
func TestAuthenticatorThrottled(t *testing.T) {
	t.Parallel()
	var events recorder
	fake := &fakeAuthenticator{header: "X-Fake"}
	throttle := &refusingThrottle{}
	kit, _, user := newSessionKit(t, events.listen, withAuthenticators(fake), func(c *authkit.Config) { c.Throttle = throttle })
	fake.answers = map[string]func() (authkit.Credential, error){
		"guess": func() (authkit.Credential, error) {
			return authkit.Credential{}, kit.VerifyPassword(context.Background(), user.ID, "a wrong guess")
		},
	}
	w := do(kit.Authenticate(whoami), "GET", "/", "X-Fake", "guess")
	problem(t, w, http.StatusTooManyRequests, "Too many attempts; try again later")
	require.Equal(t, "90", w.Header().Get("Retry-After"))
	require.Equal(t, authkit.EventTokenRefused, events.last().Kind)
	require.Equal(t, authkit.ReasonThrottled, events.last().Reason)
	for _, e := range events.all() {
		require.NotEqual(t, authkit.EventStoreFailure, e.Kind)
	}
}

// refusingThrottle is a Throttle that refuses every attempt.
type refusingThrottle struct{ authkit.Throttle }

func (refusingThrottle) Begin(context.Context, authkit.Attempt) error {
	return &authkit.ThrottledError{RetryAfter: 90 * time.Second}
}

// The guard takes a principal from a credential and the account.
func TestAuthenticator(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeAuthenticator{header: "X-Fake", challenge: `Fake realm="x"`}
		second := &fakeAuthenticator{header: "X-Second", challenge: "Second"}
		third := &fakeAuthenticator{header: "X-Third"}
		kit, _, user := newSessionKit(t, withAuthenticators(fake, second, third))
		at := time.Now().UTC()
		fake.answers = map[string]func() (authkit.Credential, error){
			"person": gives(authkit.Credential{
				Kind: "fake", ID: "7", UserID: user.ID, Roles: []string{"admin"}, Methods: []string{"hwk"}, AuthTime: at, IssuedAt: at,
				ExpiresAt: at.Add(time.Hour), SessionID: "s", ActorID: "actor",
			}, nil),
			"service": gives(authkit.Credential{Kind: "cert", ID: "8", Service: "billing", Roles: []string{"reader"}}, nil),
		}
		var p authkit.Principal
		h := kit.Require(authkit.Authenticated().OrMachines())(noted(&p))
		require.Equal(t, 200, do(h, "GET", "/", "X-Fake", "person").Code)
		require.Equal(t, authkit.Principal{
			Kind: authkit.Person, UserID: user.ID, Email: email, Roles: []string{"user"}, ActorID: "actor", Credential: "fake", TokenID: "7",
			SessionID: "s", IssuedAt: at, ExpiresAt: at.Add(time.Hour), Methods: []string{"hwk"}, AuthTime: at,
		}, p)
		require.Error(t, p.DecodeClaims(new(map[string]any)), "there is no token")

		require.Equal(t, 200, do(h, "GET", "/", "X-Fake", "service").Code)
		require.Equal(t, authkit.Principal{Kind: authkit.Machine, Name: "billing", Roles: []string{"reader"}, Credential: "cert", TokenID: "8"}, p)
		require.Equal(t, 403, do(kit.Authenticate(whoami), "GET", "/", "X-Fake", "service").Code)
		require.Equal(t, "nobody", do(kit.Require(authkit.Roles("reader").OrMachines())(whoami), "GET", "/", "X-Fake", "service").Body.String())

		// A store-less guard takes the roles from the credential.
		guard := newGuard(t, func(c *authkit.GuardConfig) { c.Authenticators = []authkit.Authenticator{fake} })
		require.Equal(t, 200, do(guard.RequireRoles("admin")(noted(&p)), "GET", "/", "X-Fake", "person").Code)
		require.Equal(t, []string{"admin"}, p.Roles)

		// RFC 9110 section 11.6.1: each scheme has its challenge.
		w := do(h, "GET", "/")
		require.Equal(t, 401, w.Code)
		require.Equal(t, []string{"Bearer", `Fake realm="x"`, "Second"}, w.Header().Values("WWW-Authenticate"))
	})
}

// Of all credentials of a request there is exactly one, and it is good, or it is refused.
func TestAuthenticatorRefuses(t *testing.T) {
	t.Parallel()
	var events recorder
	fake, second := &fakeAuthenticator{header: "X-Fake"}, &fakeAuthenticator{header: "X-Second"}
	var own ownBearer
	kit, store, user := newSessionKit(t, events.listen, withAuthenticators(fake, second, &own))
	token := begin(t, kit)
	off, err := kit.CreateUser(t.Context(), authkit.User{Email: "off@example.com", Disabled: true}, password)
	require.NoError(t, err)
	cut := addUser(t, kit, "cut@example.com", password)
	require.NoError(t, kit.LogoutEverywhere(t.Context(), cut.ID))
	old := storeUser(t, store, authkit.StoredUser{User: authkit.User{ID: "old", Email: "old@example.com", CreatedAt: time.Now()}})
	of := func(u authkit.User, change ...func(*authkit.Credential)) func() (authkit.Credential, error) {
		c := authkit.Credential{Kind: "fake", ID: "1", UserID: u.ID}
		for _, f := range change {
			f(&c)
		}
		return gives(c, nil)
	}
	issued := func(at time.Time) func(*authkit.Credential) { return func(c *authkit.Credential) { c.IssuedAt = at } }
	broken := errors.New("no connection")
	fake.answers = map[string]func() (authkit.Credential, error){
		"good":     of(user),
		"disabled": of(off), "lasting": of(cut),
		"cut off":         of(cut, issued(time.Now().Add(-time.Second))),
		"as old":          of(old.User, issued(time.Now())),
		"older":           of(old.User, issued(time.Now().Add(-time.Hour))),
		"gone":            of(authkit.User{ID: "gone"}),
		"expired":         of(user, func(c *authkit.Credential) { c.ExpiresAt = time.Now() }),
		"broken":          gives(authkit.Credential{}, broken),
		"unavailable":     gives(authkit.Credential{}, fmt.Errorf("%w: %w", authkit.ErrUnavailable, broken)),
		"not found":       gives(authkit.Credential{}, authkit.ErrUserNotFound),
		"forbidden":       gives(authkit.Credential{}, authkit.ErrForbidden),
		"invalid input":   gives(authkit.Credential{}, &authkit.ValidationError{}),
		"user disabled":   gives(authkit.Credential{}, authkit.ErrUserDisabled),
		"no kind":         gives(authkit.Credential{UserID: user.ID}, nil),
		"no one":          gives(authkit.Credential{Kind: "fake"}, nil),
		"two at once":     gives(authkit.Credential{Kind: "fake", UserID: user.ID, Service: "x"}, nil),
		"expired, by it":  gives(authkit.Credential{}, authkit.ErrTokenExpired),
		"no credentials":  gives(authkit.Credential{}, fmt.Errorf("fake: %w", authkit.ErrNoCredentials)),
		"expires far off": of(user, func(c *authkit.Credential) { c.ExpiresAt = time.Now().Add(time.Hour) }),
	}
	own.userID = user.ID
	second.answers = map[string]func() (authkit.Credential, error){"good": of(user)}
	access := "Bearer " + token.AccessToken
	for _, c := range []struct {
		headers []string
		status  int
		reason  authkit.Reason
		userID  string
	}{
		{[]string{"X-Fake", "good"}, 200, "", ""},
		{[]string{"X-Fake", "lasting"}, 200, "", ""}, // IssuedAt is zero: it outlives a cut-off
		{[]string{"X-Fake", "as old"}, 200, "", ""},
		{[]string{"X-Fake", "expires far off"}, 200, "", ""},
		{[]string{"X-Fake", "no credentials", "Authorization", access}, 200, "", ""},
		{[]string{"X-Fake", "good", "Authorization", "Basic dTpw"}, 200, "", ""},
		{[]string{"X-Fake", "no credentials"}, 401, "", ""},
		{[]string{"X-Fake", "wrong"}, 401, authkit.ReasonMalformed, ""},
		{[]string{"X-Fake", "expired"}, 401, authkit.ReasonExpired, ""},
		{[]string{"X-Fake", "expired, by it"}, 401, authkit.ReasonExpired, ""},
		{[]string{"X-Fake", "gone"}, 401, authkit.ReasonUnknownUser, ""},
		{[]string{"X-Fake", "disabled"}, 400, authkit.ReasonDisabled, off.ID},
		{[]string{"X-Fake", "cut off"}, 401, authkit.ReasonRevokedBefore, cut.ID},
		{[]string{"X-Fake", "older"}, 401, authkit.ReasonOtherAccount, old.ID},
		{[]string{"X-Fake", "good", "X-Second", "good"}, 401, authkit.ReasonTooMany, ""},
		{[]string{"X-Fake", "good", "X-Second", "wrong"}, 401, authkit.ReasonTooMany, ""},
		{[]string{"X-Fake", "good", "Authorization", access}, 401, authkit.ReasonTooMany, ""},
		{[]string{"X-Fake", "good", "Authorization", "Bearer a.b.c"}, 401, authkit.ReasonTooMany, ""},
		{[]string{"X-Fake", "broken"}, 503, authkit.ReasonStore, ""},
		{[]string{"X-Fake", "unavailable"}, 503, authkit.ReasonStore, ""},
		{[]string{"X-Fake", "not found"}, 503, authkit.ReasonStore, ""},
		{[]string{"X-Fake", "forbidden"}, 503, authkit.ReasonStore, ""},
		{[]string{"X-Fake", "invalid input"}, 503, authkit.ReasonStore, ""},
		{[]string{"X-Fake", "user disabled"}, 503, authkit.ReasonStore, ""},
		{[]string{"X-Fake", "no kind"}, 500, authkit.ReasonStore, ""},
		{[]string{"X-Fake", "no one"}, 500, authkit.ReasonStore, ""},
		{[]string{"X-Fake", "two at once"}, 500, authkit.ReasonStore, ""},
		{[]string{"Authorization", "Bearer opaque"}, 401, authkit.ReasonMalformed, ""},
		{[]string{"Authorization", "Bearer " + strings.Repeat("a", 8192)}, 401, authkit.ReasonMalformed, ""},
		{[]string{"Authorization", "Bearer " + strings.Repeat("a", 8193)}, 401, authkit.ReasonTooLarge, ""},
		{[]string{"Authorization", "Bearer " + ownToken}, 200, "", ""},
		{[]string{"Authorization", access}, 200, "", ""},
	} {
		events.reset()
		w := do(kit.Authenticate(whoami), "GET", "/", c.headers...)
		require.Equal(t, c.status, w.Code, c.headers)
		require.Equal(t, c.reason, events.last().Reason, c.headers)
		require.Equal(t, c.userID, events.last().UserID, c.headers)
		if c.userID != "" {
			require.Equal(t, "1", events.last().SessionID, "the ID of the credential")
		}
		if c.status >= 500 {
			require.Equal(t, authkit.EventStoreFailure, events.last().Kind, c.headers)
			require.ErrorContains(t, events.last().Err, "authkit: ", c.headers)
			require.NotContains(t, w.Body.String(), "connection")
			require.Equal(t, c.headers[1] != "unavailable", strings.Contains(events.last().Err.Error(), "uthenticator"), "%v", events.last().Err)
		}
		require.Equal(t, c.status == 401, w.Header().Get("WWW-Authenticate") != "", c.headers)
	}
	_, err = authkit.New(authkit.Config{Secret: []byte(testSecret), Authenticators: []authkit.Authenticator{nil}})
	require.ErrorContains(t, err, "Config.Authenticators: the element 0 is nil")
	_, err = authkit.NewGuard(authkit.GuardConfig{Authenticators: []authkit.Authenticator{nil}})
	require.ErrorContains(t, err, "GuardConfig.Authenticators")
}

// ownToken is a token of an ownBearer. It is as long as an access token can be.
var ownToken = strings.Repeat("o", 8192)

// An ownBearer is an authenticator whose bearer tokens the Kit did not issue.
type ownBearer struct{ userID string }

func (*ownBearer) Challenge() string { return "" }

func (a *ownBearer) Authenticate(r *http.Request) (authkit.Credential, error) {
	if token, err := authkit.BearerToken(r); err != nil || token != ownToken {
		return authkit.Credential{}, authkit.ErrNoCredentials
	}
	return authkit.Credential{Kind: "own", UserID: a.userID}, nil
}

// The event of a refused credential names its session, if it has one.
func TestRefusedCredentialOfASession(t *testing.T) {
	t.Parallel()
	var events recorder
	fake := &fakeAuthenticator{header: "X-Fake"}
	kit := newKit(t, events.listen, withAuthenticators(fake))
	u := addUser(t, kit, email, password)
	fake.answers = map[string]func() (authkit.Credential, error){
		"x": gives(authkit.Credential{Kind: "fake", ID: "1", SessionID: "2", UserID: u.ID}, nil),
	}
	require.NoError(t, kit.DisableUser(t.Context(), u.ID))
	require.Equal(t, 400, do(kit.Authenticate(whoami), "GET", "/", "X-Fake", "x").Code)
	require.Equal(t, "2", events.last().SessionID)
}

// A guard within another takes over what that found, unless the request has changed since.
func TestNestedGuardsLookAgain(t *testing.T) {
	t.Parallel()
	fake := &fakeAuthenticator{header: "X-Fake"}
	kit, _, user := newSessionKit(t, withAuthenticators(fake))
	other := addUser(t, kit, "other@example.com", password)
	access := "Bearer " + begin(t, kit).AccessToken
	fake.answers = map[string]func() (authkit.Credential, error){
		"ann": gives(authkit.Credential{Kind: "fake", UserID: user.ID}, nil),
		"bob": gives(authkit.Credential{Kind: "fake", UserID: other.ID}, nil),
	}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		name   string
		before []string
		change func(*http.Request) // in place
		status int
		user   string
		asked  int
	}{
		{"nothing, fake", []string{"X-Fake", "ann"}, func(*http.Request) {}, 200, email, 1},
		{"nothing, token", []string{"Authorization", access}, func(*http.Request) {}, 200, email, 1},
		{"another header", []string{"X-Fake", "ann"}, set("X-Request-Id", "1"), 200, email, 2},
		{"another user", []string{"X-Fake", "ann"}, set("X-Fake", "bob"), 200, other.Email, 2},
		{"a wrong one", []string{"X-Fake", "ann"}, set("X-Fake", "x"), 401, "", 2},
		{"none any more", []string{"X-Fake", "ann"}, func(r *http.Request) { r.Header.Del("X-Fake") }, 401, "", 2},
		{"a token beside", []string{"X-Fake", "ann"}, set("Authorization", access), 401, "", 2},
		{"one beside a token", []string{"Authorization", access}, set("X-Fake", "bob"), 401, "", 2},
		{"another method", []string{"X-Fake", "ann"}, func(r *http.Request) { r.Method = "DELETE" }, 200, email, 2},
		{"a certificate", []string{"X-Fake", "ann"}, func(r *http.Request) { r.TLS = new(tls.ConnectionState) }, 200, email, 2},
	} {
		fake.asked = 0
		var seen string
		look := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			p, _ := authkit.PrincipalFrom(r.Context())
			seen = p.Email
		})
		inner := kit.Authenticate(look)
		between := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.change(r)
			inner.ServeHTTP(w, r)
		})
		require.Equal(t, c.status, do(kit.Authenticate(between), "GET", "/", c.before...).Code, c.name)
		require.Equal(t, c.user, seen, c.name)
		require.Equal(t, c.asked, fake.asked, c.name)
	}
}

func TestBearerTokenOf(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{"Bearer x": "x", "bearer x.y": "x.y", "BEARER  x": " x"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", value)
		got, err := authkit.BearerToken(r)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for value, want := range map[string]error{"": authkit.ErrNoCredentials, "Basic x": authkit.ErrNoCredentials, "Bearer": authkit.ErrInvalidToken} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", value)
		_, err := authkit.BearerToken(r)
		require.ErrorIs(t, err, want)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header["Authorization"] = []string{"Bearer x", "Bearer x"}
	_, err := authkit.BearerToken(r)
	require.ErrorIs(t, err, authkit.ErrInvalidToken)
	_, err = authkit.BearerToken(httptest.NewRequest("GET", "/", nil))
	require.ErrorIs(t, err, authkit.ErrNoCredentials)
}

// FR-05: a handler of a Kit takes no principal from another Kit or Guard: the same user ID may be
// another account there.
func TestHandlersRefuseForeignPrincipals(t *testing.T) {
	t.Parallel()
	kit, store, user := newSessionKit(t)
	token := begin(t, kit)
	same := newKit(t, withSessions(store)) // the same key and accounts, and still another Kit
	guard := newGuard(t)
	for name, h := range foreignHandlers(kit) {
		for _, protect := range []func(http.Handler) http.Handler{same.Authenticate, guard.Authenticate, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r.WithContext(authkit.WithSystem(r.Context(), "job")))
			})
		}} {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				w := do(protect(h), method, "/", bearer(token)...)
				require.Contains(t, []int{401, 405}, w.Code, "%s %s", method, name)
			}
		}
		require.Contains(t, []int{200, 204, 404, 422}, do(kit.Authenticate(h), foreignMethods[name], "/", bearer(token)...).Code, name)
		token = begin(t, kit)
	}
	sessions, err := kit.Sessions(t.Context(), user.ID)
	require.NoError(t, err)
	require.NotEmpty(t, sessions)

	// Nor does a change to an account.
	ctx, _, err := guard.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	_, err = kit.SetRoles(ctx, user.ID, "user", "auditor")
	require.ErrorIs(t, err, authkit.ErrForbidden)
	require.ErrorIs(t, kit.SetPassword(ctx, user.ID, "another horse"), authkit.ErrForbidden)
	require.ErrorIs(t, kit.LogoutEverywhere(ctx, user.ID), authkit.ErrForbidden)
	require.Equal(t, http.StatusOK, access(t, kit, token))

	// No handler is forgotten: all others take a credential of their own in the form or a cookie.
	own := []string{"TokenHandler", "RefreshCookieHandler", "RevocationHandler", "FormLoginHandler", "FormLogoutHandler"}
	for method := range reflect.TypeFor[*authkit.Kit]().Methods() {
		if _, acts := foreignMethods[method.Name]; strings.HasSuffix(method.Name, "Handler") && !slices.Contains(own, method.Name) {
			require.True(t, acts, method.Name)
		}
	}
}

// foreignHandlers are the handlers that act for the principal of a request, and foreignMethods their
// methods.
func foreignHandlers(kit *authkit.Kit) map[string]http.Handler {
	return map[string]http.Handler{
		"LogoutHandler": kit.LogoutHandler(), "SessionsHandler": kit.SessionsHandler(), "IntrospectionHandler": kit.IntrospectionHandler(),
		"EndSessionHandler": kit.EndSessionHandler(), "EndOtherSessionsHandler": kit.EndOtherSessionsHandler(),
		"ChangePasswordHandler": kit.ChangePasswordHandler(),
	}
}

var foreignMethods = map[string]string{
	"LogoutHandler": "POST", "SessionsHandler": "GET", "IntrospectionHandler": "POST",
	"EndSessionHandler": "DELETE", "EndOtherSessionsHandler": "DELETE", "ChangePasswordHandler": "POST",
}

// FR-10: what was issued before the account was created belongs to another account, with the same ID or
// address.
func TestCredentialsOlderThanTheAccount(t *testing.T) {
	t.Parallel()
	for _, emailSubject := range []bool{false, true} {
		t.Run(fmt.Sprintf("email subject %v", emailSubject), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var events recorder
				kit, store, user := newSessionKit(t, events.listen, func(c *authkit.Config) {
					c.EmailSubject, c.Tokens.Leeway, c.Sessions.ReuseGrace = emailSubject, 30*time.Second, -1
				})
				again := func(after time.Duration) (authkit.Token, int) {
					require.NoError(t, store.DeleteUser(t.Context(), user.ID, ""))
					u := user
					u.CreatedAt = time.Now().UTC()
					storeUser(t, store, authkit.StoredUser{User: u, PasswordHash: bcryptHash(t, password, 4)})
					token := begin(t, kit)
					time.Sleep(after)
					require.NoError(t, store.DeleteUser(t.Context(), user.ID, ""))
					u.CreatedAt = time.Now().UTC()
					storeUser(t, store, authkit.StoredUser{User: u, PasswordHash: bcryptHash(t, password, 4)})
					return token, access(t, kit, token)
				}
				token, status := again(30 * time.Second) // the clocks may differ by so much
				require.Equal(t, 200, status)
				renew(t, kit, token)
				token, status = again(31 * time.Second)
				require.Equal(t, 401, status)
				require.Equal(t, authkit.ReasonOtherAccount, events.last().Reason)
				requireRefused(t, kit, &events, token, authkit.EventRefreshFailure, authkit.ReasonOtherAccount)
				requireRefused(t, kit, &events, token, authkit.EventRefreshFailure, authkit.ReasonRevoked)
			})
		})
	}
}

// FR-10: an address that moved to a new account does not take the old tokens along, even those that name no
// user ID.
func TestTokensOfAReusedAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t, func(c *authkit.Config) { c.EmailSubject = true })
		issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}})
		require.NoError(t, err)
		old, err := issuer.Issue(authkit.Claims{Subject: email})
		require.NoError(t, err)
		time.Sleep(5 * time.Minute)
		addUser(t, kit, email, password)
		require.Equal(t, 401, access(t, kit, authkit.Token{AccessToken: old}))
		fresh, err := issuer.Issue(authkit.Claims{Subject: email})
		require.NoError(t, err)
		require.Equal(t, 200, access(t, kit, authkit.Token{AccessToken: fresh}))
	})
}

// An interceptor, a job or a consumer of a queue has a token and no request.
func TestIdentifyToken(t *testing.T) {
	t.Parallel()
	kit, store, user := newSessionKit(t)
	token := begin(t, kit)
	ctx, p, err := kit.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	require.Equal(t, authkit.Person, p.Kind)
	require.Equal(t, user.ID, p.UserID)
	require.Equal(t, "bearer", p.Credential)
	seen, ok := authkit.PrincipalFrom(ctx)
	require.True(t, ok)
	require.Equal(t, p, seen)
	account, ok := authkit.UserFrom(ctx)
	require.True(t, ok)
	require.Equal(t, user.ID, account.ID)
	require.Zero(t, authkit.ClientFrom(ctx))
	require.NoError(t, authkit.Roles("user").Check(p))

	// The context is that of a caller, and no credential of a request.
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	w := httptest.NewRecorder()
	kit.Authenticate(whoami).ServeHTTP(w, r)
	require.Equal(t, 401, w.Code)

	for text, want := range map[string]error{"": authkit.ErrInvalidToken, "x": authkit.ErrInvalidToken, token.RefreshToken: authkit.ErrInvalidToken} {
		ctx, p, err := kit.IdentifyToken(t.Context(), text)
		require.ErrorIs(t, err, want)
		require.Zero(t, p)
		_, ok := authkit.PrincipalFrom(ctx)
		require.False(t, ok)
	}
	_, err = store.UpdateUser(t.Context(), user.ID, authkit.UserUpdate{Disabled: new(true)}, time.Now())
	require.NoError(t, err)
	ctx, _, err = kit.IdentifyToken(t.Context(), token.AccessToken)
	require.ErrorIs(t, err, authkit.ErrUserDisabled)
	_, ok = authkit.PrincipalFrom(ctx)
	require.False(t, ok)
}

// A command or a job that names itself is the actor of its events, and passes no policy.
func TestWithSystem(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, _, user := newSessionKit(t, events.listen)
	token := begin(t, kit)
	person, _, err := kit.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	for name, ctx := range map[string]context.Context{"alone": t.Context(), "within a request": person} {
		ctx = authkit.WithSystem(ctx, "import")
		p, ok := authkit.PrincipalFrom(ctx)
		require.True(t, ok)
		require.Equal(t, authkit.Principal{Kind: authkit.System, Name: "import"}, p, name)
		_, ok = authkit.UserFrom(ctx)
		require.False(t, ok)
		_, err = kit.SetFullName(ctx, user.ID, "Ann "+name)
		require.NoError(t, err)
		require.Equal(t, authkit.Event{Kind: authkit.EventUserUpdated, UserID: user.ID, ActorID: "system:import"}, events.last(), name)

		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		w := httptest.NewRecorder()
		kit.Authenticate(whoami).ServeHTTP(w, r)
		require.Equal(t, 401, w.Code, name)
		for _, policy := range []authkit.Policy{authkit.Authenticated(), authkit.Authenticated().OrMachines(), authkit.Roles("user").OrMachines()} {
			require.ErrorIs(t, policy.Check(p), authkit.ErrForbidden)
		}
		require.NoError(t, authkit.Public().Check(p))
	}
	_, err = kit.SetFullName(person, user.ID, "Ann")
	require.NoError(t, err)
	require.Empty(t, events.last().ActorID, "the user")
}

// The actor of an event is the one who acts, not the one who is acted for.
func TestEventsNameTheActor(t *testing.T) {
	t.Parallel()
	var events recorder
	fake := &fakeAuthenticator{header: "X-Fake"}
	kit, _, user := newSessionKit(t, events.listen, withAuthenticators(fake))
	other := addUser(t, kit, "other@example.com", password, "admin")
	fake.answers = map[string]func() (authkit.Credential, error){
		"user":         gives(authkit.Credential{Kind: "fake", UserID: other.ID}, nil),
		"impersonated": gives(authkit.Credential{Kind: "fake", UserID: user.ID, ActorID: other.ID}, nil),
		"service":      gives(authkit.Credential{Kind: "fake", Service: "billing", Roles: []string{"admin"}}, nil),
	}
	for name, want := range map[string]string{"user": other.ID, "impersonated": other.ID, "service": "service:billing"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-Fake", name)
		ctx, _, err := kit.Identify(r)
		require.NoError(t, err)
		_, err = kit.SetFullName(ctx, user.ID, "Ann")
		require.NoError(t, err)
		require.Equal(t, want, events.last().ActorID, name)
	}
}
