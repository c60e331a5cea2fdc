package sqlstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

var (
	errOwn = errors.New("the function gives up")
	now    = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
)

// begins is how each database begins a transaction of InTx.
var begins = map[sqlstore.Dialect]string{
	sqlstore.SQLite: "BEGIN IMMEDIATE", sqlstore.Postgres: "BEGIN READ COMMITTED", sqlstore.MySQL: "BEGIN READ COMMITTED",
}

// inEach runs a test on each dialect, with time that does not pass by itself.
func inEach(t *testing.T, test func(t *testing.T, d sqlstore.Dialect)) {
	t.Helper()
	for _, d := range dialects {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(t, d) })
		})
	}
}

// TestInTxEnds asserts which transactions are committed, which are rolled back,
// and which are tried again.
func TestInTxEnds(t *testing.T) {
	t.Parallel()
	deadlock := sqlState("40001")
	for name, tc := range map[string]struct {
		failing string // what fails
		with    error
		f       func(ctx context.Context, db *sqlstore.DB) error
		ends    string // how each transaction ends
		tries   int
		want    error
		text    string // of the error
	}{
		"it returns nil": {
			f:    func(ctx context.Context, db *sqlstore.DB) error { return run(ctx, db) },
			ends: "COMMIT", tries: 1,
		},
		"it fails": {
			f:    func(context.Context, *sqlstore.DB) error { return errOwn },
			ends: "ROLLBACK", tries: 1, want: errOwn, text: errOwn.Error(),
		},
		"it returns a deadlock": {
			f:    func(context.Context, *sqlstore.DB) error { return deadlock },
			ends: "ROLLBACK", tries: 5, want: deadlock,
		},
		"it hides a deadlock": {
			failing: "UPDATE", with: deadlock,
			f: func(ctx context.Context, db *sqlstore.DB) error {
				require.ErrorIs(t, run(ctx, db), deadlock)
				require.ErrorIs(t, run(ctx, db), deadlock, "nothing more is run")
				return nil
			},
			ends: "ROLLBACK", tries: 5, want: deadlock, text: "sqlstore: the transaction was rolled back, since a part of it failed",
		},
		"it returns another error after a deadlock": {
			failing: "UPDATE", with: deadlock,
			f: func(ctx context.Context, db *sqlstore.DB) error {
				require.ErrorIs(t, run(ctx, db), deadlock)
				return errOwn
			},
			ends: "ROLLBACK", tries: 5, want: errOwn,
		},
		"it hides another error": {
			failing: "UPDATE", with: sqlState("23505"),
			f: func(ctx context.Context, db *sqlstore.DB) error {
				require.ErrorIs(t, run(ctx, db), sqlState("23505"))
				return nil
			},
			ends: "COMMIT", tries: 1,
		},
		"it hides that a part fails": {
			f: func(ctx context.Context, db *sqlstore.DB) error {
				part := func(err error) error { return db.InTx(ctx, func(context.Context) error { return err }) }
				require.NoError(t, part(nil))
				require.ErrorIs(t, part(errOwn), errOwn)
				require.ErrorIs(t, part(deadlock), deadlock)
				require.NoError(t, part(nil))
				return nil
			},
			ends: "ROLLBACK", tries: 1, want: errOwn, text: "sqlstore: the transaction was rolled back, since a part of it failed: the function gives up",
		},
		"it hides that a part panics": {
			f: func(ctx context.Context, db *sqlstore.DB) error {
				require.Panics(t, func() { _ = db.InTx(ctx, func(context.Context) error { panic("oops") }) })
				return nil
			},
			ends: "ROLLBACK", tries: 1, text: "sqlstore: the transaction was rolled back, since a part of it failed: a function panicked",
		},
		"it hides that a part fails, and one panics": {
			f: func(ctx context.Context, db *sqlstore.DB) error {
				require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { return errOwn }), errOwn)
				require.Panics(t, func() { _ = db.InTx(ctx, func(context.Context) error { panic("oops") }) })
				return nil
			},
			ends: "ROLLBACK", tries: 1, want: errOwn,
		},
		"the commit fails": {
			failing: "COMMIT", with: sqlState("08006"),
			f:    func(context.Context, *sqlstore.DB) error { return nil },
			ends: "COMMIT", tries: 1, want: sqlState("08006"), text: "sqlstore: ",
		},
		"the commit is a deadlock": {
			failing: "COMMIT", with: deadlock,
			f:    func(context.Context, *sqlstore.DB) error { return nil },
			ends: "COMMIT", tries: 5, want: deadlock, text: "sqlstore: ",
		},
		"it does not begin": {
			failing: "BEGIN", with: sqlState("08006"),
			f:     func(context.Context, *sqlstore.DB) error { panic("there is no transaction") },
			tries: 1, want: sqlState("08006"), text: "sqlstore: ",
		},
		"it does not begin, by a deadlock": {
			failing: "BEGIN", with: deadlock,
			f:     func(context.Context, *sqlstore.DB) error { panic("there is no transaction") },
			tries: 5, want: deadlock, text: "sqlstore: ",
		},
		"there is no connection": {
			failing: "CONNECT", with: errOwn,
			f:     func(context.Context, *sqlstore.DB) error { panic("there is no transaction") },
			tries: 0, want: errOwn, text: "sqlstore: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEach(t, func(t *testing.T, d sqlstore.Dialect) {
				s := &script{}
				if tc.failing != "" {
					s.answer = failing(tc.failing, tc.with)
				}
				db, pool := s.openPool(t, d, nil)
				err := db.InTx(t.Context(), func(ctx context.Context) error { return tc.f(ctx, db) })
				switch {
				case tc.want == nil && tc.text == "":
					require.NoError(t, err)
				case tc.text == errOwn.Error():
					require.Equal(t, errOwn, err, "it is the error of the function")
				default:
					require.ErrorContains(t, err, tc.text)
					require.True(t, tc.want == nil || errors.Is(err, tc.want), err)
				}
				log := s.statements()
				require.Equal(t, tc.tries, count(log, begins[d]), "%v", log)
				commits, rollbacks := 0, 0
				switch tc.ends {
				case "COMMIT":
					commits = tc.tries
				case "ROLLBACK":
					rollbacks = tc.tries
				}
				require.Equal(t, commits, count(log, "COMMIT"), "%v", log)
				if tc.failing == "" || tc.ends == "ROLLBACK" {
					require.Equal(t, rollbacks, count(log, "ROLLBACK"), "%v", log)
				}
				require.Zero(t, pool.Stats().InUse, "every connection is given back")
			})
		})
	}
}

