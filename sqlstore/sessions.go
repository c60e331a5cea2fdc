package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// errSessionID and errSessionText are for what no session can be stored with.
var (
	errSessionID   = errors.New("the session ID is empty or exists")
	errSessionText = errors.New("a text of the session has a NUL in it or is not UTF-8")
)

const (
	listColumns    = `id, user_id, device, address, created_at, last_used_at, expires_at, ends_at`
	sessionColumns = listColumns + `, token_hash, parent_hash, rotated_at, successor`
)

// scanSession reads the columns of sessionColumns, or of listColumns alone.
func scanSession(s *authkit.StoredSession, stored bool) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		var created, used, expires, ends, rotated int64
		var token, parent []byte
		into := []any{&s.ID, &s.UserID, &s.Device, &s.Address, &created, &used, &expires, &ends}
		if stored {
			into = append(into, &token, &parent, &rotated, &s.Successor)
		}
		if err := scan(into...); err != nil {
			return err
		}
		s.CreatedAt, s.LastUsedAt, s.ExpiresAt, s.EndsAt = fromMicros(created), fromMicros(used), fromMicros(expires), fromMicros(ends)
		if !stored {
			return nil
		}
		s.RotatedAt = fromMicros(rotated)
		if copy(s.TokenHash[:], token) != len(token) || copy(s.ParentHash[:], parent) != len(parent) || len(token) != 32 || len(parent) != 32 {
			return fmt.Errorf("session %s: a hash that is not of 32 bytes", s.ID)
		}
		return nil
	}
}

// bytesOf returns bytes that are not nil, which a database would take for NULL.
func bytesOf(b []byte) []byte { return append([]byte{}, b...) }

