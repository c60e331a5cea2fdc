package authkit_test

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// dialRaw sends a request line as it is, which no client of net/http would, and returns the
// status, the Location and the body of the answer.
func dialRaw(t *testing.T, srv *httptest.Server, line string) (status int, location, body string) {
	t.Helper()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	_, err = fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n", line)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err, line)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err, line)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, resp.Header.Get("Location"), string(text)
}

// privateFiles are files of which those below /private are for users.
var privateFiles = http.FileServerFS(fstest.MapFS{
	"hello.txt": {Data: []byte("hello")}, "private/secret.txt": {Data: []byte("the secret")},
})

// fileServers are the ways to put a public and a guarded route on one file server.
func fileServers(t *testing.T) map[string]http.Handler {
	kit := newKit(t)
	mux := kit.NewMux()
	mux.Handle("/", authkit.Public(), privateFiles)
	mux.Handle("/private/", authkit.Authenticated(), privateFiles)

	plain := http.NewServeMux()
	plain.Handle("/", privateFiles)
	plain.Handle("/private/", kit.Authenticate(privateFiles))

	// A router that matches the path as it was sent, as chi and echo do.
	raw := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(cmp.Or(r.URL.RawPath, r.URL.Path), "/private/") {
			kit.Authenticate(privateFiles).ServeHTTP(w, r)
			return
		}
		privateFiles.ServeHTTP(w, r)
	})
	return map[string]http.Handler{
		"Mux": mux, "ServeMux": authkit.RefuseAmbiguousPaths(plain), "a router of raw paths": authkit.RefuseAmbiguousPaths(raw),
	}
}

// FR-01: a path that guard and handler could read in two ways reaches neither.
func TestPathHasOneReading(t *testing.T) {
	t.Parallel()
	for name, h := range fileServers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(h)
			t.Cleanup(srv.Close)
			for _, line := range []string{
				"GET /private%2fsecret.txt", "GET /private%2Fsecret.txt", "GET /x/..%2fprivate/secret.txt", "GET /x/..%2Fprivate%2Fsecret.txt",
				"GET /%2e/private/secret.txt", "GET /x/%2e%2e/private/secret.txt", "GET /x/.%2E/private/secret.txt",
				"GET //private/secret.txt", "GET /x/../private/secret.txt", "GET /./private/secret.txt", "GET /private//secret.txt",
				"GET /private/.", "GET /private/..", "GET /hello.txt//", "GET //", "GET /%2f", "GET http://example.com//private/secret.txt",
				"GET /private%5csecret.txt", "GET /private%5Csecret.txt", `GET /private\secret.txt`, `GET /x\..\private/secret.txt`,
				"GET /hello.txt%00", "GET /private%0asecret.txt", "GET /%7f", "GET /%1f/x", "GET *", "GET http://example.com",
				"CONNECT //private/secret.txt", "CONNECT /x/../private/secret.txt", "CONNECT /hello.txt", "CONNECT example.com:443",
				"OPTIONS //private/secret.txt", "POST /private%2fsecret.txt",
			} {
				status, location, body := dialRaw(t, srv, line)
				require.Equal(t, 400, status, line)
				require.Empty(t, location, line)
				require.JSONEq(t, `{"type":"about:blank","title":"Bad Request","status":400,"detail":"The path of the request is ambiguous"}`, body, line)
			}
			for line, want := range map[string]int{
				"GET /private/secret.txt": 401, "GET /%70rivate/secret.txt": 401, "GET /private/secret%2etxt": 401, "GET /private/": 401,
				"GET /private/a%2520b%252f": 401, "GET http://example.com/private/secret.txt": 401, "OPTIONS *": 200,
				"GET /hello.txt": 200, "GET /%68ello.txt?next=//x/../%2f%00": 200, "GET /hello.txt?": 200, "GET /": 200,
				"GET /...": 404, "GET /..hello": 404, "GET /.well-known/x": 404, "GET /%C3%A4/%E4": 404, "GET /a@b;c,(d)%40%3B": 404, "GET /a%252fb": 404,
			} {
				status, _, body := dialRaw(t, srv, line)
				require.Equal(t, want, status, line)
				require.NotContains(t, body, "the secret", line)
			}
		})
	}
}

