package org

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

// A MemoryStore is a [Store] in memory, for tests and single programs whose
// accounts are in memory too. In a transaction of a Kit, its changes take effect
// when that is committed. Calls within the transaction do not see them. So a
// change that would leave an organization without an owner, because of an
// earlier change in the transaction, is not made then.
type MemoryStore struct {
	mu          sync.RWMutex
	orgs        map[string]*memoryOrg
	memberships map[string]map[string]struct{} // user ID to organization IDs
	invitations map[string]StoredInvitation
	active      map[string]memoryActive // by session ID
}

// A memoryOrg is an organization with its members, by user ID.
type memoryOrg struct {
	Org
	version int64
	members map[string]Member
}

type memoryActive struct {
	orgID   string
	expires time.Time
}

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{
		orgs: map[string]*memoryOrg{}, memberships: map[string]map[string]struct{}{},
		invitations: map[string]StoredInvitation{}, active: map[string]memoryActive{},
	}
}

var _ Store = (*MemoryStore)(nil)

var errID = errors.New("org: the ID is empty or exists")

// change calls f, which makes a change, with the lock held: now, or when the
// transaction of ctx is committed. The caller holds the lock.
func (m *MemoryStore) change(ctx context.Context, f func()) {
	inTx := authkit.AfterCommit(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		f()
	})
	if !inTx {
		f()
	}
}

// lock locks the store, unless ctx is done.
func (m *MemoryStore) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	return nil
}

// read locks the store for a reader, unless ctx is done.
func (m *MemoryStore) read(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	return nil
}

func (m Member) clone() Member {
	m.Roles = slices.Clone(m.Roles)
	return m
}

func (i StoredInvitation) clone() StoredInvitation {
	i.Roles = slices.Clone(i.Roles)
	return i
}

// CreateOrg implements [Store].
func (m *MemoryStore) CreateOrg(ctx context.Context, o Org, first Member) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if m.orgs[o.ID] != nil || o.ID == "" {
		return errID
	}
	first = first.clone()
	m.change(ctx, func() {
		m.orgs[o.ID] = &memoryOrg{o, 1, map[string]Member{}}
		m.put(m.orgs[o.ID], first)
	})
	return nil
}

// put adds or replaces a member. The caller holds the lock, as for remove.
func (m *MemoryStore) put(o *memoryOrg, member Member) {
	o.members[member.UserID] = member
	if m.memberships[member.UserID] == nil {
		m.memberships[member.UserID] = map[string]struct{}{}
	}
	m.memberships[member.UserID][o.ID] = struct{}{}
}

// remove removes a member.
func (m *MemoryStore) remove(o *memoryOrg, userID string) {
	delete(o.members, userID)
	delete(m.memberships[userID], o.ID)
	if len(m.memberships[userID]) == 0 {
		delete(m.memberships, userID)
	}
}

// Org implements [Store].
func (m *MemoryStore) Org(ctx context.Context, id string) (Org, int64, error) {
	if err := m.read(ctx); err != nil {
		return Org{}, 0, err
	}
	defer m.mu.RUnlock()
	o := m.orgs[id]
	if o == nil {
		return Org{}, 0, authkit.ErrNotFound
	}
	return o.Org, o.version, nil
}

// Apply implements [Store].
func (m *MemoryStore) Apply(ctx context.Context, id string, version int64, c Change) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	o := m.orgs[id]
	if o == nil || o.version != version {
		return ErrConflict
	}
	if c.PutInvitation != nil {
		if _, exists := m.invitations[c.PutInvitation.ID]; exists || c.PutInvitation.ID == "" {
			return errID
		}
		c.PutInvitation = new(c.PutInvitation.clone())
	}
	if c.PutMember != nil {
		c.PutMember = new(c.PutMember.clone())
	}
	m.change(ctx, func() {
		if m.orgs[id] == o && (o.version == version || o.keepsOwner(c)) {
			m.apply(o, c)
		}
	})
	return nil
}

// keepsOwner reports whether an organization has an owner after a change, or
// ends with it. An earlier change of the same transaction can be the reason that
// it has none.
func (o *memoryOrg) keepsOwner(c Change) bool {
	if c.Delete || c.RemoveMember == "" && c.PutMember == nil {
		return true
	}
	if c.PutMember != nil && slices.Contains(c.PutMember.Roles, Owner) {
		return true
	}
	owners := 0
	for id, member := range o.members {
		gone := id == c.RemoveMember || c.PutMember != nil && id == c.PutMember.UserID
		if !gone && slices.Contains(member.Roles, Owner) {
			owners++
		}
	}
	return owners > 0
}

