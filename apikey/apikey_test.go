package apikey_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/throttle"
)

// A gate is a Throttle that notes accounts and refuses on demand.
type gate struct {
	accounts []string
	err      error
}

func (g *gate) Begin(_ context.Context, a authkit.Attempt) error {
	if a.Action == authkit.ActionAPIKey {
		g.accounts = append(g.accounts, a.Account)
	}
	return g.err
}
func (*gate) End(context.Context, authkit.Attempt, authkit.AttemptOutcome) error { return nil }
func (*gate) Clear(context.Context, authkit.Attempt) error                       { return nil }

// AK-06: a key passes the policies that name machines, within its scopes.
func TestKey(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	key := a.create(t, apikey.Options{Scopes: []string{"notes:read"}})
	for _, header := range [][]string{{"Authorization", "Bearer " + key.Text}, {"Authorization", "bearer " + key.Text}, {"X-API-Key", key.Text}} {
		for path, want := range map[string]int{"/person": 403, "/any": 200, "/read": 200, "/write": 403, "/role": 403} {
			w := a.ask("GET", path, "", header...)
			require.Equal(t, want, w.Code, "%s %s", header[0], path)
			if want == 200 {
				require.Equal(t, "machine api_key "+a.user.ID+" "+key.ID, w.Body.String())
			}
		}
	}
	require.Equal(t, 403, a.with(key.Text, "/write"))
	require.Equal(t, authkit.Event{Kind: authkit.EventAccessDenied, UserID: a.user.ID, SessionID: key.ID, Reason: authkit.ReasonMissingRole, Route: "GET /write"}, a.last())

	none := a.create(t, apikey.Options{})
	require.Equal(t, 200, a.with(none.Text, "/any"))
	require.Equal(t, 403, a.with(none.Text, "/read"), "a key without scopes has no permissions")
}

func TestKeyRefused(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	key, other := a.create(t, apikey.Options{}).Text, a.create(t, apikey.Options{}).Text
	access := a.login(t)
	swapped := withSum(key[:19] + other[19:84])
	for name, headers := range map[string][]string{
		"an unknown key":           {"X-API-Key", swapped},
		"another prefix":           {"X-API-Key", "zk" + key[2:]},
		"two keys":                 {"X-API-Key", key, "X-API-Key", other},
		"a key in both headers":    {"X-API-Key", key, "Authorization", "Bearer " + key},
		"a key and a token":        {"X-API-Key", key, "Authorization", access},
		"two Authorization fields": {"Authorization", access, "Authorization", "Bearer " + key},
		"another bearer token":     {"Authorization", "Bearer zk" + key[2:]},
	} {
		w := a.ask("GET", "/any", "", headers...)
		require.Equal(t, 401, w.Code, name)
		require.Equal(t, []string{`Bearer error="invalid_token"`}, w.Header().Values("WWW-Authenticate"), name)
	}
	w := a.ask("GET", "/any?key="+key, "")
	require.Equal(t, 401, w.Code)
	require.Equal(t, []string{"Bearer"}, w.Header().Values("WWW-Authenticate"))
}

// AK-02: a key never has more than its owner has now, and dies with its owner.
func TestKeyFollowsItsOwner(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	key := a.create(t, apikey.Options{Scopes: []string{"notes:read", "notes:write"}}).Text
	require.Equal(t, 200, a.with(key, "/write"))
	_, err := a.kit.SetRoles(t.Context(), a.user.ID)
	require.NoError(t, err)
	require.Equal(t, 403, a.with(key, "/write"))
	require.NoError(t, a.kit.DisableUser(t.Context(), a.user.ID))
	require.Equal(t, 400, a.with(key, "/any"))
	_, err = a.kit.EnableUser(t.Context(), a.user.ID)
	require.NoError(t, err)
	require.Equal(t, 401, a.with(key, "/any"), "what was disabled stays refused")
	require.NoError(t, a.kit.DeleteUser(t.Context(), a.user.ID))
	require.Equal(t, 401, a.with(key, "/any"))
	keys, err := a.store.KeysByOwner(t.Context(), apikey.OfUser(a.user.ID))
	require.NoError(t, err)
	require.Empty(t, keys)
}

