package authkit

import (
	"context"
	"errors"

	"github.com/authkit-go/authkit/internal/gate"
)

// checkPassword returns the account that an e-mail and a password belong to. It also
// returns the account with an error, once it is known. Every call computes one hash, and a
// second one only to replace the stored hash after success.
func (k *Kit) checkPassword(ctx context.Context, email, password string) (StoredUser, error) {
	u, err := k.lookUp(ctx, email)
	if err != nil && !errors.Is(err, ErrUserNotFound) {
		return StoredUser{}, unavailable(ctx, err)
	}
	fresh, rehashErr, err := k.verify(ctx, u, password)
	if err != nil {
		return u, err
	}
	k.rehash(ctx, &u, fresh, rehashErr)
	return u, nil
}

// verify checks the password of an account, which is the zero one if there is none. It
// also returns the hash that the account ought to have from now on, if it is due for one,
// or why that could not be made. All of it takes one place in the gate, and none of it
// waits for a store.
func (k *Kit) verify(ctx context.Context, u StoredUser, password string) (fresh PasswordHash, rehashErr, err error) {
	leave, err := k.enterGate(ctx)
	if err != nil {
		return "", nil, err
	}
	defer leave()

	if u.PasswordHash == "" {
		_ = k.hasher.Verify(password, k.dummy)
		if u.ID == "" {
			return "", nil, errUnknownUser
		}
		return "", nil, errNoPassword
	}
	switch err := k.hasher.Verify(password, u.PasswordHash); {
	case errors.Is(err, ErrPasswordMismatch):
		return "", nil, errWrongPassword
	case err != nil:
		_ = k.hasher.Verify(password, k.dummy) // nothing was computed yet
		return "", nil, &refusal{ErrInvalidCredentials, ReasonUnreadableHash, err}
	}
	if k.mayLogIn(&u) != nil {
		return "", nil, nil // no rehash: the account stays as it is
	}
	if due, err := k.hasher.NeedsRehash(u.PasswordHash); err != nil || !due {
		return "", nil, nil
	}
	fresh, rehashErr = k.hasher.Hash(password)
	if errors.Is(rehashErr, ErrPasswordTooLong) {
		return "", nil, nil // the old scheme takes it and the primary one does not: it stays
	}
	return fresh, rehashErr, nil
}

// lookUp returns the account with an e-mail, which is empty if what somebody typed is none.
func (k *Kit) lookUp(ctx context.Context, email string) (StoredUser, error) {
	if email == "" {
		return StoredUser{}, ErrUserNotFound
	}
	u, err := k.users.UserByEmail(ctx, email)
	if err != nil {
		return StoredUser{}, err
	}
	return u, nil
}

// enterGate waits for a place to compute a hash.
func (k *Kit) enterGate(ctx context.Context) (leave func(), err error) {
	leave, err = k.gate.Enter(ctx)
	if errors.Is(err, gate.ErrFull) {
		return nil, errOverloaded
	}
	return leave, err
}

// rehash replaces the hash of a password that was just verified, if a fresh one was due. The
// version of the account is a precondition: a password that was changed meanwhile stays. An
// error does not fail the login.
func (k *Kit) rehash(ctx context.Context, u *StoredUser, fresh PasswordHash, err error) {
	if err == nil && fresh == "" {
		return
	}
	var updated User
	if err == nil {
		updated, err = k.users.UpdateUser(ctx, u.ID, UserUpdate{PasswordHash: &fresh, IfVersion: u.Version}, now())
		if errors.Is(err, ErrConflict) {
			return
		}
		if err != nil && !errors.Is(err, ErrUserNotFound) {
			err = unavailable(ctx, err)
		}
	}
	e := Event{Kind: EventPasswordRehash, UserID: u.ID}
	if err != nil {
		e.Reason, e.Err = reasonOf(ctx, err)
	} else {
		u.User, u.PasswordHash = updated, fresh
	}
	k.emit(ctx, e)
}
