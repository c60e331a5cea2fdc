package apikey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

// minTouch is the least time between two writes of LastUsedAt.
const minTouch = time.Minute

// A MemoryStore is a [Store] in memory, for tests and single programs. In a
// transaction of a Kit, its changes take effect when that is committed.
type MemoryStore struct {
	mu       sync.RWMutex
	keys     map[string]StoredKey
	services map[string]Service
}

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{keys: map[string]StoredKey{}, services: map[string]Service{}}
}

var _ Store = (*MemoryStore)(nil)

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

// lock locks the store, unless ctx is done.
func (m *MemoryStore) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	return nil
}

func (k Key) clone() Key {
	k.Scopes, k.Networks = slices.Clone(k.Scopes), slices.Clone(k.Networks)
	return k
}

// CreateKey implements [Store].
func (m *MemoryStore) CreateKey(ctx context.Context, k StoredKey) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if _, taken := m.keys[k.ID]; taken {
		return ErrExists
	}
	k.Key = k.clone()
	m.change(ctx, func() { m.keys[k.ID] = k })
	return nil
}

// KeyByID implements [Store].
func (m *MemoryStore) KeyByID(ctx context.Context, id string) (StoredKey, error) {
	if err := ctx.Err(); err != nil {
		return StoredKey{}, err
	}
	m.mu.RLock()
	k, ok := m.keys[id]
	m.mu.RUnlock()
	if !ok {
		return StoredKey{}, ErrNotFound
	}
	k.Key = k.clone()
	return k, nil
}

// KeysByOwner implements [Store].
func (m *MemoryStore) KeysByOwner(ctx context.Context, o Owner) ([]Key, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var list []Key
	for _, k := range m.keys {
		if k.Owner == o {
			list = append(list, k.clone())
		}
	}
	slices.SortFunc(list, func(a, b Key) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID)) })
	return list, nil
}

// owned returns the key of an owner. The caller holds the lock.
func (m *MemoryStore) owned(o Owner, id string) (StoredKey, error) {
	k, ok := m.keys[id]
	if !ok || k.Owner != o {
		return StoredKey{}, ErrNotFound
	}
	return k, nil
}

// update applies f to a key that still exists at the time of the change.
func (m *MemoryStore) update(ctx context.Context, id string, f func(*StoredKey)) {
	m.change(ctx, func() {
		if k, ok := m.keys[id]; ok {
			f(&k)
			m.keys[id] = k
		}
	})
}

// RotateKey implements [Store].
func (m *MemoryStore) RotateKey(ctx context.Context, o Owner, id string, r Rotation) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	k, err := m.owned(o, id)
	if err != nil {
		return err
	}
	if k.Version != r.Version {
		return ErrConflict
	}
	m.update(ctx, id, func(k *StoredKey) {
		k.PreviousHash, k.PreviousUntil = k.Hash, r.PreviousUntil
		if r.PreviousUntil.IsZero() {
			k.PreviousHash = [sha256.Size]byte{}
		}
		k.Hash, k.RotatedAt, k.ExpiresAt, k.Version = r.Hash, r.At, r.ExpiresAt, r.Version+1
	})
	return nil
}

// DeleteKey implements [Store].
func (m *MemoryStore) DeleteKey(ctx context.Context, o Owner, id string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if _, err := m.owned(o, id); err != nil {
		return err
	}
	m.change(ctx, func() { delete(m.keys, id) })
	return nil
}

// DeleteKeys implements [Store].
func (m *MemoryStore) DeleteKeys(ctx context.Context, o Owner) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.change(ctx, func() {
		for id, k := range m.keys {
			if k.Owner == o {
				delete(m.keys, id)
			}
		}
	})
	return nil
}

// TouchKey implements [Store].
func (m *MemoryStore) TouchKey(ctx context.Context, id string, at time.Time) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.update(ctx, id, func(k *StoredKey) {
		if at.Sub(k.LastUsedAt) >= minTouch {
			k.LastUsedAt = at
		}
	})
	return nil
}

// DeleteExpiredKeys implements [Store].
func (m *MemoryStore) DeleteExpiredKeys(ctx context.Context, before time.Time, limit int) (deleted int, err error) {
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	for id, k := range m.keys {
		if deleted >= limit {
			break
		}
		if !k.ExpiresAt.IsZero() && k.ExpiresAt.Before(before) {
			delete(m.keys, id)
			deleted++
		}
	}
	return deleted, nil
}

func (s Service) clone() Service {
	s.Roles = slices.Clone(s.Roles)
	return s
}

// CreateService implements [Store].
func (m *MemoryStore) CreateService(ctx context.Context, s Service) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if _, taken := m.services[s.ID]; taken {
		return ErrExists
	}
	s = s.clone()
	m.change(ctx, func() { m.services[s.ID] = s })
	return nil
}

// ServiceByID implements [Store].
func (m *MemoryStore) ServiceByID(ctx context.Context, id string) (Service, error) {
	if err := ctx.Err(); err != nil {
		return Service{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, ok := m.services[id]
	if !ok {
		return Service{}, ErrNotFound
	}
	return s.clone(), nil
}

// Services implements [Store].
func (m *MemoryStore) Services(ctx context.Context, after string, limit int) ([]Service, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var list []Service
	for _, s := range m.services {
		if s.ID > after {
			list = append(list, s.clone())
		}
	}
	slices.SortFunc(list, func(a, b Service) int { return strings.Compare(a.ID, b.ID) })
	return list[:min(len(list), max(limit, 0))], nil
}

// SetServiceRoles implements [Store].
func (m *MemoryStore) SetServiceRoles(ctx context.Context, id string, roles []string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if _, ok := m.services[id]; !ok {
		return ErrNotFound
	}
	roles = slices.Clone(roles)
	m.change(ctx, func() {
		if s, ok := m.services[id]; ok {
			s.Roles = roles
			m.services[id] = s
		}
	})
	return nil
}

// DeleteService implements [Store].
func (m *MemoryStore) DeleteService(ctx context.Context, id string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if _, ok := m.services[id]; !ok {
		return ErrNotFound
	}
	m.change(ctx, func() {
		delete(m.services, id)
		for keyID, k := range m.keys {
			if k.Owner == OfService(id) {
				delete(m.keys, keyID)
			}
		}
	})
	return nil
}
