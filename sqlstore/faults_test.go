package sqlstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

func storedSession() authkit.StoredSession {
	return authkit.StoredSession{Session: authkit.Session{ID: "s", UserID: "id-ann", CreatedAt: now}, TokenHash: [32]byte{1}}
}

// calls are the methods of a DB that ask the database. A result
// has to be zero after an error.
var calls = map[string]func(ctx context.Context, db *sqlstore.DB) (result any, err error){
	"CreateUser": func(ctx context.Context, db *sqlstore.DB) (any, error) { return nil, db.CreateUser(ctx, named("ann")) },
	"CreateUsers": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return nil, db.CreateUsers(ctx, []authkit.StoredUser{named("ann")})
	},
	"UserByID":    func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.UserByID(ctx, "id-ann") },
	"UserByEmail": func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.UserByEmail(ctx, "ann@example.com") },
	"ListUsers": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return db.ListUsers(ctx, authkit.UserQuery{Limit: 5})
	},
	"CountUsers": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return db.CountUsers(ctx, authkit.UserQuery{})
	},
	"DeleteUser": func(ctx context.Context, db *sqlstore.DB) (any, error) { return nil, db.DeleteUser(ctx, "id-ann", "") },
	"UpdateUser": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return db.UpdateUser(ctx, "id-ann", authkit.UserUpdate{FullName: new("Ann")}, now)
	},
	"UpdateUser of a version": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return db.UpdateUser(ctx, "id-ann", authkit.UserUpdate{FullName: new("Ann"), IfVersion: 3}, now)
	},
	"UpdateUser with the e-mail": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return db.UpdateUser(ctx, "id-ann", authkit.UserUpdate{Email: new("ann@example.com")}, now)
	},
	"UpdateUser that keeps a role": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return db.UpdateUser(ctx, "id-ann", authkit.UserUpdate{Disabled: new(false), KeepRole: "user"}, now)
	},
	"CreateSession": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return nil, db.CreateSession(ctx, storedSession(), 1)
	},
	"SessionByID":    func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.SessionByID(ctx, "s") },
	"SessionsByUser": func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.SessionsByUser(ctx, "id-ann") },
	"RevokeSession": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return db.RevokeSession(ctx, "id-ann", "s", now)
	},
	"RevokeSessions": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return nil, db.RevokeSessions(ctx, "id-ann", "", now)
	},
	"RevokeSessions but 1": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return nil, db.RevokeSessions(ctx, "id-ann", "s", now)
	},
	"Revocations":   func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.Revocations(ctx, now) },
	"DeleteExpired": func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.DeleteExpired(ctx, now, now, 10) },
	"SessionUser": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		x, u, err := db.SessionUser(ctx, "s")
		if err != nil && x.ID == "" && u.ID == "" {
			return nil, err
		}
		return x, err
	},
	"RotateSession": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		x, rotated, err := db.RotateSession(ctx, "s", authkit.Rotation{New: [32]byte{2}, At: now, ExpiresAt: now})
		if rotated == (err != nil) {
			return rotated, err
		}
		return x, err
	},
	"PutTicket": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return nil, db.PutTicket(ctx, authkit.Ticket{Kind: "k", ID: "t", CreatedAt: now, ExpiresAt: now})
	},
	"AttemptTicket": func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.AttemptTicket(ctx, "k", "t", now) },
	"ConsumeTicket": func(ctx context.Context, db *sqlstore.DB) (any, error) {
		return nil, db.ConsumeTicket(ctx, "k", "t", now)
	},
	"DeleteTickets":        func(ctx context.Context, db *sqlstore.DB) (any, error) { return nil, db.DeleteTickets(ctx, "id-ann") },
	"DeleteExpiredTickets": func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.DeleteExpiredTickets(ctx, now, 10) },
}

