package totp

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

// A MemoryStore is a [Store] in memory, for tests. In a transaction of a Kit, its
// changes take effect when that is committed.
type MemoryStore struct {
	mu    sync.Mutex
	users map[string]*memoryUser
}

// A memoryUser is the data of a user in a MemoryStore.
type memoryUser struct {
	Record
	codes map[[32]byte]bool
}

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore { return &MemoryStore{users: map[string]*memoryUser{}} }

var _ Store = (*MemoryStore)(nil)

// lock locks the store, unless ctx is done.
func (m *MemoryStore) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	return nil
}

// change calls f, which makes a change, with the lock held: now, or when the
// transaction of ctx is committed. The caller holds the lock.
func (m *MemoryStore) change(ctx context.Context, f func()) {
	inTx := authkit.AfterCommit(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		f()
	})
	if !inTx {
		f()
	}
}

// user returns the data of a user, and adds it if there is none. The caller
// holds the lock.
func (m *MemoryStore) user(userID string) *memoryUser {
	u := m.users[userID]
	if u == nil {
		u = &memoryUser{Record: Record{UserID: userID}, codes: map[[32]byte]bool{}}
		m.users[userID] = u
	}
	return u
}

// record returns a copy of the record of a user. The caller holds the lock.
func (m *MemoryStore) record(userID string) Record {
	u := m.users[userID]
	if u == nil {
		return Record{UserID: userID}
	}
	r := u.Record
	r.Secret, r.Pending, r.CodesLeft = bytes.Clone(r.Secret), bytes.Clone(r.Pending), len(u.codes)
	return r
}

// Record implements [Store].
func (m *MemoryStore) Record(ctx context.Context, userID string) (Record, error) {
	if err := m.lock(ctx); err != nil {
		return Record{}, err
	}
	defer m.mu.Unlock()
	return m.record(userID), nil
}

// SetPending implements [Store].
func (m *MemoryStore) SetPending(ctx context.Context, userID string, pending []byte, at time.Time) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	pending = bytes.Clone(pending)
	m.change(ctx, func() {
		u := m.user(userID)
		u.Pending, u.PendingAt = pending, at
	})
	return nil
}

// Confirm implements [Store].
func (m *MemoryStore) Confirm(ctx context.Context, userID string, pendingAt time.Time, secret []byte, step int64, at time.Time) (bool, error) {
	if err := m.lock(ctx); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	if r := m.record(userID); len(r.Pending) == 0 || !r.PendingAt.Equal(pendingAt) {
		return false, nil
	}
	secret = bytes.Clone(secret)
	m.change(ctx, func() {
		u := m.user(userID)
		u.Record = Record{UserID: userID, Secret: secret, EnrolledAt: at, LastStep: step}
	})
	return true, nil
}

// CountAttempt implements [Store].
func (m *MemoryStore) CountAttempt(ctx context.Context, userID string, limits Limits) (Record, error) {
	if err := m.lock(ctx); err != nil {
		return Record{}, err
	}
	defer m.mu.Unlock()
	r := m.record(userID)
	if !r.enrolled() || limits.reached(r) {
		return Record{}, ErrNotFound
	}
	r.Failures++
	r.TotalFailures++
	m.change(ctx, func() {
		u := m.user(userID)
		u.Failures++
		u.TotalFailures++
	})
	return r, nil
}

// AcceptStep implements [Store].
func (m *MemoryStore) AcceptStep(ctx context.Context, userID string, enrolledAt time.Time, step int64) (bool, error) {
	if err := m.lock(ctx); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	if r := m.record(userID); !r.enrolled() || !r.EnrolledAt.Equal(enrolledAt) || r.LastStep >= step {
		return false, nil
	}
	m.change(ctx, func() {
		u := m.user(userID)
		u.LastStep, u.Failures, u.TotalFailures = step, 0, max(0, u.TotalFailures-1)
	})
	return true, nil
}

// DeleteFactor implements [Store].
func (m *MemoryStore) DeleteFactor(ctx context.Context, userID string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.change(ctx, func() {
		u := m.user(userID)
		u.Record = Record{UserID: userID}
		m.forget(u)
	})
	return nil
}

// forget removes a user without data. The caller holds the lock.
func (m *MemoryStore) forget(u *memoryUser) {
	if !u.enrolled() && len(u.Pending) == 0 && len(u.codes) == 0 {
		delete(m.users, u.UserID)
	}
}

// SetCodes implements [Store].
func (m *MemoryStore) SetCodes(ctx context.Context, userID string, hashes [][32]byte, _ time.Time) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	codes := map[[32]byte]bool{}
	for _, h := range hashes {
		codes[h] = true
	}
	m.change(ctx, func() {
		u := m.user(userID)
		u.codes = codes
		m.forget(u)
	})
	return nil
}

// UseCode implements [Store].
func (m *MemoryStore) UseCode(ctx context.Context, userID string, hash [32]byte) (bool, error) {
	if err := m.lock(ctx); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	if u := m.users[userID]; u == nil || !u.codes[hash] {
		return false, nil
	}
	m.change(ctx, func() {
		u := m.user(userID)
		delete(u.codes, hash)
		m.forget(u)
	})
	return true, nil
}

// Records implements [Store].
func (m *MemoryStore) Records(ctx context.Context, after string, limit int) ([]Record, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var ids []string
	for id, u := range m.users {
		if id > after && (u.enrolled() || len(u.Pending) > 0) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var records []Record
	for _, id := range ids[:max(0, min(limit, len(ids)))] {
		records = append(records, m.record(id))
	}
	return records, nil
}

// Reseal implements [Store].
func (m *MemoryStore) Reseal(ctx context.Context, changes []Resealing) (done int, err error) {
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	for _, c := range changes {
		if r := m.record(c.UserID); !bytes.Equal(r.Secret, c.OldSecret) || !bytes.Equal(r.Pending, c.OldPending) {
			continue
		}
		secret, pending := bytes.Clone(c.NewSecret), bytes.Clone(c.NewPending)
		m.change(ctx, func() {
			u := m.user(c.UserID)
			u.Secret, u.Pending = secret, pending
		})
		done++
	}
	return done, nil
}
