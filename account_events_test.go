package authkit_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// Every change of an account is one event, with the account and the actor.
func TestAccountEvents(t *testing.T) {
	t.Parallel()
	var events recorder
	kit := newKit(t, together, events.listen)
	admin := addUser(t, kit, "admin@example.com", password, "admin")
	token, err := kit.Login(t.Context(), admin.Email, password)
	require.NoError(t, err)
	request := as(t, kit, token)
	for name, tc := range map[string]struct {
		ctx   context.Context
		actor string
	}{
		"program": {t.Context(), ""}, "system": {authkit.WithSystem(t.Context(), "cli:olga"), "system:cli:olga"}, "administrator": {request, admin.ID},
		"system in a request": {authkit.WithSystem(request, "import"), "system:import"},
	} {
		ctx := tc.ctx
		last := authkit.User{}
		keep := func(u authkit.User, err error) error { last = u; return err }
		var u authkit.User
		for _, step := range []struct {
			kind authkit.EventKind
			do   func() error
		}{
			{authkit.EventUserCreated, func() (err error) {
				u, err = kit.CreateUser(ctx, authkit.User{Email: "u@example.com"}, password)
				return keep(u, err)
			}},
			{authkit.EventUserUpdated, func() error { return keep(kit.SetFullName(ctx, u.ID, "Ursula")) }},
			{authkit.EventUserUpdated, func() error { return keep(kit.SetEmail(ctx, u.ID, "Ursula@Example.com")) }},
			{authkit.EventUserUpdated, func() error { return keep(kit.VerifyEmail(ctx, u.ID, "URSULA@example.com")) }},
			{authkit.EventRolesChanged, func() error { return keep(kit.SetRoles(ctx, u.ID, "editor")) }},
			{authkit.EventRolesChanged, func() error { return keep(kit.AddRole(ctx, u.ID, "viewer")) }},
			{authkit.EventRolesChanged, func() error { return keep(kit.RemoveRole(ctx, u.ID, "editor")) }},
			{authkit.EventUserLocked, func() error { return keep(kit.LockUser(ctx, u.ID, time.Now().Add(time.Hour))) }},
			{authkit.EventUserUnlocked, func() error { return keep(kit.UnlockUser(ctx, u.ID)) }},
			{authkit.EventPasswordChange, func() error { return kit.SetPassword(ctx, u.ID, newPassword) }},
			{authkit.EventUserDisabled, func() error { return kit.DisableUser(ctx, u.ID) }},
			{authkit.EventUserEnabled, func() error { return keep(kit.EnableUser(ctx, u.ID)) }},
			{authkit.EventUserDeleted, func() error { return kit.DeleteUser(ctx, u.ID) }},
		} {
			before, err := kit.User(t.Context(), u.ID)
			if u.ID != "" {
				require.NoError(t, err)
			}
			events.reset()
			last = authkit.User{}
			require.NoError(t, step.do(), step.kind)
			require.Equal(t, []authkit.Event{{Kind: step.kind, UserID: u.ID, ActorID: tc.actor}}, events.all(), name)
			after, err := kit.User(t.Context(), u.ID)
			if step.kind == authkit.EventUserDeleted {
				require.ErrorIs(t, err, authkit.ErrUserNotFound)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, before.Version+1, after.Version, step.kind)
			if last.ID != "" {
				require.Equal(t, after, last, step.kind)
			}
		}
	}
}

