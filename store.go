package authkit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrUserNotFound is returned by a [UserStore] for an account that it does not have.
	ErrUserNotFound = errors.New("authkit: user not found")

	// ErrEmailTaken is returned by a [UserStore] for a second account with the
	// same e-mail.
	ErrEmailTaken = errors.New("authkit: e-mail taken")

	// ErrConflict is returned for a change to an account whose Version is not
	// the expected one, because another change came first. Read the account
	// again.
	ErrConflict = errors.New("authkit: the account was changed meanwhile")

	// ErrLastAdmin is returned for a change that would leave no enabled account with
	// the role [Config].AdminRole.
	ErrLastAdmin = errors.New("authkit: the last administrator stays")

	// ErrUnstorable is returned by a [UserStore] for a value that its database
	// cannot hold, such as a letter outside the character set of the
	// connection. Another try would fail too, so the status of the response is
	// 422 and not 503.
	ErrUnstorable = errors.New("authkit: the database cannot hold a value")

	// ErrSessionNotFound is returned by a [SessionStore] for a session that it does not
	// have, and by [Kit.Logout].
	ErrSessionNotFound = errors.New("authkit: session not found")

	// ErrTicketNotFound is returned by a [TicketStore] for a ticket that it does not
	// have, that has expired, or that has no attempts left.
	ErrTicketNotFound = errors.New("authkit: ticket not found")
)

// A UserStore stores accounts. [MemoryStore] is one, and package sqlstore has
// another. Test an implementation with storetest.TestUserStore.
//
// A store does not validate accounts, check rights or emit events. Programs
// create and change accounts with the methods of a [Kit], such as
// [Kit.CreateUser] and [Kit.SetRoles], which do all of that.
//
// Rules for implementations:
//   - Every method is atomic, safe for concurrent use, and visible to every
//     later call once it has returned. Of several callers that create the same
//     e-mail, or change the same version, exactly one succeeds.
//   - E-mails and IDs are compared byte by byte. The caller has put e-mails
//     into the form of [NormalizeEmail].
//   - Clients choose the IDs, e-mails and prefixes that are looked up. A
//     look-up of a text that a backend cannot store, with a NUL or invalid
//     UTF-8, finds no account and does not fail.
//   - Arguments and results share no memory with the stored accounts.
//   - Times come from the caller; a store has no clock. It keeps them to the
//     microsecond or better. Zero times are returned as zero.
//   - The errors named below are matched with errors.Is. Every other error
//     means that the store failed; requests then get 503.
//   - A call whose context is cancelled returns early with an error. It has no
//     effect or its whole effect. A Kit gives every call a deadline; see
//     [Config].StoreTimeout.
type UserStore interface {
	// CreateUser stores a new account with Version 1, whatever u.Version is. If
	// another account has the e-mail, it returns ErrEmailTaken and changes
	// nothing. An ID that is empty or exists is an error.
	CreateUser(ctx context.Context, u StoredUser) error

	// UserByID returns the account with the ID, or ErrUserNotFound.
	UserByID(ctx context.Context, id string) (StoredUser, error)

	// UserByEmail returns the account with the e-mail, or ErrUserNotFound.
	UserByEmail(ctx context.Context, email string) (StoredUser, error)

	// ListUsers returns the accounts that q selects, in the byte order of their
	// IDs. IDs of [NewUserID] sort by creation time. It returns no account if
	// q.Limit is not positive.
	ListUsers(ctx context.Context, q UserQuery) ([]User, error)

	// CountUsers returns the number of accounts that q selects, ignoring
	// q.After and q.Limit.
	CountUsers(ctx context.Context, q UserQuery) (int, error)

	// UpdateUser makes all of the changes to an account, sets its UpdatedAt to at, adds
	// one to its Version, and returns it as it then is. Otherwise it changes nothing and
	// returns ErrUserNotFound, ErrEmailTaken, ErrConflict or ErrLastAdmin; see the
	// preconditions of [UserUpdate]. Two updates with KeepRole never both succeed if that
	// leaves no enabled and unlocked holder of the role.
	UpdateUser(ctx context.Context, id string, change UserUpdate, at time.Time) (User, error)

	// DeleteUser removes the account, or returns ErrUserNotFound. If keepRole is not
	// empty, it returns ErrLastAdmin, and removes nothing, unless at least one enabled
	// account has that role afterwards, locked or not.
	DeleteUser(ctx context.Context, id, keepRole string) error
}

