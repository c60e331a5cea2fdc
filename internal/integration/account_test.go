package integration_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/account/accountsql"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/storetest"
)

// An outbox keeps the mails that were sent, by address.
type outbox struct {
	mu    sync.Mutex
	mails map[string][]account.Message
	calls *faults
}

func (o *outbox) Send(_ context.Context, m account.Message) error {
	if err := o.calls.next("Send"); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mails[m.To] = append(o.mails[m.To], m)
	return nil
}

// to returns the mails to an address, and forgets them.
func (o *outbox) to(address string) []account.Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.mails[address]
	delete(o.mails, address)
	return list
}

// accountApp is a program with accounts.
type accountApp struct {
	*account.Accounts
	kit   *authkit.Kit
	jobs  account.Store
	mails *outbox
	calls *faults
}

func newAccountApp(t testing.TB, store storetest.TransactorStore, jobs account.Store) *accountApp {
	t.Helper()
	f := new(faults)
	a := &accountApp{jobs: jobs, mails: &outbox{mails: map[string][]account.Message{}, calls: f}, calls: f}
	wrapped := &faultyAccounts{store, f}
	var err error
	a.kit, err = authkit.New(authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:     wrapped,
		Sessions:  authkit.SessionConfig{Store: wrapped, ReuseGrace: time.Minute},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, MaxConcurrentHashes: 64},
		Logger:    slog.New(slog.DiscardHandler),

		StoreTimeout: 50 * time.Second,
	})
	require.NoError(t, err)
	a.Accounts, err = account.New(a.kit, account.Config{
		BaseURL: "https://example.com/account", Key: []byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352"), Mailer: a.mails, Store: &faultyJobs{jobs, f},
		CodeLogin: true,
	})
	require.NoError(t, err)
	return a
}

// onEachAccounts runs a test in memory and on each of the databases.
func onEachAccounts(t *testing.T, test func(t *testing.T, a *accountApp)) {
	t.Helper()
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		test(t, newAccountApp(t, authkit.NewMemoryStore(), account.NewMemoryStore()))
	})
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		test(t, newAccountApp(t, s, accountsql.New(s)))
	})
}

var (
	linkToken = regexp.MustCompile(`\?token=([A-Za-z0-9_.-]+)`)
	sixDigits = regexp.MustCompile(`\b\d{6}\b`)
)

// token delivers what waits, and returns the token of the only mail to an
// address.
func (a *accountApp) token(t testing.TB, address string) string {
	t.Helper()
	require.NoError(t, a.Deliver(t.Context()))
	return tokenOf(t, a.mails.to(address))
}

func tokenOf(t testing.TB, mails []account.Message) string {
	t.Helper()
	require.Len(t, mails, 1)
	found := linkToken.FindStringSubmatch(mails[0].Text)
	require.NotNil(t, found, mails[0].Text)
	return found[1]
}

// code delivers what waits, and returns the code in the only mail to an
// address.
func (a *accountApp) code(t testing.TB, address string) string {
	t.Helper()
	require.NoError(t, a.Deliver(t.Context()))
	mails := a.mails.to(address)
	require.Len(t, mails, 1)
	return sixDigits.FindString(mails[0].Text)
}

const accountPassword, accountPassword2 = "correct horse", "battery staple"

func (a *accountApp) add(t testing.TB, address string, verified bool) authkit.User {
	t.Helper()
	u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: address}, accountPassword)
	require.NoError(t, err)
	if verified {
		u, err = a.kit.VerifyEmail(t.Context(), u.ID, address)
		require.NoError(t, err)
	}
	return u
}

