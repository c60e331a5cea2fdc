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

// Handler returns a handler that serves the public keys of a ring as a JSON Web Key Set (RFC 7517
// section 5) to GET and HEAD, and answers 405 to all else. The HS keys of the ring are not in it.
// Whoever fetches the set may keep it for five minutes, so a new key has to be in the ring for as
// long before it signs: see authkit.KeyRing.Replace. It panics if ring is nil.
//
// The usual place is /.well-known/jwks.json, and it needs no authentication. For the keys of a Kit:
//
//	mux.Handle("GET /.well-known/jwks.json", authkit.Public(), jwks.Handler(kit.KeyRing()))
func Handler(ring *authkit.KeyRing) http.Handler {
	if ring == nil {
		panic("jwks: Handler of no ring")
	}
	return &handler{ring: ring}
}

type handler struct {
	ring   *authkit.KeyRing
	latest atomic.Pointer[document]
}

// A document is a key set as it is sent.
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
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(d.body) // a client that is gone cannot be told
	}
}

// document returns the key set of now, made anew only if the keys are other ones.
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

// same reports whether two public keys are the same.
func same(a, b authkit.Key) bool {
	public, ok := a.Public.(interface{ Equal(crypto.PublicKey) bool })
	return a.ID == b.ID && a.Algorithm == b.Algorithm && ok && public.Equal(b.Public)
}

// matches reports whether an If-None-Match header holds an entity tag (RFC 9110 section 13.1.2). None
// of ours has a comma in it.
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
