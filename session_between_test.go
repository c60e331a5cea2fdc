package authkit_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/refresh"
)

// between returns a Kit on a store that runs a function before the first call of a method that comes
// once it is armed.
func between(t *testing.T, events *recorder, change ...func(*authkit.Config)) (kit *authkit.Kit, store *faultyStore, user authkit.User, arm func(method string, f func(kit *authkit.Kit))) {
	t.Helper()
	store = &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit = newKit(t, append([]func(*authkit.Config){store.listen, events.listen}, change...)...)
	user = addUser(t, kit, email, password)
	arm = func(method string, f func(*authkit.Kit)) {
		store.before = func(name string, _ int) error {
			if name == method {
				store.before = nil
				f(kit)
			}
			return nil
		}
	}
	return kit, store, user, arm
}

// What happens to an account between the look at its password and the tokens counts.
func TestLoginWhileTheAccountChanges(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(ctx context.Context, store *faultyStore, id string) error
		want   error
		reason authkit.Reason
	}{
		"deleted": {func(ctx context.Context, store *faultyStore, id string) error { return store.DeleteUser(ctx, id, "") },
			authkit.ErrInvalidCredentials, authkit.ReasonUnknownUser},
		"disabled": {func(ctx context.Context, store *faultyStore, id string) error {
			_, err := store.MemoryStore.UpdateUser(ctx, id, authkit.UserUpdate{Disabled: new(true)}, time.Now())
			return err
		}, authkit.ErrUserDisabled, authkit.ReasonDisabled},
	} {
		var events recorder
		kit, store, user, arm := between(t, &events)
		arm("UserByID", func(*authkit.Kit) { require.NoError(t, tc.change(t.Context(), store, user.ID)) })
		token, err := kit.Login(t.Context(), email, password)
		require.ErrorIs(t, err, tc.want, name)
		require.Zero(t, token)
		require.Equal(t, tc.reason, events.last().Reason)
	}
	var events recorder
	kit, store, user, _ := between(t, &events)
	proof := authkit.Proof{UserID: user.ID, Version: user.Version, Methods: []string{authkit.MethodPassword}}
	reads := 0
	store.before = func(name string, _ int) error { // the second read comes before the session
		if name != "UserByID" {
			return nil
		}
		if reads++; reads < 2 {
			return nil
		}
		store.before = nil
		_, err := store.MemoryStore.UpdateUser(t.Context(), user.ID, authkit.UserUpdate{Disabled: new(true)}, time.Now())
		return err
	}
	_, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, func(context.Context) (authkit.Proof, error) { return proof, nil })
	require.ErrorIs(t, err, authkit.ErrUserDisabled, "a login that is not tried again has the same reason")
	_, err = kit.EnableUser(t.Context(), user.ID)
	require.NoError(t, err)
	store.before = func(name string, _ int) error {
		if name == "UserByID" {
			return errCrash
		}
		return nil
	}
	_, err = kit.Login(t.Context(), email, password)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
}

// A logout that comes between the look at the session and its rotation wins.
func TestRefreshLosesToALogout(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, _, user, arm := between(t, &events)
	token := begin(t, kit)
	arm("RotateSession", func(kit *authkit.Kit) { require.NoError(t, kit.Logout(t.Context(), user.ID, sessionID(t, token))) })
	requireRefused(t, kit, &events, token, authkit.EventRefreshFailure, authkit.ReasonRevoked)
	require.Equal(t, http.StatusUnauthorized, access(t, kit, token))
}

// A refresh that loses to others by more than one step is reuse, also if that is found out late.
func TestRefreshLosesByTwoSteps(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, _, _, arm := between(t, &events)
	token := begin(t, kit)
	var newest authkit.Token
	arm("RotateSession", func(kit *authkit.Kit) { newest = renew(t, kit, renew(t, kit, token)) })
	requireRefused(t, kit, &events, token, authkit.EventTokenReuse, authkit.ReasonReused)
	require.Equal(t, http.StatusUnauthorized, access(t, kit, newest))
}

