package org_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
)

// New reports every problem of a configuration at once.
func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := org.New(nil, org.Config{})
	require.ErrorContains(t, err, "the Kit is nil")
	a := newApp(t)
	_, err = org.New(a.kit, org.Config{
		Store: new(org.MemoryStore), InviteLife: 7*24*time.Hour + 1,
		Roles: map[string][]string{"a b": nil, org.Owner: {"ok"}, "fine": {"no permission", "é", "", strings.Repeat("x", 65)}},
	})
	for _, part := range []string{
		"Config.Store: an empty MemoryStore", "no org.UserData with this store", "Config.Send: is nil", "Config.InviteLife: 168h0m0.000000001s",
		`Config.Roles: "a b"`, `the role "owner" always exists`, `"no permission"`, `"é"`, `""`, strings.Repeat("x", 65),
	} {
		require.ErrorContains(t, err, part)
	}
	_, err = org.New(a.kit, org.Config{Send: a.send, InviteLife: -1})
	require.ErrorContains(t, err, "Config.Store: is nil")
	require.ErrorContains(t, err, "Config.InviteLife: -1ns")
	_, err = org.New(a.kit, org.Config{Send: a.send, Store: org.NewMemoryStore()})
	require.ErrorContains(t, err, "no org.UserData with this store", "another one is not enough")

	_, err = org.New(a.kit, org.Config{Send: a.send, Store: (*org.MemoryStore)(nil)})
	require.ErrorContains(t, err, "Config.Store: an empty MemoryStore")
	_, err = org.New(a.kit, org.Config{Send: a.send, Store: a.store, Roles: map[string][]string{"09:AZ.az-_": {strings.Repeat("x", 64)}}})
	require.NoError(t, err)

	orgs, err := org.New(a.kit, org.Config{Send: a.send, Store: a.store}) // the default roles
	require.NoError(t, err)
	ann := a.person(t, "ann")
	m, err := orgs.Create(ann, "Acme")
	require.NoError(t, err)
	for _, role := range []string{"admin", "member", org.Owner} {
		_, err = orgs.Invite(ann, m.Org.ID, "new@example.com", role)
		require.NoError(t, err)
	}
}

// Names are one line of at most 128 characters.
func TestNames(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann := a.person(t, "ann")
	for _, name := range []string{"", " ", "Acme ", "a\nb", "\x00", "\xff", "a\u202eb", strings.Repeat("ö", 129)} {
		invalid := new(authkit.ValidationError)
		_, err := a.Create(ann, name)
		require.ErrorAs(t, err, &invalid, "%q", name)
		require.Equal(t, "name", invalid.Fields[0].Field)
	}
	_, err := a.Create(ann, strings.Repeat("ö", 128))
	require.NoError(t, err)
}

// OR-04: only a user who has logged in acts, and the program itself with
// WithSystem.
func TestActors(t *testing.T) {
	t.Parallel()
	fake := new(credential)
	a := newApp(t, func(_ *org.Config, c *authkit.Config) { c.Authenticators = []authkit.Authenticator{fake} })
	foreign := newApp(t)
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	id := a.create(t, ann)
	a.join(t, ann, id, bob, org.Owner)
	token := a.invite(t, ann, id, ann.Email, "member")
	invitation := a.sent[len(a.sent)-1].ID
	calls := func(ctx context.Context) map[string]func() error {
		return map[string]func() error{
			"Members":     func() error { _, err := a.Members(ctx, id, "", 0); return err },
			"SetRoles":    func() error { _, err := a.SetRoles(ctx, id, bob.ID, org.Owner); return err },
			"Invitations": func() error { _, err := a.Invitations(ctx, id); return err },
			"Invite":      func() error { _, err := a.Invite(ctx, id, "new@example.com", "member"); return err },
			"Revoke":      func() error { return a.Revoke(ctx, id, invitation) },
			"Remove":      func() error { return a.Remove(ctx, id, bob.ID) },
			"Delete":      func() error { return a.Delete(ctx, id) },
		}
	}
	personal := func(ctx context.Context) map[string]func() error {
		return map[string]func() error{
			"Create": func() error { _, err := a.Create(ctx, "Mine"); return err },
			"List":   func() error { _, err := a.List(ctx); return err },
			"Switch": func() error { _, err := a.Switch(ctx, id); return err },
			"Accept": func() error { _, err := a.Accept(ctx, token); return err },
		}
	}
	stranger, err := foreign.kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
	require.NoError(t, err)
	for name, ctx := range map[string]context.Context{
		"nobody":        t.Context(),
		"an API key":    a.as(t, fake, authkit.Credential{Kind: "key", UserID: ann.ID, Machine: true}),
		"a limited one": a.as(t, fake, authkit.Credential{Kind: "key", UserID: ann.ID, Limited: true, Permissions: []string{org.ManageMembers}}),
		"a service":     a.as(t, fake, authkit.Credential{Kind: "key", Service: "billing", Machine: true}),
		"an imposter":   a.as(t, fake, authkit.Credential{Kind: "support", UserID: ann.ID, ActorID: bob.ID}),
		"another Kit's": foreign.login(t, stranger),
	} {
		for method, call := range calls(ctx) {
			require.ErrorIs(t, call(), authkit.ErrForbidden, "%s: %s", name, method)
		}
		for method, call := range personal(ctx) {
			require.ErrorIs(t, call(), authkit.ErrForbidden, "%s: %s", name, method)
		}
	}
	system := authkit.WithSystem(t.Context(), "job")
	for method, call := range personal(system) {
		require.ErrorIs(t, call(), authkit.ErrForbidden, method)
	}
	for _, method := range []string{"Members", "SetRoles", "Invitations", "Invite", "Revoke", "Remove", "Delete"} {
		require.NoError(t, calls(system)[method](), method)
	}
}

