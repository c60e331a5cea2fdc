package authkit_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// The matrix of all policies and all kinds of principals, decided by a guard and by Check alike.
func TestPolicyMatrix(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeAuthenticator{header: "X-Fake"}
		kit, _, user := newSessionKit(t, withAuthenticators(fake), func(c *authkit.Config) {
			c.Roles = map[string][]string{"user": {"read", "write"}, "admin": nil}
		})
		hour := time.Now().Add(-time.Hour)
		of := func(c authkit.Credential) func() (authkit.Credential, error) {
			if c.Kind = "fake"; c.Service == "" {
				c.UserID = user.ID
			}
			return gives(c, nil)
		}
		fake.answers = map[string]func() (authkit.Credential, error){
			"fresh":       of(authkit.Credential{Methods: []string{"pwd", "otp"}, AuthTime: time.Now()}),
			"five":        of(authkit.Credential{Methods: []string{"pwd"}, AuthTime: time.Now().Add(-5 * time.Minute)}),
			"older":       of(authkit.Credential{Methods: []string{"pwd"}, AuthTime: time.Now().Add(-5*time.Minute - time.Second)}),
			"stale":       of(authkit.Credential{Methods: []string{"pwd", "otp"}, AuthTime: hour}),
			"unknown":     of(authkit.Credential{}), // how and when is not recorded
			"limited":     of(authkit.Credential{Limited: true, Permissions: []string{"read"}}),
			"machine":     of(authkit.Credential{Machine: true, Methods: []string{"pwd", "otp"}, AuthTime: time.Now()}),
			"key":         of(authkit.Credential{Machine: true, Limited: true, Permissions: []string{"read", "other"}}),
			"key of none": of(authkit.Credential{Machine: true, Limited: true}),
			"service":     of(authkit.Credential{Service: "billing", Roles: []string{"user"}}),
		}
		const persons = "fresh five older stale unknown "
		const limited = persons + "limited "
		for policy, c := range map[*authkit.Policy]struct{ text, pass, stepUp string }{
			new(authkit.Authenticated()):                                    {"authenticated", limited, ""},
			new(authkit.Authenticated().OrMachines()):                       {"authenticated; or machines", limited + "machine key key of none service", ""},
			new(authkit.Roles("user")):                                      {"roles: user", persons, ""},
			new(authkit.Roles("user").OrMachines()):                         {"roles: user; or machines", persons + "machine service", ""},
			new(authkit.Roles("user", "admin").OrMachines()):                {"roles: user, admin; or machines", "", ""},
			new(authkit.AnyRole("user", "admin").OrMachines()):              {"any role: user, admin; or machines", persons + "machine service", ""},
			new(authkit.Permissions("read")):                                {"permissions: read", limited, ""},
			new(authkit.Permissions("read").OrMachines()):                   {"permissions: read; or machines", limited + "machine key service", ""},
			new(authkit.Permissions("read", "write").OrMachines()):          {"permissions: read, write; or machines", persons + "machine service", ""},
			new(authkit.Authenticated().Fresh(5 * time.Minute)):             {"authenticated; fresh: 5m0s", "fresh five", "older stale unknown limited"},
			new(authkit.Authenticated().Using("otp")):                       {"authenticated; using: otp", "fresh stale", "five older unknown limited"},
			new(authkit.Authenticated().Using("pwd", "otp")):                {"authenticated; using: pwd, otp", "fresh stale", "five older unknown limited"},
			new(authkit.Authenticated().Using("pwd").Using("otp")):          {"authenticated; using: pwd, otp", "fresh stale", "five older unknown limited"},
			new(authkit.Roles("user").Fresh(5 * time.Minute).Using("otp")):  {"roles: user; fresh: 5m0s; using: otp", "fresh", "five older stale unknown"},
			new(authkit.Roles("admin").Fresh(5 * time.Minute).Using("otp")): {"roles: admin; fresh: 5m0s; using: otp", "", ""},
		} {
			require.Equal(t, c.text, policy.String())
			var p authkit.Principal
			identify := kit.Require(authkit.Authenticated().OrMachines())(noted(&p))
			guarded := kit.Require(*policy)(whoami)
			for name := range fake.answers {
				require.Equal(t, 200, do(identify, "GET", "/", "X-Fake", name).Code)
				err, want := policy.Check(p), 403
				switch {
				case listed(c.pass, name):
					require.NoError(t, err, "%s for %s", policy, name)
					want = 200
				case listed(c.stepUp, name):
					var stepUp *authkit.StepUpError
					require.ErrorAs(t, err, &stepUp, "%s for %s", policy, name)
					want = 401
				default:
					require.ErrorIs(t, err, authkit.ErrForbidden, "%s for %s", policy, name)
				}
				require.Equal(t, want, do(guarded, "GET", "/", "X-Fake", name).Code, "%s for %s", policy, name)
			}
			require.ErrorIs(t, policy.Check(authkit.Principal{}), authkit.ErrNoCredentials)
		}
	})
}

