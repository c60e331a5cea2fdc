// Package account lets strangers sign up, lets users reset their password and
// change their e-mail address, and lets administrators invite users. It sends
// the mails for all of that.
//
//	accounts, err := account.New(kit, account.Config{
//		BaseURL: "https://example.com/account",
//		Key:     key,
//		Mailer:  mailer,
//	})
//	...
//	accounts.Mount(mux)
//	go accounts.Run(ctx)
//
// Each flow is a method, such as [Accounts.Register]. [Accounts.Mount] adds
// pages for browsers that call the methods, and that take JSON as well.
//
// # Who has an account
//
// No response reveals whether an address has an account. A method that takes an
// address from a stranger does not look up the account. It stores a job for
// every address. [Accounts.Run] later looks up the account and decides which
// mail to send. Only a reader of the mailbox sees the result.
//
// # Signing up
//
// Register takes only an address, and mails a link to it. [Accounts.SignUp]
// creates the account when the link is used: it takes the password, the name
// and the fields of your program. So only a reader of the mailbox can create
// the account. A stranger cannot create one for the address of another person,
// or block that address.
//
// # Proof of a mailbox
//
// If a program or an administrator created the account, another person may have
// used it before its address was verified. The first user who proves to read
// the mailbox therefore gets it without the old password, sessions and second
// factors; see [authkit.Kit.ResetUser].
//
// A link works once. It is void after a newer link of its kind. A link to choose
// a password is also void after a change to the account, and while the user has
// a session that is newer than the link. A reset does not log in, and removes no
// second factor of an account whose address was verified before. Locked and
// disabled accounts are refused.
//
// # Mails
//
// Mails wait in an outbox, encrypted, and are deleted when the [Mailer] has
// accepted them. A mail is sent again if the program stops between the two.
// Strangers can cause 3 mails an hour and 10 a day to a mailbox; addresses that
// differ only in a tag, such as ann+shop@example.com, are one mailbox. Set
// authkit.Config.Throttle too: it limits how many jobs a client can store.
package account

import (
	"context"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

// Config configures [Accounts]. BaseURL, Key and Mailer are required.
type Config struct {
	// BaseURL is the address of the pages of [Accounts.Mount], such as
	// "https://example.com/account". Links in mails begin with it. No part of a
	// request enters a link. It is an https URL, or an http URL of a loopback
	// address.
	BaseURL string

	// Key encrypts the outbox: 32 or more random bytes that nothing else uses,
	// the same in every instance. A job that was stored under another key waits
	// until it expires, and counts of mails begin anew.
	Key []byte

	// Mailer sends the mails.
	Mailer Mailer

	// Store keeps the outbox, the counts of mails and the times of changes of
	// addresses. If nil, it is a new [MemoryStore], which loses all of them when
	// the program ends: an address can then be changed again before seven days
	// have passed. Package accountsql has another Store. With the database of
	// the accounts it is part of their transactions.
	Store Store

	// Service is the name of your service, for mails and pages. If empty, it is
	// the host of BaseURL.
	Service string

	// Roles are the roles of accounts that sign up.
	Roles []string

	// SignUp receives the fields of your program when an account signs up. Make
	// it with [OnSignUp]. If it is zero, a sign-up with other fields is
	// refused.
	SignUp SignUpHook

	// CodeLogin turns on logins with a code that is sent by e-mail.
	CodeLogin bool

	// Templates, if not nil, holds files that replace those of this package:
	// page.html, mail.html, style.css and texts.en.json. Each further file such
	// as texts.de.json adds a language. See [DefaultTemplates].
	Templates fs.FS
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging a Config does not reveal its key.
func (Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("account.Config{[redacted]}")) }

// LogValue implements slog.LogValuer. It returns a fixed text.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Accounts are the flows of accounts. Make one with [New]. It is safe for
// concurrent use.
type Accounts struct {
	kit       *authkit.Kit
	store     Store
	mailer    Mailer
	base      string
	path      string // of base
	service   string
	roles     []string
	signUp    SignUpHook
	codes     bool
	sessions  bool   // the Kit has sessions
	cookies   bool   // session cookies are on
	loginPath string // of their login page; may be empty
	box       cipher.AEAD
	macKey    []byte
	texts     *texts
	wake      chan struct{}
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging Accounts does not reveal their keys.
func (*Accounts) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("account.Accounts{[redacted]}")) }

// The kinds of tickets.
const (
	ticketSignUp = "account_signup"
	ticketReset  = "account_reset"
	ticketEmail  = "account_email"
	ticketUndo   = "account_undo"
	ticketCode   = "account_code"
)

const (
	signUpLife = 24 * time.Hour
	resetLife  = time.Hour
	emailLife  = time.Hour
	inviteLife = 7 * 24 * time.Hour
	undoLife   = 7 * 24 * time.Hour
	codeLife   = 10 * time.Minute
	noticeLife = 7 * 24 * time.Hour
	askLife    = 24 * time.Hour

	// linkAttempts are the attempts of a link, which no one can guess. Its user
	// may send several passwords that are refused.
	linkAttempts = 100

	systemName = "account"
)

