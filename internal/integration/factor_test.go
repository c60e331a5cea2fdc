package integration_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/trusteddevice"
	"github.com/authkit-go/authkit/trusteddevice/trusteddevicesql"
)

// A memoryFactor is a factor that users set up with the response "1". Its changes
// take effect after the transaction, or at once.
type memoryFactor struct {
	method string
	atOnce bool
	mu     sync.Mutex
	users  map[string]bool
}

func (f *memoryFactor) Method() string { return f.method }

func (f *memoryFactor) Enrolled(_ context.Context, userID string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.users[userID], nil
}

func (f *memoryFactor) Verify(_ context.Context, _, response string) error {
	if response != "1" {
		return authkit.ErrInvalidCode
	}
	return nil
}

func (f *memoryFactor) BeginEnrollment(context.Context, authkit.User) (any, error) { return nil, nil }

func (f *memoryFactor) ConfirmEnrollment(ctx context.Context, u authkit.User, _ string) (any, error) {
	f.set(ctx, u.ID, true)
	return nil, nil
}

func (f *memoryFactor) Unenroll(ctx context.Context, userID string) error {
	f.set(ctx, userID, false)
	return nil
}

func (f *memoryFactor) set(ctx context.Context, userID string, enrolled bool) {
	do := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.users[userID] = enrolled
	}
	if f.atOnce || !authkit.AfterCommit(ctx, do) {
		do()
	}
}

// A factorApp is a program that requires a factor.
type factorApp struct {
	kit      *authkit.Kit
	devices  *trusteddevice.Devices
	otp, hwk *memoryFactor
	calls    *faults
}

func newFactorApp(t testing.TB, store storetest.TransactorStore, trusted trusteddevice.Store) *factorApp {
	t.Helper()
	a := &factorApp{otp: &memoryFactor{method: "otp", users: map[string]bool{}}, hwk: &memoryFactor{method: "hwk", users: map[string]bool{}}, calls: new(faults)}
	var err error
	a.devices, err = trusteddevice.New(trusteddevice.Config{Store: trusted})
	require.NoError(t, err)
	wrapped := &faultyAccounts{store, a.calls}
	a.kit, err = authkit.New(authkit.Config{
		Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Users: wrapped, Sessions: authkit.SessionConfig{Store: wrapped, ReuseGrace: time.Minute},
		SecondFactors: []authkit.SecondFactor{a.otp, a.hwk}, RequireFactors: authkit.FactorPolicy{Everyone: true}, TrustedDevices: a.devices,
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, Logger: slog.New(slog.DiscardHandler),
		StoreTimeout: 50 * time.Second,
	})
	require.NoError(t, err)
	return a
}

// onEachFactors runs a test in memory and on each of the databases.
func onEachFactors(t *testing.T, test func(t *testing.T, a *factorApp)) {
	t.Helper()
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		test(t, newFactorApp(t, authkit.NewMemoryStore(), trusteddevice.NewMemoryStore()))
	})
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		test(t, newFactorApp(t, s, trusteddevicesql.New(s)))
	})
}

func (a *factorApp) add(t testing.TB, address string) authkit.User {
	t.Helper()
	u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: address}, accountPassword)
	require.NoError(t, err)
	return u
}

// challenge logs in with the password, which is not enough.
func (a *factorApp) challenge(t testing.TB, u authkit.User) *authkit.ChallengeError {
	t.Helper()
	_, err := a.kit.Login(t.Context(), u.Email, accountPassword)
	var pending *authkit.ChallengeError
	require.ErrorAs(t, err, &pending)
	return pending
}

