package authkit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unicode/utf8"

	"github.com/authkit-go/authkit/internal/gate"
)

const minPasswordLength = 8 // code points

// normalized returns the form of a password that is hashed and compared. Every exported
// method that takes a password calls it once, and passes the result on.
func (k *Kit) normalized(password string) string {
	if k.normalize == nil || checkPasswordBytes(password, maxPasswordBytes) != nil {
		return password
	}
	return k.normalize(password)
}

// HashPassword hashes a password with the primary scheme, one of at most
// [PasswordConfig].MaxConcurrentHashes at a time. It applies [PasswordConfig].Normalize and
// checks the bytes of the password, but neither its length nor [PasswordConfig].Check.
//
// The error is ErrPasswordTooLong, ErrPasswordInvalid, ErrOverloaded, or that of ctx.
func (k *Kit) HashPassword(ctx context.Context, password string) (PasswordHash, error) {
	return k.hash(ctx, k.normalized(password))
}

// hash is HashPassword of a normalized password.
func (k *Kit) hash(ctx context.Context, password string) (PasswordHash, error) {
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

// preparedKey is the context key of a password that was checked and hashed.
type preparedKey struct{ kit *Kit }

// A preparedPassword is a password with its hash.
type preparedPassword struct {
	password string
	hash     PasswordHash
}

// Format implements fmt.Formatter, so that formatting a context does not reveal the password.
func (*preparedPassword) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// PreparePassword checks and hashes the new password of a user. With the context that it
// returns, [Kit.CreateUser] and [Kit.SetPassword] take that password as checked and compute
// no hash. Call it before a transaction that creates a user or sets a password: otherwise
// the transaction lasts as long as the hash, and on SQLite all writers wait for it.
//
// The errors are a *ValidationError if the password is against the rules, any error of
// [PasswordConfig].Check, ErrOverloaded, and that of ctx.
func (k *Kit) PreparePassword(ctx context.Context, u User, password string) (context.Context, error) {
	password = k.normalized(password)
	hash, err := k.hashNew(ctx, u, password)
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, preparedKey{k}, &preparedPassword{password, hash}), nil
}

// prepared returns the hash that [Kit.PreparePassword] has made of a password, or "".
func (k *Kit) prepared(ctx context.Context, password string) PasswordHash {
	if p, _ := ctx.Value(preparedKey{k}).(*preparedPassword); p != nil && p.password == password {
		return p.hash
	}
	return ""
}

// hashChecked hashes a password that was checked. A scheme may still refuse it.
func (k *Kit) hashChecked(ctx context.Context, password string) (PasswordHash, error) {
	if hash := k.prepared(ctx, password); hash != "" {
		return hash, nil
	}
	hash, err := k.hash(ctx, password)
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

// checkNewPassword returns the rule that a password breaks, or "". The error is that of
// [PasswordConfig].Check if it could not decide.
func (k *Kit) checkNewPassword(ctx context.Context, u User, password string) (rule string, err error) {
	if k.prepared(ctx, password) != "" {
		return "", nil
	}
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
		return "", &callbackError{"Config.Passwords.Check", err}
	}
	return "", nil
}

// checkPassword returns the account of an e-mail and a password. It also returns the
// account with an error, once it is known. Every call computes one hash, and a second one
// only to replace the stored hash after success.
func (k *Kit) checkPassword(ctx context.Context, t *trial, email, password string) (StoredUser, error) {
	u, err := k.lookUp(ctx, email)
	if err != nil && !errors.Is(err, ErrUserNotFound) {
		return StoredUser{}, storeError(ctx, err)
	}
	fresh, rehashErr, err := k.verify(ctx, t, u, password)
	if err != nil {
		return u, err
	}
	k.rehash(ctx, &u, fresh, rehashErr)
	return u, nil
}

// verify checks the password of an account. The zero account is one that does not exist. If
// the stored hash is due for replacement, verify also returns a fresh one, or the error of
// making it. It takes one place in the gate and makes no call of a store.
func (k *Kit) verify(ctx context.Context, t *trial, u StoredUser, password string) (fresh PasswordHash, rehashErr, err error) {
	leave, err := k.enterGate(ctx)
	if err != nil {
		return "", nil, err
	}
	defer leave()
	t.compared = true

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
		return "", nil, &authError{ErrInvalidCredentials, ReasonUnreadableHash, err}
	}
	if k.mayLogIn(&u) != nil {
		return "", nil, nil // no rehash: the account stays as it is
	}
	if due, err := k.hasher.NeedsRehash(u.PasswordHash); err != nil || !due {
		return "", nil, nil
	}
	fresh, rehashErr = k.hasher.Hash(password)
	if errors.Is(rehashErr, ErrPasswordTooLong) {
		return "", nil, nil // only the old scheme accepts the password, so its hash stays
	}
	return fresh, rehashErr, nil
}

