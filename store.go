package authkit

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"
)

// A User is an account as handlers see it. It holds no secret. Its JSON form is for
// answers; never decode a request into it, or the sender chooses their own roles.
type User struct {
	// ID is opaque and random; it is never given to another account.
	ID string `json:"id"`

	// Email is in the form of [NormalizeEmail], and no other account of the store
	// has it.
	Email string `json:"email"`

	FullName  string    `json:"full_name"`
	Roles     []string  `json:"roles"`
	Disabled  bool      `json:"disabled"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// A StoredUser is an account as it is stored. Only stores and the login path see the
// hash, which has no JSON form, so that JSON is no way to store an account. An account
// with an empty hash has no password.
type StoredUser struct {
	User
	PasswordHash PasswordHash `json:"-"`

	// ValidFrom is the account's cut-off: tokens and sessions that were issued before it
	// are refused, and so are tokens of the second that it is in. In the zero value there
	// is none. Leave it to methods such as [Kit.SetPassword].
	ValidFrom time.Time `json:"-"`
}

// Format writes the account without its hash, for every verb: fmt shows the members of
// what a pointer points to without asking them.
func (u StoredUser) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%+v %s}", u.User, redacted)
}

// A UserUpdate is a change to an account. Nil fields stay as they are.
type UserUpdate struct {
	Email    *string // in the form of [NormalizeEmail]
	FullName *string
	Roles    *[]string
	Disabled *bool

	// A new hash alone leaves those who had the old password logged in: see
	// [Kit.SetPassword], which sets both.
	PasswordHash *PasswordHash
	ValidFrom    *time.Time // only ever moves forward: an earlier one leaves it as it is
}

var (
	// ErrUserNotFound is returned by a [UserStore] for an account it does not have.
	ErrUserNotFound = errors.New("authkit: user not found")

	// ErrEmailTaken is returned by a [UserStore] for a second account with the same
	// e-mail.
	ErrEmailTaken = errors.New("authkit: e-mail taken")

	// ErrInvalidEmail is returned by [NormalizeEmail].
	ErrInvalidEmail = errors.New("authkit: invalid e-mail address")
)

// A UserStore keeps accounts. [MemoryStore] is one; a host that keeps users in a
// table of its own implements another, and proves it with
// storetest.TestUserStore.
//
// What an implementation promises:
//   - Every method is atomic, safe for concurrent use, and visible to every later
//     call once it has returned. Of several callers that create the same e-mail,
//     or swap the same hash, exactly one wins.
//   - E-mails and IDs are compared byte by byte. The caller has put e-mails into
//     the form of [NormalizeEmail].
//   - What is passed in and what is returned share no memory with what is stored.
//   - Times come from the caller; a store has no clock. It keeps them to the
//     microsecond or better.
//   - ErrUserNotFound and ErrEmailTaken are matched with errors.Is. Every other
//     error means that the store failed; requests are then answered 503.
//   - A cancelled context ends a call early with an error, and without an effect
//     or with the whole effect. A Kit gives every call a deadline; see
//     [Config].StoreTimeout.
type UserStore interface {
	// CreateUser stores a new account. It returns ErrEmailTaken if another account
	// has the e-mail, which then stays as it was. An ID that exists is an error.
	CreateUser(ctx context.Context, u StoredUser) error

	// UserByID returns the account with the ID, or ErrUserNotFound.
	UserByID(ctx context.Context, id string) (StoredUser, error)

	// UserByEmail returns the account with the e-mail, or ErrUserNotFound.
	UserByEmail(ctx context.Context, email string) (StoredUser, error)

	// ListUsers returns at most limit accounts with an ID greater than after, in
	// the byte order of their IDs; none, if limit is not positive. IDs of [NewUserID]
	// sort by the time they were made. The empty string starts at the front; no
	// accounts mean the end.
	ListUsers(ctx context.Context, after string, limit int) ([]User, error)

	// UpdateUser makes all of the changes to an account, sets its UpdatedAt to at,
	// and returns it as it then is. It returns ErrUserNotFound, or ErrEmailTaken
	// without having changed anything.
	UpdateUser(ctx context.Context, id string, change UserUpdate, at time.Time) (User, error)

	// SwapPasswordHash replaces the hash by new if it is old still, and reports
	// whether it did; the account's UpdatedAt becomes at. It returns
	// ErrUserNotFound if there is no such account.
	SwapPasswordHash(ctx context.Context, id string, old, new PasswordHash, at time.Time) (swapped bool, err error)

	// DeleteUser removes the account, or returns ErrUserNotFound.
	DeleteUser(ctx context.Context, id string) error
}

// NewUserID returns a new user ID: a UUID of version 7 (RFC 9562), which sorts by
// time. It is unique, and not a secret.
func NewUserID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	ms := uint64(time.Now().UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:36], id[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// NormalizeEmail returns the one form of an e-mail address in which it is stored,
// looked up and unique: ASCII letters in lower case, and nothing else changed. It
// returns ErrInvalidEmail for what is not a plain address: outer space, a display
// name, a quoted local part, an address literal, a domain without a dot, or
// anything outside ASCII (an international domain is given in its xn-- form).
// Letters that only look alike are therefore never taken for each other.
//
// It is idempotent.
func NormalizeEmail(s string) (string, error) {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || len(local) > 64 || len(s) > 254 || !validLocalPart(local) || !validDomain(domain) {
		return "", ErrInvalidEmail
	}
	return strings.ToLower(s), nil // all ASCII by now
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// validLocalPart takes the dot-atom of RFC 5322 section 3.2.3.
func validLocalPart(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !isAlnum(atom[i]) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", atom[i]) < 0 {
				return false
			}
		}
	}
	return true
}

// validDomain takes host names of two labels or more (RFC 5321 section 4.1.2); the
// last is not a number, so that an IPv4 address is none.
func validDomain(s string) bool {
	labels, last := 0, ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if !isAlnum(label[i]) && label[i] != '-' {
				return false
			}
		}
		labels, last = labels+1, label
	}
	return labels >= 2 && strings.Trim(last, "0123456789") != ""
}

// MemoryStore is a [UserStore] and a [SessionStore] that keeps accounts and sessions in
// memory, for tests, demos and single programs that may forget. Look-ups lock one of 256
// shards for reading, so they scale with the cores, and up to millions of accounts.
type MemoryStore struct {
	sessions      memorySessions
	byID, byEmail *shards[StoredUser]

	mu    sync.Mutex // held by everything that writes or lists
	order []string   // the IDs, sorted
}

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{byID: newShards[StoredUser](), byEmail: newShards[StoredUser](), sessions: newMemorySessions()}
}

// shards is a map in pieces, each behind a lock of its own. The records in it are
// never written to, only replaced.
type shards[V any] struct {
	seed  maphash.Seed
	shard [256]shard[V]
}

type shard[V any] struct {
	sync.RWMutex
	records map[string]*V
	_       [32]byte // the rest of a cache line, so that neighbours do not share one
}

func newShards[V any]() *shards[V] {
	s := &shards[V]{seed: maphash.MakeSeed()}
	for i := range s.shard {
		s.shard[i].records = make(map[string]*V)
	}
	return s
}

func (s *shards[V]) of(key string) *shard[V] {
	return &s.shard[maphash.String(s.seed, key)%uint64(len(s.shard))]
}

// load returns a record, or the error given if there is none.
func (s *shards[V]) load(ctx context.Context, key string, missing error) (*V, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sh := s.of(key)
	sh.RLock()
	r := sh.records[key]
	sh.RUnlock()
	if r == nil {
		return nil, missing
	}
	return r, nil
}

// replace puts the record new in the place of old; either may be nil. Readers by ID
// and by e-mail see the change at the same moment. s.mu is held, so no other writer
// can be locking shards.
func (s *MemoryStore) replace(old, new *StoredUser) {
	var locked []*shard[StoredUser]
	lock := func(sh *shard[StoredUser]) map[string]*StoredUser {
		if !slices.Contains(locked, sh) {
			sh.Lock()
			locked = append(locked, sh)
		}
		return sh.records
	}
	if old != nil {
		delete(lock(s.byID.of(old.ID)), old.ID)
		delete(lock(s.byEmail.of(old.Email)), old.Email)
	}
	if new != nil {
		lock(s.byID.of(new.ID))[new.ID] = new
		lock(s.byEmail.of(new.Email))[new.Email] = new
	}
	for _, sh := range locked {
		sh.Unlock()
	}
}

// clone returns a copy of u that shares no memory with it.
func (u *StoredUser) clone() StoredUser {
	c := *u
	c.Roles = slices.Clone(u.Roles)
	return c
}

// CreateUser implements [UserStore].
func (s *MemoryStore) CreateUser(ctx context.Context, u StoredUser) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.byEmail.load(ctx, u.Email, ErrUserNotFound); !errors.Is(err, ErrUserNotFound) {
		return cmp.Or(err, ErrEmailTaken)
	}
	at, exists := slices.BinarySearch(s.order, u.ID)
	if exists || u.ID == "" {
		return errors.New("authkit: MemoryStore: the user ID is empty or exists")
	}
	s.order = slices.Insert(s.order, at, u.ID)
	s.replace(nil, new(u.clone()))
	return nil
}

// UserByID implements [UserStore].
func (s *MemoryStore) UserByID(ctx context.Context, id string) (StoredUser, error) {
	u, err := s.byID.load(ctx, id, ErrUserNotFound)
	if err != nil {
		return StoredUser{}, err
	}
	return u.clone(), nil
}

// UserByEmail implements [UserStore].
func (s *MemoryStore) UserByEmail(ctx context.Context, email string) (StoredUser, error) {
	u, err := s.byEmail.load(ctx, email, ErrUserNotFound)
	if err != nil {
		return StoredUser{}, err
	}
	return u.clone(), nil
}

// ListUsers implements [UserStore].
func (s *MemoryStore) ListUsers(ctx context.Context, after string, limit int) ([]User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := slices.BinarySearch(s.order, after)
	if found {
		at++
	}
	page := s.order[at:]
	page = page[:min(len(page), max(0, limit))]
	users := make([]User, len(page))
	for i, id := range page {
		u, err := s.byID.load(ctx, id, ErrUserNotFound)
		if err != nil {
			return nil, err
		}
		users[i] = u.clone().User
	}
	return users, ctx.Err()
}

// UpdateUser implements [UserStore].
func (s *MemoryStore) UpdateUser(ctx context.Context, id string, change UserUpdate, at time.Time) (User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.byID.load(ctx, id, ErrUserNotFound)
	if err != nil {
		return User{}, err
	}
	u := *old
	u.FullName = *cmp.Or(change.FullName, &u.FullName)
	u.Disabled = *cmp.Or(change.Disabled, &u.Disabled)
	u.Roles = slices.Clone(*cmp.Or(change.Roles, &u.Roles))
	u.Email = *cmp.Or(change.Email, &u.Email)
	u.PasswordHash = *cmp.Or(change.PasswordHash, &u.PasswordHash)
	if from := *cmp.Or(change.ValidFrom, &u.ValidFrom); from.After(u.ValidFrom) {
		u.ValidFrom = from
	}
	u.UpdatedAt = at
	if u.Email != old.Email {
		if _, err := s.byEmail.load(ctx, u.Email, ErrUserNotFound); !errors.Is(err, ErrUserNotFound) {
			return User{}, cmp.Or(err, ErrEmailTaken)
		}
	}
	s.replace(old, &u)
	return u.clone().User, nil
}

// SwapPasswordHash implements [UserStore].
func (s *MemoryStore) SwapPasswordHash(ctx context.Context, id string, old, new PasswordHash, at time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, err := s.byID.load(ctx, id, ErrUserNotFound)
	if err != nil || stored.PasswordHash != old {
		return false, err
	}
	u := *stored
	u.PasswordHash, u.UpdatedAt = new, at
	s.replace(stored, &u)
	return true, nil
}

// DeleteUser implements [UserStore].
func (s *MemoryStore) DeleteUser(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.byID.load(ctx, id, ErrUserNotFound)
	if err != nil {
		return err
	}
	if at, found := slices.BinarySearch(s.order, id); found {
		s.order = slices.Delete(s.order, at, at+1)
	}
	s.replace(u, nil)
	return nil
}
