package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authkit-go/authkit/internal/refresh"
)

var (
	errRefreshMalformed     = &authError{ErrInvalidRefreshToken, ReasonMalformed, nil}
	errRefreshRevoked       = &authError{ErrInvalidRefreshToken, ReasonRevoked, nil}
	errRefreshExpired       = &authError{ErrInvalidRefreshToken, ReasonExpired, nil}
	errRefreshReused        = &authError{ErrInvalidRefreshToken, ReasonReused, nil}
	errRefreshUserGone      = &authError{ErrInvalidRefreshToken, ReasonUnknownUser, nil}
	errRefreshDisabled      = &authError{ErrInvalidRefreshToken, ReasonDisabled, nil}
	errRefreshRevokedBefore = &authError{ErrInvalidRefreshToken, ReasonRevokedBefore, nil}
	errRefreshLocked        = &authError{ErrInvalidRefreshToken, ReasonLocked, nil}

	errRefreshUnverified = &authError{ErrInvalidRefreshToken, ReasonUnverified, nil}
	errRefreshFactor     = &authError{ErrInvalidRefreshToken, ReasonMissingFactor, nil}
	errRefreshOther      = &authError{ErrInvalidRefreshToken, ReasonOtherAccount, nil}
)

// Refresh exchanges a refresh token for an access token and the next refresh
// token. Each refresh token can be exchanged once, by one caller. A caller that
// presents it again within [SessionConfig].ReuseGrace gets the same successor, if
// that has not been used yet. A later use, or an older token, means that two
// parties hold tokens of one session. Refresh then ends the session for both
// (RFC 9700 section 4.14.2).
//
// Refresh reads the account again. The new token has its current roles. The
// session ends if the account is disabled or deleted, if its tokens were
// revoked since the login, or if the user must have used a second factor by
// [Config].RequireFactors and did not.
//
// The errors are:
//   - ErrInvalidRefreshToken for every refusal.
//   - A *ThrottledError if [Config].Throttle refuses the attempt.
//   - ErrUnavailable if a store failed, or the error of ctx. Retry soon, with
//     the same token: the store may have made the change, and the grace period
//     is short.
func (k *Kit) Refresh(ctx context.Context, refreshToken string) (Token, error) {
	var token Token
	var session Session
	err := k.throttled(ctx, Attempt{Action: ActionRefresh}, func(*trial) (err error) {
		token, session, err = k.refresh(ctx, refreshToken)
		return err
	})
	e := Event{Kind: EventSessionRenewed}
	if err != nil {
		e = failureEvent(ctx, EventRefreshFailure, err)
		if e.Reason == ReasonReused {
			e.Kind = EventTokenReuse
		}
	}
	e.UserID, e.SessionID = session.UserID, session.ID
	k.emit(ctx, e)
	return token, err
}

// refresh is Refresh without the event. It also returns the session with an
// error, if it is known.
func (k *Kit) refresh(ctx context.Context, text string) (Token, Session, error) {
	if k.sessions == nil {
		return Token{}, Session{}, errNoSessions
	}
	presented, ok := refresh.Parse(text)
	if !ok {
		return Token{}, Session{}, errRefreshMalformed
	}
	s, user, err := k.sessionAndUser(ctx, presented)
	if err != nil {
		return Token{}, s.Session, err
	}
	next, current := presented.Next(), s.TokenHash == presented.Hash()
	if !current {
		if next, err = k.successor(ctx, &s, presented); err != nil {
			return Token{}, s.Session, err
		}
	}
	if err := k.mayRefresh(ctx, &s.Session, user); err != nil {
		return Token{}, s.Session, err
	}
	extra, err := k.userClaims(ctx, user.User)
	if err != nil {
		return Token{}, s.Session, err
	}
	// The access token comes first: after the rotation no step can fail.
	at := now() // after the hook of your program, which may take time
	token, err := k.issue(*user, extra, &s.Session, Proof{Methods: s.Methods, AuthTime: s.AuthTime}, at)
	if err != nil {
		return Token{}, s.Session, err
	}
	if current {
		if next, err = k.rotate(ctx, &s, presented, next, at); err != nil {
			return Token{}, s.Session, err
		}
	}
	token.RefreshToken = next.Text()
	return token, s.Session, nil
}

// rotate replaces the current token of a session by next. It returns the token
// that is then current, which is another one if another caller was first.
func (k *Kit) rotate(ctx context.Context, s *StoredSession, presented, next refresh.Token, at time.Time) (refresh.Token, error) {
	after, rotated, err := k.sessions.store.RotateSession(ctx, s.ID, Rotation{
		Old: s.TokenHash, New: next.Hash(), Successor: presented.Seal(next),
		At: at, ExpiresAt: k.sessions.expiry(&s.Session, at), Address: cmp.Or(ClientFrom(ctx).Address, s.Address),
	})
	if err != nil && !errors.Is(err, ErrSessionNotFound) {
		// The rotation may have succeeded although its response was lost. The
		// client must not come back after the grace period.
		lost := err
		if after, err = k.sessions.store.SessionByID(ctx, s.ID); err == nil && after.TokenHash == s.TokenHash {
			err = lost
		}
		rotated = after.TokenHash == next.Hash()
	}
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return refresh.Token{}, errRefreshRevoked
	case err != nil:
		return refresh.Token{}, storeError(ctx, err)
	case !rotated:
		return k.successor(ctx, &after, presented)
	}
	return next, nil
}

