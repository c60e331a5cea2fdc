package passwordlist_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passwordlist"
)

// listed returns the list, read from its file.
func listed(tb testing.TB) []string {
	tb.Helper()
	file, err := os.ReadFile("passwords.txt.gz")
	require.NoError(tb, err)
	r, err := gzip.NewReader(bytes.NewReader(file))
	require.NoError(tb, err)
	text, err := io.ReadAll(r)
	require.NoError(tb, err)
	require.True(tb, bytes.HasSuffix(text, []byte("\n")))
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// HA-13: the list has at least 3,000 passwords that pass the other rules.
func TestList(t *testing.T) {
	t.Parallel()
	list := listed(t)
	require.Len(t, list, 11611)
	require.True(t, slices.IsSorted(list))
	require.Len(t, slices.Compact(slices.Clone(list)), len(list))
	for _, password := range list {
		require.GreaterOrEqual(t, utf8.RuneCountInString(password), 8, password)
		require.Equal(t, strings.ToLower(password), password)
		require.NotContains(t, password, "\r")
	}
}

var ada = authkit.User{Email: "ada.l@example.com", FullName: "Ada King-Noel"}

// HA-13: every password on the list is refused in any case, and its neighbours are not.
func TestCheckList(t *testing.T) {
	t.Parallel()
	list := listed(t)
	known := map[string]bool{}
	for _, password := range list {
		known[password] = true
	}
	for _, password := range list {
		require.ErrorIs(t, passwordlist.Check(t.Context(), password, authkit.User{}), authkit.ErrPasswordRefused, password)
		require.ErrorIs(t, passwordlist.Check(t.Context(), strings.ToUpper(password), authkit.User{}), authkit.ErrPasswordRefused, password)
		for _, other := range []string{password + "~", "\x01" + password, password[1:] + "\x01", password[:4] + "\x02" + password[4:]} {
			require.False(t, known[other])
			require.NoError(t, passwordlist.Check(t.Context(), other, authkit.User{}), other)
		}
	}
	for _, password := range []string{"", "\n", list[0] + "\n" + list[1], list[0] + "\n", "\n" + list[1], "~~~~~~~~~~~~", "\x00"} {
		require.NoError(t, passwordlist.Check(t.Context(), password, authkit.User{}), "%q", password)
	}
}

// HA-13: a password is more than the words that an attacker knows about the user.
func TestCheckContext(t *testing.T) {
	t.Parallel()
	for _, password := range []string{
		"ada.l@example.com", "ADA.L@EXAMPLE.COM", "ada.l2024", "!ada.l!ada.l!", "2024ada.l@example.com", "Ada King-Noel", "adakingnoel1",
		"kingnoel99", "King-Noel-99", "noelnoelnoel", "1ADA2ada3ada",
	} {
		require.ErrorIs(t, passwordlist.Check(t.Context(), password, ada), authkit.ErrPasswordRefused, password)
	}
	for _, password := range []string{"ada likes green tea", "kingfisher-river", "qz8-wvu7-hk2", "example.com is a domain"} {
		require.NoError(t, passwordlist.Check(t.Context(), password, ada), password)
	}
	short := authkit.User{Email: "a@b.example", FullName: "X Y"} // words of one letter are in every password
	require.NoError(t, passwordlist.Check(t.Context(), "axqwvuty", short))
	require.NoError(t, passwordlist.Check(t.Context(), "axqwvuty", authkit.User{}))

	check := passwordlist.Words("Acme", "acmecorp", "ab")
	for _, password := range []string{"acme1234", "ACMEcorp", "AcmeCorp2024", "acme-acme-acme"} {
		require.ErrorIs(t, check(t.Context(), password, ada), authkit.ErrPasswordRefused, password)
	}
	for _, password := range []string{"acme has rockets", "abxqwvut"} {
		require.NoError(t, check(t.Context(), password, ada), password)
	}
}

func TestAll(t *testing.T) {
	t.Parallel()
	var calls []string
	failed := errors.New("failed")
	step := func(name string, err error) func(context.Context, string, authkit.User) error {
		return func(_ context.Context, password string, u authkit.User) error {
			calls = append(calls, name+" "+password+" "+u.Email)
			return err
		}
	}
	check := passwordlist.All(step("a", nil), step("b", failed), step("c", nil))
	require.Equal(t, failed, check(t.Context(), "x", ada))
	require.Equal(t, []string{"a x ada.l@example.com", "b x ada.l@example.com"}, calls)
	require.NoError(t, passwordlist.All()(t.Context(), "x", ada))
}

// A Kit refuses what Check refuses, in every operation that sets a password.
func TestKit(t *testing.T) {
	t.Parallel()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, Check: passwordlist.Check},
	})
	require.NoError(t, err)
	_, err = kit.CreateUser(t.Context(), ada, "Password1")
	_, ok := errors.AsType[*authkit.ValidationError](err)
	require.True(t, ok, "%v", err)
	u, err := kit.CreateUser(t.Context(), ada, "kingfisher-river")
	require.NoError(t, err)
	err = kit.SetPassword(t.Context(), u.ID, "Ada.L@example.com")
	_, ok = errors.AsType[*authkit.ValidationError](err)
	require.True(t, ok, "%v", err)
}

// BenchmarkList measures the first call: the time, and the memory that stays. It comes first,
// since the memory stays for the other benchmarks.
func BenchmarkList(b *testing.B) {
	file, err := os.ReadFile("passwords.txt.gz")
	require.NoError(b, err)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_ = passwordlist.Check(b.Context(), "kingfisher-river", ada)
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		r, err := gzip.NewReader(bytes.NewReader(file))
		require.NoError(b, err)
		_, err = io.ReadAll(r)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(after.HeapAlloc)-float64(before.HeapAlloc), "B-kept")
}

func BenchmarkCheck(b *testing.B) {
	for name, password := range map[string]string{"listed": "iloveyou", "other": "kingfisher-river"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = passwordlist.Check(b.Context(), password, ada)
			}
		})
	}
}