// The methods that change one field refuse what is wrong with it, and accounts that are not
// there, and change nothing then.
func TestAccountErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("the disk is full")
	var events recorder
	users := newHookStore()
	kit := newKit(t, users.listen, events.listen)
	u := addUser(t, kit, "u@example.com", password)
	taken := addUser(t, kit, "taken@example.com", password)
	operations := map[string]func(id string) error{
		"SetFullName":    func(id string) error { _, err := kit.SetFullName(t.Context(), id, "U"); return err },
		"SetEmail":       func(id string) error { _, err := kit.SetEmail(t.Context(), id, "new@example.com"); return err },
		"VerifyEmail":    func(id string) error { _, err := kit.VerifyEmail(t.Context(), id, u.Email); return err },
		"SetRoles":       func(id string) error { _, err := kit.SetRoles(t.Context(), id, "editor"); return err },
		"LockUser":       func(id string) error { _, err := kit.LockUser(t.Context(), id, time.Now()); return err },
		"UnlockUser":     func(id string) error { _, err := kit.UnlockUser(t.Context(), id); return err },
		"EnableUser":     func(id string) error { _, err := kit.EnableUser(t.Context(), id); return err },
		"DisableUser":    func(id string) error { return kit.DisableUser(t.Context(), id) },
		"SetPassword":    func(id string) error { return kit.SetPassword(t.Context(), id, newPassword) },
		"ChangePassword": func(id string) error { return kit.ChangePassword(t.Context(), id, password, newPassword) },
		"DeleteUser":     func(id string) error { return kit.DeleteUser(t.Context(), id) },
		"ExportUser":     func(id string) error { _, err := kit.ExportUser(t.Context(), id); return err },
		"User":           func(id string) error { _, err := kit.User(t.Context(), id); return err },
	}
	events.reset()
	for name, do := range operations {
		require.ErrorIs(t, do("nobody"), authkit.ErrUserNotFound, name)
		require.ErrorIs(t, do("\x00"), authkit.ErrUserNotFound, name)
	}
	require.Empty(t, events.all())
	users.update = func(context.Context, string, authkit.UserUpdate, time.Time) (authkit.User, error) {
		return authkit.User{}, cause
	}
	for name, do := range operations {
		if name == "ExportUser" || name == "User" {
			continue
		}
		events.reset()
		err := do(u.ID)
		require.ErrorIs(t, err, authkit.ErrUnavailable, name)
		require.ErrorIs(t, err, cause, name)
		require.Equal(t, authkit.EventStoreFailure, events.last().Kind, name)
	}
	users.update = users.UserStore.UpdateUser
	users.byID = func(context.Context, string) (authkit.StoredUser, error) { return authkit.StoredUser{}, cause }
	require.ErrorIs(t, operations["User"](u.ID), authkit.ErrUnavailable)
	users.byID = users.UserStore.UserByID

	_, err := kit.SetEmail(t.Context(), u.ID, "Taken@Example.com")
	require.ErrorIs(t, err, authkit.ErrEmailTaken)
	for field, do := range map[string]func() error{
		"email":        func() error { _, err := kit.SetEmail(t.Context(), u.ID, "no address"); return err },
		"full_name":    func() error { _, err := kit.SetFullName(t.Context(), u.ID, "a\nb"); return err },
		"locked_until": func() error { _, err := kit.LockUser(t.Context(), u.ID, time.Unix(1<<40, 0)); return err },
		"roles":        func() error { _, err := kit.AddRole(t.Context(), u.ID, "No Role"); return err },
	} {
		var invalid *authkit.ValidationError
		require.ErrorAs(t, do(), &invalid, field)
		require.Equal(t, field, invalid.Fields[0].Field)
	}
	var invalid *authkit.ValidationError
	_, err = kit.LockUser(t.Context(), u.ID, time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC))
	require.ErrorAs(t, err, &invalid)
	_, err = kit.VerifyEmail(t.Context(), u.ID, "no address")
	require.ErrorIs(t, err, authkit.ErrInvalidEmail)
	_, err = kit.UserByEmail(t.Context(), "no address")
	require.ErrorIs(t, err, authkit.ErrInvalidEmail)
	_, err = kit.UserByEmail(t.Context(), "nobody@example.com")
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
	got, err := kit.UserByEmail(t.Context(), "TAKEN@example.com")
	require.NoError(t, err)
	require.Equal(t, taken, got)
	got, err = kit.User(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, u, got)
}

