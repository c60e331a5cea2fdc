// Command microservices runs three services in one program, each on its own
// port. One logs users in, and two only verify tokens. It prints each step of
// their communication. Then it serves until it is interrupted.
//
//	go run ./examples/microservices
//
// The two share no secret and no store with the first. They fetch its public
// keys, and follow its list of revocations.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/authkit-go/authkit/harden"
)

func main() {
	once := flag.Bool("once", false, "stop after the walk-through")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, "127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9002", *once); err != nil {
		fmt.Fprintln(os.Stderr, "microservices:", err)
		os.Exit(1)
	}
}

// run starts the services at the three addresses and runs the steps.
func run(ctx context.Context, out io.Writer, authAddr, ordersAddr, invoicesAddr string, once bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	auth, err := newAuthService(ctx)
	if err != nil {
		return err
	}
	authURL, stopAuth, err := serve(authAddr, auth.handler())
	if err != nil {
		return err
	}
	defer stopAuth()
	walk := walker{out: out, auth: auth, authURL: authURL, stopAuth: stopAuth}
	for _, s := range []struct {
		addr, name, role string
		url              *string
	}{
		{ordersAddr, "orders", "user", &walk.ordersURL},
		{invoicesAddr, "invoices", "accountant", &walk.invoicesURL},
	} {
		h, err := newResourceService(ctx, authURL, s.name, s.role)
		if err != nil {
			return err
		}
		url, stop, err := serve(s.addr, h)
		if err != nil {
			return err
		}
		defer stop()
		*s.url = url
	}
	fmt.Fprintf(out, "auth      %s  logs in; holds the accounts, the sessions and the private key\n", authURL)
	fmt.Fprintf(out, "orders    %s  verifies tokens; for the role user\n", walk.ordersURL)
	fmt.Fprintf(out, "invoices  %s  verifies tokens; for the role accountant\n\n", walk.invoicesURL)
	if err := walk.through(ctx); err != nil || once {
		return err
	}
	fmt.Fprintf(out, "\nauth is gone; the others stay until you press ctrl-c. Try them:\n")
	fmt.Fprintf(out, "  curl -i -H 'Authorization: Bearer %s' %s/orders\n", walk.token, walk.ordersURL)
	<-ctx.Done()
	return nil
}

// serve serves a handler. It returns the URL and a function that stops it.
func serve(addr string, h http.Handler) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	server := harden.Server("", h)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "microservices:", err)
		}
	}()
	return "http://" + listener.Addr().String(), func() { _ = server.Close() }, nil
}
