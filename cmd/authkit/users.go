package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// workers are how many look-ups run at once.
const workers = 8

// pageSize is how many accounts are read at once.
const pageSize = 500

// texts is a flag that may be given several times.
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
	c.flags.Var(&roles, "role", "`role`; may be given several times")
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	if u.Email == "" {
		return usagef("no address; give -email")
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
	u, err := op.user(ctx, args[0]) // ahead of the question
	if err != nil {
		return err
	}
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	return op.done(ctx, op.kit.SetPassword(ctx, u.ID, password))
}

func disable(ctx context.Context, c *call) error {
	return forUsers(ctx, c, func(ctx context.Context, op *operation, id string) error {
		return op.kit.DisableUser(ctx, id)
	})
}

func enable(ctx context.Context, c *call) error {
	return forUsers(ctx, c, func(ctx context.Context, op *operation, id string) error {
		_, err := op.store.UpdateUser(ctx, id, authkit.UserUpdate{Disabled: new(false)}, time.Now().UTC())
		if err == nil {
			op.tell(ctx, authkit.Event{Kind: "user_enabled", UserID: id})
		}
		return err
	})
}

// forUsers does something to each of the accounts that are named, once all of them are found.
func forUsers(ctx context.Context, c *call, do func(ctx context.Context, op *operation, id string) error) error {
	c.sessionFlags()
	c.auditFlags()
	args, err := c.parse(1, -1)
	if err != nil {
		return err
	}
	ctx, op, err := c.operation(ctx)
	if err != nil {
		return err
	}
	var ids []string
	var errs []error
	for _, name := range args {
		u, err := op.user(ctx, name)
		ids, errs = append(ids, u.ID), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("nothing was done: %w", err)
	}
	for i, id := range ids {
		if err := do(ctx, op, id); err != nil {
			return op.done(ctx, fmt.Errorf("%s: %w; those before it were done", printable(args[i]), err))
		}
	}
	return op.done(ctx, nil)
}

func listUsers(ctx context.Context, c *call) error {
	c.databaseFlags()
	after := c.flags.String("after", "", "begin behind the account with this `ID`")
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
	listed := 0
	return eachPage(ctx, store, *after, func(page []authkit.User) (bool, error) {
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

// eachPage calls do with all accounts, page by page, for as long as it returns true.
func eachPage(ctx context.Context, store authkit.UserStore, after string, do func([]authkit.User) (bool, error)) error {
	for {
		page, err := store.ListUsers(ctx, authkit.UserQuery{After: after, Limit: pageSize})
		if err != nil || len(page) == 0 {
			return err
		}
		more, err := do(page)
		if err != nil || !more {
			return err
		}
		after = page[len(page)-1].ID
	}
}
