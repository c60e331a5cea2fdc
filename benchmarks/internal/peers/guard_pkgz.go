package peers

import (
	"io"
	"net/http"

	"github.com/go-pkgz/auth/v2/logger"
	"github.com/go-pkgz/auth/v2/middleware"
	"github.com/go-pkgz/auth/v2/provider"
	"github.com/go-pkgz/auth/v2/token"
)

// A pkgzProvider satisfies the middleware's check that the user's provider is
// still allowed.
type pkgzProvider struct{ provider.Provider }

func (pkgzProvider) Name() string { return "dev" }

// pkgzGuards uses go-pkgz/auth's RBAC middleware. The library keeps the user in
// a special claim, with one role, and reads the bare token from the X-JWT
// header.
func pkgzGuards(keys Keys) ([]Guard, error) {
	service := token.NewService(token.Opts{
		SecretReader: token.SecretFunc(func(string) (string, error) { return string(keys.Secret), nil }),
		DisableXSRF:  true, // no cookie is used
	})
	auth := middleware.Authenticator{
		L:          logger.NoOp,
		JWTService: service,
		Providers:  []provider.Service{provider.NewService(pkgzProvider{})},
	}
	tokens, err := NewTokens(HS256, keys, func(w *wire) {
		w.Audience = "benchmark"
		w.User = &wireUser{ID: "dev_" + w.Subject, Name: w.Subject, Role: w.Roles[0]}
		w.UserID, w.Roles = "", nil
	})
	if err != nil {
		return nil, err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := token.GetUserInfo(r)
		if err != nil {
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
		io.WriteString(w, user.Name)
	})
	return []Guard{{
		Name: "go-pkgz/auth", Slug: "go-pkgz", Kind: Peer, Note: "its token has a user claim of its own, with one role",
		Handler: auth.RBAC(Role)(handler), Tokens: tokens, Header: "X-Jwt",
	}}, nil
}
