package totp

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// The parameters that every authenticator app supports. Many ignore others.
const (
	digits     = 6
	stepLength = 30 // seconds
	window     = 1  // steps before and after the current one
)

// hotp returns the number of RFC 4226, section 5.3, before its digits are cut.
func hotp(newHash func() hash.Hash, secret []byte, counter uint64) uint32 {
	mac := hmac.New(newHash, secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, counter))
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	return binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
}

// codeAt returns the code of a step, with leading zeros.
func codeAt(secret []byte, step int64) string {
	return fmt.Sprintf("%0*d", digits, hotp(sha1.New, secret, uint64(step))%1_000_000)
}

// stepOf returns the step of a time (RFC 6238, section 4.2).
func stepOf(at time.Time) int64 { return at.Unix() / stepLength }

// matchingStep returns the step whose code is right at a time. The store refuses
// a step that was used.
func matchingStep(secret []byte, code string, at time.Time) (step int64, ok bool) {
	current := stepOf(at)
	for s := current - window; s <= current+window; s++ {
		if subtle.ConstantTimeCompare([]byte(codeAt(secret, s)), []byte(code)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok
}

// parseCode returns the six digits of a response, without its spaces. It reports
// false for any other text.
func parseCode(response string) (code string, ok bool) {
	code = withoutSpaces(response)
	if len(code) != digits {
		return "", false
	}
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return "", false
		}
	}
	return code, true
}

// maxResponse is the length of the longest response that is read.
const maxResponse = 256

// withoutSpaces returns a response without spaces, as apps show them within
// codes. It returns "" for a text that is too long for a response.
func withoutSpaces(response string) string {
	if len(response) > maxResponse {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, response)
}

// keyURI returns a URI in the Key URI Format of Google Authenticator. The
// parameters that it leaves out have the defaults: SHA-1, six digits, 30
// seconds.
func keyURI(issuer, account, secret string) string {
	escape := func(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
	return "otpauth://totp/" + escape(issuer) + ":" + escape(account) + "?secret=" + secret + "&issuer=" + escape(issuer)
}
