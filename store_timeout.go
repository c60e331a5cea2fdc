package authkit

import (
	"context"
	"time"
)

const defaultStoreTimeout = 5 * time.Second

// The stores of this file give every call a deadline, so that a database that hangs does
// not hang the requests. Their methods are written out instead of promoted from an embedded
// interface: a method that is forgotten here does not compile (FR-11).

// timed makes a call that returns a result and an error.
func timed[T any](ctx context.Context, timeout time.Duration, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return call(ctx)
}

// timedError makes a call that returns only an error.
func timedError(ctx context.Context, timeout time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return call(ctx)
}

// isMemory reports whether a store is a [MemoryStore], whose calls need no deadline.
func isMemory(store any) bool {
	_, ok := store.(*MemoryStore)
	return ok
}

// isEmptyMemory reports whether a store is a [MemoryStore] that was not made with
// [NewMemoryStore].
func isEmptyMemory(store any) bool {
	m, ok := store.(*MemoryStore)
	return ok && (m == nil || m.byID == nil)
}

type timedUsers struct {
	store   UserStore
	timeout time.Duration
}

func timedUserStore(s UserStore, timeout time.Duration) UserStore {
	if isMemory(s) {
		return s
	}
	return timedUsers{s, timeout}
}

func (s timedUsers) CreateUser(ctx context.Context, u StoredUser) error {
	return timedError(ctx, s.timeout, func(ctx context.Context) error { return s.store.CreateUser(ctx, u) })
}

func (s timedUsers) UserByID(ctx context.Context, id string) (StoredUser, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (StoredUser, error) { return s.store.UserByID(ctx, id) })
}

func (s timedUsers) UserByEmail(ctx context.Context, email string) (StoredUser, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (StoredUser, error) { return s.store.UserByEmail(ctx, email) })
}

func (s timedUsers) ListUsers(ctx context.Context, q UserQuery) ([]User, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) ([]User, error) { return s.store.ListUsers(ctx, q) })
}

func (s timedUsers) CountUsers(ctx context.Context, q UserQuery) (int, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (int, error) { return s.store.CountUsers(ctx, q) })
}

func (s timedUsers) UpdateUser(ctx context.Context, id string, change UserUpdate, at time.Time) (User, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (User, error) { return s.store.UpdateUser(ctx, id, change, at) })
}

func (s timedUsers) DeleteUser(ctx context.Context, id, keepRole string) error {
	return timedError(ctx, s.timeout, func(ctx context.Context) error { return s.store.DeleteUser(ctx, id, keepRole) })
}

type timedSessions struct {
	store   SessionStore
	timeout time.Duration
}

func timedSessionStore(s SessionStore, timeout time.Duration) SessionStore {
	if isMemory(s) {
		return s
	}
	return timedSessions{s, timeout}
}

func (s timedSessions) CreateSession(ctx context.Context, session StoredSession, limit int) error {
	return timedError(ctx, s.timeout, func(ctx context.Context) error { return s.store.CreateSession(ctx, session, limit) })
}

func (s timedSessions) SessionByID(ctx context.Context, id string) (StoredSession, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (StoredSession, error) { return s.store.SessionByID(ctx, id) })
}

func (s timedSessions) SessionsByUser(ctx context.Context, userID string) ([]Session, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) ([]Session, error) { return s.store.SessionsByUser(ctx, userID) })
}

func (s timedSessions) RotateSession(ctx context.Context, id string, r Rotation) (session StoredSession, rotated bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.RotateSession(ctx, id, r)
}

func (s timedSessions) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (bool, error) { return s.store.RevokeSession(ctx, userID, id, at) })
}

func (s timedSessions) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	return timedError(ctx, s.timeout, func(ctx context.Context) error { return s.store.RevokeSessions(ctx, userID, except, at) })
}

func (s timedSessions) Revocations(ctx context.Context, since time.Time) ([]Revocation, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) ([]Revocation, error) { return s.store.Revocations(ctx, since) })
}

func (s timedSessions) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (int, error) {
		return s.store.DeleteExpired(ctx, at, revokedBefore, limit)
	})
}

type timedTickets struct {
	store   TicketStore
	timeout time.Duration
}

func timedTicketStore(s TicketStore, timeout time.Duration) TicketStore {
	if s == nil || isMemory(s) {
		return s
	}
	return timedTickets{s, timeout}
}

func (s timedTickets) PutTicket(ctx context.Context, t Ticket) error {
	return timedError(ctx, s.timeout, func(ctx context.Context) error { return s.store.PutTicket(ctx, t) })
}

func (s timedTickets) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (Ticket, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (Ticket, error) { return s.store.AttemptTicket(ctx, kind, id, at) })
}

func (s timedTickets) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	return timedError(ctx, s.timeout, func(ctx context.Context) error { return s.store.ConsumeTicket(ctx, kind, id, at) })
}

func (s timedTickets) DeleteTickets(ctx context.Context, subject string) error {
	return timedError(ctx, s.timeout, func(ctx context.Context) error { return s.store.DeleteTickets(ctx, subject) })
}

func (s timedTickets) DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (int, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (int, error) { return s.store.DeleteExpiredTickets(ctx, at, limit) })
}

type timedTx struct {
	store   Transactor
	timeout time.Duration
}

func timedTransactor(s Transactor, timeout time.Duration) Transactor {
	if isMemory(s) {
		return s
	}
	return timedTx{s, timeout}
}

func (s timedTx) InTx(ctx context.Context, f func(context.Context) error) error {
	return timedError(ctx, s.timeout, func(ctx context.Context) error { return s.store.InTx(ctx, f) })
}

// forCalls returns a Transactor whose transactions have the time of several
// calls.
func forCalls(tx Transactor, calls int) Transactor {
	if t, ok := tx.(timedTx); ok && calls > 1 {
		t.timeout *= time.Duration(calls)
		return t
	}
	return tx
}

type timedBatch struct {
	store   UserBatchStore
	timeout time.Duration
}

func (s timedBatch) CreateUsers(ctx context.Context, users []StoredUser) error {
	return timedError(ctx, s.timeout, func(ctx context.Context) error { return s.store.CreateUsers(ctx, users) })
}

type timedJoined struct {
	store   SessionUserStore
	timeout time.Duration
}

func timedJoinedStore(s SessionUserStore, timeout time.Duration) SessionUserStore {
	if isMemory(s) {
		return s
	}
	return timedJoined{s, timeout}
}

func (s timedJoined) SessionUser(ctx context.Context, id string) (session StoredSession, u StoredUser, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.SessionUser(ctx, id)
}
