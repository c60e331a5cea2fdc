package faults

import (
	"context"
	"time"

	"github.com/authkit-go/authkit"
)

// A Store keeps everything that a Kit keeps, as [authkit.MemoryStore] and sqlstore.DB do.
type Store interface {
	authkit.UserStore
	authkit.SessionStore
	authkit.SessionUserStore
	authkit.TicketStore
	authkit.Transactor
}

// Store returns a store whose calls can fail. It has the capability
// [authkit.UserBatchStore] if s has it.
func (in *Injector) Store(s Store) Store {
	all := everything{users{in, s}, sessions{in, s}, joined{in, s}, tickets{in, s}, transactions{in, s}}
	if batch, ok := s.(authkit.UserBatchStore); ok {
		return &struct {
			everything
			batches
		}{all, batches{in, batch}}
	}
	return &all
}

// Users returns a store of accounts whose calls can fail. It has the capabilities
// [authkit.Transactor] and [authkit.UserBatchStore] if s has them.
func (in *Injector) Users(s authkit.UserStore) authkit.UserStore {
	tx, hasTx := s.(authkit.Transactor)
	batch, hasBatch := s.(authkit.UserBatchStore)
	switch u := (users{in, s}); {
	case hasTx && hasBatch:
		return &struct {
			users
			batches
			transactions
		}{u, batches{in, batch}, transactions{in, tx}}
	case hasTx:
		return &struct {
			users
			transactions
		}{u, transactions{in, tx}}
	case hasBatch:
		return &struct {
			users
			batches
		}{u, batches{in, batch}}
	default:
		return &u
	}
}

// Sessions returns a store of sessions whose calls can fail.
func (in *Injector) Sessions(s authkit.SessionStore) authkit.SessionStore { return &sessions{in, s} }

// Tickets returns a store of tickets whose calls can fail.
func (in *Injector) Tickets(s authkit.TicketStore) authkit.TicketStore { return &tickets{in, s} }

type everything struct {
	users
	sessions
	joined
	tickets
	transactions
}

// Unwrap returns the store that fails.
func (e everything) Unwrap() any { return e.users.store }

type users struct {
	in    *Injector
	store authkit.UserStore
}

func (s users) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	return callError(ctx, s.in, "CreateUser", func(ctx context.Context) error { return s.store.CreateUser(ctx, u) })
}

func (s users) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	return Call(ctx, s.in, "UserByID", func(ctx context.Context) (authkit.StoredUser, error) { return s.store.UserByID(ctx, id) })
}

func (s users) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	return Call(ctx, s.in, "UserByEmail", func(ctx context.Context) (authkit.StoredUser, error) { return s.store.UserByEmail(ctx, email) })
}

func (s users) ListUsers(ctx context.Context, q authkit.UserQuery) ([]authkit.User, error) {
	return Call(ctx, s.in, "ListUsers", func(ctx context.Context) ([]authkit.User, error) { return s.store.ListUsers(ctx, q) })
}

func (s users) CountUsers(ctx context.Context, q authkit.UserQuery) (int, error) {
	return Call(ctx, s.in, "CountUsers", func(ctx context.Context) (int, error) { return s.store.CountUsers(ctx, q) })
}

func (s users) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
	return Call(ctx, s.in, "UpdateUser", func(ctx context.Context) (authkit.User, error) { return s.store.UpdateUser(ctx, id, change, at) })
}

func (s users) DeleteUser(ctx context.Context, id, keepRole string) error {
	return callError(ctx, s.in, "DeleteUser", func(ctx context.Context) error { return s.store.DeleteUser(ctx, id, keepRole) })
}

type batches struct {
	in    *Injector
	store authkit.UserBatchStore
}

func (s batches) CreateUsers(ctx context.Context, users []authkit.StoredUser) error {
	return callError(ctx, s.in, "CreateUsers", func(ctx context.Context) error { return s.store.CreateUsers(ctx, users) })
}

type sessions struct {
	in    *Injector
	store authkit.SessionStore
}

func (s sessions) CreateSession(ctx context.Context, session authkit.StoredSession, limit int) error {
	return callError(ctx, s.in, "CreateSession", func(ctx context.Context) error { return s.store.CreateSession(ctx, session, limit) })
}