// OR-02, OR-04: who may change the roles of whom, and remove whom.
func TestChangeMatrix(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann := a.person(t, "ann")
	people := map[string]person{"owner": ann}
	id := a.create(t, ann)
	for _, role := range []string{"owner2", "admin", "admin2", "editor", "editor2", "member"} {
		people[role] = a.person(t, role)
		a.join(t, ann, id, people[role], strings.TrimSuffix(role, "2"))
	}
	reset := func(role string) {
		applied := org.Change{PutMember: &org.Member{OrgID: id, UserID: people[role].ID, Roles: []string{strings.TrimSuffix(role, "2")}}}
		_, version, err := a.store.Org(t.Context(), id)
		require.NoError(t, err)
		require.NoError(t, a.store.Apply(t.Context(), id, version, applied))
	}
	for _, c := range []struct {
		who, whom string
		roles     string // nothing: removed
		want      error
	}{
		{"owner", "admin", "member editor", nil}, {"owner", "member", "owner", nil}, {"owner", "owner2", "member", nil}, {"owner", "owner2", "", nil},
		{"owner", "owner", "admin", nil}, {"owner", "admin", "", nil}, {"owner", "owner", "", nil},
		{"admin", "admin2", "", nil}, {"admin", "admin", "", nil}, {"member", "member", "", nil}, {"editor", "editor", "", nil},
		{"admin", "owner", "admin", authkit.ErrForbidden}, {"admin", "owner", "", authkit.ErrForbidden}, {"admin", "owner", "owner admin", nil},
		{"admin", "admin", "owner", authkit.ErrForbidden}, {"admin", "admin", "admin editor", authkit.ErrForbidden},
		{"admin", "editor", "editor admin", nil}, {"admin", "editor", "admin", authkit.ErrForbidden}, {"admin", "editor", "", authkit.ErrForbidden},
		{"admin", "member", "member owner", authkit.ErrForbidden},
		{"editor", "member", "editor", authkit.ErrForbidden}, {"editor", "member", "", authkit.ErrForbidden}, {"editor", "editor2", "", authkit.ErrForbidden}, {"editor", "editor", "editor", authkit.ErrForbidden},
		{"member", "member", "owner", authkit.ErrForbidden}, {"member", "owner", "", authkit.ErrForbidden},
	} {
		before := a.rolesOf(t, id, people[c.whom])
		var err error
		if c.roles == "" {
			err = a.Remove(people[c.who], id, people[c.whom].ID)
		} else {
			_, err = a.SetRoles(people[c.who], id, people[c.whom].ID, strings.Fields(c.roles)...)
		}
		require.ErrorIs(t, err, c.want, "%+v", c)
		if c.want != nil {
			require.Equal(t, before, a.rolesOf(t, id, people[c.whom]), "%+v", c)
		} else {
			require.ElementsMatch(t, strings.Fields(c.roles), a.rolesOf(t, id, people[c.whom]), "%+v", c)
		}
		reset(c.whom)
	}
	eve := a.person(t, "eve")
	for name, err := range map[string]error{
		"Delete": a.Delete(eve, id), "Remove": a.Remove(eve, id, eve.ID), "Revoke": a.Revoke(eve, id, "nothing"),
	} {
		require.ErrorIs(t, err, authkit.ErrNotFound, name)
	}
	_, err := a.SetRoles(ann, id, "nobody", "member")
	require.ErrorIs(t, err, authkit.ErrNotFound)
	require.ErrorIs(t, a.Remove(ann, id, "nobody"), authkit.ErrNotFound)
	require.ErrorIs(t, a.Delete(people["admin"], id), authkit.ErrForbidden)
	_, err = a.Members(people["member"], id, "", 0)
	require.NoError(t, err)
	_, err = a.Invitations(people["editor"], id)
	require.ErrorIs(t, err, authkit.ErrForbidden)
	require.ErrorIs(t, a.Revoke(people["editor"], id, "nothing"), authkit.ErrForbidden)
	require.ErrorIs(t, a.Revoke(ann, id, "nothing"), authkit.ErrNotFound)
	a.invite(t, ann, a.create(t, ann), "new@example.com", "member")
	require.ErrorIs(t, a.Revoke(ann, id, a.sent[len(a.sent)-1].ID), authkit.ErrNotFound, "that of another organization")
}

