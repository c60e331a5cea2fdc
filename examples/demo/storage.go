package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/account/accountsql"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/apikey/apikeysql"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/oidclogin"
	"github.com/authkit-go/authkit/oidclogin/oidcloginsql"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/org/orgsql"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeysql"
	"github.com/authkit-go/authkit/redisstore"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/throttle"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/totp/totpsql"
	"github.com/authkit-go/authkit/trusteddevice"
	"github.com/authkit-go/authkit/trusteddevice/trusteddevicesql"
	"github.com/redis/go-redis/v9"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// inMemory is the address of a database that ends with the process.
const inMemory = "memory:"

// A storage holds accounts, sessions and the counts of attempts.
type storage struct {
	users    authkit.UserStore
	sessions authkit.SessionStore
	audit    audit.Store         // nil for memory
	attempts throttle.Store      // nil for memory
	outbox   account.Store       // nil for memory
	passkeys passkey.Store       // nil for memory
	apps     totp.Store          // nil for memory
	devices  trusteddevice.Store // nil for memory
	orgs     org.Store           // nil for memory
	keys     apikey.Store        // nil for memory
	closers  []func() error

	identities oidclogin.Store
}

// close ends the connections.
func (s *storage) close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// openStorage opens the databases of -db and -redis, and updates the schema.
func openStorage(ctx context.Context, cfg config) (*storage, error) {
	s := new(storage)
	if cfg.db == "" || cfg.db == inMemory {
		memory := authkit.NewMemoryStore()
		s.users, s.sessions, s.identities = memory, memory, oidclogin.NewMemoryStore()
	} else if err := s.openSQL(ctx, cfg.db, cfg.log); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if cfg.redis != "" {
		if err := s.openRedis(ctx, cfg.redis, cfg.log); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

// openSQL opens a database, for accounts and sessions.
func (s *storage) openSQL(ctx context.Context, address string, log *slog.Logger) error {
	driver, dsn, dialect, err := sqlstore.ParseURL(address)
	if err != nil {
		return fmt.Errorf("-db: %w", err)
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return errors.New("-db: the address cannot be read; see -help") // without the address, which may contain a password
	}
	s.closers = append(s.closers, db.Close)
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(10)
	store, err := sqlstore.Open(db, dialect, nil)
	if err != nil {
		return err
	}
	features := []sqlstore.Migrations{auditsql.Migrations(), accountsql.Migrations(), passkeysql.Migrations(), oidcloginsql.Migrations(), apikeysql.Migrations(), totpsql.Migrations(), trusteddevicesql.Migrations(), orgsql.Migrations()}
	pending, err := store.Pending(ctx, features...)
	if err == nil {
		err = store.Migrate(ctx, features...)
	}
	if err != nil {
		return fmt.Errorf("-db: %w", err)
	}
	log.Info("the schema is up to date", "database", dialect.String(), "applied", len(pending))
	s.users, s.sessions, s.audit, s.outbox = store, store, auditsql.New(store), accountsql.New(store)
	s.identities = oidcloginsql.New(store)
	s.keys, s.orgs = apikeysql.New(store), orgsql.New(store)
	s.passkeys, s.apps, s.devices = passkeysql.New(store), totpsql.New(store), trusteddevicesql.New(store)
	return nil
}

// openRedis connects to Redis, for sessions and the counts of attempts.
func (s *storage) openRedis(ctx context.Context, address string, log *slog.Logger) error {
	opts, err := redisstore.ParseURL(address)
	if err != nil {
		return fmt.Errorf("-redis: %w", err)
	}
	client := redis.NewClient(opts)
	s.closers = append(s.closers, client.Close)
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("-redis: %w", err)
	}
	prefix := redisstore.Options{Prefix: "authkit-demo"}
	sessions, err := redisstore.New(client, prefix)
	if err != nil {
		return err
	}
	attempts, err := redisstore.NewThrottle(client, prefix)
	if err != nil {
		return err
	}
	if err := sessions.Check(ctx); err != nil { // includes the checks of attempts.Check
		log.Warn("Redis may lose sessions", "err", err)
	}
	s.sessions, s.attempts = sessions, attempts
	return nil
}
