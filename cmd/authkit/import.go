package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/authkit-go/authkit"
)

const (
	importBatch   = 500
	maxImportLine = 1 << 20
	maxLineFaults = 10
)

// rows are accounts to import, with their line numbers.
type rows struct {
	users []authkit.StoredUser
	lines []int
}

func importUsers(ctx context.Context, c *call) error {
	c.databaseFlags()
	c.auditFlags()
	check := c.flags.Bool("check", false, "check the input, and import nothing; needs no database")
	skip := c.flags.Bool("skip-existing", false, "skip accounts whose address is taken, such as those of an interrupted import")
	args, err := c.parse(0, 1)
	if err != nil {
		return err
	}
	input := c.stdin
	if len(args) > 0 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		input = f
	} else if isTerminal(input) {
		return usagef("no input; pass a file, or write to standard input")
	}
	all, err := readRows(input)
	if err != nil {
		return fmt.Errorf("%w; nothing was imported", err)
	}
	// All rows are checked before any is stored.
	checker, err := c.kit(authkit.Config{Users: nowhere{}})
	if err != nil {
		return err
	}
	if err := checker.ImportUsers(ctx, all.users); err != nil {
		return fmt.Errorf("%w; nothing was imported", all.locate(err, 0))
	}
	imported, skipped := 0, 0
	if !*check {
		ctx, op, err := c.operation(ctx)
		if err != nil {
			return err
		}
		if *skip {
			if skipped, err = all.skipExisting(ctx, op.store); err != nil {
				return err
			}
		}
		if imported, err = c.importRows(ctx, op, all); err != nil {
			return fmt.Errorf("%w; %d accounts were imported before it; fix it, and run the command again with -skip-existing", err, imported)
		}
	}
	t, err := c.table("read", "imported", "skipped")
	if err != nil {
		return err
	}
	return t.row(len(all.users)+skipped, imported, skipped)
}

// importRows stores the rows in batches, and returns how many it stored.
func (c *call) importRows(ctx context.Context, op *operation, all *rows) (imported int, err error) {
	p := c.progress("accounts", len(all.users))
	defer func() { p.end(imported) }()
	for imported < len(all.users) {
		end := min(imported+importBatch, len(all.users))
		err := op.kit.ImportUsers(ctx, all.users[imported:end]) // all of them or none
		if err = op.done(ctx, err); err != nil {
			return imported, all.locate(err, imported)
		}
		imported = end
		p.at(imported)
	}
	return imported, nil
}

// skipExisting removes the rows whose address is taken.
func (r *rows) skipExisting(ctx context.Context, store authkit.UserStore) (skipped int, err error) {
	var left rows
	for i, u := range r.users {
		email, err := authkit.NormalizeEmail(u.Email)
		if err == nil {
			_, err = store.UserByEmail(ctx, email)
		}
		switch {
		case err == nil:
			skipped++
		case errors.Is(err, authkit.ErrUserNotFound):
			left.users, left.lines = append(left.users, u), append(left.lines, r.lines[i])
		default:
			return 0, err
		}
	}
	*r = left
	return skipped, nil
}

// locate adds the line numbers to the errors of an import that began at row
// from.
func (r *rows) locate(err error, from int) error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, err := range several.Unwrap() {
			errs = append(errs, r.locate(err, from))
		}
		return errors.Join(errs...)
	}
	failed, ok := errors.AsType[*authkit.ImportError](err)
	if !ok {
		return err
	}
	hint := ""
	switch {
	case errors.Is(err, authkit.ErrEmailTaken):
		hint = ", by an existing account, or on an earlier line"
	case errors.Is(err, authkit.ErrUnknownScheme):
		hint = "; the schemes are bcrypt, pbkdf2-sha256 (passlib or Django) and argon2id"
	}
	return fmt.Errorf("line %d: %w%s", r.lines[from+failed.Row], failed.Err, hint)
}

// readRows reads the lines. It reports errors of several lines at once, without
// the values in them. It skips a byte order mark.
func readRows(r io.Reader) (*rows, error) {
	all := new(rows)
	var errs []error
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxImportLine)
	line := 0
	for scan.Scan() {
		line++
		text := scan.Bytes()
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		u, faults := readAccount(text)
		for _, err := range faults {
			if errs = append(errs, fmt.Errorf("line %d: %w", line, err)); len(errs) == maxLineFaults {
				return nil, errors.Join(errs...)
			}
		}
		all.lines = append(all.lines, line)
		all.users = append(all.users, u)
	}
	if err := scan.Err(); err != nil {
		errs = append(errs, fmt.Errorf("line %d: %w", line+1, err))
	}
	return all, errors.Join(errs...)
}

// nowhere is an empty store that accepts everything and stores nothing.
type nowhere struct{ authkit.UserStore }

func (nowhere) CreateUser(context.Context, authkit.StoredUser) error { return nil }

func (nowhere) UserByID(context.Context, string) (authkit.StoredUser, error) {
	return authkit.StoredUser{}, authkit.ErrUserNotFound
}

func (nowhere) UserByEmail(context.Context, string) (authkit.StoredUser, error) {
	return authkit.StoredUser{}, authkit.ErrUserNotFound
}