// TestEveryStatementFails asserts that a call returns the error of each of its
// statements, that it runs no further one, and that it then has no result.
func TestEveryStatementFails(t *testing.T) {
	t.Parallel()
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEach(t, func(t *testing.T, d sqlstore.Dialect) {
				s := &script{answer: answers}
				db, pool := s.openPool(t, d, nil)
				_, err := call(t.Context(), db)
				require.NoError(t, err)
				s.statements()
				_, err = call(t.Context(), db) // all is prepared
				require.NoError(t, err)
				log := s.statements()
				require.NotEmpty(t, log)
				for fails := range log {
					n := 0
					s.answer = func(ctx context.Context, query string, args []any) reply {
						if n++; n == fails+1 {
							return reply{err: errOwn}
						}
						return answers(ctx, query, args)
					}
					result, err := call(t.Context(), db)
					require.ErrorIs(t, err, errOwn, log[fails])
					require.Equal(t, 1, strings.Count(err.Error(), "sqlstore: "), err)
					require.NotErrorIs(t, err, authkit.ErrEmailTaken)
					require.Zero(t, result, log[fails])
					after := s.statements()
					for _, query := range after[fails+1:] {
						require.NotRegexp(t, "INSERT|UPDATE|DELETE|COMMIT", query)
					}
					require.Zero(t, pool.Stats().InUse)
				}
			})
		})
	}
}

// TestRowsFail asserts that a call returns the error of each set of rows, and of rows
// that do not read like ours.
func TestRowsFail(t *testing.T) {
	t.Parallel()
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEach(t, func(t *testing.T, d sqlstore.Dialect) {
				s := &script{answer: answers}
				db := s.open(t, d, nil)
				_, err := call(t.Context(), db)
				require.NoError(t, err)
				s.statements()
				_, err = call(t.Context(), db)
				require.NoError(t, err)
				for fails := range s.statements() {
					for _, late := range []bool{false, true} {
						n, rows := 0, false
						s.answer = func(ctx context.Context, query string, args []any) reply {
							r := answers(ctx, query, args)
							if n++; n == fails+1 && len(r.rows) > 0 {
								rows = true
								if late {
									r.late = errOwn
								} else {
									r.rows = [][]any{{"a"}}
									if len(answers(ctx, query, args).rows[0]) == 1 {
										r.rows = [][]any{{"a", "b"}}
									}
								}
							}
							return r
						}
						result, err := call(t.Context(), db)
						if rows {
							if late {
								require.ErrorIs(t, err, errOwn)
							} else {
								require.ErrorContains(t, err, "sql: ") // as Scan says
							}
							require.Zero(t, result)
						}
					}
				}
			})
		})
	}
}

// TestUnreadableHashes asserts that a hash of another length is no hash.
func TestUnreadableHashes(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		for name, of := range map[string]int{"SessionByID": 2, "SessionUser": 2, "RotateSession": 2, "AttemptTicket": 1} {
			for nth := range of {
				for _, length := range []int{31, 33} {
					s := &script{}
					s.answer = func(ctx context.Context, query string, args []any) reply {
						r := answers(ctx, query, args)
						for i := range r.rows {
							seen := 0
							for j, value := range r.rows[i] {
								if text, ok := value.([]byte); ok && len(text) == 32 {
									if seen == nth {
										r.rows[i][j] = make([]byte, length)
									}
									seen++
								}
							}
						}
						return r
					}
					_, err := calls[name](t.Context(), s.open(t, d, nil))
					require.ErrorContains(t, err, "a hash that does not have 32 bytes", name)
				}
			}
		}
	}
}

// TestNothingChanged asserts the error of each call if no row is there.
func TestNothingChanged(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{
		"UserByID": authkit.ErrUserNotFound, "UserByEmail": authkit.ErrUserNotFound, "DeleteUser": authkit.ErrUserNotFound,
		"UpdateUser": authkit.ErrUserNotFound, "UpdateUser of a version": authkit.ErrUserNotFound, "UpdateUser with the e-mail": authkit.ErrUserNotFound,
		"UpdateUser that keeps a role": authkit.ErrUserNotFound,
		"SessionByID":                  authkit.ErrSessionNotFound, "SessionUser": authkit.ErrSessionNotFound, "RotateSession": authkit.ErrSessionNotFound,
		"AttemptTicket": authkit.ErrTicketNotFound, "ConsumeTicket": authkit.ErrTicketNotFound,
		"RevokeSession": nil, "DeleteTickets": nil, "DeleteExpiredTickets": nil, "DeleteExpired": nil, "ListUsers": nil, "CountUsers": nil,
		"SessionsByUser": nil, "Revocations": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEach(t, func(t *testing.T, d sqlstore.Dialect) {
				s := &script{answer: func(context.Context, string, []any) reply { return reply{} }}
				db := s.open(t, d, nil)
				result, err := calls[name](t.Context(), db)
				require.Zero(t, result)
				if want == nil {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, want)
				require.Equal(t, want.Error(), err.Error(), "a refusal has no prefix")
			})
		})
	}
}

