package entropy_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/authkit-go/authkit/internal/entropy"
)

func TestBitsOfWeakSecrets(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		secret string
		atMost float64
	}{
		{"", 0},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 4},
		{"abcdefghijklmnopqrstuvwxyz0123456789", 60},
		{"0123456789abcdef0123456789abcdef0123456789abcdef", 40},
		{"12345678901234567890123456789012", 30},
		{"correct horse battery staple correct horse", 70},
		{"my-super-secret-signing-key-for-production", 70},
		{"password123password123password123", 48},
		{"deadbeefdeadbeefdeadbeefdeadbeef", 32},
		{"secretsecretsecretsecret12345678", 64},
		{"20240101202401022024010320240104", 90},
	} {
		if got := entropy.Bits([]byte(tc.secret)); got > tc.atMost {
			t.Errorf("%q: %.0f bits, want at most %.0f", tc.secret, got, tc.atMost)
		}
	}
}

// TestBitsOfRandomSecrets: what tools make is never taken for weak.
func TestBitsOfRandomSecrets(t *testing.T) {
	t.Parallel()
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return b
	}
	for name, make := range map[string]func() []byte{
		"32 bytes":                func() []byte { return random(32) },
		"64 bytes":                func() []byte { return random(64) },
		"openssl rand -hex 16":    func() []byte { return []byte(hex.EncodeToString(random(16))) },
		"openssl rand -hex 32":    func() []byte { return []byte(hex.EncodeToString(random(32))) },
		"in upper case":           func() []byte { return []byte(strings.ToUpper(hex.EncodeToString(random(32)))) },
		"openssl rand -base64 32": func() []byte { return []byte(base64.StdEncoding.EncodeToString(random(32))) },
		"openssl rand -base64 24": func() []byte { return []byte(base64.StdEncoding.EncodeToString(random(24))) },
		"rand.Text, twice":        func() []byte { return []byte(rand.Text() + rand.Text()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 5000 {
				if secret := make(); entropy.Bits(secret) < 80 {
					t.Fatalf("%q: %.0f bits", secret, entropy.Bits(secret))
				}
			}
		})
	}
}

func FuzzBits(f *testing.F) {
	f.Add([]byte("abcabcab"))
	f.Fuzz(func(t *testing.T, secret []byte) {
		if got := entropy.Bits(secret); !(got >= 0 && got <= 8*float64(len(secret))+1) {
			t.Errorf("%q: %v bits", secret, got)
		}
	})
}
