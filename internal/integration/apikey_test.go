package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/apikey/apikeysql"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/storetest"
)

// A keyApp is a Kit with API keys, and a user.
type keyApp struct {
	*apikey.Keys
	kit   *authkit.Kit
	auth  *apikey.Authenticator
	store apikey.Store
	user  authkit.User
}

func newKeyApp(t testing.TB, users storetest.TransactorStore, store apikey.Store) *keyApp {
	t.Helper()
	auth, err := apikey.NewAuthenticator(apikey.Config{Store: store})
	require.NoError(t, err)
	a := &keyApp{auth: auth, store: store}
	a.kit = newKit(t, users, users, func(c *authkit.Config) {
		c.Authenticators, c.UserData = []authkit.Authenticator{auth}, []authkit.UserData{auth}
		c.Roles = map[string][]string{"user": {"notes:read"}}
	})
	a.Keys, err = apikey.New(a.kit, auth)
	require.NoError(t, err)
	a.user, err = a.kit.CreateUser(t.Context(), ann, password)
	require.NoError(t, err)
	return a
}

// onEachKeys runs a test in memory and on each of the databases.
func onEachKeys(t *testing.T, test func(t *testing.T, a *keyApp)) {
	t.Helper()
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		test(t, newKeyApp(t, authkit.NewMemoryStore(), apikey.NewMemoryStore()))
	})
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		test(t, newKeyApp(t, s, apikeysql.New(s)))
	})
}

// good reports whether a guard admits a key.
func (a *keyApp) good(t testing.TB, text string) bool {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+text)
	_, _, err := a.kit.Identify(r)
	if err != nil {
		require.ErrorIs(t, err, authkit.ErrInvalidToken)
	}
	return err == nil
}

// AK-10: of several rotations of one key at once, exactly the texts that were
// returned last are good.
func TestAPIKeyRotatedAtOnce(t *testing.T) {
	t.Parallel()
	onEachKeys(t, func(t *testing.T, a *keyApp) {
		key, err := a.Create(t.Context(), apikey.OfUser(a.user.ID), apikey.Options{})
		require.NoError(t, err)
		var mu sync.Mutex
		var texts []string
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				next, err := a.Rotate(t.Context(), apikey.OfUser(a.user.ID), key.ID, 0)
				if err != nil {
					if !errors.Is(err, apikey.ErrConflict) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				defer mu.Unlock()
				texts = append(texts, next.Text)
			})
		}
		all.Wait()
		n := 0
		for _, text := range texts {
			if a.good(t, text) {
				n++
			}
		}
		require.Equal(t, 1, n)
		require.False(t, a.good(t, key.Text))
		stored, err := a.store.KeyByID(t.Context(), key.ID)
		require.NoError(t, err)
		require.Equal(t, int64(1+len(texts)), stored.Version, "a caller that lost has changed the key")
	})
}

// RG-15: a reset removes the keys, in its transaction.
func TestAPIKeysOfAResetAccount(t *testing.T) {
	t.Parallel()
	onEachKeys(t, func(t *testing.T, a *keyApp) {
		key, err := a.Create(t.Context(), apikey.OfUser(a.user.ID), apikey.Options{Scopes: []string{"notes:read"}})
		require.NoError(t, err)
		require.True(t, a.good(t, key.Text))
		undo := errors.New("undo")
		err = a.kit.InTx(t.Context(), func(ctx context.Context) error {
			if err := a.kit.ResetUser(ctx, a.user.ID); err != nil {
				return err
			}
			return undo
		})
		require.ErrorIs(t, err, undo)
		require.True(t, a.good(t, key.Text))
		require.NoError(t, a.kit.ResetUser(t.Context(), a.user.ID))
		_, err = a.store.KeyByID(t.Context(), key.ID)
		require.ErrorIs(t, err, apikey.ErrNotFound)
	})
}

// AK-01: a copy of the tables holds no key. FR-04: another tenant has no keys
// of this one.
func TestAPIKeyDump(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		one, other := storeOn(t, pool, d, &sqlstore.Options{Tenant: "a"}), storeOn(t, pool, d, &sqlstore.Options{Tenant: "b"})
		a, b := newKeyApp(t, one, apikeysql.New(one)), newKeyApp(t, other, apikeysql.New(other))
		key, err := a.Create(t.Context(), apikey.OfUser(a.user.ID), apikey.Options{})
		require.NoError(t, err)
		rows, err := pool.QueryContext(t.Context(), "SELECT * FROM authkit_api_keys")
		require.NoError(t, err)
		defer rows.Close()
		columns, err := rows.Columns()
		require.NoError(t, err)
		n := 0
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			require.NoError(t, rows.Scan(into...))
			dump := fmt.Sprintf("%s %q %x", values, values, values)
			require.NotContains(t, dump, key.Text[20:84])
			require.Contains(t, dump, key.ID)
			n++
		}
		require.NoError(t, rows.Err())
		require.Equal(t, 1, n)

		require.True(t, a.good(t, key.Text))
		require.False(t, b.good(t, key.Text))
		require.ErrorIs(t, b.store.DeleteKey(t.Context(), key.Owner, key.ID), apikey.ErrNotFound)
		require.ErrorIs(t, b.store.RotateKey(t.Context(), key.Owner, key.ID, apikey.Rotation{Version: 1}), apikey.ErrNotFound)
		require.NoError(t, b.store.DeleteKeys(t.Context(), key.Owner))
		require.NoError(t, b.store.TouchKey(t.Context(), key.ID, start))
		list, err := b.store.KeysByOwner(t.Context(), key.Owner)
		require.NoError(t, err)
		require.Empty(t, list)
		deleted, err := b.store.DeleteExpiredKeys(t.Context(), key.ExpiresAt.AddDate(1, 0, 0), 10)
		require.NoError(t, err)
		require.Zero(t, deleted)
		stored, err := a.store.KeyByID(t.Context(), key.ID)
		require.NoError(t, err)
		require.Equal(t, apikey.Hash(key.Text), stored.Hash)
		require.True(t, stored.LastUsedAt.IsZero())
	})
}
