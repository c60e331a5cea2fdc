package authkit

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// maxFormBytes is the maximum size of the body of a login.
const maxFormBytes = 16 << 10

// tokenParams are the parameters of the token request (RFC 6749 sections 2.3.1,
// 4.3.2 and 6). Others are ignored, as section 3.2 requires.
var tokenParams = []string{
	"grant_type", "username", "password", "refresh_token", "scope", "client_id", "client_secret",
	"mfa_token", "mfa_method", "mfa_response",
}

// The grant types of an answer to a [ChallengeError]: one that completes the
// login, and one that starts to set up a factor.
const (
	grantMFA    = "mfa"
	grantEnroll = "mfa_enroll"
)

// TokenHandler returns the token endpoint. It accepts POST requests with a form
// of username and password, as in the password grant of RFC 6749 section 4.3,
// and responds with an access token (section 5.1) or an error (section 5.2). If
// sessions are on, the response also has a refresh token. A form with
// grant_type=refresh_token and refresh_token exchanges it (section 6).
//
// If the user must answer a second factor, the response is 400 with a JSON
// object:
//
//	{"error": "mfa_required", "mfa_token": "...", "mfa_methods": ["otp"], ...}
//
// The client then sends a second form to the same endpoint, and gets the
// response of a login without a second factor; see [Kit.AnswerChallenge]:
//
//	grant_type=mfa&mfa_token=...&mfa_method=otp&mfa_response=123456
//
// The response to a wrong code is 401 with "error": "invalid_grant". The client
// may send up to five codes with one mfa_token.
//
// If the user must set up a second factor first (see [Config].RequireFactors),
// "error" is "mfa_enrollment_required", and "mfa_methods" are those that the user
// can set up. The client starts with a form, and gets the data of
// [Kit.EnrollChallenge] in a JSON object:
//
//	grant_type=mfa_enroll&mfa_token=...&mfa_method=otp
//	{"mfa_enrollment": {...}}
//
// It completes the login with grant_type=mfa as above. The response then also
// has a member "mfa_enrollment" if the factor has data that the client must show
// once, such as recovery codes.
//
// The password grant is for first-party clients, which see the password anyway.
// RFC 9700 section 2.4 forbids it for all others. For a browser, see
// [Kit.RefreshCookieHandler].
//
// If [Config].Clients is set, services get an access token with the
// client-credentials grant (section 4.4); see [ClientAuthenticator].
//
// Credentials are read only from the body, except those of a service. A request
// with credentials in its URL is refused.
func (k *Kit) TokenHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form, problem := readForm(w, r, tokenParams)
		if problem != nil {
			problem.ServeHTTP(w, r)
			return
		}
		if form.Get("grant_type") == grantEnroll && len(k.factors) > 0 {
			k.serveEnrollment(w, r, form)
			return
		}
		if k.clients != nil && form.Get("grant_type") == grantClientCredentials {
			k.serveClientGrant(w, r, form)
			return
		}
		token, problem := k.grant(withClientOf(r), form)
		if problem != nil {
			problem.ServeHTTP(w, r)
			return
		}
		writeToken(w, token)
	})
}

// serveEnrollment handles a form that starts to set up a second factor.
func (k *Kit) serveEnrollment(w http.ResponseWriter, r *http.Request, form url.Values) {
	if problem := require(form, "mfa_token", "mfa_method"); problem != nil {
		problem.ServeHTTP(w, r)
		return
	}
	data, err := k.EnrollChallenge(withClientOf(r), form.Get("mfa_token"), form.Get("mfa_method"))
	if err != nil {
		answerProblem(err).ServeHTTP(w, r)
		return
	}
	writeJSON(w, map[string]any{"mfa_enrollment": data})
}

// grant returns the token or the problem for a token request.
func (k *Kit) grant(ctx context.Context, form url.Values) (Token, *Problem) {
	switch grant := form.Get("grant_type"); {
	case grant == "" || grant == "password":
		return k.grantPassword(ctx, form)
	case grant == grantMFA && len(k.factors) > 0:
		return k.grantAnswer(ctx, form)
	case grant == "refresh_token" && k.sessions != nil:
		if problem := require(form, "refresh_token"); problem != nil {
			return Token{}, problem
		}
		token, err := k.Refresh(ctx, form.Get("refresh_token"))
		if err != nil {
			return Token{}, grantProblem(err, true)
		}
		return token, nil
	}
	return Token{}, oauthProblem(NewProblem(http.StatusBadRequest, "The grant type is not supported"), codeUnsupportedGrant)
}

