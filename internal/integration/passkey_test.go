package integration_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeysql"
	"github.com/authkit-go/authkit/passkey/passkeytest"
	"github.com/authkit-go/authkit/sqlstore"
)

// withPasskeys adds the tables of passkeys.
func withPasskeys(t testing.TB, s *sqlstore.DB) *sqlstore.DB {
	t.Helper()
	require.NoError(t, s.Migrate(t.Context(), passkeysql.Migrations()))
	return s
}

func TestPasskeyStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		passkeytest.TestStore(t, func(t *testing.T) passkey.Store { return passkeysql.New(storeWith(t, d, passkeysql.Migrations())) })
	})
}

// The same suite in the transactions of a program, of which each call is one.
func TestPasskeyStoreInTx(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		s := withPasskeys(t, newStore(t, d))
		keys := passkeysql.New(s)
		handle := bytes.Repeat([]byte{1}, 64)
		p := passkey.Passkey{ID: "a", UserID: "ann", UserHandle: handle}
		failed := errors.New("rolled back")
		err := s.InTx(t.Context(), func(ctx context.Context) error {
			_, err := keys.UserHandle(ctx, "ann", handle)
			require.NoError(t, err)
			require.NoError(t, keys.AddPasskey(ctx, p, 1))
			// Refusals change nothing, and leave the transaction usable.
			require.ErrorIs(t, keys.AddPasskey(ctx, p, 1), passkey.ErrTooMany)
			require.ErrorIs(t, keys.AddPasskey(ctx, p, 2), passkey.ErrExists)
			require.ErrorIs(t, keys.UsePasskey(ctx, "a", 7, passkey.Use{}), passkey.ErrConflict)
			require.ErrorIs(t, keys.DeletePasskey(ctx, "bob", "a"), passkey.ErrNotFound)
			_, err = keys.PasskeyByID(ctx, "a")
			require.NoError(t, err)
			return failed
		})
		require.ErrorIs(t, err, failed)
		_, err = keys.PasskeyByID(t.Context(), "a")
		require.ErrorIs(t, err, passkey.ErrNotFound)
		_, err = keys.UserHandle(t.Context(), "ann", nil)
		require.ErrorIs(t, err, passkey.ErrNotFound)
	})
}

// FR-04: tenants have passkeys of their own.
func TestPasskeyTenants(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		one := passkeysql.New(withPasskeys(t, storeOn(t, pool, d, &sqlstore.Options{Tenant: "one"})))
		two := passkeysql.New(storeOn(t, pool, d, &sqlstore.Options{Tenant: "two"}))
		ctx := t.Context()
		for i, s := range []passkey.Store{one, two} {
			handle := bytes.Repeat([]byte{byte(i)}, 64)
			got, err := s.UserHandle(ctx, "ann", handle)
			require.NoError(t, err)
			require.Equal(t, handle, got)
			require.NoError(t, s.AddPasskey(ctx, passkey.Passkey{ID: "a", UserID: "ann", Name: "x", UserHandle: handle, Transports: []string{}}, 1))
		}
		want, err := two.PasskeyByID(ctx, "a")
		require.NoError(t, err)
		require.NoError(t, one.UsePasskey(ctx, "a", 1, passkey.Use{SignCount: 9}))
		require.NoError(t, one.RenamePasskey(ctx, "ann", "a", "y"))
		require.NoError(t, one.DeletePasskey(ctx, "ann", "a"))
		require.NoError(t, one.DeletePasskeys(ctx, "ann"))
		list, err := two.PasskeysByUser(ctx, "ann")
		require.NoError(t, err)
		require.Equal(t, []passkey.Passkey{want}, list)
		handle, err := two.UserHandle(ctx, "ann", nil)
		require.NoError(t, err)
		require.Equal(t, want.UserHandle, handle)
	})
}

