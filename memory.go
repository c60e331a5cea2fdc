package authkit

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"
)

// MemoryStore is a [UserStore] and a [SessionStore] that keeps accounts and sessions in
// memory, for tests, demos and single programs that may forget. Look-ups lock one of 256
// shards for reading, so they scale with the cores, and up to millions of accounts.
type MemoryStore struct {
	sessions      memorySessions
	byID, byEmail *shards[StoredUser]

	mu    sync.Mutex // held by everything that writes or lists
	order []string   // the IDs, sorted

	tickets memoryTickets
}

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{byID: newShards[StoredUser](), byEmail: newShards[StoredUser](), sessions: newMemorySessions(), tickets: newMemoryTickets()}
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
	u.Version = 1
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
func (s *MemoryStore) ListUsers(ctx context.Context, q UserQuery) ([]User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := slices.BinarySearch(s.order, q.After)
	if found {
		at++
	}
	var users []User
	for _, id := range s.order[at:] {
		if len(users) >= q.Limit {
			break
		}
		u, err := s.byID.load(ctx, id, ErrUserNotFound)
		if err != nil {
			return nil, err
		}
		if q.selects(&u.User) {
			users = append(users, u.clone().User)
		}
	}
	return users, ctx.Err()
}

// CountUsers implements [UserStore].
func (s *MemoryStore) CountUsers(ctx context.Context, q UserQuery) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, id := range s.order {
		u, err := s.byID.load(ctx, id, ErrUserNotFound)
		if err != nil {
			return 0, err
		}
		if q.selects(&u.User) {
			n++
		}
	}
	return n, ctx.Err()
}

// selects reports whether the query selects an account, pages aside.
func (q *UserQuery) selects(u *User) bool {
	return strings.HasPrefix(u.Email, q.EmailPrefix) &&
		(q.Role == "" || slices.Contains(u.Roles, q.Role)) &&
		(q.Disabled == nil || *q.Disabled == u.Disabled)
}

// UpdateUser implements [UserStore].
func (s *MemoryStore) UpdateUser(ctx context.Context, id string, change UserUpdate, at time.Time) (User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.byID.load(ctx, id, ErrUserNotFound)
	if err != nil {
		return User{}, err
	}
	if change.IfVersion != 0 && change.IfVersion != old.Version {
		return User{}, ErrConflict
	}
	u := *old
	u.FullName = *cmp.Or(change.FullName, &u.FullName)
	u.Disabled = *cmp.Or(change.Disabled, &u.Disabled)
	u.Roles = slices.Clone(*cmp.Or(change.Roles, &u.Roles))
	u.Email = *cmp.Or(change.Email, &u.Email)
	u.EmailVerifiedAt = *cmp.Or(change.EmailVerifiedAt, &u.EmailVerifiedAt)
	u.LockedUntil = *cmp.Or(change.LockedUntil, &u.LockedUntil)
	u.PasswordHash = *cmp.Or(change.PasswordHash, &u.PasswordHash)
	if from := *cmp.Or(change.ValidFrom, &u.ValidFrom); from.After(u.ValidFrom) {
		u.ValidFrom = from
	}
	u.UpdatedAt = at
	u.Version++
	if u.Email != old.Email {
		if _, err := s.byEmail.load(ctx, u.Email, ErrUserNotFound); !errors.Is(err, ErrUserNotFound) {
			return User{}, cmp.Or(err, ErrEmailTaken)
		}
	}
	if change.KeepRole != "" && !u.holds(change.KeepRole) && !s.held(change.KeepRole, id) {
		return User{}, ErrLastAdmin
	}
	s.replace(old, &u)
	return u.clone().User, nil
}

// holds reports whether an account is enabled and has a role.
func (u *User) holds(role string) bool { return !u.Disabled && slices.Contains(u.Roles, role) }

// held reports whether another account holds a role. s.mu is held.
func (s *MemoryStore) held(role, otherThan string) bool {
	for _, id := range s.order {
		if u, err := s.byID.load(context.Background(), id, ErrUserNotFound); id != otherThan && err == nil && u.holds(role) {
			return true
		}
	}
	return false
}

// DeleteUser implements [UserStore].
func (s *MemoryStore) DeleteUser(ctx context.Context, id, keepRole string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.byID.load(ctx, id, ErrUserNotFound)
	if err != nil {
		return err
	}
	if keepRole != "" && !s.held(keepRole, id) {
		return ErrLastAdmin
	}
	if at, found := slices.BinarySearch(s.order, id); found {
		s.order = slices.Delete(s.order, at, at+1)
	}
	s.replace(u, nil)
	return nil
}

// SessionUser implements [SessionUserStore].
func (s *MemoryStore) SessionUser(ctx context.Context, sessionID string) (StoredSession, StoredUser, error) {
	session, err := s.SessionByID(ctx, sessionID)
	if err != nil {
		return StoredSession{}, StoredUser{}, err
	}
	u, err := s.UserByID(ctx, session.UserID)
	return session, u, err
}
