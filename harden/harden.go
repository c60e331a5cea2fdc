// Package harden is what belongs around the handlers of a service that faces the world: the
// headers that browsers protect its users by, a name for each request, an answer where a
// handler panics, a log line, and limits. It is plain net/http middleware, and a server with
// timeouts to serve it.
//
// For most use, wrap the whole service once:
//
//	wrap, err := harden.New(harden.Options{HSTS: 365 * 24 * time.Hour})
//	if err != nil {
//		log.Fatal(err)
//	}
//	server := harden.Server("127.0.0.1:8000", wrap(mux))
//
// What it sets is a default: a handler that needs another header sets its own.
//
// # CORS
//
// No header of this package lets another origin read an answer, which is right for a service
// whose pages are its own. Where a browser application lives on another origin, put a
// middleware such as github.com/rs/cors inside this one, with exact origins. And see that no
// cookie is among what they may send: a bearer token needs none.
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
)

const (
	day         = 24 * time.Hour
	minHSTS     = 365 * day
	defaultBody = 1 << 20

	// defaultPolicy lets a browser load nothing and frame nothing: it is for a service that
	// answers with JSON.
	defaultPolicy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

// Options say what [New] puts around a service. Every zero value is a safe default.
type Options struct {
	// HSTS is how long browsers shall reach the host by https alone (RFC 6797): a year or
	// more. Zero sends no such header. Start it when every name of the host has https: what a
	// browser has once heard it does not forget.
	HSTS time.Duration

	// HSTSSubdomains extends HSTS to every name below the host's.
	HSTSSubdomains bool

	// ContentSecurityPolicy is what a browser may load for a page that sets none of its own.
	// Empty means nothing at all, and no frame around it.
	ContentSecurityPolicy string

	// MaxBodyBytes is the most that a handler can read of a request's body; zero means 1 MiB.
	// Handlers with a smaller limit, such as those of authkit, keep their own.
	MaxBodyBytes int64

	// RequestIDHeader names the header in which a proxy in front sends the name of a request,
	// such as X-Request-ID. It has to replace what a client sends under that name. Empty
	// means that there is none, and each request gets a random one.
	RequestIDHeader string

	// Logger gets a line for each request, and panics with their stacks; nil means
	// slog.Default().
	Logger *slog.Logger
}

// New returns the middleware, or an error that joins every fault of the options. It goes
// around everything else.
func New(opts Options) (func(http.Handler) http.Handler, error) {
	var errs []error
	fault := func(field string, format string, args ...any) {
		errs = append(errs, fmt.Errorf("harden: Options."+field+": "+format, args...))
	}
	w := wrapper{
		maxBody:  cmp.Or(opts.MaxBodyBytes, defaultBody),
		idHeader: http.CanonicalHeaderKey(opts.RequestIDHeader),
		log:      opts.Logger,
	}
	policy := cmp.Or(opts.ContentSecurityPolicy, defaultPolicy)
	w.names = []string{"X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy", "X-Frame-Options",
		"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Cache-Control"}
	w.values = []string{"nosniff", "no-referrer", policy, "DENY", "same-origin", "same-origin", "no-store"}
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
		w.names, w.values = append(w.names, "Strict-Transport-Security"), append(w.values, value)
	}
	if strings.ContainsFunc(policy, func(r rune) bool { return r < ' ' || r > '~' }) {
		fault("ContentSecurityPolicy", "holds a line break, or a letter outside ASCII; a header has neither")
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
	return w.wrap, nil
}

// notInName reports whether a letter cannot be in the name of a header (RFC 9110 section
// 5.6.2; of the punctuation only what is in use).
func notInName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}

// Server returns a server for a handler, with the timeouts and the limit of the header that
// http.ListenAndServe goes without: a client that is slow on purpose must not hold a
// connection for ever. Its fields can be changed before it serves.
//
// A handler whose answers take longer than a minute extends its time with
// http.ResponseController.
func Server(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
	}
}

// wrapper is Options that were checked.
type wrapper struct {
	names, values []string // of the header, names in canonical form
	maxBody       int64
	idHeader      string
	log           *slog.Logger
}

func (wr wrapper) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		h := w.Header()
		values := make([]string, len(wr.values)) // the response's own, whoever edits its header
		copy(values, wr.values)
		for i, name := range wr.names {
			h[name] = values[i : i+1 : i+1]
		}
		id := wr.requestID(r)
		h.Set("X-Request-ID", id)
		rec := &recorder{ResponseWriter: w}
		r = r.WithContext(withRequestID(r, id))
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, r.Body, wr.maxBody)
		}
		defer func() {
			cause := recover()
			cutOff := cause != nil && !wr.rescue(rec, r, cause, id)
			wr.logger().LogAttrs(r.Context(), slog.LevelInfo, "request",
				slog.String("method", r.Method), slog.String("route", r.Pattern), slog.Int("status", rec.status),
				slog.Duration("took", time.Since(start)), slog.String("request_id", id))
			if cutOff {
				panic(http.ErrAbortHandler) // closes the connection: the client sees that the answer is not whole
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

func (wr wrapper) logger() *slog.Logger {
	if wr.log == nil {
		return slog.Default()
	}
	return wr.log
}

// requestID returns the name of a request: the proxy's, if it is one, or a random one.
func (wr wrapper) requestID(r *http.Request) string {
	if wr.idHeader != "" {
		if ids := r.Header[wr.idHeader]; len(ids) == 1 && validID(ids[0]) {
			return ids[0]
		}
	}
	return rand.Text()
}

// validID takes the forms in use: UUIDs, hexadecimal, base64.
func validID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return notInName(r) && !strings.ContainsRune(".:=+/", r)
	})
}

// withRequestID returns the context of a request, with its client and its name.
func withRequestID(r *http.Request, id string) context.Context {
	c := authkit.ClientFrom(r.Context())
	if c.Address == "" {
		c.Address = r.RemoteAddr
		if host, _, err := net.SplitHostPort(c.Address); err == nil {
			c.Address = host
		}
	}
	c.Device, c.RequestID = cmp.Or(c.Device, r.UserAgent()), id
	return authkit.WithClient(r.Context(), c)
}
