package account_test

import (
	"context"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
)

// RG-14, RE-02: whatever the body of a sign-up is, it is never an error of the
// server, and an account has no more than the fields of the form.
func FuzzSignUpBody(f *testing.F) {
	for _, body := range []string{
		`"password":"correct horse"`, `"password":"correct horse","full_name":"Ann","city":"Oslo","age":7,"agreed":true`, `"roles":["admin"]`, `"id":"x"`,
		`"password":"correct horse","city":null`, `"password":"correct horse","age":1e999`, `"password":1`, `"password":"a","password":"b"`, "\xff", `"a":{"b":[[[[]]]]}`,
		"&password=correct+horse&city=Oslo&agreed=on", "&password=correct+horse&roles=admin", "&%zz", "&password=a&password=b",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
			c.SignUp = account.OnSignUp(func(context.Context, authkit.User, settings) error { return nil })
		}}})
		require.NoError(t, a.Register(t.Context(), "ann@example.com"))
		link := token(t, a.mail(t))
		if strings.HasPrefix(body, "&") {
			body = "token=" + link + body
		} else {
			body = `{"token":"` + link + `",` + body + `}`
		}
		w := call(a.server(), "POST", "/account/signup", body)
		if w.Code >= 500 {
			t.Fatalf("%d for %q", w.Code, body)
		}
		u, err := a.kit.UserByEmail(t.Context(), "ann@example.com")
		if (err == nil) != (w.Code == 201) || len(u.Roles) > 0 || u.Disabled {
			t.Fatalf("%d and the account %+v for %q", w.Code, u, body)
		}
	})
}

// RG-24: whatever a name is, it is one line of at most 128 characters, and
// stays so.
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
