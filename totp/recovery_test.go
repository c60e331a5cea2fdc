package totp_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/totp"
)

// MF-08: ten codes of 24 base32 letters, each of which works once, with or
// without the hyphens, in any case. Each use is an event.
func TestRecoveryCodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		secret, codes := a.enroll(t, u)
		require.Len(t, codes, 10)
		seen := map[string]bool{}
		for _, c := range codes {
			require.Regexp(t, regexp.MustCompile(`^[A-Z2-7]{4}(-[A-Z2-7]{4}){5}$`), c)
			require.False(t, seen[c])
			seen[c] = true
		}
		for _, response := range []string{"", codes[0][1:], codes[0] + "A", strings.ReplaceAll(codes[0], codes[0][:1], "1"), code(secret)} {
			require.ErrorIs(t, a.recovery.Verify(t.Context(), u.ID, response), authkit.ErrInvalidCode, "%q", response)
		}
		a.events.Take()
		for i, response := range []string{codes[0], strings.ToLower(codes[1]), strings.ReplaceAll(codes[2], "-", " "), " " + strings.ReplaceAll(codes[3], "-", "") + "\n"} {
			token, err := a.login(t, u, "recovery", response)
			ctx := a.as(t, token, err)
			p, _ := authkit.PrincipalFrom(ctx)
			require.Equal(t, []string{"pwd", "recovery", "mfa"}, p.Methods)
			_, err = a.login(t, u, "recovery", codes[i])
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "MF-08: used")
		}
		left, err := a.recovery.Left(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, 6, left)
		_, err = a.login(t, u, "otp", codes[5])
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "it is no code of the app")
	})
}

// MF-08: new codes are a new set.
func TestRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		token, err := a.login(t, u, "", "")
		_, err = a.recovery.Renew(a.as(t, token, err), a.kit, u.ID)
		require.ErrorIs(t, err, authkit.ErrNoFactor)

		secret, codes := a.enroll(t, u)
		time.Sleep(step)
		token, err = a.login(t, u, "otp", code(secret))
		ctx := a.as(t, token, err)
		a.events.Take()
		renewed, err := a.recovery.Renew(ctx, a.kit, u.ID)
		require.NoError(t, err)
		require.Len(t, renewed.RecoveryCodes, 10)
		require.Contains(t, kinds(a.events.Take()), authkit.EventRecoveryRenewed)
		require.ErrorIs(t, a.recovery.Verify(ctx, u.ID, codes[0]), authkit.ErrInvalidCode)
		require.NoError(t, a.recovery.Verify(ctx, u.ID, renewed.RecoveryCodes[0]))

		time.Sleep(5*time.Minute + time.Second)
		_, err = a.recovery.Renew(ctx, a.kit, u.ID)
		var stepUp *authkit.StepUpError
		require.ErrorAs(t, err, &stepUp, "MF-07: five minutes are over")
	})
}

// MF-23: a sign-in spends at most one recovery code. A program may take one in
// place of the password; then no other one is asked for, but the app.
func TestOneRecoveryCode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		secret, codes := a.enroll(t, u)
		time.Sleep(step)
		first := func(c string) error {
			_, err := a.kit.LoginWith(on(t), authkit.Attempt{Action: authkit.ActionCode, Account: u.Email}, func(ctx context.Context) (authkit.Proof, error) {
				return authkit.Proof{UserID: u.ID, Methods: []string{authkit.MethodRecovery}}, a.recovery.Verify(ctx, u.ID, c)
			})
			return err
		}
		err := first(codes[0])
		challenge, ok := errors.AsType[*authkit.ChallengeError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, []string{"otp"}, challenge.Methods)
		_, err = a.kit.AnswerChallenge(on(t), challenge.Token, "recovery", codes[1])
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.NoError(t, a.recovery.Verify(t.Context(), u.ID, codes[1]), "it was not used up")
		_, err = a.kit.AnswerChallenge(on(t), challenge.Token, "otp", code(secret))
		require.NoError(t, err)

		// Codes never take the place of a password elsewhere.
		_, err = a.kit.Login(on(t), u.Email, codes[2])
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	})
}

// A key is another factor, such as passkeys.
type key struct{ users map[string]bool }

func (k *key) Method() string { return "hwk" }
func (k *key) Enrolled(_ context.Context, userID string) (bool, error) {
	if userID == "broken" {
		return false, errors.New("boom")
	}
	return k.users[userID], nil
}
func (k *key) Verify(context.Context, string, string) error { return authkit.ErrInvalidCode }

