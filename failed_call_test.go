package authkit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// A faultyFactor is a setupFactor whose calls fail as those of the store do. It
// has true for the result of a call that fails, which must not count.
type faultyFactor struct {
	*setupFactor
	store *faultyStore
}

func (f faultyFactor) Enrolled(ctx context.Context, userID string) (bool, error) {
	n, err := step(f.store, "Enrolled", func() (int, error) { return f.Count(ctx, userID) })
	return n > 0 || err != nil, err
}

func (f faultyFactor) ConfirmEnrollment(ctx context.Context, u authkit.User, response string) (any, error) {
	return step(f.store, "ConfirmEnrollment", func() (any, error) { return f.setupFactor.ConfirmEnrollment(ctx, u, response) })
}

func (f faultyFactor) Unenroll(ctx context.Context, userID string) error {
	_, err := step(f.store, "Unenroll", func() (any, error) { return nil, f.setupFactor.Unenroll(ctx, userID) })
	return err
}

// faultyDevices trust every device, and fail as the store does.
type faultyDevices struct {
	store *faultyStore
	wiped []string
	asked int
}

func (*faultyDevices) Name() string { return "devices" }

func (d *faultyDevices) Wipe(_ context.Context, userID string, _ authkit.Wipe) error {
	_, err := step(d.store, "Wipe", func() (any, error) { return nil, nil })
	d.wiped = append(d.wiped, userID)
	return err
}

func (d *faultyDevices) Export(context.Context, string) (any, error) {
	return step(d.store, "Export", func() (any, error) { return []string{"a phone"}, nil })
}

func (d *faultyDevices) Trusted(context.Context, authkit.StoredUser) (bool, error) {
	d.asked++
	trusted, err := step(d.store, "Trusted", func() (bool, error) { return true, nil })
	return trusted || err != nil, err
}

// A method of a Kit that changes an account or describes it fails if any call of
// a store or a feature fails, and then changes nothing: neither the account nor
// its factors. It emits no event but that of the failure. The sessions are in the
// same store.
func TestAnyFailedCallFailsTheChange(t *testing.T) {
	t.Parallel()
	role := func(ctx context.Context, kit *authkit.Kit, id string) error {
		_, err := kit.AddRole(authkit.WithSystem(ctx, "cli"), id, "extra")
		return err
	}
	for name, call := range map[string]func(ctx context.Context, kit *authkit.Kit, id string) error{
		"Factors": func(ctx context.Context, kit *authkit.Kit, id string) error {
			_, err := kit.Factors(ctx, id)
			return err
		},
		"EnrollFactor": func(ctx context.Context, kit *authkit.Kit, id string) error {
			_, err := kit.EnrollFactor(ctx, id, "hwk")
			return err
		},
		"ConfirmFactor": func(ctx context.Context, kit *authkit.Kit, id string) error {
			_, err := kit.ConfirmFactor(ctx, id, "hwk", "2")
			return err
		},
		"RemoveFactor": func(ctx context.Context, kit *authkit.Kit, id string) error { return kit.RemoveFactor(ctx, id, "otp") },
		"ChangeFactor": func(ctx context.Context, kit *authkit.Kit, id string) error {
			return kit.ChangeFactor(ctx, authkit.Event{Kind: authkit.EventFactorRemoved, UserID: id, Method: "otp"}, func(context.Context) error { return nil })
		},
		"ResetFactors": func(ctx context.Context, kit *authkit.Kit, id string) error {
			return kit.ResetFactors(authkit.WithSystem(ctx, "cli"), id)
		},
		"AddRole": role,
		"SetEmail": func(ctx context.Context, kit *authkit.Kit, id string) error {
			_, err := kit.SetEmail(ctx, id, "new@example.com")
			return err
		},
		"SetPassword": func(ctx context.Context, kit *authkit.Kit, id string) error {
			return kit.SetPassword(authkit.WithSystem(ctx, "cli"), id, newPassword)
		},
		"DisableUser": func(ctx context.Context, kit *authkit.Kit, id string) error { return kit.DisableUser(ctx, id) },
		"DeleteUser":  func(ctx context.Context, kit *authkit.Kit, id string) error { return kit.DeleteUser(ctx, id) },
		"ResetUser":   func(ctx context.Context, kit *authkit.Kit, id string) error { return kit.ResetUser(ctx, id) },
		"ExportUser": func(ctx context.Context, kit *authkit.Kit, id string) error {
			_, err := kit.ExportUser(ctx, id)
			return err
		},
		"LockUser": func(ctx context.Context, kit *authkit.Kit, id string) error {
			_, err := kit.LockUser(ctx, id, time.Now())
			return err
		},
		"VerifyEmail": func(ctx context.Context, kit *authkit.Kit, id string) error {
			_, err := kit.VerifyEmail(ctx, id, email)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for failing, calls := 0, 1; failing <= calls; failing++ {
				var events recorder
				store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
				otp, hwk := faultyFactor{newSetupFactor("otp", "1"), store}, faultyFactor{newSetupFactor("hwk", "2"), store}
				kit := newKit(t, store.listen, events.listen, requiring, withFactors(otp, hwk), func(c *authkit.Config) {
					c.TrustedDevices = &faultyDevices{store: store}
				})
				u := addUser(t, kit, email, password)
				otp.users[u.ID], hwk.users[u.ID] = 1, 1
				ctx := mfa(t, kit, u)
				before, err := store.MemoryStore.UserByID(t.Context(), u.ID)
				require.NoError(t, err)
				events.reset()
				store.calls = 0
				failed := ""
				store.before = func(name string, n int) error {
					if n == failing {
						failed = name
						return errDown
					}
					return nil
				}
				err = call(ctx, kit, u.ID)
				if failing == 0 {
					require.NoError(t, err)
					calls = store.calls
					continue
				}
				require.True(t, errors.Is(err, authkit.ErrUnavailable) || errors.Is(err, errDown), "call %d, %s: %v", failing, failed, err)
				after, err := store.MemoryStore.UserByID(t.Context(), u.ID)
				require.NoError(t, err)
				require.Equal(t, before, after, "call %d, %s", failing, failed)
				require.Equal(t, []int{1, 1}, []int{otp.users[u.ID], hwk.users[u.ID]}, "call %d, %s", failing, failed)
				for _, kind := range events.kinds() {
					require.Equal(t, authkit.EventStoreFailure, kind, "call %d, %s", failing, failed)
				}
			}
		})
	}
}
