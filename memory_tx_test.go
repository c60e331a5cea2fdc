package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

var errUndo = errors.New("undo")

// txStore returns a store with an account, a session of it and a ticket, each called "ada".
func txStore(t *testing.T) *authkit.MemoryStore {
	t.Helper()
	at := time.Now()
	store := authkit.NewMemoryStore()
	require.NoError(t, store.CreateUser(t.Context(), authkit.StoredUser{User: authkit.User{ID: "ada", Email: "ada@example.com"}}))
	require.NoError(t, store.CreateSession(t.Context(), authkit.StoredSession{Session: authkit.Session{ID: "ada", UserID: "ada", ExpiresAt: at.Add(time.Hour)}}, 50))
	require.NoError(t, store.PutTicket(t.Context(), authkit.Ticket{Kind: "login", ID: "ada", Subject: "ada", MaxAttempts: 5, ExpiresAt: at.Add(time.Hour)}))
	return store
}

// writers are calls that wait for a transaction, and lists do as well.
func writers(store *authkit.MemoryStore) map[string]func(ctx context.Context) error {
	at := time.Now()
	return map[string]func(ctx context.Context) error{
		"CreateUser": func(ctx context.Context) error {
			return store.CreateUser(ctx, authkit.StoredUser{User: authkit.User{ID: authkit.NewUserID(), Email: authkit.NewUserID()}})
		},
		"UpdateUser": func(ctx context.Context) error {
			_, err := store.UpdateUser(ctx, "ada", authkit.UserUpdate{}, at)
			return err
		},
		"DeleteUser": func(ctx context.Context) error {
			return ignore(store.DeleteUser(ctx, "nobody", ""), authkit.ErrUserNotFound)
		},
		"ListUsers": func(ctx context.Context) error {
			_, err := store.ListUsers(ctx, authkit.UserQuery{Limit: 1})
			return err
		},
		"CountUsers": func(ctx context.Context) error {
			_, err := store.CountUsers(ctx, authkit.UserQuery{})
			return err
		},
		"CreateSession": func(ctx context.Context) error {
			return store.CreateSession(ctx, authkit.StoredSession{Session: authkit.Session{ID: authkit.NewUserID(), UserID: "bob"}}, 50)
		},
		"RotateSession": func(ctx context.Context) error {
			_, _, err := store.RotateSession(ctx, "ada", authkit.Rotation{At: at, ExpiresAt: at.Add(time.Hour)})
			return err
		},
		"RevokeSession": func(ctx context.Context) error {
			_, err := store.RevokeSession(ctx, "ada", "nothing", at)
			return err
		},
		"RevokeSessions": func(ctx context.Context) error { return store.RevokeSessions(ctx, "bob", "", at) },
		"SessionsByUser": func(ctx context.Context) error {
			_, err := store.SessionsByUser(ctx, "ada")
			return err
		},
		"Revocations": func(ctx context.Context) error {
			_, err := store.Revocations(ctx, at)
			return err
		},
		"DeleteExpired": func(ctx context.Context) error {
			_, err := store.DeleteExpired(ctx, time.Time{}, time.Time{}, 1)
			return err
		},
		"PutTicket": func(ctx context.Context) error {
			return store.PutTicket(ctx, authkit.Ticket{Kind: "login", ID: authkit.NewUserID(), ExpiresAt: at})
		},
		"AttemptTicket": func(ctx context.Context) error {
			_, err := store.AttemptTicket(ctx, "login", "nothing", at)
			return ignore(err, authkit.ErrTicketNotFound)
		},
		"ConsumeTicket": func(ctx context.Context) error {
			return ignore(store.ConsumeTicket(ctx, "login", "nothing", at), authkit.ErrTicketNotFound)
		},
		"DeleteTickets": func(ctx context.Context) error { return store.DeleteTickets(ctx, "bob") },
		"DeleteExpiredTickets": func(ctx context.Context) error {
			_, err := store.DeleteExpiredTickets(ctx, time.Time{}, 1)
			return err
		},
		"InTx": func(ctx context.Context) error { return store.InTx(ctx, func(context.Context) error { return nil }) },
	}
}

// ignore returns nil for the error that is ignored.
func ignore(err, ignored error) error {
	if errors.Is(err, ignored) {
		return nil
	}
	return err
}

// A call outside of a transaction waits until that ends, or until its context does.
func TestMemoryStoreWaitsForATransaction(t *testing.T) {
	t.Parallel()
	for name := range writers(nil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := txStore(t)
				call := writers(store)[name]
				waited := make(chan time.Duration)
				began := time.Now()
				err := store.InTx(t.Context(), func(ctx context.Context) error {
					require.NoError(t, call(ctx), "a part of it")
					short, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					require.ErrorIs(t, call(short), context.DeadlineExceeded)
					require.Equal(t, time.Second, time.Since(began))
					go func() {
						err := call(t.Context())
						if err != nil {
							t.Error(err)
						}
						waited <- time.Since(began)
					}()
					time.Sleep(time.Hour)
					return nil
				})
				require.NoError(t, err)
				require.Equal(t, time.Hour+time.Second, <-waited)
				require.NoError(t, call(t.Context()), "nothing runs")
			})
		})
	}
}

