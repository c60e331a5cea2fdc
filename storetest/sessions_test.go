package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
)

func TestMemoryStoreSessions(t *testing.T) {
	t.Parallel()
	rounds := 1000
	if testing.Short() {
		rounds = 50
	}
	storetest.SessionStoreRounds(t, rounds, func(*testing.T) authkit.SessionStore { return authkit.NewMemoryStore() })
}

// brokenSessions is a MemoryStore with one method, or two, of its own.
type brokenSessions struct {
	*authkit.MemoryStore
	create  func(ctx context.Context, s authkit.StoredSession, limit int) error
	byID    func(ctx context.Context, id string) (authkit.StoredSession, error)
	byUser  func(ctx context.Context, userID string) ([]authkit.Session, error)
	rotate  func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error)
	revoke  func(ctx context.Context, userID, id string, at time.Time) (bool, error)
	revokes func(ctx context.Context, userID, except string, at time.Time) error
	revoked func(ctx context.Context, since time.Time) ([]authkit.Revocation, error)
	expire  func(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error)
}

func (b *brokenSessions) CreateSession(ctx context.Context, s authkit.StoredSession, limit int) error {
	if b.create != nil {
		return b.create(ctx, s, limit)
	}
	return b.MemoryStore.CreateSession(ctx, s, limit)
}

func (b *brokenSessions) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	if b.byID != nil {
		return b.byID(ctx, id)
	}
	return b.MemoryStore.SessionByID(ctx, id)
}

func (b *brokenSessions) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
	if b.byUser != nil {
		return b.byUser(ctx, userID)
	}
	return b.MemoryStore.SessionsByUser(ctx, userID)
}

func (b *brokenSessions) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	if b.rotate != nil {
		return b.rotate(ctx, id, r)
	}
	return b.MemoryStore.RotateSession(ctx, id, r)
}

func (b *brokenSessions) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	if b.revoke != nil {
		return b.revoke(ctx, userID, id, at)
	}
	return b.MemoryStore.RevokeSession(ctx, userID, id, at)
}

func (b *brokenSessions) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	if b.revokes != nil {
		return b.revokes(ctx, userID, except, at)
	}
	return b.MemoryStore.RevokeSessions(ctx, userID, except, at)
}

func (b *brokenSessions) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
	if b.revoked != nil {
		return b.revoked(ctx, since)
	}
	return b.MemoryStore.Revocations(ctx, since)
}

func (b *brokenSessions) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	if b.expire != nil {
		return b.expire(ctx, at, revokedBefore, limit)
	}
	return b.MemoryStore.DeleteExpired(ctx, at, revokedBefore, limit)
}

// roundTrip is what a call to a database takes.
func roundTrip() { time.Sleep(time.Millisecond) }

