// Package apikeysql keeps the API keys of package apikey in tables of a
// database that package sqlstore has opened.
//
//	db, err := sqlstore.Open(pool, dialect, nil)
//	...
//	err = db.Migrate(ctx, apikeysql.Migrations())
//	...
//	authenticator, err := apikey.NewAuthenticator(apikey.Config{Store: apikeysql.New(db)})
package apikeysql

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/sqlstore"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the tables of API keys, for [sqlstore.DB.Migrate].
func Migrations() sqlstore.Migrations {
	return sqlstore.Migrations{Package: "apikey", Files: migrations}
}

// A Store is an [apikey.Store] in a database. If the accounts are in the same
// database, its calls are part of their transactions. The keys of
// each tenant of the database are separate.
type Store struct{ db *sqlstore.DB }

var _ apikey.Store = (*Store)(nil)

// New returns a Store on a database that has the tables of [Migrations].
func New(db *sqlstore.DB) *Store { return &Store{db} }

// storable reports whether every database takes a text as it is: Postgres takes
// neither a NUL nor bytes that are not UTF-8.
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
func (s *Store) insert(into string) string {
	if s.db.Dialect() == sqlstore.MySQL { // a row that is set to its old values does not count
		return into + ` ON DUPLICATE KEY UPDATE id = id`
	}
	return into + ` ON CONFLICT DO NOTHING`
}

