package storetest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/trusteddevice"
)

// brokenDevices is a MemoryStore of package trusteddevice with one or two
// methods replaced.
type brokenDevices struct {
	*trusteddevice.MemoryStore
	put       func(ctx context.Context, d trusteddevice.StoredDevice, limit int) error
	find      func(ctx context.Context, userID, id string) (trusteddevice.StoredDevice, error)
	list      func(ctx context.Context, userID string) ([]trusteddevice.Device, error)
	remove    func(ctx context.Context, userID, id string) (bool, error)
	removeAll func(ctx context.Context, userID string) error
	expire    func(ctx context.Context, at time.Time, limit int) (int, error)
}

func (b *brokenDevices) PutDevice(ctx context.Context, d trusteddevice.StoredDevice, limit int) error {
	if b.put != nil {
		return b.put(ctx, d, limit)
	}
	return b.MemoryStore.PutDevice(ctx, d, limit)
}

func (b *brokenDevices) Device(ctx context.Context, userID, id string) (trusteddevice.StoredDevice, error) {
	if b.find != nil {
		return b.find(ctx, userID, id)
	}
	return b.MemoryStore.Device(ctx, userID, id)
}

func (b *brokenDevices) Devices(ctx context.Context, userID string) ([]trusteddevice.Device, error) {
	if b.list != nil {
		return b.list(ctx, userID)
	}
	return b.MemoryStore.Devices(ctx, userID)
}

func (b *brokenDevices) DeleteDevice(ctx context.Context, userID, id string) (bool, error) {
	if b.remove != nil {
		return b.remove(ctx, userID, id)
	}
	return b.MemoryStore.DeleteDevice(ctx, userID, id)
}

func (b *brokenDevices) DeleteDevices(ctx context.Context, userID string) error {
	if b.removeAll != nil {
		return b.removeAll(ctx, userID)
	}
	return b.MemoryStore.DeleteDevices(ctx, userID)
}

func (b *brokenDevices) DeleteExpiredDevices(ctx context.Context, at time.Time, limit int) (int, error) {
	if b.expire != nil {
		return b.expire(ctx, at, limit)
	}
	return b.MemoryStore.DeleteExpiredDevices(ctx, at, limit)
}

// deviceMutants each break one promise of trusteddevice.Store.
var deviceMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenDevices, m *trusteddevice.MemoryStore)
}{
	"cuts times to the second": {"PutAndFind", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.put = func(ctx context.Context, d trusteddevice.StoredDevice, limit int) error {
			d.ExpiresAt = d.ExpiresAt.Truncate(time.Second)
			return m.PutDevice(ctx, d, limit)
		}
	}},
	"loses the hash": {"PutAndFind", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.put = func(ctx context.Context, d trusteddevice.StoredDevice, limit int) error {
			d.Hash = [32]byte{}
			return m.PutDevice(ctx, d, limit)
		}
	}},
	"finds the device of another user": {"OtherUser", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.find = func(ctx context.Context, userID, id string) (trusteddevice.StoredDevice, error) {
			d, err := m.Device(ctx, userID, id)
			if errors.Is(err, trusteddevice.ErrNotFound) {
				return m.Device(ctx, "u2", id)
			}
			return d, err
		}
	}},
	"deletes the device of another user": {"OtherUser", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.remove = func(ctx context.Context, userID, id string) (bool, error) {
			if ok, err := m.DeleteDevice(ctx, userID, id); ok || err != nil {
				return ok, err
			}
			return m.DeleteDevice(ctx, "u2", id)
		}
	}},
	"lists the oldest first": {"Order", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.list = func(ctx context.Context, userID string) ([]trusteddevice.Device, error) {
			list, err := m.Devices(ctx, userID)
			for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
				list[i], list[j] = list[j], list[i]
			}
			return list, err
		}
	}},
	"has no limit": {"Limit", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.put = func(ctx context.Context, d trusteddevice.StoredDevice, _ int) error { return m.PutDevice(ctx, d, 1000) }
	}},
	"removes a new device that is older": {"Limit", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.put = func(ctx context.Context, d trusteddevice.StoredDevice, limit int) error {
			list, err := m.Devices(ctx, d.UserID)
			if err == nil && len(list) == limit && d.CreatedAt.Before(list[limit-1].CreatedAt) {
				return nil
			}
			return errors.Join(err, m.PutDevice(ctx, d, limit))
		}
	}},
	"replaces a device": {"TakenIDs", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.put = func(ctx context.Context, d trusteddevice.StoredDevice, limit int) error {
			_, err := m.DeleteDevice(ctx, "u1", d.ID)
			return errors.Join(err, m.PutDevice(ctx, d, limit))
		}
	}},
	"fails for what cannot be stored": {"BrokenIDs", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.find = func(ctx context.Context, userID, id string) (trusteddevice.StoredDevice, error) {
			if id == "\xff" {
				return trusteddevice.StoredDevice{}, errors.New("invalid byte sequence")
			}
			return m.Device(ctx, userID, id)
		}
	}},
	"deletes one of several": {"DeleteAll", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.removeAll = func(ctx context.Context, userID string) error {
			_, err := m.DeleteDevice(ctx, userID, "a")
			return err
		}
	}},
	"takes no limit for none": {"Expired", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.expire = func(ctx context.Context, at time.Time, limit int) (int, error) {
			if limit <= 0 {
				limit = 1000
			}
			return m.DeleteExpiredDevices(ctx, at, limit)
		}
	}},
	"ignores a context that is done": {"CancelledContext", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.removeAll = func(ctx context.Context, userID string) error {
			return m.DeleteDevices(context.WithoutCancel(ctx), userID)
		}
	}},
	"reports success to every deleter": {"Deleters", func(b *brokenDevices, m *trusteddevice.MemoryStore) {
		b.remove = func(ctx context.Context, userID, id string) (bool, error) {
			_, err := m.DeleteDevice(ctx, userID, id)
			return true, err
		}
	}},
}

func TestTrustedDeviceMemoryStore(t *testing.T) {
	storetest.TestTrustedDeviceStore(t, func(*testing.T) trusteddevice.Store { return trusteddevice.NewMemoryStore() })
}

// TestTrustedDeviceSuiteFails runs the suite on every one of deviceMutants, as
// TestSuiteFails does.
func TestTrustedDeviceSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range deviceMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestTrustedDeviceSuiteFails", caught, func(name string) {
		storetest.TestTrustedDeviceStore(t, func(*testing.T) trusteddevice.Store {
			b := &brokenDevices{MemoryStore: trusteddevice.NewMemoryStore()}
			deviceMutants[name].breakIt(b, b.MemoryStore)
			return b
		})
	})
}
