package main

import (
	"encoding/json"
	"testing"

	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeytest"
	"github.com/stretchr/testify/require"
)

// TestWirePasskeys walks through everything that a user can do with passkeys, over HTTP. The browser
// check does the same with a page and a real browser.
func TestWirePasskeys(t *testing.T) {
	t.Parallel()
	base := start(t, testConfig(t))
	document := readContract(t, base)
	do := func(method, path, token, body string) answer {
		t.Helper()
		c := call{method: method, path: path, token: token, body: body}
		if body != "" {
			c.contentType = "application/json"
		}
		a, err := send(base, c)
		require.NoError(t, err)
		document.check(t, a)
		return a
	}
	options := func(path, token string) (o passkey.Options) {
		t.Helper()
		a := do("POST", path, token, "")
		require.Equal(t, 200, a.status, "%s", a.body)
		require.NoError(t, json.Unmarshal(a.body, &o))
		return o
	}
	first := login(t, base, "user@example.com", userPassword)
	require.JSONEq(t, `{"passkeys":[]}`, string(do("GET", "/passkeys", first, "").body))
	key := passkeytest.NewAuthenticator(t, "localhost", "http://localhost:8000")
	a := do("POST", "/passkeys/register", first, string(key.Create(options("/passkeys/register/options", first))))
	require.Equal(t, 201, a.status, "%s", a.body)
	a = do("POST", "/passkeys/register", first, "{}")
	a.isProblem(t, 400, "The passkey could not be registered")

	// The password alone is not enough any more.
	a, err := send(base, loginCall("user@example.com", userPassword))
	require.NoError(t, err)
	challenge := a.object(t)
	require.Equal(t, []any{"pop"}, challenge["mfa_methods"])
	a, err = send(base, call{method: "POST", path: "/token", contentType: formType, body: form("grant_type", "mfa",
		"mfa_token", challenge["mfa_token"].(string), "mfa_method", "pop", "mfa_response", string(key.Get(options("/passkeys/factor/options", ""))))})
	require.NoError(t, err)
	require.Equal(t, 200, a.status, "%s", a.body)

	a = do("POST", "/passkeys/login", "", string(key.Get(options("/passkeys/login/options", ""))))
	require.Equal(t, 200, a.status, "%s", a.body)
	token := a.object(t)["access_token"].(string)
	a = do("GET", "/passkeys", token, "")
	require.Equal(t, 200, a.status)
	list := a.object(t)["passkeys"].([]any)
	require.Len(t, list, 1)
	path := "/passkeys/" + list[0].(map[string]any)["id"].(string)
	require.Equal(t, 204, do("PATCH", path, token, `{"name":"Phone"}`).status)
	do("PATCH", path, token, `{"name":""}`).isProblem(t, 422, "")
	do("PATCH", "/passkeys/another", token, `{"name":"x"}`).isProblem(t, 404, "Passkey not found")
	do("DELETE", path, login(t, base, "admin@example.com", adminPassword), "").isProblem(t, 404, "Passkey not found")
	require.Equal(t, 200, do("DELETE", path, token, "").status)
	a = do("POST", "/passkeys/login", "", string(key.Get(options("/passkeys/login/options", ""))))
	a.isProblem(t, 401, "The passkey was not accepted")
	require.Equal(t, "localhost", a.object(t)["unknown_credential"].(map[string]any)["rpId"])

	for path, contentType := range map[string]string{
		"/passkey": "text/html; charset=utf-8", "/passkey/": "text/html; charset=utf-8", "/passkey/page.js": "text/javascript; charset=utf-8", "/passkey/page.css": "text/css; charset=utf-8",
	} {
		a := do("GET", path, "", "")
		require.Equal(t, 200, a.status, path)
		require.Equal(t, contentType, a.header.Get("Content-Type"))
		require.Contains(t, a.header.Get("Content-Security-Policy"), "script-src 'self'")
	}
}
