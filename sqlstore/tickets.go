package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/authkit-go/authkit"
)

// errTicketID and errTicketText are for tickets that cannot be stored.
var (
	errTicketID   = errors.New("the ticket ID is empty or exists")
	errTicketText = errors.New("a text of the ticket has a NUL in it or is not UTF-8")
)

const ticketColumns = `kind, id, subject, hash, body, attempts, max_attempts, created_at, expires_at`

// putTicket returns the statement that stores a ticket. A kind and subject have
// one row, so a new ticket takes the place of the old one. It changes no row if
// the ID is the same.
func (d Dialect) putTicket() string {
	const insert = `INSERT INTO {tickets} (tenant, ` + ticketColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	if d != MySQL {
		return insert + ` ON CONFLICT (tenant, kind, subject) DO UPDATE SET id = excluded.id, hash = excluded.hash, body = excluded.body, attempts = excluded.attempts,
			max_attempts = excluded.max_attempts, created_at = excluded.created_at, expires_at = excluded.expires_at WHERE {tickets}.id <> excluded.id`
	}
	// The condition is in each assignment, and id is the last of them, since
	// MySQL reads values that it has assigned already. A row that stays as it
	// was does not count.
	return insert + ` ON DUPLICATE KEY UPDATE hash = IF(id = VALUES(id), hash, VALUES(hash)), body = IF(id = VALUES(id), body, VALUES(body)),
		attempts = IF(id = VALUES(id), attempts, VALUES(attempts)), max_attempts = IF(id = VALUES(id), max_attempts, VALUES(max_attempts)),
		created_at = IF(id = VALUES(id), created_at, VALUES(created_at)), expires_at = IF(id = VALUES(id), expires_at, VALUES(expires_at)), id = VALUES(id)`
}

// PutTicket implements [authkit.TicketStore].
func (db *DB) PutTicket(ctx context.Context, t authkit.Ticket) error {
	if t.ID == "" {
		return failure(errTicketID)
	}
	if !storable(t.Kind, t.ID, t.Subject) {
		return failure(errTicketText)
	}
	return db.run(ctx, func(c conn) error {
		return c.withSavepoint(ctx, true, func() error {
			n, err := c.exec(ctx, c.d.putTicket(), c.opts.Tenant, t.Kind, t.ID, sql.NullString{String: t.Subject, Valid: t.Subject != ""}, t.Hash[:], bytesOf(t.Body),
				bounded(t.Attempts), bounded(t.MaxAttempts), micros(t.CreatedAt), micros(t.ExpiresAt))
			if err == nil && n == 0 {
				return errTicketID
			}
			return err
		})
	})
}

// bounded returns a number as the column of attempts can hold it.
func bounded(n int) int64 { return int64(max(0, min(n, math.MaxInt32))) }

// AttemptTicket implements [authkit.TicketStore].
func (db *DB) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	if !storable(kind, id) {
		return authkit.Ticket{}, unstorable(ctx, authkit.ErrTicketNotFound)
	}
	var t authkit.Ticket
	args := []any{db.opts.Tenant, kind, id, micros(at)}
	const where = ` WHERE tenant = ? AND kind = ? AND id = ? AND expires_at > ?`
	if db.d.returning() {
		err := db.run(ctx, func(c conn) error {
			return c.queryRow(ctx, authkit.ErrTicketNotFound, scanTicket(&t),
				`UPDATE {tickets} SET attempts = attempts + 1`+where+` AND attempts < max_attempts RETURNING `+ticketColumns, args...)
		})
		if err != nil {
			return authkit.Ticket{}, err
		}
		return t, nil
	}
	var attempts int64
	err := db.run(ctx, func(c conn) error {
		result, err := c.result(ctx, `UPDATE {tickets} SET attempts = LAST_INSERT_ID(attempts + 1)`+where+` AND attempts < max_attempts`, args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, authkit.ErrTicketNotFound)
		}
		attempts, err = result.LastInsertId()
		return err
	})
	if err != nil {
		return authkit.Ticket{}, err
	}
	// Not in the same run: if this has to be tried again, the attempt has been
	// counted.
	err = db.run(ctx, func(c conn) error {
		return c.queryRow(ctx, authkit.ErrTicketNotFound, scanTicket(&t), `SELECT `+ticketColumns+` FROM {tickets}`+where, args...)
	})
	if err != nil {
		return authkit.Ticket{}, err
	}
	t.Attempts = int(attempts)
	return t, nil
}

// scanTicket reads the columns of ticketColumns.
func scanTicket(t *authkit.Ticket) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		var subject sql.NullString
		var hash []byte
		var created, expires int64
		err := scan(&t.Kind, &t.ID, &subject, &hash, &t.Body, &t.Attempts, &t.MaxAttempts, &created, &expires)
		if err != nil {
			return err
		}
		if len(hash) != len(t.Hash) {
			return fmt.Errorf("ticket %s: a hash that does not have 32 bytes", t.ID)
		}
		copy(t.Hash[:], hash)
		t.Subject, t.CreatedAt, t.ExpiresAt = subject.String, fromMicros(created), fromMicros(expires)
		return nil
	}
}

// ConsumeTicket implements [authkit.TicketStore].
func (db *DB) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	if !storable(kind, id) {
		return unstorable(ctx, authkit.ErrTicketNotFound)
	}
	return db.run(ctx, func(c conn) error {
		n, err := c.exec(ctx, `DELETE FROM {tickets} WHERE tenant = ? AND kind = ? AND id = ? AND expires_at > ?`, c.opts.Tenant, kind, id, micros(at))
		if err == nil && n == 0 {
			return authkit.ErrTicketNotFound
		}
		return err
	})
}

// DeleteTickets implements [authkit.TicketStore].
func (db *DB) DeleteTickets(ctx context.Context, subject string) error {
	if !storable(subject) {
		return ctx.Err()
	}
	return db.run(ctx, func(c conn) error {
		_, err := c.exec(ctx, `DELETE FROM {tickets} WHERE tenant = ? AND subject = ?`, c.opts.Tenant, subject)
		return err
	})
}

// DeleteExpiredTickets implements [authkit.TicketStore].
func (db *DB) DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (deleted int, err error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	const old = ` WHERE tenant = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?`
	query := map[Dialect]string{
		SQLite:   `DELETE FROM {tickets} WHERE rowid IN (SELECT rowid FROM {tickets}` + old + `)`,
		Postgres: `DELETE FROM {tickets} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {tickets}` + old + ` FOR UPDATE))`,
		MySQL:    `DELETE FROM {tickets}` + old,
	}[db.d]
	n, err := db.Exec(ctx, query, db.opts.Tenant, micros(at), limit)
	return int(n), err
}
