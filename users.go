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

// CreateUser creates an account with a password that its user chose. It takes Email,
// FullName, Roles, Disabled and EmailVerifiedAt from u, assigns the ID and the times, and
// returns the account as it was stored.
//
// If ctx has a principal, that principal must be allowed to grant the roles; see
// [Kit.SetRoles]. If ctx has a transaction of the store, the account is created in it. The
// event is then delivered before your program commits.
//
// The errors are:
//   - A *ValidationError with every invalid field.
//   - ErrEmailTaken. On a page that is open to strangers, answer it like success and send
//     mail: it would reveal who has an account.
//   - ErrForbidden if the principal of ctx may not grant the roles.
//   - ErrOverloaded, ErrUnavailable, or the error of ctx.
func (k *Kit) CreateUser(ctx context.Context, u User, password string) (User, error) {
	u, err := k.checkNewUser(ctx, u, password)
	if err != nil {
		return User{}, err
	}
	if err := k.mayGrant(ctx, u.Roles); err != nil {
		return User{}, err
	}
	// The hash comes before the store is asked for the address, so that the time tells
	// nobody which addresses are taken.
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
	u.UpdatedAt, u.EmailVerifiedAt = u.CreatedAt, u.EmailVerifiedAt.UTC().Truncate(time.Microsecond)
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
		fields = append(fields, FieldError{"email", emailRule})
	}
	u.Email = email
	if rule := fullNameRule(u.FullName); rule != "" {
		fields = append(fields, FieldError{"full_name", rule})
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

const emailRule = "must be an e-mail address"

// fullNameRule returns the rule that a full name breaks, or "".
func fullNameRule(name string) string {
	if !utf8.ValidString(name) || len(name) > maxFullNameBytes || slices.ContainsFunc([]rune(name), unicode.IsControl) {
		return fmt.Sprintf("must be UTF-8 of at most %d bytes, without control characters", maxFullNameBytes)
	}
	return ""
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
		return "", &hookError{"Config.Passwords.Check", err}
	}
	return "", nil
}

// User returns the account with an ID. The error is ErrUserNotFound or ErrUnavailable.
func (k *Kit) User(ctx context.Context, userID string) (User, error) {
	u, err := k.stored(ctx, userID)
	return u.User, err
}

// UserByEmail returns the account with an e-mail, in any form that [NormalizeEmail] takes.
// The error is ErrUserNotFound, ErrInvalidEmail or ErrUnavailable. Do not reveal to
// strangers which of them it is.
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
// q.Limit is zero, it is 100. For the next page, set q.After to the last ID. The error is
// ErrUnavailable.
func (k *Kit) Users(ctx context.Context, q UserQuery) ([]User, error) {
	const page, most = 100, 1000
	q.Limit = min(cmp.Or(q.Limit, page), most)
	users, err := k.users.ListUsers(ctx, q)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	return users, nil
}

