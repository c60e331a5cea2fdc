package oidclogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
)

const (
	ticketPerson = "oidclogin_person"
	ticketCode   = "oidclogin_code"

	mailTimeout = 20 * time.Second
)

// A pending is an identity that waits for the proof of a mailbox.
type pending struct {
	Provider string `json:"provider"`
	Browser  []byte `json:"browser"`
	Return   string `json:"return"`
	Person   person `json:"person"`
}

// putPending stores a pending identity, under a ticket that the caller made.
func (l *Logins) putPending(ctx context.Context, t authkit.Ticket, q pending) error {
	body, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("oidclogin: encoding a ticket: %w", err)
	}
	t.Body = body
	if err := l.kit.Tickets().PutTicket(ctx, t); err != nil {
		return l.storeFailed(ctx, err)
	}
	return nil
}

// openPending returns the pending identity of a ticket. It counts an attempt.
func (l *Logins) openPending(ctx context.Context, kind, token string, b browser) (authkit.Ticket, *provider, pending, error) {
	var q pending
	t, err := authkit.AttemptTicket(ctx, l.kit.Tickets(), kind, token)
	if err != nil {
		return t, nil, q, err
	}
	if err := json.Unmarshal(t.Body, &q); err != nil {
		return t, nil, q, fmt.Errorf("oidclogin: decoding a ticket: %w", err)
	}
	p, err := l.provider(q.Provider)
	if err != nil || !b.is(q.Browser) {
		return t, nil, pending{}, authkit.ErrInvalidTicket
	}
	return t, p, q, nil
}

// askMailbox shows a form for an address. It suggests the one that the provider
// has reported.
func (l *Logins) askMailbox(w http.ResponseWriter, r *http.Request, p *provider, b browser, f flow, who person) {
	newBrowser(w, r) // prolongs the cookie
	t, token := authkit.NewTicket(ticketPerson, "", flowLife)
	if err := l.putPending(r.Context(), t, pending{Provider: p.Name, Browser: b.hash(), Return: f.Return, Person: who}); err != nil {
		l.fail(w, r, p, f, err)
		return
	}
	l.page(w, r, l.mailboxPage(p, http.StatusOK, token, who.Email, ""))
}

// mailbox sends a code to an address. It does the same for every address, and
// looks up no account.
func (l *Logins) mailbox(w http.ResponseWriter, r *http.Request) {
	form, ok := l.ownForm(w, r)
	if !ok {
		return
	}
	ctx, token := r.Context(), form["pending"]
	_, p, q, err := l.openPending(ctx, ticketPerson, token, browserOf(r))
	if errors.Is(err, authkit.ErrUnavailable) { // here is no login that tells of it
		l.reportStore(ctx, err)
	}
	if err != nil {
		l.fail(w, r, p, flow{}, err)
		return
	}
	email, err := authkit.NormalizeEmail(form["email"])
	if err != nil {
		l.page(w, r, l.mailboxPage(p, http.StatusUnprocessableEntity, token, form["email"], "This is no e-mail address."))
		return
	}
	q.Person.Email = email
	newBrowser(w, r)
	t, code := authkit.NewCodeTicket(ticketCode, "", flowLife)
	err = l.kit.Admit(ctx, authkit.Attempt{Action: authkit.ActionReset, Account: email}, func(ctx context.Context) error {
		if err := l.putPending(ctx, t, q); err != nil {
			return err
		}
		return l.send(ctx, account.Message{
			To: email, Subject: "Your code for " + l.service,
			Text: "Your code for " + l.service + " is\n\n" + code + "\n\nEnter it where you asked for it, within ten minutes. If you did not ask for it, ignore this mail.\n",
		})
	})
	if err != nil {
		l.fail(w, r, p, flow{Return: q.Return}, err)
		return
	}
	l.page(w, r, l.codePage(p, http.StatusOK, t.ID, ""))
}

// mailboxCode creates the account of an identity whose user has proved a
// mailbox.
func (l *Logins) mailboxCode(w http.ResponseWriter, r *http.Request) {
	form, ok := l.ownForm(w, r)
	if !ok {
		return
	}
	var p *provider
	var f flow
	token, err := l.kit.LoginWith(r.Context(), authkit.Attempt{Action: authkit.ActionCode}, func(ctx context.Context) (authkit.Proof, error) {
		t, of, q, err := l.openPending(ctx, ticketCode, form["handle"]+"."+strings.TrimSpace(form["code"]), browserOf(r))
		if err != nil {
			return authkit.Proof{}, err
		}
		p, f.Return = of, q.Return
		switch err := l.kit.Tickets().ConsumeTicket(ctx, t.Kind, t.ID, now()); {
		case errors.Is(err, authkit.ErrTicketNotFound):
			return authkit.Proof{}, authkit.ErrInvalidTicket
		case err != nil:
			return authkit.Proof{}, l.storeFailed(ctx, err)
		}
		// The user has proved the mailbox here, so the address counts for a new
		// account. It links to no account that exists.
		q.Person.Verified = true
		return l.proof(ctx, of, EmailVerified, q.Person)
	})
	switch {
	case errors.Is(err, authkit.ErrInvalidTicket) && form["handle"] != "":
		l.page(w, r, l.codePage(p, http.StatusBadRequest, form["handle"], "The code is not valid."))
		return
	case err == nil:
		err = l.kit.SetSessionCookie(w, r, token, false)
	}
	l.finish(w, r, p, f, err)
}

// ownForm reads a form of a page of this package. If that fails, it responds.
func (l *Logins) ownForm(w http.ResponseWriter, r *http.Request) (map[string]string, bool) {
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		authkit.NewProblem(http.StatusForbidden, "The request comes from another origin").ServeHTTP(w, r)
		return nil, false
	}
	values, ok := l.form(w, r, nil)
	form := map[string]string{}
	for name := range values {
		form[name] = values.Get(name)
	}
	return form, ok
}

// send sends a mail.
func (l *Logins) send(ctx context.Context, m account.Message) error {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	err := l.mailer.Send(ctx, m)
	if err == nil || errors.Is(err, account.ErrMailRejected) { // a rejection must not show
		return nil
	}
	l.kit.Emit(ctx, authkit.Event{Kind: authkit.EventMailFailure, Reason: authkit.ReasonInternal, Err: err})
	return fmt.Errorf("oidclogin: %w: the mail server", authkit.ErrUnavailable)
}

// notify notifies a user by mail that an identity was added or removed. The
// change is made, so an error does not undo it.
func (l *Logins) notify(ctx context.Context, userID, verb, label string) {
	if l.mailer == nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // also if the client has left
	u, _ := l.kit.User(ctx, userID)
	if u.EmailVerifiedAt.IsZero() { // also after an error; the mailbox may be that of another person
		return
	}
	_ = l.send(ctx, account.Message{
		To: u.Email, Subject: "A login was " + verb,
		Text: "The login with " + label + " was " + verb + " at your account at " + l.service + ".\n\nIf that was not you, reset your password at once.\n",
	})
}
