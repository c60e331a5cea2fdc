package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// turn begins a statement of Postgres that is alone with the sessions of a
// user, in one round trip. A statement sees the rows as they were when it
// began. It locks the row of the owner, which may take a while, and turn has a
// row only if it has not changed since: then no session has been added since
// either. Otherwise the statement does nothing and is to be run again.
const turn = `WITH seen AS (SELECT COALESCE(MAX(version), 0) AS version FROM {session_owners} WHERE tenant = ? AND user_id = ?),
	turn AS (INSERT INTO {session_owners} AS owner (tenant, user_id, version) SELECT CAST(? AS text), CAST(? AS text), version + 1 FROM seen
		ON CONFLICT (tenant, user_id) DO UPDATE SET version = excluded.version WHERE owner.version = excluded.version - 1 RETURNING version), `

// turnArgs are the arguments of turn.
func (c conn) turnArgs(userID string, rest ...any) []any {
	return append([]any{c.opts.Tenant, userID, c.opts.Tenant, userID}, rest...)
}

// inTurn runs a statement that begins with turn until it reports that it had
// its turn: a few times alone, and then in a transaction that locks the owner
// before it.
func (db *DB) inTurn(ctx context.Context, userID string, do func(conn) (done bool, err error)) error {
	for range 3 {
		done := false
		err := db.run(ctx, func(c conn) (err error) {
			done, err = do(c)
			return err
		})
		if done || err != nil {
			return err
		}
	}
	return db.atomic(ctx, sql.LevelReadCommitted, func(c conn) error {
		if err := c.lockOwner(ctx, userID); err != nil {
			return err
		}
		_, err := do(c)
		return err
	})
}

// createInTurn is createSession for Postgres.
func (c conn) createInTurn(ctx context.Context, x *authkit.StoredSession, limit int) (done bool, err error) {
	args := c.turnArgs(x.UserID, c.opts.Tenant)
	args = append(args, sessionArgs(x)...)
	args = append(args, c.opts.Tenant, x.UserID, x.ID, max(0, limit-1), c.opts.Tenant, c.opts.Tenant, micros(x.CreatedAt), x.UserID)
	var turns, made int
	err = c.query(ctx, func(scan func(...any) error) error { return scan(&turns, &made) }, turn+
		`made AS (INSERT INTO {sessions} (tenant, `+sessionColumns+`) SELECT CAST(? AS text),
			CAST(? AS text), CAST(? AS text), CAST(? AS text), CAST(? AS text), CAST(? AS bigint), CAST(? AS bigint), CAST(? AS bigint), CAST(? AS bigint),
			CAST(? AS bigint), CAST(? AS text), CAST(? AS bytea), CAST(? AS bytea), CAST(? AS bigint), CAST(? AS bytea) FROM turn ON CONFLICT DO NOTHING RETURNING id),
		over AS (SELECT id FROM (SELECT id FROM {sessions} WHERE tenant = ? AND user_id = ? AND id <> ? ORDER BY last_used_at DESC, id OFFSET ?) AS old
			WHERE EXISTS (SELECT 1 FROM made) ORDER BY id),
		dead AS (DELETE FROM {sessions} WHERE tenant = ? AND id = ANY (ARRAY(SELECT id FROM over)) RETURNING id),
		noted AS (INSERT INTO {revocations} (tenant, revoked_at, user_id, session_id) SELECT CAST(? AS text), CAST(? AS bigint), CAST(? AS text), id FROM dead)
		SELECT (SELECT COUNT(*) FROM turn), (SELECT COUNT(*) FROM made)`, args...)
	if err == nil && turns > 0 && made == 0 {
		err = errSessionID
	}
	return turns > 0, err
}

// RevokeSession implements [authkit.SessionStore].
func (db *DB) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	if !storable(userID, id) {
		return false, ctx.Err()
	}
	revoked := false
	do := func(c conn) (err error) {
		revoked, err = c.revoke(ctx, userID, id, at)
		return err
	}
	var err error
	if db.d == Postgres {
		err = db.run(ctx, do)
	} else {
		err = db.atomic(ctx, sql.LevelDefault, do)
	}
	return revoked && err == nil, err
}

