package account_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
)

// A failer fails one of the next calls of the stores, or does what a test says
// before each of them.
type failer struct {
	left  int    // the number of calls up to the one that fails; 0 for none
	hit   string // the call that failed
	hook  func(ctx context.Context, call string) error
	calls []string

	subjects []string // of the tickets that were stored
	times    []time.Time
}

var errNoConnection = errors.New("no connection")

func (f *failer) next(ctx context.Context, call string) error {
	f.calls = append(f.calls, call)
	if f.hook != nil {
		if err := f.hook(ctx, call); err != nil {
			return err
		}
	}
	if f.left--; f.left == 0 {
		f.hit = call
		return errNoConnection
	}
	return nil
}

// count returns how often a call was made.
func (f *failer) count(call string) (n int) {
	for _, c := range f.calls {
		if c == call {
			n++
		}
	}
	return n
}

// fails lets all calls of a name return an error.
func (f *failer) fails(name string, err error) {
	f.calls = nil
	f.hook = func(_ context.Context, call string) error {
		if call == name {
			return err
		}
		return nil
	}
}

// A flakyUsers is a store whose calls can fail, before they have an effect.
type flakyUsers struct {
	*authkit.MemoryStore
	f *failer
}

func (s flakyUsers) InTx(ctx context.Context, do func(context.Context) error) error {
	return s.MemoryStore.InTx(ctx, func(ctx context.Context) error {
		if err := do(ctx); err != nil {
			return err
		}
		return s.f.next(ctx, "commit")
	})
}

func (s flakyUsers) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	if err := s.f.next(ctx, "CreateUser"); err != nil {
		return err
	}
	return s.MemoryStore.CreateUser(ctx, u)
}

func (s flakyUsers) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	if err := s.f.next(ctx, "UserByID"); err != nil {
		return authkit.StoredUser{}, err
	}
	return s.MemoryStore.UserByID(ctx, id)
}

func (s flakyUsers) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	if err := s.f.next(ctx, "UserByEmail"); err != nil {
		return authkit.StoredUser{}, err
	}
	return s.MemoryStore.UserByEmail(ctx, email)
}

func (s flakyUsers) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if err := s.f.next(ctx, "UpdateUser"); err != nil {
		return authkit.User{}, err
	}
	return s.MemoryStore.UpdateUser(ctx, id, change, at)
}

func (s flakyUsers) DeleteUser(ctx context.Context, id, keepRole string) error {
	if err := s.f.next(ctx, "DeleteUser"); err != nil {
		return err
	}
	return s.MemoryStore.DeleteUser(ctx, id, keepRole)
}

func (s flakyUsers) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
	if err := s.f.next(ctx, "SessionsByUser"); err != nil {
		return nil, err
	}
	return s.MemoryStore.SessionsByUser(ctx, userID)
}

func (s flakyUsers) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	if err := s.f.next(ctx, "RevokeSessions"); err != nil {
		return err
	}
	return s.MemoryStore.RevokeSessions(ctx, userID, except, at)
}

func (s flakyUsers) PutTicket(ctx context.Context, t authkit.Ticket) error {
	if err := s.f.next(ctx, "PutTicket"); err != nil {
		return err
	}
	s.f.subjects = append(s.f.subjects, t.Subject)
	return s.MemoryStore.PutTicket(ctx, t)
}

func (s flakyUsers) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	if err := s.f.next(ctx, "AttemptTicket"); err != nil {
		return authkit.Ticket{}, err
	}
	return s.MemoryStore.AttemptTicket(ctx, kind, id, at)
}

func (s flakyUsers) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	if err := s.f.next(ctx, "ConsumeTicket"); err != nil {
		return err
	}
	return s.MemoryStore.ConsumeTicket(ctx, kind, id, at)
}

func (s flakyUsers) DeleteTickets(ctx context.Context, subject string) error {
	if err := s.f.next(ctx, "DeleteTickets"); err != nil {
		return err
	}
	return s.MemoryStore.DeleteTickets(ctx, subject)
}

// A flakyJobs is an outbox whose calls can fail, before they have an effect.
type flakyJobs struct {
	account.Store
	f *failer
}