// A hook that fails comes before the rotation: the token stays good.
func TestRefreshHookFails(t *testing.T) {
	t.Parallel()
	var events recorder
	var fail error
	kit, _, _, _ := between(t, &events, func(c *authkit.Config) {
		c.ExtraClaims = func(context.Context, authkit.User) (any, error) { return nil, fail }
	})
	token := begin(t, kit)
	fail = errors.New("broken")
	_, err := kit.Refresh(t.Context(), token.RefreshToken)
	require.ErrorIs(t, err, fail)
	require.Equal(t, authkit.ReasonInternal, events.last().Reason)
	fail = nil
	renew(t, kit, token)
	_, err = kit.Login(t.Context(), email, password)
	require.NoError(t, err)
}

// A successor that the store has damaged is a fault of the store's, and not the client's theft.
func TestDamagedSuccessor(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, store, _, _ := between(t, &events)
	for _, successor := range []func(refresh.Token) []byte{
		func(refresh.Token) []byte { return []byte("damaged") },
		func(presented refresh.Token) []byte { return presented.Seal(presented.Next()) }, // one that is not current
	} {
		token := begin(t, kit)
		stored, err := store.SessionByID(t.Context(), sessionID(t, token))
		require.NoError(t, err)
		next := renew(t, kit, token)
		current, err := store.SessionByID(t.Context(), stored.ID)
		require.NoError(t, err)
		presented, ok := refresh.Parse(next.RefreshToken)
		require.True(t, ok)
		_, rotated, err := store.RotateSession(t.Context(), stored.ID, authkit.Rotation{
			Old: current.TokenHash, New: stored.TokenHash, At: time.Now(), ExpiresAt: current.ExpiresAt, Successor: successor(presented),
		})
		require.NoError(t, err)
		require.True(t, rotated)
		_, err = kit.Refresh(t.Context(), next.RefreshToken)
		require.Error(t, err)
		require.NotErrorIs(t, err, authkit.ErrInvalidRefreshToken)
		require.Equal(t, http.StatusInternalServerError, authkit.ProblemFor(err).Status)
		require.Equal(t, http.StatusOK, access(t, kit, next))
	}
}

func TestSessionListsFail(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, store, user, _ := between(t, &events)
	mux := sessionMux(kit)
	token := begin(t, kit)
	for _, method := range []string{"SessionsByUser", "RevokeSession", "RevokeSessions"} {
		store.before = func(name string, _ int) error {
			if name == method {
				return errCrash
			}
			return nil
		}
		switch method {
		case "SessionsByUser":
			require.Equal(t, 503, do(mux, "GET", "/sessions", bearer(token)...).Code)
		case "RevokeSession":
			require.Equal(t, 503, do(mux, "POST", "/logout", bearer(token)...).Code)
			require.Equal(t, 503, do(mux, "DELETE", "/sessions/"+sessionID(t, token), bearer(token)...).Code)
			require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
		case "RevokeSessions":
			require.Equal(t, 503, do(mux, "DELETE", "/sessions", bearer(token)...).Code)
			require.ErrorIs(t, kit.LogoutEverywhere(t.Context(), user.ID), authkit.ErrUnavailable)
		}
	}
	store.before = func(name string, _ int) error {
		if name == "UserByID" {
			return errCrash
		}
		return nil
	}
	require.ErrorIs(t, kit.SetPassword(t.Context(), user.ID, "another long password"), authkit.ErrUnavailable)
}

// RF-04: a clock that was set back, or an instance whose clock is far behind, does not make the grace
// longer by as much: it covers clocks that differ by less than itself.
func TestGraceOfAClockThatIsBehind(t *testing.T) {
	t.Parallel()
	for ahead, same := range map[time.Duration]bool{5 * time.Second: true, time.Hour: false} {
		kit, store, _ := newSessionKit(t)
		token := begin(t, kit)
		parsed, _ := refresh.Parse(token.RefreshToken)
		next := parsed.Next()
		at := time.Now().Add(ahead)
		_, rotated, err := store.RotateSession(t.Context(), parsed.SessionID(), authkit.Rotation{
			Old: parsed.Hash(), New: next.Hash(), Successor: parsed.Seal(next), At: at, ExpiresAt: at.Add(time.Hour),
		})
		require.NoError(t, err)
		require.True(t, rotated)
		again, err := kit.Refresh(t.Context(), token.RefreshToken)
		if same {
			require.NoError(t, err)
			require.Equal(t, next.Text(), again.RefreshToken)
		} else {
			require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
		}
	}
}
