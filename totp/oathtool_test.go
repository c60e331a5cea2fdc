package totp_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/totp"
)

// oathtool runs the program, without which a test is left out unless it runs in
// CI.
func oathtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("oathtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("oathtool is not installed: apt-get install oathtool")
		}
		t.Skip("oathtool is not installed: apt-get install oathtool")
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// MF-01: another implementation produces codes that are accepted, and accepts
// ours.
func TestOathtool(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := authkittest.User(t, a.kit)
	ctx := t.Context()
	begun, err := a.kit.EnrollFactor(ctx, u.ID, "otp")
	require.NoError(t, err)
	e := begun.(totp.Enrollment)
	secret := secretOf(t, e.URI)
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(59, 0), time.Unix(1111111109, 0), time.Now(), time.Unix(1<<33, 0)} {
		now := at.UTC().Format("2006-01-02 15:04:05 UTC")
		theirs, err := oathtool(t, "--totp", "-b", e.Secret, "--now", now)
		require.NoError(t, err, theirs)
		require.Equal(t, totp.CodeAt(secret, totp.StepOf(at)), theirs)
		out, err := oathtool(t, "--totp", "-b", e.Secret, "--now", now, theirs)
		require.NoError(t, err, out)
		wrongly, err := oathtool(t, "--totp", "-b", e.Secret, "--now", now, totp.CodeAt(secret, totp.StepOf(at)+9))
		require.Error(t, err, wrongly)
	}
	next := time.Now().UTC().Add(step).Format("2006-01-02 15:04:05 UTC")
	first, err := oathtool(t, "--totp", "-b", e.Secret)
	require.NoError(t, err, first)
	second, err := oathtool(t, "--totp", "-b", e.Secret, "--now", next)
	require.NoError(t, err, second)
	_, err = a.kit.ConfirmFactor(ctx, u.ID, "otp", first)
	require.NoError(t, err)
	require.NoError(t, a.otp.Verify(ctx, u.ID, second))
	require.Error(t, a.otp.Verify(ctx, u.ID, second))
}
