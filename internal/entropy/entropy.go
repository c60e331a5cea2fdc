// Package entropy estimates the entropy of a secret.
package entropy

import (
	"math"
	"slices"
	"strings"
)

// Bits returns an upper estimate of the random bits in a secret. The estimate
// is limited by the length and the alphabet. It is lower for repetitions,
// sequences and words. It cannot detect that a random-looking text was
// published.
func Bits(secret []byte) float64 {
	if len(secret) == 0 {
		return 0
	}
	secret = secret[:period(secret)]
	per := min(shannon(secret), alphabet(secret))
	if words(secret) {
		per = min(per, 1.5) // as in English text
	}
	return per * float64(len(secret)-runs(secret))
}

// period returns the length of the shortest text of which the secret is a
// repetition.
func period(s []byte) int {
	border := make([]int, len(s)) // for each prefix, the length of its longest border
	for i := 1; i < len(s); i++ {
		n := border[i-1]
		for n > 0 && s[i] != s[n] {
			n = border[n-1]
		}
		if s[i] == s[n] {
			n++
		}
		border[i] = n
	}
	return len(s) - border[len(s)-1]
}

// runs returns how many bytes continue the step of the two bytes before them,
// as in "1234" and "aaaa", minus the number expected by chance.
func runs(s []byte) int {
	n := 0
	for i := 2; i < len(s); i++ {
		if s[i]-s[i-1] == s[i-1]-s[i-2] {
			n++
		}
	}
	return max(0, n-len(s)/8)
}

// shannon returns the bits per byte from the frequencies of bytes, with the
// correction of Miller and Madow (1955) for short texts.
func shannon(s []byte) float64 {
	var counts [256]int
	for _, c := range s {
		counts[c]++
	}
	var bits, kinds float64
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
			kinds++
		}
	}
	return bits + (kinds-1)/(2*float64(len(s))*math.Ln2)
}

// alphabet returns the bits per byte for the smallest alphabet that contains
// the text.
func alphabet(s []byte) float64 {
	const digits, upper, lower = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
	within := func(letters string) bool {
		return !slices.ContainsFunc(s, func(c byte) bool { return strings.IndexByte(letters, c) < 0 })
	}
	for _, letters := range []string{
		digits, digits + "abcdef", digits + "ABCDEF", lower, upper, upper + "234567", digits + lower, digits + upper,
		digits + lower + upper, digits + lower + upper + "+/-_=",
	} {
		if within(letters) {
			return math.Log2(float64(len(letters)))
		}
	}
	if !slices.ContainsFunc(s, func(c byte) bool { return c < ' ' || c > '~' }) {
		return math.Log2('~' - ' ' + 1)
	}
	return 8
}

// pairs are the most frequent pairs of letters in English text.
const pairs = "th he in er an re nd on en at ou ed ha to or it is hi es ng ar se st le al te nt ve ti me " +
	"ea co ro ra ri io ic ll as de ne si li ta ma om us ur et ec ch ss ke pa sw wo rd"

// words reports whether the letters of a text follow each other as in words.
// Nearly half of the pairs in text are among these 57, but only one in twelve
// in random letters. The function adds up the evidence of each pair of letters
// of one case. The threshold e^-13 means one false positive in 400,000 random
// texts.
func words(s []byte) bool {
	evidence := 0.0
	for i := 1; i < len(s); i++ {
		a, b := s[i-1], s[i]
		if a|0x20 < 'a' || a|0x20 > 'z' || b|0x20 < 'a' || b|0x20 > 'z' || a&0x20 != b&0x20 {
			continue
		}
		if strings.Contains(pairs, string([]byte{a | 0x20, b | 0x20})) {
			evidence += math.Log(0.45 / 0.083)
		} else {
			evidence += math.Log(0.55 / 0.917)
		}
	}
	return evidence > 13
}
