package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A faultyStore is a MemoryStore, both halves of it, whose calls a test can stop. The hooks get the
// name of the method and the number of the call, from 1.
type faultyStore struct {
	*authkit.MemoryStore
	calls         int
	before, after func(name string, n int) error
}

// listen is a change for [newKit].
func (s *faultyStore) listen(c *authkit.Config) { c.Users, c.Sessions.Store = s, s }

func step[T any](s *faultyStore, name string, call func() (T, error)) (T, error) {
	s.calls++
	n := s.calls
	var none T
	if s.before != nil {
		if err := s.before(name, n); err != nil {
			return none, err
		}
	}
	v, err := call()
	if s.after != nil {
		if err := s.after(name, n); err != nil {
			return none, err
		}
	}
	return v, err
}

func (s *faultyStore) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	return step(s, "UserByID", func() (authkit.StoredUser, error) { return s.MemoryStore.UserByID(ctx, id) })
}

func (s *faultyStore) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	return step(s, "UserByEmail", func() (authkit.StoredUser, error) { return s.MemoryStore.UserByEmail(ctx, email) })
}

func (s *faultyStore) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
	return step(s, "UpdateUser", func() (authkit.User, error) { return s.MemoryStore.UpdateUser(ctx, id, change, at) })
}

func (s *faultyStore) CreateSession(ctx context.Context, session authkit.StoredSession, limit int) error {
	_, err := step(s, "CreateSession", func() (any, error) { return nil, s.MemoryStore.CreateSession(ctx, session, limit) })
	return err
}

func (s *faultyStore) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	return step(s, "SessionByID", func() (authkit.StoredSession, error) { return s.MemoryStore.SessionByID(ctx, id) })
}

func (s *faultyStore) SessionUser(ctx context.Context, id string) (session authkit.StoredSession, u authkit.StoredUser, err error) {
	session, err = step(s, "SessionUser", func() (x authkit.StoredSession, err error) {
		x, u, err = s.MemoryStore.SessionUser(ctx, id)
		return x, err
	})
	return session, u, err
}

func (s *faultyStore) SessionsByUser(ctx context.Context, id string) ([]authkit.Session, error) {
	return step(s, "SessionsByUser", func() ([]authkit.Session, error) { return s.MemoryStore.SessionsByUser(ctx, id) })
}

func (s *faultyStore) RotateSession(ctx context.Context, id string, r authkit.Rotation) (session authkit.StoredSession, rotated bool, err error) {
	session, err = step(s, "RotateSession", func() (session authkit.StoredSession, err error) {
		session, rotated, err = s.MemoryStore.RotateSession(ctx, id, r)
		return session, err
	})
	return session, rotated && err == nil, err
}

func (s *faultyStore) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	return step(s, "RevokeSession", func() (bool, error) { return s.MemoryStore.RevokeSession(ctx, userID, id, at) })
}

func (s *faultyStore) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	_, err := step(s, "RevokeSessions", func() (any, error) { return nil, s.MemoryStore.RevokeSessions(ctx, userID, except, at) })
	return err
}

func (s *faultyStore) DeleteUser(ctx context.Context, id, keep string) error {
	_, err := step(s, "DeleteUser", func() (any, error) { return nil, s.MemoryStore.DeleteUser(ctx, id, keep) })
	return err
}

func (s *faultyStore) DeleteTickets(ctx context.Context, subject string) error {
	_, err := step(s, "DeleteTickets", func() (any, error) { return nil, s.MemoryStore.DeleteTickets(ctx, subject) })
	return err
}

func (s *faultyStore) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
	return step(s, "Revocations", func() ([]authkit.Revocation, error) { return s.MemoryStore.Revocations(ctx, since) })
}

// operations are what a crash can interrupt. Each is given two sessions of a user.
var operations = map[string]func(ctx context.Context, kit *authkit.Kit, userID, sessionID string, held authkit.Token) error{
	"refresh": func(ctx context.Context, kit *authkit.Kit, _, _ string, held authkit.Token) error {
		_, err := kit.Refresh(ctx, held.RefreshToken)
		return err
	},
	"logout": func(ctx context.Context, kit *authkit.Kit, userID, sessionID string, _ authkit.Token) error {
		return kit.Logout(ctx, userID, sessionID)
	},
	"logout others": func(ctx context.Context, kit *authkit.Kit, userID, sessionID string, _ authkit.Token) error {
		return kit.LogoutOthers(ctx, userID, sessionID)
	},
	"logout everywhere": func(ctx context.Context, kit *authkit.Kit, userID, _ string, _ authkit.Token) error {
		return kit.LogoutEverywhere(ctx, userID)
	},
	"set password": func(ctx context.Context, kit *authkit.Kit, userID, _ string, _ authkit.Token) error {
		return kit.SetPassword(ctx, userID, "another long password")
	},
	"disable": func(ctx context.Context, kit *authkit.Kit, userID, _ string, _ authkit.Token) error {
		return kit.DisableUser(ctx, userID)
	},
}

