package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeysql"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/totp/totpsql"
	"github.com/authkit-go/authkit/trusteddevice"
	"github.com/authkit-go/authkit/trusteddevice/trusteddevicesql"
)

// MF-03: an operator sees the factors of a user and resets them, which is in the
// audit log.
func TestFactors(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, tl *tool) {
		ctx := t.Context()
		key := write(t, "audit.key", strings.Repeat("k", 32))
		ann, bob := tl.create("ann@example.com"), tl.create("bob@example.com")
		c := newCall(command{}, nil, nil, nil, nil, func(name string) string { return tl.env[name] })
		db, err := c.open(ctx)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.close() })
		store := totpsql.New(db)
		otp, err := totp.New(totp.Config{Issuer: "Example", Keys: [][]byte{[]byte(strings.Repeat("s", 32))}, Store: store})
		require.NoError(t, err)
		otp.RecoveryCodes()
		enroll := func(id string) {
			u := authkit.User{ID: id, Email: "user@example.com"}
			begun, err := otp.BeginEnrollment(ctx, u)
			require.NoError(t, err)
			_, err = otp.ConfirmEnrollment(ctx, u, authkittest.TOTPCode(t, begun.(totp.Enrollment).URI))
			require.NoError(t, err)
		}
		const none = "method\tenrolled_at\twrong_codes\tcount\n"
		require.Equal(t, none, tl.ok("", "factors", "list", ann))
		enroll(ann)
		enroll(bob)
		require.ErrorIs(t, otp.Verify(ctx, ann, "000000"), authkit.ErrInvalidCode)
		require.Regexp(t, `^`+none+`otp\t20[0-9TZ:-]+\t1\t\nrecovery\t\t\t10\n$`, tl.ok("", "factors", "list", "ann@example.com"))
		require.Regexp(t, `"method":"recovery","enrolled_at":null,"wrong_codes":null,"count":10}\n$`, tl.ok("", "factors", "list", "-json", ann))

		keys, devices := passkeysql.New(db), trusteddevicesql.New(db)
		for _, id := range []string{ann, bob} {
			handle, err := keys.UserHandle(ctx, id, []byte(strings.Repeat(id[:8], 8)))
			require.NoError(t, err)
			require.NoError(t, keys.AddPasskey(ctx, passkey.Passkey{ID: "key of " + id, UserID: id, UserHandle: handle, Name: "key"}, 20))
			require.NoError(t, devices.PutDevice(ctx, trusteddevice.StoredDevice{Device: trusteddevice.Device{ID: "device of " + id, UserID: id, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}}, 20))
		}
		require.Contains(t, tl.ok("", "factors", "list", ann), "pop\t\t\t1\n")
		gone := func(id string) {
			left, err := keys.PasskeysByUser(ctx, id)
			require.NoError(t, err)
			require.Empty(t, left)
			trusted, err := devices.Devices(ctx, id)
			require.NoError(t, err)
			require.Empty(t, trusted)
		}

		require.Empty(t, tl.ok("", "factors", "reset", "-audit-key", key, ann))
		require.Equal(t, none, tl.ok("", "factors", "list", ann))
		gone(ann)
		require.Contains(t, tl.ok("", "audit", "list", "-user", ann), "authn_factor_reset")
		tl.ok("", "delete", "-yes", bob)
		r, err := store.Record(ctx, bob)
		require.NoError(t, err)
		require.Equal(t, totp.Record{UserID: bob}, r, "an account is deleted with its factors")
		gone(bob)

		missing := tl.run("", "factors", "reset", "nobody@example.com")
		require.Equal(t, 1, missing.code)
	})
}

// A service without second factors has no tables of them.
func TestFactorsMissing(t *testing.T) {
	t.Parallel()
	tl := newTool(t, "sqlite:"+filepath.Join(t.TempDir(), "auth.db"))
	c := newCall(command{}, nil, nil, nil, nil, func(name string) string { return tl.env[name] })
	db, err := c.connect(t.Context(), true)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.close() })
	require.NoError(t, db.Migrate(t.Context()))
	ann := tl.create("ann@example.com")
	for _, name := range []string{"list", "reset"} {
		r := tl.run("", "factors", name, ann)
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, "no tables of second factors")
	}
	tl.ok("", "delete", "-yes", ann)
}
