package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// credentials is an Authenticator with fixed credentials, named by a header.
type credentials map[string]authkit.Credential

func (c credentials) Authenticate(r *http.Request) (authkit.Credential, error) {
	credential, ok := c[r.Header.Get("X-Credential")]
	if !ok {
		return authkit.Credential{}, authkit.ErrNoCredentials
	}
	credential.Kind = "test"
	return credential, nil
}

func (credentials) Challenge() string { return "" }

// by returns the context of a request with a credential.
func by(t testing.TB, kit interface {
	Identify(r *http.Request) (context.Context, authkit.Principal, error)
}, name string) context.Context {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
	r.Header.Set("X-Credential", name)
	ctx, _, err := kit.Identify(r)
	require.NoError(t, err)
	return ctx
}

// as returns the context of a request with an access token.
func as(t testing.TB, kit *authkit.Kit, token authkit.Token) context.Context {
	t.Helper()
	ctx, _, err := kit.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	return ctx
}

// TestWhoMayChangeAccounts is the matrix of actor, subject and operation. An account's rights
// are never given by one who does not have them, and a credential that is no login sets
// neither a password nor an address (AK-03, FR-05).
func TestWhoMayChangeAccounts(t *testing.T) {
	t.Parallel()
	roles := func(c *authkit.Config) {
		c.Roles = map[string][]string{"admin": nil, "support": {"help"}, "editor": nil}
	}
	stranger := newKit(t, roles)
	strangersAdmin := addUser(t, stranger, "admin@example.com", password, "admin")
	strangersToken, err := stranger.Login(t.Context(), strangersAdmin.Email, password)
	require.NoError(t, err)

	const (
		everything = "set-admin add-editor add-support remove-role password-admin password-support password-plain email-admin email-support email-plain create-admin create-plain import-admin import-plain disable rename lock unlock enable verify delete reset-admin reset-support reset-plain"
		harmless   = "create-plain import-plain remove-role disable rename lock unlock enable verify delete"
	)
	for actor, allowed := range map[string]string{
		"nobody":               everything,
		"system":               everything,
		"admin":                everything,
		"service of admins":    everything,
		"support":              harmless + " add-support password-support password-plain reset-support reset-plain email-support email-plain",
		"plain":                harmless + " password-plain reset-plain email-plain", // the policy of the route decides
		"key of admin":         harmless + " set-admin add-editor add-support create-admin import-admin",
		"limited key of admin": harmless,
		"limited service":      harmless,
		"admin as plain":       "create-plain rename", // impersonation
		"plain as admin":       "create-plain rename",
		"admin elsewhere":      "",
		"a guard's admin":      "",
	} {
		t.Run(actor, func(t *testing.T) {
			t.Parallel()
			all := credentials{}
			var events recorder
			kit := newKit(t, roles, events.listen, func(c *authkit.Config) { c.Authenticators = []authkit.Authenticator{all} })
			users := map[string]authkit.User{}
			for name, roles := range map[string][]string{"admin": {"admin"}, "support": {"support"}, "plain": nil} {
				users[name] = addUser(t, kit, name+"@example.com", password, roles...)
				users["acting "+name] = addUser(t, kit, "acting-"+name+"@example.com", password, roles...)
			}
			for name, user := range users {
				all[name] = authkit.Credential{UserID: user.ID}
			}
			all["service of admins"] = authkit.Credential{Service: "sync", Roles: []string{"admin"}}
			all["limited service"] = authkit.Credential{Service: "sync", Roles: []string{"admin"}, Limited: true, Permissions: []string{"help"}}
			all["key of admin"] = authkit.Credential{UserID: users["acting admin"].ID, Machine: true}
			all["limited key of admin"] = authkit.Credential{UserID: users["acting admin"].ID, Machine: true, Limited: true, Permissions: []string{"help"}}
			all["admin as plain"] = authkit.Credential{UserID: users["acting plain"].ID, ActorID: users["acting admin"].ID}
			all["plain as admin"] = authkit.Credential{UserID: users["acting admin"].ID, ActorID: users["acting plain"].ID}
			guard := newGuard(t, func(c *authkit.GuardConfig) { c.Authenticators = []authkit.Authenticator{all} })

			ctx := t.Context()
			switch actor {
			case "nobody":
			case "system":
				ctx = authkit.WithSystem(ctx, "job")
			case "admin elsewhere":
				ctx = as(t, stranger, strangersToken)
			case "a guard's admin":
				ctx = by(t, guard, "service of admins")
			case "admin", "support", "plain":
				ctx = by(t, kit, "acting "+actor)
			default:
				ctx = by(t, kit, actor)
			}
			id := func(name string) string { return users[name].ID }
			email := func(name string) error {
				_, err := kit.SetEmail(ctx, id(name), "new-"+name+"@example.com")
				return err
			}
			operations := map[string]func() error{
				"set-admin":        func() error { _, err := kit.SetRoles(ctx, id("plain"), "admin"); return err },
				"add-editor":       func() error { _, err := kit.AddRole(ctx, id("plain"), "editor"); return err },
				"add-support":      func() error { _, err := kit.AddRole(ctx, id("plain"), "support"); return err },
				"password-admin":   func() error { return kit.SetPassword(ctx, id("admin"), "another long password") },
				"password-support": func() error { return kit.SetPassword(ctx, id("support"), "another long password") },
				"password-plain":   func() error { return kit.SetPassword(ctx, id("plain"), "another long password") },
				"reset-admin":      func() error { return kit.ResetUser(ctx, id("admin")) },
				"reset-support":    func() error { return kit.ResetUser(ctx, id("support")) },
				"reset-plain":      func() error { return kit.ResetUser(ctx, id("plain")) },
				"email-admin":      func() error { return email("admin") },
				"email-support":    func() error { return email("support") },
				"email-plain":      func() error { return email("plain") },
				"create-admin": func() error {
					_, err := kit.CreateUser(ctx, authkit.User{Email: "made@example.com", Roles: []string{"admin"}}, password)
					return err
				},
				"create-plain": func() error {
					_, err := kit.CreateUserWithoutPassword(ctx, authkit.User{Email: "made@example.com"})
					return err
				},
				"import-admin": func() error {
					return kit.ImportUsers(ctx, []authkit.StoredUser{{User: authkit.User{Email: "made@example.com", Roles: []string{"admin"}}}})
				},
				"import-plain": func() error {
					return kit.ImportUsers(ctx, []authkit.StoredUser{{User: authkit.User{Email: "made@example.com"}}})
				},
				"remove-role": func() error { _, err := kit.RemoveRole(ctx, id("support"), "support"); return err },
				"disable":     func() error { return kit.DisableUser(ctx, id("plain")) },
				"enable":      func() error { _, err := kit.EnableUser(ctx, id("plain")); return err },
				"rename":      func() error { _, err := kit.SetFullName(ctx, id("plain"), "Plain"); return err },
				"lock": func() error {
					_, err := kit.LockUser(ctx, id("plain"), time.Now().Add(time.Hour))
					return err
				},
				"unlock": func() error { _, err := kit.UnlockUser(ctx, id("plain")); return err },
				"verify": func() error { _, err := kit.VerifyEmail(ctx, id("plain"), "plain@example.com"); return err },
				"delete": func() error { return kit.DeleteUser(ctx, id("plain")) },
			}
			for operation, do := range operations {
				// Each begins with the accounts as they were.
				for _, name := range []string{"admin", "support", "plain"} {
					if u, err := kit.UserByEmail(t.Context(), "new-"+name+"@example.com"); err == nil {
						require.NoError(t, kit.DeleteUser(t.Context(), u.ID))
					}
					if u, err := kit.UserByEmail(t.Context(), name+"@example.com"); err == nil {
						require.NoError(t, kit.DeleteUser(t.Context(), u.ID))
					}
					users[name] = addUser(t, kit, name+"@example.com", password, users["acting "+name].Roles...)
				}
				if u, err := kit.UserByEmail(t.Context(), "made@example.com"); err == nil {
					require.NoError(t, kit.DeleteUser(t.Context(), u.ID))
				}
				before, err := kit.Users(t.Context(), authkit.UserQuery{})
				require.NoError(t, err)
				events.reset()
				err = do()
				if slices.Contains(strings.Fields(allowed), operation) {
					require.NoError(t, err, operation)
					require.NotEmpty(t, events.all(), operation)
					for _, e := range events.all() {
						require.Empty(t, e.Reason, operation)
						require.Equal(t, actor == "nobody", e.ActorID == "", "%s: %+v", operation, e)
					}
					continue
				}
				require.ErrorIs(t, err, authkit.ErrForbidden, operation)
				require.Equal(t, 403, authkit.ProblemFor(err).Status)
				require.Equal(t, []authkit.EventKind{authkit.EventAccessDenied}, events.kinds(), operation)
				require.NotEmpty(t, events.last().Reason)
				after, err := kit.Users(t.Context(), authkit.UserQuery{})
				require.NoError(t, err)
				require.Equal(t, before, after, operation)
			}
		})
	}
}