// CountUsers returns how many accounts q selects, on all pages. The error is
// ErrUnavailable.
func (k *Kit) CountUsers(ctx context.Context, q UserQuery) (int, error) {
	n, err := k.users.CountUsers(ctx, q)
	if err != nil {
		return 0, unavailable(ctx, err)
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
	for _, known := range []error{ErrUserNotFound, ErrEmailTaken, ErrConflict, ErrLastAdmin} {
		if errors.Is(err, known) {
			return err
		}
	}
	return k.storeFailed(ctx, err)
}

// RenameUser changes the full name of an account. The errors are a *ValidationError,
// ErrUserNotFound and ErrUnavailable.
func (k *Kit) RenameUser(ctx context.Context, userID, fullName string) (User, error) {
	if rule := fullNameRule(fullName); rule != "" {
		return User{}, &ValidationError{[]FieldError{{"full_name", rule}}}
	}
	return k.update(ctx, userID, UserUpdate{FullName: &fullName}, EventUserUpdated)
}

// ChangeEmail changes the address of an account. The new address counts as not verified.
// Tokens with an e-mail subject, see [Config].EmailSubject, are refused from then on. The
// caller has checked that the user reads the mail of the new address, if that matters.
//
// The errors are a *ValidationError, ErrEmailTaken, ErrUserNotFound, ErrConflict if the
// account is changed at the same time, ErrForbidden as in [Kit.SetPassword], and
// ErrUnavailable.
func (k *Kit) ChangeEmail(ctx context.Context, userID, email string) (User, error) {
	email, err := NormalizeEmail(email)
	if err != nil {
		return User{}, &ValidationError{[]FieldError{{"email", emailRule}}}
	}
	u, err := k.stored(ctx, userID)
	if err != nil {
		return User{}, err
	}
	if err := k.mayControl(ctx, &u.User); err != nil {
		return User{}, err
	}
	return k.update(ctx, userID, UserUpdate{Email: &email, EmailVerifiedAt: new(time.Time), IfVersion: u.Version}, EventUserUpdated)
}

// VerifyEmail records that the user reads the mail of the account's address, at this
// moment. The errors are ErrUserNotFound and ErrUnavailable.
func (k *Kit) VerifyEmail(ctx context.Context, userID string) (User, error) {
	return k.update(ctx, userID, UserUpdate{EmailVerifiedAt: new(now())}, EventUserUpdated)
}

// SetRoles replaces the roles of an account.
//
// A principal in ctx that is not the system (see [WithSystem]) can grant the roles that it
// has itself, and every role if it has [Config].AdminRole. Whether it may take roles away is
// for the policy of the route to decide.
//
// The errors are:
//   - A *ValidationError for roles that are malformed or not in the role table.
//   - ErrForbidden if the principal may not grant a role that is new.
//   - ErrLastAdmin if no enabled account would have [Config].AdminRole any more.
//   - ErrUserNotFound, ErrConflict if the account keeps changing, or ErrUnavailable.
func (k *Kit) SetRoles(ctx context.Context, userID string, roles ...string) (User, error) {
	return k.changeRoles(ctx, userID, func([]string) []string { return roles })
}

// AddRole adds a role to an account. If the account has it already, nothing changes. The
// errors are those of [Kit.SetRoles].
func (k *Kit) AddRole(ctx context.Context, userID, role string) (User, error) {
	return k.changeRoles(ctx, userID, func(roles []string) []string {
		if slices.Contains(roles, role) {
			return roles
		}
		return append(slices.Clone(roles), role)
	})
}

// RemoveRole removes a role from an account. If the account does not have it, nothing
// changes. The errors are those of [Kit.SetRoles].
func (k *Kit) RemoveRole(ctx context.Context, userID, role string) (User, error) {
	return k.changeRoles(ctx, userID, func(roles []string) []string {
		return slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == role })
	})
}

// changeRoles replaces the roles of an account by a function of them. It tries again if the
// account changes meanwhile, so that no concurrent change is lost.
func (k *Kit) changeRoles(ctx context.Context, userID string, change func([]string) []string) (User, error) {
	const tries = 8
	for try := 1; ; try++ {
		u, err := k.stored(ctx, userID)
		if err != nil {
			return User{}, err
		}
		roles := append([]string{}, change(u.Roles)...)
		if slices.Equal(roles, u.Roles) {
			return u.User, nil
		}
		if rule := k.rolesRule(roles); rule != "" {
			return User{}, &ValidationError{[]FieldError{{"roles", rule}}}
		}
		added := slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return slices.Contains(u.Roles, r) })
		if err := k.mayGrant(ctx, added); err != nil {
			return User{}, err
		}
		update := UserUpdate{Roles: &roles, IfVersion: u.Version}
		if !slices.Contains(roles, k.adminRole) {
			update.KeepRole = k.keeps(&u.User)
		}
		changed, err := k.update(ctx, userID, update, EventRolesChanged)
		if !errors.Is(err, ErrConflict) || try == tries {
			return changed, err
		}
	}
}

