package apikey_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

// AK-01: a prefix, an ID, 256 random bits, and a checksum that scanners check.
func TestText(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	seen := map[string]bool{}
	for range 40 {
		key := a.create(t, apikey.Options{})
		require.Regexp(t, "^"+a.auth.Pattern()+"$", key.Text)
		require.Regexp(t, `^ak_[0-9a-f]{16}_[0-9a-f]{72}$`, key.Text)
		require.Equal(t, key.ID, key.Text[3:19])
		sum := fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(key.Text[:len(key.Text)-8])))
		require.Equal(t, sum, key.Text[len(key.Text)-8:])
		require.False(t, seen[key.Text[20:84]])
		seen[key.Text[20:84]] = true
		require.NoError(t, a.Revoke(t.Context(), apikey.OfUser(a.user.ID), key.ID))
	}
	key := a.create(t, apikey.Options{})
	stored, err := a.store.KeyByID(t.Context(), key.ID)
	require.NoError(t, err)
	require.Equal(t, apikey.Hash(key.Text), stored.Hash) // and nothing else
	dump := fmt.Sprintf("%+v", stored)
	require.NotContains(t, dump, key.Text[20:84])
}

// AK-09: a text that is no key costs no call of the store and no slot of the
// throttle.
func TestBadKeysReachNoStore(t *testing.T) {
	t.Parallel()
	store, limits := counted(apikey.NewMemoryStore()), new(gate)
	a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store, k.Throttle = store, limits })
	key := a.create(t, apikey.Options{}).Text
	require.Equal(t, 200, a.with(key, "/any"))
	before := store.total()
	require.Equal(t, []string{key[3:19]}, limits.accounts)
	bad := []string{
		"ak_", "ak_x", "ak__", key + "0", key[:len(key)-1], strings.ToUpper(key), "ak_" + strings.ToUpper(key[3:]), strings.Replace(key, "_", "-", 2)[:2] + key[2:19] + "-" + key[20:],
	}
	for i := 3; i < len(key); i++ { // each character damaged
		c := byte('0')
		if key[i] == '0' {
			c = '1'
		}
		bad = append(bad, key[:i]+string(c)+key[i+1:])
	}
	for _, text := range bad {
		if text == key {
			continue
		}
		require.Equal(t, 401, a.with(text, "/any"), text)
		require.Equal(t, authkit.EventTokenRefused, a.last().Kind)
	}
	require.Equal(t, before, store.total())
	require.Len(t, limits.accounts, 1)
}

// AK-09: a text with a good checksum and another form is no key.
func TestOtherFormsReachNoStore(t *testing.T) {
	t.Parallel()
	store := counted(apikey.NewMemoryStore())
	a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = store })
	key := a.create(t, apikey.Options{}).Text
	for _, at := range []int{3, 18, 20, 83} { // of the ID and of the secret
		for _, c := range []string{"/", ":", "`", "g", "A", "_"} {
			require.Equal(t, 401, a.with(withSum(key[:at]+c+key[at+1:84]), "/any"), "%d %s", at, c)
		}
	}
	require.Equal(t, 401, a.with(withSum(key[:19]+"-"+key[20:84]), "/any"))
	require.Equal(t, 401, a.with(withSum(key[:84]+"0"), "/any"))
	require.Zero(t, store.total())
	require.Equal(t, 200, a.with(withSum(key[:84]), "/any"))
}

// A goldenKey is a key that a release made.
type goldenKey struct{ Text, ID, Hash string }

// AK-13: keys that earlier releases made stay good. Each release adds a file.
func TestGoldenKeys(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir("testdata")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "keys-") {
			continue
		}
		text, err := os.ReadFile("testdata/" + f.Name())
		require.NoError(t, err)
		var keys []goldenKey
		require.NoError(t, json.Unmarshal(text, &keys))
		require.NotEmpty(t, keys)
		for _, g := range keys {
			prefix, _, _ := strings.Cut(g.Text, "_")
			a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Prefix = prefix })
			i := apikey.Import{Owner: apikey.OfUser(a.user.ID), ID: g.ID, Options: apikey.Options{Scopes: []string{"notes:read"}}}
			_, err := hex.Decode(i.Hash[:], []byte(g.Hash))
			require.NoError(t, err)
			_, err = a.Import(t.Context(), i)
			require.NoError(t, err)
			require.Equal(t, 200, a.with(g.Text, "/read"), f.Name())
			require.Equal(t, 403, a.with(g.Text, "/write"), f.Name())
		}
	}
}

func FuzzText(f *testing.F) {
	a := newApp(f)
	key := a.create(f, apikey.Options{}).Text
	pattern := regexp.MustCompile("^" + a.auth.Pattern() + "$")
	f.Add(key)
	f.Add(key[:len(key)-8] + "00000000")
	f.Add("ak_0000000000000000_")
	f.Fuzz(func(t *testing.T, text string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{"Bearer " + text}
		c, err := a.auth.Authenticate(r)
		if err == nil && (text != key || !pattern.MatchString(text)) {
			t.Fatalf("%q is %+v", text, c)
		}
		if text == key && err != nil {
			t.Fatal(err)
		}
	})
}

// AK-09: at most 5 µs.
func BenchmarkBadChecksum(b *testing.B) {
	a := newApp(b)
	key := a.create(b, apikey.Options{}).Text
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+key[:len(key)-8]+"00000000")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.auth.Authenticate(r); err == nil {
			b.Fatal("admitted")
		}
	}
}
