package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A tool runs commands on a database, as from a shell. Everything that any of them writes is
// looked at for secrets.
type tool struct {
	t       *testing.T
	env     map[string]string
	secrets []string
	prefix  string // of the keys in Redis
}

// result is what came of a command.
type result struct {
	code           int
	stdout, stderr string
}

const password = "correct horse battery"

func newTool(t *testing.T, database string) *tool {
	return &tool{t: t, env: map[string]string{"DATABASE_URL": database}, secrets: []string{password, "$2a$", "$pbkdf2", "$argon2"}}
}

// on returns a tool on a new SQLite file, with its tables.
func onSQLite(t *testing.T) *tool {
	tl := newTool(t, "sqlite:"+filepath.Join(t.TempDir(), "auth.db"))
	tl.ok("", "migrate")
	return tl
}

func (tl *tool) run(stdin string, args ...string) result {
	tl.t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(tl.t.Context(), args, strings.NewReader(stdin), &stdout, &stderr, func(name string) string { return tl.env[name] })
	for _, secret := range tl.secrets {
		require.NotContains(tl.t, stdout.String()+stderr.String(), secret, "%q shows a secret", args)
	}
	return result{code, stdout.String(), stderr.String()}
}

// ok runs a command that has to succeed, and returns what it wrote.
func (tl *tool) ok(stdin string, args ...string) string {
	tl.t.Helper()
	r := tl.run(stdin, args...)
	require.Equal(tl.t, 0, r.code, "%q: %s", args, r.stderr)
	return r.stdout
}

// create makes an account and returns its ID.
func (tl *tool) create(email string, args ...string) string {
	tl.t.Helper()
	out := tl.ok(password+"\n", append([]string{"create-user", "-cost", "10", "-email", email}, args...)...)
	id, _, _ := strings.Cut(strings.Split(out, "\n")[1], "\t")
	return id
}

// kit returns a service on the database of the tool.
func (tl *tool) kit() *authkit.Kit {
	tl.t.Helper()
	c := newCall(command{}, nil, nil, nil, nil, func(name string) string { return tl.env[name] })
	store, err := c.open(tl.t.Context())
	require.NoError(tl.t, err)
	tl.t.Cleanup(func() { _ = c.close() })
	kit, err := authkit.New(authkit.Config{
		Secret: []byte(rand.Text() + rand.Text()), Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 10}},
		Users: store, Sessions: authkit.SessionConfig{Store: store},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(tl.t, err)
	return kit
}

// onEach runs a test on each of the databases.
func onEach(t *testing.T, test func(t *testing.T, tl *tool)) {
	for name, address := range map[string]func(t *testing.T) string{"SQLite": nil, "Postgres": postgres, "MariaDB": mariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if address == nil {
				test(t, onSQLite(t))
				return
			}
			tl := newTool(t, address(t))
			tl.ok("", "migrate")
			test(t, tl)
		})
	}
}

// server opens a server, or skips the test if it is not up.
func server(t *testing.T, driver, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no %s server: %v", driver, err)
		}
		t.Skipf("no %s server, so this is not tested: %v", driver, err)
	}
	return db
}

func mustExec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	_, err := db.ExecContext(context.Background(), query)
	require.NoError(t, err)
}

