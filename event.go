package authkit

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// An EventKind says what happened. The names follow the OWASP logging vocabulary
// where it has one.
type EventKind string

// The kinds of events.
const (
	EventLoginSuccess   EventKind = "authn_login_success"
	EventLoginFailure   EventKind = "authn_login_fail"
	EventLoginChallenge EventKind = "authn_login_challenge"      // the first factor is right, another is missing
	EventLoginThrottled EventKind = "authn_login_fail_max"       // refused for the failures of the account before it
	EventRateLimited    EventKind = "excess_rate_limit_exceeded" // refused for those of the address
	EventTokenRefused   EventKind = "authn_token_refused"
	EventAccessDenied   EventKind = "authz_fail"
	EventSessionRenewed EventKind = "session_renewed" // a refresh
	EventRefreshFailure EventKind = "authn_refresh_fail"
	EventTokenReuse     EventKind = "authn_token_reuse" // of a refresh token: the session was ended
	EventLogout         EventKind = "authn_logout"      // without a session: of several
	EventPasswordRehash EventKind = "authn_password_rehash"
	EventPasswordCheck  EventKind = "authn_password_check" // a logged-in user was asked for the password; with a Reason it was wrong
	EventPasswordChange EventKind = "authn_password_change"
	EventUserCreated    EventKind = "user_created"
	EventUserUpdated    EventKind = "user_updated" // the name or the e-mail
	EventRolesChanged   EventKind = "authz_change"
	EventUserLocked     EventKind = "authn_login_lock"
	EventUserUnlocked   EventKind = "authn_login_unlock"
	EventUserDisabled   EventKind = "user_disabled"
	EventUserEnabled    EventKind = "user_enabled"
	EventUserDeleted    EventKind = "user_deleted"
	EventStoreFailure   EventKind = "sys_store_fail"
	EventMailFailure    EventKind = "sys_mail_fail" // a mail could not be sent
)

// A Reason says why something failed. It is for operators: no client is ever told
// more than the one neutral answer.
type Reason string

// The reasons that events carry.
const (
	ReasonUnknownUser    Reason = "unknown_user"    // no account has that e-mail, or that subject any more
	ReasonWrongPassword  Reason = "wrong_password"  // or one that no scheme can take
	ReasonNoPassword     Reason = "no_password"     // the account has none
	ReasonUnreadableHash Reason = "unreadable_hash" // the stored hash is broken, foreign, or too costly
	ReasonDisabled       Reason = "disabled"        // the account is
	ReasonLocked         Reason = "locked"          // the account is; see [Kit.LockUser]
	ReasonUnverified     Reason = "unverified"      // the e-mail address is, and [Config].RequireVerifiedEmail is set
	ReasonWrongCode      Reason = "wrong_code"      // of a second factor
	ReasonWrongProof     Reason = "wrong_proof"     // refused by the function of a [Kit.LoginWith]
	ReasonMissingFactor  Reason = "missing_factor"  // another factor, or a more recent login, is required
	ReasonTooMany        Reason = "too_many"        // two credentials in one request
	ReasonCrossOrigin    Reason = "cross_origin"    // a session cookie on a request of another origin
	ReasonMachine        Reason = "machine"         // a machine credential, on a route for persons
	ReasonOverloaded     Reason = "overloaded"      // too many logins at once
	ReasonThrottled      Reason = "throttled"       // too many failures before it; see [Throttle]
	ReasonStore          Reason = "store"           // the store failed
	ReasonCanceled       Reason = "canceled"        // the client has left
	ReasonTimeout        Reason = "timeout"         // the request's time was up
	ReasonInternal       Reason = "internal"        // a hook or a hasher failed
	ReasonMalformed      Reason = "malformed"       // not a token, or one with a header that no key of ours has
	ReasonTooLarge       Reason = "too_large"       // longer than [TokenConfig].MaxBytes
	ReasonBadSignature   Reason = "bad_signature"   // no key of ours signed it
	ReasonBadClaims      Reason = "bad_claims"      // a claim is missing, broken, or for somebody else
	ReasonExpired        Reason = "expired"         // it was good once
	ReasonNotYetValid    Reason = "not_yet_valid"   // by iat or nbf
	ReasonOtherAccount   Reason = "other_account"   // the subject belongs to another account than it did
	ReasonRevoked        Reason = "revoked"         // the session was ended
	ReasonReused         Reason = "reused"          // a refresh token that was used before
	ReasonCutOff         Reason = "cut_off"         // from before a password change, or a logout everywhere
	ReasonMissingRole    Reason = "missing_role"    // or a missing permission
)

// An Event is a security event. It is delivered while it happens, so it carries no time. It
// never holds a password, a hash, a token or a name that a client sent. Err may hold any text
// that a store or a hook of your program returned.
type Event struct {
	Kind EventKind

	// UserID is the account that the event is about; empty if none is known. ActorID is the
	// one who acted: a user ID, "service:" or "system:" and a name, or empty if the actor
	// is the user or has not been authenticated.
	UserID  string
	ActorID string

	SessionID string // empty if there is none, or several
	Reason    Reason // empty on success
	Route     string // of EventAccessDenied: the pattern that the request matched, if any
	Err       error  // the cause, if something failed instead of being refused
}

// Emit delivers an event of a feature to [Config].OnEvent and the log. Within [Kit.InTx] an
// event without a Reason and an Err waits for the commit. Programs listen to events, and need
// not emit any.
func (k *Kit) Emit(ctx context.Context, e Event) { k.emit(ctx, e) }

