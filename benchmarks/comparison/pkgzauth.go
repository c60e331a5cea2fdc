package main

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/authkit-go/authkit/contract"
	"github.com/go-pkgz/auth/v2"
	"github.com/go-pkgz/auth/v2/avatar"
	"github.com/go-pkgz/auth/v2/provider"
	"github.com/go-pkgz/auth/v2/token"
)

const site = "comparison" // the audience of the tokens of pkgzAuth

// pkgzAuth is a program with the direct provider of go-pkgz/auth, whose login
// checks a name and a password. The options that narrow the default are set: of
// cookies, of the audience, and the validator that looks the user up.
func pkgzAuth() (contract.Target, error) {
	target, users := newTarget(), newUsers()
	if err := users.fill(&target); err != nil {
		return target, err
	}
	service := auth.NewService(auth.Opts{
		SecretReader:      token.SecretFunc(func(string) (string, error) { return secret, nil }),
		TokenDuration:     5 * time.Minute,
		CookieDuration:    24 * time.Hour,
		JWTCookieName:     "__Host-JWT",
		SecureCookies:     true,
		SameSiteCookie:    http.SameSiteStrictMode,
		XSRFIgnoreMethods: []string{http.MethodGet},
		SendJWTHeader:     true,
		Issuer:            site,
		URL:               "https://service.example",
		AudienceReader:    token.AudienceFunc(func() ([]string, error) { return []string{site}, nil }),
		AvatarStore:       avatar.NewNoOp(),
		ClaimsUpd: token.ClaimsUpdFunc(func(claims token.Claims) token.Claims {
			if claims.User != nil {
				found, ok := users.find(claims.User.Name)
				claims.User.SetAdmin(ok && found.Role == "admin")
			}
			return claims
		}),
		Validator: token.ValidatorFunc(func(_ string, claims token.Claims) bool {
			_, ok := users.find(claims.User.Name)
			return ok
		}),
	})
	service.AddDirectProvider("local", provider.CredCheckerFunc(func(name, password string) (bool, error) {
		_, ok := users.check(name, password)
		return ok, nil
	}))
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := token.GetUserInfo(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		writeJSON(w, map[string]string{"hello": u.Name})
	})
	guard := service.Middleware()
	routes, _ := service.Handlers()
	mux := http.NewServeMux()
	mux.Handle("/auth/", routes)
	mux.Handle("GET /hello", guard.Auth(hello))
	mux.Handle("GET /admin", guard.AdminOnly(hello))
	target.Handler = translated(mux)
	target.LoginPath, target.CookiePath, target.LogoutPath = "/auth/local/login", "/auth/local/login", "/auth/logout"
	return target, nil
}

// fields finds the names of the fields of a login, in a form and in a query.
var fields = regexp.MustCompile(`\b(username|password)(=|\[|%5B|")`)

// translated adapts the requests of the contract to the names of go-pkgz/auth:
// those of the fields of a login, and the header that has the token. It adds the
// audience to a login, and writes the token into the body of the response.
func translated(next http.Handler) http.Handler {
	names := map[string]string{"username": "user", "password": "passwd"}
	rename := func(text []byte) []byte {
		return fields.ReplaceAllFunc(text, func(match []byte) []byte {
			name := string(match[:len("username")])
			return append([]byte(names[name]), match[len(name):]...)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if values := r.Header["Authorization"]; len(values) == 1 {
			if bearer, ok := strings.CutPrefix(values[0], "Bearer "); ok {
				r.Header.Set("X-Jwt", bearer)
				r.Header.Del("Authorization")
			}
		}
		if !strings.HasSuffix(r.URL.Path, "/login") {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
			return
		}
		body = rename(body)
		if len(body) > 0 && r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
			body = append(body, "&aud="+site...)
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if r.URL.RawQuery != "" {
			r.URL.RawQuery = string(rename([]byte(r.URL.RawQuery))) + "&aud=" + site
		}
		next.ServeHTTP(&tokenWriter{ResponseWriter: w}, r)
	})
}

// A tokenWriter replaces the body of a response by its header X-JWT, in the form
// of RFC 6749.
type tokenWriter struct {
	http.ResponseWriter
	replaced bool
}

func (w *tokenWriter) Write(body []byte) (int, error) {
	bearer := w.Header().Get("X-Jwt")
	if bearer == "" {
		return w.ResponseWriter.Write(body)
	}
	if !w.replaced {
		w.replaced = true
		if _, err := io.WriteString(w.ResponseWriter, `{"access_token":"`+bearer+`"}`); err != nil {
			return 0, err
		}
	}
	return len(body), nil
}