func run(ctx context.Context, db *sqlstore.DB) error {
	_, err := db.Exec(ctx, change)
	return err
}

// TestInTxPanics asserts that a panic takes back what was done, and passes.
func TestInTxPanics(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		s := &script{}
		db, pool := s.openPool(t, d, nil)
		require.PanicsWithValue(t, "oops", func() {
			_ = db.InTx(t.Context(), func(ctx context.Context) error {
				require.NoError(t, run(ctx, db))
				panic("oops")
			})
		})
		log := s.statements()
		require.Equal(t, "ROLLBACK", log[len(log)-1])
		require.Zero(t, count(log, "COMMIT"))
		require.Zero(t, pool.Stats().InUse)
		require.NoError(t, run(t.Context(), db), "no lock is left behind")
	})
}

// TestInTxCancelled asserts that nothing is committed for a caller that has
// gone, and that a commit under way is waited for.
func TestInTxCancelled(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &script{}
		db, pool := s.openPool(t, d, nil)
		err := db.InTx(ctx, func(context.Context) error { cancel(); return nil })
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		log := s.statements()
		require.Equal(t, 1, count(log, "ROLLBACK"), "%v", log)
		require.Zero(t, count(log, "COMMIT"))
		require.Zero(t, pool.Stats().InUse)

		ctx, cancel = context.WithCancel(t.Context())
		s.answer = func(_ context.Context, query string, _ []any) reply {
			if query == "COMMIT" {
				cancel()
				time.Sleep(time.Second / 2)
			}
			return reply{}
		}
		require.NoError(t, db.InTx(ctx, func(context.Context) error { return nil }))
		synctest.Wait()
		log = s.statements()
		require.Equal(t, 1, count(log, "COMMIT"))
		require.Zero(t, count(log, "ROLLBACK"), "%v", log)
	})
}

