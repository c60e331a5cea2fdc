package authkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authkit-go/authkit/internal/refresh"
)

const (
	defaultIdle     = 7 * 24 * time.Hour
	defaultAbsolute = 30 * 24 * time.Hour
	maxAbsolute     = 400 * 24 * time.Hour
	defaultGrace    = 10 * time.Second
	maxGrace        = time.Minute
	defaultPerUser  = 50
)

// A SessionConfig turns sessions on. A login then begins a session, which [Kit.Logout]
// ends, and also returns a refresh token, which [Kit.Refresh] exchanges once for the next
// one. [Kit.Run] deletes expired sessions.
type SessionConfig struct {
	// Store keeps the sessions. If nil, sessions are off. One value, such as a
	// [MemoryStore], can be [Config].Users and Store.
	Store SessionStore

	// IdleTimeout is how long a session lasts without a refresh. If zero, it is 7 days. It must
	// be at least the lifetime of an access token.
	IdleTimeout time.Duration

	// AbsoluteTimeout is how long a session lasts, however often it is refreshed. If zero, it is
	// 30 days. The maximum is 400 days.
	AbsoluteTimeout time.Duration

	// ReuseGrace is how long a refresh token can be used again after its first
	// use. Within that time it returns the same successor. After it, reuse ends
	// the session. Reuse is normal if two tabs refresh at once or a response is
	// lost. If zero, ReuseGrace is 10 seconds. The maximum is one minute, and a
	// negative value means none. It must be longer than StoreTimeout, and
	// should be much longer than the difference between the clocks of
	// instances.
	ReuseGrace time.Duration

	// KeepSuccessor extends ReuseGrace until the successor is used. A refresh
	// token that was exchanged returns the same successor again, however late,
	// until the successor has been exchanged or the session ends. So a client
	// stays logged in if it loses the response to a refresh and retries after
	// minutes or days, such as a phone in a tunnel.
	//
	// The price is that a stolen token is detected later. A thief and the user
	// can take turns to refresh and share the session. It ends when one of them
	// presents a token that was exchanged two or more refreshes ago. If
	// KeepSuccessor is false, they can share the session only within
	// ReuseGrace.
	KeepSuccessor bool

	// Cookies turns on session cookies, for pages that are rendered on the server, for
	// EventSource and for WebSocket. If nil, they are off, and no cookie authenticates a
	// request.
	Cookies *SessionCookieConfig

	// MaxPerUser is the maximum number of sessions of a user. A further login ends the session
	// that was used longest ago. If zero, it is 50, which is also the maximum.
	MaxPerUser int
}

// errNoSessions is returned by methods that need sessions, if sessions are off.
var errNoSessions = errors.New("authkit: sessions are off; set Config.Sessions.Store")

// sessions is a SessionConfig that was checked.
type sessions struct {
	store                 SessionStore
	idle, absolute, grace time.Duration
	keepSuccessor         bool
	perUser               int
	cookies               *cookies // nil: off
}

// newSessions checks the configuration, and passes its problems to fault. It
// returns nil if sessions are off.
func newSessions(cfg SessionConfig, timeout, accessLife time.Duration, fault func(field string, err error)) *sessions {
	if cfg.Store == nil {
		if cfg != (SessionConfig{}) {
			fault("Sessions.Store", errors.New("nil, and without it there are no sessions; set it, for example to a MemoryStore"))
		}
		return nil
	}
	s := &sessions{
		idle:     cmp.Or(cfg.IdleTimeout, defaultIdle),
		absolute: cmp.Or(cfg.AbsoluteTimeout, defaultAbsolute),
		grace:    max(0, cmp.Or(cfg.ReuseGrace, defaultGrace)),
		perUser:  cmp.Or(cfg.MaxPerUser, defaultPerUser),

		keepSuccessor: cfg.KeepSuccessor,
	}
	if isEmptyMemory(cfg.Store) {
		fault("Sessions.Store", errors.New("an empty MemoryStore; make it with NewMemoryStore"))
	}
	s.store = timedSessionStore(cfg.Store, timeout)
	if s.absolute <= 0 || s.absolute > maxAbsolute {
		fault("Sessions.AbsoluteTimeout", fmt.Errorf("%v; use up to %v, or 0 for %v", s.absolute, maxAbsolute, defaultAbsolute))
	} else if cfg.IdleTimeout == 0 {
		s.idle = min(s.idle, s.absolute)
	}
	if s.idle < accessLife || s.idle > s.absolute {
		fault("Sessions.IdleTimeout", fmt.Errorf("%v; use a time from the %v of an access token to the %v of Absolute", s.idle, accessLife, s.absolute))
	}
	if s.grace > 0 && s.grace <= timeout {
		fault("Sessions.ReuseGrace", fmt.Errorf("%v, which is over when a store has taken the %v of StoreTimeout; use a longer one, or a shorter StoreTimeout", s.grace, timeout))
	}
	if cfg.KeepSuccessor && cfg.ReuseGrace < 0 {
		fault("Sessions.KeepSuccessor", errors.New("set along with a negative ReuseGrace, which returns no successor again; set one of the two"))
	}
	if s.grace > maxGrace {
		fault("Sessions.ReuseGrace", fmt.Errorf("%v; use up to %v, 0 for %v, or a negative value for none", s.grace, maxGrace, defaultGrace))
	}
	if cfg.Cookies != nil {
		s.cookies = newCookies(*cfg.Cookies, s, fault)
	}
	if s.perUser < 0 || s.perUser > defaultPerUser {
		fault("Sessions.MaxPerUser", fmt.Errorf("%d; use 1 to %d, or 0 for %d", s.perUser, defaultPerUser, defaultPerUser))
	}
	return s
}