// A factor that changes is one transaction with the account, and a deleted
// account has no passkeys.
func TestPasskeyChanges(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		s := withPasskeys(t, newStore(t, d))
		keys := passkeysql.New(s)
		factor, err := passkey.NewFactor(passkey.Config{RPID: "example.com", Origins: []string{"https://example.com"}, Store: keys})
		require.NoError(t, err)
		kit, err := authkit.New(authkit.Config{
			Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: s, Sessions: authkit.SessionConfig{Store: s}, Logger: slog.New(slog.DiscardHandler),
			SecondFactors: []authkit.SecondFactor{factor}, UserData: []authkit.UserData{factor},
		})
		require.NoError(t, err)
		passkeys, err := passkey.New(kit, factor)
		require.NoError(t, err)
		u, err := kit.CreateUserWithoutPassword(t.Context(), authkit.User{Email: "ann@example.com"})
		require.NoError(t, err)
		_, err = passkeys.BeginRegistration(t.Context(), u.ID)
		require.NoError(t, err)
		handle, err := keys.UserHandle(t.Context(), u.ID, nil)
		require.NoError(t, err)
		p := passkey.Passkey{ID: "a", UserID: u.ID, UserHandle: handle}
		e := authkit.Event{Kind: authkit.EventFactorAdded, UserID: u.ID, Method: passkey.Method}
		failed := errors.New("the change failed")
		for _, result := range []error{failed, nil} {
			err := kit.ChangeFactor(t.Context(), e, func(ctx context.Context) error {
				require.NoError(t, keys.AddPasskey(ctx, p, 1))
				return result
			})
			require.ErrorIs(t, err, result)
			n, err := factor.Count(t.Context(), u.ID)
			require.NoError(t, err)
			require.Equal(t, result == nil, n == 1)
		}
		_, err = passkeys.Delete(t.Context(), u.ID, "b")
		require.ErrorIs(t, err, passkey.ErrNotFound)
		require.NoError(t, kit.DeleteUser(t.Context(), u.ID))
		_, err = keys.PasskeyByID(t.Context(), "a")
		require.ErrorIs(t, err, passkey.ErrNotFound)
		_, err = keys.UserHandle(t.Context(), u.ID, nil)
		require.ErrorIs(t, err, passkey.ErrNotFound)
	})
}

// MF-09: a response is used once by one of 32 callers, as a registration and as
// a login.
func TestPasskeyResponsesAtOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		s := withPasskeys(t, newStore(t, d))
		ctx := t.Context()
		factor, err := passkey.NewFactor(passkey.Config{RPID: "example.com", Origins: []string{"https://example.com"}, Store: passkeysql.New(s)})
		require.NoError(t, err)
		kit, err := authkit.New(authkit.Config{
			Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: s, Sessions: authkit.SessionConfig{Store: s, ReuseGrace: time.Minute}, Logger: slog.New(slog.DiscardHandler),
			UserData: []authkit.UserData{factor}, StoreTimeout: 50 * time.Second,
		})
		require.NoError(t, err)
		passkeys, err := passkey.New(kit, factor)
		require.NoError(t, err)
		u, err := kit.CreateUserWithoutPassword(ctx, authkit.User{Email: "ann@example.com"})
		require.NoError(t, err)
		key := passkeytest.NewAuthenticator(t, "example.com", "https://example.com")
		o, err := passkeys.BeginRegistration(ctx, u.ID)
		require.NoError(t, err)
		response := key.Create(o)
		require.Equal(t, 1, atOnce(t, func(int) error {
			_, err := passkeys.FinishRegistration(ctx, u.ID, response)
			if errors.Is(err, authkit.ErrInvalidCode) {
				err = authkit.ErrInvalidTicket // as atOnce knows it
			}
			return err
		}), "registrations")
		o, err = passkeys.BeginLogin(ctx)
		require.NoError(t, err)
		response = key.Get(o)
		require.Equal(t, 1, atOnce(t, func(int) error {
			_, err := passkeys.Login(ctx, response)
			return err
		}), "logins")
		list, err := passkeys.List(ctx, u.ID)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.EqualValues(t, 2, list[0].Version, "one use")
	})
}
