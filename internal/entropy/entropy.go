// Package entropy guesses how hard a secret is to guess.
package entropy

import (
	"math"
	"slices"
	"strings"
)

// Bits returns about how many random bits may be in a secret: at most as many as its letters
// have room for, and fewer where they repeat, run on like an alphabet, or look like words. It
// is a guess from above. Nobody can tell a random text from one that was published.
func Bits(secret []byte) float64 {
	if len(secret) == 0 {
		return 0
	}
	secret = secret[:period(secret)]
	per := min(shannon(secret), alphabet(secret))
	if words(secret) {
		per = min(per, 1.5) // of English text
	}
	return per * float64(len(secret)-runs(secret))
}

// period returns the length of the shortest text that the secret is a repetition of.
func period(s []byte) int {
	border := make([]int, len(s)) // of each prefix: the longest that it both begins and ends with
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

// runs returns how many bytes go on as the two before them did, as in "1234" and "aaaa", beyond
// what happens by chance.
func runs(s []byte) int {
	n := 0
	for i := 2; i < len(s); i++ {
		if s[i]-s[i-1] == s[i-1]-s[i-2] {
			n++
		}
	}
	return max(0, n-len(s)/8)
}

// shannon returns the bits of a byte by how often each occurs. A short text does not have room
// for all that could occur, which is made up for (Miller and Madow, 1955).
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

// alphabet returns the bits of a byte by the alphabet that the text seems to be in.
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

// pairs are the pairs of letters that English text has most of.
const pairs = "th he in er an re nd on en at ou ed ha to or it is hi es ng ar se st le al te nt ve ti me " +
	"ea co ro ra ri io ic ll as de ne si li ta ma om us ur et ec ch ss ke pa sw wo rd"

// words reports whether the letters of a text follow each other as in words. Of pairs of one
// case nearly half are among the 57 most usual in text, and one in twelve in random letters:
// each pair is evidence for the one or the other, and this much comes by chance in one of
// 400,000 random texts (e^-13).
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