// Look-ups outside of a transaction do not wait, and see the records that were committed last.
func TestMemoryStoreReadsWhatIsCommitted(t *testing.T) {
	t.Parallel()
	for _, result := range []error{nil, errUndo} {
		store := txStore(t)
		before := func() {
			t.Helper()
			u, err := store.UserByID(t.Context(), "ada")
			require.NoError(t, err)
			require.EqualValues(t, 1, u.Version)
			u, err = store.UserByEmail(t.Context(), "ada@example.com")
			require.NoError(t, err)
			require.EqualValues(t, 1, u.Version)
			_, err = store.UserByEmail(t.Context(), "new@example.com")
			require.ErrorIs(t, err, authkit.ErrUserNotFound)
			_, err = store.UserByID(t.Context(), "bob")
			require.ErrorIs(t, err, authkit.ErrUserNotFound)
			s, u, err := store.SessionUser(t.Context(), "ada")
			require.NoError(t, err)
			require.Zero(t, s.RotatedAt)
			require.EqualValues(t, 1, u.Version)
			_, err = store.SessionByID(t.Context(), "bob")
			require.ErrorIs(t, err, authkit.ErrSessionNotFound)
		}
		at := time.Now()
		err := store.InTx(t.Context(), func(ctx context.Context) error {
			for _, email := range []string{"newer@example.com", "new@example.com"} {
				_, err := store.UpdateUser(ctx, "ada", authkit.UserUpdate{Email: &email}, at)
				require.NoError(t, err)
				before()
			}
			require.NoError(t, store.CreateUser(ctx, authkit.StoredUser{User: authkit.User{ID: "bob", Email: "ada@example.com"}}))
			before()
			_, rotated, err := store.RotateSession(ctx, "ada", authkit.Rotation{At: at, ExpiresAt: at.Add(time.Hour)})
			require.NoError(t, err)
			require.True(t, rotated)
			before()
			require.NoError(t, store.RevokeSessions(ctx, "ada", "", at))
			before()
			require.NoError(t, store.CreateSession(ctx, authkit.StoredSession{Session: authkit.Session{ID: "bob", UserID: "bob"}}, 50))
			before()

			_, err = store.SessionByID(ctx, "ada")
			require.ErrorIs(t, err, authkit.ErrSessionNotFound)
			u, err := store.UserByEmail(ctx, "ada@example.com")
			require.NoError(t, err)
			require.Equal(t, "bob", u.ID)
			return result
		})
		require.ErrorIs(t, err, result)
		if result != nil {
			before()
			continue
		}
		u, err := store.UserByEmail(t.Context(), "ada@example.com")
		require.NoError(t, err)
		require.Equal(t, "bob", u.ID)
		_, err = store.SessionByID(t.Context(), "ada")
		require.ErrorIs(t, err, authkit.ErrSessionNotFound)
	}
}

// Callers that wait get their turns in the order in which they came.
func TestMemoryStoreTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := txStore(t)
		var order []int // written by the caller whose turn it is
		const callers = 20
		err := store.InTx(t.Context(), func(context.Context) error {
			for i := range callers {
				go func() {
					err := store.InTx(t.Context(), func(ctx context.Context) error {
						order = append(order, i)
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}()
				synctest.Wait() // it waits
			}
			return nil
		})
		require.NoError(t, err)
		synctest.Wait()
		var want []int
		for i := range callers {
			want = append(want, i)
		}
		require.Equal(t, want, order)
	})
}

// The context of a transaction that is over is like any other.
func TestMemoryStoreContextOfATransactionThatIsOver(t *testing.T) {
	t.Parallel()
	store := txStore(t)
	var over context.Context
	require.ErrorIs(t, store.InTx(t.Context(), func(ctx context.Context) error {
		over = ctx
		return errUndo
	}), errUndo)
	require.NoError(t, store.InTx(t.Context(), func(ctx context.Context) error {
		_, err := store.UpdateUser(ctx, "ada", authkit.UserUpdate{FullName: new("Ada")}, time.Now())
		require.NoError(t, err)
		u, err := store.UserByID(over, "ada")
		require.NoError(t, err)
		require.Empty(t, u.FullName, "it is no part of the next one")
		over = ctx
		return nil
	}))
	_, err := store.UpdateUser(over, "ada", authkit.UserUpdate{FullName: new("Late")}, time.Now())
	require.NoError(t, err)
	u, err := store.UserByID(t.Context(), "ada")
	require.NoError(t, err)
	require.Equal(t, "Late", u.FullName)
}

