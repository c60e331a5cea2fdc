package sqlstore

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/authkit-go/authkit"
)

const (
	userValues = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`

	// nextRow begins every row of values but the first.
	nextRow = `), (?`
)

// errBatch is for accounts of one batch that have the same ID.
var errBatch = errors.New("two accounts have the same ID")

// CreateUsers implements [authkit.UserBatchStore] by one statement.
func (db *DB) CreateUsers(ctx context.Context, users []authkit.StoredUser) error {
	if len(users) == 0 {
		return ctx.Err()
	}
	ids, emails := make(map[string]bool, len(users)), make(map[string]bool, len(users))
	args := make([]any, 0, 12*len(users))
	for i := range users {
		u := &users[i]
		row, err := db.userArgs(u)
		if err != nil {
			return failure(err)
		}
		if emails[u.Email] {
			return authkit.ErrEmailTaken
		}
		if ids[u.ID] {
			return failure(errBatch)
		}
		ids[u.ID], emails[u.Email] = true, true
		args = append(args, row...)
	}
	query := `INSERT INTO {users} (tenant, ` + userColumns + `) VALUES ` + userValues + strings.Repeat(`, `+userValues, len(users)-1)
	err := db.run(ctx, func(c conn) error {
		return c.withSavepoint(ctx, true, func() error {
			_, err := c.exec(ctx, query, args...)
			return err
		})
	})
	if err != nil && ctx.Err() == nil {
		return db.anyEmailTaken(ctx, users, err)
	}
	return err
}

// userArgs returns the values of a new account, or why it cannot be stored.
func (db *DB) userArgs(u *authkit.StoredUser) ([]any, error) {
	if u.ID == "" {
		return nil, errUserID
	}
	if !storable(u.ID, u.Email, u.FullName, string(u.PasswordHash)) || !storable(u.Roles...) {
		return nil, errUserText
	}
	roles, err := encodeRoles(u.Roles)
	return []any{
		db.opts.Tenant, u.ID, u.Email, u.FullName, roles, u.Disabled, string(u.PasswordHash), micros(u.TokensValidAfter),
		micros(u.CreatedAt), micros(u.UpdatedAt), micros(u.EmailVerifiedAt), micros(u.LockedUntil),
	}, err
}

// anyEmailTaken is emailTaken for several accounts.
func (db *DB) anyEmailTaken(ctx context.Context, users []authkit.StoredUser, otherwise error) error {
	taken := false
	for some := range slices.Chunk(users, 500) {
		args := []any{db.opts.Tenant}
		of := make(map[string]string, len(some)) // e-mail to ID
		for i := range some {
			args = append(args, some[i].Email)
			of[some[i].Email] = some[i].ID
		}
		err := db.run(ctx, func(c conn) error {
			return c.query(ctx, func(scan func(...any) error) error {
				var id, email string
				err := scan(&id, &email)
				taken = taken || of[email] != id
				return err
			}, `SELECT id, email FROM {users} WHERE tenant = ? AND email IN (?`+strings.Repeat(`, ?`, len(some)-1)+`)`, args...)
		})
		if err != nil {
			return otherwise
		}
	}
	if taken {
		return authkit.ErrEmailTaken
	}
	return otherwise
}
