// Package totpsql keeps the factors and recovery codes of package totp in tables
// of a database that package sqlstore has opened.
//
//	db, err := sqlstore.Open(pool, dialect, nil)
//	...
//	err = db.Migrate(ctx, totpsql.Migrations())
//	...
//	otp, err := totp.New(totp.Config{Store: totpsql.New(db), ...})
package totpsql

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/totp"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the tables of the factors, for [sqlstore.DB.Migrate].
func Migrations() sqlstore.Migrations {
	return sqlstore.Migrations{Package: "totp", Files: migrations}
}

// A Store is a [totp.Store] in a database. If the accounts are in the same
// database, its calls are part of their transactions. Each tenant of the database
// has its own factors.
type Store struct{ db *sqlstore.DB }

var _ totp.Store = (*Store)(nil)

// New returns a Store on a database that has the tables of [Migrations].
func New(db *sqlstore.DB) *Store { return &Store{db} }

var errUserID = errors.New("totpsql: the user ID is empty or cannot be stored")

// storable reports whether Postgres takes a text: it has neither a NUL nor bytes
// that are not UTF-8.
func storable(text string) bool {
	return strings.IndexByte(text, 0) < 0 && utf8.ValidString(text)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// columns are those that scanned reads.
const columns = `user_id, secret, enrolled_at, last_step, failures, total_failures, pending, pending_at`

// scanned reads the columns of a row, and those in more.
func scanned(r *totp.Record, more ...any) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		var enrolled, pending int64
		err := scan(append([]any{&r.UserID, &r.Secret, &enrolled, &r.LastStep, &r.Failures, &r.TotalFailures, &r.Pending, &pending}, more...)...)
		r.EnrolledAt, r.PendingAt = fromMicros(enrolled), fromMicros(pending)
		return err
	}
}

// Record implements [totp.Store]. It is one statement, since every login with a
// password runs it.
func (s *Store) Record(ctx context.Context, userID string) (totp.Record, error) {
	r := totp.Record{UserID: userID}
	if !storable(userID) {
		return r, ctx.Err()
	}
	codes := 0
	err := s.db.Query(ctx, func(scan func(...any) error) error {
		var id sql.NullString // NULL in the row that counts the codes
		var enrolled, step, failures, total, pendingAt sql.NullInt64
		var secret, pending []byte
		var n int
		if err := scan(&id, &secret, &enrolled, &step, &failures, &total, &pending, &pendingAt, &n); err != nil {
			return err
		}
		if !id.Valid {
			codes = n
			return nil
		}
		r = totp.Record{UserID: id.String, Secret: secret, EnrolledAt: fromMicros(enrolled.Int64), LastStep: step.Int64, Failures: int(failures.Int64),
			TotalFailures: int(total.Int64), Pending: pending, PendingAt: fromMicros(pendingAt.Int64)}
		return nil
	}, `SELECT `+columns+`, 0 FROM {totp_factors} WHERE tenant = ? AND user_id = ?
		UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, COUNT(*) FROM {totp_codes} WHERE tenant = ? AND user_id = ?`,
		s.db.Tenant(), userID, s.db.Tenant(), userID)
	r.CodesLeft = codes
	return r, err
}

// SetPending implements [totp.Store].
func (s *Store) SetPending(ctx context.Context, userID string, pending []byte, at time.Time) error {
	if userID == "" || !storable(userID) {
		return errUserID
	}
	query := `INSERT INTO {totp_factors} (tenant, user_id, secret, enrolled_at, last_step, failures, total_failures, pending, pending_at) VALUES (?, ?, ?, 0, 0, 0, 0, ?, ?)`
	if s.db.Dialect() == sqlstore.MySQL {
		query += ` ON DUPLICATE KEY UPDATE pending = VALUES(pending), pending_at = VALUES(pending_at)`
	} else {
		query += ` ON CONFLICT (tenant, user_id) DO UPDATE SET pending = excluded.pending, pending_at = excluded.pending_at`
	}
	_, err := s.db.Exec(ctx, query, s.db.Tenant(), userID, []byte{}, pending, micros(at))
	return err
}

// Confirm implements [totp.Store].
func (s *Store) Confirm(ctx context.Context, userID string, pendingAt time.Time, secret []byte, step int64, at time.Time) (bool, error) {
	if !storable(userID) {
		return false, ctx.Err()
	}
	none := []byte{}
	n, err := s.db.Exec(ctx, `UPDATE {totp_factors} SET secret = ?, enrolled_at = ?, last_step = ?, failures = 0, total_failures = 0, pending = ?, pending_at = 0
		WHERE tenant = ? AND user_id = ? AND pending <> ? AND pending_at = ?`, secret, micros(at), step, none, s.db.Tenant(), userID, none, micros(pendingAt))
	return n == 1, err
}

