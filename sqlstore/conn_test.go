package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

var dialects = []sqlstore.Dialect{sqlstore.SQLite, sqlstore.Postgres, sqlstore.MySQL}

const change = "UPDATE {users} SET version = 1"

// TestErrorsOfDrivers asserts which errors are tried again, and which mean that
// the database cannot hold a value. Drivers are recognized without an import.
func TestErrorsOfDrivers(t *testing.T) {
	t.Parallel()
	const once, deadlock, locked = 1, 5, 0
	for _, tc := range []struct {
		err        error
		tries      int // 0 for five seconds
		unstorable bool
	}{
		{sqlState("40001"), deadlock, false},
		{sqlState("40P01"), deadlock, false},
		{sqlState("23505"), once, false},
		{sqlState("22001"), once, true},
		{sqlState("22003"), once, true},
		{sqlState("22021"), once, true},
		{sqlState("22P05"), once, true},
		{sqliteCode(5), locked, false},
		{sqliteCode(6), locked, false},
		{sqliteCode(5 | 2<<8), locked, false},
		{sqliteCode(6 | 1<<8), locked, false},
		{sqliteCode(18), once, true},
		{sqliteCode(19), once, false},
		{sqliteCode(19 | 8<<8), once, false},
		{errors.New("database is locked"), locked, false},
		{errors.New("database table is locked: users"), locked, false},
		{errors.New("Error 1213 (40001): Deadlock found when trying to get lock"), deadlock, false},
		{errors.New("Error 1467 (HY000): Failed to read auto-increment value from storage engine"), deadlock, false},
		{errors.New("Error 1205 (HY000): Lock wait timeout exceeded"), deadlock, false},
		{errors.New("Error 1062 (23000): Duplicate entry"), once, false},
		{errors.New("Error 1264 (22003): Out of range value"), once, true},
		{errors.New("Error 1406: Data too long"), once, true},
		{errors.New("Error 14060: another"), once, false},
	} {
		t.Run(fmt.Sprintf("%T %v", tc.err, tc.err), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{answer: failing("UPDATE", tc.err)}
				db := s.open(t, sqlstore.Postgres, nil)
				begun := time.Now()
				_, err := db.Exec(t.Context(), change)
				require.ErrorIs(t, err, tc.err)
				require.Equal(t, 1, strings.Count(err.Error(), "sqlstore: "), err)
				require.Equal(t, tc.unstorable, errors.Is(err, authkit.ErrUnstorable))
				if !tc.unstorable {
					require.Equal(t, tc.err, errors.Unwrap(err))
				}
				tries := count(s.statements(), "UPDATE")
				if tc.tries == locked {
					require.Greater(t, tries, deadlock)
					require.Greater(t, time.Since(begun), 5*time.Second)
					require.Less(t, time.Since(begun), 6*time.Second)
					return
				}
				require.Equal(t, tc.tries, tries)

				failures := 4
				s.answer = func(context.Context, string, []any) reply {
					if failures--; failures >= 0 {
						return reply{err: tc.err}
					}
					return reply{changed: 7}
				}
				n, err := db.Exec(t.Context(), change)
				if tc.tries == once {
					require.ErrorIs(t, err, tc.err)
					require.Equal(t, 3, failures)
					return
				}
				require.NoError(t, err)
				require.EqualValues(t, 7, n)
			})
		})
	}
}

// TestRetryEndsWithTheCaller asserts that the tries end when the caller has gone.
func TestRetryEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &script{answer: func(_ context.Context, query string, _ []any) reply {
			if query == "CONNECT" {
				return reply{}
			}
			cancel()
			return reply{err: sqlState("40001")}
		}}
		db := s.open(t, sqlstore.Postgres, nil)
		_, err := db.Exec(ctx, change)
		require.ErrorIs(t, err, sqlState("40001"))
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, s.statements(), 1)
	})
}

