package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/oidclogin"
)

// TestWireSocial asserts what the demo shows of the logins with other providers: buttons on the
// login page, a redirect to the provider, and the identities of an account.
func TestWireSocial(t *testing.T) {
	t.Parallel()
	providers, err := parseProviders("g:secret", "id:secret", "https://id:s%3Fcret@idp.example.com/path")
	require.NoError(t, err)
	require.Equal(t, "https://idp.example.com/path", providers[2].Issuer)
	require.Equal(t, "s?cret", providers[2].ClientSecret)
	require.Equal(t, oidclogin.EmailIgnored, providers[2].Email)
	cfg := testConfig(t)
	cfg.providers = providers
	base := start(t, cfg)
	document := readContract(t, base)
	do := func(c call) answer {
		t.Helper()
		a, err := send(base, c)
		require.NoError(t, err)
		document.check(t, a)
		return a
	}
	page := string(do(call{method: "GET", path: "/login"}).body)
	for _, button := range []string{`href="/oidc/google?return=%2fprofile"`, "Log in with Google", "Log in with GitHub", "Log in with idp.example.com"} {
		require.Contains(t, page, button)
	}
	a := do(call{method: "GET", path: "/oidc/github?return=/profile"})
	require.Equal(t, http.StatusSeeOther, a.status)
	require.True(t, strings.HasPrefix(a.header.Get("Location"), "https://github.com/login/oauth/authorize?"))
	require.Equal(t, http.StatusNotFound, do(call{method: "GET", path: "/oidc/apple"}).status)
	require.Equal(t, http.StatusBadRequest, do(call{method: "GET", path: "/oidc/github/callback?code=c&state=s"}).status)

	form := url.Values{"username": {"user@example.com"}, "password": {userPassword}}
	token := do(call{method: "POST", path: "/token", contentType: "application/x-www-form-urlencoded", body: form.Encode()}).object(t)["access_token"].(string)
	a = do(call{method: "GET", path: "/oidc/identities", token: token})
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, "[]\n", string(a.body))
	require.Equal(t, http.StatusNotFound, do(call{method: "DELETE", path: "/oidc/identities/none", token: token}).status)
	require.Equal(t, http.StatusUnauthorized, do(call{method: "DELETE", path: "/oidc/identities/none"}).status)
	a = do(call{method: "GET", path: "/profile", token: token})
	require.Contains(t, string(a.body), "No provider is linked.")

	// Without a flag there is nothing of it.
	base = start(t, testConfig(t))
	for _, path := range []string{"/login", "/profile", "/oidc/google", "/oidc/identities"} {
		require.Equal(t, http.StatusNotFound, do(call{method: "GET", path: path}).status, path)
	}
}
