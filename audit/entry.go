package audit

import (
	"bytes"
	"context"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/printable"
)

// The kinds of entries about the log itself, in addition to those of
// [authkit.EventKind].
const (
	KindStarted authkit.EventKind = "audit_started" // Run began; without a KindStopped before it, the program was killed
	KindStopped authkit.EventKind = "audit_stopped" // Run ended normally
	KindLost    authkit.EventKind = "audit_lost"    // Count events were lost at about this place
	KindErased  authkit.EventKind = "audit_erased"  // Count parts of entries were erased; see [Log.Erase]
)

// The outcomes of entries.
const (
	Success = "success"
	Failure = "failure" // refused or failed; see Reason
)

// An Entry is one line of the log: an event with its actor, its account, its
// client and its outcome. It never contains a password, a token, a hash of
// either, a name that a client sent, or the text of an error. All texts are
// printable UTF-8 of limited length.
//
// Events count as equal if they differ only in Time, Agent, RequestID or the
// end of an IPv6 address. An entry with a Count has these values from its first
// event.
//
// Two parts of an entry are personal data: the client (ActorID to RequestID),
// and TargetID. The chain covers only a salted hash of each, so that they can
// be erased; see [Entry.Erase].
type Entry struct {
	Seq     uint64            `json:"seq"`  // from 1, without gaps
	Time    time.Time         `json:"time"` // UTC, in microseconds
	Kind    authkit.EventKind `json:"kind"`
	Outcome string            `json:"outcome"`
	Reason  authkit.Reason    `json:"reason,omitempty"` // for operators; empty on success
	Route   string            `json:"route,omitempty"`  // the pattern, for a denied request
	Count   uint64            `json:"count,omitempty"`  // of equal events within a second, if more than one; also used by KindLost and KindErased

	// ActorID is the actor: a user ID, or "service:" or "system:" and a name; see
	// [authkit.Event]. It is empty if the client has not proved who it is.
	ActorID    string `json:"actor_id,omitempty"`
	SessionID  string `json:"session_id,omitempty"`
	Address    string `json:"address,omitempty"`
	Agent      string `json:"agent,omitempty"` // the User-Agent, at most 256 bytes
	RequestID  string `json:"request_id,omitempty"`
	ClientSalt []byte `json:"client_salt,omitempty"` // 16 bytes; empty once the client is erased
	ClientHash []byte `json:"client_hash"`           // SHA-256

	TargetID   string `json:"target_id,omitempty"`   // the account that the event concerns, if known
	TargetSalt []byte `json:"target_salt,omitempty"` // 16 bytes; empty once the target is erased
	TargetHash []byte `json:"target_hash"`           // SHA-256

	MAC []byte `json:"mac"` // HMAC-SHA-256 of all but the personal data, and of the previous MAC
}

// Erase removes the personal data of a user from the entry, and returns the
// number of parts that it removed. The target is removed if it is the user. The
// client is removed if the actor is the user, or if the actor is unknown and
// the target is the user. The chain stays valid.
func (e *Entry) Erase(userID string) (parts int) {
	if userID == "" {
		return 0
	}
	if len(e.ClientSalt) > 0 && (e.ActorID == userID || e.ActorID == "" && e.TargetID == userID) {
		e.ActorID, e.SessionID, e.Address, e.Agent, e.RequestID, e.ClientSalt = "", "", "", "", "", nil
		parts++
	}
	if e.TargetID == userID {
		e.TargetID, e.TargetSalt = "", nil
		parts++
	}
	return parts
}

// Head returns the head of a log that ends with the entry.
func (e *Entry) Head() Head {
	h := Head{Seq: e.Seq}
	copy(h.MAC[:], e.MAC)
	return h
}

// clone returns a deep copy.
func (e *Entry) clone() Entry {
	c := *e
	for _, b := range []*[]byte{&c.ClientSalt, &c.ClientHash, &c.TargetSalt, &c.TargetHash, &c.MAC} {
		*b = bytes.Clone(*b)
	}
	return c
}

// An actor is the party that causes a kind of event, for events that name none.
type actor int

const (
	caller       actor = iota // the principal of the request, if there is one
	loggedInUser              // the user of the event
	unknown                   // a client without verified identity
)

// actorOf returns the actor of a kind of event. It reports false for a kind
// that package authkit does not have.
func actorOf(kind authkit.EventKind) (a actor, known bool) {
	switch kind {
	case authkit.EventLoginSuccess, authkit.EventSessionRenewed, authkit.EventPasswordRehash, authkit.EventAccessDenied,
		authkit.EventRecoveryUsed:
		return loggedInUser, true
	case authkit.EventLoginFailure, authkit.EventLoginChallenge, authkit.EventLoginThrottled, authkit.EventRateLimited,
		authkit.EventRefreshFailure, authkit.EventTokenReuse, authkit.EventTokenRefused, authkit.EventStoreFailure, authkit.EventMailFailure,
		authkit.EventFactorDisabled,
		authkit.EventClientSuccess, authkit.EventClientFailure:
		return unknown, true
	case authkit.EventLogout, authkit.EventPasswordCheck, authkit.EventPasswordChange, authkit.EventUserCreated,
		authkit.EventUserUpdated, authkit.EventRolesChanged, authkit.EventUserLocked, authkit.EventUserUnlocked,
		authkit.EventUserDisabled, authkit.EventUserEnabled, authkit.EventUserDeleted,
		authkit.EventKeyCreated, authkit.EventKeyRotated, authkit.EventKeyRevoked,
		authkit.EventFactorAdded, authkit.EventFactorRemoved, authkit.EventFactorReset, authkit.EventRecoveryRenewed,
		authkit.EventServiceCreated, authkit.EventServiceUpdated, authkit.EventServiceDeleted,
		authkit.EventOrgCreated, authkit.EventOrgDeleted, authkit.EventMemberInvited, authkit.EventInviteRevoked,
		authkit.EventMemberAdded, authkit.EventMemberChanged, authkit.EventMemberRemoved:
		return caller, true
	}
	return caller, false
}

// actorID returns the [Entry].ActorID of an event. A Kit names the actor,
// unless that is the user of the event or unknown. Events of other parts, such
// as a throttle, name none.
func actorID(ctx context.Context, e authkit.Event) string {
	if e.ActorID != "" {
		return e.ActorID
	}
	switch a, _ := actorOf(e.Kind); a {
	case loggedInUser:
		return e.UserID
	case caller:
		p, _ := authkit.PrincipalFrom(ctx)
		switch {
		case p.ActorID != "":
			return p.ActorID
		case p.Kind == authkit.System:
			return "system:" + p.Name
		case p.Name != "":
			return "service:" + p.Name
		}
		return p.UserID
	}
	return ""
}

// newEntry returns the entry of an event, not yet in the chain.
func newEntry(ctx context.Context, ev authkit.Event) Entry {
	client := authkit.ClientFrom(ctx)
	e := Entry{
		Time: now(), Kind: authkit.EventKind(printable.Text(string(ev.Kind), 64)), Outcome: Success,
		Reason: authkit.Reason(printable.Text(string(ev.Reason), 64)), Route: printable.Text(ev.Route, 256),
		SessionID: printable.Text(ev.SessionID, 64), Address: client.Address, Agent: client.Device, RequestID: client.RequestID,
		ActorID: printable.Text(actorID(ctx, ev), 255), TargetID: printable.Text(ev.UserID, 255),
	}
	if ev.Reason != "" || ev.Err != nil {
		e.Outcome = Failure
	}
	return e
}

// now returns the time with the precision of an entry.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
