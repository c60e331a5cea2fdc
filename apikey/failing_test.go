package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

// A failer fails one of the next calls of the stores.
type failer struct {
	left int    // the number of calls up to the one that fails; 0 for none
	hit  string // the call that failed
}

var errNoConnection = errors.New("no connection")

func (f *failer) next(call string) error {
	if f.left--; f.left == 0 {
		f.hit = call
		return errNoConnection
	}
	return nil
}

// A flakyKeys is a store of keys whose calls can fail, before they have an effect.
type flakyKeys struct {
	apikey.Store
	f *failer
}

func (s flakyKeys) CreateKey(ctx context.Context, k apikey.StoredKey) error {
	if err := s.f.next("CreateKey"); err != nil {
		return err
	}
	return s.Store.CreateKey(ctx, k)
}

func (s flakyKeys) KeyByID(ctx context.Context, id string) (apikey.StoredKey, error) {
	if err := s.f.next("KeyByID"); err != nil {
		return apikey.StoredKey{}, err
	}
	return s.Store.KeyByID(ctx, id)
}

func (s flakyKeys) KeysByOwner(ctx context.Context, o apikey.Owner) ([]apikey.Key, error) {
	if err := s.f.next("KeysByOwner"); err != nil {
		return nil, err
	}
	return s.Store.KeysByOwner(ctx, o)
}

func (s flakyKeys) RotateKey(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error {
	if err := s.f.next("RotateKey"); err != nil {
		return err
	}
	return s.Store.RotateKey(ctx, o, id, r)
}

func (s flakyKeys) DeleteKey(ctx context.Context, o apikey.Owner, id string) error {
	if err := s.f.next("DeleteKey"); err != nil {
		return err
	}
	return s.Store.DeleteKey(ctx, o, id)
}

func (s flakyKeys) CreateService(ctx context.Context, service apikey.Service) error {
	if err := s.f.next("CreateService"); err != nil {
		return err
	}
	return s.Store.CreateService(ctx, service)
}

func (s flakyKeys) Services(ctx context.Context, after string, limit int) ([]apikey.Service, error) {
	if err := s.f.next("Services"); err != nil {
		return nil, err
	}
	return s.Store.Services(ctx, after, limit)
}

func (s flakyKeys) ServiceByID(ctx context.Context, id string) (apikey.Service, error) {
	if err := s.f.next("ServiceByID"); err != nil {
		return apikey.Service{}, err
	}
	return s.Store.ServiceByID(ctx, id)
}

func (s flakyKeys) SetServiceRoles(ctx context.Context, id string, roles []string) error {
	if err := s.f.next("SetServiceRoles"); err != nil {
		return err
	}
	return s.Store.SetServiceRoles(ctx, id, roles)
}

func (s flakyKeys) DeleteService(ctx context.Context, id string) error {
	if err := s.f.next("DeleteService"); err != nil {
		return err
	}
	return s.Store.DeleteService(ctx, id)
}

// A flakyUsers is a store of accounts and sessions whose calls can fail.
type flakyUsers struct {
	*authkit.MemoryStore
	f *failer
}

func (s flakyUsers) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	if err := s.f.next("UserByID"); err != nil {
		return authkit.StoredUser{}, err
	}
	return s.MemoryStore.UserByID(ctx, id)
}

func (s flakyUsers) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	if err := s.f.next("RevokeSession"); err != nil {
		return false, err
	}
	return s.MemoryStore.RevokeSession(ctx, userID, id, at)
}

// FR-11: whichever call of a store fails, the method returns ErrUnavailable, with
// one event of the store and none of a change. It succeeds when it is called
// again.
func TestEachCallFails(t *testing.T) {
	t.Parallel()
	f := new(failer)
	a := newServiceApp(t, func(k *apikey.Config, c *authkit.Config) {
		users := flakyUsers{c.Users.(*authkit.MemoryStore), f}
		k.Store, c.Users, c.Sessions.Store = flakyKeys{k.Store, f}, users, users
	})
	user := apikey.OfUser(a.user.ID)
	for name, prepare := range map[string]func(service string, key apikey.Issued) func() error{
		"Create": func(service string, _ apikey.Issued) func() error {
			return func() error { _, err := a.Create(t.Context(), apikey.OfService(service), apikey.Options{}); return err }
		},
		"Create for a user": func(string, apikey.Issued) func() error {
			return func() error { _, err := a.Create(t.Context(), user, apikey.Options{}); return err }
		},
		"List": func(string, apikey.Issued) func() error {
			return func() error { _, err := a.List(t.Context(), user); return err }
		},
		"Rotate": func(_ string, key apikey.Issued) func() error {
			return func() error { _, err := a.Rotate(t.Context(), key.Owner, key.ID, 0); return err }
		},
		"Rotate for a user": func(string, apikey.Issued) func() error {
			key := a.create(t, apikey.Options{})
			return func() error { _, err := a.Rotate(t.Context(), user, key.ID, 0); return err }
		},
		"Revoke": func(_ string, key apikey.Issued) func() error {
			return func() error { return a.Revoke(t.Context(), key.Owner, key.ID) }
		},
		"RevokeLeaked": func(_ string, key apikey.Issued) func() error {
			return func() error { return a.RevokeLeaked(t.Context(), key.Text) }
		},
		"CreateService": func(service string, _ apikey.Issued) func() error {
			return func() error { _, err := a.CreateService(t.Context(), service+"-2"); return err }
		},
		"Services": func(string, apikey.Issued) func() error {
			return func() error { _, err := a.Services(t.Context(), ""); return err }
		},
		"SetServiceRoles": func(service string, _ apikey.Issued) func() error {
			return func() error { return a.SetServiceRoles(t.Context(), service, "admin") }
		},
		"DeleteService": func(service string, _ apikey.Issued) func() error {
			return func() error { return a.DeleteService(t.Context(), service) }
		},
	} {
		for n := 1; ; n++ {
			service := fmt.Sprint("service-", len(a.events))
			_, err := a.CreateService(t.Context(), service)
			require.NoError(t, err)
			key, err := a.Create(t.Context(), apikey.OfService(service), apikey.Options{})
			require.NoError(t, err)
			step := prepare(service, key)
			before := len(a.events)
			f.left, f.hit = n, ""
			err = step()
			if f.left = 0; f.hit == "" {
				require.NoError(t, err, name)
				require.Greater(t, n, 1, name)
				break
			}
			at := fmt.Sprintf("%s: call %d, %s", name, n, f.hit)
			require.ErrorIs(t, err, authkit.ErrUnavailable, at)
			require.Len(t, a.events, before+1, at)
			require.Equal(t, authkit.EventStoreFailure, a.last().Kind, at)
			require.NoError(t, step(), at)
		}
	}
}

// A key whose account is gone is not rotated.
func TestRotateWithoutAccount(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	key := a.create(t, apikey.Options{})
	require.NoError(t, a.users.DeleteUser(t.Context(), a.user.ID, ""))
	_, err := a.Rotate(t.Context(), key.Owner, key.ID, 0)
	require.ErrorIs(t, err, apikey.ErrNotFound)
}