// TestBrokenConnection asserts that a connection of SQLite whose transaction may
// go on is not used for another one.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	for text, closed := range map[string]int{
		"cannot rollback - no transaction is active": 0,
		"disk I/O error": 1,
	} {
		s := &script{answer: failing("ROLLBACK", errors.New(text))}
		db := s.open(t, sqlstore.SQLite, nil)
		require.ErrorIs(t, db.InTx(t.Context(), func(context.Context) error { return errOwn }), errOwn)
		require.Equal(t, closed, count(s.statements(), "DISCONNECT"), text)
	}
	s := &script{}
	db := s.open(t, sqlstore.SQLite, nil)
	require.ErrorIs(t, db.InTx(t.Context(), func(context.Context) error { return errOwn }), errOwn)
	require.Equal(t, []string{"BEGIN IMMEDIATE", "ROLLBACK"}, s.statements(), "the connection is kept")

	s.answer = failing("COMMIT", sqliteCode(19))
	require.ErrorIs(t, db.InTx(t.Context(), func(context.Context) error { return nil }), sqliteCode(19))
	require.Equal(t, []string{"BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"}, s.statements())

	s.answer = failing("BEGIN", sqliteCode(19))
	require.ErrorIs(t, db.InTx(t.Context(), func(context.Context) error { return nil }), sqliteCode(19))
	require.Equal(t, []string{"BEGIN IMMEDIATE", "ROLLBACK"}, s.statements())
}

// hosted runs f in a transaction of the program, and returns its statements.
func hosted(t *testing.T, s *script, d sqlstore.Dialect, f func(ctx context.Context, db *sqlstore.DB)) []string {
	t.Helper()
	db, pool := s.openPool(t, d, nil)
	tx, err := pool.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	f(db.WithTx(t.Context(), tx), db)
	_ = tx.Rollback()
	log := s.statements()
	return log[1 : len(log)-1] // without BEGIN and ROLLBACK
}

// TestHostSavepoint asserts what InTx does in a transaction of the program.
func TestHostSavepoint(t *testing.T) {
	t.Parallel()
	const begin, release, undo = "SAVEPOINT authkit", "RELEASE SAVEPOINT authkit", "ROLLBACK TO SAVEPOINT authkit"
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		log := hosted(t, &script{}, d, func(ctx context.Context, db *sqlstore.DB) {
			require.NoError(t, db.InTx(ctx, func(context.Context) error { return nil }))
			require.Equal(t, errOwn, db.InTx(ctx, func(context.Context) error { return errOwn }))
			require.Panics(t, func() { _ = db.InTx(ctx, func(context.Context) error { panic("oops") }) })
			err := db.InTx(ctx, func(ctx context.Context) error {
				require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { return errOwn }), errOwn)
				return nil
			})
			require.ErrorIs(t, err, errOwn, "a part of it has failed")
			require.NoError(t, db.InTx(ctx, func(context.Context) error { return nil }), "the transaction is usable")
		})
		require.Equal(t, []string{begin, release, begin, undo, release, begin, undo, release, begin, undo, release, begin, release}, log)

		// After a deadlock the database has ended the transaction.
		for _, hidden := range []bool{false, true} {
			log = hosted(t, &script{answer: failing("UPDATE", sqlState("40001"))}, d, func(ctx context.Context, db *sqlstore.DB) {
				require.ErrorIs(t, db.InTx(ctx, func(ctx context.Context) error {
					err := run(ctx, db)
					if hidden {
						return nil
					}
					return err
				}), sqlState("40001"))
				require.ErrorIs(t, run(ctx, db), sqlState("40001"))
				require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { panic("it is over") }), sqlState("40001"))
				require.ErrorIs(t, db.CreateUsers(ctx, []authkit.StoredUser{named("ann")}), sqlState("40001"))
			})
			require.Len(t, log, 2, "the savepoint and the update: %v", log)
		}

		for _, broken := range []string{undo, release} {
			log = hosted(t, &script{answer: failing(broken, sqlState("08006"))}, d, func(ctx context.Context, db *sqlstore.DB) {
				require.Equal(t, errOwn, db.InTx(ctx, func(context.Context) error { return errOwn }))
				require.ErrorIs(t, run(ctx, db), sqlState("08006"), "what could not be undone must not be committed")
			})
			require.Zero(t, count(log, "UPDATE"))
		}
		hosted(t, &script{answer: failing(release, sqlState("08006"))}, d, func(ctx context.Context, db *sqlstore.DB) {
			require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { return nil }), sqlState("08006"))
		})
		hosted(t, &script{answer: failing(begin, sqlState("08006"))}, d, func(ctx context.Context, db *sqlstore.DB) {
			require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { panic("there is no savepoint") }), sqlState("08006"))
		})
	})
}

