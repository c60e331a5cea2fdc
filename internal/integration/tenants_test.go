package integration_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

// rowsOf returns all rows of a tenant, as text.
func rowsOf(t testing.TB, pool *sql.DB, tenant string) (rows []string) {
	t.Helper()
	for _, table := range []string{"users", "sessions", "session_owners", "revocations", "tickets"} {
		found, err := pool.QueryContext(t.Context(), "SELECT * FROM authkit_"+table+" WHERE tenant = '"+tenant+"'")
		require.NoError(t, err)
		columns, err := found.Columns()
		require.NoError(t, err)
		for found.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			require.NoError(t, found.Scan(into...))
			rows = append(rows, table+" "+strings.Join(columns, ",")+fmt.Sprintf(" %q", values))
		}
		require.NoError(t, found.Err())
		require.NoError(t, found.Close())
	}
	slices.Sort(rows)
	return rows
}

// FR-04: of two tenants with the same IDs, addresses and tokens, no call for one reads or
// changes a row of the other.
func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		ctx := t.Context()
		a, b := storeOn(t, pool, d, &sqlstore.Options{Tenant: "a"}), storeOn(t, pool, d, &sqlstore.Options{Tenant: "b"})
		at := start.Add(time.Hour)
		session := func(s *sqlstore.DB, id string, used int) authkit.StoredSession {
			x := sessionNamed(id, "id-ann")
			x.ID, x.Device, x.TokenHash = id, s.Tenant(), sha256.Sum256([]byte(id))
			x.CreatedAt, x.LastUsedAt = start, start.Add(time.Duration(used)*time.Minute)
			x.ExpiresAt, x.AbsoluteExpiresAt = at.Add(time.Hour), at.Add(2*time.Hour)
			return x
		}
		ticket := func(s *sqlstore.DB, id, subject string, expires time.Time) authkit.Ticket {
			return authkit.Ticket{Kind: "k", ID: id, Subject: subject, Body: []byte(s.Tenant()), MaxAttempts: 9, CreatedAt: start, ExpiresAt: expires}
		}
		fill := func(s *sqlstore.DB) {
			for _, name := range []string{"ann", "bob"} {
				u := userNamed(name)
				u.FullName = s.Tenant()
				if name == "ann" || s == b {
					u.Roles = []string{"admin"}
				}
				require.NoError(t, s.CreateUser(ctx, u))
			}
			for i, id := range []string{"s1", "s2", "s3", "s4"} {
				require.NoError(t, s.CreateSession(ctx, session(s, id, i), 50))
			}
			_, err := s.RevokeSession(ctx, "id-ann", "s4", start)
			require.NoError(t, err)
			for i, id := range []string{"t1", "t2", "t3"} {
				require.NoError(t, s.PutTicket(ctx, ticket(s, id, []string{"", "id-ann", "id-bob"}[i], at)))
			}
		}
		fill(a)
		fill(b)
		// The other tenant has more of everything, and its rows expire first.
		only := userNamed("only")
		only.Roles = []string{"admin"}
		require.NoError(t, b.CreateUser(ctx, only))
		for _, id := range []string{"x1", "x2"} {
			x := session(b, id, 9)
			x.ExpiresAt = start.Add(time.Second)
			require.NoError(t, b.CreateSession(ctx, x, 50))
			require.NoError(t, b.PutTicket(ctx, ticket(b, id, id, start.Add(time.Second))))
			_, err := b.RevokeSession(ctx, "id-ann", "never "+id, start.Add(-time.Hour))
			require.NoError(t, err)
		}
		require.NoError(t, b.RevokeSessions(ctx, "id-bob", "", start))
		before := rowsOf(t, pool, "b")

		for _, s := range []*sqlstore.DB{a, b} {
			u, err := s.UserByID(ctx, "id-ann")
			require.NoError(t, err)
			require.Equal(t, s.Tenant(), u.FullName)
			u, err = s.UserByEmail(ctx, "ann@example.com")
			require.NoError(t, err)
			require.Equal(t, s.Tenant(), u.FullName)
			x, err := s.SessionByID(ctx, "s1")
			require.NoError(t, err)
			require.Equal(t, s.Tenant(), x.Device)
			x, u, err = s.SessionUser(ctx, "s1")
			require.NoError(t, err)
			require.Equal(t, s.Tenant()+s.Tenant(), x.Device+u.FullName)
		}
		list, err := a.SessionsByUser(ctx, "id-ann")
		require.NoError(t, err)
		require.Len(t, list, 3)
		revoked, err := a.Revocations(ctx, time.Time{})
		require.NoError(t, err)
		require.Len(t, revoked, 1)
		for _, q := range []authkit.UserQuery{{Limit: 10}, {Limit: 10, Role: "admin"}, {Limit: 10, EmailPrefix: "o"}, {Limit: 10, After: "id-b"}} {
			users, err := a.ListUsers(ctx, q)
			require.NoError(t, err)
			for _, u := range users {
				require.Equal(t, "a", u.FullName, "%+v", q)
			}
			n, err := a.CountUsers(ctx, q)
			require.NoError(t, err)
			require.Equal(t, len(users), n-map[bool]int{true: 1}[q.After != ""], "%+v", q)
		}

		// What only the other tenant has is not there, and does not count.
		_, err = a.UserByID(ctx, "id-only")
		require.ErrorIs(t, err, authkit.ErrUserNotFound)
		_, err = a.UpdateUser(ctx, "id-only", authkit.UserUpdate{FullName: new("x"), IfVersion: 7}, at)
		require.ErrorIs(t, err, authkit.ErrUserNotFound)
		require.ErrorIs(t, a.DeleteUser(ctx, "id-only", ""), authkit.ErrUserNotFound)
		require.ErrorIs(t, a.DeleteUser(ctx, "id-ann", "admin"), authkit.ErrLastAdmin)
		_, err = a.UpdateUser(ctx, "id-ann", authkit.UserUpdate{Disabled: new(true), KeepRole: "admin"}, at)
		require.ErrorIs(t, err, authkit.ErrLastAdmin)
		again := userNamed("bob")
		again.Email = only.Email
		require.NotErrorIs(t, a.CreateUser(ctx, again), authkit.ErrEmailTaken, "the ID is taken")
		require.NotErrorIs(t, a.CreateUsers(ctx, []authkit.StoredUser{again}), authkit.ErrEmailTaken, "the ID is taken")
		_, err = a.SessionByID(ctx, "x1")
		require.ErrorIs(t, err, authkit.ErrSessionNotFound)
		_, _, err = a.SessionUser(ctx, "x1")
		require.ErrorIs(t, err, authkit.ErrSessionNotFound)
		ended, err := a.RevokeSession(ctx, "id-ann", "x1", at)
		require.NoError(t, err)
		require.False(t, ended)
		_, err = a.AttemptTicket(ctx, "k", "x1", start)
		require.ErrorIs(t, err, authkit.ErrTicketNotFound)
		require.ErrorIs(t, a.ConsumeTicket(ctx, "k", "x1", start), authkit.ErrTicketNotFound)
		require.Equal(t, before, rowsOf(t, pool, "b"))

		// Changes of what both have change one row.
		unchanged := func(call string, change func(context.Context) error) {
			t.Helper()
			require.NoError(t, change(ctx), call)
			require.Equal(t, before, rowsOf(t, pool, "b"), call)
		}
		unchanged("UpdateUser", func(ctx context.Context) error {
			_, err := a.UpdateUser(ctx, "id-ann", authkit.UserUpdate{Email: new("new@example.com"), IfVersion: 1}, at)
			return err
		})
		unchanged("UpdateUser that keeps a role", func(ctx context.Context) error {
			_, err := a.UpdateUser(ctx, "id-ann", authkit.UserUpdate{FullName: new("new"), KeepRole: "admin"}, at)
			return err
		})
		unchanged("RotateSession", func(ctx context.Context) error {
			old := sha256.Sum256([]byte("s1"))
			_, ok, err := a.RotateSession(ctx, "s1", authkit.Rotation{Old: old, New: sha256.Sum256([]byte("n")), At: at, ExpiresAt: at.Add(time.Hour)})
			require.True(t, ok)
			return err
		})
		unchanged("CreateSession over the limit", func(ctx context.Context) error {
			err := a.CreateSession(ctx, session(a, "s5", 30), 3)
			list, listErr := a.SessionsByUser(ctx, "id-ann")
			require.NoError(t, listErr)
			require.Len(t, list, 3)
			return err
		})
		unchanged("RevokeSession", func(ctx context.Context) error {
			ok, err := a.RevokeSession(ctx, "id-ann", "s3", at)
			require.True(t, ok)
			return err
		})
		unchanged("AttemptTicket", func(ctx context.Context) error {
			got, err := a.AttemptTicket(ctx, "k", "t1", start)
			require.Equal(t, "a 1", fmt.Sprint(string(got.Body), " ", got.Attempts))
			return err
		})
		unchanged("ConsumeTicket", func(ctx context.Context) error { return a.ConsumeTicket(ctx, "k", "t1", start) })
		unchanged("DeleteTickets", func(ctx context.Context) error { return a.DeleteTickets(ctx, "id-ann") })
		unchanged("DeleteExpiredTickets", func(ctx context.Context) error {
			n, err := a.DeleteExpiredTickets(ctx, at.Add(time.Hour), 1)
			require.Equal(t, 1, n)
			return err
		})
		unchanged("DeleteExpired", func(ctx context.Context) error {
			x := session(a, "old", 31)
			x.ExpiresAt = start.Add(time.Minute)
			require.NoError(t, a.CreateSession(ctx, x, 50))
			n, err := a.DeleteExpired(ctx, at, start.Add(time.Minute), 1)
			require.Equal(t, 2, n, "a session, and the oldest revocation")
			return err
		})
		unchanged("RevokeSessions", func(ctx context.Context) error { return a.RevokeSessions(ctx, "id-ann", "", at) })
		list, err = a.SessionsByUser(ctx, "id-ann")
		require.NoError(t, err)
		require.Empty(t, list)
		unchanged("DeleteUser", func(ctx context.Context) error { return a.DeleteUser(ctx, "id-ann", "") })
		require.NoError(t, a.CreateUser(ctx, userNamed("eve")))
		unchanged("DeleteUser that keeps a role", func(ctx context.Context) error { return a.DeleteUser(ctx, "id-bob", "user") })
	})
}
