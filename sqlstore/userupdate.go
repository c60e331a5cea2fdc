package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/authkit-go/authkit"
)

// An update is an [authkit.UserUpdate] as it is stored. Null values change
// nothing.
type update struct {
	email, name, hash, roles sql.NullString
	disabled                 sql.NullBool
	from, verified, locked   sql.NullInt64
}

// newUpdate returns a change as it is stored.
func newUpdate(change *authkit.UserUpdate) (up update, err error) {
	setText(&up.email, change.Email)
	setText(&up.name, change.FullName)
	setText(&up.hash, change.PasswordHash)
	if !storable(up.email.String, up.name.String, up.hash.String) {
		return up, errUserText
	}
	if change.Roles != nil {
		text, err := encodeRoles(*change.Roles)
		if err != nil || !storable(*change.Roles...) {
			return up, errors.Join(errUserText, err)
		}
		up.roles = sql.NullString{String: text, Valid: true}
	}
	if change.Disabled != nil {
		up.disabled = sql.NullBool{Bool: *change.Disabled, Valid: true}
	}
	setTime(&up.from, change.TokensValidAfter)
	setTime(&up.verified, change.EmailVerifiedAt)
	setTime(&up.locked, change.LockedUntil)
	return up, nil
}

func setText[T ~string](to *sql.NullString, from *T) {
	if from != nil {
		*to = sql.NullString{String: string(*from), Valid: true}
	}
}

func setTime(to *sql.NullInt64, from *time.Time) {
	if from != nil {
		*to = sql.NullInt64{Int64: micros(*from), Valid: true}
	}
}

// UpdateUser implements [authkit.UserStore].
func (db *DB) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if !storable(id) {
		return authkit.User{}, unstorable(ctx, authkit.ErrUserNotFound)
	}
	up, err := newUpdate(&change)
	if err != nil {
		return authkit.User{}, failure(err)
	}
	var u authkit.StoredUser
	do := func(c conn) (err error) {
		u, err = c.updateUser(ctx, id, &change, &up, at)
		return err
	}
	if change.KeepRole == "" {
		err = db.run(ctx, do)
	} else {
		err = db.atomic(ctx, sql.LevelReadCommitted, func(c conn) error {
			if err := c.keepRole(ctx, id, change.KeepRole, &change, at); err != nil {
				return err
			}
			return do(c)
		})
	}
	if err != nil && up.email.Valid && !isRefusal(err) {
		err = db.emailTaken(ctx, up.email.String, id, err)
	}
	if err != nil {
		return authkit.User{}, err
	}
	return u.User, nil
}

const setUser = `UPDATE {users} SET email = COALESCE(?, email), full_name = COALESCE(?, full_name), roles = COALESCE(?, roles),
	disabled = COALESCE(?, disabled), password_hash = COALESCE(?, password_hash), email_verified_at = COALESCE(?, email_verified_at),
	locked_until = COALESCE(?, locked_until), updated_at = ?, version = version + 1, valid_from = `

// updateUser changes an account by one statement that writes.
func (c conn) updateUser(ctx context.Context, id string, change *authkit.UserUpdate, up *update, at time.Time) (u authkit.StoredUser, err error) {
	query := setUser + c.d.greatest() + `(valid_from, COALESCE(?, valid_from)) WHERE tenant = ? AND id = ?`
	args := []any{up.email, up.name, up.roles, up.disabled, up.hash, up.verified, up.locked, micros(at), up.from, c.opts.Tenant, id}
	if !c.d.returning() {
		return c.updateVersion(ctx, id, change, query+` AND version = ?`, args, at)
	}
	if change.IfVersion != 0 {
		query, args = query+` AND version = ?`, append(args, change.IfVersion)
	}
	err = c.withSavepoint(ctx, up.email.Valid || !isASCII(up.name.String), func() error {
		return c.queryRow(ctx, authkit.ErrUserNotFound, scanUser(&u), query+` RETURNING `+userColumns, args...)
	})
	if change.IfVersion != 0 && errors.Is(err, authkit.ErrUserNotFound) {
		found := c.queryRow(ctx, err, func(scan func(...any) error) error { return scan(&id) },
			`SELECT id FROM {users} WHERE tenant = ? AND id = ?`, c.opts.Tenant, id)
		if found == nil {
			return u, authkit.ErrConflict
		}
		return u, found
	}
	return u, err
}

