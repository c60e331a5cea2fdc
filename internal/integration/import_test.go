package integration_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

// importKit returns a Kit for imports, and the IDs of the accounts that its events name.
func importKit(t testing.TB, db *sqlstore.DB) (kit *authkit.Kit, created func() []string) {
	t.Helper()
	var ids []string
	kit, err := authkit.New(authkit.Config{
		Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: db, Logger: slog.New(slog.DiscardHandler),
		OnEvent: []func(context.Context, authkit.Event){func(_ context.Context, e authkit.Event) { ids = append(ids, e.UserID) }},
	})
	require.NoError(t, err)
	return kit, func() []string { all := ids; ids = nil; return all }
}

func importRows(n int, prefix string) (rows []authkit.StoredUser) {
	for i := range n {
		rows = append(rows, authkit.StoredUser{
			User:         authkit.User{ID: fmt.Sprintf("%s-%06d", prefix, i), Email: fmt.Sprintf("%s-%d@Example.com", prefix, i), FullName: "Ada Lovelace", Roles: []string{"user"}},
			PasswordHash: authkit.PasswordHash("$2a$12$" + strings.Repeat("a", 53)),
		})
	}
	return rows
}

// Imports in batches check what imports of single rows do, and name the row.
func TestImportInBatches(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db := newStore(t, d)
		kit, created := importKit(t, db)
		count := func() int {
			n, err := db.CountUsers(t.Context(), authkit.UserQuery{})
			require.NoError(t, err)
			return n
		}
		require.NoError(t, kit.ImportUsers(t.Context(), importRows(1203, "a")))
		require.Equal(t, 1203, count())
		require.Len(t, created(), 1203)
		u, err := db.UserByID(t.Context(), "a-001202")
		require.NoError(t, err)
		require.Equal(t, "a-1202@example.com", u.Email)
		require.False(t, u.CreatedAt.IsZero())

		for _, row := range []int{0, 499, 500, 777, 1299} {
			for name, c := range map[string]struct {
				change func(u *authkit.StoredUser)
				want   error
			}{
				"e-mail": {func(u *authkit.StoredUser) { u.Email = "a-3@example.com" }, authkit.ErrEmailTaken},
				"ID":     {func(u *authkit.StoredUser) { u.ID = "a-000003" }, nil},
			} {
				rows := importRows(1300, "b")
				c.change(&rows[row])
				err := kit.ImportUsers(t.Context(), rows)
				var failed *authkit.ImportError
				require.ErrorAs(t, err, &failed, name)
				require.Equal(t, row, failed.Row, name)
				if c.want != nil {
					require.ErrorIs(t, err, c.want)
				} else {
					var invalid *authkit.ValidationError
					require.ErrorAs(t, err, &invalid)
				}
				require.Equal(t, 1203, count(), name)
				require.Empty(t, slices.DeleteFunc(created(), func(id string) bool { return id == "" }), name)
			}
		}
	})
}

// The rate of imports: the bound is 20,000 rows a second.
func BenchmarkImportUsers(b *testing.B) {
	const n = 10_000
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			db := newStore(b, d)
			kit, _ := importKit(b, db)
			round := 0
			for b.Loop() {
				round++
				require.NoError(b, kit.ImportUsers(b.Context(), importRows(n, fmt.Sprint("r", round))))
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// FR-04: two tenants of one database on one key, with the same user ID.
func TestTenantsOnOneKey(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		hash, err := authkit.Bcrypt{Cost: 4, InsecureLowCost: true}.Hash("correct horse")
		require.NoError(t, err)
		var kits []*authkit.Kit
		var tokens []string
		for _, tenant := range []string{"a", "b", ""} {
			db := storeOn(t, pool, d, &sqlstore.Options{Tenant: tenant})
			kit, err := authkit.New(authkit.Config{
				Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: db, Sessions: authkit.SessionConfig{Store: db},
				Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			require.NoError(t, kit.ImportUsers(t.Context(), []authkit.StoredUser{{User: authkit.User{ID: "1", Email: "u@example.com"}, PasswordHash: hash}}))
			token, err := kit.Login(t.Context(), "u@example.com", "correct horse")
			require.NoError(t, err)
			kits, tokens = append(kits, kit), append(tokens, token.AccessToken)
		}
		for i, kit := range kits {
			for j, token := range tokens {
				_, _, err := kit.IdentifyToken(t.Context(), token)
				if i == j {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, authkit.ErrInvalidToken)
				}
			}
		}
	})
}