// CreateKey implements [apikey.Store].
func (s *Store) CreateKey(ctx context.Context, k apikey.StoredKey) error {
	scopes, err := json.Marshal(k.Scopes)
	if err != nil {
		return fmt.Errorf("apikeysql: scopes: %w", err)
	}
	networks, err := json.Marshal(k.Networks)
	if err != nil {
		return fmt.Errorf("apikeysql: networks: %w", err)
	}
	query := `INSERT INTO {api_keys} (tenant, id, user_id, service_id, name, scopes, networks, hash, previous_hash, previous_until, version, created_at, expires_at, last_used_at, rotated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	n, err := s.db.Exec(ctx, s.insert(query), s.db.Tenant(), k.ID, k.UserID, k.ServiceID, k.Name, string(scopes), string(networks), k.Hash[:], hashBytes(k.PreviousHash), micros(k.PreviousUntil),
		k.Version, micros(k.CreatedAt), micros(k.ExpiresAt), micros(k.LastUsedAt), micros(k.RotatedAt))
	if err == nil && n == 0 {
		return apikey.ErrExists
	}
	return err
}

// hashBytes returns a hash, or no bytes for the zero hash.
func hashBytes(hash [sha256.Size]byte) []byte {
	if hash == [sha256.Size]byte{} {
		return []byte{}
	}
	return hash[:]
}

// micros returns a time in microseconds since 1970, and 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// timeOf is the inverse of micros.
func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

const columns = `id, user_id, service_id, name, scopes, networks, hash, previous_hash, previous_until, version, created_at, expires_at, last_used_at, rotated_at`

// read reads a row of columns.
func read(scan func(...any) error) (k apikey.StoredKey, err error) {
	var scopes, networks, hash, previousHash []byte
	var previous, created, expires, used, rotated int64
	err = scan(&k.ID, &k.UserID, &k.ServiceID, &k.Name, &scopes, &networks, &hash, &previousHash, &previous, &k.Version, &created, &expires, &used, &rotated)
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(scopes, &k.Scopes); err != nil {
		return k, fmt.Errorf("apikeysql: the scopes of the key %s: %w", k.ID, err)
	}
	if err := json.Unmarshal(networks, &k.Networks); err != nil {
		return k, fmt.Errorf("apikeysql: the networks of the key %s: %w", k.ID, err)
	}
	if len(hash) != sha256.Size { // no text has such a hash
		return k, fmt.Errorf("apikeysql: the key %s has a hash of %d bytes", k.ID, len(hash))
	}
	copy(k.Hash[:], hash)
	copy(k.PreviousHash[:], previousHash)
	k.PreviousUntil, k.CreatedAt, k.ExpiresAt, k.LastUsedAt, k.RotatedAt = timeOf(previous), timeOf(created), timeOf(expires), timeOf(used), timeOf(rotated)
	return k, nil
}

// KeyByID implements [apikey.Store].
func (s *Store) KeyByID(ctx context.Context, id string) (apikey.StoredKey, error) {
	if !storable(id) {
		return apikey.StoredKey{}, notFound(ctx)
	}
	var found apikey.StoredKey
	err := s.db.Query(ctx, func(scan func(...any) error) (err error) {
		found, err = read(scan)
		return err
	}, `SELECT `+columns+` FROM {api_keys} WHERE tenant = ? AND id = ?`, s.db.Tenant(), id)
	if err != nil {
		return apikey.StoredKey{}, err
	}
	if found.ID == "" {
		return apikey.StoredKey{}, apikey.ErrNotFound
	}
	return found, nil
}

// notFound returns the error of a look-up that needs no call.
func notFound(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return apikey.ErrNotFound
}

// KeysByOwner implements [apikey.Store].
func (s *Store) KeysByOwner(ctx context.Context, o apikey.Owner) ([]apikey.Key, error) {
	if !storable(o.UserID, o.ServiceID) {
		return nil, ctx.Err()
	}
	var list []apikey.Key
	err := s.db.Query(ctx, func(scan func(...any) error) error {
		k, err := read(scan)
		list = append(list, k.Key)
		return err
	}, `SELECT `+columns+` FROM {api_keys} WHERE tenant = ? AND user_id = ? AND service_id = ? ORDER BY created_at, id`, s.db.Tenant(), o.UserID, o.ServiceID)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// RotateKey implements [apikey.Store]. One UPDATE compares and replaces the
// hash, so exactly one of several concurrent callers succeeds.
func (s *Store) RotateKey(ctx context.Context, o apikey.Owner, id string, r apikey.Rotation) error {
	if !storable(id, o.UserID, o.ServiceID) {
		return notFound(ctx)
	}
	// MySQL assigns from left to right, so previous_hash comes first.
	query, args := `UPDATE {api_keys} SET previous_hash = hash, hash = ?,`, []any{r.Hash[:]}
	if r.PreviousUntil.IsZero() {
		query, args = `UPDATE {api_keys} SET previous_hash = ?, hash = ?,`, []any{[]byte{}, r.Hash[:]}
	}
	args = append(args, micros(r.PreviousUntil), micros(r.At), micros(r.ExpiresAt), s.db.Tenant(), id, o.UserID, o.ServiceID, r.Version)
	n, err := s.db.Exec(ctx, query+` previous_until = ?, rotated_at = ?, expires_at = ?, version = version + 1
		WHERE tenant = ? AND id = ? AND user_id = ? AND service_id = ? AND version = ?`, args...)
	if err != nil || n == 1 {
		return err
	}
	k, err := s.KeyByID(ctx, id)
	if err != nil {
		return err
	}
	if k.Owner != o {
		return apikey.ErrNotFound
	}
	return apikey.ErrConflict
}

// DeleteKey implements [apikey.Store].
func (s *Store) DeleteKey(ctx context.Context, o apikey.Owner, id string) error {
	if !storable(id, o.UserID, o.ServiceID) {
		return notFound(ctx)
	}
	n, err := s.db.Exec(ctx, `DELETE FROM {api_keys} WHERE tenant = ? AND id = ? AND user_id = ? AND service_id = ?`, s.db.Tenant(), id, o.UserID, o.ServiceID)
	if err == nil && n == 0 {
		return apikey.ErrNotFound
	}
	return err
}

// DeleteKeys implements [apikey.Store].
func (s *Store) DeleteKeys(ctx context.Context, o apikey.Owner) error {
	if !storable(o.UserID, o.ServiceID) {
		return ctx.Err()
	}
	_, err := s.db.Exec(ctx, `DELETE FROM {api_keys} WHERE tenant = ? AND user_id = ? AND service_id = ?`, s.db.Tenant(), o.UserID, o.ServiceID)
	return err
}

// TouchKey implements [apikey.Store].
func (s *Store) TouchKey(ctx context.Context, id string, at time.Time) error {
	if !storable(id) {
		return ctx.Err()
	}
	_, err := s.db.Exec(ctx, `UPDATE {api_keys} SET last_used_at = ? WHERE tenant = ? AND id = ? AND last_used_at <= ?`,
		micros(at), s.db.Tenant(), id, micros(at.Add(-time.Minute)))
	return err
}

// DeleteExpiredKeys implements [apikey.Store].
func (s *Store) DeleteExpiredKeys(ctx context.Context, before time.Time, limit int) (int, error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	old := ` WHERE tenant = ? AND expires_at > 0 AND expires_at < ? ORDER BY expires_at LIMIT ?`
	query := `DELETE FROM {api_keys}` + old
	switch s.db.Dialect() {
	case sqlstore.SQLite:
		query = `DELETE FROM {api_keys} WHERE rowid IN (SELECT rowid FROM {api_keys}` + old + `)`
	case sqlstore.Postgres:
		query = `DELETE FROM {api_keys} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {api_keys}` + old + ` FOR UPDATE))`
	}
	n, err := s.db.Exec(ctx, query, s.db.Tenant(), micros(before), limit)
	return int(n), err
}

// CreateService implements [apikey.Store].
func (s *Store) CreateService(ctx context.Context, service apikey.Service) error {
	roles, err := json.Marshal(service.Roles)
	if err != nil {
		return fmt.Errorf("apikeysql: roles: %w", err)
	}
	n, err := s.db.Exec(ctx, s.insert(`INSERT INTO {services} (tenant, id, roles, created_at) VALUES (?, ?, ?, ?)`),
		s.db.Tenant(), service.ID, string(roles), micros(service.CreatedAt))
	if err == nil && n == 0 {
		return apikey.ErrExists
	}
	return err
}

// readService reads a row of a service.
func readService(scan func(...any) error) (s apikey.Service, err error) {
	var roles []byte
	var created int64
	if err := scan(&s.ID, &roles, &created); err != nil {
		return s, err
	}
	s.CreatedAt = timeOf(created)
	if err := json.Unmarshal(roles, &s.Roles); err != nil {
		return s, fmt.Errorf("apikeysql: the roles of the service %s: %w", s.ID, err)
	}
	return s, nil
}

// ServiceByID implements [apikey.Store].
func (s *Store) ServiceByID(ctx context.Context, id string) (apikey.Service, error) {
	if !storable(id) {
		return apikey.Service{}, notFound(ctx)
	}
	var found apikey.Service
	err := s.db.Query(ctx, func(scan func(...any) error) (err error) {
		found, err = readService(scan)
		return err
	}, `SELECT id, roles, created_at FROM {services} WHERE tenant = ? AND id = ?`, s.db.Tenant(), id)
	if err != nil {
		return apikey.Service{}, err
	}
	if found.ID == "" {
		return apikey.Service{}, apikey.ErrNotFound
	}
	return found, nil
}

// Services implements [apikey.Store].
func (s *Store) Services(ctx context.Context, after string, limit int) ([]apikey.Service, error) {
	if !storable(after) || limit <= 0 {
		return nil, ctx.Err()
	}
	var list []apikey.Service
	err := s.db.Query(ctx, func(scan func(...any) error) error {
		service, err := readService(scan)
		list = append(list, service)
		return err
	}, `SELECT id, roles, created_at FROM {services} WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?`, s.db.Tenant(), after, limit)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// SetServiceRoles implements [apikey.Store].
func (s *Store) SetServiceRoles(ctx context.Context, id string, roles []string) error {
	if !storable(id) {
		return notFound(ctx)
	}
	text, err := json.Marshal(roles)
	if err != nil {
		return fmt.Errorf("apikeysql: roles: %w", err)
	}
	n, err := s.db.Exec(ctx, `UPDATE {services} SET roles = ? WHERE tenant = ? AND id = ?`, string(text), s.db.Tenant(), id)
	if err != nil || n == 1 {
		return err
	}
	_, err = s.ServiceByID(ctx, id) // in MySQL, a row that has the roles already does not count
	return err
}

// DeleteService implements [apikey.Store].
func (s *Store) DeleteService(ctx context.Context, id string) error {
	if !storable(id) {
		return notFound(ctx)
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		n, err := s.db.Exec(ctx, `DELETE FROM {services} WHERE tenant = ? AND id = ?`, s.db.Tenant(), id)
		if err == nil && n == 0 {
			return apikey.ErrNotFound
		}
		if err != nil {
			return err
		}
		return s.DeleteKeys(ctx, apikey.OfService(id))
	})
}
