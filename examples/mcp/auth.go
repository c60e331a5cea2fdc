package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

// An authServer issues access tokens to services.
type authServer struct {
	kit  *authkit.Kit
	keys *apikey.Keys
	mux  *authkit.Mux
}

// newAuthServer returns a server for the tokens of one resource.
func newAuthServer(_ context.Context, issuer, resource string) (*authServer, error) {
	clients, err := apikey.NewAuthenticator(apikey.Config{})
	if err != nil {
		return nil, err
	}
	kit, err := authkit.New(authkit.Config{
		Secret:         []byte(rand.Text() + rand.Text()),
		Tokens:         authkit.TokenConfig{Issuer: issuer, Audience: resource},
		Authenticators: []authkit.Authenticator{clients},
		UserData:       []authkit.UserData{clients},
		Clients:        clients,
		Roles:          roles(),
	})
	if err != nil {
		return nil, err
	}
	keys, err := apikey.New(kit, clients)
	if err != nil {
		return nil, err
	}
	metadata, err := json.Marshal(map[string]any{ // RFC 8414 section 2
		"issuer":                                issuer,
		"token_endpoint":                        issuer + "/token",
		"grant_types_supported":                 []string{"client_credentials"},
		"response_types_supported":              []string{},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"code_challenge_methods_supported":      []string{"S256"}, // MCP clients refuse a server without it, for every grant
	})
	if err != nil {
		return nil, err
	}
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", authkit.Public(), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(metadata)
	})
	return &authServer{kit, keys, mux}, nil
}

// newService creates a service with a role of the same name, and returns its
// client_secret.
func (s *authServer) newService(ctx context.Context, role string) (secret string, err error) {
	if _, err := s.keys.CreateService(ctx, role, role); err != nil {
		return "", err
	}
	key, err := s.keys.Create(ctx, apikey.OfService(role), apikey.Options{Scopes: roles()[role]})
	return key.Text, err
}
