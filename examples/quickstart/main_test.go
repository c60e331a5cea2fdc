package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
)

// TestQuickstart logs in, and shows that the routes keep their policies.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	kit := authkittest.NewKit(t)
	h := routes(kit)
	_, err := kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com", Roles: []string{"admin"}}, "correct horse battery")
	require.NoError(t, err)

	login := func(password string) *httptest.ResponseRecorder {
		form := url.Values{"username": {"ann@example.com"}, "password": {password}}
		r := httptest.NewRequest("POST", "/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	require.Equal(t, http.StatusOK, login("correct horse battery").Code)
	require.Equal(t, http.StatusUnauthorized, login("another").Code)

	guest := authkittest.User(t, kit, "guest")
	admin := authkittest.User(t, kit, "admin")
	for _, c := range []struct {
		r      *http.Request
		status int
		body   string
	}{
		{httptest.NewRequest("GET", "/hello", nil), http.StatusUnauthorized, ""},
		{authkittest.Request(t, kit, guest, "GET", "/hello", nil), http.StatusOK, "hello, " + guest.Email + "\n"},
		{authkittest.Request(t, kit, guest, "GET", "/admin", nil), http.StatusForbidden, ""},
		{authkittest.Request(t, kit, admin, "GET", "/admin", nil), http.StatusOK, "for administrators\n"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, c.r)
		require.Equal(t, c.status, w.Code, c.r.URL.Path)
		if c.body != "" {
			require.Equal(t, c.body, w.Body.String())
		}
	}
}
