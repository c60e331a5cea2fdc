package harden

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// drainTime is shorter than the 30 seconds after which Kubernetes kills a pod.
const drainTime = 20 * time.Second

// Serve listens on the address of a server, and serves until ctx is done. Then
// it accepts no more connections, finishes the requests in progress, and
// returns nil. Requests that take longer than 20 seconds to finish are cut off,
// and Serve returns an error. It uses TLS if the server has a TLSConfig.
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	err := harden.Serve(ctx, harden.Server("127.0.0.1:8000", handler))
func Serve(ctx context.Context, server *http.Server) error {
	return serve(ctx, server, func() error {
		if server.TLSConfig != nil {
			return server.ListenAndServeTLS("", "")
		}
		return server.ListenAndServe()
	})
}

// serve is Serve with the function that serves.
func serve(ctx context.Context, server *http.Server, listen func() error) error {
	failed := make(chan error, 1)
	go func() { failed <- listen() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("harden: requests were cut off: %w", err), server.Close())
	}
	return nil
}
