package authkit_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// MF-11: RemoveFactor removes all credentials of a factor. A user who must have
// a factor needs another one then, however many credentials there are.
func TestRemovalOfAllCredentialsLeavesAFactor(t *testing.T) {
	t.Parallel()
	otp, hwk := newSetupFactor("otp", "1"), newSetupFactor("hwk", "2")
	kit, _, user := newSessionKit(t, withFactors(otp, hwk), requiring)
	ctx := mfa(t, kit, user)
	hwk.users[user.ID] = 2
	require.ErrorIs(t, kit.RemoveFactor(ctx, user.ID, "hwk"), authkit.ErrLastFactor)
	require.Equal(t, 2, hwk.users[user.ID])
	otp.users[user.ID] = 1
	require.NoError(t, kit.RemoveFactor(ctx, user.ID, "hwk"))
	require.Equal(t, 0, hwk.users[user.ID])
	require.ErrorIs(t, kit.RemoveFactor(ctx, user.ID, "otp"), authkit.ErrLastFactor)
	require.NoError(t, kit.RemoveFactor(authkit.WithSystem(t.Context(), "test"), user.ID, "otp"))
}

// RG-15: a factor that is a UserData goes with the credentials of an account,
// also if the configuration does not list it there. ResetUser would otherwise
// leave a factor that a stranger has set up.
func TestResetUserRemovesFactors(t *testing.T) {
	t.Parallel()
	sms := &wipedFactor{fakeFactor: fakeFactor{method: "sms"}}
	kit, _, user := newSessionKit(t, withFactors(sms))
	sms.users = []string{user.ID}
	require.NoError(t, kit.ResetUser(t.Context(), user.ID))
	require.Empty(t, sms.users)
	kit, _, user = newSessionKit(t, withFactors(sms), func(c *authkit.Config) { c.UserData = []authkit.UserData{sms} })
	sms.users = []string{user.ID}
	require.NoError(t, kit.DeleteUser(t.Context(), user.ID))
	require.Empty(t, sms.users)
}

// A watchedFactor calls a function once, after Enrolled has read the state.
type watchedFactor struct {
	*setupFactor
	then func()
}

func (f *watchedFactor) Enrolled(ctx context.Context, userID string) (bool, error) {
	ok, err := f.setupFactor.Enrolled(ctx, userID)
	if then := f.then; then != nil {
		f.then = nil
		then()
	}
	return ok, err
}

// MF-07: a user sets up the first factor while a session with the password alone
// adds another. The check that there is no factor and the change are one.
func TestFactorsSetUpAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		otp, hwk := &watchedFactor{setupFactor: newSetupFactor("otp", "1")}, newSetupFactor("hwk", "2")
		kit, _, user := newSessionKit(t, withFactors(otp, hwk))
		thief, mine := as(t, kit, begin(t, kit)), as(t, kit, begin(t, kit))
		otp.then = func() {
			_, err := kit.ConfirmFactor(mine, user.ID, "otp", "1")
			require.NoError(t, err)
		}
		_, err := kit.ConfirmFactor(thief, user.ID, "hwk", "2")
		require.ErrorIs(t, err, authkit.ErrConflict)
		require.Equal(t, 1, otp.users[user.ID])
		require.Equal(t, 0, hwk.users[user.ID])
	})
}

// MF-06: the policy holds for access tokens too. A user who is promoted has the
// new role in an old token, and must log in with a factor first.
func TestFactorPolicyOfAccessTokens(t *testing.T) {
	t.Parallel()
	kit, _, user := newSetupKit(t, func(c *authkit.Config) { c.RequireFactors = authkit.FactorPolicy{Roles: []string{"admin"}} })
	before, strong := begin(t, kit), mfaToken(t, kit, user)
	as(t, kit, before)
	_, err := kit.SetRoles(t.Context(), user.ID, "admin")
	require.NoError(t, err)
	_, _, err = kit.IdentifyToken(t.Context(), before.AccessToken)
	require.ErrorIs(t, err, authkit.ErrInvalidToken)
	as(t, kit, strong)
}