// level returns how loud an event is in a log.
func (e Event) level() slog.Level {
	switch {
	case e.Kind == EventStoreFailure || e.Reason == ReasonStore || e.Reason == ReasonUnreadableHash:
		return slog.LevelError
	case e.Kind == EventTokenRefused, e.Kind == EventRefreshFailure, e.Reason == ReasonOverloaded, e.Reason == ReasonThrottled, e.Reason == ReasonMalformed: // anyone can cause any number of them
		return slog.LevelDebug
	case e.Kind == EventAccessDenied && e.UserID == "" && e.ActorID == "": // the same, without an account
		return slog.LevelDebug
	case e.Reason != "" || e.Err != nil:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// LogEvents returns a listener that logs events. A Kit and a Guard have one; see
// [Config].Logger. Use it for parts that are configured alone, such as a throttle. A nil
// logger is slog.Default() at the time of the event.
//
// The levels are:
//   - Error for errors of a store.
//   - Warn for failed logins, reused refresh tokens, and denied requests of a user or a
//     machine that was authenticated.
//   - Debug for events that any client can cause in any number: refused tokens, other denied
//     requests, throttled attempts, and logins that found the gate full.
//   - Info for all others.
//
// A request without a credential is no event.
func LogEvents(configured *slog.Logger) func(context.Context, Event) {
	return func(ctx context.Context, e Event) {
		logger := configured
		if logger == nil {
			logger = slog.Default()
		}
		level := e.level()
		if !logger.Enabled(ctx, level) {
			return
		}
		attrs := make([]slog.Attr, 0, 6)
		for _, a := range []slog.Attr{
			slog.String("user_id", e.UserID),
			slog.String("actor_id", e.ActorID),
			slog.String("session_id", e.SessionID),
			slog.String("reason", string(e.Reason)),
			slog.String("route", e.Route),
		} {
			if a.Value.String() != "" {
				attrs = append(attrs, a)
			}
		}
		if e.Err != nil {
			attrs = append(attrs, slog.String("error", e.Err.Error()))
		}
		logger.LogAttrs(ctx, level, string(e.Kind), attrs...)
	}
}

// listeners returns the one function that delivers an event to the log and to the
// listeners of a configuration.
func listeners(logger *slog.Logger, more []func(context.Context, Event), fault func(field string, err error)) func(context.Context, Event) {
	all := append([]func(context.Context, Event){LogEvents(logger)}, more...)
	if slices.ContainsFunc(more, func(f func(context.Context, Event)) bool { return f == nil }) {
		fault("OnEvent", errors.New("a nil function; leave it out"))
	}
	return func(ctx context.Context, e Event) {
		if e.ActorID == "" {
			e.ActorID = actorOf(ctx, e.UserID)
		}
		for _, f := range all {
			f(ctx, e)
		}
	}
}

// actorOf returns the [Event].ActorID of a context, for an event about a user.
func actorOf(ctx context.Context, userID string) string {
	c := fromContext(ctx)
	if c == nil {
		return ""
	}
	if actor := c.actor(); actor != userID {
		return actor
	}
	return ""
}

// Stats are how a [Kit] or a [Guard] is doing, for metrics. Counts are those since New; all
// but Verified are zero for a Guard.
type Stats struct {
	Verified uint64        // access tokens that were found good
	Hashing  int           // password hashes that run now
	Waiting  int           // callers that wait for their turn to hash
	Hashed   uint64        // turns that were had
	Waited   time.Duration // for those turns, in all
}

// Stats returns how the Kit is doing.
func (k *Kit) Stats() Stats {
	g := k.gate.Stats()
	return Stats{k.guard.good.Load(), g.Inside, g.Waiting, g.Entered, g.Waited}
}

// Stats returns how many tokens the Guard found good.
func (g *Guard) Stats() Stats { return Stats{Verified: g.good.Load()} }

// reasonOf returns what the event of an error says: why, and what is broken.
func reasonOf(ctx context.Context, err error) (Reason, error) {
	r, ok := errors.AsType[*refusal](err)
	switch {
	case ok:
		return r.reason, r.cause
	case isThrottled(err):
		return ReasonThrottled, nil
	case errors.Is(err, ErrUnavailable):
		return ReasonStore, err
	case errors.Is(err, ErrUserNotFound):
		return ReasonUnknownUser, err
	case isWrongProof(err):
		return ReasonWrongProof, nil
	case hasLeft(ctx):
		return ReasonCanceled, err
	case errors.Is(err, context.DeadlineExceeded):
		return ReasonTimeout, err
	}
	return ReasonInternal, err
}

// failureOf returns the event of an error: of the kind given, or of an attempt that was not
// let in.
func failureOf(ctx context.Context, kind EventKind, err error) Event {
	e := Event{Kind: kind}
	if t, ok := errors.AsType[*ThrottledError](err); ok {
		e.Kind = t.event()
	}
	e.Reason, e.Err = reasonOf(ctx, err)
	return e
}

// storeFailed returns the error of a store as callers see it, and tells the host.
func (k *Kit) storeFailed(ctx context.Context, err error) error {
	err = unavailable(ctx, err)
	if !hasLeft(ctx) {
		k.emit(ctx, Event{Kind: EventStoreFailure, Reason: ReasonStore, Err: err})
	}
	return err
}