var errCrash = errors.New("the program was killed")

// RF-06: a program that is killed before or after any of its store calls leaves the old state or the
// new one, seen from a program that is started afterwards; and no session is brought back.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for name, operation := range operations {
		for _, effect := range []bool{false, true} {
			for n := 1; ; n++ {
				reached := false
				t.Run(fmt.Sprintf("%s, call %d, effect %v", name, n, effect), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						time.Sleep(250 * time.Millisecond)
						store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
						kit := newKit(t, store.listen)
						user := addUser(t, kit, email, password)
						held, other := begin(t, kit), begin(t, kit)
						time.Sleep(time.Millisecond)

						store.calls = 0
						crash := func(_ string, call int) error {
							if call >= n {
								reached = true
								return errCrash
							}
							return nil
						}
						if effect {
							store.after = crash
						} else {
							store.before = crash
						}
						err := operation(t.Context(), kit, user.ID, sessionID(t, held), held)
						store.before, store.after = nil, nil
						if reached {
							require.ErrorIs(t, err, authkit.ErrUnavailable)
						} else {
							require.NoError(t, err)
						}

						kit = newKit(t, store.listen) // the next program
						alive := func(token authkit.Token) bool {
							status := access(t, kit, token)
							next, err := kit.Refresh(t.Context(), token.RefreshToken)
							require.Equal(t, status == http.StatusOK, err == nil, "half of a session is left: %d and %v", status, err)
							if err != nil {
								require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
								require.NotEqual(t, http.StatusOK, access(t, kit, token), "it came back")
								return false
							}
							// One family: what the store has is what the client got.
							again, err := kit.Refresh(t.Context(), next.RefreshToken)
							require.NoError(t, err)
							require.Equal(t, http.StatusOK, access(t, kit, again))
							return true
						}
						one, two := alive(held), alive(other)
						switch name {
						case "refresh":
							require.True(t, one && two, "an honest client was logged out")
						case "logout":
							require.True(t, two)
						case "logout others":
							require.True(t, one)
						default:
							require.Equal(t, one, two, "one of two sessions is left")
						}
						_, oldErr := kit.Login(t.Context(), email, password)
						_, newErr := kit.Login(t.Context(), email, "another long password")
						if name == "set password" {
							require.Equal(t, one, oldErr == nil, "the password changed and the sessions did not, or the reverse")
							require.Equal(t, one, newErr != nil)
						}
						if name == "disable" {
							require.Equal(t, one, oldErr == nil)
						}
					})
				})
				if t.Failed() || !reached {
					break
				}
			}
		}
	}
}

// separate is an account store that is no session store.
type separate struct{ authkit.UserStore }

// MW-07, RE-05: a store that fails is answered 503; the token that was presented is as good as it was.
func TestSessionStoreFailures(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"SessionUser", "SessionByID", "UserByID", "RotateSession"} {
		var events recorder
		store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
		listen := store.listen
		if method == "SessionByID" || method == "UserByID" { // of two stores that are not one
			listen = func(c *authkit.Config) { c.Users, c.Sessions.Store = separate{store}, store }
		}
		kit := newKit(t, listen, events.listen)
		addUser(t, kit, email, password)
		token := begin(t, kit)
		store.before = func(name string, _ int) error {
			if name == method {
				return errCrash
			}
			return nil
		}
		_, err := kit.Refresh(t.Context(), token.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrUnavailable, method)
		require.Equal(t, authkit.EventRefreshFailure, events.last().Kind)
		require.Equal(t, authkit.ReasonStore, events.last().Reason)
		require.ErrorIs(t, events.last().Err, errCrash)
		if method != "RotateSession" {
			require.Equal(t, http.StatusServiceUnavailable, access(t, kit, token), method)
		}
		store.before = nil
		renew(t, kit, token)
	}
}

// RF-04: the end of a reused session is not stopped by the client's hanging up, and that it could not
// be stored is an error.
func TestReuseEndsTheSessionForSure(t *testing.T) {
	t.Parallel()
	var events recorder
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, store.listen, events.listen, func(c *authkit.Config) { c.Sessions.Grace = -1 })
	addUser(t, kit, email, password)
	first := begin(t, kit)
	second := renew(t, kit, first)

	store.before = func(name string, _ int) error {
		if name == "RevokeSession" {
			return errCrash
		}
		return nil
	}
	_, err := kit.Refresh(t.Context(), first.RefreshToken)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.NotErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	require.Equal(t, http.StatusOK, access(t, kit, second))

	ctx, cancel := context.WithCancel(t.Context())
	store.before = nil
	store.after = func(name string, _ int) error {
		if name == "SessionByID" {
			cancel()
		}
		return nil
	}
	_, err = kit.Refresh(ctx, first.RefreshToken)
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	require.Equal(t, authkit.EventTokenReuse, events.last().Kind)
	store.after = nil
	require.Equal(t, http.StatusUnauthorized, access(t, kit, second))
}

