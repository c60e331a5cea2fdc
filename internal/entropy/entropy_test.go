package entropy_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"math"
	mathrand "math/rand/v2"
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

// A text of all letters of an alphabet, each once, has the bits of that alphabet.
func TestBitsOfAlphabets(t *testing.T) {
	t.Parallel()
	span := func(from, to byte) (s string) {
		for c := from; c <= to; c++ {
			s += string(rune(c))
		}
		return s
	}
	digits, upper, lower := span('0', '9'), span('A', 'Z'), span('a', 'z')
	bits := func(letters string) float64 {
		shuffled := []byte(letters)
		r := mathrand.New(mathrand.NewPCG(1, 2))
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		return entropy.Bits(shuffled)
	}
	for _, letters := range []string{
		digits, digits + "abcdef", digits + "ABCDEF", lower, upper, upper + "234567", digits + lower, digits + upper,
		digits + lower + upper, digits + lower + upper + "+/-_=", span(' ', '~'),
	} {
		n := float64(len(letters))
		if got, want := bits(letters), n*math.Log2(n); math.Abs(got-want) > 1e-9 {
			t.Errorf("%q: %v bits, want %v", letters, got, want)
		}
	}
	for _, letters := range []string{span(' ', '~') + "\x1f", span(' ', '~') + "\x7f"} {
		if n := float64(len(letters)); bits(letters) <= n*math.Log2(n) {
			t.Errorf("%q: %v bits", letters, bits(letters))
		}
	}
}

// Eight pairs of letters as in words are evidence enough, with one pair that is not.
// Only pairs of letters of one case count.
func TestBitsOfWords(t *testing.T) {
	t.Parallel()
	pairs := []string{"th", "he", "in", "er", "an", "re", "nd", "on"}
	for text, want := range map[string]bool{
		strings.Join(pairs, "1"): true, strings.Join(pairs, "{"): true, strings.Join(pairs, "`"): true, strings.Join(pairs, "@"): true,
		strings.Join(pairs, "["): true, strings.ToUpper(strings.Join(pairs, "1")): true, strings.Join(pairs[:7], "1"): false,
		"an1at1ar1al1as1es1se1st": true, "ha1ea1ra1ta1ma1pa1co1me": true, "Th1He1In1Er1An1Re1Nd1On": false,
		strings.Join(pairs, "1") + "1zb": true, strings.Join(pairs, "1") + "1zb1zb": false, strings.Join(pairs, "1") + "1bz1bz": false,
	} {
		got := entropy.Bits([]byte(text))
		if words := got <= 1.5*float64(len(text)); words != want {
			t.Errorf("%q: %v bits", text, got)
		}
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
