package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// auditLog is the row of GET /admin/audit/.
func (w *walk) auditLog(t *testing.T) {
	w.notAllowed(t, "/admin/audit/", "GET, HEAD", "POST", "PUT", "DELETE")
	t.Run("is for administrators", func(t *testing.T) {
		bothSlashes(t, "/admin/audit", func(t *testing.T, path string) {
			w.do(t, call{method: "GET", path: path}).isProblem(t, http.StatusUnauthorized, "Not authenticated")
			w.do(t, call{method: "GET", path: path, token: w.user(t)}).isProblem(t, http.StatusForbidden, "Not enough permissions")
		})
	})
	t.Run("holds what has happened", func(t *testing.T) {
		token := w.admin(t)
		w.do(t, loginCall("admin@example.com", w.password("not-the-password")))
		var newest map[string]any
		require.Eventually(t, func() bool { // it is written beside the request
			entries := w.do(t, call{method: "GET", path: "/admin/audit/?limit=50", token: token}).object(t)["entries"].([]any)
			for _, e := range entries {
				if e := e.(map[string]any); e["kind"] == "authn_login_fail" && e["reason"] == "wrong_password" {
					newest = e
					return true
				}
			}
			return false
		}, 10*time.Second, 10*time.Millisecond)
		require.Equal(t, "failure", newest["outcome"])
		require.Equal(t, "127.0.0.1", newest["address"])
		require.Contains(t, newest["agent"], "Go-http-client")
		require.Len(t, newest["request_id"], 26)
		require.NotEmpty(t, newest["target_id"])
		require.Nil(t, newest["actor_id"], "who it was has proved nothing")
	})
	t.Run("is paged", func(t *testing.T) {
		token := w.admin(t)
		first := w.do(t, call{method: "GET", path: "/admin/audit/?limit=1", token: token}).object(t)
		require.Len(t, first["entries"], 1)
		require.NotNil(t, first["before"])
		for _, bad := range []string{"limit=0", "limit=1001", "limit=x", "before=x", "before=-1"} {
			w.do(t, call{method: "GET", path: "/admin/audit/?" + bad, token: token}).isProblem(t, http.StatusBadRequest, "")
		}
		nobody := w.do(t, call{method: "GET", path: "/admin/audit/?user=" + strings.Repeat("x", 40), token: token}).object(t)
		require.Empty(t, nobody["entries"])
	})
}
