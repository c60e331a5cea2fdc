package org_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
)

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