// keeps returns the role that another account must have if this one loses it, or "".
func (k *Kit) keeps(u *User) string {
	if u.holds(k.adminRole) {
		return k.adminRole
	}
	return ""
}

// mayGrant returns ErrForbidden if the principal of ctx may not grant the roles.
func (k *Kit) mayGrant(ctx context.Context, roles []string) error {
	c := fromContext(ctx)
	if c == nil || c.guard == nil {
		return nil // the program itself
	}
	if c.guard != k.guard {
		return k.refuseGrant(ctx, "")
	}
	for _, role := range roles {
		held := slices.Contains(c.user.Roles, role) || slices.Contains(c.user.Roles, k.adminRole)
		if !held || c.other != nil && c.other.Limited {
			return k.refuseGrant(ctx, c.user.ID)
		}
	}
	return nil
}

// mayControl returns ErrForbidden if the principal of ctx could become another user by it who
// has roles that it may not grant.
func (k *Kit) mayControl(ctx context.Context, u *User) error {
	if c := fromContext(ctx); c != nil && c.guard == k.guard && c.user.ID == u.ID && (c.other == nil || !c.other.Machine) {
		return nil
	}
	return k.mayGrant(ctx, u.Roles)
}

// refuseGrant emits the event of an escalation that was refused.
func (k *Kit) refuseGrant(ctx context.Context, userID string) error {
	k.emit(ctx, Event{Kind: EventAccessDenied, UserID: userID, Reason: ReasonMissingRole})
	return ErrForbidden
}

// update makes a change to an account and emits its event.
func (k *Kit) update(ctx context.Context, userID string, change UserUpdate, kind EventKind) (User, error) {
	u, err := k.users.UpdateUser(ctx, userID, change, now())
	if err != nil {
		return User{}, k.userError(ctx, err)
	}
	k.emit(ctx, Event{Kind: kind, UserID: userID})
	return u, nil
}

// LockUser refuses logins and refreshes of an account until a time, with the answer for a
// wrong password. Its sessions do not end. The errors are ErrUserNotFound and
// ErrUnavailable.
func (k *Kit) LockUser(ctx context.Context, userID string, until time.Time) (User, error) {
	return k.update(ctx, userID, UserUpdate{LockedUntil: new(until.UTC().Truncate(time.Microsecond))}, EventUserLocked)
}

// UnlockUser ends the lock of [Kit.LockUser], and clears the failed logins that
// [Config].Throttle has counted against the account. The errors are ErrUserNotFound and
// ErrUnavailable.
func (k *Kit) UnlockUser(ctx context.Context, userID string) (User, error) {
	u, err := k.update(ctx, userID, UserUpdate{LockedUntil: new(time.Time)}, EventUserUnlocked)
	if err == nil {
		k.pardon(ctx, u.Email)
	}
	return u, err
}

// EnableUser enables an account again. Its old sessions and tokens stay refused. The errors
// are ErrUserNotFound and ErrUnavailable.
func (k *Kit) EnableUser(ctx context.Context, userID string) (User, error) {
	return k.update(ctx, userID, UserUpdate{Disabled: new(false)}, EventUserEnabled)
}

// DisableUser disables an account and ends all of its sessions, for good: [Kit.EnableUser]
// does not bring them back.
//
// The errors are ErrUserNotFound, ErrLastAdmin, and ErrUnavailable as in
// [Kit.LogoutEverywhere].
func (k *Kit) DisableUser(ctx context.Context, userID string) error {
	u, err := k.stored(ctx, userID)
	if err != nil {
		return err
	}
	return k.cutOff(ctx, userID, UserUpdate{Disabled: new(true), KeepRole: k.keeps(&u.User)}, EventUserDisabled)
}

