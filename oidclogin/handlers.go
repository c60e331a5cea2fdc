package oidclogin

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	maxBody   = 32 << 10
	maxReturn = 2048
	maxMaxAge = 24 * time.Hour

	// linkFresh is the maximum age of the login of a user who links or unlinks.
	linkFresh = 5 * time.Minute
)

// A Route is a route of [Logins.Routes].
type Route struct {
	Pattern string // with a method and the path of Config.BaseURL
	Policy  authkit.Policy
	Handler http.Handler
}

// Mount adds the routes to a Mux. It panics as [authkit.Mux.Handle] does. These
// are the routes, below the path of [Config].BaseURL:
//
//	GET    /NAME                    to the provider, for a login; return, max_age
//	GET    /NAME/callback           the redirect URI
//	POST   /NAME/callback           the same, for Apple
//	POST   /NAME/link               to the provider, to link an identity; return
//	GET    /identities              the user's identities, as JSON
//	POST   /identities/{id}/unlink  removes one, from a form; return
//	DELETE /identities/{id}         removes one; 204
//	POST   /mailbox, /mailbox/code  proof of a mailbox, with Config.Mailer
//
// The parameter return is a path of this site, to which the browser goes
// afterwards. The parameter max_age is in seconds: the provider authenticates
// users again whose last authentication is older. Linking and unlinking need a login within the
// last five minutes. The other routes are public or, for the list, for users who
// are logged in.
func (l *Logins) Mount(mux *authkit.Mux) {
	for _, r := range l.Routes() {
		mux.Handle(r.Pattern, r.Policy, r.Handler)
	}
}

// Routes returns the routes of [Logins.Mount], for a program that uses another
// router. Wrap each handler in [authkit.Kit.Require] with its policy.
func (l *Logins) Routes() []Route {
	public, user := authkit.Public(), authkit.Authenticated()
	fresh := user.Fresh(linkFresh)
	list := l.path + "/identities"
	routes := []Route{
		{"GET " + list, user, l.handler(l.list)},
		{"POST " + list + "/{id}/unlink", fresh, l.handler(l.unlinkForm)},
		{"DELETE " + list + "/{id}", fresh, l.handler(l.unlink)},
	}
	for _, p := range l.providers {
		path := l.path + "/" + p.Name
		of := func(f func(http.ResponseWriter, *http.Request, *provider)) http.Handler {
			return l.handler(func(w http.ResponseWriter, r *http.Request) { f(w, r, p) })
		}
		routes = append(routes,
			Route{"GET " + path, public, of(l.start)},
			Route{"GET " + path + "/callback", public, of(l.callback)},
			Route{"POST " + path + "/link", fresh, of(l.startLink)},
		)
		if p.formPost {
			routes = append(routes, Route{"POST " + path + "/callback", public, of(l.callbackForm)})
		}
	}
	if l.mailer != nil {
		routes = append(routes,
			Route{"POST " + l.path + "/mailbox", public, l.handler(l.mailbox)},
			Route{"POST " + l.path + "/mailbox/code", public, l.handler(l.mailboxCode)})
	}
	return routes
}

// handler sets the headers of all responses, and the client of the request.
func (l *Logins) handler(f http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		f(w, r.WithContext(contextOf(r)))
	})
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

// returnPath returns the path to go to after a login, which is not the login
// page.
func (l *Logins) returnPath(text string) string {
	local := localPath(text)
	if path, _, _ := strings.Cut(local, "?"); path == l.loginPath {
		return "/"
	}
	return local
}

// start redirects to the provider. A page of another site must not log a browser
// in, so a request from there needs a click.
func (l *Logins) start(w http.ResponseWriter, r *http.Request, p *provider) {
	query := r.URL.Query()
	f := flow{Return: l.returnPath(query.Get("return"))}
	if text := query.Get("max_age"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds < 1 || seconds > int64(maxMaxAge/time.Second) {
			l.fail(w, r, p, f, authkit.ErrInvalidTicket)
			return
		}
		f.MaxAge = time.Duration(seconds) * time.Second
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		again := url.Values{"return": {f.Return}}
		if f.MaxAge > 0 {
			again.Set("max_age", query.Get("max_age"))
		}
		l.page(w, r, continuePage(p, l.path+"/"+p.Name+"?"+again.Encode(), false))
		return
	}
	location, err := l.begin(r.Context(), p, newBrowser(w, r), f)
	if err != nil {
		l.fail(w, r, p, f, err)
		return
	}
	seeOther(w, location)
}

// startLink sends a user who is logged in to the provider. The response is a
// page with an immediate refresh, and no redirect: the Content-Security-Policy
// of the page with the form can forbid redirects to another site.
func (l *Logins) startLink(w http.ResponseWriter, r *http.Request, p *provider) {
	form, ok := l.form(w, r, p)
	if !ok {
		return
	}
	f := flow{Return: localPath(form.Get("return"))}
	who, _ := authkit.PrincipalFrom(r.Context())
	err := l.kit.RequireSelf(r.Context(), who.UserID)
	if who.SessionID == "" {
		err = authkit.ErrForbidden
	}
	location := ""
	if err == nil {
		f.UserID, f.SessionID = who.UserID, who.SessionID
		location, err = l.begin(r.Context(), p, newBrowser(w, r), f)
	}
	if err != nil {
		l.fail(w, r, p, f, err)
		return
	}
	l.page(w, r, continuePage(p, location, true))
}

