// Package harden provides HTTP middleware for public services: security
// headers, request IDs, panic recovery, access logging and body limits. It also
// provides a server with timeouts.
//
// For most use, wrap the whole service once:
//
//	wrap, err := harden.New(harden.Options{HSTS: 365 * 24 * time.Hour})
//	if err != nil {
//		log.Fatal(err)
//	}
//	server := harden.Server("127.0.0.1:8000", wrap(mux))
//
// The headers are defaults. A handler can set another value.
//
// # CORS
//
// No header of this package lets another origin read a response. If a browser
// application is on another origin, put a middleware such as github.com/rs/cors
// inside this one, with exact origins. Do not allow it to send cookies: a
// bearer token needs none.
package harden

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/writer"
)

const (
	day         = 24 * time.Hour
	minHSTS     = 365 * day
	defaultBody = 1 << 20

	// defaultPolicy lets a browser load nothing and frame nothing. It suits a
	// service that answers with JSON.
	defaultPolicy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

// Options configure [New]. Every zero value is a safe default.
type Options struct {
	// HSTS is how long browsers use only https for the host (RFC 6797). It is a
	// year or more. If zero, the header is not sent. Set it only when the host
	// serves everything by https, because browsers remember it.
	HSTS time.Duration

	// HSTSSubdomains extends HSTS to all subdomains of the host.
	HSTSSubdomains bool

	// ContentSecurityPolicy is the policy of responses that set none. If empty,
	// the policy lets a page load nothing, and no other page may embed it in a
	// frame.
	ContentSecurityPolicy string

	// MaxBodyBytes is the maximum that a handler can read of a request's body.
	// If zero, it is 1 MiB. Handlers with a smaller limit, such as those of
	// authkit, keep their own.
	MaxBodyBytes int64

	// RequestIDHeader names the header in which a proxy sends the ID of a
	// request, such as X-Request-ID. The proxy must replace a value that the
	// client sent. If empty, each request gets a random ID.
	RequestIDHeader string

	// Logger receives one record for each request, and panics with their
	// stacks. If nil, it is slog.Default(). A record has the route of the
	// request: http.Request.Pattern, or that of [SetRoute]. If neither is set,
	// it has the escaped path, cut to 256 bytes, without the query.
	Logger *slog.Logger

	// OmitPath leaves the path out of the log. Set it if paths hold secrets,
	// such as the code of a link.
	OmitPath bool
}

// New returns the middleware, or an error that joins all problems of opts. Use
// it as the outermost middleware.
//
// A handler behind it still has http.Flusher, http.Hijacker, http.CloseNotifier
// and io.ReaderFrom if the server's http.ResponseWriter has them.
func New(opts Options) (func(http.Handler) http.Handler, error) {
	var errs []error
	fault := func(field string, format string, args ...any) {
		errs = append(errs, fmt.Errorf("harden: Options."+field+": "+format, args...))
	}
	m := &middleware{
		maxBody:  cmp.Or(opts.MaxBodyBytes, defaultBody),
		idHeader: http.CanonicalHeaderKey(opts.RequestIDHeader),
		log:      opts.Logger,
		omitPath: opts.OmitPath,
	}
	policy := cmp.Or(opts.ContentSecurityPolicy, defaultPolicy)
	m.names = []string{"X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy", "X-Frame-Options",
		"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Cache-Control"}
	m.values = []string{"nosniff", "no-referrer", policy, "DENY", "same-origin", "same-origin", "no-store"}
	switch {
	case opts.HSTS == 0 && opts.HSTSSubdomains:
		fault("HSTSSubdomains", "set without HSTS; set that too")
	case opts.HSTS != 0 && opts.HSTS < minHSTS:
		fault("HSTS", "%v; use %v (a year) or more, or 0 for none", opts.HSTS, minHSTS)
	case opts.HSTS != 0:
		value := "max-age=" + strconv.FormatInt(int64(opts.HSTS/time.Second), 10)
		if opts.HSTSSubdomains {
			value += "; includeSubDomains"
		}
		m.names, m.values = append(m.names, "Strict-Transport-Security"), append(m.values, value)
	}
	if strings.ContainsFunc(policy, func(r rune) bool { return r < ' ' || r > '~' }) {
		fault("ContentSecurityPolicy", "has a line break, or a letter outside ASCII; a header has neither")
	}
	if opts.MaxBodyBytes < 0 {
		fault("MaxBodyBytes", "%d; use a positive number, or 0 for %d", opts.MaxBodyBytes, defaultBody)
	}
	if strings.ContainsFunc(opts.RequestIDHeader, notInName) {
		fault("RequestIDHeader", "%q is not the name of a header", opts.RequestIDHeader)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m.wrap, nil
}

// notInName reports whether a letter cannot be in the name of a header (RFC
// 9110 section 5.6.2; of the punctuation only what is in use).
func notInName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}

// Server returns a server for a handler. Unlike http.ListenAndServe it limits
// how long a client can hold a connection, and how large its header can be. The
// fields of the server can be changed before it serves.
//
// Idle connections are closed after 620 seconds. A load balancer must close
// them earlier. If it sends a request while the server closes the connection,
// the client gets 502. The load balancer of Google keeps connections for 600
// seconds, that of Oracle for 300, and those of AWS and nginx for 60.
//
// A response must be sent within a minute. A handler that needs longer extends
// the time with http.ResponseController.
func Server(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       620 * time.Second,
		MaxHeaderBytes:    32 << 10,
	}
}

