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

// errReply is what a script of this package never answers.
var errReply = errors.New("what Redis has is not what was stored")

const callLen = 16

// newCall returns what a call is known by. The client sends a script again whose answer
// was lost, and the script must not take its own work for somebody else's.
func newCall() []byte {
	call := make([]byte, callLen)
	_, _ = rand.Read(call)
	return call
}

// micros returns a time as it is stored: in microseconds since 1970, and in decimal, for a
// number of a script would be a float64. The scores are: see the package comment.
func micros(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

func parseMicros(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMicro(n).UTC(), err
}

// createArgs returns the fields of a session that lua/create.lua takes, beside ID and user.
func createArgs(s *authkit.StoredSession) []any {
	return []any{
		s.Device, s.Address, micros(s.CreatedAt), micros(s.LastUsedAt), micros(s.ExpiresAt), micros(s.EndsAt),
		s.TokenHash[:], s.ParentHash[:], micros(s.RotatedAt), s.Successor, life(s.CreatedAt, s.ExpiresAt),
	}
}

// parseSession reads what read of lua/common.lua returns. As the other parsers, it passes the
// error of the call on.
func parseSession(id string, reply any, err error) (authkit.StoredSession, error) {
	s := authkit.StoredSession{Session: authkit.Session{ID: id}}
	fields, err := parseTexts(reply, err)
	switch {
	case err != nil:
		return authkit.StoredSession{}, err
	case len(fields) == 0:
		return authkit.StoredSession{}, authkit.ErrSessionNotFound
	case len(fields) != 11 || len(fields[7]) != len(s.TokenHash) || len(fields[8]) != len(s.ParentHash):
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
		{&s.CreatedAt, fields[3]}, {&s.LastUsedAt, fields[4]}, {&s.ExpiresAt, fields[5]}, {&s.EndsAt, fields[6]}, {&s.RotatedAt, fields[9]},
	} {
		if *at.time, err = parseMicros(at.text); err != nil {
			return authkit.StoredSession{}, errReply
		}
	}
	return s, nil
}

// parseEntry reads what entry of lua/common.lua returns.
func parseEntry(entry string) (id, userID string, ok bool) {
	length, rest, _ := strings.Cut(entry, ":")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > len(rest) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

// parseRevocation reads what revocation of lua/common.lua returns.
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

// parsePair reads an answer of a number that is 0 or 1 and, as a rule, something else.
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

// parseTexts reads an answer of texts.
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

// parseCount reads an answer of a number.
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
