package account_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/storetest"
)

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	storetest.TestAccountStore(t, func(*testing.T) account.Store { return account.NewMemoryStore() })
}

// RG-13: an address gets three mails an hour and ten a day from strangers,
// whatever they ask for. What an administrator sends, and what tells of a
// change, is not limited.
func TestMailBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := a.add(t, "ann@example.com")
		for _, address := range []string{u.Email, "nobody@example.com"} {
			sent, hour := []time.Time{}, 0
			for i := range 48 * 6 { // every ten minutes for two days
				require.NoError(t, a.Register(t.Context(), address))
				if i%2 == 0 {
					require.NoError(t, a.RequestReset(t.Context(), address))
				}
				_, err := a.RequestCode(t.Context(), address)
				require.NoError(t, err)
				require.NoError(t, a.Deliver(t.Context()))
				for range a.mails.all() {
					sent = append(sent, time.Now())
				}
				time.Sleep(10 * time.Minute)
			}
			within := func(d time.Duration) (most int) {
				for i := range sent {
					n := 0
					for _, at := range sent[i:] {
						if at.Before(sent[i].Add(d)) {
							n++
						}
					}
					most = max(most, n)
				}
				return most
			}
			hour = within(time.Hour)
			require.Equal(t, 3, hour, address)
			require.Equal(t, 10, within(24*time.Hour), address)
			require.Len(t, sent, 20, address)
		}
		require.NoError(t, a.StartReset(t.Context(), u.ID))
		a.mail(t)
	})
}

// RG-13: a mailbox with tags has one budget: a stranger cannot send it a mail
// for every tag.
func TestMailBudgetOfTags(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	for _, address := range []string{"ann@example.com", "Ann+1@example.com", "ann+2@example.com", "ann+2+3@example.com", "ann+@example.com"} {
		require.NoError(t, a.Register(t.Context(), address))
	}
	for _, address := range []string{"+1@example.com", "+2@example.com", "ann+1@example.org", "bob+1@example.com"} {
		require.NoError(t, a.Register(t.Context(), address))
	}
	require.NoError(t, a.Deliver(t.Context()))
	sent := map[string]int{}
	for _, m := range a.mails.all() {
		local, domain, _ := strings.Cut(m.To, "@")
		sent[strings.TrimRight(local, "+123")+"@"+domain]++
	}
	require.Equal(t, map[string]int{"ann@example.com": 3, "@example.com": 2, "ann@example.org": 1, "bob@example.com": 1}, sent)
}

// A looseStore is a store whose transactions run at the same time, as those of
// a database do.
type looseStore struct{ *authkit.MemoryStore }

func (looseStore) InTx(ctx context.Context, f func(context.Context) error) error {
	err := f(ctx)
	time.Sleep(time.Millisecond) // others run before the commit
	return err
}

// RG-13: with the accounts in a database and the outbox in memory, workers at
// the same time send no more.
func TestMailBudgetAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		users := looseStore{authkit.NewMemoryStore()}
		a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) { c.Users, c.Sessions.Store = users, users }}})
		for range 50 {
			require.NoError(t, a.Register(t.Context(), "ann@example.com"))
		}
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { _ = a.Deliver(t.Context()) })
		}
		group.Wait()
		require.Len(t, a.mails.all(), 3)
	})
}

// RG-22: a program that only calls Deliver keeps no expired mail either.
func TestDeliverRemovesExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		a.mails.fail = errors.New("no connection")
		a.add(t, "ann@example.com")
		require.NoError(t, a.RequestReset(t.Context(), "ann@example.com"))
		require.NoError(t, a.Deliver(t.Context()))
		time.Sleep(25 * time.Hour)
		require.NoError(t, a.Deliver(t.Context()))
		deleted, err := a.jobs.DeleteExpiredJobs(t.Context(), time.Now(), 1000)
		require.NoError(t, err)
		require.Zero(t, deleted)
	})
}

