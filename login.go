package authkit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authkit-go/authkit/internal/gate"
)

// Private causes of failed logins; what the caller sees is the kind alone.
var (
	errUnknownUser   = &refusal{ErrInvalidCredentials, ReasonUnknownUser, nil}
	errWrongPassword = &refusal{ErrInvalidCredentials, ReasonWrongPassword, nil}
	errNoPassword    = &refusal{ErrInvalidCredentials, ReasonNoPassword, nil}
	errOverloaded    = &refusal{ErrOverloaded, ReasonOverloaded, nil}
)

// Login checks an e-mail and a password and returns an access token, and a refresh token
// where sessions are on.
//
// The error is ErrInvalidCredentials for every reason of the caller's, at the same
// cost; ErrUserDisabled if the password is right but the account is disabled;
// a *ThrottledError if [Config].Throttle refuses the attempt, even if the password is
// right; ErrOverloaded if too many logins are waiting already; ErrUnavailable if a store
// failed; the context's if ctx ended. Whatever the reason, it is told to
// [Config].OnEvent.
//
// A stored hash of another scheme than the primary one, or of a lower cost, is
// replaced after a login that succeeds. A login within the second of a cut-off, such as
// that of [Kit.SetPassword], waits for its end.
func (k *Kit) Login(ctx context.Context, email, password string) (Token, error) {
	email, _ = NormalizeEmail(email) // empty if it is none: nobody has that
	var user StoredUser
	var token Token
	var session Session
	err := k.throttled(ctx, ActionLogin, email, func() (err error) {
		user, token, session, err = k.login(ctx, email, password)
		if err == errAccountChanged { // a rehash beside this one is no reason to refuse
			user, token, session, err = k.login(ctx, email, password)
		}
		return err
	})
	if err != nil {
		e := failureOf(ctx, EventLoginFailure, err)
		e.UserID = user.ID
		k.emit(ctx, e)
		return Token{}, err
	}
	k.emit(ctx, Event{Kind: EventLoginSuccess, UserID: user.ID, SessionID: session.ID})
	return token, nil
}

// login is one try of Login, without the event. The account is also returned with an
// error, once it is known.
func (k *Kit) login(ctx context.Context, email, password string) (StoredUser, Token, Session, error) {
	user, err := k.checkPassword(ctx, email, password)
	if err != nil {
		return user, Token{}, Session{}, err
	}
	token, session, err := k.complete(ctx, user)
	return user, token, session, err
}

