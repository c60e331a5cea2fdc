package peers

import (
	"io"
	"slices"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v3"
	"github.com/gin-gonic/gin"
)

// ginGuards is gin-jwt on a gin engine without its logger and recovery. The
// identity handler makes the Go value, the authorizer checks the role, as the
// documentation shows.
func ginGuards(keys Keys) ([]Guard, error) {
	gin.SetMode(gin.ReleaseMode)
	mw, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
		Realm:       "benchmark",
		Key:         keys.Secret,
		Timeout:     time.Hour,
		IdentityKey: "identity",
		TokenLookup: "header:Authorization", // one place to look
		IdentityHandler: func(c *gin.Context) any {
			id, err := identityOfMap(ginjwt.ExtractClaims(c))
			if err != nil {
				return nil
			}
			return &id
		},
		Authorizer: func(_ *gin.Context, data any) bool {
			id, ok := data.(*Identity)
			return ok && slices.Contains(id.Roles, Role)
		},
	})
	if err != nil {
		return nil, err
	}
	engine := gin.New()
	engine.GET("/hello", mw.MiddlewareFunc(), func(c *gin.Context) {
		id, _ := c.Get("identity")
		io.WriteString(c.Writer, id.(*Identity).Subject)
	})
	return []Guard{{Name: "gin-jwt", Slug: "gin-jwt", Kind: Peer, Note: "on a gin engine", Handler: engine}}, nil
}
