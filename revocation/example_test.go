package revocation_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/revocation"
)

// A logout at one service reaches another, which has no store.
func Example() {
	// The service that logs users in.
	ctx, store := context.Background(), authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:   []byte("a secret of 32 random bytes, or more"),
		Users:    store,
		Sessions: authkit.SessionConfig{Store: store},
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	auth := kit.NewMux()
	auth.Handle("GET /revocations", authkit.Public(), revocation.Handler(kit))
	server := httptest.NewServer(auth)
	defer server.Close()

	// The other one. The two share a secret here; with jwks they share public keys.
	ring, err := authkit.NewKeyRing(authkit.Key{Algorithm: authkit.HS256, Secret: []byte("a secret of 32 random bytes, or more")})
	if err != nil {
		log.Fatal(err)
	}
	follower, err := revocation.NewFollower(revocation.Config{URL: server.URL + "/revocations", Ring: ring, InsecureHTTP: true})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := authkit.NewGuard(authkit.GuardConfig{
		Tokens:  authkit.TokenConfig{Ring: ring},
		Revoked: follower.Revoked,
	})
	if err != nil {
		log.Fatal(err)
	}
	orders := guard.NewMux()
	orders.HandleFunc("GET /orders", authkit.Authenticated(), func(http.ResponseWriter, *http.Request) {})

	// A program would rather: go follower.Run(ctx)
	if err := follower.Poll(ctx); err != nil {
		log.Fatal(err)
	}

	user, err := kit.CreateUser(ctx, authkit.User{Email: "user@example.com"}, "correct horse")
	if err != nil {
		log.Fatal(err)
	}
	token, err := kit.Login(ctx, "user@example.com", "correct horse")
	if err != nil {
		log.Fatal(err)
	}
	ask := func() int {
		r := httptest.NewRequest("GET", "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		w := httptest.NewRecorder()
		orders.ServeHTTP(w, r)
		return w.Code
	}
	fmt.Println("logged in: ", ask())
	sessions, err := kit.Sessions(ctx, user.ID)
	if err != nil {
		log.Fatal(err)
	}
	if err := kit.Logout(ctx, user.ID, sessions[0].ID); err != nil {
		log.Fatal(err)
	}
	if err := follower.Poll(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("logged out:", ask())
	// Output:
	// logged in:  200
	// logged out: 401
}
