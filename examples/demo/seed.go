package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/authkit-go/authkit"
)

// demoAccounts returns the two accounts of greeting.txt. Their creation time is
// in the past, because a token that is older than its account is refused.
// Tokens of an earlier run with the same secret therefore stay valid.
func demoAccounts() []authkit.StoredUser {
	created := time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)
	return []authkit.StoredUser{
		{
			User:         authkit.User{Email: "admin@example.com", FullName: "Admin User", Roles: []string{"admin", "user"}, CreatedAt: created},
			PasswordHash: "$2a$12$vHk3iLg2MWBBLkT5erYrqeICnX3DzzLZKYEe.E6XUVRyGeA8VXCdi",
		},
		{
			User:         authkit.User{Email: "user@example.com", FullName: "Regular User", Roles: []string{"user"}, CreatedAt: created},
			PasswordHash: "$2a$12$yI4vm1AWod6mXH4EATkdQOWR0F9EecYEEgWFyVbEZ.97m5s4URMiu",
		},
	}
}

// seed imports accounts into an empty store: those of the -users file, or the
// two accounts of the demo.
func seed(ctx context.Context, kit *authkit.Kit, cfg config) error {
	existing, err := kit.Users(ctx, authkit.UserQuery{Limit: 1})
	if err != nil || len(existing) > 0 {
		return err
	}
	if cfg.usersFile != "" {
		return importFile(ctx, kit, cfg.usersFile)
	}
	accounts := cfg.accounts
	if accounts == nil {
		accounts = demoAccounts()
	}
	return kit.ImportUsers(ctx, accounts)
}

// importFile stores all accounts of a file, or none. The error names the first
// invalid row.
func importFile(ctx context.Context, kit *authkit.Kit, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var rows []json.RawMessage
	if err := checkJSON(text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := json.Unmarshal(text, &rows); err != nil {
		return fmt.Errorf("%s: not a list of accounts", path)
	}
	accounts := make([]authkit.StoredUser, len(rows))
	for i, row := range rows {
		accounts[i], err = readAccount(row)
		if err != nil {
			return fmt.Errorf("%s: row %d: %w", path, i+1, err)
		}
	}
	err = kit.ImportUsers(ctx, accounts)
	if bad, ok := errors.AsType[*authkit.ImportError](err); ok {
		return fmt.Errorf("%s: row %d: %w", path, bad.Row+1, bad.Err)
	}
	return err
}

// readAccount reads a row of the file.
func readAccount(row []byte) (authkit.StoredUser, error) {
	o, ok := readObject(row)
	if !ok {
		return authkit.StoredUser{}, errors.New("not an object")
	}
	u := authkit.StoredUser{
		User: authkit.User{
			Email:    o.text("email"),
			FullName: o.text("full_name"),
			Roles:    o.texts("roles", []string{"user"}),
			Disabled: o.boolean("disabled"),
		},
		PasswordHash: authkit.PasswordHash(o.text("password_hash")),
	}
	o.rest()
	if o.faults != nil {
		return authkit.StoredUser{}, &authkit.ValidationError{Fields: o.faults}
	}
	return u, nil
}
