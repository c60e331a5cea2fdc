package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authkit-go/authkit/internal/refresh"
)

const (
	defaultIdle     = 7 * 24 * time.Hour
	defaultAbsolute = 30 * 24 * time.Hour
	maxAbsolute     = 400 * 24 * time.Hour
	defaultGrace    = 10 * time.Second
	maxGrace        = time.Minute
	defaultPerUser  = 50
	maxDeviceBytes  = 256
)

// RevocationLife returns how long a [Revocation] matters: longer than every access token that
// it refuses is accepted, by [TokenConfig].MaxLifetime.
func (k *Kit) RevocationLife() time.Duration {
	return time.Duration(k.verifier.maxLife)*time.Second + 2*maxLeeway
}

// A SessionConfig turns sessions on. Then a login also returns a refresh token, which
// [Kit.Refresh] takes once and replaces, and what the login began can be ended: see
// [Kit.Logout]. Let [Kit.Run] delete what has expired.
type SessionConfig struct {
	// Store keeps the sessions; nil means that there are none. A [MemoryStore] can be
	// Users and Store at once.
	Store SessionStore

	// Idle is how long a session lasts without a refresh; zero means 7 days. It is at
	// least as long as an access token lasts.
	Idle time.Duration

	// Absolute is how long a session lasts however often it is refreshed; zero means 30
	// days, 400 days is the most.
	Absolute time.Duration

	// Grace is how long a refresh token that was just used returns the same successor
	// once more, in place of ending the session: two tabs refresh at once, and answers
	// get lost. Zero means 10 seconds, one minute is the most, and a negative value means
	// none. It is longer than StoreTimeout, and by far longer than the clocks of instances
	// differ.
	Grace time.Duration

	// Cookies turns on session cookies, for pages that are rendered on the server, for
	// EventSource and for WebSocket. If nil, they are off, and no cookie authenticates a
	// request.
	Cookies *CookieConfig

	// PerUser is how many sessions a user can have, beyond which a login ends the one that
	// was used longest ago; zero means 50, which is also the most.
	PerUser int
}

