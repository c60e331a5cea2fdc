package main

import (
	"context"
	"strings"

	"github.com/authkit-go/authkit"
)

// pageSize is the number of accounts that are read at once.
const pageSize = 500

// texts is a flag that may be repeated.
type texts []string

func (t *texts) String() string     { return strings.Join(*t, ",") }
func (t *texts) Set(s string) error { *t = append(*t, s); return nil }

func createUser(ctx context.Context, c *call) error {
	c.databaseFlags()
	c.passwordFlags()
	c.auditFlags()
	var u authkit.User
	var roles texts
	c.flags.StringVar(&u.Email, "email", "", "e-mail `address`")
	c.flags.StringVar(&u.FullName, "name", "", "full `name`")
	c.flags.Var(&roles, "role", "`role`; may be repeated")
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	if u.Email == "" {
		return usagef("no address; pass -email")
	}
	ctx, op, err := c.operation(ctx)
	if err != nil {
		return err
	}
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	u.Roles = roles
	u, err = op.kit.CreateUser(ctx, u, password)
	if err = op.done(ctx, err); err != nil {
		return err
	}
	t, err := c.table("id", "email")
	if err != nil {
		return err
	}
	return t.row(u.ID, u.Email)
}

func setPassword(ctx context.Context, c *call) error {
	c.sessionFlags()
	c.passwordFlags()
	c.auditFlags()
	args, err := c.parse(1, 1)
	if err != nil {
		return err
	}
	ctx, op, err := c.operation(ctx)
	if err != nil {
		return err
	}
	u, err := op.user(ctx, args[0]) // before the confirmation
	if err != nil {
		return err
	}
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	return op.done(ctx, op.kit.SetPassword(ctx, u.ID, password))
}

func listUsers(ctx context.Context, c *call) error {
	c.databaseFlags()
	var q authkit.UserQuery
	c.flags.StringVar(&q.After, "after", "", "start after the account with this `ID`")
	c.flags.StringVar(&q.EmailPrefix, "email", "", "list only accounts whose address begins with this `text`")
	c.flags.StringVar(&q.Role, "role", "", "list only accounts with this `role`")
	limit := c.flags.Int("limit", 0, "list at most so many accounts; 0 means all")
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	if *limit < 0 {
		return usagef("-limit %d; use 0 or more", *limit)
	}
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	t, err := c.table("id", "email", "full_name", "roles", "disabled", "created_at", "updated_at")
	if err != nil {
		return err
	}
	q.EmailPrefix = strings.ToLower(q.EmailPrefix)
	listed := 0
	return eachPage(ctx, store, q, func(page []authkit.User) (bool, error) {
		for _, u := range page {
			if err := t.row(u.ID, u.Email, u.FullName, u.Roles, u.Disabled, u.CreatedAt, u.UpdatedAt); err != nil {
				return false, err
			}
			if listed++; listed == *limit {
				return false, nil
			}
		}
		return true, nil
	})
}

// eachPage calls do with the accounts that q selects, page by page, until it
// returns false.
func eachPage(ctx context.Context, store authkit.UserStore, q authkit.UserQuery, do func([]authkit.User) (bool, error)) error {
	q.Limit = pageSize
	for {
		page, err := store.ListUsers(ctx, q)
		if err != nil || len(page) == 0 {
			return err
		}
		more, err := do(page)
		if err != nil || !more {
			return err
		}
		q.After = page[len(page)-1].ID
	}
}
