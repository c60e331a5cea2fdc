package peers

import (
	"io"
	"net/http"
	"slices"

	"github.com/pascaldekloe/jwt"
)

type pascaldekloeKey struct{}

// pascaldekloeGuards uses the library's own http.Handler: a key register with a
// reusable HMAC, claims in the context.
func pascaldekloeGuards(keys Keys) ([]Guard, error) {
	reused, err := jwt.NewHMAC(jwt.HS256, keys.Secret)
	if err != nil {
		return nil, err
	}
	return []Guard{{
		Name: "pascaldekloe Handler",
		Slug: "pascaldekloe-handler",
		Kind: Peer,
		Handler: &jwt.Handler{
			Keys:       &jwt.KeyRegister{HMACs: []*jwt.HMAC{reused}},
			ContextKey: pascaldekloeKey{},
			Func: func(w http.ResponseWriter, _ *http.Request, claims *jwt.Claims) bool {
				roles, ok := stringsOf(claims.Set["roles"])
				if !ok || !slices.Contains(roles, Role) {
					http.Error(w, "Forbidden", http.StatusForbidden)
					return false
				}
				return true
			},
			Target: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, r.Context().Value(pascaldekloeKey{}).(*jwt.Claims).Subject)
			}),
		},
	}}, nil
}
