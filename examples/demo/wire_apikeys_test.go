package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWireKeys walks through API keys and services over HTTP, and holds each answer against the
// document.
func TestWireKeys(t *testing.T) {
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
	user, admin := login(t, base, "user@example.com", userPassword), login(t, base, "admin@example.com", adminPassword)

	a := do("POST", "/users/me/keys", user, `{"name":"backup","scopes":["items:read"]}`)
	require.Equal(t, 201, a.status, "%s", a.body)
	key, id := a.object(t)["key"].(string), a.object(t)["id"].(string)
	require.Regexp(t, `^demo_[0-9a-f]{16}_[0-9a-f]{72}$`, key)
	require.Equal(t, 200, do("GET", "/users/me/keys", user, "").status)
	require.Equal(t, "user@example.com", do("GET", "/items", key, "").object(t)["for"])
	require.Equal(t, "user@example.com", do("GET", "/items", user, "").object(t)["for"])
	require.Equal(t, 401, do("GET", "/items", "", "").status)
	do("POST", "/users/me/keys", user, `{"user_id":"x"}`).isProblem(t, 400, "The body is not a JSON object with the members of this request")
	require.Equal(t, 422, do("POST", "/users/me/keys", user, `{"scopes":["users:write"]}`).status)
	do("DELETE", "/users/me/keys/"+id, admin, "").isProblem(t, 404, "Not found")
	a = do("POST", "/users/me/keys/"+id+"/rotate", user, `{"overlap":60}`)
	require.Equal(t, 200, a.status, "%s", a.body)
	require.Equal(t, 204, do("POST", "/users/me/keys/leaked", "", `{"key":"`+key+`"}`).status, "the old secret, within the overlap")
	require.Equal(t, 401, do("GET", "/items", a.object(t)["key"].(string), "").status)

	require.Equal(t, 403, do("POST", "/admin/services", user, `{"id":"billing"}`).status)
	require.Equal(t, 201, do("POST", "/admin/services", admin, `{"id":"billing","roles":["user"]}`).status)
	require.Equal(t, 409, do("POST", "/admin/services", admin, `{"id":"billing"}`).status)
	a = do("POST", "/admin/services/billing/keys", admin, `{"scopes":["items:read"]}`)
	require.Equal(t, 201, a.status, "%s", a.body)
	secret := a.object(t)["key"].(string)
	a, err := send(base, call{method: "POST", path: "/token", contentType: formType, body: form("grant_type", "client_credentials", "client_id", "billing", "client_secret", secret)})
	require.NoError(t, err)
	require.Equal(t, 200, a.status, "%s", a.body)
	var token struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	require.NoError(t, json.Unmarshal(a.body, &token))
	require.Equal(t, 300, token.ExpiresIn)
	require.Equal(t, "billing", do("GET", "/items", token.AccessToken, "").object(t)["for"])
	require.Equal(t, 200, do("GET", "/admin/services", admin, "").status)
	require.Equal(t, 200, do("GET", "/admin/services/billing/keys", admin, "").status)
	require.Equal(t, 204, do("PUT", "/admin/services/billing/roles", admin, `{"roles":[]}`).status)
	require.Equal(t, 403, do("GET", "/items", token.AccessToken, "").status)
	require.Equal(t, 204, do("DELETE", "/admin/services/billing", admin, "").status)
	require.Equal(t, 401, do("GET", "/items", token.AccessToken, "").status)
}

// AK-03: over the whole access matrix, a key reaches the routes for machines and nothing else.
func TestKeysOverTheAccessMatrix(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	service, err := newServer(t.Context(), cfg)
	require.NoError(t, err)
	base := start(t, cfg)
	user := login(t, base, "user@example.com", userPassword)
	a, err := send(base, call{method: "POST", path: "/users/me/keys", token: user, contentType: "application/json", body: `{"scopes":["items:read"]}`})
	require.NoError(t, err)
	key := a.object(t)["key"].(string)
	for _, route := range service.mux.AccessMatrix() {
		policy := route.Policy.String()
		if policy == "public" {
			continue
		}
		method := route.Method
		if method == "" {
			method = "POST"
		}
		path := strings.NewReplacer("/{$}", "/", "{id}", "x", "{key}", "x").Replace(route.Pattern)
		a, err := send(base, call{method: method, path: path, token: key})
		require.NoError(t, err)
		want := 403
		if strings.HasSuffix(policy, "or machines") {
			want = 200
		}
		require.Equal(t, want, a.status, "%s %s: %s", method, path, policy)
	}
}
