// Package passwordlist refuses passwords that attackers try first.
//
//	kit, err := authkit.New(authkit.Config{
//		Passwords: authkit.PasswordConfig{Check: passwordlist.Check},
//	})
//
// [Check] refuses a common password, and one that is little more than the user's name or
// address. It needs no network. [Words] adds the name of your product. [Pwned] asks a
// service for passwords of known breaches. [All] combines them:
//
//	pwned, err := passwordlist.NewPwned(passwordlist.PwnedConfig{})
//	check := passwordlist.All(passwordlist.Check, passwordlist.Words("acme"), pwned.Check)
//
// # The list
//
// The list has the 11,611 passwords of 8 characters or more of the 30,000 most common ones
// in zxcvbn 4.4.2, without regard to case. Shorter passwords are refused by every Kit. The
// file NOTICE has the licence of zxcvbn. To make the list again, run go generate.
//
// A program that does not import this package does not contain the list. The list adds
// 44 KiB to a program, and 120 KiB to its memory from the first call on.
package passwordlist

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	_ "embed" // for the list
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

//go:generate go run gen.go

//go:embed passwords.txt.gz
var compressed []byte

// list returns the sorted passwords, in lower case, each with a newline after it.
var list = sync.OnceValue(func() string {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		panic("passwordlist: " + err.Error()) // the program is damaged
	}
	text, err := io.ReadAll(r)
	if err != nil {
		panic("passwordlist: " + err.Error())
	}
	return string(text)
})

// minRest is how many characters a password needs beside the words of its context.
const minRest = 8

// minWord is the length of the shortest word that is looked for in a password.
const minWord = 3

// Check is a [authkit.PasswordConfig] Check. It returns authkit.ErrPasswordRefused for a
// password on the list, and for a password that has fewer than 8 characters beside the
// user's e-mail address, the local part of the address, and the names of the user. Upper
// and lower case are the same.
func Check(_ context.Context, password string, u authkit.User) error {
	folded := strings.ToLower(password)
	if contains(list(), folded) {
		return fmt.Errorf("passwordlist: a common password: %w", authkit.ErrPasswordRefused)
	}
	local, _, _ := strings.Cut(u.Email, "@")
	words := append([]string{u.Email, local, u.FullName}, namesOf(u.FullName)...)
	return checkWords(folded, words)
}

// Words returns a [authkit.PasswordConfig] Check for words that attackers expect, such as
// the names of your product and your company. The Check returns
// authkit.ErrPasswordRefused for a password that has fewer than 8 characters beside the
// words. Upper and lower case are the same. Words of fewer than 3 characters are ignored.
func Words(words ...string) func(ctx context.Context, password string, u authkit.User) error {
	words = slices.Clone(words)
	return func(_ context.Context, password string, _ authkit.User) error {
		return checkWords(strings.ToLower(password), words)
	}
}

// All returns a [authkit.PasswordConfig] Check that makes several checks in order. It
// returns the first error.
func All(checks ...func(ctx context.Context, password string, u authkit.User) error) func(ctx context.Context, password string, u authkit.User) error {
	checks = slices.Clone(checks)
	return func(ctx context.Context, password string, u authkit.User) error {
		for _, check := range checks {
			if err := check(ctx, password, u); err != nil {
				return err
			}
		}
		return nil
	}
}

// checkWords returns an error for a password that is little more than words.
func checkWords(folded string, words []string) error {
	rest := folded
	// The longest words first: a word within another one would leave the rest behind.
	byLength := func(a, b string) int { return cmp.Compare(len(b), len(a)) }
	for _, word := range slices.SortedFunc(slices.Values(words), byLength) {
		if utf8.RuneCountInString(word) >= minWord {
			rest = strings.ReplaceAll(rest, strings.ToLower(word), "")
		}
	}
	if rest != folded && utf8.RuneCountInString(rest) < minRest {
		return fmt.Errorf("passwordlist: little more than a name: %w", authkit.ErrPasswordRefused)
	}
	return nil
}

// namesOf returns the names in a full name, together and one by one.
func namesOf(fullName string) []string {
	names := strings.FieldsFunc(fullName, func(r rune) bool { return unicode.IsSpace(r) || r == '-' })
	return append([]string{strings.Join(names, "")}, names...)
}

// contains reports whether a sorted list has a line. It searches the text itself, because
// an index would need more memory than the text.
func contains(list, line string) bool {
	if strings.Contains(line, "\n") {
		return false
	}
	low, high := 0, len(list) // both are beginnings of lines
	for low < high {
		begin := low
		middle := low + (high-low)/2
		if i := strings.LastIndexByte(list[low:middle], '\n'); i >= 0 {
			begin = low + i + 1
		}
		end := begin + strings.IndexByte(list[begin:], '\n')
		switch got := list[begin:end]; {
		case got == line:
			return true
		case got < line:
			low = end + 1
		default:
			high = begin
		}
	}
	return false
}
