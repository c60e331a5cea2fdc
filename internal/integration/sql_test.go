package integration_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/sqlstore"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)

func userNamed(name string) authkit.StoredUser {
	return authkit.StoredUser{
		User:         authkit.User{ID: "id-" + name, Email: name + "@example.com", FullName: name, Roles: []string{"user"}, CreatedAt: start, UpdatedAt: start},
		PasswordHash: "hash of " + authkit.PasswordHash(name),
	}
}

func sessionNamed(name, userID string) authkit.StoredSession {
	return authkit.StoredSession{
		Session:   authkit.Session{ID: name, UserID: userID, CreatedAt: start, LastUsedAt: start, ExpiresAt: start.Add(time.Hour), AbsoluteExpiresAt: start.Add(time.Hour)},
		TokenHash: [32]byte{1},
	}
}

func ticketNamed(name, subject string) authkit.Ticket {
	return authkit.Ticket{Kind: "test", ID: name, Subject: subject, Hash: [32]byte{2}, Body: []byte(name), MaxAttempts: 1000, CreatedAt: start, ExpiresAt: start.Add(time.Hour)}
}

// An account and a row of the host's are committed together and rolled back together, and what
// the store refuses leaves the transaction usable.
func TestHostTransaction(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db, _ := d.open(t)
		store := storeOn(t, db, d, nil)
		mustExec(t, db, "CREATE TABLE profiles (user_id varchar(64) PRIMARY KEY)")
		ctx := t.Context()
		profile := func(q interface {
			ExecContext(context.Context, string, ...any) (sql.Result, error)
		}, id string) error {
			_, err := q.ExecContext(ctx, "INSERT INTO profiles (user_id) VALUES ('"+id+"')")
			return err
		}
		profiles := func() (n int) {
			require.NoError(t, db.QueryRowContext(ctx, "SELECT COUNT(*) FROM profiles").Scan(&n))
			return n
		}
		signUp := func(end func(*sql.Tx) error) authkit.StoredUser {
			u := userNamed(fmt.Sprint("user", time.Now().UnixNano()))
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			ctx := store.WithTx(ctx, tx)
			require.NoError(t, store.CreateUser(ctx, u))
			require.NoError(t, profile(tx, u.ID))
			require.NoError(t, store.CreateSession(ctx, sessionNamed("s"+u.ID, u.ID), 5))
			got, err := store.UserByID(ctx, u.ID)
			require.NoError(t, err, "what the transaction wrote, it sees")
			require.Equal(t, u.Email, got.Email)
			require.NoError(t, end(tx))
			return u
		}

		kept := signUp((*sql.Tx).Commit)
		_, err := store.UserByID(ctx, kept.ID)
		require.NoError(t, err)
		_, err = store.SessionByID(ctx, "s"+kept.ID)
		require.NoError(t, err)
		require.Equal(t, 1, profiles())

		gone := signUp((*sql.Tx).Rollback)
		_, err = store.UserByID(ctx, gone.ID)
		require.ErrorIs(t, err, authkit.ErrUserNotFound)
		_, err = store.SessionByID(ctx, "s"+gone.ID)
		require.ErrorIs(t, err, authkit.ErrSessionNotFound)
		require.Equal(t, 1, profiles())

		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		in := store.WithTx(ctx, tx)
		second := userNamed("second")
		second.Email = kept.Email
		require.ErrorIs(t, store.CreateUser(in, second), authkit.ErrEmailTaken)
		other := userNamed("other")
		require.NoError(t, store.CreateUser(in, other))
		_, err = store.UpdateUser(in, other.ID, authkit.UserUpdate{Email: &kept.Email, FullName: new("Not kept")}, start)
		require.ErrorIs(t, err, authkit.ErrEmailTaken)
		_, err = store.UpdateUser(in, other.ID, authkit.UserUpdate{Email: new("new@example.com")}, start)
		require.NoError(t, err)
		_, err = store.UserByID(in, "nobody")
		require.ErrorIs(t, err, authkit.ErrUserNotFound)
		require.Error(t, store.CreateSession(in, sessionNamed("s"+kept.ID, other.ID), 1), "the ID exists")
		require.NoError(t, store.RevokeSessions(in, kept.ID, "", start))
		require.NoError(t, profile(tx, other.ID))
		require.ErrorContains(t, store.Migrate(in), "carries a transaction")
		require.NoError(t, tx.Commit())
		got, err := store.UserByEmail(ctx, "new@example.com")
		require.NoError(t, err)
		require.Equal(t, "other", got.FullName)
		require.Equal(t, 2, profiles())
		_, err = store.SessionByID(ctx, "s"+kept.ID)
		require.ErrorIs(t, err, authkit.ErrSessionNotFound)
	})
}