// A middleware is Options that were checked.
type middleware struct {
	names, values []string // of the header, names in canonical form
	maxBody       int64
	idHeader      string
	log           *slog.Logger
	omitPath      bool
}

// A state is that of a request. It is the context of the request, too.
type state struct {
	context.Context
	writer        writer.Writer
	status        int // zero: no part of the response has been sent
	id            string
	start         time.Time
	route         string // of SetRoute
	path, rawPath string // as they came in
}

type stateKey struct{}

// Value implements context.Context.
func (s *state) Value(key any) any {
	if key == (stateKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// BeforeHeader implements writer.Hook.
func (s *state) BeforeHeader(status int) {
	final := status >= 200 || status == http.StatusSwitchingProtocols // the other 1xx come before the response
	if final && s.status == 0 {
		s.status = status
	}
}

func (m *middleware) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &state{start: time.Now(), id: m.requestID(r), path: r.URL.Path, rawPath: r.URL.RawPath}
		h, n := w.Header(), len(m.values)
		values := make([]string, n+1) // the response's own: handlers may change its header
		copy(values, m.values)
		for i, name := range m.names {
			h[name] = values[i : i+1 : i+1]
		}
		values[n] = s.id
		h["X-Request-Id"] = values[n:]
		s.Context = authkit.WithClient(r.Context(), client(r, s.id))
		r = r.WithContext(s)
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, r.Body, m.maxBody)
		}
		defer func() {
			cause := recover()
			cutOff := cause != nil && !m.recoverPanic(s, r, cause)
			if cause == nil {
				s.BeforeHeader(http.StatusOK) // which net/http sends for a handler that sends none
			}
			m.logRequest(s, r)
			if cutOff {
				panic(http.ErrAbortHandler) // closes the connection: the client sees that the response is not whole
			}
		}()
		next.ServeHTTP(s.writer.Wrap(w, s), r)
	})
}

// requestID returns the ID of a request: the proxy's if it is well-formed, or a
// random one.
func (m *middleware) requestID(r *http.Request) string {
	if m.idHeader != "" {
		if ids := r.Header[m.idHeader]; len(ids) == 1 && validID(ids[0]) {
			return ids[0]
		}
	}
	return rand.Text()
}

// validID accepts the forms in use: UUIDs, hexadecimal, base64.
func validID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return notInName(r) && !strings.ContainsRune(".:=+/", r)
	})
}

// client returns the client of a request. A connection by a Unix socket has no
// address.
func client(r *http.Request, id string) authkit.ClientInfo {
	c := authkit.ClientFrom(r.Context())
	if c.Address == "" {
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
			c.Address = host
		}
	}
	c.Device, c.RequestID = cmp.Or(c.Device, r.UserAgent()), id
	return c
}
