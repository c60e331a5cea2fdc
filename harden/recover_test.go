package harden_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/authkit-go/authkit/harden"
	"github.com/stretchr/testify/require"
)

// A lockedBuffer collects what several goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// MW-09: a panic becomes a 500 problem and a log line, neither shows what it was about, and
// the server lives on.
func TestPanic(t *testing.T) {
	t.Parallel()
	const secret = "a-password-in-a-panic"
	logs := new(lockedBuffer)
	wrap, err := harden.New(harden.Options{Logger: slog.New(slog.NewTextHandler(logs, nil))})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("/text", func(http.ResponseWriter, *http.Request) { panic("cannot hash " + secret) })
	mux.HandleFunc("/error", func(http.ResponseWriter, *http.Request) { panic(fmt.Errorf("cannot hash %s", secret)) })
	mux.HandleFunc("/runtime", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		w.Header().Set("Set-Cookie", "half=done")
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
	server := httptest.NewUnstartedServer(wrap(mux))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)
	server.Start()
	t.Cleanup(server.Close)
	send := func(path string) (*http.Response, string, error) {
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			return nil, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, string(body), err
	}

	for _, path := range []string{"/text", "/error", "/runtime"} {
		resp, body, err := send(path + "?password=" + secret)
		require.NoError(t, err)
		require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
		require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		require.NotEmpty(t, resp.Header.Get("Content-Security-Policy"))
		require.Empty(t, resp.Header.Get("Set-Cookie"))
		require.JSONEq(t, `{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"Internal error"}`, body)
	}
	for _, path := range []string{"/halfway", "/abort"} {
		_, _, err := send(path)
		require.Error(t, err, "an answer that is not whole looks as if it were")
	}
	resp, _, err := send("/fine")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)

	require.NotContains(t, logs.String(), secret)
	require.Contains(t, logs.String(), `msg=panic route=/text cause=string`)
	require.Contains(t, logs.String(), "index out of range")
	require.Contains(t, logs.String(), "recover_test.go", "the stack")
	require.Contains(t, logs.String(), `msg=request method=GET route=/runtime status=500`)
}
