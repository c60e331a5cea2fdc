package audit

import (
	"context"
	"errors"
	"iter"
	"sync"
)

// ErrConflict is returned by [Store].AppendAudit where a sequence number is taken.
var ErrConflict = errors.New("audit: the sequence number is taken")

// A Query selects entries. The zero Query selects nothing: Limit is to be set.
type Query struct {
	After  uint64 // only entries with a greater Seq
	Before uint64 // only entries with a smaller Seq; zero means all
	UserID string // only entries with this actor or target; empty means all
	Newest bool   // the newest first; otherwise the oldest
	Limit  int    // how many at most; none, if it is not positive
}

// Matches reports whether an entry is one that is asked for.
func (q *Query) Matches(e *Entry) bool {
	return e.Seq > q.After && (q.Before == 0 || e.Seq < q.Before) && (q.UserID == "" || e.ActorID == q.UserID || e.TargetID == q.UserID)
}

// A Store keeps the entries of one log. Whoever writes one proves it with
// storetest.TestAuditStore.
//
// Every method is safe for concurrent use, by several instances too, and its effect is
// visible to every later call. Texts are compared byte by byte. Memory is not shared. Entries
// come back as they were stored, times in UTC to the microsecond; an empty salt may come back
// as nil. A cancelled context ends a call without an effect or with the whole effect. There
// is no way to change an entry, or to delete one.
type Store interface {
	// AppendAudit stores entries, whose Seq are one apart and rising, all or none. The
	// error is ErrConflict, and nothing is stored, if an entry is there with a Seq that is
	// the same as one of theirs, or, as a store likes, greater. A Seq that leaves a gap is
	// none. What was stored survives a crash.
	AppendAudit(ctx context.Context, entries []Entry) error

	// AuditEntries returns the entries that a query selects, in order of Seq.
	AuditEntries(ctx context.Context, q Query) ([]Entry, error)

	// EraseAudit does [Entry.Erase] to all entries, in one change, and returns the sum of
	// what that returns. An empty ID is nobody's.
	EraseAudit(ctx context.Context, userID string) (parts int, err error)
}

// All yields all entries of a store, the oldest first, for trail.Verify. An error ends it.
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

// A MemoryStore is a [Store] in memory, which keeps the newest entries only. It is for tests,
// demonstrations, and logs that are kept by [Options].Mirror.
type MemoryStore struct {
	mu      sync.RWMutex
	limit   int
	entries []Entry // in order of Seq
}

// NewMemoryStore returns a MemoryStore that keeps so many entries; zero or less means 10,000.
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
	m.entries = m.entries[max(0, len(m.entries)-m.limit):] // the next growth leaves the rest behind
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
