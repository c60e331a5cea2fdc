package passkey

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/authkit-go/authkit"
)

var (
	// ErrNotFound is returned for a passkey that the user does not have. A
	// passkey of another user is not found either.
	ErrNotFound = errors.New("passkey: passkey not found")

	// ErrExists is returned for a credential that is registered already, for
	// this or another user. It wraps authkit.ErrInvalidCode.
	ErrExists = fmt.Errorf("passkey: credential is registered already: %w", authkit.ErrInvalidCode)

	// ErrTooMany is returned for a user who has 20 passkeys. It wraps
	// authkit.ErrFactorEnrolled.
	ErrTooMany = fmt.Errorf("passkey: too many passkeys: %w", authkit.ErrFactorEnrolled)

	// ErrConflict is returned by [Store].UsePasskey if the passkey was used
	// meanwhile.
	ErrConflict = errors.New("passkey: the passkey was used meanwhile")
)

// A Passkey is a registered credential. Its JSON form is for its user.
type Passkey struct {
	// ID names the passkey: the SHA-256 digest of CredentialID in base64url.
	ID string `json:"id"`

	// Name is chosen by the user, or is that of the provider or the device.
	Name string `json:"name"`

	// AAGUID names the model of the authenticator, in the form of a UUID. It is
	// all zeros if the authenticator does not reveal it. It is not verified.
	AAGUID string `json:"aaguid"`

	// Transports are the ways to reach the authenticator, such as "internal" or
	// "usb". The client reported them.
	Transports []string `json:"transports"`

	// BackupEligible and BackedUp are the flags BE and BS of the last use: the
	// credential may be synced, and is.
	BackupEligible bool `json:"backup_eligible"`
	BackedUp       bool `json:"backed_up"`

	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"` // zero if never

	UserID       string `json:"-"`
	CredentialID []byte `json:"-"` // at most 1023 bytes
	PublicKey    []byte `json:"-"` // a COSE_Key (RFC 9052)
	UserHandle   []byte `json:"-"` // that of the user when the passkey was registered

	// Attestation is the format of the attestation statement, such as "none".
	Attestation string `json:"-"`

	// UserVerified is the flag UV of the registration.
	UserVerified bool `json:"-"`

	// SignCount is the signature counter of the last use.
	SignCount uint32 `json:"-"`

	// Version counts the uses: 1 when the passkey is added, one more with every
	// use.
	Version int64 `json:"-"`
}

// A Use is the change that a successful use makes to a passkey.
type Use struct {
	At             time.Time // the LastUsedAt
	SignCount      uint32
	BackupEligible bool
	BackedUp       bool
}

// A Store keeps passkeys. [MemoryStore] is one, and package passkeysql has
// another. An implementation of your own is correct if it passes
// passkeytest.TestStore.
//
// The rules for an [authkit.UserStore] apply. If ctx carries a transaction of
// the accounts, a call joins it if the store can. Otherwise the call takes
// effect at once. A call that returns an error of this package has changed
// nothing.
type Store interface {
	// UserHandle returns the user handle of a user. If there is none, it stores
	// the proposed one and returns it; concurrent callers get the same. If
	// there is none and proposed is empty, it returns ErrNotFound.
	UserHandle(ctx context.Context, userID string, proposed []byte) ([]byte, error)

	// AddPasskey stores a passkey with Version 1. It returns
	//   - ErrNotFound if p.UserHandle is not the handle of the user,
	//   - ErrTooMany if the user has limit passkeys or more,
	//   - ErrExists if any user has a passkey with the ID.
	// Concurrent calls never exceed the limit.
	AddPasskey(ctx context.Context, p Passkey, limit int) error

	// PasskeyByID returns a passkey, or ErrNotFound.
	PasskeyByID(ctx context.Context, id string) (Passkey, error)

	// PasskeysByUser returns the passkeys of a user, the oldest first. Those of
	// one time are in the order of their IDs.
	PasskeysByUser(ctx context.Context, userID string) ([]Passkey, error)

	// UsePasskey records a use and adds one to the Version. It returns
	// ErrNotFound if there is no such passkey, and ErrConflict if its Version
	// is not the one given. Of concurrent calls with one version, one succeeds.
	UsePasskey(ctx context.Context, id string, version int64, u Use) error

	// RenamePasskey changes the name of a passkey. It returns ErrNotFound if
	// the user has no such passkey.
	RenamePasskey(ctx context.Context, userID, id, name string) error

	// DeletePasskey removes a passkey. It returns ErrNotFound if the user has
	// no such passkey.
	DeletePasskey(ctx context.Context, userID, id string) error

	// DeletePasskeys removes the passkeys of a user and the user handle. A
	// concurrent AddPasskey comes before, or returns ErrNotFound.
	DeletePasskeys(ctx context.Context, userID string) error
}

// A timedStore gives every call a deadline. Its methods are written out, so
// that a method that is forgotten here does not compile (FR-11).
type timedStore struct {
	store   Store
	timeout *atomic.Int64 // nanoseconds; New sets that of the Kit
}

// storeTimeout limits a call before New.
const storeTimeout = 5 * time.Second

func (s timedStore) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(s.timeout.Load()))
}

func (s timedStore) UserHandle(ctx context.Context, userID string, proposed []byte) ([]byte, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	return s.store.UserHandle(ctx, userID, proposed)
}

func (s timedStore) AddPasskey(ctx context.Context, p Passkey, limit int) error {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	return s.store.AddPasskey(ctx, p, limit)
}

func (s timedStore) PasskeyByID(ctx context.Context, id string) (Passkey, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	return s.store.PasskeyByID(ctx, id)
}

func (s timedStore) PasskeysByUser(ctx context.Context, userID string) ([]Passkey, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	return s.store.PasskeysByUser(ctx, userID)
}

func (s timedStore) UsePasskey(ctx context.Context, id string, version int64, u Use) error {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	return s.store.UsePasskey(ctx, id, version, u)
}

func (s timedStore) RenamePasskey(ctx context.Context, userID, id, name string) error {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	return s.store.RenamePasskey(ctx, userID, id, name)
}

func (s timedStore) DeletePasskey(ctx context.Context, userID, id string) error {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	return s.store.DeletePasskey(ctx, userID, id)
}

func (s timedStore) DeletePasskeys(ctx context.Context, userID string) error {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	return s.store.DeletePasskeys(ctx, userID)
}
