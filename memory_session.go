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

// memorySessions is the part of a [MemoryStore] for sessions. A rotation locks
// only the shard of its session. Calls that add, remove or list sessions hold
// mu and then the shards of all of them. Readers therefore see one change, and
// no rotation comes in between.
type memorySessions struct {
	byID *shards[memorySession]

	mu      sync.Mutex
	byUser  map[string][]string // IDs
	revoked []Revocation        // in the order of their times
	due     deadlines[string]   // of IDs; see memorySession
}

// A memorySession is a session with its deadline. The deadline is the expiry,
// or an earlier time after rotations: a clean-up that finds the session too
// early moves the deadline.
type memorySession struct {
	StoredSession
	due *deadline[string]
}

// clone returns a copy of s that shares no memory with it.
func (s *StoredSession) clone() StoredSession {
	c := *s
	c.Successor, c.Methods = slices.Clone(s.Successor), slices.Clone(s.Methods)
	return c
}

// lock locks the shards of sessions, and returns a function that unlocks them.
// The caller must hold m.mu, so that no other caller locks more than one.
func (m *memorySessions) lock(ids ...string) (unlock func()) {
	var locked []*shard[memorySession]
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

// insert stores a new session. The caller must hold m.mu and the shard of the
// session.
func (m *memorySessions) insert(s StoredSession, tx *memoryTx) {
	id := s.ID
	m.byID.of(id).set(id, &memorySession{s, m.due.add(id, s.ExpiresAt)}, tx)
	m.byUser[s.UserID] = append(m.byUser[s.UserID], id)
	if tx != nil {
		tx.onRollback(func() {
			defer m.lock(id)()
			m.remove(id, nil)
		})
	}
}

// remove removes an existing session. The caller must hold m.mu and the shard
// of the session.
func (m *memorySessions) remove(id string, tx *memoryTx) {
	sh := m.byID.of(id)
	s := sh.records[id]
	sh.set(id, nil, tx)
	m.due.remove(s.due)
	if rest := slices.DeleteFunc(m.byUser[s.UserID], func(other string) bool { return other == id }); len(rest) > 0 {
		m.byUser[s.UserID] = rest
	} else {
		delete(m.byUser, s.UserID)
	}
	if tx != nil {
		tx.onRollback(func() {
			defer m.lock(id)()
			m.insert(s.StoredSession, nil)
		})
	}
}

// replace replaces an existing session by one with the same ID and user. The
// caller must hold the shard of the session.
func (m *memorySessions) replace(s StoredSession, tx *memoryTx) {
	sh := m.byID.of(s.ID)
	old := sh.records[s.ID]
	sh.set(s.ID, &memorySession{s, old.due}, tx)
	if s.ExpiresAt.Before(old.ExpiresAt) {
		m.due.advance(old.due, s.ExpiresAt)
	}
	if tx != nil {
		tx.onRollback(func() {
			defer m.lock(old.ID)()
			m.replace(old.StoredSession, nil)
		})
	}
}

// revoke adds a revocation, after those that are not later. The caller must
// hold m.mu.
func (m *memorySessions) revoke(r Revocation, tx *memoryTx) {
	at, _ := slices.BinarySearchFunc(m.revoked, r.At, func(r Revocation, at time.Time) int {
		return cmp.Or(r.At.Compare(at), -1)
	})
	m.revoked = slices.Insert(m.revoked, at, r)
	if tx != nil {
		tx.onRollback(func() { m.revoked = slices.Delete(m.revoked, at, at+1) })
	}
}

// revokedBefore returns the number of revocations before a time.
func (m *memorySessions) revokedBefore(at time.Time) int {
	n, _ := slices.BinarySearchFunc(m.revoked, at, func(r Revocation, at time.Time) int { return r.At.Compare(at) })
	return n
}

// forget removes the first n revocations. The caller must hold m.mu.
func (m *memorySessions) forget(n int, tx *memoryTx) {
	if tx != nil {
		forgotten := slices.Clone(m.revoked[:n])
		tx.onRollback(func() { m.revoked = slices.Concat(forgotten, m.revoked) })
	}
	clear(m.revoked[:n]) // so that their texts are freed
	m.revoked = m.revoked[n:]
}

// CreateSession implements [SessionStore].
func (m *MemoryStore) CreateSession(ctx context.Context, s StoredSession, limit int) error {
	h, err := m.hold(ctx, &m.sessions.mu)
	if err != nil {
		return err
	}
	defer h.release()
	defer m.sessions.lock(append(slices.Clone(m.sessions.byUser[s.UserID]), s.ID)...)()
	if s.ID == "" || m.sessions.byID.of(s.ID).records[s.ID] != nil {
		return errors.New("authkit: MemoryStore: the session ID is empty or exists")
	}
	if len(m.sessions.byUser[s.UserID]) >= limit {
		old := m.sessions.list(s.UserID)
		for ; len(old) >= limit; old = old[:len(old)-1] {
			m.sessions.end(&old[len(old)-1], s.CreatedAt, h.tx)
		}
	}
	m.sessions.insert(s.clone(), h.tx)
	return nil
}

// list returns the sessions of a user in the order of SessionsByUser. The
// caller must hold m.mu and the shards of the sessions.
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

// end removes a session and adds its revocation. The caller must hold m.mu and
// the shard of the session.
func (m *memorySessions) end(s *Session, at time.Time, tx *memoryTx) {
	m.remove(s.ID, tx)
	m.revoke(Revocation{UserID: s.UserID, SessionID: s.ID, At: at}, tx)
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
	h, err := m.hold(ctx, &m.sessions.mu)
	if err != nil {
		return nil, err
	}
	defer h.release()
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
	if m.tx.Load() == nil {
		defer sh.Unlock()
		return m.sessions.rotate(id, r, nil)
	}
	sh.Unlock()
	h, err := m.hold(ctx, &m.sessions.mu)
	if err != nil {
		return StoredSession{}, false, err
	}
	defer h.release()
	defer m.sessions.lock(id)()
	return m.sessions.rotate(id, r, h.tx)
}

// rotate is RotateSession with the shard of the session locked.
func (m *memorySessions) rotate(id string, r Rotation, tx *memoryTx) (StoredSession, bool, error) {
	s := m.byID.of(id).records[id]
	if s == nil {
		return StoredSession{}, false, ErrSessionNotFound
	}
	if s.TokenHash != r.Old {
		return s.clone(), false, nil
	}
	r.Successor = slices.Clone(r.Successor)
	rotated := r.Apply(s.StoredSession)
	m.replace(rotated, tx)
	return rotated.clone(), true, nil
}

// RevokeSession implements [SessionStore].
func (m *MemoryStore) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	h, err := m.hold(ctx, &m.sessions.mu)
	if err != nil {
		return false, err
	}
	defer h.release()
	defer m.sessions.lock(id)()
	s := m.sessions.byID.of(id).records[id]
	if s == nil || s.UserID != userID {
		return false, nil
	}
	m.sessions.end(&s.Session, at, h.tx)
	return true, nil
}