func postgres(t *testing.T) string {
	address := os.Getenv("AUTHKIT_TEST_POSTGRES")
	if address == "" {
		address = "postgres://postgres@127.0.0.1:5432/test?sslmode=disable"
	}
	admin, schema := server(t, "pgx", address), "authkit_cmd_"+strings.ToLower(rand.Text()[:12])
	mustExec(t, admin, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { mustExec(t, admin, "DROP SCHEMA "+schema+" CASCADE") })
	u, err := url.Parse(address)
	require.NoError(t, err)
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

func mariaDB(t *testing.T) string {
	address := os.Getenv("AUTHKIT_TEST_MARIADB")
	if address == "" {
		address = "root@tcp(127.0.0.1:3306)/"
	}
	admin, name := server(t, "mysql", address), "authkit_cmd_"+strings.ToLower(rand.Text()[:12])
	mustExec(t, admin, "CREATE DATABASE "+name)
	t.Cleanup(func() { mustExec(t, admin, "DROP DATABASE "+name) })
	user, rest, _ := strings.Cut(address, "@tcp(")
	host, _, _ := strings.Cut(rest, ")")
	return "mysql://" + user + "@" + host + "/" + name
}

// TestAccounts walks through the life of an account, on each of the databases.
func TestAccounts(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, tl *tool) {
		ctx := t.Context()
		out := tl.ok(password+"\n", "create-user", "-email", "Ann@Example.com", "-name", "Ann", "-role", "user", "-role", "admin", "-cost", "10")
		require.Regexp(t, `^id\temail\n[0-9a-f-]{36}\tann@example.com\n$`, out)
		bob := tl.create("bob@example.com", "-json=false")
		tl.create("zoe@example.com", "-role", "admin") // the last administrator stays
		ann := strings.Split(strings.Split(out, "\n")[1], "\t")[0]

		kit := tl.kit()
		token, err := kit.Login(ctx, "ann@example.com", password)
		require.NoError(t, err)
		require.Equal(t, []string{"user", "admin"}, token.User.Roles)

		list := tl.ok("", "list-users")
		lines := strings.Split(strings.TrimSpace(list), "\n")
		require.Len(t, lines, 4)
		require.Equal(t, "id\temail\tfull_name\troles\tdisabled\tcreated_at\tupdated_at", lines[0])
		require.Regexp(t, "^"+ann+"\tann@example.com\tAnn\tuser,admin\tfalse\t"+`20\d\d-\d\d-\d\dT[\d:]+Z\t20[\dT:-]+Z$`, lines[1])
		require.Len(t, strings.Split(strings.TrimSpace(tl.ok("", "list-users", "-limit", "1")), "\n"), 2)
		require.Contains(t, tl.ok("", "list-users", "-after", ann), bob)
		require.NotContains(t, tl.ok("", "list-users", "-after", ann), ann)
		var row map[string]any
		require.NoError(t, json.Unmarshal([]byte(tl.ok("", "list-users", "-json", "-limit", "1")), &row))
		require.Equal(t, []any{"user", "admin"}, row["roles"])
		require.Equal(t, false, row["disabled"])

		sessions := strings.Split(tl.ok("", "list-sessions", "ann@example.com"), "\n")
		require.Equal(t, "id\tdevice\taddress\tcreated_at\tlast_used_at\texpires_at\tabsolute_expires_at", sessions[0])
		session := strings.Split(sessions[1], "\t")[0]
		r := tl.run("", "revoke", "--", bob, session)
		require.Equal(t, 1, r.code, "the session of another user")
		require.Contains(t, r.stderr, "authkit list-sessions")
		require.Empty(t, tl.ok("", "revoke", "--", ann, session))
		_, err = kit.Refresh(ctx, token.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)

		require.Empty(t, tl.ok("another long password\n", "set-password", ann, "-cost", "10"))
		_, err = kit.Login(ctx, "ann@example.com", password)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		token, err = kit.Login(ctx, "ann@example.com", "another long password")
		require.NoError(t, err)
		require.Empty(t, tl.ok("", "revoke", "-all", ann))
		_, err = kit.Refresh(ctx, token.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)

		require.Empty(t, tl.ok("", "disable", ann, "bob@example.com"))
		_, err = kit.Login(ctx, "bob@example.com", password)
		require.ErrorIs(t, err, authkit.ErrUserDisabled)
		r = tl.run("", "enable", ann, "nobody@example.com", "bob@example.com")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, `nothing was changed: no account "nobody@example.com"`)
		require.Empty(t, tl.ok("", "enable", "bob@example.com"))
		_, err = kit.Login(ctx, "bob@example.com", password)
		require.NoError(t, err)
		require.Contains(t, tl.ok("", "list-users", "-limit", "1"), "\ttrue\t", "and ann is disabled still")

		r = tl.run(password, "create-user", "-email", "ann@example.com")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, "e-mail taken; authkit set-password")
	})
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "auth.db")
	tl := newTool(t, "sqlite:"+file)
	r := tl.run("", "list-users")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "run: authkit migrate")
	require.NoFileExists(t, file, "a typo makes no database")

	require.NoError(t, os.WriteFile(file, nil, 0o600))
	r = tl.run("", "migrate", "-pending")
	require.Equal(t, 1, r.code)
	require.Regexp(t, `^migration\n0001_users.sql\n`, r.stdout)
	r = tl.run("", "list-users")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "the database lacks 0001_users.sql")
	require.NoError(t, os.Remove(file))

	require.Regexp(t, `^migration\n0001_users.sql\n`, tl.ok("", "migrate"))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it holds hashes")
	require.Equal(t, "migration\n", tl.ok("", "migrate"))
	require.Equal(t, "", tl.ok("", "migrate", "-pending", "-json"))

	// Tenants and prefixes are those of the service.
	tl.create("ann@example.com", "-tenant", "blue")
	require.Equal(t, 1, tl.run("", "list-sessions", "ann@example.com").code)
	tl.ok("", "list-sessions", "-tenant", "blue", "ann@example.com")
	require.Contains(t, tl.run("", "list-users", "-table-prefix", "other_").stderr, "lacks")
}

