// Package passkeysql keeps passkeys in tables of a database that package
// sqlstore has opened.
//
//	db, err := sqlstore.Open(pool, dialect, nil)
//	...
//	err = db.Migrate(ctx, passkeysql.Migrations())
//	...
//	factor, err := passkey.NewFactor(passkey.Config{Store: passkeysql.New(db), ...})
package passkeysql

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/sqlstore"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the tables of passkeys, for [sqlstore.DB.Migrate].
func Migrations() sqlstore.Migrations {
	return sqlstore.Migrations{Package: "passkey", Files: migrations}
}

// A Store is a [passkey.Store] in a database. If the accounts are in the same
// database, its calls are part of their transactions. Each tenant of the
// database has its own passkeys.
type Store struct{ db *sqlstore.DB }

var _ passkey.Store = (*Store)(nil)

// New returns a Store on a database that has the tables of [Migrations].
func New(db *sqlstore.DB) *Store { return &Store{db} }

var errUnstorable = errors.New("passkeysql: a text of the passkey is empty or cannot be stored")

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
func (s *Store) insert(into, key string) string {
	if s.db.Dialect() == sqlstore.MySQL { // a row that is set to its old values does not count
		return into + ` ON DUPLICATE KEY UPDATE ` + key + ` = ` + key
	}
	return into + ` ON CONFLICT DO NOTHING`
}

// UserHandle implements [passkey.Store].
func (s *Store) UserHandle(ctx context.Context, userID string, proposed []byte) ([]byte, error) {
	if !storable(userID) {
		return nil, notFound(ctx)
	}
	handle, err := s.handle(ctx, userID)
	if !errors.Is(err, passkey.ErrNotFound) || len(proposed) == 0 {
		return handle, err
	}
	_, err = s.db.Exec(ctx, s.insert(`INSERT INTO {passkey_users} (tenant, user_id, handle, changes) VALUES (?, ?, ?, 0)`, "handle"), s.db.Tenant(), userID, proposed)
	if err != nil {
		return nil, err
	}
	return s.handle(ctx, userID)
}

// notFound returns passkey.ErrNotFound, or the error of ctx.
func notFound(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return passkey.ErrNotFound
}

// handle returns the stored user handle of a user, or passkey.ErrNotFound.
func (s *Store) handle(ctx context.Context, userID string) (handle []byte, err error) {
	err = s.db.Query(ctx, func(scan func(...any) error) error { return scan(&handle) },
		`SELECT handle FROM {passkey_users} WHERE tenant = ? AND user_id = ?`, s.db.Tenant(), userID)
	if err == nil && handle == nil {
		err = passkey.ErrNotFound
	}
	return handle, err
}

