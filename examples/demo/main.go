// Demo is a complete service on authkit: login, sessions that are refreshed and ended,
// guarded routes, roles, accounts that an administrator creates, and a documentation
// that can be tried out.
//
//	go run ./examples/demo
//
// It keeps everything in memory and starts with two accounts, which it prints. What
// a service of your own would do otherwise: it has no /generate-hash/, no accounts
// that everybody knows, TLS in front of it, and a store that outlives it.
//
// server.go is where to start reading.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/authkit-go/authkit/harden"
)

const (
	exitOK     = 0
	exitFailed = 1 // while starting or serving
	exitUsage  = 2 // flags, environment, or files that they name

	drainTime = 10 * time.Second
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program, but for the exit.
func run(args []string, stdout, stderr io.Writer) int {
	dotenv, err := readDotenv(".env")
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitUsage
	}
	cfg, err := loadConfig(args, environment(dotenv), stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitUsage
	}
	if cfg.printOnly {
		cfg.print(stdout)
		return exitOK
	}
	cfg.log = slog.New(slog.NewTextHandler(stderr, nil))
	if cfg.randomSecret {
		cfg.log.Warn("SECRET_KEY is not set: using a random secret, so tokens die with this process")
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	secure, err := cfg.tls()
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitUsage
	}
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitFailed
	}
	defer func() { _ = listener.Close() }()
	cfg.baseURL = cmp.Or(cfg.baseURL, baseURL(listener.Addr(), secure != nil))
	service, err := newServer(ctx, cfg)
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitUsage
	}
	defer func() { _ = service.store.close() }()
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	if err := greet(stdout, cfg, listener.Addr()); err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitFailed
	}
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	stopMetrics, err := serveMetrics(cfg, service.monitor)
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitFailed
	}
	defer stopMetrics() // when the audit log has ended, too
	defer beside(service.run)()
	if err := serve(ctx, newHTTPServer(service.handler(), cfg.log), listener, cfg.log); err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitFailed
	}
	return exitOK
}

// beside starts a task that runs until its context ends, and returns what ends it and
// waits for it. What goes wrong meanwhile, the task reports by itself.
func beside(task func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = task(ctx) // the context's error
	}()
	return func() {
		cancel()
		<-done
	}
}

// newHTTPServer returns the server of a handler, with limits.
func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	server := harden.Server("", handler)
	server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	return server
}

// serve serves until ctx ends, and then finishes the requests that are under way, if
// they take no longer than drainTime.
func serve(ctx context.Context, server *http.Server, listener net.Listener, log *slog.Logger) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("shutting down")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		log.Warn("some requests were cut off", "err", err)
		return server.Close()
	}
	return nil
}