// A Kit logs in, and registers, in a transaction of the host's.
func TestKitInHostTransaction(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db, _ := d.open(t)
		store := storeOn(t, db, d, nil)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		ctx := store.WithTx(t.Context(), tx)
		kit := newKit(t, store, store)
		u, err := kit.CreateUser(ctx, authkit.User{Email: "ann@example.com"}, password)
		require.NoError(t, err)
		_, err = kit.Login(ctx, u.Email, password)
		require.NoError(t, err)
		require.NoError(t, tx.Rollback())
		_, err = store.UserByID(t.Context(), u.ID)
		require.ErrorIs(t, err, authkit.ErrUserNotFound)
		_, err = store.UserByID(ctx, u.ID)
		require.ErrorIs(t, err, sql.ErrTxDone)
	})
}

const (
	password = "correct horse battery"
	secret   = "0d7fa9c4e1b2835f96a0c7d4e8b1f352"
)

func newKit(t testing.TB, users authkit.UserStore, sessions authkit.SessionStore, change ...func(*authkit.Config)) *authkit.Kit {
	t.Helper()
	cfg := authkit.Config{
		Secret: []byte(secret), Users: users, Sessions: authkit.SessionConfig{Store: sessions},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Schemes(authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, authkit.PBKDF2SHA256{})},
		Logger:    slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	kit, err := authkit.New(cfg)
	require.NoError(t, err)
	return kit
}

