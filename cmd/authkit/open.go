package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey/apikeysql"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/redisstore"
	"github.com/authkit-go/authkit/sqlstore"

	// The drivers that sqlstore.ParseURL names.
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// maxConns is the maximum number of connections to the database.
const maxConns = 8

// open opens the database, whose schema has to be up to date. Without an audit
// log it need not have the tables of one.
func (c *call) open(ctx context.Context) (*sqlstore.DB, error) {
	store, err := c.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	var more []sqlstore.Migrations
	if c.auditKey != "" || c.auditLog {
		more = append(more, auditsql.Migrations())
	}
	if c.apiKeys {
		more = append(more, apikeysql.Migrations())
	}
	pending, err := store.Pending(ctx, more...)
	if err != nil {
		return nil, fmt.Errorf("the database cannot be used: %w", err)
	}
	if len(pending) > 0 {
		return nil, fmt.Errorf("the database lacks %s; run: authkit migrate", strings.Join(pending, ", "))
	}
	return store, nil
}

// connect opens the database. It creates a missing file only if create is set.
func (c *call) connect(ctx context.Context, create bool) (*sqlstore.DB, error) {
	address := cmp.Or(c.address, c.env("DATABASE_URL"))
	if address == "" {
		return nil, usagef("no database; set DATABASE_URL, or -db, to sqlite:FILE, postgres://… or mysql://…")
	}
	driver, dsn, dialect, err := sqlstore.ParseURL(address)
	if err != nil {
		return nil, usagef("%s", strings.TrimPrefix(err.Error(), "sqlstore: "))
	}
	if dialect == sqlstore.SQLite {
		if err := checkFile(strings.TrimPrefix(address, "sqlite:"), create); err != nil {
			return nil, err
		}
		dsn += "&mode=rw"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil { // the text may contain the password
		return nil, usagef("the driver cannot read the address of the database")
	}
	c.closers = append(c.closers, db.Close)
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	if err := db.PingContext(ctx); err != nil {
		return nil, fmt.Errorf("the database does not respond: %w", err)
	}
	store, err := sqlstore.Open(db, dialect, &sqlstore.Options{TablePrefix: c.prefix, Tenant: c.tenant})
	if err != nil {
		return nil, usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return store, nil
}

// sessions returns the store of the sessions: Redis, if the command has the
// flag and an address is set, or else the store of the accounts.
func (c *call) sessions(ctx context.Context, store *sqlstore.DB) (authkit.SessionStore, error) {
	if c.flags.Lookup("redis") == nil {
		return store, nil
	}
	address := cmp.Or(c.redis, c.env("REDIS_URL"))
	if address == "" && c.redisPrefix != "" {
		return nil, usagef("-redis-prefix without an address; set REDIS_URL or -redis")
	}
	if address == "" {
		return store, nil
	}
	opts, err := redisstore.ParseURL(address)
	if err != nil {
		return nil, usagef("%s", strings.TrimPrefix(err.Error(), "redisstore: "))
	}
	client := redis.NewClient(opts)
	c.closers = append(c.closers, client.Close)
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("nothing was changed, because the Redis server does not respond: %w; without REDIS_URL and -redis, the commands that change the account (disable, enable, set-password, revoke -all) still take effect", err)
	}
	sessions, err := redisstore.New(client, redisstore.Options{Prefix: c.redisPrefix})
	if err != nil {
		return nil, usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return sessions, nil
}

// quiet is the logger of the Redis client. It drops everything.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// checkFile checks the file of a database. If it creates one, only the owner
// can read it.
func checkFile(file string, create bool) error {
	_, err := os.Stat(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !create {
		return fmt.Errorf("there is no file %s; to create it, run: authkit migrate", printable(file))
	}
	made, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return made.Close()
}
