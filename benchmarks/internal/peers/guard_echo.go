package peers

import (
	"io"
	"net/http"
	"slices"

	"github.com/golang-jwt/jwt/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
)

// echoGuards is echo-jwt with claims in a struct, the documented way to custom claims.
func echoGuards(keys Keys) ([]Guard, error) {
	guard, err := echojwt.Config{
		SigningKey:    keys.Secret,
		NewClaimsFunc: func(echo.Context) jwt.Claims { return new(golangJWTClaims) },
	}.ToMiddleware()
	if err != nil {
		return nil, err
	}
	admins := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			token, ok := c.Get("user").(*jwt.Token)
			if !ok || !slices.Contains(token.Claims.(*golangJWTClaims).Roles, Role) {
				return echo.NewHTTPError(http.StatusForbidden)
			}
			return next(c)
		}
	}
	e := echo.New()
	e.GET("/hello", func(c echo.Context) error {
		_, err := io.WriteString(c.Response(), c.Get("user").(*jwt.Token).Claims.(*golangJWTClaims).Subject)
		return err
	}, guard, admins)
	return []Guard{{Name: "echo-jwt", Slug: "echo-jwt", Kind: Peer, Note: "on an echo instance", Handler: e}}, nil
}
