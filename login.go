package authkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The methods by which this package authenticates users (RFC 8176). Features add others,
// such as "otp" and "hwk".
const (
	MethodPassword = "pwd"
	MethodMultiple = "mfa" // along with the methods that were used

	// MethodTrustedDevice means that the second factor was skipped on a trusted
	// device; see [Config].TrustedDevices.
	MethodTrustedDevice = "trusted_device"
)

// A Proof is the result of authenticating a user: the account, the methods and
// the time. A session and its access tokens carry it as "amr" and "auth_time".
type Proof struct {
	UserID string

	// Methods are the methods used, in names of RFC 8176 such as "pwd", "otp"
	// and "hwk". At least one is required. "mfa" means that several factors
	// were used at once, as by a passkey with user verification. No second
	// factor is then required.
	//
	// The Method of a [SecondFactor] means that the user has answered that
	// factor. So do not use "otp" for a code that was sent by mail, but
	// "email".
	Methods []string

	// AuthTime is when the user authenticated. If it is zero or in the future,
	// it is now. If the user then answers a second factor, it becomes the time
	// of that answer. The login fails if AuthTime is not after 1970, because
	// another provider may send an auth_time of 0.
	AuthTime time.Time

	// Version is the [User].Version of the account when the proof began, such
	// as when a code was sent. If the account has changed since, the login
	// fails. If zero, it is the version at the time when the function that
	// returns the Proof has returned.
	Version int64
}

// A login is a login in progress.
type login struct {
	attempt Attempt
	user    StoredUser // as it was when proved; also set with an error, once it is known
	proof   Proof
	token   Token
	session Session
}

// Login checks an e-mail and a password and returns an access token, and a refresh token
// if sessions are on.
//
// The errors are:
//   - ErrInvalidCredentials if the account does not exist, has no password, has
//     another password, or is locked. All of these take the same time.
//   - ErrUserDisabled or ErrEmailUnverified if the password is right and the account may
//     not log in.
//   - A *ChallengeError if the user must answer a second factor; see [Kit.AnswerChallenge].
//   - A *ThrottledError if [Config].Throttle refuses the attempt, even if the password is
//     right.
//   - ErrOverloaded if too many logins are waiting, ErrUnavailable if a store failed, or
//     the error of ctx.
//
// After a successful login, a stored hash of another scheme or of a lower cost
// is replaced. A login in the same second as a call of [Kit.SetPassword] or
// [Kit.LogoutEverywhere] waits for the end of that second, because its token
// would be refused otherwise.
func (k *Kit) Login(ctx context.Context, email, password string) (Token, error) {
	email, _ = NormalizeEmail(email) // empty if it is none: no account has that
	password = k.normalized(password)
	const tries = 2 // a concurrent rehash is no reason to refuse a login
	return k.logIn(ctx, Attempt{Action: ActionLogin, Account: email, Guess: NewGuess(password)}, tries, func(ctx context.Context, t *trial, l *login) (err error) {
		l.user, err = k.checkPassword(ctx, t, email, password)
		l.proof = Proof{UserID: l.user.ID, Methods: []string{MethodPassword}, Version: l.user.Version}
		return err
	})
}