// TestTakenKeys asserts what a call returns for a row that another one is in the
// way of.
func TestTakenKeys(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		unchanged := func(holder string) *script {
			return &script{answer: func(ctx context.Context, query string, args []any) reply {
				r := answers(ctx, query, args)
				switch {
				case strings.Contains(query, "FROM made"):
					return reply{rows: [][]any{{int64(1), int64(0)}}}
				case strings.HasPrefix(query, "INSERT INTO authkit_session_owners"):
					return r
				case strings.HasPrefix(query, "INSERT"):
					if d == sqlstore.MySQL {
						return reply{err: fmt.Errorf("Error 1062 (23000): Duplicate entry")}
					}
					if strings.Contains(query, "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1), (") {
						return reply{err: sqlState("23505")}
					}
					return reply{}
				case strings.HasPrefix(query, "SELECT id, email FROM"):
					return reply{rows: [][]any{{holder, "ann@example.com"}}}
				case strings.HasPrefix(query, "SELECT id FROM authkit_users"):
					return reply{rows: [][]any{{holder}}}
				}
				return r
			}}
		}
		db := unchanged("id-ann").open(t, d, nil)
		err := db.CreateUser(t.Context(), named("ann"))
		require.Error(t, err)
		require.NotErrorIs(t, err, authkit.ErrEmailTaken, "it is the ID")
		require.Equal(t, authkit.ErrEmailTaken, unchanged("id-bob").open(t, d, nil).CreateUser(t.Context(), named("ann")))
		require.ErrorContains(t, db.CreateSession(t.Context(), storedSession(), 1), "sqlstore: ")
		require.ErrorContains(t, db.PutTicket(t.Context(), authkit.Ticket{Kind: "k", ID: "t", CreatedAt: now, ExpiresAt: now}), "sqlstore: ")
	})
}

// TestUpdateOfMySQL asserts what an update returns where the database does not:
// the account as it was read, with the change.
func TestUpdateOfMySQL(t *testing.T) {
	t.Parallel()
	later := now.Add(time.Hour)
	lost := 0
	s := &script{}
	s.answer = func(ctx context.Context, query string, args []any) reply {
		if strings.HasPrefix(query, "UPDATE authkit_users") {
			require.EqualValues(t, 3, args[len(args)-1], "the version that was read")
			if lost++; lost == 1 {
				return reply{} // another update came between
			}
		}
		return answers(ctx, query, args)
	}
	db := s.open(t, sqlstore.MySQL, nil)
	u, err := db.UpdateUser(t.Context(), "id-ann", authkit.UserUpdate{}, later)
	require.NoError(t, err)
	require.Equal(t, 2, lost)
	before := authkit.User{
		ID: "id-ann", Email: "ann@example.com", FullName: "Ann", Roles: []string{"user"}, CreatedAt: now, UpdatedAt: later,
		EmailVerifiedAt: time.UnixMicro(0).UTC(), LockedUntil: time.UnixMicro(0).UTC(), Version: 4,
	}
	require.Equal(t, before, u)

	after := before
	after.Email, after.FullName, after.Roles, after.Disabled, after.EmailVerifiedAt, after.LockedUntil = "new@example.com", "New", []string{"a", "b"}, true, later, later
	u, err = db.UpdateUser(t.Context(), "id-ann", authkit.UserUpdate{
		Email: &after.Email, FullName: &after.FullName, Roles: &after.Roles, Disabled: &after.Disabled,
		EmailVerifiedAt: new(later.Add(999)), LockedUntil: new(later.Add(999)), IfVersion: 3,
	}, later.Add(999))
	require.NoError(t, err)
	require.Equal(t, after, u)

	s.statements()
	_, err = db.UpdateUser(t.Context(), "id-ann", authkit.UserUpdate{IfVersion: 4}, later)
	require.ErrorIs(t, err, authkit.ErrConflict)
	require.Zero(t, count(s.statements(), "EXECUTE UPDATE"))

	// In a transaction of the program no other update comes between.
	for _, q := range hosted(t, &script{answer: answers}, sqlstore.MySQL, func(ctx context.Context, db *sqlstore.DB) {
		_, err := db.UpdateUser(ctx, "id-ann", authkit.UserUpdate{}, later)
		require.NoError(t, err)
		_, _, err = db.RotateSession(ctx, "s", authkit.Rotation{At: now, ExpiresAt: now})
		require.NoError(t, err)
	}) {
		require.Equal(t, strings.HasPrefix(q, "SELECT"), strings.HasSuffix(q, "FOR UPDATE"), q)
	}
	s.statements()
	_, _, err = db.RotateSession(t.Context(), "s", authkit.Rotation{At: now, ExpiresAt: now})
	require.NoError(t, err)
	for _, q := range s.statements() {
		require.NotContains(t, q, "FOR UPDATE")
	}
}

