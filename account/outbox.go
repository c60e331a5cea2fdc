package account

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	minKey = 32

	lease      = 2 * time.Minute  // for which a worker holds a job
	sendTime   = time.Minute      // for one mail; less than the lease
	pollTime   = 5 * time.Second  // until jobs of other instances are found
	workers    = 4                // mails that are sent at the same time
	firstRetry = 10 * time.Second // after a failure; each further one waits twice as long
	lastRetry  = 15 * time.Minute
	purgeTime  = 10 * time.Minute

	hourlyMails, dailyMails = 3, 10
)

// A task is the body of a job: the request for a mail, or a mail.
type task struct {
	Kind     string          `json:"kind"`
	Email    string          `json:"email,omitempty"` // that a client named
	UserID   string          `json:"user_id,omitempty"`
	Version  int64           `json:"version,omitempty"`
	Language string          `json:"language,omitempty"`
	Ticket   *authkit.Ticket `json:"ticket,omitempty"`
	Code     string          `json:"code,omitempty"`
	Mail     *Message        `json:"mail,omitempty"`
}

// The kinds of tasks.
const (
	taskRegister   = "register"
	taskReset      = "reset"
	taskStartReset = "start_reset"
	taskInvite     = "invite"
	taskEmail      = "email"
	taskCode       = "code"
	taskMail       = "mail"
)

var (
	errLost     = errors.New("account: another worker has the job")
	errUnsealed = errors.New("account: a job that cannot be decrypted; was Config.Key changed?")
)

// keysOf derives the keys of the outbox from a secret.
func keysOf(secret []byte) (box cipher.AEAD, macKey []byte, err error) {
	if len(secret) < minKey {
		return nil, nil, fmt.Errorf("%d bytes; use %d random ones or more", len(secret), minKey)
	}
	sealKey, err := hkdf.Key(sha256.New, secret, nil, "authkit account outbox", 32)
	if err != nil {
		return nil, nil, err
	}
	if macKey, err = hkdf.Key(sha256.New, secret, nil, "authkit account recipients", 32); err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return nil, nil, err
	}
	box, err = cipher.NewGCMWithRandomNonce(block)
	return box, macKey, err
}

// mac returns the key under which the store keeps the times of something.
func (a *Accounts) mac(kind, of string) string {
	m := hmac.New(sha256.New, a.macKey)
	m.Write([]byte(kind + "\x00" + of))
	return hex.EncodeToString(m.Sum(nil))
}

// put stores a task.
func (a *Accounts) put(ctx context.Context, t task, expires time.Time) error {
	text, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("account: encoding a job: %w", err)
	}
	id := rand.Text()
	return a.store.PutJob(ctx, Job{ID: id, Body: a.box.Seal(nil, nil, text, []byte(id)), DueAt: now(), ExpiresAt: expires})
}

// open decrypts the task of a job.
func (a *Accounts) open(j Job) (task, error) {
	var t task
	text, err := a.box.Open(nil, nil, j.Body, []byte(j.ID))
	if err != nil {
		return t, errUnsealed
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fmt.Errorf("account: decoding a job: %w", err)
	}
	return t, nil
}

