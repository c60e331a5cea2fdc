package authkit

import (
	"context"
	"log/slog"
	"time"
)

// An EventKind says what happened. The names follow the OWASP logging vocabulary
// where it has one.
type EventKind string

// The kinds of events.
const (
	EventLoginSuccess   EventKind = "authn_login_success"
	EventLoginFailure   EventKind = "authn_login_fail"
	EventLoginThrottled EventKind = "authn_login_fail_max"       // refused for the failures of the account before it
	EventRateLimited    EventKind = "excess_rate_limit_exceeded" // refused for those of the address
	EventTokenRefused   EventKind = "authn_token_refused"
	EventAccessDenied   EventKind = "authz_fail"
	EventSessionRenewed EventKind = "session_renewed" // a refresh
	EventRefreshFailure EventKind = "authn_refresh_fail"
	EventTokenReuse     EventKind = "authn_token_reuse" // of a refresh token: the session was ended
	EventLogout         EventKind = "authn_logout"      // without a session: of several
	EventPasswordRehash EventKind = "authn_password_rehash"
	EventPasswordChange EventKind = "authn_password_change"
	EventUserCreated    EventKind = "user_created"
	EventUserDisabled   EventKind = "user_disabled"
	EventUserDeleted    EventKind = "user_deleted"
	EventStoreFailure   EventKind = "sys_store_fail"
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
	ReasonOverloaded     Reason = "overloaded"      // too many logins at once
	ReasonThrottled      Reason = "throttled"       // too many failures before it; see [Throttle]
	ReasonStore          Reason = "store"           // the store failed
	ReasonCanceled       Reason = "canceled"        // the client has left
	ReasonTimeout        Reason = "timeout"         // the request's time was up
	ReasonInternal       Reason = "internal"        // a hook or a hasher failed
	ReasonMalformed      Reason = "malformed"       // not a token, or too long, or one with a header that no key of ours has
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

// An Event is something that security monitoring wants to know. It is told while it
// happens: its time is now. It never holds a password, a hash, a token, or a name that
// somebody typed; Err, though, holds whatever the store or a hook of the host's wrote.
type Event struct {
	Kind      EventKind
	UserID    string // empty where no account is known
	SessionID string // empty where there is none, or several
	Reason    Reason // empty on success
	Route     string // of EventAccessDenied: the pattern that the request matched, if any
	Err       error  // the cause, where something broke rather than was refused
}

// level returns how loud an event is in a log.
func (e Event) level() slog.Level {
	switch {
	case e.Kind == EventStoreFailure || e.Reason == ReasonStore || e.Reason == ReasonUnreadableHash:
		return slog.LevelError
	case e.Kind == EventTokenRefused, e.Kind == EventRefreshFailure, e.Reason == ReasonOverloaded, e.Reason == ReasonThrottled: // anyone can cause any number of them
		return slog.LevelDebug
	case e.Reason != "" || e.Err != nil:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// LogEvents returns a function for [Config].OnEvent that logs events: errors of
// the store at level Error, failed logins, denied requests and reused refresh tokens at
// Warn, refused tokens of either kind, what is throttled, and logins that found the gate
// full at Debug, the rest at Info.
func LogEvents(logger *slog.Logger) func(context.Context, Event) {
	return func(ctx context.Context, e Event) {
		level := e.level()
		if !logger.Enabled(ctx, level) {
			return
		}
		attrs := make([]slog.Attr, 0, 5)
		for _, a := range []slog.Attr{
			slog.String("user_id", e.UserID),
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

// emit tells the host of an event.
func (k *Kit) emit(ctx context.Context, e Event) { k.onEvent(ctx, e) }

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