// TestRotationOfMySQL asserts what a rotation returns where the database does
// not: the session as the call has made it, whatever has happened since.
func TestRotationOfMySQL(t *testing.T) {
	t.Parallel()
	s := &script{answer: answers}
	db := s.open(t, sqlstore.MySQL, nil)
	r := authkit.Rotation{Old: [32]byte{1}, New: [32]byte{2}, Successor: []byte("sealed"), At: now.Add(time.Minute + 999), ExpiresAt: now.Add(time.Hour + 999), Address: "192.0.2.2"}
	x, rotated, err := db.RotateSession(t.Context(), "s", r)
	require.NoError(t, err)
	require.True(t, rotated)
	require.Equal(t, r.Old, x.ParentHash)
	require.Equal(t, r.New, x.TokenHash)
	require.Equal(t, r.Successor, x.Successor)
	require.Equal(t, now.Add(time.Minute), x.RotatedAt)
	require.Equal(t, now.Add(time.Minute), x.LastUsedAt)
	require.Equal(t, now.Add(time.Hour), x.ExpiresAt)
	require.Equal(t, r.Address, x.Address)
	r.Successor[0] = 'x'
	require.Equal(t, []byte("sealed"), x.Successor, "the slice of the caller is not kept")
	r.Successor = nil
	x, _, err = db.RotateSession(t.Context(), "s", r)
	require.NoError(t, err)
	require.Equal(t, []byte{}, x.Successor, "as it is stored")

	s.answer = func(ctx context.Context, query string, args []any) reply {
		r := answers(ctx, query, args)
		if strings.HasPrefix(query, "UPDATE") {
			r.changed = 0
		}
		return r
	}
	x, rotated, err = db.RotateSession(t.Context(), "s", r)
	require.NoError(t, err)
	require.False(t, rotated)
	require.Equal(t, []byte("next"), x.Successor, "the session of another rotation")
}

// TestTurns asserts that a call on Postgres runs its statement again if it was
// not alone, and takes the lock first after three times.
func TestTurns(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(ctx context.Context, db *sqlstore.DB) (any, error){
		"CreateSession": calls["CreateSession"], "RevokeSessions": calls["RevokeSessions"],
	} {
		for _, misses := range []int{0, 1, 2, 3, 4} {
			n := 0
			s := &script{answer: func(_ context.Context, query string, _ []any) reply {
				if !strings.HasPrefix(query, "WITH") {
					return reply{changed: 1}
				}
				turns := int64(1)
				if n++; n <= misses {
					turns = 0
				}
				if name == "CreateSession" {
					return reply{rows: [][]any{{turns, turns}}}
				}
				return reply{rows: [][]any{{turns}}}
			}}
			_, err := call(t.Context(), s.open(t, sqlstore.Postgres, nil))
			require.NoError(t, err)
			log := s.statements()
			require.Equal(t, min(misses+1, 4), count(log, "WITH"))
			locks := 0
			if misses >= 3 {
				locks = 1
			}
			require.Equal(t, locks, count(log, "INSERT INTO authkit_session_owners"))
			require.Equal(t, locks, count(log, "BEGIN READ COMMITTED"))
			require.Equal(t, locks, count(log, "COMMIT"))
		}
	}
}

