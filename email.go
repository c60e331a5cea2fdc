package authkit

import (
	"errors"
	"strings"
)

// ErrInvalidEmail is returned by [NormalizeEmail].
var ErrInvalidEmail = errors.New("authkit: invalid e-mail address")

// NormalizeEmail returns the canonical form of an e-mail address, in which it
// is stored, looked up and unique: letters are in lower case.
//
// It returns ErrInvalidEmail unless the text is a plain ASCII address: without outer
// space, display name, quoted local part, leading dot or address literal, and with a dot in
// the domain. So letters that look alike are never taken for each other. Give an
// international domain in its xn-- form, which idna.Lookup.ToASCII of golang.org/x/net
// returns.
//
// The local part may have dots in a row or at its end, against RFC 5322, since Japanese
// carriers have issued such addresses. A mailer must quote such a local part.
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

// validLocalPart reports whether s is a dot-atom of RFC 5322 section 3.2.3.
func validLocalPart(s string) bool {
	if s == "" || s[0] == '.' {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte(".!#$%&'*+-/=?^_`{|}~", s[i]) < 0 {
			return false
		}
	}
	return true
}

// validDomain reports whether s is a host name of at least two labels (RFC 5321
// section 4.1.2). The last label must not be a number, which excludes IPv4
// addresses.
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
