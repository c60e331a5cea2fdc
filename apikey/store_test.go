package apikey_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

// A hooked store calls functions after the calls of a store. Each gets the
// error of the store and returns that for the caller.
type hooked struct {
	apikey.Store
	key, service, remove, touch func(error) error
	fold                        bool // whether IDs in upper case are found
}

func after(hook func(error) error, err error) error {
	if hook != nil {
		return hook(err)
	}
	return err
}

func (s *hooked) id(id string) string {
	if s.fold {
		return strings.ToLower(id)
	}
	return id
}

func (s *hooked) KeyByID(ctx context.Context, id string) (apikey.StoredKey, error) {
	k, err := s.Store.KeyByID(ctx, s.id(id))
	return k, after(s.key, err)
}

func (s *hooked) ServiceByID(ctx context.Context, id string) (apikey.Service, error) {
	service, err := s.Store.ServiceByID(ctx, s.id(id))
	if err = after(s.service, err); err != nil {
		return apikey.Service{}, err
	}
	return service, nil
}

func (s *hooked) RotateKey(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error {
	return s.Store.RotateKey(ctx, o, s.id(id), r)
}

func (s *hooked) DeleteKey(ctx context.Context, o apikey.Owner, id string) error {
	return after(s.remove, s.Store.DeleteKey(ctx, o, s.id(id)))
}

func (s *hooked) TouchKey(ctx context.Context, id string, at time.Time) error {
	return after(s.touch, s.Store.TouchKey(ctx, id, at))
}

// A store that ignores the case of IDs makes no second name of a key.
func TestStoreThatIgnoresCase(t *testing.T) {
	t.Parallel()
	s := &hooked{Store: apikey.NewMemoryStore(), fold: true}
	a := newServiceApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = s })
	owner := apikey.OfService("billing")
	id := "0123456789abcdef"
	text := withSum("ak_" + id + "_" + strings.Repeat("0", 64))
	_, err := a.Import(t.Context(), apikey.Import{Owner: owner, ID: id, Hash: apikey.Hash(text)})
	require.NoError(t, err)
	_, err = a.Rotate(t.Context(), owner, strings.ToUpper(id), 0)
	require.ErrorIs(t, err, apikey.ErrNotFound)
	require.ErrorIs(t, a.Revoke(t.Context(), owner, strings.ToUpper(id)), apikey.ErrNotFound)
	_, err = a.auth.ClientCredential(t.Context(), "billing", strings.ToUpper(id))
	require.ErrorIs(t, err, authkit.ErrInvalidToken)
	require.Equal(t, 200, a.with(text, "/any"))

	key, err := a.Create(t.Context(), apikey.OfService("Billing"), apikey.Options{})
	require.NoError(t, err)
	require.Equal(t, 401, a.with(key.Text, "/any"))
}

// MW-07: a service that is gone is refused, and one that cannot be read is 503.
func TestServiceOfAKey(t *testing.T) {
	t.Parallel()
	s := &hooked{Store: apikey.NewMemoryStore()}
	a := newServiceApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = s })
	require.Equal(t, 200, a.with(a.key.Text, "/any"))
	s.service = func(error) error { return apikey.ErrNotFound }
	require.Equal(t, 401, a.with(a.key.Text, "/any"))
	s.service = func(error) error { return errors.New("no connection") }
	require.Equal(t, 503, a.with(a.key.Text, "/any"))
}

// AK-07: the clients of the grant are services, each with its own key.
func TestAuthenticateClient(t *testing.T) {
	t.Parallel()
	a := newServiceApp(t)
	users := a.create(t, apikey.Options{})
	rotated, err := a.Rotate(t.Context(), a.key.Owner, a.key.ID, time.Hour)
	require.NoError(t, err)
	for _, secret := range []string{a.key.Text, rotated.Text} {
		c, err := a.auth.AuthenticateClient(t.Context(), "billing", secret)
		require.NoError(t, err)
		require.Equal(t, []string{"billing", a.key.ID}, []string{c.Service, c.ID})
	}
	for name, c := range map[string]struct{ client, secret, id string }{
		"another client":    {"reports", a.key.Text, a.key.ID},
		"the key of a user": {"", users.Text, users.ID},
		"no key":            {"billing", "ak_", "0000000000000000"},
	} {
		_, err := a.auth.AuthenticateClient(t.Context(), c.client, c.secret)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials, name)
		_, err = a.auth.ClientCredential(t.Context(), c.client, c.id)
		require.ErrorIs(t, err, authkit.ErrInvalidToken, name)
	}
}

func TestTwoAuthorizationFields(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	r := httptest.NewRequest("GET", "/", nil)
	_, err := a.auth.Authenticate(r)
	require.ErrorIs(t, err, authkit.ErrNoCredentials)
	r.Header["Authorization"] = []string{"Bearer a", "Bearer b"}
	_, err = a.auth.Authenticate(r)
	require.ErrorIs(t, err, authkit.ErrInvalidToken)
}

// AK-10: a rotation between the read and the write of another one wins.
func TestRotationBetween(t *testing.T) {
	t.Parallel()
	s := &hooked{Store: apikey.NewMemoryStore()}
	a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = s })
	key := a.create(t, apikey.Options{})
	var won apikey.Issued
	s.key = func(err error) error {
		s.key = nil
		var rotation error
		won, rotation = a.Rotate(t.Context(), key.Owner, key.ID, 0)
		require.NoError(t, rotation)
		return err
	}
	_, err := a.Rotate(t.Context(), key.Owner, key.ID, 0)
	require.ErrorIs(t, err, apikey.ErrConflict)
	require.NotErrorIs(t, err, authkit.ErrUnavailable)
	require.Equal(t, 200, a.with(won.Text, "/any"))
}

// AK-14: an error of the store is one of the report, unless the key is gone.
func TestRevokeLeakedFails(t *testing.T) {
	t.Parallel()
	s := &hooked{Store: apikey.NewMemoryStore()}
	a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = s })
	s.remove = func(error) error { return errors.New("no connection") }
	require.ErrorIs(t, a.RevokeLeaked(t.Context(), a.create(t, apikey.Options{}).Text), authkit.ErrUnavailable)
	require.Equal(t, authkit.EventStoreFailure, a.last().Kind)
	s.remove = func(error) error { return apikey.ErrNotFound }
	require.NoError(t, a.RevokeLeaked(t.Context(), a.create(t, apikey.Options{}).Text))
}

// A caller that has gone is no failure of the store.
func TestCallerGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		key := a.create(t, apikey.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := a.Revoke(ctx, key.Owner, key.ID)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, authkit.ErrUnavailable)
		require.ErrorIs(t, a.Run(ctx), context.Canceled)
		require.NotEqual(t, authkit.EventStoreFailure, a.last().Kind)
		require.Equal(t, 200, a.with(key.Text, "/any"))
	})
}