// A user's own password and address are changed by a login of the user alone.
func TestWhoMayProveAPassword(t *testing.T) {
	t.Parallel()
	all := credentials{}
	kit := newKit(t, func(c *authkit.Config) { c.Authenticators = []authkit.Authenticator{all} })
	elsewhere := newKit(t, func(c *authkit.Config) { c.Authenticators = []authkit.Authenticator{all} })
	user, admin := addUser(t, kit, "user@example.com", password), addUser(t, kit, "admin@example.com", password, "admin")
	all["login"] = authkit.Credential{UserID: user.ID}
	all["key"] = authkit.Credential{UserID: user.ID, Machine: true}
	all["limited"] = authkit.Credential{UserID: user.ID, Limited: true}
	all["impersonated"] = authkit.Credential{UserID: user.ID, ActorID: admin.ID}
	all["admin"] = authkit.Credential{UserID: admin.ID}
	all["service"] = authkit.Credential{Service: "sync", Roles: []string{"admin"}}
	for _, name := range []string{"key", "limited", "impersonated", "admin", "service"} {
		ctx := by(t, kit, name)
		require.ErrorIs(t, kit.ChangePassword(ctx, user.ID, password, "another long password"), authkit.ErrForbidden, name)
		require.ErrorIs(t, kit.RequireSelf(ctx, user.ID), authkit.ErrForbidden, name)
		require.NoError(t, kit.VerifyPassword(ctx, user.ID, password), "%s: nothing has changed", name)
	}
	for _, name := range []string{"key", "limited", "impersonated"} {
		_, err := kit.SetEmail(by(t, kit, name), user.ID, "new@example.com")
		require.ErrorIs(t, err, authkit.ErrForbidden, name)
		require.ErrorIs(t, kit.SetPassword(by(t, kit, name), user.ID, "another long password"), authkit.ErrForbidden, name)
	}
	storeless := newGuard(t, func(c *authkit.GuardConfig) { c.Authenticators = []authkit.Authenticator{all} })
	require.ErrorIs(t, kit.ChangePassword(by(t, storeless, "login"), user.ID, password, "another long password"), authkit.ErrForbidden)
	require.ErrorIs(t, elsewhere.ChangePassword(by(t, kit, "login"), user.ID, password, "another long password"), authkit.ErrForbidden)
	require.ErrorIs(t, elsewhere.RequireSelf(by(t, kit, "login"), user.ID), authkit.ErrForbidden)
	require.NoError(t, kit.RequireSelf(by(t, kit, "login"), user.ID))
	require.NoError(t, kit.RequireSelf(authkit.WithSystem(t.Context(), "job"), user.ID))
	require.NoError(t, kit.RequireSelf(t.Context(), user.ID))
	require.NoError(t, kit.ChangePassword(by(t, kit, "login"), user.ID, password, "another long password"))
	require.NoError(t, kit.ChangePassword(authkit.WithSystem(t.Context(), "job"), user.ID, "another long password", "a third long password"))
	require.NoError(t, kit.ChangePassword(t.Context(), user.ID, "a third long password", password))
}

