package passkey_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
)

func TestRename(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t)
	token, err := a.login(key)
	require.NoError(t, err)
	ctx := a.as(token)
	list, err := a.List(ctx, u.ID)
	require.NoError(t, err)
	id := list[0].ID
	require.NoError(t, a.Rename(ctx, u.ID, id, "  Büro 🔑 "))
	list, err = a.List(ctx, u.ID)
	require.NoError(t, err)
	require.Equal(t, "Büro 🔑", list[0].Name)
	for _, name := range []string{"", "  ", "a\nb", "a\x00b", "\xff", strings.Repeat("é", 65), "\u202eevil"} {
		_, invalid := errors.AsType[*authkit.ValidationError](a.Rename(ctx, u.ID, id, name))
		require.True(t, invalid, "%q", name)
	}
	require.NoError(t, a.Rename(ctx, u.ID, id, strings.Repeat("é", 64)))
	require.ErrorIs(t, a.Rename(ctx, u.ID, "another", "x"), passkey.ErrNotFound)
	bob := a.add("bob@example.com")
	require.ErrorIs(t, a.Rename(a.first(bob.Email), u.ID, id, "x"), authkit.ErrForbidden)
	require.ErrorIs(t, a.Rename(t.Context(), bob.ID, id, "x"), passkey.ErrNotFound, "MF-12")
}

// MF-07: a deletion needs a login with the factor, notifies, and ends the other
// sessions.
func TestDelete(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t)
	token, err := a.login(key)
	require.NoError(t, err)
	ctx := a.as(token)
	other, err := a.login(key)
	require.NoError(t, err)
	second := newAuthenticator(t)
	k := a.register(ctx, second)
	_, err = a.kit.Refresh(t.Context(), other.RefreshToken)
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)

	other, err = a.login(key)
	require.NoError(t, err)
	bob := a.add("bob@example.com")
	_, err = a.Delete(a.first(bob.Email), u.ID, k.ID)
	require.ErrorIs(t, err, authkit.ErrForbidden)
	_, err = a.Delete(authkit.WithSystem(t.Context(), "test"), bob.ID, k.ID)
	require.ErrorIs(t, err, passkey.ErrNotFound, "MF-12")
	_, err = a.Delete(ctx, u.ID, "another")
	require.ErrorIs(t, err, passkey.ErrNotFound)
	_, err = a.kit.Refresh(t.Context(), other.RefreshToken)
	require.NoError(t, err, "a deletion that failed has ended no session")
	a.kinds()
	remain, err := a.Delete(ctx, u.ID, k.ID)
	require.NoError(t, err)
	require.Contains(t, a.kinds(), authkit.EventFactorRemoved)
	_, err = a.login(second)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	accepted, err := a.Accepted(ctx, u.ID)
	require.NoError(t, err)
	require.Equal(t, []string{b64(key.CredentialID)}, accepted.CredentialIDs)
	require.Equal(t, accepted, remain)
	_, err = a.Accepted(ctx, bob.ID)
	require.ErrorIs(t, err, passkey.ErrNotFound)
}

// MF-11: users without a password keep their last passkey. Administrators can
// remove it.
func TestDeleteLast(t *testing.T) {
	t.Parallel()
	a := newApp(t, options{kit: func(c *authkit.Config) { c.AdminRole = "admin" }})
	u, err := a.kit.CreateUserWithoutPassword(t.Context(), authkit.User{Email: "ann@example.com"})
	require.NoError(t, err)
	key, second := newAuthenticator(t), newAuthenticator(t)
	o, err := a.BeginRegistration(t.Context(), u.ID)
	require.NoError(t, err)
	r, err := a.FinishRegistration(t.Context(), u.ID, key.Create(o))
	require.NoError(t, err)
	token, err := a.login(key)
	require.NoError(t, err)
	ctx := a.as(token)
	k := a.register(ctx, second)
	_, err = a.Delete(ctx, u.ID, k.ID)
	require.NoError(t, err)
	_, err = a.Delete(ctx, u.ID, r.Passkey.ID)
	require.ErrorIs(t, err, authkit.ErrLastFactor)
	require.ErrorIs(t, a.kit.RemoveFactor(ctx, u.ID, passkey.Method), authkit.ErrLastFactor, "all of them")
	_, err = a.login(key)
	require.NoError(t, err, "nothing was deleted")
	a.add("root@example.com", "admin")
	_, err = a.Delete(a.first("root@example.com"), u.ID, r.Passkey.ID)
	require.NoError(t, err)
	_, err = a.login(key)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
}

func TestUserData(t *testing.T) {
	t.Parallel()
	a, u, key := enrolled(t)
	data, err := a.kit.ExportUser(t.Context(), u.ID)
	require.NoError(t, err)
	text, err := json.Marshal(data["passkeys"])
	require.NoError(t, err)
	require.Contains(t, string(text), `"name":"Mac"`)
	require.NotContains(t, string(text), b64(key.UserHandle))
	require.NoError(t, a.kit.DeleteUser(t.Context(), u.ID))
	list, err := a.List(t.Context(), u.ID)
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = a.Accepted(t.Context(), u.ID)
	require.ErrorIs(t, err, passkey.ErrNotFound)
	none, err := a.factor.Export(t.Context(), u.ID)
	require.NoError(t, err)
	require.True(t, none == nil, "not an empty list")
}
