package passkey_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
)

// MF-09, MF-20: the RP ID and the origins come from the configuration, which is
// checked.
func TestNewFactor(t *testing.T) {
	t.Parallel()
	for _, good := range []passkey.Config{
		{RPID: "example.com", Origins: []string{"https://example.com", "https://a.b.example.com", "https://example.com:8443", "https://example.com:80"}},
		{RPID: "localhost", Origins: []string{"http://localhost:8080", "http://localhost", "https://localhost", "http://localhost:443"}},
		{RPID: "localhost", RPName: "Büro", Origins: []string{"http://app.localhost:8080"}},
		{RPID: "xn--bcher-kva.example", Origins: []string{"https://xn--bcher-kva.example"}},
	} {
		_, err := passkey.NewFactor(good)
		require.NoError(t, err, "%v", good)
	}
	for origin, want := range map[string]string{
		"http://example.com": "use an https origin", "https://example.com/": "without a path", "https://example.com/login": "without a path",
		"https://user@example.com": "without a path", "https://example.com?x": "without a path", "https://Example.com": "lower case",
		"https://example.com:443": "leave out the port", "https://example.org": "is not within", "https://notexample.com": "is not within",
		"https://example.com.evil.example": "is not within", "https://192.0.2.1": "use a domain", "http://127.0.0.1:8080": "use an https origin",
		"ftp://localhost": "use an https origin", "http://localhost:80": "leave out the port",
		"example.com": "use an https origin", "": "use an https origin", "https://": "a scheme", "%zz": "is not a URL", "null": "use an https origin",
	} {
		_, err := passkey.NewFactor(passkey.Config{RPID: "example.com", Origins: []string{origin}})
		require.ErrorContains(t, err, want, origin)
		require.ErrorContains(t, err, "Config.Origins", origin)
	}
	for _, id := range []string{"", "Example.com", "https://example.com", "example.com:443", "example.com/", "192.0.2.1", "com", "::1"} {
		_, err := passkey.NewFactor(passkey.Config{RPID: id, Origins: []string{"https://example.com"}})
		require.ErrorContains(t, err, "Config.RPID", id)
	}
	_, err := passkey.NewFactor(passkey.Config{RPName: "a\nb"})
	require.ErrorContains(t, err, "Config.RPID")
	require.ErrorContains(t, err, "Config.Origins")
	require.ErrorContains(t, err, "Config.RPName", "all problems at once")
	_, err = passkey.NewFactor(passkey.Config{})
	require.NotContains(t, err.Error(), "RPName")
	_, err = passkey.NewFactor(passkey.Config{RPID: "example.com", Origins: origins, Store: (*passkey.MemoryStore)(nil)})
	require.ErrorContains(t, err, "Config.Store")
}

// A Factor keeps its own copy of the origins. Its calls have a deadline before
// New, too.
func TestFactorAlone(t *testing.T) {
	t.Parallel()
	list := []string{"https://login.example.com"}
	factor, err := passkey.NewFactor(passkey.Config{RPID: "example.com", Origins: list, Store: struct{ passkey.Store }{passkey.NewMemoryStore()}})
	require.NoError(t, err)
	n, err := factor.Count(t.Context(), "ann")
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, factor.Unenroll(authkit.WithSystem(t.Context(), "test"), ""))
	require.NoError(t, factor.Unenroll(t.Context(), ""))

	a := newApp(t, options{keys: func(c *passkey.Config) { c.Origins, c.RPName = list, "" }})
	list[0] = "https://evil.example"
	u := a.add("ann@example.com")
	o, err := a.BeginRegistration(a.first(u.Email), u.ID)
	require.NoError(t, err)
	require.Equal(t, "example.com", creationOf(t, o).RP.Name)
	_, err = a.FinishRegistration(t.Context(), u.ID, newAuthenticator(t).Create(o))
	require.NoError(t, err)
}

func TestNew(t *testing.T) {
	t.Parallel()
	cfg := passkey.Config{RPID: "example.com", Origins: origins}
	factor, err := passkey.NewFactor(cfg)
	require.NoError(t, err)
	users := authkit.NewMemoryStore()
	secret := []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")
	kit := func(change func(*authkit.Config)) *authkit.Kit {
		c := authkit.Config{Secret: secret, Users: users, UserData: []authkit.UserData{factor}}
		change(&c)
		k, err := authkit.New(c)
		require.NoError(t, err)
		return k
	}
	good := kit(func(*authkit.Config) {})
	_, err = passkey.New(nil, factor)
	require.ErrorContains(t, err, "missing")
	_, err = passkey.New(good, nil)
	require.ErrorContains(t, err, "missing")
	_, err = passkey.New(good, new(passkey.Factor))
	require.ErrorContains(t, err, "NewFactor")
	_, err = passkey.New(kit(func(c *authkit.Config) { c.UserData, c.Users = nil, usersOnly{users} }), factor)
	require.ErrorContains(t, err, "Config.UserData")
	require.ErrorContains(t, err, "no tickets")

	require.ErrorContains(t, factor.Verify(t.Context(), "ann", string(sign(newAuthenticator(t), "AAAA"))), "passkey.New", "a factor without a Kit")
	_, err = factor.BeginEnrollment(t.Context(), authkit.User{ID: "ann"})
	require.ErrorContains(t, err, "passkey.New")
	_, err = passkey.New(good, factor)
	require.NoError(t, err)
	_, err = passkey.New(good, factor)
	require.ErrorContains(t, err, "belongs to a Kit")
}

// usersOnly hides the other methods of a store.
type usersOnly struct{ authkit.UserStore }

// A passkey belongs to a user, and has the handle of that user.
func TestMemoryStoreNeedsAUser(t *testing.T) {
	t.Parallel()
	store := passkey.NewMemoryStore()
	handle := []byte(strings.Repeat("h", 64))
	_, err := store.UserHandle(t.Context(), "", handle)
	require.NoError(t, err)
	require.ErrorContains(t, store.AddPasskey(t.Context(), passkey.Passkey{ID: "a", UserHandle: handle}, 1), "without an ID or a user")
	require.ErrorIs(t, store.AddPasskey(t.Context(), passkey.Passkey{ID: "a", UserID: "ann"}, 1), passkey.ErrNotFound)
	require.ErrorIs(t, store.RenamePasskey(t.Context(), "", "a", "name"), passkey.ErrNotFound)
	require.ErrorIs(t, store.DeletePasskey(t.Context(), "", "a"), passkey.ErrNotFound)
}

func TestMemoryStoreInTx(t *testing.T) {
	t.Parallel()
	store, users := passkey.NewMemoryStore(), authkit.NewMemoryStore()
	handle := []byte(strings.Repeat("h", 64))
	p := passkey.Passkey{ID: "a", UserID: "ann", UserHandle: handle}
	_, err := store.UserHandle(t.Context(), "ann", handle)
	require.NoError(t, err)
	add := func(result error) error {
		return users.InTx(t.Context(), func(ctx context.Context) error {
			require.NoError(t, store.AddPasskey(ctx, p, 1))
			return result
		})
	}
	require.ErrorIs(t, add(context.Canceled), context.Canceled)
	_, err = store.PasskeyByID(t.Context(), "a")
	require.ErrorIs(t, err, passkey.ErrNotFound, "rolled back")
	require.NoError(t, add(nil))
	_, err = store.PasskeyByID(t.Context(), "a")
	require.NoError(t, err)
}