// A proof that a user reads the mail of an address says nothing about another address.
func TestVerifyEmail(t *testing.T) {
	t.Parallel()
	users := newHookStore()
	kit := newKit(t, users.listen)
	u := addUser(t, kit, "u@example.com", password)
	u, err := kit.VerifyEmail(t.Context(), u.ID, u.Email)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), u.EmailVerifiedAt, time.Minute)
	same, err := kit.SetEmail(t.Context(), u.ID, "U@example.com")
	require.NoError(t, err)
	require.Equal(t, u, same, "the same address stays verified")
	changed, err := kit.SetEmail(t.Context(), u.ID, "new@example.com")
	require.NoError(t, err)
	require.Zero(t, changed.EmailVerifiedAt)
	_, err = kit.VerifyEmail(t.Context(), u.ID, "u@example.com")
	require.ErrorIs(t, err, authkit.ErrConflict)

	users.update = func(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
		users.update = users.UserStore.UpdateUser
		_, err := kit.SetEmail(ctx, id, "third@example.com")
		require.NoError(t, err)
		return users.UserStore.UpdateUser(ctx, id, change, at)
	}
	_, err = kit.VerifyEmail(t.Context(), u.ID, "new@example.com")
	require.ErrorIs(t, err, authkit.ErrConflict, "the address changed at the last moment")
	got, err := kit.User(t.Context(), u.ID)
	require.NoError(t, err)
	require.Zero(t, got.EmailVerifiedAt)
}

// An administrator's unlock also pardons the codes of second factors. A new password does not:
// each reset would buy more guesses (MF-03).
func TestUnlockUserPardonsCodes(t *testing.T) {
	t.Parallel()
	throttle := new(fakeThrottle)
	kit := newKit(t, throttle.listen)
	u := addUser(t, kit, email, password)
	require.NoError(t, kit.SetPassword(t.Context(), u.ID, newPassword))
	login, code := authkit.Attempt{Action: authkit.ActionLogin, Account: email}, authkit.Attempt{Action: authkit.ActionCode, Account: email}
	require.Equal(t, []authkit.Attempt{login}, throttle.attempts)
	_, err := kit.UnlockUser(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, []authkit.Attempt{login, login, code}, throttle.attempts)
	require.Equal(t, []string{"clear", "clear", "clear"}, throttle.calls)
}

// A lock refuses logins and refreshes with the answer for a wrong password, until it ends.
func TestLockUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		kit := newKit(t, together, events.listen)
		u := addUser(t, kit, email, password)
		token := begin(t, kit)
		until := time.Now().Add(time.Minute)
		locked, err := kit.LockUser(t.Context(), u.ID, until)
		require.NoError(t, err)
		require.True(t, until.Truncate(time.Microsecond).Equal(locked.LockedUntil))
		for range 2 {
			_, err = kit.Login(t.Context(), email, password)
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
			require.Equal(t, authkit.ReasonLocked, events.last().Reason)
			requireRefused(t, kit, &events, token, authkit.EventRefreshFailure, authkit.ReasonLocked)
			time.Sleep(29 * time.Second)
		}
		require.Equal(t, http.StatusOK, access(t, kit, token), "the session goes on")
		time.Sleep(2 * time.Second)
		token = renew(t, kit, token)
		_, err = kit.LockUser(t.Context(), u.ID, time.Now().Add(time.Minute))
		require.NoError(t, err)
		_, err = kit.UnlockUser(t.Context(), u.ID)
		require.NoError(t, err)
		renew(t, kit, token)
		begin(t, kit)
		_, err = kit.LockUser(t.Context(), u.ID, time.Time{})
		require.NoError(t, err, "the zero time is no lock")
		begin(t, kit)
	})
}

