package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/authkit-go/authkit"
)

// errUserID and errUserText are for what no account can be stored with.
var (
	errUserID   = errors.New("the user ID is empty or exists")
	errUserText = errors.New("a text of the account has a NUL in it or is not UTF-8")
)

const userColumns = `id, email, full_name, roles, disabled, password_hash, valid_from, created_at, updated_at`

// scanUser reads the columns of userColumns.
func scanUser(u *authkit.StoredUser) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		var roles []byte
		var hash string
		var validFrom, created, updated int64
		err := scan(&u.ID, &u.Email, &u.FullName, &roles, &u.Disabled, &hash, &validFrom, &created, &updated)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(roles, &u.Roles); err != nil {
			return fmt.Errorf("the roles of account %s: %w", u.ID, err)
		}
		u.PasswordHash = authkit.PasswordHash(hash)
		u.ValidFrom, u.CreatedAt, u.UpdatedAt = fromMicros(validFrom), fromMicros(created), fromMicros(updated)
		return nil
	}
}

// encodeRoles returns roles as they are stored.
func encodeRoles(roles []string) (string, error) {
	if roles == nil {
		roles = []string{}
	}
	text, err := json.Marshal(roles)
	return string(text), err
}

// CreateUser implements [authkit.UserStore].
func (s *Store) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	if u.ID == "" {
		return failure(errUserID)
	}
	if !storable(u.ID, u.Email, u.FullName, string(u.PasswordHash)) || !storable(u.Roles...) {
		return failure(errUserText)
	}
	roles, err := encodeRoles(u.Roles)
	if err != nil {
		return failure(err)
	}
	err = s.single(ctx, func(w work) error {
		n, err := w.exec(ctx, `INSERT INTO {users} (tenant, `+userColumns+`, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`+w.d.unlessThere(),
			w.opts.Tenant, u.ID, u.Email, u.FullName, roles, u.Disabled, string(u.PasswordHash), micros(u.ValidFrom), micros(u.CreatedAt), micros(u.UpdatedAt))
		if err == nil && n == 0 {
			return errUserID
		}
		return err
	})
	if err != nil {
		return s.taken(ctx, u.Email, u.ID, err)
	}
	return nil
}

// taken returns ErrEmailTaken if an account other than the one given has the e-mail, and
// otherwise the error that made somebody ask. So the errors of drivers need not be told apart.
func (s *Store) taken(ctx context.Context, email, id string, otherwise error) error {
	var holder string
	err := s.single(ctx, func(w work) error {
		return w.one(ctx, otherwise, func(scan func(...any) error) error { return scan(&holder) },
			`SELECT id FROM {users} WHERE tenant = ? AND email = ?`, w.opts.Tenant, email)
	})
	if err == nil && holder != id {
		return authkit.ErrEmailTaken
	}
	return otherwise
}

// UserByID implements [authkit.UserStore].
func (s *Store) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	return s.user(ctx, `SELECT `+userColumns+` FROM {users} WHERE tenant = ? AND id = ?`, id)
}

// UserByEmail implements [authkit.UserStore].
func (s *Store) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	return s.user(ctx, `SELECT `+userColumns+` FROM {users} WHERE tenant = ? AND email = ?`, email)
}

func (s *Store) user(ctx context.Context, query, key string) (authkit.StoredUser, error) {
	if !storable(key) {
		return authkit.StoredUser{}, unstorable(ctx, authkit.ErrUserNotFound)
	}
	var u authkit.StoredUser
	err := s.single(ctx, func(w work) error {
		return w.one(ctx, authkit.ErrUserNotFound, scanUser(&u), query, w.opts.Tenant, key)
	})
	if err != nil {
		return authkit.StoredUser{}, err
	}
	return u, nil
}

// ListUsers implements [authkit.UserStore].
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]authkit.User, error) {
	if limit <= 0 || !storable(after) {
		return nil, ctx.Err()
	}
	var users []authkit.User
	err := s.single(ctx, func(w work) error {
		users = nil
		return w.query(ctx, func(scan func(...any) error) error {
			var u authkit.StoredUser
			err := scanUser(&u)(scan)
			users = append(users, u.User)
			return err
		}, `SELECT `+userColumns+` FROM {users} WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?`, w.opts.Tenant, after, limit)
	})
	if err != nil {
		return nil, err
	}
	return users, nil
}