func (s flakyJobs) PutJob(ctx context.Context, j account.Job) error {
	if err := s.f.next(ctx, "PutJob"); err != nil {
		return err
	}
	return s.Store.PutJob(ctx, j)
}

func (s flakyJobs) ClaimJob(ctx context.Context, at, until time.Time) (account.Job, error) {
	if err := s.f.next(ctx, "ClaimJob"); err != nil {
		return account.Job{}, err
	}
	return s.Store.ClaimJob(ctx, at, until)
}

func (s flakyJobs) PostponeJob(ctx context.Context, id string, attempts int, due time.Time) error {
	if err := s.f.next(ctx, "PostponeJob"); err != nil {
		return err
	}
	return s.Store.PostponeJob(ctx, id, attempts, due)
}

func (s flakyJobs) DeleteJob(ctx context.Context, id string, attempts int) (bool, error) {
	if err := s.f.next(ctx, "DeleteJob"); err != nil {
		return false, err
	}
	return s.Store.DeleteJob(ctx, id, attempts)
}

func (s flakyJobs) Times(ctx context.Context, key string) ([]time.Time, int64, error) {
	if err := s.f.next(ctx, "Times"); err != nil {
		return nil, 0, err
	}
	times, version, err := s.Store.Times(ctx, key)
	return append(times, s.f.times...), version, err
}

func (s flakyJobs) SetTimes(ctx context.Context, key string, times []time.Time, version int64, expires time.Time) error {
	if err := s.f.next(ctx, "SetTimes"); err != nil {
		return err
	}
	return s.Store.SetTimes(ctx, key, times, version, expires)
}

func (s flakyJobs) DeleteExpiredJobs(ctx context.Context, at time.Time, limit int) (int, error) {
	if err := s.f.next(ctx, "DeleteExpiredJobs"); err != nil {
		return 1, err // in a store that counts what it has removed before the error
	}
	return s.Store.DeleteExpiredJobs(ctx, at, limit)
}

func newFlakyApp(t testing.TB, opts ...options) (*app, *failer) {
	t.Helper()
	f := new(failer)
	users := flakyUsers{authkit.NewMemoryStore(), f}
	flaky := options{
		kit:      []func(*authkit.Config){func(c *authkit.Config) { c.Users, c.Sessions.Store, c.Tickets = users, users, users }},
		accounts: []func(*account.Config){func(c *account.Config) { c.Store = flakyJobs{account.NewMemoryStore(), f} }},
	}
	a := newNoticeApp(t, append([]options{flaky}, opts...)...)
	a.users = users.MemoryStore
	return a, f
}

// failures returns how many events there are of the error of a [failer], and
// forgets all events. None is of a failing mail.
func (a *app) failures(t *testing.T, at string) (n int) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		require.NotEqual(t, authkit.EventMailFailure, e.Kind, at)
		if errors.Is(e.Err, errNoConnection) {
			n++
		}
	}
	a.events = nil
	return n
}