// LoginWith logs in the user that prove authenticates. Packages use it to add a
// way to log in: with a code in an e-mail, a passkey or another provider. It
// consults [Config].Throttle about a, calls prove, checks that the account may
// log in, requires a second factor, begins the session, issues the tokens and
// emits the events.
//
// LoginWith calls prove at most once. prove must take the same time whether or
// not the account exists. The error that it returns, or wraps, decides whether
// the attempt counts as a failure:
//   - ErrInvalidCredentials, ErrInvalidTicket or ErrInvalidCode if the user
//     could not be authenticated. The attempt counts. Return one of them for a
//     wrong response even if ctx is done.
//   - ErrUserNotFound or ErrTicketNotFound. The attempt counts. LoginWith
//     returns ErrInvalidCredentials instead, because these errors reveal who
//     has an account.
//   - ErrUnavailable if a store failed, or any other error. The attempt does
//     not count against the account.
//
// If a.Account is not empty, it must be the e-mail of the user that prove
// authenticates. Otherwise the login fails.
//
// The errors are those of [Kit.Login], and any other error of prove. A handler
// responds to an error with [ProblemFor], which keeps the token of a
// *ChallengeError. It responds with the Token as JSON with "Cache-Control:
// no-store", or with [Kit.SetSessionCookie].
func (k *Kit) LoginWith(ctx context.Context, a Attempt, prove func(context.Context) (Proof, error)) (Token, error) {
	return k.logIn(ctx, a, 1, func(ctx context.Context, t *trial, l *login) error {
		proof, err := prove(ctx)
		if err != nil {
			return notProved(err)
		}
		t.compared = true
		if len(proof.Methods) == 0 || slices.Contains(proof.Methods, MethodTrustedDevice) {
			return errors.New("authkit: LoginWith: a Proof without Methods, or with that of a trusted device")
		}
		if at := proof.AuthTime; !at.IsZero() && at.Unix() <= 0 {
			return &authError{ErrInvalidCredentials, ReasonWrongProof, errAuthTime}
		}
		l.proof = proof
		l.user, err = k.users.UserByID(ctx, proof.UserID)
		switch {
		case errors.Is(err, ErrUserNotFound) || err == nil && l.user.ID != proof.UserID:
			l.user = StoredUser{}
			return errUnknownUser
		case err != nil:
			l.user = StoredUser{}
			return storeError(ctx, err)
		case a.Account != "" && a.Account != l.user.Email:
			return errOtherName
		case proof.Version == 0:
			l.proof.Version = l.user.Version
		case proof.Version != l.user.Version:
			return errAccountChanged
		}
		return nil
	})
}

// notProved returns the error of the function of a [Kit.LoginWith].
func notProved(err error) error {
	if _, hook := errors.AsType[*callbackError](err); hook || errors.Is(err, ErrUnavailable) {
		return err
	}
	switch {
	case errors.Is(err, ErrUserNotFound):
		return errUnknownUser
	case errors.Is(err, ErrTicketNotFound):
		return errWrongProof
	}
	return err
}

// logIn is the one path of every login. If the account changes between the
// proof and the end of the login, it retries, up to the number of tries.
func (k *Kit) logIn(ctx context.Context, a Attempt, tries int, prove func(context.Context, *trial, *login) error) (Token, error) {
	var l login
	err := k.throttled(ctx, a, func(t *trial) error {
		for try := 1; ; try++ {
			l = login{attempt: a}
			err := prove(ctx, t, &l)
			if err == nil {
				err = k.proceed(ctx, &l)
			}
			if err != errAccountChanged || try == tries {
				return err
			}
		}
	})
	return l.token, k.concluded(ctx, &l, err)
}

// concluded emits the event of a login that has ended, and returns its error.
func (k *Kit) concluded(ctx context.Context, l *login, err error) error {
	e := Event{Kind: EventLoginSuccess, SessionID: l.session.ID}
	if _, challenged := errors.AsType[*ChallengeError](err); challenged {
		e.Kind = EventLoginChallenge
	} else if err != nil {
		e = failureEvent(ctx, EventLoginFailure, err)
	}
	e.UserID = l.user.ID
	k.emit(ctx, e)
	return err
}

// proceed takes a login from the proof to the tokens, or to a challenge.
func (k *Kit) proceed(ctx context.Context, l *login) error {
	if err := k.mayLogIn(&l.user); err != nil {
		return err
	}
	if at := now(); l.proof.AuthTime.IsZero() || l.proof.AuthTime.After(at) {
		l.proof.AuthTime = at
	}
	missing, err := k.missingFactors(ctx, &l.user.User, &l.proof)
	if err != nil {
		return err
	}
	if missing != nil && !missing.enroll && k.devices != nil {
		trusted, err := k.devices.Trusted(ctx, l.user)
		if err != nil {
			return storeError(ctx, err)
		}
		if trusted {
			missing, l.proof.Methods = nil, append(slices.Clone(l.proof.Methods), MethodTrustedDevice)
		}
	}
	if missing != nil {
		return k.challenge(ctx, l, missing)
	}
	return k.finishLogin(ctx, l)
}