// A Session is a login that lasts: an entry in a user's list of devices. It holds no
// secret.
type Session struct {
	ID                string    `json:"id"`
	UserID            string    `json:"-"`
	Device            string    `json:"device"`  // the User-Agent of the login, at most 256 bytes
	Address           string    `json:"address"` // of the client at the last refresh; at most 64 bytes
	CreatedAt         time.Time `json:"created_at"`
	LastUsedAt        time.Time `json:"last_used_at"`        // the login, or the last refresh
	ExpiresAt         time.Time `json:"expires_at"`          // unless it is refreshed before that
	AbsoluteExpiresAt time.Time `json:"absolute_expires_at"` // the end at the latest; fixed at the login

	// AuthTime is when the user authenticated, and Methods is how: names of RFC 8176
	// such as "pwd" and "otp". A refresh changes neither. They are zero for a session that
	// was stored before they were recorded.
	AuthTime time.Time `json:"auth_time,omitzero"`
	Methods  []string  `json:"amr,omitempty"`
}

// A StoredSession is a session as a [SessionStore] keeps it. Nothing in it is a token: the
// hashes are those of 256 random bits, and Successor opens only with the token that it
// replaced.
type StoredSession struct {
	Session

	TokenHash  [32]byte  `json:"-"` // of the current refresh token
	ParentHash [32]byte  `json:"-"` // of the previous refresh token; all zeros if there was none
	RotatedAt  time.Time `json:"-"` // when the current token replaced the previous one; zero if never
	Successor  []byte    `json:"-"` // the current token, encrypted with the previous one
}

// Format implements fmt.Formatter. It prints the session without the hashes and the sealed
// token, for every verb.
func (s StoredSession) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%+v %s}", s.Session, redacted)
}

