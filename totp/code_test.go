package totp_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/totp"
)

// MF-01: RFC 4226, appendix D.
func TestHOTPVectors(t *testing.T) {
	t.Parallel()
	secret := []byte("12345678901234567890")
	truncated := []uint32{
		0x4c93cf18, 0x41397eea, 0x082fef30, 0x66ef7655, 0x61c5938a, 0x33c083d4, 0x7256c032, 0x04e5b397, 0x2823443f, 0x2679dc69,
	}
	for counter, code := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		require.Equal(t, truncated[counter], totp.HOTP(sha1.New, secret, uint64(counter)))
		require.Equal(t, code, totp.CodeAt(secret, int64(counter)))
	}
}

// MF-01: RFC 6238, appendix B. The seeds of SHA-256 and SHA-512 are those of
// erratum 2866.
func TestTOTPVectors(t *testing.T) {
	t.Parallel()
	seed := strings.Repeat("1234567890", 7)
	modes := []struct {
		newHash func() hash.Hash
		seed    string
	}{{sha1.New, seed[:20]}, {sha256.New, seed[:32]}, {sha512.New, seed[:64]}}
	for _, v := range []struct {
		at      int64
		counter string
		codes   [3]string
	}{
		{59, "0000000000000001", [3]string{"94287082", "46119246", "90693936"}},
		{1111111109, "00000000023523ec", [3]string{"07081804", "68084774", "25091201"}},
		{1111111111, "00000000023523ed", [3]string{"14050471", "67062674", "99943326"}},
		{1234567890, "000000000273ef07", [3]string{"89005924", "91819424", "93441116"}},
		{2000000000, "0000000003f940aa", [3]string{"69279037", "90698825", "38618901"}},
		{20000000000, "0000000027bc86aa", [3]string{"65353130", "77737706", "47863826"}},
	} {
		step := totp.StepOf(time.Unix(v.at, 0))
		require.Equal(t, v.counter, fmt.Sprintf("%016x", step))
		for i, m := range modes {
			require.Equal(t, v.codes[i], fmt.Sprintf("%08d", totp.HOTP(m.newHash, []byte(m.seed), uint64(step))%100_000_000))
		}
		require.Equal(t, v.codes[0][2:], totp.CodeAt([]byte(seed[:20]), step))
	}
}

// MF-04: a code is six ASCII digits, after its spaces are removed.
func TestParseCode(t *testing.T) {
	t.Parallel()
	for _, response := range []string{"012345", " 012345", "012345 ", "012 345", "0 1 2 3 4 5", "\t012345\r\n", "012\u00a0345", "\u3000012345"} {
		code, ok := totp.ParseCode(response)
		require.True(t, ok, "%q", response)
		require.Equal(t, "012345", code)
	}
	for _, response := range []string{
		"", " ", "12345", "1234567", "0123456", "12345a", "-12345", "+12345", "1e5678", "0x1234", "12345.", "123-456", "12_456",
		"\u0661\u0662\u0663\u0664\u0665\u0666", "\uff11\uff12\uff13\uff14\uff15\uff16", "１２", "12345\x00", "123456\x00", "123456" + strings.Repeat(" ", 256),
	} {
		_, ok := totp.ParseCode(response)
		require.False(t, ok, "%q", response)
	}
}

func FuzzParseCode(f *testing.F) {
	for _, seed := range []string{"012345", "012 345", "\u0661\u0662\u0663\u0664\u0665\u0666", "123456\x00", "", "ABCD-EFGH-IJKL-MNOP-QRST-UVWX", "ABCD-E-wwwwwwVWMNOP-wwwwwwVWX"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, response string) {
		code, ok := totp.ParseCode(response)
		if ok != (len(code) == 6 && strings.Trim(code, "0123456789") == "") {
			t.Errorf("ParseCode(%q): %q, %v", response, code, ok)
		}
		if again, ok := totp.ParseCode(" " + code + "\n"); ok && again != code {
			t.Errorf("ParseCode(%q) is not that of %q", code, response)
		}
		if recovery, ok := totp.ParseRecoveryCode(response); ok && (len(recovery) != 24 || strings.Trim(recovery, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "") {
			t.Errorf("ParseRecoveryCode(%q): %q", response, recovery)
		}
	})
}

// The Key URI Format of Google Authenticator.
func TestKeyURI(t *testing.T) {
	t.Parallel()
	require.Equal(t, "otpauth://totp/Example:alice%40google.com?secret=JBSWY3DPEHPK3PXP&issuer=Example",
		totp.KeyURI("Example", "alice@google.com", "JBSWY3DPEHPK3PXP"))
	for _, c := range [][2]string{{"ACME Co", "john.doe@email.com"}, {"Müller & Söhne + 50% = ?#/", "o'hara+a:b/c?d&e=f%20@example.com"}} {
		text := totp.KeyURI(c[0], c[1], "JBSWY3DPEHPK3PXP")
		require.NotContains(t, text, "+", "a plus is no space in a label")
		require.NotContains(t, text, " ")
		u, err := url.Parse(text)
		require.NoError(t, err)
		require.Equal(t, "otpauth", u.Scheme)
		require.Equal(t, "totp", u.Host)
		label, err := url.PathUnescape(u.EscapedPath())
		require.NoError(t, err)
		require.Equal(t, "/"+c[0]+":"+c[1], label)
		require.Equal(t, url.Values{"secret": {"JBSWY3DPEHPK3PXP"}, "issuer": {c[0]}}, u.Query())
		require.Equal(t, 1, strings.Count(u.EscapedPath(), ":"), "the one colon separates the issuer and the account")
	}
}
