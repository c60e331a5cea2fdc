package passkey

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// changeFresh is how old a login may be that adds or deletes a passkey.
const changeFresh = 5 * time.Minute

// A Route is a route of [Passkeys.Routes].
type Route struct {
	Pattern string // for http.ServeMux
	Policy  authkit.Policy
	Handler http.Handler
}

// Mount adds the routes to a Mux, below a path such as "/passkeys". It panics as
// [authkit.Mux.Handle] does. Requests and responses are JSON. CREDENTIAL is the
// result of PublicKeyCredential.toJSON.
//
//	POST   /login/options     none         200, Options of a login
//	POST   /login             CREDENTIAL   200, the tokens
//	POST   /login/cookie      CREDENTIAL   204, and the session cookie
//	POST   /factor/options    none         200, Options for mfa_response
//	GET    /                  none         200, {"passkeys": [...], "accepted": {...}}
//	POST   /register/options  none         200, Options of a registration
//	POST   /register          CREDENTIAL   201, {"passkey": {...}, "accepted": {...}}
//	PATCH  /{id}              {"name"}     204
//	DELETE /{id}              none         200, {"accepted": {...}}
//
// The first four are public. The others are for users who are logged in; those
// that add or delete a passkey require a login of the last five minutes. The
// route of the cookie exists if the Kit has session cookies; requests of other
// origins are refused there. "accepted" is the argument of
// signalAllAcceptedCredentials. It is missing if the user never registered a
// passkey. Errors are those of [authkit.ProblemFor]. That of an
// [UnknownCredentialError] has the member "unknown_credential" with the argument
// of signalUnknownCredential.
func (p *Passkeys) Mount(mux *authkit.Mux, path string) {
	for _, r := range p.Routes(path) {
		mux.Handle(r.Pattern, r.Policy, r.Handler)
	}
}

// Routes returns the routes of [Passkeys.Mount], for a program that uses another
// router or leaves some of them out. Wrap each handler in [authkit.Kit.Require]
// with its policy.
func (p *Passkeys) Routes(path string) []Route {
	path = strings.TrimSuffix(path, "/")
	public, user := authkit.Public(), authkit.Authenticated()
	fresh := user.Fresh(changeFresh)
	routes := []Route{
		{"POST " + path + "/login/options", public, p.respond(p.serveLoginOptions)},
		{"POST " + path + "/login", public, p.respond(p.serveLogin)},
		{"POST " + path + "/factor/options", public, p.respond(p.serveFactorOptions)},
		{"GET " + path, user, p.respond(p.serveList)},
		{"POST " + path + "/register/options", fresh, p.respond(p.serveRegisterOptions)},
		{"POST " + path + "/register", fresh, p.respond(p.serveRegister)},
		{"PATCH " + path + "/{id}", user, p.respond(p.serveRename)},
		{"DELETE " + path + "/{id}", fresh, p.respond(p.serveDelete)},
	}
	if p.kit.Settings().Sessions.Cookies != nil {
		routes = append(routes, Route{"POST " + path + "/login/cookie", public, p.respond(p.serveCookie)})
	}
	return routes
}

// A request is a request of which the body was not read.
type request struct {
	*http.Request
	w http.ResponseWriter
}

// userID returns the user of the request.
func (r request) userID() string {
	who, _ := authkit.PrincipalFrom(r.Context())
	return who.UserID
}

// errBody is for a body that is not the JSON object of the route.
var errBody = errors.New("passkey: the body is not a JSON object")

// errMediaType is for a body that is not JSON.
var errMediaType = errors.New("passkey: the body is not JSON")

// errCrossOrigin is for a request of another origin.
var errCrossOrigin = errors.New("passkey: the request comes from another origin")

// body returns the JSON object of a request.
func (r request) body() ([]byte, error) {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType != "application/json" {
		return nil, errMediaType
	}
	body, err := io.ReadAll(http.MaxBytesReader(r.w, r.Body, maxResponse))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, err
	}
	if body = bytes.TrimSpace(body); err != nil || len(body) == 0 || body[0] != '{' {
		return nil, errBody
	}
	return body, nil
}

// An answer is the response to a request.
type answer struct {
	status int
	value  any // nil for a response without a body
}

// respond returns the handler of a route.
func (p *Passkeys) respond(serve func(request) (answer, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := serve(request{r.WithContext(contextOf(r)), w})
		if err != nil {
			refuse(w, r, err)
			return
		}
		write(w, "application/json", a)
	})
}

// write writes a response.
func write(w http.ResponseWriter, mediaType string, a answer) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if a.value == nil {
		w.WriteHeader(a.status)
		return
	}
	h.Set("Content-Type", mediaType)
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.value) // an error means that the client is gone
}

