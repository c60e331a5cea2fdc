package passkey

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/authkit-go/authkit"
)

// List returns the passkeys of a user, the oldest first. Your program must
// authorize the call. The errors are ErrUnavailable and that of ctx.
func (p *Passkeys) List(ctx context.Context, userID string) ([]Passkey, error) {
	list, err := p.factor.store.PasskeysByUser(ctx, userID)
	if err != nil {
		return nil, p.factor.failed(ctx, err)
	}
	return list, nil
}

// Rename changes the name of a passkey of a user. The name is one line of 1 to
// 64 characters.
//
// The errors are:
//   - ErrForbidden if the principal of ctx is not a login of the user.
//   - A *ValidationError if the name is not valid.
//   - ErrNotFound if the user has no such passkey.
//   - ErrUnavailable, or the error of ctx.
func (p *Passkeys) Rename(ctx context.Context, userID, id, name string) error {
	if err := p.kit.RequireSelf(ctx, userID); err != nil {
		return err
	}
	name, err := checkName(name)
	if err != nil {
		return err
	}
	return p.factor.failed(ctx, p.factor.store.RenamePasskey(ctx, userID, id, name))
}

// Delete removes a passkey of a user, and returns those that remain. The other
// sessions of the user end, and an event reports it; see
// [authkit.Kit.ChangeFactor].
//
// The errors are:
//   - ErrNotFound if the user has no such passkey.
//   - authkit.ErrLastFactor if the user must have a second factor and has no
//     other. So it is for users without a password who delete their last
//     passkey. Administrators can delete it.
//   - Those of [authkit.Kit.ChangeFactor].
func (p *Passkeys) Delete(ctx context.Context, userID, id string) (AcceptedCredentials, error) {
	var accepted AcceptedCredentials
	e := authkit.Event{Kind: authkit.EventFactorRemoved, UserID: userID, Method: Method}
	err := p.kit.ChangeFactor(ctx, e, func(ctx context.Context) error {
		list, err := p.List(ctx, userID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, func(k Passkey) bool { return k.ID == id })
		if i < 0 {
			return ErrNotFound
		}
		if err := p.factor.keepsWayIn(ctx, userID, len(list)-1); err != nil {
			return err
		}
		handle := list[i].UserHandle
		accepted = p.factor.accepted(handle, slices.Delete(list, i, i+1))
		return p.factor.failed(ctx, p.factor.store.DeletePasskey(ctx, userID, id))
	})
	if err != nil {
		return AcceptedCredentials{}, err
	}
	return accepted, nil
}

// keepsWayIn returns ErrLastFactor if users who have no password are about to
// delete their last passkey (MF-11).
func (f *Factor) keepsWayIn(ctx context.Context, userID string, left int) error {
	who, _ := authkit.PrincipalFrom(ctx)
	kit := f.kit.Load()
	if left > 0 || who.UserID != userID || kit == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.timeout.Load()))
	defer cancel()
	u, err := kit.Settings().Users.UserByID(ctx, userID)
	if err != nil {
		return f.failed(ctx, err)
	}
	if u.PasswordHash == "" {
		return authkit.ErrLastFactor
	}
	return nil
}

// Accepted returns the passkeys that a user has, for the authenticators of the
// user. Your program must authorize the call. The errors are ErrNotFound if the
// user never began a registration, ErrUnavailable, and that of ctx.
func (p *Passkeys) Accepted(ctx context.Context, userID string) (AcceptedCredentials, error) {
	handle, err := p.factor.store.UserHandle(ctx, userID, nil)
	if err != nil {
		return AcceptedCredentials{}, p.factor.failed(ctx, err)
	}
	list, err := p.List(ctx, userID)
	if err != nil {
		return AcceptedCredentials{}, err
	}
	return p.factor.accepted(handle, list), nil
}

// accepted returns the data of the signal for a list of passkeys.
func (f *Factor) accepted(handle []byte, list []Passkey) AcceptedCredentials {
	a := AcceptedCredentials{RPID: f.cfg.RPID, UserID: encode(handle), CredentialIDs: []string{}}
	for _, k := range list {
		a.CredentialIDs = append(a.CredentialIDs, encode(k.CredentialID))
	}
	return a
}

// Unenroll implements [authkit.Enroller]. It removes all passkeys of a user. The
// user handle stays. Users without a password cannot do so; see
// [Passkeys.Delete].
func (f *Factor) Unenroll(ctx context.Context, userID string) error {
	if err := f.keepsWayIn(ctx, userID, 0); err != nil {
		return err
	}
	list, err := f.store.PasskeysByUser(ctx, userID)
	for _, k := range list {
		if err == nil {
			err = f.store.DeletePasskey(ctx, userID, k.ID)
		}
	}
	return f.failed(ctx, err)
}

// Name implements [authkit.UserData].
func (*Factor) Name() string { return "passkeys" }

// Wipe implements [authkit.UserData]. It removes the passkeys and the user
// handle.
func (f *Factor) Wipe(ctx context.Context, userID string, _ authkit.Wipe) error {
	return unavailable(f.store.DeletePasskeys(ctx, userID))
}

// Export implements [authkit.UserData]. It returns the passkeys as a list of
// [Passkey].
func (f *Factor) Export(ctx context.Context, userID string) (any, error) {
	list, err := f.store.PasskeysByUser(ctx, userID)
	if len(list) == 0 {
		return nil, unavailable(err)
	}
	return list, unavailable(err)
}

// unavailable returns the error of a store for a Kit, which reports it.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("passkey: %w: %w", authkit.ErrUnavailable, err)
}
