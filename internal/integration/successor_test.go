package integration_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// aged is a SessionStore in which every rotation was an hour ago.
type aged struct{ authkit.SessionStore }

func (a aged) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	s, err := a.SessionStore.SessionByID(ctx, id)
	s.RotatedAt = s.RotatedAt.Add(-time.Hour)
	return s, err
}

// RF-04: every store keeps the successor until it is used.
func TestKeepSuccessorInStores(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		kit := func(keep bool) *authkit.Kit {
			kit, err := authkit.New(authkit.Config{
				Secret: []byte("f3b7c2c5a4d58e0196e2f7718e3a0b4cd2951c7f08e6a3b4975dd1c0e8f2a661"),
				Users:  s, Sessions: authkit.SessionConfig{Store: aged{s}, KeepSuccessor: keep},
				Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
				Logger:    slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			return kit
		}
		keeping := kit(true)
		_, err := keeping.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, "correct horse")
		require.NoError(t, err)
		refresh := func(kit *authkit.Kit, token authkit.Token) (authkit.Token, error) {
			return kit.Refresh(t.Context(), token.RefreshToken)
		}
		begin := func() (first, second authkit.Token) {
			first, err := keeping.Login(t.Context(), "ann@example.com", "correct horse")
			require.NoError(t, err)
			second, err = refresh(keeping, first)
			require.NoError(t, err)
			return first, second
		}

		first, second := begin()
		again, err := refresh(keeping, first)
		require.NoError(t, err)
		require.Equal(t, second.RefreshToken, again.RefreshToken)
		third, err := refresh(keeping, second)
		require.NoError(t, err)
		_, err = refresh(keeping, first)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken, "the successor was used")
		_, err = refresh(keeping, third)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken, "the session has ended")

		first, _ = begin()
		_, err = refresh(kit(false), first)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken, "off by default")
	})
}