// New returns Accounts for the users of a Kit, or an error that joins all
// problems of cfg. The Kit needs [authkit.Config].Users with transactions and
// tickets, as MemoryStore and sqlstore.DB have.
func New(kit *authkit.Kit, cfg Config) (*Accounts, error) {
	var errs []error
	problem := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("account: Config.%s: %w", field, err))
		}
	}
	if kit == nil {
		return nil, errors.New("account: the Kit is nil")
	}
	settings := kit.Settings()
	if _, ok := settings.Users.(authkit.Transactor); !ok || kit.Tickets() == nil {
		errs = append(errs, errors.New("account: the Kit has no transactions or no tickets; set authkit.Config.Users to a store that has both"))
	}
	base, err := checkBase(cfg.BaseURL)
	problem("BaseURL", err)
	box, macKey, err := keysOf(cfg.Key)
	problem("Key", err)
	if cfg.Mailer == nil {
		problem("Mailer", errors.New("is nil; set one that sends mail"))
	}
	if s, ok := cfg.Store.(*MemoryStore); ok && (s == nil || s.jobs == nil) {
		problem("Store", errors.New("an empty MemoryStore; make it with NewMemoryStore"))
	}
	problem("Roles", checkRoles(kit, cfg.Roles))
	if cfg.Service == "" && base != nil {
		cfg.Service = base.Hostname()
	}
	if displayName(cfg.Service) != cfg.Service {
		problem("Service", fmt.Errorf("use at most %d characters that print", maxNameRunes))
	}
	texts, err := loadTexts(cfg.Templates)
	problem("Templates", err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	a := &Accounts{
		kit: kit, store: timedStoreOf(cfg.Store, settings.StoreTimeout), mailer: cfg.Mailer, base: base.String(), path: base.Path, service: cfg.Service,
		roles: append([]string(nil), cfg.Roles...), signUp: cfg.SignUp, codes: cfg.CodeLogin, sessions: settings.Sessions.Store != nil, box: box, macKey: macKey, texts: texts,
		wake: make(chan struct{}, 1),
	}
	if c := settings.Sessions.Cookies; c != nil {
		a.cookies, a.loginPath = true, c.LoginPath
	}
	return a, nil
}

// checkBase returns a base URL without a slash at its end.
func checkBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	host := u.Hostname()
	loopback := host == "localhost" || net.ParseIP(host).IsLoopback()
	if host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return nil, fmt.Errorf("%q; use an https URL such as https://example.com/account, or http with a loopback address", text)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.EscapedPath() != u.Path {
		return nil, fmt.Errorf("%q; use a URL of a scheme, a host and a plain path", text)
	}
	return u, nil
}

// checkRoles returns why new accounts cannot have the roles, or nil.
func checkRoles(kit *authkit.Kit, roles []string) error {
	err := kit.CheckUser(context.Background(), authkit.User{Email: "user@example.com", Roles: roles}, "") // ends at the empty password
	if v, ok := errors.AsType[*authkit.ValidationError](err); ok {
		for _, f := range v.Fields {
			if f.Field == "roles" {
				return errors.New(f.Message)
			}
		}
	}
	return nil
}

// now is the time as stores keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// system returns the context in which a proved mailbox changes its account. A
// principal of the request has nothing to do with that.
func system(ctx context.Context) context.Context { return authkit.WithSystem(ctx, systemName) }

// usable reports whether an account is neither disabled nor locked.
func usable(u authkit.User) bool { return !u.Disabled && !now().Before(u.LockedUntil) }

// failed reports an error of the outbox or of the tickets, and returns it as
// callers see it. ErrUnavailable is that of a Kit, which has reported it.
func (a *Accounts) failed(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if errors.Is(err, authkit.ErrUnavailable) {
		return err
	}
	err = fmt.Errorf("account: %w: %w", authkit.ErrUnavailable, err)
	a.report(ctx, err)
	return err
}

// report emits the event of a store that failed.
func (a *Accounts) report(ctx context.Context, err error) {
	a.kit.Emit(ctx, authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: err})
}

// A grant is the body of a ticket: the account that it is about, as it then
// was.
type grant struct {
	UserID  string `json:"user_id,omitempty"`
	Version int64  `json:"version,omitempty"`
	Email   string `json:"email,omitempty"` // the new address of ticketEmail, the old one of ticketUndo
	Changed string `json:"changed,omitempty"`
}

// newLink stores a ticket and returns the link with its token.
func (a *Accounts) newLink(ctx context.Context, kind, subject, page string, life time.Duration, g grant) (string, error) {
	t, token := authkit.NewTicket(kind, subject, life)
	t.MaxAttempts = linkAttempts
	if err := a.putTicket(ctx, t, g); err != nil {
		return "", err
	}
	return a.base + page + "?token=" + token, nil
}

