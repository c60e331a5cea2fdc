package routers_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// Routers match the path in different forms, and file servers read another one. The check
// goes around the whole router.
func Example_paths() {
	kit, _, _ := service()
	r := chi.NewRouter()
	r.Handle("/*", files)
	r.With(kit.Authenticate).Handle("/private/*", files)
	try(r, "/%70rivate/secret.txt") // chi matches the path as it was sent

	h := authkit.RefuseAmbiguousPaths(r)
	try(h, "/%70rivate/secret.txt")
	try(h, "/private%2fsecret.txt")
	try(h, "/hello.txt")
	// Output:
	// /%70rivate/secret.txt 200 the secret
	// /%70rivate/secret.txt 401
	// /private%2fsecret.txt 400
	// /hello.txt 200 hello
}

var files = http.FileServerFS(fstest.MapFS{
	"hello.txt": {Data: []byte("hello")}, "private/secret.txt": {Data: []byte("the secret")},
})

// fileRouters are routers with a public and a guarded route on one file server.
func fileRouters(kit *authkit.Kit) map[string]http.Handler {
	c := chi.NewRouter()
	c.Handle("/*", files)
	c.With(kit.Authenticate).Handle("/private/*", files)

	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.Any("/private/*file", gin.WrapH(kit.Authenticate(files)))
	g.NoRoute(func(c *gin.Context) {
		c.Status(http.StatusOK)
		files.ServeHTTP(c.Writer, c.Request)
	})

	e := echo.New()
	e.Any("/*", echo.WrapHandler(files))
	e.Any("/private/*", echo.WrapHandler(files), echo.WrapMiddleware(kit.Authenticate))
	return map[string]http.Handler{"chi": c, "gin": g, "echo": e}
}

// FR-01: behind the check, guards of every router and the file server read the same path.
func TestPathHasOneReading(t *testing.T) {
	t.Parallel()
	kit, _, _ := service()
	for name, router := range fileRouters(kit) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(authkit.RefuseAmbiguousPaths(router))
			t.Cleanup(srv.Close)
			for line, want := range map[string]int{
				"GET /hello.txt": 200, "GET /%68ello.txt": 200, "GET /private/secret.txt": 401, "GET /%70rivate/secret.txt": 401,
				"GET /private/secret%2etxt": 401, "GET /private%2fsecret.txt": 400, "GET /x/..%2fprivate/secret.txt": 400,
				"GET /%2e/private/secret.txt": 400, "GET //private/secret.txt": 400, "GET /./private/secret.txt": 400,
				"GET /private%5csecret.txt": 400, "CONNECT //private/secret.txt": 400, "CONNECT /private/secret.txt": 400,
			} {
				conn, err := net.Dial("tcp", srv.Listener.Addr().String())
				require.NoError(t, err)
				_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n", line)
				require.NoError(t, err)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, want, resp.StatusCode, line)
				require.False(t, strings.Contains(string(body), "the secret"), line)
				require.NoError(t, resp.Body.Close())
				require.NoError(t, conn.Close())
			}
		})
	}
}