// OR-05: the last owner cannot leave, lose the role, or delete the account, also
// by the program. An organization without another member ends with its owner.
func TestLastOwner(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	id := a.create(t, ann)
	a.join(t, ann, id, bob, "admin")
	alone := a.create(t, ann)
	system := authkit.WithSystem(t.Context(), "job")
	for name, do := range map[string]func() error{
		"leave":            func() error { return a.Remove(ann, id, ann.ID) },
		"give it up":       func() error { _, err := a.SetRoles(ann, id, ann.ID, "member"); return err },
		"be removed":       func() error { return a.Remove(system, id, ann.ID) },
		"be demoted":       func() error { _, err := a.SetRoles(system, id, ann.ID, "member"); return err },
		"be deleted":       func() error { return a.kit.DeleteUser(t.Context(), ann.ID) },
		"leave it at last": func() error { return a.Remove(ann, alone, ann.ID) },
	} {
		err := do()
		require.ErrorIs(t, err, authkit.ErrLastOwner, name)
		require.Equal(t, 409, authkit.ProblemFor(err).Status, name)
		require.Equal(t, []string{org.Owner}, a.rolesOf(t, id, ann), name)
		require.Equal(t, []string{org.Owner}, a.rolesOf(t, alone, ann), name)
	}
	keep(t)(a.SetRoles(ann, id, ann.ID, org.Owner, "admin"))
	keep(t)(a.SetRoles(ann, id, ann.ID, org.Owner))
	u, err := a.kit.User(t.Context(), ann.ID)
	require.NoError(t, err)
	require.False(t, u.Disabled)
	keep(t)(a.SetRoles(ann, id, bob.ID, org.Owner, "admin"))
	require.NoError(t, a.kit.ResetUser(t.Context(), ann.ID))
	require.Equal(t, []string{org.Owner}, a.rolesOf(t, id, ann), "a membership is no credential")
	require.NoError(t, a.kit.DeleteUser(t.Context(), ann.ID))
	require.Empty(t, a.rolesOf(t, id, ann))
	_, _, err = a.store.Org(t.Context(), alone)
	require.ErrorIs(t, err, authkit.ErrNotFound)
	_, err = a.Members(bob, id, "", 0)
	require.NoError(t, err)
}

// An export holds the memberships of the user.
func TestExport(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	id := a.create(t, ann)
	data, err := a.kit.ExportUser(t.Context(), ann.ID)
	require.NoError(t, err)
	list := data["organizations"].([]org.Membership)
	require.Len(t, list, 1)
	require.Equal(t, id, list[0].Org.ID)
	data, err = a.kit.ExportUser(t.Context(), bob.ID)
	require.NoError(t, err)
	require.NotContains(t, data, "organizations")
}

