package oidclogin_test

import (
	"log"
	"net/http"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
)

// A service with logins by password, with Google, and with the provider of a
// company. Both login buttons are links: /oidc/google and /oidc/work.
func Example() {
	accounts, identities := authkit.NewMemoryStore(), oidclogin.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:   []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), // from the environment, in your program
		Users:    accounts,
		Sessions: authkit.SessionConfig{Store: accounts, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}},
		UserData: []authkit.UserData{oidclogin.UserData(identities)},
	})
	if err != nil {
		log.Fatal(err)
	}
	logins, err := oidclogin.New(kit, oidclogin.Config{
		BaseURL: "https://example.com/oidc",
		Store:   identities,
		Providers: []oidclogin.Provider{
			oidclogin.Google("client ID", "client secret"),
			{
				Name: "work", Label: "Work", Issuer: "https://idp.example.com",
				ClientID: "client ID", ClientSecret: "client secret",
				Email: oidclogin.EmailVerified, // its addresses are verified
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := kit.NewMux()
	logins.Mount(mux)
	mux.HandleFunc("GET /{$}", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		u, _ := authkit.UserFrom(r.Context())
		_, _ = w.Write([]byte("Hello, " + u.Email))
	})
	_ = http.ListenAndServe // ("127.0.0.1:8080", mux)
}
