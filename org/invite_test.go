package org_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
)

// OR-01, OR-02: an invitation makes a member only if its holder has the address,
// verified, within seven days, once, and only while the inviter may grant its
// roles.
func TestAcceptMatrix(t *testing.T) {
	t.Parallel()
	// Ann is an owner, and bob an admin who invites carl as an admin.
	type walk struct {
		*app
		ann, bob, carl person
		id             string
		token          string
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, w *walk)
		want   error // nil: carl is a member
	}{
		"right":              {func(*testing.T, *walk) {}, nil},
		"at the last moment": {func(*testing.T, *walk) { time.Sleep(7*24*time.Hour - time.Microsecond) }, nil},
		"expired":            {func(*testing.T, *walk) { time.Sleep(7 * 24 * time.Hour) }, authkit.ErrInvalidTicket},
		"no token":           {func(_ *testing.T, w *walk) { w.token = "" }, authkit.ErrInvalidTicket},
		"without the secret": {func(_ *testing.T, w *walk) { w.token, _, _ = strings.Cut(w.token, ".") }, authkit.ErrInvalidTicket},
		"an empty secret":    {func(_ *testing.T, w *walk) { w.token = strings.SplitAfter(w.token, ".")[0] }, authkit.ErrInvalidTicket},
		"a wrong secret":     {func(_ *testing.T, w *walk) { w.token = w.token[:len(w.token)-4] + "AAAA" }, authkit.ErrInvalidTicket},
		"the ID of another":  {func(t *testing.T, w *walk) { _, s, _ := strings.Cut(w.token, "."); w.token = w.sent[0].ID + "." + s }, authkit.ErrInvalidTicket},
		"used": {func(t *testing.T, w *walk) {
			_, err := w.Accept(w.carl, w.token)
			require.NoError(t, err)
			require.NoError(t, w.Remove(w.carl, w.id, w.carl.ID))
		}, authkit.ErrInvalidTicket},
		"revoked":                {func(t *testing.T, w *walk) { require.NoError(t, w.Revoke(w.bob, w.id, w.sent[1].ID)) }, authkit.ErrInvalidTicket},
		"replaced":               {func(t *testing.T, w *walk) { w.invite(t, w.ann, w.id, w.carl.Email, "member") }, authkit.ErrInvalidTicket},
		"another's address":      {func(t *testing.T, w *walk) { w.carl = w.person(t, "dora") }, authkit.ErrInvalidTicket},
		"a changed address":      {func(t *testing.T, w *walk) { keep(t)(w.kit.SetEmail(t.Context(), w.carl.ID, "carl@example.org")) }, authkit.ErrInvalidTicket},
		"an unverified address":  {func(t *testing.T, w *walk) { w.unverify(t, w.carl) }, authkit.ErrEmailUnverified},
		"the inviter left":       {func(t *testing.T, w *walk) { require.NoError(t, w.Remove(w.bob, w.id, w.bob.ID)) }, authkit.ErrInvalidTicket},
		"the inviter's demotion": {func(t *testing.T, w *walk) { keep(t)(w.SetRoles(w.ann, w.id, w.bob.ID, "member")) }, authkit.ErrInvalidTicket},
		"the inviter's new role": {func(t *testing.T, w *walk) { keep(t)(w.SetRoles(w.ann, w.id, w.bob.ID, "inviter")) }, authkit.ErrInvalidTicket},
		"the inviter's permission": {func(t *testing.T, w *walk) {
			keep(t)(w.SetRoles(w.ann, w.id, w.bob.ID, "member", org.Owner))
			keep(t)(w.SetRoles(w.bob, w.id, w.bob.ID, "member", "admin"))
			w.token = w.invite(t, w.bob, w.id, w.carl.Email, "member")
			keep(t)(w.SetRoles(w.ann, w.id, w.bob.ID, "member"))
		}, authkit.ErrInvalidTicket},
		"the inviter's account":   {func(t *testing.T, w *walk) { require.NoError(t, w.kit.DeleteUser(t.Context(), w.bob.ID)) }, authkit.ErrInvalidTicket},
		"the inviter is disabled": {func(t *testing.T, w *walk) { require.NoError(t, w.kit.DisableUser(t.Context(), w.bob.ID)) }, authkit.ErrInvalidTicket},
		"the organization":        {func(t *testing.T, w *walk) { require.NoError(t, w.Delete(w.ann, w.id)) }, authkit.ErrInvalidTicket},
		"no principal":            {func(t *testing.T, w *walk) { w.carl.Context = t.Context() }, authkit.ErrForbidden},
		"the program":             {func(t *testing.T, w *walk) { w.carl.Context = authkit.WithSystem(t.Context(), "job") }, authkit.ErrForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &walk{app: newApp(t, func(c *org.Config, _ *authkit.Config) { c.Roles["inviter"] = []string{org.ManageMembers} })}
				w.ann, w.bob, w.carl = w.person(t, "ann"), w.person(t, "bob"), w.person(t, "carl")
				w.id = w.create(t, w.ann)
				w.join(t, w.ann, w.id, w.bob, "admin")
				w.token = w.invite(t, w.bob, w.id, w.carl.Email, "admin")
				c.change(t, w)
				m, err := w.Accept(w.carl, w.token)
				if c.want == nil {
					require.NoError(t, err)
					require.Equal(t, "Acme", m.Org.Name)
					require.Equal(t, []string{"admin"}, m.Roles)
					require.Equal(t, []string{"admin"}, w.rolesOf(t, w.id, w.carl))
					_, err = w.Accept(w.carl, w.token)
					require.ErrorIs(t, err, authkit.ErrInvalidTicket)
					return
				}
				require.ErrorIs(t, err, c.want)
				require.Zero(t, m)
				require.Empty(t, w.rolesOf(t, w.id, w.carl))
			})
		})
	}
}

