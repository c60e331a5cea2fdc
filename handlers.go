package authkit

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
)

// maxFormBytes bounds the body of a login.
const maxFormBytes = 16 << 10

// tokenParams are the parameters of the token request (RFC 6749 sections 2.3.1 and
// 4.3.2). Others are ignored, as section 3.2 says.
var tokenParams = []string{"grant_type", "username", "password", "scope", "client_id", "client_secret"}

// TokenHandler returns the token endpoint: it takes POST requests with a form of
// username and password, as in the password grant of RFC 6749 section 4.3, and
// answers with an access token (section 5.1) or an error (section 5.2). The grant
// is for first-party clients, which see the password anyway; RFC 9700 section 2.4
// rules it out for all others.
//
// Credentials are read from the body alone; a request that carries them in its URL
// is refused.
func (k *Kit) TokenHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			NewProblem(http.StatusMethodNotAllowed, "Method not allowed").ServeHTTP(w, r)
			return
		}
		form, problem := readTokenForm(w, r)
		if problem != nil {
			problem.ServeHTTP(w, r)
			return
		}
		token, err := k.Login(r.Context(), form.Get("username"), form.Get("password"))
		if err != nil {
			oauthProblem(ProblemFor(err), oauthCode(err)).ServeHTTP(w, r)
			return
		}
		writeToken(w, token)
	})
}

// writeToken writes the response of RFC 6749 section 5.1.
func writeToken(w http.ResponseWriter, token Token) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	_ = json.NewEncoder(w).Encode(token) // a client that is gone cannot be told
}

// The error codes of RFC 6749 section 5.2, and one of section 4.1.2.1 that fits.
const (
	codeInvalidRequest   = "invalid_request"
	codeInvalidGrant     = "invalid_grant"
	codeUnsupportedGrant = "unsupported_grant_type"
	codeUnavailable      = "temporarily_unavailable"
	codeServerError      = "server_error"
)

func oauthCode(err error) string {
	switch ProblemFor(err).Status {
	case http.StatusUnauthorized, http.StatusBadRequest:
		return codeInvalidGrant
	case http.StatusServiceUnavailable:
		return codeUnavailable
	}
	return codeServerError
}

func oauthProblem(p Problem, code string) *Problem {
	p.Code, p.Description = code, p.Detail
	return &p
}

// readTokenForm reads and checks the form of a login, or returns the answer to what
// is wrong with it.
func readTokenForm(w http.ResponseWriter, r *http.Request) (url.Values, *Problem) {
	bad := func(status int, detail string) (url.Values, *Problem) {
		return nil, oauthProblem(NewProblem(status, detail), codeInvalidRequest)
	}
	query := r.URL.Query()
	for _, name := range tokenParams {
		if query.Has(name) {
			return bad(http.StatusBadRequest, "Parameters belong in the body, not in the URL")
		}
	}
	form, err := parseForm(w, r)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, oauthProblem(ProblemFor(err), codeInvalidRequest)
	}
	if err != nil {
		return bad(http.StatusBadRequest, "The form could not be read")
	}
	for _, name := range tokenParams {
		if len(form[name]) > 1 {
			return bad(http.StatusBadRequest, "A parameter was given more than once")
		}
	}
	if grant := form.Get("grant_type"); grant != "" && grant != "password" {
		return nil, oauthProblem(NewProblem(http.StatusBadRequest, "The grant type is not supported"), codeUnsupportedGrant)
	}
	p := NewProblem(http.StatusUnprocessableEntity, "Send a form (application/x-www-form-urlencoded) with username and password")
	for _, name := range []string{"username", "password"} {
		if form.Get(name) == "" {
			p.Errors = append(p.Errors, FieldError{Field: name, Message: "is required"})
		}
	}
	if p.Errors != nil {
		return nil, oauthProblem(p, codeInvalidRequest)
	}
	return form, nil
}

var errFilePart = errors.New("authkit: a file in a form of text")

// parseForm reads the body of a request as a form of either encoding; a body of
// another type is an empty form. Unlike http.Request.ParseForm it never mixes in
// the query, and keeps nothing on disk.
func parseForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	mediaType, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	body := http.MaxBytesReader(w, r.Body, maxFormBytes)
	switch mediaType {
	case "application/x-www-form-urlencoded":
		text, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		return url.ParseQuery(string(text))
	case "multipart/form-data":
		form := make(url.Values)
		parts := multipart.NewReader(body, params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if err == io.EOF {
				return form, nil
			}
			if err != nil {
				return nil, err
			}
			if part.FileName() != "" {
				return nil, errFilePart
			}
			text, err := io.ReadAll(part)
			if err != nil {
				return nil, err
			}
			form.Add(part.FormName(), string(text))
		}
	}
	return nil, nil
}