// "OPTIONS *" asks about the server and has no path. It reaches a handler if the http.Server
// does not answer it.
func TestOptionsAsterisk(t *testing.T) {
	t.Parallel()
	mux, _ := newMux(t)
	require.Equal(t, http.StatusNoContent, do(mux, "OPTIONS", "*").Code)
	problem(t, do(mux, "GET", "*"), 400, "The path of the request is ambiguous")

	passed := 0
	h := authkit.RefuseAmbiguousPaths(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		require.Equal(t, "*", r.URL.Path)
		passed++
	}))
	do(h, "OPTIONS", "*")
	require.Equal(t, 1, passed)
}

// A WebSocket over HTTP/2 is a CONNECT with a path (RFC 8441). It has one reading, except for
// patterns with a host.
func TestWebSocketOverHTTP2(t *testing.T) {
	t.Parallel()
	connect := func(h http.Handler, path string, major int, protocols ...string) int {
		r := httptest.NewRequest(http.MethodConnect, "https://example.com:443"+path, nil)
		r.ProtoMajor, r.URL.Path = major, path
		if len(protocols) > 0 {
			r.Header[":protocol"] = protocols
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	mux := newKit(t).NewMux()
	mux.Handle("/", authkit.Public(), whoami)
	mux.Handle("/admin/", authkit.Authenticated(), whoami)
	for _, h := range []http.Handler{mux, authkit.RefuseAmbiguousPaths(mux)} {
		require.Equal(t, 200, connect(h, "/socket", 2, "websocket"))
		require.Equal(t, 401, connect(h, "/admin/socket", 2, "websocket"))
		require.Equal(t, 400, connect(h, "//admin/socket", 2, "websocket"))
		require.Equal(t, 400, connect(h, "/x/../admin/socket", 2, "websocket"))
		require.Equal(t, 400, connect(h, "/socket", 2))
		require.Equal(t, 400, connect(h, "/socket", 2, "websocket", "websocket"))
		require.Equal(t, 400, connect(h, "/socket", 1, "websocket"))
	}
	mux.Handle("GET example.com/private/", authkit.Authenticated(), whoami)
	require.Equal(t, 400, connect(mux, "/private/socket", 2, "websocket"))
	require.Equal(t, 200, do(mux, "GET", "/socket").Code)
}

// A router behind the check reads the decoded path, and so do its handlers. Middleware
// further out sees the pattern that matched.
func TestRefuseAmbiguousPathsDecodes(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	router := http.NewServeMux()
	router.HandleFunc("/u/{email}", func(_ http.ResponseWriter, r *http.Request) { seen = r })
	r := httptest.NewRequest("GET", "/u/ann%40example.com?q=%2f", nil)
	authkit.RefuseAmbiguousPaths(router).ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, "ann@example.com", seen.PathValue("email"))
	require.Equal(t, url.URL{Path: "/u/ann@example.com", RawQuery: "q=%2f"}, *seen.URL)
	require.Equal(t, "/u/ann%40example.com", r.URL.RawPath, "the caller's request does not change")
	require.Equal(t, "/u/{email}", r.Pattern)

	require.Panics(t, func() { authkit.RefuseAmbiguousPaths(nil) })
}

// Of encoded characters only slashes and backslashes are ambiguous.
func TestEncodedCharacters(t *testing.T) {
	t.Parallel()
	h := authkit.RefuseAmbiguousPaths(http.NotFoundHandler())
	for target, status := range map[string]int{
		"/a%20b": 404, "/%7e2f": 404, "/%7e5c/": 404, "/%7e%2f": 400, "/%7e%5C": 400, "/%7e%7e%2F": 400, "/a%0ab": 400,
	} {
		require.Equal(t, status, do(h, "GET", target).Code, target)
	}
	r := httptest.NewRequest("GET", "/x", nil)
	for _, raw := range []string{"/%", "/%2", "%2f"} { // as no parser leaves it
		r.URL.RawPath = raw
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// The check of a path without escapes costs no allocation.
func TestPathCheckAllocations(t *testing.T) {
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux, plain := newKit(t).NewMux(), http.NewServeMux()
	mux.Handle("GET /users/", authkit.Public(), nothing)
	plain.Handle("GET /users/", nothing)
	w, r := &nowhere{header: http.Header{}}, httptest.NewRequest("GET", "/users/42/messages/7", nil)
	allocs := func(h http.Handler) float64 { return testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }) }
	require.Equal(t, allocs(plain), allocs(mux))
	require.Zero(t, allocs(authkit.RefuseAmbiguousPaths(nothing)))
}

// oneReading is the rule of RefuseAmbiguousPaths, written for reading and not for speed.
func oneReading(r *http.Request) bool {
	escaped := strings.ToLower(r.URL.RawPath + r.URL.EscapedPath()) // a RawPath that net/url does not accept is a reading, too
	if r.Method == http.MethodConnect || !strings.HasPrefix(r.URL.Path, "/") || strings.Contains(escaped, "%2f") || strings.Contains(escaped, "%5c") {
		return false
	}
	if strings.ContainsFunc(r.URL.Path, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
		return false
	}
	segments := strings.Split(r.URL.Path[1:], "/")
	if segments[len(segments)-1] == "" {
		segments = segments[:len(segments)-1]
	}
	return !slices.ContainsFunc(segments, func(s string) bool { return s == "" || s == "." || s == ".." })
}

// FuzzAmbiguousPaths sends request targets. The guard and the handler of a request that
// passes read the same path.
func FuzzAmbiguousPaths(f *testing.F) {
	for _, target := range []string{
		"/", "/private/x", "/private%2fx", "/x/..%2fprivate/x", "/%2e/private/x", "//private/x", "/%70rivate/x", "/a%00", "/a%5cb", "*",
		"http://h/private/x", `/"%2f`, "/a/%2e%2e/b/", "/..a/...", "/%zz", "/a%252f", "/ä/%C3%A4", "/a//", "/.", "/private", "/a;b=c/@%40",
	} {
		f.Add("GET", target)
		f.Add("CONNECT", target)
	}
	mark := func(header string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(header, "yes")
			w.Header().Set("Path", url.QueryEscape(r.URL.Path))
		})
	}
	mux := newKit(f).NewMux()
	mux.Handle("/", authkit.Public(), mark("Public"))
	mux.Handle("/private/", authkit.Authenticated(), mark("Private"))
	f.Fuzz(func(t *testing.T, method, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		star := r.Method == http.MethodOptions && r.URL.Path == "*"
		require.Equal(t, !oneReading(r) && !star, w.Code == http.StatusBadRequest, "%q", target)
		if w.Header().Get("Public") != "" {
			seen, err := url.QueryUnescape(w.Header().Get("Path"))
			require.NoError(t, err)
			require.Equal(t, r.URL.Path, seen)
			require.Equal(t, strings.TrimSuffix(seen, "/"), strings.TrimSuffix(path.Clean(seen), "/"))
			require.False(t, strings.HasPrefix(seen, "/private/"), "%q passed no guard", target)
			segments := strings.Split(r.URL.EscapedPath(), "/")
			for i, s := range segments {
				segments[i], err = url.PathUnescape(s)
				require.NoError(t, err)
			}
			require.Equal(t, strings.Split(seen, "/"), segments, "the segments do not depend on when they are decoded")
		}

		passed := false
		authkit.RefuseAmbiguousPaths(http.HandlerFunc(func(_ http.ResponseWriter, inner *http.Request) {
			passed = true
			require.Equal(t, r.URL.Path, inner.URL.Path)
			require.Empty(t, inner.URL.RawPath)
			require.Equal(t, r.URL.RawQuery, inner.URL.RawQuery)
		})).ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, oneReading(r) || star, passed, "%q", target)
	})
}