func (a *Accounts) putTicket(ctx context.Context, t authkit.Ticket, g grant) error {
	body, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("account: encoding a ticket: %w", err)
	}
	t.Body = body
	return a.kit.Tickets().PutTicket(ctx, t)
}

// opened returns the ticket of a token and its body. It counts an attempt.
func (a *Accounts) opened(ctx context.Context, kind, token string) (authkit.Ticket, grant, error) {
	var g grant
	t, err := authkit.AttemptTicket(ctx, a.kit.Tickets(), kind, token)
	if err != nil {
		if errors.Is(err, authkit.ErrUnavailable) { // which AttemptTicket cannot report
			a.report(ctx, err)
		}
		return t, g, err
	}
	if err := json.Unmarshal(t.Body, &g); err != nil {
		return t, g, fmt.Errorf("account: decoding a ticket: %w", err)
	}
	return t, g, nil
}

// consume consumes a ticket within a transaction: of several callers one goes
// on.
func (a *Accounts) consume(ctx context.Context, t authkit.Ticket) error {
	err := a.kit.Tickets().ConsumeTicket(ctx, t.Kind, t.ID, now())
	if errors.Is(err, authkit.ErrTicketNotFound) {
		return authkit.ErrInvalidTicket
	}
	if err != nil {
		return a.failed(ctx, err)
	}
	return nil
}

// owner returns the account of a ticket if the ticket is still good for it.
func (a *Accounts) owner(ctx context.Context, t authkit.Ticket, g grant) (authkit.User, error) {
	u, err := a.kit.User(ctx, g.UserID)
	switch {
	case errors.Is(err, authkit.ErrUserNotFound):
		return u, authkit.ErrInvalidTicket
	case err != nil:
		return u, a.failed(ctx, err)
	case !usable(u) || g.Version != 0 && g.Version != u.Version:
		return u, authkit.ErrInvalidTicket
	}
	return u, a.noLoginSince(ctx, t, g)
}

// noLoginSince returns ErrInvalidTicket if the user has logged in since a
// ticket was made: a user who knows the password needs no reset any more
// (RG-04).
func (a *Accounts) noLoginSince(ctx context.Context, t authkit.Ticket, g grant) error {
	if t.Kind != ticketReset || !a.sessions {
		return nil
	}
	sessions, err := a.kit.Sessions(ctx, g.UserID)
	if err != nil {
		return a.failed(ctx, err)
	}
	for _, s := range sessions {
		if s.CreatedAt.After(t.CreatedAt) {
			return authkit.ErrInvalidTicket
		}
	}
	return nil
}

// lost returns ErrInvalidTicket if a change failed because the account is gone,
// has changed, or the address is taken: the link is void then.
func lost(err error) error {
	for _, gone := range []error{authkit.ErrUserNotFound, authkit.ErrEmailTaken, authkit.ErrConflict} {
		if errors.Is(err, gone) {
			return authkit.ErrInvalidTicket
		}
	}
	return err
}

const maxNameRunes = 128

// displayName returns a name as it can stand in a mail: one line of at most 128
// characters.
func displayName(name string) string {
	var b strings.Builder
	n := 0
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = ' '
		}
		if n++; n > maxNameRunes {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// Delete deletes the account of a user who gives the password again, and tells
// the user by mail. For an account without a password, use
// [authkit.Kit.DeleteUser] behind a policy that requires a fresh login.
//
// The errors are ErrForbidden if the principal of ctx is not a login of the
// user, those of [authkit.Kit.VerifyPassword], and those of
// [authkit.Kit.DeleteUser].
func (a *Accounts) Delete(ctx context.Context, userID, password string) error {
	if err := a.kit.RequireSelf(ctx, userID); err != nil {
		return err
	}
	if err := a.kit.VerifyPassword(ctx, userID, password); err != nil {
		return err
	}
	return a.inTx(ctx, func(ctx context.Context) error {
		u, err := a.kit.User(ctx, userID)
		if err != nil {
			return err
		}
		if err := a.kit.DeleteUser(ctx, userID); err != nil {
			return err
		}
		return a.notify(ctx, "deleted", u, u.Email, "")
	})
}

// Export returns all stored data about a user, as [authkit.Kit.ExportUser]
// does, for the user. The errors are ErrForbidden if the principal of ctx is
// not a login of the user, and those of ExportUser.
func (a *Accounts) Export(ctx context.Context, userID string) (map[string]any, error) {
	if err := a.kit.RequireSelf(ctx, userID); err != nil {
		return nil, err
	}
	return a.kit.ExportUser(ctx, userID)
}

// inTx calls f in a transaction, and wakes the outbox afterwards.
func (a *Accounts) inTx(ctx context.Context, f func(ctx context.Context) error) error {
	if err := a.kit.InTx(ctx, f); err != nil {
		return err
	}
	a.nudge()
	return nil
}
