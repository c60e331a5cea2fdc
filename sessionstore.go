package authkit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Session is a login that goes on: what a person sees in the list of their devices. It
// holds no secret.
type Session struct {
	ID         string    `json:"id"`
	UserID     string    `json:"-"`
	Device     string    `json:"device"`  // the User-Agent of the login, at most 256 bytes
	Address    string    `json:"address"` // of the client, when it was last heard of; at most 64 bytes
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"` // the login, or the last refresh
	ExpiresAt  time.Time `json:"expires_at"`   // unless it is refreshed before that
	EndsAt     time.Time `json:"ends_at"`      // whatever happens; never moves
}

// A StoredSession is a session as it is stored. What is in it gives nobody a token: the
// hashes are those of 256 random bits, and Successor opens with the token that it replaced.
type StoredSession struct {
	Session

	TokenHash  [32]byte  `json:"-"` // of the refresh token that is good now
	ParentHash [32]byte  `json:"-"` // of the one before it; all zeros if there was none
	RotatedAt  time.Time `json:"-"` // when the one replaced the other; zero if never
	Successor  []byte    `json:"-"` // the token that is good now, sealed under the one before it
}

// A Rotation replaces the refresh token of a session.
type Rotation struct {
	Old       [32]byte // the hash that the session has to have
	New       [32]byte
	Successor []byte
	At        time.Time
	ExpiresAt time.Time
	Address   string
}

// Apply returns the session as it is after the rotation: TokenHash has become ParentHash,
// and At is LastUsedAt and RotatedAt.
func (r Rotation) Apply(s StoredSession) StoredSession {
	s.ParentHash, s.TokenHash, s.Successor = s.TokenHash, r.New, r.Successor
	s.RotatedAt, s.LastUsedAt, s.ExpiresAt, s.Address = r.At, r.At, r.ExpiresAt, r.Address
	return s
}

// A Revocation is why access tokens are refused that have not expired: those of one
// session, or, without a SessionID, all that a user was issued before At.
type Revocation struct {
	UserID    string
	SessionID string
	At        time.Time
}

// ErrSessionNotFound is returned by a [SessionStore] for a session it does not have, and by
// [Kit.Logout].
var ErrSessionNotFound = errors.New("authkit: session not found")

// A SessionStore keeps sessions. [MemoryStore] is one; whoever writes another proves it
// with storetest.TestSessionStore.
//
// What an implementation promises is what a [UserStore] does: every method is atomic, safe
// for concurrent use and visible to every later call, texts are compared byte by byte,
// memory is not shared, times come from the caller and are kept to the microsecond or
// better, and a cancelled context ends a call without an effect or with the whole effect.
// In particular:
//   - Of several callers that rotate the same token exactly one wins, and the others are
//     given what it stored: a token never has two successors.
//   - A session that was revoked or deleted never comes back, whatever ran beside it.
//   - A session and the Revocation of its end are one change, and so are all that one call
//     creates and ends.
//   - An ID that a backend could not store, of a NUL or of bytes that are not UTF-8, is one
//     that it does not have, and no failure: clients choose what is looked for.
//   - Zero times and zero hashes come back as zero. An empty Successor may come back as nil.
//   - An error that is not ErrSessionNotFound means that the store failed; requests are
//     then answered 503.
type SessionStore interface {
	// CreateSession stores a new session. If its user then has more than limit, which
	// is at least 1, those at the end of SessionsByUser are revoked at s.CreatedAt, but
	// never s itself; a rotation that runs beside it may count or not. Expired sessions
	// count. An ID that exists, whoever has it, is an error that changes nothing.
	CreateSession(ctx context.Context, s StoredSession, limit int) error

	// SessionByID returns the session, expired or not, or ErrSessionNotFound.
	SessionByID(ctx context.Context, id string) (StoredSession, error)

	// SessionsByUser returns the sessions of a user, expired or not, the one used last
	// in front; of two used at once, the smaller ID.
	SessionsByUser(ctx context.Context, userID string) ([]Session, error)

	// RotateSession changes the session as [Rotation.Apply] says if its TokenHash is
	// r.Old, expired or not, and reports whether it did. Either way it returns the
	// session as it then is, or ErrSessionNotFound.
	RotateSession(ctx context.Context, id string, r Rotation) (s StoredSession, rotated bool, err error)

	// RevokeSession removes the session, if the user has it, adds a Revocation of it,
	// and reports whether there was one. Otherwise it does nothing, without an error; of
	// several callers one is told true.
	RevokeSession(ctx context.Context, userID, id string, at time.Time) (revoked bool, err error)

	// RevokeSessions removes all sessions of a user but the one named, and adds a
	// Revocation of each. If except is empty, it adds one of the user as well, even if
	// there was no session. To name a session that the user does not have keeps none.
	RevokeSessions(ctx context.Context, userID, except string, at time.Time) error

	// Revocations returns the revocations with an At that is not before since, in any
	// order.
	Revocations(ctx context.Context, since time.Time) ([]Revocation, error)

	// DeleteExpired deletes sessions whose ExpiresAt is before at, and revocations
	// whose At is before revokedBefore, limit of each at most (none, if that is not
	// positive), and returns how many rows that were, each of which is counted by one
	// caller. A session that is rotated beside it is deleted before that, or judged by
	// its new ExpiresAt. Nothing is revoked by it.
	DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (deleted int, err error)
}

// Format writes the session without the hashes and the sealed token, for every verb.
func (s StoredSession) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%+v %s}", s.Session, redacted)
}
