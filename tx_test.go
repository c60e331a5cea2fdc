package authkit_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// What f changes is one change, and its events come after the commit.
func TestKitInTx(t *testing.T) {
	t.Parallel()
	var events recorder
	kit := newKit(t, together, events.listen)
	failed := errors.New("failed")
	create := func(ctx context.Context, email string) error {
		_, err := kit.CreateUser(ctx, authkit.User{Email: email}, password)
		return err
	}
	after := 0
	change := func(then error) error {
		return kit.InTx(t.Context(), func(ctx context.Context) error {
			require.NoError(t, create(ctx, "ann@example.com"))
			kit.Emit(ctx, authkit.Event{Kind: "team_created"})
			require.True(t, authkit.AfterCommit(ctx, func() { after++ }))
			require.NoError(t, kit.InTx(ctx, func(ctx context.Context) error { return create(ctx, "bob@example.com") }))
			require.Empty(t, events.all())
			require.Zero(t, after)
			return then
		})
	}
	require.Equal(t, failed, change(failed))
	require.Empty(t, events.all())
	require.Zero(t, after)
	_, err := kit.UserByEmail(t.Context(), "ann@example.com")
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
	require.NoError(t, change(nil))
	require.Equal(t, []authkit.EventKind{authkit.EventUserCreated, "team_created", authkit.EventUserCreated}, events.kinds())
	require.Equal(t, 1, after)
	require.Error(t, kit.InTx(t.Context(), func(ctx context.Context) error { return create(ctx, "ann@example.com") }))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, kit.InTx(ctx, func(context.Context) error { return nil }), context.Canceled)
	require.False(t, authkit.AfterCommit(t.Context(), func() { t.Error("called") }))
	kit.Emit(t.Context(), authkit.Event{Kind: "team_deleted"})
	require.EqualValues(t, "team_deleted", events.last().Kind)
}

// A store without transactions makes each change by itself, and one that fails is unavailable.
func TestKitInTxStores(t *testing.T) {
	t.Parallel()
	plain := newKit(t, func(c *authkit.Config) { c.Users = struct{ authkit.UserStore }{authkit.NewMemoryStore()} })
	failed := errors.New("failed")
	require.Equal(t, failed, plain.InTx(t.Context(), func(ctx context.Context) error {
		_, err := plain.CreateUser(ctx, authkit.User{Email: "ann@example.com"}, password)
		require.NoError(t, err)
		require.False(t, authkit.AfterCommit(ctx, func() {}))
		return failed
	}))
	_, err := plain.UserByEmail(t.Context(), "ann@example.com")
	require.NoError(t, err)

	var events recorder
	broken := newKit(t, events.listen, func(c *authkit.Config) { c.Users = brokenTx{authkit.NewMemoryStore()} })
	err = broken.InTx(t.Context(), func(context.Context) error { return nil })
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.ErrorIs(t, err, errCommit)
	require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
}

var errCommit = errors.New("the connection was lost")

// A brokenTx is a store that loses its connection when it commits.
type brokenTx struct{ *authkit.MemoryStore }

func (s brokenTx) InTx(ctx context.Context, f func(context.Context) error) error {
	return errors.Join(s.MemoryStore.InTx(ctx, f), errCommit)
}

// A plainTx is a store of another kind whose transactions run twice, as after a deadlock.
type plainTx struct{ authkit.UserStore }

func (plainTx) InTx(ctx context.Context, f func(context.Context) error) error {
	_ = f(ctx)
	return f(ctx)
}

// AfterCommit waits for the transactions that a Kit begins on any store, and counts the last try.
func TestAfterCommitOfAnyStore(t *testing.T) {
	t.Parallel()
	kit := newKit(t, func(c *authkit.Config) { c.Users = plainTx{authkit.NewMemoryStore()} })
	failed := errors.New("failed")
	for _, then := range []error{failed, nil} {
		called := 0
		require.Equal(t, then, kit.InTx(t.Context(), func(ctx context.Context) error {
			require.True(t, authkit.AfterCommit(ctx, func() { called++ }))
			require.Zero(t, called)
			return then
		}))
		require.Equal(t, map[bool]int{true: 1, false: 0}[then == nil], called)
	}
}

// Within a transaction of a MemoryStore that the program began, AfterCommit waits for that one.
func TestAfterCommit(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.Users = store })
	failed := errors.New("failed")
	for _, then := range []error{failed, nil} {
		called := 0
		err := store.InTx(t.Context(), func(ctx context.Context) error {
			require.NoError(t, kit.InTx(ctx, func(ctx context.Context) error {
				require.True(t, authkit.AfterCommit(ctx, func() { called++ }))
				return nil
			}))
			require.Zero(t, called)
			return then
		})
		require.Equal(t, then, err)
		require.Equal(t, map[bool]int{true: 1, false: 0}[then == nil], called)
	}
}

// AU-02: a refusal within a transaction is an event at once, and also if the transaction
// is rolled back.
func TestRefusalInTx(t *testing.T) {
	t.Parallel()
	var events recorder
	kit, _, _ := newSessionKit(t, events.listen)
	events.reset()
	undo := errors.New("undo")
	require.ErrorIs(t, kit.InTx(t.Context(), func(ctx context.Context) error {
		_, err := kit.Login(ctx, email, "a wrong password")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.Equal(t, authkit.EventLoginFailure, events.last().Kind)
		kit.Emit(ctx, authkit.Event{Kind: authkit.EventStoreFailure, Err: errCrash}) // without a reason
		require.Equal(t, authkit.EventStoreFailure, events.last().Kind)
		return undo
	}), undo)
	require.Len(t, events.all(), 2)
}
