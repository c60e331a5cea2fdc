// Authkit is the command-line tool for operators of a service that uses package
// authkit. It manages accounts and sessions, rotates keys, reads the audit log,
// and finds problems. It works on the database of the service while the service
// runs. See README.md in the directory above, or run
//
//	authkit help
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

func main() {
	redis.SetLogger(quiet{}) // the errors say the same
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	stop()
	os.Exit(code)
}

// A command is a command of the tool.
type command struct {
	name, args, help string
	run              func(ctx context.Context, c *call) error
}

// commands returns all commands, in the order of the usage.
func commands() []command {
	return []command{
		{"create-user", "-email ADDRESS [-name NAME] [-role ROLE]...", "create an account; prompts for the password, or reads it from standard input", createUser},
		{"set-password", "USER", "set the password of an account, and log its user out everywhere", setPassword},
		{"set-email", "USER ADDRESS", "change the e-mail address of an account", setEmail},
		{"set-name", "USER NAME", "change the full name of an account", setName},
		{"set-roles", "USER [ROLE]...", "replace the roles of an account", setRoles},
		{"add-role", "USER ROLE", "add a role to an account", addRole},
		{"remove-role", "USER ROLE", "remove a role from an account", removeRole},
		{"disable", "USER...", "disable accounts, and log their users out everywhere", disable},
		{"enable", "USER...", "enable accounts again; their users must log in", enable},
		{"lock", "USER", "refuse logins of an account for a time; its sessions do not end", lock},
		{"unlock", "USER...", "end the lock of accounts", unlock},
		{"delete", "USER...", "permanently delete accounts with their sessions", deleteUsers},
		{"list-users", "", "list accounts", listUsers},
		{"list-sessions", "USER", "list the sessions of a user", listSessions},
		{"revoke", "[--] USER SESSION... | -all USER", "end sessions of a user, or every session and token", revoke},
		{"apikeys list", "USER", "list the API keys of a user", listKeys},
		{"apikeys create", "[-scope PERMISSION]... USER", "create an API key for a user, and print it once", createKey},
		{"apikeys revoke", "USER KEY...", "revoke API keys of a user", revokeKeys},
		{"apikeys import", "[FILE]", "import API keys by their hashes, one JSON object per line", importKeys},
		{"factors list", "USER", "list the second factors of a user", listFactors},
		{"factors reset", "USER", "remove all second factors of a user, and log the user out everywhere", resetFactors},
		{"rotate-key", "FILE", "create a new signing key, and keep the old one to verify", rotateKey},
		{"hash", "", "hash a password", hashPassword},
		{"doctor", "", "check the database, the accounts and the signing key for problems", checkAll},
		{"rehash-report", "", "count the password hashes by scheme and cost, and those due for a rehash", rehashReport},
		{"import", "[FILE]", "import accounts with their hashes, one JSON object per line", importUsers},
		{"migrate", "", "create or update the tables", migrate},
		{"audit list", "", "list the audit log in the database, the newest entry first", auditList},
		{"audit verify", "-audit-key FILE [FILE]", "verify the audit log, in the database or in a file", auditVerify},
		{"contract", "-user NAME -route 'METHOD PATH ACCESS'...", "attack a running server, and report what it withstood", attack},
		{"version", "", "print the version of the command", version},
	}
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the command failed, or found a problem
	exitUsage  = 2
)

var (
	// errFound is returned by a command that did its work and found a problem.
	errFound = errors.New("problems were found")

	errHelp = errors.New("help was asked for")
)

// A usageError is the error of a wrong command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// run runs a command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		if len(args) == 1 {
			usage(stdout)
			return exitOK
		}
		args = append(args[1:], "-help")
	}
	cmd, rest, ok := find(args)
	if !ok {
		fmt.Fprintf(stderr, "authkit: unknown command %q; see: authkit help\n", printable(args[0]))
		return exitUsage
	}
	c := newCall(cmd, rest, stdin, stdout, stderr, env)
	err := errors.Join(cmd.run(ctx, c), c.close())
	usage, isUsage := errors.AsType[usageError](err)
	switch {
	case err == nil, errors.Is(err, errHelp):
		return exitOK
	case isUsage:
		fmt.Fprintf(stderr, "authkit %s: %s; see: authkit help %s\n", cmd.name, usage.text, cmd.name)
		return exitUsage
	case errors.Is(err, errFound):
		return exitFailed
	case ctx.Err() != nil:
		fmt.Fprintf(stderr, "authkit %s: interrupted\n", cmd.name)
		return exitFailed
	}
	fmt.Fprintf(stderr, "authkit %s: %s\n", cmd.name, explain(err))
	return exitFailed
}

// find returns the command that a command line begins with.
func find(args []string) (cmd command, rest []string, ok bool) {
	for _, cmd := range commands() {
		words := strings.Fields(cmd.name)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == cmd.name {
			return cmd, args[len(words):], true
		}
	}
	return command{}, nil, false
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Authkit manages the accounts, sessions and keys of a service.\n\n"+
		"\tauthkit COMMAND [flags] [arguments]\n\nThe commands are:\n\n")
	for _, cmd := range commands() {
		fmt.Fprintf(w, "\t%-14s %s\n", cmd.name, cmd.help)
	}
	fmt.Fprint(w, "\nSet the database with -db or the variable DATABASE_URL:\n"+
		"sqlite:FILE, postgres://… or mysql://…. Sessions are there, or in the Redis of\n"+
		"REDIS_URL. A USER is an ID or an e-mail address.\n"+
		"Passwords are prompted for on a terminal, and otherwise read from standard input.\n"+
		"For the flags of a command: authkit help COMMAND.\n\n"+
		"The exit code is 0, or 1 for a failure or a problem found, or 2 for a wrong command line.\n")
}

// parse parses the command line and returns its arguments. Flags may stand
// between them. All words after "--" are arguments. It checks the number of
// arguments; if most is negative, any number is fine.
func (c *call) parse(least, most int) ([]string, error) {
	args, behind := c.args, []string(nil)
	if i := slices.Index(args, "--"); i >= 0 {
		args, behind = args[:i], args[i+1:]
	}
	var given []string
	for {
		if err := c.flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprintf(c.stdout, "%s: %s\n\n\tauthkit %s %s\n\n", c.cmd.name, c.cmd.help, c.cmd.name, strings.TrimSpace(c.cmd.args+" [flags]"))
				c.flags.SetOutput(c.stdout)
				c.flags.PrintDefaults()
				return nil, errHelp
			}
			return nil, usagef("%s", printable(err.Error()))
		}
		if c.flags.NArg() == 0 {
			break
		}
		given, args = append(given, c.flags.Arg(0)), c.flags.Args()[1:]
	}
	given = append(given, behind...)
	switch {
	case len(given) < least:
		return nil, usagef("too few arguments; the command is: %s %s", c.cmd.name, c.cmd.args)
	case most >= 0 && len(given) > most:
		return nil, usagef("too many arguments; the command is: %s", strings.TrimSpace(c.cmd.name+" "+c.cmd.args)) // one may be a password
	}
	return given, nil
}
