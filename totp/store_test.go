package totp_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/totp"
)

// A failing is a store whose calls fail, or hang until their deadline.
type failing struct{ err error }

func (f *failing) wait(ctx context.Context) error {
	if f.err != nil {
		return f.err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f *failing) Record(ctx context.Context, _ string) (totp.Record, error) {
	return totp.Record{}, f.wait(ctx)
}
func (f *failing) CountAttempt(ctx context.Context, _ string, _ totp.Limits) (totp.Record, error) {
	return totp.Record{}, f.wait(ctx)
}
func (f *failing) UseCode(ctx context.Context, _ string, _ [32]byte) (bool, error) {
	return false, f.wait(ctx)
}
func (f *failing) SetPending(ctx context.Context, _ string, _ []byte, _ time.Time) error {
	return f.wait(ctx)
}

func (f *failing) Confirm(ctx context.Context, _ string, _ time.Time, _ []byte, _ int64, _ time.Time) (bool, error) {
	return false, f.wait(ctx)
}
func (f *failing) AcceptStep(ctx context.Context, _ string, _ time.Time, _ int64) (bool, error) {
	return false, f.wait(ctx)
}
func (f *failing) DeleteFactor(ctx context.Context, _ string) error { return f.wait(ctx) }
func (f *failing) SetCodes(ctx context.Context, _ string, _ [][32]byte, _ time.Time) error {
	return f.wait(ctx)
}
func (f *failing) Records(ctx context.Context, _ string, _ int) ([]totp.Record, error) {
	return nil, f.wait(ctx)
}
func (f *failing) Reseal(ctx context.Context, _ []totp.Resealing) (int, error) {
	return 0, f.wait(ctx)
}

// FR-11: every call of a store has the timeout of the configuration.
func TestStoreTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const timeout = 3 * time.Second
		store := totp.Timed(new(failing), timeout)
		of := reflect.TypeFor[totp.Store]()
		for i := range of.NumMethod() {
			method := reflect.ValueOf(store).MethodByName(of.Method(i).Name)
			args := []reflect.Value{reflect.ValueOf(t.Context())}
			for j := 1; j < method.Type().NumIn(); j++ {
				args = append(args, reflect.Zero(method.Type().In(j)))
			}
			began := time.Now()
			results := method.Call(args)
			err, _ := results[len(results)-1].Interface().(error)
			require.ErrorIs(t, err, context.DeadlineExceeded, of.Method(i).Name)
			require.Equal(t, timeout, time.Since(began), of.Method(i).Name)
		}
	})
}

// An error of the store is no wrong code.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		for _, broken := range []*failing{{err: boom}, {}} {
			f := newFactor(t, broken)
			recovery := f.RecoveryCodes()
			for name, call := range map[string]func() error{
				"Enrolled":        func() error { _, err := f.Enrolled(t.Context(), "ann"); return err },
				"Verify":          func() error { return f.Verify(t.Context(), "ann", "123456") },
				"BeginEnrollment": func() error { _, err := f.BeginEnrollment(t.Context(), authkit.User{ID: "ann"}); return err },
				"ConfirmEnrollment": func() error {
					_, err := f.ConfirmEnrollment(t.Context(), authkit.User{ID: "ann"}, "123456")
					return err
				},
				"Unenroll":           func() error { return f.Unenroll(t.Context(), "ann") },
				"Unenroll, no codes": func() error { return newFactor(t, broken).Unenroll(t.Context(), "ann") },
				"Wipe":               func() error { return f.Wipe(t.Context(), "ann", authkit.WipeAll) },
				"Reseal":             func() error { return f.Reseal(t.Context(), nil) },
				"Export":             func() error { _, err := f.Export(t.Context(), "ann"); return err },
				"recovery":           func() error { return recovery.Verify(t.Context(), "ann", strings.Repeat("A", 24)) },
				"recovery Enrolled":  func() error { _, err := recovery.Enrolled(t.Context(), "ann"); return err },
				"recovery Left":      func() error { _, err := recovery.Left(t.Context(), "ann"); return err },
			} {
				begun := time.Now()
				err := call()
				if broken.err != nil {
					require.ErrorIs(t, err, boom, name)
				} else {
					require.ErrorIs(t, err, context.DeadlineExceeded, name)
					require.LessOrEqual(t, 5*time.Second, time.Since(begun), name)
				}
				require.NotErrorIs(t, err, authkit.ErrInvalidCode, name)
			}
		}
	})
}

// A losing is a store that fails to accept a step.
type losing struct{ totp.Store }

func (losing) AcceptStep(context.Context, string, time.Time, int64) (bool, error) {
	return false, errors.New("boom")
}

// A right code that could not be recorded is not accepted, and is no wrong code.
func TestAcceptFails(t *testing.T) {
	t.Parallel()
	store := totp.NewMemoryStore()
	secret := enrollOn(t, newFactor(t, store), "ann")
	err := newFactor(t, losing{store}).Verify(t.Context(), "ann", totp.CodeAt(secret, totp.StepOf(startOfNext())))
	require.ErrorContains(t, err, "boom")
	require.NotErrorIs(t, err, authkit.ErrInvalidCode)
}

// A forgetting is a store that fails to keep recovery codes.
type forgetting struct{ totp.Store }

func (forgetting) SetCodes(context.Context, string, [][32]byte, time.Time) error {
	return errors.New("boom")
}

// Nobody sees recovery codes that were not stored.
func TestCodesFail(t *testing.T) {
	t.Parallel()
	f := newFactor(t, forgetting{totp.NewMemoryStore()})
	f.RecoveryCodes()
	u := authkit.User{ID: "ann", Email: "ann@example.com"}
	begun, err := f.BeginEnrollment(t.Context(), u)
	require.NoError(t, err)
	shown, err := f.ConfirmEnrollment(t.Context(), u, code(secretOf(t, begun.(totp.Enrollment).URI)))
	require.ErrorContains(t, err, "boom")
	require.Nil(t, shown)
}

// A client that has left is no failure of the store.
func TestCancelled(t *testing.T) {
	t.Parallel()
	err := newFactor(t, &failing{err: context.Canceled}).Unenroll(t.Context(), "ann")
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, authkit.ErrUnavailable)
}

// A call whose client has left reports no success. Recovery codes that are
// removed leave an app that waits to be confirmed.
func TestMemoryStoreAnswers(t *testing.T) {
	t.Parallel()
	store := totp.NewMemoryStore()
	at := time.Now()
	require.NoError(t, store.SetPending(t.Context(), "ann", []byte("x"), at))
	require.NoError(t, store.SetCodes(t.Context(), "ann", nil, at))
	r, err := store.Record(t.Context(), "ann")
	require.NoError(t, err)
	require.NotEmpty(t, r.Pending)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() (bool, error){
		"Confirm":    func() (bool, error) { return store.Confirm(ctx, "ann", at, []byte("y"), 1, at) },
		"AcceptStep": func() (bool, error) { return store.AcceptStep(ctx, "ann", at, 2) },
		"UseCode":    func() (bool, error) { return store.UseCode(ctx, "ann", [32]byte{1}) },
	} {
		ok, err := call()
		require.ErrorIs(t, err, context.Canceled, name)
		require.False(t, ok, name)
	}
}
