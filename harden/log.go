package harden

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// maxLoggedPath is the length at which a logged path is cut.
const maxLoggedPath = 256

// SetRoute sets the route of a request for the log, such as "GET /users/:id".
// Call it in middleware of a router that does not set http.Request.Pattern, on
// the goroutine of the request. It does nothing if ctx does not come from a
// request behind [New].
//
//	engine.Use(func(c *gin.Context) { harden.SetRoute(c.Request.Context(), c.FullPath()) })
func SetRoute(ctx context.Context, route string) {
	if s, ok := ctx.Value(stateKey{}).(*state); ok {
		s.route = route
	}
}

// logRequest logs a request that has been answered.
func (m *middleware) logRequest(s *state, r *http.Request) {
	l := m.logger()
	if !l.Enabled(s, slog.LevelInfo) {
		return
	}
	l.LogAttrs(s, slog.LevelInfo, "request", slog.String("method", r.Method), m.target(s, r),
		slog.Int("status", s.status), slog.Duration("took", time.Since(s.start)), slog.String("request_id", s.id))
}

// target returns the route of a request, or its path if the route is not known.
// The escaped path is printable ASCII. The query is never logged.
func (m *middleware) target(s *state, r *http.Request) slog.Attr {
	switch {
	case s.route != "":
		return slog.String("route", s.route)
	case r.Pattern != "" || m.omitPath:
		return slog.String("route", r.Pattern)
	}
	u := url.URL{Path: s.path, RawPath: s.rawPath}
	path := u.EscapedPath()
	return slog.String("path", path[:min(len(path), maxLoggedPath)])
}

func (m *middleware) logger() *slog.Logger {
	if m.log == nil {
		return slog.Default()
	}
	return m.log
}
