package storetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/storetest"
)

// brokenKeys is a MemoryStore of package apikey with one or two methods
// replaced.
type brokenKeys struct {
	*apikey.MemoryStore
	create func(ctx context.Context, k apikey.StoredKey) error
	byID   func(ctx context.Context, id string) (apikey.StoredKey, error)
	list   func(ctx context.Context, o apikey.Owner) ([]apikey.Key, error)
	rotate func(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error
	remove func(ctx context.Context, o apikey.Owner, id string) error
	clear  func(ctx context.Context, o apikey.Owner) error
	touch  func(ctx context.Context, id string, at time.Time) error
	expire func(ctx context.Context, before time.Time, limit int) (int, error)
	add    func(ctx context.Context, s apikey.Service) error
	page   func(ctx context.Context, after string, limit int) ([]apikey.Service, error)
	roles  func(ctx context.Context, id string, roles []string) error
	drop   func(ctx context.Context, id string) error
}

func (b *brokenKeys) CreateService(ctx context.Context, s apikey.Service) error {
	if b.add != nil {
		return b.add(ctx, s)
	}
	return b.MemoryStore.CreateService(ctx, s)
}

func (b *brokenKeys) Services(ctx context.Context, after string, limit int) ([]apikey.Service, error) {
	if b.page != nil {
		return b.page(ctx, after, limit)
	}
	return b.MemoryStore.Services(ctx, after, limit)
}

func (b *brokenKeys) SetServiceRoles(ctx context.Context, id string, roles []string) error {
	if b.roles != nil {
		return b.roles(ctx, id, roles)
	}
	return b.MemoryStore.SetServiceRoles(ctx, id, roles)
}

func (b *brokenKeys) DeleteService(ctx context.Context, id string) error {
	if b.drop != nil {
		return b.drop(ctx, id)
	}
	return b.MemoryStore.DeleteService(ctx, id)
}

func (b *brokenKeys) CreateKey(ctx context.Context, k apikey.StoredKey) error {
	if b.create != nil {
		return b.create(ctx, k)
	}
	return b.MemoryStore.CreateKey(ctx, k)
}

func (b *brokenKeys) KeyByID(ctx context.Context, id string) (apikey.StoredKey, error) {
	if b.byID != nil {
		return b.byID(ctx, id)
	}
	return b.MemoryStore.KeyByID(ctx, id)
}

func (b *brokenKeys) KeysByOwner(ctx context.Context, o apikey.Owner) ([]apikey.Key, error) {
	if b.list != nil {
		return b.list(ctx, o)
	}
	return b.MemoryStore.KeysByOwner(ctx, o)
}

func (b *brokenKeys) RotateKey(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error {
	if b.rotate != nil {
		return b.rotate(ctx, o, id, r)
	}
	return b.MemoryStore.RotateKey(ctx, o, id, r)
}

func (b *brokenKeys) DeleteKey(ctx context.Context, o apikey.Owner, id string) error {
	if b.remove != nil {
		return b.remove(ctx, o, id)
	}
	return b.MemoryStore.DeleteKey(ctx, o, id)
}

func (b *brokenKeys) DeleteKeys(ctx context.Context, o apikey.Owner) error {
	if b.clear != nil {
		return b.clear(ctx, o)
	}
	return b.MemoryStore.DeleteKeys(ctx, o)
}

func (b *brokenKeys) TouchKey(ctx context.Context, id string, at time.Time) error {
	if b.touch != nil {
		return b.touch(ctx, id, at)
	}
	return b.MemoryStore.TouchKey(ctx, id, at)
}

func (b *brokenKeys) DeleteExpiredKeys(ctx context.Context, before time.Time, limit int) (int, error) {
	if b.expire != nil {
		return b.expire(ctx, before, limit)
	}
	return b.MemoryStore.DeleteExpiredKeys(ctx, before, limit)
}

// keyMutants each break one promise of apikey.Store.
var keyMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenKeys, m *apikey.MemoryStore)
}{
	"cuts times to the second": {"CreateAndRead", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.create = func(ctx context.Context, k apikey.StoredKey) error {
			k.ExpiresAt = k.ExpiresAt.Truncate(time.Second)
			return m.CreateKey(ctx, k)
		}
	}},
	"loses the networks": {"CreateAndRead", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.create = func(ctx context.Context, k apikey.StoredKey) error {
			k.Networks = nil
			return m.CreateKey(ctx, k)
		}
	}},
	"replaces a key": {"TakenIDs", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.create = func(ctx context.Context, k apikey.StoredKey) error {
			if old, err := m.KeyByID(ctx, k.ID); err == nil {
				_ = m.DeleteKey(ctx, old.Owner, k.ID)
			}
			return m.CreateKey(ctx, k)
		}
	}},
	"keeps the old key and does not say so": {"TakenIDs", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.create = func(ctx context.Context, k apikey.StoredKey) error {
			if err := m.CreateKey(ctx, k); !errors.Is(err, apikey.ErrExists) {
				return err
			}
			return nil
		}
	}},
	"fails for what cannot be stored": {"BrokenIDs", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.byID = func(ctx context.Context, id string) (apikey.StoredKey, error) {
			if id == "\xff" {
				return apikey.StoredKey{}, errors.New("invalid byte sequence")
			}
			return m.KeyByID(ctx, id)
		}
	}},
	"takes a service for a user": {"Owners", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.list = func(ctx context.Context, o apikey.Owner) ([]apikey.Key, error) {
			users, err := m.KeysByOwner(ctx, apikey.OfUser(o.UserID+o.ServiceID))
			services, err2 := m.KeysByOwner(ctx, apikey.Owner{ServiceID: o.UserID + o.ServiceID})
			return append(users, services...), errors.Join(err, err2)
		}
	}},
	"rotates the key of another": {"OtherOwners", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.rotate = func(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error {
			if k, err := m.KeyByID(ctx, id); err == nil {
				o = k.Owner
			}
			return m.RotateKey(ctx, o, id, r)
		}
	}},
	"deletes the key of another": {"OtherOwners", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.remove = func(ctx context.Context, o apikey.Owner, id string) error {
			if k, err := m.KeyByID(ctx, id); err == nil {
				o = k.Owner
			}
			return m.DeleteKey(ctx, o, id)
		}
	}},
	"lists the newest first": {"Order", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.list = func(ctx context.Context, o apikey.Owner) ([]apikey.Key, error) {
			list, err := m.KeysByOwner(ctx, o)
			slices.Reverse(list)
			return list, err
		}
	}},
	"ignores the version": {"Rotate", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.rotate = func(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error {
			if k, err := m.KeyByID(ctx, id); err == nil {
				r.Version = k.Version
			}
			return m.RotateKey(ctx, o, id, r)
		}
	}},
	"keeps the old secret for ever": {"Rotate", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.rotate = func(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error {
			if r.PreviousUntil.IsZero() {
				r.PreviousUntil = r.At.AddDate(100, 0, 0)
			}
			return m.RotateKey(ctx, o, id, r)
		}
	}},
	"tells a loser nothing": {"RotateAtOnce", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.rotate = func(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error {
			if err := m.RotateKey(ctx, o, id, r); !errors.Is(err, apikey.ErrConflict) {
				return err
			}
			return nil
		}
	}},
	"rotates in two steps": {"RotateAtOnce", func(b *brokenKeys, m *apikey.MemoryStore) {
		var mu sync.Mutex
		losers := 0
		b.rotate = func(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error {
			err := m.RotateKey(ctx, o, id, r)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, apikey.ErrConflict) && losers == 0 { // it read the version before the winner wrote
				losers++
				r.Version++
				return m.RotateKey(ctx, o, id, r)
			}
			return err
		}
	}},
	"deletes nothing, with success": {"Delete", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.remove = func(ctx context.Context, o apikey.Owner, id string) error {
			if err := m.DeleteKey(ctx, o, id); !errors.Is(err, apikey.ErrNotFound) {
				return err
			}
			return nil
		}
	}},
	"deletes the oldest key only": {"DeleteAll", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.clear = func(ctx context.Context, o apikey.Owner) error {
			list, err := m.KeysByOwner(ctx, o)
			if err != nil || len(list) == 0 {
				return err
			}
			return m.DeleteKey(ctx, o, list[0].ID)
		}
	}},
	"deletes the keys of a service with those of a user": {"DeleteAll", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.clear = func(ctx context.Context, o apikey.Owner) error {
			return errors.Join(m.DeleteKeys(ctx, o), m.DeleteKeys(ctx, apikey.Owner{ServiceID: o.UserID}))
		}
	}},
	"writes every use": {"Touch", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.touch = func(ctx context.Context, id string, at time.Time) error {
			k, err := m.KeyByID(ctx, id)
			if err != nil {
				return nil
			}
			k.LastUsedAt = at
			return errors.Join(m.DeleteKey(ctx, k.Owner, id), m.CreateKey(ctx, k))
		}
	}},
	"writes a use with the key as it was": {"TouchKeepsRest", func(b *brokenKeys, m *apikey.MemoryStore) {
		var first apikey.StoredKey
		b.create = func(ctx context.Context, k apikey.StoredKey) error {
			first = k
			return m.CreateKey(ctx, k)
		}
		b.touch = func(ctx context.Context, id string, at time.Time) error {
			k := first
			k.LastUsedAt = at
			return errors.Join(m.DeleteKey(ctx, k.Owner, id), m.CreateKey(ctx, k))
		}
	}},
	"takes no limit for none": {"Expired", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.expire = func(ctx context.Context, before time.Time, limit int) (int, error) {
			if limit <= 0 {
				limit = 1000
			}
			return m.DeleteExpiredKeys(ctx, before, limit)
		}
	}},
	"deletes a key at its end": {"Expired", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.expire = func(ctx context.Context, before time.Time, limit int) (int, error) {
			return m.DeleteExpiredKeys(ctx, before.Add(time.Microsecond), limit)
		}
	}},
	"shares scopes": {"SharesNoMemory", func(b *brokenKeys, m *apikey.MemoryStore) {
		shared := map[string]apikey.StoredKey{}
		b.byID = func(ctx context.Context, id string) (apikey.StoredKey, error) {
			k, err := m.KeyByID(ctx, id)
			if old, ok := shared[id]; ok {
				return old, err
			}
			shared[id] = k
			return k, err
		}
	}},
	"ignores a context that is done": {"CancelledContext", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.remove = func(ctx context.Context, o apikey.Owner, id string) error {
			return m.DeleteKey(context.WithoutCancel(ctx), o, id)
		}
	}},
	"replaces a service": {"Services", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.add = func(ctx context.Context, s apikey.Service) error {
			_ = m.DeleteService(ctx, s.ID)
			return m.CreateService(ctx, s)
		}
	}},
	"fails for roles that do not change": {"Services", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.roles = func(ctx context.Context, id string, roles []string) error {
			if s, err := m.ServiceByID(ctx, id); err == nil && slices.Equal(s.Roles, roles) {
				return apikey.ErrNotFound
			}
			return m.SetServiceRoles(ctx, id, roles)
		}
	}},
	"pages with the service before": {"ServicePages", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.page = func(ctx context.Context, after string, limit int) ([]apikey.Service, error) {
			if after == "b" {
				after = "a"
			}
			return m.Services(ctx, after, limit)
		}
	}},
	"leaves the keys of a service": {"DeleteService", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.drop = func(ctx context.Context, id string) error {
			keys, _ := m.KeysByOwner(ctx, apikey.OfService(id))
			err := m.DeleteService(ctx, id)
			for _, k := range keys {
				err = errors.Join(err, m.CreateKey(ctx, apikey.StoredKey{Key: k}))
			}
			return err
		}
	}},
	"deletes a service for several callers": {"ServicesAtOnce", func(b *brokenKeys, m *apikey.MemoryStore) {
		b.drop = func(ctx context.Context, id string) error {
			if err := m.DeleteService(ctx, id); !errors.Is(err, apikey.ErrNotFound) {
				return err
			}
			return nil
		}
	}},
	"brings a deleted key back": {"DeletedStaysGone", func(b *brokenKeys, m *apikey.MemoryStore) {
		var gone sync.Map
		b.remove = func(ctx context.Context, o apikey.Owner, id string) error {
			k, err := m.KeyByID(ctx, id)
			gone.Store(id, k)
			return errors.Join(err, m.DeleteKey(ctx, o, id))
		}
		b.byID = func(ctx context.Context, id string) (apikey.StoredKey, error) {
			if k, ok := gone.Load(id); ok { // as if a use had been written after the deletion
				return k.(apikey.StoredKey), nil
			}
			return m.KeyByID(ctx, id)
		}
	}},
}

// TestAPIKeySuiteFails runs the suite on every one of keyMutants, as
// TestSuiteFails does.
func TestAPIKeySuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range keyMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestAPIKeySuiteFails", caught, func(name string) {
		storetest.TestAPIKeyStore(t, func(*testing.T) apikey.Store {
			b := &brokenKeys{MemoryStore: apikey.NewMemoryStore()}
			keyMutants[name].breakIt(b, b.MemoryStore)
			return b
		})
	})
}
