package seal_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/internal/seal"
)

const label = "authkit test"

var (
	oldKey = bytes.Repeat([]byte{1}, 32)
	newKey = bytes.Repeat([]byte{2}, 32)
	place  = seal.Place("factors", "secret", "ann")
)

func newBox(t *testing.T, label string, keys ...[]byte) *seal.Box {
	t.Helper()
	b, err := seal.New(label, keys...)
	require.NoError(t, err)
	return b
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	b := newBox(t, label, newKey)
	for _, plain := range []string{"", "a secret"} {
		sealed := b.Seal([]byte(plain), place)
		opened, err := b.Open(sealed, place)
		require.NoError(t, err)
		require.Equal(t, plain, string(opened))
		require.NotEqual(t, sealed, b.Seal([]byte(plain), place), "each has a nonce of its own")
		require.NotContains(t, string(sealed), "secret")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	b := newBox(t, label, newKey)
	sealed := b.Seal([]byte("a secret"), place)
	for i := range sealed {
		broken := bytes.Clone(sealed)
		broken[i] ^= 1
		_, err := b.Open(broken, place)
		require.ErrorIs(t, err, seal.ErrOpen, "byte %d", i)
		_, err = b.Open(sealed[:i], place)
		require.ErrorIs(t, err, seal.ErrOpen, "%d bytes", i)
	}
	for name, other := range map[string][]byte{
		"another table":  seal.Place("codes", "secret", "ann"),
		"another column": seal.Place("factors", "pending", "ann"),
		"another row":    seal.Place("factors", "secret", "bob"),
		"no place":       nil,
	} {
		_, err := b.Open(sealed, other)
		require.ErrorIs(t, err, seal.ErrOpen, name)
	}
	_, err := newBox(t, "another label", newKey).Open(sealed, place)
	require.ErrorIs(t, err, seal.ErrOpen)
}

func TestKeyChange(t *testing.T) {
	t.Parallel()
	before, during, after := newBox(t, label, oldKey), newBox(t, label, newKey, oldKey), newBox(t, label, newKey)
	sealed := before.Seal([]byte("a secret"), place)
	require.True(t, before.Current(sealed))
	require.False(t, during.Current(sealed))
	require.False(t, during.Current(nil))
	opened, err := during.Open(sealed, place)
	require.NoError(t, err)
	require.Equal(t, "a secret", string(opened))
	_, err = after.Open(sealed, place)
	require.ErrorIs(t, err, seal.ErrOpen)
	again := during.Seal(opened, place)
	require.True(t, during.Current(again))
	_, err = after.Open(again, place)
	require.NoError(t, err)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for want, keys := range map[string][][]byte{
		"no key; use 32 random bytes or more":                {},
		"the key 0 has 0 bytes; use 32 random ones or more":  {nil},
		"the key 1 has 31 bytes; use 32 random ones or more": {newKey, oldKey[:31]},
		"the key 2 is there twice; leave it out":             {newKey, oldKey, newKey},
	} {
		_, err := seal.New(label, keys...)
		require.EqualError(t, err, want)
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	require.NotEqual(t, seal.Place("a", "b", "c", "d"), seal.Place("a", "b", "cd"))
	require.NotEqual(t, seal.Place("a", "b", "c"), seal.Place("a", "bc"))
	require.NotEqual(t, seal.Place("ab", "c"), seal.Place("a", "bc"))
}

func TestBoxRedacts(t *testing.T) {
	t.Parallel()
	b := newBox(t, label, newKey)
	require.Equal(t, "seal.Box{[redacted]} seal.Box{[redacted]}", fmt.Sprintf("%v %#v", b, b))
}

// A value has the ID of the key, the nonce, the text and the tag. Values that
// were sealed by an earlier version still open.
func TestFormat(t *testing.T) {
	t.Parallel()
	b := newBox(t, label, newKey)
	require.Len(t, b.Seal([]byte("a secret"), place), 4+12+8+16)
	stored, err := hex.DecodeString("db6208ff2876a54ddb889265a8f78142e85c928c1a481ca99774c58692b1cec16c72e08405d81462")
	require.NoError(t, err)
	require.True(t, b.Current(stored))
	opened, err := b.Open(stored, place)
	require.NoError(t, err)
	require.Equal(t, "a secret", string(opened))
}