// RG-22: nothing that waits can be read: no address, no name, no link, no code.
func TestOutboxIsSealed(t *testing.T) {
	t.Parallel()
	jobs := &watchedStore{Store: account.NewMemoryStore()}
	a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) { c.Store = jobs }}})
	u := a.add(t, "ann@example.com")
	var secrets []string
	require.NoError(t, a.Register(t.Context(), "bob@example.com"))
	secrets = append(secrets, token(t, a.mail(t)))
	secrets = append(secrets, a.resetToken(t, u.Email))
	_, err := a.RequestCode(t.Context(), u.Email)
	require.NoError(t, err)
	secrets = append(secrets, "code\":\""+codeIn.FindString(a.mail(t).Text), "ann@example.com", "bob@example.com", "example.com", "token")
	stored := jobs.bodies()
	require.GreaterOrEqual(t, len(stored), 6)
	for _, body := range stored {
		for _, secret := range secrets {
			require.NotContains(t, string(body), secret)
		}
	}
	for i, body := range stored {
		for _, other := range stored[i+1:] {
			require.NotEqual(t, body[:12], other[:12], "a nonce that was used twice")
		}
	}
}

// A job that was changed, moved to another row or stored under another key is
// not delivered, and not lost either.
func TestOutboxIsAuthenticated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		require.NoError(t, a.Register(t.Context(), "ann@example.com"))
		at := time.Now()
		j, err := a.jobs.ClaimJob(t.Context(), at, at)
		require.NoError(t, err)
		moved, changed := j, j
		moved.ID, moved.Attempts = "another", 0
		changed.ID, changed.Attempts, changed.Body = "changed", 0, bytes.Clone(j.Body)
		changed.Body[len(changed.Body)-1] ^= 1
		require.NoError(t, a.jobs.PutJob(t.Context(), moved))
		require.NoError(t, a.jobs.PutJob(t.Context(), changed))
		a.kinds()
		require.Equal(t, "ann@example.com", a.mail(t).To)
		for _, e := range a.events {
			require.ErrorContains(t, e.Err, "cannot be decrypted")
		}
		require.Equal(t, []authkit.EventKind{authkit.EventMailFailure, authkit.EventMailFailure}, a.kinds())

		other := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) { c.Store, c.Key = a.jobs, bytes.Repeat([]byte{7}, 32) }}})
		require.NoError(t, a.Register(t.Context(), "bob@example.com"))
		other.none(t)
		time.Sleep(time.Minute)
		require.Equal(t, "bob@example.com", a.mail(t).To)
	})
}

// RG-23: a job that is claimed is sent by nobody else while the lease holds,
// and by another one when the first has died.
func TestLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		mailer := &slowMailer{box: new(box), hangs: hangs}
		jobs := account.NewMemoryStore()
		a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) { c.Store, c.Mailer = jobs, mailer }}})
		require.NoError(t, a.Register(t.Context(), "ann@example.com"))
		done := make(chan error)
		go func() { done <- a.Deliver(t.Context()) }()
		synctest.Wait()
		require.EqualValues(t, 1, mailer.calls.Load())
		require.NoError(t, a.Deliver(t.Context()), "another worker finds nothing")
		require.EqualValues(t, 1, mailer.calls.Load())
		close(hangs)
		require.NoError(t, <-done)
		require.Len(t, mailer.all(), 1)
		time.Sleep(time.Hour)
		require.NoError(t, a.Deliver(t.Context()))
		require.Empty(t, mailer.all())

		// A worker that was killed: its claim runs out.
		require.NoError(t, a.Register(t.Context(), "bob@example.com"))
		_, err := jobs.ClaimJob(t.Context(), time.Now(), time.Now().Add(2*time.Minute))
		require.NoError(t, err)
		require.NoError(t, a.Deliver(t.Context()))
		require.Empty(t, mailer.all())
		time.Sleep(2 * time.Minute)
		require.NoError(t, a.Deliver(t.Context()))
		require.Len(t, mailer.all(), 1)
	})
}

// A slowMailer waits before it sends.
type slowMailer struct {
	*box
	hangs chan struct{}
	calls atomic.Int32
}

