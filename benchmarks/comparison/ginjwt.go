package main

import (
	"io"
	"net/http"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v3"
	"github.com/authkit-go/authkit/contract"
	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
)

// ginJWT is a program on gin, with the settings that the README of gin-jwt
// lists as secure, and with strict options of the parser. The roles are in the
// token.
func ginJWT() (contract.Target, error) {
	target, users := newTarget(), newUsers()
	if err := users.fill(&target); err != nil {
		return target, err
	}
	gin.SetMode(gin.ReleaseMode)
	guard := func(admits func(*user) bool) (*ginjwt.GinJWTMiddleware, error) {
		return ginjwt.New(&ginjwt.GinJWTMiddleware{
			Realm:          "comparison",
			Key:            []byte(secret),
			Timeout:        15 * time.Minute,
			MaxRefresh:     7 * 24 * time.Hour,
			IdentityKey:    "name",
			TokenLookup:    "header: Authorization, cookie: __Host-jwt",
			SendCookie:     true,
			CookieName:     "__Host-jwt",
			SecureCookie:   true,
			CookieHTTPOnly: true,
			CookieSameSite: http.SameSiteStrictMode,
			ParseOptions:   []jwt.ParserOption{jwt.WithStrictDecoding(), jwt.WithIssuedAt(), jwt.WithExpirationRequired()},
			HTTPStatusMessageFunc: func(*gin.Context, error) string {
				return "refused"
			},
			Authenticator: func(c *gin.Context) (any, error) {
				var form struct {
					Username string `form:"username" json:"username" binding:"required"`
					Password string `form:"password" json:"password" binding:"required"`
				}
				if err := c.ShouldBind(&form); err != nil {
					return nil, ginjwt.ErrMissingLoginValues
				}
				found, ok := users.check(form.Username, form.Password)
				if !ok {
					return nil, ginjwt.ErrFailedAuthentication
				}
				return &found, nil
			},
			PayloadFunc: func(data any) jwt.MapClaims {
				u, ok := data.(*user)
				if !ok {
					return jwt.MapClaims{}
				}
				return jwt.MapClaims{"name": u.Name, "role": u.Role}
			},
			IdentityHandler: func(c *gin.Context) any {
				claims := ginjwt.ExtractClaims(c)
				name, _ := claims["name"].(string)
				role, _ := claims["role"].(string)
				return &user{Name: name, Role: role}
			},
			Authorizer: func(_ *gin.Context, data any) bool {
				u, ok := data.(*user)
				return ok && admits(u)
			},
		})
	}
	everyone, err := guard(func(u *user) bool { return u.Name != "" })
	if err != nil {
		return target, err
	}
	admins, err := guard(func(u *user) bool { return u.Role == "admin" })
	if err != nil {
		return target, err
	}
	hello := func(c *gin.Context) {
		u, _ := c.Get("name")
		c.JSON(http.StatusOK, gin.H{"hello": u.(*user).Name})
	}
	engine := gin.New()
	engine.Use(gin.RecoveryWithWriter(io.Discard))
	engine.POST("/token", func(c *gin.Context) {
		// The contract sends refresh tokens to the path of the login.
		if c.PostForm("grant_type") == "refresh_token" {
			everyone.RefreshHandler(c)
			return
		}
		everyone.LoginHandler(c)
	})
	engine.GET("/hello", everyone.MiddlewareFunc(), hello)
	engine.GET("/admin", admins.MiddlewareFunc(), hello)
	engine.POST("/logout", everyone.MiddlewareFunc(), everyone.LogoutHandler)
	target.Handler, target.Refresh, target.LogoutPath, target.CookiePath = engine, true, "/logout", "/token"
	return target, nil
}
