// Package routers_test shows the guards of authkit on other routers. A guard is a
// func(http.Handler) http.Handler; nothing here is an adapter.
package routers_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"

	"github.com/authkit-go/authkit"
)

// service returns a kit with a user and an administrator, and a token of each.
func service() (kit *authkit.Kit, user, admin string) {
	ctx := context.Background()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, // for a test
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	tokens := make([]string, 2)
	for i, role := range []string{"user", "admin"} {
		u, err := kit.CreateUser(ctx, authkit.User{Email: role + "@example.com", Roles: []string{role}}, "correct horse")
		if err != nil {
			log.Fatal(err)
		}
		token, err := kit.Login(ctx, u.Email, "correct horse")
		if err != nil {
			log.Fatal(err)
		}
		tokens[i] = token.AccessToken
	}
	return kit, tokens[0], tokens[1]
}

// try asks for a page with each token in turn, the empty one first.
func try(h http.Handler, path string, tokens ...string) {
	for _, token := range append([]string{""}, tokens...) {
		r := httptest.NewRequest("GET", path, nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			fmt.Println(path, w.Code, w.Body)
			continue
		}
		fmt.Println(path, w.Code)
	}
}

func hello(w http.ResponseWriter, r *http.Request) {
	user, _ := authkit.UserFrom(r.Context())
	_, _ = fmt.Fprint(w, "hello, ", user.Email)
}

// chi takes guards as they are.
func Example_chi() {
	kit, user, admin := service()
	r := chi.NewRouter()
	r.With(kit.RequireRoles("admin")).Get("/admin", hello)
	r.Group(func(r chi.Router) {
		r.Use(kit.Authenticate)
		r.Get("/me", hello)
		r.With(kit.RequireAnyRole("admin", "auditor")).Get("/audit", hello)
	})
	try(r, "/me", user)
	try(r, "/admin", user, admin)
	try(r, "/audit", user, admin)
	// Output:
	// /me 401
	// /me 200 hello, user@example.com
	// /admin 401
	// /admin 403
	// /admin 200 hello, admin@example.com
	// /audit 401
	// /audit 403
	// /audit 200 hello, admin@example.com
}

// echo wraps a guard with echo.WrapMiddleware.
func Example_echo() {
	kit, user, admin := service()
	e := echo.New()
	e.GET("/me", echo.WrapHandler(http.HandlerFunc(hello)), echo.WrapMiddleware(kit.Authenticate))
	e.GET("/admin", func(c echo.Context) error {
		who, _ := authkit.PrincipalFrom(c.Request().Context())
		return c.String(http.StatusOK, "hello, "+who.Email)
	}, echo.WrapMiddleware(kit.RequireRoles("admin")))
	try(e, "/me", user)
	try(e, "/admin", user, admin)
	// Output:
	// /me 401
	// /me 200 hello, user@example.com
	// /admin 401
	// /admin 403
	// /admin 200 hello, admin@example.com
}

// gin has middleware of its own form; these lines turn a guard into one.
func Example_gin() {
	kit, user, admin := service()
	guard := func(mw func(http.Handler) http.Handler) gin.HandlerFunc {
		return func(c *gin.Context) {
			passed := false
			mw(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				passed, c.Request = true, r
			})).ServeHTTP(c.Writer, c.Request)
			if !passed {
				c.Abort()
			}
		}
	}
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.GET("/me", guard(kit.Authenticate), gin.WrapF(hello))
	r.GET("/admin", guard(kit.RequireRoles("admin")), func(c *gin.Context) {
		who, _ := authkit.PrincipalFrom(c.Request.Context())
		c.String(http.StatusOK, "hello, "+who.Email)
	})
	try(r, "/me", user)
	try(r, "/admin", user, admin)
	// Output:
	// /me 401
	// /me 200 hello, user@example.com
	// /admin 401
	// /admin 403
	// /admin 200 hello, admin@example.com
}