// listed reports whether a name is in a list, in which the longest match counts.
func listed(list, name string) bool {
	for rest := list; rest != ""; {
		found := ""
		for _, known := range []string{"fresh", "five", "older", "stale", "unknown", "limited", "machine", "key of none", "key", "service"} {
			if len(rest) >= len(known) && rest[:len(known)] == known && len(known) > len(found) {
				found = known
			}
		}
		if found == name {
			return true
		}
		rest = rest[len(found):]
		for rest != "" && rest[0] == ' ' {
			rest = rest[1:]
		}
	}
	return false
}

// RFC 9470 section 3: the challenge says what is missing.
func TestStepUpChallenge(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSessionKit(t)
	access := bearer(begin(t, kit))
	const text = `Bearer error="insufficient_user_authentication", error_description="A more recent or stronger login is required"`
	for want, policy := range map[string]authkit.Policy{
		text + `, acr_values="otp"`:                     authkit.Authenticated().Using("otp"),
		text + `, acr_values="hwk mfa"`:                 authkit.Authenticated().Using("hwk", "mfa"),
		text + `, max_age="300", acr_values="pwd hwk"`:  authkit.Authenticated().Using("pwd").Fresh(5 * time.Minute).Using("hwk"),
		text + `, max_age="3600", acr_values="otp mfa"`: authkit.Roles("user").Fresh(time.Hour).Using("otp", "mfa"),
	} {
		w := do(kit.Require(policy)(whoami), "GET", "/", access...)
		problem(t, w, 401, "A more recent or stronger login is required")
		require.Equal(t, []string{want}, w.Header().Values("WWW-Authenticate"))
	}
	err := authkit.Authenticated().Using("otp").Check(authkit.Principal{UserID: "1"})
	require.EqualError(t, err, "authkit: a more recent or stronger login is required")
	stepUp, _ := errors.AsType[*authkit.StepUpError](err)
	require.Equal(t, &authkit.StepUpError{Methods: []string{"otp"}}, stepUp)
}

// A machine has no login that could be recent or strong. It is refused for good,
// and not sent to log in again.
func TestMachinesDoNotStepUp(t *testing.T) {
	t.Parallel()
	machine := authkit.Principal{Name: "job", Kind: authkit.Machine, AuthTime: time.Now(), Methods: []string{"hwk"}}
	open := authkit.Authenticated().OrMachines()
	require.NoError(t, open.Check(machine))
	for _, policy := range []authkit.Policy{open.Fresh(time.Minute), open.Using("hwk"), open.Using("otp")} {
		require.ErrorIs(t, policy.Check(machine), authkit.ErrForbidden)
	}
}

