package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxFullNameBytes = 256
	emailRule        = "must be an e-mail address"
	emailRuleASCII   = "must be an e-mail address in ASCII; write an international domain in its xn-- form"
)

// CreateUser creates an account with a password that its user chose. It takes Email,
// FullName, Roles, Disabled and EmailVerifiedAt from u, assigns the ID and the times, and
// returns the account as it was stored.
//
// If ctx has a principal, that principal must be allowed to grant the roles; see
// [Kit.SetRoles]. If ctx carries a transaction of the store, CreateUser joins it. The event
// is then delivered before your program commits. The same holds for every method of a Kit
// that changes an account.
//
// The errors are:
//   - A *ValidationError with every invalid field.
//   - ErrEmailTaken if another account has the address. It reveals who has an
//     account. A public page must therefore respond as if the account was
//     created, and send a mail to the address.
//   - ErrForbidden if the principal of ctx may not grant the roles.
//   - ErrUnstorable if the database cannot hold the full name.
//   - ErrOverloaded, ErrUnavailable, or the error of ctx.
func (k *Kit) CreateUser(ctx context.Context, u User, password string) (User, error) {
	password = k.normalized(password)
	u, err := k.checkNewUser(ctx, u, password)
	if err != nil {
		return User{}, err
	}
	if err := k.mayGrant(ctx, u.Roles); err != nil {
		return User{}, err
	}
	// The hash comes before the store, so that the time of the call does not reveal which
	// addresses are taken.
	hash, err := k.hashChecked(ctx, password)
	if err != nil {
		return User{}, err
	}
	return k.newUser(ctx, u, hash)
}

// CreateUserWithoutPassword creates an account that cannot log in with a password, such as
// one for an invitation or for a login with another provider. Otherwise it is like
// [Kit.CreateUser].
func (k *Kit) CreateUserWithoutPassword(ctx context.Context, u User) (User, error) {
	u, fields := k.checkUser(u)
	if fields != nil {
		return User{}, &ValidationError{fields}
	}
	if err := k.mayGrant(ctx, u.Roles); err != nil {
		return User{}, err
	}
	return k.newUser(ctx, u, "")
}

// newUser stores a new account that was checked.
func (k *Kit) newUser(ctx context.Context, u User, hash PasswordHash) (User, error) {
	u.ID, u.CreatedAt, u.LockedUntil, u.Version = NewUserID(), now(), time.Time{}, 1
	u.UpdatedAt, u.EmailVerifiedAt = u.CreatedAt, toMicroseconds(u.EmailVerifiedAt)
	if err := k.users.CreateUser(ctx, StoredUser{User: u, PasswordHash: hash}); err != nil {
		return User{}, k.userError(ctx, err)
	}
	k.emit(ctx, Event{Kind: EventUserCreated, UserID: u.ID})
	return u, nil
}

// CheckUser returns the *ValidationError that [Kit.CreateUser] would return, or nil. It
// creates no account. Use it for forms that show errors early, or together with checks of
// your own.
func (k *Kit) CheckUser(ctx context.Context, u User, password string) error {
	_, err := k.checkNewUser(ctx, u, k.normalized(password))
	return err
}

// checkNewUser returns the account in its canonical form.
func (k *Kit) checkNewUser(ctx context.Context, u User, password string) (User, error) {
	u, fields := k.checkUser(u)
	rule, err := k.checkNewPassword(ctx, u, password)
	if err != nil {
		return User{}, err
	}
	if rule != "" {
		fields = append(fields, FieldError{"password", rule})
	}
	if fields != nil {
		return User{}, &ValidationError{fields}
	}
	return u, nil
}

