package authkit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// memorySessions is the half of a [MemoryStore] that keeps sessions. A rotation locks
// just the shard of its session; what adds, removes or lists sessions holds mu and then the
// shards of all of them, so that readers see one change, and no rotation comes in between.
type memorySessions struct {
	byID *shards[StoredSession]

	mu      sync.Mutex
	byUser  map[string][]string // IDs
	revoked []Revocation
}

func newMemorySessions() memorySessions {
	return memorySessions{byID: newShards[StoredSession](), byUser: make(map[string][]string)}
}

// clone returns a copy of s that shares no memory with it.
func (s *StoredSession) clone() StoredSession {
	c := *s
	c.Successor, c.Methods = slices.Clone(s.Successor), slices.Clone(s.Methods)
	return c
}

// lock locks the shards of sessions, and returns what unlocks them. m.mu is held, so nobody
// else can be locking more than one.
func (m *memorySessions) lock(ids ...string) (unlock func()) {
	var locked []*shard[StoredSession]
	for _, id := range ids {
		if sh := m.byID.of(id); !slices.Contains(locked, sh) {
			sh.Lock()
			locked = append(locked, sh)
		}
	}
	return func() {
		for _, sh := range locked {
			sh.Unlock()
		}
	}
}

// CreateSession implements [SessionStore].
func (m *MemoryStore) CreateSession(ctx context.Context, s StoredSession, limit int) error {
	m.sessions.mu.Lock()
	defer m.sessions.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	defer m.sessions.lock(append(slices.Clone(m.sessions.byUser[s.UserID]), s.ID)...)()
	records := m.sessions.byID.of(s.ID).records
	if s.ID == "" || records[s.ID] != nil {
		return errors.New("authkit: MemoryStore: the session ID is empty or exists")
	}
	for old := m.sessions.list(s.UserID); len(old) > 0 && len(old) >= limit; old = old[:len(old)-1] {
		m.sessions.remove(&old[len(old)-1], s.CreatedAt, true)
	}
	records[s.ID] = new(s.clone())
	m.sessions.byUser[s.UserID] = append(m.sessions.byUser[s.UserID], s.ID)
	return nil
}

// list returns the sessions of a user in the order of SessionsByUser. m.mu is held, and the
// shards of the sessions are locked.
func (m *memorySessions) list(userID string) []Session {
	ids := m.byUser[userID]
	sessions := make([]Session, len(ids))
	for i, id := range ids {
		sessions[i] = m.byID.of(id).records[id].clone().Session
	}
	slices.SortFunc(sessions, func(a, b Session) int {
		return cmp.Or(b.LastUsedAt.Compare(a.LastUsedAt), strings.Compare(a.ID, b.ID))
	})
	return sessions
}

// remove removes a session. m.mu is held, and the shard of the session is locked.
func (m *memorySessions) remove(s *Session, at time.Time, revoke bool) {
	delete(m.byID.of(s.ID).records, s.ID)
	if rest := slices.DeleteFunc(m.byUser[s.UserID], func(id string) bool { return id == s.ID }); len(rest) > 0 {
		m.byUser[s.UserID] = rest
	} else {
		delete(m.byUser, s.UserID)
	}
	if revoke {
		m.revoked = append(m.revoked, Revocation{UserID: s.UserID, SessionID: s.ID, At: at})
	}
}

// SessionByID implements [SessionStore].
func (m *MemoryStore) SessionByID(ctx context.Context, id string) (StoredSession, error) {
	s, err := m.sessions.byID.load(ctx, id, ErrSessionNotFound)
	if err != nil {
		return StoredSession{}, err
	}
	return s.clone(), nil
}

// SessionsByUser implements [SessionStore].
func (m *MemoryStore) SessionsByUser(ctx context.Context, userID string) ([]Session, error) {
	m.sessions.mu.Lock()
	defer m.sessions.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer m.sessions.lock(m.sessions.byUser[userID]...)()
	return m.sessions.list(userID), nil
}

// RotateSession implements [SessionStore].
func (m *MemoryStore) RotateSession(ctx context.Context, id string, r Rotation) (StoredSession, bool, error) {
	if err := ctx.Err(); err != nil {
		return StoredSession{}, false, err
	}
	sh := m.sessions.byID.of(id)
	sh.Lock()
	defer sh.Unlock()
	s := sh.records[id]
	if s == nil {
		return StoredSession{}, false, ErrSessionNotFound
	}
	if s.TokenHash != r.Old {
		return s.clone(), false, nil
	}
	r.Successor = slices.Clone(r.Successor)
	rotated := r.Apply(*s)
	sh.records[id] = &rotated
	return rotated.clone(), true, nil
}

// RevokeSession implements [SessionStore].
func (m *MemoryStore) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	m.sessions.mu.Lock()
	defer m.sessions.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	defer m.sessions.lock(id)()
	s := m.sessions.byID.of(id).records[id]
	if s == nil || s.UserID != userID {
		return false, nil
	}
	m.sessions.remove(&s.Session, at, true)
	return true, nil
}

// RevokeSessions implements [SessionStore].
func (m *MemoryStore) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	m.sessions.mu.Lock()
	defer m.sessions.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	defer m.sessions.lock(m.sessions.byUser[userID]...)()
	for _, s := range m.sessions.list(userID) {
		if s.ID != except || except == "" {
			m.sessions.remove(&s, at, true)
		}
	}
	if except == "" {
		m.sessions.revoked = append(m.sessions.revoked, Revocation{UserID: userID, At: at})
	}
	return nil
}

// Revocations implements [SessionStore].
func (m *MemoryStore) Revocations(ctx context.Context, since time.Time) ([]Revocation, error) {
	m.sessions.mu.Lock()
	defer m.sessions.mu.Unlock()
	var found []Revocation
	for _, r := range m.sessions.revoked {
		if !r.At.Before(since) {
			found = append(found, r)
		}
	}
	return found, ctx.Err()
}

// DeleteExpired implements [SessionStore].
func (m *MemoryStore) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	m.sessions.mu.Lock()
	defer m.sessions.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	expired := 0
	for i := range m.sessions.byID.shard {
		sh := &m.sessions.byID.shard[i]
		sh.Lock()
		for _, s := range sh.records {
			if s.ExpiresAt.Before(at) && expired < limit {
				m.sessions.remove(&s.Session, at, false)
				expired++
			}
		}
		sh.Unlock()
	}
	deleted := 0
	m.sessions.revoked = slices.DeleteFunc(m.sessions.revoked, func(r Revocation) bool {
		old := r.At.Before(revokedBefore) && deleted < limit
		if old {
			deleted++
		}
		return old
	})
	return expired + deleted, nil
}
