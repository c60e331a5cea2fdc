package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/stretchr/testify/require"
)

// usersFile writes a file for -users.
func usersFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// TestSeededHashes asserts that the demo's accounts have the documented passwords, at
// the documented cost.
func TestSeededHashes(t *testing.T) {
	t.Parallel()
	for i, password := range []string{adminPassword, userPassword} {
		hash := demoAccounts()[i].PasswordHash
		require.Contains(t, string(hash), "$2a$12$")
		require.NoError(t, authkit.Bcrypt{}.Verify(password, hash))
	}
}

// TestUsersFile asserts that accounts come over as passlib left them, and log in.
func TestUsersFile(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.usersFile = usersFile(t, `[
		{"email": "Boss@example.com", "full_name": "Boss", "roles": ["admin"], "password_hash": `+passlibHash(t, "pbkdf2.rounds.100000")+`},
		{"email": "plain@example.com", "full_name": "Plain", "password_hash": `+passlibHash(t, "pbkdf2.password.nfc")+`},
		{"email": "gone@example.com", "full_name": "Gone", "roles": ["user"], "disabled": true, "password_hash": `+passlibHash(t, "pbkdf2.salt.8-bytes")+`}
	]`)
	url := start(t, cfg)
	a, err := send(url, call{method: "GET", path: "/admin/users/", token: login(t, url, "boss@example.com", "admin123")})
	require.NoError(t, err)
	require.JSONEq(t, `[
		{"email": "boss@example.com", "full_name": "Boss", "roles": ["admin"], "disabled": false},
		{"email": "plain@example.com", "full_name": "Plain", "roles": ["user"], "disabled": false},
		{"email": "gone@example.com", "full_name": "Gone", "roles": ["user"], "disabled": true}
	]`, string(a.body))
	login(t, url, "plain@example.com", "pässwörd")

	a, err = send(url, loginCall("admin@example.com", adminPassword))
	require.NoError(t, err)
	require.Equal(t, 401, a.status, "the demo's own accounts are not there")
}

// passlibHash returns a hash that passlib made, as a JSON string.
func passlibHash(t *testing.T, id string) string {
	t.Helper()
	text, err := os.ReadFile("../../testdata/passlib.json")
	require.NoError(t, err)
	var file struct {
		Vectors []struct{ ID, Hash string }
	}
	require.NoError(t, json.Unmarshal(text, &file))
	for _, v := range file.Vectors {
		if v.ID == id {
			quoted, err := json.Marshal(v.Hash)
			require.NoError(t, err)
			return string(quoted)
		}
	}
	t.Fatal("no vector ", id)
	return ""
}

// TestUsersFileRefused asserts that one bad row refuses the file and is named, and that
// no hash is.
func TestUsersFileRefused(t *testing.T) {
	t.Parallel()
	hash := passlibHash(t, "pbkdf2.rounds.100000")
	good := `{"email": "good@example.com", "full_name": "Good", "roles": ["user"], "password_hash": ` + hash + `}`
	row := func(rest string) string { return `[` + good + `, {"full_name": "Bad", ` + rest + `}]` }
	for name, c := range map[string]struct{ text, want string }{
		"not JSON":        {`[` + good, "users.json: not one well-formed JSON text"},
		"not a list":      {good, "users.json: not a list"},
		"not an object":   {`[` + good + `, 1]`, "users.json: row 2: not an object"},
		"null":            {`[` + good + `, null]`, "users.json: row 2: not an object"},
		"no hash":         {row(`"email": "bad@example.com"`), "row 2: authkit: invalid input: password_hash: is required"},
		"foreign hash":    {row(`"email": "bad@example.com", "password_hash": "$1$abcdefgh$plaintextish"`), "row 2: "},
		"broken hash":     {row(`"email": "bad@example.com", "password_hash": "$2b$12$short-plaintextish"`), "row 2: "},
		"hash too costly": {row(`"email": "bad@example.com", "password_hash": "$pbkdf2-sha256$99999999$AAECAwQFBgcICQoLDA0ODw$plaintextish"`), "row 2: "},
		"no address":      {row(`"password_hash": ` + hash), "row 2: authkit: invalid input: email: is required"},
		"bad address":     {row(`"email": "bad", "password_hash": ` + hash), "row 2: authkit: invalid input: email: "},
		"address twice":   {row(`"email": "GOOD@example.com", "password_hash": ` + hash), "row 2: authkit: e-mail taken"},
		"unknown role":    {row(`"email": "bad@example.com", "roles": ["root"], "password_hash": ` + hash), "row 2: authkit: invalid input: roles: "},
		"unknown field":   {row(`"email": "bad@example.com", "admin": true, "password_hash": ` + hash), "row 2: authkit: invalid input: admin: "},
		"disabled: text":  {row(`"email": "bad@example.com", "disabled": "no", "password_hash": ` + hash), "row 2: authkit: invalid input: disabled: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			cfg.usersFile = usersFile(t, c.text)
			_, err := newServer(t.Context(), cfg)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "plaintextish")
		})
	}
}

// TestSeedOnlyEmptyStores asserts that a store with accounts in it is left alone.
func TestSeedOnlyEmptyStores(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	users := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{Secret: cfg.secret, Users: users, Passwords: authkit.PasswordConfig{Hasher: cfg.hasher}})
	require.NoError(t, err)
	_, err = kit.CreateUser(t.Context(), authkit.User{Email: "first@example.com"}, "the-first-password")
	require.NoError(t, err)
	require.NoError(t, seed(t.Context(), kit, cfg))
	all, err := kit.Users(t.Context(), authkit.UserQuery{})
	require.NoError(t, err)
	require.Len(t, all, 1)
}