// AddPasskey implements [passkey.Store]. The row of the user is locked first, so
// that concurrent calls count one after the other.
func (s *Store) AddPasskey(ctx context.Context, p passkey.Passkey, limit int) error {
	if p.ID == "" || p.UserID == "" || !storable(p.ID, p.UserID, p.Name, p.AAGUID, p.Attestation) || !storable(p.Transports...) {
		return errUnstorable
	}
	transports, err := json.Marshal(append([]string{}, p.Transports...))
	if err != nil {
		return fmt.Errorf("passkeysql: transports: %w", err)
	}
	var refused error // unlike an error, it leaves an outer transaction intact
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		refused = nil
		n, err := s.db.Exec(ctx, `UPDATE {passkey_users} SET changes = changes + 1 WHERE tenant = ? AND user_id = ? AND handle = ?`, s.db.Tenant(), p.UserID, blob(p.UserHandle))
		if err != nil || n == 0 {
			refused = passkey.ErrNotFound
			return err
		}
		count := 0
		err = s.db.Query(ctx, func(scan func(...any) error) error { return scan(&count) },
			`SELECT count(*) FROM {passkeys} WHERE tenant = ? AND user_id = ?`, s.db.Tenant(), p.UserID)
		if err != nil || count >= limit {
			refused = passkey.ErrTooMany
			return err
		}
		n, err = s.db.Exec(ctx, s.insert(`INSERT INTO {passkeys} (tenant, `+columns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`, "id"),
			s.db.Tenant(), p.ID, p.UserID, p.Name, p.AAGUID, string(transports), bit(p.BackupEligible), bit(p.BackedUp), micros(p.CreatedAt), micros(p.LastUsedAt),
			blob(p.CredentialID), blob(p.PublicKey), blob(p.UserHandle), p.Attestation, bit(p.UserVerified), int64(p.SignCount))
		if err == nil && n == 0 {
			refused = passkey.ErrExists
		}
		return err
	})
	if err != nil {
		return err
	}
	return refused
}

const columns = `id, user_id, name, aaguid, transports, backup_eligible, backed_up, created_at, last_used_at, credential_id, public_key, user_handle, attestation, user_verified, sign_count, version`

// blob returns bytes that are not NULL.
func blob(b []byte) []byte { return append([]byte{}, b...) }

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// micros returns a time as it is stored: 0 for the zero time.
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

// passkeys returns the passkeys that a condition selects.
func (s *Store) passkeys(ctx context.Context, where string, args ...any) (list []passkey.Passkey, err error) {
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		var p passkey.Passkey
		var transports []byte
		var eligible, backedUp, verified int
		var created, used, count int64
		err := scan(&p.ID, &p.UserID, &p.Name, &p.AAGUID, &transports, &eligible, &backedUp, &created, &used,
			&p.CredentialID, &p.PublicKey, &p.UserHandle, &p.Attestation, &verified, &count, &p.Version)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(transports, &p.Transports); err != nil {
			return fmt.Errorf("passkeysql: transports: %w", err)
		}
		p.BackupEligible, p.BackedUp, p.UserVerified = eligible != 0, backedUp != 0, verified != 0
		p.CreatedAt, p.LastUsedAt, p.SignCount = fromMicros(created), fromMicros(used), uint32(count)
		list = append(list, p)
		return nil
	}, `SELECT `+columns+` FROM {passkeys} WHERE tenant = ? AND `+where, append([]any{s.db.Tenant()}, args...)...)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// PasskeyByID implements [passkey.Store].
func (s *Store) PasskeyByID(ctx context.Context, id string) (passkey.Passkey, error) {
	if !storable(id) {
		return passkey.Passkey{}, notFound(ctx)
	}
	list, err := s.passkeys(ctx, `id = ?`, id)
	if err != nil || len(list) == 0 {
		if err == nil {
			err = passkey.ErrNotFound
		}
		return passkey.Passkey{}, err
	}
	return list[0], nil
}

// PasskeysByUser implements [passkey.Store].
func (s *Store) PasskeysByUser(ctx context.Context, userID string) ([]passkey.Passkey, error) {
	if !storable(userID) {
		return nil, ctx.Err()
	}
	return s.passkeys(ctx, `user_id = ? ORDER BY created_at, id`, userID)
}

// UsePasskey implements [passkey.Store].
func (s *Store) UsePasskey(ctx context.Context, id string, version int64, u passkey.Use) error {
	if !storable(id) {
		return notFound(ctx)
	}
	n, err := s.db.Exec(ctx, `UPDATE {passkeys} SET last_used_at = ?, sign_count = ?, backup_eligible = ?, backed_up = ?, version = version + 1 WHERE tenant = ? AND id = ? AND version = ?`,
		micros(u.At), int64(u.SignCount), bit(u.BackupEligible), bit(u.BackedUp), s.db.Tenant(), id, version)
	if err != nil || n > 0 {
		return err
	}
	there, err := s.there(ctx, `id = ?`, id)
	switch {
	case err != nil:
		return err
	case there:
		return passkey.ErrConflict
	}
	return passkey.ErrNotFound
}

// there reports whether a condition selects a passkey.
func (s *Store) there(ctx context.Context, where string, args ...any) (there bool, err error) {
	err = s.db.Query(ctx, func(scan func(...any) error) error {
		var one int
		there = true
		return scan(&one)
	}, `SELECT 1 FROM {passkeys} WHERE tenant = ? AND `+where, append([]any{s.db.Tenant()}, args...)...)
	return there, err
}

// RenamePasskey implements [passkey.Store].
func (s *Store) RenamePasskey(ctx context.Context, userID, id, name string) error {
	if !storable(userID, id) {
		return notFound(ctx)
	}
	if !storable(name) {
		return errUnstorable
	}
	n, err := s.db.Exec(ctx, `UPDATE {passkeys} SET name = ? WHERE tenant = ? AND user_id = ? AND id = ?`, name, s.db.Tenant(), userID, id)
	if err != nil || n > 0 {
		return err
	}
	there, err := s.there(ctx, `user_id = ? AND id = ?`, userID, id) // MySQL does not count a row that has the name
	if err == nil && !there {
		err = passkey.ErrNotFound
	}
	return err
}

// DeletePasskey implements [passkey.Store].
func (s *Store) DeletePasskey(ctx context.Context, userID, id string) error {
	if !storable(userID, id) {
		return notFound(ctx)
	}
	n, err := s.db.Exec(ctx, `DELETE FROM {passkeys} WHERE tenant = ? AND user_id = ? AND id = ?`, s.db.Tenant(), userID, id)
	if err == nil && n == 0 {
		err = passkey.ErrNotFound
	}
	return err
}

// DeletePasskeys implements [passkey.Store]. The row of the user goes first: a
// concurrent AddPasskey, which has locked it, is then waited for.
func (s *Store) DeletePasskeys(ctx context.Context, userID string) error {
	if !storable(userID) {
		return ctx.Err()
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		_, err := s.db.Exec(ctx, `DELETE FROM {passkey_users} WHERE tenant = ? AND user_id = ?`, s.db.Tenant(), userID)
		if err == nil {
			_, err = s.db.Exec(ctx, `DELETE FROM {passkeys} WHERE tenant = ? AND user_id = ?`, s.db.Tenant(), userID)
		}
		return err
	})
}
