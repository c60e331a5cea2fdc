package main

import (
	"crypto/sha256"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/apikey/apikeysql"
)

// keyService returns a service that accepts the API keys in the database of the
// tool.
func (tl *tool) keyService(cfg apikey.Config) func(key string) error {
	tl.t.Helper()
	c := newCall(command{}, nil, nil, nil, nil, func(name string) string { return tl.env[name] })
	store, err := c.open(tl.t.Context())
	require.NoError(tl.t, err)
	tl.t.Cleanup(func() { _ = c.close() })
	cfg.Store = apikeysql.New(store)
	auth, err := apikey.NewAuthenticator(cfg)
	require.NoError(tl.t, err)
	kit, err := c.kit(authkit.Config{Users: store, Authenticators: []authkit.Authenticator{auth}})
	require.NoError(tl.t, err)
	return func(key string) error {
		r := httptest.NewRequestWithContext(tl.t.Context(), "GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		_, _, err := kit.Identify(r)
		return err
	}
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, tl *tool) {
		id := tl.create("ann@example.com")
		good := tl.keyService(apikey.Config{ImportedPrefixes: []string{"sk_live_"}})
		out := tl.ok("", "apikeys", "create", "-name", "backup", "-scope", "notes:read", "-network", "192.0.2.0/24", "-life", "1h", "ann@example.com")
		row := strings.Split(strings.Split(out, "\n")[1], "\t")
		keyID, key := row[0], row[2]
		require.NoError(t, good(key))
		tl.secrets = append(tl.secrets, key[20:])
		require.Contains(t, tl.ok("", "apikeys", "list", id), keyID+"\tbackup\tnotes:read\t192.0.2.0/24\t")
		require.Equal(t, 1, tl.run("", "apikeys", "revoke", id, keyID, "ffffffffffffffff").code)
		require.ErrorIs(t, good(key), authkit.ErrInvalidToken)
		require.NotContains(t, tl.ok("", "apikeys", "list", id), keyID)

		// AK-13: by hash, without the key.
		const old = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
		line := fmt.Sprintf(`{"user":"ann@example.com","hash":"%x","name":"old","scopes":["a:b"],"expires_at":"2500-01-01T00:00:00Z"}`, sha256.Sum256([]byte(old)))
		r := tl.run(line, "apikeys", "import")
		require.Contains(t, r.stderr, "line 1: ")
		line = strings.Replace(line, `,"expires_at":"2500-01-01T00:00:00Z"`, "", 1)
		require.Equal(t, "read\timported\tskipped\n1\t1\t0\n", tl.ok("\n"+line+"\n", "apikeys", "import"))
		require.NoError(t, good(old))
		require.Equal(t, 1, tl.run(line, "apikeys", "import").code)
		require.Equal(t, "read\timported\tskipped\n1\t0\t1\n", tl.ok(line, "apikeys", "import", "-skip-existing"))
		for _, bad := range []string{`{`, `{"user":"ann@example.com","hash":"` + old + `"}`, `{"user":"ann@example.com","key":"` + old + `"}`, strings.Replace(line, "ann@", "bob@", 1)} {
			require.Equal(t, 1, tl.run(bad, "apikeys", "import").code, bad)
		}
		for _, wrong := range [][]string{{"-network", "x"}, {"-prefix", "X"}} {
			require.Equal(t, 2, tl.run("", append([]string{"apikeys", "create", id}, wrong...)...).code, wrong)
		}

		// The keys of an account are deleted with it.
		tl.ok("", "delete", "-yes", id)
		require.ErrorIs(t, good(old), authkit.ErrInvalidToken)
		tl.create("ann@example.com")
		require.NotContains(t, tl.ok("", "apikeys", "list", "ann@example.com"), "old")
	})
}
