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
	"testing"
	"time"

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

// BenchmarkGuardedRequest is a guarded request whose account is looked up in the database (a), next
// to one that a hand-written query of the same row guards, behind the same verification (b).
func BenchmarkGuardedRequest(b *testing.B) {
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			db, _ := d.open(b)
			s := storeOn(b, db, d, nil)
			secret := []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")
			kit, err := authkit.New(authkit.Config{Secret: secret, Users: s, Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}})
			require.NoError(b, err)
			_, err = kit.CreateUser(b.Context(), authkit.User{Email: "ann@example.com", Roles: []string{"user"}}, password)
			require.NoError(b, err)
			token, err := kit.Login(b.Context(), "ann@example.com", password)
			require.NoError(b, err)
			guard, err := authkit.NewGuard(authkit.GuardConfig{Tokens: authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: secret}}}})
			require.NoError(b, err)

			query := `SELECT id, email, full_name, roles, disabled, password_hash, valid_from, created_at, updated_at FROM authkit_users WHERE tenant = ? AND id = ?`
			if d.dialect == sqlstore.Postgres {
				query = strings.Replace(strings.Replace(query, "?", "$1", 1), "?", "$2", 1)
			}
			stmt, err := db.PrepareContext(b.Context(), query)
			require.NoError(b, err)
			defer stmt.Close()
			byHand := func(ctx context.Context, id string) (u authkit.StoredUser, err error) {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				var roles []byte
				var hash string
				var from, created, updated int64
				err = stmt.QueryRowContext(ctx, "", id).Scan(&u.ID, &u.Email, &u.FullName, &roles, &u.Disabled, &hash, &from, &created, &updated)
				if err != nil {
					return u, err
				}
				u.ValidFrom, u.CreatedAt, u.UpdatedAt = time.UnixMicro(from), time.UnixMicro(created), time.UnixMicro(updated)
				return u, json.Unmarshal(roles, &u.Roles)
			}
			done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
			with := kit.RequireRoles("user")(done)
			hand := guard.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p, _ := authkit.PrincipalFrom(r.Context())
				u, err := byHand(r.Context(), p.UserID)
				if err != nil || u.Disabled || p.IssuedAt.Before(u.ValidFrom) || !slices.Contains(u.Roles, "user") {
					w.WriteHeader(403)
					return
				}
				done(w, r)
			}))
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", "Bearer "+token.AccessToken)
			ask := func(h http.Handler) func() {
				return func() {
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					if w.Code != 204 {
						b.Fatal(w.Code, w.Body)
					}
				}
			}
			compare(b, ask(with), ask(hand))
		})
	}
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
