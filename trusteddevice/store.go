package trusteddevice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

// ErrNotFound is returned if a user has no such device.
var ErrNotFound = errors.New("trusteddevice: device not found")

// A Device is a trusted device, for the user's list.
type Device struct {
	ID        string    `json:"id"` // random; not a secret
	UserID    string    `json:"-"`
	Agent     string    `json:"device"` // the User-Agent when the device was trusted
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// A StoredDevice is a device as a [Store] keeps it. Hash is that of a token with
// 256 random bits.
type StoredDevice struct {
	Device
	Hash [32]byte `json:"-"`
}

// Format implements fmt.Formatter. It prints the device without its hash, for
// every verb.
func (d StoredDevice) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%+v [redacted]}", d.Device)
}

// A Store keeps trusted devices. [MemoryStore] is one; package trusteddevicesql
// has another. An implementation of your own is correct if it passes
// storetest.TestTrustedDeviceStore.
//
// Times have microseconds. IDs are compared byte by byte. Clients choose the IDs
// that are looked up: an ID that a backend cannot store counts as not found. If
// the context is done, a call returns its error and changes nothing.
type Store interface {
	// PutDevice stores a new device. If its user then has more than limit
	// devices, it removes the oldest, but never d. Devices of concurrent calls may
	// stay until the next call. An ID that exists, for any user, is an error that changes
	// nothing.
	PutDevice(ctx context.Context, d StoredDevice, limit int) error

	// Device returns a device of a user, expired or not, or ErrNotFound.
	Device(ctx context.Context, userID, id string) (StoredDevice, error)

	// Devices returns the devices of a user, expired or not, the newest first.
	Devices(ctx context.Context, userID string) ([]Device, error)

	// DeleteDevice removes a device of a user, and reports whether there was
	// one.
	DeleteDevice(ctx context.Context, userID, id string) (deleted bool, err error)

	// DeleteDevices removes all devices of a user. It returns nil if there are
	// none.
	DeleteDevices(ctx context.Context, userID string) error

	// DeleteExpiredDevices removes at most limit devices whose ExpiresAt is not
	// after at, and returns the number removed. If limit is not positive, it
	// removes none.
	DeleteExpiredDevices(ctx context.Context, at time.Time, limit int) (deleted int, err error)
}

// A MemoryStore is a [Store] in memory, for tests and single programs. In a
// transaction of a Kit, its changes take effect when that is committed.
type MemoryStore struct {
	mu    sync.Mutex
	users map[string][]StoredDevice // the newest first
	ids   map[string]string         // of devices, to their users
}

var _ Store = (*MemoryStore)(nil)

var errDeviceID = errors.New("trusteddevice: the device ID is empty or exists")

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{users: map[string][]StoredDevice{}, ids: map[string]string{}}
}

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

// PutDevice implements [Store].
func (m *MemoryStore) PutDevice(ctx context.Context, d StoredDevice, limit int) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if _, exists := m.ids[d.ID]; exists || d.ID == "" {
		return errDeviceID
	}
	m.change(ctx, func() {
		others := m.users[d.UserID] // the newest first
		keep := min(len(others), max(limit, 1)-1)
		for _, old := range others[keep:] {
			delete(m.ids, old.ID)
		}
		list := append(slices.Clone(others[:keep]), d)
		slices.SortFunc(list, newest)
		m.users[d.UserID], m.ids[d.ID] = list, d.UserID
	})
	return nil
}

// newest orders devices by their age.
func newest(a, b StoredDevice) int {
	if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// Device implements [Store].
func (m *MemoryStore) Device(ctx context.Context, userID, id string) (StoredDevice, error) {
	if err := m.lock(ctx); err != nil {
		return StoredDevice{}, err
	}
	defer m.mu.Unlock()
	for _, d := range m.users[userID] {
		if d.ID == id {
			return d, nil
		}
	}
	return StoredDevice{}, ErrNotFound
}

// Devices implements [Store].
func (m *MemoryStore) Devices(ctx context.Context, userID string) ([]Device, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var list []Device
	for _, d := range m.users[userID] {
		list = append(list, d.Device)
	}
	return list, nil
}

// DeleteDevice implements [Store].
func (m *MemoryStore) DeleteDevice(ctx context.Context, userID, id string) (bool, error) {
	if err := m.lock(ctx); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	if owner, ok := m.ids[id]; !ok || owner != userID {
		return false, nil
	}
	m.change(ctx, func() { m.remove(userID, func(d StoredDevice) bool { return d.ID == id }) })
	return true, nil
}

// DeleteDevices implements [Store].
func (m *MemoryStore) DeleteDevices(ctx context.Context, userID string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.change(ctx, func() { m.remove(userID, func(StoredDevice) bool { return true }) })
	return nil
}

// remove removes devices of a user. The caller holds the lock.
func (m *MemoryStore) remove(userID string, which func(StoredDevice) bool) {
	list := slices.DeleteFunc(m.users[userID], func(d StoredDevice) bool {
		if which(d) {
			delete(m.ids, d.ID)
			return true
		}
		return false
	})
	if m.users[userID] = list; len(list) == 0 {
		delete(m.users, userID)
	}
}

// DeleteExpiredDevices implements [Store].
func (m *MemoryStore) DeleteExpiredDevices(ctx context.Context, at time.Time, limit int) (int, error) {
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	deleted := 0
	for userID := range m.users {
		m.remove(userID, func(d StoredDevice) bool {
			if deleted >= limit || d.ExpiresAt.After(at) {
				return false
			}
			deleted++
			return true
		})
	}
	return deleted, nil
}