// AK-02: a new password that is set for a user ends the keys of the account,
// because an attacker may have created them. A user who changes the password keeps
// them.
func TestPasswordsEndKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		key := a.create(t, apikey.Options{}).Text
		header := a.login(t)
		r, err := http.NewRequestWithContext(t.Context(), "GET", "/", nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", header)
		ctx, _, err := a.kit.Identify(r)
		require.NoError(t, err)
		require.NoError(t, a.kit.ChangePassword(ctx, a.user.ID, password, "battery staple"))
		require.Equal(t, 200, a.with(key, "/any"))
		for name, end := range map[string]func() error{
			"SetPassword":      func() error { return a.kit.SetPassword(t.Context(), a.user.ID, password) },
			"LogoutEverywhere": func() error { return a.kit.LogoutEverywhere(t.Context(), a.user.ID) },
			"ResetUser":        func() error { return a.kit.ResetUser(t.Context(), a.user.ID) },
		} {
			time.Sleep(2 * time.Second)
			key := a.create(t, apikey.Options{})
			require.Equal(t, 200, a.with(key.Text, "/any"), name)
			time.Sleep(2 * time.Second)
			require.NoError(t, end(), name)
			require.Equal(t, 401, a.with(key.Text, "/any"), name)
			_, err := a.Rotate(t.Context(), apikey.OfUser(a.user.ID), key.ID, 0)
			require.ErrorIs(t, err, apikey.ErrNotFound, "%s: guards would refuse the new secret too", name)
		}
	})
}

// AK-02: 90 days by default.
func TestKeyExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		byDefault, short := a.create(t, apikey.Options{}), a.create(t, apikey.Options{Life: time.Hour})
		forever := a.create(t, apikey.Options{InsecureNoExpiry: true})
		require.Equal(t, byDefault.CreatedAt.Add(90*24*time.Hour), byDefault.ExpiresAt)
		time.Sleep(time.Hour - time.Second)
		require.Equal(t, 200, a.with(short.Text, "/any"))
		time.Sleep(time.Second)
		require.Equal(t, 401, a.with(short.Text, "/any"))
		require.Equal(t, authkit.ReasonExpired, a.last().Reason)
		require.Equal(t, 200, a.with(byDefault.Text, "/any"))
		time.Sleep(90 * 24 * time.Hour)
		require.Equal(t, 401, a.with(byDefault.Text, "/any"))
		require.Equal(t, 200, a.with(forever.Text, "/any"))
		_, err := a.Rotate(t.Context(), apikey.OfUser(a.user.ID), short.ID, 0)
		require.ErrorIs(t, err, apikey.ErrNotFound, "an expired key comes not back")
	})
}

// AK-10: the old secret is valid for the overlap, and events show which was used.
func TestRotate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		first := a.create(t, apikey.Options{Life: 10 * 24 * time.Hour})
		time.Sleep(24 * time.Hour)
		second, err := a.Rotate(t.Context(), apikey.OfUser(a.user.ID), first.ID, 24*time.Hour)
		require.NoError(t, err)
		require.Equal(t, authkit.Event{Kind: authkit.EventKeyRotated, UserID: a.user.ID, SessionID: first.ID}, a.last())
		require.Equal(t, first.ID, second.ID)
		require.NotEqual(t, first.Text, second.Text)
		require.Equal(t, second.RotatedAt.Add(10*24*time.Hour), second.ExpiresAt)
		for text, shown := range map[string]string{first.Text: first.ID + ".previous", second.Text: first.ID} {
			require.Equal(t, "machine api_key "+a.user.ID+" "+shown, a.ask("GET", "/any", "", "X-API-Key", text).Body.String())
			require.Equal(t, 403, a.with(text, "/read"))
			require.Equal(t, shown, a.last().SessionID)
		}
		require.Equal(t, 401, a.with(withSum(first.Text[:20]+strings.Repeat("0", 64)), "/any"), "another secret")
		time.Sleep(24 * time.Hour)
		require.Equal(t, 401, a.with(first.Text, "/any"))
		require.Equal(t, 200, a.with(second.Text, "/any"))

		third, err := a.Rotate(t.Context(), apikey.OfUser(a.user.ID), first.ID, time.Hour)
		require.NoError(t, err)
		fourth, err := a.Rotate(t.Context(), apikey.OfUser(a.user.ID), first.ID, 0)
		require.NoError(t, err)
		require.Zero(t, fourth.PreviousUntil)
		for i, text := range []string{first.Text, second.Text, third.Text} {
			require.Equal(t, 401, a.with(text, "/any"), i)
		}
		require.Equal(t, 200, a.with(fourth.Text, "/any"))

		for _, overlap := range []time.Duration{-1, 24*time.Hour + 1} {
			_, err = a.Rotate(t.Context(), apikey.OfUser(a.user.ID), first.ID, overlap)
			require.Error(t, err)
		}
		require.Equal(t, 200, a.with(fourth.Text, "/any"))

		forever := a.create(t, apikey.Options{InsecureNoExpiry: true})
		forever, err = a.Rotate(t.Context(), apikey.OfUser(a.user.ID), forever.ID, 0)
		require.NoError(t, err)
		require.Zero(t, forever.ExpiresAt)
		require.Equal(t, 200, a.with(forever.Text, "/any"))
	})
}

