package account

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/authkit-go/authkit"
)

// The paths of the pages, below that of [Config].BaseURL.
const (
	pageRegister = "/register"
	pageSignUp   = "/signup"
	pageReset    = "/reset"
	pagePassword = "/password"
	pageEmail    = "/email"
	pageConfirm  = "/confirm"
	pageUndo     = "/undo"
	pageCode     = "/code"
	pageLogin    = "/code/login"
	pageDelete   = "/delete"
	pageExport   = "/export"
)

const maxBody = 16 << 10

// A Page is a route of [Accounts.Pages].
type Page struct {
	Path    string // with the path of Config.BaseURL
	Policy  authkit.Policy
	Handler http.Handler
}

// Mount adds the pages to a Mux. It panics as [authkit.Mux.Handle] does.
//
// GET renders a form and changes nothing, so a program that follows the links
// in a mail does not use them up. POST takes the form and responds with a page,
// or takes a JSON object with the same names and responds with JSON. These are
// the paths, below that of [Config].BaseURL, with their fields:
//
//	/register    email                                      202
//	/signup      token password full_name and your fields   201, the account
//	/reset       email                                      202
//	/password    token password                             204
//	/email       current_password email                     202; for users who are logged in
//	/confirm     token                                      204; for users who are logged in
//	/undo        token password                             204
//	/delete      current_password                           204; for users who are logged in
//	/export      GET, all data of the user                  200; for users who are logged in
//	/code        email                                      202, the handle; with Config.CodeLogin
//	/code/login  handle code                                200, the tokens; with Config.CodeLogin
//
// The status is that of a JSON response. Errors in JSON are those of
// [authkit.ProblemFor]. Forms are refused with 403 if they come from another
// origin. With session cookies, a form of /code/login sets one and redirects
// (303) to "/". The log of a proxy shows the tokens of links that were opened but
// not used: let it leave out queries.
func (a *Accounts) Mount(mux *authkit.Mux) {
	for _, p := range a.Pages() {
		mux.Handle(p.Path, p.Policy, p.Handler)
	}
}

// Pages returns the routes of [Accounts.Mount], for a program that uses another
// router or leaves some of them out. Wrap each handler in [authkit.Kit.Require]
// with its policy.
func (a *Accounts) Pages() []Page {
	public, user := authkit.Public(), authkit.Authenticated()
	token := input{name: "token", hidden: true}
	email := input{name: "email", kind: "email", autocomplete: "email"}
	password := input{name: "password", kind: "password", autocomplete: "new-password"}
	current := input{name: "current_password", kind: "password", autocomplete: "current-password"}
	name := input{name: "full_name", kind: "text", autocomplete: "name", optional: true}
	pages := []Page{
		a.page("register", pageRegister, public, flow{inputs: []input{email}, status: http.StatusAccepted, do: func(r *request) error {
			return a.Register(r.ctx, r.values["email"])
		}}),
		a.page("signup", pageSignUp, public, flow{inputs: []input{token, name, password}, own: a.signUp.inputs(), status: http.StatusCreated, more: true, do: func(r *request) (err error) {
			r.result, err = a.SignUp(r.ctx, r.values["token"], NewAccount{Password: r.values["password"], FullName: r.values["full_name"], Fields: r.more})
			return err
		}}),
		a.page("reset", pageReset, public, flow{inputs: []input{email}, status: http.StatusAccepted, do: func(r *request) error {
			return a.RequestReset(r.ctx, r.values["email"])
		}}),
		a.page("password", pagePassword, public, flow{inputs: []input{token, password}, status: http.StatusNoContent, do: func(r *request) error {
			return a.ResetPassword(r.ctx, r.values["token"], r.values["password"])
		}}),
		a.page("email", pageEmail, user, flow{inputs: []input{current, email}, status: http.StatusAccepted, do: func(r *request) error {
			return a.ChangeEmail(r.ctx, r.userID, r.values["current_password"], r.values["email"])
		}}),
		a.page("confirm", pageConfirm, user, flow{inputs: []input{token}, status: http.StatusNoContent, do: func(r *request) error {
			return a.ConfirmEmail(r.ctx, r.userID, r.values["token"])
		}}),
		a.page("undo", pageUndo, public, flow{inputs: []input{token, password}, status: http.StatusNoContent, do: func(r *request) error {
			return a.UndoEmail(r.ctx, r.values["token"], r.values["password"])
		}}),
		a.page("delete", pageDelete, user, flow{inputs: []input{current}, status: http.StatusNoContent, do: func(r *request) error {
			return a.Delete(r.ctx, r.userID, r.values["current_password"])
		}}),
		{a.path + pageExport, user, http.HandlerFunc(a.export)},
	}
	if !a.codes {
		return pages
	}
	handle := input{name: "handle", hidden: true}
	code := input{name: "code", kind: "text", autocomplete: "one-time-code"}
	return append(pages,
		a.page("code", pageCode, public, flow{inputs: []input{email}, status: http.StatusAccepted, do: func(r *request) error {
			handle, err := a.RequestCode(r.ctx, r.values["email"])
			r.result = map[string]string{"handle": handle}
			r.values["handle"] = handle
			return err
		}, next: "login", nextPath: pageLogin, nextInputs: []input{handle, code}}),
		a.page("login", pageLogin, public, flow{inputs: []input{handle, code}, status: http.StatusOK, do: func(r *request) error {
			token, err := a.LoginWithCode(r.ctx, r.values["handle"], strings.TrimSpace(r.values["code"]))
			r.result, r.token = token, token
			return err
		}}),
	)
}

