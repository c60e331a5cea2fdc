// Package orgsql keeps the organizations of package org in tables of a database
// that package sqlstore has opened.
//
//	db, err := sqlstore.Open(pool, dialect, nil)
//	...
//	err = db.Migrate(ctx, orgsql.Migrations())
//	...
//	store := orgsql.New(db)
package orgsql

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/sqlstore"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the tables of organizations, for [sqlstore.DB.Migrate].
func Migrations() sqlstore.Migrations {
	return sqlstore.Migrations{Package: "org", Files: migrations}
}

// A Store is an [org.Store] in a database. If the accounts are in the same
// database, its calls are part of their transactions. The
// organizations of each tenant of the database are separate.
type Store struct{ db *sqlstore.DB }

var _ org.Store = (*Store)(nil)

// New returns a Store on a database that has the tables of [Migrations].
func New(db *sqlstore.DB) *Store { return &Store{db} }

var errID = errors.New("orgsql: the ID is empty, exists or cannot be stored")

// storable reports whether Postgres takes texts: neither a NUL nor bytes that
// are not UTF-8.
func storable(texts ...string) bool {
	for _, text := range texts {
		if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
			return false
		}
	}
	return true
}

// insert returns a statement that inserts a row, or changes none if the key
// exists.
func (s *Store) insert(into, column string) string {
	if s.db.Dialect() == sqlstore.MySQL { // a row that is set to its old values does not count
		return into + ` ON DUPLICATE KEY UPDATE ` + column + ` = ` + column
	}
	return into + ` ON CONFLICT DO NOTHING`
}

func encode(roles []string) (string, error) {
	text, err := json.Marshal(append([]string{}, roles...))
	if err != nil {
		return "", fmt.Errorf("orgsql: roles: %w", err)
	}
	return string(text), nil
}

func decode(text []byte, roles *[]string) error {
	if err := json.Unmarshal(text, roles); err != nil {
		return fmt.Errorf("orgsql: roles: %w", err)
	}
	return nil
}

func micros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// CreateOrg implements [org.Store].
func (s *Store) CreateOrg(ctx context.Context, o org.Org, first org.Member) error {
	if o.ID == "" || !storable(o.ID, o.Name, first.UserID) {
		return errID
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		n, err := s.db.Exec(ctx, s.insert(`INSERT INTO {orgs} (tenant, id, name, version, created_at) VALUES (?, ?, ?, 1, ?)`, "id"),
			s.db.Tenant(), o.ID, o.Name, o.CreatedAt.UnixMicro())
		if err == nil && n == 0 {
			err = errID
		}
		if err != nil {
			return err
		}
		return s.putMember(ctx, o.ID, first)
	})
}

// putMember adds a member, which the caller has removed before.
func (s *Store) putMember(ctx context.Context, orgID string, m org.Member) error {
	roles, err := encode(m.Roles)
	if err != nil {
		return err
	}
	isOwner := 0
	if slices.Contains(m.Roles, org.Owner) {
		isOwner = 1
	}
	_, err = s.db.Exec(ctx, `INSERT INTO {org_members} (tenant, org_id, user_id, roles, is_owner, joined_at) VALUES (?, ?, ?, ?, ?, ?)`,
		s.db.Tenant(), orgID, m.UserID, roles, isOwner, m.JoinedAt.UnixMicro())
	return err
}

// Org implements [org.Store].
func (s *Store) Org(ctx context.Context, id string) (o org.Org, version int64, err error) {
	if !storable(id) {
		return o, 0, notFound(ctx)
	}
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		var created int64
		err := scan(&o.Name, &version, &created)
		o.ID, o.CreatedAt = id, micros(created)
		return err
	}, `SELECT name, version, created_at FROM {orgs} WHERE tenant = ? AND id = ?`, s.db.Tenant(), id)
	if err == nil && version == 0 {
		err = authkit.ErrNotFound
	}
	return o, version, err
}

func notFound(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return authkit.ErrNotFound
}

// Apply implements [org.Store]. The first statement locks the row of the
// organization, so that changes of one organization run one after the other.
func (s *Store) Apply(ctx context.Context, id string, version int64, c org.Change) error {
	if !storable(id, c.RemoveMember) || c.PutMember != nil && !storable(c.PutMember.UserID) {
		return org.ErrConflict
	}
	conflict := false
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		n, err := s.db.Exec(ctx, `UPDATE {orgs} SET version = version + 1 WHERE tenant = ? AND id = ? AND version = ?`, s.db.Tenant(), id, version)
		conflict = err == nil && n == 0
		if err != nil || conflict { // a conflict leaves a transaction of the caller usable
			return err
		}
		return s.apply(ctx, id, c)
	})
	if err == nil && conflict {
		return org.ErrConflict
	}
	return err
}

