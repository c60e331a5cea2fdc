package storetest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/storetest"
)

func TestMemoryStoreAudit(t *testing.T) {
	t.Parallel()
	storetest.TestAuditStore(t, func(*testing.T) audit.Store { return audit.NewMemoryStore(0) })
}

// brokenAudit is a MemoryStore with a method of its own.
type brokenAudit struct {
	*audit.MemoryStore
	append  func(ctx context.Context, entries []audit.Entry) error
	entries func(ctx context.Context, q audit.Query) ([]audit.Entry, error)
	erase   func(ctx context.Context, userID string) (int, error)
}

func (b *brokenAudit) AppendAudit(ctx context.Context, entries []audit.Entry) error {
	if b.append != nil {
		return b.append(ctx, entries)
	}
	return b.MemoryStore.AppendAudit(ctx, entries)
}

func (b *brokenAudit) AuditEntries(ctx context.Context, q audit.Query) ([]audit.Entry, error) {
	if b.entries != nil {
		return b.entries(ctx, q)
	}
	return b.MemoryStore.AuditEntries(ctx, q)
}

func (b *brokenAudit) EraseAudit(ctx context.Context, userID string) (int, error) {
	if b.erase != nil {
		return b.erase(ctx, userID)
	}
	return b.MemoryStore.EraseAudit(ctx, userID)
}

// reading returns a mutant that changes what queries find.
func reading(change func(*audit.Entry)) func(*brokenAudit, *audit.MemoryStore) {
	return func(b *brokenAudit, m *audit.MemoryStore) {
		b.entries = func(ctx context.Context, q audit.Query) ([]audit.Entry, error) {
			found, err := m.AuditEntries(ctx, q)
			for i := range found {
				change(&found[i])
			}
			return found, err
		}
	}
}

// asking returns a mutant that changes what is asked for.
func asking(change func(*audit.Query)) func(*brokenAudit, *audit.MemoryStore) {
	return func(b *brokenAudit, m *audit.MemoryStore) {
		b.entries = func(ctx context.Context, q audit.Query) ([]audit.Entry, error) {
			change(&q)
			return m.AuditEntries(ctx, q)
		}
	}
}