// TestUsage: a wrong command line is told with what is right, and changes nothing.
func TestUsage(t *testing.T) {
	t.Parallel()
	tl := onSQLite(t)
	for _, tc := range []struct {
		args  string
		stdin string
		code  int
		want  string // in what is written to standard error
	}{
		{"", "", 2, "The commands are:"},
		{"frobnicate", "", 2, "authkit help"},
		{"audit", "", 2, "authkit help"},
		{"audit frobnicate", "", 2, "authkit help"},
		{"list-users -frobnicate", "", 2, "authkit help list-users"},
		{"list-users ann", "", 2, "too many arguments"},
		{"list-users -limit -1", "", 2, "-limit"},
		{"list-users -limit x", "", 2, "-limit"},
		{"list-users -db nonsense", "", 2, "sqlite:FILE"},
		{"list-users -db sqlite:", "", 2, "sqlite:auth.db"},
		{"list-users -db sqlite:there-is-none.db", "", 1, "authkit migrate"},
		{"list-users -db mysql:nonsense", "", 2, "mysql://user:password@"},
		{"list-users -db postgres://h:port/x", "", 2, "postgres://user:password@"},
		{"list-users -table-prefix Ü", "", 2, "TablePrefix"},
		{"create-user", password, 2, "-email"},
		{"create-user -email ann", password, 1, "email: must be an e-mail address"},
		{"create-user -email ann@example.com", "", 1, "no password on standard input"},
		{"create-user -email ann@example.com", "\n", 1, "no password on standard input"},
		{"create-user -email ann@example.com", "short", 1, "password: must have at least 8 characters"},
		{"create-user -email ann@example.com -min-password-length 30", password, 1, "password: must have at least 30 characters"},
		{"create-user -email ann@example.com -min-password-length 99", password, 2, "Passwords.MinLength"},
		{"create-user -email ann@example.com", "a first line\nanother line\n", 1, "more than one line"},
		{"create-user -email ann@example.com", strings.Repeat("x", 5000), 1, "more than 4096 bytes"},
		{"create-user -email ann@example.com", strings.Repeat("x", 73), 1, "at most 72 bytes"},
		{"create-user -email ann@example.com -role ad/min", password, 1, "roles: must be roles of this service"},
		{"create-user -email ann@example.com -cost 4", password, 2, "bcrypt cost 4: use 10 to 15"},
		{"create-user -email ann@example.com -scheme md5", password, 2, "argon2id or pbkdf2-sha256"},
		{"create-user -email ann@example.com -scheme argon2id -cost 3", password, 2, "-cost is for bcrypt"},
		{"create-user -email ann@example.com " + "secret-password", "", 2, "too many arguments"},
		{"set-password", password, 2, "too few arguments"},
		{"set-password nobody@example.com", password, 1, "authkit list-users"},
		{"disable", "", 2, "too few arguments"},
		{"set-roles", "", 2, "too few arguments"},
		{"set-roles nobody@example.com admin", "", 1, "authkit list-users"},
		{"add-role ann@example.com", "", 2, "too few arguments"},
		{"add-role ann@example.com admin root", "", 2, "too many arguments"},
		{"remove-role ann@example.com", "", 2, "too few arguments"},
		{"remove-role -admin-role ro/ot ann@example.com x", "", 2, "AdminRole"},
		{"set-email ann@example.com", "", 2, "too few arguments"},
		{"set-name ann@example.com", "", 2, "too few arguments"},
		{"lock", "", 2, "too few arguments"},
		{"lock ann@example.com -for tomorrow", "", 2, "-for"},
		{"unlock nobody@example.com", "", 1, "nothing was changed"},
		{"delete nobody@example.com -yes", "", 1, "nothing was changed"},
		{"audit list x", "", 2, "too many arguments"},
		{"audit list -limit -1", "", 2, "-limit"},
		{"version x", "", 2, "too many arguments"},
		{"revoke ann@example.com", "", 2, "-all"},
		{"revoke -- nobody -begins-with-a-hyphen", "", 1, "authkit list-users"},
		{"revoke nobody -begins-with-a-hyphen", "", 2, "authkit help revoke"},
		{"revoke -all ann@example.com session", "", 2, "omit the IDs"},
		{"list-sessions nobody", "", 1, "authkit list-users"},
		{"rotate-key", "", 2, "too few arguments"},
		{"hash -scheme nonsense", password, 2, "-scheme"},
		{"import -audit-key none", "", 1, "none"},
		{"import none.jsonl", "", 1, "none.jsonl"},
		{"audit verify", "", 2, "-audit-key"},
		{"rehash-report -cost 3", "", 2, "bcrypt cost 3"},
	} {
		t.Run(tc.args+"/"+tc.want, func(t *testing.T) {
			t.Parallel()
			tl := &tool{t: t, env: tl.env, secrets: []string{"a first line", "another line", "xxxxx", "secret-password"}}
			r := tl.run(tc.stdin, strings.Fields(tc.args)...)
			require.Equal(t, tc.code, r.code, r.stderr)
			require.Contains(t, r.stderr, tc.want)
			require.Empty(t, strings.TrimPrefix(r.stdout, "read\timported\tskipped\n"))
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	tl := newTool(t, "")
	for _, args := range [][]string{{"help"}, {"-h"}, {"--help"}} {
		out := tl.ok("", args...)
		for _, cmd := range commands() {
			require.Contains(t, out, cmd.name)
		}
	}
	for _, cmd := range commands() {
		words := strings.Fields(cmd.name)
		out := tl.ok("", append([]string{"help"}, words...)...)
		require.Contains(t, out, cmd.help)
		require.Contains(t, out, "-json")
		require.Equal(t, out, tl.ok("", append(words, "-h")...))
	}
}

// TestNoDatabase: the address may hold a password, which no error shows.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://ann:hunter2hunter2@127.0.0.1:1/x?sslmode=disable", "mysql://ann:hunter2hunter2@127.0.0.1:1/x",
		"postgres://ann:hunter2hunter2@127.0.0.1:port/x", "mysql://ann:hunter2hunter2@:/", "mysql://ann:hunter2hunter2@h/x?tls=hunter2hunter2",
		"hunter2hunter2", "hunter2hunter2://x", "mysql:%zzhunter2hunter2",
	} {
		tl := newTool(t, address)
		tl.secrets = append(tl.secrets, "hunter2hunter2")
		r := tl.run("", "list-users")
		require.NotZero(t, r.code, address)
		require.NotEmpty(t, r.stderr)
	}
	r := newTool(t, "").run("", "list-users")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, "DATABASE_URL")
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	tl := onSQLite(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"list-users"}, strings.NewReader(""), &stdout, &stderr, func(name string) string { return tl.env[name] })
	require.Equal(t, 1, code)
	require.Equal(t, "authkit list-users: interrupted\n", stderr.String())
}

