// Package oidcloginsql keeps the identities of package oidclogin in a table of a
// database that package sqlstore has opened.
//
//	db, err := sqlstore.Open(pool, dialect, nil)
//	...
//	err = db.Migrate(ctx, oidcloginsql.Migrations())
//	...
//	store := oidcloginsql.New(db)
package oidcloginsql

import (
	"context"
	"embed"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/oidclogin"
	"github.com/authkit-go/authkit/sqlstore"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the table of the identities, for [sqlstore.DB.Migrate].
func Migrations() sqlstore.Migrations {
	return sqlstore.Migrations{Package: "oidclogin", Files: migrations}
}

// A Store is an [oidclogin.Store] in a database. If the accounts are in the same
// database, its calls are part of their transactions. An issuer and a subject
// are unique within a tenant of the database, by an index.
type Store struct{ db *sqlstore.DB }

var _ oidclogin.Store = (*Store)(nil)

// New returns a Store on a database that has the table of [Migrations].
func New(db *sqlstore.DB) *Store { return &Store{db} }

var errIdentity = errors.New("oidcloginsql: the ID is empty or exists, or a text cannot be stored")

// storable reports whether Postgres takes texts: neither a NUL nor bytes that
// are not UTF-8.
func storable(texts ...string) bool {
	text := strings.Join(texts, "")
	return strings.IndexByte(text, 0) < 0 && utf8.ValidString(text)
}

// CreateIdentity implements [oidclogin.Store].
func (s *Store) CreateIdentity(ctx context.Context, id oidclogin.Identity) error {
	if id.ID == "" || !storable(id.ID, id.UserID, id.Provider, id.Issuer, id.Subject, id.Email) {
		return errIdentity
	}
	insert := `INSERT INTO {oidc_identities} (tenant, id, user_id, provider, issuer, subject, email, tokens, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`
	if s.db.Dialect() == sqlstore.MySQL { // a row that is set to its old values does not count
		insert += ` ON DUPLICATE KEY UPDATE id = id`
	} else {
		insert += ` ON CONFLICT DO NOTHING`
	}
	n, err := s.db.Exec(ctx, insert, s.db.Tenant(), id.ID, id.UserID, id.Provider, id.Issuer, id.Subject, id.Email, append([]byte{}, id.Tokens...), id.CreatedAt.UnixMicro())
	if err != nil || n > 0 {
		return err
	}
	found, err := s.identities(ctx, `tenant = ? AND id = ?`, s.db.Tenant(), id.ID)
	switch {
	case err != nil:
		return err
	case len(found) > 0 && (found[0].Issuer != id.Issuer || found[0].Subject != id.Subject):
		return errIdentity
	}
	return oidclogin.ErrIdentityTaken
}

const columns = `SELECT id, user_id, provider, issuer, subject, email, tokens, created_at FROM {oidc_identities} WHERE `

// identities returns the rows of a condition.
func (s *Store) identities(ctx context.Context, where string, args ...any) (list []oidclogin.Identity, err error) {
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		var id oidclogin.Identity
		var created int64
		if err := scan(&id.ID, &id.UserID, &id.Provider, &id.Issuer, &id.Subject, &id.Email, &id.Tokens, &created); err != nil {
			return err
		}
		id.CreatedAt = time.UnixMicro(created).UTC()
		list = append(list, id)
		return nil
	}, columns+where, args...)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// IdentityBySubject implements [oidclogin.Store].
func (s *Store) IdentityBySubject(ctx context.Context, issuer, subject string) (oidclogin.Identity, error) {
	if !storable(issuer, subject) {
		return oidclogin.Identity{}, errors.Join(ctx.Err(), oidclogin.ErrNoIdentity)
	}
	list, err := s.identities(ctx, `tenant = ? AND issuer = ? AND subject = ?`, s.db.Tenant(), issuer, subject)
	if err != nil {
		return oidclogin.Identity{}, err
	}
	if len(list) == 0 {
		return oidclogin.Identity{}, oidclogin.ErrNoIdentity
	}
	return list[0], nil
}

// IdentitiesByUser implements [oidclogin.Store].
func (s *Store) IdentitiesByUser(ctx context.Context, userID string) ([]oidclogin.Identity, error) {
	if !storable(userID) {
		return nil, ctx.Err()
	}
	return s.identities(ctx, `tenant = ? AND user_id = ?`, s.db.Tenant(), userID)
}

// SetTokens implements [oidclogin.Store].
func (s *Store) SetTokens(ctx context.Context, userID, id string, tokens []byte) error {
	if !storable(userID, id) {
		return errors.Join(ctx.Err(), oidclogin.ErrNoIdentity)
	}
	n, err := s.db.Exec(ctx, `UPDATE {oidc_identities} SET tokens = ? WHERE tenant = ? AND user_id = ? AND id = ?`,
		append([]byte{}, tokens...), s.db.Tenant(), userID, id)
	if err != nil || n > 0 {
		return err
	}
	// In MySQL, a row with the same tokens does not count.
	found, err := s.identities(ctx, `tenant = ? AND user_id = ? AND id = ?`, s.db.Tenant(), userID, id)
	if err == nil && len(found) == 0 {
		err = oidclogin.ErrNoIdentity
	}
	return err
}

// DeleteIdentity implements [oidclogin.Store].
func (s *Store) DeleteIdentity(ctx context.Context, userID, id string) error {
	if !storable(userID, id) {
		return errors.Join(ctx.Err(), oidclogin.ErrNoIdentity)
	}
	n, err := s.db.Exec(ctx, `DELETE FROM {oidc_identities} WHERE tenant = ? AND user_id = ? AND id = ?`, s.db.Tenant(), userID, id)
	if err == nil && n == 0 {
		err = oidclogin.ErrNoIdentity
	}
	return err
}

// DeleteIdentities implements [oidclogin.Store].
func (s *Store) DeleteIdentities(ctx context.Context, userID string) error {
	if !storable(userID) {
		return ctx.Err()
	}
	_, err := s.db.Exec(ctx, `DELETE FROM {oidc_identities} WHERE tenant = ? AND user_id = ?`, s.db.Tenant(), userID)
	return err
}
