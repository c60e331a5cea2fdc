package integration_test

import (
	"cmp"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/doctor"
	"github.com/authkit-go/authkit/sqlstore"
)

// createLatin1 returns the address of a new Postgres database that holds Latin 1 only.
func createLatin1(t testing.TB) string {
	address := cmp.Or(os.Getenv("AUTHKIT_TEST_POSTGRES"), "postgres://postgres@127.0.0.1:5432/test?sslmode=disable")
	admin := server(t, "pgx", address)
	name := "authkit_" + strings.ToLower(rand.Text()[:12])
	mustExec(t, admin, "CREATE DATABASE "+name+" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	t.Cleanup(func() { mustExec(t, admin, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(address)
	require.NoError(t, err)
	query := u.Query()
	query.Set("client_encoding", "UTF8") // as lib/pq does
	u.Path, u.RawQuery = "/"+name, query.Encode()
	return u.String()
}

// kitOn returns a Kit on a store, with cheap hashes.
func kitOn(t testing.TB, s *sqlstore.DB) *authkit.Kit {
	t.Helper()
	kit, err := authkit.New(authkit.Config{
		Secret: []byte("f3b7c2c5a4d58e0196e2f7718e3a0b4cd2951c7f08e6a3b4975dd1c0e8f2a661"),
		Users:  s, Sessions: authkit.SessionConfig{Store: s},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Schemes(authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, authkit.PBKDF2SHA256{}), MaxConcurrentHashes: 16},
		Logger:    slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return kit
}

// finds returns the codes that the doctor finds.
func finds(t testing.TB, kit *authkit.Kit) (codes []string) {
	t.Helper()
	for _, f := range doctor.Check(t.Context(), kit) {
		codes = append(codes, f.Code)
	}
	return codes
}

// FR-20: a name that the database cannot hold is refused for good, and is no failure of the
// database. The doctor names the cause.
func TestUnstorable(t *testing.T) {
	t.Parallel()
	const name, password = "Zoë 👍", "correct horse"
	for title, open := range map[string]func() (database, string){
		"MariaDB, utf8 of three bytes": func() (database, string) {
			return databases[2], strings.Replace(createMariaDB(t), "utf8mb4", "utf8", 1)
		},
		"MariaDB, prepared statements": func() (database, string) {
			dsn := strings.Replace(createMariaDB(t), "utf8mb4", "utf8", 1)
			return databases[2], strings.Replace(dsn, "interpolateParams=true", "interpolateParams=false", 1)
		},
		"Postgres, Latin 1": func() (database, string) { return databases[1], createLatin1(t) },
	} {
		d, dsn := open()
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			pool := pool(t, d.driver, dsn)
			s := storeOn(t, pool, d, nil)
			kit := kitOn(t, s)
			require.Contains(t, finds(t, kit), "character_set")

			refused := func(err error) {
				t.Helper()
				require.ErrorIs(t, err, authkit.ErrUnstorable)
				require.NotErrorIs(t, err, authkit.ErrUnavailable)
				require.Equal(t, 422, authkit.ProblemFor(err).Status)
				require.NotContains(t, authkit.ProblemFor(err).Detail, "Error")
			}
			_, err := kit.CreateUser(t.Context(), authkit.User{Email: "zoe@example.com", FullName: name}, password)
			refused(err)
			u, err := kit.CreateUser(t.Context(), authkit.User{Email: "zoe@example.com", FullName: "Zoe"}, password)
			require.NoError(t, err)
			_, err = kit.SetFullName(t.Context(), u.ID, name)
			refused(err)

			err = kit.ImportUsers(t.Context(), []authkit.StoredUser{
				{User: authkit.User{Email: "one@example.com"}}, {User: authkit.User{Email: "two@example.com", FullName: name}},
			})
			refused(err)
			row, ok := errors.AsType[*authkit.ImportError](err)
			require.True(t, ok)
			require.Equal(t, 1, row.Row)

			// The transaction of a program goes on after it.
			tx, err := pool.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			ctx := s.WithTx(t.Context(), tx)
			_, err = kit.CreateUser(ctx, authkit.User{Email: "ann@example.com", FullName: name}, password)
			refused(err)
			_, err = kit.SetFullName(ctx, u.ID, name)
			refused(err)
			_, err = kit.CreateUser(ctx, authkit.User{Email: "ann@example.com", FullName: "Ann"}, password)
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
			_, err = kit.UserByEmail(t.Context(), "ann@example.com")
			require.NoError(t, err)

			// Clients choose their User-Agent: it fails no login.
			ctx = authkit.WithClient(t.Context(), authkit.ClientInfo{Device: "Browser 👍"})
			_, err = kit.Login(ctx, u.Email, password)
			require.NoError(t, err)
			sessions, err := kit.Sessions(t.Context(), u.ID)
			require.NoError(t, err)
			require.Contains(t, sessions[0].Device, "Browser ")
		})
	}
}

