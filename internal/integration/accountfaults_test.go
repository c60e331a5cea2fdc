package integration_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
)

// A faultCase is a step of a flow, of which a call fails.
type faultCase struct {
	// prepare does what comes before, for an address that nothing was done
	// with, and returns the step. What it returns is done a second time after
	// the failure.
	prepare func(t *testing.T, a *accountApp, address string) (step func() error)

	// before checks that nothing has changed, and after that everything has.
	before, after func(t *testing.T, a *accountApp, address string)
}

func accountOf(t *testing.T, a *accountApp, address string) authkit.User {
	t.Helper()
	u, err := a.kit.UserByEmail(t.Context(), address)
	require.NoError(t, err)
	return u
}

func logsIn(t *testing.T, a *accountApp, address, password string, want bool) {
	t.Helper()
	err := a.kit.VerifyPassword(t.Context(), accountOf(t, a, address).ID, password) // unlike a login, it waits for no cut-off
	require.Equal(t, want, err == nil, "%s: %v", password, err)
}

func noAccount(t *testing.T, a *accountApp, address string) {
	t.Helper()
	_, err := a.kit.UserByEmail(t.Context(), address)
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
}

// deliver delivers what waits, and again after a failure until all is
// delivered.
func deliver(t *testing.T, a *accountApp) func() error {
	return func() error {
		a.hurry(t)
		err := a.Deliver(context.WithoutCancel(t.Context()))
		if a.calls.hit != "" && err == nil {
			err = errFault // which a worker does not return, but tries again later
		}
		return err
	}
}

