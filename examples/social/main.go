// Command social is a small site with "Log in with …", and the provider for it.
//
//	go run ./examples/social
//
// The provider runs in the same process, so nothing has to be registered, and
// no network is needed. Its code is the example of github.com/zitadel/oidc. To
// use another provider, give its issuer and the client that it assigned:
//
//	go run ./examples/social -issuer https://idp.example.com -client-id ID -client-secret SECRET
//
// The redirect URI is http://127.0.0.1:8004/oidc/idp/callback.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/authkit-go/authkit/harden"
	"github.com/authkit-go/authkit/oidclogin"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8004", "where to listen; port 0 picks one")
	issuer := flag.String("issuer", "", "`URL` of another provider")
	clientID := flag.String("client-id", "web", "the `ID` of the client at the provider")
	clientSecret := flag.String("client-secret", "secret", "the `secret` of the client")
	trust := flag.Bool("trust-email", true, "take addresses that the provider has verified")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	base := "http://" + listener.Addr().String()
	local := *issuer == ""
	if local {
		if *issuer, err = startProvider(*clientID, *clientSecret, base+"/oidc/idp/callback"); err != nil {
			log.Fatal(err)
		}
	}
	p := oidclogin.Provider{Name: "idp", Label: "the provider", Issuer: *issuer, ClientID: *clientID, ClientSecret: *clientSecret}
	if *trust {
		p.Email = oidclogin.EmailVerified
	}
	h, err := newHandler(context.Background(), nil, base, p)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf(`listening on %s, with the provider %s

There is one account: %s with the password %q.
`, base, *issuer, email, password)
	if local {
		fmt.Printf(`The provider has the user %s with the password %q.

  - Log in with the provider: that creates an account.
  - Log out, log in with the password, and link the provider in the settings:
    remove it from the other account before.
  - Wait for five minutes, and try to unlink: you must log in again.
`, providerUser, providerPassword)
	}
	if err := harden.Server("", h).Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