// An input is a field of a form.
type input struct {
	name, kind, autocomplete string
	hidden                   bool
	optional                 bool
}

// A flow is the form of a page and the function behind it.
type flow struct {
	inputs []input
	more   bool    // it takes the fields of the program too
	own    []input // those of them that a form shows
	status int
	do     func(*request) error

	next, nextPath string // the page after success, if it is another form
	nextInputs     []input
}

// A request is a POST that was parsed.
type request struct {
	ctx    context.Context
	userID string
	json   bool
	values map[string]string
	more   json.RawMessage
	result any
	token  authkit.Token
}

// page returns the route of a flow.
func (a *Accounts) page(name, path string, policy authkit.Policy, f flow) Page {
	sum := sha256.Sum256([]byte(a.texts.style))
	csp := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	return Page{a.path + path, policy, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", csp)
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			values := map[string]string{"token": tokenText(r.URL.Query().Get("token"))}
			a.form(w, r, http.StatusOK, name, path, f.shown(), values, nil)
		case http.MethodPost:
			a.post(w, r, name, path, f)
		default:
			h.Set("Allow", "GET, HEAD, POST")
			authkit.NewProblem(http.StatusMethodNotAllowed, "Method not allowed").ServeHTTP(w, r)
		}
	})}
}

var tokenForm = regexp.MustCompile(`^[A-Za-z0-9._-]{0,255}$`)

// tokenText returns a token as it was in a link, or "" for a text that is none.
func tokenText(token string) string { return tokenForm.FindString(token) }

// post reads a form or a JSON object and calls the function of the flow.
func (a *Accounts) post(w http.ResponseWriter, r *http.Request, name, path string, f flow) {
	q, problem := a.parse(w, r, f)
	if problem != nil {
		problem.ServeHTTP(w, r)
		return
	}
	err := f.do(q)
	if q.token.AccessToken != "" && !q.json && a.cookies {
		if err = a.kit.SetSessionCookie(w, r, q.token, false); err == nil {
			w.Header().Set("Location", "/")
			w.WriteHeader(http.StatusSeeOther)
			return
		}
	}
	if err == nil && path == pageConfirm {
		err = a.renew(w, r)
	}
	switch {
	case err != nil && q.json:
		authkit.ProblemFor(err).ServeHTTP(w, r)
	case err != nil:
		a.refuse(w, r, name, path, f, q, err)
	case q.json || q.token.AccessToken != "":
		answerJSON(w, f.status, q.result)
	case f.next != "":
		a.form(w, r, f.status, f.next, f.nextPath, f.nextInputs, q.values, nil)
	default:
		a.finished(w, r, f.status, name)
	}
}