// A Session is a login that lasts: an entry in a user's list of devices. It holds no
// secret.
type Session struct {
	ID         string    `json:"id"`
	UserID     string    `json:"-"`
	Device     string    `json:"device"`  // the User-Agent of the login, at most 256 bytes
	Address    string    `json:"address"` // of the client at the last refresh; at most 64 bytes
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"` // the login, or the last refresh
	ExpiresAt  time.Time `json:"expires_at"`   // unless it is refreshed before that
	EndsAt     time.Time `json:"ends_at"`      // the end, however often it is refreshed; never moves

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

	TokenHash  [32]byte  `json:"-"` // of the refresh token that is good now
	ParentHash [32]byte  `json:"-"` // of the one before it; all zeros if there was none
	RotatedAt  time.Time `json:"-"` // when the one replaced the other; zero if never
	Successor  []byte    `json:"-"` // the token that is good now, sealed under the one before it
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

// A Revocation is the reason why access tokens that have not expired are refused: those of
// one session, or, without a SessionID, all that a user was issued before At.
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

// revokeUser ends the sessions of a user but one. Without an exception it also revokes the
// tokens that name the user by e-mail only.
func (k *Kit) revokeUser(ctx context.Context, u *User, except string, at time.Time) error {
	if err := k.sessions.store.RevokeSessions(ctx, u.ID, except, at); err != nil {
		return err
	}
	if !k.emailSubject || except != "" {
		return nil
	}
	return k.sessions.store.RevokeSessions(ctx, emailOwner+u.Email, "", at)
}

// ErrInvalidRefreshToken is returned by [Kit.Refresh] for every refresh token that is
// refused. It says nothing about why; the event does.
var ErrInvalidRefreshToken = errors.New("authkit: invalid refresh token")

var (
	errRefreshMalformed = &refusal{ErrInvalidRefreshToken, ReasonMalformed, nil}
	errRefreshRevoked   = &refusal{ErrInvalidRefreshToken, ReasonRevoked, nil}
	errRefreshExpired   = &refusal{ErrInvalidRefreshToken, ReasonExpired, nil}
	errRefreshReused    = &refusal{ErrInvalidRefreshToken, ReasonReused, nil}
	errRefreshUserGone  = &refusal{ErrInvalidRefreshToken, ReasonUnknownUser, nil}
	errRefreshDisabled  = &refusal{ErrInvalidRefreshToken, ReasonDisabled, nil}
	errRefreshCutOff    = &refusal{ErrInvalidRefreshToken, ReasonCutOff, nil}
	errRefreshLocked    = &refusal{ErrInvalidRefreshToken, ReasonLocked, nil}

	errRefreshUnverified = &refusal{ErrInvalidRefreshToken, ReasonUnverified, nil}
	errRefreshOther      = &refusal{ErrInvalidRefreshToken, ReasonOtherAccount, nil}
)

// errNoSessions is returned by what needs sessions where there are none.
var errNoSessions = errors.New("authkit: sessions are off; set Config.Sessions.Store")

// sessions is a SessionConfig that was checked.
type sessions struct {
	store                 SessionStore
	idle, absolute, grace time.Duration
	perUser               int
	cookies               *cookies // nil: off
}

// newSessions checks the configuration; fault is told what is wrong. It returns nil
// where sessions are off.
func newSessions(cfg SessionConfig, timeout, accessLife time.Duration, fault func(field string, err error)) *sessions {
	if cfg.Store == nil {
		if cfg != (SessionConfig{}) {
			fault("Sessions.Store", errors.New("nil, and without it there are no sessions; set it, for example to a MemoryStore"))
		}
		return nil
	}
	s := &sessions{
		idle:     cmp.Or(cfg.Idle, defaultIdle),
		absolute: cmp.Or(cfg.Absolute, defaultAbsolute),
		grace:    max(0, cmp.Or(cfg.Grace, defaultGrace)),
		perUser:  cmp.Or(cfg.PerUser, defaultPerUser),
	}
	if isEmptyMemory(cfg.Store) {
		fault("Sessions.Store", errors.New("an empty MemoryStore; make it with NewMemoryStore"))
	}
	s.store = timedSessionStore(cfg.Store, timeout)
	if s.absolute <= 0 || s.absolute > maxAbsolute {
		fault("Sessions.Absolute", fmt.Errorf("%v; use up to %v, or 0 for %v", s.absolute, maxAbsolute, defaultAbsolute))
	} else if cfg.Idle == 0 {
		s.idle = min(s.idle, s.absolute)
	}
	if s.idle < accessLife || s.idle > s.absolute {
		fault("Sessions.Idle", fmt.Errorf("%v; use a time from the %v of an access token to the %v of Absolute", s.idle, accessLife, s.absolute))
	}
	if s.grace > 0 && s.grace <= timeout {
		fault("Sessions.Grace", fmt.Errorf("%v, which is over when a store has taken the %v of StoreTimeout; use a longer one, or a shorter StoreTimeout", s.grace, timeout))
	}
	if s.grace > maxGrace {
		fault("Sessions.Grace", fmt.Errorf("%v; use up to %v, 0 for %v, or a negative value for none", s.grace, maxGrace, defaultGrace))
	}
	if cfg.Cookies != nil {
		s.cookies = newCookies(*cfg.Cookies, s, fault)
	}
	if s.perUser < 0 || s.perUser > defaultPerUser {
		fault("Sessions.PerUser", fmt.Errorf("%d; use 1 to %d, or 0 for %d", s.perUser, defaultPerUser, defaultPerUser))
	}
	return s
}

// begin makes a session of the user of a proof, beginning at the time given, and its refresh
// token.
func (s *sessions) begin(ctx context.Context, p Proof, at time.Time) (StoredSession, refresh.Token) {
	token := refresh.New()
	client := ClientFrom(ctx)
	stored := StoredSession{
		Session: Session{
			ID: token.SessionID(), UserID: p.UserID, Device: client.Device, Address: client.Address,
			CreatedAt: at, LastUsedAt: at, EndsAt: at.Add(s.absolute),
			AuthTime: p.AuthTime.UTC().Truncate(time.Microsecond), Methods: slices.Clone(p.Methods),
		},
		TokenHash: token.Hash(),
	}
	stored.ExpiresAt = s.expiry(&stored.Session, at)
	return stored, token
}

// expiry returns when a session expires that is used at a time.
func (s *sessions) expiry(session *Session, at time.Time) time.Time {
	if expiry := at.Add(s.idle); expiry.Before(session.EndsAt) {
		return expiry
	}
	return session.EndsAt
}

// A ClientInfo is where a request comes from, as the list of sessions shows it, and an
// audit log.
type ClientInfo struct {
	Address   string // an IP address, without a port
	Device    string // the User-Agent; the first 256 bytes are kept
	RequestID string // for logs; at most 64 bytes are kept
}

type clientKey struct{}

// WithClient returns a context that tells [Kit.Login], [Kit.Refresh] and [Config].OnEvent
// where a request comes from. The handlers and guards of this package do it by themselves:
// the address is then the one that the connection comes from. Behind a proxy, do it before them, with the address
// that the proxy reports and cannot be made to report by a client.
func WithClient(ctx context.Context, c ClientInfo) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// ClientFrom returns the client of a context, fit to be stored: cut to length, and with a
// space for what does not print. It is the zero ClientInfo where nothing is known.
func ClientFrom(ctx context.Context) ClientInfo {
	c, _ := ctx.Value(clientKey{}).(ClientInfo)
	return ClientInfo{printable(c.Address, 64), printable(c.Device, maxDeviceBytes), printable(c.RequestID, 64)}
}

// printable returns the front of a text as UTF-8, with a space for what does not print.
func printable(s string, limit int) string {
	clean := make([]byte, 0, min(len(s), limit))
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			r = ' '
		}
		if len(clean)+utf8.RuneLen(r) > limit {
			break
		}
		clean = utf8.AppendRune(clean, r)
	}
	return string(clean)
}

