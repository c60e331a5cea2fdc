package integration_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/totp"
)

// hotpCode is the code of RFC 4226 with six digits.
func hotpCode(secret []byte, counter int64) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(counter)))
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000)
}

// A faultyFactors is a store of factors whose calls can fail, before they have an
// effect.
type faultyFactors struct {
	totp.Store
	f *faults
}

func (s *faultyFactors) Record(ctx context.Context, userID string) (totp.Record, error) {
	if err := s.f.next("Record"); err != nil {
		return totp.Record{}, err
	}
	return s.Store.Record(ctx, userID)
}

func (s *faultyFactors) SetPending(ctx context.Context, userID string, pending []byte, at time.Time) error {
	if err := s.f.next("SetPending"); err != nil {
		return err
	}
	return s.Store.SetPending(ctx, userID, pending, at)
}

func (s *faultyFactors) Confirm(ctx context.Context, userID string, pendingAt time.Time, secret []byte, step int64, at time.Time) (bool, error) {
	if err := s.f.next("Confirm"); err != nil {
		return false, err
	}
	return s.Store.Confirm(ctx, userID, pendingAt, secret, step, at)
}

func (s *faultyFactors) CountAttempt(ctx context.Context, userID string, limits totp.Limits) (totp.Record, error) {
	if err := s.f.next("CountAttempt"); err != nil {
		return totp.Record{}, err
	}
	return s.Store.CountAttempt(ctx, userID, limits)
}

func (s *faultyFactors) AcceptStep(ctx context.Context, userID string, enrolledAt time.Time, step int64) (bool, error) {
	if err := s.f.next("AcceptStep"); err != nil {
		return false, err
	}
	return s.Store.AcceptStep(ctx, userID, enrolledAt, step)
}

func (s *faultyFactors) DeleteFactor(ctx context.Context, userID string) error {
	if err := s.f.next("DeleteFactor"); err != nil {
		return err
	}
	return s.Store.DeleteFactor(ctx, userID)
}

func (s *faultyFactors) SetCodes(ctx context.Context, userID string, hashes [][32]byte, at time.Time) error {
	if err := s.f.next("SetCodes"); err != nil {
		return err
	}
	return s.Store.SetCodes(ctx, userID, hashes, at)
}

func (s *faultyFactors) UseCode(ctx context.Context, userID string, hash [32]byte) (bool, error) {
	if err := s.f.next("UseCode"); err != nil {
		return false, err
	}
	return s.Store.UseCode(ctx, userID, hash)
}

// A factorCase is a step of a flow, of which a call fails.
type factorCase struct {
	// prepare returns the step for a user. The step is done a second time after
	// the failure.
	prepare func(t *testing.T, a *totpApp, u authkit.User) (step func() error)

	// before checks that nothing has changed, and after that everything has.
	before, after func(t *testing.T, a *totpApp, u authkit.User)
}

// hasFactors checks the state of a user.
func hasFactors(t *testing.T, a *totpApp, u authkit.User, enrolled bool, codes int) {
	t.Helper()
	r, err := a.factors.Record(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, enrolled, len(r.Secret) > 0)
	require.Equal(t, codes, r.CodesLeft)
}

func factorState(enrolled bool, codes int) func(t *testing.T, a *totpApp, u authkit.User) {
	return func(t *testing.T, a *totpApp, u authkit.User) {
		t.Helper()
		hasFactors(t, a, u, enrolled, codes)
	}
}

// sessionsOf checks the number of sessions of a user.
func sessionsOf(t *testing.T, a *totpApp, u authkit.User, want int) {
	t.Helper()
	sessions, err := a.kit.Sessions(t.Context(), u.ID)
	require.NoError(t, err)
	require.Len(t, sessions, want)
}

