package harden_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/harden"
	"github.com/stretchr/testify/require"
)

func wrap(t *testing.T, opts harden.Options, h http.HandlerFunc) http.Handler {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	w, err := harden.New(opts)
	require.NoError(t, err)
	return w(h)
}

func get(h http.Handler, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/some/path?secret=in-the-query", nil)
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TR-02, TR-07, MW-10: what is set on every answer, unless the handler says otherwise.
func TestHeaders(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	plain := map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
		"Content-Security-Policy":    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control": "no-store", "Strict-Transport-Security": "",
	}
	for name, tc := range map[string]struct {
		opts   harden.Options
		handle http.HandlerFunc
		want   map[string]string // beside plain
	}{
		"by default": {harden.Options{}, func(http.ResponseWriter, *http.Request) {}, nil},
		"on errors too": {harden.Options{}, func(w http.ResponseWriter, r *http.Request) {
			authkit.ProblemFor(authkit.ErrForbidden).ServeHTTP(w, r)
		}, nil},
		"HSTS":                       {harden.Options{HSTS: year}, http.NotFound, map[string]string{"Strict-Transport-Security": "max-age=31536000"}},
		"HSTS for all names":         {harden.Options{HSTS: 2 * year, HSTSSubdomains: true}, http.NotFound, map[string]string{"Strict-Transport-Security": "max-age=63072000; includeSubDomains"}},
		"a policy of one's own":      {harden.Options{ContentSecurityPolicy: "default-src 'self'"}, http.NotFound, map[string]string{"Content-Security-Policy": "default-src 'self'"}},
		"a handler knows it better":  {harden.Options{}, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "max-age=60") }, map[string]string{"Cache-Control": "max-age=60"}},
		"a handler takes one away":   {harden.Options{}, func(w http.ResponseWriter, _ *http.Request) { w.Header().Del("X-Frame-Options") }, map[string]string{"X-Frame-Options": ""}},
		"a handler that adds to one": {harden.Options{}, func(w http.ResponseWriter, _ *http.Request) { w.Header().Add("Referrer-Policy", "origin") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := wrap(t, tc.opts, tc.handle)
			for range 2 { // the second answer is not touched by what a handler did to the first
				w := get(h)
				for header, value := range plain {
					if want, ok := tc.want[header]; ok {
						value = want
					}
					require.Equal(t, value, w.Header().Get(header), header)
				}
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	_, err := harden.New(harden.Options{
		HSTS: time.Hour, ContentSecurityPolicy: "default-src\r\nSet-Cookie: x", MaxBodyBytes: -1, RequestIDHeader: "X Request",
	})
	for _, want := range []string{"Options.HSTS: 1h0m0s; use", "Options.ContentSecurityPolicy:", "Options.MaxBodyBytes: -1; use", `Options.RequestIDHeader: "X Request"`} {
		require.ErrorContains(t, err, want)
	}
	_, err = harden.New(harden.Options{HSTSSubdomains: true})
	require.ErrorContains(t, err, "set without HSTS")
	_, err = harden.New(harden.Options{HSTS: -time.Hour})
	require.Error(t, err)
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	var seen authkit.ClientInfo
	see := func(_ http.ResponseWriter, r *http.Request) { seen = authkit.ClientFrom(r.Context()) }
	from := func(values ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header["X-Request-Id"] = values
			r.Header.Set("User-Agent", "curl/8")
			r.RemoteAddr = "[2001:db8::1]:1234"
		}
	}

	h := wrap(t, harden.Options{}, see)
	first, second := get(h, from("of-a-client")), get(h, from("of-a-client"))
	require.Len(t, first.Header().Get("X-Request-ID"), 26)
	require.NotEqual(t, first.Header().Get("X-Request-ID"), second.Header().Get("X-Request-ID"))
	require.Equal(t, authkit.ClientInfo{Address: "2001:db8::1", Device: "curl/8", RequestID: second.Header().Get("X-Request-ID")}, seen)

	h = wrap(t, harden.Options{RequestIDHeader: "x-request-id"}, see)
	for _, good := range []string{"a", "6f1c2b9e-0d6a-4c5b-9f3e-2b1a0c9d8e7f", "Root=1-67891233-abcdef012345678912345678", strings.Repeat("a", 64)} {
		require.Equal(t, good, get(h, from(good)).Header().Get("X-Request-ID"))
		require.Equal(t, good, seen.RequestID)
	}
	for _, bad := range [][]string{nil, {""}, {"two", "of them"}, {"a b"}, {"a\u202eb"}, {"a\x00"}, {strings.Repeat("a", 65)}, {"<script>"}} {
		got := get(h, from(bad...)).Header().Get("X-Request-ID")
		require.Len(t, got, 26, "%q", bad)
	}

	// What is nearer to the client knows better where the request comes from.
	h = wrap(t, harden.Options{}, see)
	r := httptest.NewRequest("GET", "/", nil)
	h.ServeHTTP(httptest.NewRecorder(), r.WithContext(authkit.WithClient(r.Context(), authkit.ClientInfo{Address: "192.0.2.7", Device: "app"})))
	require.Equal(t, "192.0.2.7", seen.Address)
	require.Equal(t, "app", seen.Device)
}

// TR-05 and the limits of SECURITY: a body that is too long is not read to its end.
func TestBodyLimit(t *testing.T) {
	t.Parallel()
	read := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
		}
	}
	for _, tc := range []struct {
		limit  int64
		length int
		status int
	}{{0, 1 << 20, 200}, {0, 1<<20 + 1, 413}, {10, 10, 200}, {10, 11, 413}} {
		h := wrap(t, harden.Options{MaxBodyBytes: tc.limit}, read)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/", bytes.NewReader(make([]byte, tc.length))))
		require.Equal(t, tc.status, w.Code, "%+v", tc)
	}
}

// TestLog looks at the line of a request: the route and never the path, which may hold secrets.
func TestLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := harden.New(harden.Options{Logger: slog.New(slog.NewJSONHandler(&out, nil))})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /some/{thing}", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	})
	answer := get(w(mux))
	require.NotContains(t, out.String(), "secret")
	require.NotContains(t, out.String(), "path")
	var line struct {
		Msg, Method, Route, RequestID string
		Status                        int
		ID                            string `json:"request_id"`
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "request GET GET /some/{thing}", line.Msg+" "+line.Method+" "+line.Route)
	require.Equal(t, http.StatusTeapot, line.Status)
	require.Equal(t, answer.Header().Get("X-Request-ID"), line.ID)
}

// The wrapped writer still is what it wraps, for http.ResponseController.
func TestUnwrap(t *testing.T) {
	t.Parallel()
	var flushed error = errors.New("never")
	w := get(wrap(t, harden.Options{}, func(w http.ResponseWriter, _ *http.Request) { flushed = http.NewResponseController(w).Flush() }))
	require.NoError(t, flushed)
	require.True(t, w.Flushed)
}

// TR-01: the timeouts that http.ListenAndServe goes without.
func TestServer(t *testing.T) {
	t.Parallel()
	h := http.NotFoundHandler()
	s := harden.Server("127.0.0.1:0", h)
	require.Equal(t, "127.0.0.1:0", s.Addr)
	require.NotNil(t, s.Handler)
	require.Equal(t, 5*time.Second, s.ReadHeaderTimeout)
	require.Equal(t, 20*time.Second, s.ReadTimeout)
	require.Equal(t, 60*time.Second, s.WriteTimeout)
	require.Equal(t, 60*time.Second, s.IdleTimeout)
	require.Equal(t, 32<<10, s.MaxHeaderBytes)
}