// Refresh exchanges a refresh token for an access token and the next refresh token. Each
// refresh token is good for one exchange, of which one caller is the winner. Whoever
// presents it again gets the same successor within [SessionConfig].Grace, if that has not
// been used itself. Whoever does so later, or presents an older one, shows that two parties
// hold tokens of one session: it is ended, for both (RFC 9700 section 4.14.2).
//
// The account is read again: its roles are in the new token, and the session ends if the
// account is disabled, deleted, or was cut off since the login.
//
// The error is ErrInvalidRefreshToken for every reason of the caller's, a *ThrottledError if
// [Config].Throttle refuses the attempt, ErrUnavailable if a store failed, or the context's.
// After the latter two try again soon, with the same token: a store may have made the change
// and lost the answer, and the grace is not long.
func (k *Kit) Refresh(ctx context.Context, refreshToken string) (Token, error) {
	var token Token
	var session Session
	err := k.throttled(ctx, Attempt{Action: ActionRefresh}, func() (err error) {
		token, session, err = k.refresh(ctx, refreshToken)
		return err
	})
	e := Event{Kind: EventSessionRenewed}
	if err != nil {
		e = failureOf(ctx, EventRefreshFailure, err)
		if e.Reason == ReasonReused {
			e.Kind = EventTokenReuse
		}
	}
	e.UserID, e.SessionID = session.UserID, session.ID
	k.emit(ctx, e)
	return token, err
}

// refresh is Refresh without the event. The session is also returned with an error, once
// it is known.
func (k *Kit) refresh(ctx context.Context, text string) (Token, Session, error) {
	if k.sessions == nil {
		return Token{}, Session{}, errNoSessions
	}
	presented, ok := refresh.Parse(text)
	if !ok {
		return Token{}, Session{}, errRefreshMalformed
	}
	s, user, err := k.sessionAndUser(ctx, presented)
	if err != nil {
		return Token{}, s.Session, err
	}
	next, current := presented.Next(), s.TokenHash == presented.Hash()
	if !current {
		if next, err = k.successor(ctx, &s, presented); err != nil {
			return Token{}, s.Session, err
		}
	}
	if err := k.mayRefresh(ctx, &s.Session, user); err != nil {
		return Token{}, s.Session, err
	}
	extra, err := k.extra(ctx, user.User)
	if err != nil {
		return Token{}, s.Session, err
	}
	// The access token comes first: after the rotation nothing can fail any more.
	at := now() // not before the host's hook was done, which may take its time
	token, err := k.issue(*user, extra, &s.Session, Proof{Methods: s.Methods, AuthTime: s.AuthTime}, at)
	if err != nil {
		return Token{}, s.Session, err
	}
	if current {
		if next, err = k.rotate(ctx, &s, presented, next, at); err != nil {
			return Token{}, s.Session, err
		}
	}
	token.RefreshToken = next.Text()
	return token, s.Session, nil
}

// rotate replaces the current token of a session by the next, and returns the one that is
// current then: somebody else may have been first.
func (k *Kit) rotate(ctx context.Context, s *StoredSession, presented, next refresh.Token, at time.Time) (refresh.Token, error) {
	after, rotated, err := k.sessions.store.RotateSession(ctx, s.ID, Rotation{
		Old: s.TokenHash, New: next.Hash(), Successor: presented.Seal(next),
		At: at, ExpiresAt: k.sessions.expiry(&s.Session, at), Address: cmp.Or(ClientFrom(ctx).Address, s.Address),
	})
	if err != nil && !errors.Is(err, ErrSessionNotFound) {
		// The answer may have been lost, and not the rotation: then the client must not
		// come back when the grace is over.
		lost := err
		if after, err = k.sessions.store.SessionByID(ctx, s.ID); err == nil && after.TokenHash == s.TokenHash {
			err = lost
		}
		rotated = after.TokenHash == next.Hash()
	}
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return refresh.Token{}, errRefreshRevoked
	case err != nil:
		return refresh.Token{}, unavailable(ctx, err)
	case !rotated:
		return k.successor(ctx, &after, presented)
	}
	return next, nil
}

