package apikey_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

// A program creates a key for a user, and a client reads with it.
func Example() {
	ctx := context.Background()
	authenticator, err := apikey.NewAuthenticator(apikey.Config{Prefix: "acme"})
	if err != nil {
		log.Fatal(err)
	}
	kit, err := authkit.New(authkit.Config{
		Secret:         []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Authenticators: []authkit.Authenticator{authenticator},
		UserData:       []authkit.UserData{authenticator},
		Roles:          map[string][]string{"editor": {"notes:read", "notes:write"}},
		Passwords:      authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, // for a quick example
		Logger:         slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	keys, err := apikey.New(kit, authenticator)
	if err != nil {
		log.Fatal(err)
	}
	mux := kit.NewMux()
	keys.Mount(mux, "/users/me/keys")
	notes := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	mux.HandleFunc("GET /notes", authkit.Permissions("notes:read").OrMachines(), notes)
	mux.HandleFunc("POST /notes", authkit.Permissions("notes:write").OrMachines(), notes)
	// A program also writes when keys were last used:
	//
	//	go keys.Run(ctx)

	user, err := kit.CreateUser(ctx, authkit.User{Email: "ann@example.com", Roles: []string{"editor"}}, "correct horse")
	if err != nil {
		log.Fatal(err)
	}
	key, err := keys.Create(ctx, apikey.OfUser(user.ID), apikey.Options{Name: "backup", Scopes: []string{"notes:read"}})
	if err != nil {
		log.Fatal(err)
	}
	for _, method := range []string{"GET", "POST"} {
		r := httptest.NewRequest(method, "/notes", nil)
		r.Header.Set("Authorization", "Bearer "+key.Text)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(method, w.Code)
	}
	// Output:
	// GET 200
	// POST 403
}
