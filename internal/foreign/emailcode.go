package foreign

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	ticketEmailCode = "email_code"
	emailCodeLife   = 10 * time.Minute
)

// An EmailLogin logs users in with a code that is sent to their e-mail address.
type EmailLogin struct {
	Kit *authkit.Kit

	// Mail sends a code. It must queue the mail and return at once: the time
	// would reveal whether there is an account.
	Mail func(ctx context.Context, to, code string)
}

// pending is the body of a ticket. It is empty if the address has no account.
type pending struct {
	UserID  string `json:"user_id,omitempty"`
	Version int64  `json:"version,omitempty"`
}

// Request sends a code to an address, if it has an account. Either way it does
// the same work and returns a handle, which the client sends along with the
// code.
func (l *EmailLogin) Request(ctx context.Context, email string) (handle string, err error) {
	email, err = authkit.NormalizeEmail(email)
	if err != nil {
		return "", err
	}
	user, err := l.Kit.UserByEmail(ctx, email)
	if err != nil && !errors.Is(err, authkit.ErrUserNotFound) {
		return "", err
	}
	known := err == nil
	ticket, code := authkit.NewCodeTicket(ticketEmailCode, cmp.Or(user.ID, email), emailCodeLife)
	if ticket.Body, err = json.Marshal(pending{user.ID, user.Version}); err != nil {
		return "", fmt.Errorf("foreign: encoding a code: %w", err)
	}
	if err := l.Kit.Tickets().PutTicket(ctx, ticket); err != nil {
		return "", fmt.Errorf("foreign: storing a code: %w: %w", authkit.ErrUnavailable, err)
	}
	if known {
		l.Mail(ctx, user.Email, code)
	}
	return ticket.ID, nil
}

// Login logs in the user who received the code of a request. The errors are
// those of [authkit.Kit.LoginWith], and ErrInvalidTicket for a code that is
// wrong, used or expired.
func (l *EmailLogin) Login(ctx context.Context, email, handle, code string) (authkit.Token, error) {
	email, err := authkit.NormalizeEmail(email)
	if err != nil {
		return authkit.Token{}, authkit.ErrInvalidTicket
	}
	attempt := authkit.Attempt{Action: authkit.ActionCode, Account: email}
	return l.Kit.LoginWith(ctx, attempt, func(ctx context.Context) (authkit.Proof, error) {
		ticket, err := authkit.RedeemTicket(ctx, l.Kit.Tickets(), ticketEmailCode, handle+"."+code)
		if err != nil {
			return authkit.Proof{}, err
		}
		var p pending
		if err := json.Unmarshal(ticket.Body, &p); err != nil {
			return authkit.Proof{}, fmt.Errorf("foreign: decoding a code: %w", err)
		}
		if p.UserID == "" {
			return authkit.Proof{}, authkit.ErrInvalidTicket // an address without an account, and a code that no one received
		}
		return authkit.Proof{UserID: p.UserID, Methods: []string{"email"}, Version: p.Version}, nil
	})
}
