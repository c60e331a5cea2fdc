package authkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// DeleteUser deletes an account with its sessions, its tickets and the data of
// all [Config].UserData, and refuses all of its tokens. If accounts and
// sessions are in one store with transactions, all of this is one change.
// Otherwise DeleteUser disables the account first, so that after an error the
// account cannot log in.
//
// The errors are:
//   - ErrLastAdmin if no enabled account would have [Config].AdminRole any more.
//   - ErrForbidden as in [Kit.DisableUser].
//   - ErrUserNotFound, or ErrConflict if the account keeps changing.
//   - Any error of the UserData.
//   - ErrUnavailable, or the error of ctx. Call DeleteUser again.
func (k *Kit) DeleteUser(ctx context.Context, userID string) error {
	if err := k.mayManage(ctx); err != nil {
		return err
	}
	_, err := k.retry(ctx, userID, func(u *StoredUser) (User, error) {
		if k.shared() {
			return User{}, k.deleteUser(ctx, u)
		}
		keep := k.keeps(&u.User)
		disable := UserUpdate{Disabled: new(true), KeepRole: keep, IfVersion: u.Version}
		if err := k.revokeAll(ctx, userID, disable, EventUserDisabled); err != nil {
			return User{}, err
		}
		return User{}, k.deleteDisabled(ctx, u, keep)
	})
	return err
}

// deleteUser deletes an account in the transaction that its sessions share.
func (k *Kit) deleteUser(ctx context.Context, u *StoredUser) error {
	var from time.Time
	err := k.inTxAfter(ctx, func(ctx context.Context) error {
		// The update checks the version and the last administrator. It also keeps others
		// from changing the account before the end of the transaction.
		from = nextSecond(now())
		change := UserUpdate{Disabled: new(true), TokensValidAfter: &from, KeepRole: k.keeps(&u.User), IfVersion: u.Version}
		_, err := k.users.UpdateUser(ctx, u.ID, change, now())
		return err
	}, func(ctx context.Context) error {
		if err := k.revoke(ctx, &u.User, "", from); err != nil {
			return err
		}
		return k.remove(ctx, u, "")
	})
	if err != nil {
		return k.userError(ctx, err)
	}
	return nil
}

// deleteDisabled deletes an account that was disabled and has no sessions.
func (k *Kit) deleteDisabled(ctx context.Context, u *StoredUser, keep string) error {
	err := k.inTx(ctx, func(ctx context.Context) error { return k.remove(ctx, u, keep) })
	if err != nil {
		return k.userError(ctx, err)
	}
	return nil
}

// remove removes all data of an account, and the account itself.
func (k *Kit) remove(ctx context.Context, u *StoredUser, keep string) error {
	if err := k.wipe(ctx, u.ID, WipeAll); err != nil {
		return err
	}
	if err := k.deleteTickets(ctx, u); err != nil {
		return err
	}
	if err := k.users.DeleteUser(ctx, u.ID, keep); err != nil {
		return err
	}
	k.emit(ctx, Event{Kind: EventUserDeleted, UserID: u.ID})
	return nil
}

// ResetUser removes everything that lets a person or a program act as the user: the
// password, the credentials of all [Config].UserData, the sessions, the tokens and the
// tickets. The account stays, and gets a new password with [Kit.SetPassword]. Use it for an
// account that may be in the wrong hands.
//
// The errors are those of [Kit.SetPassword], and any error of the UserData. After another
// error than ErrForbidden, ErrUserNotFound and ErrConflict, call ResetUser again.
func (k *Kit) ResetUser(ctx context.Context, userID string) error {
	u, err := k.stored(ctx, userID)
	if err != nil {
		return err
	}
	if err := k.mayControl(ctx, &u.User); err != nil {
		return err
	}
	change := UserUpdate{PasswordHash: new(PasswordHash), IfVersion: u.Version}
	rest := func(ctx context.Context) error {
		if err := k.wipe(ctx, userID, WipeCredentials); err != nil {
			return err
		}
		return k.deleteTickets(ctx, &u)
	}
	if k.shared() {
		from := nextSecond(now())
		change.TokensValidAfter = &from
		err = k.inTxAfter(ctx, func(ctx context.Context) error {
			_, err := k.change(ctx, userID, change, EventPasswordChange)
			return err
		}, func(ctx context.Context) error {
			if err := k.revoke(ctx, &u.User, "", from); err != nil {
				return err
			}
			return rest(ctx)
		})
	} else {
		if err := k.revokeAll(ctx, userID, change, EventPasswordChange); err != nil {
			return err
		}
		err = rest(ctx)
	}
	if err != nil {
		return k.userError(ctx, err)
	}
	return nil
}

// deleteTickets deletes the tickets of an account, by its ID and by its address.
func (k *Kit) deleteTickets(ctx context.Context, u *StoredUser) error {
	if k.tickets == nil {
		return nil
	}
	for _, subject := range []string{u.ID, u.Email} {
		if err := k.tickets.DeleteTickets(ctx, subject); err != nil {
			return err
		}
	}
	return nil
}

// ExportUser returns all stored data about a user, without secrets, as a value that
// encodes as JSON: the account, its sessions, and the data of every [Config].UserData under
// its name. The errors are ErrUserNotFound, ErrUnavailable, and any error of the UserData.
func (k *Kit) ExportUser(ctx context.Context, userID string) (map[string]any, error) {
	u, err := k.User(ctx, userID)
	if err != nil {
		return nil, err
	}
	export := map[string]any{"account": u}
	if k.sessions != nil {
		if export["sessions"], err = k.Sessions(ctx, userID); err != nil {
			return nil, err
		}
	}
	for _, d := range k.userData {
		data, err := d.Export(ctx, userID)
		if err != nil {
			return nil, k.featureFailed(ctx, "UserData "+d.Name(), err)
		}
		if data != nil {
			export[d.Name()] = data
		}
	}
	return export, nil
}

// checkUserData returns why the features of a configuration cannot be used, or nil.
func checkUserData(all []UserData) error {
	names := []string{"account", "sessions"}
	for i, d := range all {
		if d == nil {
			return fmt.Errorf("the element %d is nil; leave it out", i)
		}
		if name := d.Name(); name == "" || slices.Contains(names, name) {
			return fmt.Errorf("the name %q is empty, reserved or there twice", name)
		}
		names = append(names, d.Name())
	}
	return nil
}

// withFactorData returns the UserData, and the second factors that are UserData
// too and were left out.
func withFactorData(all []UserData, factors []SecondFactor) []UserData {
	all = slices.Clone(all)
	for _, f := range factors {
		d, ok := f.(UserData)
		if ok && !slices.ContainsFunc(all, func(other UserData) bool { return other != nil && other.Name() == d.Name() }) {
			all = append(all, d)
		}
	}
	return all
}

// featureFailed returns the error of a feature that removes or exports data. If its
// store failed, it emits the event.
func (k *Kit) featureFailed(ctx context.Context, hook string, err error) error {
	err = &callbackError{hook, err}
	if clientGone(ctx) || errors.Is(err, ErrUnavailable) {
		return k.storeFailed(ctx, err)
	}
	return err
}

// wipe removes the data of all features.
func (k *Kit) wipe(ctx context.Context, userID string, what Wipe) error {
	for _, d := range k.userData {
		if err := d.Wipe(ctx, userID, what); err != nil {
			return k.featureFailed(ctx, "UserData "+d.Name(), err)
		}
	}
	return nil
}
