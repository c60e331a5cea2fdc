package account

import (
	"context"
	"errors"

	"github.com/authkit-go/authkit"
)

// methodEmail is the method of a login by a code, in [authkit.Proof].
const methodEmail = "email"

var errCodesOff = errors.New("account: set Config.CodeLogin for logins with a code")

// RequestCode sends a code of six digits to an address, if an enabled account
// has it, and returns the handle that [Accounts.LoginWithCode] needs beside the
// code. It returns a handle for every address. The code is good for ten minutes
// and five attempts, and a newer one voids it. It works with this handle only: a
// code that a stranger requested fits no other login.
//
// The errors are those of [Accounts.Register].
func (a *Accounts) RequestCode(ctx context.Context, email string) (handle string, err error) {
	if !a.codes {
		return "", errCodesOff
	}
	email, err = normal(email)
	if err != nil {
		return "", err
	}
	t, code := authkit.NewCodeTicket(ticketCode, "", codeLife)
	if err := a.ask(ctx, authkit.ActionReset, task{Kind: taskCode, Email: email, Ticket: &t, Code: code}); err != nil {
		return "", err
	}
	return t.ID, nil
}

// LoginWithCode logs in the user who received the code of a request. Like every
// login, it asks for second factors, and refuses locked and disabled accounts.
// If the address was never verified, it is now, and all credentials of the
// account are removed before.
//
// A wrong code does not count against the account, so a stranger cannot block
// it. An account has ten codes a day with five attempts each.
//
// The errors are those of [authkit.Kit.LoginWith], and ErrInvalidTicket for a
// code that is wrong, used, expired or void.
func (a *Accounts) LoginWithCode(ctx context.Context, handle, code string) (authkit.Token, error) {
	if !a.codes {
		return authkit.Token{}, errCodesOff
	}
	return a.kit.LoginWith(ctx, authkit.Attempt{Action: authkit.ActionCode}, func(ctx context.Context) (authkit.Proof, error) {
		t, g, err := a.opened(ctx, ticketCode, handle+"."+code)
		if err != nil {
			return authkit.Proof{}, err
		}
		if g.UserID == "" { // of an address without an account: no one received the code
			return authkit.Proof{}, authkit.ErrInvalidTicket
		}
		u, err := a.owner(ctx, t, g)
		if err != nil {
			return authkit.Proof{}, err
		}
		if !u.EmailVerifiedAt.IsZero() {
			return authkit.Proof{UserID: u.ID, Methods: []string{methodEmail}, Version: u.Version}, a.consume(ctx, t)
		}
		ctx = system(ctx)
		err = a.inTx(ctx, func(ctx context.Context) error {
			if err := a.consume(ctx, t); err != nil {
				return err
			}
			if err := a.prove(ctx, u); err != nil {
				return err
			}
			u, err = a.kit.User(ctx, u.ID)
			return err
		})
		return authkit.Proof{UserID: u.ID, Methods: []string{methodEmail}, Version: u.Version}, err
	})
}