// newSession returns a new session for the user of a proof, with its refresh token.
func (s *sessions) newSession(ctx context.Context, p Proof, at time.Time) (StoredSession, refresh.Token) {
	token := refresh.New()
	client := ClientFrom(ctx)
	stored := StoredSession{
		Session: Session{
			ID: token.SessionID(), UserID: p.UserID, Device: client.Device, Address: client.Address,
			CreatedAt: at, LastUsedAt: at, AbsoluteExpiresAt: at.Add(s.absolute),
			AuthTime: p.AuthTime.UTC().Truncate(time.Microsecond), Methods: slices.Clone(p.Methods),
		},
		TokenHash: token.Hash(),
	}
	stored.ExpiresAt = s.expiry(&stored.Session, at)
	return stored, token
}

// expiry returns when a session expires that is used at a time.
func (s *sessions) expiry(session *Session, at time.Time) time.Time {
	if expiry := at.Add(s.idle); expiry.Before(session.AbsoluteExpiresAt) {
		return expiry
	}
	return session.AbsoluteExpiresAt
}

// Sessions returns the sessions of a user that have not expired, the most
// recently used first.
func (k *Kit) Sessions(ctx context.Context, userID string) ([]Session, error) {
	if k.sessions == nil {
		return nil, errNoSessions
	}
	all, err := k.sessions.store.SessionsByUser(ctx, userID)
	if err != nil {
		return nil, k.storeFailed(ctx, err)
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

// LogoutOthers ends all sessions of a user except one, usually that of the
// request.
//
// The errors are:
//   - ErrSessionNotFound if the user does not have that session. No session
//     ends.
//   - ErrUnavailable if the store failed.
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

// LogoutEverywhere refuses every token that a user was issued so far, of all
// sessions. It also works if sessions are off. In that case, the tokens of an
// instance whose clock is ahead may survive: those that are dated after the
// call.
//
// The error is ErrForbidden as in [Kit.SetFullName], ErrUserNotFound or
// ErrUnavailable. After ErrUnavailable, call it again: it is not known whether
// the change was made, or whether services that follow the revocations will see
// it.
func (k *Kit) LogoutEverywhere(ctx context.Context, userID string) error {
	if err := k.mayAct(ctx); err != nil {
		return err
	}
	return k.revokeAll(ctx, userID, UserUpdate{}, EventLogout)
}

// RevocationLife returns how long a [Revocation] must be kept. By then every
// access token that it refuses has expired; see [TokenConfig].MaxLifetime.
func (k *Kit) RevocationLife() time.Duration {
	return time.Duration(k.verifier.maxLife)*time.Second + 2*maxLeeway
}

// Revocations returns the revocations whose At is not before since, and that
// are not older than [Kit.RevocationLife]. Use it to inform services that
// verify tokens without a store. Package revocation does so.
//
// Each At is the time of the instance that revoked. If its clock is behind, a
// new Revocation has an At in the past. Do not pass the time of the last call
// as since: the next call would miss it.
func (k *Kit) Revocations(ctx context.Context, since time.Time) ([]Revocation, error) {
	if k.sessions == nil {
		return nil, errNoSessions
	}
	if oldest := now().Add(-k.RevocationLife()); since.Before(oldest) {
		since = oldest
	}
	revoked, err := k.sessions.store.Revocations(ctx, since)
	if err != nil {
		return nil, k.storeFailed(ctx, err)
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
