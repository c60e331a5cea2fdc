package jwks

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/authkit-go/authkit"
)

// Handler returns a handler that serves the public keys of a ring as a JSON Web
// Key Set (RFC 7517 section 5). The set does not contain HS keys. Methods other
// than GET and HEAD get 405. It panics if ring is nil.
//
// Clients may keep the set for five minutes. Add a new key to the ring five
// minutes before it signs; see [authkit.KeyRing.Replace].
//
// The usual path is /.well-known/jwks.json, without authentication. For the
// keys of a Kit:
//
//	mux.Handle("GET /.well-known/jwks.json", authkit.Public(), jwks.Handler(kit.KeyRing()))
func Handler(ring *authkit.KeyRing) http.Handler {
	if ring == nil {
		panic("jwks: Handler: nil ring")
	}
	return &handler{ring: ring}
}

type handler struct {
	ring   *authkit.KeyRing
	latest atomic.Pointer[document]
}

// A document is a key set in the form of the response.
type document struct {
	keys []authkit.Key
	body []byte
	etag string
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		authkit.NewProblem(http.StatusMethodNotAllowed, "Method not allowed").ServeHTTP(w, r)
		return
	}
	d := h.document()
	header := w.Header()
	header.Set("Cache-Control", "public, max-age=300")
	header.Set("ETag", d.etag)
	header.Set("X-Content-Type-Options", "nosniff")
	if matches(r.Header.Values("If-None-Match"), d.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", "application/jwk-set+json")
	header.Set("Content-Length", strconv.Itoa(len(d.body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(d.body) // the client may be gone
	}
}

// document returns the current key set. It reuses the latest document if the
// keys are the same.
func (h *handler) document() *document {
	keys := h.ring.PublicKeys()
	if d := h.latest.Load(); d != nil && slices.EqualFunc(d.keys, keys, same) {
		return d
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	set.Keys = make([]jwk, len(keys)) // not null
	for i, k := range keys {
		set.Keys[i] = publicJWK(k.Public)
		set.Keys[i].Use, set.Keys[i].Alg, set.Keys[i].Kid = "sig", string(k.Algorithm), k.ID
	}
	body, _ := json.Marshal(set) // strings always encode
	body = append(body, '\n')
	sum := sha256.Sum256(body)
	d := &document{keys: keys, body: body, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`}
	h.latest.Store(d)
	return d
}

// same reports whether two public keys are equal.
func same(a, b authkit.Key) bool {
	public := a.Public.(interface{ Equal(crypto.PublicKey) bool })
	return a.ID == b.ID && a.Algorithm == b.Algorithm && public.Equal(b.Public)
}

// matches reports whether an If-None-Match header contains an entity tag (RFC
// 9110 section 13.1.2). The tag must not contain a comma.
func matches(values []string, etag string) bool {
	for _, value := range values {
		for tag := range strings.SplitSeq(value, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}
