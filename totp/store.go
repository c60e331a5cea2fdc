package totp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authkit-go/authkit/internal/seal"
)

// ErrNotFound is returned by [Store].CountAttempt for a user without a factor, or
// with a disabled one.
var ErrNotFound = errors.New("totp: no such factor")

// A Record is the data of a user in a [Store].
type Record struct {
	UserID string

	// Secret is encrypted. It is empty if the factor is not set up.
	Secret     []byte
	EnrolledAt time.Time

	// LastStep is the step of the latest code that was accepted.
	LastStep int64

	// Failures counts attempts since the latest code that was accepted.
	// TotalFailures counts attempts since the factor was set up, without those
	// that were accepted.
	Failures, TotalFailures int

	// Pending is the encrypted secret of a factor that is not confirmed. It is
	// empty if there is none.
	Pending   []byte
	PendingAt time.Time

	CodesLeft int // the number of recovery codes that were not used
}

func (r Record) enrolled() bool { return len(r.Secret) > 0 }

// Limits are the numbers of failures that disable a factor.
type Limits struct {
	Failures int // without a code that was accepted
	Total    int // since the factor was set up
}

// reached reports whether the last attempt that was counted is the last one.
func (l Limits) reached(r Record) bool { return r.Failures >= l.Failures || r.TotalFailures >= l.Total }

// A Resealing replaces the encrypted secrets of a record.
type Resealing struct {
	UserID                string
	OldSecret, OldPending []byte // as they were read
	NewSecret, NewPending []byte
}

// A Store keeps the factors and recovery codes of users. [MemoryStore] is one,
// and package totpsql has another. An implementation of your own is correct if it
// passes storetest.TestTOTPStore.
//
// The rules for an [authkit.UserStore] apply. If ctx carries a transaction of the
// accounts, a call joins it if the store can. A call that reads may then return
// the state before the transaction. A user ID that a backend cannot store has no
// factor. A zero time is returned as zero.
type Store interface {
	// Record returns the record of a user. If there is none, it is zero but for
	// the UserID.
	Record(ctx context.Context, userID string) (Record, error)

	// SetPending stores a secret that is to be confirmed, and its time. It
	// replaces an earlier one. A factor that is set up stays as it is.
	SetPending(ctx context.Context, userID string, pending []byte, at time.Time) error

	// Confirm sets up a factor if the record has a pending secret of the time
	// pendingAt, and reports whether it did. The record then has the secret,
	// EnrolledAt at, the step, no failures and no pending secret. Of several
	// callers with one pendingAt exactly one gets true.
	Confirm(ctx context.Context, userID string, pendingAt time.Time, secret []byte, step int64, at time.Time) (confirmed bool, err error)

	// CountAttempt adds one to Failures and TotalFailures, and returns the record
	// as it then is. It may leave out Pending and CodesLeft. It returns
	// ErrNotFound, and counts nothing, if the factor is not set up or if either
	// number has reached its limit. However many calls run at once, each returns
	// other numbers.
	CountAttempt(ctx context.Context, userID string, limits Limits) (Record, error)

	// AcceptStep records that a code was accepted, and reports whether it did. It
	// sets LastStep, sets Failures to zero, and takes one from TotalFailures. It
	// changes nothing unless the factor is set up, its EnrolledAt is the one
	// given, and its LastStep is smaller than step. Of several callers with one
	// step exactly one gets true.
	AcceptStep(ctx context.Context, userID string, enrolledAt time.Time, step int64) (accepted bool, err error)

	// DeleteFactor removes the factor and the pending secret of a user, but not
	// the recovery codes. It returns nil if there is none.
	DeleteFactor(ctx context.Context, userID string) error

	// SetCodes replaces all recovery codes of a user by those with the hashes,
	// at most 100, of which no two are equal.
	SetCodes(ctx context.Context, userID string, hashes [][32]byte, at time.Time) error

	// UseCode removes the recovery code with the hash, and reports whether the
	// user had it. Of several callers exactly one gets true.
	UseCode(ctx context.Context, userID string, hash [32]byte) (used bool, err error)

	// Records returns at most limit records of users with a secret or a pending
	// one, and an ID greater than after, in the byte order of the IDs. It may
	// leave out CodesLeft. It returns none if limit is not positive.
	Records(ctx context.Context, after string, limit int) ([]Record, error)

	// Reseal makes each of the replacements, at most 1000, whose old secrets the
	// record still has, and returns their number. The others change nothing.
	Reseal(ctx context.Context, changes []Resealing) (done int, err error)
}

// The columns of sealed values, for their additional data.
const (
	columnSecret  = "secret"
	columnPending = "pending"
)

// place returns the additional data of a secret, which bind it to its user.
func place(column, userID string) []byte { return seal.Place("totp_factors", column, userID) }

// Format implements fmt.Formatter. It prints the record without its secrets, for
// every verb.
func (r Record) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%s enrolled:%v pending:%v failures:%d/%d codes:%d}", r.UserID, r.enrolled(), len(r.Pending) > 0, r.Failures, r.TotalFailures, r.CodesLeft)
}

// A timedStore gives every call a deadline. Its methods are written out, so that
// a method that is forgotten here does not compile (FR-11).
type timedStore struct {
	store   Store
	timeout time.Duration
}

func timedStoreOf(s Store, timeout time.Duration) Store {
	switch s := s.(type) {
	case nil:
		return NewMemoryStore()
	case *MemoryStore:
		return s
	}
	return timedStore{s, timeout}
}

func (s timedStore) Record(ctx context.Context, userID string) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.Record(ctx, userID)
}

func (s timedStore) SetPending(ctx context.Context, userID string, pending []byte, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.SetPending(ctx, userID, pending, at)
}

func (s timedStore) Confirm(ctx context.Context, userID string, pendingAt time.Time, secret []byte, step int64, at time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.Confirm(ctx, userID, pendingAt, secret, step, at)
}

func (s timedStore) CountAttempt(ctx context.Context, userID string, limits Limits) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.CountAttempt(ctx, userID, limits)
}

func (s timedStore) AcceptStep(ctx context.Context, userID string, enrolledAt time.Time, step int64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.AcceptStep(ctx, userID, enrolledAt, step)
}

func (s timedStore) DeleteFactor(ctx context.Context, userID string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.DeleteFactor(ctx, userID)
}

func (s timedStore) SetCodes(ctx context.Context, userID string, hashes [][32]byte, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.SetCodes(ctx, userID, hashes, at)
}

func (s timedStore) UseCode(ctx context.Context, userID string, hash [32]byte) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.UseCode(ctx, userID, hash)
}

func (s timedStore) Records(ctx context.Context, after string, limit int) ([]Record, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.Records(ctx, after, limit)
}

func (s timedStore) Reseal(ctx context.Context, changes []Resealing) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.Reseal(ctx, changes)
}
