package account

import (
	"context"
	"errors"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	changePause  = undoLife // between two changes of an address: one can be undone
	recentChange = "was changed less than 7 days ago"
)

// ChangeEmail mails a link for [Accounts.ConfirmEmail] to a new address of a
// user who gives the password again. The link is good for an hour. If the new
// address has an account, it gets a mail without a link. An address can be
// changed once in seven days, since the old address can undo the change for as
// long. A user without a password first chooses one with a link of
// [Accounts.RequestReset].
//
// The errors are:
//   - A *ValidationError if the text is not an e-mail address, or if the
//     address was changed less than seven days ago.
//   - ErrForbidden if the principal of ctx is not a login of the user.
//   - Those of [authkit.Kit.VerifyPassword].
//   - A *ThrottledError if authkit.Config.Throttle refuses the attempt.
//   - ErrUserNotFound, ErrUnavailable, or the error of ctx.
func (a *Accounts) ChangeEmail(ctx context.Context, userID, password, email string) error {
	if err := a.kit.RequireSelf(ctx, userID); err != nil {
		return err
	}
	email, err := normal(email)
	if err != nil {
		return err
	}
	if err := a.kit.VerifyPassword(ctx, userID, password); err != nil {
		return err
	}
	u, err := a.kit.User(ctx, userID)
	if err != nil || u.Email == email {
		return err
	}
	switch recent, _, err := a.changed(ctx, userID); {
	case err != nil:
		return err
	case recent:
		return invalid("email", recentChange)
	}
	return a.ask(ctx, authkit.ActionReset, task{Kind: taskEmail, Email: email, UserID: userID, Version: u.Version})
}

// changed reports whether the address of an account was changed within the last
// seven days.
func (a *Accounts) changed(ctx context.Context, userID string) (recent bool, version int64, err error) {
	times, version, err := a.store.Times(ctx, a.mac("change", userID))
	if err != nil {
		return false, 0, a.failed(ctx, err)
	}
	return len(times) > 0 && now().Before(times[len(times)-1].Add(changePause)), version, nil
}

// noteChange records the time of a change of an address, or that there was
// none.
func (a *Accounts) noteChange(ctx context.Context, userID string, version int64, times ...time.Time) error {
	err := a.store.SetTimes(ctx, a.mac("change", userID), times, version, now().Add(changePause))
	if errors.Is(err, ErrConflict) {
		return authkit.ErrInvalidTicket // of two changes at once, one wins
	}
	if err != nil {
		return a.failed(ctx, err)
	}
	return nil
}

// ConfirmEmail changes the e-mail address of a user to the one that the link
// with the token was mailed to. It ends the other sessions of the user. If the
// old address was verified, it gets a link with which the change can be undone
// for seven days.
//
// The user must be logged in. Otherwise a stranger could trick the reader of
// another mailbox into confirming that address for the account of the stranger.
//
// The errors are:
//   - ErrForbidden if the principal of ctx is not a login of the user.
//   - ErrInvalidTicket if the token is unknown, used, expired or void, if it
//     belongs to another user, if the account is locked or disabled, or if the
//     address is taken by now.
//   - ErrUnavailable, or the error of ctx.
func (a *Accounts) ConfirmEmail(ctx context.Context, userID, token string) error {
	if err := a.kit.RequireSelf(ctx, userID); err != nil {
		return err
	}
	p, _ := authkit.PrincipalFrom(ctx)
	t, g, err := a.opened(ctx, ticketEmail, token)
	if err != nil {
		return err
	}
	u, err := a.owner(ctx, t, g)
	if err != nil {
		return err
	}
	if u.ID != userID {
		return authkit.ErrInvalidTicket
	}
	return a.inTx(system(ctx), func(ctx context.Context) error {
		if err := a.consume(ctx, t); err != nil {
			return err
		}
		if err := a.move(ctx, u, g.Email); err != nil {
			return err
		}
		recent, version, err := a.changed(ctx, userID)
		if err != nil {
			return err
		}
		if recent {
			return authkit.ErrInvalidTicket
		}
		if err := a.noteChange(ctx, userID, version, now()); err != nil {
			return err
		}
		if err := a.logoutOthers(ctx, userID, p.SessionID); err != nil {
			return err
		}
		if u.EmailVerifiedAt.IsZero() {
			return nil // the old mailbox may be that of a stranger, who must not get the account
		}
		link, err := a.newLink(ctx, ticketUndo, u.Email, pageUndo, undoLife, grant{UserID: userID, Email: u.Email, Changed: g.Email})
		if err != nil {
			return a.failed(ctx, err)
		}
		return a.notify(ctx, "email_changed", u, u.Email, link)
	})
}

// move gives an account another address, which its user has proved. The account
// must not have changed since u was read.
func (a *Accounts) move(ctx context.Context, u authkit.User, email string) error {
	moved, err := a.kit.SetEmail(ctx, u.ID, email)
	if err != nil {
		return lost(err)
	}
	if moved.Version != u.Version+1 || !usable(moved) {
		return authkit.ErrInvalidTicket
	}
	_, err = a.kit.VerifyEmail(ctx, u.ID, email)
	return lost(err)
}

// logoutOthers ends the sessions of a user but one. If there is none to keep,
// it ends all.
func (a *Accounts) logoutOthers(ctx context.Context, userID, sessionID string) error {
	if sessionID == "" {
		return a.kit.LogoutEverywhere(ctx, userID)
	}
	err := a.kit.LogoutOthers(ctx, userID, sessionID)
	if errors.Is(err, authkit.ErrSessionNotFound) {
		return authkit.ErrInvalidTicket // the session has just ended
	}
	return err
}

// UndoEmail gives an account its old address back, for the token of the link
// that [Accounts.ConfirmEmail] sent there, and sets the password. The account
// may have been in the hands of someone else, so all of its credentials,
// sessions and factors are removed; see [authkit.Kit.ResetUser]. The address
// that loses the account gets a mail.
//
// The errors are those of [Accounts.ResetPassword].
func (a *Accounts) UndoEmail(ctx context.Context, token, password string) error {
	ctx = system(ctx)
	t, g, err := a.opened(ctx, ticketUndo, token)
	if err != nil {
		return err
	}
	u, err := a.owner(ctx, t, g)
	if err != nil {
		return err
	}
	if u.Email != g.Changed {
		return authkit.ErrInvalidTicket
	}
	old := u
	old.Email = g.Email
	prepared, err := a.kit.PreparePassword(ctx, old, password)
	if err != nil {
		return err
	}
	return a.inTx(prepared, func(ctx context.Context) error {
		if err := a.consume(ctx, t); err != nil {
			return err
		}
		if err := a.move(ctx, u, g.Email); err != nil {
			return err
		}
		if err := a.kit.ResetUser(ctx, u.ID); err != nil {
			return lost(err)
		}
		if err := a.kit.SetPassword(ctx, u.ID, password); err != nil {
			return lost(err)
		}
		_, version, err := a.changed(ctx, u.ID)
		if err != nil {
			return err
		}
		if err := a.noteChange(ctx, u.ID, version); err != nil {
			return err
		}
		return a.notify(ctx, "email_undone", u, g.Changed, "")
	})
}
