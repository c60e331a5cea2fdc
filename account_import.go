package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	importBatch     = 500 // rows of one call of a [UserBatchStore]
	maxImportErrors = 10
)

// ImportUsers stores accounts of another system with their password hashes, in
// any form that [PasswordConfig].Hasher reads. A row without a hash becomes an
// account without a password. If an ID or a time is zero, ImportUsers assigns
// one, in the order of the rows.
//
// Every row is checked before the first one is stored. If the store has
// transactions, all rows are one change. Otherwise, if the store fails, the
// rows before the one in the error stay stored.
//
// The error is an *ImportError with the index of the row. It wraps one of the
// errors of [Kit.CreateUser], ErrUnknownScheme or ErrMalformedHash. If several
// rows are invalid, the error joins an *ImportError for each of the first ten.
// The error is ErrForbidden, without an index, if the principal of ctx may not
// grant a role of a row.
func (k *Kit) ImportUsers(ctx context.Context, users []StoredUser) error {
	if err := k.mayManage(ctx); err != nil {
		return err
	}
	rows, ids, err := k.checkImport(ctx, users)
	if err != nil {
		return err
	}
	calls := len(rows)
	if k.batch != nil {
		calls = len(rows)/importBatch + min(importBatch, len(rows)) + 1 // a batch that fails is taken apart
	}
	err = k.inLongTx(ctx, calls, func(ctx context.Context) error { return k.createRows(ctx, rows) })
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

// createRows stores rows that were checked. The error is an *ImportError.
func (k *Kit) createRows(ctx context.Context, rows []StoredUser) error {
	first := 0
	for batch := range slices.Chunk(rows, importBatch) {
		stored := k.batch != nil && k.batch.CreateUsers(ctx, batch) == nil
		for i := range batch {
			if !stored { // one at a time, so that the error is that of a row
				if err := k.users.CreateUser(ctx, batch[i]); err != nil {
					return &ImportError{first + i, err}
				}
			}
			k.emit(ctx, Event{Kind: EventUserCreated, UserID: batch[i].ID})
		}
		first += len(batch)
	}
	return nil
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
	roles := make(map[string]bool)
	var errs []error
	for i := range rows {
		u := &rows[i]
		withID[i] = u.ID != ""
		err := k.checkRow(ctx, u)
		u.ID = cmp.Or(u.ID, fresh[i])
		switch {
		case err != nil:
		case emails[u.Email]:
			err = ErrEmailTaken
		case ids[u.ID]:
			err = errIDTaken()
		}
		if err != nil {
			errs = append(errs, &ImportError{i, err})
			if len(errs) == maxImportErrors || errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
				break
			}
			continue
		}
		ids[u.ID], emails[u.Email] = true, true
		if u.CreatedAt.IsZero() {
			u.CreatedAt = now()
		}
		if u.UpdatedAt.IsZero() {
			u.UpdatedAt = u.CreatedAt
		}
		for _, role := range u.Roles {
			roles[role] = true
		}
	}
	switch len(errs) {
	case 0:
		return rows, withID, k.mayGrant(ctx, slices.Sorted(maps.Keys(roles)))
	case 1:
		return nil, nil, errs[0]
	}
	return nil, nil, errors.Join(errs...)
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
		return nil // the store refuses taken IDs and addresses, and then stores no row
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
		return storeError(ctx, err)
	}
	return nil
}
