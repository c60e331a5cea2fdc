// Package claims parses and encodes the payload of an access token.
//
// Parse has two implementations of one language. The scanner reads the form
// that well-behaved issuers write (no white space, no escapes, each name once)
// in one pass without allocations. It passes every other payload to
// encoding/json, with exact names, unique names and finite dates enforced. For
// every payload that the scanner accepts, encoding/json has the same result. A
// fuzz test checks this.
package claims

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxDate is the exclusive upper bound of dates, in seconds since 1970: the
// year 5138.
const MaxDate = 100_000_000_000

// A Set holds the claims that the library knows. Dates are in seconds since
// 1970; zero means that the claim is absent. Strings may share the memory of
// the payload.
type Set struct {
	Subject, UserID, ID, Issuer    string
	SessionID, ClientID, Tenant    string
	Audience, Roles                []string
	IssuedAt, ExpiresAt, NotBefore int64
	AuthTime                       int64

	// Methods is the "amr" claim in its encoded form, a JSON array of strings;
	// see [MethodsOf]. It is decoded on demand, because few callers need it.
	Methods string

	// Scope is the "scope" claim, for [Append]. [Parse] leaves it nil: see
	// [ScopeOf].
	Scope *string
}

// ScopeOf returns the "scope" claim of a valid payload. It reports false if the
// claim is absent. A claim that is no string is an empty one, which grants
// nothing: an absent one does not limit a token.
func ScopeOf(payload string) (string, bool) {
	members, _ := Members(payload)
	for _, m := range members {
		if m.Name == "scope" {
			text, _ := stringValue(m.Value)
			return text, true
		}
	}
	return "", false
}

// ErrInvalid is returned by [Parse] for a malformed payload. Its text is fixed
// and contains no part of the payload.
var ErrInvalid = errors.New("claims: malformed payload")

// Parse parses a payload. If roles is false, it checks the roles but does not
// return them.
func Parse(payload string, roles bool) (Set, error) {
	s, ok := scan(payload, roles)
	if ok {
		return s, nil
	}
	s, err := decode(payload)
	if !roles {
		s.Roles = nil
	}
	return s, err
}

// A name is one of the claims that Set holds, as a bit.
type name uint16

const (
	nameSub name = 1 << iota
	nameUID
	nameJTI
	nameIss
	nameAud
	nameRoles
	nameIat
	nameExp
	nameNbf
	nameSID
	nameClient
	nameAuthTime
	nameAMR
	nameTenant
)

func nameOf(s string) name {
	switch s {
	case "sub":
		return nameSub
	case "uid":
		return nameUID
	case "jti":
		return nameJTI
	case "iss":
		return nameIss
	case "aud":
		return nameAud
	case "roles":
		return nameRoles
	case "iat":
		return nameIat
	case "exp":
		return nameExp
	case "nbf":
		return nameNbf
	case "sid":
		return nameSID
	case "client_id":
		return nameClient
	case "auth_time":
		return nameAuthTime
	case "amr":
		return nameAMR
	case "tenant":
		return nameTenant
	}
	return 0
}

// text returns a pointer to the string field of a claim, or nil.
func (s *Set) text(n name) *string {
	switch n {
	case nameSub:
		return &s.Subject
	case nameUID:
		return &s.UserID
	case nameJTI:
		return &s.ID
	case nameIss:
		return &s.Issuer
	case nameSID:
		return &s.SessionID
	case nameClient:
		return &s.ClientID
	case nameTenant:
		return &s.Tenant
	}
	return nil
}

// date returns a pointer to the date field of a claim, or nil.
func (s *Set) date(n name) *int64 {
	switch n {
	case nameIat:
		return &s.IssuedAt
	case nameExp:
		return &s.ExpiresAt
	case nameNbf:
		return &s.NotBefore
	case nameAuthTime:
		return &s.AuthTime
	}
	return nil
}

// decode is the strict parser on top of encoding/json.
func decode(payload string) (Set, error) {
	var s Set
	members, err := Members(payload)
	if err != nil {
		return Set{}, err
	}
	for _, m := range members {
		n := nameOf(m.Name)
		ok := true
		switch {
		case n == 0:
		case string(m.Value) == "null" && n != nameSub && n != nameExp: // the claim is absent
		case n == nameRoles:
			s.Roles, ok = stringList(m.Value)
		case n == nameAMR: // another form counts as absent
			if _, list := stringList(m.Value); list {
				s.Methods = string(m.Value)
			}
		case n == nameAuthTime:
			s.AuthTime, _ = dateValue(m.Value)
		case n == nameNbf && isZero(m.Value): // zero counts as absent
		case n == nameAud:
			if one, isOne := stringValue(m.Value); isOne {
				s.Audience = []string{one}
			} else {
				s.Audience, ok = stringList(m.Value)
			}
		default:
			if at := s.text(n); at != nil {
				*at, ok = stringValue(m.Value)
			} else {
				*s.date(n), ok = dateValue(m.Value)
			}
		}
		if !ok {
			return Set{}, ErrInvalid
		}
	}
	return s, nil
}

// MethodsOf returns the methods of [Set].Methods.
func MethodsOf(text string) []string {
	if text == "" {
		return nil
	}
	methods, _ := stringList(json.RawMessage(text))
	return methods
}

// A Member is one name and value of a JSON object.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Members returns the members of a JSON object in order. It returns an error
// for duplicate names, text that is not UTF-8, and data after the object.
// encoding/json would use the last duplicate, replace the invalid text, and
// ignore the rest. An escaped half of a surrogate pair becomes U+FFFD, as in
// encoding/json.
func Members(object string) ([]Member, error) {
	if !utf8.ValidString(object) || !json.Valid([]byte(object)) {
		return nil, ErrInvalid
	}
	dec := json.NewDecoder(strings.NewReader(object))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, ErrInvalid
	}
	var members []Member
	seen := make(map[string]bool)
	for dec.More() {
		key, err := dec.Token()
		name, ok := key.(string)
		if err != nil || !ok || seen[name] {
			return nil, ErrInvalid
		}
		seen[name] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, ErrInvalid
		}
		members = append(members, Member{Name: name, Value: value})
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, ErrInvalid
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, ErrInvalid
	}
	return members, nil
}

func stringValue(raw json.RawMessage) (string, bool) {
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

func stringList(raw json.RawMessage) ([]string, bool) {
	var items []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
		return nil, false
	}
	list := make([]string, len(items))
	for i, item := range items {
		s, ok := stringValue(bytes.TrimSpace(item))
		if !ok {
			return nil, false
		}
		list[i] = s
	}
	return list, true
}

// isZero reports whether a number is zero.
func isZero(raw json.RawMessage) bool {
	if raw[0] != '0' {
		return false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	return err == nil && f == 0
}

// dateValue parses a NumericDate (RFC 7519 section 2) and drops the fraction.
// It accepts only JSON numbers from 1 to below MaxDate: other libraries have
// treated a quoted number, 1e300 or 0 as "never expires".
func dateValue(raw json.RawMessage) (int64, bool) {
	if raw[0] < '0' || raw[0] > '9' {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f < 1 || f >= MaxDate {
		return 0, false
	}
	return int64(f), true
}
