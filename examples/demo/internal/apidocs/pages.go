package apidocs

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"os"

	"github.com/authkit-go/authkit"
	"github.com/swaggest/swgui/v5emb"
)

// The pages for people: /docs is Swagger UI, from a module that embeds it.
// /redoc is a reference that needs no script and that ReDoc replaces when it
// loads. Neither has an inline script, so that their Content-Security-Policy
// can forbid them.
var (
	//go:embed web/docs.html
	docsPage []byte
	//go:embed web/docs.js
	docsScript []byte
	//go:embed web/redoc.html
	redocPage string
	//go:embed web/redoc.js
	redocScript []byte
	//go:embed web/reference.css
	referenceStyle []byte
)

const (
	javaScript = "text/javascript; charset=utf-8"

	// onlyOurs is the common policy of both pages, without scripts and styles.
	onlyOurs = "default-src 'none'; connect-src 'self'; img-src 'self' data:; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
	docsPolicy = onlyOurs + "script-src 'self'; style-src 'self'"

	// redocStyles allows the style elements of ReDoc's bundle: empty ones,
	// which a script fills, and the one with the fixed text for its scroll bar.
	redocStyles = "style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' " +
		"'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; "

	// RedocAddress is the address of the bundle of ReDoc as published. A browser
	// runs it only if it has exactly the bytes of redocIntegrity.
	RedocAddress   = "https://cdn.jsdelivr.net/npm/redoc@2.5.4/bundles/redoc.standalone.js"
	redocIntegrity = "sha384-w447zOpYfw/1Tv/5AK9NfHTlQIqE3RVR6KY62jCyy9zNDgO64cMwGGP1Fj0zJVf5"
)

// A bundle is the address of a script from another publisher.
type bundle struct {
	Address   string
	Integrity string // empty if this server serves the script
}

// Register adds the pages, the document, and their parts. If redocFile is set,
// it replaces the copy on the CDN.
func Register(mux *authkit.Mux, document []byte, redocFile string) error {
	get := func(path string, h http.Handler) {
		mux.HandleFunc("GET "+path, authkit.Public(), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600") // the pages are the same for all users
			h.ServeHTTP(w, r)
		})
	}

	redoc := bundle{Address: RedocAddress, Integrity: redocIntegrity}
	if redocFile != "" {
		script, err := os.ReadFile(redocFile)
		if err != nil {
			return err
		}
		redoc = bundle{Address: "/redoc/redoc.standalone.js"}
		get(redoc.Address, serveBytes(javaScript, script))
	}
	reference, err := referencePage(document, redoc)
	if err != nil {
		return err
	}

	get("/{$}", http.RedirectHandler("/docs", http.StatusFound))
	for _, slash := range []string{"", "/{$}"} {
		get("/openapi.json"+slash, serveBytes("application/json", document))
		get("/docs"+slash, page(docsPolicy, docsPage))
		get("/redoc"+slash, reference)
	}
	get("/docs/start.js", serveBytes(javaScript, docsScript))
	get("/redoc/start.js", serveBytes(javaScript, redocScript))
	get("/redoc/reference.css", serveBytes("text/css; charset=utf-8", referenceStyle))
	swaggerUI := v5emb.New("", "", "/docs/assets")
	for _, asset := range []string{"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"} {
		get("/docs/assets/"+asset, swaggerUI)
	}
	return nil
}

// referencePage renders /redoc once.
func referencePage(document []byte, redoc bundle) (http.Handler, error) {
	tmpl, err := template.New("redoc").
		Funcs(template.FuncMap{"prose": prose, "phrase": phrase, "json": prettyJSON}).
		Parse(redocPage)
	if err != nil {
		return nil, err
	}
	ref, err := newReference(document)
	if err != nil {
		return nil, err
	}
	var html bytes.Buffer
	err = tmpl.Execute(&html, struct {
		reference
		Bundle bundle
	}{ref, redoc})
	if err != nil {
		return nil, err
	}
	policy := onlyOurs + redocStyles + "script-src 'self'"
	if redoc.Integrity != "" {
		policy += " " + redoc.Address
	}
	return page(policy, html.Bytes()), nil
}

// page returns a handler for a page with a Content-Security-Policy.
func page(policy string, html []byte) http.HandlerFunc {
	body := serveBytes("text/html; charset=utf-8", html)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		body(w, r)
	}
}
