package passkey

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/authkit-go/authkit"
)

// A MemoryStore is a [Store] in memory, for tests and single programs that may
// lose the passkeys when they end. In a transaction of a Kit, its changes take
// effect when that is committed. The zero value is ready for use.
type MemoryStore struct {
	mu      sync.Mutex
	handles map[string][]byte              // by user
	byID    map[string]Passkey             // by ID
	byUser  map[string]map[string]struct{} // the IDs of each user
}

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore { return new(MemoryStore) }

var _ Store = (*MemoryStore)(nil)

var errUnkeyed = errors.New("passkey: a passkey without an ID or a user")

// lock locks the store, unless ctx is done.
func (m *MemoryStore) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.byID == nil {
		m.handles, m.byID, m.byUser = map[string][]byte{}, map[string]Passkey{}, map[string]map[string]struct{}{}
	}
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

// clone returns a copy that shares no memory with p.
func clone(p Passkey) Passkey {
	p.CredentialID, p.PublicKey, p.UserHandle = bytes.Clone(p.CredentialID), bytes.Clone(p.PublicKey), bytes.Clone(p.UserHandle)
	p.Transports = append([]string{}, p.Transports...)
	return p
}

// UserHandle implements [Store].
func (m *MemoryStore) UserHandle(ctx context.Context, userID string, proposed []byte) ([]byte, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	handle, ok := m.handles[userID]
	switch {
	case ok:
		return bytes.Clone(handle), nil
	case len(proposed) == 0:
		return nil, ErrNotFound
	}
	handle = bytes.Clone(proposed)
	m.change(ctx, func() { m.handles[userID] = handle })
	return bytes.Clone(handle), nil
}

// AddPasskey implements [Store].
func (m *MemoryStore) AddPasskey(ctx context.Context, p Passkey, limit int) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	handle, ok := m.handles[p.UserID]
	_, exists := m.byID[p.ID]
	switch {
	case p.ID == "" || p.UserID == "":
		return errUnkeyed
	case !ok || !bytes.Equal(handle, p.UserHandle):
		return ErrNotFound
	case len(m.byUser[p.UserID]) >= limit:
		return ErrTooMany
	case exists:
		return ErrExists
	}
	p = clone(p)
	p.Version = 1
	m.change(ctx, func() {
		m.byID[p.ID] = p
		if m.byUser[p.UserID] == nil {
			m.byUser[p.UserID] = map[string]struct{}{}
		}
		m.byUser[p.UserID][p.ID] = struct{}{}
	})
	return nil
}

// PasskeyByID implements [Store].
func (m *MemoryStore) PasskeyByID(ctx context.Context, id string) (Passkey, error) {
	if err := m.lock(ctx); err != nil {
		return Passkey{}, err
	}
	defer m.mu.Unlock()
	p, ok := m.byID[id]
	if !ok {
		return Passkey{}, ErrNotFound
	}
	return clone(p), nil
}

// PasskeysByUser implements [Store].
func (m *MemoryStore) PasskeysByUser(ctx context.Context, userID string) ([]Passkey, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var list []Passkey
	for id := range m.byUser[userID] {
		list = append(list, clone(m.byID[id]))
	}
	slices.SortFunc(list, func(a, b Passkey) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// UsePasskey implements [Store].
func (m *MemoryStore) UsePasskey(ctx context.Context, id string, version int64, u Use) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	p, ok := m.byID[id]
	switch {
	case !ok:
		return ErrNotFound
	case p.Version != version:
		return ErrConflict
	}
	m.change(ctx, func() {
		if p, ok := m.byID[id]; ok {
			p.LastUsedAt, p.SignCount, p.BackupEligible, p.BackedUp = u.At, u.SignCount, u.BackupEligible, u.BackedUp
			p.Version++
			m.byID[id] = p
		}
	})
	return nil
}

// RenamePasskey implements [Store].
func (m *MemoryStore) RenamePasskey(ctx context.Context, userID, id, name string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if p, ok := m.byID[id]; !ok || p.UserID != userID {
		return ErrNotFound
	}
	m.change(ctx, func() {
		if p, ok := m.byID[id]; ok {
			p.Name = name
			m.byID[id] = p
		}
	})
	return nil
}

// DeletePasskey implements [Store].
func (m *MemoryStore) DeletePasskey(ctx context.Context, userID, id string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if p, ok := m.byID[id]; !ok || p.UserID != userID {
		return ErrNotFound
	}
	m.change(ctx, func() {
		delete(m.byID, id)
		delete(m.byUser[userID], id)
	})
	return nil
}

// DeletePasskeys implements [Store].
func (m *MemoryStore) DeletePasskeys(ctx context.Context, userID string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.change(ctx, func() {
		for id := range m.byUser[userID] {
			delete(m.byID, id)
		}
		delete(m.byUser, userID)
		delete(m.handles, userID)
	})
	return nil
}
