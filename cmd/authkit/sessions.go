package main

import (
	"context"
	"fmt"
)

func listSessions(ctx context.Context, c *call) error {
	c.sessionFlags()
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	u, err := findUser(ctx, store, args[0])
	if err != nil {
		return err
	}
	from, err := c.sessions(ctx, store)
	if err != nil {
		return err
	}
	sessions, err := from.SessionsByUser(ctx, u.ID)
	if err != nil {
		return err
	}
	t, err := c.table("id", "device", "address", "created_at", "last_used_at", "expires_at", "absolute_expires_at")
	for _, s := range sessions {
		if err == nil {
			err = t.row(s.ID, s.Device, s.Address, s.CreatedAt, s.LastUsedAt, s.ExpiresAt, s.AbsoluteExpiresAt)
		}
	}
	return err
}

func revoke(ctx context.Context, c *call) error {
	c.sessionFlags()
	c.auditFlags()
	all := c.flags.Bool("all", false, "end all sessions, and refuse every token issued so far")
	args, err := c.parse(1, -1)
	if err != nil {
		return err
	}
	switch {
	case *all && len(args) > 1:
		return usagef("-all ends all sessions; omit the IDs")
	case !*all && len(args) == 1:
		return usagef("no session; pass IDs from authkit list-sessions, or -all")
	}
	ctx, op, err := c.operation(ctx)
	if err != nil {
		return err
	}
	u, err := op.user(ctx, args[0])
	if err != nil {
		return err
	}
	if *all {
		return op.done(ctx, op.kit.LogoutEverywhere(ctx, u.ID))
	}
	for _, id := range args[1:] {
		if err := op.kit.Logout(ctx, u.ID, id); err != nil {
			return op.done(ctx, fmt.Errorf("%s: %w; the ones before it were ended", printable(id), err))
		}
	}
	return op.done(ctx, nil)
}
