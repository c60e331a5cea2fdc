package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/apikey/apikeysql"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/org/orgsql"
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
	adminRole   string
	auditLog    bool // whether the command needs the table of the audit log
	redisPrefix string
	apiKeys     bool // whether the command needs the table of API keys
	keyPrefix   string
	keyScopes   []string // the scopes that the command grants
}

func newCall(cmd command, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) *call {
	c := &call{cmd: cmd, args: args, stdin: stdin, stdout: stdout, stderr: stderr, env: env}
	c.flags = flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	c.flags.SetOutput(io.Discard)
	c.flags.Usage = func() {}
	c.flags.BoolVar(&c.json, "json", false, "write JSON, an object to a line")
	return c
}

// close closes the connections of the command.
func (c *call) close() error {
	var errs []error
	for _, f := range c.closers {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// databaseFlags are for commands on a database.
func (c *call) databaseFlags() {
	c.flags.StringVar(&c.address, "db", "", "database: sqlite:`FILE`, postgres://… or mysql://…; prefer DATABASE_URL, which hides the password from process lists")
	c.flags.StringVar(&c.tenant, "tenant", "", "`name` of the tenant, as in sqlstore.Options")
	c.flags.StringVar(&c.prefix, "table-prefix", "", "`prefix` of the table names, as in sqlstore.Options (default authkit_)")
}

// sessionFlags are for commands on sessions, which may be elsewhere than the
// accounts.
func (c *call) sessionFlags() {
	c.databaseFlags()
	c.flags.StringVar(&c.redis, "redis", "", "address of the sessions if they are in Redis: redis://… or rediss://…; prefer REDIS_URL")
	c.flags.StringVar(&c.redisPrefix, "redis-prefix", "", "`prefix` of the key names, as in redisstore.Options (default authkit)")
}

// auditFlags are for commands that make changes.
func (c *call) auditFlags() {
	c.flags.StringVar(&c.auditKey, "audit-key", "", "`file` with the key of the audit log in the database; changes are recorded there")
}

// roleFlags are for commands that may remove an administrator.
func (c *call) roleFlags() {
	c.flags.StringVar(&c.adminRole, "admin-role", "", "`role` of administrators, as in authkit.Config (default admin); the last one stays")
}

// hasherFlags are for commands that make or check hashes.
func (c *call) hasherFlags() {
	c.flags.StringVar(&c.scheme, "scheme", "bcrypt", "scheme of new hashes, as in the service: bcrypt, argon2id or pbkdf2-sha256")
	c.flags.IntVar(&c.cost, "cost", 0, "cost of bcrypt, or rounds of pbkdf2-sha256; 0 means the default")
}

// passwordFlags are for commands that read a password of a user.
func (c *call) passwordFlags() {
	c.hasherFlags()
	c.flags.IntVar(&c.minPassword, "min-password-length", 0, "minimum length of a password, as in authkit.Config (default 8)")
}

// hasher returns the hasher of the flags. Every scheme is read.
func (c *call) hasher() (authkit.Hasher, error) {
	bcrypt, pbkdf2 := authkit.Bcrypt{}, authkit.PBKDF2SHA256{}
	switch c.scheme {
	case "": // for a command that makes none: the dummy hash of New is not stored
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

// kit returns a Kit on stores. No service accepts its tokens: its secret is
// random.
func (c *call) kit(cfg authkit.Config) (*authkit.Kit, error) {
	var err error
	if cfg.Passwords.Hasher, err = c.hasher(); err != nil {
		return nil, err
	}
	if len(cfg.Secret) == 0 && len(cfg.Tokens.Keys) == 0 {
		cfg.Secret = []byte(rand.Text() + rand.Text())
	}
	cfg.Passwords.MinLength, cfg.AdminRole = c.minPassword, c.adminRole
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler) // every failure is also an error
	}
	kit, err := authkit.New(cfg)
	if err != nil {
		return nil, usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return kit, nil
}

// An operation holds the stores of a command that makes a change.
type operation struct {
	store *sqlstore.DB
	kit   *authkit.Kit
	log   *audit.Log            // nil if there is none
	auth  *apikey.Authenticator // nil if the database has no API keys

	factors factorSet
}

// operation opens the database. The context that it returns names the actor and
// the client.
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
		cfg.OnEvent = []func(context.Context, authkit.Event){op.log.OnEvent}
	}
	missing, err := store.Pending(ctx, apikeysql.Migrations())
	if err == nil && len(missing) == 0 { // so that deleting an account deletes its keys
		err = c.withKeys(op, &cfg)
	}
	if err != nil {
		return ctx, nil, err
	}
	if op.factors, err = factors(ctx, store); err != nil {
		return ctx, nil, err
	}
	op.factors.configure(&cfg)
	missing, err = store.Pending(ctx, orgsql.Migrations())
	if err != nil {
		return ctx, nil, err
	}
	if len(missing) == 0 { // so that deleting an account ends its memberships
		cfg.UserData = append(cfg.UserData, org.UserData(orgsql.New(store)))
	}
	if op.kit, err = c.kit(cfg); err != nil {
		return ctx, nil, err
	}
	agent, actor := "authkit command", "cli"
	if name := cmp.Or(c.env("SUDO_USER"), c.env("USER"), c.env("USERNAME")); name != "" {
		agent, actor = agent+", run by "+name, actor+":"+name
	}
	return authkit.WithClient(authkit.WithSystem(ctx, actor), authkit.ClientInfo{Device: agent}), op, nil
}

// openLog returns the audit log in the database. It returns an error for a log
// that was written with another key: no key would verify all of it then.
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
		return nil, fmt.Errorf("-audit-key: the log in the database was written with another key than that in %s; nothing was changed", keyFile)
	}
	return log, nil
}

// done writes the events of the operation to the audit log. It returns err,
// joined with an error of the log.
func (op *operation) done(ctx context.Context, err error) error {
	if op.log == nil {
		return err
	}
	if failed := op.log.Flush(context.WithoutCancel(ctx)); failed != nil {
		return errors.Join(err, fmt.Errorf("the change was made, but is not in the audit log: %w", failed))
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
		return authkit.User{}, noUserError{name}
	}
	return u.User, err
}

// A noUserError is the error of a command line that names no account.
type noUserError struct{ name string }

func (e noUserError) Error() string {
	return fmt.Sprintf("no account %q; authkit list-users lists them", printable(e.name))
}

func (noUserError) Unwrap() error { return authkit.ErrUserNotFound }

// explain returns the text of an error, with the fix if one is known.
func explain(err error) string {
	text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", "; "), "authkit: ")
	switch {
	case errors.Is(err, authkit.ErrEmailTaken):
		text += "; authkit set-password gives the account that has it a new password"
	case errors.Is(err, authkit.ErrSessionNotFound):
		text += "; authkit list-sessions lists those that the user has"
	case errors.Is(err, authkit.ErrLastAdmin):
		text += "; give the role to another account with authkit add-role"
	case errors.Is(err, authkit.ErrConflict):
		text += "; run the command again"
	case errors.Is(err, context.DeadlineExceeded):
		text += "; check that the database and Redis are up"
	}
	return printable(text)
}
