package authkit_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// FR-20: in FIPS 140-only mode a salt of less than 16 bytes is refused by the cryptography of
// Go. That is an error about the hash, and not a wrong password. The test runs itself in that
// mode, which a program cannot enter once it runs.
func TestShortSaltUnderFIPS(t *testing.T) {
	t.Parallel()
	const child = "AUTHKIT_TEST_FIPS_CHILD"
	if os.Getenv(child) == "" {
		self, err := os.Executable()
		require.NoError(t, err)
		c := exec.CommandContext(t.Context(), self, "-test.run=^TestShortSaltUnderFIPS$", "-test.v")
		c.Env = append(os.Environ(), child+"=1", "GODEBUG=fips140=only")
		out, err := c.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "--- PASS: TestShortSaltUnderFIPS")
		return
	}
	const short = "$pbkdf2-sha256$1000$MTIzNDU2Nzg5$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk"
	for _, guess := range []string{password, "a\x00b"} {
		err := authkit.PBKDF2SHA256{}.Verify(guess, short)
		require.Error(t, err)
		require.NotErrorIs(t, err, authkit.ErrPasswordMismatch)
	}
	require.NoError(t, authkit.PBKDF2SHA256{}.Verify("admin123", pbkdf2OfAdmin))

	var events recorder
	kit, _, _ := newSessionKit(t, events.listen)
	require.NoError(t, kit.ImportUsers(t.Context(), []authkit.StoredUser{{User: authkit.User{Email: "old@example.com"}, PasswordHash: short}}))
	_, err := kit.Login(t.Context(), "old@example.com", password)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "clients get the one answer")
	require.Equal(t, authkit.ReasonUnreadableHash, events.last().Reason)
	require.ErrorContains(t, events.last().Err, "salt")
	renew(t, kit, begin(t, kit))
}
