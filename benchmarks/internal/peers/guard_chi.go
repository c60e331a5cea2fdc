package peers

import (
	"io"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/jwtauth/v5"
)

// chiGuards uses jwtauth on a chi router: Verify from the header only, then
// Authenticator. FromContext turns the whole token into a map at every call, so
// the handler checks the role and reads the subject from one such map.
func chiGuards(keys Keys) ([]Guard, error) {
	auth := jwtauth.New("HS256", keys.Secret, nil)
	router := chi.NewRouter()
	router.Group(func(r chi.Router) {
		r.Use(jwtauth.Verify(auth, jwtauth.TokenFromHeader), jwtauth.Authenticator(auth))
		r.Get("/hello", func(w http.ResponseWriter, r *http.Request) {
			_, claims, _ := jwtauth.FromContext(r.Context())
			id, err := identityOfMap(claims)
			if err != nil || !slices.Contains(id.Roles, Role) {
				http.Error(w, "Forbidden", http.StatusForbidden)
				return
			}
			io.WriteString(w, id.Subject)
		})
	})
	return []Guard{{Name: "chi jwtauth", Slug: "chi-jwtauth", Kind: Peer, Note: "on a chi router", Handler: router}}, nil
}
