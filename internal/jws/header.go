package jws

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/authkit-go/authkit/internal/claims"
)

// A Profile is a format of access tokens.
type Profile int

const (
	Plain       Profile = iota // RFC 7519
	AccessToken                // RFC 9068
	profiles    = 2            // the number of profiles
)

// types returns the typ values that a profile accepts, the one that it writes first. They are
// compared without regard to case (RFC 7515 section 4.1.9).
func (p Profile) types() []string {
	if p == AccessToken {
		return []string{"at+jwt", "application/at+jwt"}
	}
	return []string{"JWT"}
}

// headers returns header segments for an algorithm and a kid. The first is the one that the
// library writes. The others are usual spellings, listed so that such headers need no
// parsing.
func (p Profile) headers(alg string, id string) (segments []string) {
	a := `"alg":"` + alg + `"`
	add := func(members ...string) {
		segments = append(segments, base64.RawURLEncoding.EncodeToString([]byte("{"+strings.Join(members, ",")+"}")))
	}
	for _, typ := range p.types() {
		t := `"typ":"` + typ + `"`
		if id == "" {
			add(a, t)
			add(t, a)
			continue
		}
		k := `"kid":` + quote(id)
		for _, order := range [][]string{{a, k, t}, {a, t, k}, {k, a, t}, {k, t, a}, {t, a, k}, {t, k, a}} {
			add(order...)
		}
	}
	switch {
	case p != Plain: // typ is required
	case id == "":
		add(a)
	default:
		k := `"kid":` + quote(id)
		add(a, k)
		add(k, a)
	}
	return segments
}

// header returns the header segment that the key writes for a typ.
func (b *BoundKey) header(typ string) string {
	kid := ""
	if b.ID != "" {
		kid = `"kid":` + quote(b.ID) + ","
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + b.Algorithm + `",` + kid + `"typ":` + quote(typ) + `}`))
}

// quote returns s as a JSON string.
func quote(s string) string {
	quoted, _ := json.Marshal(s) // a string always encodes
	return string(quoted)
}

// headerFits reports whether a signed header is one that key k may have signed:
// its own algorithm, its own kid, a typ of the profile, and no extension (RFC 7515 section
// 4.1.11). Keys and addresses of keys in a header are not looked at.
func (s *Set) headerFits(k *BoundKey, p Profile, segment string) bool {
	header, err := strict64.DecodeString(segment)
	if err != nil {
		return false
	}
	members, err := claims.Members(string(header))
	if err != nil {
		return false
	}
	var alg, typ, kid string
	named, typed := false, p == Plain // which may do without
	for _, m := range members {
		switch m.Name {
		case "alg":
			err = json.Unmarshal(m.Value, &alg)
		case "typ":
			err = json.Unmarshal(m.Value, &typ)
			typed = true
			if !slices.ContainsFunc(p.types(), func(t string) bool { return strings.EqualFold(t, typ) }) {
				return false
			}
		case "kid":
			named = true
			err = json.Unmarshal(m.Value, &kid)
		case "crit", "b64":
			return false
		}
		if err != nil {
			return false
		}
	}
	if alg == ed25519Name {
		alg = EdDSA
	}
	if alg != k.Algorithm || !typed {
		return false
	}
	if named {
		return kid == k.ID && kid != ""
	}
	return k == s.unnamed
}
