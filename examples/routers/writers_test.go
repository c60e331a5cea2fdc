package routers_test

import (
	"bufio"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/authotel"
	"github.com/authkit-go/authkit/harden"
	"github.com/authkit-go/authkit/throttle"
	"github.com/authkit-go/authkit/trusteddevice"
)

// A fullWriter has every optional interface of an http.ResponseWriter.
type fullWriter struct {
	*httptest.ResponseRecorder
	calls []string
}

func (w *fullWriter) call(name string)         { w.calls = append(w.calls, name) }
func (w *fullWriter) Flush()                   { w.call("Flush") }
func (w *fullWriter) CloseNotify() <-chan bool { w.call("CloseNotify"); return nil }

func (w *fullWriter) ReadFrom(r io.Reader) (int64, error) {
	w.call("ReadFrom")
	return io.Copy(io.Discard, r)
}

func (w *fullWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.call("Hijack")
	return nil, nil, nil
}

func (w *fullWriter) Push(string, *http.PushOptions) error {
	w.call("Push")
	return nil
}

func (w *fullWriter) SetReadDeadline(time.Time) error {
	w.call("SetReadDeadline")
	return nil
}

func (w *fullWriter) SetWriteDeadline(time.Time) error {
	w.call("SetWriteDeadline")
	return nil
}

func (w *fullWriter) EnableFullDuplex() error {
	w.call("EnableFullDuplex")
	return nil
}

// middlewares returns every middleware of the library, by package and name, in use.
func middlewares(t *testing.T, kit *authkit.Kit) map[string]func(http.Handler) http.Handler {
	limits, err := throttle.New(throttle.Config{
		Secret: []byte("5b1c0e7d9a3f48268c4d7e1f0a9b3c62"), Limits: map[string]throttle.Limit{"stream": {Burst: 1000, Every: time.Second}},
		OnEvent: func(context.Context, authkit.Event) {},
	})
	require.NoError(t, err)
	trustSockets, err := throttle.TrustSocketProxies(netip.MustParsePrefix("192.0.2.0/24"))
	require.NoError(t, err)
	trust, err := throttle.TrustProxies(netip.MustParsePrefix("192.0.2.0/24")) // httptest.NewRequest comes from there
	require.NoError(t, err)
	wrap, err := harden.New(harden.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	log, err := audit.New(audit.NewMemoryStore(100), audit.Options{Key: []byte("c94e1f7ab03d5286e7f10c4b9d8a2e35")})
	require.NoError(t, err)
	telemetry, err := authotel.New(authotel.Options{TracerProvider: noop.NewTracerProvider()})
	require.NoError(t, err)
	devices, err := trusteddevice.New(trusteddevice.Config{})
	require.NoError(t, err)
	guard := kit.Guard()
	return map[string]func(http.Handler) http.Handler{
		"authkit.RefuseAmbiguousPaths": authkit.RefuseAmbiguousPaths,
		"authkit.Kit.Authenticate":     kit.Authenticate,
		"authkit.Kit.Require":          kit.Require(authkit.Authenticated()),
		"authkit.Kit.RequireRoles":     kit.RequireRoles("admin"),
		"authkit.Kit.RequireAnyRole":   kit.RequireAnyRole("admin"),
		"authkit.Guard.Authenticate":   guard.Authenticate,
		"authkit.Guard.Require":        guard.Require(authkit.Authenticated()),
		"authkit.Guard.RequireRoles":   guard.RequireRoles("admin"),
		"authkit.Guard.RequireAnyRole": guard.RequireAnyRole("admin"),
		"authkit.Mux.Handle": func(h http.Handler) http.Handler {
			mux := kit.NewMux()
			mux.Handle("GET /stream", authkit.Authenticated(), h)
			return mux
		},
		"audit.Log.FailClosed":        log.FailClosed,
		"authotel.Telemetry.Handler":  func(h http.Handler) http.Handler { return telemetry.Handler("stream", h) },
		"harden.New":                  wrap,
		"harden.Server":               func(h http.Handler) http.Handler { return harden.Server("", h).Handler },
		"throttle.Throttle.Device":    limits.Device,
		"throttle.Throttle.Limit":     limits.Limit("stream"),
		"throttle.TrustProxies":       trust,
		"throttle.TrustSocketProxies": trustSockets,

		"trusteddevice.Devices.Handler": devices.Handler,
	}
}

// FR-16: a handler behind any middleware finds every interface of the server's writer.
func TestMiddlewareKeepsInterfaces(t *testing.T) {
	t.Parallel()
	kit, _, admin := service()
	all := middlewares(t, kit)
	require.Equal(t, exportedMiddlewares(t), slices.Sorted(maps.Keys(all)), "a middleware is missing in this test")
	stack := http.Handler(http.HandlerFunc(useAll))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		w := sendTo(all[name](http.HandlerFunc(useAll)), admin)
		require.Equal(t, usesOfAll, w.calls, name)
		stack = all[name](stack)
	}
	require.Equal(t, usesOfAll, sendTo(stack, admin).calls, "all of them, one in another")
}

func sendTo(h http.Handler, bearer string) *fullWriter {
	r := httptest.NewRequest("GET", "/stream", nil)
	r.Header.Set("Authorization", "Bearer "+bearer)
	w := &fullWriter{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(w, r)
	return w
}

var usesOfAll = []string{"SetReadDeadline", "SetWriteDeadline", "EnableFullDuplex", "Flush", "Flush", "CloseNotify", "ReadFrom", "Push", "Hijack", "Hijack"}

// useAll uses each interface once, and those of http.ResponseController that way, too.
func useAll(w http.ResponseWriter, _ *http.Request) {
	rc := http.NewResponseController(w)
	for _, err := range []error{rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{}), rc.EnableFullDuplex(), rc.Flush()} {
		if err != nil {
			panic(err)
		}
	}
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	if c, ok := w.(interface{ CloseNotify() <-chan bool }); ok {
		c.CloseNotify()
	}
	if r, ok := w.(io.ReaderFrom); ok {
		_, _ = r.ReadFrom(strings.NewReader("text"))
	}
	if p, ok := w.(http.Pusher); ok {
		_ = p.Push("/style.css", nil)
	}
	if h, ok := w.(http.Hijacker); ok {
		_, _, _ = h.Hijack()
	}
	_, _, _ = rc.Hijack()
}

// exportedMiddlewares returns the exported functions of the library that take an
// http.Handler and return one, or that return such a function.
func exportedMiddlewares(t *testing.T) []string {
	var found []string
	root := filepath.Join("..", "..")
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", ".ci", "examples", "benchmarks", "internal", "testdata", "cmd":
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if ok && fn.Name.IsExported() && wrapsHandler(fn.Type) {
				found = append(found, f.Name.Name+"."+receiver(fn)+fn.Name.Name)
			}
		}
		return nil
	}))
	slices.Sort(found)
	return found
}

func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	return typ.(*ast.Ident).Name + "."
}

// wrapsHandler reports whether a function takes an http.Handler, or returns a function that
// does.
func wrapsHandler(fn *ast.FuncType) bool {
	takes := func(fields *ast.FieldList) bool {
		return fields != nil && slices.ContainsFunc(fields.List, func(f *ast.Field) bool {
			sel, ok := f.Type.(*ast.SelectorExpr)
			return ok && sel.Sel.Name == "Handler"
		})
	}
	if takes(fn.Params) {
		return true
	}
	return fn.Results != nil && slices.ContainsFunc(fn.Results.List, func(f *ast.Field) bool {
		inner, ok := f.Type.(*ast.FuncType)
		return ok && takes(inner.Params)
	})
}
