package integration_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/sqlstore"
)

// teams are the migrations of a feature with a table of its own, in a file that is called
// like one of the store.
func teams() sqlstore.Migrations {
	file := &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE authkit_teams (\n\ttenant varchar(64) NOT NULL,\n\tname varchar(64) NOT NULL,\n" +
		"\tmembers integer NOT NULL,\n\tPRIMARY KEY (tenant, name)\n);\n")}
	return sqlstore.Migrations{Package: "teams", Files: fstest.MapFS{
		"migrations/sqlite/0001_users.sql": file, "migrations/postgres/0001_users.sql": file, "migrations/mysql/0001_users.sql": file,
	}}
}

func addTeam(ctx context.Context, s *sqlstore.DB, name string, members int) error {
	_, err := s.Exec(ctx, `INSERT INTO {teams} (tenant, name, members) VALUES (?, ?, ?)`, s.Tenant(), name, members)
	return err
}

func teamNames(ctx context.Context, s *sqlstore.DB) (names []string, err error) {
	err = s.Query(ctx, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		names = append(names, name)
		return err
	}, `SELECT name FROM {teams} WHERE tenant = ? ORDER BY name`, s.Tenant())
	return names, err
}

// TestFeatureTables runs the statements of a feature on a DB, with its prefix and tenant.
func TestFeatureTables(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		s, err := sqlstore.Open(pool, d.dialect, &sqlstore.Options{TablePrefix: "my_", Tenant: "t"})
		require.NoError(t, err)
		ctx := t.Context()
		pending, err := s.Pending(ctx, teams(), auditsql.Migrations())
		require.NoError(t, err)
		require.Equal(t, []string{"0001_users.sql", "0002_sessions.sql", "0003_proofs.sql", "0004_tickets.sql", "teams/0001_users.sql", "audit/0001_audit.sql"}, pending)
		require.NoError(t, s.Migrate(ctx))
		pending, err = s.Pending(ctx, teams())
		require.NoError(t, err)
		require.Equal(t, []string{"teams/0001_users.sql"}, pending)
		require.NoError(t, s.Migrate(ctx, teams()))
		require.NoError(t, s.Migrate(ctx, teams()), "which does nothing")

		n, err := s.Exec(ctx, `INSERT INTO {teams} (tenant, name, members) VALUES (?, ?, ?), (?, ?, ?)`, "t", "a", 1, "t", "b", 2)
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
		require.NoError(t, s.InTx(ctx, func(ctx context.Context) error { return addTeam(ctx, s, "c", 3) }))
		require.ErrorIs(t, s.InTx(ctx, func(ctx context.Context) error {
			if err := addTeam(ctx, s, "d", 4); err != nil {
				return err
			}
			names, err := teamNames(ctx, s)
			require.NoError(t, err)
			require.Equal(t, []string{"a", "b", "c", "d"}, names)
			return context.DeadlineExceeded
		}), context.DeadlineExceeded)
		names, err := teamNames(ctx, s)
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b", "c"}, names)

		err = addTeam(ctx, s, "a", 1)
		require.ErrorContains(t, err, "sqlstore: ")
		stop := errors.New("stop")
		calls := 0
		err = s.Query(ctx, func(func(...any) error) error { calls++; return stop }, `SELECT name FROM {teams}`)
		require.Equal(t, stop, err, "unchanged")
		require.Equal(t, 1, calls)
		require.ErrorContains(t, s.Query(ctx, func(func(...any) error) error { return nil }, `SELECT name FROM {nothing}`), "sqlstore: ")
	})
}