// CountAttempt implements [totp.Store].
func (s *Store) CountAttempt(ctx context.Context, userID string, limits totp.Limits) (totp.Record, error) {
	if !storable(userID) {
		return totp.Record{}, errors.Join(ctx.Err(), totp.ErrNotFound)
	}
	const count = `UPDATE {totp_factors} SET failures = failures + 1, total_failures = total_failures + 1`
	const which = ` WHERE tenant = ? AND user_id = ? AND secret <> ? AND failures < ? AND total_failures < ?`
	args := []any{s.db.Tenant(), userID, []byte{}, limits.Failures, limits.Total}
	var r totp.Record
	if s.db.Dialect() != sqlstore.MySQL {
		err := s.db.Query(ctx, scanned(&r), count+which+` RETURNING `+columns, args...)
		return found(r, err)
	}
	// The row is locked until the end of the transaction, so the numbers are
	// those of this call.
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		r = totp.Record{}
		n, err := s.db.Exec(ctx, count+which, args...)
		if err != nil || n == 0 {
			return err
		}
		return s.db.Query(ctx, scanned(&r), `SELECT `+columns+` FROM {totp_factors} WHERE tenant = ? AND user_id = ?`, s.db.Tenant(), userID)
	})
	return found(r, err)
}

// found returns a record, or ErrNotFound if no row was read.
func found(r totp.Record, err error) (totp.Record, error) {
	if err == nil && r.UserID == "" {
		err = totp.ErrNotFound
	}
	if err != nil {
		return totp.Record{}, err
	}
	return r, nil
}

// AcceptStep implements [totp.Store].
func (s *Store) AcceptStep(ctx context.Context, userID string, enrolledAt time.Time, step int64) (bool, error) {
	if !storable(userID) {
		return false, ctx.Err()
	}
	n, err := s.db.Exec(ctx, `UPDATE {totp_factors} SET last_step = ?, failures = 0, total_failures = CASE WHEN total_failures > 0 THEN total_failures - 1 ELSE 0 END
		WHERE tenant = ? AND user_id = ? AND secret <> ? AND enrolled_at = ? AND last_step < ?`, step, s.db.Tenant(), userID, []byte{}, micros(enrolledAt), step)
	return n == 1, err
}

// DeleteFactor implements [totp.Store].
func (s *Store) DeleteFactor(ctx context.Context, userID string) error {
	if !storable(userID) {
		return ctx.Err()
	}
	_, err := s.db.Exec(ctx, `DELETE FROM {totp_factors} WHERE tenant = ? AND user_id = ?`, s.db.Tenant(), userID)
	return err
}

// SetCodes implements [totp.Store].
func (s *Store) SetCodes(ctx context.Context, userID string, hashes [][32]byte, at time.Time) error {
	if !storable(userID) || userID == "" {
		if len(hashes) > 0 {
			return errUserID
		}
		return ctx.Err()
	}
	const remove = `DELETE FROM {totp_codes} WHERE tenant = ? AND user_id = ?`
	tenant := s.db.Tenant()
	if len(hashes) == 0 {
		_, err := s.db.Exec(ctx, remove, tenant, userID)
		return err
	}
	insert := `INSERT INTO {totp_codes} (tenant, user_id, hash, created_at) VALUES (?, ?, ?, ?)` + strings.Repeat(`, (?, ?, ?, ?)`, len(hashes)-1)
	var args []any
	for _, h := range hashes {
		args = append(args, tenant, userID, h[:], micros(at))
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.db.Exec(ctx, remove, tenant, userID); err != nil {
			return err
		}
		_, err := s.db.Exec(ctx, insert, args...)
		return err
	})
}

// UseCode implements [totp.Store].
func (s *Store) UseCode(ctx context.Context, userID string, hash [32]byte) (bool, error) {
	if !storable(userID) {
		return false, ctx.Err()
	}
	n, err := s.db.Exec(ctx, `DELETE FROM {totp_codes} WHERE tenant = ? AND user_id = ? AND hash = ?`, s.db.Tenant(), userID, hash[:])
	return n == 1, err
}

// Records implements [totp.Store].
func (s *Store) Records(ctx context.Context, after string, limit int) ([]totp.Record, error) {
	if limit <= 0 || !storable(after) {
		return nil, ctx.Err()
	}
	var records []totp.Record
	err := s.db.Query(ctx, func(scan func(...any) error) error {
		var r totp.Record
		err := scanned(&r)(scan)
		records = append(records, r)
		return err
	}, `SELECT `+columns+` FROM {totp_factors} WHERE tenant = ? AND user_id > ? ORDER BY user_id LIMIT ?`, s.db.Tenant(), after, limit)
	return records, err
}

// Reseal implements [totp.Store].
func (s *Store) Reseal(ctx context.Context, changes []totp.Resealing) (done int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		done = 0
		for _, c := range changes {
			if !storable(c.UserID) {
				continue
			}
			n, err := s.db.Exec(ctx, `UPDATE {totp_factors} SET secret = ?, pending = ? WHERE tenant = ? AND user_id = ? AND secret = ? AND pending = ?`,
				blob(c.NewSecret), blob(c.NewPending), s.db.Tenant(), c.UserID, blob(c.OldSecret), blob(c.OldPending))
			if err != nil {
				return err
			}
			done += int(n)
		}
		return nil
	})
	return done, err
}

// blob returns bytes that are not NULL.
func blob(b []byte) []byte { return append([]byte{}, b...) }