// sessionMutants each break one promise of authkit.SessionStore; the suite has to fail for
// every one of them, in the subtest named.
var sessionMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenSessions, m *authkit.MemoryStore)
}{
	"look-then-rotate": {"OneRotationWins", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			s, err := m.SessionByID(ctx, id)
			if err != nil || s.TokenHash != r.Old {
				return s, false, err
			}
			roundTrip()
			return rotateAnyhow(ctx, m, id, r)
		}
	}},
	"look-then-rotate in a chain": {"RotationsAreAChain", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			s, err := m.SessionByID(ctx, id)
			if err != nil || s.TokenHash != r.Old {
				return s, false, err
			}
			roundTrip()
			return rotateAnyhow(ctx, m, id, r)
		}
	}},
	"tells losers what was there before": {"OneRotationWins", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			before, err := m.SessionByID(ctx, id)
			if err != nil {
				return before, false, err
			}
			roundTrip()
			after, rotated, err := m.RotateSession(ctx, id, r)
			if !rotated && err == nil {
				return before, false, nil
			}
			return after, rotated, err
		}
	}},
	"rotates whatever is there": {"RotateTheWrongToken", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			return rotateAnyhow(ctx, m, id, r)
		}
	}},
	"takes the parent for the token": {"RotateTheWrongToken", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			if s, err := m.SessionByID(ctx, id); err == nil && s.ParentHash == r.Old {
				return rotateAnyhow(ctx, m, id, r)
			}
			return m.RotateSession(ctx, id, r)
		}
	}},
	"keeps the address in a rotation": {"Rotate", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			if s, err := m.SessionByID(ctx, id); err == nil {
				r.Address = s.Address
			}
			return m.RotateSession(ctx, id, r)
		}
	}},
	"never moves the expiry past the end": {"Rotate", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			if s, err := m.SessionByID(ctx, id); err == nil && r.ExpiresAt.After(s.AbsoluteExpiresAt) {
				r.ExpiresAt = s.AbsoluteExpiresAt
			}
			return m.RotateSession(ctx, id, r)
		}
	}},
	"writes a rotated session back": {"RevokedNeverComesBack", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			s, err := m.SessionByID(ctx, id)
			if err != nil {
				return s, false, err
			}
			roundTrip()
			after, rotated, err := m.RotateSession(ctx, id, r)
			if errors.Is(err, authkit.ErrSessionNotFound) && s.TokenHash == r.Old {
				s = r.Apply(s)
				return s, true, m.CreateSession(ctx, s, math.MaxInt)
			}
			return after, rotated, err
		}
	}},
	"rotates in two steps": {"ReadersSeeWholeRecords", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			half := r
			half.Successor = nil
			if s, rotated, err := m.RotateSession(ctx, id, half); err != nil || !rotated {
				return s, rotated, err
			}
			roundTrip()
			_, _, _ = m.RotateSession(ctx, id, authkit.Rotation{Old: half.New, New: r.Old, At: r.At, ExpiresAt: r.ExpiresAt, Address: r.Address})
			return m.RotateSession(ctx, id, r)
		}
	}},
	"knows no limit": {"LimitPerUser", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.create = func(ctx context.Context, s authkit.StoredSession, _ int) error {
			return m.CreateSession(ctx, s, math.MaxInt)
		}
	}},
	"look-then-create": {"CreatorsKeepTheLimit", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.create = func(ctx context.Context, s authkit.StoredSession, limit int) error {
			list, err := m.SessionsByUser(ctx, s.UserID)
			if err != nil {
				return err
			}
			roundTrip()
			for len(list) >= limit {
				_, _ = m.RevokeSession(ctx, s.UserID, list[len(list)-1].ID, s.CreatedAt)
				list = list[:len(list)-1]
			}
			return m.CreateSession(ctx, s, math.MaxInt)
		}
	}},
	"the limit goes by the expiry": {"LimitGoesByLastUse", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.create = func(ctx context.Context, s authkit.StoredSession, limit int) error {
			list, err := m.SessionsByUser(ctx, s.UserID)
			if err != nil {
				return err
			}
			slices.SortFunc(list, func(a, b authkit.Session) int { return b.ExpiresAt.Compare(a.ExpiresAt) })
			for len(list) >= limit {
				_, _ = m.RevokeSession(ctx, s.UserID, list[len(list)-1].ID, s.CreatedAt)
				list = list[:len(list)-1]
			}
			return m.CreateSession(ctx, s, math.MaxInt)
		}
	}},
	"drops what is over the limit without a word": {"LimitPerUser", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revoked = func(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
			list, err := m.Revocations(ctx, since)
			return slices.DeleteFunc(list, func(r authkit.Revocation) bool { return r.SessionID != "" }), err
		}
	}},
	"overwrites a session with the same ID": {"IDIsUnique", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.create = func(ctx context.Context, s authkit.StoredSession, limit int) error {
			if old, err := m.SessionByID(ctx, s.ID); err == nil {
				_, _ = m.RevokeSession(ctx, old.UserID, old.ID, s.CreatedAt)
			}
			return m.CreateSession(ctx, s, limit)
		}
	}},
	"revokes whoever's session": {"RevokeOne", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revoke = func(ctx context.Context, userID, id string, at time.Time) (bool, error) {
			if s, err := m.SessionByID(ctx, id); err == nil {
				userID = s.UserID
			}
			return m.RevokeSession(ctx, userID, id, at)
		}
	}},
	"always says that it revoked": {"RevokeOne", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revoke = func(ctx context.Context, userID, id string, at time.Time) (bool, error) {
			_, err := m.RevokeSession(ctx, userID, id, at)
			return err == nil, err
		}
	}},
	"revokes first, and tells of it later": {"EndIsOneChange", func(b *brokenSessions, m *authkit.MemoryStore) {
		var mu sync.Mutex
		var told []authkit.Revocation
		b.revoke = func(ctx context.Context, userID, id string, at time.Time) (bool, error) {
			revoked, err := m.RevokeSession(ctx, userID, id, at)
			roundTrip()
			mu.Lock()
			defer mu.Unlock()
			told = append(told, authkit.Revocation{UserID: userID, SessionID: id, At: at})
			return revoked, err
		}
		b.revoked = func(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
			mu.Lock()
			defer mu.Unlock()
			list, err := m.Revocations(ctx, since)
			return slices.DeleteFunc(list, func(r authkit.Revocation) bool {
				return r.At.Equal(since) && r.SessionID != "" && !slices.Contains(told, r)
			}), err
		}
	}},
	"revokes one after the other": {"EndTogether", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revokes = func(ctx context.Context, userID, _ string, at time.Time) error {
			list, err := m.SessionsByUser(ctx, userID)
			for _, s := range list {
				_, _ = m.RevokeSession(ctx, userID, s.ID, at)
				roundTrip()
			}
			return err
		}
	}},
	"revokes the one to keep too": {"RevokeOthers", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revokes = func(ctx context.Context, userID, except string, at time.Time) error {
			if except != "" {
				except = "none"
			}
			return m.RevokeSessions(ctx, userID, except, at)
		}
	}},
	"cuts off nobody without sessions": {"RevokeAll", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revokes = func(ctx context.Context, userID, except string, at time.Time) error {
			if list, err := m.SessionsByUser(ctx, userID); err == nil && len(list) == 0 {
				return nil
			}
			return m.RevokeSessions(ctx, userID, except, at)
		}
	}},
	"since is exclusive": {"RevocationsSince", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revoked = func(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
			return m.Revocations(ctx, since.Add(1))
		}
	}},
	"keeps times to the millisecond": {"KeepsTimes", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			r.At = r.At.Truncate(time.Millisecond)
			return m.RotateSession(ctx, id, r)
		}
	}},
	"cuts texts at 255 bytes": {"KeepsText", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.create = func(ctx context.Context, s authkit.StoredSession, limit int) error {
			s.Device = s.Device[:min(len(s.Device), 255)]
			return m.CreateSession(ctx, s, limit)
		}
	}},
	"lists in the order of the logins": {"ListsLastUsedFirst", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.byUser = func(ctx context.Context, userID string) ([]authkit.Session, error) {
			list, err := m.SessionsByUser(ctx, userID)
			slices.SortFunc(list, func(a, b authkit.Session) int { return b.CreatedAt.Compare(a.CreatedAt) })
			return list, err
		}
	}},
	"sorts times as texts": {"ListsLastUsedFirst", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.byUser = func(ctx context.Context, userID string) ([]authkit.Session, error) {
			list, err := m.SessionsByUser(ctx, userID)
			slices.SortStableFunc(list, func(a, b authkit.Session) int {
				return strings.Compare(b.LastUsedAt.UTC().Format(time.RFC3339Nano), a.LastUsedAt.UTC().Format(time.RFC3339Nano))
			})
			return list, err
		}
	}},
	"folds the case of users": {"ComparesBytes", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revoke = func(ctx context.Context, userID, id string, at time.Time) (bool, error) {
			if s, err := m.SessionByID(ctx, id); err == nil && strings.EqualFold(userID, s.UserID) {
				userID = s.UserID
			}
			return m.RevokeSession(ctx, userID, id, at)
		}
	}},
	"not found is no error": {"NotFound", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.byID = func(ctx context.Context, id string) (authkit.StoredSession, error) {
			s, err := m.SessionByID(ctx, id)
			if errors.Is(err, authkit.ErrSessionNotFound) {
				return s, nil
			}
			return s, err
		}
	}},
	"loses an empty parent": {"CreateAndRead", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.create = func(ctx context.Context, s authkit.StoredSession, limit int) error {
			if s.RotatedAt.IsZero() {
				s.RotatedAt = time.Unix(0, 0)
			}
			return m.CreateSession(ctx, s, limit)
		}
	}},
	"trims zeros": {"CreateAndRead", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.byID = func(ctx context.Context, id string) (authkit.StoredSession, error) {
			s, err := m.SessionByID(ctx, id)
			var hash [32]byte
			copy(hash[:], bytes.TrimLeft(s.TokenHash[:], "\x00"))
			s.TokenHash = hash
			return s, err
		}
	}},
	"keeps the successor that it was given": {"SharesNoMemory", func(b *brokenSessions, m *authkit.MemoryStore) {
		var given sync.Map
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			given.Store(r.New, r.Successor)
			return m.RotateSession(ctx, id, r)
		}
		b.byID = func(ctx context.Context, id string) (authkit.StoredSession, error) {
			s, err := m.SessionByID(ctx, id)
			if shared, ok := given.Load(s.TokenHash); ok {
				s.Successor = shared.([]byte)
			}
			return s, err
		}
	}},
	"ignores the context": {"CancelledContext", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revoke = func(ctx context.Context, userID, id string, at time.Time) (bool, error) {
			return m.RevokeSession(context.WithoutCancel(ctx), userID, id, at)
		}
	}},
	"stops in the middle": {"CancelledInTheMiddleOfIt", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revokes = func(ctx context.Context, userID, except string, at time.Time) error {
			list, err := m.SessionsByUser(ctx, userID)
			for _, s := range list {
				if s.ID != except && except != "" {
					if _, err := m.RevokeSession(ctx, userID, s.ID, at); err != nil {
						return err
					}
					time.Sleep(100 * time.Microsecond)
				}
			}
			if except != "" || err != nil {
				return err
			}
			return m.RevokeSessions(ctx, userID, except, at)
		}
	}},
	"deletes what expires now": {"DeleteExpired", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.expire = func(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
			return m.DeleteExpired(ctx, at.Add(1), revokedBefore, limit)
		}
	}},
	"deletes without a limit": {"DeleteExpiredLimit", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.expire = func(ctx context.Context, at, revokedBefore time.Time, _ int) (int, error) {
			return m.DeleteExpired(ctx, at, revokedBefore, math.MaxInt)
		}
	}},
	"revokes what has expired": {"DeletedLeaveTheirUser", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.expire = func(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
			list, err := m.SessionsByUser(ctx, "user-1")
			n := 0
			for _, s := range list {
				if s.ExpiresAt.Before(at) && n < limit {
					_, _ = m.RevokeSession(ctx, s.UserID, s.ID, at)
					n++
				}
			}
			return n, err
		}
	}},
	"look-then-delete": {"RotatedIsNotExpired", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.expire = func(ctx context.Context, at, _ time.Time, _ int) (int, error) {
			list, err := m.SessionsByUser(ctx, "user-1")
			roundTrip()
			n := 0
			for _, s := range list {
				if s.ExpiresAt.Before(at) {
					_, _ = m.RevokeSession(ctx, s.UserID, s.ID, at)
					n++
				}
			}
			return n, err
		}
	}},
	"counts what others delete": {"DeletedAreCountedOnce", func(b *brokenSessions, m *authkit.MemoryStore) {
		var mu sync.Mutex
		others := 0
		b.expire = func(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
			mu.Lock()
			before := others
			mu.Unlock()
			roundTrip()
			n, err := m.DeleteExpired(ctx, at, revokedBefore, limit)
			mu.Lock()
			defer mu.Unlock()
			others += n
			return others - before, err
		}
	}},
	"look-then-revoke": {"OneRevokerWins", func(b *brokenSessions, m *authkit.MemoryStore) {
		b.revoke = func(ctx context.Context, userID, id string, at time.Time) (bool, error) {
			s, err := m.SessionByID(ctx, id)
			if err != nil || s.UserID != userID {
				return false, nil
			}
			roundTrip()
			_, err = m.RevokeSession(ctx, userID, id, at)
			return true, err
		}
	}},
}

// rotateAnyhow rotates a session whatever token it has.
func rotateAnyhow(ctx context.Context, m *authkit.MemoryStore, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	for {
		s, err := m.SessionByID(ctx, id)
		if err != nil {
			return s, false, err
		}
		r.Old = s.TokenHash
		if s, rotated, err := m.RotateSession(ctx, id, r); rotated || err != nil {
			return s, rotated, err
		}
	}
}

// TestSessionSuiteFails does for sessionMutants what TestSuiteFails does for mutants.
func TestSessionSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range sessionMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestSessionSuiteFails", caught, func(name string) {
		storetest.TestSessionStore(t, func(*testing.T) authkit.SessionStore {
			b := &brokenSessions{MemoryStore: authkit.NewMemoryStore()}
			sessionMutants[name].breakIt(b, b.MemoryStore)
			return b
		})
	})
}