// renew replaces the session cookie of a request whose user has another address
// now.
func (a *Accounts) renew(w http.ResponseWriter, r *http.Request) error {
	if p, _ := authkit.PrincipalFrom(r.Context()); p.Credential != "cookie" {
		return nil
	}
	if err := a.kit.RenewSessionCookie(w, r); !errors.Is(err, authkit.ErrInvalidRefreshToken) {
		return err
	}
	return nil // it was replaced already
}

// answerJSON writes the answer to a JSON object.
func answerJSON(w http.ResponseWriter, status int, result any) {
	if result == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(result) // a client that is gone cannot be told
}

// export answers with all data of the user.
func (a *Accounts) export(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		authkit.NewProblem(http.StatusMethodNotAllowed, "Method not allowed").ServeHTTP(w, r)
		return
	}
	p, _ := authkit.PrincipalFrom(r.Context())
	data, err := a.Export(r.Context(), p.UserID)
	if err != nil {
		authkit.ProblemFor(err).ServeHTTP(w, r)
		return
	}
	answerJSON(w, http.StatusOK, data)
}

// problem returns a pointer to the answer of a status.
func problem(status int, detail string) *authkit.Problem {
	return new(authkit.NewProblem(status, detail))
}

// parse reads the body of a POST.
func (a *Accounts) parse(w http.ResponseWriter, r *http.Request, f flow) (*request, *authkit.Problem) {
	p, _ := authkit.PrincipalFrom(r.Context())
	q := &request{ctx: WithLanguage(contextOf(r), r.Header.Get("Accept-Language")), userID: p.UserID, values: map[string]string{}}
	if r.URL.RawQuery != "" {
		return nil, problem(http.StatusBadRequest, "Parameters belong in the body, not in the URL")
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, new(authkit.ProblemFor(err))
		}
		return nil, problem(http.StatusBadRequest, "The body could not be read")
	}
	switch mediaType {
	case "application/json":
		q.json = true
		err = q.parseJSON(body, f)
	case "application/x-www-form-urlencoded":
		if err := new(http.CrossOriginProtection).Check(r); err != nil {
			return nil, problem(http.StatusForbidden, "The request comes from another origin")
		}
		err = q.parseForm(body, f, a.signUp.fields)
	default:
		return nil, problem(http.StatusUnsupportedMediaType, "Send a form or a JSON object")
	}
	if _, invalid := errors.AsType[*authkit.ValidationError](err); invalid {
		return nil, new(authkit.ProblemFor(err))
	} else if err != nil {
		return nil, problem(http.StatusBadRequest, "The body is not a form or a JSON object with each name once")
	}
	return q, nil
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

const foreignRule = "is not a field of this request"

// parseJSON reads an object. Names that the flow does not have are refused.
func (q *request) parseJSON(body []byte, f flow) error {
	names, err := members(body)
	if err != nil {
		return err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return err
	}
	more := map[string]any{}
	for _, name := range names {
		switch {
		case f.has(name):
			var text *string
			if err := json.Unmarshal(object[name], &text); err != nil || text == nil {
				return invalid(name, "must be a string")
			}
			q.values[name] = *text
		case f.more:
			more[name] = object[name]
		default:
			return invalid(clip(name), foreignRule)
		}
	}
	q.more, err = json.Marshal(more)
	return err
}

// shown returns the inputs that the page of a flow shows.
func (f flow) shown() []input { return slices.Concat(f.inputs, f.own) }

// has reports whether a form has an input.
func (f flow) has(name string) bool {
	return slices.ContainsFunc(f.inputs, func(i input) bool { return i.name == name })
}

