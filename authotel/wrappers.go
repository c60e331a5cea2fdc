package authotel

import (
	"context"
	"errors"
	"time"

	"github.com/authkit-go/authkit"
)

type users struct {
	store authkit.UserStore
	t     *Telemetry
}

func (u users) CreateUser(ctx context.Context, user authkit.StoredUser) (err error) {
	ctx, end := u.t.start(ctx, "UserStore.CreateUser")
	defer func() { end(err) }()
	return u.store.CreateUser(ctx, user)
}

func (u users) UserByID(ctx context.Context, id string) (found authkit.StoredUser, err error) {
	ctx, end := u.t.start(ctx, "UserStore.UserByID")
	defer func() { end(err) }()
	return u.store.UserByID(ctx, id)
}

func (u users) UserByEmail(ctx context.Context, email string) (found authkit.StoredUser, err error) {
	ctx, end := u.t.start(ctx, "UserStore.UserByEmail")
	defer func() { end(err) }()
	return u.store.UserByEmail(ctx, email)
}

func (u users) ListUsers(ctx context.Context, q authkit.UserQuery) (list []authkit.User, err error) {
	ctx, end := u.t.start(ctx, "UserStore.ListUsers")
	defer func() { end(err) }()
	return u.store.ListUsers(ctx, q)
}

func (u users) CountUsers(ctx context.Context, q authkit.UserQuery) (n int, err error) {
	ctx, end := u.t.start(ctx, "UserStore.CountUsers")
	defer func() { end(err) }()
	return u.store.CountUsers(ctx, q)
}

func (u users) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (changed authkit.User, err error) {
	ctx, end := u.t.start(ctx, "UserStore.UpdateUser")
	defer func() { end(err) }()
	return u.store.UpdateUser(ctx, id, change, at)
}

func (u users) DeleteUser(ctx context.Context, id, keepRole string) (err error) {
	ctx, end := u.t.start(ctx, "UserStore.DeleteUser")
	defer func() { end(err) }()
	return u.store.DeleteUser(ctx, id, keepRole)
}

type sessions struct {
	store authkit.SessionStore
	t     *Telemetry
}

func (s sessions) CreateSession(ctx context.Context, session authkit.StoredSession, limit int) (err error) {
	ctx, end := s.t.start(ctx, "SessionStore.CreateSession")
	defer func() { end(err) }()
	return s.store.CreateSession(ctx, session, limit)
}

func (s sessions) SessionByID(ctx context.Context, id string) (found authkit.StoredSession, err error) {
	ctx, end := s.t.start(ctx, "SessionStore.SessionByID")
	defer func() { end(err) }()
	return s.store.SessionByID(ctx, id)
}

func (s sessions) SessionsByUser(ctx context.Context, userID string) (list []authkit.Session, err error) {
	ctx, end := s.t.start(ctx, "SessionStore.SessionsByUser")
	defer func() { end(err) }()
	return s.store.SessionsByUser(ctx, userID)
}

func (s sessions) RotateSession(ctx context.Context, id string, r authkit.Rotation) (found authkit.StoredSession, rotated bool, err error) {
	ctx, end := s.t.start(ctx, "SessionStore.RotateSession")
	defer func() { end(err) }()
	return s.store.RotateSession(ctx, id, r)
}

func (s sessions) RevokeSession(ctx context.Context, userID, id string, at time.Time) (revoked bool, err error) {
	ctx, end := s.t.start(ctx, "SessionStore.RevokeSession")
	defer func() { end(err) }()
	return s.store.RevokeSession(ctx, userID, id, at)
}

func (s sessions) RevokeSessions(ctx context.Context, userID, except string, at time.Time) (err error) {
	ctx, end := s.t.start(ctx, "SessionStore.RevokeSessions")
	defer func() { end(err) }()
	return s.store.RevokeSessions(ctx, userID, except, at)
}

