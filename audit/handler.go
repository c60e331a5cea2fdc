package audit

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/authkit-go/authkit"
)

const defaultPage, maxPage = 100, 1000

// Handler returns a handler that lists the log on GET, newest entries first. It
// must be behind a guard:
//
//	mux.Handle("GET /admin/audit", authkit.Roles("admin"), auditLog.Handler())
//
// The response is a JSON object with a member "entries", an array of [Entry].
// If there are more, its member "before" is the value of that parameter for the
// next page. The query parameters are optional: limit (1 to 1,000, by default
// 100), before (a sequence number), and user (the ID of an actor or target).
func (l *Log) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			authkit.NewProblem(http.StatusMethodNotAllowed, "Method not allowed").ServeHTTP(w, r)
			return
		}
		params := r.URL.Query()
		q := Query{UserID: params.Get("user"), Newest: true, Limit: defaultPage}
		var err, err2 error
		if params.Has("limit") {
			q.Limit, err = strconv.Atoi(params.Get("limit"))
		}
		if params.Has("before") {
			q.Before, err2 = strconv.ParseUint(params.Get("before"), 10, 63)
		}
		if err != nil || err2 != nil || q.Limit < 1 || q.Limit > maxPage {
			authkit.NewProblem(http.StatusBadRequest, "limit is a number from 1 to 1000, before a number").ServeHTTP(w, r)
			return
		}
		q.Limit++ // one more, to detect a next page
		entries, err := l.store.AuditEntries(r.Context(), q)
		if err != nil {
			authkit.ProblemFor(authkit.ErrUnavailable).ServeHTTP(w, r)
			return
		}
		page := struct {
			Entries []Entry `json:"entries"`
			Before  uint64  `json:"before,omitempty"`
		}{Entries: append([]Entry{}, entries...)} // not null, even if there are no entries
		if len(entries) == q.Limit {
			page.Entries = entries[:q.Limit-1]
			page.Before = entries[q.Limit-2].Seq
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		_ = json.NewEncoder(w).Encode(page) // an error means that the client is gone
	})
}