// apply makes the parts of a change.
func (s *Store) apply(ctx context.Context, id string, c org.Change) error {
	removed := []string{}
	if c.RemoveMember != "" {
		removed = append(removed, c.RemoveMember)
	}
	if c.PutMember != nil {
		removed = append(removed, c.PutMember.UserID)
	}
	for _, userID := range removed {
		if _, err := s.db.Exec(ctx, `DELETE FROM {org_members} WHERE tenant = ? AND org_id = ? AND user_id = ?`, s.db.Tenant(), id, userID); err != nil {
			return err
		}
	}
	if c.PutMember != nil {
		if err := s.putMember(ctx, id, *c.PutMember); err != nil {
			return err
		}
	}
	for _, invitation := range c.RemoveInvitations {
		if !storable(invitation) {
			continue
		}
		if _, err := s.db.Exec(ctx, `DELETE FROM {org_invitations} WHERE tenant = ? AND id = ? AND org_id = ?`, s.db.Tenant(), invitation, id); err != nil {
			return err
		}
	}
	if c.PutInvitation != nil {
		if err := s.putInvitation(ctx, id, *c.PutInvitation); err != nil {
			return err
		}
	}
	if !c.Delete {
		return nil
	}
	for _, query := range []string{
		`DELETE FROM {org_members} WHERE tenant = ? AND org_id = ?`,
		`DELETE FROM {org_invitations} WHERE tenant = ? AND org_id = ?`,
		`DELETE FROM {orgs} WHERE tenant = ? AND id = ?`,
	} {
		if _, err := s.db.Exec(ctx, query, s.db.Tenant(), id); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) putInvitation(ctx context.Context, orgID string, i org.StoredInvitation) error {
	if i.ID == "" || !storable(i.ID, i.Email, i.InvitedBy) {
		return errID
	}
	roles, err := encode(i.Roles)
	if err != nil {
		return err
	}
	n, err := s.db.Exec(ctx, s.insert(`INSERT INTO {org_invitations} (tenant, id, org_id, email, roles, invited_by, hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, "id"),
		s.db.Tenant(), i.ID, orgID, i.Email, roles, i.InvitedBy, i.Hash[:], i.CreatedAt.UnixMicro(), i.ExpiresAt.UnixMicro())
	if err == nil && n == 0 {
		err = errID
	}
	return err
}

// Member implements [org.Store].
func (s *Store) Member(ctx context.Context, orgID, userID string) (org.Member, error) {
	if !storable(orgID, userID) {
		return org.Member{}, notFound(ctx)
	}
	m, found := org.Member{OrgID: orgID, UserID: userID}, false
	err := s.db.Query(ctx, func(scan func(...any) error) error {
		var roles []byte
		var joined int64
		if err := scan(&roles, &joined); err != nil {
			return err
		}
		found, m.JoinedAt = true, micros(joined)
		return decode(roles, &m.Roles)
	}, `SELECT roles, joined_at FROM {org_members} WHERE tenant = ? AND org_id = ? AND user_id = ?`, s.db.Tenant(), orgID, userID)
	switch {
	case err != nil:
		return org.Member{}, err
	case !found:
		return org.Member{}, authkit.ErrNotFound
	}
	return m, nil
}

// Members implements [org.Store].
func (s *Store) Members(ctx context.Context, orgID, after string, limit int) (list []org.Member, err error) {
	if limit <= 0 || !storable(orgID, after) {
		return nil, ctx.Err()
	}
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		m := org.Member{OrgID: orgID}
		var roles []byte
		var joined int64
		if err := scan(&m.UserID, &roles, &joined); err != nil {
			return err
		}
		m.JoinedAt = micros(joined)
		err := decode(roles, &m.Roles)
		list = append(list, m)
		return err
	}, `SELECT user_id, roles, joined_at FROM {org_members} WHERE tenant = ? AND org_id = ? AND user_id > ? ORDER BY user_id LIMIT ?`,
		s.db.Tenant(), orgID, after, limit)
	return list, err
}

// HasOtherOwner implements [org.Store].
func (s *Store) HasOtherOwner(ctx context.Context, orgID, userID string) (has bool, err error) {
	if !storable(orgID, userID) {
		return false, ctx.Err()
	}
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		has = true
		return scan(new(string))
	}, `SELECT user_id FROM {org_members} WHERE tenant = ? AND org_id = ? AND is_owner = 1 AND user_id <> ? LIMIT 1`, s.db.Tenant(), orgID, userID)
	return has, err
}

// Memberships implements [org.Store].
func (s *Store) Memberships(ctx context.Context, userID string) (list []org.Membership, err error) {
	if !storable(userID) {
		return nil, ctx.Err()
	}
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		var m org.Membership
		var roles []byte
		var created, joined int64
		if err := scan(&m.Org.ID, &m.Org.Name, &created, &roles, &joined); err != nil {
			return err
		}
		m.Org.CreatedAt, m.JoinedAt = micros(created), micros(joined)
		err := decode(roles, &m.Roles)
		list = append(list, m)
		return err
	}, `SELECT o.id, o.name, o.created_at, m.roles, m.joined_at FROM {org_members} m JOIN {orgs} o ON o.tenant = m.tenant AND o.id = m.org_id WHERE m.tenant = ? AND m.user_id = ? ORDER BY m.org_id`,
		s.db.Tenant(), userID)
	return list, err
}

// Invitation implements [org.Store].
func (s *Store) Invitation(ctx context.Context, id string) (org.StoredInvitation, error) {
	if !storable(id) {
		return org.StoredInvitation{}, notFound(ctx)
	}
	var i org.StoredInvitation
	err := s.db.Query(ctx, func(scan func(...any) error) error {
		var hash, roles []byte
		var created, expires int64
		if err := scan(&i.OrgID, &i.Email, &roles, &i.InvitedBy, &hash, &created, &expires); err != nil {
			return err
		}
		copy(i.Hash[:], hash)
		i.ID, i.CreatedAt, i.ExpiresAt = id, micros(created), micros(expires)
		return decode(roles, &i.Roles)
	}, `SELECT org_id, email, roles, invited_by, hash, created_at, expires_at FROM {org_invitations} WHERE tenant = ? AND id = ?`, s.db.Tenant(), id)
	switch {
	case err != nil:
		return org.StoredInvitation{}, err
	case i.ID == "":
		return org.StoredInvitation{}, authkit.ErrNotFound
	}
	return i, nil
}

// Invitations implements [org.Store].
func (s *Store) Invitations(ctx context.Context, orgID string) (list []org.Invitation, err error) {
	if !storable(orgID) {
		return nil, ctx.Err()
	}
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		i := org.Invitation{OrgID: orgID}
		var roles []byte
		var created, expires int64
		if err := scan(&i.ID, &i.Email, &roles, &i.InvitedBy, &created, &expires); err != nil {
			return err
		}
		i.CreatedAt, i.ExpiresAt = micros(created), micros(expires)
		err := decode(roles, &i.Roles)
		list = append(list, i)
		return err
	}, `SELECT id, email, roles, invited_by, created_at, expires_at FROM {org_invitations} WHERE tenant = ? AND org_id = ? ORDER BY id`, s.db.Tenant(), orgID)
	return list, err
}

// SetActive implements [org.Store].
func (s *Store) SetActive(ctx context.Context, sessionID, orgID string, expires time.Time) error {
	if !storable(sessionID, orgID) {
		return errID
	}
	query := `INSERT INTO {org_active} (tenant, session_id, org_id, expires_at) VALUES (?, ?, ?, ?)`
	if s.db.Dialect() == sqlstore.MySQL {
		query += ` ON DUPLICATE KEY UPDATE org_id = VALUES(org_id), expires_at = VALUES(expires_at)`
	} else {
		query += ` ON CONFLICT (tenant, session_id) DO UPDATE SET org_id = excluded.org_id, expires_at = excluded.expires_at`
	}
	_, err := s.db.Exec(ctx, query, s.db.Tenant(), sessionID, orgID, expires.UnixMicro())
	return err
}

// Active implements [org.Store].
func (s *Store) Active(ctx context.Context, sessionID string) (orgID string, err error) {
	if !storable(sessionID) {
		return "", notFound(ctx)
	}
	found := false
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		found = true
		return scan(&orgID)
	}, `SELECT org_id FROM {org_active} WHERE tenant = ? AND session_id = ?`, s.db.Tenant(), sessionID)
	if err == nil && !found {
		err = authkit.ErrNotFound
	}
	return orgID, err
}

// DeleteExpired implements [org.Store].
func (s *Store) DeleteExpired(ctx context.Context, at time.Time, limit int) (deleted int, err error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	for _, table := range []string{"org_invitations", "org_active"} {
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
