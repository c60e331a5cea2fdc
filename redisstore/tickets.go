package redisstore

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/authkit-go/authkit"
)

var _ authkit.TicketStore = (*Store)(nil)

var errTicketExists = errors.New("the ticket ID is empty or exists")

func (s *Store) ticketKey(kind, id string) string { return s.prefix + "k:" + entry(kind, id) }
func (s *Store) subjectKey(subject string) string { return s.prefix + "j:" + subject } // a hash: kind to ID
func (s *Store) ticketsKey() string               { return s.prefix + "tickets" }      // members by ExpiresAt

// PutTicket implements [authkit.TicketStore]. It takes one round trip, and two
// if it removes another ticket.
func (s *Store) PutTicket(ctx context.Context, t authkit.Ticket) error {
	if t.ID == "" {
		return failed(ctx, "PutTicket", errTicketExists)
	}
	keys := []string{s.ticketKey(t.Kind, t.ID), s.ticketsKey()}
	if t.Subject != "" {
		keys = append(keys, s.subjectKey(t.Subject))
	}
	call := newCall()
	put, err := s.converge(func(other string) (any, error) {
		k := keys[:len(keys):len(keys)]
		if other != "" {
			k = append(k, s.ticketKey(t.Kind, other))
		}
		return s.run(ctx, s.scripts.putTicket, k, call, t.Kind, t.ID, t.Subject, other, t.Hash[:], t.Body,
			t.Attempts, t.MaxAttempts, micros(t.CreatedAt), micros(t.ExpiresAt), life(t.CreatedAt, t.ExpiresAt))
	})
	if err == nil && !put {
		err = errTicketExists
	}
	return failed(ctx, "PutTicket", err)
}

// AttemptTicket implements [authkit.TicketStore]. It takes one round trip.
//
// If the reply is lost, the client sends the call again and the attempt is
// counted once. Only if eight other attempts at the ticket come in between, it
// is counted twice. If AttemptTicket returns an error other than
// ErrTicketNotFound, the attempt may have been counted.
func (s *Store) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	reply, err := s.run(ctx, s.scripts.attemptTicket, []string{s.ticketKey(kind, id)}, newCall(), micros(at))
	t, err := parseTicket(kind, id, reply, err)
	return t, failed(ctx, "AttemptTicket", err)
}

// ConsumeTicket implements [authkit.TicketStore]. It takes one round trip, and
// two if the ticket has a subject.
//
// If the reply is lost, the client sends the call again, and it succeeds again
// for the same caller. If ConsumeTicket returns an error other than
// ErrTicketNotFound, the ticket may have been consumed. Then no caller
// succeeds, and the user starts over.
func (s *Store) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	call := newCall()
	consumed, err := s.converge(func(subject string) (any, error) {
		keys := []string{s.ticketKey(kind, id), s.ticketsKey()}
		if subject != "" {
			keys = append(keys, s.subjectKey(subject))
		}
		return s.run(ctx, s.scripts.consumeTicket, keys, call, kind, id, subject, micros(at))
	})
	if err == nil && !consumed {
		err = authkit.ErrTicketNotFound
	}
	return failed(ctx, "ConsumeTicket", err)
}

// converge runs a script that takes the key of a record which depends on
// another record. It calls run with an empty guess first. The script returns
// the right guess until it is called with it, and then whether it made the
// change.
func (s *Store) converge(run func(guess string) (any, error)) (changed bool, err error) {
	for guess := ""; ; {
		done, rest, err := parsePair(run(guess))
		if err != nil {
			return false, err
		}
		if done {
			if rest != int64(0) && rest != int64(1) {
				return false, errReply
			}
			return rest == int64(1), nil
		}
		var ok bool
		if guess, ok = rest.(string); !ok {
			return false, errReply
		}
	}
}

// DeleteTickets implements [authkit.TicketStore]. It takes two round trips, and
// one if there is no ticket. Tickets with an empty Subject have no subject, so
// an empty subject deletes none.
func (s *Store) DeleteTickets(ctx context.Context, subject string) error {
	if subject == "" {
		return failed(ctx, "DeleteTickets", ctx.Err())
	}
	var tickets []string // kind and ID of each
	for {
		keys, args := []string{s.subjectKey(subject), s.ticketsKey()}, []any{subject}
		for i := 0; i+1 < len(tickets); i += 2 {
			keys = append(keys, s.ticketKey(tickets[i], tickets[i+1]))
			args = append(args, tickets[i], tickets[i+1])
		}
		done, rest, err := parsePair(s.run(ctx, s.scripts.deleteTickets, keys, args...))
		if done || err != nil {
			return failed(ctx, "DeleteTickets", err)
		}
		if tickets, err = parseTexts(rest, nil); err != nil {
			return failed(ctx, "DeleteTickets", err)
		}
	}
}

// DeleteExpiredTickets implements [authkit.TicketStore].
//
// It also deletes and counts the index entries of tickets that Redis has
// expired. Redis serves no other client while it deletes a batch.
func (s *Store) DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (int, error) {
	const method = "DeleteExpiredTickets"
	reply, err := s.run(ctx, s.scripts.expired, []string{s.ticketsKey()}, micros(at), max(0, limit))
	members, err := parseTexts(reply, err)
	if err != nil {
		return 0, failed(ctx, method, err)
	}
	keys, args := []string{s.ticketsKey()}, []any{micros(at)}
	for _, member := range members {
		kind, rest, ok1 := parseEntry(member)
		id, subject, ok2 := parseEntry(rest)
		if !ok1 || !ok2 {
			return 0, failed(ctx, method, errReply)
		}
		keys = append(keys, s.ticketKey(kind, id), s.subjectKey(subject))
		args = append(args, kind, id, subject)
	}
	reply, err = s.run(ctx, s.scripts.sweepTickets, keys, args...)
	n, err := parseCount(reply, err)
	return n, failed(ctx, method, err)
}

// parseTicket parses the reply of lua/ticketattempt.lua.
func parseTicket(kind, id string, reply any, err error) (authkit.Ticket, error) {
	t := authkit.Ticket{Kind: kind, ID: id}
	fields, err := parseTexts(reply, err)
	switch {
	case err != nil:
		return authkit.Ticket{}, err
	case len(fields) == 0:
		return authkit.Ticket{}, authkit.ErrTicketNotFound
	case len(fields) != 7 || len(fields[1]) != len(t.Hash):
		return authkit.Ticket{}, errReply
	}
	t.Subject = fields[0]
	copy(t.Hash[:], fields[1])
	if fields[2] != "" {
		t.Body = []byte(fields[2])
	}
	var errs [4]error
	t.Attempts, errs[0] = strconv.Atoi(fields[3])
	t.MaxAttempts, errs[1] = strconv.Atoi(fields[4])
	t.CreatedAt, errs[2] = parseMicros(fields[5])
	t.ExpiresAt, errs[3] = parseMicros(fields[6])
	if errors.Join(errs[:]...) != nil {
		return authkit.Ticket{}, errReply
	}
	return t, nil
}
