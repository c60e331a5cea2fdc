package harden_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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
	for _, policy := range []string{"default-src\x7f", "default-src \u00e4", "\x1f"} {
		_, err = harden.New(harden.Options{ContentSecurityPolicy: policy})
		require.ErrorContains(t, err, "ContentSecurityPolicy", policy)
	}
	for _, name := range []string{"X@Id", "X[Id", "X`Id", "X{Id", "X/Id", "X:Id", "X.Id"} {
		_, err = harden.New(harden.Options{RequestIDHeader: name})
		require.ErrorContains(t, err, "RequestIDHeader", name)
	}
	_, err = harden.New(harden.Options{ContentSecurityPolicy: "default-src ~", RequestIDHeader: "AZ-az_09"})
	require.NoError(t, err)
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

// TestLog looks at the record of a request: the route if it is known, and not the path, which may hold secrets.
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
		Msg, Method, Route string
		Status             int
		ID                 string `json:"request_id"`
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "request GET GET /some/{thing}", line.Msg+" "+line.Method+" "+line.Route)
	require.Equal(t, http.StatusTeapot, line.Status)
	require.Equal(t, answer.Header().Get("X-Request-ID"), line.ID)
}

// FR-16: on other routers the pattern of a request is not known. Its path is logged then, and
// never the query.
func TestLogPath(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("a", 300)
	for _, tc := range []struct {
		name, target string
		opts         harden.Options
		handle       http.HandlerFunc
		want         string
	}{
		{"path", "/orders/7?code=secret", harden.Options{}, http.NotFound, "path=/orders/7 "},
		{"escaped", "/a%0ab%20c%2Fd?x", harden.Options{}, http.NotFound, "path=/a%0ab%20c%2Fd "},
		{"not ASCII", "/%C3%A4%E2%80%AE", harden.Options{}, http.NotFound, "path=/%C3%A4%E2%80%AE "},
		{"long", long, harden.Options{}, http.NotFound, "path=" + long[:256] + " "},
		{"as it came in", "/orders/7", harden.Options{}, func(_ http.ResponseWriter, r *http.Request) { r.URL.Path = "/changed" }, "path=/orders/7 "},
		{"omitted", "/orders/7?code=secret", harden.Options{OmitPath: true}, http.NotFound, `route="" `},
		{"route of a router", "/orders/7?code=secret", harden.Options{}, func(_ http.ResponseWriter, r *http.Request) {
			harden.SetRoute(r.Context(), "GET /orders/:id")
		}, `route="GET /orders/:id" `},
		{"route and omitted", "/orders/7", harden.Options{OmitPath: true}, func(_ http.ResponseWriter, r *http.Request) {
			harden.SetRoute(r.WithContext(t.Context()).Context(), "another request")
			harden.SetRoute(r.Context(), "/orders/:id")
		}, "route=/orders/:id "},
		{"panic", "/orders/7?code=secret", harden.Options{}, func(http.ResponseWriter, *http.Request) { panic("secret") }, "msg=panic path=/orders/7 "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			tc.opts.Logger = slog.New(slog.NewTextHandler(&out, nil))
			w, err := harden.New(tc.opts)
			require.NoError(t, err)
			w(tc.handle).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", tc.target, nil))
			require.Contains(t, out.String(), tc.want)
			require.NotContains(t, out.String(), "secret")
			require.NotContains(t, out.String(), "changed")
		})
	}
}

// A request that is answered without a header, by a flush, or by another protocol is logged
// with the status that the client got.
func TestLogStatus(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		handle http.HandlerFunc
		want   int
	}{
		"nothing written": {func(http.ResponseWriter, *http.Request) {}, 200},
		"flushed":         {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, 200},
		"flushed, then a panic": {func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			panic("late")
		}, 200},
		"read from": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("text"))
		}, 200},
		"a string":           {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "text") }, 200},
		"another protocol":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusSwitchingProtocols) }, 101},
		"an early hint only": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) }, 200},
		"a panic":            {func(http.ResponseWriter, *http.Request) { panic("early") }, 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			w, err := harden.New(harden.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
			require.NoError(t, err)
			func() {
				defer func() { _ = recover() }() // http.ErrAbortHandler, of a response that is not whole
				get(w(tc.handle))
			}()
			require.Contains(t, out.String(), fmt.Sprintf("status=%d ", tc.want))
		})
	}
}

// FR-16: server-sent events of the usual form, and a handler that takes the connection over.
func TestStreams(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	h := wrap(t, harden.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/socket" {
			conn, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: close\r\n\r\nhello")
			_ = buf.Flush()
			_ = conn.Close()
			return
		}
		flusher, ok := w.(http.Flusher)
		if !ok {
			http.Error(w, "Streaming unsupported!", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: first\n\n")
		flusher.Flush()
		<-r.Context().Done() // the client has read the event, which no end of the handler has sent
	})
	srv := httptest.NewServer(h)
	resp, err := srv.Client().Get(srv.URL + "/events")
	require.NoError(t, err)
	first := make([]byte, len("data: first\n\n"))
	_, err = io.ReadFull(resp.Body, first)
	require.NoError(t, err)
	require.Equal(t, "data: first\n\n", string(first))
	require.NoError(t, resp.Body.Close())

	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	_, err = io.WriteString(conn, "GET /socket HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	text, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(text), "\r\n\r\nhello"), "%s", text)
	require.NoError(t, conn.Close())
	srv.Close() // waits for the handlers, not for a hijacked one
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "path=/socket status=101") }, time.Minute, time.Millisecond)
}

// A client that connects by a Unix socket has no address.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	seen := make(chan authkit.ClientInfo, 1)
	srv := httptest.NewUnstartedServer(wrap(t, harden.Options{}, func(_ http.ResponseWriter, r *http.Request) { seen <- authkit.ClientFrom(r.Context()) }))
	require.NoError(t, srv.Listener.Close())
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", l.Addr().String())
	}}}
	resp, err := client.Get("http://service/")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	client.CloseIdleConnections()
	require.Empty(t, (<-seen).Address)
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
	require.Equal(t, 620*time.Second, s.IdleTimeout, "the balancer closes idle connections first, Google's after 600 s")
	require.Equal(t, 32<<10, s.MaxHeaderBytes)
}

// A request without a body keeps it, since handlers compare it.
func TestNoBody(t *testing.T) {
	t.Parallel()
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		h := wrap(t, harden.Options{}, func(_ http.ResponseWriter, r *http.Request) { require.Equal(t, body, r.Body) })
		get(h, func(r *http.Request) { r.Body = body })
	}
}

// Without a Logger, requests are logged with slog.Default(). Not parallel: it
// replaces the logger of the program.
func TestDefaultLogger(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var log bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	w, err := harden.New(harden.Options{})
	require.NoError(t, err)
	get(w(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	require.Contains(t, log.String(), "msg=request")
}
