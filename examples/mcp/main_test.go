package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/apikey"
)

// serve starts both servers. It returns the authorization server, and the
// address of the MCP server.
func serve(t *testing.T) (*authServer, string) {
	t.Helper()
	var authHandler, mcpHandler http.Handler
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { authHandler.ServeHTTP(w, r) }))
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mcpHandler.ServeHTTP(w, r) }))
	t.Cleanup(first.Close)
	t.Cleanup(second.Close)
	resource := second.URL + "/mcp"
	auth, err := newAuthServer(t.Context(), first.URL, resource)
	require.NoError(t, err)
	authHandler = auth.mux
	mcpHandler, err = newMCPServer(auth.kit.KeyRing(), first.URL, resource)
	require.NoError(t, err)
	return auth, resource
}

// connect returns a session of a client of the SDK. It gets a 401, reads the
// metadata of the resource and of the authorization server, and gets a token.
func connect(t *testing.T, resource, clientID, secret string) (*mcp.ClientSession, error) {
	t.Helper()
	handler, err := extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{
		Credentials: &oauthex.ClientCredentials{ClientID: clientID, ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: secret}},
	})
	require.NoError(t, err)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(context.WithoutCancel(t.Context()), &mcp.StreamableClientTransport{Endpoint: resource, OAuthHandler: handler, MaxRetries: -1}, nil)
	if err == nil {
		t.Cleanup(func() { _ = session.Close() })
	}
	return session, err
}

// MC-01, MC-03: a client of the SDK discovers the authorization server and calls
// a tool.
func TestClientCallsTool(t *testing.T) {
	t.Parallel()
	auth, resource := serve(t)
	secret, err := auth.newService(t.Context(), "assistant")
	require.NoError(t, err)
	session, err := connect(t, resource, "assistant", secret)
	require.NoError(t, err)
	call := func() (string, error) {
		result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "greet", Arguments: map[string]any{"greeting": "Hello"}})
		if err != nil {
			return "", err
		}
		return result.Content[0].(*mcp.TextContent).Text, nil
	}
	text, err := call()
	require.NoError(t, err)
	require.Equal(t, "Hello, assistant", text, "the tool sees the principal")
}

// A client with a wrong secret gets no token, and one without the scope gets no
// tool.
func TestClientsRefused(t *testing.T) {
	t.Parallel()
	auth, resource := serve(t)
	_, err := auth.newService(t.Context(), "assistant")
	require.NoError(t, err)
	_, err = connect(t, resource, "assistant", "wrong")
	require.Error(t, err)
	secret, err := auth.newService(t.Context(), "visitor")
	require.NoError(t, err)
	_, err = connect(t, resource, "visitor", secret)
	require.Error(t, err)
	require.NoError(t, auth.keys.DeleteService(t.Context(), "visitor"))
	_, err = auth.keys.List(t.Context(), apikey.OfService("visitor"))
	require.NoError(t, err)
}

// MC-02: a token for another resource is refused.
func TestTokenOfAnotherResource(t *testing.T) {
	t.Parallel()
	auth, resource := serve(t)
	other, err := newMCPServer(auth.kit.KeyRing(), "http://127.0.0.1:1", "http://127.0.0.1:2/mcp")
	require.NoError(t, err)
	secret, err := auth.newService(t.Context(), "assistant")
	require.NoError(t, err)
	r := httptest.NewRequest("POST", "/token", strings.NewReader("grant_type=client_credentials&client_id=assistant&client_secret="+secret+"&resource="+resource))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	auth.mux.ServeHTTP(w, r)
	require.Equal(t, 200, w.Code, w.Body)
	_, token, _ := strings.Cut(w.Body.String(), `"access_token":"`)
	token, _, _ = strings.Cut(token, `"`)
	r = httptest.NewRequest("POST", "/mcp", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w = httptest.NewRecorder()
	other.ServeHTTP(w, r)
	require.Equal(t, 401, w.Code)
	require.Contains(t, w.Header().Get("WWW-Authenticate"), `resource_metadata="http://127.0.0.1:2/.well-known/oauth-protected-resource/mcp"`)
}

func TestRunStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	out := &stopper{cancel: cancel}
	require.NoError(t, run(ctx, "127.0.0.1:0", "127.0.0.1:0", out))
	require.Contains(t, out.String(), "client_secret: ak_")
	require.Error(t, run(t.Context(), "127.0.0.1:x", "127.0.0.1:0", out))
}

// A stopper stops the program when that has printed its addresses.
type stopper struct {
	strings.Builder
	cancel context.CancelFunc
}

func (s *stopper) Write(p []byte) (int, error) {
	s.cancel()
	return s.Builder.Write(p)
}