// A store sees the rows of its own tenant, whatever is asked. Every method of both interfaces has
// to be in the table.
func TestTenants(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db, _ := d.open(t)
		a, b := storeOn(t, db, d, &sqlstore.Options{Tenant: "a"}), storeOn(t, db, d, &sqlstore.Options{Tenant: "b"})
		none := storeOn(t, db, d, nil)
		ctx := t.Context()
		u, x := userNamed("ann"), sessionNamed("session", "id-ann")
		fill := func(s *sqlstore.DB, name string) {
			mine, session := u, x
			mine.FullName, session.Device = name, name
			require.NoError(t, s.CreateUser(ctx, mine), "the same ID and e-mail, of another tenant")
			require.NoError(t, s.CreateSession(ctx, session, 1))
			require.NoError(t, s.RevokeSessions(ctx, "someone of "+name, "", start))
			require.NoError(t, s.PutTicket(ctx, ticketNamed("ticket", name)))
			require.NoError(t, auditsql.New(s).AppendAudit(ctx, []audit.Entry{{Seq: 1, ActorID: u.ID, ClientSalt: []byte("salt"), Route: name}}))
		}
		fill(b, "b")
		fill(none, "none")

		attempts := map[string]int{}

		// b's are as they were, after everything that a does.
		untouched := func(t *testing.T) {
			t.Helper()
			for name, s := range map[string]*sqlstore.DB{"b": b, "none": none} {
				got, err := s.UserByID(ctx, u.ID)
				require.NoError(t, err)
				require.Equal(t, name, got.FullName)
				require.Equal(t, u.PasswordHash, got.PasswordHash)
				session, err := s.SessionByID(ctx, x.ID)
				require.NoError(t, err)
				require.Equal(t, name, session.Device)
				require.Equal(t, x.TokenHash, session.TokenHash)
				revoked, err := s.Revocations(ctx, time.Time{})
				require.NoError(t, err)
				require.Len(t, revoked, 1)
				ticket, err := s.AttemptTicket(ctx, "test", "ticket", start)
				require.NoError(t, err)
				attempts[name]++
				require.Equal(t, attempts[name], ticket.Attempts)
				require.Equal(t, name, ticket.Subject)
				entries, err := auditsql.New(s).AuditEntries(ctx, audit.Query{Limit: 10})
				require.NoError(t, err)
				require.Len(t, entries, 1)
				require.Equal(t, name+" of "+u.ID, entries[0].Route+" of "+entries[0].ActorID)
			}
		}
		methods := map[string]func(t *testing.T){
			"UserByID": func(t *testing.T) { _, err := a.UserByID(ctx, u.ID); require.ErrorIs(t, err, authkit.ErrUserNotFound) },
			"UserByEmail": func(t *testing.T) {
				_, err := a.UserByEmail(ctx, u.Email)
				require.ErrorIs(t, err, authkit.ErrUserNotFound)
			},
			"ListUsers": func(t *testing.T) {
				list, err := a.ListUsers(ctx, authkit.UserQuery{Limit: 10})
				require.NoError(t, err)
				require.Empty(t, list)
			},
			"CountUsers": func(t *testing.T) {
				n, err := a.CountUsers(ctx, authkit.UserQuery{})
				require.NoError(t, err)
				require.Zero(t, n)
			},
			"UpdateUser": func(t *testing.T) {
				_, err := a.UpdateUser(ctx, u.ID, authkit.UserUpdate{FullName: new("of a")}, start)
				require.ErrorIs(t, err, authkit.ErrUserNotFound)
			},
			"DeleteUser": func(t *testing.T) { require.ErrorIs(t, a.DeleteUser(ctx, u.ID, ""), authkit.ErrUserNotFound) },
			"CreateUser": func(t *testing.T) {
				require.NoError(t, a.CreateUser(ctx, u), "taken by another tenant is not taken")
				require.NoError(t, a.DeleteUser(ctx, u.ID, ""))
			},
			"SessionByID": func(t *testing.T) {
				_, err := a.SessionByID(ctx, x.ID)
				require.ErrorIs(t, err, authkit.ErrSessionNotFound)
			},
			"SessionUser": func(t *testing.T) {
				_, _, err := a.SessionUser(ctx, x.ID)
				require.ErrorIs(t, err, authkit.ErrSessionNotFound)
			},
			"PutTicket": func(t *testing.T) {
				require.NoError(t, a.PutTicket(ctx, ticketNamed("ticket", "b")), "and voids no ticket of another tenant")
				require.NoError(t, a.DeleteTickets(ctx, "b"))
			},
			"AttemptTicket": func(t *testing.T) {
				_, err := a.AttemptTicket(ctx, "test", "ticket", start)
				require.ErrorIs(t, err, authkit.ErrTicketNotFound)
			},
			"ConsumeTicket": func(t *testing.T) {
				require.ErrorIs(t, a.ConsumeTicket(ctx, "test", "ticket", start), authkit.ErrTicketNotFound)
			},
			"DeleteTickets": func(t *testing.T) { require.NoError(t, a.DeleteTickets(ctx, "b")) },
			"DeleteExpiredTickets": func(t *testing.T) {
				n, err := a.DeleteExpiredTickets(ctx, start.AddDate(1, 0, 0), 1000)
				require.NoError(t, err)
				require.Zero(t, n)
			},
			"SessionsByUser": func(t *testing.T) {
				list, err := a.SessionsByUser(ctx, u.ID)
				require.NoError(t, err)
				require.Empty(t, list)
			},
			"RotateSession": func(t *testing.T) {
				_, rotated, err := a.RotateSession(ctx, x.ID, authkit.Rotation{Old: x.TokenHash, New: [32]byte{9}, At: start, ExpiresAt: start})
				require.ErrorIs(t, err, authkit.ErrSessionNotFound)
				require.False(t, rotated)
			},
			"RevokeSession": func(t *testing.T) {
				revoked, err := a.RevokeSession(ctx, u.ID, x.ID, start)
				require.NoError(t, err)
				require.False(t, revoked)
			},
			"RevokeSessions": func(t *testing.T) {
				require.NoError(t, a.RevokeSessions(ctx, u.ID, "", start))
				require.NoError(t, a.RevokeSessions(ctx, u.ID, "another", start))
			},
			"CreateSession": func(t *testing.T) {
				require.NoError(t, a.CreateSession(ctx, x, 1), "and nobody else's is one too many")
				_, err := a.RevokeSession(ctx, u.ID, x.ID, start)
				require.NoError(t, err)
			},
			"Revocations": func(t *testing.T) {
				list, err := a.Revocations(ctx, time.Time{})
				require.NoError(t, err)
				for _, r := range list {
					require.Equal(t, u.ID, r.UserID)
				}
			},
			"AppendAudit": func(t *testing.T) {
				require.NoError(t, auditsql.New(a).AppendAudit(ctx, []audit.Entry{{Seq: 1, ActorID: u.ID}}), "taken by another tenant is not taken")
			},
			"AuditEntries": func(t *testing.T) {
				for _, q := range []audit.Query{{Limit: 10}, {Limit: 10, UserID: u.ID}} {
					list, err := auditsql.New(a).AuditEntries(ctx, q)
					require.NoError(t, err)
					for _, e := range list {
						require.Empty(t, e.Route, "an entry of another tenant")
					}
				}
			},
			"EraseAudit": func(t *testing.T) {
				_, err := auditsql.New(a).EraseAudit(ctx, u.ID)
				require.NoError(t, err)
			},
			"DeleteExpired": func(t *testing.T) {
				_, err := a.DeleteExpired(ctx, start.AddDate(1, 0, 0), start.AddDate(1, 0, 0), 1000)
				require.NoError(t, err)
			},
		}
		for _, of := range []reflect.Type{
			reflect.TypeFor[authkit.UserStore](), reflect.TypeFor[authkit.SessionStore](), reflect.TypeFor[authkit.SessionUserStore](),
			reflect.TypeFor[authkit.TicketStore](), reflect.TypeFor[audit.Store](),
		} {
			for m := range of.NumMethod() {
				name := of.Method(m).Name
				try := methods[name]
				require.NotNil(t, try, "%s is not in the table", name)
				t.Run(name, func(t *testing.T) {
					try(t)
					untouched(t)
				})
			}
		}
	})
}

