package account_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/authkit-go/authkit/account"
)

// RG-24: whatever a name is, it is one line of at most 128 characters, and stays so.
func FuzzDisplayName(f *testing.F) {
	for _, name := range []string{"", "Ann", "a\r\nBcc: x@example.com", "\u202eevil", strings.Repeat("é", 300), "\xff\x00", " a ", "a\u2028b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := account.DisplayName(name)
		if utf8.RuneCountInString(got) > 128 || !utf8.ValidString(got) {
			t.Fatalf("%q", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q holds %U", got, r)
			}
		}
		if again := account.DisplayName(got); again != got {
			t.Fatalf("%q became %q", got, again)
		}
	})
}
