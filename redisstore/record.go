package redisstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// errReply is the error for a reply that no script of this package returns.
var errReply = errors.New("the record in Redis is not one of this package")

const callLen = 16

// newCall returns a random ID for a call. The client sends a script again if
// the reply was lost. The script recognizes its own earlier work by the ID.
func newCall() []byte {
	call := make([]byte, callLen)
	_, _ = rand.Read(call)
	return call
}

// micros returns a time as it is stored: microseconds since 1970, in decimal.
// It is not a number, which a script would round to a float64. Scores are
// rounded; see the package comment.
func micros(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

func parseMicros(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMicro(n).UTC(), err
}

// createArgs returns the arguments of lua/create.lua for a session, without ID
// and user.
func createArgs(s *authkit.StoredSession) []any {
	return []any{
		s.Device, s.Address, micros(s.CreatedAt), micros(s.LastUsedAt), micros(s.ExpiresAt), micros(s.AbsoluteExpiresAt),
		s.TokenHash[:], s.ParentHash[:], micros(s.RotatedAt), s.Successor, optionalMicros(s.AuthTime), joinMethods(s.Methods),
		life(s.CreatedAt, s.ExpiresAt),
	}
}

// optionalMicros is micros with the empty text for the zero time, as in a
// session that was stored without the field.
func optionalMicros(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return micros(t)
}

// joinMethods returns the methods as one text, each with its length in front.
func joinMethods(methods []string) string {
	var text strings.Builder
	for _, m := range methods {
		text.WriteString(entry(m, ""))
	}
	return text.String()
}

// splitMethods is the inverse of joinMethods. It returns nil for the empty text.
func splitMethods(text string) (methods []string, ok bool) {
	for text != "" {
		var method string
		if method, text, ok = parseEntry(text); !ok {
			return nil, false
		}
		methods = append(methods, method)
	}
	return methods, true
}

// parseSession parses the reply of read in lua/common.lua. Like the other
// parsers, it returns the error of the call, if there is one.
func parseSession(id string, reply any, err error) (authkit.StoredSession, error) {
	s := authkit.StoredSession{Session: authkit.Session{ID: id}}
	fields, err := parseTexts(reply, err)
	switch {
	case err != nil:
		return authkit.StoredSession{}, err
	case len(fields) == 0:
		return authkit.StoredSession{}, authkit.ErrSessionNotFound
	case len(fields) != 13 || len(fields[7]) != len(s.TokenHash) || len(fields[8]) != len(s.ParentHash):
		return authkit.StoredSession{}, errReply
	}
	s.UserID, s.Device, s.Address = fields[0], fields[1], fields[2]
	copy(s.TokenHash[:], fields[7])
	copy(s.ParentHash[:], fields[8])
	s.Successor = []byte(fields[10])
	for _, at := range []struct {
		time *time.Time
		text string
	}{
		{&s.CreatedAt, fields[3]}, {&s.LastUsedAt, fields[4]}, {&s.ExpiresAt, fields[5]}, {&s.AbsoluteExpiresAt, fields[6]}, {&s.RotatedAt, fields[9]},
	} {
		if *at.time, err = parseMicros(at.text); err != nil {
			return authkit.StoredSession{}, errReply
		}
	}
	if fields[11] != "" {
		if s.AuthTime, err = parseMicros(fields[11]); err != nil {
			return authkit.StoredSession{}, errReply
		}
	}
	var ok bool
	if s.Methods, ok = splitMethods(fields[12]); !ok {
		return authkit.StoredSession{}, errReply
	}
	return s, nil
}

// entry is entry of lua/common.lua.
func entry(first, rest string) string { return strconv.Itoa(len(first)) + ":" + first + rest }

// parseEntry is the inverse of entry.
func parseEntry(entry string) (first, rest string, ok bool) {
	length, rest, _ := strings.Cut(entry, ":")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > len(rest) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

// parseRevocation is the inverse of revocation of lua/common.lua.
func parseRevocation(member string) (r authkit.Revocation, err error) {
	at, entry, ok := strings.Cut(member[min(callLen, len(member)):], ":")
	if ok {
		r.SessionID, r.UserID, ok = parseEntry(entry)
	}
	if r.At, err = parseMicros(at); err != nil || !ok {
		return authkit.Revocation{}, errReply
	}
	return r, nil
}

// parsePair parses a reply of 0 or 1 that another value may follow.
func parsePair(reply any, err error) (one bool, rest any, _ error) {
	if err != nil {
		return false, nil, err
	}
	pair, ok := reply.([]any)
	if !ok || len(pair) < 1 || len(pair) > 2 || pair[0] != int64(0) && pair[0] != int64(1) {
		return false, nil, errReply
	}
	if len(pair) == 2 {
		rest = pair[1]
	}
	return pair[0] == int64(1), rest, nil
}

// parseTexts parses a reply that is a list of texts.
func parseTexts(reply any, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	list, ok := reply.([]any)
	if !ok {
		return nil, errReply
	}
	texts := make([]string, len(list))
	for i := range list {
		if texts[i], ok = list[i].(string); !ok {
			return nil, fmt.Errorf("%w: a %T", errReply, list[i])
		}
	}
	return texts, nil
}

// parseCount parses a reply that is a number.
func parseCount(reply any, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, ok := reply.(int64)
	if !ok {
		return 0, errReply
	}
	return int(n), nil
}
