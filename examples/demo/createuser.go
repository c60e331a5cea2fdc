package main

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/authkit-go/authkit"
)

// maxJSONBody is the maximum size of JSON bodies.
const maxJSONBody = 64 << 10

// createUser creates an account. The policy of the route has admitted an
// administrator, and the body is still unread.
func (s *server) createUser(w http.ResponseWriter, r *http.Request) {
	body, problem := readJSON(w, r)
	if problem != nil {
		problem.ServeHTTP(w, r)
		return
	}
	o, ok := readObject(body)
	if !ok {
		refuse(w, r, []authkit.FieldError{{Field: "body", Message: "must be an object"}})
		return
	}
	input := readUserCreate(o)
	user, err := s.create(r.Context(), input, o.faults)
	if err != nil {
		authkit.ProblemFor(err).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Location", "/admin/users/")
	writeJSON(w, http.StatusCreated, map[string]any{
		"message": "User created successfully",
		"user":    accountOf(user),
	})
}

// A userCreate is the body of a request to create an account.
type userCreate struct {
	email, fullName, password string
	roles                     []string
}

// readUserCreate reads the members of the body. It appends the problems of
// their form to o.faults.
func readUserCreate(o *object) userCreate {
	input := userCreate{
		email:    o.text("email"),
		fullName: o.text("full_name"),
		password: o.text("password"),
		roles:    o.texts("roles", []string{"user"}),
	}
	o.rest()
	return input
}

// create creates the account if there are no faults yet. Otherwise it adds the
// problems that authkit finds, so that one response names every field.
func (s *server) create(ctx context.Context, input userCreate, faults []authkit.FieldError) (authkit.User, error) {
	user := authkit.User{Email: input.email, FullName: input.fullName, Roles: input.roles}
	if faults == nil {
		return s.kit.CreateUser(ctx, user, input.password)
	}
	err := s.kit.CheckUser(ctx, user, input.password)
	more, ok := errors.AsType[*authkit.ValidationError](err)
	if err != nil && !ok {
		return authkit.User{}, err
	}
	if ok {
		for _, fault := range more.Fields {
			same := func(f authkit.FieldError) bool { return f.Field == fault.Field }
			if !slices.ContainsFunc(faults, same) {
				faults = append(faults, fault)
			}
		}
	}
	return authkit.User{}, &authkit.ValidationError{Fields: faults}
}

// readJSON reads a body with one JSON text, or returns the response to an
// invalid body. It requires the content type of JSON, because a form on a page
// of another site can send other types from a visitor's browser, but not this
// one.
func readJSON(w http.ResponseWriter, r *http.Request) ([]byte, *authkit.Problem) {
	answer := func(p authkit.Problem) ([]byte, *authkit.Problem) { return nil, &p }
	if !isJSON(r.Header.Values("Content-Type")) {
		return answer(authkit.NewProblem(http.StatusUnsupportedMediaType, "The body must be application/json"))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJSONBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return answer(authkit.ProblemFor(err))
	}
	if err != nil {
		return answer(authkit.NewProblem(http.StatusBadRequest, "The body could not be read"))
	}
	if checkJSON(body) != nil {
		return answer(authkit.NewProblem(http.StatusBadRequest, "The body is not well-formed JSON"))
	}
	return body, nil
}

// isJSON reports whether the values of a Content-Type header are exactly that
// of JSON.
func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(contentType[0])
	charset, given := params["charset"]
	return err == nil && mediaType == "application/json" && (!given || strings.EqualFold(charset, "utf-8"))
}