// TestQueryIsTriedAgain asserts that Query passes no row on twice, and that an
// error of the caller's comes back as it is.
func TestQueryIsTriedAgain(t *testing.T) {
	t.Parallel()
	row := [][]any{{int64(1)}, {int64(2)}}
	stop := errors.New("database is locked")
	for name, tc := range map[string]struct {
		first       reply
		each        error
		tries, rows int
		want        error
	}{
		"before the first row":       {reply{err: sqlState("40001")}, nil, 2, 2, nil},
		"instead of rows":            {reply{late: sqlState("40001")}, nil, 2, 2, nil},
		"after rows":                 {reply{rows: row, late: sqlState("40001")}, nil, 1, 2, sqlState("40001")},
		"another error":              {reply{err: sqlState("42601")}, nil, 1, 0, sqlState("42601")},
		"an error of the caller's":   {reply{rows: row}, stop, 1, 1, stop},
		"the same, after a deadlock": {reply{err: sqlState("40P01")}, stop, 2, 1, stop},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tries, rows := 0, 0
				s := &script{}
				s.answer = func(_ context.Context, query string, _ []any) reply {
					if query == "CONNECT" {
						return reply{}
					}
					if tries++; tries == 1 {
						return tc.first
					}
					return reply{rows: row}
				}
				db := s.open(t, sqlstore.Postgres, nil)
				err := db.Query(t.Context(), func(scan func(...any) error) error {
					rows++
					return tc.each
				}, "SELECT version FROM {users}")
				require.ErrorIs(t, err, tc.want)
				if tc.each != nil {
					require.Equal(t, tc.each, err)
				}
				require.Equal(t, tc.tries, tries)
				require.Equal(t, tc.rows, rows)
			})
		})
	}
}

// TestQueryInTx asserts that a query in a transaction runs in that transaction, once.
func TestQueryInTx(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		s := &script{answer: failing("SELECT", sqliteCode(19))}
		db := s.open(t, d, nil)
		require.Error(t, db.InTx(t.Context(), func(ctx context.Context) error {
			return db.Query(ctx, func(func(...any) error) error { return nil }, "SELECT 1")
		}))
		log := s.statements()
		require.Len(t, log, 3, "%v", log)
		require.Equal(t, "SELECT 1", log[1])
		require.Equal(t, "ROLLBACK", log[2])
	}
}

// TestChangeAfterItsCaller asserts that a change ends before its call does: a
// server does not notice that the caller has gone. It has a second for it.
func TestChangeAfterItsCaller(t *testing.T) {
	t.Parallel()
	broken := errors.New("invalid connection")
	for name, tc := range map[string]struct {
		d      sqlstore.Dialect
		query  string
		takes  time.Duration
		err    error // of the driver when its context is done
		inTx   bool
		waited time.Duration
		ok     bool
	}{
		"Postgres, in time":        {sqlstore.Postgres, change, time.Second - 1, nil, false, time.Second - 1, true},
		"MySQL, in time":           {sqlstore.MySQL, change, time.Second - 1, nil, false, time.Second - 1, true},
		"MySQL, too late":          {sqlstore.MySQL, change, time.Minute, context.Canceled, false, time.Second, false},
		"MySQL, another error":     {sqlstore.MySQL, change, time.Minute, broken, false, time.Second, false},
		"Postgres, with RETURNING": {sqlstore.Postgres, change + " RETURNING id", time.Second - 1, nil, false, time.Second - 1, true},
		"Postgres, a read":         {sqlstore.Postgres, "SELECT 1", time.Minute, broken, false, 0, false},
		"SQLite":                   {sqlstore.SQLite, change, time.Minute, context.Canceled, false, 0, false},
		"in a transaction":         {sqlstore.Postgres, change, time.Minute, broken, true, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s := &script{answer: func(on context.Context, query string, _ []any) reply {
					if query != strings.ReplaceAll(tc.query, "{users}", "authkit_users") {
						return reply{}
					}
					cancel()
					select {
					case <-time.After(tc.takes):
						return reply{changed: 1}
					case <-on.Done():
						return reply{err: tc.err}
					}
				}}
				db := s.open(t, tc.d, nil)
				begun := time.Now()
				do := func(ctx context.Context) (err error) {
					if strings.Contains(tc.query, "UPDATE") && !strings.Contains(tc.query, "RETURNING") {
						_, err = db.Exec(ctx, tc.query)
						return err
					}
					return db.Query(ctx, func(func(...any) error) error { return nil }, tc.query)
				}
				var err error
				if tc.inTx {
					err = db.InTx(ctx, do)
				} else {
					err = do(ctx)
				}
				require.Equal(t, tc.waited, time.Since(begun))
				if tc.ok {
					require.NoError(t, err)
					require.Error(t, s.lastContext().Err(), "the context of the statement is released")
					return
				}
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, tc.err)
				if errors.Is(tc.err, context.Canceled) {
					require.EqualError(t, err, "sqlstore: context canceled")
				}
			})
		})
	}
}

