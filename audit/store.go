package audit

import (
	"context"
	"errors"
	"iter"
	"sync"
)

// ErrConflict is returned by [Store].AppendAudit if a sequence number is taken.
var ErrConflict = errors.New("audit: the sequence number is taken")

// A Query selects entries. The zero Query selects none, because its Limit is
// zero.
type Query struct {
	After  uint64 // only entries with a greater Seq
	Before uint64 // only entries with a smaller Seq; zero means all
	UserID string // only entries with this actor or target; empty means all
	Newest bool   // newest first; otherwise oldest first
	Limit  int    // the maximum number of entries; if not positive, none
}

// Matches reports whether a query selects an entry, apart from the limit.
func (q *Query) Matches(e *Entry) bool {
	return e.Seq > q.After && (q.Before == 0 || e.Seq < q.Before) && (q.UserID == "" || e.ActorID == q.UserID || e.TargetID == q.UserID)
}

// A Store keeps the entries of one log. Test an implementation with
// storetest.TestAuditStore.
//
// Every method is safe for concurrent use, also by several instances, and its
// effect is visible to every later call. Texts are compared byte by byte.
// Callers and the store share no memory. Entries are returned as they were
// stored, with times in UTC to the microsecond; an empty salt may be returned
// as nil. A call whose context is cancelled has no effect or its whole effect.
// A store cannot change or delete entries, except by EraseAudit.
type Store interface {
	// AppendAudit stores all entries or none. Their Seq rise by one. If an
	// entry with one of these Seq exists, it stores nothing and returns
	// ErrConflict. A store may also do so if a greater Seq exists. A gap before
	// the first Seq is no conflict. Stored entries survive a crash.
	AppendAudit(ctx context.Context, entries []Entry) error

	// AuditEntries returns the entries that a query selects, in order of Seq.
	AuditEntries(ctx context.Context, q Query) ([]Entry, error)

	// EraseAudit calls [Entry.Erase] on all entries, in one change, and returns
	// the sum of the results. An empty ID matches no entry.
	EraseAudit(ctx context.Context, userID string) (parts int, err error)
}

// All yields all entries of a store, the oldest first, for trail.Verify. It
// stops after an error.
func All(ctx context.Context, s Store) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		const pageSize = 1000
		for after := uint64(0); ; {
			page, err := s.AuditEntries(ctx, Query{After: after, Limit: pageSize})
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				after = e.Seq
			}
			if len(page) < pageSize {
				return
			}
		}
	}
}

// A MemoryStore is a [Store] in memory, which keeps only the newest entries. It
// is for tests, demonstrations, and logs that [Options].Mirror keeps.
type MemoryStore struct {
	mu      sync.RWMutex
	limit   int
	entries []Entry // in order of Seq
}

// NewMemoryStore returns a MemoryStore that keeps limit entries. If limit is
// zero or negative, it keeps 10,000.
func NewMemoryStore(limit int) *MemoryStore {
	if limit <= 0 {
		limit = 10_000
	}
	return &MemoryStore{limit: limit}
}

// AppendAudit implements [Store].
func (m *MemoryStore) AppendAudit(ctx context.Context, entries []Entry) error {
	if err := ctx.Err(); err != nil || len(entries) == 0 {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.entries); n > 0 && m.entries[n-1].Seq >= entries[0].Seq {
		return ErrConflict
	}
	for i := range entries {
		m.entries = append(m.entries, entries[i].clone())
	}
	m.entries = m.entries[max(0, len(m.entries)-m.limit):] // the next append that grows the slice drops the old ones
	return nil
}

// AuditEntries implements [Store].
func (m *MemoryStore) AuditEntries(ctx context.Context, q Query) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found []Entry
	for i := range m.entries {
		e := &m.entries[i]
		if q.Newest {
			e = &m.entries[len(m.entries)-1-i]
		}
		if len(found) < q.Limit && q.Matches(e) {
			found = append(found, e.clone())
		}
	}
	return found, nil
}

// EraseAudit implements [Store].
func (m *MemoryStore) EraseAudit(ctx context.Context, userID string) (parts int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.entries {
		parts += m.entries[i].Erase(userID)
	}
	return parts, nil
}
