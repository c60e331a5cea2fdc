package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ImportUsers stores accounts of another system with their password hashes, in any form
// that [PasswordConfig].Hasher reads. A row without a hash becomes an account without a
// password. If an ID or a time is zero, ImportUsers assigns one, in the order of the rows.
//
// Every row is checked before the first one is stored. If the store has transactions, all
// rows are one change. Otherwise, the rows before the one in the error stay stored if the
// store fails.
//
// The error is an *ImportError with the index of the row. It wraps one of the errors of
// [Kit.CreateUser], ErrUnknownScheme or ErrMalformedHash. The error is ErrForbidden,
// without an index, if the principal of ctx may not grant a role of a row.
func (k *Kit) ImportUsers(ctx context.Context, users []StoredUser) error {
	rows, ids, err := k.checkImport(ctx, users)
	if err != nil {
		return err
	}
	err = k.inLongTx(ctx, len(rows), func(ctx context.Context) error {
		for i := range rows {
			if err := k.users.CreateUser(ctx, rows[i]); err != nil {
				return &ImportError{i, err}
			}
			k.emit(ctx, Event{Kind: EventUserCreated, UserID: rows[i].ID})
		}
		return nil
	})
	if err == nil {
		return nil
	}
	row, ok := errors.AsType[*ImportError](err)
	if !ok { // of the transaction
		return k.userError(ctx, err)
	}
	if ids[row.Row] && !errors.Is(row.Err, ErrEmailTaken) {
		if _, err := k.users.UserByID(ctx, rows[row.Row].ID); err == nil {
			return &ImportError{row.Row, errIDTaken()}
		}
	}
	return &ImportError{row.Row, k.userError(ctx, row.Err)}
}

// checkImport returns the rows as they are stored, and for each whether it came with an ID.
func (k *Kit) checkImport(ctx context.Context, users []StoredUser) (rows []StoredUser, withID []bool, err error) {
	rows, withID = slices.Clone(users), make([]bool, len(users))
	fresh := make([]string, len(rows))
	for i := range fresh {
		fresh[i] = NewUserID()
	}
	slices.Sort(fresh)
	ids, emails := make(map[string]bool, len(rows)), make(map[string]bool, len(rows))
	var roles []string
	for i := range rows {
		u := &rows[i]
		withID[i] = u.ID != ""
		if err := k.checkRow(ctx, u); err != nil {
			return nil, nil, &ImportError{i, err}
		}
		if emails[u.Email] {
			return nil, nil, &ImportError{i, ErrEmailTaken}
		}
		u.ID = cmp.Or(u.ID, fresh[i])
		if ids[u.ID] {
			return nil, nil, &ImportError{i, errIDTaken()}
		}
		ids[u.ID], emails[u.Email] = true, true
		if u.CreatedAt.IsZero() {
			u.CreatedAt = now()
		}
		if u.UpdatedAt.IsZero() {
			u.UpdatedAt = u.CreatedAt
		}
		roles = append(roles, without(u.Roles, roles)...)
	}
	return rows, withID, k.mayGrant(ctx, roles)
}

func errIDTaken() error { return &ValidationError{[]FieldError{{"id", "is taken"}}} }

// checkRow puts an account into its canonical form. It returns why the account cannot be
// imported, or nil.
func (k *Kit) checkRow(ctx context.Context, u *StoredUser) error {
	var fields []FieldError
	u.User, fields = k.checkUser(u.User)
	if u.ID != "" && !validSubject(u.ID) {
		fields = append(fields, FieldError{"id", fmt.Sprintf("must be UTF-8 of at most %d bytes, without control characters", maxSubjectLen)})
	}
	if leeway := time.Duration(k.verifier.leeway) * time.Second; u.CreatedAt.After(now().Add(leeway)) { // its tokens would count as those of another account (FR-10)
		fields = append(fields, FieldError{"created_at", "must not be in the future"})
	}
	if fields != nil {
		return &ValidationError{fields}
	}
	if u.PasswordHash != "" {
		if _, err := k.hasher.NeedsRehash(u.PasswordHash); err != nil {
			return err
		}
	}
	if k.tx != nil {
		return nil // the store refuses what is taken, and then stores no row
	}
	_, err := k.users.UserByEmail(ctx, u.Email)
	if err == nil {
		return ErrEmailTaken
	}
	if errors.Is(err, ErrUserNotFound) && u.ID != "" {
		if _, err = k.users.UserByID(ctx, u.ID); err == nil {
			return errIDTaken()
		}
	}
	if !errors.Is(err, ErrUserNotFound) {
		return unavailable(ctx, err)
	}
	return nil
}