// session returns the session that a refresh token belongs to, if it has not expired.
func (k *Kit) session(ctx context.Context, t refresh.Token) (StoredSession, error) {
	s, err := k.sessions.store.SessionByID(ctx, t.SessionID())
	return s, refreshable(ctx, &s, err)
}

// refreshable returns why a session that was looked up cannot be refreshed, or nil.
func refreshable(ctx context.Context, s *StoredSession, err error) error {
	at := now()
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return errRefreshRevoked
	case err != nil:
		return storeError(ctx, err)
	case !at.Before(s.ExpiresAt) || !at.Before(s.AbsoluteExpiresAt):
		return errRefreshExpired
	}
	return nil
}

// sessionAndUser returns the session that a refresh token belongs to, if it has not
// expired, and its account; nil, if that is gone.
func (k *Kit) sessionAndUser(ctx context.Context, t refresh.Token) (StoredSession, *StoredUser, error) {
	s, u, err := k.readBoth(ctx, t.SessionID())
	if errors.Is(err, ErrUserNotFound) {
		u, err = StoredUser{}, nil
	}
	if err := refreshable(ctx, &s, err); err != nil || u.ID != s.UserID {
		return s, nil, err
	}
	return s, &u, nil
}

// readBoth reads a session and its account, in one round trip if the store can. The error is
// ErrSessionNotFound, ErrUserNotFound, or that of a store.
func (k *Kit) readBoth(ctx context.Context, sessionID string) (StoredSession, StoredUser, error) {
	if k.joined != nil {
		return k.joined.SessionUser(ctx, sessionID)
	}
	s, err := k.sessions.store.SessionByID(ctx, sessionID)
	if err != nil {
		return StoredSession{}, StoredUser{}, err
	}
	u, err := k.users.UserByID(ctx, s.UserID)
	return s, u, err
}

// mayRefresh returns why a session must not continue, or nil. The session ends,
// ignore the account may log in again later.
func (k *Kit) mayRefresh(ctx context.Context, s *Session, u *StoredUser) error {
	if u == nil {
		return k.end(ctx, s, errRefreshUserGone)
	}
	if s.CreatedAt.Before(u.TokensValidAfter) {
		return k.end(ctx, s, errRefreshRevokedBefore)
	}
	if leeway := time.Duration(k.verifier.leeway) * time.Second; s.CreatedAt.Add(leeway).Before(u.CreatedAt) {
		return k.end(ctx, s, errRefreshOther) // of the account that had the ID before (FR-10)
	}
	switch k.mayLogIn(u) {
	case errUserDisabled:
		return k.end(ctx, s, errRefreshDisabled)
	case errUserLocked:
		return errRefreshLocked
	case errUnverified:
		return errRefreshUnverified
	}
	if k.lacksFactor(&u.User, s.Methods) {
		return k.end(ctx, s, errRefreshFactor)
	}
	return nil
}

// successor returns the token that replaced an old one, if the grace period
// allows it. Otherwise the session ends.
func (k *Kit) successor(ctx context.Context, s *StoredSession, presented refresh.Token) (refresh.Token, error) {
	// The direct parent is the token before the current one, so the successor was not used.
	// A clock that is behind by more than the grace does not make it longer.
	inGrace := k.sessions.keepSuccessor || k.sessions.grace > 0 && now().Sub(s.RotatedAt).Abs() <= k.sessions.grace
	if len(s.Successor) > 0 && s.ParentHash == presented.Hash() && inGrace {
		next, err := presented.Open(s.Successor)
		if err != nil || next.Hash() != s.TokenHash {
			return refresh.Token{}, fmt.Errorf("authkit: the successor of a refresh token is not as it was stored: %w", cmp.Or(err, refresh.ErrSealed))
		}
		return next, nil
	}
	return refresh.Token{}, k.end(ctx, &s.Session, errRefreshReused)
}

// end ends a session and returns the reason. A client that hangs up cannot
// prevent it.
func (k *Kit) end(ctx context.Context, s *Session, reason error) error {
	if _, err := k.sessions.store.RevokeSession(context.WithoutCancel(ctx), s.UserID, s.ID, now()); err != nil {
		return &authError{ErrUnavailable, ReasonStore, errors.Join(reason, err)}
	}
	return reason
}