// FR-11: whichever call of a store fails, the method returns ErrUnavailable and
// emits an event. It succeeds when it is called again: the link is as good as
// before, and one mail is sent. internal/integration has the same on databases.
func TestEachCallFails(t *testing.T) {
	t.Parallel()
	type person struct {
		authkit.User
		context.Context
	}
	// Each prepares a method. The function that checks the result gets the only
	// mail that was sent. Without one there is none.
	type step struct {
		do    func() error
		check func(m account.Message)
	}
	synctest.Test(t, func(t *testing.T) {
		a, f := newFlakyApp(t)
		deliver := func() error { return a.Deliver(t.Context()) }
		link := func(request error) string {
			require.NoError(t, request)
			return token(t, a.mail(t))
		}
		logsIn := func(email, with string) {
			time.Sleep(time.Second) // a login of the second of a change is refused
			_, err := a.kit.Login(t.Context(), email, with)
			require.NoError(t, err)
		}
		reset := func(m account.Message) {
			require.NoError(t, a.ResetPassword(t.Context(), token(t, m), newPassword))
			logsIn(m.To, newPassword)
			a.mail(t) // which tells of the change
		}
		signUp := func(m account.Message) {
			_, err := a.SignUp(t.Context(), token(t, m), account.NewAccount{Password: password})
			require.NoError(t, err)
			logsIn(m.To, password)
		}
		sent := func(text string) func(account.Message) {
			return func(m account.Message) { require.Contains(t, m.Text, text) }
		}
		change := func(p person) string {
			require.NoError(t, a.ChangeEmail(p, p.ID, password, "new-"+p.Email))
			return token(t, a.mail(t))
		}
		code := func(email string) (handle, code string) {
			handle, err := a.RequestCode(t.Context(), email)
			require.NoError(t, err)
			return handle, codeIn.FindString(a.mail(t).Text)
		}
		unproved := func(email string) authkit.User {
			u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: email}, password)
			require.NoError(t, err)
			return u
		}
		cases := map[string]func(p person, stranger string) step{
			"Register": func(_ person, stranger string) step {
				return step{func() error { return a.Register(t.Context(), stranger) }, signUp}
			},
			"a link to sign up": func(_ person, stranger string) step {
				require.NoError(t, a.Register(t.Context(), stranger))
				return step{deliver, signUp}
			},
			"an address with an account": func(p person, _ string) step {
				require.NoError(t, a.Register(t.Context(), p.Email))
				return step{deliver, sent("/account/reset")}
			},
			"an address that is not verified": func(_ person, stranger string) step {
				unproved(stranger)
				require.NoError(t, a.Register(t.Context(), stranger))
				return step{deliver, func(m account.Message) {
					require.NoError(t, a.ResetPassword(t.Context(), token(t, m), newPassword))
					logsIn(m.To, newPassword)
				}}
			},
			"RequestReset": func(p person, _ string) step {
				return step{func() error { return a.RequestReset(t.Context(), p.Email) }, reset}
			},
			"a link to reset": func(p person, _ string) step {
				require.NoError(t, a.RequestReset(t.Context(), p.Email))
				return step{deliver, reset}
			},
			"StartReset": func(p person, _ string) step {
				return step{func() error { return a.StartReset(t.Context(), p.ID) }, reset}
			},
			"a link of StartReset": func(p person, _ string) step {
				require.NoError(t, a.StartReset(t.Context(), p.ID))
				return step{deliver, reset}
			},
			"Invite": func(_ person, stranger string) step {
				return step{func() error { _, err := a.Invite(t.Context(), authkit.User{Email: stranger}); return err }, func(m account.Message) {
					require.NoError(t, a.ResetPassword(t.Context(), token(t, m), newPassword))
					logsIn(stranger, newPassword)
				}}
			},
			"a code": func(p person, _ string) step {
				handle, err := a.RequestCode(t.Context(), p.Email)
				require.NoError(t, err)
				return step{deliver, func(m account.Message) {
					_, err := a.LoginWithCode(t.Context(), handle, codeIn.FindString(m.Text))
					require.NoError(t, err)
				}}
			},
			"RequestCode": func(p person, _ string) step {
				return step{func() error { _, err := a.RequestCode(t.Context(), p.Email); return err }, func(m account.Message) {
					require.Regexp(t, codeIn, m.Text)
				}}
			},
			"LoginWithCode": func(p person, _ string) step {
				handle, code := code(p.Email)
				return step{do: func() error { _, err := a.LoginWithCode(t.Context(), handle, code); return err }}
			},
			"LoginWithCode of an unverified address": func(_ person, stranger string) step {
				unproved(stranger)
				handle, code := code(stranger)
				return step{do: func() error { _, err := a.LoginWithCode(t.Context(), handle, code); return err }}
			},
			"SignUp": func(_ person, stranger string) step {
				token := link(a.Register(t.Context(), stranger))
				return step{do: func() error {
					_, err := a.SignUp(t.Context(), token, account.NewAccount{Password: password})
					return err
				}}
			},
			"ResetPassword": func(p person, _ string) step {
				token := link(a.RequestReset(t.Context(), p.Email))
				return step{func() error { return a.ResetPassword(t.Context(), token, newPassword) }, sent("password")}
			},
			"ResetPassword of an unverified address": func(_ person, stranger string) step {
				unproved(stranger)
				token := link(a.RequestReset(t.Context(), stranger))
				return step{do: func() error { return a.ResetPassword(t.Context(), token, newPassword) }}
			},
			"ChangeEmail": func(p person, _ string) step {
				return step{func() error { return a.ChangeEmail(p, p.ID, password, "new-"+p.Email) }, func(m account.Message) {
					require.NoError(t, a.ConfirmEmail(p, p.ID, token(t, m)))
					a.mail(t) // which undoes it
				}}
			},
			"a link to a new address": func(p person, _ string) step {
				require.NoError(t, a.ChangeEmail(p, p.ID, password, "new-"+p.Email))
				return step{deliver, func(m account.Message) {
					require.NoError(t, a.ConfirmEmail(p, p.ID, token(t, m)))
					a.mail(t)
				}}
			},
			"a new address that has an account": func(p person, stranger string) step {
				a.add(t, stranger)
				require.NoError(t, a.ChangeEmail(p, p.ID, password, stranger))
				return step{deliver, sent("/account/reset")}
			},
			"ConfirmEmail": func(p person, _ string) step {
				link := change(p)
				return step{func() error { return a.ConfirmEmail(p, p.ID, link) }, func(m account.Message) {
					require.NoError(t, a.UndoEmail(t.Context(), token(t, m), newPassword))
					a.mail(t)
				}}
			},
			"UndoEmail": func(p person, _ string) step {
				require.NoError(t, a.ConfirmEmail(p, p.ID, change(p)))
				link := token(t, a.mail(t))
				return step{func() error { return a.UndoEmail(t.Context(), link, newPassword) }, func(m account.Message) {
					require.Equal(t, "new-"+p.Email, m.To)
					logsIn(p.Email, newPassword)
				}}
			},
			"Delete": func(p person, _ string) step {
				return step{func() error { return a.Delete(p, p.ID, password) }, func(m account.Message) {
					_, err := a.kit.User(t.Context(), p.ID)
					require.ErrorIs(t, err, authkit.ErrUserNotFound)
				}}
			},
			"Export": func(p person, _ string) step {
				return step{do: func() error { _, err := a.Export(p, p.ID); return err }}
			},
		}
		number := 0
		for name, prepare := range cases {
			for n := 1; ; n++ {
				number++
				p := person{User: a.add(t, fmt.Sprintf("user%d@example.com", number))}
				p.Context = a.as(t, p.Email, password)
				s := prepare(p, fmt.Sprintf("stranger%d@example.com", number))
				a.kinds()
				f.left, f.hit = n, ""
				err := s.do()
				f.left = 0
				at := fmt.Sprintf("%s: call %d, %s", name, n, f.hit)
				if f.hit != "" {
					login := strings.HasPrefix(name, "LoginWithCode") // it is an event, too, and may use up the code
					if n := a.failures(t, at); n != 1 {
						require.True(t, login && n == 2, "%s: %d events", at, n)
					}
					if unicode.IsUpper(rune(name[0])) {
						require.ErrorIs(t, err, authkit.ErrUnavailable, at)
						if again := s.do(); !login {
							require.NoError(t, again, at)
						}
					} else if !strings.Contains(f.hit, "Job") || f.hit == "PutJob" { // a worker tries again by itself
						require.Empty(t, a.mails.all(), at)
					}
					time.Sleep(2 * time.Minute) // a job whose call failed is due again
				} else {
					require.NoError(t, err, name)
				}
				if s.check != nil {
					s.check(a.mail(t))
				}
				a.none(t)
				if f.hit == "" {
					require.Greater(t, n, 1, name)
					break
				}
			}
		}
	})
}

