package flows_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/account/accountsql"
	"github.com/authkit-go/authkit/apikey/apikeysql"
	"github.com/authkit-go/authkit/org/orgsql"
	"github.com/authkit-go/authkit/passkey/passkeysql"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/throttle"
	"github.com/authkit-go/authkit/totp/totpsql"
	"github.com/authkit-go/authkit/trusteddevice/trusteddevicesql"

	_ "modernc.org/sqlite"
)

// migrated returns a database in SQLite with all tables, made once.
var migrated = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "flows")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "auth.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return nil, err
	}
	s, err := sqlstore.Open(db, sqlstore.SQLite, nil)
	if err == nil {
		err = s.Migrate(context.Background(), accountsql.Migrations(), apikeysql.Migrations(), trusteddevicesql.Migrations(), totpsql.Migrations(), orgsql.Migrations(), passkeysql.Migrations())
	}
	if closed := db.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

// sqlite returns stores in one database, where the features join the
// transactions of the accounts.
func sqlite(t *testing.T) stores {
	t.Helper()
	template, err := migrated()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "auth.db")
	require.NoError(t, os.WriteFile(file, template, 0o600))
	_, dsn, _, err := sqlstore.ParseURL("sqlite:" + file)
	require.NoError(t, err)
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := sqlstore.Open(db, sqlstore.SQLite, nil)
	require.NoError(t, err)
	return stores{
		s, accountsql.New(s), totpsql.New(s), passkeysql.New(s), trusteddevicesql.New(s),
		apikeysql.New(s), orgsql.New(s), throttle.NewMemory(1000),
	}
}

// RF-06, ST-02: the flows that are several steps in memory are one transaction in a
// database. Each of them is made as a whole or not at all.
func TestFlowsInTransactions(t *testing.T) {
	testFlows(t, sqlite, true)
}