func factorCases() map[string]factorCase {
	old := map[string]string{} // a recovery code of a user
	return map[string]factorCase{
		"Begin": {
			prepare: func(t *testing.T, a *totpApp, u authkit.User) func() error {
				return func() error { _, err := a.kit.EnrollFactor(t.Context(), u.ID, "otp"); return err }
			},
			before: factorState(false, 0),
			after: func(t *testing.T, a *totpApp, u authkit.User) {
				hasFactors(t, a, u, false, 0)
				a.enroll(t, u.ID)
			},
		},
		"Confirm": {
			prepare: func(t *testing.T, a *totpApp, u authkit.User) func() error {
				_, err := a.kit.Login(t.Context(), u.Email, accountPassword)
				require.NoError(t, err)
				_, uri := a.begin(t, u.ID)
				return func() error {
					_, err := a.kit.ConfirmFactor(t.Context(), u.ID, "otp", authkittest.TOTPCode(t, uri))
					return err
				}
			},
			before: func(t *testing.T, a *totpApp, u authkit.User) {
				hasFactors(t, a, u, false, 0)
				sessionsOf(t, a, u, 1)
			},
			after: func(t *testing.T, a *totpApp, u authkit.User) {
				hasFactors(t, a, u, true, 10)
				sessionsOf(t, a, u, 0)
			},
		},
		"Remove": {
			prepare: func(t *testing.T, a *totpApp, u authkit.User) func() error {
				a.enroll(t, u.ID)
				return func() error { return a.kit.RemoveFactor(t.Context(), u.ID, "otp") }
			},
			before: factorState(true, 10),
			after:  factorState(false, 0),
		},
		"Renew": {
			prepare: func(t *testing.T, a *totpApp, u authkit.User) func() error {
				_, _, codes := a.enroll(t, u.ID)
				old[u.ID] = codes[0]
				return func() error { _, err := a.recovery.Renew(t.Context(), a.kit, u.ID); return err }
			},
			before: func(t *testing.T, a *totpApp, u authkit.User) {
				hasFactors(t, a, u, true, 10)
				require.NoError(t, a.recovery.Verify(t.Context(), u.ID, old[u.ID]), "the old codes are good")
			},
			after: func(t *testing.T, a *totpApp, u authkit.User) {
				hasFactors(t, a, u, true, 10)
				require.ErrorIs(t, a.recovery.Verify(t.Context(), u.ID, old[u.ID]), authkit.ErrInvalidCode)
			},
		},
		"Reset": {
			prepare: func(t *testing.T, a *totpApp, u authkit.User) func() error {
				a.enroll(t, u.ID)
				return func() error { return a.kit.ResetFactors(t.Context(), u.ID) }
			},
			before: factorState(true, 10),
			after:  factorState(false, 0),
		},
		"ResetUser": {
			prepare: func(t *testing.T, a *totpApp, u authkit.User) func() error {
				a.enroll(t, u.ID)
				return func() error { return a.kit.ResetUser(t.Context(), u.ID) }
			},
			before: factorState(true, 10),
			after:  factorState(false, 0),
		},
		"DeleteUser": {
			prepare: func(t *testing.T, a *totpApp, u authkit.User) func() error {
				a.enroll(t, u.ID)
				return func() error { return a.kit.DeleteUser(t.Context(), u.ID) }
			},
			before: func(t *testing.T, a *totpApp, u authkit.User) {
				hasFactors(t, a, u, true, 10)
				_, err := a.kit.User(t.Context(), u.ID)
				require.NoError(t, err)
			},
			after: func(t *testing.T, a *totpApp, u authkit.User) {
				hasFactors(t, a, u, false, 0)
				_, err := a.kit.User(t.Context(), u.ID)
				require.ErrorIs(t, err, authkit.ErrUserNotFound)
			},
		},
		// A response is used up by the try that failed after it was accepted, so
		// the second try has another one.
		"Login with a recovery code": {
			prepare: func(t *testing.T, a *totpApp, u authkit.User) func() error {
				_, _, codes := a.enroll(t, u.ID)
				return func() error {
					c := codes[0]
					codes = codes[1:]
					_, err := a.login(t.Context(), u.Email, "recovery", c)
					return err
				}
			},
			before: func(t *testing.T, a *totpApp, u authkit.User) { sessionsOf(t, a, u, 0) },
			after:  func(t *testing.T, a *totpApp, u authkit.User) { sessionsOf(t, a, u, 1) },
		},
		"Login with a code": {
			prepare: func(t *testing.T, a *totpApp, u authkit.User) func() error {
				secret, _, _ := a.enroll(t, u.ID)
				again := false
				return func() error {
					if again { // the codes of the window may be used up
						secret, _, _ = a.enroll(t, u.ID)
					}
					again = true
					_, err := a.login(t.Context(), u.Email, "otp", totpNext(secret))
					return err
				}
			},
			before: func(t *testing.T, a *totpApp, u authkit.User) { sessionsOf(t, a, u, 0) },
			after:  func(t *testing.T, a *totpApp, u authkit.User) { sessionsOf(t, a, u, 1) },
		},
	}
}

// TestFactorFaults fails each call of a store in turn, and the commit. Nothing is
// changed by a step that fails, and the same step succeeds afterwards.
func TestFactorFaults(t *testing.T) {
	t.Parallel()
	onEachTOTP(t, func(t *testing.T, a *totpApp) {
		for name, c := range factorCases() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a := newTOTPApp(t, a.store, a.factors) // its faults are not those of the other cases
				failed := 0
				for n := 1; ; n++ {
					u := a.add(t, fmt.Sprintf("%s-%d@example.com", strings.ReplaceAll(strings.ToLower(name), " ", "-"), n))
					step := c.prepare(t, a, u)
					a.calls.at(n)
					err := step()
					hit := a.calls.stop()
					if hit == "" {
						require.NoError(t, err)
						c.after(t, a, u)
						break
					}
					failed++
					at := fmt.Sprintf("call %d, %s", n, hit)
					require.True(t, errors.Is(err, authkit.ErrUnavailable) || errors.Is(err, errFault), "%s: %v", at, err)
					require.False(t, errors.Is(err, authkit.ErrInvalidCode) || errors.Is(err, authkit.ErrInvalidCredentials), at)
					c.before(t, a, u)
					require.NoError(t, step(), at)
					c.after(t, a, u)
				}
				require.Greater(t, failed, 0)
				t.Logf("%d calls", failed)
			})
		}
	})
}