// checkUser returns the account in its canonical form, and its invalid fields.
func (k *Kit) checkUser(u User) (User, []FieldError) {
	var fields []FieldError
	email, err := NormalizeEmail(u.Email)
	if err != nil {
		fields = append(fields, FieldError{"email", emailRuleOf(u.Email)})
	}
	u.Email = email
	if rule := fullNameRule(u.FullName); rule != "" {
		fields = append(fields, FieldError{"full_name", rule})
	}
	u.Roles = append([]string{}, u.Roles...) // in JSON an empty list, not null
	if rule := k.rolesRule(u.Roles, nil); rule != "" {
		fields = append(fields, FieldError{"roles", rule})
	}
	return u, fields
}

// emailRuleOf returns the rule that an invalid address breaks.
func emailRuleOf(email string) string {
	if strings.ContainsFunc(email, func(r rune) bool { return r > unicode.MaxASCII }) {
		return emailRuleASCII
	}
	return emailRule
}

// fullNameRule returns the rule that a full name breaks, or "".
func fullNameRule(name string) string {
	if !utf8.ValidString(name) || len(name) > maxFullNameBytes || slices.ContainsFunc([]rune(name), unicode.IsControl) {
		return fmt.Sprintf("must be UTF-8 of at most %d bytes, without control characters", maxFullNameBytes)
	}
	return ""
}

// User returns the account with an ID. The error is ErrUserNotFound or ErrUnavailable.
func (k *Kit) User(ctx context.Context, userID string) (User, error) {
	u, err := k.stored(ctx, userID)
	return u.User, err
}

// UserByEmail returns the account with an e-mail address, in any form that
// [NormalizeEmail] accepts. Do not reveal the error to strangers: it shows who has an
// account.
//
// The errors are:
//   - ErrInvalidEmail if the text is not an e-mail address.
//   - ErrUserNotFound if no account has the address.
//   - ErrUnavailable, or the error of ctx.
func (k *Kit) UserByEmail(ctx context.Context, email string) (User, error) {
	email, err := NormalizeEmail(email)
	if err != nil {
		return User{}, err
	}
	u, err := k.users.UserByEmail(ctx, email)
	if err != nil {
		return User{}, k.userError(ctx, err)
	}
	return u.User, nil
}

// Users returns the accounts that q selects, ordered by ID, at most 1,000 of them. If
// q.Limit is zero, it is 100. For the next page, set q.After to the last ID. Upper case in
// q.EmailPrefix counts as lower case. The error is ErrUnavailable.
func (k *Kit) Users(ctx context.Context, q UserQuery) ([]User, error) {
	const page, most = 100, 1000
	q.Limit, q.EmailPrefix = min(cmp.Or(q.Limit, page), most), strings.ToLower(q.EmailPrefix)
	users, err := k.users.ListUsers(ctx, q)
	if err != nil {
		return nil, k.storeFailed(ctx, err)
	}
	return users, nil
}

// CountUsers returns the number of accounts that q selects on all pages, as in
// [Kit.Users]. The error is ErrUnavailable.
func (k *Kit) CountUsers(ctx context.Context, q UserQuery) (int, error) {
	q.EmailPrefix = strings.ToLower(q.EmailPrefix)
	n, err := k.users.CountUsers(ctx, q)
	if err != nil {
		return 0, k.storeFailed(ctx, err)
	}
	return n, nil
}

// stored returns an account with its hash.
func (k *Kit) stored(ctx context.Context, userID string) (StoredUser, error) {
	u, err := k.users.UserByID(ctx, userID)
	if err != nil {
		return StoredUser{}, k.userError(ctx, err)
	}
	return u, nil
}

// userError returns an error of the account store as callers see it.
func (k *Kit) userError(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*callbackError](err); ok {
		return err
	}
	for _, known := range []error{ErrUserNotFound, ErrEmailTaken, ErrConflict, ErrLastAdmin, ErrUnstorable} {
		if errors.Is(err, known) {
			return err
		}
	}
	return k.storeFailed(ctx, err)
}

