package faults_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/storetest/faults"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// account returns an account with an ID.
func account(id string) authkit.StoredUser {
	return authkit.StoredUser{User: authkit.User{ID: id, Email: id + "@example.com", CreatedAt: at, UpdatedAt: at}}
}

// bounded returns a context with a deadline, which a call that hangs needs. Use it within each.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// each is faults.Each with a fake clock, so that a call that hangs takes no real time.
func each(t *testing.T, run func(t *testing.T, in *faults.Injector)) {
	t.Helper()
	faults.Each(t, func(t *testing.T, in *faults.Injector) {
		synctest.Test(t, func(t *testing.T) { run(t, in) })
	})
}

// A store with batches, as sqlstore.DB has them.
type batching struct{ *authkit.MemoryStore }

func (s batching) CreateUsers(ctx context.Context, users []authkit.StoredUser) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		for _, u := range users {
			if err := s.CreateUser(ctx, u); err != nil {
				return err
			}
		}
		return nil
	})
}

// A wrapped store keeps the promises of its store as long as nothing fails.
func TestWrapped(t *testing.T) {
	t.Parallel()
	open := func() faults.Store { return new(faults.Injector).Store(authkit.NewMemoryStore()) }
	t.Run("users", func(t *testing.T) {
		t.Parallel()
		storetest.TestUserStore(t, func(*testing.T) authkit.UserStore { return open() })
	})
	t.Run("sessions", func(t *testing.T) {
		t.Parallel()
		storetest.TestSessionStore(t, func(*testing.T) authkit.SessionStore { return open() })
	})
	t.Run("tickets", func(t *testing.T) {
		t.Parallel()
		storetest.TestTicketStore(t, func(*testing.T) authkit.TicketStore { return open() })
	})
	t.Run("transactions", func(t *testing.T) {
		t.Parallel()
		storetest.TestTransactor(t, func(*testing.T) storetest.TransactorStore { return open() })
	})
}

// A wrapped store has the optional capabilities of its store, and no others.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	in, memory := new(faults.Injector), authkit.NewMemoryStore()
	type onlyUsers struct{ authkit.UserStore }
	type withBatches struct {
		authkit.UserStore
		authkit.UserBatchStore
	}
	for name, tc := range map[string]struct {
		store     any
		tx, batch bool
	}{
		"only users":        {in.Users(onlyUsers{memory}), false, false},
		"transactions":      {in.Users(memory), true, false},
		"batches":           {in.Users(withBatches{memory, batching{memory}}), false, true},
		"both":              {in.Users(batching{memory}), true, true},
		"everything":        {in.Store(memory), true, false},
		"all, with batches": {in.Store(batching{memory}), true, true},
	} {
		_, tx := tc.store.(authkit.Transactor)
		_, batch := tc.store.(authkit.UserBatchStore)
		require.Equal(t, []bool{tc.tx, tc.batch}, []bool{tx, batch}, name)
	}
	require.Equal(t, memory, in.Store(memory).(interface{ Unwrap() any }).Unwrap())
}

// Each runs the operation once, and then for every call and every kind.
func TestEach(t *testing.T) {
	t.Parallel()
	kinds := []faults.Kind{faults.Fail, faults.Lose, faults.Cancel, faults.Hang, faults.Crash, faults.CrashAfter}
	var got []faults.Kind
	each(t, func(t *testing.T, in *faults.Injector) {
		got = append(got, in.Kind())
		memory := authkit.NewMemoryStore()
		store := in.Store(memory)
		require.NoError(t, store.CreateUser(t.Context(), account("before"))) // does not count
		var errs []error
		result := in.Do(bounded(t), func(ctx context.Context) error {
			_, err := store.UserByID(ctx, "before")
			errs = append(errs, err, store.CreateUser(ctx, account("a")), store.CreateUser(ctx, account("b")))
			return errors.Join(errs...)
		})
		require.Equal(t, in.Kind() == faults.None, result == nil)
		require.NoError(t, store.DeleteUser(t.Context(), "before", "")) // does not count either

		n := (len(got) - 2) / len(kinds) // the call that failed
		for i, err := range errs {
			id := []string{"", "a", "b"}[i]
			_, missing := memory.UserByID(t.Context(), id)
			effect := missing == nil
			switch kind := in.Kind(); {
			case kind == faults.None, i < n, i > n && (kind == faults.Fail || kind == faults.Lose):
				require.NoError(t, err)
				require.Equal(t, i > 0, effect)
			case kind == faults.Cancel:
				require.ErrorIs(t, err, context.Canceled)
				require.False(t, effect)
			case kind == faults.Hang: // until the deadline, which later calls see
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.False(t, effect)
			default:
				require.ErrorIs(t, err, faults.ErrInjected)
				require.Equal(t, i > 0 && i == n && (kind == faults.Lose || kind == faults.CrashAfter), effect)
			}
		}
	})
	want := []faults.Kind{faults.None}
	for range 3 {
		want = append(want, kinds...)
	}
	require.Equal(t, want, got)
}