func (m *slowMailer) Send(ctx context.Context, msg account.Message) error {
	m.calls.Add(1)
	select {
	case <-m.hangs:
		return m.box.Send(ctx, msg)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A mail that is refused is sent again, with the same link, until it expires.
func TestRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		a.mails.fail = errors.New("no connection")
		require.NoError(t, a.Register(t.Context(), "ann@example.com"))
		require.NoError(t, a.Deliver(t.Context()))
		require.Contains(t, a.kinds(), authkit.EventMailFailure)
		require.NoError(t, a.Deliver(t.Context()))
		require.NotContains(t, a.kinds(), authkit.EventMailFailure, "not at once")
		failures := 0
		for range 60 {
			time.Sleep(10 * time.Second)
			require.NoError(t, a.Deliver(t.Context()))
			failures += len(a.kinds())
		}
		require.Greater(t, failures, 3)
		require.Less(t, failures, 8, "each wait is longer")
		a.mails.fail = nil
		time.Sleep(15 * time.Minute)
		link := token(t, a.mail(t))
		_, err := a.SignUp(t.Context(), link, account.NewAccount{Password: password})
		require.NoError(t, err)

		a.mails.fail = errors.New("no connection")
		require.NoError(t, a.RequestReset(t.Context(), "ann@example.com"))
		require.NoError(t, a.Deliver(t.Context()))
		time.Sleep(time.Hour)
		a.mails.fail = nil
		a.none(t) // the link has expired
	})
}

// A mail that no retry delivers is dropped, with an event.
func TestRejectedMail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		a.mails.fail = fmt.Errorf("550 no such user: %w", account.ErrMailRejected)
		require.NoError(t, a.Register(t.Context(), "ann@example.com"))
		require.NoError(t, a.Deliver(t.Context()))
		require.Equal(t, []authkit.EventKind{authkit.EventMailFailure}, a.kinds())
		a.mails.fail = nil
		time.Sleep(time.Hour)
		a.none(t)
	})
}

// Run delivers at once what this instance stores, within seconds what others
// do, and ends with its context. It removes what has expired.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		require.NoError(t, a.Register(t.Context(), "ann@example.com"))
		synctest.Wait()
		require.Len(t, a.mails.all(), 1)

		other := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) { c.Store = a.jobs }}})
		require.NoError(t, other.Register(t.Context(), "bob@example.com"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Len(t, a.mails.all(), 1)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)

		require.NoError(t, a.Register(t.Context(), "eve@example.com"))
		time.Sleep(25 * time.Hour)
		ctx, cancel = context.WithCancel(t.Context())
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		deleted, err := a.jobs.DeleteExpiredJobs(t.Context(), time.Now(), 1000)
		require.NoError(t, err)
		require.Zero(t, deleted, "Run has removed it")
		require.Empty(t, a.mails.all())
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

// A worker that is told to stop gives its mail back at once.
func TestRunStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mailer := &slowMailer{box: new(box), hangs: make(chan struct{})}
		a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) { c.Mailer = mailer }}})
		require.NoError(t, a.Register(t.Context(), "ann@example.com"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.NotContains(t, a.kinds(), authkit.EventMailFailure)
		close(mailer.hangs)
		require.NoError(t, a.Deliver(t.Context()))
		require.Len(t, mailer.all(), 1)
	})
}

// Mail of a change leaves after the commit: a change that is rolled back sends
// none.
func TestNoMailOfARollback(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add(t, "ann@example.com")
	link := a.resetToken(t, u.Email)
	failed := errors.New("failed")
	err := a.users.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, a.ResetPassword(ctx, link, newPassword))
		_, err := a.Invite(ctx, authkit.User{Email: "bob@example.com"})
		require.NoError(t, err)
		return failed
	})
	require.Equal(t, failed, err)
	a.none(t)
	require.NoError(t, a.ResetPassword(t.Context(), link, newPassword), "the link is as good as before")
	a.mail(t)
}

