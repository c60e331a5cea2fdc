package authkit

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// memoryTickets is the part of a [MemoryStore] for tickets.
type memoryTickets struct {
	mu        sync.Mutex
	byID      map[ticketKey]memoryTicket
	bySubject map[string][]ticketKey // one of each kind; without tickets that have no subject
	due       deadlines[ticketKey]
}

type ticketKey struct{ kind, id string }

// A memoryTicket is immutable: a change replaces it.
type memoryTicket struct {
	*Ticket
	due *deadline[ticketKey]
}

// insert stores a new ticket. The caller must hold t.mu, as for remove and
// replace.
func (t *memoryTickets) insert(k *Ticket, tx *memoryTx) {
	key := ticketKey{k.Kind, k.ID}
	t.byID[key] = memoryTicket{k, t.due.add(key, k.ExpiresAt)}
	if k.Subject != "" {
		t.bySubject[k.Subject] = append(t.bySubject[k.Subject], key)
	}
	if tx != nil {
		tx.onRollback(func() { t.remove(key, nil) })
	}
}

// remove removes an existing ticket.
func (t *memoryTickets) remove(key ticketKey, tx *memoryTx) {
	k := t.byID[key]
	delete(t.byID, key)
	t.due.remove(k.due)
	if k.Subject != "" {
		if rest := slices.DeleteFunc(t.bySubject[k.Subject], func(other ticketKey) bool { return other == key }); len(rest) > 0 {
			t.bySubject[k.Subject] = rest
		} else {
			delete(t.bySubject, k.Subject)
		}
	}
	if tx != nil {
		tx.onRollback(func() { t.insert(k.Ticket, nil) })
	}
}

// replace replaces a ticket by one with the same key, subject and times.
func (t *memoryTickets) replace(k *Ticket, tx *memoryTx) {
	key := ticketKey{k.Kind, k.ID}
	old := t.byID[key]
	t.byID[key] = memoryTicket{k, old.due}
	if tx != nil {
		tx.onRollback(func() { t.replace(old.Ticket, nil) })
	}
}

// PutTicket implements [TicketStore].
func (m *MemoryStore) PutTicket(ctx context.Context, t Ticket) error {
	h, err := m.hold(ctx, &m.tickets.mu)
	if err != nil {
		return err
	}
	defer h.release()
	if _, exists := m.tickets.byID[ticketKey{t.Kind, t.ID}]; exists || t.ID == "" {
		return errors.New("authkit: MemoryStore: the ticket ID is empty or exists")
	}
	for _, key := range slices.Clone(m.tickets.bySubject[t.Subject]) {
		if key.kind == t.Kind {
			m.tickets.remove(key, h.tx)
		}
	}
	t.Body = slices.Clone(t.Body)
	m.tickets.insert(&t, h.tx)
	return nil
}

// AttemptTicket implements [TicketStore].
func (m *MemoryStore) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (Ticket, error) {
	h, err := m.hold(ctx, &m.tickets.mu)
	if err != nil {
		return Ticket{}, err
	}
	defer h.release()
	old, found := m.tickets.byID[ticketKey{kind, id}]
	if !found || !old.ExpiresAt.After(at) || old.Attempts >= old.MaxAttempts {
		return Ticket{}, ErrTicketNotFound
	}
	t := *old.Ticket
	t.Attempts++
	m.tickets.replace(new(t), h.tx)
	t.Body = slices.Clone(t.Body)
	return t, nil
}

// ConsumeTicket implements [TicketStore].
func (m *MemoryStore) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	h, err := m.hold(ctx, &m.tickets.mu)
	if err != nil {
		return err
	}
	defer h.release()
	key := ticketKey{kind, id}
	if t, found := m.tickets.byID[key]; !found || !t.ExpiresAt.After(at) {
		return ErrTicketNotFound
	}
	m.tickets.remove(key, h.tx)
	return nil
}

// DeleteTickets implements [TicketStore].
func (m *MemoryStore) DeleteTickets(ctx context.Context, subject string) error {
	h, err := m.hold(ctx, &m.tickets.mu)
	if err != nil {
		return err
	}
	defer h.release()
	for _, key := range slices.Clone(m.tickets.bySubject[subject]) {
		m.tickets.remove(key, h.tx)
	}
	return nil
}

// DeleteExpiredTickets implements [TicketStore].
func (m *MemoryStore) DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (int, error) {
	return m.inSteps(ctx, &m.tickets.mu, limit, func(tx *memoryTx) (deleted, more bool) {
		d, due := m.tickets.due.first()
		if d == nil || due.After(at) {
			return false, false
		}
		m.tickets.remove(d.key, tx)
		return true, true
	})
}
