// Package sqlstore keeps accounts, sessions and tickets in SQLite, Postgres,
// MySQL or MariaDB, through database/sql. It imports no driver: your program
// opens the database with a driver of its choice and passes it to [Open].
//
//	driver, dsn, dialect, err := sqlstore.ParseURL(os.Getenv("DATABASE_URL"))
//	...
//	pool, err := sql.Open(driver, dsn) // import github.com/jackc/pgx/v5/stdlib, for one
//	...
//	pool.SetMaxOpenConns(10)
//	db, err := sqlstore.Open(pool, dialect, nil)
//	...
//	err = db.Migrate(ctx)
//	...
//	kit, err := authkit.New(authkit.Config{
//		Secret:   secret,
//		Users:    db,
//		Sessions: authkit.SessionConfig{Store: db},
//	})
//
// # Transactions
//
// [DB.WithTx] puts a transaction of your program into a context. Calls with
// that context are part of the transaction, including those of a Kit: an
// account and a row of your own are created together or not at all. [DB.InTx]
// begins a transaction of the store.
//
// # Features with tables of their own
//
// A package with further tables, such as auditsql, runs its statements with
// [DB.Exec], [DB.Query] and [DB.InTx]. Pass its [Migrations] to [DB.Migrate].
//
// # Drivers
//
// [ParseURL] returns data source names for modernc.org/sqlite,
// github.com/jackc/pgx/v5 and github.com/go-sql-driver/mysql, with the settings
// that each database needs. If you write one without it, SQLite needs
// write-ahead logging and a busy timeout:
//
//	file:auth.db?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate
//
// For MySQL keep the character set utf8mb4, and leave clientFoundRows off. On
// Postgres no statement depends on being prepared, so PgBouncer in transaction
// mode works with default_query_exec_mode=exec or simple_protocol.
//
// Limit the pool to about 10 open and 10 idle connections. A call holds one
// connection at a time, so a small pool cannot deadlock. SQLite has one writer
// at a time. The store queues its writes in order. Reads run at the same time
// as a write.
package sqlstore

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

// Options change the defaults of [Open]. The zero value is fine.
type Options struct {
	// TablePrefix is the beginning of the names of all tables; empty means
	// "authkit_". It consists of a to z, 0 to 9 and the underscore, 32 at most.
	TablePrefix string

	// Schema is the schema of the tables in Postgres. It must exist. Empty
	// means the first of the search path. The other databases have none.
	Schema string

	// Tenant owns the rows of this DB; 64 bytes at most. It is a part of every
	// key: a DB sees the rows of its tenant only, and an e-mail address is
	// unique within it. The empty name is a tenant, too.
	Tenant string
}

// A DB is a database that stores share. It implements [authkit.UserStore],
// [authkit.UserBatchStore], [authkit.SessionStore], [authkit.SessionUserStore],
// [authkit.TicketStore] and [authkit.Transactor]. It is safe for concurrent
// use, by any number of programs on one database.
//
// If a call fails with a deadlock or a similar error, a DB tries it up to five
// times. If an SQLite file is locked, it tries for up to five seconds. Within a
// transaction of your program it never tries again.
type DB struct {
	pool   *sql.DB
	d      Dialect
	opts   Options
	tables *strings.Replacer // puts in the names of the tables
	writer chan struct{}     // has room for the one writer of SQLite; nil for the others

	texts  sync.Map // statement to string: see conn.text
	stmts  sync.Map // statement to *sql.Stmt: see conn.prepared
	cached atomic.Int32
}

var (
	_ authkit.UserStore        = (*DB)(nil)
	_ authkit.UserBatchStore   = (*DB)(nil)
	_ authkit.SessionStore     = (*DB)(nil)
	_ authkit.SessionUserStore = (*DB)(nil)
	_ authkit.TicketStore      = (*DB)(nil)
	_ authkit.Transactor       = (*DB)(nil)
)

// Open returns a DB on a pool of connections, or an error that joins all
// problems of the options, which may be nil. It does not connect. See
// [DB.Migrate] for the tables.
func Open(pool *sql.DB, d Dialect, opts *Options) (*DB, error) {
	db := &DB{pool: pool, d: d}
	if opts != nil {
		db.opts = *opts
	}
	db.opts.TablePrefix = cmp.Or(db.opts.TablePrefix, defaultPrefix)
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf("sqlstore: "+format, args...)) }
	if pool == nil {
		problem("the database is nil; open it with sql.Open")
	}
	if d != SQLite && d != Postgres && d != MySQL {
		problem("no dialect; use SQLite, Postgres or MySQL")
	}
	if !validName(db.opts.TablePrefix) {
		problem("Options.TablePrefix: %q; use a to z, 0 to 9 and the underscore, 32 at most", db.opts.TablePrefix)
	}
	if db.opts.Schema != "" && !validName(db.opts.Schema) {
		problem("Options.Schema: %q; use a to z, 0 to 9 and the underscore, 32 at most", db.opts.Schema)
	}
	if db.opts.Schema != "" && (d == SQLite || d == MySQL) {
		problem("Options.Schema: %v has none; open the database that is meant", d)
	}
	if len(db.opts.Tenant) > 64 || !storable(db.opts.Tenant) {
		problem("Options.Tenant: longer than 64 bytes, or with a NUL, or not UTF-8")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if d == SQLite {
		db.writer = make(chan struct{}, 1)
	}
	prefix := db.opts.TablePrefix
	if db.opts.Schema != "" {
		prefix = db.opts.Schema + "." + prefix
	}
	db.tables = strings.NewReplacer("{", prefix, "}", "")
	return db, nil
}

// Tenant returns [Options].Tenant. It is the first column of every key.
func (db *DB) Tenant() string { return db.opts.Tenant }

// Dialect returns the dialect of the database.
func (db *DB) Dialect() Dialect { return db.d }

const defaultPrefix = "authkit_"

// validName accepts names that need no quotes in any of the databases.
func validName(name string) bool {
	return name != "" && len(name) <= 32 && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_')
	})
}

// isASCII reports whether every database can hold a text, whatever its character set.
func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
}

// storable reports whether texts can be in a database: Postgres takes neither a
// NUL nor bytes that are not UTF-8. Nothing is stored under any other key, so
// no database is asked for one (ST-05).
func storable(texts ...string) bool {
	for _, text := range texts {
		if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
			return false
		}
	}
	return true
}
