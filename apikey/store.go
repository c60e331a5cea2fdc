package apikey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"time"
)

var (
	// ErrNotFound is returned if there is no such key or service, or if the key
	// belongs to another owner.
	ErrNotFound = errors.New("apikey: not found")

	// ErrExists is returned if a key or a service with the ID exists.
	ErrExists = errors.New("apikey: the ID is taken")

	// ErrConflict is returned by a rotation if the key was rotated meanwhile.
	ErrConflict = errors.New("apikey: the key was rotated meanwhile")

	// ErrTooManyKeys is returned for an owner who has 50 keys.
	ErrTooManyKeys = errors.New("apikey: the owner has 50 keys; revoke one first")
)

// An Owner is the party that a key acts for. Exactly one of the fields is set.
type Owner struct {
	UserID    string `json:"user_id,omitempty"`
	ServiceID string `json:"service_id,omitempty"`
}

// OfUser returns the Owner of the keys of an account.
func OfUser(id string) Owner { return Owner{UserID: id} }

// OfService returns the Owner of the keys of a [Service].
func OfService(id string) Owner { return Owner{ServiceID: id} }

// A Service is a program that is a principal: it has no account, password or
// address. It authenticates with API keys that belong to it, and gets access
// tokens with them; see [authkit.ClientAuthenticator].
type Service struct {
	// ID is the name of the service, and its client_id: 1 to 64 of a to z, 0 to
	// 9, dot, hyphen and underscore.
	ID string `json:"id"`

	// Roles are the roles of the service. A key of the service has those of its
	// scopes that they grant.
	Roles []string `json:"roles"`

	CreatedAt time.Time `json:"created_at"`
}