// TestJoin: a transaction of one DB is that of all on the same pool, and of no other pool.
func TestJoin(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, again := d.open(t)
		a, b := storeOn(t, pool, d, &sqlstore.Options{Tenant: "a"}), storeOn(t, pool, d, &sqlstore.Options{Tenant: "b"})
		elsewhere, _ := d.open(t)
		other := storeOn(t, elsewhere, d, nil)
		ctx := t.Context()
		failed := errors.New("failed")
		require.Equal(t, failed, a.InTx(ctx, func(ctx context.Context) error {
			require.NoError(t, a.CreateUser(ctx, userNamed("ann")))
			require.NoError(t, b.CreateUser(ctx, userNamed("ann")))
			require.NoError(t, other.CreateUser(ctx, userNamed("ann")))
			_, err := b.UserByID(ctx, "id-ann")
			require.NoError(t, err)
			return failed
		}))
		for _, s := range []*sqlstore.DB{a, b} {
			_, err := s.UserByID(ctx, "id-ann")
			require.ErrorIs(t, err, authkit.ErrUserNotFound)
		}
		_, err := other.UserByID(ctx, "id-ann")
		require.NoError(t, err, "another database is not a part of it")

		tx, err := pool.BeginTx(ctx, nil)
		require.NoError(t, err)
		in := a.WithTx(ctx, tx)
		require.NoError(t, b.CreateUser(in, userNamed("bob")))
		_, err = other.UserByID(in, "id-ann")
		require.NoError(t, err)
		third, err := sqlstore.Open(again(t), d.dialect, &sqlstore.Options{Tenant: "b"})
		require.NoError(t, err)
		_, err = third.UserByID(in, "id-bob")
		require.ErrorIs(t, err, authkit.ErrUserNotFound, "another pool does not see what is not committed")
		require.NoError(t, tx.Commit())
		_, err = third.UserByID(ctx, "id-bob")
		require.NoError(t, err)

		_, err = a.UserByID(a.WithTx(ctx, nil), "id-bob")
		require.ErrorContains(t, err, "the transaction is nil")
	})
}

// TestInTxWithinHostTransaction: it is undone alone if it fails or panics.
func TestInTxWithinHostTransaction(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		s := storeOn(t, pool, d, nil)
		tx, err := pool.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		ctx := s.WithTx(t.Context(), tx)
		create := func(ctx context.Context, name string, then error) error {
			if err := s.CreateUser(ctx, userNamed(name)); err != nil {
				return err
			}
			return then
		}
		failed := errors.New("failed")
		require.NoError(t, s.InTx(ctx, func(ctx context.Context) error { return create(ctx, "kept", nil) }))
		require.Equal(t, failed, s.InTx(ctx, func(ctx context.Context) error { return create(ctx, "failed", failed) }))
		require.PanicsWithValue(t, "boom", func() {
			_ = s.InTx(ctx, func(ctx context.Context) error {
				require.NoError(t, create(ctx, "panicked", nil))
				panic("boom")
			})
		})
		err = s.InTx(ctx, func(ctx context.Context) error {
			require.NoError(t, create(ctx, "doomed", nil))
			require.Equal(t, failed, s.InTx(ctx, func(ctx context.Context) error { return create(ctx, "inner", failed) }))
			return nil
		})
		require.ErrorIs(t, err, failed)
		require.ErrorContains(t, err, "rolled back")
		require.Error(t, s.CreateUser(ctx, userNamed("kept")), "the ID exists")
		require.NoError(t, s.CreateUser(ctx, userNamed("last")))
		require.NoError(t, tx.Commit())
		list, err := s.ListUsers(t.Context(), authkit.UserQuery{Limit: 10})
		require.NoError(t, err)
		require.Len(t, list, 2)
		require.Equal(t, "id-kept id-last", list[0].ID+" "+list[1].ID)
	})
}

