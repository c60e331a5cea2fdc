package integration_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"log/slog"
	"path/filepath"
	"strings"
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

// TestDoctorConnections: what is wrong with the settings of a connection.
func TestDoctorConnections(t *testing.T) {
	t.Parallel()
	lite := filepath.Join(t.TempDir(), "auth.db")
	without := func(dsn, part string) string {
		require.Contains(t, dsn, part)
		return strings.Replace(dsn, part, "", 1)
	}
	impatient := filepath.Join(t.TempDir(), "impatient.db") // nothing else may hold its lock
	_, memory, _, err := sqlstore.ParseURL("sqlite::memory:")
	require.NoError(t, err)
	maria := createMariaDB(t)
	for name, tc := range map[string]struct {
		d     database
		dsn   string
		conns int
		want  string
	}{
		"SQLite, as parsed":         {databases[0], sqliteDSN(t, lite), 8, ""},
		"SQLite without patience":   {databases[0], without(sqliteDSN(t, impatient), "_pragma=busy_timeout(5000)&"), 8, "no_busy_timeout"},
		"memory for each":           {databases[0], memory, 8, "memory_per_connection"},
		"memory for one connection": {databases[0], memory, 1, ""},
		"MariaDB, as parsed":        {databases[2], maria, 8, ""},
		"MariaDB in another set":    {databases[2], strings.Replace(maria, "utf8mb4", "latin1", 1), 8, "character_set"},
		"MariaDB in three bytes":    {databases[2], strings.Replace(maria, "utf8mb4", "utf8", 1), 8, "character_set"},
		"Postgres in Latin 1":       {databases[1], createLatin1(t), 8, "character_set"},
		"MariaDB that cuts texts":   {databases[2], maria + "&sql_mode=%27%27", 8, "sql_mode"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pool(t, tc.d.driver, tc.dsn)
			pool.SetMaxOpenConns(tc.conns)
			s := storeOn(t, pool, tc.d, nil)
			found := s.Doctor(t.Context())
			if tc.want == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Equal(t, tc.want, found[0].Code)
		})
	}
}

// TestDoctorPooler: a pooler in transaction mode shows by two connections with one backend.
func TestDoctorPooler(t *testing.T) {
	t.Parallel()
	d := databases[1]
	dsn := d.create(t)
	plain := pool(t, d.driver, dsn)
	storeOn(t, plain, d, nil)
	one, err := plain.Driver().Open(dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, one.Close()) })
	pooled := sql.OpenDB(&pooler{driver: plain.Driver(), conn: one})
	t.Cleanup(func() { require.NoError(t, pooled.Close()) })
	s, err := sqlstore.Open(pooled, d.dialect, nil)
	require.NoError(t, err)
	found := s.Doctor(t.Context())
	require.Len(t, found, 1)
	require.Equal(t, "pooler_in_transaction_mode", found[0].Code)
	require.Equal(t, slog.LevelInfo, found[0].Severity)
}

// A pooler gives all clients one connection to the server.
type pooler struct {
	driver driver.Driver
	conn   driver.Conn
}

func (p *pooler) Connect(context.Context) (driver.Conn, error) { return pooledConn{p.conn}, nil }
func (p *pooler) Driver() driver.Driver                        { return p.driver }

type pooledConn struct{ driver.Conn }

func (pooledConn) Close() error { return nil }

func (c pooledConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}