// TestWithoutTransaction asserts that a nil transaction is refused, and not
// taken for none.
func TestWithoutTransaction(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		s := &script{}
		db := s.open(t, d, nil)
		ctx := db.WithTx(t.Context(), nil)
		require.ErrorContains(t, run(ctx, db), "sqlstore: the transaction is nil")
		require.ErrorContains(t, db.InTx(ctx, func(context.Context) error { return nil }), "sqlstore: the transaction is nil")
		require.Empty(t, s.statements())
	}
}

// TestGuardedStatements asserts that a statement that may be refused leaves a
// transaction of Postgres usable, and that no other one costs a savepoint.
func TestGuardedStatements(t *testing.T) {
	t.Parallel()
	const begin, release, undo = "SAVEPOINT authkit_guard", "RELEASE SAVEPOINT authkit_guard", "ROLLBACK TO SAVEPOINT authkit_guard"
	ticket := authkit.Ticket{Kind: "k", ID: "t", CreatedAt: now, ExpiresAt: now}
	plain, foreign := named("ann"), named("bob")
	foreign.FullName = "\u0080" // the first one that is not ASCII
	for name, tc := range map[string]struct {
		do      func(ctx context.Context, db *sqlstore.DB) error
		guarded bool
	}{
		"a ticket": {func(ctx context.Context, db *sqlstore.DB) error { return db.PutTicket(ctx, ticket) }, true},
		"accounts": {func(ctx context.Context, db *sqlstore.DB) error {
			return db.CreateUsers(ctx, []authkit.StoredUser{plain})
		}, true},
		"an account":    {func(ctx context.Context, db *sqlstore.DB) error { return db.CreateUser(ctx, plain) }, false},
		"another name":  {func(ctx context.Context, db *sqlstore.DB) error { return db.CreateUser(ctx, foreign) }, true},
		"a new name":    {updates(authkit.UserUpdate{FullName: &plain.FullName}), false},
		"another new":   {updates(authkit.UserUpdate{FullName: &foreign.FullName}), true},
		"a new address": {updates(authkit.UserUpdate{Email: &plain.Email}), true},
		"a statement":   {run, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEach(t, func(t *testing.T, d sqlstore.Dialect) {
				guards := 0
				if tc.guarded && d == sqlstore.Postgres {
					guards = 1
				}
				log := hosted(t, &script{answer: answers}, d, func(ctx context.Context, db *sqlstore.DB) { require.NoError(t, tc.do(ctx, db)) })
				require.Equal(t, guards, count(log, begin))
				require.Equal(t, guards, count(log, release))
				require.Zero(t, count(log, undo))

				refused := sqlState("23505")
				fail := func(also string) func(context.Context, string, []any) reply {
					return func(ctx context.Context, query string, args []any) reply {
						if strings.HasPrefix(query, "INSERT") || strings.HasPrefix(query, "UPDATE") {
							return reply{err: refused}
						}
						if query == also {
							return reply{err: sqlState("08006")}
						}
						return reply{}
					}
				}
				if d == sqlstore.MySQL {
					return
				}
				log = hosted(t, &script{answer: fail("")}, d, func(ctx context.Context, db *sqlstore.DB) { require.ErrorIs(t, tc.do(ctx, db), refused) })
				require.Equal(t, guards, count(log, undo))
				require.Equal(t, guards, count(log, release))
				if guards == 0 {
					return
				}
				hosted(t, &script{answer: fail(undo)}, d, func(ctx context.Context, db *sqlstore.DB) {
					err := tc.do(ctx, db)
					require.ErrorIs(t, err, refused)
					require.ErrorIs(t, err, sqlState("08006"))
				})
				log = hosted(t, &script{answer: fail(begin)}, d, func(ctx context.Context, db *sqlstore.DB) {
					require.ErrorIs(t, tc.do(ctx, db), sqlState("08006"))
				})
				require.Zero(t, count(log, "INSERT")+count(log, "UPDATE"))

				// Outside of a transaction there is nothing to guard.
				s := &script{answer: answers}
				require.NoError(t, tc.do(t.Context(), s.open(t, d, nil)))
				require.Zero(t, count(s.statements(), begin))
			})
		})
	}
	hosted(t, &script{answer: failing(release, sqlState("40001"))}, sqlstore.Postgres, func(ctx context.Context, db *sqlstore.DB) {
		require.ErrorIs(t, db.PutTicket(ctx, ticket), sqlState("40001"))
		require.ErrorIs(t, run(ctx, db), sqlState("40001"), "the transaction is over")
	})
	hosted(t, &script{answer: failing("INSERT", sqlState("40001"))}, sqlstore.Postgres, func(ctx context.Context, db *sqlstore.DB) {
		require.ErrorIs(t, db.PutTicket(ctx, ticket), sqlState("40001"))
		require.ErrorIs(t, run(ctx, db), sqlState("40001"), "it is over, although the statement was undone")
	})
}

