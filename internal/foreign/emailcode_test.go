package foreign_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/foreign"
)

// A box keeps the last code by address.
type box map[string]string

func (b box) mail(_ context.Context, to, code string) { b[to] = code }

func newEmailLogin(t *testing.T, change ...func(*authkit.Config)) (*foreign.EmailLogin, box, authkit.User) {
	t.Helper()
	kit, user := newKit(t, change...)
	mails := box{}
	return &foreign.EmailLogin{Kit: kit, Mail: mails.mail}, mails, user
}

// wrong returns a code that is not the one given.
func wrong(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func TestEmailCode(t *testing.T) {
	t.Parallel()
	var events recorder
	l, mails, user := newEmailLogin(t, events.listen)
	handle, err := l.Request(t.Context(), "Ann@Example.com")
	require.NoError(t, err)
	token, err := l.Login(t.Context(), email, handle, mails[email])
	require.NoError(t, err)
	require.Equal(t, user.ID, token.User.ID)
	require.Equal(t, authkit.EventLoginSuccess, events.last().Kind)
	_, p, err := l.Kit.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	require.Equal(t, []string{"email"}, p.Methods)

	_, err = l.Login(t.Context(), email, handle, mails[email])
	require.ErrorIs(t, err, authkit.ErrInvalidTicket, "a code is used once")
	require.Equal(t, authkit.ReasonWrongProof, events.last().Reason)
}

func TestEmailCodeWrong(t *testing.T) {
	t.Parallel()
	l, mails, _ := newEmailLogin(t)
	handle, err := l.Request(t.Context(), email)
	require.NoError(t, err)
	for range 5 {
		_, err := l.Login(t.Context(), email, handle, wrong(mails[email]))
		require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	}
	_, err = l.Login(t.Context(), email, handle, mails[email])
	require.ErrorIs(t, err, authkit.ErrInvalidTicket, "five attempts are all")
}

// A code works only with the handle of the request that asked for it, and only for the account that it
// was sent to.
func TestEmailCodeOfAnotherRequest(t *testing.T) {
	t.Parallel()
	l, mails, _ := newEmailLogin(t)
	_, err := l.Kit.CreateUser(t.Context(), authkit.User{Email: "bob@example.com"}, password)
	require.NoError(t, err)
	first, err := l.Request(t.Context(), email)
	require.NoError(t, err)
	old := mails[email]
	second, err := l.Request(t.Context(), email)
	require.NoError(t, err)
	bobs, err := l.Request(t.Context(), "bob@example.com")
	require.NoError(t, err)
	for name, c := range map[string][3]string{
		"a voided handle":        {email, first, old},
		"a voided handle, new":   {email, first, mails[email]},
		"the handle of bob":      {email, bobs, mails[email]},
		"the code of bob":        {"bob@example.com", second, mails["bob@example.com"]},
		"no handle":              {email, "", mails[email]},
		"an address that is not": {"ann", second, mails[email]},
	} {
		if c[1] == second && c[2] == mails[email] || c[1] == bobs && mails[email] == mails["bob@example.com"] {
			c[2] = wrong(c[2])
		}
		_, err := l.Login(t.Context(), c[0], c[1], c[2])
		require.ErrorIs(t, err, authkit.ErrInvalidTicket, name)
	}
	// The account named is the one whose failures count, so it has to be the right one.
	_, err = l.Login(t.Context(), email, bobs, mails["bob@example.com"])
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	_, err = l.Login(t.Context(), email, second, mails[email])
	require.NoError(t, err)
}

// A change to the account between the mail and the login voids the code.
func TestEmailCodeOfAChangedAccount(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]struct {
		do   func(context.Context, *authkit.Kit, string) error
		want error
	}{
		"the password": {func(ctx context.Context, k *authkit.Kit, id string) error {
			return k.SetPassword(ctx, id, "another horse")
		}, authkit.ErrInvalidCredentials},
		"the roles": {func(ctx context.Context, k *authkit.Kit, id string) error {
			_, err := k.SetRoles(ctx, id, "admin")
			return err
		}, authkit.ErrInvalidCredentials},
		"disabled": {func(ctx context.Context, k *authkit.Kit, id string) error { return k.DisableUser(ctx, id) }, authkit.ErrInvalidCredentials},
		"deleted":  {func(ctx context.Context, k *authkit.Kit, id string) error { return k.DeleteUser(ctx, id) }, authkit.ErrInvalidTicket},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, mails, user := newEmailLogin(t)
			handle, err := l.Request(t.Context(), email)
			require.NoError(t, err)
			require.NoError(t, change.do(t.Context(), l.Kit, user.ID))
			_, err = l.Login(t.Context(), email, handle, mails[email])
			require.ErrorIs(t, err, change.want)
		})
	}
}

func TestEmailCodeExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, mails, _ := newEmailLogin(t)
		handle, err := l.Request(t.Context(), email)
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		_, err = l.Login(t.Context(), email, handle, mails[email])
		require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	})
}

// A countingTickets counts the calls of a ticket store.
type countingTickets struct {
	authkit.TicketStore
	calls []string
	fail  error
}

func (c *countingTickets) PutTicket(ctx context.Context, t authkit.Ticket) error {
	c.calls = append(c.calls, "put")
	return errors.Join(c.fail, c.TicketStore.PutTicket(ctx, t))
}

func (c *countingTickets) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	c.calls = append(c.calls, "attempt")
	t, err := c.TicketStore.AttemptTicket(ctx, kind, id, at)
	return t, errors.Join(c.fail, err)
}

// No one learns by an answer, or by the work for it, whether an address has an account.
func TestEmailCodeOfAnUnknownAddress(t *testing.T) {
	t.Parallel()
	tickets := &countingTickets{TicketStore: authkit.NewMemoryStore()}
	l, mails, _ := newEmailLogin(t, func(c *authkit.Config) { c.Tickets = tickets })
	transcript := func(address string) string {
		tickets.calls = nil
		handle, err := l.Request(t.Context(), address)
		require.NoError(t, err)
		text := fmt.Sprintln(len(handle))
		for range 7 {
			_, err := l.Login(t.Context(), address, handle, wrong(mails[address]))
			text += fmt.Sprintln(err, authkit.ProblemFor(err).Status, authkit.ProblemFor(err).Detail)
		}
		return text + strings.Join(tickets.calls, " ")
	}
	known, unknown := transcript(email), transcript("nobody@example.com")
	require.Equal(t, known, unknown)
	require.Contains(t, known, "put attempt")
	require.NotEmpty(t, mails[email])
	require.Empty(t, mails["nobody@example.com"])
}

// A store that fails is not a wrong code.
func TestEmailCodeStoreFails(t *testing.T) {
	t.Parallel()
	var events recorder
	tickets := &countingTickets{TicketStore: authkit.NewMemoryStore()}
	l, mails, _ := newEmailLogin(t, events.listen, func(c *authkit.Config) { c.Tickets = tickets })
	handle, err := l.Request(t.Context(), email)
	require.NoError(t, err)
	tickets.fail = errors.New("no connection")
	_, err = l.Login(t.Context(), email, handle, mails[email])
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.Equal(t, 503, authkit.ProblemFor(err).Status)
	require.Equal(t, authkit.ReasonStore, events.last().Reason)
	_, err = l.Request(t.Context(), email)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
}
