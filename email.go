package authkit

import (
	"errors"
	"strings"
)

// ErrInvalidEmail is returned by [NormalizeEmail].
var ErrInvalidEmail = errors.New("authkit: invalid e-mail address")

// NormalizeEmail returns the one form of an e-mail address in which it is stored,
// looked up and unique: ASCII letters in lower case, and nothing else changed. It
// returns ErrInvalidEmail for what is not a plain address: outer space, a display
// name, a quoted local part, an address literal, a domain without a dot, or
// anything outside ASCII (an international domain is given in its xn-- form).
// Letters that only look alike are therefore never taken for each other.
//
// It is idempotent.
func NormalizeEmail(s string) (string, error) {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || len(local) > 64 || len(s) > 254 || !validLocalPart(local) || !validDomain(domain) {
		return "", ErrInvalidEmail
	}
	return strings.ToLower(s), nil // all ASCII by now
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// validLocalPart takes the dot-atom of RFC 5322 section 3.2.3.
func validLocalPart(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !isAlnum(atom[i]) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", atom[i]) < 0 {
				return false
			}
		}
	}
	return true
}

// validDomain takes host names of two labels or more (RFC 5321 section 4.1.2); the
// last is not a number, so that an IPv4 address is none.
func validDomain(s string) bool {
	labels, last := 0, ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if !isAlnum(label[i]) && label[i] != '-' {
				return false
			}
		}
		labels, last = labels+1, label
	}
	return labels >= 2 && strings.Trim(last, "0123456789") != ""
}
