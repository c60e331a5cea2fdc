package integration_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/storetest"
)

var errFault = errors.New("a fault of the test")

// faults counts calls, and fails one of them. The zero value fails none.
type faults struct {
	mu    sync.Mutex
	n     int // calls until the one that fails; 0: none
	hit   string
	name  string // all calls of this name fail
	cause error
}

// at makes the nth call from now on fail.
func (f *faults) at(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n, f.hit = n, ""
}

// fail makes all calls of a name fail.
func (f *faults) fail(name string, cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.name, f.cause = name, cause
}

// stop ends the faults, and returns the call that failed, or "".
func (f *faults) stop() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n = 0
	return f.hit
}

// next counts a call, and returns its error.
func (f *faults) next(call string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.name == call {
		return f.cause
	}
	if f.n == 0 {
		return nil
	}
	if f.n--; f.n > 0 {
		return nil
	}
	f.hit = call
	return errFault
}

// A faultyAccounts is a store of accounts, sessions and tickets whose calls can
// fail, before they have an effect. A commit can fail too.
type faultyAccounts struct {
	storetest.TransactorStore
	f *faults
}

func (s *faultyAccounts) InTx(ctx context.Context, do func(context.Context) error) error {
	if err := s.f.next("InTx"); err != nil {
		return err
	}
	return s.TransactorStore.InTx(ctx, func(ctx context.Context) error {
		if err := do(ctx); err != nil {
			return err
		}
		return s.f.next("commit")
	})
}

func (s *faultyAccounts) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	if err := s.f.next("CreateUser"); err != nil {
		return err
	}
	return s.TransactorStore.CreateUser(ctx, u)
}

func (s *faultyAccounts) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	if err := s.f.next("UserByID"); err != nil {
		return authkit.StoredUser{}, err
	}
	return s.TransactorStore.UserByID(ctx, id)
}

func (s *faultyAccounts) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	if err := s.f.next("UserByEmail"); err != nil {
		return authkit.StoredUser{}, err
	}
	return s.TransactorStore.UserByEmail(ctx, email)
}

func (s *faultyAccounts) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if err := s.f.next("UpdateUser"); err != nil {
		return authkit.User{}, err
	}
	return s.TransactorStore.UpdateUser(ctx, id, change, at)
}

func (s *faultyAccounts) DeleteUser(ctx context.Context, id, keepRole string) error {
	if err := s.f.next("DeleteUser"); err != nil {
		return err
	}
	return s.TransactorStore.DeleteUser(ctx, id, keepRole)
}

func (s *faultyAccounts) CreateSession(ctx context.Context, session authkit.StoredSession, limit int) error {
	if err := s.f.next("CreateSession"); err != nil {
		return err
	}
	return s.TransactorStore.CreateSession(ctx, session, limit)
}

func (s *faultyAccounts) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
	if err := s.f.next("SessionsByUser"); err != nil {
		return nil, err
	}
	return s.TransactorStore.SessionsByUser(ctx, userID)
}

func (s *faultyAccounts) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	if err := s.f.next("RevokeSessions"); err != nil {
		return err
	}
	return s.TransactorStore.RevokeSessions(ctx, userID, except, at)
}

func (s *faultyAccounts) PutTicket(ctx context.Context, t authkit.Ticket) error {
	if err := s.f.next("PutTicket"); err != nil {
		return err
	}
	return s.TransactorStore.PutTicket(ctx, t)
}

func (s *faultyAccounts) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	if err := s.f.next("AttemptTicket"); err != nil {
		return authkit.Ticket{}, err
	}
	return s.TransactorStore.AttemptTicket(ctx, kind, id, at)
}

func (s *faultyAccounts) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	if err := s.f.next("ConsumeTicket"); err != nil {
		return err
	}
	return s.TransactorStore.ConsumeTicket(ctx, kind, id, at)
}

func (s *faultyAccounts) DeleteTickets(ctx context.Context, subject string) error {
	if err := s.f.next("DeleteTickets"); err != nil {
		return err
	}
	return s.TransactorStore.DeleteTickets(ctx, subject)
}

// A faultyJobs is an outbox whose calls can fail.
type faultyJobs struct {
	account.Store
	f *faults
}

func (s *faultyJobs) PutJob(ctx context.Context, j account.Job) error {
	if err := s.f.next("PutJob"); err != nil {
		return err
	}
	return s.Store.PutJob(ctx, j)
}

func (s *faultyJobs) ClaimJob(ctx context.Context, at, until time.Time) (account.Job, error) {
	if err := s.f.next("ClaimJob"); err != nil {
		return account.Job{}, err
	}
	return s.Store.ClaimJob(ctx, at, until)
}

func (s *faultyJobs) PostponeJob(ctx context.Context, id string, attempts int, due time.Time) error {
	if err := s.f.next("PostponeJob"); err != nil {
		return err
	}
	return s.Store.PostponeJob(ctx, id, attempts, due)
}

func (s *faultyJobs) DeleteJob(ctx context.Context, id string, attempts int) (bool, error) {
	if err := s.f.next("DeleteJob"); err != nil {
		return false, err
	}
	return s.Store.DeleteJob(ctx, id, attempts)
}

func (s *faultyJobs) Times(ctx context.Context, key string) ([]time.Time, int64, error) {
	if err := s.f.next("Times"); err != nil {
		return nil, 0, err
	}
	return s.Store.Times(ctx, key)
}

func (s *faultyJobs) SetTimes(ctx context.Context, key string, times []time.Time, version int64, expires time.Time) error {
	if err := s.f.next("SetTimes"); err != nil {
		return err
	}
	return s.Store.SetTimes(ctx, key, times, version, expires)
}
