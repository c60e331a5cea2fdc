package integration_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// TestAccountsInHostTransaction registers a company and its first user in one transaction of
// the program, with calls of a Kit only.
func TestAccountsInHostTransaction(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db, _ := d.open(t)
		store := storeOn(t, db, d, nil)
		kit := newKit(t, store, store)
		mustExec(t, db, `CREATE TABLE companies (name VARCHAR(64) PRIMARY KEY, owner_id VARCHAR(255) NOT NULL)`)
		errRefused := errors.New("refused")
		register := func(email string, refuse bool) (u authkit.User, err error) {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				return u, err
			}
			defer func() { _ = tx.Rollback() }() // does nothing after the commit
			ctx := store.WithTx(t.Context(), tx)
			u, err = kit.CreateUser(ctx, authkit.User{Email: email, Roles: []string{"owner"}}, password)
			if err != nil {
				return u, err
			}
			if _, err := tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO companies (name, owner_id) VALUES ('of %s', '%s')`, email, u.ID)); err != nil {
				return u, err
			}
			if _, err := kit.AddRole(ctx, u.ID, "member"); err != nil {
				return u, err
			}
			if refuse {
				return u, errRefused
			}
			return u, tx.Commit()
		}
		companies := func() (n int) {
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM companies`).Scan(&n))
			return n
		}
		_, err := register("ann@example.com", true)
		require.ErrorIs(t, err, errRefused)
		require.Zero(t, companies())
		_, err = kit.UserByEmail(t.Context(), "ann@example.com")
		require.ErrorIs(t, err, authkit.ErrUserNotFound)

		ann, err := register("ann@example.com", false)
		require.NoError(t, err)
		require.Equal(t, 1, companies())
		_, err = register("Ann@Example.com", false)
		require.ErrorIs(t, err, authkit.ErrEmailTaken)
		require.Equal(t, 1, companies())
		token, err := kit.Login(t.Context(), ann.Email, password)
		require.NoError(t, err)
		require.Equal(t, []string{"owner", "member"}, token.User.Roles)

		// Everything else joins a transaction as well.
		for _, commit := range []bool{false, true} {
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			ctx := store.WithTx(t.Context(), tx)
			require.NoError(t, kit.SetPassword(ctx, ann.ID, "another long password"))
			_, err = kit.SetEmail(ctx, ann.ID, "ann@example.org")
			require.NoError(t, err)
			require.ErrorContains(t, kit.ImportUsers(ctx, []authkit.StoredUser{
				{User: authkit.User{Email: "bob@example.com"}}, {User: authkit.User{Email: "ANN@example.org"}},
			}), "account 1: authkit: e-mail taken")
			require.NoError(t, kit.ImportUsers(ctx, []authkit.StoredUser{{User: authkit.User{ID: "carl", Email: "carl@example.com"}}}))
			require.NoError(t, kit.DeleteUser(ctx, "carl"))
			if commit {
				require.NoError(t, tx.Commit())
			} else {
				require.NoError(t, tx.Rollback())
			}
			n, err := kit.CountUsers(t.Context(), authkit.UserQuery{})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.Equal(t, commit, kit.VerifyPassword(t.Context(), ann.ID, password) != nil)
			_, err = kit.Refresh(t.Context(), token.RefreshToken)
			require.Equal(t, commit, err != nil)
			if err == nil {
				token, err = kit.Login(t.Context(), "ann@example.com", password)
				require.NoError(t, err)
			}
		}
	})
}

// TestImportIsOneChange: one bad row stores nothing.
func TestImportIsOneChange(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		kit := newKit(t, newStore(t, d), nil)
		old, err := kit.CreateUserWithoutPassword(t.Context(), authkit.User{Email: "old@example.com"})
		require.NoError(t, err)
		for _, bad := range []authkit.User{{Email: "old@example.com"}, {ID: old.ID, Email: "new@example.com"}} {
			err := kit.ImportUsers(t.Context(), []authkit.StoredUser{{User: authkit.User{Email: "one@example.com"}}, {User: bad}, {User: authkit.User{Email: "three@example.com"}}})
			row, ok := errors.AsType[*authkit.ImportError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 1, row.Row)
			require.NotErrorIs(t, err, authkit.ErrUnavailable)
			n, err := kit.CountUsers(t.Context(), authkit.UserQuery{})
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}
	})
}

