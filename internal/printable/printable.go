// Package printable makes texts of clients fit for logs and stores.
package printable

import (
	"unicode"
	"unicode/utf8"
)

// Text returns the front of s as UTF-8, at most limit bytes, with a space for each character that
// does not print.
func Text(s string, limit int) string {
	plain := len(s) <= limit
	for i := 0; plain && i < len(s); i++ {
		plain = ' ' <= s[i] && s[i] <= '~'
	}
	if plain {
		return s
	}
	text := make([]byte, 0, min(len(s), limit))
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			r = ' '
		}
		if len(text)+utf8.RuneLen(r) > limit {
			break
		}
		text = utf8.AppendRune(text, r)
	}
	return string(text)
}
