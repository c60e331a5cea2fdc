package account

import (
	"context"

	"github.com/authkit-go/authkit"
)

// RequestReset sends a link for [Accounts.ResetPassword] to an address, if an
// enabled account has it. The link is good for an hour.
//
// The errors are those of [Accounts.Register].
func (a *Accounts) RequestReset(ctx context.Context, email string) error {
	email, err := normal(email)
	if err != nil {
		return err
	}
	return a.ask(ctx, authkit.ActionReset, task{Kind: taskReset, Email: email})
}

// StartReset sends a link for [Accounts.ResetPassword] to a user. It is for
// administrators, who need not choose or see a password. The old password works
// until the link is used. To revoke it at once, call [authkit.Kit.ResetUser]
// before. Your program must authorize the call.
//
// The errors are ErrUserNotFound, ErrUnavailable, and that of ctx.
func (a *Accounts) StartReset(ctx context.Context, userID string) error {
	if _, err := a.kit.User(ctx, userID); err != nil {
		return err
	}
	if err := a.put(ctx, task{Kind: taskStartReset, UserID: userID, Language: languageOf(ctx)}, now().Add(askLife)); err != nil {
		return a.failed(ctx, err)
	}
	a.nudge()
	return nil
}

// Invite creates an account without a password, and mails a link with which its
// user chooses one. The link is good for seven days, as long as the account is
// not changed. After that, use [Accounts.StartReset]. Your program must
// authorize the call; a principal in ctx can only grant roles as
// [authkit.Kit.SetRoles] describes.
//
// The errors are those of [authkit.Kit.CreateUserWithoutPassword].
func (a *Accounts) Invite(ctx context.Context, u authkit.User) (authkit.User, error) {
	err := a.inTx(ctx, func(ctx context.Context) error {
		created, err := a.kit.CreateUserWithoutPassword(ctx, u)
		if err != nil {
			return err
		}
		u = created
		if err := a.put(ctx, task{Kind: taskInvite, UserID: u.ID, Language: languageOf(ctx)}, now().Add(askLife)); err != nil {
			return a.failed(ctx, err)
		}
		return nil
	})
	if err != nil {
		return authkit.User{}, err
	}
	return u, nil
}

// ResetPassword sets the password of a user, for the token of a link that was
// mailed by [Accounts.RequestReset], [Accounts.Invite] or
// [Accounts.StartReset]. It ends all sessions of the user, and tells the user
// by mail. It does not log the user in. It removes all credentials if the
// address was not verified before, and otherwise keeps the second factors.
//
// The errors are:
//   - ErrInvalidTicket if the token is unknown, used, expired or void, or if
//     the account is locked or disabled.
//   - A *ValidationError if the password is against the rules. The link stays
//     good.
//   - ErrOverloaded, ErrUnavailable, or the error of ctx.
func (a *Accounts) ResetPassword(ctx context.Context, token, password string) error {
	ctx = system(ctx)
	t, g, err := a.opened(ctx, ticketReset, token)
	if err != nil {
		return err
	}
	u, err := a.owner(ctx, t, g)
	if err != nil {
		return err
	}
	prepared, err := a.kit.PreparePassword(ctx, u, password)
	if err != nil {
		return err
	}
	return a.inTx(prepared, func(ctx context.Context) error {
		if err := a.consume(ctx, t); err != nil {
			return err
		}
		if err := a.prove(ctx, u); err != nil {
			return err
		}
		if err := a.kit.SetPassword(ctx, u.ID, password); err != nil {
			return lost(err)
		}
		if u.EmailVerifiedAt.IsZero() {
			return nil // the mail with the link was the first one
		}
		return a.notify(ctx, "password_changed", u, u.Email, "")
	})
}

// prove records within a transaction that the user of an account has proved to
// read its mail. Every proof of a mailbox without a password calls it. The
// account must not have changed since u was read. If its address was never
// verified, everything that an earlier holder could log in with is removed
// (RG-15).
func (a *Accounts) prove(ctx context.Context, u authkit.User) error {
	proved, err := a.kit.VerifyEmail(ctx, u.ID, u.Email)
	if err != nil {
		return lost(err)
	}
	if proved.Version != u.Version+1 || !usable(proved) { // the update has locked the account
		return authkit.ErrInvalidTicket
	}
	if !u.EmailVerifiedAt.IsZero() {
		return nil
	}
	return lost(a.kit.ResetUser(ctx, u.ID))
}
