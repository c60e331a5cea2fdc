package redisstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/redis/go-redis/v9"
)

var _ authkit.SessionStore = (*Store)(nil)

var errSessionExists = errors.New("the session ID is empty or exists")

func (s *Store) sessionKey(id string) string  { return s.prefix + "s:" + id }
func (s *Store) userKey(userID string) string { return s.prefix + "u:" + userID } // the set of the user's IDs
func (s *Store) expiryKey() string            { return s.prefix + "expiry" }      // entries by ExpiresAt
func (s *Store) revokedKey() string           { return s.prefix + "revoked" }     // revocations by At

// CreateSession implements [authkit.SessionStore].
func (s *Store) CreateSession(ctx context.Context, session authkit.StoredSession, limit int) error {
	if session.ID == "" {
		return failed(ctx, "CreateSession", errSessionExists)
	}
	keys := []string{s.sessionKey(session.ID), s.userKey(session.UserID), s.expiryKey(), s.revokedKey()}
	args := append([]any{newCall(), session.ID, session.UserID, max(1, limit)}, createArgs(&session)...)
	_, created, err := s.ofUser(ctx, s.scripts.create, keys, args)
	if err == nil && created != int64(1) {
		err = errSessionExists
	}
	return failed(ctx, "CreateSession", err)
}

// SessionByID implements [authkit.SessionStore]. It is one round trip.
func (s *Store) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	reply, err := s.run(ctx, s.scripts.find, []string{s.sessionKey(id)})
	session, err := parseSession(id, reply, err)
	return session, failed(ctx, "SessionByID", err)
}

// SessionsByUser implements [authkit.SessionStore].
func (s *Store) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
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
		case errors.Is(err, authkit.ErrSessionNotFound): // expired by Redis; DeleteExpired deletes the rest
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
func (s *Store) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	reply, err := s.run(ctx, s.scripts.rotate, []string{s.sessionKey(id), s.expiryKey()},
		newCall(), id, r.Old[:], r.New[:], r.Successor, micros(r.At), micros(r.ExpiresAt), r.Address, life(r.At, r.ExpiresAt))
	rotated, record, err := parsePair(reply, err)
	session, err := parseSession(id, record, err)
	return session, rotated && err == nil, failed(ctx, "RotateSession", err)
}

// RevokeSession implements [authkit.SessionStore].
func (s *Store) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	reply, err := s.run(ctx, s.scripts.revoke, []string{s.sessionKey(id), s.userKey(userID), s.expiryKey(), s.revokedKey()},
		newCall(), id, userID, micros(at))
	n, err := parseCount(reply, err)
	return n == 1, failed(ctx, "RevokeSession", err)
}

// RevokeSessions implements [authkit.SessionStore].
func (s *Store) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	keys := []string{s.userKey(userID), s.expiryKey(), s.revokedKey()}
	_, _, err := s.ofUser(ctx, s.scripts.revokeAll, keys, []any{newCall(), userID, except, micros(at)})
	return failed(ctx, "RevokeSessions", err)
}

// Revocations implements [authkit.SessionStore].
func (s *Store) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
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

// DeleteExpired implements [authkit.SessionStore].
//
// It also deletes and counts the index entries of sessions that Redis has
// expired. Redis serves no other client while it deletes a batch: a few
// milliseconds for 1000 sessions.
func (s *Store) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	limit = max(0, limit)
	reply, err := s.run(ctx, s.scripts.expired, []string{s.expiryKey()}, "("+micros(at), limit)
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

// ofUser runs a script that takes the keys of all sessions of a user. The
// script returns their IDs until it is called with the right ones. ofUser
// returns these IDs and the rest of the script's reply.
func (s *Store) ofUser(ctx context.Context, script *redis.Script, keys []string, args []any) (ids []string, answer any, err error) {
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