func (s sessions) Revocations(ctx context.Context, since time.Time) (list []authkit.Revocation, err error) {
	ctx, end := s.t.start(ctx, "SessionStore.Revocations")
	defer func() { end(err) }()
	return s.store.Revocations(ctx, since)
}

func (s sessions) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (n int, err error) {
	ctx, end := s.t.start(ctx, "SessionStore.DeleteExpired")
	defer func() { end(err) }()
	return s.store.DeleteExpired(ctx, at, revokedBefore, limit)
}

type sessionUsers struct {
	store authkit.SessionUserStore
	t     *Telemetry
}

func (s sessionUsers) SessionUser(ctx context.Context, sessionID string) (session authkit.StoredSession, user authkit.StoredUser, err error) {
	ctx, end := s.t.start(ctx, "SessionUserStore.SessionUser")
	defer func() { end(err) }()
	return s.store.SessionUser(ctx, sessionID)
}

type tickets struct {
	store authkit.TicketStore
	t     *Telemetry
}

func (s tickets) PutTicket(ctx context.Context, ticket authkit.Ticket) (err error) {
	ctx, end := s.t.start(ctx, "TicketStore.PutTicket")
	defer func() { end(err) }()
	return s.store.PutTicket(ctx, ticket)
}

func (s tickets) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (found authkit.Ticket, err error) {
	ctx, end := s.t.start(ctx, "TicketStore.AttemptTicket")
	defer func() { end(err) }()
	return s.store.AttemptTicket(ctx, kind, id, at)
}

func (s tickets) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) (err error) {
	ctx, end := s.t.start(ctx, "TicketStore.ConsumeTicket")
	defer func() { end(err) }()
	return s.store.ConsumeTicket(ctx, kind, id, at)
}

func (s tickets) DeleteTickets(ctx context.Context, subject string) (err error) {
	ctx, end := s.t.start(ctx, "TicketStore.DeleteTickets")
	defer func() { end(err) }()
	return s.store.DeleteTickets(ctx, subject)
}

func (s tickets) DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (n int, err error) {
	ctx, end := s.t.start(ctx, "TicketStore.DeleteExpiredTickets")
	defer func() { end(err) }()
	return s.store.DeleteExpiredTickets(ctx, at, limit)
}

type transactor struct {
	store authkit.Transactor
	t     *Telemetry
}

// InTx makes one span for all calls of f. The spans of the calls are inside it.
func (x transactor) InTx(ctx context.Context, f func(context.Context) error) (err error) {
	ctx, end := x.t.start(ctx, "Transactor.InTx")
	var refused error // of f
	defer func() {
		if err != nil && refused != nil && errors.Is(err, refused) {
			end(errRolledBack)
		} else {
			end(err)
		}
	}()
	return x.store.InTx(ctx, func(ctx context.Context) error {
		refused = f(ctx)
		return refused
	})
}

// errRolledBack ends the span of a transaction that its function has rolled back.
var errRolledBack = errors.New("rolled back")

type tracedThrottle struct {
	limits authkit.Throttle
	t      *Telemetry
}

// Unwrap returns the throttle, for the Doctor.
func (t tracedThrottle) Unwrap() any { return t.limits }

func (t tracedThrottle) Begin(ctx context.Context, a authkit.Attempt) (err error) {
	ctx, end := t.t.start(ctx, "Throttle.Begin")
	defer func() { end(err) }()
	return t.limits.Begin(ctx, a)
}

func (t tracedThrottle) End(ctx context.Context, a authkit.Attempt, outcome authkit.AttemptOutcome) (err error) {
	ctx, end := t.t.start(ctx, "Throttle.End")
	defer func() { end(err) }()
	return t.limits.End(ctx, a, outcome)
}

func (t tracedThrottle) Clear(ctx context.Context, a authkit.Attempt) (err error) {
	ctx, end := t.t.start(ctx, "Throttle.Clear")
	defer func() { end(err) }()
	return t.limits.Clear(ctx, a)
}
