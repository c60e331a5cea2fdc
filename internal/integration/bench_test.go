package integration_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

// compare runs two things in turns, 50 ms each, and reports the medians and their ratio.
func compare(b *testing.B, one, other func()) {
	b.Helper()
	turn := func(f func()) float64 {
		began, n := time.Now(), 0
		for time.Since(began) < 50*time.Millisecond {
			f()
			n++
		}
		return float64(time.Since(began).Nanoseconds()) / float64(n)
	}
	turn(one)
	turn(other)
	var ones, others []float64
	for b.Loop() {
		ones, others = append(ones, turn(one)), append(others, turn(other))
	}
	median := func(s []float64) float64 { slices.Sort(s); return s[len(s)/2] }
	b.ReportMetric(median(ones), "ns-a")
	b.ReportMetric(median(others), "ns-b")
	b.ReportMetric(median(ones)/median(others), "ratio")
	b.ReportMetric(0, "ns/op")
}

// clients is how many requests are under way at once in benchmarks of throughput.
const clients = 8

// together returns a function that runs f in several goroutines, ten times each.
func together(f func()) func() {
	return func() {
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				for range 10 {
					f()
				}
			})
		}
		all.Wait()
	}
}

var ann = authkit.User{Email: "ann@example.com", Roles: []string{"user"}}

// loggedIn returns a Kit whose sessions are in the database, and a token of a user.
func loggedIn(b *testing.B, s *sqlstore.DB) (*authkit.Kit, authkit.User, authkit.Token) {
	b.Helper()
	kit := newKit(b, s, s)
	u, err := kit.CreateUser(b.Context(), ann, password)
	require.NoError(b, err)
	token, err := kit.Login(b.Context(), ann.Email, password)
	require.NoError(b, err)
	return kit, u, token
}

// ask returns a function that sends a request with a header to a handler.
func ask(b *testing.B, h http.Handler, header, value string) func() {
	return func() {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 204 {
			b.Error(w.Code, w.Body)
		}
	}
}

// A handAccount is looked up by hand, as a program without the library would.
type handAccount struct {
	id, email, name string
	roles           []string
	disabled        bool
	hash            string
	from            int64
}

// placeholders writes the arguments of a query as the database takes them.
func placeholders(d database, query string) string {
	if d.dialect == sqlstore.Postgres {
		for n := 1; strings.Contains(query, "?"); n++ {
			query = strings.Replace(query, "?", fmt.Sprint("$", n), 1)
		}
	}
	return query
}

var done = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })

// BenchmarkGuardedRequest is a guarded request whose session and account are looked up in the
// database (a), next to one that a hand-written query of both guards, behind the same
// verification (b). The ratio is meant to be at most 1.15.
func BenchmarkGuardedRequest(b *testing.B) {
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			db, _ := d.open(b)
			kit, _, token := loggedIn(b, storeOn(b, db, d, nil))
			guard, err := authkit.NewGuard(authkit.GuardConfig{Tokens: authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(secret)}}}})
			require.NoError(b, err)
			stmt, err := db.PrepareContext(b.Context(), placeholders(d, `SELECT s.id, s.user_id, s.device, s.address, s.created_at, s.last_used_at, s.expires_at, s.ends_at,
				s.token_hash, s.parent_hash, s.rotated_at, u.id, u.email, u.full_name, u.roles, u.disabled, u.password_hash, u.valid_from, u.created_at, u.updated_at
				FROM authkit_sessions s JOIN authkit_users u ON u.tenant = s.tenant AND u.id = s.user_id WHERE s.tenant = ? AND s.id = ?`))
			require.NoError(b, err)
			defer stmt.Close()
			byHand := func(ctx context.Context, sessionID string) (u handAccount, expires int64, err error) {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				var sid, userID, device, address string
				var roles, token, parent []byte
				var created, used, ends, rotated, userCreated, updated int64
				err = stmt.QueryRowContext(ctx, "", sessionID).Scan(&sid, &userID, &device, &address, &created, &used, &expires, &ends, &token, &parent, &rotated,
					&u.id, &u.email, &u.name, &roles, &u.disabled, &u.hash, &u.from, &userCreated, &updated)
				if err != nil {
					return u, 0, err
				}
				return u, expires, json.Unmarshal(roles, &u.roles)
			}
			hand := guard.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p, _ := authkit.PrincipalFrom(r.Context())
				u, expires, err := byHand(r.Context(), p.SessionID)
				if err != nil || u.disabled || u.id != p.UserID || p.IssuedAt.UnixMicro() < u.from || time.Now().UnixMicro() > expires || !slices.Contains(u.roles, "user") {
					w.WriteHeader(403)
					return
				}
				done(w, r)
			}))
			with := kit.RequireRoles("user")(done)
			compare(b, ask(b, with, "Authorization", "Bearer "+token.AccessToken), ask(b, hand, "Authorization", "Bearer "+token.AccessToken))
		})
	}
}

