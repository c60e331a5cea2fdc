package oidclogin

import (
	"bytes"
	"errors"
	htmltemplate "html/template"
	"net/http"
	"strconv"

	"github.com/authkit-go/authkit"
)

// A PageKind is the kind of a [Page].
type PageKind string

// The kinds of pages.
const (
	PageFailed    PageKind = "failed"    // the login or the link failed
	PageCancelled PageKind = "cancelled" // the user has cancelled it at the provider
	PageExists    PageKind = "exists"    // see ErrAccountExists
	PageNoMailbox PageKind = "unproved"  // see ErrMailboxUnproved; there is no Mailer
	PageMailbox   PageKind = "mailbox"   // the user enters an address
	PageCode      PageKind = "code"      // the user enters the code that was sent
	PageFactor    PageKind = "factor"    // a second factor is missing, or must be set up; see Challenge
	PageContinue  PageKind = "continue"  // a step before the provider; see Link
)

// A Page is the content of a page, for [Config].Page. A function that renders
// Title, Text, Error, the form and the link serves every kind. All texts are for
// users. Escape them, as html/template does.
type Page struct {
	Status   int // of the response
	Kind     PageKind
	Provider string // the label; empty if it is not known

	Title, Text, Error string

	// Action is where the form of the page is sent, by POST, with the Hidden
	// fields and the Fields. There is no form if it is empty.
	Action, Submit string
	Hidden, Fields []PageField

	// Link is the next page. If Refresh is set, the browser goes there at once.
	Link, LinkText string
	Refresh        bool

	// Challenge is set for PageFactor.
	Challenge *authkit.ChallengeError
}

// A PageField is an input of a form.
type PageField struct {
	Name, Value, Label, Type, Autocomplete string
}

// continuePage leads to the provider.
func continuePage(p *provider, link string, refresh bool) Page {
	return Page{
		Status: http.StatusOK, Kind: PageContinue, Provider: p.Label, Title: "Continue with " + p.Label,
		Text: "You leave this site for " + p.Label + ".", Link: link, LinkText: "Continue", Refresh: refresh,
	}
}

// cancelledPage is for a user who did not give consent.
func (l *Logins) cancelledPage(p *provider, f flow) Page {
	page := Page{
		Status: http.StatusOK, Kind: PageCancelled, Provider: p.Label, Title: "Cancelled",
		Text: "You have cancelled at " + p.Label + ". Nothing has changed.", Link: l.loginPath, LinkText: "Back",
	}
	if f.UserID != "" {
		page.Link = f.Return
	}
	return page
}

// mailboxPage asks for an address.
func (l *Logins) mailboxPage(p *provider, status int, token, email, problem string) Page {
	return Page{
		Status: status, Kind: PageMailbox, Provider: p.Label, Title: "Your e-mail address", Error: problem,
		Text:   p.Label + " does not prove your e-mail address. Enter it, and we send you a code.",
		Action: l.path + "/mailbox", Submit: "Send the code", Hidden: []PageField{{Name: "pending", Value: token}},
		Fields: []PageField{{Name: "email", Value: email, Label: "E-mail", Type: "email", Autocomplete: "email"}},
	}
}

// codePage asks for the code of a mail.
func (l *Logins) codePage(p *provider, status int, handle, problem string) Page {
	page := Page{
		Status: status, Kind: PageCode, Title: "Enter the code", Error: problem, Text: "We have sent a code of six digits to the address.",
		Action: l.path + "/mailbox/code", Submit: "Continue", Hidden: []PageField{{Name: "handle", Value: handle}},
		Fields: []PageField{{Name: "code", Label: "Code", Type: "text", Autocomplete: "one-time-code"}},
	}
	if p != nil {
		page.Provider = p.Label
	}
	return page
}

// fail shows the page of an error.
func (l *Logins) fail(w http.ResponseWriter, r *http.Request, p *provider, f flow, err error) {
	problem := problemFor(err)
	page := Page{Status: problem.Status, Kind: PageFailed, Title: "That did not work", Text: problem.Detail + ".", Link: l.loginPath, LinkText: "Log in"}
	if p != nil {
		page.Provider = p.Label
	}
	switch {
	case errors.Is(err, ErrAccountExists):
		page.Kind, page.Title = PageExists, "You have an account already"
		page.Text = "An account with your e-mail address exists. Log in as before, and add " + page.Provider + " in your settings. If you have never set a password, reset it first."
	case errors.Is(err, ErrMailboxUnproved):
		page.Kind, page.Title = PageNoMailbox, "Sign up first"
		page.Text = page.Provider + " does not prove your e-mail address. Sign up with your address, log in, and add " + page.Provider + " in your settings."
	case errors.Is(err, authkit.ErrInvalidCredentials), errors.Is(err, authkit.ErrInvalidTicket):
		page.Text = "The login is not valid, or it took too long. Try again."
	}
	if c, ok := errors.AsType[*authkit.ChallengeError](err); ok {
		page = l.factorPage(page, c, f)
	} else if f.UserID != "" {
		page.Link, page.LinkText = f.Return, "Back"
	}
	if problem.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(problem.RetryAfter))
	}
	l.page(w, r, page)
}

// factorPage asks for the second factor of a login. The login page takes the
// form.
func (l *Logins) factorPage(page Page, c *authkit.ChallengeError, f flow) Page {
	page.Status, page.Kind, page.Title, page.Text = http.StatusOK, PageFactor, "Second factor", "Confirm that it is you."
	page.Link, page.LinkText, page.Challenge = "", "", c
	page.Action, page.Submit = l.loginPath, "Continue"
	page.Hidden = []PageField{{Name: "mfa_token", Value: c.Token}, {Name: "return", Value: f.Return}}
	method := PageField{Name: "mfa_method", Label: "Method", Type: "text", Autocomplete: "off"}
	if len(c.Methods) > 0 {
		method.Value = c.Methods[0]
	}
	if len(c.Methods) == 1 {
		page.Hidden = append(page.Hidden, method)
	} else {
		page.Fields = append(page.Fields, method)
	}
	if c.Enroll { // the login page shows the data for a response
		page.Title, page.Text = "Set up a second factor", "Your account needs a second factor."
		page.Hidden = append(page.Hidden, PageField{Name: "mfa_enroll", Value: "1"})
		return page
	}
	page.Fields = append(page.Fields, PageField{Name: "mfa_response", Label: "Response", Type: "text", Autocomplete: "one-time-code"})
	return page
}

var plainTemplate = htmltemplate.Must(htmltemplate.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
{{if .Refresh}}<meta http-equiv="refresh" content="0; url={{.Link}}">
{{end}}</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{if .Error}}<p role="alert">{{.Error}}</p>
{{end}}{{if .Action}}<form method="post" action="{{.Action}}">
{{range .Hidden}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">
{{end}}{{range .Fields}}<p><label>{{.Label}} <input name="{{.Name}}" value="{{.Value}}" type="{{.Type}}" autocomplete="{{.Autocomplete}}" required></label></p>
{{end}}<p><button type="submit">{{.Submit}}</button></p>
</form>
{{end}}{{if .Link}}<p><a href="{{.Link}}">{{.LinkText}}</a></p>
{{end}}</main>
</body>
</html>
`))

// plainPage renders a page without a style.
func (l *Logins) plainPage(w http.ResponseWriter, _ *http.Request, p Page) {
	var page bytes.Buffer
	if err := plainTemplate.Execute(&page, p); err != nil {
		http.Error(w, "Internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(p.Status)
	_, _ = w.Write(page.Bytes()) // a client that is gone cannot be told
}