// refuse responds with an error.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	unavailable := errors.Is(err, authkit.ErrUnavailable)
	unknown, isUnknown := errors.AsType[*UnknownCredentialError](err)
	problem := authkit.ProblemFor(err)
	switch {
	case unavailable:
	case errors.Is(err, errMediaType):
		problem = authkit.NewProblem(http.StatusUnsupportedMediaType, "The body must be application/json")
	case errors.Is(err, errBody):
		problem = authkit.NewProblem(http.StatusBadRequest, "The body is not the JSON object of this route")
	case errors.Is(err, errCrossOrigin):
		problem = authkit.NewProblem(http.StatusForbidden, "The request comes from another origin")
	case errors.Is(err, ErrNotFound):
		problem = authkit.NewProblem(http.StatusNotFound, "Passkey not found")
	case errors.Is(err, ErrTooMany):
		problem = authkit.NewProblem(http.StatusConflict, "An account can have 20 passkeys")
	case errors.Is(err, ErrExists):
		problem = authkit.NewProblem(http.StatusConflict, "The passkey is registered already")
	case errors.Is(err, authkit.ErrInvalidCode):
		problem.Detail = "The passkey could not be registered"
	case errors.Is(err, authkit.ErrInvalidCredentials):
		problem.Detail = "The passkey was not accepted"
	}
	if !isUnknown {
		problem.ServeHTTP(w, r)
		return
	}
	w.Header().Set("WWW-Authenticate", problem.Challenge)
	write(w, "application/problem+json", answer{problem.Status, struct {
		authkit.Problem
		Unknown *UnknownCredentialError `json:"unknown_credential"`
	}{problem, unknown}})
}

// contextOf returns the context of a request, with the client that sent it.
func contextOf(r *http.Request) context.Context {
	ctx := r.Context()
	if authkit.ClientFrom(ctx) != (authkit.ClientInfo{}) {
		return ctx
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	return authkit.WithClient(ctx, authkit.ClientInfo{Address: address, Device: r.UserAgent()})
}

func (p *Passkeys) serveLoginOptions(r request) (answer, error) {
	o, err := p.BeginLogin(r.Context())
	return answer{http.StatusOK, o}, err
}

func (p *Passkeys) serveFactorOptions(r request) (answer, error) {
	o, err := p.BeginFactor(r.Context())
	return answer{http.StatusOK, o}, err
}

func (p *Passkeys) serveLogin(r request) (answer, error) {
	body, err := r.body()
	if err != nil {
		return answer{}, err
	}
	token, err := p.Login(r.Context(), body)
	return answer{http.StatusOK, token}, err
}

func (p *Passkeys) serveCookie(r request) (answer, error) {
	if new(http.CrossOriginProtection).Check(r.Request) != nil {
		return answer{}, errCrossOrigin
	}
	body, err := r.body()
	if err != nil {
		return answer{}, err
	}
	token, err := p.Login(r.Context(), body)
	if err == nil {
		err = p.kit.SetSessionCookie(r.w, r.Request, token, false)
	}
	return answer{http.StatusNoContent, nil}, err
}

// listed is the response with the passkeys of a user.
type listed struct {
	Passkeys []Passkey            `json:"passkeys"`
	Accepted *AcceptedCredentials `json:"accepted,omitempty"`
}

func (p *Passkeys) serveList(r request) (answer, error) {
	list, err := p.List(r.Context(), r.userID())
	if err != nil {
		return answer{}, err
	}
	l := listed{Passkeys: append([]Passkey{}, list...)}
	if a, err := p.Accepted(r.Context(), r.userID()); err == nil {
		l.Accepted = &a
	} else if !errors.Is(err, ErrNotFound) {
		return answer{}, err
	}
	return answer{http.StatusOK, l}, nil
}

func (p *Passkeys) serveRegisterOptions(r request) (answer, error) {
	o, err := p.BeginRegistration(r.Context(), r.userID())
	return answer{http.StatusOK, o}, err
}

func (p *Passkeys) serveRegister(r request) (answer, error) {
	body, err := r.body()
	if err != nil {
		return answer{}, err
	}
	k, err := p.FinishRegistration(r.Context(), r.userID(), body)
	return answer{http.StatusCreated, k}, err
}

func (p *Passkeys) serveRename(r request) (answer, error) {
	body, err := r.body()
	if err != nil {
		return answer{}, err
	}
	var change struct {
		Name string `json:"name"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if d.Decode(&change) != nil || d.More() {
		return answer{}, errBody
	}
	return answer{http.StatusNoContent, nil}, p.Rename(r.Context(), r.userID(), r.PathValue("id"), change.Name)
}

func (p *Passkeys) serveDelete(r request) (answer, error) {
	a, err := p.Delete(r.Context(), r.userID(), r.PathValue("id"))
	return answer{http.StatusOK, struct {
		Accepted AcceptedCredentials `json:"accepted"`
	}{a}}, err
}
