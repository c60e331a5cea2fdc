package storetest_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
)

// brokenTickets is a MemoryStore with one or two methods replaced.
type brokenTickets struct {
	*authkit.MemoryStore
	put     func(ctx context.Context, k authkit.Ticket) error
	attempt func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error)
	consume func(ctx context.Context, kind, id string, at time.Time) error
	remove  func(ctx context.Context, subject string) error
	expire  func(ctx context.Context, at time.Time, limit int) (int, error)
}

func (b *brokenTickets) PutTicket(ctx context.Context, k authkit.Ticket) error {
	if b.put != nil {
		return b.put(ctx, k)
	}
	return b.MemoryStore.PutTicket(ctx, k)
}

func (b *brokenTickets) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	if b.attempt != nil {
		return b.attempt(ctx, kind, id, at)
	}
	return b.MemoryStore.AttemptTicket(ctx, kind, id, at)
}

func (b *brokenTickets) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	if b.consume != nil {
		return b.consume(ctx, kind, id, at)
	}
	return b.MemoryStore.ConsumeTicket(ctx, kind, id, at)
}

func (b *brokenTickets) DeleteTickets(ctx context.Context, subject string) error {
	if b.remove != nil {
		return b.remove(ctx, subject)
	}
	return b.MemoryStore.DeleteTickets(ctx, subject)
}

func (b *brokenTickets) DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (int, error) {
	if b.expire != nil {
		return b.expire(ctx, at, limit)
	}
	return b.MemoryStore.DeleteExpiredTickets(ctx, at, limit)
}

// kept keeps tickets beside the store, for mutants that need to know them.
type kept struct {
	mu      sync.Mutex
	tickets []authkit.Ticket
}

func (k *kept) add(t authkit.Ticket) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tickets = append(k.tickets, t)
}

// of returns the tickets that a function selects.
func (k *kept) of(selects func(authkit.Ticket) bool) []authkit.Ticket {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []authkit.Ticket
	for _, t := range k.tickets {
		if selects(t) {
			found = append(found, t)
		}
	}
	return found
}

// keeping makes the store keep the tickets that are put.
func keeping(b *brokenTickets, m *authkit.MemoryStore) *kept {
	k := new(kept)
	b.put = func(ctx context.Context, t authkit.Ticket) error {
		err := m.PutTicket(ctx, t)
		if err == nil {
			k.add(t)
		}
		return err
	}
	return k
}

// separate stores tickets without a subject, so that none voids another.
func separate(ctx context.Context, m *authkit.MemoryStore, t authkit.Ticket) error {
	t.Subject = ""
	return m.PutTicket(ctx, t)
}