// keep returns a function that fails the test for an error.
func keep(t *testing.T) func(_ any, err error) {
	return func(_ any, err error) { t.Helper(); require.NoError(t, err) }
}

// unverify makes the address of a person unverified, as another change does.
func (a *app) unverify(t *testing.T, p person) {
	t.Helper()
	u, err := a.kit.SetEmail(t.Context(), p.ID, "other@example.com")
	require.NoError(t, err)
	u, err = a.kit.SetEmail(t.Context(), u.ID, p.Email)
	require.NoError(t, err)
	require.True(t, u.EmailVerifiedAt.IsZero())
}

// OR-01: an address without an account is invited, signs up and joins.
func TestInviteStranger(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann := a.person(t, "ann")
	id := a.create(t, ann)
	token := a.invite(t, ann, id, "New@Example.com", "editor")
	require.Equal(t, "new@example.com", a.sent[0].Email)
	require.Equal(t, "Acme", a.sent[0].Org.Name)
	require.Equal(t, ann.ID, a.sent[0].InvitedBy)
	stranger := a.person(t, "new")
	_, err := a.Accept(stranger, token)
	require.NoError(t, err)
	require.Equal(t, []string{"editor"}, a.rolesOf(t, id, stranger))
}

// A member who accepts another invitation keeps the roles.
func TestAcceptAsMember(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	id := a.create(t, ann)
	a.join(t, ann, id, bob, "editor")
	m, err := a.Accept(bob, a.invite(t, ann, id, bob.Email, org.Owner))
	require.NoError(t, err)
	require.Equal(t, []string{"editor"}, m.Roles)
	require.Equal(t, []string{"editor"}, a.rolesOf(t, id, bob))
	events := a.take()
	require.Equal(t, authkit.EventInviteRevoked, events[len(events)-1].Kind)
	pending, err := a.Invitations(ann, id)
	require.NoError(t, err)
	require.Empty(t, pending)
}