// update changes an account and emits the event of the change.
func (k *Kit) update(ctx context.Context, userID string, change UserUpdate, kind EventKind) (User, error) {
	if err := k.mayAct(ctx); err != nil {
		return User{}, err
	}
	u, err := k.change(ctx, userID, change, kind)
	if err != nil {
		return User{}, k.userError(ctx, err)
	}
	return u, nil
}

// SetFullName changes the full name of an account. Like every method that changes an
// account, it returns ErrForbidden if another Kit or [Guard] authenticated the principal
// of ctx; see [WithSystem].
//
// The errors are a *ValidationError, ErrUnstorable if the database cannot hold the name,
// ErrForbidden, ErrUserNotFound and ErrUnavailable.
func (k *Kit) SetFullName(ctx context.Context, userID, fullName string) (User, error) {
	if rule := fullNameRule(fullName); rule != "" {
		return User{}, &ValidationError{[]FieldError{{"full_name", rule}}}
	}
	return k.update(ctx, userID, UserUpdate{FullName: &fullName}, EventUserUpdated)
}

// SetEmail changes the e-mail address of an account. The new address counts as not
// verified. If [Config].EmailSubject is set, the tokens of the account are refused from
// then on. If the account has the address already, nothing changes.
//
// Your program must authorize the change, and must check that the user reads the mail of
// the new address if that matters. A principal in ctx must be allowed to set the password;
// see [Kit.SetPassword].
//
// The errors are:
//   - A *ValidationError if the text is not an e-mail address.
//   - ErrEmailTaken if another account has the address; see [Kit.CreateUser].
//   - ErrForbidden if the principal of ctx may not make the change.
//   - ErrConflict if the account is changed at the same time.
//   - ErrUserNotFound, ErrUnavailable, or the error of ctx.
func (k *Kit) SetEmail(ctx context.Context, userID, email string) (User, error) {
	typed := email
	email, err := NormalizeEmail(typed)
	if err != nil {
		return User{}, &ValidationError{[]FieldError{{"email", emailRuleOf(typed)}}}
	}
	u, err := k.stored(ctx, userID)
	if err != nil {
		return User{}, err
	}
	if err := k.mayControl(ctx, &u.User); err != nil {
		return User{}, err
	}
	if u.Email == email {
		return u.User, nil
	}
	change := UserUpdate{Email: &email, EmailVerifiedAt: new(time.Time), IfVersion: u.Version}
	if !k.emailSubject || k.sessions == nil {
		return k.update(ctx, userID, change, EventUserUpdated)
	}
	return k.changeSubject(ctx, &u.User, change)
}

// changeSubject changes the e-mail of an account that is the subject of its tokens. Services
// without accounts refuse the old tokens by the revocation of the old e-mail, which is stored
// first unless both are one change.
func (k *Kit) changeSubject(ctx context.Context, old *User, change UserUpdate) (u User, err error) {
	both := func(ctx context.Context) error {
		if err := k.sessions.store.RevokeSessions(ctx, emailOwner+old.Email, "", nextSecond(now())); err != nil {
			return k.storeFailed(ctx, err)
		}
		u, err = k.update(ctx, old.ID, change, EventUserUpdated)
		return err
	}
	if k.shared() {
		err = k.inTx(ctx, both)
	} else {
		err = both(ctx)
	}
	if err != nil {
		if !errors.Is(err, ErrUnavailable) { // and not reported yet
			err = k.userError(ctx, err)
		}
		return User{}, err
	}
	return u, nil
}