func TestChangeRoles(t *testing.T) {
	t.Parallel()
	var events recorder
	users := authkit.NewMemoryStore()
	kit := newKit(t, events.listen, func(c *authkit.Config) {
		c.Users, c.Roles = users, map[string][]string{"admin": nil, "editor": nil, "viewer": nil}
	})
	u := storeUser(t, users, authkit.StoredUser{User: authkit.User{ID: "u", Email: "u@example.com", Roles: []string{"former"}}})
	for _, step := range []struct {
		name string
		do   func() (authkit.User, error)
		want []string // nil: a ValidationError
	}{
		{"add to a role that has left the table", func() (authkit.User, error) { return kit.AddRole(t.Context(), u.ID, "editor") }, []string{"former", "editor"}},
		{"add again", func() (authkit.User, error) { return kit.AddRole(t.Context(), u.ID, "editor") }, []string{"former", "editor"}},
		{"add an unknown one", func() (authkit.User, error) { return kit.AddRole(t.Context(), u.ID, "root") }, nil},
		{"set one twice", func() (authkit.User, error) { return kit.SetRoles(t.Context(), u.ID, "viewer", "viewer") }, nil},
		{"remove the former", func() (authkit.User, error) { return kit.RemoveRole(t.Context(), u.ID, "former") }, []string{"editor"}},
		{"add the former", func() (authkit.User, error) { return kit.AddRole(t.Context(), u.ID, "former") }, nil},
		{"set", func() (authkit.User, error) { return kit.SetRoles(t.Context(), u.ID, "viewer", "admin") }, []string{"viewer", "admin"}},
		{"set too many", func() (authkit.User, error) { return kit.SetRoles(t.Context(), u.ID, manyRoles(65)...) }, nil},
		{"remove one that is not there", func() (authkit.User, error) { return kit.RemoveRole(t.Context(), u.ID, "editor") }, []string{"viewer", "admin"}},
	} {
		before, err := kit.User(t.Context(), u.ID)
		require.NoError(t, err)
		events.reset()
		got, err := step.do()
		after, readErr := kit.User(t.Context(), u.ID)
		require.NoError(t, readErr)
		if step.want == nil {
			invalid, ok := errors.AsType[*authkit.ValidationError](err)
			require.True(t, ok, "%s: %v", step.name, err)
			require.Equal(t, "roles", invalid.Fields[0].Field)
			require.Equal(t, before, after)
			continue
		}
		require.NoError(t, err, step.name)
		require.Equal(t, step.want, got.Roles, step.name)
		require.Equal(t, after, got)
		if slices.Equal(before.Roles, got.Roles) {
			require.Empty(t, events.all(), step.name)
			require.Equal(t, before.Version, after.Version)
			continue
		}
		require.Equal(t, []authkit.Event{{Kind: authkit.EventRolesChanged, UserID: u.ID}}, events.all())
	}
	_, err := kit.SetRoles(t.Context(), "nobody", "admin")
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
}

