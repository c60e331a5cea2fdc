package org_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/storetest"
)

// TestMemoryStore runs the suite on a MemoryStore.
func TestMemoryStore(t *testing.T) {
	t.Parallel()
	storetest.TestOrgStore(t, func(*testing.T) org.Store { return org.NewMemoryStore() })
}

// A hanging store does not answer before its context is done.
type hanging struct{ org.Store }

func (hanging) Memberships(ctx context.Context, _ string) ([]org.Membership, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// FR-11: the calls of the UserData have a deadline too.
func TestUserDataDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		data := org.UserData(hanging{org.NewMemoryStore()})
		began := time.Now()
		_, err := data.Export(t.Context(), "u")
		require.ErrorIs(t, err, authkit.ErrUnavailable)
		require.ErrorIs(t, data.Wipe(t.Context(), "u", authkit.WipeAll), authkit.ErrUnavailable)
		require.Equal(t, 10*time.Second, time.Since(began))
	})
}

// A store that cannot be compared is a problem of the configuration, and no
// panic.
func TestNewIncomparableStore(t *testing.T) {
	t.Parallel()
	type store struct {
		org.Store
		_ []string
	}
	s := store{Store: org.NewMemoryStore()}
	kit, err := authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), UserData: []authkit.UserData{org.UserData(s)}})
	require.NoError(t, err)
	_, err = org.New(kit, org.Config{Store: s, Send: func(context.Context, org.Invite) error { return nil }})
	require.ErrorContains(t, err, "org.UserData")
}

// OR-05: of two changes in one transaction that each rely on the other owner,
// a MemoryStore makes the first. A change after a deletion does nothing.
func TestMemoryStoreTwoChanges(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	id, other := a.create(t, ann), a.create(t, bob)
	a.join(t, ann, id, bob, org.Owner)
	system := authkit.WithSystem(t.Context(), "job")
	require.NoError(t, a.kit.InTx(system, func(ctx context.Context) error {
		return errors.Join(a.Remove(ctx, id, ann.ID), a.Remove(ctx, id, bob.ID))
	}))
	require.Empty(t, a.rolesOf(t, id, ann))
	require.Equal(t, []string{org.Owner}, a.rolesOf(t, id, bob))

	require.NoError(t, a.kit.InTx(system, func(ctx context.Context) error {
		err := a.Delete(ctx, id)
		_, again := a.SetRoles(ctx, id, bob.ID, org.Owner, "admin")
		return errors.Join(err, again)
	}))
	list, err := a.List(bob)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, other, list[0].Org.ID)
}

// Which changes a MemoryStore makes after an earlier change of the same
// transaction has left the organization with one owner (OR-05).
func TestMemoryStoreKeepsOwner(t *testing.T) {
	t.Parallel()
	member := func(id string, roles ...string) *org.Member {
		return &org.Member{OrgID: "acme", UserID: id, Roles: roles}
	}
	for name, c := range map[string]struct {
		org.Change
		made bool
	}{
		"the owner leaves":             {org.Change{RemoveMember: "bob"}, false},
		"the owner is a member":        {org.Change{PutMember: member("bob", "member")}, false},
		"the owner has more roles":     {org.Change{PutMember: member("bob", "admin", org.Owner)}, true},
		"another one leaves":           {org.Change{RemoveMember: "carl"}, true},
		"another one is changed":       {org.Change{PutMember: member("carl", "admin")}, true},
		"one joins":                    {org.Change{PutMember: member("dora", "member")}, true},
		"an owner follows":             {org.Change{RemoveMember: "bob", PutMember: member("carl", org.Owner)}, true},
		"one who is no owner follows":  {org.Change{RemoveMember: "bob", PutMember: member("carl", "admin")}, false},
		"an invitation":                {org.Change{PutInvitation: &org.StoredInvitation{Invitation: org.Invitation{ID: "i", OrgID: "acme"}}}, true},
		"the organization is deleted":  {org.Change{Delete: true}, true},
		"it is deleted with its owner": {org.Change{Delete: true, RemoveMember: "bob"}, true},
	} {
		s, users := org.NewMemoryStore(), authkit.NewMemoryStore()
		require.NoError(t, s.CreateOrg(t.Context(), org.Org{ID: "acme"}, *member("ann", org.Owner)))
		require.NoError(t, s.Apply(t.Context(), "acme", 1, org.Change{PutMember: member("bob", org.Owner)}))
		require.NoError(t, s.Apply(t.Context(), "acme", 2, org.Change{PutMember: member("carl", "member")}))
		require.NoError(t, users.InTx(t.Context(), func(ctx context.Context) error {
			return errors.Join(s.Apply(ctx, "acme", 3, org.Change{RemoveMember: "ann"}), s.Apply(ctx, "acme", 3, c.Change))
		}))
		_, version, err := s.Org(t.Context(), "acme")
		switch {
		case c.Delete:
			require.ErrorIs(t, err, authkit.ErrNotFound, name)
		case c.made:
			require.EqualValues(t, 5, version, name)
		default:
			require.EqualValues(t, 4, version, name)
		}
	}
}

