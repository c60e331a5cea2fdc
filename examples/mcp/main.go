// Mcp is an MCP server with one tool, guarded as a protected resource of OAuth
// 2.0. It shows how a client finds out where to get a token, and which tokens
// the server accepts.
//
//	go run ./examples/mcp
//
// It starts two servers on this machine: one that issues tokens to services, and
// the MCP server, which only knows the keys of those tokens. It creates a
// service and prints its client_id and client_secret.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/harden"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, "127.0.0.1:8010", "127.0.0.1:8011", os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, authAddr, mcpAddr string, stdout io.Writer) error {
	authListener, err := net.Listen("tcp", authAddr)
	if err != nil {
		return err
	}
	defer func() { _ = authListener.Close() }()
	mcpListener, err := net.Listen("tcp", mcpAddr)
	if err != nil {
		return err
	}
	defer func() { _ = mcpListener.Close() }()
	issuer := "http://" + authListener.Addr().String()
	resource := "http://" + mcpListener.Addr().String() + "/mcp"
	auth, err := newAuthServer(ctx, issuer, resource)
	if err != nil {
		return err
	}
	tools, err := newMCPServer(auth.kit.KeyRing(), issuer, resource)
	if err != nil {
		return err
	}
	key, err := auth.newService(ctx, "assistant")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "MCP server: %s\nclient_id: assistant\nclient_secret: %s\n", resource, key); err != nil {
		return err
	}
	first, second := harden.Server("", auth.mux), harden.Server("", tools)
	failed := make(chan error, 2)
	go func() { failed <- first.Serve(authListener) }()
	go func() { failed <- second.Serve(mcpListener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		_, _ = first.Close(), second.Close()
		return nil
	}
}

// roles are the role table of both servers. The permissions are the scopes of
// OAuth.
func roles() map[string][]string {
	return map[string][]string{"assistant": {"tools:call"}, "visitor": {}, "admin": {}}
}

// newMCPServer returns the MCP server. In a separate service, the keys would
// come from the issuer's key set; see package jwks.
func newMCPServer(keys *authkit.KeyRing, issuer, resource string) (http.Handler, error) {
	guard, err := authkit.NewGuard(authkit.GuardConfig{
		Tokens:   authkit.TokenConfig{Ring: keys, Issuer: issuer},
		Roles:    roles(),
		Resource: &authkit.ResourceConfig{URL: resource, Name: "Greetings"},
	})
	if err != nil {
		return nil, err
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "greetings", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "greet", Description: "greets the caller"}, greet)
	// Stateless: the guard checks every request, and no session has to be tied
	// to its user.
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	mux := guard.NewMux()
	mux.HandleResource()
	mux.Handle("/mcp", authkit.Permissions("tools:call").OrMachines(), handler)
	return mux, nil
}

// greet is the tool. It sees the principal that the guard has authenticated, and
// must not send the token of the request on to another service.
func greet(ctx context.Context, _ *mcp.CallToolRequest, in struct {
	Greeting string `json:"greeting"`
}) (*mcp.CallToolResult, any, error) {
	p, _ := authkit.PrincipalFrom(ctx)
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Greeting + ", " + p.Name}}}, nil, nil
}
