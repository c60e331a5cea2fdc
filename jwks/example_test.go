package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/jwks"
)

// One service signs tokens and publishes its public keys; another fetches them and verifies.
func Example() {
	key, err := jwks.GenerateKey(authkit.ES256)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := authkit.NewKeyRing(key)
	if err != nil {
		log.Fatal(err)
	}
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Ring: ring, Issuer: "https://login.example.com", Audience: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	login := httptest.NewTLSServer(jwks.Handler(ring))
	defer login.Close()

	remote, err := jwks.NewRemote(jwks.RemoteConfig{
		URL:    login.URL, // in production: https://login.example.com/.well-known/jwks.json
		Client: login.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := remote.Fetch(context.Background()); err != nil {
		log.Print(err) // the first token tries again
	}
	orders, err := authkit.NewTokenVerifier(authkit.TokenConfig{Ring: remote, Issuer: "https://login.example.com", Audience: "orders"})
	if err != nil {
		log.Fatal(err)
	}

	token, err := issuer.Issue(authkit.Claims{Subject: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	claims, err := orders.Verify(token)
	fmt.Println(claims.Subject, err)

	// A token signed with another key.
	other, err := jwks.GenerateKey(authkit.ES256)
	if err != nil {
		log.Fatal(err)
	}
	if err := ring.Replace(other); err != nil {
		log.Fatal(err)
	}
	forged, err := issuer.Issue(authkit.Claims{Subject: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = orders.Verify(forged) // the keys were fetched less than 30 seconds ago
	fmt.Println(errors.Is(err, authkit.ErrInvalidToken))
	// Output:
	// ada <nil>
	// true
}

// Generate a key once, and keep it as PEM in a file that only the service can read.
func ExampleMarshalPEM() {
	key, err := jwks.GenerateKey(authkit.EdDSA)
	if err != nil {
		log.Fatal(err)
	}
	text, err := jwks.MarshalPEM(key)
	if err != nil {
		log.Fatal(err)
	}
	loaded, err := jwks.ParsePEM(text)
	fmt.Println(loaded.Algorithm, loaded.ID == key.ID, err)
	// Output:
	// EdDSA true <nil>
}