// ST-05: no database is asked for a key that it cannot have.
func TestUnstorableKeys(t *testing.T) {
	t.Parallel()
	keyed := map[string]struct {
		do   func(ctx context.Context, db *sqlstore.DB, key string) (any, error)
		want error
	}{
		"UserByID":    {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) { return db.UserByID(ctx, key) }, authkit.ErrUserNotFound},
		"UserByEmail": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) { return db.UserByEmail(ctx, key) }, authkit.ErrUserNotFound},
		"UpdateUser": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.UpdateUser(ctx, key, authkit.UserUpdate{}, now)
		}, authkit.ErrUserNotFound},
		"DeleteUser": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return nil, db.DeleteUser(ctx, key, "")
		}, authkit.ErrUserNotFound},
		"SessionByID": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) { return db.SessionByID(ctx, key) }, authkit.ErrSessionNotFound},
		"SessionUser": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			x, _, err := db.SessionUser(ctx, key)
			return x, err
		}, authkit.ErrSessionNotFound},
		"RotateSession": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			_, rotated, err := db.RotateSession(ctx, key, authkit.Rotation{})
			return rotated, err
		}, authkit.ErrSessionNotFound},
		"AttemptTicket": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.AttemptTicket(ctx, "k", key, now)
		}, authkit.ErrTicketNotFound},
		"AttemptTicket of a kind": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.AttemptTicket(ctx, key, "t", now)
		}, authkit.ErrTicketNotFound},
		"ConsumeTicket": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return nil, db.ConsumeTicket(ctx, "k", key, now)
		}, authkit.ErrTicketNotFound},
		"ListUsers after": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.ListUsers(ctx, authkit.UserQuery{After: key, Limit: 1})
		}, nil},
		"ListUsers by prefix": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.ListUsers(ctx, authkit.UserQuery{EmailPrefix: key, Limit: 1})
		}, nil},
		"ListUsers of none": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.ListUsers(ctx, authkit.UserQuery{})
		}, nil},
		"CountUsers": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.CountUsers(ctx, authkit.UserQuery{Role: key})
		}, nil},
		"SessionsByUser": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.SessionsByUser(ctx, key)
		}, nil},
		"RevokeSession": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.RevokeSession(ctx, key, "s", now)
		}, nil},
		"RevokeSession of another": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.RevokeSession(ctx, "id-ann", key, now)
		}, nil},
		"DeleteTickets": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return nil, db.DeleteTickets(ctx, key)
		}, nil},
		"DeleteExpired of none": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.DeleteExpired(ctx, now, now, 0)
		}, nil},
		"DeleteExpiredTickets of none": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return db.DeleteExpiredTickets(ctx, now, 0)
		}, nil},
		"CreateUsers of none": {func(ctx context.Context, db *sqlstore.DB, key string) (any, error) {
			return nil, db.CreateUsers(ctx, nil)
		}, nil},
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range keyed {
		for _, d := range dialects {
			for _, key := range []string{"a\x00b", "a\xffb"} {
				s := &script{}
				db := s.open(t, d, nil)
				result, err := tc.do(t.Context(), db, key)
				require.Equal(t, tc.want, err, name)
				require.Zero(t, result, name)
				result, err = tc.do(cancelled, db, key)
				require.Equal(t, context.Canceled, err, name)
				require.Zero(t, result, name)
				require.Empty(t, s.statements(), name)
			}
		}
	}
}

