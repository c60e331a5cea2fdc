package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	minPasswordLength = 8 // code points
	maxFullNameBytes  = 256
)

// now is the time as stores keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// CreateUser makes an account with a password that a human chose. Of u it takes
// Email, FullName, Roles and Disabled; the ID and the times are assigned, and the
// account is returned as it was stored.
//
// The error is a *ValidationError with every faulty field, ErrEmailTaken,
// ErrOverloaded, ErrUnavailable, or the context's. On a page that is open to strangers,
// answer ErrEmailTaken like success, and send mail: it would tell who has an account.
func (k *Kit) CreateUser(ctx context.Context, u User, password string) (User, error) {
	u, err := k.checkNewUser(ctx, u, password)
	if err != nil {
		return User{}, err
	}
	// The hash comes before the store is asked for the address, so that the time tells
	// nobody which addresses are taken.
	hash, err := k.hashChecked(ctx, password)
	if err != nil {
		return User{}, err
	}
	u.ID, u.CreatedAt, u.Version = NewUserID(), now(), 1
	u.UpdatedAt = u.CreatedAt
	if err := k.store(ctx, StoredUser{User: u, PasswordHash: hash}); err != nil {
		return User{}, err
	}
	return u, nil
}

// hashChecked hashes a password that was checked. A scheme may still refuse it.
func (k *Kit) hashChecked(ctx context.Context, password string) (PasswordHash, error) {
	hash, err := k.HashPassword(ctx, password)
	if errors.Is(err, ErrPasswordTooLong) || errors.Is(err, ErrPasswordInvalid) {
		err = &ValidationError{[]FieldError{{"password", ProblemFor(err).Detail}}}
	}
	return hash, err
}

// hashNew checks and hashes the new password of an account.
func (k *Kit) hashNew(ctx context.Context, u User, password string) (PasswordHash, error) {
	rule, err := k.checkNewPassword(ctx, u, password)
	if err != nil {
		return "", err
	}
	if rule != "" {
		return "", &ValidationError{[]FieldError{{"password", rule}}}
	}
	return k.hashChecked(ctx, password)
}

