package integration_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

// oauthServer serves a token endpoint, and a route that admits services. It
// returns the address, and a key of the service "billing".
func oauthServer(t *testing.T) (url, key string) {
	t.Helper()
	auth, err := apikey.NewAuthenticator(apikey.Config{})
	require.NoError(t, err)
	store := authkit.NewMemoryStore()
	kit := newKit(t, store, store, func(c *authkit.Config) {
		c.Authenticators, c.UserData, c.Clients = []authkit.Authenticator{auth}, []authkit.UserData{auth}, auth
		c.Roles = map[string][]string{"reader": {"notes:read"}, "admin": nil}
	})
	keys, err := apikey.New(kit, auth)
	require.NoError(t, err)
	_, err = keys.CreateService(t.Context(), "billing", "reader")
	require.NoError(t, err)
	made, err := keys.Create(t.Context(), apikey.OfService("billing"), apikey.Options{Scopes: []string{"notes:read"}})
	require.NoError(t, err)
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.HandleFunc("GET /notes", authkit.Permissions("notes:read").OrMachines(), func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		_, _ = w.Write([]byte("notes for " + p.Name))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, made.Text
}

// The client of x/oauth2 gets a token in each of its styles.
func TestClientOfXOAuth2(t *testing.T) {
	t.Parallel()
	url, key := oauthServer(t)
	for name, style := range map[string]oauth2.AuthStyle{"detected": oauth2.AuthStyleAutoDetect, "header": oauth2.AuthStyleInHeader, "body": oauth2.AuthStyleInParams} {
		cfg := clientcredentials.Config{ClientID: "billing", ClientSecret: key, TokenURL: url + "/token", Scopes: []string{"notes:read"}, AuthStyle: style}
		token, err := cfg.Token(t.Context())
		require.NoError(t, err, name)
		require.Empty(t, token.RefreshToken, name)
		require.Equal(t, "Bearer", token.Type(), name)
		response, err := cfg.Client(context.WithoutCancel(t.Context())).Get(url + "/notes")
		require.NoError(t, err, name)
		require.Equal(t, 200, response.StatusCode, name)
		require.NoError(t, response.Body.Close())

		cfg.ClientSecret = key[:len(key)-1] + "x"
		_, err = cfg.Token(t.Context())
		var refused *oauth2.RetrieveError
		require.ErrorAs(t, err, &refused, name)
		require.Equal(t, "invalid_client", refused.ErrorCode, name)
	}
}

// So does curl.
func TestClientCurl(t *testing.T) {
	t.Parallel()
	curl := program(t, "curl")
	url, key := oauthServer(t)
	for name, args := range map[string][]string{
		"Basic": {"-u", "billing:" + key, "-d", "grant_type=client_credentials"},
		"body":  {"-d", "grant_type=client_credentials", "-d", "client_id=billing", "-d", "client_secret=" + key},
	} {
		out, err := exec.CommandContext(t.Context(), curl, append([]string{"-sSf", url + "/token"}, args...)...).Output()
		require.NoError(t, err, name)
		var token authkit.Token
		require.NoError(t, json.Unmarshal(out, &token), name)
		out, err = exec.CommandContext(t.Context(), curl, "-sSf", "-H", "Authorization: Bearer "+token.AccessToken, url+"/notes").Output()
		require.NoError(t, err, name)
		require.Equal(t, "notes for billing", string(out), name)
	}
}

const requestsProgram = `
import sys
from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session
url, key = sys.argv[1:]
for how in ({"auth": HTTPBasicAuth("billing", key)}, {"client_id": "billing", "client_secret": key, "include_client_id": True}, {"client_secret": key}):
    session = OAuth2Session(client=BackendApplicationClient(client_id="billing"))
    token = session.fetch_token(url + "/token", **how)
    assert "refresh_token" not in token, token
    answer = session.get(url + "/notes")
    assert answer.text == "notes for billing", answer.text
`

// So does requests-oauthlib.
func TestClientOfRequestsOAuthlib(t *testing.T) {
	t.Parallel()
	python := program(t, "python3")
	const system = "/usr/bin/python3" // that of Debian's packages, which another may hide
	imports := func(python string) bool {
		return exec.CommandContext(t.Context(), python, "-c", "import requests_oauthlib").Run() == nil
	}
	if !imports(python) && imports(system) {
		python = system
	} else if !imports(python) {
		missing(t, "requests_oauthlib for python3 (Debian: python3-requests-oauthlib)")
	}
	url, key := oauthServer(t)
	cmd := exec.CommandContext(t.Context(), python, "-c", requestsProgram, url, key)
	cmd.Env = append(os.Environ(), "OAUTHLIB_INSECURE_TRANSPORT=1", "NO_PROXY=127.0.0.1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// program returns the path of a program. If there is none, see missing.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name)
	}
	return path
}

// missing ends a test that needs a program: it is skipped, and fails in CI.
func missing(t *testing.T, name string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("no %s", name)
	}
	t.Skipf("no %s, so this is not tested", name)
}