// A transaction fails as a whole, and a commit whose answer is lost is made.
func TestTransactions(t *testing.T) {
	t.Parallel()
	type outcome struct{ failed, effect bool }
	got := map[faults.Kind][]outcome{}
	each(t, func(t *testing.T, in *faults.Injector) {
		memory := authkit.NewMemoryStore()
		store := in.Store(memory)
		err := in.Do(bounded(t), func(ctx context.Context) error {
			return store.InTx(ctx, func(ctx context.Context) error {
				if err := store.CreateUser(ctx, account("a")); err != nil {
					return err
				}
				return store.InTx(ctx, func(ctx context.Context) error { // joins, and has no commit
					return store.CreateUser(ctx, account("b"))
				})
			})
		})
		n, countErr := memory.CountUsers(t.Context(), authkit.UserQuery{})
		require.NoError(t, countErr)
		require.Contains(t, []int{0, 2}, n, "half a transaction")
		got[in.Kind()] = append(got[in.Kind()], outcome{err != nil, n == 2})
	})
	failed := outcome{true, false}
	none := []outcome{failed, failed, failed, failed} // InTx, CreateUser, CreateUser, commit
	lost := []outcome{failed, failed, failed, {true, true}}
	require.Equal(t, map[faults.Kind][]outcome{
		faults.None: {{false, true}}, faults.Fail: none, faults.Lose: lost, faults.Cancel: none, faults.Hang: none, faults.Crash: none, faults.CrashAfter: lost,
	}, got)
}

// Every method of a store can fail, and returns nothing then.
func TestMethods(t *testing.T) {
	t.Parallel()
	store := func(in *faults.Injector) faults.Store { return in.Store(batching{authkit.NewMemoryStore()}) }
	for name, call := range map[string]func(ctx context.Context, s faults.Store) (any, error){
		"CreateUser": func(ctx context.Context, s faults.Store) (any, error) { return nil, s.CreateUser(ctx, account("a")) },
		"CreateUsers": func(ctx context.Context, s faults.Store) (any, error) {
			return nil, s.(authkit.UserBatchStore).CreateUsers(ctx, nil)
		},
		"UserByID": func(ctx context.Context, s faults.Store) (any, error) {
			u, err := s.UserByID(ctx, "u")
			return u.ID, err
		},
		"UserByEmail": func(ctx context.Context, s faults.Store) (any, error) {
			u, err := s.UserByEmail(ctx, "u@example.com")
			return u.ID, err
		},
		"ListUsers": func(ctx context.Context, s faults.Store) (any, error) {
			u, err := s.ListUsers(ctx, authkit.UserQuery{Limit: 1})
			return len(u), err
		},
		"CountUsers": func(ctx context.Context, s faults.Store) (any, error) { return s.CountUsers(ctx, authkit.UserQuery{}) },
		"UpdateUser": func(ctx context.Context, s faults.Store) (any, error) {
			u, err := s.UpdateUser(ctx, "u", authkit.UserUpdate{}, at)
			return u.ID, err
		},
		"DeleteUser": func(ctx context.Context, s faults.Store) (any, error) { return nil, s.DeleteUser(ctx, "u", "") },
		"CreateSession": func(ctx context.Context, s faults.Store) (any, error) {
			return nil, s.CreateSession(ctx, authkit.StoredSession{Session: authkit.Session{ID: "t", UserID: "u"}}, 9)
		},
		"SessionByID": func(ctx context.Context, s faults.Store) (any, error) {
			x, err := s.SessionByID(ctx, "s")
			return x.ID, err
		},
		"SessionUser": func(ctx context.Context, s faults.Store) (any, error) {
			x, u, err := s.SessionUser(ctx, "s")
			return x.ID + u.ID, err
		},
		"SessionsByUser": func(ctx context.Context, s faults.Store) (any, error) {
			x, err := s.SessionsByUser(ctx, "u")
			return len(x), err
		},
		"RotateSession": func(ctx context.Context, s faults.Store) (any, error) {
			x, _, err := s.RotateSession(ctx, "s", authkit.Rotation{})
			return x.ID, err
		},
		"RevokeSession":  func(ctx context.Context, s faults.Store) (any, error) { return s.RevokeSession(ctx, "u", "s", at) },
		"RevokeSessions": func(ctx context.Context, s faults.Store) (any, error) { return nil, s.RevokeSessions(ctx, "u", "", at) },
		"Revocations": func(ctx context.Context, s faults.Store) (any, error) {
			x, err := s.Revocations(ctx, time.Time{})
			return len(x), err
		},
		"DeleteExpired": func(ctx context.Context, s faults.Store) (any, error) { return s.DeleteExpired(ctx, at, at, 9) },
		"PutTicket": func(ctx context.Context, s faults.Store) (any, error) {
			return nil, s.PutTicket(ctx, authkit.Ticket{Kind: "k", ID: "2", ExpiresAt: at.Add(time.Hour)})
		},
		"AttemptTicket": func(ctx context.Context, s faults.Store) (any, error) {
			x, err := s.AttemptTicket(ctx, "k", "1", at)
			return x.ID, err
		},
		"ConsumeTicket": func(ctx context.Context, s faults.Store) (any, error) { return nil, s.ConsumeTicket(ctx, "k", "1", at) },
		"DeleteTickets": func(ctx context.Context, s faults.Store) (any, error) { return nil, s.DeleteTickets(ctx, "u") },
		"DeleteExpiredTickets": func(ctx context.Context, s faults.Store) (any, error) {
			return s.DeleteExpiredTickets(ctx, at.Add(2*time.Hour), 9)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, in *faults.Injector) {
				s := store(in)
				require.NoError(t, s.CreateUser(t.Context(), account("u")))
				require.NoError(t, s.CreateSession(t.Context(), authkit.StoredSession{Session: authkit.Session{ID: "s", UserID: "u", ExpiresAt: at.Add(-time.Hour)}}, 9))
				require.NoError(t, s.PutTicket(t.Context(), authkit.Ticket{Kind: "k", ID: "1", Subject: "u", MaxAttempts: 3, ExpiresAt: at.Add(time.Hour)}))
				var result any
				err := in.Do(bounded(t), func(ctx context.Context) (err error) {
					result, err = call(ctx, s)
					return err
				})
				if in.Kind() == faults.None {
					require.NoError(t, err)
					return
				}
				require.Error(t, err)
				require.Contains(t, []any{nil, "", 0, false}, result)
			})
		})
	}
}

