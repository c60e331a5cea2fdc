package authotel

import (
	"context"
	"time"

	"github.com/authkit-go/authkit"
)

type users struct {
	store authkit.UserStore
	spans spans
}

// Unwrap shows the store to the doctor.
func (u users) Unwrap() any { return u.store }

func (u users) CreateUser(ctx context.Context, user authkit.StoredUser) (err error) {
	ctx, end := u.spans.start(ctx, "CreateUser")
	defer func() { end(err) }()
	return u.store.CreateUser(ctx, user)
}

func (u users) UserByID(ctx context.Context, id string) (found authkit.StoredUser, err error) {
	ctx, end := u.spans.start(ctx, "UserByID")
	defer func() { end(err) }()
	return u.store.UserByID(ctx, id)
}

func (u users) UserByEmail(ctx context.Context, email string) (found authkit.StoredUser, err error) {
	ctx, end := u.spans.start(ctx, "UserByEmail")
	defer func() { end(err) }()
	return u.store.UserByEmail(ctx, email)
}

func (u users) ListUsers(ctx context.Context, after string, limit int) (list []authkit.User, err error) {
	ctx, end := u.spans.start(ctx, "ListUsers")
	defer func() { end(err) }()
	return u.store.ListUsers(ctx, after, limit)
}

func (u users) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (changed authkit.User, err error) {
	ctx, end := u.spans.start(ctx, "UpdateUser")
	defer func() { end(err) }()
	return u.store.UpdateUser(ctx, id, change, at)
}

func (u users) SwapPasswordHash(ctx context.Context, id string, old, new authkit.PasswordHash, at time.Time) (done bool, err error) {
	ctx, end := u.spans.start(ctx, "SwapPasswordHash")
	defer func() { end(err) }()
	return u.store.SwapPasswordHash(ctx, id, old, new, at)
}

func (u users) DeleteUser(ctx context.Context, id string) (err error) {
	ctx, end := u.spans.start(ctx, "DeleteUser")
	defer func() { end(err) }()
	return u.store.DeleteUser(ctx, id)
}

type sessions struct {
	store authkit.SessionStore
	spans spans
}

func (s sessions) Unwrap() any { return s.store }

func (s sessions) CreateSession(ctx context.Context, session authkit.StoredSession, limit int) (err error) {
	ctx, end := s.spans.start(ctx, "CreateSession")
	defer func() { end(err) }()
	return s.store.CreateSession(ctx, session, limit)
}

func (s sessions) SessionByID(ctx context.Context, id string) (found authkit.StoredSession, err error) {
	ctx, end := s.spans.start(ctx, "SessionByID")
	defer func() { end(err) }()
	return s.store.SessionByID(ctx, id)
}

func (s sessions) SessionsByUser(ctx context.Context, userID string) (list []authkit.Session, err error) {
	ctx, end := s.spans.start(ctx, "SessionsByUser")
	defer func() { end(err) }()
	return s.store.SessionsByUser(ctx, userID)
}

func (s sessions) RotateSession(ctx context.Context, id string, r authkit.Rotation) (found authkit.StoredSession, done bool, err error) {
	ctx, end := s.spans.start(ctx, "RotateSession")
	defer func() { end(err) }()
	return s.store.RotateSession(ctx, id, r)
}

func (s sessions) RevokeSession(ctx context.Context, userID, id string, at time.Time) (done bool, err error) {
	ctx, end := s.spans.start(ctx, "RevokeSession")
	defer func() { end(err) }()
	return s.store.RevokeSession(ctx, userID, id, at)
}

func (s sessions) RevokeSessions(ctx context.Context, userID, except string, at time.Time) (err error) {
	ctx, end := s.spans.start(ctx, "RevokeSessions")
	defer func() { end(err) }()
	return s.store.RevokeSessions(ctx, userID, except, at)
}

func (s sessions) Revocations(ctx context.Context, since time.Time) (list []authkit.Revocation, err error) {
	ctx, end := s.spans.start(ctx, "Revocations")
	defer func() { end(err) }()
	return s.store.Revocations(ctx, since)
}

func (s sessions) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (n int, err error) {
	ctx, end := s.spans.start(ctx, "DeleteExpired")
	defer func() { end(err) }()
	return s.store.DeleteExpired(ctx, at, revokedBefore, limit)
}

type throttle struct {
	limits authkit.Throttle
	spans  spans
}

func (t throttle) Unwrap() any { return t.limits }

func (t throttle) Begin(ctx context.Context, a authkit.Attempt) (err error) {
	ctx, end := t.spans.start(ctx, "Begin")
	defer func() { end(err) }()
	return t.limits.Begin(ctx, a)
}

func (t throttle) End(ctx context.Context, a authkit.Attempt, succeeded bool) (err error) {
	ctx, end := t.spans.start(ctx, "End")
	defer func() { end(err) }()
	return t.limits.End(ctx, a, succeeded)
}

func (t throttle) Clear(ctx context.Context, a authkit.Attempt) (err error) {
	ctx, end := t.spans.start(ctx, "Clear")
	defer func() { end(err) }()
	return t.limits.Clear(ctx, a)
}