// The error of a transaction that a part of it has doomed names the reason.
func TestMemoryStoreNamesTheReason(t *testing.T) {
	t.Parallel()
	store := txStore(t)
	err := store.InTx(t.Context(), func(ctx context.Context) error {
		_ = store.InTx(ctx, func(context.Context) error { return errUndo })
		_ = store.InTx(ctx, func(context.Context) error { return authkit.ErrConflict })
		return nil
	})
	require.ErrorIs(t, err, errUndo)
	require.NotErrorIs(t, err, authkit.ErrConflict)
}

// A clean-up takes the sessions that are due by their last rotation, which may have moved the
// end forward or back. It does so with more sessions than it looks at while others wait, too.
func TestMemoryStoreDeletesByTheLastRotation(t *testing.T) {
	t.Parallel()
	const n = 5000
	at := time.Now()
	store := authkit.NewMemoryStore()
	for i := range n {
		require.NoError(t, store.CreateSession(t.Context(), authkit.StoredSession{Session: authkit.Session{
			ID: fmt.Sprint(i), UserID: fmt.Sprint("user-", i%100), ExpiresAt: at.Add(time.Duration(i) * time.Second),
		}}, n))
	}
	rotate := func(i int, expires time.Time) {
		_, rotated, err := store.RotateSession(t.Context(), fmt.Sprint(i), authkit.Rotation{At: at, ExpiresAt: expires})
		require.NoError(t, err)
		require.True(t, rotated)
	}
	for i := range n { // all a day later, twice, and every tenth back
		rotate(i, at.Add(24*time.Hour))
		rotate(i, at.Add(48*time.Hour))
		if i%10 == 0 {
			rotate(i, at.Add(-time.Hour))
		}
	}
	deleteExpired := func(at time.Time, limit, want int) {
		t.Helper()
		deleted, err := store.DeleteExpired(t.Context(), at, time.Time{}, limit)
		require.NoError(t, err)
		require.Equal(t, want, deleted)
	}
	deleteExpired(at.Add(-2*time.Hour), n, 0)
	deleteExpired(at, 100, 100)
	deleteExpired(at, n, n/10-100)
	deleteExpired(at.Add(2*time.Hour), n, 0) // when all were due once
	deleteExpired(at.Add(24*time.Hour), n, 0)
	for i := range n {
		_, err := store.SessionByID(t.Context(), fmt.Sprint(i))
		require.Equal(t, i%10 == 0, errors.Is(err, authkit.ErrSessionNotFound), i)
	}
	// In a transaction that is rolled back, too.
	err := store.InTx(t.Context(), func(ctx context.Context) error {
		deleted, err := store.DeleteExpired(ctx, at.Add(72*time.Hour), time.Time{}, 2500)
		require.NoError(t, err)
		require.Equal(t, 2500, deleted)
		_, _, err = store.RotateSession(ctx, "4999", authkit.Rotation{At: at, ExpiresAt: at.Add(time.Hour)})
		return errors.Join(ignore(err, authkit.ErrSessionNotFound), errUndo)
	})
	require.ErrorIs(t, err, errUndo)
	deleteExpired(at.Add(48*time.Hour), n, 0)
	deleteExpired(at.Add(48*time.Hour+1), n, n-n/10)
}