// Users, Sessions and Tickets wrap stores that are not one.
func TestSeparateStores(t *testing.T) {
	t.Parallel()
	runs := 0
	each(t, func(t *testing.T, in *faults.Injector) {
		runs++
		users, sessions, tickets := in.Users(authkit.NewMemoryStore()), in.Sessions(authkit.NewMemoryStore()), in.Tickets(authkit.NewMemoryStore())
		err := in.Do(bounded(t), func(ctx context.Context) error {
			return errors.Join(users.CreateUser(ctx, account("a")), sessions.RevokeSessions(ctx, "a", "", at), tickets.DeleteTickets(ctx, "a"))
		})
		require.Equal(t, in.Kind() == faults.None, err == nil)
	})
	require.Equal(t, 1+3*6, runs)
}

// wrong are tests that Each fails, with the text that it prints.
var wrong = map[string]struct {
	run  func(t *testing.T, in *faults.Injector)
	want string
}{
	"no call": {func(t *testing.T, in *faults.Injector) {
		_ = in.Do(t.Context(), func(context.Context) error { return nil })
	}, "the operation makes no call"},
	"other calls": {func(t *testing.T, in *faults.Injector) {
		store := in.Store(authkit.NewMemoryStore())
		_ = in.Do(t.Context(), func(ctx context.Context) error {
			if in.Kind() == faults.None {
				_, err := store.UserByID(ctx, "x")
				return err
			}
			return store.DeleteTickets(ctx, "x")
		})
	}, "must make the same calls each time"},
	"twice": {func(t *testing.T, in *faults.Injector) {
		store := in.Store(authkit.NewMemoryStore())
		for range 2 {
			_ = in.Do(t.Context(), func(ctx context.Context) error { return store.DeleteTickets(ctx, "x") })
		}
	}, "Do is called twice"},
	"no deadline": {func(t *testing.T, in *faults.Injector) {
		store := in.Store(authkit.NewMemoryStore())
		_ = in.Do(t.Context(), func(ctx context.Context) error { return store.DeleteTickets(ctx, "x") })
	}, "the context of DeleteTickets has no deadline"},
}

// TestEachFails runs the wrong tests in processes of their own.
func TestEachFails(t *testing.T) {
	t.Parallel()
	const variable = "AUTHKIT_WRONG_TEST"
	if name := os.Getenv(variable); name != "" {
		faults.Each(t, wrong[name].run)
		return
	}
	program, err := os.Executable()
	require.NoError(t, err)
	for name, tc := range wrong {
		cmd := exec.Command(program, "-test.run=^TestEachFails$")
		cmd.Env = append(os.Environ(), variable+"="+name)
		out, err := cmd.CombinedOutput()
		require.Error(t, err, name)
		require.Contains(t, string(out), tc.want)
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	var names []string
	for kind := faults.None; kind <= faults.CrashAfter+1; kind++ {
		names = append(names, kind.String())
	}
	require.Equal(t, []string{"none", "fail", "lose", "cancel", "hang", "crash", "crash after", "Kind(7)"}, names)
}