// checkPassword returns the enabled account that an e-mail and a password belong to.
// The account is also returned with an error, once it is known. Whatever happens to
// a password, one hash is computed; another one only to replace it after success.
func (k *Kit) checkPassword(ctx context.Context, email, password string) (StoredUser, error) {
	u, err := k.lookUp(ctx, email)
	if err != nil && !errors.Is(err, ErrUserNotFound) {
		return StoredUser{}, unavailable(ctx, err)
	}
	fresh, rehashErr, err := k.verify(ctx, u, password)
	if err != nil {
		return u, err
	}
	if k.rehash(ctx, u, fresh, rehashErr) {
		u.PasswordHash = fresh
	}
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
	case u.Disabled:
		return "", nil, errUserDisabled
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

// rehash replaces the hash of a password that was just verified, if a fresh one was due,
// and reports whether it did. It is a compare-and-swap: a password that was changed
// meanwhile stays. A login does not fail for it.
func (k *Kit) rehash(ctx context.Context, u StoredUser, fresh PasswordHash, err error) (swapped bool) {
	if err == nil && fresh != "" {
		_, err = k.users.UpdateUser(ctx, u.ID, UserUpdate{PasswordHash: &fresh, IfVersion: u.Version}, now())
		swapped = err == nil
		if errors.Is(err, ErrConflict) {
			err = nil
		} else if err != nil && !errors.Is(err, ErrUserNotFound) {
			err = unavailable(ctx, err)
		}
	}
	switch {
	case err != nil:
		e := Event{Kind: EventPasswordRehash, UserID: u.ID}
		e.Reason, e.Err = reasonOf(ctx, err)
		k.emit(ctx, e)
	case swapped:
		k.emit(ctx, Event{Kind: EventPasswordRehash, UserID: u.ID})
	}
	return swapped
}

// errAccountChanged is why a login is refused whose account is not any more what it was
// when the password was verified.
var errAccountChanged = &refusal{ErrInvalidCredentials, ReasonCutOff, nil}

// complete is the last step of every way to log in: it begins the session and makes the
// tokens.
//
// Proving who one is takes time, in which the account may have changed. It is read again
// when the session has been stored: what changes it later finds the session, and ends it.
// So it does not matter whose clock is ahead.
func (k *Kit) complete(ctx context.Context, proved StoredUser) (Token, Session, error) {
	extra, err := k.extra(ctx, proved.User)
	if err != nil {
		return Token{}, Session{}, err
	}
	if err := passed(ctx, proved.ValidFrom); err != nil {
		return Token{}, Session{}, err
	}
	at := now()
	if k.sessions == nil {
		token, err := k.issue(proved, extra, nil, at)
		if err == nil {
			err = k.unchanged(ctx, proved)
		}
		return token, Session{}, err
	}
	session, refreshToken := k.sessions.begin(ctx, proved.ID, at)
	token, err := k.issue(proved, extra, &session.Session, at)
	if err != nil {
		return Token{}, Session{}, err
	}
	if err := k.sessions.store.CreateSession(ctx, session, k.sessions.perUser); err != nil {
		return Token{}, Session{}, unavailable(ctx, err)
	}
	if err := k.unchanged(ctx, proved); err != nil {
		return Token{}, Session{}, k.end(ctx, &session.Session, err)
	}
	token.RefreshToken = refreshToken.Text()
	return token, session.Session, nil
}

// unchanged returns why an account is not to be logged in that was read before, or nil.
func (k *Kit) unchanged(ctx context.Context, proved StoredUser) error {
	u, err := k.users.UserByID(ctx, proved.ID)
	switch {
	case errors.Is(err, ErrUserNotFound):
		return errUnknownUser
	case err != nil:
		return unavailable(ctx, err)
	case u.Disabled:
		return errUserDisabled
	case u.Email != proved.Email, u.PasswordHash != proved.PasswordHash, !u.ValidFrom.Equal(proved.ValidFrom):
		return errAccountChanged
	}
	return nil
}

// passed waits until the second of an account's cut-off is over: tokens are dated in whole
// seconds, so what is issued in it would be cut off too. It is a second at most, or two where
// the host chose the cut-off, if the clocks are right.
func passed(ctx context.Context, cutOff time.Time) error {
	const most = 5 * time.Second
	wait := time.Until(cutOff.Add(time.Second - 1).Truncate(time.Second))
	switch {
	case wait <= 0:
		return nil
	case wait > most:
		return fmt.Errorf("%w: the account is cut off until %v from now; are the clocks right?", ErrUnavailable, wait)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// extra returns the host's own claims.
func (k *Kit) extra(ctx context.Context, u User) (any, error) {
	if k.extraClaims == nil {
		return nil, nil
	}
	extra, err := k.extraClaims(ctx, u)
	if err != nil {
		return nil, &hookError{"Config.ExtraClaims", err}
	}
	return extra, nil
}

// issue makes the access token of an account, and of a session if there is one.
func (k *Kit) issue(u StoredUser, extra any, s *Session, at time.Time) (Token, error) {
	c := Claims{Subject: u.ID, Roles: u.Roles, IssuedAt: at, ExpiresAt: at.Add(k.issuer.lifetime), Extra: extra}
	if k.emailSubject {
		c.Subject, c.UserID = u.Email, u.ID
	}
	if s != nil {
		c.SessionID = s.ID
		if c.ExpiresAt.After(s.EndsAt) {
			c.ExpiresAt = s.EndsAt
		}
	}
	signed, err := k.issuer.Issue(c)
	if err != nil {
		return Token{}, err
	}
	return Token{AccessToken: signed, TokenType: "bearer", ExpiresIn: int(c.ExpiresAt.Sub(at) / time.Second), User: u.User}, nil
}
