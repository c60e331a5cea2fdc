package harden

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/authkit-go/authkit"
)

// rescue logs a panic, and answers the request if nothing was sent yet. It reports
// whether there is a whole answer then. The value of a panic may hold anything, a
// password for one; only those of the Go runtime are known not to, and are logged. The
// stack tells the rest.
func (wr wrapper) rescue(rec *recorder, r *http.Request, cause any, id string) bool {
	if cause == http.ErrAbortHandler {
		return false // whoever panics with it has logged why
	}
	what := fmt.Sprintf("%T", cause)
	if err, ok := cause.(runtime.Error); ok {
		what = err.Error()
	}
	wr.logger().LogAttrs(r.Context(), slog.LevelError, "panic", slog.String("route", r.Pattern),
		slog.String("cause", what), slog.String("stack", string(debug.Stack())), slog.String("request_id", id))
	if rec.status != 0 {
		return false
	}
	h := rec.Header()
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Range", "Content-Disposition", "Etag", "Last-Modified", "Link", "Location", "Set-Cookie"} {
		delete(h, name) // of the answer that was not given
	}
	authkit.NewProblem(http.StatusInternalServerError, "Internal error").ServeHTTP(rec, r)
	return true
}

// A recorder remembers the status of the answer.
type recorder struct {
	http.ResponseWriter
	status int // zero: nothing was sent yet
}

// WriteHeader implements http.ResponseWriter.
func (rec *recorder) WriteHeader(status int) {
	if status >= 200 && rec.status == 0 { // 1xx come before the answer
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (rec *recorder) Write(p []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	return rec.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }
