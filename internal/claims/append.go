package claims

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	// ErrNotObject is returned by [Append] if the extra claims are not a JSON
	// object, or if a name occurs twice in it.
	ErrNotObject = errors.New("claims: the extra claims are not a JSON object")

	// ErrNotUTF8 is returned by [Append] for a text that is not UTF-8.
	ErrNotUTF8 = errors.New("claims: a text that is not UTF-8")

	// ErrReserved is returned by [Append] if the extra claims contain a name
	// that the library sets.
	ErrReserved = errors.New("claims: the extra claims hold a reserved name")
)

// reserved are the names of the library: those of Set, and others of RFC 7519,
// RFC 7800, RFC 8693 and OpenID Connect that have a meaning for verifiers
// (FR-15).
var reserved = []string{
	"sub", "uid", "jti", "iss", "aud", "roles", "iat", "exp", "nbf", "sid", "client_id",
	"auth_time", "amr", "acr", "azp", "act", "may_act", "cnf", "scope", "tenant",
}

// isReserved reports whether a name is reserved, in any case, because
// encoding/json ignores case when it decodes.
func isReserved(name string) bool {
	return slices.ContainsFunc(reserved, func(r string) bool { return strings.EqualFold(r, name) })
}

// Append appends the payload for s to dst. The members of the JSON object
// extra, if any, follow the known claims.
func Append(dst []byte, s *Set, extra []byte) ([]byte, error) {
	dst = append(dst, '{')
	dst = appendText(dst, "sub", s.Subject)
	dst = appendDate(dst, "iat", s.IssuedAt)
	dst = appendDate(dst, "exp", s.ExpiresAt)
	dst = appendDate(dst, "nbf", s.NotBefore)
	dst = appendText(dst, "jti", s.ID)
	dst = appendText(dst, "iss", s.Issuer)
	switch len(s.Audience) {
	case 0:
	case 1:
		dst = appendText(dst, "aud", s.Audience[0])
	default:
		dst = appendList(dst, "aud", s.Audience)
	}
	dst = appendText(dst, "uid", s.UserID)
	dst = appendText(dst, "sid", s.SessionID)
	dst = appendText(dst, "client_id", s.ClientID)
	dst = appendText(dst, "tenant", s.Tenant)
	dst = appendDate(dst, "auth_time", s.AuthTime)
	if s.Methods != "" {
		dst = append(appendName(dst, "amr"), s.Methods...)
	}
	if s.Roles != nil {
		dst = appendList(dst, "roles", s.Roles)
	}
	if s.Scope != nil {
		dst = appendQuoted(appendName(dst, "scope"), *s.Scope)
	}
	if extra != nil {
		members, err := Members(string(extra))
		if err != nil {
			return nil, ErrNotObject
		}
		for _, m := range members {
			if isReserved(m.Name) {
				return nil, ErrReserved
			}
			dst = append(appendName(dst, m.Name), m.Value...)
		}
	}
	if bytes.IndexByte(dst, notUTF8) >= 0 {
		return nil, ErrNotUTF8
	}
	return append(dst, '}'), nil
}

// notUTF8 is a byte that never occurs in UTF-8. It marks a text that is not
// UTF-8.
const notUTF8 = 0xff

func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(appendQuoted(dst, name), ':')
}

func appendText(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendQuoted(appendName(dst, name), value)
}

func appendDate(dst []byte, name string, value int64) []byte {
	if value == 0 {
		return dst
	}
	return strconv.AppendInt(appendName(dst, name), value, 10)
}

func appendList(dst []byte, name string, items []string) []byte {
	return appendItems(appendName(dst, name), items)
}

func appendItems(dst []byte, items []string) []byte {
	dst = append(dst, '[')
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, item)
	}
	return append(dst, ']')
}

// MethodsText is the inverse of [MethodsOf].
func MethodsText(methods []string) string {
	if len(methods) == 0 {
		return ""
	}
	return string(appendItems(nil, methods))
}

func appendQuoted(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || !plain[c] {
			if !utf8.ValidString(s) {
				return append(dst, notUTF8)
			}
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
