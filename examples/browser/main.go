// Command browser is a page that stays logged in. Its refresh token is in a
// cookie that no script can read. Its access token is in the memory of the
// page.
//
//	go run ./examples/browser
//
// Browsers accept Secure cookies from loopback addresses without HTTPS, so it
// needs no certificate.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/harden"
)

//go:embed page
var page embed.FS

func main() {
	addr := flag.String("addr", "127.0.0.1:8001", "where to listen; port 0 picks one")
	flag.Parse()
	h, err := newHandler(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\nlog in as ann@example.com with %q, and reload the page\n", listener.Addr(), password)
	log.Fatal(harden.Server("", h).Serve(listener))
}

const password = "correct horse battery"

func newHandler(ctx context.Context) (http.Handler, error) {
	secret := []byte("a secret for an example: use random bytes")
	store := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:   secret,
		Users:    store,
		Sessions: authkit.SessionConfig{Store: store},
	})
	if err != nil {
		return nil, err
	}
	if _, err := kit.CreateUser(ctx, authkit.User{Email: "ann@example.com", FullName: "Ann"}, password); err != nil {
		return nil, err
	}
	mux := kit.NewMux()
	mux.Handle("GET /{$}", authkit.Public(), file("page/index.html", "text/html; charset=utf-8"))
	mux.Handle("GET /app.js", authkit.Public(), file("page/app.js", "text/javascript; charset=utf-8"))
	mux.Handle("/session", authkit.Public(), kit.RefreshCookieHandler())
	mux.HandleFunc("GET /hello", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		user, _ := authkit.UserFrom(r.Context())
		_, _ = fmt.Fprintf(w, "hello, %s", user.FullName)
	})
	return mux, nil
}

// file serves a file of the page. Its policy forbids loading from other
// origins, and framing.
func file(name, contentType string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		content, err := page.ReadFile(name)
		if err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		_, _ = w.Write(content)
	})
}
