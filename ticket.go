package authkit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

const (
	ticketAttempts = 5
	ticketSecret   = 32 // bytes
	codeDigits     = 6
)

// A Ticket is a short-lived record that is used once: a pending login, a link
// in an e-mail, the state of a redirect. A [TicketStore] stores it. Make one
// with [NewTicket] or [NewCodeTicket].
type Ticket struct {
	Kind    string // the purpose, such as "email_code"; kinds of this package begin with "authkit"
	ID      string // random; unique within the kind
	Subject string // the user ID or e-mail that it concerns; may be empty

	// Hash is that of the ID and the secret. The secret itself is not stored.
	Hash [32]byte

	// Body is for the feature that made the ticket. Encrypt it if it holds a secret.
	Body []byte

	Attempts, MaxAttempts int
	CreatedAt, ExpiresAt  time.Time
}

// Format implements fmt.Formatter. It prints the ticket without its hash and body, for
// every verb.
func (t Ticket) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%s %s %s}", t.Kind, t.ID, redacted)
}

// NewTicket returns a ticket and the token that redeems it, which holds 256 random bits
// after the ID. The ticket is good for life from now, and for five attempts. Set its Body
// before you store it with [TicketStore].PutTicket.
func NewTicket(kind, subject string, life time.Duration) (t Ticket, token string) {
	var secret [ticketSecret]byte
	_, _ = rand.Read(secret[:]) // never fails
	text := base64.RawURLEncoding.EncodeToString(secret[:])
	t = newTicket(kind, subject, text, life)
	return t, t.ID + "." + text
}

// NewCodeTicket is like [NewTicket] for a code of six digits that a person types. The code
// alone redeems nothing: the token is the ticket's ID, a dot and the code, so that a code
// works only for the request that asked for it. Give the ID to that client, and send the
// code by another way.
func NewCodeTicket(kind, subject string, life time.Duration) (t Ticket, code string) {
	n, _ := rand.Int(rand.Reader, big.NewInt(1_000_000)) // never fails
	code = fmt.Sprintf("%0*d", codeDigits, n)
	return newTicket(kind, subject, code, life), code
}

func newTicket(kind, subject, secret string, life time.Duration) Ticket {
	at := now()
	id := newTokenID()
	return Ticket{
		Kind: kind, ID: id, Subject: subject, Hash: ticketHash(kind, id, secret),
		MaxAttempts: ticketAttempts, CreatedAt: at, ExpiresAt: at.Add(life),
	}
}

// ticketHash returns the hash of a secret for the store.
func ticketHash(kind, id, secret string) [32]byte {
	return sha256.Sum256([]byte("authkit ticket\x00" + kind + "\x00" + id + "\x00" + secret))
}

// AttemptTicket counts an attempt at the ticket of a token, and returns the
// ticket if the token is right. It does not consume the ticket; see
// [RedeemTicket]. It counts before it compares, so concurrent guesses never
// exceed the limit.
//
// The error is ErrInvalidTicket for every refusal, ErrUnavailable if the store
// failed, or the error of ctx.
func AttemptTicket(ctx context.Context, store TicketStore, kind, token string) (Ticket, error) {
	id, secret, ok := strings.Cut(token, ".")
	if !ok || len(token) > maxSubjectLen || !validSubject(id) {
		return Ticket{}, ErrInvalidTicket
	}
	t, err := store.AttemptTicket(ctx, kind, id, now())
	switch {
	case errors.Is(err, ErrTicketNotFound):
		return Ticket{}, ErrInvalidTicket
	case err != nil:
		return Ticket{}, storeError(ctx, err)
	}
	hash := ticketHash(kind, id, secret)
	if subtle.ConstantTimeCompare(hash[:], t.Hash[:]) != 1 {
		return Ticket{}, ErrInvalidTicket
	}
	return t, nil
}

// RedeemTicket is like [AttemptTicket], and also consumes the ticket: of
// several callers with one token, exactly one gets the ticket.
func RedeemTicket(ctx context.Context, store TicketStore, kind, token string) (Ticket, error) {
	t, err := AttemptTicket(ctx, store, kind, token)
	if err != nil {
		return Ticket{}, err
	}
	switch err := store.ConsumeTicket(ctx, kind, t.ID, now()); {
	case errors.Is(err, ErrTicketNotFound):
		return Ticket{}, ErrInvalidTicket
	case err != nil:
		return Ticket{}, storeError(ctx, err)
	}
	return t, nil
}

// Tickets returns the store of [Config].Tickets, or that of the accounts, with
// [Config].StoreTimeout for every call. It is nil if there is none. It is for
// packages that make tickets.
func (k *Kit) Tickets() TicketStore { return k.tickets }