// A change of the account between two steps of a flow voids the link, and the second
// step changes nothing.
func TestChangesBetweenSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, f := newFlakyApp(t)
		for n, c := range []struct {
			before string // a call of a store
			do     func(ctx context.Context, u authkit.User) error
		}{
			{"ConsumeTicket", func(context.Context, authkit.User) error { return authkit.ErrTicketNotFound }}, // another request was first
			{"ConsumeTicket", func(ctx context.Context, u authkit.User) error {
				_, err := a.users.UpdateUser(ctx, u.ID, authkit.UserUpdate{FullName: new("Ann")}, time.Now())
				return err
			}},
			{"SetTimes", func(context.Context, authkit.User) error { return account.ErrConflict }}, // of a change of the address
			{"Times", func(context.Context, authkit.User) error { f.times = []time.Time{time.Now()}; return nil }},
		} {
			u := a.add(t, fmt.Sprintf("user%d@example.com", n))
			as := a.as(t, u.Email, password)
			require.NoError(t, a.ChangeEmail(as, u.ID, password, "new-"+u.Email))
			link := token(t, a.mail(t))
			reset := a.resetToken(t, u.Email)
			hook := func(ctx context.Context, call string) error {
				if call == c.before {
					return c.do(ctx, u)
				}
				return nil
			}
			f.hook = hook
			require.ErrorIs(t, a.ConfirmEmail(as, u.ID, link), authkit.ErrInvalidTicket, n)
			if c.before == "ConsumeTicket" {
				require.ErrorIs(t, a.ResetPassword(t.Context(), reset, newPassword), authkit.ErrInvalidTicket, n)
			}
			f.hook, f.times = nil, nil
			got, err := a.kit.User(t.Context(), u.ID)
			require.NoError(t, err)
			require.Equal(t, u, got, n)
			a.none(t)
			require.NoError(t, a.ConfirmEmail(as, u.ID, link), "the link is as good as before")
			a.mail(t)
		}

		u := a.add(t, "ann@example.com")
		as := a.as(t, u.Email, password)
		require.NoError(t, a.ChangeEmail(as, u.ID, password, "new@example.com"))
		link := token(t, a.mail(t))
		p, _ := authkit.PrincipalFrom(as)
		require.NoError(t, a.kit.Logout(t.Context(), u.ID, p.SessionID))
		require.ErrorIs(t, a.ConfirmEmail(as, u.ID, link), authkit.ErrInvalidTicket, "the session has ended")
	})
}

