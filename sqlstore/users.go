package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

// errUserID and errUserText are for accounts that cannot be stored.
var (
	errUserID   = errors.New("the user ID is empty or exists")
	errUserText = errors.New("a text of the account has a NUL in it or is not UTF-8")
)

const (
	userColumns = `id, email, full_name, roles, disabled, password_hash, valid_from, created_at, updated_at, email_verified_at, locked_until, version`

	userByID = `SELECT ` + userColumns + ` FROM {users} WHERE tenant = ? AND id = ?`
)

// A userRow is a row of userColumns.
type userRow struct {
	u                                        *authkit.StoredUser
	roles                                    []byte
	hash                                     string
	from, created, updated, verified, locked int64
}

// into returns the destinations of a scan.
func (r *userRow) into() []any {
	return []any{&r.u.ID, &r.u.Email, &r.u.FullName, &r.roles, &r.u.Disabled, &r.hash, &r.from, &r.created, &r.updated,
		&r.verified, &r.locked, &r.u.Version}
}

// read finishes the account after a scan. An account whose roles cannot be read has none:
// it must not hide the others, nor gain a role. [DB.Doctor] reports it.
func (r *userRow) read() {
	u := r.u
	u.Roles = decodeList(r.roles)
	u.PasswordHash = authkit.PasswordHash(r.hash)
	u.ValidFrom, u.CreatedAt, u.UpdatedAt = fromMicros(r.from), fromMicros(r.created), fromMicros(r.updated)
	u.EmailVerifiedAt, u.LockedUntil = fromMicros(r.verified), fromMicros(r.locked)
}

// scanUser reads the columns of userColumns.
func scanUser(u *authkit.StoredUser) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		r := userRow{u: u}
		err := scan(r.into()...)
		if err == nil {
			r.read()
		}
		return err
	}
}

// decodeList returns a list that was stored as JSON, or nil if it is none.
func decodeList(text []byte) []string {
	var list []string
	if json.Unmarshal(text, &list) != nil {
		return nil
	}
	return list
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
func (db *DB) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	args, err := db.userArgs(&u)
	if err != nil {
		return failure(err)
	}
	err = db.run(ctx, func(c conn) error {
		n, err := c.exec(ctx, `INSERT INTO {users} (tenant, `+userColumns+`) VALUES `+userValues+c.d.unlessThere(), args...)
		if err == nil && n == 0 {
			return errUserID
		}
		return err
	})
	if err != nil {
		return db.emailTaken(ctx, u.Email, u.ID, err)
	}
	return nil
}

// emailTaken returns ErrEmailTaken if an account other than the one given has the e-mail,
// and otherwise the error given. So the errors of drivers need not be told apart.
func (db *DB) emailTaken(ctx context.Context, email, id string, otherwise error) error {
	var holder string
	err := db.run(ctx, func(c conn) error {
		return c.queryRow(ctx, otherwise, func(scan func(...any) error) error { return scan(&holder) },
			`SELECT id FROM {users} WHERE tenant = ? AND email = ?`, c.opts.Tenant, email)
	})
	if err == nil && holder != id {
		return authkit.ErrEmailTaken
	}
	return otherwise
}

// UserByID implements [authkit.UserStore].
func (db *DB) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	return db.user(ctx, userByID, id)
}

// UserByEmail implements [authkit.UserStore].
func (db *DB) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	return db.user(ctx, `SELECT `+userColumns+` FROM {users} WHERE tenant = ? AND email = ?`, email)
}

func (db *DB) user(ctx context.Context, query, key string) (authkit.StoredUser, error) {
	if !storable(key) {
		return authkit.StoredUser{}, unstorable(ctx, authkit.ErrUserNotFound)
	}
	var u authkit.StoredUser
	err := db.run(ctx, func(c conn) error {
		return c.queryRow(ctx, authkit.ErrUserNotFound, scanUser(&u), query, c.opts.Tenant, key)
	})
	if err != nil {
		return authkit.StoredUser{}, err
	}
	return u, nil
}

// ListUsers implements [authkit.UserStore]. An account whose stored roles cannot be read
// is returned with nil Roles.
func (db *DB) ListUsers(ctx context.Context, q authkit.UserQuery) ([]authkit.User, error) {
	where, args, possible := db.where(&q)
	if q.Limit <= 0 || !possible || !storable(q.After) {
		return nil, ctx.Err()
	}
	var users []authkit.User
	err := db.run(ctx, func(c conn) error {
		users = nil
		return c.query(ctx, func(scan func(...any) error) error {
			var u authkit.StoredUser
			err := scanUser(&u)(scan)
			users = append(users, u.User)
			return err
		}, `SELECT `+userColumns+` FROM {users}`+where+` AND id > ? ORDER BY id LIMIT ?`, append(args, q.After, q.Limit)...)
	})
	if err != nil {
		return nil, err
	}
	return users, nil
}