// mayLogIn returns why an account may not log in, or nil. Every login and every
// refresh calls it.
func (k *Kit) mayLogIn(u *StoredUser) error {
	switch {
	case u.Disabled:
		return errUserDisabled
	case now().Before(u.LockedUntil):
		return errUserLocked
	case k.verifiedOnly && u.EmailVerifiedAt.IsZero():
		return errUnverified
	}
	return nil
}

// finishLogin is the last step of every login: it begins the session and issues
// the tokens.
//
// Proving takes time, and the account may change meanwhile. The account is
// therefore read again after the session has been stored. An earlier change is
// visible in that read, and a later change finds the session and ends it. The
// clocks of instances do not matter.
func (k *Kit) finishLogin(ctx context.Context, l *login) error {
	extra, err := k.userClaims(ctx, l.user.User)
	if err != nil {
		return err
	}
	if err := waitForCutoff(ctx, l.user.TokensValidAfter); err != nil {
		return err
	}
	at := now()
	if k.sessions == nil {
		token, err := k.issue(l.user, extra, nil, l.proof, at)
		if err == nil {
			err = k.recheck(ctx, l)
		}
		if err == nil {
			l.token = token
		}
		return err
	}
	stored, refreshToken := k.sessions.newSession(ctx, l.proof, at)
	token, err := k.issue(l.user, extra, &stored.Session, l.proof, at)
	if err != nil {
		return err
	}
	if err := k.sessions.store.CreateSession(ctx, stored, k.sessions.perUser); err != nil {
		return storeError(ctx, err)
	}
	if err := k.recheck(ctx, l); err != nil {
		return k.end(ctx, &stored.Session, err)
	}
	token.RefreshToken = refreshToken.Text()
	l.token, l.session = token, stored.Session
	return nil
}

// recheck returns why the account of a login may no longer log in, or nil. It also asks
// for the second factors again: the user may have enrolled one.
func (k *Kit) recheck(ctx context.Context, l *login) error {
	u, err := k.users.UserByID(ctx, l.user.ID)
	switch {
	case errors.Is(err, ErrUserNotFound):
		return errUnknownUser
	case err != nil:
		return storeError(ctx, err)
	case u.Version != l.proof.Version:
		if err := k.mayLogIn(&u); err != nil {
			return err
		}
		return errAccountChanged
	}
	missing, err := k.missingFactors(ctx, &u.User, &l.proof)
	if missing != nil {
		err = errAccountChanged
	}
	return err
}

// waitForCutoff waits for the end of the second of an account's cut-off. Tokens are
// dated in whole seconds, so a token issued within that second would be
// refused. With correct clocks it waits at most one second, or two if the
// program chose the cut-off.
func waitForCutoff(ctx context.Context, cutOff time.Time) error {
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

// userClaims returns the claims of [Config].ExtraClaims.
func (k *Kit) userClaims(ctx context.Context, u User) (any, error) {
	if k.extraClaims == nil {
		return nil, nil
	}
	extra, err := k.extraClaims(ctx, u)
	if err != nil {
		return nil, &callbackError{"Config.ExtraClaims", err}
	}
	return extra, nil
}

// issue makes the access token of an account, and of a session if there is one.
func (k *Kit) issue(u StoredUser, extra any, s *Session, proof Proof, at time.Time) (Token, error) {
	c := Claims{
		Subject: u.ID, Roles: u.Roles, IssuedAt: at, ExpiresAt: at.Add(k.issuer.lifetime), Extra: extra,
		AuthTime: proof.AuthTime, Methods: slices.Clone(proof.Methods),
	}
	if k.emailSubject {
		c.Subject, c.UserID = u.Email, u.ID
	}
	if s != nil {
		c.SessionID = s.ID
		if c.ExpiresAt.After(s.AbsoluteExpiresAt) {
			c.ExpiresAt = s.AbsoluteExpiresAt
		}
	}
	signed, err := k.issuer.Issue(c)
	if err != nil {
		return Token{}, err
	}
	return Token{AccessToken: signed, TokenType: "bearer", ExpiresIn: int(c.ExpiresAt.Sub(at) / time.Second), User: u.User}, nil
}