// apply makes a change. The caller holds the lock.
func (m *MemoryStore) apply(o *memoryOrg, c Change) {
	o.version++
	if c.RemoveMember != "" {
		m.remove(o, c.RemoveMember)
	}
	if c.PutMember != nil {
		m.put(o, *c.PutMember)
	}
	for _, id := range c.RemoveInvitations {
		if m.invitations[id].OrgID == o.ID {
			delete(m.invitations, id)
		}
	}
	if c.PutInvitation != nil {
		m.invitations[c.PutInvitation.ID] = *c.PutInvitation
	}
	if !c.Delete {
		return
	}
	for userID := range o.members {
		m.remove(o, userID)
	}
	maps.DeleteFunc(m.invitations, func(_ string, i StoredInvitation) bool { return i.OrgID == o.ID })
	delete(m.orgs, o.ID)
}

// Member implements [Store].
func (m *MemoryStore) Member(ctx context.Context, orgID, userID string) (Member, error) {
	if err := m.read(ctx); err != nil {
		return Member{}, err
	}
	defer m.mu.RUnlock()
	if o := m.orgs[orgID]; o != nil {
		if member, ok := o.members[userID]; ok {
			return member.clone(), nil
		}
	}
	return Member{}, authkit.ErrNotFound
}

// Members implements [Store].
func (m *MemoryStore) Members(ctx context.Context, orgID, after string, limit int) ([]Member, error) {
	if err := m.read(ctx); err != nil {
		return nil, err
	}
	defer m.mu.RUnlock()
	o := m.orgs[orgID]
	if o == nil {
		return nil, nil
	}
	var list []Member
	for _, id := range slices.Sorted(maps.Keys(o.members)) {
		if id > after && len(list) < limit {
			list = append(list, o.members[id].clone())
		}
	}
	return list, nil
}

// HasOtherOwner implements [Store].
func (m *MemoryStore) HasOtherOwner(ctx context.Context, orgID, userID string) (bool, error) {
	if err := m.read(ctx); err != nil {
		return false, err
	}
	defer m.mu.RUnlock()
	if o := m.orgs[orgID]; o != nil {
		for id, member := range o.members {
			if id != userID && slices.Contains(member.Roles, Owner) {
				return true, nil
			}
		}
	}
	return false, nil
}

// Memberships implements [Store].
func (m *MemoryStore) Memberships(ctx context.Context, userID string) ([]Membership, error) {
	if err := m.read(ctx); err != nil {
		return nil, err
	}
	defer m.mu.RUnlock()
	var list []Membership
	for _, id := range slices.Sorted(maps.Keys(m.memberships[userID])) {
		o := m.orgs[id]
		member := o.members[userID].clone()
		list = append(list, Membership{Org: o.Org, Roles: member.Roles, JoinedAt: member.JoinedAt})
	}
	return list, nil
}

// Invitation implements [Store].
func (m *MemoryStore) Invitation(ctx context.Context, id string) (StoredInvitation, error) {
	if err := m.read(ctx); err != nil {
		return StoredInvitation{}, err
	}
	defer m.mu.RUnlock()
	i, ok := m.invitations[id]
	if !ok {
		return StoredInvitation{}, authkit.ErrNotFound
	}
	return i.clone(), nil
}

// Invitations implements [Store].
func (m *MemoryStore) Invitations(ctx context.Context, orgID string) ([]Invitation, error) {
	if err := m.read(ctx); err != nil {
		return nil, err
	}
	defer m.mu.RUnlock()
	var list []Invitation
	for _, i := range m.invitations {
		if i.OrgID == orgID {
			list = append(list, i.clone().Invitation)
		}
	}
	slices.SortFunc(list, func(a, b Invitation) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// SetActive implements [Store].
func (m *MemoryStore) SetActive(ctx context.Context, sessionID, orgID string, expires time.Time) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.change(ctx, func() { m.active[sessionID] = memoryActive{orgID, expires} })
	return nil
}

// Active implements [Store].
func (m *MemoryStore) Active(ctx context.Context, sessionID string) (string, error) {
	if err := m.read(ctx); err != nil {
		return "", err
	}
	defer m.mu.RUnlock()
	a, ok := m.active[sessionID]
	if !ok {
		return "", authkit.ErrNotFound
	}
	return a.orgID, nil
}

// DeleteExpired implements [Store].
func (m *MemoryStore) DeleteExpired(ctx context.Context, at time.Time, limit int) (deleted int, err error) {
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	invitations, active := limit, limit
	for id, i := range m.invitations {
		if !i.ExpiresAt.After(at) && invitations > 0 {
			delete(m.invitations, id)
			invitations--
			deleted++
		}
	}
	for id, a := range m.active {
		if !a.expires.After(at) && active > 0 {
			delete(m.active, id)
			active--
			deleted++
		}
	}
	return deleted, nil
}
