// Package trusteddevicesql keeps the devices of package trusteddevice in a table
// of a database that package sqlstore has opened.
//
//	db, err := sqlstore.Open(pool, dialect, nil)
//	...
//	err = db.Migrate(ctx, trusteddevicesql.Migrations())
//	...
//	devices, err := trusteddevice.New(trusteddevice.Config{Store: trusteddevicesql.New(db)})
package trusteddevicesql

import (
	"context"
	"embed"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/trusteddevice"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the table of the devices, for [sqlstore.DB.Migrate].
func Migrations() sqlstore.Migrations {
	return sqlstore.Migrations{Package: "trusteddevice", Files: migrations}
}

// A Store is a [trusteddevice.Store] in a database. If the accounts are in the
// same database, its calls are part of their transactions. Each tenant of the
// database has its own devices.
type Store struct{ db *sqlstore.DB }

var _ trusteddevice.Store = (*Store)(nil)

// New returns a Store on a database that has the table of [Migrations].
func New(db *sqlstore.DB) *Store { return &Store{db} }

var errDeviceID = errors.New("trusteddevicesql: the device ID is empty, exists or cannot be stored")

// storable reports whether Postgres takes texts: neither a NUL nor bytes that
// are not UTF-8.
func storable(texts ...string) bool {
	text := strings.Join(texts, "")
	return strings.IndexByte(text, 0) < 0 && utf8.ValidString(text)
}

// PutDevice implements [trusteddevice.Store].
func (s *Store) PutDevice(ctx context.Context, d trusteddevice.StoredDevice, limit int) error {
	if d.ID == "" || !storable(d.ID, d.UserID, d.Agent) {
		return errDeviceID
	}
	insert := `INSERT INTO {trusted_devices} (tenant, id, user_id, hash, agent, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`
	if s.db.Dialect() == sqlstore.MySQL { // a row that is set to its old values does not count
		insert += ` ON DUPLICATE KEY UPDATE id = id`
	} else {
		insert += ` ON CONFLICT DO NOTHING`
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		n, err := s.db.Exec(ctx, insert, s.db.Tenant(), d.ID, d.UserID, d.Hash[:], d.Agent, d.CreatedAt.UnixMicro(), d.ExpiresAt.UnixMicro())
		if err != nil {
			return err
		}
		if n == 0 {
			return errDeviceID
		}
		list, err := s.Devices(ctx, d.UserID)
		if err != nil {
			return err
		}
		others := slices.DeleteFunc(list, func(other trusteddevice.Device) bool { return other.ID == d.ID })
		for _, old := range others[min(len(others), max(limit, 1)-1):] {
			if _, err := s.DeleteDevice(ctx, d.UserID, old.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// scanned returns the device of a row of ID, hash, agent and times.
func scanned(scan func(...any) error, userID string) (trusteddevice.StoredDevice, error) {
	d := trusteddevice.StoredDevice{Device: trusteddevice.Device{UserID: userID}}
	var hash []byte
	var created, expires int64
	err := scan(&d.ID, &hash, &d.Agent, &created, &expires)
	copy(d.Hash[:], hash)
	d.CreatedAt, d.ExpiresAt = time.UnixMicro(created).UTC(), time.UnixMicro(expires).UTC()
	return d, err
}

// Device implements [trusteddevice.Store].
func (s *Store) Device(ctx context.Context, userID, id string) (d trusteddevice.StoredDevice, err error) {
	if !storable(userID, id) {
		return d, notFound(ctx)
	}
	found := false
	err = s.db.Query(ctx, func(scan func(...any) error) (err error) {
		found = true
		d, err = scanned(scan, userID)
		return err
	}, `SELECT id, hash, agent, created_at, expires_at FROM {trusted_devices} WHERE tenant = ? AND id = ? AND user_id = ?`, s.db.Tenant(), id, userID)
	if err == nil && !found {
		err = trusteddevice.ErrNotFound
	}
	return d, err
}

// notFound returns the error of a look-up that no row can have.
func notFound(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return trusteddevice.ErrNotFound
}

// Devices implements [trusteddevice.Store].
func (s *Store) Devices(ctx context.Context, userID string) ([]trusteddevice.Device, error) {
	if !storable(userID) {
		return nil, ctx.Err()
	}
	var list []trusteddevice.Device
	err := s.db.Query(ctx, func(scan func(...any) error) error {
		d, err := scanned(scan, userID)
		list = append(list, d.Device)
		return err
	}, `SELECT id, hash, agent, created_at, expires_at FROM {trusted_devices} WHERE tenant = ? AND user_id = ? ORDER BY created_at DESC, id`, s.db.Tenant(), userID)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// DeleteDevice implements [trusteddevice.Store].
func (s *Store) DeleteDevice(ctx context.Context, userID, id string) (bool, error) {
	if !storable(userID, id) {
		return false, ctx.Err()
	}
	n, err := s.db.Exec(ctx, `DELETE FROM {trusted_devices} WHERE tenant = ? AND id = ? AND user_id = ?`, s.db.Tenant(), id, userID)
	return n == 1, err
}

// DeleteDevices implements [trusteddevice.Store].
func (s *Store) DeleteDevices(ctx context.Context, userID string) error {
	if !storable(userID) {
		return ctx.Err()
	}
	_, err := s.db.Exec(ctx, `DELETE FROM {trusted_devices} WHERE tenant = ? AND user_id = ?`, s.db.Tenant(), userID)
	return err
}

// DeleteExpiredDevices implements [trusteddevice.Store].
func (s *Store) DeleteExpiredDevices(ctx context.Context, at time.Time, limit int) (int, error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	const table, old = `{trusted_devices}`, ` WHERE tenant = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?`
	query := `DELETE FROM ` + table + old
	switch s.db.Dialect() {
	case sqlstore.SQLite:
		query = `DELETE FROM ` + table + ` WHERE rowid IN (SELECT rowid FROM ` + table + old + `)`
	case sqlstore.Postgres:
		query = `DELETE FROM ` + table + ` WHERE ctid = ANY (ARRAY(SELECT ctid FROM ` + table + old + ` FOR UPDATE))`
	}
	n, err := s.db.Exec(ctx, query, s.db.Tenant(), at.UnixMicro(), limit)
	return int(n), err
}
