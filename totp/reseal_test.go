package totp_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/totp"
)

// enrollOn sets up the factor of a user without a Kit.
func enrollOn(t testing.TB, f *totp.Factor, userID string) (secret []byte) {
	t.Helper()
	u := authkit.User{ID: userID, Email: userID + "@example.com"}
	begun, err := f.BeginEnrollment(t.Context(), u)
	require.NoError(t, err)
	secret = secretOf(t, begun.(totp.Enrollment).URI)
	_, err = f.ConfirmEnrollment(t.Context(), u, code(secret))
	require.NoError(t, err)
	return secret
}

// MF-01: after Reseal the old key is not needed.
func TestReseal(t *testing.T) {
	t.Parallel()
	const users = 1234
	store := totp.NewMemoryStore()
	before, during, after := newFactor(t, store, otherKey), newFactor(t, store, testKey, otherKey), newFactor(t, store, testKey)
	secrets := map[string][]byte{}
	for i := range users {
		id := fmt.Sprintf("user-%04d", i)
		secrets[id] = enrollOn(t, before, id)
	}
	begun, err := before.BeginEnrollment(t.Context(), authkit.User{ID: "user-0007"})
	require.NoError(t, err)
	require.Error(t, after.Verify(t.Context(), "user-0000", "123456"))
	require.Error(t, after.Reseal(t.Context(), nil), "the old key is missing")

	var progress []int
	require.NoError(t, during.Reseal(t.Context(), func(n int) { progress = append(progress, n) }))
	require.Equal(t, []int{500, 1000, users}, progress)
	for id, secret := range secrets {
		next := totp.CodeAt(secret, totp.StepOf(startOfNext()))
		require.NoError(t, after.Verify(t.Context(), id, next), id)
	}
	_, err = after.ConfirmEnrollment(t.Context(), authkit.User{ID: "user-0007"}, code(secretOf(t, begun.(totp.Enrollment).URI)))
	require.NoError(t, err)
	record, err := store.Record(t.Context(), "user-0001")
	require.NoError(t, err)
	require.NoError(t, during.Reseal(t.Context(), nil))
	again, err := store.Record(t.Context(), "user-0001")
	require.NoError(t, err)
	require.Equal(t, record.Secret, again.Secret, "nothing is left to do")
}

// A changing is a store on which users replace a secret while it is read.
type changing struct {
	*totp.MemoryStore
	change func()
}

func (c *changing) Reseal(ctx context.Context, changes []totp.Resealing) (int, error) {
	c.change()
	return c.MemoryStore.Reseal(ctx, changes)
}

// A secret that a user replaces at the same time stays the new one, and is sealed
// too.
func TestResealRace(t *testing.T) {
	t.Parallel()
	store := &changing{MemoryStore: totp.NewMemoryStore()}
	before, during, after := newFactor(t, store, otherKey), newFactor(t, store, testKey, otherKey), newFactor(t, store, testKey)
	enrollOn(t, before, "ann")
	enrollOn(t, before, "bob")
	changes := 0
	var secret []byte
	store.change = func() {
		if changes++; changes <= 2 {
			secret = enrollOn(t, before, "ann") // by an instance that has the old configuration
		}
	}
	require.NoError(t, during.Reseal(t.Context(), nil))
	require.Equal(t, 3, changes)
	require.NoError(t, after.Verify(t.Context(), "ann", totp.CodeAt(secret, totp.StepOf(startOfNext()))))

	store.change = func() { enrollOn(t, before, "ann") }
	enrollOn(t, before, "ann")
	require.ErrorContains(t, during.Reseal(t.Context(), nil), "call Reseal again")
}

// A losingRecords is a store whose records change and cannot be read again.
type losingRecords struct{ *totp.MemoryStore }

func (losingRecords) Reseal(context.Context, []totp.Resealing) (int, error) { return 0, nil }
func (losingRecords) Record(context.Context, string) (totp.Record, error) {
	return totp.Record{}, errors.New("boom")
}

// A record that cannot be read again is not done.
func TestResealRecordFails(t *testing.T) {
	t.Parallel()
	store := totp.NewMemoryStore()
	enrollOn(t, newFactor(t, store, otherKey), "ann")
	require.ErrorContains(t, newFactor(t, losingRecords{store}, testKey, otherKey).Reseal(t.Context(), nil), "boom")
}

// A secret that no key opens does not keep the others from being sealed.
func TestResealBroken(t *testing.T) {
	t.Parallel()
	store := totp.NewMemoryStore()
	enrollOn(t, newFactor(t, store, []byte(authkittest.Password+authkittest.Password)), "ann")
	bob := enrollOn(t, newFactor(t, store, otherKey), "bob")
	err := newFactor(t, store, testKey, otherKey).Reseal(t.Context(), nil)
	require.ErrorContains(t, err, "ann")
	require.NoError(t, newFactor(t, store, testKey).Verify(t.Context(), "bob", totp.CodeAt(bob, totp.StepOf(startOfNext()))))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, newFactor(t, store, testKey).Reseal(ctx, nil), context.Canceled)
}

// A secret that no key opens is an error, and the other ones are resealed all the
// same.
func TestResealAroundABrokenRecord(t *testing.T) {
	t.Parallel()
	store := totp.NewMemoryStore()
	before, during, after := newFactor(t, store, otherKey), newFactor(t, store, testKey, otherKey), newFactor(t, store, testKey)
	at := time.Now().UTC().Truncate(time.Microsecond)
	breakSecret := func(userID string) {
		require.NoError(t, store.SetPending(t.Context(), userID, []byte("no key opens this secret"), at))
		ok, err := store.Confirm(t.Context(), userID, at, []byte("no key opens this secret"), 1, at)
		require.NoError(t, err)
		require.True(t, ok)
	}
	breakSecret("user-0000")
	_, err := before.BeginEnrollment(t.Context(), authkit.User{ID: "user-0000"}) // which can be resealed
	require.NoError(t, err)
	var last any
	for i := range 501 {
		last, err = before.BeginEnrollment(t.Context(), authkit.User{ID: fmt.Sprintf("user-%04d", i+1)})
		require.NoError(t, err)
	}
	require.ErrorContains(t, during.Reseal(t.Context(), nil), "the user user-0000")
	require.ErrorContains(t, after.Reseal(t.Context(), nil), "the user user-0000", "the only one that is left")
	_, err = after.ConfirmEnrollment(t.Context(), authkit.User{ID: "user-0501"}, code(secretOf(t, last.(totp.Enrollment).URI)))
	require.NoError(t, err, "one of the next batch")
}