// CheckUser returns the *ValidationError that [Kit.CreateUser] would return, or nil,
// and makes nothing: for a form that shows faults early, or a host that finds more of
// them.
func (k *Kit) CheckUser(ctx context.Context, u User, password string) error {
	_, err := k.checkNewUser(ctx, u, password)
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

// store stores a new account that was checked.
func (k *Kit) store(ctx context.Context, u StoredUser) error {
	err := k.users.CreateUser(ctx, u)
	if err == nil {
		k.emit(ctx, Event{Kind: EventUserCreated, UserID: u.ID})
		return nil
	}
	if errors.Is(err, ErrEmailTaken) {
		return err
	}
	return k.storeFailed(ctx, err)
}

// ImportUsers stores accounts that bring their password hashes from another system,
// in any form that the hasher reads; a row without a hash becomes an account without
// a password. An ID or a time that is zero is assigned, in the order of the rows.
//
// Every row is checked before the first is stored. The error is an *ImportError that
// names the row, around what [Kit.CreateUser] returns, ErrUnknownScheme or
// ErrMalformedHash.
func (k *Kit) ImportUsers(ctx context.Context, users []StoredUser) error {
	rows := slices.Clone(users)
	fresh := make([]string, len(rows))
	for i := range fresh {
		fresh[i] = NewUserID()
	}
	slices.Sort(fresh)
	ids, emails := make(map[string]bool, len(rows)), make(map[string]bool, len(rows))
	for i := range rows {
		u := &rows[i]
		if err := k.checkImport(ctx, u); err != nil {
			return &ImportError{i, err}
		}
		if emails[u.Email] {
			return &ImportError{i, ErrEmailTaken}
		}
		u.ID = cmp.Or(u.ID, fresh[i])
		if ids[u.ID] {
			return &ImportError{i, errIDTaken()}
		}
		ids[u.ID], emails[u.Email] = true, true
		if u.CreatedAt.IsZero() {
			u.CreatedAt = now()
		}
		if u.UpdatedAt.IsZero() {
			u.UpdatedAt = u.CreatedAt
		}
	}
	for i, u := range rows {
		if err := k.store(ctx, u); err != nil {
			return &ImportError{i, err}
		}
	}
	return nil
}

func errIDTaken() error { return &ValidationError{[]FieldError{{"id", "is taken"}}} }

// checkImport puts an account into its canonical form, and returns why it cannot be
// imported, or nil.
func (k *Kit) checkImport(ctx context.Context, u *StoredUser) error {
	var fields []FieldError
	u.User, fields = k.checkUser(u.User)
	if u.ID != "" && !validSubject(u.ID) {
		fields = append(fields, FieldError{"id", fmt.Sprintf("must be UTF-8 of at most %d bytes, without control characters", maxSubjectLen)})
	}
	if fields != nil {
		return &ValidationError{fields}
	}
	if u.PasswordHash != "" {
		if _, err := k.hasher.NeedsRehash(u.PasswordHash); err != nil {
			return err
		}
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

// HashPassword hashes a password with the primary scheme, when its turn has come:
// see [Config].MaxConcurrentHashes. It applies the rules on bytes, not those on what
// a human may choose. The error is ErrPasswordTooLong, ErrPasswordInvalid,
// ErrOverloaded, or the context's.
func (k *Kit) HashPassword(ctx context.Context, password string) (PasswordHash, error) {
	if err := checkPasswordBytes(password, maxPasswordBytes); err != nil {
		return "", err
	}
	leave, err := k.enterGate(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	return k.hasher.Hash(password)
}

// checkUser returns the account in its canonical form, and what is wrong with it.
func (k *Kit) checkUser(u User) (User, []FieldError) {
	var fields []FieldError
	email, err := NormalizeEmail(u.Email)
	if err != nil {
		fields = append(fields, FieldError{"email", "must be an e-mail address"})
	}
	u.Email = email
	if !utf8.ValidString(u.FullName) || len(u.FullName) > maxFullNameBytes || slices.ContainsFunc([]rune(u.FullName), unicode.IsControl) {
		fields = append(fields, FieldError{"full_name", fmt.Sprintf("must be UTF-8 of at most %d bytes, without control characters", maxFullNameBytes)})
	}
	u.Roles = slices.Clone(u.Roles)
	if u.Roles == nil {
		u.Roles = []string{}
	}
	if rule := k.rolesRule(u.Roles); rule != "" {
		fields = append(fields, FieldError{"roles", rule})
	}
	return u, fields
}

// rolesRule returns the rule that the roles of an account break, or "".
func (k *Kit) rolesRule(roles []string) string {
	if len(roles) > maxRoles {
		return "must be at most " + strconv.Itoa(maxRoles)
	}
	for i, role := range roles {
		if !k.roles.knows(role) || slices.Contains(roles[:i], role) {
			return "must be roles of this service, each once"
		}
	}
	return ""
}

// checkNewPassword returns the rule that a password breaks, or "". The error is that
// of a check that could not answer.
func (k *Kit) checkNewPassword(ctx context.Context, u User, password string) (rule string, err error) {
	limit := maxPasswordBytes
	if l, ok := k.hasher.(interface{ maxBytes() int }); ok {
		limit = l.maxBytes()
	}
	switch err := checkPasswordBytes(password, limit); {
	case errors.Is(err, ErrPasswordTooLong):
		return fmt.Sprintf("must have at most %d bytes in UTF-8", limit), nil
	case err != nil:
		return "must be UTF-8 without a NUL byte", nil
	case utf8.RuneCountInString(password) < k.minPassword:
		return fmt.Sprintf("must have at least %d characters", k.minPassword), nil
	}
	if k.check == nil {
		return "", nil
	}
	switch err := k.check(ctx, password, u); {
	case errors.Is(err, ErrPasswordRefused):
		return "is too easy to guess", nil
	case err != nil:
		return "", &hookError{"Config.CheckPassword", err}
	}
	return "", nil
}

// SetPassword gives an account a new password, and logs its user out everywhere: who had
// the old one has nothing. What [Config].Throttle holds against the account is forgotten. Whether whoever asks may do so is for the caller to find out.
//
// The error is a *ValidationError for a password that is against the rules, ErrUserNotFound,
// ErrOverloaded, ErrUnavailable as in [Kit.LogoutEverywhere], or the context's.
func (k *Kit) SetPassword(ctx context.Context, userID, password string) error {
	u, err := k.users.UserByID(ctx, userID)
	if errors.Is(err, ErrUserNotFound) {
		return err
	}
	if err != nil {
		return unavailable(ctx, err)
	}
	hash, err := k.hashNew(ctx, u.User, password)
	if err != nil {
		return err
	}
	err = k.cutOff(ctx, userID, UserUpdate{PasswordHash: &hash}, EventPasswordChange)
	if err == nil {
		k.pardon(ctx, u.Email)
	}
	return err
}

// DisableUser disables an account, and logs its user out everywhere, for good: who
// enables it again does not bring the old sessions back.
//
// The error is ErrUserNotFound, or ErrUnavailable as in [Kit.LogoutEverywhere].
func (k *Kit) DisableUser(ctx context.Context, userID string) error {
	return k.cutOff(ctx, userID, UserUpdate{Disabled: new(true)}, EventUserDisabled)
}

// DeleteUser deletes an account with its sessions, and refuses all its tokens. The error is
// as that of [Kit.DisableUser]; with ErrUnavailable the account may be left, disabled.
func (k *Kit) DeleteUser(ctx context.Context, userID string) error {
	if err := k.DisableUser(ctx, userID); err != nil {
		return err
	}
	if err := k.users.DeleteUser(ctx, userID, ""); err != nil && !errors.Is(err, ErrUserNotFound) {
		return k.storeFailed(ctx, err)
	}
	k.emit(ctx, Event{Kind: EventUserDeleted, UserID: userID})
	return nil
}

// cutOff makes a change to an account, and refuses every token that was issued to it until
// now. The one write to the account does both; that the sessions are then removed is so that
// lists and other services, which know nothing of the account, see it.
func (k *Kit) cutOff(ctx context.Context, userID string, change UserUpdate, kind EventKind) error {
	at := now()
	// Tokens are dated in whole seconds. The cut-off is the next one, so that none of this
	// second outlives it.
	from := at.Truncate(time.Second).Add(time.Second)
	change.ValidFrom = &from
	switch _, err := k.users.UpdateUser(ctx, userID, change, at); {
	case errors.Is(err, ErrUserNotFound):
		return err
	case err != nil:
		return k.storeFailed(ctx, err)
	}
	k.emit(ctx, Event{Kind: kind, UserID: userID})
	if k.sessions == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	err := k.sessions.store.RevokeSessions(ctx, userID, "", from)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) { // which took long enough
		err = k.sessions.store.RevokeSessions(ctx, userID, "", from)
	}
	if err != nil {
		return k.storeFailed(ctx, err)
	}
	return nil
}
