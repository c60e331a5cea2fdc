package integration_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/doctor"
	"github.com/authkit-go/authkit/sqlstore"
)

// TestDoctor: a store on a database knows what of its schema is missing, and what time it is there.
func TestDoctor(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db, _ := d.open(t)
		s, err := sqlstore.Open(db, d.dialect, nil)
		require.NoError(t, err)

		found := s.Doctor(t.Context())
		require.Len(t, found, 1)
		require.Equal(t, "pending_migrations", found[0].Code)
		require.Equal(t, slog.LevelError, found[0].Severity)
		require.Contains(t, found[0].Text, "0001_users.sql")

		require.NoError(t, s.Migrate(t.Context()))
		require.Empty(t, s.Doctor(t.Context()), "the clock is the machine's")

		kit, err := authkit.New(authkit.Config{
			Secret:    []byte("f3b7c2c5a4d58e0196e2f7718e3a0b4cd2951c7f08e6a3b4975dd1c0e8f2a661"),
			Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
			Users:     s, Sessions: authkit.SessionConfig{Store: s},
		})
		require.NoError(t, err)
		mustExec(t, db, "DELETE FROM authkit_migrations WHERE name = '0004_tickets.sql'")
		count := 0
		for _, f := range doctor.Check(t.Context(), kit) {
			if f.Code == "pending_migrations" {
				count++
			}
			require.NotEqual(t, "unavailable", f.Code)
		}
		require.Equal(t, 1, count, "a store that is both is asked once")

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		found = s.Doctor(ctx)
		require.Len(t, found, 1)
		require.Equal(t, "unavailable", found[0].Code)
	})
}

// TestDoctorClock: MariaDB can be told what time to think it is, for a connection.
func TestDoctorClock(t *testing.T) {
	t.Parallel()
	s, err := sqlstore.Open(pool(t, "mysql", createMariaDB(t)+"&timestamp=1700000000"), sqlstore.MySQL, nil)
	require.NoError(t, err)
	require.NoError(t, s.Migrate(t.Context()))
	found := s.Doctor(t.Context())
	require.Len(t, found, 1)
	require.Equal(t, "clock_skew", found[0].Code)
	require.Contains(t, found[0].Text, "is -")
}
