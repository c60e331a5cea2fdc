package sqlstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/sqlstore"
)

const pragmas = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"

func TestParseURL(t *testing.T) {
	t.Parallel()
	const added = "charset=utf8mb4&interpolateParams=true"
	for address, want := range map[string]struct {
		driver, dsn string
		d           sqlstore.Dialect
	}{
		"sqlite:auth.db":                          {"sqlite", "file:auth.db" + pragmas, sqlstore.SQLite},
		"sqlite:/var/lib/a b?c#%.db":              {"sqlite", "file:/var/lib/a%20b%3Fc%23%25.db" + pragmas, sqlstore.SQLite},
		"sqlite::memory:":                         {"sqlite", "file::memory:" + pragmas, sqlstore.SQLite},
		"postgres://u:p@h/db":                     {"pgx", "postgres://u:p@h/db", sqlstore.Postgres},
		"postgresql:///db?host=/run":              {"pgx", "postgresql:///db?host=/run", sqlstore.Postgres},
		"mysql://user:pass@127.0.0.1:3307/db?x=1": {"mysql", "user:pass@tcp(127.0.0.1:3307)/db?" + added + "&x=1", sqlstore.MySQL},
		"mariadb://127.0.0.1/db":                  {"mysql", "tcp(127.0.0.1:3306)/db?" + added, sqlstore.MySQL},
		"mysql://h/d":                             {"mysql", "tcp(h:3306)/d?" + added, sqlstore.MySQL},
		"mysql://root@[::1]/db":                   {"mysql", "root:@tcp([::1]:3306)/db?" + added, sqlstore.MySQL},
		"mysql://u:p%40%3A%2F%23@h/a%2Fb":         {"mysql", "u:p@:/#@tcp(h:3306)/a%2Fb?" + added, sqlstore.MySQL},
		"mysql://h/db?charset=utf8&interpolateParams=false": {
			"mysql", "tcp(h:3306)/db?charset=utf8&interpolateParams=false", sqlstore.MySQL},
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			driver, dsn, d, err := sqlstore.ParseURL(address)
			require.NoError(t, err)
			require.Equal(t, want.driver, driver)
			require.Equal(t, want.dsn, dsn)
			require.Equal(t, want.d, d)
		})
	}
}

// TestParseURLErrors asserts that no error holds a part of the address, such as a password.
func TestParseURLErrors(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"", "secret", "secret.db", "oracle://user:secret@h/db", "sqlite:", "sqlite://secret.db", "mysql://", "mysql:secret", "mysql:///secret", "mysql://:3306/secret",
		"mysql://secret", "mysql://user:secret@h:1/", "mysql://user:secret@%zz/db", "mysql://user:secret@h:port/db", "mysql://a%3Asecret@h/db",
		"postgres:secret", "postgres://user:secret@%zz/db", "postgres://user:secret@h:port/db",
	} {
		driver, dsn, d, err := sqlstore.ParseURL(address)
		require.ErrorContains(t, err, "sqlstore: ", address)
		require.NotContains(t, err.Error(), "secret")
		require.Empty(t, dsn, address)
		require.Zero(t, d, address)
		require.Empty(t, driver, address)
	}
}
