package main

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/authkit-go/authkit"
)

// hashPassword responds with the hash of the password in the query. The
// documented interface of the demo has this route. Your service should not:
// URLs end up in logs, and any client can keep the server hashing.
func (s *server) hashPassword(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	query, err := url.ParseQuery(r.URL.RawQuery)
	passwords := query["password"]
	fault := func(message string) {
		refuse(w, r, []authkit.FieldError{{Field: "password", Message: message}})
	}
	switch {
	case err != nil:
		fault("must be percent-encoded")
		return
	case len(passwords) > 1:
		fault("must be given once")
		return
	case len(passwords) == 0 || passwords[0] == "":
		fault("is required")
		return
	}
	hash, err := s.kit.HashPassword(r.Context(), passwords[0])
	if errors.Is(err, authkit.ErrPasswordTooLong) || errors.Is(err, authkit.ErrPasswordInvalid) {
		fault(authkit.ProblemFor(err).Detail)
		return
	}
	if err != nil {
		authkit.ProblemFor(err).ServeHTTP(w, r)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"hash": string(hash)})
}
