// Package accountsql keeps the outbox of package account in tables of a
// database that package sqlstore has opened.
//
//	db, err := sqlstore.Open(pool, dialect, nil)
//	...
//	err = db.Migrate(ctx, accountsql.Migrations())
//	...
//	accounts, err := account.New(kit, account.Config{Store: accountsql.New(db), ...})
package accountsql

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/sqlstore"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the tables of the outbox, for [sqlstore.DB.Migrate].
func Migrations() sqlstore.Migrations {
	return sqlstore.Migrations{Package: "account", Files: migrations}
}

// A Store is an [account.Store] in a database. If the accounts are in the same
// database, its calls are part of their transactions. Each tenant of the
// database has an outbox.
type Store struct{ db *sqlstore.DB }

var _ account.Store = (*Store)(nil)

// New returns a Store on a database that has the tables of [Migrations].
func New(db *sqlstore.DB) *Store { return &Store{db} }

var errJobID = errors.New("accountsql: the job ID is empty, exists or cannot be stored")

// storable reports whether Postgres takes texts: neither a NUL nor bytes that
// are not UTF-8.
func storable(text string) bool {
	return strings.IndexByte(text, 0) < 0 && utf8.ValidString(text)
}

// insert returns a statement that inserts a row, or changes none if the key
// exists.
func (s *Store) insert(into string) string {
	if s.db.Dialect() == sqlstore.MySQL { // a row that is set to its old values does not count
		return into + ` ON DUPLICATE KEY UPDATE id = id`
	}
	return into + ` ON CONFLICT DO NOTHING`
}

// PutJob implements [account.Store].
func (s *Store) PutJob(ctx context.Context, j account.Job) error {
	if j.ID == "" || !storable(j.ID) {
		return errJobID
	}
	n, err := s.db.Exec(ctx, s.insert(`INSERT INTO {account_jobs} (tenant, id, body, attempts, due_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)`),
		s.db.Tenant(), j.ID, append([]byte{}, j.Body...), j.Attempts, j.DueAt.UnixMicro(), j.ExpiresAt.UnixMicro())
	if err == nil && n == 0 {
		return errJobID
	}
	return err
}

// ClaimJob implements [account.Store].
func (s *Store) ClaimJob(ctx context.Context, at, until time.Time) (account.Job, error) {
	const candidates = 8 // of which others may claim some
	for {
		var jobs []account.Job
		err := s.db.Query(ctx, func(scan func(...any) error) error {
			var j account.Job
			var expires int64
			err := scan(&j.ID, &j.Body, &j.Attempts, &expires)
			j.ExpiresAt = time.UnixMicro(expires).UTC()
			jobs = append(jobs, j)
			return err
		}, `SELECT id, body, attempts, expires_at FROM {account_jobs} WHERE tenant = ? AND due_at <= ? AND expires_at > ? ORDER BY due_at LIMIT ?`,
			s.db.Tenant(), at.UnixMicro(), at.UnixMicro(), candidates)
		if err != nil {
			return account.Job{}, err
		}
		if len(jobs) == 0 {
			return account.Job{}, account.ErrNoJob
		}
		for _, j := range jobs {
			n, err := s.db.Exec(ctx, `UPDATE {account_jobs} SET due_at = ?, attempts = attempts + 1 WHERE tenant = ? AND id = ? AND attempts = ? AND due_at <= ?`,
				until.UnixMicro(), s.db.Tenant(), j.ID, j.Attempts, at.UnixMicro())
			if err != nil {
				return account.Job{}, err
			}
			if n == 1 {
				j.Attempts, j.DueAt = j.Attempts+1, time.UnixMicro(until.UnixMicro()).UTC()
				return j, nil
			}
		}
	}
}

// PostponeJob implements [account.Store].
func (s *Store) PostponeJob(ctx context.Context, id string, attempts int, due time.Time) error {
	if !storable(id) {
		return ctx.Err()
	}
	_, err := s.db.Exec(ctx, `UPDATE {account_jobs} SET due_at = ? WHERE tenant = ? AND id = ? AND attempts = ?`, due.UnixMicro(), s.db.Tenant(), id, attempts)
	return err
}

// DeleteJob implements [account.Store].
func (s *Store) DeleteJob(ctx context.Context, id string, attempts int) (bool, error) {
	if !storable(id) {
		return false, ctx.Err()
	}
	n, err := s.db.Exec(ctx, `DELETE FROM {account_jobs} WHERE tenant = ? AND id = ? AND attempts = ?`, s.db.Tenant(), id, attempts)
	return n == 1, err
}

// Times implements [account.Store].
func (s *Store) Times(ctx context.Context, key string) (times []time.Time, version int64, err error) {
	if !storable(key) {
		return nil, 0, ctx.Err()
	}
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		var text []byte
		if err := scan(&text, &version); err != nil {
			return err
		}
		var micros []int64
		if err := json.Unmarshal(text, &micros); err != nil {
			return fmt.Errorf("accountsql: times: %w", err)
		}
		for _, n := range micros {
			times = append(times, time.UnixMicro(n).UTC())
		}
		return nil
	}, `SELECT times, version FROM {account_times} WHERE tenant = ? AND id = ?`, s.db.Tenant(), key)
	if err != nil {
		return nil, 0, err
	}
	return times, version, nil
}

// SetTimes implements [account.Store].
func (s *Store) SetTimes(ctx context.Context, key string, times []time.Time, version int64, expires time.Time) error {
	if !storable(key) {
		return account.ErrConflict
	}
	micros := make([]int64, len(times))
	for i, t := range times {
		micros[i] = t.UnixMicro()
	}
	text, err := json.Marshal(micros)
	if err != nil {
		return fmt.Errorf("accountsql: times: %w", err)
	}
	var n int64
	if version == 0 {
		n, err = s.db.Exec(ctx, s.insert(`INSERT INTO {account_times} (tenant, id, times, version, expires_at) VALUES (?, ?, ?, 1, ?)`),
			s.db.Tenant(), key, string(text), expires.UnixMicro())
	} else {
		n, err = s.db.Exec(ctx, `UPDATE {account_times} SET times = ?, version = version + 1, expires_at = ? WHERE tenant = ? AND id = ? AND version = ?`,
			string(text), expires.UnixMicro(), s.db.Tenant(), key, version)
	}
	if err == nil && n == 0 {
		return account.ErrConflict
	}
	return err
}

// DeleteExpiredJobs implements [account.Store].
func (s *Store) DeleteExpiredJobs(ctx context.Context, at time.Time, limit int) (deleted int, err error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	for _, table := range []string{"account_jobs", "account_times"} {
		old := ` WHERE tenant = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?`
		query := `DELETE FROM {` + table + `}` + old
		switch s.db.Dialect() {
		case sqlstore.SQLite:
			query = `DELETE FROM {` + table + `} WHERE rowid IN (SELECT rowid FROM {` + table + `}` + old + `)`
		case sqlstore.Postgres:
			query = `DELETE FROM {` + table + `} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {` + table + `}` + old + ` FOR UPDATE))`
		}
		n, err := s.db.Exec(ctx, query, s.db.Tenant(), at.UnixMicro(), limit)
		if err != nil {
			return deleted, err
		}
		deleted += int(n)
	}
	return deleted, nil
}
