package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

// A userView is a user in responses. Other fields of authkit.User, such as the
// ID, are not exposed.
type userView struct {
	Email    string   `json:"email"`
	FullName string   `json:"full_name"`
	Roles    []string `json:"roles"`
	Disabled bool     `json:"disabled"`
}

func accountOf(u authkit.User) userView {
	return userView{Email: u.Email, FullName: u.FullName, Roles: append([]string{}, u.Roles...), Disabled: u.Disabled}
}

// me responds with the account of the token.
func (s *server) me(w http.ResponseWriter, r *http.Request) {
	user, _ := authkit.UserFrom(r.Context()) // the policy of the route guarantees a user
	writeJSON(w, http.StatusOK, accountOf(user))
}

// items responds with the items of the account: in the demo, the same for all
// users.
func (s *server) items(w http.ResponseWriter, r *http.Request) {
	type item struct {
		ItemID string `json:"item_id"`
		Owner  string `json:"owner"`
	}
	user, _ := authkit.UserFrom(r.Context())
	writeJSON(w, http.StatusOK, []item{{"Foo", user.Email}, {"Bar", user.Email}})
}

const (
	maxPage     = 1000
	defaultPage = 100
	maxCursor   = 255 // bytes; an ID is much shorter
)

// listUsers responds with all accounts, or with a page if the query has its
// parameters.
func (s *server) listUsers(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, r, []authkit.FieldError{{Field: "query", Message: "is malformed"}})
		return
	}
	if !query.Has("limit") && !query.Has("after") {
		s.streamUsers(w, r)
		return
	}
	limit, after, faults := readPage(query)
	if faults != nil {
		refuse(w, r, faults)
		return
	}
	page, err := s.usersAfter(r.Context(), after, limit)
	if err != nil {
		authkit.ProblemFor(err).ServeHTTP(w, r)
		return
	}
	accounts := make([]userView, len(page))
	for i, user := range page {
		accounts[i] = accountOf(user)
	}
	if len(page) == limit {
		last := page[limit-1].ID
		more, err := s.usersAfter(r.Context(), last, 1)
		if err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		if len(more) > 0 {
			next := url.Values{"limit": {strconv.Itoa(limit)}, "after": {last}}
			w.Header().Set("Link", "<"+r.URL.Path+"?"+next.Encode()+`>; rel="next"`)
		}
	}
	writeJSON(w, http.StatusOK, accounts)
}

// readPage parses the parameters of a page.
func readPage(query url.Values) (limit int, after string, faults []authkit.FieldError) {
	fault := func(field, message string) {
		faults = append(faults, authkit.FieldError{Field: field, Message: message})
	}
	limit = defaultPage
	if values := query["limit"]; values != nil {
		n, err := strconv.ParseUint(values[0], 10, 32)
		if err != nil || n < 1 || n > maxPage || len(values) > 1 {
			fault("limit", fmt.Sprintf("must be one number from 1 to %d", maxPage))
		}
		limit = int(n)
	}
	if values := query["after"]; values != nil {
		after = values[0]
		if len(values) > 1 || !validCursor(after) {
			fault("after", "must be taken from a Link header")
		}
	}
	return limit, after, faults
}

// validCursor reports whether a text may be passed to a store as an ID.
func validCursor(s string) bool {
	if len(s) > maxCursor || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if unicode.IsControl(c) {
			return false
		}
	}
	return true
}

// streamUsers responds with all accounts. It holds one page of them at a time.
func (s *server) streamUsers(w http.ResponseWriter, r *http.Request) {
	page, err := s.usersAfter(r.Context(), "", maxPage)
	if err != nil {
		authkit.ProblemFor(err).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	separator := "["
	for len(page) > 0 {
		for _, user := range page {
			_, _ = io.WriteString(w, separator) // if the client is gone, so is it for Encode
			if err := encoder.Encode(accountOf(user)); err != nil {
				return
			}
			separator = ","
		}
		page, err = s.usersAfter(r.Context(), page[len(page)-1].ID, maxPage)
		if err != nil {
			panic(http.ErrAbortHandler) // half a list must not look like a whole one
		}
	}
	if separator == "[" {
		_, _ = io.WriteString(w, separator)
	}
	_, _ = io.WriteString(w, "]\n")
}

// usersAfter returns a page of the accounts.
func (s *server) usersAfter(ctx context.Context, after string, limit int) ([]authkit.User, error) {
	return s.kit.Users(ctx, authkit.UserQuery{After: after, Limit: limit})
}