// ST-09: migrations run once, however many start at the same time, and change nothing when there
// is nothing to do.
func TestMigrate(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db, again := d.open(t)
		s, err := sqlstore.Open(db, d.dialect, nil)
		require.NoError(t, err)
		pending, err := s.Pending(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"0001_users.sql", "0002_sessions.sql", "0003_proofs.sql", "0004_tickets.sql"}, pending)
		_, err = s.UserByID(t.Context(), "x")
		require.Error(t, err, "no schema yet")
		require.NotErrorIs(t, err, authkit.ErrUserNotFound)

		var starters sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			other, err := sqlstore.Open(again(t), d.dialect, nil)
			require.NoError(t, err)
			starters.Go(func() { errs[i] = other.Migrate(context.Background()) })
		}
		starters.Wait()
		require.NoError(t, errors.Join(errs...))
		pending, err = s.Pending(t.Context())
		require.NoError(t, err)
		require.Empty(t, pending)

		require.NoError(t, s.CreateUser(t.Context(), userNamed("ann")))
		require.NoError(t, s.Migrate(t.Context()))
		_, err = s.UserByID(t.Context(), "id-ann")
		require.NoError(t, err)

		// A newer program has been here: what it added is none of ours.
		mustExec(t, db, "INSERT INTO authkit_migrations (name) VALUES ('9999_later.sql')")
		require.NoError(t, s.Migrate(t.Context()))
		pending, err = s.Pending(t.Context())
		require.NoError(t, err)
		require.Empty(t, pending)

		// What was half done in a database that cannot take it back is gone on with.
		mustExec(t, db, "DELETE FROM authkit_migrations WHERE name = '0002_sessions.sql'")
		require.NoError(t, s.Migrate(t.Context()))
		_, err = s.UserByID(t.Context(), "id-ann")
		require.NoError(t, err)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, s.Migrate(ctx))
		require.NoError(t, s.Migrate(t.Context()), "no lock is left behind")
	})
}

