package integration_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

// An operation is what a request makes of the store.
type operation struct {
	name string

	// most is how many round trips it may take, by dialect.
	most map[sqlstore.Dialect]int64

	// prepare makes what the operation needs, for the n-th time.
	prepare func(ctx context.Context, s *sqlstore.DB, n int) error
	do      func(ctx context.Context, s *sqlstore.DB, n int) error
}

func bounds(postgres, mysql, sqlite int64) map[sqlstore.Dialect]int64 {
	return map[sqlstore.Dialect]int64{sqlstore.Postgres: postgres, sqlstore.MySQL: mysql, sqlstore.SQLite: sqlite}
}

func beginSessions(count int) func(context.Context, *sqlstore.DB, int) error {
	return func(ctx context.Context, s *sqlstore.DB, n int) error {
		for i := range count {
			if err := s.CreateSession(ctx, sessionNamed(fmt.Sprint("s", n, "-", i), "id-ann"), 100); err != nil {
				return err
			}
		}
		return nil
	}
}

func nothing(context.Context, *sqlstore.DB, int) error { return nil }

func sessionUser(ctx context.Context, s *sqlstore.DB, n int) error {
	_, _, err := s.SessionUser(ctx, fmt.Sprint("s", n, "-0"))
	return err
}

func refresh(ctx context.Context, s *sqlstore.DB, n int) error {
	x, _, err := s.SessionUser(ctx, fmt.Sprint("s", n, "-0"))
	if err != nil {
		return err
	}
	_, rotated, err := s.RotateSession(ctx, x.ID, authkit.Rotation{Old: x.TokenHash, New: [32]byte{2}, Successor: []byte("next"), At: start, ExpiresAt: start.Add(time.Hour)})
	if err == nil && !rotated {
		err = fmt.Errorf("%s was not rotated", x.ID)
	}
	return err
}

func login(ctx context.Context, s *sqlstore.DB, n int) error {
	u, err := s.UserByEmail(ctx, "ann@example.com")
	if err != nil {
		return err
	}
	if err := s.CreateSession(ctx, sessionNamed(fmt.Sprint("login", n), u.ID), 50); err != nil {
		return err
	}
	_, err = s.UserByID(ctx, u.ID)
	return err
}

func logout(ctx context.Context, s *sqlstore.DB, n int) error {
	revoked, err := s.RevokeSession(ctx, "id-ann", fmt.Sprint("s", n, "-0"), start)
	if err == nil && !revoked {
		err = fmt.Errorf("no session %d", n)
	}
	return err
}

func revokeAll(ctx context.Context, s *sqlstore.DB, _ int) error {
	return s.RevokeSessions(ctx, "id-ann", "", start)
}

func changePassword(ctx context.Context, s *sqlstore.DB, n int) error {
	u, err := s.UserByID(ctx, "id-ann")
	if err != nil {
		return err
	}
	return s.InTx(ctx, func(ctx context.Context) error {
		hash := authkit.PasswordHash(fmt.Sprint("hash ", n))
		_, err := s.UpdateUser(ctx, u.ID, authkit.UserUpdate{PasswordHash: &hash, TokensValidAfter: &start, IfVersion: u.Version}, start)
		if err != nil {
			return err
		}
		return s.RevokeSessions(ctx, u.ID, "s"+fmt.Sprint(n)+"-0", start)
	})
}

var operations = []operation{
	{"guarded request", bounds(1, 1, 1), beginSessions(1), sessionUser},
	{"refresh", bounds(2, 3, 2), beginSessions(1), refresh},
	{"login", bounds(3, 7, 6), nothing, login},
	{"logout", bounds(1, 4, 4), beginSessions(1), logout},
	{"revoke one session of a user", bounds(1, 7, 5), beginSessions(1), revokeAll},
	{"revoke fifty sessions of a user", bounds(1, 7, 5), beginSessions(50), revokeAll},
	{"change the password", bounds(5, 10, 6), beginSessions(3), changePassword},
}

// TestRoundTrips counts how often each operation waits for its database, once all statements
// are prepared.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		dsn := d.create(t)
		plain := pool(t, d.driver, dsn)
		require.NoError(t, storeOn(t, plain, d, nil).CreateUser(t.Context(), userNamed("ann")))
		isolated := int64(1)
		if d.dialect == sqlstore.MySQL {
			isolated = 2
		}
		counted, trips := count(plain, dsn, isolated)
		defer counted.Close()
		s, err := sqlstore.Open(counted, d.dialect, nil)
		require.NoError(t, err)
		for at, o := range operations {
			require.NotZero(t, o.most[d.dialect], o.name)
			for round := range 3 {
				n := at*10 + round
				require.NoError(t, o.prepare(t.Context(), s, n), o.name)
				before := trips.n.Load()
				require.NoError(t, o.do(t.Context(), s, n), o.name)
				took := trips.n.Load() - before
				if round == 2 { // all statements are prepared by now
					t.Logf("%s: %d round trips, at most %d", o.name, took, o.most[d.dialect])
					require.LessOrEqual(t, took, o.most[d.dialect], o.name)
					require.Positive(t, took)
				}
			}
			require.NoError(t, s.RevokeSessions(t.Context(), "id-ann", "", start))
		}
	})
}