// TestAdminsRemoveEachOther: of two administrators who remove each other at once, one stays.
func TestAdminsRemoveEachOther(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		store := newStore(t, d)
		kit := newKit(t, store, store)
		remove := map[string]func(ctx context.Context, id string) error{
			"demote":  func(ctx context.Context, id string) error { _, err := kit.RemoveRole(ctx, id, "admin"); return err },
			"disable": func(ctx context.Context, id string) error { return kit.DisableUser(ctx, id) },
			"delete":  func(ctx context.Context, id string) error { return kit.DeleteUser(ctx, id) },
		}
		for name, remove := range remove {
			for round := range 5 {
				var ids [2]string
				for i := range ids {
					u, err := kit.CreateUserWithoutPassword(t.Context(), authkit.User{Email: fmt.Sprintf("%s-%d-%d@example.com", name, round, i), Roles: []string{"admin"}})
					require.NoError(t, err)
					ids[i] = u.ID
				}
				var errs [2]error
				var wg sync.WaitGroup
				for i := range ids {
					wg.Go(func() { errs[i] = remove(t.Context(), ids[i]) })
				}
				wg.Wait()
				require.ErrorIs(t, errors.Join(errs[:]...), authkit.ErrLastAdmin, "%s: %v", name, errs)
				require.True(t, errs[0] == nil || errs[1] == nil, "%s: %v", name, errs)
				admins := authkit.UserQuery{Role: "admin", Disabled: new(false)}
				n, err := kit.CountUsers(t.Context(), admins)
				require.NoError(t, err)
				require.Equal(t, 1, n, name)
				// The next round begins without administrators.
				left, err := kit.Users(t.Context(), admins)
				require.NoError(t, err)
				require.NoError(t, store.DeleteUser(t.Context(), left[0].ID, ""))
			}
		}
	})
}

// TestPasswordChangesAtOnce: of changes of a password that were proved on the same facts
// exactly one succeeds. It ends all sessions but that of its caller (FR-08).
func TestPasswordChangesAtOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		store := newStore(t, d)
		kit := newKit(t, store, store)
		u, err := kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
		require.NoError(t, err)
		old := password
		for round := range 5 {
			var callers [4]context.Context
			for i := range callers {
				token, err := kit.Login(t.Context(), u.Email, old)
				require.NoError(t, err)
				callers[i], _, err = kit.IdentifyToken(t.Context(), token.AccessToken)
				require.NoError(t, err)
			}
			errs := make([]error, len(callers))
			var wg sync.WaitGroup
			next := func(i int) string { return fmt.Sprintf("password %d of round %d", i, round) }
			for i := range callers {
				wg.Go(func() { errs[i] = kit.ChangePassword(callers[i], u.ID, old, next(i)) })
			}
			wg.Go(func() { _, _ = kit.Login(t.Context(), u.Email, old) }) // must not outlive the change
			wg.Wait()
			won := -1
			for i, err := range errs {
				if err == nil {
					require.Equal(t, -1, won, "two changes succeeded")
					won = i
				} else if !errors.Is(err, authkit.ErrInvalidCredentials) { // it came after the winner
					require.ErrorIs(t, err, authkit.ErrConflict)
				}
			}
			require.NotEqual(t, -1, won, "%v", errs)
			old = next(won)
			require.NoError(t, kit.VerifyPassword(t.Context(), u.ID, old))
			left, err := kit.Sessions(t.Context(), u.ID)
			require.NoError(t, err)
			require.Len(t, left, 1, "only the session of the winner goes on")
			p, _ := authkit.PrincipalFrom(callers[won])
			require.Equal(t, p.SessionID, left[0].ID)
			for i, ctx := range callers {
				p, _ := authkit.PrincipalFrom(ctx)
				_, err := store.SessionByID(t.Context(), p.SessionID)
				require.Equal(t, i == won, !errors.Is(err, authkit.ErrSessionNotFound))
			}
		}
	})
}