// BenchmarkSessionsOfSCS is a guarded request with a session in Postgres (a), next to one with
// a session of github.com/alexedwards/scs and a hand-written query of the account (b), with
// several at once. The ratio is meant to be at most 0.71: 1.4 times the requests.
func BenchmarkSessionsOfSCS(b *testing.B) {
	d := databases[1]
	db, _ := d.open(b)
	db.SetMaxOpenConns(clients)
	db.SetMaxIdleConns(clients)
	kit, u, token := loggedIn(b, storeOn(b, db, d, nil))
	mustExec(b, db, `CREATE TABLE sessions (token text PRIMARY KEY, data bytea NOT NULL, expiry timestamptz NOT NULL)`)
	mustExec(b, db, `CREATE INDEX sessions_expiry_idx ON sessions (expiry)`)
	manager := scs.New()
	manager.Store = postgresstore.NewWithCleanupInterval(db, 0)
	ctx, err := manager.Load(b.Context(), "")
	require.NoError(b, err)
	manager.Put(ctx, "user_id", u.ID)
	cookie, _, err := manager.Commit(ctx)
	require.NoError(b, err)
	for _, query := range []string{ // 10,000 of each
		`INSERT INTO authkit_users SELECT tenant, 'id-' || i, i || '@example.com', full_name, roles, disabled, password_hash, valid_from, created_at, updated_at, version
			FROM authkit_users, generate_series(1, 10000) AS i`,
		`INSERT INTO authkit_sessions SELECT tenant, 'id-' || i, user_id || i, device, address, created_at, last_used_at, expires_at, ends_at, token_hash, parent_hash, rotated_at, successor, auth_time, methods
			FROM authkit_sessions, generate_series(1, 10000) AS i`,
		`INSERT INTO sessions SELECT token || i, data, expiry FROM sessions, generate_series(1, 10000) AS i`,
		`ANALYZE authkit_users`, `ANALYZE authkit_sessions`, `ANALYZE sessions`,
	} {
		mustExec(b, db, query)
	}
	hand := manager.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u handAccount
		var roles []byte
		var created, updated int64
		err := db.QueryRowContext(r.Context(), `SELECT id, email, full_name, roles, disabled, password_hash, valid_from, created_at, updated_at FROM authkit_users WHERE tenant = $1 AND id = $2`,
			"", manager.GetString(r.Context(), "user_id")).Scan(&u.id, &u.email, &u.name, &roles, &u.disabled, &u.hash, &u.from, &created, &updated)
		if err == nil {
			err = json.Unmarshal(roles, &u.roles)
		}
		if err != nil || u.disabled || !slices.Contains(u.roles, "user") {
			w.WriteHeader(403)
			return
		}
		done(w, r)
	}))
	with := kit.RequireRoles("user")(done)
	compare(b, together(ask(b, with, "Authorization", "Bearer "+token.AccessToken)), together(ask(b, hand, "Cookie", "session="+cookie)))
}

// BenchmarkOperations is what the requests of roundtrips_test.go make of the store.
func BenchmarkOperations(b *testing.B) {
	for _, d := range databases {
		s := newStore(b, d)
		require.NoError(b, s.CreateUser(b.Context(), userNamed("ann")))
		n := 0
		for _, o := range operations {
			b.Run(d.name+"/"+o.name, func(b *testing.B) {
				for b.Loop() {
					n++
					b.StopTimer()
					require.NoError(b, o.prepare(b.Context(), s, n))
					b.StartTimer()
					if err := o.do(b.Context(), s, n); err != nil {
						b.Fatal(err)
					}
				}
				require.NoError(b, s.RevokeSessions(b.Context(), "id-ann", "", start))
			})
		}
	}
}