func TestUsers(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	var rows []authkit.StoredUser
	for _, name := range []string{"ann", "anna", "bob"} {
		rows = append(rows, authkit.StoredUser{User: authkit.User{Email: name + "@example.com", Roles: []string{"user"}, Disabled: name == "bob"}})
	}
	for i := range 1100 {
		rows = append(rows, authkit.StoredUser{User: authkit.User{Email: manyRoles(i + 1)[i] + "@example.org"}})
	}
	require.NoError(t, kit.ImportUsers(t.Context(), rows))
	for name, tc := range map[string]struct {
		query       authkit.UserQuery
		page, count int
	}{
		"all":               {authkit.UserQuery{}, 100, 1103},
		"most":              {authkit.UserQuery{Limit: 5000}, 1000, 1103},
		"none":              {authkit.UserQuery{Limit: -1}, 0, 1103},
		"by prefix":         {authkit.UserQuery{EmailPrefix: "ANN"}, 2, 2},
		"by role":           {authkit.UserQuery{Role: "user"}, 3, 3},
		"by role and state": {authkit.UserQuery{Role: "user", Disabled: new(true)}, 1, 1},
	} {
		page, err := kit.Users(t.Context(), tc.query)
		require.NoError(t, err, name)
		require.Len(t, page, tc.page, name)
		n, err := kit.CountUsers(t.Context(), tc.query)
		require.NoError(t, err, name)
		require.Equal(t, tc.count, n, name)
	}
	seen := map[string]bool{}
	for q := (authkit.UserQuery{Limit: 400}); ; {
		page, err := kit.Users(t.Context(), q)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, u := range page {
			require.False(t, seen[u.ID])
			seen[u.ID] = true
		}
		q.After = page[len(page)-1].ID
	}
	require.Len(t, seen, 1103)
}

// notes is a UserData in memory that can fail.
type notes struct {
	kit   *authkit.Kit
	wiped map[string]authkit.Wipe
	err   error
}

func (*notes) Name() string { return "notes" }

func (n *notes) Wipe(ctx context.Context, userID string, what authkit.Wipe) error {
	n.wiped[userID] = what
	if n.kit != nil {
		if err := n.kit.LogoutEverywhere(authkit.WithSystem(ctx, "notes"), userID); err != nil {
			return err
		}
	}
	return n.err
}

func (n *notes) Export(_ context.Context, userID string) (any, error) {
	if n.err != nil || userID == "" {
		return nil, n.err
	}
	return []string{"a note"}, nil
}

// Events wait for the commit, and are delivered with the actor. A host's transaction gets
// them at once.
func TestEventsWaitForTheCommit(t *testing.T) {
	t.Parallel()
	var events recorder
	store := authkit.NewMemoryStore()
	committed := func() bool {
		_, err := store.UserByEmail(context.Background(), "new@example.com")
		return err == nil
	}
	var seen []bool
	kit := newKit(t, events.listen, func(c *authkit.Config) {
		c.Users = store
		c.OnEvent = append(c.OnEvent, func(_ context.Context, e authkit.Event) { seen = append(seen, committed()) })
	})
	ctx := authkit.WithSystem(t.Context(), "import")
	require.NoError(t, kit.ImportUsers(ctx, []authkit.StoredUser{{User: authkit.User{Email: "new@example.com"}}, {User: authkit.User{Email: "two@example.com"}}}))
	require.Equal(t, []bool{true, true}, seen)
	for _, e := range events.all() {
		require.Equal(t, authkit.EventUserCreated, e.Kind)
		require.Equal(t, "system:import", e.ActorID)
	}

	u, err := kit.UserByEmail(t.Context(), "new@example.com")
	require.NoError(t, err)
	require.NoError(t, kit.DeleteUser(t.Context(), u.ID))
	events.reset()
	rolledBack := errors.New("the program thinks better of it")
	err = store.InTx(t.Context(), func(ctx context.Context) error {
		if _, err := kit.CreateUser(ctx, authkit.User{Email: "new@example.com"}, password); err != nil {
			return err
		}
		require.Equal(t, []authkit.EventKind{authkit.EventUserCreated}, events.kinds())
		require.NoError(t, kit.ImportUsers(ctx, []authkit.StoredUser{{User: authkit.User{Email: "three@example.com"}}}))
		require.Len(t, events.all(), 2)
		return rolledBack
	})
	require.ErrorIs(t, err, rolledBack)
	require.False(t, committed())
	_, err = kit.UserByEmail(t.Context(), "three@example.com")
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
}