// revoke removes a session of a user and adds its revocation, if it is there.
func (c conn) revoke(ctx context.Context, userID, id string, at time.Time) (revoked bool, err error) {
	const remove = `DELETE FROM {sessions} WHERE tenant = ? AND id = ? AND user_id = ?`
	args := []any{c.opts.Tenant, id, userID}
	if c.d == Postgres {
		n, err := c.exec(ctx, `WITH dead AS (`+remove+` RETURNING user_id, id) INSERT INTO {revocations} (tenant, revoked_at, user_id, session_id)
			SELECT CAST(? AS text), CAST(? AS bigint), user_id, id FROM dead`, append(args, c.opts.Tenant, micros(at))...)
		return n > 0, err
	}
	n, err := c.exec(ctx, remove, args...)
	if err != nil || n == 0 {
		return false, err
	}
	return true, c.addRevocation(ctx, userID, id, at)
}

func (c conn) addRevocation(ctx context.Context, userID, id string, at time.Time) error {
	_, err := c.exec(ctx, `INSERT INTO {revocations} (tenant, revoked_at, user_id, session_id) VALUES (?, ?, ?, ?)`, c.opts.Tenant, micros(at), userID, id)
	return err
}

// revokeEach revokes a few sessions of a user: those over the limit.
func (c conn) revokeEach(ctx context.Context, userID string, ids []string, at time.Time) error {
	slices.Sort(ids) // everything that locks several sessions of a user does so in this order
	for _, id := range ids {
		if _, err := c.revoke(ctx, userID, id, at); err != nil {
			return err
		}
	}
	return nil
}

// RevokeSessions implements [authkit.SessionStore]. In Postgres it is one
// statement. Elsewhere the number of statements is the same for up to a
// thousand sessions.
func (db *DB) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	if !storable(userID) {
		return unstorable(ctx, failure(errSessionText))
	}
	if !storable(except) {
		except = " " // which no session has, and which keeps none
	}
	if db.d == Postgres {
		return db.inTurn(ctx, userID, func(c conn) (bool, error) { return c.revokeInTurn(ctx, userID, except, at) })
	}
	return db.atomic(ctx, sql.LevelDefault, func(c conn) error {
		if err := c.lockOwner(ctx, userID); err != nil {
			return err
		}
		revoke := c.revokeAll
		if c.d == MySQL {
			revoke = c.revokeListed
		}
		if err := revoke(ctx, userID, except, at); err != nil || except != "" {
			return err
		}
		return c.addRevocation(ctx, userID, "", at)
	})
}

// revokeInTurn revokes sessions in Postgres. It locks them in the order of
// their IDs.
func (c conn) revokeInTurn(ctx context.Context, userID, except string, at time.Time) (done bool, err error) {
	args := c.turnArgs(userID, c.opts.Tenant, userID, except, c.opts.Tenant, c.opts.Tenant, micros(at), userID)
	of := `dead`
	if except == "" {
		of = `(SELECT id FROM dead UNION ALL SELECT '' FROM turn) AS all_of_them`
	}
	var turns int
	err = c.query(ctx, func(scan func(...any) error) error { return scan(&turns) }, turn+
		`mine AS (SELECT id FROM {sessions} WHERE tenant = ? AND user_id = ? AND id <> ? AND EXISTS (SELECT 1 FROM turn) ORDER BY id FOR UPDATE),
		dead AS (DELETE FROM {sessions} WHERE tenant = ? AND id = ANY (ARRAY(SELECT id FROM mine)) RETURNING id),
		noted AS (INSERT INTO {revocations} (tenant, revoked_at, user_id, session_id) SELECT CAST(? AS text), CAST(? AS bigint), CAST(? AS text), id FROM `+of+`)
		SELECT COUNT(*) FROM turn`, args...)
	return turns > 0, err
}

// revokeAll revokes sessions in SQLite, where no other call writes meanwhile.
func (c conn) revokeAll(ctx context.Context, userID, except string, at time.Time) error {
	const mine = ` FROM {sessions} WHERE tenant = ? AND user_id = ? AND id <> ?`
	args := []any{c.opts.Tenant, userID, except}
	_, err := c.exec(ctx, `INSERT INTO {revocations} (tenant, revoked_at, user_id, session_id) SELECT tenant, ?, user_id, id`+mine,
		append([]any{micros(at)}, args...)...)
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, `DELETE`+mine, args...)
	return err
}

