// Command echo is a service with logins on echo, which wraps each guard in its own form.
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
	"github.com/labstack/echo/v4"
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
	e := echo.New()
	user, admin := echo.WrapMiddleware(kit.Authenticate), echo.WrapMiddleware(kit.RequireRoles("admin"))
	e.POST("/token", echo.WrapHandler(limits.Device(kit.TokenHandler())))
	e.POST("/logout", echo.WrapHandler(kit.LogoutHandler()), user)
	e.GET("/hello", func(c echo.Context) error {
		user, _ := authkit.UserFrom(c.Request().Context())
		return c.String(http.StatusOK, "hello, "+user.Email)
	}, user)
	e.GET("/admin", func(c echo.Context) error {
		return c.String(http.StatusOK, "for administrators")
	}, admin)
	return authkit.RefuseAmbiguousPaths(e)
}