// slowStore takes a second for each account.
type slowStore struct{ *authkit.MemoryStore }

func (s slowStore) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.MemoryStore.CreateUser(ctx, u)
}

// RF-06, RG-15: whichever method of the store fails, DeleteUser, ResetUser and ExportUser return
// the error. What one store keeps is as it was then, and no event tells of a change.
func TestAccountsFailAtEachCall(t *testing.T) {
	t.Parallel()
	for name, operation := range map[string]func(*authkit.Kit, string) error{
		"delete": func(kit *authkit.Kit, id string) error { return kit.DeleteUser(context.Background(), id) },
		"reset":  func(kit *authkit.Kit, id string) error { return kit.ResetUser(context.Background(), id) },
		"export": func(kit *authkit.Kit, id string) error {
			_, err := kit.ExportUser(context.Background(), id)
			return err
		},
	} {
		for layout, users := range map[string]authkit.UserStore{"one store": nil, "two stores": authkit.NewMemoryStore()} {
			t.Run(name+" in "+layout, func(t *testing.T) {
				t.Parallel()
				var events recorder
				store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
				kit := newKit(t, events.listen, store.listen, func(c *authkit.Config) {
					c.Tickets = store
					if users != nil {
						c.Users = users
					}
				})
				u := addUser(t, kit, email, password)
				token := begin(t, kit)
				for fail := 1; ; fail++ {
					require.Less(t, fail, 100)
					events.reset()
					store.calls = 0
					failed := ""
					store.before = func(name string, n int) error {
						if n == fail {
							failed = name
						}
						if name != failed { // a revocation is tried again
							return nil
						}
						return errCrash
					}
					err := operation(kit, u.ID)
					store.before = nil
					if failed == "" {
						require.NoError(t, err)
						require.Greater(t, fail, 1)
						return
					}
					require.ErrorIs(t, err, authkit.ErrUnavailable, "%d: %s", fail, failed)
					require.ErrorIs(t, err, errCrash, failed)
					if users == nil {
						for _, kind := range events.kinds() {
							require.Equal(t, authkit.EventStoreFailure, kind, failed)
						}
						after, err := kit.User(t.Context(), u.ID)
						require.NoError(t, err)
						require.Equal(t, u, after, failed)
						require.Equal(t, http.StatusOK, access(t, kit, token), failed)
					}
				}
			})
		}
	}
}

// RF-08, RF-09: an address that is the subject of tokens changes only with the revocation of the
// old tokens.
func TestSetEmailFailsClosed(t *testing.T) {
	t.Parallel()
	for name, users := range map[string]authkit.UserStore{"one store": nil, "two stores": authkit.NewMemoryStore()} {
		var events recorder
		store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
		kit := newKit(t, events.listen, store.listen, func(c *authkit.Config) {
			if c.EmailSubject = true; users != nil {
				c.Users = users
			}
		})
		u := addUser(t, kit, email, password)
		addUser(t, kit, "taken@example.com", password)
		events.reset()
		_, err := kit.SetEmail(t.Context(), u.ID, "taken@example.com")
		require.ErrorIs(t, err, authkit.ErrEmailTaken, name)
		require.Empty(t, events.all(), name)
		store.down(false, "RevokeSessions")
		changed, err := kit.SetEmail(t.Context(), u.ID, "new@example.com")
		require.ErrorIs(t, err, authkit.ErrUnavailable, name)
		require.Zero(t, changed, name)
		require.Equal(t, []authkit.EventKind{authkit.EventStoreFailure}, events.kinds(), name)
		store.before = nil
		if users == nil {
			store.down(false, "UpdateUser")
			_, err = kit.SetEmail(t.Context(), u.ID, "new@example.com")
			require.ErrorIs(t, err, authkit.ErrUnavailable)
			store.before = nil
			revoked, err := kit.Revocations(t.Context(), time.Time{})
			require.NoError(t, err)
			require.Empty(t, revoked, "both are one change")
		}
		after, err := kit.User(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, u, after, name)
	}
}