// FR-20: so is a hash that is longer than its column, and a text that no database takes.
func TestUnstorableByAll(t *testing.T) {
	t.Parallel()
	long := authkit.PasswordHash("$pbkdf2-sha256$1000$" + strings.Repeat("AAAA", 340) + "$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk")
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		err := kitOn(t, s).ImportUsers(t.Context(), []authkit.StoredUser{
			{User: authkit.User{Email: "one@example.com"}}, {User: authkit.User{Email: "two@example.com"}, PasswordHash: long},
		})
		if d.dialect == sqlstore.MySQL { // the others have no limit
			require.ErrorIs(t, err, authkit.ErrUnstorable)
			row, ok := errors.AsType[*authkit.ImportError](err)
			require.True(t, ok)
			require.Equal(t, 1, row.Row)
		} else {
			require.NoError(t, err)
		}
		for _, name := range []string{"a\x00b", "a\xffb"} {
			u := authkit.StoredUser{User: authkit.User{ID: authkit.NewUserID(), Email: "nul@example.com", FullName: name}}
			require.ErrorIs(t, s.CreateUser(t.Context(), u), authkit.ErrUnstorable)
			require.ErrorIs(t, s.CreateUsers(t.Context(), []authkit.StoredUser{u}), authkit.ErrUnstorable)
		}
		// A server that is not there stays one.
		_, err = s.Exec(t.Context(), "SELECT 1 / 0 FROM {missing}")
		require.Error(t, err)
		require.NotErrorIs(t, err, authkit.ErrUnstorable)
	})
}

// SQLite as programs open it first. Concurrent logins succeed on a plain path. In memory, each
// connection has another database, and the doctor says so.
func TestPlainSQLite(t *testing.T) {
	t.Parallel()
	logins := func(kit *authkit.Kit) (failed int) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range 20 {
			wg.Go(func() {
				if _, err := kit.Login(t.Context(), "ann@example.com", "correct horse"); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed++
				}
			})
		}
		wg.Wait()
		return failed
	}
	for name, tc := range map[string]struct {
		dsn   string
		conns int
		want  string // a finding
		fails bool   // logins may fail
	}{
		"a plain path":               {filepath.Join(t.TempDir(), "a.db"), 0, "no_busy_timeout", false},
		"in memory, one connection":  {":memory:", 1, "no_busy_timeout", false},
		"in memory, several of them": {":memory:", 0, "memory_per_connection", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, err := sql.Open("sqlite", tc.dsn)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, pool.Close()) })
			pool.SetMaxOpenConns(tc.conns)
			kit := kitOn(t, storeOn(t, pool, databases[0], nil))
			_, err = kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, "correct horse")
			require.NoError(t, err)
			require.Contains(t, finds(t, kit), tc.want)
			if !tc.fails {
				require.Zero(t, logins(kit))
			}
		})
	}
}