// Two stores beside each other in one database, with other names.
func TestPrefixAndSchema(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db, _ := d.open(t)
		plain, prefixed := storeOn(t, db, d, nil), storeOn(t, db, d, &sqlstore.Options{TablePrefix: "other_"})
		require.NoError(t, plain.CreateUser(t.Context(), userNamed("ann")))
		require.NoError(t, prefixed.CreateUser(t.Context(), userNamed("ann")))
		require.NoError(t, prefixed.DeleteUser(t.Context(), "id-ann", ""))
		_, err := plain.UserByID(t.Context(), "id-ann")
		require.NoError(t, err)
		if d.dialect != sqlstore.Postgres {
			return
		}
		var schema string
		require.NoError(t, db.QueryRow("SELECT current_schema()").Scan(&schema))
		mustExec(t, db, "CREATE SCHEMA "+schema+"_x")
		t.Cleanup(func() { mustExec(t, db, "DROP SCHEMA "+schema+"_x CASCADE") })
		elsewhere := storeOn(t, db, d, &sqlstore.Options{Schema: schema + "_x"})
		require.NoError(t, elsewhere.Migrate(t.Context()))
		_, err = elsewhere.UserByID(t.Context(), "id-ann")
		require.ErrorIs(t, err, authkit.ErrUserNotFound)
		require.NoError(t, elsewhere.CreateUser(t.Context(), userNamed("ann")))
		require.NoError(t, elsewhere.CreateSession(t.Context(), sessionNamed("s", "id-ann"), 1))
		require.NoError(t, elsewhere.RevokeSessions(t.Context(), "id-ann", "", start))
		_, err = elsewhere.DeleteExpired(t.Context(), start, start, 10)
		require.NoError(t, err)
		var n int
		require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM "+schema+"_x.authkit_users").Scan(&n))
		require.Equal(t, 1, n)
	})
}

// A pool of one connection is enough, for any number of callers and for a migration.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db, _ := d.open(t)
		db.SetMaxOpenConns(1)
		s := storeOn(t, db, d, nil)
		require.NoError(t, s.CreateUser(t.Context(), userNamed("ann")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var callers sync.WaitGroup
		var failed atomic.Value
		for i := range 64 {
			callers.Go(func() {
				id := fmt.Sprint("session", i)
				_, err1 := s.UserByEmail(ctx, "ann@example.com")
				err2 := s.CreateSession(ctx, sessionNamed(id, "id-ann"), 5)
				_, err3 := s.UpdateUser(ctx, "id-ann", authkit.UserUpdate{FullName: &id}, start)
				_, err4 := s.DeleteExpired(ctx, start, start, 10)
				if err := errors.Join(err1, err2, err3, err4, s.RevokeSessions(ctx, "id-"+id, "", start)); err != nil {
					failed.Store(err)
				}
			})
		}
		callers.Wait()
		require.Nil(t, failed.Load())
		list, err := s.SessionsByUser(ctx, "id-ann")
		require.NoError(t, err)
		require.Len(t, list, 5)
	})
}

