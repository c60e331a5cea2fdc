// Package account provides what accounts need beside a password: mail to their users.
package account

import (
	"context"
	"errors"
)

// ErrMailRejected is returned by a [Mailer] for a message that no retry delivers, such as
// one to an address that does not exist.
var ErrMailRejected = errors.New("account: mail rejected")

// A Message is one e-mail to one user.
type Message struct {
	// To is the address of the user, without a name.
	To string

	// Subject is the subject, as plain text in one line.
	Subject string

	// Text is the message as plain text. It is required.
	Text string

	// HTML is the same message as HTML. If empty, the mail has plain text only.
	HTML string
}

// A Mailer sends messages. Package smtpmail implements it. It must be safe for concurrent
// use.
type Mailer interface {
	// Send sends a message. If it returns nil, the message will be delivered or bounce. If
	// the error is ErrMailRejected, another call would fail as well. After any other error
	// the caller may try again; the user may then get the message twice.
	Send(ctx context.Context, m Message) error
}
