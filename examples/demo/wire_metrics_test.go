package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// metrics is the row of GET /metrics/.
func (w *walk) metrics(t *testing.T) {
	w.notAllowed(t, "/metrics/", "GET, HEAD", "POST", "PUT", "DELETE")
	t.Run("is for administrators", func(t *testing.T) {
		bothSlashes(t, "/metrics", func(t *testing.T, path string) {
			w.do(t, call{method: "GET", path: path}).isProblem(t, http.StatusUnauthorized, "Not authenticated")
			w.do(t, call{method: "GET", path: path, token: w.user(t)}).isProblem(t, http.StatusForbidden, "Not enough permissions")
		})
	})
	t.Run("counts what has happened", func(t *testing.T) {
		token := w.admin(t)
		w.do(t, loginCall("admin@example.com", w.password("not-the-password")))
		a := w.do(t, call{method: "GET", path: "/metrics/", token: token})
		require.Equal(t, http.StatusOK, a.status)
		require.True(t, strings.HasPrefix(a.header.Get("Content-Type"), "text/plain"))
		for _, line := range []string{
			`(?m)^authkit_events_total\{event="authn_login_fail",reason="wrong_password"\} [1-9]`,
			`(?m)^authkit_events_total\{event="authn_login_success",reason=""\} [1-9]`,
			`(?m)^authkit_events_total\{event="authz_fail",reason="missing_role"\} [1-9]`,
			`(?m)^authkit_tokens_verified_total [1-9]`,
			`(?m)^authkit_hash_turns_total [1-9]`,
			`(?m)^authkit_hash_wait_seconds_total [0-9]`,
			`(?m)^authkit_hash_waiting 0`,
			`(?m)^authkit_failing_accounts [1-9]`,
			`(?m)^authkit_audit_lost_total 0`,
			`(?m)^go_goroutines [1-9]`,
		} {
			require.Regexp(t, line, string(a.body))
		}
		require.NotContains(t, string(a.body), "@example.com")
		require.NotContains(t, string(a.body), "127.0.0.1")
	})
}