// VerifyEmail records that the user of an account reads the mail of an address, as of now.
// The address is the one that the user has proved, such as that of the mail with the link.
//
// The errors are:
//   - ErrConflict if the account has another address by now.
//   - ErrForbidden as in [Kit.DisableUser].
//   - ErrInvalidEmail, ErrUserNotFound, ErrUnavailable, or the error of ctx.
func (k *Kit) VerifyEmail(ctx context.Context, userID, email string) (User, error) {
	email, err := NormalizeEmail(email)
	if err != nil {
		return User{}, err
	}
	if err := k.mayManage(ctx); err != nil {
		return User{}, err
	}
	changed := false
	u, err := k.retry(ctx, userID, func(u *StoredUser) (User, error) {
		if changed = u.Email != email; changed {
			return User{}, nil
		}
		return k.update(ctx, userID, UserUpdate{EmailVerifiedAt: new(now()), IfVersion: u.Version}, EventUserUpdated)
	})
	if changed {
		return User{}, ErrConflict
	}
	return u, err
}

// LockUser refuses logins and refreshes of an account until a time, with the answer for a
// wrong password. Its sessions do not end.
//
// The errors are:
//   - A *ValidationError for a time after the year 9999.
//   - ErrLastAdmin if every other enabled account with [Config].AdminRole is locked.
//   - ErrForbidden as in [Kit.DisableUser].
//   - ErrUserNotFound, or ErrConflict if the account keeps changing.
//   - ErrUnavailable, or the error of ctx.
func (k *Kit) LockUser(ctx context.Context, userID string, until time.Time) (User, error) {
	until = toMicroseconds(until)
	if until.Year() < 1 || until.Year() > 9999 { // which JSON and databases do not take
		return User{}, &ValidationError{[]FieldError{{"locked_until", "must be a time before the year 10000"}}}
	}
	if err := k.mayManage(ctx); err != nil {
		return User{}, err
	}
	return k.retry(ctx, userID, func(u *StoredUser) (User, error) {
		change := UserUpdate{LockedUntil: &until, IfVersion: u.Version}
		if until.After(u.LockedUntil) {
			change.KeepRole = k.keeps(&u.User)
		}
		return k.update(ctx, userID, change, EventUserLocked)
	})
}

// UnlockUser ends the lock of [Kit.LockUser]. It also clears the failed logins and codes of
// second factors that [Config].Throttle has counted against the account. The errors are
// ErrForbidden as in [Kit.DisableUser], ErrUserNotFound and ErrUnavailable.
func (k *Kit) UnlockUser(ctx context.Context, userID string) (User, error) {
	if err := k.mayManage(ctx); err != nil {
		return User{}, err
	}
	u, err := k.update(ctx, userID, UserUpdate{LockedUntil: new(time.Time)}, EventUserUnlocked)
	if err == nil {
		k.resetFailures(ctx, u.Email, ActionLogin, ActionCode)
	}
	return u, err
}

// EnableUser enables an account again. Its old sessions and tokens stay refused. The errors
// are ErrForbidden as in [Kit.DisableUser], ErrUserNotFound and ErrUnavailable.
func (k *Kit) EnableUser(ctx context.Context, userID string) (User, error) {
	if err := k.mayManage(ctx); err != nil {
		return User{}, err
	}
	return k.update(ctx, userID, UserUpdate{Disabled: new(false)}, EventUserEnabled)
}

// DisableUser disables an account and ends all of its sessions for good: [Kit.EnableUser]
// does not bring them back.
//
// The errors are:
//   - ErrLastAdmin if every other enabled account with [Config].AdminRole is locked, or if
//     there is none.
//   - ErrForbidden if the principal of ctx impersonates a user, or as in [Kit.SetFullName].
//   - ErrUserNotFound, or ErrConflict if the account keeps changing.
//   - ErrUnavailable as in [Kit.LogoutEverywhere], or the error of ctx.
func (k *Kit) DisableUser(ctx context.Context, userID string) error {
	if err := k.mayManage(ctx); err != nil {
		return err
	}
	_, err := k.retry(ctx, userID, func(u *StoredUser) (User, error) {
		change := UserUpdate{Disabled: new(true), KeepRole: k.keeps(&u.User), IfVersion: u.Version}
		return User{}, k.revokeAll(ctx, userID, change, EventUserDisabled)
	})
	return err
}
