package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// TestChangeAccounts walks through the changes of an account, on each of the databases.
func TestChangeAccounts(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, tl *tool) {
		ctx := t.Context()
		kit := tl.kit()
		ann := tl.create("ann@example.com", "-role", "admin")
		bob := tl.create("bob@example.com")
		user := func(id string) authkit.User {
			u, err := kit.User(ctx, id)
			require.NoError(t, err)
			return u
		}
		for _, step := range []struct {
			args []string
			want []string // the roles of bob
			code int
			text string // in what is written to standard error
		}{
			{args: []string{"set-roles", bob, "editor", "viewer"}, want: []string{"editor", "viewer"}},
			{args: []string{"add-role", "bob@example.com", "support"}, want: []string{"editor", "viewer", "support"}},
			{args: []string{"add-role", bob, "support"}, want: []string{"editor", "viewer", "support"}},
			{args: []string{"remove-role", bob, "viewer"}, want: []string{"editor", "support"}},
			{args: []string{"add-role", bob, "No Role"}, want: []string{"editor", "support"}, code: 1, text: "must be roles of this service"},
			{args: []string{"set-roles", bob}, want: []string{}},
			{args: []string{"remove-role", ann, "admin"}, want: []string{}, code: 1, text: "the last administrator stays; give the role to another account with authkit add-role"},
			{args: []string{"disable", ann}, want: []string{}, code: 1, text: "the last administrator stays"},
			{args: []string{"delete", "-yes", ann}, want: []string{}, code: 1, text: "the last administrator stays"},
			{args: []string{"disable", "-admin-role", "owner", ann}, want: []string{}},
			{args: []string{"enable", ann}, want: []string{}},
		} {
			r := tl.run("", step.args...)
			require.Equal(t, step.code, r.code, "%q: %s", step.args, r.stderr)
			require.Contains(t, r.stderr, step.text)
			require.Empty(t, r.stdout)
			require.Equal(t, step.want, user(bob).Roles, "%q", step.args)
		}

		tl.ok("", "set-name", bob, "Bob B")
		require.Equal(t, "Bob B", user(bob).FullName)
		tl.ok("", "set-email", bob, "Robert@Example.com")
		require.Equal(t, "robert@example.com", user(bob).Email)
		require.Zero(t, user(bob).EmailVerifiedAt)
		tl.ok("", "set-email", "-verified", bob, "bob@example.com")
		require.NotZero(t, user(bob).EmailVerifiedAt)
		r := tl.run("", "set-email", bob, "ann@example.com")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, "e-mail taken")

		tl.ok("", "lock", "-for", "1h", bob)
		_, err := kit.Login(ctx, "bob@example.com", password)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		r = tl.run("", "lock", bob, "-for", "-1h")
		require.Equal(t, 2, r.code)
		require.Contains(t, r.stderr, "authkit unlock")
		tl.ok("", "unlock", bob)
		token, err := kit.Login(ctx, "bob@example.com", password)
		require.NoError(t, err)

		require.Contains(t, tl.ok("", "list-users", "-email", "BOB"), bob)
		require.NotContains(t, tl.ok("", "list-users", "-email", "BOB"), ann)
		require.NotContains(t, tl.ok("", "list-users", "-role", "admin"), bob)

		r = tl.run("y\n", "delete", bob)
		require.Equal(t, 2, r.code)
		require.Contains(t, r.stderr, "pass -yes")
		tl.ok("", "delete", "-yes", bob)
		_, err = kit.User(ctx, bob)
		require.ErrorIs(t, err, authkit.ErrUserNotFound)
		_, err = kit.Refresh(ctx, token.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	})
}

func TestAskDeletion(t *testing.T) {
	t.Parallel()
	users := []authkit.User{{Email: "ann@example.com"}, {Email: "b\x1bob@example.com"}}
	for answer, want := range map[string]bool{"y": true, "Y\n": true, " y \n": true, "": false, "\n": false, "n\n": false, "yes\n": false, "x\ny\n": false} {
		var out bytes.Buffer
		require.Equal(t, want, askDeletion(strings.NewReader(answer), &out, users) == nil, "%q", answer)
		require.Equal(t, "Permanently delete ann@example.com, b ob@example.com? [y/N] ", out.String())
	}
	broken := errors.New("broken")
	require.ErrorIs(t, askDeletion(iotest.ErrReader(broken), &bytes.Buffer{}, users), broken)
}

// TestAuditList lists what the tool itself has done.
func TestAuditList(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, tl *tool) {
		tl.env["USER"] = "olga"
		key := write(t, "audit.key", strings.Repeat("k", 32))
		ann := tl.create("ann@example.com", "-audit-key", key)
		bob := tl.create("bob@example.com", "-audit-key", key)
		tl.ok("", "set-roles", "-audit-key", key, ann, "editor")
		tl.ok("", "set-name", "-audit-key", key, ann, "Ann")
		tl.ok("", "lock", "-audit-key", key, ann)
		tl.ok("", "unlock", "-audit-key", key, ann)
		tl.ok("", "delete", "-yes", "-audit-key", key, bob)
		list := func(args ...string) (kinds, targets []string) {
			for line := range strings.Lines(tl.ok("", append([]string{"audit", "list", "-json"}, args...)...)) {
				var row map[string]any
				require.NoError(t, json.Unmarshal([]byte(line), &row))
				require.Equal(t, "system:cli:olga", row["actor_id"])
				require.Equal(t, "authkit command, run by olga", row["agent"])
				require.Equal(t, "success", row["outcome"])
				kinds, targets = append(kinds, row["kind"].(string)), append(targets, row["target_id"].(string))
			}
			return kinds, targets
		}
		kinds, targets := list()
		require.Equal(t, []string{"user_deleted", "authn_login_unlock", "authn_login_lock", "user_updated", "authz_change", "user_created", "user_created"}, kinds)
		require.Equal(t, []string{bob, ann, ann, ann, ann, bob, ann}, targets)
		kinds, _ = list("-limit", "2")
		require.Equal(t, []string{"user_deleted", "authn_login_unlock"}, kinds)
		all, _ := list("-limit", "0")
		require.Len(t, all, 7)
		_, targets = list("-user", "ann@example.com")
		require.Equal(t, []string{ann, ann, ann, ann, ann}, targets)
		kinds, _ = list("-user", bob)
		require.Equal(t, []string{"user_deleted", "user_created"}, kinds, "an account that is no more")
		kinds, _ = list("-user", "system:cli:olga", "-limit", "3")
		require.Len(t, kinds, 3)
		none, _ := list("-user", "nobody@example.com")
		require.Empty(t, none)
		require.Regexp(t, `^seq\ttime\tkind\toutcome\treason\troute\tactor_id\ttarget_id\tsession_id\taddress\tagent\trequest_id\n7\t20`, tl.ok("", "audit", "list"))
	})
}

func TestVersion(t *testing.T) {
	t.Parallel()
	tl := newTool(t, "")
	require.Regexp(t, `^version\trevision\tgo\tplatform\n[^\t]+\t[^\t]*\tgo1\.\d+[^\t]*\t\w+/\w+\n$`, tl.ok("", "version"))
	var row map[string]string
	require.NoError(t, json.Unmarshal([]byte(tl.ok("", "version", "-json")), &row))
	require.NotEmpty(t, row["version"])
}