// A flaky store fails one of its next calls.
type flaky struct {
	org.Store
	left int    // the number of calls up to the one that fails; 0 for none
	hit  string // the call that failed
}

func (s *flaky) next(name string) error {
	if s.left--; s.left == 0 {
		s.hit = name
		return errors.New("no connection")
	}
	return nil
}

func (s *flaky) CreateOrg(ctx context.Context, o org.Org, first org.Member) error {
	if err := s.next("CreateOrg"); err != nil {
		return err
	}
	return s.Store.CreateOrg(ctx, o, first)
}

func (s *flaky) Org(ctx context.Context, id string) (org.Org, int64, error) {
	if err := s.next("Org"); err != nil {
		return org.Org{}, 0, err
	}
	return s.Store.Org(ctx, id)
}

func (s *flaky) Apply(ctx context.Context, id string, version int64, c org.Change) error {
	if err := s.next("Apply"); err != nil {
		return err
	}
	return s.Store.Apply(ctx, id, version, c)
}

func (s *flaky) Member(ctx context.Context, orgID, userID string) (org.Member, error) {
	if err := s.next("Member"); err != nil {
		return org.Member{}, err
	}
	return s.Store.Member(ctx, orgID, userID)
}

func (s *flaky) Members(ctx context.Context, orgID, after string, limit int) ([]org.Member, error) {
	if err := s.next("Members"); err != nil {
		return nil, err
	}
	return s.Store.Members(ctx, orgID, after, limit)
}

func (s *flaky) HasOtherOwner(ctx context.Context, orgID, userID string) (bool, error) {
	if err := s.next("HasOtherOwner"); err != nil {
		return false, err
	}
	return s.Store.HasOtherOwner(ctx, orgID, userID)
}

func (s *flaky) Memberships(ctx context.Context, userID string) ([]org.Membership, error) {
	if err := s.next("Memberships"); err != nil {
		return nil, err
	}
	return s.Store.Memberships(ctx, userID)
}

func (s *flaky) Invitation(ctx context.Context, id string) (org.StoredInvitation, error) {
	if err := s.next("Invitation"); err != nil {
		return org.StoredInvitation{}, err
	}
	return s.Store.Invitation(ctx, id)
}

func (s *flaky) Invitations(ctx context.Context, orgID string) ([]org.Invitation, error) {
	if err := s.next("Invitations"); err != nil {
		return nil, err
	}
	return s.Store.Invitations(ctx, orgID)
}

func (s *flaky) SetActive(ctx context.Context, sessionID, orgID string, expires time.Time) error {
	if err := s.next("SetActive"); err != nil {
		return err
	}
	return s.Store.SetActive(ctx, sessionID, orgID, expires)
}

func (s *flaky) Active(ctx context.Context, sessionID string) (string, error) {
	if err := s.next("Active"); err != nil {
		return "", err
	}
	return s.Store.Active(ctx, sessionID)
}