// atOnce calls f from 32 goroutines, and returns how many calls returned no
// error. All others must have been refused, and none may have failed.
func atOnce(t *testing.T, f func(i int) error) int {
	t.Helper()
	var succeeded atomic.Int32
	var group sync.WaitGroup
	begin := make(chan struct{})
	for i := range 32 {
		group.Go(func() {
			<-begin
			switch err := f(i); {
			case err == nil:
				succeeded.Add(1)
			case !errors.Is(err, authkit.ErrInvalidTicket) && !errors.Is(err, authkit.ErrInvalidCredentials):
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	close(begin)
	group.Wait()
	return int(succeeded.Load())
}

// RG-02, RG-03, RG-12: each link and each code is used once, by one of 32
// callers. 32 guesses at a code leave no attempt.
func TestAccountTokensAtOnce(t *testing.T) {
	t.Parallel()
	onEachAccounts(t, func(t *testing.T, a *accountApp) {
		ctx := t.Context()
		require.NoError(t, a.Register(ctx, "new@example.com"))
		link := a.token(t, "new@example.com")
		require.Equal(t, 1, atOnce(t, func(int) error {
			_, err := a.SignUp(ctx, link, account.NewAccount{Password: accountPassword})
			return err
		}), "sign-ups")

		u := a.add(t, "ann@example.com", true)
		require.NoError(t, a.RequestReset(ctx, u.Email))
		link = a.token(t, u.Email)
		passwords := make([]string, 32)
		for i := range passwords {
			passwords[i] = fmt.Sprintf("%s %d", accountPassword2, i)
		}
		before, err := a.kit.User(ctx, u.ID)
		require.NoError(t, err)
		require.Equal(t, 1, atOnce(t, func(i int) error { return a.ResetPassword(ctx, link, passwords[i]) }), "resets")
		after, err := a.kit.User(ctx, u.ID)
		require.NoError(t, err)
		require.Equal(t, before.Version+2, after.Version, "verified once, and one password")
		current := ""
		for _, p := range passwords {
			if err := a.kit.VerifyPassword(ctx, u.ID, p); err == nil {
				require.Empty(t, current, "two passwords")
				current = p
			}
		}
		require.NotEmpty(t, current)
		require.NoError(t, a.Deliver(ctx))
		require.Len(t, a.mails.to(u.Email), 1, "one mail that tells of it")

		require.NoError(t, a.ChangeEmail(ctx, u.ID, current, "ann@example.org"))
		link = a.token(t, "ann@example.org")
		require.Equal(t, 1, atOnce(t, func(int) error { return a.ConfirmEmail(ctx, u.ID, link) }), "changes")
		link = a.token(t, u.Email)
		require.Equal(t, 1, atOnce(t, func(i int) error { return a.UndoEmail(ctx, link, passwords[i]) }), "undone changes")

		bob := a.add(t, "bob@example.com", true)
		handle, err := a.RequestCode(ctx, bob.Email)
		require.NoError(t, err)
		code := a.code(t, bob.Email)
		require.Equal(t, 1, atOnce(t, func(int) error {
			_, err := a.LoginWithCode(ctx, handle, code)
			return err
		}), "logins")
		handle, err = a.RequestCode(ctx, bob.Email)
		require.NoError(t, err)
		code = a.code(t, bob.Email)
		right, err := strconv.Atoi(code)
		require.NoError(t, err)
		require.Zero(t, atOnce(t, func(i int) error {
			_, err := a.LoginWithCode(ctx, handle, fmt.Sprintf("%06d", (right+1+i)%1_000_000))
			return err
		}), "wrong codes")
		_, err = a.LoginWithCode(ctx, handle, code)
		require.ErrorIs(t, err, authkit.ErrInvalidTicket, "32 guesses leave no attempt")
	})
}

// RG-09: 1,000 registrations at once, a tenth of them for an address of another
// one, are 900 accounts.
func TestAccountRegistrations(t *testing.T) {
	t.Parallel()
	addresses, registrations := 900, 1000
	if raced {
		addresses, registrations = 180, 200
	}
	onEachAccounts(t, func(t *testing.T, a *accountApp) {
		ctx := t.Context()
		each := func(n int, f func(i int)) {
			var group sync.WaitGroup
			next := make(chan int)
			for range 16 {
				group.Go(func() {
					for i := range next {
						f(i)
					}
				})
			}
			for i := range n {
				next <- i
			}
			close(next)
			group.Wait()
		}
		each(registrations, func(i int) {
			if err := a.Register(ctx, fmt.Sprintf("user-%d@example.com", i%addresses)); err != nil {
				t.Error(err)
			}
		})
		each(4, func(int) {
			if err := a.Deliver(ctx); err != nil {
				t.Error(err)
			}
		})
		var tokens []string
		for i := range addresses {
			for _, m := range a.mails.to(fmt.Sprintf("user-%d@example.com", i)) {
				tokens = append(tokens, linkToken.FindStringSubmatch(m.Text)[1])
			}
		}
		require.Len(t, tokens, registrations)
		var created atomic.Int32
		each(len(tokens), func(i int) {
			_, err := a.SignUp(ctx, tokens[i], account.NewAccount{Password: accountPassword})
			switch {
			case err == nil:
				created.Add(1)
			case !errors.Is(err, authkit.ErrInvalidTicket):
				t.Error(err)
			}
		})
		require.EqualValues(t, addresses, created.Load())
		n, err := a.kit.CountUsers(ctx, authkit.UserQuery{})
		require.NoError(t, err)
		require.Equal(t, addresses, n)
	})
}

// RG-23, RE-10: two instances send each mail once.
func TestAccountTwoInstances(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, again := d.open(t)
		var instances []*accountApp
		for _, p := range []*sqlstore.DB{storeOn(t, pool, d, nil), storeOn(t, again(t), d, nil)} {
			instances = append(instances, newAccountApp(t, p, accountsql.New(p)))
		}
		const mails = 100
		for i := range mails {
			require.NoError(t, instances[i%2].Register(t.Context(), fmt.Sprintf("user-%d@example.com", i)))
		}
		var group sync.WaitGroup
		for i := range 6 {
			group.Go(func() {
				if err := instances[i%2].Deliver(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for i := range mails {
			address := fmt.Sprintf("user-%d@example.com", i)
			require.Len(t, append(instances[0].mails.to(address), instances[1].mails.to(address)...), 1)
		}
	})
}

// ST-08, RG-22: a copy of all tables shows no password, link, code or mail.
func TestAccountDump(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		s := storeOn(t, pool, d, nil)
		a := newAccountApp(t, s, accountsql.New(s))
		ctx := t.Context()
		u := a.add(t, "ann@example.com", true)
		var secrets []string
		dump := ""
		look := func() {
			for _, table := range []string{"users", "sessions", "tickets", "account_jobs", "account_times"} {
				dump += dumpOf(t, s, table)
			}
		}
		tokens := func(address string) {
			look() // the request waits
			found := a.token(t, address)
			id, secret, _ := strings.Cut(found, ".")
			require.Contains(t, found, id)
			secrets = append(secrets, secret)
			look()
		}
		require.NoError(t, a.Register(ctx, "new@example.com"))
		tokens("new@example.com")
		require.NoError(t, a.RequestReset(ctx, u.Email))
		tokens(u.Email)
		require.NoError(t, a.ChangeEmail(ctx, u.ID, accountPassword, "ann@example.org"))
		look()
		link := a.token(t, "ann@example.org")
		require.NoError(t, a.ConfirmEmail(ctx, u.ID, link))
		tokens(u.Email)
		_, err := a.RequestCode(ctx, "ann@example.org")
		require.NoError(t, err)
		look()
		secrets = append(secrets, `"`+a.code(t, "ann@example.org")+`"`, link, accountPassword, "https://", "Subject", "token=")

		// A mail that was rendered and could not be sent.
		a.calls.fail("Send", errors.New("no connection"))
		require.NoError(t, a.RequestReset(ctx, "ann@example.org"))
		require.NoError(t, a.Deliver(ctx))
		look()
		a.calls.fail("", nil)
		a.hurry(t)
		tokens("ann@example.org")
		require.NotEmpty(t, dump)
		require.Contains(t, dump, "ann@example.com", "the dump shows what is there")
		for _, secret := range secrets {
			require.NotContains(t, dump, secret)
		}
		require.NoError(t, a.Deliver(ctx))
		require.Empty(t, dumpOf(t, s, "account_jobs"), "what was delivered is gone")
	})
}

// dumpOf returns all rows of a table.
func dumpOf(t *testing.T, s *sqlstore.DB, table string) string {
	t.Helper()
	columns := map[string]int{"users": 13, "sessions": 15, "tickets": 10, "account_jobs": 6, "account_times": 5, "oidc_identities": 9, "totp_factors": 9, "totp_codes": 4, "orgs": 5, "org_members": 6, "org_invitations": 9, "org_active": 4}[table]
	var b strings.Builder
	err := s.Query(t.Context(), func(scan func(...any) error) error {
		row, into := make([]any, columns), make([]any, columns)
		for i := range row {
			into[i] = &row[i]
		}
		if err := scan(into...); err != nil {
			return err
		}
		for _, v := range row {
			if text, ok := v.([]byte); ok {
				v = string(text)
			}
			_, _ = fmt.Fprintf(&b, "%v|", v)
		}
		return nil
	}, "SELECT * FROM {"+table+"}")
	require.NoError(t, err)
	return b.String()
}

// hurry makes all jobs that wait for another try due.
func (a *accountApp) hurry(t testing.TB) {
	t.Helper()
	var waiting []account.Job
	at := time.Now().Add(3 * time.Minute)
	for {
		j, err := a.jobs.ClaimJob(t.Context(), at, at.Add(time.Hour))
		if errors.Is(err, account.ErrNoJob) {
			break
		}
		require.NoError(t, err)
		waiting = append(waiting, j)
	}
	for _, j := range waiting {
		require.NoError(t, a.jobs.PostponeJob(t.Context(), j.ID, j.Attempts, time.Now().Add(-time.Second)))
	}
}
