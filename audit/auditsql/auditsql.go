// Package auditsql stores the security log of package audit in a table of a
// database that package sqlstore has opened.
//
//	db, err := sqlstore.Open(pool, dialect, nil)
//	...
//	err = db.Migrate(ctx, auditsql.Migrations())
//	...
//	auditLog, err := audit.New(auditsql.New(db), audit.Options{Key: key})
package auditsql

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/sqlstore"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the table of the log, for [sqlstore.DB.Migrate].
func Migrations() sqlstore.Migrations {
	return sqlstore.Migrations{Package: "audit", Files: migrations}
}

// A Store is an [audit.Store] in a database. Several programs can write to one
// table, in one chain. Each tenant of the database has a log.
type Store struct{ db *sqlstore.DB }

var _ audit.Store = (*Store)(nil)

// New returns a Store on a database that has the tables of [Migrations].
func New(db *sqlstore.DB) *Store { return &Store{db} }

var errEntry = errors.New("auditsql: an entry with a number or a text that no log makes")

// AppendAudit implements [audit.Store].
func (s *Store) AppendAudit(ctx context.Context, entries []audit.Entry) error {
	bodies := make([]string, len(entries))
	for i := range entries {
		e := &entries[i]
		body, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("auditsql: %w", err)
		}
		if e.Seq > math.MaxInt64 || !storable(e.ActorID, e.TargetID) {
			return errEntry
		}
		bodies[i] = string(body)
	}
	if len(entries) == 0 {
		return ctx.Err()
	}
	insert := `INSERT INTO {audit} (tenant, seq, actor_id, target_id, body) VALUES (?, ?, ?, ?, ?)`
	if s.db.Dialect() != sqlstore.MySQL { // MySQL has no such clause
		insert += ` ON CONFLICT DO NOTHING`
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		for i := range entries {
			e := &entries[i]
			n, err := s.db.Exec(ctx, insert, s.db.Tenant(), int64(e.Seq), e.ActorID, e.TargetID, bodies[i])
			if err != nil {
				return err
			}
			if n == 0 {
				return audit.ErrConflict
			}
		}
		return nil
	})
	if err == nil || s.db.Dialect() != sqlstore.MySQL {
		return err
	}
	// MySQL returns an error for a key that exists.
	there, lookErr := s.AuditEntries(ctx, audit.Query{After: entries[0].Seq - 1, Before: entries[len(entries)-1].Seq + 1, Limit: 1})
	if lookErr == nil && len(there) > 0 {
		return audit.ErrConflict
	}
	return err
}

// AuditEntries implements [audit.Store].
func (s *Store) AuditEntries(ctx context.Context, q audit.Query) ([]audit.Entry, error) {
	if q.Limit <= 0 || q.After > math.MaxInt64 || !storable(q.UserID) {
		return nil, ctx.Err()
	}
	before := q.Before
	if before == 0 || before > math.MaxInt64 {
		before = math.MaxInt64
	}
	const one = `SELECT seq, body FROM {audit} WHERE tenant = ? AND seq > ? AND seq < ?`
	args := []any{s.db.Tenant(), int64(q.After), int64(before)}
	query := one
	if q.UserID != "" { // each half has an index
		query = one + ` AND actor_id = ? UNION ` + one + ` AND target_id = ?`
		args = append(args, q.UserID)
		args = append(args, args...)
	}
	query += ` ORDER BY seq`
	if q.Newest {
		query += ` DESC`
	}
	var list []audit.Entry
	err := s.db.Query(ctx, func(scan func(...any) error) error {
		var seq int64
		var body []byte
		if err := scan(&seq, &body); err != nil {
			return err
		}
		return decode(&list, body)
	}, query+` LIMIT ?`, append(args, q.Limit)...)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// decode adds an entry to a list.
func decode(list *[]audit.Entry, body []byte) error {
	var e audit.Entry
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("auditsql: an entry of the log: %w", err)
	}
	*list = append(*list, e)
	return nil
}

// EraseAudit implements [audit.Store].
func (s *Store) EraseAudit(ctx context.Context, userID string) (parts int, err error) {
	if userID == "" || !storable(userID) {
		return 0, ctx.Err()
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		parts = 0
		for _, of := range []string{"actor_id", "target_id"} {
			n, err := s.erase(ctx, userID, of)
			if err != nil {
				return err
			}
			parts += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return parts, nil
}

// erase erases a user from the entries that have the user in a column.
func (s *Store) erase(ctx context.Context, userID, column string) (parts int, err error) {
	mine := ` WHERE tenant = ? AND ` + column + ` = ?`
	if _, err := s.db.Exec(ctx, `UPDATE {audit} SET version = version + 1`+mine, s.db.Tenant(), userID); err != nil { // locks the rows
		return 0, err
	}
	var entries []audit.Entry
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		var body []byte
		if err := scan(&body); err != nil {
			return err
		}
		return decode(&entries, body)
	}, `SELECT body FROM {audit}`+mine, s.db.Tenant(), userID)
	if err != nil {
		return 0, err
	}
	for i := range entries {
		e := &entries[i]
		parts += e.Erase(userID)
		body, err := json.Marshal(e)
		if err != nil {
			return 0, fmt.Errorf("auditsql: %w", err)
		}
		_, err = s.db.Exec(ctx, `UPDATE {audit} SET actor_id = ?, target_id = ?, body = ? WHERE tenant = ? AND seq = ?`,
			e.ActorID, e.TargetID, string(body), s.db.Tenant(), int64(e.Seq))
		if err != nil {
			return 0, err
		}
	}
	return parts, nil
}

// storable reports whether Postgres can store texts: UTF-8 without NUL.
func storable(texts ...string) bool {
	for _, text := range texts {
		if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
			return false
		}
	}
	return true
}