// revokeListed revokes sessions in MySQL. It finds them without a lock, and
// locks them by their primary key: by the index of the user they would be
// locked the other way round than by a call that ends one of them, and one of
// the two would fail.
func (c conn) revokeListed(ctx context.Context, userID, except string, at time.Time) error {
	ids, err := c.sessionIDs(ctx, ` AND id <> ?`, userID, except)
	if err != nil {
		return err
	}
	slices.Sort(ids)
	for some := range slices.Chunk(ids, 1000) {
		const listed = ` FROM {sessions} FORCE INDEX (PRIMARY) WHERE tenant = ? AND id IN (?`
		args := []any{c.opts.Tenant}
		for _, id := range some {
			args = append(args, id)
		}
		rest := strings.Repeat(`, ?`, len(some)-1) + `)`
		_, err := c.exec(ctx, `INSERT INTO {revocations} (tenant, revoked_at, user_id, session_id) SELECT tenant, ?, user_id, id`+listed+rest+` FOR UPDATE`,
			append([]any{micros(at)}, args...)...)
		if err != nil {
			return err
		}
		if _, err := c.exec(ctx, `DELETE FROM {sessions} WHERE tenant = ? AND id IN (?`+rest, args...); err != nil {
			return err
		}
	}
	return nil
}

// Revocations implements [authkit.SessionStore].
func (db *DB) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
	var list []authkit.Revocation
	err := db.run(ctx, func(c conn) error {
		list = nil
		return c.query(ctx, func(scan func(...any) error) error {
			var r authkit.Revocation
			var at int64
			err := scan(&r.UserID, &r.SessionID, &at)
			r.At = fromMicros(at)
			list = append(list, r)
			return err
		}, `SELECT user_id, session_id, revoked_at FROM {revocations} WHERE tenant = ? AND revoked_at >= ?`, c.opts.Tenant, micros(since))
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// DeleteExpired implements [authkit.SessionStore].
func (db *DB) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	var deleted int64
	err := db.atomic(ctx, sql.LevelReadCommitted, func(c conn) error {
		n, err := c.deleteSessions(ctx, at, limit)
		if err != nil {
			return err
		}
		deleted, err = c.deleteOldest(ctx, "{revocations}", "seq", "revoked_at", revokedBefore, limit)
		deleted += n
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(deleted), nil
}

// deleteSessions deletes sessions that have expired.
func (c conn) deleteSessions(ctx context.Context, at time.Time, limit int) (int64, error) {
	if c.d != MySQL {
		return c.deleteOldest(ctx, "{sessions}", "id", "expires_at", at, limit)
	}
	// By the index of their expiry they would be locked the other way round
	// than by a rotation, and one of the two would fail.
	args := []any{c.opts.Tenant, micros(at)}
	err := c.query(ctx, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		args = append(args, id)
		return err
	}, `SELECT id FROM {sessions} WHERE tenant = ? AND expires_at < ? ORDER BY expires_at LIMIT ?`, c.opts.Tenant, micros(at), limit)
	if err != nil || len(args) == 2 {
		return 0, err
	}
	return c.exec(ctx, `DELETE FROM {sessions} WHERE tenant = ? AND expires_at < ? AND id IN (?`+strings.Repeat(`, ?`, len(args)-3)+`)`, args...)
}

// deleteOldest deletes the rows of a table that are from before a time.
func (c conn) deleteOldest(ctx context.Context, table, key, column string, before time.Time, limit int) (int64, error) {
	old := ` WHERE tenant = ? AND ` + column + ` < ? ORDER BY ` + column + ` LIMIT ?`
	args := []any{c.opts.Tenant, micros(before), limit}
	query := `DELETE FROM ` + table + old
	if c.d != MySQL { // the others have no limit there
		in := ` IN (`
		if c.d == Postgres {
			in = ` = ANY (ARRAY(` // the subquery of IN may run again for each row, with another result
		}
		query = `DELETE FROM ` + table + ` WHERE tenant = ? AND ` + key + in + `SELECT ` + key + ` FROM ` + table + old + c.d.forUpdate() + `)`
		if c.d == Postgres {
			query += `)`
		}
		args = append([]any{c.opts.Tenant}, args...)
	}
	return c.exec(ctx, query, args...)
}