// TestUpgrade brings a database of the schema before accounts were verified, with rows in
// it, up to date. What those rows lack is zero.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		for _, name := range []string{"0001_users.sql", "0002_sessions.sql"} {
			runFile(t, pool, d, name)
		}
		mustExec(t, pool, `CREATE TABLE authkit_migrations (name varchar(190) PRIMARY KEY)`)
		mustExec(t, pool, `INSERT INTO authkit_migrations (name) VALUES ('0001_users.sql'), ('0002_sessions.sql')`)
		const zero = -62135596800000000
		hash := strings.Repeat("0", 64)
		hash = map[sqlstore.Dialect]string{sqlstore.SQLite: "x'" + hash + "'", sqlstore.Postgres: `'\x` + hash + "'", sqlstore.MySQL: "x'" + hash + "'"}[d.dialect]
		// As the release before wrote them, by the names of its columns.
		mustExec(t, pool, fmt.Sprintf(`INSERT INTO authkit_users (tenant, id, email, full_name, roles, disabled, password_hash, valid_from, created_at, updated_at, version)
			VALUES ('', 'id-ann', 'ann@example.com', 'Ann', '["user"]', false, 'hash', %d, 1000000, 2000000, 3)`, zero))
		mustExec(t, pool, fmt.Sprintf(`INSERT INTO authkit_sessions (tenant, id, user_id, device, address, created_at, last_used_at, expires_at, ends_at, token_hash, parent_hash, rotated_at, successor)
			VALUES ('', 's', 'id-ann', 'd', 'a', 1000000, 2000000, 3000000, 4000000, %s, %[1]s, %d, '')`, hash, zero))

		s, err := sqlstore.Open(pool, d.dialect, nil)
		require.NoError(t, err)
		pending, err := s.Pending(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"0003_proofs.sql", "0004_tickets.sql"}, pending)
		require.NoError(t, s.Migrate(t.Context(), auditsql.Migrations()))

		x, u, err := s.SessionUser(t.Context(), "s")
		require.NoError(t, err)
		require.Equal(t, authkit.StoredUser{
			User: authkit.User{ID: "id-ann", Email: "ann@example.com", FullName: "Ann", Roles: []string{"user"},
				CreatedAt: time.Unix(1, 0).UTC(), UpdatedAt: time.Unix(2, 0).UTC(), Version: 3},
			PasswordHash: "hash",
		}, u)
		require.Equal(t, authkit.Session{ID: "s", UserID: "id-ann", Device: "d", Address: "a", CreatedAt: time.Unix(1, 0).UTC(),
			LastUsedAt: time.Unix(2, 0).UTC(), ExpiresAt: time.Unix(3, 0).UTC(), AbsoluteExpiresAt: time.Unix(4, 0).UTC()}, x.Session)
		require.True(t, x.AuthTime.IsZero())
		require.Nil(t, x.Methods)
		changed, err := s.UpdateUser(t.Context(), "id-ann", authkit.UserUpdate{EmailVerifiedAt: &start, IfVersion: 3}, start)
		require.NoError(t, err)
		require.Equal(t, start, changed.EmailVerifiedAt)

		// A program of the release before goes on beside the new one.
		mustExec(t, pool, fmt.Sprintf(`INSERT INTO authkit_users (tenant, id, email, full_name, roles, disabled, password_hash, valid_from, created_at, updated_at, version)
			VALUES ('', 'id-bob', 'bob@example.com', 'Bob', '[]', false, 'hash', %d, 1000000, 2000000, 1)`, zero))
		bob, err := s.UserByID(t.Context(), "id-bob")
		require.NoError(t, err)
		require.True(t, bob.EmailVerifiedAt.IsZero() && bob.LockedUntil.IsZero())
	})
}

// TestMigrationIsContinued: MySQL cannot take back what a migration did before it was cut off.
func TestMigrationIsContinued(t *testing.T) {
	t.Parallel()
	d := databases[2]
	pool, _ := d.open(t)
	s := storeOn(t, pool, d, nil)
	require.NoError(t, s.CreateUser(t.Context(), userNamed("ann")))
	mustExec(t, pool, "DELETE FROM authkit_migrations WHERE name = '0003_proofs.sql'")
	mustExec(t, pool, "ALTER TABLE authkit_sessions DROP COLUMN auth_time, DROP COLUMN methods")
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, s.CreateSession(t.Context(), sessionNamed("s", "id-ann"), 1))
}

