package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGreeting asserts that accounts are only promised where they exist.
func TestGreeting(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, greet(&out, config{usersFile: "users.json"}, &net.TCPAddr{IP: net.IPv6loopback, Port: 8000}))
	require.Contains(t, out.String(), "http://[::1]:8000/docs")
	require.Contains(t, out.String(), "from users.json")
	require.NotContains(t, out.String(), "example.com")
}

// TestRun runs the program up to where it would listen.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.WriteFile(".env", []byte("ADDR=127.0.0.1:1\nBCRYPT_COST=11\nSECRET_KEY="+testSecret+"\n"), 0o600))
	t.Setenv("BCRYPT_COST", "13")
	try := func(args ...string) (code int, stdout, stderr string) {
		var out, errs bytes.Buffer
		code = run(args, &out, &errs)
		return code, out.String(), errs.String()
	}
	t.Run("-config", func(t *testing.T) {
		code, stdout, stderr := try("-config", "-users", "u.json")
		require.Equal(t, exitOK, code, stderr)
		require.Regexp(t, `(?m)^addr +127\.0\.0\.1:1$`, stdout, "from .env")
		require.Regexp(t, `(?m)^cost +13$`, stdout, "the environment wins over .env")
		require.Regexp(t, `(?m)^users +u\.json$`, stdout)
		require.Regexp(t, `(?m)^secret +\*+ \(SECRET_KEY\)$`, stdout)
		require.Regexp(t, `(?m)^sessions +end 7 days after their last refresh, 30 days after the login at most$`, stdout)
		require.NotContains(t, stdout, testSecret)
	})
	t.Run("-help", func(t *testing.T) {
		code, stdout, _ := try("-help")
		require.Equal(t, exitOK, code)
		require.Contains(t, stdout, "-no-generate-hash")
	})
	for name, args := range map[string][]string{
		"unknown flag":    {"-nothing"},
		"no users file":   {"-users", "nothing.json"},
		"no redoc bundle": {"-redoc-js", "nothing.js"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := try(args...)
			require.Equal(t, exitUsage, code)
			require.Contains(t, stderr, "demo: ")
			require.Contains(t, stderr, "nothing")
		})
	}
	t.Run("bad .env", func(t *testing.T) {
		require.NoError(t, os.WriteFile(".env", []byte("nonsense\n"), 0o600))
		code, _, stderr := try()
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, ".env: line 1")
	})
	t.Run("address in use", func(t *testing.T) {
		require.NoError(t, os.Remove(".env"))
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		t.Setenv("BCRYPT_COST", "10")
		code, _, stderr := try("-addr", listener.Addr().String())
		require.Equal(t, exitFailed, code, stderr)
	})
}

// TestUseAllCores asserts that the scheduler gets a processor to spare, unless the environment
// or a quota has set their number. Not parallel: it changes GOMAXPROCS.
func TestUseAllCores(t *testing.T) {
	t.Cleanup(runtime.SetDefaultGOMAXPROCS)
	cores := runtime.NumCPU()
	for _, c := range []struct {
		env           string
		before, after int
	}{
		{"", cores, cores + 1},
		{"", cores + 3, cores + 3},
		{"1", cores, cores},
	} {
		t.Setenv("GOMAXPROCS", c.env)
		runtime.GOMAXPROCS(c.before)
		useAllCores()
		require.Equal(t, c.after, runtime.GOMAXPROCS(0), "%+v", c)
	}
}

// TestServerLimits asserts the limits of the HTTP server.
func TestServerLimits(t *testing.T) {
	t.Parallel()
	server := newHTTPServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	require.Equal(t, 5*time.Second, server.ReadHeaderTimeout)
	require.Equal(t, 20*time.Second, server.ReadTimeout)
	require.Equal(t, 60*time.Second, server.WriteTimeout)
	require.Equal(t, 620*time.Second, server.IdleTimeout)
	require.Equal(t, 32<<10, server.MaxHeaderBytes)
}

// TestBeside asserts that a task runs until it is stopped, and has ended then.
func TestBeside(t *testing.T) {
	t.Parallel()
	started, ended := make(chan struct{}), false
	stop := runInBackground(func(ctx context.Context) error {
		close(started)
		<-ctx.Done()
		ended = true
		return ctx.Err()
	})
	<-started
	require.Equal(t, context.Canceled, stop())
	require.True(t, ended)
}

// TestDrain asserts that a request under way is answered before the server ends, and
// that no other is taken.
func TestDrain(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "whole")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	log := slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(context.Background())
	done, answered := make(chan error, 1), make(chan answer, 1)
	go func() { done <- serve(ctx, newHTTPServer(handler, log), listener, log) }()
	go func() {
		a, _ := send("http://"+listener.Addr().String(), call{method: "GET", path: "/"})
		answered <- a
	}()
	<-arrived
	stop()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, 5*time.Second, 10*time.Millisecond)
	close(release)
	require.Equal(t, "whole", string((<-answered).body))
	require.NoError(t, <-done)
}
