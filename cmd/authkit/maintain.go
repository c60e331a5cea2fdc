package main

import (
	"context"
	"fmt"

	"github.com/authkit-go/authkit/account/accountsql"
	"github.com/authkit-go/authkit/apikey/apikeysql"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/org/orgsql"
	"github.com/authkit-go/authkit/passkey/passkeysql"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/totp/totpsql"
	"github.com/authkit-go/authkit/trusteddevice/trusteddevicesql"
)

func migrate(ctx context.Context, c *call) error {
	c.databaseFlags()
	only := c.flags.Bool("pending", false, "only list the pending migrations; the exit code is 1 if there are any")
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	store, err := c.connect(ctx, !*only)
	if err != nil {
		return err
	}
	features := []sqlstore.Migrations{auditsql.Migrations(), accountsql.Migrations(), apikeysql.Migrations(), totpsql.Migrations(), trusteddevicesql.Migrations(), passkeysql.Migrations(), orgsql.Migrations()}
	pending, err := store.Pending(ctx, features...)
	if err != nil {
		return err
	}
	if !*only {
		if err := store.Migrate(ctx, features...); err != nil {
			return fmt.Errorf("%w; check that the database user may create tables", err)
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
