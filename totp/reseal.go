package totp

import (
	"context"
	"errors"
	"fmt"
)

const resealBatch = 500

// Reseal encrypts all secrets again that are not encrypted with the first of
// [Config].Keys. Run it after a change of keys, in one instance. Logins continue
// meanwhile. It calls progress, if that is not nil, after each batch with the
// number of users that it has read.
//
// To change the key:
//  1. Add the new key at the end of Keys, and restart every instance.
//  2. Put it in front, and restart every instance.
//  3. Call Reseal until it returns nil. It continues where it is needed.
//  4. Remove the old key, and restart every instance.
//
// The errors are those of the [Store], that of ctx, and an error for a secret
// that none of the keys opens. The other secrets are encrypted nevertheless.
func (f *Factor) Reseal(ctx context.Context, progress func(users int)) error {
	var broken error
	for after, users := "", 0; ; {
		records, err := f.store.Records(ctx, after, resealBatch)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return broken
		}
		err = f.resealBatch(ctx, records)
		switch {
		case isBroken(err):
			broken = err
		case err != nil:
			return err
		}
		after = records[len(records)-1].UserID
		if users += len(records); progress != nil {
			progress(users)
		}
	}
}

// A brokenError is the error of a secret that cannot be decrypted.
type brokenError struct {
	userID string
	err    error
}

func (e *brokenError) Error() string { return fmt.Sprintf("totp: the user %s: %v", e.userID, e.err) }
func (e *brokenError) Unwrap() error { return e.err }

func isBroken(err error) bool {
	_, ok := errors.AsType[*brokenError](err)
	return ok
}

// resealBatch encrypts the secrets of some records again. A record that changes
// meanwhile is read once more.
func (f *Factor) resealBatch(ctx context.Context, records []Record) error {
	var broken error
	const tries = 10
	for try := 1; ; try++ {
		var changes []Resealing
		for _, r := range records {
			c, needed, err := f.resealed(r)
			if err != nil {
				broken = err
			} else if needed {
				changes = append(changes, c)
			}
		}
		if len(changes) == 0 {
			return broken
		}
		done, err := f.store.Reseal(ctx, changes)
		switch {
		case err != nil:
			return err
		case done == len(changes):
			return broken
		case try == tries:
			return fmt.Errorf("totp: %d records keep changing; call Reseal again", len(changes)-done)
		}
		records = records[:0]
		for _, c := range changes {
			r, err := f.store.Record(ctx, c.UserID)
			if err != nil {
				return err
			}
			records = append(records, r)
		}
	}
}

// resealed returns the replacement of the secrets of a record, if it is needed.
func (f *Factor) resealed(r Record) (c Resealing, needed bool, err error) {
	c = Resealing{UserID: r.UserID, OldSecret: r.Secret, OldPending: r.Pending}
	again := func(sealed []byte, column string) []byte {
		if len(sealed) == 0 || f.box.Current(sealed) || err != nil {
			return sealed
		}
		var plain []byte
		if plain, err = f.box.Open(sealed, place(column, r.UserID)); err != nil {
			err = &brokenError{r.UserID, err}
			return sealed
		}
		needed = true
		return f.box.Seal(plain, place(column, r.UserID))
	}
	c.NewSecret, c.NewPending = again(r.Secret, columnSecret), again(r.Pending, columnPending)
	return c, needed, err
}