// A Key describes an API key. It holds no secret.
type Key struct {
	Owner

	ID   string `json:"id"`   // 16 hexadecimal digits
	Name string `json:"name"` // chosen by the owner

	// Scopes are the permissions that the key can have. It has only those of
	// them that the roles of its owner grant at the time of a request.
	Scopes []string `json:"scopes"`

	// Networks are the addresses from which the key is accepted. Empty means
	// every address.
	Networks []netip.Prefix `json:"networks"`

	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`   // zero: never
	LastUsedAt time.Time `json:"last_used_at,omitzero"` // within about two minutes; zero: never
	RotatedAt  time.Time `json:"rotated_at,omitzero"`   // the latest rotation; zero: none

	// PreviousUntil is when the secret before the latest rotation stops
	// working. Zero means that there is none.
	PreviousUntil time.Time `json:"previous_until,omitzero"`
}

// A StoredKey is a Key with the hashes of its secrets.
type StoredKey struct {
	Key
	Hash         [sha256.Size]byte // of the whole text of the key
	PreviousHash [sha256.Size]byte // of the text before the latest rotation; zero if there is none
	Version      int64             // 1, and one more after each rotation
}

// A Rotation replaces the secret of a key.
type Rotation struct {
	Version       int64 // the version that the key must have
	Hash          [sha256.Size]byte
	At            time.Time // becomes RotatedAt
	ExpiresAt     time.Time
	PreviousUntil time.Time // zero: the old secret ends at once
}

// A Store keeps API keys. [MemoryStore] is one, and package apikeysql has
// another. An implementation of your own is correct if it passes
// storetest.TestAPIKeyStore.
//
// The rules for an [authkit.UserStore] apply. Times are whole microseconds. A
// key is found by its ID and its owner in one step, so the key of another owner
// is not found. If ctx carries a transaction of the accounts, a
// call joins it if the store can.
type Store interface {
	// CreateKey stores a new key. It returns ErrExists if the ID is taken.
	CreateKey(ctx context.Context, k StoredKey) error

	// KeyByID returns a key, whether or not it has expired. The error is
	// ErrNotFound if there is none.
	KeyByID(ctx context.Context, id string) (StoredKey, error)

	// KeysByOwner returns the keys of an owner, the oldest first, and those of
	// one time by ID.
	KeysByOwner(ctx context.Context, o Owner) ([]Key, error)

	// RotateKey replaces the hash of a key if it has the version of r. The
	// current hash becomes the previous one. If r.PreviousUntil is zero, there
	// is no previous one. Of several callers with one version, one succeeds.
	// The errors are ErrNotFound, and ErrConflict for another version.
	RotateKey(ctx context.Context, o Owner, id string, r Rotation) error

	// DeleteKey removes a key. The error is ErrNotFound if the owner has no
	// such key. A deleted key stays deleted, also after concurrent calls.
	DeleteKey(ctx context.Context, o Owner, id string) error

	// DeleteKeys removes all keys of an owner.
	DeleteKeys(ctx context.Context, o Owner) error

	// TouchKey sets the LastUsedAt of a key, unless the stored one is less than
	// a minute before at. It does nothing if there is no such key.
	TouchKey(ctx context.Context, id string, at time.Time) error

	// DeleteExpiredKeys removes keys that expired before a time, at most limit
	// of them, and returns the number removed. If limit is not positive, it
	// removes none.
	DeleteExpiredKeys(ctx context.Context, before time.Time, limit int) (deleted int, err error)

	// CreateService stores a new service. It returns ErrExists if the ID is
	// taken.
	CreateService(ctx context.Context, s Service) error

	// ServiceByID returns a service. The error is ErrNotFound if there is none.
	ServiceByID(ctx context.Context, id string) (Service, error)

	// Services returns at most limit services with an ID greater than after,
	// ordered by ID.
	Services(ctx context.Context, after string, limit int) ([]Service, error)

	// SetServiceRoles replaces the roles of a service. The error is ErrNotFound
	// if there is none.
	SetServiceRoles(ctx context.Context, id string, roles []string) error

	// DeleteService removes a service and all of its keys, in one step. The
	// error is ErrNotFound if there is none.
	DeleteService(ctx context.Context, id string) error
}

// storeTimeout is the default deadline of a call of a store.
const storeTimeout = 5 * time.Second

// A timedStore gives every call a deadline. Its methods are written out, so
// that a method that is forgotten here does not compile (FR-11).
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
	return timedStore{s, cmp.Or(timeout, storeTimeout)}
}

func (s timedStore) CreateKey(ctx context.Context, k StoredKey) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.CreateKey(ctx, k)
}

func (s timedStore) KeyByID(ctx context.Context, id string) (StoredKey, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.KeyByID(ctx, id)
}

func (s timedStore) KeysByOwner(ctx context.Context, o Owner) ([]Key, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.KeysByOwner(ctx, o)
}

func (s timedStore) RotateKey(ctx context.Context, o Owner, id string, r Rotation) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.RotateKey(ctx, o, id, r)
}

func (s timedStore) DeleteKey(ctx context.Context, o Owner, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.DeleteKey(ctx, o, id)
}

func (s timedStore) DeleteKeys(ctx context.Context, o Owner) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.DeleteKeys(ctx, o)
}

func (s timedStore) TouchKey(ctx context.Context, id string, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.TouchKey(ctx, id, at)
}

func (s timedStore) DeleteExpiredKeys(ctx context.Context, before time.Time, limit int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.DeleteExpiredKeys(ctx, before, limit)
}

func (s timedStore) CreateService(ctx context.Context, service Service) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.CreateService(ctx, service)
}

func (s timedStore) ServiceByID(ctx context.Context, id string) (Service, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.ServiceByID(ctx, id)
}

func (s timedStore) Services(ctx context.Context, after string, limit int) ([]Service, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.Services(ctx, after, limit)
}

func (s timedStore) SetServiceRoles(ctx context.Context, id string, roles []string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.SetServiceRoles(ctx, id, roles)
}

func (s timedStore) DeleteService(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.DeleteService(ctx, id)
}
