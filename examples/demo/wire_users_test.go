package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/stretchr/testify/require"
)

func (w *walk) me(t *testing.T) {
	bothSlashes(t, "/users/me", func(t *testing.T, path string) {
		a := w.do(t, call{method: "GET", path: path, token: w.admin(t)})
		require.JSONEq(t, `{"email":"admin@example.com","full_name":"Admin User","roles":["admin","user"],"disabled":false}`, string(a.body))
	})
	t.Run("a token that python-jose made", func(t *testing.T) {
		a := w.do(t, call{method: "GET", path: "/users/me/", token: w.password(vector(t, "jose.good"))})
		require.Equal(t, http.StatusOK, a.status, "%s", a.body)
		require.Equal(t, "user@example.com", a.object(t)["email"])
	})
	w.guarded(t, "/users/me/")
	w.notAllowed(t, "/users/me/", "GET, HEAD", "POST", "PUT", "DELETE", "PATCH")
}

func (w *walk) items(t *testing.T) {
	bothSlashes(t, "/users/items", func(t *testing.T, path string) {
		a := w.do(t, call{method: "GET", path: path, token: w.user(t)})
		require.JSONEq(t, `[{"item_id":"Foo","owner":"user@example.com"},{"item_id":"Bar","owner":"user@example.com"}]`, string(a.body))
	})
	w.guarded(t, "/users/items/")
	w.notAllowed(t, "/users/items/", "GET, HEAD", "POST", "PUT", "DELETE", "PATCH")
}

// guarded walks through the ways not to be let in.
func (w *walk) guarded(t *testing.T, path string) {
	good := w.user(t)
	header := func(values ...string) http.Header { return http.Header{"Authorization": values} }

	t.Run("the scheme in any case", func(t *testing.T) {
		for _, scheme := range []string{"bearer", "BEARER", "bEaReR"} {
			a := w.do(t, call{method: "GET", path: path, header: header(scheme + " " + good)})
			require.NotEqual(t, http.StatusUnauthorized, a.status)
		}
	})
	t.Run("not authenticated", func(t *testing.T) {
		for name, c := range map[string]call{
			"no header":    {},
			"other scheme": {header: header("Basic dXNlckBleGFtcGxlLmNvbTp1c2VyMTIz")},
			"bare token":   {header: header(good)},
			"in a cookie":  {header: http.Header{"Cookie": {"access_token=" + good + "; Authorization=Bearer " + good}}},
			"in the query": {path: path + "?access_token=" + good + "&token=" + good},
		} {
			t.Run(name, func(t *testing.T) {
				c.method = "GET"
				if c.path == "" {
					c.path = path
				}
				a := w.do(t, c)
				a.isProblem(t, http.StatusUnauthorized, "Not authenticated")
				require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"))
			})
		}
	})
	t.Run("could not validate credentials", func(t *testing.T) {
		at := strings.LastIndex(good, ".")
		forged := issue(t, strings.Repeat("another secret. ", 3), authkit.Claims{Subject: "admin@example.com"})
		expired := issue(t, testSecret, authkit.Claims{
			Subject: "user@example.com", IssuedAt: time.Now().Add(-2 * time.Hour), ExpiresAt: time.Now().Add(-time.Hour),
		})
		stranger := issue(t, testSecret, authkit.Claims{Subject: "nobody@example.com"})
		w.secrets = append(w.secrets, forged, expired, stranger)
		for name, values := range map[string][]string{
			"empty":          {"Bearer "},
			"garbage":        {"Bearer garbage"},
			"two tokens":     {"Bearer " + good + " " + good},
			"two headers":    {"Bearer " + good, "Bearer " + good},
			"cut":            {"Bearer " + good[:len(good)-1]},
			"not signed":     {"Bearer " + good[:at+1]},
			"alg none":       {"Bearer " + vector(t, "pyjwt.none")},
			"another secret": {"Bearer " + forged},
			"expired":        {"Bearer " + expired},
			"unknown user":   {"Bearer " + stranger},
			"too long":       {"Bearer " + strings.Repeat("x", 9000)},
		} {
			t.Run(name, func(t *testing.T) {
				a := w.do(t, call{method: "GET", path: path, header: header(values...)})
				a.isProblem(t, http.StatusUnauthorized, "Could not validate credentials")
				require.Equal(t, `Bearer error="invalid_token"`, a.header.Get("WWW-Authenticate"))
			})
		}
	})
	t.Run("a disabled account, before any role check", func(t *testing.T) {
		token := w.password(issue(t, testSecret, authkit.Claims{Subject: "disabled@example.com"}))
		w.do(t, call{method: "GET", path: path, token: token}).isProblem(t, http.StatusBadRequest, "Inactive user")
	})
}

