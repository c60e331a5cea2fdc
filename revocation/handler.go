package revocation

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/authkit-go/authkit"
)

// Handler serves the list of a Kit that has sessions; see the package comment.
// It responds to GET and HEAD. The route can be public.
//
// To limit how often one client address may ask, put Throttle.Limit of package throttle around the
// handler, with an action of your own. A follower asks every five seconds by default, and all
// followers behind one address share its limit:
//
//	limits, err := throttle.New(throttle.Config{Limits: map[string]throttle.Limit{
//		"revocations": {Burst: 60, Every: time.Second},
//	}})
//	mux.Handle("GET /revocations", authkit.Public(), limits.Limit("revocations")(revocation.Handler(kit)))
//
// The handler reads the store at most once a second, after a burst of a few
// reads, for any number of clients. It keeps the list in memory, and signs each
// response once. A follower therefore sees a revocation up to a second later.
// If the clock of the instance that revoked was more than two minutes slow, it
// is up to a minute later. Use one Handler for each Kit.
func Handler(kit *authkit.Kit) http.Handler {
	f := newFeed(kit)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			authkit.NewProblem(http.StatusMethodNotAllowed, "Method not allowed").ServeHTTP(w, r)
			return
		}
		s, err := f.current(r.Context())
		if err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("ETag", s.tag)
		for have := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
			if strings.TrimSpace(have) == s.tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		signed, err := s.response(r.URL.Query().Get("after"))
		if err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		h.Set("Content-Type", contentType)
		h.Set("Content-Length", strconv.Itoa(len(signed)))
		_, _ = w.Write([]byte(signed)) // an error means that the client is gone
	})
}