// ticketMutants each break one promise of authkit.TicketStore.
var ticketMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenTickets, m *authkit.MemoryStore)
}{
	"loses zeros of a hash": {"PutAndAttempt", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.attempt = func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
			k, err := m.AttemptTicket(ctx, kind, id, at)
			if k.Hash[0] == 0 {
				copy(k.Hash[:], k.Hash[1:])
			}
			return k, err
		}
	}},
	"returns what was there before": {"PutAndAttempt", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.attempt = func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
			k, err := m.AttemptTicket(ctx, kind, id, at)
			if err == nil {
				k.Attempts--
			}
			return k, err
		}
	}},
	"begins to count at zero": {"AttemptsRunOut", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			k.Attempts = 0
			return m.PutTicket(ctx, k)
		}
	}},
	"not found is no error": {"NotFound", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.consume = func(ctx context.Context, kind, id string, at time.Time) error {
			return notFoundIsNil(m.ConsumeTicket(ctx, kind, id, at))
		}
	}},
	"fails for an ID that it cannot store": {"NotFound", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.attempt = func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
			if strings.ContainsRune(id, 0) {
				return authkit.Ticket{}, errors.New("invalid byte sequence")
			}
			return m.AttemptTicket(ctx, kind, id, at)
		}
	}},
	"fails for a subject that it cannot store": {"NotFound", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.remove = func(ctx context.Context, subject string) error {
			if strings.ContainsRune(subject, 0) {
				return errors.New("invalid byte sequence")
			}
			return m.DeleteTickets(ctx, subject)
		}
	}},
	"overwrites a ticket with the same ID": {"IDIsUnique", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			_ = m.ConsumeTicket(ctx, k.Kind, k.ID, time.Time{})
			return m.PutTicket(ctx, k)
		}
	}},
	"voids before it looks": {"IDIsUnique", func(b *brokenTickets, m *authkit.MemoryStore) {
		all := keeping(b, m)
		put := b.put
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			for _, old := range all.of(func(old authkit.Ticket) bool {
				return old.Subject == k.Subject && old.Kind == k.Kind && k.Subject != ""
			}) {
				_ = m.ConsumeTicket(ctx, old.Kind, old.ID, time.Time{})
			}
			return put(ctx, k)
		}
	}},
	"joins the kind and the ID": {"KindsAreSeparate", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			k.Kind, k.ID, k.Subject = "", k.Kind+":"+k.ID, k.Kind+":"+k.Subject
			return m.PutTicket(ctx, k)
		}
		b.attempt = func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
			k, err := m.AttemptTicket(ctx, "", kind+":"+id, at)
			if err == nil {
				k.Kind, k.ID, k.Subject = kind, id, strings.TrimPrefix(k.Subject, kind+":")
			}
			return k, err
		}
	}},
	"consumes under another kind": {"NotFound", func(b *brokenTickets, m *authkit.MemoryStore) {
		all := keeping(b, m)
		b.consume = func(ctx context.Context, kind, id string, at time.Time) error {
			for _, k := range all.of(func(k authkit.Ticket) bool { return k.ID == id }) {
				kind = k.Kind
			}
			return m.ConsumeTicket(ctx, kind, id, at)
		}
	}},
	"folds the case of subjects": {"ComparesBytes", func(b *brokenTickets, m *authkit.MemoryStore) {
		all := keeping(b, m)
		b.remove = func(ctx context.Context, subject string) error {
			for _, k := range all.of(func(k authkit.Ticket) bool { return strings.EqualFold(k.Subject, subject) }) {
				_ = m.DeleteTickets(ctx, k.Subject)
			}
			return nil
		}
	}},
	"the subject is a pattern": {"ComparesBytes", func(b *brokenTickets, m *authkit.MemoryStore) {
		all := keeping(b, m)
		b.remove = func(ctx context.Context, subject string) error {
			for _, k := range all.of(func(k authkit.Ticket) bool { return like(k.Subject, subject) }) {
				_ = m.DeleteTickets(ctx, k.Subject)
			}
			return nil
		}
	}},
	"a body is a text": {"KeepsBody", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			k.Body = []byte(strings.ToValidUTF8(string(k.Body), "?"))
			return m.PutTicket(ctx, k)
		}
	}},
	"times to the millisecond": {"KeepsTimes", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			k.CreatedAt = k.CreatedAt.Truncate(time.Millisecond)
			return m.PutTicket(ctx, k)
		}
	}},
	"keeps the body that it was given": {"SharesNoMemory", func(b *brokenTickets, m *authkit.MemoryStore) {
		all := keeping(b, m)
		b.attempt = func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
			k, err := m.AttemptTicket(ctx, kind, id, at)
			for _, given := range all.of(func(given authkit.Ticket) bool { return given.ID == id }) {
				k.Body = given.Body
			}
			return k, err
		}
	}},
	"is good at its end": {"Expires", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.attempt = func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
			return m.AttemptTicket(ctx, kind, id, at.Add(-1))
		}
	}},
	"consumes what has expired": {"Expires", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.consume = func(ctx context.Context, kind, id string, _ time.Time) error {
			return m.ConsumeTicket(ctx, kind, id, time.Time{})
		}
	}},
	"counts late attempts": {"Expires", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.attempt = func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
			k, err := m.AttemptTicket(ctx, kind, id, time.Time{})
			if err == nil && !k.ExpiresAt.After(at) {
				return authkit.Ticket{}, authkit.ErrTicketNotFound
			}
			return k, err
		}
	}},
	"one attempt too many": {"AttemptsRunOut", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			k.MaxAttempts++
			return m.PutTicket(ctx, k)
		}
		b.attempt = func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
			k, err := m.AttemptTicket(ctx, kind, id, at)
			if err == nil {
				k.MaxAttempts--
			}
			return k, err
		}
	}},
	"consumes only with attempts left": {"AttemptsRunOut", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.consume = func(ctx context.Context, kind, id string, at time.Time) error {
			if _, err := m.AttemptTicket(ctx, kind, id, at); err != nil {
				return err
			}
			return m.ConsumeTicket(ctx, kind, id, at)
		}
	}},
	"marks what it consumes": {"ConsumeOnce", func(b *brokenTickets, m *authkit.MemoryStore) {
		var consumed sync.Map
		b.consume = func(ctx context.Context, kind, id string, at time.Time) error {
			if _, again := consumed.LoadOrStore(kind+" "+id, true); again {
				return authkit.ErrTicketNotFound
			}
			return nil
		}
	}},
	"voids nothing": {"PutVoidsOlder", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error { return separate(ctx, m, k) }
	}},
	"voids other kinds": {"PutVoidsOlder", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			if k.Subject != "" {
				_ = m.DeleteTickets(ctx, k.Subject)
			}
			return m.PutTicket(ctx, k)
		}
	}},
	"no subject is a subject": {"NoSubjectVoidsNone", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			if k.Subject == "" {
				k.Subject = "\x00none"
			}
			return m.PutTicket(ctx, k)
		}
	}},
	"deletes those of no subject": {"NoSubjectVoidsNone", func(b *brokenTickets, m *authkit.MemoryStore) {
		all := keeping(b, m)
		b.remove = func(ctx context.Context, subject string) error {
			for _, k := range all.of(func(k authkit.Ticket) bool { return k.Subject == subject }) {
				_ = m.ConsumeTicket(ctx, k.Kind, k.ID, time.Time{})
			}
			return nil
		}
	}},
	"deletes one kind": {"DeleteTickets", func(b *brokenTickets, m *authkit.MemoryStore) {
		all := keeping(b, m)
		b.remove = func(ctx context.Context, subject string) error {
			for _, k := range all.of(func(k authkit.Ticket) bool { return k.Subject == subject && k.Kind == "login" }) {
				_ = m.ConsumeTicket(ctx, k.Kind, k.ID, time.Time{})
			}
			return nil
		}
	}},
	"no ticket is an error": {"DeleteTickets", func(b *brokenTickets, m *authkit.MemoryStore) {
		var seen sync.Map
		b.remove = func(ctx context.Context, subject string) error {
			if _, again := seen.LoadOrStore(subject, true); again {
				return authkit.ErrTicketNotFound
			}
			return m.DeleteTickets(ctx, subject)
		}
	}},
	"leaves what expires now": {"DeleteExpired", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.expire = func(ctx context.Context, at time.Time, limit int) (int, error) {
			return m.DeleteExpiredTickets(ctx, at.Add(-1), limit)
		}
	}},
	"deletes without a limit": {"DeleteExpiredLimit", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.expire = func(ctx context.Context, at time.Time, _ int) (int, error) {
			return m.DeleteExpiredTickets(ctx, at, math.MaxInt)
		}
	}},
	"no limit is no limit": {"DeleteExpiredLimit", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.expire = func(ctx context.Context, at time.Time, limit int) (int, error) {
			if limit < 0 {
				limit = math.MaxInt
			}
			return m.DeleteExpiredTickets(ctx, at, limit)
		}
	}},
	"ignores the context": {"CancelledContext", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.consume = func(ctx context.Context, kind, id string, at time.Time) error {
			return m.ConsumeTicket(context.WithoutCancel(ctx), kind, id, at)
		}
	}},
	"stops in the middle": {"CancelledInTheMiddle", func(b *brokenTickets, m *authkit.MemoryStore) {
		all := keeping(b, m)
		b.remove = func(ctx context.Context, subject string) error {
			for _, k := range all.of(func(k authkit.Ticket) bool { return k.Subject == subject }) {
				if err := m.ConsumeTicket(ctx, k.Kind, k.ID, time.Time{}); err != nil && !errors.Is(err, authkit.ErrTicketNotFound) {
					return err
				}
				time.Sleep(100 * time.Microsecond)
			}
			return nil
		}
	}},
	"compares before it counts": {"AttemptsAreCountedFirst", func(b *brokenTickets, m *authkit.MemoryStore) {
		var counts sync.Map
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			counts.Store(k.ID, k.MaxAttempts)
			k.MaxAttempts = math.MaxInt
			return m.PutTicket(ctx, k)
		}
		b.attempt = func(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
			left, ok := counts.Load(id)
			if !ok || left.(int) <= 0 {
				return authkit.Ticket{}, authkit.ErrTicketNotFound
			}
			roundTrip()
			counts.Store(id, left.(int)-1)
			return m.AttemptTicket(ctx, kind, id, at)
		}
	}},
	"look-then-consume": {"OneConsumerWins", func(b *brokenTickets, m *authkit.MemoryStore) {
		all := keeping(b, m)
		var consumed sync.Map
		b.consume = func(ctx context.Context, kind, id string, at time.Time) error {
			_, gone := consumed.Load(id)
			if gone || len(all.of(func(k authkit.Ticket) bool { return k.ID == id })) == 0 {
				return authkit.ErrTicketNotFound
			}
			roundTrip()
			consumed.Store(id, true)
			return notFoundIsNil(m.ConsumeTicket(ctx, kind, id, at))
		}
	}},
	"a loser voids, too": {"OnePutWins", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			_ = m.DeleteTickets(ctx, k.Subject)
			return m.PutTicket(ctx, k)
		}
	}},
	"look-then-void": {"OneOfASubjectStays", func(b *brokenTickets, m *authkit.MemoryStore) {
		all := new(kept)
		b.put = func(ctx context.Context, k authkit.Ticket) error {
			older := all.of(func(old authkit.Ticket) bool {
				return old.Subject == k.Subject && old.Kind == k.Kind && k.Subject != ""
			})
			roundTrip()
			for _, old := range older {
				_ = m.ConsumeTicket(ctx, old.Kind, old.ID, time.Time{})
			}
			all.add(k)
			return separate(ctx, m, k)
		}
	}},
	"counts what others delete": {"DeletedAreCountedOnce", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.expire = func(ctx context.Context, at time.Time, limit int) (int, error) {
			n, err := m.DeleteExpiredTickets(ctx, at, limit)
			if n > 0 {
				n = limit
			}
			return n, err
		}
	}},
	"keeps all of a subject": {"AllMethodsAtOnce", func(b *brokenTickets, m *authkit.MemoryStore) {
		b.put = func(ctx context.Context, k authkit.Ticket) error { return separate(ctx, m, k) }
	}},
}

// notFoundIsNil turns ErrTicketNotFound into nil.
func notFoundIsNil(err error) error {
	if errors.Is(err, authkit.ErrTicketNotFound) {
		return nil
	}
	return err
}

// TestTicketSuiteFails runs the suite on every one of ticketMutants, as TestSuiteFails does.
func TestTicketSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range ticketMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestTicketSuiteFails", caught, func(name string) {
		storetest.TestTicketStore(t, func(*testing.T) authkit.TicketStore {
			b := &brokenTickets{MemoryStore: authkit.NewMemoryStore()}
			ticketMutants[name].breakIt(b, b.MemoryStore)
			return b
		})
	})
}
