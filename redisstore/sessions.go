package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/redis/go-redis/v9"
)

// keepBeyond is how long Redis keeps a session that has expired, unless DeleteExpired comes
// first. It is by far longer than the clocks of instances differ.
const keepBeyond = 24 * time.Hour

// Sessions is an [authkit.SessionStore] on Redis. It is safe for concurrent use, by any
// number of instances. Make it with [NewSessions].
type Sessions struct {
	server
	scripts scripts
}

var _ authkit.SessionStore = (*Sessions)(nil)

// NewSessions returns the sessions that are kept under a prefix. The error joins every
// fault of the client's options and of opts.
//
// The client is a *redis.Client, to one server or made by redis.NewFailoverClient, or a
// *redis.ClusterClient, with ContextTimeoutEnabled and without ReadOnly, RouteByLatency and
// RouteRandomly. A *redis.Ring is refused: when a server leaves it and comes back, sessions
// would that have been ended. The client stays the caller's, to be closed by them; nothing
// is dialled here.
func NewSessions(client redis.UniversalClient, opts Options) (*Sessions, error) {
	on, err := newServer(client, opts)
	if err != nil {
		return nil, err
	}
	return &Sessions{server: on, scripts: newScripts()}, nil
}

func (s *Sessions) sessionKey(id string) string  { return s.prefix + "s:" + id }
func (s *Sessions) userKey(userID string) string { return s.prefix + "u:" + userID } // the set of the user's IDs
func (s *Sessions) expiryKey() string            { return s.prefix + "expiry" }      // entries by ExpiresAt
func (s *Sessions) revokedKey() string           { return s.prefix + "revoked" }     // revocations by At

// CreateSession implements [authkit.SessionStore].
func (s *Sessions) CreateSession(ctx context.Context, session authkit.StoredSession, limit int) error {
	if session.ID == "" {
		return failed(ctx, "CreateSession", errExists)
	}
	keys := []string{s.sessionKey(session.ID), s.userKey(session.UserID), s.expiryKey(), s.revokedKey()}
	args := append([]any{newCall(), session.ID, session.UserID, max(1, limit)}, createArgs(&session)...)
	_, created, err := s.ofUser(ctx, s.scripts.create, keys, args)
	if err == nil && created != int64(1) {
		err = errExists
	}
	return failed(ctx, "CreateSession", err)
}

var errExists = errors.New("the session ID is empty or exists")

// SessionByID implements [authkit.SessionStore]. It is one round trip.
func (s *Sessions) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	reply, err := s.run(ctx, s.scripts.find, []string{s.sessionKey(id)})
	session, err := parseSession(id, reply, err)
	return session, failed(ctx, "SessionByID", err)
}

// SessionsByUser implements [authkit.SessionStore].
func (s *Sessions) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
	ids, reply, err := s.ofUser(ctx, s.scripts.list, []string{s.userKey(userID)}, nil)
	if err != nil {
		return nil, failed(ctx, "SessionsByUser", err)
	}
	records, ok := reply.([]any)
	if !ok || len(records) != len(ids) {
		return nil, failed(ctx, "SessionsByUser", errReply)
	}
	list := make([]authkit.Session, 0, len(ids))
	for i, record := range records {
		session, err := parseSession(ids[i], record, nil)
		switch {
		case errors.Is(err, authkit.ErrSessionNotFound): // Redis has dropped it; DeleteExpired tidies up
		case err != nil:
			return nil, failed(ctx, "SessionsByUser", err)
		default:
			list = append(list, session.Session)
		}
	}
	slices.SortFunc(list, func(a, b authkit.Session) int {
		return cmp.Or(b.LastUsedAt.Compare(a.LastUsedAt), strings.Compare(a.ID, b.ID))
	})
	return list, nil
}

// RotateSession implements [authkit.SessionStore].
func (s *Sessions) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	reply, err := s.run(ctx, s.scripts.rotate, []string{s.sessionKey(id), s.expiryKey()},
		newCall(), id, r.Old[:], r.New[:], r.Successor, micros(r.At), micros(r.ExpiresAt), r.Address, life(r.At, r.ExpiresAt))
	rotated, record, err := parsePair(reply, err)
	session, err := parseSession(id, record, err)
	return session, rotated && err == nil, failed(ctx, "RotateSession", err)
}

