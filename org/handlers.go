package org

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	maxBody = 16 << 10
	fresh   = 5 * time.Minute
)

// Mount adds the routes for users to a Mux, below a path such as "/orgs". It
// panics as [authkit.Mux.Handle] does. They take and return JSON:
//
//	GET    path                              my memberships           200, a list of Membership
//	POST   path                              {"name"}                 201, a Membership
//	POST   path/accept                       {"token"}                200, a Membership
//	DELETE path/{org}                        delete the organization  204; a login of the last 5 minutes
//	POST   path/{org}/switch                 make it the active one   200, a Membership
//	GET    path/{org}/members                ?after= and ?limit=      200, a list of Member
//	PUT    path/{org}/members/{user}         {"roles"}                200, a Member
//	DELETE path/{org}/members/{user}         remove, or leave         204
//	GET    path/{org}/invitations            the pending ones         200, a list of Invitation
//	POST   path/{org}/invitations            {"email", "roles"}       201, an Invitation
//	DELETE path/{org}/invitations/{id}       revoke                   204
//
// The policies are those of [Orgs.Member]. No response has the token of an
// invitation. A body with other members is refused. Errors are those of
// [authkit.ProblemFor], and 409 for [ErrLimit].
func (o *Orgs) Mount(mux *authkit.Mux, path string) {
	path = strings.TrimSuffix(path, "/")
	user, member, manager := authkit.Authenticated(), o.Member(), o.Member(ManageMembers)
	mux.Handle("GET "+path, user, answer(http.StatusOK, func(r *http.Request) (any, error) {
		list, err := o.List(r.Context())
		return append([]Membership{}, list...), err
	}))
	mux.Handle("POST "+path, user, answer(http.StatusCreated, func(r *http.Request) (any, error) {
		var body struct {
			Name string `json:"name"`
		}
		if err := decode(r, &body); err != nil {
			return nil, err
		}
		return o.Create(r.Context(), body.Name)
	}))
	mux.Handle("POST "+path+"/accept", user, answer(http.StatusOK, func(r *http.Request) (any, error) {
		var body struct {
			Token string `json:"token"`
		}
		if err := decode(r, &body); err != nil {
			return nil, err
		}
		return o.Accept(r.Context(), body.Token)
	}))
	mux.Handle("DELETE "+path+"/{org}", member.Fresh(fresh), answer(http.StatusNoContent, func(r *http.Request) (any, error) {
		return nil, o.Delete(r.Context(), r.PathValue("org"))
	}))
	mux.Handle("POST "+path+"/{org}/switch", member, answer(http.StatusOK, func(r *http.Request) (any, error) {
		return o.Switch(r.Context(), r.PathValue("org"))
	}))
	mux.Handle("GET "+path+"/{org}/members", member, answer(http.StatusOK, func(r *http.Request) (any, error) {
		limit, _ := strconv.Atoi(r.FormValue("limit"))
		list, err := o.Members(r.Context(), r.PathValue("org"), r.FormValue("after"), limit)
		return append([]Member{}, list...), err
	}))
	mux.Handle("PUT "+path+"/{org}/members/{user}", manager, answer(http.StatusOK, func(r *http.Request) (any, error) {
		var body struct {
			Roles []string `json:"roles"`
		}
		if err := decode(r, &body); err != nil {
			return nil, err
		}
		return o.SetRoles(r.Context(), r.PathValue("org"), r.PathValue("user"), body.Roles...)
	}))
	mux.Handle("DELETE "+path+"/{org}/members/{user}", member, answer(http.StatusNoContent, func(r *http.Request) (any, error) {
		return nil, o.Remove(r.Context(), r.PathValue("org"), r.PathValue("user"))
	}))
	mux.Handle("GET "+path+"/{org}/invitations", manager, answer(http.StatusOK, func(r *http.Request) (any, error) {
		list, err := o.Invitations(r.Context(), r.PathValue("org"))
		return append([]Invitation{}, list...), err
	}))
	mux.Handle("POST "+path+"/{org}/invitations", manager, answer(http.StatusCreated, func(r *http.Request) (any, error) {
		var body struct {
			Email string   `json:"email"`
			Roles []string `json:"roles"`
		}
		if err := decode(r, &body); err != nil {
			return nil, err
		}
		return o.Invite(r.Context(), r.PathValue("org"), body.Email, body.Roles...)
	}))
	mux.Handle("DELETE "+path+"/{org}/invitations/{id}", manager, answer(http.StatusNoContent, func(r *http.Request) (any, error) {
		return nil, o.Revoke(r.Context(), r.PathValue("org"), r.PathValue("id"))
	}))
}

var (
	errNotJSON = errors.New("org: the body is not JSON")
	errBody    = errors.New("org: the body is not an object with the members of this request")
)

// decode reads a JSON object. Another member than those of v is an error.
func decode(r *http.Request, v any) error {
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
		return errNotJSON
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return nil
		}
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return err
	}
	return errBody
}

// answer returns a handler that responds with the result of do as JSON.
func answer(status int, do func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		result, err := do(r)
		if err != nil {
			problemFor(err).ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		if result == nil {
			w.WriteHeader(status)
			return
		}
		h.Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(result) // an error means that the client is gone
	})
}

// problemFor returns the response for an error.
func problemFor(err error) authkit.Problem {
	switch {
	case errors.Is(err, errNotJSON):
		return authkit.NewProblem(http.StatusUnsupportedMediaType, "Send a JSON object")
	case errors.Is(err, errBody):
		return authkit.NewProblem(http.StatusBadRequest, "The body is not an object with the members of this request")
	case errors.Is(err, ErrLimit):
		return authkit.NewProblem(http.StatusConflict, "There are too many already")
	case errors.Is(err, authkit.ErrConflict):
		return authkit.NewProblem(http.StatusConflict, "The organization was changed meanwhile")
	}
	return authkit.ProblemFor(err)
}
