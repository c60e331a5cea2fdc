package harden

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/authkit-go/authkit"
)

// recoverPanic logs a panic, and answers the request if no part of the response
// has been sent. It reports whether the response is whole. A panic value may
// hold a secret, such as a password, so that it logs only those of the Go
// runtime, and the type of all others.
func (m *middleware) recoverPanic(s *state, r *http.Request, value any) bool {
	if value == http.ErrAbortHandler {
		return false // the caller has logged the cause
	}
	cause := fmt.Sprintf("%T", value)
	if err, ok := value.(runtime.Error); ok {
		cause = err.Error()
	}
	m.logger().LogAttrs(s, slog.LevelError, "panic", m.target(s, r),
		slog.String("cause", cause), slog.String("stack", string(debug.Stack())), slog.String("request_id", s.id))
	if s.status != 0 {
		return false
	}
	h := s.writer.Header()
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Range", "Content-Disposition", "Etag", "Last-Modified", "Link", "Location", "Set-Cookie"} {
		delete(h, name) // of the response that was not sent
	}
	authkit.NewProblem(http.StatusInternalServerError, "Internal error").ServeHTTP(&s.writer, r)
	return true
}
