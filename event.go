package authkit

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// An EventKind is the type of an [Event]. The names follow the OWASP logging
// vocabulary where it has one.
type EventKind string

// The kinds of events.
const (
	EventLoginSuccess    EventKind = "authn_login_success"
	EventLoginFailure    EventKind = "authn_login_fail"
	EventLoginChallenge  EventKind = "authn_login_challenge"      // the first factor is right, another is missing
	EventLoginThrottled  EventKind = "authn_login_fail_max"       // refused because of earlier failures of the account
	EventRateLimited     EventKind = "excess_rate_limit_exceeded" // refused because of earlier failures of the address
	EventTokenRefused    EventKind = "authn_token_refused"
	EventAccessDenied    EventKind = "authz_fail"
	EventSessionRenewed  EventKind = "session_renewed" // a refresh
	EventRefreshFailure  EventKind = "authn_refresh_fail"
	EventTokenReuse      EventKind = "authn_token_reuse" // of a refresh token; the session has ended
	EventLogout          EventKind = "authn_logout"      // without a SessionID: of several sessions
	EventPasswordRehash  EventKind = "authn_password_rehash"
	EventPasswordCheck   EventKind = "authn_password_check" // a logged-in user re-entered the password; with a Reason it was wrong
	EventPasswordChange  EventKind = "authn_password_change"
	EventFactorAdded     EventKind = "authn_factor_added"    // a second factor was set up
	EventFactorRemoved   EventKind = "authn_factor_removed"  // by the user or an administrator
	EventFactorReset     EventKind = "authn_factor_reset"    // an administrator removed all factors
	EventFactorDisabled  EventKind = "authn_factor_disabled" // after too many wrong responses
	EventRecoveryUsed    EventKind = "authn_recovery_code_used"
	EventRecoveryRenewed EventKind = "authn_recovery_codes_renewed" // the old ones are void
	EventClientSuccess   EventKind = "authn_client_success"         // a service got an access token
	EventClientFailure   EventKind = "authn_client_fail"
	EventServiceCreated  EventKind = "service_created"
	EventServiceUpdated  EventKind = "service_updated" // its roles
	EventServiceDeleted  EventKind = "service_deleted"
	EventKeyCreated      EventKind = "api_key_created" // also by an import
	EventKeyRotated      EventKind = "api_key_rotated"
	EventKeyRevoked      EventKind = "api_key_revoked"
	EventOrgCreated      EventKind = "org_created"
	EventOrgDeleted      EventKind = "org_deleted" // with its memberships and invitations
	EventMemberInvited   EventKind = "org_member_invited"
	EventInviteRevoked   EventKind = "org_invitation_revoked"
	EventMemberAdded     EventKind = "org_member_added"   // by an invitation
	EventMemberChanged   EventKind = "org_member_changed" // the roles
	EventMemberRemoved   EventKind = "org_member_removed" // by the member or another one
	EventUserCreated     EventKind = "user_created"
	EventUserUpdated     EventKind = "user_updated" // the name or the e-mail
	EventRolesChanged    EventKind = "authz_change"
	EventUserLocked      EventKind = "authn_login_lock"
	EventUserUnlocked    EventKind = "authn_login_unlock"
	EventUserDisabled    EventKind = "user_disabled"
	EventUserEnabled     EventKind = "user_enabled"
	EventUserDeleted     EventKind = "user_deleted"
	EventStoreFailure    EventKind = "sys_store_fail"
	EventMailFailure     EventKind = "sys_mail_fail" // a mail could not be sent
)

// A Reason is the cause of a failure. It is for operators: clients get only the
// one neutral response.
type Reason string

// The reasons of events.
const (
	ReasonUnknownUser    Reason = "unknown_user"    // no account has the e-mail, or the subject of the token
	ReasonWrongPassword  Reason = "wrong_password"  // or a password that no scheme can take
	ReasonNoPassword     Reason = "no_password"     // the account has none
	ReasonUnreadableHash Reason = "unreadable_hash" // the stored hash is malformed, of an unknown scheme, or too costly
	ReasonDisabled       Reason = "disabled"        // the account is disabled
	ReasonLocked         Reason = "locked"          // the account is locked; see [Kit.LockUser]
	ReasonUnverified     Reason = "unverified"      // the e-mail address is not verified, and [Config].RequireVerifiedEmail is set
	ReasonWrongCode      Reason = "wrong_code"      // of a second factor
	ReasonFactorDisabled Reason = "factor_disabled" // a second factor with too many wrong responses
	ReasonWrongProof     Reason = "wrong_proof"     // refused by the function of a [Kit.LoginWith]
	ReasonMissingFactor  Reason = "missing_factor"  // another factor, or a more recent login, is required
	ReasonTooMany        Reason = "too_many"        // two credentials in one request
	ReasonCrossOrigin    Reason = "cross_origin"    // a session cookie on a request of another origin
	ReasonMachine        Reason = "machine"         // a machine credential, on a route for persons
	ReasonOverloaded     Reason = "overloaded"      // too many logins at once
	ReasonThrottled      Reason = "throttled"       // too many earlier failures; see [Throttle]
	ReasonStore          Reason = "store"           // the store failed
	ReasonCanceled       Reason = "canceled"        // the client has left
	ReasonTimeout        Reason = "timeout"         // the deadline of the request has passed
	ReasonInternal       Reason = "internal"        // a hook or a hasher failed
	ReasonMalformed      Reason = "malformed"       // not a token, or a token with a header of no key in use
	ReasonTooLarge       Reason = "too_large"       // longer than [TokenConfig].MaxBytes
	ReasonBadSignature   Reason = "bad_signature"   // no key in use signed it
	ReasonBadClaims      Reason = "bad_claims"      // a claim is missing, malformed, or for another service
	ReasonExpired        Reason = "expired"         // the token has expired
	ReasonNotYetValid    Reason = "not_yet_valid"   // because of iat or nbf
	ReasonOtherAccount   Reason = "other_account"   // the subject now belongs to another account
	ReasonRevoked        Reason = "revoked"         // the session has ended
	ReasonReused         Reason = "reused"          // a refresh token that was used before
	ReasonRevokedBefore  Reason = "revoked_before"  // issued before a password change or a logout everywhere
	ReasonMissingRole    Reason = "missing_role"    // or a missing permission
)

