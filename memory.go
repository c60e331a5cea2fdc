package authkit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MemoryStore is a [UserStore], a [SessionStore], a [TicketStore] and a
// [Transactor] in memory. It is for tests, demos and single programs that may
// lose their data. A look-up locks one of 256 shards for reading, so look-ups
// scale with the number of cores, and to millions of accounts.
type MemoryStore struct {
	sessions      memorySessions
	tickets       memoryTickets
	byID, byEmail *shards[StoredUser]

	mu    sync.Mutex    // held by every call that writes or lists accounts
	order []*StoredUser // all accounts, in the order of their IDs

	tx   atomic.Pointer[memoryTx] // the running transaction, or nil
	turn chan struct{}            // has room for one transaction, or for one writer that has waited for one
}

var (
	_ SessionUserStore = (*MemoryStore)(nil)
	_ TicketStore      = (*MemoryStore)(nil)
	_ Transactor       = (*MemoryStore)(nil)
)

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	m := &MemoryStore{turn: make(chan struct{}, 1)}
	m.byID, m.byEmail = newShards[StoredUser](m), newShards[StoredUser](m)
	m.sessions.byID, m.sessions.byUser = newShards[memorySession](m), make(map[string][]string)
	m.tickets.byID, m.tickets.bySubject = make(map[ticketKey]memoryTicket), make(map[string][]ticketKey)
	return m
}

// replace replaces the record old by new. Either may be nil. Readers by ID and
// by e-mail see the change at the same moment. The caller must hold s.mu, so
// that no other writer locks shards.
func (s *MemoryStore) replace(old, new *StoredUser, tx *memoryTx) {
	var locked []*shard[StoredUser]
	lock := func(sh *shard[StoredUser]) *shard[StoredUser] {
		if !slices.Contains(locked, sh) {
			sh.Lock()
			locked = append(locked, sh)
		}
		return sh
	}
	if old != nil {
		lock(s.byID.of(old.ID)).set(old.ID, nil, tx)
		lock(s.byEmail.of(old.Email)).set(old.Email, nil, tx)
	}
	if new != nil {
		lock(s.byID.of(new.ID)).set(new.ID, new, tx)
		lock(s.byEmail.of(new.Email)).set(new.Email, new, tx)
	}
	for _, sh := range locked {
		sh.Unlock()
	}
	switch at, _ := s.place(cmp.Or(old, new).ID); {
	case old == nil:
		s.order = slices.Insert(s.order, at, new)
	case new == nil:
		s.order = slices.Delete(s.order, at, at+1)
	default:
		s.order[at] = new
	}
	if tx != nil {
		tx.onRollback(func() { s.replace(new, old, nil) })
	}
}

// place returns the index of an ID among all accounts, and whether it is
// present. The caller must hold s.mu.
func (s *MemoryStore) place(id string) (at int, found bool) {
	return slices.BinarySearchFunc(s.order, id, func(u *StoredUser, id string) int { return strings.Compare(u.ID, id) })
}

// clone returns a copy of u that shares no memory with it.
func (u *StoredUser) clone() StoredUser {
	c := *u
	c.Roles = slices.Clone(u.Roles)
	return c
}

// CreateUser implements [UserStore].
func (s *MemoryStore) CreateUser(ctx context.Context, u StoredUser) error {
	h, err := s.hold(ctx, &s.mu)
	if err != nil {
		return err
	}
	defer h.release()
	if s.byEmail.latest(u.Email) != nil {
		return ErrEmailTaken
	}
	if u.ID == "" || s.byID.latest(u.ID) != nil {
		return errors.New("authkit: MemoryStore: the user ID is empty or exists")
	}
	u.Version = 1
	s.replace(nil, new(u.clone()), h.tx)
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
	h, err := s.hold(ctx, &s.mu)
	if err != nil {
		return nil, err
	}
	defer h.release()
	at, found := s.place(q.After)
	if found {
		at++
	}
	var users []User
	for _, u := range s.order[at:] {
		if len(users) >= q.Limit {
			break
		}
		if q.selects(&u.User) {
			users = append(users, u.clone().User)
		}
	}
	return users, ctx.Err()
}

// CountUsers implements [UserStore].
func (s *MemoryStore) CountUsers(ctx context.Context, q UserQuery) (int, error) {
	h, err := s.hold(ctx, &s.mu)
	if err != nil {
		return 0, err
	}
	defer h.release()
	if q.EmailPrefix == "" && q.Role == "" && q.Disabled == nil {
		return len(s.order), nil
	}
	n := 0
	for _, u := range s.order {
		if q.selects(&u.User) {
			n++
		}
	}
	return n, ctx.Err()
}

// selects reports whether the query selects an account, without paging.
func (q *UserQuery) selects(u *User) bool {
	return strings.HasPrefix(u.Email, q.EmailPrefix) &&
		(q.Role == "" || slices.Contains(u.Roles, q.Role)) &&
		(q.Disabled == nil || *q.Disabled == u.Disabled)
}

// UpdateUser implements [UserStore].
func (s *MemoryStore) UpdateUser(ctx context.Context, id string, change UserUpdate, at time.Time) (User, error) {
	h, err := s.hold(ctx, &s.mu)
	if err != nil {
		return User{}, err
	}
	defer h.release()
	old := s.byID.latest(id)
	if old == nil {
		return User{}, ErrUserNotFound
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
	if from := *cmp.Or(change.TokensValidAfter, &u.TokensValidAfter); from.After(u.TokensValidAfter) {
		u.TokensValidAfter = from
	}
	u.UpdatedAt = at
	u.Version++
	if u.Email != old.Email && s.byEmail.latest(u.Email) != nil {
		return User{}, ErrEmailTaken
	}
	if change.KeepRole != "" && (!u.holds(change.KeepRole) || u.LockedUntil.After(at)) && !s.held(change.KeepRole, id, at) {
		return User{}, ErrLastAdmin
	}
	s.replace(old, &u, h.tx)
	return u.clone().User, nil
}

// holds reports whether an account is enabled and has a role.
func (u *User) holds(role string) bool { return !u.Disabled && slices.Contains(u.Roles, role) }

// held reports whether another account holds a role and is not locked after a time. s.mu is
// held.
func (s *MemoryStore) held(role, otherThan string, at time.Time) bool {
	return slices.ContainsFunc(s.order, func(u *StoredUser) bool {
		return u.ID != otherThan && u.holds(role) && !u.LockedUntil.After(at)
	})
}

// forever is after every lock.
var forever = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)

// DeleteUser implements [UserStore].
func (s *MemoryStore) DeleteUser(ctx context.Context, id, keepRole string) error {
	h, err := s.hold(ctx, &s.mu)
	if err != nil {
		return err
	}
	defer h.release()
	u := s.byID.latest(id)
	if u == nil {
		return ErrUserNotFound
	}
	if keepRole != "" && !s.held(keepRole, id, forever) {
		return ErrLastAdmin
	}
	s.replace(u, nil, h.tx)
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
