// Command gin is a service with logins on gin. A route without a policy below needs a login.
//
//	SECRET_KEY=$(openssl rand -hex 32) BROWSER_KEY=$(openssl rand -hex 32) ADMIN_PASSWORD='correct horse battery' go run .
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/harden"
	"github.com/authkit-go/authkit/throttle"
	"github.com/gin-gonic/gin"
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
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.GET("/hello", func(c *gin.Context) {
		user, _ := authkit.UserFrom(c.Request.Context())
		c.String(http.StatusOK, "hello, %s", user.Email)
	})
	r.GET("/admin/stats", func(c *gin.Context) { c.String(http.StatusOK, "for administrators") })

	mux := kit.NewMux() // in front of gin
	mux.Handle("POST /token", authkit.Public(), limits.Device(kit.TokenHandler()))
	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
	mux.Handle("/admin/", authkit.Roles("admin"), r)
	mux.Handle("/", authkit.Authenticated(), r)
	return mux
}
