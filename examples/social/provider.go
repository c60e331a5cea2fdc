package main

import (
	"io"
	"log/slog"
	"net"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/authkit-go/authkit/harden"
)

// The user of the provider.
const (
	providerUser     = "test-user@localhost"
	providerPassword = "verysecure"
)

// startProvider starts a provider of OpenID Connect with one client, and returns
// its issuer. It ends with the program.
func startProvider(clientID, clientSecret, redirectURI string) (issuer string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return "", err
	}
	// Another host name than that of the site: for a browser they are two sites.
	issuer = "http://localhost:" + port + "/"
	storage.RegisterClients(storage.WebClient(clientID, clientSecret, redirectURI))
	users := storage.NewStorage(storage.NewUserStore(issuer))
	h := exampleop.SetupServer(issuer, users, slog.New(slog.NewTextHandler(io.Discard, nil)), false)
	go func() { _ = harden.Server("", h).Serve(listener) }()
	return issuer, nil
}
