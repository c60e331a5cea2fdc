package authkit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/authkit-go/authkit"
)

// Server-sent events that end with the session of their user. A WebSocket does the same: its
// handler closes the connection when the context is done.
func ExampleKit_Watch() {
	store := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("a secret of 32 random bytes, or more"),
		Users:     store,
		Sessions:  authkit.SessionConfig{Store: store},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, // quick, for an example
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := kit.NewMux()
	mux.HandleFunc("GET /events", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := kit.Watch(r.Context(), authkit.Authenticated(), time.Second) // 0 for 30 seconds
		defer stop()
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		fmt.Fprint(w, "data: hello\n\n")
		_ = rc.Flush()
		<-ctx.Done() // a real stream waits for events, too
		if errors.Is(context.Cause(ctx), authkit.ErrInvalidToken) {
			fmt.Fprint(w, "event: ended\ndata: log in again\n\n")
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	user, err := kit.CreateUser(context.Background(), authkit.User{Email: "ann@example.com"}, "correct horse")
	if err != nil {
		log.Fatal(err)
	}
	token, err := kit.Login(context.Background(), user.Email, "correct horse")
	if err != nil {
		log.Fatal(err)
	}
	request, err := http.NewRequest("GET", server.URL+"/events", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token.AccessToken)
	response, err := server.Client().Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		fmt.Println(lines.Text())
		if lines.Text() == "data: hello" {
			if err := kit.LogoutEverywhere(context.Background(), user.ID); err != nil {
				log.Fatal(err)
			}
		}
	}
	// Output:
	// data: hello
	//
	// event: ended
	// data: log in again
}