// RG-24: a name reaches a mail as one line of at most 128 characters, and never
// its subject.
func TestNamesInMails(t *testing.T) {
	t.Parallel()
	texts := strings.Replace(englishTexts(t), `"Choose a new password for {{.Service}}"`, `"{{.Name}}A reset for {{.Name}}."`, 1)
	texts = strings.Replace(texts, `Someone, probably you, asked to choose`, `Hello {{.Name}}, someone asked to choose`, 1)
	a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
		c.Templates = fstest.MapFS{"texts.en.json": &fstest.MapFile{Data: []byte(texts)}}
	}}})
	u := a.add(t, "ann@example.com")
	_, err := a.kit.SetFullName(t.Context(), u.ID, strings.Repeat("é", 128))
	require.NoError(t, err)
	require.NoError(t, a.RequestReset(t.Context(), u.Email))
	m := a.mail(t)
	require.Equal(t, "A reset for .", m.Subject)
	require.Contains(t, m.Text, "Hello "+strings.Repeat("é", 128)+",")

	_, err = a.kit.SetFullName(t.Context(), u.ID, `<a href="https://evil.example">x</a>`)
	require.NoError(t, err)
	require.NoError(t, a.RequestReset(t.Context(), u.Email))
	m = a.mail(t)
	require.NotContains(t, m.HTML, "<a href=\"https://evil")
	require.Equal(t, 1, strings.Count(m.HTML, "<a href="), "the link and no other")
}

// Mails and pages are in a language that the client accepts and the program
// has.
func TestLanguages(t *testing.T) {
	t.Parallel()
	german := strings.Replace(englishTexts(t), "Choose a new password for", "Neues Passwort für", 1)
	german = strings.Replace(german, `"title": "Sign up"`, `"title": "Anmelden"`, 1)
	a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
		c.Templates = fstest.MapFS{"texts.de.json": &fstest.MapFile{Data: []byte(german)}}
	}}})
	a.add(t, "ann@example.com")
	for accepted, want := range map[string]string{"de": "Neues Passwort für Example", "fr, de-CH;q=0.8, en;q=0.5": "Neues Passwort für Example", "en, de": "Choose a new password for Example", "fr": "Choose a new password for Example", "": "Choose a new password for Example"} {
		a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
			c.Templates = fstest.MapFS{"texts.de.json": &fstest.MapFile{Data: []byte(german)}}
		}}})
		a.add(t, "ann@example.com")
		require.NoError(t, a.RequestReset(account.WithLanguage(t.Context(), accepted), "ann@example.com"))
		require.Equal(t, want, a.mail(t).Subject, accepted)
	}
	w := call(a.server(), "GET", "/account/register", "", "Accept-Language", "de-DE,de;q=0.9")
	require.Contains(t, w.Body.String(), `<html lang="de">`)
	require.Contains(t, w.Body.String(), "Anmelden")
}

func englishTexts(t testing.TB) string {
	t.Helper()
	f, err := account.DefaultTemplates().Open("texts.en.json")
	require.NoError(t, err)
	defer f.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(f)
	require.NoError(t, err)
	return b.String()
}

