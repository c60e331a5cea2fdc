package revocation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// overlap is how far back a list reaches before what was asked for: a store may take a
// moment to show a change, and clocks differ.
const overlap = time.Minute

// Handler serves the list of a kit, on which sessions are on; see the package comment.
// Requests are GET or HEAD. The route can be public: see there, too.
func Handler(kit *authkit.Kit) http.Handler {
	ring := kit.KeyRing()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			authkit.NewProblem(http.StatusMethodNotAllowed, "Method not allowed").ServeHTTP(w, r)
			return
		}
		until := time.Now()
		since := until.Add(-authkit.RevocationLife)
		if text := r.URL.Query().Get("since"); text != "" {
			seconds, err := strconv.ParseInt(text, 10, 64)
			if err != nil || seconds < 0 {
				authkit.NewProblem(http.StatusBadRequest, "since is a number of seconds since 1970").ServeHTTP(w, r)
				return
			}
			seconds = min(seconds, until.Unix()) // the instance before may have been ahead
			if asked := time.Unix(seconds, 0).Add(-overlap); asked.After(since) {
				since = asked
			}
		}
		revoked, err := kit.Revocations(r.Context(), since)
		if err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		l := newList(revoked, since, until)
		h := w.Header()
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		tag := l.tag()
		h.Set("ETag", tag)
		for have := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
			if strings.TrimSpace(have) == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		payload, err := json.Marshal(l)
		var signed string
		if err == nil {
			signed, err = ring.Sign(listType, payload)
		}
		if err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		h.Set("Content-Type", contentType)
		h.Set("Content-Length", strconv.Itoa(len(signed)))
		_, _ = w.Write([]byte(signed)) // a client that is gone cannot be told
	})
}

func newList(revoked []authkit.Revocation, since, until time.Time) list {
	sessions, users := make(entries), make(entries)
	for _, r := range revoked {
		if r.SessionID != "" {
			sessions.add(digestOf("session", r.SessionID), r.At.Unix())
			continue
		}
		at := r.At.Unix()
		if r.At.Nanosecond() > 0 {
			at++ // whatever was issued in that second
		}
		users.add(digestOf("user", r.UserID), at)
	}
	return list{
		Since: since.Unix(), Until: until.Unix(), Life: int64(authkit.RevocationLife / time.Second),
		Sessions: sessions.encode(), Users: users.encode(),
	}
}

// tag returns the ETag. It is a weak one: what is in the list has it, whenever it was
// signed.
func (l list) tag() string {
	sum := sha256.Sum256([]byte(l.Sessions + "." + l.Users))
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}
