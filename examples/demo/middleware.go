package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/authkit-go/authkit"
)

// observe logs every request, and turns a panic into an answer. A log line names the
// route that matched, never the path or the query as they came: people put secrets
// there, by mistake or as /generate-hash/ asks them to.
func observe(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w}
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		defer func() {
			cause := recover()
			cutOff := cause != nil && !rescue(log, rec, r, cause)
			log.LogAttrs(r.Context(), slog.LevelInfo, "request",
				slog.String("method", r.Method), slog.String("route", r.Pattern),
				slog.Int("status", rec.status), slog.Duration("took", time.Since(start)))
			if cutOff {
				panic(http.ErrAbortHandler) // closes the connection: the client sees that the answer is not whole
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// rescue logs a panic, and answers the request if nothing was sent yet. It reports
// whether there is a whole answer then. The value of a panic may hold anything, a
// password for one; only those of the Go runtime are known not to, and are logged. The
// stack tells the rest.
func rescue(log *slog.Logger, rec *recorder, r *http.Request, cause any) bool {
	if cause == http.ErrAbortHandler {
		return false // whoever panics with it has logged why
	}
	what := fmt.Sprintf("%T", cause)
	if err, ok := cause.(runtime.Error); ok {
		what = err.Error()
	}
	log.ErrorContext(r.Context(), "panic", "route", r.Pattern, "cause", what, "stack", string(debug.Stack()))
	if rec.status != 0 {
		return false
	}
	clear(rec.Header()) // of what described the answer that was not given
	authkit.NewProblem(http.StatusInternalServerError, "Internal error").ServeHTTP(rec, r)
	return true
}

// A recorder remembers the status of the answer.
type recorder struct {
	http.ResponseWriter
	status int // zero: nothing was sent yet
}

func (rec *recorder) WriteHeader(status int) {
	if status >= 200 { // 1xx come before the answer
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(p []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	return rec.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }
