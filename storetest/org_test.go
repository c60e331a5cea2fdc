package storetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/storetest"
)

// TestOrgMemoryStore runs the suite on the store of package org.
func TestOrgMemoryStore(t *testing.T) {
	t.Parallel()
	storetest.TestOrgStore(t, func(*testing.T) org.Store { return org.NewMemoryStore() })
}

// brokenOrgs is a MemoryStore of package org with one method replaced.
type brokenOrgs struct {
	*org.MemoryStore
	create      func(ctx context.Context, o org.Org, first org.Member) error
	apply       func(ctx context.Context, id string, version int64, c org.Change) error
	member      func(ctx context.Context, orgID, userID string) (org.Member, error)
	members     func(ctx context.Context, orgID, after string, limit int) ([]org.Member, error)
	owners      func(ctx context.Context, orgID, userID string) (bool, error)
	memberships func(ctx context.Context, userID string) ([]org.Membership, error)
	invitation  func(ctx context.Context, id string) (org.StoredInvitation, error)
	active      func(ctx context.Context, sessionID string) (string, error)
	setActive   func(ctx context.Context, sessionID, orgID string, expires time.Time) error
	expire      func(ctx context.Context, at time.Time, limit int) (int, error)
}

func (b *brokenOrgs) CreateOrg(ctx context.Context, o org.Org, first org.Member) error {
	if b.create != nil {
		return b.create(ctx, o, first)
	}
	return b.MemoryStore.CreateOrg(ctx, o, first)
}

func (b *brokenOrgs) Apply(ctx context.Context, id string, version int64, c org.Change) error {
	if b.apply != nil {
		return b.apply(ctx, id, version, c)
	}
	return b.MemoryStore.Apply(ctx, id, version, c)
}

func (b *brokenOrgs) Member(ctx context.Context, orgID, userID string) (org.Member, error) {
	if b.member != nil {
		return b.member(ctx, orgID, userID)
	}
	return b.MemoryStore.Member(ctx, orgID, userID)
}

func (b *brokenOrgs) Members(ctx context.Context, orgID, after string, limit int) ([]org.Member, error) {
	if b.members != nil {
		return b.members(ctx, orgID, after, limit)
	}
	return b.MemoryStore.Members(ctx, orgID, after, limit)
}

func (b *brokenOrgs) HasOtherOwner(ctx context.Context, orgID, userID string) (bool, error) {
	if b.owners != nil {
		return b.owners(ctx, orgID, userID)
	}
	return b.MemoryStore.HasOtherOwner(ctx, orgID, userID)
}

func (b *brokenOrgs) Memberships(ctx context.Context, userID string) ([]org.Membership, error) {
	if b.memberships != nil {
		return b.memberships(ctx, userID)
	}
	return b.MemoryStore.Memberships(ctx, userID)
}

func (b *brokenOrgs) Invitation(ctx context.Context, id string) (org.StoredInvitation, error) {
	if b.invitation != nil {
		return b.invitation(ctx, id)
	}
	return b.MemoryStore.Invitation(ctx, id)
}

func (b *brokenOrgs) Active(ctx context.Context, sessionID string) (string, error) {
	if b.active != nil {
		return b.active(ctx, sessionID)
	}
	return b.MemoryStore.Active(ctx, sessionID)
}

func (b *brokenOrgs) SetActive(ctx context.Context, sessionID, orgID string, expires time.Time) error {
	if b.setActive != nil {
		return b.setActive(ctx, sessionID, orgID, expires)
	}
	return b.MemoryStore.SetActive(ctx, sessionID, orgID, expires)
}

func (b *brokenOrgs) DeleteExpired(ctx context.Context, at time.Time, limit int) (int, error) {
	if b.expire != nil {
		return b.expire(ctx, at, limit)
	}
	return b.MemoryStore.DeleteExpired(ctx, at, limit)
}

// orgMutants each break one promise of org.Store.
var orgMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenOrgs, m *org.MemoryStore)
}{
	"stores an organization without its owner": {"Create", func(b *brokenOrgs, m *org.MemoryStore) {
		b.create = func(ctx context.Context, o org.Org, first org.Member) error {
			return errors.Join(m.CreateOrg(ctx, o, first), m.Apply(ctx, o.ID, 1, org.Change{RemoveMember: first.UserID}))
		}
	}},
	"compares users without case": {"Create", func(b *brokenOrgs, m *org.MemoryStore) {
		b.member = func(ctx context.Context, orgID, userID string) (org.Member, error) {
			return m.Member(ctx, orgID, strings.ToLower(userID))
		}
	}},
	"cuts times to the second": {"Members", func(b *brokenOrgs, m *org.MemoryStore) {
		b.apply = func(ctx context.Context, id string, version int64, c org.Change) error {
			if c.PutMember != nil {
				cut := *c.PutMember
				cut.JoinedAt = cut.JoinedAt.Truncate(time.Second)
				c.PutMember = &cut
			}
			return m.Apply(ctx, id, version, c)
		}
	}},
	"does not remove a member": {"Members", func(b *brokenOrgs, m *org.MemoryStore) {
		b.apply = func(ctx context.Context, id string, version int64, c org.Change) error {
			c.RemoveMember = ""
			return m.Apply(ctx, id, version, c)
		}
	}},
	"begins a page with its cursor": {"Pages", func(b *brokenOrgs, m *org.MemoryStore) {
		b.members = func(ctx context.Context, orgID, after string, limit int) ([]org.Member, error) {
			list, err := m.Members(ctx, orgID, after, limit)
			if cursor, missing := m.Member(ctx, orgID, after); missing == nil {
				list = append([]org.Member{cursor}, list...)
			}
			return list, err
		}
	}},
	"counts the user as another owner": {"Owners", func(b *brokenOrgs, m *org.MemoryStore) {
		b.owners = func(ctx context.Context, orgID, _ string) (bool, error) { return m.HasOtherOwner(ctx, orgID, "") }
	}},
	"takes similar roles for that of an owner": {"Owners", func(b *brokenOrgs, m *org.MemoryStore) {
		b.owners = func(ctx context.Context, orgID, userID string) (bool, error) {
			list, err := m.Members(ctx, orgID, "", 1000)
			return slices.ContainsFunc(list, func(o org.Member) bool {
				return o.UserID != userID && strings.Contains(strings.Join(o.Roles, " "), org.Owner)
			}), err
		}
	}},
	"returns one membership": {"Memberships", func(b *brokenOrgs, m *org.MemoryStore) {
		b.memberships = func(ctx context.Context, userID string) ([]org.Membership, error) {
			list, err := m.Memberships(ctx, userID)
			return list[:min(1, len(list))], err
		}
	}},
	"ignores the version": {"Versions", func(b *brokenOrgs, m *org.MemoryStore) {
		b.apply = func(ctx context.Context, id string, _ int64, c org.Change) error {
			_, version, err := m.Org(ctx, id)
			if err != nil {
				return org.ErrConflict
			}
			return m.Apply(ctx, id, version, c)
		}
	}},
	"compares the version before it changes": {"VersionsAtOnce", func(b *brokenOrgs, m *org.MemoryStore) {
		var mu sync.Mutex
		second := map[int64]bool{}
		b.apply = func(ctx context.Context, id string, version int64, c org.Change) error {
			err := m.Apply(ctx, id, version, c)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, org.ErrConflict) && version > 0 && c.PutInvitation == nil && id == "a" && c.PutMember != nil && !second[version] {
				second[version] = true // as if the versions had been compared at the same time
				return nil
			}
			return err
		}
	}},
	"loses the hash of an invitation": {"Invitations", func(b *brokenOrgs, m *org.MemoryStore) {
		b.invitation = func(ctx context.Context, id string) (org.StoredInvitation, error) {
			i, err := m.Invitation(ctx, id)
			i.Hash = [32]byte{}
			return i, err
		}
	}},
	"removes invitations of other organizations": {"OtherOrgs", func(b *brokenOrgs, m *org.MemoryStore) {
		b.apply = func(ctx context.Context, id string, version int64, c org.Change) error {
			for _, i := range c.RemoveInvitations {
				if stored, err := m.Invitation(ctx, i); err == nil && stored.OrgID != id {
					_, v, _ := m.Org(ctx, stored.OrgID)
					_ = m.Apply(ctx, stored.OrgID, v, org.Change{RemoveInvitations: []string{i}})
				}
			}
			return m.Apply(ctx, id, version, c)
		}
	}},
	"keeps a deleted organization": {"Delete", func(b *brokenOrgs, m *org.MemoryStore) {
		b.apply = func(ctx context.Context, id string, version int64, c org.Change) error {
			c.Delete = false
			return m.Apply(ctx, id, version, c)
		}
	}},
	"keeps the first active organization": {"Active", func(b *brokenOrgs, m *org.MemoryStore) {
		b.setActive = func(ctx context.Context, sessionID, orgID string, expires time.Time) error {
			if _, err := m.Active(ctx, sessionID); err == nil {
				return nil
			}
			return m.SetActive(ctx, sessionID, orgID, expires)
		}
	}},
	"takes no limit for none": {"Expired", func(b *brokenOrgs, m *org.MemoryStore) {
		b.expire = func(ctx context.Context, at time.Time, limit int) (int, error) {
			if limit <= 0 {
				limit = 1000
			}
			return m.DeleteExpired(ctx, at, limit)
		}
	}},
	"fails for an ID that it cannot store": {"BrokenIDs", func(b *brokenOrgs, m *org.MemoryStore) {
		b.active = func(ctx context.Context, sessionID string) (string, error) {
			if strings.Contains(sessionID, "\x00") {
				return "", errors.New("invalid byte sequence")
			}
			return m.Active(ctx, sessionID)
		}
	}},
	"shares the roles": {"SharesNoMemory", func(b *brokenOrgs, m *org.MemoryStore) {
		shared := map[string]org.Member{}
		var mu sync.Mutex
		b.member = func(ctx context.Context, orgID, userID string) (org.Member, error) {
			mu.Lock()
			defer mu.Unlock()
			member, err := m.Member(ctx, orgID, userID)
			if err != nil || ctx.Err() != nil {
				return member, err
			}
			if _, ok := shared[orgID+userID]; !ok {
				shared[orgID+userID] = member
			}
			return shared[orgID+userID], nil
		}
	}},
	"ignores a context that is done": {"CancelledContext", func(b *brokenOrgs, m *org.MemoryStore) {
		b.apply = func(ctx context.Context, id string, version int64, c org.Change) error {
			return m.Apply(context.WithoutCancel(ctx), id, version, c)
		}
	}},
}

// TestOrgSuiteFails runs the suite on every one of orgMutants, as TestSuiteFails
// does.
func TestOrgSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range orgMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestOrgSuiteFails", caught, func(name string) {
		storetest.TestOrgStore(t, func(*testing.T) org.Store {
			b := &brokenOrgs{MemoryStore: org.NewMemoryStore()}
			orgMutants[name].breakIt(b, b.MemoryStore)
			return b
		})
	})
}
