package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPanic asserts that a panic becomes a 500 problem and a log line, that neither
// shows what it was about, and that the server lives on.
func TestPanic(t *testing.T) {
	t.Parallel()
	const secret = "a-password-in-a-panic"
	logs := new(lockedBuffer)
	log := slog.New(slog.NewTextHandler(logs, nil))
	mux := http.NewServeMux()
	mux.HandleFunc("/text", func(http.ResponseWriter, *http.Request) { panic("cannot hash " + secret) })
	mux.HandleFunc("/error", func(http.ResponseWriter, *http.Request) { panic(fmt.Errorf("cannot hash %s", secret)) })
	mux.HandleFunc("/runtime", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		var none []int
		_ = none[len(r.URL.Path)]
	})
	mux.HandleFunc("/halfway", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "[")
		_ = http.NewResponseController(w).Flush()
		panic(secret)
	})
	mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/fine", func(http.ResponseWriter, *http.Request) {})
	url := startHandler(t, observe(log, mux), log)

	for _, path := range []string{"/text", "/error", "/runtime"} {
		a, err := send(url, call{method: "GET", path: path + "?password=" + secret})
		require.NoError(t, err)
		a.isProblem(t, http.StatusInternalServerError, "Internal error")
		require.NotContains(t, string(a.body), secret)
		require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"))
	}
	for _, path := range []string{"/halfway", "/abort"} {
		_, err := send(url, call{method: "GET", path: path})
		require.Error(t, err, "an answer that is not whole looks as if it were")
	}
	a, err := send(url, call{method: "GET", path: "/fine"})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.status)

	require.NotContains(t, logs.String(), secret)
	require.Contains(t, logs.String(), `msg=panic route=/text cause=string`)
	require.Contains(t, logs.String(), "index out of range")
	require.Contains(t, logs.String(), "middleware_test.go", "the stack")
	require.Contains(t, logs.String(), `msg=request method=GET route=/runtime status=500`)
}