func TestNewProblems(t *testing.T) {
	t.Parallel()
	kit, err := authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Roles: map[string][]string{"admin": nil}})
	require.NoError(t, err)
	_, err = account.New(kit, account.Config{Roles: []string{"editor"}, Store: new(account.MemoryStore), Service: "a\nb"})
	for _, field := range []string{"BaseURL", "Key", "Mailer", "Store", "Roles", "Service"} {
		require.ErrorContains(t, err, "Config."+field+": ")
	}
	_, err = account.New(nil, account.Config{})
	require.ErrorContains(t, err, "Kit is nil")
	good := account.Config{BaseURL: base, Key: testKey, Mailer: new(box)}
	for _, url := range []string{
		"", "http://example.com", "ftp://example.com", "//example.com/x", "/account", "https://", "https://user@example.com", "https://example.com?a=b",
		"https://example.com/#x", "https://example.com?", "https://example.com/a b", "ftp://localhost", "https://%zz", "https://example.com/a%2fb", "https://example.com/{x}", "http://127.0.0.1.example.com/", "javascript:alert(1)",
	} {
		cfg := good
		cfg.BaseURL = url
		_, err = account.New(kit, cfg)
		require.ErrorContains(t, err, "BaseURL", url)
	}
	for _, url := range []string{"https://example.com", "https://example.com/", "https://example.com:8443/a/b/", "http://localhost:8000/account", "http://127.0.0.1/x", "http://[::1]:8000"} {
		cfg := good
		cfg.BaseURL = url
		_, err = account.New(kit, cfg)
		require.NoError(t, err, url)
	}
	for name, data := range map[string]string{
		"texts.de.json": `{}`, "texts.en.json": `{`, "page.html": `{{`, "mail.html": `{{.A`,
		"texts.fr.json": strings.Replace(englishTexts(t), "{{.Link}}", "{{.Nothing}}", 1), "texts.it.json": strings.Replace(englishTexts(t), `"Sign up"`, `""`, 1),
		"texts.es.json": strings.Replace(englishTexts(t), `"Choose a new password for {{.Service}}"`, `"{{"`, 1),
	} {
		cfg := good
		cfg.Templates = fstest.MapFS{name: &fstest.MapFile{Data: []byte(data)}}
		_, err = account.New(kit, cfg)
		require.ErrorContains(t, err, "Config.Templates: ", name)
	}
	cfg := good
	cfg.Templates = unlisted{}
	_, err = account.New(kit, cfg)
	require.ErrorContains(t, err, "Config.Templates: ")
	for _, name := range []string{"page.html", "mail.html", "style.css", "texts.de.json"} {
		cfg := good
		cfg.Templates = unreadable{fstest.MapFS{"texts.de.json": &fstest.MapFile{}}, name}
		_, err = account.New(kit, cfg)
		require.ErrorIs(t, err, errUnreadable, name)
	}
	var texts map[string]any
	require.NoError(t, json.Unmarshal([]byte(englishTexts(t)), &texts))
	for name, change := range map[string]func(mail map[string]any){
		"no subject": func(mail map[string]any) { mail["subject"] = "" },
		"no text":    func(mail map[string]any) { mail["text"] = []string{} },
	} {
		require.NoError(t, json.Unmarshal([]byte(englishTexts(t)), &texts))
		change(texts["mails"].(map[string]any)["reset"].(map[string]any))
		data, err := json.Marshal(texts)
		require.NoError(t, err)
		cfg := good
		cfg.Templates = fstest.MapFS{"texts.en.json": &fstest.MapFile{Data: data}}
		_, err = account.New(kit, cfg)
		require.ErrorContains(t, err, "has no subject or no text", name)
	}
	cfg = good
	cfg.Service = "\ufffd"
	_, err = account.New(kit, cfg)
	require.ErrorContains(t, err, "Config.Service: ")
	cfg = good
	cfg.BaseURL = "https://example.com/account/"
	slash, err := account.New(kit, cfg)
	require.NoError(t, err)
	require.Equal(t, "/account/register", slash.Pages()[0].Path)
	cfg = good
	cfg.Store = (*account.MemoryStore)(nil)
	_, err = account.New(kit, cfg)
	require.ErrorContains(t, err, "Config.Store: ")
	// Accounts without tickets, and in a store without transactions.
	kit, err = authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: struct {
		authkit.UserStore
		authkit.Transactor
	}{authkit.NewMemoryStore(), authkit.NewMemoryStore()}})
	require.NoError(t, err)
	_, err = account.New(kit, good)
	require.ErrorContains(t, err, "no tickets")
	kit, err = authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: struct{ authkit.UserStore }{authkit.NewMemoryStore()}})
	require.NoError(t, err)
	_, err = account.New(kit, good)
	require.ErrorContains(t, err, "transactions")
	kit, err = authkit.New(authkit.Config{
		Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: struct{ authkit.UserStore }{authkit.NewMemoryStore()}, Tickets: authkit.NewMemoryStore(),
	})
	require.NoError(t, err)
	_, err = account.New(kit, good)
	require.ErrorContains(t, err, "no transactions")
}