func (s sessions) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	return Call(ctx, s.in, "SessionByID", func(ctx context.Context) (authkit.StoredSession, error) { return s.store.SessionByID(ctx, id) })
}

func (s sessions) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
	return Call(ctx, s.in, "SessionsByUser", func(ctx context.Context) ([]authkit.Session, error) { return s.store.SessionsByUser(ctx, userID) })
}

func (s sessions) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	type result struct {
		session authkit.StoredSession
		rotated bool
	}
	got, err := Call(ctx, s.in, "RotateSession", func(ctx context.Context) (got result, err error) {
		got.session, got.rotated, err = s.store.RotateSession(ctx, id, r)
		return got, err
	})
	return got.session, got.rotated, err
}

func (s sessions) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	return Call(ctx, s.in, "RevokeSession", func(ctx context.Context) (bool, error) { return s.store.RevokeSession(ctx, userID, id, at) })
}

func (s sessions) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	return callError(ctx, s.in, "RevokeSessions", func(ctx context.Context) error { return s.store.RevokeSessions(ctx, userID, except, at) })
}

func (s sessions) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
	return Call(ctx, s.in, "Revocations", func(ctx context.Context) ([]authkit.Revocation, error) { return s.store.Revocations(ctx, since) })
}

func (s sessions) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	return Call(ctx, s.in, "DeleteExpired", func(ctx context.Context) (int, error) { return s.store.DeleteExpired(ctx, at, revokedBefore, limit) })
}

type joined struct {
	in    *Injector
	store authkit.SessionUserStore
}

func (s joined) SessionUser(ctx context.Context, sessionID string) (authkit.StoredSession, authkit.StoredUser, error) {
	type result struct {
		session authkit.StoredSession
		user    authkit.StoredUser
	}
	got, err := Call(ctx, s.in, "SessionUser", func(ctx context.Context) (got result, err error) {
		got.session, got.user, err = s.store.SessionUser(ctx, sessionID)
		return got, err
	})
	return got.session, got.user, err
}

type tickets struct {
	in    *Injector
	store authkit.TicketStore
}

func (s tickets) PutTicket(ctx context.Context, t authkit.Ticket) error {
	return callError(ctx, s.in, "PutTicket", func(ctx context.Context) error { return s.store.PutTicket(ctx, t) })
}

func (s tickets) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	return Call(ctx, s.in, "AttemptTicket", func(ctx context.Context) (authkit.Ticket, error) { return s.store.AttemptTicket(ctx, kind, id, at) })
}

func (s tickets) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	return callError(ctx, s.in, "ConsumeTicket", func(ctx context.Context) error { return s.store.ConsumeTicket(ctx, kind, id, at) })
}

func (s tickets) DeleteTickets(ctx context.Context, subject string) error {
	return callError(ctx, s.in, "DeleteTickets", func(ctx context.Context) error { return s.store.DeleteTickets(ctx, subject) })
}

func (s tickets) DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (int, error) {
	return Call(ctx, s.in, "DeleteExpiredTickets", func(ctx context.Context) (int, error) { return s.store.DeleteExpiredTickets(ctx, at, limit) })
}

type transactions struct {
	in    *Injector
	store authkit.Transactor
}

// inTx is the context key of a transaction of a wrapped store.
type inTx struct{ in *Injector }

// InTx counts two calls: the beginning and the commit. A transaction that joins another one
// has neither.
func (s transactions) InTx(ctx context.Context, f func(ctx context.Context) error) error {
	if ctx.Value(inTx{s.in}) != nil {
		return s.store.InTx(ctx, f)
	}
	switch s.in.next("InTx") {
	case Fail, Crash, Lose, CrashAfter: // of a transaction without a commit nothing is left
		return ErrInjected
	case Hang:
		return s.in.hang(ctx, "InTx")
	}
	lost := false
	err := s.store.InTx(ctx, func(ctx context.Context) error {
		if err := f(context.WithValue(ctx, inTx{s.in}, true)); err != nil {
			return err
		}
		switch s.in.next("commit") {
		case Fail, Crash:
			return ErrInjected
		case Hang:
			return s.in.hang(ctx, "commit")
		case Lose, CrashAfter:
			lost = true
		}
		return nil
	})
	if err == nil && lost {
		return ErrInjected
	}
	return err
}
