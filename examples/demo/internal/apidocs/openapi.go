// Package apidocs serves the OpenAPI document of the demo, and two pages that render it.
package apidocs

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"strings"
)

// The description of the whole interface, written by hand. A test compares it
// with the routes, and other tests compare their responses with it.
//
//go:embed openapi.json
var openAPI []byte

// Document returns the document for this server: with the names of its role
// table, and without the paths of /generate-hash/ and of other providers if those are off.
func Document(roles []string, generateHash, social bool) ([]byte, error) {
	var document map[string]any
	if err := json.Unmarshal(openAPI, &document); err != nil {
		return nil, err
	}
	member(document, "components", "schemas", "UserCreate", "properties", "roles", "items")["enum"] = roles
	if !generateHash {
		delete(member(document, "paths"), "/generate-hash/")
	}
	if !social {
		for path := range member(document, "paths") {
			if strings.HasPrefix(path, "/oidc/") {
				delete(member(document, "paths"), path)
			}
		}
		delete(member(document, "components", "schemas"), "Identity")
	}
	return json.MarshalIndent(document, "", "  ")
}

// member walks down objects by name. The document is part of the program, so a
// missing name is a bug and panics at start.
func member(object map[string]any, names ...string) map[string]any {
	for _, name := range names {
		object = object[name].(map[string]any)
	}
	return object
}

// serveBytes returns a handler that responds with a fixed body.
func serveBytes(contentType string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body) // an error means that the client is gone
	}
}