// auditMutants each break one promise of audit.Store; the suite has to fail for every one of
// them, in the subtest named.
var auditMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenAudit, m *audit.MemoryStore)
}{
	"times in whole seconds":  {"AppendAndRead", reading(func(e *audit.Entry) { e.Time = e.Time.Truncate(time.Second) })},
	"times in a zone":         {"AppendAndRead", reading(func(e *audit.Entry) { e.Time = e.Time.In(time.FixedZone("", 3600)) })},
	"cuts the agent":          {"AppendAndRead", reading(func(e *audit.Entry) { e.Agent = e.Agent[:min(len(e.Agent), 255)] })},
	"loses large numbers":     {"GapsAreAllowed", reading(func(e *audit.Entry) { e.Seq = uint64(float64(e.Seq)) })},
	"forgets the salt":        {"AppendAndRead", reading(func(e *audit.Entry) { e.ClientSalt = nil })},
	"includes After":          {"Queries", asking(func(q *audit.Query) { q.After = max(q.After, 1) - 1 })},
	"knows no Before":         {"Queries", asking(func(q *audit.Query) { q.Before = 0 })},
	"takes 0 for all":         {"Queries", asking(func(q *audit.Query) { q.Limit = max(q.Limit, 100) })},
	"knows no order":          {"Queries", asking(func(q *audit.Query) { q.Newest = false })},
	"folds case":              {"ComparesBytes", asking(func(q *audit.Query) { q.UserID = strings.ToLower(q.UserID) })},
	"trims":                   {"ComparesBytes", asking(func(q *audit.Query) { q.UserID = strings.TrimSpace(q.UserID) })},
	"takes a NUL for the end": {"NobodyHasABrokenID", asking(func(q *audit.Query) { q.UserID, _, _ = strings.Cut(q.UserID, "\x00") })},
	"pages of at most 100":    {"Pages", asking(func(q *audit.Query) { q.Limit = min(q.Limit, 100) })},
	"ignores the context to read": {"CancelledContext", func(b *brokenAudit, m *audit.MemoryStore) {
		b.entries = func(_ context.Context, q audit.Query) ([]audit.Entry, error) {
			return m.AuditEntries(context.Background(), q)
		}
	}},
	"ignores the context to write": {"CancelledContext", func(b *brokenAudit, m *audit.MemoryStore) {
		b.append = func(_ context.Context, e []audit.Entry) error { return m.AppendAudit(context.Background(), e) }
	}},
	"skips what is taken": {"TakenNumbers", func(b *brokenAudit, m *audit.MemoryStore) {
		b.append = func(ctx context.Context, e []audit.Entry) error {
			last, _ := m.AuditEntries(ctx, audit.Query{Newest: true, Limit: 1})
			for len(last) > 0 && len(e) > 0 && e[0].Seq <= last[0].Seq {
				e = e[1:]
			}
			return m.AppendAudit(ctx, e)
		}
	}},
	"writes what it can": {"AllOrNone", func(b *brokenAudit, m *audit.MemoryStore) {
		b.append = func(ctx context.Context, e []audit.Entry) error {
			err := m.AppendAudit(ctx, e)
			last, _ := m.AuditEntries(ctx, audit.Query{Newest: true, Limit: 1})
			for i := range e {
				if err != nil && e[i].Seq > last[0].Seq {
					_ = m.AppendAudit(ctx, e[i:])
					break
				}
			}
			return err
		}
	}},
	"refuses gaps": {"GapsAreAllowed", func(b *brokenAudit, m *audit.MemoryStore) {
		b.append = func(ctx context.Context, e []audit.Entry) error {
			last, _ := m.AuditEntries(ctx, audit.Query{Newest: true, Limit: 1})
			if len(last) > 0 && len(e) > 0 && e[0].Seq != last[0].Seq+1 {
				return audit.ErrConflict
			}
			return m.AppendAudit(ctx, e)
		}
	}},
	"look-then-append": {"WritersAreOneChain", func(b *brokenAudit, m *audit.MemoryStore) {
		b.append = func(ctx context.Context, e []audit.Entry) error {
			last, _ := m.AuditEntries(ctx, audit.Query{Newest: true, Limit: 1})
			if len(last) > 0 && len(e) > 0 && e[0].Seq <= last[0].Seq {
				return audit.ErrConflict
			}
			roundTrip()
			_ = m.AppendAudit(ctx, e) // as if it wrote over the other one's
			return nil
		}
	}},
	"erases targets only": {"Erase", func(b *brokenAudit, m *audit.MemoryStore) {
		b.erase = func(ctx context.Context, userID string) (int, error) {
			parts, err := m.EraseAudit(ctx, userID)
			return min(parts, 1), err
		}
	}},
	"erases for nobody": {"Erase", func(b *brokenAudit, m *audit.MemoryStore) {
		b.erase = func(ctx context.Context, userID string) (int, error) {
			parts, err := m.EraseAudit(ctx, userID)
			return max(parts, 1), err
		}
	}},
	"shares what it finds": {"SharesNoMemory", func(b *brokenAudit, m *audit.MemoryStore) {
		var kept []audit.Entry
		b.append = func(ctx context.Context, e []audit.Entry) error {
			kept = append(kept, e...)
			return m.AppendAudit(ctx, e)
		}
		b.entries = func(context.Context, audit.Query) ([]audit.Entry, error) { return slices.Clone(kept), nil }
	}},
}

func TestAuditSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range auditMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestAuditSuiteFails", caught, func(name string) {
		storetest.TestAuditStore(t, func(*testing.T) audit.Store {
			m := audit.NewMemoryStore(0)
			b := &brokenAudit{MemoryStore: m}
			auditMutants[name].breakIt(b, m)
			return b
		})
	})
}
