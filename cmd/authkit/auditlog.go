package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/audit/trail"
)

// auditPage is the number of entries that are read at once.
const auditPage = 500

func auditList(ctx context.Context, c *call) error {
	c.databaseFlags()
	c.auditLog = true
	user := c.flags.String("user", "", "list only the entries with this `user` as actor or target")
	limit := c.flags.Int("limit", 100, "maximum `number` of entries; 0 means all")
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	if *limit < 0 {
		return usagef("-limit %d; use 0 or more", *limit)
	}
	db, err := c.open(ctx)
	if err != nil {
		return err
	}
	query := audit.Query{Newest: true, UserID: *user}
	if *user != "" {
		u, err := findUser(ctx, db, *user)
		switch {
		case err == nil:
			query.UserID = u.ID
		case !errors.Is(err, authkit.ErrUserNotFound): // otherwise the ID of a deleted account, or an actor
			return err
		}
	}
	t, err := c.table("seq", "time", "kind", "outcome", "reason", "route", "actor_id", "target_id", "session_id", "address", "agent", "request_id")
	if err != nil {
		return err
	}
	log := auditsql.New(db)
	for listed := 0; ; {
		query.Limit = auditPage
		if *limit > 0 {
			query.Limit = min(auditPage, *limit-listed)
		}
		page, err := log.AuditEntries(ctx, query)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			err := t.row(e.Seq, e.Time, e.Kind, e.Outcome, e.Reason, e.Route, e.ActorID, e.TargetID, e.SessionID, e.Address, e.Agent, e.RequestID)
			if err != nil {
				return err
			}
		}
		listed += len(page)
		query.Before = page[len(page)-1].Seq
		if query.Before <= 1 { // zero would mean all
			return nil
		}
	}
}

// heads is a flag that collects heads of an audit log.
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
	c.flags.Var(&kept, "head", "earlier `head` of the log, as this command printed it; may be repeated")
	args, err := c.parse(0, 1)
	if err != nil {
		return err
	}
	if c.auditKey == "" {
		return usagef("no key; pass -audit-key with the file of the key of the log")
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
	faults := make([]string, len(report.Problems))
	for i, f := range report.Problems {
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