// DeleteUser deletes an account with its sessions, its tickets and the data of all
// [Config].UserData, and refuses all of its tokens. If the stores share a transaction, all
// of it is one change.
//
// The errors are ErrUserNotFound, ErrLastAdmin, ErrUnavailable, and any error of the
// UserData. After ErrUnavailable the account may be left, disabled: call it again.
func (k *Kit) DeleteUser(ctx context.Context, userID string) error {
	u, err := k.stored(ctx, userID)
	if err != nil {
		return err
	}
	if !k.shared() { // so that no step leaves an account that can log in
		if err := k.DisableUser(ctx, userID); err != nil {
			return err
		}
	}
	err = k.inTx(ctx, func(ctx context.Context) error {
		if err := k.wipe(ctx, userID, WipeAll); err != nil {
			return err
		}
		if k.sessions != nil && k.shared() {
			if err := k.sessions.store.RevokeSessions(ctx, userID, "", nextSecond(now())); err != nil {
				return err
			}
		}
		if k.tickets != nil {
			if err := k.tickets.DeleteTickets(ctx, userID); err != nil {
				return err
			}
		}
		keep := ""
		if k.shared() {
			keep = k.keeps(&u.User)
		}
		return k.users.DeleteUser(ctx, userID, keep)
	})
	if err != nil && (k.shared() || !errors.Is(err, ErrUserNotFound)) {
		return k.userError(ctx, err)
	}
	k.emit(ctx, Event{Kind: EventUserDeleted, UserID: userID})
	return nil
}

// ExportUser returns everything that is stored about a user, without secrets, as a value
// that encodes as JSON: the account, its sessions, and the data of every [Config].UserData
// under its name.
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
			return nil, &hookError{"UserData " + d.Name(), err}
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

// wipe removes the data of all features.
func (k *Kit) wipe(ctx context.Context, userID string, what Wipe) error {
	for _, d := range k.userData {
		if err := d.Wipe(ctx, userID, what); err != nil {
			return &hookError{"UserData " + d.Name(), err}
		}
	}
	return nil
}

// shared reports whether accounts and sessions are one store with transactions.
func (k *Kit) shared() bool { return k.tx != nil && k.sharedSessions }

// inTx runs f in a transaction of the account store, if it has any.
func (k *Kit) inTx(ctx context.Context, f func(context.Context) error) error {
	if k.tx == nil {
		return f(ctx)
	}
	return k.tx.InTx(ctx, f)
}

// SetPassword replaces the password of an account and ends all of its sessions and tokens.
// It clears the failed logins that [Config].Throttle has counted against the account. The
// caller must authorize the change: a user who changes the own password uses
// [Kit.ChangePassword].
//
// A principal in ctx other than the user must be allowed to grant all roles of the account,
// as [Kit.SetRoles] says: it could log in as the user afterwards.
//
// The errors are:
//   - A *ValidationError for a password that is against the rules.
//   - ErrConflict if the account is changed at the same time: the other change stays.
//   - ErrForbidden, ErrUserNotFound, ErrOverloaded, ErrUnavailable as in
//     [Kit.LogoutEverywhere], or the error of ctx.
func (k *Kit) SetPassword(ctx context.Context, userID, password string) error {
	u, err := k.stored(ctx, userID)
	if err != nil {
		return err
	}
	if err := k.mayControl(ctx, &u.User); err != nil {
		return err
	}
	hash, err := k.hashNew(ctx, u.User, password)
	if err != nil {
		return err
	}
	err = k.cutOff(ctx, userID, UserUpdate{PasswordHash: &hash, IfVersion: u.Version}, EventPasswordChange)
	if err == nil {
		k.pardon(ctx, u.Email)
	}
	return err
}

// VerifyPassword checks the password of a logged-in user again. It is limited like a login:
// both share one count of failures.
//
// The errors are ErrInvalidCredentials if the password is wrong or the account may not log
// in, ErrUserNotFound, a *ThrottledError, ErrOverloaded, ErrUnavailable, or the error of
// ctx.
func (k *Kit) VerifyPassword(ctx context.Context, userID, password string) error {
	_, err := k.reverify(ctx, userID, password)
	return err
}