// RE-10: two programs on one database are as one.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db, again := d.open(t)
		one := storeOn(t, db, d, nil)
		two := storeOn(t, again(t), d, nil)
		kits := []*authkit.Kit{newKit(t, one, one), newKit(t, two, two)}
		u, err := kits[0].CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
		require.NoError(t, err)
		for range 10 {
			token, err := kits[1].Login(t.Context(), u.Email, password)
			require.NoError(t, err)
			var both sync.WaitGroup
			var next [2]authkit.Token
			var errs [2]error
			for i, kit := range kits {
				both.Go(func() { next[i], errs[i] = kit.Refresh(context.Background(), token.RefreshToken) })
			}
			both.Wait()
			require.NoError(t, errors.Join(errs[:]...))
			require.Equal(t, next[0].RefreshToken, next[1].RefreshToken, "the session has forked")
		}
		sessions, err := kits[0].Sessions(t.Context(), u.ID)
		require.NoError(t, err)
		require.Len(t, sessions, 10)
		require.NoError(t, kits[0].LogoutEverywhere(t.Context(), u.ID))
		sessions, err = kits[1].Sessions(t.Context(), u.ID)
		require.NoError(t, err)
		require.Empty(t, sessions)
	})
}

// TestStoredTexts asserts what a database cannot store, or reads otherwise.
func TestStoredTexts(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		ctx := t.Context()
		for _, bad := range []string{"a\x00b", "a\xffb"} {
			for _, change := range []func(*authkit.StoredUser){
				func(u *authkit.StoredUser) { u.ID = bad }, func(u *authkit.StoredUser) { u.Email = bad }, func(u *authkit.StoredUser) { u.FullName = bad },
				func(u *authkit.StoredUser) { u.PasswordHash = authkit.PasswordHash(bad) }, func(u *authkit.StoredUser) { u.Roles = []string{bad} },
			} {
				u := userNamed("bad")
				change(&u)
				err := s.CreateUser(ctx, u)
				require.Error(t, err)
				require.NotContains(t, err.Error(), bad)
			}
			_, err := s.UserByEmail(ctx, bad)
			require.ErrorIs(t, err, authkit.ErrUserNotFound)
			_, err = s.SessionsByUser(ctx, bad)
			require.NoError(t, err)
		}
		require.Error(t, s.CreateUser(ctx, authkit.StoredUser{}))
		require.Error(t, s.CreateSession(ctx, authkit.StoredSession{}, 1))
		list, err := s.ListUsers(ctx, authkit.UserQuery{Limit: 10})
		require.NoError(t, err)
		require.Empty(t, list)

		// IDs that a collation would take for each other, in the order of their bytes.
		var ids []string
		for i, id := range []string{"a", "A", "a ", "ä", "a1", "_", "Z", "~", "0", "ß", "ss", "\U0001f511"} {
			u := userNamed(fmt.Sprint("n", i))
			u.ID = id
			require.NoError(t, s.CreateUser(ctx, u))
			ids = append(ids, id)
		}
		slices.Sort(ids)
		list, err = s.ListUsers(ctx, authkit.UserQuery{Limit: 100})
		require.NoError(t, err)
		for i, u := range list {
			require.Equal(t, ids[i], u.ID)
		}
		require.Len(t, list, len(ids))
	})
}

// The errors of a driver do not tell what was stored.
func TestErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		require.NoError(t, s.CreateUser(t.Context(), userNamed("ann")))
		u := userNamed("ann")
		u.Email = "other@example.com"
		err := s.CreateUser(t.Context(), u) // the ID exists
		require.Error(t, err)
		require.NotErrorIs(t, err, authkit.ErrEmailTaken)
		require.NotContains(t, err.Error(), string(u.PasswordHash))
		require.True(t, strings.HasPrefix(err.Error(), "sqlstore: "), err)
	})
}