// runFile runs a migration of the store, as another tool would.
func runFile(t *testing.T, pool *sql.DB, d database, name string) {
	t.Helper()
	files := sqlstore.Schema().For(d.dialect)
	file, err := files.Open(name)
	require.NoError(t, err)
	defer file.Close()
	var text strings.Builder
	buf := make([]byte, 1<<16)
	n, err := file.Read(buf)
	require.NoError(t, err)
	text.Write(buf[:n])
	for statement := range strings.SplitSeq(text.String(), ";\n") {
		if strings.TrimSpace(statement) != "" {
			mustExec(t, pool, statement)
		}
	}
}

// FR-17: an account whose roles cannot be read hides no other one, and has no roles.
func TestUnreadableRoles(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		s := storeOn(t, pool, d, nil)
		ctx := t.Context()
		broken := []string{`["admin"`, ``, `{"admin":1}`, `["admin",1]`, `admin`, `["admin","]`, `["admin","x" "]`}
		for i := range broken {
			u := userNamed(fmt.Sprint("user", i))
			u.Roles = []string{"admin"}
			require.NoError(t, s.CreateUser(ctx, u))
		}
		good := userNamed("whole")
		good.Roles = []string{"admin"}
		require.NoError(t, s.CreateUser(ctx, good))
		for i, text := range broken {
			mustExec(t, pool, fmt.Sprintf(`UPDATE authkit_users SET roles = '%s' WHERE id = 'id-user%d'`, text, i))
		}
		list, err := s.ListUsers(ctx, authkit.UserQuery{Limit: 10})
		require.NoError(t, err)
		require.Len(t, list, len(broken)+1)
		for _, u := range list {
			if u.ID == good.ID {
				require.Equal(t, []string{"admin"}, u.Roles)
				continue
			}
			require.Nil(t, u.Roles, u.ID)
			byID, err := s.UserByID(ctx, u.ID)
			require.NoError(t, err)
			require.Nil(t, byID.Roles)
		}
		_, err = s.UpdateUser(ctx, good.ID, authkit.UserUpdate{Roles: &[]string{}, KeepRole: "admin"}, start)
		require.ErrorIs(t, err, authkit.ErrLastAdmin, "a broken account does not hold a role")
		require.ErrorIs(t, s.DeleteUser(ctx, good.ID, "admin"), authkit.ErrLastAdmin)
		found := s.Doctor(ctx)
		require.Len(t, found, 1)
		require.Equal(t, "unreadable_roles", found[0].Code)
		require.Contains(t, found[0].Text, "7 of the first")

		fixed, err := s.UpdateUser(ctx, "id-user0", authkit.UserUpdate{Roles: &[]string{"admin"}}, start)
		require.NoError(t, err)
		require.Equal(t, []string{"admin"}, fixed.Roles)
		_, err = s.UpdateUser(ctx, good.ID, authkit.UserUpdate{Roles: &[]string{}, KeepRole: "admin"}, start)
		require.NoError(t, err)
	})
}

// TestCleanUpBesideRefreshes: forty clients refresh at once while expired sessions are
// deleted in a loop, with ten connections. None is refused.
func TestCleanUpBesideRefreshes(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		pool.SetMaxOpenConns(10)
		pool.SetMaxIdleConns(10)
		s := storeOn(t, pool, d, nil)
		ctx := t.Context()
		const clients, refreshes = 40, 10
		for i := range clients {
			require.NoError(t, s.CreateSession(ctx, sessionNamed(fmt.Sprint("s", i), fmt.Sprint("user", i)), 10))
		}
		stop := make(chan struct{})
		var cleaner, all sync.WaitGroup
		cleaner.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if n, err := s.DeleteExpired(ctx, start, start, 100); err != nil || n != 0 {
					t.Errorf("DeleteExpired: %d, %v", n, err)
					return
				}
			}
		})
		for i := range clients {
			all.Go(func() {
				hash := [32]byte{1}
				for n := range refreshes {
					next := [32]byte{2, byte(n)}
					_, rotated, err := s.RotateSession(ctx, fmt.Sprint("s", i), authkit.Rotation{Old: hash, New: next, At: start, ExpiresAt: start.Add(time.Hour)})
					if err != nil || !rotated {
						t.Errorf("client %d, refresh %d: %v, %v", i, n, rotated, err)
						return
					}
					hash = next
				}
			})
		}
		all.Wait()
		close(stop)
		cleaner.Wait()
	})
}