// lookUp returns the account with an e-mail, which is empty if the client sent no e-mail.
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

// defaultHashes returns how many hashes run at the same time by default. A hash never waits,
// so that GOMAXPROCS of them would leave other requests without a processor for as long as
// the scheduler takes to interrupt one. More hashes than cores only make each other slower.
func defaultHashes() int {
	return max(1, min(runtime.GOMAXPROCS(0)-1, runtime.NumCPU()))
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
			err = storeError(ctx, err)
		}
	}
	e := Event{Kind: EventPasswordRehash, UserID: u.ID}
	if err != nil {
		e.Reason, e.Err = classify(ctx, err)
	} else {
		u.User, u.PasswordHash = updated, fresh
	}
	k.emit(ctx, e)
}

// VerifyPassword checks the password of a logged-in user again. It is limited like a login:
// both share one count of failures.
//
// The errors are:
//   - ErrInvalidCredentials if the password is wrong or the account may not log in.
//   - ErrUserNotFound if there is no such account.
//   - A *ThrottledError if [Config].Throttle refuses the attempt.
//   - ErrOverloaded, ErrUnavailable, or the error of ctx.
func (k *Kit) VerifyPassword(ctx context.Context, userID, password string) error {
	_, err := k.reverify(ctx, userID, k.normalized(password))
	return err
}

// reverify is VerifyPassword of a normalized password that returns the account as it was
// verified.
func (k *Kit) reverify(ctx context.Context, userID, password string) (StoredUser, error) {
	u, err := k.stored(ctx, userID)
	if err != nil {
		return StoredUser{}, err
	}
	err = k.throttled(ctx, Attempt{Action: ActionLogin, Account: u.Email, Guess: NewGuess(password)}, func(t *trial) error {
		fresh, rehashErr, err := k.verify(ctx, t, u, password)
		if err != nil {
			return err
		}
		if err, ok := errors.AsType[*authError](k.mayLogIn(&u)); ok {
			return &authError{ErrInvalidCredentials, err.reason, nil}
		}
		k.rehash(ctx, &u, fresh, rehashErr)
		return nil
	})
	e := Event{Kind: EventPasswordCheck}
	if err != nil {
		e = failureEvent(ctx, EventPasswordCheck, err)
	}
	e.UserID = userID
	k.emit(ctx, e)
	return u, err
}

// ChangePassword replaces the password of a user who proves the old one. It ends the user's
// other sessions; their access tokens are refused at the next request. The session of the
// principal in ctx goes on. Without such a session, all sessions and tokens end.
//
// If ctx has a principal, it must be a login of this user. It must not be
// another user, a machine credential such as an API key, or an administrator
// who impersonates the user.
//
// The errors are:
//   - ErrForbidden if the principal of ctx may not make the change.
//   - Those of [Kit.VerifyPassword] for the old password.
//   - A *ValidationError if the new password is against the rules.
//   - ErrConflict if the account is changed at the same time. The other change stays.
//   - ErrUnavailable as in [Kit.LogoutEverywhere]. If sessions are in another
//     store, which fails after the password was changed, all sessions of the
//     account end, including that of the principal.
func (k *Kit) ChangePassword(ctx context.Context, userID, old, password string) error {
	if err := k.mayProve(ctx, userID); err != nil {
		return err
	}
	u, err := k.reverify(ctx, userID, k.normalized(old))
	if err != nil {
		return err
	}
	hash, err := k.hashNew(ctx, u.User, k.normalized(password))
	if err != nil {
		return err
	}
	change := UserUpdate{PasswordHash: &hash, IfVersion: u.Version}
	if own := k.ownSession(ctx, userID); own != "" {
		return k.changeAndRevoke(ctx, userID, change, EventPasswordChange, own, now())
	}
	return k.revokeAll(ctx, userID, change, EventPasswordChange)
}