// OR-02: a user invites with roles that the user holds, and only with the
// permission.
func TestInviteRoles(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann, bob, carl := a.person(t, "ann"), a.person(t, "bob"), a.person(t, "carl")
	id := a.create(t, ann)
	a.join(t, ann, id, bob, "admin")
	a.join(t, ann, id, carl, "editor", "member")
	invalid := new(authkit.ValidationError)
	for _, c := range []struct {
		by    context.Context
		roles []string
		ok    bool
	}{
		{ann, []string{org.Owner}, true}, {ann, []string{"admin", "editor"}, true}, {authkit.WithSystem(t.Context(), "job"), []string{org.Owner}, true},
		{bob, []string{"admin"}, true}, {bob, []string{org.Owner}, false}, {bob, []string{"editor"}, false}, {bob, []string{"admin", "editor"}, false},
		{carl, []string{"member"}, false}, {t.Context(), []string{"member"}, false},
	} {
		_, err := a.Invite(c.by, id, "new@example.com", c.roles...)
		if c.ok {
			require.NoError(t, err, "%v", c.roles)
		} else {
			require.ErrorIs(t, err, authkit.ErrForbidden, "%v", c.roles)
		}
	}
	for _, roles := range [][]string{nil, {"unknown"}, {"unknown", "admin"}, {"admin", "admin"}, make([]string, 17)} {
		_, err := a.Invite(ann, id, "new@example.com", roles...)
		require.ErrorAs(t, err, &invalid, "%q", roles)
		require.Equal(t, "roles", invalid.Fields[0].Field)
	}
	_, err := a.Invite(ann, id, "no address", "member")
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, "email", invalid.Fields[0].Field)
}

// OR-03: no list, event, log or formatted value has the token of an invitation.
func TestInvitationsHideTokens(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := newApp(t, func(_ *org.Config, c *authkit.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	ann := a.person(t, "ann")
	id := a.create(t, ann)
	w := a.call(t, "POST", "/orgs/"+id+"/invitations", ann.token, `{"email": "new@example.com", "roles": ["member"]}`)
	require.Equal(t, 201, w.Code)
	list := a.call(t, "GET", "/orgs/"+id+"/invitations", ann.token, "")
	require.Contains(t, list.Body.String(), "new@example.com")
	i := a.sent[0]
	stored, err := a.store.Invitation(t.Context(), i.ID)
	require.NoError(t, err)
	text, err := json.Marshal(i)
	require.NoError(t, err)
	secret := strings.Split(i.Token, ".")[1]
	require.Len(t, secret, 43, "256 bits")
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "invite", i, "stored", stored)
	all := w.Body.String() + list.Body.String() + log.String() + string(text) + fmt.Sprintf("%v %+v %#v %s %v %#v", i, i, i, i, a.take(), stored)
	require.NotContains(t, all, secret)
	require.NotContains(t, all, fmt.Sprint(stored.Hash[:4])[1:8])
}

// A mail that cannot be sent leaves no invitation. One that has expired is not
// listed, and Run deletes it.
func TestInviteEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, func(c *org.Config, _ *authkit.Config) { c.InviteLife = time.Hour })
		ann := a.person(t, "ann")
		id := a.create(t, ann)
		a.sendErr = errSend
		_, err := a.Invite(ann, id, "new@example.com", "member")
		require.ErrorIs(t, err, errSend)
		stored, err := a.store.Invitations(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, stored)
		a.sendErr = nil
		a.invite(t, ann, id, "new@example.com", "member")
		_, err = a.Switch(ann, id)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		pending, err := a.Invitations(ann, id)
		require.NoError(t, err)
		require.Empty(t, pending)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		stored, err = a.store.Invitations(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, stored)
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		p, _ := authkit.PrincipalFrom(ann)
		_, err = a.store.Active(t.Context(), p.SessionID)
		require.ErrorIs(t, err, authkit.ErrNotFound, "it lasts as long as a session")
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