// BenchmarkSQLiteWriters is how long sixteen clients wait for a rotation that all want at once,
// with ten connections to one file.
func BenchmarkSQLiteWriters(b *testing.B) {
	db, _ := databases[0].open(b)
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(10)
	s := storeOn(b, db, databases[0], nil)
	const clients = 16
	var took [clients][]time.Duration
	var all sync.WaitGroup
	for i := range clients {
		require.NoError(b, s.CreateSession(b.Context(), sessionNamed(fmt.Sprint("s", i), fmt.Sprint("user", i)), 10))
	}
	b.ResetTimer()
	for i := range clients {
		all.Go(func() {
			hash := [32]byte{1}
			for n := range b.N {
				next := [32]byte{2, byte(n), byte(n >> 8)}
				began := time.Now()
				_, rotated, err := s.RotateSession(b.Context(), fmt.Sprint("s", i), authkit.Rotation{Old: hash, New: next, At: start, ExpiresAt: start})
				took[i] = append(took[i], time.Since(began))
				if err != nil || !rotated {
					b.Error(rotated, err)
					return
				}
				hash = next
			}
		})
	}
	all.Wait()
	every := slices.Concat(took[:]...)
	slices.Sort(every)
	b.ReportMetric(float64(every[len(every)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(every[len(every)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkMillionUsers looks up an account, and pages through a hundred, among 1,000,000 users in
// Postgres (a) and among 10,000 (b).
func BenchmarkMillionUsers(b *testing.B) {
	d := databases[1]
	many, few := filled(b, d, 1_000_000), filled(b, d, 10_000)
	ctx := b.Context()
	n := 0
	next := func(of int) int { n = (n*1103515245 + 12345) & 0x7fffffff; return n % of }
	lookUp := func(s *sqlstore.DB, of int) func() {
		return func() {
			if _, err := s.UserByEmail(ctx, fmt.Sprintf("user%d@example.com", next(of))); err != nil {
				b.Fatal(err)
			}
		}
	}
	page := func(s *sqlstore.DB, of int) func() {
		return func() {
			list, err := s.ListUsers(ctx, authkit.UserQuery{After: fmt.Sprintf("id-%08d", next(of-200)), Limit: 100})
			if err != nil || len(list) != 100 {
				b.Fatal(len(list), err)
			}
		}
	}
	b.Run("look-up", func(b *testing.B) { compare(b, lookUp(many, 1_000_000), lookUp(few, 10_000)) })
	b.Run("page of 100", func(b *testing.B) { compare(b, page(many, 1_000_000), page(few, 10_000)) })
}

// filled returns a store with as many accounts.
func filled(b *testing.B, d database, n int) *sqlstore.DB {
	b.Helper()
	db, _ := d.open(b)
	s := storeOn(b, db, d, nil)
	_, err := db.Exec(`INSERT INTO authkit_users (tenant, id, email, full_name, roles, disabled, password_hash, valid_from, created_at, updated_at, version)
		SELECT '', 'id-' || to_char(i, 'FM00000000'), 'user' || i || '@example.com', 'User ' || i, '["user"]', false,
			'$2a$12$vHk3iLg2MWBBLkT5erYrqeICnX3DzzLZKYEe.E6XUVRyGeA8VXCdi', -62135596800000000, 0, 0, 1 FROM generate_series(0, $1) AS i`, n-1)
	require.NoError(b, err)
	mustExec(b, db, "ANALYZE authkit_users")
	var size sql.NullString
	err = db.QueryRow(`SELECT pg_size_pretty(pg_total_relation_size('authkit_users'))`).Scan(&size)
	require.NoError(b, errors.Join(err))
	b.Logf("%d accounts: %s with their indexes", n, size.String)
	return s
}

// BenchmarkSessions is what a session costs on each database.
func BenchmarkSessions(b *testing.B) {
	for _, d := range databases {
		s := newStore(b, d)
		kit := newKit(b, s, s)
		u, err := kit.CreateUser(b.Context(), authkit.User{Email: "ann@example.com"}, password)
		require.NoError(b, err)
		token, err := kit.Login(b.Context(), u.Email, password)
		require.NoError(b, err)
		b.Run(d.name+"/refresh", func(b *testing.B) {
			for b.Loop() {
				if token, err = kit.Refresh(b.Context(), token.RefreshToken); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(d.name+"/login", func(b *testing.B) {
			for b.Loop() {
				if _, err := kit.Login(b.Context(), u.Email, password); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