// Every change is an event with its actor, its subject and its organization.
func TestEvents(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	a.take()
	only := func(id string, want authkit.Event) {
		t.Helper()
		want.OrgID = id
		require.Equal(t, []authkit.Event{want}, a.take())
	}
	id := a.create(t, ann)
	only(id, authkit.Event{Kind: authkit.EventOrgCreated, UserID: ann.ID})
	token := a.invite(t, ann, id, bob.Email, "member")
	only(id, authkit.Event{Kind: authkit.EventMemberInvited, ActorID: ann.ID})
	keep(t)(a.Accept(bob, token))
	only(id, authkit.Event{Kind: authkit.EventMemberAdded, UserID: bob.ID})
	keep(t)(a.SetRoles(ann, id, bob.ID, "editor"))
	only(id, authkit.Event{Kind: authkit.EventMemberChanged, UserID: bob.ID, ActorID: ann.ID})
	require.NoError(t, a.Remove(authkit.WithSystem(t.Context(), "job"), id, bob.ID))
	only(id, authkit.Event{Kind: authkit.EventMemberRemoved, UserID: bob.ID, ActorID: "system:job"})
	a.invite(t, ann, id, bob.Email, "member")
	a.take()
	require.NoError(t, a.Revoke(ann, id, a.sent[1].ID))
	only(id, authkit.Event{Kind: authkit.EventInviteRevoked, ActorID: ann.ID})
	require.ErrorIs(t, a.Remove(ann, id, ann.ID), authkit.ErrLastOwner)
	require.Empty(t, a.take(), "no event of a change that was not made")
	require.NoError(t, a.Delete(ann, id))
	only(id, authkit.Event{Kind: authkit.EventOrgDeleted, ActorID: ann.ID})
}

// A restless store has another version at every change.
type restless struct {
	org.Store
	conflicts int
}

func (s *restless) Apply(ctx context.Context, id string, version int64, c org.Change) error {
	if s.conflicts > 0 {
		s.conflicts--
		return org.ErrConflict
	}
	return s.Store.Apply(ctx, id, version, c)
}

// A change is decided again after a conflict, at most 64 times.
func TestConflicts(t *testing.T) {
	t.Parallel()
	s := &restless{Store: org.NewMemoryStore()}
	a := newApp(t, func(o *org.Config, c *authkit.Config) {
		o.Store, c.UserData = s, []authkit.UserData{org.UserData(s)}
	})
	ann := a.person(t, "ann")
	id := a.create(t, ann)
	a.take()
	s.conflicts = 63
	a.invite(t, ann, id, "new@example.com", "member")
	require.Len(t, a.take(), 1)
	s.conflicts = 64
	require.ErrorIs(t, a.Delete(ann, id), authkit.ErrConflict)
	require.Empty(t, a.take())
	s.conflicts = 65
	require.Error(t, a.kit.DeleteUser(t.Context(), ann.ID))
	require.Equal(t, 1, s.conflicts)
	// A conflict does not end a transaction of the program.
	again := a.create(t, ann)
	remove := func(ctx context.Context) error { return a.Delete(ctx, again) }
	s.conflicts = 64
	require.Equal(t, authkit.ErrConflict, a.kit.InTx(ann, remove))
	s.conflicts = 63
	require.NoError(t, a.kit.InTx(ann, remove))
	_, _, err := s.Org(t.Context(), again)
	require.ErrorIs(t, err, authkit.ErrNotFound)
	s.conflicts = 63
	require.NoError(t, a.kit.DeleteUser(t.Context(), ann.ID))
	_, _, err = s.Org(t.Context(), id)
	require.ErrorIs(t, err, authkit.ErrNotFound)
}

// An uncommitted store rolls transactions back at their end.
type uncommitted struct {
	*authkit.MemoryStore
	begun int
	err   error
}

func (s *uncommitted) InTx(ctx context.Context, f func(ctx context.Context) error) error {
	s.begun++
	return s.MemoryStore.InTx(ctx, func(ctx context.Context) error { return errors.Join(f(ctx), s.err) })
}

// A change whose transaction fails is not tried again, also after a conflict.
func TestCommitFails(t *testing.T) {
	t.Parallel()
	users, s := &uncommitted{MemoryStore: authkit.NewMemoryStore()}, &restless{Store: org.NewMemoryStore()}
	a := newApp(t, func(o *org.Config, c *authkit.Config) {
		o.Store, c.Users, c.Sessions.Store, c.UserData = s, users, users, []authkit.UserData{org.UserData(s)}
	})
	ann := a.person(t, "ann")
	id := a.create(t, ann)
	for conflicts := range 2 {
		users.begun, users.err, s.conflicts = 0, errors.New("no connection"), conflicts
		require.ErrorIs(t, a.Delete(ann, id), authkit.ErrUnavailable)
		require.Equal(t, 1, users.begun)
	}
}