// A mail has ten seconds. One that fails is an event, unless the client is gone.
func TestSendFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		send := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		a := newApp(t, func(c *org.Config, _ *authkit.Config) {
			c.Send = func(ctx context.Context, _ org.Invite) error { return send(ctx) }
		})
		id := a.create(t, a.person(t, "ann"))
		failures := func() (n int) {
			for _, e := range a.events {
				if e.Kind == authkit.EventMailFailure {
					n++
					require.ErrorIs(t, e.Err, context.DeadlineExceeded)
				}
			}
			return n
		}
		invite := func() error {
			_, err := a.Invite(authkit.WithSystem(ctx, "job"), id, "new@example.com", "member")
			return err
		}
		began := time.Now()
		require.ErrorIs(t, invite(), authkit.ErrUnavailable)
		require.Equal(t, 10*time.Second, time.Since(began))
		require.Equal(t, 1, failures())
		send = func(ctx context.Context) error { cancel(); return ctx.Err() }
		require.Equal(t, context.Canceled, invite())
		require.Equal(t, 1, failures())
		stored, err := a.store.Invitations(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, stored)
	})
}

// A countingThrottle refuses attempts after the second.
type countingThrottle struct{ attempts []authkit.Attempt }

func (c *countingThrottle) Begin(_ context.Context, a authkit.Attempt) error {
	if a.Action != authkit.ActionRegister {
		return nil
	}
	if c.attempts = append(c.attempts, a); len(c.attempts) > 2 {
		return &authkit.ThrottledError{RetryAfter: time.Minute}
	}
	return nil
}

func (*countingThrottle) End(context.Context, authkit.Attempt, authkit.AttemptOutcome) error {
	return nil
}

// Invitations count as mails to their address, and an organization has at most
// 100 that wait.
func TestInviteLimits(t *testing.T) {
	t.Parallel()
	limits := new(countingThrottle)
	a := newApp(t, func(_ *org.Config, c *authkit.Config) { c.Throttle = limits })
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	id := a.create(t, ann)
	_, err := a.Invite(bob, id, "new@example.com", "member")
	require.ErrorIs(t, err, authkit.ErrNotFound)
	require.Empty(t, limits.attempts, "others use up nothing")
	for range 2 {
		a.invite(t, ann, id, "new@example.com", "member")
	}
	_, err = a.Invite(ann, id, "new@example.com", "member")
	throttled := new(authkit.ThrottledError)
	require.ErrorAs(t, err, &throttled)
	require.Equal(t, "new@example.com", limits.attempts[0].Account)

	b := newApp(t)
	carl := b.person(t, "carl")
	id = b.create(t, carl)
	for i := range 100 {
		b.invite(t, carl, id, fmt.Sprintf("user%d@example.com", i), "member")
	}
	_, err = b.Invite(carl, id, "more@example.com", "member")
	require.ErrorIs(t, err, org.ErrLimit)
	b.invite(t, carl, id, "user7@example.com", "editor") // replaces one
	for range 99 {
		_, err := b.Create(carl, "Acme")
		require.NoError(t, err)
	}
	_, err = b.Create(carl, "Acme")
	require.True(t, errors.Is(err, org.ErrLimit))
}

func (*countingThrottle) Clear(context.Context, authkit.Attempt) error { return nil }

// Invitations that have expired do not count as pending, also if Run does not
// delete them. The next invitation does.
func TestExpiredInvitationsDoNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		ann := a.person(t, "ann")
		id := a.create(t, ann)
		for n := range 100 {
			a.invite(t, ann, id, fmt.Sprintf("new%d@example.com", n), "member")
		}
		_, err := a.Invite(ann, id, "more@example.com", "member")
		require.ErrorIs(t, err, org.ErrLimit)
		time.Sleep(7 * 24 * time.Hour)
		a.invite(t, ann, id, "more@example.com", "member")
		list, err := a.store.Invitations(t.Context(), id)
		require.NoError(t, err)
		require.Len(t, list, 1)
	})
}

// A plainUsers has no transactions. An update without a change can fail.
type plainUsers struct {
	authkit.UserStore
	err error
}

