// Package claims reads and writes the payload of an access token.
//
// Parse accepts one language in two ways. The scan takes the form that
// well-behaved issuers write (no white space, no escapes, each name once) in one
// pass without allocating; whatever it does not take goes to encoding/json, held
// to exact names, names that occur once, and finite dates. What the scan accepts,
// encoding/json accepts with the same result: a fuzz test holds the two together.
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

// MaxDate is the exclusive bound on dates, in seconds since 1970: the year 5138.
const MaxDate = 100_000_000_000

// A Set is the claims that the library knows. Dates are in seconds since 1970;
// zero means that the claim is absent. Strings may share the payload's memory.
type Set struct {
	Subject, UserID, ID, Issuer    string
	SessionID, ClientID, Tenant    string
	Audience, Roles                []string
	IssuedAt, ExpiresAt, NotBefore int64
	AuthTime                       int64

	// Methods is the "amr" claim as it stands in the payload, a JSON array of strings; see
	// [MethodsOf]. Few look at it, so that it is not decoded for everyone.
	Methods string
}

// ErrInvalid is returned by [Parse] for anything that is not a well-formed
// payload. It is fixed: nothing of the payload is in it.
var ErrInvalid = errors.New("claims: malformed payload")

// Parse reads a payload. Who does not look at the roles can have them checked and left
// out.
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

// text returns where a claim that is a string is kept, or nil.
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

// date returns where a claim that is a date is kept, or nil.
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

// decode is the strict reader over encoding/json.
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
		case n == nameAMR: // of another form it says nothing
			if _, list := stringList(m.Value); list {
				s.Methods = string(m.Value)
			}
		case n == nameAuthTime:
			s.AuthTime, _ = dateValue(m.Value)
		case n == nameNbf && isZero(m.Value): // since 1970, as if it were absent
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

// Members reads a JSON object and returns its members in order. A name that occurs
// twice, text that is not UTF-8 and anything after the object are errors:
// encoding/json would let the last one win, mend the text, and ignore the rest. (An
// escaped half of a surrogate pair reads as U+FFFD, as it does there.)
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

// dateValue reads a NumericDate (RFC 7519 section 2), dropping the fraction. It
// refuses what is not a JSON number between 0 and MaxDate: a quoted number, 1e300
// and 0 have each passed for "never expires" somewhere.
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