// Logging what holds a key, a password or a link reveals nothing of it, as text
// and as JSON.
func TestLogsHoldNoSecret(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	values := []any{
		account.Config{Key: []byte("secret"), Mailer: a.mails, Service: "secret"},
		account.NewAccount{Password: "secret", FullName: "secret", Fields: []byte(`"secret"`)},
		account.Message{To: "secret", Subject: "secret", Text: "secret", HTML: "secret"},
	}
	for _, v := range values {
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "value", v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "value", v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			fmt.Fprintf(&b, verb, v)
		}
		require.NotContains(t, b.String(), "secret")
		require.NotContains(t, b.String(), "c2VjcmV0") // the same in base64
		require.NotContains(t, b.String(), "736563726574")
		require.Contains(t, b.String(), "[redacted]")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		require.Equal(t, "account.Accounts{[redacted]}", fmt.Sprintf(verb, a.Accounts))
	}
}

// FR-11: every call of a store has the store timeout of the Kit.
func TestStoreTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const timeout = 3 * time.Second
		store := account.Timed(hungStore{}, timeout)
		of := reflect.TypeFor[account.Store]()
		for i := range of.NumMethod() {
			method := reflect.ValueOf(store).MethodByName(of.Method(i).Name)
			args := []reflect.Value{reflect.ValueOf(t.Context())}
			for j := 1; j < method.Type().NumIn(); j++ {
				args = append(args, reflect.Zero(method.Type().In(j)))
			}
			began := time.Now()
			results := method.Call(args)
			err, _ := results[len(results)-1].Interface().(error)
			require.ErrorIs(t, err, context.DeadlineExceeded, of.Method(i).Name)
			require.Equal(t, timeout, time.Since(began), of.Method(i).Name)
		}
	})
}

// A hungStore never answers.
type hungStore struct{}

func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (hungStore) PutJob(ctx context.Context, _ account.Job) error { return hang(ctx) }
func (hungStore) ClaimJob(ctx context.Context, _, _ time.Time) (account.Job, error) {
	return account.Job{}, hang(ctx)
}
func (hungStore) PostponeJob(ctx context.Context, _ string, _ int, _ time.Time) error {
	return hang(ctx)
}
func (hungStore) DeleteJob(ctx context.Context, _ string, _ int) (bool, error) {
	return false, hang(ctx)
}
func (hungStore) Times(ctx context.Context, _ string) ([]time.Time, int64, error) {
	return nil, 0, hang(ctx)
}
func (hungStore) SetTimes(ctx context.Context, _ string, _ []time.Time, _ int64, _ time.Time) error {
	return hang(ctx)
}
func (hungStore) DeleteExpiredJobs(ctx context.Context, _ time.Time, _ int) (int, error) {
	return 0, hang(ctx)
}