// AK-11: the list is compared with the address of the connection, or with that
// of a trusted proxy's header.
func TestNetworks(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	key := a.create(t, apikey.Options{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::/32")}})
	require.Equal(t, "192.0.2.0/24", key.Networks[0].String())
	proxied, err := throttle.TrustProxies(netip.MustParsePrefix("10.0.0.0/8"))
	require.NoError(t, err)
	for _, c := range []struct {
		peer, forwarded string
		want            int
	}{
		{"192.0.2.200:1234", "", 200},
		{"[2001:db8::1]:1234", "", 200},
		{"[::ffff:192.0.2.1]:1234", "", 200},
		{"192.0.3.1:1234", "", 401},
		{"192.0.3.1:1234", "192.0.2.1", 401}, // the header of a client
		{"10.0.0.1:1234", "192.0.2.1", 200},
		{"10.0.0.1:1234", "192.0.2.1, 203.0.113.9", 401},
		{"@", "", 401},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "/any", nil)
		require.NoError(t, err)
		r.RequestURI, r.RemoteAddr = "/any", c.peer
		r.Header.Set("X-API-Key", key.Text)
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		w := record(proxied(a.mux), r)
		require.Equal(t, c.want, w.Code, "%s %s", c.peer, c.forwarded)
	}
}

// AK-12: the requests of a key are limited, whatever their addresses. Without
// the key, a client cannot use them up.
func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits, err := throttle.New(throttle.Config{Limits: map[string]throttle.Limit{authkit.ActionAPIKey: {Burst: 3, Every: time.Second}}})
		require.NoError(t, err)
		a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Throttle = limits })
		one, other := a.create(t, apikey.Options{}).Text, a.create(t, apikey.Options{}).Text
		for range 10 {
			require.Equal(t, 401, a.with(withSum(one[:19]+other[19:84]), "/any"))
		}
		for range 3 {
			require.Equal(t, 200, a.with(one, "/any"))
		}
		w := a.ask("GET", "/any", "", "X-API-Key", one)
		require.Equal(t, 429, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.Equal(t, authkit.ReasonThrottled, a.last().Reason)
		require.Equal(t, 200, a.with(other, "/any"))
		time.Sleep(time.Second)
		require.Equal(t, 200, a.with(one, "/any"))
	})
}

func TestThrottleFails(t *testing.T) {
	t.Parallel()
	limits := &gate{}
	a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Throttle = limits })
	key := a.create(t, apikey.Options{}).Text
	limits.err = errors.New("no connection")
	require.Equal(t, 503, a.with(key, "/any"))
}

// MW-07: a store that fails is 503, and never 401.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	store := counted(apikey.NewMemoryStore())
	a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = store })
	key := a.create(t, apikey.Options{}).Text
	store.fail = errors.New("no connection")
	w := a.ask("GET", "/any", "", "X-API-Key", key)
	require.Equal(t, 503, w.Code)
	require.NotContains(t, w.Body.String(), "connection")
	require.Equal(t, authkit.EventStoreFailure, a.last().Kind)
	require.ErrorIs(t, a.RevokeLeaked(t.Context(), key), authkit.ErrUnavailable)
}

// A hangingStore never answers.
type hangingStore struct{ apikey.Store }

func (hangingStore) KeyByID(ctx context.Context, _ string) (apikey.StoredKey, error) {
	<-ctx.Done()
	return apikey.StoredKey{}, ctx.Err()
}

// FR-11: every call has a deadline.
func TestStoreTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = hangingStore{apikey.NewMemoryStore()} })
		key := a.create(t, apikey.Options{}).Text
		began := time.Now()
		require.Equal(t, 503, a.with(key, "/any"))
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}

