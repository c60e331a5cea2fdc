package harden_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/authkit-go/authkit/harden"
	"github.com/stretchr/testify/require"
)

// RE-09: Serve ends when its context does, and finishes the request in progress.
func TestServe(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	began, proceed := make(chan struct{}), make(chan struct{})
	server := harden.Server("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-proceed
		_, _ = io.WriteString(w, "whole")
	}))
	address := make(chan string, 1)
	server.BaseContext = func(l net.Listener) context.Context {
		address <- l.Addr().String()
		return context.Background()
	}
	shutdown := make(chan struct{})
	server.RegisterOnShutdown(func() { close(shutdown) })
	ended := make(chan error, 1)
	go func() { ended <- harden.Serve(ctx, server) }()

	body := make(chan string, 1)
	at := "http://" + <-address
	go func() {
		defer close(body)
		response, err := http.Get(at)
		if err != nil {
			return
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		body <- string(text)
	}()
	<-began
	stop()
	<-shutdown
	select {
	case err := <-ended:
		t.Fatal("ended during a request: ", err)
	default:
	}
	close(proceed)
	require.Equal(t, "whole", <-body)
	require.NoError(t, <-ended)
	_, err := http.Get(at)
	require.Error(t, err)
}

// Serve returns the error of an address that it cannot use.
func TestServeAddress(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	var failed *net.OpError
	require.ErrorAs(t, harden.Serve(t.Context(), harden.Server(taken.Addr().String(), http.NotFoundHandler())), &failed)
	require.Equal(t, "listen", failed.Op)
}