// CreateSession implements [authkit.SessionStore].
func (s *Store) CreateSession(ctx context.Context, x authkit.StoredSession, limit int) error {
	if x.ID == "" {
		return failure(errSessionID)
	}
	if !storable(x.ID, x.UserID, x.Device, x.Address) {
		return failure(errSessionText)
	}
	return s.together(ctx, func(w work) error {
		if err := w.lockOwner(ctx, x.UserID); err != nil {
			return err
		}
		n, err := w.exec(ctx, `INSERT INTO {sessions} (tenant, `+sessionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`+w.d.unlessThere(),
			w.opts.Tenant, x.ID, x.UserID, x.Device, x.Address, micros(x.CreatedAt), micros(x.LastUsedAt), micros(x.ExpiresAt), micros(x.EndsAt),
			x.TokenHash[:], x.ParentHash[:], micros(x.RotatedAt), bytesOf(x.Successor))
		if err != nil {
			return err
		}
		if n == 0 {
			return errSessionID
		}
		var over []string
		err = w.query(ctx, func(scan func(...any) error) error {
			over = append(over, "")
			return scan(&over[len(over)-1])
		}, `SELECT id FROM {sessions} WHERE tenant = ? AND user_id = ? AND id <> ? ORDER BY last_used_at DESC, id LIMIT 1000000 OFFSET ?`,
			w.opts.Tenant, x.UserID, x.ID, max(0, limit-1))
		if err != nil {
			return err
		}
		slices.Sort(over) // whoever locks several sessions does it in this order
		for _, id := range over {
			if _, err := w.revoke(ctx, x.UserID, id, x.CreatedAt); err != nil {
				return err
			}
		}
		return nil
	})
}

// lockOwner lets one transaction at a time add to the sessions of a user, or end all of them.
// There may be no row to lock yet, so that it makes one, which stays.
func (w work) lockOwner(ctx context.Context, userID string) error {
	upsert := ` ON CONFLICT (tenant, user_id) DO UPDATE SET version = {session_owners}.version + 1`
	if w.d == MySQL {
		upsert = ` ON DUPLICATE KEY UPDATE version = version + 1`
	}
	_, err := w.exec(ctx, `INSERT INTO {session_owners} (tenant, user_id, version) VALUES (?, ?, 1)`+upsert, w.opts.Tenant, userID)
	return err
}

// revoke removes a session of a user and adds its revocation, if it is there.
func (w work) revoke(ctx context.Context, userID, id string, at time.Time) (revoked bool, err error) {
	n, err := w.exec(ctx, `DELETE FROM {sessions} WHERE tenant = ? AND id = ? AND user_id = ?`, w.opts.Tenant, id, userID)
	if err != nil || n == 0 {
		return false, err
	}
	return true, w.addRevocation(ctx, userID, id, at)
}

func (w work) addRevocation(ctx context.Context, userID, id string, at time.Time) error {
	_, err := w.exec(ctx, `INSERT INTO {revocations} (tenant, revoked_at, user_id, session_id) VALUES (?, ?, ?, ?)`, w.opts.Tenant, micros(at), userID, id)
	return err
}

// SessionByID implements [authkit.SessionStore].
func (s *Store) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	if !storable(id) {
		return authkit.StoredSession{}, unstorable(ctx, authkit.ErrSessionNotFound)
	}
	var x authkit.StoredSession
	err := s.single(ctx, func(w work) error { return w.session(ctx, id, "", &x) })
	if err != nil {
		return authkit.StoredSession{}, err
	}
	return x, nil
}

// session reads a session, and locks it if asked to.
func (w work) session(ctx context.Context, id, lock string, x *authkit.StoredSession) error {
	return w.one(ctx, authkit.ErrSessionNotFound, scanSession(x, true),
		`SELECT `+sessionColumns+` FROM {sessions} WHERE tenant = ? AND id = ?`+lock, w.opts.Tenant, id)
}

// SessionsByUser implements [authkit.SessionStore].
func (s *Store) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
	if !storable(userID) {
		return nil, ctx.Err()
	}
	var list []authkit.Session
	err := s.single(ctx, func(w work) error {
		list = nil
		return w.query(ctx, func(scan func(...any) error) error {
			var x authkit.StoredSession
			err := scanSession(&x, false)(scan)
			list = append(list, x.Session)
			return err
		}, `SELECT `+listColumns+` FROM {sessions} WHERE tenant = ? AND user_id = ? ORDER BY last_used_at DESC, id`, w.opts.Tenant, userID)
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// RotateSession implements [authkit.SessionStore]. It is one statement, or in MySQL three: of
// several callers, one finds the token that it wants to replace (RF-03).
func (s *Store) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	if !storable(id) {
		return authkit.StoredSession{}, false, unstorable(ctx, authkit.ErrSessionNotFound)
	}
	if !storable(r.Address) {
		return authkit.StoredSession{}, false, failure(errSessionText)
	}
	const update = `UPDATE {sessions} SET parent_hash = token_hash, token_hash = ?, successor = ?, rotated_at = ?, last_used_at = ?, expires_at = ?, address = ?
		WHERE tenant = ? AND id = ? AND token_hash = ?`
	args := []any{r.New[:], bytesOf(r.Successor), micros(r.At), micros(r.At), micros(r.ExpiresAt), r.Address, s.opts.Tenant, id, r.Old[:]}
	var x authkit.StoredSession
	var rotated bool
	var err error
	if s.d.returning() {
		err = s.single(ctx, func(w work) error {
			err := w.one(ctx, authkit.ErrSessionNotFound, scanSession(&x, true), update+` RETURNING `+sessionColumns, args...)
			if rotated = err == nil; rotated || !errors.Is(err, authkit.ErrSessionNotFound) {
				return err
			}
			return w.session(ctx, id, "", &x)
		})
	} else {
		err = s.together(ctx, func(w work) error {
			err := w.session(ctx, id, w.d.forUpdate(), &x)
			if rotated = err == nil && x.TokenHash == r.Old; !rotated {
				return err
			}
			x = r.Apply(x)
			_, err = w.exec(ctx, update, args...)
			return err
		})
	}
	if err != nil {
		return authkit.StoredSession{}, false, err
	}
	return x, rotated, nil
}

// RevokeSession implements [authkit.SessionStore].
func (s *Store) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	if !storable(userID, id) {
		return false, ctx.Err()
	}
	revoked := false
	err := s.together(ctx, func(w work) (err error) {
		revoked, err = w.revoke(ctx, userID, id, at)
		return err
	})
	return revoked && err == nil, err
}

// RevokeSessions implements [authkit.SessionStore].
func (s *Store) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	if !storable(userID) {
		return unstorable(ctx, failure(errSessionText))
	}
	if !storable(except) {
		except = " " // which no session has, and which keeps none
	}
	return s.together(ctx, func(w work) error {
		if err := w.lockOwner(ctx, userID); err != nil {
			return err
		}
		var ids []string
		err := w.query(ctx, func(scan func(...any) error) error {
			ids = append(ids, "")
			return scan(&ids[len(ids)-1])
		}, `SELECT id FROM {sessions} WHERE tenant = ? AND user_id = ? AND id <> ?`, w.opts.Tenant, userID, except)
		if err != nil {
			return err
		}
		slices.Sort(ids)
		for _, id := range ids {
			if _, err := w.revoke(ctx, userID, id, at); err != nil {
				return err
			}
		}
		if except == "" {
			return w.addRevocation(ctx, userID, "", at)
		}
		return nil
	})
}

// Revocations implements [authkit.SessionStore].
func (s *Store) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
	var list []authkit.Revocation
	err := s.single(ctx, func(w work) error {
		list = nil
		return w.query(ctx, func(scan func(...any) error) error {
			var r authkit.Revocation
			var at int64
			err := scan(&r.UserID, &r.SessionID, &at)
			r.At = fromMicros(at)
			list = append(list, r)
			return err
		}, `SELECT user_id, session_id, revoked_at FROM {revocations} WHERE tenant = ? AND revoked_at >= ?`, w.opts.Tenant, micros(since))
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// DeleteExpired implements [authkit.SessionStore].
func (s *Store) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	var deleted int64
	err := s.together(ctx, func(w work) error {
		n, err := w.deleteSessions(ctx, at, limit)
		if err != nil {
			return err
		}
		deleted, err = w.deleteOldest(ctx, "{revocations}", "seq", "revoked_at", revokedBefore, limit)
		deleted += n
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(deleted), nil
}

// deleteSessions deletes sessions that have expired.
func (w work) deleteSessions(ctx context.Context, at time.Time, limit int) (int64, error) {
	if w.d != MySQL {
		return w.deleteOldest(ctx, "{sessions}", "id", "expires_at", at, limit)
	}
	// By the index of their expiry they would be locked the other way round than by a rotation,
	// and one of the two fail.
	args := []any{w.opts.Tenant, micros(at)}
	err := w.query(ctx, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		args = append(args, id)
		return err
	}, `SELECT id FROM {sessions} WHERE tenant = ? AND expires_at < ? ORDER BY expires_at LIMIT ?`, w.opts.Tenant, micros(at), limit)
	if err != nil || len(args) == 2 {
		return 0, err
	}
	return w.exec(ctx, `DELETE FROM {sessions} WHERE tenant = ? AND expires_at < ? AND id IN (?`+strings.Repeat(`, ?`, len(args)-3)+`)`, args...)
}

// deleteOldest deletes the rows of a table that are from before a time.
func (w work) deleteOldest(ctx context.Context, table, key, column string, before time.Time, limit int) (int64, error) {
	old := ` WHERE tenant = ? AND ` + column + ` < ? ORDER BY ` + column + ` LIMIT ?`
	args := []any{w.opts.Tenant, micros(before), limit}
	query := `DELETE FROM ` + table + old
	if w.d != MySQL { // the others have no limit there
		in := ` IN (`
		if w.d == Postgres {
			in = ` = ANY (ARRAY(` // what is IN may be asked for anew for each row, and has other rows then
		}
		query = `DELETE FROM ` + table + ` WHERE tenant = ? AND ` + key + in + `SELECT ` + key + ` FROM ` + table + old + w.d.forUpdate() + `)`
		if w.d == Postgres {
			query += `)`
		}
		args = append([]any{w.opts.Tenant}, args...)
	}
	return w.exec(ctx, query, args...)
}