// A login whose session cannot be stored is no login.
func TestLoginNeedsItsSession(t *testing.T) {
	t.Parallel()
	var events recorder
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, store.listen, events.listen)
	addUser(t, kit, email, password)
	store.before = func(name string, _ int) error {
		if name == "CreateSession" {
			return errCrash
		}
		return nil
	}
	token, err := kit.Login(t.Context(), email, password)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.Zero(t, token)
	require.Equal(t, authkit.EventLoginFailure, events.last().Kind)
}

// A hangingSessions does not answer, in one of its methods, for as long as it may.
type hangingSessions struct {
	authkit.SessionStore
	method string
}

func (s *hangingSessions) hang(ctx context.Context, method string) error {
	if method != s.method {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *hangingSessions) CreateSession(ctx context.Context, session authkit.StoredSession, limit int) error {
	return errors.Join(s.hang(ctx, "CreateSession"), s.SessionStore.CreateSession(ctx, session, limit))
}

func (s *hangingSessions) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	session, err := s.SessionStore.SessionByID(ctx, id)
	return session, errors.Join(s.hang(ctx, "SessionByID"), err)
}

func (s *hangingSessions) SessionsByUser(ctx context.Context, id string) ([]authkit.Session, error) {
	return nil, s.hang(ctx, "SessionsByUser")
}

func (s *hangingSessions) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	return authkit.StoredSession{}, false, s.hang(ctx, "RotateSession")
}

func (s *hangingSessions) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	return false, s.hang(ctx, "RevokeSession")
}

func (s *hangingSessions) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	return s.hang(ctx, "RevokeSessions")
}

func (s *hangingSessions) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
	return nil, s.hang(ctx, "Revocations")
}

func (s *hangingSessions) DeleteExpired(ctx context.Context, at, before time.Time, limit int) (int, error) {
	return 0, s.hang(ctx, "DeleteExpired")
}

// ST-04: every call to a session store has a deadline.
func TestSessionStoreHangs(t *testing.T) {
	t.Parallel()
	for method, call := range map[string]func(ctx context.Context, kit *authkit.Kit, userID string, token authkit.Token) error{
		"CreateSession": func(ctx context.Context, kit *authkit.Kit, _ string, _ authkit.Token) error {
			_, err := kit.Login(ctx, email, password)
			return err
		},
		"SessionByID": func(ctx context.Context, kit *authkit.Kit, _ string, token authkit.Token) error {
			_, err := kit.Refresh(ctx, token.RefreshToken)
			return err
		},
		"RotateSession": func(ctx context.Context, kit *authkit.Kit, _ string, token authkit.Token) error {
			_, err := kit.Refresh(ctx, token.RefreshToken)
			return err
		},
		"SessionsByUser": func(ctx context.Context, kit *authkit.Kit, id string, _ authkit.Token) error {
			_, err := kit.Sessions(ctx, id)
			return err
		},
		"RevokeSession": func(ctx context.Context, kit *authkit.Kit, id string, _ authkit.Token) error {
			return kit.Logout(ctx, id, "x")
		},
		"RevokeSessions": func(ctx context.Context, kit *authkit.Kit, id string, _ authkit.Token) error {
			return kit.LogoutEverywhere(ctx, id)
		},
		"Revocations": func(ctx context.Context, kit *authkit.Kit, _ string, _ authkit.Token) error {
			_, err := kit.Revocations(ctx, time.Time{})
			return err
		},
		"DeleteExpired": func(ctx context.Context, kit *authkit.Kit, _ string, _ authkit.Token) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second+time.Millisecond)
			defer cancel()
			if err := kit.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return authkit.ErrUnavailable // see that the event came
		},
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var events recorder
				memory := authkit.NewMemoryStore()
				store := &hangingSessions{SessionStore: memory}
				kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users, c.Sessions.Store = memory, store })
				user := addUser(t, kit, email, password)
				token := begin(t, kit)
				store.method = method
				events.reset()
				start := time.Now()
				require.ErrorIs(t, call(t.Context(), kit, user.ID, token), authkit.ErrUnavailable)
				require.InDelta(t, 5, time.Since(start).Seconds(), 0.1)
				if method != "SessionsByUser" && method != "Revocations" { // whose caller has the error
					require.Equal(t, authkit.ReasonStore, events.last().Reason)
				}
			})
		})
	}
}

// RF-06: a rotation that was made, and whose answer was lost on the way from the store, is no reuse:
// not even without a grace.
func TestRotationWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, -1} {
		store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
		kit := newKit(t, store.listen, func(c *authkit.Config) { c.Sessions.Grace = grace })
		addUser(t, kit, email, password)
		token := begin(t, kit)
		store.after = func(name string, _ int) error {
			if name == "RotateSession" {
				return errCrash
			}
			return nil
		}
		next := renew(t, kit, token)
		store.after = nil
		require.Equal(t, http.StatusOK, access(t, kit, next))
		renew(t, kit, next)
	}
}