// BenchmarkPathCheck is the cost that the check adds to a request.
func BenchmarkPathCheck(b *testing.B) {
	nothing := http.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, path := range []string{"/users/42/messages", "/users/0198c7a2-0000-7000-8000-000000000000/messages"} {
		for _, c := range []struct {
			name string
			h    http.Handler
		}{{"without", nothing}, {"with", authkit.RefuseAmbiguousPaths(nothing)}} {
			b.Run(fmt.Sprintf("%d bytes/%s", len(path), c.name), func(b *testing.B) {
				r := httptest.NewRequest("GET", path, nil)
				b.ReportAllocs()
				for b.Loop() {
					c.h.ServeHTTP(nil, r)
				}
			})
		}
	}
}

func BenchmarkMux(b *testing.B) {
	kit := newKit(b)
	user := addUser(b, kit, "user@example.com", "correct horse")
	token := login(b, kit, user.Email, "correct horse")
	mux := kit.NewMux()
	mux.HandleFunc("GET /users/{id}/messages", authkit.Authenticated(), func(http.ResponseWriter, *http.Request) {})
	r := httptest.NewRequest("GET", "/users/0198c7a2-0000-7000-8000-000000000000/messages", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := &nowhere{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		mux.ServeHTTP(w, r)
	}
	if w.status != 0 {
		b.Fatal(w.status)
	}
}