// nudge wakes a worker of this instance.
func (a *Accounts) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run sends the mails that wait, until ctx is done, and returns the error of
// ctx. An error of a store or of the [Mailer] is an event, and the job is tried
// again. Several instances may run it on one store: one of them has a job at a
// time, if their clocks differ by less than a minute.
func (a *Accounts) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { a.work(ctx) })
	}
	tick := time.NewTicker(purgeTime)
	defer tick.Stop()
	for ctx.Err() == nil {
		a.purge(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	group.Wait()
	return ctx.Err()
}

// work handles jobs until ctx is done.
func (a *Accounts) work(ctx context.Context) {
	for ctx.Err() == nil {
		_ = a.deliver(ctx) // an error is an event already
		a.pause(ctx)
	}
}

// pause waits until there may be jobs.
func (a *Accounts) pause(ctx context.Context) {
	timer := time.NewTimer(pollTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-a.wake:
	case <-timer.C:
	}
}

// purge removes expired jobs.
func (a *Accounts) purge(ctx context.Context) {
	const batch = 1000
	for {
		n, err := a.store.DeleteExpiredJobs(ctx, now(), batch)
		if err != nil {
			_ = a.failed(ctx, err)
		}
		if n == 0 || err != nil {
			return
		}
	}
}

// Deliver handles the jobs that are due, one after the other, and returns when
// none is left. It also removes jobs that have expired. It is for tests, and for
// programs without a background process; others call [Accounts.Run]. Do not call
// it in a transaction.
//
// A mail that the [Mailer] does not accept is an event, and is tried again
// later unless the error is ErrMailRejected. The errors are ErrUnavailable if
// the store failed, and that of ctx.
func (a *Accounts) Deliver(ctx context.Context) error {
	a.purge(ctx)
	return a.deliver(ctx)
}

func (a *Accounts) deliver(ctx context.Context) error {
	for {
		at := now()
		j, err := a.store.ClaimJob(ctx, at, at.Add(lease))
		if errors.Is(err, ErrNoJob) {
			return nil
		}
		if err != nil {
			return a.failed(ctx, err)
		}
		a.nudge() // another worker looks for more
		if err := a.handle(ctx, j); err != nil && !errors.Is(err, errLost) {
			a.postpone(ctx, j, err)
		}
	}
}

// postpone gives a job back after an error. If ctx is done, another worker can
// have it at once.
func (a *Accounts) postpone(ctx context.Context, j Job, cause error) {
	wait := min(firstRetry<<min(j.Attempts-1, 10), lastRetry)
	if ctx.Err() != nil {
		wait = 0
	}
	ctx = context.WithoutCancel(ctx)
	if wait > 0 && !errors.Is(cause, authkit.ErrUnavailable) { // which is an event already
		a.mailFailed(ctx, cause)
	}
	if err := a.store.PostponeJob(ctx, j.ID, j.Attempts, now().Add(wait)); err != nil {
		_ = a.failed(ctx, err)
	}
}

// handle does the task of a job that this worker holds.
func (a *Accounts) handle(ctx context.Context, j Job) error {
	t, err := a.open(j)
	if err != nil {
		return err
	}
	if t.Kind == taskMail {
		return a.send(ctx, j, *t.Mail)
	}
	if m, ok := a.store.(*MemoryStore); ok {
		// Its changes wait for the commit, so a transaction beside this one would
		// not see the mails that this one counts.
		select {
		case m.answer <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		defer func() { <-m.answer }()
	}
	const tries = 5
	for try := 1; ; try++ {
		err := a.inTx(system(ctx), func(ctx context.Context) error {
			if err := a.done(ctx, j); err != nil {
				return err
			}
			return a.answer(ctx, t)
		})
		if !errors.Is(err, ErrConflict) || try == tries {
			return err
		}
	}
}

// done removes a job, if this worker still holds it.
func (a *Accounts) done(ctx context.Context, j Job) error {
	deleted, err := a.store.DeleteJob(ctx, j.ID, j.Attempts)
	if err != nil {
		return a.failed(ctx, err)
	}
	if !deleted {
		return errLost
	}
	return nil
}

// send sends a mail and removes its job.
func (a *Accounts) send(ctx context.Context, j Job, m Message) error {
	err := m.check()
	if err == nil {
		on, cancel := context.WithTimeout(ctx, sendTime)
		err = a.mailer.Send(on, m)
		cancel()
	}
	if err != nil {
		err = fmt.Errorf("account: Config.Mailer: %w", err)
	}
	switch {
	case errors.Is(err, ErrMailRejected):
		a.mailFailed(ctx, err)
	case err != nil:
		return err
	}
	// It is sent, or never will be, so the job must not come back.
	ctx = context.WithoutCancel(ctx)
	err = a.done(ctx, j)
	if errors.Is(err, authkit.ErrUnavailable) {
		err = a.done(ctx, j)
	}
	if errors.Is(err, authkit.ErrUnavailable) {
		return errLost // nothing can be done: it is sent again after the lease
	}
	return err
}

// mailFailed emits the event of a mail that could not be sent.
func (a *Accounts) mailFailed(ctx context.Context, err error) {
	a.kit.Emit(ctx, authkit.Event{Kind: authkit.EventMailFailure, Reason: authkit.ReasonInternal, Err: err})
}

// answer decides within a transaction which mail a task leads to.
func (a *Accounts) answer(ctx context.Context, t task) error {
	if t.Kind == taskStartReset || t.Kind == taskInvite {
		u, err := a.kit.User(ctx, t.UserID)
		if errors.Is(err, authkit.ErrUserNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		life, mail := resetLife, "reset"
		if t.Kind == taskInvite {
			life, mail = inviteLife, "invite"
		}
		return a.mailReset(ctx, u, mail, life, t.Language)
	}
	u, err := a.kit.UserByEmail(ctx, t.Email)
	known := err == nil
	if err != nil && !errors.Is(err, authkit.ErrUserNotFound) {
		return err
	}
	switch t.Kind {
	case taskRegister:
		return a.answerRegister(ctx, t, u, known)
	case taskReset:
		if !known {
			return nil
		}
		return a.mailRequestedReset(ctx, u, t.Language)
	case taskCode:
		return a.answerCode(ctx, t, u, known)
	case taskEmail:
		return a.answerEmail(ctx, t, known)
	}
	return fmt.Errorf("account: a job of the unknown kind %q", t.Kind)
}

// answerRegister sends a link to sign up, or how to log in.
func (a *Accounts) answerRegister(ctx context.Context, t task, u authkit.User, known bool) error {
	switch {
	case known && u.EmailVerifiedAt.IsZero():
		return a.mailRequestedReset(ctx, u, t.Language)
	case known:
		return a.mail(ctx, "exists", mailData{Email: u.Email, Name: u.FullName, Link: a.base + pageReset}, t.Language, askLife)
	}
	if ok, err := a.mayMail(ctx, t.Email); !ok {
		return err
	}
	link, err := a.newLink(ctx, ticketSignUp, t.Email, pageSignUp, signUpLife, grant{})
	if err != nil {
		return a.failed(ctx, err)
	}
	return a.putMail(ctx, "signup", mailData{Email: t.Email, Link: link}, t.Language, signUpLife)
}

// mailRequestedReset is mailReset for a stranger, within the limits.
func (a *Accounts) mailRequestedReset(ctx context.Context, u authkit.User, language string) error {
	if ok, err := a.mayMail(ctx, u.Email); !ok {
		return err
	}
	return a.mailReset(ctx, u, "reset", resetLife, language)
}

// mailReset sends a user a link to choose a password, unless the account is
// locked or disabled.
func (a *Accounts) mailReset(ctx context.Context, u authkit.User, mail string, life time.Duration, language string) error {
	if !usable(u) {
		return nil
	}
	link, err := a.newLink(ctx, ticketReset, u.ID, pagePassword, life, grant{UserID: u.ID, Version: u.Version})
	if err != nil {
		return a.failed(ctx, err)
	}
	return a.putMail(ctx, mail, mailData{Email: u.Email, Name: u.FullName, Link: link}, language, life)
}

// answerCode stores the ticket of a code, and sends the code if an account can
// use it. The ticket exists either way, so that guesses are answered alike.
func (a *Accounts) answerCode(ctx context.Context, t task, u authkit.User, known bool) error {
	ticket, g := *t.Ticket, grant{}
	if !ticket.ExpiresAt.After(now()) {
		return nil
	}
	ticket.Subject = t.Email
	if known = known && usable(u); known {
		var err error
		if known, err = a.mayMail(ctx, u.Email); err != nil {
			return err
		}
	}
	if known {
		ticket.Subject, g = u.ID, grant{UserID: u.ID, Version: u.Version}
	}
	if err := a.putTicket(ctx, ticket, g); err != nil {
		return a.failed(ctx, err)
	}
	if !known {
		return nil
	}
	return a.putMail(ctx, "code", mailData{Email: u.Email, Name: u.FullName, Code: t.Code}, t.Language, ticket.ExpiresAt.Sub(now()))
}

// answerEmail sends a link that confirms a new address, or says that the
// address has an account.
func (a *Accounts) answerEmail(ctx context.Context, t task, taken bool) error {
	if taken {
		return a.mail(ctx, "exists", mailData{Email: t.Email, Link: a.base + pageReset}, t.Language, askLife)
	}
	u, err := a.kit.User(ctx, t.UserID)
	if errors.Is(err, authkit.ErrUserNotFound) || err == nil && (u.Version != t.Version || !usable(u)) {
		return nil
	}
	if err != nil {
		return err
	}
	if ok, err := a.mayMail(ctx, t.Email); !ok {
		return err
	}
	link, err := a.newLink(ctx, ticketEmail, u.ID, pageConfirm, emailLife, grant{UserID: u.ID, Version: u.Version, Email: t.Email})
	if err != nil {
		return a.failed(ctx, err)
	}
	return a.putMail(ctx, "confirm", mailData{Email: t.Email, Link: link}, t.Language, emailLife)
}

// mail sends a mail that strangers can cause.
func (a *Accounts) mail(ctx context.Context, name string, d mailData, language string, life time.Duration) error {
	if ok, err := a.mayMail(ctx, d.Email); !ok {
		return err
	}
	return a.putMail(ctx, name, d, language, life)
}

// notify sends a user a mail about a change that the user or an administrator
// has made.
func (a *Accounts) notify(ctx context.Context, name string, u authkit.User, to, link string) error {
	return a.putMail(ctx, name, mailData{Email: to, Name: u.FullName, Link: link}, languageOf(ctx), noticeLife)
}

// putMail stores a mail in the outbox.
func (a *Accounts) putMail(ctx context.Context, name string, d mailData, language string, life time.Duration) error {
	m, err := a.texts.mail(name, language, a.service, d)
	if err != nil {
		return err
	}
	if err := a.put(ctx, task{Kind: taskMail, Mail: &m}, now().Add(life)); err != nil {
		return a.failed(ctx, err)
	}
	return nil
}

// mailbox returns an address without its tag: mail to ann+shop@example.com
// reaches ann@example.com at most providers.
func mailbox(email string) string {
	local, domain, _ := strings.Cut(email, "@")
	if plain, _, _ := strings.Cut(local, "+"); plain != "" {
		local = plain
	}
	return local + "@" + domain
}

// mayMail counts a mail to a mailbox and reports whether it is within the
// limits: 3 an hour and 10 a day (RG-13).
func (a *Accounts) mayMail(ctx context.Context, email string) (bool, error) {
	key := a.mac("mail", mailbox(email))
	times, version, err := a.store.Times(ctx, key)
	if err != nil {
		return false, a.failed(ctx, err)
	}
	at := now()
	var day []time.Time
	hour := 0
	for _, t := range times {
		if t.After(at.Add(-24 * time.Hour)) {
			day = append(day, t)
		}
		if t.After(at.Add(-time.Hour)) {
			hour++
		}
	}
	if hour >= hourlyMails || len(day) >= dailyMails {
		return false, nil
	}
	if err := a.store.SetTimes(ctx, key, append(day, at), version, at.Add(24*time.Hour)); err != nil {
		if errors.Is(err, ErrConflict) {
			return false, err // the transaction is tried again
		}
		return false, a.failed(ctx, err)
	}
	return true, nil
}
