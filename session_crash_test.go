package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest/faults"
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

// An operation is what a failure can interrupt. Its user has the role "member" and two
// sessions, one of which is held.
type operation func(ctx context.Context, kit *authkit.Kit, userID, sessionID string, held authkit.Token) error

const nextPassword = "another long password"

var operations = map[string]operation{
	"login": func(ctx context.Context, kit *authkit.Kit, _, _ string, _ authkit.Token) error {
		token, err := kit.Login(ctx, email, password)
		if err != nil && token.AccessToken+token.RefreshToken != "" {
			return fmt.Errorf("a token beside an error, %v", err)
		}
		return err
	},
	"refresh": func(ctx context.Context, kit *authkit.Kit, _, _ string, held authkit.Token) error {
		token, err := kit.Refresh(ctx, held.RefreshToken)
		if err != nil && token.AccessToken+token.RefreshToken != "" {
			return fmt.Errorf("a token beside an error, %v", err)
		}
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
		return kit.SetPassword(ctx, userID, nextPassword)
	},
	"change password": func(ctx context.Context, kit *authkit.Kit, userID, _ string, _ authkit.Token) error {
		return kit.ChangePassword(ctx, userID, password, nextPassword)
	},
	"disable": func(ctx context.Context, kit *authkit.Kit, userID, _ string, _ authkit.Token) error {
		return kit.DisableUser(ctx, userID)
	},
	"delete": func(ctx context.Context, kit *authkit.Kit, userID, _ string, _ authkit.Token) error {
		return kit.DeleteUser(ctx, userID)
	},
	"set roles": func(ctx context.Context, kit *authkit.Kit, userID, _ string, _ authkit.Token) error {
		_, err := kit.SetRoles(ctx, userID, "editor", "reviewer")
		return err
	},
}

var errCrash = errors.New("the program was killed")

// RF-06, RF-08, ST-02: an operation of which any store call fails, hangs, loses its answer, or
// is the last one of a program that is killed, leaves the old state or the new one, as a
// program sees it that is started afterwards. No session comes back. An operation that
// succeeded has its whole effect, and one that failed can be called again.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for name, call := range operations {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, again %v", name, again), func(t *testing.T) {
				t.Parallel()
				faults.Each(t, func(t *testing.T, in *faults.Injector) {
					synctest.Test(t, func(t *testing.T) { testCrash(t, in, name, call, again) })
				})
			})
		}
	}
}

func testCrash(t *testing.T, in *faults.Injector, name string, call operation, again bool) {
	time.Sleep(250 * time.Millisecond)
	store := in.Store(authkit.NewMemoryStore())
	listen := func(c *authkit.Config) { c.Users, c.Sessions.Store = store, store }
	kit := newKit(t, listen)
	user := addUser(t, kit, email, password, "member")
	held, other := begin(t, kit), begin(t, kit)
	session := sessionID(t, held)
	time.Sleep(time.Millisecond)

	err := in.Do(t.Context(), func(ctx context.Context) error { return call(ctx, kit, user.ID, session, held) })
	switch {
	case in.Kind() == faults.None:
		require.NoError(t, err)
	case err != nil && !(in.Kind() == faults.Cancel && errors.Is(err, context.Canceled)):
		require.ErrorIs(t, err, authkit.ErrUnavailable)
	}
	kit = newKit(t, listen) // the next program
	if err != nil && again {
		err = call(t.Context(), kit, user.ID, session, held)
		done := map[string]error{"logout": authkit.ErrSessionNotFound, "delete": authkit.ErrUserNotFound, "change password": authkit.ErrInvalidCredentials}[name]
		if done != nil && errors.Is(err, done) {
			err = nil // the first call has done it
		}
		require.NoError(t, err)
	}
	succeeded := err == nil

	sessions, err := kit.Sessions(t.Context(), user.ID)
	require.NoError(t, err)
	if goesOn := slices.Contains([]faults.Kind{faults.None, faults.Fail, faults.Cancel, faults.Hang}, in.Kind()); name == "login" && goesOn {
		require.Equal(t, succeeded, len(sessions) == 3, "a session without a login, or the reverse")
	}
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
		last, err := kit.Refresh(t.Context(), next.RefreshToken)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, access(t, kit, last))
		return true
	}
	one, two := alive(held), alive(other)
	_, oldErr := kit.Login(t.Context(), email, password)
	_, newErr := kit.Login(t.Context(), email, nextPassword)
	require.Equal(t, strings.HasSuffix(name, " password") && !one, newErr == nil, "the password changed and the sessions did not, or the reverse")
	switch name {
	case "login", "refresh", "set roles":
		require.True(t, one && two, "an honest client was logged out")
		require.NoError(t, oldErr)
	case "logout":
		require.True(t, two)
		require.False(t, one && succeeded, "the logout is lost")
	case "logout others":
		require.True(t, one)
		require.False(t, two && succeeded, "the logout is lost")
	default:
		require.Equal(t, one, two, "one of two sessions is left")
		require.False(t, one && succeeded, "the revocation is lost")
		require.Equal(t, one || name == "logout everywhere", oldErr == nil, "the account changed and the sessions did not, or the reverse")
	}
	u, err := kit.User(t.Context(), user.ID)
	if name == "delete" {
		require.Equal(t, one, err == nil, "the account is gone and the sessions are not, or the reverse")
		return
	}
	require.NoError(t, err)
	require.Equal(t, name == "disable" && !one, u.Disabled)
	if name == "set roles" && (succeeded || len(u.Roles) > 1) {
		require.Equal(t, []string{"editor", "reviewer"}, u.Roles)
		return
	}
	require.Equal(t, []string{"member"}, u.Roles)
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
	kit := newKit(t, store.listen, events.listen, func(c *authkit.Config) { c.Sessions.ReuseGrace = -1 })
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
		kit := newKit(t, store.listen, func(c *authkit.Config) { c.Sessions.ReuseGrace = grace })
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