// AK-13: keys of another system are imported by their hashes.
func TestImport(t *testing.T) {
	t.Parallel()
	store := counted(apikey.NewMemoryStore())
	a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store, k.ImportedPrefixes = store, []string{"sk_live_"} })
	const text = "sk_live_4eC39HqLyjWDarjtT1zdp7dc4eC39HqLyjWDarjtT1zdp7dc"
	i := apikey.Import{Owner: apikey.OfUser(a.user.ID), Hash: apikey.Hash(text), Options: apikey.Options{Name: "old", Scopes: []string{"notes:read"}}}
	require.Equal(t, 401, a.with(text, "/read"))
	key, err := a.Import(t.Context(), i)
	require.NoError(t, err)
	require.Equal(t, authkit.Event{Kind: authkit.EventKeyCreated, UserID: a.user.ID, SessionID: key.ID}, a.last())
	require.Equal(t, 200, a.with(text, "/read"))
	require.Equal(t, 403, a.with(text, "/write"))
	require.Equal(t, 401, a.with(text+"x", "/read"))
	long := "sk_live_" + strings.Repeat("x", 512-8)
	forever, err := a.Import(authkit.WithSystem(t.Context(), "cli:ann"), apikey.Import{
		Owner: apikey.OfUser(a.user.ID), Hash: apikey.Hash(long), Options: apikey.Options{InsecureNoExpiry: true},
	})
	require.NoError(t, err)
	require.Zero(t, forever.ExpiresAt)
	require.Equal(t, 200, a.with(long, "/any"))
	before := store.total()
	for _, other := range []string{long + "x", "sk_live_a.b.c", "zk_live_" + text[8:]} {
		require.Equal(t, 401, a.ask("GET", "/any", "", "X-API-Key", other).Code)
	}
	require.Equal(t, before, store.total())
	_, err = a.Import(t.Context(), i)
	require.ErrorIs(t, err, apikey.ErrExists)

	rotated, err := a.Rotate(t.Context(), apikey.OfUser(a.user.ID), key.ID, time.Hour)
	require.NoError(t, err)
	require.Regexp(t, a.auth.Pattern(), rotated.Text)
	require.Equal(t, 200, a.with(rotated.Text, "/read"))
	require.Equal(t, 200, a.with(text, "/read"))

	for name, change := range map[string]func(*apikey.Import){
		"no hash":       func(i *apikey.Import) { i.Hash = [32]byte{} },
		"a bad ID":      func(i *apikey.Import) { i.ID = "8F14E45FCEEA167A" },
		"a short ID":    func(i *apikey.Import) { i.ID = "8f14e45fceea167" },
		"no user":       func(i *apikey.Import) { i.Owner = apikey.OfUser("nobody") },
		"a bad scope":   func(i *apikey.Import) { i.Scopes = []string{"notes:delete"} },
		"a life for it": func(i *apikey.Import) { i.Life = -1 },
	} {
		j := i
		j.Hash = apikey.Hash(name)
		change(&j)
		_, err := a.Import(t.Context(), j)
		require.Error(t, err, name)
	}
}

// AK-14: a text that was found can be used to revoke its key, and for nothing
// else; the answer reveals nothing.
func TestRevokeLeaked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		key, other := a.create(t, apikey.Options{}), a.create(t, apikey.Options{})
		report := func(text string) int { return a.ask("POST", keyPath+"/leaked", `{"key":"`+text+`"}`).Code }
		for _, text := range []string{"", "ak_", key.Text[:19] + other.Text[19:], key.Text + "0", "zk" + key.Text[2:]} {
			require.Equal(t, 204, report(text))
		}
		require.Equal(t, 200, a.with(key.Text, "/any"))
		require.Equal(t, 204, report(key.Text))
		require.Equal(t, authkit.Event{Kind: authkit.EventKeyRevoked, UserID: a.user.ID, SessionID: key.ID}, a.last())
		require.Equal(t, 401, a.with(key.Text, "/any"))
		require.Equal(t, 204, report(key.Text))
		require.Equal(t, 200, a.with(other.Text, "/any"))
		require.Equal(t, 400, a.ask("POST", keyPath+"/leaked?key="+other.Text, `{"id":"`+other.ID+`"}`).Code)
		require.Equal(t, 200, a.with(other.Text, "/any"))

		rotated, err := a.Rotate(t.Context(), apikey.OfUser(a.user.ID), other.ID, time.Hour)
		require.NoError(t, err)
		require.Equal(t, 204, report(other.Text))
		require.Equal(t, 401, a.with(rotated.Text, "/any"))
	})
}

func TestUserData(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	export, err := a.kit.ExportUser(t.Context(), a.user.ID)
	require.NoError(t, err)
	require.NotContains(t, export, "api_keys")
	key := a.create(t, apikey.Options{Name: "backup"})
	export, err = a.kit.ExportUser(t.Context(), a.user.ID)
	require.NoError(t, err)
	require.Equal(t, []apikey.Key{key.Key}, export["api_keys"])

	// What a transaction undoes leaves the keys.
	err = a.kit.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, a.kit.ResetUser(ctx, a.user.ID))
		return errors.New("no")
	})
	require.Error(t, err)
	require.Equal(t, 200, a.with(key.Text, "/any"))
}

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	storetest.TestAPIKeyStore(t, func(*testing.T) apikey.Store { return apikey.NewMemoryStore() })
}

// AK-12: package throttle admits 600 requests of a key at once.
func TestThrottleByDefault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits, err := throttle.New(throttle.Config{})
		require.NoError(t, err)
		a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Throttle = limits })
		key := a.create(t, apikey.Options{}).Text
		for range 600 {
			require.Equal(t, 200, a.with(key, "/any"))
		}
		require.Equal(t, 429, a.with(key, "/any"))
	})
}