// A rotation that is rolled back changes nothing for a clean-up.
func TestMemoryStoreTakesRotationsOfATransactionBack(t *testing.T) {
	t.Parallel()
	at := time.Now()
	store := txStore(t)
	expires := func() time.Time {
		s, err := store.SessionByID(t.Context(), "ada")
		require.NoError(t, err)
		return s.ExpiresAt
	}
	was := expires()
	for _, step := range []time.Duration{-time.Hour, 2 * time.Hour} {
		require.ErrorIs(t, store.InTx(t.Context(), func(ctx context.Context) error {
			_, rotated, err := store.RotateSession(ctx, "ada", authkit.Rotation{At: at, ExpiresAt: at.Add(step)})
			require.NoError(t, err)
			require.True(t, rotated)
			n, err := store.DeleteExpired(ctx, at, at, 10)
			require.NoError(t, err)
			require.Equal(t, map[bool]int{true: 1, false: 0}[step < 0], n)
			return errUndo
		}), errUndo)
		require.Equal(t, was, expires())
	}
	n, err := store.DeleteExpired(t.Context(), was, at, 10)
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = store.DeleteExpired(t.Context(), was.Add(1), at, 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// snapshot returns everything that a store has of the accounts, sessions and tickets with the
// numbers up to n.
func snapshot(t *testing.T, store *authkit.MemoryStore, n int) []any {
	t.Helper()
	var all []any
	err := store.InTx(t.Context(), func(ctx context.Context) error {
		users, err := store.ListUsers(ctx, authkit.UserQuery{Limit: n})
		require.NoError(t, err)
		all = append(all, users)
		for i := range n {
			s, err := store.SessionByID(ctx, fmt.Sprint(i))
			all = append(all, fmt.Sprintf("%+v %x", s.Session, s.TokenHash), err)
			sessions, err := store.SessionsByUser(ctx, fmt.Sprint(i))
			require.NoError(t, err)
			k, ticketErr := store.AttemptTicket(ctx, "login", fmt.Sprint(i), time.Time{}) // which is taken back
			all = append(all, sessions, k, ticketErr)
		}
		revoked, err := store.Revocations(ctx, time.Time{})
		require.NoError(t, err)
		all = append(all, append([]authkit.Revocation{}, revoked...))
		return errUndo
	})
	require.ErrorIs(t, err, errUndo)
	return all
}

// A rollback takes all calls of a transaction back, in any order. The calls are random.
func TestMemoryStoreTakesEverythingBack(t *testing.T) {
	t.Parallel()
	const n = 12
	random := rand.New(rand.NewPCG(1, 2))
	store := authkit.NewMemoryStore()
	at := func() time.Time { return time.Unix(int64(random.IntN(100)), 0) }
	text := func() string { return fmt.Sprint(random.IntN(n)) }
	calls := []func(ctx context.Context){
		func(ctx context.Context) {
			_ = store.CreateUser(ctx, authkit.StoredUser{User: authkit.User{ID: text(), Email: text(), Roles: []string{text()}}})
		},
		func(ctx context.Context) {
			_, _ = store.UpdateUser(ctx, text(), authkit.UserUpdate{Email: new(text()), Roles: &[]string{text()}}, at())
		},
		func(ctx context.Context) { _ = store.DeleteUser(ctx, text(), "") },
		func(ctx context.Context) {
			_ = store.CreateSession(ctx, authkit.StoredSession{Session: authkit.Session{
				ID: text(), UserID: fmt.Sprint(random.IntN(3)), LastUsedAt: at(), CreatedAt: at(), ExpiresAt: at(),
			}}, 4)
		},
		func(ctx context.Context) {
			id := text()
			s, _ := store.SessionByID(ctx, id)
			_, _, _ = store.RotateSession(ctx, id, authkit.Rotation{Old: s.TokenHash, New: [32]byte{byte(random.IntN(256))}, At: at(), ExpiresAt: at()})
		},
		func(ctx context.Context) { _, _ = store.RevokeSession(ctx, fmt.Sprint(random.IntN(3)), text(), at()) },
		func(ctx context.Context) { _ = store.RevokeSessions(ctx, fmt.Sprint(random.IntN(3)), text(), at()) },
		func(ctx context.Context) { _ = store.RevokeSessions(ctx, fmt.Sprint(random.IntN(3)), "", at()) },
		func(ctx context.Context) { _, _ = store.DeleteExpired(ctx, at(), at(), random.IntN(3)) },
		func(ctx context.Context) {
			_ = store.PutTicket(ctx, authkit.Ticket{Kind: "login", ID: text(), Subject: text(), MaxAttempts: 100, ExpiresAt: at()})
		},
		func(ctx context.Context) { _, _ = store.AttemptTicket(ctx, "login", text(), at()) },
		func(ctx context.Context) { _ = store.ConsumeTicket(ctx, "login", text(), at()) },
		func(ctx context.Context) { _ = store.DeleteTickets(ctx, text()) },
		func(ctx context.Context) { _, _ = store.DeleteExpiredTickets(ctx, at(), random.IntN(3)) },
	}
	some := func(ctx context.Context) {
		for range 20 {
			calls[random.IntN(len(calls))](ctx)
		}
	}
	for range 300 {
		before := snapshot(t, store, n)
		require.ErrorIs(t, store.InTx(t.Context(), func(ctx context.Context) error {
			some(ctx)
			return errUndo
		}), errUndo)
		require.Equal(t, before, snapshot(t, store, n))
		require.NoError(t, store.InTx(t.Context(), func(ctx context.Context) error {
			some(ctx)
			return nil
		}))
		some(t.Context())
	}
	// And nothing is left behind that a clean-up does not find.
	late := time.Unix(1000, 0)
	_, err := store.DeleteExpired(t.Context(), late, late, 10_000)
	require.NoError(t, err)
	_, err = store.DeleteExpiredTickets(t.Context(), late, 10_000)
	require.NoError(t, err)
	empty := snapshot(t, authkit.NewMemoryStore(), n)
	require.Equal(t, empty[1:], snapshot(t, store, n)[1:], "but for the accounts")
}