// A failing store is an event and ErrUnavailable.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	cause := errors.New("no disk")
	s := &failing{org.NewMemoryStore(), nil}
	a := newApp(t, func(o *org.Config, c *authkit.Config) {
		o.Store, c.UserData = s, []authkit.UserData{org.UserData(s)}
	})
	ann := a.person(t, "ann")
	id := a.create(t, ann)
	s.err = cause
	_, err := a.Members(ann, id, "", 0)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.ErrorIs(t, err, cause)
	last := func() authkit.Event {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.events[len(a.events)-1]
	}
	require.Equal(t, authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: err, ActorID: last().ActorID}, last())
	require.Equal(t, 503, a.call(t, "GET", "/orgs/"+id+"/members", ann.token, "").Code)
	require.Equal(t, authkit.EventStoreFailure, last().Kind)
}

type failing struct {
	org.Store
	err error
}

func (s *failing) Member(ctx context.Context, orgID, userID string) (org.Member, error) {
	if s.err != nil {
		return org.Member{}, s.err
	}
	return s.Store.Member(ctx, orgID, userID)
}

// A watched store notes the limits of Members, fails changes, finds more
// memberships than there are, and deletes as many rows as a test says.
type watched struct {
	org.Store
	limits  []int
	applied int
	fail    error
	more    []org.Membership
	deleted []int
}

func (s *watched) Members(ctx context.Context, orgID, after string, limit int) ([]org.Member, error) {
	s.limits = append(s.limits, limit)
	return s.Store.Members(ctx, orgID, after, limit)
}

func (s *watched) Apply(ctx context.Context, id string, version int64, c org.Change) error {
	s.applied++
	if s.fail != nil {
		return s.fail
	}
	return s.Store.Apply(ctx, id, version, c)
}

func (s *watched) Memberships(ctx context.Context, userID string) ([]org.Membership, error) {
	list, err := s.Store.Memberships(ctx, userID)
	return append(list, s.more...), err
}

func (s *watched) DeleteExpired(context.Context, time.Time, int) (int, error) {
	n := s.deleted[0]
	s.deleted = s.deleted[1:]
	return n, s.fail
}

func newWatched(t *testing.T) (*app, *watched) {
	t.Helper()
	s := &watched{Store: org.NewMemoryStore()}
	return newApp(t, func(o *org.Config, c *authkit.Config) {
		o.Store, c.UserData = s, []authkit.UserData{org.UserData(s)}
	}), s
}

// A page has at most 100 members.
func TestMembersLimit(t *testing.T) {
	t.Parallel()
	a, s := newWatched(t)
	ann := a.person(t, "ann")
	id := a.create(t, ann)
	for _, limit := range []int{-1, 0, 1, 99, 100, 101} {
		keep(t)(a.Members(ann, id, "", limit))
	}
	require.Equal(t, []int{100, 100, 1, 99, 100, 100}, s.limits)
}

// OR-05: a deleted account leaves each organization once. One that was deleted
// meanwhile is no error, and a failing store is.
func TestDeletedUserLeaves(t *testing.T) {
	t.Parallel()
	a, s := newWatched(t)
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	id := a.create(t, ann)
	a.join(t, ann, id, bob, "member")
	s.applied, s.fail = 0, errors.New("no disk")
	require.Error(t, a.kit.DeleteUser(t.Context(), bob.ID))
	require.Equal(t, 1, s.applied)
	s.applied, s.fail, s.more = 0, nil, []org.Membership{{Org: org.Org{ID: "gone"}}}
	require.NoError(t, a.kit.DeleteUser(t.Context(), bob.ID))
	require.Equal(t, 1, s.applied)
	require.Empty(t, a.rolesOf(t, id, bob))
}

// Run deletes until it finds less than it asked for, or fails.
func TestRunDeletes(t *testing.T) {
	t.Parallel()
	a, s := newWatched(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.deleted = []int{500, 499, 499}
	require.ErrorIs(t, a.Run(ctx), context.Canceled)
	require.Len(t, s.deleted, 1)
	s.deleted, s.fail = []int{500, 499}, errors.New("no disk")
	require.ErrorIs(t, a.Run(ctx), context.Canceled)
	require.Len(t, s.deleted, 1)
}