// A job ends for the worker that has lost it. A mail that was sent is sent again
// only if the store still fails at a second call, and after the lease.
func TestJobsOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		jobs := account.NewMemoryStore()
		var f *failer
		a, f := newFlakyApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
			c.Store = flakyJobs{jobs, c.Store.(flakyJobs).f}
		}}})
		require.NoError(t, a.Register(t.Context(), "ann@example.com"))
		f.hook = func(ctx context.Context, call string) error {
			if call == "DeleteJob" {
				f.hook = nil
				_, err := jobs.ClaimJob(ctx, time.Now().Add(3*time.Minute), time.Now().Add(5*time.Minute))
				return err
			}
			return nil
		}
		a.none(t)
		require.Zero(t, f.count("PostponeJob"))
		require.Empty(t, f.subjects, "no ticket")
		require.Zero(t, a.failures(t, "lost"))
		time.Sleep(5 * time.Minute)
		a.mail(t)

		for _, failing := range []int{1, 2} {
			u := a.add(t, fmt.Sprintf("user%d@example.com", failing))
			require.NoError(t, a.RequestReset(t.Context(), u.Email))
			left := failing
			f.calls = nil
			f.hook = func(_ context.Context, call string) error {
				a.mails.mu.Lock()
				defer a.mails.mu.Unlock()
				if call == "DeleteJob" && len(a.mails.mails) > 0 && left > 0 {
					left--
					return errNoConnection
				}
				return nil
			}
			a.mail(t)
			f.hook = nil
			require.Zero(t, left)
			require.Zero(t, f.count("PostponeJob"))
			require.Equal(t, failing, a.failures(t, "sent"))
			time.Sleep(119 * time.Second)
			a.none(t)
			time.Sleep(time.Second)
			if failing == 2 {
				a.mail(t)
			}
			a.none(t)
		}
	})
}

// The budget of an address is counted again after a conflict, at most five
// times. Then the job waits.
func TestBudgetConflicts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, f := newFlakyApp(t)
		for _, conflicts := range []int{4, 5} {
			require.NoError(t, a.Register(t.Context(), fmt.Sprintf("user%d@example.com", conflicts)))
			left := conflicts
			f.calls = nil
			f.hook = func(_ context.Context, call string) error {
				if call == "SetTimes" && left > 0 {
					left--
					return account.ErrConflict
				}
				return nil
			}
			if conflicts == 5 {
				a.none(t)
				require.Zero(t, left)
				require.Equal(t, 1, f.count("PostponeJob"))
				time.Sleep(10 * time.Second)
			}
			a.mail(t)
			require.NotContains(t, a.kinds(), authkit.EventStoreFailure, "another worker was first")
		}
	})
}

