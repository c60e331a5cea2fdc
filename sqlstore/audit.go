package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"math"

	"github.com/authkit-go/authkit/audit"
)

var _ audit.Store = (*Store)(nil)

// AppendAudit implements [audit.Store].
func (s *Store) AppendAudit(ctx context.Context, entries []audit.Entry) error {
	bodies := make([]string, len(entries))
	for i := range entries {
		e := &entries[i]
		body, err := json.Marshal(e)
		if err == nil && (e.Seq > math.MaxInt64 || !storable(e.ActorID, e.TargetID)) {
			err = errors.New("an entry of the audit log with a number or a text that no log makes")
		}
		if err != nil {
			return failure(err)
		}
		bodies[i] = string(body)
	}
	if len(entries) == 0 {
		return ctx.Err()
	}
	err := s.together(ctx, func(w work) error {
		for i := range entries {
			e := &entries[i]
			n, err := w.exec(ctx, `INSERT INTO {audit} (tenant, seq, actor_id, target_id, body) VALUES (?, ?, ?, ?, ?)`+w.d.unlessThere(),
				w.opts.Tenant, int64(e.Seq), e.ActorID, e.TargetID, bodies[i])
			if err != nil {
				return err
			}
			if n == 0 {
				return audit.ErrConflict
			}
		}
		return nil
	})
	if err == nil || errors.Is(err, audit.ErrConflict) || s.d.returning() {
		return err
	}
	// MySQL says so by an error, which is not told apart.
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
	args := []any{s.opts.Tenant, int64(q.After), int64(before)}
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
	err := s.single(ctx, func(w work) error {
		list = nil
		return w.query(ctx, func(scan func(...any) error) error {
			var seq int64
			var body []byte
			if err := scan(&seq, &body); err != nil {
				return err
			}
			var e audit.Entry
			err := json.Unmarshal(body, &e)
			list = append(list, e)
			return err
		}, query+` LIMIT ?`, append(args, q.Limit)...)
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// EraseAudit implements [audit.Store].
func (s *Store) EraseAudit(ctx context.Context, userID string) (parts int, err error) {
	if userID == "" || !storable(userID) {
		return 0, ctx.Err()
	}
	err = s.together(ctx, func(w work) error {
		parts = 0
		for _, of := range []string{"actor_id", "target_id"} {
			// It locks them, and is a write, with which a transaction begins.
			_, err := w.exec(ctx, `UPDATE {audit} SET version = version + 1 WHERE tenant = ? AND `+of+` = ?`, w.opts.Tenant, userID)
			if err != nil {
				return err
			}
			var entries []audit.Entry
			err = w.query(ctx, func(scan func(...any) error) error {
				var body []byte
				if err := scan(&body); err != nil {
					return err
				}
				var e audit.Entry
				err := json.Unmarshal(body, &e)
				entries = append(entries, e)
				return err
			}, `SELECT body FROM {audit} WHERE tenant = ? AND `+of+` = ?`, w.opts.Tenant, userID)
			if err != nil {
				return err
			}
			for i := range entries {
				e := &entries[i]
				parts += e.Erase(userID)
				body, err := json.Marshal(e)
				if err != nil {
					return err
				}
				_, err = w.exec(ctx, `UPDATE {audit} SET actor_id = ?, target_id = ?, body = ? WHERE tenant = ? AND seq = ?`,
					e.ActorID, e.TargetID, string(body), w.opts.Tenant, int64(e.Seq))
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return parts, nil
}
