package authkit

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// memoryTickets is the part of a [MemoryStore] that keeps tickets.
type memoryTickets struct {
	mu   *sync.Mutex
	byID map[ticketKey]*Ticket
}

type ticketKey struct{ kind, id string }

func newMemoryTickets() memoryTickets {
	return memoryTickets{mu: new(sync.Mutex), byID: make(map[ticketKey]*Ticket)}
}

// PutTicket implements [TicketStore].
func (m *MemoryStore) PutTicket(ctx context.Context, t Ticket) error {
	m.tickets.mu.Lock()
	defer m.tickets.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	key := ticketKey{t.Kind, t.ID}
	if t.ID == "" || m.tickets.byID[key] != nil {
		return errors.New("authkit: MemoryStore: the ticket ID is empty or exists")
	}
	if t.Subject != "" {
		for key, old := range m.tickets.byID {
			if old.Kind == t.Kind && old.Subject == t.Subject {
				delete(m.tickets.byID, key)
			}
		}
	}
	t.Body = slices.Clone(t.Body)
	m.tickets.byID[key] = &t
	return nil
}

// AttemptTicket implements [TicketStore].
func (m *MemoryStore) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (Ticket, error) {
	m.tickets.mu.Lock()
	defer m.tickets.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Ticket{}, err
	}
	t := m.tickets.byID[ticketKey{kind, id}]
	if t == nil || !t.ExpiresAt.After(at) || t.Attempts >= t.MaxAttempts {
		return Ticket{}, ErrTicketNotFound
	}
	t.Attempts++
	c := *t
	c.Body = slices.Clone(t.Body)
	return c, nil
}

// ConsumeTicket implements [TicketStore].
func (m *MemoryStore) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	m.tickets.mu.Lock()
	defer m.tickets.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	key := ticketKey{kind, id}
	t := m.tickets.byID[key]
	if t == nil || !t.ExpiresAt.After(at) {
		return ErrTicketNotFound
	}
	delete(m.tickets.byID, key)
	return nil
}

// DeleteTickets implements [TicketStore].
func (m *MemoryStore) DeleteTickets(ctx context.Context, subject string) error {
	m.tickets.mu.Lock()
	defer m.tickets.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for key, t := range m.tickets.byID {
		if t.Subject == subject && subject != "" {
			delete(m.tickets.byID, key)
		}
	}
	return nil
}

// DeleteExpiredTickets implements [TicketStore].
func (m *MemoryStore) DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (int, error) {
	m.tickets.mu.Lock()
	defer m.tickets.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	deleted := 0
	for key, t := range m.tickets.byID {
		if deleted < limit && !t.ExpiresAt.After(at) {
			delete(m.tickets.byID, key)
			deleted++
		}
	}
	return deleted, nil
}

// InTx implements [Transactor].
func (m *MemoryStore) InTx(ctx context.Context, f func(context.Context) error) error { return f(ctx) }