// Roles that are added at once are all there afterwards.
func TestAddRoleConcurrently(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	u := addUser(t, kit, "u@example.com", password)
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() { _, errs[i] = kit.AddRole(context.Background(), u.ID, fmt.Sprint("role-", i)) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	u, err := kit.User(t.Context(), u.ID)
	require.NoError(t, err)
	require.ElementsMatch(t, manyRoles(16), u.Roles)
}

// A change of roles that comes between the look at an account and its update is not lost.
func TestAddRoleLosesNoOther(t *testing.T) {
	t.Parallel()
	users := newHookStore()
	kit := newKit(t, users.listen)
	u := addUser(t, kit, "u@example.com", password)
	users.update = func(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
		users.update = users.UserStore.UpdateUser
		_, err := kit.AddRole(ctx, u.ID, "first")
		require.NoError(t, err)
		return users.UserStore.UpdateUser(ctx, id, change, at)
	}
	u, err := kit.AddRole(t.Context(), u.ID, "second")
	require.NoError(t, err)
	require.Equal(t, []string{"first", "second"}, u.Roles)

	// An account that never stands still is a conflict.
	users.update = func(context.Context, string, authkit.UserUpdate, time.Time) (authkit.User, error) {
		return authkit.User{}, authkit.ErrConflict
	}
	_, err = kit.AddRole(t.Context(), u.ID, "third")
	require.ErrorIs(t, err, authkit.ErrConflict)
}

// The last administrator stays, however it is tried and by whom.
func TestLastAdminStays(t *testing.T) {
	t.Parallel()
	elsewhere := authkit.NewMemoryStore()
	for name, change := range map[string]func(*authkit.Config){
		"one store":  func(c *authkit.Config) { s := authkit.NewMemoryStore(); c.Users, c.Sessions.Store = s, s },
		"two stores": func(c *authkit.Config) { c.Sessions.Store = elsewhere },
		"another role": func(c *authkit.Config) {
			c.Roles, c.AdminRole = map[string][]string{"owner": nil, "admin": nil}, "owner"
		},
		"no transactions": func(c *authkit.Config) { c.Users = newHookStore() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kit := newKit(t, change)
			role := "admin"
			if name == "another role" {
				role = "owner"
			}
			last := addUser(t, kit, "last@example.com", password, role)
			off := addUser(t, kit, "off@example.com", password, role)
			addUser(t, kit, "plain@example.com", password)
			require.NoError(t, kit.DisableUser(t.Context(), off.ID))
			for _, ctx := range []context.Context{t.Context(), authkit.WithSystem(t.Context(), "job")} {
				_, err := kit.SetRoles(ctx, last.ID)
				require.ErrorIs(t, err, authkit.ErrLastAdmin)
				require.Equal(t, 409, authkit.ProblemFor(err).Status)
				_, err = kit.RemoveRole(ctx, last.ID, role)
				require.ErrorIs(t, err, authkit.ErrLastAdmin)
				require.ErrorIs(t, kit.DisableUser(ctx, last.ID), authkit.ErrLastAdmin)
				require.ErrorIs(t, kit.DeleteUser(ctx, last.ID), authkit.ErrLastAdmin)
				for _, until := range []time.Time{time.Now().Add(time.Hour), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
					_, err = kit.LockUser(ctx, last.ID, until)
					require.ErrorIs(t, err, authkit.ErrLastAdmin)
				}
			}
			got, err := kit.User(t.Context(), last.ID)
			require.NoError(t, err)
			require.Equal(t, last, got)

			_, err = kit.EnableUser(t.Context(), off.ID)
			require.NoError(t, err)
			// A locked administrator is none that stays.
			_, err = kit.LockUser(t.Context(), off.ID, time.Now().Add(time.Hour))
			require.NoError(t, err)
			_, err = kit.LockUser(t.Context(), off.ID, time.Now().Add(time.Minute))
			require.NoError(t, err, "a shorter lock")
			_, err = kit.LockUser(t.Context(), last.ID, time.Now().Add(time.Hour))
			require.ErrorIs(t, err, authkit.ErrLastAdmin)
			_, err = kit.LockUser(t.Context(), last.ID, time.Now().Add(-time.Hour))
			require.NoError(t, err, "a lock that is over")
			_, err = kit.SetRoles(t.Context(), last.ID)
			require.ErrorIs(t, err, authkit.ErrLastAdmin)
			require.ErrorIs(t, kit.DisableUser(t.Context(), last.ID), authkit.ErrLastAdmin)
			require.ErrorIs(t, kit.DeleteUser(t.Context(), last.ID), authkit.ErrLastAdmin)
			_, err = kit.UnlockUser(t.Context(), off.ID)
			require.NoError(t, err)
			require.NoError(t, kit.DeleteUser(t.Context(), last.ID))
			require.ErrorIs(t, kit.DeleteUser(t.Context(), off.ID), authkit.ErrLastAdmin)
		})
	}
}

