package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

// errSessionID and errSessionText are for sessions that cannot be stored.
var (
	errSessionID   = errors.New("the session ID is empty or exists")
	errSessionText = errors.New("a text of the session has a NUL in it or is not UTF-8")
)

const (
	listColumns    = `id, user_id, device, address, created_at, last_used_at, expires_at, ends_at, auth_time, methods`
	sessionColumns = listColumns + `, token_hash, parent_hash, rotated_at, successor`

	sessionByID = `SELECT ` + sessionColumns + ` FROM {sessions} WHERE tenant = ? AND id = ?`
)

// A sessionRow is a row of sessionColumns, or of listColumns.
type sessionRow struct {
	x                                           *authkit.StoredSession
	created, used, expires, ends, auth, rotated int64
	methods, token, parent                      []byte
}

// into adds the destinations of a scan of listColumns.
func (r *sessionRow) into(to []any) []any {
	x := r.x
	return append(to, &x.ID, &x.UserID, &x.Device, &x.Address, &r.created, &r.used, &r.expires, &r.ends, &r.auth, &r.methods)
}

// intoStored adds those of sessionColumns.
func (r *sessionRow) intoStored(to []any) []any {
	return append(r.into(to), &r.token, &r.parent, &r.rotated, &r.x.Successor)
}

// read finishes a session after a scan of listColumns.
func (r *sessionRow) read() {
	x := r.x
	x.CreatedAt, x.LastUsedAt, x.ExpiresAt, x.AbsoluteExpiresAt = fromMicros(r.created), fromMicros(r.used), fromMicros(r.expires), fromMicros(r.ends)
	x.AuthTime, x.Methods = fromMicros(r.auth), decodeList(r.methods)
}

// readStored finishes a session after a scan of sessionColumns.
func (r *sessionRow) readStored() error {
	r.read()
	x := r.x
	x.RotatedAt = fromMicros(r.rotated)
	if len(r.token) != 32 || len(r.parent) != 32 {
		return fmt.Errorf("session %s: a hash that does not have 32 bytes", x.ID)
	}
	copy(x.TokenHash[:], r.token)
	copy(x.ParentHash[:], r.parent)
	return nil
}

// scanSession reads the columns of sessionColumns.
func scanSession(x *authkit.StoredSession) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		r := sessionRow{x: x}
		if err := scan(r.intoStored(nil)...); err != nil {
			return err
		}
		return r.readStored()
	}
}

// encodeMethods returns methods as they are stored.
func encodeMethods(methods []string) string {
	if len(methods) == 0 {
		return ""
	}
	text, _ := json.Marshal(methods) // strings never fail
	return string(text)
}

// bytesOf returns bytes that are not nil, which a database would take for NULL.
func bytesOf(b []byte) []byte { return append([]byte{}, b...) }

// sessionArgs returns a session as the arguments of sessionColumns.
func sessionArgs(x *authkit.StoredSession) []any {
	return []any{
		x.ID, x.UserID, x.Device, x.Address, micros(x.CreatedAt), micros(x.LastUsedAt), micros(x.ExpiresAt), micros(x.AbsoluteExpiresAt),
		micros(x.AuthTime), encodeMethods(x.Methods), x.TokenHash[:], x.ParentHash[:], micros(x.RotatedAt), bytesOf(x.Successor),
	}
}

// CreateSession implements [authkit.SessionStore]. In Postgres it is one
// statement.
func (db *DB) CreateSession(ctx context.Context, x authkit.StoredSession, limit int) error {
	if x.ID == "" {
		return failure(errSessionID)
	}
	if !storable(x.ID, x.UserID, x.Device, x.Address) || !storable(x.Methods...) {
		return failure(errSessionText)
	}
	err := db.newSession(ctx, &x, limit)
	if errors.Is(err, authkit.ErrUnstorable) && !isASCII(x.Device) {
		// Clients choose their User-Agent. One that the database cannot hold must not fail a login.
		x.Device = strings.Map(func(r rune) rune {
			if r >= utf8.RuneSelf {
				return '?'
			}
			return r
		}, x.Device)
		err = db.newSession(ctx, &x, limit)
	}
	return err
}

func (db *DB) newSession(ctx context.Context, x *authkit.StoredSession, limit int) error {
	if db.d == Postgres {
		return db.inTurn(ctx, x.UserID, func(c conn) (bool, error) { return c.createInTurn(ctx, x, limit) })
	}
	return db.atomic(ctx, sql.LevelDefault, func(c conn) error { return c.createSession(ctx, x, limit) })
}