// parseForm reads a form. Fields of the program become members of a JSON
// object, by the types that they have in Go.
func (q *request) parseForm(body []byte, f flow, fields map[string]reflect.Kind) error {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return err
	}
	more := map[string]any{}
	for name, values := range form {
		kind := fields[name]
		switch text := values[0]; {
		case len(values) != 1:
			return errMembers
		case f.has(name):
			q.values[name] = text
			continue
		case !f.more:
			return invalid(clip(name), foreignRule)
		case isNumber(kind) && text == "": // an input that was left empty
			continue
		case kind == reflect.Bool:
			more[name] = text == "on" || text == "true"
		case isNumber(kind) && json.Valid([]byte(text)):
			more[name] = json.RawMessage(text)
		default:
			more[name] = text
		}
		q.values[name] = values[0] // for the page, if the form is shown again
	}
	q.more, err = json.Marshal(more)
	return err
}

// pageData is the data of page.html.
type pageData struct {
	Language, Service string
	Title             string
	Text              string // before the form, or instead of it
	Error             string
	Action, Submit    string // no form if Submit is empty
	Hidden, Fields    []pageField
	Style             htmltemplate.CSS
}

type pageField struct {
	Name, Value, Label, Type, Autocomplete, Error string

	Required, Checked bool
}

// render writes a page.
func (a *Accounts) render(w http.ResponseWriter, status int, d pageData) {
	d.Service, d.Style = a.service, htmltemplate.CSS(a.texts.style)
	var page bytes.Buffer
	if err := a.texts.page.Execute(&page, d); err != nil {
		authkit.ProblemFor(fmt.Errorf("account: page.html: %w", err)).ServeHTTP(w, nil)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // a client that is gone cannot be told
}

// form renders the form of a page. The error, if any, is shown beside its
// fields.
func (a *Accounts) form(w http.ResponseWriter, r *http.Request, status int, name, path string, inputs []input, values map[string]string, err error) {
	tag := a.texts.pick(r.Header.Get("Accept-Language"))
	l := a.texts.languages[tag]
	text := l.Pages[name]
	d := pageData{Language: tag, Title: text.Title, Text: text.Intro, Submit: text.Submit, Action: a.path + path}
	wrong := map[string]string{}
	if v, ok := errors.AsType[*authkit.ValidationError](err); ok {
		d.Error = l.Errors["invalid"]
		for _, f := range v.Fields {
			wrong[f.Field] = f.Message
		}
	} else if err != nil {
		d.Error = authkit.ProblemFor(err).Detail
	}
	if errors.Is(err, authkit.ErrInvalidTicket) && inputs[0].name == "token" {
		d.Text, d.Submit = "", "" // the form could not be sent with success
	}
	for _, i := range inputs {
		f := pageField{Name: i.name, Value: values[i.name], Label: cmp.Or(l.Labels[i.name], i.name), Type: i.kind, Autocomplete: cmp.Or(i.autocomplete, "off"), Error: wrong[i.name], Required: !i.optional}
		switch i.kind {
		case "password":
			f.Value = ""
		case "checkbox":
			f.Value, f.Checked = "on", f.Value == "on"
		}
		if i.hidden {
			d.Hidden = append(d.Hidden, f)
		} else {
			d.Fields = append(d.Fields, f)
		}
	}
	a.render(w, status, d)
}

// finished renders the page after a form.
func (a *Accounts) finished(w http.ResponseWriter, r *http.Request, status int, name string) {
	tag := a.texts.pick(r.Header.Get("Accept-Language"))
	text := a.texts.languages[tag].Pages[name]
	if status == http.StatusNoContent {
		status = http.StatusOK
	}
	a.render(w, status, pageData{Language: tag, Title: text.Title, Text: text.Done})
}

// refuse renders a form again with an error, or asks for the second factor of a
// login.
func (a *Accounts) refuse(w http.ResponseWriter, r *http.Request, name, path string, f flow, q *request, err error) {
	p := authkit.ProblemFor(err)
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	c, challenged := errors.AsType[*authkit.ChallengeError](err)
	if !challenged || a.loginPath == "" {
		a.form(w, r, p.Status, name, path, f.shown(), q.values, err)
		return
	}
	a.askFactor(w, r, c)
}