// FR-11: whichever call of the store fails, the method returns ErrUnavailable and
// emits no event of a change. It succeeds when it is called again.
func TestEachCallFails(t *testing.T) {
	t.Parallel()
	s := &flaky{Store: org.NewMemoryStore()}
	a := newApp(t, func(o *org.Config, c *authkit.Config) {
		o.Store, c.UserData = s, []authkit.UserData{org.UserData(s)}
	})
	a.mux.HandleFunc("GET /p/{org}", a.Member(), show)
	active := a.Active()
	a.mux.Handle("GET /active", active, a.kit.Require(active)(http.HandlerFunc(show)))
	var ann person // another one for each method, which can create 100 organizations
	get := func(path string) error {
		switch code := a.call(t, "GET", path, ann.token, "").Code; code {
		case 200:
			return nil
		case 503:
			return authkit.ErrUnavailable
		default:
			return fmt.Errorf("status %d", code)
		}
	}
	people := 0
	for name, prepare := range map[string]func(id string, bob person) func() error{ // both are owners
		"Create": func(string, person) func() error { return func() error { _, err := a.Create(ann, "Acme"); return err } },
		"List":   func(string, person) func() error { return func() error { _, err := a.List(ann); return err } },
		"Members": func(id string, _ person) func() error {
			return func() error { _, err := a.Members(ann, id, "", 0); return err }
		},
		"Invitations": func(id string, _ person) func() error {
			return func() error { _, err := a.Invitations(ann, id); return err }
		},
		"Switch": func(id string, _ person) func() error {
			return func() error { _, err := a.Switch(ann, id); return err }
		},
		"Delete": func(id string, _ person) func() error { return func() error { return a.Delete(ann, id) } },
		"Remove": func(id string, bob person) func() error { return func() error { return a.Remove(ann, id, bob.ID) } },
		"DeleteUser": func(_ string, bob person) func() error {
			return func() error { return a.kit.DeleteUser(t.Context(), bob.ID) }
		},
		"a policy": func(id string, _ person) func() error { return func() error { return get("/p/" + id) } },
		"SetRoles": func(id string, bob person) func() error {
			return func() error { _, err := a.SetRoles(ann, id, bob.ID, "member"); return err }
		},
		"Invite": func(id string, _ person) func() error {
			return func() error { _, err := a.Invite(ann, id, "new@example.com", "member"); return err }
		},
		"Revoke": func(id string, _ person) func() error {
			a.invite(t, ann, id, "new@example.com", "member")
			i := a.sent[len(a.sent)-1].ID
			return func() error { return a.Revoke(ann, id, i) }
		},
		"Accept": func(id string, bob person) func() error {
			require.NoError(t, a.Remove(bob, id, bob.ID))
			token := a.invite(t, ann, id, bob.Email, "member")
			return func() error { _, err := a.Accept(bob, token); return err }
		},
		"the last one leaves": func(id string, bob person) func() error {
			require.NoError(t, a.Remove(ann, id, ann.ID))
			return func() error { return a.kit.DeleteUser(t.Context(), bob.ID) }
		},
		"two policies": func(id string, _ person) func() error {
			keep(t)(a.Switch(ann, id))
			return func() error { return get("/active") }
		},
	} {
		people++
		ann = a.person(t, fmt.Sprint("ann", people))
		for n := 1; ; n++ {
			people++
			bob := a.person(t, fmt.Sprint("bob", people))
			id := a.create(t, ann)
			a.join(t, ann, id, bob, org.Owner)
			step := prepare(id, bob)
			a.take()
			s.left, s.hit = n, ""
			err := step()
			if s.left = 0; s.hit == "" {
				require.NoError(t, err, name)
				require.Greater(t, n, 1, name)
				break
			}
			at := fmt.Sprintf("%s: call %d, %s", name, n, s.hit)
			require.ErrorIs(t, err, authkit.ErrUnavailable, at)
			require.Empty(t, a.take(), at)
			require.NoError(t, step(), at)
		}
	}
}
