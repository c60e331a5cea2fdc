package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/audit/trail"
)

func migrate(ctx context.Context, c *call) error {
	c.databaseFlags()
	only := c.flags.Bool("pending", false, "list the migrations that are pending, and run none; the exit code is 1 if there are any")
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	store, err := c.connect(ctx, !*only)
	if err != nil {
		return err
	}
	pending, err := store.Pending(ctx, auditsql.Migrations())
	if err != nil {
		return err
	}
	if !*only {
		if err := store.Migrate(ctx, auditsql.Migrations()); err != nil {
			return fmt.Errorf("%w; does the user of the database have the right to create tables?", err)
		}
	}
	t, err := c.table("migration")
	if err != nil {
		return err
	}
	for _, name := range pending {
		if err := t.row(name); err != nil {
			return err
		}
	}
	if *only && len(pending) > 0 {
		return errFound
	}
	return nil
}

// heads is a flag of heads of an audit log.
type heads []audit.Head

func (h *heads) String() string { return "" }

func (h *heads) Set(text string) error {
	var head audit.Head
	err := head.UnmarshalText([]byte(text))
	*h = append(*h, head)
	return err
}

func auditVerify(ctx context.Context, c *call) error {
	c.databaseFlags()
	c.auditFlags()
	var kept heads
	c.flags.Var(&kept, "head", "`head` of the log that was kept elsewhere, as this command prints it; may be given several times")
	args, err := c.parse(0, 1)
	if err != nil {
		return err
	}
	if c.auditKey == "" {
		return usagef("no key; give -audit-key, the file with the key that the log was written with")
	}
	key, err := readSecretFile(c.auditKey)
	if err != nil {
		return err
	}
	var entries iter.Seq2[audit.Entry, error]
	if len(args) > 0 {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		entries = trail.ReadEntries(f)
	} else {
		store, err := c.open(ctx)
		if err != nil {
			return err
		}
		entries = audit.All(ctx, auditsql.New(store))
	}
	report, err := trail.Verify(entries, key, kept...)
	if err != nil && !errors.Is(err, trail.ErrBroken) {
		return err
	}
	t, tableErr := c.table("entries", "head", "lost", "torn", "erased", "erased_by_log", "faults")
	if tableErr != nil {
		return tableErr
	}
	faults := make([]string, len(report.Faults))
	for i, f := range report.Faults {
		faults[i] = f.String()
	}
	if err := t.row(report.Entries, report.Head.String(), report.Lost, report.Torn, report.Erased, report.ErasedByLog, faults); err != nil {
		return err
	}
	if err != nil {
		for _, f := range faults {
			fmt.Fprintln(c.stderr, f)
		}
		return errFound
	}
	return nil
}
