// Package sqlstore keeps accounts and sessions in SQLite, Postgres, MySQL or MariaDB, through
// database/sql. It imports no driver: the program opens the database with the one of its
// choice, and hands it over.
//
//	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL")) // github.com/jackc/pgx/v5/stdlib
//	if err != nil {
//		log.Fatal(err)
//	}
//	store, err := sqlstore.New(db, sqlstore.Postgres, nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	if err := store.Migrate(ctx); err != nil {
//		log.Fatal(err)
//	}
//	kit, err := authkit.New(authkit.Config{
//		Secret:   secret,
//		Users:    store,
//		Sessions: authkit.SessionConfig{Store: store},
//	})
//
// # Drivers
//
// SQLite (modernc.org/sqlite, or another) needs a log that writers do not lock readers out of,
// and patience:
//
//	db, err := sql.Open("sqlite", "file:auth.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)&_txlock=immediate")
//
// and MySQL nothing of its own:
//
//	db, err := sql.Open("mysql", "user:password@tcp(127.0.0.1:3306)/auth")
//
// Bound the pool: db.SetMaxOpenConns(10) or so, and as many idle ones.
//
// # The host's own rows
//
// [Store.WithTx] runs the same methods in a transaction of the host's, so that an account and
// a row of the host's come into being together, or not at all.
//
// # The schema
//
// [Migrations] are plain numbered files, which only ever add. [Store.Migrate] runs them, and
// so does any tool that reads the comments of goose.
package sqlstore

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

// Options change what [New] does by default. The zero value is fine.
type Options struct {
	// TablePrefix is in front of the names of all tables; empty means "authkit_". It is made
	// of a to z, 0 to 9 and the underscore, 32 at most.
	TablePrefix string

	// Schema is the schema of the tables in Postgres, which has to exist; empty means the
	// first of the search path. Elsewhere the database that was opened is the only one.
	Schema string

	// Tenant is whose accounts and sessions these are, 64 bytes at most. It is a part of every
	// key: a store sees those of its own tenant and no others, and an e-mail address is
	// unique within it. Empty is a tenant, too.
	Tenant string
}

// A Store is an [authkit.UserStore] and an [authkit.SessionStore] on a database. It is safe
// for concurrent use, by any number of programs on one database.
//
// A call holds one connection at a time, so that no pool is too small. What a database wants
// tried again, after a deadlock for one, is tried five times.
type Store struct {
	db     *sql.DB
	tx     *sql.Tx // the host's, or nil
	d      Dialect
	opts   Options
	tables *strings.Replacer // puts in the names of the tables
	texts  *sync.Map         // statement to string: see work.text
	cache  *sync.Map         // statement to *sql.Stmt: see work.prepared
}

var (
	_ authkit.UserStore    = (*Store)(nil)
	_ authkit.SessionStore = (*Store)(nil)
)

// New returns a Store on a database, or an error that joins every fault of the options, which
// may be nil. It asks the database nothing: see [Store.Migrate].
func New(db *sql.DB, d Dialect, opts *Options) (*Store, error) {
	s := &Store{db: db, d: d, texts: new(sync.Map), cache: new(sync.Map)}
	if opts != nil {
		s.opts = *opts
	}
	s.opts.TablePrefix = cmp.Or(s.opts.TablePrefix, defaultPrefix)
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("sqlstore: "+format, args...)) }
	if db == nil {
		fault("the database is nil; open it with sql.Open")
	}
	if d != SQLite && d != Postgres && d != MySQL {
		fault("no dialect; use SQLite, Postgres or MySQL")
	}
	if !validName(s.opts.TablePrefix) {
		fault("Options.TablePrefix: %q; use a to z, 0 to 9 and the underscore, 32 at most", s.opts.TablePrefix)
	}
	if s.opts.Schema != "" && !validName(s.opts.Schema) {
		fault("Options.Schema: %q; use a to z, 0 to 9 and the underscore, 32 at most", s.opts.Schema)
	}
	if s.opts.Schema != "" && (d == SQLite || d == MySQL) {
		fault("Options.Schema: %v has none; open the database that is meant", d)
	}
	if len(s.opts.Tenant) > 64 || !storable(s.opts.Tenant) {
		fault("Options.Tenant: longer than 64 bytes, or with a NUL, or not UTF-8")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	prefix := s.opts.TablePrefix
	if s.opts.Schema != "" {
		prefix = s.opts.Schema + "." + prefix
	}
	s.tables = strings.NewReplacer("{", prefix, "}", "")
	return s, nil
}

// WithTx returns a store that does everything within a transaction of the host's, on the same
// database. It neither commits nor rolls back, and what it reports to have done, such as a taken
// e-mail, leaves the transaction usable. Only as long as the transaction does it live, and it is
// for one goroutine at a time.
//
// A transaction that has to be tried again, after a deadlock for one, is the host's to try:
// within it nothing is.
func (s *Store) WithTx(tx *sql.Tx) *Store {
	in := *s
	in.tx = tx
	return &in
}

const defaultPrefix = "authkit_"

// validName takes what needs no quotes in any of the databases.
func validName(name string) bool {
	return name != "" && len(name) <= 32 && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_')
	})
}

// storable reports whether a text can be in a database: Postgres takes neither a NUL nor what is
// not UTF-8. Nothing is stored under any other key, so none is looked for (ST-05).
func storable(texts ...string) bool {
	for _, text := range texts {
		if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
			return false
		}
	}
	return true
}