// TestNothingAfterItsCaller asserts that a caller that has gone changes nothing.
func TestNothingAfterItsCaller(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		s := &script{}
		db := s.open(t, d, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := db.Exec(ctx, change)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { return nil }), context.Canceled)
		require.Zero(t, count(s.statements(), "UPDATE"), "%v", d)
	}
}

// TestWritersOfSQLite asserts that writes wait for each other, reads do not, and
// that nobody waits longer than its context.
func TestWritersOfSQLite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		db := s.open(t, sqlstore.SQLite, nil)
		enough := make(chan struct{})
		errs := make(chan error, 3)
		go func() {
			errs <- db.InTx(t.Context(), func(context.Context) error { <-enough; return nil })
		}()
		synctest.Wait()
		go func() {
			_, err := db.Exec(t.Context(), change)
			errs <- err
		}()
		go func() {
			errs <- db.Query(t.Context(), func(func(...any) error) error { return nil }, "INSERT INTO {users} RETURNING id")
		}()
		synctest.Wait()
		none := func(func(...any) error) error { return nil }
		require.NoError(t, db.Query(t.Context(), none, "SELECT 1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := db.Exec(ctx, change)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, db.Query(ctx, none, change), context.DeadlineExceeded)
		require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { return nil }), context.DeadlineExceeded)
		require.ErrorIs(t, db.Migrate(ctx), context.DeadlineExceeded)
		require.Equal(t, []string{"BEGIN IMMEDIATE", "PREPARE SELECT 1", "EXECUTE SELECT 1"}, s.statements())
		close(enough)
		for range 3 {
			require.NoError(t, <-errs)
		}
		log := s.statements()
		require.Equal(t, "COMMIT", log[0])
		require.Equal(t, 1, count(log, "EXECUTE UPDATE"))
		require.Equal(t, 1, count(log, "EXECUTE INSERT"))
	})
}

// TestPreparedStatements asserts which statements are prepared. Drivers of Postgres do it
// themselves. A transaction takes no second connection for it.
func TestPreparedStatements(t *testing.T) {
	t.Parallel()
	const text = "UPDATE authkit_users SET version = 1"
	many := "DELETE FROM {users} WHERE id IN (?, ?)"
	for _, d := range dialects {
		s := &script{}
		db := s.open(t, d, nil)
		exec := func(ctx context.Context, query string, args ...any) {
			t.Helper()
			_, err := db.Exec(ctx, query, args...)
			require.NoError(t, err)
		}
		inTx := func() {
			t.Helper()
			require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
				exec(ctx, change)
				exec(ctx, many, 1, 2)
				return nil
			}))
		}
		end := func(log []string) []string { return log[1:] }
		inTx()
		first := end(s.statements())
		inTx()
		second := end(s.statements())
		exec(t.Context(), change)
		exec(t.Context(), many, 1, 2)
		third := s.statements()
		const delete, deleteBound = "DELETE FROM authkit_users WHERE id IN (?, ?)", "DELETE FROM authkit_users WHERE id IN ($1, $2)"
		switch d {
		case sqlstore.MySQL:
			require.Equal(t, []string{text, delete, "COMMIT", "PREPARE " + text}, first)
			require.Equal(t, []string{"EXECUTE " + text, delete, "COMMIT"}, second)
			require.Equal(t, []string{"EXECUTE " + text, delete}, third)
		case sqlstore.SQLite:
			require.Equal(t, []string{text, delete, "COMMIT"}, first)
			require.Equal(t, []string{text, delete, "COMMIT"}, second)
			require.Equal(t, []string{"PREPARE " + text, "EXECUTE " + text, delete}, third)
		case sqlstore.Postgres:
			require.Equal(t, []string{text, deleteBound, "COMMIT"}, first)
			require.Equal(t, []string{text, deleteBound, "COMMIT"}, second)
			require.Equal(t, []string{text, deleteBound}, third)
		}
	}
}

