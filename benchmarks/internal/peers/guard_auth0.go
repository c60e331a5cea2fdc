package peers

import (
	"context"
	"io"
	"net/http"
	"slices"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v3"
	"github.com/auth0/go-jwt-middleware/v3/validator"
)

const auth0Issuer, auth0Audience = "https://issuer.example/", "benchmark"

type auth0Claims struct {
	UserID string   `json:"uid"`
	Roles  []string `json:"roles"`
}

func (*auth0Claims) Validate(context.Context) error { return nil }

// auth0Guards uses go-jwt-middleware with custom claims. It requires an issuer
// and an audience, so its token has them too.
func auth0Guards(keys Keys) ([]Guard, error) {
	v, err := validator.New(
		validator.WithKeyFunc(func(context.Context) (any, error) { return keys.Secret, nil }),
		validator.WithAlgorithm(validator.HS256),
		validator.WithIssuer(auth0Issuer),
		validator.WithAudience(auth0Audience),
		validator.WithCustomClaims(func() *auth0Claims { return new(auth0Claims) }),
	)
	if err != nil {
		return nil, err
	}
	mw, err := jwtmiddleware.New(jwtmiddleware.WithValidator(v))
	if err != nil {
		return nil, err
	}
	tokens, err := NewTokens(HS256, keys, func(w *wire) { w.Issuer, w.Audience = auth0Issuer, auth0Audience })
	if err != nil {
		return nil, err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := jwtmiddleware.GetClaims[*validator.ValidatedClaims](r.Context())
		if err != nil || !slices.Contains(claims.CustomClaims.(*auth0Claims).Roles, Role) {
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
		io.WriteString(w, claims.RegisteredClaims.Subject)
	})
	return []Guard{{
		Name: "auth0 go-jwt-middleware", Slug: "auth0", Kind: Peer, Note: "its token also has iss and aud, which it insists on",
		Handler: mw.CheckJWT(handler), Tokens: tokens,
	}}, nil
}
