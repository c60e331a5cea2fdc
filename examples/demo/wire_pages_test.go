package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/examples/demo/internal/apidocs"
	"github.com/stretchr/testify/require"
)

func (w *walk) generateHash(t *testing.T) {
	ask := func(t *testing.T, query string) answer {
		t.Helper()
		a := w.do(t, call{method: "POST", path: "/generate-hash/?" + query})
		require.Equal(t, "no-store", a.header.Get("Cache-Control"))
		return a
	}
	bothSlashes(t, "/generate-hash", func(t *testing.T, path string) {
		for _, password := range []string{"hash-me-please", "p", "pässwörd & more+%", strings.Repeat("m", 72)} {
			if len(password) > 1 {
				w.password(password)
			}
			a := w.do(t, call{method: "POST", path: path + "?password=" + url.QueryEscape(password)})
			require.Equal(t, http.StatusOK, a.status, "%s", a.body)
			require.Equal(t, "no-store", a.header.Get("Cache-Control"))
			answer := a.object(t)
			require.Len(t, answer, 1)
			hash := answer["hash"].(string)
			require.Regexp(t, `^\$2a\$04\$`, hash)
			require.NoError(t, cheapBcrypt.Verify(password, authkit.PasswordHash(hash)))
		}
	})
	t.Run("passwords at fault", func(t *testing.T) {
		for name, query := range map[string]string{
			"missing":       "",
			"empty":         "password=",
			"other case":    "Password=hash-me-please",
			"over 72 bytes": "password=" + w.password(strings.Repeat("n", 73)),
			"72 characters": "password=" + url.QueryEscape(strings.Repeat("é", 72)),
			"with NUL":      "password=hash%00me",
			"not UTF-8":     "password=%ff%fe",
			"twice":         "password=hash-me-please&password=hash-me-please",
			"bad escape":    "password=%zz",
		} {
			t.Run(name, func(t *testing.T) {
				a := ask(t, query)
				a.isProblem(t, http.StatusUnprocessableEntity, "")
				require.Equal(t, []string{"password"}, a.faults(t))
			})
		}
	})
	t.Run("never from the body", func(t *testing.T) {
		a := w.do(t, call{method: "POST", path: "/generate-hash/", contentType: formType, body: "password=hash-me-please"})
		a.isProblem(t, http.StatusUnprocessableEntity, "")
	})
	t.Run("left out by -no-generate-hash", func(t *testing.T) {
		cfg := testConfig(t)
		cfg.generateHash = false
		base := start(t, cfg)
		for _, path := range []string{"/generate-hash", "/generate-hash/"} {
			a, err := send(base, call{method: "POST", path: path + "?password=hash-me-please"})
			require.NoError(t, err)
			a.isProblem(t, http.StatusNotFound, "")
		}
	})
	w.notAllowed(t, "/generate-hash/", "POST", "GET", "PUT", "DELETE", "HEAD")
}

var inlineScript = regexp.MustCompile(`(?s)<script[^>]*>[^<]|\son[a-z]+=|javascript:|<style`)

func (w *walk) pages(t *testing.T) {
	get := func(t *testing.T, path, contentType string) string {
		t.Helper()
		a := w.do(t, call{method: "GET", path: path})
		require.Equal(t, http.StatusOK, a.status)
		require.Equal(t, contentType, a.header.Get("Content-Type"))
		if strings.HasPrefix(contentType, "text/html") {
			policy := a.header.Get("Content-Security-Policy")
			require.Contains(t, policy, "default-src 'none'")
			require.Contains(t, policy, "frame-ancestors 'none'")
			require.NotContains(t, policy, "unsafe-")
			require.Equal(t, "no-referrer", a.header.Get("Referrer-Policy"))
			require.NotRegexp(t, inlineScript, string(a.body))
		}
		return string(a.body)
	}
	const html = "text/html; charset=utf-8"
	bothSlashes(t, "/healthz", func(t *testing.T, path string) {
		require.JSONEq(t, `{"status":"ok"}`, get(t, path, "application/json"))
	})
	bothSlashes(t, "/readyz", func(t *testing.T, path string) {
		require.JSONEq(t, `{"status":"ready"}`, get(t, path, "application/json"))
	})
	bothSlashes(t, "/openapi.json", func(t *testing.T, path string) {
		require.Contains(t, get(t, path, "application/json"), `"openapi": "3.1.0"`)
	})
	bothSlashes(t, "/docs", func(t *testing.T, path string) {
		page := get(t, path, html)
		require.NotContains(t, page, "://", "an address elsewhere")
		for _, part := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			a := w.do(t, call{method: "GET", path: part[1]})
			require.Equal(t, http.StatusOK, a.status, part[1])
		}
	})
	bothSlashes(t, "/redoc", func(t *testing.T, path string) {
		page := get(t, path, html)
		style := w.do(t, call{method: "GET", path: "/redoc/reference.css"})
		for route, item := range w.contract.doc.Paths.Map() {
			require.Contains(t, page, "<code>"+route+"</code>")
			for method := range item.Operations() {
				require.Contains(t, string(style.body), "."+method+" {")
			}
		}
		for schema := range w.contract.doc.Components.Schemas {
			require.Contains(t, page, `id="schema-`+schema+`"`)
		}
		require.Contains(t, page, "protect or remove it")
		require.Contains(t, page, `<script src="`+apidocs.RedocAddress+`" integrity="sha384-`)
		require.NotContains(t, page, "ZgotmplZ", "html/template refused something")
	})
	t.Run("/", func(t *testing.T) {
		a := w.do(t, call{method: "GET", path: "/"})
		require.Equal(t, http.StatusFound, a.status)
		require.Equal(t, "/docs", a.header.Get("Location"))
	})
	w.notAllowed(t, "/", "GET, HEAD", "POST")
	w.notAllowed(t, "/docs", "GET, HEAD", "POST", "PUT")
}

// TestRedocFromFile asserts that the bundle of -redoc-js replaces the one on the CDN,
// in the page and in its policy.
func TestRedocFromFile(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.redocFile = filepath.Join(t.TempDir(), "redoc.js")
	require.NoError(t, os.WriteFile(cfg.redocFile, []byte("// a bundle"), 0o600))
	base := start(t, cfg)

	a, err := send(base, call{method: "GET", path: "/redoc"})
	require.NoError(t, err)
	require.Contains(t, string(a.body), `<script src="/redoc/redoc.standalone.js" defer>`)
	require.NotContains(t, string(a.body)+a.header.Get("Content-Security-Policy"), "://")

	a, err = send(base, call{method: "GET", path: "/redoc/redoc.standalone.js"})
	require.NoError(t, err)
	require.Equal(t, "// a bundle", string(a.body))
	require.Equal(t, "text/javascript; charset=utf-8", a.header.Get("Content-Type"))
}
