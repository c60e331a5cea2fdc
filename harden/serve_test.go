package harden_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

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

// A pipe is a listener with one connection in memory.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error { close(p.closed); return nil }

func (*pipe) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// RE-09: a request that does not end is cut off after 20 seconds, and Serve
// reports it.
func TestServeCutsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		client, conn := net.Pipe()
		listener := &pipe{make(chan net.Conn, 1), make(chan struct{})}
		listener.conns <- conn
		var began time.Time
		server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			began = time.Now()
			stop()
			<-r.Context().Done()
		})}
		ended := make(chan error, 1)
		go func() { ended <- harden.ServeWith(ctx, server, func() error { return server.Serve(listener) }) }()
		_, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
		require.NoError(t, err)
		answer, err := io.ReadAll(client)
		require.NoError(t, err)
		require.Empty(t, answer)
		err = <-ended
		require.ErrorContains(t, err, "requests were cut off")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 20*time.Second, time.Since(began))
	})
}

// A server with a TLSConfig serves by TLS.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	pair := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer pair.Close()
	ctx, stop := context.WithCancel(t.Context())
	server := harden.Server("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strconv.FormatBool(r.TLS != nil))
	}))
	server.TLSConfig = &tls.Config{Certificates: pair.TLS.Certificates}
	address := make(chan string, 1)
	server.BaseContext = func(l net.Listener) context.Context {
		address <- l.Addr().String()
		return context.Background()
	}
	ended := make(chan error, 1)
	go func() { ended <- harden.Serve(ctx, server) }()
	select {
	case at := <-address:
		response, err := pair.Client().Get("https://" + at)
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, "true", string(text))
		stop()
		require.NoError(t, <-ended)
	case err := <-ended:
		t.Fatal(err)
	}
	stop()
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