// A job that was postponed does not hold up another one. Times that expire are
// removed in steps, as jobs are.
func TestMemoryStoreOrder(t *testing.T) {
	t.Parallel()
	m, at := account.NewMemoryStore(), time.Now()
	for i, id := range []string{"a", "b", "c"} {
		require.NoError(t, m.PutJob(t.Context(), account.Job{ID: id, DueAt: at.Add(time.Duration(i) * time.Minute), ExpiresAt: at.Add(time.Hour)}))
	}
	claim := func(after time.Duration) string {
		j, err := m.ClaimJob(t.Context(), at.Add(after), at.Add(after+30*time.Minute))
		if err != nil {
			return err.Error()
		}
		return j.ID
	}
	require.Equal(t, "a", claim(0))
	require.NoError(t, m.PostponeJob(t.Context(), "a", 1, at.Add(10*time.Minute)))
	require.Equal(t, "b", claim(time.Minute))
	require.Equal(t, "c", claim(2*time.Minute))
	require.NoError(t, m.PostponeJob(t.Context(), "c", 1, at.Add(5*time.Minute)))
	require.Equal(t, "c", claim(10*time.Minute))
	require.Equal(t, "a", claim(10*time.Minute))

	// The job that is removed is the one that was named.
	m = account.NewMemoryStore()
	for i, id := range []string{"a", "b"} {
		require.NoError(t, m.PutJob(t.Context(), account.Job{ID: id, DueAt: at.Add(time.Duration(i)), ExpiresAt: at.Add(time.Hour)}))
	}
	deleted, err := m.DeleteJob(t.Context(), "b", 0)
	require.NoError(t, err)
	require.True(t, deleted)
	require.Equal(t, "a", claim(time.Minute))

	for _, key := range []string{"x", "y", "z"} {
		require.NoError(t, m.SetTimes(t.Context(), key, []time.Time{at}, 0, at))
	}
	for _, want := range []int{0, 2, 1, 0} {
		limit := 2
		if want == 0 {
			limit = 0
		}
		n, err := m.DeleteExpiredJobs(t.Context(), at, limit)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
}

// RG-24: a subject of the program's own texts is one line. A name that came
// into the store by another way is one, too.
func TestMailsAreLines(t *testing.T) {
	t.Parallel()
	texts := strings.Replace(englishTexts(t), `"Choose a new password for {{.Service}}"`, `"a\nBcc: eve@example.com"`, 1)
	a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
		c.Templates = fstest.MapFS{"texts.en.json": &fstest.MapFile{Data: []byte(texts)}}
	}}})
	a.add(t, "ann@example.com")
	require.NoError(t, a.RequestReset(t.Context(), "ann@example.com"))
	a.none(t)
	require.Contains(t, a.kinds(), authkit.EventMailFailure)

	texts = strings.Replace(englishTexts(t), `Someone, probably you, asked to choose`, `Hello {{.Name}}, someone asked to choose`, 1)
	b := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
		c.Templates = fstest.MapFS{"texts.en.json": &fstest.MapFile{Data: []byte(texts)}}
	}}})
	require.NoError(t, b.users.CreateUser(t.Context(), authkit.StoredUser{User: authkit.User{ID: "1", Email: "bob@example.com", FullName: "Bob\nhttps://evil.example", EmailVerifiedAt: time.Now()}}))
	require.NoError(t, b.RequestReset(t.Context(), "bob@example.com"))
	require.Contains(t, b.mail(t).Text, "Hello Bob https://evil.example,")
}

// An unreadable is a file system with a file that cannot be opened.
type unreadable struct {
	fstest.MapFS
	name string
}

var errUnreadable = errors.New("permission denied")

func (u unreadable) Open(name string) (fs.File, error) {
	if name == u.name {
		return nil, errUnreadable
	}
	return u.MapFS.Open(name)
}

func (u unreadable) ReadFile(name string) ([]byte, error) {
	if name == u.name {
		return nil, errUnreadable
	}
	return u.MapFS.ReadFile(name)
}

// A template that fails for the data of a mail or a page sends no half of it.
func TestTemplatesFail(t *testing.T) {
	t.Parallel()
	const fails = `{{if .Email}}{{slice .Email 99}}{{end}}`
	for name, files := range map[string]map[string]string{
		"the subject":   {"texts.en.json": strings.Replace(englishTexts(t), "Choose a new password for {{.Service}}", fails, 1)},
		"a paragraph":   {"texts.en.json": strings.Replace(englishTexts(t), "Someone, probably you, asked to choose", fails, 1)},
		"the layout":    {"mail.html": `{{index .Paragraphs 99}}`},
		"not the mails": {"page.html": `<p>{{index .Fields 99}}</p>`},
	} {
		custom := fstest.MapFS{}
		for file, data := range files {
			custom[file] = &fstest.MapFile{Data: []byte(data)}
		}
		a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) { c.Templates, c.Service = custom, "" }}})
		a.add(t, "ann@example.com")
		require.NoError(t, a.RequestReset(t.Context(), "ann@example.com"))
		w := call(a.server(), "GET", "/account/register", "")
		if name == "not the mails" {
			require.Contains(t, a.mail(t).Subject, "for example.com", "the host is the name of the service")
			require.Equal(t, 500, w.Code)
			require.NotContains(t, w.Body.String(), "<p>")
			continue
		}
		require.Equal(t, 200, w.Code)
		a.kinds()
		a.none(t)
		require.Equal(t, []authkit.EventKind{authkit.EventMailFailure}, a.kinds(), name)
	}
}

// An unlisted is a file system that cannot list its files.
type unlisted struct{ fstest.MapFS }

func (unlisted) Glob(string) ([]string, error) { return nil, errors.New("no disk") }
