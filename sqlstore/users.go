package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

// errUserID and errUserText are for accounts that cannot be stored.
var (
	errUserID   = errors.New("the user ID is empty or exists")
	errUserText = fmt.Errorf("sqlstore: %w: a text of the account has a NUL in it or is not UTF-8", authkit.ErrUnstorable)
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

// into adds the destinations of a scan.
func (r *userRow) into(to []any) []any {
	return append(to, &r.u.ID, &r.u.Email, &r.u.FullName, &r.roles, &r.u.Disabled, &r.hash, &r.from, &r.created, &r.updated,
		&r.verified, &r.locked, &r.u.Version)
}

// read finishes the account after a scan. An account whose roles cannot be read
// has none: it must not hide the others, nor gain a role. [DB.Doctor] reports
// it.
func (r *userRow) read() {
	u := r.u
	u.Roles = decodeList(r.roles)
	u.PasswordHash = authkit.PasswordHash(r.hash)
	u.TokensValidAfter, u.CreatedAt, u.UpdatedAt = fromMicros(r.from), fromMicros(r.created), fromMicros(r.updated)
	u.EmailVerifiedAt, u.LockedUntil = fromMicros(r.verified), fromMicros(r.locked)
}

// scanUser reads the columns of userColumns.
func scanUser(u *authkit.StoredUser) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		r := userRow{u: u}
		err := scan(r.into(nil)...)
		if err == nil {
			r.read()
		}
		return err
	}
}

// decodeList returns a list that was stored as JSON, or nil if it is none.
func decodeList(text []byte) []string {
	if list, ok := decodePlain(text); ok {
		return list
	}
	var list []string
	if len(text) == 0 || json.Unmarshal(text, &list) != nil {
		return nil
	}
	return list
}

// decodePlain is decodeList for texts that need no escapes, as those of roles.
// Every guarded request decodes one.
func decodePlain(text []byte) (list []string, ok bool) {
	inner, opens := bytes.CutPrefix(text, []byte(`["`))
	inner, closes := bytes.CutSuffix(inner, []byte(`"]`))
	if !opens || !closes || bytes.ContainsFunc(inner, func(r rune) bool { return r < ' ' || r == '\\' || r > '~' }) {
		return nil, false
	}
	list = strings.Split(string(inner), `","`)
	return list, !slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, `"`) })
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
		return c.withSavepoint(ctx, !isASCII(u.FullName), func() error {
			n, err := c.exec(ctx, `INSERT INTO {users} (tenant, `+userColumns+`) VALUES `+userValues+c.d.unlessThere(), args...)
			if err == nil && n == 0 {
				return errUserID
			}
			return err
		})
	})
	if err != nil {
		return db.emailTaken(ctx, u.Email, u.ID, err)
	}
	return nil
}

// emailTaken returns ErrEmailTaken if an account other than the one given has
// the e-mail, and otherwise the error given. So the errors of drivers need not
// be told apart.
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

// ListUsers implements [authkit.UserStore]. An account whose stored roles
// cannot be read is returned with nil Roles.
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

// where returns the condition of a query, pages apart, and whether an account
// can meet it.
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

// hasRole returns the condition that an account has a role: the JSON list has
// it as its first element or as a later one. A quote within a role is escaped,
// so neither text can be a part of another role.
func (db *DB) hasRole(role string) (where string, args []any) {
	text, _ := json.Marshal(role) // a string never fails
	contains := db.d.contains("roles")
	return `(` + contains + ` OR ` + contains + `)`, []any{"[" + string(text), "," + string(text)}
}

// afterPrefix returns the smallest text that is greater than all with a prefix,
// in the order of bytes, or "" if there is none.
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

// DeleteUser implements [authkit.UserStore]. It leaves sessions and tickets as
// they are, which may be in another store. See authkit.Kit.DeleteUser.
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
		if err := c.keepRole(ctx, id, keepRole, nil, time.Time{}); err != nil {
			return err
		}
		return do(c)
	})
}
