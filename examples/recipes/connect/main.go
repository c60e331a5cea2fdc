// Command connect is a service with logins and two Connect procedures, here without generated code.
//
//	SECRET_KEY=$(openssl rand -hex 32) BROWSER_KEY=$(openssl rand -hex 32) ADMIN_PASSWORD='correct horse battery' go run .
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"connectrpc.com/connect"
	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/harden"
	"github.com/authkit-go/authkit/throttle"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	limits := must(throttle.New(throttle.Config{Secret: []byte(os.Getenv("BROWSER_KEY"))})) // of guesses
	store := authkit.NewMemoryStore()                                                       // for a database, see package sqlstore
	kit := must(authkit.New(authkit.Config{
		Secret: []byte(os.Getenv("SECRET_KEY")), Throttle: limits,
		Users: store, Sessions: authkit.SessionConfig{Store: store},
	}))
	must(kit.CreateUser(ctx, authkit.User{Email: "ann@example.com", Roles: []string{"admin"}}, os.Getenv("ADMIN_PASSWORD")))
	go kit.Run(ctx)                            // deletes expired sessions
	wrap := must(harden.New(harden.Options{})) // headers, request IDs, a log
	if err := harden.Serve(ctx, harden.Server("127.0.0.1:8000", wrap(routes(kit, limits)))); err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func routes(kit *authkit.Kit, limits *throttle.Throttle) http.Handler {
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), limits.Device(kit.TokenHandler()))
	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
	options := connect.WithHandlerOptions(connect.WithReadMaxBytes(1<<20), connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	mux.Handle("/greet.v1.Greeter/Hello", authkit.Authenticated(), connect.NewUnaryHandlerSimple("/greet.v1.Greeter/Hello", hello, options))
	mux.Handle("/admin.v1.Admin/Hello", authkit.Roles("admin"), connect.NewUnaryHandlerSimple("/admin.v1.Admin/Hello", hello, options))
	return mux
}

func hello(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.StringValue, error) {
	user, _ := authkit.UserFrom(ctx)
	return wrapperspb.String("hello, " + user.Email), nil
}