// reverify is VerifyPassword that returns the account as it was verified.
func (k *Kit) reverify(ctx context.Context, userID, password string) (StoredUser, error) {
	u, err := k.stored(ctx, userID)
	if err != nil {
		return StoredUser{}, err
	}
	err = k.throttled(ctx, Attempt{Action: ActionLogin, Account: u.Email}, func() error {
		fresh, rehashErr, err := k.verify(ctx, u, password)
		if err != nil {
			return err
		}
		if err := k.mayLogIn(&u); err != nil {
			return &refusal{ErrInvalidCredentials, err.(*refusal).reason, nil}
		}
		k.rehash(ctx, &u, fresh, rehashErr)
		return nil
	})
	e := Event{Kind: EventPasswordCheck}
	if err != nil {
		e = failureOf(ctx, EventPasswordCheck, err)
	}
	e.UserID = userID
	k.emit(ctx, e)
	return u, err
}

// ChangePassword replaces the password of a user who knows the old one. It ends the user's
// other sessions. That of the principal of ctx goes on; without one, all sessions and tokens
// end.
//
// The errors are those of [Kit.VerifyPassword] for the old password, a *ValidationError for
// the new one, and ErrConflict if the account is changed at the same time: the other change
// stays.
func (k *Kit) ChangePassword(ctx context.Context, userID, old, password string) error {
	u, err := k.reverify(ctx, userID, old)
	if err != nil {
		return err
	}
	hash, err := k.hashNew(ctx, u.User, password)
	if err != nil {
		return err
	}
	change := UserUpdate{PasswordHash: &hash, IfVersion: u.Version}
	p, ok := k.principal(ctx)
	if !ok || k.sessions == nil || p.UserID != userID || p.SessionID == "" {
		return k.cutOff(ctx, userID, change, EventPasswordChange)
	}
	return k.changeAndRevoke(ctx, userID, change, EventPasswordChange, p.SessionID, now())
}

// cutOff makes a change to an account, and refuses every token that was issued to it until
// now.
func (k *Kit) cutOff(ctx context.Context, userID string, change UserUpdate, kind EventKind) error {
	// Tokens are dated in whole seconds. The cut-off is the next one, so that none of this
	// second outlives it.
	from := nextSecond(now())
	change.ValidFrom = &from
	return k.changeAndRevoke(ctx, userID, change, kind, "", from)
}

func nextSecond(t time.Time) time.Time { return t.Truncate(time.Second).Add(time.Second) }

// changeAndRevoke makes a change to an account and ends its sessions but one. The change
// alone refuses the old tokens; the sessions are removed so that lists and services without
// the account see it. In a store with transactions both are one change.
func (k *Kit) changeAndRevoke(ctx context.Context, userID string, change UserUpdate, kind EventKind, except string, at time.Time) error {
	update := func(ctx context.Context) error {
		_, err := k.users.UpdateUser(ctx, userID, change, now())
		return err
	}
	revoke := func(ctx context.Context) error {
		if k.sessions == nil {
			return nil
		}
		return k.sessions.store.RevokeSessions(ctx, userID, except, at)
	}
	var err error
	if k.shared() {
		err = k.tx.InTx(ctx, func(ctx context.Context) error {
			if err := update(ctx); err != nil {
				return err
			}
			return revoke(ctx)
		})
	} else {
		err = update(ctx)
	}
	if err != nil {
		return k.userError(ctx, err)
	}
	k.emit(ctx, Event{Kind: kind, UserID: userID})
	if k.shared() {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	err = revoke(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) { // which took long enough
		err = revoke(ctx)
	}
	if err != nil {
		return k.storeFailed(ctx, err)
	}
	return nil
}
