// Command web is a small site with session cookies: pages rendered on the
// server, a stream of events, and a WebSocket.
//
//	go run ./examples/web
//
// The pages work without JavaScript, except for the live parts. Browsers take
// Secure cookies from loopback addresses without HTTPS, so the program runs as
// it is.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/harden"
)

const (
	email    = "ann@example.com"
	password = "correct horse battery"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8002", "where to listen; port 0 picks one")
	every := flag.Duration("check", 3*time.Second, "how often a stream checks its session")
	flag.Parse()
	h, err := newHandler(context.Background(), nil, *every)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf(`listening on http://%s

Log in as %s with the password %q.
  - Open the page in two tabs, log out in one, and watch the stream end in the other.
  - Tick "Remember me", close the browser, and open it again.
  - Change the password while another browser is logged in.
  - Open /echo?x=y without a session: the login page leads back to it.
`, listener.Addr(), email, password)
	log.Fatal(harden.Server("", h).Serve(listener))
}

// A site has the handlers of the pages.
type site struct {
	kit   *authkit.Kit
	every time.Duration // between two checks of a stream
}

// newHandler returns the site with one account. If hasher is nil, it is the
// default one.
func newHandler(ctx context.Context, hasher authkit.Hasher, every time.Duration) (http.Handler, error) {
	store := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret: []byte("a secret for an example: use random bytes"),
		Users:  store,
		Sessions: authkit.SessionConfig{
			Store:   store,
			Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"},
		},
		Passwords: authkit.PasswordConfig{Hasher: hasher},
	})
	if err != nil {
		return nil, err
	}
	if _, err := kit.CreateUser(ctx, authkit.User{Email: email, FullName: "Ann"}, password); err != nil {
		return nil, err
	}
	wrap, err := harden.New(harden.Options{
		ContentSecurityPolicy: "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		Logger:                slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	return wrap((&site{kit, every}).routes()), nil
}

func (s *site) routes() http.Handler {
	mux := s.kit.NewMux()
	mux.Handle("/login", authkit.Public(), s.kit.FormLoginHandler(loginPage))
	mux.Handle("POST /logout", authkit.Public(), s.kit.FormLogoutHandler())
	mux.HandleFunc("GET /{$}", authkit.Authenticated(), home)
	mux.HandleFunc("GET /password", authkit.Authenticated(), passwordPage)
	mux.HandleFunc("POST /password", authkit.Authenticated(), s.changePassword)
	mux.HandleFunc("GET /events", authkit.Authenticated(), s.events)
	mux.HandleFunc("GET /echo", authkit.Authenticated(), s.echo)
	mux.HandleFunc("GET /app.js", authkit.Public(), file("app.js"))
	mux.HandleFunc("GET /style.css", authkit.Public(), file("style.css"))
	return mux
}