// updateVersion changes an account in MySQL, which cannot return what an UPDATE
// made: it reads the account, and changes the version that it has read.
func (c conn) updateVersion(ctx context.Context, id string, change *authkit.UserUpdate, query string, args []any, at time.Time) (u authkit.StoredUser, err error) {
	lock := ""
	if c.t != nil {
		lock = c.d.forUpdate() // and no other change comes between
	}
	for {
		if err := c.queryRow(ctx, authkit.ErrUserNotFound, scanUser(&u), userByID+lock, c.opts.Tenant, id); err != nil {
			return u, err
		}
		if change.IfVersion != 0 && change.IfVersion != u.Version {
			return u, authkit.ErrConflict
		}
		n, err := c.exec(ctx, query, append(slices.Clone(args), u.Version)...)
		if err != nil {
			return u, err
		}
		if n == 1 {
			apply(&u, change, at)
			return u, nil
		}
	}
}

// apply makes a change to an account as the database has made it.
func apply(u *authkit.StoredUser, change *authkit.UserUpdate, at time.Time) {
	text := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	instant := func(to *time.Time, from *time.Time) {
		if from != nil {
			*to = fromMicros(micros(*from))
		}
	}
	text(&u.Email, change.Email)
	text(&u.FullName, change.FullName)
	if change.Roles != nil {
		u.Roles = append([]string{}, *change.Roles...)
	}
	if change.Disabled != nil {
		u.Disabled = *change.Disabled
	}
	instant(&u.EmailVerifiedAt, change.EmailVerifiedAt)
	instant(&u.LockedUntil, change.LockedUntil)
	instant(&u.UpdatedAt, &at)
	u.Version++
}

// keepRole locks the role against other changes that keep it, and returns
// ErrLastAdmin if no account would hold it after a change to the one given,
// unlocked at the time of the change. A nil change deletes the account. Then a
// locked holder is enough.
func (c conn) keepRole(ctx context.Context, id, role string, change *authkit.UserUpdate, at time.Time) error {
	if err := c.lockOwner(ctx, roleLock); err != nil {
		return err
	}
	unlocked := micros(at)
	if change == nil {
		unlocked = math.MaxInt64
	}
	held, err := c.heldByOther(ctx, id, role, unlocked)
	if err != nil || held {
		return err
	}
	var u authkit.StoredUser
	if err := c.queryRow(ctx, authkit.ErrUserNotFound, scanUser(&u), userByID+c.d.forUpdate(), c.opts.Tenant, id); err != nil {
		return err
	}
	if change == nil {
		return authkit.ErrLastAdmin
	}
	if change.IfVersion != 0 && change.IfVersion != u.Version {
		return authkit.ErrConflict
	}
	apply(&u, change, u.UpdatedAt)
	if u.Disabled || u.LockedUntil.After(at) || !slices.Contains(u.Roles, role) {
		return authkit.ErrLastAdmin
	}
	return nil
}

// roleLock is the row of session_owners that changes with KeepRole lock: no
// account has an empty ID.
const roleLock = ""

// errStop ends a query early.
var errStop = errors.New("enough")

// heldByOther reports whether an enabled account other than the one given has a
// role, and is not locked after a time.
func (c conn) heldByOther(ctx context.Context, id, role string, unlocked int64) (held bool, err error) {
	if !storable(role) {
		return false, nil
	}
	where, args := c.hasRole(role)
	query := `SELECT roles FROM {users} WHERE tenant = ? AND id <> ? AND disabled = ? AND locked_until <= ? AND ` + where + ` ORDER BY id LIMIT 100` // some may be broken
	if c.d == MySQL && c.t.inHost {
		query += c.d.forUpdate() // the program's transaction may have an old view
	}
	err = c.query(ctx, func(scan func(...any) error) error {
		var roles []byte
		if err := scan(&roles); err != nil {
			return err
		}
		if held = slices.Contains(decodeList(roles), role); held {
			return errStop
		}
		return nil
	}, query, append([]any{c.opts.Tenant, id, false, unlocked}, args...)...)
	if errors.Is(err, errStop) {
		err = nil
	}
	return held, err
}

// lockOwner makes transactions wait for each other that add to the sessions of
// a user, or end all of them. There may be no row to lock yet, so it makes one,
// which stays. A transaction that the store begins on SQLite is alone anyway.
func (c conn) lockOwner(ctx context.Context, userID string) error {
	upsert := ` ON CONFLICT (tenant, user_id) DO UPDATE SET version = {session_owners}.version + 1`
	switch {
	case c.d == SQLite && c.t.tx == nil:
		return nil
	case c.d == MySQL:
		upsert = ` ON DUPLICATE KEY UPDATE version = version + 1`
	}
	_, err := c.exec(ctx, `INSERT INTO {session_owners} (tenant, user_id, version) VALUES (?, ?, 1)`+upsert, c.opts.Tenant, userID)
	return err
}
