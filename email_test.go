package authkit_test

import (
	"errors"
	"net/mail"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
	"github.com/stretchr/testify/require"
)

// LO-11.
func TestNormalizeEmail(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("d", 63)
	for in, want := range map[string]string{
		"ada@example.com":                       "ada@example.com",
		"Ada.Lovelace@Example.COM":              "ada.lovelace@example.com",
		"ADA+Tag@EXAMPLE.COM":                   "ada+tag@example.com",
		"!#$%&'*+-/=?^_`{|}~@example.com":       "!#$%&'*+-/=?^_`{|}~@example.com",
		"1@2.co":                                "1@2.co",
		"a@b.c":                                 "a@b.c",
		"a@B-C.D":                               "a@b-c.d",
		"AZaz09@AZaz09.ZZ":                      "azaz09@azaz09.zz",
		"ada@xn--bcher-kva.example":             "ada@xn--bcher-kva.example",
		"ada@sub.sub.example.com":               "ada@sub.sub.example.com",
		"ada@123.456.com":                       "ada@123.456.com",
		"ada@example.c0":                        "ada@example.c0",
		"taro..y@docomo.ne.jp":                  "taro..y@docomo.ne.jp", // issued by carriers, and delivered
		"Hanako.@ezweb.ne.jp":                   "hanako.@ezweb.ne.jp",
		"a...b..@ezweb.ne.jp":                   "a...b..@ezweb.ne.jp",
		strings.Repeat("l", 64) + "@ex.com":     strings.Repeat("l", 64) + "@ex.com",
		"ada@" + label + ".com":                 "ada@" + label + ".com",
		"a@" + strings.Repeat("d.", 125) + "dd": "a@" + strings.Repeat("d.", 125) + "dd", // 254 bytes
	} {
		got, err := authkit.NormalizeEmail(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
		again, err := authkit.NormalizeEmail(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for name, in := range map[string]string{
		"empty":                    "",
		"no at":                    "ada.example.com",
		"at alone":                 "@",
		"no local part":            "@example.com",
		"no domain":                "ada@",
		"two ats":                  "ada@b@example.com",
		"two ats in a row":         "ada@@example.com",
		"leading dot":              ".ada@example.com",
		"dots alone":               "..@example.com",
		"space in front":           " ada@example.com",
		"space behind":             "ada@example.com ",
		"space inside":             "a da@example.com",
		"tab":                      "ada@example.com\t",
		"line end":                 "ada@example.com\n",
		"header injection":         "ada@example.com\r\nBcc: all@example.com",
		"NUL":                      "ada\x00@example.com",
		"DEL":                      "ada\x7f@example.com",
		"display name":             "Ada <ada@example.com>",
		"quoted local part":        `"ada"@example.com`,
		"escaped":                  `a\da@example.com`,
		"comment":                  "ada(x)@example.com",
		"group":                    "g:ada@example.com;",
		"list":                     "ada@example.com,bob@example.com",
		"IPv4":                     "ada@127.0.0.1",
		"IPv4 literal":             "ada@[127.0.0.1]",
		"IPv6 literal":             "ada@[IPv6:::1]",
		"no dot":                   "ada@localhost",
		"numeric top level":        "ada@example.123",
		"root dot":                 "ada@example.com.",
		"domain with a leading .":  "ada@.example.com",
		"domain with two dots":     "ada@example..com",
		"leading hyphen":           "ada@-example.com",
		"trailing hyphen":          "ada@example-.com",
		"underscore":               "ada@ex_ample.com",
		"port":                     "ada@example.com:25",
		"label of 64":              "ada@" + label + "d.com",
		"local part of 65":         strings.Repeat("l", 65) + "@ex.com",
		"255 bytes":                "a@" + strings.Repeat("d.", 125) + "ddd",
		"a megabyte":               "a@" + strings.Repeat("d.", 1<<19) + "com",
		"Kelvin sign":              "\u212aada@example.com",
		"dotless i":                "ad\u0131@example.com",
		"long s":                   "ada@example\u017f.com",
		"capital I with a dot":     "\u0130da@example.com",
		"full-width at":            "ada\uff20example.com",
		"international domain":     "ada@bücher.example",
		"international local part": "äda@example.com",
		"not UTF-8":                "ada\xff@example.com",
		"byte order mark":          "\ufeffada@example.com",
		"zero-width joiner":        "ada\u200d@example.com",
		"right-to-left override":   "ada\u202e@example.com",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := authkit.NormalizeEmail(in)
			require.Empty(t, got)
			require.Equal(t, authkit.ErrInvalidEmail, err)
		})
	}
}

// FuzzNormalizeEmail looks for an address with two forms. LO-11, RE-02.
func FuzzNormalizeEmail(f *testing.F) {
	for _, seed := range []string{
		"ada@example.com", "ADA@Example.COM", " ada@example.com", "ada@example.com\n", "a@b@c.de", "\u212aim@example.com", "k\u0131m@example.com",
		"\u0130@example.com", "ada@bücher.example", "\"a b\"@example.com", "ada@[127.0.0.1]", "ada@1.2", "!#$%&'*+-/=?^_`{|}~@b.c", "a@b.c\x00", "\xff@b.c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := authkit.NormalizeEmail(in)
		if err != nil {
			if err != authkit.ErrInvalidEmail || got != "" {
				t.Fatalf("%q, %v", got, err)
			}
			return
		}
		again, err := authkit.NormalizeEmail(got)
		if err != nil || again != got {
			t.Fatalf("not idempotent: %q, then %q, %v", got, again, err)
		}
		upper, err := authkit.NormalizeEmail(strings.ToUpper(in))
		if err != nil || upper != got {
			t.Fatalf("depends on case: %q and %q, %v", got, upper, err)
		}
		if len(got) != len(in) || len(got) > 254 || !strings.EqualFold(got, in) {
			t.Fatalf("%q became %q", in, got)
		}
		if strings.Count(got, "@") != 1 || strings.TrimSpace(got) != got || got != strings.ToLower(got) {
			t.Fatalf("not in the one form: %q", got)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == utf8.RuneError }); i >= 0 {
			t.Fatalf("holds %q: %q", got[i], got)
		}
		parsed := got
		if local, domain, _ := strings.Cut(got, "@"); strings.Contains(local, "..") || strings.HasSuffix(local, ".") { // a mailer quotes it
			parsed = `"` + local + `"@` + domain
		}
		if address, err := mail.ParseAddress(parsed); err != nil || address.Address != got || address.Name != "" {
			t.Fatalf("not an address to net/mail: %q: %v, %v", got, address, err)
		}
	})
}

// An address outside ASCII is refused with the form in which it is accepted.
func TestInternationalDomainMessage(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	u := addUser(t, kit, "ann@xn--bcher-kva.example", password)
	for address, want := range map[string]string{
		"bob@bücher.example": "xn--",
		"ann@localhost":      "must be an e-mail address",
	} {
		_, created := kit.CreateUser(t.Context(), authkit.User{Email: address}, password)
		_, changed := kit.SetEmail(t.Context(), u.ID, address)
		for _, err := range []error{created, changed, kit.CheckUser(t.Context(), authkit.User{Email: address}, password)} {
			invalid, ok := errors.AsType[*authkit.ValidationError](err)
			require.True(t, ok, address)
			require.Contains(t, invalid.Fields[0].Message, want)
		}
	}
}