func (w *walk) adminUsers(t *testing.T) {
	admin := w.admin(t)
	everybody := []string{"admin@example.com", "user@example.com", "disabled@example.com", "disabled-too@example.com"}
	emails := func(t *testing.T, a answer) []string {
		t.Helper()
		require.Equal(t, http.StatusOK, a.status, "%s", a.body)
		got := []string{}
		for _, account := range a.list(t) {
			require.Len(t, account, 4)
			got = append(got, account["email"].(string))
		}
		return got
	}
	bothSlashes(t, "/admin/users", func(t *testing.T, path string) {
		a := w.do(t, call{method: "GET", path: path, token: admin})
		require.Equal(t, everybody, emails(t, a))
		require.Equal(t, "application/json", a.header.Get("Content-Type"))
		require.Empty(t, a.header.Get("Link"))
	})
	t.Run("pages", func(t *testing.T) {
		for _, limit := range []int{1, 2, 3, 4, 5, 1000} {
			var all []string
			path := fmt.Sprintf("/admin/users/?limit=%d", limit)
			for path != "" {
				a := w.do(t, call{method: "GET", path: path, token: admin})
				page := emails(t, a)
				require.LessOrEqual(t, len(page), limit)
				require.NotEmpty(t, page)
				all = append(all, page...)
				path = nextPage(t, a)
			}
			require.Equal(t, everybody, all)
		}
	})
	t.Run("after alone", func(t *testing.T) {
		require.Equal(t, everybody, emails(t, w.do(t, call{method: "GET", path: "/admin/users?after=", token: admin})))
		require.Empty(t, emails(t, w.do(t, call{method: "GET", path: "/admin/users?after=zzzz", token: admin})))
	})
	t.Run("queries that make no sense", func(t *testing.T) {
		for query, field := range map[string]string{
			"limit=0": "limit", "limit=1001": "limit", "limit=-1": "limit", "limit=": "limit", "limit=many": "limit",
			"limit=1&limit=2": "limit", "limit=99999999999999999999": "limit",
			"after=a&after=b": "after", "after=%00": "after", "after=%ff": "after", "after=" + strings.Repeat("x", 256): "after",
			"limit=%zz": "query",
		} {
			a := w.do(t, call{method: "GET", path: "/admin/users/?" + query, token: admin})
			a.isProblem(t, http.StatusUnprocessableEntity, "")
			require.Equal(t, []string{field}, a.faults(t), query)
		}
	})
	t.Run("without the role", func(t *testing.T) {
		w.do(t, call{method: "GET", path: "/admin/users/", token: w.user(t)}).isProblem(t, http.StatusForbidden, "Not enough permissions")
	})
	w.guarded(t, "/admin/users/")
	w.notAllowed(t, "/admin/users/", "GET, HEAD", "POST", "PUT", "DELETE", "PATCH")
}

// nextPage returns the path that a Link header leads to, or "".
func nextPage(t *testing.T, a answer) string {
	t.Helper()
	link := a.header.Get("Link")
	if link == "" {
		return ""
	}
	target, found := strings.CutSuffix(link, `>; rel="next"`)
	require.True(t, found, link)
	next, err := url.Parse(strings.TrimPrefix(target, "<"))
	require.NoError(t, err)
	return next.String()
}