// callback completes a flow.
func (l *Logins) callback(w http.ResponseWriter, r *http.Request, p *provider) {
	ctx, b, query := r.Context(), browserOf(r), r.URL.Query()
	a, err := parseAnswer(query)
	var f flow
	var m *metadata
	if err == nil {
		f, m, err = l.open(ctx, p, b, a)
	}
	if errors.Is(err, errCancelled) {
		l.page(w, r, l.cancelledPage(p, f))
		return
	}
	if f.UserID != "" {
		if err == nil {
			err = l.finishLink(r, p, m, b, a, f)
		}
		l.finish(w, r, p, f, err)
		return
	}
	token, who, err := l.logIn(ctx, p, authkit.ActionLogin, func(ctx context.Context) (person, error) {
		if err != nil {
			return person{}, err
		}
		who, err := l.identify(ctx, p, m, b, a, f)
		if err == nil && who.Name == "" {
			who.Name = l.postedName(ctx, query.Get("user"))
		}
		return who, err
	})
	if errors.Is(err, ErrMailboxUnproved) && l.mailer != nil {
		l.askMailbox(w, r, p, b, f, who)
		return
	}
	if err == nil {
		err = l.kit.SetSessionCookie(w, r, token, false)
	}
	l.finish(w, r, p, f, err)
}

// finishLink links the identity of an answer, in the session that began it
// (OA-14).
func (l *Logins) finishLink(r *http.Request, p *provider, m *metadata, b browser, a answer, f flow) error {
	ctx, who, err := l.kit.Identify(r)
	if err != nil {
		return err
	}
	if who.UserID != f.UserID || who.SessionID != f.SessionID {
		return authkit.ErrForbidden
	}
	found, err := l.identify(ctx, p, m, b, a, f)
	if err != nil {
		return err
	}
	return l.link(ctx, p, who.UserID, found)
}

// finish redirects to the page that the user came from, or shows an error.
func (l *Logins) finish(w http.ResponseWriter, r *http.Request, p *provider, f flow, err error) {
	if err != nil {
		l.fail(w, r, p, f, err)
		return
	}
	seeOther(w, f.Return)
}

// callbackForm answers the POST of a provider with the GET form of the same
// callback (OA-11). No cookie arrives with a POST from another site, so it
// changes nothing.
func (l *Logins) callbackForm(w http.ResponseWriter, r *http.Request, p *provider) {
	form, ok := l.form(w, r, p)
	if !ok {
		return
	}
	if _, err := parseAnswer(form); err != nil {
		l.fail(w, r, p, flow{}, err)
		return
	}
	query := url.Values{}
	for _, name := range answerParams {
		if form.Has(name) {
			query.Set(name, form.Get(name))
		}
	}
	token, err := l.putName(r.Context(), form.Get("user"))
	if err != nil {
		l.fail(w, r, p, flow{}, err)
		return
	}
	if token != "" {
		query.Set("user", token)
	}
	seeOther(w, p.redirect+"?"+query.Encode())
}

// list responds with the identities of the user.
func (l *Logins) list(w http.ResponseWriter, r *http.Request) {
	who, _ := authkit.PrincipalFrom(r.Context())
	list, err := l.Identities(r.Context(), who.UserID)
	if err != nil {
		problemFor(err).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(append([]Identity{}, list...)) // a client that is gone cannot be told
}

// unlink removes an identity of the user.
func (l *Logins) unlink(w http.ResponseWriter, r *http.Request) {
	who, _ := authkit.PrincipalFrom(r.Context())
	if err := l.Unlink(r.Context(), who.UserID, r.PathValue("id")); err != nil {
		problemFor(err).ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// unlinkForm is unlink for a form.
func (l *Logins) unlinkForm(w http.ResponseWriter, r *http.Request) {
	form, ok := l.form(w, r, nil)
	if !ok {
		return
	}
	who, _ := authkit.PrincipalFrom(r.Context())
	f := flow{Return: localPath(form.Get("return"))}
	l.finish(w, r, nil, f, l.Unlink(r.Context(), who.UserID, r.PathValue("id")))
}

// form reads the form of a POST. If that fails, it responds.
func (l *Logins) form(w http.ResponseWriter, r *http.Request, p *provider) (url.Values, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		l.fail(w, r, p, flow{}, errAnswer)
		return nil, false
	}
	return r.PostForm, true
}

// problemFor returns the response to an error.
func problemFor(err error) authkit.Problem {
	switch {
	case errors.Is(err, ErrNoIdentity):
		return authkit.NewProblem(http.StatusNotFound, "Identity not found")
	case errors.Is(err, ErrLastLogin):
		return authkit.NewProblem(http.StatusConflict, "The last way to log in stays")
	case errors.Is(err, ErrIdentityTaken):
		return authkit.NewProblem(http.StatusConflict, "The identity belongs to another account")
	case errors.Is(err, ErrAccountExists):
		return authkit.NewProblem(http.StatusConflict, "An account with this e-mail address exists")
	case errors.Is(err, ErrMailboxUnproved):
		return authkit.NewProblem(http.StatusConflict, "The provider proves no e-mail address")
	}
	return authkit.ProblemFor(err)
}

func seeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

// localPath returns a path of this site with its query, or "/" for any other
// text (OA-07). Browsers read two slashes, and backslashes, as the beginning of
// another site's address. They must not be in the path, escaped or not.
func localPath(text string) string {
	if !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || len(text) > maxReturn || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return "/"
	}
	u, err := url.Parse(text)
	if err != nil || strings.Contains(u.Path, "//") { // without a host, because of the slash in front
		return "/"
	}
	if strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return "/"
	}
	return text
}