// TestUnstorableValues asserts that no database is asked to hold what one of them
// cannot hold.
func TestUnstorableValues(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"a\x00b", "a\xffb", ""} {
		text := bad
		if bad == "" { // an ID must not be empty; other texts may
			text = "text"
		}
		user := func(change func(u *authkit.StoredUser)) func(context.Context, *sqlstore.DB) error {
			return func(ctx context.Context, db *sqlstore.DB) error {
				u := named("ann")
				change(&u)
				err := db.CreateUser(ctx, u)
				require.Equal(t, err, db.CreateUsers(ctx, []authkit.StoredUser{named("bob"), u}))
				return err
			}
		}
		session := func(change func(x *authkit.StoredSession)) func(context.Context, *sqlstore.DB) error {
			return func(ctx context.Context, db *sqlstore.DB) error {
				x := storedSession()
				change(&x)
				return db.CreateSession(ctx, x, 1)
			}
		}
		ticket := func(change func(x *authkit.Ticket)) func(context.Context, *sqlstore.DB) error {
			return func(ctx context.Context, db *sqlstore.DB) error {
				x := authkit.Ticket{Kind: "k", ID: "t"}
				change(&x)
				return db.PutTicket(ctx, x)
			}
		}
		hash := authkit.PasswordHash(text)
		cases := map[string]func(context.Context, *sqlstore.DB) error{
			"the ID of an account": user(func(u *authkit.StoredUser) { u.ID = bad }),
			"the ID of a session":  session(func(x *authkit.StoredSession) { x.ID = bad }),
			"the ID of a ticket":   ticket(func(x *authkit.Ticket) { x.ID = bad }),
		}
		if bad != "" {
			for name, more := range map[string]func(context.Context, *sqlstore.DB) error{
				"an e-mail":    user(func(u *authkit.StoredUser) { u.Email = bad }),
				"a name":       user(func(u *authkit.StoredUser) { u.FullName = bad }),
				"a hash":       user(func(u *authkit.StoredUser) { u.PasswordHash = hash }),
				"a role":       user(func(u *authkit.StoredUser) { u.Roles = []string{"a", bad} }),
				"a new e-mail": updates(authkit.UserUpdate{Email: &text}),
				"a new name":   updates(authkit.UserUpdate{FullName: &text}),
				"a new hash":   updates(authkit.UserUpdate{PasswordHash: &hash}),
				"a new role":   updates(authkit.UserUpdate{Roles: &[]string{"a", bad}}),
				"an owner":     session(func(x *authkit.StoredSession) { x.UserID = bad }),
				"a device":     session(func(x *authkit.StoredSession) { x.Device = bad }),
				"an address":   session(func(x *authkit.StoredSession) { x.Address = bad }),
				"a method":     session(func(x *authkit.StoredSession) { x.Methods = []string{bad} }),
				"a kind":       ticket(func(x *authkit.Ticket) { x.Kind = bad }),
				"a subject":    ticket(func(x *authkit.Ticket) { x.Subject = bad }),
				"a new address": func(ctx context.Context, db *sqlstore.DB) error {
					return noRotation(db.RotateSession(ctx, "s", authkit.Rotation{Address: bad}))
				},
				"all sessions": func(ctx context.Context, db *sqlstore.DB) error { return db.RevokeSessions(ctx, bad, "", now) },
			} {
				cases[name] = more
			}
		}
		for name, do := range cases {
			for _, d := range dialects {
				s := &script{answer: answers}
				err := do(t.Context(), s.open(t, d, nil))
				require.ErrorContains(t, err, "sqlstore: ", name)
				require.NotContains(t, err.Error(), "rotated")
				require.Empty(t, s.statements(), name)
			}
		}
	}
	for _, d := range dialects {
		s := &script{answer: answers}
		require.NoError(t, s.open(t, d, nil).RevokeSessions(t.Context(), "id-ann", "a\x00b", now), "it keeps none")
	}
}

// noRotation returns the error of a rotation, or one if it was made.
func noRotation(_ authkit.StoredSession, rotated bool, err error) error {
	if rotated {
		return fmt.Errorf("rotated: %w", err)
	}
	return err
}