// RevokeSession implements [authkit.SessionStore].
func (s *Sessions) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	reply, err := s.run(ctx, s.scripts.revoke, []string{s.sessionKey(id), s.userKey(userID), s.expiryKey(), s.revokedKey()},
		newCall(), id, userID, micros(at))
	n, err := parseCount(reply, err)
	return n == 1, failed(ctx, "RevokeSession", err)
}

// RevokeSessions implements [authkit.SessionStore].
func (s *Sessions) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	keys := []string{s.userKey(userID), s.expiryKey(), s.revokedKey()}
	_, _, err := s.ofUser(ctx, s.scripts.revokeAll, keys, []any{newCall(), userID, except, micros(at)})
	return failed(ctx, "RevokeSessions", err)
}

// Revocations implements [authkit.SessionStore].
func (s *Sessions) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
	reply, err := s.run(ctx, s.scripts.revocations, []string{s.revokedKey()}, micros(since))
	members, err := parseTexts(reply, err)
	if err != nil {
		return nil, failed(ctx, "Revocations", err)
	}
	list := make([]authkit.Revocation, len(members))
	for i, member := range members {
		if list[i], err = parseRevocation(member); err != nil {
			return nil, failed(ctx, "Revocations", err)
		}
	}
	return list, nil
}

// DeleteExpired implements [authkit.SessionStore]. A session that Redis dropped by itself
// counts when what is left of it is deleted. Redis answers nobody else while it deletes a
// batch, which takes a few milliseconds for 1000.
func (s *Sessions) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	limit = max(0, limit)
	reply, err := s.run(ctx, s.scripts.expired, []string{s.expiryKey()}, micros(at), limit)
	entries, err := parseTexts(reply, err)
	if err != nil {
		return 0, failed(ctx, "DeleteExpired", err)
	}
	keys := []string{s.expiryKey(), s.revokedKey()}
	args := []any{micros(at), micros(revokedBefore), limit}
	for _, entry := range entries {
		id, userID, ok := parseEntry(entry)
		if !ok {
			return 0, failed(ctx, "DeleteExpired", errReply)
		}
		keys = append(keys, s.sessionKey(id), s.userKey(userID))
		args = append(args, id, entry)
	}
	reply, err = s.run(ctx, s.scripts.delete, keys, args...)
	n, err := parseCount(reply, err)
	return n, failed(ctx, "DeleteExpired", err)
}

// ofUser runs a script that takes the keys of all sessions of a user. Which those are, the
// script says itself: it returns them until it was given the right ones. The IDs are
// returned with the rest of its answer.
func (s *Sessions) ofUser(ctx context.Context, script *redis.Script, keys []string, args []any) (ids []string, answer any, err error) {
	for {
		k, a := slices.Clip(keys), append([]any{len(ids)}, args...)
		for _, id := range ids {
			k, a = append(k, s.sessionKey(id)), append(a, id)
		}
		reply, err := s.run(ctx, script, k, a...)
		done, answer, err := parsePair(reply, err)
		if done || err != nil {
			return ids, answer, err
		}
		if ids, err = parseTexts(answer, nil); err != nil {
			return nil, nil, err
		}
	}
}

// failed returns the error of a method. ErrSessionNotFound comes from what a script answers:
// all that a server or a connection says is a failure, a nil reply too.
func failed(ctx context.Context, method string, err error) error {
	if err == nil || errors.Is(err, authkit.ErrSessionNotFound) {
		return err
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	return fmt.Errorf("redisstore: %s: %w", method, err)
}

// life returns for how many milliseconds Redis keeps a session that expires at a time.
func life(now, expires time.Time) int64 {
	left := min(max(0, expires.Sub(now)), math.MaxInt64-keepBeyond)
	return (left + keepBeyond).Milliseconds()
}
