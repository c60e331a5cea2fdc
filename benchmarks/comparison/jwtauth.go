package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/authkit-go/authkit/contract"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/jwtauth/v5"
	"github.com/lestrrat-go/jwx/v2/jwt"
)

// chiJWTAuth is a program on chi. The library verifies tokens; the login is the
// program's.
func chiJWTAuth() (contract.Target, error) {
	target, users := newTarget(), newUsers()
	if err := users.fill(&target); err != nil {
		return target, err
	}
	auth := jwtauth.New("HS256", []byte(secret), nil, jwt.WithRequiredClaim("exp"), jwt.WithRequiredClaim("sub"))
	router := chi.NewRouter()
	router.Post("/token", func(w http.ResponseWriter, r *http.Request) {
		found, ok := users.check(r.PostFormValue("username"), r.PostFormValue("password"))
		if !ok {
			http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
			return
		}
		claims := map[string]any{"sub": found.Name, "role": found.Role}
		jwtauth.SetIssuedNow(claims)
		jwtauth.SetExpiryIn(claims, 15*time.Minute)
		_, token, err := auth.Encode(claims)
		if err != nil {
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		writeJSON(w, map[string]string{"access_token": token, "token_type": "Bearer"})
	})
	hello := func(w http.ResponseWriter, r *http.Request) {
		_, claims, _ := jwtauth.FromContext(r.Context())
		writeJSON(w, map[string]any{"hello": claims["sub"]})
	}
	router.Group(func(r chi.Router) {
		r.Use(jwtauth.Verifier(auth), jwtauth.Authenticator(auth))
		r.Get("/hello", hello)
		r.With(adminRole).Get("/admin", hello)
	})
	target.Handler = router
	return target, nil
}

// adminRole is a middleware that reads the role from the token.
func adminRole(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, claims, err := jwtauth.FromContext(r.Context())
		if err != nil || claims["role"] != "admin" {
			http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
