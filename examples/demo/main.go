// Demo is a complete service on authkit: login, sessions with refresh and
// logout, guarded routes, roles, accounts that an administrator creates, and
// interactive API documentation.
//
//	go run ./examples/demo
//
// By default it keeps everything in memory and starts with two accounts, which
// it prints. A service of your own needs no /generate-hash/ and no well-known
// accounts, but TLS in front of it, and a persistent store.
//
// Start reading at server.go.
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
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/authkit-go/authkit/harden"
)

const (
	exitOK     = 0
	exitFailed = 1 // while starting or serving, or if the audit log is incomplete
	exitUsage  = 2 // a problem of flags, environment, or their files

	drainTime = 10 * time.Second
)

func main() {
	useAllCores()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// useAllCores lets the password hashes of logins use all cores: the Go scheduler gets one
// processor more than there are cores, which hashes leave free for other requests. A value in
// the environment wins. So does a CPU quota, to which Go has set GOMAXPROCS: hashes that used
// it up would stop the process.
func useAllCores() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) == runtime.NumCPU() {
		runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	}
}

// run is main without the exit.
func run(args []string, stdout, stderr io.Writer) (code int) {
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
	kind, address := network(cfg.addr)
	listener, err := net.Listen(kind, address)
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
	code = exitOK
	stopService := runInBackground(service.run)
	if err := serve(ctx, newHTTPServer(service.handler(), cfg.log), listener, cfg.log); err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		code = exitFailed
	}
	if err := stopService(); err != nil {
		fmt.Fprintln(stderr, "demo: the audit log is incomplete:", err)
		code = exitFailed
	}
	return code
}

// network returns the network and the address to listen on.
func network(addr string) (network, address string) {
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		return "unix", path
	}
	return "tcp", addr
}

// runInBackground starts a task that runs until its context ends. The function that it returns ends
// the task, waits for it, and returns its error.
func runInBackground(task func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- task(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// newHTTPServer returns a server for a handler, with limits.
func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	server := harden.Server("", handler)
	server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	return server
}

// serve serves until ctx is done. Then it finishes the requests in progress,
// for at most drainTime.
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