func updates(change authkit.UserUpdate) func(context.Context, *sqlstore.DB) error {
	return func(ctx context.Context, db *sqlstore.DB) error {
		_, err := db.UpdateUser(ctx, "id-ann", change, now)
		return err
	}
}

func named(name string) authkit.StoredUser {
	return authkit.StoredUser{
		User:         authkit.User{ID: "id-" + name, Email: name + "@example.com", FullName: name, Roles: []string{"user"}, CreatedAt: now, UpdatedAt: now},
		PasswordHash: "hash",
	}
}

// answers are those of a database with one account, one session and one ticket.
// It owns the row of each SELECT.
func answers(_ context.Context, query string, _ []any) reply {
	at := now.UnixMicro()
	user := []any{"id-ann", "ann@example.com", "Ann", []byte(`["user"]`), false, "hash", int64(0), at, at, int64(0), int64(0), int64(3)}
	session := []any{"s", "id-ann", "Safari", "192.0.2.1", at, at, at, at, at, []byte(`["pwd"]`)}
	stored := append(session[:len(session):len(session)], make([]byte, 32), make([]byte, 32), at, []byte("next"))
	ticket := []any{"k", "t", "subject", make([]byte, 32), []byte("body"), int64(2), int64(5), at, at}
	for _, known := range []struct {
		part string
		row  []any
	}{
		{"SELECT s.id", append(stored[:len(stored):len(stored)], user...)},
		{"token_hash, parent_hash, rotated_at, successor FROM", stored},
		{"RETURNING id, user_id, device", stored},
		{"SELECT id, user_id, device", session},
		{"SELECT id, email, full_name", user},
		{"RETURNING id, email, full_name", user},
		{"SELECT (SELECT COUNT(*) FROM turn), (SELECT COUNT(*) FROM made)", []any{int64(1), int64(1)}},
		{"SELECT COUNT(*)", []any{int64(1)}},
		{"kind, id, subject, hash, body, attempts, max_attempts, created_at, expires_at FROM", ticket},
		{"RETURNING kind", ticket},
		{"SELECT user_id, session_id, revoked_at", []any{"id-ann", "s", at}},
		{"SELECT roles", []any{[]byte(`["other"]`)}},
		{"SELECT id, email", []any{"id-ann", "ann@example.com"}},
		{"SELECT id", []any{"id-ann"}},
	} {
		if strings.Contains(query, known.part) && (!strings.HasPrefix(query, "INSERT") || strings.HasPrefix(known.part, "RETURNING")) && !strings.HasPrefix(query, "DELETE") {
			return reply{rows: [][]any{known.row}, changed: 1, id: 3}
		}
	}
	return reply{changed: 1, id: 3}
}