// CountUsers implements [authkit.UserStore].
func (db *DB) CountUsers(ctx context.Context, q authkit.UserQuery) (int, error) {
	where, args, possible := db.where(&q)
	if !possible {
		return 0, ctx.Err()
	}
	var n int
	err := db.run(ctx, func(c conn) error {
		return c.query(ctx, func(scan func(...any) error) error { return scan(&n) }, `SELECT COUNT(*) FROM {users}`+where, args...)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// where returns the condition of a query, pages apart, and whether an account can meet it.
func (db *DB) where(q *authkit.UserQuery) (where string, args []any, possible bool) {
	where, args = ` WHERE tenant = ?`, []any{db.opts.Tenant}
	if q.EmailPrefix != "" {
		where, args = where+` AND email >= ?`, append(args, q.EmailPrefix)
		if after := afterPrefix(q.EmailPrefix); after != "" {
			where, args = where+` AND email < ?`, append(args, after)
		}
	}
	if q.Disabled != nil {
		where, args = where+` AND disabled = ?`, append(args, *q.Disabled)
	}
	if q.Role != "" {
		role, roleArgs := db.hasRole(q.Role)
		where, args = where+` AND `+role, append(args, roleArgs...)
	}
	return where, args, storable(q.EmailPrefix, q.Role)
}

// hasRole returns the condition that an account has a role: the JSON list has it as its
// first element or as a later one. A quote within a role is escaped, so neither text can
// be a part of another role.
func (db *DB) hasRole(role string) (where string, args []any) {
	text, _ := json.Marshal(role) // a string never fails
	contains := db.d.contains("roles")
	return `(` + contains + ` OR ` + contains + `)`, []any{"[" + string(text), "," + string(text)}
}

// afterPrefix returns the smallest text that is greater than all with a prefix, in the
// order of bytes, or "" if there is none.
func afterPrefix(prefix string) string {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch {
		case r == utf8.MaxRune:
			continue
		case r == 0xd7ff: // the surrogates are not characters
			return prefix + "\ue000"
		}
		return prefix + string(r+1)
	}
	return ""
}

// An update is a [authkit.UserUpdate] as it is stored. Null values change nothing.
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
	setTime(&up.from, change.ValidFrom)
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
			if err := c.keepRole(ctx, id, change.KeepRole, &change); err != nil {
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
	err = c.guarded(ctx, up.email.Valid, func() error {
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

// updateVersion changes an account in MySQL, which cannot return what an UPDATE made: it
// reads the account, and changes the version that it has read.
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

// keepRole locks the role against other changes that keep it, and returns ErrLastAdmin if
// no account would hold it after a change to the one given. A nil change deletes it.
func (c conn) keepRole(ctx context.Context, id, role string, change *authkit.UserUpdate) error {
	if err := c.lockOwner(ctx, roleLock); err != nil {
		return err
	}
	held, err := c.heldByOther(ctx, id, role)
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
	if u.Disabled || !slices.Contains(u.Roles, role) {
		return authkit.ErrLastAdmin
	}
	return nil
}

// roleLock is the row of session_owners that changes with KeepRole lock: no account has
// an empty ID.
const roleLock = ""

// errStop ends a query early.
var errStop = errors.New("enough")

// heldByOther reports whether an enabled account other than the one given has a role.
func (c conn) heldByOther(ctx context.Context, id, role string) (held bool, err error) {
	if !storable(role) {
		return false, nil
	}
	where, args := c.hasRole(role)
	query := `SELECT roles FROM {users} WHERE tenant = ? AND id <> ? AND disabled = ? AND ` + where + ` ORDER BY id LIMIT 100` // some may be broken
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
	}, query, append([]any{c.opts.Tenant, id, false}, args...)...)
	if errors.Is(err, errStop) {
		err = nil
	}
	return held, err
}

// DeleteUser implements [authkit.UserStore]. It leaves sessions and tickets as they are,
// which may be in another store. See authkit.Kit.DeleteUser.
func (db *DB) DeleteUser(ctx context.Context, id, keepRole string) error {
	if !storable(id) {
		return unstorable(ctx, authkit.ErrUserNotFound)
	}
	do := func(c conn) error {
		n, err := c.exec(ctx, `DELETE FROM {users} WHERE tenant = ? AND id = ?`, c.opts.Tenant, id)
		if err == nil && n == 0 {
			return authkit.ErrUserNotFound
		}
		return err
	}
	if keepRole == "" {
		return db.run(ctx, do)
	}
	return db.atomic(ctx, sql.LevelReadCommitted, func(c conn) error {
		if err := c.keepRole(ctx, id, keepRole, nil); err != nil {
			return err
		}
		return do(c)
	})
}

// lockOwner makes transactions wait for each other that add to the sessions of a user, or
// end all of them. There may be no row to lock yet, so it makes one, which stays. A
// transaction that the store begins on SQLite is alone anyway.
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
