package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/sqlstore"
)

// A call is one run of a command.
type call struct {
	cmd            command
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	flags          *flag.FlagSet
	db             *sql.DB // once it is open
	closers        []func() error

	json        bool
	address     string // of the database
	tenant      string
	prefix      string
	scheme      string
	cost        int
	minPassword int
	auditKey    string // file
	redis       string // address
	redisPrefix string
}

func newCall(cmd command, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) *call {
	c := &call{cmd: cmd, args: args, stdin: stdin, stdout: stdout, stderr: stderr, env: env}
	c.flags = flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	c.flags.SetOutput(io.Discard)
	c.flags.Usage = func() {}
	c.flags.BoolVar(&c.json, "json", false, "write JSON, an object to a line")
	return c
}

// close closes what the command has opened.
func (c *call) close() error {
	var errs []error
	for _, f := range c.closers {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// databaseFlags are for commands on a database.
func (c *call) databaseFlags() {
	c.flags.StringVar(&c.address, "db", "", "database: sqlite:`FILE`, postgres://… or mysql://…; better in DATABASE_URL, where no list of processes shows its password")
	c.flags.StringVar(&c.tenant, "tenant", "", "`name` of the tenant, as in sqlstore.Options")
	c.flags.StringVar(&c.prefix, "table-prefix", "", "what the names of the tables begin with, as in sqlstore.Options (default authkit_)")
}

// sessionFlags are for commands on sessions, which may be elsewhere than the accounts.
func (c *call) sessionFlags() {
	c.databaseFlags()
	c.flags.StringVar(&c.redis, "redis", "", "where sessions are if not in the database: redis://… or rediss://…; better in REDIS_URL")
	c.flags.StringVar(&c.redisPrefix, "redis-prefix", "", "what the names of the keys begin with, as in redisstore.Options (default authkit)")
}

// auditFlags are for commands that change something.
func (c *call) auditFlags() {
	c.flags.StringVar(&c.auditKey, "audit-key", "", "`file` with the key of the audit log in the database, to write there what is done")
}

// hasherFlags are for commands that make or judge hashes.
func (c *call) hasherFlags() {
	c.flags.StringVar(&c.scheme, "scheme", "bcrypt", "scheme of new hashes, as the service has it: bcrypt, argon2id or pbkdf2-sha256")
	c.flags.IntVar(&c.cost, "cost", 0, "cost of bcrypt, or rounds of pbkdf2-sha256; 0 is the library's default")
}

// passwordFlags are for commands that take a password that a human chose.
func (c *call) passwordFlags() {
	c.hasherFlags()
	c.flags.IntVar(&c.minPassword, "min-password-length", 0, "fewest characters of a password, as in authkit.Config (default 8)")
}

// hasher returns the hasher of the flags. Every scheme is read.
func (c *call) hasher() (authkit.Hasher, error) {
	bcrypt, pbkdf2 := authkit.Bcrypt{}, authkit.PBKDF2SHA256{}
	switch c.scheme {
	case "": // of a command that makes none: the one that New makes is stored nowhere
		bcrypt = authkit.Bcrypt{Cost: 4, InsecureLowCost: true}
		return authkit.Schemes(bcrypt, pbkdf2, authkit.Argon2id{}), nil
	case "bcrypt":
		bcrypt.Cost = c.cost
		return authkit.Schemes(bcrypt, pbkdf2, authkit.Argon2id{}), nil
	case "pbkdf2-sha256":
		pbkdf2.Rounds = c.cost
		return authkit.Schemes(pbkdf2, bcrypt, authkit.Argon2id{}), nil
	case "argon2id":
		if c.cost != 0 {
			return nil, usagef("-cost is for bcrypt and pbkdf2-sha256; leave it out with argon2id")
		}
		return authkit.Schemes(authkit.Argon2id{}, bcrypt, pbkdf2), nil
	}
	return nil, usagef("-scheme %q; use bcrypt, argon2id or pbkdf2-sha256", printable(c.scheme))
}

// kit returns a Kit on stores. It issues no tokens that anybody takes: its secret is a random one.
func (c *call) kit(cfg authkit.Config) (*authkit.Kit, error) {
	var err error
	if cfg.Passwords.Hasher, err = c.hasher(); err != nil {
		return nil, err
	}
	if len(cfg.Secret) == 0 && len(cfg.Tokens.Keys) == 0 {
		cfg.Secret = []byte(rand.Text() + rand.Text())
	}
	cfg.Passwords.MinLength = c.minPassword
	if cfg.OnEvent == nil {
		cfg.OnEvent = []func(context.Context, authkit.Event){func(context.Context, authkit.Event) {}} // what fails is an error, too
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	kit, err := authkit.New(cfg)
	if err != nil {
		return nil, usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return kit, nil
}

// An operation is what a command that changes something works with.
type operation struct {
	store *sqlstore.DB
	kit   *authkit.Kit
	log   *audit.Log // nil: none
}

// operation opens the database, and returns a context that names who acts.
func (c *call) operation(ctx context.Context) (context.Context, *operation, error) {
	store, err := c.open(ctx)
	if err != nil {
		return ctx, nil, err
	}
	op := &operation{store: store}
	sessions, err := c.sessions(ctx, store)
	if err != nil {
		return ctx, nil, err
	}
	cfg := authkit.Config{Users: store, Sessions: authkit.SessionConfig{Store: sessions}}
	if c.auditKey != "" {
		if op.log, err = openLog(ctx, auditsql.New(store), c.auditKey); err != nil {
			return ctx, nil, err
		}
		cfg.OnEvent = []func(context.Context, authkit.Event){op.tell}
	}
	if op.kit, err = c.kit(cfg); err != nil {
		return ctx, nil, err
	}
	who := "authkit command"
	if name := cmp.Or(c.env("SUDO_USER"), c.env("USER"), c.env("USERNAME")); name != "" {
		who += ", run by " + name
	}
	return authkit.WithClient(ctx, authkit.ClientInfo{Device: who}), op, nil
}

// openLog returns the audit log in the database. A log that another key has written is not gone on
// with: no key would fit all of it.
func openLog(ctx context.Context, store audit.Store, keyFile string) (*audit.Log, error) {
	key, err := readSecretFile(keyFile)
	if err != nil {
		return nil, err
	}
	log, err := audit.New(store, audit.Options{Key: key, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("-audit-key: %w", err)
	}
	last, err := store.AuditEntries(ctx, audit.Query{Newest: true, Limit: 2})
	if err != nil || len(last) == 0 {
		return log, err
	}
	var before audit.Head
	if len(last) > 1 {
		before = last[1].Head()
	}
	if last[0].Seq == before.Seq+1 && !audit.NewChain(key).Follows(before, &last[0]) {
		return nil, fmt.Errorf("-audit-key: the log in the database was not written with the key in %s; nothing was done", keyFile)
	}
	return log, nil
}

// tell puts an event into the audit log, if there is one.
func (op *operation) tell(ctx context.Context, e authkit.Event) {
	if op.log != nil {
		op.log.OnEvent(ctx, e)
	}
}

// done writes what was done to the audit log, whatever came of the rest.
func (op *operation) done(ctx context.Context, err error) error {
	if op.log == nil {
		return err
	}
	if failed := op.log.Flush(context.WithoutCancel(ctx)); failed != nil {
		return errors.Join(err, fmt.Errorf("it was done, and is not in the audit log: %w", failed))
	}
	return err
}

// user finds an account by its ID or its e-mail address.
func (op *operation) user(ctx context.Context, name string) (authkit.User, error) {
	return findUser(ctx, op.store, name)
}

func findUser(ctx context.Context, store authkit.UserStore, name string) (authkit.User, error) {
	if email, err := authkit.NormalizeEmail(name); err == nil {
		u, err := store.UserByEmail(ctx, email)
		if !errors.Is(err, authkit.ErrUserNotFound) {
			return u.User, err
		}
	}
	u, err := store.UserByID(ctx, name)
	if errors.Is(err, authkit.ErrUserNotFound) {
		return authkit.User{}, fmt.Errorf("no account %q; authkit list-users lists them", printable(name))
	}
	return u.User, err
}

// explain returns the text of an error, with what to do about it where that is known.
func explain(err error) string {
	text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", "; "), "authkit: ")
	switch {
	case errors.Is(err, authkit.ErrEmailTaken):
		text += "; authkit set-password gives the account that has it a new password"
	case errors.Is(err, authkit.ErrSessionNotFound):
		text += "; authkit list-sessions lists those that the user has"
	case errors.Is(err, context.DeadlineExceeded):
		text += "; are the database and Redis up?"
	}
	return printable(text)
}