// TestWritersQueue: writers of one DB do not meet at the lock of the file, so none needs
// patience there.
func TestWritersQueue(t *testing.T) {
	t.Parallel()
	dsn := strings.Replace(createSQLite(t), "busy_timeout(5000)", "busy_timeout(0)", 1)
	pool := pool(t, "sqlite", dsn)
	pool.SetMaxOpenConns(20)
	pool.SetMaxIdleConns(20)
	s := storeOn(t, pool, databases[0], nil)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for n := range 20 {
				u := userNamed(fmt.Sprint(i, "-", n))
				err := s.CreateUser(t.Context(), u)
				err2 := s.InTx(t.Context(), func(ctx context.Context) error {
					if _, err := s.UserByID(ctx, u.ID); err != nil {
						return err
					}
					return s.CreateSession(ctx, sessionNamed(u.ID, u.ID), 1)
				})
				_, err3 := s.UserByID(t.Context(), u.ID)
				if err := errors.Join(err, err2, err3); err != nil {
					t.Errorf("%s: %v", u.ID, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestPreparedInTransactions: without interpolation by the driver of MySQL, statements are
// prepared once and used in transactions, too, for no more round trips.
func TestPreparedInTransactions(t *testing.T) {
	t.Parallel()
	d := databases[2]
	dsn := strings.Replace(d.create(t), "interpolateParams=true", "interpolateParams=false", 1)
	plain := pool(t, d.driver, dsn)
	require.NoError(t, storeOn(t, plain, d, nil).CreateUser(t.Context(), userNamed("ann")))
	counted, trips := count(plain, dsn, 2)
	defer counted.Close()
	s, err := sqlstore.Open(counted, d.dialect, nil)
	require.NoError(t, err)
	for n := range 3 {
		before := trips.n.Load()
		require.NoError(t, login(t.Context(), s, n))
		if n == 2 {
			require.LessOrEqual(t, trips.n.Load()-before, int64(7))
		}
	}
}

// TestWithoutPreparedStatements: a pooler between the program and Postgres may lose them.
func TestWithoutPreparedStatements(t *testing.T) {
	t.Parallel()
	d := databases[1]
	for _, mode := range []string{"simple_protocol", "exec"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			pool := pool(t, d.driver, d.create(t)+"&default_query_exec_mode="+mode)
			s := storeOn(t, pool, d, nil)
			fill(t, pool, s, d, 20)
			callEverything(t, s)
		})
	}
}

// A change that a database refuses leaves the transaction of a program usable, whether a
// Kit or the program began it.
func TestRefusedChangeInTx(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		s := storeOn(t, pool, d, nil)
		kit := newKit(t, s, s)
		admin, err := kit.CreateUser(t.Context(), authkit.User{Email: "admin@example.com", Roles: []string{"admin"}}, password)
		require.NoError(t, err)
		both := func(ctx context.Context, email string) error {
			require.ErrorIs(t, kit.DisableUser(ctx, admin.ID), authkit.ErrLastAdmin)
			require.ErrorIs(t, kit.DeleteUser(ctx, admin.ID), authkit.ErrLastAdmin)
			_, err := kit.CreateUser(ctx, authkit.User{Email: email}, password)
			return err
		}
		require.NoError(t, kit.InTx(t.Context(), func(ctx context.Context) error { return both(ctx, "kit@example.com") }))
		tx, err := pool.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, both(s.WithTx(t.Context(), tx), "host@example.com"))
		require.NoError(t, tx.Commit())
		for _, email := range []string{"kit@example.com", "host@example.com"} {
			_, err := kit.UserByEmail(t.Context(), email)
			require.NoError(t, err)
		}
	})
}
