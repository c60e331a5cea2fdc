// Package factorpage serves the page of the demo on which users set up an
// authenticator app. Its script uses no library.
package factorpage

import (
	"embed"
	"net/http"

	"github.com/authkit-go/authkit"
)

//go:embed web
var web embed.FS

const policy = "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Register adds the page and its parts.
func Register(mux *authkit.Mux) {
	for path, file := range map[string]string{
		"/factors": "page.html", "/factors/{$}": "page.html", "/factors/page.js": "page.js", "/factors/page.css": "page.css",
	} {
		mux.HandleFunc("GET "+path, authkit.Public(), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", policy)
			w.Header().Set("Referrer-Policy", "no-referrer")
			w.Header().Set("Cache-Control", "max-age=600") // the same for all users
			http.ServeFileFS(w, r, web, "web/"+file)
		})
	}
}