// session returns the session that a refresh token belongs to, if it has not expired.
func (k *Kit) session(ctx context.Context, t refresh.Token) (StoredSession, error) {
	s, err := k.sessions.store.SessionByID(ctx, t.SessionID())
	return s, refreshable(ctx, &s, err)
}

// refreshable returns why a session that was looked up cannot be refreshed, or nil.
func refreshable(ctx context.Context, s *StoredSession, err error) error {
	at := now()
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return errRefreshRevoked
	case err != nil:
		return unavailable(ctx, err)
	case !at.Before(s.ExpiresAt) || !at.Before(s.EndsAt):
		return errRefreshExpired
	}
	return nil
}

// sessionAndUser returns the session that a refresh token belongs to, if it has not
// expired, and its account; nil, if that is gone.
func (k *Kit) sessionAndUser(ctx context.Context, t refresh.Token) (StoredSession, *StoredUser, error) {
	s, u, err := k.readBoth(ctx, t.SessionID())
	gone := errors.Is(err, ErrUserNotFound)
	if gone {
		err = nil
	}
	if err := refreshable(ctx, &s, err); err != nil || gone || u.ID != s.UserID {
		return s, nil, err
	}
	return s, &u, nil
}

// readBoth reads a session and its account, in one round trip if the store can. The error is
// ErrSessionNotFound, ErrUserNotFound, or that of a store.
func (k *Kit) readBoth(ctx context.Context, sessionID string) (StoredSession, StoredUser, error) {
	if k.joined != nil {
		return k.joined.SessionUser(ctx, sessionID)
	}
	s, err := k.sessions.store.SessionByID(ctx, sessionID)
	if err != nil {
		return StoredSession{}, StoredUser{}, err
	}
	u, err := k.users.UserByID(ctx, s.UserID)
	return s, u, err
}

// mayRefresh returns why a session must not go on, or nil. The session ends, unless the
// account may log in again later.
func (k *Kit) mayRefresh(ctx context.Context, s *Session, u *StoredUser) error {
	if u == nil {
		return k.end(ctx, s, errRefreshUserGone)
	}
	if s.CreatedAt.Before(u.ValidFrom) {
		return k.end(ctx, s, errRefreshCutOff)
	}
	if leeway := time.Duration(k.verifier.leeway) * time.Second; s.CreatedAt.Add(leeway).Before(u.CreatedAt) {
		return k.end(ctx, s, errRefreshOther) // of the account that had the ID before (FR-10)
	}
	switch k.mayLogIn(u) {
	case errUserDisabled:
		return k.end(ctx, s, errRefreshDisabled)
	case errUserLocked:
		return errRefreshLocked
	case errUnverified:
		return errRefreshUnverified
	}
	return nil
}

// successor returns what a token is answered with that is not the current one: the token
// that replaced it, in the grace, or else the session ends.
func (k *Kit) successor(ctx context.Context, s *StoredSession, presented refresh.Token) (refresh.Token, error) {
	// A clock that is behind by more than the grace does not make it longer.
	if len(s.Successor) > 0 && s.ParentHash == presented.Hash() && k.sessions.grace > 0 && now().Sub(s.RotatedAt).Abs() <= k.sessions.grace {
		next, err := presented.Open(s.Successor)
		if err != nil || next.Hash() != s.TokenHash {
			return refresh.Token{}, fmt.Errorf("authkit: the successor of a refresh token is not as it was stored: %w", cmp.Or(err, refresh.ErrSealed))
		}
		return next, nil
	}
	return refresh.Token{}, k.end(ctx, &s.Session, errRefreshReused)
}

// end ends a session for a reason, which it returns. Whoever hangs up cannot stop it.
func (k *Kit) end(ctx context.Context, s *Session, reason error) error {
	if _, err := k.sessions.store.RevokeSession(context.WithoutCancel(ctx), s.UserID, s.ID, now()); err != nil {
		return &refusal{ErrUnavailable, ReasonStore, errors.Join(reason, err)}
	}
	return reason
}