// TestStatementsAreBounded asserts that a DB keeps some 500 statements, whatever
// texts it is given, and that neither repeated nor variable texts count.
func TestStatementsAreBounded(t *testing.T) {
	t.Parallel()
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.MySQL} {
		s := &script{}
		db := s.open(t, d, nil)
		require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
			for i := range 600 {
				_, err1 := db.Exec(ctx, change)
				_, err2 := db.Exec(ctx, fmt.Sprint("UPDATE {users} SET version = ", i, " WHERE id IN (?)"), 1)
				_, err3 := db.Exec(ctx, fmt.Sprint("INSERT INTO {users} VALUES (", i, "), (?)"), 1)
				require.NoError(t, errors.Join(err1, err2, err3))
			}
			return nil
		}))
		s.statements()
		for i := range 600 {
			_, err := db.Exec(t.Context(), fmt.Sprint("DELETE FROM {users} WHERE version = ", i))
			require.NoError(t, err)
		}
		prepared := count(s.statements(), "PREPARE")
		require.InDelta(t, 500, prepared, 2)
	}
}

// TestPrepareAtOnce asserts that of two callers that prepare a statement, the
// second takes that of the first.
func TestPrepareAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{answer: func(_ context.Context, query string, _ []any) reply {
			if strings.HasPrefix(query, "PREPARE") {
				time.Sleep(time.Second)
			}
			return reply{changed: 1}
		}}
		db := s.open(t, sqlstore.MySQL, nil)
		errs := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := db.Exec(t.Context(), change)
				errs <- err
			}()
		}
		require.NoError(t, errors.Join(<-errs, <-errs))
		log := s.statements()
		require.GreaterOrEqual(t, count(log, "PREPARE"), 2)
		require.Equal(t, 1, count(log, "CLOSE"))
		require.Equal(t, 2, count(log, "EXECUTE"))
	})
}

// TestPrepareFails asserts that nothing is run if it cannot be prepared.
func TestPrepareFails(t *testing.T) {
	t.Parallel()
	s := &script{answer: failing("PREPARE", sqlState("42601"))}
	db := s.open(t, sqlstore.MySQL, nil)
	_, err := db.Exec(t.Context(), change)
	require.ErrorIs(t, err, sqlState("42601"))
	err = db.Query(t.Context(), func(func(...any) error) error { return nil }, "SELECT 1")
	require.ErrorIs(t, err, sqlState("42601"))
	require.Len(t, s.statements(), 2)
}

// TestScanFails asserts that a row that cannot be read ends the call.
func TestScanFails(t *testing.T) {
	t.Parallel()
	s := &script{answer: func(context.Context, string, []any) reply { return reply{rows: [][]any{{"a"}, {"b"}}} }}
	db := s.open(t, sqlstore.Postgres, nil)
	rows := 0
	err := db.Query(t.Context(), func(scan func(...any) error) error {
		rows++
		var n int
		return scan(&n)
	}, "SELECT 1")
	require.Error(t, err)
	require.Equal(t, 1, rows)
}