// A lock of the only administrator can be made shorter.
func TestShorterLockOfTheLastAdmin(t *testing.T) {
	t.Parallel()
	users := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.Users = users })
	last := storeUser(t, users, authkit.StoredUser{User: authkit.User{Email: "last@example.com", Roles: []string{"admin"}, LockedUntil: time.Now().Add(2 * time.Hour)}})
	_, err := kit.LockUser(t.Context(), last.ID, time.Now().Add(time.Hour))
	require.NoError(t, err)
	_, err = kit.LockUser(t.Context(), last.ID, time.Now().Add(3*time.Hour))
	require.ErrorIs(t, err, authkit.ErrLastAdmin)
}

// A service without administrators can remove its accounts.
func TestNoAdminToKeep(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	one, two := addUser(t, kit, "one@example.com", password), addUser(t, kit, "two@example.com", password)
	require.NoError(t, kit.DisableUser(t.Context(), one.ID))
	require.NoError(t, kit.DeleteUser(t.Context(), one.ID))
	require.NoError(t, kit.DeleteUser(t.Context(), two.ID))
}

// Of two administrators who remove each other at once, one stays.
func TestAdminsRemoveEachOther(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(kit *authkit.Kit, ctx context.Context, id string) error{
		"demote": func(kit *authkit.Kit, ctx context.Context, id string) error {
			_, err := kit.RemoveRole(ctx, id, "admin")
			return err
		},
		"disable": func(kit *authkit.Kit, ctx context.Context, id string) error { return kit.DisableUser(ctx, id) },
		"lock": func(kit *authkit.Kit, ctx context.Context, id string) error {
			_, err := kit.LockUser(ctx, id, time.Now().Add(time.Hour))
			return err
		},
		"delete": func(kit *authkit.Kit, ctx context.Context, id string) error { return kit.DeleteUser(ctx, id) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 50 {
				kit := newKit(t)
				one, two := addUser(t, kit, "one@example.com", password, "admin"), addUser(t, kit, "two@example.com", password, "admin")
				tokens := map[string]context.Context{}
				for _, u := range []authkit.User{one, two} {
					token, err := kit.Login(t.Context(), u.Email, password)
					require.NoError(t, err)
					tokens[u.ID] = as(t, kit, token)
				}
				var wg sync.WaitGroup
				var errs [2]error
				wg.Go(func() { errs[0] = remove(kit, tokens[one.ID], two.ID) })
				wg.Go(func() { errs[1] = remove(kit, tokens[two.ID], one.ID) })
				wg.Wait()
				require.True(t, (errs[0] == nil) != (errs[1] == nil), "%v", errs)
				require.ErrorIs(t, errors.Join(errs[:]...), authkit.ErrLastAdmin)
				admins, err := kit.Users(t.Context(), authkit.UserQuery{Role: "admin", Disabled: new(false)})
				require.NoError(t, err)
				admins = slices.DeleteFunc(admins, func(u authkit.User) bool { return !u.LockedUntil.IsZero() })
				require.Len(t, admins, 1)
			}
		})
	}
}

// An account that becomes the last administrator while it is being disabled stays.
func TestDisablingSeesANewAdmin(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*authkit.Kit, string) error{
		"disable": func(kit *authkit.Kit, id string) error { return kit.DisableUser(context.Background(), id) },
		"delete":  func(kit *authkit.Kit, id string) error { return kit.DeleteUser(context.Background(), id) },
	} {
		users := newHookStore()
		kit := newKit(t, users.listen)
		admin, heir := addUser(t, kit, "admin@example.com", password, "admin"), addUser(t, kit, "heir@example.com", password)
		users.update = func(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
			users.update = users.UserStore.UpdateUser
			_, err := kit.AddRole(ctx, heir.ID, "admin")
			require.NoError(t, err)
			_, err = kit.RemoveRole(ctx, admin.ID, "admin")
			require.NoError(t, err)
			return users.UserStore.UpdateUser(ctx, id, change, at)
		}
		require.ErrorIs(t, remove(kit, heir.ID), authkit.ErrLastAdmin, name)
	}
}
