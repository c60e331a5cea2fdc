package refresh_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/internal/refresh"
)

func TestTextComesBack(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 100 {
		token := refresh.New()
		text := token.Text()
		require.Len(t, text, refresh.Len)
		require.True(t, strings.HasPrefix(text, "akr_"))
		back, ok := refresh.Parse(text)
		require.True(t, ok)
		require.Equal(t, token, back)
		require.False(t, seen[text] || seen[token.SessionID()])
		seen[text], seen[token.SessionID()] = true, true

		next := token.Next()
		require.Equal(t, token.SessionID(), next.SessionID(), "one session")
		require.NotEqual(t, token.Hash(), next.Hash())
		require.Len(t, token.SessionID(), 22)
	}
}

// RF-01: no truncated, lengthened, respelt or damaged form passes.
func TestParseTakesOneSpelling(t *testing.T) {
	t.Parallel()
	text := refresh.New().Text()
	body := strings.TrimPrefix(text, refresh.Prefix)
	for name, other := range map[string]string{
		"empty":                 "",
		"the prefix":            refresh.Prefix,
		"no prefix":             body,
		"another prefix":        "akx_" + body,
		"the prefix's case":     "AKR_" + body,
		"shorter":               text[:len(text)-1],
		"longer":                text + "A",
		"padded":                text + "==",
		"a space before":        " " + text[:len(text)-1],
		"a line end within":     text[:20] + "\n" + text[21:],
		"line ends for letters": text[:refresh.Len-4] + "\r\n\r\n",
		"the other base64":      refresh.Prefix + strings.Repeat("+", len(body)),
		"huge":                  text + strings.Repeat("A", 1<<20),
		"zeroes":                refresh.Prefix + strings.Repeat("A", len(body)),
	} {
		_, ok := refresh.Parse(other)
		require.False(t, ok, name)
	}
	raw, err := base64.RawURLEncoding.DecodeString(body)
	require.NoError(t, err)
	for bit := range len(raw) * 8 {
		damaged := bytes.Clone(raw)
		damaged[bit/8] ^= 1 << (bit % 8)
		_, ok := refresh.Parse(refresh.Prefix + base64.RawURLEncoding.EncodeToString(damaged))
		require.False(t, ok, "bit %d", bit)
	}
	// The last byte of this token is zero, so it could be left out.
	for len(raw) == 0 || raw[len(raw)-1] != 0 {
		text = refresh.New().Text()
		raw, err = base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, refresh.Prefix))
		require.NoError(t, err)
	}
	_, ok := refresh.Parse(text)
	require.True(t, ok)
	for name, other := range map[string]string{"line ends for the last letters": text[:refresh.Len-2] + "\r\n", "idle bits": text[:refresh.Len-1] + "B"} {
		_, ok := refresh.Parse(other)
		require.False(t, ok, name)
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	parent := refresh.New()
	child := parent.Next()
	sealed := parent.Seal(child)
	opened, err := parent.Open(sealed)
	require.NoError(t, err)
	require.Equal(t, child, opened)
	require.NotEqual(t, sealed, parent.Seal(child), "a nonce of its own")

	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(child.Text(), refresh.Prefix))
	require.NoError(t, err)
	require.NotContains(t, string(sealed), string(raw[16:32]), "no part of the secret")

	for name, other := range map[string]refresh.Token{"the child": child, "a sibling": parent.Next(), "a stranger": refresh.New()} {
		_, err := other.Open(sealed)
		require.ErrorIs(t, err, refresh.ErrSealed, name)
	}
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 1
		_, err := parent.Open(damaged)
		require.ErrorIs(t, err, refresh.ErrSealed, "byte %d", i)
	}
	_, err = parent.Open(nil)
	require.ErrorIs(t, err, refresh.ErrSealed)
}

func TestTokensRedactThemselves(t *testing.T) {
	t.Parallel()
	token := refresh.New()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		require.Equal(t, "refresh.Token{[redacted]}", fmt.Sprintf(verb, token), verb)
	}
}

// FuzzParse holds Parse to the one spelling: what it takes, Text writes.
func FuzzParse(f *testing.F) {
	f.Add(refresh.New().Text())
	f.Add("akr_")
	f.Add(refresh.Prefix + strings.Repeat("A", refresh.Len-4))
	f.Fuzz(func(t *testing.T, text string) {
		if token, ok := refresh.Parse(text); ok && token.Text() != text {
			t.Fatalf("%q was taken and is written %q", text, token.Text())
		}
	})
}

// TR-06, RF-01: the token of a cookie has one spelling, and is no refresh token, nor the other
// kind of cookie.
func TestCookieTexts(t *testing.T) {
	t.Parallel()
	token := refresh.New()
	require.NotEqual(t, token.CookieHash(true), token.CookieHash(false))
	for _, kept := range []bool{false, true} {
		text := token.CookieText(kept)
		back, isKept, ok := refresh.ParseCookie(text)
		require.True(t, ok)
		require.Equal(t, token, back)
		require.Equal(t, kept, isKept)
		require.NotEqual(t, token.Hash(), token.CookieHash(kept))
		_, ok = refresh.Parse(text)
		require.False(t, ok)
		back, isKept, ok = refresh.ParseCookie(text[4:])
		require.Equal(t, refresh.Token{}, back)
		require.False(t, isKept || ok)
		for _, other := range []string{"", text[4:], "akr_" + text[4:], text[:len(text)-1], text + "A", text + "==", "AKS_" + text[4:], text[:20] + "\n" + text[21:], "aks_", "akp_", `"` + text + `"`} {
			_, _, ok := refresh.ParseCookie(other)
			require.False(t, ok, other)
		}
	}
}

func FuzzParseCookie(f *testing.F) {
	f.Add(refresh.New().CookieText(false))
	f.Add(refresh.New().CookieText(true))
	f.Add(refresh.New().Text())
	f.Fuzz(func(t *testing.T, text string) {
		if token, kept, ok := refresh.ParseCookie(text); ok {
			require.Equal(t, text, token.CookieText(kept))
		}
	})
}