// The worker drops two kinds of jobs: a reset of an account that was deleted, and a
// link to a new address that got three mails within the hour.
func TestDroppedJobs(t *testing.T) {
	t.Parallel()
	a, f := newFlakyApp(t)
	u := a.add(t, "ann@example.com")
	require.NoError(t, a.StartReset(t.Context(), u.ID))
	require.NoError(t, a.kit.DeleteUser(t.Context(), u.ID))
	a.none(t)
	u = a.add(t, "bob@example.com")
	for range 3 {
		require.NoError(t, a.Register(t.Context(), "new@example.com"))
		a.mail(t)
	}
	require.NoError(t, a.ChangeEmail(t.Context(), u.ID, password, "new@example.com"))
	a.none(t)
	require.Zero(t, f.count("PostponeJob"))
	require.Zero(t, a.failures(t, "dropped"))

	// The ticket of a code that no one can use belongs to the address, so that a
	// newer one voids it.
	f.subjects = nil
	_, err := a.RequestCode(t.Context(), "nobody@example.com")
	require.NoError(t, err)
	a.none(t)
	require.Equal(t, []string{"nobody@example.com"}, f.subjects)
}

// A purge goes on until nothing is left, and ends at an error.
func TestPurge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, f := newFlakyApp(t)
		require.NoError(t, a.Register(t.Context(), "ann@example.com"))
		time.Sleep(25 * time.Hour)
		a.none(t)
		require.Equal(t, 2, f.count("DeleteExpiredJobs"))
		f.fails("DeleteExpiredJobs", errNoConnection)
		a.none(t)
		require.Equal(t, 1, f.count("DeleteExpiredJobs"))
		require.Equal(t, 1, a.failures(t, "purge"))
	})
}

// A notice that cannot be stored is an event. Of several instances, one warns.
func TestWarningFails(t *testing.T) {
	t.Parallel()
	a, f := newFlakyApp(t)
	u := a.add(t, "ann@example.com")
	guessed := authkit.Event{Kind: authkit.EventLoginThrottled, UserID: u.ID}
	for _, c := range []struct {
		call   string
		err    error
		e      authkit.Event
		events int
	}{
		{"Times", errNoConnection, guessed, 1},
		{"SetTimes", errNoConnection, guessed, 1},
		{"SetTimes", account.ErrConflict, guessed, 0},
		{"UserByID", errNoConnection, guessed, 1},
		{"UserByID", errNoConnection, authkit.Event{Kind: authkit.EventFactorAdded, UserID: u.ID}, 1},
	} {
		a.kinds()
		f.fails(c.call, c.err)
		a.OnEvent(t.Context(), c.e)
		require.Zero(t, f.count("PutJob"), c.call)
		require.Len(t, a.kinds(), c.events, c.call)
	}
	f.hook = nil
	a.none(t)
	a.OnEvent(t.Context(), guessed)
	a.mail(t)
}

// A call whose client is gone is no failure of a store.
func TestClientGone(t *testing.T) {
	t.Parallel()
	a, f := newFlakyApp(t)
	u := a.add(t, "ann@example.com")
	a.kinds()
	ctx, cancel := context.WithCancel(t.Context())
	f.hook = func(_ context.Context, call string) error {
		if call == "PutJob" {
			cancel()
			return errNoConnection
		}
		return nil
	}
	require.Equal(t, context.Canceled, a.StartReset(ctx, u.ID))
	require.Empty(t, a.kinds())
}

// A ticket that this package has not written is an error, and not void.
func TestUnreadableTicket(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add(t, "ann@example.com")
	ticket, secret := authkit.NewTicket("account_reset", u.ID, time.Hour)
	ticket.Body = []byte("{")
	require.NoError(t, a.users.PutTicket(t.Context(), ticket))
	require.ErrorContains(t, a.ResetPassword(t.Context(), secret, newPassword), "decoding a ticket")
}
