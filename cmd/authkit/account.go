package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// A change changes one account, with the arguments that follow its name.
type change func(ctx context.Context, op *operation, u authkit.User, args []string) error

// changeUser runs a change on the account of the first argument.
func changeUser(ctx context.Context, c *call, least, most int, do change) error {
	c.databaseFlags()
	c.auditFlags()
	args, err := c.parse(least, most)
	if err != nil {
		return err
	}
	ctx, op, err := c.operation(ctx)
	if err != nil {
		return err
	}
	u, err := op.user(ctx, args[0])
	if err != nil {
		return err
	}
	return op.done(ctx, do(ctx, op, u, args[1:]))
}

func setRoles(ctx context.Context, c *call) error {
	c.roleFlags()
	return changeUser(ctx, c, 1, -1, func(ctx context.Context, op *operation, u authkit.User, roles []string) error {
		_, err := op.kit.SetRoles(ctx, u.ID, roles...)
		return err
	})
}

func addRole(ctx context.Context, c *call) error {
	c.roleFlags()
	return changeUser(ctx, c, 2, 2, func(ctx context.Context, op *operation, u authkit.User, role []string) error {
		_, err := op.kit.AddRole(ctx, u.ID, role[0])
		return err
	})
}

func removeRole(ctx context.Context, c *call) error {
	c.roleFlags()
	return changeUser(ctx, c, 2, 2, func(ctx context.Context, op *operation, u authkit.User, role []string) error {
		_, err := op.kit.RemoveRole(ctx, u.ID, role[0])
		return err
	})
}

func setEmail(ctx context.Context, c *call) error {
	verified := c.flags.Bool("verified", false, "record that the user reads the mail of the new address")
	return changeUser(ctx, c, 2, 2, func(ctx context.Context, op *operation, u authkit.User, email []string) error {
		u, err := op.kit.SetEmail(ctx, u.ID, email[0])
		if err == nil && *verified {
			_, err = op.kit.VerifyEmail(ctx, u.ID, u.Email)
		}
		return err
	})
}

func setName(ctx context.Context, c *call) error {
	return changeUser(ctx, c, 2, 2, func(ctx context.Context, op *operation, u authkit.User, name []string) error {
		_, err := op.kit.SetFullName(ctx, u.ID, name[0])
		return err
	})
}

func lock(ctx context.Context, c *call) error {
	life := c.flags.Duration("for", 24*time.Hour, "how long the lock lasts")
	return changeUser(ctx, c, 1, 1, func(ctx context.Context, op *operation, u authkit.User, _ []string) error {
		if *life <= 0 {
			return usagef("-for %v; use a positive time, or authkit unlock", *life)
		}
		_, err := op.kit.LockUser(ctx, u.ID, time.Now().Add(*life))
		return err
	})
}

func unlock(ctx context.Context, c *call) error {
	return forUsers(ctx, c, nil, func(ctx context.Context, op *operation, id string) error {
		_, err := op.kit.UnlockUser(ctx, id)
		return err
	})
}

func disable(ctx context.Context, c *call) error {
	c.roleFlags()
	return forUsers(ctx, c, nil, func(ctx context.Context, op *operation, id string) error {
		return op.kit.DisableUser(ctx, id)
	})
}

func enable(ctx context.Context, c *call) error {
	return forUsers(ctx, c, nil, func(ctx context.Context, op *operation, id string) error {
		_, err := op.kit.EnableUser(ctx, id)
		return err
	})
}

func deleteUsers(ctx context.Context, c *call) error {
	c.roleFlags()
	yes := c.flags.Bool("yes", false, "delete without confirmation; required if standard input is not a terminal")
	confirm := func(users []authkit.User) error {
		if *yes {
			return nil
		}
		return c.confirmDeletion(users)
	}
	return forUsers(ctx, c, confirm, func(ctx context.Context, op *operation, id string) error {
		return op.kit.DeleteUser(ctx, id)
	})
}

// confirmDeletion asks on the terminal whether to delete accounts.
func (c *call) confirmDeletion(users []authkit.User) error {
	if !isTerminal(c.stdin) {
		return usagef("deleting cannot be undone; pass -yes")
	}
	return askDeletion(c.stdin, c.stderr, users)
}

func askDeletion(in io.Reader, out io.Writer, users []authkit.User) error {
	emails := make([]string, len(users))
	for i, u := range users {
		emails[i] = printable(u.Email)
	}
	fmt.Fprintf(out, "Permanently delete %s? [y/N] ", strings.Join(emails, ", "))
	answer, err := bufio.NewReader(io.LimitReader(in, maxSecret)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(strings.ToLower(answer)) != "y" {
		return errors.New("nothing was deleted")
	}
	return nil
}

// forUsers runs a change on each of the named accounts, after it has found all
// of them and confirm, if not nil, has returned nil.
func forUsers(ctx context.Context, c *call, confirm func([]authkit.User) error, do func(ctx context.Context, op *operation, id string) error) error {
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
	var users []authkit.User
	var errs []error
	for _, name := range args {
		u, err := op.user(ctx, name)
		users, errs = append(users, u), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	if confirm != nil {
		if err := confirm(users); err != nil {
			return err
		}
	}
	for i, u := range users {
		if err := do(ctx, op, u.ID); err != nil {
			return op.done(ctx, fmt.Errorf("%s: %w; the ones before it were changed", printable(args[i]), err))
		}
	}
	return op.done(ctx, nil)
}