// TestHash: the hash is all that is written, and good for the password.
func TestHash(t *testing.T) {
	t.Parallel()
	tl := &tool{t: t, env: nil, secrets: []string{password}}
	for scheme, prefix := range map[string]string{"bcrypt": "$2a$10$", "argon2id": "$argon2id$", "pbkdf2-sha256": "$pbkdf2-sha256$600000$"} {
		args := []string{"hash", "-scheme", scheme}
		if scheme == "bcrypt" {
			args = append(args, "-cost", "10")
		}
		out := tl.ok(password+"\r\n", args...)
		require.True(t, strings.HasPrefix(out, prefix), out)
		hash := authkit.PasswordHash(strings.TrimSuffix(out, "\n"))
		require.NoError(t, authkit.Schemes(authkit.Bcrypt{}, authkit.PBKDF2SHA256{}, authkit.Argon2id{}).Verify(password, hash))
	}
	var row map[string]string
	require.NoError(t, json.Unmarshal([]byte(tl.ok(password, "hash", "-json", "-cost", "10")), &row))
	require.NoError(t, authkit.Bcrypt{}.Verify(password, authkit.PasswordHash(row["hash"])))
}

// TestTexts: what strangers chose, such as the name of a device, moves no cursor and makes no column.
func TestTexts(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a  [31mb c d  ", cell("a\x1b\x07[31mb\tc\nd\u202e\xff"))
	require.Equal(t, "2026-01-02T03:04:05Z", cell(time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600))))

	var b bytes.Buffer
	p := &progress{w: &b, total: 200, what: "accounts"}
	p.at(10) // the first was never shown
	p.at(20) // too soon
	p.end(200)
	require.Equal(t, "10 of 200 accounts (5 %)\n200 of 200 accounts (100 %)\n", b.String())
	b.Reset()
	p = &progress{w: &b, total: 200, what: "accounts", bar: true}
	p.at(50)
	p.end(200)
	require.Equal(t, "\r[#######.......................]  25 %  50 of 200 accounts"+
		"\r[##############################] 100 %  200 of 200 accounts\n", b.String())
}

// TestReadme: every command is in the README, with a line that shows its use.
func TestReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for _, cmd := range commands() {
		require.Regexp(t, "`authkit "+regexp.QuoteMeta(cmd.name)+`\b`, string(text), cmd.name)
	}
}
