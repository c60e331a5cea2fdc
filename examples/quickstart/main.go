// Command quickstart is a whole service: a login, a guarded route, and one for a role.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/harden"
)

func main() {
	kit, err := authkit.New(authkit.Config{Secret: []byte(os.Getenv("SECRET_KEY"))}) // accounts in memory
	if err != nil {
		log.Fatal(err)
	}
	ann := authkit.User{Email: "ann@example.com", Roles: []string{"admin"}}
	if _, err := kit.CreateUser(context.Background(), ann, os.Getenv("ADMIN_PASSWORD")); err != nil {
		log.Fatal(err)
	}
	log.Fatal(harden.Server("127.0.0.1:8000", routes(kit)).ListenAndServe())
}

// routes returns the handler of the service. Each route has a policy.
func routes(kit *authkit.Kit) http.Handler {
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.HandleFunc("GET /hello", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		user, _ := authkit.UserFrom(r.Context())
		fmt.Fprintln(w, "hello,", user.Email)
	})
	mux.HandleFunc("GET /admin", authkit.Roles("admin"), func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "for administrators")
	})
	return mux
}