// createSession creates a session and revokes those over the limit.
func (c conn) createSession(ctx context.Context, x *authkit.StoredSession, limit int) error {
	if err := c.lockOwner(ctx, x.UserID); err != nil {
		return err
	}
	n, err := c.exec(ctx, `INSERT INTO {sessions} (tenant, `+sessionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`+c.d.unlessThere(),
		append([]any{c.opts.Tenant}, sessionArgs(x)...)...)
	if err != nil {
		return err
	}
	if n == 0 {
		return errSessionID
	}
	over, err := c.sessionIDs(ctx, ` AND id <> ? ORDER BY last_used_at DESC, id LIMIT 1000000 OFFSET ?`, x.UserID, x.ID, max(0, limit-1))
	if err != nil {
		return err
	}
	return c.revokeEach(ctx, x.UserID, over, x.CreatedAt)
}

// sessionIDs returns the IDs of sessions of a user.
func (c conn) sessionIDs(ctx context.Context, rest, userID string, args ...any) (ids []string, err error) {
	err = c.query(ctx, func(scan func(...any) error) error {
		ids = append(ids, "")
		return scan(&ids[len(ids)-1])
	}, `SELECT id FROM {sessions} WHERE tenant = ? AND user_id = ?`+rest, append([]any{c.opts.Tenant, userID}, args...)...)
	return ids, err
}

// SessionByID implements [authkit.SessionStore].
func (db *DB) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	if !storable(id) {
		return authkit.StoredSession{}, unstorable(ctx, authkit.ErrSessionNotFound)
	}
	var x authkit.StoredSession
	err := db.run(ctx, func(c conn) error { return c.session(ctx, id, "", &x) })
	if err != nil {
		return authkit.StoredSession{}, err
	}
	return x, nil
}

// session reads a session, and locks it if asked to.
func (c conn) session(ctx context.Context, id, lock string, x *authkit.StoredSession) error {
	return c.queryRow(ctx, authkit.ErrSessionNotFound, scanSession(x), sessionByID+lock, c.opts.Tenant, id)
}

const sessionUser = `SELECT s.id, s.user_id, s.device, s.address, s.created_at, s.last_used_at, s.expires_at, s.ends_at, s.auth_time, s.methods,
	s.token_hash, s.parent_hash, s.rotated_at, s.successor, u.id, u.email, u.full_name, u.roles, u.disabled,
	u.password_hash, u.valid_from, u.created_at, u.updated_at, u.email_verified_at, u.locked_until, u.version
	FROM {sessions} AS s JOIN {users} AS u ON u.tenant = s.tenant AND u.id = s.user_id WHERE s.tenant = ? AND s.id = ?`

// SessionUser implements [authkit.SessionUserStore]. It runs one statement if
// the session and its account exist.
func (db *DB) SessionUser(ctx context.Context, sessionID string) (authkit.StoredSession, authkit.StoredUser, error) {
	if !storable(sessionID) {
		return authkit.StoredSession{}, authkit.StoredUser{}, unstorable(ctx, authkit.ErrSessionNotFound)
	}
	var x authkit.StoredSession
	var u authkit.StoredUser
	found := false
	err := db.run(ctx, func(c conn) error {
		return c.query(ctx, func(scan func(...any) error) error {
			found = true
			session, user := sessionRow{x: &x}, userRow{u: &u}
			into := make([]any, 0, 26)
			if err := scan(user.into(session.intoStored(into))...); err != nil {
				return err
			}
			user.read()
			return session.readStored()
		}, sessionUser, c.opts.Tenant, sessionID)
	})
	if err != nil {
		return authkit.StoredSession{}, authkit.StoredUser{}, err
	}
	if found {
		return x, u, nil
	}
	if x, err = db.SessionByID(ctx, sessionID); err != nil {
		return authkit.StoredSession{}, authkit.StoredUser{}, err
	}
	u, err = db.UserByID(ctx, x.UserID)
	return x, u, err
}

// SessionsByUser implements [authkit.SessionStore].
func (db *DB) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
	if !storable(userID) {
		return nil, ctx.Err()
	}
	var list []authkit.Session
	err := db.run(ctx, func(c conn) error {
		list = nil
		return c.query(ctx, func(scan func(...any) error) error {
			var x authkit.StoredSession
			r := sessionRow{x: &x}
			if err := scan(r.into(nil)...); err != nil {
				return err
			}
			r.read()
			list = append(list, x.Session)
			return nil
		}, `SELECT `+listColumns+` FROM {sessions} WHERE tenant = ? AND user_id = ? ORDER BY last_used_at DESC, id`, c.opts.Tenant, userID)
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// RotateSession implements [authkit.SessionStore]. One UPDATE compares and
// replaces the token, so exactly one of several concurrent callers succeeds
// (RF-03).
func (db *DB) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	if !storable(id) {
		return authkit.StoredSession{}, false, unstorable(ctx, authkit.ErrSessionNotFound)
	}
	if !storable(r.Address) {
		return authkit.StoredSession{}, false, failure(errSessionText)
	}
	const rotate = `UPDATE {sessions} SET parent_hash = token_hash, token_hash = ?, successor = ?, rotated_at = ?, last_used_at = ?, expires_at = ?, address = ?
		WHERE tenant = ? AND id = ? AND token_hash = ?`
	args := []any{r.New[:], bytesOf(r.Successor), micros(r.At), micros(r.At), micros(r.ExpiresAt), r.Address, db.opts.Tenant, id, r.Old[:]}
	var x authkit.StoredSession
	var rotated bool
	err := db.run(ctx, func(c conn) error {
		if !c.d.returning() {
			n, err := c.exec(ctx, rotate, args...)
			rotated = n > 0
			return err
		}
		err := c.queryRow(ctx, authkit.ErrSessionNotFound, scanSession(&x), rotate+` RETURNING `+sessionColumns, args...)
		if rotated = err == nil; errors.Is(err, authkit.ErrSessionNotFound) {
			return nil
		}
		return err
	})
	if err == nil && !(rotated && db.d.returning()) {
		// Not in the same run: if this has to be tried again, the rotation has
		// been made.
		err = db.run(ctx, func(c conn) error {
			lock := ""
			if c.d == MySQL && c.t != nil {
				lock = c.d.forUpdate() // the program's transaction may have an old view
			}
			return c.session(ctx, id, lock, &x)
		})
		if rotated { // and since then somebody may have rotated it again
			x.TokenHash = r.Old
			x = r.Apply(x)
			x.LastUsedAt, x.RotatedAt, x.ExpiresAt = fromMicros(micros(r.At)), fromMicros(micros(r.At)), fromMicros(micros(r.ExpiresAt))
			x.Successor = bytesOf(r.Successor)
		}
	}
	if err != nil {
		return authkit.StoredSession{}, false, err
	}
	return x, rotated, nil
}