// SetPassword replaces the password of an account and ends all of its sessions and tokens.
// It clears the failed logins that [Config].Throttle has counted against the account. Your
// program must authorize the change. Users who change their own password use
// [Kit.ChangePassword].
//
// A principal in ctx must be able to grant all roles of the account, as [Kit.SetRoles]
// describes: it could log in as the user afterwards. If it authenticated as a user, it must
// have done so by a login, not by a machine credential such as an API key.
//
// The errors are:
//   - A *ValidationError if the password is against the rules.
//   - ErrForbidden if the principal of ctx may not make the change.
//   - ErrConflict if the account is changed at the same time. The other change stays.
//   - ErrUserNotFound, ErrOverloaded, or the error of ctx.
//   - ErrUnavailable as in [Kit.LogoutEverywhere].
func (k *Kit) SetPassword(ctx context.Context, userID, password string) error {
	u, err := k.stored(ctx, userID)
	if err != nil {
		return err
	}
	if err := k.mayControl(ctx, &u.User); err != nil {
		return err
	}
	hash, err := k.hashNew(ctx, u.User, k.normalized(password))
	if err != nil {
		return err
	}
	err = k.revokeAll(ctx, userID, UserUpdate{PasswordHash: &hash, IfVersion: u.Version}, EventPasswordChange)
	if err == nil {
		k.resetFailures(ctx, u.Email, ActionLogin)
	}
	return err
}

// revokeAll changes an account, and refuses every token that was issued to it until now.
func (k *Kit) revokeAll(ctx context.Context, userID string, change UserUpdate, kind EventKind) error {
	// Tokens are dated in whole seconds. The cut-off is the next one, so that none of this
	// second outlives it.
	from := nextSecond(now())
	change.TokensValidAfter = &from
	return k.changeAndRevoke(ctx, userID, change, kind, "", from)
}

func nextSecond(t time.Time) time.Time { return t.Truncate(time.Second).Add(time.Second) }

// changeAndRevoke changes an account and ends its sessions but one. If a store with
// transactions keeps both, that is one change. Otherwise the account comes first: a cut-off
// refuses the old tokens even if the sessions cannot be removed.
//
// The account is updated before the sessions are revoked, and a login stores its session
// before it reads the account again. A login with the old password is therefore seen by one
// of the two: a store makes a new session wait for the transaction that revokes those of
// its user.
func (k *Kit) changeAndRevoke(ctx context.Context, userID string, change UserUpdate, kind EventKind, except string, at time.Time) error {
	if k.shared() {
		var u User
		err := k.inTxAfter(ctx, func(ctx context.Context) (err error) {
			u, err = k.change(ctx, userID, change, kind)
			return err
		}, func(ctx context.Context) error {
			if err := k.forgetDevices(ctx, userID); err != nil {
				return err
			}
			return k.revoke(ctx, &u, except, at)
		})
		if err != nil {
			return k.userError(ctx, err)
		}
		return nil
	}
	u, err := k.change(ctx, userID, change, kind)
	if err != nil {
		return k.userError(ctx, err)
	}
	if err := k.forgetDevices(ctx, userID); err != nil { // they are not trusted any more; this removes them
		_ = k.storeFailed(ctx, err)
	}
	return k.revokeAfter(ctx, &u, except, at)
}

// revokeAfter ends the sessions of an account but one, after a change that is
// stored already. If that fails, it refuses all tokens of the account: the user
// cannot make the change again, and no session must outlive it.
func (k *Kit) revokeAfter(ctx context.Context, u *User, except string, at time.Time) error {
	ctx = context.WithoutCancel(ctx)
	err := k.revoke(ctx, u, except, at)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) { // a time-out took long enough
		err = k.revoke(ctx, u, except, at)
	}
	if err != nil && except != "" { // else the change has refused them
		_, failed := k.users.UpdateUser(ctx, u.ID, UserUpdate{TokensValidAfter: new(nextSecond(now()))}, now())
		err = errors.Join(err, failed)
	}
	if err != nil {
		return k.storeFailed(ctx, err)
	}
	return nil
}

// change changes an account and emits the event. The error is that of the store.
func (k *Kit) change(ctx context.Context, userID string, change UserUpdate, kind EventKind) (User, error) {
	u, err := k.users.UpdateUser(ctx, userID, change, now())
	if err != nil {
		return User{}, err
	}
	k.emit(ctx, Event{Kind: kind, UserID: userID})
	return u, nil
}

// revoke ends the sessions of an account but one. Without an exception it also revokes the
// tokens that name the user by e-mail only. The error is that of the store.
func (k *Kit) revoke(ctx context.Context, u *User, except string, at time.Time) error {
	if k.sessions == nil {
		return nil
	}
	if err := k.sessions.store.RevokeSessions(ctx, u.ID, except, at); err != nil {
		return err
	}
	if !k.emailSubject || except != "" {
		return nil
	}
	return k.sessions.store.RevokeSessions(ctx, emailOwner+u.Email, "", at)
}