// grantPassword handles a form with a username and a password.
func (k *Kit) grantPassword(ctx context.Context, form url.Values) (Token, *Problem) {
	if problem := require(form, "username", "password"); problem != nil {
		return Token{}, problem
	}
	token, err := k.Login(ctx, form.Get("username"), form.Get("password"))
	if err != nil {
		return Token{}, grantProblem(err, false)
	}
	return token, nil
}

// grantAnswer handles a form with the response to a second factor.
func (k *Kit) grantAnswer(ctx context.Context, form url.Values) (Token, *Problem) {
	if problem := require(form, "mfa_token", "mfa_method", "mfa_response"); problem != nil {
		return Token{}, problem
	}
	token, err := k.AnswerChallenge(ctx, form.Get("mfa_token"), form.Get("mfa_method"), form.Get("mfa_response"))
	if err != nil {
		return Token{}, answerProblem(err)
	}
	return token, nil
}

// answerProblem returns the response to a failed answer to a [ChallengeError].
func answerProblem(err error) *Problem {
	p := ProblemFor(err)
	if errors.Is(err, ErrInvalidCredentials) {
		p.Detail = "The response is wrong, or the login has expired"
	}
	return oauthProblem(p, oauthCode(err))
}

// grantProblem returns the response to a failed grant. Its Retry-After for a
// refresh is short, because the grace period is.
func grantProblem(err error, refresh bool) *Problem {
	p := oauthProblem(ProblemFor(err), oauthCode(err))
	if p.Status == http.StatusServiceUnavailable && refresh {
		p.RetryAfter = 1
	}
	return p
}

// writeToken writes the response of RFC 6749 section 5.1.
func writeToken(w http.ResponseWriter, token Token) {
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, token)
}

// writeJSON writes a JSON response with no-store.
func writeJSON(w http.ResponseWriter, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // an error means that the client is gone
}

// The error codes of RFC 6749 section 5.2, one of section 4.1.2.1 that fits, and that of RFC
// 7009.
const (
	codeInvalidRequest   = "invalid_request"
	codeInvalidGrant     = "invalid_grant"
	codeUnsupportedGrant = "unsupported_grant_type"
	codeUnsupportedToken = "unsupported_token_type"
	codeUnavailable      = "temporarily_unavailable"
	codeServerError      = "server_error"
)

func oauthCode(err error) string {
	if _, ok := errors.AsType[*ChallengeError](err); ok {
		return ProblemFor(err).Code
	}
	switch ProblemFor(err).Status {
	case http.StatusUnauthorized, http.StatusBadRequest:
		return codeInvalidGrant
	case http.StatusServiceUnavailable, http.StatusTooManyRequests: // no code that makes clients drop their tokens
		return codeUnavailable
	}
	return codeServerError
}

func oauthProblem(p Problem, code string) *Problem {
	p.Code, p.Description = code, p.Detail
	return &p
}

// readForm returns the form of a POST request, or the response to an invalid
// one: a parameter in the URL, or a duplicate.
func readForm(w http.ResponseWriter, r *http.Request, params []string) (url.Values, *Problem) {
	bad := func(status int, detail string) (url.Values, *Problem) {
		return nil, oauthProblem(NewProblem(status, detail), codeInvalidRequest)
	}
	if r.Method != http.MethodPost {
		return nil, methodNotAllowed(w, http.MethodPost)
	}
	query := r.URL.Query()
	for _, name := range params {
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
	for _, name := range params {
		if len(form[name]) > 1 {
			return bad(http.StatusBadRequest, "A parameter was given more than once")
		}
	}
	return form, nil
}

// methodNotAllowed returns the response to an unsupported method.
func methodNotAllowed(w http.ResponseWriter, allow string) *Problem {
	w.Header().Set("Allow", allow)
	return new(NewProblem(http.StatusMethodNotAllowed, "Method not allowed"))
}

// require returns the response to a form with a missing or empty field, or nil.
func require(form url.Values, fields ...string) *Problem {
	p := NewProblem(http.StatusUnprocessableEntity, "Send a form (application/x-www-form-urlencoded) with "+strings.Join(fields, " and "))
	for _, name := range fields {
		if form.Get(name) == "" {
			p.Errors = append(p.Errors, FieldError{Field: name, Message: "is required"})
		}
	}
	if p.Errors == nil {
		return nil
	}
	return oauthProblem(p, codeInvalidRequest)
}

var errFilePart = errors.New("authkit: a file in a form of text")

// parseForm parses the body of a request as a form of either encoding. A body
// of another type is an empty form. Unlike http.Request.ParseForm it ignores
// the query, and stores nothing on disk.
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