// A Rotation replaces the refresh token of a session.
type Rotation struct {
	Old       [32]byte // the hash that the session must have
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

// A Revocation refuses access tokens before they expire. With a SessionID it
// refuses those of one session. Without a SessionID it refuses all tokens that
// the user was issued before At.
type Revocation struct {
	UserID    string
	SessionID string
	At        time.Time
}

// emailOwner begins the UserID of a [Revocation] of all tokens whose subject is an e-mail and
// that have no user ID. It is a control character, so no account has such an ID.
const emailOwner = "\x01"

// Email returns the e-mail that is the subject of the revoked tokens, or "" for a Revocation
// of a session or a user ID. A Kit with [Config].EmailSubject adds such a Revocation to that
// of a user, for services that know no user IDs.
func (r Revocation) Email() string {
	email, _ := strings.CutPrefix(r.UserID, emailOwner)
	if email == r.UserID {
		return ""
	}
	return email
}

// A SessionStore keeps sessions. [MemoryStore] is one; packages sqlstore and redisstore
// have others. An implementation of your own is correct if it passes
// storetest.TestSessionStore.
//
// The rules for a [UserStore] apply. In addition:
//   - Of several callers that rotate the same token exactly one succeeds. The
//     others get the token that it stored: a token never has two successors.
//   - A session that was revoked or deleted never comes back, whatever runs at
//     the same time.
//   - A session and the Revocation of its end are one change, and so are all
//     that one call creates and ends.
//   - Clients choose the IDs that are looked up. An ID that a backend cannot
//     store, with a NUL or invalid UTF-8, counts as not found.
//   - Zero times and zero hashes are returned as zero. An empty Successor or
//     Methods may be returned as nil. A session stored before AuthTime and
//     Methods existed has neither.
//   - An error other than ErrSessionNotFound means that the store failed;
//     requests then get 503.
type SessionStore interface {
	// CreateSession stores a new session. If its user then has more than limit,
	// which is at least 1, those at the end of SessionsByUser are revoked at
	// s.CreatedAt, but never s itself. The order may or may not include the
	// effect of a concurrent rotation. Expired sessions count. An ID that
	// exists, for any user, is an error that changes nothing.
	CreateSession(ctx context.Context, s StoredSession, limit int) error

	// SessionByID returns the session, expired or not, or ErrSessionNotFound.
	SessionByID(ctx context.Context, id string) (StoredSession, error)

	// SessionsByUser returns the sessions of a user, expired or not, the most
	// recently used first. Of two that were used at the same time, the one with
	// the smaller ID comes first.
	SessionsByUser(ctx context.Context, userID string) ([]Session, error)

	// RotateSession applies [Rotation.Apply] to the session if its TokenHash is
	// r.Old, expired or not, and reports whether it did. In both cases it
	// returns the current session, or ErrSessionNotFound.
	RotateSession(ctx context.Context, id string, r Rotation) (s StoredSession, rotated bool, err error)

	// RevokeSession removes the session if the user has it, adds its
	// Revocation, and reports whether there was one. Otherwise it does nothing
	// and returns no error. Of several callers exactly one gets true.
	RevokeSession(ctx context.Context, userID, id string, at time.Time) (revoked bool, err error)

	// RevokeSessions removes all sessions of a user except one, and adds a
	// Revocation of each. If except is empty, it also adds one of the user,
	// even if there was no session. If except is not a session of the user, all
	// sessions are removed.
	RevokeSessions(ctx context.Context, userID, except string, at time.Time) error

	// Revocations returns the revocations with an At that is not before since, in any
	// order.
	Revocations(ctx context.Context, since time.Time) ([]Revocation, error)

	// DeleteExpired deletes sessions whose ExpiresAt is before at, and
	// revocations whose At is before revokedBefore, at most limit of each. If
	// limit is not positive, it deletes none. It returns the number of deleted
	// rows, each of which is counted by one caller. A session that is rotated
	// at the same time is deleted before that, or judged by its new ExpiresAt.
	// It adds no revocations.
	DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (deleted int, err error)
}

// A SessionUserStore is a [SessionStore] that also stores the accounts and
// reads both in one round trip. The capability is optional: a Kit uses it if
// one value is both [Config].Users and [SessionConfig].Store and has this
// method.
type SessionUserStore interface {
	// SessionUser returns the session, as SessionByID does, and its account. It
	// returns ErrSessionNotFound, or ErrUserNotFound if the session exists and
	// the account does not.
	SessionUser(ctx context.Context, sessionID string) (StoredSession, StoredUser, error)
}

// A UserBatchStore is a [UserStore] that creates several accounts in one round
// trip. The capability is optional: [Kit.ImportUsers] uses it if [Config].Users
// has this method. Test an implementation with storetest.TestUserBatchStore.
type UserBatchStore interface {
	// CreateUsers stores all new accounts as CreateUser does, or none. It
	// returns ErrEmailTaken if another account has one of the e-mails, or if
	// two of the new ones have the same. An ID that is empty or exists is an
	// error. A transaction of ctx stays usable after either error. A Kit passes
	// at most 500 accounts.
	CreateUsers(ctx context.Context, users []StoredUser) error
}

// A TicketStore stores tickets: short-lived records that are used once, such as
// a pending login, a link in an e-mail, or the state of a redirect.
// [MemoryStore] is one; packages sqlstore and redisstore have others. Test an
// implementation with storetest.TestTicketStore.
//
// The rules for a [UserStore] apply. In addition:
//   - Of several callers that consume one ticket exactly one succeeds.
//   - Attempts are counted before the token is compared. However many calls of
//     AttemptTicket run at once, at most MaxAttempts of them return the ticket.
//   - The Kind is a part of the key: a ticket is never found under another
//     kind.
//   - A look-up of a kind, ID or subject that a backend cannot store finds no
//     ticket and does not fail.
type TicketStore interface {
	// PutTicket stores a new ticket. If t.Subject is not empty, it removes the other
	// tickets of the same Kind and Subject, in the same change. A Kind and ID that exist
	// are an error that changes nothing.
	PutTicket(ctx context.Context, t Ticket) error

	// AttemptTicket adds one to the Attempts of a ticket and returns the new
	// ticket. It returns ErrTicketNotFound, and counts nothing, if there is
	// none, if its ExpiresAt is not after at, or if its Attempts have reached
	// MaxAttempts.
	AttemptTicket(ctx context.Context, kind, id string, at time.Time) (Ticket, error)

	// ConsumeTicket removes a ticket. It returns ErrTicketNotFound if there is none, or
	// if its ExpiresAt is not after at; the number of attempts does not matter.
	ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error

	// DeleteTickets removes the tickets of a subject, of all kinds. It returns
	// nil if there are none. If the subject is empty, it removes none.
	DeleteTickets(ctx context.Context, subject string) error

	// DeleteExpiredTickets removes at most limit tickets whose ExpiresAt is not
	// after at, and returns the number of removed tickets. If limit is not
	// positive, it removes none.
	DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (deleted int, err error)
}

// A Transactor is a store that combines several calls into one change.
// [MemoryStore] and sqlstore.DB are. Test an implementation with
// storetest.TestTransactor.
type Transactor interface {
	// InTx calls f with a context that carries a transaction and the values of
	// ctx. Calls of the store with that context, or with one derived from it,
	// are part of the transaction and see its changes. If f returns nil, the
	// transaction is committed. If f returns an error, it is rolled back and
	// InTx returns that error unchanged. If f panics, it is rolled back and the
	// panic continues.
	//
	// A call within f that returns a sentinel error of this package, such as
	// ErrEmailTaken or ErrConflict, has changed nothing. f may continue, and
	// return nil.
	//
	// Called with the context of a transaction, InTx joins it: f runs within,
	// and nothing is committed before the outer one is. If the inner f fails or
	// panics, the outer transaction is rolled back, and the outer InTx returns
	// an error even if its own f returns nil.
	//
	// Writes with other contexts wait for the transaction to end, or fail
	// without an effect. No change is lost, on either side, whether the
	// transaction is committed or rolled back. Within f, use only the given
	// context: a call with another one may wait for the transaction that it is
	// called from.
	//
	// If ctx is cancelled before the commit, the transaction is rolled back or
	// completely committed. InTx returns nil only if it is committed.
	//
	// A store may call f again after a deadlock, so f must have no effect
	// except on the store. The context is for one goroutine at a time, and must
	// not be used after f has returned.
	InTx(ctx context.Context, f func(ctx context.Context) error) error
}

// UserData is implemented by features that store data about users. A Kit calls
// the implementations in [Config].UserData when an account is deleted, reset or
// exported (see [Kit.DeleteUser], [Kit.ResetUser] and [Kit.ExportUser]), within
// the transaction of that change. If its store fails, an implementation returns an
// error that wraps ErrUnavailable. Clients then get a 503, otherwise a 500.
type UserData interface {
	// Name names the data in an export, such as "totp".
	Name() string

	// Wipe removes the data of a user. It returns nil if there is none.
	Wipe(ctx context.Context, userID string, what Wipe) error

	// Export returns the data of a user, without secrets, as a value that encodes as
	// JSON; nil if there is none.
	Export(ctx context.Context, userID string) (any, error)
}

// A Wipe selects the data of a user that [UserData] removes.
type Wipe int

const (
	// WipeCredentials removes every credential with which a party can act as
	// the user: factors, passkeys, API keys, links to other providers, trusted
	// devices.
	WipeCredentials Wipe = iota + 1

	// WipeAll removes everything: the account is deleted.
	WipeAll
)

// now is the time as stores keep it.
func now() time.Time { return toMicroseconds(time.Now()) }

func toMicroseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
