// Command embedder is a service that embeds the library: the README's program with one account.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/authkit-go/authkit"
)

func main() {
	kit, err := authkit.New(authkit.Config{Secret: []byte(os.Getenv("SECRET_KEY"))})
	if err != nil {
		log.Fatal(err)
	}
	ada := authkit.User{Email: "ada@example.com", FullName: "Ada Lovelace", Roles: []string{"user"}}
	if _, err := kit.CreateUser(context.Background(), ada, os.Getenv("PASSWORD")); err != nil {
		log.Fatal(err)
	}
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.HandleFunc("GET /hello", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		user, _ := authkit.UserFrom(r.Context())
		fmt.Fprintf(w, "hello, %s", user.FullName)
	})
	mux.HandleFunc("DELETE /everything", authkit.Roles("admin"), func(http.ResponseWriter, *http.Request) {
		log.Fatal("everything is gone")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr()) // where the test finds it
	log.Fatal(http.Serve(listener, mux))
}