var faultCases = map[string]faultCase{
	"Register": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			return func() error { return a.Register(t.Context(), address) }
		},
		before: func(t *testing.T, a *accountApp, address string) {
			require.NoError(t, a.Deliver(t.Context()))
			require.Empty(t, a.mails.to(address))
		},
		after: func(t *testing.T, a *accountApp, address string) { a.token(t, address) },
	},
	"Deliver a link to sign up": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			require.NoError(t, a.Register(t.Context(), address))
			return deliver(t, a)
		},
		after: func(t *testing.T, a *accountApp, address string) {
			_, err := a.SignUp(t.Context(), a.token(t, address), account.NewAccount{Password: accountPassword})
			require.NoError(t, err)
		},
	},
	"Deliver a link to reset": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			a.add(t, address, true)
			require.NoError(t, a.RequestReset(t.Context(), address))
			return deliver(t, a)
		},
		after: func(t *testing.T, a *accountApp, address string) {
			require.NoError(t, a.ResetPassword(t.Context(), a.token(t, address), accountPassword2))
			require.NoError(t, a.Deliver(t.Context()))
			require.Len(t, a.mails.to(address), 1)
		},
	},
	"Deliver a code": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			a.add(t, address, true)
			_, err := a.RequestCode(t.Context(), address)
			require.NoError(t, err)
			return deliver(t, a)
		},
		after: func(t *testing.T, a *accountApp, address string) { a.code(t, address) },
	},
	"SignUp": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			require.NoError(t, a.Register(t.Context(), address))
			link := a.token(t, address)
			return func() error {
				_, err := a.SignUp(t.Context(), link, account.NewAccount{Password: accountPassword})
				return err
			}
		},
		before: noAccount,
		after: func(t *testing.T, a *accountApp, address string) {
			require.False(t, accountOf(t, a, address).EmailVerifiedAt.IsZero())
			logsIn(t, a, address, accountPassword, true)
		},
	},
	"ResetPassword": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			a.add(t, address, true)
			require.NoError(t, a.RequestReset(t.Context(), address))
			link := a.token(t, address)
			return func() error { return a.ResetPassword(t.Context(), link, accountPassword2) }
		},
		before: func(t *testing.T, a *accountApp, address string) {
			require.NoError(t, a.Deliver(t.Context()))
			require.Empty(t, a.mails.to(address), "no mail tells of a change that was not made")
			logsIn(t, a, address, accountPassword2, false)
		},
		after: func(t *testing.T, a *accountApp, address string) {
			require.NoError(t, a.Deliver(t.Context()))
			require.Len(t, a.mails.to(address), 1)
			logsIn(t, a, address, accountPassword2, true)
			logsIn(t, a, address, accountPassword, false)
		},
	},
	"ResetPassword of an unproved account": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			a.add(t, address, false)
			require.NoError(t, a.RequestReset(t.Context(), address))
			link := a.token(t, address)
			return func() error { return a.ResetPassword(t.Context(), link, accountPassword2) }
		},
		before: func(t *testing.T, a *accountApp, address string) {
			require.True(t, accountOf(t, a, address).EmailVerifiedAt.IsZero())
			logsIn(t, a, address, accountPassword2, false)
		},
		after: func(t *testing.T, a *accountApp, address string) {
			require.False(t, accountOf(t, a, address).EmailVerifiedAt.IsZero())
			logsIn(t, a, address, accountPassword2, true)
			logsIn(t, a, address, accountPassword, false)
		},
	},
	"Invite": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			return func() error {
				_, err := a.Invite(t.Context(), authkit.User{Email: address})
				return err
			}
		},
		before: noAccount,
		after: func(t *testing.T, a *accountApp, address string) {
			require.NoError(t, a.ResetPassword(t.Context(), a.token(t, address), accountPassword))
			logsIn(t, a, address, accountPassword, true)
		},
	},
	"ConfirmEmail": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			u := a.add(t, address, true)
			require.NoError(t, a.ChangeEmail(t.Context(), u.ID, accountPassword, "new-"+address))
			link := a.token(t, "new-"+address)
			return func() error { return a.ConfirmEmail(t.Context(), u.ID, link) }
		},
		before: func(t *testing.T, a *accountApp, address string) {
			accountOf(t, a, address)
			require.NoError(t, a.Deliver(t.Context()))
			require.Empty(t, a.mails.to(address))
		},
		after: func(t *testing.T, a *accountApp, address string) {
			noAccount(t, a, address)
			require.False(t, accountOf(t, a, "new-"+address).EmailVerifiedAt.IsZero())
			require.NoError(t, a.UndoEmail(t.Context(), a.token(t, address), accountPassword2))
		},
	},
	"UndoEmail": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			u := a.add(t, address, true)
			require.NoError(t, a.ChangeEmail(t.Context(), u.ID, accountPassword, "new-"+address))
			require.NoError(t, a.ConfirmEmail(t.Context(), u.ID, a.token(t, "new-"+address)))
			link := a.token(t, address)
			return func() error { return a.UndoEmail(t.Context(), link, accountPassword2) }
		},
		before: noAccount,
		after: func(t *testing.T, a *accountApp, address string) {
			logsIn(t, a, address, accountPassword2, true)
			noAccount(t, a, "new-"+address)
		},
	},
	"Delete": {
		prepare: func(t *testing.T, a *accountApp, address string) func() error {
			u := a.add(t, address, true)
			return func() error { return a.Delete(t.Context(), u.ID, accountPassword) }
		},
		before: func(t *testing.T, a *accountApp, address string) { accountOf(t, a, address) },
		after: func(t *testing.T, a *accountApp, address string) {
			noAccount(t, a, address)
			require.NoError(t, a.Deliver(t.Context()))
			require.Len(t, a.mails.to(address), 1)
		},
	},
}

// TestAccountFaults fails each call of a store or a mailer in turn, and the
// commit. Nothing is changed by a step that fails, and the same step succeeds
// afterwards: the link is as good as before, and each mail is sent once.
func TestAccountFaults(t *testing.T) {
	t.Parallel()
	onEachAccounts(t, func(t *testing.T, a *accountApp) {
		number := 0
		for name, c := range faultCases {
			failed := 0
			for n := 1; ; n++ {
				number++
				address := fmt.Sprintf("user-%d@example.com", number)
				step := c.prepare(t, a, address)
				a.calls.at(n)
				err := step()
				hit := a.calls.stop()
				if hit == "" {
					require.NoError(t, err, name)
					c.after(t, a, address)
					break
				}
				failed++
				at := fmt.Sprintf("%s: call %d, %s", name, n, hit)
				require.True(t, errors.Is(err, authkit.ErrUnavailable) || errors.Is(err, errFault), "%s: %v", at, err)
				require.False(t, errors.Is(err, authkit.ErrInvalidTicket), at)
				if c.before != nil {
					c.before(t, a, address)
				}
				a.calls.at(0)
				require.NoError(t, step(), at)
				c.after(t, a, address)
			}
			require.Greater(t, failed, 0, name)
			t.Logf("%s: %d calls", name, failed)
		}
	})
}
