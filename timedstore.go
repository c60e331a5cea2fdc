package authkit

import (
	"context"
	"time"
)

const defaultStoreTimeout = 5 * time.Second

// timedStore gives every call to a store a deadline: a database that hangs must not take
// the requests that ask it along.
type timedStore struct {
	UserStore
	timeout time.Duration
}

// timed makes a call with one result beside the error.
func timed[T any](ctx context.Context, timeout time.Duration, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return call(ctx)
}

func (s timedStore) CreateUser(ctx context.Context, u StoredUser) error {
	_, err := timed(ctx, s.timeout, func(ctx context.Context) (any, error) {
		return nil, s.UserStore.CreateUser(ctx, u)
	})
	return err
}

func (s timedStore) UserByID(ctx context.Context, id string) (StoredUser, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (StoredUser, error) {
		return s.UserStore.UserByID(ctx, id)
	})
}

func (s timedStore) UserByEmail(ctx context.Context, email string) (StoredUser, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (StoredUser, error) {
		return s.UserStore.UserByEmail(ctx, email)
	})
}

func (s timedStore) UpdateUser(ctx context.Context, id string, change UserUpdate, at time.Time) (User, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (User, error) {
		return s.UserStore.UpdateUser(ctx, id, change, at)
	})
}

// timedSessions does for a SessionStore what timedStore does for a UserStore.
type timedSessions struct {
	SessionStore
	timeout time.Duration
}

func (s timedSessions) CreateSession(ctx context.Context, session StoredSession, limit int) error {
	_, err := timed(ctx, s.timeout, func(ctx context.Context) (any, error) {
		return nil, s.SessionStore.CreateSession(ctx, session, limit)
	})
	return err
}

func (s timedSessions) SessionByID(ctx context.Context, id string) (StoredSession, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (StoredSession, error) {
		return s.SessionStore.SessionByID(ctx, id)
	})
}

func (s timedSessions) SessionsByUser(ctx context.Context, userID string) ([]Session, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) ([]Session, error) {
		return s.SessionStore.SessionsByUser(ctx, userID)
	})
}

func (s timedSessions) RotateSession(ctx context.Context, id string, r Rotation) (session StoredSession, rotated bool, err error) {
	session, err = timed(ctx, s.timeout, func(ctx context.Context) (s2 StoredSession, err error) {
		s2, rotated, err = s.SessionStore.RotateSession(ctx, id, r)
		return s2, err
	})
	return session, rotated, err
}

func (s timedSessions) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (bool, error) {
		return s.SessionStore.RevokeSession(ctx, userID, id, at)
	})
}

func (s timedSessions) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	_, err := timed(ctx, s.timeout, func(ctx context.Context) (any, error) {
		return nil, s.SessionStore.RevokeSessions(ctx, userID, except, at)
	})
	return err
}

func (s timedSessions) Revocations(ctx context.Context, since time.Time) ([]Revocation, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) ([]Revocation, error) {
		return s.SessionStore.Revocations(ctx, since)
	})
}

func (s timedSessions) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (int, error) {
		return s.SessionStore.DeleteExpired(ctx, at, revokedBefore, limit)
	})
}