// Sessions returns the sessions of a user that have not expired, the one used last in front.
func (k *Kit) Sessions(ctx context.Context, userID string) ([]Session, error) {
	if k.sessions == nil {
		return nil, errNoSessions
	}
	all, err := k.sessions.store.SessionsByUser(ctx, userID)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	at := now()
	live := make([]Session, 0, len(all))
	for _, s := range all {
		if at.Before(s.ExpiresAt) {
			live = append(live, s)
		}
	}
	return live, nil
}

// Logout ends a session of a user. Its refresh token is refused from now on, and its
// access tokens at the next request, by every Kit on the same store. The error is
// ErrSessionNotFound if the user has no such session, and ErrUnavailable if the store
// failed: then the session goes on.
func (k *Kit) Logout(ctx context.Context, userID, sessionID string) error {
	if k.sessions == nil {
		return errNoSessions
	}
	revoked, err := k.sessions.store.RevokeSession(ctx, userID, sessionID, now())
	if err != nil {
		return k.storeFailed(ctx, err)
	}
	if !revoked {
		return ErrSessionNotFound
	}
	k.emit(ctx, Event{Kind: EventLogout, UserID: userID, SessionID: sessionID})
	return nil
}

// LogoutOthers ends all sessions of a user but one: the one that asks, as a rule. The
// error is ErrSessionNotFound if the user does not have that one, and then nothing ends;
// or ErrUnavailable.
func (k *Kit) LogoutOthers(ctx context.Context, userID, sessionID string) error {
	if k.sessions == nil {
		return errNoSessions
	}
	s, err := k.sessions.store.SessionByID(ctx, sessionID)
	if errors.Is(err, ErrSessionNotFound) || err == nil && s.UserID != userID {
		return ErrSessionNotFound
	}
	if err == nil {
		err = k.sessions.store.RevokeSessions(ctx, userID, sessionID, now())
	}
	if err != nil {
		return k.storeFailed(ctx, err)
	}
	k.emit(ctx, Event{Kind: EventLogout, UserID: userID})
	return nil
}

// LogoutEverywhere refuses every token that a user was issued until now, of this session
// and all others, whether sessions are on or not. (Where they are off, a token from an
// instance whose clock is ahead is dated ahead, and survives by as much.)
//
// The error is ErrUserNotFound or ErrUnavailable. With the latter the change may have been
// made, or not have reached services that follow the revocations: call it again.
func (k *Kit) LogoutEverywhere(ctx context.Context, userID string) error {
	return k.cutOff(ctx, userID, UserUpdate{}, EventLogout)
}

// Revocations returns why access tokens are refused at the moment that have not expired:
// all revocations with an At that is not before since, as far back as [Kit.RevocationLife].
// It is for services that verify tokens without a store.
//
// The times are those of the clocks of the instances that revoked. An instance whose clock is
// behind adds a Revocation with an earlier At than others have added: do not use the time of
// the last call as since.
func (k *Kit) Revocations(ctx context.Context, since time.Time) ([]Revocation, error) {
	if k.sessions == nil {
		return nil, errNoSessions
	}
	if oldest := now().Add(-k.RevocationLife()); since.Before(oldest) {
		since = oldest
	}
	revoked, err := k.sessions.store.Revocations(ctx, since)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	return revoked, nil
}

// Run deletes expired sessions, revocations and tickets, now and every ten minutes, until ctx
// is done; it returns the error of ctx. An error of a store is an event, and the next round
// tries again. Several instances may run it on one store.
func (k *Kit) Run(ctx context.Context) error {
	const every = 10 * time.Minute
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if k.sessions != nil {
			k.deleteInBatches(ctx, func(at time.Time, batch int) (int, error) {
				return k.sessions.store.DeleteExpired(ctx, at, at.Add(-k.RevocationLife()), batch)
			})
		}
		if k.tickets != nil {
			k.deleteInBatches(ctx, func(at time.Time, batch int) (int, error) {
				return k.tickets.DeleteExpiredTickets(ctx, at, batch)
			})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// deleteInBatches calls a function that deletes a batch until nothing is left, or it fails.
func (k *Kit) deleteInBatches(ctx context.Context, deleteBatch func(at time.Time, batch int) (int, error)) {
	const batch = 1000
	for {
		n, err := deleteBatch(now(), batch)
		if err != nil {
			_ = k.storeFailed(ctx, err)
		}
		if n == 0 || err != nil {
			return
		}
	}
}

// storeFailed returns the error of a store as callers see it, and tells the host.
func (k *Kit) storeFailed(ctx context.Context, err error) error {
	err = unavailable(ctx, err)
	if !hasLeft(ctx) {
		k.emit(ctx, Event{Kind: EventStoreFailure, Reason: ReasonStore, Err: err})
	}
	return err
}