// TestBatchOfTheSame asserts that a batch with one ID or address twice is
// refused before the database is asked.
func TestBatchOfTheSame(t *testing.T) {
	t.Parallel()
	s := &script{}
	db := s.open(t, sqlstore.Postgres, nil)
	other := named("bob")
	other.Email = "ann@example.com"
	require.Equal(t, authkit.ErrEmailTaken, db.CreateUsers(t.Context(), []authkit.StoredUser{named("ann"), other}))
	other = named("bob")
	other.ID = "id-ann"
	require.ErrorContains(t, db.CreateUsers(t.Context(), []authkit.StoredUser{named("ann"), other}), "sqlstore: two accounts have the same ID")
	require.Empty(t, s.statements())

	// After a failure the addresses tell why: 500 with one statement.
	var users []authkit.StoredUser
	for i := range 501 {
		users = append(users, named(fmt.Sprint(i)))
	}
	for holder, want := range map[string]error{"": sqlState("23505"), "id-0": sqlState("23505"), "id-500": authkit.ErrEmailTaken} {
		s := &script{answer: func(_ context.Context, query string, args []any) reply {
			if strings.HasPrefix(query, "INSERT") {
				return reply{err: sqlState("23505")}
			}
			if strings.HasPrefix(query, "SELECT") && holder != "" && args[1] == "0@example.com" {
				return reply{rows: [][]any{{holder, "0@example.com"}, {"id-1", "1@example.com"}}}
			}
			return reply{}
		}}
		err := s.open(t, sqlstore.Postgres, nil).CreateUsers(t.Context(), users)
		require.ErrorIs(t, err, want)
		require.Equal(t, 2, count(s.statements(), "SELECT"))
	}
	s = &script{answer: func(_ context.Context, query string, _ []any) reply {
		if strings.HasPrefix(query, "INSERT") {
			return reply{err: sqlState("23505")}
		}
		return reply{rows: [][]any{{"id-500", "0@example.com"}}, late: errOwn}
	}}
	err := s.open(t, sqlstore.Postgres, nil).CreateUsers(t.Context(), users)
	require.ErrorIs(t, err, sqlState("23505"), "half of an answer tells nothing")
	require.NotErrorIs(t, err, authkit.ErrEmailTaken)

	ctx, cancel := context.WithCancel(t.Context())
	s = &script{answer: func(_ context.Context, query string, _ []any) reply {
		if strings.HasPrefix(query, "INSERT") {
			cancel()
			return reply{err: sqlState("57014")}
		}
		return reply{}
	}}
	require.ErrorIs(t, s.open(t, sqlstore.Postgres, nil).CreateUsers(ctx, users), context.Canceled)
	require.Zero(t, count(s.statements(), "SELECT"), "the caller has gone")
}