// MF-11, MF-20: the codes belong to the user, not to the app: they come with the
// first factor, serve users of passkeys too, and are asked for only beside
// another factor.
func TestRecoveryCodesOfOtherFactors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		passkeys := &key{map[string]bool{}}
		a := newApp(t)
		otp := newFactor(t, a.store)
		recovery := otp.RecoveryCodes(passkeys)
		a.kit = authkittest.NewKit(t, func(c *authkit.Config) {
			c.SecondFactors = []authkit.SecondFactor{otp, passkeys, recovery}
			c.UserData = []authkit.UserData{otp, recovery}
		})
		a.otp, a.recovery = otp, recovery
		has := func(id string) bool {
			ok, err := recovery.Enrolled(t.Context(), id)
			require.NoError(t, err)
			return ok
		}

		// A passkey first: codes on demand, and none with the app.
		u := authkittest.User(t, a.kit)
		passkeys.users[u.ID] = true
		require.False(t, has(u.ID))
		codes, err := recovery.Renew(t.Context(), a.kit, u.ID)
		require.NoError(t, err)
		require.True(t, has(u.ID))
		_, shown := a.enroll(t, u)
		require.Nil(t, shown)
		require.NoError(t, recovery.Verify(t.Context(), u.ID, codes.RecoveryCodes[0]))

		// Without the app, the codes stay for the passkey.
		require.NoError(t, a.kit.RemoveFactor(t.Context(), u.ID, "otp"))
		require.True(t, has(u.ID))
		passkeys.users[u.ID] = false
		require.False(t, has(u.ID), "codes alone are no factor")
		_, err = a.login(t, u, "", "")
		require.NoError(t, err)

		// The app is the first factor again: new codes, and the old ones are void.
		_, shown = a.enroll(t, u)
		require.Len(t, shown, 10)
		require.ErrorIs(t, recovery.Verify(t.Context(), u.ID, codes.RecoveryCodes[1]), authkit.ErrInvalidCode)
		require.NoError(t, a.kit.RemoveFactor(t.Context(), u.ID, "otp"))
		left, err := recovery.Left(t.Context(), u.ID)
		require.NoError(t, err)
		require.Zero(t, left, "they went with the last factor")

		// All used: the next app brings new ones.
		_, shown = a.enroll(t, u)
		for _, c := range shown {
			require.NoError(t, recovery.Verify(t.Context(), u.ID, c))
		}
		require.False(t, has(u.ID))
		_, shown = a.enroll(t, u)
		require.Len(t, shown, 10)

		// An error of the other factor is no answer.
		require.Error(t, otp.Unenroll(t.Context(), "broken"))
		require.NoError(t, a.store.SetCodes(t.Context(), "broken", [][32]byte{{1}}, time.Now()))
		_, err = recovery.Enrolled(t.Context(), "broken")
		require.Error(t, err)
		broken := authkit.User{ID: "broken", Email: "broken@example.com"}
		begun, err := otp.BeginEnrollment(t.Context(), broken)
		require.NoError(t, err)
		_, err = otp.ConfirmEnrollment(t.Context(), broken, code(secretOf(t, begun.(totp.Enrollment).URI)))
		require.ErrorContains(t, err, "boom")
		left, err = recovery.Left(t.Context(), "broken")
		require.NoError(t, err)
		require.Equal(t, 1, left, "the codes stay")
	})
}

// A program without recovery codes gets none.
func TestNoRecoveryCodes(t *testing.T) {
	t.Parallel()
	otp := newFactor(t, nil)
	kit := authkittest.NewKit(t, func(c *authkit.Config) {
		c.SecondFactors = []authkit.SecondFactor{otp}
		c.UserData = []authkit.UserData{otp}
	})
	u := authkittest.User(t, kit)
	begun, err := kit.EnrollFactor(t.Context(), u.ID, "otp")
	require.NoError(t, err)
	shown, err := kit.ConfirmFactor(t.Context(), u.ID, "otp", code(secretOf(t, begun.(totp.Enrollment).URI)))
	require.NoError(t, err)
	require.Nil(t, shown)
	require.NoError(t, kit.RemoveFactor(t.Context(), u.ID, "otp"))
	has, err := otp.Enrolled(t.Context(), u.ID)
	require.NoError(t, err)
	require.False(t, has)
}
