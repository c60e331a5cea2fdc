package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/redisstore"
	"github.com/authkit-go/authkit/sqlstore"

	_ "modernc.org/sqlite" // driver
)

// open opens the database, whose schema has to be up to date.
func (c *call) open(ctx context.Context) (*sqlstore.Store, error) {
	store, err := c.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	pending, err := store.Pending(ctx)
	if err != nil {
		return nil, fmt.Errorf("the database cannot be used: %w", err)
	}
	if len(pending) > 0 {
		return nil, fmt.Errorf("the database lacks %s; run: authkit migrate", strings.Join(pending, ", "))
	}
	return store, nil
}

// connect opens the database. A file that is not there is made only if that is meant.
func (c *call) connect(ctx context.Context, create bool) (*sqlstore.Store, error) {
	address := cmp.Or(c.address, c.env("DATABASE_URL"))
	var db *sql.DB
	var dialect sqlstore.Dialect
	var err error
	switch scheme, rest, _ := strings.Cut(address, ":"); scheme {
	case "":
		err = usagef("no database; set DATABASE_URL, or -db, to sqlite:FILE, postgres://… or mysql://…")
	case "sqlite":
		dialect = sqlstore.SQLite
		db, err = openSQLite(rest, create)
	case "postgres", "postgresql":
		dialect = sqlstore.Postgres
		db, err = openPostgres(address)
	case "mysql":
		dialect = sqlstore.MySQL
		db, err = openMySQL(address)
	default: // the text may be a password in the wrong place
		err = usagef("an address of no known kind; the database is sqlite:FILE, postgres://… or mysql://…")
	}
	if err != nil {
		return nil, err
	}
	c.db = db
	c.closers = append(c.closers, db.Close)
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)
	if err := db.PingContext(ctx); err != nil {
		return nil, fmt.Errorf("the database does not answer: %w", err)
	}
	store, err := sqlstore.New(db, dialect, &sqlstore.Options{TablePrefix: c.prefix, Tenant: c.tenant})
	if err != nil {
		return nil, usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return store, nil
}

// sessions returns where sessions are: in Redis, if an address is given to a command that asks for
// one, or else with the accounts.
func (c *call) sessions(ctx context.Context, store *sqlstore.Store) (authkit.SessionStore, error) {
	if c.flags.Lookup("redis") == nil {
		return store, nil
	}
	address := cmp.Or(c.redis, c.env("REDIS_URL"))
	if address == "" && c.redisPrefix != "" {
		return nil, usagef("-redis-prefix without an address; give REDIS_URL, or -redis")
	}
	if address == "" {
		return store, nil
	}
	opts, err := redis.ParseURL(address)
	if err != nil {
		return nil, errRedis
	}
	opts.ContextTimeoutEnabled = true
	client := redis.NewClient(opts)
	c.closers = append(c.closers, client.Close)
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("nothing was done, since the Redis server does not answer: %w; without REDIS_URL and -redis, what is in the account (disable, enable, set-password, revoke -all) is done and holds", err)
	}
	sessions, err := redisstore.New(client, redisstore.Options{Prefix: c.redisPrefix})
	if err != nil {
		return nil, usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return sessions, nil
}

// quiet is a logger of the Redis client.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// openSQLite opens a file. One that it makes is for its owner alone.
func openSQLite(file string, create bool) (*sql.DB, error) {
	if file == "" {
		return nil, usagef("sqlite: without a file; write it like sqlite:auth.db")
	}
	_, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		made, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			err = made.Close()
		}
		if err != nil {
			return nil, err
		}
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s; to make it, run: authkit migrate", printable(file))
	case err != nil:
		return nil, err
	}
	return sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+
		"?mode=rw&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)&_txlock=immediate")
}

// The errors of what reads addresses may quote the password, so theirs are fixed texts.
var (
	errPostgres = usageError{"not like postgres://user:password@127.0.0.1:5432/database"}
	errMySQL    = usageError{"not like mysql://user:password@127.0.0.1:3306/database"}
	errRedis    = usageError{"not like redis://user:password@127.0.0.1:6379/0"}
)

func openPostgres(address string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, errPostgres
	}
	return stdlib.OpenDB(*cfg), nil
}

func openMySQL(address string) (*sql.DB, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || len(u.Path) < 2 {
		return nil, errMySQL
	}
	cfg, err := mysql.ParseDSN("tcp(" + net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "3306")) + ")/?" + u.RawQuery)
	if err != nil {
		return nil, errMySQL
	}
	cfg.DBName = u.Path[1:]
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, errMySQL
	}
	return sql.OpenDB(connector), nil
}