// An Event is a security event. It is delivered while it happens, so it carries no time. It
// never holds a password, a hash, a token or a name that a client sent. Err may hold any text
// that a store or a hook of your program returned.
type Event struct {
	Kind EventKind

	// UserID is the account that the event concerns, or "service:" and the ID
	// of a service. It is empty if none is known. ActorID is the party that acted: a user ID, or "service:" or
	// "system:" and a name. It is empty if the actor is the user or has not
	// been authenticated.
	UserID  string
	ActorID string

	// SessionID is the session, or the [Credential].ID of another credential
	// such as an API key. It is empty if there is none, or several.
	SessionID string

	OrgID  string // of an event of package org: the organization
	Method string // of an event about a second factor: its name in RFC 8176
	Reason Reason // empty on success
	Route  string // of EventAccessDenied: the matched pattern, if any
	Err    error  // the cause, if a part failed
}

// Emit delivers an event of a feature to [Config].OnEvent and the log. Within [Kit.InTx] an
// event without a Reason and an Err waits for the commit. Programs listen to events, and need
// not emit any.
func (k *Kit) Emit(ctx context.Context, e Event) { k.emit(ctx, e) }

// level returns the log level of an event.
func (e Event) level() slog.Level {
	switch {
	case e.Kind == EventStoreFailure || e.Reason == ReasonStore || e.Reason == ReasonUnreadableHash:
		return slog.LevelError
	case e.Kind == EventTokenRefused, e.Kind == EventRefreshFailure, e.Reason == ReasonOverloaded, e.Reason == ReasonThrottled, e.Reason == ReasonMalformed: // clients can cause any number of them
		return slog.LevelDebug
	case e.Kind == EventAccessDenied && e.UserID == "" && e.ActorID == "": // the same, without an account
		return slog.LevelDebug
	case e.Reason != "" || e.Err != nil:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// LogEvents returns a listener that logs events. A Kit and a Guard have one;
// see [Config].Logger. Use it for parts that are configured separately, such as
// a throttle. A nil logger is slog.Default() at the time of the event.
//
// The levels are:
//   - Error for errors of a store,
//   - Warn for failed logins, denied requests and reused refresh tokens,
//   - Debug for refused tokens of all kinds, throttled attempts, and logins
//     that were refused with ErrOverloaded, since clients can cause any number
//     of them,
//   - Info for all others.
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
		attrs := make([]slog.Attr, 0, 8)
		for _, a := range []slog.Attr{
			slog.String("user_id", e.UserID),
			slog.String("actor_id", e.ActorID),
			slog.String("session_id", e.SessionID),
			slog.String("org_id", e.OrgID),
			slog.String("method", e.Method),
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

// listeners returns a function that delivers an event to the log and to the
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

// Stats are the counts of a [Kit] or a [Guard], for metrics. Counts start at
// New. All but Verified are zero for a Guard.
type Stats struct {
	Verified uint64        // valid access tokens
	Hashing  int           // password hashes that run now
	Waiting  int           // callers that wait now to hash
	Hashed   uint64        // callers that were admitted to hash
	Waited   time.Duration // the total wait of those callers
}

// Stats returns the counts of the Kit.
func (k *Kit) Stats() Stats {
	g := k.gate.Stats()
	return Stats{k.guard.good.Load(), g.Inside, g.Waiting, g.Entered, g.Waited}
}

// Stats returns the number of tokens that the Guard verified.
func (g *Guard) Stats() Stats { return Stats{Verified: g.good.Load()} }

// classify returns the reason of an error for its event, and the cause if a
// part failed.
func classify(ctx context.Context, err error) (Reason, error) {
	r, ok := errors.AsType[*authError](err)
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
	case clientGone(ctx):
		return ReasonCanceled, err
	case errors.Is(err, context.DeadlineExceeded):
		return ReasonTimeout, err
	}
	return ReasonInternal, err
}

// failureEvent returns the event of an error: of the given kind, or of a throttled
// attempt.
func failureEvent(ctx context.Context, kind EventKind, err error) Event {
	e := Event{Kind: kind}
	if t, ok := errors.AsType[*ThrottledError](err); ok {
		e.Kind = t.event()
	}
	e.Reason, e.Err = classify(ctx, err)
	return e
}

// storeFailed returns the error of a store for callers, and emits its event.
func (k *Kit) storeFailed(ctx context.Context, err error) error {
	err = storeError(ctx, err)
	if !clientGone(ctx) {
		k.emit(ctx, Event{Kind: EventStoreFailure, Reason: ReasonStore, Err: err})
	}
	return err
}