func (s *plainUsers) UpdateUser(ctx context.Context, id string, u authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if s.err != nil && u == (authkit.UserUpdate{}) {
		return authkit.User{}, s.err
	}
	return s.UserStore.UpdateUser(ctx, id, u, at)
}

// An interrupted store calls functions before and after an organization or a change
// is stored, once.
type interrupted struct {
	org.Store
	before, after func()
}

func (s *interrupted) call(f *func()) {
	if do := *f; do != nil {
		*f = nil
		do()
	}
}

func (s *interrupted) CreateOrg(ctx context.Context, o org.Org, first org.Member) error {
	s.call(&s.before)
	defer s.call(&s.after)
	return s.Store.CreateOrg(ctx, o, first)
}

func (s *interrupted) Apply(ctx context.Context, id string, version int64, c org.Change) error {
	s.call(&s.before)
	defer s.call(&s.after)
	return s.Store.Apply(ctx, id, version, c)
}

// An account that is deleted or disabled while it joins or creates an organization
// leaves no membership behind, also if the accounts have no transactions. The test
// in internal/integration is for databases.
func TestJoinWhileDeleted(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(a *app, userID string) error{
		"deleted":  func(a *app, userID string) error { return a.kit.DeleteUser(t.Context(), userID) },
		"disabled": func(a *app, userID string) error { return a.kit.DisableUser(t.Context(), userID) },
	} {
		for _, early := range []bool{true, false} {
			s := &interrupted{Store: org.NewMemoryStore()}
			a := newApp(t, func(o *org.Config, c *authkit.Config) {
				o.Store, c.UserData, c.Users = s, []authkit.UserData{org.UserData(s)}, &plainUsers{UserStore: c.Users}
			})
			ann, bob, carl := a.person(t, "ann"), a.person(t, "bob"), a.person(t, "carl")
			id := a.create(t, ann)
			during := func(p person) {
				f := func() { require.NoError(t, end(a, p.ID)) }
				if early {
					s.before = f
				} else {
					s.after = f
				}
			}
			token := a.invite(t, ann, id, bob.Email, "member")
			a.take()
			during(bob)
			_, err := a.Accept(bob, token)
			require.ErrorIs(t, err, authkit.ErrForbidden, name)
			_, err = s.Member(t.Context(), id, bob.ID)
			require.ErrorIs(t, err, authkit.ErrNotFound, name)
			require.Empty(t, a.take(), "no event of a change that was not made")

			during(carl)
			_, err = a.Create(carl, "Mine")
			require.ErrorIs(t, err, authkit.ErrForbidden, name)
			list, err := s.Memberships(t.Context(), carl.ID)
			require.NoError(t, err)
			require.Empty(t, list, name)
			require.Empty(t, a.take())
		}
	}
}

// A membership whose account cannot be read again is taken back, and is no event.
func TestJoinWhileAccountsFail(t *testing.T) {
	t.Parallel()
	var users *plainUsers
	store := org.NewMemoryStore()
	a := newApp(t, func(o *org.Config, c *authkit.Config) {
		users = &plainUsers{UserStore: c.Users}
		o.Store, c.Users, c.UserData = store, users, []authkit.UserData{org.UserData(store)}
	})
	ann, bob := a.person(t, "ann"), a.person(t, "bob")
	id := a.create(t, ann)
	token := a.invite(t, ann, id, bob.Email, "member")
	users.err = errors.New("no disk")
	_, err := a.Accept(bob, token)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	_, err = store.Member(t.Context(), id, bob.ID)
	require.ErrorIs(t, err, authkit.ErrNotFound)
	_, err = a.Create(bob, "Mine")
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	list, err := store.Memberships(t.Context(), bob.ID)
	require.NoError(t, err)
	require.Empty(t, list)
	for _, e := range a.take() {
		require.NotEqual(t, authkit.EventMemberAdded, e.Kind)
	}
}