// UpdateUser implements [authkit.UserStore].
func (s *Store) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if !storable(id) {
		return authkit.User{}, unstorable(ctx, authkit.ErrUserNotFound)
	}
	var email, name, hash, roles sql.NullString
	var disabled sql.NullBool
	var from sql.NullInt64
	set(&email, change.Email)
	set(&name, change.FullName)
	set(&hash, change.PasswordHash)
	if !storable(email.String, name.String, hash.String) {
		return authkit.User{}, failure(errUserText)
	}
	if change.Roles != nil {
		text, err := encodeRoles(*change.Roles)
		if err != nil || !storable(*change.Roles...) {
			return authkit.User{}, failure(errors.Join(errUserText, err))
		}
		roles = sql.NullString{String: text, Valid: true}
	}
	if change.Disabled != nil {
		disabled = sql.NullBool{Bool: *change.Disabled, Valid: true}
	}
	if change.ValidFrom != nil {
		from = sql.NullInt64{Int64: micros(*change.ValidFrom), Valid: true}
	}
	update := `UPDATE {users} SET email = COALESCE(?, email), full_name = COALESCE(?, full_name), roles = COALESCE(?, roles),
		disabled = COALESCE(?, disabled), password_hash = COALESCE(?, password_hash),
		valid_from = ` + s.d.greatest() + `(valid_from, COALESCE(?, valid_from)), updated_at = ?, version = version + 1
		WHERE tenant = ? AND id = ?`
	args := []any{email, name, roles, disabled, hash, from, micros(at), s.opts.Tenant, id}

	in := s.single
	if !s.d.returning() {
		in = s.together
	}
	var u authkit.StoredUser
	err := in(ctx, func(w work) error {
		return w.guarded(ctx, email.Valid, func() error {
			if w.d.returning() {
				return w.one(ctx, authkit.ErrUserNotFound, scanUser(&u), update+` RETURNING `+userColumns, args...)
			}
			if _, err := w.exec(ctx, update, args...); err != nil {
				return err
			}
			return w.one(ctx, authkit.ErrUserNotFound, scanUser(&u), `SELECT `+userColumns+` FROM {users} WHERE tenant = ? AND id = ?`, w.opts.Tenant, id)
		})
	})
	switch {
	case err == nil:
		return u.User, nil
	case email.Valid && !errors.Is(err, authkit.ErrUserNotFound):
		err = s.taken(ctx, email.String, id, err)
	}
	return authkit.User{}, err
}

// set copies a text that is to change.
func set[T ~string](to *sql.NullString, from *T) {
	if from != nil {
		*to = sql.NullString{String: string(*from), Valid: true}
	}
}

// SwapPasswordHash implements [authkit.UserStore].
func (s *Store) SwapPasswordHash(ctx context.Context, id string, old, new authkit.PasswordHash, at time.Time) (bool, error) {
	if !storable(id) {
		return false, unstorable(ctx, authkit.ErrUserNotFound)
	}
	if !storable(string(old), string(new)) {
		return false, failure(errUserText)
	}
	swapped := false
	err := s.single(ctx, func(w work) error {
		n, err := w.exec(ctx, `UPDATE {users} SET password_hash = ?, updated_at = ?, version = version + 1 WHERE tenant = ? AND id = ? AND password_hash = ?`,
			string(new), micros(at), w.opts.Tenant, id, string(old))
		if swapped = n == 1; err != nil || swapped {
			return err
		}
		return w.one(ctx, authkit.ErrUserNotFound, func(scan func(...any) error) error { return scan(&id) },
			`SELECT id FROM {users} WHERE tenant = ? AND id = ?`, w.opts.Tenant, id)
	})
	return swapped && err == nil, err
}

// DeleteUser implements [authkit.UserStore]. It leaves sessions as they are, which may be in
// another store: see authkit.Kit.DeleteUser.
func (s *Store) DeleteUser(ctx context.Context, id string) error {
	if !storable(id) {
		return unstorable(ctx, authkit.ErrUserNotFound)
	}
	return s.single(ctx, func(w work) error {
		n, err := w.exec(ctx, `DELETE FROM {users} WHERE tenant = ? AND id = ?`, w.opts.Tenant, id)
		if err == nil && n == 0 {
			return authkit.ErrUserNotFound
		}
		return err
	})
}
