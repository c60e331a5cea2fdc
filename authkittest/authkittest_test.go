package authkittest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
)

// who writes the principal of a request.
func who(w http.ResponseWriter, r *http.Request) {
	p, _ := authkit.PrincipalFrom(r.Context())
	body, _ := io.ReadAll(r.Body)
	_, _ = fmt.Fprint(w, p.Email, " ", p.Roles, " ", p.Methods, " ", string(body))
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestUser(t *testing.T) {
	t.Parallel()
	var events authkittest.Recorder
	kit := authkittest.NewKit(t, events.Listen)
	ann := authkittest.User(t, kit, "admin", "auditor")
	require.Equal(t, "admin1@example.com", ann.Email)
	require.Equal(t, []string{"admin", "auditor"}, ann.Roles)
	require.Equal(t, "admin2@example.com", authkittest.User(t, kit, "admin").Email)
	require.Equal(t, "user1@example.com", authkittest.User(t, kit).Email)
	require.Equal(t, "org-admin1@example.com", authkittest.User(t, kit, "org:admin").Email)
	require.Equal(t, "system:authkittest", events.Take()[0].ActorID)
	token, err := kit.Login(t.Context(), ann.Email, authkittest.Password)
	require.NoError(t, err)
	require.NotEmpty(t, token.RefreshToken)

	var done sync.WaitGroup
	for range 8 {
		done.Go(func() { authkittest.User(authkittest.Example{}, kit, "many") })
	}
	done.Wait()
	_, err = kit.UserByEmail(t.Context(), "many8@example.com")
	require.NoError(t, err)
}

// The requests pass real guards: an account that may not enter does not, by whatever way its
// request was made.
func TestRequest(t *testing.T) {
	t.Parallel()
	kit := authkittest.NewKit(t, func(c *authkit.Config) { c.RequireVerifiedEmail = true })
	h := kit.RequireRoles("user")(http.HandlerFunc(who))
	u := authkittest.User(t, kit, "user")
	r := authkittest.Request(t, kit, u, "POST", "/", strings.NewReader("body"))
	_, ok := authkit.PrincipalFrom(r.Context())
	require.False(t, ok, "a request has no principal before its guard")
	require.Equal(t, "user1@example.com [user] [pwd] body", serve(h, r).Body.String())
	require.Equal(t, 403, serve(h, authkittest.Request(t, kit, authkittest.User(t, kit), "GET", "/", nil)).Code)

	other := authkittest.NewKit(t)
	require.Equal(t, 401, serve(other.Authenticate(h), authkittest.Request(t, kit, u, "GET", "/", nil)).Code)
	require.NoError(t, kit.DisableUser(t.Context(), u.ID))
	require.Equal(t, 400, serve(h, r).Code)
}

func TestLoginAs(t *testing.T) {
	t.Parallel()
	kit := authkittest.NewKit(t)
	h := kit.Require(authkit.Authenticated().Fresh(time.Hour).Using("otp"))(http.HandlerFunc(who))
	u := authkittest.User(t, kit)
	for methods, status := range map[string]int{"pwd": 401, "pwd otp mfa": 200} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+authkittest.LoginAs(t, kit, u, strings.Fields(methods)...).AccessToken)
		require.Equal(t, status, serve(h, r).Code)
	}
	require.Equal(t, "admin1@example.com", authkittest.Login(t, kit, "admin").User.Email)
}

func TestClient(t *testing.T) {
	t.Parallel()
	kit := authkittest.NewKit(t)
	server := httptest.NewServer(kit.Authenticate(http.HandlerFunc(who)))
	defer server.Close()
	client := authkittest.Client(t, kit, authkittest.User(t, kit))
	get := func(authorization string) int {
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
		require.NoError(t, err)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		response, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, authorization, r.Header.Get("Authorization"), "the request is the caller's")
		return response.StatusCode
	}
	require.Equal(t, 200, get(""))
	require.Equal(t, 401, get("Bearer x"))
}

// A stopped is a TB that notes that a test failed and ends its goroutine's work.
type stopped struct{ text string }

func (*stopped) Helper()                  {}
func (*stopped) Context() context.Context { return context.Background() }
func (s *stopped) Fatalf(format string, args ...any) {
	s.text = fmt.Sprintf(format, args...)
	panic(s)
}

func TestFailures(t *testing.T) {
	t.Parallel()
	kit := authkittest.NewKit(t, func(c *authkit.Config) { c.Roles = map[string][]string{"admin": nil} })
	u := authkittest.User(t, kit, "admin")
	require.NoError(t, kit.DeleteUser(t.Context(), authkittest.User(t, kit, "admin").ID))
	gone := authkit.User{ID: "gone", Email: "gone@example.com"}
	for want, f := range map[string]func(t authkittest.TB){
		"Config.Secret":     func(t authkittest.TB) { authkittest.NewKit(t, func(c *authkit.Config) { c.Secret = []byte("short") }) },
		"creating editor1@": func(t authkittest.TB) { authkittest.User(t, kit, "editor") },
		"logging gone@":     func(t authkittest.TB) { authkittest.Request(t, kit, gone, "GET", "/", nil) },
	} {
		var s stopped
		require.Panics(t, func() { f(&s) })
		require.Contains(t, s.text, want)
		require.Panics(t, func() { f(authkittest.Example{}) })
	}
	require.NotZero(t, authkittest.LoginAs(t, kit, u))
}

// RFC 6238, appendix B, at the last six digits.
func TestTOTPCode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const uri = "otpauth://totp/Example:ann%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example"
		time.Sleep(time.Until(time.Unix(1111111109, 0)))
		require.Equal(t, "081804", authkittest.TOTPCode(t, uri))
		time.Sleep(2 * time.Second)
		require.Equal(t, "050471", authkittest.TOTPCode(t, uri))
	})
	for _, uri := range []string{"", "%", "https://example.com", "otpauth://hotp/a?secret=GEZDGNBV", "otpauth://totp/a", "otpauth://totp/a?secret=1"} {
		require.Panics(t, func() { authkittest.TOTPCode(authkittest.Example{}, uri) }, uri)
	}
}