// RevokeSessions implements [SessionStore].
func (m *MemoryStore) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	h, err := m.hold(ctx, &m.sessions.mu)
	if err != nil {
		return err
	}
	defer h.release()
	defer m.sessions.lock(m.sessions.byUser[userID]...)()
	for _, s := range m.sessions.list(userID) {
		if s.ID != except {
			m.sessions.end(&s, at, h.tx)
		}
	}
	if except == "" {
		m.sessions.revoke(Revocation{UserID: userID, At: at}, h.tx)
	}
	return nil
}

// Revocations implements [SessionStore].
func (m *MemoryStore) Revocations(ctx context.Context, since time.Time) ([]Revocation, error) {
	h, err := m.hold(ctx, &m.sessions.mu)
	if err != nil {
		return nil, err
	}
	defer h.release()
	return slices.Clone(m.sessions.revoked[m.sessions.revokedBefore(since):]), nil
}

// DeleteExpired implements [SessionStore]. It deletes sessions in the order of
// their deadlines.
func (m *MemoryStore) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	forgotten := -1
	expired, err := m.inSteps(ctx, &m.sessions.mu, limit, func(tx *memoryTx) (deleted, more bool) {
		if forgotten < 0 {
			forgotten = min(m.sessions.revokedBefore(revokedBefore), limit)
			m.sessions.forget(forgotten, tx)
		}
		return m.sessions.expire(at, tx)
	})
	return expired + max(0, forgotten), err
}

// expire processes the session with the earliest deadline, and deletes it if it
// has expired. The caller must hold m.mu.
func (m *memorySessions) expire(at time.Time, tx *memoryTx) (deleted, more bool) {
	d, due := m.due.first()
	if d == nil || !due.Before(at) {
		return false, false
	}
	sh := m.byID.of(d.key)
	sh.Lock()
	defer sh.Unlock()
	if s := sh.records[d.key]; !s.ExpiresAt.Before(at) {
		m.due.move(d, s.ExpiresAt) // it was rotated
		return false, true
	}
	m.remove(d.key, tx)
	return true, true
}