// MF-06, MF-20: whichever call fails while a login sets up a factor, there is no
// session without it, and the pending login and the factor change together.
func TestEnrollmentFaults(t *testing.T) {
	t.Parallel()
	onEachFactors(t, func(t *testing.T, a *factorApp) {
		for n := 1; ; n++ {
			u := a.add(t, fmt.Sprintf("user-%d@example.com", n))
			pending := a.challenge(t, u)
			require.True(t, pending.Enroll)
			a.calls.at(n)
			_, err := a.kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
			hit := a.calls.stop()
			if hit == "" {
				require.NoError(t, err)
				require.GreaterOrEqual(t, n, 9)
				return
			}
			require.ErrorIs(t, err, authkit.ErrUnavailable, hit)
			sessions, err := a.kit.Sessions(t.Context(), u.ID)
			require.NoError(t, err)
			require.Empty(t, sessions, hit)
			_, err = a.kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
			require.Equal(t, a.otp.users[u.ID], true, hit)
			if err != nil { // it was consumed with the change
				require.ErrorIs(t, err, authkit.ErrInvalidCredentials, hit)
				require.False(t, a.challenge(t, u).Enroll, hit)
			}
		}
	})
}

// MF-11: of two removals at once, each of one of two factors, one is refused.
func TestRemovalsAtOnce(t *testing.T) {
	t.Parallel()
	onEachFactors(t, func(t *testing.T, a *factorApp) {
		a.otp.atOnce, a.hwk.atOnce = true, true // as a factor in the database of the accounts
		u := a.add(t, "ann@example.com")
		for range 5 {
			token, err := a.kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, func(context.Context) (authkit.Proof, error) {
				return authkit.Proof{UserID: u.ID, Methods: []string{"hwk", "mfa"}}, nil
			})
			require.NoError(t, err)
			ctx, _, err := a.kit.IdentifyToken(t.Context(), token.AccessToken)
			require.NoError(t, err)
			a.otp.users[u.ID], a.hwk.users[u.ID] = true, true
			removed := atOnce(t, func(i int) error {
				err := a.kit.RemoveFactor(ctx, u.ID, []string{"otp", "hwk"}[i%2])
				if errors.Is(err, authkit.ErrConflict) || errors.Is(err, authkit.ErrLastFactor) {
					return authkit.ErrInvalidTicket // a refusal, for atOnce
				}
				return err
			})
			require.Positive(t, removed)
			require.True(t, a.otp.users[u.ID] != a.hwk.users[u.ID])
		}
	})
}

// MF-16: the devices of a user go with the password, the factor and all sessions,
// in the transaction of the change.
func TestTrustedDevicesFollowTheAccount(t *testing.T) {
	t.Parallel()
	onEachFactors(t, func(t *testing.T, a *factorApp) {
		u := a.add(t, "ann@example.com")
		trust := func() {
			t.Helper()
			token, err := a.kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, func(context.Context) (authkit.Proof, error) {
				return authkit.Proof{UserID: u.ID, Methods: []string{"hwk", "mfa"}}, nil
			})
			require.NoError(t, err)
			ctx, _, err := a.kit.IdentifyToken(t.Context(), token.AccessToken)
			require.NoError(t, err)
			require.NoError(t, a.devices.Trust(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil), a.kit))
		}
		count := func() int {
			t.Helper()
			list, err := a.devices.List(t.Context(), u.ID)
			require.NoError(t, err)
			return len(list)
		}
		for name, change := range map[string]func() error{
			"password": func() error { return a.kit.SetPassword(t.Context(), u.ID, accountPassword2) },
			"logout":   func() error { return a.kit.LogoutEverywhere(t.Context(), u.ID) },
			"factor": func() error {
				_, err := a.kit.ConfirmFactor(t.Context(), u.ID, "otp", "1")
				return err
			},
			"reset": func() error { return a.kit.ResetFactors(t.Context(), u.ID) },
		} {
			trust()
			a.calls.fail("commit", errFault)
			require.ErrorIs(t, change(), authkit.ErrUnavailable, name)
			a.calls.fail("", nil)
			require.Equal(t, 1, count(), name)
			require.NoError(t, change(), name)
			require.Zero(t, count(), name)
		}
	})
}
