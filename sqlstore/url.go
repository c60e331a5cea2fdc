package sqlstore

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"strings"
)

// The errors of ParseURL are fixed texts, since an address may hold a password.
var (
	errURL       = errors.New("sqlstore: the database is not sqlite:FILE, or an address such as postgres://host/name or mysql://host/name")
	errSQLiteURL = errors.New("sqlstore: not like sqlite::memory:, sqlite:auth.db or sqlite:/var/lib/auth.db")
	errServerURL = errors.New("sqlstore: not like postgres://user:password@127.0.0.1:5432/database, or mysql://user:password@127.0.0.1:3306/database")
)

// sqlitePragmas are ST-06: readers and the writer do not block each other,
// writers wait, and a commit survives a power cut.
const sqlitePragmas = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"

// ParseURL returns the arguments for [sql.Open] and [Open] of a database with
// an address such as those of DATABASE_URL. It opens nothing. The drivers,
// which your program imports, are "sqlite" of modernc.org/sqlite, "pgx" of
// github.com/jackc/pgx/v5/stdlib, and "mysql" of
// github.com/go-sql-driver/mysql.
//
//	sqlite:auth.db                   a file, with write-ahead logging and synchronous=FULL
//	sqlite::memory:                  in memory; call SetMaxOpenConns(1), since each
//	                                 connection has a database of its own
//	postgres://user:pw@host:5432/db  or postgresql://
//	mysql://user:pw@host:3306/db     or mariadb://; with utf8mb4, and statements that
//	                                 take one round trip
//
// The query of an address for a server is passed on to its driver. No error
// contains a part of the address.
func ParseURL(address string) (driver, dsn string, d Dialect, err error) {
	scheme, rest, _ := strings.Cut(address, ":")
	switch scheme {
	case "sqlite":
		driver, d = "sqlite", SQLite
		dsn, err = sqliteDSN(rest)
	case "postgres", "postgresql":
		if _, err := url.Parse(address); err != nil || !strings.HasPrefix(rest, "//") {
			return "", "", 0, errServerURL
		}
		driver, d, dsn = "pgx", Postgres, address
	case "mysql", "mariadb":
		driver, d = "mysql", MySQL
		dsn, err = mysqlDSN(address)
	default: // the text may be a password in the wrong place
		err = errURL
	}
	if err != nil {
		return "", "", 0, err
	}
	return driver, dsn, d, nil
}

func sqliteDSN(file string) (string, error) {
	switch {
	case file == "" || strings.HasPrefix(file, "//"):
		return "", errSQLiteURL
	case file == ":memory:":
		return "file::memory:?" + sqlitePragmas, nil
	}
	return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + sqlitePragmas, nil
}

// mysqlDSN returns an address in the form of the driver. It ends the name at
// the first colon and the password at the last @ before the address of the
// server.
func mysqlDSN(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || len(u.Path) < 2 || strings.Contains(u.User.Username(), ":") {
		return "", errServerURL
	}
	query := u.Query()
	for key, value := range map[string]string{"charset": "utf8mb4", "interpolateParams": "true"} {
		if !query.Has(key) {
			query.Set(key, value)
		}
	}
	user := ""
	if u.User != nil {
		password, _ := u.User.Password()
		user = u.User.Username() + ":" + password + "@"
	}
	host := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "3306"))
	return user + "tcp(" + host + ")/" + url.PathEscape(u.Path[1:]) + "?" + query.Encode(), nil
}