// A browser whose login is too old or too weak is sent to the login page, if the
// Kit has one.
func TestStepUpOfABrowser(t *testing.T) {
	t.Parallel()
	for path, status := range map[string]int{"/login": 303, "": 401} {
		kit, h, _ := newSite(t, func(c *authkit.Config) { c.Sessions.Cookies.LoginPath = path })
		s := surf(t, h)
		s.h = kit.Require(authkit.Authenticated().Using("otp"))(whoami)
		w := s.do("GET", "/me", "")
		require.Equal(t, status, w.Code)
		require.Equal(t, status == 401, strings.Contains(w.Body.String(), `"status"`), "one response")
	}
}

// A policy that cannot be meant is refused when the program starts.
func TestPolicyRefusedAtStart(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	signedIn := authkit.Authenticated()
	for want, policy := range map[string]authkit.Policy{
		"Public() admits every request; (fresh)":    authkit.Public().Fresh(time.Minute),
		"Public() admits every request; (using)":    authkit.Public().Using("otp"),
		"Public() admits every request; (machines)": authkit.Public().OrMachines(),
		"Fresh takes a positive (zero)":             signedIn.Fresh(0),
		"Fresh takes a positive (negative)":         signedIn.Fresh(-time.Second),
		"Fresh takes a positive (part of a second)": signedIn.Fresh(1500 * time.Millisecond),
		"Using(\"\")":                      signedIn.Using(""),
		"Using(\"One Time\")":              signedIn.Using("otp", "One Time"),
		"OrMachines() with Fresh or (one)": signedIn.OrMachines().Fresh(time.Minute),
		"OrMachines() with Fresh or (two)": signedIn.Using("otp").OrMachines(),
		"the zero Policy":                  authkit.Policy{}.OrMachines(),
		"the role \"a b\"":                 authkit.Roles("a b").OrMachines(),
	} {
		prefix := want
		for i := range want {
			if want[i] == '(' && i > 0 && want[i-1] == ' ' {
				prefix = want[:i-1]
			}
		}
		for _, register := range []func(){
			func() { kit.Require(policy) },
			func() { kit.NewMux().Handle("GET /", policy, whoami) },
		} {
			func() {
				defer func() { require.Contains(t, fmt.Sprint(recover()), prefix) }()
				register()
			}()
		}
	}
	// Nor does such a policy let anyone in where it is not registered.
	who := authkit.Principal{Kind: authkit.Person, UserID: "1", AuthTime: time.Now().Add(-time.Minute)}
	require.Error(t, signedIn.Fresh(0).Check(who))
	require.Error(t, signedIn.Fresh(-time.Hour).Check(who))
}

// A policy does not change: its methods return a new one.
func TestPoliciesDoNotShare(t *testing.T) {
	t.Parallel()
	base := authkit.Authenticated().Using("pwd")
	otp, hwk := base.Using("otp"), base.Using("hwk")
	require.Equal(t, "authenticated; using: pwd", base.String())
	require.Equal(t, "authenticated; using: pwd, otp", otp.String())
	require.Equal(t, "authenticated; using: pwd, hwk", hwk.String())
}

// The access matrix shows every condition of a route.
func TestAccessMatrixShowsConditions(t *testing.T) {
	t.Parallel()
	kit := newKit(t, func(c *authkit.Config) { c.Roles = map[string][]string{"admin": {"notes:read"}} })
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), http.NotFoundHandler())
	mux.Handle("GET /me", authkit.Authenticated(), whoami)
	mux.Handle("GET /notes", authkit.Permissions("notes:read").OrMachines(), whoami)
	mux.Handle("DELETE /me", authkit.Authenticated().Fresh(5*time.Minute), whoami)
	mux.Handle("DELETE /users/{id}", authkit.Roles("admin").Fresh(time.Hour).Using("otp", "mfa"), whoami)
	var rows string
	for _, r := range mux.AccessMatrix() {
		rows += fmt.Sprintf("%s %s  %s\n", r.Method, r.Pattern, r.Policy)
	}
	require.Equal(t, `DELETE /me  authenticated; fresh: 5m0s
GET /me  authenticated
GET /notes  permissions: notes:read; or machines
POST /token  public
DELETE /users/{id}  roles: admin; fresh: 1h0m0s; using: otp, mfa
`, rows)
}
