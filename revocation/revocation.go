// Package revocation informs services that verify access tokens without a store
// about ended sessions, and about accounts whose tokens were all revoked. A
// guard checks each token against a list in memory, so a request needs no
// network access.
//
// The service that logs users in serves the list, and the others follow it:
//
//	mux.Handle("GET /revocations", authkit.Public(), revocation.Handler(kit))
//
//	follower, err := revocation.NewFollower(revocation.Config{URL: "https://auth.example.com/revocations", Ring: ring})
//	go follower.Run(ctx)
//	guard, err := authkit.NewGuard(authkit.GuardConfig{Tokens: tokens, Revoked: follower.Revoked})
//
// A logout reaches them within [Config].Interval, 5 seconds by default.
//
// # The list
//
// The list is a JWS (RFC 7515) of the type "revocations+jwt", signed with the
// key that signs the access tokens. Its payload is a JSON object:
//
//	after     the cursor of the request; absent from a whole list
//	next      the cursor for the next request
//	until     the time of the list, in seconds since 1970
//	life      the life of an entry, in seconds
//	sessions  entries of sessions
//	users     entries of accounts: they revoke tokens with an earlier iat
//
// Entries are records of 12 bytes, concatenated, in base64url: the first 8
// bytes of a SHA-256 hash, and the time in seconds since 1970, big endian. The
// hash is that of "authkit revoked session", "authkit revoked user" or "authkit
// revoked email", a zero byte, and the ID or address. The list therefore does
// not reveal who logs out, and can be public. Entries with an address are for
// tokens that name the user only by e-mail.
//
// A request with after=CURSOR gets only the entries that the service has added
// since. A cursor counts entries, not seconds, so it does not matter if clocks
// differ. A request without a cursor gets the whole list. So does a request
// with a cursor of another instance of the service. The response has an ETag.
// It is 304 if there are no new entries.
package revocation

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

const (
	listType    = "revocations+jwt"
	contentType = "application/jwt"
	recordLen   = 12
	maxList     = 32 << 20 // bytes, for over a million entries
	maxLife     = 1 << 33  // seconds, longer than any token lives
)

// A list is the payload.
type list struct {
	After    string `json:"after,omitempty"`
	Next     string `json:"next"`
	Until    int64  `json:"until"`
	Life     int64  `json:"life"`
	Sessions string `json:"sessions"`
	Users    string `json:"users"`
}

// A digest identifies a session or a user.
type digest [8]byte

func digestOf(kind, id string) digest {
	var buf [128]byte
	text := append(append(buf[:0], "authkit revoked "...), kind...)
	sum := sha256.Sum256(append(append(text, 0), id...))
	return digest(sum[:8])
}

// entries map a digest to the time of its revocation, the latest if there are
// several.
type entries map[digest]int64

func (e entries) add(d digest, at int64) { e[d] = max(at, e[d]) }

// encode returns the records in a fixed order, so that equal lists have equal
// texts.
func (e entries) encode() string {
	records := make([][recordLen]byte, 0, len(e))
	for d, at := range e {
		var r [recordLen]byte
		copy(r[:], d[:])
		binary.BigEndian.PutUint32(r[8:], uint32(at))
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b [recordLen]byte) int { return bytes.Compare(a[:], b[:]) })
	all := make([]byte, 0, recordLen*len(records))
	for _, r := range records {
		all = append(all, r[:]...)
	}
	return base64.RawURLEncoding.EncodeToString(all)
}

// decode calls add with each record of a text.
func decode(text string, add func(digest, int64)) error {
	all, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(all)%recordLen != 0 || base64.RawURLEncoding.EncodedLen(len(all)) != len(text) {
		return errors.New("broken entries")
	}
	for r := range slices.Chunk(all, recordLen) {
		add(digest(r[:8]), int64(binary.BigEndian.Uint32(r[8:])))
	}
	return nil
}

// parse parses and checks the payload of a list.
func parse(payload []byte) (list, error) {
	var l list
	if err := json.Unmarshal(payload, &l); err != nil {
		return list{}, fmt.Errorf("the list is not JSON: %w", err)
	}
	if l.Until <= 0 || l.Life <= 0 || l.Life > maxLife || l.Next == "" || len(l.Next) > 256 {
		return list{}, errors.New("the list has no time, life or cursor")
	}
	for _, text := range []string{l.Sessions, l.Users} {
		if err := decode(text, func(digest, int64) {}); err != nil {
			return list{}, err
		}
	}
	return l, nil
}
