package peers

import (
	"io"
	"slices"

	"github.com/golang-jwt/jwt/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
)

// echoGuards uses echo-jwt as documented, with claims in a map. Claims in a
// struct are slower.
func echoGuards(keys Keys) ([]Guard, error) {
	guard, err := echojwt.Config{SigningKey: keys.Secret}.ToMiddleware()
	if err != nil {
		return nil, err
	}
	// The handler gets the claims as a map: the middleware behind the guard
	// makes the Go value, once.
	admins := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			token, ok := c.Get("user").(*jwt.Token)
			if !ok {
				return echo.ErrUnauthorized
			}
			id, err := identityOfMap(token.Claims.(jwt.MapClaims))
			if err != nil || !slices.Contains(id.Roles, Role) {
				return echo.ErrForbidden
			}
			c.Set("identity", &id)
			return next(c)
		}
	}
	e := echo.New()
	e.GET("/hello", func(c echo.Context) error {
		_, err := io.WriteString(c.Response(), c.Get("identity").(*Identity).Subject)
		return err
	}, guard, admins)
	return []Guard{{Name: "echo-jwt", Slug: "echo-jwt", Kind: Peer, Note: "on an echo instance", Handler: e}}, nil
}