// TestPartsOfATransaction asserts that a call of several statements that fails in
// a transaction keeps it from being committed, unless it has changed nothing.
func TestPartsOfATransaction(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		for name, tc := range map[string]struct {
			answer func(ctx context.Context, query string, args []any) reply
			call   string
			ok     bool
		}{
			"all is well": {answers, "RevokeSessions", true},
			"half of it": {func(ctx context.Context, query string, args []any) reply {
				if strings.HasPrefix(query, "DELETE") || strings.HasPrefix(query, "WITH") {
					return reply{err: errOwn}
				}
				return answers(ctx, query, args)
			}, "DeleteExpired", false},
			"no account": {func(ctx context.Context, query string, args []any) reply {
				if strings.Contains(query, "INSERT") {
					return reply{changed: 1}
				}
				return reply{}
			}, "UpdateUser that keeps a role", true},
			"an ID that exists": {func(ctx context.Context, query string, args []any) reply {
				if strings.Contains(query, "FROM made") {
					return reply{rows: [][]any{{int64(1), int64(0)}}}
				}
				if strings.HasPrefix(query, "INSERT INTO authkit_sessions") {
					return reply{}
				}
				return answers(ctx, query, args)
			}, "CreateSession", true},
		} {
			for _, twice := range []bool{false, true} {
				s := &script{answer: tc.answer}
				db := s.open(t, d, nil)
				err := db.InTx(t.Context(), func(ctx context.Context) error {
					if twice {
						require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { return authkit.ErrConflict }), authkit.ErrConflict)
					}
					_, err := calls[tc.call](ctx, db)
					require.Equal(t, name == "all is well", err == nil, "%s: %v", name, err)
					return nil
				})
				log := s.statements()
				require.Equal(t, 1, count(log, begins[d]), "it is a part of the transaction: %v", log)
				require.Zero(t, count(log, "SAVEPOINT authkit"))
				switch {
				case twice:
					require.ErrorIs(t, err, authkit.ErrConflict, "it is the first reason")
					require.NotErrorIs(t, err, errOwn)
				case tc.ok:
					require.NoError(t, err, name)
					require.Equal(t, 1, count(log, "COMMIT"))
				default:
					require.ErrorIs(t, err, errOwn)
					require.Zero(t, count(log, "COMMIT"))
				}
			}
			// In a transaction of the program it is a savepoint.
			log := hosted(t, &script{answer: tc.answer}, d, func(ctx context.Context, db *sqlstore.DB) {
				_, err := calls[tc.call](ctx, db)
				require.Equal(t, name == "all is well", err == nil)
			})
			if d != sqlstore.Postgres {
				require.Equal(t, 1, count(log, "SAVEPOINT authkit"), "%s: %v", name, log)
			}
		}
	})
}

// TestStatementsOfDialects asserts where the databases differ.
func TestStatementsOfDialects(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		text := func(do func(ctx context.Context, db *sqlstore.DB) (any, error)) string {
			s := &script{answer: answers}
			_, err := do(t.Context(), s.open(t, d, nil))
			require.NoError(t, err)
			return strings.Join(s.statements(), "; ")
		}
		lite, my := d == sqlstore.SQLite, d == sqlstore.MySQL
		require.Equal(t, lite, strings.Contains(text(calls["UpdateUser"]), " MAX("))
		require.Equal(t, !lite, strings.Contains(text(calls["UpdateUser"]), " GREATEST("))
		require.Equal(t, !my, strings.Contains(text(calls["CreateUser"]), " ON CONFLICT DO NOTHING"))
		require.Equal(t, !my, strings.Contains(text(calls["CreateSession"]), " ON CONFLICT DO NOTHING"))
		require.Equal(t, !lite, strings.Contains(text(calls["UpdateUser that keeps a role"]), " FOR UPDATE"))
		require.Equal(t, !my, strings.Contains(text(calls["PutTicket"]), " WHERE authkit_tickets.id <> excluded.id"))
		require.Equal(t, my, strings.Contains(text(calls["PutTicket"]), " ON DUPLICATE KEY UPDATE"))
		require.Equal(t, !lite, strings.Contains(text(calls["UpdateUser that keeps a role"]), "INSERT INTO authkit_session_owners"), "SQLite has one writer at a time")
		require.Equal(t, my, strings.Contains(text(calls["RevokeSessions"]), "FORCE INDEX (PRIMARY)"))
		require.Equal(t, d == sqlstore.Postgres, strings.Contains(text(calls["DeleteExpired"]), " = ANY (ARRAY(SELECT seq"))
		require.Equal(t, lite, strings.Contains(text(calls["DeleteExpired"]), " IN (SELECT seq"))

		// In a transaction of the program a read may be of an old state, and others write.
		log := strings.Join(hosted(t, &script{answer: answers}, d, func(ctx context.Context, db *sqlstore.DB) {
			_, err := calls["UpdateUser that keeps a role"](ctx, db)
			require.NoError(t, err)
		}), "; ")
		require.Equal(t, my, strings.Contains(log, "ORDER BY id LIMIT 100 FOR UPDATE"))
		require.Contains(t, log, "INSERT INTO authkit_session_owners")
		require.NotContains(t, text(calls["UpdateUser that keeps a role"]), "ORDER BY id LIMIT 100 FOR UPDATE")
	}
}
