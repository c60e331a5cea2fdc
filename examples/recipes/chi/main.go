// Command chi is a service with logins on chi, which takes the guards as they are.
//
//	SECRET_KEY=$(openssl rand -hex 32) BROWSER_KEY=$(openssl rand -hex 32) ADMIN_PASSWORD='correct horse battery' go run .
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/harden"
	"github.com/authkit-go/authkit/throttle"
	"github.com/go-chi/chi/v5"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	limits := must(throttle.New(throttle.Config{Secret: []byte(os.Getenv("BROWSER_KEY"))})) // of guesses
	store := authkit.NewMemoryStore()                                                       // for a database, see package sqlstore
	kit := must(authkit.New(authkit.Config{
		Secret: []byte(os.Getenv("SECRET_KEY")), Throttle: limits,
		Users: store, Sessions: authkit.SessionConfig{Store: store},
	}))
	must(kit.CreateUser(ctx, authkit.User{Email: "ann@example.com", Roles: []string{"admin"}}, os.Getenv("ADMIN_PASSWORD")))
	go kit.Run(ctx)                            // deletes expired sessions
	wrap := must(harden.New(harden.Options{})) // headers, request IDs, a log
	if err := harden.Serve(ctx, harden.Server("127.0.0.1:8000", wrap(routes(kit, limits)))); err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func routes(kit *authkit.Kit, limits *throttle.Throttle) http.Handler {
	r := chi.NewRouter()
	r.Method("POST", "/token", limits.Device(kit.TokenHandler()))
	r.With(kit.Authenticate).Method("POST", "/logout", kit.LogoutHandler())
	r.With(kit.Authenticate).Get("/hello", func(w http.ResponseWriter, r *http.Request) {
		user, _ := authkit.UserFrom(r.Context())
		fmt.Fprintln(w, "hello,", user.Email)
	})
	r.With(kit.RequireRoles("admin")).Get("/admin", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "for administrators")
	})
	return authkit.RefuseAmbiguousPaths(r)
}
